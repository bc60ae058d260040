"""The four transaction machines of RFC 3261 section 17, repaired as RFC 6026 asks.

A transaction knows its request, its flow and where to send; everything it wants done is asked
of its `Keeper` (the transaction layer in ``matching``): send, remember, arm, tell the user.

A server transaction that has nothing more to decide *retires*: Accepted, Confirmed and the
non-INVITE Completed live on as one entry ``key -> bytes`` in the layer, and the object is let
go.  That is why these states are final in the tables below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, ClassVar, Final, Protocol, TypeAlias

from attrs import define

from sessioncore.sip.message import Request, Response, build_request, build_response, parse_message
from sessioncore.table import Machine, Table, ignore, impossible, on
from sessioncore.vocabulary import MILLISECOND, SECOND, Address

__all__ = [
    "ACCEPTED_MARK",
    "CLIENT_INVITE",
    "CLIENT_OTHER",
    "CONFIRMED_MARK",
    "GIVE_UP",
    "SERVER_INVITE",
    "SERVER_OTHER",
    "T1",
    "T2",
    "T4",
    "ClientTransaction",
    "ClientUser",
    "Flow",
    "InviteClientTransaction",
    "InviteServerTransaction",
    "Keeper",
    "OtherClientTransaction",
    "OtherServerTransaction",
    "ServerTransaction",
    "repeat_interval",
]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
Effects: TypeAlias = "Iterable[Effect]"

T1: Final = 500 * MILLISECOND
T2: Final = 4 * SECOND
T4: Final = 5 * SECOND
GIVE_UP: Final = 64 * T1
"""Timers B, D, F, H, J, L and M over UDP (RFC 3261 table 4, RFC 6026 section 8)."""

ACCEPTED_MARK: Final = b""
"""What a server INVITE transaction in Accepted leaves behind: absorbs INVITE, passes ACK on."""
CONFIRMED_MARK: Final = b"ACK"
"""What one in Confirmed leaves behind: absorbs INVITE and ACK."""


def repeat_interval(step: int, *, capped: bool) -> int:
    """Nanoseconds to wait before repeat number ``step`` (from 0): T1 doubling, to T2 if capped."""
    interval = T1 << step
    return min(interval, T2) if capped else interval


class Flow(Protocol):
    """Where bytes leave: one bound SIP socket."""

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats by itself; False for UDP."""

    @property
    def transport(self) -> bytes:
        """The transport as a Via names it, e.g. ``b"UDP"``."""

    @property
    def local(self) -> Address:
        """The address the socket is bound to."""

    def send(self, data: bytes, address: Address) -> None:
        """Send one message; never blocks; raises OSError at once where it cannot."""

    def sent_by(self, peer: str) -> bytes:
        """Host and port for Via and Contact as ``peer`` (an IP address) can reach them."""


class ClientUser(Protocol):
    """Whoever sent a request and waits for its responses."""

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        """Every 1xx and the first final; for INVITE every 2xx, repeats and forks included."""

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        """No final response came in 64*T1 (after the request, or after its CANCEL)."""

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        """The request could not be sent, or the network said that nobody is there."""


class Keeper(Protocol):
    """What a transaction asks of the transaction layer."""

    def transmit(self, data: bytes, flow: Flow, address: Address) -> bool:
        """Send; False where the transport says that it will not work."""

    def repeat_client(self, tx: ClientTransaction, now: int) -> None:
        """Arm the next Timer A or E, number ``tx.step``."""

    def repeat_server(self, tx: ServerTransaction, now: int) -> None:
        """Arm the next Timer G, number ``tx.step``."""

    def settle(self, tx: ClientTransaction, now: int) -> None:
        """A final response is there: no longer pending; linger for Timer D, K or M."""

    def drop_client(self, tx: ClientTransaction) -> None:
        """Forget the transaction."""

    def send_cancel(self, tx: ClientTransaction, now: int) -> None:
        """Send the CANCEL in a transaction of its own, and end this one 64*T1 later."""

    def await_ack(self, tx: ServerTransaction, now: int) -> None:
        """Arm Timer H."""

    def retire(self, tx: ServerTransaction, answer: bytes, now: int) -> None:
        """Keep ``answer`` under the key for Timer I, J or L and let the object go."""

    def drop_server(self, tx: ServerTransaction) -> None:
        """Forget the transaction."""

    def tell_cancelled(self, tx: ServerTransaction, now: int) -> None:
        """Tell the transaction user that the INVITE was cancelled."""

    def tell_failed(self, tx: ServerTransaction, now: int) -> None:
        """Tell the transaction user that the transport failed."""

    def count_repeat(self) -> None:
        """Count one retransmission that left."""

    def count_unacknowledged(self) -> None:
        """Count one final response whose ACK never came."""

    def response_headers(self, headers: Headers) -> Sequence[tuple[bytes, bytes]]:
        """``headers`` and what we put into every response."""

    def computed_tag(self, request: Request) -> bytes:
        """The To tag that is the same for every copy of ``request`` without any state."""


