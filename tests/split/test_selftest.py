"""The self-test with real processes."""

from __future__ import annotations

import json
import signal

from tests.split.processes import ProcessTestCase


class SelftestTests(ProcessTestCase):
    def test_a_call(self) -> None:
        test = self.command("selftest", "--only=PCMU", "--json=out.json", "--output=heard")
        status = test.wait(90)
        self.assertEqual(status, 0, test.output)
        report = json.loads((self.folder / "out.json").read_text())
        self.assertTrue(report["good"])
        self.assertEqual({call["name"] for call in report["calls"]}, {"PCMU"})
        self.assertRegex(test.output, r"PCMU +127\.0\.0\.1 +yes, -16\.0 dBov")
        self.assertEqual(len(list((self.folder / "heard").iterdir())), 2 * len(report["calls"]))

    def test_it_can_be_interrupted(self) -> None:
        test = self.command("selftest", "--only=hold", "--longer=60")
        test.line("1 call between two processes")
        test.popen.send_signal(signal.SIGINT)
        self.assertEqual(test.wait(30), 1, test.output)
        self.assertIn("Stopped before all calls were made.", test.output)
        self.assertIn("0 of 1 call heard in both directions.", test.output)
