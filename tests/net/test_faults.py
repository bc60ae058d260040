"""A fault that repeats is counted every time and logged once per kind, with its traceback."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.net import faults
from sessioncore.net.faults import FaultLog


def divide(by: int) -> float:
    return 1 / by


def look_up(key: str) -> None:
    raise KeyError(key)


class FaultLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.faults = FaultLog(Logger())

    def test_once_per_kind(self) -> None:
        for each in range(10):
            self.faults.guard("working", divide, 0)
            self.faults.guard("working", look_up, str(each))
        self.assertEqual(self.faults.count, 20)
        logged = self.flushLoggedErrors()
        self.assertEqual([failure.type for failure in logged], [ZeroDivisionError, KeyError])
        self.assertIn("in divide", logged[0].getTraceback())

    def test_another_place_is_another_kind(self) -> None:
        self.faults.guard("here", divide, 0)
        self.faults.guard("there", divide, 0)
        self.faults.guard("here", lambda: 1 // 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_kinds_are_bounded(self) -> None:
        self.patch(faults, "_MOST_KINDS", 5)
        for each in range(50):
            self.faults.guard(f"job {each}", divide, 0)
        self.assertEqual((self.faults.count, len(self.faults._seen)), (50, 5))
        self.assertEqual(len(self.flushLoggedErrors()), 5)

    def test_an_error_that_was_never_raised(self) -> None:
        self.faults.caught("telling", ValueError("made by hand"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_an_interrupt_is_no_fault(self) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        self.assertRaises(KeyboardInterrupt, self.faults.guard, "working", interrupt)
        self.assertEqual(self.faults.count, 0)
