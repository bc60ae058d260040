"""Sources of RTP (SSRC), their sequence numbers, and what becomes of each packet."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sessioncore.media import plain
from sessioncore.media.plane import MediaEvent
from sessioncore.media.reception import MAX_DROPOUT, MAX_MISORDER, SUCCESSION
from sessioncore.media.sinks import Deliver
from sessioncore.media.stream import RELEARN
from sessioncore.rtp.codecs.g722 import G722
from sessioncore.rtp.codecs.l16 import L16
from sessioncore.rtp.g711 import decode_ulaw
from sessioncore.rtp.rtcp import ReportBlock, SenderInfo, build_report
from sessioncore.rtp.telephone_event import build_event
from sessioncore.vocabulary import MILLISECOND
from tests.media.fakes import PEER, TICK, Bench, Talker, agreement, rtp

RECORDINGS = Path("/usr/share/sip-tester")
"""SIPp's own digits, where Debian's package is installed."""


class Case(SynchronousTestCase):
    def setUp(self):
        self.begin()

    def begin(self, **changes):
        """A new call that hears audio and telephone-events."""
        self.bench = Bench()
        self.stream = self.bench.call(receive_dtmf_payload_type=101, **changes)
        self.heard = []
        self.stream.set_sink(Deliver(self.heard.append))
        return self.stream

    def talker(self, **options):
        return Talker(self.bench, self.stream, **options)

    def arrive(self, *packet, **options):
        self.bench.io.arrive(self.stream, rtp(*packet, **options))

    def audible(self):
        """Samples that were heard; each sample of a `Talker` is a sound."""
        return np.count_nonzero(np.concatenate(self.heard)) if self.heard else 0

    def digits(self):
        told = [detail for _, event, detail in self.bench.events if event is MediaEvent.DIGIT]
        return "".join(digit for digit, _ in told)

    @property
    def statistics(self):
        return self.stream.statistics


class SequenceTests(Case):
    def test_sequence_numbers_that_go_back_or_leap_are_followed_at_once(self):
        """By any step, with timestamps that go on, start anew or go back as well."""
        for step in (-1, -5, -63, -64, -99, -100, -101, -1500, -3000, -3001, 3001, 20_000):
            for timestamp in (None, 7, -50_000):
                if timestamp == -50_000 and -MAX_MISORDER <= step < 0:
                    continue  # cannot be told from packets that come late
                self.begin()
                talker = self.talker(first=10_000, timestamp=100_000)
                self.bench.run(0.4, talker)
                talker.sequence += step
                talker.timestamp += timestamp or 0
                self.heard.clear()
                self.bench.run(1, talker)
                self.assertGreater(self.audible(), 8000 - 3 * 160, (step, timestamp))
                self.assertEqual(self.statistics.other_sources, 1, (step, timestamp))
                self.assertEqual(self.statistics.lost, 0)

    def test_a_step_back_that_may_be_reordering_is_silent_for_no_longer_than_it_is(self):
        self.begin()
        talker = self.talker(first=10_000, timestamp=100_000)
        self.bench.run(0.4, talker)
        talker.sequence -= 99
        talker.timestamp -= 99 * 160
        self.heard.clear()
        self.bench.run(3, talker)
        self.assertGreater(self.audible(), (150 - 102) * 160)
        self.assertEqual(self.statistics.other_sources, 0)

    def test_the_limits_are_those_of_rfc_3550(self):
        self.assertEqual((MAX_DROPOUT, MAX_MISORDER), (3000, 100))
        for step, restarts in ((2999, 0), (3000, 1), (-99, 0), (-100, 1)):
            self.begin()
            self.arrive(10_000, 0, 1)
            self.bench.run(0.02)
            self.arrive(10_000 + step, 160, 1, payload_type=101, payload=build_event(1, 80))
            self.bench.run(0.02)
            self.assertEqual(self.statistics.other_sources, restarts, step)

    def test_one_odd_packet_is_no_restart(self):
        talker = self.talker(first=10_000)
        self.bench.run(0.2, talker)
        for step in (-2000, 5000, -150, 4000):
            self.arrive(10_000 + step, 5, 77)
            self.bench.run(0.2, talker)
        statistics = self.statistics
        self.assertEqual((statistics.packets_received, statistics.lost), (50, 0))
        self.assertEqual(statistics.other_sources, 4)

    @settings(max_examples=60)
    @given(
        st.lists(st.tuples(st.integers(-32_768, 32_767), st.integers(1, 30)), max_size=6),
        st.booleans(),
    )
    @example([(-64, 30), (-99, 30), (-3000, 30)], False)
    def test_a_source_that_starts_over_is_heard_again_at_once(self, steps, careful):
        """Each time at most one packet is not, whatever its numbers do, if its clock goes on."""
        if careful:
            self.patch(plain, "compiled", None)
        self.begin()
        talker = self.talker(first=1, timestamp=0)
        self.bench.run(0.2, talker)
        for step, packets in steps:
            talker.sequence = (talker.sequence + step) & 0xFFFF
            self.bench.run(0.02 * packets, talker)
        self.bench.run(0.1)
        sent = len(talker.sent)
        self.assertGreaterEqual(self.audible(), (sent - len(steps)) * 160)
        self.assertLessEqual(self.audible(), sent * 160)


class SourceTests(Case):
    def test_a_second_ssrc_does_not_silence_the_first(self):
        for pace in (4, 8, 20, 40):  # in ticks of 5 ms
            self.begin()
            first = self.talker()
            second = self.talker(ssrc=99, first=500, timestamp=9)
            turn = iter(range(100_000))

            def step(now, first=first, second=second, turn=turn, pace=pace):
                first(now)
                if next(turn) % pace == 1:
                    self.bench.io.arrive(self.stream, second.packet())

            self.bench.run(2, step)
            self.assertEqual(self.statistics.packets_received, 100)
            self.assertEqual(self.statistics.other_sources, len(second.sent))
            self.assertGreater(self.audible(), 15_000)
            self.assertEqual(self.statistics.inserted, 0)

    def test_it_takes_over_after_200_ms_of_silence(self):
        first, second = self.talker(), self.talker(ssrc=99, first=500, timestamp=9)
        self.bench.run(0.4, lambda now: (first(now), second(now)))
        self.assertEqual(self.statistics.packets_received, 20)
        begun = self.bench.now
        while self.statistics.packets_received == 20:
            self.bench.run(0.005, second)
        self.assertEqual(SUCCESSION, 200 * MILLISECOND)
        # The last of the first source came 15 ms before.
        self.assertEqual(
            self.bench.now - begun - TICK, SUCCESSION - 15 * MILLISECOND + 15 * MILLISECOND
        )
        self.heard.clear()
        self.bench.run(1, second)
        self.assertGreater(self.audible(), 7_000)

    def test_two_that_wait_for_the_first_to_end_do_not_keep_each_other_out(self):
        first = self.talker()
        others = [self.talker(ssrc=ssrc, first=500, timestamp=9) for ssrc in (98, 99)]
        self.bench.run(0.4, lambda now: (first(now), *(other(now) for other in others)))
        self.heard.clear()
        self.bench.run(1, lambda now: [other(now) for other in others])
        self.assertGreater(self.audible(), 0.7 * 8000)

    def test_a_second_ssrc_does_not_keep_the_first_from_starting_over(self):
        first, second = self.talker(first=9000), self.talker(ssrc=99, first=500, timestamp=9)
        self.bench.run(0.4, lambda now: (first(now), second(now)))
        first.sequence -= 3000
        self.heard.clear()
        self.bench.run(1, lambda now: (first(now), second(now)))
        self.assertGreater(self.audible(), 8000 - 3 * 160)
        self.assertEqual(int(self.bench.plane.bank.remote_ssrc[self.stream.row]), 77)

    def test_a_new_agreement_lets_it_take_over_at_once(self):
        for moved in (False, True):
            self.begin()
            first = self.talker()
            self.bench.run(0.4, first)
            source = ("198.51.100.8", 4000) if moved else PEER
            if moved:
                self.stream.update_remote_address(source, self.bench.now)
            else:
                of = agreement(self.stream)
                self.stream.establish(of, signalling_host=PEER[0], nat=None, now=self.bench.now)
            second = self.talker(ssrc=99, first=500, timestamp=9, source=source)
            self.bench.run(0.4, second)
            self.assertEqual(self.statistics.packets_received, 20 + 19, moved)
            # Once: after that it is as before.
            self.bench.run(0.4, lambda now, a=first, b=second: (a(now), b(now)))
            self.assertEqual(self.statistics.packets_received, 20 + 39, moved)

    def test_an_agreement_is_no_leave_for_ever(self):
        first, second = self.talker(), self.talker(ssrc=99, first=500, timestamp=9)
        self.bench.run(0.4, first)
        of = agreement(self.stream)
        self.stream.establish(of, signalling_host=PEER[0], nat=None, now=self.bench.now)
        self.bench.run(RELEARN / 1e9, first)
        self.bench.run(1, lambda now: (first(now), second(now)))
        self.assertEqual(self.statistics.packets_received, 20 + 100 + 50)

    def test_statistics_and_jitter_begin_anew_with_the_source(self):
        self.bench.run(0.4, self.talker())
        self.bench.run(0.3)
        self.bench.run(0.4, self.talker(ssrc=99, first=500, timestamp=9))
        statistics = self.statistics
        self.assertEqual((statistics.expected, statistics.lost), (39, 0))
        self.assertEqual(statistics.other_sources, 1)
        self.assertLess(statistics.jitter_ms, 0.1)


def key(code, sequence, timestamp, ssrc, updates=4):
    """The packets of one press."""
    packets = []
    for number in range(updates + 3):
        payload = build_event(code, 400 * min(number + 1, updates + 1), end=number >= updates)
        packets.append(rtp(sequence + number, timestamp, ssrc, payload, 101, number == 0))
    return packets


class TelephoneEventTests(Case):
    def press(self, packets, talker=None, pause=0.02):
        for data in packets:
            self.bench.io.arrive(self.stream, data)
            self.bench.run(pause, talker)

    def test_an_ssrc_of_its_own_for_telephone_events_costs_no_audio(self):
        for sequence, timestamp, ssrc in (
            (5, 3, 99),  # everything of its own
            (20_000, 2**32 - 400, 99),
            (20_000, 5, 77),  # only a sequence of its own
        ):
            self.begin()
            talker = self.talker()
            self.bench.run(0.3, talker)
            for code in (1, 2, 3):
                self.press(key(code, sequence, timestamp, ssrc), talker)
                sequence, timestamp = sequence + 7, timestamp + 4000
                self.bench.run(0.1, talker)
            self.assertEqual(self.digits(), "123")
            self.assertEqual(self.statistics.packets_received, len(talker.sent))
            self.assertEqual(self.statistics.inserted, 0)
            self.assertEqual(self.statistics.other_sources, 21)
            self.assertGreater(self.audible(), (len(talker.sent) - 3) * 160)

    def test_audio_after_keys_of_another_ssrc_is_heard_at_once(self):
        self.press(key(5, 100, 5, 99))
        talker = self.talker()
        self.bench.run(0.5, talker)
        self.bench.run(0.1)
        self.assertEqual(self.audible(), len(talker.sent) * 160)
        self.press(key(6, 107, 4005, 99), talker)
        self.assertEqual(self.digits(), "56")

    def test_keys_alone_are_reception(self):
        """Their source is heard, and so is any other; once it speaks, no other takes over."""
        self.press(key(5, 100, 5, 99) + key(6, 900, 4005, 98))
        self.assertIn("FIRST_RECEIVED", self.bench.names())
        self.assertEqual(self.digits(), "56")
        self.assertEqual(self.statistics.packets_received, 7)
        talker = self.talker(ssrc=99, first=107, timestamp=900)
        self.bench.run(0.4, talker)
        other = self.talker(ssrc=98, first=907, timestamp=900)
        self.bench.run(0.1, lambda now: (talker(now), other(now)))
        self.assertEqual(self.statistics.packets_received, 7 + 25)
        self.assertEqual(int(self.bench.plane.bank.remote_ssrc[self.stream.row]), 99)

    def test_keys_of_another_ssrc_keep_a_stream_from_being_stalled(self):
        self.bench.run(0.1, self.talker())
        for press in range(6):
            self.press(key(5, 100 + 7 * press, 4000 * press, 99))
            self.bench.run(1)
        self.assertNotIn("STALLED", self.bench.names())
        self.assertEqual(self.digits(), "555555")

    def test_keys_with_sequence_numbers_and_timestamps_that_go_back(self):
        """In the sequence of the audio, where they look late or like copies."""
        talker = self.talker(first=8300)
        self.bench.run(0.1, talker)
        for code, sequence in ((9, 8293), (8, 8253), (7, 8219), (1, 7984)):
            self.press(key(code, sequence, sequence * 8, 77), talker)
            self.bench.run(0.2, talker)
        self.assertEqual(self.digits(), "9871")

    def test_sipp_playing_its_own_digit_files(self):
        if not RECORDINGS.exists():
            raise SkipTest("sip-tester is not installed")
        for dialled in ("987", "123", "0*9#", "77", "1234567890"):
            self.begin()
            for digit in dialled:
                self.press(recorded({"*": "star", "#": "pound"}.get(digit, digit)))
                self.bench.run(0.3)
            self.assertEqual(self.digits(), dialled)

    def test_two_events_in_one_packet(self):
        both = build_event(1, 800, end=True) + build_event(2, 800, end=True)
        self.press([rtp(1, 5, 9, both, 101, 1)] + [rtp(2 + n, 5, 9, both, 101) for n in range(2)])
        self.assertEqual(self.digits(), "12")

    def test_an_event_that_is_cut_off_is_counted(self):
        for length in range(4):
            self.arrive(length, 5, 9, build_event(1, 800, end=True)[:length], 101)
            self.bench.run(0.02)
        self.assertEqual((self.digits(), self.statistics.unplayable), ("", 4))
        self.assertNotIn("FIRST_RECEIVED", self.bench.names())


def recorded(name):
    """The RTP packets of one of SIPp's recordings."""
    data, at, packets = (RECORDINGS / f"dtmf_2833_{name}.pcap").read_bytes(), 24, []
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at + 8)
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        first = frame.index(b"\x45\x00")  # of IPv4
        packets.append(frame[first + 28 :])
    return packets


