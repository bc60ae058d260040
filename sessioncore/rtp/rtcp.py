"""RTCP (RFC 3550 section 6): compound packets, their interval, the round-trip time.

A call has about one report in five seconds, so these are plain objects and not batches.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from attrs import frozen

from sessioncore.errors import RtpParseError
from sessioncore.vocabulary import SECOND

__all__ = [
    "Feedback",
    "Goodbye",
    "OtherPacket",
    "ReceiverReport",
    "ReportBlock",
    "RtcpPacket",
    "SenderInfo",
    "SenderReport",
    "SourceDescription",
    "build_goodbye",
    "build_last_report",
    "build_report",
    "fraction_lost",
    "middle_32",
    "ntp_time",
    "parse_rtcp",
    "report_interval",
    "round_trip",
]

_SR, _RR, _SDES, _BYE, _APP, _RTPFB, _PSFB, _XR = range(200, 208)
_CNAME = 1
_NTP_EPOCH: Final = 2_208_988_800
"""Seconds from 1900-01-01 (NTP) to 1970-01-01 (Unix)."""
_MAX_BLOCKS: Final = 31
_TOO_MUCH: Final = "an RTCP report holds at most 31 blocks and a CNAME of 255 octets"
_BLOCK = struct.Struct("!IB3sIIII")
_SENDER = struct.Struct("!QIII")
_HEADER = struct.Struct("!BBHI")
"""With one SSRC: RR, BYE."""
_SENDER_REPORT = struct.Struct("!BBHIQIII")
_DESCRIPTION = struct.Struct("!BBHIBB")


@frozen(slots=False)
class ReportBlock:
    """The report of one receiver about one source (6.4.1).

    ``fraction_lost`` in 1/256, ``cumulative_lost`` signed, ``jitter`` in timestamp units,
    ``last_sr`` the middle 32 bits of an NTP time, ``delay_since_last_sr`` in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int = 0
    cumulative_lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_sr: int = 0
    delay_since_last_sr: int = 0


@frozen(slots=False)
class SenderInfo:
    """The sender's part of an SR: 64-bit NTP time, RTP time at that moment, totals sent."""

    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int


@frozen
class SenderReport:
    """SR (6.4.1)."""

    ssrc: int
    sender: SenderInfo
    blocks: tuple[ReportBlock, ...] = ()


