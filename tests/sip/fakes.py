"""A flow, users and messages for tests of transactions; nothing here reads a clock."""

from __future__ import annotations

from itertools import count
from typing import Any

from sessioncore.deadlines import Deadlines
from sessioncore.sip.matching import TransactionLayer
from sessioncore.sip.message import Request, Response, build_request, parse_message
from sessioncore.vocabulary import SECOND, Address

PEER: Address = ("192.0.2.1", 5060)
START = 1_000 * SECOND


class FakeFlow:
    """Keeps what is sent; raises ``error`` instead while it is set."""

    transport = b"UDP"
    alive = True
    local: Address = ("192.0.2.9", 5060)

    def __init__(self, reliable: bool = False) -> None:
        self.reliable = reliable
        self.sent: list[tuple[bytes, Address]] = []
        self.error: OSError | None = None

    def send(self, data: bytes, address: Address) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((data, address))

    def sent_by(self, peer: str) -> bytes:
        return b"192.0.2.9:5060"

    def take(self) -> list[Any]:
        """What was sent since, parsed; each has ``address``."""
        taken = []
        for data, address in self.sent:
            message = parse_message(data)
            message.address = address  # type: ignore[union-attr]
            taken.append(message)
        self.sent.clear()
        return taken

    def statuses(self) -> list[int]:
        return [message.status for message in self.take()]

    def methods(self) -> list[bytes]:
        return [message.method for message in self.take()]


class FakeUser:
    """Both kinds of user: keeps what it is told; ``answers`` maps a method to statuses."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.answers: dict[bytes, list[int]] = {}
        self.transactions: list[Any] = []
        self.tag: bytes | None = None

    def request_received(self, tx: Any, now: int) -> None:
        self.log.append(("request", tx.request.method))
        self.transactions.append(tx)
        for status in self.answers.get(tx.request.method, ()):
            tx.respond(status, now=now)

    def ack_received(self, request: Request, source: Address, flow: Any, now: int) -> None:
        self.log.append(("ack", request.cseq.number))

    def cancel_received(self, tx: Any, now: int) -> None:
        self.log.append(("cancel", tx.request.call_id))

    def tag_of_accepted(self, cancel: Request) -> bytes | None:
        self.log.append(("late cancel", cancel.call_id))
        return self.tag

    def response_received(self, tx: Any, response: Response, now: int) -> None:
        self.log.append(("response", response.status))

    def timed_out(self, tx: Any, now: int) -> None:
        self.log.append(("timed out",))

    def transport_failed(self, tx: Any, now: int) -> None:
        self.log.append(("transport failed",))

    def take(self) -> list[tuple[Any, ...]]:
        taken, self.log = self.log, []
        return taken


class Bench:
    """A transaction layer under virtual time, one flow and one user."""

    def __init__(self, reliable: bool = False, **options: Any) -> None:
        self.flow = FakeFlow(reliable)
        self.user = FakeUser()
        self.deadlines = Deadlines()
        tokens = count()
        self.layer = TransactionLayer(
            self.user, self.deadlines, lambda: b"%08d" % next(tokens), b"secret", **options
        )
        self.now = START

    def receive(self, data: bytes, source: Address = PEER) -> None:
        self.layer.receive(data, source, self.flow, self.now)

    def advance(self, seconds: float) -> None:
        """Let time pass in steps of 5 ms where something is due."""
        end = self.now + round(seconds * SECOND)
        while (when := self.deadlines.next()) is not None and when <= end:
            self.now = max(when, self.now)
            self.deadlines.run(self.now)
        self.now = end

    def invite(self, **fields: Any) -> Any:
        """Send an INVITE of ours."""
        return self.send(b"INVITE", **fields)

    def send(self, method: bytes, **fields: Any) -> Any:
        branch = self.layer.new_branch()
        data = request(method, branch=branch, **fields)
        return self.layer.request(self.user, data, method, PEER, self.flow, branch, self.now)


def request(
    method: bytes = b"INVITE",
    *,
    branch: bytes | None = b"z9hG4bK-1",
    sent_by: bytes = b"192.0.2.1:5060",
    via_params: bytes = b"",
    uri: bytes = b"sip:bob@192.0.2.9",
    from_tag: bytes = b"f1",
    to_tag: bytes | None = None,
    call_id: bytes = b"call-1",
    cseq: int = 1,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    body: bytes = b"",
) -> bytes:
    via = b"SIP/2.0/UDP " + sent_by + via_params
    if branch is not None:
        via += b";branch=" + branch
    to = b"<sip:bob@192.0.2.9>" + (b"" if to_tag is None else b";tag=" + to_tag)
    return build_request(
        method,
        uri,
        [
            (b"Via", via),
            (b"Max-Forwards", b"70"),
            (b"From", b"<sip:alice@192.0.2.1>;tag=" + from_tag),
            (b"To", to),
            (b"Call-ID", call_id),
            (b"CSeq", b"%d %b" % (cseq, method)),
            (b"Contact", b"<sip:alice@192.0.2.1:5060>"),
            *headers,
        ],
        body,
    )


def response(tx: Any, status: int, *, to_tag: bytes = b"callee", method: bytes = b"") -> bytes:
    """A response to a client transaction's request."""
    sent = tx.request
    return (
        b"SIP/2.0 %d Reason\r\nVia: %b\r\nFrom: %b\r\nTo: %b;tag=%b\r\nCall-ID: %b\r\n"
        b"CSeq: %d %b\r\nContact: <sip:bob@192.0.2.1:5060>\r\nContent-Length: 0\r\n\r\n"
        % (
            status,
            sent.first(b"Via"),
            sent.first(b"From"),
            sent.first(b"To"),
            to_tag,
            sent.call_id,
            sent.cseq.number,
            method or sent.method,
        )
    )
