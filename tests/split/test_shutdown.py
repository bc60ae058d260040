"""SIGTERM with ringing, answered and un-ACKed calls up: all ended, nothing left, in time."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest

from sessioncore.daemon.process import has_terminal
from tests.split.caller import Caller
from tests.split.processes import (
    PATIENCE,
    ROOT,
    TWISTD,
    Process,
    ProcessTestCase,
    port_of,
    read_events,
)


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
            self.assertIn(self.gone(server, began), status)
            self.assertNotIn("ReactorNotRunning", server.output)

    def test_a_second_ctrl_c_is_immediate(self) -> None:
        """A call without ACK would be waited for, for 4 s."""
        for run, role in ((self.command, ("answer",)), (self.twistd, ("--role=uas",))):
            server = run(*role, "--listen=udp:0:interface=127.0.0.1")
            caller = Caller(self, port_of(server.line(" on 127.0.0.1:")), len(role[0]))
            caller.invite()
            caller.receive("SIP/2.0 200")
            server.popen.send_signal(signal.SIGINT)
            server.line("ending the calls; Ctrl-C again quits at once")
            server.popen.send_signal(signal.SIGINT)
            self.assertEqual(server.wait(), -2, server.output)
            self.assertNotIn("abandoned", server.output)
            self.assertNotIn("Traceback", server.output)

    def hang_up_terminal(self, *arguments: object) -> int:
        """Run a server on a terminal, close that with a call up; the exit status."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, slave)
        name = self.mktemp()
        with open(name, "wb") as out:
            server = subprocess.Popen(
                [sys.executable, *map(str, arguments), "--listen=udp:0:interface=127.0.0.1"],
                stdin=slave,
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                cwd=self.folder,
                preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
            )
        self.addCleanup(server.kill)
        self.wait_for(name, " on 127.0.0.1:")
        (port,) = re.findall(r" on 127\.0\.0\.1:(\d+)", Path(name).read_text())
        caller = Caller(self, int(port), 21)
        caller.invite()
        caller.receive("SIP/2.0 200")
        caller.send("ACK", branch="ack")
        self.wait_for(name, "Event: AckReceived")
        os.close(master)
        caller.answer(caller.receive("BYE "))
        return server.wait(PATIENCE)

    def wait_for(self, name: str, text: str) -> None:
        until = time.monotonic() + PATIENCE
        while text not in Path(name).read_text():
            self.assertLess(time.monotonic(), until, Path(name).read_text())
            time.sleep(0.05)

    def test_a_closed_terminal_ends_the_calls_too(self) -> None:
        """twistd ends itself by the signal it was sent."""
        self.assertEqual(self.hang_up_terminal("-m", "sessioncore", "answer"), 0)
        twistd = (*TWISTD, "-n", "--pidfile=", "sessioncore", "--role=uas")
        self.assertEqual(self.hang_up_terminal(*twistd), -1)

    def test_a_closed_terminal_ends_a_command_under_nohup_only_where_that_is_undone(self) -> None:
        """These tests themselves may run under ``nohup``, which all below it would inherit."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        server = self.command("answer", "--listen=udp:0:interface=127.0.0.1")
        self.answers(port_of(server.line(" on 127.0.0.1:")))
        server.popen.send_signal(signal.SIGHUP)
        self.assertEqual(server.wait(), 0, server.output)

    def answers(self, port: int) -> None:
        client = self.command("call", f"sip:b@127.0.0.1:{port}", "--duration=0.3")
        self.assertEqual(client.wait(), 0, client.output)

    def test_sighup_does_not_end_a_server_without_a_terminal(self) -> None:
        server = self.twistd(
            "--role=uas", "--listen=udp:0:interface=127.0.0.1", "--events=events.jsonl"
        )
        port = port_of(server.line(" on 127.0.0.1:"))
        if has_terminal():
            raise SkipTest("these tests run on a terminal, which the server then has, too")
        self.answers(port)
        os.rename(self.folder / "events.jsonl", self.folder / "events.jsonl.1")
        server.popen.send_signal(signal.SIGHUP)
        server.line("reopened the log files")
        self.answers(port)
        server.terminate()
        self.assertEqual(server.wait(), -15, server.output)
        self.assertEqual(len(self.reasons()), 1)

    def test_draining_waits_for_the_calls_that_are_up(self) -> None:
        for run, role in ((self.command, "answer"), (self.twistd, "--role=uas")):
            server = run(role, "--listen=udp:0:interface=127.0.0.1")
            port = port_of(server.line(" on 127.0.0.1:"))
            caller, late = Caller(self, port, 31), Caller(self, port, 32)
            caller.invite()
            caller.receive("SIP/2.0 200")
            caller.send("ACK", branch="ack")
            server.line("[UAS] Event: AckReceived")
            server.popen.send_signal(signal.SIGUSR2)
            server.line("draining: 1 calls are up")
            late.invite()
            late.receive("SIP/2.0 503")
            caller.send("BYE", 2, branch="bye")
            caller.receive("SIP/2.0 200")
            self.assertEqual(server.wait(), 0, server.output)

    def test_an_interrupted_client_with_a_call_that_failed(self) -> None:
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", 0))
        client = self.command("call", f"bob@127.0.0.1:{silent.getsockname()[1]}")
        client.line("calling, no response for 5 s")
        client.popen.send_signal(signal.SIGINT)
        self.assertEqual(client.wait(), 1, client.output)
        self.assertIn("0 with audio both ways, 1 failed: ", client.lines[-1])

    def test_a_client_whose_peer_says_nothing_is_free_at_the_limit(self) -> None:
        """Not after 32 s, for which the transaction would wait."""
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", 0))
        peer = f"sip:bob@127.0.0.1:{silent.getsockname()[1]}"
        client = self.command("call", peer, "--ring-limit=1")
        self.assertEqual(client.wait(20), 1, client.output)
        self.assertIn("1 failed: timeout 408: nobody answered", client.lines[-1])

    def test_a_client_of_twistd_whose_call_failed_says_so_at_last(self) -> None:
        server = self.command("answer", "--listen=udp:0:interface=127.0.0.1", "--answer=reject:486")
        port = port_of(server.line(" on 127.0.0.1:"))
        client = self.twistd("--role=uac", f"--call=bob@127.0.0.1:{port}")
        self.assertEqual(client.wait(), 1, client.output)
        self.assertRegex(client.lines[-1], "0 with audio both ways, 1 failed: remote 486: Busy")
        self.assertIn("Server Shut Down", client.output)

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
