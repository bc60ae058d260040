"""How much RTP may leave for an address before somebody there proves that it is wanted.

Each stream has one allowance: full rate until a time, then a packet a second.  It changes with
rare events only (an agreement, the ACK, the first packet, an ICMP error), so packets cost nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from sessioncore.media.bank import NEVER
from sessioncore.media.statistics import PlaneStatistics
from sessioncore.vocabulary import SECOND

__all__ = ["FOREIGN", "SPARSE", "UNANSWERED", "Limits"]

UNANSWERED: Final = 2 * SECOND
"""Full rate before the path is proven."""
FOREIGN: Final = 10 * SECOND
"""Full rate after that, for an IP that is not the SIP peer's; it hears a greeting at least."""
SPARSE: Final = 1 * SECOND
"""From packet to packet once the full rate is over: enough to open a pinhole."""
TOGETHER: Final = 10
"""Streams that begin at full rate towards one IP in `UNANSWERED`, if it sent no media."""
REMEMBERED: Final = 300 * SECOND
"""For so long an IP is known as one that sends media."""
MOST_KNOWN: Final = 16_384


class Limits:
    """The allowances of all streams, by destination IP where streams share one."""

    def __init__(self, statistics: PlaneStatistics) -> None:
        self.statistics: Final = statistics
        self._heard: dict[str, int] = {}
        self._begun: dict[str, deque[int]] = {}

    def heard(self, ip: str, at: int) -> None:
        """Media came from ``ip``."""
        heard = self._heard
        if ip not in heard and len(heard) >= MOST_KNOWN:
            del heard[next(iter(heard))]
        heard[ip] = at

    def begin(self, ip: str, now: int) -> int:
        """A stream whose path is not proven begins; returns the end of its full rate."""
        if now - self._heard.get(ip, NEVER) < REMEMBERED:
            return now + UNANSWERED
        begun = self._begun.get(ip)
        if begun is None:
            self._forget(now)
            begun = self._begun[ip] = deque()
        while begun and begun[0] <= now - UNANSWERED:
            begun.popleft()
        if len(begun) >= TOGETHER:
            self.statistics.streams_held_back += 1
            return NEVER
        begun.append(now)
        return now + UNANSWERED

    def _forget(self, now: int) -> None:
        """Forget destinations that matter no more: two for each that may be added."""
        for _ in range(2):
            ip = next(iter(self._begun), None)
            if ip is None or self._begun[ip][-1] > now - UNANSWERED:
                return
            del self._begun[ip]
