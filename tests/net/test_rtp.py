"""One contract for both `PacketIO`s: epoll on loopback, IReactorUDP on loopback and in memory."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import socket
import subprocess
import sys
import time

from twisted.internet import defer, reactor, task
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SkipTest, TestCase

from sessioncore.errors import NoPortsError
from sessioncore.media.packet_io import PACKET_WIDTH
from sessioncore.net import rtp_epoll
from sessioncore.net.pump import CompiledPump, PythonPump
from sessioncore.net.rtp import EpollPacketIO, ReactorPacketIO, packet_io_for
from sessioncore.net.rtp_epoll import RTP_BUFFER
from sessioncore.testing.network import FakeNetwork, Link
from sessioncore.vocabulary import SECOND
from tests.net.test_pump import need_the_compiled_one


class Peer(DatagramProtocol):
    def __init__(self):
        self.received = []

    def datagramReceived(self, datagram, addr):
        self.received.append((datagram, addr[:2]))


class Contract:
    """What the media plane may rely on."""

    own = "127.0.0.1"
    other = "127.0.0.1"

    def setUp(self):
        self.ports = []
        self.io = self.make(range(*self.port_range()))
        self.addCleanup(self.close)

    def port_range(self):
        while True:
            start = random.randrange(5_000, 15_000) * 2
            if all(self.is_free(port) for port in range(start, start + 8)):
                return start, start + 8

    def is_free(self, port):
        return True

    async def close(self):
        closing = [defer.maybeDeferred(port.stopListening) for port in self.ports]
        closing.append(defer.maybeDeferred(self.io.close))
        await self.settle()
        await defer.gatherResults(closing)

    async def finish(self, io):
        closing = defer.maybeDeferred(io.close)
        await self.settle()
        await closing

    def peer(self):
        peer = Peer()
        port = self.peers.listenUDP(0, peer, interface=self.other)
        self.ports.append(port)
        peer.address = (self.other, port.getHost().port)
        return peer

    async def rounds(self):
        """Everything that arrived for latched leases: (row, packet)."""
        await self.settle()
        arrived = []
        while (packets := self.io.receive()) is not None:
            self.assertEqual(len(set(packets.rows.tolist())), len(packets.rows))
            self.assertEqual(packets.packets.shape[1], PACKET_WIDTH)
            for row, data, length in zip(*packets[:3], strict=True):
                arrived.append((int(row), bytes(data[:length])))
        return arrived

    async def strays(self):
        await self.settle()
        return [(each.lease.row, each.is_rtcp, each.data, each.source) for each in self.io.strays()]

    async def test_a_lease_is_an_even_port_and_the_next(self):
        lease = self.io.lease(self.own, 7, 0)
        self.assertEqual(lease.row, 7)
        self.assertEqual(lease.local[0], self.own)
        self.assertEqual(lease.local[1] % 2, 0)
        self.assertEqual(lease.local_rtcp, (self.own, lease.local[1] + 1))

    async def test_ports_run_out_and_rest_before_they_are_lent_again(self):
        leases = [self.io.lease(self.own, row, 0) for row in range(4)]
        self.assertEqual(len({lease.local for lease in leases}), 4)
        self.assertEqual(self.io.ports_free(0), 0)
        self.assertRaises(NoPortsError, self.io.lease, self.own, 4, 0)
        port = leases[0].local
        leases[0].release(SECOND)
        self.assertEqual(self.io.ports_free(3 * SECOND - 1), 0)
        self.assertEqual(self.io.ports_free(3 * SECOND), 1)
        self.assertRaises(NoPortsError, self.io.lease, self.own, 4, SECOND + SECOND // 2 - 1)
        self.assertEqual(self.io.lease(self.own, 4, SECOND + SECOND // 2).local, port)

    async def test_releasing_twice_is_once(self):
        lease = self.io.lease(self.own, 0, 0)
        lease.release(0)
        lease.release(0)
        taken = [self.io.lease(self.own, row, 10 * SECOND) for row in range(4)]
        self.assertEqual(len({lease.local for lease in taken}), 4)

    async def test_pairs_can_be_opened_ahead(self):
        self.assertEqual(self.io.open_ahead(self.own, 3), 3)
        self.assertEqual(self.io.open_ahead(self.own, 300), 4)

    async def test_a_port_that_somebody_holds_is_passed_over(self):
        port = self.io.lease(self.own, 0, 0).local[1]
        other = self.make(range(port, port + 4))
        try:
            self.assertEqual(other.lease(self.own, 0, 0).local[1], port + 2)
        finally:
            await self.finish(other)

    async def test_before_the_latch_everyone_is_heard_one_by_one(self):
        lease = self.io.lease(self.own, 3, 0)
        one, two = self.peer(), self.peer()
        one.transport.write(b"one", lease.local)
        two.transport.write(b"two", lease.local)
        two.transport.write(b"rtcp", lease.local_rtcp)
        self.assertEqual(
            sorted(await self.strays()),
            [
                (3, False, b"one", one.address),
                (3, False, b"two", two.address),
                (3, True, b"rtcp", two.address),
            ],
        )
        self.assertEqual(await self.strays(), [])
        self.assertEqual(await self.rounds(), [])

    async def test_before_the_latch_packets_go_where_they_are_addressed(self):
        lease = self.io.lease(self.own, 0, 0)
        one, two = self.peer(), self.peer()
        self.io.send_to([lease.handle], [memoryview(b"rtp")], [one.address])
        self.io.send_to([lease.handle], [memoryview(b"again")], [two.address])
        lease.send_rtcp(b"rtcp", one.address)
        await self.settle()
        self.assertEqual(sorted(one.received), [(b"rtcp", lease.local_rtcp), (b"rtp", lease.local)])
        self.assertEqual(two.received, [(b"again", lease.local)])

    async def test_latched_only_one_source_is_heard_in_rounds_and_in_order(self):
        leases = [self.io.lease(self.own, row, 0) for row in (5, 9)]
        peers, stranger = [self.peer(), self.peer()], self.peer()
        for lease, peer in zip(leases, peers, strict=True):
            self.assertTrue(lease.latch(peer.address))
        for turn in range(3):
            for lease, peer in zip(leases, peers, strict=True):
                peer.transport.write(b"%d" % turn, lease.local)
                stranger.transport.write(b"no", lease.local)
        arrived = await self.rounds()
        for row in (5, 9):
            self.assertEqual([d for r, d in arrived if r == row], [b"0", b"1", b"2"])
        self.assertEqual(len(arrived), 6)
        self.assertEqual(await self.strays(), [])

    async def test_latched_rtcp_still_comes_with_its_source(self):
        lease, peer = self.io.lease(self.own, 2, 0), self.peer()
        lease.latch(peer.address)
        peer.transport.write(b"rtcp", lease.local_rtcp)
        self.assertEqual(await self.strays(), [(2, True, b"rtcp", peer.address)])

    now = staticmethod(time.monotonic_ns)

    async def test_packets_carry_the_time_at_which_they_came_not_that_of_reading(self):
        lease, latched = self.io.lease(self.own, 0, 0), self.io.lease(self.own, 1, 0)
        peer = self.peer()
        latched.latch(peer.address)
        for _ in range(50):
            sent = self.now()
            peer.transport.write(b"rtp", lease.local)
            peer.transport.write(b"rtcp", lease.local_rtcp)
            peer.transport.write(b"rtp", latched.local)
            await self.settle()
            await self.settle()
            read = self.now()
            came = [stray.arrival for stray in self.io.strays()]
            came += self.io.receive().arrivals.tolist()
            self.assertEqual(len(came), 3)
            # The kernel takes a moment until it stamps what comes, not what is read.
            if max(came) < read:
                break
        self.assertLess(max(came), read)
        self.came(sent, came)

    def came(self, sent, came):
        """Wall and monotonic clock are not read at the same instant, so not to the microsecond."""
        self.assertLess(sent - SECOND // 10, min(came))

    async def test_latched_leases_send_all_at_once(self):
        leases = [self.io.lease(self.own, row, 0) for row in range(3)]
        peers = [self.peer() for _ in leases]
        for lease, peer in zip(leases, peers, strict=True):
            lease.latch(peer.address)
        views = [memoryview(b"%d" % row) for row in range(5)]
        failed = self.io.send([lease.handle for lease in leases], views)
        self.assertEqual(list(failed), [])
        await self.settle()
        for row, (lease, peer) in enumerate(zip(leases, peers, strict=True)):
            self.assertEqual(peer.received, [(b"%d" % row, lease.local)])

    async def test_what_was_queued_before_the_latch_is_not_lost(self):
        lease, peer, stranger = self.io.lease(self.own, 1, 0), self.peer(), self.peer()
        peer.transport.write(b"early", lease.local)
        stranger.transport.write(b"no", lease.local)
        await self.settle()
        lease.latch(peer.address)
        self.assertIn((1, False, b"early", peer.address), await self.strays())
        self.assertEqual(await self.rounds(), [])

    async def test_unlatched_again_everyone_is_heard_at_the_same_port(self):
        lease, peer, stranger = self.io.lease(self.own, 1, 0), self.peer(), self.peer()
        lease.latch(peer.address)
        lease.unlatch()
        lease.unlatch()
        stranger.transport.write(b"hello", lease.local)
        self.assertEqual(await self.strays(), [(1, False, b"hello", stranger.address)])
        self.io.send_to([lease.handle], [memoryview(b"to you")], [stranger.address])
        await self.settle()
        self.assertEqual(stranger.received, [(b"to you", lease.local)])
        lease.latch(stranger.address)
        stranger.transport.write(b"again", lease.local)
        self.assertEqual(await self.rounds(), [(1, b"again")])

    async def test_a_latch_may_move(self):
        lease, one, two = self.io.lease(self.own, 1, 0), self.peer(), self.peer()
        lease.latch(one.address)
        lease.latch(two.address)
        one.transport.write(b"no", lease.local)
        two.transport.write(b"yes", lease.local)
        self.assertEqual(await self.rounds(), [(1, b"yes")])

    async def test_the_next_call_hears_nothing_of_the_last(self):
        leases = [self.io.lease(self.own, row, 0) for row in range(4)]
        peer = self.peer()
        for latched in (True, False):
            for asked_meanwhile in (False, True):
                lease = leases.pop()
                if latched:
                    lease.latch(peer.address)
                lease.release(0)
                for port in (lease.local, lease.local_rtcp):
                    peer.transport.write(b"late", port)
                if asked_meanwhile:
                    self.assertEqual((await self.strays(), await self.rounds()), ([], []))
                    for port in (lease.local, lease.local_rtcp):
                        peer.transport.write(b"later", port)
                await self.settle()
                again = self.io.lease(self.own, 8, 5 * SECOND)
                self.assertEqual(again.local, lease.local)
                self.assertEqual((await self.strays(), await self.rounds()), ([], []))
                peer.transport.write(b"new", again.local)
                self.assertEqual(await self.strays(), [(8, False, b"new", peer.address)])
                peer.transport.write(b"rtcp", again.local_rtcp)
                self.assertEqual(await self.strays(), [(8, True, b"rtcp", peer.address)])

    async def test_a_datagram_that_is_too_long_is_seen_to_be_so(self):
        lease, peer = self.io.lease(self.own, 1, 0), self.peer()
        peer.transport.write(bytes(PACKET_WIDTH + 500), lease.local)
        ((_, _, data, _),) = await self.strays()
        self.assertGreater(len(data), PACKET_WIDTH)
        lease.latch(peer.address)
        peer.transport.write(bytes(PACKET_WIDTH + 500), lease.local)
        peer.transport.write(bytes(PACKET_WIDTH), lease.local)
        await self.settle()
        lengths = []
        while (packets := self.io.receive()) is not None:
            lengths += packets.lengths.tolist()
        self.assertGreater(lengths[0], PACKET_WIDTH)
        self.assertEqual(lengths[1], PACKET_WIDTH)

    async def test_an_empty_datagram_is_one(self):
        lease, peer = self.io.lease(self.own, 1, 0), self.peer()
        lease.latch(peer.address)
        peer.transport.write(b"", lease.local)
        peer.transport.write(b"x", lease.local)
        self.assertEqual(await self.rounds(), [(1, b""), (1, b"x")])

    async def test_a_flood_is_bounded(self):
        lease, peer = self.io.lease(self.own, 1, 0), self.peer()
        lease.latch(peer.address)
        for _ in range(500):
            peer.transport.write(bytes(172), lease.local)
        arrived = await self.rounds()
        self.assertLess(len(arrived), 200)
        self.assertTrue(0 < lease.kernel_drops() <= 500 - len(arrived))

    async def test_closing_frees_the_ports(self):
        lease = self.io.lease(self.own, 0, 0)
        await self.finish(self.io)
        again = self.make(range(lease.local[1], lease.local[1] + 2))
        try:
            self.assertEqual(again.lease(self.own, 0, 0).local, lease.local)
        finally:
            await self.finish(again)


class OnLoopback(Contract):
    peers = reactor

    def is_free(self, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind((self.own, port))
            except OSError:
                return False
            return True

    async def settle(self):
        await task.deferLater(reactor, 0.02, lambda: None)
        # On a busy machine the time is up before the reactor has looked at any socket.
        await task.deferLater(reactor, 0, lambda: None)


class EpollTests(OnLoopback, TestCase):
    pump = PythonPump

    def make(self, ports):
        return EpollPacketIO(ports=ports, pump=self.pump)

    def closed_port(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((self.own, 0))
            return sock.getsockname()

    def test_the_receive_buffer_is_small(self):
        lease = self.io.lease(self.own, 0, 0)
        size = lease.rtp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertLessEqual(size, 2 * RTP_BUFFER)

    async def test_a_closed_port_is_named_while_latched(self):
        lease, address = self.io.lease(self.own, 4, 0), self.closed_port()
        lease.latch(address)
        self.io.send([lease.handle], [memoryview(b"x")])
        await self.rounds()
        self.assertEqual(self.io.failures(), [(4, True, f"{address[0]}:{address[1]}")])
        self.assertEqual(await self.rounds(), [])

    async def test_a_closed_port_is_named_before_the_latch(self):
        lease, address = self.io.lease(self.own, 4, 0), self.closed_port()
        self.io.send_to([lease.handle], [memoryview(b"x")], [address])
        await self.strays()
        self.assertEqual(self.io.failures(), [(4, True, f"{address[0]}:{address[1]}")])
        self.assertEqual((await self.strays(), self.io.failures()), ([], []))

    async def test_so_many_strays_are_looked_at_in_a_tick_and_the_rest_later(self):
        self.patch(rtp_epoll, "_STRAYS", 20)
        peer = self.peer()
        for row in range(4):
            lease = self.io.lease(self.own, row, 0)
            for address in (lease.local, lease.local_rtcp):
                for _ in range(10):
                    peer.transport.write(b"x", address)
        await self.settle()
        self.assertEqual([len(self.io.strays()) for _ in range(5)], [20, 20, 20, 20, 0])

    async def test_so_many_failures_are_kept_and_no_more(self):
        self.patch(rtp_epoll, "_STRAYS", 3)
        leases = [self.io.lease(self.own, row, 0) for row in range(4)]
        for lease in leases:
            self.assertFalse(lease.latch(("255.255.255.255", 9)))
        self.assertEqual([failure.row for failure in self.io.failures()], [0, 1, 2])
        leases[3].latch(("255.255.255.255", 9))
        self.assertEqual([failure.row for failure in self.io.failures()], [3])

    async def test_a_pair_that_heard_nothing_stays_watched(self):
        lease = self.io.lease(self.own, 1, 0)
        watched = dict(self.io.watched)
        lease.release(0)
        self.assertEqual((await self.strays(), self.io.watched), ([], watched))
        self.patch(self.io, "watch", None)
        self.assertIs(self.io.lease(self.own, 2, 5 * SECOND), lease)

    async def test_what_came_for_the_last_call_is_not_heard_in_the_next(self):
        lease, peer = self.io.lease(self.own, 1, 0), self.peer()
        for row, is_rtcp in enumerate((False, True, False), 2):
            port = lease.local_rtcp if is_rtcp else lease.local
            lease.release(0)
            self.assertEqual((await self.strays(), len(self.io.watched)), ([], 2))
            peer.transport.write(b"old", port)
            await self.settle()
            self.assertIs(self.io.lease(self.own, row, 5 * SECOND), lease)
            peer.transport.write(b"new", port)
            self.assertEqual(await self.strays(), [(row, is_rtcp, b"new", peer.address)])

    async def test_drops_of_the_last_call_are_not_the_next_ones(self):
        lease, peer = self.io.lease(self.own, 1, 0), self.peer()
        for at_rest in (False, True):
            if at_rest:
                lease.release(0)
            for _ in range(500):
                peer.transport.write(bytes(172), lease.local)
            await self.settle()
            if not at_rest:
                self.assertGreater(lease.kernel_drops(), 0)
                lease.release(0)
            self.assertIs(self.io.lease(self.own, 2, 5 * SECOND), lease)
            self.assertEqual(lease.kernel_drops(), 0)

    async def test_a_pair_at_rest_is_left_alone_once_something_came(self):
        lease, peer = self.io.lease(self.own, 1, 0), self.peer()
        lease.release(0)
        for port in (lease.local, lease.local_rtcp):
            peer.transport.write(b"late", port)
        self.assertEqual(await self.strays(), [])
        self.assertEqual(self.io._slow.poll(0), [])
        self.assertEqual(self.io.watched, {})

    async def test_the_next_call_is_told_nothing_of_the_last_ones_closed_port(self):
        peer = self.peer()
        leases = [self.io.lease(self.own, row, 0) for row in range(4)]
        for latched in (False, True):
            lease = leases.pop()
            if latched:
                lease.latch(self.closed_port())
                self.io.send([lease.handle], [memoryview(b"x")])
            else:
                self.io.send_to([lease.handle], [memoryview(b"x")], [self.closed_port()])
            lease.release(0)
            await self.settle()
            again = self.io.lease(self.own, 8, 5 * SECOND)
            self.assertEqual(again.local, lease.local)
            self.io.send_to([again.handle], [memoryview(b"new")], [peer.address])
            self.assertEqual((await self.strays(), self.io.failures()), ([], []))
            self.assertEqual(peer.received.pop(), (b"new", again.local))

    async def test_a_closed_port_costs_the_next_address_nothing(self):
        for latch_first in (False, True):
            lease, peer, dead = self.io.lease(self.own, 4, 0), self.peer(), self.closed_port()
            if latch_first:
                lease.latch(dead)
                self.io.send([lease.handle], [memoryview(b"lost")])
                await self.settle()
                lease.unlatch()
            else:
                self.io.send_to([lease.handle], [memoryview(b"lost")], [dead])
                await self.settle()
            handles, packets = [lease.handle] * 3, [memoryview(b"a")] * 3
            addresses = [peer.address, dead, peer.address]
            self.assertEqual(self.io.send_to(handles, packets, addresses), [])
            await self.strays()
            self.assertEqual([data for data, _ in peer.received], [b"a", b"a"])
            told = self.io.failures()
            self.assertEqual(set(told), {(4, True, f"{dead[0]}:{dead[1]}")})
            self.assertEqual(len(told), 1 if latch_first else 2)
            lease.release(0)

    async def test_a_closed_port_is_not_taken_for_the_latched_one(self):
        for moved in (False, True):
            lease, peer, dead = self.io.lease(self.own, 4, 0), self.peer(), self.closed_port()
            if moved:
                lease.latch(dead)
                self.io.send([lease.handle], [memoryview(b"lost")])
            else:
                self.io.send_to([lease.handle], [memoryview(b"lost")], [dead])
            await self.settle()
            lease.latch(peer.address)
            self.assertEqual(self.io.send([lease.handle], [memoryview(b"a")]), [])
            await self.rounds()
            self.assertEqual([data for data, _ in peer.received], [b"a"])
            expected = [] if moved else [(4, True, f"{dead[0]}:{dead[1]}")]
            self.assertEqual(self.io.failures(), expected)
            lease.release(0)

    async def test_one_refused_send_does_not_keep_the_others(self):
        leases = [self.io.lease(self.own, row, 0) for row in range(3)]
        peers = [self.peer() for _ in leases]
        addresses = [peers[0].address, self.closed_port(), peers[2].address]
        for lease, address in zip(leases, addresses, strict=True):
            lease.latch(address)
        handles = [lease.handle for lease in leases]
        packets = [memoryview(b"x")] * 3
        self.assertEqual(self.io.send(handles, packets), [])
        await self.settle()
        self.assertEqual(self.io.send(handles, packets), [1])
        await self.settle()
        self.assertEqual([len(peer.received) for peer in peers], [2, 0, 2])

    async def test_an_address_that_cannot_be_reached_does_not_latch(self):
        lease = self.io.lease(self.own, 4, 0)
        self.assertFalse(lease.latch(("198.51.100.1", 9)))
        ((row, refused, text),) = self.io.failures()
        self.assertEqual((row, refused), (4, False))
        self.assertIn("198.51.100.1:9", text)

    async def test_no_descriptor_left_is_no_port_left_and_heals(self):
        held = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, held[1]))
        try:
            self.assertRaises(NoPortsError, self.io.lease, self.own, 0, 0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, held)
        self.assertEqual(len({self.io.lease(self.own, r, 0).local for r in range(4)}), 4)

    async def test_ipv6(self):
        try:
            lease = self.io.lease("::1", 1, 0)
        except NoPortsError as error:
            raise SkipTest(f"no IPv6 here: {error}") from error
        peer = Peer()
        port = reactor.listenUDP(0, peer, interface="::1")
        self.ports.append(port)
        address = ("::1", port.getHost().port)
        peer.transport.write(b"a", lease.local)
        self.assertEqual(await self.strays(), [(1, False, b"a", address)])
        self.assertTrue(lease.latch(address))
        peer.transport.write(b"b", lease.local)
        self.assertEqual(await self.rounds(), [(1, b"b")])
        self.io.send([lease.handle], [memoryview(b"c")])
        lease.unlatch()
        self.io.send_to([lease.handle], [memoryview(b"d")], [address])
        await self.settle()
        self.assertEqual([data for data, _ in peer.received], [b"c", b"d"])


class CompiledEpollTests(EpollTests):
    pump = CompiledPump

    def setUp(self):
        need_the_compiled_one()
        super().setUp()


class ReactorUdpTests(OnLoopback, TestCase):
    def make(self, ports):
        return ReactorPacketIO(reactor, ports=ports)


class InMemoryTests(Contract, TestCase):
    own = "192.0.2.1"
    other = "192.0.2.2"

    async def test_what_could_not_be_sent_is_named(self):
        """The network itself refuses; for real sockets a closed port does."""
        leases = [self.io.lease(self.own, row, 0) for row in range(3)]
        peers = [self.peer() for _ in leases]
        for lease, peer in zip(leases, peers, strict=True):
            lease.latch(peer.address)
        handles, packets = [lease.handle for lease in leases], [memoryview(b"x")] * 3
        addresses = [peer.address for peer in peers]
        for number, refused in ((errno.ECONNREFUSED, True), (errno.ENETUNREACH, False)):
            leases[1].handle.ports[0].fail_writes = OSError(number, "no")
            self.assertEqual(self.io.send(handles, packets), [1])
            self.assertEqual(self.io.failures(), [(1, refused, "{}:{}".format(*peers[1].address))])
            self.assertEqual(self.io.send_to(handles, packets, addresses), [1])
        await self.settle()
        self.assertEqual([len(peer.received) for peer in peers], [4, 0, 4])

    def make(self, ports):
        return packet_io_for(self.network.host(self.own), ports=ports, now=self.now)

    def now(self):
        return self.network.now

    def came(self, sent, came):
        self.assertEqual(came, [sent + 12_345_678] * 3)

    def setUp(self):
        self.network = FakeNetwork(seed=3, link=Link(delay=0.012345678))
        self.peers = self.network.host(self.other)
        super().setUp()

    def settle(self):
        self.network.advance(0.1)
        return defer.succeed(None)


class ChoiceTests(TestCase):
    def test_real_reactors_on_linux_get_epoll_others_the_portable_one(self):
        self.assertIsInstance(packet_io_for(FakeNetwork().host("192.0.2.1")), ReactorPacketIO)
        if sys.platform == "linux":
            io = packet_io_for(reactor)
            self.assertIsInstance(io, EpollPacketIO)
            return io.close()
        return None


class EveryReactorTests(TestCase):
    """Two planes talk over each kind of reactor, each in a process of its own."""

    def talk(self, name, kind="epoll"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.net.rtp_contract", name, kind],
            check=True,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=60,
        )
        report = json.loads(done.stdout)
        self.assertGreaterEqual(report["right"], 0.9, report)
        self.assertEqual(report["strangers_heard"], 0)
        # The silence at its end is evidence, on a machine that is slow enough.
        events = [name for name in report["events"] if name != "EVIDENCE"]
        self.assertEqual(events, ["FIRST_RECEIVED", "FIRST_SENT", "LATCHED"])

    def test_epoll(self):
        self.talk("epoll")

    def test_poll(self):
        self.talk("poll")

    def test_select(self):
        self.talk("select")

    def test_asyncio(self):
        self.talk("asyncio")

    def test_the_portable_io(self):
        self.talk("epoll", "udp")
