"""`Peer`: from which source one row takes RTP and RTCP, from agreement to agreement."""

from __future__ import annotations

from sessioncore.media.latch import EarlySource, Latch
from sessioncore.vocabulary import Address

__all__ = ["Peer"]


class Peer:
    """The sources of one row: the one that is heard, and those that may take its place.

    It judges; `sessioncore.media.stream.Stream` acts on that.
    """

    latched: Address | None = None
    """The one source that is heard, and where we send to."""
    latched_at: int | None = None
    """When a source was last chosen (ns)."""
    rtcp_source: Address | None = None
    """Where its RTCP last came from."""
    early: EarlySource | None = None
    """What is heard while there is no agreement; afterwards only its strangers count."""
    _rules: tuple[Address | None, str, bool | None] | None = None
    """What its latch is made with."""
    _agreed: tuple[Address | None, str, bool | None] | None = None
    """The rules of the last agreement that named an address."""
    _made_latch: Latch | None = None
    _strangers = 0
    _stranger: Address | None = None

    @property
    def strangers(self) -> int:
        """Packets of all sources that may not be heard."""
        count = self._strangers
        if self._made_latch is not None:
            count += self._made_latch.strangers
        if self.early is not None:
            count += self.early.strangers
        return count

    @property
    def stranger(self) -> Address | None:
        """The last source that could not be heard."""
        latch, early = self._made_latch, self.early
        return (latch and latch.stranger) or self._stranger or (early and early.stranger)

    @property
    def described(self) -> Address | None:
        """The address that is heard at once: that of the agreement, or of `redirect`."""
        return None if self._rules is None else self._rules[0]

    @property
    def _latch(self) -> Latch | None:
        """The rules of the agreement; made when the first packet comes."""
        if self._made_latch is None and self._rules is not None:
            self._made_latch = Latch(*self._rules)
        return self._made_latch

    def agree(self, remote: Address | None, signalling_host: str, nat: bool | None) -> bool:
        """Take the address of an agreement; whether the peer is elsewhere than before.

        Then other rules say who may be heard.  The arguments are those of `Latch`.
        """
        rules = remote, signalling_host, nat
        if self._rules is not None and (remote is None or rules == self._agreed):
            return False
        if self._made_latch is not None:
            self._end_rules()
        self._rules = self._agreed = rules
        return True

    def redirect(self, address: Address) -> None:
        """The peer is at ``address``, and nowhere else."""
        self._end_rules()
        self._rules = address, "", False

    def _end_rules(self) -> None:
        latch, self._made_latch = self._made_latch, None
        if latch is not None:
            self._strangers += latch.strangers
            self._stranger = latch.stranger or self._stranger

    def admits(self, source: Address, ssrc: int, sequence: int, now: int) -> bool:
        """Whether RTP of ``source`` is heard."""
        if self.latched is not None:
            # Queued before the latch closed.
            return source == self.latched or self.turn_away(source)
        latch = self._latch
        if latch is not None:
            return latch.admits(source, ssrc, sequence)
        if self.early is not None:
            return self.early.admits(source, now)
        return self.turn_away(source)

    @property
    def latches(self) -> bool:
        """Whether a source that it `admits` becomes the latched one."""
        return self.latched is None and self._made_latch is not None

    def may_report(self, host: str, remote: Address | None) -> bool:
        """Whether RTCP from ``host`` concerns the row, which sends to ``remote``."""
        latch = self._latch
        if self.latched is not None or latch is None:
            return remote is not None and host == remote[0]
        return latch.may_be_peer(host)

    def turn_away(self, source: Address) -> bool:
        """Count a packet of a source that may not be heard."""
        self._strangers += 1
        self._stranger = source
        return False

    def latch(self, source: Address, now: int) -> bool:
        """``source`` is heard from now on; whether that is news: the last one may come back."""
        self.latched, self.latched_at = source, now
        return self._made_latch is None or self._made_latch.previous != source

    def lost(self) -> None:
        """The latched source fell silent: others may prove themselves, it may come back."""
        if self.latched is not None and self._latch is not None:
            self._latch.lost(self.latched)
