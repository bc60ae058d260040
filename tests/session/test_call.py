"""The handle of a call: milestones, late subscribers, cancellation."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import CallOver
from sessioncore.session.call import Call
from sessioncore.session.milestones import Milestones
from sessioncore.session.session import SessionState
from sessioncore.testing import LegPair
from sessioncore.vocabulary import EndedBy, EndReason, MediaState, SessionRole

REASON = EndReason(EndedBy.REMOTE, "busy", 486, 17)


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
    invite = None
    sinks = None

    def __init__(self) -> None:
        self.milestones = Milestones()


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
        self.call.add_sink("other")
        self.call.remove_sink("sink")
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
                ("add_sink", leg, "other"),
                ("remove_sink", leg, "sink"),
                ("hang_up", leg, None, None),
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
                self.assertEqual(self.control.did[-1], ("abandon", self.leg, text))
                self.assertFalse(work.called)
                outcome(work)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_hang_up_that_makes_the_work_fail_at_once(self) -> None:
        work = self.control.outcome
        self.control.abandon = lambda leg, text: work.errback(CallOver("hung up"))
        doing = self.call.place()
        doing.cancel()
        self.failureResultOf(doing, CallOver)

    def test_milestones_fire_with_the_call(self) -> None:
        now = _now
        self.leg.milestones.reach_answer(now)
        self.leg.milestones.reach_media(now)
        self.leg.milestones.reach_two_way(now)
        for wait in (self.call.when_answered, self.call.when_media_ready, self.call.when_two_way):
            self.assertIs(self.successResultOf(wait()), self.call)

    def test_hang_up_fires_with_the_end(self) -> None:
        done = self.call.hang_up()
        self.assertNoResult(done)
        self.leg.milestones.reach_end(REASON, _now)
        self.assertIs(self.successResultOf(done), REASON)

    def test_cancelling_the_wait_for_the_end_changes_nothing(self) -> None:
        done = self.call.hang_up()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.leg.milestones.reach_end(REASON, _now)
        self.assertIs(self.successResultOf(self.call.when_ended()), REASON)


def _now(function: Any, argument: Any) -> None:
    function(argument)


class ExplainedTests(SynchronousTestCase):
    def test_both_sides_explain_their_negotiation(self) -> None:
        with LegPair(seed=1, codecs=("PCMA", "PCMU")) as pair:
            call = pair.connect()
            self.assertIsNone(call.explain_negotiation())
            pair.advance(1)
            told = [each.explain_negotiation() for each in (call, *pair.legs)]
            self.assertEqual([each and each.is_answer for each in told], [True, False])
            call.hang_up()
            pair.advance(1)
            for each in (call, *pair.legs):
                explanation = each.explain_negotiation()
                assert explanation is not None and explanation.accepted is not None
                self.assertEqual(explanation.accepted.formats[0].encoding, "PCMA/8000")
