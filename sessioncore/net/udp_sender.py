"""Sends datagrams to one address, never waits, and never learns more than that it is not there."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorFDSet,
    IResolutionReceiver,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from sessioncore.net.addresses import is_ipv6, is_literal
from sessioncore.vocabulary import host_port

__all__ = ["UdpSender"]

SAID_EVERY: Final = 60.0
"""Seconds between two messages of the log about what could not be sent."""
AGAIN_AFTER: Final = 30.0
"""Seconds after which a name that was not found is looked up again."""
_log = Logger(namespace="sessioncore.net.udp_sender")


@implementer(IResolutionReceiver)
class _Found:
    """The first address of a name; the Deferred fires with it, or with None."""

    def __init__(self) -> None:
        self.done: Deferred[str | None] = Deferred()
        self._host: str | None = None

    def resolutionBegan(self, resolution: object) -> None:
        """Called by Twisted."""

    def addressResolved(self, address: Any) -> None:
        """Called by Twisted with each address."""
        self._host = self._host or address.host

    def resolutionComplete(self) -> None:
        """Called by Twisted."""
        self.done.callback(self._host)


class _Socket:
    """A socket that is connected to one address and never read.

    It is not the reactor's: for that, an ICMP error is the end of a connected UDP port.
    """

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if is_ipv6(host) else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect((host, port))
        except OSError:
            self._socket.close()
            raise

    def write(self, data: bytes) -> None:
        """Send one datagram; raises OSError."""
        self._socket.send(data)

    def stopListening(self) -> None:
        """Close it."""
        self._socket.close()


class UdpSender(DatagramProtocol):
    """Sends to ``host`` (an IP address or a name) and ``port``; ``what`` is its name in the log.

    ``lost`` counts datagrams that were not sent: while a name is not resolved, when the socket has
    no room, and when ICMP reports that nobody listens.  A name is looked up once, by the reactor.
    """

    def __init__(self, reactor: Any, host: str, port: int, what: str) -> None:
        self.lost = 0
        self._reactor = reactor
        self._host = host
        self._to_port = port
        self._what = what
        self._port: Any = None
        self._again: Any = None
        self._stopped = False
        self._said_at: float | None = None

    def start(self) -> None:
        """Open the socket, or look up the name first."""
        if is_literal(self._host):
            self._open(self._host)
        else:
            self._resolve()

    def _resolve(self) -> None:
        self._again = None
        found = _Found()
        found.done.addCallback(self._resolved)
        resolver = IHostnameResolver(self._reactor.nameResolver)
        looking = maybeDeferred(resolver.resolveHostName, found, self._host)
        looking.addErrback(lambda failure: self._resolved(None))

    def _resolved(self, host: str | None) -> None:
        if self._stopped:
            return
        if host is not None:
            self._open(host)
            return
        self._report(f"the name {self._host} has no address")
        self._again = self._reactor.callLater(AGAIN_AFTER, self._resolve)

    def _open(self, host: str) -> None:
        try:
            if IReactorFDSet.providedBy(self._reactor):
                self._port = _Socket(host, self._to_port)
            else:
                interface = "::" if is_ipv6(host) else ""
                self._port = self._reactor.listenUDP(0, self, interface=interface)
                self._port.connect(host, self._to_port)
        except (CannotListenError, OSError) as error:
            self._report(str(error))

    def send(self, data: bytes) -> None:
        """Send one datagram, or count that it was not sent."""
        if self._port is None or self._stopped:
            self.lost += 1
            return
        try:
            self._write(data)
        except MessageLengthError:
            self.lost += 1
            self._report(f"{len(data)} bytes are too long for UDP")
        except OSError as error:
            self.lost += 1
            self._report(error.strerror or str(error))

    def _write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except ConnectionRefusedError:
            # That is what ICMP says of the datagram before; this one has not left yet.
            self.connectionRefused()
            self._port.write(data)

    def connectionRefused(self) -> None:
        """ICMP reports that nobody listens there; also called by Twisted."""
        self.lost += 1
        self._report(os.strerror(errno.ECONNREFUSED))

    def _report(self, why: str) -> None:
        now = self._reactor.seconds()
        if self._said_at is not None and now - self._said_at < SAID_EVERY:
            return
        self._said_at = now
        _log.error(
            "{what} to {where} fails: {why}; {lost} datagrams were lost so far",
            what=self._what,
            where=host_port(self._host, self._to_port),
            why=why,
            lost=self.lost,
        )

    def stop(self) -> Deferred[None]:
        """Send nothing more; fires when the socket is closed."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        port, self._port = self._port, None
        return succeed(None) if port is None else maybeDeferred(port.stopListening)
