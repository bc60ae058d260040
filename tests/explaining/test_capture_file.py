from __future__ import annotations

import io
import struct
import tracemalloc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import UnreadableInput
from sessioncore.explaining.capture_file import Capture, Frame, is_capture
from tests.explaining.captures import (
    A,
    B,
    block,
    ethernet,
    interface,
    packet_block,
    pcap,
    pcapng,
    section,
    udp,
)

AT = 1_700_000_000_123_456_789
PACKET = udp(A, B, b"hello")
FRAME = ethernet(PACKET)


def frames(data: bytes) -> tuple[list[Frame], str | None]:
    """The frames of a file, and the problem at its end."""
    capture = Capture(io.BytesIO(data[4:]), data[:4])
    return list(capture), capture.problem


class Pcap(SynchronousTestCase):
    def test_both_byte_orders_and_resolutions(self) -> None:
        for order in "<>":
            for nano, at in ((False, AT - AT % 1000), (True, AT)):
                data = pcap([(AT, PACKET)], order=order, nano=nano)
                self.assertTrue(is_capture(data))
                self.assertEqual(frames(data), ([Frame(at, 1, FRAME, len(FRAME))], None))

    def test_the_link_type_is_its_lower_half(self) -> None:
        """The upper half says whether frames end in a checksum."""
        data = pcap([(AT, PACKET)])
        data = data[:20] + struct.pack("<I", 0x14000001) + data[24:]
        self.assertEqual(frames(data)[0][0].link_type, 1)

    def test_the_end_is_missing(self) -> None:
        data = pcap([(AT, PACKET), (AT, PACKET)])
        for cut, where in ((1, "a packet"), (len(FRAME) + 1, "the header of a packet")):
            read, problem = frames(data[:-cut])
            self.assertEqual(len(read), 1)
            self.assertEqual(
                problem,
                f"the capture cannot be read after packet 1: the file ends within {where}",
            )

    def test_nothing_can_be_read(self) -> None:
        for data, why in (
            (pcap([])[:20], "the file ends within its header"),
            (pcap([(AT, PACKET)])[:-1], "the file ends within a packet"),
            (b"\xd4\xc3\xb2\xa1" + struct.pack("<HH", 3, 1) + bytes(16), "pcap of version 3.1"),
        ):
            with self.assertRaisesRegex(UnreadableInput, why):
                frames(data)

    def test_a_capture_without_packets_is_one(self) -> None:
        self.assertEqual(frames(pcap([])), ([], None))

    def test_hostile_length(self) -> None:
        data = pcap([(AT, PACKET)]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF) + b"abc"
        read, problem = frames(data)
        self.assertEqual(len(read), 1)
        assert problem is not None
        self.assertTrue(problem.endswith("a packet claims to have 4,294,967,295 bytes"), problem)


