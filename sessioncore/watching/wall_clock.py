"""Wall time for the monotonic times of events and messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["WallClock"]


class WallClock:
    """Turns monotonic ns into UTC.

    The offset is read each time, because somebody may set the clock of a machine while calls are
    up.  ``now`` returns monotonic ns, ``wall`` ns since 1970.
    """

    def __init__(self, now: Callable[[], int], wall: Callable[[], int] = time.time_ns) -> None:
        self._now = now
        self._wall = wall

    def ns(self, at: int) -> int:
        """Nanoseconds since 1970."""
        return at + self._wall() - self._now()

    def utc(self, at: int) -> str:
        """ISO 8601 with microseconds: ``2026-01-01T12:00:00.000000Z``."""
        return utc(self.ns(at))


def utc(wall: int) -> str:
    """``wall`` (ns since 1970) as ISO 8601 with microseconds."""
    seconds, rest = divmod(wall, 1_000_000_000)
    stamp = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return stamp.isoformat(timespec="microseconds").replace("+00:00", "Z")
