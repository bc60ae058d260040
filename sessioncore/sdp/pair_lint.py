"""Findings in an offer with its answer, and in a description that one side changed, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from attrs import frozen

from sessioncore.lint import LintFinding, LintRule, Severity, Values, lint
from sessioncore.sdp.acceptance import agreed_direction
from sessioncore.sdp.description import Description, RtpMap
from sessioncore.sdp.lint import DIGITS, NOT_AUDIO, Linted, LintedStream
from sessioncore.vocabulary import Direction

__all__ = [
    "CHANGE_RULES",
    "EXCHANGE_RULES",
    "Change",
    "Exchange",
    "lint_change",
    "lint_exchange",
]

_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE

# --- an offer and its answer


@frozen
class Exchange:
    """An offer and the answer to it."""

    offer: Linted
    answer: Linted

    @property
    def pairs(self) -> list[tuple[LintedStream, LintedStream]]:
        """The m-lines of both, in order, as far as both go."""
        return list(zip(self.offer.streams, self.answer.streams, strict=False))

    @property
    def audio(self) -> list[tuple[LintedStream, LintedStream]]:
        """The pairs that are audio in use on both sides."""
        return [pair for pair in self.pairs if pair[0].is_audio and pair[1].is_audio]


def _other_count(e: Exchange) -> Iterator[Values]:
    offered, answered = len(e.offer.streams), len(e.answer.streams)
    if e.offer.description and e.answer.description and offered != answered:
        yield {"answered": answered, "offered": offered}


def _other_order(e: Exchange) -> Iterator[Values]:
    for one, other in e.pairs:
        kinds = one.media.form.kind, other.media.form.kind
        if kinds[0] != kinds[1]:
            yield {"where": other.where, "offered": kinds[0], "answered": kinds[1]}


def _audio_refused(e: Exchange) -> Iterator[Values]:
    if e.offer.audio and e.answer.description and not e.audio:
        yield {}


def _profile_changed(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        protocols = one.media.form.protocol, other.media.form.protocol
        if protocols[0] != protocols[1]:
            yield {"where": other.where, "offered": protocols[0], "answered": protocols[1]}


def _key(meaning: RtpMap) -> tuple[bytes, int, int]:
    return (meaning.name.upper(), meaning.clock_rate, meaning.channels)


def _meanings(one: LintedStream, other: LintedStream) -> dict[bytes, tuple[bytes, int, int]]:
    """The meanings of an answer's formats, where those of the offer complete it."""
    found = {text: _key(meaning) for text, meaning in other.meanings.items()}
    for text, meaning in one.meanings.items():
        if text in other.media.formats:
            found.setdefault(text, _key(meaning))
    return found


