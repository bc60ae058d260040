"""Server transactions (RFC 3261 section 17.2, RFC 6026) and their tables.

A server transaction that has nothing more to decide *retires*: the layer keeps Accepted,
Confirmed and the non-INVITE Completed as one entry ``key -> bytes`` and drops the object.
Therefore these states are final in the tables below.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, TypeAlias

from attrs import define

from sessioncore.sip.flows import Flow
from sessioncore.sip.message import Request, build_response
from sessioncore.sip.roles import Headers, ServerKeeper
from sessioncore.sip.steps import (
    Acked,
    AnswerFailure,
    AnswerProvisional,
    AnswerSuccess,
    Cancelled,
    Do,
    Effect,
    GiveUp,
    Input,
    MinuteOver,
    Refuse,
    RepeatDue,
    Resend,
    Retransmission,
    Send,
    StillSilent,
    TransportFailed,
)
from sessioncore.table import Machine, Table, ignore, impossible, on
from sessioncore.vocabulary import Address

__all__ = [
    "ACCEPTED_MARK",
    "CONFIRMED_MARK",
    "SERVER_INVITE",
    "SERVER_OTHER",
    "ServerInviteState",
    "ServerOtherState",
    "ServerTransaction",
    "fitted",
]

Effects: TypeAlias = Iterable[Effect]

ACCEPTED_MARK: Final = b""
"""The entry of a server INVITE transaction in Accepted: absorbs INVITE, passes ACK on."""
CONFIRMED_MARK: Final = b"ACK"
"""The entry of a server INVITE transaction in Confirmed: absorbs INVITE and ACK."""


def fitted(
    request: Request,
    data: bytes,
    status: int,
    reason: bytes | None,
    to_tag: bytes | None,
    headers: Headers,
    via: bytes | None,
) -> bytes:
    """``data``, cut until a stateless answer is at most 1.5 times the request plus 200 bytes.

    So we are not useful as an amplifier for requests with a forged source.
    """
    limit = len(request.raw) * 3 // 2 + 200
    if len(data) <= limit:
        return data
    without_body = build_response(request, status, reason, to_tag=to_tag, headers=headers, via=via)
    if len(without_body) <= limit:
        return without_body
    return build_response(request, status, reason, to_tag=to_tag, via=via)


class Provide(Effect):
    """Send the provisional response that was given last."""

    __slots__ = ()

    def perform(self, tx: Any) -> None:
        """A transport that refuses becomes an input of its own."""
        if not tx.keeper.transmit(tx.last, tx.flow, tx.destination):
            tx.feed(TransportFailed(tx.now))


class Finish(Effect):
    """Retire and send: keep only ``answer``, or without it the last response, and send that."""

    __slots__ = ("answer",)

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer

    def perform(self, tx: Any) -> None:
        """Pass the bytes to the layer, then send."""
        last, answer = tx.last, self.answer
        tx.keeper.retire(tx, last if answer is None else answer, tx.now)
        if not tx.keeper.transmit(last, tx.flow, tx.destination):
            tx.feed(TransportFailed(tx.now))


@define(eq=False)
class Retire(Effect):
    """Keep only ``answer``."""

    answer: bytes
    now: int

    def perform(self, tx: ServerTransaction) -> None:
        """Pass the bytes to the layer."""
        tx.keeper.retire(tx, self.answer, self.now)


# Effects that every call needs are made once; the others are made when needed.
_PROVIDED: Final = (Provide(),)
_ACCEPTED: Final = (Finish(ACCEPTED_MARK),)
_ANSWERED: Final = (Finish(),)


def _repeat(tx: ServerTransaction, now: int) -> None:
    tx.keeper.repeat_server(tx, now)


def _await_ack(tx: ServerTransaction, now: int) -> None:
    tx.keeper.await_ack(tx, now)


def _drop(tx: ServerTransaction, now: int) -> None:
    tx.keeper.drop_server(tx)


def _count_unacknowledged(tx: ServerTransaction, now: int) -> None:
    tx.keeper.count_unacknowledged()


def _tell_cancelled(tx: ServerTransaction, now: int) -> None:
    tx.keeper.tell_cancelled(tx, now)


def _tell_failed(tx: ServerTransaction, now: int) -> None:
    tx.keeper.tell_failed(tx, now)


def _provide(tx: ServerTransaction, given: AnswerProvisional) -> Effects:
    tx.last, tx.now = given.data, given.now
    return _PROVIDED


def _accept(tx: ServerTransaction, given: AnswerSuccess) -> Effects:
    tx.last, tx.now = given.data, given.now
    return _ACCEPTED


def _answer(tx: ServerTransaction, given: AnswerSuccess | AnswerFailure) -> Effects:
    tx.last, tx.now = given.data, given.now
    return _ANSWERED


def _reject(tx: ServerTransaction, given: AnswerFailure) -> Effects:
    tx.last = given.data
    effects: list[Effect] = [Do(_await_ack, given.now)]
    if not tx.flow.reliable:
        effects.append(Do(_repeat, given.now))
    effects.append(Send(given.data, given.now))
    return effects


def _refuse(tx: ServerTransaction, given: Refuse) -> Effects:
    tx.last = given.data
    return (Do(_drop, given.now), Send(given.data, given.now))


def _resend(tx: ServerTransaction, given: Input) -> Effects:
    return () if tx.last is None else (Resend(tx.last, given.now),)


def _repeat_response(tx: ServerTransaction, given: RepeatDue) -> Effects:
    tx.step += 1
    assert tx.last is not None
    return (Resend(tx.last, given.now), Do(_repeat, given.now))


def _confirm(tx: ServerTransaction, given: Acked) -> Effects:
    return (Retire(CONFIRMED_MARK, given.now),)


def _try(tx: ServerTransaction, given: StillSilent) -> Effects:
    if tx.last is not None:
        return ()
    tx.last = build_response(tx.request, 100, via=tx.via)
    return (Send(tx.last, given.now),)


def _tell_cancel(tx: ServerTransaction, given: Cancelled) -> Effects:
    if tx.cancel is not None:
        return ()
    tx.cancel = given.request
    return (Do(_tell_cancelled, given.now),)


def _never_acknowledged(tx: ServerTransaction, given: GiveUp) -> Effects:
    return (Do(_drop, given.now), Do(_count_unacknowledged, given.now))


def _end(tx: ServerTransaction, given: Input) -> Effects:
    return (Do(_drop, given.now),)


def _fail(tx: ServerTransaction, given: Input) -> Effects:
    return (Do(_drop, given.now), Do(_tell_failed, given.now))


def _tell_only(tx: ServerTransaction, given: Input) -> Effects:
    return (Do(_tell_failed, given.now),)


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
            because="the transport failed or the layer stopped; no answer can be sent",
        ),
        on(_SI.PROCEEDING, StillSilent, None, _try, "100 Trying"),
        ignore((_SI.COMPLETED, *_SI_DONE), StillSilent, because="answered in time"),
        on(_SI.PROCEEDING, MinuteOver, None, _resend, "so that no proxy gives up"),
        ignore((_SI.COMPLETED, *_SI_DONE), MinuteOver, because="no longer pending"),
        on(_SI.COMPLETED, RepeatDue, None, _repeat_response, "Timer G"),
        ignore((_SI.PROCEEDING, *_SI_DONE), RepeatDue, because="not waiting for an ACK"),
        on(_SI.COMPLETED, GiveUp, _SI.TERMINATED, _never_acknowledged, "Timer H"),
        ignore((_SI.PROCEEDING, *_SI_DONE), GiveUp, because="not waiting for an ACK"),
        on(_SI.PROCEEDING, TransportFailed, _SI.TERMINATED, _fail),
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
        on(_SO_OPEN, GiveUp, _SO.TERMINATED, _end, "the client's Timer F has fired"),
        ignore(_SO_OVER, GiveUp, because="answered in time"),
        on(_SO_OPEN, TransportFailed, _SO.TERMINATED, _fail),
        ignore(_SO_OVER, TransportFailed, because="the client asks again"),
    ),
)


class ServerTransaction(Machine):
    """One request of the peer and our answer to it; its table is `SERVER_INVITE` or `SERVER_OTHER`.

    ``source`` is the address the request came from, ``last`` our last response.  ``now`` is the
    time (ns) at which the request came or the user last answered it.  ``cancel`` is its first
    CANCEL (which may have a Reason).  ``merge_key`` is the same for copies of the request that
    come by another path.  It is ``fresh`` in the turn in which its request came.
    """

    last: bytes | None = None
    to_tag: bytes | None = None
    cancel: Request | None = None
    step = 0
    fresh = True

    def __init__(
        self,
        table: Table,
        keeper: ServerKeeper[ServerTransaction],
        request: Request,
        key: bytes,
        source: Address,
        destination: Address,
        flow: Flow,
        via: bytes,
        now: int,
        merge_key: bytes | None = None,
    ) -> None:
        self.table = table
        self.state = table.initial
        self.keeper = keeper
        self.request = request
        self.key = key
        self.source = source
        self.destination = destination
        self.flow = flow
        self.via = via
        self.now = now
        self.merge_key = merge_key

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
        stateful: bool | None = None,
    ) -> bytes:
        """Send a response and return its bytes.

        Without ``to_tag`` the tag of an earlier response is used, or one computed from the
        request.  A final response that is the first, in the turn in which the request came,
        can be sent once without keeping state (RFC 3261 section 8.2.7); then a copy of the
        request is a new one.  ``stateful`` None does so for a 3xx to 6xx and False for a 2xx
        as well, which does not suit an INVITE.
        Raises `UnexpectedInput` after a final response.
        """
        request = self.request
        if status > 100:
            if request.to_tag is None:
                self.to_tag = to_tag = to_tag or self.to_tag or self.keeper.computed_tag(request)
            headers = (*headers, *self.keeper.response_headers)
        data = build_response(
            request,
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
            return data
        if status < 300 and stateful is not False:
            self.feed(AnswerSuccess(now, data))
        elif self.fresh and self.last is None and not stateful:
            data = fitted(request, data, status, reason, to_tag, headers, self.via)
            self.feed(Refuse(now, data))
        elif status < 300:
            self.feed(AnswerSuccess(now, data))
        else:
            self.feed(AnswerFailure(now, data))
        return data

    def resend(self, now: int) -> None:
        """Send the last response again; a session repeats its 2xx with it until the ACK."""
        if self.last is not None:
            Resend(self.last, now).perform(self)

    def perform(self, effect: Effect) -> None:
        """Carry out one effect."""
        effect.perform(self)
