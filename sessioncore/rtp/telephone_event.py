"""Keys pressed, as RFC 4733 telephone-events: parse in batches, report each key once.

A key is many packets: updates with a growing duration, then the end three times.  Any of
them may be lost, late or doubled.  A key is named by its source (SSRC), its event and the RTP
timestamp of its beginning.  Senders differ: some give every key the same timestamp, some give
the end packets timestamps of their own, some start over with older timestamps.  So what came
before what is judged by SSRC and sequence number, and never by timestamps.
"""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import define, frozen

from sessioncore.vocabulary import MILLISECOND

__all__ = [
    "DIGITS",
    "EVENT_SIZE",
    "MOST_OCTETS",
    "Digit",
    "DigitDetector",
    "EventBatch",
    "build_event",
    "parse_events",
]

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

DIGITS: Final = "0123456789*#ABCD"
"""The keys by event code (section 3.2)."""
EVENT_SIZE: Final = 4
"""Octets of one event."""
_EVENT = struct.Struct("!BBH")
_MOST_EVENTS: Final = 8
"""Events of one packet that are read; senders put two into one, if any."""
MOST_OCTETS: Final = _MOST_EVENTS * EVENT_SIZE
"""Octets of a payload that are read."""
_UNITS_PER_MS: Final = 8
_LONGEST: Final = 0xFFFF
_WRAP: Final = 0xFFFF_FFFF
_MAX_MISORDER: Final = 100
"""RFC 3550 appendix A.1: sequence numbers further back belong to a sequence that began again."""
_FEW: Final = 3
"""A step of the sequence number with at most two packets lost: too few for a whole key."""
_MEMORY: Final = 8
"""Keys of a row that are remembered, so that none is reported twice."""
_AGAIN_AFTER: Final = 200 * MILLISECOND
"""After such a pause, a known key's first packet is another press: a recording played again."""
_LOST_AFTER: Final = 500 * MILLISECOND
"""A key of which nothing more came for so long has ended; packets come every 50 ms or less."""


@define(eq=False)
class EventBatch:
    """The events of n packets, in order: ``packet`` says in which one each of them was.

    ``place`` counts within the packet.  ``offset`` (timestamp units) is how much later than
    the packet's timestamp the event began: after those before it.  ``volume`` is in -dBm0,
    ``duration`` in timestamp units (8 per ms).
    """

    packet: Ints
    place: Ints
    offset: Ints
    event: Ints
    end: Bools
    volume: Ints
    duration: Ints


