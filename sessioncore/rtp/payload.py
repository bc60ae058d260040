"""RTP payloads of the audio codecs, in batches: a frame per row, uint8 on the wire, int16 here.

A codec's number in `NUMBER` is what a column of a bank stores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from sessioncore.rtp.g711 import (
    ALAW_SILENCE,
    ULAW_SILENCE,
    decode_alaw,
    decode_ulaw,
    encode_alaw,
    encode_ulaw,
)
from sessioncore.vocabulary import L16, PCMA, PCMU, Codec

__all__ = ["NUMBER", "OCTETS_PER_SAMPLE", "PAYLOAD_CODECS", "PayloadCodec", "decode", "encode"]

Samples: TypeAlias = npt.NDArray[np.int16]
Octets: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]


def _decode_l16(octets: Octets, out: Samples | None = None) -> Samples:
    """Network order to the machine's (RFC 3551 section 4.5.11)."""
    samples = octets.view(">i2")
    if out is None:
        return samples.astype(np.int16)
    out[...] = samples
    return out


def _encode_l16(samples: Samples, out: Octets | None = None) -> Octets:
    octets = samples.astype(">i2").view(np.uint8)
    if out is None:
        return octets
    out[...] = octets
    return out


@frozen
class PayloadCodec:
    """How one codec goes to and from the wire.

    ``decode(octets uint8[..., k * octets_per_sample], out=None) -> int16[..., k]`` and
    ``encode(samples int16[..., k], out=None) -> uint8[..., k * octets_per_sample]``.
    ``silence`` is the octet that stands for no sound.
    """

    codec: Codec
    octets_per_sample: int
    silence: int
    decode: Callable[[Octets, Samples | None], Samples]
    encode: Callable[[Samples, Octets | None], Octets]


PAYLOAD_CODECS: Final = (
    PayloadCodec(PCMU, 1, ULAW_SILENCE, decode_ulaw, encode_ulaw),
    PayloadCodec(PCMA, 1, ALAW_SILENCE, decode_alaw, encode_alaw),
    PayloadCodec(L16, 2, 0, _decode_l16, _encode_l16),
)
"""By number: 0 PCMU, 1 PCMA, 2 L16."""
NUMBER: Final = {each.codec.name: number for number, each in enumerate(PAYLOAD_CODECS)}
"""Number of a codec by its RFC 3551 encoding name."""
OCTETS_PER_SAMPLE: Final[Ints] = np.array([each.octets_per_sample for each in PAYLOAD_CODECS])
"""Octets on the wire per sample, by codec number, to index with a column."""


def decode(numbers: Ints, octets: Octets, out: Samples) -> None:
    """Decode row i by codec ``numbers[i]`` into ``out`` (int16[n, k]).

    ``octets`` is uint8[n, >= k * octets_per_sample]; what is beyond that is not read.
    """
    size = out.shape[1]
    for number, rows in _by_codec(numbers):
        each = PAYLOAD_CODECS[number]
        width = size * each.octets_per_sample
        if rows is None:
            out[...] = each.decode(octets[:, :width], None)
        else:
            out[rows] = each.decode(octets[rows, :width], None)


def encode(numbers: Ints, samples: Samples, out: Octets) -> None:
    """Encode row i of ``samples`` (int16[n, k]) by codec ``numbers[i]``.

    The result lies at the beginning of each row of ``out`` (uint8[n, >= k *
    octets_per_sample]); the rest of the row is left alone.
    """
    size = samples.shape[1]
    for number, rows in _by_codec(numbers):
        each = PAYLOAD_CODECS[number]
        width = size * each.octets_per_sample
        if rows is None:
            out[:, :width] = each.encode(samples, None)
        else:
            out[rows, :width] = each.encode(samples[rows], None)


def _by_codec(numbers: Ints) -> list[tuple[int, Ints | None]]:
    """Which codecs occur and in which rows; None where all rows are alike, as is usual."""
    if not len(numbers):
        return []
    first = int(numbers[0])
    if (numbers == first).all():
        return [(first, None)]
    present = np.flatnonzero(np.bincount(numbers)).tolist()
    return [(number, np.flatnonzero(numbers == number)) for number in present]
