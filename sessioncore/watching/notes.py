"""What the source says about the fields of a class: the strings below them."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import Any

__all__ = ["class_source", "field_notes"]


def class_source(kind: Any) -> ast.ClassDef:
    """The syntax tree of a class, or of a zope interface, which `inspect` does not support.

    Raises OSError where the source is not installed.
    """
    tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    (found,) = (
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    )
    return found


def field_notes(kind: type) -> dict[str, str]:
    """The docstrings of the fields of a class, by field."""
    notes: dict[str, str] = {}
    name = ""
    for statement in class_source(kind).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            continue
        value = statement.value if isinstance(statement, ast.Expr) else None
        if name and isinstance(value, ast.Constant) and isinstance(value.value, str):
            notes[name] = inspect.cleandoc(value.value)
        name = ""
    return notes
