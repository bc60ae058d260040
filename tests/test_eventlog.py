"""The event lines: their form, what a peer can do to them, when they are written."""

from __future__ import annotations

import errno
import io
import json
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.deadlines import Deadlines
from sessioncore.errors import ConfigurationError
from sessioncore.eventlog import (
    EventLog,
    json_line,
    json_lines,
    open_log,
    printable,
    text_line,
    text_lines,
)
from sessioncore.net.clockwork import ReactorClockwork
from sessioncore.outcome import CallSummary, RunEnded
from sessioncore.vocabulary import (
    MILLISECOND,
    SECOND,
    EndedBy,
    EndReason,
    MediaState,
    SessionRole,
)
from tests.fakes import agreement


def event(kind: Any = events.CallAnswered, *details: Any, **common: Any) -> Any:
    given = {
        "session": "3",
        "call_id": "a84b4c76e66710@pc33",
        "role": SessionRole.UAS,
        "media_state": MediaState.READY,
        "at": 1_500_000_000,
        **common,
    }
    return kind(*given.values(), *details)


class TextLineTests(SynchronousTestCase):
    def test_form(self) -> None:
        self.assertEqual(
            text_line(event()),
            "[UAS] Event: CallAnswered, Media State: Ready,"
            " Session: 3, Call-ID: a84b4c76e66710@pc33\n",
        )

    def test_details_follow(self) -> None:
        flow = event(events.MediaFlowEstablished, ("192.0.2.1", 4000), None)
        self.assertTrue(text_line(flow).endswith(", Local: 192.0.2.1:4000, Remote: none\n"))
        ended = event(events.CallEnded, EndReason(EndedBy.REMOTE, "BYE", None, 16))
        self.assertTrue(text_line(ended).endswith(', Reason: "remote: BYE (Q.850 16)"\n'))

    def test_each_line_names_its_own_call(self) -> None:
        of_no_call = event(session="", call_id="")
        several = [of_no_call, event(), event(), event(session="4"), event(call_id="5"), event()]
        self.assertEqual(text_lines(several), "".join(map(text_line, several)))
        self.assertIn(', Session: "", Call-ID: ""\n', text_lines([of_no_call]))

    def test_a_peer_cannot_forge_a_line_or_field(self) -> None:
        line = text_line(
            event(call_id="x\r\n[UAS] Event: CallEnded, Media State: Idle\x1b[2J\x7f\x9b")
        )
        self.assertEqual(line.count("\n"), 1)
        self.assertNotIn("\x1b", line)
        self.assertNotIn("\x7f", line)
        self.assertIn('Call-ID: "x\\r\\n[UAS] Event', line)

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.text())
    def test_whatever_the_text(self, text: str) -> None:
        shown = printable(text)
        self.assertTrue(shown.isascii() and shown.isprintable())
        if shown != text:
            self.assertEqual(json.loads(shown), text)
        else:
            self.assertFalse(set(text) & set(' ,"'))


_DETAILS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(),
    "bool": st.booleans(),
    "float": st.floats(),
    "float | None": st.none() | st.floats(),
    "str": st.text(),
    "str | None": st.none() | st.text(),
    "Address": st.tuples(st.text(), st.integers()),
    "Address | None": st.none() | st.tuples(st.text(), st.integers()),
    "NegotiatedMedia": st.builds(agreement),
    "tuple[str, ...]": st.lists(st.text()).map(tuple),
    "EndReason": st.builds(EndReason, st.sampled_from(EndedBy), st.text()),
}


class PreparedLineTests(SynchronousTestCase):
    """The line that was prepared for a kind of event says what its attributes say."""

    KINDS: tuple[Any, ...] = (
        *(getattr(events, name) for name in events.__all__),
        CallSummary,
        RunEnded,
    )

    def expected(self, given: Any) -> str:
        line = (
            f"[{given.role}] Event: {given.name}, Media State: {given.media_state},"
            f" Session: {printable(given.session)}, Call-ID: {printable(given.call_id)}"
        )
        for field in attrs.fields(type(given))[5:]:
            value = getattr(given, field.name)
            if str(field.type) == "tuple[str, ...]":
                value = "; ".join(value)
            elif isinstance(value, tuple):
                value = f"{value[0]}:{value[1]}"
            label = field.name.replace("_", " ").capitalize().replace(" uri", " URI")
            line += f", {label}: {'none' if value is None else printable(str(value))}"
        return line + "\n"

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(st.data(), st.sampled_from(KINDS))
    def test_says_what_the_event_says(self, data: Any, kind: Any) -> None:
        details = [data.draw(_DETAILS[str(field.type)]) for field in attrs.fields(kind)[5:]]
        given = event(
            kind,
            *details,
            session=data.draw(st.text()),
            call_id=data.draw(st.text()),
            role=data.draw(st.sampled_from(SessionRole)),
            media_state=data.draw(st.sampled_from(MediaState)),
        )
        self.assertEqual(text_line(given), self.expected(given))

    def test_a_number_that_is_none_cannot_forge_a_line_either(self) -> None:
        line = text_line(event(events.CallRinging, "180\n[UAS] Event: \x9b"))
        self.assertEqual(line.count("\n"), 1)
        self.assertTrue(line.isascii())


