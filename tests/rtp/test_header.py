from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.rtp.header import parse_headers, write_headers
from tests.data import data_file

WIDTH = 256


def slow_parse(packet: bytes) -> tuple[int, ...] | None:
    """RFC 3550 section 5.1 and A.1, read aloud: the fields, or None."""
    if len(packet) < 12 or packet[0] >> 6 != 2:
        return None
    offset = 12 + 4 * (packet[0] & 15)
    if packet[0] & 0x10:
        if len(packet) < offset + 4:
            return None
        (words,) = struct.unpack_from("!H", packet, offset + 2)
        offset += 4 + 4 * words
    padding = 0
    if packet[0] & 0x20:
        padding = packet[-1]
        if padding == 0:
            return None
    length = len(packet) - offset - padding
    if length < 0:
        return None
    sequence, timestamp, ssrc = struct.unpack_from("!HII", packet, 2)
    marker, payload_type = packet[1] >> 7, packet[1] & 127
    return marker, payload_type, sequence, timestamp, ssrc, offset, length


def rows_of(packets: list[bytes], width: int = WIDTH, fill: int = 0) -> tuple:
    matrix = np.full((len(packets), width), fill, np.uint8)
    for row, packet in enumerate(packets):
        matrix[row, : len(packet)] = np.frombuffer(packet, np.uint8)
    return matrix, np.array([len(packet) for packet in packets], np.int64)


def fast_parse(packets: list[bytes], fill: int = 0) -> list[tuple[int, ...] | None]:
    batch = parse_headers(*rows_of(packets, fill=fill))
    columns = (
        batch.marker.astype(int),
        batch.payload_type,
        batch.sequence,
        batch.timestamp,
        batch.ssrc,
        batch.payload_offset,
        batch.payload_length,
    )
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [value if ok else None for ok, value in zip(batch.ok, values, strict=True)]


def with_flags(flags: int, packet: bytes) -> bytes:
    return bytes([flags]) + packet[1:] if packet else packet


anything = st.binary(max_size=WIDTH)
plain = st.builds(with_flags, st.just(0x80), st.binary(min_size=12, max_size=WIDTH))
valid_version = st.builds(with_flags, st.integers(0x80, 0xBF), anything)
small_extension = st.builds(
    lambda flags, head, words, rest: with_flags(flags, head + bytes([0, words]) + rest),
    st.sampled_from([0x90, 0xB0]),
    st.binary(min_size=14, max_size=14),
    st.integers(0, 20),
    st.binary(max_size=100),
)


class Parse(SynchronousTestCase):
    @settings(max_examples=300)
    @given(st.lists(anything | plain | valid_version | small_extension, max_size=12), st.booleans())
    def test_equals_the_slow_reference(self, packets, stale):
        # Rows are reused: what an earlier, longer packet left behind must not matter.
        fast = fast_parse(packets, fill=255 if stale else 0)
        self.assertEqual(fast, [slow_parse(packet) for packet in packets])

    def test_plain_rows_are_not_disturbed_by_odd_ones(self):
        plain_packet = struct.pack("!BBHII", 0x80, 0x80, 65535, 2**32 - 1, 2**32 - 2) + b"x" * 160
        odd = struct.pack("!BBHIII", 0x81, 8, 1, 2, 3, 4) + b"y" * 10
        packets = [plain_packet, odd, plain_packet, b"", odd]
        self.assertEqual(fast_parse(packets), [slow_parse(packet) for packet in packets])

    def test_each_way_to_be_broken(self):
        head = struct.pack("!BHII", 0, 1, 2, 3)
        broken = {
            "too short": b"\x80" + head[:10],
            "version 1": b"\x40" + head,
            "version 3": b"\xc0" + head,
            "CSRCs cut off": b"\x82" + head + bytes(7),
            "extension header cut off": b"\x90" + head + bytes(3),
            "extension cut off": b"\x90" + head + b"\xbe\xde\0\2" + bytes(7),
            "extension of 64 K words": b"\x90" + head + b"\xbe\xde\xff\xff",
            "padding of 0": b"\xa0" + head + bytes(4),
            "padding into the header": b"\xa0" + head + bytes(3) + b"\x05",
            "padding into the CSRCs": b"\xa1" + head + bytes(4) + b"\0\0\0\5",
        }
        self.assertEqual(fast_parse(list(broken.values())), [None] * len(broken))

    def test_longer_than_the_buffer_is_not_ok(self):
        matrix, _ = rows_of([b"\x80" + bytes(171)] * 3, width=172)
        self.assertEqual(parse_headers(matrix, [172, 173, 65535]).ok.tolist(), [True, False, False])
        matrix[:, 0] = 0xA0
        matrix[:, -1] = 1
        self.assertEqual(parse_headers(matrix, [172, 173, 65535]).ok.tolist(), [True, False, False])

    def test_narrow_and_empty_batches(self):
        self.assertEqual(len(parse_headers(np.zeros((0, 172), np.uint8), []).ok), 0)
        for first in range(256):
            matrix = np.full((1, 12), first, np.uint8)
            expected = slow_parse(bytes(matrix[0]))
            self.assertEqual(bool(parse_headers(matrix, [12]).ok[0]), expected is not None)

    def test_arithmetic_does_not_wrap(self):
        batch = parse_headers(*rows_of([b"\x80\xff" + b"\xff" * 10]))
        for column in (batch.sequence, batch.timestamp, batch.ssrc, batch.payload_length):
            self.assertEqual(column.dtype, np.int64)
        self.assertEqual((batch.timestamp + 1).tolist(), [2**32])
        self.assertEqual((batch.sequence + 1).tolist(), [2**16])


