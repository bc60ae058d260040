"""Did a call have audio both ways?  Its verdict says it, for one call and for many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen
from zope.interface import implementer

from sessioncore.events import CallEnded, CallFailed, Event
from sessioncore.interfaces import IEventObserver
from sessioncore.verdict import SHARE, Verdict
from sessioncore.vocabulary import EndedBy, MediaState, SessionRole
from sessioncore.watching.event_log import shown

if TYPE_CHECKING:
    from sessioncore.session.call import Call

__all__ = ["CallLedger", "CallSummary", "Outcome", "Requirements", "RunEnded"]

_IN_TIME: Final = 0.5
"""Seconds by which a peer may hang up earlier than planned."""


@frozen(slots=False)
class CallSummary(Event):
    """The result of a call; follows `CallEnded` or `CallFailed` in the logs of the commands.

    Calls that were refused without asking the application have none.
    ``duration`` is in seconds of agreed media, ``judgement`` the verdict in one word,
    ``receiving`` and ``sending`` what is known about each direction.  ``packets_due`` is how many
    the peer sent, by their sequence numbers or its own count; ``packets_confirmed`` how many of
    ours it reports as received, or None if it does not report.  ``problem`` says why the call
    failed, or is None; ``cause`` names the most likely cause, and ``remedy`` says what to do.
    """

    remote_uri: str
    answered: bool
    audio_both_ways: bool
    duration: float
    judgement: str
    receiving: str
    sending: str
    packets_sent: int
    packets_confirmed: int | None
    packets_received: int
    packets_due: int
    packets_lost: int
    jitter_ms: float | None
    cause: str | None
    problem: str | None
    remedy: str | None
    reason: str


@frozen
class Requirements:
    """What the calls of a run must have: ``least`` is the share of packets (0 to 1).

    With ``proof`` the peer has to report that it receives our packets.  ``duration`` is how long
    in seconds each call should last; None leaves its end to the peer.
    """

    least: float = SHARE
    proof: bool = False
    duration: float | None = None

    def fault(self, verdict: Verdict, event: CallEnded | CallFailed) -> str | None:
        """Why the call failed, or None."""
        if event.__class__ is CallFailed:
            return str(event.reason)
        lasted = verdict.evidence.agreed_for or 0.0
        if (
            self.duration is not None
            and event.reason.by is EndedBy.REMOTE
            and lasted < self.duration - _IN_TIME
        ):
            return f"the peer hung up after {lasted:.1f} of {self.duration:.1f} s"
        if not verdict.both_ways:
            return f"answered, NO audio both ways: {verdict.judgement}, {_why(verdict)}"
        if self.proof and not verdict.proven:
            return f"not proven: sending {verdict.sending}"
        for way, finding in (("receiving", verdict.receiving), ("sending", verdict.sending)):
            if finding.share is not None and finding.share < self.least:
                least = f"{100 * self.least:g} %"
                return f"{way}: {finding.text}, and at least {least} are required"
        return None


def _why(verdict: Verdict) -> str:
    if verdict.causes:
        return verdict.causes[0].text
    finding = verdict.receiving if verdict.sending.proof.value == "proven" else verdict.sending
    return finding.text


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


@implementer(IEventObserver)
class CallLedger:
    """Makes the summary of each watched call when it is over, and adds them up."""

    kinds: Final = (CallEnded, CallFailed)
    """The events it needs."""

    def __init__(
        self, done: Callable[[CallSummary], None], requirements: Requirements = Requirements()
    ) -> None:
        self.outcome = Outcome()
        self._done = done
        self._requirements = requirements
        self._calls: dict[str, Call] = {}

    def watch(self, call: Call) -> None:
        """Summarise ``call`` at its end."""
        self._calls[call.session] = call

    def never_placed(self, why: str) -> None:
        """Count a call that could not even be prepared."""
        self.outcome.calls += 1
        self.outcome.failed_with(why)

    def event(self, event: Any) -> None:
        """Take one event of any call, of these kinds or others."""
        if event.__class__ not in self.kinds:
            return
        call = self._calls.pop(event.session, None)
        if call is None:
            return
        verdict = call.verdict
        fault = self._requirements.fault(verdict, event)
        self.outcome.calls += 1
        if fault is None:
            self.outcome.audio_both_ways += 1
        else:
            self.outcome.failed_with(fault)
        self._done(_summary(call, event, verdict, fault))


def _summary(
    call: Call, event: CallEnded | CallFailed, verdict: Verdict, fault: str | None
) -> CallSummary:
    evidence, cause = verdict.evidence, verdict.cause
    due, came = evidence.due
    confirmed = None
    if evidence.confirmed or evidence.reports_without_us:
        confirmed = max(0, evidence.confirmed - max(0, evidence.remote_lost))
    # By position: so many names would cost as much again.
    return CallSummary(
        event.session,
        event.call_id,
        event.role,
        event.media_state,
        event.at,
        call.remote_uri,
        event.__class__ is CallEnded,
        fault is None,
        evidence.agreed_for or 0.0,
        verdict.judgement._value_,
        verdict.receiving.proof._value_,
        verdict.sending.proof._value_,
        evidence.sent,
        confirmed,
        evidence.received,
        due,
        max(0, due - came),
        None if evidence.jitter is None else round(1000 * evidence.jitter, 3),
        None if cause is None else cause.name,
        fault,
        None if fault is None or cause is None else cause.remedy,
        str(event.reason),
    )
