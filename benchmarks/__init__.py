"""Measurements: what `bin/bench` runs."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import version

__all__ = ["what_runs"]


def what_runs() -> str:
    """The versions a figure belongs to, and what of the package is compiled."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("Twisted", "numpy"))
    compiled = ", ".join(_form(module) for module in ("net._pump", "sip._reader"))
    implementation = platform.python_implementation()
    return f"{implementation} {platform.python_version()}, {packages}, {compiled}"


def _form(module: str) -> str:
    name = module.rpartition("._")[2]
    try:
        import_module(f"sessioncore.{module}")
    except ImportError:
        return f"{name} in Python"
    return f"compiled {name}"
