"""Comfort noise (RFC 3389): a level instead of audio, in batches.

Only the level is used, not the spectrum that may follow it (section 3.2): most peers send only
a level, and G.711 can carry only white noise.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_FRAME", "render_noise"]

Samples: TypeAlias = npt.NDArray[np.int16]
Floats: TypeAlias = npt.NDArray[np.float32]

MAX_FRAME: Final = 2880
"""The longest frame of noise, in samples."""
_TABLE: Final = 1 << 15
_FULL_SCALE: Final = 32767.0


def _white_noise(size: int) -> Floats:
    """Noise of power 1 from an integer hash: the same in every run, without a random source."""
    bits = np.arange(size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ bits >> np.uint64(shift)) * np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    # The sum of four uniform values is close enough to a normal distribution for the ear.
    parts = bits.view(np.uint16).reshape(size, 4).astype(np.float64).sum(axis=1)
    noise: Floats = ((parts - parts.mean()) / parts.std()).astype(np.float32)
    return noise


_NOISE: Final = _white_noise(_TABLE)
_WINDOWS: Final = np.lib.stride_tricks.sliding_window_view(
    np.concatenate([_NOISE, _NOISE[:MAX_FRAME]]), MAX_FRAME
)


def render_noise(levels: npt.ArrayLike, position: npt.ArrayLike, out: Samples) -> None:
    """Fill ``out`` (int16[n, samples <= 2880]) with noise of ``levels`` dBov per row.

    ``position`` is the offset into the noise per row.  Advance it with the samples, and start
    rows at different offsets, so that calls do not hear the same noise.
    """
    at = np.asarray(position, np.int64) % _TABLE
    level = np.asarray(levels, np.float32)
    gain = _FULL_SCALE * np.float32(10) ** (level / np.float32(20))
    noise = _WINDOWS[at, : out.shape[1]] * gain[:, None]
    np.copyto(out, np.clip(np.rint(noise), -32768, 32767), casting="unsafe")