# Inputs ------------------------------------------------------------------------------------


@define(eq=False)
class Input:
    """What every input carries: the time it came, in ns."""

    now: int


@define(eq=False)
class Provisional(Input):
    """A 1xx was received."""

    response: Response


@define(eq=False)
class Success(Input):
    """A 2xx was received."""

    response: Response


@define(eq=False)
class Failure(Input):
    """A 3xx to 6xx was received."""

    response: Response


@define(eq=False)
class Cancel(Input):
    """The user gives the INVITE up."""


@define(eq=False)
class RepeatDue(Input):
    """Timer A, E or G fired."""


@define(eq=False)
class GiveUp(Input):
    """Timer B, F or H fired, or nobody answered a non-INVITE request while its client waits."""


@define(eq=False)
class CancelExpired(Input):
    """No final response within 64*T1 after the CANCEL (RFC 3261 section 9.1)."""


@define(eq=False)
class LingerOver(Input):
    """Timer D or M fired."""


@define(eq=False)
class TransportFailed(Input):
    """The transport could not send."""


@define(eq=False)
class Retransmission(Input):
    """The request came again."""


@define(eq=False)
class Acked(Input):
    """An ACK of this INVITE transaction came."""


@define(eq=False)
class Cancelled(Input):
    """A CANCEL of this INVITE transaction came."""


@define(eq=False)
class AnswerProvisional(Input):
    """The user sends a 1xx."""

    data: bytes


@define(eq=False)
class AnswerSuccess(Input):
    """The user sends a 2xx."""

    data: bytes


@define(eq=False)
class AnswerFailure(Input):
    """The user sends a 3xx to 6xx that is repeated until it is acknowledged."""

    data: bytes


@define(eq=False)
class Refuse(Input):
    """The user sends a 3xx to 6xx in the turn of the request: once, leaving no state."""

    data: bytes


@define(eq=False)
class StillSilent(Input):
    """200 ms passed since the INVITE (RFC 3261 section 17.2.1)."""


@define(eq=False)
class MinuteOver(Input):
    """A minute passed since the last provisional (RFC 3261 section 13.3.1.1)."""


# Effects -----------------------------------------------------------------------------------


class Effect:
    """Something to do after a step; `perform` is given the transaction."""

    __slots__ = ()

    def perform(self, tx: Any) -> None:
        """Do it."""
        raise NotImplementedError


@define(eq=False)
class Send(Effect):
    """Send ``data`` to where this transaction sends."""

    data: bytes
    now: int

    def perform(self, tx: ClientTransaction | ServerTransaction) -> None:
        """A transport that refuses becomes an input of its own."""
        if not tx.keeper.transmit(self.data, tx.flow, tx.destination):
            tx.feed(TransportFailed(self.now))


@define(eq=False)
class Resend(Effect):
    """Send what was sent before once more, and count it."""

    data: bytes
    now: int

    def perform(self, tx: ClientTransaction | ServerTransaction) -> None:
        """A transport that refuses becomes an input of its own."""
        tx.keeper.count_repeat()
        if not tx.keeper.transmit(self.data, tx.flow, tx.destination):
            tx.feed(TransportFailed(self.now))


@define(eq=False)
class Deliver(Effect):
    """Hand a response to the user."""

    response: Response
    now: int

    def perform(self, tx: ClientTransaction) -> None:
        """Call the user."""
        tx.user.response_received(tx, self.response, self.now)


