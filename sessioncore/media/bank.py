"""The bank: one row per stream, one numpy array per property, so that a step is for all rows.

Rows are lent and reused in a fixed order, so the used part stays dense.  Columns are zeroed
memory of the operating system, which costs nothing until a row touches it; a full bank
doubles.  Integers are int64 throughout: uint16 wraps in silence, uint64 + int64 is float64.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.media.formats import Formats
from sessioncore.media.lane import DEFAULT_RATE, Lane, require_rate
from sessioncore.rtp.audio_codec import FRAMES_PER_SECOND

__all__ = [
    "COUNTED",
    "FOREVER",
    "LOOSE",
    "NEVER",
    "NONE",
    "PHASES",
    "RECEIVED",
    "SENT",
    "SILENT",
    "TARGET",
    "TOGETHER",
    "Bank",
    "Bools",
    "Bytes",
    "Cells",
    "Floats",
    "Ints",
    "Samples",
    "Way",
    "every",
    "key_of",
    "some",
]

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Samples: TypeAlias = npt.NDArray[np.int16]

PHASES: Final = 4
"""Row r is played in phase r % 4 of each 20 ms."""
TOGETHER: Final = 128
"""So many rows of a phase are lent before those of the next: a step has a price of its own.

After the first 512 they are lent one by one, which spreads them over all phases.
"""
TARGET: Final = 2
"""Frames that wait before the first is played: 40 ms of delay."""
NEVER: Final = -(1 << 62)
FOREVER: Final = 1 << 62
"""A time (ns) before every other; "has not happened"."""
NONE: Final = -1
"""No SSRC, no sequence number."""


class Way(IntEnum):
    """How a row is played; rows that differ in it do not slow one another."""

    PASS = 0
    """It sends silence or nothing, and nobody hears what it hears."""
    ECHO = 1
    """It sends what it hears, sample by sample, and nobody else hears that."""
    PLAY = 2
    """Its source makes the frames it sends; nobody hears what it hears."""
    HEAR = 3
    """What it hears is wanted as frames."""

    __hash__ = int.__hash__


SILENT, LOOSE = 1 << 9, 1


@lru_cache(maxsize=1024)
def key_of(turn: int, lane: int, frames: int, way: int, number: int) -> int:
    """By what rows are sorted: lane, length, turn, way, whether it sends, format, latched or not.

    The row plays ``frames`` at once, in turn ``turn`` of as many; ``number`` is the format that
    it sends.  This is the key of one that neither sends (`SILENT`) nor is latched (`LOOSE`).
    """
    return lane << 20 | frames << 16 | turn << 12 | way << 10 | SILENT | number << 1 | LOOSE


_RECEIVED: Final[dict[str, Any]] = {
    "packets_received": np.int64(0),
    "octets_received": np.int64(0),
    "remote_ssrc": np.int64(NONE),
    "former_expected": np.int64(0),
    "first_sequence": np.int64(0),
    "highest": np.int64(0),
    "unexpected": np.int64(0),
    "unexpected_type": np.int64(NONE),
    "unplayable": np.int64(0),
    "other_sources": np.int64(0),
    "invalid": np.int64(0),
    "rtcp_on_rtp": np.int64(0),
    "duplicates": np.int64(0),
    "collisions": np.int64(0),
    "late": np.int64(0),
    "overflow": np.int64(0),
    "inserted": np.int64(0),
    "dropped": np.int64(0),
    "noise_packets": np.int64(0),
    "noise_level": np.int64(NONE),
    "heard_at": np.int64(NEVER),
    "rtcp_at": np.int64(NEVER),
    "sound_at": np.int64(NEVER),
    "peak": np.int64(NONE),
    "heard_peak": np.int64(NONE),
    "clock": np.int64(DEFAULT_RATE),
}
_SENT: Final[dict[str, Any]] = {
    "packets_sent": np.int64(0),
    "octets_sent": np.int64(0),
    "send_errors": np.int64(0),
    "held_back": np.int64(0),
    "sent_sound_at": np.int64(NEVER),
    "sent_peak": np.int64(NONE),
}
RECEIVED: Final = tuple(_RECEIVED)
"""The columns of `sessioncore.media.received.Received`."""
SENT: Final = tuple(_SENT)
"""Those of `sessioncore.media.received.Sent`."""
COUNTED: Final = RECEIVED + SENT
"""The columns that lie together and are read at once, by `Bank.counted`."""
_DEFAULTS: Final[dict[str, Any]] = {
    **_RECEIVED,
    **_SENT,
    # sending
    "playing": np.bool_(False),
    "transmitting": np.bool_(False),
    "latched": np.bool_(False),
    "unproven": np.bool_(False),
    "first_send_pending": np.bool_(False),
    "marker": np.bool_(False),
    "key": np.int64(key_of(0, 0, 1, Way.PASS, 0)),
    "lane": np.int64(0),
    "frames": np.int64(1),
    "format": np.int64(0),
    "listened": np.bool_(False),
    "send_payload_type": np.int64(0),
    "ssrc": np.int64(0),
    "sequence": np.int64(0),
    "timestamp": np.int64(0),
    "full_until": np.int64(FOREVER),
    "next_at": np.int64(NEVER),
    # receiving
    "receiving": np.bool_(False),
    "stalled": np.bool_(False),
    "first_receive_pending": np.bool_(False),
    "attention": np.bool_(False),
    "received_then": np.int64(0),
    "condition": np.int64(0),
    "candidate_ssrc": np.int64(NONE),
    "candidate_sequence": np.int64(0),
    "candidate_at": np.int64(NEVER),
    "successor_until": np.int64(NEVER),
    "voiceless": np.bool_(False),
    "seen": np.uint64(0),
    "former_received": np.int64(0),
    "received_before": np.int64(0),
    "expected_before": np.int64(0),
    "transit": np.int64(0),
    "jitter": np.float64(0.0),
    "next_report": np.int64(1 << 62),
    # jitter ring
    "play": np.int64(0),
    "end": np.int64(NEVER),
    "newest": np.int64(0),
    "newest_timestamp": np.int64(0),
    "target": np.int64(TARGET * DEFAULT_RATE // FRAMES_PER_SECOND),
    "slack": np.int64(1 << 62),
    "pause_start": np.int64(0),
    "pause_end": np.int64(NEVER),
    "noisy": np.bool_(False),
}

_FLAGS: Final = {name: each for name, each in _DEFAULTS.items() if each.dtype == np.bool_}
_WORDS: Final = {name: each for name, each in _DEFAULTS.items() if name not in _FLAGS}
_WORD_DEFAULTS: Final[Ints] = np.array([each.view(np.int64) for each in _WORDS.values()])
_APART: Final = 64
"""Entries between two columns, or all entries of a row would share a set of the CPU's cache."""


