"""The file with the counters of a daemon."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon import stats as module
from sessioncore.daemon.stats import StatsFile
from sessioncore.manager import ManagerStatistics
from sessioncore.vocabulary import SessionRole

STATISTICS = ManagerStatistics(3, 4, 9, {"placed": 5}, {"received": 6}, {"packets_sent": 7})


class StatsFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.name = f"{self.folder}/stats.json"
        self.told: list[Any] = []
        self.patch(module, "_log", Logger(namespace="x", observer=self.told.append))

    def test_all_counters(self) -> None:
        StatsFile(self.name, SessionRole.UAS).write(STATISTICS, 8)
        with open(self.name) as file:
            record = json.load(file)
        self.assertGreater(record.pop("t"), 1.7e9)
        self.assertEqual(
            record,
            {
                "role": "UAS",
                "calls_up": 3,
                "rtp_ports_free": 4,
                "sip_unsent": 9,
                "calls": {"placed": 5},
                "sip": {"received": 6},
                "media": {"packets_sent": 7},
                "tap_errors": 0,
                "lines_lost": 8,
            },
        )

    def test_a_reader_never_sees_half_of_it(self) -> None:
        """Whoever has it open goes on reading what it was."""
        file = StatsFile(self.name, SessionRole.UAS)
        file.write(STATISTICS, 0)
        with open(self.name) as reader:
            file.write(STATISTICS, 1)
            self.assertEqual(json.load(reader)["lines_lost"], 0)
        self.assertEqual(os.listdir(self.folder), ["stats.json"])

    def test_a_failure_is_logged_once_an_outage(self) -> None:
        file = StatsFile(self.name, SessionRole.UAS)
        for outage in (1, 2):
            os.rename(self.folder, f"{self.folder}.away")
            file.write(STATISTICS, 0)
            file.write(STATISTICS, 0)
            self.assertEqual(len(self.told), outage)
            os.rename(f"{self.folder}.away", self.folder)
            file.write(STATISTICS, 0)
        self.assertIn(f"--stats {self.name}: No such file", formatEvent(self.told[0]))
