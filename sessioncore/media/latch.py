"""Which source may be heard: the rules of the latch, per stream, without sockets or clocks.

Audio is taken from one source address only.  The address of the agreement may always become
that source, at once.  Where the peer sits behind an address translator (its SIP comes from
another IP than its SDP names, or NAT mode is on), any port of either IP may, after four
packets of one SSRC in rising sequence.  Everyone else is counted, never played, never
answered.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from sessioncore.vocabulary import SECOND, Address

__all__ = ["PROBATION", "RELEARN", "EarlySource", "Latch"]

RELEARN: Final = 2 * SECOND
"""Silence of the latched source (ns) after which another may prove itself."""
PROBATION: Final = 4
"""Packets of one SSRC in rising sequence that a source other than the agreed one must show."""
_MAX_CANDIDATES: Final = 4


@define(eq=False)
class _Candidate:
    ssrc: int
    sequence: int
    packets: int


class Latch:
    """The rules of one agreement.  Give every packet of an unlatched stream to `admits`.

    ``agreed`` is the address of the SDP (None: hold), ``signalling_host`` the IP the peer's
    SIP comes from, ``nat`` True or False to decide, None to compare the two IPs.
    """

    __slots__ = ("_candidates", "_hosts", "agreed", "previous", "stranger", "strangers")

    def __init__(
        self, agreed: Address | None, signalling_host: str, nat: bool | None = None
    ) -> None:
        self.agreed = agreed
        self.previous: Address | None = None
        """The source latched last: after a silence it may come back at once."""
        self.strangers = 0
        self.stranger: Address | None = None
        """The last of them."""
        self._candidates: dict[Address, _Candidate] = {}
        self._hosts: tuple[str, ...] = ()
        if agreed is not None and (nat or (nat is None and agreed[0] != signalling_host)):
            self._hosts = (agreed[0], signalling_host)

    def admits(self, source: Address, ssrc: int, sequence: int) -> bool:
        """Whether this packet's source becomes the one that is heard."""
        if source in (self.agreed, self.previous):
            self._candidates.clear()
            return True
        if source[0] in self._hosts and self._passes_probation(source, ssrc, sequence):
            self._candidates.clear()
            return True
        self.strangers += 1
        self.stranger = source
        return False

    def may_be_peer(self, host: str) -> bool:
        """Whether RTCP from this IP concerns the stream while nothing is latched."""
        return host in self._hosts or (self.agreed is not None and host == self.agreed[0])

    def lost(self, address: Address) -> None:
        """The latched source ``address`` fell silent; others may prove themselves now."""
        self.previous = address
        self._candidates.clear()

    def _passes_probation(self, source: Address, ssrc: int, sequence: int) -> bool:
        candidate = self._candidates.get(source)
        if candidate is None:
            if len(self._candidates) >= _MAX_CANDIDATES:
                # The oldest goes, or four silent ports would keep the peer out for ever.
                del self._candidates[next(iter(self._candidates))]
            self._candidates[source] = _Candidate(ssrc, sequence, 1)
            return False
        rises = 0 < (sequence - candidate.sequence) & 0xFFFF < 0x8000
        if ssrc == candidate.ssrc and rises:
            candidate.packets += 1
        else:
            candidate.ssrc = ssrc
            candidate.packets = 1
        candidate.sequence = sequence
        return candidate.packets >= PROBATION


class EarlySource:
    """Media before the agreement: one source at ``host`` is played, nothing is latched.

    The first source heard stays the one until it was silent for `RELEARN`.
    """

    strangers = 0
    stranger: Address | None = None
    """The last of them."""
    _source: Address | None = None
    _heard_at = 0

    def __init__(self, host: str) -> None:
        self.host = host

    def admits(self, source: Address, now: int) -> bool:
        """Whether a packet from ``source`` is played."""
        if source[0] != self.host:
            return self._turn_away(source)
        if source != self._source:
            if self._source is not None and now - self._heard_at < RELEARN:
                return self._turn_away(source)
            self._source = source
        self._heard_at = now
        return True

    def _turn_away(self, source: Address) -> bool:
        self.strangers += 1
        self.stranger = source
        return False
