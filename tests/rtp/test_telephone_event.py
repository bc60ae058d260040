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
    """One packet.  Where it has no sequence number it is numbered as it is fed."""

    sequence = None

    def __init__(self, digit, timestamp, duration, end=False, marker=False, row=0, ssrc=7):
        self.row, self.timestamp, self.marker, self.ssrc = row, timestamp, marker, ssrc
        self.payload = build_event(DIGITS.index(digit), duration, end=end)

    def __repr__(self):
        return f"<{self.row} {self.timestamp} {self.payload.hex()} {self.marker}>"


def key(digit, timestamp, row=0, updates=4, ends=3):
    """The packets of one press, 50 ms apart, as RFC 4733 section 2.5.1 sends them."""
    packets = [
        Packet(digit, timestamp, 400 * n, marker=n == 1, row=row) for n in range(1, updates + 1)
    ]
    last = 400 * (updates + 1)
    return packets + [Packet(digit, timestamp, last, end=True, row=row) for _ in range(ends)]


def numbered(packets, first=0):
    """Give each a sequence number, in the order in which they were sent."""
    for number, packet in enumerate(packets, first):
        packet.sequence = number & 0xFFFF
    return packets


def feed(detector, packets, now=0):
    """All packets in one batch."""
    sequence = getattr(detector, "test_sequence", 0)
    for packet in packets:
        if packet.sequence is None:
            packet.sequence = sequence
        sequence = (packet.sequence + 1) & 0xFFFF
    detector.test_sequence = sequence
    width = max(len(p.payload) for p in packets)
    payloads = np.array([list(p.payload.ljust(width, b"\xff")) for p in packets], np.uint8)
    return detector.feed(
        np.array([p.row for p in packets], np.int64),
        np.array([p.ssrc for p in packets], np.int64),
        np.array([p.sequence for p in packets], np.int64),
        np.array([p.timestamp for p in packets], np.int64),
        np.array([p.marker for p in packets], np.bool_),
        parse_events(payloads, [len(p.payload) for p in packets]),
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
        found = (batch.event[0], batch.end[0], batch.volume[0], batch.duration[0])
        self.assertEqual(found, (1, True, 10, 960))

    def test_too_short(self):
        batch = parse_events(np.ones((4, 8), np.uint8), [3, 4, 5, 0])
        self.assertEqual(batch.packet.tolist(), [1, 2])

    def test_two_events_and_padding(self):
        two = build_event(1, 800, end=True) + build_event(2, 240)
        payloads = np.array([list(two + bytes(4)), list(bytes(12))], np.uint8)
        batch = parse_events(payloads, [12, 12])
        self.assertEqual(batch.packet.tolist(), [0, 0, 1])
        self.assertEqual(batch.place.tolist(), [0, 1, 0])
        self.assertEqual(batch.event.tolist(), [1, 2, 0])
        self.assertEqual(batch.offset.tolist(), [0, 800, 0])
        self.assertEqual(batch.end.tolist(), [True, False, False])

    def test_no_more_than_eight_events_of_a_packet_are_read(self):
        whole = b"".join(build_event(1, 80, end=True) for _ in range(100))
        batch = parse_events(np.array([list(whole)], np.uint8), [len(whole)])
        self.assertEqual(len(batch.event), 8)

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
        packets = numbered(key("5", 1000))
        self.assertEqual(feed_each(detector, packets[:4]), [])
        self.assertEqual(feed(detector, packets[4:5]), [Digit(0, "5", 250)])
        self.assertEqual(feed(detector, packets[5:]), [])

    def test_a_whole_key_in_one_batch(self):
        packets = numbered(key("5", 1000))
        self.assertEqual(feed(DigitDetector(), packets * 2), [Digit(0, "5", 250)])

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
        self.assertEqual(detector.feed(zeros, zeros, zeros, zeros, zeros > 0, batch, 0), [])

    @settings(max_examples=200)
    @given(st.data())
    def test_loss_and_doubling_never_make_or_lose_a_key_that_left_a_packet(self, data):
        digits = data.draw(st.lists(st.sampled_from(DIGITS), min_size=1, max_size=5))
        packets, expected, sequence = [], "", 65_530
        for number, digit in enumerate(digits):
            whole = numbered(key(digit, (2**32 - 8000 + 4000 * number) % 2**32), sequence)
            sequence += len(whole)
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
        packets = numbered(key("5", 1000))
        feed(detector, packets[:2], 0)
        detector.expire(501 * MILLISECOND)
        self.assertEqual(feed(detector, packets[3:], 600 * MILLISECOND), [])

    def test_late_packets_of_the_key_before(self):
        first, second = numbered(key("5", 1000)), numbered(key("6", 5000), 7)
        packets = [*first[:-1], *second[:2], first[1], first[-1], *second[2:], first[-1]]
        found = feed_each(DigitDetector(), packets)
        self.assertEqual([d.digit for d in found], ["5", "6"])

    def test_late_first_packet_of_a_key_that_ended(self):
        packets = numbered(key("5", 1000))
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
        late = numbered([Packet("5", 1000, 400), Packet("5", 1000, 2000, end=True, marker=True)])
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

    def test_a_key_of_a_new_ssrc_is_heard_whatever_its_timestamp(self):
        """The source before does not say which timestamps are late."""
        for timestamp in (999, 1000, 500, 5000, 2**31 + 1000):
            detector = DigitDetector()
            packets = key("5", 1000)
            for digit in ("5", "6"):
                other = key(digit, timestamp)
                for packet in other:
                    packet.ssrc = ord(digit)
                packets += numbered(other, 3)
            found = [d.digit for d in feed_each(detector, packets)]
            self.assertEqual(found, ["5", "5", "6"], timestamp)

    def test_late_packets_of_the_source_before_are_no_second_press(self):
        first, second = numbered(key("5", 1000), 500), numbered(key("6", 10), 20)
        for packet in second:
            packet.ssrc = 8
        packets = [*first[:-2], *second[:3], first[-1], first[0], *second[3:], first[-2]]
        found = feed_each(DigitDetector(), packets, 20 * MILLISECOND)
        self.assertEqual([d.digit for d in found], ["5", "6"])

    def test_a_sequence_that_began_again_is_told_from_a_late_packet(self):
        """RFC 3550 appendix A.1: 100 back is the limit."""
        for back, heard in ((99, 0), (100, 1)):
            detector = DigitDetector()
            packets = numbered(key("5", 1000), 500)
            feed_each(detector, packets)
            (other,) = numbered([Packet("5", 9000, 400)], packets[-1].sequence - back)
            self.assertEqual(feed(detector, [other], 400 * MILLISECOND), [])
            self.assertEqual(len(detector.expire(10**12)), heard, back)

    def test_the_last_eight_keys_are_known(self):
        for back, heard in ((8, 0), (9, 1)):
            packets = [numbered(key("5", 4000 * n), 100 * n) for n in range(9)]
            detector = DigitDetector()
            feed_each(detector, [packet for each in packets for packet in each], 20 * MILLISECOND)
            late = packets[-back][-1]
            self.assertEqual(len(feed(detector, [late], 10 * MILLISECOND)), heard, back)

    def test_older_timestamps_in_newer_packets_are_keys(self):
        for back in (1, 160, 4000, 39_999, 40_001, 2**31):
            packets = key("9", 67_840) + key("8", 67_840 - back) + key("8", 67_840 - 2 * back)
            found = [d.digit for d in feed_each(DigitDetector(), packets)]
            self.assertEqual("".join(found), "988", back)

    def test_recordings_of_one_source_in_any_order(self):
        """What SIPp does with its files: 987 goes back in timestamp and in sequence number."""
        firsts = {
            "9": (8293, 67_840),
            "8": (8253, 60_800),
            "7": (8219, 54_720),
            "1": (7984, 13_280),
        }
        for dialled in ("987", "789", "9189", "1987", "98798"):
            detector, now, found = DigitDetector(), 0, ""
            for digit in dialled:
                sequence, timestamp = firsts[digit]
                for packet in numbered(key(digit, timestamp), sequence):
                    now += 20 * MILLISECOND
                    found += "".join(d.digit for d in feed(detector, [packet], now))
                now += 300 * MILLISECOND
            self.assertEqual(found, dialled)

    def test_a_recording_played_again_is_another_press(self):
        for pause, expected in ((201, "55"), (200, "5")):
            detector, packets = DigitDetector(), numbered(key("5", 1000))
            found = feed(detector, packets, 0) + feed(detector, packets, pause * MILLISECOND)
            self.assertEqual("".join(d.digit for d in found), expected, pause)

    def test_two_keys_in_one_packet(self):
        """RFC 4733 section 2.5.1.5; the first is repeated until its end has come for sure."""
        first, second = build_event(1, 800, end=True), [build_event(2, n) for n in (160, 320, 480)]
        packets = key("1", 1000, updates=1, ends=0)
        for payload in (first + second[0], first + second[1], second[2]):
            packet = Packet("1", 1000 if len(payload) > 4 else 1800, 0)
            packet.payload = payload
            packets.append(packet)
        packets.append(Packet("2", 1800, 640, end=True))
        for batched in (False, True):
            detector = DigitDetector()
            found = feed(detector, packets) if batched else feed_each(detector, packets)
            self.assertEqual(found, [Digit(0, "1", 100), Digit(0, "2", 80)])

    def test_keys_of_one_timestamp_are_told_apart_by_the_marker(self):
        for pause in (1, 60, 1000):
            detector, now, found = DigitDetector(), 0, []
            for packet in numbered(key("5", 1000) + key("5", 1000) + key("5", 1000, ends=0)):
                now += pause * MILLISECOND
                found += feed(detector, [packet], now)
            found += detector.expire(10**12)
            self.assertEqual([d.digit for d in found], ["5"] * 3, pause)

    def test_keys_of_one_timestamp_are_told_apart_by_a_gap(self):
        """Between them there is audio; the packet with the marker was lost, or there is none."""
        for ends in (0, 1, 3):
            packets = numbered(key("5", 1000, ends=ends)) + numbered(key("5", 1000), 50)
            for packet in packets:
                packet.marker = False
            detector = DigitDetector()
            found = feed_each(detector, packets, 20 * MILLISECOND)
            self.assertEqual([d.digit for d in found], ["5", "5"], ends)

    def test_end_packets_with_timestamps_of_their_own(self):
        for step in (1, 160, -160, 400):
            packets = []
            for press in range(3):
                whole = key("5", 10_000 + 4000 * press)
                for number, packet in enumerate(whole[-3:], 1):
                    packet.timestamp += number * step
                packets += whole
            for lost in range(-1, 7):
                kept = [p for n, p in enumerate(numbered(packets)) if n != lost]
                found = feed_each(DigitDetector(), kept, 20 * MILLISECOND)
                self.assertEqual([d.digit for d in found], ["5"] * 3, (step, lost))

    def test_a_timestamp_for_every_packet(self):
        packets = []
        for press in range(2):
            whole = key("5", 10_000 + 4000 * press)
            for number, packet in enumerate(whole):
                packet.timestamp += 160 * number
            packets += whole
        late = numbered(packets)
        late[1], late[2] = late[2], late[1]
        found = feed_each(DigitDetector(), late, 20 * MILLISECOND)
        self.assertEqual([d.digit for d in found], ["5", "5"])

    @settings(max_examples=200)
    @given(
        st.lists(st.sampled_from("123"), min_size=1, max_size=6),
        st.sampled_from(["own", "one timestamp", "back", "own ends", "new source"]),
        st.integers(0, 65_535),
    )
    def test_each_key_once_whatever_the_sender_does(self, digits, kind, sequence):
        packets = []
        for number, digit in enumerate(digits):
            step = {"one timestamp": 0, "back": -4000}.get(kind, 4000)
            whole = key(digit, (1000 + number * step) % 2**32)
            if kind == "own ends":
                for count, packet in enumerate(whole[-3:], 1):
                    packet.timestamp += 160 * count
            if kind == "new source":
                for packet in whole:
                    packet.ssrc, packet.timestamp = number, 1000
            packets += whole
        found = feed_each(DigitDetector(), numbered(packets, sequence), 20 * MILLISECOND)
        self.assertEqual("".join(d.digit for d in found), "".join(digits))