def parse_events(payloads: npt.NDArray[np.uint8], lengths: npt.ArrayLike) -> EventBatch:
    """The events of each payload (uint8[n, width], RFC 4733 sections 2.3 and 2.5.1.5).

    A payload shorter than `EVENT_SIZE` has none.  Of one packet at most eight are read, and
    none behind four octets of zeros, which are padding.
    """
    most = min(payloads.shape[1] // EVENT_SIZE, _MOST_EVENTS)
    words = payloads[:, : most * EVENT_SIZE].astype(np.int64).reshape(-1, most, EVENT_SIZE)
    event, flags = words[:, :, 0], words[:, :, 1]
    duration = words[:, :, 2] << 8 | words[:, :, 3]
    place = np.arange(most)
    there = place < (np.asarray(lengths, np.int64) // EVENT_SIZE)[:, None]
    there &= (place == 0) | (words != 0).any(axis=2)
    there = np.logical_and.accumulate(there, axis=1)
    packet, at = np.nonzero(there)
    before = np.cumsum(duration, axis=1) - duration
    return EventBatch(
        packet=packet,
        place=at,
        offset=before[packet, at],
        event=event[packet, at],
        end=(flags[packet, at] & 0x80) != 0,
        volume=flags[packet, at] & 0x3F,
        duration=duration[packet, at],
    )


def build_event(event: int, duration: int, *, end: bool = False, volume: int = 10) -> bytes:
    """One event; ``duration`` in timestamp units since the key went down, 65535 at most."""
    return _EVENT.pack(event, end << 7 | volume & 0x3F, min(duration, _LONGEST))


@frozen
class Digit:
    """A key that was pressed on ``row``: one of `DIGITS`, and for how many ms."""

    row: int
    digit: str
    duration: int


class DigitDetector:
    """Which key is down on each row, in columns; they grow with the highest row seen.

    The columns are those of the source (SSRC) whose key came last.  `_MEMORY` keys of a row are
    remembered with their sources, so a late packet of the source before is recognized.
    """

    def __init__(self, rows: int = 64) -> None:
        self._pressed = False
        """Whether a key may be down."""
        self._known = np.zeros(0, np.bool_)
        self._down = np.zeros(0, np.bool_)
        self._ended = np.zeros(0, np.bool_)
        """Whether the last key was seen to end; else it was given up, or is down."""
        self._wandering = np.zeros(0, np.bool_)
        """Whether packets of the last key had several timestamps."""
        self._ssrc = np.zeros(0, np.int64)
        self._sequence = np.zeros(0, np.int64)
        self._event = np.zeros(0, np.int64)
        self._timestamp = np.zeros(0, np.int64)
        self._before = np.zeros(0, np.int64)
        self._duration = np.zeros(0, np.int64)
        self._seen = np.zeros(0, np.int64)
        self._told = np.zeros(0, np.int64)
        """How many keys were remembered."""
        self._keys = np.full((0, _MEMORY), -1, np.int64)
        """SSRC and event of those remembered, and their timestamps."""
        self._stamps = np.zeros((0, _MEMORY), np.int64)
        self._grow(rows - 1)

    def reset(self, row: int) -> None:
        """Forget the row: another call has it."""
        if row < len(self._known):
            self._known[row] = self._down[row] = False
            self._keys[row] = -1

    def feed(
        self,
        rows: Ints,
        ssrc: Ints,
        sequence: Ints,
        timestamp: Ints,
        marker: Bools,
        events: EventBatch,
        now: int,
    ) -> list[Digit]:
        """Event packets in the order they came; returns the keys of which they are the end.

        ``rows`` says whose packet each is, ``ssrc`` to ``marker`` are those of the RTP headers,
        ``now`` is in ns.  Events that are not keys are passed over.
        """
        left = np.flatnonzero(events.event < len(DIGITS))
        if not len(left):
            return []
        packet = events.packet
        row, first = rows[packet], events.place == 0
        self._grow(int(np.max(row[left])))
        seen = _Seen(
            row,
            first,
            ssrc[packet],
            sequence[packet],
            timestamp[packet] + events.offset & _WRAP,
            marker[packet] & first,
            events.event,
            events.end,
            events.duration,
        )
        digits: list[Digit] = []
        while len(left):
            # A row has its turn once per step: `a[rows] = ...` would keep only the last one.
            turn = np.sort(np.unique(row[left], return_index=True)[1])
            digits += self._step(seen.only(left[turn]), now)
            left = np.delete(left, turn)
        return digits

    def expire(self, now: int) -> list[Digit]:
        """The keys whose end must have been lost; ask some times a second."""
        if not self._pressed:
            return []
        self._pressed = bool(self._down.any())
        rows = np.flatnonzero(self._down & (now - self._seen > _LOST_AFTER))
        return self._release(rows)

    def _step(self, seen: _Seen, now: int) -> list[Digit]:
        """One event for each of some rows."""
        rows, marker, end, duration = seen.row, seen.marker, seen.end, seen.duration
        source = self._known[rows] & (seen.ssrc == self._ssrc[rows])
        alike = source & (seen.event == self._event[rows])
        same = alike & (seen.timestamp == self._timestamp[rows])
        down = self._down[rows]
        key = seen.ssrc << 8 | seen.event
        stamps = self._stamps[rows] == seen.timestamp[:, None]
        told = ((self._keys[rows] == key[:, None]) & stamps).any(axis=1)

        step = (seen.sequence - self._sequence[rows] + 0x8000 & 0xFFFF) - 0x8000
        newer = source & ((step > 0) | (step <= -_MAX_MISORDER) | ~seen.first)
        near = newer & (step <= _FEW) & (step >= 0)
        contiguous = near & ((step == 1) | ~seen.first)

        # A key held for more than 8 s runs on as another segment (section 2.5.1.3).
        longer = alike & down & (self._duration[rows] == _LONGEST)
        longer &= (seen.timestamp - self._timestamp[rows] & _WRAP) == _LONGEST
        shorter = duration < self._duration[rows]
        # Packets of the key that is known, with timestamps of their own: nothing between them
        # and its others was lost, or too little for the beginning of another.
        own = alike & ~told & ~longer & ~marker
        wanders = own & down & near & (end | ~shorter)
        wanders |= own & ~down & end & (contiguous | near & self._wandering[rows])
        # The same key under the old timestamp: its first packet, or one after a gap that
        # begins to count once more.
        pause = now - self._seen[rows] > _AGAIN_AFTER
        again = told & marker & ~end & (newer | pause) & (~(same & down) | newer & shorter)
        gap = newer & ~contiguous & ~end & shorter
        again |= same & gap & (down | self._ended[rows])
        late = own & ~wanders & source & ~newer
        fresh = again | ~(same | told | longer | wanders | late)

        digits = self._release(rows[fresh & down])
        begun = fresh | longer
        self._begin(seen.only(begun), longer[begun])
        self._wandering[rows] = wanders | self._wandering[rows] & ~fresh
        followed = newer | fresh
        self._sequence[rows[followed]] = seen.sequence[followed]

        current = begun | ((same | wanders) & down)
        pressed = rows[current]
        self._duration[pressed] = np.maximum(self._duration[pressed], duration[current])
        self._seen[rows[current | newer]] = now
        ended = rows[current & end]
        digits += self._release(ended)
        self._ended[ended] = True
        return digits

    def _begin(self, seen: _Seen, longer: Bools) -> None:
        """The keys of these rows go down, or run on where they are ``longer``."""
        rows = seen.row
        self._before[rows] = np.where(longer, self._before[rows] + _LONGEST, 0)
        self._ssrc[rows] = seen.ssrc
        self._event[rows] = seen.event
        self._timestamp[rows] = seen.timestamp
        self._duration[rows] = 0
        self._known[rows] = self._down[rows] = True
        self._ended[rows] = False
        at = self._told[rows] % _MEMORY
        self._keys[rows, at] = seen.ssrc << 8 | seen.event
        self._stamps[rows, at] = seen.timestamp
        self._told[rows] += 1
        self._pressed = True

    def _release(self, rows: Ints) -> list[Digit]:
        """The keys of these rows are up again."""
        self._down[rows] = False
        total = (self._before[rows] + self._duration[rows]) // _UNITS_PER_MS
        keys = self._event[rows].tolist()
        return [
            Digit(row, DIGITS[key], duration)
            for row, key, duration in zip(rows.tolist(), keys, total.tolist(), strict=True)
        ]

    def _grow(self, row: int) -> None:
        if row < len(self._known):
            return
        more = max(row + 1 - len(self._known), len(self._known))
        for name, column in vars(self).items():
            if isinstance(column, np.ndarray):
                fill = -1 if name == "_keys" else 0
                widths: Any = [(0, more)] + [(0, 0)] * (column.ndim - 1)
                setattr(self, name, np.pad(column, widths, constant_values=fill))


class _Seen:
    """One event for each row, and what the header of its packet says."""

    __slots__ = (
        *("row", "first", "ssrc", "sequence", "timestamp", "marker"),
        *("event", "end", "duration"),
    )

    row: Ints
    first: Bools
    ssrc: Ints
    sequence: Ints
    timestamp: Ints
    marker: Bools
    event: Ints
    end: Bools
    duration: Ints

    def __init__(self, *columns: Ints | Bools) -> None:
        for name, column in zip(self.__slots__, columns, strict=True):
            setattr(self, name, column)

    def only(self, which: Ints | Bools) -> _Seen:
        """Some of them."""
        return _Seen(*(getattr(self, name)[which] for name in self.__slots__))
