from __future__ import annotations

import gzip
import io
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import UnreadableInput
from sessioncore.explaining import seen as seen_module
from sessioncore.explaining.reading import read_file, read_stream
from sessioncore.explaining.report import Report
from sessioncore.explaining.seen import Seen
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.sdp.formats import MediaPolicy
from sessioncore.testing import messages
from tests.explaining.captures import (
    START,
    A,
    B,
    interface,
    ip,
    linked,
    packet_block,
    pcap,
    pcapng,
    read,
    rtp,
    section,
    tcp,
    udp,
    udp_packet,
)
from tests.explaining.scenes import Scene

INVITE = messages.invite()
OFFER = messages.offer()


class KindTests(SynchronousTestCase):
    def test_descriptions(self) -> None:
        for body in (
            OFFER,
            b"\xef\xbb\xbf" + OFFER,
            b"\n\n" + OFFER,
            OFFER.replace(b"\r\n", b"\n"),
        ):
            seen = read(body)
            self.assertEqual((seen.kind, seen.descriptions), ("a session description", [body]))

    def test_messages(self) -> None:
        seen = read(b"log\n" + INVITE)
        self.assertEqual(seen.kind, "SIP messages")
        self.assertEqual([each.raw for each in seen.sightings], [INVITE])

    def test_captures(self) -> None:
        for make in (pcap, pcapng):
            seen = read(make([(START, udp(A, B, INVITE))]))
            self.assertEqual(seen.kind, "a capture of 1 packets")
            (sighting,) = seen.sightings
            self.assertEqual((sighting.raw, sighting.source, sighting.destination), (INVITE, A, B))
            self.assertEqual((sighting.at, sighting.transport), (START, "udp"))

    def test_what_is_none_of_these(self) -> None:
        for data, why in (
            (b"", "the file is empty"),
            (b"hello\n", "neither a session description, nor SIP messages, nor a capture"),
            (b"\x7fELF" + bytes(100), "neither"),
            (gzip.compress(pcap([])), "gunzip"),
            (b"\xd4\xc3\xb2\xa1", "the file: the capture cannot be read: the file ends"),
            (b"v=0\n" + b"a=x\n" * 5_000_000, "more than 16 MiB"),
            (pcap([(0, b"x"), (0, b"y")], link_type=147), "link type 147, which is not known"),
        ):
            with self.assertRaisesRegex(UnreadableInput, why) as caught:
                read(data)
            self.assertNotIn("\n", str(caught.exception))

    def test_files(self) -> None:
        file = self.mktemp()
        with self.assertRaisesRegex(UnreadableInput, "cannot be read: No such file"):
            read_file(file)
        Path(file).write_bytes(OFFER)
        self.assertEqual(read_file(file).descriptions, [OFFER])
        with self.assertRaisesRegex(UnreadableInput, "cannot be read: Is a directory"):
            read_file("/")

    def test_standard_input(self) -> None:
        self.patch(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(OFFER)))
        self.assertEqual(read_file("-").descriptions, [OFFER])
        self.patch(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
        with self.assertRaisesRegex(UnreadableInput, "standard input is empty"):
            read_file("-")


class CaptureTests(SynchronousTestCase):
    def remarks(self, *packets: bytes) -> list[str]:
        return read(pcap([(START, packet) for packet in packets])).remarks

    def test_tcp_and_rtp(self) -> None:
        seen = read(
            pcap(
                [
                    (START, tcp(A, B, 100, INVITE[:60])),
                    (START + 5_000, tcp(A, B, 160, INVITE[60:])),
                    (START + 9_000, udp(A, B, rtp(1, 1))),
                ]
            )
        )
        (sighting,) = seen.sightings
        self.assertEqual((sighting.raw, sighting.transport), (INVITE, "tcp"))
        self.assertEqual((sighting.at, len(seen.rtp.streams)), (START + 5_000, 1))
        self.assertEqual(seen.last_at, START + 9_000)

    def test_a_fragmented_invite(self) -> None:
        whole = udp_packet(5060, 5060, INVITE)
        pieces = [
            ip(A[0], B[0], 17, whole[:400], fragment=(1, 0, True)),
            ip(A[0], B[0], 17, whole[400:], fragment=(1, 400, False)),
        ]
        seen = read(pcap([(START, piece) for piece in pieces]))
        self.assertEqual([each.raw for each in seen.sightings], [INVITE])
        self.assertEqual(seen.remarks, [])
        self.assertEqual(self.remarks(pieces[0]), ["1 fragmented datagrams are not complete"])

    def test_what_was_left_out_is_said(self) -> None:
        for packet, remark in (
            (udp(A, B, INVITE)[:-1], "1 packets were not captured as a whole"),
            (tcp(A, ("192.0.2.2", 5061), 1, b"x"), "1 segments on port 5061 are probably TLS"),
        ):
            (found,) = self.remarks(packet)
            self.assertTrue(found.startswith(remark), found)
        hole = [tcp(A, B, number * len(INVITE), INVITE) for number in range(70) if number != 1]
        self.assertTrue(self.remarks(*hole)[0].startswith("1 TCP streams with SIP have holes"))

    def test_some_packets_of_an_unknown_link_type(self) -> None:
        """A second interface that is not of a network."""
        data = section() + interface(1) + interface(220)
        data += packet_block(START, linked(1, udp(A, B, INVITE)))
        data += packet_block(START, b"usb!", number=1)
        seen = read(data)
        self.assertEqual(len(seen.sightings), 1)
        self.assertEqual(seen.remarks, ["1 packets of an unknown link type were left out"])

    def test_a_cut_file_is_explained_as_far_as_it_goes(self) -> None:
        seen = read(pcap(Scene().packets)[:-9])
        self.assertEqual(len(seen.sightings), 5)
        self.assertIn("the file ends within a packet", seen.remarks[0])

    def test_limits(self) -> None:
        self.patch(seen_module, "MAX_MESSAGES", 3)
        seen = read(pcap([(START, udp(A, B, INVITE))] * 5))
        self.assertEqual(len(seen.sightings), 3)
        self.assertEqual(
            seen.remarks,
            ["2 SIP messages beyond the first 3 were left out; cut the capture into smaller ones"],
        )
        self.patch(seen_module, "MAX_OCTETS", 10)
        self.assertEqual(len(read(pcap([(START, udp(A, B, INVITE))] * 5)).sightings), 1)
        self.patch(seen_module, "_MAX_UNREACHABLE", 2)
        seen = Seen("x")
        for port in (1, 1, 2, 3):
            seen.add_unreachable(("192.0.2.1", port))
        self.assertEqual(seen.unreachable.total(), 3)

    @settings(derandomize=True, max_examples=150, deadline=None)
    @given(st.data())
    def test_any_capture_makes_a_report_or_the_error(self, data: st.DataObject) -> None:
        packets = [packet for packet in Scene().packets if len(packet[1]) != 200]
        packets += Scene().rtp[:40]
        changed = []
        for at, packet in packets:
            raw = bytearray(packet)
            if data.draw(st.booleans()):
                place = data.draw(st.integers(0, len(raw) - 1))
                raw[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
            changed.append((at, bytes(raw)))
        make = data.draw(st.sampled_from((pcap, pcapng)))
        file = make(changed)
        try:
            seen = read_stream(io.BytesIO(file[: data.draw(st.integers(0, len(file)))]), "x")
        except UnreadableInput:
            return
        report = Report("x", seen, MediaPolicy((PCMU,)))
        for line in report.text().split("\n"):
            self.assertTrue(line.isprintable(), line)
        report.as_dict()

    def test_a_time_that_no_calendar_has(self) -> None:
        file = bytearray(pcap([(START, udp(A, B, INVITE))]))
        file[24:28] = struct.pack("<I", 0xFFFFFFFF)
        self.assertIn("2106", Report("x", read(bytes(file)), MediaPolicy((PCMU,))).text())
