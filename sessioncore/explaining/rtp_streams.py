"""RTP as it was seen in a capture: one stream per source, destination and SSRC."""

from __future__ import annotations

from collections import Counter
from struct import Struct
from typing import Final, TypeAlias

from attrs import define, field

from sessioncore.vocabulary import SECOND, Address

__all__ = ["RtcpSeen", "RtpStreams", "SeenStream"]

MAX_STREAMS: Final = 10_000
_HEADER: Final = Struct("!BBHII")
_RTCP: Final = range(192, 224)
"""Second octets of RTCP packets (RFC 5761 section 4)."""
_CLOCKS: Final = (8_000, 16_000, 48_000)
"""Jitter is kept for each, because the description may come later than the packets."""
_MAX_KINDS: Final = 16
_GAP: Final = SECOND
_MAX_GAPS: Final = 64
_MAX_MISORDER, _MAX_DROPOUT = 100, 3_000

Key: TypeAlias = tuple[Address, Address, int]


@define(eq=False)
class SeenStream:
    """The packets of one SSRC from one address to another; times in ns.

    ``lost`` is by the sequence numbers (RFC 3550 appendix A.3).
    """

    source: Address
    destination: Address
    ssrc: int
    first: int
    last: int
    packets: int = 0
    copies: int = 0
    """Packets with the number of the one before; a capture may hold each packet twice."""
    octets: int = 0
    """Of payload, as far as it was captured."""
    by_type: Counter[int] = field(factory=Counter)
    """Packets by payload type."""
    steps: Counter[int] = field(factory=Counter)
    """How often the timestamp rose by so much from one packet to the next."""
    last_type: int = 0
    """The payload type of the last packet: comfort noise announces a pause (RFC 3389)."""
    gaps: list[tuple[int, int]] = field(factory=list)
    """Begin and end of the pauses of a second and more, up to 64."""
    _expected: int = 0
    _base: int = 0
    _highest: int = 0
    _timestamp: int = 0
    _jitter: list[float] = field(factory=lambda: [0.0] * len(_CLOCKS))

    @property
    def lost(self) -> int:
        """Packets that were expected by the sequence numbers and did not come."""
        return max(0, self.expected - self.packets + self.copies)

    @property
    def expected(self) -> int:
        """Packets that must have been sent from the first to the last that came."""
        return self._expected + self._highest - self._base + 1

    @property
    def share_lost(self) -> float:
        """The share of packets that was lost, from 0 to 1."""
        return self.lost / self.expected

    @property
    def payload_type(self) -> int:
        """The most frequent payload type."""
        return self.by_type.most_common(1)[0][0]

    @property
    def seconds(self) -> float:
        """From the first packet to the last."""
        return (self.last - self.first) / SECOND

    def is_heard(self, since: int, until: int) -> bool:
        """Whether packets came in that time, and not only before and after it."""
        since, until = max(self.first, since), min(self.last, until)
        return since <= until and not any(
            begin <= since and until <= end for begin, end in self.gaps
        )

    def jitter(self, clock: int) -> float | None:
        """Interarrival jitter in seconds (RFC 3550 6.4.1), or None for an unusual clock rate."""
        if clock not in _CLOCKS:
            return None
        return self._jitter[_CLOCKS.index(clock)] / clock

    def packet_ms(self, clock: int) -> float | None:
        """The usual length of a packet in ms, by its timestamps, or None if it is not known."""
        if not self.steps:
            return None
        return self.steps.most_common(1)[0][0] * 1000 / clock

    def add(self, at: int, payload_type: int, sequence: int, timestamp: int, octets: int) -> None:
        """Count one packet."""
        if self.packets:
            self._follow(at, sequence, timestamp)
        else:
            self._base = self._highest = sequence
            self._timestamp = timestamp
        self.packets += 1
        self.octets += octets
        self.last = max(self.last, at)
        self.last_type = payload_type
        if payload_type in self.by_type or len(self.by_type) < _MAX_KINDS:
            self.by_type[payload_type] += 1

    def _follow(self, at: int, sequence: int, timestamp: int) -> None:
        waited = at - self.last
        if waited >= _GAP and len(self.gaps) < _MAX_GAPS:
            self.gaps.append((self.last, at))
        ahead = (sequence - self._highest) & 0xFFFF
        if not ahead:
            self.copies += 1
            return
        risen = (timestamp - self._timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if ahead == 1 and risen > 0 and (risen in self.steps or len(self.steps) < _MAX_KINDS):
            self.steps[risen] += 1
        if 0 < ahead <= _MAX_DROPOUT:
            self._highest += ahead
        elif ahead < 0x10000 - _MAX_MISORDER:
            # The sequence starts again (A.1); what was expected until here stays so.
            self._expected += self._highest - self._base + 1
            self._base = self._highest = sequence
        if 0 < ahead <= _MAX_DROPOUT and risen:
            for index, clock in enumerate(_CLOCKS):
                off = abs(waited * clock / SECOND - risen)
                if off < clock:  # a second: the time of the packets jumps, the network does not
                    self._jitter[index] += (off - self._jitter[index]) / 16
        self._timestamp = timestamp


@define(eq=False)
class RtcpSeen:
    """RTCP from one address to another."""

    packets: int = 0
    first: int = 0


class RtpStreams:
    """All that looks like RTP or RTCP in a capture.

    Up to 10,000 streams are kept; ``turned_away`` counts the packets of others.
    """

    def __init__(self) -> None:
        self.streams: dict[Key, SeenStream] = {}
        self.rtcp: dict[tuple[Address, Address], RtcpSeen] = {}
        self.turned_away = 0

    def read(self, at: int, source: Address, destination: Address, data: bytes) -> bool:
        """Count a datagram; False if it is neither RTP nor RTCP."""
        if len(data) < 8 or data[0] >> 6 != 2:
            return False
        if data[1] in _RTCP:
            self._count_rtcp(at, source, destination)
            return True
        if len(data) < 12 or not (source[1] and destination[1]):
            return False
        _, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        key = source, destination, ssrc
        stream = self.streams.get(key)
        if stream is None:
            if len(self.streams) >= MAX_STREAMS:
                self.turned_away += 1
                return True
            stream = self.streams[key] = SeenStream(source, destination, ssrc, at, at)
        stream.add(at, second & 0x7F, sequence, timestamp, len(data) - 12)
        return True

    def _count_rtcp(self, at: int, source: Address, destination: Address) -> None:
        key = source, destination
        seen = self.rtcp.get(key)
        if seen is None:
            if len(self.rtcp) >= MAX_STREAMS:
                self.turned_away += 1
                return
            seen = self.rtcp[key] = RtcpSeen(first=at)
        seen.packets += 1
