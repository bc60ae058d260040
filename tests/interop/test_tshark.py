"""tshark decodes a capture of our own traffic: enough of each protocol, nothing malformed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections import Counter
from socket import inet_ntoa

from sessioncore.watching.pcapng import packet, preamble
from tests.interop.peers import HOST, PeerTestCase, require
from tests.split.processes import free_port, port_of
from tests.watching.test_hep import chunks


class CaptureTests(PeerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.program = require("tshark", "tshark")
        if os.geteuid() != 0:
            self.skipTest("capturing on the loopback interface is for root only")

    def capture(self, ports: str) -> object:
        capturing = self.background(
            *(self.program, "-i", "lo", "-q", "-f", f"udp and ({ports})", "-w", "call.pcapng"),
        )
        log = self.folder / "tshark.log"
        self.until("the capture", lambda: "Capturing on" in log.read_text(errors="replace"))
        self.until("the capture's file", (self.folder / "call.pcapng").exists)
        return capturing

    def decode(self, sip: tuple[int, int], *arguments: str) -> list[str]:
        decoders = [f"-dudp.port=={port},sip" for port in sip]
        status, output = self.foreign(
            *(self.program, "-r", "call.pcapng", *decoders, "-o", "rtp.heuristic_rtp:TRUE"),
            *("--enable-heuristic", "rtp_udp", *arguments),
        )
        self.assertEqual(status, 0, output)
        return [line for line in output.splitlines() if not line.startswith("Running as user")]

    def test_call(self) -> None:
        first = (free_port() & ~1) % 20000 + 30000
        media = (f"{first}-{first + 9}", f"{first + 10}-{first + 19}")
        sip = free_port()
        capturing = self.capture(f"portrange {first}-{first + 19} or port 5060 or port {sip}")
        server, port = self.serve_on(sip, media[0])
        call = self.command(
            *("call", f"sip:us@{HOST}:{port}", f"--listen=udp:0:interface={HOST}"),
            *(f"--rtp-ports={media[1]}", "--play=tone:440", "--duration=7"),
        )
        self.assertEqual(call.wait(), 0, call.output)
        self.stop(server)
        time.sleep(1.0)  # dumpcap writes what it has captured once a second
        capturing.send_signal(signal.SIGINT)  # type: ignore[attr-defined]
        capturing.wait(10)  # type: ignore[attr-defined]
        protocols = Counter(self.decode((sip, sip), "-T", "fields", "-e", "_ws.col.Protocol"))
        self.assertGreaterEqual(protocols["SIP"] + protocols["SIP/SDP"], 6, protocols)
        self.assertGreaterEqual(protocols["RTP"], 600, protocols)
        self.assertGreaterEqual(protocols["RTCP"], 4, protocols)
        self.assertEqual(
            set(protocols) - {"SIP", "SIP/SDP", "RTP", "RTCP"}, set(), "not all was decoded"
        )
        malformed = self.decode((sip, sip), "-Y", "_ws.malformed or _ws.expert.severity == error")
        self.assertEqual(malformed, [])

    def serve_on(self, port: int, rtp_ports: str) -> tuple[object, int]:
        server = self.twistd(
            *("--role=uas", f"--listen=udp:{port}:interface={HOST}", f"--rtp-ports={rtp_ports}"),
        )
        return server, port_of(server.line(f"UAS on {HOST}:"))


class ExportTests(PeerTestCase):
    """tshark reads what we export by ourselves: no capturing, so no root."""

    def setUp(self) -> None:
        super().setUp()
        self.program = require("tshark", "tshark")

    def read(self, name: str, *arguments: str) -> list[str]:
        status, output = self.foreign(self.program, "-r", name, *arguments)
        self.assertEqual(status, 0, output)
        return [line for line in output.splitlines() if not line.startswith("Running as user")]

    def fields(self, name: str, *fields: str, more: tuple[str, ...] = ()) -> list[list[str]]:
        named = [word for field in fields for word in ("-e", field)]
        return [line.split("\t") for line in self.read(name, *more, "-T", "fields", *named)]

    def call(self, *options: str) -> None:
        """A call between two processes of ours; the server has ``options``."""
        server, port = self.serve(*options)
        call = self.command(
            *("call", f"sip:us@{HOST}:{port}", f"--listen=udp:0:interface={HOST}"),
            *("--play=tone:440", "--duration=1", "--pcap=uac.pcapng"),
        )
        self.assertEqual(call.wait(), 0, call.output)
        self.stop(server)

    def test_pcapng(self) -> None:
        self.call("--pcap=uas.pcapng")
        checked = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
        sides = {}
        for name, incoming in (("uas.pcapng", "0x00000001"), ("uac.pcapng", "0x00000002")):
            self.assertReports(name)
            rows = self.fields(
                *(name, "sip.CSeq.method", "sip.Status-Code", "frame.packet_flags_direction"),
                *("ip.checksum.status", "udp.checksum.status", "sip.Call-ID", "frame.time_epoch"),
                more=(*checked, "-Y", "sip"),
            )
            story = " ".join(f"{method}{status}" for method, status in (row[:2] for row in rows))
            self.assertEqual(story, "INVITE INVITE180 INVITE200 ACK BYE BYE200")
            self.assertEqual(rows[0][2], incoming)
            self.assertEqual({tuple(row[3:5]) for row in rows}, {("1", "1")}, "good checksums")
            self.assertEqual(len({row[5] for row in rows}), 1)
            times = [float(row[6]) for row in rows]
            self.assertEqual(times, sorted(times))
            self.assertLess(abs(times[0] - time.time()), 60)
            self.assertEqual(
                self.read(name, "-Y", "_ws.malformed or _ws.expert.severity == error"), []
            )
            sides[name] = rows[0][5]
        self.assertEqual(sides["uas.pcapng"], sides["uac.pcapng"])

    def assertReports(self, name: str) -> None:
        """The capture has RTCP both ways, of the call, and it is decoded."""
        rows = self.fields(
            *(name, "rtcp.pt", "frame.packet_flags_direction", "frame.comment", "udp.srcport"),
            more=("-Y", "rtcp"),
        )
        self.assertEqual({row[1] for row in rows}, {"0x00000001", "0x00000002"})
        self.assertLessEqual({row[0].partition(",")[0] for row in rows}, {"200", "201"})
        self.assertEqual(len({row[2] for row in rows}), 1)
        self.assertIn("Call-ID: ", rows[0][2])
        self.assertEqual(len({row[3] for row in rows}), 2)

    def test_appended_sections(self) -> None:
        for _ in range(2):
            self.call()
        self.assertEqual(len(self.fields("uac.pcapng", "sip.CSeq", more=("-Y", "sip"))), 12)

    def test_hep(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
            collector.bind((HOST, 0))
            port = collector.getsockname()[1]
            self.call(f"--hep=udp:{HOST}:{port}:id=77:password=secret")
            collector.setblocking(False)
            packets = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    packets.append(chunks(collector.recv(65536)))
        self.assertEqual(
            {(each[1], each[2], each[12], each[14]) for each in packets},
            {(b"\x02", b"\x11", b"\0\0\0\x4d", b"secret")},
        )
        heard = [each for each in packets if each[11] == b"\1"]
        reports = [each for each in packets if each[11] == b"\5"]
        self.assertEqual(len(heard) + len(reports), len(packets))
        self.assertGreaterEqual(len(reports), 2)
        self.assertIn(json.loads(reports[0][15])["type"], (200, 201))
        self.assertEqual({each[17] for each in packets}, {heard[0][17]})
        # tshark has no dissector for HEP, so it gets what the chunks say.
        with (self.folder / "hep.pcapng").open("wb") as file:
            file.write(preamble("the test"))
            for each in heard:
                source, destination = (
                    (inet_ntoa(each[ip]), int.from_bytes(each[number], "big"))
                    for ip, number in ((3, 7), (4, 8))
                )
                seconds, rest = (int.from_bytes(each[kind], "big") for kind in (9, 10))
                wall = seconds * 1_000_000_000 + rest * 1_000
                file.write(packet(each[15], source, destination, wall=wall, sent=True))
        seen = ("sip.CSeq.method", "sip.Status-Code", "sip.Call-ID", "udp.srcport", "udp.dstport")
        exported = self.fields("hep.pcapng", *seen)
        self.assertEqual(exported, self.fields("uac.pcapng", *seen, more=("-Y", "sip")))
        self.assertEqual({row[2].encode() for row in exported}, {each[17] for each in heard})
        times = [float(row[0]) for row in self.fields("hep.pcapng", "frame.time_epoch")]
        self.assertEqual(times, sorted(times))
        self.assertLess(abs(times[0] - time.time()), 60)
