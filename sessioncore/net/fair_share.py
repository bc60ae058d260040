"""Who is read when more SIP messages come than can be answered: everybody, by fair shares.

The kernel drops whatever finds its buffer full, so without this the messages of everybody are
lost at the rate of the flood.
"""

from __future__ import annotations

from socket import AF_INET6, inet_pton
from typing import Final

from sessioncore.net.addresses import is_ipv6, unmapped, without_zone
from sessioncore.vocabulary import MILLISECOND

__all__ = ["FairShare"]

WINDOW: Final = 20 * MILLISECOND
BUDGET: Final = 80
"""Messages per window that all heavy sources share: about 8 ms of work, at most."""
LEAST: Final = 10
"""What is left of that if too many messages wait all the time: the machine is slow or busy."""
HEAVY: Final = 10
"""Messages per window up to which a source is not heavy."""


class FairShare:
    """Counts messages by source while there are too many; ``dropped`` counts the others.

    A source is an IPv4 address or the /64 of an IPv6 one, because who has one address there has
    them all.  A source that is alone has no limit: there is nobody to be protected from it.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._counts: dict[str | bytes, int] = {}
        self._ends = 0
        self._budget = BUDGET
        self._share: float = float("inf")

    @property
    def limits(self) -> bool:
        """Whether some source has a limit in this window."""
        return self._share != float("inf")

    def admits(self, ip: str, now: int) -> bool:
        """Whether another message of ``ip`` is read in this window."""
        if now >= self._ends:
            self._divide(now)
        source = _network(ip) if is_ipv6(ip) else ip
        count = self._counts.get(source, 0) + 1
        self._counts[source] = count
        if count <= self._share:
            return True
        self.dropped += 1
        return False

    def _divide(self, now: int) -> None:
        """A window is over: divide the next one by what came in this one."""
        counts = self._counts
        # Called only while too many messages wait: how far apart tells if it was too much.
        again = now < self._ends + WINDOW
        self._budget = max(LEAST, self._budget // 2) if again else min(BUDGET, 2 * self._budget)
        heavy = sum(count > HEAVY for count in counts.values())
        alone = len(counts) <= 1
        self._share = float("inf") if alone or not heavy else max(1, self._budget // heavy)
        self._ends = now + WINDOW
        self._counts = {}


def _network(ip: str) -> str | bytes:
    """The /64 of an IPv6 address, the IPv4 address of an IPv4-mapped one.

    `sessioncore.session.admission` finds the same in 8 µs, which is too slow under a flood.
    """
    ip = unmapped(ip)
    return inet_pton(AF_INET6, without_zone(ip))[:8] if is_ipv6(ip) else ip
