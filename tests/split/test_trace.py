"""``sessioncore trace`` by itself: a call to itself, step by step."""

from __future__ import annotations

import re

from tests.split.processes import ProcessTestCase


class TraceTests(ProcessTestCase):
    def test_a_call_to_itself(self) -> None:
        trace = self.command("trace")
        self.assertEqual(trace.wait(), 0, trace.output)
        for side in ("UAS", "UAC"):
            rows = set(re.findall(rf"^\[{side}\] ([0-9]) ", trace.output, re.MULTILINE))
            self.assertEqual(rows, set("123456789"), side)
            self.assertIn(f"[{side}] 9", trace.output)
            self.assertRegex(trace.output, rf"\[{side}\] 6 .*CallEnded, Media State: ")
