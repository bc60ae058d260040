"""`MediaPlane`: all streams of a process, stepped at once by one tick.

What happens per packet is in `reception` and `playout`; what happens to one stream now and then
in `stream`.  Here they are opened, watched, told about and ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from sessioncore.media.bank import PHASES, Bank, Ints, some
from sessioncore.media.latch import RELEARN
from sessioncore.media.limits import Limits
from sessioncore.media.listening import LISTEN_EVERY, listen, quiet
from sessioncore.media.packet_io import PACKET_WIDTH, Handle, PacketIO, PortLease, Stray
from sessioncore.media.playout import PHASE_NS, PhaseClock, Playout
from sessioncore.media.reception import Reception
from sessioncore.media.statistics import MediaEvent, PlaneStatistics, StreamStatistics
from sessioncore.media.stream import Stream, TellReport
from sessioncore.vocabulary import SECOND, Address

__all__ = ["MediaEvent", "MediaPlane", "PlaneStatistics", "Stream", "StreamStatistics"]

OnEvent: TypeAlias = "Callable[[Stream, MediaEvent, Any, int], None]"

_STALL: Final = 5 * SECOND
_LOOK: Final = SECOND // 5
"""For so long nothing of a new agreement need be watched: no silence, no report that is due."""
_LINGER: Final = SECOND // 2
"""For so long the ports of a stream stay for the peer's last report."""
_MAX_ROUNDS: Final = 64
_DRAIN: Final = 16
"""Every so many ticks all sockets are read empty, whatever the pace of the peers."""


