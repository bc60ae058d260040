"""Writing descriptions of ours: m-lines in the peer's order, and an honest ``o=`` version."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from sessioncore.sdp.description import MediaDescription
from sessioncore.sdp.formats import Proposal, format_lines
from sessioncore.sdp.streams import PROTOCOL
from sessioncore.sdp.targets import read_host
from sessioncore.vocabulary import Address, Direction

__all__ = ["Author", "Rows", "answer_rows"]

_HEAD: Final = b"v=0\r\no=- %d %d %b\r\n%b"
_TAIL: Final = b"s=-\r\nc=%b\r\nt=%b\r\n%b"
_AUDIO: Final = b"m=audio %%d %b %%b\r\n%%b%%ba=%%b\r\n" % PROTOCOL
_DIRECTIONS: Final = tuple(str(direction).encode() for direction in Direction)

Rows = tuple[bytes | None, ...]
"""The m-lines of a description of ours: a refused one as it is written, None for our audio."""


class Author:
    """Writes the descriptions of one dialog; the version rises only when the content does.

    RFC 3264 section 8.
    """

    __slots__ = ("_last", "session_id", "version")

    def __init__(self, session_id: int) -> None:
        self.session_id = session_id
        self.version = 0
        self._last = b""

    def twin(self) -> Author:
        """One that goes on where this one is."""
        twin = Author(self.session_id)
        twin.version, twin._last = self.version, self._last
        return twin

    def describe(
        self,
        rows: Rows,
        proposal: Proposal,
        direction: Direction,
        own: tuple[Address, Address],
        ptime: int,
        times: tuple[bytes, ...],
    ) -> bytes:
        """A description with our audio in the row that is None; ``own`` are RTP and RTCP."""
        (ip, port), rtcp = own
        where = _where(ip)
        elsewhere = b"" if rtcp == (ip, port + 1) else _rtcp_line(ip, rtcp)
        audio = _AUDIO % (
            port,
            *format_lines(proposal, ptime),
            elsewhere,
            _DIRECTIONS[direction],
        )
        if rows != (None,):
            audio = b"".join([row or audio for row in rows])
        tail = _TAIL % (where, b"\r\nt=".join(times), audio)
        if tail != self._last:
            self._last = tail
            self.version += 1
        return _HEAD % (self.session_id, self.version, where, tail)


def _rtcp_line(ip: str, rtcp: Address) -> bytes:
    """RFC 3605: said only where RTCP is not on the next port of the same address."""
    return b"a=rtcp:%d%b\r\n" % (rtcp[1], b"" if rtcp[0] == ip else b" " + _where(rtcp[0]))


@lru_cache(maxsize=256)
def _where(ip: str) -> bytes:
    """``IN IP4 192.0.2.1``, without the zone of a link-local IPv6 address."""
    host = read_host(ip)
    text = ip if host is None else host.text
    return f"IN {'IP6' if ':' in text else 'IP4'} {text.partition('%')[0]}".encode("ascii")


def answer_rows(media: tuple[MediaDescription, ...], index: int | None) -> Rows:
    """One m-line per offered one, in order (RFC 3264 section 6): None for ours, else port 0."""
    if index == 0 and len(media) == 1:
        return (None,)
    return tuple(
        None
        if position == index
        else b"m=%b 0 %b %b\r\n" % (line.kind, line.protocol, (line.formats or (b"0",))[0])
        for position, line in enumerate(media)
    )
