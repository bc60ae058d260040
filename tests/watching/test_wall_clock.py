"""Monotonic times as UTC, also after the clock of the machine was set."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.watching.wall_clock import WallClock


class WallClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.monotonic = 5_000_000_000
        self.wall = 1_767_268_800_000_000_000
        self.clock = WallClock(lambda: self.monotonic, lambda: self.wall)

    def test_utc(self) -> None:
        self.assertEqual(self.clock.utc(5_000_000_000), "2026-01-01T12:00:00.000000Z")
        self.assertEqual(self.clock.utc(6_234_567_890), "2026-01-01T12:00:01.234567Z")
        self.assertEqual(self.clock.utc(0), "2026-01-01T11:59:55.000000Z")
        self.assertEqual(self.clock.ns(4_999_999_999), self.wall - 1)

    def test_a_clock_that_is_set_counts_from_then_on(self) -> None:
        self.monotonic += 1_000_000_000
        self.wall += 3_601_000_000_000
        self.assertEqual(self.clock.utc(6_000_000_000), "2026-01-01T13:00:01.000000Z")