@frozen
class ReceiverReport:
    """RR (6.4.2)."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@frozen
class SourceDescription:
    """SDES (6.5): per chunk the SSRC and its CNAME, or None if the chunk has none."""

    chunks: tuple[tuple[int, bytes | None], ...]


@frozen
class Goodbye:
    """BYE (6.6).  It reports that sources leave; it never ends a call."""

    ssrcs: tuple[int, ...]
    reason: bytes = b""


@frozen
class Feedback:
    """RTPFB or PSFB (RFC 4585 section 6.1); its control information is not parsed."""

    payload_type: int
    format: int
    ssrc: int
    media_ssrc: int


@frozen
class OtherPacket:
    """APP, XR or an unknown type; skipped by its length, as section 6.1 requires."""

    payload_type: int


RtcpPacket: TypeAlias = (
    SenderReport | ReceiverReport | SourceDescription | Goodbye | Feedback | OtherPacket
)


def parse_rtcp(data: bytes) -> tuple[RtcpPacket, ...]:
    """All packets of a compound packet, in order; `RtpParseError` if any part is broken.

    Reduced-size RTCP (RFC 5506), which need not start with SR or RR, is accepted.
    """
    packets = tuple(_each_packet(bytes(data)))
    if not packets:
        raise RtpParseError("RTCP packet is empty")
    return packets


def _each_packet(data: bytes) -> Iterator[RtcpPacket]:
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise RtpParseError(f"RTCP header is cut off after {len(data) - at} octets")
        first, payload_type, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2:
            raise RtpParseError(f"RTCP version is {first >> 6}, not 2")
        if end > len(data):
            raise RtpParseError(f"RTCP packet of {end - at} octets is cut off at {len(data) - at}")
        body = data[at + 4 : end]
        if first & 0x20:
            body = _without_padding(body, last=end == len(data))
        yield _parse_one(payload_type, first & 0x1F, body)
        at = end


def _without_padding(body: bytes, *, last: bool) -> bytes:
    # 6.4.1: padding only on the last packet, a multiple of four octets, counting itself.
    if not last:
        raise RtpParseError("RTCP padding on a packet that is not the last")
    count = body[-1] if body else 0
    if count == 0 or count % 4 or count > len(body):
        raise RtpParseError(f"RTCP padding of {count} octets in {len(body)}")
    return body[:-count]


def _parse_one(payload_type: int, count: int, body: bytes) -> RtcpPacket:
    if payload_type == _SR:
        _require(body, 24 + 24 * count, "SR")
        (ssrc,) = struct.unpack_from("!I", body)
        return SenderReport(
            ssrc, SenderInfo(*_SENDER.unpack_from(body, 4)), _blocks(body, 24, count)
        )
    if payload_type == _RR:
        _require(body, 4 + 24 * count, "RR")
        (ssrc,) = struct.unpack_from("!I", body)
        return ReceiverReport(ssrc, _blocks(body, 4, count))
    if payload_type == _SDES:
        return SourceDescription(tuple(_chunks(body, count)))
    if payload_type == _BYE:
        return _parse_goodbye(body, count)
    if payload_type in (_RTPFB, _PSFB):
        _require(body, 8, "feedback")
        return Feedback(payload_type, count, *struct.unpack_from("!II", body))
    return OtherPacket(payload_type)


def _require(body: bytes, size: int, name: str) -> None:
    if len(body) < size:
        raise RtpParseError(f"RTCP {name} needs {size} octets, has {len(body)}")


def _blocks(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    return tuple(_block(body, at + 24 * index) for index in range(count))


def _block(body: bytes, at: int) -> ReportBlock:
    ssrc, fraction, lost, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, at)
    total = int.from_bytes(lost, "big", signed=True)
    return ReportBlock(ssrc, fraction, total, highest, jitter, last_sr, delay)


def _chunks(body: bytes, count: int) -> Iterator[tuple[int, bytes | None]]:
    at = 0
    for _ in range(count):
        if at + 4 > len(body):
            raise RtpParseError("RTCP SDES chunk is cut off")
        (ssrc,) = struct.unpack_from("!I", body, at)
        cname, at = _items(body, at + 4)
        yield ssrc, cname


def _items(body: bytes, at: int) -> tuple[bytes | None, int]:
    """The CNAME of the chunk at ``at``, or None, and the start of the next chunk."""
    cname = None
    while at < len(body) and body[at] != 0:
        end = at + 2 + body[at + 1] if at + 1 < len(body) else len(body) + 1
        if end > len(body):
            raise RtpParseError("RTCP SDES item is cut off")
        if body[at] == _CNAME and cname is None:
            cname = body[at + 2 : end]
        at = end
    if at >= len(body):
        raise RtpParseError("RTCP SDES chunk has no end")
    return cname, (at & ~3) + 4


def _parse_goodbye(body: bytes, count: int) -> Goodbye:
    _require(body, 4 * count, "BYE")
    ssrcs = struct.unpack_from(f"!{count}I", body)
    rest = body[4 * count :]
    if rest and 1 + rest[0] > len(rest):
        raise RtpParseError("RTCP BYE reason is cut off")
    return Goodbye(ssrcs, rest[1 : 1 + rest[0]] if rest else b"")


def build_report(
    ssrc: int,
    cname: bytes,
    *,
    sender: SenderInfo | None = None,
    blocks: Sequence[ReportBlock] = (),
) -> bytes:
    """A compound packet: SR if ``sender`` is given, else RR, then SDES with the CNAME (6.1).

    Counters are wrapped to their size.  At most 31 ``blocks`` and 255 octets of ``cname``.
    """
    count, size = len(blocks), len(cname)
    if count > _MAX_BLOCKS or size > 255:
        raise ValueError(_TOO_MUCH)
    if sender is None:
        report = _HEADER.pack(0x80 | count, _RR, 1 + 6 * count, ssrc)
    else:
        report = _SENDER_REPORT.pack(
            0x80 | count,
            _SR,
            6 + 6 * count,
            ssrc,
            sender.ntp & 0xFFFF_FFFF_FFFF_FFFF,
            sender.rtp_timestamp & 0xFFFF_FFFF,
            sender.packets & 0xFFFF_FFFF,
            sender.octets & 0xFFFF_FFFF,
        )
    # At least one zero octet ends the items of a chunk (6.5).
    words = (size + 6) // 4
    description = _DESCRIPTION.pack(0x81, _SDES, 1 + words, ssrc, _CNAME, size)
    octets = cname.ljust(4 * words - 2, b"\0")
    return b"".join([report, *map(_build_block, blocks), description, octets])


def build_goodbye(
    ssrc: int,
    cname: bytes,
    reason: bytes = b"",
    *,
    sender: SenderInfo | None = None,
    blocks: Sequence[ReportBlock] = (),
) -> bytes:
    """The last compound packet of a source: `build_report` and a BYE (6.6)."""
    report = build_report(ssrc, cname, sender=sender, blocks=blocks)
    text = reason and bytes([len(reason[:255])]) + reason[:255]
    words = (len(text) + 3) // 4
    return report + _HEADER.pack(0x81, _BYE, 1 + words, ssrc) + text.ljust(4 * words, b"\0")


def build_last_report(
    ssrc: int,
    cname: bytes,
    ntp: int,
    rtp_timestamp: int,
    packets: int,
    octets: int,
    blocks: Sequence[ReportBlock] = (),
) -> bytes:
    """`build_goodbye` of a sender in one step, because it is all the RTCP of a short call."""
    count, size = len(blocks), len(cname)
    if count > _MAX_BLOCKS or size > 255:
        raise ValueError(_TOO_MUCH)
    words = (size + 6) // 4
    return _last_report(count, words).pack(
        0x80 | count,
        _SR,
        6 + 6 * count,
        ssrc,
        ntp & 0xFFFF_FFFF_FFFF_FFFF,
        rtp_timestamp & 0xFFFF_FFFF,
        packets & 0xFFFF_FFFF,
        octets & 0xFFFF_FFFF,
        b"".join(map(_build_block, blocks)) if count else b"",
        0x81,
        _SDES,
        1 + words,
        ssrc,
        _CNAME,
        size,
        cname,
        0x81,
        _BYE,
        1,
        ssrc,
    )


@lru_cache(32)
def _last_report(blocks: int, words: int) -> struct.Struct:
    """SR with ``blocks`` blocks, SDES with ``words`` words of items, BYE."""
    return struct.Struct(f"!BBHIQIII{24 * blocks}sBBHIBB{4 * words - 2}sBBHI")


def _build_block(block: ReportBlock) -> bytes:
    # 6.4.1: the total is clamped to its 24 bits, not wrapped.
    lost = max(-0x80_0000, min(block.cumulative_lost, 0x7F_FFFF))
    return _BLOCK.pack(
        block.ssrc,
        max(0, min(block.fraction_lost, 255)),
        lost.to_bytes(3, "big", signed=True),
        block.highest_sequence & 0xFFFF_FFFF,
        min(block.jitter, 0xFFFF_FFFF),
        block.last_sr & 0xFFFF_FFFF,
        min(block.delay_since_last_sr, 0xFFFF_FFFF),
    )


def fraction_lost(expected: int, received: int) -> int:
    """Loss since the last report in 1/256 (A.3); 0 if duplicates outnumber losses."""
    lost = expected - received
    return 0 if expected <= 0 or lost <= 0 else min((lost << 8) // expected, 255)


def ntp_time(unix_ns: int) -> int:
    """Unix time in ns as the 64-bit NTP timestamp of an SR (section 4)."""
    seconds, fraction = divmod(unix_ns, SECOND)
    return ((seconds + _NTP_EPOCH) & 0xFFFF_FFFF) << 32 | (fraction << 32) // SECOND


def middle_32(ntp: int) -> int:
    """The middle 32 bits of a 64-bit NTP time, in 1/65536 s, as in LSR and A."""
    return ntp >> 16 & 0xFFFF_FFFF


def round_trip(block: ReportBlock, arrived_ntp: int) -> int | None:
    """Round-trip time in ns from LSR and DLSR (6.4.1 figure 2), or None if it is unknown.

    None: the peer has not received an SR from us yet, or the times contradict each other.
    ``arrived_ntp`` is the 64-bit NTP time of arrival, by the clock that stamps our SRs.
    """
    if block.last_sr == 0:
        return None
    delay = (middle_32(arrived_ntp) - block.last_sr - block.delay_since_last_sr) & 0xFFFF_FFFF
    if delay >= 0x8000_0000:  # "negative": DLSR is rounded, the true delay was near zero
        return 0 if 0x1_0000_0000 - delay <= 0x2000 else None
    return delay * SECOND >> 16


def report_interval(
    random: Callable[[], float],
    *,
    initial: bool = False,
    members: int = 2,
    senders: int = 2,
    we_sent: bool = True,
    average_size: float = 128.0,
    bandwidth: float = 400.0,
) -> int:
    """The time in ns from one RTCP packet to the next (6.3.1, A.7).

    ``random`` returns [0, 1); ``average_size`` is in octets with UDP and IP headers;
    ``bandwidth`` is that of RTCP in octets/s: 5 % of the session's, 400 for G.711.

    A call has two members that both stay, so timer reconsideration (6.3.3) never finds other
    numbers than when the timer was set.  It is left out, and so is the division by e - 3/2
    that compensates for it.
    """
    minimum = 2.5 if initial else 5.0
    counted = members
    if senders <= members * 0.25:
        counted = senders if we_sent else members - senders
        bandwidth *= 0.25 if we_sent else 0.75
    seconds = max(average_size * counted / bandwidth, minimum)
    return int(seconds * (random() + 0.5) * SECOND)
