"""The offer/answer machine of RFC 3264: one `OfferAnswer` per dialog, five states.

The machine pairs each offer with its answer, keeps the version in ``o=`` honest and knows
what is agreed.  It refuses before it moves: an offer that cannot be accepted raises and
leaves the state as it was, so an agreement that stands goes on standing.
"""

from __future__ import annotations

from copy import copy
from enum import Enum

from attrs import define

from sessioncore.errors import AnswerRefused, NegotiationError, SdpParseError, UnexpectedInput
from sessioncore.sdp.description import Description, MediaDescription, parse_description
from sessioncore.sdp.formats import MediaPolicy, Proposal, format_lines, propose
from sessioncore.sdp.streams import (
    PROTOCOL,
    Accepted,
    Side,
    accept_answer,
    accept_offer,
    agree,
    agreed_direction,
    is_hold,
    recheck,
)
from sessioncore.sdp.targets import check_target, read_host
from sessioncore.table import Machine, Table, Trace, impossible, on
from sessioncore.vocabulary import Address, Codec, Direction, NegotiatedMedia

__all__ = [
    "OFFER_ANSWER",
    "AnswerMade",
    "AnswerReceived",
    "AnswerUnusable",
    "MediaPolicy",
    "OfferAnswer",
    "OfferDropped",
    "OfferMade",
    "OfferReceived",
    "OfferRolledBack",
    "OfferState",
    "agreed_direction",
    "check_target",
]


class OfferState(Enum):
    """Where a dialog stands in RFC 3264's exchange."""

    NOTHING = "Nothing"
    OFFER_SENT = "OfferSent"
    OFFER_RECEIVED = "OfferReceived"
    AGREED = "Agreed"
    BROKEN = "Broken"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


@define(eq=False)
class _Sent:
    """An offer of ours that is out; ``rows`` holds our m-lines, None where the audio is."""

    rows: tuple[bytes | None, ...]
    proposal: Proposal
    direction: Direction
    local: Address
    own: tuple[Address, ...]


@define(eq=False)
class _Received:
    """An acceptable offer of the peer's."""

    body: bytes
    description: Description
    accepted: Accepted
    own: tuple[Address, ...]


@define(eq=False)
class OfferMade:
    """We send an offer."""

    offer: _Sent


@define(eq=False)
class OfferReceived:
    """The peer sent an offer that we can accept."""

    offer: _Received


@define(eq=False)
class _Agreement:
    media: NegotiatedMedia
    body: bytes
    description: Description
    accepted: Accepted
    rows: tuple[bytes | None, ...]


@define(eq=False)
class AnswerMade(_Agreement):
    """We answer the peer's offer."""


@define(eq=False)
class AnswerReceived(_Agreement):
    """The peer answered our offer acceptably."""


class AnswerUnusable:
    """The peer's answer breaks RFC 3264 or shares nothing; the exchange has no way back."""

    __slots__ = ()


class OfferDropped:
    """The pending offer was refused or withdrawn, and nothing was agreed before."""

    __slots__ = ()


class OfferRolledBack:
    """The pending offer was refused or withdrawn; the agreement before it stands."""

    __slots__ = ()


def _keep_sent(machine: OfferAnswer, given: OfferMade) -> tuple[()]:
    machine._sent = given.offer
    return ()


def _keep_received(machine: OfferAnswer, given: OfferReceived) -> tuple[()]:
    machine._received = given.offer
    return ()


def _forget(machine: OfferAnswer, _: object) -> tuple[()]:
    machine._sent = machine._received = None
    return ()


def _settle(machine: OfferAnswer, given: _Agreement) -> tuple[()]:
    old = machine._basis
    machine.changed = (
        old is None
        or old.media != given.media
        or old.description.origin_line != given.description.origin_line
    )
    machine._basis = given
    machine._sent = machine._received = None
    return ()


