from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.rtp.header import parse_headers
from sessioncore.rtp.telephone_event import (
    DIGITS,
    Digit,
    DigitDetector,
    build_event,
    parse_events,
)
from sessioncore.vocabulary import MILLISECOND
from tests.data import data_file


class Packet:
    def __init__(self, digit, timestamp, duration, end=False, marker=False, row=0):
        self.row, self.timestamp, self.marker = row, timestamp, marker
        self.payload = build_event(DIGITS.index(digit), duration, end=end)

    def __repr__(self):
        return f"<{self.row} {self.timestamp} {self.payload.hex()} {self.marker}>"


def key(digit, timestamp, row=0, updates=4, ends=3):
    """The packets of one press, 50 ms apart, as RFC 4733 section 2.5.1 sends them."""
    packets = [
        Packet(digit, timestamp, 400 * n, marker=n == 1, row=row) for n in range(1, updates + 1)
    ]
    return packets + [Packet(digit, timestamp, 400 * (updates + 1), end=True, row=row)] * ends


def feed(detector, packets, now=0):
    """All packets in one batch."""
    payloads = np.array([list(p.payload) for p in packets], np.uint8).reshape(-1, 4)
    return detector.feed(
        np.array([p.row for p in packets], np.int64),
        np.array([p.timestamp for p in packets], np.int64),
        np.array([p.marker for p in packets], np.bool_),
        parse_events(payloads, [4] * len(packets)),
        now,
    )


def feed_each(detector, packets, step=50 * MILLISECOND):
    """One packet per batch, in time."""
    digits = []
    for index, packet in enumerate(packets):
        digits += feed(detector, [packet], index * step)
    return digits


class Payload(SynchronousTestCase):
    def test_real_packet(self):
        packet = np.frombuffer(data_file("rtp", "rtp_dtmf.bin"), np.uint8)[None, :]
        header = parse_headers(packet, [16])
        batch = parse_events(packet[:, int(header.payload_offset[0]) :], header.payload_length)
        found = (batch.ok[0], batch.event[0], batch.end[0], batch.volume[0], batch.duration[0])
        self.assertEqual(found, (True, 1, True, 10, 960))

    def test_too_short(self):
        batch = parse_events(np.zeros((3, 8), np.uint8), [3, 4, 5])
        self.assertEqual(batch.ok.tolist(), [False, True, True])

    def test_reserved_bit_is_passed_over(self):
        batch = parse_events(np.array([[5, 0xFF, 0xFF, 0xFF]], np.uint8), [4])
        self.assertEqual((batch.volume[0], batch.duration[0]), (63, 65535))


class OncePerKey(SynchronousTestCase):
    def test_a_whole_key(self):
        self.assertEqual(feed_each(DigitDetector(), key("5", 1000)), [Digit(0, "5", 250)])

    def test_every_key(self):
        detector = DigitDetector()
        packets = [p for n, digit in enumerate(DIGITS) for p in key(digit, 8000 * n)]
        self.assertEqual("".join(d.digit for d in feed_each(detector, packets)), DIGITS)

    def test_the_same_key_twice(self):
        packets = key("5", 1000) + key("5", 5000)
        self.assertEqual(len(feed_each(DigitDetector(), packets)), 2)

    def test_it_is_told_of_with_the_first_end(self):
        detector = DigitDetector()
        packets = key("5", 1000)
        self.assertEqual(feed_each(detector, packets[:4]), [])
        self.assertEqual(feed(detector, packets[4:5]), [Digit(0, "5", 250)])
        self.assertEqual(feed(detector, packets[5:]), [])

    def test_a_whole_key_in_one_batch(self):
        self.assertEqual(feed(DigitDetector(), key("5", 1000) * 2), [Digit(0, "5", 250)])

    def test_rows_do_not_mix(self):
        packets = [
            p
            for trio in zip(
                key("1", 7, row=3), key("2", 7, row=900), key("1", 7, row=0), strict=True
            )
            for p in trio
        ]
        digits = feed(DigitDetector(rows=1), packets)
        expected = [Digit(3, "1", 250), Digit(900, "2", 250), Digit(0, "1", 250)]
        self.assertEqual(digits, expected)

    def test_what_is_no_key(self):
        payloads = np.array([[16, 0x80, 1, 0], [255, 0x80, 1, 0], [5, 0x80, 1, 0]], np.uint8)
        detector = DigitDetector()
        zeros = np.zeros(3, np.int64)
        batch = parse_events(payloads, [4, 4, 3])
        self.assertEqual(detector.feed(zeros, zeros, zeros > 0, batch, 0), [])

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.data())
    def test_loss_and_doubling_never_make_or_lose_a_key_that_left_a_packet(self, data):
        digits = data.draw(st.lists(st.sampled_from(DIGITS), min_size=1, max_size=5))
        packets, expected = [], ""
        for number, digit in enumerate(digits):
            whole = key(digit, (2**32 - 8000 + 4000 * number) % 2**32)
            copies = data.draw(
                st.lists(st.integers(0, 2), min_size=len(whole), max_size=len(whole))
            )
            kept = [p for p, count in zip(whole, copies, strict=True) for _ in range(count)]
            # Neighbours change places, within one key.
            for at in data.draw(st.lists(st.integers(0, 20), max_size=3)):
                if at + 1 < len(kept):
                    kept[at], kept[at + 1] = kept[at + 1], kept[at]
            packets += kept
            expected += digit if kept else ""
        detector = DigitDetector()
        found = feed_each(detector, packets, 20 * MILLISECOND)
        found += detector.expire(10**12)
        self.assertEqual("".join(d.digit for d in found), expected)


