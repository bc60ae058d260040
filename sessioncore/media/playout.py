"""Playing: which rows are due, and one step for all of them: hear, render, encode, send.

The 20 ms period has four phases of 5 ms; each plays its part of the rows, so that
thousands of calls do not burst.  Rows whose packets are longer (40 or 60 ms) are due every
second or third turn of their phase and play two or three frames at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from sessioncore.media import jitter, plain
from sessioncore.media.bank import (
    PHASES,
    Bank,
    Bools,
    Bytes,
    Ints,
    Samples,
    Way,
    every,
    key_of,
    some,
)
from sessioncore.media.lane import FRAMES_PER_RING
from sessioncore.media.limits import SPARSE
from sessioncore.media.listening import LOUD, peaks
from sessioncore.media.packet_io import Handle, PacketIO
from sessioncore.media.players import amplify
from sessioncore.media.schedule import Group, HasRemote, Schedule, Section
from sessioncore.media.sink_bank import SinkBank
from sessioncore.media.source_bank import SourceBank
from sessioncore.media.statistics import PlaneStatistics
from sessioncore.rtp.audio_codec import FRAMES_PER_SECOND, AudioCodec, TableCodec
from sessioncore.rtp.comfort_noise import render_noise
from sessioncore.rtp.header import HEADER_SIZE, write_headers
from sessioncore.vocabulary import MILLISECOND

__all__ = ["PHASES", "PHASE_NS", "PhaseClock", "Playout"]

PHASE_NS: Final = 5 * MILLISECOND
_IN_TIME: Final = PHASE_NS // 2
"""A turn that comes later than that is late."""
_MAX_CATCH_UP: Final = 2 * PHASES
"""Phases played late rather than skipped: 40 ms."""
_TRIM_TURNS: Final = 100
"""The jitter rings are looked over every 2 s."""
_LISTEN_TURNS: Final = 7
"""Every so many turns what is sent is looked at for sound: 140 ms, packets of 40 and 60 ms too."""


class PhaseClock:
    """Says which phases are due at a time, whatever the pace it is asked at.

    The grid is that of the first tick and follows ticks that keep coming a little early, so
    that a late first one is forgotten.
    """

    def __init__(self, statistics: PlaneStatistics) -> None:
        self._statistics = statistics
        self._next: int | None = None
        self._first = self._count = 0

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
        statistics = self._statistics
        first = self._first = self._count
        statistics.phases += behind
        if behind > 1:
            statistics.caught_up_phases += behind - 1
        self._count = first + behind
        self._next += behind * PHASE_NS
        return range(first, first + behind), skipped

    def overdue(self, rows: Ints, frames: Ints, now: int) -> Ints:
        """How late the next turn of each row is, in frames begun; ``frames`` it plays at once.

        For rows of which that turn is among those that `due` returned last.
        """
        assert self._next is not None
        first = self._first
        number = first + (rows - first) % PHASES
        number += PHASES * ((rows // PHASES - number // PHASES) % frames)
        late = now - self._next + (self._count - number) * PHASE_NS - _IN_TIME
        return np.maximum(-(-late // (PHASES * PHASE_NS)), 0)

    def stop(self) -> None:
        """Nobody will ask for a while; the next time begins a new grid."""
        self._next = None


class _PacketBuffer:
    """Packets of one length, and for each a view to send it by, made once."""

    def __init__(self, size: int, payload: int) -> None:
        self._size = size
        self._payload = payload
        self.packets: Bytes = np.zeros((0, size), np.uint8)
        self.views: list[memoryview] = []

    def reserve(self, count: int) -> None:
        if count > len(self.views):
            rows = max(64, 2 * len(self.views), count)
            self.packets = np.full((rows, self._size), self._payload, np.uint8)
            whole = memoryview(self.packets.reshape(-1).data)
            size = self._size
            self.views = [whole[row * size : (row + 1) * size] for row in range(rows)]


class _Audio(NamedTuple):
    """What a section sends: rows of samples, the picked ones or all."""

    samples: Samples
    picks: Ints | None = None
    table: Bytes | None = None
    """The code of each sample; None where the format codes whole frames."""

    def only(self, which: Bools) -> _Audio:
        if self.picks is None:
            return self._replace(samples=self.samples[which])
        return self._replace(picks=self.picks[which])

    def write(self, section: Section, payloads: Bytes) -> None:
        if self.table is None:
            section.format.encode(section.rows, self.samples, payloads)
        else:
            plain.encode(self.table, self.samples, self.picks, payloads)


@lru_cache(maxsize=16)
def _echo_table(codec: AudioCodec, gain: float) -> Bytes:
    """The codes of all samples when they are ``gain`` times as loud."""
    assert isinstance(codec, TableCodec), "rows of other codecs do not echo sample by sample"
    samples = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    louder = np.empty_like(samples)
    amplify(samples, np.array([gain], np.float32), louder)
    return codec.encode_table.take(louder.view(np.uint16))


class Playout:
    """Steps the rows of one phase.  ``streams`` and their ``handles`` are indexed by row.

    ``first_sent`` collects rows for the plane to act on and clear.
    """

    def __init__(
        self,
        bank: Bank,
        io: PacketIO,
        statistics: PlaneStatistics,
        streams: Sequence[HasRemote | None],
        handles: Sequence[Handle],
    ) -> None:
        self._bank = bank
        self._io = io
        self._statistics = statistics
        self.sources = SourceBank(self.revise)
        self.sinks = SinkBank(changed=self.revise)
        self.schedule = Schedule(bank, self.sources, streams, handles, self._decide)
        self.changed = self.schedule.changed
        self._undecided: set[int] = set()
        self._listens = False
        self.first_sent: list[int] = []
        self._buffers: dict[tuple[int, int | None], _PacketBuffer] = {}

    def revise(self, row: int) -> None:
        """What ``row`` sends, hears or is given changed: how it is played is decided again.

        That happens before its phase is played next, as a call that begins changes it a few times.
        """
        self._undecided.add(row)
        self.changed(row)

    def _decide(self) -> None:
        """Decide how the rows are played of which something changed."""
        while self._undecided:
            self._decide_row(self._undecided.pop())

    def _decide_row(self, row: int) -> None:
        cells = self._bank.cells
        if not cells.playing[row]:
            return  # it will be asked again when there is something to play
        listened = cells.listened[row] = row in self.sinks.served
        frames, number = cells.frames[row], cells.format[row]
        way = Way.HEAR if listened else self.sources.way(row)
        if way is Way.ECHO and (frames > 1 or cells.noisy[row] or not self._is_table(number)):
            way = Way.HEAR
        cells.key[row] = key_of(row // PHASES % frames, cells.lane[row], frames, way, number)

    def _is_table(self, number: int) -> bool:
        return number > 0 and self._bank.formats[number].encode_table is not None

    def play(self, number: int, now: int) -> None:
        """Play phase ``number`` (they are counted on and on)."""
        turn = number // PHASES
        self._listens = turn % _LISTEN_TURNS == 0
        for group in self.schedule.groups(number % PHASES):
            if turn % group.frames == group.turn:
                self._play(group, now)
            if turn % _TRIM_TURNS == 0:
                jitter.trim(self._bank, group.lane, group.rows)

    def skip(self, periods: int) -> None:
        """Time went by in which nothing was played: timestamps and recordings go on."""
        bank, top = self._bank, self._bank.top
        bank.timestamp[:top] += periods * (bank.clock[:top] // FRAMES_PER_SECOND)
        self.sinks.pass_over(periods)

    def _play(self, group: Group, now: int) -> None:
        if group.gain is not None:
            self._echo(group, group.gain, now)
        elif group.listened or (group.senders and group.way is not Way.PASS):
            self._render(group, now)
        else:
            self._stay_silent(group, now)
        self._bank.timestamp[group.rows] += group.ticks

    def _echo(self, group: Group, gain: float, now: int) -> None:
        """Rows that echo, each sample by itself and for nobody else: no frame need be made."""
        picks, _ = jitter.next_slots(self._bank, group.lane, group.rows)
        for section in group.sections:
            if section.table is None:
                section.table = _echo_table(section.format.codec, gain)
            stop = section.start + len(section.rows)
            audio = _Audio(group.lane.ring, picks[section.start : stop], section.table)
            self._send(section, 1, audio, now)

    def _stay_silent(self, group: Group, now: int) -> None:
        """What these rows hear is neither heard by anybody nor sent: no frame need be made."""
        self._pass_over(group)
        for section in group.sections:
            self._send(section, group.frames, None, now)

    def _pass_over(self, group: Group) -> None:
        if not jitter.untouched(self._bank, group.rows):
            for which in range(group.frames):
                jitter.next_slots(self._bank, group.lane, group.rows, which)

    def _render(self, group: Group, now: int) -> None:
        rows, count = group.rows, group.senders
        shape = len(rows), group.lane.frame * group.frames
        heard = None
        if group.way is Way.PLAY:
            self._pass_over(group)
        else:
            heard = self._hear(group)
        sent = None
        if count and not self.sources.are_silent(rows[:count]):
            sent = np.zeros(shape, np.int16)
            self.sources.render(
                rows[:count], None if heard is None else heard[:count], sent[:count], now
            )
            if self._listens:
                self._note_levels(rows[:count], sent[:count], now)
        for section in group.sections:
            audio = None
            if sent is not None:
                stop = section.start + len(section.rows)
                audio = _Audio(sent[section.start : stop], None, section.format.encode_table)
            self._send(section, group.frames, audio, now)
        if group.listened and heard is not None:
            sent = np.zeros(shape, np.int16) if sent is None else sent
            self.sinks.consume(rows, heard, sent, now, group.lane.rate)

    def _note_levels(self, rows: Ints, sent: Samples, now: int) -> None:
        """Note how loud is what ``rows`` send."""
        peak = self._bank.sent_peak[rows] = peaks(sent)
        self._bank.sent_sound_at[rows[peak > LOUD]] = now

    def _hear(self, group: Group) -> Samples:
        if group.frames == 1:
            return self._hear_frame(group, 0)
        frames = [self._hear_frame(group, which) for which in range(group.frames)]
        return np.concatenate(frames, axis=1)

    def _hear_frame(self, group: Group, which: int) -> Samples:
        bank, lane, rows = self._bank, group.lane, group.rows
        if not group.noisy and jitter.untouched(bank, rows):
            return np.zeros((len(rows), lane.frame), np.int16)
        slots, there = jitter.next_slots(bank, lane, rows, which)
        if group.noisy and not every(there):
            level = bank.noise_level[rows]
            noisy = ~there & (level >= 0)
            if some(noisy):
                slots[noisy] = self._make_noise(group, rows[noisy], level[noisy], which)
        return lane.ring.take(slots, axis=0)

    def _make_noise(self, group: Group, rows: Ints, level: Ints, which: int) -> Ints:
        """Comfort noise (RFC 3389) where the peer is silent, in the place of what is missing.

        Each row reads the noise elsewhere.
        """
        lane, play = group.lane, self._bank.play[rows]
        noise = np.empty((len(rows), lane.frame), np.int16)
        render_noise(-level, play + rows * 1009, noise)
        slots: Ints = rows * FRAMES_PER_RING + (play // lane.frame - 1) % FRAMES_PER_RING
        lane.ring[slots] = noise
        lane.heard[which][rows] = slots
        return slots

    def _send(self, section: Section, frames: int, audio: _Audio | None, now: int) -> None:
        """Send a packet of each row, ``frames`` of its ``audio``; None is silence."""
        bank, whole = self._bank, section
        limited = now >= section.full_until
        if limited:
            allowed = self._allowed(section.rows, now)
            if not every(allowed):
                bank.held_back[section.rows[~allowed]] += 1
                section = section.only(allowed)
                audio = None if audio is None else audio.only(allowed)
        rows = section.rows
        count = len(rows)
        if not count:
            return
        sent = section.format
        octets = sent.frame_octets * frames
        if audio is None and sent.silence is None:
            audio = _Audio(np.zeros((count, sent.frame_samples * frames), np.int16))
        filled = sent.silence if audio is None else None
        buffer = self._buffer(HEADER_SIZE + octets, filled)
        buffer.reserve(count)
        packets = buffer.packets[:count]
        if audio is not None:
            audio.write(section, packets[:, HEADER_SIZE:])
        sequence = bank.sequence[rows]
        write_headers(
            packets,
            section.payload_types,
            bank.marker[rows] if section.fresh else False,
            sequence,
            bank.timestamp[rows],
            section.ssrcs,
        )
        bank.sequence[rows] = sequence + 1
        bank.packets_sent[rows] += 1
        bank.octets_sent[rows] += octets
        failed = self._hand_over(section, buffer.views)
        self._statistics.packets_sent += count - len(failed)
        if failed:
            lost = rows[np.array(failed)]
            bank.packets_sent[lost] -= 1
            bank.octets_sent[lost] -= octets
            bank.send_errors[lost] += 1
            rows = np.delete(rows, failed)
        if limited:
            bank.next_at[rows] = now + SPARSE
        if section.fresh:
            # Until no packet is the first of an agreement any more.
            whole.fresh = len(rows) < len(whole.rows)
            self._note_first(rows)

    def _buffer(self, size: int, payload: int | None) -> _PacketBuffer:
        """Packets of ``size`` octets, filled with ``payload`` where that is given."""
        buffer = self._buffers.get((size, payload))
        if buffer is None:
            buffer = self._buffers[size, payload] = _PacketBuffer(size, payload or 0)
        return buffer

    def _hand_over(self, section: Section, views: Sequence[memoryview]) -> Sequence[int]:
        """Give the packets to the io; returns the positions of those that could not leave."""
        failed = self._io.send(section.handles, views) if section.handles else []
        if not section.loose:
            return failed
        latched = len(section.handles)
        if latched:
            views = views[latched : latched + len(section.loose)]
        more = self._io.send_to(section.loose, views, section.addresses)
        return [*failed, *(latched + position for position in more)]

    def _note_first(self, rows: Ints) -> None:
        """Packets of these rows have left; for some it was the first of an agreement."""
        bank = self._bank
        bank.marker[rows] = False
        first = rows[bank.first_send_pending[rows]]
        bank.first_send_pending[first] = False
        self.first_sent += first.tolist()

    def _allowed(self, rows: Ints, now: int) -> Bools:
        """Which rows may send now (`sessioncore.media.limits`)."""
        bank = self._bank
        allowed: Bools = (now < bank.full_until[rows]) | (now >= bank.next_at[rows])
        return allowed
