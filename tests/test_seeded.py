"""The tool that seeds defects: what it changes, which tests it runs, what it counts."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.test_tools import ROOT, tool

SOURCE = '''"""A limit of 64 in the text is left alone."""

LIMIT: Final[Literal[5]] = 64


def check(value: int = 8, *, name: "x > 3" = "é <") -> int:
    assert value > 7
    if value > LIMIT and value not in (1, 2):
        raise ValueError(value)
    if TYPE_CHECKING:
        pass
    count(value)
    return value
'''


class DefectTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.seeded = tool("seeded")

    def test_each_kind_is_found_where_it_is_and_nowhere_else(self) -> None:
        found = [(each.line, each.was, each.becomes) for each in self.seeded.defects(SOURCE)]
        condition = "value > LIMIT and value not in (1, 2)"
        expected = [
            (3, "64", "128"),
            (3, "64", "32"),
            (6, "8", "16"),
            (6, "8", "4"),
            (8, condition, f"not ({condition})"),
            (8, condition, "False"),
            (8, "and", "or"),
            (8, ">", ">="),
            (8, "not in", "in"),
            (8, "2", "4"),
            (8, "2", "1"),
            (9, "raise ValueError(value)", "pass"),
            (12, "count(value)", "pass"),
            (13, "return value", "pass"),
        ]
        self.assertEqual(sorted(found), sorted(expected))

    def test_only_that_place_changes(self) -> None:
        for defect in self.seeded.defects(SOURCE):
            changed = defect.seeded(SOURCE)
            compile(changed, "seeded", "exec")
            before, after = SOURCE.splitlines(), changed.splitlines()
            differ = [at for at, line in enumerate(after, 1) if line != before[at - 1]]
            self.assertEqual((differ, len(after)), ([defect.line], len(before)))

    def test_columns_behind_letters_of_two_octets(self) -> None:
        (defect,) = self.seeded.defects('x = "é" in y\n')
        self.assertEqual(defect.seeded('x = "é" in y\n'), 'x = "é" not in y\n')

    def test_every_defect_of_the_package_compiles_and_has_tests(self) -> None:
        for path in self.seeded.modules(ROOT, "sessioncore"):
            source = path.read_text(encoding="utf-8")
            for defect in self.seeded.defects(source)[::25]:
                compile(defect.seeded(source), str(path), "exec")
            suites = self.seeded.tests_of(path, ROOT)
            self.assertTrue(suites and all(suites), path)

    def test_which_tests_are_run(self) -> None:
        for module, suites in {
            "sip/via.py": [["tests.sip.test_via"], ["tests.sip"]],
            "net/sip_port.py": [["tests.net.test_sip_udp"], ["tests.net"]],
            "rtp/codecs/g722.py": [
                ["tests.rtp.test_codecs", "tests.test_own_codec"],
                ["tests.rtp"],
            ],
            "testing/network.py": [["tests.testing_kit.test_network"], ["tests.testing_kit"]],
        }.items():
            self.assertEqual(self.seeded.tests_of(ROOT / "sessioncore" / module, ROOT), suites)
        own, whole = self.seeded.tests_of(ROOT / "sessioncore" / "table.py", ROOT)
        self.assertEqual(own, ["tests.test_table"])
        self.assertIn("tests.test_manager", whole)


class RunTests(SynchronousTestCase):
    """On a package of one module, whose tests notice some defects."""

    def setUp(self) -> None:
        self.seeded = tool("seeded")
        self.root = Path(self.mktemp()).absolute()
        for folder in ("sessioncore/sip", "tests/sip"):
            (self.root / folder).mkdir(parents=True)
        for package in ("sessioncore", "sessioncore/sip", "tests", "tests/sip"):
            (self.root / package / "__init__.py").write_text("")
        self.module = self.root / "sessioncore/sip/limit.py"
        self.module.write_text(
            "LIMIT = 64\n\n\ndef over(n):\n    return n > LIMIT\n\n\n"
            "def wait(n):\n    while n < 1000:\n        n += 1\n    return n\n"
        )
        self.tests = self.root / "tests/sip/test_limit.py"
        self.write_tests("self.assertEqual((over(66), over(1), wait(7)), (True, False, 1000))")

    def write_tests(self, line: str) -> None:
        self.tests.write_text(
            "from twisted.trial.unittest import SynchronousTestCase\n"
            "from sessioncore.sip.limit import over, wait\n\n"
            "class T(SynchronousTestCase):\n"
            f"    def test_limit(self):\n        {line}\n"
        )

    def run_with(
        self, count: int, seed: int = 1, minutes: float | None = None
    ) -> tuple[tuple[int, int], str]:
        self.patch(self.seeded, "SHORTEST_WAIT", 3.0)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            counts = self.seeded.run(self.root, count, seed, "sessioncore", minutes)
        return counts, out.getvalue()

    def test_survivors_are_printed_and_the_tree_is_left_alone(self) -> None:
        before = {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        counts, printed = self.run_with(100)
        survivors = set(re.findall(r"survived: (\S+): (.*)", printed))
        where = "sessioncore/sip/limit.py"
        self.assertEqual(survivors, {(f"{where}:1", "64  ->  32"), (f"{where}:5", ">  ->  >=")})
        self.assertEqual(counts, (7, 9), printed)
        self.assertTrue(printed.startswith("seed 1: 9 of 9 possible defects\n"))
        after = {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        self.assertEqual(after, before)

    def test_a_seed_chooses_the_same_defects_again(self) -> None:
        chosen: list[Any] = []
        self.patch(
            self.seeded.Scratch, "notices", lambda _, path, defect: chosen.append(defect) or True
        )
        for seed in (3, 3, 4):
            self.assertEqual(self.run_with(4, seed)[0], (4, 4))
        self.assertEqual(chosen[:4], chosen[4:8])
        self.assertNotEqual(chosen[:4], chosen[8:])

    def test_it_ends_in_time(self) -> None:
        now = 0.0

        def notices(*_: Any) -> bool:
            nonlocal now
            now += 50
            return True

        self.patch(self.seeded.Scratch, "notices", notices)
        self.patch(self.seeded.time, "monotonic", lambda: now)
        self.assertEqual(self.run_with(9, minutes=2)[0], (3, 3))
        self.assertEqual(self.run_with(9)[0], (9, 9))

    def test_tests_that_fail_anyway_measure_nothing(self) -> None:
        for line in ("self.fail()", "self.skipTest('')"):
            self.write_tests(line)
            error = self.assertRaises(SystemExit, self.run_with, 1)
            self.assertIn("without any defect, tests.sip.test_limit fails", str(error))
