"""Machines in C and in Python, held to each other."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from enum import Enum
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sessioncore import table as t
from sessioncore.table import Machine, PythonMachine, Row, Table, impossible, on
from tests import test_table
from tests.test_table import DOOR, Burn, Door, Pull, Push

INPUTS = (Push, Pull, Burn)
MOST = 30
"""Inputs fed in all, whatever the effects ask for."""


class Leaving(BaseException):
    """What no machine puts off."""


class Effects:
    """Effects of which not even the truth may be known."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __bool__(self) -> bool:
        raise self.error

    def __iter__(self) -> Iterator[object]:
        raise self.error


def and_then(error: BaseException, effects: Iterable[object]) -> Iterator[object]:
    """The effects, then an error where the next would be."""
    yield from effects
    raise error


# What an action or an effect does: nothing, raise, or feed these inputs from inside.
DEEDS = st.one_of(
    st.none(),
    st.sampled_from([ZeroDivisionError, KeyError, Leaving]),
    st.lists(st.sampled_from(INPUTS), min_size=1, max_size=3),
)
# How the effects are returned.
FORMS = st.sampled_from([list, tuple, iter, "broken", "untrue", "none"])
ACTIONS = st.tuples(DEEDS, st.lists(DEEDS, max_size=3), FORMS)
CELLS = st.one_of(st.just("impossible"), st.tuples(st.sampled_from(Door), st.none() | ACTIONS))
TABLES = st.lists(CELLS, min_size=9, max_size=9)


def action(deed: Any, effects: list[Any], form: Any) -> Callable[[Any, Any], Any]:
    """One of a table's actions."""

    def act(machine: Any, given: object) -> Any:
        machine.do("action", deed)
        if form == "broken":
            return and_then(ArithmeticError("broken"), effects)
        if form == "untrue":
            return Effects(ArithmeticError("untrue"))
        return None if form == "none" else form(effects)

    return act


