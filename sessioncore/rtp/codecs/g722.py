"""G.722 at 64 kbit/s: audio at 16,000 Hz, and an RTP clock of 8000 Hz (RFC 3551 section 4.5.2).

The ``G722`` package does the coding; it holds the state of one stream and codes one frame per
call.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np

from sessioncore.errors import ConfigurationError
from sessioncore.rtp.audio_codec import AudioCodec, Bytes, Samples

__all__ = ["G722"]

_BIT_RATE: Final = 64_000
_SAMPLES_PER_OCTET: Final = 2


def _find() -> Any:
    try:
        return import_module("G722").G722
    except ImportError:
        return None


_coder: Any = _find()


class _G722(AudioCodec):
    sample_rate = 16_000

    def require(self) -> None:
        if _coder is None:
            raise ConfigurationError(
                'codecs: G722 needs the G722 package; install it: pip install "sessioncore[g722]"'
            )

    def new_state(self) -> Any:
        return _coder(self.sample_rate, _BIT_RATE)

    def decode(self, payloads: Bytes, states: Sequence[Any]) -> Samples:
        rows, octets = payloads.shape
        samples = np.empty((rows, octets * _SAMPLES_PER_OCTET), np.int16)
        if octets:
            for row, (payload, decoder) in enumerate(zip(payloads, states, strict=True)):
                samples[row] = decoder.decode(payload.tobytes())
        return samples

    def encode(self, samples: Samples, states: Sequence[Any], payloads: Bytes) -> None:
        for row, (frame, encoder) in enumerate(zip(samples, states, strict=True)):
            payloads[row] = np.frombuffer(encoder.encode(frame), np.uint8)


G722: Final = _G722("G722", 9)
