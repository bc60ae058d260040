"""The line that follows each call of ``sessioncore call``."""

from __future__ import annotations

import io
import os
import re
import shutil
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.media.hearing import ExpectedTones, Listener
from sessioncore.testing.tones import sine
from sessioncore.vocabulary import SECOND
from sessioncore.watching.live_lines import LiveLines
from sessioncore.watching.outcome import CallLedger
from tests.fakes import FakeManager


def screen(written: str) -> list[str]:
    """What is on a terminal after that."""
    lines: list[str] = []
    at = 0
    for part in re.split(r"(\x1b\[[0-9]*[AJ]|\n)", written):
        if part == "\x1b[J":
            del lines[at:]
        elif part.endswith("A") and part.startswith("\x1b"):
            at -= int(part[2:-1])
        elif part == "\n":
            at += 1
        elif part:
            lines[at:] = [part]
    return lines


class LiveLinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.manager = FakeManager()
        self.out = io.StringIO()
        self.terminal(24)

    def terminal(self, lines: int) -> None:
        self.patch(shutil, "get_terminal_size", lambda: os.terminal_size((80, lines)))

    def follow(self, *, terminal: bool) -> None:
        lines = self.lines = LiveLines(self.out, terminal=terminal)
        self.ledger = CallLedger(lines.event)
        self.manager.sinks += [lines, self.ledger]

    def run_call(self, uri: str = "sip:b@h") -> None:
        call = self.manager.new_call(uri)
        self.ledger.watch(call)
        self.manager.tell(call, events.OutgoingCallPrepared, uri)
        self.manager.tell(call, events.CallInitiated, uri)
        self.manager.answered(call)
        self.manager.active(call)
        self.manager.clock.advance(1)
        self.manager.count(call, 50, 50)
        self.manager.ended(call)

    def test_a_line_per_change(self) -> None:
        self.follow(terminal=False)
        self.run_call()
        lines = self.out.getvalue().splitlines()
        self.assertEqual(
            [line.split("  ")[-1] for line in lines[:-1]],
            ["prepared", "calling", "answered", "audio both ways"],
        )
        self.assertIn(
            "ended after 1.0 s, audio both ways (two_way): received 50 of 50, sent 50, 50 arrived",
            lines[-1],
        )

    def test_what_a_verdict_says_while_the_call_is_up(self) -> None:
        self.follow(terminal=False)
        call = self.manager.new_call("sip:b@h")
        self.manager.tell(call, events.OutgoingCallPrepared, "sip:b@h")
        self.manager.answered(call)
        for evidence in ({}, {"reports": 0, "confirmed": 0}, {"received": 0, "rtp_ago": None}):
            self.manager.count(call, 500, 500)
            self.manager.know(call, agreed_for=10.0, **evidence)
            self.manager.tell(call, events.VerdictChanged, call.verdict)
        said = [line.split("  ")[-1] for line in self.out.getvalue().splitlines()]
        self.assertEqual(
            said[2:],
            [
                "audio both ways, proven",
                "no_rx: nothing comes from 192.0.2.7:5004 to 192.0.2.1:40000",
            ],
        )

    def test_what_was_wrong_comes_first(self) -> None:
        self.follow(terminal=False)
        call = self.manager.new_call("sip:b@h")
        self.ledger.watch(call)
        self.manager.tell(call, events.OutgoingCallPrepared, "sip:b@h")
        self.manager.answered(call)
        self.manager.clock.advance(4)
        self.manager.count(call, 200, 0)
        self.manager.ended(call)
        last = self.out.getvalue().splitlines()[-1]
        self.assertRegex(
            last,
            r"ended after 4\.0 s, FAILED: answered, NO audio both ways: no_rx, nothing comes from"
            r" .*\. Look for .* \(no_rx, received 0 of 0, sent 200, 200 arrived: local: hung up\)$",
        )

    def test_a_process_that_did_not_run_says_so_even_if_all_is_well(self) -> None:
        self.follow(terminal=False)
        call = self.manager.new_call("sip:b@h")
        self.ledger.watch(call)
        self.manager.tell(call, events.OutgoingCallPrepared, "sip:b@h")
        self.manager.answered(call)
        self.manager.clock.advance(60)
        self.manager.count(call, 3000, 3000)
        self.manager.know(call, stalled_for=3.0)
        self.manager.ended(call)
        last = self.out.getvalue().splitlines()[-1]
        self.assertTrue(last.endswith("; this process did not run all the time"), last)

    def test_what_was_heard(self) -> None:
        self.follow(terminal=False)
        call = self.manager.new_call("sip:b@h")
        listener = Listener(ExpectedTones((1000.0,)))
        listener.write(sine(1000, 1.0))
        self.ledger.watch(call)
        self.ledger.judge_by(call, listener)
        self.manager.tell(call, events.OutgoingCallPrepared, "sip:b@h")
        self.manager.answered(call)
        self.manager.clock.advance(1)
        self.manager.count(call, 50, 50)
        self.manager.ended(call)
        self.assertIn("heard 1000 Hz in 100.0 % of 50 windows (two_way)", self.out.getvalue())

    def test_a_failed_call(self) -> None:
        self.follow(terminal=False)
        call = self.manager.new_call("sip:b@h")
        self.ledger.watch(call)
        self.manager.tell(call, events.OutgoingCallPrepared, "sip:b@h")
        self.manager.ended(call, events.CallFailed)
        self.assertTrue(self.out.getvalue().endswith("failed: local: hung up\n"))

    def test_redrawn_in_place(self) -> None:
        self.follow(terminal=True)
        self.run_call()
        text = self.out.getvalue()
        # Each time up over what was drawn before, but over nothing the first time.
        self.assertTrue(text.startswith("\x1b[J"), repr(text))
        self.assertEqual(text.count("\x1b[1A"), 4)

    def waiting(self, *, terminal: bool) -> Any:
        """A call that nobody answers, and its line."""
        self.follow(terminal=terminal)
        call = self.manager.new_call("sip:b@h")
        self.ledger.watch(call)
        self.manager.tell(call, events.OutgoingCallPrepared, "sip:b@h")
        self.manager.tell(call, events.CallInitiated, "sip:b@h")
        return call

    def look(self, seconds: int) -> None:
        for _ in range(seconds):
            self.manager.clock.advance(1)
            self.lines.look(round(self.manager.clock.seconds() * SECOND))

    def test_progress_while_nobody_answers(self) -> None:
        call = self.waiting(terminal=False)
        self.look(12)
        self.manager.tell(call, events.CallRinging, 180)
        self.look(10)
        self.manager.answered(call)
        self.look(10)
        self.assertEqual(
            [line.split("  ")[-1] for line in self.out.getvalue().splitlines()],
            [
                "prepared",
                "calling",
                "calling, no response for 5 s",
                "calling, no response for 10 s",
                "ringing",
                "ringing for 20 s",
                "answered",
            ],
        )

    def test_progress_is_redrawn_on_a_terminal(self) -> None:
        self.waiting(terminal=True)
        self.look(7)
        self.assertEqual(
            screen(self.out.getvalue()), ["   1  sip:b@h  calling, no response for 7 s"]
        )
        drawn = self.out.getvalue()
        self.lines.look(round(self.manager.clock.seconds() * SECOND))
        self.assertEqual(self.out.getvalue(), drawn, "nothing new is not drawn")

    def test_the_last_line_of_a_call_is_whole_however_narrow_the_terminal(self) -> None:
        self.follow(terminal=True)
        uri = f"sip:{'b' * 60}@h"
        self.run_call(uri)
        last = screen(self.out.getvalue())[-1]
        self.assertIn(uri, last)
        self.assertTrue(last.endswith("50 arrived: local: hung up"), last)

    def test_a_long_uri_is_cut_before_what_happens(self) -> None:
        self.follow(terminal=True)
        uri = f"sip:{'b' * 100}@h"
        call = self.manager.new_call(uri)
        self.manager.tell(call, events.OutgoingCallPrepared, uri)
        (line,) = screen(self.out.getvalue())
        self.assertTrue(line.endswith("bbb...  prepared"), line)
        self.assertEqual(len(line), 79)

    def test_nothing_of_a_reason_reaches_the_terminal(self) -> None:
        call = self.waiting(terminal=False)
        self.manager.ended(call, events.CallFailed, text="\x1b[2J")
        self.assertNotIn("\x1b", self.out.getvalue())
        self.assertIn("failed: local: \\u001b[2J", self.out.getvalue())

    def test_many_calls_print_their_ends_only(self) -> None:
        self.follow(terminal=True)
        calls = [self.manager.new_call(f"sip:{number}@h") for number in range(30)]
        for call in calls:
            self.ledger.watch(call)
            self.manager.tell(call, events.OutgoingCallPrepared, call.remote_uri)
        drawn = self.out.getvalue()
        self.manager.ended(calls[0])
        self.assertEqual(self.out.getvalue()[len(drawn) :].count("\n"), 1)

    def test_no_end_is_written_over(self) -> None:
        for most, ended in ((20, 0), (30, 10), (45, 25)):
            self.setUp()
            self.follow(terminal=True)
            calls = [self.manager.new_call(f"sip:{number}@h") for number in range(most)]
            for call in calls:
                self.ledger.watch(call)
                self.manager.tell(call, events.OutgoingCallPrepared, call.remote_uri)
            for call in calls[:ended]:
                self.manager.ended(call)
            half = screen(self.out.getvalue())
            self.assertEqual(
                [line.split()[2] for line in half], ["ended"] * ended + ["prepared"] * 20
            )
            for call in calls[ended:]:
                self.manager.ended(call)
            self.assertEqual(
                [line.split()[:3] for line in screen(self.out.getvalue())],
                [[str(number), f"sip:{number - 1}@h", "ended"] for number in range(1, most + 1)],
            )

    def test_no_more_lines_than_the_terminal_has(self) -> None:
        self.terminal(8)
        self.follow(terminal=True)
        for number in range(7):
            call = self.manager.new_call(f"sip:{number}@h")
            self.manager.tell(call, events.OutgoingCallPrepared, call.remote_uri)
        self.assertEqual(len(screen(self.out.getvalue())), 6)

    def test_nothing_of_the_peer_reaches_the_terminal(self) -> None:
        self.follow(terminal=False)
        self.run_call("sip:\x1b[2J@h")
        self.assertNotIn("\x1b", self.out.getvalue())

    def test_a_reader_that_is_gone(self) -> None:
        self.follow(terminal=False)
        self.out.close()
        self.run_call()
