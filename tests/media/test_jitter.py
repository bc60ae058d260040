import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media import jitter
from sessioncore.media.bank import Bank
from sessioncore.media.lane import REACH

FRAME = 160
TARGET = 2 * FRAME


class Ring:
    """One row, fed by hand; sample s of the sender has the value s % 30000 + 1."""

    def __init__(self, start=2**32 - 500):
        self.bank = Bank(2)
        self.lane = self.bank.lanes[0]
        self.rows = np.array([self.bank.take_row(), self.bank.take_row()])
        self.row = self.rows[1:]
        self.start = start
        self.fresh = True

    def put(self, first, count=160, step=1, restart=None):
        """The packet that begins with sample ``first``; whether it was taken."""
        if restart is None:
            restart, self.fresh = self.fresh, False
        position, usable = jitter.place(
            self.bank,
            self.lane,
            self.row,
            np.array([(self.start + first) & 0xFFFF_FFFF]),
            np.array([count]),
            step=np.array([step]),
            restart=np.array([restart]),
            lag=np.zeros_like,
        )
        if usable[0]:
            samples = (np.arange(first, first + count) % 30000 + 1).astype(np.int16)
            jitter.store(self.lane, self.row, position, samples[None, :])
        return bool(usable[0])

    def play(self, frames=1):
        played = [jitter.next_frames(self.bank, self.lane, self.row)[0][0] for _ in range(frames)]
        return np.concatenate(played).astype(int)

    def count(self, name):
        return int(getattr(self.bank, name)[self.row[0]])


def samples(first, count=160):
    return list(np.arange(first, first + count) % 30000 + 1)


class OrderTests(SynchronousTestCase):
    def test_the_first_packet_is_played_after_the_target_delay(self):
        ring = Ring()
        ring.put(0)
        self.assertEqual(list(ring.play(3)), [0] * TARGET + samples(0))

    def test_timestamps_wrap(self):
        ring = Ring(start=2**32 - 200)
        for first in range(0, 800, 160):
            self.assertTrue(ring.put(first))
        self.assertEqual(list(ring.play(7)[TARGET:]), samples(0, 800))

    def test_reordered_packets_are_played_in_order(self):
        ring = Ring()
        ring.put(0)
        ring.put(320)
        ring.put(160, step=-1)
        self.assertEqual(list(ring.play(5)[TARGET:]), samples(0, 480))

    def test_a_lost_packet_leaves_20_ms_of_silence_in_its_place(self):
        ring = Ring()
        ring.put(0)
        ring.put(320, step=2)
        self.assertEqual(list(ring.play(5)[TARGET:]), samples(0) + [0] * 160 + samples(320))
        self.assertEqual(ring.count("inserted"), 1)

    def test_what_was_played_is_not_played_again_a_ring_later(self):
        ring = Ring()
        ring.put(0)
        ring.play(3)
        self.assertEqual(set(ring.play(24)), {0})

    def test_a_late_packet_is_counted_and_not_played(self):
        ring = Ring()
        ring.put(0)
        ring.put(480, step=3)
        ring.play(5)
        self.assertFalse(ring.put(160, step=-2))
        self.assertEqual(ring.count("late"), 1)
        self.assertEqual(list(ring.play(2)), [0] * 160 + samples(480))

    @given(st.integers(0, 40), st.lists(st.integers(0, 20), min_size=1, max_size=8))
    def test_who_heard_nothing_yet_may_be_left_out(self, frames, packets):
        played, left_out = Ring(), Ring()
        self.assertEqual(set(played.play(frames + 1)), {0})
        for ring in (played, left_out):
            self.assertTrue(jitter.untouched(ring.bank, ring.row))
            ring.taken = [ring.put(160 * packet) for packet in packets]
            self.assertFalse(jitter.untouched(ring.bank, ring.rows))
        self.assertEqual(played.taken, left_out.taken)
        self.assertEqual(list(played.play(30)), list(left_out.play(30)))
        self.assertFalse(jitter.untouched(played.bank, played.row))

    def test_rows_do_not_touch_one_another(self):
        ring = Ring()
        ring.put(0)
        other = np.array([0])
        self.assertFalse(jitter.next_frames(ring.bank, ring.lane, other)[0].any())
        self.assertEqual(ring.bank.play[0], FRAME)
        self.assertEqual(ring.count("play"), 0)


