"""What is written in C: optional, and used only where it belongs to this version of the package.

Beside each stands a module that does the same in Python.  An extension that was compiled from
another version is as none at all: what it is asked might not be what it does.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, Final

__all__ = ["INTERFACES", "compiled"]

INTERFACES: Final = {
    "media._plain": 2,
    "net._pump": 1,
    "sdp._description": 1,
    "sip._builder": 1,
    "sip._reader": 1,
}
"""Each changes, here and in its C source, with what Python asks of the extension."""


def compiled(name: str) -> Any:
    """The extension ``sessioncore.name``, or None where Python has to do without it.

    Warns where there is one that was compiled from another version.
    """
    try:
        module = import_module(f"sessioncore.{name}")
    except ImportError:
        return None
    if getattr(module, "INTERFACE", None) == INTERFACES[name]:
        return module
    warnings.warn(
        f"{module.__file__} was compiled from another version of sessioncore and is not used:"
        " Python does its work, more slowly, until it is built or installed again"
        " (python setup.py build_ext --inplace, or pip install)",
        RuntimeWarning,
        stacklevel=2,
    )
    return None
