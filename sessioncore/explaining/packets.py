"""From captured frames to datagrams and segments: link layers, IPv4, IPv6, UDP, TCP, ICMP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from struct import unpack_from
from typing import Final, NamedTuple, TypeAlias

from sessioncore.explaining.capture_file import Frame
from sessioncore.explaining.fragments import Fragments
from sessioncore.vocabulary import Address

__all__ = ["Datagram", "Packet", "Packets", "Segment", "Unreachable"]

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS: Final = (0x8100, 0x88A8, 0x9100)
_MOST_TAGS: Final = 4
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_EXTENSIONS: Final = (0, 43, 60)
"""IPv6 extension headers with a length in units of eight bytes: hop-by-hop, routing, options."""
_FRAGMENT, _AUTHENTICATION = 44, 51
_MOST_EXTENSIONS: Final = 8


class Datagram(NamedTuple):
    """A UDP datagram; ``whole`` says whether all of it was captured."""

    at: int
    source: Address
    destination: Address
    data: bytes
    whole: bool


class Segment(NamedTuple):
    """A TCP segment with data."""

    at: int
    source: Address
    destination: Address
    sequence: int
    data: bytes
    whole: bool


class Unreachable(NamedTuple):
    """ICMP says that nobody receives UDP at ``target``; ``source`` had sent something there."""

    at: int
    source: Address
    target: Address


Packet: TypeAlias = Datagram | Segment | Unreachable


class _Ip(NamedTuple):
    """What an IP packet carries."""

    source: bytes
    destination: bytes
    protocol: int
    data: bytes
    whole: bool


@lru_cache(maxsize=4_096)
def _text(packed: bytes) -> str:
    return str(ip_address(packed))


# --- link layers: the kind of packet and where it begins, or None


def _ethernet(data: bytes) -> tuple[int, int] | None:
    at = 12
    for _ in range(_MOST_TAGS + 1):
        if len(data) < at + 2:
            return None
        (kind,) = unpack_from("!H", data, at)
        if kind not in _VLANS:
            return kind, at + 2
        at += 4
    return None


def _linux_cooked(data: bytes) -> tuple[int, int] | None:
    return (unpack_from("!H", data, 14)[0], 16) if len(data) >= 16 else None


def _linux_cooked_2(data: bytes) -> tuple[int, int] | None:
    return (unpack_from("!H", data)[0], 20) if len(data) >= 20 else None


def _by_version(data: bytes, at: int) -> tuple[int, int] | None:
    """IP by its version, as the packets of all links have it that say nothing else."""
    version = data[at] >> 4 if len(data) > at else 0
    kind = {4: _IPV4, 6: _IPV6}.get(version)
    return None if kind is None else (kind, at)


def _raw(data: bytes) -> tuple[int, int] | None:
    return _by_version(data, 0)


def _loopback(data: bytes) -> tuple[int, int] | None:
    # The address family before it differs between systems and byte orders.
    return _by_version(data, 4)


_LINKS: Final[dict[int, Callable[[bytes], tuple[int, int] | None]]] = {
    0: _loopback,
    1: _ethernet,
    12: _raw,
    14: _raw,
    101: _raw,
    108: _loopback,
    113: _linux_cooked,
    228: _raw,
    229: _raw,
    276: _linux_cooked_2,
}
"""By link type, as registered for LINKTYPE_ values."""


class Packets:
    """Turns frames into packets, one by one, and counts what cannot be read.

    ``unknown_links`` counts frames by a link type that is not known, ``unread`` those that are
    not IP or broken, ``cut`` the packets that were not captured as a whole.
    """

    def __init__(self) -> None:
        self.fragments = Fragments()
        self.unknown_links: Counter[int] = Counter()
        self.unread = 0
        self.cut = 0

    def read(self, frame: Frame) -> Packet | None:
        """The packet in ``frame``, or None; a fragment may complete one."""
        link = _LINKS.get(frame.link_type)
        if link is None:
            self.unknown_links[frame.link_type] += 1
            return None
        found = link(frame.data)
        carried = None if found is None else self._ip(*found, frame)
        if carried is None:
            self.unread += 1
            return None
        return self._packet(carried, frame.at)

    def _ip(self, kind: int, at: int, frame: Frame) -> _Ip | None:
        if kind == _IPV4:
            return self._ipv4(frame.data, at, frame.at)
        return self._ipv6(frame.data, at, frame.at) if kind == _IPV6 else None

    def _ipv4(self, data: bytes, at: int, now: int) -> _Ip | None:
        if len(data) < at + 20 or data[at] >> 4 != 4:
            return None
        head = (data[at] & 0x0F) * 4
        total, name, flags = unpack_from("!HHH", data, at + 2)
        # Offloading to the network card leaves the length at 0.
        end = at + total if total else len(data)
        if head < 20 or at + head > min(end, len(data)):
            return None
        whole = end <= len(data)
        source, destination = data[at + 12 : at + 16], data[at + 16 : at + 20]
        protocol, body = data[at + 9], data[at + head : end]
        if flags & 0x3FFF:
            key = (source, destination, protocol, name)
            return self._whole(key, (flags & 0x1FFF) * 8, bool(flags & 0x2000), body, whole, now)
        return _Ip(source, destination, protocol, body, whole)

    def _ipv6(self, data: bytes, at: int, now: int) -> _Ip | None:
        if len(data) < at + 40 or data[at] >> 4 != 6:
            return None
        size, protocol = unpack_from("!HB", data, at + 4)
        source, destination = data[at + 8 : at + 24], data[at + 24 : at + 40]
        at += 40
        end = at + size if size else len(data)
        whole = end <= len(data)
        data = data[:end]
        for _ in range(_MOST_EXTENSIONS):
            if protocol == _FRAGMENT and len(data) >= at + 8:
                following, _, where, name = unpack_from("!BBHI", data, at)
                key = (source, destination, following, name)
                body = data[at + 8 :]
                return self._whole(key, where & 0xFFF8, bool(where & 1), body, whole, now)
            if protocol in _EXTENSIONS and len(data) >= at + 2:
                protocol, at = data[at], at + 8 + 8 * data[at + 1]
            elif protocol == _AUTHENTICATION and len(data) >= at + 2:
                protocol, at = data[at], at + 8 + 4 * data[at + 1]
            else:
                break
        return _Ip(source, destination, protocol, data[at:], whole)

    def _whole(
        self,
        key: tuple[bytes, bytes, int, int],
        offset: int,
        more: bool,
        body: bytes,
        whole: bool,
        now: int,
    ) -> _Ip | None:
        """The datagram that a fragment completes; IPv6 may have one that is whole by itself."""
        if not whole:
            self.cut += 1
            return None
        if not offset and not more:
            return _Ip(*key[:3], body, True)
        data = self.fragments.add(key, offset, more, body, now)
        return _Ip(*key[:3], data or b"", True)

    def _packet(self, ip: _Ip, at: int) -> Packet | None:
        if not ip.whole:
            self.cut += 1
        if ip.protocol == _UDP:
            return self._udp(ip, at)
        if ip.protocol == _TCP:
            return self._tcp(ip, at)
        if ip.protocol in (_ICMP, _ICMPV6):
            return _unreachable(ip, at)
        return None

    def _udp(self, ip: _Ip, at: int) -> Datagram | None:
        data = ip.data
        if len(data) < 8:
            return None
        source, destination, size = unpack_from("!HHH", data)
        end = size if size >= 8 else len(data)  # 0 is a jumbogram, or left to the network card
        return Datagram(
            at,
            (_text(ip.source), source),
            (_text(ip.destination), destination),
            data[8:end],
            ip.whole and end <= len(data),
        )

    def _tcp(self, ip: _Ip, at: int) -> Segment | None:
        data = ip.data
        if len(data) < 20:
            return None
        source, destination, sequence = unpack_from("!HHI", data)
        start = (data[12] >> 4) * 4
        if start < 20 or len(data) <= start:
            return None
        return Segment(
            at,
            (_text(ip.source), source),
            (_text(ip.destination), destination),
            (sequence + (data[13] >> 1 & 1)) & 0xFFFFFFFF,  # SYN counts as a byte
            data[start:],
            ip.whole,
        )


def _unreachable(ip: _Ip, at: int) -> Unreachable | None:
    """Port unreachable (RFC 792, RFC 4443 section 3.1) about a UDP datagram."""
    data = ip.data
    port_unreachable = b"\x03\x03" if ip.protocol == _ICMP else b"\x01\x04"
    if data[:2] != port_unreachable or len(data) < 9:
        return None
    quoted = data[8:]
    if ip.protocol == _ICMP:
        head = (quoted[0] & 0x0F) * 4
        if len(quoted) < max(20, head) + 4 or quoted[9] != _UDP:
            return None
        source, target = quoted[12:16], quoted[16:20]
    else:
        head = 40
        if len(quoted) < head + 4 or quoted[6] != _UDP:
            return None
        source, target = quoted[8:24], quoted[24:40]
    ports = unpack_from("!HH", quoted, head)
    return Unreachable(at, (_text(source), ports[0]), (_text(target), ports[1]))
