"""Each module has its tests where `tools.mirror` says, which `bin/test --seeded` follows."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools.mirror import THROUGH, own_file, test_files

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, TESTS = ROOT / "sessioncore", ROOT / "tests"


def modules() -> list[str]:
    """All modules, as ``sip/message``."""
    return sorted(
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in PACKAGE.rglob("*.py")
        if not path.name.startswith("__")
    )


class MirrorTests(SynchronousTestCase):
    def test_every_module_has_its_tests_in_a_known_place(self) -> None:
        listed = {module for names in THROUGH for module in names.split()}
        without = {module for module in modules() if not (TESTS / own_file(module)).exists()}
        self.assertEqual(without - listed, set())
        self.assertEqual(listed - set(modules()), set())
        for module in modules():
            for file in test_files(module):
                self.assertTrue((TESTS / file).exists(), file)
