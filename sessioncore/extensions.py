"""The optional C extensions, used only if they were compiled from this version of the package.

A Python module beside each extension does the same.  An extension that was compiled from
another version is ignored, because its functions may differ from what Python expects.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, Final

__all__ = ["INTERFACES", "compiled"]

INTERFACES: Final = {
    "media._plain": 3,
    "net._pump": 2,
    "sdp._description": 2,
    "sip._builder": 1,
    "sip._reader": 2,
}
"""Change a number here and in the C source whenever the interface of that extension changes."""


def compiled(name: str) -> Any:
    """The extension ``sessioncore.name``, or None if the Python version has to be used.

    Warns if the extension was compiled from another version.
    """
    try:
        module = import_module(f"sessioncore.{name}")
    except ImportError:
        return None
    if getattr(module, "INTERFACE", None) == INTERFACES[name]:
        return module
    warnings.warn(
        f"{module.__file__} was compiled from another version of sessioncore and is not used."
        " The slower Python version is used instead.  Build the extension again"
        " (python setup.py build_ext --inplace, or pip install)",
        RuntimeWarning,
        stacklevel=2,
    )
    return None
