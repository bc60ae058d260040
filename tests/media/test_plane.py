from pathlib import Path
from random import Random

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import NoPortsError
from sessioncore.media import stream as stream_module
from sessioncore.media.packet_io import PACKET_WIDTH
from sessioncore.media.plane import _LOOK, MediaEvent
from sessioncore.media.reports import first_interval
from sessioncore.media.sinks import Deliver, Record
from sessioncore.media.sources import Clip, Echo, Frames
from sessioncore.media.stream import RELEARN
from sessioncore.rtp.codecs.pcma import PCMA
from sessioncore.rtp.g711 import decode_ulaw
from sessioncore.rtp.header import parse_headers
from sessioncore.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderInfo,
    SenderReport,
    build_goodbye,
    build_report,
)
from sessioncore.rtp.telephone_event import build_event
from sessioncore.vocabulary import MILLISECOND, SECOND, TELEPHONE_EVENT, Direction
from tests.media.fakes import OWN, PEER, Bench, Talker, agreement, reports, rtp, rtp_fields

STRANGER = ("192.0.2.66", 4000)
SIP = "203.0.113.9"


class Case(SynchronousTestCase):
    def setUp(self):
        self.bench = Bench()

    def establish(self, stream, **changes):
        stream.establish(
            agreement(stream, **changes), signalling_host=PEER[0], nat=None, now=self.bench.now
        )
        stream.sending.start(self.bench.now, True)

    def listen(self, stream):
        heard = []
        stream.set_sink(Deliver(heard.append))
        return heard


class LifeTests(Case):
    def test_a_stream_has_an_even_port_and_the_next_for_rtcp(self):
        stream = self.bench.open()
        self.assertEqual(stream.local[0], OWN)
        self.assertEqual(stream.local[1] % 2, 0)
        self.assertEqual(stream.local_rtcp, (OWN, stream.local[1] + 1))

    def test_no_ports_leaves_no_row_behind(self):
        bench = Bench(ports=1)
        stream = bench.open()
        self.assertEqual(bench.plane.ports_free(bench.now), 0)
        self.assertRaises(NoPortsError, bench.open)
        self.assertEqual(bench.plane.bank.used, 1)
        stream.close(bench.now)
        self.assertFalse(bench.plane.active)

    def test_a_stream_that_moves_keeps_all_but_its_ports(self):
        path, frames = Path(self.mktemp()), Frames()
        frames.write(np.full(320, 5_000, np.int16))
        stream = self.bench.open()
        stream.set_source(frames)
        recording = stream.set_sink(Record(path))
        former = stream.lease
        self.bench.plane.move(stream, "192.0.2.77", self.bench.now)
        self.assertIsNot(stream.lease, former)
        self.assertEqual(former.released_at, self.bench.now)
        self.assertEqual(stream.local[0], "192.0.2.77")
        self.assertEqual(frames.buffered, 320)
        self.establish(stream)
        self.bench.run(1)
        self.assertEqual(frames.buffered, 0)
        self.assertGreater(stream.statistics.packets_sent, 40)
        stream.close(self.bench.now)
        recording.finished.result(20)
        self.assertEqual(len(path.read_bytes()[44:]), 2 * 8_000)

    def test_a_stream_that_finds_no_ports_stays_where_it_is(self):
        bench = Bench(ports=1)
        stream = bench.open()
        former = stream.lease
        self.assertRaises(NoPortsError, bench.plane.move, stream, OWN, bench.now)
        self.assertIs(stream.lease, former)
        stream.close(bench.now)

    def test_a_recording_replaces_nothing_before_there_is_an_agreement(self):
        for agreed in (False, True):
            path = Path(self.mktemp())
            path.write_bytes(b"precious" * 1_000)
            stream = self.bench.open()
            recording = stream.set_sink(Record(path))
            stream.expect_early(PEER[0])
            self.bench.run(2)
            if agreed:
                of = agreement(stream)
                stream.establish(of, signalling_host=PEER[0], nat=None, now=self.bench.now)
            stream.close(self.bench.now)
            recording.finished.result(20)
            self.assertEqual(path.read_bytes() != b"precious" * 1_000, agreed)
        self.assertEqual(path.read_bytes()[44:], bytes(2 * 8_000 * 2))

    def test_nor_where_that_comes_before_the_answer(self):
        """Whatever it hears is worth recording, and so is all of a call that is answered."""

        def answered(stream):
            stream.answered()

        def agreed_anew(stream):
            of = agreement(stream)
            stream.establish(of, signalling_host=PEER[0], nat=None, now=self.bench.now)

        for then in (agreed_anew, answered):
            for late_sink in (False, True):
                path = Path(self.mktemp())
                path.write_bytes(b"precious" * 1_000)
                stream = self.bench.open()
                if not late_sink:
                    recording = stream.set_sink(Record(path))
                stream.unanswered = True
                agreed_anew(stream)
                if late_sink:
                    recording = stream.set_sink(Record(path))
                self.assertTrue(stream.unanswered)
                self.bench.run(2)
                then(stream)
                stream.close(self.bench.now)
                recording.finished.result(20)
                self.assertEqual(path.read_bytes() != b"precious" * 1_000, then is answered)
                if then is answered:
                    self.assertEqual(path.read_bytes()[44:], bytes(2 * 8_000 * 2))

    def test_the_same_problem_of_the_path_is_told_ever_less_often(self):
        stream = self.bench.open()
        stream.establish(agreement(stream), signalling_host=PEER[0], nat=None, now=self.bench.now)
        begun = self.bench.now

        def told(since, until):
            times = range(since, until)
            return [
                at for at in times if stream.sending.note_refused("x", begun + at * 1_000_000_000)
            ]

        self.assertEqual(told(0, 1000), [0, 5, 15, 35, 75, 155, 315, 635, 955])
        self.assertEqual(stream.sending.refused, 1000)
        self.bench.plane.bank.heard_at[stream.row] = begun + 1001 * 1_000_000_000
        self.assertEqual(told(1300, 1320), [1300, 1305, 1315])

    def test_active_while_a_stream_is_open(self):
        self.assertFalse(self.bench.plane.active)
        stream = self.bench.open()
        self.assertTrue(self.bench.plane.active)
        stream.close(self.bench.now)
        self.assertFalse(self.bench.plane.active)

    def test_a_closed_stream_can_do_nothing_more(self):
        stream = self.bench.call()
        stream.close(self.bench.now)
        stream.sending.prove_path(self.bench.now)
        stream.sending.stop()
        self.assertFalse(stream.sending.transmitting)
        self.assertRaises(RuntimeError, stream.close, self.bench.now)
        self.assertRaises(RuntimeError, self.establish, stream)
        self.assertRaises(RuntimeError, stream.set_source, Echo())

    def test_close_releases_the_ports_and_stops_everything(self):
        stream = self.bench.call()
        lease = stream.lease
        self.bench.run(0.1)
        before = stream.statistics
        stream.close(self.bench.now)
        self.assertEqual(stream.statistics.packets_sent, 5)
        self.assertIsNotNone(lease.released_at)
        sent = len(lease.sent)
        other = self.bench.call()
        self.bench.run(0.1)
        self.assertEqual(len(lease.sent), sent)
        self.assertEqual(other.row, stream.row)
        self.assertEqual(other.statistics.packets_sent, 5)
        self.assertEqual(stream.statistics, before, "counters are kept as they were")

    def test_many_come_and_go_and_the_bank_grows(self):
        streams = [self.bench.call() for _ in range(9)]
        for stream in streams[::2]:
            stream.close(self.bench.now)
        self.bench.run(0.2)
        for stream in streams[1::2]:
            self.assertEqual(stream.statistics.packets_sent, 10)
        self.assertEqual(self.bench.plane.bank.used, 4)

    def test_events_may_open_and_close_streams(self):
        def react(stream, event, detail, now):
            if event is MediaEvent.FIRST_SENT and len(self.bench.io.leases) < 5:
                stream.close(now)
                self.bench.call()
                self.bench.call()

        self.bench.reactions.append(react)
        self.bench.call()
        self.bench.run(0.5)
        self.assertEqual(self.bench.plane.bank.used, 5)
        self.assertEqual(self.bench.plane.statistics.callback_errors, 0)

    def test_an_event_is_never_told_to_the_next_call_on_the_row(self):
        first = self.bench.call()

        def react(stream, event, detail, now):
            if event is MediaEvent.LATCHED and stream is first:
                first.close(now)
                self.bench.call(transmit=False)

        self.bench.reactions.append(react)
        self.bench.io.arrive(first, rtp(1, 1, 1))
        self.bench.run(0.02)
        self.assertEqual([e for s, e, _ in self.bench.events if s is not first], [])

    def test_closed_within_a_tick_it_neither_hears_nor_sends_in_the_rest_of_it(self):
        """Whatever is told first, and the phase of the row is played in that tick or not."""
        for wanted in (MediaEvent.LATCHED, MediaEvent.FIRST_RECEIVED, MediaEvent.DIGIT):
            for pause in (0, 0.005, 0.01, 0.015):
                bench = self.bench = Bench()
                stream = bench.call(receive_dtmf_payload_type=101)
                bench.run(0.1 + pause)
                lease, heard, closed = stream.lease, self.listen(stream), []

                def react(
                    about,
                    event,
                    detail,
                    now,
                    wanted=wanted,
                    lease=lease,
                    heard=heard,
                    closed=closed,
                ):
                    if event is wanted:
                        about.close(now)
                        closed.append((len(lease.sent), len(heard)))

                bench.reactions.append(react)
                for sequence in range(3):
                    bench.io.arrive(stream, rtp(sequence, 160 * sequence, 1))
                press = rtp(3, 480, 1, build_event(1, 800, end=True), 101)
                bench.io.arrive(stream, press)
                bench.run(0.1)
                self.assertEqual(closed, [(len(lease.sent), len(heard))])
                self.assertEqual(bench.plane.bank.used, 0)

    def test_a_callback_that_raises_is_counted_and_harms_nobody(self):
        def react(stream, event, detail, now):
            raise ValueError("no")

        self.bench.reactions.append(react)
        streams = [self.bench.call(), self.bench.call()]
        self.bench.run(0.2)
        self.assertEqual(self.bench.plane.statistics.callback_errors, 2)
        self.assertEqual([s.statistics.packets_sent for s in streams], [10, 10])

    def test_closing_the_plane_closes_every_stream(self):
        leases = [self.bench.call().lease for _ in range(3)]
        self.bench.plane.close(self.bench.now)
        self.assertTrue(all(lease.released_at for lease in leases))


