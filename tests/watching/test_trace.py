"""Messages as text: what is shown, what a peer cannot do to it, in which order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sessioncore.interfaces import IMessageTap
from sessioncore.watching.event_log import EventLog
from sessioncore.watching.messages import Message
from sessioncore.watching.trace import MessageTrace, TraceText
from sessioncore.watching.wall_clock import WallClock
from tests.watching.test_event_log import _File, event

TEXT = TraceText(WallClock(lambda: 0, lambda: 1_767_268_800_000_000_000))
PEER, US = ("192.0.2.1", 5060), ("2001:db8::2", 5070)


def text(data: bytes, sent: bool = False) -> str:
    source, destination = (US, PEER) if sent else (PEER, US)
    return TEXT.message(Message(data, source, destination, "UDP", sent, 1_000_000))


class TraceTextTests(SynchronousTestCase):
    def test_form(self) -> None:
        self.assertEqual(
            text(b"INVITE sip:bob@h SIP/2.0\r\nTo: x\r\n\r\nv=0\r\n"),
            "2026-01-01T12:00:00.001000Z received UDP 192.0.2.1:5060 -> [2001:db8::2]:5070,"
            " 40 bytes\n"
            "  INVITE sip:bob@h SIP/2.0\n"
            "  To: x\n"
            "\n"
            "  v=0\n"
            "\n",
        )
        self.assertTrue(
            text(b"SIP/2.0 200 OK\r\n\r\n", sent=True).startswith(
                "2026-01-01T12:00:00.001000Z sent UDP [2001:db8::2]:5070 -> 192.0.2.1:5060,"
            )
        )

    def test_no_secrets(self) -> None:
        shown = text(b'BYE x SIP/2.0\r\nAuthorization: Digest response="51ec"\r\n\r\n')
        self.assertIn('  Authorization: Digest response="****"\n', shown)

    def test_what_is_not_ascii_is_escaped(self) -> None:
        shown = text("To: J\u00fcrgen\r\n".encode() + b"A: \xff\x1b[2J\rB\x7f\r\n")
        self.assertIn("  To: J\\u00fcrgen\n", shown)
        self.assertIn("  A: \\\\xff\\u001b[2J\\rB\\u007f\n", shown)

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(st.lists(st.sampled_from([b"\n", b"\r\n", b"2026-01-01T"]) | st.binary()).map(b"".join))
    def test_only_headings_begin_a_line(self, data: bytes) -> None:
        heading, *lines = text(data).split("\n")
        self.assertTrue(heading.startswith("2026-"))
        for line in lines:
            self.assertTrue(line.isascii() and (line.isprintable() or not line))
            self.assertIn(line[:2], ("", "  "))


class MessageTraceTests(SynchronousTestCase):
    def test_messages_and_events_stay_in_order(self) -> None:
        file = _File()
        log = EventLog(file, TEXT.lines)
        trace = MessageTrace(log)
        self.assertTrue(verifyObject(IMessageTap, trace))
        trace.message(b"INVITE", PEER, US, "UDP", False, 5)
        log.event(event())
        trace.message(b"SIP/2.0 200", US, PEER, "UDP", True, 5)
        lines = [line[:24].strip() for line in file.getvalue().decode().splitlines()]
        heading = "2026-01-01T12:00:00.0000"
        self.assertEqual(lines[:3], [heading, "INVITE", ""])
        self.assertEqual(lines[3:], ["[UAS] Event: CallAnswered"[:24], heading, "SIP/2.0 200", ""])

    def test_lines_that_are_lost_are_counted(self) -> None:
        file = _File()
        log = EventLog(file, TEXT.lines)
        file.room = 0
        MessageTrace(log).message(b"INVITE\r\nTo: x\r\n", PEER, US, "UDP", False, 5)
        self.assertEqual(log.lost, 4)