@define(eq=False)
class Do(Effect):
    """Ask the keeper for one thing about this transaction at a time."""

    what: Callable[[Any, Any, int], None]
    now: int

    def perform(self, tx: ClientTransaction | ServerTransaction) -> None:
        """Ask."""
        self.what(tx.keeper, tx, self.now)


@define(eq=False)
class Retire(Effect):
    """Leave only ``answer`` behind."""

    answer: bytes
    now: int

    def perform(self, tx: ServerTransaction) -> None:
        """Let the layer keep the bytes."""
        tx.keeper.retire(tx, self.answer, self.now)


def _repeat_client(keeper: Keeper, tx: ClientTransaction, now: int) -> None:
    keeper.repeat_client(tx, now)


def _repeat_server(keeper: Keeper, tx: ServerTransaction, now: int) -> None:
    keeper.repeat_server(tx, now)


def _settle(keeper: Keeper, tx: ClientTransaction, now: int) -> None:
    keeper.settle(tx, now)


def _send_cancel(keeper: Keeper, tx: ClientTransaction, now: int) -> None:
    keeper.send_cancel(tx, now)


def _await_ack(keeper: Keeper, tx: ServerTransaction, now: int) -> None:
    keeper.await_ack(tx, now)


def _drop_client(keeper: Keeper, tx: ClientTransaction, now: int) -> None:
    keeper.drop_client(tx)


def _drop_server(keeper: Keeper, tx: ServerTransaction, now: int) -> None:
    keeper.drop_server(tx)


def _count_unacknowledged(keeper: Keeper, tx: ServerTransaction, now: int) -> None:
    keeper.count_unacknowledged()


def _tell_cancelled(keeper: Keeper, tx: ServerTransaction, now: int) -> None:
    keeper.tell_cancelled(tx, now)


def _tell_failed(keeper: Keeper, tx: ServerTransaction, now: int) -> None:
    keeper.tell_failed(tx, now)


def _tell_timed_out(keeper: Keeper, tx: ClientTransaction, now: int) -> None:
    tx.user.timed_out(tx, now)


def _tell_client_failed(keeper: Keeper, tx: ClientTransaction, now: int) -> None:
    tx.user.transport_failed(tx, now)


# Client actions ----------------------------------------------------------------------------


def _deliver(tx: ClientTransaction, given: Provisional | Success) -> Effects:
    return (Deliver(given.response, given.now),)


def _deliver_and_cancel(tx: ClientTransaction, given: Provisional) -> Effects:
    return (Do(_send_cancel, given.now), Deliver(given.response, given.now))


def _cancel(tx: ClientTransaction, given: Cancel) -> Effects:
    return (Do(_send_cancel, given.now),)


def _accepted(tx: ClientTransaction, given: Success) -> Effects:
    return (Do(_settle, given.now), Deliver(given.response, given.now))


def _failed(tx: InviteClientTransaction, given: Failure) -> Effects:
    tx.ack = acknowledgement(tx.request, given.response)
    return (
        Send(tx.ack, given.now),
        Do(_settle, given.now),
        Deliver(given.response, given.now),
    )


def _acknowledge_again(tx: InviteClientTransaction, given: Failure) -> Effects:
    return (Resend(tx.ack, given.now),)


def _completed(tx: ClientTransaction, given: Success | Failure) -> Effects:
    return (Do(_settle, given.now), Deliver(given.response, given.now))


def _repeat_request(tx: ClientTransaction, given: RepeatDue) -> Effects:
    tx.step += 1
    return (Resend(tx.data, given.now), Do(_repeat_client, given.now))


def _repeat_slowly(tx: ClientTransaction, given: RepeatDue) -> Effects:
    # RFC 3261 section 17.1.2.2: in Proceeding Timer E is always T2.
    tx.step = tx.last_step
    return (Resend(tx.data, given.now), Do(_repeat_client, given.now))


def _time_out(tx: ClientTransaction, given: Input) -> Effects:
    return (Do(_drop_client, given.now), Do(_tell_timed_out, given.now))


def _fail_client(tx: ClientTransaction, given: Input) -> Effects:
    return (Do(_drop_client, given.now), Do(_tell_client_failed, given.now))


def _end_client(tx: ClientTransaction, given: Input) -> Effects:
    return (Do(_drop_client, given.now),)


# Server actions ----------------------------------------------------------------------------


