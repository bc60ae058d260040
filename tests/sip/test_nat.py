"""Which peers are behind a NAT."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sip.nat import behind_nat
from sessioncore.sip.uris import parse_uri

PUBLIC = ("198.51.100.7", 40_000)


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
