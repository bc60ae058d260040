"""A 2xx to an INVITE that waits for its ACK (RFC 3261 section 13.3.1.4).

The transaction layer is done with the INVITE once a 2xx leaves; repeating the 2xx until the
ACK arrives is the session's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from sessioncore.deadlines import Deadlines
from sessioncore.vocabulary import MILLISECOND, SECOND

__all__ = ["T1", "T2", "UnacknowledgedSuccess"]

T1: Final = 500 * MILLISECOND
T2: Final = 4 * SECOND


class _Answered(Protocol):
    """The INVITE transaction that the 2xx answered."""

    def resend(self, now: int) -> None: ...


class UnacknowledgedSuccess:
    """Repeats a 2xx at T1, 2*T1, ... up to every T2 and gives up after 64*T1."""

    __slots__ = (
        "_answered",
        "_deadline",
        "_deadlines",
        "_gives_up",
        "_interval",
        "_missing",
        "cseq",
    )

    def __init__(
        self,
        answered: _Answered,
        cseq: int,
        deadlines: Deadlines,
        missing: Callable[[int], None],
        now: int,
    ) -> None:
        self.cseq = cseq
        self._answered = answered
        self._deadlines = deadlines
        self._missing = missing
        self._interval = T1
        self._gives_up = now + 64 * T1
        self._deadline = deadlines.at(now + T1, self._due)

    def acknowledged(self) -> None:
        """The ACK came, or the dialog ended without it."""
        self._deadline.cancel()

    def _due(self, _: object, now: int) -> None:
        if now >= self._gives_up:
            self._missing(now)
            return
        self._answered.resend(now)
        self._interval = min(2 * self._interval, T2)
        self._deadline = self._deadlines.at(min(now + self._interval, self._gives_up), self._due)