def _nothing_common(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        offered = {_key(meaning) for meaning in one.meanings.values()}
        common = [key for key in _meanings(one, other).values() if key in offered]
        if not any(name not in NOT_AUDIO for name, _, _ in common):
            yield {"where": other.where, "offered": b" ".join(one.media.formats),
                   "answered": b" ".join(other.media.formats)}  # fmt: skip


def _not_offered(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        offered = {_key(meaning) for meaning in one.meanings.values()}
        for text, key in _meanings(one, other).items():
            if key not in offered:
                yield {"where": other.where, "number": text, "encoding": other.meanings[text]}


def _renumbered(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        numbers: dict[tuple[bytes, int, int], list[bytes]] = {}
        for text, meaning in one.meanings.items():
            numbers.setdefault(_key(meaning), []).append(text)
        for text, key in _meanings(one, other).items():
            known = numbers.get(key, [text])
            if text not in known:
                yield {"where": other.where, "encoding": key[0].decode("ascii", "replace"),
                       "offered": known[0], "answered": text}  # fmt: skip


def _mux_not_offered(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        if other.has(b"rtcp-mux") and not one.has(b"rtcp-mux"):
            yield {"where": other.where}


def _keys_not_offered(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        if other.has(b"crypto") and not one.has(b"crypto"):
            yield {"where": other.where}


def _direction_not_allowed(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        offered, answered = one.media.direction, other.media.direction
        if answered & ~offered.mirrored:
            yield {"where": other.where, "offered": offered, "answered": answered,
                   "allowed": offered.mirrored}  # fmt: skip


def _not_both_ways(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        agreed = agreed_direction(one.media.direction, other.media.direction, False)
        if agreed is not Direction.SENDRECV:
            yield {"where": other.where, "agreed": _TO_OFFERER[agreed],
                   "offered": one.media.direction, "answered": other.media.direction}  # fmt: skip


_TO_OFFERER: Final = {
    Direction.INACTIVE: "neither way",
    Direction.SENDONLY: "only to the side that offered",
    Direction.RECVONLY: "only to the side that answered",
}


def _same_address(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        if one.host is None or other.host is None or one.host.is_unspecified:
            continue
        if (one.host.text, one.media.port) == (other.host.text, other.media.port):
            yield {"where": other.where, "address": one.host.text, "port": one.media.port}


def _other_family(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        if one.host and other.host and one.host.is_ipv6 is not other.host.is_ipv6:
            yield {"where": other.where, "offered": one.host.text, "answered": other.host.text}


def _digits_refused(e: Exchange) -> Iterator[Values]:
    for one, other in e.audio:
        if one.named(DIGITS) and not any(
            key[0] == DIGITS for key in _meanings(one, other).values()
        ):
            yield {"where": other.where}


def _other_times(e: Exchange) -> Iterator[Values]:
    if e.offer.description and e.answer.description:
        offered, answered = e.offer.description.times, e.answer.description.times
        if offered != answered:
            yield {"offered": offered, "answered": answered}


EXCHANGE_RULES: Final[tuple[LintRule[Exchange], ...]] = (
    LintRule(
        "m-line-count",
        _ERROR,
        "RFC 3264 section 6",
        "the answer has {answered} m-lines, the offer {offered}",
        "Answer each m-line of the offer in its place, a refused one with port 0.",
        _other_count,
    ),
    LintRule(
        "m-line-order",
        _ERROR,
        "RFC 3264 section 6",
        "{answered} answers {offered}",
        "Answer each m-line of the offer in its place.",
        _other_order,
    ),
    LintRule(
        "audio-refused",
        _ERROR,
        "RFC 3264 section 6",
        "the answer refuses all audio: port 0, or no m=audio",
        "Ask why the answering side refuses; its codecs, profiles or policy may not allow it.",
        _audio_refused,
    ),
    LintRule(
        "profile-changed",
        _ERROR,
        "RFC 3264 section 6",
        "{offered} is answered with {answered}",
        "Answer with the profile of the offer, or refuse the stream.",
        _profile_changed,
    ),
    LintRule(
        "no-common-format",
        _ERROR,
        "RFC 3264 section 6.1",
        "no audio codec of the answer ({answered}) was offered ({offered})",
        "Allow a common codec on both sides; PCMU and PCMA work nearly everywhere.",
        _nothing_common,
    ),
    LintRule(
        "other-family-answered",
        _ERROR,
        "RFC 6157",
        "the offer names {offered} and the answer {answered}",
        "Let both sides use IPv4 or both IPv6, or put a media relay between them.",
        _other_family,
    ),
    LintRule(
        "same-address",
        _WARNING,
        "RFC 3264 section 5.1",
        "offer and answer name the same address and port, {address} port {port}",
        "One of them copied the other's description; each must name its own address.",
        _same_address,
    ),
    LintRule(
        "direction-not-allowed",
        _WARNING,
        "RFC 3264 section 6.1",
        "{offered} is answered with {answered}",
        "Answer {offered} with {allowed} or less.",
        _direction_not_allowed,
    ),
    LintRule(
        "not-both-ways",
        _WARNING,
        "RFC 3264 section 6.1",
        "audio is agreed {agreed}: {offered} was answered with {answered}",
        "If neither side holds the call, write a=sendrecv or nothing in both.",
        _not_both_ways,
    ),
    LintRule(
        "format-renumbered",
        _WARNING,
        "RFC 3264 section 6.1",
        "{encoding} was offered as {offered} and is answered as {answered}",
        "Answer with the number of the offer; some peers send and expect only that one.",
        _renumbered,
    ),
    LintRule(
        "format-not-offered",
        _NOTE,
        "RFC 3264 section 6.1",
        "{encoding} ({number}) was not offered",
        "It cannot be used before it is offered; leave it out.",
        _not_offered,
    ),
    LintRule(
        "rtcp-mux-not-offered",
        _WARNING,
        "RFC 5761 section 5.1.1",
        "a=rtcp-mux is answered and was not offered",
        "Leave it out of the answer; RTCP may go to a port where nobody expects it.",
        _mux_not_offered,
    ),
    LintRule(
        "keys-not-offered",
        _WARNING,
        "RFC 4568 section 5.1.2",
        "a=crypto is answered and was not offered",
        "Leave it out of the answer; what is sent must not be encrypted.",
        _keys_not_offered,
    ),
    LintRule(
        "digits-not-answered",
        _NOTE,
        "RFC 4733 section 2.1",
        "telephone-event was offered and is not answered",
        "Digits can only be sent as tones in the audio or by INFO.",
        _digits_refused,
    ),
    LintRule(
        "time-changed",
        _NOTE,
        "RFC 3264 section 6",
        "t={offered} is answered with t={answered}",
        "Repeat the t= line of the offer.",
        _other_times,
    ),
)
"""What can be found in an offer with its answer, beside what is in each of them."""


def lint_exchange(offer: bytes, answer: bytes) -> tuple[LintFinding, ...]:
    """The findings between an offer and its answer, the worst first; raises nothing.

    What is wrong in one of them alone is for `lint_description`.
    """
    return lint(EXCHANGE_RULES, Exchange(Linted(offer), Linted(answer)))


# --- a description and the next one of the same side


@frozen
class Change:
    """Two descriptions in a row of one side of a dialog."""

    earlier: Linted
    later: Linted

    @property
    def both(self) -> tuple[Description, Description] | None:
        """Both, read, or None."""
        pair = self.earlier.description, self.later.description
        return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])


def _content(body: bytes) -> list[bytes]:
    """What a version stands for: all lines but ``o=``."""
    lines = body.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    return [line.strip() for line in lines if not line.startswith(b"o=")]


def _not_raised(c: Change) -> Iterator[Values]:
    if c.both is None:
        return
    one, other = (each.origin for each in c.both)
    same = one.session_id == other.session_id and one.version == other.version
    if same and _content(c.earlier.body) != _content(c.later.body):
        yield {"version": other.version}


def _not_by_one(c: Change) -> Iterator[Values]:
    if c.both is None:
        return
    one, other = (each.origin for each in c.both)
    if one.session_id == other.session_id and other.version - one.version not in (0, 1):
        yield {"earlier": one.version, "later": other.version}


def _other_session(c: Change) -> Iterator[Values]:
    if c.both is None:
        return
    one, other = (each.origin for each in c.both)
    if one.session_id != other.session_id:
        yield {"earlier": one.session_id, "later": other.session_id}


def _fewer_streams(c: Change) -> Iterator[Values]:
    if c.both is not None and len(c.both[1].media) < len(c.both[0].media):
        yield {"earlier": len(c.both[0].media), "later": len(c.both[1].media)}


CHANGE_RULES: Final[tuple[LintRule[Change], ...]] = (
    LintRule(
        "m-lines-removed",
        _ERROR,
        "RFC 3264 section 8",
        "the description had {earlier} m-lines and now has {later}",
        "Keep every m-line; one that is not used any more gets port 0.",
        _fewer_streams,
    ),
    LintRule(
        "version-not-raised",
        _WARNING,
        "RFC 3264 section 8",
        "the description changed, and its version in o= is still {version}",
        "Raise the version by one with each change; peers may ignore the change otherwise.",
        _not_raised,
    ),
    LintRule(
        "version-step",
        _NOTE,
        "RFC 3264 section 8",
        "the version in o= went from {earlier} to {later}",
        "Raise it by exactly one with each change.",
        _not_by_one,
    ),
    LintRule(
        "session-id-changed",
        _WARNING,
        "RFC 3264 section 8",
        "the session id in o= changed from {earlier} to {later} within a dialog",
        "Keep all of o= but the version.",
        _other_session,
    ),
)
"""What can be found between two descriptions of one side of a dialog."""


def lint_change(*bodies: bytes) -> tuple[LintFinding, ...]:
    """The findings between descriptions that one side sent in this order; raises nothing."""
    linted = [Linted(body) for body in bodies]
    return tuple(
        finding
        for earlier, later in pairwise(linted)
        for finding in lint(CHANGE_RULES, Change(earlier, later))
    )
