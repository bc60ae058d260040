"""Datagrams to a collector that may be there or not, under a name that resolves or not."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sessioncore.net import udp_sender
from sessioncore.net.udp_sender import UdpSender
from sessioncore.testing.network import FakeNetwork


class Heard(DatagramProtocol):
    def __init__(self) -> None:
        self.data: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.data.append(datagram)


@implementer(IHostnameResolver)
class Names:
    """Answers at once, or never, or raises."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.waiting: list[Any] = []

    def resolveHostName(self, receiver: Any, name: str, *given: Any, **more: Any) -> Any:
        self.asked.append(name)
        if isinstance(self.answer, Exception):
            raise self.answer
        receiver.resolutionBegan(None)
        self.waiting.append(receiver)
        if self.answer != "later":
            self.tell(*self.answer)

    def tell(self, *hosts: str) -> None:
        receiver = self.waiting.pop()
        for host in hosts:
            receiver.addressResolved(IPv4Address("UDP", host, 0))
        receiver.resolutionComplete()


class Reactor:
    def __init__(self, host: Any, names: Names) -> None:
        self._host = host
        self.nameResolver = names

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)


class ContractTests(SynchronousTestCase):
    def test_reactors(self) -> None:
        """An ICMP error costs no more than the datagrams that it is about."""
        for name in ("epoll", "poll", "select", "asyncio"):
            done = subprocess.run(
                [sys.executable, "-m", "tests.net.udp_sender_contract", name],
                capture_output=True,
                text=True,
                timeout=60,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            there, gone, back, long = json.loads(done.stdout)
            self.assertEqual(there, [5, 0], name)
            # What ICMP says of the last one is known with the next.
            self.assertEqual(gone, [0, 4], name)
            self.assertEqual(back, [5, 5], name)
            self.assertEqual(long, [0, 6], name)


class SenderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork()
        self.host = self.network.host("192.0.2.1", "2001:db8::1")
        self.heard = Heard()
        self.collector = self.network.host("192.0.2.9", "2001:db8::9")
        self.told: list[str] = []
        logger = Logger(namespace="x", observer=lambda event: self.told.append(formatEvent(event)))
        self.patch(udp_sender, "_log", logger)

    def sender(self, host: str = "192.0.2.9", names: Any = ()) -> UdpSender:
        self.names = Names(names)
        sender = UdpSender(Reactor(self.host, self.names), host, 9060, "--hep")
        sender.start()
        return sender

    def listen(self, interface: str = "") -> None:
        self.collector.listenUDP(9060, self.heard, interface=interface)

    def test_sends(self) -> None:
        self.listen()
        sender = self.sender()
        sender.send(b"one")
        sender.send(b"two")
        self.network.advance(0.1)
        self.assertEqual(
            (self.heard.data, sender.lost, self.names.asked), ([b"one", b"two"], 0, [])
        )
        stopped = sender.stop()
        self.network.advance(0.1)
        self.successResultOf(stopped)
        sender.send(b"three")
        self.assertEqual(sender.lost, 1)
        self.assertEqual(self.host.ports, {})

    def test_ipv6(self) -> None:
        self.listen("::")
        self.sender("2001:db8::9").send(b"one")
        self.network.advance(0.1)
        self.assertEqual(self.heard.data, [b"one"])

    def test_nobody_listens(self) -> None:
        sender = self.sender()
        for count in range(1, 4):
            sender.send(b"lost")
            self.network.advance(1)
            self.assertEqual(sender.lost, count)
        says = "--hep to 192.0.2.9:9060 fails: Connection refused; {} datagrams were lost so far"
        self.assertEqual(self.told, [says.format(1)])
        self.network.advance(60)
        sender.send(b"lost")
        self.network.advance(1)
        self.assertEqual(self.told[1:], [says.format(4)])
        self.listen()
        sender.send(b"there")
        self.network.advance(1)
        self.assertEqual((self.heard.data, sender.lost), ([b"there"], 4))

    def test_what_the_socket_does_not_take(self) -> None:
        sender: Any = self.sender()
        for error, says in (
            (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "Resource temp"),
            (MessageLengthError("x"), "4 bytes are too long for UDP"),
        ):
            sender._said_at = None
            sender._port.fail_writes = error
            sender.send(b"lost")
            self.assertIn(says, self.told[-1])
        self.assertEqual(sender.lost, 2)

    def test_a_name(self) -> None:
        self.listen()
        sender = self.sender("homer.example.com", "later")
        self.assertEqual(self.names.asked, ["homer.example.com"])
        sender.send(b"too early")
        self.names.tell("192.0.2.9", "192.0.2.8")
        sender.send(b"one")
        self.network.advance(0.1)
        self.assertEqual((self.heard.data, sender.lost, self.told), ([b"one"], 1, []))

    def test_a_name_that_is_not_known_yet(self) -> None:
        self.listen()
        for answer in ((), OSError("no resolver")):
            self.told.clear()
            sender = self.sender("homer.example.com", answer)
            self.assertEqual(len(self.told), 1)
            self.assertIn("the name homer.example.com has no address", self.told[0])
            self.names.answer = ("192.0.2.9",)
            self.network.advance(31)
            sender.send(b"one")
            self.network.advance(0.1)
            self.assertEqual(self.heard.data.pop(), b"one")

    def test_stopped_while_a_name_is_looked_up(self) -> None:
        sender = self.sender("homer.example.com", "later")
        self.successResultOf(sender.stop())
        self.names.tell("192.0.2.9")
        self.assertEqual(self.host.ports, {})
        sender = self.sender("homer.example.com", ())
        sender.stop()
        self.network.advance(40)
        self.assertEqual(len(self.names.asked), 1)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_without_a_socket(self) -> None:
        reactor: Any = Reactor(self.host, Names(()))
        reactor.listenUDP = lambda *_, **__: (_ for _ in ()).throw(OSError(97, "no such family"))
        sender = UdpSender(reactor, "192.0.2.9", 9060, "--hep")
        sender.start()
        self.assertIn("no such family", self.told[0])
        sender.send(b"lost")
        self.assertEqual(sender.lost, 1)
