"""HEP packets chunk by chunk; tshark reads them in tests.interop."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sessioncore.interfaces import IMessageTap
from sessioncore.watching.hep import HepTap, hep_packet
from sessioncore.watching.wall_clock import WallClock

V4 = (("192.0.2.1", 5060), ("192.0.2.2", 5070))
V6 = (("2001:db8::1", 5060), ("2001:db8::2", 5070))
WALL = 1_767_268_800_123_456_789


def chunks(packet: bytes) -> dict[int, bytes]:
    """The chunks of a packet by type."""
    assert packet[:4] == b"HEP3"
    assert struct.unpack(">H", packet[4:6]) == (len(packet),)
    found, rest = {}, packet[6:]
    while rest:
        vendor, kind, length = struct.unpack_from(">HHH", rest)
        assert vendor == 0 and length >= 6 and kind not in found
        found[kind] = rest[6:length]
        rest = rest[length:]
    return found


def made(payload: bytes = b"BYE", route: Any = V4, **given: Any) -> Any:
    given = {"transport": "UDP", "wall": WALL, "agent": 7, **given}
    return hep_packet(payload, *route, **given)


class PacketTests(SynchronousTestCase):
    def test_ipv4(self) -> None:
        self.assertEqual(
            chunks(made(password=b"pw", correlation=b"a@b")),
            {
                1: b"\x02",
                2: b"\x11",
                3: bytes([192, 0, 2, 1]),
                4: bytes([192, 0, 2, 2]),
                7: struct.pack(">H", 5060),
                8: struct.pack(">H", 5070),
                9: struct.pack(">I", 1_767_268_800),
                10: struct.pack(">I", 123_456),
                11: b"\x01",
                12: struct.pack(">I", 7),
                14: b"pw",
                17: b"a@b",
                15: b"BYE",
            },
        )

    def test_ipv6_and_what_is_left_out(self) -> None:
        got = chunks(made(route=V6))
        self.assertEqual(got[1], b"\x0a")
        self.assertEqual(got[5], bytes.fromhex("20010db8" + 11 * "00" + "01"))
        self.assertEqual(got[6][-1:], b"\x02")
        self.assertFalse({3, 4, 14, 17} & set(got))

    def test_transports(self) -> None:
        for transport, number in (("UDP", 17), ("TCP", 6), ("TLS", 6), ("WSS", 6), ("SCTP", 132)):
            self.assertEqual(chunks(made(transport=transport))[2], bytes([number]), transport)

    def test_the_longest(self) -> None:
        overhead = len(made(b"")) + 0
        whole = made(bytes(65_535 - overhead))
        self.assertEqual(len(whole), 65_535)
        self.assertEqual(len(chunks(whole)[15]), 65_535 - overhead)
        self.assertIsNone(made(bytes(65_536 - overhead)))

    @settings(deadline=None, max_examples=100, derandomize=True)
    @given(st.binary(), st.binary(min_size=1), st.booleans())
    def test_whatever_the_message(self, payload: bytes, call_id: bytes, ipv6: bool) -> None:
        got = chunks(made(payload, V6 if ipv6 else V4, correlation=call_id))
        self.assertEqual((got[15], got[17]), (payload, call_id))


class TapTests(SynchronousTestCase):
    def test_messages_without_secrets_by_call(self) -> None:
        sent: list[dict[int, bytes]] = []
        clock = WallClock(lambda: 0, lambda: WALL)
        tap = HepTap(lambda packet: sent.append(chunks(packet)), clock, 9, b"key")
        self.assertTrue(verifyObject(IMessageTap, tap))
        tap.message(b"BYE x SIP/2.0\r\ni: a@b\r\n\r\nk=clear:pw", *V4, "UDP", True, 1_000_000_000)
        tap.message(b"", *V4, "UDP", False, 0)
        tap.message(bytes(65_536), *V4, "TCP", False, 0)
        first, second = sent
        self.assertEqual(first[15], b"BYE x SIP/2.0\r\ni: a@b\r\n\r\nk=clear:**")
        self.assertEqual((first[17], first[14]), (b"a@b", b"key"))
        self.assertEqual(first[9], struct.pack(">I", 1_767_268_801))
        self.assertNotIn(17, second)
        self.assertEqual(tap.too_long, 1)