class RealPackets(SynchronousTestCase):
    def parse(self, name):
        packet = data_file("rtp", name)
        (fields,) = fast_parse([packet])
        self.assertEqual(fields, slow_parse(packet))
        return packet, fields

    def test_g711(self):
        _, fields = self.parse("rtp.bin")
        self.assertEqual(fields, (0, 0, 15743, 3937035252, 4028317929, 12, 160))

    def test_csrcs(self):
        _, fields = self.parse("rtp_with_csrc.bin")
        self.assertEqual(fields[5:], (20, 160))

    def test_extension(self):
        packet, fields = self.parse("rtp_with_sdes_mid.bin")
        self.assertEqual(fields[5:], (20, len(packet) - 20))

    def test_telephone_event(self):
        _, fields = self.parse("rtp_dtmf.bin")
        self.assertEqual(fields[:2], (1, 101))
        self.assertEqual(fields[5:], (12, 4))

    def test_only_padding(self):
        self.assertEqual(self.parse("rtp_only_padding.bin")[1][5:], (12, 0))
        name = "rtp_only_padding_with_header_extensions.bin"
        self.assertEqual(self.parse(name)[1][5:], (20, 0))


class Write(SynchronousTestCase):
    @settings(max_examples=100)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 1),
                st.integers(0, 127),
                st.integers(0, 2**40),
                st.integers(0, 2**40),
                st.integers(0, 2**32 - 1),
            ),
            min_size=1,
            max_size=8,
        )
    )
    def test_round_trip_with_counters_that_ran_over(self, fields):
        out = np.full((len(fields), 20), 0xEE, np.uint8)
        marker, payload_type, sequence, timestamp, ssrc = (
            np.array(column, np.int64) for column in zip(*fields, strict=True)
        )
        write_headers(out, payload_type, marker, sequence, timestamp, ssrc)
        self.assertTrue((out[:, 12:] == 0xEE).all())
        expected = [(m, pt, s % 2**16, t % 2**32, c, 12, 8) for m, pt, s, t, c in fields]
        self.assertEqual(fast_parse([bytes(row) for row in out]), expected)

    def test_one_value_for_all_rows(self):
        out = np.zeros((2, 12), np.uint8)
        write_headers(out, 8, False, [1, 2], 3, 4)
        self.assertEqual(bytes(out[1]), struct.pack("!BBHII", 0x80, 8, 2, 3, 4))
        write_headers(out, 8, True, [1, 2], -1, 4)
        self.assertEqual(bytes(out[0]), struct.pack("!BBHII", 0x80, 0x88, 1, 2**32 - 1, 4))
