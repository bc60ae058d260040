"""SIGTERM with ringing, answered and un-ACKed calls up: all ended, nothing left, in time."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

from tests.split.processes import Process, ProcessTestCase, port_of, read_events

SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio {rtp} RTP/AVP 0\r\n"
)


class Caller:
    """A peer that does exactly what the test says: one socket, no timers."""

    def __init__(self, test: ProcessTestCase, port: int, number: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        test.addCleanup(self.socket.close)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(10)
        self.here = self.socket.getsockname()[1]
        self.call_id = f"shutdown-{number}"
        self.to = f"<sip:callee@127.0.0.1:{port}>"
        self.uri = f"sip:callee@127.0.0.1:{port}"

    def send(self, method: str, number: int = 1, branch: str = "", body: str = "") -> None:
        kind = "Content-Type: application/sdp\r\n" if body else ""
        self.socket.send(
            (
                f"{method} {self.uri} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 127.0.0.1:{self.here};branch=z9hG4bK{self.call_id}{branch}\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:caller@127.0.0.1>;tag=f\r\nTo: {self.to}\r\n"
                f"Call-ID: {self.call_id}\r\nCSeq: {number} {method}\r\n"
                f"Contact: <sip:caller@127.0.0.1:{self.here}>\r\n{kind}"
                f"Content-Length: {len(body)}\r\n\r\n{body}"
            ).encode()
        )

    def invite(self) -> None:
        self.send("INVITE", body=SDP.format(rtp=self.here))

    def receive(self, beginning: str) -> str:
        """The next message that begins so; others (RTP comes here too) are passed over."""
        while True:
            data = self.socket.recv(65536)
            if data.startswith(beginning.encode()):
                text = data.decode()
                if beginning.startswith("SIP/2.0"):
                    to = re.search(r"^To: (.*)\r$", text, re.MULTILINE)
                    assert to is not None
                    self.to = to[1]
                return text

    def answer(self, request: str) -> None:
        """200 to a request from the other side."""
        copied = [
            line
            for line in request.split("\r\n\r\n", maxsplit=1)[0].split("\r\n")[1:]
            if line.partition(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")
        ]
        self.socket.send(
            "\r\n".join(["SIP/2.0 200 OK", *copied, "Content-Length: 0", "", ""]).encode()
        )


class ShutdownTests(ProcessTestCase):
    def callers(self, ringing: int, answered: int) -> tuple[list[Caller], list[Caller]]:
        return (
            [Caller(self, ringing, number) for number in (1, 2)],
            [Caller(self, answered, number) for number in (3, 4, 5)],
        )

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
