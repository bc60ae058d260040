"""RTP headers in batches (RFC 3550 section 5.1): one packet per row of a uint8 matrix.

Every function makes a fixed number of numpy calls, however many rows there are.  Sequence
numbers, timestamps and SSRCs are int64, because numpy wraps uint16 silently and turns
uint64 + int64 into float64.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import define

__all__ = ["HEADER_SIZE", "HeaderBatch", "parse_headers", "write_headers"]

HEADER_SIZE = 12
"""Octets of an RTP header with neither CSRCs nor an extension."""

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

_PLAIN = 0x80
"""First octet of the common packet: version 2, no padding, no extension, no CSRC."""


@define(eq=False)
class HeaderBatch:
    """The headers of n packets, one array entry each; other fields are only valid where ``ok``.

    ``payload_offset`` and ``payload_length`` are in octets, without CSRCs, extension and
    padding.  ``timestamp`` is in units of the payload's clock.
    """

    ok: Bools
    payload_type: Ints
    marker: Bools
    sequence: Ints
    timestamp: Ints
    ssrc: Ints
    payload_offset: Ints
    payload_length: Ints


def parse_headers(packets: Bytes, lengths: npt.ArrayLike) -> HeaderBatch:
    """Read the header of every row of ``packets`` (uint8[n, width >= 12]).

    ``lengths`` are the octets received per row.  Never raises for received data: a row that is
    too short, longer than ``width``, not version 2, or whose CSRCs, extension or padding do not
    fit, is not ``ok``.
    """
    size = np.asarray(lengths, dtype=np.int64)
    words = np.ascontiguousarray(packets[:, :HEADER_SIZE]).view(">u4").astype(np.int64)
    first = words[:, 0]
    flags = first >> 24
    batch = HeaderBatch(
        ok=(size >= HEADER_SIZE) & (size <= packets.shape[1]),
        payload_type=(first >> 16) & 0x7F,
        marker=(first & 0x80_0000) != 0,
        sequence=first & 0xFFFF,
        timestamp=words[:, 1],
        ssrc=words[:, 2],
        payload_offset=np.full(len(size), HEADER_SIZE, np.int64),
        payload_length=size - HEADER_SIZE,
    )
    odd = flags != _PLAIN
    if odd.any():
        _parse_variable_part(packets, size, flags, np.flatnonzero(odd), batch)
    return batch


def _parse_variable_part(
    packets: Bytes, size: Ints, flags: Ints, rows: Ints, batch: HeaderBatch
) -> None:
    """CSRCs, extension (5.3.1) and padding of the ``rows`` whose flags are not plain."""
    width = packets.shape[1]
    flags = flags[rows]
    end = np.minimum(size[rows], width)
    ok = batch.ok[rows] & (flags >> 6 == 2)
    offset = HEADER_SIZE + 4 * (flags & 0x0F)

    extended = (flags & 0x10) != 0
    # If the extension lies outside, any octet will do: the row fails on its length.
    at = np.minimum(offset, width - 4)
    words = packets[rows, at + 2].astype(np.int64) << 8 | packets[rows, at + 3]
    offset = np.where(extended, offset + 4 + 4 * words, offset)

    padded = (flags & 0x20) != 0
    count = packets[rows, np.maximum(end, 1) - 1].astype(np.int64)
    # The count includes itself, so 0 is invalid, like a count that reaches into the header.
    ok &= ~padded | (count > 0)
    length = end - offset - np.where(padded, count, 0)
    ok &= length >= 0

    batch.ok[rows] = ok
    batch.payload_offset[rows] = offset
    batch.payload_length[rows] = length


def write_headers(
    out: Bytes,
    payload_type: npt.ArrayLike,
    marker: npt.ArrayLike,
    sequence: npt.ArrayLike,
    timestamp: npt.ArrayLike,
    ssrc: npt.ArrayLike,
) -> None:
    """Write plain 12-octet headers into the first columns of ``out`` (uint8[n, width >= 12]).

    Arguments are per row or one for all.  Sequence number, timestamp and SSRC are wrapped here
    to 16 and 32 bits, so counters may exceed them.
    """
    words = out[:, :HEADER_SIZE].view(">u4")
    first = np.asarray(payload_type, np.int64) << 16 | np.asarray(sequence, np.int64) & 0xFFFF
    if marker is not False:
        first = first | np.asarray(marker, np.int64) << 23
    words[:, 0] = first + (_PLAIN << 24)
    # Storing wraps to 32 bits.
    words[:, 1] = np.asarray(timestamp, np.int64)
    words[:, 2] = np.asarray(ssrc, np.int64)
