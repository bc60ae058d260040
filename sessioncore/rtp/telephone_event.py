"""Keys pressed, as RFC 4733 telephone events: parse in batches, tell of each key once.

A key is many packets: updates with a growing duration, then the end three times.  Any of
them may be lost, late or doubled.  The RTP timestamp is the key's beginning and names it.
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
"""Timestamps up to this far behind the newest key are a late packet's, in units."""
_LOST_AFTER: Final = 500 * MILLISECOND
"""A key of which nothing more came for so long has ended; packets come every 50 ms or less."""


@define(eq=False)
class EventBatch:
    """The events of n packets; all but ``ok`` mean nothing where not ok.

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
    """One event; ``duration`` in timestamp units since the key went down, 65535 at most."""
    return _EVENT.pack(event, end << 7 | volume & 0x3F, min(duration, _LONGEST))


@frozen
class Digit:
    """A key that was pressed on ``row``: one of `DIGITS`, and for how many ms."""

    row: int
    digit: str
    duration: int


class DigitDetector:
    """Which key is down on each row, in columns."""

    def __init__(self, rows: int = 64) -> None:
        self._down = np.zeros(rows, np.bool_)
        self._known = np.zeros(rows, np.bool_)
        self._event = np.zeros(rows, np.int64)
        self._timestamp = np.zeros(rows, np.int64)
        self._segment = np.zeros(rows, np.int64)
        self._duration = np.zeros(rows, np.int64)
        self._seen = np.zeros(rows, np.int64)

    def resize(self, rows: int) -> None:
        """Have columns for this many rows; those that are there keep what they know."""

    def reset(self, row: int) -> None:
        """Forget the row: another call has it, or its source changed (SSRC)."""

    def feed(
        self, rows: Ints, timestamps: Ints, markers: Bools, events: EventBatch, now: int
    ) -> list[Digit]:
        """Packets as they came, row by row; returns the keys that they tell of."""

    def expire(self, now: int) -> list[Digit]:
        """The keys whose end must have been lost."""
