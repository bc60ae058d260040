"""RTCP of one stream: what it reports, and what it learns from the peer's reports.

A report leaves every five seconds or so (RFC 3550 section 6.3), on hold too.  What the peer
sends never moves the latch and never ends the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sessioncore.errors import RtpParseError
from sessioncore.media.bank import NONE, Bank
from sessioncore.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderInfo,
    SenderReport,
    build_goodbye,
    build_last_report,
    build_report,
    fraction_lost,
    middle_32,
    parse_rtcp,
    report_interval,
    round_trip,
)
from sessioncore.vocabulary import MILLISECOND, SECOND

__all__ = ["Reports", "expected_packets", "first_interval"]

_MAX_SIZE: Final = 1472
_MAX_DELAY: Final = 65_535 * SECOND
_FIRST: Final = 400 * MILLISECOND
_SPREAD: Final = 200 * MILLISECOND
_LONG_ENOUGH: Final = 1 * SECOND
"""After so long of sending, the peer's first report should know of us."""
_BETWEEN: Final = 300 * MILLISECOND
_FEW: Final = 10
"""Packets that must have left between two reports before the second should know of them."""
_LAG: Final = 75
"""So many frames (1.5 s) may the peer's report be behind what we sent."""
_WRAP: Final = 1 << 32


def first_interval(chance: int) -> int:
    """How long until a stream's first report, in ns; ``chance`` is 24 random bits.

    Between two parties it may leave at once (RFC 3550 section 6.2).  After half a second there is
    something to report, and calls of a second get their proof.
    """
    return _FIRST + (_SPREAD * chance >> 24)


def expected_packets(former: int, remote_ssrc: int, highest: int, first_sequence: int) -> int:
    """Packets the peer must have sent so far, all its sources together (A.3)."""
    return former if remote_ssrc == NONE else former + highest - first_sequence + 1


