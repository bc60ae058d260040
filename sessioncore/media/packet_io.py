"""What the media plane asks of the network: leased port pairs, rounds of packets, sending.

``sessioncore.net`` implements it over its own epoll and over plain ``IReactorUDP``; tests
over lists.  Nothing here calls back: the plane asks, once per tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.vocabulary import Address

__all__ = ["PACKET_WIDTH", "Failure", "PacketIO", "PortLease", "Round", "Stray"]

PACKET_WIDTH = 2048
"""Octets of the longest RTP packet that is taken: 200 ms of G.711 and a header of any kind."""

Handle: TypeAlias = Any
"""What an io uses to send for a lease: a socket, or an object of its own."""


class Round(NamedTuple):
    """At most one packet of each latched lease: rows are unique within a round.

    ``rows`` int64[n], ``packets`` uint8[n, PACKET_WIDTH], ``lengths`` int64[n] in octets,
    ``arrivals`` int64[n] in ns of the tick's clock: when they came, not when they are read.
    The arrays are valid until the next call.
    """

    rows: npt.NDArray[np.int64]
    packets: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]
    arrivals: npt.NDArray[np.int64]
    full: bool = False
    """The round held no more; others wait that would have belonged to it."""


class Stray(NamedTuple):
    """A datagram to look at one by one: RTP before the latch, and all RTCP."""

    lease: PortLease
    is_rtcp: bool
    data: bytes
    source: Address
    arrival: int
    """When it came, in ns of the tick's clock."""


class Failure(NamedTuple):
    """The kernel's answer to a packet we sent.

    ``refused`` is ICMP port unreachable; otherwise there is no way to that host.  ``text`` is the
    address, or says what else went wrong.
    """

    row: int
    refused: bool
    text: str


class PortLease(Protocol):
    """An RTP port (even) and the RTCP port above it, lent to one row."""

    row: int
    local: Address
    local_rtcp: Address
    handle: Handle
    """For `PacketIO.send` while latched, for `PacketIO.send_to` while not."""

    def latch(self, address: Address) -> bool:
        """Take RTP from this address only and send to it; False where it cannot be reached.

        What had been queued before is still delivered by `PacketIO.strays`.
        """

    def unlatch(self) -> None:
        """Take RTP from anyone again, one by one as `Stray`."""

    def send_rtcp(self, data: bytes, address: Address) -> None:
        """Send one RTCP packet; raises OSError when it cannot leave."""

    def kernel_drops(self) -> int:
        """Datagrams dropped because the receive buffer was full, where that is known."""

    def release(self, now: int) -> None:
        """Give the ports back; they rest before they are lent again."""


class PacketIO(Protocol):
    """A supply of port pairs, and the packets of all of them at once."""

    def ports_free(self, now: int) -> int:
        """Port pairs that could be leased; those that still rest are not counted."""

    def lease(self, local_ip: str, row: int, now: int) -> PortLease:
        """Lend a port pair on ``local_ip``; raises `NoPortsError`."""

    def receive(self) -> Round | None:
        """The next round from the latched leases; None when nothing is left to read now."""

    def strays(self) -> list[Stray]:
        """What arrived for unlatched leases and for RTCP ports since the last call."""

    def send(self, handles: Sequence[Handle], packets: Sequence[memoryview]) -> Sequence[int]:
        """Send one packet for each handle; returns the positions that failed, in order."""

    def send_to(
        self,
        handles: Sequence[Handle],
        packets: Sequence[memoryview],
        addresses: Sequence[Address],
    ) -> Sequence[int]:
        """The same for leases that are not latched, each to an address."""

    def failures(self) -> list[Failure]:
        """What went wrong since the last call: errors of sending and ICMP messages."""

    def close(self) -> object:
        """Close every socket; a Deferred where that takes time."""
