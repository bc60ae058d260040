"""One clockwork contract under the fake clock, on a bare timerfd, and on four reactors."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import SkipTest, mock

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sessioncore.net import clockwork as clockwork_module
from sessioncore.net import timerfd
from sessioncore.net.clockwork import (
    IClockwork,
    ReactorClockwork,
    TimerfdClockwork,
    clockwork_for,
)
from sessioncore.net.lateness import Lateness
from sessioncore.testing.network import FakeNetwork
from sessioncore.vocabulary import MILLISECOND, SECOND

ROOT = Path(__file__).resolve().parent.parent.parent


class TimerfdFunctionsTests(SynchronousTestCase):
    """Python 3.13 has timerfd in `os`; before, it takes ctypes."""

    def test_those_of_os_where_both_are_there(self) -> None:
        made = mock.Mock(return_value=7)
        armed = mock.Mock()
        names = ("timerfd_create", "timerfd_settime_ns")
        for given in ((made, armed), (made, None), (None, armed), (None, None)):
            with mock.patch.multiple(os, create=True, **dict(zip(names, given, strict=True))):
                functions = timerfd._through_os()
            if None in given:
                self.assertIsNone(functions)
                continue
            assert functions is not None
            create, set_absolute = functions
            self.assertEqual(create(), 7)
            set_absolute(7, 12_345)
            self.assertEqual(armed.call_args.args, (7,))
            self.assertEqual(armed.call_args.kwargs["initial"], 12_345)


class FakeClockTests(SynchronousTestCase):
    """Everything about ticks and deadlines, in exact nanoseconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clockwork = ReactorClockwork(self.clock)
        self.clockwork.start()
        self.ticks: list[int] = []

    def advance(self, milliseconds: float) -> None:
        self.clock.advance(milliseconds / 1000)

    def test_interface(self) -> None:
        verifyObject(IClockwork, self.clockwork)

    def test_now_is_exact(self) -> None:
        for _ in range(1000):
            self.advance(5)
        self.assertEqual(self.clockwork.now(), 5 * SECOND)

    def test_overdue(self) -> None:
        self.assertEqual(self.clockwork.overdue, 0)
        self.clockwork.add_tick(self.ticks.append)
        self.advance(5)
        self.assertEqual(self.clockwork.overdue, 0)
        self.clock.rightNow += 0.012
        self.assertEqual(self.clockwork.overdue, 7 * MILLISECOND)

    def test_every_step_of_a_period_is_one_tick(self) -> None:
        self.clockwork.add_tick(self.ticks.append)
        for _ in range(2000):
            self.advance(5)
        self.assertEqual(self.ticks, [each * 5 * MILLISECOND for each in range(1, 2001)])
        self.assertEqual(self.clockwork.missed + self.clockwork.caught_up, 0)

    def test_exact_far_from_zero(self) -> None:
        """A float clock at wall time resolves 0.2 µs; ticks are neither lost nor doubled."""
        self.clock.advance(1_700_000_000)
        self.clockwork.add_tick(self.ticks.append)
        for _ in range(400):
            self.advance(5)
        self.assertIn(len(self.ticks), (399, 400))
        self.assertEqual(self.ticks, sorted(set(self.ticks)))

    def test_now_never_runs_backwards(self) -> None:
        self.advance(50)
        before = self.clockwork.now()
        self.clock.rightNow = 0.02
        self.assertEqual(self.clockwork.now(), before)

    def test_ticks_are_on_the_grid_from_one_period_on(self) -> None:
        for start, first in ((0.5, 10), (17.75, 25), (30, 35)):
            self.advance(start - self.clockwork.now() / MILLISECOND)
            self.clockwork.add_tick(self.ticks.append)
            for _ in range(40):
                self.advance(0.25)
            self.assertEqual(self.ticks[0], first * MILLISECOND)
            self.clockwork.remove_tick(self.ticks.append)
            self.ticks.clear()

    def test_it_ticks_on_the_grid_after_a_pause(self) -> None:
        self.clockwork.add_tick(self.ticks.append)
        self.clockwork.stop()
        self.advance(6)
        self.clockwork.start()
        for _ in range(10):
            self.advance(1)
        self.assertEqual(self.ticks, [15 * MILLISECOND])

    def test_ticks_and_timers_on_a_grid_share_a_wake_up(self) -> None:
        self.advance(3)
        fifo = self.clockwork.deadlines.fifo(
            12 * MILLISECOND, lambda key, now: called.append(now), 5 * MILLISECOND
        )
        fifo.add("a", self.clockwork.now())
        self.clockwork.add_tick(self.ticks.append)
        called: list[int] = []
        with mock.patch.object(self.clockwork, "_arm", wraps=self.clockwork._arm) as armed:
            for _ in range(14):
                self.advance(1)
        self.assertEqual((called, self.ticks), ([15 * MILLISECOND], [10_000_000, 15_000_000]))
        self.assertEqual(armed.call_count, 2)

    def test_other_period(self) -> None:
        self.clockwork.add_tick(self.ticks.append, 20 * MILLISECOND)
        for _ in range(10):
            self.advance(10)
        self.assertEqual(len(self.ticks), 5)
        self.assertRaises(ValueError, self.clockwork.add_tick, self.ticks.append, 0)

    def test_a_late_tick_is_caught_up(self) -> None:
        self.clockwork.add_tick(self.ticks.append)
        self.advance(17)
        self.assertEqual(self.ticks, [17 * MILLISECOND] * 3)
        self.assertEqual((self.clockwork.ticks, self.clockwork.caught_up), (3, 2))
        self.assertEqual(self.clockwork.missed, 0)
        self.assertEqual(self.clockwork.lateness.worst, 12 * MILLISECOND)
        self.advance(3)
        self.assertEqual(self.ticks[3:], [20 * MILLISECOND])

    def test_what_cannot_be_caught_up_is_counted(self) -> None:
        self.clockwork.add_tick(self.ticks.append)
        self.advance(1000)
        self.assertEqual(len(self.ticks), 5)
        self.assertEqual(self.clockwork.missed, 195)
        self.assertEqual(self.clockwork.ticks + self.clockwork.missed, 200)
        self.advance(5)
        self.assertEqual(len(self.ticks), 6)

    def test_the_rule_can_be_set(self) -> None:
        clockwork = ReactorClockwork(self.clock, catch_up=0)
        clockwork.start()
        clockwork.add_tick(self.ticks.append)
        self.advance(20)
        self.assertEqual((clockwork.ticks, clockwork.missed), (1, 3))

    def test_stopping_the_tick_stops_catching_up(self) -> None:
        def tick(now: int) -> None:
            self.ticks.append(now)
            self.clockwork.remove_tick(tick)

        self.clockwork.add_tick(tick)
        self.advance(20)
        self.advance(20)
        self.assertEqual(len(self.ticks), 1)

    def test_replacing_the_tick_by_another_from_the_tick(self) -> None:
        other: list[int] = []

        def tick(now: int) -> None:
            self.clockwork.remove_tick(tick)
            self.clockwork.add_tick(other.append, MILLISECOND)

        self.clockwork.add_tick(tick)
        self.advance(20)
        self.assertEqual((other, self.clockwork.ticks), ([], 1))
        self.advance(1)
        self.assertEqual(other, [21 * MILLISECOND])

    def test_ticks_do_not_know_of_each_other(self) -> None:
        other: list[int] = []
        self.clockwork.add_tick(self.ticks.append)
        self.clockwork.add_tick(other.append, 2 * MILLISECOND)
        for _ in range(10):
            self.advance(1)
        self.assertEqual(self.ticks, [5 * MILLISECOND, 10 * MILLISECOND])
        self.assertEqual(other, [n * MILLISECOND for n in (2, 4, 6, 8, 10)])
        self.clockwork.remove_tick(other.append)
        self.clockwork.remove_tick(print)
        self.advance(5)
        self.assertEqual((len(self.ticks), len(other)), (3, 5))

    def test_a_tick_that_another_removes_in_the_same_turn_is_not_run(self) -> None:
        self.clockwork.add_tick(lambda now: self.clockwork.remove_tick(self.ticks.append))
        self.clockwork.add_tick(self.ticks.append)
        self.advance(5)
        self.assertEqual((self.ticks, self.clockwork.ticks), ([], 1))

    def test_adding_a_tick_again_changes_its_period(self) -> None:
        self.clockwork.add_tick(self.ticks.append)
        self.clockwork.add_tick(self.ticks.append, 4 * MILLISECOND)
        for _ in range(8):
            self.advance(1)
        self.assertEqual(self.ticks, [4 * MILLISECOND, 8 * MILLISECOND])

    def test_nothing_is_armed_while_nothing_is_due(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clockwork.add_tick(self.ticks.append)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clockwork.remove_tick(self.ticks.append)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clockwork.deadlines.at(10, lambda argument, now: None)
        self.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_deadline_between_ticks(self) -> None:
        self.clockwork.add_tick(self.ticks.append)
        called: list[int] = []
        self.clockwork.deadlines.at(7 * MILLISECOND, lambda argument, now: called.append(now))
        for _ in range(12):
            self.advance(1)
        self.assertEqual(called, [7 * MILLISECOND])
        self.assertEqual(self.ticks, [5 * MILLISECOND, 10 * MILLISECOND])

    def test_an_earlier_deadline_is_armed_at_once(self) -> None:
        called: list[str] = []
        self.clockwork.deadlines.at(SECOND, lambda argument, now: called.append("late"))
        self.clockwork.deadlines.at(MILLISECOND, lambda argument, now: called.append("early"))
        self.advance(1)
        self.assertEqual(called, ["early"])
        self.advance(999)
        self.assertEqual(called, ["early", "late"])

    def test_a_deadline_armed_by_a_deadline_and_by_a_tick(self) -> None:
        called: list[int] = []

        def arm(argument: object, now: int) -> None:
            self.clockwork.deadlines.at(
                now + 2 * MILLISECOND, lambda argument, now: called.append(now)
            )

        self.clockwork.deadlines.at(MILLISECOND, arm)
        self.clockwork.add_tick(lambda now: arm(None, now))
        for _ in range(7):
            self.advance(1)
        self.assertEqual(called, [3 * MILLISECOND, 7 * MILLISECOND])

    def test_fifos_wake_the_clockwork(self) -> None:
        called: list[tuple[str, int]] = []
        fifo = self.clockwork.deadlines.fifo(SECOND, lambda key, now: called.append((key, now)))
        fifo.add("a", 0)
        self.advance(500)
        fifo.add("b", self.clockwork.now())
        self.advance(500)
        self.assertEqual(called, [("a", SECOND)])
        self.advance(500)
        self.assertEqual(called[1:], [("b", 1500 * MILLISECOND)])

    def test_the_tick_runs_before_deadlines_of_the_same_turn(self) -> None:
        order: list[str] = []
        self.clockwork.deadlines.at(MILLISECOND, lambda argument, now: order.append("deadline"))
        self.clockwork.add_tick(lambda now: order.append("tick"))
        self.advance(5)
        self.assertEqual(order, ["tick", "deadline"])

    def test_a_failing_tick_goes_on_and_is_logged_once(self) -> None:
        def tick(now: int) -> None:
            self.ticks.append(now)
            raise ZeroDivisionError("in the tick")

        self.clockwork.add_tick(tick)
        for _ in range(10):
            self.advance(5)
        self.assertEqual(len(self.ticks), 10)
        self.assertEqual(self.clockwork.faults.count, 10)
        (logged,) = self.flushLoggedErrors(ZeroDivisionError)
        self.assertIn("in tick", logged.getTraceback())

    def test_failing_deadlines_lose_nothing(self) -> None:
        def fail(argument: Exception, now: int) -> None:
            raise argument

        called: list[int] = []
        deadlines = self.clockwork.deadlines
        deadlines.at(10, fail, KeyError())
        deadlines.at(11, fail, ValueError())
        deadlines.at(12, lambda argument, now: called.append(1))
        deadlines.at(SECOND, lambda argument, now: called.append(2))
        self.advance(1)
        self.advance(999)
        self.assertEqual(called, [1, 2])
        self.assertEqual(self.clockwork.faults.count, 2)
        self.assertEqual(len(self.flushLoggedErrors(KeyError, ValueError)), 2)

    def test_the_tick_is_rearmed_even_when_the_process_is_interrupted(self) -> None:
        def tick(now: int) -> None:
            self.ticks.append(now)
            if len(self.ticks) == 1:
                raise KeyboardInterrupt

        self.clockwork.add_tick(tick)
        self.assertRaises(KeyboardInterrupt, self.advance, 5)
        self.advance(5)
        self.assertEqual(len(self.ticks), 2)

    def test_stop_and_start(self) -> None:
        called: list[int] = []
        self.clockwork.add_tick(self.ticks.append)
        self.clockwork.deadlines.at(SECOND, lambda argument, now: called.append(now))
        self.clockwork.stop()
        self.clockwork.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.advance(2000)
        self.assertEqual((self.ticks, called), ([], []))
        self.clockwork.start()
        self.clockwork.start()
        self.advance(5)
        self.assertEqual(called, [2005 * MILLISECOND])
        # The pause is no lateness.
        self.assertEqual((self.ticks, self.clockwork.missed), ([2005 * MILLISECOND], 0))

    def test_stopping_from_the_tick(self) -> None:
        called: list[int] = []
        self.clockwork.deadlines.at(1, lambda argument, now: called.append(now))
        self.clockwork.add_tick(lambda now: self.clockwork.stop())
        self.advance(20)
        self.advance(20)
        self.assertEqual((self.clockwork.ticks, called), (1, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_before_start_nothing_runs(self) -> None:
        clockwork = ReactorClockwork(Clock())
        clockwork.add_tick(self.ticks.append)
        clockwork.deadlines.at(5, lambda argument, now: None)
        self.assertFalse(clockwork.running)

    def test_a_wall_clock_set_forward_fires_nothing_early(self) -> None:
        """The fall-back on a real reactor: `now` is monotonic, ``callLater`` is not."""
        monotonic = [0]
        clockwork = ReactorClockwork(self.clock, now=lambda: monotonic[0])
        clockwork.start()
        called: list[int] = []
        clockwork.deadlines.at(SECOND, lambda argument, now: called.append(now))
        monotonic[0] = 100 * MILLISECOND
        self.advance(1000)
        self.assertEqual(called, [])
        monotonic[0] = 1000 * MILLISECOND
        self.advance(900)
        self.assertEqual(called, [SECOND])

    def test_a_call_early_by_rounding_is_in_time(self) -> None:
        """Or a clock that cannot tell the two times apart would be asked for ever."""
        monotonic = [0]
        clockwork = ReactorClockwork(self.clock, now=lambda: monotonic[0])
        clockwork.start()
        called: list[int] = []
        clockwork.deadlines.at(SECOND, lambda argument, now: called.append(now))
        monotonic[0] = SECOND - 500
        self.advance(1000)
        self.assertEqual(called, [SECOND])
        self.assertEqual(clockwork.now(), SECOND)


class NetworkTests(SynchronousTestCase):
    def test_one_long_advance_has_every_tick_on_time(self) -> None:
        network = FakeNetwork()
        clockwork = clockwork_for(network.host("192.0.2.1"))
        clockwork.start()
        ticks: list[int] = []
        clockwork.add_tick(ticks.append)
        network.advance(60)
        self.assertEqual(ticks, [each * 5 * MILLISECOND for each in range(1, 12_001)])
        self.assertEqual((clockwork.missed, clockwork.lateness.worst), (0, 0))


class BareReactor:
    """Just what a timerfd needs of a reactor."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def turn(self, seconds: float) -> bool:
        """Wait for the readers; whether one was ready."""
        ready, _, _ = select.select(self.readers, [], [], seconds)
        for reader in ready:
            reader.doRead()
        return bool(ready)


class TimerfdTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not timerfd.available():
            raise SkipTest("this platform has no timerfd")
        self.reactor = BareReactor()
        self.clockwork = TimerfdClockwork(self.reactor)
        self.clockwork.start()
        self.addCleanup(self.clockwork.stop)

    def test_interfaces(self) -> None:
        verifyObject(IClockwork, self.clockwork)
        verifyObject(IReadDescriptor, self.clockwork)

    def test_now_is_the_monotonic_clock(self) -> None:
        before = time.monotonic_ns()
        self.assertTrue(before <= self.clockwork.now() <= time.monotonic_ns())

    def test_ticks_are_never_early(self) -> None:
        started = self.clockwork.now()
        ticks: list[int] = []
        self.clockwork.add_tick(ticks.append, MILLISECOND)
        while len(ticks) < 20:
            self.assertTrue(self.reactor.turn(10))
        for number, at in enumerate(ticks, 1):
            self.assertGreaterEqual(at, started + number * MILLISECOND)
        self.assertEqual(self.clockwork.lateness.count, self.clockwork.ticks)

    def test_silent_while_nothing_is_due(self) -> None:
        self.clockwork.deadlines.at(self.clockwork.now(), lambda argument, now: None)
        self.assertTrue(self.reactor.turn(10))
        self.assertFalse(self.reactor.turn(0.02))
        self.clockwork.add_tick(print, MILLISECOND)
        self.clockwork.remove_tick(print)
        self.assertFalse(self.reactor.turn(0.02))

    def test_a_cancelled_deadline_costs_one_wake_up(self) -> None:
        self.clockwork.deadlines.at(self.clockwork.now(), lambda argument, now: None).cancel()
        self.assertTrue(self.reactor.turn(10))
        self.assertFalse(self.reactor.turn(0.02))

    def test_stop_closes(self) -> None:
        descriptor = self.clockwork.fileno()
        self.clockwork.stop()
        self.assertEqual((self.reactor.readers, self.clockwork.fileno()), ([], -1))
        self.assertRaises(OSError, os.fstat, descriptor)
        self.clockwork.doRead()  # an event of the same turn

    def test_the_reactor_goes_away(self) -> None:
        self.clockwork.connectionLost(None)
        self.assertFalse(self.clockwork.running)

    def test_not_inherited_and_not_blocking(self) -> None:
        descriptor = self.clockwork.fileno()
        self.assertFalse(os.get_inheritable(descriptor))
        self.assertFalse(os.get_blocking(descriptor))

    def test_errors_of_the_system(self) -> None:
        closed = os.dup(0)
        os.close(closed)
        self.assertRaises(OSError, timerfd.set_absolute, closed, 1)

    def test_every_way_to_set_it(self) -> None:
        compiled = timerfd.set_timer
        with mock.patch.object(timerfd, "set_timer", None):
            ways = [timerfd._through_os(), timerfd._through_ctypes()]
        if compiled is not None:
            ways.append(timerfd._through_ctypes())
            self.assertIs(ways[-1] and ways[-1][1], compiled)
        for way in filter(None, ways):
            self.check_one(*way)

    def check_one(
        self, create: Callable[[], int], set_absolute: Callable[[int, int], None]
    ) -> None:
        descriptor = create()
        self.addCleanup(os.close, descriptor)
        when = time.monotonic_ns() + 20 * MILLISECOND
        set_absolute(descriptor, when)
        self.assertEqual(select.select([descriptor], [], [], 10)[0], [descriptor])
        self.assertGreaterEqual(time.monotonic_ns(), when)
        set_absolute(descriptor, 0)
        self.assertEqual(select.select([descriptor], [], [], 0)[0], [])
        set_absolute(descriptor, time.monotonic_ns() + 2 * SECOND)
        self.assertEqual(select.select([descriptor], [], [], 0)[0], [])
        set_absolute(descriptor, 1)
        self.assertEqual(select.select([descriptor], [], [], 10)[0], [descriptor])
        self.assertRaises(OSError, set_absolute, descriptor, -1)
        with open(os.devnull) as other:
            self.assertRaises(OSError, set_absolute, other.fileno(), 1)


class ChoiceTests(SynchronousTestCase):
    def test_fake_clocks_keep_their_time(self) -> None:
        self.assertIsInstance(clockwork_for(Clock()), ReactorClockwork)

    def test_a_real_reactor_without_timerfd(self) -> None:
        from twisted.internet import reactor

        with mock.patch.object(clockwork_module.timerfd, "available", lambda: False):
            clockwork = clockwork_for(reactor)
        self.assertIsInstance(clockwork, ReactorClockwork)
        self.assertTrue(abs(clockwork.now() - time.monotonic_ns()) < SECOND)


class LatenessTests(SynchronousTestCase):
    def test_percentiles(self) -> None:
        lateness = Lateness()
        self.assertEqual(lateness.percentile(99), 0)
        for each in range(1, 1001):
            lateness.record(each * 10_000)
        self.assertEqual((lateness.count, lateness.worst), (1000, 10_000_000))
        for percent in (1, 50, 90, 99, 99.9):
            exact = percent * 100_000
            self.assertTrue(exact <= lateness.percentile(percent) <= exact + 16_384)
        self.assertEqual(lateness.percentile(100), 10_000_000)

    def test_counts_and_sum(self) -> None:
        lateness = Lateness()
        for late in (-5, 0, 1 * MILLISECOND, 3 * MILLISECOND, 200 * MILLISECOND):
            lateness.record(late)
        found = [lateness.within(each * MILLISECOND) for each in (0, 2, 5, 50, 100, 1000)]
        self.assertEqual(found, [0, 3, 4, 4, 4, 4])
        self.assertEqual((lateness.count, lateness.total), (5, 204 * MILLISECOND))

    def test_since(self) -> None:
        lateness = Lateness()
        lateness.record(9 * MILLISECOND)
        before = lateness.copy()
        lateness.record(1 * MILLISECOND)
        later = lateness.since(before)
        self.assertEqual((later.count, later.total), (1, 1 * MILLISECOND))
        self.assertLess(later.percentile(100), 2 * MILLISECOND)
        self.assertEqual((before.count, lateness.count), (1, 2), "unchanged")
        lateness.reset()
        lateness.record(2 * MILLISECOND)
        self.assertEqual(lateness.since(before).count, 1, "it was reset in between")

    def test_more_than_the_last_bin(self) -> None:
        lateness = Lateness()
        lateness.record(-5)
        lateness.record(10 * SECOND)
        self.assertEqual(lateness.percentile(99), 10 * SECOND)
        self.assertLess(lateness.percentile(50), 20_000)
        lateness.reset()
        self.assertEqual((lateness.count, lateness.percentile(99)), (0, 0))


class ContractTests(SynchronousTestCase):
    """The same script in a process of its own per reactor."""

    def check(self, name: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.net.reactor_contract", name],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout.splitlines()[-1])
        self.assertIn(name, report.pop("reactor").lower())
        kind = "TimerfdClockwork" if timerfd.available() else "ReactorClockwork"
        expected = {
            "clockwork": kind,
            "order": ["deadline", "ticked", "quiet", "again", "overdue", "restart", "finish"],
            "ticks": 20,
            "ticks after stopping": 0,
            "early": False,
            "idle wake-ups": 0,
            "readers left": False,
            "faults": 1,
            # The reactor told its readers that it goes away.
            "running": False,
        }
        self.assertEqual(report, expected, done.stderr)

    def test_epoll(self) -> None:
        if not hasattr(select, "epoll"):
            raise SkipTest("this platform has no epoll")
        self.check("epoll")

    def test_poll(self) -> None:
        self.check("poll")

    def test_select(self) -> None:
        self.check("select")

    def test_asyncio(self) -> None:
        self.check("asyncio")
