"""When a call counts as one with audio both ways."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.session.call import Call
from sessioncore.vocabulary import Direction, EndedBy, MediaState, SessionRole
from sessioncore.watching.outcome import CallLedger, CallSummary, Outcome
from tests.fakes import FakeManager, agreement


class LedgerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.manager = FakeManager()
        self.summaries: list[CallSummary] = []
        self.ledger = CallLedger(self.summaries.append)
        self.manager.sinks.append(self.ledger)

    def call(self) -> Call:
        call = self.manager.new_call()
        self.ledger.watch(call)
        return call

    def finish(self, call: Call, sent: int, received: int) -> CallSummary:
        self.manager.count(call, sent, received)
        self.manager.ended(call)
        return self.summaries[-1]

    def test_audio_both_ways(self) -> None:
        call = self.call()
        self.manager.answered(call)
        self.manager.active(call)
        self.manager.clock.advance(2)
        summary = self.finish(call, 95, 95)
        self.assertTrue(summary.audio_both_ways)
        self.assertTrue(summary.answered)
        self.assertEqual(
            (summary.duration, summary.packets_to_send, summary.packets_to_receive),
            (2.0, 100, 100),
        )
        self.assertEqual(self.ledger.outcome, Outcome(1, 1))

    def test_everything_has_its_place(self) -> None:
        call = self.call()
        self.manager.answered(call)
        self.manager.active(call)
        self.manager.clock.advance(2)
        statistics: Any = call.statistics
        statistics.lost, statistics.jitter_ms = 7, 1.23456
        at = self.manager.clockwork.now()
        self.assertEqual(
            attrs.asdict(self.finish(call, 96, 5)),
            {
                "session": call.session,
                "call_id": call.call_id,
                "role": SessionRole.UAC,
                "media_state": MediaState.IDLE,
                "at": at,
                "remote_uri": call.remote_uri,
                "answered": True,
                "audio_both_ways": False,
                "duration": 2.0,
                "packets_sent": 96,
                "packets_to_send": 100,
                "packets_received": 5,
                "packets_to_receive": 100,
                "packets_lost": 7,
                "jitter_ms": 1.235,
                "problem": "nothing has come of 100",
                "reason": "local: hung up",
            },
        )

    def test_too_little_in_one_direction(self) -> None:
        for sent, received in ((94, 100), (100, 94)):
            call = self.call()
            self.manager.answered(call)
            self.manager.active(call)
            self.manager.clock.advance(2)
            summary = self.finish(call, sent, received)
            self.assertFalse(summary.audio_both_ways)
            self.assertEqual(summary.problem, "nothing has come of 100" if received == 94 else None)
        self.assertEqual(self.ledger.outcome.failed, 2)

    def test_never_active(self) -> None:
        call = self.call()
        self.manager.answered(call)
        self.manager.clock.advance(2)
        self.assertFalse(self.finish(call, 100, 100).audio_both_ways)

    def test_never_answered(self) -> None:
        call = self.call()
        self.manager.ended(call, events.CallFailed, EndedBy.REMOTE)
        summary = self.summaries[0]
        self.assertFalse(summary.answered or summary.audio_both_ways)
        self.assertEqual(summary.reason, "remote: hung up")

    def test_the_last_line_says_why_the_first_call_failed(self) -> None:
        outcome = Outcome(1, 1)
        self.assertTrue(str(outcome).endswith(", 0 failed"))
        self.manager.ended(self.call(), events.CallFailed, EndedBy.REMOTE)
        self.assertTrue(str(self.ledger.outcome).endswith(", 1 failed: remote: hung up"))
        self.ledger.never_placed("another reason")
        call = self.call()
        self.manager.answered(call)
        self.finish(call, 0, 0)
        self.assertTrue(str(self.ledger.outcome).endswith(", 3 failed, the first: remote: hung up"))

    def test_the_last_line_says_that_an_answered_call_was_not_heard(self) -> None:
        call = self.call()
        self.manager.answered(call)
        self.manager.clock.advance(2)
        self.finish(call, 100, 0)
        self.assertIn(
            "1 failed: answered, NO audio both ways: nothing has come", str(self.ledger.outcome)
        )

    def test_nothing_of_the_peer_reaches_the_terminal_in_the_last_line(self) -> None:
        outcome = Outcome(1)
        outcome.failed_with("remote 486: \x1b[2J")
        self.assertTrue(str(outcome).endswith(": remote 486: \\u001b[2J"))

    def test_only_allowed_directions_count(self) -> None:
        call = self.call()
        self.manager.answered(call, agreement(Direction.SENDONLY))
        self.manager.active(call)
        self.manager.clock.advance(2)
        self.assertTrue(self.finish(call, 100, 0).audio_both_ways)

    def test_a_hold_in_the_middle(self) -> None:
        call = self.call()
        self.manager.answered(call)
        self.manager.active(call)
        self.manager.clock.advance(1)
        self.manager.answered(call, agreement(Direction.INACTIVE))
        self.manager.clock.advance(10)
        self.manager.answered(call, agreement(ptime=10))
        self.manager.clock.advance(1)
        summary = self.finish(call, 150, 150)
        self.assertEqual(summary.packets_to_send, 150)
        self.assertTrue(summary.audio_both_ways)

    def test_nothing_is_expected_while_the_bye_is_answered(self) -> None:
        call = self.call()
        self.manager.answered(call)
        self.manager.active(call)
        self.manager.clock.advance(1)
        self.ledger.hanging_up(call.session, self.manager.clockwork.now())
        self.manager.clock.advance(4)
        self.assertEqual(self.finish(call, 50, 50).packets_to_receive, 50)

    def test_calls_not_watched_are_no_concern(self) -> None:
        call = self.manager.new_call()
        self.manager.answered(call)
        self.manager.ended(call)
        self.assertEqual((self.summaries, self.ledger.outcome), ([], Outcome()))


class OutcomeTests(SynchronousTestCase):
    def test_words(self) -> None:
        self.assertEqual(
            str(Outcome(1, 1)), "sessioncore: 1 call, 1 with audio both ways, 0 failed"
        )
        self.assertEqual(
            str(Outcome(3, 1)), "sessioncore: 3 calls, 1 with audio both ways, 2 failed"
        )

    def test_good_needs_a_call(self) -> None:
        self.assertFalse(Outcome().good)
        self.assertTrue(Outcome(2, 2).good)
        self.assertFalse(Outcome(2, 1).good)

    def test_as_event(self) -> None:
        event = Outcome(3, 1).as_event(SessionRole.UAC, 7)
        self.assertEqual((event.calls, event.audio_both_ways, event.failed), (3, 1, 2))
