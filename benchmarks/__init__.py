"""Measurements: what `bin/bench` runs."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from sessioncore.extensions import INTERFACES, compiled

__all__ = ["stolen_seconds", "what_runs"]


def stolen_seconds() -> float:
    """What the host of a virtual machine took from all its processors so far (``proc(5)``)."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def what_runs() -> str:
    """The versions a figure belongs to, and what of the package is compiled."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("Twisted", "numpy"))
    parts = ", ".join(_form(module) for module in INTERFACES)
    implementation = platform.python_implementation()
    return f"{implementation} {platform.python_version()}, {packages}, {parts}"


def _form(module: str) -> str:
    name = module.rpartition("._")[2]
    return f"{name} in Python" if compiled(module) is None else f"compiled {name}"
