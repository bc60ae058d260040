"""`Stream`: one call's row in the media plane, and what happens to it now and then.

Agreements, the latch, sending and its limits, RTCP, the end.  What happens per packet is in
`reception` and `tick`, for all rows at once.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from sessioncore.media import bank as kinds
from sessioncore.media.bank import FRAME, NEVER
from sessioncore.media.latch import EarlySource, Latch
from sessioncore.media.packet_io import PACKET_WIDTH, PortLease
from sessioncore.media.reports import Reports
from sessioncore.media.sinks import Sink
from sessioncore.media.sources import Source
from sessioncore.media.statistics import MediaEvent, StreamStatistics
from sessioncore.vocabulary import (
    COMFORT_NOISE,
    PCMA,
    PCMU,
    SECOND,
    Address,
    Codec,
    StreamAgreement,
)

if TYPE_CHECKING:
    from sessioncore.media.streams import MediaPlane

__all__ = ["RELEARN", "SENDABLE_PTIMES", "Stream"]

RELEARN: Final = 2 * SECOND
"""Silence of the latched source after which another may prove itself."""
SENDABLE_PTIMES: Final = (20, 40, 60)
"""Packet lengths in ms that a row can send: whole frames."""
_TARGET: Final = 2 * FRAME
"""40 ms of delay before the first packet is played."""
_REFUSED_PAUSE: Final = 5 * SECOND
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
        self._early = EarlySource(ip, RELEARN)
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
        frames = agreement.ptime // 20 if agreement.ptime in SENDABLE_PTIMES else 1
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
