"""A run of calls: pace, duration, recordings, and when it is over."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.daemon.calling import CallPlan, CallRun
from sessioncore.media.hearing import ExpectedTones
from sessioncore.media.sinks import Record
from sessioncore.media.sources import Tone
from sessioncore.testing.tones import sine
from sessioncore.watching.outcome import CallLedger, Outcome
from sessioncore.watching.report import RunReport
from tests.fakes import FakeManager


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.manager = FakeManager()
        self.ledger = CallLedger(lambda summary: None)
        self.manager.sinks.append(self.ledger)

    def start(self, **plan: object) -> Deferred[Outcome]:
        self.plan = CallPlan(uris=("sip:a@192.0.2.7",), **plan)  # type: ignore[arg-type]
        self.run = CallRun(self.manager, self.plan, self.ledger)  # type: ignore[arg-type]
        return self.run.start()

    def did(self, what: str) -> int:
        return sum(1 for done, _ in self.manager.did if done == what)

    def test_one_call(self) -> None:
        over = self.start(source=Tone(), record="heard.wav", duration=2.0)
        (call,) = self.manager.calls
        asked = self.manager.asked[0]
        self.assertEqual(asked["source"], Tone())
        self.assertEqual(asked["sink"], [Record("heard.wav")])
        self.manager.clock.advance(1)
        self.manager.answered(call)
        self.manager.active(call)
        self.manager.clock.advance(1.9)
        self.assertEqual(self.did("hang up"), 0)
        self.manager.clock.advance(0.2)
        self.assertEqual(self.did("hang up"), 1)
        self.assertNoResult(over)
        self.manager.count(call, 100, 100)
        self.manager.ended(call)
        self.assertEqual(self.successResultOf(over), Outcome(1, 1))

    def test_pace(self) -> None:
        self.start(calls=20, rate=10.0)
        self.assertEqual(self.did("place"), 1)
        self.manager.clock.advance(0.1001)
        self.assertEqual(self.did("place"), 2)
        # A clock that jumps does not change how many there are in the end.
        self.manager.clock.advance(0.8)
        self.assertEqual(self.did("place"), 10)
        self.manager.clock.advance(10)
        self.assertEqual(self.did("place"), 20)

    def test_each_call_has_a_recording_of_its_own(self) -> None:
        self.start(calls=2, record="/x/heard.wav", rate=1000.0)
        self.manager.clock.advance(1)
        names = [str(asked["sink"][0].path) for asked in self.manager.asked]
        self.assertEqual(names, ["/x/heard-1.wav", "/x/heard-2.wav"])

    def test_a_listener_hears_what_comes_after_the_answer(self) -> None:
        over = self.start(duration=2.0, record="heard.wav", expect=ExpectedTones((1000.0,)))
        (call,) = self.manager.calls
        record, listener = self.manager.asked[0]["sink"]
        self.assertEqual(record, Record("heard.wav"))
        listener.write(sine(440, 3.0))  # it rings
        self.manager.answered(call)
        listener.write(sine(1000, 2.0))
        self.manager.clock.advance(2)
        self.manager.count(call, 100, 100)
        self.manager.ended(call)
        outcome = self.successResultOf(over)
        self.assertEqual((outcome.passed, outcome.wanted), (1, "heard 1000 Hz"))

    def test_what_was_not_placed_is_counted(self) -> None:
        self.start(calls=20, rate=10.0)
        self.manager.clock.advance(0.1001)
        self.run.stop()
        self.run.stop()
        self.assertEqual(self.ledger.outcome.not_placed, 18)

    def test_a_report_follows_the_calls(self) -> None:
        report = RunReport()
        self.manager.unusable.add("sip:c@192.0.2.7")
        plan = CallPlan(uris=("sip:a@192.0.2.7", "sip:c@192.0.2.7"), calls=2, rate=1000.0)
        run = CallRun(self.manager, plan, self.ledger, report=report)  # type: ignore[arg-type]
        run.start()
        self.manager.clock.advance(1)
        (call,) = self.manager.calls
        self.manager.ended(call, events.CallFailed)
        (only,) = report.records  # the other waits for its summary
        self.assertIn('"uri":"sip:c@192.0.2.7"', only)

    def test_over_when_the_last_is(self) -> None:
        over = self.start(calls=2, rate=1000.0)
        self.manager.clock.advance(1)
        first, second = self.manager.calls
        self.manager.ended(first, events.CallFailed)
        self.assertNoResult(over)
        self.manager.ended(second, events.CallFailed)
        self.assertEqual(self.successResultOf(over), Outcome(2, 0))

    def test_a_call_that_cannot_be_prepared_has_failed(self) -> None:
        self.manager.unusable.add("sip:a@192.0.2.7")
        self.assertEqual(self.successResultOf(self.start(calls=1)), Outcome(1, 0))

    def test_without_duration_the_peer_decides(self) -> None:
        over = self.start(duration=None)
        (call,) = self.manager.calls
        self.manager.answered(call)
        self.manager.clock.advance(3600)
        self.assertEqual(self.did("hang up"), 0)
        self.manager.ended(call)
        self.successResultOf(over)

    def test_how_long_a_call_may_ring_is_the_sessions_to_say(self) -> None:
        # It ends with `timeout 408: nobody answered`, which a hang-up of ours would hide.
        self.start()
        self.manager.clock.advance(200)
        self.assertEqual(self.did("hang up"), 0)

    def test_an_answered_call_may_last(self) -> None:
        self.start(duration=1000.0)
        self.manager.answered(self.manager.calls[0])
        self.manager.clock.advance(200)
        self.assertEqual(self.did("hang up"), 0)

    def test_stop_places_no_more(self) -> None:
        over = self.start(calls=20, rate=10.0)
        self.run.stop()
        self.manager.clock.advance(10)
        self.assertEqual(self.did("place"), 1)
        self.assertFalse(self.run.over)
        self.manager.ended(self.manager.calls[0])
        self.successResultOf(over)
        self.assertTrue(self.run.over)