class HearingTests(Case):
    def test_what_the_peer_says_is_heard_sample_by_sample(self):
        stream = self.bench.call()
        heard = self.listen(stream)
        talker = Talker(self.bench, stream)
        self.bench.run(1, talker)
        samples = np.concatenate(heard)
        sent = decode_ulaw(np.concatenate(talker.sent))
        start = int(np.flatnonzero(samples)[0])
        self.assertLessEqual(start, 4 * 160)
        self.assertTrue((samples[start:] == sent[: len(samples) - start]).all())
        statistics = stream.statistics
        self.assertEqual(statistics.packets_received, 50)
        self.assertEqual((statistics.expected, statistics.lost), (50, 0))
        self.assertEqual(statistics.octets_received, 50 * 160)
        self.assertLess(statistics.jitter_ms, 0.1)

    def test_loss_duplicates_and_late_packets_are_told_apart(self):
        stream = self.bench.call()
        for sequence in (0, 1, 2, 2, 4, 5, 3, 7):
            self.bench.io.arrive(stream, rtp(sequence, sequence * 160, 9))
            self.bench.run(0.005)
        self.bench.run(0.4)
        self.bench.io.arrive(stream, rtp(6, 6 * 160, 9))
        self.bench.run(0.1)
        statistics = stream.statistics
        self.assertEqual(statistics.expected, 8)
        self.assertEqual(statistics.packets_received, 8)
        self.assertEqual(statistics.duplicates, 1)
        self.assertEqual(statistics.late, 1)

    def test_junk_is_counted_and_not_heard(self):
        stream = self.bench.call()
        heard = self.listen(stream)
        junk = [b"", b"x" * 11, b"\x00" * 172, rtp(1, 1, 1)[:8], bytes([0xBF]) + bytes(171)]
        for latched in (False, True):
            for data in junk:
                self.bench.io.arrive(stream, data)
                self.bench.run(0.01)
            self.assertEqual(stream.statistics.latched, latched)
            self.bench.io.arrive(stream, rtp(5 + latched, 5, 1, b"\xff" * 160))
            self.bench.run(0.05)
        self.assertEqual(stream.statistics.invalid, 10)
        self.assertFalse(np.concatenate(heard).any())

    def test_a_payload_type_that_was_not_agreed_neither_latches_nor_plays(self):
        stream = self.bench.call()
        heard = self.listen(stream)
        for sequence in range(10):
            self.bench.io.arrive(stream, rtp(sequence, sequence * 160, 1, payload_type=8))
            self.bench.run(0.02)
        self.assertEqual(stream.statistics.unexpected_payload_type, 10)
        self.assertEqual(self.bench.names(), ["FIRST_SENT"])
        self.assertFalse(np.concatenate(heard).any())

    def test_a_format_the_peer_may_switch_to_is_heard(self):
        stream = self.bench.call(other_receive_payload_types=((8, PCMA),))
        heard = self.listen(stream)
        for sequence in range(10):
            payload = b"\x12" * 160
            self.bench.io.arrive(
                stream, rtp(sequence, sequence * 160, 1, payload, 8 if sequence % 2 else 0)
            )
            self.bench.run(0.02)
        self.assertEqual(len(set(np.concatenate(heard).tolist()) - {0}), 2)

    def test_padding_csrcs_and_extensions_are_taken_off(self):
        stream = self.bench.call()
        heard = self.listen(stream)
        voice = b"\x12" * 160
        plain = rtp(0, 0, 1, b"")
        variants = [
            bytes([0xA0]) + rtp(0, 0, 1, voice + b"\0\0\0\x04")[1:],
            bytes([0x81]) + rtp(1, 160, 1, b"CSRC" + voice)[1:],
            bytes([0x90]) + rtp(2, 320, 1, b"\xbe\xde\0\x01EXT." + voice)[1:],
        ]
        self.assertEqual(len(plain), 12)
        for data in variants:
            self.bench.io.arrive(stream, data)
            self.bench.run(0.02)
        self.bench.run(0.1)
        samples = np.concatenate(heard)
        self.assertEqual(len(set(samples[samples != 0].tolist())), 1)
        self.assertEqual(np.count_nonzero(samples), 480)

    def test_on_hold_packets_are_counted_and_not_played(self):
        stream = self.bench.call(direction=Direction.SENDONLY)
        heard = self.listen(stream)
        self.bench.run(0.5, Talker(self.bench, stream))
        self.assertEqual(stream.statistics.packets_received, 25)
        self.assertFalse(np.concatenate(heard).any())
        self.assertNotIn("FIRST_RECEIVED", self.bench.names())

    def test_comfort_noise_fills_the_pause_until_speech_comes_back(self):
        stream = self.bench.call(receive_comfort_noise_payload_type=13)
        heard = self.listen(stream)
        talker = Talker(self.bench, stream)
        self.bench.run(0.2, talker)
        self.bench.io.arrive(stream, rtp(talker.sequence, talker.timestamp, 77, b"\x28", 13))
        talker.sequence += 1
        self.bench.run(1)
        noise = np.concatenate(heard)[-4000:].astype(float)
        level = 20 * np.log10(np.sqrt((noise**2).mean()) / 32767)
        self.assertTrue(-43 < level < -37, level)
        talker.timestamp += 8000
        self.bench.run(0.1, talker)
        self.bench.run(0.5)
        self.assertFalse(np.concatenate(heard)[-1600:].any())

    def test_a_new_ssrc_of_the_same_source_is_followed(self):
        stream = self.bench.call()
        heard = self.listen(stream)
        self.bench.run(0.5, Talker(self.bench, stream))
        self.bench.run(0.5, Talker(self.bench, stream, ssrc=78, first=9, timestamp=12))
        self.assertGreater(np.count_nonzero(np.concatenate(heard)), 0.7 * 8000)
        statistics = stream.statistics
        self.assertEqual(statistics.packets_received, 25 + 15)
        self.assertEqual((statistics.expected, statistics.other_sources), (25 + 15, 10))

    def test_a_single_packet_of_another_ssrc_moves_nothing(self):
        stream = self.bench.call()
        self.bench.run(0.2, Talker(self.bench, stream))
        self.bench.io.arrive(stream, rtp(5, 5, 1234))
        self.bench.run(0.1)
        self.assertEqual(stream.statistics.packets_received, 10)
        self.assertEqual(int(self.bench.plane.bank.remote_ssrc[stream.row]), 77)

    def test_a_restart_of_the_sequence_is_followed(self):
        stream = self.bench.call()
        self.bench.run(0.2, Talker(self.bench, stream, first=1000))
        self.bench.run(0.2, Talker(self.bench, stream, first=30_000, timestamp=9))
        self.assertEqual(stream.statistics.expected, 19)

    def test_a_digit_is_told_once(self):
        stream = self.bench.call(receive_dtmf_payload_type=101)
        self.bench.io.arrive(stream, rtp(0, 0, 1))
        self.bench.run(0.02)
        for index in range(8):
            payload = build_event(5, 160 * min(index + 1, 6), end=index >= 5)
            data = rtp(1 + index, 999, 1, payload, 101, marker=index == 0)
            self.bench.io.arrive(stream, data)
            self.bench.run(0.02)
        self.bench.run(2)
        digits = [detail for _, event, detail in self.bench.events if event is MediaEvent.DIGIT]
        self.assertEqual(digits, [("5", 120)])

    def test_a_digit_under_the_other_number_is_told(self):
        """A peer that renumbered telephone-event sends with the number it asks for."""
        stream = self.bench.call(
            receive_dtmf_payload_type=101, other_receive_payload_types=((97, TELEPHONE_EVENT),)
        )
        self.bench.io.arrive(stream, rtp(0, 0, 1))
        self.bench.run(0.02)
        for index, (digit, payload_type) in enumerate(((5, 97), (6, 101))):
            payload = build_event(digit, 480, end=True)
            data = rtp(1 + index, 999 + 4000 * index, 1, payload, payload_type, marker=1)
            self.bench.io.arrive(stream, data)
            self.bench.run(1)
        digits = [detail[0] for _, event, detail in self.bench.events if event is MediaEvent.DIGIT]
        self.assertEqual(digits, ["5", "6"])

    def test_a_digit_is_no_jitter(self):
        """Its packets, all of one timestamp, are spread over the time it is held."""
        stream = self.bench.call(receive_dtmf_payload_type=101)
        talker = Talker(self.bench, stream, first=0, timestamp=0)
        self.bench.run(0.2, talker)
        for index in range(10):
            payload = build_event(5, 160 * (index + 1), end=index == 9)
            data = rtp(talker.sequence, talker.timestamp, 77, payload, 101, marker=index == 0)
            self.bench.io.arrive(stream, data)
            talker.sequence += 1
            self.bench.run(0.02)
        talker.timestamp += 10 * 160
        self.bench.run(0.2, talker)
        statistics = stream.statistics
        self.assertEqual((statistics.packets_received, statistics.lost), (30, 0))
        self.assertLess(statistics.jitter_ms, 0.1)

    def test_a_digit_whose_end_was_lost_is_told(self):
        stream = self.bench.call(receive_dtmf_payload_type=101)
        self.bench.io.arrive(stream, rtp(0, 999, 1, build_event(11, 800), 101, marker=1))
        self.bench.run(2)
        self.assertIn("DIGIT", self.bench.names())


