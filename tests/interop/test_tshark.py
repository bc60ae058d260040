"""tshark decodes a capture of our own traffic: enough of each protocol, nothing malformed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

from tests.interop.peers import HOST, PeerTestCase, require
from tests.split.processes import free_port, port_of


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