_S = OfferState
_AT_REST = (_S.NOTHING, _S.AGREED, _S.BROKEN)
_PENDING = (_S.OFFER_SENT, _S.OFFER_RECEIVED)
_ONE_AT_A_TIME = "one offer/answer at a time per dialog (RFC 3264 section 4): 491 or wait"

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
        impossible(_PENDING, OfferMade, OfferReceived, because=_ONE_AT_A_TIME),
        on(_S.OFFER_RECEIVED, AnswerMade, _S.AGREED, _settle),
        on(_S.OFFER_SENT, AnswerReceived, _S.AGREED, _settle),
        on(_S.OFFER_SENT, AnswerUnusable, _S.BROKEN, _forget),
        on(_PENDING, OfferDropped, _S.NOTHING, _forget),
        on(_PENDING, OfferRolledBack, _S.AGREED, _forget),
        impossible(
            (_S.OFFER_SENT, *_AT_REST), AnswerMade, because="there is no offer of the peer's"
        ),
        impossible(
            (_S.OFFER_RECEIVED, *_AT_REST),
            AnswerReceived,
            AnswerUnusable,
            because="there is no offer of ours",
        ),
        impossible(_AT_REST, OfferDropped, OfferRolledBack, because="no offer is pending"),
    ),
)
"""The machine; what is drawn in the reference."""


