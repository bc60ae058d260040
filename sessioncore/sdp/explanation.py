"""Explains an offer or an answer: what was made of each m-line and each format, and why.

The explanation comes from the code that negotiates (`sessioncore.sdp.acceptance` and
`sessioncore.sdp.formats`), so it cannot differ from what a call does.  It is made on request:
nothing is kept for it during a call.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import attrs
from attrs import frozen

from sessioncore.explanation import ExplainedFormat, ExplainedMedia, Explanation, Ground, Use
from sessioncore.sdp.acceptance import Accepted, Side, agree, agreed_direction, judge
from sessioncore.sdp.description import (
    Description,
    Formats,
    MediaDescription,
    RtpMap,
    parse_description,
    split_sections,
)
from sessioncore.sdp.exchange import AnswerReceived
from sessioncore.sdp.formats import (
    STATIC,
    FormatMatch,
    JudgedFormat,
    MediaPolicy,
    Proposal,
    Shared,
    accept_formats,
    judge_formats,
)
from sessioncore.sdp.negotiation import OfferAnswer
from sessioncore.sdp.targets import NO_SOCKETS, Refusal, Sockets
from sessioncore.vocabulary import (
    COMFORT_NOISE,
    TELEPHONE_EVENT,
    Address,
    Codec,
    Direction,
    StreamAgreement,
    host_port,
)

__all__ = ["explain_answer", "explain_negotiation", "explain_offer", "proposal_of"]

_SENDRECV: Final = Direction.SENDRECV
_NOWHERE: Final = ("", 0)
_MOST_CODECS: Final = 16
_NOT_AUDIO: Final = ("TELEPHONE-EVENT", "CN", "RED", "TONE")
"""Formats of an audio stream that a call cannot begin with, at whatever clock rate."""
_ANY: Final = MediaPolicy((Codec("any", 96),), sendable_ptimes=(10, 20, 30, 40, 60))
"""A side that nothing is known of but its description."""


class _Source(NamedTuple):
    """A description, and its attribute lines for what negotiation does not read."""

    description: Description
    sections: list[list[bytes]] | None

    def lines(self, index: int, name: bytes) -> list[bytes]:
        """The values of all attributes of that name below one m-line."""
        if self.sections is None:
            return []
        start = b"a=" + name
        found = [line.partition(b":") for line in self.sections[index + 1]]
        return [value.strip() for head, _, value in found if head == start]

    def has(self, index: int, name: bytes) -> bool:
        """Whether an m-line has an attribute of that name."""
        return bool(self.lines(index, name))

    def fmtp(self, index: int, number: bytes) -> str | None:
        """The ``a=fmtp`` of a format."""
        for value in self.lines(index, b"fmtp"):
            format_, _, rest = value.partition(b" ")
            if format_ == number:
                return rest.strip().decode("utf-8", "replace")
        return None


def _read(given: bytes | Description) -> _Source:
    if isinstance(given, Description):
        return _Source(given, None)
    return _Source(parse_description(given), split_sections(given))


def explain_offer(
    offer: bytes | Description,
    policy: MediaPolicy | None = None,
    *,
    local: Address = _NOWHERE,
    signalling_host: str = "",
    sockets: Sockets = NO_SOCKETS,
    direction: Direction = _SENDRECV,
    local_hold: bool = False,
) -> Explanation:
    """What a side with ``policy`` makes of an offer.

    Without a policy, every codec that the offer names counts as known.  ``local`` is where we
    receive, ``signalling_host`` where the peer's SIP comes from, ``direction`` what we want;
    without them, the peer is taken to be where its description says, and everything is wanted.
    Raises `SdpParseError` if the offer cannot be read.
    """
    source = _read(offer)
    host = signalling_host or _described_host(source.description)
    explained: list[ExplainedMedia] = []
    agreement: StreamAgreement | None = None
    for media in source.description.media:
        proposal = proposal_of(media) if policy is None else policy.proposal
        side = (proposal, local, host, sockets)
        line = _Line(source, len(explained), side, direction, local_hold, False)
        judged, made = line.explain()
        if made is not None and agreement is not None:
            made, judged = None, _surplus(judged)
        agreement = agreement or made
        explained.append(judged)
    problem = None if explained else "the offer has no m-line"
    return Explanation(False, tuple(explained), agreement, problem, source.description.oddities)


def explain_answer(
    offer: bytes | Description,
    answer: bytes | Description,
    policy: MediaPolicy | None = None,
    *,
    local: Address = _NOWHERE,
    signalling_host: str = "",
    sockets: Sockets = NO_SOCKETS,
) -> Explanation:
    """What the side that made ``offer`` makes of the answer to it.

    ``policy`` is that of this side: the packet lengths that it can send; its codecs are those of
    the offer.  ``local`` is where it receives, ``signalling_host`` where the answer comes from;
    without it, the peer is taken to be where its description says.  Raises `SdpParseError` if one
    of them cannot be read.
    """
    offered, source = _read(offer).description, _read(answer)
    host = signalling_host or _described_host(source.description)
    count, due = len(source.description.media), len(offered.media)
    problem = None if count == due else f"the answer has {count} m-lines, the offer {due}"
    explained: list[ExplainedMedia] = []
    agreement: StreamAgreement | None = None
    for index, asked in zip(range(count), offered.media, strict=False):
        side = (proposal_of(asked, policy), local, host, sockets)
        line = _Line(source, index, side, asked.direction, False, True)
        judged, made = line.explain()
        # An answer without all the m-lines pairs nothing (RFC 3264 section 6).
        made = made if count >= due and agreement is None else None
        agreement = agreement or made
        explained.append(judged)
    explained += [_extra(index, source.description.media[index]) for index in range(due, count)]
    return Explanation(True, tuple(explained), agreement, problem, source.description.oddities)


def explain_negotiation(machine: OfferAnswer) -> Explanation | None:
    """The last complete exchange of a dialog, as this side negotiated it, or None.

    It explains the peer's description.  Of that only what negotiation reads is kept during a call,
    so the explanation has no ``fmtp`` and does not know of rtcp-mux.
    """
    settled = machine.settled
    if settled is None:
        return None
    audio = settled.media.audio
    side: dict[str, Any] = {
        "local": audio.local,
        "signalling_host": machine.signalling_host,
        "sockets": machine.sockets,
    }
    if isinstance(settled, AnswerReceived):
        return explain_answer(machine.description, settled.description, machine.policy, **side)
    wish, hold = machine.direction, machine.local_hold
    if agreed_direction(settled.accepted.direction, wish, hold) is not audio.direction:
        # They were set since then, for the next exchange.
        wish, hold = audio.direction, False
    return explain_offer(
        settled.description, machine.policy, direction=wish, local_hold=hold, **side
    )


def proposal_of(media: MediaDescription, policy: MediaPolicy | None = None) -> Proposal:
    """The formats of an m-line as those of the side that wrote it; up to 16 codecs.

    ``policy`` is that of the side, for the packet lengths that it can send.
    """
    formats = media.section.formats
    audio: dict[Codec, int] = {}
    special: dict[Codec, int] = {}
    for text in formats.numbers:
        meaning = formats.by_format.get(text) or STATIC.get(text)
        if meaning is None or not text.isdigit():
            continue
        codec = _codec(meaning, int(text))
        if codec is TELEPHONE_EVENT or codec is COMFORT_NOISE:
            special.setdefault(codec, int(text))
        elif codec.name.upper() not in _NOT_AUDIO and not any(_same(codec, each) for each in audio):
            audio[codec] = int(text)
    return Proposal(
        tuple(audio.items())[:_MOST_CODECS],
        special.get(TELEPHONE_EVENT),
        special.get(COMFORT_NOISE),
        policy or _ANY,
    )


def _codec(meaning: RtpMap, number: int) -> Codec:
    name = meaning.name.decode("ascii")
    for known in (TELEPHONE_EVENT, COMFORT_NOISE):
        if (name.upper(), meaning.clock_rate) == (known.name.upper(), known.clock_rate):
            return known
    return Codec(name, number, meaning.clock_rate, meaning.channels)


def _same(one: Codec, other: Codec) -> bool:
    return (one.name.upper(), one.clock_rate, one.channels) == (
        other.name.upper(),
        other.clock_rate,
        other.channels,
    )


def _described_host(description: Description) -> str:
    """The address of the first stream that has one."""
    for media in description.media:
        if media.port and media.connection is not None:
            return media.connection.address.decode("ascii", "replace").strip("[]")
    return ""


def _surplus(media: ExplainedMedia) -> ExplainedMedia:
    text = "an m-line before it carries the call, which has one audio stream"
    formats = tuple(
        each
        if each.use is Use.IGNORED
        else attrs.evolve(each, use=Use.IGNORED, text="its m-line is not used")
        for each in media.formats
    )
    return attrs.evolve(
        media,
        accepted=False,
        text=text,
        formats=formats,
        reasons=(text,),
        ground=Ground.ONE_STREAM,
    )


def _extra(index: int, media: MediaDescription) -> ExplainedMedia:
    text = "it was not offered"
    return _bare(index, media, False, text, reasons=(text,))


def _bare(
    index: int, media: MediaDescription, accepted: bool, text: str, **more: Any
) -> ExplainedMedia:
    kind, protocol = (_text(part) for part in media.form[:2])
    return ExplainedMedia(index, kind, protocol, media.port, accepted, text, **more)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


@frozen
class _Line:
    """One m-line with what it is judged by."""

    source: _Source
    index: int
    side: Side
    wish: Direction
    hold: bool
    is_answer: bool

    @property
    def media(self) -> MediaDescription:
        return self.source.description.media[self.index]

    def explain(self) -> tuple[ExplainedMedia, StreamAgreement | None]:
        """The explanation, and the agreement if it is accepted."""
        judged = judge(self.index, self.media, self.side, self.is_answer)
        formats = self._formats(isinstance(judged, Accepted))
        if not isinstance(judged, Accepted):
            return self._refused(judged, formats), None
        direction = agreed_direction(judged.direction, self.wish, self.hold)
        agreement = agree(judged, direction, self.side[1])
        return self._accepted(judged, agreement, formats), agreement

    def _refused(
        self, refusals: list[Refusal], formats: tuple[ExplainedFormat, ...]
    ) -> ExplainedMedia:
        reasons = tuple(refusal.text for refusal in refusals)
        ground = refusals[0].ground
        first = reasons[0].removeprefix(f"m-line {self.index + 1} ")
        text = "no format in common" if len(reasons) > 1 else first
        return _bare(
            self.index,
            self.media,
            False,
            text,
            formats=formats,
            reasons=reasons,
            ground=ground,
        )

    def _accepted(
        self,
        accepted: Accepted,
        agreement: StreamAgreement,
        formats: tuple[ExplainedFormat, ...],
    ) -> ExplainedMedia:
        return _bare(
            self.index,
            self.media,
            True,
            "it carries the call",
            formats=formats,
            remote=accepted.remote,
            remote_rtcp=accepted.remote_rtcp,
            rtcp_text=self._rtcp_text(accepted),
            direction=agreement.direction,
            direction_text=self._direction_text(accepted),
            ptime=agreement.ptime,
            ptime_text=self._ptime_text(agreement.ptime),
            dtmf_payload_type=agreement.send_dtmf_payload_type,
        )

    def _formats(self, usable: bool) -> tuple[ExplainedFormat, ...]:
        section, proposal = self.media.section, self.side[0]
        if section.form.kind != b"audio":
            return ()
        match = accept_formats(proposal, section.formats, self.is_answer)
        judged = judge_formats(proposal, section.formats, self.is_answer)
        return tuple(self._format(each, match, usable) for each in judged)

    def _format(self, judged: JudgedFormat, match: FormatMatch, usable: bool) -> ExplainedFormat:
        text, encoding, shared, refusal = judged
        if shared is None:
            use, why = Use.IGNORED, self._unshared(judged)
        elif usable:
            use, why = _use(shared, match, self.is_answer)
        else:
            use, why = Use.IGNORED, "its m-line is refused"
        return ExplainedFormat(
            _text(text),
            None if encoding is None else str(encoding),
            encoding is not None and text not in self.media.section.formats.by_format,
            self.source.fmtp(self.index, text),
            use,
            why,
            None if refusal is None else refusal.ground,
        )

    def _unshared(self, judged: JudgedFormat) -> str:
        """Why we do not share a format, in more detail than a Warning header has room for."""
        refusal, encoding = judged.refusal, judged.encoding
        assert refusal is not None
        if refusal.ground is Ground.CODEC and encoding is not None:
            return _why_not_ours(encoding, self.side[0], self.is_answer)
        return refusal.text.partition(": ")[2]

    def _direction_text(self, accepted: Accepted) -> str:
        said = self.media.direction
        who = "the answer" if self.is_answer else "the offer"
        if accepted.remote is None:
            return f"c= is an unspecified address, so {who} receives nothing (RFC 3264 section 8.4)"
        parts = [f"{who} says {said}"]
        if self.is_answer:
            parts.append(f"the offer said {self.wish}")
        elif self.wish is not _SENDRECV:
            parts.append(f"we want {self.wish}")
        if self.hold:
            parts.append("we hold")
        return ", ".join(parts)

    def _ptime_text(self, ptime: int) -> str:
        formats: Formats = self.media.section.formats
        longest = "" if formats.maxptime is None else f", a=maxptime:{formats.maxptime}"
        if formats.ptime is None:
            return f"no a=ptime{longest}"
        if formats.ptime == ptime:
            return f"as a=ptime asks{longest}"
        return f"a=ptime:{formats.ptime} asks for what this side does not send{longest}"

    def _rtcp_text(self, accepted: Accepted) -> str:
        muxed = self.source.has(self.index, b"rtcp-mux")
        mux = "; rtcp-mux is offered and not used" if muxed and not self.is_answer else ""
        if accepted.remote_rtcp is None:
            return f"nowhere{mux}"
        why = "the next port" if self.media.section.rtcp is None else "a=rtcp"
        return f"{host_port(*accepted.remote_rtcp)}: {why}{mux}"


def _use(shared: Shared, match: FormatMatch, is_answer: bool) -> tuple[Use, str]:
    """What becomes of a format that both sides have, and why."""
    if shared.codec is TELEPHONE_EVENT:
        if shared != match.dtmf:
            return Use.IGNORED, "another number for digits stands before it"
        return Use.ACCEPTED, "it carries digits"
    if shared.codec is COMFORT_NOISE:
        if shared != match.comfort_noise:
            return Use.IGNORED, "another number for comfort noise stands before it"
        return Use.ACCEPTED, "it carries comfort noise"
    if shared not in match.audio:
        return Use.IGNORED, "another number for the same codec stands before it"
    if shared is not match.audio[0] and shared != match.audio[0]:
        if is_answer:
            return Use.ACCEPTED, "the peer may switch to it at any time"
        return Use.IGNORED, "we have it too, and the answer names only the first"
    if is_answer:
        return Use.SENT, "the first format of the answer that was offered"
    return Use.SENT, "the first format of the offer that we have"


def _why_not_ours(encoding: RtpMap, proposal: Proposal, is_answer: bool) -> str:
    """How a format differs from what ``proposal`` has."""
    name = encoding.name.decode("ascii").upper()
    ours = [codec for codec, _ in proposal.audio]
    if proposal.dtmf is not None:
        ours.append(TELEPHONE_EVENT)
    if proposal.comfort_noise is not None:
        ours.append(COMFORT_NOISE)
    same = [codec for codec in ours if codec.name.upper() == name]
    have = "the offer has" if is_answer else "we have"
    if not same:
        if name == TELEPHONE_EVENT.name.upper():
            return "the offer has no digits at 8000 Hz" if is_answer else "digits are switched off"
        known = ", ".join(str(codec) for codec, _ in proposal.audio) or "no codec"
        return f"not offered; {have} {known}" if is_answer else f"unknown codec; {have} {known}"
    rates = {codec.clock_rate for codec in same}
    if encoding.clock_rate not in rates:
        return f"another clock rate; {have} {_listed(rates)} Hz"
    channels = {codec.channels for codec in same if codec.clock_rate == encoding.clock_rate}
    return f"another number of channels; {have} {_listed(channels)}"


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
