"""The measurements of `bin/bench`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from sessioncore.extensions import INTERFACES, compiled

__all__ = ["stolen_seconds", "what_runs"]


def stolen_seconds() -> float:
    """Seconds that the host of a virtual machine took from all its processors (``proc(5)``)."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def what_runs() -> str:
    """The versions that a figure belongs to, and which extensions are compiled."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("Twisted", "numpy"))
    parts = ", ".join(_form(module) for module in INTERFACES)
    implementation = platform.python_implementation()
    return f"{implementation} {platform.python_version()}, {packages}, {parts}"


def _form(module: str) -> str:
    name = module.rpartition("._")[2]
    return f"{name} in Python" if compiled(module) is None else f"compiled {name}"
