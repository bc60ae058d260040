"""Caller and callee of ours together: every way a call can go, on good links and on bad ones."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sessioncore.errors import CallFailed, CallOver, ConfigurationError, TooManyCalls
from sessioncore.events import Event
from sessioncore.manager import SessionManager
from sessioncore.media.sinks import Record
from sessioncore.media.sources import Silence, Tone
from sessioncore.media.statistics import MediaEvent
from sessioncore.session.call import Call
from sessioncore.session.session import SessionState
from sessioncore.testing import messages
from sessioncore.testing.links import Link
from sessioncore.testing.network import FakeNetwork
from sessioncore.verdict import Judgement
from sessioncore.vocabulary import Direction, EndedBy, MediaState
from tests.session.scene import A, B, C, Caller, Party, Scene, answer, early, ring

ENDS = ("CallEnded", "CallFailed")


def story_faults(events: list[Event]) -> list[str]:
    """What is wrong with the events of one leg, by section 2 of the design."""
    names = [event.name for event in events]
    faults = []
    if names[:1] not in (["OutgoingCallPrepared"], ["IncomingCall"]):
        faults.append("begins with something else")
    if sum(name in ENDS for name in names) != 1 or names[-1] not in ENDS:
        faults.append("does not end once, last")
    if names.count("CallAnswered") > 1:
        faults.append("is answered more than once")
    if ("CallAnswered" in names) != (names[-1] == "CallEnded"):
        faults.append("ended though not answered, or failed though answered")
    for index, name in enumerate(names):
        if name == "MediaNegotiated" and names[index + 1] != "MediaFlowEstablished":
            faults.append("negotiated media that was not established at once")
    if "MediaActive" in names and "MediaFlowEstablished" not in names[: names.index("MediaActive")]:
        faults.append("is active before it is established")
    if len({event.session for event in events}) != 1 or len({event.role for event in events}) != 1:
        faults.append("changes its session or role")
    if [event.at for event in events] != sorted(event.at for event in events):
        faults.append("goes back in time")
    return faults


class TogetherTests(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.decisions: Any = answer
        self.caller, self.callee = self.pair(lambda call: self.decisions(call))

    def calling(self, **wishes: Any) -> Call:
        call = self.caller.call(**wishes)
        self.run_for(0.2)
        return call

    def early_recordings(self, then: Any, source: Any = None) -> list[bool]:
        """Whether what both had at their paths was replaced by an early-media call."""

        def decide(call: Call) -> None:
            call.set_source(Silence() if source is None else source)
            call.set_sink(Record(paths[1]))
            call.ring(early_media=True)

        paths = [Path(self.mktemp()) for _ in range(2)]
        for path in paths:
            path.write_bytes(b"precious" * 1_000)
        self.decisions = decide
        self.calling(sink=Record(paths[0]))
        self.assertIn("EarlyMediaStarted", self.caller.names())
        self.run_for(1.5)
        then(self.callee.call_in)
        self.run_for(0.1)
        for call in self.callee.manager.calls:
            call.hang_up()
        self.run_for(0.1)
        for party in (self.caller, self.callee):
            party.manager.plane.playout.sinks.recorder.close().result(20)
        return [path.read_bytes() != b"precious" * 1_000 for path in paths]

    def test_early_media_that_nobody_heard_and_a_refusal_replace_no_recording(self) -> None:
        replaced = self.early_recordings(lambda call: call.reject(486))
        self.assertEqual(self.caller.names()[-1], "CallFailed")
        self.assertEqual(replaced, [False, False])

    def test_an_announcement_before_a_refusal_is_recorded(self) -> None:
        replaced = self.early_recordings(lambda call: call.reject(404), Tone())
        self.assertEqual(self.caller.names()[-1], "CallFailed")
        self.assertEqual(replaced, [True, False])

    def test_early_media_that_is_answered_is_recorded_though_silent(self) -> None:
        replaced = self.early_recordings(lambda call: call.answer())
        self.assertEqual(self.caller.names()[-1], "CallEnded")
        self.assertEqual(replaced, [True, True])

    def test_both_get_the_same_agreement(self) -> None:
        call = self.calling()
        theirs = self.callee.call_in
        for ours, other in ((call, theirs), (theirs, call)):
            self.assertIs(ours.media_state, MediaState.ACTIVE)
            self.assertIs(ours.state, SessionState.CONFIRMED)
            self.assertTrue(ours.transmitting)
            self.assertEqual(ours.remote_rtp, other.local_rtp)
            assert ours.negotiated_media is not None
            self.assertEqual(ours.negotiated_media.audio.remote, other.local_rtp)
        self.assertEqual(call.call_id, theirs.call_id)

    def test_events_of_every_way_to_answer(self) -> None:
        for how in (answer, ring, early):
            for late in (False, True):
                self.decisions = how
                call = self.calling(late_offer=late)
                theirs = self.callee.call_in
                if how is not answer:
                    theirs.answer()
                self.run_for(0.2)
                self.assertIs(call.media_state, MediaState.ACTIVE, f"{how} {late}")
                self.assertIs(theirs.media_state, MediaState.ACTIVE)
                self.successResultOf(call.when_two_way())
                self.successResultOf(theirs.when_two_way())
                call.hang_up()
                self.run_for(0.1)
                for party in (self.caller, self.callee):
                    self.assertEqual(story_faults(party.events), [], party.names())
                    party.forget()

    def test_hung_up_by_either(self) -> None:
        for ours, other in ((self.caller, self.callee), (self.callee, self.caller)):
            call = self.calling()
            mine = call if ours is self.caller else self.callee.call_in
            done = mine.hang_up()
            self.run_for(0.01)
            self.assertIs(self.successResultOf(done).by, EndedBy.LOCAL)
            self.assertIs(ours.event("CallEnded").reason.by, EndedBy.LOCAL)
            self.assertIs(other.event("CallEnded").reason.by, EndedBy.REMOTE)
            self.assertEqual(ours.event("CallEnded").reason.cause, 16)
            self.caller.forget()
            self.callee.forget()

    def test_hung_up_by_both_at_once(self) -> None:
        call = self.calling()
        done = [call.hang_up(), self.callee.call_in.hang_up()]
        self.run_for(0.01)
        for each in done:
            self.assertIs(self.successResultOf(each).by, EndedBy.LOCAL)

    def test_statistics_outlive_the_call(self) -> None:
        prepared = self.caller.manager.prepare_call(f"sip:bob@{B}")
        self.assertIs(prepared.verdict.judgement, Judgement.NOT_YET)
        call = self.calling()
        self.run_for(1)
        self.assertIs(call.verdict.judgement, Judgement.TWO_WAY, call.verdict)
        call.hang_up()
        self.run_for(0.1)
        for each in (call, self.callee.call_in):
            self.assertIs(each.verdict.judgement, Judgement.TWO_WAY, each.verdict)
            assert each.statistics is not None
            self.assertGreater(each.statistics.packets_sent, 50)
            self.assertGreater(each.statistics.packets_received, 50)
            assert each.local_rtp is not None and each.remote_rtp is not None
            self.assertEqual({each.local_rtp[0], each.remote_rtp[0]}, {A, B})
            self.assertFalse(each.transmitting)

    def test_counters(self) -> None:
        call = self.calling()
        self.assertEqual(self.caller.manager.statistics().calls_up, 1)
        call.hang_up()
        self.decisions = lambda call: call.reject(486)
        self.calling()
        caller, callee = self.caller.counters, self.callee.counters
        for counters, first in ((caller, "placed"), (callee, "incoming")):
            self.assertEqual(counters[first], 2)
            self.assertEqual((counters["answered"], counters["ended"]), (1, 1))
            self.assertEqual(counters["failed"], 1)

    def test_reject_and_redirect(self) -> None:
        for how, status in (
            (lambda call: call.reject(), 486),
            (lambda call: call.redirect("sip:carol@192.0.2.9"), 302),
            (lambda call: call.reject(600, "Busy everywhere"), 600),
        ):
            self.decisions = how
            call = self.calling()
            failure = self.failureResultOf(call.when_answered(), CallFailed)
            self.assertEqual(failure.value.status, status)
            self.assertEqual(self.callee.call_in.end_reason.status, status)  # type: ignore[union-attr]

    def test_cancelling_the_deferred_of_answer_hangs_up(self) -> None:
        self.decisions = ring
        call = self.calling()
        answered = self.callee.call_in.answer()
        answered.cancel()  # too late: the 200 is out
        self.assertIs(self.successResultOf(answered), self.callee.call_in)
        self.run_for(0.1)
        self.assertIs(call.state, SessionState.CONFIRMED)

    def test_an_application_that_waits_for_milestones(self) -> None:
        """The way applications are written: a coroutine on either side."""
        told: list[str] = []

        async def taking(call: Call) -> None:
            call.ring()
            await call.answer()
            told.append("answered")
            await call.when_two_way()
            told.append("two way")
            await call.when_ended()
            told.append("ended")

        async def calling() -> None:
            call = self.caller.manager.prepare_call(f"sip:bob@{B}")
            await call.place()
            told.append("placed")
            await call.when_answered()
            await call.when_media_ready()
            told.append("ready")
            await call.when_two_way()
            told.append("two way")
            await call.hang_up()
            told.append("hung up")

        self.decisions = taking
        done = Deferred.fromCoroutine(calling())
        self.run_for(0.5)
        self.successResultOf(done)
        self.assertEqual(
            told, ["placed", "answered", "ready", "two way", "two way", "ended", "hung up"]
        )

    def test_a_bridge_that_calls_on(self) -> None:
        """A handler that places a call of its own, and fails with it."""
        carol = self.party(C, lambda call: call.reject(486))

        async def taking(call: Call) -> None:
            onward = self.callee.call(f"sip:carol@{C}")
            try:
                await onward.when_answered()
            except CallFailed as error:
                call.reject(error.status or 480)

        self.decisions = taking
        call = self.calling()
        self.assertEqual(len(carol.incoming), 1)
        self.assertEqual(call.end_reason.status, 486)  # type: ignore[union-attr]

    def test_calls_to_oneself(self) -> None:
        """One manager in both roles: every packet crosses its socket."""
        both = self.party(C, answer)
        call = both.call(f"sip:me@{C}")
        self.run_for(0.3)
        self.assertIs(call.media_state, MediaState.ACTIVE)
        self.assertIs(both.call_in.media_state, MediaState.ACTIVE)
        self.assertEqual(call.remote_rtp, both.call_in.local_rtp)
        call.hang_up()
        self.run_for(0.1)
        self.assertEqual(both.manager.calls, [])

    def test_behind_a_translator(self) -> None:
        nat = self.network.nat("198.51.100.1")
        inside = Party(nat.host("10.0.0.5"), self.caller.manager.settings, None)
        self.parties.append(inside)
        call = inside.call()
        self.run_for(1)
        theirs = self.callee.call_in
        self.assertIs(call.media_state, MediaState.ACTIVE)
        self.assertIs(theirs.media_state, MediaState.ACTIVE)
        assert theirs.remote_rtp is not None
        self.assertEqual(theirs.remote_rtp[0], "198.51.100.1")

    def test_a_sink_of_events_that_raises_disturbs_nobody(self) -> None:
        def sink(event: Event) -> None:
            raise ZeroDivisionError

        self.caller.manager.add_event_sink(sink)
        call = self.calling()
        self.assertIs(call.media_state, MediaState.ACTIVE)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
        self.caller.manager.remove_event_sink(sink)

    def test_events_in_the_order_of_their_subscription(self) -> None:
        told: list[str] = []
        for name in ("one", "two"):
            self.caller.manager.add_event_sink(lambda event, name=name: told.append(name))
        self.calling()
        self.assertEqual(told[:4], ["one", "two", "one", "two"])

    def test_a_sink_that_acts_on_an_event_is_not_ahead_of_the_others(self) -> None:
        told: list[str] = []
        manager = self.callee.manager

        def act(event: Event) -> None:
            if event.name == "CallAccepted":
                manager.calls[0].hang_up()

        manager.add_event_sink(act)
        manager.add_event_sink(lambda event: told.append(event.name))
        self.caller.call()
        self.run_for(1)
        # The 200 had left before anybody heard of the event.
        self.assertEqual(told[:3], ["IncomingCall", "CallAccepted", "CallAnswered"])
        self.assertEqual(told[-1], "CallEnded")

    def test_a_sink_that_leaves_while_all_are_told(self) -> None:
        told: list[str] = []
        manager = self.callee.manager

        def once(event: Event) -> None:
            manager.remove_event_sink(once)

        manager.add_event_sink(once)
        manager.add_event_sink(lambda event: told.append(event.name))
        self.caller.call()
        self.run_for(0.1)
        self.assertEqual(told[0], "IncomingCall")

    def test_a_fault_of_ours_while_media_is_told_is_logged(self) -> None:
        self.calling()
        manager = self.callee.manager
        stream = manager._coordinator.registry.by_name[self.callee.call_in.session].media.stream
        assert stream is not None
        self.patch(manager._coordinator.establishing, "media_event", lambda *told: 1 // 0)
        manager.plane.tell(stream, MediaEvent.STALLED, None, 0)
        self.assertEqual(manager.plane.statistics.callback_errors, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class StopTests(Scene):
    def test_a_server_with_every_kind_of_call(self) -> None:
        decisions: list[Any] = [ring, answer, answer, early]
        us = self.party(B, lambda call: decisions.pop(0)(call))
        them = self.peer(C)
        callers = [
            Caller(them, call_id=f"n{number}", branch=f"z9hG4bK{number}") for number in range(4)
        ]
        for caller in callers:
            caller.invite()
            self.run_for(0.01)
        ringing, answered, unacknowledged, early_media = us.incoming
        (first,) = [data for _, data, _ in them.heard if b"200 OK" in data and b": n1\r" in data]
        them.send(messages.ack(callers[1].who, to=first), (B, 5060))
        self.run_for(0.01)
        self.assertIs(answered.state, SessionState.CONFIRMED)
        them.take()
        done = us.manager.stop(4.0)
        self.run_for(0.01)
        self.assertEqual(sorted(them.lines()), ["480 INVITE", "480 INVITE", "BYE"])
        for call in (ringing, early_media):
            self.assertIs(call.state, SessionState.ENDED)
            assert call.end_reason is not None
            self.assertEqual(call.end_reason.status, 480)
        them.send(messages.response(them.last(b"BYE"), 200), (B, 5060))
        self.run_for(0.01)
        assert answered.end_reason is not None
        self.assertIsNone(answered.end_reason.status)
        self.assertIs(unacknowledged.state, SessionState.LEAVING)
        Caller(them, call_id="late", branch="z9hG4bKlate").invite()
        self.run_for(0.01)
        self.assertIn("503 INVITE", them.lines())
        self.assertNoResult(done)
        self.run_for(4)
        self.assertEqual(self.successResultOf(done), 1)
        self.assertEqual(us.host.ports, {})
        assert unacknowledged.end_reason is not None
        self.assertIs(unacknowledged.end_reason.by, EndedBy.LOCAL)

    def test_an_ack_in_time_lets_the_bye_out(self) -> None:
        us = self.party(B, answer)
        them = self.peer(C)
        caller = Caller(them)
        caller.invite()
        self.run_for(0.01)
        done = us.manager.stop(4.0)
        self.run_for(1)
        caller.ack()
        self.run_for(0.01)
        them.send(messages.response(them.last(b"BYE"), 200), (B, 5060))
        self.run_for(0.01)
        self.assertEqual(self.successResultOf(done), 0)

    def test_two_that_stop_at_once(self) -> None:
        caller, callee = self.pair()
        for _ in range(5):
            caller.call()
        self.run_for(0.5)
        done = [caller.manager.stop(), callee.manager.stop()]
        self.run_for(1)
        self.assertEqual([self.successResultOf(each) for each in done], [0, 0])

    def test_nothing_runs_after_the_stop(self) -> None:
        caller, callee = self.pair()
        caller.call()
        self.run_for(0.5)
        for party in (caller, callee):
            party.manager.stop(0.0)
        self.run_for(1)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])


class DrainTests(Scene):
    def test_calls_that_are_up_run_on_and_new_ones_are_refused(self) -> None:
        caller, callee = self.pair()
        first, second = caller.call(), caller.call()
        self.run_for(0.5)
        drained = callee.manager.drain()
        refused = caller.call()
        self.run_for(0.5)
        assert refused.end_reason is not None
        self.assertEqual(refused.end_reason.status, 503)
        self.assertRaises(TooManyCalls, callee.manager.call, f"sip:x@{A}")
        self.assertRaises(TooManyCalls, callee.manager.prepare_call, f"sip:x@{A}")
        first.hang_up()
        self.run_for(0.5)
        self.assertNoResult(drained)
        self.assertIs(second.media_state, MediaState.ACTIVE)
        second.hang_up()
        self.run_for(0.5)
        self.assertIsNone(self.successResultOf(drained))
        self.assertTrue(callee.manager.running)

    def test_a_change_within_a_call_is_taken(self) -> None:
        caller, callee = self.pair()
        call = caller.call()
        self.run_for(0.5)
        callee.manager.drain()
        changed = call.modify(direction=Direction.SENDONLY)
        self.run_for(0.5)
        self.successResultOf(changed)

    def test_without_calls_it_fires_at_once(self) -> None:
        us = self.party(A)
        self.assertIsNone(self.successResultOf(us.manager.drain()))
        self.assertIsNone(self.successResultOf(us.manager.drain()))

    def test_each_wait_is_of_its_own(self) -> None:
        caller, callee = self.pair()
        call = caller.call()
        self.run_for(0.5)
        cancelled, other = callee.manager.drain(), callee.manager.drain()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        call.hang_up()
        self.run_for(0.5)
        self.assertIsNone(self.successResultOf(other))

    def test_stopping_ends_what_was_drained(self) -> None:
        caller, callee = self.pair()
        caller.call()
        self.run_for(0.5)
        drained, stopped = callee.manager.drain(), callee.manager.stop()
        self.run_for(1)
        self.assertIsNone(self.successResultOf(drained))
        self.assertEqual(self.successResultOf(stopped), 0)

    def test_before_the_start(self) -> None:
        manager = SessionManager(self.network.host(C))
        self.assertRaises(ConfigurationError, manager.drain)


BAD = Link(delay=0.02, jitter=0.03, loss=0.15, duplicate=0.1, reorder=0.2)
WORSE = Link(delay=0.1, jitter=0.4, loss=0.3, duplicate=0.3, reorder=0.3, hold=1.0)


class ByeTests(Scene):
    def test_no_rtp_after_a_bye_however_late_its_answer(self) -> None:
        us, _them = self.pair()
        call = us.call(source=Tone((440,)))
        self.run_for(1)
        self.network.set_link(A, B, Link(loss=1.0))
        self.assertTrue(self.rtp_from(A))
        done = call.hang_up()
        hung_up = self.network.now / 1e9
        self.run_for(3)
        self.assertIs(call.state, SessionState.ENDING)
        self.assertNoResult(done)
        self.assertEqual(self.rtp_from(A, hung_up), [])
        self.assertTrue(self.rtp_from(B, hung_up + 2))
        self.network.set_link(A, B, Link())
        self.run_for(4)
        self.successResultOf(done)


class BadLinkTests(Scene):
    """Whatever the network does, a call works, or ends, and says so; nothing stays behind."""

    def network_of(self, seed: int, link: Link) -> tuple[Party, Party, Random]:
        self.parties.clear()
        self.network = FakeNetwork(seed=seed, link=link, capture=False)
        random = Random(seed)

        def decide(call: Call) -> None:
            kind = random.randrange(4)
            if kind < 2:
                call.ring(early_media=kind == 1)
            delay = 0 if kind == 3 else random.uniform(0, 2)
            self.network.clock.callLater(delay, self.answer_if_wanted, call)

        return (*self.pair(decide), random)

    def answer_if_wanted(self, call: Call) -> None:
        call.answer().addErrback(lambda failure: failure.trap(CallOver, CallFailed))

    def ended(self, *parties: Party) -> None:
        for party in parties:
            self.assertEqual(party.manager.calls, [])
            self.assertTidy(party)
            by_session: dict[str, list[Event]] = {}
            for event in party.events:
                by_session.setdefault(event.session, []).append(event)
            for events in by_session.values():
                self.assertEqual(story_faults(events), [], [event.name for event in events])

    def test_a_call_works(self) -> None:
        for seed in range(25):
            with self.subTest(seed=seed):
                caller, callee, random = self.network_of(seed, BAD)
                call = caller.call(late_offer=bool(random.getrandbits(1)))
                self.network.run_until(
                    lambda call=call: call.when_two_way().called, within=45, step=0.1
                )
                self.assertIs(call.media_state, MediaState.ACTIVE, f"seed {seed}")
                theirs = callee.incoming[0]
                self.network.run_until(
                    lambda theirs=theirs: theirs.state is SessionState.CONFIRMED,
                    within=40,
                    step=0.1,
                )
                (call if random.getrandbits(1) else theirs).hang_up()
                self.run_for(40)
                self.ended(caller, callee)

    def test_calls_hung_up_at_any_moment_by_anybody(self) -> None:
        for seed in range(40):
            with self.subTest(seed=seed):
                caller, callee, random = self.network_of(seed, WORSE if seed % 2 else BAD)
                calls = [caller.call(late_offer=bool(random.getrandbits(1))) for _ in range(2)]
                for call in calls:
                    self.network.clock.callLater(random.uniform(0, 4), call.hang_up)
                for _ in range(40):
                    self.run_for(0.1)
                    if random.random() < 0.1:
                        for theirs in callee.manager.calls:
                            theirs.hang_up()
                self.run_for(40)
                for theirs in callee.manager.calls:
                    theirs.hang_up()
                self.run_for(100)
                self.ended(caller, callee)

    def test_managers_that_stop_at_any_moment(self) -> None:
        for seed in range(20):
            with self.subTest(seed=seed):
                caller, callee, random = self.network_of(seed, BAD)
                for _ in range(3):
                    caller.call()
                self.run_for(random.uniform(0, 3))
                first, second = random.sample([caller, callee], 2)
                stopped = [first.manager.stop(random.uniform(0, 4))]
                self.run_for(random.uniform(0, 3))
                stopped.append(second.manager.stop(1.0))
                self.run_for(10)
                for done in stopped:
                    self.successResultOf(done)
                self.ended(caller, callee)


class StoryTests(Scene):
    """The checker of stories sees what it is there to see."""

    def test_faults(self) -> None:
        caller, _ = self.pair()
        call = caller.call()
        self.run_for(0.1)
        call.hang_up()
        self.run_for(0.1)
        events = caller.events
        self.assertEqual(story_faults(events), [])
        self.assertTrue(story_faults(events[1:]))
        self.assertTrue(story_faults(events[:-1]))
        self.assertTrue(story_faults([*events, events[-1]]))
        self.assertTrue(story_faults([events[0], *events[::-1]]))
        answered = next(event for event in events if event.name == "CallAnswered")
        self.assertTrue(story_faults([event for event in events if event is not answered]))
        flow = next(event for event in events if event.name == "MediaFlowEstablished")
        self.assertTrue(story_faults([event for event in events if event is not flow]))
