"""Who is told of events, and in which order."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.events import Event
from sessioncore.session.announcing import Announcer, EventSinks
from sessioncore.session.leg import Leg
from sessioncore.vocabulary import MediaState, SessionRole


class Announcing(SynchronousTestCase):
    def setUp(self) -> None:
        self.announcer = Announcer()
        control: Any = None
        self.leg = Leg(SessionRole.UAS, "7", b"id", b"tag", {}, control)
        self.told: list[tuple[str, str]] = []

    def sink(self, name: str) -> Any:
        return lambda event: self.told.append((name, event.name))

    def emit(self, kind: Any, *details: object) -> None:
        self.announcer.emit(self.leg, kind, 5, *details)


class AnnouncerTests(Announcing):
    def test_an_event_says_whose_it_is(self) -> None:
        heard: list[Event] = []
        self.announcer.sinks.add(heard.append)
        self.emit(events.CallRinging, 180)
        self.assertEqual(
            heard, [events.CallRinging("7", "id", SessionRole.UAS, MediaState.IDLE, 5, 180)]
        )

    def test_what_a_sink_makes_happen_is_told_after_what_it_was_told_of(self) -> None:
        def hang_up(event: Event) -> None:
            if event.name == "CallRinging":
                self.emit(events.CallAccepted)
                self.emit(events.CallAnswered)

        self.announcer.sinks.add(hang_up)
        self.announcer.sinks.add(self.sink("a"))
        self.announcer.sinks.add(self.sink("b"))
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
        self.announcer.sinks.add(self.sink("a"), events.CallAnswered, events.CallEnded)
        self.announcer.sinks.add(self.sink("all"))
        self.announcer.sinks.add(self.sink("e"), Event)
        for _ in range(2):
            self.emit(events.CallAccepted)
            self.emit(events.CallAnswered)
        once = [("all", "CallAccepted"), ("e", "CallAccepted")]
        once += [(name, "CallAnswered") for name in ("a", "all", "e")]
        self.assertEqual(self.told, once * 2)

    def test_sinks_that_come_and_go_while_all_are_told(self) -> None:
        late, gone = self.sink("late"), self.sink("gone")

        def change(event: Event) -> None:
            self.announcer.sinks.remove(gone)
            self.announcer.sinks.remove(change)
            self.announcer.sinks.add(late, events.CallAnswered)

        self.announcer.sinks.add(change)
        self.announcer.sinks.add(gone)
        self.emit(events.CallAnswered)
        self.emit(events.CallAnswered)
        self.assertEqual(self.told, [("late", "CallAnswered")])

    def test_a_sink_that_was_removed_gets_nothing_that_is_queued(self) -> None:
        def once(event: Event) -> None:
            self.told.append(("once", event.name))
            self.announcer.sinks.remove(once)

        self.announcer.sinks.add(once)
        self.announcer.sinks.add(self.sink("a"))
        with self.announcer:
            self.emit(events.CallAccepted)
            self.emit(events.CallAnswered)
        self.assertEqual(
            self.told, [("once", "CallAccepted"), ("a", "CallAccepted"), ("a", "CallAnswered")]
        )

    def test_a_sink_that_raises_keeps_nothing_from_the_others(self) -> None:
        def fail(event: Event) -> None:
            raise ValueError("no")

        self.announcer.sinks.add(fail)
        self.announcer.sinks.add(self.sink("a"))
        for _ in range(2):
            self.emit(events.CallAccepted)
        self.assertEqual(self.told, [("a", "CallAccepted")] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_a_sink_that_ends_the_process_leaves_the_next_event_to_be_told(self) -> None:
        def leave(event: Event) -> None:
            raise SystemExit

        self.announcer.sinks.add(leave)
        self.assertRaises(SystemExit, self.emit, events.CallAccepted)
        self.announcer.sinks.remove(leave)
        self.announcer.sinks.add(self.sink("a"))
        self.emit(events.CallAnswered)
        self.assertEqual(self.told, [("a", "CallAnswered")])

    def test_sinks_come_and_go_while_all_are_told(self) -> None:
        late = self.sink("late")

        def change(event: Event) -> None:
            self.announcer.sinks.remove(change)
            self.announcer.sinks.add(late)

        self.announcer.sinks.add(change)
        self.announcer.sinks.add(self.sink("a"))
        self.emit(events.CallAccepted)
        self.emit(events.CallAnswered)
        self.assertEqual(
            self.told, [("a", "CallAccepted"), ("a", "CallAnswered"), ("late", "CallAnswered")]
        )


class EntryTests(Announcing):
    """Events leave at the end of the entry, not in the midst of a transition."""

    def test_nothing_is_delivered_before_the_end_of_the_entry(self) -> None:
        self.announcer.sinks.add(self.sink("a"))
        with self.announcer:
            self.emit(events.CallAccepted)
            with self.announcer:  # an application's call in the midst of it
                self.emit(events.CallAnswered)
            self.assertEqual(self.told, [])
        self.assertEqual(self.told, [("a", "CallAccepted"), ("a", "CallAnswered")])

    def test_an_entry_that_fails_delivers_what_happened(self) -> None:
        self.announcer.sinks.add(self.sink("a"))

        def fail() -> None:
            with self.announcer:
                self.emit(events.CallAccepted)
                raise ValueError("no")

        self.assertRaises(ValueError, fail)
        self.assertEqual(self.told, [("a", "CallAccepted")])

    def test_what_is_called_later_keeps_its_place(self) -> None:
        self.announcer.sinks.add(self.sink("a"))
        with self.announcer:
            self.emit(events.CallAccepted)
            self.announcer.later(self.told.append, ("later", "x"))
            self.emit(events.CallAnswered)
        self.assertEqual([kind for _, kind in self.told], ["CallAccepted", "x", "CallAnswered"])

    def test_what_is_called_later_may_fail(self) -> None:
        self.announcer.sinks.add(self.sink("a"))
        with self.announcer:
            self.announcer.later(lambda _: 1 // 0, None)
            self.emit(events.CallAnswered)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.told, [("a", "CallAnswered")])

    def test_flush_delivers_within_an_entry(self) -> None:
        self.announcer.sinks.add(self.sink("a"))
        with self.announcer:
            self.emit(events.CallAccepted)
            self.announcer.flush()
            self.assertEqual(self.told, [("a", "CallAccepted")])

    def test_an_event_nobody_wants_is_not_made(self) -> None:
        made: list[object] = []

        class Counted(events.CallAnswered):
            def __attrs_post_init__(self) -> None:
                made.append(self)

        counted: Any = attrs.frozen(slots=False)(Counted)
        self.announcer.sinks.add(self.sink("a"), events.CallRinging)
        self.emit(counted)
        self.assertEqual(made, [])
        self.announcer.sinks.add(self.sink("b"), events.CallAnswered)
        self.emit(counted)
        self.assertEqual(len(made), 1)

    def test_a_sink_of_one_call(self) -> None:
        self.leg.sinks = EventSinks()
        self.leg.sinks.add(self.sink("own"), events.CallAnswered)
        self.announcer.sinks.add(self.sink("all"))
        self.emit(events.CallAccepted)
        self.emit(events.CallAnswered)
        self.assertEqual(
            self.told, [("all", "CallAccepted"), ("all", "CallAnswered"), ("own", "CallAnswered")]
        )

    def test_an_observer_of_one_call(self) -> None:
        self.leg.sinks = EventSinks()
        self.leg.sinks.add(self.sink("own"), events.CallAnswered, observes=True)
        self.announcer.sinks.add(self.sink("all"), events.CallAnswered, observes=True)
        with self.announcer:
            self.emit(events.CallAccepted)
            self.emit(events.CallAnswered)
            self.assertEqual(self.told, [("all", "CallAnswered"), ("own", "CallAnswered")])


class ObserverTests(Announcing):
    """Observers make nothing happen, so they need not wait for the end of the entry."""

    def test_it_is_told_at_once_and_before_the_sinks(self) -> None:
        self.announcer.sinks.add(self.sink("a"))
        self.announcer.sinks.add(self.sink("o"), observes=True)
        with self.announcer:
            self.emit(events.CallAccepted)
            self.assertEqual(self.told, [("o", "CallAccepted")])
        self.assertEqual(self.told, [("o", "CallAccepted"), ("a", "CallAccepted")])

    def test_one_that_raises_keeps_nothing_from_the_others(self) -> None:
        def fail(event: Event) -> None:
            raise ValueError("no")

        self.announcer.sinks.add(fail, observes=True)
        self.announcer.sinks.add(self.sink("o"), observes=True)
        self.announcer.sinks.add(self.sink("a"))
        self.emit(events.CallAccepted)
        self.assertEqual(self.told, [("o", "CallAccepted"), ("a", "CallAccepted")])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_it_is_taken_off_as_a_sink_is(self) -> None:
        observer = self.sink("o")
        self.announcer.sinks.add(observer, observes=True)
        self.announcer.sinks.remove(observer)
        self.emit(events.CallAccepted)
        self.assertEqual(self.told, [])
