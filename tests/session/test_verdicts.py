"""Verdicts of whole calls on the in-memory network: healthy ones, and injected faults."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from attrs import evolve

from sessioncore.media.sources import Clip, Echo, Frames, Silence, Tone
from sessioncore.session.call import Call
from sessioncore.testing import messages
from sessioncore.testing.links import Datagram, Link
from sessioncore.verdict import Judgement, Proof
from sessioncore.vocabulary import Direction
from tests.session.scene import A, B, Caller, Scene


def talk(call: Call) -> Any:
    return call.answer(source=Tone())


def packet(number: int, payload_type: int = 0, ssrc: int = 7) -> bytes:
    """20 ms of something loud."""
    return struct.pack("!BBHII", 0x80, payload_type, number, 160 * number, ssrc) + b"\x01" * 160


def is_rtcp(datagram: Datagram) -> bool:
    return datagram.data[:1] in (b"\x80", b"\x81") and 200 <= datagram.data[1] <= 207


def is_rtp(datagram: Datagram) -> bool:
    return datagram.data[:1] == b"\x80" and not is_rtcp(datagram)


class Between(Scene):
    """Two of us; `self.ours` is the caller's call, `self.theirs` the callee's."""

    def talking(self, decide: Any = talk, **wishes: Any) -> None:
        self.us, self.them = self.pair(decide)
        self.ours = self.us.call(**{"source": Tone(), **wishes})
        self.run_for(0.02)
        self.theirs = self.them.call_in

    def both(self) -> tuple[Judgement, Judgement]:
        return self.ours.verdict.judgement, self.theirs.verdict.judgement

    def causes(self) -> tuple[str | None, str | None]:
        """The most likely cause on each side."""
        found = [each.verdict.cause for each in (self.ours, self.theirs)]
        return tuple(None if cause is None else cause.name for cause in found)  # type: ignore[return-value]


class HealthyTests(Between):
    def test_a_call_of_a_second_is_proven_by_both(self) -> None:
        for hang_up_here in (True, False):
            self.setUp()
            self.talking()
            self.run_for(1.0)
            (self.ours if hang_up_here else self.theirs).hang_up()
            self.run_for(0.1)
            for call in (self.ours, self.theirs):
                self.assertIs(call.verdict.judgement, Judgement.TWO_WAY, call.verdict)
                self.assertTrue(call.verdict.proven and call.verdict.evidence.over)
                # The last report came before the ports were given back.
                self.assertGreaterEqual(call.verdict.evidence.confirmed, 49)
            for party in (self.us, self.them):
                self.assertFalse(party.manager.plane.active)

    def test_loss_and_jitter_are_no_fault(self) -> None:
        for seed in range(40):
            self.setUp()
            rough = Link(delay=0.02, jitter=0.05, loss=0.05)
            self.talking()
            self.network.seed = seed
            self.network.set_link(A, B, rough)
            self.network.set_link(B, A, rough)
            self.run_for(6)
            faults = [event for event in self.us.events if event.name == "VerdictChanged"]
            for event in faults:
                self.assertFalse(event.verdict.faulty, f"seed {seed}: {event.verdict}")
            for call in (self.ours, self.theirs):
                self.assertFalse(call.verdict.faulty, f"seed {seed}: {call.verdict}")
                self.assertTrue(call.verdict.both_ways)
            self.tearDown()

    def test_frozen_at_the_end(self) -> None:
        self.talking()
        self.run_for(2)
        self.ours.hang_up()
        self.run_for(0.1)
        end = self.ours.verdict
        self.run_for(30)
        self.assertEqual(self.ours.verdict.as_dict(), end.as_dict())

    def test_a_peer_without_rtcp(self) -> None:
        us = self.party(B, talk)
        caller = Caller(self.peer(A))
        caller.established(self)
        media = self.peer(A, 40_000)
        for number in range(100):
            media.send(packet(number, payload_type=0), us.call_in.local_rtp)
            self.run_for(0.02)
        found = us.call_in.verdict
        self.assertIs(found.judgement, Judgement.UNCONFIRMED, found)
        self.assertEqual(us.event("MediaActive").media_state.value, "Active")

    def test_a_hold_is_no_fault(self) -> None:
        self.talking()
        self.run_for(1)
        self.ours.modify(Direction.SENDONLY)
        self.run_for(10)
        self.assertEqual(self.both(), (Judgement.HELD, Judgement.HELD))
        self.ours.modify(Direction.SENDRECV)
        self.run_for(7)
        self.assertEqual(self.both(), (Judgement.TWO_WAY,) * 2, self.ours.verdict)

    def test_silence_is_not_counted_across_a_hold(self) -> None:
        self.talking()
        self.run_for(1)
        self.ours.modify(Direction.INACTIVE)
        self.run_for(10)
        for party in (self.us, self.them):
            party.forget()
        self.ours.modify(Direction.SENDRECV)
        for _ in range(8):
            self.run_for(0.25)
            for call in (self.ours, self.theirs):
                silent = (Judgement.RX_SILENCE, Judgement.TX_SILENCE)
                self.assertNotIn(call.verdict.judgement, silent, call.verdict)


class FaultTests(Between):
    def test_our_packets_do_not_arrive(self) -> None:
        self.talking()
        self.run_for(2)
        self.network.firewall = lambda each: is_rtp(each) and each.source[0] == A
        self.run_for(2.6)
        self.assertIs(self.theirs.verdict.judgement, Judgement.NO_RX)
        self.run_for(8)
        self.assertIs(self.ours.verdict.judgement, Judgement.NO_TX, self.ours.verdict)
        self.assertEqual(self.causes(), ("firewall-outbound", "firewall-inbound"))
        self.assertEqual(str(self.ours.media_state), "Established")
        self.network.firewall = None
        self.run_for(8)
        self.assertEqual(self.both(), (Judgement.TX_LOSS, Judgement.RX_LOSS), self.ours.verdict)
        self.assertEqual(str(self.ours.media_state), "Active")

    def test_from_the_beginning(self) -> None:
        us, them = self.us, self.them = self.pair(talk)
        self.network.firewall = lambda each: is_rtp(each) and each.source[0] == A
        self.ours = us.call(source=Tone())
        self.run_for(4)
        self.theirs = them.call_in
        self.assertIs(self.theirs.verdict.judgement, Judgement.NO_RX)
        self.assertNotIn("MediaActive", them.names())
        self.run_for(8)
        self.assertIs(self.ours.verdict.judgement, Judgement.NO_TX, self.ours.verdict)
        self.assertIs(self.ours.verdict.receiving.proof, Proof.PROVEN)

    def test_rtcp_alone_is_no_media(self) -> None:
        us, them = self.us, self.them = self.pair(talk)
        self.network.firewall = is_rtp
        self.ours = us.call(source=Tone())
        self.run_for(12)
        self.theirs = them.call_in
        self.assertEqual(self.both(), (Judgement.NO_MEDIA,) * 2)
        for party in (us, them):
            self.assertNotIn("MediaActive", party.names())

    def test_a_source_that_ends(self) -> None:
        self.talking(source=Clip(np.full(8000, 9000, np.int16)))
        self.run_for(12)
        self.assertEqual(self.both(), (Judgement.TX_SILENCE, Judgement.RX_SILENCE))
        self.assertEqual(self.causes(), ("our-source-ended", "peer-silent"))

    def test_silence_both_ways(self) -> None:
        self.talking(source=Silence())
        self.run_for(7)
        self.assertEqual(self.both(), (Judgement.TX_SILENCE, Judgement.RX_SILENCE))
        self.assertEqual(self.causes(), ("our-source-silent", "peer-silent"))
        self.assertTrue(self.ours.verdict.proven)

    def test_an_application_that_feeds_nothing(self) -> None:
        self.talking(source=Frames())
        self.run_for(7)
        self.assertEqual(self.causes()[0], "bridged-call-silent")

    def test_an_echo_of_silence_is_the_peers(self) -> None:
        self.talking(lambda call: call.answer(source=Echo()), source=Silence())
        self.run_for(7)
        self.assertEqual(self.both(), (Judgement.RX_SILENCE, Judgement.RX_SILENCE))

    def test_changes_are_told_once(self) -> None:
        self.talking()
        self.run_for(1)
        self.us.forget()
        self.network.firewall = lambda each: is_rtp(each) and each.source[0] == B
        self.run_for(4)
        self.assertEqual(self.us.names(), ["VerdictChanged"])
        changed = self.us.event("VerdictChanged")
        self.assertIs(changed.verdict.judgement, Judgement.NO_RX)


class PeerTests(Scene):
    """A peer played by hand, which sends what a fault needs."""

    def setUp(self) -> None:
        super().setUp()
        self.us = self.party(B, talk)
        self.caller = Caller(self.peer(A))
        self.media = self.peer(A, 40_000)

    def established(self, **offer: Any) -> None:
        self.caller.invite(body=messages.offer(A, **offer))
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(0.01)
        self.call = self.us.call_in

    def send(self, seconds: float, source: Any = None, **given: Any) -> None:
        for _ in range(round(seconds * 50)):
            self.number = getattr(self, "number", 0) + 1
            (source or self.media).send(packet(self.number, **given), self.call.local_rtp)
            self.run_for(0.02)

    def cause(self) -> str | None:
        found = self.call.verdict.cause
        return None if found is None else found.name

    def test_another_payload_type(self) -> None:
        self.established()
        self.send(3, payload_type=18)
        found = self.call.verdict
        self.assertIs(found.judgement, Judgement.RX_WRONG_PAYLOAD_TYPE, found)
        self.assertEqual(self.cause(), "payload-type-mismatch")
        self.assertIn("payload type 18", str(found))

    def test_from_another_port(self) -> None:
        self.established()
        self.send(3, source=self.peer(A, 41_000))
        self.assertIs(self.call.verdict.judgement, Judgement.RX_WRONG_SOURCE)
        self.assertEqual(self.cause(), "rtp-port-mismatch")

    def test_from_another_host(self) -> None:
        self.established()
        self.send(3, source=self.peer("198.51.100.9", 41_000))
        self.assertEqual(self.cause(), "wrong-source")

    def test_two_sources(self) -> None:
        self.established()
        for number in range(200):
            for ssrc in (7, 8):
                self.media.send(packet(number, ssrc=ssrc), self.call.local_rtp)
            self.run_for(0.02)
        self.assertTrue(self.call.verdict.both_ways)
        self.assertEqual(self.cause(), "two-sources")

    def test_no_ack(self) -> None:
        self.caller.invite()
        self.run_for(4)
        self.call = self.us.call_in
        self.assertEqual(self.cause(), "no-ack")

    def test_an_encrypting_peer(self) -> None:
        body = messages.offer(A)
        self.caller.invite(body=body + b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n")
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(4)
        self.call = self.us.call_in
        self.assertEqual(self.cause(), "peer-encrypts")

    def test_odd_descriptions_are_named(self) -> None:
        self.caller.invite(body=messages.offer(A).replace(b"t=0 0\r\n", b"t=0 0\r\na=\r\n"))
        self.run_for(0.5)
        self.caller.ack()
        self.run_for(1)
        self.assertEqual(len(self.us.call_in.verdict.evidence.oddities), 1)

    def test_least_share_is_asked_of_the_evidence(self) -> None:
        self.established()
        self.send(2)
        evidence = self.call.verdict.evidence
        self.assertEqual(evidence.share_received, 1.0)
        self.assertEqual(str(evidence.codec), "PCMU/8000")
        self.assertAlmostEqual(evidence.covered, 2.0, delta=0.1)
        self.assertEqual(evolve(evidence, received=50).share_received, 0.5)
