"""G.711 A-law and mu-law by table, bit-exact to the reference code of ITU-T G.191.

Samples are int16, codes uint8, in arrays of any shape.  G.191 folds negative samples by one's
complement, so -1 and 0 share a step; implementations that negate differ there by one step.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "ALAW_DECODE",
    "ALAW_ENCODE",
    "ALAW_SILENCE",
    "ULAW_DECODE",
    "ULAW_ENCODE",
    "ULAW_SILENCE",
    "decode_alaw",
    "decode_ulaw",
    "encode_alaw",
    "encode_ulaw",
]

Samples: TypeAlias = npt.NDArray[np.int16]
Codes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Pairs: TypeAlias = npt.NDArray[np.uint32]

ULAW_SILENCE: Final = 0xFF
"""The mu-law code of sample 0."""
ALAW_SILENCE: Final = 0xD5
"""The A-law code of sample 0 (decodes to 8: A-law has no zero)."""


def _ulaw_expand() -> Samples:
    code = ~np.arange(256)
    exponent = (code >> 4) & 7
    step = 4 << (exponent + 1)
    magnitude = (0x80 << exponent) + step * (code & 15) + step // 2 - 4 * 33
    signed: Ints = np.where(np.arange(256) < 0x80, -magnitude, magnitude)
    return signed.astype(np.int16)


def _alaw_expand() -> Samples:
    code = (np.arange(256) ^ 0x55) & 0x7F
    exponent = code >> 4
    mantissa = (code & 15) + np.where(exponent > 0, 16, 0)
    magnitude = ((mantissa << 4) + 8) << np.maximum(exponent - 1, 0)
    signed: Ints = np.where(np.arange(256) > 0x7F, magnitude, -magnitude)
    return signed.astype(np.int16)


def _all_samples() -> Ints:
    """Every sample in the order of its bits as uint16: 0..32767, -32768..-1."""
    return np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int64)


def _counts_of_bits(magnitude: Ints, bits: range) -> Ints:
    """The number of ``bits`` that each magnitude reaches: its segment."""
    count: Ints = np.sum([magnitude >> bit > 0 for bit in bits], axis=0, dtype=np.int64)
    return count


def _ulaw_compress() -> Codes:
    sample = _all_samples()
    magnitude = np.minimum((np.where(sample < 0, ~sample, sample) >> 2) + 33, 0x1FFF)
    segment = 1 + _counts_of_bits(magnitude, range(6, 13))
    code: Ints = (8 - segment) << 4 | 15 - (magnitude >> segment & 15)
    code |= np.where(sample >= 0, 0x80, 0)
    return code.astype(np.uint8)


def _alaw_compress() -> Codes:
    sample = _all_samples()
    magnitude = np.where(sample < 0, ~sample, sample) >> 4
    shift = _counts_of_bits(magnitude, range(5, 11))
    curved = (magnitude >> shift) - 16 + ((shift + 1) << 4)
    code: Ints = np.where(magnitude > 15, curved, magnitude)
    code |= np.where(sample >= 0, 0x80, 0)
    return (code ^ 0x55).astype(np.uint8)


def _pairs(table: Samples) -> Pairs:
    """A table from two neighbouring codes (one uint16) to their two samples (one uint32)."""
    codes = np.arange(65536, dtype=np.uint16).view(np.uint8)
    return np.take(table, codes).view(np.uint32)


ULAW_DECODE: Final = _ulaw_expand()
ALAW_DECODE: Final = _alaw_expand()
_ULAW_PAIRS: Final = _pairs(ULAW_DECODE)
_ALAW_PAIRS: Final = _pairs(ALAW_DECODE)
ULAW_ENCODE: Final = _ulaw_compress()
ALAW_ENCODE: Final = _alaw_compress()


def _decode(pairs: Pairs, single: Samples, codes: Codes, out: Samples | None) -> Samples:
    # Two codes per look-up halve the time of 500 packets (80 -> 37 us).
    if codes.ndim and codes.shape[-1] % 2 == 0 and codes.strides[-1] == 1:
        wide = None if out is None else out.view(np.uint32)
        return pairs.take(codes.view(np.uint16), out=wide, mode="clip").view(np.int16)
    return single.take(codes, out=out, mode="clip")


def decode_ulaw(codes: Codes, out: Samples | None = None) -> Samples:
    """Mu-law codes to samples, into ``out`` (int16, C-contiguous) if given."""
    return _decode(_ULAW_PAIRS, ULAW_DECODE, codes, out)


def decode_alaw(codes: Codes, out: Samples | None = None) -> Samples:
    """A-law codes to samples, into ``out`` (int16, C-contiguous) if given."""
    return _decode(_ALAW_PAIRS, ALAW_DECODE, codes, out)


def encode_ulaw(samples: Samples, out: Codes | None = None) -> Codes:
    """Samples to mu-law codes, into ``out`` if given."""
    return ULAW_ENCODE.take(samples.view(np.uint16), out=out, mode="clip")


def encode_alaw(samples: Samples, out: Codes | None = None) -> Codes:
    """Samples to A-law codes, into ``out`` if given."""
    return ALAW_ENCODE.take(samples.view(np.uint16), out=out, mode="clip")
