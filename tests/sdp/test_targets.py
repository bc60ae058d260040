from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sdp.targets import find_fault, read_host
from sessioncore.vocabulary import Address

OWN = ("192.0.2.1", 4000)
OWN6 = ("2001:db8::1", 4000)


def reason(target: Address, own: Address = OWN, signalling_host: str = "192.0.2.9") -> str | None:
    """Why nothing is sent there."""
    fault = find_fault(target, own, signalling_host)
    return None if fault is None else fault.text


class Targets(SynchronousTestCase):
    def refuse(self, target: Address, words: str, **given: Any) -> None:
        self.assertIn(words, str(reason(target, **given)))

    def allow(self, target: Address, **given: Any) -> None:
        self.assertIsNone(reason(target, **given))

    def test_ordinary(self) -> None:
        self.allow(("192.0.2.9", 6000))
        self.allow(("10.1.2.3", 6000))
        self.allow(("240.0.0.1", 6000))  # networks of some use it within
        self.allow(("255.255.255.254", 6000))
        self.allow(("2001:db8::9", 6000), own=OWN6, signalling_host="2001:db8::9")

    def test_multicast_and_broadcast(self) -> None:
        self.refuse(("224.0.0.1", 6000), "multicast")
        self.refuse(("239.255.255.255", 6000), "multicast")
        self.refuse(("ff02::1", 6000), "multicast", own=OWN6)
        self.refuse(("::ffff:224.0.0.1", 6000), "multicast")
        self.refuse(("255.255.255.255", 6000), "broadcast")
        self.refuse(("::ffff:255.255.255.255", 6000), "broadcast")
        self.refuse(("0.1.2.3", 6000), "is not the address of a host")

    def test_loopback_only_among_loopback_peers(self) -> None:
        own = ("127.0.0.1", 4000)
        for host in ("127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1"):
            self.refuse((host, 6000), "loopback")
            self.allow((host, 6000), own=own, signalling_host="127.0.0.1")
        self.refuse(("::1", 6000), "loopback", own=OWN6, signalling_host="2001:db8::9")
        self.allow(("::1", 6000), own=("::1", 4000), signalling_host="::1")
        self.refuse(("127.0.0.1", 6000), "loopback", signalling_host="a.example")

    def test_loopback_when_the_peer_is_not_known_goes_by_our_own(self) -> None:
        self.allow(("127.0.0.1", 6000), own=("127.0.0.1", 4000), signalling_host="")
        self.refuse(("127.0.0.1", 6000), "loopback", signalling_host="")

    def test_ports_of_services(self) -> None:
        for port in (1, 22, 53, 1023):
            self.refuse(("192.0.2.9", port), f"port {port} is below 1024")
        self.allow(("192.0.2.9", 1024))

    def test_our_own_sip_sockets(self) -> None:
        class Sockets:
            near = frozenset({5059, 5060})

            def own(self, ip: str, port: int) -> bool:
                return (ip, port) == ("192.0.2.1", 5060)

        def refused(*target: Any) -> bool:
            return find_fault(target, OWN, "192.0.2.9", Sockets()) is not None

        self.assertTrue(refused("192.0.2.1", 5060))
        self.assertTrue(refused("::ffff:192.0.2.1", 5060))
        self.assertFalse(refused("192.0.2.1", 5059))
        self.assertFalse(refused("192.0.2.9", 5060))

    def test_ourselves(self) -> None:
        self.refuse(OWN, "192.0.2.1 port 4000 is our own")
        self.refuse(("192.0.2.1", 4001), "192.0.2.1 port 4001 is our own")
        self.allow(("192.0.2.1", 3999))
        self.allow(("192.0.2.1", 1024), own=("192.0.2.1", 0))
        self.refuse(("::ffff:192.0.2.1", 4000), "our own")
        self.allow(("192.0.2.1", 4002))
        self.refuse(("2001:DB8:0::1", 4000), "our own", own=OWN6)

    def test_other_family(self) -> None:
        self.refuse(("2001:db8::9", 6000), "not IPv4")
        self.refuse(("192.0.2.9", 6000), "not IPv6", own=OWN6)
        self.allow(("::ffff:192.0.2.9", 6000))
        self.allow(("2001:db8::9", 6000), own=("0.0.0.0", 0))

    def test_host_names(self) -> None:
        self.refuse(("media.example.com", 6000), "media.example.com is a host name")
        self.refuse(("1.2.3", 6000), "host name")
        self.refuse(("01.2.3.4", 6000), "host name")
        self.refuse(('a"\\\xe9', 6000), "a??? is a host name")
        self.refuse(("x" * 300, 6000), "host name")

    def test_three_colons(self) -> None:
        # RFC 5118 section 4.10
        host = read_host("2001:db8:::192.0.2.1")
        assert host is not None
        self.assertEqual(host.text, "2001:db8::c000:201")

    @settings(max_examples=200)
    @given(st.text(max_size=70), st.integers(0, 65_535))
    def test_any_text(self, text: str, port: int) -> None:
        self.assertTrue((reason((text, port), signalling_host=text) or "").isascii())
