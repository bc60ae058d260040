"""The transaction layer: which transaction a message belongs to, and every timer they need.

Matching follows RFC 3261 section 17, including RFC 2543 peers without the branch cookie.
Transactions in progress are objects; those that only wait for stragglers are one dict entry
``key -> response bytes`` and one (expiry, key) in a first-in first-out queue, because a busy
server holds tens of thousands of them and the garbage collector must not have to look.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, Protocol

from attrs import define

from sessioncore.deadlines import Deadlines, Fifo
from sessioncore.errors import CallOver, SipParseError
from sessioncore.sip.message import (
    Request,
    Response,
    build_response,
    parse_message,
    required_faults,
)
from sessioncore.sip.transaction import (
    ACCEPTED_MARK,
    CONFIRMED_MARK,
    GIVE_UP,
    T4,
    Acked,
    Cancel,
    CancelExpired,
    Cancelled,
    ClientInviteState,
    ClientTransaction,
    ClientUser,
    Failure,
    Flow,
    GiveUp,
    Headers,
    InviteClientTransaction,
    InviteServerTransaction,
    LingerOver,
    MinuteOver,
    OtherClientTransaction,
    OtherServerTransaction,
    Provisional,
    RepeatDue,
    Retransmission,
    ServerTransaction,
    StillSilent,
    Success,
    TransportFailed,
    cancellation,
    fitted,
    repeat_interval,
)
from sessioncore.sip.values import Via
from sessioncore.vocabulary import MILLISECOND, SECOND, Address

__all__ = [
    "ClientUser",
    "Counters",
    "Flow",
    "TransactionLayer",
    "TransactionUser",
    "merge_key",
    "response_address",
    "transaction_key",
]

COOKIE: Final = b"z9hG4bK"
"""What every RFC 3261 branch begins with."""
TRYING_AFTER: Final = 200 * MILLISECOND
PROVISIONAL_AGAIN: Final = 60 * SECOND
GRID: Final = 5 * MILLISECOND
"""Timers fire on this grid, so that thousands of them share a wake-up; up to that much late."""
_TAG_PREFIX: Final = b"sl-"
_CRLF: Final = b"\r\n"


@define
class Counters:
    """What the layer has seen and done, as plain numbers."""

    requests: int = 0
    responses: int = 0
    malformed: int = 0
    keepalives: int = 0
    unmatched_responses: int = 0
    several_vias: int = 0
    unmatched_cancels: int = 0
    acks_swallowed: int = 0
    retransmissions_absorbed: int = 0
    retransmitted: int = 0
    stateless: int = 0
    merged: int = 0
    too_many: int = 0
    unacknowledged: int = 0
    send_failures: int = 0
    dropped: int = 0


class TransactionUser(Protocol):
    """Whoever answers requests: the coordinator."""

    def request_received(self, tx: ServerTransaction, now: int) -> None:
        """A new, well-formed request; never ACK or CANCEL, never a retransmission."""

    def ack_received(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        """An ACK that belongs to no transaction, so to a 2xx; match it by dialog and CSeq."""

    def cancel_received(self, tx: ServerTransaction, now: int) -> None:
        """The unanswered INVITE ``tx`` was cancelled; the CANCEL has its 200 already."""

    def transport_failed(self, tx: ServerTransaction, now: int) -> None:
        """A response could not be sent; before the final one that ends the transaction."""


class _Nobody:
    """Uses the client transaction of a CANCEL, whose outcome changes nothing."""

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        """The INVITE's own final response is what counts."""

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        """The INVITE has its own end 64*T1 after the CANCEL."""

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        """Likewise."""


_NOBODY: Final = _Nobody()


