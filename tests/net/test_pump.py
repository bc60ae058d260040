"""Both pumps over loopback, held against each other."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from errno import EAGAIN, EBADF, ECONNREFUSED

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sessioncore.net import pump
from sessioncore.net.pump import CompiledPump, PythonPump
from sessioncore.vocabulary import MILLISECOND, SECOND

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

    now = 5

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
        fds, lengths, arrivals = self.pump.drain(self.epoll, self.sockets, self.now)
        self.assertEqual(arrivals.dtype, "int64")
        self.assertEqual((len(fds), len(fds)), (len(lengths), len(arrivals)))
        self.arrivals = arrivals.tolist()
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

    unsendable = ("::1",)
    """Hosts an IPv4 socket cannot send to."""

    def test_a_host_that_cannot_be_sent_to_fails_and_the_others_are_sent_to(self):
        for host in self.unsendable:
            addresses = [(host, 9), self.peer.getsockname()]
            failed = self.pump.send_to([self.one, self.two], [memoryview(b"a")] * 2, addresses)
            self.assertEqual([at for at, _ in failed], [0])
            self.assertEqual(self.drain(), [(self.peer.fileno(), b"a")])

    def test_what_can_be_no_address_is_an_error(self):
        number = self.peer.getsockname()[1]
        for address, error in (
            ((OWN, number + 65_536), OverflowError),
            ((OWN, -1), OverflowError),
            ((OWN, 1 << 32 | number), OverflowError),
            ((OWN, 1 << 70), OverflowError),
            ((OWN, str(number)), TypeError),
            ((OWN + "\0.invalid", number), TypeError),
            ((OWN + "\0", number), TypeError),
            ((4, number), TypeError),
            (OWN, TypeError),
        ):
            with self.assertRaises(error):
                self.pump.send_to([self.one], [memoryview(b"a")], [address])
        self.assertEqual(self.drain(), [])
        for port in (0, 65_535):
            self.pump.send_to([self.one], [memoryview(b"a")], [(OWN, port)])

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

    def test_arrivals_are_the_kernels(self):
        """Of those that were asked for them; by the clock that shows ``now``, from any time on."""
        self.now = time.monotonic_ns()
        self.peer.sendto(b"a", self.one.getsockname())
        self.drain()
        self.assertEqual(self.arrivals, [self.now])
        for sock in (self.one, self.two):
            sock.setsockopt(socket.SOL_SOCKET, pump.SO_TIMESTAMPNS, 1)
        for _ in range(200):
            self.peer.sendto(b"a", self.one.getsockname())
            self.one.sendto(b"b", self.two.getsockname())
            self.two.sendto(b"c", self.peer.getsockname())
            sent = time.monotonic_ns()
            while time.monotonic_ns() < sent + MILLISECOND:
                pass
            self.now = time.monotonic_ns()
            got = dict(zip([data for _, data in self.drain()], self.arrivals, strict=True))
            self.assertEqual(got[b"c"], self.now)
            # The kernel takes a moment until it stamps what comes, not what is read.
            if got[b"a"] < got[b"b"] < self.now:
                return
        self.fail("the kernel's time stamps were not used")

    def test_a_time_that_cannot_be_is_now(self):
        stamps = np.array([0, 5 * SECOND, 6 * SECOND - 7, 7 * SECOND, 6 * SECOND + 3])
        self.assertEqual(pump.arrivals(stamps, 6 * SECOND, 100).tolist(), [100, 100, 93, 100, 103])


class CompiledPumpTests(PythonPumpTests):
    kind = CompiledPump
    # Where Python asks the resolver, which would stop the tick.
    unsendable = ("::1", "localhost", "not.a.number.invalid", "")

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
                compiled.drain(
                    number, memory, stride, width, bytearray(64), bytearray(64), bytearray(64), 0
                )
        with self.assertRaises(OSError):
            compiled.drain(-1, memory, 10, 10, bytearray(64), bytearray(64), bytearray(64), 0)
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

    @settings(max_examples=40)
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


def bound_pair(test, family=socket.AF_INET, host=OWN):
    """A socket to read from and one to send to it, with room for everything."""
    try:
        receiver, sender = bound(family, host), bound(family, host)
    except OSError as error:
        raise SkipTest(f"{host}: {error}") from error
    for sock in (receiver, sender):
        test.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return receiver, sender


class PythonReceiveTests(SynchronousTestCase):
    """`receive` and `receive_queue`, on sockets of loopback."""

    receive = staticmethod(pump._receive)
    receive_queue = staticmethod(pump._receive_queue)

    def setUp(self):
        self.taken = []
        self.receiver, self.sender = bound_pair(self)

    def take(self, *arguments):
        self.taken.append(arguments)

    def send(self, *datagrams):
        for datagram in datagrams:
            self.sender.sendto(datagram, self.receiver.getsockname())

    def read(self, octets=8192, datagrams=64):
        return self.receive(self.receiver, self.take, octets, datagrams)

    def test_nothing_waits(self):
        self.assertEqual((self.read(), self.taken), ((8192, 64, EAGAIN), []))

    def test_in_order_with_the_source(self):
        self.send(b"a", b"", b"\0bc")
        self.assertEqual(self.read(), (8188, 61, EAGAIN))
        source = self.sender.getsockname()
        self.assertEqual(self.taken, [(b"a", source), (b"", source), (b"\0bc", source)])
        self.assertEqual({type(each) for each in self.taken[0]}, {bytes, tuple})

    def test_the_longest_datagram(self):
        self.send(bytes(range(256)) * 255 + b"x" * 227)
        self.assertEqual(self.read(), (8192 - 65507, 63, 0))
        self.assertEqual(len(self.taken[0][0]), 65507)
        self.assertEqual(self.taken[0][0][-228:], b"\xff" + b"x" * 227)

    def test_no_more_datagrams_than_it_may(self):
        self.send(*[b""] * 5)
        self.assertEqual((self.read(datagrams=3), len(self.taken)), ((8192, 0, 0), 3))
        self.assertEqual((self.read(datagrams=0), len(self.taken)), ((8192, 0, 0), 3))
        self.assertEqual((self.read(), len(self.taken)), ((8192, 62, EAGAIN), 5))

    def test_no_more_octets_than_it_may_but_whole_datagrams(self):
        self.send(*[b"x" * 100] * 5)
        self.assertEqual((self.read(octets=250), len(self.taken)), ((-50, 61, 0), 3))
        self.assertEqual((self.read(octets=0), len(self.taken)), ((0, 64, 0), 3))
        self.assertEqual((self.read(octets=-1), len(self.taken)), ((-1, 64, 0), 3))
        self.assertEqual((self.read(octets=100), len(self.taken)), ((0, 63, 0), 4))

    def test_each_is_handed_on_before_the_next_is_read(self):
        """What is not handed on stays in the kernel: nothing is lost, and it counts as backlog."""

        def take(datagram, source):
            waiting.append(self.receive_queue(self.receiver)[0])
            if len(waiting) == 2:
                raise KeyError("in the middle")

        waiting = []
        self.send(b"a", b"b", b"c")
        with self.assertRaises(KeyError):
            self.receive(self.receiver, take, 8192, 64)
        self.assertGreater(waiting[1], 0)
        self.read()
        self.assertEqual([datagram for datagram, _ in self.taken], [b"c"])

    def test_one_closes_the_socket(self):
        """And its number may be that of another at once."""

        def take(datagram, source):
            self.take(datagram, source)
            number = self.receiver.fileno()
            self.receiver.close()
            other, sender = bound_pair(self)
            self.assertEqual(other.fileno(), number)
            sender.sendto(b"of another", other.getsockname())

        self.send(b"a", b"b")
        left = self.receive(self.receiver, take, 8192, 64)
        self.assertEqual((left, len(self.taken)), ((8191, 63, EBADF), 1))

    def test_a_closed_socket(self):
        self.receiver.close()
        self.assertEqual(self.read(), (8192, 64, EBADF))

    def test_an_error_that_waits(self):
        self.receiver.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
        with bound() as sock:
            nobody = sock.getsockname()
        self.receiver.sendto(b"x", nobody)
        self.send(b"a")
        self.assertEqual(self.read(), (8192, 64, ECONNREFUSED))
        self.assertEqual((self.read(), len(self.taken)), ((8191, 63, EAGAIN), 1))

    def test_ipv6(self):
        self.receiver, self.sender = bound_pair(self, socket.AF_INET6, "::1")
        self.send(b"a")
        self.read()
        self.assertEqual(self.taken, [(b"a", self.sender.getsockname()[:2])])

    def test_neither_zone_nor_flow_is_told(self):
        """As of `socket.recvfrom`: they are that of the socket."""
        for _number, name in socket.if_nameindex():
            host = _link_local(name)
            if host is not None:
                break
        else:
            raise SkipTest("no interface has a link-local address")
        self.receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(self.receiver.close)
        self.receiver.bind((host, 0, 0, socket.if_nametoindex(name)))
        self.receiver.sendto(b"a", self.receiver.getsockname())
        self.read()
        self.assertEqual(self.taken, [(b"a", (host, self.receiver.getsockname()[1]))])

    def test_ipv4_on_a_socket_of_both(self):
        self.receiver, _ = bound_pair(self, socket.AF_INET6, "::ffff:127.0.0.1")
        self.sender.sendto(b"a", (OWN, self.receiver.getsockname()[1]))
        self.read()
        self.assertEqual(self.taken, [(b"a", (f"::ffff:{OWN}", self.sender.getsockname()[1]))])

    def test_what_waits_is_told_of_all_and_drops_of_the_first(self):
        self.assertEqual(self.receive_queue(self.receiver, self.sender), (0, 0))
        self.send(b"x" * 1000)
        waiting, dropped = self.receive_queue(self.receiver, self.sender)
        self.assertEqual((waiting >= 1000, dropped), (True, 0))
        self.assertEqual(self.receive_queue(self.sender, self.receiver), (waiting, 0))
        self.assertEqual(self.receive_queue(self.receiver, self.receiver), (2 * waiting, 0))
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.send(*[b"x" * 1000] * 9)
        waiting, dropped = self.receive_queue(self.receiver)
        self.assertGreater(dropped, 0)
        self.assertEqual(self.receive_queue(self.receiver, self.sender), (waiting, dropped))
        self.assertEqual(self.receive_queue(self.sender, self.receiver), (waiting, 0))

    def test_what_waits_in_no_socket(self):
        with self.assertRaises(TypeError):
            self.receive_queue()

    def test_what_waits_in_a_closed_socket(self):
        self.receiver.close()
        for sockets in ((self.receiver,), (self.sender, self.receiver)):
            with self.assertRaises(OSError) as caught:
                self.receive_queue(*sockets)
            self.assertEqual(caught.exception.errno, EBADF)


def _link_local(interface):
    """A link-local address of this interface that can be bound, or None."""
    with contextlib.suppress(OSError), open("/proc/net/if_inet6", encoding="ascii") as lines:
        for line in lines:
            digits, *_, name = line.split()
            if name == interface and digits.startswith("fe80"):
                return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
    return None


class CompiledReceiveTests(PythonReceiveTests):
    def setUp(self):
        need_the_compiled_one()
        self.receive, self.receive_queue = pump.compiled.receive, pump.compiled.receive_queue
        super().setUp()

    def test_it_is_the_one_that_is_used(self):
        self.assertIs(pump.receive, pump.compiled.receive)
        self.assertIs(pump.receive_queue, pump.compiled.receive_queue)

    def test_nonsense_is_an_error_and_no_crash(self):
        self.send(b"x")
        for arguments in (
            (),
            (self.receiver, self.take, 1),
            (object(), self.take, 1, 1),
            (self.receiver, None, 1, 1),
            (self.receiver, self.take, "1", 1),
            (self.receiver, self.take, 1, None),
            (self.receiver, self.take, 1 << 70, 1),
        ):
            with self.assertRaises((TypeError, OverflowError)):
                self.receive(*arguments)
        self.assertEqual(self.receive(-1, self.take, 1, 1), (1, 1, EBADF))
        with self.assertRaises(TypeError):
            self.receive_queue(object())
        local, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with local, other:
            other.send(b"from no address")
            with self.assertRaises(OSError):
                self.receive(local, self.take, 1, 1)
        self.assertEqual(self.taken, [])

    @settings(max_examples=60)
    @given(
        st.lists(st.binary(max_size=90), max_size=12),
        st.integers(-1, 300),
        st.integers(0, 9),
        st.integers(0, 12),
    )
    def test_both_do_the_same(self, datagrams, octets, most, close_at):
        """Whatever comes, under any limits, with the socket closed at any datagram or not."""
        outcomes = []
        for receive in (pump._receive, pump.compiled.receive):
            with bound() as receiver, bound() as sender:
                for datagram in datagrams:
                    sender.sendto(datagram, receiver.getsockname())
                source, taken, left = sender.getsockname(), [], []

                def take(datagram, whom, receiver=receiver, taken=taken, source=source):
                    taken.append((datagram, whom == source))
                    if len(taken) == close_at:
                        receiver.close()

                for _ in range(3):
                    left.append(receive(receiver, take, octets, most))
                outcomes.append((taken, left))
        self.assertEqual(*outcomes)
