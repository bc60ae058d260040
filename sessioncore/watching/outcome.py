"""Did a call have what was required of it?  Its verdict says it, and what was heard in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen
from zope.interface import implementer

from sessioncore.events import CallEnded, CallFailed, Event
from sessioncore.interfaces import IEventObserver
from sessioncore.media.hearing import Heard, Listener
from sessioncore.verdict import SHARE, Judgement, Proof, Verdict
from sessioncore.vocabulary import EndedBy, EndReason, MediaState, SessionRole
from sessioncore.watching.event_log import shown

if TYPE_CHECKING:
    from sessioncore.session.call import Call

__all__ = ["CallLedger", "CallSummary", "Fault", "Outcome", "Requirements", "RunEnded"]

STARVED: Final = "own-process-stalled"
"""The cause that blames this process (`sessioncore.verdict.CAUSES`)."""
_PEER_DECIDES: Final = "If the peer decides how long calls last, write --duration 0."
_NO_REPORTS: Final = "Leave out --require-proof if the peer sends no RTCP."
_IN_TIME: Final = 0.5
"""Seconds by which a peer may hang up earlier than planned."""


@frozen(slots=False)
class CallSummary(Event):
    """The result of a call; follows `CallEnded` or `CallFailed` in the logs of the commands.

    Calls that were refused without asking the application have none.
    ``passed`` is whether the call had what was required: audio both ways for its time, or what it
    was expected to hear.  ``duration`` is in seconds of agreed media, ``judgement`` the verdict
    in one word, ``receiving`` and ``sending`` what is known about each direction.
    ``packets_due`` is how many the peer sent, by their sequence numbers or its own count;
    ``packets_confirmed`` how many of our packets it reports as received, or None if it does not
    report.  ``heard`` says what was heard where something was ``expected``.  ``problem`` says why
    the call failed, or is None; ``cause`` names the most likely cause, and ``remedy`` says what
    to do.
    """

    remote_uri: str
    answered: bool
    passed: bool
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
    expected: str | None
    heard: str | None
    cause: str | None
    problem: str | None
    remedy: str | None
    reason: str


@frozen
class Fault:
    """Why a call failed, and what to do about it where that is known."""

    text: str
    remedy: str | None = None


@frozen
class Requirements:
    """What the calls of a run must have: ``least`` is the share of packets (0 to 1).

    With ``proof`` the peer has to report that it receives our packets.  ``duration`` is how long
    in seconds each call should last; None leaves its end to the peer.
    """

    least: float = SHARE
    proof: bool = False
    duration: float | None = None

    def fault(
        self, verdict: Verdict, event: CallEnded | CallFailed, heard: Heard | None = None
    ) -> Fault | None:
        """Why the call failed, or None.

        With ``heard`` it need not have audio both ways, only what it was expected to hear.
        """
        if event.__class__ is CallFailed:
            return Fault(str(event.reason))
        return self._starved(
            verdict,
            self._ended_early(verdict, event.reason)
            or (_not_both_ways(verdict) if heard is None else _not_expected(verdict, heard))
            or self._too_little(verdict),
        )

    def _ended_early(self, verdict: Verdict, reason: EndReason) -> Fault | None:
        lasted = verdict.evidence.agreed_for or 0.0
        if self.duration is None or lasted >= self.duration - _IN_TIME:
            return None
        time = f"after {lasted:.1f} of {self.duration:.1f} s"
        if reason.by is EndedBy.REMOTE:
            return Fault(f"the peer hung up {time}", _PEER_DECIDES)
        return Fault(f"the call ended {time}: {reason}")

    def _too_little(self, verdict: Verdict) -> Fault | None:
        if self.proof and verdict.sending.proof is Proof.UNCONFIRMED:
            return Fault(f"not proven: sending {verdict.sending}", _NO_REPORTS)
        for way, finding in (("receiving", verdict.receiving), ("sending", verdict.sending)):
            if finding.share is not None and finding.share < self.least:
                least = f"{100 * self.least:g} %"
                return Fault(f"{way}: {finding.text}, and at least {least} are required")
        return None

    def _starved(self, verdict: Verdict, fault: Fault | None) -> Fault | None:
        """``fault``, with the blame on this process if it did not get to run.

        Without a fault this is one if it was so for longer than packets may be missing.
        """
        evidence = verdict.evidence
        lasted = evidence.agreed_for or 0.0
        remedies = [cause.remedy for cause in verdict.causes if cause.name == STARVED]
        if not remedies or (fault is None and evidence.stalled_for <= (1 - self.least) * lasted):
            return fault
        text = (
            f"this process was starved: it did not run for {evidence.stalled_for:.1f} of"
            f" {lasted:.1f} s, and is itself to blame"
        )
        return Fault(text if fault is None else f"{text}; {fault.text}", remedies[0])


def _not_both_ways(verdict: Verdict) -> Fault | None:
    if verdict.both_ways:
        return None
    text = f"answered, NO audio both ways: {verdict.judgement}, {_why(verdict)}"
    return Fault(text, verdict.remedy)


def _not_expected(verdict: Verdict, heard: Heard) -> Fault | None:
    """Why a call that was to hear something failed: that it did not, or a direction that did."""
    found = [] if heard.as_expected else [f"NOT heard as expected: {heard}"]
    if verdict.faulty:
        found.append(f"{verdict.judgement}, {_why(verdict)}")
    return Fault("; ".join(found), verdict.remedy if verdict.faulty else None) if found else None


def _why(verdict: Verdict) -> str:
    cause = verdict.cause
    if cause is not None and cause.name != STARVED:  # which is said already
        return cause.text
    finding = verdict.receiving if verdict.sending.proof is Proof.PROVEN else verdict.sending
    return finding.text


@frozen(slots=False)
class RunEnded(Event):
    """All calls of one run are over; the last record of its event file."""

    calls: int
    passed: int
    unconfirmed: int
    failed: int


@define
class Outcome:
    """The sum over the calls of one run; ``why`` says what was wrong with the first that failed.

    ``passed`` had what was required, ``unconfirmed`` of them without a report of the peer on our
    audio.  ``wanted`` names what was required.  ``not_placed`` were planned, but the run was
    stopped; ``unwritten`` says which report of the run could not be written.
    """

    calls: int = 0
    passed: int = 0
    unconfirmed: int = field(default=0, kw_only=True)
    wanted: str = field(default="with audio both ways", eq=False, kw_only=True)
    not_placed: int = field(default=0, kw_only=True)
    why: str | None = field(default=None, eq=False, kw_only=True)
    unwritten: str | None = field(default=None, eq=False, kw_only=True)

    @property
    def failed(self) -> int:
        """Calls that did not have what was required, answered or not."""
        return self.calls - self.passed

    @property
    def good(self) -> bool:
        """Whether all calls were placed and had what was required, and all reports are written."""
        return self.calls > 0 and not (self.failed or self.not_placed or self.unwritten)

    def __str__(self) -> str:
        calls = "1 call" if self.calls == 1 else f"{self.calls} calls"
        unconfirmed = f" ({self.unconfirmed} unconfirmed)" if self.unconfirmed else ""
        return (
            f"sessioncore: {calls}, {self.passed} {self.wanted}{unconfirmed},"
            f" {self.failed} failed{self._not_placed}{self._why}"
        )

    @property
    def _not_placed(self) -> str:
        return f", {self.not_placed} not placed" if self.not_placed else ""

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
            *("", "", role, MediaState.IDLE, at),
            *(self.calls, self.passed, self.unconfirmed, self.failed),
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
        self._listeners: dict[str, Listener] = {}

    def watch(self, call: Call) -> None:
        """Summarise ``call`` at its end."""
        self._calls[call.session] = call

    def judge_by(self, call: Call, listener: Listener) -> None:
        """What ``listener`` hears decides about ``call``; call it before `watch`ed calls end."""
        self._listeners[call.session] = listener
        self.outcome.wanted = f"heard {listener.expectation}"

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
        listener = self._listeners.pop(event.session, None)
        heard = None if listener is None else listener.heard
        verdict = call.verdict
        fault = self._requirements.fault(verdict, event, heard)
        self._count(verdict, fault)
        self._done(_summary(call, event, verdict, fault, heard))

    def _count(self, verdict: Verdict, fault: Fault | None) -> None:
        outcome = self.outcome
        outcome.calls += 1
        if fault is not None:
            outcome.failed_with(fault.text)
            return
        outcome.passed += 1
        outcome.unconfirmed += verdict.judgement is Judgement.UNCONFIRMED


def _summary(
    call: Call,
    event: CallEnded | CallFailed,
    verdict: Verdict,
    fault: Fault | None,
    heard: Heard | None,
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
        round(evidence.agreed_for or 0.0, 3),
        verdict.judgement._value_,
        verdict.receiving.proof._value_,
        verdict.sending.proof._value_,
        evidence.sent,
        confirmed,
        evidence.received,
        due,
        max(0, due - came),
        None if evidence.jitter is None else round(1000 * evidence.jitter, 3),
        None if heard is None else heard.expected,
        None if heard is None else str(heard),
        None if cause is None else cause.name,
        None if fault is None else fault.text,
        None if fault is None else fault.remedy,
        str(event.reason),
    )