def _provide(tx: ServerTransaction, given: AnswerProvisional) -> Effects:
    tx.last = given.data
    return (Send(given.data, given.now),)


def _accept(tx: ServerTransaction, given: AnswerSuccess) -> Effects:
    tx.last = given.data
    return (Retire(ACCEPTED_MARK, given.now), Send(given.data, given.now))


def _answer(tx: ServerTransaction, given: AnswerSuccess | AnswerFailure) -> Effects:
    tx.last = given.data
    return (Retire(given.data, given.now), Send(given.data, given.now))


def _reject(tx: ServerTransaction, given: AnswerFailure) -> Effects:
    tx.last = given.data
    effects: list[Effect] = [Do(_await_ack, given.now)]
    if not tx.flow.reliable:
        effects.append(Do(_repeat_server, given.now))
    effects.append(Send(given.data, given.now))
    return effects


def _refuse(tx: ServerTransaction, given: Refuse) -> Effects:
    tx.last = given.data
    return (Do(_drop_server, given.now), Send(given.data, given.now))


def _resend(tx: ServerTransaction, given: Input) -> Effects:
    return () if tx.last is None else (Resend(tx.last, given.now),)


def _repeat_response(tx: ServerTransaction, given: RepeatDue) -> Effects:
    tx.step += 1
    assert tx.last is not None
    return (Resend(tx.last, given.now), Do(_repeat_server, given.now))


def _confirm(tx: ServerTransaction, given: Acked) -> Effects:
    return (Retire(CONFIRMED_MARK, given.now),)


def _try(tx: ServerTransaction, given: StillSilent) -> Effects:
    if tx.last is not None:
        return ()
    tx.last = build_response(tx.request, 100, via=tx.via)
    return (Send(tx.last, given.now),)


def _tell_cancel(tx: ServerTransaction, given: Cancelled) -> Effects:
    if tx.cancelled:
        return ()
    tx.cancelled = True
    return (Do(_tell_cancelled, given.now),)


def _never_acknowledged(tx: ServerTransaction, given: GiveUp) -> Effects:
    return (Do(_drop_server, given.now), Do(_count_unacknowledged, given.now))


def _end_server(tx: ServerTransaction, given: Input) -> Effects:
    return (Do(_drop_server, given.now),)


def _fail_server(tx: ServerTransaction, given: Input) -> Effects:
    return (Do(_drop_server, given.now), Do(_tell_failed, given.now))


def _tell_only(tx: ServerTransaction, given: Input) -> Effects:
    return (Do(_tell_failed, given.now),)


# Tables ------------------------------------------------------------------------------------


class ClientInviteState(Enum):
    """RFC 3261 figure 5 and RFC 6026 section 8.4; Held and Cancelling say where a CANCEL is."""

    CALLING = "Calling"
    HELD = "Held"
    PROCEEDING = "Proceeding"
    CANCELLING = "Cancelling"
    COMPLETED = "Completed"
    ACCEPTED = "Accepted"
    TERMINATED = "Terminated"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


_CI = ClientInviteState
_SILENT = (_CI.CALLING, _CI.HELD)
_RINGING = (_CI.PROCEEDING, _CI.CANCELLING)
_OVER = (_CI.COMPLETED, _CI.ACCEPTED, _CI.TERMINATED)

