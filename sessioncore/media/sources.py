"""What a call sends: the kinds of source, and the bank that plays all rows at once.

All audio is int16 at 8000 Hz.  Levels are in dBov: 0 dBov is the power of a full-scale square
wave, so a sine can have -3.01 at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd, isfinite
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from sessioncore.errors import ConfigurationError, MediaFileError
from sessioncore.media.bank import every
from sessioncore.media.interfaces import IMediaSource
from sessioncore.media.players import (
    RATE,
    Applications,
    Clips,
    Echoes,
    Kind,
    Rings,
    Silences,
    SourceReport,
    Tones,
    grown,
)
from sessioncore.media.resample import resample
from sessioncore.media.sample_pool import SamplePool
from sessioncore.media.wave import file_path, read_wav

__all__ = [
    "RATE",
    "Clip",
    "Echo",
    "Frames",
    "Silence",
    "Source",
    "SourceBank",
    "SourceReport",
    "Tone",
    "require_source",
]

Samples: TypeAlias = npt.NDArray[np.int16]
Ints: TypeAlias = npt.NDArray[np.int64]


@frozen
class Silence:
    """Digital silence: packets flow, with nothing in them."""


def _frequencies(given: float | Iterable[float]) -> tuple[float, ...]:
    # Text is no row of numbers: it is left for `_numbers` to refuse as it stands.
    one = isinstance(given, str | bytes) or not isinstance(given, Iterable)
    return (given,) if one else tuple(given)  # type: ignore[arg-type, return-value]


def _number(_made: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigurationError(
            f"{attribute.name}: {value!r} is no number; give e.g. {attribute.default!r}"
        )


def _numbers(made: object, attribute: Any, values: tuple[object, ...]) -> None:
    for value in values:
        _number(made, attribute, value)


@frozen
class Tone:
    """One or two sines: ``frequencies`` in Hz below 4000, ``level`` in dBov each.

    Raises `ConfigurationError` for what is no number, and where the sines together would clip.
    """

    frequencies: tuple[float, ...] = field(
        default=(440.0,), converter=_frequencies, validator=_numbers
    )
    level: float = field(default=-16.0, validator=_number)

    def __attrs_post_init__(self) -> None:
        if len(self.frequencies) not in (1, 2):
            raise ConfigurationError("a tone has one or two frequencies")
        if not all(0 < frequency < RATE / 2 for frequency in self.frequencies):
            raise ConfigurationError(f"a tone's frequencies lie between 0 and {RATE // 2} Hz")
        if self.level > 0 or not self.amplitude * len(self.frequencies) <= 32767:
            raise ConfigurationError(f"a tone of {self.level} dBov clips; -16 is usual")

    @property
    def amplitude(self) -> float:
        """Peak of each sine, in samples."""
        return float(10 ** (self.level / 20) * 32767 * 2**0.5)


def _int16(samples: npt.ArrayLike) -> Samples:
    array = np.asarray(samples)
    if array.dtype != np.int16 or array.ndim != 1:
        raise ConfigurationError("samples must be a one-dimensional array of int16 at 8000 Hz")
    return array


@frozen(eq=False)
class Clip:
    """Stored audio, played once or in a loop.  Many calls share one clip at no further cost.

    ``samples``: int16 at 8000 Hz, at least one; do not change them while the clip is in use.
    """

    samples: Samples = field(converter=_int16, repr=False)
    loop: bool = False

    def __attrs_post_init__(self) -> None:
        if not len(self.samples):
            raise ConfigurationError("a clip needs at least one sample")

    @classmethod
    def from_file(cls, path: str | Path, loop: bool = False) -> Clip:
        """The clip of a WAV file, mixed to mono at 8000 Hz; `MediaFileError` if unreadable.

        Reads the file and converts it at once: do it before the calls, not in their midst.
        """
        audio = read_wav(file_path(path))
        try:
            samples = resample(audio.mono, audio.rate, RATE)
        except MediaFileError as error:
            raise MediaFileError(f"{path}: {error}") from None
        return cls(samples, loop)


@frozen
class Echo:
    """What the call hears, sent back, ``gain_db`` louder; clipped where that is too much."""

    gain_db: float = field(default=0.0, validator=_number)

    def __attrs_post_init__(self) -> None:
        if not (isfinite(self.gain_db) and abs(self.gain_db) <= 60):
            raise ConfigurationError("an echo's gain lies between -60 and 60 dB")

    @property
    def gain(self) -> float:
        """The factor."""
        return float(10 ** (self.gain_db / 20))


class Frames:
    """Audio that the application pushes; at most one second waits.

    Where too little was written in time the call hears silence, which is counted; nothing
    makes up for it.  One `Frames` feeds one call.  Call it from the reactor's thread only.
    """

    def __init__(self) -> None:
        self._rings: Rings | None = None
        self._slot = 0
        self._early: Samples = np.zeros(0, np.int16)
        self._missed = 0

    def write(self, samples: npt.ArrayLike) -> int:
        """Append int16 samples at 8000 Hz; returns how many fitted, the rest is yours to keep."""
        array = _int16(samples)
        if self._rings is not None:
            return self._rings.write(self._slot, array)
        count = min(len(array), Rings.SIZE - len(self._early))
        self._early = np.concatenate([self._early, array[:count]])
        return count

    @property
    def buffered(self) -> int:
        """Samples that wait to be sent."""
        return len(self._early) if self._rings is None else self._rings.buffered(self._slot)

    @property
    def missed(self) -> int:
        """Samples of silence sent since the first write because nothing was there."""
        now = 0 if self._rings is None else self._rings.missed(self._slot)
        return self._missed + now

    def bind(self, rings: Rings, row: int) -> None:
        """For the bank: from here on the ring of ``row`` holds what is written."""
        if self._rings is not None:
            raise ConfigurationError("one Frames feeds one call; make another for this one")
        self._slot = rings.attach(row, self._unbind)
        self._rings = rings
        rings.write(self._slot, self._early)
        self._early = np.zeros(0, np.int16)

    def _unbind(self) -> None:
        self._missed, self._rings = self.missed, None


Source: TypeAlias = Silence | Tone | Clip | Echo | Frames | Any
"""One of the above, or an object that provides `IMediaSource`."""


def require_source(given: object) -> None:
    """Raise `ConfigurationError` for what is no `Source`."""
    if isinstance(given, Tone | Clip | Echo | Silence | Frames) or IMediaSource.providedBy(given):
        return
    raise ConfigurationError(
        f"{given!r} is no source; give e.g. Tone(), Clip.from_file(...), Echo(), Silence() or"
        " an object that provides IMediaSource"
    )


class SourceBank:
    """Plays the sources of all rows; rows without one are silent."""

    def __init__(self) -> None:
        self._clips = Clips(SamplePool())
        self._tones = Tones()
        self._echoes = Echoes()
        self._rings = Rings()
        self._applications = Applications()
        self._kinds: tuple[Kind, ...] = (
            Silences(),
            self._clips,
            self._tones,
            self._echoes,
            self._rings,
            self._applications,
        )
        self._kind = np.zeros(64, np.int64)
        self._source: dict[int, Source] = {}
        self._reports: list[SourceReport] = []
        self.failures = 0
        """Application objects taken off because they raised."""

    def attach(self, row: int, source: Source) -> None:
        """Let ``row`` play ``source`` from its beginning, instead of what it played."""
        self.detach(row)
        if source.__class__ is Silence:
            return
        self._kind = grown(self._kind, row)
        self._kind[row] = self._kinds.index(self._begin(row, source))
        self._source[row] = source

    def detach(self, row: int) -> None:
        """Let ``row`` be silent."""
        if self._source.pop(row, None) is not None:
            kind, self._kind[row] = self._kinds[self._kind[row]], 0
            kind.detach(row)

    def are_silent(self, rows: Ints) -> bool:
        """Whether all of ``rows`` play nothing but zeros."""
        return not np.count_nonzero(self._kinds_of(rows))

    def echo_gain(self, rows: Ints) -> float | None:
        """The factor by which all of ``rows``, of which there are some, echo what they hear.

        None where one does something else, or echoes louder or softer.
        """
        first = self._kinds[self._kinds_of(rows[:1]).item()]
        if first is not self._echoes or not every(self._kinds_of(rows) == self._kinds.index(first)):
            return None
        return self._echoes.gain(rows)

    def _kinds_of(self, rows: Ints) -> Ints:
        try:
            return self._kind[rows]
        except IndexError:  # rows that never had a source
            self._kind = grown(self._kind, int(np.max(rows)))
            return self._kind[rows]

    def render(self, rows: Ints, heard: Samples, out: Samples, now: int) -> None:
        """Fill ``out`` (int16[n, samples <= 960]) with the next frame of each of ``rows``.

        ``heard`` (same shape) is what these rows hear in this moment.  Rows are unique.
        Sources that end or fail are detached and told of in `reports`.
        """
        if not len(rows):
            return
        kinds = self._kinds_of(rows)
        first = int(kinds[0])
        if every(kinds == first):
            self._finish(self._kinds[first].render(rows, heard, out))
            return
        for number in np.flatnonzero(np.bincount(kinds)).tolist():
            at = np.flatnonzero(kinds == number)
            frames = np.empty((len(at), out.shape[1]), np.int16)
            self._finish(self._kinds[number].render(rows[at], heard[at], frames))
            out[at] = frames

    def reports(self) -> list[SourceReport]:
        """What ended or failed since this was last asked."""
        told, self._reports = self._reports, []
        return told

    def _begin(self, row: int, source: Source) -> Kind:
        match source:
            case Tone():
                return self._begin_tone(row, source)
            case Clip():
                key = (id(source.samples), source.loop)
                self._clips.attach(row, source, key, lambda: source.samples, source.loop)
                return self._clips
            case Echo():
                self._echoes.attach(row, source.gain)
                return self._echoes
            case Frames():
                source.bind(self._rings, row)
                return self._rings
        require_source(source)
        self._applications.attach(row, source)
        return self._applications

    def _begin_tone(self, row: int, tone: Tone) -> Kind:
        if any(frequency % 1 for frequency in tone.frequencies):
            self._tones.attach(row, tone.frequencies, tone.amplitude)
            return self._tones
        # Whole Hz repeat after a second at most: a stored loop, eight times faster.
        self._clips.attach(row, tone, tone, lambda: _period(tone), True)
        return self._clips

    def _finish(self, done: list[SourceReport]) -> None:
        for report in done:
            # An application's object may have been replaced by what it called.
            if self._source.get(report.row) is report.source:
                self.detach(report.row)
            self.failures += report.error is not None
        self._reports += done


def _period(tone: Tone) -> Samples:
    """The shortest stretch of a tone of whole Hz that can be repeated."""
    size = RATE // gcd(RATE, *(int(frequency) for frequency in tone.frequencies))
    turns = np.outer(tone.frequencies, np.arange(size)) / RATE
    wave = tone.amplitude * np.sin(2 * np.pi * turns).sum(axis=0)
    samples: Samples = np.rint(wave).astype(np.int16)
    return samples
