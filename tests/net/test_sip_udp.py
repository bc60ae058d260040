"""The SIP socket: what comes in is stamped and never kills it, what goes out never blocks."""

from __future__ import annotations

import errno
import json
import select
import socket
import subprocess
import sys
from typing import Any
from unittest import SkipTest, mock

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sessioncore.errors import ConfigurationError
from sessioncore.net import sip_port, sip_udp
from sessioncore.net.addresses import Listen
from sessioncore.net.clockwork import clockwork_for
from sessioncore.net.fair_share import BUDGET, WINDOW
from sessioncore.net.flows import OpenTransports
from sessioncore.net.sip_port import CROWDED, MAX_DATAGRAMS
from sessioncore.net.sip_udp import SipUdpProtocol, SipUdpTransport, UdpFlow, listen_sip_udp
from sessioncore.testing.network import FakeNetwork
from sessioncore.vocabulary import Address


class Opened:
    """A SIP socket on a host of the in-memory network and what it received."""

    def __init__(self, host: Any, listen: Listen | None = None, **options: Any) -> None:
        self.received: list[tuple[bytes, Address, UdpFlow, int]] = []
        self.clockwork = clockwork_for(host)
        port: Any
        self.protocol, port = listen_sip_udp(
            host,
            Listen(5060) if listen is None else listen,
            lambda *arguments: self.received.append(arguments),
            self.clockwork,
            **options,
        )
        self.port = port
        self.flow = self.protocol.flow


class FlowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork()
        self.here = Opened(self.network.host("192.0.2.1", "2001:db8::1"))
        self.there = Opened(self.network.host("192.0.2.2"))

    def test_a_datagram_arrives_with_source_flow_and_time(self) -> None:
        self.here.flow.send(b"hello", ("192.0.2.2", 5060))
        self.network.advance(0.1)
        ((data, source, flow, now),) = self.there.received
        self.assertEqual((data, source), (b"hello", ("192.0.2.1", 5060)))
        self.assertIs(flow, self.there.flow)
        self.assertEqual(now, 1_000_000)
        self.assertEqual((len(self.there.received), self.there.protocol.errors), (1, 0))

    def test_what_it_says_of_itself(self) -> None:
        flow = self.here.flow
        self.assertEqual((flow.reliable, flow.transport), (False, b"UDP"))
        self.assertEqual(flow.local, ("0.0.0.0", 5060))

    def test_the_largest_datagram_is_not_cut(self) -> None:
        self.here.flow.send(b"x" * 60_000, ("192.0.2.2", 5060))
        self.network.advance(0.1)
        self.assertEqual(len(self.there.received[0][0]), 60_000)

    def test_too_long(self) -> None:
        error = self.assertRaises(OSError, self.here.flow.send, b"x" * 70_000, ("192.0.2.2", 5060))
        self.assertEqual((error.errno, self.here.flow.failed), (errno.EMSGSIZE, 1))

    def test_what_is_held_leaves_over_any_transport(self) -> None:
        flow = self.here.flow
        flow.hold()
        for data in (b"a", b"b"):
            flow.send(data, ("192.0.2.2", 5060))
        self.network.advance(0.1)
        self.assertEqual(self.there.received, [])
        flow.release()
        self.network.advance(0.1)
        self.assertEqual([data for data, *_ in self.there.received], [b"a", b"b"])

    def test_a_full_buffer_is_a_lost_datagram(self) -> None:
        for number in (errno.ENOBUFS, errno.EWOULDBLOCK):
            self.here.port.fail_writes = OSError(number, "full")
            self.here.flow.send(b"x", ("192.0.2.2", 5060))
        self.assertEqual((self.here.flow.dropped, self.here.flow.failed), (2, 0))

    def test_other_errors_are_the_callers(self) -> None:
        self.here.port.fail_writes = OSError(errno.EPERM, "the firewall said no")
        self.assertRaises(OSError, self.here.flow.send, b"x", ("192.0.2.2", 5060))
        self.assertEqual((self.here.flow.dropped, self.here.flow.failed), (0, 1))

    def test_a_refusal_is_about_another_datagram_and_the_loss_is_counted(self) -> None:
        self.here.port.fail_writes = OSError(errno.ECONNREFUSED, "somebody else")
        self.here.flow.send(b"x", ("192.0.2.2", 5060))
        self.assertEqual((self.here.flow.dropped, self.here.flow.failed), (1, 0))

    def test_errors_about_earlier_datagrams_cost_this_one_nothing(self) -> None:
        for number in (errno.EHOSTUNREACH, errno.ECONNREFUSED):
            for errors in (1, 2, 7, 8):
                flow, tried = self.failing(number, errors)
                flow.send(b"x", ("192.0.2.2", 5060))
                self.assertEqual((len(tried), flow.failed, flow.dropped), (errors + 1, 0, 0))

    def test_a_datagram_is_not_repeated_without_end(self) -> None:
        flow, tried = self.failing(errno.EHOSTUNREACH, 9)
        self.assertRaises(OSError, flow.send, b"x", ("192.0.2.2", 5060))
        self.assertEqual((len(tried), flow.failed, flow.dropped), (9, 1, 0))
        flow, tried = self.failing(errno.ECONNREFUSED, 9)
        flow.send(b"x", ("192.0.2.2", 5060))
        self.assertEqual((len(tried), flow.failed, flow.dropped), (9, 0, 1))

    def test_a_full_buffer_is_tried_once_more(self) -> None:
        flow, tried = self.failing(errno.ENOBUFS, 9)
        flow.send(b"x", ("192.0.2.2", 5060))
        self.assertEqual((len(tried), flow.failed, flow.dropped), (2, 0, 1))

    def failing(self, number: int, errors: int) -> tuple[UdpFlow, list[bytes]]:
        """A flow whose socket fails so often before it sends, and what it was to send."""
        tried: list[bytes] = []

        def sendto(data: bytes, address: Address) -> None:
            tried.append(data)
            if len(tried) <= errors:
                raise OSError(number, "about another datagram")

        return UdpFlow(("192.0.2.1", 5060), sendto, self.here.protocol._addresses), tried

    def test_a_name_is_refused_and_not_looked_up(self) -> None:
        for host in ("example.com", "localhost", "", "192.0.2.300"):
            error = self.assertRaises(OSError, self.here.flow.send, b"x", (host, 5060))
            self.assertEqual(error.errno, errno.EINVAL)

    def test_the_other_ip_version_is_refused(self) -> None:
        error = self.assertRaises(OSError, self.here.flow.send, b"x", ("2001:db8::2", 5060))
        self.assertEqual(error.errno, errno.EAFNOSUPPORT)

    def test_known_hosts_are_bounded(self) -> None:
        with mock.patch.object(sip_udp, "_MOST_KNOWN", 10):
            for each in range(50):
                self.here.flow.send(b"x", (f"198.51.100.{each}", 5060))
                self.assertLessEqual(len(self.here.flow._known), 10)

    def test_port_in_use(self) -> None:
        self.assertRaises(CannotListenError, Opened, self.network.host("192.0.2.1"))

    def test_port_in_use_says_what_to_do(self) -> None:
        for interface, where in (("", "all interfaces"), ("192.0.2.1", "192.0.2.1")):
            host = self.network.host("192.0.2.1")
            transport = SipUdpTransport(host, Listen(5060, interface), clockwork_for(host))
            error = self.assertRaises(ConfigurationError, transport.open, *[lambda *_: None] * 3)
            self.assertIn(f"cannot listen on UDP port 5060 of {where}: ", str(error))

    def test_not_open(self) -> None:
        clockwork = clockwork_for(self.network.host("192.0.2.1"))
        protocol = SipUdpProtocol(lambda *arguments: None, clockwork)
        self.assertRaises(RuntimeError, getattr, protocol, "flow")


class OpenTransportsTests(SynchronousTestCase):
    def test_which_addresses_are_those_of_our_sockets(self) -> None:
        """Media must not be sent there."""
        opened = OpenTransports(lambda ip: ip in ("192.0.2.1", "127.0.0.1"))
        opened.add(mock.Mock(local=("0.0.0.0", 5060)))
        opened.add(mock.Mock(local=("198.51.100.1", 5070)))
        own = {
            (ip, port)
            for ip in ("192.0.2.1", "127.0.0.1", "0.0.0.0", "198.51.100.1", "192.0.2.2")
            for port in (5060, 5070, 5080)
            if opened.own(ip, port)
        }
        here = {(ip, port) for ip in ("192.0.2.1", "127.0.0.1") for port in (5060, 5070)}
        self.assertEqual(own, here | {("0.0.0.0", 5060), ("198.51.100.1", 5070)})
        self.assertEqual(opened.near, {5059, 5060, 5069, 5070})


class SentByTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork()
        self.host = self.network.host("192.0.2.1", "2001:db8::1")

    def sent_by(self, peer: str, listen: Listen, **options: Any) -> bytes:
        return Opened(self.host, listen, **options).flow.sent_by(peer)

    def test_never_a_wildcard(self) -> None:
        self.assertEqual(self.sent_by("198.51.100.1", Listen(5060)), b"192.0.2.1:5060")
        self.assertEqual(self.sent_by("2001:db8::9", Listen(5060, "::")), b"[2001:db8::1]:5060")

    def test_chosen_per_peer(self) -> None:
        self.assertEqual(self.sent_by("127.0.0.1", Listen(5060)), b"127.0.0.1:5060")
        self.assertEqual(self.sent_by("::1", Listen(5062, "::")), b"[::1]:5062")

    def test_no_route_is_loopback(self) -> None:
        host = self.network.host("2001:db8::5")
        self.assertEqual(Opened(host).flow.sent_by("192.0.2.9"), b"127.0.0.1:5060")

    def test_the_bound_address(self) -> None:
        self.assertEqual(self.sent_by("127.0.0.1", Listen(5060, "192.0.2.1")), b"192.0.2.1:5060")

    def test_advertise(self) -> None:
        sent_by = self.sent_by("192.0.2.9", Listen(5060), advertise="203.0.113.5")
        self.assertEqual(sent_by, b"203.0.113.5:5060")
        sent_by = self.sent_by("192.0.2.9", Listen(5062), advertise="sip.example.com:5070")
        self.assertEqual(sent_by, b"sip.example.com:5070")
        sent_by = self.sent_by("2001:db8::9", Listen(5064, "::"), advertise="2001:db8::7")
        self.assertEqual(sent_by, b"[2001:db8::7]:5064")

    def test_advertise_is_for_its_own_ip_version(self) -> None:
        sent_by = self.sent_by("192.0.2.9", Listen(5066), advertise="2001:db8::7")
        self.assertEqual(sent_by, b"192.0.2.1:5066")
        sent_by = self.sent_by("2001:db8::9", Listen(5068, "::"), advertise="203.0.113.5")
        self.assertEqual(sent_by, b"[2001:db8::1]:5068")

    def test_bad_advertise(self) -> None:
        for text in ("", "a b", "[::1", "host:0", "host:x", "http://x"):
            self.assertRaises(
                ConfigurationError, self.sent_by, "192.0.2.9", Listen(5060), advertise=text
            )

    def test_port_zero_shows_the_real_port(self) -> None:
        self.assertEqual(self.sent_by("192.0.2.9", Listen(0)), b"192.0.2.1:49152")


class ReceiveTests(SynchronousTestCase):
    def open(self, receive: Any, interface: str = "") -> SipUdpProtocol:
        host = FakeNetwork().host("192.0.2.1")
        protocol, _ = listen_sip_udp(host, Listen(5060, interface), receive, clockwork_for(host))
        return protocol

    def test_errors_are_counted_and_logged_once_per_kind(self) -> None:
        def receive(data: bytes, *arguments: Any) -> None:
            if data == b"key":
                raise KeyError("no such call")
            raise ValueError(data)

        protocol = self.open(receive)
        for data in (b"key", b"1", b"key", b"2", b"3"):
            protocol.datagramReceived(data, ("192.0.2.2", 5060))
        self.assertEqual(protocol.errors, 5)
        logged = self.flushLoggedErrors()
        self.assertEqual([failure.type for failure in logged], [KeyError, ValueError])
        self.assertIn("in receive", logged[0].getTraceback())

    def test_ipv4_mapped_sources_are_ipv4(self) -> None:
        sources: list[Address] = []
        protocol = self.open(lambda data, source, flow, now: sources.append(source), "::")
        for host in ("::ffff:192.0.2.7", "::1", "::FFFF:c000:207"):
            protocol.datagramReceived(b"x", (host, 5060, 0, 0))
        self.assertEqual(sources, [("192.0.2.7", 5060), ("::1", 5060), ("192.0.2.7", 5060)])

    def test_strange_sources_do_not_raise(self) -> None:
        protocol = self.open(lambda *arguments: None, "::")
        protocol.datagramReceived(b"x", ("::zz", 5060))
        protocol.datagramReceived(b"x", ())
        self.assertEqual(protocol.errors, len(self.flushLoggedErrors()))

    def test_what_icmp_makes_fail_is_counted(self) -> None:
        host = FakeNetwork().host("192.0.2.1")

        def unreachable(refused: Any, now: int) -> None:
            raise KeyError("no such call")

        protocol, _ = listen_sip_udp(
            host,
            Listen(5060),
            lambda *arguments: None,
            clockwork_for(host),
            unreachable=unreachable,
        )
        protocol.unreachable({("192.0.2.2", 5060): {b""}})
        self.assertEqual((protocol.errors, len(self.flushLoggedErrors(KeyError))), (1, 1))