class LengthTests(Case):
    def test_packets_up_to_200_ms_are_heard(self):
        for codec, payload_type in (("PCMU", 0), (L16, 96), (G722, 9)):
            for ms in (10, 20, 30, 60, 120, 160, 180, 200):
                changes = {}
                if payload_type:
                    changes = {"codec": codec, "receive_payload_type": payload_type}
                self.begin(**changes)
                octets = (160 if codec is not L16 else 320) * ms // 20
                if octets + 12 > 2048:
                    continue
                packets = 4000 // ms
                for number in range(packets):
                    payload = bytes([0x21, 0x43]) * (octets // 2)
                    self.arrive(number, number * ms * 8, 9, payload, payload_type)
                    self.bench.run(ms / 1000)
                self.bench.run(0.5)
                rate = 16_000 if codec is G722 else 8000
                heard = np.concatenate(self.heard)
                expected = packets * ms * 8000 // 1000
                self.assertGreater(np.count_nonzero(heard), 0.97 * expected, (codec, ms, rate))
                statistics = self.statistics
                self.assertEqual((statistics.late, statistics.overflow), (0, 0), (codec, ms))
                self.assertEqual(statistics.unplayable, 0)

    def test_what_cannot_be_played_is_counted_and_is_not_active(self):
        for payload in (b"", bytes(1601), bytes(1800), bytes(2036)):
            self.begin()
            for number in range(5):
                self.arrive(number, number * 160, 9, payload)
                self.bench.run(0.02)
            statistics = self.statistics
            self.assertEqual(statistics.unplayable, 5)
            self.assertEqual(statistics.packets_received, 0)
            self.assertNotIn("FIRST_RECEIVED", self.bench.names())

    def test_neither_by_the_compiled_path_nor_without_it(self):
        for compiled in (plain.compiled, None):
            self.patch(plain, "compiled", compiled)
            self.begin()
            self.bench.run(0.2, self.talker(first=0, timestamp=0))
            self.arrive(10, 1600, 77, bytes(1760))
            self.bench.run(0.1)
            self.assertEqual(self.statistics.unplayable, 1)


class RingTests(Case):
    """What the plane makes of bursts, stalls, jumps and packets out of order."""

    def bursts(self, packets, every, seconds):
        """That many packets at once, every so many ms."""
        talker, pause = self.talker(), every // 5
        turn = iter(range(100_000))

        def step(now):
            if next(turn) % pause == 0:
                for _ in range(packets):
                    self.bench.io.arrive(self.stream, talker.packet())

        self.bench.run(seconds, step)
        return talker

    def test_12_packets_every_240_ms_lose_nothing(self):
        for packets in (2, 5, 10, 12, 13, 15):
            self.begin()
            talker = self.bursts(packets, 20 * packets, 20 * packets / 1000 * 20)
            self.bench.run(1)
            lost = len(talker.sent) * 160 - self.audible()
            self.assertLessEqual(lost, 160, packets)
            self.assertEqual(self.statistics.late, 0)

    def test_a_stall_costs_the_oldest_part_of_what_it_held_back(self):
        for ms, lost in ((60, 0), (200, 0), (280, 1), (400, 7), (1000, 37)):
            self.begin()
            talker = self.talker()
            self.bench.run(1, talker)
            held = [talker.packet() for _ in range(ms // 20)]
            self.bench.run(ms / 1000)
            for data in held:
                self.bench.io.arrive(self.stream, data)
            self.bench.run(1, talker)
            self.bench.run(0.6)
            missing = len(talker.sent) - self.audible() // 160
            skipped = self.statistics.dropped  # the delay shrinks again
            self.assertEqual(missing, self.statistics.overflow + skipped, ms)
            self.assertLessEqual(missing - skipped, lost, ms)
            # What is heard at the end is what was said at the end.
            samples = np.concatenate(self.heard)
            sent = decode_ulaw(np.concatenate(talker.sent))
            end = int(np.flatnonzero(samples)[-1]) + 1
            self.assertTrue((samples[end - 8000 : end] == sent[-8000:]).all(), ms)

    def test_a_new_source_or_a_jump_costs_nothing_that_waits(self):
        for ssrc, jump in (
            (99, 7_000_000),
            (77, 5_000_000),
            (77, -5_000_000),
            (77, -400),
            (77, 9999),
        ):
            self.begin()
            talker = self.talker()
            self.bench.run(1, talker)
            if ssrc != 77:
                self.bench.plane.bank.successor_until[self.stream.row] = 1 << 62
            talker.ssrc = ssrc
            talker.timestamp += jump
            self.bench.run(1, talker)
            self.bench.run(0.3)
            missing = len(talker.sent) - self.audible() // 160
            # RFC 3550 A.1: the first packet of a new source waits for a second.
            self.assertEqual(missing, int(ssrc != 77), (ssrc, jump))
            samples = np.concatenate(self.heard)
            begin, end = np.flatnonzero(samples)[[0, -1]]
            gap = end + 1 - begin - self.audible()
            self.assertEqual(gap, 160 * missing, (ssrc, jump))
            self.assertEqual(self.statistics.inserted, 0)

    def test_timestamps_that_stand_still_are_played_as_they_come(self):
        talker = self.talker()
        for _ in range(50):
            self.bench.io.arrive(self.stream, talker.packet())
            talker.timestamp -= 160
            self.bench.run(0.02)
        self.bench.run(0.3)
        self.assertEqual(self.audible(), 50 * 160)

    def test_a_first_packet_that_is_read_in_a_late_tick_waits_for_40_ms(self):
        for late in range(0, 60, 3):
            for phase in range(4):
                for ptime in (20, 40, 60):
                    self.begin(ptime=ptime)
                    self.bench.run(0.1 + phase * 0.005)
                    self.bench.now += late * MILLISECOND
                    read = self.bench.now
                    self.bench.io.arrive(self.stream, self.talker().packet())
                    while not self.audible():
                        self.bench.run(0.005)
                    waited = (self.bench.now - TICK - read) // MILLISECOND
                    # Of longer packets the frames are taken together, ahead of their time.
                    self.assertGreaterEqual(waited, 37 - (ptime - 20), (late, phase, ptime))
                    self.assertLess(waited, 65 + ptime, (late, phase, ptime))

    def test_packets_that_are_overtaken_make_the_ring_deeper(self):
        """A few are late; those after them, as much behind, are heard."""
        for behind in (2, 3, 4, 5):
            self.begin()
            talker = self.talker()
            packets = [talker.packet() for _ in range(400)]
            held = []
            for number, data in enumerate(packets):
                # Every tenth comes after some that were sent later.
                if number % 10 == 5:
                    held.append((number + behind, data))
                else:
                    self.bench.io.arrive(self.stream, data)
                while held and held[0][0] <= number:
                    self.bench.io.arrive(self.stream, held.pop(0)[1])
                self.bench.run(0.02)
            self.bench.run(0.4)
            self.assertLessEqual(self.statistics.late, behind, behind)
            self.assertGreaterEqual(self.audible(), (400 - behind) * 160)

    def test_a_delay_for_overtaken_packets_is_taken_back_when_there_are_no_more(self):
        talker = self.talker()
        self.bench.run(1, talker)
        for _ in range(10):
            late, packets = talker.packet(), [talker.packet() for _ in range(4)]
            for data in (*packets, late):
                self.bench.io.arrive(self.stream, data)
                self.bench.run(0.02)
        bank, row = self.bench.plane.bank, self.stream.row
        deep = int(bank.end[row] - bank.play[row])
        self.assertGreaterEqual(deep, 4 * 160)
        self.bench.run(20, talker)
        self.assertLessEqual(int(bank.end[row] - bank.play[row]), 4 * 160)
        self.assertLess(int(bank.end[row] - bank.play[row]), deep)

    def test_inserted_counts_what_was_lost_and_no_pause(self):
        """Pauses of any length, before and after losses of any number of packets."""
        for pause in (1, 2, 5, 20, 40, 100):
            for lost in (0, 1, 2, 3, 12):
                self.begin()
                talker = self.talker()
                self.bench.run(0.5, talker)
                talker.timestamp += 160 * pause
                self.bench.run(0.02 * pause)
                self.bench.run(0.5, talker)
                for _ in range(lost):
                    talker.packet()
                    self.bench.run(0.02)
                self.bench.run(0.5, talker)
                talker.timestamp += 160 * pause
                self.bench.run(0.02 * pause)
                self.bench.run(0.2, talker)
                self.bench.run(2)
                self.assertEqual(self.statistics.inserted, lost, (pause, lost))
                self.assertEqual(self.statistics.lost, lost)

    def test_inserted_counts_what_came_late(self):
        for late in (3, 5, 10):
            self.begin()
            talker = self.talker()
            self.bench.run(1, talker)
            held = [talker.packet() for _ in range(late)]
            self.bench.run(0.02 * late)
            for data in held:
                self.bench.io.arrive(self.stream, data)
            self.bench.run(0.5, talker)
            # Silence in place of what waited, and the delay that begins once more.
            self.assertLessEqual(abs(self.statistics.inserted - late), 1, late)


class ArrivalTests(Case):
    def test_jitter_is_that_of_the_network_and_not_of_the_tick(self):
        """Packets come at any time between two ticks; that they are read at a tick is no jitter."""
        for compiled in (plain.compiled, None):
            self.patch(plain, "compiled", compiled)
            self.begin()
            talker = self.talker(first=0, timestamp=0)
            begun = self.bench.now
            chance = np.random.default_rng(3)
            late = np.zeros(200, np.int64)
            jitter = 0.0
            for kind in ("steady", "late"):
                if kind == "late":
                    late = chance.integers(0, 15 * MILLISECOND, 200)
                for number in range(200):
                    sent = begun + len(talker.sent) * 20_100_000 * 1000 // 1005
                    came = sent + int(late[number])
                    while self.bench.now < came:
                        self.bench.run(0.005)
                    self.bench.io.arrive(self.stream, talker.packet(), arrival=came)
                    self.bench.plane.tick(self.bench.now)
                    self.bench.now += TICK
                if kind == "steady":
                    self.assertLess(self.statistics.jitter_ms, 0.13)
            for one, other in pairwise(late):
                jitter += (abs(int(other) - int(one)) / 1e6 - jitter) / 16
            self.assertLess(abs(self.statistics.jitter_ms - jitter), 0.05)

    def test_round_trips_are_measured_by_arrival(self):
        self.bench.run(1, self.talker())
        own = int(self.bench.plane.bank.ssrc[self.stream.row])
        sent = self.bench.now - 100 * MILLISECOND
        last_sr = (sent << 32) // 10**9 >> 16 & 0xFFFF_FFFF
        block = ReportBlock(own, 0, 0, 0, 0, last_sr, 0)
        data = build_report(77, b"p", sender=SenderInfo(1, 1, 1, 1), blocks=[block])
        self.bench.io.arrive_rtcp(self.stream, data, arrival=self.bench.now - 40 * MILLISECOND)
        self.bench.run(0.005)
        self.assertLess(abs(self.statistics.round_trip_ms - 60), 0.1)

    def test_audio_is_that_of_the_talker(self):
        talker = self.talker()
        self.bench.run(0.5, talker)
        samples = np.concatenate(self.heard)
        start = int(np.flatnonzero(samples)[0])
        sent = decode_ulaw(np.concatenate(talker.sent))
        self.assertTrue((samples[start:] == sent[: len(samples) - start]).all())
