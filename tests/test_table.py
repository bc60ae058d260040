"""Tables answer every cell once; machines take their inputs in order whatever happens."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import UnexpectedInput
from sessioncore.table import Machine, Row, Table, ignore, impossible, on


class Door(Enum):
    OPEN = "open"
    CLOSED = "closed"
    GONE = "gone"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


class Push:
    pass


class Pull:
    pass


class Burn:
    pass


class Loud(Push):
    pass


def _creak(machine: Any, given: object) -> list[str]:
    return [f"creak in {machine.state}"]


_ROWS = [
    on(Door.OPEN, Push, Door.CLOSED, _creak),
    on(Door.CLOSED, Pull, Door.OPEN),
    ignore(Door.OPEN, Pull, because="it is open already"),
    ignore(Door.CLOSED, Push, because="it is closed already"),
    on((Door.OPEN, Door.CLOSED), Burn, Door.GONE),
    impossible(Door.GONE, Push, Pull, Burn, because="nothing is left"),
]


def door(
    rows: Iterable[Iterable[Row]], *, states: type[Enum] = Door, initial: Enum = Door.OPEN
) -> Table:
    return Table(
        "door",
        states=states,
        inputs=(Push, Pull, Burn),
        initial=initial,
        final=(Door.GONE,),
        rows=[list(row) for row in rows],
    )


ROWS = [list(rows) for rows in _ROWS]
DOOR = door(ROWS)


class Walker(Machine):
    table = DOOR

    def __init__(self, trace: Any = None) -> None:
        self.trace = trace
        self.performed: list[tuple[object, Enum]] = []
        self.during: list[object] = []
        self.raises: list[Exception] = []

    def perform(self, effect: Any) -> None:
        self.performed.append((effect, self.state))
        while self.during:
            self.feed(self.during.pop(0))
        if self.raises:
            raise self.raises.pop(0)


class TableTests(SynchronousTestCase):
    def test_missing_cell(self) -> None:
        error = self.assertRaises(ValueError, door, ROWS[:-1])
        self.assertIn("no row for Push in gone, Pull in gone, Burn in gone", str(error))

    def test_cell_answered_twice(self) -> None:
        rows = [*ROWS, on(Door.GONE, Push, Door.OPEN)]
        error = self.assertRaises(ValueError, door, rows)
        self.assertIn("two rows for Push in gone", str(error))

    def test_unknown_input(self) -> None:
        error = self.assertRaises(ValueError, door, [*ROWS, on(Door.OPEN, Loud)])
        self.assertIn("Loud is not among the inputs", str(error))

    def test_reachable(self) -> None:
        self.assertEqual(DOOR.reachable(), set(Door))
        rows = [list(row) for row in ROWS]
        rows[4] = list(ignore((Door.OPEN, Door.CLOSED), Burn, because="it is of stone"))
        self.assertEqual(door(rows).reachable(), {Door.OPEN, Door.CLOSED})

    def test_dead_ends(self) -> None:
        self.assertEqual(DOOR.dead_ends(), set())
        rows = [list(row) for row in ROWS]
        rows[1] = list(ignore(Door.CLOSED, Pull, because="it sticks"))
        rows[4] = [
            *on(Door.OPEN, Burn, Door.GONE),
            *ignore(Door.CLOSED, Burn, because="it is wet"),
        ]
        self.assertEqual(door(rows).dead_ends(), {Door.CLOSED})

    def test_diagram_shows_what_changes_something(self) -> None:
        drawn = DOOR.diagram()
        self.assertIn('"open" -> "closed" [label="Push"]', drawn)
        self.assertIn('"gone" [shape=doublecircle]', drawn)
        self.assertNotIn('"open" -> "open"', drawn)


class MachineTests(SynchronousTestCase):
    def test_step(self) -> None:
        walker = Walker()
        walker.feed(Push())
        self.assertIs(walker.state, Door.CLOSED)
        # The action saw the old state, the effect is performed in the new one.
        self.assertEqual(walker.performed, [("creak in open", Door.CLOSED)])

    def test_unexpected_input_names_table_state_and_input(self) -> None:
        walker = Walker()
        walker.feed(Burn())
        error = self.assertRaises(UnexpectedInput, walker.feed, Push())
        self.assertEqual(str(error), "door: Push in state gone is not in the table")
        self.assertIs(walker.state, Door.GONE)

    def test_subclasses_of_inputs_are_other_inputs(self) -> None:
        self.assertRaises(UnexpectedInput, Walker().feed, Loud())

    def test_input_during_a_step_waits(self) -> None:
        walker = Walker()
        walker.during = [Pull(), Push()]
        seen: list[tuple[Enum, type, Enum]] = []
        walker.trace = lambda machine, old, given, new: seen.append((old, type(given), new))
        walker.feed(Push())
        self.assertEqual(
            seen,
            [
                (Door.OPEN, Push, Door.CLOSED),
                (Door.CLOSED, Pull, Door.OPEN),
                (Door.OPEN, Push, Door.CLOSED),
            ],
        )

    def test_an_error_in_an_effect_loses_no_input(self) -> None:
        walker = Walker()
        walker.during = [Pull(), Burn()]
        walker.raises = [ZeroDivisionError("first"), KeyError("second")]
        error = self.assertRaises(ZeroDivisionError, walker.feed, Push())
        self.assertEqual(str(error), "first")
        self.assertIs(walker.state, Door.GONE)

    def test_an_error_in_an_effect_loses_no_other_effect(self) -> None:
        class Two(Walker):
            table = door([list(on(Door.OPEN, Push, Door.CLOSED, lambda m, g: [1, 2])), *ROWS[1:]])

        walker = Two()
        walker.raises = [ZeroDivisionError("first"), KeyError("second")]
        self.assertRaises(ZeroDivisionError, walker.feed, Push())
        self.assertEqual([effect for effect, _ in walker.performed], [1, 2])

    def test_the_first_of_all_errors_is_raised(self) -> None:
        walker = Walker()
        walker.feed(Push())
        walker.feed(Pull())
        walker.during = [Burn(), Push()]
        walker.raises = [ZeroDivisionError("first")]
        self.assertRaises(ZeroDivisionError, walker.feed, Push())
        self.assertIs(walker.state, Door.GONE)

    def test_the_first_error_of_those_that_wait_is_raised(self) -> None:
        walker = Walker()
        walker.during = [Burn(), Push(), Pull()]
        error = self.assertRaises(UnexpectedInput, walker.feed, Push())
        self.assertIsInstance(error.given, Push)

    def test_a_machine_lives_on_after_an_error(self) -> None:
        walker = Walker()
        walker.raises = [ZeroDivisionError()]
        self.assertRaises(ZeroDivisionError, walker.feed, Push())
        walker.feed(Pull())
        self.assertIs(walker.state, Door.OPEN)

    @settings(max_examples=50)
    @given(st.lists(st.sampled_from([Push, Pull]), max_size=20), st.integers(0, 20))
    def test_feeding_from_inside_equals_feeding_from_outside(
        self, inputs: list[type], place: int
    ) -> None:
        outside, inside = Walker(), Walker()
        for kind in [Push, *inputs]:
            outside.feed(kind())
        inside.during = [kind() for kind in inputs[:place]]
        inside.feed(Push())
        for kind in inputs[place:]:
            inside.feed(kind())
        self.assertIs(inside.state, outside.state)
        self.assertEqual(inside.performed, outside.performed)

    @settings(max_examples=100)
    @given(
        st.lists(st.sampled_from([Push, Pull, Burn, Loud]), max_size=12),
        st.lists(st.sampled_from([Push, Pull, Burn]), max_size=4),
        st.integers(0, 3),
    )
    def test_a_traced_machine_does_the_same(
        self, inputs: list[type], during: list[type], errors: int
    ) -> None:
        """The short way, that of a machine nobody watches, against the long one."""
        seen: list[object] = []
        done = []
        for trace in (None, lambda *step: seen.append(step)):
            walker = Walker(trace)
            walker.during = [kind() for kind in during]
            walker.raises = [ZeroDivisionError(number) for number in range(errors)]
            raised = []
            for kind in inputs:
                try:
                    walker.feed(kind())
                except (ZeroDivisionError, UnexpectedInput) as error:
                    raised.append(str(error))
            done.append((walker.state, walker.performed, raised))
        self.assertEqual(done[0], done[1])

    def test_a_trace_sees_the_new_state_before_the_effects_are_performed(self) -> None:
        walker = Walker()
        seen: list[object] = []
        walker.trace = lambda machine, *step: seen.append((machine.state, machine.performed[:]))
        walker.feed(Push())
        self.assertEqual(seen, [(Door.CLOSED, [])])

    def test_a_trace_that_fails_costs_its_own_effects_only(self) -> None:
        walker = Walker(lambda *step: 1 / 0)
        self.assertRaises(ZeroDivisionError, walker.feed, Push())
        self.assertEqual((walker.state, walker.performed), (Door.CLOSED, []))
        walker.trace = None
        walker.feed(Pull())
        self.assertIs(walker.state, Door.OPEN)
