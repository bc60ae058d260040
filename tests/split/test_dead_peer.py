"""A callee process that dies in the middle of a call: the caller notices and says why."""

from __future__ import annotations

from tests.split.processes import ProcessTestCase, port_of


class DeadPeerTests(ProcessTestCase):
    def test_a_callee_that_was_killed(self) -> None:
        server = self.twistd("--role=uas", "--listen=udp:0:interface=127.0.0.1")
        port = port_of(server.line("UAS on "))
        client = self.command(
            *("call", f"sip:callee@127.0.0.1:{port}", "--listen=udp:0:interface=127.0.0.1"),
            *("--play=tone:440", "--duration=60", "--peer-timeout=2"),
        )
        client.line("audio both ways")
        server.popen.kill()
        server.wait()
        self.assertEqual(client.wait(), 1, client.output)
        self.assertIn("the peer is gone: no RTP and no RTCP for 2 s", client.output)
        self.assertIn("OPTIONS did not reach 127.0.0.1", client.output)
