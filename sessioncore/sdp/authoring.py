"""Writes our descriptions, with m-lines in the peer's order."""

from __future__ import annotations

from functools import cache
from typing import Final

from sessioncore.sdp.description import MediaDescription
from sessioncore.sdp.formats import Proposal
from sessioncore.sdp.targets import read_host
from sessioncore.vocabulary import Address, Direction

__all__ = ["HEAD", "OURS", "Rows", "answer_rows", "write_content"]

HEAD: Final = b"v=0\r\no=- %d %d %b"
"""The start of a description: session id, version, and the content."""
_SESSION: Final = b"%b\r\ns=-\r\nc=%b\r\nt=%b\r\n"
_AUDIO: Final = b"m=audio %d %ba=%b\r\n"
_ALONE: Final = _SESSION + _AUDIO
_DIRECTIONS: Final = tuple(str(direction).encode() for direction in Direction)

Rows = tuple[bytes | None, ...]
"""The m-lines of our description: a refused one as written, None for our audio."""
OURS: Final[Rows] = (None,)
"""Only our audio."""


def write_content(
    rows: Rows, proposal: Proposal, direction: Direction, own: Address, times: bytes
) -> bytes:
    """A description from the address in ``o=`` on, with our audio in the row that is None.

    RTP is received on ``own``, RTCP on the next port.
    """
    ip, port = own
    where, lines, said = _where(ip), proposal.lines, _DIRECTIONS[direction]
    if rows is OURS:
        return _ALONE % (where, where, times, port, lines, said)
    audio = _AUDIO % (port, lines, said)
    return _SESSION % (where, where, times) + b"".join([row or audio for row in rows])


@cache  # we have few addresses
def _where(ip: str) -> bytes:
    """``IN IP4 192.0.2.1``, without the zone of a link-local IPv6 address."""
    host = read_host(ip)
    text = ip if host is None else host.text
    return f"IN {'IP6' if ':' in text else 'IP4'} {text.partition('%')[0]}".encode("ascii")


def answer_rows(media: tuple[MediaDescription, ...], index: int | None) -> Rows:
    """One m-line per offered one, in order (RFC 3264 section 6): None for ours, else port 0."""
    return tuple(
        None if position == index else _refused(line) for position, line in enumerate(media)
    )


def _refused(line: MediaDescription) -> bytes:
    kind, protocol, _ = line.form
    return b"m=%b 0 %b %b\r\n" % (kind, protocol, (line.formats or (b"0",))[0])
