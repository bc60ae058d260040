"""The peer that is played: what it sends, what it answers, what it reports."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import ConfigurationError
from sessioncore.events import DigitReceived, Event
from sessioncore.manager import SessionManager
from sessioncore.media.sinks import Deliver
from sessioncore.media.sources import Tone
from sessioncore.rtp.rtcp import ReceiverReport, SenderReport, parse_rtcp
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.testing.assertions import assert_two_way
from sessioncore.testing.media_peer import MediaPeer
from sessioncore.testing.media_script import ScriptedMedia
from sessioncore.testing.network import FakeNetwork
from sessioncore.testing.tones import tone_report
from sessioncore.vocabulary import Address, Direction

US, PEER = "192.0.2.2", "192.0.2.9"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork(seed=3)
        self.events: list[Event] = []
        self.calls: list[Call] = []
        self.heard: list[Any] = []
        self.manager = SessionManager(
            self.network.host(US),
            Settings(listen=(f"udp:5060:interface={US}",), codecs=("PCMU", "PCMA")),
            on_incoming=self.incoming,
        )
        self.manager.add_event_sink(self.events.append)
        self.manager.start()
        self.peer = MediaPeer(self.network.host(PEER))

    def tearDown(self) -> None:
        self.peer.media.stop()
        self.manager.stop(0.0)
        self.network.advance(0.1)

    def incoming(self, call: Call) -> Any:
        self.calls.append(call)
        return call.answer(source=Tone(), sink=Deliver(self.heard.append))

    def talking(self) -> Call:
        self.heard.clear()
        self.peer.call(US)
        self.network.advance(1)
        return self.calls[-1]

    def names(self) -> list[str]:
        return [event.name for event in self.events]


class CallTests(Case):
    def test_it_calls(self) -> None:
        call = self.talking()
        assert_two_way(call)
        self.assertTrue(self.peer.up)
        self.assertEqual(call.remote_uri, f"sip:alice@{PEER}:5060")
        self.assertEqual(call.request_uri, f"sip:bob@{US}:5060")
        self.assertGreaterEqual(self.peer.media.received, 49)
        report = tone_report(np.concatenate(self.heard)[1600:], 8000, 440.0)
        self.assertTrue(report.heard(), report)
        self.peer.hang_up()
        self.network.advance(0.1)
        self.assertFalse(self.peer.up)
        self.assertEqual(str(call.end_reason), "remote: the peer hung up (Q.850 16)")

    def test_it_answers(self) -> None:
        call = self.manager.call(f"sip:peer@{PEER}", source=Tone())
        self.network.advance(1)
        assert_two_way(call)
        call.hang_up()
        self.network.advance(0.1)
        self.assertEqual((str(call.state), self.peer.up), ("Ended", False))

    def test_one_call_after_another(self) -> None:
        for _ in range(2):
            self.test_it_answers()
            self.test_it_calls()

    def test_a_retransmission_gets_the_same_answer(self) -> None:
        self.network.firewall = lambda each: each.data.startswith(b"SIP/2.0 200")
        self.manager.call(f"sip:peer@{PEER}")
        self.network.advance(1.2)
        answers = {each.data for each in self.network.sent(b"SIP/2.0 200")}
        self.assertEqual((len(self.network.sent(b"SIP/2.0 200")), len(answers)), (2, 1))

    def test_it_is_refused(self) -> None:
        self.peer.formats = (18,)
        self.peer.call(US)
        self.network.advance(1)
        self.assertFalse(self.peer.up)
        self.assertEqual(len(self.network.sent(b"ACK")), 1)
        self.assertEqual(len(self.network.sent(b"SIP/2.0 488")), 1)

    def test_it_offers_another_direction_and_takes_ours(self) -> None:
        call = self.talking()
        self.peer.offer("sendonly")
        self.network.advance(0.1)
        self.assertIs(call.negotiated_media.audio.direction, Direction.RECVONLY)
        self.peer.offer()
        self.network.advance(0.1)
        self.assertIs(call.negotiated_media.audio.direction, Direction.SENDRECV)
        self.peer.direction = ""
        call.modify(Direction.SENDONLY)
        self.network.advance(0.1)
        self.assertIs(call.negotiated_media.audio.direction, Direction.SENDONLY)

    def test_early_media_from_other_ports(self) -> None:
        self.peer.early_media = True
        call = self.manager.call(f"sip:peer@{PEER}", source=Tone())
        self.network.advance(0.2)
        before = call.remote_rtp
        self.network.advance(1)
        self.assertNotEqual(call.remote_rtp, before)
        self.assertIn("AnswerChanged", self.names())
        assert_two_way(call)

    def test_it_waits_for_our_audio(self) -> None:
        self.peer.waits = True
        self.network.firewall = lambda each: each.destination == self.peer.media.local
        call = self.talking()
        self.assertEqual((self.peer.media.sent, call.statistics.packets_received), (0, 0))
        self.network.firewall = None
        self.network.advance(1)
        assert_two_way(call)

    def test_the_dead_say_nothing(self) -> None:
        self.talking()
        self.peer.die()
        self.network.advance(0.1)
        before = len([each for each in self.network.captured if each.source[0] == PEER])
        self.network.advance(2)
        after = len([each for each in self.network.captured if each.source[0] == PEER])
        self.assertEqual(before, after)


class MediaTests(Case):
    def sent(self, seconds: float) -> list[tuple[int, int, int, int, int, int]]:
        """Marker, payload type, sequence, timestamp, SSRC and octets of its RTP from now on."""
        begun = len(self.network.captured)
        self.network.advance(seconds)
        return [
            (each.data[1] >> 7, each.data[1] & 0x7F, *struct.unpack_from("!HII", each.data, 2),
             len(each.data) - 12)
            for each in self.network.captured[begun:]
            if each.source[0] == PEER and each.data[0] == 0x80 and not 200 <= each.data[1] <= 204
        ]  # fmt: skip

    def reports(self) -> list[Any]:
        return [
            parse_rtcp(each.data)[0]
            for each in self.network.captured
            if each.source[0] == PEER and 200 <= each.data[1] <= 201 and each.data[0] >> 6 == 2
        ]

    def test_what_is_said(self) -> None:
        self.talking()
        media = self.peer.media
        tone = self.sent(0.2)
        self.assertEqual({each[5] for each in tone}, {160})
        self.assertEqual(len(tone), 10)
        media.says = "silence"
        self.network.advance(1)
        self.assertEqual(set(self.network.captured[-1].data[12:]) & {0xFF}, {0xFF})
        media.says = "noise"
        noise = self.sent(1)
        self.assertEqual({each[1] for each in noise}, {13})
        self.assertEqual(len(noise), 5)
        media.says = None
        self.assertEqual(self.sent(1), [])
        media.says = "tone"
        again = self.sent(0.1)
        self.assertEqual([each[0] for each in again], [1, 0, 0, 0, 0])
        self.assertEqual(again[0][2] - noise[-1][2], 1)
        error = self.assertRaises(ConfigurationError, setattr, media, "says", "boo")
        self.assertIn("'boo' cannot be said; use one of 'tone'", str(error))

    def test_other_packets(self) -> None:
        self.talking()
        media = self.peer.media
        media.ptime, media.payload_type = 40, 8
        self.network.advance(0.1)
        packets = self.sent(1)
        self.assertEqual({each[1:2] + each[5:] for each in packets}, {(8, 320)})
        self.assertEqual(len(packets), 25)
        self.assertEqual({after[3] - before[3] for before, after in pairwise(packets)}, {320})
        media.octets, media.tag = 20, b"1234"
        self.assertEqual(self.sent(0.2)[-1][5], 24)
        media.second_source = True
        self.assertEqual(len({each[4] for each in self.sent(0.2)}), 2)

    def test_loss_and_jitter(self) -> None:
        call = self.talking()
        media = self.peer.media
        media.lost_out, before = 0.5, media.sent
        self.assertTrue(100 < len(self.sent(6)) < 200)
        self.assertEqual(media.sent - before, 300)
        media.lost_out, media.jitter = 0.0, 0.2
        order = [each[2] for each in self.sent(2)]
        self.assertNotEqual(order, sorted(order))
        media.jitter, media.lost_in, heard = 0.0, 1.0, media.received
        self.network.advance(2)
        self.assertEqual(media.received, heard)
        self.assertTrue(call.verdict.faulty)

    def test_it_sends_from_elsewhere(self) -> None:
        self.talking()
        self.peer.media.move(ssrc=9)
        self.assertEqual({each[4] for each in self.sent(0.2)}, {9})
        self.assertNotEqual(self.network.captured[-1].source, self.peer.media.local)

    def test_digits(self) -> None:
        self.talking()
        self.peer.media.press("1#", ms=60)
        self.network.advance(1)
        pressed = [each for each in self.events if isinstance(each, DigitReceived)]
        self.assertEqual([(each.digit, each.duration) for each in pressed], [("1", 60), ("#", 60)])
        self.assertRaises(ConfigurationError, self.peer.media.press, "x")

    def test_reports(self) -> None:
        call = self.talking()
        self.network.advance(10)
        first, *rest = self.reports()
        self.assertIsInstance(first, SenderReport)
        self.assertEqual((first.sender.packets, len(first.blocks)), (25, 1))
        self.assertEqual([each.blocks[0].cumulative_lost for each in rest], [0, 0])
        self.assertLess(call.statistics.round_trip_ms, 20)
        self.peer.media.says = None
        self.network.advance(10)
        self.assertIsInstance(self.reports()[-1], ReceiverReport)
        self.peer.media.lost_in = 1.0
        self.network.advance(10)
        self.assertEqual(self.reports()[-1].blocks, ())
        count = len(self.reports())
        self.peer.media.reports = False
        self.network.advance(10)
        self.assertEqual(len(self.reports()), count)

    def test_loss_is_reported(self) -> None:
        self.talking()
        self.peer.media.lost_in = 0.25
        self.network.advance(20)
        block = self.reports()[-1].blocks[0]
        self.assertTrue(40 < block.fraction_lost < 90, block)
        self.assertTrue(150 < block.cumulative_lost < 350, block)

    def test_reports_by_the_rtp_port(self) -> None:
        self.peer.media.mux = True
        call = self.talking()
        self.assertEqual(call.statistics.rtcp_on_rtp, 1)

    def test_hooks_and_ports(self) -> None:
        got: list[tuple[int, Address]] = []
        self.peer.media.on_rtp = lambda data, source: got.append((len(data), source))
        call = self.talking()
        self.assertEqual(got[0], (172, call.local_rtp))
        other = ScriptedMedia(self.network.host(PEER), PEER)
        self.assertEqual(other.local[1], self.peer.media.local[1] + 2)
        other.close()
        self.network.advance(0.1)
        self.assertEqual(ScriptedMedia(self.network.host(PEER), PEER).local, other.local)