def table_of(cells: list[Any]) -> Table:
    """The table in which the cells stand in order."""
    rows: list[Iterable[Row]] = []
    for place, cell in enumerate(cells):
        state, kind = list(Door)[place // 3], INPUTS[place % 3]
        if cell == "impossible":
            rows.append(impossible(state, kind, because="so it is"))
        else:
            goes_to, what = cell
            rows.append(on(state, kind, goes_to, what and action(*what)))
    return Table(
        "random", states=Door, inputs=INPUTS, initial=Door.OPEN, final=(Door.GONE,), rows=rows
    )


def walker(base: Any, table: Table, traced: Any) -> Any:
    """A machine that writes down all that it does."""

    class Walker(base):  # type: ignore[misc]
        def __init__(self, trace: Any = None) -> None:
            super().__init__(trace)
            self.log: list[object] = []
            self.left = MOST

        def do(self, what: str, deed: Any) -> None:
            self.log.append((what, self.state, len(self._waiting or ()), self._waiting is None))
            if isinstance(deed, list):
                for kind in deed:
                    self.give(kind)
            elif deed is not None:
                raise deed(what)

        def give(self, kind: type) -> None:
            if self.left > 0:
                self.left -= 1
                self.feed(kind())

        def perform(self, effect: Any) -> None:
            self.do("effect", effect)

    Walker.table = table

    def trace(machine: Any, old: Enum, given: object, new: Enum) -> None:
        machine.log.append((old, type(given), new, machine.state))
        if traced == "badly":
            raise LookupError("trace")

    return Walker(trace if traced else None)


def story(base: Any, table: Table, traced: Any, inputs: list[type]) -> list[object]:
    """What a machine does with these inputs, and what it raises."""
    machine = walker(base, table, traced)
    for kind in inputs:
        try:
            try:
                raise OSError("what is handled meanwhile")
            except OSError:
                machine.give(kind)
        except BaseException as error:
            machine.log.append(told(error))
        machine.log.append((machine.state, machine._waiting))
    return machine.log  # type: ignore[no-any-return]


def told(error: BaseException) -> object:
    """An error, and what a traceback prints before it."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return type(error), str(error), None if before is None else told(before)


class CompiledMachineTests(SynchronousTestCase):
    def setUp(self) -> None:
        if t.compiled is None:
            reason = "sessioncore._machine was not compiled"
            if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
                self.fail(reason)
            raise SkipTest(reason)

    def test_is_used(self) -> None:
        self.assertTrue(issubclass(Machine, t.compiled.Machine))
        self.assertEqual(Machine.__doc__, PythonMachine.__doc__)

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(
        TABLES,
        st.sampled_from([None, None, "well", "badly"]),
        st.lists(st.sampled_from([*INPUTS, test_table.Loud]), max_size=8),
    )
    def test_does_what_python_does(self, cells: list[Any], traced: Any, inputs: list[type]) -> None:
        table = table_of(cells)
        self.assertEqual(
            story(Machine, table, traced, inputs), story(PythonMachine, table, traced, inputs)
        )

    def test_a_machine_that_was_not_begun_is_not_fed(self) -> None:
        for base in (Machine, PythonMachine):
            machine = base.__new__(base)
            self.assertRaises(AttributeError, lambda machine=machine: machine.state)
            self.assertRaises(AttributeError, machine.feed, Push())

    def test_a_state_that_is_taken_away_meanwhile(self) -> None:
        class Sly:
            @property
            def __class__(self) -> Any:
                del machine.state
                return Pull

        for base in (Machine, PythonMachine):
            table = SimpleNamespace(initial=Door.OPEN, cells=DOOR.cells)
            machine: Any = type("Some", (base,), {"table": table})()
            machine.feed(Sly())
            self.assertIs(machine.state, Door.OPEN)

            def cells(machine: Any = machine) -> Any:
                del machine.state
                return DOOR.cells

            kind = type("Broken", (), {"initial": Door.OPEN, "cells": property(lambda _: cells())})
            type(machine).table = kind()
            self.assertRaises(AttributeError, machine.feed, Pull())

    def test_arguments(self) -> None:
        for base in (Machine, PythonMachine):
            kind: Any = type("Some", (base,), {"table": DOOR})
            self.assertIs(kind(trace=len).trace, len)
            self.assertIs(kind().trace, None)
            self.assertRaises(TypeError, kind, 1, 2)
            self.assertRaises(TypeError, kind, other=1)
            self.assertRaises(AttributeError, base)

    def test_a_copy_has_what_the_machine_has(self) -> None:
        class Some(Machine):
            table = DOOR

        machine = Some()
        machine.feed(Burn())
        other: Any = copy(machine)
        self.assertEqual((other.state, other.trace, other._waiting), (Door.GONE, None, None))

    def test_cells_that_are_none_are_refused(self) -> None:
        class Broken:
            name, initial = "broken", Door.OPEN
            cells: Any = {(Door.OPEN, Push): 7, (Door.OPEN, Pull): (7,), (Door.OPEN, Burn): [1, 2]}

        kind: Any = type("Some", (Machine,), {"table": Broken()})
        for given_ in INPUTS:
            self.assertRaises(TypeError, kind().feed, given_())
        machine = kind()
        machine._waiting = 7
        self.assertRaises(SystemError, machine.feed, Push())

    def test_attributes_of_a_subclass_are_no_slower_to_reach(self) -> None:
        """A dict of its own costs each machine an allocation, and each attribute its short way."""
        held = []
        for base in (Machine, PythonMachine):
            machine: Any = type("Some", (base,), {"table": DOOR})()
            machine.one = 1
            held.append([type(each) for each in gc.get_referents(machine)])
        self.assertCountEqual(*held)

    def test_one_that_holds_itself_is_collected(self) -> None:
        class Some(Machine):
            table = DOOR

        for name in ("state", "trace", "_waiting"):
            machine = Some()
            setattr(machine, name, [machine])
            gone = weakref.ref(machine)
            del machine
            gc.collect()
            self.assertIs(gone(), None)


class PythonWalker(PythonMachine):
    """As that of the tests of machines, whatever was compiled."""

    table = DOOR
    perform = test_table.Walker.perform

    def __init__(self, trace: Any = None) -> None:
        super().__init__(trace)
        self.performed: list[tuple[object, Enum]] = []
        self.during: list[object] = []
        self.raises: list[Exception] = []


class PythonMachineTests(test_table.MachineTests):
    def setUp(self) -> None:
        self.patch(test_table, "Walker", PythonWalker)
