from itertools import pairwise

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media import limits
from sessioncore.media.bank import TOGETHER
from sessioncore.media.playout import PhaseClock
from sessioncore.media.sinks import Deliver, Record
from sessioncore.media.sources import Clip, Echo, Silence
from sessioncore.media.statistics import PlaneStatistics
from sessioncore.media.wave import read_wav
from sessioncore.rtp.codecs.l16 import L16
from sessioncore.rtp.codecs.pcma import PCMA
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.rtp.g711 import decode_alaw, decode_ulaw
from sessioncore.vocabulary import MILLISECOND, SECOND, Direction
from tests.media.fakes import PEER, TICK, Bench, Talker, rtp_fields

OTHER = "203.0.113.9"
RAMP = (np.arange(16_000) * 11 % 12_000 - 6_000).astype(np.int16)


class PhaseClockTests(SynchronousTestCase):
    def setUp(self):
        self.statistics = PlaneStatistics()
        self.clock = PhaseClock(self.statistics)

    def due(self, now):
        phases, skipped = self.clock.due(now)
        return list(phases), skipped

    def test_a_tick_every_5_ms_plays_a_phase_each(self):
        played = [self.due(100 + turn * TICK) for turn in range(8)]
        self.assertEqual(played, [([turn], 0) for turn in range(8)])

    def test_ticks_that_jitter_play_a_phase_each(self):
        self.due(0)
        for turn in range(1, 100):
            jitter = (turn * 7919 % 2_000_000) - 1_000_000
            self.assertEqual(self.due(turn * TICK + jitter), ([turn], 0))

    def test_a_late_tick_plays_what_it_missed(self):
        self.due(0)
        self.assertEqual(self.due(3 * TICK), ([1, 2, 3], 0))
        self.assertEqual(self.statistics.caught_up_phases, 2)
        self.assertEqual(self.due(3 * TICK + 1000), ([], 0))
        self.assertEqual(self.due(4 * TICK), ([4], 0))

    def test_what_comes_far_too_late_is_skipped_in_whole_periods(self):
        self.due(0)
        phases, skipped = self.due(SECOND)
        self.assertEqual(len(phases) + 4 * skipped, 200)
        self.assertLessEqual(len(phases), 8)
        self.assertEqual(phases[0] % 4, 1)
        self.assertEqual(self.statistics.missed_phases, 4 * skipped)
        self.assertEqual(self.due(SECOND + TICK)[1], 0)

    def test_a_first_tick_that_came_late_is_forgotten(self):
        self.due(2 * MILLISECOND)
        for turn in range(1, 200):
            self.due(turn * TICK)
        self.assertLess(abs(self.clock._next - 200 * TICK), MILLISECOND // 4)
        self.assertEqual(self.statistics.phases, 200)

    def test_after_a_stop_time_that_went_by_is_not_missed(self):
        self.due(0)
        self.clock.stop()
        self.assertEqual(self.due(SECOND), ([1], 0))


class SendingTests(SynchronousTestCase):
    def setUp(self):
        self.bench = Bench()

    def packets(self, stream):
        return [data for data, _ in stream.lease.sent]

    def heard_by_peer(self, stream, decode=decode_ulaw):
        packets = self.packets(stream)
        return np.concatenate([decode(np.frombuffer(each[12:], np.uint8)) for each in packets])

    def test_a_packet_every_20_ms_with_a_header_that_counts(self):
        stream = self.bench.call()
        self.bench.run(1)
        headers = [rtp_fields(data) for data in self.packets(stream)]
        self.assertEqual(len(headers), 50)
        self.assertEqual([marker for marker, *_ in headers], [1] + [0] * 49)
        self.assertEqual({kind for _, kind, *_ in headers}, {0})
        for former, later in pairwise(headers):
            self.assertEqual((later[2] - former[2]) & 0xFFFF, 1)
            self.assertEqual((later[3] - former[3]) & 0xFFFF_FFFF, 160)
            self.assertEqual(later[4], former[4])

    def test_without_a_source_silence_is_sent(self):
        stream = self.bench.call()
        self.bench.run(0.1)
        self.assertEqual({data[12:] for data in self.packets(stream)}, {b"\xff" * 160})

    def test_silence_is_what_zeros_are_encoded_to(self):
        """Silent packets are not encoded: they must be the same as if they were."""
        for codec in (PCMU, PCMA, L16):
            silent, zeros = self.bench.call(codec=codec), self.bench.call(codec=codec)
            zeros.set_source(Clip(np.zeros(16_000, np.int16)))
            self.bench.run(0.1)
            payloads = [{data[12:] for data in self.packets(each)} for each in (silent, zeros)]
            self.assertEqual(len(payloads[0]), 1)
            self.assertEqual(*payloads)

    def test_rows_that_echo_need_no_frames(self):
        """The codes of one are told from those of the other: the same as with a sink that hears."""
        formats = [{}, {"codec": PCMA, "send_payload_type": 8}, {"proven": False, "host": OTHER}]
        for gain in (0.0, -6.0, 12.0):
            outcomes = []
            for heard in (False, True):
                bench = Bench()
                streams = [bench.call(**formats[number // 4 % 3]) for number in range(24)]
                for stream in streams:
                    stream.set_source(Echo(gain))
                if heard:
                    for stream in streams:
                        stream.set_sink(Deliver(lambda samples: None))
                else:
                    self.patch(bench.plane.playout, "_render", None)
                talkers = [Talker(bench, stream) for stream in streams[:20]]
                rounds = iter(range(10_000))

                def talk(now, talkers=talkers, rounds=rounds):
                    lost = next(rounds) % 31 == 0
                    for talker in talkers:
                        talker(now) if not lost else talker.packet()

                bench.run(2.5, talk)
                outcomes.append([self.packets(stream) for stream in streams])
                self.assertTrue(bench.plane.bank.inserted[:20].any())
            self.assertEqual(*outcomes)
            self.assertEqual({len(packets) for packets in outcomes[0]}, {125, 101})

    def test_who_echoes_otherwise_is_not_told_from_the_others(self):
        """Another gain, source, length or codec, or comfort noise: frames are made."""
        sources = {"gain": Echo(-3.0), "source": Clip(RAMP), "silence": Silence()}
        formats = {"length": {"ptime": 40}, "codec": {"codec": L16}}
        outcomes = {}
        for change in ("none", *sources, *formats, "noise"):
            bench = Bench()
            streams = [bench.call(), bench.call(**formats.get(change, {}))]
            # Both play in the first phase, as the first rows do.
            streams[0].set_source(Echo(-6.0))
            streams[1].set_source(sources.get(change, Echo(-6.0)))
            talkers = [Talker(bench, stream) for stream in streams]
            if change == "noise":
                bench.plane.bank.noisy[streams[1].row] = True
                bench.plane.bank.noise_level[streams[1].row] = 30
                bench.plane.playout.revise(streams[1].row)
                talkers.pop()
            bench.run(0.5, lambda now, talkers=talkers: [talker(now) for talker in talkers])
            echoed, outcomes[change] = (
                b"".join(data[12:] for data in self.packets(stream)) for stream in streams
            )
            self.assertEqual(echoed, outcomes["none"], change)
        self.assertEqual(len(set(outcomes.values())), len(outcomes))
        silent = [change for change, sent in outcomes.items() if set(sent) == {255}]
        self.assertEqual(silent, ["silence"])

    def test_rows_are_spread_over_the_phases(self):
        bench = Bench(ports=5 * TOGETHER)
        streams = [bench.call() for _ in range(4 * TOGETHER + 8)]
        for _ in range(4):
            before = [len(self.packets(stream)) for stream in streams]
            bench.run(0.005)
            sent = [len(self.packets(s)) - b for s, b in zip(streams, before, strict=True)]
            self.assertEqual(sum(sent), TOGETHER + 2)

    def test_few_rows_are_played_in_one_step(self):
        streams = [self.bench.call() for _ in range(8)]
        sent = []
        for _ in range(5):
            self.bench.run(0.005)
            sent.append(sum(len(self.packets(stream)) for stream in streams))
        self.assertEqual(sent, [8, 8, 8, 8, 16])

    def test_each_codec_and_length_goes_out_as_agreed(self):
        cases = [
            ({}, decode_ulaw, 160),
            ({"codec": PCMA, "send_payload_type": 8}, decode_alaw, 160),
            ({"codec": L16, "send_payload_type": 97}, _decode_l16, 320),
            ({"ptime": 40}, decode_ulaw, 320),
            ({"ptime": 60, "codec": PCMA}, decode_alaw, 480),
            ({"ptime": 30}, decode_ulaw, 160),
            ({"ptime": 60, "codec": L16}, _decode_l16, 960),
        ]
        streams = [self.bench.call(**changes) for changes, _, _ in cases]
        for stream in streams:
            stream.set_source(Clip(RAMP))
        self.bench.run(1.2)
        for stream, (changes, decode, size) in zip(streams, cases, strict=True):
            self.assertEqual({len(data) - 12 for data in self.packets(stream)}, {size}, changes)
            heard = self.heard_by_peer(stream, decode)
            self.assertEqual(len(heard), 9600, changes)
            difference = np.abs(heard.astype(int) - RAMP[: len(heard)])
            self.assertLessEqual(int(difference.max()), 260, changes)
            kind = changes.get("send_payload_type", 0)
            self.assertEqual({rtp_fields(d)[1] for d in self.packets(stream)}, {kind})
            steps = {
                (rtp_fields(b)[3] - rtp_fields(a)[3]) & 0xFFFF_FFFF
                for a, b in pairwise(self.packets(stream))
            }
            self.assertEqual(steps, {changes.get("ptime", 20) // 20 * 160})

    def test_an_echo_comes_back_with_the_right_samples_at_every_length(self):
        for ptime in (20, 40, 60):
            stream = self.bench.call(ptime=ptime)
            stream.set_source(Echo())
            talker = Talker(self.bench, stream)
            self.bench.run(2, talker)
            sent = decode_ulaw(np.concatenate(talker.sent))
            back = self.heard_by_peer(stream)
            start = int(np.flatnonzero(back)[0])
            self.assertLessEqual(start, 3 * 480 + 320)
            whole = len(back) - start
            self.assertTrue((back[start:] == sent[:whole]).all(), ptime)
            self.assertGreater(whole, 14_000)

    def test_what_nobody_hears_passes_as_if_it_were_heard(self):
        """Frames that need not be made are taken from the ring all the same."""
        for ptime in (20, 40):
            outcomes = []
            for heard in (False, True):
                bench = Bench()
                stream = bench.call(ptime=ptime)
                talker = Talker(bench, stream)
                if heard:
                    stream.set_sink(Deliver(lambda samples: None))
                else:
                    self.patch(bench.plane.playout, "_render", None)
                bench.run(0.5, talker)
                talker.packet()  # is lost
                bench.run(0.5, talker)
                bench.run(1)
                bank = bench.plane.bank
                columns = (bank.lanes[0].filled, bank.play, bank.slack, bank.inserted)
                outcomes.append([column.tolist() for column in columns])
                self.assertEqual(len(self.packets(stream)), 2000 // ptime)
            self.assertEqual(*outcomes)
            self.assertGreater(bank.inserted[stream.row], 0)

    def test_who_may_not_send_still_hears(self):
        stream = self.bench.call(direction=Direction.RECVONLY)
        heard = []
        stream.set_sink(Deliver(heard.append))
        self.bench.run(1, Talker(self.bench, stream))
        self.assertEqual(self.packets(stream), [])
        self.assertGreater(np.count_nonzero(np.concatenate(heard)), 7000)

    def test_stopping_and_starting_again_keeps_time_and_marks_the_start(self):
        stream = self.bench.call()
        self.bench.run(0.2)
        stream.sending.stop()
        self.bench.run(1)
        count = len(self.packets(stream))
        self.assertEqual(count, 10)
        stream.sending.start(self.bench.now, True)
        self.bench.run(0.2)
        last, first = rtp_fields(self.packets(stream)[9]), rtp_fields(self.packets(stream)[10])
        self.assertEqual(first[0], 1)
        self.assertEqual((first[2] - last[2]) & 0xFFFF, 1)
        self.assertEqual((first[3] - last[3]) & 0xFFFF_FFFF, 8000 + 160)

    def test_packets_the_kernel_refuses_are_counted_and_are_not_sent(self):
        stream = self.bench.call()
        self.bench.io.broken = True
        self.bench.run(0.2)
        self.assertEqual(stream.statistics.send_errors, 10)
        self.assertEqual(stream.statistics.packets_sent, 0)
        self.assertEqual(self.bench.names(), [])
        self.bench.io.broken = False
        self.bench.run(0.2)
        self.assertEqual(self.bench.names(), ["FIRST_SENT"])

    def test_skipped_time_shows_in_the_timestamps(self):
        stream = self.bench.call()
        self.bench.run(0.1)
        self.bench.now += SECOND
        self.bench.run(0.1)
        stamps = [rtp_fields(data)[3] for data in self.packets(stream)]
        self.assertEqual((stamps[-1] - stamps[0]) & 0xFFFF_FFFF, round(1.18 * 8000) // 160 * 160)

    def test_a_recording_is_as_long_as_the_call_whatever_was_skipped(self):
        for stereo in (False, True):
            for late in (100 * MILLISECOND, 3 * SECOND):
                bench, path = Bench(), self.mktemp()
                began = bench.now
                stream = bench.call(ptime=40)
                recording = stream.set_sink(Record(path, stereo))
                stream.set_source(Clip(np.full(8000, 1000, np.int16), loop=True))
                other = bench.call()
                talker = Talker(bench, stream)
                bench.run(1.0, talker)
                bench.now += late
                unheard = other.set_sink(Record(self.mktemp()))
                bench.run(1.0, talker)
                stream.close(bench.now)
                samples = self.read(recording)
                lasted = (bench.now - began) * 8000 // SECOND
                self.assertLessEqual(abs(len(samples) - lasted), 2 * 320)
                self.assertFalse(samples[8_400 : len(samples) - 9_000].any())
                self.assertTrue(samples[-1_000:].any())
                bench.plane.close(bench.now)
                self.assertEqual(len(self.read(unheard)), 8_000, "it began after that")

    def read(self, recording):
        recording.finished.result(20)
        return read_wav(recording.path).samples


FOREIGN_SIP = "203.0.113.9"
"""Of a peer whose media address is another."""


class UnprovenPathTests(SynchronousTestCase):
    """How much is sent before something comes (`sessioncore.media.limits`)."""

    def setUp(self):
        self.bench = Bench()

    def sent(self, stream, since=0):
        return len(stream.lease.sent) - since

    def test_an_unproven_path_gets_two_seconds_then_a_packet_a_second(self):
        for host in (PEER[0], FOREIGN_SIP):
            stream = self.bench.call(proven=False, host=host)
            self.bench.run(8)
            self.assertIn(self.sent(stream), (106, 107))
            self.assertEqual(stream.statistics.held_back, 400 - self.sent(stream))

    def test_the_ack_lifts_it(self):
        stream = self.bench.call(proven=False)
        self.bench.run(4)
        stream.sending.prove_path(self.bench.now)
        before = self.sent(stream)
        self.bench.run(20)
        self.assertEqual(self.sent(stream, before), 1000)

    def test_after_the_ack_a_foreign_ip_gets_ten_seconds(self):
        stream = self.bench.call(proven=False, host=FOREIGN_SIP)
        self.bench.run(4)
        stream.sending.prove_path(self.bench.now)
        before = self.sent(stream)
        self.bench.run(20)
        self.assertIn(self.sent(stream, before), (510, 511))

    def test_the_caller_has_the_same_limit(self):
        stream = self.bench.call(proven=True, host=FOREIGN_SIP)
        self.bench.run(20)
        self.assertIn(self.sent(stream), (510, 511))

    def test_a_packet_of_the_peer_lifts_it(self):
        for proven in (False, True):
            stream = self.bench.call(proven=proven, host=FOREIGN_SIP)
            talker = Talker(self.bench, stream)
            self.bench.run(15)
            before = self.sent(stream)
            self.bench.run(0.1, talker)
            self.bench.run(6.9)
            self.assertGreater(self.sent(stream, before), 344)

    def test_rtcp_of_the_peer_lifts_it_and_that_of_the_sip_peer_does_not(self):
        report = b"\x80\xc9\0\x01abcd"
        stream = self.bench.call(host=FOREIGN_SIP)
        self.bench.run(15)
        before = self.sent(stream)
        self.bench.io.arrive_rtcp(stream, report, (FOREIGN_SIP, 4001))
        self.bench.run(5)
        self.assertIn(self.sent(stream, before), (4, 5))
        self.bench.io.arrive_rtcp(stream, report)
        before = self.sent(stream)
        self.bench.run(5)
        self.assertEqual(self.sent(stream, before), 250)
        # It does not hide the first packet.
        self.bench.run(0.1, Talker(self.bench, stream))
        self.assertIn("FIRST_RECEIVED", self.bench.names(stream))

    def test_a_stranger_does_not(self):
        stream = self.bench.call(proven=False)
        self.bench.run(8, Talker(self.bench, stream, ("192.0.2.66", 4000)))
        self.assertIn(self.sent(stream), (106, 107))

    def test_ten_streams_at_a_time_towards_an_ip_that_sent_nothing(self):
        streams = [self.bench.call(proven=False) for _ in range(12)]
        self.bench.run(2)
        self.assertEqual([self.sent(each) for each in streams], [100] * 10 + [2] * 2)
        self.assertEqual(self.bench.plane.statistics.streams_held_back, 2)
        # Two seconds later there is room for another ten.
        self.bench.run(0.1)
        again = self.bench.call(proven=False)
        streams[-1].sending.prove_path(self.bench.now)
        before = self.sent(streams[-1])
        self.bench.run(1)
        self.assertEqual((self.sent(again), self.sent(streams[-1], before)), (50, 50))

    def test_more_towards_an_ip_that_sent_media_in_the_last_five_minutes(self):
        stream = self.bench.call()
        self.bench.run(0.1, Talker(self.bench, stream))
        stream.close(self.bench.now)
        self.bench.now += 299 * SECOND
        streams = [self.bench.call(proven=False) for _ in range(12)]
        self.bench.run(1)
        self.assertEqual({self.sent(each) for each in streams}, {50})
        for each in streams:
            each.close(self.bench.now)
        self.bench.now += 2 * SECOND
        streams = [self.bench.call(proven=False) for _ in range(12)]
        self.bench.run(1)
        self.assertEqual([self.sent(each) for each in streams], [50] * 10 + [1] * 2)

    def test_what_is_remembered_of_destinations_is_bounded(self):
        self.patch(limits, "MOST_KNOWN", 3)
        known = limits.Limits(self.bench.plane.statistics)
        for number in range(9):
            known.heard(f"192.0.2.{number}", number * SECOND)
            known.begin(f"198.51.100.{number}", number * SECOND)
        self.assertEqual(len(known._heard), 3)
        self.assertLessEqual(len(known._begun), 3)

    def test_icmp_stops_it_until_something_comes(self):
        stream = self.bench.call()
        self.bench.run(1)
        self.bench.io.fail(stream.row, refused=True, text=f"{PEER[0]}:{PEER[1]}")
        self.bench.run(0.02)
        before = self.sent(stream)
        self.bench.run(20)
        self.assertEqual(self.sent(stream, before), 0)
        self.assertEqual(self.bench.plane.statistics.streams_stopped, 1)
        self.bench.run(0.1, Talker(self.bench, stream))
        self.bench.run(0.9)
        self.assertGreater(self.sent(stream, before), 45)

    def test_icmp_before_the_ack_is_forgotten_with_it(self):
        """Many phones open their port when they read the 200."""
        stream = self.bench.call(proven=False)
        self.bench.io.fail(stream.row, refused=True, text=f"{PEER[0]}:{PEER[1]}")
        self.bench.run(1)
        before = self.sent(stream)
        stream.sending.prove_path(self.bench.now)
        self.bench.run(1)
        self.assertEqual(self.sent(stream, before), 50)

    def test_icmp_of_elsewhere_or_of_a_peer_that_speaks_does_not_stop_it(self):
        stream = self.bench.call()
        self.bench.io.fail(stream.row, refused=True, text=f"{PEER[0]}:9")
        self.bench.run(1)
        self.assertEqual(self.sent(stream), 50)
        talker = Talker(self.bench, stream)
        self.bench.run(1, talker)
        self.bench.io.fail(stream.row, refused=True, text=f"{PEER[0]}:{PEER[1]}")
        before = self.sent(stream)
        self.bench.run(1, talker)
        self.assertEqual(self.sent(stream, before), 50)

    def test_a_new_agreement_does_not_start_the_time_again(self):
        from tests.media.fakes import agreement

        stream = self.bench.call(proven=False)
        self.bench.run(1.5)
        stream.establish(agreement(stream), signalling_host=PEER[0], nat=None, now=self.bench.now)
        stream.sending.start(self.bench.now, False)
        self.bench.run(6.5)
        self.assertIn(self.sent(stream), (106, 107))

    def test_another_address_starts_the_time_again_and_the_same_does_not(self):
        moved = (PEER[0], 5000)
        stream = self.bench.call(proven=False)
        self.bench.run(1)
        stream.update_remote_address(PEER, self.bench.now)
        self.bench.run(4)
        stream.update_remote_address(moved, self.bench.now)
        self.bench.run(8)
        sent = [address for _, address in stream.lease.sent]
        self.assertIn(sent.count(PEER), (103, 104))
        self.assertIn(sent.count(moved), (106, 107))

    def test_the_time_at_another_address_starts_when_sending_does(self):
        stream = self.bench.call(proven=False)
        self.bench.run(1)
        stream.sending.stop()
        stream.update_remote_address((PEER[0], 5000), self.bench.now)
        self.bench.run(4)
        stream.sending.start(self.bench.now, False)
        self.bench.run(2)
        self.assertEqual(self.sent(stream), 50 + 100)

    def test_a_proven_path_stays_so_at_another_address(self):
        stream = self.bench.call(proven=False)
        stream.sending.prove_path(self.bench.now)
        stream.update_remote_address((PEER[0], 5000), self.bench.now)
        stream.sending.start(self.bench.now, False)
        self.bench.run(8)
        self.assertEqual(self.sent(stream), 400)

    def test_a_proven_row_beside_it_is_not_held_back(self):
        proven = self.bench.call()
        others = [self.bench.call(proven=False) for _ in range(4)]
        self.bench.run(8)
        self.assertEqual(self.sent(proven), 400)
        self.assertTrue({self.sent(each) for each in others} <= {106, 107})


def _decode_l16(octets):
    return octets.view(">i2").astype(np.int16)
