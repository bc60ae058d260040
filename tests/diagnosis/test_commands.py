"""The options of the commands, and what they print."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.cli import main
from sessioncore.diagnosis import commands as module
from sessioncore.diagnosis.cases import Case, hearing_of
from sessioncore.diagnosis.selftest import Result
from sessioncore.media.wave import write_wav
from sessioncore.testing.tones import sine


def run(*arguments: str) -> tuple[int, str, str]:
    """Status, standard output, standard error."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        status = main(list(arguments))
    return status, out.getvalue(), error.getvalue()


class SelftestTests(SynchronousTestCase):
    def result(self, case: Case, good: bool = True, stalled: float = 0.0) -> Result:
        folder = Path(self.mktemp())
        folder.mkdir()
        hearings = []
        for role, hertz in (("UAC", 1000.0), ("UAS", 440.0)):
            write_wav(folder / role, sine(hertz if good else 600.0, case.seconds))
            hearings.append(hearing_of(case, role, folder / role))
        judgements = {"UAC": "two_way", "UAS": "two_way"}
        faults = () if good else ("UAC: something was wrong",)
        return Result(case, tuple(hearings), judgements, {}, faults, stalled)

    def run_with(self, *results: Result, arguments: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """What the command makes of these results."""
        patched: Any = mock.patch.object(module, "run_until", lambda wanted, stop: list(results))
        with patched:
            return run("selftest", *arguments)

    def test_all_good(self) -> None:
        status, out, error = self.run_with(self.result(Case("PCMU")), self.result(Case("PCMA")))
        self.assertEqual((status, error), (0, ""))
        self.assertRegex(out, r"PCMU +127\.0\.0\.1 +yes, -16\.0 dBov, 100\.0% of the time .* ok\n")
        self.assertTrue(out.endswith("2 of 2 calls heard in both directions.\n"))

    def test_one_failed(self) -> None:
        status, out, _ = self.run_with(self.result(Case("PCMU")), self.result(Case("x"), False))
        self.assertEqual(status, 1)
        self.assertIn("no; 600 Hz  WRONG", out)
        self.assertIn("x, 127.0.0.1: UAC: something was wrong\n", out)
        self.assertIn("1 of 2 calls", out)
        self.assertNotIn("too busy", out)

    def test_a_busy_machine(self) -> None:
        _, out, _ = self.run_with(self.result(Case("PCMU"), False, 3.0))
        self.assertIn("This machine was too busy", out)

    def test_json(self) -> None:
        status, out, error = self.run_with(self.result(Case("PCMU")), arguments=("--json=-",))
        self.assertEqual(status, 0)
        report = json.loads(out)
        self.assertEqual((report["good"], report["calls"][0]["name"]), (True, "PCMU"))
        self.assertEqual(report["calls"][0]["heard"]["UAC"]["share"], 1.0)
        self.assertIn("1 of 1 call heard", error)

    def test_mistakes(self) -> None:
        for arguments, says in {
            "--only=x": "--only: 'x' is unknown; write one of PCMU, PCMA, ",
            "--longer=soon": "--longer: 'soon' is not a number of seconds",
            "--json=/no/such/x": "--json: /no/such/x cannot be written: No such file",
            "--output=/dev/null/x": "--output: /dev/null/x cannot be written",
            "now": "'now' is not an option; write --option=value",
        }.items():
            status, out, error = self.run_with(arguments=(arguments,))
            self.assertEqual((status, out), (2, ""))
            self.assertIn(says, error)

    def test_only_those(self) -> None:
        made: list[Any] = []

        class Fake:
            stopped = False

            def __init__(self, _reactor: Any, cases: Any, *_rest: Any) -> None:
                made.extend(cases)

            run = stop = None

        self.patch(module, "Selftest", Fake)
        self.patch(module, "own_addresses", lambda: ["127.0.0.1", "192.0.2.1"])
        self.run_with(arguments=("--only=PCMU", "--only=hold", "--longer=3"))
        self.assertEqual(
            [(case.name, case.host, case.seconds) for case in made],
            [
                ("PCMU", "127.0.0.1", 5.5),
                ("hold", "127.0.0.1", 7.0),
                ("PCMU", "192.0.2.1", 5.5),
            ],
        )
