"""G.711 A-law (RFC 3551 section 4.5.14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sessioncore.rtp.audio_codec import Bytes, Samples, TableCodec
from sessioncore.rtp.g711 import ALAW_DECODE, ALAW_ENCODE, ALAW_SILENCE, decode_alaw

__all__ = ["PCMA"]


class _PCMA(TableCodec):
    silence = ALAW_SILENCE
    decode_table = ALAW_DECODE
    encode_table = ALAW_ENCODE

    def decode(self, payloads: Bytes, states: Sequence[Any]) -> Samples:
        return decode_alaw(payloads)  # two octets per look-up


PCMA: Final = _PCMA("PCMA", 8)
