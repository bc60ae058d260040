"""Where to listen, which address a peer sees, and how IPv6 is spelt."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address
from unittest.mock import Mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import ConfigurationError
from sessioncore.net import addresses
from sessioncore.net.addresses import (
    Listen,
    LocalAddresses,
    is_literal,
    is_wildcard,
    local_address_for,
    parse_host_port,
    parse_listen,
    unmapped,
    without_zone,
)
from sessioncore.testing.network import FakeNetwork
from sessioncore.vocabulary import SECOND, host_port

literals = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: str(IPv4Address(number))),
    st.integers(0, 2**128 - 1)
    .map(IPv6Address)
    .filter(lambda address: not address.is_link_local)
    .map(str),
)


class ListenTests(SynchronousTestCase):
    def test_what_can_be_written(self) -> None:
        for text, expected in (
            ("udp:5060", Listen(5060)),
            ("udp", Listen(5060)),
            (" udp:0 ", Listen(0)),
            ("udp:port=5062", Listen(5062)),
            ("udp:5060:interface=127.0.0.1", Listen(5060, "127.0.0.1")),
            ("udp:interface=127.0.0.1:port=5070", Listen(5070, "127.0.0.1")),
            (r"udp:5060:interface=\:\:1", Listen(5060, "::1")),
            ("udp:5060:interface=[::1]", Listen(5060, "::1")),
            (r"udp:5060:interface=\:\:", Listen(5060, "::")),
            (r"udp:5060:interface=fd00\:\:1", Listen(5060, "fd00::1")),
            ("udp:5060:interface=169.254.1.1", Listen(5060, "169.254.1.1")),
            ("udp:5060:interface=0.0.0.0", Listen(5060, "")),
            (r"udp:5060:interface=0\:0\:\:0", Listen(5060, "::")),
        ):
            self.assertEqual(parse_listen(text), expected, text)

    def test_what_cannot(self) -> None:
        for text in (
            "", "5060", "tcp:5060", "tls:5061", "udp:", "udp:x", "udp:70000", "udp:+5060",
            "udp:5_060", "udp:\u0665\u0660", "udp:5060:5061", "udp:5060:interface=eth0",
            "udp:5060:interface=::1", "udp:5060:port=5061", "udp:5060:iface=127.0.0.1",
            "udp:5060:interface=127.0.0.1:interface=127.0.0.2", "udp:5060:",
            "udp:-1", "udp:[5060",
        ):  # fmt: skip
            error = self.assertRaises(ConfigurationError, parse_listen, text)
            self.assertIn("write for example udp:5060", str(error))

    def test_a_link_local_address_is_refused_with_what_to_do(self) -> None:
        for text in (r"fe80\:\:1%eth0", "[fe80::1]", "[FEBF::1%1]"):
            error = self.assertRaises(
                ConfigurationError, parse_listen, f"udp:5060:interface={text}"
            )
            self.assertIn("is a link-local address", str(error))
            self.assertIn(r"udp:5060:interface=fd00\:\:1", str(error))

    @settings(max_examples=100)
    @given(st.integers(0, 65535), literals)
    def test_printing_and_reading(self, port: int, interface: str) -> None:
        expected = Listen(port, "" if interface == "0.0.0.0" else interface)
        self.assertEqual(parse_listen(str(Listen(port, interface))), expected)
        self.assertEqual(expected.ipv6, ":" in interface)

    @settings(max_examples=300)
    @given(st.text(alphabet="udp:=\\[]0123456789.interfacport% \u0663", max_size=40))
    def test_anything_else_is_one_error(self, text: str) -> None:
        try:
            listen = parse_listen(text)
        except ConfigurationError:
            return
        self.assertTrue(0 <= listen.port <= 65535)
        self.assertTrue(listen.interface == "" or is_literal(listen.interface))


class SpellingTests(SynchronousTestCase):
    def test_host_port(self) -> None:
        self.assertEqual(host_port("192.0.2.1", 5060), "192.0.2.1:5060")
        self.assertEqual(host_port("2001:db8::1", 5060), "[2001:db8::1]:5060")
        self.assertEqual(host_port("2001:db8::1", None), "[2001:db8::1]")
        self.assertEqual(host_port("fe80::1%eth0", 5060), "[fe80::1]:5060")

    def test_parse_host_port(self) -> None:
        for text, expected in (
            ("example.com", ("example.com", None)),
            ("example.com:5070", ("example.com", 5070)),
            ("192.0.2.1:5070", ("192.0.2.1", 5070)),
            ("::1", ("::1", None)),
            ("[::1]", ("::1", None)),
            ("[::1]:5070", ("::1", 5070)),
        ):
            self.assertEqual(parse_host_port(text), expected)

    def test_bad_host_port(self) -> None:
        for text in (
            "", ":5060", "a:b", "a:", "a:0", "a:65536", "[::1", "[::1]5060", "[a]:5060", "-a",
            "a b", "a:5060:1", "\u0663:5060", "sip:a", "a\r\nVia: x", "[192.0.2.1]:5060",
        ):  # fmt: skip
            self.assertRaises(ConfigurationError, parse_host_port, text)

    def test_wildcards(self) -> None:
        self.assertTrue(all(map(is_wildcard, ("", "0.0.0.0", "::", "0:0:0::0"))))
        self.assertFalse(any(map(is_wildcard, ("127.0.0.1", "::1", "fe80::1%eth0"))))

    def test_literals(self) -> None:
        self.assertTrue(all(map(is_literal, ("192.0.2.1", "::1", "fe80::1%eth0"))))
        self.assertFalse(any(map(is_literal, ("", "a", "1", "[::1]", "192.0.2", "localhost"))))

    def test_literals_are_read_once(self) -> None:
        read = Mock(wraps=addresses.ip_address)
        self.patch(addresses, "ip_address", read)
        for host in ("192.0.2.201", "2001:db8::201", "literal.invalid", "192.0.2.201"):
            self.assertEqual(is_literal(host), "invalid" not in host)
            self.assertEqual(is_literal(host), "invalid" not in host)
        self.assertEqual(read.call_count, 3)

    def test_what_is_long_is_not_remembered(self) -> None:
        remembered = addresses._known_literal.cache_info().currsize
        self.assertFalse(is_literal("x" * 65))
        self.assertTrue(is_literal("fe80::1%" + "x" * 65))
        self.assertEqual(addresses._known_literal.cache_info().currsize, remembered)

    def test_zone_and_mapping(self) -> None:
        self.assertEqual(without_zone("fe80::1%eth0"), "fe80::1")
        self.assertEqual(unmapped("::ffff:192.0.2.1"), "192.0.2.1")
        self.assertEqual(unmapped("::FFFF:c000:201"), "192.0.2.1")
        for other in ("192.0.2.1", "::1", "2001:db8::ffff:1", "::ffff:0:0:1"):
            self.assertEqual(unmapped(other), other)


class LocalAddressTests(SynchronousTestCase):
    def test_loopback(self) -> None:
        self.assertEqual(local_address_for("127.0.0.1"), "127.0.0.1")
        self.assertEqual(local_address_for("::ffff:127.0.0.1"), "127.0.0.1")

    def test_ipv6_loopback(self) -> None:
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
                opened.bind(("::1", 0))
        except OSError:
            self.skipTest("this machine has no IPv6")
        self.assertEqual(local_address_for("::1"), "::1")

    def test_names_are_never_looked_up(self) -> None:
        self.assertRaises(OSError, local_address_for, "localhost")
        self.assertRaises(OSError, local_address_for, "")

    def test_an_in_memory_host_answers_itself(self) -> None:
        host = FakeNetwork().host("192.0.2.1", "2001:db8::1")
        self.assertEqual(local_address_for("198.51.100.1", host), "192.0.2.1")
        self.assertEqual(local_address_for("2001:db8::2", host), "2001:db8::1")

    def test_cache(self) -> None:
        now = [0]
        asked: list[str] = []

        def ask(peer: str) -> str:
            asked.append(peer)
            return "192.0.2.1"

        cache = LocalAddresses(lambda: now[0], ask, keep=SECOND)
        for _ in range(3):
            self.assertEqual(cache.towards("a"), "192.0.2.1")
        self.assertEqual(asked, ["a"])
        now[0] = SECOND
        cache.towards("a")
        self.assertEqual(asked, ["a", "a"])

    def test_cache_is_bounded(self) -> None:
        cache = LocalAddresses(lambda: 0, lambda peer: peer)
        self.patch(addresses, "_MOST_PEERS", 10)
        for each in range(100):
            cache.towards(str(each))
            self.assertLessEqual(len(cache._found), 10)

    def test_no_route_is_not_remembered(self) -> None:
        answers = [OSError("no route"), "192.0.2.1"]

        def ask(peer: str) -> str:
            answer = answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

        cache = LocalAddresses(lambda: 0, ask)
        self.assertRaises(OSError, cache.towards, "a")
        self.assertEqual(cache.towards("a"), "192.0.2.1")
