"""Matches the RTP payload formats of both sides, and writes ours as SDP lines.

Payload type numbers belong to a direction (RFC 3264 section 5.1).  A `Shared` format has the
number that the peer wants to receive and the number that we want to receive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from sessioncore.errors import ConfigurationError
from sessioncore.explanation import Ground
from sessioncore.sdp.description import Formats, RtpMap
from sessioncore.sdp.targets import Refusal
from sessioncore.vocabulary import COMFORT_NOISE, TELEPHONE_EVENT, Codec

__all__ = [
    "PROTOCOL",
    "STATIC",
    "FormatMatch",
    "JudgedFormat",
    "MediaPolicy",
    "Proposal",
    "Shared",
    "accept_formats",
    "accept_remembered",
    "choose_ptime",
    "judge_formats",
    "propose",
]

PROTOCOL: Final = b"RTP/AVP"
STATIC: Final = {
    number.encode(): RtpMap(name, rate, channels)
    for number, name, rate, channels in (
        ("0", b"PCMU", 8000, 1),
        ("3", b"GSM", 8000, 1),
        ("4", b"G723", 8000, 1),
        ("5", b"DVI4", 8000, 1),
        ("6", b"DVI4", 16000, 1),
        ("7", b"LPC", 8000, 1),
        ("8", b"PCMA", 8000, 1),
        ("9", b"G722", 8000, 1),
        ("10", b"L16", 44100, 2),
        ("11", b"L16", 44100, 1),
        ("12", b"QCELP", 8000, 1),
        ("13", b"CN", 8000, 1),
        ("14", b"MPA", 90000, 1),
        ("15", b"G728", 8000, 1),
        ("16", b"DVI4", 11025, 1),
        ("17", b"DVI4", 22050, 1),
        ("18", b"G729", 8000, 1),
        ("25", b"CelB", 90000, 1),
        ("26", b"JPEG", 90000, 1),
        ("28", b"nv", 90000, 1),
        ("31", b"H261", 90000, 1),
        ("32", b"MPV", 90000, 1),
        ("33", b"MP2T", 90000, 1),
        ("34", b"H263", 90000, 1),
    )
}
"""RFC 3551 tables 4 and 5: the meaning of a number without rtpmap, supported or not."""

_MAX_CODECS: Final = 16


def _codecs(given: Iterable[Codec]) -> tuple[Codec, ...]:
    return tuple(given)


def _usable(_: object, __: object, value: tuple[Codec, ...]) -> None:
    if not 0 < len(set(value)) == len(value) <= _MAX_CODECS:
        raise ConfigurationError(f"codecs: give 1 to {_MAX_CODECS} different codecs")
    if COMFORT_NOISE in value or TELEPHONE_EVENT in value:
        raise ConfigurationError("DTMF and comfort noise are switches of the policy, not codecs")


def _sendable(_: object, __: object, value: int) -> None:
    if not 0 < value <= 200:
        raise ConfigurationError(f"a packet length of {value} ms is not usable; give 1 to 200")


@frozen(cache_hash=True)
class MediaPolicy:
    """The media that we accept: audio codecs in order of preference, DTMF, packet lengths.

    ``ptime`` is the packet length in ms that we ask for; ``sendable_ptimes`` are the lengths
    we can send, from which the peer's ``a=ptime`` chooses.  An answer follows the offer's order
    of codecs (RFC 3264 section 6.1), an offer has ours.
    """

    codecs: tuple[Codec, ...] = field(converter=_codecs, validator=_usable)
    ptime: int = field(default=20, validator=_sendable)
    dtmf: bool = True
    comfort_noise: bool = True
    sendable_ptimes: tuple[int, ...] = (20,)
    proposal: Proposal = field(init=False, eq=False, repr=False)
    """The formats of a first offer."""

    @proposal.default
    def _propose(self) -> Proposal:
        return _propose(self)

    @property
    def names(self) -> str:
        """The names of the codecs, for texts."""
        return ", ".join(map(str, self.codecs))


@frozen(eq=False)
class Proposal:
    """The formats of our own m-line with the payload types that we want to receive.

    Shared like `Formats`, so compared by identity.
    """

    audio: tuple[tuple[Codec, int], ...]
    dtmf: int | None
    comfort_noise: int | None
    policy: MediaPolicy
    lines: bytes = field(init=False)
    """Our m-line after its port, and the lines below it up to ``a=ptime``."""

    @lines.default
    def _write(self) -> bytes:
        formats = list(self.audio)
        if self.comfort_noise is not None:
            formats.append((COMFORT_NOISE, self.comfort_noise))
        if self.dtmf is not None:
            formats.append((TELEPHONE_EVENT, self.dtmf))
        lines = [" ".join([PROTOCOL.decode(), *[str(number) for _, number in formats]])]
        for codec, number in formats:
            channels = "" if codec.channels == 1 else f"/{codec.channels}"
            lines.append(f"a=rtpmap:{number} {codec}{channels}")
            if codec.fmtp:
                lines.append(f"a=fmtp:{number} {codec.fmtp}")
        lines.append(f"a=ptime:{self.policy.ptime}\r\n")
        return "\r\n".join(lines).encode()


class Shared(NamedTuple):
    """One format of both sides, with the payload types to send and to receive."""

    codec: Codec
    send: int
    receive: int


class FormatMatch(NamedTuple):
    """The formats that the peer's m-line has in common with ours.

    ``refusals`` are the reasons for the others, or why there is no agreement if ``agreed`` is
    empty.
    """

    audio: tuple[Shared, ...]
    dtmf: Shared | None
    comfort_noise: Shared | None
    refusals: tuple[Refusal, ...]
    answer: Proposal
    """The formats of our answer: one codec, with the offer's numbers."""
    agreed: Mapping[str, Any]
    """The fields of a `StreamAgreement` that follow from it."""


