"""The UDP port of SIP: reads in small portions, and reports ICMP errors about our datagrams."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Any, Final

from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.udp import Port
from zope.interface import implementer

from sessioncore.net.pump import MAX_DATAGRAM, receive, receive_queue
from sessioncore.vocabulary import Address

__all__ = ["MAX_BYTES", "SipPort"]

MAX_BYTES: Final = 8192
"""Bytes read per reactor turn; Twisted's 256 KB would delay the media tick by 30-70 ms."""
CROWDED: Final = 128 * 1024
"""Kernel memory of waiting messages (bytes) from which on each source gets its fair share."""
MORE: Final = 16
"""So many times as much is read per reactor turn then."""
MAX_DATAGRAMS: Final = 64
"""Datagrams read per reactor turn; needed because empty ones do not count as bytes."""
MAX_ERRORS: Final = 64
"""ICMP errors read before datagrams are."""

_HEARS_ICMP: Final = sys.platform == "linux"
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_ERROR: Final = struct.Struct("=IBBBxII")
"""``struct sock_extended_err``: errno, origin, ICMP type and code, info, data."""
_ICMP, _ICMP6 = 2, 3
_UNREACHABLE: Final = frozenset(
    [(_ICMP, 3, code) for code in range(16) if code != 4]  # 4 is about the size of one packet
    + [(_ICMP, 12, code) for code in range(3)]
    + [(_ICMP6, 1, code) for code in range(8)]
    + [(_ICMP6, 4, code) for code in range(4)]
)
"""Destination unreachable and parameter problem (RFC 3261 section 18.4), by origin, type, code."""
_NOTHING: Final = (errno.EAGAIN, errno.EWOULDBLOCK)


@implementer(IHalfCloseableDescriptor)
class SipPort(Port):
    """Reports unreachable addresses to ``unreachable`` of its protocol, a `SipUdpProtocol`.

    The kernel keeps ICMP errors in a separate queue (``ip(7)``, IP_RECVERR).  It wakes the
    reader as a closed connection or as readable without a datagram, depending on the reactor.
    """

    maxThroughput = MAX_BYTES
    _errors_wait = False
    _emptied = False
    _shared = False

    def createInternetSocket(self) -> socket.socket:
        """The socket, with the error queue enabled; ``::`` refuses IPv4, which has own flows."""
        made: socket.socket = super().createInternetSocket()
        if self.addressFamily == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if _HEARS_ICMP:
            made.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            if self.addressFamily == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        return made

    def doRead(self) -> None:
        """Called by the reactor when there is something to read; sends the responses at its end."""
        flow = self.protocol.flow
        flow.hold()
        try:
            self._read()
        finally:
            flow.release()

    def _read(self) -> None:
        opened, take = self.socket, self.protocol.datagramReceived
        octets, most = self.maxThroughput, MAX_DATAGRAMS
        self._shared = False
        if self.backlog() > CROWDED:
            take = self.protocol.take_fairly
            self._shared = self.protocol.fair_share.limits
            if self._shared:
                # Most are dropped unread, which takes a microsecond each.
                octets, most = MORE * octets, MORE * most
        if self._errors_wait:
            self._read_errors()
        octets, datagrams, error = receive(opened, take, octets, most)
        if error and (error not in _NOTHING or datagrams == most) and self.connected:
            # Reading reported a pending error, or only an error woke the reader.
            self._read_errors()
            error = receive(opened, take, octets, datagrams)[2]
        self._emptied = error in _NOTHING

    def backlog(self) -> int:
        """Bytes of kernel memory that unread datagrams use; 0 if the kernel does not report it.

        If the last turn read everything, the kernel is not asked.  Later datagrams count once
        a turn ends at its limits, so at most `MAX_BYTES` are read without asking.  Where each
        source gets its fair share, most of what waits will not be answered: 0.
        """
        if self._emptied or self._shared:
            return 0
        try:
            return receive_queue(self.socket)[0]
        except OSError:
            return 0

    def readConnectionLost(self, reason: Any) -> None:
        """Called by poll and epoll reactors when there are only errors to read."""
        self.startReading()  # type: ignore[no-untyped-call]
        self._read_errors()

    def expect_errors(self) -> None:
        """Read errors in the next turn, because one of them failed a send.

        A waiting error occupies room for datagrams.  The reactor reports it only when no
        datagram waits, which may never happen in a busy server.
        """
        self._errors_wait = True

    def _read_errors(self) -> None:
        if not _HEARS_ICMP:
            return
        self._errors_wait = False
        refused: dict[Address, set[bytes]] = {}
        for _ in range(MAX_ERRORS):
            try:
                quoted, ancillary, _flags, address = self.socket.recvmsg(
                    MAX_DATAGRAM, 512, socket.MSG_ERRQUEUE
                )
            except OSError:
                break
            if _is_unreachable(ancillary):
                refused.setdefault((address[0], address[1]), set()).add(quoted)
        else:
            # The others stay in the queue and wake the reactor again; until then they must not
            # fail the next read.
            self._errors_wait = True
            self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refused:
            self.protocol.unreachable(refused)


def _is_unreachable(ancillary: list[Any]) -> bool:
    for level, kind, data in ancillary:
        if (level, kind) in (
            (socket.IPPROTO_IP, _IP_RECVERR),
            (socket.IPPROTO_IPV6, _IPV6_RECVERR),
        ):
            _errno, origin, icmp, code, _info, _data = _ERROR.unpack_from(data)
            return (origin, icmp, code) in _UNREACHABLE
    return False
