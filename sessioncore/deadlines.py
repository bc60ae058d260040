"""Timers for thousands of transactions without one reactor timer each.

Timers of one constant duration (64*T1, T4, ...) expire in the order they were armed, so each
such duration has a first-in first-out queue.  All other timers share one heap.  ``now`` is
always passed in, in integer nanoseconds; nothing here reads a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

__all__ = ["Deadline", "Deadlines", "Fifo"]

Key = TypeVar("Key")
_NEVER = 1 << 62
_SWEEP = 1024


class Deadline:
    """One armed timer; `cancel` is cheap and may be called at any time, even twice."""

    __slots__ = ("argument", "callback", "when")

    def __init__(self, when: int, callback: Callable[[Any, int], None], argument: Any) -> None:
        self.when = when
        self.callback: Callable[[Any, int], None] | None = callback
        self.argument = argument

    def cancel(self) -> None:
        """Make sure the callback is never called."""
        self.callback = None
        self.argument = None


class Fifo(Generic[Key]):
    """All timers of one duration, in the order in which they were added.

    Keys are never removed early: the callback receives the key and checks whether it still
    matters.  Timers fire at multiples of ``grid`` ns; those of one time share a list, and only
    the first time has a `Deadline`, so that thousands of timers share a wake-up.
    """

    __slots__ = (
        "_armed",
        "_callback",
        "_calling",
        "_deadlines",
        "_grid",
        "_last",
        "_times",
        "_until",
        "duration",
        "removed",
    )

    def __init__(
        self,
        deadlines: Deadlines,
        duration: int,
        callback: Callable[[Key, int], None],
        grid: int = 1,
    ) -> None:
        self.duration = duration
        self._deadlines = deadlines
        self._callback = callback
        self._grid = grid
        self._times: deque[tuple[int, list[Key]]] = deque()
        # The keys of the last time: what is added until then goes there.
        self._last: list[Key] = []
        self._until = -_NEVER
        self._calling: list[Key] = []
        self._armed: Deadline | None = None
        self.removed = False

    def add(self, key: Key, now: int) -> None:
        """Call back with ``key`` once ``duration`` ns have passed since ``now``."""
        if now > self._until:
            self._begin(now)
        self._last.append(key)

    def _begin(self, now: int) -> None:
        when = now + self.duration
        when += -when % self._grid
        self._until, self._last = when - self.duration, []
        self._times.append((when, self._last))
        if self._armed is None:
            self._arm()

    def hasten(self, now: int) -> bool:
        """Call back for the oldest entry before it is due; False if there is none."""
        times = self._times
        while times and not times[0][1]:
            self._next()
        if not times:
            return False
        self._callback(times[0][1].pop(0), now)
        return True

    def _next(self) -> list[Key]:
        """Remove and return the keys of the first time."""
        _, keys = self._times.popleft()
        if keys is self._last:
            self._until = -_NEVER
        return keys

    def clear(self) -> None:
        """Forget all entries."""
        self._times.clear()
        self._calling.clear()
        self._until = -_NEVER
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None

    def __len__(self) -> int:
        return sum(len(keys) for _, keys in self._times)

    def _arm(self) -> None:
        if self._times and not self.removed:
            self._armed = self._deadlines.at(self._times[0][0], self._due)

    def _due(self, _: object, now: int) -> None:
        """Call back for all entries due at ``now``."""
        times, callback = self._times, self._callback
        try:
            while times and times[0][0] <= now:
                self._calling = self._next()
                for key in self._calling:
                    try:
                        callback(key, now)
                    except Exception as error:
                        self._deadlines._failed(error)
        finally:
            self._calling = []
            self._armed = None
            self._arm()


class Deadlines:
    """Every timer of one process; calls ``wake_at(when)`` when an earlier one is armed."""

    def __init__(self, wake_at: Callable[[int], None] | None = None) -> None:
        # Ordered by time, then by the order of arming; compared in C.
        self._heap: list[tuple[int, int, Deadline]] = []
        self._serial = 0
        self._sweep_at = _SWEEP
        self._wake_at = wake_at
        self._armed = _NEVER
        self._around: tuple[tuple[Callable[[], None], Callable[[], None]], ...] = ()
        self._failed: Callable[[Exception], None] = list[Exception]().append

    def on_earlier(self, wake_at: Callable[[int], None]) -> None:
        """Call ``wake_at`` with the time (ns) whenever the earliest deadline becomes earlier."""
        self._wake_at = wake_at
        self._armed = _NEVER
        when = self.next()
        if when is not None:
            self._arm(when)

    def around(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Call ``before`` and ``after`` around each run from now on."""
        self._around = (*self._around, (before, after))

    def not_around(self, before: Callable[[], None]) -> None:
        """Undo the `around` call that passed this ``before``."""
        self._around = tuple(pair for pair in self._around if pair[0] != before)

    def fifo(self, duration: int, callback: Callable[[Any, int], None], grid: int = 1) -> Fifo[Any]:
        """A queue for timers that all last ``duration`` ns; called back as ``(key, now)``.

        They fire at multiples of ``grid`` ns, so up to ``grid`` ns late.
        """
        return Fifo(self, duration, callback, grid)

    def remove(self, fifo: Fifo[Any]) -> None:
        """Remove a queue; its callback is never called again, even for entries added later."""
        fifo.clear()
        fifo.removed = True

    def at(self, when: int, callback: Callable[[Any, int], None], argument: Any = None) -> Deadline:
        """Call ``callback(argument, now)`` once the time ``when`` (ns) is reached."""
        deadline = Deadline(when, callback, argument)
        self._serial += 1
        heappush(self._heap, (when, self._serial, deadline))
        if len(self._heap) > self._sweep_at:
            self._sweep()
        if when < self._armed:
            self._arm(when)
        return deadline

    def _sweep(self) -> None:
        """Drop cancelled deadlines, so that long ones cancelled early do not pile up."""
        self._heap[:] = [entry for entry in self._heap if entry[2].callback is not None]
        heapify(self._heap)
        self._sweep_at = max(_SWEEP, 2 * len(self._heap))

    def next(self) -> int | None:
        """The time (ns) of the earliest deadline, or None."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heappop(heap)
        return heap[0][0] if heap else None

    def run(self, now: int, failed: Callable[[Exception], None] | None = None) -> None:
        """Call back all timers that were armed before this run and are due at ``now``.

        A timer that a callback arms for ``now`` or earlier waits for the next run, so a
        callback that rearms itself cannot block the process.  An error in one callback does
        not stop the others: ``failed`` is called with each error; without ``failed``, the
        first error is raised at the end.
        """
        errors: list[Exception] = []
        self._failed = failed or errors.append
        around = self._around
        for before, _ in around:
            before()
        try:
            self._run_heap(now)
        finally:
            for _, after in around:
                after()
            self._armed = _NEVER
            when = self.next()
            if when is not None:
                self._arm(when)
        if errors:
            raise errors[0]

    def _run_heap(self, now: int) -> None:
        heap = self._heap
        last = self._serial
        armed_meanwhile = []
        try:
            while heap and heap[0][0] <= now:
                entry = heappop(heap)
                deadline = entry[2]
                callback, argument = deadline.callback, deadline.argument
                if callback is None:
                    continue
                if entry[1] > last:
                    armed_meanwhile.append(entry)
                    continue
                deadline.cancel()
                try:
                    callback(argument, now)
                except Exception as error:
                    self._failed(error)
        finally:
            for entry in armed_meanwhile:
                heappush(heap, entry)

    def _arm(self, when: int) -> None:
        if when < self._armed:
            self._armed = when
            if self._wake_at is not None:
                self._wake_at(when)
