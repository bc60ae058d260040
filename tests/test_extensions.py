"""What is compiled is used where it belongs to this version, and only there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.extensions import INTERFACES, compiled

ROOT = Path(__file__).resolve().parent.parent
NAME = "net._pump"
STALE = """
import sys
from types import ModuleType
for name in sys.argv[1:]:
    stale = sys.modules["sessioncore." + name] = ModuleType(name)
    stale.__file__ = name + ".so"
import sessioncore
from sessioncore.media import plain
from sessioncore.net import pump, timerfd
from sessioncore.sdp import description
from sessioncore.sip import building, message
print([each.compiled for each in (plain, pump, description, building, message)])
print(timerfd.set_timer, pump.Pump.__name__)
"""


def built(**names: object) -> ModuleType:
    """A module in place of a compiled one."""
    made = ModuleType(NAME)
    made.__file__ = "/somewhere/_pump.so"
    vars(made).update(names)
    return made


class ExtensionTests(SynchronousTestCase):
    def taking(self, module: ModuleType | None) -> object:
        with patch.dict(sys.modules, {f"sessioncore.{NAME}": module}):
            return compiled(NAME)

    def test_of_this_version(self) -> None:
        module = built(INTERFACE=INTERFACES[NAME])
        self.assertIs(self.taking(module), module)
        self.assertEqual(self.flushWarnings(), [])

    def test_not_compiled(self) -> None:
        self.assertIsNone(self.taking(None))
        self.assertEqual(self.flushWarnings(), [])

    def test_of_another_version(self) -> None:
        for module in (built(), built(INTERFACE=0), built(INTERFACE=INTERFACES[NAME] + 1)):
            self.assertIsNone(self.taking(module))
            (warning,) = self.flushWarnings()
            self.assertIs(warning["category"], RuntimeWarning)
            text = "^/somewhere/_pump.so was compiled from another version.*build_ext --inplace"
            self.assertRegex(warning["message"], text)

    def test_each_says_what_it_is_and_is_there(self) -> None:
        setup = (ROOT / "setup.py").read_text("utf-8")
        extensions = re.findall(r'Extension\(\s*"sessioncore\.([\w.]+)"', setup)
        self.assertEqual(set(extensions), set(INTERFACES))
        for name, number in INTERFACES.items():
            source = ROOT / "sessioncore" / (name.replace(".", "/") + ".c")
            said = re.findall(
                r'PyModule_AddIntConstant\(made, "INTERFACE", (\d+)\)', source.read_text()
            )
            self.assertEqual(said, [str(number)], name)

    def test_the_package_does_without_all_of_another_version(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", STALE, *INTERFACES],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(
            done.stdout, "[None, None, None, None, None]\nNone PythonPump\n", done.stderr
        )
        for name in INTERFACES:
            self.assertEqual(done.stderr.count(f"{name}.so was compiled from another version"), 1)
