"""SIP over UDP: one bound socket, its receiving protocol and the `UdpFlow` it sends through."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

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
from sessioncore.net.pump import MAX_DATAGRAM
from sessioncore.net.sip_port import MAX_BYTES, SipPort
from sessioncore.sip.flows import Target
from sessioncore.vocabulary import Address, host_port

__all__ = ["SipUdpProtocol", "SipUdpTransport", "UdpFlow", "listen_sip_udp"]

RECEIVE_BUFFER: Final = 4 * 1024 * 1024

_SO_RCVBUFFORCE: Final = 33
_FULL: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})
_UNSENT: Final = (OSError, MessageLengthError, OverflowError)
_REPEATS: Final = 8
"""How often a datagram is sent again at once after the socket has failed to send it."""
_MOST_KNOWN: Final = 4096
_CHOOSE: Final = "choose another with --listen, for example --listen udp:5070"
_TODO: Final[dict[int | None, str]] = {
    errno.EADDRINUSE: f"stop what holds it, or {_CHOOSE}",
    errno.EADDRNOTAVAIL: (
        "this machine has no such address; give one of its own (`ip address` lists them), or"
        " listen on all with --listen udp:{port}"
    ),
    errno.EACCES: (
        "ports below 1024 need root; choose another with --listen, for example --listen udp:5060"
    ),
}
"""What to do about a socket that cannot be bound."""
_log = Logger(namespace="sessioncore.net.sip_udp")


@implementer(ISipFlow)
class UdpFlow:
    """Sends SIP messages by one bound UDP socket (the ``Flow`` of `sessioncore.sip`).

    ``local`` is the bound address, so its host may be a wildcard; `sent_by` never is.
    ``dropped`` counts datagrams for which the kernel had no room or reported only errors about
    other datagrams, ``failed`` the others that could not be sent.

    Between `hold` and `release` nothing is sent: all responses of a reading turn are sent
    together, because each single send would wake its receiver.
    """

    __slots__ = (
        "_addresses",
        "_advertise",
        "_expect_errors",
        "_held",
        "_known",
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
        expect_errors: Callable[[], None] = lambda: None,
    ) -> None:
        self.local = local
        self._expect_errors = expect_errors
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
        self._held: list[tuple[bytes, Address]] | None = None
        # The result of `sent_by` for every peer; None if it depends on the peer.
        self._shown: bytes | None = None
        if self._advertise is not None or not is_wildcard(local[0]):
            self._shown = self.sent_by("")

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram to an IP literal, without blocking.

        If the send buffer is full, the datagram is lost, which SIP repairs by itself; it is
        counted in ``dropped``.  Raises `OSError` for everything else (no route, too long, not
        an IP literal).  A datagram that is held raises it at the earliest when it is repeated.
        """
        host = address[0]
        if host not in self._known:
            self._check(host)
        if self._held is not None:
            self._held.append((data, address))
            return
        try:
            self._sendto(data, address)
        except _UNSENT:
            self._send_again(data, address)

    def hold(self) -> None:
        """Keep datagrams until `release`, together with those already held."""
        if self._held is None:
            self._held = []

    def release(self) -> None:
        """Send the held datagrams, in order."""
        held, self._held = self._held, None
        sendto = self._sendto
        for data, address in held or ():
            try:
                sendto(data, address)
            except _UNSENT:
                # Counted; the error is raised again for the retransmission.
                with suppress(OSError):
                    self._send_again(data, address)

    def _send_again(self, data: bytes, address: Address) -> None:
        """Send what failed, perhaps only because of an ICMP error about another datagram.

        The kernel reports an ICMP error by failing the next send, whatever its destination; the
        error stays in the error queue, where `SipPort` reads whom it is about.  Each such error
        fails one send, so a datagram whose own error it is fails every time.
        """
        self._expect_errors()
        failure = self._try(data, address)
        for _ in range(_REPEATS - 1):
            if failure is None or failure.errno in _FULL:
                break
            failure = self._try(data, address)
        if failure is None:
            return
        if failure.errno in _FULL or failure.errno == errno.ECONNREFUSED:
            self.dropped += 1
            return
        self.failed += 1
        raise failure

    def _try(self, data: bytes, address: Address) -> OSError | None:
        """Send; returns the failure, if there is one."""
        try:
            self._sendto(data, address)
        except OSError as error:
            return error
        except MessageLengthError:
            return OSError(errno.EMSGSIZE, f"{len(data)} bytes are too long for UDP")
        except OverflowError:
            return OSError(errno.EINVAL, f"{address[1]} is not a port")
        return None

    @property
    def backlog(self) -> int:
        """See `SipPort.backlog`."""
        return self._waiting()

    def _check(self, host: str) -> None:
        """Refuse names: the socket call would look them up and block the reactor."""
        if not is_literal(host):
            self.failed += 1
            raise OSError(errno.EINVAL, f"{host!r} is not an IP address")
        if is_ipv6(host) != is_ipv6(self.local[0]):
            self.failed += 1
            raise OSError(
                errno.EAFNOSUPPORT, f"{host} cannot be reached from {host_port(*self.local)}"
            )
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(host)

    def sent_by(self, peer: str) -> bytes:
        """The host and port of Via and Contact for ``peer``: ``b"192.0.2.1:5060"``.

        That is the advertised address if it has our IP version, else the bound address, or for
        a wildcard the address that the peer sees.  Never a wildcard, never raises.
        """
        if self._shown is not None:
            return self._shown
        return host_port(*self.address_for(peer)).encode("ascii")

    def address_for(self, peer: str) -> Address:
        """The address and port of `sent_by`."""
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
    """Passes each datagram on with the time; exceptions of the receiver are counted.

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
        self._flow: Any = None  # set once the protocol is listening

    @property
    def flow(self) -> UdpFlow:
        """The flow for responses to messages from here; raises `RuntimeError` before listening."""
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
        # Port.write checks the address text twice; the socket itself takes a third of the time.
        handle = getattr(transport, "getHandle", None)
        self.listening = True
        local = (host.host, host.port)
        if is_ipv6(local[0]):
            self._receive = _unmapping(self._receive)
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
        try:
            self._receive(datagram, addr, self._flow, self._now())
        except Exception as error:
            self.faults.caught("receiving a SIP datagram failed", error)

    def unreachable(self, refused: Refused) -> None:
        """Called by our ports with the addresses of ICMP errors; never raises."""
        self.faults.guard("handling ICMP failed", self._unreachable, refused, self._now())


def _unmapping(receive: Receive) -> Receive:
    """What takes datagrams of an IPv6 socket: their addresses have four parts, or are IPv4."""

    def receive_unmapped(data: bytes, addr: Any, flow: Any, now: int) -> None:
        receive(data, (unmapped(addr[0]), addr[1]), flow, now)

    return receive_unmapped


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
    """SIP over one UDP socket of the reactor.

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
        """The flow of the socket, which reaches every target of its IP version."""
        return self.flow

    @property
    def flow(self) -> UdpFlow:
        """The flow of the socket; raises `RuntimeError` before `open`."""
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

    @property
    def unsent(self) -> int:
        """How many datagrams the socket did not send."""
        if self._protocol is None:
            return 0
        flow = self._protocol.flow
        return flow.dropped + flow.failed

    def open(self, receive: Receive, unreachable: Unreachable, lost: Lost) -> None:
        """Bind the socket; raises `ConfigurationError`, which says what to do."""
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
    """Ask for a receive buffer for bursts of calls; log it if the kernel grants less."""
    handle = getattr(port, "getHandle", None)
    if handle is None:
        return
    opened: socket.socket = handle()
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    with suppress(OSError):
        # Beyond rmem_max, if permitted.
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    given = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # Linux doubles it
    if given < RECEIVE_BUFFER:
        _log.warn(
            "the kernel grants the SIP socket a receive buffer of {given} of {wanted} bytes: bursts"
            " of calls may be lost; set sysctl net.core.rmem_max={wanted}",
            given=given,
            wanted=RECEIVE_BUFFER,
        )
