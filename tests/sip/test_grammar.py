"""The grammar takes what RFC 3261 section 25 allows, and in linear time."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sip import grammar


class ProductionTests(SynchronousTestCase):
    def takes(self, pattern: re.Pattern[bytes], *texts: bytes) -> None:
        for text in texts:
            self.assertIsNotNone(pattern.fullmatch(text), text)

    def rejects(self, pattern: re.Pattern[bytes], *texts: bytes) -> None:
        for text in texts:
            self.assertIsNone(pattern.fullmatch(text), text)

    def test_token(self) -> None:
        self.takes(grammar.TOKEN, b"INVITE", b"a-.!%*_+`'~9")
        self.rejects(grammar.TOKEN, b"", b"a b", b"a/b", b"a:b", b"\xc3\xa4", b"a\x00")

    def test_number(self) -> None:
        self.takes(grammar.NUMBER, b"0", b"0068", b"4294967295", b"0" * 20 + b"4294967295")
        # What int() would take, but SIP does not.
        self.rejects(
            grammar.NUMBER, b"", b"+5", b"-1", b"1_0", b" 1", "٣".encode(), b"1" * 11, b"0" * 5000
        )

    def test_requestLine(self) -> None:
        self.takes(grammar.REQUEST_LINE, b"INVITE sip:a@b SIP/2.0", b"X http://x sip/7.0")
        self.rejects(
            grammar.REQUEST_LINE,
            b"INVITE  sip:a@b SIP/2.0",
            b"INVITE sip:a@b SIP/2.0 ",
            b"INVITE sip:a@b; lr SIP/2.0",
            b"INVITE sip:a@b",
            b"IN/VITE sip:a@b SIP/2.0",
            b"INVITE sip:a\x00@b SIP/2.0",
        )

    def test_statusLine(self) -> None:
        self.takes(grammar.STATUS_LINE, b"SIP/2.0 200 OK", b"SIP/2.0 100 ", b"SIP/2.0 180")
        self.rejects(
            grammar.STATUS_LINE, b"SIP/2.0 4294967301 x", b"SIP/2.0 099 x", b"SIP/2.0 700 x"
        )

    def test_sipUri(self) -> None:
        self.takes(
            grammar.SIP_URI,
            b"sip:example.com",
            b"SIPS:a:b@example.com:5061;transport=tcp;lr?Subject=x",
            b"sip:*99#@pbx",
            b"sip:a@my_host",
            b"sip:[::1]:5060",
            *self.SLOPPY,
        )
        self.rejects(grammar.SIP_URI, *self.BROKEN)

    SLOPPY = (
        b'sip:a@b;thinfo="VG8=="',
        b'sip:b;x="a;b?c@d";lr',
        b"sip:a@b;x=y=z;=;;{}|\xff",
        b"sip:a%4@example.com",
        b"sip:a\xc3\xa4|\\^`{}@example.com",
        b"sip:b?\xff=^",
    )
    BROKEN = (
        b"sip:",
        b"sip:@example.com",
        b"sip:a b@example.com",
        b"sip:2001:db8::10",
        b"sip:a@b:99999999",
        b"sip:a@b@c",
        b"sip:a@b;x=<",
        b"sip:a@b;x=\r\n",
        b"sip:a@b;x= y",
        b'sip:a@b;x="y z"',
        b'sip:a@b;x="y',
        b"sip:a@b?",
    )

    def test_what_we_write_is_strict(self) -> None:
        self.takes(grammar.STRICT_SIP_URI, b"sip:a:b@example.com:5061;transport=udp;lr")
        self.rejects(grammar.STRICT_SIP_URI, *self.BROKEN, *self.SLOPPY)

    def test_foreignUri(self) -> None:
        self.takes(grammar.FOREIGN_URI, b"tel:+1-201", b"soap.beep://192.0.2.103:3002", b"isbn:1")
        self.rejects(grammar.FOREIGN_URI, b"tel", b"1a:b", b"<tel:1>", b"tel:", b"tel:1 2")

    def test_date(self) -> None:
        self.takes(grammar.DATE, b"Sat, 13 Nov 2010 23:29:00 GMT")
        self.rejects(
            grammar.DATE, b"Fri, 01 Jan 2010 16:00:00 EST", b"Sat, 13 Nov 2010 23:29:00 GMT "
        )

    def test_params(self) -> None:
        self.takes(grammar.PARAMS, b"", b";a", b" ; a = b ;c", b';x="a;b\\"c"', b";r=[::1]")
        self.takes(grammar.PARAMS, b";rport=", b";a=;b = ;c", b";x=VG8==", b";x=a/b@c?d|\xff")
        self.rejects(grammar.PARAMS, b";", b";;a", b';a="', b";a=b c", b"a", b";a=b,c", b";a=<b>")

    def test_hostileLengths(self) -> None:
        """The worst a datagram can do: a pattern that backtracks would not come back."""
        pieces = (b" ", b"a", b"\t", b";a", b";a=", b'"', b'\\"', b"0", b"%", b"<", b",", b"a.")
        pieces += (b"a ", b" ;", b":", b"[", b"a:", b"%4", b"/", b"-", b"@", b'""', b"\x80")
        heads = (b"", b"sip:", b"sip:a@", b"<", b'"', b"SIP/2.0/UDP ", b"a <sip:b>", b"a/b", b"X ")
        patterns = [
            getattr(grammar, name)
            for name in grammar.__all__
            if isinstance(getattr(grammar, name), re.Pattern)
        ]
        free = (grammar.CONTENT_TYPE, grammar.STATUS_LINE, grammar.LIST_ITEM)
        for head in heads:
            for piece in pieces:
                text = head + piece * (8_000 // len(piece)) + b"\x01"
                for pattern in patterns:
                    match = pattern.fullmatch(text)
                    # Only what may hold any octet takes the last one.
                    self.assertTrue(match is None or pattern in free, (pattern, text[:20]))