class LatchTests(Case):
    def test_the_agreed_source_latches_and_is_told_once(self):
        stream = self.bench.call()
        self.bench.run(0.5, Talker(self.bench, stream))
        self.assertEqual(self.bench.names(), ["LATCHED", "FIRST_RECEIVED", "FIRST_SENT"])
        self.assertEqual(stream.peer.latched, PEER)
        self.assertEqual(stream.lease.latched, PEER)

    def test_a_stranger_is_counted_never_played_never_answered(self):
        stream = self.bench.call()
        heard = self.listen(stream)
        self.bench.run(0.5, Talker(self.bench, stream, STRANGER))
        self.assertEqual(stream.statistics.strangers, 25)
        self.assertFalse(np.concatenate(heard).any())
        self.assertEqual({address for _, address in stream.lease.sent}, {PEER})
        self.assertEqual(self.bench.names(), ["FIRST_SENT"])

    def test_what_a_stranger_sent_in_the_tick_of_the_latch_is_not_heard(self):
        stream = self.bench.call()
        for number in range(3):
            self.bench.io.arrive(stream, rtp(number, 160 * number, 77))
            self.bench.io.arrive(stream, rtp(number + 900, 160 * number, 78), STRANGER)
        self.bench.run(0.2)
        self.assertEqual(stream.statistics.packets_received, 3)
        self.assertEqual(stream.statistics.strangers, 3)

    def test_behind_a_nat_we_send_where_media_comes_from_after_four_packets(self):
        stream = self.bench.call(host=SIP)
        source = (SIP, 31_000)
        self.bench.run(0.5, Talker(self.bench, stream, source))
        self.assertEqual(stream.statistics.packets_received, 22)
        self.assertEqual(stream.statistics.remote, source)
        destinations = [address for _, address in stream.lease.sent]
        self.assertEqual(destinations[:3], [PEER] * 3)
        self.assertEqual(set(destinations[5:]), {source})

    def test_after_two_seconds_of_silence_another_port_may_prove_itself(self):
        stream = self.bench.call(host=SIP)
        self.bench.run(0.5, Talker(self.bench, stream, (SIP, 31_000)))
        self.bench.run(1.5)
        self.assertEqual(stream.peer.latched, (SIP, 31_000))
        self.bench.run(0.7)
        self.assertIsNone(stream.peer.latched)
        self.assertEqual(stream.sending.remote, (SIP, 31_000))
        self.bench.run(0.5, Talker(self.bench, stream, (SIP, 32_000), ssrc=5))
        self.assertEqual(stream.peer.latched, (SIP, 32_000))
        self.assertEqual(self.bench.names().count("LATCHED"), 2)
        self.assertEqual(self.bench.names().count("FIRST_RECEIVED"), 1)

    def test_the_old_source_comes_back_at_once_and_quietly(self):
        stream = self.bench.call()
        talker = Talker(self.bench, stream)
        self.bench.run(0.1, talker)
        self.bench.run(3)
        talker.timestamp += 24_000
        self.bench.run(0.1, talker)
        self.assertEqual(stream.statistics.packets_received, 10)
        self.assertEqual(self.bench.names().count("LATCHED"), 1)

    def test_rtcp_keeps_the_latch(self):
        stream = self.bench.call()
        self.bench.run(0.1, Talker(self.bench, stream))
        for _ in range(4):
            self.bench.run(1.5)
            self.bench.io.arrive_rtcp(stream, build_report(77, b"peer"))
        self.bench.run(0.1)
        self.assertEqual(stream.peer.latched, PEER)

    def test_a_new_agreement_with_the_same_address_keeps_the_latch(self):
        stream = self.bench.call()
        self.bench.run(0.5, Talker(self.bench, stream))
        self.establish(stream)
        self.assertEqual(stream.lease.latched, PEER)

    def test_a_new_agreement_with_another_address_drops_it(self):
        stream = self.bench.call()
        self.bench.run(0.5, Talker(self.bench, stream))
        moved = ("198.51.100.8", 5000)
        self.establish(stream, remote=moved)
        self.assertIsNone(stream.lease.latched)
        sent = len(stream.lease.sent)
        self.bench.run(0.5, Talker(self.bench, stream, moved, ssrc=3))
        self.assertEqual(stream.peer.latched, moved)
        self.assertEqual({address for _, address in stream.lease.sent[sent:]}, {moved})

    def test_where_the_kernel_cannot_connect_the_stream_stays_unlatched(self):
        stream = self.bench.call()
        stream.lease.reachable = False
        self.bench.run(0.2, Talker(self.bench, stream))
        self.assertIsNone(stream.peer.latched)

    def test_a_peer_whose_sip_comes_from_elsewhere_may_send_from_there(self):
        """The SDP names the same address as before, which is not that of the SIP."""
        stream = self.bench.call()
        for host, latched in ((PEER[0], None), (SIP, (SIP, 7000))):
            of = agreement(stream)
            stream.establish(of, signalling_host=host, nat=None, now=self.bench.now)
            stream.sending.start(self.bench.now, True)
            self.bench.run(0.2, Talker(self.bench, stream, (SIP, 7000)))
            self.assertEqual(stream.peer.latched, latched)

    def test_update_remote_address_sends_and_hears_there(self):
        stream = self.bench.call()
        self.bench.run(0.2, Talker(self.bench, stream))
        moved = ("198.51.100.8", 5000)
        stream.update_remote_address(moved, self.bench.now)
        sent = len(stream.lease.sent)
        self.bench.run(0.2, Talker(self.bench, stream, moved, ssrc=4))
        self.assertEqual({address for _, address in stream.lease.sent[sent:]}, {moved})
        self.assertEqual(stream.peer.latched, moved)

    def test_after_update_remote_address_nobody_else_is_heard(self):
        """Neither another port of the new IP, nor one of where SIP comes from, nor the old peer.

        Even where the agreement before let media come from elsewhere.
        """
        moved = ("198.51.100.8", 5000)
        for host, nat in ((PEER[0], None), (SIP, None), (SIP, True)):
            for third in ((moved[0], 5002), (SIP, 7000), PEER, STRANGER):
                stream = self.bench.call(host=host, nat=nat)
                self.bench.run(0.2, Talker(self.bench, stream))
                received = stream.statistics.packets_received
                heard = self.listen(stream)
                stream.update_remote_address(moved, self.bench.now)
                self.bench.run(0.1)
                heard.clear()
                sent = len(stream.lease.sent)
                self.bench.run(3, Talker(self.bench, stream, third, ssrc=4))
                self.assertFalse(np.concatenate(heard).any(), third)
                self.assertIsNone(stream.peer.latched)
                self.assertEqual(stream.statistics.packets_received, received)
                self.assertEqual(stream.statistics.strangers, 150)
                self.assertEqual({address for _, address in stream.lease.sent[sent:]}, {moved})
                stream.close(self.bench.now)


