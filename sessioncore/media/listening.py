"""Listens to what the rows hear: nothing, silence or sound; once a second, for all rows at once."""

from __future__ import annotations

from enum import IntFlag
from math import log10
from typing import Final

import numpy as np

from sessioncore import verdict
from sessioncore.media.bank import NEVER, NONE, Bank, Ints, Samples
from sessioncore.media.lane import FRAMES_PER_RING, Lane
from sessioncore.vocabulary import SECOND

__all__ = [
    "LISTEN_EVERY",
    "LOUD",
    "QUIET",
    "SILENT",
    "Condition",
    "level_of",
    "listen",
    "peaks",
    "quiet",
]

LISTEN_EVERY: Final = 1 * SECOND
QUIET: Final = round(verdict.QUIET * SECOND)
"""No RTP for so long, although receiving is allowed: `Condition.QUIET`."""
SILENT: Final = round(verdict.SILENT * SECOND)
"""Nothing louder than silence for so long: `Condition.SILENT`."""
_FULL_SCALE: Final = 32_768
LOUD: Final = round(_FULL_SCALE * 10 ** (verdict.SILENCE / 20))
"""A larger sample than this is sound; companding and idle lines stay below."""


class Condition(IntFlag):
    """What a row hears."""

    SOUND = 0
    QUIET = 1
    SILENT = 2


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


def listen(bank: Bank, lane: Lane, rows: Ints, now: int) -> list[int]:
    """Measure what ``rows`` of ``lane`` heard last; returns those whose condition changed.

    The ring holds the last 400 ms of a row, so this hears two fifths of a second out of each.
    """
    received = bank.packets_received[rows]
    fresh = rows[received != bank.received_then[rows]]
    bank.received_then[rows] = received
    bank.heard_peak[rows] = NONE
    if len(fresh):
        heard = lane.ring[:-1].reshape(-1, FRAMES_PER_RING * lane.frame)[fresh]
        peak = peaks(heard)
        bank.heard_peak[fresh] = peak
        bank.peak[fresh] = np.maximum(bank.peak[fresh], peak)
        bank.sound_at[fresh[peak > LOUD]] = now
    due = bank.receiving[rows] & (bank.heard_at[rows] != NEVER)
    quiet_now = due & (bank.heard_at[rows] < now - QUIET)
    silent = due & (bank.sound_at[rows] < now - SILENT) & (received > 0)
    return _changed(bank, rows, quiet_now * Condition.QUIET + silent * Condition.SILENT)


def quiet(bank: Bank, rows: Ints, now: int) -> list[int]:
    """Those of ``rows`` from which nothing has come for `QUIET`, and which were not so before."""
    heard_at = bank.heard_at[rows]
    rows = rows[bank.receiving[rows] & (heard_at != NEVER) & (heard_at < now - QUIET)]
    return _changed(bank, rows, bank.condition[rows] | Condition.QUIET)


def _changed(bank: Bank, rows: Ints, condition: Ints) -> list[int]:
    changed: list[int] = rows[bank.condition[rows] != condition].tolist()
    bank.condition[rows] = condition
    return changed
