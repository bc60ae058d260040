"""Both pumps over loopback, held against each other."""

from __future__ import annotations

import os
import select
import socket
from errno import EBADF, ECONNREFUSED

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sessioncore.net import pump
from sessioncore.net.pump import CompiledPump, PythonPump

OWN = "127.0.0.1"
MOST, WIDTH = 8, 100


def need_the_compiled_one() -> None:
    """Skip a test where nothing was compiled; where nothing may be skipped, fail."""
    if pump.compiled is None:
        message = "sessioncore.net._pump was not compiled"
        if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
            raise AssertionError(message)
        raise SkipTest(message)


def bound(family=socket.AF_INET, host=OWN):
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind((host, 0))
    return sock


class PythonPumpTests(SynchronousTestCase):
    kind = PythonPump

    def setUp(self):
        self.pump = self.kind(MOST, WIDTH)
        self.epoll = select.epoll()
        self.addCleanup(self.epoll.close)
        self.sockets = {}
        self.one, self.two, self.peer = (self.watched(bound()) for _ in range(3))

    def watched(self, sock):
        self.addCleanup(sock.close)
        self.sockets[sock.fileno()] = sock
        self.epoll.register(sock.fileno(), select.EPOLLIN)
        return sock

    def drain(self):
        fds, lengths = self.pump.drain(self.epoll, self.sockets)
        self.assertEqual(len(fds), len(lengths))
        packets = self.pump.packets
        self.assertEqual((fds.dtype, lengths.dtype), ("int64", "int64"))
        self.assertEqual(packets.shape, (MOST, WIDTH))
        return [
            (fd, bytes(packets[at, :length]) if length >= 0 else length)
            for at, (fd, length) in enumerate(zip(fds.tolist(), lengths.tolist(), strict=True))
        ]

    def closed_port(self):
        with bound() as sock:
            return sock.getsockname()

    def test_nothing_is_ready(self):
        self.assertEqual(self.drain(), [])

    def test_one_packet_of_each_at_a_time(self):
        for data in (b"a", b"", b"b" * 200):
            for sock in (self.one, self.two):
                self.peer.sendto(data, sock.getsockname())
        for data in (b"a", b"", b"b" * WIDTH):
            expected = {(sock.fileno(), data) for sock in (self.one, self.two)}
            got = self.drain()
            self.assertEqual((len(got), set(got)), (2, expected))
        self.assertEqual(self.drain(), [])

    def test_no_more_than_there_is_room_for(self):
        more = [self.watched(bound()) for _ in range(MOST)]
        for sock in (self.one, *more):
            self.peer.sendto(b"x", sock.getsockname())
        self.assertEqual([len(self.drain()), len(self.drain()), len(self.drain())], [MOST, 1, 0])

    def test_an_error_is_told_and_the_others_are_read(self):
        self.one.connect(self.closed_port())
        self.one.send(b"x")
        self.peer.sendto(b"y", self.two.getsockname())
        expected = {(self.one.fileno(), -ECONNREFUSED), (self.two.fileno(), b"y")}
        self.assertEqual(set(self.drain()), expected)

    def test_sending_to_whom_it_is_connected(self):
        for sock in (self.one, self.two):
            sock.connect(self.peer.getsockname())
        packets = [memoryview(b"a"), memoryview(b""), memoryview(b"c")]
        self.assertEqual(self.pump.send([self.one, self.two], packets), [])
        self.assertEqual(self.drain(), [(self.peer.fileno(), b"a")])
        self.assertEqual(self.drain(), [(self.peer.fileno(), b"")])
        self.assertEqual(self.pump.send([], []), [])

    def test_sending_to_addresses(self):
        addresses = [self.two.getsockname(), self.one.getsockname()]
        packets = [memoryview(bytearray(b"a")), memoryview(b"b")]
        self.assertEqual(self.pump.send_to([self.peer] * 2, packets, addresses), [])
        self.assertEqual(set(self.drain()), {(self.two.fileno(), b"a"), (self.one.fileno(), b"b")})

    def test_a_failed_send_does_not_keep_the_others(self):
        self.one.connect(self.closed_port())
        self.two.connect(self.peer.getsockname())
        gone = bound()
        gone.close()
        self.one.send(b"x")
        packets = [memoryview(b"a")] * 3
        failed = self.pump.send([self.one, gone, self.two], packets)
        self.assertEqual(failed, [(0, ECONNREFUSED), (1, EBADF)])
        self.assertEqual(self.drain(), [(self.peer.fileno(), b"a")])
        address = self.peer.getsockname()
        failed = self.pump.send_to([gone, self.one, self.peer], packets, [address] * 3)
        self.assertEqual([at for at, _ in failed], [0])
        self.assertEqual([data for _, data in self.drain() + self.drain()], [b"a", b"a"])

    def test_a_host_that_is_no_number_fails_and_is_not_asked_for(self):
        addresses = [("not.a.number.invalid", 9), self.peer.getsockname()]
        if self.kind is CompiledPump:
            failed = self.pump.send_to([self.one, self.two], [memoryview(b"a")] * 2, addresses)
            self.assertEqual([at for at, _ in failed], [0])
            self.assertEqual(self.drain(), [(self.peer.fileno(), b"a")])

    def test_ipv6(self):
        try:
            one, two = (self.watched(bound(socket.AF_INET6, "::1")) for _ in range(2))
        except OSError as error:
            raise SkipTest(f"no IPv6 here: {error}") from error
        packets = [memoryview(b"a")]
        self.assertEqual(self.pump.send_to([one], packets, [("::1", two.getsockname()[1])]), [])
        self.assertEqual(self.drain(), [(two.fileno(), b"a")])
        # A zone; whether that can be reached is the kernel's to say, as to anybody else.
        zoned = ("fe80::1%lo", 9)
        try:
            one.sendto(b"a", zoned)
        except OSError as error:
            expected = [(0, error.errno)]
        else:
            expected = []
        self.assertEqual(self.pump.send_to([one], packets, [zoned]), expected)


