"""The fault book between real processes: each fault once; ``bin/bench faults`` repeats them."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any
from unittest import SkipTest

from benchmarks.faults.book import SCENARIOS
from benchmarks.namespace import unshare
from sessioncore.verdict import CAUSES
from tests.split.processes import ProcessTestCase

PATIENCE = 120.0


def require_namespace() -> None:
    """Skip the test by name, or fail it in CI, where a fault could not be injected."""
    missing = [name for name in ("nft", "ip") if shutil.which(name) is None]
    if not missing and unshare() is not None:
        return
    text = f"{missing[0]} is missing" if missing else "a network namespace is not permitted here"
    if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
        raise AssertionError(f"the fault lab is required: {text}")
    raise SkipTest(f"the fault lab cannot run: {text}")


class FaultTests(ProcessTestCase):
    def outcomes(self, *arguments: str) -> list[dict[str, Any]]:
        lab = self.start("-m", "benchmarks.faults", "--json", *arguments)
        status = lab.wait(PATIENCE)
        found = [json.loads(line) for line in lab.lines if line.startswith("{")]
        wrong = [each for each in found if not each["fine"]]
        self.assertEqual((status, wrong), (0, []), lab.output)
        return found

    def test_the_right_cause_ranks_first(self) -> None:
        require_namespace()
        found = self.outcomes()
        self.assertEqual({each["fault"] for each in found}, set(SCENARIOS))
        self.assertLessEqual({each["cause"] for each in found}, {each.name for each in CAUSES})
        for each in found:
            self.assertIn(": ", each["line"], each)

    def test_an_unknown_fault(self) -> None:
        lab = self.start("-m", "benchmarks.faults", "gremlins")
        self.assertEqual(lab.wait(), 2)
        self.assertIn("'gremlins' is not one of firewall, ", lab.output)
