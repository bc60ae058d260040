from __future__ import annotations

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.lint import Severity
from sessioncore.media.sources import Tone
from sessioncore.testing import (
    FakeNetwork,
    LegPair,
    Link,
    assert_agreed,
    assert_described,
    explain_network,
    messages,
)
from sessioncore.vocabulary import Direction

OFFER = messages.offer()
ANSWER = messages.offer("192.0.2.2", formats=(8, 101))
HELD = messages.offer("192.0.2.2", direction="inactive")


class DescriptionTests(SynchronousTestCase):
    def test_described(self) -> None:
        assert_described(self, OFFER)
        assert_described(self, HELD, findings=["inactive"])
        odd = messages.offer(port=4001, direction="sendonly")
        assert_described(self, odd)
        assert_described(self, odd, findings=["odd-port", "one-direction"], least=Severity.NOTE)

    def test_another_finding_fails_and_says_what_was_found(self) -> None:
        with self.assertRaisesRegex(AssertionError, "a=inactive: there is no audio either way"):
            assert_described(self, HELD)
        with self.assertRaisesRegex(AssertionError, "there are no findings"):
            assert_described(self, OFFER, findings=["inactive"])

    def test_agreed(self) -> None:
        explanation = assert_agreed(self, OFFER, ANSWER, codec="PCMA/8000")
        assert explanation.accepted is not None
        self.assertEqual(explanation.accepted.dtmf_payload_type, 101)
        assert_agreed(self, OFFER, HELD, direction=Direction.INACTIVE, findings=["not-both-ways"])

    def test_no_agreement_fails_and_says_why(self) -> None:
        refused = messages.offer("192.0.2.2", 0)
        with self.assertRaisesRegex(AssertionError, "refused: audio: port 0"):
            assert_agreed(self, OFFER, refused)
        with self.assertRaisesRegex(AssertionError, "PCMU/8000"):
            assert_agreed(self, OFFER, ANSWER, codec="PCMU/8000")
        with self.assertRaisesRegex(AssertionError, "not-both-ways"):
            assert_agreed(self, OFFER, HELD, direction=Direction.INACTIVE)
        with self.assertRaisesRegex(AssertionError, "inactive"):
            assert_agreed(self, OFFER, HELD, findings=["not-both-ways"])


class NetworkTests(SynchronousTestCase):
    def test_a_good_call(self) -> None:
        with LegPair(seed=3) as pair:
            pair.connect(source=Tone(), answer=lambda call: call.answer(source=Tone()))
            pair.advance(5)
            report = explain_network(pair.network)
            self.assertFalse(report.has_errors, report.text())
            (call,) = report.calls
            self.assertEqual(call.findings, ())
            self.assertGreater(min(way.packets for way in call.audio.ways), 200)

    def test_a_way_that_loses_everything(self) -> None:
        network = FakeNetwork(1)
        network.firewall = lambda datagram: (
            datagram.source[0] == "192.0.2.2" and datagram.data[:1] == b"\x80"
        )
        with LegPair(network=network) as pair:
            pair.connect(source=Tone(), answer=lambda call: call.answer(source=Tone()))
            pair.advance(5)
            (call,) = explain_network(network).calls
            (finding,) = (each for each in call.findings if each.name == "audio-missing")
            self.assertEqual(finding.where, "B -> A")

    def test_a_closed_port(self) -> None:
        network = FakeNetwork(1)
        host = network.host("192.0.2.1")
        network.host("192.0.2.2")
        port = host.listenUDP(4000, DatagramProtocol())
        port.write(b"x", ("192.0.2.2", 4000))
        network.advance(1)
        self.assertEqual(explain_network(network).seen.unreachable[("192.0.2.2", 4000)], 1)

    def test_the_policy(self) -> None:
        network = FakeNetwork(1, link=Link())
        report = explain_network(network, codecs=("G722",))
        self.assertEqual((report.policy.names, report.calls), ("G722/8000", []))
