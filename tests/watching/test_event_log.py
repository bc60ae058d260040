"""The event lines: their form, what a peer can do to them, when they are written."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, eventAsText, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.deadlines import Deadlines
from sessioncore.errors import ConfigurationError
from sessioncore.net.clockwork import ReactorClockwork
from sessioncore.verdict import Evidence, judge
from sessioncore.vocabulary import (
    MILLISECOND,
    SECOND,
    EndedBy,
    EndReason,
    MediaState,
    SessionRole,
)
from sessioncore.watching import event_log
from sessioncore.watching.event_log import (
    EventLog,
    LogMessages,
    json_line,
    json_lines,
    open_log,
    printable,
    text_line,
    text_lines,
)
from sessioncore.watching.outcome import CallSummary, RunEnded
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

    @settings(max_examples=200)
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
    "int | None": st.none() | st.integers(),
    "float": st.floats(),
    "float | None": st.none() | st.floats(),
    "str": st.text(),
    "str | None": st.none() | st.text(),
    "Address": st.tuples(st.text(), st.integers()),
    "Address | None": st.none() | st.tuples(st.text(), st.integers()),
    "NegotiatedMedia": st.builds(agreement),
    "tuple[str, ...]": st.lists(st.text()).map(tuple),
    "Verdict": st.just(judge(Evidence(answered=True, agreed_for=1.0, receives=True))),
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

    @settings(max_examples=300)
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


class LogMessagesTests(SynchronousTestCase):
    """Lines that go through ``twisted.logger``: one message for those of one moment."""

    def setUp(self) -> None:
        self.logged: list[Any] = []
        logger: Any = Logger(namespace="made.up", observer=self.logged.append)
        self.clock = Clock()
        self.clockwork = ReactorClockwork(self.clock)
        self.clockwork.start()
        self.log = EventLog(
            LogMessages(logger), text_lines, self.clockwork.deadlines, event_log.LOG_AFTER
        )

    def text(self) -> str:
        return str(eventAsText(self.logged[-1], includeTimestamp=False))

    def test_lines_of_one_moment_are_one_message(self) -> None:
        first, second = event(at=self.clockwork.now()), event(session="4", at=self.clockwork.now())
        self.log.event(first)
        self.log.event(second)
        self.clock.advance(0.15)
        self.assertEqual(self.logged, [])
        self.clock.advance(0.1)
        self.assertEqual(len(self.logged), 1)
        self.assertEqual(formatEvent(self.logged[0]) + "\n", text_line(first) + text_line(second))
        self.assertIn("[made.up#info] [UAS] Event: CallAnswered", self.text())

    def test_what_waits_is_written_at_the_end(self) -> None:
        self.log.event(event())
        self.log.close()
        self.assertEqual(len(self.logged), 1)
        self.assertEqual(self.log.lost, 0)

    def test_a_peer_cannot_reach_into_the_format(self) -> None:
        self.log.event(event(call_id="{lines}{0}{log_time"))
        self.log.close()
        self.assertIn("Call-ID: {lines}{0}{log_time", self.text())


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
            {
                "by": "local",
                "text": "x",
                "status": None,
                "cause": None,
                "reasons": [],
                "required": [],
                "realms": [],
            },
        )

    def test_addresses_with_a_port_read_as_in_rfc_5952(self) -> None:
        given = event(events.MediaFlowEstablished, ("2001:db8::4", 4000), ("192.0.2.7", 5004))
        line = text_line(given)
        self.assertIn(", Local: [2001:db8::4]:4000, Remote: 192.0.2.7:5004", line)
        given = event(events.MediaFlowEstablished, ("192.0.2.7", 5004), ('fe80::4%\n"', 4000))
        line = text_line(given)
        self.assertIn(", Local: 192.0.2.7:5004, Remote: [fe80::4]:4000", line)
        given = event(events.MediaFlowEstablished, ("a b", 1), None)
        self.assertIn(', Local: "a b:1", Remote: none', text_line(given))
        audio = agreement().audio
        audio = attrs.evolve(audio, local=("2001:db8::4", 6), remote=("2001:db8::9", 8))
        media = attrs.evolve(agreement(), streams=(audio,))
        self.assertIn(" [2001:db8::4]:6 <-> [2001:db8::9]:8 ", str(media))
        self.assertIn(str(media), text_line(event(events.MediaNegotiated, media)))

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
            events.VerdictChanged: (judge(Evidence()),),
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
    room: int | None = None
    """Bytes till the disk is full."""
    error: Exception | None = OSError(errno.ENOSPC, "No space left on device")
    pipe = False

    def write(self, data: Any) -> Any:
        self.writes += 1
        if self.room == 0 and self.error is not None:
            raise self.error
        if self.room == 0:
            return None
        if self.room is not None:
            data = data[: self.room]
            self.room -= len(data)
        return super().write(data)

    def tell(self) -> int:
        if self.pipe:
            raise io.UnsupportedOperation("underlying stream is not seekable")
        return super().tell()


class EventLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clockwork = ReactorClockwork(self.clock)
        self.clockwork.start()
        self.file = _File()
        self.log = EventLog(self.file, text_lines, self.clockwork.deadlines)
        self.told: list[Any] = []
        logger = Logger(namespace="sessioncore.watching.event_log", observer=self.told.append)
        self.patch(event_log, "_log", logger)

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
        for outage in (1, 2):
            self.file.room = 0
            for _ in range(3):
                self.write(event())
            self.assertEqual(self.log.lost, 3 * outage)
            self.assertEqual(len(self.told), 2 * outage - 1)
            self.file.room = None
            for _ in range(2):
                self.write(event())
            self.assertEqual(self.file.getvalue().count(b"\n"), 2 * outage)
            self.assertEqual(len(self.told), 2 * outage)
            self.assertEqual(
                formatEvent(self.told[-1]), "lines about calls are written again; 3 were lost"
            )

    def write(self, *given: Any) -> None:
        for each in given:
            self.log.event(each)
        self.log.flush()

    def test_no_line_in_a_file_is_cut_off(self) -> None:
        given = [event(session=str(number)) for number in range(4)]
        first, size = text_line(event(session="first")), len(text_line(given[0]))
        for room in range(4 * size):
            self.file.__init__()  # type: ignore[misc]
            self.log._lost = 0
            self.file.room = None
            self.write(event(session="first"))
            self.file.room = room
            self.write(*given)
            whole = room // size
            self.assertEqual(self.file.getvalue().decode(), first + text_lines(given[:whole]))
            self.assertEqual(self.log.lost, 4 - whole)
            self.file.room = None
            self.write(given[3])
            self.assertEqual(
                self.file.getvalue().decode(), first + text_lines([*given[:whole], given[3]])
            )
        self.assertEqual(len(self.told), 2 * 4 * size)

    def test_a_line_cut_off_in_a_pipe_is_ended(self) -> None:
        given = [event(session=str(number)) for number in range(3)]
        lines = text_lines(given).encode()
        size = len(lines) // 3
        self.file.pipe = True
        self.file.room = size + 5
        self.write(*given)
        self.assertEqual(self.log.lost, 2)
        self.file.room = 0
        self.write(given[0])
        self.file.room = 1 + size  # the end of what was cut off, and a line
        self.write(given[2], given[2])
        self.file.room = None
        self.write(given[1])
        self.assertEqual(
            self.file.getvalue().splitlines(keepends=True),
            [lines[:size], lines[size : size + 5] + b"\n", lines[2 * size :], lines[size:-size]],
        )
        self.assertEqual((self.log.lost, len(self.told)), (4, 2))
        self.assertEqual(self.told[-1]["lost"], 4)

    def test_what_others_wrote_after_a_line_cut_off_stays(self) -> None:
        self.file.room = 5
        end = self.file.tell
        self.patch(self.file, "tell", lambda: end() - 1)
        self.write(event())
        self.file.room = None
        self.write(event())
        cut, line = self.file.getvalue().decode().splitlines(keepends=True)
        self.assertEqual((cut, line), (text_line(event())[:5] + "\n", text_line(event())))

    def test_what_does_not_block_and_has_no_room(self) -> None:
        self.file.room, self.file.error = 5, None
        self.write(event())
        self.assertEqual((self.log.lost, self.file.getvalue()), (1, b""))
        self.assertIn("temporarily unavailable", str(self.told[0]["error"]))

    def test_the_limit_on_the_size_of_a_file(self) -> None:
        line = json_line(event())
        for mode in ("ab", "wb"):
            path = self.mktemp()
            with open(path, mode, buffering=0) as file:
                log = EventLog(file, json_lines)
                log.event(event())
                limits = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (2 * len(line) + 5, limits[1]))
                try:
                    log.event(event())
                    log.event(event())
                finally:
                    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
                log.event(event())
            self.assertEqual(log.lost, 1)
            self.assertEqual(Path(path).read_text(), 3 * line)

    def test_a_reader_that_comes_back(self) -> None:
        path = self.mktemp()
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        log = EventLog(open_log(path), json_lines)
        self.addCleanup(log.close)
        os.close(reader)
        log.event(event())
        self.assertEqual(log.lost, 1)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        log.event(event())
        self.assertEqual(os.read(reader, 4096).decode(), json_line(event()))

    def test_a_named_pipe_is_never_waited_for(self) -> None:
        """Neither for somebody to open it, nor for somebody to read it."""
        path = self.mktemp()
        os.mkfifo(path)
        error = self.assertRaises(ConfigurationError, open_log, path)
        self.assertIn(f"--events {path}: No such device or address", str(error))
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        log = EventLog(open_log(path), json_lines)
        self.addCleanup(log.close)
        for _ in range(1000):  # more than it has room for
            log.event(event())
        self.assertGreater(log.lost, 100)

    def test_reopened_after_it_was_moved(self) -> None:
        path = self.mktemp()
        log = EventLog(open_log(path), json_lines, Deadlines())
        log.event(event())
        os.rename(path, f"{path}.1")
        log.reopen(lambda: open_log(path))
        log.event(event())
        log.close()
        for name in (path, f"{path}.1"):
            self.assertEqual(Path(name).read_text(), json_line(event()))

    def test_reopened_because_it_was_full(self) -> None:
        self.file.room = 0
        self.write(event(), event())
        other = _File()
        self.log.reopen(lambda: other)
        self.assertEqual((self.log.lost, len(self.told), self.told[-1]["lost"]), (2, 2, 2))
        self.write(event())
        self.assertEqual(other.getvalue().count(b"\n"), 1)

    def test_what_cannot_be_reopened_stays_open(self) -> None:
        path = self.mktemp()
        log = EventLog(open_log(path), json_lines, Deadlines())
        self.assertRaises(ConfigurationError, log.reopen, lambda: open_log("/no/such/file"))
        log.event(event())
        log.close()
        self.assertEqual(Path(path).read_text(), json_line(event()))

    def test_standard_output_stays_open(self) -> None:
        with open(self.mktemp(), "w+") as out:
            self.patch(sys, "__stdout__", out)
            log = EventLog(open_log("-"), json_lines)
            log.event(event())
            log.close()
            out.seek(0, os.SEEK_END)
            out.write("after\n")
            out.seek(0)
            self.assertEqual(out.read(), json_line(event()) + "after\n")

    def test_flushes_in_time(self) -> None:
        self.log.event(event(at=self.now()))
        self.clock.advance(0.019)
        self.assertEqual(self.file.writes, 0)
        self.clock.advance(2 * MILLISECOND / SECOND)
        self.assertEqual(self.file.writes, 1)

    def test_who_may_read_a_new_file(self) -> None:
        self.addCleanup(os.umask, os.umask(0o027))
        path = self.mktemp()
        open_log(path).close()
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o640)

    def test_a_file_that_cannot_be_opened(self) -> None:
        error = self.assertRaises(ConfigurationError, open_log, "/no/such/folder/file")
        self.assertIn("--events /no/such/folder/file: No such file", str(error))
