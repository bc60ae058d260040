"""A lane: the audio of all rows that hear and play at one sampling rate.

A row lives in the lane of the codec it agreed on (8000 Hz before there is one) and keeps its
number when it moves.  A lane's memory is the operating system's until a row touches it, so one
that is not used costs nothing.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.errors import ConfigurationError
from sessioncore.rtp.audio_codec import FRAMES_PER_SECOND

__all__ = [
    "DEFAULT_RATE",
    "FRAMES_PER_RING",
    "MAX_FRAMES",
    "RATES",
    "REACH",
    "Lane",
    "require_rate",
]

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Samples: TypeAlias = npt.NDArray[np.int16]

RATES: Final = (8000, 16_000, 48_000)
"""Sampling rates of lanes, and of what applications give and take."""
DEFAULT_RATE: Final = 8000
"""Where every row begins, and what an application gets that asks for no other rate."""
REACH: Final = 16
"""Frames (320 ms) that may wait to be played: a packet of 200 ms with room for its jitter."""
MAX_FRAMES: Final = 3
"""Frames of the longest packet that is sent, all heard at once."""
FRAMES_PER_RING: Final = REACH + MAX_FRAMES + 1
"""Beside those that wait stay those heard last (see `Lane.heard`), and one that was skipped."""


def require_rate(name: str, value: object) -> None:
    """Raise `ConfigurationError` where ``value`` is not one of `RATES`."""
    if isinstance(value, bool) or value not in RATES:
        rates = ", ".join(map(str, RATES))
        raise ConfigurationError(f"{name}: {value!r} Hz cannot be used; choose from {rates}")


class Lane:
    """One sampling rate: the jitter rings of its rows, and the frames they heard last.

    ``frame`` is samples per 20 ms.  ``ring`` int16[capacity * 20 + 1, frame] and ``filled``
    bool[capacity * 20]: 20 frames a row, and last one of silence.

    ``heard`` int64[3, capacity]: where in ``ring`` the frame lies that a row heard last; of a
    row with packets of n frames, the n frames of the last packet are in the first n entries.
    It stays there until the row is played again, 20 ms later, so the audio of another row
    costs one index: see `frames_heard`.
    """

    def __init__(self, number: int, rate: int, capacity: int) -> None:
        self.number = number
        self.rate = rate
        self.frame = rate // FRAMES_PER_SECOND
        self.size = FRAMES_PER_RING * self.frame
        """Samples in a row's ring."""
        self.reach = REACH * self.frame
        self.ring: Samples = np.zeros((1, self.frame), np.int16)
        self.filled: Bools = np.zeros(0, np.bool_)
        self.heard: Ints = np.zeros((MAX_FRAMES, 0), np.int64)
        self.grow(capacity)

    def grow(self, capacity: int) -> None:
        """Make room for ``capacity`` rows."""
        former, silence = self.heard.shape[1], self.silence
        ring = np.zeros((capacity * FRAMES_PER_RING + 1, self.frame), np.int16)
        ring[: len(self.ring)] = self.ring
        filled = np.zeros(capacity * FRAMES_PER_RING, np.bool_)
        filled[: len(self.filled)] = self.filled
        heard = np.full((MAX_FRAMES, capacity), len(ring) - 1, np.int64)
        heard[:, :former] = np.where(self.heard == silence, len(ring) - 1, self.heard)
        self.ring, self.filled, self.heard = ring, filled, heard
        self._filled_of = filled.reshape(capacity, FRAMES_PER_RING)

    @property
    def silence(self) -> int:
        """The frame of ``ring`` that is always silent."""
        return len(self.ring) - 1

    def frames_heard(self, rows: Ints, which: int = 0) -> Samples:
        """What ``rows`` heard last, int16[n, frame], silence where nothing came.

        ``which`` counts the frames of one packet.  For a bridge, index this by the other
        row; for a conference, take the sum of all rows minus each.
        """
        frames: Samples = self.ring.take(self.heard[which].take(rows), axis=0)
        return frames

    def clear(self, row: int) -> None:
        """Forget what a row holds and heard."""
        self._filled_of[row] = False
        self.heard[:, row] = self.silence
