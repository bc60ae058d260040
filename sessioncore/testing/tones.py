"""Checks that a recording contains a tone and nothing else; see `sessioncore.media.tones`."""

from __future__ import annotations

from os import PathLike
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.media.tones import FULL_SCALE, ToneReport, tone_report
from sessioncore.media.wave import read_wav

__all__ = ["ToneReport", "listen", "sine", "tone_report"]

Samples: TypeAlias = npt.NDArray[np.int16]


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
    peak = 10 ** (level / 20) * FULL_SCALE * 2**0.5
    samples: Samples = np.rint(peak * np.sin(2 * np.pi * frequency / rate * at)).astype(np.int16)
    return samples
