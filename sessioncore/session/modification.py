"""Offers within a dialog, ours and the peer's, as one table (RFC 3261 section 14, RFC 3311).

It decides who may offer now.  `sessioncore.sdp.negotiation` makes the offers, and
`sessioncore.session.modifying` sends them (re-INVITE, UPDATE, PRACK).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from attrs import define

from sessioncore.table import Machine, Table, Trace, ignore, impossible, on

__all__ = [
    "MODIFICATION",
    "Answered",
    "BackOff",
    "BackOffOver",
    "DialogOver",
    "Drop",
    "Glared",
    "Modification",
    "ModificationState",
    "OfferRead",
    "OfferWanted",
    "Refuse",
    "Refused",
    "SendOffer",
    "Settled",
    "TakeOffer",
]


class ModificationState(Enum):
    """Whose offer is under way in a dialog."""

    IDLE = "Idle"
    OFFERING = "Offering"
    OFFERED = "Offered"
    YIELDING = "Yielding"
    BACKING_OFF = "BackingOff"
    OVER = "Over"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


# Inputs.


@define(eq=False)
class OfferWanted:
    """Our side wants a change; ``wish`` describes it for the sender of the offer."""

    wish: Any


@define(eq=False)
class OfferRead:
    """The peer sent a request that may change something; ``request`` is its transaction."""

    request: Any


@define(eq=False, init=False)
class Answered:
    """The peer accepted our offer, and everything that completes it has been sent."""


@define(eq=False, init=False)
class Refused:
    """The peer refused our offer, or will never answer it."""


@define(eq=False, init=False)
class Glared:
    """491: both sides offered at once."""


@define(eq=False, init=False)
class BackOffOver:
    """The wait of RFC 3261 section 14.1 is over."""


@define(eq=False, init=False)
class Settled:
    """The peer's request was refused, or everything that completes it has arrived."""


@define(eq=False, init=False)
class DialogOver:
    """The dialog ends or has ended; no more modifications."""


# Effects.


@define(eq=False, init=False)
class SendOffer:
    """Send the offer that our side wants."""


@define(eq=False)
class TakeOffer:
    """Process the peer's request and answer it."""

    request: Any


@define(eq=False)
class Refuse:
    """Refuse the peer's request for now: 491 if our offer is pending, else 500."""

    request: Any


@define(eq=False, init=False)
class BackOff:
    """Wait before the next try."""


@define(eq=False, init=False)
class Drop:
    """Nothing is offered any more; a wanted offer is not sent, one that was sent is cancelled."""


_SEND = (SendOffer(),)
_BACK_OFF = (BackOff(),)
_DROP = (Drop(),)


def _want(machine: Modification, given: OfferWanted) -> tuple[object, ...]:
    machine.wish = given.wish
    return _SEND


def _keep(machine: Modification, given: OfferWanted) -> tuple[object, ...]:
    machine.wish = given.wish
    return ()


def _send(machine: Modification, given: object) -> tuple[object, ...]:
    return _SEND


def _done(machine: Modification, given: object) -> tuple[object, ...]:
    machine.wish = None
    return ()


def _wait(machine: Modification, given: object) -> tuple[object, ...]:
    return _BACK_OFF


def _take(machine: Modification, given: OfferRead) -> tuple[object, ...]:
    return (TakeOffer(given.request),)


def _not_now(machine: Modification, given: OfferRead) -> tuple[object, ...]:
    return (Refuse(given.request),)


def _drop(machine: Modification, given: object) -> tuple[object, ...]:
    return _DROP


_S = ModificationState
_OPEN = tuple(state for state in ModificationState if state is not _S.OVER)
_NONE_OUT = (_S.IDLE, _S.OFFERED, _S.YIELDING, _S.BACKING_OFF)
_THEIRS = (_S.OFFERED, _S.YIELDING)
_NOT_THEIRS = (_S.IDLE, _S.OFFERING, _S.BACKING_OFF)

MODIFICATION = Table(
    "modification",
    states=ModificationState,
    inputs=[
        OfferWanted,
        OfferRead,
        Answered,
        Refused,
        Glared,
        BackOffOver,
        Settled,
        DialogOver,
    ],
    initial=_S.IDLE,
    final=[_S.OVER],
    rows=[
        on(_S.IDLE, OfferWanted, _S.OFFERING, _want),
        on(_S.OFFERED, OfferWanted, _S.YIELDING, _keep, "sent when the peer's is settled"),
        impossible(
            (_S.OFFERING, _S.YIELDING, _S.BACKING_OFF, _S.OVER),
            OfferWanted,
            because="one wish at a time; another is refused before it gets here",
        ),
        on(_S.IDLE, OfferRead, _S.OFFERED, _take),
        on(_S.BACKING_OFF, OfferRead, _S.YIELDING, _take, "the peer's first, then ours"),
        on(_S.OFFERING, OfferRead, None, _not_now, "RFC 3261 section 14.2, RFC 3311 section 5.2"),
        on(_THEIRS, OfferRead, None, _not_now, "RFC 3261 section 14.2"),
        impossible(_S.OVER, OfferRead, because="the dialog does not exist any more: 481"),
        on(_S.OFFERING, Answered, _S.IDLE, _done),
        on(_S.OFFERING, Refused, _S.IDLE, _done),
        on(_S.OFFERING, Glared, _S.BACKING_OFF, _wait, "RFC 3261 section 14.1"),
        impossible(_NONE_OUT, Answered, Refused, Glared, because="we have no offer pending"),
        on(_S.BACKING_OFF, BackOffOver, _S.OFFERING, _send),
        ignore(
            (_S.IDLE, _S.OFFERING, *_THEIRS), BackOffOver, because="the peer's offer came between"
        ),
        on(_S.OFFERED, Settled, _S.IDLE),
        on(_S.YIELDING, Settled, _S.OFFERING, _send),
        ignore(_NOT_THEIRS, Settled, because="it is settled already"),
        on(_OPEN, DialogOver, _S.OVER, _drop),
        ignore(
            _S.OVER,
            Answered,
            Refused,
            Glared,
            BackOffOver,
            Settled,
            DialogOver,
            because="the dialog does not exist any more",
        ),
    ],
)


class Modification(Machine):
    """The offers of one dialog: whose is under way, and the change that our side wants."""

    table = MODIFICATION
    state: ModificationState

    def __init__(self, perform: Callable[[object], None], trace: Trace | None = None) -> None:
        self.trace = trace
        self._perform = perform
        self.wish: Any = None

    def perform(self, effect: object) -> None:
        """Pass one effect to the function that carries it out."""
        self._perform(effect)
        if self.state is _S.OVER:
            # The leg keeps the machine; this breaks the reference cycle between the two.
            self._perform = _nothing_left


def _nothing_left(effect: object) -> None:
    raise AssertionError(effect)
