"""Capture files made in code: frames of every link type, pcap and pcapng, whole calls."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from ipaddress import ip_address

from sessioncore.explaining.reading import read_stream
from sessioncore.explaining.seen import Seen
from sessioncore.vocabulary import SECOND, Address

__all__ = [
    "ETHERNET",
    "START",
    "A",
    "B",
    "Timed",
    "block",
    "ethernet",
    "interface",
    "ip",
    "linked",
    "packet_block",
    "pcap",
    "pcapng",
    "read",
    "rtp",
    "rtp_stream",
    "section",
    "tcp",
    "udp",
    "udp_packet",
]

ETHERNET, RAW, SLL, SLL2, NULL = 1, 101, 113, 276, 0
A, B = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
START = 1_700_000_000 * SECOND


def udp(source: Address, destination: Address, data: bytes) -> bytes:
    """A UDP datagram in an IP packet."""
    return ip(source[0], destination[0], 17, udp_packet(source[1], destination[1], data))


def udp_packet(source: int, destination: int, data: bytes) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(data), 0) + data


def tcp(
    source: Address, destination: Address, sequence: int, data: bytes, flags: int = 24
) -> bytes:
    """A TCP segment in an IP packet."""
    head = struct.pack("!HHIIBBHHH", source[1], destination[1], sequence, 1, 5 << 4, flags, 0, 0, 0)
    return ip(source[0], destination[0], 6, head + data)


def ip(
    source: str,
    destination: str,
    protocol: int,
    data: bytes,
    *,
    fragment: tuple[int, int, bool] | None = None,
) -> bytes:
    """An IP packet; ``fragment`` is identification, offset in bytes, and whether more follow."""
    name, offset, more = fragment or (0, 0, False)
    packed = ip_address(source).packed, ip_address(destination).packed
    if len(packed[0]) == 4:
        flags = offset // 8 | more << 13
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), name, flags, 64, protocol, 0)
        return head + packed[0] + packed[1] + data
    if fragment is not None:
        data = struct.pack("!BBHI", protocol, 0, offset | more, name) + data
        protocol = 44
    return struct.pack("!IHBB", 6 << 28, len(data), protocol, 64) + packed[0] + packed[1] + data


def kind_of(packet: bytes) -> int:
    return 0x86DD if packet[0] >> 4 == 6 else 0x0800


def ethernet(packet: bytes, *, vlans: Iterable[int] = ()) -> bytes:
    tags = b"".join(struct.pack("!HH", tag, 7) for tag in vlans)
    return bytes(12) + tags + struct.pack("!H", kind_of(packet)) + packet


def linked(link_type: int, packet: bytes) -> bytes:
    """A frame of that link type."""
    if link_type == ETHERNET:
        return ethernet(packet)
    if link_type == SLL:
        return bytes(14) + struct.pack("!H", kind_of(packet)) + packet
    if link_type == SLL2:
        return struct.pack("!H", kind_of(packet)) + bytes(18) + packet
    if link_type in (NULL, 108):
        return struct.pack("<I", 2 if packet[0] >> 4 == 4 else 30) + packet
    return packet


Timed = tuple[int, bytes]
"""Time in ns and an IP packet."""


def pcap(
    packets: Iterable[Timed], *, link_type: int = ETHERNET, order: str = "<", nano: bool = False
) -> bytes:
    """A pcap file."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262_144, link_type)]
    for at, packet in packets:
        data = linked(link_type, packet)
        seconds, rest = divmod(at, SECOND)
        fraction = rest if nano else rest // 1000
        parts += [struct.pack(f"{order}IIII", seconds, fraction, len(data), len(data)), data]
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str = "<", *, version: tuple[int, int] = (1, 0), options: bytes = b"") -> bytes:
    body = struct.pack(f"{order}IHHq", 0x1A2B3C4D, *version, -1) + options
    return block(0x0A0D0D0A, body, order)


def interface(link_type: int = ETHERNET, order: str = "<", options: bytes = b"") -> bytes:
    return block(1, struct.pack(f"{order}HHI", link_type, 0, 0) + options, order)


def packet_block(
    at: int, data: bytes, order: str = "<", *, number: int = 0, units: int = 1_000_000
) -> bytes:
    ticks = at * units // SECOND
    head = struct.pack(
        f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
    )
    return block(6, head + data + bytes(-len(data) % 4), order)


def pcapng(packets: Iterable[Timed], *, link_type: int = ETHERNET, order: str = "<") -> bytes:
    """A pcapng file."""
    parts = [section(order), interface(link_type, order)]
    parts += [packet_block(at, linked(link_type, packet), order) for at, packet in packets]
    return b"".join(parts)


def read(data: bytes) -> Seen:
    """What a file of these bytes holds."""
    return read_stream(io.BytesIO(data), "the file")


def rtp(sequence: int, timestamp: int, *, ssrc: int = 7, number: int = 0, size: int = 160) -> bytes:
    """An RTP packet."""
    head = (0x80, number, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return struct.pack("!BBHII", *head) + bytes(size)


def rtp_stream(
    source: Address,
    destination: Address,
    *,
    since: float,
    until: float,
    ssrc: int = 7,
    number: int = 0,
    lost: Iterable[int] = (),
) -> list[Timed]:
    """Packets of 20 ms; times in seconds after `START`, ``lost`` are left out by their number."""
    count = round((until - since) * 50)
    lost = set(lost)
    return [
        (
            START + round(since * SECOND) + index * SECOND // 50,
            udp(source, destination, rtp(1000 + index, 160 * index, ssrc=ssrc, number=number)),
        )
        for index in range(count)
        if index not in lost
    ]
