"""`MediaPlane`, all streams of a process, and `Stream`, the handle of one of its rows.

What happens per packet is in `reception` and `tick`, for all rows at once.  Here is what
happens now and then to one stream: agreements, the latch, events, RTCP, its end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from sessioncore.media import bank as kinds
from sessioncore.media.bank import FRAME, NEVER, Bank, Ints, some
from sessioncore.media.latch import EarlySource, Latch
from sessioncore.media.packet_io import PACKET_WIDTH, PacketIO, PortLease, Stray
from sessioncore.media.reception import Reception
from sessioncore.media.reports import Reports, expected_packets
from sessioncore.media.sinks import Sink
from sessioncore.media.sources import Source
from sessioncore.media.statistics import MediaEvent, PlaneStatistics, StreamStatistics
from sessioncore.media.tick import PHASE_NS, PHASES, PhaseClock, Playout
from sessioncore.vocabulary import (
    COMFORT_NOISE,
    PCMA,
    PCMU,
    SECOND,
    Address,
    Codec,
    StreamAgreement,
)

__all__ = ["MediaEvent", "MediaPlane", "PlaneStatistics", "Stream", "StreamStatistics"]

OnEvent: TypeAlias = "Callable[[Stream, MediaEvent, Any, int], None]"

_TARGET: Final = 2 * FRAME
"""40 ms of delay before the first packet is played."""
_RELEARN: Final = 2 * SECOND
_STALL: Final = 5 * SECOND
_REFUSED_PAUSE: Final = 5 * SECOND
_MAX_ROUNDS: Final = 64
_DRAIN: Final = 16
"""Every so many ticks all sockets are read empty, whatever the pace of the peers."""
_NEVER_DUE: Final = 1 << 62
_KIND: Final = {"PCMU": kinds.PCMU, "PCMA": kinds.PCMA, "L16": kinds.L16}
_EARLY_FORMATS: Final = tuple((codec.payload_type, codec) for codec in (PCMU, PCMA, COMFORT_NOISE))
_HEADER = struct.Struct("!BBHII")


class Stream:
    """One call's row in the plane.  Made by `MediaPlane.open`; dead after `close`."""

    __slots__ = (
        "_early",
        "_kernel_drops",
        "_latch",
        "_lease",
        "_open",
        "_plane",
        "_proven",
        "_refused_at",
        "_rtcp_source",
        "_signalling_host",
        "_wanted",
        "agreement",
        "first_received_at",
        "first_sent_at",
        "latched",
        "owner",
        "refused",
        "reports",
        "row",
        "strangers",
    )

    def __init__(self, plane: MediaPlane, row: int, lease: PortLease, cname: bytes) -> None:
        self._plane = plane
        self._lease = lease
        self._open = True
        self._early: EarlySource | None = None
        self._latch: Latch | None = None
        self._proven = False
        self._wanted = False
        self._signalling_host = ""
        self._rtcp_source: Address | None = None
        self._refused_at = NEVER
        self._kernel_drops = 0
        self.row = row
        self.owner: Any = None
        self.agreement: StreamAgreement | None = None
        self.latched: Address | None = None
        """The one source that is heard, and where we send to."""
        self.reports = Reports(plane.bank, row, cname)
        self.refused = 0
        self.strangers = 0
        self.first_sent_at: int | None = None
        self.first_received_at: int | None = None

    @property
    def local(self) -> Address:
        """The RTP address bound for this stream."""
        return self._lease.local

    @property
    def local_rtcp(self) -> Address:
        """The RTCP address bound for this stream: RTP's port plus one."""
        return self._lease.local_rtcp

    @property
    def remote(self) -> Address | None:
        """Where RTP is sent to."""
        return self._plane.playout.remotes[self.row] if self._open else None

    @property
    def remote_rtcp(self) -> Address | None:
        """Where RTCP is sent to: the latched IP, at the port agreed on or seen."""
        remote, agreement = self.remote, self.agreement
        if remote is None or agreement is None:
            return None
        if self._rtcp_source is not None and self._rtcp_source[0] == remote[0]:
            return self._rtcp_source
        if remote == agreement.remote and agreement.remote_rtcp is not None:
            return agreement.remote_rtcp
        return (remote[0], min(remote[1] + 1, 65_535))

    @property
    def transmitting(self) -> bool:
        """Whether RTP is being sent (held back or not by the rules for unproven paths)."""
        return self._open and bool(self._plane.bank.transmitting[self.row])

    @property
    def statistics(self) -> StreamStatistics:
        """A snapshot of the counters."""
        return self._plane.statistics_of(self, self._lease.kernel_drops())

    def expect_early(
        self, ip: str, formats: tuple[tuple[int, Codec], ...] = _EARLY_FORMATS
    ) -> None:
        """Play what comes from ``ip`` before the agreement; it neither latches nor counts.

        ``formats`` are the payload types offered; without them the static ones of RFC 3551.
        """
        self._require_open()
        plane, row = self._plane, self.row
        self._early = EarlySource(ip, _RELEARN)
        for payload_type, codec in formats:
            plane.bank.kinds[row * 128 + payload_type] = _KIND.get(codec.name, kinds.CN)
        plane.bank.playing[row] = plane.bank.receiving[row] = True
        plane.playout.changed(row)

    def establish(
        self, agreement: StreamAgreement, *, signalling_host: str, nat: bool | None, now: int
    ) -> None:
        """Take a new agreement: codec, payload types, remote, latch rules, direction.

        ``signalling_host`` is the IP the peer's SIP comes from; ``nat`` True lets media come
        from any port of it, None decides that by comparing it with the agreement's address.
        A latch stays where the remote address did not change.  Sending starts by
        `start_transmission`.
        """
        self._require_open()
        former, self.agreement = self.agreement, agreement
        moved = former is None or former.remote != agreement.remote
        if moved or signalling_host != self._signalling_host:
            self._signalling_host = signalling_host
            self._move(agreement.remote, nat)
        self._early = None
        self._fill_columns(agreement, now)
        self._apply_transmission(now)

    def _move(self, remote: Address | None, nat: bool | None) -> None:
        """A new address to send to and new rules for the latch."""
        bank, row = self._plane.bank, self.row
        self._forget_latch()
        if self._latch is not None:
            self.strangers += self._latch.strangers
        self._latch = Latch(remote, self._signalling_host, nat)
        self._plane.playout.remotes[row] = remote
        self._proven = False
        bank.sending_since[row] = NEVER
        bank.foreign[row] = remote is not None and remote[0] != self._signalling_host

    def _fill_columns(self, agreement: StreamAgreement, now: int) -> None:
        bank, row = self._plane.bank, self.row
        kind = bank.kinds[row * 128 : row * 128 + 128]
        kind[:] = 0
        for payload_type, codec in agreement.other_receive_payload_types:
            kind[payload_type] = _KIND.get(codec.name, 0)
        if agreement.receive_comfort_noise_payload_type is not None:
            kind[agreement.receive_comfort_noise_payload_type] = kinds.CN
        if agreement.receive_dtmf_payload_type is not None:
            kind[agreement.receive_dtmf_payload_type] = kinds.DTMF
        kind[agreement.receive_payload_type] = _KIND[agreement.codec.name]
        bank.codec[row] = _KIND[agreement.codec.name]
        bank.send_payload_type[row] = agreement.send_payload_type
        frames = agreement.ptime // 20 if agreement.ptime in (20, 40, 60) else 1
        bank.frames[row] = frames
        # A long packet takes frames out of the ring before their time: hold more.
        bank.target[row] = _TARGET + (frames - 1) * FRAME
        receives = agreement.direction.receives
        bank.playing[row] = True
        bank.receiving[row] = receives
        bank.stalled[row] = False
        bank.heard_at[row] = now
        bank.noise_level[row] = -1
        bank.first_receive_pending[row] = receives
        bank.attention[row] = receives
        if bank.next_report[row] == _NEVER_DUE:
            bank.next_report[row] = now + self.reports.interval(self._plane.random)

    def start_transmission(self, now: int, proven: bool) -> None:
        """Send as the agreement allows; an unproven path gets at most 5 s of RTP."""
        self._require_open()
        bank, row = self._plane.bank, self.row
        self._wanted = True
        self._proven = self._proven or proven
        bank.unproven[row] = not self._proven
        if bank.sending_since[row] == NEVER:
            bank.sending_since[row] = now
        bank.attention[row] = True
        self._apply_transmission(now)

    def stop_transmission(self) -> None:
        """Send no more RTP; RTCP goes on."""
        self._wanted = False
        if self._open:
            self._plane.bank.transmitting[self.row] = False
            self._plane.playout.changed(self.row)

    def _apply_transmission(self, now: int) -> None:
        bank, row, agreement = self._plane.bank, self.row, self.agreement
        sends = (
            self._wanted
            and agreement is not None
            and agreement.direction.sends
            and self.remote is not None
        )
        bank.first_send_pending[row] = sends
        bank.marker[row] = sends and not bank.transmitting[row]
        bank.transmitting[row] = sends
        self._plane.playout.changed(row)

    def prove_path(self) -> None:
        """Somebody at the signalling address answered (ACK): lift the limits on sending."""
        self._proven = True
        if self._open:
            self._plane.bank.unproven[self.row] = False
            self._plane.playout.changed(self.row)

    def update_remote_address(self, address: Address) -> None:
        """Send to ``address`` from now on and take media from it at once."""
        self._require_open()
        proven, wanted = self._proven, self._wanted
        self._move(address, False)
        self._proven, self._wanted = proven, wanted
        self._apply_transmission(0)

    def set_source(self, spec: Source) -> None:
        """Where the samples to send come from: a spec of `sessioncore.media.sources`."""
        self._require_open()
        self._plane.playout.sources.attach(self.row, spec)

    def set_sink(self, spec: Sink) -> Any:
        """Where received samples go: a spec of `sessioncore.media.sinks`.

        Returns the recording of a `Record`, else None.
        """
        self._require_open()
        return self._plane.playout.sinks.attach(self.row, spec)

    def close(self, now: int) -> StreamStatistics:
        """RTCP BYE, flush the sink, give the ports back.  Returns the last counters."""
        self._require_open()
        statistics = self.statistics
        self._plane.end(self, now)
        self._open = False
        return statistics

    def _require_open(self) -> None:
        if not self._open:
            raise RuntimeError("the stream is closed")

    # From here on: for the plane.

    def admit(self, data: bytes, source: Address, now: int) -> bool:
        """Whether an RTP packet that came by itself may be heard; latches its source."""
        bank, row = self._plane.bank, self.row
        if not _is_rtp(data):
            bank.invalid[row] += 1
            return False
        if not bank.kinds[row * 128 + (data[1] & 0x7F)]:
            bank.unexpected[row] += 1
            return False
        if self.latched is not None:
            # Queued before the latch closed.
            self.strangers += source != self.latched
            return source == self.latched
        if self._latch is None:
            if self._early is not None:
                return self._early.admits(source, now)
            self.strangers += 1
            return False
        _, _, sequence, _, ssrc = _HEADER.unpack_from(data)
        if not self._latch.admits(source, ssrc, sequence):
            return False
        self._close_latch(source, now)
        return True

    def _close_latch(self, source: Address, now: int) -> None:
        if not self._lease.latch(source):
            return
        known = self._latch is not None and self._latch.previous == source
        self.latched = source
        self._plane.bank.latched[self.row] = True
        self._plane.playout.remotes[self.row] = source
        self._plane.playout.changed(self.row)
        if not known:
            self._plane.tell(self, MediaEvent.LATCHED, source, now)

    def _forget_latch(self) -> None:
        if self.latched is not None:
            self.latched = None
            self._plane.bank.latched[self.row] = False
            self._lease.unlatch()
            self._plane.playout.changed(self.row)

    def relearn(self) -> None:
        """The latched source fell silent: others may prove themselves, it may come back."""
        if self.latched is not None and self._latch is not None:
            self._latch.lost(self.latched)
            self._forget_latch()

    def take_rtcp(self, data: bytes, source: Address, now: int, ntp: int) -> bool:
        """RTCP from the peer's IP: learn from it.  It keeps a stream from being stalled."""
        remote = self.remote
        if self.latched is not None or self._latch is None:
            known = remote is not None and source[0] == remote[0]
        else:
            known = self._latch.may_be_peer(source[0])
        if not known:
            self.strangers += 1
            return False
        if not self.reports.receive(data, now, ntp):
            return False
        self._rtcp_source = source
        return True

    def note_refused(self, text: str, now: int) -> bool:
        """Count an ICMP port unreachable; whether it is time to tell of it again."""
        self.refused += 1
        if now - self._refused_at < _REFUSED_PAUSE:
            return False
        self._refused_at = now
        return True

    @property
    def counted_strangers(self) -> int:
        """Packets of all sources that may not be heard."""
        extra = self._latch.strangers if self._latch is not None else 0
        if self._early is not None:
            extra += self._early.strangers
        return self.strangers + extra

    def release_ports(self, now: int) -> None:
        """Give the ports back."""
        self._lease.release(now)

    def send_rtcp(self, data: bytes) -> None:
        """Send RTCP if there is somebody to send it to."""
        address = self.remote_rtcp
        if address is not None:
            try:
                self._lease.send_rtcp(data, address)
            except OSError:
                self._plane.bank.send_errors[self.row] += 1


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
        self._random_bits = random_bits
        self._ntp = ntp
        self._on_event = on_event
        self.statistics = PlaneStatistics()
        self.bank = Bank(capacity)
        self.playout = Playout(self.bank, io, self.statistics)
        self._reception = Reception(self.bank)
        self._clock = PhaseClock(self.statistics)
        self._streams: list[Stream | None] = []
        self._in_phase = [0] * PHASES
        self._in_tick = False
        self._ticked_at = 0
        self._ended: list[int] = []
        self._packets = np.zeros((16, PACKET_WIDTH), np.uint8)

    @property
    def active(self) -> bool:
        """Whether any stream is open, which is when `tick` wants to be called every 5 ms."""
        return self.bank.used > len(self._ended)

    @property
    def ports_free(self) -> int:
        """Port pairs that could be leased now."""
        return self._io.ports_free

    def open(self, local_ip: str, now: int) -> Stream:
        """Lease a pair of ports on ``local_ip`` and open it; raises `NoPortsError`."""
        if not self._in_tick:
            self._free_rows()
        row = self.bank.take_row()
        try:
            lease = self._io.lease(local_ip, row, now)
        except Exception:
            self.bank.give_back(row)
            raise
        playout = self.playout
        while len(self._streams) <= row:
            self._streams.append(None)
            playout.leases.append(None)
            playout.remotes.append(None)
        phase = self._in_phase.index(min(self._in_phase))
        self._in_phase[phase] += 1
        bits, bank = self._random_bits, self.bank
        bank.phase[row] = phase
        bank.ssrc[row] = bits(32)
        bank.sequence[row] = bits(15)
        bank.timestamp[row] = bits(32)
        stream = Stream(self, row, lease, b"%024x" % bits(96))
        self._streams[row] = stream
        playout.leases[row] = lease
        playout.remotes[row] = None
        return stream

    def tick(self, now: int) -> None:
        """Receive everything, play one quarter of the rows, send theirs: 5 ms of work."""
        self._in_tick = True
        late = now - self._ticked_at > 2 * PHASE_NS
        self._ticked_at = now
        try:
            self.statistics.ticks += 1
            self._receive(now, late)
            phases, skipped = self._clock.due(now)
            if skipped:
                self.playout.skip(skipped)
            for number in phases:
                self.playout.play(number, now)
                for rows in self.playout.rows(number % PHASES):
                    self._watch(rows, now)
            self._tell_first_sent(now)
            self._take_failures(now)
        finally:
            self._in_tick = False
            self._free_rows()
        if not self.active:
            self._clock.stop()

    def close(self, now: int) -> object:
        """Close every stream and the io; what the io returns."""
        for stream in [each for each in self._streams if each is not None]:
            stream.close(now)
        self.playout.sinks.recorder.close()
        return self._io.close()

    def random(self) -> float:
        """A random number in [0, 1)."""
        return self._random_bits(24) / (1 << 24)

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
            count = len(packets.rows)
            self.statistics.packets_received += count
            self._reception.receive(packets.rows, packets.packets, packets.lengths, now)
            rounds -= not packets.full
        self._tell_noticed(now)

    def _stream_of(self, row: int, lease: PortLease | None = None) -> Stream | None:
        stream = self._streams[row] if 0 <= row < len(self._streams) else None
        if stream is None or (lease is not None and self.playout.leases[row] is not lease):
            return None
        return stream

    def _take_strays(self, strays: list[Stray], now: int) -> None:
        """RTCP, and RTP of streams that are not latched: looked at one by one."""
        heard: dict[int, list[bytes]] = {}
        for stray in strays:
            self.statistics.strays += 1
            stream = self._stream_of(stray.lease.row, stray.lease)
            if stream is None:
                continue
            if stray.is_rtcp:
                if stream.take_rtcp(stray.data, stray.source, now, self._ntp(now)):
                    self._heard_rtcp(stream.row, now)
            elif stream.admit(stray.data, stray.source, now):
                heard.setdefault(stream.row, []).append(stray.data)
        while heard:
            self._take_round({row: packets.pop(0) for row, packets in heard.items()}, now)
            heard = {row: packets for row, packets in heard.items() if packets}

    def _heard_rtcp(self, row: int, now: int) -> None:
        self.bank.heard_at[row] = now
        if self.bank.stalled[row]:
            self._reception.noticed.resumed.append(row)

    def _take_round(self, packets: dict[int, bytes], now: int) -> None:
        if len(packets) > len(self._packets):
            self._packets = np.zeros((2 * len(packets), PACKET_WIDTH), np.uint8)
        lengths = np.zeros(len(packets), np.int64)
        for index, data in enumerate(packets.values()):
            lengths[index] = len(data)
            self._packets[index, : len(data)] = np.frombuffer(data, np.uint8)
        self.statistics.packets_received += len(packets)
        rows = np.array(list(packets), np.int64)
        self._reception.receive(rows, self._packets[: len(packets)], lengths, now)

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
                    stream.prove_path()
        if noticed.collided:
            for row in _taken(noticed.collided):
                self._resolve_collision(row, now)
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
        if self.playout.first_sent:
            for row in _taken(self.playout.first_sent):
                stream = self._stream_of(row)
                if stream is not None:
                    if stream.first_sent_at is None:
                        stream.first_sent_at = now
                    self.tell(stream, MediaEvent.FIRST_SENT, None, now)

    def _take_failures(self, now: int) -> None:
        for failure in self._io.failures():
            stream = self._stream_of(failure.row)
            if stream is not None and failure.refused and stream.note_refused(failure.text, now):
                self.tell(stream, MediaEvent.REFUSED, failure.text, now)
        for report in self.playout.sources.reports():
            self._tell_row(report.row, MediaEvent.SOURCE_ENDED, report.error, now)
        for trouble in self.playout.sinks.reports():
            self._tell_row(trouble.row, MediaEvent.SINK_FAILED, trouble, now)
        for digit in self._reception.digits.expire(now):
            self._tell_row(digit.row, MediaEvent.DIGIT, (digit.digit, digit.duration), now)

    def _resolve_collision(self, row: int, now: int) -> None:
        """RFC 3550 section 8.2: BYE and a new SSRC, once; after that it is an echo of ours."""
        stream = self._stream_of(row)
        if stream is not None and self.bank.collisions[row] == 1:
            stream.send_rtcp(stream.reports.build(now, self._ntp(now), final=True))
            self.bank.ssrc[row] = self._random_bits(32)
            stream.reports.changed_ssrc()

    # Watching

    def _watch(self, rows: Ints, now: int) -> None:
        """Silence and reports due, for the rows of a phase."""
        bank = self.bank
        quiet = bank.heard_at[rows] < now - _RELEARN
        if some(quiet):
            self._watch_quiet(rows[quiet], now)
        due = bank.next_report[rows] <= now
        if some(due):
            for row in rows[due].tolist():
                self._report(row, now)

    def _watch_quiet(self, rows: Ints, now: int) -> None:
        bank = self.bank
        for row in rows[bank.latched[rows]].tolist():
            stream = self._stream_of(row)
            if stream is not None:
                stream.relearn()
        stalled = (bank.heard_at[rows] < now - _STALL) & bank.receiving[rows] & ~bank.stalled[rows]
        for row in rows[stalled].tolist():
            stream = self._stream_of(row)
            if stream is not None and stream.agreement is not None:
                bank.stalled[row] = bank.attention[row] = True
                self.tell(stream, MediaEvent.STALLED, None, now)

    def _report(self, row: int, now: int) -> None:
        stream = self._stream_of(row)
        if stream is not None:
            stream.send_rtcp(stream.reports.build(now, self._ntp(now)))
            self.bank.next_report[row] = now + stream.reports.interval(self.random)

    # Ending

    def end(self, stream: Stream, now: int) -> None:
        """What `Stream.close` does."""
        row, playout = stream.row, self.playout
        if stream.agreement is not None:
            stream.send_rtcp(stream.reports.build(now, self._ntp(now), final=True))
        playout.sources.detach(row)
        playout.sinks.detach(row)
        self._reception.digits.reset(row)
        playout.changed(row)
        stream.release_ports(now)
        self._in_phase[int(self.bank.phase[row])] -= 1
        self._streams[row] = playout.leases[row] = playout.remotes[row] = None
        self.bank.playing[row] = self.bank.latched[row] = False
        self._ended.append(row)
        if not self._in_tick:
            self._free_rows()

    def _free_rows(self) -> None:
        # Not within a tick: a row lent anew in it would be told what happened to the old one.
        while self._ended:
            self.bank.give_back(self._ended.pop())

    def statistics_of(self, stream: Stream, kernel_drops: int) -> StreamStatistics:
        """A snapshot of one stream's counters."""
        bank, row, reports = self.bank, stream.row, stream.reports
        expected = expected_packets(bank, row)
        received = int(bank.packets_received[row])
        return StreamStatistics(
            packets_sent=int(bank.packets_sent[row]),
            octets_sent=int(bank.octets_sent[row]),
            packets_received=received,
            octets_received=int(bank.octets_received[row]),
            expected=expected,
            lost=max(0, expected - received),
            duplicates=int(bank.duplicates[row]),
            late=int(bank.late[row]),
            overflow=int(bank.overflow[row]),
            inserted=int(bank.inserted[row]),
            dropped=int(bank.dropped[row]),
            invalid=int(bank.invalid[row]),
            unexpected_payload_type=int(bank.unexpected[row]),
            strangers=stream.counted_strangers,
            send_errors=int(bank.send_errors[row]),
            refused=stream.refused,
            kernel_drops=kernel_drops,
            collisions=int(bank.collisions[row]),
            jitter_ms=float(bank.jitter[row]) / 8 if received else None,
            round_trip_ms=None if reports.round_trip is None else reports.round_trip / 1e6,
            remote_lost=reports.remote_lost,
            remote_jitter_ms=None if reports.remote_jitter is None else reports.remote_jitter / 8,
            remote=stream.remote,
            latched=stream.latched is not None,
            transmitting=bool(bank.transmitting[row]),
            stalled=bool(bank.stalled[row]),
            first_sent_at=stream.first_sent_at,
            first_received_at=stream.first_received_at,
            peer_said_bye=reports.peer_said_bye,
        )


def _is_rtp(data: bytes) -> bool:
    """Whether the header of one packet fits, as `parse_headers` judges a batch."""
    size = len(data)
    if not 12 <= size <= PACKET_WIDTH or data[0] >> 6 != 2:
        return False
    end = 12 + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        if end + 4 > size:
            return False
        end += 4 + 4 * (data[end + 2] << 8 | data[end + 3])
    padding = data[-1] if data[0] & 0x20 else 0
    return end + padding <= size and not (data[0] & 0x20 and padding == 0)


def _taken(items: list[Any]) -> list[Any]:
    """The items, taken out of the list."""
    taken = items[:]
    items.clear()
    return taken
