"""The in-memory network behaves as the kernel and the wires do, and the same way every time."""

from __future__ import annotations

import errno
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUDP, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sessioncore.testing.network import FakeHost, FakeNetwork, FakeUdpPort, Link
from sessioncore.vocabulary import MILLISECOND, SECOND, Address


class Recorder(DatagramProtocol):
    """Keeps what it is given; ``echo`` sends it back."""

    def __init__(self, *, echo: bool = False) -> None:
        self.got: list[tuple[bytes, Address]] = []
        self.refusals = 0
        self.stopped = 0
        self.echo = echo

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.got.append((datagram, addr))
        if self.echo:
            self.transport.write(datagram, addr)

    def connectionRefused(self) -> None:
        self.refusals += 1

    def stopProtocol(self) -> None:
        self.stopped += 1

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.got]


class NetworkCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.build(FakeNetwork(seed=1))

    def build(self, network: FakeNetwork) -> None:
        self.network = network
        self.one = network.host("192.0.2.1")
        self.two = network.host("192.0.2.2")
        self.a, self.a_port = self.open(self.one)
        self.b, self.b_port = self.open(self.two)

    def open(
        self, host: FakeHost, port: int = 5060, interface: str = "", **options: Any
    ) -> tuple[Recorder, FakeUdpPort]:
        protocol = Recorder(**options)
        return protocol, host.listenUDP(port, protocol, interface)

    def send(self, data: bytes = b"x", to: Address = ("192.0.2.2", 5060)) -> None:
        self.a_port.write(data, to)


class DeliveryTests(NetworkCase):
    def test_interfaces(self) -> None:
        verifyObject(IReactorUDP, self.one)
        verifyObject(IReactorTime, self.one)
        verifyObject(IListeningPort, self.a_port)
        verifyObject(IUDPTransport, self.a_port)

    def test_a_datagram_takes_its_time(self) -> None:
        self.send()
        self.network.advance(0.0009)
        self.assertEqual(self.b.got, [])
        self.network.advance(0.0001)
        self.assertEqual(self.b.got, [(b"x", ("192.0.2.1", 5060))])
        (datagram,) = self.network.captured
        self.assertEqual((datagram.fate, datagram.deliveries), ("delivered", 1))

    def test_timers_and_datagrams_share_one_order(self) -> None:
        seen: list[tuple[str, int]] = []
        for milliseconds in (1, 3, 5):
            self.one.callLater(
                milliseconds / 1000, lambda: seen.append(("timer", self.network.now))
            )
        self.one.callLater(0.0025, self.send)
        self.b.datagramReceived = (  # type: ignore[method-assign]
            lambda datagram, addr: seen.append(("datagram", self.network.now))
        )
        self.network.advance(1)
        expected = [("timer", 1.0), ("timer", 3.0), ("datagram", 3.5), ("timer", 5.0)]
        self.assertEqual(seen, [(kind, round(at * MILLISECOND)) for kind, at in expected])
        self.assertEqual(self.network.now, SECOND)
        self.assertEqual(self.one.seconds(), 1.0)

    def test_nowhere(self) -> None:
        self.send(to=("198.51.100.1", 5060))
        self.send(to=("192.0.2.2", 9))
        self.network.advance(1)
        fates = [datagram.fate for datagram in self.network.captured]
        self.assertEqual(fates, ["no such host", "port closed"])

    def test_loopback_is_each_hosts_own(self) -> None:
        other, _ = self.open(self.one, 5070, "127.0.0.1")
        theirs, _ = self.open(self.two, 5070, "127.0.0.1")
        self.send(to=("127.0.0.1", 5070))
        self.network.advance(0)
        self.assertEqual(other.got, [(b"x", ("127.0.0.1", 5060))])
        self.assertEqual(theirs.got, [])

    def test_ipv6(self) -> None:
        here, there = self.network.host("2001:db8::1"), self.network.host("2001:db8::2")
        _, port = self.open(here, 5060, "::")
        protocol, _ = self.open(there, 5060, "2001:db8::2")
        port.write(b"x", ("2001:db8::2", 5060))
        self.network.advance(1)
        self.assertEqual(protocol.got, [(b"x", ("2001:db8::1", 5060))])

    def test_a_receiver_that_raises_is_logged_and_lives_on(self) -> None:
        def fail(datagram: bytes, addr: Any) -> None:
            raise ZeroDivisionError

        self.b.datagramReceived = fail  # type: ignore[method-assign]
        self.send()
        self.send()
        self.network.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_capture(self) -> None:
        self.send(b"INVITE sip:a\r\n")
        self.send(b"BYE sip:a\r\n")
        self.assertEqual(len(self.network.captured), 2)
        (bye,) = self.network.sent(b"BYE")
        self.assertIn("192.0.2.1:5060 -> 192.0.2.2:5060", str(bye))
        self.assertIn("BYE sip:a", str(bye))
        self.build(FakeNetwork(capture=False))
        self.send()
        self.network.advance(1)
        self.assertEqual((self.network.captured, self.b.data), ([], [b"x"]))


