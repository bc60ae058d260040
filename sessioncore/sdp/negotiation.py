"""The offer/answer machine of RFC 3264: one `OfferAnswer` per dialog, five states.

The machine pairs each offer with its answer, keeps the version in ``o=`` honest and knows
what is agreed.  It refuses before it moves: an offer that cannot be accepted raises and
leaves the state as it was, so an agreement that stands goes on standing.
"""

from __future__ import annotations

from copy import copy
from typing import Final

from sessioncore.errors import AnswerRefused, NegotiationError, SdpParseError, UnexpectedInput
from sessioncore.sdp.authoring import Author, Rows, answer_rows
from sessioncore.sdp.description import Description, parse_description
from sessioncore.sdp.exchange import (
    OFFER_ANSWER,
    PENDING,
    AnswerMade,
    AnswerReceived,
    AnswerUnusable,
    OfferDropped,
    OfferMade,
    OfferReceived,
    OfferRolledBack,
    OfferState,
    Settled,
)
from sessioncore.sdp.formats import MediaPolicy, Proposal, propose
from sessioncore.sdp.streams import (
    accept_answer,
    accept_offer,
    agree,
    agreed_direction,
    is_hold,
    recheck,
)
from sessioncore.sdp.targets import check_target
from sessioncore.table import Machine, Trace
from sessioncore.vocabulary import Address, Codec, Direction, NegotiatedMedia

__all__ = [
    "OFFER_ANSWER",
    "MediaPolicy",
    "OfferAnswer",
    "OfferState",
    "agreed_direction",
    "check_target",
]


_SENDRECV: Final = Direction.SENDRECV


