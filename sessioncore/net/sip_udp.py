"""SIP over UDP: one bound socket, its receiving protocol and the `UdpFlow` it sends through."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReactorFDSet
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from sessioncore.errors import ConfigurationError
from sessioncore.interfaces import ISipFlow, ISipTransport, Lost, Receive, Refused, Unreachable
from sessioncore.net.addresses import (
    Listen,
    LocalAddresses,
    is_ipv6,
    is_literal,
    is_wildcard,
    local_address_for,
    parse_host_port,
    unmapped,
)
from sessioncore.net.clockwork import IClockwork
from sessioncore.net.fair_share import FairShare
from sessioncore.net.faults import FaultLog
from sessioncore.net.pump import MAX_DATAGRAM, Failed, Pump
from sessioncore.net.sip_port import MAX_BYTES, SipPort
from sessioncore.sip.flows import Target
from sessioncore.vocabulary import Address, host_port

__all__ = ["SipUdpProtocol", "SipUdpTransport", "UdpFlow", "listen_sip_udp"]

RECEIVE_BUFFER: Final = 4 * 1024 * 1024

_SO_RCVBUFFORCE: Final = 33
_FULL: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})
_MOST_KNOWN: Final = 4096
_CHOOSE: Final = "choose another with --listen, e.g. --listen udp:5070"
_TODO: Final[dict[int | None, str]] = {
    errno.EADDRINUSE: f"stop what holds it, or {_CHOOSE}",
    errno.EADDRNOTAVAIL: (
        "this machine has no such address; name one of its own (`ip address` shows them), or all:"
        " --listen udp:{port}"
    ),
    errno.EACCES: (
        "ports below 1024 are for root; choose another with --listen, e.g. --listen udp:5060"
    ),
}
"""What to do about a socket that cannot be bound."""
SendAll: TypeAlias = "Callable[[Sequence[bytes], Sequence[Address]], Failed]"
_log = Logger(namespace="sessioncore.net.sip_udp")


def _none_sent(datagrams: Sequence[bytes], addresses: Sequence[Address]) -> Failed:
    """Of a transport that sends one by one only."""
    return [(position, 0) for position in range(len(datagrams))]


@implementer(ISipFlow)
class UdpFlow:
    """Where SIP bytes leave: one bound UDP socket (the ``Flow`` of `sessioncore.sip`).

    ``local`` is what the socket is bound to, so its host may be a wildcard; `sent_by` never
    is.  ``dropped`` counts datagrams that the kernel had no room for, ``failed`` the others
    that could not be sent.

    Between `hold` and `release` nothing leaves: what a reading turn answers leaves together,
    since each send by itself would wake its receiver.
    """

    __slots__ = (
        "_addresses",
        "_advertise",
        "_held",
        "_held_for",
        "_known",
        "_news",
        "_send_all",
        "_sendto",
        "_shown",
        "_waiting",
        "dropped",
        "failed",
        "local",
    )

    reliable: Final = False
    transport: Final = b"UDP"
    alive: Final = True

    def __init__(
        self,
        local: Address,
        sendto: Callable[[bytes, Address], object],
        addresses: LocalAddresses,
        advertise: str | None = None,
        waiting: Callable[[], int] = lambda: 0,
        news: Callable[[], None] = lambda: None,
        send_all: SendAll = _none_sent,
    ) -> None:
        self.local = local
        self._send_all = send_all
        self._news = news
        self._waiting = waiting
        self.dropped = 0
        self.failed = 0
        self._sendto = sendto
        self._addresses = addresses
        self._advertise = None if advertise is None else parse_host_port(advertise)
        if self._advertise is not None and is_literal(self._advertise[0]):
            other = is_ipv6(self._advertise[0]) is not is_ipv6(local[0])
            self._advertise = None if other else self._advertise
        self._known: set[str] = set()
        self._held: list[bytes] | None = None
        self._held_for: list[Address] = []
        # What `sent_by` says to every peer; None where that depends on the peer.
        self._shown: bytes | None = None
        if self._advertise is not None or not is_wildcard(local[0]):
            self._shown = self.sent_by("")

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram to an IP literal, without blocking.

        A full send buffer is a lost datagram, which SIP repairs by itself; it is counted in
        ``dropped``.  Raises `OSError` for everything else (no route, too long, no literal);
        what is held back raises it when it is repeated, at the earliest.
        """
        host = address[0]
        if host not in self._known:
            self._check(host)
        if self._held is not None:
            self._held.append(data)
            self._held_for.append(address)
            return
        try:
            self._sendto(data, address)
        except (OSError, MessageLengthError, OverflowError):
            self._send_again(data, address)

    def hold(self) -> None:
        """Keep what is to be sent until `release`; what is kept already stays."""
        if self._held is None:
            self._held, self._held_for = [], []

    def release(self) -> None:
        """Send what was held, in its order."""
        held, self._held = self._held, None
        if held:
            try:
                failed = [position for position, _ in self._send_all(held, self._held_for)]
            except OverflowError:
                failed = list(range(len(held)))  # one has no such port: each by itself
            for position in failed:
                # Counted; whoever sends it again is told.
                with suppress(OSError):
                    self._send_again(held[position], self._held_for[position])

    def _send_again(self, data: bytes, address: Address) -> None:
        """The first failure may have been the news of an ICMP about some earlier datagram."""
        self._news()
        try:
            self._sendto(data, address)
        except OSError as error:
            if error.errno in _FULL:
                self.dropped += 1
            elif error.errno != errno.ECONNREFUSED:
                self.failed += 1
                raise
        except MessageLengthError as error:
            self.failed += 1
            raise OSError(errno.EMSGSIZE, f"{len(data)} bytes are too long for UDP") from error
        except OverflowError as error:
            self.failed += 1
            raise OSError(errno.EINVAL, f"{address[1]} is no port") from error

    @property
    def backlog(self) -> int:
        """What `SipPort.backlog` says."""
        return self._waiting()

    def _check(self, host: str) -> None:
        """Refuse names: the socket call would look them up and block the reactor."""
        if not is_literal(host):
            self.failed += 1
            raise OSError(errno.EINVAL, f"{host!r} is no IP address")
        if is_ipv6(host) != is_ipv6(self.local[0]):
            self.failed += 1
            raise OSError(
                errno.EAFNOSUPPORT, f"{host} cannot be reached from {host_port(*self.local)}"
            )
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(host)

    def sent_by(self, peer: str) -> bytes:
        """What to put into Via and Contact for ``peer``: ``b"192.0.2.1:5060"``.

        The advertised address if it is of our IP version, or the bound one, or for a wildcard
        the one the peer sees.  Never a wildcard, never raises.
        """
        if self._shown is not None:
            return self._shown
        return host_port(*self.address_for(peer)).encode("ascii")

    def address_for(self, peer: str) -> Address:
        """The address and port that `sent_by` prints."""
        host, port = self.local
        if self._advertise is not None:
            return self._advertise[0], self._advertise[1] or port
        if is_wildcard(host):
            try:
                host = self._addresses.towards(peer)
            except OSError:
                host = "::1" if is_ipv6(host) else "127.0.0.1"
        return host, port