class PortTests(NetworkCase):
    def test_the_address_it_is_bound_to(self) -> None:
        host = self.network.host("2001:db8::1", "192.0.2.7")
        for interface, expected in {
            "": IPv4Address("UDP", "0.0.0.0", 4000),
            "192.0.2.7": IPv4Address("UDP", "192.0.2.7", 4001),
            "2001:db8::1": IPv6Address("UDP", "2001:db8::1", 4002),
            "::": IPv6Address("UDP", "::", 4003),
        }.items():
            _, port = self.open(host, expected.port, interface)
            self.assertEqual(port.getHost(), expected)

    def test_port_in_use(self) -> None:
        for interface in ("", "0.0.0.0", "192.0.2.1", "127.0.0.1"):
            error = self.assertRaises(CannotListenError, self.open, self.one, 5060, interface)
            self.assertEqual(error.socketError.errno, errno.EADDRINUSE)

    def test_not_in_use(self) -> None:
        self.open(self.one, 5061, "192.0.2.1")
        self.open(self.one, 5061, "127.0.0.1")
        self.open(self.one, 5060, "::")

    def test_a_strange_interface(self) -> None:
        error = self.assertRaises(CannotListenError, self.open, self.one, 5062, "192.0.2.2")
        self.assertEqual(error.socketError.errno, errno.EADDRNOTAVAIL)

    def test_port_zero(self) -> None:
        ports = {self.open(self.one, 0)[1].getHost().port for _ in range(10)}
        self.assertEqual(len(ports), 10)
        self.assertNotIn(0, ports)

    def test_closed(self) -> None:
        self.send()
        closing = self.b_port.stopListening()
        self.network.advance(0)
        self.successResultOf(closing)
        self.assertEqual(self.b.stopped, 1)
        self.network.advance(1)
        self.assertEqual(self.b.got, [])
        self.successResultOf(self.b_port.stopListening())
        self.assertRaises(OSError, self.b_port.write, b"x", ("192.0.2.1", 5060))
        self.open(self.two)

    def test_datagrams_are_cut_to_the_longest(self) -> None:
        self.send(b"x" * 9000)
        self.network.advance(1)
        self.assertEqual(len(self.b.data[0]), 8192)

    def test_errors_of_a_real_port(self) -> None:
        self.assertRaises(MessageLengthError, self.send, b"x" * 65_508)
        self.assertRaises(InvalidAddressError, self.send, to=("example.com", 5060))
        self.assertRaises(InvalidAddressError, self.send, to=("::1", 5060))
        self.assertRaises(OSError, self.a_port.write, b"x")
        self.a_port.fail_writes = OSError(errno.ENOBUFS, "full")
        self.assertRaises(OSError, self.send)

    def test_connected(self) -> None:
        self.b_port.connect("192.0.2.1", 5060)
        self.assertRaises(RuntimeError, self.b_port.connect, "192.0.2.1", 5060)
        _, stranger = self.open(self.one, 5070)
        stranger.write(b"no", ("192.0.2.2", 5060))
        self.send(b"yes")
        self.b_port.write(b"answer")
        self.network.advance(1)
        self.assertEqual((self.b.data, self.a.data), ([b"yes"], [b"answer"]))

    def test_refused(self) -> None:
        self.send(to=("192.0.2.2", 9))  # not connected: nobody is told
        connected, port = self.open(self.one, 0)
        port.connect("192.0.2.2", 9)
        port.write(b"x")
        self.network.advance(0.0015)
        self.assertEqual(connected.refusals, 0)
        self.network.advance(0.001)
        self.assertEqual((connected.refusals, self.a.refusals), (1, 0))

    def test_no_icmp(self) -> None:
        self.build(FakeNetwork(icmp=False))
        connected, port = self.open(self.one, 0)
        port.connect("192.0.2.2", 9)
        port.write(b"x")
        self.network.advance(1)
        self.assertEqual(connected.refusals, 0)


