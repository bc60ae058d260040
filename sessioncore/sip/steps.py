"""The inputs and effects of the transaction machines, and the timers of RFC 3261."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import define

from sessioncore.sip.message import Request, Response
from sessioncore.vocabulary import MILLISECOND, SECOND

__all__ = [
    "COARSE_GRID",
    "GIVE_UP",
    "GRID",
    "REPEATS",
    "STEP_OF_T2",
    "T1",
    "T2",
    "T4",
    "Acked",
    "AnswerFailure",
    "AnswerProvisional",
    "AnswerSuccess",
    "Cancel",
    "CancelExpired",
    "Cancelled",
    "Do",
    "Effect",
    "Failure",
    "GiveUp",
    "Input",
    "LingerOver",
    "MinuteOver",
    "Provisional",
    "Refuse",
    "RepeatDue",
    "Resend",
    "Retransmission",
    "Send",
    "StillSilent",
    "Success",
    "TransportFailed",
    "Unreachable",
]

T1: Final = 500 * MILLISECOND
T2: Final = 4 * SECOND
T4: Final = 5 * SECOND
GIVE_UP: Final = 64 * T1
"""Timers B, D, F, H, J, L and M over UDP (RFC 3261 table 4, RFC 6026 section 8)."""
GRID: Final = 20 * MILLISECOND
"""Timers fire on this grid, so that thousands share a wake-up; they are at most that late.

It is one media period: little beside 500 ms, and at 1,000 calls a second 20 timers a wake-up.
"""
COARSE_GRID: Final = 5 * GRID
"""The same for timers of seconds after which something is only given up or forgotten."""

REPEATS: Final = (T1, 2 * T1, 4 * T1, 8 * T1, 16 * T1, 32 * T1)
"""Timer A: the wait before each repeat (RFC 3261 section 17.1.1.2); 64*T1 ends it.

Timers E and G go no further than T2 (sections 17.1.2.2 and 17.2.1), which is ``REPEATS[3]``.
"""
STEP_OF_T2: Final = REPEATS.index(T2)


# Inputs


@define(eq=False)
class Input:
    """The base of all inputs: the time of arrival, in ns."""

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
    """The user cancels the INVITE."""


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
class Unreachable(Input):
    """ICMP reported the request's target as unreachable (RFC 3261 section 18.4)."""


@define(eq=False)
class Retransmission(Input):
    """The request came again."""


@define(eq=False)
class Acked(Input):
    """An ACK for this INVITE transaction came."""


@define(eq=False)
class Cancelled(Input):
    """A CANCEL for this INVITE transaction came."""

    request: Request


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
    """The user sends a final response in the turn of the request: once, keeping no state."""

    data: bytes


@define(eq=False)
class StillSilent(Input):
    """200 ms passed since the INVITE (RFC 3261 section 17.2.1)."""


@define(eq=False)
class MinuteOver(Input):
    """A minute passed since the last provisional (RFC 3261 section 13.3.1.1)."""


# Effects


class Effect:
    """An action to perform on the transaction after a step."""

    __slots__ = ()

    def perform(self, tx: Any) -> None:
        """Perform the effect on ``tx``."""
        raise NotImplementedError


@define(eq=False)
class Send(Effect):
    """Send ``data`` to the address of this transaction."""

    data: bytes
    now: int

    def perform(self, tx: Any) -> None:
        """A transport that refuses becomes an input of its own."""
        if not tx.keeper.transmit(self.data, tx.flow, tx.destination):
            tx.feed(TransportFailed(self.now))


@define(eq=False)
class Resend(Effect):
    """Send the last message again, and count it."""

    data: bytes
    now: int

    def perform(self, tx: Any) -> None:
        """A transport that refuses becomes an input of its own."""
        tx.keeper.count_repeat()
        if not tx.keeper.transmit(self.data, tx.flow, tx.destination):
            tx.feed(TransportFailed(self.now))


@define(eq=False)
class Do(Effect):
    """Call ``what(tx, now)``."""

    what: Callable[[Any, int], None]
    now: int

    def perform(self, tx: Any) -> None:
        """Call."""
        self.what(tx, self.now)
