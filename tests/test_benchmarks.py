"""The benchmarks that need no quiet machine."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import count, flood
from sessioncore.testing import messages


class CountTests(SynchronousTestCase):
    """``bin/bench count``."""

    def figures(self, *arguments: str) -> Any:
        printed = io.StringIO()
        with redirect_stdout(printed):
            self.assertEqual(count.main(["--calls", "3", "--no-instructions", *arguments]), 0)
        return printed.getvalue()

    def test_the_same_figures_twice(self) -> None:
        first, second = (self.figures("--json") for _ in range(2))
        self.assertEqual(first, second)
        figures = json.loads(first)["figures"]
        self.assertEqual(
            list(figures),
            ["incoming, with log", "incoming, no log", "outgoing, with log", "outgoing, no log"],
        )
        for name, row in figures.items():
            self.assertGreater(row["bytecodes"], row["python"], name)
            self.assertGreater(row["python"], 0, name)
            self.assertGreater(row["c"], 0, name)
        for role in count.ROLES:
            self.assertGreater(
                figures[f"{role}, with log"]["bytecodes"], figures[f"{role}, no log"]["bytecodes"]
            )

    def test_functions_are_listed(self) -> None:
        printed = self.figures("--functions", "200")
        self.assertTrue("table.py:Machine.feed" in printed)
        # What the replay itself does is not counted, nor is the peer's part.
        self.assertFalse("count.py:Host" in printed)

    def test_a_replay_that_goes_wrong_counts_nothing(self) -> None:
        recording = count.record("incoming", [2], log=False)
        recording[0].pop()  # the last BYE
        error = self.assertRaises(
            SystemExit, count.replay, "incoming", [2], recording, log=False, count=False
        )
        self.assertIn("the replay went wrong", str(error))

    def test_only_what_is_entered_is_counted(self) -> None:
        tally = count.Tally()
        tally.enter(_twice, len)
        self.assertEqual(tally.figures["python"], 1)
        self.assertEqual(tally.figures["c"], 2)
        _twice(len)
        self.assertEqual(tally.figures["c"], 2)


def _twice(function: Any) -> int:
    return int(function("a") + function("b"))


class FloodTests(SynchronousTestCase):
    """``bin/bench flood``: the judgement; the floods themselves need a machine of their own."""

    def test_others_have_to_be_served(self) -> None:
        self.assertTrue(flood.Seen(placed=100, answered=99, grown=50_000_000).fine)
        self.assertFalse(flood.Seen(placed=100, answered=98).fine)
        self.assertFalse(flood.Seen(placed=100, answered=100, grown=50_000_001).fine)

    def test_each_kind_makes_a_message(self) -> None:
        who = messages.Caller(branch="z9hG4bK-CCCCCCCCCC")
        for kind, make in flood.KINDS.items():
            self.assertEqual(b"CCCCCCCCCC" in make(who), kind != "garbage", kind)
