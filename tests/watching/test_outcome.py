"""When a call counts as one with audio both ways."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.media.hearing import ExpectedTones, Listener
from sessioncore.session.call import Call
from sessioncore.testing.tones import sine
from sessioncore.vocabulary import Direction, EndedBy, MediaState, SessionRole
from sessioncore.watching.outcome import CallLedger, CallSummary, Outcome, Requirements
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

    def finish(self, call: Call, sent: int, received: int, due: int | None = None) -> CallSummary:
        self.manager.count(call, sent, received, due)
        self.manager.ended(call)
        return self.summaries[-1]

    def test_audio_both_ways(self) -> None:
        call = self.call()
        self.manager.answered(call)
        self.manager.clock.advance(2)
        summary = self.finish(call, 95, 95)
        self.assertTrue(summary.passed)
        self.assertTrue(summary.answered)
        self.assertEqual((summary.duration, summary.judgement), (2.0, "two_way"))
        self.assertEqual(self.ledger.outcome, Outcome(1, 1))

    def test_everything_has_its_place(self) -> None:
        call = self.call()
        self.manager.answered(call)
        self.manager.clock.advance(2.00004)
        self.manager.know(call, jitter=0.00123456, remote_lost=6)
        at = self.manager.clockwork.now()
        self.assertEqual(
            attrs.asdict(self.finish(call, 96, 5, 100)),
            {
                "session": call.session,
                "call_id": call.call_id,
                "role": SessionRole.UAC,
                "media_state": MediaState.IDLE,
                "at": at,
                "remote_uri": call.remote_uri,
                "answered": True,
                "passed": False,
                "duration": 2.0,
                "judgement": "rx_loss",
                "receiving": "contradicted",
                "sending": "proven",
                "packets_sent": 96,
                "packets_confirmed": 90,
                "packets_received": 5,
                "packets_due": 100,
                "packets_lost": 95,
                "jitter_ms": 1.235,
                "expected": None,
                "heard": None,
                "cause": "network-loss-inbound",
                "problem": "answered, NO audio both ways: rx_loss, only 5 of 100 packets arrived",
                "remedy": "Look for an overloaded or disturbed link on the way from the peer.",
                "reason": "local: hung up",
            },
        )

    def test_too_little_in_one_direction(self) -> None:
        for received, lost in ((70, 0), (100, 30)):
            call = self.call()
            self.manager.answered(call)
            self.manager.clock.advance(2)
            self.manager.know(call, remote_lost=lost)
            summary = self.finish(call, 100, received, 100)
            self.assertFalse(summary.passed)
            self.assertEqual(summary.judgement, "tx_loss" if lost else "rx_loss")
        self.assertEqual(self.ledger.outcome.failed, 2)

    def test_the_least_share_is_set(self) -> None:
        for least, good in ((0.9, True), (0.7, True), (0.95, False)):
            self.ledger = CallLedger(self.summaries.append, Requirements(least=least))
            self.manager.sinks[:] = [self.ledger]
            call = self.call()
            self.manager.answered(call)
            self.assertIs(self.finish(call, 1000, 920, 1000).passed, good, least)

    def test_unconfirmed_is_good_unless_proof_is_required(self) -> None:
        for proof in (False, True):
            self.ledger = CallLedger(self.summaries.append, Requirements(proof=proof))
            self.manager.sinks[:] = [self.ledger]
            call = self.call()
            self.manager.answered(call)
            self.manager.count(call, 100, 100)
            self.manager.know(call, confirmed=0, reports=0)
            self.manager.ended(call)
            summary = self.summaries[-1]
            self.assertEqual((summary.judgement, summary.sending), ("unconfirmed",) * 2)
            self.assertIs(summary.passed, not proof)
        self.assertIn("not proven: sending unconfirmed", str(self.ledger.outcome))

    def test_a_peer_that_hangs_up_early(self) -> None:
        for duration, good in ((3.0, False), (2.2, True), (None, True)):
            self.ledger = CallLedger(self.summaries.append, Requirements(duration=duration))
            self.manager.sinks[:] = [self.ledger]
            self.manager = FakeManager()
            self.manager.sinks.append(self.ledger)
            call = self.call()
            self.manager.answered(call)
            self.manager.clock.advance(2)
            self.manager.count(call, 100, 100)
            self.manager.ended(call, by=EndedBy.REMOTE)
            self.assertIs(self.summaries[-1].passed, good, duration)
        self.assertEqual(self.summaries[0].problem, "the peer hung up after 2.0 of 3.0 s")

    def test_a_call_that_ends_by_itself_before_its_time(self) -> None:
        self.ledger = CallLedger(self.summaries.append, Requirements(duration=3.0))
        self.manager.sinks[:] = [self.ledger]
        call = self.call()
        self.manager.answered(call)
        self.manager.clock.advance(2)
        self.finish(call, 100, 100)
        self.assertEqual(
            self.summaries[-1].problem, "the call ended after 2.0 of 3.0 s: local: hung up"
        )

    def starved(self, seconds: float, received: int, **required: Any) -> CallSummary:
        """The summary of a call of 4 s in which the process did not run for so long."""
        self.ledger = CallLedger(self.summaries.append, Requirements(**required))
        self.manager = FakeManager()
        self.manager.sinks.append(self.ledger)
        call = self.call()
        self.manager.answered(call)
        self.manager.clock.advance(4)
        self.manager.know(call, stalled_for=seconds)
        return self.finish(call, 200, received, 200)

    def test_a_starved_process_blames_itself(self) -> None:
        summary = self.starved(2.0, 100)
        self.assertEqual(
            summary.problem,
            "this process was starved: it did not run for 2.0 of 4.0 s, and is itself to blame;"
            " answered, NO audio both ways: rx_loss, 100 of 200 packets arrived",
        )
        self.assertIn("starves this machine", summary.remedy or "")

    def test_a_call_that_was_starved_for_long_fails_by_that_alone(self) -> None:
        summary = self.starved(1.0, 200)
        self.assertEqual(summary.judgement, "two_way")
        self.assertEqual(
            summary.problem,
            "this process was starved: it did not run for 1.0 of 4.0 s, and is itself to blame",
        )
        self.assertTrue(self.starved(1.0, 200, least=0.7).passed)
        self.assertTrue(self.starved(0.4, 200).passed)

    def test_the_remedy_belongs_to_the_problem(self) -> None:
        self.ledger = CallLedger(self.summaries.append, Requirements(duration=3.0))
        self.manager.sinks[:] = [self.ledger]
        call = self.call()
        self.manager.answered(call)
        self.manager.clock.advance(2)
        self.manager.count(call, 100, 100)
        self.manager.know(call, other_sources=100)  # notable, and not why it ended
        self.manager.ended(call, by=EndedBy.REMOTE)
        summary = self.summaries[-1]
        self.assertEqual(summary.cause, "two-sources")
        self.assertIn("--duration 0", summary.remedy or "")

    def test_unconfirmed_calls_are_counted(self) -> None:
        for reports in (0, 1):
            call = self.call()
            self.manager.answered(call)
            self.manager.count(call, 100, 100)
            self.manager.know(call, confirmed=100 * reports, reports=reports)
            self.manager.ended(call)
        self.assertEqual(self.ledger.outcome, Outcome(2, 2, unconfirmed=1))
        self.assertIn(
            "2 calls, 2 with audio both ways (1 unconfirmed), 0 failed", str(self.ledger.outcome)
        )

    def test_never_answered(self) -> None:
        call = self.call()
        self.manager.ended(call, events.CallFailed, EndedBy.REMOTE)
        summary = self.summaries[0]
        self.assertFalse(summary.answered or summary.passed)
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
            "1 failed: answered, NO audio both ways: no_rx, nothing comes from 192.0.2.7:5004",
            str(self.ledger.outcome),
        )

    def test_nothing_of_the_peer_reaches_the_terminal_in_the_last_line(self) -> None:
        outcome = Outcome(1)
        outcome.failed_with("remote 486: \x1b[2J")
        self.assertTrue(str(outcome).endswith(": remote 486: \\u001b[2J"))

    def test_one_direction_by_agreement_is_not_both_ways(self) -> None:
        call = self.call()
        self.manager.answered(call, agreement(Direction.SENDONLY))
        self.manager.clock.advance(2)
        summary = self.finish(call, 100, 0)
        self.assertEqual((summary.judgement, summary.cause), ("one_way", "direction"))
        self.assertFalse(summary.passed)

    def test_a_call_that_ends_on_hold_counts_by_what_was_heard_before(self) -> None:
        for received in (100, 50):
            call = self.call()
            self.manager.answered(call, agreement(Direction.INACTIVE))
            self.manager.know(call, held=True)
            summary = self.finish(call, 100, received, 100)
            self.assertEqual(summary.judgement, "held")
            self.assertIs(summary.passed, received == 100)

    def test_calls_not_watched_are_no_concern(self) -> None:
        call = self.manager.new_call()
        self.manager.answered(call)
        self.manager.ended(call)
        self.assertEqual((self.summaries, self.ledger.outcome), ([], Outcome()))


class ExpectationTests(SynchronousTestCase):
    """Calls that are judged by what they hear."""

    def finish(self, hears: float, direction: Direction, **known: Any) -> CallSummary:
        summaries: list[CallSummary] = []
        manager = FakeManager()
        ledger = self.ledger = CallLedger(summaries.append)
        manager.sinks.append(ledger)
        call = manager.new_call()
        ledger.watch(call)
        listener = Listener(ExpectedTones((1000.0,)))
        ledger.judge_by(call, listener)
        manager.answered(call, agreement(direction))
        listener.write(sine(hears, 2.0))
        manager.clock.advance(2)
        manager.count(call, 100 * direction.sends, 100 * direction.receives)
        manager.know(call, **known)
        manager.ended(call)
        return summaries[0]

    def test_heard(self) -> None:
        for direction in (Direction.SENDRECV, Direction.RECVONLY):
            summary = self.finish(1000.0, direction)
            self.assertTrue(summary.passed)
            self.assertEqual(summary.expected, "1000 Hz")
            self.assertEqual(summary.heard, "1000 Hz in 100.0 % of 100 windows")
            self.assertIn("1 call, 1 heard 1000 Hz, 0 failed", str(self.ledger.outcome))

    def test_something_else_was_heard(self) -> None:
        summary = self.finish(440.0, Direction.SENDRECV)
        self.assertEqual(
            summary.problem,
            "NOT heard as expected: 1000 Hz in 0.0 % of 100 windows, 440 Hz in 100.0 %",
        )
        self.assertIsNone(summary.remedy)

    def test_a_contradicted_direction_fails_although_it_was_heard(self) -> None:
        summary = self.finish(1000.0, Direction.SENDRECV, confirmed=0, reports_without_us=2)
        self.assertEqual(summary.judgement, "no_tx")
        self.assertRegex(summary.problem or "", "^no_tx, we sent 100 packets")
        self.assertIsNotNone(summary.remedy)

    def test_both_are_said(self) -> None:
        summary = self.finish(440.0, Direction.SENDRECV, confirmed=0, reports_without_us=2)
        self.assertRegex(summary.problem or "", "^NOT heard as expected: .*; no_tx, we sent 100")


class OutcomeTests(SynchronousTestCase):
    def test_calls_that_were_not_placed(self) -> None:
        outcome = Outcome(3, 3, not_placed=7)
        self.assertFalse(outcome.good)
        self.assertTrue(str(outcome).endswith("3 with audio both ways, 0 failed, 7 not placed"))

    def test_a_report_that_was_not_written(self) -> None:
        outcome = Outcome(3, 3)
        outcome.unwritten = "--json x could not be written: No space left on device"
        self.assertFalse(outcome.good)

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
        event = Outcome(3, 1, unconfirmed=1).as_event(SessionRole.UAC, 7)
        self.assertEqual((event.calls, event.passed, event.unconfirmed, event.failed), (3, 1, 1, 2))
