"""What becomes of a round of received packets: checked, counted, put into the jitter ring.

A round holds at most one packet per row, so every numpy step is for all rows at once and
``column[rows] += 1`` counts right.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import define, field

from sessioncore.media import jitter, plain
from sessioncore.media.bank import NEVER, NONE, Bank, Bools, Bytes, Ints, every, some
from sessioncore.media.formats import AUDIO, CN, DTMF
from sessioncore.media.lane import Lane
from sessioncore.rtp.header import HeaderBatch, parse_headers
from sessioncore.rtp.telephone_event import MOST_OCTETS, Digit, DigitDetector, parse_events
from sessioncore.vocabulary import MILLISECOND

__all__ = ["MAX_DROPOUT", "MAX_MISORDER", "SUCCESSION", "Noticed", "Reception"]

MAX_DROPOUT: Final = 3000
MAX_MISORDER: Final = 100
"""RFC 3550 appendix A.1: a sequence number that is so far ahead of the highest, or so far behind
it, belongs to a sequence that began again, once the next one has come too."""
_MIDDLE: Final = (MAX_DROPOUT - MAX_MISORDER) // 2
_NEAR: Final = (MAX_DROPOUT + MAX_MISORDER) // 2 - 1
SUCCESSION: Final = 200 * MILLISECOND
"""Silence of a source after which another SSRC takes its place."""
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

    __slots__ = ("arrivals", "at", "format", "header", "packets", "rows", "step")

    def __init__(
        self, rows: Ints, packets: Bytes, arrivals: Ints, header: HeaderBatch, number: Ints
    ) -> None:
        self.rows = rows
        self.packets = packets
        self.arrivals = arrivals
        self.header = header
        self.format = number
        self.step = header.sequence
        """Set once the highest sequence number before is known: how far each is ahead of it."""
        self.at: Ints | None = None

    def keep(self, which: Bools) -> None:
        chosen = np.flatnonzero(which)
        self.at = chosen if self.at is None else self.at[chosen]
        self.rows = self.rows[chosen]
        self.arrivals = self.arrivals[chosen]
        self.step = self.step[chosen]
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
    """Takes rounds of packets into the bank.  ``lag`` is as of `jitter.place`."""

    def __init__(self, bank: Bank, lag: jitter.Lag = np.zeros_like) -> None:
        self._bank = bank
        self._lag = lag
        self.noticed = Noticed()
        self.digits = DigitDetector(bank.capacity)

    def receive(self, rows: Ints, packets: Bytes, lengths: Ints, arrivals: Ints, now: int) -> None:
        """Take one round: unique ``rows``, ``packets`` uint8[n, width], ``lengths`` octets.

        ``arrivals`` in ns say when they came.
        """
        left = plain.take(self._bank, rows, packets, lengths, arrivals, now)
        if not len(left):
            return
        if len(left) < len(rows):
            rows, packets, lengths = rows[left], packets[left], lengths[left]
            arrivals = arrivals[left]
        self._receive(rows, packets, lengths, arrivals, now)

    def _receive(self, rows: Ints, packets: Bytes, lengths: Ints, arrivals: Ints, now: int) -> None:
        bank = self._bank
        header = parse_headers(packets, lengths)
        number = bank.meanings[rows * 128 + header.payload_type].astype(np.int64)
        batch = _Batch(rows, packets, arrivals, header, number)
        length, formats = header.payload_length, bank.formats
        good = header.ok & (length >= formats.shortest[number])
        good &= length <= formats.longest[number]
        if not every(good):
            self._count_bad(batch, good)
            batch.keep(good)
        rows, events = batch.rows, batch.format == DTMF
        has_events = some(events)
        if has_events:
            self._take_events(batch, events, now)
        step = batch.step = _step(batch.header.sequence, bank.highest[rows])
        plain_ones: Bools = (step == 1) & (batch.header.ssrc == bank.remote_ssrc[rows])
        if every(plain_ones):
            bank.highest[rows] += 1
            bank.seen[rows] = bank.seen[rows] << _ONE | _ONE
            restart = None
        else:
            restart = self._judge(batch, now)
        if len(batch.rows):
            self._count(batch, has_events, now)
            self._deliver(batch, restart)

    def _count_bad(self, batch: _Batch, good: Bools) -> None:
        """Count by their faults those that are not ``good``."""
        bank, ok, agreed = self._bank, batch.header.ok, batch.format != 0
        bank.invalid[batch.rows] += ~ok
        self._count_unexpected(batch, ok & ~agreed)
        bank.unplayable[batch.rows] += ok & agreed & ~good

    def _count_unexpected(self, batch: _Batch, which: Bools) -> None:
        """Count packets of payload types that were not agreed on, and RTCP among them."""
        if not some(which):
            return
        bank, rows = self._bank, batch.rows[which]
        payload_type = batch.header.payload_type[which]
        # RFC 5761 section 4: RTCP types 200 to 204 look like these, with the marker set.
        rtcp = batch.header.marker[which] & (payload_type >= 72) & (payload_type <= 76)
        bank.rtcp_on_rtp[rows] += rtcp
        bank.unexpected[rows] += ~rtcp
        bank.unexpected_type[rows[~rtcp]] = payload_type[~rtcp]

    def _judge(self, batch: _Batch, now: int) -> Bools:
        """Drop what is not of the source that is heard, or came before; which begin a new one."""
        restart = self._check_sources(batch, now)
        fresh = self._check_sequences(batch)
        if not every(fresh):
            batch.keep(fresh)
            restart = restart[fresh]
        return restart

    def _check_sources(self, batch: _Batch, now: int) -> Bools:
        """Drop what is not of the source that is heard; which packets begin another SSRC."""
        bank, rows, header = self._bank, batch.rows, batch.header
        same: Bools = header.ssrc == bank.remote_ssrc[rows]
        candidate = header.ssrc == bank.candidate_ssrc[rows]
        proven = candidate & (header.sequence == (bank.candidate_sequence[rows] + 1) & 0xFFFF)
        doubtful: Bools = ~same | proven | (np.abs(batch.step - _MIDDLE) > _NEAR)
        doubtful |= self._begins_again(batch)
        if not some(doubtful):
            return doubtful
        self._note_collisions(rows[doubtful], header.ssrc[doubtful])
        # RFC 3550 A.1 asks two packets in sequence of a source, of which the second may be near
        # enough to be a late one; the very first is believed.
        first = bank.remote_ssrc[rows] == NONE
        free = same | (now - bank.heard_at[rows] > SUCCESSION) | (now < bank.successor_until[rows])
        audible = batch.format != DTMF
        # Telephone-events with an SSRC of their own were heard already, and replace no audio.
        takes_over = audible & (bank.voiceless[rows] & ~same | proven & free)
        adopted = doubtful & (first | takes_over)
        aside = doubtful & ~adopted
        if some(aside):
            self._set_aside(batch, aside, audible, now)
        if some(adopted):
            self._adopt(batch, adopted)
        restart: Bools = adopted & ~same
        if some(aside):
            batch.keep(~aside)
            restart = restart[~aside]
        batch.step = _step(batch.header.sequence, bank.highest[batch.rows])
        return restart

    def _begins_again(self, batch: _Batch) -> Bools:
        """Whether a number was taken before, but by a packet of an earlier time.

        Then it is no copy, and the sequence began again less than `MAX_MISORDER` behind.
        """
        bank, rows, step = self._bank, batch.rows, batch.step
        ahead: Ints = (batch.header.timestamp - bank.newest_timestamp[rows]) & (_WRAP - 1)
        later: Bools = (ahead > 0) & (ahead < _HALF) & (bank.end[rows] != NEVER)
        taken: Bools = (step <= 0) & (batch.format >= AUDIO)
        taken &= self._was_seen(rows, step)
        later &= taken
        return later

    def _was_seen(self, rows: Ints, step: Ints) -> Bools:
        """Whether the number so far behind the highest came before, or nobody knows any more."""
        distance = np.minimum(np.abs(step), 63).astype(np.uint64)
        seen: Bools = self._bank.seen[rows] >> distance & _ONE == _ONE
        seen |= step <= -64
        return seen

    def _set_aside(self, batch: _Batch, aside: Bools, audible: Bools, now: int) -> None:
        """Count packets of other sources, of which one may follow the one that is heard."""
        bank, header = self._bank, batch.header
        bank.other_sources[batch.rows[aside]] += 1
        self._heard(batch.rows[aside & ~audible], True, now)
        rows, ssrc = batch.rows, header.ssrc
        # One is considered at a time, or two that take turns would never be proven; but
        # first of all the source itself, whose sequence may have begun again.
        vacant = now - bank.candidate_at[rows] > SUCCESSION
        vacant |= (ssrc == bank.candidate_ssrc[rows]) | (ssrc == bank.remote_ssrc[rows])
        considered = aside & audible & vacant
        rows = rows[considered]
        bank.candidate_ssrc[rows] = ssrc[considered]
        bank.candidate_sequence[rows] = header.sequence[considered]
        bank.candidate_at[rows] = now

    def _note_collisions(self, rows: Ints, ssrc: Ints) -> None:
        own = rows[ssrc == self._bank.ssrc[rows]]
        if len(own):
            self._bank.collisions[own] += 1
            self.noticed.collided.extend(own.tolist())

    def _adopt(self, batch: _Batch, which: Bools) -> None:
        """Begin to count new sources, and keep the sums of the old ones."""
        bank, rows = self._bank, batch.rows[which]
        sequence = batch.header.sequence[which]
        again = rows[bank.remote_ssrc[rows] != NONE]
        bank.former_expected[again] += bank.highest[again] - bank.first_sequence[again] + 1
        bank.former_received[again] = bank.packets_received[again]
        bank.remote_ssrc[rows] = batch.header.ssrc[which]
        bank.candidate_ssrc[rows] = NONE
        bank.candidate_at[rows] = bank.successor_until[rows] = NEVER
        bank.first_sequence[rows] = sequence
        bank.highest[rows] = sequence - 1
        bank.seen[rows] = 0
        bank.jitter[rows] = 0.0
        bank.transit[rows] = self._transit(
            rows, batch.arrivals[which], batch.header.timestamp[which]
        )
        bank.received_before[rows] = bank.expected_before[rows] = 0
        bank.voiceless[rows] = batch.format[which] == DTMF
        if bank.formats.remembering:
            bank.formats.begin_source(rows)

    def _check_sequences(self, batch: _Batch) -> Bools:
        """Follow the sequence numbers: which packets did not come before."""
        bank, rows, step = self._bank, batch.rows, batch.step
        forward: Bools = step > 0
        seen = bank.seen[rows]
        distance = np.minimum(np.abs(step), 63).astype(np.uint64)
        ancient = step <= -64
        again = ~forward & ~ancient & self._was_seen(rows, step)
        shifted = np.where(step > 63, 0, seen << distance) | _ONE
        marked = np.where(again | ancient, seen, seen | _ONE << distance)
        bank.seen[rows] = np.where(forward, shifted, marked)
        bank.highest[rows] += np.maximum(step, 0)
        bank.duplicates[rows] += again
        bank.late[rows] += ancient
        return ~(again | ancient)

    def _count(self, batch: _Batch, has_events: bool, now: int) -> None:
        """Totals, interarrival jitter, and what the plane waits for."""
        bank = self._bank
        rows, header = batch.rows, batch.header
        bank.packets_received[rows] += 1
        bank.octets_received[rows] += header.payload_length
        timestamp, arrivals = header.timestamp, batch.arrivals
        if not has_events:
            self._measure_jitter(rows, arrivals, timestamp)
            self._heard(rows, False, now)
            return
        # All packets of a key carry the time of its beginning (RFC 4733 section 2.2.1).
        events = batch.format == DTMF
        voice = ~events
        self._measure_jitter(rows[voice], arrivals[voice], timestamp[voice])
        self._heard(rows, events, now)

    def _heard(self, rows: Ints, events: Bools | bool, now: int) -> None:
        """Something that is agreed on came from the peer: ``events`` or what can be played."""
        bank, noticed = self._bank, self.noticed
        bank.heard_at[rows] = now
        attention = bank.attention[rows]
        if some(attention):
            noticed.first.extend(rows[bank.first_receive_pending[rows]].tolist())
            noticed.resumed.extend(rows[bank.stalled[rows]].tolist())
            noticed.proven.extend(rows[bank.unproven[rows]].tolist())
            bank.voiceless[rows] &= events
            bank.attention[rows] = bank.voiceless[rows]

    def _transit(self, rows: Ints, arrivals: Ints, timestamp: Ints) -> Ints:
        """``arrivals`` by the RTP clock of each row, minus ``timestamp``."""
        if not self._bank.odd_clocks:
            return arrivals * 8 // 1_000_000 - timestamp
        transit: Ints = arrivals // 1000 * self._bank.clock[rows] // 1_000_000 - timestamp
        return transit

    def _measure_jitter(self, rows: Ints, arrivals: Ints, timestamp: Ints) -> None:
        """RFC 3550 appendix A.8."""
        bank = self._bank
        transit = self._transit(rows, arrivals, timestamp)
        change = ((transit - bank.transit[rows] + _HALF) & (_WRAP - 1)) - _HALF
        bank.transit[rows] = transit
        known = bank.jitter[rows]
        bank.jitter[rows] = known + (np.abs(change) - known) / 16

    def _deliver(self, batch: _Batch, restart: Bools | None) -> None:
        """Audio into the ring, noise levels where they belong."""
        bank = self._bank
        audio = (batch.format >= AUDIO) & bank.receiving[batch.rows]
        if restart is None:
            restart = np.zeros(len(audio), np.bool_)
        if not every(audio):
            self._take_noise(batch)
            batch.keep(audio)
            restart = restart[audio]
        if not len(batch.rows):
            return
        bank.noise_level[batch.rows] = -1
        lanes = bank.lane[batch.rows] if len(bank.lanes) > 1 else None
        if lanes is None or every(lanes == lanes[0]):
            lane = bank.lanes[0 if lanes is None else lanes.item(0)]
            self._place(batch, lane, None, restart)
            return
        for number in np.flatnonzero(np.bincount(lanes)).tolist():
            chosen = np.flatnonzero(lanes == number)
            self._place(batch, bank.lanes[number], chosen, restart[chosen])

    def _place(self, batch: _Batch, lane: Lane, chosen: Ints | None, restart: Bools) -> None:
        """Put the audio of some (None: all) packets, of rows of ``lane``, where it belongs."""
        bank, header = self._bank, batch.header
        rows, timestamp, step = batch.rows, header.timestamp, batch.step
        number, length, offset = batch.format, header.payload_length, header.payload_offset
        if chosen is not None:
            rows, timestamp, number = rows[chosen], timestamp[chosen], number[chosen]
            length, offset, step = length[chosen], offset[chosen], step[chosen]
        count = length * bank.formats.samples[number] // bank.formats.octets[number]
        clock = bank.formats.clock[number] if lane.rate in bank.formats.scaled else None
        position, usable = jitter.place(
            bank,
            lane,
            rows,
            timestamp,
            count,
            step=step,
            restart=restart,
            lag=self._lag,
            clock=clock,
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

    def _take_events(self, batch: _Batch, which: Bools, now: int) -> None:
        """RFC 4733 keys, of any source, and copies too: which is which, the detector knows.

        They are heard on hold as well, as RFC 3264 does not speak of them.
        """
        chosen = np.flatnonzero(which)
        header = batch.header
        length = header.payload_length[chosen]
        width = batch.packets.shape[1]
        at = header.payload_offset[chosen][:, None] + np.arange(min(int(length.max()), MOST_OCTETS))
        rows = chosen if batch.at is None else batch.at[chosen]
        payloads = batch.packets[rows[:, None], np.minimum(at, width - 1)]
        self.noticed.digits += self.digits.feed(
            batch.rows[chosen],
            header.ssrc[chosen],
            header.sequence[chosen],
            header.timestamp[chosen],
            header.marker[chosen],
            parse_events(payloads, length),
            now,
        )

    def _take_noise(self, batch: _Batch) -> None:
        """RFC 3389: the first octet is the level in -dBov, 0 to 127; further ones are optional."""
        chosen = np.flatnonzero((batch.format == CN) & (batch.header.payload_length > 0))
        if len(chosen):
            at = chosen if batch.at is None else batch.at[chosen]
            level = batch.packets[at, batch.header.payload_offset[chosen]]
            bank, rows = self._bank, batch.rows[chosen]
            bank.noise_level[rows] = level & 0x7F
            bank.noise_packets[rows] += 1
            fresh = rows[~bank.noisy[rows]]
            if len(fresh):
                bank.noisy[fresh] = True
                self.noticed.noisy.extend(fresh.tolist())


def _step(sequence: Ints, highest: Ints) -> Ints:
    """How far ``sequence`` is from ``highest`` (extended), in -32768..32767."""
    return ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000
