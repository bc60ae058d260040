"""Messages read in C: what they are, that they say what Python reads, and Python alone."""

from __future__ import annotations

import os
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sessioncore.sip import message
from sessioncore.sip.message import parse_message
from tests.data import data_file, expected
from tests.sip import test_message, test_torture_parser
from tests.sip.samples import INVITE, RESPONSE, modest, with_lines
from tests.sip.test_message import everything, mutated

SHORT = INVITE.replace(b"Via", b"v").replace(b"From", b"F").replace(b"Call-ID", b"call-id")
NEEDED = (b"Via", b"From", b"To", b"Call-ID", b"CSeq")


def need_the_compiled_one() -> None:
    """Skip a test where nothing was compiled; where nothing may be skipped, fail."""
    if message.compiled is None:
        reason = "sessioncore.sip._reader was not compiled"
        if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
            raise AssertionError(reason)
        raise SkipTest(reason)


class CompiledTests(SynchronousTestCase):
    """What C reads, Python reads alike; it leaves to Python what it likes."""

    def setUp(self) -> None:
        need_the_compiled_one()

    def read(self, data: bytes) -> bool:
        """Whether C read it."""
        found = message._read_compiled(data)
        if found is None:
            return False
        with patch.object(message, "_read_compiled", None):
            other = parse_message(data)
        self.assertIs(type(found), type(other))
        self.assertEqual(everything(found), everything(other))
        self.split(found._firsts)
        return True

    def split(self, firsts: dict[bytes, bytes]) -> bool:
        """Whether C found what every message needs."""
        found = message._split_compiled(firsts)
        if found is None:
            return False
        match = message._match_required(b"\n".join([firsts[name] for name in NEEDED]))
        assert match is not None
        self.assertEqual(found, match.groups())
        return True

    def changed(self, old: bytes, new: bytes, data: bytes = INVITE) -> bytes:
        self.assertIn(old, data)
        return data.replace(old, new, 1)

    def test_what_is_read(self) -> None:
        self.assertTrue(self.read(with_lines()))
        for data in (INVITE, RESPONSE, SHORT):
            self.assertTrue(self.read(data))
        for old, new in (
            (b"To: ", b"To:"),
            (b"To: ", b"To:\t \v\f"),
            (b"To: <sip:service@10.0.0.1:5060>", b"To:"),
            (b"Call-ID: ", b"Call-ID: \x00\xff:"),
            (b"service@10", b"\xff@10"),
            (b"Content-Length: 4\r\n", b""),
        ):
            self.assertTrue(self.read(self.changed(old, new)), new)
        for line in (b"SIP/2.0 100 ", b"SIP/2.0 699 \x00\xff", b"SIP/2.0 180  Ringing "):
            self.assertTrue(self.read(self.changed(b"SIP/2.0 180 Ringing", line, RESPONSE)), line)

    def test_what_is_left_to_python(self) -> None:
        for old, new in (
            (b"INVITE sip", b"\r\nINVITE sip"),
            (b"INVITE sip", b" sip"),
            (b"INVITE sip", b"INV/TE sip"),
            (b"INVITE sip", b"INVITE  sip"),
            (b"sip:service@10", b"sip:\x7f@10"),
            (b"sip:service@10", b"sip:\x00@10"),
            (b"SIP/2.0\r", b"sip/2.0\r"),
            (b"SIP/2.0\r", b"SIP/2.0 \r"),
            (b"To:", b"To :"),
            (b"To:", b":"),
            (b"To:", b"To"),
            (b"To:", b"Unheard-Of:"),
            (b"To:", b"Via:"),
            (b"To:", b"f:"),
            (b"\r\nTo:", b"\nTo:"),
            (b"\r\nTo:", b"\rTo:"),
            (b"\r\nTo:", b"\n\r\nTo:"),
            (b"\r\nTo:", b"\r\n To:"),
            *((b"\r\nTo:", blank + b"\r\nTo:") for blank in (b" ", b"\t", b"\v", b"\f")),
            (b"Max-Forwards: 70", b"Max-Forwards: "),
            (b"Length: 4", b"Length: 04"),
            (b"Length: 4", b"Length: 3"),
            (b"Length: 4", b"Length: 5"),
            (b"Length: 4", b"Length: 40"),
            (b"Length: 4", b"Length:"),
        ):
            self.assertFalse(self.read(self.changed(old, new)), new)
        for line in (
            b"SIP/2.0 099 ",
            b"SIP/2.0 700 ",
            b"SIP/2.0 18",
            b"SIP/2.0 1801 ",
            b"SIP/2.0 ",
        ):
            self.assertFalse(self.read(self.changed(b"SIP/2.0 180 ", line, RESPONSE)), line)
        self.assertFalse(self.read(b"INVITE sip:a SIP/2.0\r\n\r\n"))

    def test_every_start_alone(self) -> None:
        for data in (INVITE, RESPONSE, SHORT):
            for end in range(len(data)):
                self.assertFalse(self.read(data[:end]))

    def test_limits(self) -> None:
        bare = self.changed(b"Content-Length: 4\r\n", b"")
        self.assertTrue(self.read(bare.ljust(65_535)))
        self.assertFalse(self.read(bare.ljust(65_536)))
        # The head, without its empty line, is no longer than a line may be.
        room = 16_384 - bare.index(b"\r\n\r\n") - len(b"\r\nSubject:")
        for more, fits in ((0, True), (1, False)):
            line = b"\r\nSubject:" + b"x" * (room + more)
            self.assertEqual(self.read(self.changed(b"\r\n\r\n", line + b"\r\n\r\n", bare)), fits)

    def test_required(self) -> None:
        firsts = parse_message(INVITE)._firsts
        self.assertTrue(self.split(firsts))
        for name, value, found in (
            (b"Via", b"h;branch=z9hG4bK1", True),
            (b"Via", b"h;rport;branch=z9hG4bK1", True),
            (b"Via", b"h;branch=z9hG4bK1;rport", True),
            (b"Via", b"x" * 255 + b";branch=z9hG4bK1", True),
            (b"Via", b"x" * 256 + b";branch=z9hG4bK1", False),
            (b"Via", b";branch=z9hG4bK1", False),
            (b"Via", b"h;branch=z9hG4bK", False),
            (b"Via", b"h;branch=z9hG4bK1;rport=1", False),
            (b"Via", b"h;branch=z9hG4bK1,g", False),
            (b"Via", b"h", False),
            (b"To", b"x" * 255 + b">", True),
            (b"To", b"x" * 256 + b">", False),
            (b"To", b">", False),
            (b"To", b"<sip:a>;tag=" + b"x" * 500, True),
            (b"To", b"<sip:a>;tag=", False),
            (b"To", b"<sip:a>;tag=a;x", False),
            (b"To", b"<sip:a>;x", False),
            (b"From", b"sip:a", False),
            (b"Call-ID", b"x" * 500, True),
            (b"Call-ID", b"", False),
            (b"Call-ID", b"a b", False),
            (b"Call-ID", b"a\tb", False),
            (b"CSeq", b"x" * 255, True),
            (b"CSeq", b"x" * 256, False),
            (b"CSeq", b"", False),
        ):
            self.assertEqual(self.split({**firsts, name: value}), found, (name, value))
        for name in NEEDED:
            self.assertFalse(self.split({key: firsts[key] for key in firsts if key != name}))

    def test_mistaken_calls(self) -> None:
        read, required = message.compiled.read, message.compiled.required
        for arguments in ((), (b"",), ({}, None, None, "text"), ({}, None, None, None)):
            self.assertRaises(TypeError, read, *arguments)
        self.assertRaises(SystemError, read, [], None, None, INVITE)
        self.assertRaises(SystemError, required, [])
        self.assertIsNone(required({**parse_message(INVITE)._firsts, b"Call-ID": "text"}))

    @settings(modest, max_examples=2000)
    @given(st.integers(0, 2**32), st.integers(1, 3), st.sampled_from((INVITE, RESPONSE, SHORT)))
    def test_mutated(self, seed: int, count: int, data: bytes) -> None:
        self.read(mutated(data, seed, count))

    def test_every_byte_replaced(self) -> None:
        agreed = 0
        for data in (INVITE, RESPONSE):
            for at in range(len(data)):
                for byte in b'\x00\t\n\x0b\r ",.:;<=>@x\\\x7f\xff':
                    agreed += self.read(data[:at] + bytes([byte]) + data[at + 1 :])
        self.assertGreater(agreed, 5000)

    def test_torture(self) -> None:
        for folder in ("rfc4475", "rfc5118"):
            for row in expected(folder):
                data = data_file(folder, row["file"])
                self.read(data)
                for seed in range(100):
                    self.read(mutated(data, seed, 1 + seed % 3))