CLIENT_INVITE: Final = Table(
    "client INVITE transaction",
    states=ClientInviteState,
    inputs=(
        Provisional,
        Success,
        Failure,
        Cancel,
        RepeatDue,
        GiveUp,
        CancelExpired,
        LingerOver,
        TransportFailed,
    ),
    initial=_CI.CALLING,
    final=(_CI.TERMINATED,),
    rows=(
        on(_CI.CALLING, Provisional, _CI.PROCEEDING, _deliver, "any 1xx stops timers A and B"),
        on(_CI.HELD, Provisional, _CI.CANCELLING, _deliver_and_cancel, "the CANCEL may leave now"),
        on(_RINGING, Provisional, None, _deliver),
        ignore(_OVER, Provisional, because="a late provisional changes nothing"),
        on((*_SILENT, *_RINGING), Success, _CI.ACCEPTED, _accepted, "RFC 6026: Timer M"),
        on(_CI.ACCEPTED, Success, None, _deliver, "a repeat or another fork; the user sends ACK"),
        ignore((_CI.COMPLETED, _CI.TERMINATED), Success, because="the call has failed already"),
        on((*_SILENT, *_RINGING), Failure, _CI.COMPLETED, _failed, "ACK; Timer D"),
        on(_CI.COMPLETED, Failure, None, _acknowledge_again, "the ACK was lost"),
        ignore((_CI.ACCEPTED, _CI.TERMINATED), Failure, because="answered by another fork"),
        on(_CI.CALLING, Cancel, _CI.HELD, None, "RFC 3261 section 9.1: only after a 1xx"),
        on(_CI.PROCEEDING, Cancel, _CI.CANCELLING, _cancel),
        ignore((_CI.HELD, _CI.CANCELLING), Cancel, because="one CANCEL is enough"),
        ignore(_OVER, Cancel, because="too late: the final response was here first"),
        on(_SILENT, RepeatDue, None, _repeat_request, "Timer A"),
        ignore((*_RINGING, *_OVER), RepeatDue, because="a response stopped Timer A"),
        on(_SILENT, GiveUp, _CI.TERMINATED, _time_out, "Timer B"),
        ignore((*_RINGING, *_OVER), GiveUp, because="a response stopped Timer B"),
        on(_CI.CANCELLING, CancelExpired, _CI.TERMINATED, _time_out),
        ignore(_OVER, CancelExpired, because="the final response came in time"),
        impossible(
            (*_SILENT, _CI.PROCEEDING), CancelExpired, because="armed when the CANCEL leaves"
        ),
        on((_CI.COMPLETED, _CI.ACCEPTED), LingerOver, _CI.TERMINATED, _end_client, "Timers D, M"),
        ignore(_CI.TERMINATED, LingerOver, because="already forgotten"),
        impossible((*_SILENT, *_RINGING), LingerOver, because="armed by the final response"),
        on((*_SILENT, *_RINGING), TransportFailed, _CI.TERMINATED, _fail_client),
        ignore(_CI.COMPLETED, TransportFailed, because="the response comes again, so does our ACK"),
        ignore((_CI.ACCEPTED, _CI.TERMINATED), TransportFailed, because="nothing is sent here"),
    ),
)


class ClientOtherState(Enum):
    """RFC 3261 figure 6; Completed lives on in the layer for Timer K."""

    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"
    TERMINATED = "Terminated"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


_CO = ClientOtherState
_CO_OPEN = (_CO.TRYING, _CO.PROCEEDING)
_CO_OVER = (_CO.COMPLETED, _CO.TERMINATED)

CLIENT_OTHER: Final = Table(
    "client non-INVITE transaction",
    states=ClientOtherState,
    inputs=(Provisional, Success, Failure, RepeatDue, GiveUp, TransportFailed),
    initial=_CO.TRYING,
    final=_CO_OVER,
    rows=(
        on(_CO_OPEN, Provisional, _CO.PROCEEDING, _deliver),
        on(_CO_OPEN, Success, _CO.COMPLETED, _completed),
        on(_CO_OPEN, Failure, _CO.COMPLETED, _completed),
        ignore(_CO_OVER, Provisional, Success, Failure, because="absorbed"),
        on(_CO.TRYING, RepeatDue, None, _repeat_request, "Timer E"),
        on(_CO.PROCEEDING, RepeatDue, None, _repeat_slowly, "Timer E stays at T2"),
        ignore(_CO_OVER, RepeatDue, because="the final response stopped Timer E"),
        on(_CO_OPEN, GiveUp, _CO.TERMINATED, _time_out, "Timer F"),
        ignore(_CO_OVER, GiveUp, because="the final response stopped Timer F"),
        on(_CO_OPEN, TransportFailed, _CO.TERMINATED, _fail_client),
        ignore(_CO_OVER, TransportFailed, because="nothing more is sent"),
    ),
)


class ServerInviteState(Enum):
    """RFC 3261 figure 7 and RFC 6026 section 8.4; Confirmed and Accepted retire."""

    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    ACCEPTED = "Accepted"
    TERMINATED = "Terminated"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


_SI = ServerInviteState
_SI_RETIRED = (_SI.CONFIRMED, _SI.ACCEPTED)
_SI_ANSWERED = (_SI.COMPLETED, *_SI_RETIRED)
_SI_DONE = (*_SI_RETIRED, _SI.TERMINATED)

