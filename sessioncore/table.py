"""State machines as tables: rows go in, a dict of cells comes out, `Machine.feed` steps them all.

A table names its states (an Enum), its inputs (small classes) and a row for **every** cell.
A row goes to a next state and may run an action; an action returns effects and may not raise.
Cells that cannot happen are declared with `impossible`, and hitting one raises
`UnexpectedInput`; cells that do not matter are declared with `ignore`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from sessioncore.errors import UnexpectedInput

__all__ = ["Action", "Machine", "Row", "Table", "ignore", "impossible", "on"]

Action: TypeAlias = "Callable[[Any, Any], Iterable[object]]"
"""Called with the machine and the input; returns the effects to perform."""

Trace: TypeAlias = "Callable[[Machine, Enum, object, Enum], None]"
"""Called after each step with the machine, the old state, the input and the new state."""


class Row(NamedTuple):
    """One cell: in ``state``, given ``given``, run ``action`` and go to ``goes_to``."""

    state: Enum
    given: type
    goes_to: Enum | None
    action: Action | None
    note: str


def _each(states: Enum | Iterable[Enum]) -> Iterable[Enum]:
    return (states,) if isinstance(states, Enum) else tuple(states)


def on(
    states: Enum | Iterable[Enum],
    given: type,
    goes_to: Enum | None = None,
    action: Action | None = None,
    note: str = "",
) -> Iterator[Row]:
    """Rows for one input in one or more states; ``goes_to`` None stays where it is."""
    for state in _each(states):
        yield Row(state, given, state if goes_to is None else goes_to, action, note)


def ignore(states: Enum | Iterable[Enum], *given: type, because: str) -> Iterator[Row]:
    """Rows for inputs that change nothing; ``because`` says why that is right."""
    for kind in given:
        for state in _each(states):
            yield Row(state, kind, state, None, because)


def impossible(states: Enum | Iterable[Enum], *given: type, because: str) -> Iterator[Row]:
    """Rows for inputs that cannot occur; feeding one raises `UnexpectedInput`."""
    for kind in given:
        for state in _each(states):
            yield Row(state, kind, None, None, because)


class Table:
    """The whole behaviour of a machine.  Building it checks that each cell has exactly one row."""

    def __init__(
        self,
        name: str,
        *,
        states: type[Enum],
        inputs: Iterable[type],
        initial: Enum,
        final: Iterable[Enum],
        rows: Iterable[Iterable[Row]],
    ) -> None:
        self.name = name
        self.states = tuple(states)
        self.inputs = tuple(inputs)
        self.initial = initial
        self.final = frozenset(final)
        self.rows = tuple(row for group in rows for row in group)
        self.cells: dict[tuple[Enum, type], tuple[Enum, Action | None]] = {}
        answered: set[tuple[Enum, type]] = set()
        for row in self.rows:
            cell = (row.state, row.given)
            if cell in answered:
                raise ValueError(f"{name}: two rows for {row.given.__name__} in {row.state}")
            if row.given not in self.inputs:
                raise ValueError(f"{name}: {row.given.__name__} is not among the inputs")
            answered.add(cell)
            if row.goes_to is not None:
                self.cells[cell] = (row.goes_to, row.action)
        missing = [
            f"{given.__name__} in {state}"
            for state in self.states
            for given in self.inputs
            if (state, given) not in answered
        ]
        if missing:
            raise ValueError(f"{name}: no row for " + ", ".join(missing))

    def reachable(self) -> set[Enum]:
        """The states that some sequence of inputs reaches from the initial one."""
        found = {self.initial}
        frontier = [self.initial]
        while frontier:
            state = frontier.pop()
            for (source, _), (target, _action) in self.cells.items():
                if source is state and target not in found:
                    found.add(target)
                    frontier.append(target)
        return found

    def dead_ends(self) -> set[Enum]:
        """The non-final states with no way out."""
        leaves = {
            source for (source, _), (target, _a) in self.cells.items() if target is not source
        }
        return {state for state in self.states if state not in self.final} - leaves

    def diagram(self) -> str:
        """The table as a Graphviz ``digraph``: states, and an arrow per pair of states."""
        arrows: dict[tuple[Enum, Enum], list[str]] = {}
        for row in self.rows:
            if row.goes_to is not None and (row.goes_to is not row.state or row.action is not None):
                arrows.setdefault((row.state, row.goes_to), []).append(row.given.__name__)
        lines = [f'digraph "{self.name}" {{', "  rankdir=LR;"]
        for state in self.states:
            shape = "doublecircle" if state in self.final else "box"
            lines.append(f'  "{state}" [shape={shape}];')
        for (source, target), names in arrows.items():
            label = "\\n".join(dict.fromkeys(names))
            lines.append(f'  "{source}" -> "{target}" [label="{label}"];')
        return "\n".join([*lines, "}"])


class Machine:
    """An instance of a `Table`: it holds the current state.

    Subclasses set ``table`` and implement `perform`.  An input that is fed while another is
    being processed is queued.  If performing an effect raises, the other effects are still
    performed and the queued inputs processed; then the first error is raised.
    """

    table: Table
    state: Any
    trace: Trace | None = None
    _waiting: list[object] | None = None
    """While an input is processed: the inputs fed since.  Otherwise None."""

    def __init_subclass__(cls) -> None:
        if "table" in vars(cls):
            cls.state = cls.table.initial

    def perform(self, effect: Any) -> None:
        """Carry out one effect that an action returned."""
        raise NotImplementedError

    def feed(self, given: object) -> None:
        """Process one input; raises `UnexpectedInput` if the table declares it impossible."""
        if self._waiting is not None:
            self._waiting.append(given)
            return
        if self.trace is not None:
            self._work_off([given], ())
            return
        # `_step`, inlined; most inputs have no effects and are done here.
        try:
            new, action = self.table.cells[self.state, given.__class__]
        except KeyError:
            raise UnexpectedInput(self.table.name, self.state, given) from None
        if action is None:
            self.state = new
            return
        effects = action(self, given)
        self.state = new
        if effects:
            self._work_off([], effects)

    def _work_off(self, waiting: list[object], effects: Iterable[object]) -> None:
        """Perform ``effects``, then process the queued inputs in order; raises the first error."""
        self._waiting = waiting
        first: Exception | None = None
        try:
            while True:
                for effect in effects:
                    # A failed send must not prevent the timer after it from being armed.
                    try:
                        self.perform(effect)
                    except Exception as error:
                        first = first or error
                if not waiting:
                    break
                try:
                    effects = self._step(waiting.pop(0))
                except Exception as error:
                    first, effects = first or error, ()
        finally:
            self._waiting = None
        if first is not None:
            raise first

    def _step(self, given: object) -> Iterable[object]:
        """Take the transition of the table; returns the effects to perform in the new state."""
        old = self.state
        try:
            new, action = self.table.cells[old, given.__class__]
        except KeyError:
            raise UnexpectedInput(self.table.name, old, given) from None
        # The action sees the old state.
        effects = () if action is None else action(self, given)
        self.state = new
        if self.trace is not None:
            self.trace(self, old, given, new)
        return effects
