"""Says whether audio is like speech: it is loud now and soft then, and its sound changes.

This recognizes no words.  Three seconds are like speech if all of this holds of their windows of
20 ms:

- at least a tenth of them is audible (louder than -50 dBov);
- the levels of these differ, by a standard deviation of at least 2.5 dB: a steady tone or noise
  has less than 1;
- so does their sound: the standard deviation of the spectral centroid is at least 120 Hz.  A tone
  that is switched on and off (busy, ringing) has less than 60;
- at most half of them consist of one or two frequencies, as tones and digits do.

Music passes as speech.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from sessioncore.media.tones import AUDIBLE, Floats, levels

__all__ = ["Features", "features", "is_speech", "joined"]

_AUDIBLE_SHARE: Final = 0.1
_LEVELS: Final = 2.5
_CENTROIDS: Final = 120.0
_TONAL_SHARE: Final = 0.5
_TONAL: Final = 0.95
"""The share of its power that a window of a tone has in its two strongest bins."""


class Features(NamedTuple):
    """What is measured of each window: level in dBov, spectral centroid in Hz, share of tones."""

    level: Floats
    centroid: Floats
    tonal: Floats


def features(windows: Floats, rate: int) -> Features:
    """Measure windows of `sessioncore.media.tones.windows_of`."""
    size = windows.shape[1]
    shaped = (windows - windows.mean(axis=1, keepdims=True)) * np.hanning(size)
    power = np.square(np.abs(np.fft.rfft(shaped)))
    whole = np.maximum(power.sum(axis=1), 1e-20)
    centroid: Floats = power @ np.fft.rfftfreq(size, 1 / rate) / whole
    return Features(levels(windows), centroid, _strongest_two(power) / whole)


def _strongest_two(power: Floats) -> Floats:
    """The power in the two strongest bins of each row and in those beside them; spends ``power``.

    A Hann window spreads a tone over three bins.
    """
    count, bins = power.shape
    rows = np.arange(count)
    found = np.zeros(count)
    for _ in range(2):
        peak = power.argmax(axis=1)
        for beside in (-1, 0, 1):
            where = np.clip(peak + beside, 0, bins - 1)
            found += power[rows, where]
            power[rows, where] = 0
    return found


def joined(parts: list[Features]) -> Features:
    """The features of audio in several parts, as one."""
    return Features(*map(np.concatenate, zip(*parts, strict=True)))


def is_speech(found: Features) -> bool:
    """Whether audio with these features is like speech."""
    audible = found.level > AUDIBLE
    count = int(audible.sum())
    return bool(
        count
        and count >= _AUDIBLE_SHARE * len(audible)
        and found.level[audible].std() >= _LEVELS
        and found.centroid[audible].std() >= _CENTROIDS
        and (found.tonal[audible] > _TONAL).mean() <= _TONAL_SHARE
    )
