"""Who is told of events, and in which order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.events import Event
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.sdp.negotiation import MediaPolicy, OfferAnswer
from sessioncore.session.announcing import Announcer
from sessioncore.session.leg import Leg
from sessioncore.vocabulary import MediaState, SessionRole


class AnnouncerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.announcer = Announcer()
        negotiation = OfferAnswer(MediaPolicy((PCMU,)), None, 1)
        self.leg = Leg(
            SimpleNamespace(effects={}), SessionRole.UAS, "7", b"id", b"tag", negotiation
        )
        self.told: list[tuple[str, str]] = []

    def sink(self, name: str) -> Any:
        return lambda event: self.told.append((name, event.name))

    def emit(self, kind: Any, *details: object) -> None:
        self.announcer.emit(self.leg, kind, 5, *details)

    def test_an_event_says_whose_it_is(self) -> None:
        heard: list[Event] = []
        self.announcer.add_sink(heard.append)
        self.emit(events.CallRinging, 180)
        self.assertEqual(
            heard, [events.CallRinging("7", "id", SessionRole.UAS, MediaState.IDLE, 5, 180)]
        )

    def test_what_a_sink_makes_happen_is_told_after_what_it_was_told_of(self) -> None:
        def hang_up(event: Event) -> None:
            if event.name == "CallRinging":
                self.emit(events.CallAccepted)
                self.emit(events.CallAnswered)

        self.announcer.add_sink(hang_up)
        self.announcer.add_sink(self.sink("a"))
        self.announcer.add_sink(self.sink("b"))
        self.emit(events.CallRinging, 180)
        self.assertEqual(
            self.told,
            [
                (name, kind)
                for kind in ("CallRinging", "CallAccepted", "CallAnswered")
                for name in "ab"
            ],
        )

    def test_a_sink_that_names_kinds_is_told_of_no_others(self) -> None:
        self.announcer.add_sink(self.sink("a"), events.CallAnswered, events.CallEnded)
        self.announcer.add_sink(self.sink("all"))
        self.announcer.add_sink(self.sink("e"), Event)
        for _ in range(2):
            self.emit(events.CallAccepted)
            self.emit(events.CallAnswered)
        once = [("all", "CallAccepted"), ("e", "CallAccepted")]
        once += [(name, "CallAnswered") for name in ("a", "all", "e")]
        self.assertEqual(self.told, once * 2)

    def test_sinks_that_come_and_go_while_all_are_told(self) -> None:
        late, gone = self.sink("late"), self.sink("gone")

        def change(event: Event) -> None:
            self.announcer.remove_sink(gone)
            self.announcer.remove_sink(change)
            self.announcer.add_sink(late, events.CallAnswered)

        self.announcer.add_sink(change)
        self.announcer.add_sink(gone)
        self.emit(events.CallAnswered)
        self.emit(events.CallAnswered)
        self.assertEqual(self.told, [("gone", "CallAnswered"), ("late", "CallAnswered")])

    def test_a_sink_that_raises_keeps_nothing_from_the_others(self) -> None:
        def fail(event: Event) -> None:
            raise ValueError("no")

        self.announcer.add_sink(fail)
        self.announcer.add_sink(self.sink("a"))
        for _ in range(2):
            self.emit(events.CallAccepted)
        self.assertEqual(self.told, [("a", "CallAccepted")] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_a_sink_that_ends_the_process_leaves_the_next_event_to_be_told(self) -> None:
        def leave(event: Event) -> None:
            raise SystemExit

        self.announcer.add_sink(leave)
        self.assertRaises(SystemExit, self.emit, events.CallAccepted)
        self.announcer.remove_sink(leave)
        self.announcer.add_sink(self.sink("a"))
        self.emit(events.CallAnswered)
        self.assertEqual(self.told, [("a", "CallAnswered")])

    def test_sinks_come_and_go_while_all_are_told(self) -> None:
        late = self.sink("late")

        def change(event: Event) -> None:
            self.announcer.remove_sink(change)
            self.announcer.add_sink(late)

        self.announcer.add_sink(change)
        self.announcer.add_sink(self.sink("a"))
        self.emit(events.CallAccepted)
        self.emit(events.CallAnswered)
        self.assertEqual(
            self.told, [("a", "CallAccepted"), ("a", "CallAnswered"), ("late", "CallAnswered")]
        )