class IcmpTests(SynchronousTestCase):
    """Calls to a closed port, on the sockets and reactors there are."""

    def check(self, host: str) -> None:
        if not sys.platform.startswith("linux"):
            raise SkipTest("only Linux tells ICMP to sockets that are not connected")
        for name in ("epoll", "poll", "select", "asyncio"):
            with self.subTest(name):
                done = subprocess.run(
                    [sys.executable, "-m", "tests.net.icmp_contract", name, host],
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                report = json.loads(done.stdout)
                self.assertIn(name, report.pop("reactor").lower())
                self.assertLess(report.pop("seconds", 99), 5, report)
                expected = {
                    "status": 503,
                    "by": "network",
                    "idle reads": 0,
                    "failed sends": 0,
                    "good": "hung up",
                    "faults": 0,
                }
                self.assertEqual(report, expected)

    def test_ipv4(self) -> None:
        self.check("127.0.0.1")

    def test_ipv6(self) -> None:
        self.check(_ipv6("::1"))


def _waits(peer: socket.socket) -> bool:
    """Whether a datagram waits."""
    return bool(select.select([peer], [], [], 0)[0])


_PATTERNS = (
    *("di", "ddi", "dddi", "ddddddddddi"),
    *("did", "ddidd", "dddiddd", "dddddiddddd"),
    *("id", "idd", "iddd", "idddddddddd"),
    *("didi", "iddid", "diiid", "diidiidii"),
)
"""Orders of dead ports and an innocent peer."""


class RealSocketTests(TestCase):
    """On the reactor that runs the tests."""

    def test_what_to_do_about_a_socket_that_cannot_be_bound(self) -> None:
        from twisted.internet import reactor

        flow, _, _ = self.open(Listen(0, "127.0.0.1"))
        taken = flow.local[1]
        for listen, says in {
            Listen(taken, "127.0.0.1"): "stop what holds it, or choose another with --listen",
            Listen(5060, "192.0.2.77"): "this machine has no such address; give one of its own"
            " (`ip address` lists them), or listen on all with --listen udp:5060",
        }.items():
            transport = SipUdpTransport(reactor, listen, clockwork_for(reactor))
            error = self.assertRaises(ConfigurationError, transport.open, *[lambda *each: None] * 3)
            self.assertIn(says, str(error))

    def open(self, listen: Listen) -> tuple[UdpFlow, Any, Deferred[Any]]:
        from twisted.internet import reactor

        arrived: Deferred[Any] = Deferred()
        self.taken = 0

        def take(*each: Any) -> None:
            self.taken += 1
            if not arrived.called:
                arrived.callback(each)

        _protocol, port = listen_sip_udp(reactor, listen, take, clockwork_for(reactor))
        self.addCleanup(port.stopListening)
        return _protocol.flow, port, arrived

    @inlineCallbacks
    def test_ipv4(self) -> Any:
        flow, _, arrived = self.open(Listen(0, "127.0.0.1"))
        flow.send(b"x" * 20_000, ("127.0.0.1", flow.local[1]))
        data, source, by, _now = yield arrived
        self.assertEqual((len(data), source), (20_000, flow.local))
        self.assertIs(by, flow)

    def test_too_long(self) -> None:
        flow, _, _ = self.open(Listen(0, "127.0.0.1"))
        self.assertRaises(OSError, flow.send, b"x" * 70_000, flow.local)
        self.assertEqual(flow.failed, 1)

    @inlineCallbacks
    def test_ipv6(self) -> Any:
        flow, _, arrived = self.open(Listen(0, _ipv6("::1")))
        flow.send(b"x", flow.local)
        _data, source, _by, _now = yield arrived
        self.assertEqual(source, flow.local)
        self.assertEqual(flow.sent_by("::1"), f"[::1]:{flow.local[1]}".encode())

    @inlineCallbacks
    def test_all_of_ipv6_leaves_ipv4_alone(self) -> Any:
        flow, port, arrived = self.open(Listen(0, _ipv6("::")))
        self.assertTrue(port.getHandle().getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
        other, _, _ = self.open(Listen(flow.local[1]))
        self.assertEqual(other.local[1], flow.local[1])
        flow.send(b"x", ("::1", flow.local[1]))
        _data, source, _by, _now = yield arrived
        self.assertEqual(source, ("::1", flow.local[1]))

    def test_all_of_ipv6_in_use(self) -> None:
        flow, _, _ = self.open(Listen(0, _ipv6("::")))
        self.assertRaises(CannotListenError, self.open, Listen(flow.local[1], "::"))

    def test_the_backlog_is_what_was_not_read_yet(self) -> None:
        flow, _, _ = self.open(Listen(0, "127.0.0.1"))
        self.assertEqual(flow.backlog, 0)
        for _ in range(10):
            flow.send(b"x" * 1000, flow.local)
        self.assertGreaterEqual(flow.backlog, 10_000)

    def test_the_kernel_is_asked_for_the_backlog_only_once_a_turn_left_something(self) -> None:
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        told: list[int] = []
        port.protocol.datagramReceived = lambda datagram, source: told.append(flow.backlog)
        port.doRead()
        for _ in range(20):
            flow.send(b"x" * 1000, flow.local)
        for turn, asked in enumerate((False, True, True)):
            with self.subTest(turn=turn):
                told.clear()
                port.doRead()
                self.assertEqual((told[0] > 0, any(told)), (asked, asked))
        self.assertEqual((len(told), flow.backlog), (2, 0))
        port.getHandle().sendto(b"x", flow.local)
        with mock.patch("sessioncore.net.sip_port.receive_queue", side_effect=AssertionError):
            self.assertEqual(flow.backlog, 0)

    def test_a_turn_that_read_errors_knows_how_it_ended(self) -> None:
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()
        for behind in (20, 0):
            port.protocol.unreachable = lambda refused, behind=behind: [
                port.getHandle().sendto(b"x" * 1000, flow.local) for _ in range(behind)
            ]
            port.getHandle().sendto(b"x", nobody)
            port.doRead()
            with mock.patch("sessioncore.net.sip_port.receive_queue", return_value=(1, 0)):
                self.assertEqual(flow.backlog, 1 if behind else 0)
            while flow.backlog:
                port.doRead()
        self.assertEqual(self.taken, 20)

    def test_while_much_waits_each_source_is_read_by_its_fair_share(self) -> None:
        flow, port, phone = self.with_peer()
        flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(flood.close)
        flood.bind((_other_loopback(), 0))
        protocol, now = port.protocol, WINDOW
        taken: list[tuple[bytes, int]] = []
        protocol._now = lambda: now
        protocol.datagramReceived = lambda datagram, source: taken.append((datagram, flow.backlog))

        def turn(waiting: int) -> tuple[int, int, int, int]:
            """What was taken of flood and phone, what dropped so far, and the last backlog."""
            taken.clear()
            with mock.patch("sessioncore.net.sip_port.receive_queue", return_value=(waiting, 0)):
                port.doRead()
            read = [datagram for datagram, _ in taken]
            dropped = protocol.fair_share.dropped
            return read.count(b"flood"), read.count(b"phone"), dropped, taken[-1][1]

        crowd, most, share = CROWDED + 1, MAX_DATAGRAMS, BUDGET // 2
        phone.sendto(b"phone", flow.local)
        for _ in range(300):
            flood.sendto(b"flood", flow.local)
        phone.sendto(b"phone", flow.local)
        self.assertEqual(turn(crowd), (most - 1, 1, 0, crowd))
        now += WINDOW
        over = most - share
        self.assertEqual(turn(crowd), (share, 0, over, crowd))
        # From here on more is read in a turn, and nobody is refused because much waits.
        with mock.patch.object(sip_port, "MORE", 2):
            self.assertRaises(IndexError, turn, crowd)  # nothing was taken
            self.assertEqual(protocol.fair_share.dropped, over + 2 * most)
            dropped = 300 - (most - 1) - share
            self.assertEqual(turn(crowd), (0, 1, dropped, 0))
        for _ in range(100):
            flood.sendto(b"flood", flow.local)
        self.assertEqual(turn(crowd), (most, 0, dropped, 0), "the last turn left nothing")
        self.assertEqual(turn(CROWDED), (100 - most, 0, dropped, CROWDED), "not much waits")

    def test_where_the_kernel_does_not_tell_there_is_no_backlog(self) -> None:
        flow, _, _ = self.open(Listen(0, "127.0.0.1"))
        flow.send(b"x", flow.local)
        with mock.patch("sessioncore.net.sip_port.receive_queue", side_effect=OSError):
            self.assertEqual(flow.backlog, 0)

    def test_the_answers_of_a_turn_leave_together(self) -> None:
        flow, port, peer = self.with_peer()
        waiting: list[bool] = []

        def answer(datagram: bytes, source: Address) -> None:
            flow.send(b"1 " + datagram, source)
            flow.send(b"2 " + datagram, source)
            waiting.append(_waits(peer))

        port.protocol.datagramReceived = answer
        for datagram in (b"a", b"b"):
            peer.sendto(datagram, flow.local)
        port.doRead()
        self.assertEqual(waiting, [False, False])
        self.assertEqual([peer.recv(99) for _ in range(4)], [b"1 a", b"2 a", b"1 b", b"2 b"])
        self.assertFalse(_waits(peer))
        flow.send(b"by itself", peer.getsockname())
        self.assertEqual(peer.recv(99), b"by itself")

    def test_an_answer_that_cannot_leave_takes_no_other_with_it(self) -> None:
        flow, port, peer = self.with_peer()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()

        def answer(datagram: bytes, source: Address) -> None:
            # What ICMP says of the first makes the send after it fail, once.
            for data, address in (
                (b"lost", nobody), (b"a", source), (b"x" * 70_000, source), (b"b", source)
            ):  # fmt: skip
                flow.send(data, address)
            self.assertRaises(OSError, flow.send, b"c", ("localhost", 5060))

        port.protocol.datagramReceived = answer
        peer.sendto(b"?", flow.local)
        port.doRead()
        self.assertEqual([peer.recv(99) for _ in range(2)], [b"a", b"b"])
        self.assertFalse(_waits(peer))
        self.assertEqual((flow.failed, flow.dropped), (2, 0))

    def test_answers_to_dead_ports_in_one_turn_cost_an_innocent_peer_nothing(self) -> None:
        self.check_innocents("127.0.0.1", one_turn=True)

    def test_answers_to_dead_ports_of_ipv6_cost_an_innocent_peer_nothing(self) -> None:
        self.check_innocents(_ipv6("::1"), one_turn=True)

    def test_requests_to_dead_ports_cost_an_innocent_peer_nothing(self) -> None:
        self.check_innocents("127.0.0.1", one_turn=False)

    def test_requests_to_dead_ports_of_ipv6_cost_an_innocent_peer_nothing(self) -> None:
        self.check_innocents(_ipv6("::1"), one_turn=False)

    def check_innocents(self, host: str, one_turn: bool) -> None:
        for pattern in _PATTERNS:
            with self.subTest(pattern=pattern):
                self.check_innocent(host, pattern, one_turn)

    def check_innocent(self, host: str, pattern: str, one_turn: bool) -> None:
        """Send to a dead port for each "d", to the peer for each "i"; all arrive or are told."""
        flow, port, peer = self.with_peer(host)
        innocent = peer.getsockname()[:2]
        dead = self.closed_ports(host, pattern.count("d"))
        told: dict[Address, list[bytes]] = {}

        def unreachable(refused: Any) -> None:
            for address, quoted in refused.items():
                told.setdefault(address, []).extend(quoted)

        def send_all() -> None:
            ports = iter(dead)
            for number, kind in enumerate(pattern):
                flow.send(b"%d" % number, innocent if kind == "i" else next(ports))

        port.protocol.unreachable = unreachable
        port.protocol.datagramReceived = lambda datagram, source: send_all()
        if one_turn:
            peer.sendto(b"?", flow.local)
            port.doRead()
        else:
            send_all()
        arrived = []
        while _waits(peer):
            arrived.append(int(peer.recv(99)))
        self.assertEqual(arrived, [at for at, kind in enumerate(pattern) if kind == "i"])
        self.assertEqual((flow.failed, flow.dropped), (0, 0))
        for _ in range(2):
            port.doRead()
        lost = [at for at, kind in enumerate(pattern) if kind == "d"]
        expected = {address: [b"%d" % at] for address, at in zip(dead, lost, strict=True)}
        if not sys.platform.startswith("linux"):
            expected = {}  # other systems report nothing to sockets that are not connected
        self.assertEqual(told, expected)

    def closed_ports(self, host: str, count: int) -> list[Address]:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(count)]
        for each in bound:
            each.bind((host, 0))
        ports = [each.getsockname()[:2] for each in bound]
        for each in bound:
            each.close()
        return ports

    def test_errors_are_read_64_at_a_time_and_none_is_lost(self) -> None:
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        told: list[int] = []
        port.protocol.unreachable = lambda refused: told.append(len(refused[nobody]))
        (nobody,) = self.closed_ports("127.0.0.1", 1)
        for number in range(200):
            flow.send(b"%d" % number, nobody)
        for turn, expected in enumerate(([64], [64, 64], [64, 64, 64], [64, 64, 64, 8]), 1):
            flow.send(b"x", flow.local)
            port.doRead()
            self.assertEqual((told, self.taken), (expected, turn))
        flow.send(b"x", flow.local)
        with mock.patch.object(port, "_read_errors", side_effect=AssertionError):
            port.doRead()
        self.assertEqual(self.taken, 5)
        self.assertEqual((flow.failed, flow.dropped, flow.backlog), (0, 0, 0))

    def test_what_has_no_such_port_takes_neither_another_nor_the_socket_with_it(self) -> None:
        flow, port, peer = self.with_peer()

        def answer(datagram: bytes, source: Address) -> None:
            for data, address in ((b"a", source), (b"lost", (source[0], 70_000)), (b"b", source)):
                flow.send(data, address)

        port.protocol.datagramReceived = answer
        peer.sendto(b"?", flow.local)
        port.doRead()
        self.assertEqual([peer.recv(99) for _ in range(2)], [b"a", b"b"])
        self.assertFalse(_waits(peer))
        self.assertEqual((flow.failed, flow.dropped), (1, 0))
        error = self.assertRaises(OSError, flow.send, b"x", (flow.local[0], 70_000))
        self.assertEqual((error.errno, flow.failed), (errno.EINVAL, 2))

    def test_a_turn_within_a_turn_loses_nothing(self) -> None:
        flow, port, peer = self.with_peer()

        def answer(datagram: bytes, source: Address) -> None:
            flow.send(datagram, source)
            if datagram == b"a":
                port.doRead()

        port.protocol.datagramReceived = answer
        for datagram in (b"a", b"b"):
            peer.sendto(datagram, flow.local)
        port.doRead()
        self.assertEqual([peer.recv(99) for _ in range(2)], [b"a", b"b"])

    def test_a_turn_that_fails_holds_nothing_back(self) -> None:
        flow, port, peer = self.with_peer()

        def answer(datagram: bytes, source: Address) -> None:
            flow.send(b"a", source)
            raise ValueError

        port.protocol.datagramReceived = answer
        peer.sendto(b"?", flow.local)
        self.assertRaises(ValueError, port.doRead)
        self.assertEqual(peer.recv(99), b"a")
        flow.send(b"b", peer.getsockname())
        self.assertEqual(peer.recv(99), b"b")

    def test_a_turn_in_which_the_port_is_closed_ends_in_peace(self) -> None:
        flow, port, peer = self.with_peer()

        def answer(datagram: bytes, source: Address) -> None:
            flow.send(b"a", source)
            port.connectionLost()

        port.protocol.datagramReceived = answer
        peer.sendto(b"?", flow.local)
        port.doRead()
        self.assertFalse(_waits(peer))
        self.assertEqual(flow.failed, 1)

    def with_peer(self, host: str = "127.0.0.1") -> tuple[UdpFlow, Any, socket.socket]:
        flow, port, _ = self.open(Listen(0, host))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        peer = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(peer.close)
        peer.bind((host, 0))
        peer.settimeout(10)
        return flow, port, peer

    def test_bursts_do_not_hold_up_the_tick(self) -> None:
        _, port, _ = self.open(Listen(0, "127.0.0.1"))
        self.assertEqual(port.maxThroughput, 8192)

    def test_a_receive_buffer_of_4_mib_is_asked_for(self) -> None:
        enlarged: list[Any] = []
        with mock.patch.object(sip_udp, "_enlarge_receive_buffer", enlarged.append):
            _, port, _ = self.open(Listen(0, "127.0.0.1"))
        self.assertEqual(enlarged, [port])

    def test_a_receive_buffer_that_is_smaller_is_warned_of(self) -> None:
        wanted = 4 * 1024 * 1024
        for given in (wanted // 2, wanted - 1, wanted, wanted + 1):
            opened = mock.Mock()
            opened.getsockopt.return_value = 2 * given  # as Linux does
            opened.setsockopt.side_effect = [None, PermissionError()]
            with mock.patch.object(sip_udp, "_log") as log:
                sip_udp._enlarge_receive_buffer(mock.Mock(getHandle=lambda opened=opened: opened))
            self.assertEqual({each.args[2] for each in opened.setsockopt.call_args_list}, {wanted})
            if given >= wanted:
                log.warn.assert_not_called()
            else:
                ((text,), values) = log.warn.call_args
                self.assertEqual(values, {"given": given, "wanted": wanted})
                self.assertIn("sysctl net.core.rmem_max={wanted}", text)

    def test_a_port_without_a_socket_has_no_receive_buffer(self) -> None:
        sip_udp._enlarge_receive_buffer(object())

    def test_empty_datagrams_do_not_either(self) -> None:
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        for _ in range(200):
            flow.send(b"", flow.local)
        port.doRead()
        self.assertEqual(self.taken, 64)
        for _ in range(9):
            port.doRead()
        self.assertEqual(self.taken, 200)

    def test_news_of_an_error_does_not_start_the_count_again(self) -> None:
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        taken: list[bytes] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()

        def take(datagram: bytes, source: Address) -> None:
            taken.append(datagram)
            if len(taken) == 40:
                port.getHandle().sendto(b"x", nobody)

        port.protocol.datagramReceived = take
        for _ in range(200):
            flow.send(b"", flow.local)
        port.doRead()
        self.assertEqual(len(taken), 64)

    def test_errors_do_not_pile_up_in_a_busy_server(self) -> None:
        """They take room from datagrams, and no read finds the socket empty."""
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        told: list[Any] = []
        port.protocol.unreachable = told.append
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()
        for number in range(300):
            flow.send(b"x" * 1000, flow.local)
            flow.send(b"%d" % number, nobody)
            flow.send(b"x" * 8192, flow.local)
            port.doRead()
        refused = {quoted for each in told for quoted in each[nobody]}
        self.assertGreater(len(refused), 290)
        self.assertEqual(self.taken, 600)
        self.assertEqual(flow.failed, 0)

    def test_a_flood_of_errors_does_not_keep_datagrams_from_being_read(self) -> None:
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()
        for _ in range(200):
            flow.send(b"to nobody", nobody)
        flow.send(b"x", flow.local)
        flow.send(b"to nobody", nobody)
        port.doRead()
        port.doRead()
        self.assertEqual(self.taken, 1)
        self.assertEqual(flow.backlog, 0)

    def test_a_turn_begins_where_the_last_one_ended(self) -> None:
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        for _ in range(20):
            flow.send(b"x" * 1000, flow.local)
        for received in (9, 18, 20, 20):
            port.doRead()
            self.assertEqual(self.taken, received)

    def test_errors_are_read_before_the_datagrams_behind_them(self) -> None:
        """And the turn goes on, within its limits."""
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        story: list[Any] = []
        port.protocol.unreachable = lambda refused: story.append(set(refused))
        port.protocol.datagramReceived = lambda datagram, source: story.append(len(datagram))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()
        for length in (5000, 1, 5000, 2):
            port.getHandle().sendto(b"x" * length, flow.local)
        port.getHandle().sendto(b"x", nobody)
        port.doRead()
        self.assertEqual(story, [{nobody}, 5000, 1, 5000])
        port.doRead()
        self.assertEqual(story[4:], [2])

    @inlineCallbacks
    def test_a_handler_may_stop_the_port_while_more_waits(self) -> Any:
        """It is closed in a later turn."""
        taken, stopped = self.take_three(lambda port: port.stopListening())
        yield stopped
        self.assertEqual(taken, [b"1", b"2", b"3"])

    def test_a_handler_may_close_the_port_while_more_waits(self) -> None:
        taken, _ = self.take_three(lambda port: port.connectionLost())
        self.assertEqual(taken, [b"1", b"2"])

    def take_three(self, act: Any) -> tuple[list[bytes], Any]:
        """What is read in a turn in which the second datagram makes somebody act."""
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        taken: list[bytes] = []
        acted = []

        def take(datagram: bytes, _source: Address) -> None:
            taken.append(datagram)
            if len(taken) == 2:
                acted.append(act(port))

        for datagram in (b"1", b"2", b"3"):
            flow.send(datagram, flow.local)
        port.protocol.datagramReceived = take
        port.doRead()
        return taken, acted[0]

    def test_a_handler_of_errors_may_close_the_port(self) -> None:
        flow, port, _ = self.open(Listen(0, "127.0.0.1"))
        port.protocol.unreachable = lambda refused: port.connectionLost()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()
        flow.send(b"x", nobody)
        flow.send(b"x", flow.local)
        port.doRead()
        self.assertEqual((port.connected, self.taken), (0, 0))

    @inlineCallbacks
    def test_a_refusal_does_not_close_the_socket(self) -> Any:
        flow, _, arrived = self.open(Listen(0, "127.0.0.1"))
        closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()
        closed.close()
        for _ in range(3):
            flow.send(b"x", nobody)
        flow.send(b"x", flow.local)
        yield arrived


def _other_loopback() -> str:
    """A second address of this host."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            opened.bind(("127.0.0.2", 0))
    except OSError:
        raise SkipTest("this machine has one loopback address") from None
    return "127.0.0.2"


def _ipv6(host: str) -> str:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
            opened.bind(("::1", 0))
    except OSError:
        raise SkipTest("this machine has no IPv6") from None
    return host
