"""The only clock source: drives the media ticks and every SIP deadline of one process.

On Linux it is a timerfd read by the reactor, which is monotonic and precise to about 100 µs;
elsewhere, and under a fake clock, it is ``callLater`` with exact integer nanoseconds.
No timer is armed while nothing is due.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.logger import Logger
from zope.interface import Attribute, Interface, implementer

from sessioncore.deadlines import Deadlines
from sessioncore.net import timerfd
from sessioncore.net.faults import FaultLog
from sessioncore.net.lateness import Lateness
from sessioncore.vocabulary import MILLISECOND, SECOND

__all__ = [
    "Clockwork",
    "IClockwork",
    "ReactorClockwork",
    "TimerfdClockwork",
    "clockwork_for",
]

_NEVER: Final = 1 << 62
_ROUNDING: Final = 1_000
"""A float clock near 1e9 s resolves 0.12 µs; a call that is early by less than this is due."""


class IClockwork(Interface):
    """Monotonic time in integer nanoseconds, periodic ticks, and deadlines."""

    deadlines: Deadlines = Attribute("Timers; usable before `start`, they run after it.")
    lateness: Lateness = Attribute("How late ticks came, as a histogram.")
    ticks: int = Attribute("Ticks that were run, including those caught up.")
    caught_up: int = Attribute("Ticks that were run late in the turn of a later one.")
    missed: int = Attribute("Ticks that were skipped because they were too many to catch up.")
    faults: FaultLog = Attribute("Errors raised by the tick or by deadlines.")
    overdue: int = Attribute("For how long, in ns, ticks or deadlines have been due; 0 if none is.")

    def now() -> int:
        """Monotonic nanoseconds; the same clock for media and SIP."""

    def add_tick(callback: Callable[[int], None], period: int = 5 * MILLISECOND) -> None:
        """Call ``callback(now)`` at the multiples of ``period`` ns; others are called as before."""

    def remove_tick(callback: Callable[[int], None]) -> None:
        """Stop calling ``callback``; does nothing if it is not called."""

    def start() -> None:
        """Start running ticks and deadlines; does nothing if running."""

    def stop() -> None:
        """Stop running ticks and deadlines and release the reactor; `start` may follow."""


class _Tick:
    """A callback that is called every ``period`` ns, next at ``at``."""

    __slots__ = ("at", "callback", "period")

    def __init__(self, callback: Callable[[int], None], period: int) -> None:
        self.callback = callback
        self.period = period
        self.at = _NEVER

    def begin(self, now: int) -> None:
        """Choose the first tick: on the grid of the deadlines' queues, to share wake-ups."""
        earliest = now + self.period
        self.at = earliest + -earliest % self.period


class Clockwork:
    """The common part of both clockworks: what is due when, and the rule for late ticks.

    A tick gets the time at which it runs.  If several are due, at most ``catch_up`` of them are
    run back to back besides the first, so that each media phase gets its turn; the others are
    skipped and counted in ``missed``.  Ticks stay on their grid.
    """

    def __init__(self, *, catch_up: int = 4) -> None:
        self.deadlines = Deadlines()
        self.lateness = Lateness()
        self.ticks = 0
        self.caught_up = 0
        self.missed = 0
        self.faults = FaultLog(Logger(namespace="sessioncore.net.clockwork"))
        self.running = False
        self._catch_up = catch_up
        self._ticks: dict[Callable[[int], None], _Tick] = {}
        self._tick_at = _NEVER
        self._deadline_at = _NEVER
        self._armed = _NEVER
        self._firing = False
        self.deadlines.on_earlier(self._deadline_armed)

    def now(self) -> int:
        """Monotonic nanoseconds."""
        raise NotImplementedError

    @property
    def overdue(self) -> int:
        """For how long, in ns, ticks or deadlines have been due without being run; 0 if none is."""
        return max(0, self.now() - min(self._tick_at, self._deadline_at))

    def add_tick(self, callback: Callable[[int], None], period: int = 5 * MILLISECOND) -> None:
        """Call ``callback(now)`` at the multiples of ``period`` ns; others are called as before."""
        if period <= 0:
            raise ValueError(f"a tick needs a positive period in ns, not {period}")
        self.remove_tick(callback)
        tick = self._ticks[callback] = _Tick(callback, period)
        tick.begin(self.now())
        self._ticks_changed()

    def remove_tick(self, callback: Callable[[int], None]) -> None:
        """Stop calling ``callback``; does nothing if it is not called."""
        tick = self._ticks.pop(callback, None)
        if tick is not None:
            tick.at = _NEVER
            self._ticks_changed()

    def start(self) -> None:
        """Start running ticks and deadlines; does nothing if running."""
        if self.running:
            return
        self._open()
        self.running = True
        now = self.now()
        for tick in self._ticks.values():
            tick.begin(now)
        self._ticks_changed()

    def stop(self) -> None:
        """Stop running ticks and deadlines, release the reactor; does nothing if stopped."""
        if self.running:
            self.running = False
            self._armed = _NEVER
            self._close()

    def _ticks_changed(self) -> None:
        self._tick_at = min((tick.at for tick in self._ticks.values()), default=_NEVER)
        self._rearm()

    def _open(self) -> None:
        """Acquire what is needed from the reactor."""

    def _close(self) -> None:
        """Release what `_open` acquired."""

    def _arm(self, when: int | None) -> None:
        """Call `_fire` once at ``when``, not earlier; None: never."""
        raise NotImplementedError

    def _deadline_armed(self, when: int) -> None:
        if when < self._deadline_at:
            self._deadline_at = when
            if when < self._armed:
                self._rearm()

    def _rearm(self) -> None:
        """Arm for the next due time, unless `_fire` is about to do so."""
        if self._firing or not self.running:
            return
        when = min(self._tick_at, self._deadline_at)
        if when != self._armed:
            self._armed = when
            self._arm(None if when == _NEVER else when)

    def _fire(self, now: int) -> None:
        """Run ticks and deadlines due at ``now``, and arm for the next due time."""
        self._armed = _NEVER
        self._firing = True
        try:
            # Ticks run first: a burst of deadlines must not delay audio.
            if self._tick_at <= now:
                for tick in tuple(self._ticks.values()):
                    if tick.at <= now and self.running:
                        self._run_due(tick, now)
                self._ticks_changed()
            if self._deadline_at <= now and self.running:
                self._deadline_at = _NEVER
                self.deadlines.run(now, self._deadline_failed)
        finally:
            self._firing = False
            self._rearm()

    def _run_due(self, tick: _Tick, now: int) -> None:
        period, first = tick.period, tick.at
        behind = (now - first) // period
        after = tick.at = first + (behind + 1) * period
        self.lateness.record(now - first)
        self._run(tick, now)
        if behind:
            caught_up = min(behind, self._catch_up)
            self.missed += behind - caught_up
            # Of the due ticks, the newest are run.
            for due in range(after - caught_up * period, after, period):
                if not self.running or tick.at != after:
                    return  # the last tick stopped or restarted the ticks
                now = self.now()
                self.caught_up += 1
                self.lateness.record(now - due)
                self._run(tick, now)

    def _run(self, tick: _Tick, now: int) -> None:
        self.ticks += 1
        try:
            tick.callback(now)
        except Exception as error:
            self.faults.caught("the tick failed", error)

    def _deadline_failed(self, error: Exception) -> None:
        self.faults.caught("a deadline failed", error)


