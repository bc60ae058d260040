"""The jitter ring: where a packet's samples go, and the next frame of every row.

Each row has its own count of samples, ``play`` being the next one to be played and always a
multiple of a frame.  A stream's first packet is placed ``target`` samples ahead of ``play``;
from then on its RTP timestamps say where samples belong, so loss, reordering and pauses
(DTX) keep their time.  ``play`` goes on whether or not something came.

- A newer packet whose timestamps do not go on from those before (a new source, a jump, a delay
  that grew) is appended: behind what is buffered, and ``target`` ahead of ``play`` at least.
- Where more comes than the ring holds, the oldest frames go.
- A packet that was overtaken and comes behind ``play`` is late: it is not played, and the ring
  gets a frame deeper.  When the ring held a frame more than it needs for two seconds, a frame
  is skipped: the delay shrinks, and a faster remote clock is followed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from sessioncore.media.bank import NEVER, Bank, Bools, Ints, Samples, every, some
from sessioncore.media.lane import FRAMES_PER_RING, MAX_FRAMES, REACH, Lane

__all__ = ["Lag", "next_frames", "next_slots", "place", "store", "trim", "untouched"]

_WRAP: Final = 1 << 32
_HALF: Final = 1 << 31
_PLENTY: Final = 1 << 62
_DEEPEST: Final = REACH // 2
"""Frames that may wait once the ring got deeper for overtaken packets."""

Lag: TypeAlias = Callable[[Ints], Ints]
"""Frames by which the next turns of rows are overdue: they will be played at once."""


def place(
    bank: Bank,
    lane: Lane,
    rows: Ints,
    timestamp: Ints,
    count: Ints,
    *,
    step: Ints,
    restart: Bools,
    lag: Lag,
    clock: Ints | None = None,
) -> tuple[Ints, Bools]:
    """Where each packet goes: (position of its first sample, whether it may be stored).

    ``rows`` are unique and of ``lane``, ``count`` is samples per packet.  ``step`` says how
    far its sequence number is ahead of the highest before, ``restart`` that a new source
    begins.  ``clock`` is the RTP clock in Hz of each packet, where it is not the lane's rate
    for all.
    """
    change = ((timestamp - bank.newest_timestamp[rows] + _HALF) & (_WRAP - 1)) - _HALF
    if clock is not None:
        change = change * lane.rate // clock
    position = bank.newest[rows] + change
    ahead = position - bank.play[rows]
    usable: Bools = (step == 1) & (position == bank.end[rows]) & ~restart
    usable &= (ahead >= 0) & (ahead + count <= lane.reach)
    if every(usable):
        bank.end[rows] = position + count
    else:
        packets = _Packets(bank, lane, rows, count, step, restart, position, change)
        position, usable = packets.place(lag)
        newest = packets.forward & usable
        rows, timestamp = rows[newest], timestamp[newest]
        bank.newest[rows], bank.newest_timestamp[rows] = position[newest], timestamp
        return position, usable
    bank.newest[rows] = position
    bank.newest_timestamp[rows] = timestamp
    return position, usable


class _Packets:
    """Packets of which some do not just go on from those before: as `place` has them.

    ``position`` is where their timestamps put them, ``change`` how far that is from the newest.
    """

    def __init__(
        self,
        bank: Bank,
        lane: Lane,
        rows: Ints,
        count: Ints,
        step: Ints,
        restart: Bools,
        position: Ints,
        change: Ints,
    ) -> None:
        self._bank = bank
        self._lane = lane
        self._rows = rows
        self._count = count
        self._position = position
        self._end = bank.end[rows]
        restart = restart | (self._end == NEVER)
        self.forward: Bools = (step > 0) | restart
        """Newer than all before."""
        self._lost = np.where(restart, 0, np.maximum(step - 1, 0)) * count
        """Samples of the packets that are missing before it."""
        self._deepen(np.flatnonzero(~self.forward & (position < bank.play[rows])))
        play = self._play = bank.play[rows]
        # Where timestamps do not advance, or leave more of a hole than a loss would.
        hole = position - np.maximum(self._end, play)
        beyond = position + count - play > lane.reach
        far = beyond & ((self._end <= play) | (hole > lane.reach // 2))
        far |= play - position > lane.rate
        self._misfit = (step == 1) & ~restart & (position != self._end)
        self._misfit &= position - self._end < lane.frame
        self._jump = restart | (self.forward & ((change <= 0) | far))
        self._late = self.forward & ~self._jump & (position < play)

    def place(self, lag: Lag) -> tuple[Ints, Bools]:
        """Note what is missing, append what does not go on, drop what is too much."""
        bank, lane, rows, count = self._bank, self._lane, self._rows, self._count
        self._count_misfits()
        self._count_missing()
        anew = self._jump | self._late
        position = self._position
        if some(anew):
            behind = np.maximum(self._play + bank.target[rows], self._end)
            behind[anew] += lag(rows[anew]) * lane.frame
            position = np.where(anew, behind + -behind % lane.frame, position)
        self._note_pause(position)
        late = position < self._play
        beyond = position + count - self._play > lane.reach
        wild = beyond & ~self.forward
        bank.late[rows] += late
        bank.overflow[rows] += wild
        usable: Bools = ~late & ~wild
        bank.end[rows[usable]] = np.maximum(self._end, position + count)[usable]
        if some(beyond & usable):
            self._drop_oldest(np.flatnonzero(beyond & usable), position)
        # How much in time the overtaken ones come shows how deep the ring has to be.
        overtaken = ~self.forward
        slack = np.minimum(bank.slack[rows], np.maximum(position - self._play, 0))
        bank.slack[rows[overtaken]] = slack[overtaken]
        return position, usable

    def _deepen(self, overtaken: Ints) -> None:
        """Play a frame later from now on, where a packet comes too late because others passed it.

        If that is enough, it is in time after all.
        """
        rows, frame = self._rows[overtaken], self._lane.frame
        play = self._bank.play[rows] - frame
        room = (self._end[overtaken] - play <= _DEEPEST * frame) & (play >= 0)
        self._bank.play[rows[room]] = play[room]

    def _count_misfits(self) -> None:
        """Packets that are not as long as their timestamps say; a longer gap is a pause."""
        if some(self._misfit):
            rows = self._rows[self._misfit]
            self._bank.misfits[rows] += 1
            self._bank.misfit_by[rows] += (self._end - self._position)[self._misfit]

    def _count_missing(self) -> None:
        """Frames of silence, played after the ring ran dry, that the packets explain.

        What is left was a pause of the sender.
        """
        dry = self.forward & ~self._jump & (self._play > self._end)
        if some(dry):
            late = np.maximum(self._play - self._position, 0)
            missing = np.minimum(self._play - self._end, self._lost + late)
            self._bank.inserted[self._rows[dry]] += missing[dry] // self._lane.frame

    def _note_pause(self, position: Ints) -> None:
        """A hole before a packet is a pause, as far as no lost packet explains it."""
        start = np.maximum(self._end, self._play)
        stop = position - self._lost
        pause = self.forward & ~self._late & (stop > start)
        rows = self._rows[pause]
        self._bank.pause_start[rows], self._bank.pause_end[rows] = start[pause], stop[pause]

    def _drop_oldest(self, which: Ints, position: Ints) -> None:
        """Skip as many frames as are too many; those that held something are counted."""
        bank, lane, rows = self._bank, self._lane, self._rows[which]
        first = self._play[which] // lane.frame
        excess = (position + self._count)[which] - lane.reach - self._play[which]
        frames = -(-excess // lane.frame)
        for index in range(int(frames.max())):
            slot = rows * FRAMES_PER_RING + (first + index) % FRAMES_PER_RING
            slot, row = slot[index < frames], rows[index < frames]
            bank.overflow[row] += lane.filled[slot]
            lane.filled[slot] = False
        bank.play[rows] += frames * lane.frame
        # What was heard last moves along: its place will soon be needed (see `Lane.heard`).
        before = (first + frames)[None] + np.arange(-MAX_FRAMES, 0)[:, None]
        place = rows * FRAMES_PER_RING + before % FRAMES_PER_RING
        lane.ring[place] = lane.ring[lane.heard[:, rows]]
        lane.heard[:, rows] = place


def store(lane: Lane, rows: Ints, position: Ints, samples: Samples) -> None:
    """Put ``samples`` (int16[n, m]) at ``position`` of each row, as `place` decided."""
    count = samples.shape[1]
    if count % lane.frame == 0:
        offset = position % lane.frame
        if not np.count_nonzero(offset):
            _store_frames(lane, rows, position, samples)
            return
    _store_anywhere(lane, rows, position, samples)


def _store_frames(lane: Lane, rows: Ints, position: Ints, samples: Samples) -> None:
    frame = lane.frame
    first = position // frame
    for index in range(samples.shape[1] // frame):
        slot = rows * FRAMES_PER_RING + (first + index) % FRAMES_PER_RING
        lane.ring[slot] = samples[:, index * frame : (index + 1) * frame]
        lane.filled[slot] = True


def _store_anywhere(lane: Lane, rows: Ints, position: Ints, samples: Samples) -> None:
    """Packets of 10 or 30 ms, or off the grid: sample by sample, frames begun are blanked."""
    count, size = samples.shape[1], lane.frame
    for index in range((count + 2 * size - 2) // size):
        # Frames that the packet touches: at each multiple of a frame, up to its last sample.
        frame = position // size + index
        touched = frame * size < position + count
        slot = (rows * FRAMES_PER_RING + frame % FRAMES_PER_RING)[touched]
        blank = slot[~lane.filled[slot]]
        lane.ring[blank] = 0
        lane.filled[blank] = True
    at = (position[:, None] + np.arange(count)) % lane.size
    lane.ring.reshape(-1)[rows[:, None] * lane.size + at] = samples


def untouched(bank: Bank, rows: Ints) -> bool:
    """Whether no row has heard anything yet: all are empty, and ``play`` means nothing so far."""
    return not some(bank.end[rows] != NEVER)


def next_frames(bank: Bank, lane: Lane, rows: Ints) -> tuple[Samples, Bools]:
    """The next 20 ms of each row, int16[n, frame], and where there were any; goes on by them.

    Rows that have nothing get zeros.
    """
    slots, there = next_slots(bank, lane, rows)
    return lane.ring.take(slots, axis=0), there


def next_slots(bank: Bank, lane: Lane, rows: Ints, which: int = 0) -> tuple[Ints, Bools]:
    """The same as places in ``lane.ring``, where the frames stay until the next are played.

    They are kept in ``lane.heard[which]``.
    """
    play = bank.play[rows]
    slot = rows * FRAMES_PER_RING + play // lane.frame % FRAMES_PER_RING
    there = lane.filled[slot]
    play += lane.frame
    bank.play[rows] = play
    depth = bank.end[rows] - play
    recent = depth > -lane.rate
    complete = every(there)
    if complete or some(there):
        lane.filled[slot] = False
    if not complete:
        slot[~there] = lane.silence
    lane.heard[which][rows] = slot
    # Where nothing has come for long, nothing is spare for `trim`.
    if some(recent):
        bank.slack[rows] = np.minimum(bank.slack[rows], depth)
        if not complete:
            # Behind the end nobody knows yet whether something is missing: see `place`.
            hole = rows[~there & (depth > -lane.frame)]
            if len(hole):
                at = bank.play[hole] - lane.frame
                pause = (at >= bank.pause_start[hole]) & (at < bank.pause_end[hole])
                bank.inserted[hole] += ~pause
    return slot, there


def trim(bank: Bank, lane: Lane, rows: Ints) -> None:
    """Skip a frame where the ring never fell below target plus a frame since the last call."""
    slack = bank.slack[rows]
    spare = rows[(slack >= bank.target[rows] + lane.frame) & (slack < _PLENTY)]
    bank.slack[rows] = _PLENTY
    if len(spare):
        play = bank.play[spare]
        lane.filled[spare * FRAMES_PER_RING + play // lane.frame % FRAMES_PER_RING] = False
        bank.play[spare] = play + lane.frame
        bank.dropped[spare] += 1
