"""The media state of a session: one table for both roles."""

from __future__ import annotations

from attrs import define

from sessioncore.table import Machine, Table, ignore, impossible, on
from sessioncore.vocabulary import MediaState

__all__ = [
    "MEDIA_STATE",
    "AgreementReached",
    "AllDirectionsSeen",
    "FlowEstablished",
    "MediaStateMachine",
    "OfferPending",
    "OfferWithdrawn",
    "Silenced",
    "StreamClosed",
]

IDLE, NEGOTIATING, READY, ESTABLISHED, ACTIVE = MediaState


@define(eq=False, init=False)
class OfferPending:
    """An offer was sent or received."""


@define(eq=False, init=False)
class OfferWithdrawn:
    """The pending offer was refused or failed."""


@define(eq=False, init=False)
class AgreementReached:
    """The second description of an exchange was sent or received."""


@define(eq=False, init=False)
class FlowEstablished:
    """``establish_media_flow`` has run."""


@define(eq=False, init=False)
class AllDirectionsSeen:
    """Media was seen in each direction the agreement allows."""


@define(eq=False, init=False)
class Silenced:
    """A stall: nothing heard for 5 s where receiving is allowed."""


@define(eq=False, init=False)
class StreamClosed:
    """The call is over and its row was released."""


MEDIA_STATE = Table(
    "media state",
    states=MediaState,
    inputs=[
        OfferPending,
        OfferWithdrawn,
        AgreementReached,
        FlowEstablished,
        AllDirectionsSeen,
        Silenced,
        StreamClosed,
    ],
    initial=IDLE,
    final=[],
    rows=[
        on((IDLE, NEGOTIATING), OfferPending, NEGOTIATING),
        ignore(
            (READY, ESTABLISHED, ACTIVE),
            OfferPending,
            because="a pending offer leaves the old media running",
        ),
        on(NEGOTIATING, OfferWithdrawn, IDLE),
        ignore(
            (IDLE, READY, ESTABLISHED, ACTIVE),
            OfferWithdrawn,
            because="a failed offer changes nothing that was agreed",
        ),
        on((NEGOTIATING, READY, ESTABLISHED, ACTIVE), AgreementReached, READY),
        impossible(IDLE, AgreementReached, because="an agreement ends a pending offer"),
        on(READY, FlowEstablished, ESTABLISHED),
        impossible(
            (IDLE, NEGOTIATING, ESTABLISHED, ACTIVE),
            FlowEstablished,
            because="the flow is established once per agreement",
        ),
        on(ESTABLISHED, AllDirectionsSeen, ACTIVE),
        ignore(
            (IDLE, NEGOTIATING, READY, ACTIVE),
            AllDirectionsSeen,
            because="counts only after the flow is established, and once",
        ),
        on(ACTIVE, Silenced, ESTABLISHED),
        ignore(
            (IDLE, NEGOTIATING, READY, ESTABLISHED),
            Silenced,
            because="only active media can stall",
        ),
        on(tuple(MediaState), StreamClosed, IDLE),
    ],
)


class MediaStateMachine(Machine):
    """The media state of one session; the table has no actions."""

    table = MEDIA_STATE
    state: MediaState

    def perform(self, effect: object) -> None:
        """Does nothing: the table has no actions."""
        raise AssertionError(effect)
