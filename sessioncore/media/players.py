"""Players make the frames of sources: one for each type of source, for all its rows at once.

A player keeps its own columns, indexed by row, and knows nothing of the other players.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from attrs import frozen
from numpy.lib.stride_tricks import as_strided

from sessioncore.media.bank import every
from sessioncore.media.resample import RateConverter
from sessioncore.media.sample_pool import MAX_FRAME, SamplePool

__all__ = [
    "Applications",
    "Clips",
    "Converted",
    "Echoes",
    "Player",
    "Rings",
    "Silences",
    "SourceReport",
    "Tones",
    "amplify",
    "grown",
]

Samples: TypeAlias = npt.NDArray[np.int16]
Ints: TypeAlias = npt.NDArray[np.int64]
Dtype = TypeVar("Dtype", bound=np.generic)


@frozen(eq=False)
class SourceReport:
    """A source that ended (``error`` None) or was taken off because it failed."""

    row: int
    source: object
    error: Exception | None


class Player(Protocol):
    """Makes the frames of one type of source."""

    def detach(self, row: int) -> None:
        """Forget the row."""

    def render(self, rows: Ints, heard: Samples | None, out: Samples) -> list[SourceReport]:
        """Fill ``out``, a frame per row; says which rows are done with.

        ``heard`` is None where no row echoes.
        """


def grown(column: npt.NDArray[Dtype], row: int) -> npt.NDArray[Dtype]:
    """The column, long enough to hold ``row``; new entries are zero."""
    if row < len(column):
        return column
    longer = np.zeros((max(row + 1, 2 * len(column)), *column.shape[1:]), column.dtype)
    longer[: len(column)] = column
    return longer


class Silences:
    """Rows that say nothing."""

    def detach(self, row: int) -> None:
        """Nothing to forget."""

    def render(self, rows: Ints, heard: Samples | None, out: Samples) -> list[SourceReport]:
        """Zeros."""
        out[:] = 0
        return []


class Clips:
    """Rows that play stored sounds, once or in a loop."""

    def __init__(self, pool: SamplePool) -> None:
        self._pool = pool
        self._playing: dict[int, tuple[Hashable, object]] = {}
        self._slab = np.zeros(64, np.int64)
        self._start = np.zeros(64, np.int64)
        self._length = np.zeros(64, np.int64)
        self._position = np.zeros(64, np.int64)
        self._loop = np.zeros(64, np.bool_)

    def attach(
        self,
        row: int,
        source: object,
        key: Hashable,
        make: Callable[[], Samples],
        loop: bool,
        part: float = 0.0,
    ) -> None:
        """Play the sound of ``key`` from its beginning, or after ``part`` of it."""
        sound = self._pool.lease(key, make, loop=loop, keep=source)
        self._slab = grown(self._slab, row)
        self._start = grown(self._start, row)
        self._length = grown(self._length, row)
        self._position = grown(self._position, row)
        self._loop = grown(self._loop, row)
        self._slab[row] = sound.slab
        self._start[row] = sound.start
        self._length[row] = sound.length
        self._position[row] = round(part * sound.length)
        self._loop[row] = loop
        self._playing[row] = (key, source)

    def detach(self, row: int) -> None:
        """Give the sound back."""
        self._pool.release(self._playing.pop(row)[0])

    def part(self, row: int) -> float:
        """How much of its sound a row has played."""
        return float(self._position[row] / self._length[row])

    def render(self, rows: Ints, heard: Samples | None, out: Samples) -> list[SourceReport]:
        """The next samples; a clip that ends within the frame is filled up with silence."""
        position = self._position[rows]
        self._pool.gather(self._slab[rows], self._start[rows] + position, out)
        position += out.shape[1]
        length = self._length[rows]
        past = position >= length
        if not past.any():
            self._position[rows] = position
            return []
        loop = self._loop[rows]
        # A clip that has ended stands on its end, where only the silence after it is.
        self._position[rows] = np.where(past, np.where(loop, position % length, length), position)
        ended = rows[past & ~loop].tolist()
        return [SourceReport(row, self._playing[row][1], None) for row in ended]


class Tones:
    """Rows of one or two sines of any frequency; the phase runs on from frame to frame.

    Phases are uint32, in 1/2^32 of a turn: they wrap by themselves, in exact arithmetic.
    """

    _BITS: Final = 15

    def __init__(self) -> None:
        turns = np.arange(1 << self._BITS) / (1 << self._BITS)
        self._sine = np.sin(2 * np.pi * turns).astype(np.float32)
        self._phase = np.zeros((64, 2), np.uint32)
        self._step = np.zeros((64, 2), np.uint32)
        self._amplitude = np.zeros((64, 2), np.float32)
        self._count = np.arange(MAX_FRAME, dtype=np.uint32)

    def attach(self, row: int, frequencies: Sequence[float], amplitude: float, rate: int) -> None:
        """Sines of these frequencies in Hz, each of this amplitude, at ``rate`` samples/s."""
        self._phase = grown(self._phase, row)
        self._step = grown(self._step, row)
        self._amplitude = grown(self._amplitude, row)
        # Half a step of the table, so that looking up rounds.
        self._phase[row] = 1 << (31 - self._BITS)
        self._step[row] = 0
        self._amplitude[row] = 0
        for index, frequency in enumerate(frequencies):
            self._step[row, index] = round(frequency / rate * (1 << 32))
            self._amplitude[row, index] = amplitude

    def detach(self, row: int) -> None:
        """Nothing to forget."""

    def render(self, rows: Ints, heard: Samples | None, out: Samples) -> list[SourceReport]:
        """The next samples."""
        width = out.shape[1]
        total = self._one_sine(rows, 0, width)
        if self._amplitude[rows, 1].any():
            total += self._one_sine(rows, 1, width)
        np.rint(total, out=total)
        np.copyto(out, total, casting="unsafe")
        self._phase[rows] += self._step[rows] * np.uint32(width)
        return []

    def _one_sine(self, rows: Ints, which: int, width: int) -> npt.NDArray[np.float32]:
        turn = self._step[rows, which][:, None] * self._count[:width]
        turn += self._phase[rows, which][:, None]
        wave: npt.NDArray[np.float32] = self._sine[turn >> np.uint32(32 - self._BITS)]
        wave *= self._amplitude[rows, which][:, None]
        return wave


class Echoes:
    """Rows that send back what they hear, louder or softer."""

    def __init__(self) -> None:
        self._gain = np.zeros(64, np.float32)

    def attach(self, row: int, gain: float) -> None:
        """Multiply what is heard by ``gain``."""
        self._gain = grown(self._gain, row)
        self._gain[row] = gain

    def detach(self, row: int) -> None:
        """Nothing to forget."""

    def render(self, rows: Ints, heard: Samples | None, out: Samples) -> list[SourceReport]:
        """What was heard, clipped where the gain is too much."""
        assert heard is not None, "rows that echo are heard"
        gain = self._gain[rows]
        if every(gain == 1):
            out[:] = heard
        else:
            amplify(heard, gain[:, None], out)
        return []

    def gain(self, rows: Ints) -> float | None:
        """That of all ``rows``, if it is one."""
        gain = self._gain[rows]
        first = gain.item(0)
        return first if every(gain == first) else None


def amplify(heard: Samples, gain: npt.NDArray[np.float32], out: Samples) -> None:
    """Fill ``out`` with what is ``gain`` times as loud, rounded to even and clipped."""
    louder = heard * gain
    np.rint(louder, out=louder)
    if np.maximum.reduce(gain, axis=None) > 1:
        np.clip(louder, -32768, 32767, out=louder)
    np.copyto(out, louder, casting="unsafe")


class Rings:
    """Rows that play what an application pushed at one rate: a ring of one second each."""

    def __init__(self, rate: int) -> None:
        self.size = rate
        self._slot_of_row = np.zeros(64, np.int64)
        self._free: list[int] = []
        self._used = 0
        # The first samples stand once more after the last, so that every frame is one piece.
        self._ring = np.zeros((16, self.size + MAX_FRAME), np.int16)
        self._written = np.zeros(16, np.int64)
        self._read = np.zeros(16, np.int64)
        self._missed = np.zeros(16, np.int64)
        self._famine = np.zeros(16, np.int64)
        self._detach: dict[int, Callable[[], None]] = {}

    def attach(self, row: int, detached: Callable[[], None]) -> int:
        """Give the row a ring; returns its slot.  ``detached`` is called before it is taken."""
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._used = self._used, self._used + 1
        self._ring = grown(self._ring, slot)
        self._written = grown(self._written, slot)
        self._read = grown(self._read, slot)
        self._missed = grown(self._missed, slot)
        self._famine = grown(self._famine, slot)
        self._written[slot] = self._read[slot] = self._missed[slot] = self._famine[slot] = 0
        self._slot_of_row = grown(self._slot_of_row, row)
        self._slot_of_row[row] = slot
        self._detach[row] = detached
        return slot

    def detach(self, row: int) -> None:
        """Take the ring back."""
        self._detach.pop(row)()
        self._free.append(int(self._slot_of_row[row]))

    def write(self, slot: int, samples: Samples) -> int:
        """Append what there is room for; returns how many samples that was."""
        count = min(len(samples), self.size - self.buffered(slot))
        ring, size = self._ring[slot], self.size
        at = int(self._written[slot]) % size
        first = min(count, size - at)
        ring[at : at + first] = samples[:first]
        ring[: count - first] = samples[first:count]
        ring[size:] = ring[: len(ring) - size]
        self._written[slot] += count
        return count

    def buffered(self, slot: int) -> int:
        """Samples that wait to be played."""
        return int(self._written[slot] - self._read[slot])

    def missed(self, slot: int) -> int:
        """Samples of silence played for want of something written."""
        return int(self._missed[slot])

    def famine(self, slot: int) -> int:
        """The same since something was last there."""
        return int(self._famine[slot])

    def render(self, rows: Ints, heard: Samples | None, out: Samples) -> list[SourceReport]:
        """What was written; silence where it does not suffice."""
        slots = self._slot_of_row[rows]
        width = out.shape[1]
        read, written = self._read[slots], self._written[slots]
        have = np.minimum(written - read, width)
        out[:] = self._windows(width)[slots, read % self.size]
        self._famine[slots] = np.where(have > 0, 0, self._famine[slots] + width)
        if (have < width).any():
            out[np.arange(width) >= have[:, None]] = 0
            # Waiting for the first sample is no underflow.
            self._missed[slots] += np.where(written > 0, width - have, 0)
        self._read[slots] = read + have
        return []

    def _windows(self, width: int) -> Samples:
        """Entry [slot, i] is the ``width`` samples of that ring from i on; a view."""
        ring = self._ring
        return as_strided(ring, (len(ring), self.size, width), (*ring.strides, 2), writeable=False)


class Converted:
    """Rows of a player that makes its frames at another rate than they are sent at."""

    def __init__(self, player: Player, from_rate: int, to_rate: int) -> None:
        self._player = player
        self._rates = from_rate, to_rate
        self._converter = RateConverter(from_rate, to_rate)

    def begin(self, row: int) -> None:
        """The row is new here."""
        self._converter.reset(row)

    def detach(self, row: int) -> None:
        """Forget the row."""
        self._player.detach(row)

    def render(self, rows: Ints, heard: Samples | None, out: Samples) -> list[SourceReport]:
        """What the player gives, converted."""
        from_rate, to_rate = self._rates
        made = np.empty((len(rows), out.shape[1] * from_rate // to_rate), np.int16)
        done = self._player.render(rows, heard, made)
        out[:] = self._converter.convert(rows, made)
        return done


class Applications:
    """Rows whose frames an application's object supplies: the one player that costs per row."""

    def __init__(self) -> None:
        self._source: dict[int, Any] = {}

    def attach(self, row: int, source: Any) -> None:
        """Ask ``source`` for frames."""
        self._source[row] = source

    def detach(self, row: int) -> None:
        """Ask it no more."""
        del self._source[row]

    def render(self, rows: Ints, heard: Samples | None, out: Samples) -> list[SourceReport]:
        """What the objects give; one that raises or ends gives silence from here on."""
        out[:] = 0
        done = []
        width = out.shape[1]
        for index, row in enumerate(rows.tolist()):
            # An object asked before this one may have taken it off the row.
            source = self._source.get(row)
            if source is None:
                continue
            try:
                samples = source.read(width)
                if samples is None:
                    done.append(SourceReport(row, source, None))
                else:
                    samples = _checked(samples, width)
                    out[index, : len(samples)] = samples
            except Exception as error:
                done.append(SourceReport(row, source, error))
        return done


def _checked(samples: Any, width: int) -> Samples:
    """What an application returned, if it is what it should be."""
    if not isinstance(samples, np.ndarray) or samples.dtype != np.int16 or samples.ndim != 1:
        raise TypeError("IMediaSource.read must return a one-dimensional int16 array or None")
    if len(samples) > width:
        raise ValueError(f"IMediaSource.read({width}) returned {len(samples)} samples")
    return samples
