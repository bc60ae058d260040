"""Typed header values: what they say, what they refuse, and that nothing else is raised."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.values import (
    CSeq,
    NameAddr,
    Uri,
    parse_any_uri,
    parse_contact,
    parse_cseq,
    parse_name_addr,
    parse_number,
    parse_uri,
    parse_via,
    remembered_address,
    split_list,
)
from tests.sip.samples import modest, soup, token


class NameAddrTests(SynchronousTestCase):
    def test_quoted(self) -> None:
        value = parse_name_addr(b'"A, <B> \\"C\\"" <sip:a@b;p=1>;tag=x;Q="y;z"')
        self.assertEqual(value.display, b'"A, <B> \\"C\\""')
        self.assertEqual(value.tag, b"x")
        self.assertEqual(value.params, {b"tag": b"x", b"q": b'"y;z"'})
        assert isinstance(value.uri, Uri)
        self.assertEqual(value.uri.params, {b"p": b"1"})

    def test_plainForms(self) -> None:
        """The forms read by a short cut say the same as the others."""
        for text, display, tag in (
            (b"<sip:a@b>", b"", None),
            (b"A B <sip:a@b>", b"A B", None),
            (b"A B\t<sip:a@b>;tag=1", b"A B", b"1"),
            (b"<sip:a@b> ; tag = 1", b"", b"1"),
            (b"<sip:a@b>;TAG=1", b"", b"1"),
            (b"sip:a@b;tag=1", b"", b"1"),
            (b"sip:a@b", b"", None),
        ):
            value = parse_name_addr(text)
            self.assertEqual((value.display, value.tag), (display, tag), text)
            self.assertEqual(bytes(value.uri), b"sip:a@b")

    def test_addrSpecParametersBelongToTheHeader(self) -> None:
        value = parse_name_addr(b"sip:a@b;transport=tcp;tag=1")
        self.assertEqual(value.params, {b"transport": b"tcp", b"tag": b"1"})
        assert isinstance(value.uri, Uri)
        self.assertEqual(value.uri.params, {})

    def test_refused(self) -> None:
        for bad in (
            b"",
            b"<>",
            b"<sip:a@b",
            b"sip:a@b>",
            b'"x <sip:a@b>',
            b'"x" "y" <sip:a@b>',
            b'Bell "A" <sip:a@b>',
            b"Bell, A: sip:a@b",
            b"< sip:a@b >",
            b"<sip:a@b>;",
            b"<sip:a@b>;tag",
            b"<sip:a@b>;tag=",
            b'<sip:a@b>;tag="x"',
            b"<sip:a@b>tag=1",
            b"<sip:a@b> x",
            b"<sip:a@b><sip:c@d>",
            b"sip:a@b?x=y",
            b"sip:a@b,sip:c@d",
            b'"x sip:a@b',
            b'<sip:a@b>;x="y>;tag=1',
            b"<sip:a@b>;tag=1\x00",
        ):
            self.assertRaises(SipParseError, parse_name_addr, bad)

    def test_greaterThanInAQuotedParameter(self) -> None:
        value = parse_name_addr(b'<sip:a@b>;x=">";tag=1')
        self.assertEqual(value.params, {b"x": b'">"', b"tag": b"1"})

    def test_star(self) -> None:
        value = parse_contact(b"*")
        self.assertEqual((bytes(value.uri), value.uri.scheme), (b"*", b""))
        self.assertRaises(SipParseError, parse_name_addr, b"*")

    def test_contactIsTheSame(self) -> None:
        for text in (b"<sip:a@b>;expires=5", b"sip:" + b"x" * 600 + b"@b"):
            self.assertEqual(parse_contact(text), parse_name_addr(text))

    def test_longOnesAreNotRemembered(self) -> None:
        held = remembered_address.cache_info().currsize
        parse_name_addr(b"<sip:%b@b>;tag=1" % (b"l" * 256))
        self.assertEqual(remembered_address.cache_info().currsize, held)

    @modest
    @given(token, token, token, st.booleans())
    def test_whatIsWrittenIsRead(self, name: bytes, tag: bytes, other: bytes, space: bool) -> None:
        gap = b" " if space else b""
        value = parse_name_addr(b"%b%b<sip:a@b>%b;%btag=%b;x%b" % (name, gap, gap, gap, tag, other))
        self.assertEqual((value.display, value.tag), (name, tag))
        self.assertIn(b"x" + other.lower(), value.params)


class CSeqTests(SynchronousTestCase):
    def test_cseq(self) -> None:
        self.assertEqual(parse_cseq(b"0009 INVITE"), CSeq(9, b"INVITE"))
        self.assertEqual(parse_cseq(b"4294967295\tX").number, 4294967295)
        for bad in (b"", b"1", b"INVITE", b"4294967296 X", b"-1 X", b"1_0 X", b"1 X Y", b"1X"):
            self.assertRaises(SipParseError, parse_cseq, bad)
        self.assertEqual(parse_cseq(b"1 " + b"X" * 900).method, b"X" * 900)


class SurvivalTests(SynchronousTestCase):
    def test_whateverComes(self) -> None:
        readers: list[Callable[[bytes], object]] = [
            parse_any_uri, parse_uri, parse_name_addr, parse_contact, parse_via, parse_cseq,
            parse_number, split_list,
        ]  # fmt: skip

        @settings(modest, max_examples=600)
        @given(soup)
        def check(text: bytes) -> None:
            for reader in readers:
                try:
                    value = reader(text)
                except SipParseError as error:
                    self.assertIn(error.status, (400, 416))
                    str(error).encode("ascii")
                else:
                    repr(value)
                    if isinstance(value, NameAddr | Uri):
                        self.assertEqual(reader(text), value)

        check()
