"""Links with delay, jitter, loss, duplication and reordering of datagrams."""

from __future__ import annotations

from random import Random

from attrs import define, field, frozen
from attrs.validators import and_, ge, le

from sessioncore.vocabulary import SECOND, Address, host_port

__all__ = ["Datagram", "Link"]

_probability = and_(ge(0.0), le(1.0))


@frozen
class Link:
    """The path from one host to another; times in seconds, the others probabilities from 0 to 1.

    Each datagram takes ``delay`` plus a uniform part of ``jitter``, so it may overtake others.
    With probability ``reorder`` it takes ``hold`` longer; with ``duplicate`` it comes twice.
    """

    delay: float = field(default=0.001, validator=ge(0.0))
    jitter: float = field(default=0.0, validator=ge(0.0))
    loss: float = field(default=0.0, validator=_probability)
    duplicate: float = field(default=0.0, validator=_probability)
    reorder: float = field(default=0.0, validator=_probability)
    hold: float = field(default=0.03, validator=ge(0.0))

    def delays(self, random: Random) -> list[int]:
        """The delays in ns of the copies of one datagram; empty if it is lost."""
        if random.random() < self.loss:
            return []
        copies = 2 if random.random() < self.duplicate else 1
        return [self._delay(random) for _ in range(copies)]

    def _delay(self, random: Random) -> int:
        seconds = self.delay + self.jitter * random.random()
        if random.random() < self.reorder:
            seconds += self.hold
        return round(seconds * SECOND)


@define(eq=False)
class Datagram:
    """One captured datagram.

    ``source`` is the sender's own address, ``seen_source`` the address that the receiver sees
    (they differ behind a NAT); ``sent_at`` is in ns.  ``fate`` is ``"on its way"``,
    ``"delivered"``, or the reason it was not: ``"lost"``, ``"no such host"``,
    ``"port closed"``, ``"filtered"``.
    """

    sent_at: int
    source: Address
    destination: Address
    data: bytes
    seen_source: Address
    fate: str = "on its way"
    deliveries: int = 0

    def __str__(self) -> str:
        start = self.data[:40].split(b"\r\n")[0]
        return (
            f"{self.sent_at / SECOND:.6f} {host_port(*self.source)} ->"
            f" {host_port(*self.destination)} {len(self.data)} bytes"
            f" {start!r} {self.fate}"
        )
