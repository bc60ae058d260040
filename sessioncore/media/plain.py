"""Plain packets in C (``_plain.c``), where that was compiled.

A plain packet is what a call at 8000 Hz consists of: G.711 in frames of 20 ms, the next one in
sequence of the source that is known, in time.  `reception` takes all others, and these too
where nothing was compiled; `playout` makes payloads in numpy then.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import numpy as np

from sessioncore import extensions
from sessioncore.media.bank import Bank, Bytes, Ints, Samples

__all__ = ["encode", "take"]

compiled: Final = extensions.compiled("media._plain")

_COLUMNS: Final = attrgetter(
    *("remote_ssrc", "highest", "seen", "packets_received", "octets_received", "transit"),
    *("jitter", "heard_at", "noise_level", "play", "end", "newest", "newest_timestamp"),
    *("receiving", "attention", "meanings"),
)
"""What is read and written of a row, in the order of ``_plain.c``; the lane's part follows."""


def _columns(bank: Bank) -> tuple[Any, ...]:
    lane = bank.lanes[0]
    return (*_COLUMNS(bank), lane.filled, lane.ring)


def take(bank: Bank, rows: Ints, packets: Bytes, lengths: Ints, arrivals: Ints, now: int) -> Ints:
    """Take the plain ones of a round; returns the positions of those that are left.

    As `Reception.receive`.
    """
    if compiled is None:
        return np.arange(len(rows))
    left: Ints = np.empty(len(rows), np.int64)
    buffers = (
        *_columns(bank),
        left,
        bank.formats.plain,
        bank.formats.tables,
        rows,
        lengths,
        arrivals,
    )
    return left[: compiled.take(buffers, packets, now)]


def encode(table: Bytes, samples: Samples, picks: Ints | None, payloads: Bytes) -> None:
    """Make ``payloads`` of rows of ``samples``, the picked ones, by a table of all samples' codes.

    The table is indexed by the bits of a sample as uint16.
    """
    if compiled is None:
        chosen = samples if picks is None else samples.take(picks, axis=0)
        payloads[:] = table.take(chosen.view(np.uint16), mode="clip")
        return
    picks = np.arange(len(payloads)) if picks is None else picks
    compiled.encode((table, samples, picks), payloads)
