"""RFC 4733 telephone events: parses them in batches, and reports each key press once.

A key press is many packets: updates with a growing duration, then the end three times.  Any of
them may be lost, late or duplicated.  The RTP timestamp is the start of the key press and
identifies it.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import define, frozen

from sessioncore.vocabulary import MILLISECOND

__all__ = [
    "DIGITS",
    "EVENT_SIZE",
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
_UNITS_PER_MS: Final = 8
_LONGEST: Final = 0xFFFF
_OLD: Final = 5 * 1000 * _UNITS_PER_MS
"""A timestamp at most this many units behind the newest key is that of a late packet."""
_WRAP: Final = 0xFFFF_FFFF
_AGAIN_AFTER: Final = 200 * MILLISECOND
_LOST_AFTER: Final = 500 * MILLISECOND
"""A key without packets for so long (ns) has ended; packets come every 50 ms or less."""


@define(eq=False)
class EventBatch:
    """The events of n packets; the other fields are only valid where ``ok``.

    ``volume`` in -dBm0, ``duration`` in timestamp units (8 per ms).
    """

    ok: Bools
    event: Ints
    end: Bools
    volume: Ints
    duration: Ints


def parse_events(payloads: npt.NDArray[np.uint8], lengths: npt.ArrayLike) -> EventBatch:
    """The first event of each payload (uint8[n, >= 4], section 2.3); shorter ones are not ok."""
    octets = payloads[:, :EVENT_SIZE].astype(np.int64)
    flags = octets[:, 1]
    return EventBatch(
        ok=np.asarray(lengths) >= EVENT_SIZE,
        event=octets[:, 0],
        end=(flags & 0x80) != 0,
        volume=flags & 0x3F,
        duration=octets[:, 2] << 8 | octets[:, 3],
    )


def build_event(event: int, duration: int, *, end: bool = False, volume: int = 10) -> bytes:
    """One event; ``duration`` in timestamp units since the key was pressed, at most 65535."""
    return _EVENT.pack(event, end << 7 | volume & 0x3F, min(duration, _LONGEST))


@frozen
class Digit:
    """A key that was pressed on ``row``: one of `DIGITS`, and for how many ms."""

    row: int
    digit: str
    duration: int


class DigitDetector:
    """The key that is down on each row, in columns; they grow with the highest row seen."""

    def __init__(self, rows: int = 64) -> None:
        self._down = np.zeros(rows, np.bool_)
        self._pressed = False
        """Whether a key may be down."""
        self._known = np.zeros(rows, np.bool_)
        self._event = np.zeros(rows, np.int64)
        self._timestamp = np.zeros(rows, np.int64)
        self._before = np.zeros(rows, np.int64)
        self._duration = np.zeros(rows, np.int64)
        self._seen = np.zeros(rows, np.int64)

    def reset(self, row: int) -> None:
        """Clear the row: another call has it, or its source (SSRC) changed."""
        if row < len(self._known):
            self._known[row] = self._down[row] = False

    def feed(
        self, rows: Ints, timestamps: Ints, markers: Bools, events: EventBatch, now: int
    ) -> list[Digit]:
        """Process event packets in order of arrival; returns the keys that they end.

        ``rows`` is the row of each packet; ``timestamps`` and ``markers`` are those of the RTP
        headers; ``now`` is in ns.  Events that are not a key are ignored.
        """
        left = np.flatnonzero(events.ok & (events.event < len(DIGITS)))
        if len(left):
            self._grow(int(np.max(rows[left])))
        digits: list[Digit] = []
        while len(left):
            # Each row occurs once per step: `a[rows] = ...` would keep only the last packet.
            first = np.sort(np.unique(rows[left], return_index=True)[1])
            at = left[first]
            digits += self._step(
                rows[at],
                timestamps[at],
                markers[at],
                events.event[at],
                events.end[at],
                events.duration[at],
                now,
            )
            left = np.delete(left, first)
        return digits

    def expire(self, now: int) -> list[Digit]:
        """The keys whose end must have been lost; call it some times a second."""
        if not self._pressed:
            return []
        self._pressed = bool(self._down.any())
        rows = np.flatnonzero(self._down & (now - self._seen > _LOST_AFTER))
        return self._release(rows)

    def _step(
        self,
        rows: Ints,
        timestamp: Ints,
        marker: Bools,
        event: Ints,
        end: Bools,
        duration: Ints,
        now: int,
    ) -> list[Digit]:
        known, down = self._known[rows], self._down[rows]
        ahead = (timestamp - self._timestamp[rows]) & _WRAP
        alike = known & (event == self._event[rows])
        same = alike & (ahead == 0)
        # A key held for more than 8 s continues as another segment (section 2.5.1.3).
        longer = alike & down & (ahead == _LONGEST) & (self._duration[rows] == _LONGEST)
        # The same key again with the old timestamp is a fault of the sender, not a late packet.
        again = same & ~down & marker & ~end & (now - self._seen[rows] > _AGAIN_AFTER)
        late = known & (ahead > _WRAP - _OLD)
        fresh = again | ~(same | longer | late)

        digits = self._release(rows[fresh & down])
        begun = rows[fresh | longer]
        self._before[begun] = np.where(longer, self._before[rows] + _LONGEST, 0)[fresh | longer]
        self._event[begun] = event[fresh | longer]
        self._timestamp[begun] = timestamp[fresh | longer]
        self._duration[begun] = 0
        self._known[begun] = self._down[begun] = True
        self._pressed = True

        current = fresh | longer | (same & down)
        pressed = rows[current]
        self._duration[pressed] = np.maximum(self._duration[pressed], duration[current])
        self._seen[pressed] = now
        return digits + self._release(rows[current & end])

    def _release(self, rows: Ints) -> list[Digit]:
        """The keys of these rows were released."""
        self._down[rows] = False
        total = (self._before[rows] + self._duration[rows]) // _UNITS_PER_MS
        keys = self._event[rows].tolist()
        return [
            Digit(row, DIGITS[key], duration)
            for row, key, duration in zip(rows.tolist(), keys, total.tolist(), strict=True)
        ]

    def _grow(self, row: int) -> None:
        if row >= len(self._known):
            more = max(row + 1 - len(self._known), len(self._known))
            for name in (
                "_down",
                "_known",
                "_event",
                "_timestamp",
                "_before",
                "_duration",
                "_seen",
            ):
                setattr(self, name, np.pad(getattr(self, name), (0, more)))
