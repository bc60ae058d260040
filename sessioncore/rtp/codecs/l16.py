"""Linear audio, 16 bits in network byte order (RFC 3551 section 4.5.11), here at 8000 Hz."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sessioncore.rtp.audio_codec import AudioCodec, Bytes, Samples

__all__ = ["L16"]


class _Linear(AudioCodec):
    frame_octets = 320
    silence = 0

    def decode(self, payloads: Bytes, states: Sequence[Any]) -> Samples:
        whole = payloads[:, : payloads.shape[1] & ~1]
        return np.ascontiguousarray(whole).view(">i2").astype(np.int16)

    def encode(self, samples: Samples, states: Sequence[Any], payloads: Bytes) -> None:
        payloads[:] = samples.astype(">i2").view(np.uint8)


L16: Final = _Linear("L16", 96)
