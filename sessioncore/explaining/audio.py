"""Compares the RTP that was seen with what the descriptions of a call agreed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from attrs import define, field, frozen

from sessioncore.explaining.calls import Exchange, SeenCall
from sessioncore.explaining.rtp_streams import SeenStream
from sessioncore.explaining.seen import Seen
from sessioncore.sdp.acceptance import agreed_direction
from sessioncore.sdp.lint import NOT_AUDIO, Linted, LintedStream
from sessioncore.sdp.pair_lint import Exchange as LintedExchange
from sessioncore.vocabulary import SECOND, Address

__all__ = ["Audio", "Period", "Way", "audio_of"]

_AROUND: Final = 2 * SECOND
"""RTP may come so long before the answer is seen, and go on so long after the end."""
_SETTLE: Final = SECOND
"""So long after a new agreement RTP may still be as before; half as long before, as after it."""
_SHORT: Final = SECOND
_SHORT_BETWEEN: Final = 5 * SECOND // 2
"""Agreements that did not last so long are not judged by their RTP."""
_CLOCK: Final = 8_000


@frozen
class End:
    """One side of an agreement: its letter, its m-line, the hosts its SIP comes from."""

    letter: str
    stream: LintedStream
    sip_host: str

    @cached_property
    def address(self) -> Address | None:
        """Where its description says that it receives; None for 0.0.0.0 and names."""
        host = self.stream.host
        if host is None or host.is_unspecified:
            return None
        return host.text, self.stream.media.port

    @property
    def translated(self) -> Address | None:
        """The described port at the host that SIP comes from; None if that is not known."""
        return (self.sip_host, self.stream.media.port) if self.sip_host else None


@define(eq=False)
class Way:
    """One direction of the audio in one period.

    ``streams`` are those that fit; ``expected`` says whether the agreement allows the direction.
    """

    sender: End
    receiver: End
    expected: bool
    since: int
    until: int
    streams: list[SeenStream] = field(factory=list)

    @property
    def name(self) -> str:
        """``A -> B``."""
        return f"{self.sender.letter} -> {self.receiver.letter}"

    @property
    def seconds(self) -> float:
        """How long the direction was agreed on."""
        return (self.until - self.since) / SECOND

    @property
    def packets(self) -> int:
        """The packets of all its streams."""
        return sum(stream.packets for stream in self.streams)

    @property
    def pauses(self) -> list[tuple[int, int]]:
        """Begin and end of the times in which nothing was heard, of a second and more."""
        found = []
        for stream in self.streams:
            edges = (self.since, stream.first), (stream.last, self.until)
            for gap in (*stream.gaps, *edges):
                begin, end = max(gap[0], self.since), min(gap[1], self.until)
                others = (each for each in self.streams if each is not stream)
                if end - begin >= SECOND and not any(one.is_heard(begin, end) for one in others):
                    found.append((begin, end))
        return sorted(set(found))

    @property
    def runs(self) -> bool:
        """Whether RTP was heard for at least half of the time."""
        silent = sum(end - begin for begin, end in self.pauses)
        return bool(self.streams) and 2 * silent <= self.until - self.since

    @cached_property
    def numbers(self) -> set[int]:
        """Payload types that may come: of the receiver, and of a sender that renumbers."""
        listed = (*self.receiver.stream.media.formats, *self.sender.stream.media.formats)
        return {int(text) for text in listed if text.isdigit() and len(text) <= 3}

    def encoding(self, payload_type: int) -> str:
        """The meaning of a payload type as both sides described it, or a question mark."""
        text = b"%d" % payload_type
        for end in (self.receiver, self.sender):
            meaning = end.stream.meanings.get(text)
            if meaning is not None:
                return str(meaning)
        return "?"

    def clock(self, stream: SeenStream) -> int:
        """The RTP clock rate of a stream."""
        text = b"%d" % stream.payload_type
        for end in (self.receiver, self.sender):
            meaning = end.stream.meanings.get(text)
            if meaning is not None:
                return meaning.clock_rate
        return _CLOCK

    @property
    def translated(self) -> tuple[Address | None, Address | None]:
        """Target and source behind a NAT: the described ports, at the hosts that SIP comes from."""
        return self.receiver.translated, self.sender.translated

    @property
    def agreed(self) -> str:
        """The formats of the audio that were agreed on, for people."""
        names = [
            f"{text.decode('ascii', 'replace')} {meaning}"
            for text, meaning in self.receiver.stream.meanings.items()
            if meaning.name.upper() not in NOT_AUDIO
        ]
        return ", ".join(names) or "none"


@define(eq=False)
class Period:
    """The time in which one agreement was in force."""

    exchange: Exchange
    since: int
    until: int
    ways: tuple[Way, Way]
    is_last: bool = True

    @property
    def is_judged(self) -> bool:
        """Whether it lasted long enough to say which RTP is missing."""
        alone = self.exchange.number == 1 and self.is_last
        return self.until - self.since >= (_SHORT if alone else _SHORT_BETWEEN)

    @property
    def has_audio(self) -> bool:
        """Whether any RTP of it was seen."""
        return any(way.streams for way in self.ways)


@define(eq=False)
class Audio:
    """The audio of one call; ``captured`` says whether the file holds any RTP at that time."""

    periods: list[Period]
    captured: bool

    @property
    def ways(self) -> list[Way]:
        """All directions of all periods."""
        return [way for period in self.periods for way in period.ways]

    @property
    def streams(self) -> list[tuple[Way, SeenStream]]:
        """Each stream once, with the first direction that it fits."""
        found: dict[int, tuple[Way, SeenStream]] = {}
        for way in self.ways:
            for stream in way.streams:
                found.setdefault(id(stream), (way, stream))
        return list(found.values())


def audio_of(calls: Sequence[SeenCall], seen: Seen) -> list[Audio]:
    """The audio that the descriptions of each call agreed on, and what of it was seen.

    A stream belongs to the agreements whose addresses it fits best: two calls may share one of
    their addresses.
    """
    found = []
    places: dict[Address, list[_Place]] = {}
    for call in calls:
        ends_at = call.ended_at or max(call.ends_at, seen.last_at)
        periods = list(_periods(call, ends_at))
        found.append(Audio(periods, False))
        for period in periods:
            period.is_last = not any(each.since >= period.until for each in periods)
            for way in period.ways:
                _place(places, way, *_open_for(period))
    streams = list(seen.rtp.streams.values())
    for stream in streams:
        _assign(stream, places)
    for call, audio in zip(calls, found, strict=True):
        since, until = call.begins_at, (call.ended_at or max(call.ends_at, seen.last_at)) + _AROUND
        audio.captured = any(each.first <= until and each.last >= since for each in streams)
    return found


def _periods(call: SeenCall, ends_at: int) -> Iterator[Period]:
    """One period for each agreement, on each hop, until the next one there."""
    answered = [each for each in call.exchanges if each.answer is not None]
    for exchange in answered:
        later = [
            each.answered_at
            for each in answered
            if each.number > exchange.number
            and each.hop == exchange.hop
            and each.answered_at > exchange.answered_at
        ]
        until = min(later, default=max(ends_at, exchange.answered_at))
        period = _period(call, exchange, until)
        if period is not None:
            yield period


def _period(call: SeenCall, exchange: Exchange, until: int) -> Period | None:
    assert exchange.answer is not None
    sighting, body = exchange.answer
    pairs = LintedExchange(Linted(exchange.body), Linted(body)).audio
    if not pairs:
        return None
    offered, answered = pairs[0]
    offerer, answerer = (
        End(call.letter(source), stream, "" if source is None else source[0])
        for source, stream in ((exchange.offer.source, offered), (sighting.source, answered))
    )
    direction = agreed_direction(offered.media.direction, answered.media.direction, False)
    since = exchange.answered_at
    ways = (
        Way(offerer, answerer, _expected(direction.receives, answerer), since, until),
        Way(answerer, offerer, _expected(direction.sends, offerer), since, until),
    )
    return Period(exchange, since, until, ways)


def _expected(allowed: bool, receiver: End) -> bool:
    return allowed and receiver.address is not None


class _Place(NamedTuple):
    """A direction, and the time in which its streams are heard."""

    way: Way
    since: int
    until: int


def _open_for(period: Period) -> tuple[int, int]:
    """The time in which what is heard belongs to a period."""
    is_first = period.exchange.number == 1
    since = period.since - _AROUND if is_first else period.since + _SETTLE
    until = period.until + _AROUND if period.is_last else period.until - _SETTLE // 2
    return since, until


def _place(places: dict[Address, list[_Place]], way: Way, since: int, until: int) -> None:
    """Enter a direction under each address that may be the source or target of its streams."""
    place = _Place(way, since, until)
    for address in {way.receiver.address, way.sender.address, *way.translated}:
        if address is not None:
            places.setdefault(address, []).append(place)


def _assign(stream: SeenStream, places: dict[Address, list[_Place]]) -> None:
    candidates = {
        id(place): place
        for address in (stream.source, stream.destination)
        for place in places.get(address, ())
        if stream.is_heard(place.since, place.until)
    }
    fits = [(_fit(place.way, stream), place.way) for place in candidates.values()]
    best = max((fit for fit, _ in fits), default=0)
    for fit, way in fits:
        if fit == best > 0:
            way.streams.append(stream)


def _fit(way: Way, stream: SeenStream) -> int:
    """How well a stream fits a direction by its addresses; 0 if it does not."""
    fit = 4 * (stream.destination == way.receiver.address)
    fit += 3 * (stream.source == way.sender.address)
    if fit:
        return fit
    target, origin = way.translated
    return 2 * (stream.destination == target) + (stream.source == origin)
