"""Timers for thousands of transactions without one reactor timer each.

Timers of one constant duration (64*T1, T4, ...) never overtake one another, so each duration
is a first-in first-out queue; the rest share one heap.  ``now`` is always passed in, in
integer nanoseconds; nothing here reads a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar

__all__ = ["Deadline", "Deadlines", "Fifo"]

Key = TypeVar("Key")
_NEVER = 1 << 62


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

    def __lt__(self, other: Deadline) -> bool:
        return self.when < other.when


class Fifo(Generic[Key]):
    """All timers of one duration: (expiry, key) pairs in the order they were added.

    A key is not taken out early; the callback is told the key and asks whether it still
    matters.
    """

    __slots__ = ("_arm", "_callback", "_entries", "duration")

    def __init__(
        self, duration: int, callback: Callable[[Key, int], None], arm: Callable[[int], None]
    ) -> None:
        self.duration = duration
        self._callback = callback
        self._arm = arm
        self._entries: deque[tuple[int, Key]] = deque()

    def add(self, key: Key, now: int) -> None:
        """Call back with ``key`` once ``duration`` ns have passed since ``now``."""
        when = now + self.duration
        self._entries.append((when, key))
        if len(self._entries) == 1:
            self._arm(when)

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
        self._heap: list[Deadline] = []
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

    def fifo(self, duration: int, callback: Callable[[Any, int], None]) -> Fifo[Any]:
        """A queue for timers that all last ``duration`` ns; called back as ``(key, now)``."""
        fifo: Fifo[Any] = Fifo(duration, callback, self._arm)
        self._fifos.append(fifo)
        return fifo

    def at(self, when: int, callback: Callable[[Any, int], None], argument: Any = None) -> Deadline:
        """Call ``callback(argument, now)`` once ``when`` (ns) has come."""
        deadline = Deadline(when, callback, argument)
        heappush(self._heap, deadline)
        if when < self._armed:
            self._arm(when)
        return deadline

    def next(self) -> int | None:
        """When the earliest deadline falls due, or None."""
        heap = self._heap
        while heap and heap[0].callback is None:
            heappop(heap)
        when = heap[0].when if heap else _NEVER
        for fifo in self._fifos:
            when = min(when, fifo.next)
        return None if when == _NEVER else when

    def run(self, now: int) -> None:
        """Call back everything due at ``now``; an error in one does not lose the others."""
        first: Exception | None = None
        heap = self._heap
        while heap and heap[0].when <= now:
            deadline = heappop(heap)
            callback, argument = deadline.callback, deadline.argument
            if callback is not None:
                deadline.cancel()
                try:
                    callback(argument, now)
                except Exception as error:
                    first = first or error
        for fifo in self._fifos:
            while fifo.next <= now:
                try:
                    fifo.run(now)
                except Exception as error:
                    first = first or error
        self._armed = _NEVER
        when = self.next()
        if when is not None:
            self._arm(when)
        if first is not None:
            raise first

    def _arm(self, when: int) -> None:
        if when < self._armed:
            self._armed = when
            if self._wake_at is not None:
                self._wake_at(when)
