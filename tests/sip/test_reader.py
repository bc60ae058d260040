"""Messages read in C: what they are, that they say what Python reads, and Python alone."""

from __future__ import annotations

import contextlib
import sys
import types
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip import message
from sessioncore.sip.message import _ONCE as ONCE
from sessioncore.sip.message import Message, parse_message, required_faults
from tests.data import data_file, expected
from tests.sip import test_message, test_torture_parser
from tests.sip.samples import INVITE, RESPONSE, modest, need_compiled, with_lines
from tests.sip.test_message import everything, mutated

SHORT = INVITE.replace(b"Via", b"v").replace(b"From", b"F").replace(b"Call-ID", b"call-id")
BLANKS = (b"", b" ", b"\t", b" \t ", b"\v", b"\f")
NEEDED = (b"Via", b"From", b"To", b"Call-ID", b"CSeq")


VALUES = (*test_message.RequiredValueTests.NAMES, "contacts", "any_uri")


def said(read: Message, name: str) -> object:
    """A value, or what is said against it."""
    try:
        return getattr(read, name, None)
    except SipParseError as error:
        return str(error)


class CompiledTests(SynchronousTestCase):
    """What C reads, Python reads alike; it leaves to Python what it likes."""

    def setUp(self) -> None:
        need_compiled(message.compiled)

    def read(self, data: bytes) -> bool:
        """Whether C read it."""
        found = message._read_compiled(data)
        if found is None:
            return False
        with patch.object(message, "_read_compiled", None):
            other = parse_message(data)
        self.assertIs(type(found), type(other))
        self.assertEqual(everything(found), everything(other))
        return True

    def require(self, data: bytes) -> bool:
        """Whether C found what every message needs."""
        try:
            one, other, third = parse_message(data), parse_message(data), parse_message(data)
        except SipParseError:
            return False
        with patch.object(message, "_require_compiled", None):
            fault = required_faults(other)
        self.assertEqual(required_faults(one), fault)
        if any(name in third._repeated for name in (*ONCE, b"Content-Type")):
            return False  # `required_faults` looks at these before it asks C
        try:
            found = message._require_compiled(third)
        except SipParseError:
            found = False
        if found:
            self.assertIsNone(fault)
            self.assertEqual(vars(third), vars(other))
        for name in VALUES:
            self.assertEqual(said(one, name), said(other, name), name)
        return found

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
            *((b"Max-Forwards: 70", b"Max-Forwards:" + blank) for blank in BLANKS),
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
        for data in (INVITE, RESPONSE, SHORT):
            self.assertTrue(self.require(data))
        ours = b"Via: SIP/2.0/UDP 10.0.0.2:5061;branch=z9hG4bK-1;rport"
        host = b"Via: SIP/2.0/UDP h"
        # A Via as long as can be remembered, and a Contact.
        full, sip = host.ljust(5 + 255, b"h"), b"Contact: <sip:".ljust(9 + 254, b"h")
        for old, new, found in (
            (ours, host + b";branch=z9hG4bK1", True),
            (ours, host + b";rport;branch=z9hG4bK1", True),
            (ours, host + b";branch=z9hG4bK1;rport", True),
            (ours, host + b";branch=z9hG4bK1;received=10.0.0.1;rport=5060", True),
            (ours, host + b";received=h;branch=z9hG4bK1;x;rport=5", True),
            (ours, full + b";branch=z9hG4bK1", True),
            (ours, full + b"h;branch=z9hG4bK1", False),
            (ours, b"Via: ;branch=z9hG4bK1", False),
            (ours, host + b";branch=z9hG4bK", False),
            (ours, host + b";branch", False),
            (ours, host + b";branch=", False),
            (ours, host + b";rport=", False),
            (ours, host + b";Branch=z9hG4bK1", False),
            (ours, host + b";branch=z9hG4bK1;Rport", False),
            (ours, host + b";branch=z9hG4bK1;branch=z9hG4bK2", False),
            (ours, host + b";branch=z9hG4bK1;x=1;x", False),
            (ours, host + b";branch=z9hG4bK1;received=::1", False),
            (ours, host + b";branch=z9hG4bK1 ;rport", False),
            (ours, host + b";branch=z9hG4bK1;", False),
            (ours, host + b";branch=z9hG4bK1,g", False),
            (ours, b"Via: SIP/2.0;branch=z9hG4bK1", False),
            (ours, host + b"\r\n" + ours, False),
            (ours, ours + b"\r\n" + host, True),
            (ours, host, False),
            (b":5060>\r", b">;tag=" + b"x" * 500 + b"\r", True),
            (b":5060>\r", b":5060>;tag=\r", False),
            (b":5060>\r", b":5060>;tag=a;x\r", False),
            (b":5060>\r", b":5060>;x\r", False),
            (b":5060>\r", b":0>\r", False),
            (b":5060>\r", b"x" * 300 + b">\r", False),
            (b"To: <", b"To: >", False),
            (b'"Alice" <sip:alice@10.0.0.2>', b"sip:a", False),
            (b": 987asjd97y7atg", b": " + b"x" * 500, True),
            (b": 987asjd97y7atg", b":", False),
            (b": 987asjd97y7atg", b": a b", False),
            (b": 987asjd97y7atg", b": a\tb", False),
            (b"986759 INVITE", b"986759 BYE", False),
            (b"986759 INVITE", b"986759\t INVITE", True),
            (b"986759 INVITE", b"4294967296 INVITE", False),
            (b"986759 INVITE", b"1".ljust(249) + b"INVITE", True),
            (b"986759 INVITE", b"1".ljust(250) + b"INVITE", False),
            (b"986759 INVITE", b"", False),
            (b"s: 70", b"s: 0", True),
            (b"s: 70", b"s: 255", True),
            (b"s: 70", b"s: 256", True),
            (b"s: 70", b"s:", True),
            (b"Max-Forwards: 70\r\n", b"", True),
            (b"Contact: <sip:alice@10.0.0.2:5061>\r\n", b"", True),
            (b"Contact: <sip:alice@10.0.0.2:5061>", sip + b">", True),
            (b"Contact: <sip:alice@10.0.0.2:5061>", sip + b"h>", False),
            (b"Contact: <sip:alice@10.0.0.2:5061>", b"Contact: <sip:a>, <sip:b>", False),
            (b"Contact: <", b"Contact: <sip:a>\r\nContact: <", False),
            (b"Contact: <sip:alice@10.0.0.2:5061>", b"Contact: <", False),
            (b"Contact: <sip:alice@10.0.0.2:5061>", b"Contact: *", True),
            (b"sip:service@10.0.0.1:5060 ", b"sip:" + b"x" * 251 + b" ", True),
            (b"sip:service@10.0.0.1:5060 ", b"sip:" + b"x" * 252 + b" ", False),
            (b"sip:service@10.0.0.1:5060 ", b"sip: ".ljust(3), False),
            (b"sip:service@10.0.0.1:5060 ", b"tel:1 ", True),
        ):
            self.assertEqual(self.require(self.changed(old, new)), found, (old, new))
        for name in NEEDED:
            self.assertFalse(self.require(with_lines(without=name)))

    def test_mistaken_calls(self) -> None:
        read, required = message.compiled.read, message.compiled.required
        for arguments in ((), (b"",), ({}, None, None, "text"), ({}, None, None, None)):
            self.assertRaises(TypeError, read, *arguments)
        self.assertRaises(SystemError, read, [], None, None, INVITE)
        for none in (None, object, type, type(sys.flags), types.GeneratorType):
            for data in (INVITE, RESPONSE):
                with self.assertRaises((TypeError, AttributeError)):
                    read(message.CANONICAL, none, none, data)
        self.assertRaises(TypeError, required)
        known = message._require_compiled
        self.assertRaises(AttributeError, known, None)
        invite = parse_message(INVITE)
        for name in NEEDED:
            invite._firsts = {**parse_message(INVITE)._firsts, name: "text"}
            self.assertFalse(known(invite))
        invite._firsts = []
        self.assertRaises(SystemError, known, invite)
        # What a reader is mistaken about is no reason to be mistaken about its answer.
        invite._firsts = parse_message(INVITE)._firsts
        for at in range(len(known.args)):
            for wrong in (
                None,
                object,
                type,
                type(sys.flags),
                lambda *given: None,
                lambda *given: (),
            ):
                with contextlib.suppress(Exception):
                    required(*known.args[:at], wrong, *known.args[at + 1 :], invite)

    @settings(modest, max_examples=2000)
    @given(st.integers(0, 2**32), st.integers(1, 3), st.sampled_from((INVITE, RESPONSE, SHORT)))
    def test_mutated(self, seed: int, count: int, data: bytes) -> None:
        self.read(mutated(data, seed, count))
        self.require(mutated(data, seed, count))

    def test_every_byte_replaced(self) -> None:
        agreed = required = 0
        for data in (INVITE, RESPONSE):
            for at in range(len(data)):
                for byte in b'\x00\t\n\x0b\r ",.:;<=>@x\\\x7f\xff':
                    changed = data[:at] + bytes([byte]) + data[at + 1 :]
                    agreed += self.read(changed)
                    required += self.require(changed)
        self.assertGreater(agreed, 5000)
        self.assertGreater(required, 3000)

    def test_torture(self) -> None:
        for folder in ("rfc4475", "rfc5118"):
            for row in expected(folder):
                data = data_file(folder, row["file"])
                self.read(data)
                self.require(data)
                for seed in range(100):
                    changed = mutated(data, seed, 1 + seed % 3)
                    self.read(changed)
                    self.require(changed)


class _InPython(SynchronousTestCase):
    """As where nothing was compiled."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(message, "_read_compiled", None)
        self.patch(message, "_require_compiled", None)


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
