"""What becomes of a round of received packets: checked, counted, put into the jitter ring.

A round holds at most one packet per row, so every numpy step is for all rows at once and
``column[rows] += 1`` counts right.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import define, field

from sessioncore.media import jitter, plain
from sessioncore.media.bank import NONE, Bank, Bools, Bytes, Ints, every, some
from sessioncore.media.formats import AUDIO, CN, DTMF
from sessioncore.media.lane import Lane
from sessioncore.rtp.header import HeaderBatch, parse_headers
from sessioncore.rtp.telephone_event import EVENT_SIZE, Digit, DigitDetector, parse_events

__all__ = ["Noticed", "Reception"]

_MAX_JUMP: Final = 3000
"""RFC 3550 appendix A.1 MAX_DROPOUT: a larger step of the sequence is a restart."""
_WRAP: Final = 1 << 32
_HALF: Final = 1 << 31
_ONE: Final = np.uint64(1)


@define(eq=False)
class Noticed:
    """Rows that something rare happened to, for the plane to act on and clear."""

    first: list[int] = field(factory=list)
    resumed: list[int] = field(factory=list)
    proven: list[int] = field(factory=list)
    collided: list[int] = field(factory=list)
    noisy: list[int] = field(factory=list)
    """The first comfort noise came for these rows."""
    digits: list[Digit] = field(factory=list)


class _Batch:
    """The good packets of a round; ``at`` is where they lie in ``packets``."""

    __slots__ = ("at", "format", "header", "packets", "rows")

    def __init__(self, rows: Ints, packets: Bytes, header: HeaderBatch, number: Ints) -> None:
        self.rows = rows
        self.packets = packets
        self.header = header
        self.format = number
        self.at: Ints | None = None

    def keep(self, which: Bools) -> None:
        chosen = np.flatnonzero(which)
        self.at = chosen if self.at is None else self.at[chosen]
        self.rows = self.rows[chosen]
        self.format = self.format[chosen]
        header = self.header
        self.header = HeaderBatch(
            ok=header.ok[chosen],
            payload_type=header.payload_type[chosen],
            marker=header.marker[chosen],
            sequence=header.sequence[chosen],
            timestamp=header.timestamp[chosen],
            ssrc=header.ssrc[chosen],
            payload_offset=header.payload_offset[chosen],
            payload_length=header.payload_length[chosen],
        )

    def payloads(self, chosen: Ints | None, start: int, length: int) -> Bytes:
        """The payloads of some (None: all) packets, which all lie in the same place."""
        at = chosen if self.at is None or chosen is None else self.at[chosen]
        if chosen is None:
            at = self.at
        if at is None:
            return self.packets[:, start : start + length]
        return self.packets[at, start : start + length]


class Reception:
    """Takes rounds of packets into the bank."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self.noticed = Noticed()
        self.digits = DigitDetector(bank.capacity)

    def receive(self, rows: Ints, packets: Bytes, lengths: Ints, now: int) -> None:
        """Take one round: unique ``rows``, ``packets`` uint8[n, width], ``lengths`` octets."""
        arrival = now * 8 // 1_000_000
        left = plain.take(self._bank, rows, packets, lengths, arrival, now)
        if len(left) < len(rows):
            rows, packets, lengths = rows[left], packets[left], lengths[left]
        if len(rows):
            self._receive(rows, packets, lengths, now)

    def _receive(self, rows: Ints, packets: Bytes, lengths: Ints, now: int) -> None:
        bank = self._bank
        header = parse_headers(packets, lengths)
        number = bank.meanings[rows * 128 + header.payload_type].astype(np.int64)
        batch = _Batch(rows, packets, header, number)
        good = header.ok & (number != 0)
        if not every(good):
            bank.invalid[rows] += ~header.ok
            bank.unexpected[rows] += header.ok & ~good
            batch.keep(good)
        highest = bank.highest[batch.rows]
        step = _step(batch.header.sequence, highest)
        restart = self._check_sources(batch, step, now)
        if restart is None:
            restart = np.zeros(len(step), np.bool_)
        else:
            # Sources began anew or were dropped.
            highest = bank.highest[batch.rows]
            step = _step(batch.header.sequence, highest)
        forward, fresh = self._check_sequences(batch, highest, step)
        if not every(fresh):
            batch.keep(fresh)
            forward, restart = forward[fresh], restart[fresh]
        if len(batch.rows):
            self._count(batch, now)
            self._deliver(batch, forward, restart, now)

    def _check_sources(self, batch: _Batch, step: Ints, now: int) -> Bools | None:
        """Drop what is of no known source; returns which packets begin a new one.

        ``step`` is how far each is from its row's highest; None: all are of known sources.
        """
        bank, rows, header = self._bank, batch.rows, batch.header
        known: Bools = (header.ssrc == bank.remote_ssrc[rows]) & (np.abs(step) <= _MAX_JUMP)
        if every(known):
            return None
        self._note_collisions(rows, header.ssrc)
        # RFC 3550 A.1 asks two packets in sequence of a source; the very first is believed.
        expected = (bank.candidate_sequence[rows] + 1) & 0xFFFF
        proven = (header.ssrc == bank.candidate_ssrc[rows]) & (header.sequence == expected)
        restart: Bools = ~known & (proven | (bank.remote_ssrc[rows] == NONE))
        doubtful = ~known & ~restart
        bank.candidate_ssrc[rows[doubtful]] = header.ssrc[doubtful]
        bank.candidate_sequence[rows[doubtful]] = header.sequence[doubtful]
        self._adopt(rows[restart], batch, restart, now)
        if some(doubtful):
            batch.keep(~doubtful)
        return restart[~doubtful]

    def _note_collisions(self, rows: Ints, ssrc: Ints) -> None:
        own = rows[ssrc == self._bank.ssrc[rows]]
        if len(own):
            self._bank.collisions[own] += 1
            self.noticed.collided.extend(own.tolist())

    def _adopt(self, rows: Ints, batch: _Batch, which: Bools, now: int) -> None:
        """Begin to count a new source of ``rows``, and keep the sums of the old one."""
        bank = self._bank
        sequence = batch.header.sequence[which]
        again = rows[bank.remote_ssrc[rows] != NONE]
        bank.former_expected[again] += bank.highest[again] - bank.first_sequence[again] + 1
        bank.former_received[again] = bank.packets_received[again]
        bank.remote_ssrc[rows] = batch.header.ssrc[which]
        bank.candidate_ssrc[rows] = NONE
        bank.first_sequence[rows] = sequence
        bank.highest[rows] = sequence - 1
        bank.seen[rows] = 0
        bank.jitter[rows] = 0.0
        bank.transit[rows] = self._arrival(rows, now) - batch.header.timestamp[which]
        bank.received_before[rows] = bank.expected_before[rows] = 0
        if bank.formats.remembering:
            bank.formats.begin_source(rows)

    def _check_sequences(self, batch: _Batch, highest: Ints, step: Ints) -> tuple[Bools, Bools]:
        """Follow the sequence numbers: which packets are the newest, which are no duplicates."""
        bank, rows = self._bank, batch.rows
        plain: Bools = step == 1
        if every(plain):
            bank.highest[rows] = highest + 1
            bank.seen[rows] = bank.seen[rows] << _ONE | _ONE
            return plain, plain
        forward: Bools = step > 0
        seen = bank.seen[rows]
        distance = np.minimum(np.abs(step), 63).astype(np.uint64)
        ancient = step <= -64
        again = ~forward & ~ancient & ((seen >> distance & _ONE) == _ONE)
        shifted = np.where(step > 63, 0, seen << distance) | _ONE
        marked = np.where(again | ancient, seen, seen | _ONE << distance)
        bank.seen[rows] = np.where(forward, shifted, marked)
        bank.highest[rows] = np.where(forward, highest + step, highest)
        bank.duplicates[rows] += again
        bank.late[rows] += ancient
        return forward, ~(again | ancient)

    def _count(self, batch: _Batch, now: int) -> None:
        """Totals, interarrival jitter, and what the plane waits for."""
        bank = self._bank
        rows, header, noticed = batch.rows, batch.header, self.noticed
        bank.packets_received[rows] += 1
        bank.octets_received[rows] += header.payload_length
        key = batch.format == DTMF
        if some(key):
            # All packets of a key carry the time of its beginning (RFC 4733 section 2.2.1).
            self._measure_jitter(rows[~key], header.timestamp[~key], now)
        else:
            self._measure_jitter(rows, header.timestamp, now)
        bank.heard_at[rows] = now
        attention = bank.attention[rows]
        if some(attention):
            noticed.first.extend(rows[bank.first_receive_pending[rows]].tolist())
            noticed.resumed.extend(rows[bank.stalled[rows]].tolist())
            noticed.proven.extend(rows[bank.unproven[rows]].tolist())
            bank.attention[rows] = False

    def _arrival(self, rows: Ints, now: int) -> Ints | int:
        """``now`` by the RTP clock of each row."""
        if not self._bank.odd_clocks:
            return now * 8 // 1_000_000
        arrival: Ints = now // 1000 * self._bank.clock[rows] // 1_000_000
        return arrival

    def _measure_jitter(self, rows: Ints, timestamp: Ints, now: int) -> None:
        """RFC 3550 appendix A.8."""
        bank = self._bank
        transit = self._arrival(rows, now) - timestamp
        change = ((transit - bank.transit[rows] + _HALF) & (_WRAP - 1)) - _HALF
        bank.transit[rows] = transit
        known = bank.jitter[rows]
        bank.jitter[rows] = known + (np.abs(change) - known) / 16

    def _deliver(self, batch: _Batch, forward: Bools, restart: Bools, now: int) -> None:
        """Audio into the ring, events and noise levels where they belong."""
        bank = self._bank
        audio = (batch.format >= AUDIO) & bank.receiving[batch.rows]
        if not every(audio):
            self._take_events(batch, now)
            self._take_noise(batch)
            batch.keep(audio)
            forward, restart = forward[audio], restart[audio]
        if not len(batch.rows):
            return
        bank.noise_level[batch.rows] = -1
        lanes = bank.lane[batch.rows] if len(bank.lanes) > 1 else None
        if lanes is None or every(lanes == lanes[0]):
            lane = bank.lanes[0 if lanes is None else lanes.item(0)]
            self._place(batch, lane, None, forward, restart)
            return
        for number in np.flatnonzero(np.bincount(lanes)).tolist():
            chosen = np.flatnonzero(lanes == number)
            self._place(batch, bank.lanes[number], chosen, forward[chosen], restart[chosen])

    def _place(
        self, batch: _Batch, lane: Lane, chosen: Ints | None, forward: Bools, restart: Bools
    ) -> None:
        """Put the audio of some (None: all) packets, of rows of ``lane``, where it belongs."""
        bank, header = self._bank, batch.header
        rows, timestamp = batch.rows, header.timestamp
        number, length, offset = batch.format, header.payload_length, header.payload_offset
        if chosen is not None:
            rows, timestamp, number = rows[chosen], timestamp[chosen], number[chosen]
            length, offset = length[chosen], offset[chosen]
        count = length * bank.formats.samples[number] // bank.formats.octets[number]
        clock = bank.formats.clock[number] if lane.rate in bank.formats.scaled else None
        position, usable = jitter.place(
            bank, lane, rows, timestamp, count, forward=forward, restart=restart, clock=clock
        )
        # What lies in the same place and is coded alike is decoded in one go.
        shape = (length << 16 | offset) << 8 | number
        if every(usable) and every(shape == shape[0]):
            self._store(batch, lane, chosen, position, int(shape[0]))
            return
        for each in np.unique(shape[usable]).tolist():
            which = np.flatnonzero(usable & (shape == each))
            at = which if chosen is None else chosen[which]
            self._store(batch, lane, at, position[which], each)

    def _store(
        self, batch: _Batch, lane: Lane, chosen: Ints | None, position: Ints, shape: int
    ) -> None:
        number, start, length = shape & 0xFF, shape >> 8 & 0xFFFF, shape >> 24
        payloads = batch.payloads(chosen, start, length)
        rows = batch.rows if chosen is None else batch.rows[chosen]
        jitter.store(lane, rows, position, self._bank.formats[number].decode(rows, payloads))

    def _take_events(self, batch: _Batch, now: int) -> None:
        """RFC 4733 keys; heard on hold too, as RFC 3264 does not speak of them."""
        chosen = np.flatnonzero(batch.format == DTMF)
        if not len(chosen):
            return
        at = chosen if batch.at is None else batch.at[chosen]
        header = batch.header
        start = np.minimum(header.payload_offset[chosen], batch.packets.shape[1] - EVENT_SIZE)
        payloads = batch.packets[at[:, None], start[:, None] + np.arange(EVENT_SIZE)]
        events = parse_events(payloads, header.payload_length[chosen])
        rows, markers = batch.rows[chosen], header.marker[chosen]
        self.noticed.digits += self.digits.feed(
            rows, header.timestamp[chosen], markers, events, now
        )

    def _take_noise(self, batch: _Batch) -> None:
        """RFC 3389: the first octet is the level in -dBov, 0 to 127; further ones are optional."""
        chosen = np.flatnonzero((batch.format == CN) & (batch.header.payload_length > 0))
        if len(chosen):
            at = chosen if batch.at is None else batch.at[chosen]
            level = batch.packets[at, batch.header.payload_offset[chosen]]
            bank, rows = self._bank, batch.rows[chosen]
            bank.noise_level[rows] = level & 0x7F
            fresh = rows[~bank.noisy[rows]]
            if len(fresh):
                bank.noisy[fresh] = True
                self.noticed.noisy.extend(fresh.tolist())


def _step(sequence: Ints, highest: Ints) -> Ints:
    """How far ``sequence`` is from ``highest`` (extended), in -32768..32767."""
    return ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000
