"""The fast `PacketIO`: plain UDP sockets, read by our own epoll.

Only the tick reads these sockets.  So the reactor never wakes for a packet and does not know the
sockets (opening a ``udp.Port`` costs 100 us and two log lines), and they close at once.  A
latched lease is a connected socket: the kernel drops every other source, reading needs no
address, and ICMP errors come back as ECONNREFUSED.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import ECONNREFUSED, EHOSTUNREACH, ENETUNREACH
from typing import Final

import numpy as np

from sessioncore.media.bank import every
from sessioncore.media.packet_io import PACKET_WIDTH, Failure, Round, Stray
from sessioncore.net.pump import (
    ANCILLARY,
    SO_TIMESTAMPNS,
    Pump,
    PythonPump,
    arrivals,
    receive_queue,
)
from sessioncore.net.rtp_pool import DEFAULT_PORTS, PooledPorts, PortPool
from sessioncore.vocabulary import SECOND, Address, host_port

__all__ = ["RTP_BUFFER", "EpollPacketIO"]

RTP_BUFFER: Final = 16_384
"""SO_RCVBUF of an RTP socket: about 39 packets; older ones would be useless."""
_ROUND: Final = 512
_STRAYS: Final = 1_024
"""Datagrams read one by one in one tick; the others wait in their sockets."""
_PER_SOCKET: Final = 16
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_NO_WAY: Final = frozenset((EHOSTUNREACH, ENETUNREACH))
_AF_UNSPEC: Final = bytes(16)
_TIME: Final = struct.Struct("=qq")
_libc: Final = ctypes.CDLL(None, use_errno=True)


def _disconnect(sock: socket.socket) -> None:
    """Undo connect(); Python has no constant AF_UNSPEC.  An explicitly bound port is kept."""
    if _libc.connect(sock.fileno(), _AF_UNSPEC, len(_AF_UNSPEC)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _bound(local_ip: str, number: int) -> socket.socket:
    """A UDP socket on an explicit port, which a later disconnect keeps."""
    family = socket.AF_INET6 if ":" in local_ip else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RTP_BUFFER)
        with suppress(OSError):  # without it packets came when they are read
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind((local_ip, number))
    except OSError:
        sock.close()
        raise
    return sock


def _empty(sock: socket.socket) -> None:
    """Discard the queued datagrams."""
    for _ in range(_STRAYS):
        try:
            sock.recv(1)  # recv(0) does not ask the kernel
        except ConnectionRefusedError:
            continue
        except OSError:
            return


def _may_wait(sock: socket.socket) -> bool:
    """Whether something is queued; also True if the kernel does not report it."""
    try:
        return receive_queue(sock)[0] > 0
    except OSError:
        return True


class _Pair:
    """Two bound sockets: RTP on an even port, RTCP above it.  Also the `PortLease`."""

    __slots__ = (
        "_dropped_before",
        "_io",
        "_latched",
        "_rtcp_fd",
        "_rtp_fd",
        "_wanting_errors",
        "deaf",
        "handle",
        "local",
        "local_rtcp",
        "pool",
        "row",
        "rtcp",
        "rtp",
    )

    def __init__(
        self, io: EpollPacketIO, sockets: tuple[socket.socket, socket.socket], local_ip: str
    ) -> None:
        self._io = io
        self.rtp, self.rtcp = sockets
        number = self.rtp.getsockname()[1]
        self.local: Address = (local_ip, number)
        self.local_rtcp: Address = (local_ip, number + 1)
        self.handle = self.rtp
        self._rtp_fd, self._rtcp_fd = self.rtp.fileno(), self.rtcp.fileno()
        self.row = -1
        self.deaf = True
        """Whether not both of its sockets are watched."""
        self.pool: PortPool[_Pair]
        self._wanting_errors = (
            (socket.IPPROTO_IPV6, _IPV6_RECVERR)
            if ":" in local_ip
            else (socket.IPPROTO_IP, _IP_RECVERR)
        )
        self._want_errors(True)
        self._latched = False
        self._dropped_before = 0

    def begin(self, row: int) -> None:
        """The pair is lent to ``row``: reset it and listen."""
        self.row = row
        try:
            waiting, self._dropped_before = receive_queue(self.rtp, self.rtcp)
        except OSError:
            waiting, self._dropped_before = 1, 0
        if waiting:
            self._want_errors(False)  # this also discards the queued ICMP errors
            self._want_errors(True)
            _empty(self.rtp)
            _empty(self.rtcp)
        # Most are still watched: a resting pair is unwatched only once something comes.
        if self.deaf:
            self.deaf = False
            self._io.watch(self, self._rtp_fd, False)
            self._io.watch(self, self._rtcp_fd, True)

    def latch(self, address: Address) -> bool:
        """Receive RTP from this address only and send to it; False if it cannot be reached."""
        try:
            self.rtp.connect(address)
        except OSError as error:
            self._io.note_failure(self.row, False, f"{host_port(*address)}: {error.strerror}")
            return False
        # An ICMP error that waits is about another address: it must neither fail a send to this
        # one nor be reported as its own.
        if self._latched:
            self.rtp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if _may_wait(self.rtp):
            if not self._latched:
                self.read_errors()
            self._io.read_strays(self, self.rtp, False, 64)
        if not self._latched:
            self._latched = True
            self._want_errors(False)
            self._io.make_hot(self, self.rtp)
        return True

    def unlatch(self) -> None:
        """Receive RTP from any source again, one by one as `Stray`."""
        if self._latched:
            self._latched = False
            self._io.cool(self._rtp_fd)
            _disconnect(self.rtp)
            self._want_errors(True)
            self._io.watch(self, self._rtp_fd, False)

    def send_rtcp(self, data: bytes, address: Address) -> None:
        """Send one RTCP packet; raises OSError if it cannot be sent."""
        self.rtcp.sendto(data, address)

    def kernel_drops(self) -> int:
        """Datagrams dropped because the RTP receive buffer was full."""
        try:
            return receive_queue(self.rtp)[1] - self._dropped_before
        except OSError:
            return 0

    def release(self, now: int) -> None:
        """Stop listening; the pair rests and is then lent again."""
        if self.row < 0:
            return
        self.row = -1
        if self._latched:
            self.unlatch()
            self.rtp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # of the old peer's port
        self.pool.take_back(self, now)

    def read_errors(self) -> None:
        """Read the ICMP errors of an unlatched socket from its error queue."""
        while True:
            try:
                _, ancillary, _, address = self.rtp.recvmsg(64, 128, socket.MSG_ERRQUEUE)
            except OSError:
                return
            refused = any(
                kind in (_IP_RECVERR, _IPV6_RECVERR)
                and struct.unpack_from("=I", data)[0] == ECONNREFUSED
                for _, kind, data in ancillary
            )
            peer = host_port(*address[:2]) if address else "the peer"
            self._io.note_failure(self.row, refused, peer)

    def _want_errors(self, wanted: bool) -> None:
        # An unconnected socket gets ICMP errors only on request; a connected one always does.
        self.rtp.setsockopt(*self._wanting_errors, wanted)


class EpollPacketIO(PooledPorts[_Pair]):
    """RTP for thousands of calls on Linux; ``ports`` and ``rest`` as in `PooledPorts`.

    ``now`` is the clock of the ticks, by which arrivals are told.
    """

    def __init__(
        self,
        *,
        ports: range = DEFAULT_PORTS,
        rest: int = 2 * SECOND,
        pump: type[PythonPump] = Pump,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(ports, rest)
        self._now = now
        self._hot = select.epoll()
        self._slow = select.epoll()
        self.watched: dict[int, tuple[_Pair, bool]] = {}
        """The sockets that are read datagram by datagram."""
        self._pair_of: dict[int, _Pair] = {}
        self._row_of = np.zeros(256, np.int64)
        self._sockets: dict[int, socket.socket] = {}
        self._strays: list[Stray] = []
        self._failures: list[Failure] = []
        # One octet more than allowed, to detect packets that are too long.
        self._pump = pump(_ROUND, PACKET_WIDTH + 1)
        self._packets = self._pump.packets[:, :PACKET_WIDTH]

    def receive(self) -> Round | None:
        """One packet from each latched socket that has one; None if none has."""
        if not self._sockets:
            return None
        fds, lengths, came = self._pump.drain(self._hot, self._sockets, self._now())
        count = len(fds)
        if not count:
            return None
        rows, packets = self._row_of[fds], self._packets[:count]
        good = lengths >= 0
        if every(good):
            return Round(rows, packets, lengths, came, count == _ROUND)
        for fd in fds[lengths == -ECONNREFUSED].tolist():
            self._refused(self._pair_of[fd])
        full = count == _ROUND
        return Round(rows[good], packets[good], lengths[good], came[good], full)

    def _refused(self, pair: _Pair, refused: bool = True) -> None:
        try:
            host, port = pair.rtp.getpeername()[:2]
        except OSError:
            return
        self.note_failure(pair.row, refused, host_port(host, port))

    def strays(self) -> list[Stray]:
        """The datagrams for unlatched leases and RTCP ports since the last call."""
        for fd, event in self._slow.poll(0, _ROUND):
            if len(self._strays) >= _STRAYS:
                break
            pair, is_rtcp = self.watched[fd]
            if pair.row < 0:
                self.unwatch(fd)  # until it is lent again, when it is emptied
                pair.deaf = True
                continue
            if event & select.EPOLLERR and not is_rtcp:
                pair.read_errors()
            self.read_strays(pair, pair.rtcp if is_rtcp else pair.rtp, is_rtcp, _PER_SOCKET)
        strays, self._strays = self._strays, []
        return strays

    def send(self, handles: Sequence[socket.socket], packets: Sequence[memoryview]) -> list[int]:
        """Send one packet for each handle; returns the positions that failed, in order."""
        failed = self._pump.send(handles, packets)
        for at, error in failed:
            if error == ECONNREFUSED or error in _NO_WAY:
                self._refused(self._pair_of[handles[at].fileno()], error == ECONNREFUSED)
        return [at for at, _ in failed]

    def send_to(
        self,
        handles: Sequence[socket.socket],
        packets: Sequence[memoryview],
        addresses: Sequence[Address],
    ) -> list[int]:
        """As `send`, for leases that are not latched; their error queues report ICMP errors.

        What fails is sent once more: the failure may be the error about an earlier address.
        """
        failed = [at for at, _ in self._pump.send_to(handles, packets, addresses)]
        if not failed:
            return failed
        again = self._pump.send_to(
            [handles[at] for at in failed],
            [packets[at] for at in failed],
            [addresses[at] for at in failed],
        )
        for at, error in again:
            if error in _NO_WAY:
                row = self._row_of_unlatched(handles[failed[at]])
                self.note_failure(row, False, host_port(*addresses[failed[at]]))
        return [failed[at] for at, _ in again]

    def _row_of_unlatched(self, handle: socket.socket) -> int:
        watched = self.watched.get(handle.fileno())
        return -1 if watched is None else watched[0].row

    def failures(self) -> list[Failure]:
        """The failures since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def close(self) -> None:
        """Close every socket."""
        for pair in self._pairs:
            pair.release(0)
            pair.rtp.close()
            pair.rtcp.close()
        for pool in self._pools.values():
            list(pool.drain())
        self._pairs.clear()
        if not self._hot.closed:
            self._hot.close()
            self._slow.close()

    def open_pair(self, local_ip: str, number: int) -> _Pair:
        """RTP on ``number``, RTCP above it; raises OSError."""
        rtp = _bound(local_ip, number)
        try:
            rtcp = _bound(local_ip, number + 1)
        except OSError:
            rtp.close()
            raise
        return _Pair(self, (rtp, rtcp), local_ip)

    # Called by the pairs:

    def watch(self, pair: _Pair, fd: int, is_rtcp: bool) -> None:
        """Read this socket datagram by datagram; does nothing if that is already done."""
        if fd not in self.watched:
            self.watched[fd] = (pair, is_rtcp)
            self._slow.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Stop reading this socket."""
        del self.watched[fd]
        self._slow.unregister(fd)

    def make_hot(self, pair: _Pair, sock: socket.socket) -> None:
        """Read this socket in rounds."""
        fd = sock.fileno()
        self.unwatch(fd)
        if fd >= len(self._row_of):
            self._row_of = np.concatenate([self._row_of, np.zeros(fd + 1, np.int64)])
        self._sockets[fd] = sock
        self._row_of[fd] = pair.row
        self._pair_of[fd] = pair
        self._hot.register(fd, select.EPOLLIN)

    def cool(self, fd: int) -> None:
        """Stop reading this socket in rounds."""
        self._hot.unregister(fd)
        del self._sockets[fd], self._pair_of[fd]

    def note_failure(self, row: int, refused: bool, text: str) -> None:
        """Record a failure for `failures`."""
        if len(self._failures) < _STRAYS:
            self._failures.append(Failure(row, refused, text))

    def read_strays(self, pair: _Pair, sock: socket.socket, is_rtcp: bool, limit: int) -> None:
        """Read the queued datagrams, with addresses; at most ``limit``."""
        for _ in range(limit):
            try:
                data, told, _, source = sock.recvmsg(PACKET_WIDTH + 1, ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue
            seconds, rest = _TIME.unpack(told[0][2]) if told else (0, 0)
            stamps = np.array([seconds * SECOND + rest])
            arrival = arrivals(stamps, time.time_ns(), self._now()).item()
            self._strays.append(Stray(pair, is_rtcp, data, (source[0], source[1]), arrival))
