"""The offer/answer exchange of RFC 3264 as a table: five states, every cell answered."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from attrs import define

from sessioncore.sdp.acceptance import Accepted
from sessioncore.sdp.authoring import Rows
from sessioncore.sdp.description import Description
from sessioncore.sdp.formats import Proposal
from sessioncore.table import Table, impossible, on
from sessioncore.vocabulary import Address, Direction, NegotiatedMedia

__all__ = [
    "OFFER_ANSWER",
    "PENDING",
    "AnswerMade",
    "AnswerReceived",
    "AnswerUnusable",
    "OfferDropped",
    "OfferMade",
    "OfferReceived",
    "OfferRolledBack",
    "OfferState",
    "Settled",
]


class OfferState(Enum):
    """The state of a dialog in the exchange of RFC 3264."""

    NOTHING = "Nothing"
    OFFER_SENT = "OfferSent"
    OFFER_RECEIVED = "OfferReceived"
    AGREED = "Agreed"
    BROKEN = "Broken"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


@define(eq=False)
class OfferMade:
    """We send an offer; ``rows`` holds our m-lines, None for the audio."""

    rows: Rows
    proposal: Proposal
    direction: Direction
    own: Address


@define(eq=False)
class OfferReceived:
    """The peer sent an offer that we can accept; ``own`` is our address in that check."""

    description: Description
    accepted: Accepted
    own: Address


@define(eq=False)
class Settled:
    """A complete exchange: the agreement and the peer's description."""

    media: NegotiatedMedia
    description: Description
    accepted: Accepted
    rows: Rows


@define(eq=False)
class AnswerMade(Settled):
    """We answer the peer's offer."""


@define(eq=False)
class AnswerReceived(Settled):
    """The peer answered our offer acceptably."""


class AnswerUnusable:
    """The peer's answer breaks RFC 3264 or has no format in common."""

    __slots__ = ()


class OfferDropped:
    """The pending offer was refused or withdrawn, and nothing was agreed before."""

    __slots__ = ()


class OfferRolledBack:
    """The pending offer was refused or withdrawn; the agreement before it stays in force."""

    __slots__ = ()


class Keeper(Protocol):
    """The machine as the actions of the table use it."""

    sent: OfferMade | None
    received: OfferReceived | None
    settled: Settled | None
    changed: bool


def _keep_sent(machine: Keeper, given: OfferMade) -> tuple[()]:
    machine.sent = given
    return ()


def _keep_received(machine: Keeper, given: OfferReceived) -> tuple[()]:
    machine.sent, machine.received = None, given
    return ()


def _forget(machine: Keeper, _: object) -> tuple[()]:
    machine.sent = machine.received = None
    return ()


def _settle(machine: Keeper, given: Settled) -> tuple[()]:
    old = machine.settled
    machine.changed = (
        old is None
        or old.media != given.media
        or old.description.origin_line != given.description.origin_line
    )
    machine.settled = given
    machine.sent = machine.received = None
    return ()


_S = OfferState
_AT_REST = (_S.NOTHING, _S.AGREED, _S.BROKEN)
PENDING = (_S.OFFER_SENT, _S.OFFER_RECEIVED)
_ONE_AT_A_TIME = "one offer/answer at a time per dialog (RFC 3264 section 4): 491 or wait"
_MAY_STILL_COME = "an unreliable 183 is not binding: the 200 may bring a usable answer"

OFFER_ANSWER = Table(
    "OfferAnswer",
    states=OfferState,
    inputs=(
        OfferMade,
        OfferReceived,
        AnswerMade,
        AnswerReceived,
        AnswerUnusable,
        OfferDropped,
        OfferRolledBack,
    ),
    initial=_S.NOTHING,
    final=(),
    rows=(
        on(_AT_REST, OfferMade, _S.OFFER_SENT, _keep_sent),
        on(_AT_REST, OfferReceived, _S.OFFER_RECEIVED, _keep_received),
        impossible(PENDING, OfferMade, OfferReceived, because=_ONE_AT_A_TIME),
        on(_S.OFFER_RECEIVED, AnswerMade, _S.AGREED, _settle),
        on((_S.OFFER_SENT, _S.BROKEN), AnswerReceived, _S.AGREED, _settle),
        on((_S.OFFER_SENT, _S.BROKEN), AnswerUnusable, _S.BROKEN, note=_MAY_STILL_COME),
        on(PENDING, OfferDropped, _S.NOTHING, _forget),
        on(PENDING, OfferRolledBack, _S.AGREED, _forget),
        impossible((_S.OFFER_SENT, *_AT_REST), AnswerMade, because="the peer has made no offer"),
        impossible(
            (_S.NOTHING, _S.OFFER_RECEIVED, _S.AGREED),
            AnswerReceived,
            AnswerUnusable,
            because="we have made no offer",
        ),
        impossible(_AT_REST, OfferDropped, OfferRolledBack, because="no offer is pending"),
    ),
)
"""The table of the machine, drawn in the reference."""