class LinkTests(NetworkCase):
    def through(self, link: Link, count: int = 1000, seed: int = 1) -> list[int]:
        self.build(FakeNetwork(seed, link=link))
        for number in range(count):
            self.send(str(number).encode())
            self.network.advance(0.001)
        self.network.advance(5)
        return [int(data) for data in self.b.data]

    def test_perfect(self) -> None:
        self.assertEqual(self.through(Link()), list(range(1000)))

    def test_loss(self) -> None:
        got = self.through(Link(loss=0.2))
        self.assertTrue(700 < len(got) < 900)
        self.assertEqual(got, sorted(set(got)))
        lost = [datagram for datagram in self.network.captured if datagram.fate == "lost"]
        self.assertEqual(len(lost) + len(got), 1000)
        self.assertEqual(self.through(Link(loss=1.0)), [])

    def test_duplicates(self) -> None:
        got = self.through(Link(duplicate=0.2))
        self.assertEqual(sorted(set(got)), list(range(1000)))
        self.assertTrue(1100 < len(got) < 1300)

    def test_reordering(self) -> None:
        got = self.through(Link(reorder=0.1))
        self.assertEqual(sorted(got), list(range(1000)))
        self.assertNotEqual(got, sorted(got))

    def test_jitter(self) -> None:
        got = self.through(Link(jitter=0.01))
        self.assertEqual(sorted(got), list(range(1000)))
        self.assertNotEqual(got, sorted(got))

    def test_the_seed_decides(self) -> None:
        link = Link(loss=0.1, duplicate=0.1, jitter=0.01)
        self.assertEqual(self.through(link), self.through(link))
        self.assertNotEqual(self.through(link), self.through(link, seed=2))

    def test_other_traffic_changes_no_chance(self) -> None:
        link = Link(loss=0.3)
        alone = self.through(link, 100)
        self.build(FakeNetwork(1, link=link))
        third = self.network.host("192.0.2.3")
        _, port = self.open(third)
        for number in range(100):
            port.write(b"noise", ("192.0.2.1", 5060))
            self.send(str(number).encode())
        self.network.advance(5)
        self.assertEqual([int(data) for data in self.b.data], alone)

    def test_one_way(self) -> None:
        self.network.set_link("192.0.2.1", "192.0.2.2", Link(loss=1.0))
        self.send()
        self.b_port.write(b"y", ("192.0.2.1", 5060))
        self.network.advance(1)
        self.assertEqual((self.a.data, self.b.data), ([b"y"], []))

    def test_nonsense(self) -> None:
        for options in ({"loss": 1.1}, {"loss": -0.1}, {"delay": -1.0}):
            self.assertRaises(ValueError, Link, **options)

    @settings(max_examples=30)
    @given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.05))
    def test_nothing_is_invented(
        self, seed: int, loss: float, duplicate: float, jitter: float
    ) -> None:
        got = self.through(Link(loss=loss, duplicate=duplicate, jitter=jitter), 50, seed)
        self.assertTrue(set(got) <= set(range(50)))
        self.assertTrue(all(got.count(each) <= 2 for each in got))
        fates = {datagram.fate for datagram in self.network.captured}
        self.assertTrue(fates <= {"lost", "delivered"})


