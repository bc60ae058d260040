"""What we say we can do (RFC 3261 sections 13.2.1 and 20.5), in one place."""

from __future__ import annotations

from typing import Final

from sessioncore.sip.message import Message

__all__ = [
    "ACCEPT",
    "ALLOW",
    "ALLOWED",
    "CONTENT_SDP",
    "EXTENSIONS",
    "MAX_FORWARDS",
    "RETRY_LATER",
    "SUPPORTED",
    "Header",
    "description_in",
]

Header = tuple[bytes, bytes]

ALLOWED: Final = frozenset({b"INVITE", b"ACK", b"BYE", b"CANCEL", b"OPTIONS"})
EXTENSIONS: Final[frozenset[bytes]] = frozenset()
"""Option tags that work; `SUPPORTED` lists just these."""

ALLOW: Final[Header] = (b"Allow", b"INVITE, ACK, BYE, CANCEL, OPTIONS")
ACCEPT: Final[Header] = (b"Accept", b"application/sdp")
SUPPORTED: Final[Header] = (b"Supported", b", ".join(sorted(EXTENSIONS)))
CONTENT_SDP: Final[Header] = (b"Content-Type", b"application/sdp")
MAX_FORWARDS: Final[Header] = (b"Max-Forwards", b"70")
RETRY_LATER: Final[Header] = (b"Retry-After", b"10")


def description_in(message: Message) -> bytes:
    """The session description a message carries, or nothing where its body is something else."""
    body = message.body
    return body if body and message.content_type == b"application/sdp" else b""