class OfferAnswer(Machine):
    """The descriptions of one dialog, both ways.

    ``local`` is where we receive RTP and may be set until it is first used; a port of 0 says
    that only the IP is known yet.  ``rtcp`` is where we receive RTCP if not on the next port.
    ``direction`` is what we wish, ``local_hold`` stops us from hearing; both count for the
    next offer or answer.  Calls that RFC 3264 rules out in this state raise
    `UnexpectedInput` (answer 491 to a request that brought an offer).
    """

    __slots__ = (
        "author",
        "changed",
        "direction",
        "local",
        "local_hold",
        "policy",
        "received",
        "rtcp",
        "sent",
        "settled",
        "signalling_host",
    )
    table = OFFER_ANSWER

    def __init__(
        self,
        policy: MediaPolicy,
        local: Address | None,
        session_id: int,
        rtcp: Address | None = None,
        trace: Trace | None = None,
    ) -> None:
        super().__init__(trace)
        self.policy = policy
        self.local = local
        self.rtcp = rtcp
        self.author = Author(session_id)
        self.direction = _SENDRECV
        self.local_hold = False
        self.signalling_host = ""
        self.changed = False
        self.sent: OfferMade | None = None
        self.received: OfferReceived | None = None
        self.settled: Settled | None = None

    @property
    def agreement(self) -> NegotiatedMedia | None:
        """What the last complete exchange agreed on; stands while a new offer is pending."""
        return None if self.settled is None else self.settled.media

    @property
    def has_pending_offer(self) -> bool:
        """Whether an offer of either side waits for its answer."""
        return self.state in PENDING

    @property
    def remote_hold(self) -> bool:
        """Whether the peer's last agreed description says it does not want to hear us."""
        return self.settled is not None and is_hold(self.settled.accepted)

    @property
    def remote_description(self) -> Description | None:
        """The peer's description of the pending offer, else of the last agreement."""
        if self.received is not None:
            return self.received.description
        return None if self.settled is None else self.settled.description

    def make_offer(self, direction: Direction | None = None) -> bytes:
        """An offer to send; ``direction`` None means the wish of ``self.direction``."""
        if self.state in PENDING:
            raise self._unexpected(OfferMade)
        own = self._ready()
        wish = self.direction if direction is None else direction
        offered = agreed_direction(_SENDRECV, wish, self.local_hold)
        basis = self.settled
        rows: Rows = (None,) if basis is None else basis.rows
        proposal = propose(self.policy, self._numbers())
        times = (b"0 0",) if basis is None else basis.description.times
        body = self.author.describe(rows, proposal, offered, own, self.policy.ptime, times)
        self.feed(OfferMade(rows, proposal, offered, own))
        return body

    def receive_offer(self, body: bytes, *, signalling_host: str = "") -> None:
        """Take an offer of the peer's, whose signalling came from the IP ``signalling_host``.

        Raises `SdpParseError` (400) or `NegotiationError` (488, with reasons); then nothing
        has changed.
        """
        if self.state in PENDING:
            raise self._unexpected(OfferReceived)
        if signalling_host:
            self.signalling_host = signalling_host
        description = parse_description(body)
        own = self._own()
        side = (self.policy, propose(self.policy), own, self.signalling_host)
        accepted = accept_offer(description, side)
        self.feed(OfferReceived(description, accepted, own))

    def make_answer(self) -> bytes:
        """The answer to the pending offer; from here on its agreement stands.

        Raises `NegotiationError`, with nothing changed, if ``local`` was set after the offer
        came and the offer points back at it or is of the other address family.
        """
        offer = self.received
        if offer is None:
            raise self._unexpected(AnswerMade)
        own = self._ready()
        description, accepted = offer.description, offer.accepted
        if own != offer.own:
            recheck(accepted, own, offer.own)
        direction = agreed_direction(accepted.direction, self.direction, self.local_hold)
        rows = answer_rows(description.media, accepted.index)
        body = self.author.describe(
            rows, accepted.formats.answer, direction, own, self.policy.ptime, description.times
        )
        media = NegotiatedMedia((agree(accepted, direction, own[0], ()),))
        self.feed(AnswerMade(media, description, accepted, rows))
        return body

    def receive_answer(self, body: bytes, *, signalling_host: str = "") -> NegotiatedMedia:
        """Take the answer to the pending offer.

        Raises `AnswerRefused` where it cannot be read or used; the call then ends by BYE.
        """
        offer = self.sent
        if offer is None:
            raise self._unexpected(AnswerReceived)
        if signalling_host:
            self.signalling_host = signalling_host
        try:
            description = parse_description(body)
            side = (self.policy, offer.proposal, offer.own, self.signalling_host)
            accepted = accept_answer(description, offer.rows.index(None), len(offer.rows), side)
        except (SdpParseError, NegotiationError) as error:
            self.feed(AnswerUnusable())
            if isinstance(error, AnswerRefused):
                raise
            raise AnswerRefused(f"the answer cannot be read: {error}", (str(error),)) from error
        direction = agreed_direction(accepted.direction, offer.direction, False)
        others = accepted.formats.audio[1:]
        media = NegotiatedMedia((agree(accepted, direction, offer.own[0], others),))
        self.feed(AnswerReceived(media, description, accepted, offer.rows))
        return media

    def withdraw(self) -> None:
        """The pending offer, of either side, was refused or given up: all is as before it."""
        self.feed(OfferDropped() if self.settled is None else OfferRolledBack())

    def fork(self) -> OfferAnswer:
        """A twin for another dialog of the same INVITE, in the same state (RFC 3261 13.2.2.4).

        Each fork of a call answers our one offer for itself; fork before the first answer.
        """
        twin = copy(self)
        twin.author = self.author.twin()
        return twin

    def make_refusing_answer(self, body: bytes) -> bytes:
        """A valid answer that refuses every m-line of an offer we cannot use.

        For an offer in a 2xx, which can only be answered (then BYE); changes no state.
        Raises `SdpParseError` where not even that can be read.
        """
        description = parse_description(body)
        rows = answer_rows(description.media, None)
        return self.author.describe(
            rows,
            Proposal((), None, None),
            Direction.INACTIVE,
            self._ready(),
            self.policy.ptime,
            description.times,
        )

    def perform(self, effect: object) -> None:
        """Actions of this table only keep what they are given; there are no effects."""
        raise AssertionError(effect)

    def _unexpected(self, kind: type) -> UnexpectedInput:
        return UnexpectedInput(self.table.name, self.state, object.__new__(kind))

    def _ready(self) -> tuple[Address, Address]:
        """Where we receive RTP and RTCP; both known, because now it is to be told."""
        local = self.local
        if local is None or not local[1]:
            raise ValueError("OfferAnswer.local must be set before anything is sent")
        return (local, self.rtcp or (local[0], local[1] + 1))

    def _own(self) -> tuple[Address, ...]:
        """As much of that as is known yet."""
        if self.local is None:
            return ()
        return self._ready() if self.local[1] else (self.local,)

    def _numbers(self) -> tuple[tuple[Codec, int], ...]:
        """Payload types whose meaning this session has already fixed (RFC 3264 8.3.2)."""
        if self.settled is None:
            return ()
        formats = self.settled.accepted.formats
        named = (*formats.audio, formats.dtmf, formats.comfort_noise)
        return tuple((shared.codec, shared.receive) for shared in named if shared)
