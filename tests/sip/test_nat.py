"""Which peers are behind a NAT."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sip.nat import behind_nat, is_private
from sessioncore.sip.uris import parse_uri

PUBLIC = ("198.51.100.7", 40_000)


class PrivateTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        for host, private in (
            ("10.0.0.1", True),
            ("172.15.255.255", False),
            ("172.16.0.0", True),
            ("172.31.255.255", True),
            ("172.32.0.0", False),
            ("192.168.255.255", True),
            ("192.169.0.0", False),
            ("100.63.255.255", False),
            ("100.64.0.0", True),
            ("100.127.255.255", True),
            ("100.128.0.0", False),
            ("169.254.3.4", True),
            ("127.0.0.1", True),
            ("192.0.2.1", False),
            ("::1", True),
            ("fd00::1", True),
            ("fe80::1", True),
            ("2001:db8::1", False),
            ("10.0.0", False),
            ("10.0.0.1.example.com", False),
            ("a..b", False),
            ("", False),
        ):
            with self.subTest(host):
                self.assertIs(is_private(host), private)
                self.assertIs(is_private(host.encode()), private)
        self.assertIs(is_private(b"\xff"), False)


class BehindNatTests(SynchronousTestCase):
    def natted(self, contact: bytes, nat: bool | None, source: tuple[str, int] = PUBLIC) -> bool:
        return behind_nat(parse_uri(contact), source, nat)

    def test_by_itself(self) -> None:
        self.assertTrue(self.natted(b"sip:a@192.168.1.7:5060", None))
        self.assertFalse(self.natted(b"sip:a@192.0.2.1", None))
        self.assertFalse(self.natted(b"sip:a@phone.example.com", None))
        self.assertFalse(self.natted(b"sip:a@192.168.1.7", None, ("192.168.1.9", 5060)))
        self.assertFalse(self.natted(b"sip:a@192.168.1.7;maddr=192.0.2.1", None))
        self.assertTrue(self.natted(b"sip:a@192.0.2.1;maddr=10.0.0.1", None))

    def test_always(self) -> None:
        self.assertTrue(self.natted(b"sip:a@192.0.2.1", True))
        self.assertTrue(self.natted(b"sip:a@198.51.100.7", True))
        self.assertFalse(self.natted(b"sip:a@198.51.100.7:40000", True))
        self.assertFalse(self.natted(b"sip:a@198.51.100.7", True, ("198.51.100.7", 5060)))

    def test_never(self) -> None:
        self.assertFalse(self.natted(b"sip:a@192.168.1.7", False))
