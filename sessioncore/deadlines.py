"""Timers for thousands of transactions without one reactor timer each.

Timers of one constant duration (64*T1, T4, ...) never overtake one another, so each duration
is a first-in first-out queue; the rest share one heap.  ``now`` is always passed in, in
integer nanoseconds; nothing here reads a clock.
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
    """One armed timer; `cancel` is cheap and may come at any time, even twice."""

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
    """All timers of one duration: (expiry, key) pairs in the order they were added.

    A key is not taken out early; the callback is told the key and asks whether it still
    matters.  Timers fire at multiples of ``grid`` ns, so that thousands share a wake-up.
    """

    __slots__ = ("_arm", "_callback", "_entries", "_grid", "_latest", "duration")

    def __init__(
        self,
        duration: int,
        callback: Callable[[Key, int], None],
        arm: Callable[[int], None],
        grid: int = 1,
    ) -> None:
        self.duration = duration
        self._latest = duration + grid - 1
        self._grid = grid
        self._callback = callback
        self._arm = arm
        self._entries: deque[tuple[int, Key]] = deque()

    def add(self, key: Key, now: int) -> None:
        """Call back with ``key`` once ``duration`` ns have passed since ``now``."""
        when = now + self._latest
        when -= when % self._grid
        entries = self._entries
        if not entries:
            self._arm(when)
        entries.append((when, key))

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def next(self) -> int:
        """When the oldest entry falls due."""
        return self._entries[0][0] if self._entries else _NEVER

    def run(self, now: int) -> None:
        """Call back for all entries due at ``now``."""
        entries = self._entries
        while entries and entries[0][0] <= now:
            self._callback(entries.popleft()[1], now)


class Deadlines:
    """Every timer of one process.  ``wake_at`` is told whenever an earlier one is armed."""

    def __init__(self, wake_at: Callable[[int], None] | None = None) -> None:
        # Ordered by time, then by the order of arming; compared in C.
        self._heap: list[tuple[int, int, Deadline]] = []
        self._serial = 0
        self._sweep_at = _SWEEP
        self._fifos: list[Fifo[Any]] = []
        self._wake_at = wake_at
        self._armed = _NEVER

    def on_earlier(self, wake_at: Callable[[int], None]) -> None:
        """Tell ``wake_at`` the time (ns) whenever the earliest deadline becomes earlier."""
        self._wake_at = wake_at
        self._armed = _NEVER
        when = self.next()
        if when is not None:
            self._arm(when)

    def fifo(self, duration: int, callback: Callable[[Any, int], None], grid: int = 1) -> Fifo[Any]:
        """A queue for timers that all last ``duration`` ns; called back as ``(key, now)``.

        They fire at multiples of ``grid`` ns, up to that much late.
        """
        fifo: Fifo[Any] = Fifo(duration, callback, self._arm, grid)
        self._fifos.append(fifo)
        return fifo

    def remove(self, fifo: Fifo[Any]) -> None:
        """Take a queue out; what is in it is never called back."""
        fifo.clear()
        self._fifos = [other for other in self._fifos if other is not fifo]

    def at(self, when: int, callback: Callable[[Any, int], None], argument: Any = None) -> Deadline:
        """Call ``callback(argument, now)`` once ``when`` (ns) has come."""
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
        """When the earliest deadline falls due, or None."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heappop(heap)
        when = heap[0][0] if heap else _NEVER
        for fifo in self._fifos:
            when = min(when, fifo.next)
        return None if when == _NEVER else when

    def run(self, now: int, failed: Callable[[Exception], None] | None = None) -> None:
        """Call back everything that was armed before and is due at ``now``.

        What a callback arms for ``now`` or earlier waits for the next run, so that a callback
        that arms itself again cannot hold the process up.  An error in one callback does not
        lose the others: ``failed`` is told of each, or else the first is raised at the end.
        """
        errors: list[Exception] = []
        failed = failed or errors.append
        try:
            self._run_heap(now, failed)
            for fifo in self._fifos:
                while fifo.next <= now:
                    try:
                        fifo.run(now)
                    except Exception as error:
                        failed(error)
        finally:
            self._armed = _NEVER
            when = self.next()
            if when is not None:
                self._arm(when)
        if errors:
            raise errors[0]

    def _run_heap(self, now: int, failed: Callable[[Exception], None]) -> None:
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
                    failed(error)
        finally:
            for entry in armed_meanwhile:
                heappush(heap, entry)

    def _arm(self, when: int) -> None:
        if when < self._armed:
            self._armed = when
            if self._wake_at is not None:
                self._wake_at(when)
