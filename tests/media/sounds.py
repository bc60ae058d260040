"""Sounds that are made up: like speech, and what might be taken for it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sessioncore.testing.tones import sine

__all__ = ["noise", "speech_like", "switched"]

Samples = npt.NDArray[np.int16]


def speech_like(seconds: float, seed: int = 1) -> Samples:
    """Syllables: voiced ones of many harmonics under moving formants, hissing ones, and pauses."""
    rng = np.random.default_rng(seed)
    parts: list[npt.NDArray[np.float64]] = []
    while sum(map(len, parts)) < seconds * 8000:
        length = int(rng.uniform(0.1, 0.3) * 8000)
        shape = np.sin(np.pi * np.arange(length) / length)
        if rng.random() < 0.7:
            parts.append(shape * _voiced(rng, length))
        else:
            hiss = np.diff(rng.normal(0, 600, length + 1))
            parts.append(shape * hiss)
        parts.append(np.zeros(int(rng.uniform(0.02, 0.25) * 8000)))
    return np.concatenate(parts)[: int(seconds * 8000)].astype(np.int16)


def _voiced(rng: np.random.Generator, length: int) -> npt.NDArray[np.float64]:
    pitch = rng.uniform(90, 220)
    formant = np.linspace(rng.uniform(300, 900), rng.uniform(300, 900), length)
    turns = pitch / 8000 * np.arange(length)
    voice = np.zeros(length)
    for harmonic in range(1, int(3400 / pitch)):
        distance = (harmonic * pitch - formant) / 250
        voice += np.exp(-np.square(distance)) * np.sin(2 * np.pi * harmonic * turns)
        voice += 0.15 / harmonic * np.sin(2 * np.pi * harmonic * turns)
    return 5000 * voice


def noise(seconds: float, level: float = 2000.0) -> Samples:
    """White noise."""
    return np.random.default_rng(1).normal(0, level, int(seconds * 8000)).astype(np.int16)


def switched(seconds: float, *frequencies: float, period: float = 1.0) -> Samples:
    """Tones that are on for half of each period."""
    mixed = np.sum([sine(each, seconds) for each in frequencies], axis=0)
    on = np.arange(len(mixed)) % (period * 8000) < period * 4000
    return (mixed * on).astype(np.int16)
