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
from sessioncore.vocabulary import SECOND

__all__ = ["Reports", "expected_packets", "first_interval"]

_MAX_SIZE: Final = 1472
_MAX_DELAY: Final = 65_535 * SECOND


_SHORTEST: Final = report_interval(lambda: 0.0, initial=True)
_SPREAD: Final = report_interval(lambda: 1.0, initial=True) - _SHORTEST


def first_interval(chance: int) -> int:
    """How long until a stream's first report, in ns; ``chance`` is 24 random bits (6.3.1)."""
    return _SHORTEST + (_SPREAD * chance >> 24)


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
        """Whether RTCP of ours ever left."""
        return self._sent_reports > 0

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
        blocks = () if cells.remote_ssrc[row] == NONE else (self._block(now),)
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

    def receive(self, data: bytes, now: int, ntp: int) -> bool:
        """Take one compound packet; False where it is none."""
        try:
            packets = parse_rtcp(data[:_MAX_SIZE])
        except RtpParseError:
            self.invalid += 1
            return False
        for packet in packets:
            if isinstance(packet, SenderReport):
                self._last_sr = middle_32(packet.sender.ntp)
                self._last_sr_at = now
                self._take_blocks(packet.blocks, ntp)
            elif isinstance(packet, ReceiverReport):
                self._take_blocks(packet.blocks, ntp)
            elif isinstance(packet, Goodbye):
                self.peer_said_bye = True
        return True

    def _take_blocks(self, blocks: tuple[ReportBlock, ...], ntp: int) -> None:
        own = self._cells.ssrc[self._row]
        for block in blocks:
            if block.ssrc == own:
                self.remote_lost = block.cumulative_lost
                self.remote_jitter = block.jitter
                measured = round_trip(block, ntp)
                if measured is not None:
                    self.round_trip = measured

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
