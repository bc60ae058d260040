"""The files of reports."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon import reports as module
from sessioncore.daemon.reports import ReportPlan, Reports
from sessioncore.vocabulary import SECOND
from sessioncore.watching.outcome import Outcome


class ReportsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.outcome = Outcome(2, 0)
        self.logged: list[Any] = []
        self.patch(module, "_log", Logger("x", observer=self.logged.append))  # type: ignore[arg-type]

    def write(self, calls: int = 2, **plan: str) -> None:
        reports = Reports(ReportPlan(**plan), "sessioncore/x", 5, 10 * SECOND)
        for number in range(calls):
            reports.calls.never_placed(f"sip:{number}@x", "no")
        reports.write(self.outcome, 13 * SECOND, interrupted=True)

    def test_both(self) -> None:
        found, xml = str(self.folder / "run.json"), str(self.folder / "run.xml")
        self.write(json=found, junit=xml)
        report = json.loads(Path(found).read_text())
        self.assertEqual([call["uri"] for call in report["calls"]], ["sip:0@x", "sip:1@x"])
        run = report["run"]
        self.assertEqual(
            (run["program"], run["elapsed"], run["planned"], run["interrupted"], run["failed"]),
            ("sessioncore/x", 3.0, 5, True, 2),
        )
        self.assertRegex(run["started"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$")
        root = ElementTree.parse(xml).getroot()
        self.assertEqual((root.get("tests"), root.get("time")), ("2", "3.000"))
        self.assertEqual(sorted(os.listdir(self.folder)), ["run.json", "run.xml"])

    def test_no_call(self) -> None:
        name = str(self.folder / "run.json")
        self.write(calls=0, json=name)
        self.assertEqual(json.loads(Path(name).read_text())["calls"], [])

    def test_a_file_that_is_there_is_replaced(self) -> None:
        name = self.folder / "run.json"
        name.write_text("x" * 100_000)
        self.write(json=str(name))
        json.loads(name.read_text())

    def test_what_is_not_a_file_is_written_to(self) -> None:
        self.write(json="/dev/null")
        self.assertFalse(os.path.isfile("/dev/null"))
        self.assertIsNone(self.outcome.unwritten)

    def test_standard_output(self) -> None:
        out = io.StringIO()
        self.patch(sys, "__stdout__", out)
        self.write(json="-")
        self.assertEqual(len(json.loads(out.getvalue())["calls"]), 2)

    def test_no_room(self) -> None:
        self.write(json="/dev/full", junit=str(self.folder / "run.xml"))
        self.assertEqual(
            self.outcome.unwritten, "--json /dev/full could not be written: No space left on device"
        )
        self.assertEqual(len(self.logged), 1)
        ElementTree.parse(self.folder / "run.xml")  # the other one is written all the same

    def test_wanted(self) -> None:
        self.assertFalse(ReportPlan().wanted)
        self.assertTrue(ReportPlan(junit="x").wanted)
        self.assertTrue(ReportPlan(json="-").wanted)
