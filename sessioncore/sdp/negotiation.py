"""The offer/answer machine of RFC 3264: one `OfferAnswer` per dialog, five states.

The machine pairs each offer with its answer, maintains the version in ``o=`` and holds the
agreement.  It refuses before it changes state: an offer that cannot be accepted raises, and the
agreement in force stays in force.
"""

from __future__ import annotations

from typing import Final

from sessioncore.errors import AnswerRefused, NegotiationError, SdpParseError, UnexpectedInput
from sessioncore.sdp.acceptance import (
    accept_answer,
    accept_offer,
    agree,
    agreed_direction,
    recheck,
)
from sessioncore.sdp.authoring import HEAD, OURS, Rows, answer_rows, write_content
from sessioncore.sdp.description import parse_description
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
from sessioncore.sdp.formats import FormatMatch, MediaPolicy, Proposal, propose
from sessioncore.sdp.targets import NO_SOCKETS, Sockets
from sessioncore.table import Machine, Trace
from sessioncore.vocabulary import Address, Codec, Direction, NegotiatedMedia

__all__ = [
    "OFFER_ANSWER",
    "MediaPolicy",
    "OfferAnswer",
    "OfferState",
    "agreed_direction",
]


_SENDRECV: Final = Direction.SENDRECV
_NOWHERE: Final = ("", 0)


