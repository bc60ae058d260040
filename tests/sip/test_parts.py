"""Numbers, lists and Call-IDs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.parts import parse_call_id, parse_number, shown, split_list


class PartTests(SynchronousTestCase):
    def test_number(self) -> None:
        self.assertEqual(parse_number(b"0070"), 70)
        self.assertEqual(parse_number(b"255", 255), 255)
        for bad in (b"", b"256", b"-1", b"1_0", "٣".encode(), b"9" * 5000):
            self.assertRaises(SipParseError, parse_number, bad, 255)
        self.assertEqual(parse_number(b"4294967295"), 2**32 - 1)
        self.assertRaises(SipParseError, parse_number, b"4294967296")

    def test_splitList(self) -> None:
        self.assertEqual(split_list(b"a"), [b"a"])
        self.assertEqual(split_list(b" a , b,\tc"), [b"a", b"b", b"c"])
        self.assertEqual(split_list(b'"a,\\",b" <x,y>;z , "c"'), [b'"a,\\",b" <x,y>;z', b'"c"'])
        self.assertEqual(split_list(b"a,,"), [b"a", b"", b""])
        self.assertEqual(split_list(b'"x",'), [b'"x"', b""])

    def test_splitListRefuses(self) -> None:
        for bad in (b'a,"b', b"a,<b", b'"a\\",b', b"," * 256, b'"",' * 256):
            self.assertRaises(SipParseError, split_list, bad)
        self.assertEqual(len(split_list(b"," * 255)), 256)
        self.assertEqual(len(split_list(b'"",' * 255)), 256)

    def test_callId(self) -> None:
        self.assertEqual(parse_call_id(b"a@b"), b"a@b")
        for bad in (b"", b"a b", b"a\tb"):
            self.assertRaises(SipParseError, parse_call_id, bad)

    def test_shownIsShortAndAscii(self) -> None:
        self.assertEqual(shown(b"a\xff"), "'a\\xff'")
        self.assertLess(len(shown(b"\xff" * 999)), 250)
