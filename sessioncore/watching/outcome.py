"""Did a call have audio both ways?  Judged from its events and counters, for one and for many.

A call had audio both ways when it reached Active and, in each direction its agreements
allowed, at least 95 % of the packets that the time allows for were sent and received.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen
from zope.interface import implementer

from sessioncore.events import (
    CallEnded,
    CallFailed,
    Event,
    MediaActive,
    MediaNegotiated,
)
from sessioncore.interfaces import IEventObserver
from sessioncore.vocabulary import MILLISECOND, SECOND, MediaState, SessionRole, StreamAgreement
from sessioncore.watching.event_log import shown

if TYPE_CHECKING:
    from sessioncore.session.call import Call

__all__ = ["CallLedger", "CallSummary", "Outcome", "RunEnded"]

SHARE: Final = 0.95
"""The share of the expected packets that has to be there in each allowed direction."""
_NO_PACKETS: Final = (0, 0, 0, None)
_OVER: Final = (CallEnded, CallFailed)


@frozen(slots=False)
class CallSummary(Event):
    """The result of a call; follows `CallEnded` or `CallFailed` in the logs of the commands.

    Calls that were refused without asking the application have none.
    ``duration`` is in seconds of agreed media.  The expected packets are what the agreements
    allowed in that time, by their direction and ptime.  ``problem`` says what is known about
    why too little was heard, or is None.
    """

    remote_uri: str
    answered: bool
    audio_both_ways: bool
    duration: float
    packets_sent: int
    packets_to_send: int
    packets_received: int
    packets_to_receive: int
    packets_lost: int
    jitter_ms: float | None
    problem: str | None
    reason: str


@frozen(slots=False)
class RunEnded(Event):
    """All calls of one run are over; the last record of its event file."""

    calls: int
    audio_both_ways: int
    failed: int


@define
class Outcome:
    """The sum over the calls of one run; ``why`` says what was wrong with the first that failed."""

    calls: int = 0
    audio_both_ways: int = 0
    why: str | None = field(default=None, eq=False)

    @property
    def failed(self) -> int:
        """Calls that did not have audio both ways, answered or not."""
        return self.calls - self.audio_both_ways

    @property
    def good(self) -> bool:
        """Whether there were calls and all had audio both ways."""
        return self.calls > 0 and not self.failed

    def __str__(self) -> str:
        calls = "1 call" if self.calls == 1 else f"{self.calls} calls"
        return (
            f"sessioncore: {calls}, {self.audio_both_ways} with audio both ways,"
            f" {self.failed} failed{self._why}"
        )

    @property
    def _why(self) -> str:
        if not self.failed or self.why is None:
            return ""
        return f"{': ' if self.calls == 1 else ', the first: '}{shown(self.why)}"

    def failed_with(self, why: str) -> None:
        """Remember ``why`` a call failed, if it is the first."""
        self.why = self.why or why

    def as_event(self, role: SessionRole, at: int) -> RunEnded:
        """The same as the last record of an event file."""
        return RunEnded(
            "", "", role, MediaState.IDLE, at, self.calls, self.audio_both_ways, self.failed
        )


class _Account:
    """What was agreed and seen of one call so far; times in ns."""

    active = False
    audio: StreamAgreement
    since: int | None = None
    """Since when the media of ``audio`` flows."""
    lasted = 0
    to_send = 0.0
    to_receive = 0.0

    def __init__(self, call: Call) -> None:
        self.call = call

    def settle(self, now: int) -> None:
        """Add the time since the last agreement to what is expected."""
        if self.since is None:
            return
        audio, lasted = self.audio, now - self.since
        packets = lasted / (audio.ptime * MILLISECOND)
        self.lasted += lasted
        if audio.sends:
            self.to_send += packets
        if audio.receives:
            self.to_receive += packets
        self.since = None


@implementer(IEventObserver)
class CallLedger:
    """Keeps an account of each watched call, and makes its summary when the call is over."""

    kinds: Final = (MediaNegotiated, MediaActive, *_OVER)
    """The events it needs."""

    def __init__(self, done: Callable[[CallSummary], None]) -> None:
        self.outcome = Outcome()
        self._done = done
        self._accounts: dict[str, _Account] = {}

    def watch(self, call: Call) -> None:
        """Keep an account of ``call`` from now on."""
        self._accounts[call.session] = _Account(call)

    def hanging_up(self, session: str, now: int) -> None:
        """Expect no more media: this side is about to end the call."""
        account = self._accounts.get(session)
        if account is not None:
            account.settle(now)

    def never_placed(self, why: str) -> None:
        """Count a call that could not even be prepared."""
        self.outcome.calls += 1
        self.outcome.failed_with(why)

    def event(self, event: Any) -> None:
        """Take one event of any call, of these kinds or others."""
        kind = event.__class__
        account = self._accounts.get(event.session)
        if account is None:
            return
        if kind is MediaNegotiated:
            account.settle(event.at)
            # Its flow is established in the same turn.
            account.audio, account.since = event.media.audio, event.at
        elif kind is MediaActive:
            account.active = True
        elif kind in _OVER:
            self._close(account, event)

    def _close(self, account: _Account, event: CallEnded | CallFailed) -> None:
        del self._accounts[event.session]
        account.settle(event.at)
        summary = _summary(account, event)
        self.outcome.calls += 1
        self.outcome.audio_both_ways += summary.audio_both_ways
        if not summary.audio_both_ways:
            self.outcome.failed_with(_why_failed(summary))
        self._done(summary)


def _why_failed(summary: CallSummary) -> str:
    if not summary.answered:
        return summary.reason
    return f"answered, NO audio both ways: {summary.problem or summary.reason}"


def _summary(account: _Account, event: CallEnded | CallFailed) -> CallSummary:
    call, answered = account.call, event.__class__ is CallEnded
    sent, received, lost, jitter = call.packet_counts or _NO_PACKETS
    to_send, to_receive = account.to_send, account.to_receive
    heard = received >= floor(SHARE * to_receive)
    enough = heard and sent >= floor(SHARE * to_send)
    # By position: so many names would cost as much again.
    return CallSummary(
        event.session,
        event.call_id,
        event.role,
        event.media_state,
        event.at,
        call.remote_uri,
        answered,
        answered and account.active and enough,
        round(account.lasted / SECOND, 3),
        sent,
        round(to_send),
        received,
        round(to_receive),
        lost,
        None if jitter is None else round(jitter, 3),
        None if heard else call.why_too_little(round(to_receive)),
        str(event.reason),
    )
