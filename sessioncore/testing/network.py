"""A network in memory: hosts, links, translators and one virtual clock, reproducible by seed.

    network = FakeNetwork(seed=7)
    caller, callee = network.host("192.0.2.1"), network.host("192.0.2.2")
    # pass caller and callee wherever a reactor is expected, then
    network.advance(0.5)

Each host is an `IReactorUDP` and `IReactorTime`.  `FakeNetwork.advance` runs event after event
in time order, so a tick of 5 ms is on time however far one call advances.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IReactorUDP
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.internet.task import Clock
from zope.interface import implementer

from sessioncore.net.addresses import IVirtualHost, is_ipv6, is_literal, is_wildcard
from sessioncore.testing.links import Datagram, Link
from sessioncore.testing.names import FakeNames
from sessioncore.testing.nat import FakeNat
from sessioncore.testing.udp import FakeUdpPort
from sessioncore.vocabulary import SECOND, Address

__all__ = ["Datagram", "FakeHost", "FakeNat", "FakeNetwork", "FakeUdpPort", "Link"]

_LOOPBACK: Final = ("127.0.0.1", "::1")
_FIRST_FREE_PORT: Final = 49_152
_MOST_AT_ONE_INSTANT: Final = 100_000


class FakeNetwork:
    """The network; ``seed`` determines all randomness, so a failing run can be repeated.

    ``link`` is the path between hosts without a `set_link`.  With ``icmp`` a closed port
    answers, and the sender is notified as on a real network.  ``captured`` holds every datagram
    sent, unless ``capture`` is false.  Errors raised by `advance` have the seed as a note.
    """

    def __init__(
        self, seed: int = 0, *, link: Link | None = None, icmp: bool = True, capture: bool = True
    ) -> None:
        self.seed = seed
        self.link = Link() if link is None else link
        self.icmp = icmp
        self.capture = capture
        self.captured: list[Datagram] = []
        self.firewall: Callable[[Datagram], bool] | None = None
        """Called with each datagram; one for which it returns true is dropped on its way."""
        self.clock = Clock()
        self.names = FakeNames()
        self.hosts: dict[str, FakeHost] = {}
        self.nats: dict[str, FakeNat[FakeHost]] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._chances: dict[tuple[str, str], Random] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0
        self._now = 0
        self._advancing = False

    def __repr__(self) -> str:
        return f"<FakeNetwork(seed={self.seed}) at {self._now / SECOND:.6f} s>"

    @property
    def now(self) -> int:
        """Virtual time in ns since the network was made."""
        return self._now

    def host(self, *addresses: str) -> FakeHost:
        """The host with these public addresses; created if it does not exist yet."""
        known = self.hosts.get(addresses[0])
        return known if known is not None else self.add_host(addresses, None)

    def add_host(self, addresses: Iterable[str], nat: FakeNat[FakeHost] | None) -> FakeHost:
        """A new host, behind ``nat`` if given; raises `ValueError` if an address is taken."""
        host = FakeHost(self, tuple(addresses), nat)
        realm = self.hosts if nat is None else nat.hosts
        for address in host.addresses:
            if not is_literal(address) or address in _LOOPBACK or is_wildcard(address):
                raise ValueError(f"{address!r} cannot be the address of a host")
            if address in realm or (nat is None and address in self.nats):
                raise ValueError(f"{address} is taken")
        realm.update(dict.fromkeys(host.addresses, host))
        return host

    def nat(
        self,
        address: str,
        *,
        symmetric: bool = False,
        filtering: str = "port",
        lifetime: float = 120.0,
    ) -> FakeNat[FakeHost]:
        """A translator with this public address; see `FakeNat`."""
        if address in self.hosts or address in self.nats:
            raise ValueError(f"{address} is taken")
        nat = FakeNat(self, address, symmetric=symmetric, filtering=filtering, lifetime=lifetime)
        self.nats[address] = nat
        return nat

    def set_link(self, source: str, destination: str, link: Link) -> None:
        """Use ``link`` for datagrams from ``source`` to ``destination``, in this direction only.

        The addresses are those of the datagram when it is sent.
        """
        self._links[source, destination] = link

    def advance(self, seconds: float) -> None:
        """Advance virtual time, running timers and deliveries in time order.

        ``advance(0)`` runs everything that is due now.
        """
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds} s: time does not run backwards")
        if self._advancing:
            raise RuntimeError("advance was called from inside advance")
        self._advancing = True
        try:
            with self._noting_seed():
                self._advance_to(self._now + round(seconds * SECOND))
        finally:
            self._advancing = False

    def run_until(
        self, condition: Callable[[], object], *, within: float = 60.0, step: float = 0.005
    ) -> None:
        """Advance by ``step`` until ``condition()`` is true.

        Raises `AssertionError` with the seed and the last datagrams after ``within`` seconds.
        """
        until = self._now + round(within * SECOND)
        self.advance(0)
        while not condition():
            if self._now >= until:
                last = "\n".join(str(datagram) for datagram in self.captured[-10:])
                raise AssertionError(f"not within {within} s; {self!r}; last datagrams:\n{last}")
            self.advance(step)

    def sent(self, start: bytes = b"") -> list[Datagram]:
        """The captured datagrams whose data begins with ``start``."""
        return [datagram for datagram in self.captured if datagram.data.startswith(start)]

    @contextmanager
    def _noting_seed(self) -> Any:
        try:
            yield
        except BaseException as error:
            error.add_note(f"in {self!r}")
            raise

    def __enter__(self) -> FakeNetwork:
        """As a context manager, the network adds its seed to exceptions raised inside."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            error.add_note(f"in {self!r}")

    def _advance_to(self, target: int) -> None:
        instant, turns = self._now, 0
        while True:
            call = min(self.clock.calls, key=_time_of, default=None)
            event_at = self._events[0][0] if self._events else None
            timer = None if call is None else max(self._now, round(_time_of(call) * SECOND))
            due = min((at for at in (timer, event_at) if at is not None), default=None)
            if due is None or due > target:
                break
            turns = turns + 1 if due == instant else 0
            instant = due
            if turns > _MOST_AT_ONE_INSTANT:
                raise RuntimeError("time stands still: something answers or rearms without delay")
            if due == event_at or call is None:
                self._set_time(due)
                heappop(self._events)[2]()
            else:
                self._set_time(due, _time_of(call))
                # As Clock.advance, but one call at a time, to detect an endless loop.
                self.clock.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        self._set_time(target)

    def _set_time(self, now: int, at_least: float = 0.0) -> None:
        self._now = now
        self.clock.rightNow = max(self.clock.rightNow, now / SECOND, at_least)

    def schedule(self, delay: int, event: Callable[[], None]) -> None:
        """Run ``event`` in ``delay`` ns."""
        self._serial += 1
        heappush(self._events, (self._now + delay, self._serial, event))

    def carry(self, port: FakeUdpPort[FakeHost], data: bytes, destination: Address) -> None:
        """Carry a datagram from ``port``; called by `FakeUdpPort.write`."""
        host = port.host
        source = (port.source_towards(destination[0]), port.port)
        datagram = Datagram(self._now, source, destination, data, source)
        if self.capture:
            self.captured.append(datagram)
        if destination[0] in _LOOPBACK or destination[0] in host.addresses:
            self.schedule(0, lambda: self._arrive(datagram, port, host, destination))
            return
        realm = self.hosts
        if host.nat is not None:
            if destination[0] in host.nat.hosts:
                realm = host.nat.hosts
            else:
                datagram.seen_source = host.nat.outbound(source, destination)
        if self.firewall is not None and self.firewall(datagram):
            datagram.fate = "filtered"
            return
        delays = self._link(source[0], destination[0]).delays(self._chance(source, destination))
        if not delays:
            datagram.fate = "lost"
        for delay in delays:
            self.schedule(delay, lambda: self._route(datagram, port, realm))

    def _link(self, source: str, destination: str) -> Link:
        return self._links.get((source, destination), self.link)

    def _chance(self, source: Address, destination: Address) -> Random:
        """The random source of one path, so that other traffic does not change its results."""
        way = (source[0], destination[0])
        if way not in self._chances:
            self._chances[way] = Random(f"{self.seed} {way[0]} {way[1]}")
        return self._chances[way]

    def _route(
        self, datagram: Datagram, port: FakeUdpPort[FakeHost], realm: dict[str, FakeHost]
    ) -> None:
        address: Address | None = datagram.destination
        nat = self.nats.get(datagram.destination[0]) if realm is self.hosts else None
        if nat is not None:
            address = nat.inbound(datagram.destination[1], datagram.seen_source)
            realm = nat.hosts
        if address is None:
            datagram.fate = "filtered"
            return
        host = realm.get(address[0])
        if host is None:
            datagram.fate = "no such host"
            return
        self._arrive(datagram, port, host, address)

    def _arrive(
        self, datagram: Datagram, port: FakeUdpPort[FakeHost], host: FakeHost, address: Address
    ) -> None:
        if host.stalled_until > self._now:
            # Until then it waits in the buffer of its socket.
            wait = host.stalled_until - self._now
            self.schedule(wait, lambda: self._arrive(datagram, port, host, address))
            return
        receiver = host.port_for(address, datagram.seen_source)
        if receiver is not None:
            datagram.fate = "delivered"
            datagram.deliveries += 1
            receiver.deliver(datagram.data, datagram.seen_source)
            return
        if not datagram.deliveries:
            datagram.fate = "port closed"
        if self.icmp:
            link = self._link(datagram.destination[0], datagram.source[0])
            self.schedule(
                0 if host is port.host else round(link.delay * SECOND),
                lambda: port.refused(datagram.destination, datagram.data),
            )