class Lost(SynchronousTestCase):
    def test_start_lost(self):
        self.assertEqual(feed_each(DigitDetector(), key("5", 1000)[-1:]), [Digit(0, "5", 250)])

    def test_end_lost_and_another_key(self):
        packets = key("5", 1000, ends=0) + key("6", 9000)
        expected = [Digit(0, "5", 200), Digit(0, "6", 250)]
        self.assertEqual(feed_each(DigitDetector(), packets), expected)
        self.assertEqual(feed(DigitDetector(), packets), expected)

    def test_end_lost_and_nothing_more(self):
        detector = DigitDetector()
        self.assertEqual(feed(detector, key("5", 1000, ends=0), 0), [])
        self.assertEqual(detector.expire(500 * MILLISECOND), [])
        self.assertEqual(detector.expire(501 * MILLISECOND), [Digit(0, "5", 200)])
        self.assertEqual(detector.expire(9999 * MILLISECOND), [])

    def test_the_longest_duration_seen_counts(self):
        detector = DigitDetector()
        feed_each(detector, [Packet("5", 1000, 800), Packet("5", 1000, 400)])
        self.assertEqual(detector.expire(10**12), [Digit(0, "5", 100)])

    def test_ends_that_come_after_it_was_given_up(self):
        detector = DigitDetector()
        feed(detector, key("5", 1000, ends=0), 0)
        detector.expire(501 * MILLISECOND)
        self.assertEqual(feed(detector, key("5", 1000)[-3:], 600 * MILLISECOND), [])

    def test_late_packets_of_the_key_before(self):
        first, second = key("5", 1000), key("6", 5000)
        packets = [*first[:-1], *second[:2], first[1], first[-1], *second[2:], first[-1]]
        found = feed_each(DigitDetector(), packets)
        self.assertEqual([d.digit for d in found], ["5", "6"])

    def test_late_first_packet_of_a_key_that_ended(self):
        packets = key("5", 1000)
        found = feed_each(DigitDetector(), [*packets[1:], packets[0]], 20 * MILLISECOND)
        self.assertEqual(found, [Digit(0, "5", 250)])


class OddSenders(SynchronousTestCase):
    def test_another_key_under_the_same_timestamp(self):
        packets = key("5", 1000) + key("6", 1000)
        self.assertEqual([d.digit for d in feed_each(DigitDetector(), packets)], ["5", "6"])

    def test_the_same_key_under_the_same_timestamp(self):
        detector = DigitDetector()
        found = feed_each(detector, key("5", 1000))
        for packet in key("5", 1000):
            found += feed(detector, [packet], 1000 * MILLISECOND)
        self.assertEqual([d.digit for d in found], ["5", "5"])

    def test_what_comes_very_late_is_no_second_press(self):
        detector = DigitDetector()
        feed_each(detector, key("5", 1000))
        late = [Packet("5", 1000, 400), Packet("5", 1000, 2000, end=True, marker=True)]
        for packet in late:
            self.assertEqual(feed(detector, [packet], 2000 * MILLISECOND), [])
        self.assertEqual(detector.expire(10**12), [])

    def test_a_key_right_after_the_longest(self):
        packets = [
            Packet("5", 1000, 65535, end=True, marker=True),
            Packet("5", 66535, 800, end=True, marker=True),
        ]
        expected = [Digit(0, "5", 8191), Digit(0, "5", 100)]
        self.assertEqual(feed_each(DigitDetector(), packets), expected)

    def test_a_timestamp_far_back_is_another_key(self):
        packets = key("5", 100_000) + key("6", 10)
        self.assertEqual([d.digit for d in feed_each(DigitDetector(), packets)], ["5", "6"])

    def test_a_long_press_is_one_key(self):
        # Section 2.5.1.3: a new segment starts where the longest duration ends.
        packets = [
            Packet("5", 1000, 8000, marker=True),
            Packet("5", 1000, 65535),
            Packet("5", 66535, 8000),
            Packet("5", 66535, 65535),
            Packet("5", 132070, 1600),
            *[Packet("5", 132070, 3200, end=True)] * 3,
        ]
        expected = [Digit(0, "5", (2 * 65535 + 3200) // 8)]
        self.assertEqual(feed_each(DigitDetector(), packets), expected)
        self.assertEqual(feed(DigitDetector(), packets), expected)

    def test_timestamps_that_start_again(self):
        packets = key("5", 3_000_000_000) + key("6", 100)
        self.assertEqual([d.digit for d in feed_each(DigitDetector(), packets)], ["5", "6"])

    def test_reset_forgets(self):
        detector = DigitDetector()
        feed(detector, key("5", 1000, ends=0))
        detector.reset(0)
        detector.reset(10_000)
        self.assertEqual(detector.expire(10**12), [])
        self.assertEqual(len(feed(detector, key("5", 1000))), 1)