class EarlyMediaTests(Case):
    def early(self):
        stream = self.bench.open()
        stream.expect_early(SIP)
        return stream, self.listen(stream)

    def test_the_callees_audio_is_played_and_counts_for_nothing(self):
        stream, heard = self.early()
        self.bench.run(0.5, Talker(self.bench, stream, (SIP, 7000)))
        self.assertGreater(np.count_nonzero(np.concatenate(heard)), 3000)
        self.assertEqual(self.bench.names(), [])
        self.assertIsNone(stream.peer.latched)
        self.assertEqual(stream.lease.sent + stream.lease.sent_rtcp, [])

    def test_a_stranger_is_not_played(self):
        stream, heard = self.early()
        self.bench.run(0.5, Talker(self.bench, stream, STRANGER))
        self.assertFalse(np.concatenate(heard).any())
        self.assertEqual(stream.statistics.strangers, 25)

    def test_the_agreement_then_latches_as_ever(self):
        stream, _ = self.early()
        talker = Talker(self.bench, stream, PEER)
        talker.source = (SIP, 7000)
        self.bench.run(0.2, talker)
        self.establish(stream)
        talker.source = PEER
        self.bench.run(0.2, talker)
        self.assertEqual(self.bench.names(), ["LATCHED", "FIRST_RECEIVED", "FIRST_SENT"])

    def test_without_an_expectation_nothing_is_heard_before_the_agreement(self):
        stream = self.bench.open()
        heard = self.listen(stream)
        self.bench.run(0.5, Talker(self.bench, stream))
        self.assertEqual(heard, [])

    def test_no_stall_is_told_before_the_agreement(self):
        self.early()
        self.bench.run(8)
        self.assertEqual(self.bench.names(), [])


