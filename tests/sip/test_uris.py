"""URIs: their parts, what is refused, and foreign schemes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.uris import RawUri, parse_any_uri, parse_strict_uri, parse_uri


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

    def test_escaped_parameters(self) -> None:
        """RFC 3261 section 19.1.4: an escaped letter is that letter; names ignore case."""
        uri = parse_uri(b"sip:a;%54ransport=%74cp;l%72;x=1;%58=2;y=%3B")
        expected = {b"transport": b"tcp", b"lr": None, b"x": b"1", b"y": b";"}
        self.assertEqual(uri.params, expected)

    def test_what_is_written_here_has_to_follow_the_grammar(self) -> None:
        for good in (b"sip:bob@h;x=1", b"sip:bob@h;x=" + b"1" * 300):
            self.assertEqual(parse_strict_uri(good).host, b"h")
        # A peer's is kept as it came.
        for odd in (b'sip:bob@h;x="1"', b'sip:bob@h;x="1"' + b"1" * 300):
            self.assertEqual(parse_uri(odd).host, b"h")
            self.assertRaises(SipParseError, parse_strict_uri, odd)

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