def transaction_key(request: Request, method: bytes) -> bytes:
    """What tells one server transaction from another (RFC 3261 section 17.2.3).

    Beyond branch, sent-by and method it has Call-ID and CSeq number: both are the same for
    every copy, its ACK and its CANCEL, and a client that never changes its branch is served.
    ``method`` is INVITE for ACK and CANCEL, which belong to an INVITE.
    """
    via = request.via
    branch = via.branch
    number = request.cseq.number
    if branch is None or branch[:7].lower() != b"z9hg4bk":
        return _old_key(request, method, request.to_tag or b"")
    return b"%b %b %b %d %b" % (method, branch, via.sent_by, number, request.call_id)


def _old_key(request: Request, method: bytes, to_tag: bytes) -> bytes:
    """RFC 2543: Request-URI, tags, Call-ID, CSeq number and the whole topmost Via."""
    return b"2543 %b %b %b %b %d %b %b" % (
        method,
        request.uri,
        to_tag,
        request.from_tag or b"",
        request.cseq.number,
        request.via.raw,
        request.call_id,
    )


def merge_key(request: Request) -> bytes:
    """What copies of one request have in common that came by several ways (8.2.2.2)."""
    number, method = request.cseq
    return b"%b %d %b %b" % (method, number, request.from_tag or b"", request.call_id)


def response_address(via: Via, source: Address, flow: Flow) -> Address:
    """Where a response goes: back where the request came from, at the port asked for.

    RFC 3261 section 18.2.2 without ``maddr``, RFC 3581 section 4.
    """
    if flow.reliable or b"rport" in via.params:
        return source
    return (source[0], via.port or 5060, *source[2:])


def _on_grid(now: int) -> int:
    return now + -now % GRID


