"""What a call reaches once or never: milestones, late subscribers, cancellation."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import CallFailed, OneWayByAgreement
from sessioncore.session.milestones import Milestone, Milestones
from sessioncore.vocabulary import EndedBy, EndReason

REASON = EndReason(EndedBy.REMOTE, "busy", 486, 17)


def now(function: Any, argument: Any) -> None:
    function(argument)


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

    def test_who_waits_may_be_told_later(self) -> None:
        waiting, later = self.milestone.wait(), []
        self.milestone.settle("reached", lambda *what: later.append(what))
        self.assertTrue(self.milestone.settled)
        self.assertEqual(self.successResultOf(self.milestone.wait()), "reached")
        self.assertNoResult(waiting)
        ((function, argument),) = later
        function(argument)
        self.assertEqual(self.successResultOf(waiting), "reached")

    def test_nobody_waits_so_nobody_is_told_later(self) -> None:
        self.milestone.settle("reached", lambda *what: self.fail("told"))


class MilestonesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.milestones = Milestones()

    def reach(self, name: str) -> None:
        getattr(self.milestones, f"reach_{name}")(now)

    def test_in_order(self) -> None:
        milestones = self.milestones
        waits = [
            milestones.when_answered(),
            milestones.when_media_ready(),
            milestones.when_two_way(),
        ]
        ended = milestones.when_ended()
        for wait, name in zip(waits, ("answer", "media", "two_way"), strict=True):
            self.assertNoResult(wait)
            self.reach(name)
            self.successResultOf(wait)
        self.assertNoResult(ended)
        milestones.reach_end(REASON, now)
        self.assertIs(self.successResultOf(ended), REASON)

    def test_late_subscribers_of_one_call_and_another(self) -> None:
        other = Milestones()
        for when, reach in (
            ("when_answered", "reach_answer"),
            ("when_media_ready", "reach_media"),
            ("when_two_way", "reach_two_way"),
        ):
            early = [getattr(self.milestones, when)(), getattr(self.milestones, when)()]
            getattr(self.milestones, reach)(now)
            late = [getattr(self.milestones, when)(), getattr(self.milestones, when)()]
            late[0].addCallback(lambda _: "changed")
            results = {self.successResultOf(each) for each in (*early, late[1])}
            self.assertEqual(len(results), 1, when)
            of_other = getattr(other, when)()
            self.assertNoResult(of_other)
            getattr(other, reach)(now)
            self.successResultOf(of_other)
            self.successResultOf(getattr(other, when)())

    def test_one_way_by_agreement(self) -> None:
        self.reach("media")
        self.milestones.miss_two_way(OneWayByAgreement("held"), now)
        self.failureResultOf(self.milestones.when_two_way(), OneWayByAgreement)
        self.successResultOf(self.milestones.when_media_ready())

    def test_held_later_two_way_was_reached_nonetheless(self) -> None:
        self.reach("two_way")
        self.milestones.miss_two_way(OneWayByAgreement("held"), now)
        self.successResultOf(self.milestones.when_two_way())

    def test_the_end_fails_what_was_not_reached(self) -> None:
        early = self.milestones.when_answered()
        self.milestones.reach_end(REASON, now)
        for each in (
            early,
            self.milestones.when_answered(),
            self.milestones.when_media_ready(),
            self.milestones.when_two_way(),
        ):
            failure = self.failureResultOf(each, CallFailed)
            self.assertIs(failure.value.reason, REASON)
            self.assertEqual(failure.value.status, 486)
        self.assertIs(self.successResultOf(self.milestones.when_ended()), REASON)
