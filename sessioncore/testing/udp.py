"""The UDP ports of hosts on the in-memory network."""

from __future__ import annotations

import errno
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IUDPTransport
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from sessioncore.net.addresses import is_ipv6, is_literal, is_wildcard
from sessioncore.vocabulary import Address

__all__ = ["FakeUdpPort"]

_LONGEST = 65_507
_QUOTED = 548
"""The bytes of a datagram that an ICMP error quotes (RFC 1812 section 4.3.2.3)."""
_log = Logger(namespace="sessioncore.testing")


class _Network(Protocol):
    """The network as a port uses it."""

    def carry(self, port: Any, data: bytes, destination: Address) -> None:
        """Carry a datagram from ``port``."""


class _Host(Protocol):
    """The host as a port uses it."""

    @property
    def network(self) -> _Network:
        """The network it is on."""

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> Any:
        """A timer."""

    def release(self, port: Any) -> None:
        """The port was closed."""

    def local_address_for(self, peer: str) -> str:
        """The address of this host that ``peer`` sees."""


Host = TypeVar("Host", bound=_Host)


@implementer(IListeningPort, IUDPTransport)
class FakeUdpPort(Generic[Host]):
    """The port that `FakeHost.listenUDP` returns, and the protocol's ``transport``.

    ``sent`` and ``received`` count datagrams.  If ``fail_writes`` is an `OSError`, each write
    raises it, in place of an error of the kernel.
    """

    def __init__(
        self,
        host: Host,
        protocol: AbstractDatagramProtocol,
        interface: str,
        port: int,
        longest: int,
    ) -> None:
        self.host = host
        self.protocol = protocol
        self.interface = interface
        self.port = port
        self.maxThroughput = 256 * 1024
        self.listening = False
        self.sent = 0
        self.received = 0
        self.fail_writes: OSError | None = None
        self._longest = longest
        self._peer: Address | None = None
        self._stopping: Deferred[None] | None = None

    def startListening(self) -> None:
        """Receive datagrams from now on (`IListeningPort`)."""
        self.listening = True
        self.protocol.makeConnection(self)

    def stopListening(self) -> Deferred[None]:
        """Close; the Deferred fires a turn later (`IListeningPort`)."""
        if self._stopping is not None:
            return self._stopping
        if not self.listening:
            return succeed(None)
        self.listening = False
        self._stopping = Deferred()
        self.host.callLater(0, self._closed, self._stopping)
        return self._stopping

    def _closed(self, stopping: Deferred[None]) -> None:
        self.host.release(self)
        self.protocol.doStop()  # type: ignore[no-untyped-call]
        stopping.callback(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        """The address it is bound to (`IListeningPort`)."""
        if is_ipv6(self.interface):
            return IPv6Address("UDP", self.interface, self.port)
        return IPv4Address("UDP", self.interface or "0.0.0.0", self.port)

    def connect(self, host: str, port: int) -> None:
        """Send to and receive from one peer only, and learn if it refuses (`IUDPTransport`)."""
        if self._peer is not None:
            raise RuntimeError("already connected, reconnecting is not possible")
        self._check(host)
        self._peer = (host, port)

    def write(self, packet: bytes, addr: Any = None) -> None:
        """Send one datagram (`IUDPTransport`); raises the errors of a real port."""
        destination = self._peer if addr is None else (addr[0], addr[1])
        if destination is None:
            raise OSError(errno.EDESTADDRREQ, "no destination")
        if not self.listening:
            raise OSError(errno.EBADF, "the port is closed")
        self._check(destination[0])
        if len(packet) > _LONGEST:
            raise MessageLengthError("message too long")
        if self.fail_writes is not None:
            raise self.fail_writes
        self.sent += 1
        self.host.network.carry(self, bytes(packet), destination)

    def _check(self, host: str) -> None:
        if not is_literal(host):
            raise _invalid(host, "not an IP address")
        if is_ipv6(host) != is_ipv6(self.interface):
            raise _invalid(host, "of the other IP version than the port")

    def source_towards(self, destination: str) -> str:
        """The source address of datagrams to ``destination``."""
        if is_wildcard(self.interface):
            return self.host.local_address_for(destination)
        return self.interface

    def hears(self, address: Address) -> bool:
        """Whether this port receives datagrams from ``address``: all, unless it is connected."""
        return self.listening and self._peer in (None, address)

    def deliver(self, data: bytes, source: Address) -> None:
        """Deliver one datagram to the protocol; an exception is logged, as by a reactor."""
        self.received += 1
        try:
            self.protocol.datagramReceived(data[: self._longest], source)
        except Exception:
            _log.failure("a datagram protocol raised")

    def refused(self, destination: Address, data: bytes) -> None:
        """An ICMP port unreachable came back for ``data``.

        A connected port notifies its protocol, as a real one does.  An unconnected port calls
        ``unreachable`` of its protocol if there is one, as the port of a `SipUdpProtocol` does.
        """
        if not self.listening:
            return
        if self._peer == destination:
            connection_refused = getattr(self.protocol, "connectionRefused", None)
            if connection_refused is not None:
                connection_refused()
        elif self._peer is None:
            unreachable = getattr(self.protocol, "unreachable", None)
            if unreachable is not None:
                unreachable({destination: {data[:_QUOTED]}})

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """Does nothing: there is no broadcast here (`IUDPTransport`)."""

    def getBroadcastAllowed(self) -> bool:
        """False: there is no broadcast here (`IUDPTransport`)."""
        return False


def _invalid(host: str, text: str) -> InvalidAddressError:
    return InvalidAddressError(host, text)  # type: ignore[no-untyped-call]
