"""The base of codecs: a `Codec`, which SDP names, with encoding and decoding of its audio.

Each codec is one file in `sessioncore.rtp.codecs`.  All work is done in batches: one frame or
payload per row of an array.  A codec that depends on earlier frames (G.722) has a state for
each row and direction; the others have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.vocabulary import Codec

__all__ = ["FRAMES_PER_SECOND", "PACKET_LENGTHS", "AudioCodec", "TableCodec"]

Samples: TypeAlias = npt.NDArray[np.int16]
Bytes: TypeAlias = npt.NDArray[np.uint8]

FRAMES_PER_SECOND: Final = 50
"""Frames per second: frames last 20 ms, the unit of all playback."""
PACKET_LENGTHS: Final = (20, 40, 60)
"""Packet lengths in ms that can be sent: whole frames."""


class AudioCodec(Codec):
    """A codec of one channel with payloads of a fixed size.

    The fields of an instance describe it in SDP; the attributes of its class describe its
    coding.  ``sample_rate`` is that of the audio in Hz; the RTP clock (``clock_rate``) may
    differ.  ``frame_octets`` is the size of a 20 ms payload.  ``silence`` is the value of every
    octet in a payload of silence; None if that depends on earlier frames.
    """

    sample_rate: ClassVar[int] = 8000
    frame_octets: ClassVar[int] = 160
    silence: ClassVar[int | None] = None

    @property
    def frame_samples(self) -> int:
        """Samples of a 20 ms frame."""
        return self.sample_rate // FRAMES_PER_SECOND

    def require(self) -> None:
        """Raise `ConfigurationError`, which says what to install, if the codec is not usable."""

    def new_state(self) -> Any:
        """A new state for the encoder or decoder of one row, or None if the codec has none."""
        return None

    def decode(self, payloads: Bytes, states: Sequence[Any]) -> Samples:
        """Samples int16[n, m] of ``payloads`` uint8[n, k]; ``states`` holds n decoders.

        ``states`` is empty if `new_state` returns None.  Octets that do not make a whole sample
        are ignored.
        """
        raise NotImplementedError

    def encode(self, samples: Samples, states: Sequence[Any], payloads: Bytes) -> None:
        """Fill ``payloads`` uint8[n, k] with ``samples`` int16[n, m]; ``states``: n encoders."""
        raise NotImplementedError


class TableCodec(AudioCodec):
    """A codec in which each octet is one sample, independent of the others (G.711).

    ``decode_table`` int16[256] is indexed by octet, ``encode_table`` uint8[65536] by the bits
    of a sample.
    """

    decode_table: ClassVar[Samples]
    encode_table: ClassVar[Bytes]

    def decode(self, payloads: Bytes, states: Sequence[Any]) -> Samples:
        """Decode by table."""
        return self.decode_table.take(payloads, mode="clip")

    def encode(self, samples: Samples, states: Sequence[Any], payloads: Bytes) -> None:
        """Encode by table."""
        payloads[:] = self.encode_table.take(samples.view(np.uint16), mode="clip")
