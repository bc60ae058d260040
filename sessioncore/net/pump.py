"""The loops over sockets, and what waits in them.

Over RTP sockets there are two: one packet from each that is ready, one packet to each.
`CompiledPump` runs them in C (``_pump.c``) where that was compiled, `PythonPump` everywhere;
`Pump` is the better one.  A failed send is told as (position, errno).  Over a SIP socket there
is `receive`.  It and `receive_queue` are C where that was compiled.
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
"""The first and the last of nine numbers: octets allocated for receiving, and drops."""


class PythonPump:
    """Over ``map``, which loops in C too.

    ``packets`` uint8[most, width] is what `drain` reads into, ``most`` at once.
    """

    def __init__(self, most: int, width: int) -> None:
        self._most = most
        self._width = width
        self._block = np.zeros((most, _STRIDE), np.uint8)
        self.packets = self._block[:, :width]
        whole = memoryview(self._block.reshape(-1).data)
        self._views = [whole[at : at + width] for at in range(0, len(whole), _STRIDE)]

    def drain(self, epoll: select.epoll, sockets: Mapping[int, socket.socket]) -> tuple[Ints, Ints]:
        """Which of ``sockets`` were ready, and the length of their packet each, or -errno.

        Valid until the next call, as the packets are.
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
    """Append what the calls return; where one fails, 0.  Which did, and the errno."""
    failed: Failed = []
    while True:
        try:
            # Runs in C; after an error it goes on with the next socket.
            results.extend(calls)
            return failed
        except OSError as error:
            failed.append((len(results), error.errno or EIO))
            results.append(0)


class CompiledPump(PythonPump):
    """In C: nothing is made per packet."""

    def __init__(self, most: int, width: int) -> None:
        super().__init__(most, width)
        self._fds = np.zeros(most, np.int64)
        self._lengths = np.zeros(most, np.int64)

    def drain(self, epoll: select.epoll, sockets: Mapping[int, socket.socket]) -> tuple[Ints, Ints]:
        """Which of ``sockets`` were ready, and the length of their packet each, or -errno."""
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
    """Call ``take(datagram, (host, port))`` with what waits, one datagram after the other.

    It ends after so many datagrams or octets, or when reading fails, mostly as nothing waits.
    Returns what is left of the octets and of the datagrams, and the errno, else 0.
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
    """Octets that wait in all of them, and datagrams ``first`` dropped because it was full.

    ICMP errors wait too.  Raises `OSError` where the kernel does not tell (before Linux 4.12).
    """
    told = [
        _MEMINFO.unpack(each.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
        for each in (first, *others)
    ]
    return sum(waiting for waiting, _ in told), told[0][1]


receive: Final = _receive if compiled is None else compiled.receive
receive_queue: Final = _receive_queue if compiled is None else compiled.receive_queue
