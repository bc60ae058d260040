"""Typed header values: what they say, what they refuse, and that nothing else is raised."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.values import (
    CSeq,
    NameAddr,
    RawUri,
    Uri,
    parse_any_uri,
    parse_contact,
    parse_cseq,
    parse_name_addr,
    parse_number,
    parse_uri,
    parse_via,
    split_list,
)

modest = settings(deadline=None, max_examples=150, derandomize=True)
PIECES = [
    b"sip:", b"sips:", b"tel:", b"a", b"example.com", b"@", b":", b"5060", b"[::1]", b"[", b"]",
    b";", b"=", b"tag", b"branch", b"rport", b"received", b"<", b">", b'"', b"\\", b",", b" ",
    b"\t", b"%41", b"%", b"?", b"SIP/2.0/UDP ", b"/", b"1", b"0", b"INVITE", b"\x00", b"\xff",
    b"*", b"z9hG4bK", b":::", b".", b"-", b"#", b"&", b"1_0", b"+5",
]  # fmt: skip
soup = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join) | st.binary(max_size=40)
token = st.text("ABCabc019-.!%*_+`'~", min_size=1, max_size=12).map(str.encode)


class UriTests(SynchronousTestCase):
    def test_parts(self) -> None:
        uri = parse_uri(b"SIP:al%69ce:secret@Example.com:5070;Transport=UDP;lr?Subject=x%20y&a=b")
        self.assertEqual(uri.scheme, b"sip")
        self.assertEqual(uri.user, b"al%69ce")
        self.assertEqual(uri.user_text, "alice")
        self.assertEqual(uri.password, b"secret")
        self.assertEqual(uri.host, b"Example.com")
        self.assertEqual(uri.port, 5070)
        self.assertEqual(uri.params, {b"transport": b"UDP", b"lr": None})
        self.assertEqual(uri.headers, b"Subject=x%20y&a=b")
        self.assertFalse(uri.is_ipv6)
        self.assertEqual(bytes(uri), uri.raw)
        self.assertTrue(str(uri).startswith("SIP:al%69ce"))

    def test_noUser(self) -> None:
        uri = parse_uri(b"sip:10.0.0.1")
        self.assertEqual((uri.user, uri.user_text, uri.port), (None, "", None))
        self.assertEqual(uri.params, {})

    def test_userIsNotUtf8(self) -> None:
        self.assertEqual(parse_uri(b"sip:%ff@h").user_text, "\ufffd")

    def test_ipv6(self) -> None:
        uri = parse_uri(b"sip:[2001:DB8::1]:5060")
        self.assertEqual((uri.host, uri.port, uri.is_ipv6), (b"2001:DB8::1", 5060, True))
        for bad in (
            b"sip:[1:2]",
            b"sip:[::1::2]",
            b"sip:[1.2.3.4]",
            b"sip:[12345::]",
            b"sip:[::::1]",
        ):
            self.assertRaises(SipParseError, parse_uri, bad)

    def test_ports(self) -> None:
        self.assertEqual(parse_uri(b"sip:a:65535").port, 65535)
        for bad in (b"sip:a:0", b"sip:a:65536", b"sip:a:"):
            self.assertRaises(SipParseError, parse_uri, bad)

    def test_firstOfRepeatedParametersCounts(self) -> None:
        self.assertEqual(parse_uri(b"sip:a;x=1;X=2").params, {b"x": b"1"})

    def test_foreignSchemes(self) -> None:
        error = self.assertRaises(SipParseError, parse_uri, b"TEL:+358")
        self.assertEqual(error.status, 416)
        self.assertEqual(parse_any_uri(b"TEL:+358"), RawUri(b"TEL:+358", b"tel"))
        self.assertEqual(bytes(parse_any_uri(b"tel:1")), b"tel:1")
        self.assertEqual(str(parse_any_uri(b"tel:1")), "tel:1")

    def test_brokenSipIsNoForeignUri(self) -> None:
        """`sip:` that does not read is 400, never an unknown scheme."""
        error = self.assertRaises(SipParseError, parse_uri, b"sip:2001:db8::10")
        self.assertEqual(error.status, 400)

    def test_longOnesReadLikeShortOnes(self) -> None:
        user = b"u" * 5000
        uri = parse_uri(b"sip:" + user + b"@h")
        self.assertEqual(uri.user, user)

    def test_sharedValuesAreProtected(self) -> None:
        params = parse_uri(b"sip:a;b=c").params
        with self.assertRaises(TypeError):
            params[b"x"] = b"y"  # type: ignore[index]


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
            b"Bell, A <sip:a@b>",
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

    @modest
    @given(token, token, token, st.booleans())
    def test_whatIsWrittenIsRead(self, name: bytes, tag: bytes, other: bytes, space: bool) -> None:
        gap = b" " if space else b""
        value = parse_name_addr(b"%b%b<sip:a@b>%b;%btag=%b;x%b" % (name, gap, gap, gap, tag, other))
        self.assertEqual((value.display, value.tag), (name, tag))
        self.assertIn(b"x" + other.lower(), value.params)


class ViaTests(SynchronousTestCase):
    def test_parts(self) -> None:
        via = parse_via(b" SIP / 2.0 / udp  Host.example : 5070 ; Branch = z9hG4bKx;rport;ttl=1 ")
        self.assertEqual((via.transport, via.host, via.port), (b"UDP", b"Host.example", 5070))
        self.assertEqual(via.branch, b"z9hG4bKx")
        self.assertTrue(via.rport)
        self.assertEqual(via.sent_by, b"host.example:5070")
        self.assertEqual(via.params[b"ttl"], b"1")

    def test_plain(self) -> None:
        for text, rport in (
            (b"SIP/2.0/UDP h;branch=z9hG4bK1", False),
            (b"SIP/2.0/UDP h;branch=z9hG4bK1;rport", True),
            (b"SIP/2.0/UDP h;rport;branch=z9hG4bK1", True),
            (b"SIP/2.0/UDP h;branch=z9hG4bK1;rport=5", False),
        ):
            via = parse_via(text)
            self.assertEqual((via.branch, via.rport, via.raw), (b"z9hG4bK1", rport, text))
            self.assertEqual(via.sent_by, b"h")

    def test_nothingButSentBy(self) -> None:
        via = parse_via(b"SIP/2.0/UDP 192.0.2.5")
        self.assertEqual((via.branch, via.received, via.rport), (None, None, False))

    def test_refused(self) -> None:
        for bad in (
            b"",
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP ;branch=x",
            b"SIP/2.0 UDP h",
            b"SIP/2.0/UDP h;;branch=x",
            b"SIP/2.0/UDP h;branch=",
            b"SIP/2.0/UDP h:0;branch=x",
            b"SIP/2.0/UDP h:70000",
            b"SIP/2.0/UDP [::1;branch=x",
            b"SIP/2.0/UDP 2001:db8::1",
            b"SIP/2.0/UDP h x;branch=x",
            b"SIP/2.0/UDP h;branch=a b",
        ):
            self.assertRaises(SipParseError, parse_via, bad)

    def received(self, text: bytes, ip: str = "10.0.0.9", port: int = 7000) -> bytes:
        return parse_via(text).with_received((ip, port))

    def test_nothingToAdd(self) -> None:
        text = b"SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK1"
        self.assertEqual(self.received(text), text)

    def test_otherAddress(self) -> None:
        self.assertEqual(
            self.received(b"SIP/2.0/UDP h:5060;branch=z9hG4bK1"),
            b"SIP/2.0/UDP h:5060;branch=z9hG4bK1;received=10.0.0.9",
        )

    def test_rportAlwaysGetsBoth(self) -> None:
        """RFC 3581 section 4: received is added even where it equals sent-by."""
        self.assertEqual(
            self.received(b"SIP/2.0/UDP 10.0.0.9;rport;branch=z9hG4bK1"),
            b"SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1;received=10.0.0.9;rport=7000",
        )

    def test_clientsClaimsAreOverwritten(self) -> None:
        for claim in (
            b";received=6.6.6.6;branch=z9hG4bK1",
            b";branch=z9hG4bK1;RECEIVED = 6.6.6.6",
            b";branch=z9hG4bK1 ; received=[::6]",
            b";received=6.6.6.6;branch=z9hG4bK1;received=7.7.7.7",
        ):
            answer = parse_via(self.received(b"SIP/2.0/UDP 10.0.0.9" + claim))
            self.assertEqual(answer.received, b"10.0.0.9")
            self.assertEqual(answer.branch, b"z9hG4bK1")
            self.assertEqual(answer.raw.lower().count(b"received"), 1)
        answer = parse_via(self.received(b"SIP/2.0/UDP h;rport=666;branch=z9hG4bK1"))
        self.assertEqual(answer.params[b"rport"], b"7000")

    def test_lookAlikesStay(self) -> None:
        for kept in (b";received-by=x", b";xrport", b";rports=1", b';x=";rport;received=1"'):
            text = b"SIP/2.0/UDP h;branch=z9hG4bK1" + kept
            self.assertEqual(
                self.received(text + b";rport"), text + b";received=10.0.0.9;rport=7000"
            )

    def test_ipv6Source(self) -> None:
        answer = self.received(b"SIP/2.0/UDP [::1]:5060;branch=z9hG4bK1;rport", "fe80::1%eth0")
        self.assertEqual(parse_via(answer).received, b"fe80::1")
        text = b"SIP/2.0/UDP [::1]:5060;branch=z9hG4bK1"
        self.assertEqual(self.received(text, "::1"), text)

    @modest
    @given(soup, st.integers(1, 65535))
    @example(b";received;rport", 1)
    @example(b';a="x;rport";rport;received=1', 1)
    def test_withReceivedAlwaysReadsBack(self, rest: bytes, port: int) -> None:
        try:
            via = parse_via(b"SIP/2.0/UDP h;branch=z9hG4bK1;" + rest)
        except SipParseError:
            return
        answer = parse_via(via.with_received(("10.0.0.9", port)))
        self.assertEqual(answer.received, b"10.0.0.9")
        self.assertEqual(answer.branch, via.branch)
        self.assertEqual((answer.host, answer.port), (via.host, via.port))
        if b"rport" in via.params:
            self.assertEqual(answer.params[b"rport"], b"%d" % port)
        mine = (b"received", b"rport")
        self.assertEqual(
            {name: value for name, value in answer.params.items() if name not in mine},
            {name: value for name, value in via.params.items() if name not in mine},
        )


class SmallValueTests(SynchronousTestCase):
    def test_cseq(self) -> None:
        self.assertEqual(parse_cseq(b"0009 INVITE"), CSeq(9, b"INVITE"))
        self.assertEqual(parse_cseq(b"4294967295\tX").number, 4294967295)
        for bad in (b"", b"1", b"INVITE", b"4294967296 X", b"-1 X", b"1_0 X", b"1 X Y", b"1X"):
            self.assertRaises(SipParseError, parse_cseq, bad)
        self.assertEqual(parse_cseq(b"1 " + b"X" * 900).method, b"X" * 900)

    def test_number(self) -> None:
        self.assertEqual(parse_number(b"0070"), 70)
        self.assertEqual(parse_number(b"255", 255), 255)
        for bad in (b"", b"256", b"-1", b"1_0", "٣".encode(), b"9" * 5000):
            self.assertRaises(SipParseError, parse_number, bad, 255)

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
