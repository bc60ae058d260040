"""A histogram of delays; recording one costs two additions."""

from __future__ import annotations

from typing import Final

__all__ = ["Lateness"]

_SHIFT: Final = 14
_BINS: Final = 4096


class Lateness:
    """A histogram of delays in ns: bins of 16.4 µs up to 67 ms, the last one for longer ones."""

    __slots__ = ("_bins", "count", "total", "worst")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Clear the histogram, to measure from now on."""
        self._bins = [0] * _BINS
        self.count = 0
        self.total = 0
        self.worst = 0

    def record(self, late: int) -> None:
        """Count one delay in ns; a negative one counts as zero."""
        late = max(late, 0)
        self.count += 1
        self.total += late
        self.worst = max(self.worst, late)
        place = late >> _SHIFT
        self._bins[place if place < _BINS else _BINS - 1] += 1

    def percentile(self, percent: float) -> int:
        """The delay in ns that ``percent`` of all did not exceed, at most one bin too high.

        0 if nothing was recorded.
        """
        wanted = self.count * percent / 100
        seen = 0
        for place, number in enumerate(self._bins):
            seen += number
            if number and seen >= wanted:
                top = (place + 1) << _SHIFT
                return self.worst if place == _BINS - 1 else min(top, self.worst)
        return self.worst

    def within(self, delay: int) -> int:
        """How many were surely not above ``delay`` ns, by whole bins."""
        return sum(self._bins[: min(max(delay, 0) >> _SHIFT, _BINS - 1)])

    def copy(self) -> Lateness:
        """The same, to be compared with later."""
        copied = Lateness()
        copied._bins = self._bins.copy()
        copied.count, copied.total, copied.worst = self.count, self.total, self.worst
        return copied

    def since(self, before: Lateness) -> Lateness:
        """What was recorded after ``before``, an earlier `copy`; ``worst`` stays that of all."""
        later = self.copy()
        if self.count >= before.count and self.total >= before.total:  # else it was reset
            later._bins = [now - then for now, then in zip(self._bins, before._bins, strict=True)]
            later.count -= before.count
            later.total -= before.total
        return later
