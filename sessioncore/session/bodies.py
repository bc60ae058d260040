"""Session descriptions as message bodies, and header fields that several responses share."""

from __future__ import annotations

from typing import Final

from sessioncore.errors import SipParseError
from sessioncore.sip.message import Message
from sessioncore.sip.methods import SDP
from sessioncore.sip.multipart import is_multipart, part_of

__all__ = ["CONTENT_SDP", "RETRY_LATER", "Header", "description_in"]

Header = tuple[bytes, bytes]

CONTENT_SDP: Final[Header] = (b"Content-Type", SDP)
_DESCRIPTIONS: Final = (SDP,)
RETRY_LATER: Final[Header] = (b"Retry-After", b"10")


def description_in(message: Message) -> bytes:
    """The session description in the body of a message, or empty if there is none.

    It is the body, or a part of it (RFC 5621).  Raises nothing.
    """
    body = message.body
    if not body:
        return b""
    try:
        kind = message.content_type
    except SipParseError:
        return b""
    if kind == SDP:
        return body
    return (part_of(message, _DESCRIPTIONS) or b"") if is_multipart(kind) else b""
