"""The handle of a call: milestones, late subscribers, cancellation."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import CallFailed, CallOver, OneWayByAgreement
from sessioncore.session.call import Call, Milestone
from sessioncore.session.session import SessionState
from sessioncore.vocabulary import EndedBy, EndReason, MediaState, SessionRole

REASON = EndReason(EndedBy.REMOTE, "busy", 486, 17)


class MilestoneTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.milestone = Milestone()

    def test_early_and_late_subscribers(self) -> None:
        early = self.milestone.wait()
        self.assertNoResult(early)
        self.assertFalse(self.milestone.settled)
        self.milestone.settle("reached")
        self.assertTrue(self.milestone.settled)
        self.assertEqual(self.successResultOf(early), "reached")
        self.assertEqual(self.successResultOf(self.milestone.wait()), "reached")

    def test_failure_of_early_and_late_subscribers(self) -> None:
        early = self.milestone.wait()
        self.milestone.settle(CallFailed(REASON))
        for each in (early, self.milestone.wait()):
            self.assertIs(self.failureResultOf(each, CallFailed).value.reason, REASON)

    def test_only_the_first_outcome_counts(self) -> None:
        self.milestone.settle("reached")
        self.milestone.settle(CallFailed(REASON))
        self.assertEqual(self.successResultOf(self.milestone.wait()), "reached")

    def test_each_has_a_deferred_of_its_own(self) -> None:
        one, other = self.milestone.wait(), self.milestone.wait()
        one.addCallback(lambda _: "changed")
        self.milestone.settle("reached")
        self.assertEqual(self.successResultOf(other), "reached")

    def test_cancelling_ends_that_wait_and_nothing_else(self) -> None:
        one, other = self.milestone.wait(), self.milestone.wait()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.milestone.settle("reached")
        self.assertEqual(self.successResultOf(other), "reached")

    def test_a_subscriber_that_subscribes_and_cancels_while_it_is_told(self) -> None:
        one, other = self.milestone.wait(), self.milestone.wait()
        later: list[Deferred[Any]] = []

        def told(result: object) -> object:
            later.append(self.milestone.wait())
            other.cancel()
            return result

        one.addCallback(told)
        self.milestone.settle("reached")
        self.assertEqual(self.successResultOf(later[0]), "reached")
        self.failureResultOf(other, CancelledError)


class FakeLeg:
    role = SessionRole.UAS
    name = "7"
    call_id = "id@host"
    state = SessionState.INCOMING
    reason: EndReason | None = None
    local_uri = "sip:us@here"
    remote_uri = "sip:them@there"
    media_state = MediaState.NEGOTIATING
    negotiated_media = None
    local_rtp = ("192.0.2.1", 40_000)
    remote_rtp = ("192.0.2.2", 40_000)
    transmitting = True
    media_statistics = None
    media_counts = None

    def media_problem(self, due: int | None = None) -> str | None:
        return None if due is None else f"not {due}"


class FakeControl:
    """Writes down what it is asked; `outcome` is what `place` and `answer` return."""

    def __init__(self) -> None:
        self.did: list[tuple[Any, ...]] = []
        self.outcome: Deferred[None] = Deferred()

    def place(self, leg: Any) -> Deferred[None]:
        self.did.append(("place", leg))
        return self.outcome

    def answer(self, leg: Any, source: object, sink: object) -> Deferred[None]:
        self.did.append(("answer", leg, source, sink))
        return self.outcome

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **named: self.did.append((name, *given, *named.values()))


class CallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.leg: Any = FakeLeg()
        self.control: Any = FakeControl()
        self.call = Call(self.leg, self.control)

    def test_what_it_is(self) -> None:
        call, leg = self.call, self.leg
        self.assertEqual(
            (call.role, call.session, call.call_id, call.state),
            (leg.role, leg.name, leg.call_id, leg.state),
        )
        self.assertEqual((call.local_uri, call.remote_uri), (leg.local_uri, leg.remote_uri))
        self.assertEqual((call.local_rtp, call.remote_rtp), (leg.local_rtp, leg.remote_rtp))
        self.assertEqual(call.media_state, leg.media_state)
        self.assertTrue(call.transmitting)
        self.assertIsNone(call.statistics)
        self.assertIsNone(call.packet_counts)
        self.assertIsNone(call.why_silent)
        self.assertEqual(call.why_too_little(45), "not 45")
        self.assertIsNone(call.end_reason)
        self.assertIsNone(call.negotiated_media)
        self.assertEqual(repr(call), "<Call 7 UAS Incoming media Negotiating>")

    def test_what_it_hands_on(self) -> None:
        leg = self.leg
        self.call.ring()
        self.call.ring(early_media=True)
        self.call.reject()
        self.call.reject(404, "gone")
        self.call.redirect("sip:a@b")
        self.call.set_source("source")
        self.call.set_sink("sink")
        self.call.hang_up()
        self.assertEqual(
            self.control.did,
            [
                ("ring", leg, False),
                ("ring", leg, True),
                ("refuse", leg, 486, None),
                ("refuse", leg, 404, "gone"),
                ("refuse", leg, 302, None, "sip:a@b"),
                ("set_source", leg, "source"),
                ("set_sink", leg, "sink"),
                ("hang_up", leg, "hung up"),
            ],
        )

    def test_placing_and_answering_fire_with_the_call(self) -> None:
        self.control.outcome = succeed(None)
        self.assertIs(self.successResultOf(self.call.place()), self.call)
        self.assertIs(self.successResultOf(self.call.answer("a", "b")), self.call)
        self.assertEqual(self.control.did[1], ("answer", self.leg, "a", "b"))

    def test_their_failures(self) -> None:
        self.control.outcome = fail(CallOver("too late"))
        self.failureResultOf(self.call.answer(), CallOver)

    def test_cancelling_them_hangs_up_and_leaves_the_work_to_end_by_itself(self) -> None:
        for do, text in (
            (self.call.place, "cancelled before it was placed"),
            (self.call.answer, "cancelled while it was answered"),
        ):
            for outcome in (lambda d: d.callback(None), lambda d: d.errback(CallOver("x"))):
                work = self.control.outcome = Deferred()
                doing = do()
                doing.cancel()
                self.failureResultOf(doing, CancelledError)
                self.assertEqual(self.control.did[-1], ("hang_up", self.leg, text))
                self.assertFalse(work.called)
                outcome(work)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_hang_up_that_makes_the_work_fail_at_once(self) -> None:
        work = self.control.outcome
        self.control.hang_up = lambda leg, text: work.errback(CallOver("hung up"))
        doing = self.call.place()
        doing.cancel()
        self.failureResultOf(doing, CallOver)

    def test_milestones_in_order(self) -> None:
        waits = [
            self.call.when_answered(),
            self.call.when_media_ready(),
            self.call.when_two_way(),
            self.call.when_ended(),
        ]
        steps: list[Any] = [
            self.call.reached_answer,
            lambda: self.call.reached_media(both_ways=True),
            self.call.reached_two_way,
            lambda: self.call.reached_end(REASON),
        ]
        for number, step in enumerate(steps):
            self.assertNoResult(waits[number])
            step()
            result = self.successResultOf(waits[number])
            self.assertIs(result, REASON if number == 3 else self.call)

    def test_late_subscribers_of_one_call_and_another(self) -> None:
        other = Call(self.leg, self.control)
        reached: list[Any] = [
            ("when_answered", "reached_answer", {}),
            ("when_media_ready", "reached_media", {"both_ways": True}),
            ("when_two_way", "reached_two_way", {}),
        ]
        for wait, reach, given in reached:
            early = [getattr(self.call, wait)(), getattr(self.call, wait)()]
            getattr(self.call, reach)(**given)
            late = [getattr(self.call, wait)(), getattr(self.call, wait)()]
            late[0].addCallback(lambda _: "changed")
            for each in (*early, late[1]):
                self.assertIs(self.successResultOf(each), self.call, wait)
            of_other = getattr(other, wait)()
            self.assertNoResult(of_other)
            getattr(other, reach)(**given)
            self.assertIs(self.successResultOf(of_other), other, wait)
            self.assertIs(self.successResultOf(getattr(other, wait)()), other, wait)

    def test_one_way_by_agreement(self) -> None:
        self.call.reached_media(both_ways=False)
        self.failureResultOf(self.call.when_two_way(), OneWayByAgreement)
        self.assertIs(self.successResultOf(self.call.when_media_ready()), self.call)

    def test_held_later_two_way_was_reached_nonetheless(self) -> None:
        self.call.reached_media(both_ways=True)
        self.call.reached_two_way()
        self.call.reached_media(both_ways=False)
        self.assertIs(self.successResultOf(self.call.when_two_way()), self.call)

    def test_the_end_fails_what_was_not_reached(self) -> None:
        early = self.call.when_answered()
        self.call.reached_end(REASON)
        for each in (
            early,
            self.call.when_answered(),
            self.call.when_media_ready(),
            self.call.when_two_way(),
        ):
            failure = self.failureResultOf(each, CallFailed)
            self.assertIs(failure.value.reason, REASON)
            self.assertEqual(failure.value.status, 486)
        self.assertIs(self.successResultOf(self.call.when_ended()), REASON)

    def test_hang_up_fires_with_the_end(self) -> None:
        done = self.call.hang_up()
        self.assertNoResult(done)
        self.call.reached_end(REASON)
        self.assertIs(self.successResultOf(done), REASON)

    def test_cancelling_the_wait_for_the_end_changes_nothing(self) -> None:
        done = self.call.hang_up()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.call.reached_end(REASON)
        self.assertIs(self.successResultOf(self.call.when_ended()), REASON)
