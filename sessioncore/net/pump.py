"""The loops over sockets, and the size of their queues.

There are two loops over RTP sockets: one reads a packet from each ready socket, one sends a packet
to each.  `CompiledPump` runs them in C (``_pump.c``) if that was compiled, `PythonPump`
everywhere; `Pump` is the better one.  A failed send is reported as (position, errno).  `receive`
reads a SIP socket.  It and `receive_queue` are in C if that was compiled.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from errno import EIO
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore import extensions
from sessioncore.vocabulary import SECOND, Address

__all__ = [
    "ANCILLARY",
    "MAX_DATAGRAM",
    "SO_TIMESTAMPNS",
    "CompiledPump",
    "Failed",
    "Pump",
    "PythonPump",
    "arrivals",
    "receive",
    "receive_queue",
]

compiled: Final = extensions.compiled("net._pump")

MAX_DATAGRAM: Final = 65535

Ints: TypeAlias = npt.NDArray[np.int64]
Failed: TypeAlias = list[tuple[int, int]]
Drained: TypeAlias = tuple[Ints, Ints, Ints]

_STRIDE: Final = 2_112
SO_TIMESTAMPNS: Final = 35
"""Asks the kernel for the time at which each datagram came; Python has no name for it."""
ANCILLARY: Final = socket.CMSG_SPACE(16)
"""Octets that such a time takes: a struct timespec."""
_NO_TIME: Final = bytes(16)
_NOTHING: Final = ((socket.SOL_SOCKET, SO_TIMESTAMPNS, _NO_TIME),)
_LENGTH_OF, _ANCILLARY_OF, _DATA_OF = map(itemgetter, range(3))
_NANOSECONDS: Final = np.array([SECOND, 1])
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=I28xI")
"""The first and the last of nine numbers: octets allocated for receiving, and dropped packets."""


class PythonPump:
    """Loops with ``map``, which also runs in C.

    `drain` reads into ``packets`` uint8[most, width], at most ``most`` at once.
    """

    def __init__(self, most: int, width: int) -> None:
        self._most = most
        self._width = width
        self._block = np.zeros((most, _STRIDE), np.uint8)
        self.packets = self._block[:, :width]
        whole = memoryview(self._block.reshape(-1).data)
        self._buffers = [[whole[at : at + width]] for at in range(0, len(whole), _STRIDE)]

    def drain(
        self, epoll: select.epoll, sockets: Mapping[int, socket.socket], now: int = 0
    ) -> Drained:
        """The ``sockets`` that were ready, the length of each packet, or -errno, and its arrival.

        Arrivals are in ns of the clock that shows ``now``: by the kernel's time stamps where the
        socket was asked for them (`SO_TIMESTAMPNS`), else ``now``.  The result and the packets
        are valid until the next call.
        """
        unix_now = time.time_ns()
        fds = [fd for fd, _ in epoll.poll(0, self._most)]
        read: list[Any] = []
        ready = map(sockets.__getitem__, fds)
        reading = map(socket.socket.recvmsg_into, ready, self._buffers, repeat(ANCILLARY))
        for at, error in _each(reading, read):
            read[at] = (-error, _NOTHING)
        times = list(chain.from_iterable(map(_ANCILLARY_OF, read)))
        if len(times) == len(read):
            octets = b"".join(map(_DATA_OF, times))
        else:
            octets = b"".join(each[1][0][2] if each[1] else _NO_TIME for each in read)
        stamps = np.frombuffer(octets, np.int64).reshape(-1, 2) @ _NANOSECONDS
        lengths = np.array(list(map(_LENGTH_OF, read)), np.int64)
        return np.array(fds, np.int64), lengths, arrivals(stamps, unix_now, now)

    @staticmethod
    def send(handles: Sequence[socket.socket], packets: Sequence[memoryview]) -> Failed:
        """One packet for each connected socket."""
        return _each(map(socket.socket.send, handles, packets), [])

    @staticmethod
    def send_to(
        handles: Sequence[socket.socket],
        packets: Sequence[memoryview | bytes],
        addresses: Sequence[Address],
    ) -> Failed:
        """One packet for each socket, to an address."""
        return _each(map(socket.socket.sendto, handles, packets, addresses), [])


def _each(calls: Iterator[Any], results: list[Any]) -> Failed:
    """Append the results of the calls, 0 for a failed one; returns positions and errnos."""
    failed: Failed = []
    while True:
        try:
            # Runs in C; after an error it continues with the next socket.
            results.extend(calls)
            return failed
        except OSError as error:
            failed.append((len(results), error.errno or EIO))
            results.append(0)


def arrivals(stamps: Ints, unix_now: int, now: int) -> Ints:
    """The kernel's ``stamps`` (Unix time in ns) by the clock that shows ``now``.

    Where there is none (0), or the Unix clock was set meanwhile, the time is ``now``.
    """
    ages = unix_now - stamps
    ages[np.abs(ages) >= SECOND] = 0
    return now - ages


class CompiledPump(PythonPump):
    """Loops in C, which makes no Python object per packet."""

    def __init__(self, most: int, width: int) -> None:
        super().__init__(most, width)
        self._fds = np.zeros(most, np.int64)
        self._lengths = np.zeros(most, np.int64)
        self._arrivals = np.zeros(most, np.int64)

    def drain(
        self, epoll: select.epoll, sockets: Mapping[int, socket.socket], now: int = 0
    ) -> Drained:
        """As `PythonPump.drain`."""
        fds, lengths, came = self._fds, self._lengths, self._arrivals
        count = compiled.drain(
            epoll.fileno(), self._block, _STRIDE, self._width, fds, lengths, came, now
        )
        return fds[:count], lengths[:count], came[:count]

    @staticmethod
    def send(handles: Sequence[socket.socket], packets: Sequence[memoryview]) -> Failed:
        """One packet for each connected socket."""
        failed: Failed = compiled.send(handles, packets, None)
        return failed

    @staticmethod
    def send_to(
        handles: Sequence[socket.socket],
        packets: Sequence[memoryview | bytes],
        addresses: Sequence[Address],
    ) -> Failed:
        """One packet for each socket, to an address."""
        failed: Failed = compiled.send(handles, packets, addresses)
        return failed


Pump = PythonPump if compiled is None else CompiledPump


def _receive(
    opened: socket.socket, take: Callable[[bytes, Any], object], octets: int, datagrams: int
) -> tuple[int, int, int]:
    """Call ``take(datagram, (host, port))`` for each waiting datagram.

    It ends at the limit of datagrams or octets, or when reading fails, usually because nothing
    is waiting.  Returns the rest of both limits, and the errno or 0.
    """
    while octets > 0 and datagrams > 0:
        try:
            datagram, source = opened.recvfrom(MAX_DATAGRAM)
        except OSError as error:
            return octets, datagrams, error.errno or EIO
        take(datagram, source[:2])
        octets -= len(datagram)
        datagrams -= 1
    return octets, datagrams, 0


def _receive_queue(first: socket.socket, *others: socket.socket) -> tuple[int, int]:
    """Octets waiting in all sockets, and datagrams that ``first`` dropped because it was full.

    Queued ICMP errors count too.  Raises `OSError` if the kernel does not report it (before
    Linux 4.12).
    """
    told = [
        _MEMINFO.unpack(each.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
        for each in (first, *others)
    ]
    return sum(waiting for waiting, _ in told), told[0][1]


receive: Final = _receive if compiled is None else compiled.receive
receive_queue: Final = _receive_queue if compiled is None else compiled.receive_queue
