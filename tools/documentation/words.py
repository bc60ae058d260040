"""Docstrings and fields of classes as Markdown, wrapped."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable
from typing import Any, Final

import attrs

from sessioncore.watching.notes import field_notes

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


def kind_of(field: Any) -> str:
    """The type of a field as in the source."""
    return str(field.type).replace(" | None", " or none").replace("| ", "or ")


def fields(kind: type, without: Iterable[str] = ()) -> list[str]:
    """A list entry per field of an attrs class."""
    notes = field_notes(kind)
    return [
        bullet(f"`{field.name}` ({kind_of(field)})", prose(notes.get(field.name)))
        for field in attrs.fields(kind)
        if field.name not in set(without)
    ]
