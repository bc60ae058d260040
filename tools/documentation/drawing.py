"""State machines as Mermaid diagrams and as lists of cells, from their tables."""

from __future__ import annotations

import re
import textwrap
from enum import Enum

from sessioncore.table import Table
from sessioncore.watching import diagrams
from tools.documentation.words import WIDTH


def anchor(table: Table) -> str:
    """The heading of a machine as a link."""
    return re.sub(r"[^a-z0-9 -]", "", table.name.lower()).replace(" ", "-")


def _state(state: Enum) -> str:
    return re.sub(r"\W", "", str(state).rpartition(".")[2])


def mermaid(table: Table) -> str:
    """The table as a Mermaid state diagram: an arrow per pair of states, as `Table.diagram`."""
    arrows: dict[tuple[Enum, Enum], list[str]] = {}
    for row in table.rows:
        if row.goes_to is not None and (row.goes_to is not row.state or row.action is not None):
            arrows.setdefault((row.state, row.goes_to), []).append(row.given.__name__)
    lines = ["stateDiagram-v2", f"    [*] --> {_state(table.initial)}"]
    for (source, target), names in arrows.items():
        label = ", ".join(dict.fromkeys(names))
        lines.append(f"    {_state(source)} --> {_state(target)} : {label}")
    lines += [f"    {_state(state)} --> [*]" for state in table.states if state in table.final]
    return "\n".join(lines)


def cells(table: Table) -> str:
    """All cells, as ``sessioncore machines`` prints them, with long notes below their line."""
    made = []
    for line in diagrams.text(table).splitlines()[2:]:
        cell, mark, note = line.partition("  # ")
        if len(line) > WIDTH and mark:
            made += [cell, *textwrap.wrap(note, WIDTH - 10, initial_indent=" " * 8 + "# ",
                                          subsequent_indent=" " * 8 + "# ")]  # fmt: skip
        else:
            made.append(line)
    return "\n".join(made)


def machines() -> str:
    """All state machines: a diagram, and all cells."""
    parts = []
    for table in diagrams.tables():
        parts += [f"## {table.name[0].upper()}{table.name[1:]}", ""]
        parts += ["```mermaid", mermaid(table), "```", ""]
        parts += ["<details><summary>Every cell</summary>", ""]
        parts += ["```text", cells(table), "```", "", "</details>", ""]
    return "\n".join(parts)


def machine_list() -> str:
    """A link to each machine."""
    return "\n".join(f"- [{table.name}](#{anchor(table)})" for table in diagrams.tables())
