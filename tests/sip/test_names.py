"""Header field names in every spelling, and the reason phrases."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sip.names import CANONICAL, REASONS, header_key


class ReasonTests(SynchronousTestCase):
    def test_status_codes_ascend(self) -> None:
        """So a code that was misspelt stands out."""
        codes = list(REASONS)
        self.assertEqual(codes, sorted(set(codes)))
        self.assertTrue(all(100 <= code < 700 for code in codes))
        for code, phrase in {
            100: b"Trying",
            200: b"OK",
            302: b"Moved Temporarily",
            400: b"Bad Request",
            500: b"Server Internal Error",
            600: b"Busy Everywhere",
        }.items():
            self.assertEqual(REASONS[code], phrase)


class NameTests(SynchronousTestCase):
    def test_anySpelling(self) -> None:
        for name in (b"Call-ID", b"call-id", b"CALL-ID", b"i", b"I"):
            self.assertEqual(header_key(name), b"Call-ID")
        self.assertEqual(header_key(b"X-Foo"), b"x-foo")

    def test_everyNameIsItsOwnKey(self) -> None:
        for name in set(CANONICAL.values()):
            self.assertIs(header_key(name), header_key(name.upper()))
            self.assertEqual(header_key(name), name)

    def test_compactForms(self) -> None:
        """RFC 3261 section 20, RFC 3515, 3892, 4028, 6665."""
        for letter, name in zip(
            b"m e l c f i s k t v r b x o".split(),
            b"Contact Content-Encoding Content-Length Content-Type From Call-ID Subject Supported"
            b" To Via Refer-To Referred-By Session-Expires Event".split(),
            strict=True,
        ):
            self.assertEqual(header_key(letter), name)

    def test_reasons(self) -> None:
        for status, reason in REASONS.items():
            self.assertTrue(100 <= status < 700)
            self.assertNotIn(b"\n", reason)
