"""Finds tones in audio, and says whether there is anything else.

The audio is split into windows of 20 ms.  From each window the best-fitting sines of the wanted
frequencies are subtracted; the rest, except for a constant, is everything else.  Because the
frequencies are known, this needs no window function and has no leakage.  A Fourier transform of
20 ms cannot distinguish 440 from 490 Hz; this detects a tone that is 4 Hz off, a click, a gap of
2 ms, or another call's audio underneath.  G.711 leaves about 35 dB, far above the required 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from sessioncore.errors import ConfigurationError

__all__ = [
    "AUDIBLE",
    "FULL_SCALE",
    "WINDOW_MS",
    "Fit",
    "ToneReport",
    "are_present",
    "fit",
    "levels",
    "require_measurable",
    "strongest",
    "tone_report",
    "windows_of",
]

Samples: TypeAlias = npt.NDArray[np.int16]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

WINDOW_MS: Final = 20
FULL_SCALE: Final = 32767.0
AUDIBLE: Final = -50.0
"""A level in dBov; what is softer is not heard."""
_WANTED_RATIO: Final = 20.0
_SILENCE: Final = -127.0
_JUMP: Final = 0.05
"""Turns by which the phase may be off; a tone 2 Hz off makes 0.04 in 20 ms."""
_NEAREST: Final = 40.0
"""Hz between two tones that 20 ms can keep apart."""
_BESIDE: Final = 3
"""Bins on either side of a peak that belong to it (Hann window)."""
_MOST_OF_IT: Final = 0.9
"""The share of the power that the one or two strongest frequencies of a tone have."""
_SECOND: Final = 0.02
"""A second tone has at least this share of the power of the first: -17 dB."""


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
    windows = windows_of(samples, rate)
    count, size = windows.shape
    if not count:
        return ToneReport(frequency, _SILENCE, 0.0, 0.0, 0, 0, 0, None)
    found = fit(windows, rate, [frequency])
    level = found.levels[:, 0]
    ratio = level - found.rest
    present = are_present(found)
    judged = present if present.any() else np.ones(count, np.bool_)
    return ToneReport(
        frequency,
        level_dbov=float(np.median(level[judged])),
        ratio_db=float(np.median(ratio[judged])),
        fraction_present=float(present.mean()),
        windows=count,
        longest_gap_ms=_longest_run(~present) * WINDOW_MS,
        phase_jumps=_jumps(found.phases[:, 0], present, frequency / rate * size),
        loudest_hz=_loudest(windows.ravel(), rate),
    )


def windows_of(samples: Samples, rate: int) -> Floats:
    """``samples`` as rows of 20 ms, from -1 to 1; what does not fill a row is left out."""
    size = rate * WINDOW_MS // 1000
    count = len(samples) // size
    windows: Floats = samples[: count * size].reshape(count, size) / FULL_SCALE
    return windows


class Fit(NamedTuple):
    """Sines fitted to windows: rows are windows, columns are frequencies."""

    levels: Floats
    """Of each tone, in dBov."""
    phases: Floats
    """Of each tone, in turns."""
    rest: Floats
    """Of everything else, without its constant, in dBov; one number per window."""


def fit(windows: Floats, rate: int, frequencies: Sequence[float]) -> Fit:
    """Fit sines of ``frequencies`` (Hz) to each of ``windows``, as `windows_of` returns them."""
    size = windows.shape[1]
    angles = 2 * np.pi / rate * np.outer(frequencies, np.arange(size))
    basis = np.concatenate([np.ones((1, size)), np.cos(angles), np.sin(angles)])
    weights = windows @ np.linalg.pinv(basis)
    count = len(frequencies)
    cosines, sines = weights[:, 1 : 1 + count], weights[:, 1 + count :]
    rest = windows - weights @ basis
    return Fit(
        _decibels((np.square(cosines) + np.square(sines)) / 2),
        np.arctan2(cosines, sines) / (2 * np.pi),
        _decibels(np.square(rest).mean(axis=1)),
    )


def are_present(found: Fit) -> Bools:
    """In which windows all tones are: audible, and 20 dB over everything else."""
    weakest = found.levels.min(axis=1)
    present: Bools = (weakest - found.rest >= _WANTED_RATIO) & (weakest >= AUDIBLE)
    return present


def require_measurable(frequencies: Sequence[float], rate: int) -> None:
    """Raise `ConfigurationError` for tones that 20 ms at ``rate`` Hz cannot tell."""
    for frequency in frequencies:
        if not 50 <= frequency <= rate / 2 - 50:
            raise ConfigurationError(
                f"{frequency:g} Hz cannot be recognized at {rate} Hz; use 50 to {rate // 2 - 50} Hz"
            )
    ordered = sorted(frequencies)
    for lower, higher in pairwise(ordered):
        if higher - lower < _NEAREST:
            raise ConfigurationError(
                f"{lower:g} and {higher:g} Hz cannot be told apart; use tones at least"
                f" {_NEAREST:g} Hz apart"
            )


def levels(windows: Floats) -> Floats:
    """The level of each window in dBov, without its constant."""
    return _decibels(windows.var(axis=1))


def strongest(windows: Floats, rate: int) -> tuple[float, ...]:
    """The one or two frequencies in Hz of which the audio consists, or none if it is not a tone."""
    samples = windows.ravel()
    if not len(samples):
        return ()
    power = np.square(np.abs(np.fft.rfft((samples - samples.mean()) * np.hanning(len(samples)))))
    whole = power.sum()
    found: list[tuple[float, float]] = []
    for _ in range(2):
        peak = int(np.argmax(power))
        beside = slice(max(0, peak - _BESIDE), peak + _BESIDE + 1)
        share, middle = power[beside].sum(), np.arange(len(power))[beside]
        if share <= 0 or (found and share < _SECOND * found[0][0]):
            break
        found.append((share, float((power[beside] * middle).sum() / share) * rate / len(samples)))
        power[beside] = 0
    if sum(share for share, _ in found) < _MOST_OF_IT * whole or whole <= 0:
        return ()
    return tuple(sorted(frequency for _, frequency in found))


def _decibels(power: Floats) -> Floats:
    level: Floats = 10 * np.log10(np.maximum(power, 10 ** (_SILENCE / 10)))
    return level


def _jumps(phase: Floats, present: Bools, turns_per_window: float) -> int:
    off = np.diff(phase) - turns_per_window
    off -= np.rint(off)
    return int((present[1:] & present[:-1] & (np.abs(off) > _JUMP)).sum())


def _longest_run(missing: Bools) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
    return int(np.max(edges[1::2] - edges[::2], initial=0))


def _loudest(samples: Floats, rate: int) -> float | None:
    spectrum = np.abs(np.fft.rfft((samples - samples.mean()) * np.hanning(len(samples))))
    peak = int(np.argmax(spectrum))
    return None if spectrum[peak] < 1e-6 * len(samples) else peak * rate / len(samples)
