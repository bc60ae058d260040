"""G.711 mu-law (RFC 3551 section 4.5.14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sessioncore.rtp.audio_codec import Bytes, Samples, TableCodec
from sessioncore.rtp.g711 import ULAW_DECODE, ULAW_ENCODE, ULAW_SILENCE, decode_ulaw

__all__ = ["PCMU"]


class _PCMU(TableCodec):
    silence = ULAW_SILENCE
    decode_table = ULAW_DECODE
    encode_table = ULAW_ENCODE

    def decode(self, payloads: Bytes, states: Sequence[Any]) -> Samples:
        return decode_ulaw(payloads)  # two octets per look-up


PCMU: Final = _PCMU("PCMU", 0)