SERVER_INVITE: Final = Table(
    "server INVITE transaction",
    states=ServerInviteState,
    inputs=(
        Retransmission,
        Acked,
        Cancelled,
        AnswerProvisional,
        AnswerSuccess,
        AnswerFailure,
        Refuse,
        StillSilent,
        MinuteOver,
        RepeatDue,
        GiveUp,
        TransportFailed,
    ),
    initial=_SI.PROCEEDING,
    final=_SI_DONE,
    rows=(
        on((_SI.PROCEEDING, _SI.COMPLETED), Retransmission, None, _resend),
        ignore(_SI_DONE, Retransmission, because="absorbed; the user repeats its 2xx"),
        ignore(_SI.PROCEEDING, Acked, because="there is nothing to acknowledge yet"),
        on(_SI.COMPLETED, Acked, _SI.CONFIRMED, _confirm, "Timer I"),
        ignore(_SI_DONE, Acked, because="the layer absorbs it or passes it on"),
        on(_SI.PROCEEDING, Cancelled, None, _tell_cancel),
        ignore((*_SI_ANSWERED, _SI.TERMINATED), Cancelled, because="RFC 3261 9.2: no effect"),
        on(_SI.PROCEEDING, AnswerProvisional, None, _provide),
        on(_SI.PROCEEDING, AnswerSuccess, _SI.ACCEPTED, _accept, "RFC 6026: Timer L"),
        on(_SI.PROCEEDING, AnswerFailure, _SI.COMPLETED, _reject, "Timers G, H"),
        on(_SI.PROCEEDING, Refuse, _SI.TERMINATED, _refuse, "RFC 3261 section 8.2.7"),
        impossible(
            _SI_ANSWERED,
            AnswerProvisional,
            AnswerSuccess,
            AnswerFailure,
            Refuse,
            because="a final response is the last",
        ),
        ignore(
            _SI.TERMINATED,
            AnswerProvisional,
            AnswerSuccess,
            AnswerFailure,
            Refuse,
            because="the transport failed or the layer stopped; an answer goes nowhere",
        ),
        on(_SI.PROCEEDING, StillSilent, None, _try, "100 Trying"),
        ignore((_SI.COMPLETED, *_SI_DONE), StillSilent, because="answered in time"),
        on(_SI.PROCEEDING, MinuteOver, None, _resend, "so that no proxy gives up"),
        ignore((_SI.COMPLETED, *_SI_DONE), MinuteOver, because="no longer pending"),
        on(_SI.COMPLETED, RepeatDue, None, _repeat_response, "Timer G"),
        ignore((_SI.PROCEEDING, *_SI_DONE), RepeatDue, because="not waiting for an ACK"),
        on(_SI.COMPLETED, GiveUp, _SI.TERMINATED, _never_acknowledged, "Timer H"),
        ignore((_SI.PROCEEDING, *_SI_DONE), GiveUp, because="not waiting for an ACK"),
        on(_SI.PROCEEDING, TransportFailed, _SI.TERMINATED, _fail_server),
        ignore(_SI.COMPLETED, TransportFailed, because="Timer G tries again until Timer H"),
        on(_SI.ACCEPTED, TransportFailed, None, _tell_only, "RFC 6026 section 8.7"),
        ignore(
            (_SI.CONFIRMED, _SI.TERMINATED), TransportFailed, because="nothing more is expected"
        ),
    ),
)


class ServerOtherState(Enum):
    """RFC 3261 figure 8; Completed retires for Timer J."""

    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"
    TERMINATED = "Terminated"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


_SO = ServerOtherState
_SO_OPEN = (_SO.TRYING, _SO.PROCEEDING)
_SO_OVER = (_SO.COMPLETED, _SO.TERMINATED)

