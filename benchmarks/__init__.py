"""Measurements: what `bin/bench` runs."""

from __future__ import annotations

import platform
from importlib.metadata import version

from sessioncore.extensions import INTERFACES, compiled

__all__ = ["what_runs"]


def what_runs() -> str:
    """The versions a figure belongs to, and what of the package is compiled."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("Twisted", "numpy"))
    parts = ", ".join(_form(module) for module in INTERFACES)
    implementation = platform.python_implementation()
    return f"{implementation} {platform.python_version()}, {packages}, {parts}"


def _form(module: str) -> str:
    name = module.rpartition("._")[2]
    return f"{name} in Python" if compiled(module) is None else f"compiled {name}"
