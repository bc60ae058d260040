"""Measurements: what `bin/bench` runs."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import version

__all__ = ["what_runs"]


def what_runs() -> str:
    """The versions a figure belongs to, and whether the loops over RTP sockets are compiled."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("Twisted", "numpy"))
    try:
        import_module("sessioncore.net._pump")
        pump = "compiled pump"
    except ImportError:
        pump = "pump in Python"
    implementation = platform.python_implementation()
    return f"{implementation} {platform.python_version()}, {packages}, {pump}"
