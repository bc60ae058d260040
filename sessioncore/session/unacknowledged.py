"""A 2xx to an INVITE that waits for its ACK (RFC 3261 section 13.3.1.4).

The transaction layer is done with the INVITE once a 2xx is sent.  The session repeats the 2xx
until the ACK arrives.
"""

from __future__ import annotations

from typing import Final

from sessioncore.sip.steps import GIVE_UP, T1, T2
from sessioncore.sip.transaction import ServerTransaction

__all__ = ["UnacknowledgedSuccess"]


class UnacknowledgedSuccess:
    """A 2xx that is repeated at T1, 2*T1, ... up to every T2, until 64*T1 have passed.

    ``session`` is the name of its leg.  If places for calls are short, the wait ends at
    ``hurries`` (ns) already, when the 2xx has been sent five times.
    """

    __slots__ = ("_answered", "_interval", "cseq", "gives_up", "session")

    def __init__(self, session: str, answered: ServerTransaction, now: int) -> None:
        self.session: Final = session
        self.cseq: Final = answered.request.cseq.number
        self.gives_up: Final = now + GIVE_UP
        self._answered: ServerTransaction | None = answered
        self._interval = T1

    @property
    def hurries(self) -> int:
        """16*T1 after the 2xx."""
        return self.gives_up - GIVE_UP + 16 * T1

    @property
    def waiting(self) -> bool:
        """Whether the ACK has not come and the dialog has not ended."""
        return self._answered is not None

    def acknowledged(self) -> None:
        """Drop the references: the timer of the next repeat may keep this object for a while."""
        self._answered = None

    def repeat(self, now: int) -> int:
        """Send the 2xx again; returns the time (ns) of the next repeat or of the timeout."""
        if self._answered is not None:
            self._answered.resend(now)
        self._interval = min(2 * self._interval, T2)
        return min(now + self._interval, self.gives_up)