class TransactionLayer:
    """All transactions of one process; bytes come in by `receive` and leave by the flows.

    ``random_token`` gives unguessable token bytes (at least 64 bits), ``secret`` keys the
    computed To tags of stateless refusals.  ``max_pending`` and ``max_finished`` bound what
    strangers can make us remember; above them requests get a stateless 503, those within a
    dialog only above twice as many.
    """

    def __init__(
        self,
        user: TransactionUser,
        deadlines: Deadlines,
        random_token: Callable[[], bytes],
        secret: bytes,
        *,
        server_header: bytes | None = b"sessioncore",
        max_pending: int = 20_000,
        max_finished: int = 250_000,
    ) -> None:
        self.user = user
        self.counters = Counters()
        self.max_pending = max_pending
        self.max_finished = max_finished
        self.server_header = server_header
        self.stopped = False
        self._random_token = random_token
        self._mac = blake2b(key=blake2b(secret).digest(), digest_size=8)
        self._deadlines = deadlines
        self._clients: dict[bytes, ClientTransaction] = {}
        self._lingering: dict[bytes, ClientTransaction] = {}
        self._absorbing: set[bytes] = set()
        self._servers: dict[bytes, ServerTransaction] = {}
        self._finished: dict[bytes, bytes] = {}
        self._merged: dict[bytes, bytes] = {}
        self._fifos: list[Fifo[bytes]] = []
        # RFC 3261 table 4; what each timer means in which state is said by the tables.
        self._timer_b = self._timer(GIVE_UP, self._client_gives_up)
        self._timer_d = self._timer(GIVE_UP, self._linger_over)
        self._timer_k = self._timer(T4, self._absorbed_enough)
        self._timer_cancel = self._timer(GIVE_UP, self._cancel_expired)
        self._timers_a = [
            self._timer(repeat_interval(step, capped=False), self._client_repeats)
            for step in range(6)
        ]
        self._timers_g = [
            self._timer(repeat_interval(step, capped=True), self._server_repeats)
            for step in range(4)
        ]
        self._timer_h = self._timer(GIVE_UP, self._server_gives_up)
        self._timer_i = self._timer(T4, self._finished_enough)
        self._timer_j = self._timer(GIVE_UP, self._finished_enough)
        self._timer_merged = self._timer(GIVE_UP, self._merged_enough)
        self._timer_trying = self._timer(TRYING_AFTER, self._still_silent)
        self._timer_minute = self._timer(PROVISIONAL_AGAIN, self._minute_over)

    def _timer(self, duration: int, callback: Callable[[bytes, int], None]) -> Fifo[bytes]:
        fifo: Fifo[bytes] = self._deadlines.fifo(duration, callback)
        self._fifos.append(fifo)
        return fifo

    @property
    def server_header(self) -> bytes | None:
        """The Server header field of our responses; None for none."""
        return self._server[0][1] if self._server else None

    @server_header.setter
    def server_header(self, value: bytes | None) -> None:
        self._server = () if value is None else ((b"Server", value),)

    # What is in progress --------------------------------------------------------------------

    @property
    def pending_clients(self) -> int:
        """Our requests that have no final response yet."""
        return len(self._clients)

    @property
    def pending_servers(self) -> int:
        """Requests without final response, and refused INVITEs without ACK."""
        return len(self._servers)

    @property
    def remembered(self) -> int:
        """Finished server transactions that still absorb retransmissions."""
        return len(self._finished)

    def stop(self) -> None:
        """Drop every transaction and timer; nothing is sent or received from here on."""
        self.stopped = True
        for held in (
            self._clients,
            self._lingering,
            self._absorbing,
            self._servers,
            self._finished,
            self._merged,
        ):
            held.clear()
        for fifo in self._fifos:
            self._deadlines.remove(fifo)

    close = stop

    # Receiving ------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Address, flow: Flow, now: int) -> None:
        """Take one datagram; whatever is in it, nothing is raised but what the user raises."""
        if self.stopped:
            self.counters.dropped += 1
            return
        if len(data) <= 4 and not data.strip(b"\r\n\x00"):
            self.counters.keepalives += 1  # RFC 5626 section 3.5.1 and what others send
            return
        try:
            message = parse_message(data)
        except SipParseError as error:
            self._refuse_malformed(error, source, flow)
            return
        if message.__class__ is Request:
            self._receive_request(message, source, flow, now)
        else:
            assert isinstance(message, Response)
            self._receive_response(message, now)

    def _refuse_malformed(self, error: SipParseError, source: Address, flow: Flow) -> None:
        request: Request | None = getattr(error, "request", None)
        if request is None:
            self.counters.malformed += 1
        else:
            self._refuse_faulty(request, error.status or 400, str(error), source, flow)

    def _refuse_faulty(
        self, request: Request, status: int, fault: str, source: Address, flow: Flow
    ) -> None:
        self.counters.malformed += 1
        if request.method == b"ACK" or request.first(b"Via") is None:
            return
        # RFC 3261 section 21.4.1: the reason phrase should say what is wrong.
        reason = fault.encode("ascii", "replace") if status == 400 else None
        self._refuse(request, status, source, flow, reason=reason)

    def _receive_request(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        self.counters.requests += 1
        fault = required_faults(request)
        if fault is not None:
            self._refuse_faulty(request, 400, fault, source, flow)
            return
        method = request.method
        if method == b"ACK":
            self._receive_ack(request, source, flow, now)
            return
        if method == b"CANCEL":
            self._receive_cancel(request, source, flow, now)
            return
        key = transaction_key(request, method)
        answer = self._finished.get(key)
        if answer is not None:
            self.counters.retransmissions_absorbed += 1
            if len(answer) > len(CONFIRMED_MARK):
                self.counters.retransmitted += 1
                self.transmit(answer, flow, response_address(request.via, source, flow))
            return
        known = self._servers.get(key)
        if known is not None:
            self.counters.retransmissions_absorbed += 1
            known.feed(Retransmission(now))
            return
        self._new_request(request, key, source, flow, now)

    def _new_request(
        self, request: Request, key: bytes, source: Address, flow: Flow, now: int
    ) -> None:
        merged = None
        if request.to_tag is None:
            merged = merge_key(request)
            if merged in self._merged:
                self.counters.merged += 1
                self._refuse(request, 482, source, flow)
                return
        excess = 1 if merged is not None else 2
        if (
            len(self._servers) >= self.max_pending * excess
            or len(self._finished) >= self.max_finished * excess
        ):
            self.counters.too_many += 1
            self._refuse(request, 503, source, flow)
            return
        kind = InviteServerTransaction if request.method == b"INVITE" else OtherServerTransaction
        via = request.via
        tx = kind(
            self,
            request,
            key,
            source,
            response_address(via, source, flow),
            flow,
            via.with_received(source),
            now,
        )
        self._servers[key] = tx
        try:
            self.user.request_received(tx, now)
        except Exception:
            if tx.last is None:
                tx.respond(500, now=now)
            raise
        finally:
            tx.fresh = False
            self._keep(tx, merged, now)

    def _keep(self, tx: ServerTransaction, merged: bytes | None, now: int) -> None:
        """Arm what a transaction needs that outlives the turn of its request."""
        pending = tx.key in self._servers
        if pending:
            invite = tx.__class__ is InviteServerTransaction
            # Nobody answers a non-INVITE request in time: its client gives up, so do we.
            timer = self._timer_trying if invite else self._timer_h
            timer.add(tx.key, _on_grid(now))
        if merged is not None and (pending or tx.key in self._finished):
            self._merged[merged] = tx.key
            self._timer_merged.add(merged, _on_grid(now))

    def _receive_ack(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        for key in self._ack_keys(request):
            tx = self._servers.get(key)
            if tx is not None:
                tx.feed(Acked(now))
                return
            answer = self._finished.get(key)
            if answer is not None and answer is not ACCEPTED_MARK:
                self.counters.retransmissions_absorbed += 1
                return
        to_tag = request.to_tag
        if (
            to_tag is not None
            and to_tag.startswith(_TAG_PREFIX)
            and to_tag == self.computed_tag(request)
        ):
            self.counters.acks_swallowed += 1
            return
        self.user.ack_received(request, source, flow, now)

    @staticmethod
    def _ack_keys(request: Request) -> tuple[bytes, ...]:
        key = transaction_key(request, b"INVITE")
        if key.startswith(b"2543 ") and request.to_tag is not None:
            # The To tag may be ours: the INVITE had none then.
            return key, _old_key(request, b"INVITE", b"")
        return (key,)

    def _receive_cancel(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        """RFC 3261 section 9.2; answered statelessly, since every copy gets the same answer."""
        key = transaction_key(request, b"INVITE")
        tx = self._servers.get(key)
        if tx is None and key not in self._finished:
            self.counters.unmatched_cancels += 1
            self._refuse(request, 481, source, flow)
            return
        self._refuse(request, 200, source, flow, to_tag=None if tx is None else tx.to_tag)
        if tx is not None:
            tx.feed(Cancelled(now))

    def _receive_response(self, response: Response, now: int) -> None:
        self.counters.responses += 1
        if required_faults(response) is not None:
            self.counters.malformed += 1
            return
        if response.via_count != 1:
            self.counters.several_vias += 1  # RFC 3261 section 8.1.3.3
            return
        key = b"%b %b" % (response.via.branch or b"", response.cseq.method)
        tx = self._clients.get(key) or self._lingering.get(key)
        if tx is None:
            if key in self._absorbing:
                self.counters.retransmissions_absorbed += 1
            else:
                self.counters.unmatched_responses += 1
        elif response.status < 200:
            tx.feed(Provisional(now, response))
        elif response.status < 300:
            tx.feed(Success(now, response))
        else:
            tx.feed(Failure(now, response))

    # Sending --------------------------------------------------------------------------------

    def new_branch(self) -> bytes:
        """A branch for a new client transaction."""
        return COOKIE + self._random_token()

    def request(
        self,
        user: ClientUser,
        data: bytes,
        method: bytes,
        destination: Address,
        flow: Flow,
        branch: bytes,
        now: int,
    ) -> ClientTransaction:
        """Send a request whose topmost Via has ``branch`` and see it through.

        ``user`` is told in a later turn when it cannot be sent.  Raises `CallOver` when the
        layer has stopped.
        """
        if self.stopped:
            raise CallOver("the SIP layer has stopped")
        kind = InviteClientTransaction if method == b"INVITE" else OtherClientTransaction
        tx = kind(self, user, data, method, destination, flow, branch)
        self._clients[tx.key] = tx
        self._timer_b.add(tx.key, _on_grid(now))
        if not flow.reliable:
            self.repeat_client(tx, now)
        if not self.transmit(data, flow, destination):
            self._deadlines.at(now, self._first_send_failed, tx.key)
        return tx

    def cancel(self, tx: ClientTransaction, now: int) -> None:
        """Give an INVITE up: CANCEL at once after a 1xx, else as soon as one comes.

        When no final response comes within 64*T1 after the CANCEL, the user is told
        ``timed_out``.  Does nothing once a final response is there.
        """
        tx.feed(Cancel(now))

    def unreachable(self, address: Address, now: int) -> None:
        """The network said that nobody is at ``address`` (RFC 3261 section 18.4)."""
        for tx in [tx for tx in self._clients.values() if tx.destination == address]:
            tx.feed(TransportFailed(now))

    def _refuse(
        self,
        request: Request,
        status: int,
        source: Address,
        flow: Flow,
        *,
        to_tag: bytes | None = None,
        reason: bytes | None = None,
    ) -> None:
        """Answer once and keep nothing (RFC 3261 section 8.2.7)."""
        self.counters.stateless += 1
        try:
            via = request.via
            top: bytes | None = via.with_received(source)
            address = response_address(via, source, flow)
        except SipParseError:
            top, address = None, source
        tag = to_tag or self.computed_tag(request)
        headers = self._server
        data = build_response(request, status, reason, to_tag=tag, headers=headers, via=top)
        self.transmit(fitted(request, data, status, reason, tag, headers, top), flow, address)

    # What transactions ask for (`Keeper`) ---------------------------------------------------

    def transmit(self, data: bytes, flow: Flow, address: Address) -> bool:
        """Send; False where the transport says that it will not work."""
        if self.stopped:
            self.counters.dropped += 1
            return True
        try:
            flow.send(data, address)
        except OSError:
            self.counters.send_failures += 1
            return False
        return True

    def computed_tag(self, request: Request) -> bytes:
        """The To tag that is the same for every copy of ``request`` and for its ACK."""
        mac = self._mac.copy()
        try:
            parts = [request.call_id, request.from_tag or b"", request.via.branch or b""]
        except SipParseError:
            parts = [request.first(name) or b"" for name in (b"Call-ID", b"From", b"Via")]
        mac.update(b"\0".join(parts))
        return _TAG_PREFIX + mac.hexdigest().encode("ascii")

    def response_headers(self, headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
        """``headers`` and what we put into every response."""
        return (*headers, *self._server)

    def count_repeat(self) -> None:
        """Count one retransmission that left."""
        self.counters.retransmitted += 1

    def count_unacknowledged(self) -> None:
        """Count one final response whose ACK never came."""
        self.counters.unacknowledged += 1

    def repeat_client(self, tx: ClientTransaction, now: int) -> None:
        """Arm the next Timer A or E, number ``tx.step``; Timer E stays at T2."""
        if not tx.flow.reliable:
            self._timers_a[min(tx.step, tx.last_step)].add(tx.key, _on_grid(now))

    def repeat_server(self, tx: ServerTransaction, now: int) -> None:
        """Arm the next Timer G, number ``tx.step``."""
        self._timers_g[min(tx.step, 3)].add(tx.key, _on_grid(now))

    def settle(self, tx: ClientTransaction, now: int) -> None:
        """A final response is there: no longer pending; linger for Timer D, K or M."""
        if self._clients.pop(tx.key, None) is None:
            return
        if tx.state is ClientInviteState.ACCEPTED or (
            tx.state is ClientInviteState.COMPLETED and not tx.flow.reliable
        ):
            self._lingering[tx.key] = tx
            self._timer_d.add(tx.key, _on_grid(now))
        elif not tx.flow.reliable:
            self._absorbing.add(tx.key)
            self._timer_k.add(tx.key, _on_grid(now))

    def drop_client(self, tx: ClientTransaction) -> None:
        """Forget the transaction."""
        self._clients.pop(tx.key, None)
        self._lingering.pop(tx.key, None)

    def send_cancel(self, tx: ClientTransaction, now: int) -> None:
        """Send the CANCEL in a transaction of its own, and end this one 64*T1 later."""
        self._timer_cancel.add(tx.key, _on_grid(now))
        data = cancellation(tx.request)
        self.request(_NOBODY, data, b"CANCEL", tx.destination, tx.flow, tx.branch, now)

    def await_ack(self, tx: ServerTransaction, now: int) -> None:
        """Arm Timer H."""
        self._timer_h.add(tx.key, _on_grid(now))

    def retire(self, tx: ServerTransaction, answer: bytes, now: int) -> None:
        """Keep ``answer`` under the key for Timer I, J or L and let the object go."""
        if self._servers.pop(tx.key, None) is None:
            return
        if answer is ACCEPTED_MARK or not tx.flow.reliable:
            self._finished[tx.key] = answer
            timer = self._timer_i if answer is CONFIRMED_MARK else self._timer_j
            timer.add(tx.key, _on_grid(now))

    def drop_server(self, tx: ServerTransaction) -> None:
        """Forget the transaction."""
        self._servers.pop(tx.key, None)

    def tell_cancelled(self, tx: ServerTransaction, now: int) -> None:
        """Tell the transaction user that the INVITE was cancelled."""
        self.user.cancel_received(tx, now)

    def tell_failed(self, tx: ServerTransaction, now: int) -> None:
        """Tell the transaction user that the transport failed."""
        self.user.transport_failed(tx, now)

    # Timers ---------------------------------------------------------------------------------

    def _client_repeats(self, key: bytes, now: int) -> None:
        tx = self._clients.get(key)
        if tx is not None:
            tx.feed(RepeatDue(now))

    def _client_gives_up(self, key: bytes, now: int) -> None:
        tx = self._clients.get(key)
        if tx is not None:
            tx.feed(GiveUp(now))

    def _cancel_expired(self, key: bytes, now: int) -> None:
        tx = self._clients.get(key)
        if tx is not None:
            tx.feed(CancelExpired(now))

    def _linger_over(self, key: bytes, now: int) -> None:
        tx = self._lingering.get(key)
        if tx is not None:
            tx.feed(LingerOver(now))

    def _absorbed_enough(self, key: bytes, now: int) -> None:
        self._absorbing.discard(key)

    def _first_send_failed(self, key: bytes, now: int) -> None:
        tx = self._clients.get(key)
        if tx is not None:
            tx.feed(TransportFailed(now))

    def _server_repeats(self, key: bytes, now: int) -> None:
        tx = self._servers.get(key)
        if tx is not None:
            tx.feed(RepeatDue(now))

    def _server_gives_up(self, key: bytes, now: int) -> None:
        tx = self._servers.get(key)
        if tx is not None:
            tx.feed(GiveUp(now))

    def _finished_enough(self, key: bytes, now: int) -> None:
        self._finished.pop(key, None)

    def _merged_enough(self, merged: bytes, now: int) -> None:
        key = self._merged.get(merged)
        if key is None:
            return
        if key in self._servers:
            self._timer_merged.add(merged, _on_grid(now))
        else:
            del self._merged[merged]

    def _still_silent(self, key: bytes, now: int) -> None:
        tx = self._servers.get(key)
        if tx is not None:
            tx.feed(StillSilent(now))
            self._timer_minute.add(key, _on_grid(now))

    def _minute_over(self, key: bytes, now: int) -> None:
        tx = self._servers.get(key)
        if tx is not None:
            tx.feed(MinuteOver(now))
            self._timer_minute.add(key, _on_grid(now))
