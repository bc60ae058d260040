"""Reads capture files: pcap, and pcapng (draft-ietf-opsawg-pcap and -pcapng).

The files come from strangers.  They are read as a stream, one packet at a time; a length that
cannot be is where the file ends for us, and nothing of that length is ever allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import BinaryIO, Final, NamedTuple

from sessioncore.errors import UnreadableInput
from sessioncore.vocabulary import SECOND

__all__ = ["MAGICS", "Capture", "Frame", "is_capture"]

MAX_FRAME: Final = 262_144
"""Bytes of one packet: what capturing programs save at most."""
_MAX_BLOCK: Final = MAX_FRAME + 65_536
"""Bytes of a pcapng block that is looked at; others are skipped, of any size."""
_MAX_INTERFACES: Final = 4_096
_CHUNK: Final = 65_536

_PCAP: Final = {
    # Magic number as in the file: byte order, and nanoseconds per unit of the fraction.
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
MAGICS: Final = (*_PCAP, _PCAPNG)
"""The first four bytes of the files that are read here."""
_GZIP: Final = b"\x1f\x8b"
_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_ORDERS: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_TIME_RESOLUTION, _TIME_OFFSET = 9, 14


class Frame(NamedTuple):
    """One captured packet: its time in ns since 1970, link type, bytes, and length on the wire."""

    at: int
    link_type: int
    data: bytes
    length: int


class _Interface(NamedTuple):
    link_type: int
    snap_length: int
    per_second: int
    """Units of its time stamps in a second."""
    offset: int


class _Broken(Exception):
    """The file cannot be read from here on."""


def is_capture(head: bytes) -> bool:
    """Whether a file that begins so is a capture of a kind that is read here."""
    return head[:4] in MAGICS


class Capture:
    """The packets of a capture file, in order, by iteration; ``head`` was read from it before.

    Iteration raises `UnreadableInput` if nothing can be read.  If the file is cut off or broken
    further on, the iteration ends there and ``problem`` says so.
    """

    def __init__(self, stream: BinaryIO, head: bytes) -> None:
        self._stream = stream
        self._head = head
        self.count = 0
        self.problem: str | None = None

    def __iter__(self) -> Iterator[Frame]:
        magic = self._head[:4]
        frames = self._pcapng() if magic == _PCAPNG else self._pcap(*_PCAP[magic])
        try:
            for frame in frames:
                self.count += 1
                yield frame
        except _Broken as error:
            if not self.count:
                raise UnreadableInput(f"the capture cannot be read: {error}") from None
            self.problem = f"the capture cannot be read after packet {self.count:,}: {error}"

    def _take(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        missing = size - len(head)
        return head + self._stream.read(missing) if missing else head

    def _need(self, size: int, what: str) -> bytes:
        data = self._take(size)
        if len(data) < size:
            raise _Broken(f"the file ends within {what}")
        return data

    # --- pcap

    def _pcap(self, order: str, unit: int) -> Iterator[Frame]:
        header = self._need(24, "its header")
        major, minor = unpack_from(f"{order}HH", header, 4)
        if major != 2:
            raise _Broken(f"it is pcap of version {major}.{minor}, and 2.4 is known")
        link_type = unpack_from(f"{order}I", header, 20)[0] & 0xFFFF
        record = Struct(f"{order}IIII")
        while start := self._take(16):
            if len(start) < 16:
                raise _Broken("the file ends within the header of a packet")
            seconds, fraction, size, length = record.unpack(start)
            if size > MAX_FRAME:
                raise _Broken(f"a packet claims to have {size:,} bytes")
            data = self._need(size, "a packet")
            yield Frame(seconds * SECOND + fraction * unit, link_type, data, length)

    # --- pcapng

    def _pcapng(self) -> Iterator[Frame]:
        interfaces: list[_Interface] = []
        order, at = "<", 0
        while start := self._take(8):
            if len(start) < 8:
                raise _Broken("the file ends within the header of a block")
            if start[:4] == _PCAPNG:
                order, interfaces = self._section(start[4:]), []
                continue
            kind, size = unpack_from(f"{order}II", start)
            self._check_size(size)
            if kind == _INTERFACE:
                if len(interfaces) >= _MAX_INTERFACES:
                    raise _Broken(f"it has more than {_MAX_INTERFACES:,} interfaces")
                interfaces.append(_read_interface(self._block(size), order))
            elif kind in (_ENHANCED, _PACKET, _SIMPLE):
                frame = _read_packet(kind, self._block(size), order, interfaces, at)
                at = frame.at
                yield frame
            else:
                self._skip(size - 8)

    @staticmethod
    def _check_size(size: int) -> None:
        if size < 12 or size % 4:
            raise _Broken(f"a block claims to have {size:,} bytes")

    def _section(self, size: bytes) -> str:
        """Read the rest of a section header block; returns the byte order of the section."""
        mark = self._need(4, "a section header")
        if mark not in _ORDERS:
            raise _Broken("a section has no byte order mark")
        order = _ORDERS[mark]
        (length,) = unpack_from(f"{order}I", size)
        self._check_size(length)
        if length < 28:
            raise _Broken(f"a section header claims to have {length:,} bytes")
        major, minor = unpack_from(f"{order}HH", self._need(4, "a section header"))
        if major != 1:
            raise _Broken(f"it is pcapng of version {major}.{minor}, and 1.0 is known")
        self._skip(length - 16)
        return order

    def _block(self, size: int) -> bytes:
        """The body of a block, without the length that is repeated behind it."""
        if size > _MAX_BLOCK:
            raise _Broken(f"a packet claims to have {size:,} bytes")
        return self._need(size - 8, "a block")[:-4]

    def _skip(self, size: int) -> None:
        while size > 0:
            read = len(self._take(min(size, _CHUNK)))
            if not read:
                raise _Broken("the file ends within a block")
            size -= read


def _read_interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise _Broken("an interface description is too short")
    link_type, _, snap_length = unpack_from(f"{order}HHI", body)
    per_second, offset = 1_000_000, 0
    for code, value in _options(body[8:], order):
        if code == _TIME_RESOLUTION and len(value) == 1:
            base, exponent = (2, value[0] & 0x7F) if value[0] & 0x80 else (10, value[0])
            per_second = base**exponent
        elif code == _TIME_OFFSET and len(value) == 8:
            (offset,) = unpack_from(f"{order}q", value)
    return _Interface(link_type, snap_length, per_second, offset)


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, size = unpack_from(f"{order}HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


def _read_packet(
    kind: int, body: bytes, order: str, interfaces: list[_Interface], at: int
) -> Frame:
    """A packet of any of the three kinds of block; ``at`` is the time of the one before."""
    number = high = low = 0
    start = 4 if kind == _SIMPLE else 20
    if len(body) < start:
        raise _Broken("a packet block is too short")
    if kind == _SIMPLE:
        (length,) = unpack_from(f"{order}I", body)
        size = min(length, len(body) - start)
    elif kind == _ENHANCED:
        number, high, low, size, length = unpack_from(f"{order}IIIII", body)
    else:
        number, _, high, low, size, length = unpack_from(f"{order}HHIIII", body)
    if number >= len(interfaces):
        raise _Broken(f"a packet is of interface {number}, which is not described")
    interface = interfaces[number]
    if size > len(body) - start:
        raise _Broken(f"a packet claims to have {size:,} bytes")
    if kind != _SIMPLE:
        at = (high << 32 | low) * SECOND // interface.per_second + interface.offset * SECOND
    elif interface.snap_length:
        size = min(size, interface.snap_length)
    return Frame(at, interface.link_type, body[start : start + size], length)
