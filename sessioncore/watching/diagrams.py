"""All state machines of the package, found and drawn from their tables."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

import sessioncore
from sessioncore.table import Table

__all__ = ["diagrams", "tables", "text"]


def tables() -> list[Table]:
    """Every `Table` of the package, sorted by name."""
    found: dict[int, Table] = {}
    for module in walk_packages(sessioncore.__path__, "sessioncore."):
        if module.name.rpartition(".")[2] != "__main__":
            for value in vars(import_module(module.name)).values():
                if isinstance(value, Table):
                    found[id(value)] = value
    return sorted(found.values(), key=lambda table: table.name)


def diagrams(*, dot: bool = False) -> str:
    """All tables as text, or as one Graphviz digraph each."""
    return "\n\n".join(table.diagram() if dot else text(table) for table in tables())


def text(table: Table) -> str:
    """One table: per state its inputs, where they lead, and why."""
    lines = [table.name, "=" * len(table.name)]
    width = max(len(given.__name__) for given in table.inputs)
    for state in table.states:
        mark = " (initial)" if state is table.initial else ""
        mark += " (final)" if state in table.final else ""
        lines.append(f"{_name(state)}{mark}")
        for row in table.rows:
            if row.state is state:
                action = "" if row.action is None else f" {row.action.__name__.strip('_')}"
                goes_to = "impossible" if row.goes_to is None else f"-> {_name(row.goes_to)}"
                note = f"  # {row.note}" if row.note else ""
                lines.append(f"  {row.given.__name__:<{width}}  {goes_to}{action}{note}")
    return "\n".join(lines)


def _name(state: object) -> str:
    name = str(state)
    return name.rpartition(".")[2] or name
