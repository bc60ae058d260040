"""A SIP peer that does exactly what a test says, in blocking calls on one socket."""

from __future__ import annotations

import re
import socket

from tests.split.processes import ProcessTestCase

__all__ = ["Caller"]

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

    def text(self, method: str, number: int = 1, branch: str = "", body: str = "") -> str:
        """A request; ``branch`` tells its transaction from others of the call."""
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"{method} {self.uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.here};branch=z9hG4bK{self.call_id}{branch}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:caller@127.0.0.1>;tag=f\r\nTo: {self.to}\r\n"
            f"Call-ID: {self.call_id}\r\nCSeq: {number} {method}\r\n"
            f"Contact: <sip:caller@127.0.0.1:{self.here}>\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )

    def send(self, method: str, number: int = 1, branch: str = "", body: str = "") -> None:
        """Send one request, once."""
        self.socket.send(self.text(method, number, branch, body).encode())

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