@implementer(IReactorUDP, IReactorTime, IVirtualHost)
class FakeHost:
    """One host, used as the reactor.  Made by `FakeNetwork.host` and `FakeNat.host`."""

    def __init__(
        self, network: FakeNetwork, addresses: tuple[str, ...], nat: FakeNat[FakeHost] | None
    ) -> None:
        self.network = network
        self.addresses = addresses
        self.nat = nat
        self.names: Any = network.names
        self.ports: dict[tuple[str, int], FakeUdpPort[FakeHost]] = {}
        self.stalled_until = 0
        """Until when (ns of the network) its process does not run; see `stall`."""
        self._next_port = _FIRST_FREE_PORT

    def __repr__(self) -> str:
        return f"<FakeHost {' '.join(self.addresses)}>"

    def seconds(self) -> float:
        """Virtual time (`IReactorTime`)."""
        return float(self.network.clock.seconds())

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> IDelayedCall:
        """A timer on the shared clock (`IReactorTime`)."""
        clock = self.network.clock
        call: IDelayedCall

        def run() -> None:
            wait = self.stalled_until - self.network.now
            if wait > 0:
                # The same timer again, which its owner may still cancel.
                delayed: Any = call
                delayed.called, delayed.time = 0, clock.seconds() + wait / SECOND
                clock.calls.append(delayed)
            else:
                callable(*args, **kw)

        call = clock.callLater(delay, run)
        return call

    def stall(self, seconds: float) -> None:
        """Let the process on this host not run for so long, as under SIGSTOP.

        Its timers are late, and what is sent to it waits.
        """
        self.stalled_until = self.network.now + round(seconds * SECOND)

    def getDelayedCalls(self) -> Any:
        """The timers of the whole network (`IReactorTime`)."""
        return self.network.clock.getDelayedCalls()

    def listenUDP(
        self,
        port: int,
        protocol: AbstractDatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> FakeUdpPort[FakeHost]:
        """Open a port (`IReactorUDP`); raises `CannotListenError` if it is in use."""
        if not is_wildcard(interface) and interface not in (*self.addresses, *_LOOPBACK):
            raise _cannot(interface, port, errno.EADDRNOTAVAIL, "not an address of this host")
        if port == 0:
            port = self._free_port(interface)
        elif not self._is_free(interface, port):
            raise _cannot(interface, port, errno.EADDRINUSE, "the port is in use")
        opened = FakeUdpPort(self, protocol, interface, port, maxPacketSize)
        self.ports[_place(interface), port] = opened
        opened.startListening()
        return opened

    def local_address_for(self, peer: str) -> str:
        """Our address towards ``peer`` (`IVirtualHost`), before any translator."""
        if peer in _LOOPBACK or peer in self.addresses:
            return peer
        for address in self.addresses:
            if is_ipv6(address) == is_ipv6(peer):
                return address
        raise OSError(errno.ENETUNREACH, f"{self!r} has no route to {peer}")

    def port_for(self, address: Address, source: Address) -> FakeUdpPort[FakeHost] | None:
        """The open port at ``address`` that receives from ``source``, or None."""
        wildcard = "::" if is_ipv6(address[0]) else "0.0.0.0"
        for interface in (address[0], wildcard):
            port = self.ports.get((interface, address[1]))
            if port is not None and port.hears(source):
                return port
        return None

    def release(self, port: FakeUdpPort[FakeHost]) -> None:
        """Remove a closed port; called by `FakeUdpPort`."""
        self.ports.pop((_place(port.interface), port.port), None)

    def _is_free(self, interface: str, port: int) -> bool:
        place = _place(interface)
        taken = {
            other
            for other, number in self.ports
            if number == port and is_ipv6(other) == is_ipv6(place)
        }
        if is_wildcard(place):
            return not taken
        return place not in taken and not any(is_wildcard(other) for other in taken)

    def _free_port(self, interface: str) -> int:
        for _ in range(65_536 - _FIRST_FREE_PORT):
            port = self._next_port
            self._next_port = port + 1 if port < 65_535 else _FIRST_FREE_PORT
            if self._is_free(interface, port):
                return port
        raise _cannot(interface, 0, errno.EADDRINUSE, "no port is free")


def _time_of(call: Any) -> float:
    return float(call.getTime())


def _place(interface: str) -> str:
    return interface or "0.0.0.0"


def _cannot(interface: str, port: int, number: int, text: str) -> CannotListenError:
    return CannotListenError(interface, port, OSError(number, text))  # type: ignore[no-untyped-call]