class JsonLineTests(SynchronousTestCase):
    def test_common_fields(self) -> None:
        self.assertEqual(
            json.loads(json_line(event(), wall_offset=10 * SECOND)),
            {
                "t": 11.5,
                "role": "UAS",
                "session": "3",
                "call_id": "a84b4c76e66710@pc33",
                "event": "CallAnswered",
                "media_state": "Ready",
            },
        )

    def test_media_and_reason(self) -> None:
        record = json.loads(json_line(event(events.MediaNegotiated, agreement())))
        audio = record["media"]["streams"][0]
        self.assertEqual(audio["codec"]["name"], "PCMU")
        self.assertEqual(audio["remote"], ["192.0.2.7", 5004])
        self.assertEqual(audio["direction"], "sendrecv")
        record = json.loads(json_line(event(events.CallEnded, EndReason(EndedBy.LOCAL, "x"))))
        self.assertEqual(
            record["reason"],
            {"by": "local", "text": "x", "status": None, "cause": None, "reasons": []},
        )

    def test_every_event_can_be_written(self) -> None:
        details: dict[type[Any], tuple[Any, ...]] = {
            events.MediaNegotiated: (agreement(),),
            events.MediaFlowEstablished: (("::1", 4), None),
            events.CallEnded: (EndReason(EndedBy.LOCAL, "x"),),
            events.CallFailed: (EndReason(EndedBy.LOCAL, "x"),),
            events.CallRinging: (180,),
            events.DigitReceived: ("5", 80),
            events.IncomingCall: ("sip:a", "sip:b"),
            events.OutgoingCallPrepared: ("sip:a",),
            events.CallInitiated: ("sip:a",),
            events.MediaPathProblem: ("closed",),
            events.MediaFailed: ("disk full",),
            events.MediaStalled: ("nothing has come",),
            events.OfferRefused: (488, ("PT 18: no", "PT 4: no")),
            events.TransferRequested: ("sip:c",),
        }
        for name in events.__all__:
            kind = getattr(events, name)
            given = event(kind, *details.get(kind, ()))
            self.assertEqual(json.loads(json_line(given))["event"], name)
            self.assertIn(f"Event: {name}, ", text_line(given))

    def test_one_line_of_ascii(self) -> None:
        line = json_line(event(events.IncomingCall, "sip:\u202e\n\x7f", "b"))
        self.assertTrue(line.isascii())
        self.assertTrue(line.rstrip("\n").isprintable())
        self.assertEqual(json.loads(line)["remote_uri"], "sip:\u202e\n\x7f")


class _File(io.BytesIO):
    writes = 0
    error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is not None:
            raise self.error
        self.writes += 1
        return super().write(data)


class EventLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clockwork = ReactorClockwork(self.clock)
        self.clockwork.start()
        self.file = _File()
        self.log = EventLog(self.file, text_lines, self.clockwork.deadlines)

    def now(self) -> int:
        return self.clockwork.now()

    def test_one_write_for_the_events_of_a_tick(self) -> None:
        for _ in range(7):
            self.log.event(event(at=self.now()))
        self.assertEqual(self.file.getvalue(), b"")
        self.clock.advance(0.05)
        self.assertEqual(self.file.getvalue().count(b"\n"), 7)
        self.assertEqual(self.file.writes, 1)
        self.log.event(event(at=self.now()))
        self.clock.advance(0.05)
        self.assertEqual(self.file.getvalue().count(b"\n"), 8)

    def test_does_not_gather_without_end(self) -> None:
        self.clockwork.stop()
        for _ in range(2001):
            self.log.event(event())
        self.assertEqual(self.file.getvalue().count(b"\n"), 2000)

    def test_without_deadlines_each_is_written_at_once(self) -> None:
        log = EventLog(self.file, text_lines)
        log.event(event())
        self.assertEqual(self.file.writes, 1)

    def test_close_writes_the_rest(self) -> None:
        path = self.mktemp()
        log = EventLog(open_log(path), json_lines, Deadlines())
        log.event(event())
        log.close()
        with open(path) as file:
            self.assertEqual(len(file.readlines()), 1)

    def test_appends(self) -> None:
        path = self.mktemp()
        for _ in range(2):
            log = EventLog(open_log(path), json_lines)
            log.event(event())
            log.close()
        with open(path) as file:
            self.assertEqual(len(file.readlines()), 2)

    def test_a_full_disk_is_counted_and_logged_once(self) -> None:
        self.file.error = OSError(errno.ENOSPC, "No space left on device")
        for _ in range(3):
            self.log.event(event(at=self.now()))
            self.clock.advance(0.05)
        self.assertEqual(self.log.lost, 3)
        self.file.error = None
        self.log.event(event(at=self.now()))
        self.clock.advance(0.05)
        self.assertEqual(self.file.getvalue().count(b"\n"), 1)

    def test_flushes_in_time(self) -> None:
        self.log.event(event(at=self.now()))
        self.clock.advance(0.019)
        self.assertEqual(self.file.writes, 0)
        self.clock.advance(2 * MILLISECOND / SECOND)
        self.assertEqual(self.file.writes, 1)

    def test_a_file_that_cannot_be_opened(self) -> None:
        error = self.assertRaises(ConfigurationError, open_log, "/no/such/folder/file")
        self.assertIn("--events /no/such/folder/file: No such file", str(error))
