"""Playing: which rows are due, and one step for all of them: hear, render, encode, send.

The 20 ms period has four phases of 5 ms; each plays one quarter of the rows, so that
thousands of calls do not burst.  Rows whose packets are longer (40 or 60 ms) are due every
second or third turn of their phase and play two or three frames at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from attrs import define

from sessioncore.media import jitter
from sessioncore.media.bank import (
    FRAME,
    L16,
    PCMA,
    PHASES,
    Bank,
    Bools,
    Bytes,
    Ints,
    Samples,
    every,
    some,
)
from sessioncore.media.packet_io import Handle, PacketIO, PortLease
from sessioncore.media.sinks import SinkBank
from sessioncore.media.sources import SourceBank
from sessioncore.media.statistics import PlaneStatistics
from sessioncore.rtp.comfort_noise import render_noise
from sessioncore.rtp.g711 import encode_alaw, encode_ulaw
from sessioncore.rtp.header import HEADER_SIZE, write_headers
from sessioncore.vocabulary import MILLISECOND, SECOND, Address

if TYPE_CHECKING:
    from sessioncore.media.stream import Stream

__all__ = ["PHASES", "PHASE_NS", "PhaseClock", "Playout"]

PHASE_NS: Final = 5 * MILLISECOND
_MAX_CATCH_UP: Final = 2 * PHASES
"""Phases played late rather than skipped: 40 ms."""
_TRIM_TURNS: Final = 100
"""The jitter rings are looked over every 2 s."""
_UNPROVEN: Final = 5 * SECOND
_FOREIGN: Final = 1 * SECOND


class PhaseClock:
    """Says which phases are due at a time, whatever the pace it is asked at.

    The grid is that of the first tick and follows ticks that keep coming a little early, so
    that a late first one is forgotten.
    """

    def __init__(self, statistics: PlaneStatistics) -> None:
        self._statistics = statistics
        self._next: int | None = None
        self._count = 0

    def due(self, now: int) -> tuple[range, int]:
        """The numbers of the phases to play now, and how many 20 ms periods were skipped."""
        if self._next is None:
            self._next = now
        behind = (now - self._next) // PHASE_NS + 1
        skipped = 0
        if behind <= 0:
            # Early by less than half a phase is due as well; the grid follows slowly.
            early = self._next - now
            behind = int(early < PHASE_NS // 2)
            self._next -= behind * (early // 8)
        elif behind > _MAX_CATCH_UP:
            skipped = (behind - 1) // PHASES
            self._statistics.missed_phases += skipped * PHASES
            self._next += skipped * PHASES * PHASE_NS
            behind -= skipped * PHASES
        self._statistics.phases += behind
        self._statistics.caught_up_phases += max(0, behind - 1)
        first = self._count
        self._count += behind
        self._next += behind * PHASE_NS
        return range(first, self._count), skipped

    def stop(self) -> None:
        """Nobody will ask for a while; the next time begins a new grid."""
        self._next = None


@define(eq=False)
class _Section:
    """Rows of a group that send the same codec; the first ``len(handles)`` are latched."""

    start: int
    rows: Ints
    codec: int
    handles: list[Handle]
    loose: list[tuple[PortLease, Address]]
    new: bool
    """Some row sends its first packet of an agreement."""
    gated: bool
    """Some row's path is unproven."""

    def only(self, which: Bools) -> _Section:
        """The section without the rows that may not send now."""
        chosen = which.tolist()
        latched = len(self.handles)
        return _Section(
            self.start,
            self.rows[which],
            self.codec,
            [handle for handle, may in zip(self.handles, chosen, strict=False) if may],
            [each for each, may in zip(self.loose, chosen[latched:], strict=True) if may],
            self.new,
            False,
        )


@define(eq=False)
class _Group:
    """Rows that are due together and play the same length; those that send come first."""

    rows: Ints
    frames: int
    every: int
    turn: int
    senders: int
    sections: list[_Section]


