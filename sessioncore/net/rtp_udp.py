"""The portable `PacketIO`: plain ``IReactorUDP``, one call per datagram.

It is for reactors and systems without epoll, and for the in-memory network.  It behaves like
the fast one, including the latch, but costs more per packet.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from errno import EADDRINUSE
from typing import Any, Final

import numpy as np
from twisted.internet import defer
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from sessioncore.media.packet_io import PACKET_WIDTH, Failure, Round, Stray
from sessioncore.net.rtp_pool import DEFAULT_PORTS, PooledPorts, PortPool
from sessioncore.vocabulary import SECOND, Address, host_port

__all__ = ["ReactorPacketIO"]

_WAITING: Final = 64
"""Packets per port that may wait for the tick; further ones are dropped and counted."""


class _Socket(DatagramProtocol):
    """One port of ``pair``.  Datagrams that come while it is not lent are discarded."""

    def __init__(self, pair: _Pair, is_rtcp: bool) -> None:
        self.is_rtcp = is_rtcp
        self.pair = pair

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if self.pair.row >= 0:
            self.pair.arrived(self.is_rtcp, datagram, (addr[0], addr[1]))

    def connectionRefused(self) -> None:
        """Does nothing: only connected ports are notified, and ours are not connected."""


class _Pair:
    """RTP on an even port, RTCP above it; the `PortLease`, and its own handle."""

    def __init__(self, io: ReactorPacketIO, local_ip: str, number: int) -> None:
        self._io = io
        self.row = -1
        self.ports: list[Any] = []
        for offset in (0, 1):
            socket = _Socket(self, is_rtcp=bool(offset))
            self.ports.append(io.listen(local_ip, number + offset, socket, self.ports))
        self.local: Address = (local_ip, number)
        self.local_rtcp: Address = (local_ip, number + 1)
        self.handle = self
        self.pool: PortPool[_Pair]
        self.latched: Address | None = None
        self.waiting: deque[tuple[bytes, int]] = deque()
        self._strays = 0
        self.dropped = 0

    def begin(self, row: int) -> None:
        """The pair is lent to ``row``."""
        self.row = row
        self.dropped = 0

    def arrived(self, is_rtcp: bool, data: bytes, source: Address) -> None:
        """Keep a datagram for the tick."""
        if not is_rtcp and self.latched is not None:
            if source != self.latched:
                return
            if len(self.waiting) >= _WAITING:
                self.dropped += 1
                return
            if not self.waiting:
                self._io.ready.append(self)
            self.waiting.append((data, self._io.now()))
        else:
            self._io.keep_stray(self, Stray(self, is_rtcp, data, source, self._io.now()))

    def latch(self, address: Address) -> bool:
        """Receive RTP from this address only and send to it."""
        self.latched = address
        return True

    def unlatch(self) -> None:
        """Receive RTP from any source again, one by one as `Stray`."""
        self.latched = None

    def send_rtcp(self, data: bytes, address: Address) -> None:
        """Send one RTCP packet; raises OSError if it cannot be sent."""
        self.ports[1].write(data, address)

    def kernel_drops(self) -> int:
        """Datagrams dropped because too many waited for the tick."""
        return self.dropped

    def release(self, now: int) -> None:
        """Stop listening; the pair rests and is then lent again."""
        if self.row < 0:
            return
        self.row = -1
        self.latched = None
        self.waiting.clear()
        self.pool.take_back(self, now)


class ReactorPacketIO(PooledPorts[_Pair]):
    """RTP over any ``IReactorUDP``; ``ports`` and ``rest`` as in `PooledPorts`.

    ``now`` is the clock of the ticks, by which arrivals are told.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        ports: range = DEFAULT_PORTS,
        rest: int = 2 * SECOND,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(ports, rest)
        self.now = now
        self._reactor = reactor
        self._strays: list[Stray] = []
        self._failures: list[Failure] = []
        self._packets = np.zeros((64, PACKET_WIDTH), np.uint8)
        self.ready: list[_Pair] = []
        """The pairs with packets that wait for the tick."""

    def receive(self) -> Round | None:
        """One packet from each latched lease that has one; None if none has."""
        ready = [pair for pair in self.ready if pair.waiting]
        self.ready = []
        if not ready:
            return None
        if len(ready) > len(self._packets):
            self._packets = np.zeros((2 * len(ready), PACKET_WIDTH), np.uint8)
        lengths, arrivals = [], []
        for index, pair in enumerate(ready):
            data, arrival = pair.waiting.popleft()
            arrivals.append(arrival)
            kept = data[:PACKET_WIDTH]
            self._packets[index, : len(kept)] = np.frombuffer(kept, np.uint8)
            lengths.append(len(data))
            if pair.waiting:
                self.ready.append(pair)
        rows = np.array([pair.row for pair in ready], np.int64)
        packets = self._packets[: len(ready)]
        return Round(rows, packets, np.array(lengths, np.int64), np.array(arrivals, np.int64))

    def strays(self) -> list[Stray]:
        """The datagrams for unlatched leases and RTCP ports since the last call."""
        strays, self._strays = self._strays, []
        return strays

    def send(self, handles: Sequence[_Pair], packets: Sequence[memoryview]) -> list[int]:
        """Send one packet for each handle; returns the positions that failed, in order."""
        failed = []
        for position, pair in enumerate(handles):
            try:
                assert pair.latched is not None
                pair.ports[0].write(bytes(packets[position]), pair.latched)
            except OSError as error:
                failed.append(position)
                peer = pair.latched or ("nowhere", 0)
                refused = isinstance(error, ConnectionRefusedError)
                self._failures.append(Failure(pair.row, refused, host_port(*peer)))
        return failed

    def send_to(
        self,
        handles: Sequence[_Pair],
        packets: Sequence[memoryview],
        addresses: Sequence[Address],
    ) -> list[int]:
        """As `send`, for leases that are not latched."""
        failed = []
        for pair, packet, address in zip(handles, packets, addresses, strict=False):
            try:
                pair.ports[0].write(bytes(packet), address)
            except OSError:
                failed.append(handles.index(pair))
        return failed

    def failures(self) -> list[Failure]:
        """The failures since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def close(self) -> defer.Deferred[Any]:
        """Close every port; fires when the reactor has released them."""
        for pair in self._pairs:
            pair.release(0)
        closing = [port.stopListening() for pair in self._pairs for port in pair.ports]
        self._pairs.clear()
        self._pools.clear()
        return defer.gatherResults([each for each in closing if each is not None])

    def open_pair(self, local_ip: str, number: int) -> _Pair:
        """RTP on ``number``, RTCP above it; raises OSError."""
        return _Pair(self, local_ip, number)

    # Called by the pairs:

    def keep_stray(self, pair: _Pair, stray: Stray) -> None:
        """Keep a datagram for `strays`; where far too many wait, count it as dropped."""
        if len(self._strays) < _WAITING * max(16, len(self._pairs)):
            self._strays.append(stray)
        else:
            pair.dropped += 1

    def listen(
        self, local_ip: str, number: int, protocol: DatagramProtocol, opened: list[Any]
    ) -> Any:
        """Open one port; if that fails, close those in ``opened``."""
        try:
            return self._reactor.listenUDP(
                number, protocol, interface=local_ip, maxPacketSize=PACKET_WIDTH + 1
            )
        except CannotListenError as error:
            for port in opened:
                port.stopListening()
            number_of = getattr(error.socketError, "errno", None) or EADDRINUSE
            raise OSError(number_of, str(error)) from error
