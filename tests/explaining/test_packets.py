from __future__ import annotations

import struct
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining.capture_file import Frame
from sessioncore.explaining.packets import Datagram, Packet, Packets, Segment, Unreachable
from tests.explaining.captures import (
    ETHERNET,
    A,
    B,
    ethernet,
    ip,
    linked,
    tcp,
    udp,
    udp_packet,
)

SIX = ("2001:db8::1", 5060), ("2001:db8::2", 5062)


def packet(data: bytes, link_type: int = ETHERNET, packets: Packets | None = None) -> Packet | None:
    return (packets or Packets()).read(Frame(9, link_type, data, len(data)))


class LinkTests(SynchronousTestCase):
    def test_every_link_type(self) -> None:
        for link_type in (0, 1, 12, 14, 101, 108, 113, 228, 276):
            found = packet(linked(link_type, udp(A, B, b"hello")), link_type)
            self.assertEqual(found, Datagram(9, A, B, b"hello", True), link_type)
        for link_type in (0, 1, 12, 101, 108, 113, 229, 276):
            found = packet(linked(link_type, udp(*SIX, b"hello")), link_type)
            self.assertEqual(found, Datagram(9, *SIX, b"hello", True), link_type)

    def test_vlan_tags(self) -> None:
        for tags in ((0x8100,), (0x88A8, 0x8100), (0x9100, 0x8100, 0x8100, 0x8100)):
            found = packet(ethernet(udp(A, B, b"hello"), vlans=tags))
            self.assertEqual(found, Datagram(9, A, B, b"hello", True))
        packets = Packets()
        self.assertIsNone(packet(ethernet(udp(A, B, b"x"), vlans=(0x8100,) * 5), packets=packets))
        self.assertEqual(packets.unread, 1)

    def test_padding_of_short_frames_is_left_out(self) -> None:
        found = packet(ethernet(udp(A, B, b"hi")) + bytes(16))
        self.assertEqual(found, Datagram(9, A, B, b"hi", True))

    def test_what_is_not_known_is_counted(self) -> None:
        packets = Packets()
        arp = bytes(12) + b"\x08\x06arp"
        for link_type, data in (
            *((147, b"x"), (1, b"short"), (1, arp), (101, b"")),
            *((0, b"\2\0\0"), (113, bytes(15)), (276, bytes(19))),
        ):
            self.assertIsNone(packet(data, link_type, packets))
        self.assertEqual((dict(packets.unknown_links), packets.unread), ({147: 1}, 6))


class TransportTests(SynchronousTestCase):
    def test_options_and_extension_headers(self) -> None:
        inner = udp_packet(5060, 5062, b"hello")
        plain = ip(SIX[0][0], SIX[1][0], 17, b"")[:40]
        options = struct.pack("!BB", 43, 0) + bytes(6)  # hop-by-hop, then routing
        routing = struct.pack("!BB", 51, 1) + bytes(14)
        authentication = struct.pack("!BB", 17, 1) + bytes(10)
        data = options + routing + authentication + inner
        six = plain[:4] + struct.pack("!HB", len(data), 0) + plain[7:] + data
        self.assertEqual(packet(six, 101), Datagram(9, *SIX, b"hello", True))
        four = ip(A[0], B[0], 17, bytes(4) + udp_packet(5060, 5060, b"hello"))
        found = packet(b"\x46" + four[1:], 101)  # a header of 24 bytes
        self.assertEqual(found, Datagram(9, A, B, b"hello", True))

    def test_a_length_that_the_network_card_was_to_fill_in(self) -> None:
        data = udp(A, B, b"hello")
        found = packet(data[:2] + b"\0\0" + data[4:], 101)
        self.assertEqual(found, Datagram(9, A, B, b"hello", True))

    def test_what_was_not_captured_as_a_whole_says_so(self) -> None:
        packets = Packets()
        found = packet(udp(A, B, b"hello world")[:-3], 101, packets)
        self.assertEqual(found, Datagram(9, A, B, b"hello wo", False))
        self.assertEqual(packets.cut, 1)

    def test_tcp(self) -> None:
        self.assertEqual(packet(tcp(A, B, 7, b"abc"), 101), Segment(9, A, B, 7, b"abc", True))
        # SYN takes a number, and without data there is nothing to read.
        found = packet(tcp(A, B, 0xFFFFFFFF, b"abc", flags=2), 101)
        self.assertEqual(found, Segment(9, A, B, 0, b"abc", True))
        self.assertIsNone(packet(tcp(A, B, 7, b""), 101))

    def test_port_unreachable(self) -> None:
        for first, second, protocol, kind in ((A, B, 1, b"\3\3"), (*SIX, 58, b"\1\4")):
            said = kind + bytes(6) + udp(first, second, b"RTP")[: 48 if protocol == 58 else 28]
            found = packet(ip(second[0], first[0], protocol, said), 101)
            self.assertEqual(found, Unreachable(9, first, second))
            for broken in (said[:9], said[: 8 + 20 + 3], b"\3\1" + said[2:]):
                self.assertIsNone(packet(ip(second[0], first[0], protocol, broken), 101))


class FragmentTests(SynchronousTestCase):
    def test_both_versions(self) -> None:
        for first, second in ((A, B), SIX):
            whole = udp_packet(first[1], second[1], bytes(range(40)))
            packets = Packets()
            for offset in (24, 0, 8):
                end = {0: 8, 8: 24, 24: 48}[offset]
                data = ip(first[0], second[0], 17, whole[offset:end],
                          fragment=(5, offset, offset != 24))  # fmt: skip
                found = packet(data, 101, packets)
                wanted = Datagram(9, first, second, whole[8:], True) if offset == 8 else None
                self.assertEqual(found, wanted)

    def test_an_atomic_fragment(self) -> None:
        data = ip(SIX[0][0], SIX[1][0], 17, udp_packet(5060, 5062, b"x"), fragment=(1, 0, False))
        self.assertEqual(packet(data, 101), Datagram(9, *SIX, b"x", True))

    def test_a_fragment_that_was_cut_is_not_used(self) -> None:
        packets = Packets()
        data = ip(A[0], B[0], 17, bytes(16), fragment=(1, 8, True))
        self.assertIsNone(packet(data[:-1], 101, packets))
        self.assertEqual((packets.cut, len(packets.fragments)), (1, 0))


class AnyBytes(SynchronousTestCase):
    @settings(derandomize=True, max_examples=500, deadline=None)
    @given(st.sampled_from((0, 1, 101, 113, 276)), st.binary(max_size=120), st.data())
    def test_nothing_is_raised(self, link_type: int, noise: bytes, data: st.DataObject) -> None:
        self.assertIsInstance(packet(noise, link_type), (Packet, type(None)))
        good = data.draw(
            st.sampled_from(
                (
                    udp(A, B, b"x"),
                    udp(*SIX, b"x"),
                    tcp(A, B, 1, b"x"),
                    ip(A[0], B[0], 1, b"\3\3" + bytes(6) + udp(A, B, b"")),
                    ip(
                        *(str(ip_address(each[0])) for each in SIX), 17, b"x", fragment=(1, 8, True)
                    ),
                )
            )
        )
        changed = bytearray(linked(link_type, good))
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + len(noise[:3])] = noise[:3]
        packet(bytes(changed), link_type)
