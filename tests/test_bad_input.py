"""What goes wrong before a call: one clear line, a status other than 0, no traceback."""

from __future__ import annotations

import os
import signal
import socket
import time

from tests.split.processes import TWISTD, Process, ProcessTestCase, free_port


class BadInputTests(ProcessTestCase):
    def check(self, process: Process, status: int, *says: str, lines: int = 1) -> None:
        """Ended with ``status``, having said this in at most so many lines, without traceback."""
        self.assertEqual(process.wait(), status, process.output)
        for text in says:
            self.assertIn(text, process.output)
        self.assertNotIn("Traceback", process.output)
        self.assertLessEqual(len(process.lines), lines, process.output)

    def taken_port(self) -> int:
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(holder.close)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port

    # --- twistd

    def test_usage(self) -> None:
        (self.folder / "broken.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
        for option, says in {
            "--role=proxy": "--role 'proxy' is unknown; write --role=uas or --role=uac",
            "--role=uac": "--role=uac needs a URI to call",
            "--role=uas --bogus": "option --bogus not recognized",
            "--role=uas --answer=play:missing.wav": "missing.wav",
            "--role=uas --answer=play:broken.wav": "broken.wav",
            "--role=uac --call=sip:b@h --play=missing.wav": "missing.wav",
        }.items():
            # Twisted's own first line, a pointer to --help, and what is wrong.
            self.check(self.twistd(*option.split()), 1, says, lines=3)

    def test_port_in_use(self) -> None:
        port = self.taken_port()
        process = self.twistd("--role=uas", f"--listen=udp:{port}:interface=127.0.0.1")
        self.check(process, 1, f"cannot listen on UDP port {port} of 127.0.0.1", lines=5)
        self.assertTrue(process.lines[-1].startswith("sessioncore: cannot listen"), process.output)

    def test_port_in_use_of_a_daemon(self) -> None:
        """Bound after the fork, and still the one who started it is told."""
        port = self.taken_port()
        process = self.start(
            *TWISTD, "sessioncore", "--role=uas", f"--listen=udp:{port}:interface=127.0.0.1"
        )
        self.check(process, 1, f"cannot listen on UDP port {port}", lines=2)
        log = (self.folder / "twistd.log").read_text()
        self.assertIn("cannot start: cannot listen on UDP port", log)
        self.assertNotIn("Traceback", log)
        self.assertFalse((self.folder / "twistd.pid").exists())

    def test_daemon(self) -> None:
        """The control: the same on a free port stays up, and goes at SIGTERM."""
        process = self.start(
            *(*TWISTD, "sessioncore", "--role=uas"),
            *(f"--listen=udp:{free_port()}:interface=127.0.0.1", "--events=events.jsonl"),
        )
        self.assertEqual(process.wait(), 0, process.output)
        pid = int((self.folder / "twistd.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.1)
        else:
            self.fail("the daemon did not go")
        self.assertTrue((self.folder / "events.jsonl").exists())

    def test_unresolvable_uri(self) -> None:
        process = self.twistd("--role=uac", "--call=sip:bob@nobody.invalid", "--listen=udp:0")
        self.assertEqual(process.wait(), 1, process.output)
        says = (
            "sessioncore: 1 call, 0 with audio both ways, 1 failed: error 404: nobody.invalid has"
        )
        self.assertIn(says, process.lines[-1])
        self.assertNotIn("Traceback", process.output)

    # --- sessioncore

    def test_commands(self) -> None:
        (self.folder / "broken.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
        for line, says in {
            "": "a command is missing; write one of call, answer,",
            "dial": "dial",
            "call": "a URI to call is missing",
            "call bob": "'bob' is not a SIP URI",
            "call sip:b@h --bogus": "option --bogus not recognized",
            "call sip:b@h --play missing.wav": "missing.wav",
            "call --play broken.wav sip:b@h": "broken.wav",
            "call sip:b@h --listen udp:http": "http",
            "answer --answer sing": "'sing' is unknown",
            "answer --dashboard 8080": "'8080' is not an endpoint",
            "answer --dashboard tcp:8080:interface=0.0.0.0": "a token is needed",
            "call sip:b@h --metrics tcp:9100 --web-token missing": "missing cannot be read",
            "machines --format svg": "'svg' is unknown; write text or dot",
        }.items():
            self.check(self.command(*line.split()), 2, "sessioncore: ", says)

    def test_port_in_use_of_a_command(self) -> None:
        listen = f"udp:{self.taken_port()}:interface=127.0.0.1"
        for line in ("call sip:bob@127.0.0.1 --listen", "answer --listen"):
            self.check(self.command(*line.split(), listen), 2, "sessioncore: cannot listen on UDP")

    def test_web_port_in_use_of_a_command(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            for option in ("--metrics", "--dashboard"):
                process = self.command("answer", "--listen=udp:0", f"{option}=tcp:{port}")
                says = f"sessioncore: {option}: cannot listen on tcp:{port}:interface=127.0.0.1:"
                self.check(process, 2, says, "Address already in use", lines=2)

    def test_unresolvable_uri_of_a_command(self) -> None:
        process = self.command("call", "sip:bob@nobody.invalid")
        self.assertEqual(process.wait(), 1, process.output)
        self.assertIn("failed: ", process.output)
        self.assertIn("nobody.invalid", process.output)
        self.assertNotIn("Traceback", process.output)
