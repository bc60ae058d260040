"""The Call-ID of bytes that may be anything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.message import parse_message
from sessioncore.testing import messages
from sessioncore.watching.messages import call_id_of


class CallIdTests(SynchronousTestCase):
    def test_forms(self) -> None:
        for data, expected in (
            (b"INVITE x SIP/2.0\r\nCall-ID: a@b\r\n\r\n", b"a@b"),
            (b"INVITE x SIP/2.0\nA: 1\nI:  a\n\n", b"a"),
            (b"INVITE x SIP/2.0\r\nCALL-ID \t: a b \r\n\r\n", b"a b"),
            (b"INVITE x SIP/2.0\r\nA: 1\r\n\r\ni: in-the-body\r\n\r\n", b""),
            (b"INVITE x SIP/2.0\r\nX-Call-ID: a\r\n\r\n", b""),
            (b"Call-ID: a", b""),
            (b"", b""),
            (b"\x00\xff", b""),
        ):
            self.assertEqual(call_id_of(data), expected, data)

    @settings(deadline=None, max_examples=100, derandomize=True)
    @given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1))
    def test_as_the_parser_reads_it(self, call_id: str) -> None:
        data = messages.invite(call_id=f"{call_id}@h")
        self.assertEqual(call_id_of(data), parse_message(data).call_id)

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(st.binary())
    def test_whatever_comes(self, noise: bytes) -> None:
        for data in (noise, messages.invite() + noise, messages.invite()[:200] + noise):
            found = call_id_of(data)
            try:
                message = parse_message(data)
                self.assertEqual(found, message.call_id)
            except SipParseError:
                self.assertLessEqual(len(found), len(data))