class NatTests(NetworkCase):
    def behind(self, **options: Any) -> None:
        self.nat = self.network.nat("203.0.113.1", **options)
        self.inner = self.nat.host("10.0.0.2")
        self.c, self.c_port = self.open(self.inner)

    def call_out(self, to: Address = ("192.0.2.1", 5060)) -> Address:
        self.c_port.write(b"out", to)
        self.network.advance(0.01)
        return self.a.got[-1][1] if to[0] == "192.0.2.1" else self.b.got[-1][1]

    def test_the_source_is_rewritten(self) -> None:
        self.behind()
        seen = self.call_out()
        self.assertEqual(seen, ("203.0.113.1", 40_000))
        self.assertEqual(self.call_out(), seen)
        (datagram, _) = self.network.captured
        self.assertEqual(datagram.source, ("10.0.0.2", 5060))
        self.assertEqual(datagram.seen_source, seen)

    def test_the_answer_comes_in(self) -> None:
        self.behind()
        self.a_port.write(b"in", self.call_out())
        self.network.advance(0.01)
        self.assertEqual(self.c.got, [(b"in", ("192.0.2.1", 5060))])

    def test_nobody_else_does(self) -> None:
        self.behind()
        self.send(b"before", ("203.0.113.1", 40_000))
        self.network.advance(0.01)
        seen = self.call_out()
        _, other = self.open(self.one, 5070)
        other.write(b"other port", seen)
        self.b_port.write(b"other host", seen)
        self.send(b"private", ("10.0.0.2", 5060))
        self.network.advance(1)
        self.assertEqual(self.c.got, [])
        fates = [datagram.fate for datagram in self.network.captured if datagram.data != b"out"]
        self.assertEqual(fates, ["filtered"] * 3 + ["no such host"])

    def test_filtering_by_address(self) -> None:
        self.behind(filtering="address")
        seen = self.call_out()
        _, other = self.open(self.one, 5070)
        other.write(b"other port", seen)
        self.b_port.write(b"other host", seen)
        self.network.advance(1)
        self.assertEqual(self.c.data, [b"other port"])

    def test_no_filtering(self) -> None:
        self.behind(filtering="none")
        self.b_port.write(b"other host", self.call_out())
        self.network.advance(1)
        self.assertEqual(self.c.data, [b"other host"])
        self.assertRaises(ValueError, self.network.nat, "203.0.113.2", filtering="some")

    def test_symmetric(self) -> None:
        self.behind(symmetric=True)
        first, second = self.call_out(), self.call_out(("192.0.2.2", 5060))
        self.assertNotEqual(first[1], second[1])
        self.assertEqual(self.call_out(), first)

    def test_not_symmetric(self) -> None:
        self.behind()
        self.assertEqual(self.call_out(), self.call_out(("192.0.2.2", 5060)))

    def test_mappings_end(self) -> None:
        self.behind(lifetime=30.0)
        seen = self.call_out()
        self.network.advance(31)
        self.a_port.write(b"late", seen)
        self.network.advance(1)
        self.assertEqual(self.c.got, [])
        self.assertNotEqual(self.call_out(), seen)
        self.nat.forget()
        self.assertEqual(self.call_out()[1], 40_002)

    def test_neighbours_talk_directly(self) -> None:
        self.behind()
        neighbour, _ = self.open(self.nat.host("10.0.0.3"))
        self.c_port.write(b"hi", ("10.0.0.3", 5060))
        self.network.advance(1)
        self.assertEqual(neighbour.got, [(b"hi", ("10.0.0.2", 5060))])

    def test_two_networks_may_use_the_same_private_address(self) -> None:
        self.behind()
        other = self.network.nat("203.0.113.2").host("10.0.0.2")
        self.assertIsNot(other, self.inner)

    def test_a_port_closed_behind_it(self) -> None:
        self.behind()
        seen = self.call_out()
        self.c_port.stopListening()
        self.network.advance(0)
        self.a_port.write(b"in", seen)
        self.network.advance(1)
        self.assertEqual(self.network.captured[-1].fate, "port closed")


