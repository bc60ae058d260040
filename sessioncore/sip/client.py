"""Client transactions (RFC 3261 section 17.1, RFC 6026) and their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import ClassVar, Final, TypeAlias

from attrs import define

from sessioncore.sip.flows import Flow
from sessioncore.sip.message import Request, Response, parse_message
from sessioncore.sip.requesting import acknowledgement
from sessioncore.sip.roles import ClientKeeper, ClientUser, Headers
from sessioncore.sip.steps import (
    REPEATS,
    STEP_OF_T2,
    Cancel,
    CancelExpired,
    Do,
    Effect,
    Failure,
    GiveUp,
    Input,
    LingerOver,
    Provisional,
    RepeatDue,
    Resend,
    Send,
    Success,
    TransportFailed,
    Unreachable,
)
from sessioncore.table import Machine, Table, ignore, impossible, on
from sessioncore.vocabulary import Address

__all__ = [
    "CLIENT_INVITE",
    "CLIENT_OTHER",
    "NOBODY",
    "ClientInviteState",
    "ClientOtherState",
    "ClientTransaction",
    "InviteClientTransaction",
    "OtherClientTransaction",
]

Effects: TypeAlias = Iterable[Effect]


@define(eq=False)
class Deliver(Effect):
    """Deliver a response to the user."""

    response: Response
    now: int

    def perform(self, tx: ClientTransaction) -> None:
        """Call the user."""
        tx.user.response_received(tx, self.response, self.now)


def _repeat(tx: ClientTransaction, now: int) -> None:
    tx.keeper.repeat_client(tx, now)


def _settle(tx: ClientTransaction, now: int) -> None:
    tx.keeper.settle(tx, now)


def _send_cancel(tx: ClientTransaction, now: int) -> None:
    tx.keeper.send_cancel(tx, now)


def _drop(tx: ClientTransaction, now: int) -> None:
    tx.keeper.drop_client(tx)


def _tell_repeated(tx: ClientTransaction, now: int) -> None:
    repeated, tx.repeated = tx.repeated, None
    if repeated is not None:
        repeated(now)


def _tell_timed_out(tx: ClientTransaction, now: int) -> None:
    tx.dismiss_user().timed_out(tx, now)


def _tell_failed(tx: ClientTransaction, now: int) -> None:
    tx.dismiss_user().transport_failed(tx, now)


def _dismiss(tx: ClientTransaction, now: int) -> None:
    tx.dismiss_user()


def _deliver(tx: ClientTransaction, given: Provisional | Success) -> Effects:
    return (Deliver(given.response, given.now),)


def _deliver_and_cancel(tx: ClientTransaction, given: Provisional) -> Effects:
    return (Do(_send_cancel, given.now), Deliver(given.response, given.now))


def _cancel(tx: ClientTransaction, given: Cancel) -> Effects:
    return (Do(_send_cancel, given.now),)


def _accepted_again(tx: InviteClientTransaction, given: Success) -> Effects:
    if tx.ack and given.response.to_tag == tx.acknowledged_tag:
        return (Resend(tx.ack, given.now), Do(_tell_repeated, given.now))
    return (Deliver(given.response, given.now),)


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
    return (Resend(tx.data, given.now), Do(_repeat, given.now))


def _repeat_slowly(tx: ClientTransaction, given: RepeatDue) -> Effects:
    # RFC 3261 section 17.1.2.2: in Proceeding Timer E is always T2.
    tx.step = tx.last_step
    return (Resend(tx.data, given.now), Do(_repeat, given.now))


def _time_out(tx: ClientTransaction, given: Input) -> Effects:
    return (Do(_drop, given.now), Do(_tell_timed_out, given.now))


def _fail(tx: ClientTransaction, given: Input) -> Effects:
    return (Do(_drop, given.now), Do(_tell_failed, given.now))


def _end(tx: ClientTransaction, given: Input) -> Effects:
    return (Do(_drop, given.now), Do(_dismiss, given.now))


class ClientInviteState(Enum):
    """RFC 3261 figure 5 and RFC 6026 section 8.4.

    Held: a CANCEL waits for a 1xx.  Cancelling: the CANCEL was sent.
    """

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
        Unreachable,
    ),
    initial=_CI.CALLING,
    final=(_CI.TERMINATED,),
    rows=(
        on(_CI.CALLING, Provisional, _CI.PROCEEDING, _deliver, "any 1xx stops timers A and B"),
        on(_CI.HELD, Provisional, _CI.CANCELLING, _deliver_and_cancel, "the CANCEL is sent now"),
        on(_RINGING, Provisional, None, _deliver),
        ignore(_OVER, Provisional, because="a late provisional changes nothing"),
        on((*_SILENT, *_RINGING), Success, _CI.ACCEPTED, _completed, "RFC 6026: Timer M"),
        on(_CI.ACCEPTED, Success, None, _accepted_again, "a repeat, or another fork"),
        ignore((_CI.COMPLETED, _CI.TERMINATED), Success, because="the call has failed already"),
        on((*_SILENT, *_RINGING), Failure, _CI.COMPLETED, _failed, "ACK; Timer D"),
        on(_CI.COMPLETED, Failure, None, _acknowledge_again, "the ACK was lost"),
        ignore((_CI.ACCEPTED, _CI.TERMINATED), Failure, because="answered by another fork"),
        on(_CI.CALLING, Cancel, _CI.HELD, None, "RFC 3261 section 9.1: only after a 1xx"),
        on(_CI.PROCEEDING, Cancel, _CI.CANCELLING, _cancel),
        ignore((_CI.HELD, _CI.CANCELLING), Cancel, because="one CANCEL is enough"),
        ignore(_OVER, Cancel, because="too late: the final response has come"),
        on(_SILENT, RepeatDue, None, _repeat_request, "Timer A"),
        ignore((*_RINGING, *_OVER), RepeatDue, because="a response stopped Timer A"),
        on(_SILENT, GiveUp, _CI.TERMINATED, _time_out, "Timer B"),
        ignore((*_RINGING, *_OVER), GiveUp, because="a response stopped Timer B"),
        on(_CI.CANCELLING, CancelExpired, _CI.TERMINATED, _time_out),
        ignore(_OVER, CancelExpired, because="the final response came in time"),
        impossible(
            (*_SILENT, _CI.PROCEEDING), CancelExpired, because="armed when the CANCEL leaves"
        ),
        on((_CI.COMPLETED, _CI.ACCEPTED), LingerOver, _CI.TERMINATED, _end, "Timers D, M"),
        ignore(_CI.TERMINATED, LingerOver, because="already forgotten"),
        impossible((*_SILENT, *_RINGING), LingerOver, because="armed by the final response"),
        on((*_SILENT, *_RINGING), TransportFailed, _CI.TERMINATED, _fail),
        ignore(_CI.COMPLETED, TransportFailed, because="the next repeat gets another ACK"),
        ignore((_CI.ACCEPTED, _CI.TERMINATED), TransportFailed, because="nothing is sent here"),
        on(_SILENT, Unreachable, _CI.TERMINATED, _fail, "ICMP, RFC 3261 section 18.4"),
        ignore((*_RINGING, *_OVER), Unreachable, because="a response has come from there"),
    ),
)


class ClientOtherState(Enum):
    """RFC 3261 figure 6; the layer keeps Completed for Timer K."""

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
    inputs=(Provisional, Success, Failure, RepeatDue, GiveUp, TransportFailed, Unreachable),
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
        on(_CO_OPEN, TransportFailed, _CO.TERMINATED, _fail),
        ignore(_CO_OVER, TransportFailed, because="nothing more is sent"),
        on(_CO.TRYING, Unreachable, _CO.TERMINATED, _fail, "ICMP, RFC 3261 section 18.4"),
        ignore((_CO.PROCEEDING, *_CO_OVER), Unreachable, because="a response has come from there"),
    ),
)


class ClientTransaction(Machine):
    """One of our requests, until it has a final response.

    ``data`` is the request as sent, ``key`` its branch and method, ``step`` the number of
    repeats so far.  ``ack`` is the ACK that answers a repeated final response, once there is
    one; ``repeated`` is called with the time of the first such repeat of a 2xx.
    ``cancel_headers`` go into its CANCEL.
    """

    last_step: ClassVar[int] = STEP_OF_T2
    """Timer E stays at the interval of this repeat; Timer B ends an INVITE before it matters."""
    step = 0
    ack = b""
    cancel_headers: Headers = ()
    acknowledged_tag: bytes | None = None
    repeated: Callable[[int], None] | None = None
    _request: Request | None = None

    def __init__(
        self,
        keeper: ClientKeeper[ClientTransaction],
        user: ClientUser[ClientTransaction],
        data: bytes,
        method: bytes,
        destination: Address,
        flow: Flow,
        branch: bytes,
    ) -> None:
        self.keeper = keeper
        self.user = user
        self.data = data
        self.destination = destination
        self.flow = flow
        self.branch = branch
        self.key = branch + b" " + method

    @property
    def request(self) -> Request:
        """The request as sent, parsed when first asked for."""
        if self._request is None:
            parsed = parse_message(self.data)
            assert isinstance(parsed, Request)
            self._request = parsed
        return self._request

    def dismiss_user(self) -> ClientUser[ClientTransaction]:
        """Detach and return the user, which is not notified any more.

        A call that refers to its transaction and is its user would be a reference cycle.
        """
        user, self.user = self.user, NOBODY
        return user

    def perform(self, effect: Effect) -> None:
        """Carry out one effect."""
        effect.perform(self)


class _Nobody:
    """A user that ignores the outcome of the transaction."""

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        """Does nothing."""

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        """Does nothing."""

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        """Does nothing."""


NOBODY: Final[ClientUser[ClientTransaction]] = _Nobody()


class InviteClientTransaction(ClientTransaction):
    """RFC 3261 section 17.1.1."""

    table = CLIENT_INVITE
    last_step = len(REPEATS) - 1


class OtherClientTransaction(ClientTransaction):
    """RFC 3261 section 17.1.2."""

    table = CLIENT_OTHER
