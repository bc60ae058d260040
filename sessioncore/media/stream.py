"""`Stream`: one call's row in the media plane, and what happens to it now and then.

Agreements, the latch, sending and its limits, RTCP, the end.  What happens per packet is in
`reception` and `playout`, for all rows at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from sessioncore.media.bank import COUNTED, FOREVER, NEVER, NONE, TARGET, Bank
from sessioncore.media.formats import CN, DTMF, audio_codec
from sessioncore.media.lane import DEFAULT_RATE
from sessioncore.media.latch import EarlySource, Latch
from sessioncore.media.limits import FOREIGN, Limits
from sessioncore.media.listening import QUIET, level_of
from sessioncore.media.packet_io import PACKET_WIDTH, PortLease
from sessioncore.media.playout import Playout
from sessioncore.media.recorder import Recording
from sessioncore.media.reports import Reports, expected_packets, first_interval
from sessioncore.media.sinks import Sink, Sinks
from sessioncore.media.sources import Echo, Frames, Silence, Source
from sessioncore.media.statistics import (
    Counted,
    MediaEvent,
    Observed,
    StreamStatistics,
    statistics_of,
)
from sessioncore.rtp.audio_codec import AudioCodec
from sessioncore.rtp.codecs.pcma import PCMA
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.vocabulary import COMFORT_NOISE, SECOND, Address, Codec, StreamAgreement, host_port

__all__ = ["RELEARN", "SENDABLE_PTIMES", "Observed", "Stream", "TellReport"]

TellReport: TypeAlias = "Callable[[Stream, bytes, Address, Address, bool, int], None]"
"""Called with RTCP: its stream, data, source, destination, whether it leaves, ns; may not raise."""

RELEARN: Final = 2 * SECOND
"""Silence of the latched source after which another may prove itself."""
_FRAMES: Final = {20: 1, 40: 2, 60: 3}
SENDABLE_PTIMES: Final = tuple(_FRAMES)
"""Packet lengths in ms that a row can send: whole frames."""
_REFUSED_PAUSE: Final = 5 * SECOND
_LONGEST_PAUSE: Final = 320 * SECOND
_REFUSED_FOR: Final = 1 * SECOND
"""So long ICMP has to come again and again before nobody listens there."""
_EARLY_FORMATS: Final = tuple((codec.payload_type, codec) for codec in (PCMU, PCMA, COMFORT_NOISE))
_OVER: Final = "the stream is closed"
_HEADER: Final = struct.Struct("!BBHII")


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
    remote: Address | None = None
    """Where RTP is sent to."""
    latched: Address | None = None
    """The one source that is heard, and where we send to."""
    refused = 0
    strangers = 0
    stranger: Address | None = None
    """The last source that could not be heard."""
    collided = False
    """Whether the peer was heard with our SSRC, and ours is a new one since."""
    unanswered = False
    """Whether its media began before the call was answered: a recording waits for a sound."""
    first_sent_at: int | None = None
    first_received_at: int | None = None
    latched_at: int | None = None
    """When a source was last chosen (ns)."""
    source: Source | None = None
    """What it plays; None is silence."""
    source_ended = False
    """Whether its source came to its end, or failed."""
    refused_at = NEVER
    """When ICMP last came from where we send to."""
    _open = True
    _early: EarlySource | None = None
    _rules: tuple[Address | None, str, bool | None] | None = None
    _agreed: tuple[Address | None, str] = (None, "")
    """The last address that an agreement named, and where the peer's SIP came from then."""
    _made_latch: Latch | None = None
    _reports: Reports | None = None
    _wanted = False
    _answered = False
    """Whether the path is proven: somebody at the signalling address answered."""
    _heard = False
    """Whether RTP or RTCP came from where we send to."""
    sends_since: int | None = None
    """When it began to send to this address (ns)."""
    _missed_then = 0
    """Phases that the process had missed when this stream began."""
    _signalling_host = ""
    _rtcp_source: Address | None = None
    _refused_since = NEVER
    """When that began; a pause of more than `QUIET` ends it."""
    _stopped = False
    """Whether sending stopped because of it."""
    _told_refused_at = NEVER
    _refused_pause = 0
    _finished: Counted | None = None
    _released = False
    _held: Sequence[Recording] = ()
    _rate = DEFAULT_RATE
    """The rate of its lane, in Hz."""
    _clock_rate = DEFAULT_RATE

    def __init__(self, plane: Plane, row: int, lease: PortLease, chance: int) -> None:
        self._plane = plane
        self._cells = plane.bank.cells
        self._chance = chance
        self.row = row
        self.lease = lease

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
        remote, agreement = self.remote, self.agreement
        if remote is None or agreement is None:
            return None
        source = self._rtcp_source
        if source is not None and source[0] == remote[0]:
            return source
        if agreement.remote_rtcp is not None and remote == agreement.remote:
            return agreement.remote_rtcp
        return (remote[0], min(remote[1] + 1, 65_535))

    @property
    def open(self) -> bool:
        """Whether it is neither finished nor closed."""
        return self._open

    @property
    def transmitting(self) -> bool:
        """Whether RTP is being sent (held back or not by the rules for unproven paths)."""
        return self._open and self._cells.transmitting[self.row] is True

    @property
    def heard_at(self) -> int:
        """When RTP or RTCP last came (ns), or the agreement if that is later."""
        cells, row = self._cells, self.row
        heard_at: int = max(cells.heard_at[row], cells.rtcp_at[row])
        return heard_at

    @property
    def heard_by_peer(self) -> bool | None:
        """Whether the peer reports that our packets arrive; None if it does not say."""
        return None if self._reports is None else self._reports.heard_by_peer

    @property
    def hears_rtcp(self) -> bool:
        """Whether RTCP has come."""
        return self._rtcp_source is not None

    @property
    def reports(self) -> Reports:
        """Its RTCP; made when there is some, under a name of its own (RFC 7022)."""
        if self._reports is None:
            cname = b"%024x" % self._plane.random_bits(96)
            self._reports = Reports(self._plane.bank, self.row, cname)
        return self._reports

    @property
    def _latch(self) -> Latch | None:
        """The rules of the agreement; made when the first packet comes."""
        if self._made_latch is None and self._rules is not None:
            self._made_latch = Latch(*self._rules)
        return self._made_latch

    @property
    def statistics(self) -> StreamStatistics:
        """A snapshot of the counters, or as they were at the end."""
        return statistics_of(self, self._finished or self._counted(), self._reports)

    def observed(self) -> Observed:
        """What was counted, by name, and what else a verdict needs."""
        numbers, jitter, transmitting, _, kernel_drops, clock, missed = (
            self._finished or self._counted()
        )
        counted = dict(zip(COUNTED, numbers, strict=True))
        expected = expected_packets(
            counted["former_expected"],
            counted["remote_ssrc"],
            counted["highest"],
            counted["first_sequence"],
        )
        source = None if self.source.__class__ is Silence else self.source
        return Observed(
            counted,
            expected,
            jitter,
            clock,
            transmitting,
            kernel_drops,
            missed,
            source is not None and not self.source_ended,
            source.__class__ is Echo,
            isinstance(source, Frames),
            self._reports,
        )

    def _counted(self) -> Counted:
        cells, row = self._cells, self.row
        return (
            self._plane.bank.counted(row),
            cells.jitter[row],
            cells.transmitting[row],
            cells.stalled[row],
            self.lease.kernel_drops(),
            cells.clock[row],
            self._plane.limits.statistics.missed_phases - self._missed_then,
        )

    def level_sent(self, heard: float | None, peak: int) -> float | None:
        """The level of what is sent in dBov; only frames that are made for it have a ``peak``."""
        if isinstance(self.source, Echo) and heard is not None:
            return min(0.0, heard + self.source.gain_db)
        silent = self.source is None or isinstance(self.source, Echo | Silence)
        return level_of(0 if silent else peak)

    @property
    def counted_strangers(self) -> int:
        """Packets of all sources that may not be heard."""
        extra = self._made_latch.strangers if self._made_latch is not None else 0
        if self._early is not None:
            extra += self._early.strangers
        return self.strangers + extra

    @property
    def last_stranger(self) -> Address | None:
        """The last source that could not be heard."""
        latch = self._made_latch
        return (latch and latch.stranger) or self.stranger

    def expect_early(
        self, ip: str, formats: tuple[tuple[int, Codec], ...] = _EARLY_FORMATS
    ) -> None:
        """Play what comes from ``ip`` before the agreement; it neither latches nor counts.

        ``formats`` are the payload types offered, an audio codec first; without them the
        static ones of RFC 3551.
        """
        self._require_open()
        cells, row = self._cells, self.row
        self._early = EarlySource(ip, RELEARN)
        rate = self._enter_lane(audio_codec(formats[0][1]))
        meaning = self._plane.bank.formats.meaning
        for payload_type, codec in formats:
            cells.meanings[row * 128 + payload_type] = meaning(codec, rate)
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
        `start_transmission`.
        """
        if not self._open:
            raise RuntimeError(_OVER)
        former, self.agreement = self.agreement, agreement
        self._follow(agreement.remote, signalling_host, nat)
        if former is not None or self._early is not None:
            self._clear_columns()
            self.expect_successor(now)
        self._fill_columns(agreement, now)
        if former is None:
            self._missed_then = self._plane.limits.statistics.missed_phases
            if self._held and not self.unanswered:
                self._begin_recording()
            self._cells.next_report[self.row] = now + first_interval(self._chance)
        self._plane.playout.revise(self.row)
        if self._wanted:
            self._apply_transmission()

    def _follow(self, remote: Address | None, signalling_host: str, nat: bool | None) -> None:
        """Move to the address of a new agreement, or stop sending while it names none."""
        place = (remote, signalling_host)
        if self._rules is None or (remote is not None and place != self._agreed):
            self._agreed, self._signalling_host = place, signalling_host
            self._answered = False
            self._move(remote, nat)
        elif remote is None:
            self.remote = None
        elif self.remote is None:
            self.remote = self.latched or self._rules[0]

    def _move(self, remote: Address | None, nat: bool | None) -> None:
        """A new address to send to, with limits of its own, and new rules for the latch."""
        host = self._signalling_host
        if self._rules is not None:
            self._forget_latch()
            if self._heard:
                self._note_heard()
            self._heard, self.sends_since, self._stopped = False, None, False
            self.refused_at = NEVER
            if self._made_latch is not None:
                self.strangers += self._made_latch.strangers
                self.stranger = self._made_latch.stranger or self.stranger
                self._made_latch = None
        self._rules = remote, host, nat
        self.remote = remote

    def _clear_columns(self) -> None:
        """What was agreed or expected before means nothing any more."""
        cells, row = self._cells, self.row
        self._early = None
        self._plane.bank.forget_meanings(row)
        cells.stalled[row] = False
        cells.noise_level[row] = NONE
        cells.noisy[row] = False

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
        if number != cells.format[row]:
            cells.format[row] = number
            formats.forget(row)
        frames = _FRAMES.get(agreement.ptime, 1)
        if frames != cells.frames[row]:
            # A long packet takes frames out of the ring before their time: hold more.
            cells.target[row] = (TARGET + frames - 1) * self._plane.bank.lane_of(row).frame
            cells.frames[row] = frames
        self._plane.playout.sources.judge(row, rate)
        cells.playing[row] = True
        # What was not heard or sent before, on hold for instance, was neither due nor silent.
        cells.heard_at[row] = cells.sound_at[row] = cells.sent_sound_at[row] = now
        receives = agreement.direction.receives
        cells.receiving[row] = receives
        cells.first_receive_pending[row] = receives
        cells.attention[row] = receives

    def expect_successor(self, now: int) -> None:
        """Another SSRC may follow the one that was heard so far, once, even while it speaks."""
        if self._cells.remote_ssrc[self.row] != NONE:
            self._cells.successor_until[self.row] = now + RELEARN

    def answered(self) -> None:
        """The call whose media is `unanswered` was answered, so there is something to record."""
        if self.unanswered:
            self.unanswered = False
            self._begin_recording()

    def _begin_recording(self) -> None:
        held, self._held = self._held, ()
        for recording in held:
            self._plane.playout.sinks.recorder.begin(recording)

    def start_transmission(self, now: int, proven: bool) -> None:
        """Send as the agreement allows, within `sessioncore.media.limits`.

        ``proven``: somebody at the signalling address has answered.
        """
        if not self._open:
            raise RuntimeError(_OVER)
        self._wanted = True
        if self.sends_since is None:
            self._answered = self._answered or proven
            self.sends_since = now
            self._limit(now)
        elif proven and not self._answered:
            self.prove_path(now)
        self._apply_transmission()

    def _limit(self, now: int) -> None:
        """Begin the allowance for this address, as far as the path is proven."""
        cells, row, remote, unheard = self._cells, self.row, self.remote, not self._heard
        if remote is None or not unheard:
            full_until = FOREVER
        elif self._answered:
            full_until = FOREVER if remote[0] == self._signalling_host else now + FOREIGN
        else:
            full_until = self._plane.limits.begin(remote[0], now)
        cells.full_until[row] = full_until
        cells.next_at[row] = NEVER
        # The first packet of the peer lifts it.
        cells.unproven[row] = unheard
        if unheard:
            cells.attention[row] = True

    def stop_transmission(self) -> None:
        """Send no more RTP; RTCP goes on."""
        self._wanted = False
        if self._open:
            self._cells.transmitting[self.row] = False
            self._plane.playout.changed(self.row)

    def _apply_transmission(self) -> None:
        cells, row, agreement = self._cells, self.row, self.agreement
        sends = (
            self._wanted
            and agreement is not None
            and agreement.direction.sends
            and self.remote is not None
        )
        cells.first_send_pending[row] = sends
        cells.marker[row] = sends and not cells.transmitting[row]
        cells.transmitting[row] = sends
        self._plane.playout.changed(row)

    def prove_path(self, now: int) -> None:
        """Somebody at the signalling address answered (ACK): lift or widen the limits."""
        self._answered = True
        if self._open and self._cells.unproven[self.row]:
            self._stopped = False
            self._limit(now)
            self._plane.playout.changed(self.row)

    def hear(self, now: int) -> None:
        """RTP or RTCP came from where we send to: lift the limits."""
        self._heard, self._stopped = True, False
        self._note_heard()
        self._limit(now)
        self._plane.playout.changed(self.row)

    def _note_heard(self) -> None:
        if self.remote is not None:
            self._plane.limits.heard(self.remote[0], self.heard_at)

    def update_remote_address(self, address: Address, now: int) -> None:
        """Send to ``address`` from now on and take media from it at once.

        Where nobody has proven the path yet, its limits begin anew for another address.
        """
        self._require_open()
        known = self._heard, self.sends_since
        same = address == self.remote
        self._move(address, False)
        self.expect_successor(now)
        if same:
            self._heard, self.sends_since = known
        elif self._wanted:
            self.sends_since = now
            self._limit(now)
        self._apply_transmission()

    def set_source(self, spec: Source) -> None:
        """Where the samples to send come from: a spec of `sessioncore.media.sources`."""
        if not self._open:
            raise RuntimeError(_OVER)
        sources, rate = self._plane.playout.sources, self._rate
        self.source, self.source_ended = spec, False
        sources.attach(self.row, spec, rate)
        if self.agreement is not None:
            sources.judge(self.row, rate)

    def set_sink(self, spec: Sinks) -> Recording | None:
        """Where received samples go: one spec of `sessioncore.media.sinks`, or several.

        They take the place of those before; ``()`` leaves none.  Returns the recording of the
        first `Record`, if there is one.  Without an agreement, or `unanswered`, it leaves what
        is at its path as it is until there is a sound.
        """
        self._require_open()
        hold = self._holds_recordings
        sinks = self._plane.playout.sinks
        attached = sinks.attach(self.row, spec, self._rate, hold=hold)
        self._held = attached if hold else []
        return attached[0] if attached else None

    def add_sink(self, spec: Sink) -> Recording | None:
        """Give received samples to ``spec`` as well; see `set_sink`."""
        self._require_open()
        hold = self._holds_recordings
        recording = self._plane.playout.sinks.add(self.row, spec, self._rate, hold=hold)
        if hold and recording is not None:
            self._held = [*self._held, recording]
        return recording

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
        if not self._open:
            raise RuntimeError(_OVER)
        if self._heard:
            self._note_heard()
        self._plane.take_reports(now)
        self._finished = self._counted()
        self._open = False
        # Who never sent RTP or RTCP sends no BYE (RFC 3550 section 6.3.7).
        if self._cells.packets_sent[self.row] or (self._reports and self._reports.spoken):
            self.report(now, final=True)
        self._plane.end(self, now)

    def release(self, now: int) -> None:
        """Give the row and its ports back; does nothing the second time."""
        if not self._released:
            self._released = True
            self._plane.free(self, now)

    def _require_open(self) -> None:
        if not self._open:
            raise RuntimeError(_OVER)

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
        if self.latched is not None:
            # Queued before the latch closed.
            return source == self.latched or self._turn_away(source)
        latch = self._latch
        if latch is None:
            if self._early is not None:
                return self._early.admits(source, now)
            return self._turn_away(source)
        _, _, sequence, _, ssrc = _HEADER.unpack_from(data)
        if not latch.admits(source, ssrc, sequence):
            return False
        self._close_latch(source, latch.previous == source, now)
        return True

    def _turn_away(self, source: Address) -> bool:
        self.strangers += 1
        self.stranger = source
        return False

    def _close_latch(self, source: Address, known: bool, now: int) -> None:
        if not self.lease.latch(source):
            return
        self.latched = source
        self.latched_at = now
        if self.agreement is None or self.agreement.remote is not None:
            self.remote = source
        self._cells.latched[self.row] = True
        self._plane.playout.changed(self.row)
        if not known:
            self._plane.tell(self, MediaEvent.LATCHED, source, now)

    def _forget_latch(self) -> None:
        if self.latched is not None:
            self.latched = None
            self._cells.latched[self.row] = False
            self.lease.unlatch()
            self._plane.playout.changed(self.row)

    def relearn(self) -> None:
        """The latched source fell silent: others may prove themselves, it may come back."""
        latch = self._latch
        if self.latched is not None and latch is not None:
            latch.lost(self.latched)
            self._forget_latch()

    def take_rtcp(self, data: bytes, source: Address, now: int, ntp: int) -> bool:
        """RTCP from the peer's IP: learn from it.  It keeps a stream from being stalled."""
        remote, latch = self.remote, self._latch
        if self.latched is not None or latch is None:
            known = remote is not None and source[0] == remote[0]
        else:
            known = latch.may_be_peer(source[0])
        if not known:
            return self._turn_away(source)
        since = self.sends_since if self.transmitting else None
        if not self.reports.receive(data, now, ntp, since):
            return False
        self._rtcp_source = source
        return True

    def refuses(self, now: int) -> bool:
        """Whether nobody receives what we send, by ICMP.

        A port that is opened a little late answers in this way, too, but not for a second, and
        its reports end it.
        """
        if self._stopped:
            return True
        confirmed_at = None if self._reports is None else self._reports.confirmed_at
        return (
            self.refused_at - self._refused_since >= _REFUSED_FOR
            and now - self.refused_at < QUIET
            and (confirmed_at is None or confirmed_at < self.refused_at)
        )

    def note_refused(self, text: str, now: int) -> bool:
        """Count an ICMP port unreachable; whether it is time to tell of it again.

        From the address we send to, it stops RTP until something comes, or the path is proven.
        """
        self.refused += 1
        if self.remote is not None and text == host_port(*self.remote):
            if now - self.refused_at >= QUIET:
                self._refused_since = now
            self.refused_at = now
            if self._cells.next_at[self.row] != FOREVER and not (
                self._heard and now - self.heard_at < RELEARN
            ):
                self._stop_for_refusal()
        if now - self._told_refused_at < self._refused_pause:
            return False
        # Repeated for hours it says nothing new; once media has come, it does.
        fresh = self.heard_at > self._told_refused_at
        self._refused_pause = (
            _REFUSED_PAUSE if fresh else min(2 * self._refused_pause, _LONGEST_PAUSE)
        )
        self._told_refused_at = now
        return True

    def _stop_for_refusal(self) -> None:
        self._plane.limits.statistics.streams_stopped += 1
        self._stopped = True
        if self._heard:
            self._note_heard()
            self._heard = False
        cells, row = self._cells, self.row
        cells.full_until[row], cells.next_at[row] = NEVER, FOREVER
        cells.unproven[row] = cells.attention[row] = True
        self._plane.playout.changed(row)

    def report(self, now: int, *, final: bool = False) -> bytes | None:
        """Send RTCP if there is somebody to send it to; ``final`` says BYE.  Returns what left."""
        if self._heard:
            self._note_heard()
        data = self.reports.build(now, self._plane.ntp(now), final=final)
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
