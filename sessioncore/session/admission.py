"""Who may begin a call: the places of calls that nobody has acknowledged are shared out.

An INVITE with a forged source costs its sender one datagram and us a place, so the places must
not all go to whoever sends most.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from sessioncore.vocabulary import SECOND

__all__ = ["Admission", "Source"]

KNOWN_FOR: Final = 3600 * SECOND
"""How long a source stays known after it acknowledged a call."""
MOST_KNOWN: Final = 16_384
"""Sources that are remembered; beyond that, the one that was silent longest is forgotten."""
_REFRESHED: Final = KNOWN_FOR - 60 * SECOND
_SMALL: Final = 16
"""A server of fewer calls keeps no places for known sources."""
_TRUSTED: Final = 1 << 62


class Source:
    """An IP address that INVITEs come from: its calls without ACK, and whether it is known."""

    __slots__ = ("ip", "known", "known_until", "waiting")

    def __init__(self, ip: str, known_until: int) -> None:
        self.ip = ip
        self.waiting = 0
        self.known = known_until > 0
        self.known_until = known_until


class Admission:
    """Shares out ``limit`` places for incoming calls without ACK, ringing ones included.

    Half of them are for known sources: those that acknowledged a call in the last hour, and
    those in the networks ``trusted``.  Of the places that a source could use it gets at most
    twice as many as it leaves to others: a lone one two thirds, each of four two ninths.  So a
    flood from a few sources leaves room, and one from many leaves it to known sources.
    """

    def __init__(self, limit: int, trusted: Iterable[str] = ()) -> None:
        self.limit: Final = limit
        self.for_strangers: Final = limit if limit < _SMALL else limit // 2
        self.waiting = 0
        """Calls without ACK of all sources."""
        self.strangers = 0
        """Those of sources that are not known."""
        self._trusted = [ip_network(each) for each in trusted]
        self._sources: dict[str, Source] = {}

    @property
    def short(self) -> bool:
        """Whether less than a quarter of the places, or of those for strangers, is left."""
        return 4 * self.strangers > 3 * self.for_strangers or 4 * self.waiting > 3 * self.limit

    def admit(self, ip: str, now: int) -> Source | None:
        """A call begins; returns its source for `leave`, or None if it gets no place."""
        if ":" in ip:
            ip = _network(ip)
        source = self._sources.get(ip)
        if source is None:
            source = Source(ip, _TRUSTED if self._trusted and self._trusts(ip) else 0)
        elif source.known and now > source.known_until:
            source.known = False
            self.strangers += source.waiting
        known = source.known
        left = self.limit - self.waiting if known else self.for_strangers - self.strangers
        if source.waiting >= 2 * left:
            return None
        if not source.waiting:
            self._sources[ip] = source
        source.waiting += 1
        self.waiting += 1
        if not known:
            self.strangers += 1
        return source

    def leave(self, source: Source) -> None:
        """The call ended without ACK."""
        source.waiting -= 1
        self.waiting -= 1
        if not source.known:
            self.strangers -= 1
            if not source.waiting:
                del self._sources[source.ip]

    def acknowledge(self, source: Source, now: int) -> None:
        """The ACK came, so the source is known from now on."""
        source.waiting -= 1
        self.waiting -= 1
        if not source.known:
            source.known = True
            self.strangers -= source.waiting + 1
        if source.known_until < now + _REFRESHED:
            source.known_until = now + KNOWN_FOR
            # At the end of the dict are those that were heard last.
            del self._sources[source.ip]
            self._sources[source.ip] = source
            if len(self._sources) > MOST_KNOWN:
                self._forget_one()

    def _forget_one(self) -> None:
        for ip, source in self._sources.items():
            if not source.waiting:
                del self._sources[ip]
                return

    def _trusts(self, ip: str) -> bool:
        try:
            address = ip_address(ip)
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


@lru_cache(maxsize=1_024)
def _network(ip: str) -> str:
    """The first address of the /64 of an IPv6 address: whoever has one address has them all."""
    try:
        address = IPv6Address(ip)
    except ValueError:
        return ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))