class EventTests(Case):
    def test_a_stall_is_told_once_and_its_end_once(self):
        stream = self.bench.call()
        talker = Talker(self.bench, stream)
        self.bench.run(0.2, talker)
        self.bench.run(4.7)
        self.assertNotIn("STALLED", self.bench.names())
        self.bench.run(3)
        self.assertTrue(stream.statistics.stalled)
        talker.timestamp += 8 * 8000
        self.bench.run(0.2, talker)
        self.assertFalse(stream.statistics.stalled)
        told = [name for name in self.bench.names() if name in ("STALLED", "RESUMED")]
        self.assertEqual(told, ["STALLED", "RESUMED"])

    def test_a_call_that_never_heard_anything_stalls_after_five_seconds(self):
        self.bench.call()
        self.bench.run(4.9)
        self.assertNotIn("STALLED", self.bench.names())
        self.bench.run(0.3)
        self.assertIn("STALLED", self.bench.names())

    def test_stalls_and_reports_come_on_time_whenever_the_call_began(self):
        """A phase is looked at when something may be due; here in each of them things are."""
        told, begun, owed, begin = {}, {}, {}, self.bench.now
        self.bench.reactions.append(
            lambda stream, event, detail, now: told.setdefault((stream, event), now)
        )

        def step(now):
            for stream, due in list(owed.items()):
                if stream.lease.sent_rtcp:
                    self.assertTrue(0 < now - due <= 25 * MILLISECOND)
                    del owed[stream]
            if len(begun) < 12 and now >= begin + len(begun) * 430 * MILLISECOND:
                stream = self.bench.call()
                begun[stream] = now
                owed[stream] = self.bench.plane.bank.next_report.item(stream.row)

        self.bench.run(11, step)
        self.assertEqual((len(begun), owed), (12, {}))
        for stream, at in begun.items():
            late = told[stream, MediaEvent.STALLED] - at - 5 * SECOND
            self.assertTrue(0 < late <= 25 * MILLISECOND, late)

    def test_nothing_of_a_new_call_is_due_before_it_is_looked_at(self):
        self.assertEqual((_LOOK, RELEARN), (SECOND // 5, 2 * SECOND))
        self.assertLess(_LOOK, first_interval(0))

    def test_rtcp_or_comfort_noise_alone_is_no_stall(self):
        quiet = self.bench.call(receive_comfort_noise_payload_type=13)
        noisy = self.bench.call(receive_comfort_noise_payload_type=13)
        for turn in range(6):
            self.bench.io.arrive_rtcp(quiet, build_report(1, b"peer"))
            self.bench.io.arrive(noisy, rtp(turn, turn * 16_000, 1, b"\x40", 13))
            self.bench.run(2)
        self.assertNotIn("STALLED", self.bench.names())

    def test_rtcp_keeps_from_a_stall_and_ends_none(self):
        stream = self.bench.call()
        self.bench.run(6)
        self.assertIn("STALLED", self.bench.names())
        self.bench.io.arrive_rtcp(stream, build_report(1, b"peer"))
        self.bench.run(0.1)
        self.assertNotIn("RESUMED", self.bench.names())
        self.bench.io.arrive(stream, rtp(1, 160, 1))
        self.bench.run(0.1)
        self.assertIn("RESUMED", self.bench.names())

    def test_where_nothing_may_be_received_nothing_stalls(self):
        self.bench.call(direction=Direction.SENDONLY)
        self.bench.run(8)
        self.assertEqual(self.bench.names(), ["FIRST_SENT"])

    def test_first_sent_and_received_are_told_once_per_agreement(self):
        stream = self.bench.call()
        talker = Talker(self.bench, stream)
        self.bench.run(0.3, talker)
        self.establish(stream)
        self.bench.run(0.3, talker)
        for name in ("FIRST_SENT", "FIRST_RECEIVED"):
            self.assertEqual(self.bench.names().count(name), 2)
        self.assertEqual(self.bench.names().count("LATCHED"), 1)

    def test_a_refusal_is_named_and_told_at_most_every_five_seconds(self):
        stream = self.bench.call()
        for _ in range(20):
            self.bench.io.fail(stream.row, True, "198.51.100.7:4000")
            self.bench.run(0.3)
        told = [detail for _, event, detail in self.bench.events if event is MediaEvent.REFUSED]
        self.assertEqual(told, ["198.51.100.7:4000"] * 2)
        self.assertEqual(stream.statistics.refused, 20)

    def refuse(self, stream, seconds, talker=None, pause=0.1):
        """ICMP answers for so long; whether nobody receives, by that, at the end."""
        for _ in range(round(seconds / pause)):
            self.bench.io.fail(stream.row, True, "198.51.100.7:4000")
            self.bench.run(pause, *([] if talker is None else [talker]))
        return stream.refuses(self.bench.now)

    def test_a_peer_that_sends_and_refuses_for_a_second_receives_nothing(self):
        stream = self.bench.call()
        talker = Talker(self.bench, stream)
        self.bench.run(1, talker)
        self.assertFalse(self.refuse(stream, 0.9, talker))
        told = self.bench.names().count("EVIDENCE")
        self.assertTrue(self.refuse(stream, 0.3, talker))
        self.assertEqual(self.bench.names().count("EVIDENCE"), told + 1)
        self.assertTrue(stream.sending.transmitting)
        self.bench.run(2.6, talker)
        self.assertFalse(stream.refuses(self.bench.now))
        # A pause begins the second again, and so does another address.
        self.assertFalse(self.refuse(stream, 0.5, talker))
        stream.update_remote_address(("198.51.100.7", 5000), self.bench.now)
        self.assertFalse(self.refuse(stream, 1.5))

    def test_icmp_once_a_second_is_enough(self):
        """As much as Linux sends (icmp_ratelimit)."""
        stream = self.bench.call()
        talker = Talker(self.bench, stream)
        self.bench.run(1, talker)
        self.assertTrue(self.refuse(stream, 3, talker, pause=1.0))

    def test_a_report_about_our_packets_ends_a_refusal(self):
        stream = self.bench.call()
        talker = Talker(self.bench, stream)
        self.bench.run(1, talker)
        self.assertTrue(self.refuse(stream, 1.5, talker))
        stream.reports.confirmed_at = self.bench.now
        self.assertFalse(stream.refuses(self.bench.now))

    def test_a_closed_port_is_forgotten_with_the_ack(self):
        stream = self.bench.call(proven=False)
        self.assertTrue(self.refuse(stream, 0.1))
        stream.sending.prove_path(self.bench.now)
        self.assertFalse(stream.refuses(self.bench.now))

    def test_a_clip_that_ends_is_told(self):
        stream = self.bench.call()
        stream.set_source(Clip(np.ones(1600, np.int16)))
        self.bench.run(0.5)
        self.assertIn((stream, MediaEvent.SOURCE_ENDED, None), self.bench.events)

    def test_a_sink_that_raises_is_told(self):
        stream = self.bench.call()
        stream.set_sink(Deliver(lambda samples: 1 // 0))
        self.bench.run(0.5)
        self.assertEqual(self.bench.names().count("SINK_FAILED"), 1)


class RtcpTests(Case):
    def test_the_first_report_leaves_early(self):
        """RFC 3550 section 6.2 lets it; a call of a second is proven by it."""
        for chance, due in ((0, 400), (1 << 23, 500), ((1 << 24) - 1, 600)):
            self.assertEqual(round(first_interval(chance) / MILLISECOND), due)

    def test_reports_leave_every_five_seconds_or_so_on_hold_too(self):
        for direction in (Direction.SENDRECV, Direction.INACTIVE):
            stream = self.bench.call(direction=direction)
            self.bench.run(60)
            self.assertTrue(8 <= len(stream.lease.sent_rtcp) <= 24, direction)

    def test_a_sender_report_says_what_was_sent_and_heard(self):
        stream = self.bench.call()
        talker = Talker(self.bench, stream)
        self.bench.run(12, talker)
        report, source = reports(stream.lease)[-1]
        self.assertIsInstance(report, SenderReport)
        self.assertEqual(report.ssrc, source.chunks[0][0])
        self.assertEqual(report.sender.octets, report.sender.packets * 160)
        (block,) = report.blocks
        self.assertEqual((block.ssrc, block.cumulative_lost, block.fraction_lost), (77, 0, 0))
        self.assertTrue(200 < report.sender.packets <= 600)

    def test_who_sends_nothing_sends_receiver_reports(self):
        stream = self.bench.call(transmit=False)
        self.bench.run(12, Talker(self.bench, stream))
        self.assertIsInstance(reports(stream.lease)[-1][0], ReceiverReport)

    def test_who_sends_no_more_says_so_once_two_intervals_are_over(self):
        """RFC 3550 section 6.4: SR if anything was sent since the report before the last."""
        stream = self.bench.call()
        self.bench.run(12)
        stream.sending.stop()
        before = len(stream.lease.sent_rtcp)
        self.bench.run(60)
        kinds = [type(packets[0]) for packets in reports(stream.lease)]
        self.assertEqual(set(kinds[: before + 1]), {SenderReport})
        self.assertEqual(set(kinds[before + 2 :]), {ReceiverReport})
        stream.sending.start(self.bench.now, True)
        self.bench.run(8)
        self.assertIsInstance(reports(stream.lease)[-1][0], SenderReport)

    def test_it_goes_to_the_next_port_or_the_agreed_one_or_where_it_comes_from(self):
        stream = self.bench.call()
        self.assertEqual(stream.remote_rtcp, (PEER[0], PEER[1] + 1))
        other = self.bench.call(rtcp=(PEER[0], 9999))
        self.assertEqual(other.remote_rtcp, (PEER[0], 9999))
        self.bench.io.arrive_rtcp(other, build_report(1, b"x"), (PEER[0], 8888))
        self.bench.run(0.1)
        self.assertEqual(other.remote_rtcp, (PEER[0], 8888))

    def test_it_follows_the_latched_ip(self):
        stream = self.bench.call(host=SIP, rtcp=(PEER[0], 9999))
        self.bench.run(0.5, Talker(self.bench, stream, (SIP, 31_000)))
        self.assertEqual(stream.remote_rtcp[0], SIP)

    def test_rtcp_of_a_stranger_moves_nothing(self):
        stream = self.bench.call()
        self.bench.run(0.1, Talker(self.bench, stream))
        self.bench.io.arrive_rtcp(stream, build_goodbye(77, b"x"), STRANGER)
        self.bench.run(0.1)
        self.assertFalse(stream.statistics.peer_said_bye)
        self.assertEqual(stream.remote_rtcp, (PEER[0], PEER[1] + 1))
        self.assertEqual(stream.statistics.strangers, 1)

    def test_rtcp_of_a_stranger_before_the_latch_keeps_no_stream_alive(self):
        stream = self.bench.call()
        for _ in range(6):
            self.bench.io.arrive_rtcp(stream, build_goodbye(77, b"x"), STRANGER)
            self.bench.run(1)
        self.assertIn("STALLED", self.bench.names())
        self.assertEqual(stream.statistics.strangers, 6)

    def test_a_bye_is_noted_and_ends_nothing(self):
        stream = self.bench.call()
        talker = Talker(self.bench, stream)
        self.bench.run(0.2, talker)
        self.bench.io.arrive_rtcp(stream, build_goodbye(77, b"x"))
        self.bench.run(0.2, talker)
        self.assertTrue(stream.statistics.peer_said_bye)
        self.assertEqual(stream.statistics.packets_received, 20)
        self.assertTrue(stream.sending.transmitting)

    def test_broken_rtcp_is_counted_and_keeps_no_stream_alive(self):
        stream = self.bench.call()
        for _ in range(6):
            self.bench.io.arrive_rtcp(stream, b"\x80\xc8\xff\xff")
            self.bench.run(1)
        self.assertEqual(stream.rtcp.invalid, 6)
        self.assertIn("STALLED", self.bench.names())

    def test_rtcp_is_read_as_far_as_an_ethernet_frame_goes(self):
        """What is longer is not RTCP of a call: nothing of it is believed."""
        block = ReportBlock(1, 0, 7, 0, 80)
        for length, counted in ((1472, 0), (1476, 1), (2944, 1)):
            stream = self.bench.call()
            rest = length - len(build_report(77, b"p", blocks=[block]))
            data = build_report(77, b"p", blocks=[block])
            # An APP packet for the rest (RFC 3550 section 6.7).
            data += b"\x80\xcc" + (rest // 4 - 1).to_bytes(2, "big") + bytes(rest - 4)
            self.bench.io.arrive_rtcp(stream, data)
            self.bench.run(0.005)
            self.assertEqual((len(data), stream.rtcp.invalid), (length, counted))

    def test_round_trip_and_remote_loss_come_from_the_peers_reports(self):
        stream = self.bench.call()
        self.bench.run(12, Talker(self.bench, stream))
        sender = reports(stream.lease)[-1][0].sender
        self.assertIsNone(stream.statistics.round_trip_ms)
        own = int(self.bench.plane.bank.ssrc[stream.row])
        last_sr = sender.ntp >> 16 & 0xFFFF_FFFF
        now = (self.bench.now << 32) // 10**9 >> 16 & 0xFFFF_FFFF
        held = (now - last_sr - 65536 // 10) & 0xFFFF_FFFF
        block = ReportBlock(own, 0, 7, 0, 80, last_sr, held)
        info = SenderInfo(1, 1, 1, 1)
        data = build_report(77, b"p", sender=info, blocks=[block])
        self.bench.io.arrive_rtcp(stream, data)
        self.bench.run(0.005)
        statistics = stream.statistics
        self.assertLess(abs(statistics.round_trip_ms - 100), 1)
        self.assertEqual((statistics.remote_lost, statistics.remote_jitter_ms), (7, 10.0))

    def test_what_the_peer_says_it_sent(self):
        stream = self.bench.call()
        self.bench.run(1, Talker(self.bench, stream))
        told = stream.rtcp
        self.assertEqual((told.peer_packets, told.peer_sends), (None, False))
        for packets, sends in ((0, False), (50, True), (50, False), (90, True), (3, True)):
            info = SenderInfo(1, 1, packets, 1)
            self.bench.io.arrive_rtcp(stream, build_report(77, b"p", sender=info))
            self.bench.run(0.005)
            self.assertEqual((told.peer_packets, told.peer_sends), (packets, sends))
        self.bench.io.arrive_rtcp(stream, build_report(77, b"p"))
        self.bench.run(0.005)
        self.assertEqual((told.peer_packets, told.peer_sends), (3, False))

    def test_close_says_bye(self):
        stream = self.bench.call()
        self.bench.run(0.2)
        lease = stream.lease
        stream.close(self.bench.now)
        self.assertIsInstance(reports(lease)[-1][-1], Goodbye)

    def test_who_never_said_a_word_says_no_bye(self):
        # RFC 3550 section 6.3.7
        stream = self.bench.call()
        lease = stream.lease
        stream.close(self.bench.now)
        self.assertEqual(lease.sent_rtcp, [])

    def test_who_only_reported_says_bye(self):
        stream = self.bench.call(transmit=False)
        lease = stream.lease
        self.bench.run(10)
        stream.close(self.bench.now)
        self.assertIsInstance(reports(lease)[-1][-1], Goodbye)

    def test_a_stream_without_an_agreement_sends_no_rtcp(self):
        stream = self.bench.open()
        lease = stream.lease
        self.bench.run(10)
        stream.close(self.bench.now)
        self.assertEqual(lease.sent_rtcp, [])

    def test_a_collision_changes_our_ssrc_once_and_an_echo_of_ours_is_heard(self):
        stream = self.bench.call()
        heard = self.listen(stream)
        bank, row = self.bench.plane.bank, stream.row
        first = int(bank.ssrc[row])
        stream.set_source(Clip(np.full(80_000, 1000, np.int16)))

        def reflect(now):
            sent = stream.lease.sent
            while len(sent) > self.reflected:
                self.bench.io.arrive(stream, sent[self.reflected][0])
                self.reflected += 1

        self.reflected = 0
        self.bench.run(2, reflect)
        self.assertNotEqual(int(bank.ssrc[row]), first)
        goodbyes = [each for each in reports(stream.lease) if isinstance(each[-1], Goodbye)]
        self.assertEqual([each[-1].ssrcs for each in goodbyes], [(first,)])
        self.assertGreater(np.count_nonzero(np.concatenate(heard)), 1.85 * 8000)

    def test_two_that_collide_in_one_tick_are_one_collision(self):
        stream = self.bench.call()
        self.bench.run(0.2)
        ssrc = self.bench.plane.bank.ssrc
        first = int(ssrc[stream.row])
        for sequence, whose in ((1, 77), (2, first), (3, first)):
            self.bench.io.arrive(stream, rtp(sequence, 160 * sequence, whose))
        self.bench.run(0.2)
        self.assertEqual(stream.statistics.collisions, 2)
        self.assertNotEqual(int(ssrc[stream.row]), first)
        second = int(ssrc[stream.row])
        goodbyes = [each for each in reports(stream.lease) if isinstance(each[-1], Goodbye)]
        self.assertEqual([each[-1].ssrcs for each in goodbyes], [(first,)])
        self.bench.io.arrive(stream, rtp(4, 640, second))
        self.bench.run(0.1)
        self.assertEqual(int(ssrc[stream.row]), second)

    def test_the_counts_of_a_new_ssrc_start_again(self):
        stream = self.bench.call()
        self.bench.run(0.2)
        ssrc = int(self.bench.plane.bank.ssrc[stream.row])
        self.bench.io.arrive(stream, rtp(1, 160, ssrc))
        self.bench.run(0.005)
        self.bench.run(1)
        stream.report(self.bench.now)
        sender = reports(stream.lease)[-1][0].sender
        sent = [data for data, _ in stream.lease.sent if rtp_fields(data)[4] != ssrc]
        self.assertGreater(len(stream.lease.sent) - len(sent), 5)
        self.assertEqual((sender.packets, sender.octets), (len(sent), 160 * len(sent)))


class StatisticsTests(Case):
    def test_before_media_quality_is_not_known(self):
        statistics = self.bench.call().statistics
        self.assertIsNone(statistics.jitter_ms)
        self.assertIsNone(statistics.loss)
        self.assertIsNone(statistics.round_trip_ms)
        self.assertIsNone(statistics.remote_lost)

    def test_kernel_drops_are_shown(self):
        self.assertEqual(self.bench.call().statistics.kernel_drops, 3)

    def test_first_times_are_kept(self):
        stream = self.bench.call()
        start = self.bench.now
        self.bench.run(0.5, Talker(self.bench, stream))
        statistics = stream.statistics
        self.assertTrue(start <= statistics.first_sent_at <= start + 20_000_000)
        self.assertTrue(start <= statistics.first_received_at <= start + 20_000_000)


class OnePacketTests(SynchronousTestCase):
    def test_one_packet_is_judged_as_a_batch_is(self):
        """Before the latch packets are looked at one by one."""
        random, good = Random(7), 0
        few = (0, 0, 0, 0, 1, 2, 3, 5)
        for _ in range(4000):
            first = random.choice((0x80, 0x81, 0x82, 0x90, 0x91, 0xA0, 0xA1, 0xB0, 0xB1, 0x40))
            rest = [random.choice(few) for _ in range(random.randrange(40))]
            data = bytes([first, *rest])
            packet = np.zeros((1, PACKET_WIDTH), np.uint8)
            packet[0, : len(data)] = np.frombuffer(data, np.uint8)
            expected = bool(parse_headers(packet, [len(data)]).ok[0])
            self.assertEqual(stream_module._is_rtp(data), expected, data.hex())
            good += expected
        self.assertGreater(good, 1000)
        longest = b"\x80" + bytes(PACKET_WIDTH - 1)
        self.assertTrue(stream_module._is_rtp(longest))
        self.assertFalse(stream_module._is_rtp(longest + b"x"))
