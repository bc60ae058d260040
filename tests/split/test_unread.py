"""Standard output and standard error that nobody reads: calls go on all the same."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time

from tests.split.processes import PATIENCE, ROOT, TWISTD, ProcessTestCase, free_port

TWISTD_IN_FOREGROUND = (*TWISTD, "-n", "--pidfile=", "sessioncore", "--role=uas")
COMMAND = ("-m", "sessioncore", "answer")


def wait_until_bound(port: int) -> None:
    """Wait until something has that UDP port; what it prints cannot be looked at."""
    until = time.monotonic() + PATIENCE
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        assert time.monotonic() < until, "the server does not start"
        time.sleep(0.05)


class UnreadTests(ProcessTestCase):
    """All lines of 30 calls are some ten times what the pipes have room for."""

    def unread(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A process whose outputs are one pipe that has little room and is not read."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
        )
        os.close(writer)
        self.addCleanup(process.kill)
        return process

    def serves(self, *arguments: str) -> None:
        port = free_port()
        server = self.unread(*arguments, f"--listen=udp:{port}:interface=127.0.0.1")
        wait_until_bound(port)
        client = self.command(
            "call", f"sip:b@127.0.0.1:{port}", "--calls=30", "--rate=30", "--duration=0.3"
        )
        self.assertEqual(client.wait(), 0, client.output)
        server.terminate()
        server.wait(PATIENCE)

    def test_answer(self) -> None:
        self.serves(*COMMAND)

    def test_answer_with_events(self) -> None:
        self.serves(*COMMAND, "--events=-")

    def test_twistd(self) -> None:
        self.serves(*TWISTD_IN_FOREGROUND)

    def test_trace(self) -> None:
        self.serves("-m", "sessioncore", "trace")

    def test_a_client(self) -> None:
        port = free_port()
        server = self.command("answer", f"--listen=udp:{port}:interface=127.0.0.1")
        server.line(" on 127.0.0.1:")
        client = self.unread(
            *("-m", "sessioncore", "call", f"sip:b@127.0.0.1:{port}"),
            *("--calls=60", "--rate=60", "--duration=0.3", "--events=run.jsonl"),
        )
        self.assertEqual(client.wait(PATIENCE), 1, "not all could be printed")
        last = (self.folder / "run.jsonl").read_text().splitlines()[-1]
        self.assertIn('"calls":60,"passed":60', last)
