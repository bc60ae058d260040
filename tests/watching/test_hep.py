"""HEP packets chunk by chunk; tshark reads them in tests.interop."""

from __future__ import annotations

import json
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sessioncore.interfaces import IMessageTap, IReportTap
from sessioncore.rtp.rtcp import ReportBlock, SenderInfo, build_goodbye, build_report
from sessioncore.watching.hep import HepTap, hep_packet, report_json
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
        for transport, number in (
            ("UDP", 17),
            ("TCP", 6),
            ("TLS", 6),
            ("WSS", 6),
            ("SCTP", 132),
            ("TLS-SCTP", 132),
        ):
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


class ReportTests(SynchronousTestCase):
    BLOCK = ReportBlock(0xFEDCBA98, 128, -3, 70_000, 160, 0x12345678, 65_536)

    def test_a_sender_report(self) -> None:
        sender = SenderInfo(0x0000000A_80000000, 160, 3, 480)
        data = build_report(0x01020304, b"us", sender=sender, blocks=(self.BLOCK,))
        self.assertEqual(
            json.loads(report_json(data) or b""),
            {
                "type": 200,
                "ssrc": 0x01020304,
                "report_count": 1,
                "report_blocks": [
                    {
                        "source_ssrc": 0xFEDCBA98,
                        "fraction_lost": 128,
                        "packets_lost": -3,
                        "highest_seq_no": 70_000,
                        "ia_jitter": 160,
                        "lsr": 0x12345678,
                        "dlsr": 65_536,
                    }
                ],
                "sender_information": {
                    "ntp_timestamp_sec": 10,
                    "ntp_timestamp_usec": 1 << 31,
                    "rtp_timestamp": 160,
                    "packets": 3,
                    "octets": 480,
                },
                "sdes_ssrc": 0x01020304,
            },
        )

    def test_a_receiver_report(self) -> None:
        got = json.loads(report_json(build_goodbye(7, b"us")) or b"")
        self.assertEqual((got["type"], got["report_blocks"]), (201, []))
        self.assertNotIn("sender_information", got)

    def test_what_is_no_report(self) -> None:
        only_bye = build_goodbye(7, b"us")[-8:]
        for data in (b"", b"noise", only_bye):
            self.assertIsNone(report_json(data))

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.binary(max_size=100))
    def test_whatever_comes(self, data: bytes) -> None:
        for each in (data, b"\x81\xc8\x00\x0c" + data, b"\x80\xc9\x00\x01" + data):
            made = report_json(each)
            if made is not None:
                self.assertIn(json.loads(made)["type"], (200, 201))


class TapTests(SynchronousTestCase):
    def test_reports_as_json_by_call(self) -> None:
        sent: list[dict[int, bytes]] = []
        clock = WallClock(lambda: 0, lambda: WALL)
        tap = HepTap(lambda packet: sent.append(chunks(packet)), clock, 9)
        self.assertTrue(verifyObject(IReportTap, tap))
        data = build_report(7, b"us")
        tap.report(data, ("192.0.2.1", 40001), ("192.0.2.2", 40011), True, 0, "a@b")
        tap.report(b"noise", *V4, False, 0, "a@b")
        tap.report(data, *V6, False, 0, "")
        first, second = sent
        self.assertEqual((first[11], first[17], first[2]), (b"\x05", b"a@b", b"\x11"))
        self.assertEqual(first[15], report_json(data))
        self.assertEqual(first[7], struct.pack(">H", 40001))
        self.assertNotIn(17, second)

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
