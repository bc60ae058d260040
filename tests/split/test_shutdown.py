"""SIGTERM with ringing, answered and un-ACKed calls up: all ended, nothing left, in time."""

from __future__ import annotations

import signal
import socket
import time
from typing import Any

from tests.split.caller import Caller
from tests.split.processes import Process, ProcessTestCase, port_of, read_events


class ShutdownTests(ProcessTestCase):
    def gone(self, process: Process, since: float) -> int:
        status = process.wait(20)
        self.assertLess(time.monotonic() - since, 5.0, process.output)
        self.assertNotIn("Traceback", process.output)
        return status

    def test_answered_calls_get_a_bye_and_ports_are_free(self) -> None:
        server = self.command(
            "answer", "--listen=udp:0:interface=127.0.0.1", "--events=events.jsonl"
        )
        self.check(server, 0)

    def test_the_same_under_twistd(self) -> None:
        """twistd ends itself by the signal it was sent."""
        server = self.twistd(
            "--role=uas", "--listen=udp:0:interface=127.0.0.1", "--events=events.jsonl"
        )
        self.check(server, -15)

    def check(self, server: Process, status: int) -> None:
        port = port_of(server.line(" on 127.0.0.1:"))
        confirmed, silent, unacked = (Caller(self, port, number) for number in (1, 2, 3))
        for caller in (confirmed, silent, unacked):
            caller.invite()
            caller.receive("SIP/2.0 200")
            if caller is not unacked:
                caller.send("ACK", branch="ack")
        for _ in range(2):
            server.line("[UAS] Event: AckReceived")
        began = time.monotonic()
        server.terminate()
        confirmed.answer(confirmed.receive("BYE "))
        silent.receive("BYE ")
        # The one who never sent an ACK is owed no BYE before 64*T1: it is given up.
        self.assertEqual(self.gone(server, began), status, server.output)
        self.assertIn("2 calls", server.output)
        free = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(free.close)
        free.bind(("127.0.0.1", port))
        reasons = self.reasons()
        self.assertIn("shutting down", reasons["shutdown-1"]["text"])
        self.assertEqual(len(reasons), 3)

    def reasons(self) -> dict[str, Any]:
        return {
            record["call_id"]: record["reason"]
            for record in read_events(self.folder / "events.jsonl")
            if record["event"] in ("CallEnded", "CallFailed")
        }

    def test_ringing_calls_get_a_final_response_at_once(self) -> None:
        server = self.command(
            *("answer", "--answer-after=60", "--listen=udp:0:interface=127.0.0.1"),
            "--events=events.jsonl",
        )
        port = port_of(server.line(" on 127.0.0.1:"))
        callers = [Caller(self, port, number) for number in (1, 2)]
        for caller in callers:
            caller.invite()
            caller.receive("SIP/2.0 180")
        began = time.monotonic()
        server.terminate()
        for caller in callers:
            caller.receive("SIP/2.0 480")
            caller.send("ACK")
        self.assertEqual(self.gone(server, began), 0)
        self.assertEqual(len(self.reasons()), 2)

    def test_another_signal_changes_nothing(self) -> None:
        """Neither in the same turn nor while the calls are being ended; by command and twistd."""
        for run, role, status in (
            (self.command, ("answer",), (0,)),
            (self.twistd, ("--role=uas",), (-2, -15)),
        ):
            server = run(*role, "--listen=udp:0:interface=127.0.0.1")
            caller = Caller(self, port_of(server.line(" on 127.0.0.1:")), len(role) + status[0])
            caller.invite()
            caller.receive("SIP/2.0 200")
            began = time.monotonic()
            for _ in range(3):
                server.terminate()
            server.popen.send_signal(signal.SIGINT)
            time.sleep(0.5)
            server.terminate()
            server.popen.send_signal(signal.SIGINT)
            self.assertIn(self.gone(server, began), status)
            self.assertNotIn("ReactorNotRunning", server.output)

    def test_a_closed_terminal_ends_the_calls_too(self) -> None:
        """twistd ends itself by the signal it was sent."""
        for run, role, status in ((self.command, "answer", 0), (self.twistd, "--role=uas", -1)):
            server = run(role, "--listen=udp:0:interface=127.0.0.1")
            caller = Caller(self, port_of(server.line(" on 127.0.0.1:")), 11 + status)
            caller.invite()
            caller.receive("SIP/2.0 200")
            caller.send("ACK", branch="ack")
            server.line("[UAS] Event: AckReceived")
            began = time.monotonic()
            server.popen.send_signal(signal.SIGHUP)
            caller.answer(caller.receive("BYE "))
            self.assertEqual(self.gone(server, began), status, server.output)

    def test_a_client_ends_its_calls(self) -> None:
        server = self.command(
            "answer", "--listen=udp:0:interface=127.0.0.1", "--events=events.jsonl"
        )
        port = port_of(server.line(" on 127.0.0.1:"))
        client = self.command("call", f"sip:callee@127.0.0.1:{port}", "--duration=60")
        client.line("audio both ways")
        began = time.monotonic()
        client.terminate()
        self.assertEqual(self.gone(client, began), 0)
        server.line("[UAS] Event: CallEnded")
        server.terminate()
        self.assertEqual(server.wait(), 0)
