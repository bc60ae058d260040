"""Which peers are behind a NAT."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.reach import reach
from sessioncore.sip.nat import behind_nat
from sessioncore.sip.uris import parse_uri

PUBLIC = ("198.51.100.7", 40_000)


class ReachTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        for host, far in (
            ("0.0.0.0", 0),
            ("::", 0),
            ("127.0.0.1", 1),
            ("127.255.255.255", 1),
            ("128.0.0.0", 3),
            ("::1", 1),
            ("10.0.0.1", 2),
            ("172.15.255.255", 3),
            ("172.16.0.0", 2),
            ("172.31.255.255", 2),
            ("172.32.0.0", 3),
            ("192.168.255.255", 2),
            ("192.169.0.0", 3),
            ("100.63.255.255", 3),
            ("100.64.0.0", 2),
            ("100.127.255.255", 2),
            ("100.128.0.0", 3),
            ("169.254.3.4", 2),
            ("192.0.2.1", 3),
            ("fd00::1", 2),
            ("fe80::1", 2),
            ("2001:db8::1", 3),
            ("10.0.0", 3),
            ("10.0.0.1.example.com", 3),
            ("a..b", 3),
            ("", 3),
        ):
            with self.subTest(host):
                self.assertEqual(reach(host), far)
                self.assertEqual(reach(host.encode()), far)
        self.assertEqual(reach(b"\xff"), 3)


class BehindNatTests(SynchronousTestCase):
    def natted(self, contact: bytes, nat: bool | None, source: tuple[str, int] = PUBLIC) -> bool:
        return behind_nat(parse_uri(contact), source, nat)

    def test_by_itself(self) -> None:
        self.assertTrue(self.natted(b"sip:a@192.168.1.7:5060", None))
        self.assertFalse(self.natted(b"sip:a@192.0.2.1", None))
        self.assertFalse(self.natted(b"sip:a@phone.example.com", None))
        self.assertFalse(self.natted(b"sip:a@192.168.1.7", None, ("192.168.1.9", 5060)))
        self.assertTrue(self.natted(b"sip:a@0.0.0.0", None, ("192.168.1.9", 5060)))
        self.assertTrue(self.natted(b"sip:a@127.0.0.1", None, ("192.168.1.9", 5060)))
        self.assertFalse(self.natted(b"sip:a@127.0.0.1:5070", None, ("127.0.0.1", 5060)))
        self.assertFalse(self.natted(b"sip:a@192.168.1.7;maddr=192.0.2.1", None))
        self.assertTrue(self.natted(b"sip:a@192.0.2.1;maddr=10.0.0.1", None))

    def test_always(self) -> None:
        self.assertTrue(self.natted(b"sip:a@192.0.2.1", True))
        self.assertTrue(self.natted(b"sip:a@198.51.100.7", True))
        self.assertFalse(self.natted(b"sip:a@198.51.100.7:40000", True))
        self.assertFalse(self.natted(b"sip:a@198.51.100.7", True, ("198.51.100.7", 5060)))

    def test_never(self) -> None:
        self.assertFalse(self.natted(b"sip:a@192.168.1.7", False))
