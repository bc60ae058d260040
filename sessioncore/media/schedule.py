"""Which rows play together, found anew for a phase whenever one of its rows changed.

Rows of a phase and lane that play packets of the same length in the same turn and the same
`Way` form a group; those of a group that send the same format form a section.  Calls come and
go in every phase, so finding them is a fixed number of numpy calls too, and nothing is done row
by row in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, Protocol

import numpy as np

from sessioncore.media.bank import LOOSE, PHASES, SILENT, Bank, Bools, Bytes, Ints, Way, every, some
from sessioncore.media.formats import Format
from sessioncore.media.lane import DEFAULT_RATE, Lane
from sessioncore.media.packet_io import Handle
from sessioncore.media.source_bank import SourceBank
from sessioncore.rtp.audio_codec import FRAMES_PER_SECOND
from sessioncore.vocabulary import Address

__all__ = ["Group", "HasRemote", "Schedule", "Section"]


_REMOTE: Final = attrgetter("sending.remote")


class HasRemote(Protocol):
    """A stream, as far as the schedule knows one; its ``sending.remote`` is an `Address`."""

    @property
    def sending(self) -> Any:
        """What says where it sends to."""


class Section:
    """Rows of a group that send the same format.

    ``handles`` are of the latched ones, which come first; ``loose`` of the others, which send
    to ``addresses``.  ``fresh`` says that a packet is the first of an agreement,
    ``full_until`` when the first of them may not send at full rate any more.
    ``table`` has the code of each sample as it is echoed, once that was needed.
    """

    __slots__ = (
        "addresses",
        "format",
        "fresh",
        "full_until",
        "handles",
        "loose",
        "payload_types",
        "rows",
        "ssrcs",
        "start",
        "table",
    )

    start: int
    rows: Ints
    format: Format
    table: Bytes | None
    handles: list[Handle]
    loose: list[Handle]
    addresses: list[Address]
    payload_types: Ints
    ssrcs: Ints
    fresh: bool
    full_until: int

    def only(self, which: Bools) -> Section:
        """The section without the rows that may not send now."""
        chosen = which.tolist()
        loose = chosen[len(self.handles) :]
        section = Section()
        section.start, section.format, section.fresh = self.start, self.format, self.fresh
        section.table = self.table
        section.full_until = self.full_until
        section.rows = self.rows[which]
        section.handles = [each for each, may in zip(self.handles, chosen, strict=False) if may]
        section.loose = [each for each, may in zip(self.loose, loose, strict=True) if may]
        section.addresses = [each for each, may in zip(self.addresses, loose, strict=True) if may]
        section.payload_types = self.payload_types[which]
        section.ssrcs = self.ssrcs[which]
        return section


class Group:
    """Rows due together, in every ``frames``th turn; the first ``senders`` send.

    ``ticks`` is how far their RTP clocks go on meanwhile.  ``gain`` is the factor by which all
    senders of an `ECHO` group send what they hear, None where they differ.  Of a `HEAR` group
    ``listened`` says whether a row has a sink, ``noisy`` whether one ever got comfort noise.
    """

    __slots__ = (
        "frames",
        "gain",
        "lane",
        "listened",
        "noisy",
        "rows",
        "sections",
        "senders",
        "ticks",
        "turn",
        "way",
    )

    def __init__(
        self, bank: Bank, sources: SourceBank, key: int, rows: Ints, sections: list[Section]
    ) -> None:
        self.lane: Lane = bank.lanes[key >> 20]
        self.frames = key >> 16 & 0xF
        self.turn = key >> 12 & 0xF
        self.way = Way(key >> 10 & 3)
        self.rows = rows
        self.sections = sections
        self.senders = sections[-1].start + len(sections[-1].rows) if sections else 0
        self.ticks = self._ticks_of(bank)
        self.gain: float | None = None
        if self.way is Way.ECHO and self.senders:
            self.gain = sources.echo_gain(rows[: self.senders])
        hears = self.way is Way.HEAR
        self.listened = hears and some(bank.listened[rows])
        self.noisy = hears and some(bank.noisy[rows])

    def _ticks_of(self, bank: Bank) -> Ints | int:
        if not bank.odd_clocks:
            return DEFAULT_RATE // FRAMES_PER_SECOND * self.frames
        ticks: Ints = bank.clock[self.rows] // FRAMES_PER_SECOND * self.frames
        return ticks


class Schedule:
    """The groups of each phase.  ``streams`` and their ``handles`` are indexed by row.

    ``decide`` is called before groups are built: it brings the keys of the rows up to date.
    """

    def __init__(
        self,
        bank: Bank,
        sources: SourceBank,
        streams: Sequence[HasRemote | None],
        handles: Sequence[Handle],
        decide: Callable[[], None],
    ) -> None:
        self._bank = bank
        self._decide = decide
        self._sources = sources
        self._handle_of = handles.__getitem__
        self._stream_of = streams.__getitem__
        self._groups: list[list[Group] | None] = [None] * PHASES

    def changed(self, row: int) -> None:
        """Something about ``row`` changed that decides whether, what or where to it sends."""
        self._groups[row % PHASES] = None

    def groups(self, phase: int) -> list[Group]:
        """The groups of a phase."""
        groups = self._groups[phase]
        if groups is None:
            self._decide()
            groups = self._groups[phase] = self._build(phase)
        return groups

    def _build(self, phase: int) -> list[Group]:
        bank, top = self._bank, self._bank.top
        rows = bank.playing[phase:top:PHASES].nonzero()[0] * PHASES + phase
        if not len(rows):
            return []
        key = bank.key[rows] - bank.latched[rows]
        key -= bank.transmitting[rows] * SILENT
        first = key.item(0)
        if every(key == first):
            sections = (
                []
                if first & SILENT
                else [self._section(first, rows, 0 if first & LOOSE else len(rows))]
            )
            return [Group(bank, self._sources, first, rows, sections)]
        order = key.argsort(kind="stable")
        rows, key = rows[order], key[order]
        return [self._group(rows[a:b], key[a:b]) for a, b in _runs(key >> 10)]

    def _group(self, rows: Ints, key: Ints) -> Group:
        sections = []
        for start, stop in _runs(key >> 1):
            first = key.item(start)
            if not first & SILENT:
                latched = int(np.count_nonzero(key[start:stop] & LOOSE == 0))
                sections.append(self._section(first, rows[start:stop], latched, start))
        return Group(self._bank, self._sources, key.item(0), rows, sections)

    def _section(self, key: int, rows: Ints, latched: int, start: int = 0) -> Section:
        bank = self._bank
        numbers = rows.tolist()
        section = Section()
        section.start = start
        section.rows = rows
        section.format = bank.formats[key >> 1 & 0xFF]
        section.table = None
        handles = list(map(self._handle_of, numbers))
        section.handles, section.loose = handles[:latched], handles[latched:]
        section.addresses = list(map(_REMOTE, map(self._stream_of, numbers[latched:])))
        section.payload_types = bank.send_payload_type[rows]
        section.ssrcs = bank.ssrc[rows]
        section.fresh = some(bank.first_send_pending[rows]) or some(bank.marker[rows])
        section.full_until = np.minimum.reduce(bank.full_until[rows]).item()
        return section


def _runs(values: Ints) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of equal values; a fourth of what ``np.split`` costs."""
    edges = (values[1:] != values[:-1]).nonzero()[0] + 1
    return pairwise([0, *edges.tolist(), len(values)])
