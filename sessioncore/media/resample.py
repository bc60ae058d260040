"""Change of sampling rate by a polyphase FIR filter, numpy only.

The filters keep what lies below 85 % of the lower rate's Nyquist frequency (3400 Hz of 4000).
`resample`, for stored audio, takes 80 dB off what lies above it; `RateConverter`, for audio
that comes frame by frame, 60 dB: that is shorter, and 3 ms late.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.errors import MediaFileError

__all__ = ["MAX_RATE", "MIN_RATE", "RateConverter", "resample"]

Samples: TypeAlias = npt.NDArray[np.int16]
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

MIN_RATE: Final = 1000
MAX_RATE: Final = 384_000
"""Rates in Hz that `resample` takes."""
_STOPBAND: Final = 80.0
_STREAMED_STOPBAND: Final = 60.0
_PASS: Final = 0.85
_LARGEST_TERM: Final = 4096
"""Ratios are rounded to terms up to this; the pitch is off by less than 1 in 10 million."""
_CHUNK: Final = 1 << 21


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """``samples`` (int16, one channel) at ``to_rate`` Hz instead of ``from_rate``.

    In step with the original: no delay, ceil(n * to / from) samples.  Raises
    `MediaFileError` for rates outside 1000 to 384,000 Hz.
    """
    for rate in (from_rate, to_rate):
        if not MIN_RATE <= rate <= MAX_RATE:
            raise MediaFileError(
                f"sampling rate of {rate} Hz: only {MIN_RATE} to {MAX_RATE} Hz can be converted"
            )
    if from_rate == to_rate or not len(samples):
        return samples.copy()
    ratio = Fraction(to_rate, from_rate).limit_denominator(_LARGEST_TERM)
    up, down = ratio.numerator, ratio.denominator
    phases = _filter(up, down, _STOPBAND)
    taps = phases.shape[1]
    lead = taps // 2
    padded = np.concatenate([np.zeros(lead), samples, np.zeros(taps)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps)
    size = -(-len(samples) * to_rate // from_rate)
    out = np.empty(size, np.int16)
    step = max(_CHUNK // taps, 1)
    for start in range(0, size, step):
        at = np.arange(start, min(start + step, size)) * down
        first = np.minimum(at // up, len(windows) - 1)
        value = np.einsum("ij,ij->i", windows[first], phases[at % up])
        out[start : start + len(at)] = np.clip(np.rint(value), -32768, 32767)
    return out


class RateConverter:
    """Audio of many rows from one rate to another, frame by frame.

    One of the rates is a multiple of the other.  What a row brought last is kept, so that its
    frames run on from one another.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        ratio = Fraction(to_rate, from_rate)
        self._up, self._down = ratio.numerator, ratio.denominator
        self._phases = _filter(self._up, self._down, _STREAMED_STOPBAND).astype(np.float32)
        self._kept = self._phases.shape[1] - 1
        self._history = np.zeros((0, self._kept), np.float32)

    def convert(self, rows: Ints, samples: Samples) -> Samples:
        """The next ``samples`` int16[n, m] of unique ``rows`` at the other rate."""
        count = samples.shape[1] // self._down
        self._history = self._reaching(int(np.max(rows, initial=-1)))
        given = np.empty((len(rows), self._kept + samples.shape[1]), np.float32)
        given[:, : self._kept] = self._history[rows]
        given[:, self._kept :] = samples
        self._history[rows] = given[:, samples.shape[1] :]
        windows = np.lib.stride_tricks.sliding_window_view(given, self._kept + 1, axis=1)
        taken = windows[:, : count * self._down : self._down]
        value = np.empty((len(rows), count, self._up), np.float32)
        for phase, taps in enumerate(self._phases):
            value[:, :, phase] = np.einsum("nwt,t->nw", taken, taps)
        np.clip(np.rint(value, out=value), -32768, 32767, out=value)
        return value.reshape(len(rows), count * self._up).astype(np.int16)

    def reset(self, row: int) -> None:
        """What ``row`` brings next begins after silence."""
        if row < len(self._history):
            self._history[row] = 0

    def _reaching(self, row: int) -> npt.NDArray[np.float32]:
        if row < len(self._history):
            return self._history
        longer = np.zeros((max(row + 1, 2 * len(self._history)), self._kept), np.float32)
        longer[: len(self._history)] = self._history
        return longer


def _filter(up: int, down: int, stopband: float) -> Floats:
    """One row of coefficients per phase, in the order of the samples they are applied to.

    A windowed sinc at ``up`` times the input's rate (Kaiser's formulas for the length).
    """
    slower = max(up, down)
    # In units of the lower rate's Nyquist frequency: passes _PASS, stops at 1.
    width = np.pi * (1 - _PASS)
    half = int(np.ceil((stopband - 8) / (2.285 * width) / 2)) * slower
    half = -(-half // up) * up
    beta = 0.1102 * (stopband - 8.7)
    at = np.arange(-half, half + up)
    cutoff = (1 + _PASS) / 2 / slower
    window = np.i0(beta * np.sqrt(np.maximum(1 - (at / half) ** 2, 0))) / np.i0(beta)
    window[at > half] = 0
    impulse = np.sinc(at * cutoff) * cutoff * window * up
    # y[m] = sum over k of x[m*down//up - half/up + k] * h[(m*down % up) + half - k*up], so
    # phase p runs backwards through every up-th coefficient.
    taps = 2 * (half // up) + 1
    index = np.arange(up)[:, None] + (2 * half - up * np.arange(taps))[None, :]
    phases: Floats = impulse[index]
    return phases
