"""Pairs of UDP ports for RTP and RTCP: opened in advance, lent, rested, lent again.

Opening and closing two sockets costs more than anything else a call does, so they stay open.
A returned pair rests for a while, because the last packets of the old call still arrive.  It
rests for a quarter of that time if a call would otherwise be refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from errno import EADDRINUSE
from itertools import takewhile
from typing import Any, Final, Generic, Protocol, TypeVar

from sessioncore.errors import NoPortsError
from sessioncore.vocabulary import SECOND

__all__ = ["DEFAULT_PORTS", "PooledPorts", "PortPool"]

DEFAULT_PORTS: Final = range(40_000, 50_000)
_ATTEMPTS: Final = 512
"""Ports in use by others are skipped, at most so many in a row (about 5 ms), and tried again later.
Another server on this machine may use a long row of ports, as many as it ever had calls."""
Pair = TypeVar("Pair")


class PortPool(Generic[Pair]):
    """The pairs of one local IP.  ``open_pair(port)`` opens RTP on ``port``, RTCP above it.

    It raises OSError, with EADDRINUSE if a port is in use.  The even numbers of ``ports`` are
    for RTP.  ``rest`` is the time in ns for which a returned pair is not lent again while there
    are others.
    """

    def __init__(
        self, open_pair: Callable[[int], Pair], ports: range, rest: int = 2 * SECOND
    ) -> None:
        first, last = ports.start + ports.start % 2, ports.stop - 1
        self._unopened = deque(range(first, last, 2))
        self._open_pair = open_pair
        self._idle: list[Pair] = []
        self._resting: deque[tuple[int, Pair]] = deque()
        self._rest = rest

    def free(self, now: int) -> int:
        """The number of pairs that can probably be lent, without those that still rest."""
        rested = sum(1 for _ in takewhile(lambda resting: resting[0] <= now, self._resting))
        return rested + len(self._idle) + len(self._unopened)

    def open_ahead(self, count: int) -> int:
        """Open pairs until ``count`` are idle, if possible; returns how many are idle."""
        while len(self._idle) < count:
            try:
                pair = self._open_next()
            except NoPortsError:
                break
            if pair is None:
                break
            self._idle.append(pair)
        return len(self._idle)

    def lend(self, now: int) -> Pair:
        """Lend a pair; raises `NoPortsError` if none is left."""
        resting = self._resting
        if resting and resting[0][0] <= now:
            rested = resting.popleft()[1]
            while resting and resting[0][0] <= now:
                self._idle.append(resting.popleft()[1])
            return rested
        if self._idle:
            return self._idle.pop()
        hurried = bool(resting) and resting[0][0] - self._rest + self._rest // 4 <= now
        try:
            pair = self._open_next()
        except NoPortsError:
            if not hurried:
                raise
            pair = None
        if pair is not None:
            return pair
        if not hurried:
            raise NoPortsError(f"all RTP ports are in use ({len(resting)} pairs rest)")
        return resting.popleft()[1]

    def take_back(self, pair: Pair, now: int) -> None:
        """Return a pair that is not used any more."""
        self._resting.append((now + self._rest, pair))

    def drain(self) -> Iterator[Pair]:
        """Remove and return all pairs that are not lent, to close them."""
        yield from self._idle
        yield from (pair for _, pair in self._resting)
        self._idle.clear()
        self._resting.clear()
        self._unopened.clear()

    def _open_next(self) -> Pair | None:
        for _ in range(min(len(self._unopened), _ATTEMPTS)):
            port = self._unopened.popleft()
            try:
                return self._open_pair(port)
            except OSError as error:
                if error.errno == EADDRINUSE:
                    self._unopened.append(port)
                    continue
                self._unopened.appendleft(port)
                raise NoPortsError(f"cannot open RTP port {port}: {error}") from error
        return None


class _Leased(Protocol):
    """A pair as `PooledPorts` uses it."""

    pool: PortPool[Any]

    def begin(self, row: int) -> None: ...


Lease = TypeVar("Lease", bound=_Leased)


class PooledPorts(Generic[Lease]):
    """The part of a `PacketIO` that lends ports: a pool for each local address.

    ``ports`` is the range for RTP and RTCP.  ``rest`` is the time in ns for which a returned
    pair is not lent again while there are others.
    """

    def __init__(self, ports: range, rest: int) -> None:
        self._ports = ports
        self._rest = rest
        self._pools: dict[str, PortPool[Lease]] = {}
        self._pairs: list[Lease] = []

    def ports_free(self, now: int) -> int:
        """The number of pairs that can be lent, over all local addresses used so far."""
        if not self._pools:
            return len(self._ports) // 2
        return min(pool.free(now) for pool in self._pools.values())

    def open_ahead(self, local_ip: str, count: int) -> int:
        """Open pairs before they are needed; returns how many are ready."""
        return self._pool(local_ip).open_ahead(count)

    def lease(self, local_ip: str, row: int, now: int) -> Lease:
        """Lend a pair on ``local_ip``; raises `NoPortsError`."""
        pair = (self._pools.get(local_ip) or self._pool(local_ip)).lend(now)
        pair.begin(row)
        return pair

    def open_pair(self, local_ip: str, number: int) -> Lease:
        """RTP on ``number``, RTCP above it; raises OSError."""
        raise NotImplementedError

    def _pool(self, local_ip: str) -> PortPool[Lease]:
        pool = self._pools.get(local_ip)
        if pool is None:

            def open_pair(number: int) -> Lease:
                pair = self.open_pair(local_ip, number)
                pair.pool = self._pools[local_ip]
                self._pairs.append(pair)
                return pair

            pool = self._pools[local_ip] = PortPool(open_pair, self._ports, self._rest)
        return pool