class Pcapng(SynchronousTestCase):
    def test_both_byte_orders(self) -> None:
        for order in "<>":
            read, problem = frames(pcapng([(AT, PACKET)], order=order))
            self.assertEqual(read, [Frame(AT - AT % 1000, 1, FRAME, len(FRAME))])
            self.assertIsNone(problem)

    def test_sections_interfaces_and_blocks_that_are_not_known(self) -> None:
        data = b"".join(
            (
                section(">"),
                block(5, b"statistics", ">"),
                block(0x0BAD, bytes(200_000), ">"),
                interface(101, ">"),
                interface(1, ">"),
                packet_block(AT, FRAME, ">", number=1),
                section("<", version=(1, 9)),
                interface(113),
                packet_block(AT, b"four"),
            )
        )
        read, problem = frames(data)
        self.assertEqual(
            [(each.link_type, each.data) for each in read], [(1, FRAME), (113, b"four")]
        )
        self.assertIsNone(problem)

    def test_time_resolution_and_offset(self) -> None:
        for option, units in ((bytes([9]), 10**9), (bytes([0x80 | 20]), 2**20), (bytes([3]), 1000)):
            options = struct.pack("<HH", 9, 1) + option + bytes(3)
            options += struct.pack("<HHq", 14, 8, 5) + struct.pack("<HH", 0, 0)
            data = section() + interface(1, options=options) + packet_block(AT, FRAME, units=units)
            (frame,), _ = frames(data)
            self.assertLess(abs(frame.at - AT - 5_000_000_000), 1_000_000_001 // units * 2 + 2)

    def test_the_older_and_the_simple_packet(self) -> None:
        head = struct.pack("<HHIIII", 0, 0, 0, 5_000_000, len(FRAME), 99)
        simple = block(3, struct.pack("<I", len(FRAME)) + FRAME)
        read, _ = frames(section() + interface() + block(2, head + FRAME) + simple)
        self.assertEqual(
            read,
            [Frame(5_000_000_000, 1, FRAME, 99), Frame(5_000_000_000, 1, FRAME, len(FRAME))],
        )

    def test_a_simple_packet_is_cut_to_the_snap_length(self) -> None:
        cut = block(1, struct.pack("<HHI", 1, 0, 8))
        read, _ = frames(section() + cut + block(3, struct.pack("<I", 99) + FRAME[:8]))
        self.assertEqual(read[0].data, FRAME[:8])

    def test_what_is_broken(self) -> None:
        good = section() + interface()
        for data, why in (
            (section()[:-1], "ends within a block"),
            (section()[:10], "ends within a section header"),
            (b"\x0a\x0d\x0d\x0a" + bytes(24), "no byte order mark"),
            (section(version=(2, 0)), "pcapng of version 2.0, and 1.0 is known"),
            (good + packet_block(AT, FRAME, number=1), "interface 1, which is not described"),
            (good + struct.pack("<II", 6, 0xFFFFFFF0), "claims to have 4,294,967,280 bytes"),
            (good + struct.pack("<II", 6, 8), "a block claims to have 8 bytes"),
            (good + struct.pack("<II", 77, 15), "a block claims to have 15 bytes"),
            (good + struct.pack("<II", 77, 0xFFFFFFF0), "ends within a block"),
            (good + block(6, bytes(16)), "a packet block is too short"),
            (good + block(6, struct.pack("<IIIII", 0, 0, 0, 50, 50)), "claims to have 50 bytes"),
            (section() + block(1, b"abcd"), "an interface description is too short"),
            (good + b"\x06\0\0", "ends within the header of a block"),
            (section() + interface() * 4097, "more than 4,096 interfaces"),
        ):
            with self.assertRaisesRegex(UnreadableInput, why):
                frames(data)


class Endless(io.RawIOBase):
    """A stream that repeats a piece for a long time."""

    def __init__(self, head: bytes, piece: bytes, count: int) -> None:
        self.left, self.piece, self.waiting = count, memoryview(piece), memoryview(head)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.waiting and self.left:
            self.left -= 1
            self.waiting = self.piece
        part = self.waiting[: len(buffer)]
        self.waiting = self.waiting[len(part) :]
        buffer[: len(part)] = part
        return len(part)


class Hostile(SynchronousTestCase):
    def test_memory_does_not_grow_with_the_file(self) -> None:
        """Blocks of 16 MiB that are not known, and packets: 400 MiB in all."""
        unknown = block(0x0BAD, bytes(16 * 1024 * 1024))
        piece = unknown + packet_block(AT, FRAME)
        stream = io.BufferedReader(Endless(section() + interface(), piece, 25))
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            count = sum(1 for _ in Capture(stream, stream.read(4)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertEqual(count, 25)
        self.assertLess(peak - before, 4 * 1024 * 1024)

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(data=st.data())
    def test_any_file(self, data: st.DataObject) -> None:
        """A good file with bytes changed and the end cut off: frames, a problem, or the error."""
        make = data.draw(st.sampled_from((pcap, pcapng)))
        file = bytearray(make([(AT, PACKET)] * 3))
        for _ in range(data.draw(st.integers(0, 4))):
            file[data.draw(st.integers(4, len(file) - 1))] = data.draw(st.integers(0, 255))
        file = file[: data.draw(st.integers(4, len(file)))]
        try:
            frames(bytes(file))
        except UnreadableInput as error:
            self.assertNotIn("\n", str(error))
