"""Real processes for tests: start them, read what they print, end them, whatever happens."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 30.0
"""Seconds within which anything a test waits for has to come, on a busy machine too."""
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")


def _as_usual() -> None:
    """In the child: undo what ``nohup`` passes on to all processes below it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Process:
    """One Python process; its lines (both outputs) can be waited for."""

    def __init__(self, *arguments: object, cwd: Path | str | None = None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.popen = subprocess.Popen(
            [sys.executable, *(str(argument) for argument in arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            cwd=cwd,
            preexec_fn=_as_usual,
        )
        self.lines: list[str] = []
        self._coming: queue.Queue[str | None] = queue.Queue()
        assert self.popen.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.popen.stdout,), daemon=True)
        self._reader.start()

    def _read(self, out: IO[str]) -> None:
        with out:
            for line in out:
                self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    @property
    def output(self) -> str:
        """All it has printed that was waited for."""
        return "\n".join(self.lines)

    def line(self, part: str, patience: float = PATIENCE) -> str:
        """The next line that has ``part`` in it."""
        until = time.monotonic() + patience
        while True:
            try:
                line = self._coming.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {part!r} within {patience} s:\n{self.output}") from None
            if line is None:
                self._coming.put(None)
                raise AssertionError(f"ended without {part!r}:\n{self.output}")
            self.lines.append(line)
            if part in line:
                return line

    def record(self, key: str) -> Any:
        """The value of ``key`` in the next JSON line that has it."""
        return json.loads(self.line(f'"{key}"'))[key]

    def wait(self, patience: float = PATIENCE) -> int:
        """The exit status, once it has ended; negative if a signal ended it."""
        status = self.popen.wait(patience)
        self._reader.join(patience)
        while (line := self._coming.get()) is not None:
            self.lines.append(line)
        self._coming.put(None)
        return status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without asking, if it still runs."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self._reader.join(5)


class ProcessTestCase(SynchronousTestCase):
    """A test case with a folder of its own, whose processes are gone when it is over."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

    def start(self, *arguments: object) -> Process:
        """A process in the folder of the test."""
        process = Process(*arguments, cwd=self.folder)
        self.addCleanup(process.kill)
        return process

    def twistd(self, *arguments: object) -> Process:
        """``twistd -n sessioncore`` with these options."""
        return self.start(*TWISTD, "-n", "--pidfile=", "sessioncore", *arguments)

    def command(self, *arguments: object) -> Process:
        """``sessioncore`` with these arguments."""
        return self.start("-m", "sessioncore", *arguments)


def port_of(line: str) -> int:
    """The port at the end of a line such as ``UAS on 127.0.0.1:5060``."""
    return int(line.rpartition(":")[2])


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def read_events(path: Path | str) -> list[dict[str, Any]]:
    """The records of an event file."""
    with open(path) as file:
        return [json.loads(line) for line in file]
