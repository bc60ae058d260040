"""The examples run as they are printed."""

from __future__ import annotations

import signal

from tests.split.processes import ROOT, ProcessTestCase, free_port, port_of


class EmbedTests(ProcessTestCase):
    def test_calls_and_is_answered(self) -> None:
        port = free_port()
        source = (ROOT / "examples" / "embed.py").read_text()
        self.assertIn('"udp:5060"', source)
        answering = self.folder / "embed.py"
        answering.write_text(source.replace('"udp:5060"', f'"udp:{port}:interface=127.0.0.1"'))
        callee = self.start(answering)
        callee.line("listening on")
        caller = self.start(ROOT / "examples" / "embed.py", f"sip:bob@127.0.0.1:{port}")
        self.assertEqual(caller.wait(), 0, caller.output)
        self.assertIn("MediaActive Active", caller.output)
        self.assertIn("ended: local: hung up", caller.output)
        callee.line("ended: remote")

    def test_stopped_by_hand_it_ends_its_calls(self) -> None:
        server = self.command("answer", "--listen=udp:0:interface=127.0.0.1")
        port = port_of(server.line(" on 127.0.0.1:"))
        caller = self.start(ROOT / "examples" / "embed.py", f"sip:bob@127.0.0.1:{port}")
        server.line("Event: MediaActive")
        caller.popen.send_signal(signal.SIGINT)
        self.assertIn("the peer hung up", server.line("Event: CallEnded"))
        caller.wait()

    def test_it_is_short(self) -> None:
        lines = (ROOT / "examples" / "embed.py").read_text().split('"""')[2].splitlines()
        code = [line for line in lines if line and "import" not in line]
        self.assertLessEqual(len(code), 22)