class OfferAnswer(Machine):
    """The descriptions of one dialog, both ways.

    ``local`` is where we receive RTP and may be set until it is first used; a port of 0 says
    that only the IP is known yet.  ``rtcp`` is where we receive RTCP if not on the next port.
    ``direction`` is what we wish, ``local_hold`` stops us from hearing; both count for the
    next offer or answer.  Calls that RFC 3264 rules out in this state raise
    `UnexpectedInput` (answer 491 to a request that brought an offer).
    """

    __slots__ = (
        "_basis",
        "_last_tail",
        "_received",
        "_sent",
        "_version",
        "changed",
        "direction",
        "local",
        "local_hold",
        "policy",
        "rtcp",
        "session_id",
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
        self.session_id = session_id
        self.direction = Direction.SENDRECV
        self.local_hold = False
        self.signalling_host = ""
        self.changed = False
        self._sent: _Sent | None = None
        self._received: _Received | None = None
        self._basis: _Agreement | None = None
        self._version = 0
        self._last_tail = b""

    @property
    def agreement(self) -> NegotiatedMedia | None:
        """What the last complete exchange agreed on; stands while a new offer is pending."""
        return None if self._basis is None else self._basis.media

    @property
    def has_pending_offer(self) -> bool:
        """Whether an offer of either side waits for its answer."""
        return self.state in _PENDING

    @property
    def remote_hold(self) -> bool:
        """Whether the peer's last agreed description says it does not want to hear us."""
        return self._basis is not None and is_hold(self._basis.accepted)

    @property
    def remote_description(self) -> Description | None:
        """The peer's description of the pending offer, else of the last agreement."""
        if self._received is not None:
            return self._received.description
        return None if self._basis is None else self._basis.description

    def make_offer(self, direction: Direction | None = None) -> bytes:
        """An offer to send; ``direction`` None means the wish of ``self.direction``."""
        self._require(OfferMade)
        local = self._usable_local()
        wish = self.direction if direction is None else direction
        offered = agreed_direction(Direction.SENDRECV, wish, self.local_hold)
        basis = self._basis
        rows: tuple[bytes | None, ...] = (None,) if basis is None else basis.rows
        proposal = propose(self.policy, self._numbers())
        times = (b"0 0",) if basis is None else basis.description.times
        body = self._describe(times, rows, proposal, offered, local)
        self.feed(OfferMade(_Sent(rows, proposal, offered, local, self._own())))
        return body

    def receive_offer(self, body: bytes, *, signalling_host: str = "") -> None:
        """Take an offer of the peer's, whose signalling came from the IP ``signalling_host``.

        Raises `SdpParseError` (400) or `NegotiationError` (488, with reasons); then nothing
        has changed.
        """
        self._require(OfferReceived)
        if signalling_host:
            self.signalling_host = signalling_host
        description = parse_description(body)
        own = self._own()
        accepted = accept_offer(description, self._side(propose(self.policy), own))
        self.feed(OfferReceived(_Received(body, description, accepted, own)))

    def make_answer(self) -> bytes:
        """The answer to the pending offer; from here on its agreement stands.

        Raises `NegotiationError`, with nothing changed, if ``local`` was set after the offer
        came and the offer points back at it or is of the other address family.
        """
        self._require(AnswerMade)
        local = self._usable_local()
        offer = self._received
        assert offer is not None
        accepted = offer.accepted
        own = self._own()
        if own != offer.own:
            recheck(accepted, own)
        direction = agreed_direction(accepted.direction, self.direction, self.local_hold)
        rows = _answer_rows(offer.description.media, accepted.index)
        proposal = _answer_proposal(accepted)
        body = self._describe(offer.description.times, rows, proposal, direction, local)
        media = NegotiatedMedia((agree(accepted, direction, local, ()),))
        self.feed(AnswerMade(media, offer.body, offer.description, accepted, rows))
        return body

    def receive_answer(self, body: bytes, *, signalling_host: str = "") -> NegotiatedMedia:
        """Take the answer to the pending offer.

        Raises `AnswerRefused` where it cannot be read or used; the call then ends by BYE.
        """
        self._require(AnswerReceived)
        if signalling_host:
            self.signalling_host = signalling_host
        offer = self._sent
        assert offer is not None
        try:
            description = parse_description(body)
            side = self._side(offer.proposal, offer.own)
            accepted = accept_answer(description, offer.rows.index(None), len(offer.rows), side)
        except (SdpParseError, NegotiationError) as error:
            self.feed(AnswerUnusable())
            if isinstance(error, AnswerRefused):
                raise
            raise AnswerRefused(f"the answer cannot be read: {error}", (str(error),)) from error
        direction = Direction(offer.direction & accepted.direction.mirrored)
        others = accepted.formats.audio[1:]
        media = NegotiatedMedia((agree(accepted, direction, offer.local, others),))
        self.feed(AnswerReceived(media, body, description, accepted, offer.rows))
        return media

    def withdraw(self) -> None:
        """The pending offer, of either side, was refused or given up: all is as before it."""
        self.feed(OfferDropped() if self._basis is None else OfferRolledBack())

    def fork(self) -> OfferAnswer:
        """A twin for another dialog of the same INVITE, in the same state (RFC 3261 13.2.2.4).

        Each fork of a call answers our one offer for itself; fork before the first answer.
        """
        twin = copy(self)
        twin._waiting = None
        return twin

    def is_repeat(self, body: bytes) -> bool:
        """Whether ``body`` only repeats the peer's description that stands.

        That takes the same ``o=`` line and the same media: a peer that forgets to raise the
        version when it holds is still heard.
        """
        basis = self._basis
        if basis is None:
            return False
        if body == basis.body:
            return True
        try:
            description = parse_description(body)
        except SdpParseError:
            return False
        return _content(description) == _content(basis.description)

    def make_refusing_answer(self, body: bytes) -> bytes:
        """A valid answer that refuses every m-line of an offer we cannot use.

        For an offer in a 2xx, which can only be answered (then BYE); changes no state.
        Raises `SdpParseError` where not even that can be read.
        """
        description = parse_description(body)
        rows = _answer_rows(description.media, None)
        nothing = Proposal((), None, None)
        local = self._usable_local()
        return self._describe(description.times, rows, nothing, Direction.INACTIVE, local)

    def perform(self, effect: object) -> None:
        """Actions of this table only keep what they are given; there are no effects."""
        raise AssertionError(effect)

    def _require(self, kind: type) -> None:
        if (self.state, kind) not in self.table.cells:
            raise UnexpectedInput(self.table.name, self.state, object.__new__(kind))

    def _usable_local(self) -> Address:
        if self.local is None or not self.local[1]:
            raise ValueError("OfferAnswer.local must be set before anything is sent")
        return self.local

    def _own(self) -> tuple[Address, ...]:
        if self.local is None:
            return ()
        return (self.local, self.rtcp or (self.local[0], self.local[1] + 1))

    def _side(self, proposal: Proposal, own: tuple[Address, ...]) -> Side:
        return Side(self.policy, proposal, own, self.signalling_host)

    def _numbers(self) -> tuple[tuple[Codec, int], ...]:
        """Payload types whose meaning this session has already fixed (RFC 3264 8.3.2)."""
        if self._basis is None:
            return ()
        formats = self._basis.accepted.formats
        named = (*formats.audio, formats.dtmf, formats.comfort_noise)
        return tuple((shared.codec, shared.receive) for shared in named if shared)

    def _describe(
        self,
        times: tuple[bytes, ...],
        rows: tuple[bytes | None, ...],
        proposal: Proposal,
        direction: Direction,
        local: Address,
    ) -> bytes:
        """A description of ours; the version rises only when the content does (RFC 3264 8)."""
        where = _where(local[0])
        formats, lines = format_lines(proposal, self.policy.ptime)
        audio = b"m=audio %d %b %b\r\n%b%ba=%b\r\n" % (
            local[1],
            PROTOCOL,
            formats,
            lines,
            b"" if self.rtcp is None else self._rtcp_line(local, self.rtcp),
            str(direction).encode(),
        )
        tail = b"s=-\r\nc=%b\r\nt=%b\r\n%b" % (
            where,
            b"\r\nt=".join(times),
            audio if rows == (None,) else b"".join([row or audio for row in rows]),
        )
        if tail != self._last_tail:
            self._last_tail = tail
            self._version += 1
        return b"v=0\r\no=- %d %d %b\r\n%b" % (self.session_id, self._version, where, tail)

    @staticmethod
    def _rtcp_line(local: Address, rtcp: Address) -> bytes:
        """RFC 3605: said only where RTCP is not on the next port of the same address."""
        if rtcp == (local[0], local[1] + 1):
            return b""
        if rtcp[0] == local[0]:
            return b"a=rtcp:%d\r\n" % rtcp[1]
        return b"a=rtcp:%d %b\r\n" % (rtcp[1], _where(rtcp[0]))


def _where(ip: str) -> bytes:
    """``IN IP4 192.0.2.1``, without the zone of a link-local IPv6 address."""
    host = read_host(ip)
    text = ip if host is None else host.text
    return f"IN {'IP6' if ':' in text else 'IP4'} {text.partition('%')[0]}".encode("ascii")


def _answer_rows(
    media: tuple[MediaDescription, ...], index: int | None
) -> tuple[bytes | None, ...]:
    """One m-line per offered one, in order (RFC 3264 section 6): None for ours, else port 0."""
    if index == 0 and len(media) == 1:
        return (None,)
    return tuple(
        None
        if position == index
        else b"m=%b 0 %b %b\r\n" % (line.kind, line.protocol, (line.formats or (b"0",))[0])
        for position, line in enumerate(media)
    )


def _answer_proposal(accepted: Accepted) -> Proposal:
    """Our side of an answer: one codec, so that nobody has to guess, with the offer's numbers."""
    audio = accepted.formats.audio[0]
    dtmf, noise = accepted.formats.dtmf, accepted.formats.comfort_noise
    return Proposal(
        ((audio.codec, audio.receive),),
        None if dtmf is None else dtmf.receive,
        None if noise is None else noise.receive,
    )


def _content(description: Description) -> object:
    return (
        description.origin_line,
        description.connection,
        description.attributes,
        [(media.line, media.below.lines) for media in description.media],
    )
