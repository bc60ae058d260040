"""Checks that audio contains a tone and nothing else.

The audio is split into windows of 20 ms.  From each window the best-fitting sine of the wanted
frequency is subtracted; the rest, except for a constant, is everything else.  Because the
frequency is known, this needs no window function and has no leakage.  A Fourier transform of
20 ms cannot distinguish 440 from 490 Hz; this detects a tone that is 4 Hz off, a click, a gap of
2 ms, or another call's audio underneath.  G.711 leaves about 35 dB, far above the required 20.
"""

from __future__ import annotations

from os import PathLike
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from sessioncore.media.wave import read_wav

__all__ = ["ToneReport", "listen", "sine", "tone_report"]

Samples: TypeAlias = npt.NDArray[np.int16]
Floats: TypeAlias = npt.NDArray[np.float64]

_WINDOW_MS: Final = 20
_FULL_SCALE: Final = 32767.0
_WANTED_RATIO: Final = 20.0
_AUDIBLE: Final = -50.0
_SILENCE: Final = -127.0
_JUMP: Final = 0.05
"""Turns by which the phase may be off; a tone 2 Hz off makes 0.04 in 20 ms."""


@frozen
class ToneReport:
    """The measurement of one tone.

    ``fraction_present`` is the share of 20 ms windows in which the tone is at least 20 dB over
    everything else and not softer than -50 dBov.  ``level_dbov`` and ``ratio_db`` (tone over
    everything else) are the medians of those windows, or of all windows if the tone is in none.
    ``longest_gap_ms`` is the longest time without it.  ``phase_jumps`` counts neighbouring
    windows whose tones are not continuous; only this shows a frame that was lost or repeated
    between two windows.  ``loudest_hz`` is the strongest frequency of the whole, None for
    silence.
    """

    frequency: float
    level_dbov: float
    ratio_db: float
    fraction_present: float
    windows: int
    longest_gap_ms: int
    phase_jumps: int
    loudest_hz: float | None

    def heard(self, fraction: float = 0.98) -> bool:
        """Whether the tone is in at least this share of the windows."""
        return self.windows > 0 and self.fraction_present >= fraction

    def __str__(self) -> str:
        loudest = "silence" if self.loudest_hz is None else f"loudest {self.loudest_hz:.0f} Hz"
        return (
            f"{self.frequency:g} Hz in {self.fraction_present:.1%} of {self.windows} windows,"
            f" {self.level_dbov:.1f} dBov, {self.ratio_db:.1f} dB over the rest,"
            f" longest gap {self.longest_gap_ms} ms, {self.phase_jumps} phase jumps, {loudest}"
        )


def tone_report(samples: Samples, rate: int, frequency: float) -> ToneReport:
    """Measure ``frequency`` (Hz) in ``samples`` (int16, one channel, at ``rate`` Hz).

    Raises ValueError for a frequency that cannot be measured in 20 ms: below 50 Hz, or within
    50 Hz of half the rate.
    """
    if samples.ndim != 1 or samples.dtype != np.int16:
        raise ValueError("tone_report needs one channel of int16 samples")
    if not 50 <= frequency <= rate / 2 - 50:
        raise ValueError(f"{frequency} Hz cannot be measured in 20 ms at {rate} Hz")
    size = rate * _WINDOW_MS // 1000
    count = len(samples) // size
    if not count:
        return ToneReport(frequency, _SILENCE, 0.0, 0.0, 0, 0, 0, None)
    windows = samples[: count * size].reshape(count, size) / _FULL_SCALE
    tone, rest, phase = _split(windows, frequency / rate)
    level = _decibels(tone)
    ratio = level - _decibels(rest)
    present = (ratio >= _WANTED_RATIO) & (level >= _AUDIBLE)
    judged = present if present.any() else np.ones(count, np.bool_)
    return ToneReport(
        frequency,
        level_dbov=float(np.median(level[judged])),
        ratio_db=float(np.median(ratio[judged])),
        fraction_present=float(present.mean()),
        windows=count,
        longest_gap_ms=_longest_run(~present) * _WINDOW_MS,
        phase_jumps=_jumps(phase, present, frequency / rate * size),
        loudest_hz=_loudest(windows.ravel(), rate),
    )


def listen(
    source: str | PathLike[str] | Samples,
    frequency: float,
    *,
    rate: int = 8000,
    channel: int | None = None,
    skip_ms: int = 0,
) -> ToneReport:
    """`tone_report` of a WAV file, or of samples at ``rate`` Hz.

    ``skip_ms`` skips the beginning, before media flows.  ``channel`` is required if there are
    several channels: a stereo recording has received audio on 0 and sent audio on 1, and a mix
    of both would prove nothing.
    """
    if isinstance(source, np.ndarray):
        samples = source
    else:
        audio = read_wav(str(source))
        samples, rate = audio.samples, audio.rate
    if samples.ndim == 2:
        if channel is None and samples.shape[1] != 1:
            raise ValueError(f"there are {samples.shape[1]} channels; give channel=0 for the left")
        samples = np.ascontiguousarray(samples[:, channel or 0])
    return tone_report(samples[rate * skip_ms // 1000 :], rate, frequency)


def sine(frequency: float, seconds: float, *, rate: int = 8000, level: float = -16.0) -> Samples:
    """A tone of ``level`` dBov, to send or for comparison."""
    at = np.arange(round(seconds * rate))
    peak = 10 ** (level / 20) * _FULL_SCALE * 2**0.5
    samples: Samples = np.rint(peak * np.sin(2 * np.pi * frequency / rate * at)).astype(np.int16)
    return samples


def _decibels(power: Floats) -> Floats:
    level: Floats = 10 * np.log10(np.maximum(power, 10 ** (_SILENCE / 10)))
    return level


def _split(windows: Floats, turns_per_sample: float) -> tuple[Floats, Floats, Floats]:
    """Per window: power of the tone, power of the rest without its constant, phase in turns."""
    size = windows.shape[1]
    angle = 2 * np.pi * turns_per_sample * np.arange(size)
    basis = np.stack([np.ones(size), np.cos(angle), np.sin(angle)])
    constant, cosine, sinus = (windows @ np.linalg.pinv(basis)).T
    fitted = np.outer(cosine, basis[1]) + np.outer(sinus, basis[2])
    tone: Floats = np.square(fitted).mean(axis=1)
    rest: Floats = np.square(windows - fitted - constant[:, None]).mean(axis=1)
    phase: Floats = np.arctan2(cosine, sinus) / (2 * np.pi)
    return tone, rest, phase


def _jumps(phase: Floats, present: npt.NDArray[np.bool_], turns_per_window: float) -> int:
    off = np.diff(phase) - turns_per_window
    off -= np.rint(off)
    return int((present[1:] & present[:-1] & (np.abs(off) > _JUMP)).sum())


def _longest_run(missing: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
    return int(np.max(edges[1::2] - edges[::2], initial=0))


def _loudest(samples: Floats, rate: int) -> float | None:
    spectrum = np.abs(np.fft.rfft((samples - samples.mean()) * np.hanning(len(samples))))
    peak = int(np.argmax(spectrum))
    return None if spectrum[peak] < 1e-6 * len(samples) else peak * rate / len(samples)