class CompiledPumpTests(PythonPumpTests):
    kind = CompiledPump

    def setUp(self):
        need_the_compiled_one()
        super().setUp()

    def test_it_is_the_one_that_is_used(self):
        self.assertIs(pump.Pump, CompiledPump)

    def test_nonsense_is_an_error_and_no_crash(self):
        memory, compiled, x = bytearray(100), pump.compiled, memoryview(b"x")
        number = self.epoll.fileno()
        for stride, width in ((0, 0), (10, 11), (10, -1), (1000, 1000), (-1, 0)):
            with self.assertRaises(OSError):
                compiled.drain(number, memory, stride, width, bytearray(64), bytearray(64))
        with self.assertRaises(OSError):
            compiled.drain(-1, memory, 10, 10, bytearray(64), bytearray(64))
        for arguments in (
            ([self.one], [], None),
            ([self.one], [x], []),
            ([self.one], ["text"], None),
            ([object()], [x], None),
            ([self.one], [x], ["address"]),
            ([self.one], [x], [(1, 2)]),
            ([self.one], [x], [(OWN, "9")]),
            (1, [x], None),
            ([self.one, self.two], [x, 5], None),
        ):
            with self.assertRaises((TypeError, ValueError)):
                compiled.send(*arguments)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=120)), max_size=12))
    def test_both_do_the_same(self, script):
        """Whatever is sent to whom, a closed port and a closed socket among them."""
        outcomes = []
        for kind in (PythonPump, CompiledPump):
            self.pump = kind(MOST, WIDTH)
            self.sockets = {}
            self.epoll = select.epoll()
            sender, closed = bound(), self.closed_port()
            receivers = [self.watched(bound()) for _ in range(2)]
            targets = [sock.getsockname() for sock in receivers] + [closed, closed]
            gone = bound()
            gone.close()
            handles = [gone if to == 3 else sender for to, _ in script]
            packets = [memoryview(data) for _, data in script]
            failed = self.pump.send_to(handles, packets, [targets[to] for to, _ in script])
            names = {sock.fileno(): name for name, sock in enumerate(receivers)}
            rounds = []
            while got := self.drain():
                rounds.append({names[fd]: data for fd, data in got})
            outcomes.append((failed, rounds))
            for sock in (sender, *receivers, self.epoll):
                sock.close()
        self.assertEqual(*outcomes)
