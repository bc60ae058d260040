"""What a call sends: the types of source.

All audio is int16.  A source may be made at another rate than the call's, see each; its audio
is converted where they differ.  Levels are in dBov: 0 dBov is the power of a full-scale square
wave, so a sine can have -3.01 at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from sessioncore.errors import ConfigurationError, MediaFileError
from sessioncore.media.interfaces import IMediaSource
from sessioncore.media.lane import DEFAULT_RATE, RATES, require_rate
from sessioncore.media.players import Rings
from sessioncore.media.resample import MAX_RATE, MIN_RATE, resample
from sessioncore.media.wave import file_path, read_wav

__all__ = [
    "Clip",
    "Echo",
    "Frames",
    "MediaSource",
    "Silence",
    "Source",
    "Tone",
    "prepare",
    "require_source",
]

_AROUND: Final = 512
"""Samples on either side of a loop that its converted edges depend on, and more."""

Samples: TypeAlias = npt.NDArray[np.int16]


@frozen
class Silence:
    """Digital silence: packets flow, with nothing in them."""


def _frequencies(given: float | Iterable[float]) -> tuple[float, ...]:
    # Text is not a row of numbers: it is left for `_numbers` to refuse as it stands.
    one = isinstance(given, str | bytes) or not isinstance(given, Iterable)
    return (given,) if one else tuple(given)  # type: ignore[arg-type, return-value]


def _number(_made: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigurationError(
            f"{attribute.name}: {value!r} is not a number; use for example {attribute.default!r}"
        )


def _numbers(made: object, attribute: Any, values: tuple[object, ...]) -> None:
    for value in values:
        _number(made, attribute, value)


@frozen
class Tone:
    """One or two sines: ``frequencies`` in Hz, ``level`` in dBov each.

    A call can carry frequencies below half its sampling rate: 4000 Hz with G.711, 8000 Hz with
    G.722.  In a call that cannot carry it, a tone is silent and reported as a failed source.
    Raises `ConfigurationError` for a value that is not a number, and where the sines together
    would clip.
    """

    frequencies: tuple[float, ...] = field(
        default=(440.0,), converter=_frequencies, validator=_numbers
    )
    level: float = field(default=-16.0, validator=_number)

    def __attrs_post_init__(self) -> None:
        if len(self.frequencies) not in (1, 2):
            raise ConfigurationError("a tone has one or two frequencies")
        highest = RATES[-1] // 2
        if not all(0 < frequency < highest for frequency in self.frequencies):
            raise ConfigurationError(f"a tone's frequencies lie between 0 and {highest} Hz")
        if self.level > 0 or not self.amplitude * len(self.frequencies) <= 32767:
            raise ConfigurationError(f"a tone of {self.level} dBov clips; -16 is usual")

    @property
    def highest(self) -> float:
        """The higher of its frequencies."""
        return max(self.frequencies)

    @property
    def amplitude(self) -> float:
        """Peak of each sine, in samples."""
        return float(10 ** (self.level / 20) * 32767 * 2**0.5)


def _int16(samples: npt.ArrayLike) -> Samples:
    array = np.asarray(samples)
    if array.dtype != np.int16 or array.ndim != 1:
        raise ConfigurationError("samples must be a one-dimensional array of int16")
    return array


def _rate(_made: object, attribute: Any, value: object) -> None:
    require_rate(attribute.name, value)


def _clip_rate(_made: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{attribute.name}: {value!r} is not a sampling rate in Hz")
    if not MIN_RATE <= value <= MAX_RATE:
        raise ConfigurationError(
            f"sampling rate of {value} Hz: only {MIN_RATE} to {MAX_RATE} Hz can be converted"
        )


@frozen(eq=False)
class Clip:
    """Stored audio, played once or in a loop.  Many calls share one clip at no further cost.

    ``samples``: int16 at ``rate`` Hz, at least one; do not change them while the clip is in
    use.  A call at another rate plays them converted: once, when the first such call begins,
    or earlier if `at` is called.
    """

    samples: Samples = field(converter=_int16, repr=False)
    loop: bool = False
    rate: int = field(default=DEFAULT_RATE, validator=_clip_rate)
    _converted: dict[int, Samples] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not len(self.samples):
            raise ConfigurationError("a clip needs at least one sample")

    @classmethod
    def from_file(cls, path: str | Path, loop: bool = False) -> Clip:
        """The clip of a WAV file, mixed to mono; `MediaFileError` if unreadable.

        Reads the file and converts it to 8000 Hz at once, so call it at start and not during
        calls; for calls at 16,000 Hz do the same with `at`.
        """
        audio = read_wav(file_path(path))
        try:
            clip = cls(audio.mono, loop, audio.rate)
        except ConfigurationError as error:
            raise MediaFileError(f"{path}: {error}") from None
        clip.at(DEFAULT_RATE)
        return clip

    @property
    def duration(self) -> float:
        """How long it plays, in seconds; of a loop, one time round."""
        return len(self.samples) / self.rate

    def at(self, rate: int) -> Samples:
        """The samples at a call's ``rate``; converted the first time, and kept."""
        if rate == self.rate:
            return self.samples
        if rate not in self._converted:
            self._converted[rate] = self._convert(rate)
        return self._converted[rate]

    def _convert(self, rate: int) -> Samples:
        if not self.loop:
            return resample(self.samples, self.rate, rate)
        # What comes before the beginning is the end.
        size = len(self.samples)
        around = self.samples[np.arange(-_AROUND, size + _AROUND) % size]
        first = round(_AROUND * rate / self.rate)
        length = max(1, round(size * rate / self.rate))
        return resample(around, self.rate, rate)[first : first + length]


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

    ``rate`` is that of the samples: 8000, 16,000 or 48,000 Hz.  Where the call's is another, they
    are converted and come 3 ms later.  Where too little was written in time the call hears
    silence, which is counted; nothing makes up for it.  One `Frames` feeds one call.  Call it
    from the reactor's thread only.
    """

    def __init__(self, rate: int = DEFAULT_RATE) -> None:
        require_rate("rate", rate)
        self.rate = rate
        self._rings: Rings | None = None
        self._slot = 0
        self._early: Samples = np.zeros(0, np.int16)
        self._missed = 0

    def write(self, samples: npt.ArrayLike) -> int:
        """Append int16 samples; returns how many fitted, the rest is yours to keep."""
        array = _int16(samples)
        if self._rings is not None:
            return self._rings.write(self._slot, array)
        count = min(len(array), self.rate - len(self._early))
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

    @property
    def famine(self) -> float:
        """Seconds for which nothing at all has been there to send."""
        samples = 0 if self._rings is None else self._rings.famine(self._slot)
        return samples / self.rate

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


class MediaSource(Protocol):
    """What mypy knows of an object that provides `IMediaSource`."""

    def read(self, count: int, /) -> Samples | None:
        """The next ``count`` samples, or None at the end."""


Source: TypeAlias = Silence | Tone | Clip | Echo | Frames | MediaSource
"""One of the above, or an object that provides `IMediaSource`."""


def require_source(given: object) -> None:
    """Raise `ConfigurationError` for what is not a `Source`."""
    if isinstance(given, Tone | Clip | Echo | Silence | Frames):
        return
    if IMediaSource.providedBy(given):
        require_rate("rate of the media source", getattr(given, "rate", DEFAULT_RATE))
        return
    raise ConfigurationError(
        f"{given!r} is not a media source; use for example Tone(), Clip.from_file(...), Echo(),"
        " Silence() or an object that provides IMediaSource"
    )


def prepare(source: Source, rates: Iterable[int]) -> None:
    """Convert a stored sound for calls at these rates, so that none of them waits for it."""
    if isinstance(source, Clip):
        for rate in rates:
            source.at(rate)