class MediaPlane:
    """Every stream of a process as rows of numpy arrays, stepped all at once by `tick`.

    ``random_bits(n)`` gives n random bits; ``ntp(now)`` the 64-bit NTP time (RFC 3550
    section 4) of a monotonic ``now``; ``on_event(stream, event, detail, now)`` is called
    within `tick` and may open, change and close streams.
    """

    def __init__(
        self,
        io: PacketIO,
        *,
        random_bits: Callable[[int], int],
        ntp: Callable[[int], int],
        on_event: OnEvent,
        capacity: int = 1024,
    ) -> None:
        self._io = io
        self.random_bits = random_bits
        self.ntp = ntp
        self._on_event = on_event
        self.statistics = PlaneStatistics()
        self.limits = Limits(self.statistics)
        self.bank = Bank(capacity)
        # By row: the streams, and what their packets are sent with.
        self._streams: list[Stream | None] = []
        self._handles: list[Handle] = []
        self.playout = Playout(self.bank, io, self.statistics, self._streams, self._handles)
        self._clock = PhaseClock(self.statistics)
        self._reception = Reception(self.bank, self._lag)
        self._look_at = [0] * PHASES
        self._listen_at = [0] * PHASES
        self._in_tick = False
        self._ticked_at = 0
        self._ended: list[int] = []
        self._lingering: deque[tuple[int, Stream]] = deque()
        self._packets = np.zeros((16, PACKET_WIDTH), np.uint8)

    @property
    def active(self) -> bool:
        """Whether any stream is open, which is when `tick` wants to be called every 5 ms."""
        return self.bank.used > len(self._ended)

    def ports_free(self, now: int) -> int:
        """Port pairs that could be leased."""
        return self._io.ports_free(now)

    def open(self, local_ip: str, now: int) -> Stream:
        """Lease a pair of ports on ``local_ip`` and open it; raises `NoPortsError`."""
        row = self.bank.take_row()
        try:
            lease = self._io.lease(local_ip, row, now)
        except Exception:
            self.bank.give_back(row)
            raise
        drawn = self.random_bits(103)
        stream = Stream(self, row, lease, drawn >> 79)
        cells = self.bank.cells
        cells.ssrc[row] = drawn & 0xFFFF_FFFF
        cells.timestamp[row] = drawn >> 32 & 0xFFFF_FFFF
        cells.sequence[row] = drawn >> 64 & 0x7FFF
        if row >= len(self._streams):
            missing = [None] * (row + 1 - len(self._streams))
            self._streams += missing
            self._handles += missing
        self._streams[row] = stream
        self._handles[row] = lease.handle
        return stream

    def tell_reports(self, told: TellReport | None) -> None:
        """Call ``told`` with all RTCP in and out from now on; None ends that."""
        # In front of the methods, so that nothing is asked per report while nobody is told.
        for name in ("open", "free", "_take_rtcp"):
            vars(self).pop(name, None)
        if told is not None:
            self.open = partial(self._open_told, told)  # type: ignore[method-assign]
            self.free = self._free_told  # type: ignore[method-assign]
            self._take_rtcp = partial(  # type: ignore[method-assign]
                self._tell_and_take_rtcp, told
            )
        for stream in self._streams:
            if stream is not None:
                stream.tell_reports(told)

    def _open_told(self, told: TellReport, local_ip: str, now: int) -> Stream:
        stream = MediaPlane.open(self, local_ip, now)
        stream.tell_reports(told)
        return stream

    def _free_told(self, stream: Stream, now: int) -> None:
        MediaPlane.free(self, stream, now)
        stream.tell_reports(None)  # it referred to itself, which only the collector ends

    def _tell_and_take_rtcp(self, told: TellReport, stream: Stream, stray: Stray, now: int) -> None:
        told(stream, stray.data, stray.source, stream.local_rtcp, False, stray.arrival)
        MediaPlane._take_rtcp(self, stream, stray, now)

    def move(self, stream: Stream, local_ip: str, now: int) -> None:
        """Give a stream without agreement ports on ``local_ip``; it keeps its source and sink.

        Raises `NoPortsError`, and leaves it where it is.
        """
        lease = self._io.lease(local_ip, stream.row, now)
        stream.lease.release(now)
        stream.lease, self._handles[stream.row] = lease, lease.handle
        self.playout.changed(stream.row)

    def tick(self, now: int) -> None:
        """Receive everything, play the rows of one phase, send theirs: 5 ms of work."""
        self._in_tick = True
        late = now - self._ticked_at > 2 * PHASE_NS
        self._ticked_at = now
        try:
            self.statistics.ticks += 1
            phases, skipped = self._clock.due(now)
            self._receive(now, late)
            if skipped:
                self.playout.skip(skipped)
            for number in phases:
                self.playout.play(number, now)
                self._watch(number % PHASES, now)
            if self.playout.first_sent:
                self._tell_first_sent(now)
            self._take_failures(now)
            while self._lingering and self._lingering[0][0] <= now:
                self._lingering.popleft()[1].release(now)
        finally:
            self._in_tick = False
            while self._ended:
                self.bank.give_back(self._ended.pop())
        if not self.bank.used:
            self._clock.stop()

    def close(self, now: int) -> object:
        """Close every stream and the io; what the io returns."""
        for stream in [each for each in self._streams if each is not None]:
            if stream.open:
                stream.finish(now)
            stream.release(now)
        self.playout.sinks.recorder.close()
        return self._io.close()

    def random(self) -> float:
        """A random number in [0, 1)."""
        return self.random_bits(24) / (1 << 24)

    # Receiving

    def _receive(self, now: int, late: bool) -> None:
        # Strays first: packets queued before a latch closed are older than those after it.
        strays = self._io.strays()
        if strays:
            self._take_strays(strays, now)
        # One round takes what came since the last tick.  What comes while it is worked on can
        # wait 5 ms: a round of few packets costs nearly as much as one of all.
        everything = late or self.statistics.ticks % _DRAIN == 0
        rounds = _MAX_ROUNDS if everything else 1
        while rounds > 0:
            packets = self._io.receive()
            if packets is None:
                break
            rows, octets, lengths, arrivals, full = packets
            self.statistics.packets_received += len(rows)
            self._reception.receive(rows, octets, lengths, arrivals, now)
            rounds -= not full
        self._tell_noticed(now)

    def _lag(self, rows: Ints) -> Ints:
        """Frames of each row that are overdue, and played in this tick at once."""
        return self._clock.overdue(rows, self.bank.frames[rows], self._ticked_at)

    def _stream_of(self, row: int, lease: PortLease | None = None) -> Stream | None:
        stream = self._streams[row] if 0 <= row < len(self._streams) else None
        if stream is None or (lease is not None and stream.lease is not lease):
            return None
        return stream

    def _take_strays(self, strays: list[Stray], now: int) -> None:
        """RTCP, and RTP of streams that are not latched: looked at one by one."""
        heard: dict[int, list[Stray]] = {}
        for stray in strays:
            self.statistics.strays += 1
            stream = self._stream_of(stray.lease.row, stray.lease)
            if stream is None:
                continue
            if stray.is_rtcp:
                self._take_rtcp(stream, stray, now)
            elif stream.admit(stray.data, stray.source, now):
                heard.setdefault(stream.row, []).append(stray)
        while heard:
            self._take_round({row: packets.pop(0) for row, packets in heard.items()}, now)
            heard = {row: packets for row, packets in heard.items() if packets}

    def _take_rtcp(self, stream: Stream, stray: Stray, now: int) -> None:
        came, before = stray.arrival, stream.heard_by_peer
        if stream.take_rtcp(stray.data, stray.source, came, self.ntp(came)):
            self._heard_rtcp(stream, stray.source, now)
            if stream.heard_by_peer is not before:
                self.tell(stream, MediaEvent.EVIDENCE, None, now)

    def _heard_rtcp(self, stream: Stream, source: Address, now: int) -> None:
        row, remote = stream.row, stream.sending.remote
        self.bank.rtcp_at[row] = now
        # RTCP may also come from the SIP peer, which says nothing of who gets our RTP.
        if self.bank.unproven[row] and remote is not None and source[0] == remote[0]:
            stream.sending.hear()

    def _take_round(self, packets: dict[int, Stray], now: int) -> None:
        if len(packets) > len(self._packets):
            self._packets = np.zeros((2 * len(packets), PACKET_WIDTH), np.uint8)
        lengths = np.zeros(len(packets), np.int64)
        arrivals = np.zeros(len(packets), np.int64)
        for index, stray in enumerate(packets.values()):
            data = stray.data
            lengths[index] = len(data)
            arrivals[index] = stray.arrival
            self._packets[index, : len(data)] = np.frombuffer(data, np.uint8)
        self.statistics.packets_received += len(packets)
        rows = np.array(list(packets), np.int64)
        self._reception.receive(rows, self._packets[: len(packets)], lengths, arrivals, now)

    # Telling

    def tell(self, stream: Stream, event: MediaEvent, detail: Any, now: int) -> None:
        """Report an event; an error of the callback is counted and goes no further."""
        try:
            self._on_event(stream, event, detail, now)
        except Exception:
            self.statistics.callback_errors += 1

    def _tell_row(self, row: int, event: MediaEvent, detail: Any, now: int) -> None:
        stream = self._stream_of(row)
        if stream is not None:
            self.tell(stream, event, detail, now)

    def _tell_noticed(self, now: int) -> None:
        noticed = self._reception.noticed
        if noticed.proven:
            for row in _taken(noticed.proven):
                stream = self._stream_of(row)
                if stream is not None:
                    stream.sending.hear()
        if noticed.collided:
            for row in _taken(noticed.collided):
                self._resolve_collision(row, now)
        if noticed.noisy:
            for row in _taken(noticed.noisy):
                self.playout.revise(row)
        if noticed.resumed:
            for row in _taken(noticed.resumed):
                if self.bank.stalled[row]:
                    self.bank.stalled[row] = False
                    self._tell_row(row, MediaEvent.RESUMED, None, now)
        if noticed.first:
            for row in _taken(noticed.first):
                self._tell_first_received(row, now)
        if noticed.digits:
            for digit in _taken(noticed.digits):
                detail = (digit.digit, digit.duration)
                self._tell_row(digit.row, MediaEvent.DIGIT, detail, now)

    def _tell_first_received(self, row: int, now: int) -> None:
        stream = self._stream_of(row)
        if stream is not None and self.bank.first_receive_pending[row]:
            self.bank.first_receive_pending[row] = False
            if stream.first_received_at is None:
                stream.first_received_at = now
            self.tell(stream, MediaEvent.FIRST_RECEIVED, None, now)

    def _tell_first_sent(self, now: int) -> None:
        for row in _taken(self.playout.first_sent):
            stream = self._streams[row]
            if stream is not None:
                if stream.first_sent_at is None:
                    stream.first_sent_at = now
                self.tell(stream, MediaEvent.FIRST_SENT, None, now)

    def _take_failures(self, now: int) -> None:
        for failure in self._io.failures():
            stream = self._stream_of(failure.row)
            if stream is not None and failure.refused:
                self._take_refusal(stream, failure.text, now)
        for report in self.playout.sources.reports():
            ended = self._stream_of(report.row)
            if ended is not None:
                ended.source_ended = True
            self._tell_row(report.row, MediaEvent.SOURCE_ENDED, report.error, now)
        for trouble in self.playout.sinks.reports():
            self._tell_row(trouble.row, MediaEvent.SINK_FAILED, trouble, now)
        for digit in self._reception.digits.expire(now):
            self._tell_row(digit.row, MediaEvent.DIGIT, (digit.digit, digit.duration), now)

    def _take_refusal(self, stream: Stream, text: str, now: int) -> None:
        before = stream.refuses(now)
        if stream.sending.note_refused(text, now):
            self.tell(stream, MediaEvent.REFUSED, text, now)
        if stream.refuses(now) is not before:
            self.tell(stream, MediaEvent.EVIDENCE, None, now)

    def _resolve_collision(self, row: int, now: int) -> None:
        """RFC 3550 section 8.2: BYE and a new SSRC, once; after that it is an echo of ours."""
        stream = self._stream_of(row)
        if stream is not None and not stream.collided:
            stream.collided = True
            stream.report(now, final=True)
            self.bank.ssrc[row] = self.random_bits(32)
            self.playout.changed(row)
            stream.rtcp.changed_ssrc()
            stream.expect_successor(now)  # who returns our packets changes with us

    # Watching

    def _watch(self, phase: int, now: int) -> None:
        """Silence and reports due, for the rows of a phase, when one of them may be."""
        if now < self._look_at[phase]:
            return
        bank, look_at = self.bank, now + _LOOK
        listens = now >= self._listen_at[phase]
        if listens:
            self._listen_at[phase] = now + LISTEN_EVERY
        for group in self.playout.schedule.groups(phase):
            rows = group.rows
            self._watch_rows(rows, now)
            if listens:
                self._tell_evidence(listen(bank, group.lane, rows, now), now)
            quiet_at = np.minimum.reduce(bank.heard_at[rows]).item() + RELEARN
            look_at = min(look_at, quiet_at, np.minimum.reduce(bank.next_report[rows]).item())
        self._look_at[phase] = look_at

    def _watch_rows(self, rows: Ints, now: int) -> None:
        bank = self.bank
        quiet = bank.heard_at[rows] < now - RELEARN
        if some(quiet):
            self._watch_quiet(rows[quiet], now)
        due = bank.next_report[rows] <= now
        if some(due):
            for row in rows[due].tolist():
                self._report(row, now)

    def _tell_evidence(self, rows: list[int], now: int) -> None:
        for row in rows:
            self._tell_row(row, MediaEvent.EVIDENCE, None, now)

    def _watch_quiet(self, rows: Ints, now: int) -> None:
        """These rows have heard no RTP for a while."""
        bank = self.bank
        self._tell_evidence(quiet(bank, rows, now), now)
        rows = rows[bank.rtcp_at[rows] < now - RELEARN]
        for row in rows[bank.latched[rows]].tolist():
            stream = self._stream_of(row)
            if stream is not None:
                stream.relearn()
        stalled = (bank.heard_at[rows] < now - _STALL) & (bank.rtcp_at[rows] < now - _STALL)
        stalled &= bank.receiving[rows] & ~bank.stalled[rows]
        for row in rows[stalled].tolist():
            stream = self._stream_of(row)
            if stream is not None and stream.agreement is not None:
                bank.stalled[row] = bank.attention[row] = True
                self.tell(stream, MediaEvent.STALLED, None, now)

    def _report(self, row: int, now: int) -> None:
        stream = self._stream_of(row)
        if stream is not None:
            stream.report(now)
            self.bank.next_report[row] = now + stream.rtcp.interval(self.random)

    # Ending

    def take_reports(self, now: int) -> None:
        """Take RTCP, and RTP of streams without a latch, that has come since the last tick."""
        if not self._in_tick:
            strays = self._io.strays()
            if strays:
                self._take_strays(strays, now)

    def linger(self, stream: Stream, now: int) -> None:
        """Release ``stream``, which is finished, once the peer's last report had its chance."""
        self._lingering.append((now + _LINGER, stream))

    def end(self, stream: Stream, now: int) -> None:
        """What `Stream.finish` does."""
        row, playout, cells = stream.row, self.playout, self.bank.cells
        cells.playing[row] = cells.transmitting[row] = cells.receiving[row] = False
        playout.sources.detach(row)
        playout.sinks.detach(row)
        if cells.packets_received[row]:
            self._reception.digits.reset(row)
        self.bank.formats.forget(row)
        playout.changed(row)

    def free(self, stream: Stream, now: int) -> None:
        """What `Stream.release` does."""
        row = stream.row
        stream.lease.release(now)
        self._streams[row] = None
        if self._in_tick:
            # Lent anew in this tick, the row would be told what happened to the old stream.
            self._ended.append(row)
        else:
            self.bank.give_back(row)


def _taken(items: list[Any]) -> list[Any]:
    """The items, taken out of the list."""
    taken = items[:]
    items.clear()
    return taken