def _propose(policy: MediaPolicy, numbers: tuple[tuple[Codec, int], ...] = ()) -> Proposal:
    """The formats to offer; ``numbers`` are the payload types this stream already uses.

    RFC 3264 section 8.3.2: a number must not change its meaning within a session.
    """
    wanted = (*policy.codecs, COMFORT_NOISE, TELEPHONE_EVENT)
    known = dict(numbers)
    used = set(known.values())
    for codec in wanted:
        if codec not in known:
            free = (number for number in _candidates(codec) if number not in used)
            known[codec] = next(free)
            used.add(known[codec])
    return Proposal(
        tuple((codec, known[codec]) for codec in policy.codecs),
        known[TELEPHONE_EVENT] if policy.dtmf else None,
        known[COMFORT_NOISE] if policy.comfort_noise else None,
        policy,
    )


propose = lru_cache(maxsize=256)(_propose)


def _candidates(codec: Codec) -> Iterator[int]:
    yield codec.payload_type
    yield from range(96, 128)
    yield from range(35, 64)  # RFC 3551 section 6: unassigned, used after the dynamic ones


class JudgedFormat(NamedTuple):
    """What we make of one format of the peer's m-line: we share it, or there is a refusal.

    ``encoding`` is its meaning, or None if it has none.
    """

    text: bytes
    encoding: RtpMap | None
    shared: Shared | None
    refusal: Refusal | None


def judge_formats(proposal: Proposal, formats: Formats, is_answer: bool) -> list[JudgedFormat]:
    """What we make of each of the peer's formats, in its order and without repetitions.

    The receive number is the peer's own for an offer (our answer uses it), and ours for an
    answer (the peer follows our offer).
    """
    ours = _by_encoding(proposal)
    judged = []
    for text in dict.fromkeys(formats.numbers):
        found = _encoding(text, formats, proposal if is_answer else None)
        if isinstance(found, Refusal):
            judged.append(JudgedFormat(text, None, None, found))
            continue
        mine = ours.get((found.name.upper(), found.clock_rate, found.channels))
        if mine is None:
            why = Refusal(Ground.CODEC, f"PT {text.decode()} {found}: not supported")
            judged.append(JudgedFormat(text, found, None, why))
            continue
        codec, number = mine
        shared = Shared(codec, int(text), number if is_answer else int(text))
        judged.append(JudgedFormat(text, found, shared, None))
    return judged


