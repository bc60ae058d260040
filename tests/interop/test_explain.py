"""Captures of SIPp and baresip, both ways, explained by the command."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.interop import test_baresip
from tests.interop.peers import HOST, PeerTestCase, SippTestCase, require
from tests.split.processes import free_port


class Capturing(PeerTestCase):
    """A capture of the loopback interface, and what the command says of it."""

    def capture(self, interface: str = "lo", protocol: str = "udp") -> None:
        program = require("dumpcap", "wireshark-common")
        if os.geteuid() != 0:
            self.skipTest("capturing on the loopback interface is for root only")
        self.capturing = self.background(
            *(program, "-i", interface, "-q", "-f", protocol, "-w", self.folder / "call.pcapng")
        )
        log = self.folder / "dumpcap.log"
        self.until("the capture", lambda: "File:" in log.read_text(errors="replace"))

    def explained(self, port: int) -> list[dict[str, Any]]:
        """The calls with a party at ``port``, as JSON; other tests may use the interface, too."""
        time.sleep(1.0)  # dumpcap writes what it has captured once a second
        self.capturing.send_signal(signal.SIGINT)
        self.capturing.wait(10)
        command = self.command("explain", "call.pcapng", "--json")
        status, told = command.wait(), json.loads(command.output)
        self.assertEqual(status, 1 if told["errors"] else 0)
        return [each for each in told["calls"] if f"{HOST}:{port}" in each["parties"].values()]

    def names(self, call: dict[str, Any]) -> list[str]:  # type: ignore[override]
        """All findings of a call that are worse than a note."""
        found = [*call["findings"], *(f for each in call["exchanges"] for f in each["findings"])]
        return [each["name"] for each in found if each["severity"] != "note"]


class SippTests(Capturing, SippTestCase):
    def test_sipp_calls(self) -> None:
        """Its own scenario has no media; ours goes out."""
        self.capture()
        server, port = self.serve("--answer=tone:440")
        self.sipp("-sn", "uac", f"{HOST}:{port}", "-m", "2", "-r", "1", "-d", "1500")
        self.stop(server)
        calls = self.explained(port)
        self.assertEqual(len(calls), 2)
        for call in calls:
            self.assertEqual(self.names(call), ["audio-missing"])
            (finding,) = (each for each in call["findings"] if each["name"] == "audio-missing")
            self.assertEqual(finding["where"], "A -> B")
            self.assertEqual([each["way"] for each in call["streams"]], ["B -> A"])
            texts = [each["text"] for each in call["messages"]]
            self.assertEqual([text.split()[0] for text in texts],
                             ["INVITE", "180", "200", "ACK", "BYE", "200"])  # fmt: skip

    def test_we_call_sipp(self) -> None:
        """It echoes; captured on all interfaces, where each packet may be seen twice."""
        self.capture("any")
        port, media = free_port(), free_port() & ~1
        self.background(
            *(self.program, "-sn", "uas", "-i", HOST, "-p", port, "-nostdin"),
            *("-rtp_echo", "-mi", HOST, "-mp", media),
        )
        self.until_bound(port)
        call = self.command(
            *("call", f"sip:sipp@{HOST}:{port}", f"--listen=udp:0:interface={HOST}"),
            *("--play=tone:440", "--duration=2"),
        )
        self.assertEqual(call.wait(), 0, call.output)
        (found,) = self.explained(port)
        self.assertTrue(found["conclusion"].startswith("Audio ran both ways."), found)
        self.assertTrue(found["answered"])
        for stream in found["streams"]:
            self.assertEqual((stream["lost"], stream["payload_types"].keys()), (0, {"0"}))

    def test_tcp(self) -> None:
        """SIPp calls SIPp over TCP."""
        self.capture(protocol="tcp or udp")
        port = free_port()
        self.background(
            *(self.program, "-sn", "uas", "-t", "t1", "-i", HOST, "-p", port, "-nostdin")
        )
        listening = f":{port:04X} "
        self.until("SIPp", lambda: listening in Path("/proc/net/tcp").read_text())
        self.sipp("-sn", "uac", "-t", "t1", f"{HOST}:{port}", "-m", "3", "-d", "200")
        calls = self.explained(port)
        self.assertEqual(len(calls), 3)
        for call in calls:
            self.assertEqual(len(call["messages"]), 6)
            self.assertIsNotNone(call["exchanges"][0]["answered"])


class OfBaresip(Capturing, test_baresip.BaresipTests):
    """The calls of `test_baresip`, with what the command says of them."""

    def setUp(self) -> None:
        super().setUp()
        self.capture()

    def check_baresip_heard(self) -> None:
        super().check_baresip_heard()
        (call,) = self.explained(self.port)
        self.assertEqual(self.names(call), [], call)
        self.assertEqual({each["way"] for each in call["streams"]}, {"A -> B", "B -> A"})
        self.assertEqual(call["conclusion"], "Audio ran both ways. Nothing wrong was found.")
        (exchange,) = call["exchanges"]
        formats = exchange["explanation"]["media"][0]["formats"]
        self.assertEqual((formats[0]["encoding"], formats[0]["use"]), ("PCMU/8000", "sent"))
