"""Listens to what the rows hear: nothing, silence or sound; once a second, for all rows at once."""

from __future__ import annotations

from enum import IntFlag
from math import log10
from typing import Final

import numpy as np

from sessioncore.media.bank import NEVER, Bank, Bools, Ints, Samples
from sessioncore.media.lane import FRAMES_PER_RING, Lane
from sessioncore.verdict import fewest
from sessioncore.vocabulary import MILLISECOND, SECOND

__all__ = [
    "LISTEN_EVERY",
    "LOUD",
    "QUIET",
    "SILENT",
    "Condition",
    "have_sound",
    "level_of",
    "listen",
    "peaks",
    "quiet",
]

LISTEN_EVERY: Final = 1 * SECOND
QUIET: Final = 2_500 * MILLISECOND
"""No RTP for so long, although receiving is allowed: `Condition.QUIET`."""
SILENT: Final = 5 * SECOND
"""Nothing louder than silence for so long: `Condition.SILENT`."""
LOUD: Final = 104
"""A larger sample than this, -50 dBov, is sound; companding and idle lines stay below."""
_FULL_SCALE: Final = 32_768


class Condition(IntFlag):
    """What a row hears."""

    SOUND = 0
    QUIET = 1
    SILENT = 2
    LOSSY = 4
    """In the last two seconds too little came, or too late."""


def level_of(peak: int) -> float | None:
    """A peak value in dBov, or None where nothing was heard; digital silence is -96."""
    if peak < 0:
        return None
    return round(20 * log10(max(peak, 0.5) / _FULL_SCALE), 1)


def peaks(frames: Samples) -> Ints:
    """The largest value, regardless of its sign, in each row of int16[n, samples]."""
    # abs(-32768) is -32768 in int16, so both ends are widened first.
    high, low = frames.max(axis=1).astype(np.int64), frames.min(axis=1).astype(np.int64)
    largest: Ints = np.maximum(high, -low)
    return largest


def have_sound(frames: Samples) -> Bools:
    """Which rows of int16[n, samples] are louder than silence."""
    loud: Bools = peaks(frames) > LOUD
    return loud


def listen(bank: Bank, lane: Lane, rows: Ints, now: int) -> list[int]:
    """Measure what ``rows`` of ``lane`` heard last; returns those whose condition changed.

    The ring holds the last 400 ms of a row, so this hears two fifths of a second out of each.
    """
    received = bank.packets_received[rows]
    # Where only comfort noise came, the ring still holds what was heard before.
    audio = received - bank.noise_packets[rows]
    fresh = rows[audio != bank.then_packets_received[rows] - bank.then_noise_packets[rows]]
    if len(fresh):
        heard = lane.ring[:-1].reshape(-1, FRAMES_PER_RING * lane.frame)[fresh]
        peak = peaks(heard)
        bank.peak[fresh] = np.maximum(bank.peak[fresh], peak)
        loud = fresh[peak > LOUD]
        # Where the ring has run dry, the last of it was heard then.
        dry = np.clip(bank.play[loud] - bank.end[loud], 0, lane.rate)
        bank.sound_at[loud] = np.maximum(bank.sound_at[loud], now - dry * (SECOND // lane.rate))
    due = bank.receiving[rows] & (bank.heard_at[rows] != NEVER)
    quiet_now = due & (bank.heard_at[rows] < now - QUIET)
    silent = due & (bank.sound_at[rows] < now - SILENT) & (received > 0)
    lossy = _lossy(bank, rows, now)
    condition = quiet_now * Condition.QUIET + silent * Condition.SILENT + lossy * Condition.LOSSY
    return _changed(bank, rows, condition)


def _lossy(bank: Bank, rows: Ints, now: int) -> Bools:
    """Of which rows too little came lately; remembers what came so far."""
    expected = bank.expected(rows)
    due = np.maximum(expected - bank.before_expected[rows], 0)
    came = bank.packets_received[rows] - bank.before_packets_received[rows]
    came -= bank.late[rows] - bank.before_late[rows]
    came -= bank.overflow[rows] - bank.before_overflow[rows]
    bank.remember(rows, expected, now)
    lossy: Bools = came < fewest(due)
    return lossy


def quiet(bank: Bank, rows: Ints, now: int) -> list[int]:
    """Those of ``rows`` from which nothing has come for `QUIET`, and which were not so before."""
    heard_at = bank.heard_at[rows]
    rows = rows[bank.receiving[rows] & (heard_at != NEVER) & (heard_at < now - QUIET)]
    return _changed(bank, rows, bank.condition[rows] | Condition.QUIET)


def _changed(bank: Bank, rows: Ints, condition: Ints) -> list[int]:
    changed: list[int] = rows[bank.condition[rows] != condition].tolist()
    bank.condition[rows] = condition
    return changed