class _InPython(SynchronousTestCase):
    """As where nothing was compiled."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(message, "_read_compiled", None)
        self.patch(message, "_split_compiled", None)


class PythonReadingTests(_InPython, test_message.ReadingTests):
    pass


class PythonFramingTests(_InPython, test_message.FramingTests):
    pass


class PythonFaultTests(_InPython, test_message.RequiredFaultTests):
    pass


class PythonTortureTests(
    _InPython, test_torture_parser.Rfc4475ValidTests, test_torture_parser.Rfc4475InvalidTests
):
    pass


class PythonAboveTheParserTests(_InPython, test_torture_parser.Rfc4475AboveTheParserTests):
    pass


class PythonRfc5118Tests(_InPython, test_torture_parser.Rfc5118Tests):
    pass


class PythonPropertyTests(_InPython):
    """The properties of `tests.sip.test_message` once more, now read with patterns."""

    @settings(modest, max_examples=500)
    @given(st.integers(0, 2**32), st.integers(1, 3), st.sampled_from((INVITE, RESPONSE)))
    def test_mutated(self, seed: int, count: int, data: bytes) -> None:
        data = mutated(data, seed, count)
        test_message.PlainTests().agree(data)
        test_message.RequiredValueTests().agree(data)
        test_message.SurvivalTests().survive(data)
