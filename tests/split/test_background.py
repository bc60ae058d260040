"""``twistd`` in the background: what its log says of calls, and that it survives rotation."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from tests.split.processes import PATIENCE, TWISTD, ProcessTestCase, free_port


class BackgroundTests(ProcessTestCase):
    def daemon(self, *options: str) -> int:
        """The port of a daemon in the background; it is ended when the test is over."""
        port = free_port()
        starting = self.start(
            *TWISTD,
            *("--pidfile=d.pid", "--logfile=d.log", "sessioncore", "--role=uas"),
            *(f"--listen=udp:{port}:interface=127.0.0.1", *options),
        )
        self.addCleanup(self.end)
        self.assertEqual(starting.wait(), 0, starting.output)
        return port

    def end(self) -> None:
        """Tell the daemon to stop and wait for its end; nothing if it is over."""
        file = self.folder / "d.pid"
        if file.exists():
            process = int(file.read_text())
            os.kill(process, signal.SIGTERM)
            self.wait_until(lambda: not Path(f"/proc/{process}").exists())
            file.unlink(missing_ok=True)

    def wait_until(self, reached: object) -> None:
        assert callable(reached)
        until = time.monotonic() + PATIENCE
        while not reached():
            if time.monotonic() > until:
                self.fail(self.log())
            time.sleep(0.05)

    def log(self, name: str = "d.log") -> str:
        return (self.folder / name).read_text()

    def call(self, port: int, user: str) -> None:
        caller = self.command("call", f"sip:{user}@127.0.0.1:{port}", "--duration=0.3")
        self.assertEqual(caller.wait(), 0, caller.output)

    def test_a_line_per_call_goes_into_the_log_and_its_successor(self) -> None:
        port = self.daemon()
        self.call(port, "bob")
        self.wait_until(lambda: "To: sip:bob@" in self.log())
        process = int((self.folder / "d.pid").read_text())
        os.kill(process, signal.SIGUSR1)
        self.wait_until(lambda: (self.folder / "d.log.1").exists())
        self.call(port, "carol")
        self.end()
        before, after = self.log("d.log.1"), self.log()
        self.assertRegex(
            before, r'#info\] \[UAS\] Call: answered, .*To: sip:bob@.*Media: "two_way"'
        )
        self.assertNotIn("carol", before)
        self.assertIn("To: sip:carol@", after)
        self.assertLess(after.index("carol"), after.index("Server Shut Down"))
        self.assertNotIn("Event:", before + after)

    def test_quiet(self) -> None:
        port = self.daemon("--log=quiet")
        self.call(port, "bob")
        self.end()
        self.assertNotIn("bob", self.log())
        self.assertIn("UAS on 127.0.0.1", self.log())

    def test_sighup_reopens_the_log_and_the_event_file(self) -> None:
        """As logrotate does it: rename both, then send SIGHUP."""
        port = self.daemon("--events=e.jsonl", "--stats=stats.json")
        self.call(port, "bob")
        self.wait_until(lambda: "To: sip:bob@" in self.log())
        process = int((self.folder / "d.pid").read_text())
        for name in ("d.log", "e.jsonl"):
            os.rename(self.folder / name, self.folder / f"{name}.away")
        os.kill(process, signal.SIGHUP)
        self.wait_until(lambda: (self.folder / "d.log").exists())
        self.wait_until(lambda: "reopened the log files" in self.log())
        self.call(port, "carol")
        self.end()
        self.assertIn("To: sip:carol@", self.log())
        self.assertNotIn("carol", self.log("d.log.away"))
        self.assertIn('"sip:carol@', self.log("e.jsonl"))
        self.assertNotIn("carol", self.log("e.jsonl.away"))
        self.assertEqual(json.loads(self.log("stats.json"))["calls"]["answered"], 2)

    def test_sighup_where_nothing_can_be_reopened(self) -> None:
        port = self.daemon("--events=e.jsonl")
        process = int((self.folder / "d.pid").read_text())
        for name in ("d.log", "e.jsonl"):
            os.rename(self.folder / name, self.folder / f"{name}.away")
            os.mkdir(self.folder / name)
        os.kill(process, signal.SIGHUP)
        self.wait_until(lambda: "events go on in the file they had" in self.log("d.log.away"))
        self.assertIn("d.log cannot be opened: Is a directory", self.log("d.log.away"))
        self.assertNotIn("reopened", self.log("d.log.away"))
        self.call(port, "carol")
        self.end()
        self.assertIn("To: sip:carol@", self.log("d.log.away"))
        self.assertIn('"sip:carol@', self.log("e.jsonl.away"))