class LengthTests(SynchronousTestCase):
    def test_packets_of_any_length_make_the_same_audio(self):
        for count in (40, 80, 160, 200, 240, 320, 480, 640):
            ring = Ring()
            for first in range(0, 1280 - count + 1, count):
                self.assertTrue(ring.put(first, count), (count, first))
            end = 1280 // count * count
            frames = (TARGET + end + 159) // 160
            self.assertEqual(list(ring.play(frames)[TARGET : TARGET + end]), samples(0, end), count)

    def test_off_the_grid_half_a_frame_is_blanked_before_it_is_written(self):
        ring = Ring()
        ring.put(0)
        for first in range(160, 160 * 30, 160):
            ring.play()
            ring.put(first)
        ring.play(3)
        # Everything was written once over; a packet of 10 ms now leaves the rest silent.
        ring.put(first + 160, 80)
        played = ring.play(12)
        self.assertEqual(sorted(set(played[played > 0])), sorted(samples(first + 160, 80)))


class MisfitTests(SynchronousTestCase):
    """Packets that are longer or shorter than their timestamps say."""

    def misfits(self, put, packets=20):
        ring = Ring()
        for number in range(packets):
            put(ring, number)
            ring.play()
        return ring.count("misfits"), ring.count("misfit_by")

    def test_longer_and_shorter_ones(self):
        for count, by in ((170, 10), (320, 160), (20, -140)):
            seen = self.misfits(lambda ring, number, count=count: ring.put(number * 160, count))
            self.assertEqual(seen, (19, 19 * by))

    def test_what_fits_is_none(self):
        for count in (80, 160, 240, 480):
            seen = self.misfits(lambda ring, number, count=count: ring.put(number * count, count))
            self.assertEqual(seen, (0, 0))

    def test_a_pause_is_none(self):
        for pause in (160, 1600):
            seen = self.misfits(lambda ring, number, p=pause: ring.put(number * (160 + p)))
            self.assertEqual(seen, (0, 0))

    def test_loss_reordering_and_a_new_source_are_none(self):
        def put(ring, number):
            order = (0, 2, 1)[number % 3] + number // 3 * 4  # every fourth is lost
            step = {0: 2 if number else 1, 1: 2, 2: -1}[number % 3]
            ring.put(order * 160, step=step)

        self.assertEqual(self.misfits(put), (0, 0))
        seen = self.misfits(lambda ring, number: ring.put(number * 100, restart=True))
        self.assertEqual(seen, (0, 0))


