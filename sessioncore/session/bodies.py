"""Session descriptions as message bodies, and header fields that several responses share."""

from __future__ import annotations

from typing import Final

from sessioncore.sip.message import Message
from sessioncore.sip.methods import SDP

__all__ = ["CONTENT_SDP", "RETRY_LATER", "Header", "description_in"]

Header = tuple[bytes, bytes]

CONTENT_SDP: Final[Header] = (b"Content-Type", SDP)
RETRY_LATER: Final[Header] = (b"Retry-After", b"10")


def description_in(message: Message) -> bytes:
    """The session description in the body of a message, or empty if the body is something else."""
    body = message.body
    return body if body and message.content_type == SDP else b""
