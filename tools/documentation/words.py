"""Docstrings and fields of classes as Markdown, wrapped."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable
from typing import Any, Final

import attrs

WIDTH: Final = 100


def prose(text: str | None) -> str:
    """A docstring as one paragraph per blank line, with Markdown's single backquotes."""
    cleaned = inspect.cleandoc(text or "").replace("``", "`")
    return "\n\n".join(" ".join(part.split()) for part in cleaned.split("\n\n"))


def bullet(head: str, text: str, indent: str = "") -> str:
    """A list entry, wrapped; ``text`` may be empty."""
    line = f"{head}: {text}" if text else head
    paragraphs = line.split("\n\n")
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    follow = indent + "  "
    made = [textwrap.fill(paragraphs[0], WIDTH, initial_indent=f"{indent}- ",
                          subsequent_indent=follow, **options)]  # fmt: skip
    for part in paragraphs[1:]:
        made += ["", textwrap.fill(part, WIDTH, initial_indent=follow,
                                   subsequent_indent=follow, **options)]  # fmt: skip
    return "\n".join(made)


def paragraph(text: str) -> str:
    """Running text, wrapped."""
    return "\n\n".join(
        textwrap.fill(part, WIDTH, break_long_words=False, break_on_hyphens=False)
        for part in text.split("\n\n")
    )


def class_source(kind: Any) -> ast.ClassDef:
    """The syntax tree of a class, or of a zope interface, which `inspect` does not support."""
    tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    (found,) = (
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    )
    return found


def field_notes(kind: type) -> dict[str, str]:
    """The strings below the fields of a class, by field."""
    notes: dict[str, str] = {}
    name = ""
    for statement in class_source(kind).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
        elif name and isinstance(statement, ast.Expr):
            value = statement.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                notes[name] = prose(value.value)
            name = ""
        else:
            name = ""
    return notes


def kind_of(field: Any) -> str:
    """The type of a field as in the source."""
    return str(field.type).replace(" | None", " or none").replace("| ", "or ")


def fields(kind: type, without: Iterable[str] = ()) -> list[str]:
    """A list entry per field of an attrs class."""
    notes = field_notes(kind)
    return [
        bullet(f"`{field.name}` ({kind_of(field)})", notes.get(field.name, ""))
        for field in attrs.fields(kind)
        if field.name not in set(without)
    ]
