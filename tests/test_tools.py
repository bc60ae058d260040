"""The scripts beside the package: counting tests, collecting news."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.diagnosis.cases import Case, hearing_of
from sessioncore.diagnosis.selftest import Result
from sessioncore.media.wave import write_wav
from sessioncore.testing.tones import sine

ROOT = Path(__file__).resolve().parent.parent


def tool(name: str) -> Any:
    spec = spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class CountTests(SynchronousTestCase):
    def counts(self, text: str) -> Any:
        return tool("run_tests").counts(text.splitlines(keepends=True))

    def test_all_passed(self) -> None:
        self.assertEqual(
            self.counts("Ran 12 tests in 0.046s\n\nPASSED (successes=12)\n"), (12, 0, 0)
        )

    def test_all_kinds(self) -> None:
        self.assertEqual(
            self.counts(
                "Ran 25 tests in 10.146s\n\n"
                "FAILED (skips=2, expectedFailures=3, unexpectedSuccesses=4, failures=5,"
                " errors=6, successes=5)\n"
            ),
            (8, 15, 2),
        )

    def test_no_test(self) -> None:
        self.assertEqual(self.counts("Ran 0 tests in 0.000s\n\nPASSED\n"), (0, 0, 0))

    def test_what_a_test_prints_does_not_count(self) -> None:
        self.assertIsNone(self.counts("PASSED (successes=99)\nRan away\n"))
        self.assertEqual(
            self.counts(
                "Ran 1 test in 0.0s\nPASSED (successes=1)\n"
                "Ran 2 tests in 0.0s\nFAILED (failures=1, successes=1)\n"
            ),
            (1, 1, 0),
        )

    def run_in(self, text: str) -> tuple[int, list[str]]:
        """Status and last line of a run of one made-up test module."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        (folder / "test_made_up.py").write_text(
            "from twisted.trial.unittest import TestCase\n\nclass T(TestCase):\n" + text
        )
        import subprocess

        done = subprocess.run(
            [sys.executable, str(ROOT / "tools" / "run_tests.py"), "test_made_up"],
            cwd=folder,
            env={"PYTHONPATH": str(folder.absolute()), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()[-1:]

    def test_real_runs(self) -> None:
        for text, expected in {
            "    def test_a(self): pass\n": (0, ["1 passed, 0 failed, 0 skipped"]),
            "    def test_a(self): 1/0\n    def test_b(self): pass\n": (
                1,
                ["1 passed, 1 failed, 0 skipped"],
            ),
            "    def test_a(self): pass\n    test_a.skip = 'not now'\n": (
                1,
                ["0 passed, 0 failed, 1 skipped"],
            ),
            "    pass\n": (1, ["0 passed, 0 failed, 0 skipped"]),
            "syntax error\n": (1, ["0 passed, 1 failed, 0 skipped"]),
            "    def test_a(self):\n        import os\n        os._exit(0)\n": (
                1,
                ["0 passed, 0 failed, 0 skipped"],
            ),
        }.items():
            self.assertEqual(self.run_in(text), expected, text)


class DemoTests(SynchronousTestCase):
    """What the demo makes of its result; `tests.split.test_demo` runs it."""

    def shown(self, disturbed: float, silent: bool = False) -> str:
        """What is shown where that share of what the UAC heard is noise."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        case = Case("demo", seconds=5.0)
        hearings = []
        for role, hertz in (("UAC", 1000.0), ("UAS", 440.0)):
            heard = sine(hertz, 5.0)
            if role == "UAC":
                heard[4000 : 4000 + int(disturbed * 4.6 * 8000)] = 0
                heard[:] = 0 if silent else heard
            write_wav(str(folder / role), heard, 8000)
            hearings.append(hearing_of(case, role, folder / role))
        verdicts = {"UAC": "two_way in 5.0 s: x", "UAS": "two_way in 5.0 s: y"}
        faults = tuple(fault for each in hearings for fault in each.faults)
        text: str = tool("demo").report(Result(case, tuple(hearings), {}, verdicts, faults))
        return text

    def test_one_disturbed_window_in_twenty_is_tolerated_and_shown(self) -> None:
        shown = self.shown(0.052)
        self.assertRegex(shown, r"yes, -16\.0 dBov, 9[45]\.\d% of the time, gaps to 2\d0 ms\n")
        self.assertNotIn("WRONG", shown)
        self.assertIn("\nUAC: two_way in 5.0 s: x\nUAS: two_way in 5.0 s: y", shown)

    def test_a_fifth_missing_is_not(self) -> None:
        shown = self.shown(0.2)
        self.assertRegex(shown, r"80\.\d% of the time, gaps to 920 ms  WRONG\n")

    def test_it_says_what_was_heard_instead(self) -> None:
        shown = self.shown(0, silent=True)
        self.assertRegex(shown, r"UAC heard  no; silence +WRONG +no; silence  WRONG\n")

    def test_the_table_does_not_run_together(self) -> None:
        for disturbed in (0.0, 0.05, 0.2):
            shown = self.shown(disturbed)
            head, *rows = shown.strip("\n").splitlines()[:3]
            begins = [head.index("440 Hz"), head.index("1000 Hz")]
            for row in rows:
                for begin in begins:
                    self.assertEqual(row[begin - 2 : begin], "  ", shown)
                    self.assertNotEqual(row[begin], " ", shown)


class NewsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.folder = self.root / "docs" / "newsfragments"
        self.folder.mkdir(parents=True)
        self.news = tool("news")

    def test_a_release(self) -> None:
        (self.folder / "README.md").write_text("about")
        (self.folder / "calls.feature.md").write_text("Calls\nboth ways.\n")
        (self.folder / "bye.fix.md").write_text("BYE.\n")
        log = self.root / "CHANGELOG.md"
        log.write_text(f"# Changes\n\n{self.news.MARK}\n## 0.1 (old)\n")
        self.news.release(self.root, "0.2", "2026-01-02")
        self.assertEqual(
            log.read_text(),
            f"# Changes\n\n{self.news.MARK}\n## 0.2 (2026-01-02)\n\n### New\n\n"
            "- Calls\n  both ways.\n\n### Mended\n\n- BYE.\n\n\n## 0.1 (old)\n",
        )
        self.assertEqual([path.name for path in self.folder.iterdir()], ["README.md"])

    def test_names_and_texts_are_checked(self) -> None:
        for name, text in (("x.md", "a"), ("x.idea.md", "a"), ("x.fix.md", " \n")):
            path = self.folder / name
            path.write_text(text)
            error = self.assertRaises(ValueError, self.news.fragments, self.folder)
            self.assertIn(name, str(error))
            path.unlink()

    def test_the_fragments_of_the_checkout(self) -> None:
        self.assertEqual(self.news.main(["--check"]), 0)
