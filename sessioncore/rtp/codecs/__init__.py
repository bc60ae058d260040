"""The audio codecs, one file each; a new file here is found without registration.

A module of this package holds one `sessioncore.rtp.audio_codec.AudioCodec`.  `Settings` accepts
codecs by the names in `CODECS`, or an application's own `AudioCodec`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from sessioncore.rtp.audio_codec import AudioCodec

__all__ = ["CODECS"]


def _found() -> Iterator[AudioCodec]:
    for module in iter_modules(__path__, f"{__name__}."):
        values = vars(import_module(module.name)).values()
        yield from (value for value in values if isinstance(value, AudioCodec))


CODECS: Final = {
    codec.name: codec for codec in sorted(_found(), key=lambda codec: codec.payload_type)
}
"""Every codec that comes with the package, by RFC 3551 encoding name."""