class HostTests(NetworkCase):
    def test_the_same_address_is_the_same_host(self) -> None:
        self.assertIs(self.network.host("192.0.2.1"), self.one)

    def test_bad_addresses(self) -> None:
        for address in ("example.com", "127.0.0.1", "0.0.0.0", "", "::"):
            self.assertRaises(ValueError, self.network.host, address)
        self.assertRaises(ValueError, self.network.host, "192.0.2.9", "192.0.2.1")
        self.assertRaises(ValueError, self.network.nat, "192.0.2.1")

    def test_no_route(self) -> None:
        self.assertRaises(OSError, self.one.local_address_for, "2001:db8::1")


class TimeTests(NetworkCase):
    def test_errors_carry_the_seed(self) -> None:
        self.one.callLater(1, lambda: 1 / 0)
        error = self.assertRaises(ZeroDivisionError, self.network.advance, 2)
        self.assertIn("FakeNetwork(seed=1) at 1.0", error.__notes__[0])
        self.network.advance(1)

    def test_as_a_context_manager(self) -> None:
        try:
            with self.network:
                self.fail("for a reason")
        except AssertionError as error:
            self.assertIn("FakeNetwork(seed=1)", error.__notes__[0])

    def test_run_until(self) -> None:
        self.send()
        self.network.run_until(lambda: self.b.got)
        self.assertEqual(self.network.now, 5 * MILLISECOND)
        error = self.assertRaises(AssertionError, self.network.run_until, lambda: False, within=1)
        self.assertIn("seed=1", str(error))
        self.assertIn("192.0.2.1:5060 -> 192.0.2.2:5060", str(error))

    def test_time_runs_one_way(self) -> None:
        self.assertRaises(ValueError, self.network.advance, -1)

    def test_timers_due_at_once_keep_their_order(self) -> None:
        called: list[int] = []
        for each in range(5):
            self.one.callLater(0, called.append, each)
        self.network.advance(0)
        self.assertEqual(called, [0, 1, 2, 3, 4])

    def test_advance_inside_advance(self) -> None:
        self.one.callLater(1, self.network.advance, 1)
        self.assertRaises(RuntimeError, self.network.advance, 2)

    def test_time_that_stands_still(self) -> None:
        def again() -> None:
            self.one.callLater(0, again)

        self.one.callLater(0, again)
        error = self.assertRaises(RuntimeError, self.network.advance, 1)
        self.assertIn("stands still", str(error))

    def test_an_endless_exchange_on_loopback(self) -> None:
        self.open(self.one, 5070, echo=True)
        self.open(self.one, 5071, echo=True)[1].write(b"x", ("127.0.0.1", 5070))
        error = self.assertRaises(RuntimeError, self.network.advance, 1)
        self.assertIn("stands still", str(error))

    def test_cancelled_and_moved_timers(self) -> None:
        called: list[str] = []
        self.one.callLater(1, called.append, "cancelled").cancel()
        self.one.callLater(1, called.append, "delayed").delay(1)
        self.one.callLater(3, called.append, "reset").reset(0.5)
        self.network.advance(1)
        self.assertEqual(called, ["reset"])
        self.network.advance(1)
        self.assertEqual(called, ["reset", "delayed"])