@implementer(IClockwork, IReadDescriptor)
class TimerfdClockwork(Clockwork):
    """A timerfd on the reactor, which must provide `IReactorFDSet`."""

    def __init__(self, reactor: Any, *, catch_up: int = 4) -> None:
        super().__init__(catch_up=catch_up)
        self._reactor = reactor
        self._descriptor = -1

    # CLOCK_MONOTONIC, the clock the timerfd runs on.
    now = staticmethod(time.monotonic_ns)

    def _open(self) -> None:
        self._descriptor = timerfd.create()
        self._reactor.addReader(self)

    def _close(self) -> None:
        self._reactor.removeReader(self)
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def _arm(self, when: int | None) -> None:
        timerfd.set_absolute(self._descriptor, 0 if when is None else max(when, 1))

    def fileno(self) -> int:
        """The descriptor, -1 if stopped (`IFileDescriptor`)."""
        return self._descriptor

    def doRead(self) -> None:
        """Called by the reactor when the timer expired; never raises."""
        if not self.running:
            return
        self._fire(time.monotonic_ns())
        if self._armed == _NEVER and self._descriptor >= 0:
            # Disarming clears the expiry.
            timerfd.set_absolute(self._descriptor, 0)

    def connectionLost(self, reason: object) -> None:
        """The reactor is shutting down (`IFileDescriptor`)."""
        self.stop()

    def logPrefix(self) -> str:
        """The name of this reader in log lines (`ILoggingContext`)."""
        return "sessioncore.clockwork"


@implementer(IClockwork)
class ReactorClockwork(Clockwork):
    """``callLater`` of any `IReactorTime`: exact under `Clock`, coarse on a real reactor.

    With `Clock`, let time pass in steps no longer than the tick period, as
    `sessioncore.testing.network.FakeNetwork.advance` does; one long step is a late tick.
    """

    def __init__(
        self, clock: Any, *, now: Callable[[], int] | None = None, catch_up: int = 4
    ) -> None:
        super().__init__(catch_up=catch_up)
        self._clock: IReactorTime = clock
        self._read = self._read_clock if now is None else now
        self._floor = 0
        self._call: IDelayedCall | None = None

    def _read_clock(self) -> int:
        return round(self._clock.seconds() * SECOND)

    def now(self) -> int:
        """The clock in whole nanoseconds; never runs backwards."""
        self._floor = max(self._floor, self._read())
        return self._floor

    def _close(self) -> None:
        self._arm(None)

    def _arm(self, when: int | None) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        if when is not None:
            # 0.4 ns early, so that rounding of floats does not move the call to a later step.
            delay = (when - self.now() - 0.4) / SECOND
            self._call = self._clock.callLater(max(0.0, delay), self._called, when)

    def _called(self, when: int) -> None:
        self._call = None
        now = self.now()
        if when - now > _ROUNDING:
            # A wall clock was set forward: the time has not come yet.
            self._arm(when)
            return
        self._floor = max(now, when)
        self._fire(self._floor)


def clockwork_for(reactor: Any, *, catch_up: int = 4) -> TimerfdClockwork | ReactorClockwork:
    """The best clockwork for ``reactor``; call its ``start``."""
    if not isinstance(reactor, ReactorBase):
        # A fake clock or an in-memory host: only its own time counts.
        return ReactorClockwork(reactor, catch_up=catch_up)
    if timerfd.available() and IReactorFDSet.providedBy(reactor):
        return TimerfdClockwork(reactor, catch_up=catch_up)
    # The reactor's own clock is wall time; ours must be monotonic.
    return ReactorClockwork(reactor, now=time.monotonic_ns, catch_up=catch_up)
