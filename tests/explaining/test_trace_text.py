"""What ``--trace`` writes is read again, by way of the writer itself."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining.trace_text import is_trace, traced_messages
from sessioncore.testing import messages
from sessioncore.watching.messages import Message
from sessioncore.watching.trace import TraceText
from tests.explaining.captures import A, B, read

INVITE = messages.invite()
OK = messages.response(INVITE, 200, "OK", body=messages.offer())
BYE = messages.bye()
SIX = ("2001:db8::1", 5060), ("2001:db8::2", 5062)


class Clock:
    def utc(self, at: int) -> str:
        return f"2026-01-01T12:00:{at:02}.000123Z"


def written(*given: Any) -> bytes:
    """The trace of messages, the first ones sent, one a second."""
    clock: Any = Clock()
    trace = TraceText(clock)
    return "".join(
        trace.message(Message(data, source, destination, "UDP", at == 0, at))
        for at, (data, source, destination) in enumerate(given)
    ).encode()


class TraceTests(SynchronousTestCase):
    def test_what_was_written(self) -> None:
        text = written((INVITE, A, B), (OK, B, A), (BYE, *SIX))
        self.assertTrue(is_trace(text))
        found = list(traced_messages(text))
        self.assertEqual([each.raw for each in found], [INVITE, OK, BYE])
        self.assertEqual([(each.source, each.destination) for each in found],
                         [(A, B), (B, A), SIX])  # fmt: skip
        self.assertEqual([each.at - found[0].at for each in found], [0, 10**9, 2 * 10**9])
        self.assertEqual(found[0].at, 1_767_268_800_000_123_000)
        self.assertEqual(found[0].transport, "udp")

    def test_bodies_with_other_line_ends(self) -> None:
        for body in (b"v=0\n", b"v=0\ns=-", b"v=0\r\ns=-", b"v=0\r\n\r\ns=-\r\n"):
            message = messages.invite(body=body)
            (found,) = traced_messages(written((message, A, B)))
            self.assertEqual(found.raw, message)

    def test_events_between(self) -> None:
        text = b"[UAS] Event: CallAnswered\n" + written((INVITE, A, B)) + b"[UAS] Event: x\n  y\n"
        self.assertEqual([each.raw for each in traced_messages(text)], [INVITE])

    def test_it_is_a_kind_of_file(self) -> None:
        seen = read(written((INVITE, A, B), (OK, B, A)))
        self.assertEqual((seen.kind, len(seen.sightings)), ("a trace of SIP messages", 2))
        self.assertEqual(seen.last_at, seen.sightings[1].at)

    def test_a_time_that_no_calendar_has(self) -> None:
        text = written((INVITE, A, B)).replace(b"2026-01-01", b"2026-99-01")
        (found,) = traced_messages(text)
        self.assertEqual((found.at, found.raw), (0, INVITE))

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.data())
    def test_any_bytes(self, data: st.DataObject) -> None:
        text = bytearray(written((INVITE, A, B), (OK, B, A)))
        for _ in range(data.draw(st.integers(1, 5))):
            at = data.draw(st.integers(0, len(text) - 1))
            text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
            text = text or bytearray(b"x")
        list(traced_messages(bytes(text)))