SERVER_OTHER: Final = Table(
    "server non-INVITE transaction",
    states=ServerOtherState,
    inputs=(
        Retransmission,
        AnswerProvisional,
        AnswerSuccess,
        AnswerFailure,
        Refuse,
        GiveUp,
        TransportFailed,
    ),
    initial=_SO.TRYING,
    final=_SO_OVER,
    rows=(
        ignore(_SO.TRYING, Retransmission, because="there is nothing to send again yet"),
        on(_SO.PROCEEDING, Retransmission, None, _resend),
        ignore(_SO_OVER, Retransmission, because="the layer sends the kept response"),
        on(_SO_OPEN, AnswerProvisional, _SO.PROCEEDING, _provide),
        on(_SO_OPEN, AnswerSuccess, _SO.COMPLETED, _answer),
        on(_SO_OPEN, AnswerFailure, _SO.COMPLETED, _answer),
        on(_SO_OPEN, Refuse, _SO.TERMINATED, _refuse, "RFC 3261 section 8.2.7"),
        impossible(
            _SO.COMPLETED,
            AnswerProvisional,
            AnswerSuccess,
            AnswerFailure,
            Refuse,
            because="a final response is the last",
        ),
        ignore(
            _SO.TERMINATED,
            AnswerProvisional,
            AnswerSuccess,
            AnswerFailure,
            Refuse,
            because="RFC 4320 section 4.2: a late response helps nobody",
        ),
        on(_SO_OPEN, GiveUp, _SO.TERMINATED, _end_server, "the client's Timer F has fired"),
        ignore(_SO_OVER, GiveUp, because="answered in time"),
        on(_SO_OPEN, TransportFailed, _SO.TERMINATED, _fail_server),
        ignore(_SO_OVER, TransportFailed, because="the client asks again"),
    ),
)


# Transactions ------------------------------------------------------------------------------


class ClientTransaction(Machine):
    """One request of ours on its way to a final response.

    ``data`` is the request as sent, ``key`` its branch and method, ``step`` the number of
    repeats so far.
    """

    __slots__ = (
        "_request",
        "branch",
        "data",
        "destination",
        "flow",
        "keeper",
        "key",
        "method",
        "step",
        "user",
    )
    last_step: ClassVar[int] = 3
    """From this repeat on the interval stays the same: T2, or 64*T1 ends it before."""

    def __init__(
        self,
        keeper: Keeper,
        user: ClientUser,
        data: bytes,
        method: bytes,
        destination: Address,
        flow: Flow,
        branch: bytes,
    ) -> None:
        super().__init__()
        self.keeper = keeper
        self.user = user
        self.data = data
        self.method = method
        self.destination = destination
        self.flow = flow
        self.branch = branch
        self.key = branch + b" " + method
        self.step = 0
        self._request: Request | None = None

    @property
    def request(self) -> Request:
        """The request as sent, parsed when first asked for."""
        if self._request is None:
            parsed = parse_message(self.data)
            assert isinstance(parsed, Request)
            self._request = parsed
        return self._request

    def perform(self, effect: Effect) -> None:
        """Carry out one effect."""
        effect.perform(self)


class InviteClientTransaction(ClientTransaction):
    """RFC 3261 section 17.1.1; ``ack`` is the ACK of a 3xx to 6xx once there is one."""

    __slots__ = ("ack",)
    table = CLIENT_INVITE
    last_step = 5

    def __init__(
        self,
        keeper: Keeper,
        user: ClientUser,
        data: bytes,
        method: bytes,
        destination: Address,
        flow: Flow,
        branch: bytes,
    ) -> None:
        super().__init__(keeper, user, data, method, destination, flow, branch)
        self.ack = b""


class OtherClientTransaction(ClientTransaction):
    """RFC 3261 section 17.1.2."""

    __slots__ = ()
    table = CLIENT_OTHER


