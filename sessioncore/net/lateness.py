"""A histogram of delays; recording one costs one addition."""

from __future__ import annotations

from typing import Final

__all__ = ["Lateness"]

_SHIFT: Final = 14
_BINS: Final = 4096


class Lateness:
    """A histogram of delays in ns: bins of 16.4 µs up to 67 ms, the last one for longer ones."""

    __slots__ = ("_bins", "count", "worst")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Clear the histogram, to measure from now on."""
        self._bins = [0] * _BINS
        self.count = 0
        self.worst = 0

    def record(self, late: int) -> None:
        """Count one delay in ns; a negative one counts as zero."""
        self.count += 1
        self.worst = max(self.worst, late)
        place = late >> _SHIFT if late > 0 else 0
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
