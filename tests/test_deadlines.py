"""Deadlines against a naive model, and the promises a process lives by."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.deadlines import Deadline, Deadlines

DURATIONS = (5, 32)

# (kind, number): arm after number ns, cancel the number-th, let number ns pass, or add to a FIFO
operations = st.lists(
    st.one_of(
        st.tuples(st.just("at"), st.integers(-3, 40)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("pass"), st.integers(0, 20)),
        st.tuples(st.just("fifo"), st.integers(0, len(DURATIONS) - 1)),
    ),
    max_size=60,
)


class Model:
    """A list that is searched."""

    def __init__(self) -> None:
        self.armed: list[tuple[int, int, int]] = []

    def due(self, now: int) -> set[int]:
        found = {name for when, _, name in self.armed if when <= now}
        self.armed = [entry for entry in self.armed if entry[0] > now]
        return found

    def next(self) -> int | None:
        return min((when for when, _, _ in self.armed), default=None)


class ModelTests(SynchronousTestCase):
    @settings(max_examples=150)
    @given(operations)
    def test_same_as_the_model(self, steps: list[tuple[str, int]]) -> None:
        called: list[tuple[int, int]] = []
        woken: list[int] = []
        deadlines = Deadlines(woken.append)

        def call(name: int, now: int) -> None:
            called.append((name, now))

        fifos = [deadlines.fifo(duration, call) for duration in DURATIONS]
        model = Model()
        handles: list[Deadline] = []
        names: list[int] = []
        now = 100
        for name, (kind, number) in enumerate(steps):
            if kind == "at":
                handles.append(deadlines.at(now + number, call, name))
                names.append(name)
                model.armed.append((now + number, name, name))
            elif kind == "fifo":
                fifos[number].add(name, now)
                model.armed.append((now + DURATIONS[number], name, name))
            elif kind == "cancel" and handles:
                chosen = number % len(handles)
                handles[chosen].cancel()
                model.armed = [entry for entry in model.armed if entry[2] != names[chosen]]
            elif kind == "pass":
                now += number
                called.clear()
                deadlines.run(now)
                self.assertEqual(sorted(called), [(due, now) for due in sorted(model.due(now))])
            upcoming = model.next()
            self.assertEqual(deadlines.next(), upcoming)
            if upcoming is not None:
                # Whoever sleeps until the last time it was told never oversleeps.
                self.assertLessEqual(woken[-1], upcoming)


class DeadlinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.called: list[Any] = []
        self.deadlines = Deadlines()

    def call(self, argument: Any, now: int) -> None:
        self.called.append((argument, now))

    def fail_with(self, argument: Any, now: int) -> None:
        raise argument

    def test_in_order_of_time_then_of_arming(self) -> None:
        for when, name in ((7, "c"), (5, "a"), (5, "b"), (9, "d")):
            self.deadlines.at(when, self.call, name)
        self.deadlines.run(8)
        self.assertEqual(self.called, [("a", 8), ("b", 8), ("c", 8)])

    def test_cancel_twice_and_late(self) -> None:
        deadline = self.deadlines.at(5, self.call)
        self.deadlines.run(5)
        deadline.cancel()
        deadline.cancel()
        self.assertEqual(len(self.called), 1)

    def test_one_cancels_another_due_at_the_same_time(self) -> None:
        later = self.deadlines.at(6, self.call)
        self.deadlines.at(5, lambda argument, now: later.cancel())
        self.deadlines.run(10)
        self.assertEqual(self.called, [])

    def test_arming_for_now_waits_for_the_next_run(self) -> None:
        def again(argument: int, now: int) -> None:
            self.called.append(argument)
            self.deadlines.at(now, again, argument + 1)

        self.deadlines.at(5, again, 0)
        self.deadlines.at(6, self.call, "other")
        self.deadlines.run(10)
        self.assertEqual(self.called, [0, ("other", 10)])
        self.assertEqual(self.deadlines.next(), 10)
        self.deadlines.run(10)
        self.assertEqual(self.called[2:], [1])

    def test_an_error_loses_nothing(self) -> None:
        fifo = self.deadlines.fifo(5, self.fail_with)
        good = self.deadlines.fifo(5, self.call)
        fifo.add(KeyError("fifo"), 0)
        fifo.add(KeyError("fifo again"), 0)
        good.add("in a fifo", 0)
        self.deadlines.at(1, self.fail_with, ValueError("first"))
        self.deadlines.at(2, self.call, "after it")
        error = self.assertRaises(ValueError, self.deadlines.run, 9)
        self.assertEqual(str(error), "first")
        self.assertEqual(self.called, [("after it", 9), ("in a fifo", 9)])
        self.assertIsNone(self.deadlines.next())

    def test_all_errors_are_told_to_who_asks(self) -> None:
        errors: list[str] = []
        self.deadlines.at(1, self.fail_with, ValueError("one"))
        self.deadlines.at(2, self.fail_with, ValueError("two"))
        self.deadlines.run(9, lambda error: errors.append(str(error)))
        self.assertEqual(errors, ["one", "two"])

    def test_an_error_keeps_what_comes_later(self) -> None:
        self.deadlines.at(1, self.fail_with, ValueError())
        self.deadlines.at(20, self.call, "later")
        self.assertRaises(ValueError, self.deadlines.run, 9)
        self.deadlines.run(20)
        self.assertEqual(self.called, [("later", 20)])

    def test_wake_up_is_told_of_earlier_ones_only(self) -> None:
        woken: list[int] = []
        self.deadlines.on_earlier(woken.append)
        for when in (50, 60, 40, 45):
            self.deadlines.at(when, self.call)
        self.deadlines.fifo(10, self.call).add("x", 20)
        self.assertEqual(woken, [50, 40, 30])
        self.deadlines.run(30)
        self.assertEqual(woken, [50, 40, 30, 40])

    def test_wake_up_is_told_of_what_was_armed_before_it_came(self) -> None:
        woken: list[int] = []
        self.deadlines.at(50, self.call)
        self.deadlines.on_earlier(woken.append)
        self.assertEqual(woken, [50])

    def test_cancelled_deadlines_do_not_pile_up(self) -> None:
        class Call:
            pass

        held = Call()
        gone = weakref.ref(held)
        self.deadlines.at(1 << 50, self.call, held).cancel()
        keep = [self.deadlines.at(10**9 + each, self.call) for each in range(100)]
        for each in range(20_000):
            self.deadlines.at(10**6 + each, self.call).cancel()
        self.assertLess(len(self.deadlines._heap), 5_000)
        del held
        gc.collect()
        self.assertIsNone(gone())
        self.deadlines.run(10**10)
        self.assertEqual(len(self.called), len(keep))

    def test_sweeping_while_running(self) -> None:
        def burst(argument: Any, now: int) -> None:
            for each in range(5_000):
                self.deadlines.at(now + 1000 + each, self.call).cancel()

        self.deadlines.at(5, burst)
        self.deadlines.at(6, self.call, "after")
        self.deadlines.run(10)
        self.assertEqual(self.called, [("after", 10)])


class FifoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.called: list[Any] = []
        self.deadlines = Deadlines()
        self.fifo = self.deadlines.fifo(10, self.call)

    def call(self, key: Any, now: int) -> None:
        self.called.append(key)

    def test_oldest_first(self) -> None:
        for key, now in (("a", 0), ("b", 3), ("c", 9)):
            self.fifo.add(key, now)
        self.deadlines.run(13)
        self.assertEqual((self.called, len(self.fifo)), (["a", "b"], 1))
        self.assertEqual(self.deadlines.next(), 19)

    def test_the_oldest_may_be_hastened(self) -> None:
        self.fifo.add("a", 0)
        self.fifo.add("b", 3)
        self.assertTrue(self.fifo.hasten(4))
        self.assertEqual((self.called, len(self.fifo)), (["a"], 1))
        self.deadlines.run(10)
        self.assertEqual((self.called, self.deadlines.next()), (["a"], 13))
        self.deadlines.run(13)
        self.assertEqual(self.called, ["a", "b"])
        self.assertFalse(self.fifo.hasten(14))
        self.assertEqual(self.called, ["a", "b"])

    def test_one_that_is_added_after_all_were_hastened(self) -> None:
        fifo = self.deadlines.fifo(20, self.call, grid=5)
        fifo.add("a", 1)
        self.assertEqual((fifo.hasten(1), fifo.hasten(1)), (True, False))
        fifo.add("b", 2)
        self.deadlines.run(25)
        self.assertEqual(self.called, ["a", "b"])

    def test_hastening_while_others_are_called_calls_each_once(self) -> None:
        def hasten(key: str, now: int) -> None:
            self.called.append(key)
            fifo.hasten(now)

        fifo = self.deadlines.fifo(20, hasten, grid=5)
        for key, now in (("a", 1), ("b", 2), ("c", 6)):
            fifo.add(key, now)
        self.deadlines.run(25)
        self.assertEqual(sorted(self.called), ["a", "b", "c"])
        self.assertEqual(len(fifo), 0)

    def test_a_callback_may_add(self) -> None:
        again = self.deadlines.fifo(10, lambda key, now: again.add(key, now))
        again.add("x", 0)
        self.deadlines.run(10)
        self.assertEqual(self.deadlines.next(), 20)

    def test_on_a_grid_none_is_early_and_none_wakes_alone(self) -> None:
        fifo = self.deadlines.fifo(20, self.call, grid=5)
        for now in (1, 3, 4, 5, 6):
            fifo.add(now, now)
        self.assertEqual(self.deadlines.next(), 25)
        self.deadlines.run(24)
        self.assertEqual(self.called, [])
        self.deadlines.run(25)
        self.assertEqual((self.called, self.deadlines.next()), ([1, 3, 4, 5], 30))
        self.deadlines.run(30)
        self.assertEqual((self.called[4:], self.deadlines.next()), ([6], None))

    def test_many_are_one_deadline(self) -> None:
        for now in range(100):
            self.fifo.add(now, now)
        self.assertEqual(len(self.deadlines._heap), 1)

    def test_remove(self) -> None:
        self.fifo.add("a", 0)
        self.deadlines.remove(self.fifo)
        self.assertIsNone(self.deadlines.next())
        self.fifo.add("b", 0)
        self.assertIsNone(self.deadlines.next())
        self.deadlines.run(99)
        self.assertEqual(self.called, [])

    def test_remove_while_running(self) -> None:
        other = self.deadlines.fifo(
            10, lambda key, now: [self.call(key, now), self.deadlines.remove(other)]
        )
        other.add("a", 0)
        other.add("b", 0)
        self.fifo.add("c", 0)
        self.deadlines.run(10)
        self.assertEqual(sorted(self.called), ["a", "c"])
