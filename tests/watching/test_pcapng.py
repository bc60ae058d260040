"""Packets of a capture: blocks, headers, checksums; tshark reads them in tests.interop."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sessioncore.interfaces import IMessageTap, IReportTap
from sessioncore.vocabulary import Address
from sessioncore.watching import pcapng
from sessioncore.watching.pcapng import LONGEST, PcapTap
from sessioncore.watching.wall_clock import WallClock

V4: tuple[Address, Address] = (("192.0.2.1", 5060), ("192.0.2.2", 5070))
V6: tuple[Address, Address] = (("2001:db8::1%eth0", 5060), ("2001:db8::2", 5070))
WALL = 1_767_268_800_123_456_789


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """Type and body of each block; both lengths must agree."""
    found = []
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0 and data[length - 4 : length] == data[4:8]
        found.append((kind, data[8 : length - 4]))
        data = data[length:]
    return found


def options(body: bytes) -> dict[int, bytes]:
    found = {}
    while body[:2] != b"\0\0":
        code, length = struct.unpack_from("<HH", body)
        found[code] = body[4 : 4 + length]
        body = body[4 + length + -length % 4 :]
    assert body == bytes(4)
    return found


def total(data: bytes) -> int:
    """The ones' complement sum, word by word."""
    data += bytes(len(data) % 2)
    result = sum(struct.unpack(f">{len(data) // 2}H", data))
    while result > 0xFFFF:
        result = (result & 0xFFFF) + (result >> 16)
    return result


def read(packet: bytes) -> dict[str, Any]:
    """What an enhanced packet block says."""
    ((kind, body),) = blocks(packet)
    assert kind == 6
    interface, high, low, captured, original = struct.unpack_from("<IIIII", body)
    datagram = body[20 : 20 + captured]
    size = 20 if datagram[0] >> 4 == 4 else 40
    return {
        "interface": interface,
        "wall": high << 32 | low,
        "lost": original - captured,
        "ip": datagram[:size],
        "udp": datagram[size : size + 8],
        "data": datagram[size + 8 :],
        "options": options(body[20 + captured + -captured % 4 :]),
    }


class PacketTests(SynchronousTestCase):
    def test_preamble(self) -> None:
        (section, head), (interface, described) = blocks(pcapng.preamble("sessioncore/1"))
        self.assertEqual(section, 0x0A0D0D0A)
        self.assertEqual(head[:8], bytes.fromhex("4d3c2b1a01000000"))
        self.assertEqual(options(head[16:]), {4: b"sessioncore/1"})
        self.assertEqual((interface, described[:8]), (1, bytes.fromhex("6500000000000000")))
        self.assertEqual(options(described[8:])[9], b"\x09")
        self.assertTrue(pcapng.preamble("x").startswith(pcapng.MAGIC))

    def test_ipv4(self) -> None:
        got = read(pcapng.packet(b"BYE", *V4, wall=WALL, sent=True))
        self.assertEqual((got["interface"], got["wall"], got["lost"]), (0, WALL, 0))
        self.assertEqual(got["data"], b"BYE")
        self.assertEqual(got["ip"][:4], bytes.fromhex("4500001f"))
        self.assertEqual(got["ip"][8:10], bytes([64, 17]))
        self.assertEqual(got["ip"][12:], bytes([192, 0, 2, 1, 192, 0, 2, 2]))
        self.assertEqual(got["udp"][:6], struct.pack(">HHH", 5060, 5070, 11))
        self.assertEqual(got["options"], {2: struct.pack("<I", 2)})

    def test_ipv6(self) -> None:
        got = read(pcapng.packet(b"BYE", *V6, wall=WALL, sent=False, comment="over TLS"))
        self.assertEqual(got["ip"][:8], bytes.fromhex("60000000000b1140"))
        self.assertEqual(got["ip"][8:24], bytes.fromhex("20010db8" + 11 * "00" + "01"))
        self.assertEqual(got["options"], {2: struct.pack("<I", 1), 1: b"over TLS"})

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(
        st.binary(max_size=40) | st.binary(max_size=3).map(lambda some: some * 30_000),
        st.integers(0, 65535),
        st.booleans(),
    )
    def test_checksums(self, data: bytes, port: int, ipv6: bool) -> None:
        source, destination = V6 if ipv6 else V4
        got = read(pcapng.packet(data, (source[0], port), destination, wall=WALL, sent=True))
        self.assertEqual(got["data"], data[:LONGEST])
        self.assertEqual(got["lost"], max(0, len(data) - LONGEST))
        addresses = got["ip"][8:] if ipv6 else got["ip"][12:]
        length = 8 + len(got["data"])
        pseudo = addresses + struct.pack(">HH", 17, length)
        self.assertEqual(total(pseudo + got["udp"] + got["data"]), 0xFFFF)
        self.assertNotEqual(got["udp"][6:], b"\0\0")
        if not ipv6:
            self.assertEqual(total(got["ip"]), 0xFFFF)
            self.assertEqual(got["ip"][2:4], struct.pack(">H", 20 + length))

    def test_a_udp_checksum_of_zero_is_written_as_all_ones(self) -> None:
        """Zero means that there is none (RFC 768)."""
        empty = read(pcapng.packet(b"\0\0", *V4, wall=WALL, sent=True))
        got = read(pcapng.packet(empty["udp"][6:], *V4, wall=WALL, sent=True))
        self.assertEqual(got["udp"][6:], b"\xff\xff")

    def test_hosts_that_are_no_literals(self) -> None:
        self.assertEqual(pcapng.packed("wire"), bytes(4))
        for source, destination in ((V4[0], V6[1]), (("wire", 1), V6[1])):
            got = read(pcapng.packet(b"", source, destination, wall=WALL, sent=True))
            self.assertEqual(got["ip"][0] >> 4, 6)


class TapTests(SynchronousTestCase):
    def test_messages_without_secrets(self) -> None:
        added: list[tuple[dict[str, Any], int]] = []

        class File:
            def add(self, record: bytes, at: int) -> None:
                added.append((read(record), at))

        file: Any = File()
        tap = PcapTap(file, WallClock(lambda: 0, lambda: WALL))
        self.assertTrue(verifyObject(IMessageTap, tap))
        tap.message(b"k=clear:pw\r\n", *V4, "UDP", False, 5)
        tap.message(b"BYE", *V4, "TLS", True, 6)
        (first, at), (second, _) = added
        self.assertEqual((first["data"], first["wall"], at), (b"k=clear:**\r\n", WALL + 5, 5))
        self.assertEqual(first["options"], {2: struct.pack("<I", 1)})
        self.assertEqual(second["options"][1], b"over TLS")

    def test_reports_with_their_call(self) -> None:
        added: list[dict[str, Any]] = []

        class File:
            def add(self, record: bytes, at: int) -> None:
                added.append(read(record))

        file: Any = File()
        tap = PcapTap(file, WallClock(lambda: 0, lambda: WALL))
        self.assertTrue(verifyObject(IReportTap, tap))
        tap.report(b"\x80\xc9", ("192.0.2.1", 40001), V4[1], True, 5, "a@b")
        tap.report(b"\x80\xc9", *V6, False, 5, "x" * 70_000)
        tap.report(b"\x80\xc9", *V6, False, 5, "")
        self.assertEqual(added[0]["data"], b"\x80\xc9")
        self.assertEqual(added[0]["options"], {2: struct.pack("<I", 2), 1: b"Call-ID: a@b"})
        self.assertEqual(len(added[1]["options"][1]), 9 + 256)
        self.assertNotIn(1, added[2]["options"])
