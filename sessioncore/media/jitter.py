"""The jitter ring: where a packet's samples go, and the next frame of every row.

Each row has its own count of samples, ``play`` being the next one to be played and always a
multiple of a frame.  A stream's first packet is placed ``target`` samples ahead of ``play``;
from then on its RTP timestamps say where samples belong, so loss, reordering and pauses
(DTX) keep their time.  ``play`` goes on whether or not something came.

- Behind ``play`` a packet is late.  When the ring has run empty, the next such packet is
  anchored anew: the delay grew.  When the ring held a frame more than it needs for two
  seconds, a frame is skipped: it shrinks, and a faster remote clock is followed.
- Further ahead than the ring reaches, the row is anchored anew as well: the peer changed its
  timestamps, or an overlong queue is cut.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from sessioncore.media.bank import NEVER, Bank, Bools, Ints, Samples, every, some
from sessioncore.media.lane import FRAMES_PER_RING, Lane

__all__ = ["next_frames", "next_slots", "place", "store", "trim", "untouched"]

_WRAP: Final = 1 << 32
_HALF: Final = 1 << 31
_PLENTY: Final = 1 << 62


def place(
    bank: Bank,
    lane: Lane,
    rows: Ints,
    timestamp: Ints,
    count: Ints,
    *,
    forward: Bools,
    restart: Bools,
    clock: Ints | None = None,
) -> tuple[Ints, Bools]:
    """Where each packet goes: (position of its first sample, whether it may be stored).

    ``rows`` are unique and of ``lane``, ``count`` is samples per packet; ``forward`` says that
    its sequence number is higher than all before, ``restart`` that it begins a new stream.
    ``clock`` is the RTP clock in Hz of each packet, where it is not the lane's rate for all.
    """
    newest = bank.newest[rows]
    step = ((timestamp - bank.newest_timestamp[rows] + _HALF) & (_WRAP - 1)) - _HALF
    if clock is not None:
        step = step * lane.rate // clock
    position = newest + step
    play = bank.play[rows]
    ahead = position - play
    fits = (ahead >= 0) & (ahead + count <= lane.reach)
    usable = fits & ~restart
    if not every(usable):
        empty = bank.end[rows] <= play
        far = (ahead + count > lane.reach) | (ahead < -lane.reach)
        anew = (restart | (forward & ~fits & (empty | far))) & (count <= lane.longest_packet)
        usable |= anew
        if some(anew):
            _anchor(bank, lane, rows, play, anew, far & ~restart & ~empty)
            position = np.where(anew, play + bank.target[rows], position)
            forward = forward | anew
        behind = ~usable & (ahead < 0)
        bank.late[rows] += behind
        bank.overflow[rows] += ~usable & ~behind
        kept = usable.nonzero()[0]
        _note(bank, rows[kept], position[kept], timestamp[kept], count[kept], forward[kept])
    else:
        _note(bank, rows, position, timestamp, count, forward)
    return position, usable


def _note(
    bank: Bank, rows: Ints, position: Ints, timestamp: Ints, count: Ints, forward: Bools
) -> None:
    """How far the rows reach now, and which of their packets is the newest."""
    bank.end[rows] = np.maximum(bank.end[rows], position + count)
    if not every(forward):
        rows, position, timestamp = rows[forward], position[forward], timestamp[forward]
    bank.newest[rows] = position
    bank.newest_timestamp[rows] = timestamp


def _anchor(bank: Bank, lane: Lane, rows: Ints, play: Ints, anew: Bools, cut: Bools) -> None:
    """Forget what the rows still hold: their next packet begins a new count."""
    bank.overflow[rows] += anew & cut
    fresh = rows[anew]
    for frame in range(FRAMES_PER_RING):
        lane.filled[fresh * FRAMES_PER_RING + frame] = False
    bank.end[fresh] = play[anew]
    bank.slack[fresh] = _PLENTY


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
    # What is missing for longer than a second is a pause.
    recent = depth > -lane.rate
    complete = every(there)
    if complete or some(there):
        lane.filled[slot] = False
    if not complete:
        slot[~there] = lane.silence
    lane.heard[which][rows] = slot
    # Where nothing has come for long, nothing is missing, and nothing spare for `trim`.
    if some(recent):
        bank.slack[rows] = np.minimum(bank.slack[rows], depth)
        if not complete:
            bank.inserted[rows] += ~there & recent
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