def accept_formats(proposal: Proposal, formats: Formats, is_answer: bool) -> FormatMatch:
    """Match the peer's formats with ours, in the peer's order."""
    audio: list[Shared] = []
    refusals: list[Refusal] = []
    special: dict[Codec, Shared] = {}
    for _, _, shared, refusal in judge_formats(proposal, formats, is_answer):
        if shared is None:
            assert refusal is not None
            refusals.append(refusal)
        elif shared.codec is TELEPHONE_EVENT or shared.codec is COMFORT_NOISE:
            special.setdefault(shared.codec, shared)
        elif all(other.codec is not shared.codec for other in audio):
            audio.append(shared)
    if not audio and not refusals:
        refusals.append(Refusal(Ground.NO_CODEC, "no audio codec among the formats"))
    dtmf, noise = special.get(TELEPHONE_EVENT), special.get(COMFORT_NOISE)
    answer = Proposal(
        tuple((shared.codec, shared.receive) for shared in audio[:1]),
        None if dtmf is None else dtmf.receive,
        None if noise is None else noise.receive,
        proposal.policy,
    )
    ptime = choose_ptime(proposal.policy, formats.ptime, formats.maxptime)
    if audio and ptime is None:
        shortest = min(proposal.policy.sendable_ptimes)
        why = f"maxptime {formats.maxptime} ms: we send {shortest} ms and more"
        refusals = [Refusal(Ground.PACKET_LENGTH, why)]
    agreed = _agreed(audio, ptime, dtmf, noise, is_answer) if audio and ptime else {}
    return FormatMatch(tuple(audio), dtmf, noise, tuple(refusals), answer, agreed)


accept_remembered = lru_cache(maxsize=512)(accept_formats)
"""The same with a cache, for ``formats`` that are ``remembered``: most calls have the same."""


def _agreed(
    audio: list[Shared], ptime: int, dtmf: Shared | None, noise: Shared | None, is_answer: bool
) -> Mapping[str, Any]:
    codec, send, receive = audio[0]
    others: list[tuple[int, Codec]] = []
    if is_answer:
        # The peer may switch to them (RFC 3264 section 6.1); our answer names only one.
        others = [(other.receive, other.codec) for other in audio[1:]]
        others += _renumbered([*audio, *filter(None, (dtmf, noise))])
    return {
        "codec": codec,
        "send_payload_type": send,
        "receive_payload_type": receive,
        "ptime": ptime,
        "send_dtmf_payload_type": dtmf and dtmf.send,
        "receive_dtmf_payload_type": dtmf and dtmf.receive,
        "send_comfort_noise_payload_type": noise and noise.send,
        "receive_comfort_noise_payload_type": noise and noise.receive,
        "other_receive_payload_types": tuple(others),
    }


def _renumbered(shared: list[Shared]) -> Iterator[tuple[int, Codec]]:
    """The peer's numbers in an answer where they are not ours: it sends with them, too.

    It should use ours (RFC 3264 section 5.1), but many send as they want to receive.
    """
    used = {each.receive for each in shared}
    for each in shared:
        if each.send not in used:
            used.add(each.send)
            yield each.send, each.codec


def _by_encoding(proposal: Proposal) -> dict[tuple[bytes, int, int], tuple[Codec, int]]:
    formats = list(proposal.audio)
    if proposal.dtmf is not None:
        formats.append((TELEPHONE_EVENT, proposal.dtmf))
    if proposal.comfort_noise is not None:
        formats.append((COMFORT_NOISE, proposal.comfort_noise))
    return {
        (codec.name.upper().encode(), codec.clock_rate, codec.channels): (codec, number)
        for codec, number in formats
    }


def _encoding(text: bytes, formats: Formats, offered: Proposal | None) -> RtpMap | Refusal:
    """The meaning of a format; an answer without rtpmap means the number as we offered it."""
    if not text.isdigit() or len(text) > 3 or int(text) > 127:
        return Refusal(Ground.FORMAT_NUMBER, f"format {_shown(text)}: not an RTP payload type")
    found = formats.by_format.get(text) or STATIC.get(text)
    if found is not None:
        if len(found.name) > 32:
            why = f"PT {text.decode()}: an encoding name of over 32 characters"
            return Refusal(Ground.ENCODING_NAME, why)
        return found
    if offered is not None:
        for codec, number in _by_encoding(offered).values():
            if number == int(text):
                return RtpMap(codec.name.encode(), codec.clock_rate, codec.channels)
    return Refusal(Ground.NO_RTPMAP, f"PT {text.decode()}: no rtpmap")


def _shown(text: bytes) -> str:
    return "".join(c if c.isalnum() else "?" for c in text[:16].decode("ascii", "replace"))


def choose_ptime(policy: MediaPolicy, wish: int | None, longest: int | None) -> int | None:
    """The packet length in ms to send, or None if the peer accepts none of ours.

    ``wish`` is the peer's ``a=ptime``, ``longest`` its ``a=maxptime``.
    """
    possible = policy.sendable_ptimes
    if longest is not None:
        possible = tuple([ptime for ptime in possible if ptime <= longest])
    wanted = policy.ptime if wish is None else wish
    if wanted in possible:
        return wanted
    return min(possible, key=lambda ptime: (abs(ptime - wanted), ptime), default=None)
