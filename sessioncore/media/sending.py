"""`Sending`: whether one row sends, where to, and within which limits."""

from __future__ import annotations

from typing import Final, Protocol

from sessioncore.media.bank import FOREVER, NEVER, Bank
from sessioncore.media.icmp_errors import IcmpErrors
from sessioncore.media.latch import RELEARN
from sessioncore.media.limits import FOREIGN, Limits
from sessioncore.media.playout import Playout
from sessioncore.vocabulary import Address, host_port

__all__ = ["OVER", "Sending"]

OVER: Final = "the stream is closed"


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
    """ICMP errors (port unreachable) that came, for former addresses too."""
    wanted = False
    """Whether `start` was called last, not `stop`."""
    over = False
    """Whether the stream has ended."""
    heard = False
    """Whether RTP or RTCP came from where we send to."""
    _proven = False
    """Whether somebody at the signalling address answered."""
    _signalling_host = ""
    _stopped = False
    """Whether it stopped because of ICMP."""
    _icmp: IcmpErrors | None = None

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
        self.heard = self._proven = self._stopped = False
        self.since = self._icmp = None
        self.remote, self._signalling_host = remote, signalling_host

    def redirect(self, address: Address, now: int) -> None:
        """Send to ``address`` from now on, although it is not that of the agreement.

        The limits begin again for another address, unless somebody has proven the path.
        """
        proven, heard, since = self._proven, self.heard, self.since
        same = address == self.remote
        self.move(address, self._signalling_host)
        if same:
            self._proven, self.heard, self.since = proven, heard, since
        if self.wanted:
            self.start(now, proven)
        else:
            self._proven = proven
            self.apply()

    def start(self, now: int, proven: bool) -> None:
        """Send as the agreement allows, within `sessioncore.media.limits`.

        ``proven``: somebody at the signalling address has answered.
        """
        if self.over:
            raise RuntimeError(OVER)
        self.wanted = True
        if self.since is None:
            self.since = now
            if proven:
                self._proven = True
            # The first packet of the peer lifts the limits.
            cells, row = self._cells, self._row
            cells.unproven[row] = cells.attention[row] = True
            self._limit(now)
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
        if not self.over and self._cells.unproven[self._row]:
            self._stopped = False
            self._limit(now)
            self._plane.playout.changed(self._row)

    def hear(self) -> None:
        """RTP or RTCP came from where we send to: lift the limits."""
        self.heard, self._stopped = True, False
        self.note_heard()
        cells, row = self._cells, self._row
        cells.full_until[row], cells.next_at[row], cells.unproven[row] = FOREVER, NEVER, False
        self._plane.playout.changed(row)

    def note_heard(self) -> None:
        """Media came from where we send to, which counts for other streams to that IP as well."""
        if self.remote is not None:
            self._plane.limits.heard(self.remote[0], self._plane.bank.last_heard(self._row))

    def _limit(self, now: int) -> None:
        """Begin the allowance for this address, as far as the path is proven."""
        cells, row, remote = self._cells, self._row, self.remote
        if remote is None:
            full_until = FOREVER
        elif self._proven:
            full_until = FOREVER if remote[0] == self._signalling_host else now + FOREIGN
        else:
            full_until = self._plane.limits.begin(remote[0], now)
        cells.full_until[row], cells.next_at[row] = full_until, NEVER

    def is_refused(self, now: int, confirmed_at: int | None) -> bool:
        """Whether nobody receives what we send, by ICMP.

        A report of the peer about our packets ends it; the last one came at ``confirmed_at``.
        """
        if self._stopped:
            return True
        return self._icmp is not None and self._icmp.lasts(now, confirmed_at)

    def note_refused(self, text: str, now: int) -> bool:
        """Count an ICMP port unreachable; whether it is time to report it again.

        From the address we send to, it stops RTP until something comes, or the path is proven.
        """
        self.refused += 1
        if self._icmp is None:
            self._icmp = IcmpErrors()
        heard_at = self._plane.bank.last_heard(self._row)
        if self.remote is not None and text == host_port(*self.remote):
            self._icmp.note(now)
            listens = self.heard and now - heard_at < RELEARN
            if not listens and self._cells.next_at[self._row] != FOREVER:
                self._stop_for_icmp()
        return self._icmp.is_news(now, heard_at)

    def _stop_for_icmp(self) -> None:
        self._plane.limits.statistics.streams_stopped += 1
        self._stopped = True
        if self.heard:
            self.note_heard()
            self.heard = False
        cells, row = self._cells, self._row
        cells.full_until[row], cells.next_at[row] = NEVER, FOREVER
        cells.unproven[row] = cells.attention[row] = True
        self._plane.playout.changed(row)
