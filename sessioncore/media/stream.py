"""`Stream`: one call's row in the media plane, and what happens to it now and then.

Agreements, the latch, sending and its limits, RTCP, the end.  What happens per packet is in
`reception` and `playout`, for all rows at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from sessioncore.media.bank import NONE, RECEIVED, TARGET, Bank
from sessioncore.media.formats import CN, DTMF, audio_codec
from sessioncore.media.lane import DEFAULT_RATE
from sessioncore.media.latch import RELEARN, EarlySource
from sessioncore.media.limits import Limits
from sessioncore.media.packet_io import PACKET_WIDTH, PortLease
from sessioncore.media.peer import Peer
from sessioncore.media.playout import Playout
from sessioncore.media.received import Received, Sent
from sessioncore.media.recorder import Recording
from sessioncore.media.reports import Reports, first_interval
from sessioncore.media.sending import OVER, Sending
from sessioncore.media.sinks import Sink, Sinks
from sessioncore.media.sources import Source
from sessioncore.media.statistics import MediaEvent, StreamStatistics
from sessioncore.rtp.audio_codec import AudioCodec
from sessioncore.rtp.codecs.pcma import PCMA
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.vocabulary import COMFORT_NOISE, Address, Codec, StreamAgreement

__all__ = ["SENDABLE_PTIMES", "Stream", "TellReport"]

TellReport: TypeAlias = "Callable[[Stream, bytes, Address, Address, bool, int], None]"
"""Called with RTCP: its stream, data, source, destination, whether it leaves, ns; may not raise."""

_FRAMES: Final = {20: 1, 40: 2, 60: 3}
SENDABLE_PTIMES: Final = tuple(_FRAMES)
"""Packet lengths in ms that a row can send: whole frames."""
_EARLY_FORMATS: Final = tuple((codec.payload_type, codec) for codec in (PCMU, PCMA, COMFORT_NOISE))
_HEADER: Final = struct.Struct("!BBHII")
_MANY: Final = len(RECEIVED)
_Counted: TypeAlias = tuple[list[int], tuple[float, bool, int, int], bool]
"""`Bank.counted`, the other fields of `Received`, and whether it transmits."""
_NO_REPORTS: Final = Reports(Bank(1), 0, b"")


class Plane(Protocol):
    """What a stream needs of its plane (`sessioncore.media.plane.MediaPlane`)."""

    bank: Bank
    playout: Playout
    random_bits: Callable[[int], int]
    ntp: Callable[[int], int]

    limits: Limits

    def tell(self, stream: Stream, event: MediaEvent, detail: Any, now: int) -> None:
        """Report an event."""

    def take_reports(self, now: int) -> None:
        """Take RTCP that has come since the last tick."""

    def end(self, stream: Stream, now: int) -> None:
        """Play and record the row no more."""

    def free(self, stream: Stream, now: int) -> None:
        """Give back the row and its ports."""


class Stream:
    """One call's row in the plane.  Made by `MediaPlane.open`; dead after `close`."""

    owner: Any = None
    label = ""
    """What `TellReport` calls it, also when it has lost its owner and waits for a last report."""
    agreement: StreamAgreement | None = None
    collided = False
    """Whether the peer was heard with our SSRC, and ours is a new one since."""
    unanswered = False
    """Whether its media began before the call was answered: a recording waits for a sound."""
    first_sent_at: int | None = None
    first_received_at: int | None = None
    reports: Reports | None = None
    """Its RTCP, once there was some."""
    source: Source | None = None
    """What it plays; None is silence."""
    source_ended = False
    """Whether its source came to its end, or failed."""
    _missed_then = 0
    """Phases that the process had missed when this stream began."""
    _finished: _Counted | None = None
    _released = False
    _rate = DEFAULT_RATE
    """The rate of its lane, in Hz."""
    _clock_rate = DEFAULT_RATE

    def __init__(self, plane: Plane, row: int, lease: PortLease, chance: int) -> None:
        self._plane = plane
        self._cells = plane.bank.cells
        self._chance = chance
        self.row = row
        self.lease = lease
        self.sending = Sending(plane, row)
        self.peer = Peer()

    @property
    def local(self) -> Address:
        """The RTP address bound for this stream."""
        return self.lease.local

    @property
    def local_rtcp(self) -> Address:
        """The RTCP address bound for this stream: RTP's port plus one."""
        return self.lease.local_rtcp

    @property
    def remote_rtcp(self) -> Address | None:
        """Where RTCP is sent to: the latched IP, at the port agreed on or seen."""
        remote, agreement = self.sending.remote, self.agreement
        if remote is None or agreement is None:
            return None
        source = self.peer.rtcp_source
        if source is not None and source[0] == remote[0]:
            return source
        if agreement.remote_rtcp is not None and remote == agreement.remote:
            return agreement.remote_rtcp
        return (remote[0], min(remote[1] + 1, 65_535))

    @property
    def open(self) -> bool:
        """Whether it is neither finished nor closed."""
        return not self.sending.over

    @property
    def heard_at(self) -> int:
        """When RTP or RTCP last came (ns), or the agreement if that is later."""
        return self._plane.bank.last_heard(self.row)

    @property
    def heard_by_peer(self) -> bool | None:
        """Whether the peer reports that our packets arrive; None if it does not say."""
        return None if self.reports is None else self.reports.heard_by_peer

    @property
    def statistics(self) -> StreamStatistics:
        """A snapshot of the counters, or as they were at the end."""
        received, sent = self.counted()
        reports = _NO_REPORTS if self.reports is None else self.reports
        return StreamStatistics(
            **received.as_statistics(),
            **sent.as_statistics(),
            **reports.as_statistics(received.clock),
            sent_dbov=sent.level(received.heard_dbov),
            strangers=self.peer.strangers,
            latched=self.peer.latched is not None,
            remote=self.sending.remote,
            refused=self.sending.refused,
            first_sent_at=self.first_sent_at,
            first_received_at=self.first_received_at,
            latched_at=self.peer.latched_at,
        )

    def counted(self) -> tuple[Received, Sent]:
        """What was received and sent so far, or until the end."""
        numbers, received, transmitting = self._finished or self._count()
        source = None if self.source_ended else self.source
        return (
            tuple.__new__(Received, (*numbers[:_MANY], *received)),
            tuple.__new__(Sent, (*numbers[_MANY:], transmitting, source)),
        )

    def _count(self) -> _Counted:
        cells, row, plane = self._cells, self.row, self._plane
        missed = plane.limits.statistics.missed_phases - self._missed_then
        received = cells.jitter[row], cells.stalled[row], self.lease.kernel_drops(), missed
        return plane.bank.counted(row), received, cells.transmitting[row]

    def expect_early(
        self, ip: str, formats: tuple[tuple[int, Codec], ...] = _EARLY_FORMATS
    ) -> None:
        """Play what comes from ``ip`` before the agreement; it neither latches nor counts.

        ``formats`` are the payload types offered, an audio codec first; without them the
        static ones of RFC 3551.
        """
        if self.sending.over:
            raise RuntimeError(OVER)
        cells, row = self._cells, self.row
        self.peer.early = EarlySource(ip)
        rate = self._enter_lane(audio_codec(formats[0][1]))
        meaning, meanings, first = self._plane.bank.formats.meaning, cells.meanings, row * 128
        for payload_type, codec in formats:
            meanings[first + payload_type] = meaning(codec, rate)
        cells.playing[row] = cells.receiving[row] = True
        self._plane.playout.revise(row)

    def establish(
        self, agreement: StreamAgreement, *, signalling_host: str, nat: bool | None, now: int
    ) -> None:
        """Take a new agreement: codec, payload types, remote, latch rules, direction.

        ``signalling_host`` is the IP the peer's SIP comes from; ``nat`` True lets media come
        from any port of it, None decides that by comparing it with the agreement's address.
        A latch stays where the remote address did not change, and where the peer holds by
        ``c=0.0.0.0``: that only forbids us to send (RFC 3264 section 8.4).  Sending starts by
        `Sending.start`.
        """
        sending, peer, playout = self.sending, self.peer, self._plane.playout
        if sending.over:
            raise RuntimeError(OVER)
        former, self.agreement = self.agreement, agreement
        sending.allowed = agreement.direction.sends
        remote = agreement.remote
        if peer.agree(remote, signalling_host, nat):
            if peer.latched is not None:
                self._unlatch()
            sending.move(remote, signalling_host)
        elif remote is None or sending.remote is None:
            # Sending pauses while an agreement names no address.
            sending.remote = remote and (peer.latched or peer.described)
        if former is not None or peer.early is not None:
            self._clear_columns(now)
        self._fill_columns(agreement, now)
        if former is None:
            self._missed_then = self._plane.limits.statistics.missed_phases
            if self.row in playout.sinks.served and not self.unanswered:
                playout.sinks.begin(self.row)
            self._cells.next_report[self.row] = now + first_interval(self._chance)
        playout.revise(self.row)
        if sending.wanted:
            sending.apply()

    def _clear_columns(self, now: int) -> None:
        """What was agreed or expected before means nothing any more."""
        cells, row = self._cells, self.row
        self._plane.bank.forget_meanings(row)
        cells.stalled[row] = False
        cells.noise_level[row] = NONE
        cells.noisy[row] = False
        self.expect_successor(now)

    def _enter_lane(self, codec: AudioCodec) -> int:
        """See to it that the row is in the lane of ``codec``; returns the lane's rate."""
        rate, clock = codec.sample_rate, codec.clock_rate
        if rate != self._rate or clock != self._clock_rate:
            self._rate, self._clock_rate = rate, clock
            plane, row = self._plane, self.row
            plane.bank.move(row, plane.bank.lane_at(rate), clock)
            plane.playout.sources.move(row, rate)
            plane.playout.sinks.move(row, rate)
        return rate

    def _fill_columns(self, agreement: StreamAgreement, now: int) -> None:
        cells, row, formats = self._cells, self.row, self._plane.bank.formats
        codec = audio_codec(agreement.codec)
        rate = self._enter_lane(codec)
        meanings, first = cells.meanings, row * 128
        for payload_type, other in agreement.other_receive_payload_types:
            meanings[first + payload_type] = formats.meaning(other, rate)
        if agreement.receive_comfort_noise_payload_type is not None:
            meanings[first + agreement.receive_comfort_noise_payload_type] = CN
        if agreement.receive_dtmf_payload_type is not None:
            meanings[first + agreement.receive_dtmf_payload_type] = DTMF
        number = formats.number(codec, rate)
        meanings[first + agreement.receive_payload_type] = number
        cells.send_payload_type[row] = agreement.send_payload_type
        former = cells.format[row]
        if number != former:
            cells.format[row] = number
            if former:
                formats.forget(row)
        frames = _FRAMES.get(agreement.ptime, 1)
        if frames != cells.frames[row]:
            # A long packet takes frames out of the ring before their time: hold more.
            cells.target[row] = (TARGET + frames - 1) * self._plane.bank.lane_of(row).frame
            cells.frames[row] = frames
        self._plane.playout.sources.judge(row, rate)
        cells.playing[row] = True
        cells.heard_at[row] = now
        if cells.peak[row] == NONE:
            cells.sound_at[row] = now
        cells.receiving[row] = cells.first_receive_pending[row] = cells.attention[row] = (
            agreement.direction.receives
        )

    def expect_successor(self, now: int) -> None:
        """Another SSRC may follow the one that was heard so far, once, even while it speaks."""
        if self._cells.remote_ssrc[self.row] != NONE:
            self._cells.successor_until[self.row] = now + RELEARN

    def answered(self) -> None:
        """The call whose media is `unanswered` was answered, so there is something to record."""
        if self.unanswered:
            self.unanswered = False
            self._plane.playout.sinks.begin(self.row)

    def update_remote_address(self, address: Address, now: int) -> None:
        """Send to ``address`` from now on and take media from it at once.

        Where nobody has proven the path yet, its limits begin again for another address.
        """
        self._require_open()
        if self.peer.latched is not None:
            self._unlatch()
        self.peer.redirect(address)
        self.expect_successor(now)
        self.sending.redirect(address, now)

    def set_source(self, spec: Source) -> None:
        """Where the samples to send come from: a spec of `sessioncore.media.sources`."""
        if self.sending.over:
            raise RuntimeError(OVER)
        sources = self._plane.playout.sources
        self.source, self.source_ended = spec, False
        sources.attach(self.row, spec, self._rate)
        if self.agreement is not None:
            sources.judge(self.row, self._rate)

    def set_sink(self, spec: Sinks) -> Recording | None:
        """Where received samples go: one spec of `sessioncore.media.sinks`, or several.

        They take the place of those before; ``()`` leaves none.  Returns the recording of the
        first `Record`, if there is one.  Without an agreement, or `unanswered`, it leaves what
        is at its path as it is until there is a sound.
        """
        self._require_open()
        sinks, hold = self._plane.playout.sinks, self._holds_recordings
        recordings = sinks.attach(self.row, spec, self._rate, hold=hold)
        return recordings[0] if recordings else None

    def add_sink(self, spec: Sink) -> Recording | None:
        """Give received samples to ``spec`` as well; see `set_sink`."""
        self._require_open()
        sinks, hold = self._plane.playout.sinks, self._holds_recordings
        return sinks.add(self.row, spec, self._rate, hold=hold)

    def remove_sink(self, spec: Sink) -> Recording | None:
        """Give ``spec`` no more; the others hear on.  Returns its recording, to wait for its end.

        Raises `ConfigurationError` where it was not given (the very object counts).
        """
        self._require_open()
        return self._plane.playout.sinks.remove(self.row, spec)

    @property
    def _holds_recordings(self) -> bool:
        return self.agreement is None or self.unanswered

    def close(self, now: int) -> None:
        """`finish` and `release` in one; `statistics` stay as they are."""
        self.finish(now)
        self.release(now)

    def finish(self, now: int) -> None:
        """End the media: RTCP BYE, flush the sinks, send and play nothing more.

        The ports stay, for the peer's last report, until `release`.
        """
        sending = self.sending
        if sending.over:
            raise RuntimeError(OVER)
        self._plane.take_reports(now)
        self._finished = self._count()
        sending.over = True
        # Who never sent RTP or RTCP sends no BYE (RFC 3550 section 6.3.7).
        if self._cells.packets_sent[self.row] or (self.reports and self.reports.spoken):
            self.report(now, final=True)
        self._plane.end(self, now)

    def release(self, now: int) -> None:
        """Give the row and its ports back; does nothing the second time."""
        if not self._released:
            self._released = True
            self._plane.free(self, now)

    def _require_open(self) -> None:
        if self.sending.over:
            raise RuntimeError(OVER)

    # From here on: for the plane.

    def admit(self, data: bytes, source: Address, now: int) -> bool:
        """Whether an RTP packet that came by itself may be heard; latches its source."""
        cells, row = self._cells, self.row
        if not _is_rtp(data):
            cells.invalid[row] += 1
            return False
        if 200 <= data[1] <= 204:  # RTCP (RFC 5761 section 4)
            cells.rtcp_on_rtp[row] += 1
            return False
        if not cells.meanings[row * 128 + (data[1] & 0x7F)]:
            cells.unexpected[row] += 1
            cells.unexpected_type[row] = data[1] & 0x7F
            return False
        _, _, sequence, _, ssrc = _HEADER.unpack_from(data)
        if not self.peer.admits(source, ssrc, sequence, now):
            return False
        if self.peer.latches:
            self._latch(source, now)
        return True

    def _latch(self, source: Address, now: int) -> None:
        if not self.lease.latch(source):
            return
        is_news = self.peer.latch(source, now)
        if self.agreement is None or self.agreement.remote is not None:
            self.sending.remote = source
        self._cells.latched[self.row] = True
        self._plane.playout.changed(self.row)
        if is_news:
            self._plane.tell(self, MediaEvent.LATCHED, source, now)

    def _unlatch(self) -> None:
        self.peer.latched = None
        self._cells.latched[self.row] = False
        self.lease.unlatch()
        self._plane.playout.changed(self.row)

    def relearn(self) -> None:
        """The latched source fell silent: others may prove themselves, it may come back."""
        if self.peer.latched is not None:
            self.peer.lost()
            self._unlatch()

    def take_rtcp(self, data: bytes, source: Address, now: int, ntp: int) -> bool:
        """RTCP from the peer's IP: learn from it.  It keeps a stream from being stalled."""
        peer, sending = self.peer, self.sending
        if not peer.may_report(source[0], sending.remote):
            return peer.turn_away(source)
        since = sending.since if sending.transmitting else None
        if not self.rtcp.receive(data, now, ntp, since):
            return False
        peer.rtcp_source = source
        return True

    def refuses(self, now: int) -> bool:
        """Whether nobody receives what we send, by ICMP."""
        confirmed_at = None if self.reports is None else self.reports.confirmed_at
        return self.sending.is_refused(now, confirmed_at)

    @property
    def rtcp(self) -> Reports:
        """Its `reports`; made when there are some, under a name of their own (RFC 7022)."""
        if self.reports is None:
            cname = b"%024x" % self._plane.random_bits(96)
            self.reports = Reports(self._plane.bank, self.row, cname)
        return self.reports

    def report(self, now: int, *, final: bool = False) -> bytes | None:
        """Send RTCP if there is somebody to send it to; ``final`` says BYE.  Returns what left."""
        if self.sending.heard:
            self.sending.note_heard()
        data = self.rtcp.build(now, self._plane.ntp(now), final=final)
        address = self.remote_rtcp
        if address is not None:
            try:
                self.lease.send_rtcp(data, address)
            except OSError:
                self._cells.send_errors[self.row] += 1
            else:
                return data
        return None

    def tell_reports(self, told: TellReport | None) -> None:
        """Call ``told`` with each report that leaves from now on; None ends that."""
        vars(self).pop("report", None)
        if told is not None:
            self.report = partial(self._report_and_tell, told)  # type: ignore[method-assign]

    def _report_and_tell(self, told: TellReport, now: int, *, final: bool = False) -> bytes | None:
        address = self.remote_rtcp
        data = Stream.report(self, now, final=final)
        if data is not None and address is not None:
            told(self, data, self.local_rtcp, address, True, now)
        return data


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
