"""Real peers: SIPp, baresip and tshark, each started by the test that needs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest

from sessioncore.media.wave import read_wav
from sessioncore.testing.tones import ToneReport, tone_report
from tests.split.processes import (
    PATIENCE,
    Process,
    ProcessTestCase,
    free_port,
    port_of,
    read_events,
)

HOST = "127.0.0.1"


def require(program: str, package: str) -> str:
    """The path of a program; its absence skips the test by name, or fails it in CI."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
            raise AssertionError(f"{program} is required here: install {package}")
        raise SkipTest(f"{program} is not installed (Debian: {package})")
    return found


def tone_in(path: Path, hertz: float, *, skip: float = 0.3) -> ToneReport:
    """What ``path`` holds of one tone, from ``skip`` seconds on."""
    audio = read_wav(path)
    return tone_report(audio.mono[int(audio.rate * skip) :], audio.rate, hertz)


class PeerTestCase(ProcessTestCase):
    """A server of ours, foreign programs, and what came of both."""

    def serve(self, *options: str) -> tuple[Process, int]:
        """Our UAS on a free port, with an event file; returns it and its port."""
        server = self.twistd(
            "--role=uas", f"--listen=udp:0:interface={HOST}", "--events=uas.jsonl", *options
        )
        return server, port_of(server.line(f"UAS on {HOST}:"))

    def stop(self, server: Process) -> None:
        """SIGTERM; there must have been no traceback."""
        server.terminate()
        self.assertEqual(server.wait(), -15, server.output)
        self.assertNotIn("Traceback", server.output)
        self.assertNotIn("Unhandled", server.output)

    def events(self, name: str = "uas.jsonl") -> list[dict[str, Any]]:
        """The events that were written to a file."""
        return read_events(self.folder / name)

    def so_far(self, event: str, name: str = "uas.jsonl") -> int:
        """How often that event was written to a file whose last line may be half written."""
        return (self.folder / name).read_bytes().count(f'"event":"{event}"'.encode())

    def names(self, name: str = "uas.jsonl") -> list[str]:
        """Their names."""
        return [event["event"] for event in self.events(name)]

    def foreign(self, *command: object, patience: float = PATIENCE) -> tuple[int, str]:
        """Run a foreign program to its end; returns its status and what it printed."""
        try:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{command[0]} did not end: {late.stdout!r}") from None
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def background(self, *command: object) -> subprocess.Popen[bytes]:
        """Start a foreign program; it is gone when the test is over."""
        log = (self.folder / f"{Path(str(command[0])).name}.log").open("wb")
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()

        def end() -> None:
            if process.poll() is None:
                process.kill()
            process.wait()

        self.addCleanup(end)
        return process

    def said(self) -> str:
        """The end of what the programs in the background have printed."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-3000:]}" for log in logs)

    def until(self, what: str, condition: Any, patience: float = PATIENCE) -> None:
        """Wait until ``condition()`` holds."""
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not come within {patience} s\n{self.said()}")
            time.sleep(0.02)

    def until_bound(self, port: int) -> None:
        """Wait until somebody holds the UDP port."""
        wanted = f":{port:04X} "
        self.until(f"port {port}", lambda: wanted in Path("/proc/net/udp").read_text())


class SippTestCase(PeerTestCase):
    """Tests against SIPp (Debian's sip-tester)."""

    def setUp(self) -> None:
        super().setUp()
        self.program = require("sipp", "sip-tester")

    def sipp(self, *arguments: object, patience: float = PATIENCE) -> str:
        """A SIPp run that must succeed: every call as its scenario says."""
        status, output = self.foreign(
            *(self.program, "-i", HOST, "-p", free_port(), "-nostdin", "-trace_err"),
            *("-error_file", "sipp-errors.log", *arguments),
            patience=patience,
        )
        errors = self.folder / "sipp-errors.log"
        told = errors.read_text(errors="replace") if errors.exists() else ""
        self.assertEqual(status, 0, f"{told}\n{output[-3000:]}")
        return output

    def scenario(self, text: str) -> Path:
        """A scenario file with the messages of ``text``."""
        path = self.folder / "scenario.xml"
        path.write_text(
            f'<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="own">{text}</scenario>',
            encoding="ascii",
        )
        return path
