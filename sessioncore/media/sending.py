"""`Sending`: whether one row sends, where to, and within which limits."""

from __future__ import annotations

from typing import Final, Protocol

from sessioncore.media.bank import FOREVER, NEVER, Bank
from sessioncore.media.latch import RELEARN
from sessioncore.media.limits import FOREIGN, Limits
from sessioncore.media.playout import Playout
from sessioncore.vocabulary import SECOND, Address, host_port

__all__ = ["OVER", "Sending"]

OVER: Final = "the stream is closed"
_REFUSED_PAUSE: Final = 5 * SECOND
_LONGEST_PAUSE: Final = 320 * SECOND


class _Plane(Protocol):
    bank: Bank
    playout: Playout
    limits: Limits


class Sending:
    """What leaves for the peer of ``row``, from agreement to agreement.

    It sends while that is `wanted` and `allowed`, as fast as `sessioncore.media.limits` lets it.
    """

    remote: Address | None = None
    """Where RTP is sent to."""
    since: int | None = None
    """When it began to send to this address (ns)."""
    allowed = False
    """Whether the agreement lets us send."""
    refused = 0
    """ICMP errors."""
    refusing = False
    """Whether ICMP is all that comes from where we send to."""
    wanted = False
    """Whether `start` was called last, not `stop`."""
    over = False
    """Whether the stream has ended."""
    heard = False
    """Whether RTP or RTCP came from where we send to."""
    _proven = False
    """Whether somebody at the signalling address answered."""
    _signalling_host = ""
    _refused_at = NEVER
    _refused_pause = 0

    def __init__(self, plane: _Plane, row: int) -> None:
        self._plane = plane
        self._cells = plane.bank.cells
        self._row = row

    @property
    def transmitting(self) -> bool:
        """Whether RTP is being sent (held back or not by the rules for unproven paths)."""
        return not self.over and self._cells.transmitting[self._row] is True

    def move(self, remote: Address | None, signalling_host: str) -> None:
        """Another address, which has limits of its own; nobody has proven the path there."""
        if self.heard:
            self.note_heard()
            self.heard = False
        self._proven = self.refusing = False
        self.since = None
        self.remote, self._signalling_host = remote, signalling_host

    def redirect(self, address: Address, now: int) -> None:
        """Send to ``address`` from now on, although it is not that of the agreement.

        The limits begin again for another address, unless somebody has proven the path.
        """
        proven, heard, since = self._proven, self.heard, self.since
        same = address == self.remote
        self.move(address, self._signalling_host)
        self._proven = proven
        if same:
            self.heard, self.since = heard, since
        elif self.wanted:
            self.since = now
            self._allow(self._full_until(now))
        self.apply()

    def start(self, now: int, proven: bool) -> None:
        """Send as the agreement allows, within `sessioncore.media.limits`.

        ``proven``: somebody at the signalling address has answered.
        """
        if self.over:
            raise RuntimeError(OVER)
        self.wanted = True
        if self.since is None:
            if proven:
                self._proven = True
            self.since = now
            self._allow(self._full_until(now))
        elif proven and not self._proven:
            self.prove_path(now)
        self.apply()

    def stop(self) -> None:
        """Send no more RTP; RTCP goes on."""
        self.wanted = False
        if not self.over:
            self._cells.transmitting[self._row] = False
            self._plane.playout.changed(self._row)

    def apply(self) -> None:
        """Something changed that decides whether it sends."""
        cells, row = self._cells, self._row
        sends = self.wanted and self.allowed and self.remote is not None
        cells.first_send_pending[row] = sends
        cells.marker[row] = sends and not cells.transmitting[row]
        cells.transmitting[row] = sends
        self._plane.playout.changed(row)

    def prove_path(self, now: int) -> None:
        """Somebody at the signalling address answered (ACK): lift or widen the limits."""
        self._proven = True
        cells, row = self._cells, self._row
        if not self.over and cells.unproven[row]:
            cells.full_until[row], cells.next_at[row] = self._full_until(now), NEVER
            self._plane.playout.changed(row)

    def hear(self) -> None:
        """RTP or RTCP came from where we send to: lift the limits."""
        self.heard, self.refusing = True, False
        self.note_heard()
        self._allow(FOREVER)
        self._plane.playout.changed(self._row)

    def note_heard(self) -> None:
        """Media came from where we send to, which counts for other streams to that IP as well."""
        if self.remote is not None:
            self._plane.limits.heard(self.remote[0], self._plane.bank.last_heard(self._row))

    def _full_until(self, now: int) -> int:
        """When the full rate ends for this address, as far as the path is proven."""
        remote = self.remote
        if self.heard or remote is None:
            return FOREVER
        if self._proven:
            return FOREVER if remote[0] == self._signalling_host else now + FOREIGN
        return self._plane.limits.begin(remote[0], now)

    def _allow(self, full_until: int, next_at: int = NEVER) -> None:
        """Full rate until then, and for ever after the first packet of the peer."""
        cells, row = self._cells, self._row
        cells.full_until[row] = full_until
        cells.next_at[row] = next_at
        cells.unproven[row] = not self.heard
        if not self.heard:
            cells.attention[row] = True

    def note_refused(self, text: str, now: int) -> bool:
        """Count an ICMP port unreachable; whether it is time to report it again.

        From the address we send to, it stops RTP until something comes, or the path is proven.
        """
        self.refused += 1
        heard_at = self._plane.bank.last_heard(self._row)
        if self._is_stopped_by(text, now - heard_at):
            self._plane.limits.statistics.streams_stopped += 1
            self.refusing = True
            if self.heard:
                self.note_heard()
                self.heard = False
            self._allow(NEVER, FOREVER)
            self._plane.playout.changed(self._row)
        if now - self._refused_at < self._refused_pause:
            return False
        # Repeated for hours it says nothing new; once media has come, it does.
        fresh = heard_at > self._refused_at
        self._refused_pause = (
            _REFUSED_PAUSE if fresh else min(2 * self._refused_pause, _LONGEST_PAUSE)
        )
        self._refused_at = now
        return True

    def _is_stopped_by(self, text: str, quiet: int) -> bool:
        """Whether an ICMP error of ``text`` stops it; nothing was heard for ``quiet`` ns."""
        remote = self.remote
        return (
            remote is not None
            and text == host_port(*remote)
            and self._cells.next_at[self._row] != FOREVER
            and not (self.heard and quiet < RELEARN)
        )
