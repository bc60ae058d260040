"""HEP version 3, in which a capture agent sends messages to a collector such as Homer.

A HEP packet is a list of chunks: vendor, type, length (2 bytes each) and value.  The chunks of
the generic vendor are those of the HEP3 specification, revision 12.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from zope.interface import implementer

from sessioncore.interfaces import IMessageTap
from sessioncore.vocabulary import Address
from sessioncore.watching.messages import call_id_of
from sessioncore.watching.pcapng import packed
from sessioncore.watching.redaction import redacted
from sessioncore.watching.wall_clock import WallClock

__all__ = ["SIP", "HepTap", "hep_packet"]

SIP: Final = 1
"""The protocol type of a payload."""
_MOST: Final = 0xFFFF
_IPV4, _IPV6 = 2, 10
_PROTOCOLS: Final = {"UDP": 17, "SCTP": 132, "TLS-SCTP": 132}
"""IP protocol numbers; all other transports of SIP run over TCP."""
_TCP: Final = 6


def _chunk(kind: int, value: bytes) -> bytes:
    return struct.pack(">HHH", 0, kind, 6 + len(value)) + value


def hep_packet(
    payload: bytes,
    source: Address,
    destination: Address,
    *,
    transport: str,
    wall: int,
    agent: int,
    password: bytes = b"",
    correlation: bytes = b"",
    protocol: int = SIP,
) -> bytes | None:
    """One packet; None if it would be longer than HEP allows (65,535 bytes).

    ``wall`` is in ns since 1970, ``agent`` the number of the capture agent, ``correlation`` what
    belongs together (the Call-ID).
    """
    begin, end = packed(source[0]), packed(destination[0])
    if len(begin) != len(end):
        begin, end = (each.rjust(16, b"\0") for each in (begin, end))
    ipv6 = len(begin) == 16
    seconds, rest = divmod(wall, 1_000_000_000)
    chunks = [
        _chunk(1, struct.pack(">B", _IPV6 if ipv6 else _IPV4)),
        _chunk(2, struct.pack(">B", _PROTOCOLS.get(transport, _TCP))),
        _chunk(5 if ipv6 else 3, begin),
        _chunk(6 if ipv6 else 4, end),
        _chunk(7, struct.pack(">H", source[1])),
        _chunk(8, struct.pack(">H", destination[1])),
        _chunk(9, struct.pack(">I", seconds)),
        _chunk(10, struct.pack(">I", rest // 1000)),
        _chunk(11, struct.pack(">B", protocol)),
        _chunk(12, struct.pack(">I", agent)),
    ]
    if password:
        chunks.append(_chunk(14, password))
    if correlation:
        chunks.append(_chunk(17, correlation))
    if sum(map(len, chunks)) + 12 + len(payload) > _MOST:
        return None
    packet = b"".join([*chunks, _chunk(15, payload)])
    return b"HEP3" + struct.pack(">H", 6 + len(packet)) + packet


@implementer(IMessageTap)
class HepTap:
    """Sends each SIP message, without its secrets, to a collector.

    ``send`` takes one datagram, must not block, and counts what it cannot send.  ``too_long``
    counts the messages that do not fit into a HEP packet.
    """

    def __init__(
        self,
        send: Callable[[bytes], object],
        clock: WallClock,
        agent: int,
        password: bytes = b"",
    ) -> None:
        self.too_long = 0
        self._send = send
        self._clock = clock
        self._agent = agent
        self._password = password

    def message(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        transport: str,
        sent: bool,
        at: int,
    ) -> None:
        """Send one message."""
        packet = hep_packet(
            redacted(data),
            source,
            destination,
            transport=transport,
            wall=self._clock.ns(at),
            agent=self._agent,
            password=self._password,
            correlation=call_id_of(data),
        )
        if packet is None:
            self.too_long += 1
        else:
            self._send(packet)