class OfferAnswer(Machine):
    """The descriptions of one dialog, both ways.

    ``local`` is the address for RTP, with RTCP on the next port.  It may be set until it is
    first used; port 0 means that only the IP is known yet.  ``direction`` is the direction we
    want, and ``local_hold`` stops receiving; both apply to the next offer or answer.
    ``sockets`` are our SIP sockets, which must not receive media.
    ``version`` rises only if our description changes (RFC 3264 section 8).  Methods that RFC
    3264 rules out in the current state raise `UnexpectedInput` (answer 491 to a request that
    brought an offer).
    """

    table = OFFER_ANSWER
    direction = _SENDRECV
    local_hold = False
    signalling_host = ""
    sockets: Sockets = NO_SOCKETS
    changed = False
    sent: OfferMade | None = None
    received: OfferReceived | None = None
    settled: Settled | None = None
    version = 0
    _content = b""

    def __init__(
        self,
        policy: MediaPolicy,
        local: Address | None,
        session_id: int,
        trace: Trace | None = None,
    ) -> None:
        self.trace = trace
        self.policy = policy
        self.local = local or _NOWHERE
        self.session_id = session_id

    @property
    def agreement(self) -> NegotiatedMedia | None:
        """The agreement of the last complete exchange; in force while a new offer is pending."""
        return None if self.settled is None else self.settled.media

    @property
    def description(self) -> bytes:
        """Our description as we wrote it last; empty before the first one."""
        content = self._content
        return HEAD % (self.session_id, self.version, content) if content else b""

    @property
    def has_pending_offer(self) -> bool:
        """Whether an offer of either side waits for its answer."""
        return self.state in PENDING

    def make_offer(self, direction: Direction | None = None) -> bytes:
        """An offer to send; ``direction`` None means ``self.direction``."""
        if self.state in PENDING:
            raise self._unexpected(OfferMade)
        own = self._ready()
        wish = self.direction if direction is None else direction
        offered = agreed_direction(_SENDRECV, wish, self.local_hold)
        basis = self.settled
        if basis is None:
            rows, proposal, times = OURS, self.policy.proposal, b"0 0"
        else:
            rows, times = basis.rows, basis.description.times
            proposal = propose(self.policy, _numbers(basis.accepted.formats))
        body = self._describe(rows, proposal, offered, own, times)
        self.feed(OfferMade(rows, proposal, offered, own))
        return body

    def receive_offer(self, body: bytes, *, signalling_host: str = "") -> None:
        """Process an offer from the peer, whose signalling came from the IP ``signalling_host``.

        Raises `SdpParseError` (400) or `NegotiationError` (488, with reasons); then the state
        is unchanged.
        """
        if self.state in PENDING:
            raise self._unexpected(OfferReceived)
        if signalling_host:
            self.signalling_host = signalling_host
        description = parse_description(body)
        own = self.local
        accepted = accept_offer(
            description, (self.policy.proposal, own, self.signalling_host, self.sockets)
        )
        self.feed(OfferReceived(description, accepted, own))

    def make_answer(self) -> bytes:
        """The answer to the pending offer; its agreement is in force from now on.

        Raises `NegotiationError`, with the state unchanged, if ``local`` was set after the
        offer came and the offer names that address or is of the other address family.
        """
        offer = self.received
        if offer is None:
            raise self._unexpected(AnswerMade)
        own = self._ready()
        description, accepted = offer.description, offer.accepted
        recheck(accepted, own, offer.own)
        direction = agreed_direction(accepted.direction, self.direction, self.local_hold)
        media = description.media
        rows = OURS if len(media) == 1 else answer_rows(media, accepted.index)
        body = self._describe(rows, accepted.formats.answer, direction, own, description.times)
        agreement = NegotiatedMedia((agree(accepted, direction, own),))
        self.feed(AnswerMade(agreement, description, accepted, rows))
        return body

    def receive_answer(self, body: bytes, *, signalling_host: str = "") -> NegotiatedMedia:
        """Process the answer to the pending offer.

        Raises `AnswerRefused` if it cannot be read or used; the call then ends with BYE.
        """
        offer = self.sent
        if offer is None:
            raise self._unexpected(AnswerReceived)
        if signalling_host:
            self.signalling_host = signalling_host
        try:
            description = parse_description(body)
            side = (offer.proposal, offer.own, self.signalling_host, self.sockets)
            accepted = accept_answer(description, offer.rows.index(None), len(offer.rows), side)
        except (SdpParseError, NegotiationError) as error:
            self.feed(AnswerUnusable())
            if isinstance(error, AnswerRefused):
                raise
            raise AnswerRefused(f"the answer cannot be read: {error}", (str(error),)) from error
        direction = agreed_direction(accepted.direction, offer.direction, False)
        media = NegotiatedMedia((agree(accepted, direction, offer.own),))
        self.feed(AnswerReceived(media, description, accepted, offer.rows))
        return media

    def withdraw(self) -> None:
        """The pending offer, of either side, was refused or withdrawn: restore the state before."""
        self.feed(OfferDropped() if self.settled is None else OfferRolledBack())

    def fork(self) -> OfferAnswer:
        """A copy for another dialog of the same INVITE, in the same state (RFC 3261 13.2.2.4).

        Each fork of a call answers our one offer separately; fork before the first answer.
        """
        twin = OfferAnswer(self.policy, self.local, self.session_id, self.trace)
        # Offers and agreements are never changed, so both can share them.
        vars(twin).update(vars(self))
        return twin

    def make_refusing_answer(self, body: bytes) -> bytes:
        """A valid answer that refuses every m-line of an offer that we cannot use.

        For an offer in a 2xx, which must be answered (then BYE); changes no state.
        Raises `SdpParseError` if the offer cannot be read.
        """
        description = parse_description(body)
        rows = answer_rows(description.media, None)
        return self._describe(
            rows, self.policy.proposal, Direction.INACTIVE, self._ready(), description.times
        )

    def perform(self, effect: object) -> None:
        """Does nothing: the actions of this table only store their input."""
        raise AssertionError(effect)

    def _unexpected(self, kind: type) -> UnexpectedInput:
        return UnexpectedInput(self.table.name, self.state, object.__new__(kind))

    def _ready(self) -> Address:
        """Our address for RTP, which must be set by now."""
        local = self.local
        if not local[1]:
            raise ValueError("OfferAnswer.local is not set; set it before an offer or answer")
        return local

    def _describe(
        self, rows: Rows, proposal: Proposal, direction: Direction, own: Address, times: bytes
    ) -> bytes:
        content = write_content(rows, proposal, direction, own, times)
        if content != self._content:
            self._content = content
            self.version += 1
        return HEAD % (self.session_id, self.version, content)


def _numbers(formats: FormatMatch) -> tuple[tuple[Codec, int], ...]:
    """Payload types that this session already uses (RFC 3264 8.3.2)."""
    named = (*formats.audio, formats.dtmf, formats.comfort_noise)
    return tuple((shared.codec, shared.receive) for shared in named if shared)