class SipUdpProtocol(DatagramProtocol):
    """Stamps each datagram with the time and hands it on; one that fails is counted.

    ``flow`` sends through the same socket; it exists once the protocol is listening.
    """

    def __init__(
        self,
        receive: Receive,
        clockwork: IClockwork,
        *,
        reactor: object = None,
        advertise: str | None = None,
        unreachable: Unreachable = lambda refused, now: None,
    ) -> None:
        self.received = 0
        self.faults = FaultLog(_log)
        self.fair_share = FairShare()
        self.listening = False
        self._receive = receive
        self._unreachable = unreachable
        self._now = clockwork.now
        self._advertise = advertise
        if advertise is not None:
            parse_host_port(advertise)  # raises now, not in startProtocol
        self._addresses = LocalAddresses(
            clockwork.now, lambda peer: local_address_for(peer, reactor)
        )
        self._flow: Any = None  # there once the protocol is listening

    @property
    def flow(self) -> UdpFlow:
        """Where answers to what came in here leave; raises `RuntimeError` before listening."""
        if self._flow is None:
            raise RuntimeError("the SIP socket is not open yet")
        flow: UdpFlow = self._flow
        return flow

    @property
    def errors(self) -> int:
        """How many datagrams made the receiver raise."""
        return self.faults.count

    def send(self, data: bytes, address: Address) -> None:
        """`UdpFlow.send`."""
        self.flow.send(data, address)

    def startProtocol(self) -> None:
        """Called by Twisted when the socket is bound."""
        transport: Any = self.transport
        host = transport.getHost()
        # Port.write checks and re-checks the address text; the socket itself costs a third.
        handle = getattr(transport, "getHandle", None)
        self.listening = True
        local = (host.host, host.port)
        if handle is None:
            self._flow = UdpFlow(local, transport.write, self._addresses, self._advertise)
            return
        opened: socket.socket = handle()
        self._flow = UdpFlow(
            local,
            opened.sendto,
            self._addresses,
            self._advertise,
            getattr(transport, "backlog", lambda: 0),
            getattr(transport, "expect_errors", lambda: None),
            lambda datagrams, addresses: Pump.send_to(
                [opened] * len(datagrams), datagrams, addresses
            ),
        )

    def stopProtocol(self) -> None:
        """Called by Twisted when the socket was closed."""
        self.listening = False

    def take_fairly(self, datagram: bytes, addr: Any) -> None:
        """As `datagramReceived`, for the fair share of each source alone."""
        if self.fair_share.admits(addr[0], self._now()):
            self.datagramReceived(datagram, addr)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Called by Twisted with each datagram; never raises."""
        self.received += 1
        try:
            # Of IPv4 this is (host, port) already.
            source = addr if ":" not in addr[0] else (unmapped(addr[0]), addr[1])
            self._receive(datagram, source, self._flow, self._now())
        except Exception as error:
            self.faults.caught("receiving a SIP datagram failed", error)

    def unreachable(self, refused: Refused) -> None:
        """Called by our ports with what ICMP said; never raises."""
        self.faults.guard("handling ICMP failed", self._unreachable, refused, self._now())


def listen_sip_udp(
    reactor: Any,
    listen: Listen,
    receive: Receive,
    clockwork: IClockwork,
    *,
    advertise: str | None = None,
    unreachable: Unreachable = lambda refused, now: None,
) -> tuple[SipUdpProtocol, IListeningPort]:
    """Bind a SIP socket.  Raises `CannotListenError`.

    ``advertise`` is ``host`` or ``host:port`` for Via and Contact in place of our own.
    """
    protocol = SipUdpProtocol(
        receive, clockwork, reactor=reactor, advertise=advertise, unreachable=unreachable
    )
    if IReactorFDSet.providedBy(reactor):
        port = SipPort(  # type: ignore[no-untyped-call]
            listen.port, protocol, listen.interface, MAX_DATAGRAM, reactor
        )
        port.startListening()  # type: ignore[no-untyped-call]
    else:
        port = reactor.listenUDP(
            listen.port, protocol, interface=listen.interface, maxPacketSize=MAX_DATAGRAM
        )
        port.maxThroughput = MAX_BYTES
    _enlarge_receive_buffer(port)
    return protocol, port


@implementer(ISipTransport)
class SipUdpTransport:
    """SIP over one UDP socket of the reactor's.

    ``advertise`` is ``host`` or ``host:port`` for Via and Contact in place of our own.
    """

    def __init__(
        self, reactor: Any, listen: Listen, clockwork: IClockwork, *, advertise: str | None = None
    ) -> None:
        self._reactor = reactor
        self._listen = listen
        self._clockwork = clockwork
        self._advertise = advertise
        self._protocol: SipUdpProtocol | None = None
        self._port: IListeningPort | None = None

    transport: Final = b"UDP"

    @property
    def local(self) -> Address:
        """The bound address; raises `RuntimeError` before `open`."""
        return self.flow.local

    def flow_to(self, target: Target) -> UdpFlow:
        """The one socket reaches every target of its IP version."""
        return self.flow

    @property
    def flow(self) -> UdpFlow:
        """Where requests of ours leave; raises `RuntimeError` before `open`."""
        if self._protocol is None:
            raise RuntimeError("the SIP socket is not open yet")
        return self._protocol.flow

    @property
    def over_share(self) -> int:
        """How many datagrams were dropped, because their source sent too many."""
        return 0 if self._protocol is None else self._protocol.fair_share.dropped

    @property
    def errors(self) -> int:
        """How many datagrams made the receiver raise."""
        return 0 if self._protocol is None else self._protocol.errors

    def open(self, receive: Receive, unreachable: Unreachable, lost: Lost) -> None:
        """Bind; raises `ConfigurationError` with what to do about it."""
        listen = self._listen
        try:
            self._protocol, self._port = listen_sip_udp(
                self._reactor,
                listen,
                receive,
                self._clockwork,
                advertise=self._advertise,
                unreachable=unreachable,
            )
        except (CannotListenError, OSError) as error:
            where = listen.interface or "all interfaces"
            why = getattr(error, "socketError", error)
            todo = _TODO.get(getattr(why, "errno", None), _CHOOSE)
            raise ConfigurationError(
                f"cannot listen on UDP port {listen.port} of {where}: {why}; "
                + todo.format(port=listen.port)
            ) from None

    def close(self) -> Any:
        """Close the socket; fires when it is closed."""
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


def _enlarge_receive_buffer(port: Any) -> None:
    """Ask for room for a burst of calls; say so where the kernel gives less."""
    handle = getattr(port, "getHandle", None)
    if handle is None:
        return
    opened: socket.socket = handle()
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    with suppress(OSError):
        # Past rmem_max, for those who may.
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    given = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # Linux doubles it
    if given < RECEIVE_BUFFER:
        _log.warn(
            "the kernel gives the SIP socket {given} of {wanted} bytes to receive in: bursts of"
            " calls may be lost; set sysctl net.core.rmem_max={wanted}",
            given=given,
            wanted=RECEIVE_BUFFER,
        )
