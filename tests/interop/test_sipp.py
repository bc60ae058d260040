"""SIPp as caller and callee: ladders, audio, CANCEL, late and missing ACK, garbage."""

from __future__ import annotations

import os
import random
import select
import socket
import time
from pathlib import Path

import numpy as np

from sessioncore.media.wave import read_wav
from tests.interop import scenarios
from tests.interop.peers import HOST, SippTestCase, tone_in
from tests.split.processes import free_port

PCAPS = Path("/usr/share/sip-tester")


class CallerTests(SippTestCase):
    """SIPp calls us."""

    def test_builtin_uac(self) -> None:
        """``-sn uac``: fifty calls at 50 a second, each as the scenario wants it."""
        server, port = self.serve("--answer=silence")
        self.sipp("-sn", "uac", f"{HOST}:{port}", "-m", "50", "-r", "50", "-d", "200")
        self.stop(server)
        names = self.names()
        for event in ("IncomingCall", "CallAnswered", "MediaFlowEstablished", "CallEnded"):
            self.assertEqual(names.count(event), 50, event)
        self.assertNotIn("CallFailed", names)

    def test_audio_and_digit(self) -> None:
        """``-sn uac_pcap``: PCMA speech and one RFC 4733 digit, recorded and echoed."""
        if os.geteuid() != 0:
            self.skipTest("SIPp plays pcap files through raw sockets, for root only")
        (self.folder / "pcap").symlink_to(PCAPS)
        (self.folder / "heard").mkdir()
        server, port = self.serve("--answer=echo", "--record-dir=heard", "--codecs=PCMU,PCMA")
        self.sipp("-sn", "uac_pcap", f"{HOST}:{port}", "-m", "1", patience=60)
        self.stop(server)
        digits = [event["digit"] for event in self.events() if event["event"] == "DigitReceived"]
        self.assertEqual(digits, ["1"])
        (summary,) = (event for event in self.events() if event["event"] == "CallSummary")
        self.assertGreater(summary["packets_received"], 200)
        (path,) = (self.folder / "heard").iterdir()
        speech = read_wav(path).mono.astype(np.float64)
        loudness = np.sqrt(np.mean(speech[8000:40000] ** 2))
        self.assertGreater(loudness, 100, "the recording holds no speech")

    def test_cancel(self) -> None:
        server, port = self.serve("--answer-after=30")
        text = (
            scenarios.invite() + scenarios.receive(100, optional=True) + scenarios.receive(180)
        )  # fmt: skip
        text += scenarios.cancel() + scenarios.receive(200) + scenarios.receive(487)
        text += scenarios.ack(failure=True)
        self.sipp("-sf", self.scenario(text), f"{HOST}:{port}", "-m", "5", "-r", "5")
        self.until("the calls' end", lambda: self.so_far("CallFailed") == 5)
        self.stop(server)
        ends = [event["reason"] for event in self.events() if event["event"] == "CallFailed"]
        self.assertEqual({(end["by"], end["status"]) for end in ends}, {("remote", 487)})
        self.assertNotIn("CallAnswered", self.names())

    def test_late_ack(self) -> None:
        """An ACK 2 s late: RTP runs meanwhile, none came before the 200."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as media:
            media.bind((HOST, 0))
            server, port = self.serve("--answer=tone:1000", "--answer-after=0.5")
            text = scenarios.invite(media.getsockname()[1]) + scenarios.receive(180)
            text += scenarios.receive(200) + scenarios.pause(2000) + scenarios.ack()
            text += scenarios.pause(500) + scenarios.bye() + scenarios.receive(200)
            self.sipp("-sf", self.scenario(text), f"{HOST}:{port}", "-m", "1")
            self.stop(server)
            packets = 0
            while select.select([media], [], [], 0)[0]:
                packets += media.recv(2048)[0] >> 6 == 2
        by_name = {event["event"]: event["t"] for event in self.events()}
        late = by_name["AckReceived"] - by_name["CallAnswered"]
        self.assertGreater(late, 1.9)
        # 2.5 s of audio at 50 packets a second; the first 2 s of it before the ACK.
        self.assertGreater(packets, 110)
        self.assertGreaterEqual(by_name["MediaFlowEstablished"], by_name["CallAnswered"])

    def test_missing_ack(self) -> None:
        """No ACK at all: the 200 again and again, and a BYE after 64*T1, 32 s of real time."""
        server, port = self.serve("--answer=silence")
        text = scenarios.invite() + scenarios.receive(180) + scenarios.receive(200)
        text += scenarios.receive_bye(45_000)
        self.sipp("-sf", self.scenario(text), f"{HOST}:{port}", "-m", "1", patience=60)
        self.stop(server)
        by_name = {event["event"]: event for event in self.events()}
        waited = by_name["CallEnded"]["t"] - by_name["CallAnswered"]["t"]
        self.assertGreater(waited, 31.9)
        self.assertLess(waited, 40)
        self.assertIn("no ACK", by_name["CallEnded"]["reason"]["text"])
        self.assertNotIn("AckReceived", by_name)

    def test_garbage_and_strangers(self) -> None:
        """10,000 datagrams of garbage during a call: counted, silent, and the call goes on."""
        server, port = self.serve("--answer=silence")
        chances = random.Random(20260101)
        text = scenarios.invite() + scenarios.receive(180) + scenarios.receive(200)
        text += scenarios.ack() + scenarios.pause(3000) + scenarios.bye() + scenarios.receive(200)
        calls = self.background(
            *(self.program, "-i", HOST, "-p", free_port(), "-nostdin"),
            *("-sf", self.scenario(text), f"{HOST}:{port}", "-m", "1"),
        )
        # A new call behind so much of it may get 503: overload.
        self.until("the call", lambda: self.so_far("AckReceived"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for index in range(10_000):
                garbage = chances.randbytes(chances.randrange(1, 400))
                if index % 3 == 0:
                    garbage = b"INVITE sip:x SIP/2.0\r\nVia: " + garbage
                stranger.sendto(garbage, (HOST, port))
                if index % 50 == 0:
                    time.sleep(0.005)
        self.assertEqual(calls.wait(30), 0)
        self.stop(server)
        self.assertLess(len(server.output), 20_000, "the log grew with the garbage")
        self.assertEqual(self.names().count("CallEnded"), 1)


class CalleeTests(SippTestCase):
    """We call SIPp."""

    def test_echoing_uas(self) -> None:
        """``-sn uas -rtp_echo``: our tone comes back, and the command says so."""
        port, media = free_port(), free_port() & ~1
        self.background(
            *(self.program, "-sn", "uas", "-i", HOST, "-p", port, "-nostdin"),
            *("-rtp_echo", "-mi", HOST, "-mp", media),
        )
        self.until_bound(port)
        call = self.command(
            *("call", f"sip:sipp@{HOST}:{port}", f"--listen=udp:0:interface={HOST}"),
            *("--play=tone:440", "--record=heard.wav", "--duration=2", "--events=uac.jsonl"),
        )
        self.assertEqual(call.wait(), 0, call.output)
        report = tone_in(self.folder / "heard.wav", 440.0)
        self.assertGreaterEqual(report.fraction_present, 0.95, str(report))
        names = self.names("uac.jsonl")
        self.assertEqual(names.count("CallAnswered"), 1)
        self.assertIn("MediaActive", names)

    def test_many_calls(self) -> None:
        port = free_port()
        self.background(self.program, "-sn", "uas", "-i", HOST, "-p", port, "-nostdin")
        self.until_bound(port)
        call = self.command(
            *("call", f"sip:sipp@{HOST}:{port}", f"--listen=udp:0:interface={HOST}"),
            *("--duration=0.3", "--calls=40", "--rate=40", "--events=uac.jsonl"),
        )
        self.assertEqual(call.wait(), 1, "SIPp sends no audio, and that has to be said")
        names = self.names("uac.jsonl")
        self.assertEqual(names.count("CallAnswered"), 40)
        self.assertEqual(names.count("CallEnded"), 40)
        self.assertNotIn("Traceback", call.output)