class Reports:
    """The reports of the stream at ``row``; one per stream, touched a few times a minute."""

    invalid = 0
    peer_said_bye = False
    remote_jitter: int | None = None
    """In timestamp units."""
    remote_lost: int | None = None
    round_trip: int | None = None
    """In ns."""
    received = 0
    """Reports (SR or RR) that came."""
    without_us = 0
    """The last so many in a row should have had a block about us, or news in it, and had not."""
    confirmed = 0
    """Our packets that the peer received or missed, by its last block about us."""
    confirmed_at: int | None = None
    peer_packets: int | None = None
    """Packets that the peer says it sent (SR)."""
    peer_sends = False
    """Whether its last report says that it sends."""
    _first_counts = (0, 0)
    _last_counts = (0, 0)
    """Packets the peer says it sent, and packets received, at its first and its last SR."""
    _received_at: int | None = None
    _sent_then = 0
    _last_sr = 0
    _last_sr_at = 0
    _sent_packets = 0
    _sent_octets = 0
    _sent_reports = 0
    _by_last = _by_former = 0
    """RTP packets sent by the time of the last report and of the one before."""

    def __init__(self, bank: Bank, row: int, cname: bytes) -> None:
        self._cells = bank.cells
        self._row = row
        self._cname = cname

    @property
    def spoken(self) -> bool:
        """Whether we ever sent RTCP."""
        return self._sent_reports > 0

    @property
    def heard_by_peer(self) -> bool | None:
        """Whether the peer reports that our packets arrive; None if it does not say."""
        if self.without_us:
            return False
        return True if self.confirmed else None

    @property
    def between_reports(self) -> tuple[int, int] | None:
        """Packets that the peer says it sent, and those received, from its first SR to its last.

        Where nothing was ever received, from its beginning.
        """
        if self.peer_packets is None:
            return None
        (first, received_then), (last, received) = self._first_counts, self._last_counts
        if not received:
            return last, 0
        return (last - first) % _WRAP, received - received_then

    def interval(self, random: Callable[[], float]) -> int:
        """How long until the next report, in ns."""
        return report_interval(random, initial=self._sent_reports == 0)

    def build(self, now: int, ntp: int, *, final: bool = False) -> bytes:
        """The report that is due; ``final`` adds BYE.

        SR if RTP was sent since the report before the last one, else RR (RFC 3550 section 6.4).
        """
        cells, row, cname = self._cells, self._row, self._cname
        ssrc, timestamp = cells.ssrc[row], cells.timestamp[row]
        sent = cells.packets_sent[row]
        packets = sent - self._sent_packets if sent > self._by_former else 0
        octets = cells.octets_sent[row] - self._sent_octets
        # Only about a source that was heard since the last report (RFC 3550 section 6.4).
        fresh = (
            cells.remote_ssrc[row] != NONE
            and cells.packets_received[row] - cells.former_received[row]
            != cells.received_before[row]
        )
        blocks = (self._block(now),) if fresh else ()
        self._sent_reports += 1
        self._by_former, self._by_last = self._by_last, sent
        if final and packets:
            return build_last_report(ssrc, cname, ntp, timestamp, packets, octets, blocks)
        sender = SenderInfo(ntp, timestamp, packets, octets) if packets else None
        build = build_goodbye if final else build_report
        return build(ssrc, cname, sender=sender, blocks=blocks)

    def changed_ssrc(self) -> None:
        """Our SSRC is a new one: its counts start again (RFC 3550 section 8.2)."""
        self._sent_packets = self._cells.packets_sent[self._row]
        self._sent_octets = self._cells.octets_sent[self._row]
        self.confirmed = 0

    def receive(self, data: bytes, now: int, ntp: int, sending_since: int | None = None) -> bool:
        """Take one compound packet; False where it is none.

        ``sending_since`` is when we began to send to where it came from (ns).
        """
        try:
            packets = parse_rtcp(data[:_MAX_SIZE])
        except RtpParseError:
            self.invalid += 1
            return False
        blocks: list[ReportBlock] = []
        reported = leaves = False
        for packet in packets:
            if isinstance(packet, SenderReport):
                self._last_sr = middle_32(packet.sender.ntp)
                self._last_sr_at = now
                self._take_counts(packet.sender.packets)
                blocks += packet.blocks
                reported = True
            elif isinstance(packet, ReceiverReport):
                self.peer_sends = False
                blocks += packet.blocks
                reported = True
            elif isinstance(packet, Goodbye):
                self.peer_said_bye = leaves = True
        if reported:
            self._take_blocks(blocks, now, ntp, leaves, sending_since)
        return True

    def _take_counts(self, packets: int) -> None:
        """Packets that the peer says it sent so far."""
        cells, row = self._cells, self._row
        received = cells.packets_received[row]
        if self.peer_packets is None or (packets - self.peer_packets) % _WRAP >= _WRAP // 2:
            self._first_counts = packets, received  # the first, or another source's
            self.peer_sends = packets > 0
        else:
            self.peer_sends = packets != self.peer_packets
        self.peer_packets = packets
        self._last_counts = packets, received

    def _take_blocks(
        self,
        blocks: list[ReportBlock],
        now: int,
        ntp: int,
        leaves: bool,
        sending_since: int | None,
    ) -> None:
        """Whether the peer hears us, by the ``blocks`` of a report."""
        cells, row = self._cells, self._row
        own, sent = cells.ssrc[row], cells.packets_sent[row]
        self.received += 1
        arrives = False
        for block in blocks:
            if block.ssrc == own:
                arrives = self._take_block(block, sent, now)
                measured = round_trip(block, ntp)
                if measured is not None:
                    self.round_trip = measured
        if arrives:
            self.without_us = 0
        elif self._is_due(sent, now, sending_since) and (blocks or not leaves):
            # Some leave a call with a report that has no blocks, which says nothing.
            self.without_us += 1
        self._received_at, self._sent_then = now, sent

    def _take_block(self, block: ReportBlock, sent: int, now: int) -> bool:
        """Take the peer's block about us; whether it has received something new."""
        self.remote_lost = block.cumulative_lost
        self.remote_jitter = block.jitter
        # Sequence numbers begin again where ours do not: only the low 16 bits are ours.
        behind = (self._cells.sequence[self._row] - 1 - block.highest_sequence) & 0xFFFF
        confirmed = sent - self._sent_packets - (behind if behind < 0x8000 else 0)
        if confirmed <= self.confirmed:
            return False
        self.confirmed, self.confirmed_at = confirmed, now
        # What is on its way for longer than any network needs was lost.
        lag: int = behind * self._cells.frames[self._row]
        return lag < _LAG

    def _is_due(self, sent: int, now: int, sending_since: int | None) -> bool:
        """Whether a report that comes now should know something new of us."""
        if sending_since is None:
            return False
        before = self._received_at
        if before is None or before < sending_since:
            return now - sending_since >= _LONG_ENOUGH and sent - self._sent_then >= _FEW
        return now - before >= _BETWEEN and sent - self._sent_then >= _FEW

    def _block(self, now: int) -> ReportBlock:
        cells, row = self._cells, self._row
        ssrc = cells.remote_ssrc[row]
        highest = cells.highest[row]
        expected = expected_packets(0, ssrc, highest, cells.first_sequence[row])
        received = cells.packets_received[row] - cells.former_received[row]
        fraction = fraction_lost(
            expected - cells.expected_before[row], received - cells.received_before[row]
        )
        cells.expected_before[row] = expected
        cells.received_before[row] = received
        delay = min(now - self._last_sr_at, _MAX_DELAY) if self._last_sr else 0
        return ReportBlock(
            ssrc,
            fraction,
            expected - received,
            highest,
            int(cells.jitter[row]),
            self._last_sr,
            (delay << 16) // SECOND,
        )