class _PacketBuffer:
    """Packets of one length, and for each a view to send it by, made once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.packets: Bytes = np.zeros((0, size), np.uint8)
        self.views: list[memoryview] = []

    def reserve(self, count: int) -> None:
        if count > len(self.views):
            rows = max(64, 2 * len(self.views), count)
            self.packets = np.zeros((rows, self._size), np.uint8)
            whole = memoryview(self.packets.reshape(-1).data)
            size = self._size
            self.views = [whole[row * size : (row + 1) * size] for row in range(rows)]


class Playout:
    """Steps the rows of one phase.  ``streams`` is indexed by row.

    ``first_sent`` and ``failed`` collect rows for the plane to act on and clear.
    """

    def __init__(self, bank: Bank, io: PacketIO, statistics: PlaneStatistics) -> None:
        self._bank = bank
        self._io = io
        self._statistics = statistics
        self.sources = SourceBank()
        self.sinks = SinkBank()
        self.streams: list[Stream | None] = []
        self.first_sent: list[int] = []
        self._groups: list[list[_Group] | None] = [None] * PHASES
        self._buffers: dict[int, _PacketBuffer] = {}

    def changed(self, row: int) -> None:
        """Something about ``row`` changed that decides whether, what or where to it sends."""
        self._groups[row % PHASES] = None

    def rows(self, phase: int) -> list[Ints]:
        """The rows of a phase, group by group."""
        return [group.rows for group in self._groups_of(phase)]

    def play(self, number: int, now: int) -> None:
        """Play phase ``number`` (they are counted on and on)."""
        phase, turn = number % PHASES, number // PHASES
        for group in self._groups_of(phase):
            if turn % group.every == group.turn:
                self._play(group, now)
            if turn % _TRIM_TURNS == 0:
                jitter.trim(self._bank, group.rows)

    def skip(self, periods: int) -> None:
        """Time went by in which nothing was played: RTP timestamps go on all the same."""
        top = self._bank.top
        self._bank.timestamp[:top] += periods * FRAME

    def _play(self, group: _Group, now: int) -> None:
        bank, rows, count = self._bank, group.rows, group.senders
        heard = self._hear(group)
        sent = np.zeros_like(heard)
        if count:
            self.sources.render(rows[:count], heard[:count], sent[:count], now)
            for section in group.sections:
                stop = section.start + len(section.rows)
                self._send(section, sent[section.start : stop], now)
        bank.timestamp[rows] += FRAME * group.frames
        self.sinks.consume(rows, heard, sent, now)

    def _hear(self, group: _Group) -> Samples:
        if group.frames == 1:
            return self._hear_frame(group.rows)
        frames = [self._hear_frame(group.rows) for _ in range(group.frames)]
        return np.concatenate(frames, axis=1)

    def _hear_frame(self, rows: Ints) -> Samples:
        heard, there = jitter.next_frames(self._bank, rows)
        if not every(there):
            level = self._bank.noise_level[rows]
            noisy = np.flatnonzero(~there & (level >= 0))
            if len(noisy):
                self._make_noise(heard, rows, noisy, level)
        return heard

    def _make_noise(self, heard: Samples, rows: Ints, noisy: Ints, level: Ints) -> None:
        """Comfort noise (RFC 3389) where the peer is silent; each row reads it elsewhere."""
        noise = np.empty((len(noisy), FRAME), np.int16)
        rows = rows[noisy]
        render_noise(-level[noisy], self._bank.play[rows] + rows * 1009, noise)
        heard[noisy] = noise

    def _send(self, section: _Section, samples: Samples, now: int) -> None:
        bank = self._bank
        if section.gated:
            allowed = self._allowed(section.rows, now)
            if not every(allowed):
                section, samples = section.only(allowed), samples[allowed]
                if not len(section.rows):
                    return
        rows = section.rows
        payload = _encode(section.codec, samples)
        size = HEADER_SIZE + payload.shape[1]
        buffer = self._buffers.get(size)
        if buffer is None:
            buffer = self._buffers[size] = _PacketBuffer(size)
        buffer.reserve(len(rows))
        packets = buffer.packets[: len(rows)]
        packets[:, HEADER_SIZE:] = payload
        sequence = bank.sequence[rows]
        marker: Bools | bool = bank.marker[rows] if section.new else False
        write_headers(
            packets,
            bank.send_payload_type[rows],
            marker,
            sequence,
            bank.timestamp[rows],
            bank.ssrc[rows],
        )
        bank.sequence[rows] = sequence + 1
        bank.packets_sent[rows] += 1
        bank.octets_sent[rows] += payload.shape[1]
        failed = self._io.send(section.handles, buffer.views)
        if section.loose:
            failed = [*failed, *self._send_loose(section, buffer.views)]
        self._statistics.packets_sent += len(rows) - len(failed)
        if failed:
            lost = rows[np.array(failed)]
            bank.packets_sent[lost] -= 1
            bank.octets_sent[lost] -= payload.shape[1]
            bank.send_errors[lost] += 1
        if section.new or section.gated:
            self._note_sent(rows, failed, now)
            if section.new:
                # Look again at what is new, until nothing is.
                self.changed(int(rows[0]))

    def _send_loose(self, section: _Section, views: Sequence[memoryview]) -> list[int]:
        """Send by address for rows that are not latched; returns the positions that failed."""
        failed = []
        for position, (lease, address) in enumerate(section.loose, len(section.handles)):
            try:
                lease.send_to(views[position], address)
            except OSError:
                failed.append(position)
        return failed

    def _note_sent(self, rows: Ints, failed: Sequence[int], now: int) -> None:
        bank = self._bank
        sent = np.ones(len(rows), np.bool_)
        sent[list(failed)] = False
        rows = rows[sent]
        bank.sent_at[rows] = now
        bank.marker[rows] = False
        first = rows[bank.first_send_pending[rows]]
        bank.first_send_pending[first] = False
        self.first_sent.extend(first.tolist())

    def _allowed(self, rows: Ints, now: int) -> Bools:
        """Until the path is proven: 5 s of RTP; to a foreign IP 1 s, then a packet a second."""
        bank = self._bank
        age = now - bank.sending_since[rows]
        sparse = bank.foreign[rows] & (age >= _FOREIGN)
        pause = now - bank.sent_at[rows]
        allowed: Bools = ~bank.unproven[rows] | ((age < _UNPROVEN) & (~sparse | (pause >= SECOND)))
        return allowed

    def _groups_of(self, phase: int) -> list[_Group]:
        groups = self._groups[phase]
        if groups is None:
            groups = self._groups[phase] = self._build(phase)
        return groups

    def _build(self, phase: int) -> list[_Group]:
        bank, top = self._bank, self._bank.top
        due = np.flatnonzero(bank.playing[phase:top:PHASES]) * PHASES + phase
        if not len(due):
            return []
        # A group is a length and a turn; within it senders first, by codec, latched first.
        frames = bank.frames[due]
        turn = due // PHASES % frames
        silent = ~bank.transmitting[due]
        order = np.lexsort((~bank.latched[due], bank.codec[due], silent, turn, frames))
        due, kind = due[order], (frames * 8 + turn)[order]
        groups = []
        for start, stop in _runs(kind):
            groups.append(self._group(due[start:stop]))
        return groups

    def _group(self, rows: Ints) -> _Group:
        bank = self._bank
        frames = int(bank.frames[rows[0]])
        senders = int(np.count_nonzero(bank.transmitting[rows]))
        codec = bank.codec[rows[:senders]]
        sections = [self._section(start, rows[start:stop]) for start, stop in _runs(codec)]
        turn = int(rows[0]) // PHASES % frames
        return _Group(rows, frames, frames, turn, senders, sections)

    def _section(self, start: int, rows: Ints) -> _Section:
        bank = self._bank
        latched = int(np.count_nonzero(bank.latched[rows]))
        each = rows.tolist()
        handles: list[Handle] = []
        loose: list[tuple[PortLease, Address]] = []
        for position, row in enumerate(each):
            stream = self.streams[row]
            assert stream is not None and stream.remote is not None
            if position < latched:
                handles.append(stream.lease.handle)
            else:
                loose.append((stream.lease, stream.remote))
        new = some(bank.first_send_pending[rows] | bank.marker[rows])
        gated = some(bank.unproven[rows])
        return _Section(start, rows, int(bank.codec[rows[0]]), handles, loose, new, gated)


def _runs(values: Ints) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of equal values; a fourth of what ``np.split`` costs."""
    if len(values):
        edges = (values[1:] != values[:-1]).nonzero()[0] + 1
        yield from pairwise([0, *edges.tolist(), len(values)])


def _encode(codec: int, samples: Samples) -> Bytes:
    """RTP payloads, uint8[n, octets], of samples int16[n, count]."""
    if codec == L16:
        return samples.astype(">i2").view(np.uint8)
    if codec == PCMA:
        return encode_alaw(samples)
    return encode_ulaw(samples)
