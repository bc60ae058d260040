"""What a codec is: a `Codec`, which SDP names, together with how its audio is coded.

Each codec is one file in `sessioncore.rtp.codecs`.  All work is done in batches: one frame or
payload per row of an array.  A codec whose coding depends on what came before (G.722) keeps a
state for each row and direction; the others have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.vocabulary import Codec

__all__ = ["FRAMES_PER_SECOND", "AudioCodec", "TableCodec"]

Samples: TypeAlias = npt.NDArray[np.int16]
Bytes: TypeAlias = npt.NDArray[np.uint8]

FRAMES_PER_SECOND: Final = 50
"""Frames last 20 ms, the grain everything is played in."""


class AudioCodec(Codec):
    """A codec of one channel with payloads of a fixed size.

    The fields of an instance are what SDP says of it; the attributes of its class are how it
    is coded.  ``sample_rate`` is that of the audio in Hz; the RTP clock (``clock_rate``) may be
    another.  ``frame_octets`` is the size of a 20 ms payload.  ``silence`` is the value of every
    octet of a payload of zeros; None where that depends on what was encoded before.
    """

    sample_rate: ClassVar[int] = 8000
    frame_octets: ClassVar[int] = 160
    silence: ClassVar[int | None] = None

    @property
    def frame_samples(self) -> int:
        """Samples of a 20 ms frame."""
        return self.sample_rate // FRAMES_PER_SECOND

    def require(self) -> None:
        """Raise `ConfigurationError`, which says what to install, if it cannot be used here."""

    def new_state(self) -> Any:
        """The state of one row's encoder or decoder at its beginning; None: there is none."""
        return None

    def decode(self, payloads: Bytes, states: Sequence[Any]) -> Samples:
        """Samples int16[n, m] of ``payloads`` uint8[n, k]; ``states`` holds n decoders.

        ``states`` is empty where `new_state` gives None.  Octets that make no whole sample are
        passed over.
        """
        raise NotImplementedError

    def encode(self, samples: Samples, states: Sequence[Any], payloads: Bytes) -> None:
        """Fill ``payloads`` uint8[n, k] with ``samples`` int16[n, m]; ``states``: n encoders."""
        raise NotImplementedError


class TableCodec(AudioCodec):
    """A codec whose every octet is a sample, without regard to its neighbours (G.711).

    ``decode_table`` int16[256] is indexed by octet, ``encode_table`` uint8[65536] by the bits
    of a sample.
    """

    decode_table: ClassVar[Samples]
    encode_table: ClassVar[Bytes]

    def decode(self, payloads: Bytes, states: Sequence[Any]) -> Samples:
        """By table."""
        return self.decode_table.take(payloads, mode="clip")

    def encode(self, samples: Samples, states: Sequence[Any], payloads: Bytes) -> None:
        """By table."""
        payloads[:] = self.encode_table.take(samples.view(np.uint16), mode="clip")
