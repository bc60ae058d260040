"""The bank: one row per stream, one numpy array per property, so that a step is for all rows.

Rows are lent and reused in a fixed order, so the used part stays dense.  Columns are zeroed
memory of the operating system, which costs nothing until a row touches it; a full bank
doubles.  Integers are int64 throughout: uint16 wraps in silence, uint64 + int64 is float64.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "CN",
    "DTMF",
    "FRAME",
    "FRAMES_PER_RING",
    "L16",
    "LOOSE",
    "NEVER",
    "NONE",
    "PCMA",
    "PCMU",
    "PHASES",
    "SILENT",
    "TOGETHER",
    "Bank",
    "Bools",
    "Bytes",
    "Cells",
    "Floats",
    "Ints",
    "Samples",
    "every",
    "kind_of",
    "some",
]

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Samples: TypeAlias = npt.NDArray[np.int16]

FRAME: Final = 160
"""Samples of one 20 ms frame at 8,000 Hz, the grain everything is played in."""
FRAMES_PER_RING: Final = 12
"""240 ms of jitter ring: 3,840 octets a row."""
PHASES: Final = 4
"""Row r is played in phase r % 4 of each 20 ms."""
TOGETHER: Final = 128
"""So many rows of a phase are lent before those of the next: a step has a price of its own.

After the first 512 they are lent one by one, which spreads them over all phases.
"""
NEVER: Final = -(1 << 62)
"""A time (ns) before every other; "has not happened"."""
NONE: Final = -1
"""No SSRC, no sequence number."""

# What a payload type of a row means; 0 is "was not negotiated".
PCMU, PCMA, L16, DTMF, CN = range(1, 6)

SILENT, LOOSE = 128, 1


def kind_of(row: int, codec: int, frames: int) -> int:
    """By what rows are sorted: length, turn, whether it sends, codec, whether it is latched.

    The row plays ``frames`` at once.  This is the kind of one that neither sends (`SILENT`)
    nor is latched (`LOOSE`).
    """
    return frames << 12 | row // PHASES % frames << 8 | SILENT | codec << 1 | LOOSE


_COUNTED: Final[dict[str, Any]] = {
    "packets_sent": np.int64(0),
    "packets_received": np.int64(0),
    "remote_ssrc": np.int64(NONE),
    "former_expected": np.int64(0),
    "first_sequence": np.int64(0),
    "highest": np.int64(0),
    "unexpected": np.int64(0),
    "invalid": np.int64(0),
    "octets_sent": np.int64(0),
    "send_errors": np.int64(0),
    "octets_received": np.int64(0),
    "duplicates": np.int64(0),
    "collisions": np.int64(0),
    "late": np.int64(0),
    "overflow": np.int64(0),
    "inserted": np.int64(0),
    "dropped": np.int64(0),
}
"""What statistics are made of: they lie together, and are read at once; most asked for first."""
_DEFAULTS: Final[dict[str, Any]] = {
    **_COUNTED,
    # sending
    "playing": np.bool_(False),
    "transmitting": np.bool_(False),
    "latched": np.bool_(False),
    "unproven": np.bool_(False),
    "foreign": np.bool_(False),
    "first_send_pending": np.bool_(False),
    "marker": np.bool_(False),
    "kind": np.int64(kind_of(0, 0, 1)),
    "send_payload_type": np.int64(0),
    "ssrc": np.int64(0),
    "sequence": np.int64(0),
    "timestamp": np.int64(0),
    "sending_since": np.int64(NEVER),
    "sent_at": np.int64(NEVER),
    # receiving
    "receiving": np.bool_(False),
    "stalled": np.bool_(False),
    "first_receive_pending": np.bool_(False),
    "attention": np.bool_(False),
    "heard_at": np.int64(NEVER),
    "candidate_ssrc": np.int64(NONE),
    "candidate_sequence": np.int64(0),
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
    "target": np.int64(2 * FRAME),
    "slack": np.int64(1 << 62),
    "noise_level": np.int64(-1),
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

    ``kinds`` uint8[capacity * 128]: what payload type p of row r is, at r * 128 + p.
    ``ring`` int16[capacity * 12 + 1, 160] and ``filled`` bool[capacity * 12]: 12 frames a row,
    and last one of silence.
    Times are ns; ``play``, ``end``, ``newest``, ``target``, ``slack`` are samples.
    """

    playing: Bools
    transmitting: Bools
    latched: Bools
    unproven: Bools
    foreign: Bools
    first_send_pending: Bools
    marker: Bools
    kind: Ints
    send_payload_type: Ints
    ssrc: Ints
    sequence: Ints
    timestamp: Ints
    packets_sent: Ints
    octets_sent: Ints
    send_errors: Ints
    sending_since: Ints
    sent_at: Ints
    receiving: Bools
    stalled: Bools
    first_receive_pending: Bools
    attention: Bools
    heard_at: Ints
    remote_ssrc: Ints
    candidate_ssrc: Ints
    candidate_sequence: Ints
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
    noise_level: Ints
    late: Ints
    overflow: Ints
    inserted: Ints
    dropped: Ints

    def __init__(self, capacity: int = 1024, together: int = TOGETHER) -> None:
        self.capacity = 0
        self.cells = Cells()
        self.kinds: Bytes = np.zeros(0, np.uint8)
        self.ring: Samples = np.zeros((1, FRAME), np.int16)
        self.filled: Bools = np.zeros(0, np.bool_)
        self._words: Ints = np.zeros((len(_WORDS), 0), np.int64)
        self._flags: Bools = np.zeros((len(_FLAGS), 0), np.bool_)
        self.comfort_noise = False
        """Whether anybody ever sent any: until then nobody's level need be looked at."""
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
        self._hold("kinds", _grown(self.kinds, capacity * 128))
        self._hold("filled", _grown(self.filled, capacity * FRAMES_PER_RING))
        self.ring = _grown(self.ring, capacity * FRAMES_PER_RING + 1)
        # All words lie in one block and all flags in another, so that a row is set at once.
        self._words_of = self._words.T
        self._counted_of = self._words[: len(_COUNTED)].T
        self._flags_of = self._flags.T
        self._kinds_of = self.kinds.reshape(capacity, 128)
        self._filled_of = self.filled.reshape(capacity, FRAMES_PER_RING)

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
        self._words_of[row] = _WORD_DEFAULTS
        self._flags_of[row] = False
        self._kinds_of[row] = 0
        self._filled_of[row] = False
        if row < self._gathered:
            row = row % PHASES * self._together + row // PHASES
        heappush(self._free, row)

    def forget_kinds(self, row: int) -> None:
        """No payload type means anything to the row."""
        self._kinds_of[row] = 0

    @property
    def used(self) -> int:
        """How many rows are lent."""
        return self._places - len(self._free)

    def counted(self, row: int) -> list[int]:
        """What was counted for the row so far, in the order of `_COUNTED`."""
        counted: list[int] = self._counted_of[row].tolist()
        return counted


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