class ServerTransaction(Machine):
    """One request of a peer's and what we answered.

    ``arrived`` is when (ns) and ``source`` where it came from, ``last`` what was sent last,
    ``cancelled`` whether a CANCEL came.
    """

    __slots__ = (
        "arrived",
        "cancelled",
        "destination",
        "flow",
        "fresh",
        "keeper",
        "key",
        "last",
        "request",
        "source",
        "step",
        "to_tag",
        "via",
    )

    def __init__(
        self,
        keeper: Keeper,
        request: Request,
        key: bytes,
        source: Address,
        destination: Address,
        flow: Flow,
        via: bytes,
        now: int,
    ) -> None:
        super().__init__()
        self.keeper = keeper
        self.request = request
        self.key = key
        self.source = source
        self.destination = destination
        self.flow = flow
        self.via = via
        self.arrived = now
        self.step = 0
        self.last: bytes | None = None
        self.to_tag: bytes | None = None
        self.cancelled = False
        self.fresh = True

    def respond(
        self,
        status: int,
        reason: bytes | None = None,
        *,
        to_tag: bytes | None = None,
        headers: Headers = (),
        body: bytes = b"",
        now: int,
        record_route: bool = False,
        stateful: bool = False,
    ) -> bytes:
        """Send a response and return its bytes.

        Without ``to_tag`` the tag of an earlier response is used, or one computed from the
        request.  A final 3xx to 6xx that is the first thing said, in the turn the request came
        in, is sent once and leaves no state (RFC 3261 section 8.2.7), unless ``stateful``.
        Raises `UnexpectedInput` after a final response.
        """
        if status > 100:
            if self.request.to_tag is None:
                self.to_tag = to_tag = (
                    to_tag or self.to_tag or self.keeper.computed_tag(self.request)
                )
            headers = self.keeper.response_headers(headers)
        data = build_response(
            self.request,
            status,
            reason,
            to_tag=to_tag,
            headers=headers,
            body=body,
            via=self.via,
            record_route=record_route,
        )
        if status < 200:
            self.feed(AnswerProvisional(now, data))
        elif status < 300:
            self.feed(AnswerSuccess(now, data))
        elif self.fresh and self.last is None and not stateful:
            data = fitted(self.request, data, status, reason, to_tag, headers, self.via)
            self.feed(Refuse(now, data))
        else:
            self.feed(AnswerFailure(now, data))
        return data

    def resend(self, now: int) -> None:
        """Send the last response again; how a session repeats its 2xx until the ACK."""
        if self.last is not None:
            Resend(self.last, now).perform(self)

    def perform(self, effect: Effect) -> None:
        """Carry out one effect."""
        effect.perform(self)


class InviteServerTransaction(ServerTransaction):
    """RFC 3261 section 17.2.1."""

    __slots__ = ()
    table = SERVER_INVITE


class OtherServerTransaction(ServerTransaction):
    """RFC 3261 section 17.2.2."""

    __slots__ = ()
    table = SERVER_OTHER


# Messages a transaction makes by itself ----------------------------------------------------


def fitted(
    request: Request,
    data: bytes,
    status: int,
    reason: bytes | None,
    to_tag: bytes | None,
    headers: Headers,
    via: bytes | None,
) -> bytes:
    """``data``, cut until a stateless refusal is at most 1.5 times the request plus 200 bytes.

    A stranger who forges a source must not make us a useful amplifier.
    """
    limit = len(request.raw) * 3 // 2 + 200
    if len(data) <= limit:
        return data
    without_body = build_response(request, status, reason, to_tag=to_tag, headers=headers, via=via)
    if len(without_body) <= limit:
        return without_body
    return build_response(request, status, reason, to_tag=to_tag, via=via)


def _own(request: Request, name: bytes) -> bytes:
    value = request.first(name)
    assert value is not None
    return value


def _routes(request: Request) -> list[tuple[bytes, bytes]]:
    return [(b"Route", value) for value in request.all(b"Route")]


def acknowledgement(request: Request, response: Response) -> bytes:
    """The ACK of a 3xx to 6xx, made of our INVITE (RFC 3261 section 17.1.1.3)."""
    return build_request(
        b"ACK",
        request.uri,
        [
            (b"Via", _own(request, b"Via")),
            (b"Max-Forwards", b"70"),
            *_routes(request),
            (b"From", _own(request, b"From")),
            (b"To", response.first(b"To") or _own(request, b"To")),
            (b"Call-ID", _own(request, b"Call-ID")),
            (b"CSeq", b"%d ACK" % request.cseq.number),
        ],
    )


def cancellation(request: Request) -> bytes:
    """The CANCEL of our INVITE (RFC 3261 section 9.1)."""
    return build_request(
        b"CANCEL",
        request.uri,
        [
            (b"Via", _own(request, b"Via")),
            (b"Max-Forwards", b"70"),
            *_routes(request),
            (b"From", _own(request, b"From")),
            (b"To", _own(request, b"To")),
            (b"Call-ID", _own(request, b"Call-ID")),
            (b"CSeq", b"%d CANCEL" % request.cseq.number),
        ],
    )
