"""Shared storage for sounds that many rows play: one gather serves all of them.

Sounds lie in slabs of one large array each, so that a frame of every row is one indexed copy
per slab, and a new sound moves no old one.  Sounds that nobody plays stay for a while, for
the next call will want them again; the least recently used go first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import define
from numpy.lib.stride_tricks import as_strided

__all__ = ["MAX_FRAME", "SamplePool", "Sound"]

Samples: TypeAlias = npt.NDArray[np.int16]

MAX_FRAME: Final = 2880
"""Samples of the longest frame that may be played: 60 ms at 48,000 Hz."""
_SLAB: Final = 1 << 20


class _Slab:
    """One array and the pieces of it that are free, in order."""

    def __init__(self, size: int) -> None:
        self.samples: Samples = np.zeros(size, np.int16)
        self.free = [(0, size)]
        self._windows: dict[int, Samples] = {}

    def take(self, size: int) -> int | None:
        for index, (start, room) in enumerate(self.free):
            if room >= size:
                if room == size:
                    del self.free[index]
                else:
                    self.free[index] = (start + size, room - size)
                return start
        return None

    def give(self, start: int, size: int) -> None:
        merged: list[tuple[int, int]] = []
        for piece in sorted([*self.free, (start, size)]):
            if merged and sum(merged[-1]) == piece[0]:
                merged[-1] = (merged[-1][0], merged[-1][1] + piece[1])
            else:
                merged.append(piece)
        self.free = merged

    def windows(self, width: int) -> Samples:
        """Row i is the ``width`` samples from i on; a view, kept because making it is slow."""
        view = self._windows.get(width)
        if view is None:
            shape, step = (len(self.samples) - width + 1, width), self.samples.strides[0]
            view = as_strided(self.samples, shape, (step, step), writeable=False)
            self._windows[width] = view
        return view


@define(eq=False)
class Sound:
    """Where a sound lies.  ``length`` counts its own samples; `MAX_FRAME` more follow them."""

    slab: int
    start: int
    length: int
    origin: object
    """What it was made from; kept alive, because keys may hold an ``id``."""
    users: int = 0


class SamplePool:
    """Sounds by key; each is stored once and counted by its users.

    ``idle_samples`` bounds how much is kept of sounds that nobody plays.
    """

    def __init__(self, idle_samples: int = 1 << 23) -> None:
        self._slabs: list[_Slab | None] = []
        self._sounds: dict[Hashable, Sound] = {}
        self._idle: OrderedDict[Hashable, Sound] = OrderedDict()
        self._idle_size = 0
        self._idle_limit = idle_samples

    def lease(
        self, key: Hashable, make: Callable[[], Samples], *, loop: bool, keep: object = None
    ) -> Sound:
        """The sound of ``key``, made by ``make`` if it is not here; give it back by `release`.

        ``keep`` is kept alive with it, beside what ``make`` gave.
        """
        sound = self._sounds.get(key)
        if sound is None:
            sound = self._sounds[key] = self._store(make(), loop, keep)
        elif sound.users == 0:
            del self._idle[key]
            self._idle_size -= sound.length
        sound.users += 1
        return sound

    def release(self, key: Hashable) -> None:
        """One user less; the sound may go when nobody is left and room is wanted."""
        sound = self._sounds[key]
        sound.users -= 1
        if sound.users:
            return
        self._idle[key] = sound
        self._idle_size += sound.length
        while self._idle_size > self._idle_limit:
            oldest, dead = self._idle.popitem(last=False)
            self._idle_size -= dead.length
            del self._sounds[oldest]
            self._drop(dead)

    def gather(self, slabs: npt.NDArray[np.int64], at: npt.NDArray[np.int64], out: Samples) -> None:
        """Copy ``out.shape[1]`` samples from ``at`` in ``slabs`` into each row of ``out``."""
        width = out.shape[1]
        first = int(slabs[0])
        if (slabs == first).all():
            out[:] = self._slab(first).windows(width)[at]
            return
        for number in np.unique(slabs).tolist():
            rows = np.flatnonzero(slabs == number)
            out[rows] = self._slab(number).windows(width)[at[rows]]

    def _slab(self, number: int) -> _Slab:
        slab = self._slabs[number]
        assert slab is not None
        return slab

    def _store(self, samples: Samples, loop: bool, keep: object) -> Sound:
        length = len(samples)
        size = length + MAX_FRAME
        number, start = self._room(size)
        place = self._slab(number).samples[start : start + size]
        if loop:
            place[:] = np.resize(samples, size)
        else:
            place[:length] = samples
            place[length:] = 0
        return Sound(number, start, length, (samples, keep))

    def _room(self, size: int) -> tuple[int, int]:
        for number, slab in enumerate(self._slabs):
            start = None if slab is None else slab.take(size)
            if start is not None:
                return number, start
        fresh = _Slab(max(size, _SLAB))
        number = next((n for n, slab in enumerate(self._slabs) if slab is None), len(self._slabs))
        self._slabs[number : number + 1] = [fresh]
        start = fresh.take(size)
        assert start is not None
        return number, start

    def _drop(self, sound: Sound) -> None:
        slab = self._slab(sound.slab)
        slab.give(sound.start, sound.length + MAX_FRAME)
        if slab.free == [(0, len(slab.samples))]:
            self._slabs[sound.slab] = None
