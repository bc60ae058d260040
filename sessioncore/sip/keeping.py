"""Storage and timers of the transaction layer.

A transaction in progress is an object.  A finished one that only absorbs retransmissions is one
dict entry ``key -> response bytes`` and one (expiry, key) in a first-in first-out queue: a busy
server holds tens of thousands of them, and the garbage collector does not have to visit these.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Final, Protocol, TypeAlias

from sessioncore.deadlines import Deadlines, Fifo
from sessioncore.errors import CallOver, SipParseError
from sessioncore.sip.client import (
    NOBODY,
    ClientInviteState,
    ClientTransaction,
    InviteClientTransaction,
    OtherClientTransaction,
)
from sessioncore.sip.flows import Flow
from sessioncore.sip.message import Request
from sessioncore.sip.requesting import cancellation
from sessioncore.sip.roles import Counters
from sessioncore.sip.server import ACCEPTED_MARK, CONFIRMED_MARK, ServerTransaction
from sessioncore.sip.shards import LAST, Shards
from sessioncore.sip.steps import (
    COARSE_GRID,
    GIVE_UP,
    GRID,
    REPEATS,
    STEP_OF_T2,
    T4,
    CancelExpired,
    GiveUp,
    Input,
    LingerOver,
    MinuteOver,
    RepeatDue,
    StillSilent,
    TransportFailed,
)
from sessioncore.sip.transaction import ClientUser, TransactionUser
from sessioncore.table import Machine
from sessioncore.vocabulary import MILLISECOND, SECOND, Address

__all__ = ["TAG_PREFIX", "Keeping", "Sent"]

COOKIE: Final = b"z9hG4bK"
"""The magic cookie that begins every RFC 3261 branch."""
TAG_PREFIX: Final = b"sl-"
"""The prefix of computed To tags, so that few ACKs need a MAC."""
TRYING_AFTER: Final = 200 * MILLISECOND
LONGEST_KEPT: Final = 2048
"""Bytes.  A response copies the Via fields of its request, which may be as long as a datagram."""
PROVISIONAL_AGAIN: Final = 60 * SECOND
MOST_STALE: Final = 100
"""Entries of Timer H that are looked at per request: most of them may have been acknowledged."""


Sent: TypeAlias = Callable[[bytes, Flow, Address], None]
"""Called with a message that left, its flow and its destination."""


class _Held(Protocol):
    """Transactions by key."""

    def get(self, key: bytes, /) -> Machine | None: ...


class Keeping:
    """Keeps the layer's transactions; implements both keepers of `sessioncore.sip.roles`."""

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
        self._lingering: Shards[ClientTransaction] = Shards()
        self._absorbing: Shards[None] = Shards()
        self._servers: dict[bytes, ServerTransaction] = {}
        self._finished: Shards[bytes] = Shards()
        self.remembered = 0
        """Finished server transactions that still absorb retransmissions."""
        self._merged: Shards[bytes] = Shards()
        self._fifos: list[Fifo[bytes]] = []
        # RFC 3261 table 4; the tables define what each timer means in each state.
        clients, servers = self._clients, self._servers
        self._timer_b = self._timer(GIVE_UP, self._feeding(clients, GiveUp), COARSE_GRID)
        self._timer_d = self._timer(
            GIVE_UP, self._feeding(self._lingering, LingerOver), COARSE_GRID
        )
        self._timer_k = self._timer(T4, self._absorbed_enough, COARSE_GRID)
        self._timer_cancel = self._timer(
            GIVE_UP, self._feeding(clients, CancelExpired), COARSE_GRID
        )
        repeat = self._feeding(clients, RepeatDue)
        self._timers_a = [self._timer(after, repeat) for after in REPEATS]
        repeat = self._feeding(servers, RepeatDue)
        self._timers_g = [self._timer(after, repeat) for after in REPEATS[: STEP_OF_T2 + 1]]
        self._timer_h = self._timer(GIVE_UP, self._feeding(servers, GiveUp), COARSE_GRID)
        self._timer_i = self._timer(T4, self._finished_enough, COARSE_GRID)
        self._timer_j = self._timer(GIVE_UP, self._finished_enough, COARSE_GRID)
        self._timer_trying = self._timer(TRYING_AFTER, self._while_pending(StillSilent))
        self._timer_minute = self._timer(PROVISIONAL_AGAIN, self._while_pending(MinuteOver))

    def _timer(
        self, duration: int, callback: Callable[[bytes, int], None], grid: int = GRID
    ) -> Fifo[bytes]:
        fifo: Fifo[bytes] = self._deadlines.fifo(duration, callback, grid)
        self._fifos.append(fifo)
        return fifo

    @property
    def server_header(self) -> bytes | None:
        """The Server header field of our responses; None omits it."""
        return self.response_headers[0][1] if self.response_headers else None

    @server_header.setter
    def server_header(self, value: bytes | None) -> None:
        self.response_headers = () if value is None else ((b"Server", value),)

    # Transactions in progress

    @property
    def pending_clients(self) -> int:
        """Our requests that have no final response yet."""
        return len(self._clients)

    @property
    def pending_servers(self) -> int:
        """Requests without a final response, and refused INVITEs without an ACK."""
        return len(self._servers)

    def stop(self) -> None:
        """Drop every transaction and timer; nothing is sent or received after that."""
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
        self.remembered = 0
        for fifo in self._fifos:
            self._deadlines.remove(fifo)

    # Our requests

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
        """Send a request whose topmost Via has ``branch``, in a new client transaction.

        If it cannot be sent, ``user`` is notified in a later reactor turn.  Raises `CallOver`
        if the layer has stopped.
        """
        if self.stopped:
            raise CallOver("the SIP layer has stopped")
        kind = InviteClientTransaction if method == b"INVITE" else OtherClientTransaction
        tx = kind(self, user, data, method, destination, flow, branch)
        self._clients[tx.key] = tx
        self._timer_b.add(tx.key, now)
        if not flow.reliable:
            self.repeat_client(tx, now)
        if not self.transmit(data, flow, destination):
            self._deadlines.at(now, self._feeding(self._clients, TransportFailed), tx.key)
        return tx

    # Services for transactions

    def transmit(self, data: bytes, flow: Flow, address: Address) -> bool:
        """Send; False if the transport reports that it cannot."""
        if self.stopped:
            self.counters.dropped += 1
            return True
        try:
            flow.send(data, address)
        except OSError:
            self.counters.send_failures += 1
            return False
        return True

    def tell_sent(self, told: Sent | None) -> None:
        """Call ``told`` with every message that a flow accepts from now on; None ends that."""
        # In front of the method, so that nothing is asked per message while nobody is told.
        vars(self).pop("transmit", None)
        if told is not None:
            self.transmit = partial(self._transmit_and_tell, told)  # type: ignore[method-assign]

    def _transmit_and_tell(self, told: Sent, data: bytes, flow: Flow, address: Address) -> bool:
        accepted = Keeping.transmit(self, data, flow, address)
        if accepted and not self.stopped:
            told(data, flow, address)
        return accepted

    def computed_tag(self, request: Request) -> bytes:
        """The computed To tag, the same for every copy of ``request`` and for its ACK."""
        mac = self._mac.copy()
        try:
            parts = [request.call_id, request.from_tag or b"", request.via.branch or b""]
        except SipParseError:
            parts = [request.first(name) or b"" for name in (b"Call-ID", b"From", b"Via")]
        mac.update(b"\0".join(parts))
        return TAG_PREFIX + mac.hexdigest().encode("ascii")

    def count_repeat(self) -> None:
        """Count one retransmission that was sent."""
        self.counters.retransmitted += 1

    def count_unacknowledged(self) -> None:
        """Count one final response whose ACK never came."""
        self.counters.unacknowledged += 1

    def repeat_client(self, tx: ClientTransaction, now: int) -> None:
        """Arm the next Timer A or E, number ``tx.step``; Timer E stays at T2."""
        self._timers_a[min(tx.step, tx.last_step)].add(tx.key, now)

    def repeat_server(self, tx: ServerTransaction, now: int) -> None:
        """Arm the next Timer G, number ``tx.step``."""
        self._timers_g[min(tx.step, STEP_OF_T2)].add(tx.key, now)

    def settle(self, tx: ClientTransaction, now: int) -> None:
        """A final response came: the request is not pending any more; arm Timer D, K or M."""
        self._clients.pop(tx.key, None)
        if tx.state is ClientInviteState.ACCEPTED or (
            tx.state is ClientInviteState.COMPLETED and not tx.flow.reliable
        ):
            self._lingering[tx.key] = tx
            self._timer_d.add(tx.key, now)
        elif not tx.flow.reliable:
            self._absorbing[tx.key] = None
            self._timer_k.add(tx.key, now)

    def drop_client(self, tx: ClientTransaction) -> None:
        """Forget the transaction."""
        self._clients.pop(tx.key, None)
        self._lingering.pop(tx.key)

    def send_cancel(self, tx: ClientTransaction, now: int) -> None:
        """Send the CANCEL in a transaction of its own, and end this one 64*T1 later."""
        if self.stopped:
            return
        self._timer_cancel.add(tx.key, now)
        data = cancellation(tx.request, tx.cancel_headers)
        # The INVITE's own final response is what counts, and it ends 64*T1 after the CANCEL.
        self.request(NOBODY, data, b"CANCEL", tx.destination, tx.flow, tx.branch, now)

    def await_ack(self, tx: ServerTransaction, now: int) -> None:
        """Arm Timer H.  An INVITE that was refused is over: the same call may come again."""
        self._timer_h.add(tx.key, now)
        if tx.merge_key is not None:
            del self._merged[tx.merge_key]
            tx.merge_key = None

    def make_room(self, in_dialog: bool, now: int) -> bool:
        """Whether there is room for another request; within a dialog there is more.

        The oldest transactions that only wait, for an ACK or for an answer of the user, give way:
        whoever fills the room shortens everybody's wait, but nobody is refused.  INVITEs that
        ring keep their places, which the user shares out.
        """
        most = 2 * self.max_pending if in_dialog else self.max_pending
        for _ in range(MOST_STALE):
            if len(self._servers) < most or not self._timer_h.hasten(now):
                break
        return len(self._servers) < most

    def await_answer(self, tx: ServerTransaction, now: int) -> None:
        """The reactor turn of its request is over and the transaction is still open."""
        # If nobody answers a non-INVITE request in time, its client gives up, and so do we.
        invite = tx.request.method == b"INVITE"
        (self._timer_trying if invite else self._timer_h).add(tx.key, now)

    def retire(self, tx: ServerTransaction, answer: bytes, now: int) -> None:
        """Keep ``answer`` under the key for Timer I, J or L, and drop the object.

        A long answer (to a long request) is not kept; a copy of the request is then a new one.
        """
        key = tx.key
        if key in self._servers:
            if answer is ACCEPTED_MARK or (len(answer) <= LONGEST_KEPT and not tx.flow.reliable):
                del self._servers[key]
                timer = self._timer_i if answer is CONFIRMED_MARK else self._timer_j
                # The merge key is forgotten together with the key.
                timer.add(tx.merge_key or key, now)
                self._finished.parts[hash(key) & LAST][key] = answer
                self.remembered += 1
                if self.remembered > self.max_finished:
                    self.forget_oldest(now)
            else:
                self.drop_server(tx)

    def forget_oldest(self, now: int) -> None:
        """Forget a finished transaction early, so that nobody is refused for what others fill."""
        self.counters.forgotten_early += 1
        if not self._timer_j.hasten(now):
            self._timer_i.hasten(now)

    def drop_server(self, tx: ServerTransaction) -> None:
        """Forget the transaction."""
        if self._servers.pop(tx.key, None) is not None and tx.merge_key is not None:
            del self._merged[tx.merge_key]

    def tell_cancelled(self, tx: ServerTransaction, now: int) -> None:
        """Notify the transaction user that the INVITE was cancelled."""
        self.user.cancel_received(tx, now)

    def tell_failed(self, tx: ServerTransaction, now: int) -> None:
        """Notify the transaction user that the transport failed."""
        self.user.transport_failed(tx, now)

    # Timers

    def _feeding(self, held: _Held, kind: Callable[[int], Input]) -> Callable[[bytes, int], None]:
        """A timer callback that feeds the transaction, if it still exists."""

        def fire(key: bytes, now: int) -> None:
            tx = held.get(key)
            if tx is not None:
                tx.feed(kind(now))

        return fire

    def _absorbed_enough(self, key: bytes, now: int) -> None:
        self._absorbing.pop(key)

    def _finished_enough(self, key: bytes, now: int) -> None:
        """``key`` is that of a transaction, or a merge key."""
        self.remembered -= 1
        key = self._merged.parts[hash(key) & LAST].pop(key, key)
        self._finished.parts[hash(key) & LAST].pop(key, None)

    def _while_pending(self, kind: Callable[[int], Input]) -> Callable[[bytes, int], None]:
        """As `_feeding`; a minute later the provisional response is due again."""
        feed = self._feeding(self._servers, kind)

        def fire(key: bytes, now: int) -> None:
            feed(key, now)
            if key in self._servers:
                self._timer_minute.add(key, now)

        return fire
