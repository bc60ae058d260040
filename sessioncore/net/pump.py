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
from collections.abc import Callable, Iterator, Mapping, Sequence
from errno import EIO
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore import extensions
from sessioncore.vocabulary import Address

__all__ = [
    "MAX_DATAGRAM",
    "CompiledPump",
    "Failed",
    "Pump",
    "PythonPump",
    "receive",
    "receive_queue",
]

compiled: Final = extensions.compiled("net._pump")

MAX_DATAGRAM: Final = 65535

Ints: TypeAlias = npt.NDArray[np.int64]
Failed: TypeAlias = list[tuple[int, int]]

_STRIDE: Final = 1_536
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
        self._views = [whole[at : at + width] for at in range(0, len(whole), _STRIDE)]

    def drain(self, epoll: select.epoll, sockets: Mapping[int, socket.socket]) -> tuple[Ints, Ints]:
        """The ``sockets`` that were ready, and the length of each packet, or -errno.

        The result and the packets are valid until the next call.
        """
        fds = [fd for fd, _ in epoll.poll(0, self._most)]
        lengths: list[int] = []
        ready = map(sockets.__getitem__, fds)
        reading = map(socket.socket.recv_into, ready, self._views)
        for at, error in _each(reading, lengths):
            lengths[at] = -error
        return np.array(fds, np.int64), np.array(lengths, np.int64)

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


def _each(calls: Iterator[int], results: list[int]) -> Failed:
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


class CompiledPump(PythonPump):
    """Loops in C, which makes no Python object per packet."""

    def __init__(self, most: int, width: int) -> None:
        super().__init__(most, width)
        self._fds = np.zeros(most, np.int64)
        self._lengths = np.zeros(most, np.int64)

    def drain(self, epoll: select.epoll, sockets: Mapping[int, socket.socket]) -> tuple[Ints, Ints]:
        """The ``sockets`` that were ready, and the length of each packet, or -errno."""
        count = compiled.drain(
            epoll.fileno(), self._block, _STRIDE, self._width, self._fds, self._lengths
        )
        return self._fds[:count], self._lengths[:count]

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