class DelayTests(SynchronousTestCase):
    def steady(self, ring, packets, first=0):
        for index in range(packets):
            ring.put(first + index * 160)
            ring.play()

    def test_a_gap_in_the_network_anchors_anew_when_the_ring_ran_empty(self):
        ring = Ring()
        self.steady(ring, 10)
        ring.play(10)  # 200 ms without a packet, then all at once
        taken = [ring.put(first) for first in range(1600, 1600 + 8 * 160, 160)]
        self.assertEqual(taken, [True] * 8)
        self.assertEqual(list(ring.play(10)[TARGET:]), samples(1600, 8 * 160))
        self.assertEqual(ring.count("late"), 0)

    def test_a_pause_of_the_sender_costs_nothing(self):
        ring = Ring()
        self.steady(ring, 10)
        ring.play(400)
        self.assertTrue(ring.put(1600 + 400 * 160))
        played = ring.play(10)
        self.assertEqual(list(played[played > 0]), samples(1600 + 400 * 160))
        self.assertLess(ring.count("inserted"), 70)

    def test_a_jump_of_the_timestamps_is_followed_at_once(self):
        for jump in (10_000_000, -10_000_000):
            ring = Ring()
            self.steady(ring, 10)
            self.assertTrue(ring.put(1600 + jump))
            played = ring.play(3)
            self.assertEqual(list(played), samples(1280, 320) + samples(1600 + jump), jump)
            self.assertEqual(ring.count("overflow"), 0)

    def test_an_old_packet_with_a_wild_timestamp_moves_nothing(self):
        ring = Ring()
        self.steady(ring, 10)
        self.assertFalse(ring.put(10_000_000, step=-1))
        self.assertFalse(ring.put(-10_000_000, step=-1))
        self.assertTrue(ring.put(1600))
        self.assertEqual((ring.count("overflow"), ring.count("late")), (1, 1))

    def test_a_flood_never_holds_more_than_the_ring(self):
        ring = Ring()
        for index in range(100):
            ring.put(index * 160)
            self.assertLessEqual(ring.count("end") - ring.count("play"), REACH * 160)
        self.assertGreater(ring.count("overflow"), 0)

    def test_a_delay_that_is_not_needed_is_taken_back(self):
        ring = Ring()
        for index in range(8):
            ring.put(index * 160)
        for index in range(8, 8 + 1000):
            ring.put(index * 160)
            ring.play()
            if index % 100 == 0:
                jitter.trim(ring.bank, ring.lane, ring.row)
        depth = ring.count("end") - ring.count("play")
        self.assertLessEqual(depth, TARGET + 2 * FRAME)
        self.assertGreaterEqual(depth, TARGET)
        self.assertGreater(ring.count("dropped"), 3)

    def test_a_delay_that_is_needed_stays(self):
        ring = Ring()
        for index in range(0, 1000, 5):  # five packets every 100 ms
            for each in range(5):
                ring.put((index + each) * 160)
            ring.play(5)
            if index % 100 == 0:
                jitter.trim(ring.bank, ring.lane, ring.row)
        self.assertEqual(ring.count("dropped"), 0)
        self.assertEqual(ring.count("late"), 0)

    def test_a_faster_and_a_slower_clock_are_followed(self):
        for parts in (1.002, 0.998):
            ring = Ring()
            sent = 0
            for turn in range(20_000):
                while sent < turn * parts:
                    ring.put(sent * 160)
                    sent += 1
                ring.play()
                if turn % 100 == 0:
                    jitter.trim(ring.bank, ring.lane, ring.row)
            self.assertLess(ring.count("late"), 5)
            changes = ring.count("dropped") + ring.count("inserted") + ring.count("overflow")
            self.assertTrue(30 <= changes <= 140, changes)


class PropertyTests(SynchronousTestCase):
    @settings(max_examples=60)
    @given(st.lists(st.sampled_from(["on time", "lost", "swapped", "doubled"]), max_size=60))
    def test_everything_that_comes_within_the_delay_is_played_in_place(self, fates):
        ring = Ring()
        ring.put(0)
        due = {}
        for index, fate in enumerate(fates, 1):
            if fate != "lost":
                due.setdefault(index + (fate == "swapped"), []).append(index)
            if fate == "doubled":
                due.setdefault(index + 1, []).append(index)
        played = [ring.play()]
        newest = 0
        for turn in range(1, len(fates) + 4):
            for index in due.get(turn, []):
                ring.put(index * 160, step=index - newest)
                newest = max(newest, index)
            played.append(ring.play())
        heard = np.concatenate(played)[TARGET:]
        for index, fate in enumerate(fates, 1):
            frame = heard[index * 160 : (index + 1) * 160]
            if len(frame) == 160 and fate != "lost":
                self.assertEqual(list(frame), samples(index * 160), (index, fate))