class Cells:
    """The columns once more, as memoryviews, for one row at a time.

    Reading or writing one entry takes a third of what it takes with an array, and what is
    read is a number of Python's.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Bank:
    """The columns.  A name of `_DEFAULTS` is an array with one entry per row.

    ``meanings`` uint8[capacity * 128]: the number in ``formats`` of what payload type p of row
    r means, at r * 128 + p.  ``lanes`` hold the audio; ``lane`` is the number of a row's lane,
    ``format`` that of the format it sends.  ``clock`` is its RTP clock in Hz.
    RTP is sent at full rate before ``full_until``, then when ``next_at`` is reached.
    Times are ns; ``play``, ``end``, ``newest``, ``target``, ``slack``, ``pause_start``,
    ``pause_end`` are samples.  ``remote_ssrc`` is the source that is heard, ``candidate_ssrc``
    one that may follow it, which any may until ``successor_until``.  A ``voiceless`` source
    sent nothing but telephone-events.  ``heard_at`` is when RTP last came, ``rtcp_at`` RTCP;
    ``sound_at`` when something louder than silence was heard last, ``peak`` the largest sample so
    far, ``heard_peak`` and ``sent_peak`` the largest of the last look; ``condition`` is what
    `sessioncore.media.listening` found last.
    """

    playing: Bools
    transmitting: Bools
    latched: Bools
    unproven: Bools
    first_send_pending: Bools
    marker: Bools
    key: Ints
    lane: Ints
    clock: Ints
    frames: Ints
    format: Ints
    listened: Bools
    send_payload_type: Ints
    ssrc: Ints
    sequence: Ints
    timestamp: Ints
    packets_sent: Ints
    octets_sent: Ints
    send_errors: Ints
    full_until: Ints
    next_at: Ints
    receiving: Bools
    stalled: Bools
    first_receive_pending: Bools
    attention: Bools
    heard_at: Ints
    remote_ssrc: Ints
    candidate_ssrc: Ints
    candidate_sequence: Ints
    candidate_at: Ints
    successor_until: Ints
    voiceless: Bools
    first_sequence: Ints
    highest: Ints
    seen: npt.NDArray[np.uint64]
    packets_received: Ints
    octets_received: Ints
    former_expected: Ints
    former_received: Ints
    received_before: Ints
    expected_before: Ints
    duplicates: Ints
    invalid: Ints
    unexpected: Ints
    unplayable: Ints
    other_sources: Ints
    collisions: Ints
    transit: Ints
    jitter: Floats
    next_report: Ints
    play: Ints
    end: Ints
    newest: Ints
    newest_timestamp: Ints
    target: Ints
    slack: Ints
    pause_start: Ints
    pause_end: Ints
    noise_level: Ints
    noisy: Bools
    late: Ints
    overflow: Ints
    inserted: Ints
    dropped: Ints
    held_back: Ints
    noise_packets: Ints
    unexpected_type: Ints
    rtcp_on_rtp: Ints
    sent_sound_at: Ints
    sound_at: Ints
    peak: Ints
    heard_peak: Ints
    sent_peak: Ints
    rtcp_at: Ints
    received_then: Ints
    condition: Ints

    def __init__(self, capacity: int = 1024, together: int = TOGETHER) -> None:
        self.capacity = 0
        self.cells = Cells()
        self.formats = Formats()
        self.lanes = [Lane(0, DEFAULT_RATE, capacity)]
        self.odd_clocks = False
        """Whether any row ever had an RTP clock of another rate than 8000 Hz."""
        self.meanings: Bytes = np.zeros(0, np.uint8)
        self._words: Ints = np.zeros((len(_WORDS), 0), np.int64)
        self._flags: Bools = np.zeros((len(_FLAGS), 0), np.bool_)
        self.top = 0
        """No row this high was ever lent."""
        self._together = together
        self._gathered = PHASES * together
        self._places = 0
        self._free: list[int] = []
        self._grow(capacity)

    def _grow(self, capacity: int) -> None:
        former = self.capacity
        self._words = _widened(self._words, former, capacity)
        self._flags = _widened(self._flags, former, capacity)
        self.capacity = capacity
        for (name, default), word in zip(_WORDS.items(), self._words, strict=True):
            column = word[:capacity].view(default.dtype)
            if default:
                column[former:] = default
            self._hold(name, column)
        for name, flag in zip(_FLAGS, self._flags, strict=True):
            self._hold(name, flag[:capacity])
        self._hold("meanings", _grown(self.meanings, capacity * 128))
        if former:
            for lane in self.lanes:
                lane.grow(capacity)
        # All words lie in one block and all flags in another, so that a row is set at once.
        self._words_of = self._words.T
        self._counted_of = self._words[: len(COUNTED)].T
        self._flags_of = self._flags.T
        self._meanings_of = self.meanings.reshape(capacity, 128)

    def _hold(self, name: str, column: npt.NDArray[Any]) -> None:
        setattr(self, name, column)
        setattr(self.cells, name, column.data)

    def take_row(self) -> int:
        """A free row, all columns at their defaults."""
        place = heappop(self._free) if self._free else self._next_place()
        if place < self._gathered:
            return place % self._together * PHASES + place // self._together
        return place

    def _next_place(self) -> int:
        """One that was never lent; the bank has room for its row."""
        place = self._places
        self._places = place + 1
        # The first places lie in one phase: their rows reach four times as far.
        self.top = min(PHASES * self._places, max(self._gathered, self._places))
        while self.top > self.capacity:
            self._grow(2 * self.capacity)
        return place

    def give_back(self, row: int) -> None:
        """The row may be lent again; nothing plays or sends for it any more."""
        cells = self.cells
        if cells.end[row] != NEVER or cells.noisy[row]:
            self.lanes[cells.lane[row]].clear(row)
        self._words_of[row] = _WORD_DEFAULTS
        self._flags_of[row] = False
        self._meanings_of[row] = 0
        if row < self._gathered:
            row = row % PHASES * self._together + row // PHASES
        heappush(self._free, row)

    def forget_meanings(self, row: int) -> None:
        """No payload type means anything to the row."""
        self._meanings_of[row] = 0

    def lane_at(self, rate: int) -> Lane:
        """The lane of a sampling rate; made when the first row needs it."""
        for lane in self.lanes:
            if lane.rate == rate:
                return lane
        require_rate("codec", rate)
        added = Lane(len(self.lanes), rate, self.capacity)
        self.lanes.append(added)
        return added

    def lane_of(self, row: int) -> Lane:
        """The lane in which a row is."""
        number: int = self.cells.lane[row]
        return self.lanes[number]

    def move(self, row: int, lane: Lane, clock: int) -> None:
        """From here on ``row`` is in ``lane`` and its RTP clock runs at ``clock`` Hz.

        What it held is gone, and the next packet begins a new source, as after a new SSRC.
        """
        cells = self.cells
        self.lane_of(row).clear(row)
        cells.lane[row], cells.clock[row] = lane.number, clock
        self.odd_clocks |= clock != DEFAULT_RATE
        for name in ("play", "end", "newest", "newest_timestamp", "slack", "pause_end"):
            getattr(cells, name)[row] = int(_DEFAULTS[name])
        cells.target[row] = (TARGET + cells.frames[row] - 1) * lane.frame
        if cells.remote_ssrc[row] != NONE:
            cells.former_expected[row] += cells.highest[row] - cells.first_sequence[row] + 1
            cells.former_received[row] = cells.packets_received[row]
            cells.remote_ssrc[row] = NONE

    @property
    def used(self) -> int:
        """How many rows are lent."""
        return self._places - len(self._free)

    def counted(self, row: int) -> list[int]:
        """The columns `COUNTED` of the row."""
        counted: list[int] = self._counted_of[row].tolist()
        return counted

    def last_heard(self, row: int) -> int:
        """When RTP or RTCP last came (ns), or the agreement if that is later."""
        cells = self.cells
        heard_at: int = max(cells.heard_at[row], cells.rtcp_at[row])
        return heard_at


def every(mask: Bools) -> bool:
    """Whether all are true: five times as fast as ``mask.all()``, which the tick asks often."""
    # The first False, or the first of all.
    return not len(mask) or mask.item(mask.argmin())


def some(mask: Bools) -> bool:
    """Whether any is true."""
    return len(mask) > 0 and mask.item(mask.argmax())


def _widened(block: npt.NDArray[Any], used: int, rows: int) -> npt.NDArray[Any]:
    """A block of columns, one below the other, with room for ``rows``."""
    larger = np.zeros((len(block), rows + _APART), block.dtype)
    larger[:, :used] = block[:, :used]
    return larger


def _grown(column: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    larger = np.zeros((rows, *column.shape[1:]), column.dtype)
    larger[: len(column)] = column
    return larger
