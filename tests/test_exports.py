"""What the package and its modules give, and that it is what they say."""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import walk_packages

from twisted.trial.unittest import SynchronousTestCase

import sessioncore
from sessioncore.watching.walk import heading

MODULES = [
    module.name
    for module in walk_packages(sessioncore.__path__, "sessioncore.")
    if not module.ispkg and not module.name.endswith("__main__")
]


class ExportsTests(SynchronousTestCase):
    def test_the_front_door(self) -> None:
        """Every name in ``__all__`` is there, and every public name is in ``__all__``."""
        public = {
            name
            for name, value in vars(sessioncore).items()
            if not name.startswith("_") and not hasattr(value, "__path__")
            if f"sessioncore.{name}" not in MODULES
        }
        self.assertEqual(public, set(sessioncore.__all__))
        self.assertEqual(sessioncore.__all__, sorted(sessioncore.__all__, key=_case))

    def test_every_module_says_what_it_gives(self) -> None:
        for name in MODULES:
            module = import_module(name)
            self.assertTrue(module.__doc__, name)
            self.assertTrue(hasattr(module, "__all__"), name)
            for public in module.__all__:
                self.assertTrue(hasattr(module, public), f"{name}.{public}")

    def test_the_map_of_the_house_is_the_walk(self) -> None:
        documented = {" ".join(line.split()) for line in (sessioncore.__doc__ or "").splitlines()}
        for line in heading().splitlines():
            self.assertIn(" ".join(line.split()), documented)

    def test_everything_public_is_documented(self) -> None:
        for name in sessioncore.__all__:
            self.assertTrue(getattr(sessioncore, name).__doc__, name)

    def test_what_is_returned_or_raised_is_public(self) -> None:
        """Types named by return annotations, and errors named by docstrings."""
        ours = {
            name
            for module in MODULES
            for name, value in vars(import_module(module)).items()
            if isinstance(value, type) and value.__module__.startswith("sessioncore.")
        }
        # Private to whoever gets them, or of a module the reference names.
        elsewhere = {
            "TakesEvents",
            "TakesMessages",
            "TakesReports",
            "Recording",
            "SipParseError",
            "SdpParseError",
        }
        named: set[str] = set()
        for name in sessioncore.__all__:
            kind = getattr(sessioncore, name)
            for member in vars(kind).values():
                function = member.fget if isinstance(member, property) else member
                function = getattr(function, "__func__", function)
                if not callable(function) or getattr(function, "__name__", "_")[0] == "_":
                    continue
                returned = getattr(function, "__annotations__", {}).get("return", "")
                named |= set(re.findall(r"\w+", str(returned)))
                named |= set(re.findall(r"`(?:errors\.)?(\w+)`", function.__doc__ or ""))
        self.assertEqual((named & ours) - set(sessioncore.__all__) - elsewhere, set())


def _case(name: str) -> tuple[bool, str]:
    """Ruff's order: constants, classes, functions; here there are only classes."""
    return (name.islower(), name)
