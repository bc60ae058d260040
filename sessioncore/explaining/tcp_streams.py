"""SIP over TCP in a capture: the streams put in order, and cut into messages (RFC 3261 18.3)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, TypeAlias

from attrs import define, field

from sessioncore.explaining.packets import Segment
from sessioncore.vocabulary import Address

__all__ = ["START", "TcpStreams"]

START: Final = re.compile(rb"(?:SIP/2\.0 [0-9]{3}[ \r\n]|[A-Z]{1,32} [^\s]{1,2048} SIP/2\.0\r?\n)")
"""The beginning of a SIP message."""
_END: Final = re.compile(rb"\r?\n\r?\n")
_LENGTH: Final = re.compile(
    rb"^(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_MAX_STREAMS: Final = 1_024
_MAX_BUFFER: Final = 131_072
_MAX_EARLY: Final = 64
"""Segments that wait for one before them."""
_HALF: Final = 0x80000000

Key: TypeAlias = tuple[Address, Address]


@define
class _Stream:
    """One direction of a connection, from the first segment on that begins a message."""

    due: int
    """The sequence number of the next byte."""
    buffer: bytes = b""
    early: dict[int, bytes] = field(factory=dict)


class TcpStreams:
    """The streams that carry SIP.

    A stream counts from a segment on that begins with a SIP message, so connections without SIP
    cost nothing.  Where bytes are missing (``holes``), it counts again from the next such segment.
    """

    def __init__(self) -> None:
        self._streams: OrderedDict[Key, _Stream] = OrderedDict()
        self.holes = 0

    def read(self, segment: Segment) -> Iterator[bytes]:
        """The messages that ``segment`` completes."""
        key = segment.source, segment.destination
        stream = self._streams.get(key)
        if stream is None:
            if START.match(segment.data.lstrip(b"\r\n")) is None:
                return
            if len(self._streams) >= _MAX_STREAMS:
                self._streams.popitem(last=False)
            stream = self._streams[key] = _Stream(segment.sequence)
        self._append(stream, segment)
        yield from self._cut(key, stream)

    def _append(self, stream: _Stream, segment: Segment) -> None:
        ahead = (segment.sequence - stream.due) & 0xFFFFFFFF
        data = segment.data
        if ahead >= _HALF:  # It, or its beginning, was there before.
            data = data[_HALF * 2 - ahead :]
        elif ahead:
            stream.early[segment.sequence] = data
            return
        stream.buffer += data
        stream.due = (stream.due + len(data)) & 0xFFFFFFFF
        following = stream.early.pop(stream.due, None)
        if following is not None:
            self._append(stream, segment._replace(sequence=stream.due, data=following))

    def _cut(self, key: Key, stream: _Stream) -> Iterator[bytes]:
        while True:
            stream.buffer = stream.buffer.lstrip(b"\r\n")
            end = _END.search(stream.buffer)
            if end is None:
                break
            length = _LENGTH.search(stream.buffer[: end.start()])
            size = end.end() + (int(length[1]) if length else 0)
            if size > _MAX_BUFFER or START.match(stream.buffer) is None:
                self._lose(key)
                return
            if len(stream.buffer) < size:
                break
            yield stream.buffer[:size]
            stream.buffer = stream.buffer[size:]
        if len(stream.buffer) > _MAX_BUFFER or len(stream.early) > _MAX_EARLY:
            self._lose(key)

    def _lose(self, key: Key) -> None:
        del self._streams[key]
        self.holes += 1
