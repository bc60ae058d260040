"""Messages as packets of a pcapng file, as Wireshark reads it (draft-ietf-opsawg-pcapng).

A tap sees messages and not packets, so the IP and UDP headers are made up: the addresses, lengths
and checksums are right, everything else is usual.  Messages of other transports than UDP are
written so too; a comment names their transport.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from zope.interface import implementer

from sessioncore.interfaces import IMessageTap, IReportTap
from sessioncore.vocabulary import Address
from sessioncore.watching.record_file import RecordFile
from sessioncore.watching.redaction import redacted
from sessioncore.watching.wall_clock import WallClock

__all__ = ["LONGEST", "MAGIC", "PcapTap", "packed", "packet", "preamble"]

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_ORDER: Final = 0x1A2B3C4D
MAGIC: Final = struct.pack("<I", _SECTION)
"""What such a file begins with."""
_RAW: Final = 101
"""LINKTYPE_RAW: packets begin with the IP header."""
_COMMENT, _FLAGS, _RESOLUTION = 1, 2, 9
_NAME, _PROGRAM = 2, 4
_NANOSECONDS: Final = b"\x09"
_UDP: Final = 17
_LONGEST_ID: Final = 256
"""Characters of a Call-ID in a comment."""
LONGEST: Final = 65_507
"""Bytes of a datagram's data; the rest of a longer message is cut off."""


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


_LAST: Final = bytes(4)
"""The end of options."""


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def preamble(program: str) -> bytes:
    """What a section of a file begins with: its header, and one interface with ns timestamps."""
    options = _option(_PROGRAM, program.encode("utf-8")) + _LAST
    section = _block(_SECTION, struct.pack("<IHHq", _ORDER, 1, 0, -1) + options)
    options = _option(_NAME, b"sessioncore") + _option(_RESOLUTION, _NANOSECONDS) + _LAST
    return section + _block(_INTERFACE, struct.pack("<HHI", _RAW, 0, 0) + options)


def packet(
    data: bytes,
    source: Address,
    destination: Address,
    *,
    wall: int,
    sent: bool,
    comment: str = "",
) -> bytes:
    """An enhanced packet block; ``wall`` is in ns since 1970."""
    cut = len(data) - LONGEST
    datagram = _datagram(data[:LONGEST], source, destination)
    length = len(datagram)
    high, low = divmod(wall, 1 << 32)
    body = struct.pack("<IIIII", 0, high, low, length, length + max(0, cut))
    options = _option(_FLAGS, struct.pack("<I", 2 if sent else 1))
    if comment:
        options += _option(_COMMENT, comment.encode("utf-8"))
    return _block(_PACKET, body + datagram + bytes(-length % 4) + options + _LAST)


@lru_cache(maxsize=1_024)
def packed(host: str) -> bytes:
    """An IP literal in 4 or 16 bytes, without its zone; of anything else 0.0.0.0."""
    try:
        return ip_address(host.partition("%")[0]).packed
    except ValueError:
        return bytes(4)


def _datagram(data: bytes, source: Address, destination: Address) -> bytes:
    begin, end = packed(source[0]), packed(destination[0])
    if len(begin) != len(end):
        begin, end = (each.rjust(16, b"\0") for each in (begin, end))
    length = 8 + len(data)
    udp = struct.pack(">HHHH", source[1], destination[1], length, 0)
    # RFC 768, RFC 8200 section 8.1: a pseudo header is summed as well.
    total = _sum(begin + end + struct.pack(">HH", _UDP, length) + udp + data)
    udp = udp[:6] + struct.pack(">H", (~total & 0xFFFF) or 0xFFFF)
    if len(begin) == 16:
        return struct.pack(">IHBB", 6 << 28, length, _UDP, 64) + begin + end + udp + data
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, _UDP, 0) + begin + end
    checked = header[:10] + struct.pack(">H", ~_sum(header) & 0xFFFF) + header[12:]
    return checked + udp + data


def _sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071): the rest modulo 65,535."""
    return (int.from_bytes(data + bytes(len(data) % 2), "big") - 1) % 0xFFFF + 1


@implementer(IMessageTap, IReportTap)
class PcapTap:
    """Writes each SIP message, without its secrets, and all RTCP to a file of packets."""

    def __init__(self, file: RecordFile, clock: WallClock) -> None:
        self._file = file
        self._clock = clock

    def message(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        transport: str,
        sent: bool,
        at: int,
    ) -> None:
        """Write one message."""
        comment = "" if transport == "UDP" else f"over {transport}"
        self._add(redacted(data), source, destination, sent, at, comment)

    def report(
        self, data: bytes, source: Address, destination: Address, sent: bool, at: int, call_id: str
    ) -> None:
        """Write one RTCP packet; a comment names its call."""
        comment = f"Call-ID: {call_id[:_LONGEST_ID]}" if call_id else ""
        self._add(data, source, destination, sent, at, comment)

    def _add(
        self, data: bytes, source: Address, destination: Address, sent: bool, at: int, comment: str
    ) -> None:
        wall = self._clock.ns(at)
        self._file.add(packet(data, source, destination, wall=wall, sent=sent, comment=comment), at)
