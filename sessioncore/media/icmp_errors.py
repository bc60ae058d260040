"""`IcmpErrors`: what ICMP says of the address that one row sends to."""

from __future__ import annotations

from typing import Final

from sessioncore.media.bank import NEVER
from sessioncore.media.listening import QUIET
from sessioncore.vocabulary import SECOND

__all__ = ["IcmpErrors"]

_LASTING: Final = 1 * SECOND
"""So long ICMP has to come again and again before nobody listens there."""
_PAUSE: Final = 5 * SECOND
_LONGEST_PAUSE: Final = 320 * SECOND


class IcmpErrors:
    """The ICMP errors (port unreachable) of one row and address; made with the first."""

    _at = NEVER
    """When the last one came from where we send to."""
    _since = NEVER
    """When that began; a pause of `QUIET` ends it."""
    _reported_at = NEVER
    _pause = 0

    def note(self, now: int) -> None:
        """One came from where we send to."""
        if now - self._at >= QUIET:
            self._since = now
        self._at = now

    def lasts(self, now: int, confirmed_at: int | None) -> bool:
        """Whether nobody has listened there for a while, and no report said otherwise since.

        A port that is opened a little late answers in this way too, but not for a second.
        """
        return (
            self._at - self._since >= _LASTING
            and now - self._at < QUIET
            and (confirmed_at is None or confirmed_at < self._at)
        )

    def is_news(self, now: int, heard_at: int) -> bool:
        """One came; whether it is time to report that again.

        ``heard_at`` is when media last came (ns).
        """
        if now - self._reported_at < self._pause:
            return False
        # Repeated for hours it says nothing new; once media has come, it does.
        fresh = heard_at > self._reported_at
        self._pause = _PAUSE if fresh else min(2 * self._pause, _LONGEST_PAUSE)
        self._reported_at = now
        return True
