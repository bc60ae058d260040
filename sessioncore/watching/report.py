"""The report of a run of calls: each call and the sums, for JSON and for JUnit XML.

A call is written down as text when it ends, so that a run of many calls does not keep them all.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from math import ceil
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final

from attrs import asdict, define, field, frozen
from zope.interface import implementer

from sessioncore.events import (
    CallAnswered,
    CallInitiated,
    CallRinging,
    EarlyMediaStarted,
    Event,
)
from sessioncore.interfaces import IEventObserver
from sessioncore.media.hearing import Heard, Listener
from sessioncore.verdict import Evidence, Verdict
from sessioncore.vocabulary import MILLISECOND, SECOND
from sessioncore.watching.outcome import CallSummary, Outcome

if TYPE_CHECKING:
    from sessioncore.session.call import Call

__all__ = ["ReportedCall", "RunReport", "RunTotals", "percentiles"]

_IN_MEMORY: Final = 1 << 24
"""Bytes of calls that are kept in memory; beyond that they are in a temporary file."""
_PERCENTILES: Final = (50, 95, 99)


def percentiles(values: array[float]) -> dict[str, float] | None:
    """The 50th, 95th and 99th percentile (nearest rank) and the largest, or None without values."""
    if not values:
        return None
    ordered = sorted(values)
    found = {
        f"p{percent}": ordered[ceil(percent * len(ordered) / 100) - 1] for percent in _PERCENTILES
    }
    return {name: round(value, 3) for name, value in {**found, "max": ordered[-1]}.items()}


def _values() -> array[float]:
    return array("d")


@define(eq=False)
class _Course:
    """A call that is not over, and when its steps were, in ns."""

    number: int
    call: Call
    listener: Listener | None = None
    began: int | None = None
    rang: int | None = None
    answered: int | None = None

    def lasted(self, at: int) -> float:
        """Seconds from the INVITE to ``at``."""
        return 0.0 if self.began is None else round((at - self.began) / SECOND, 3)

    def since_invite(self, at: int | None) -> float | None:
        """Milliseconds from the INVITE to ``at``."""
        if at is None or self.began is None:
            return None
        return round((at - self.began) / MILLISECOND, 3)


@frozen(slots=False)
class ReportedCall:
    """What is reported of one call.

    ``setup_ms`` is the time from the INVITE to the answer, ``post_dial_delay_ms`` that to the first
    18x; ``elapsed`` is in seconds from the INVITE to the end, ``duration`` in seconds of agreed
    media.  A call that could not be placed has no session.
    """

    number: int
    uri: str
    session: str | None = None
    call_id: str | None = None
    passed: bool = False
    answered: bool = False
    setup_ms: float | None = None
    post_dial_delay_ms: float | None = None
    elapsed: float = 0.0
    duration: float = 0.0
    reason: str | None = None
    problem: str | None = None
    remedy: str | None = None
    heard: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None


@frozen
class RunTotals:
    """The sums over the calls of a run.

    ``packets`` are counted by what became of them, ``loss`` is the share of those due that did
    not arrive, ``loss_at_the_peer`` the share of our packets that the peer reports as lost.
    ``causes`` are those of the calls that failed.
    """

    calls: int
    passed: int
    unconfirmed: int
    failed: int
    not_placed: int
    setup_ms: dict[str, float] | None
    post_dial_delay_ms: dict[str, float] | None
    jitter_ms: dict[str, float] | None
    packets: dict[str, int]
    loss: float | None
    loss_at_the_peer: float | None
    judgements: dict[str, int]
    causes: dict[str, int]


@define
class _Sums:
    """What is added up over all calls."""

    setup_ms: array[float] = field(factory=_values)
    post_dial_delay_ms: array[float] = field(factory=_values)
    jitter_ms: array[float] = field(factory=_values)
    packets: Counter[str] = field(factory=Counter)
    judgements: Counter[str] = field(factory=Counter)
    causes: Counter[str] = field(factory=Counter)

    def add(self, record: ReportedCall, summary: CallSummary, evidence: Evidence) -> None:
        for value, values in (
            (record.setup_ms, self.setup_ms),
            (record.post_dial_delay_ms, self.post_dial_delay_ms),
            (summary.jitter_ms, self.jitter_ms),
        ):
            if value is not None:
                values.append(value)
        self.judgements[summary.judgement] += 1
        if summary.cause is not None and not summary.passed:
            self.causes[summary.cause] += 1
        due, came = evidence.due
        self.packets.update(
            received=evidence.received,
            due=due,
            lost=max(0, due - came),
            sent=evidence.sent,
            confirmed=evidence.confirmed,
            lost_at_the_peer=max(0, evidence.remote_lost),
        )

    def totals(self, outcome: Outcome) -> RunTotals:
        packets = self.packets
        return RunTotals(
            outcome.calls,
            outcome.passed,
            outcome.unconfirmed,
            outcome.failed,
            outcome.not_placed,
            percentiles(self.setup_ms),
            percentiles(self.post_dial_delay_ms),
            percentiles(self.jitter_ms),
            dict(packets),
            _share(packets["lost"], packets["due"]),
            _share(packets["lost_at_the_peer"], packets["confirmed"]),
            dict(self.judgements.most_common()),
            dict(self.causes.most_common()),
        )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


@implementer(IEventObserver)
class RunReport:
    """Follows the calls of a run by their events and summaries, and keeps what it has to report.

    It takes the events of `kinds` and the `CallSummary` of each call that it was told to `watch`.
    """

    kinds: Final = (CallInitiated, CallRinging, EarlyMediaStarted, CallAnswered)

    def __init__(self) -> None:
        self._number = 0
        self._calls: dict[str, _Course] = {}
        self._sums = _Sums()
        self._records: IO[str] = SpooledTemporaryFile(  # noqa: SIM115
            _IN_MEMORY, "w+", encoding="ascii", newline="\n"
        )

    def watch(self, call: Call, listener: Listener | None = None) -> None:
        """Report ``call``, and what ``listener`` hears in it."""
        self._number += 1
        self._calls[call.session] = _Course(self._number, call, listener)

    def never_placed(self, uri: str, why: str) -> None:
        """A call could not even be prepared."""
        self._number += 1
        self._write(ReportedCall(self._number, uri, problem=why))

    def event(self, event: Event) -> None:
        """Take one event of any call."""
        course = self._calls.get(event.session)
        if course is None:
            return
        match event:
            case CallInitiated():
                course.began = event.at
            case CallRinging() | EarlyMediaStarted():
                course.rang = event.at if course.rang is None else course.rang
            case CallAnswered():
                course.answered = event.at
            case CallSummary():
                del self._calls[event.session]
                self._over(course, event, course.call.verdict)

    def _over(self, course: _Course, summary: CallSummary, verdict: Verdict) -> None:
        heard = None if course.listener is None else course.listener.heard
        record = ReportedCall(
            course.number,
            summary.remote_uri,
            summary.session,
            summary.call_id,
            summary.passed,
            summary.answered,
            course.since_invite(course.answered),
            course.since_invite(course.rang),
            course.lasted(summary.at),
            round(summary.duration, 3),
            summary.reason,
            summary.problem,
            summary.remedy,
            None if heard is None else _plain(heard),
            verdict.as_dict(),
        )
        self._sums.add(record, summary, verdict.evidence)
        self._write(record)

    def _write(self, record: ReportedCall) -> None:
        # Not by `asdict`: there is nothing in it to convert.
        self._records.write(json.dumps(vars(record), separators=(",", ":")) + "\n")

    @property
    def records(self) -> Iterator[str]:
        """Each call that is over, as a line of JSON."""
        self._records.seek(0)
        for line in self._records:
            yield line.rstrip("\n")
        self._records.seek(0, 2)

    def totals(self, outcome: Outcome) -> RunTotals:
        """The sums of the run, with its outcome."""
        return self._sums.totals(outcome)

    def close(self) -> None:
        """Let go of the calls."""
        self._records.close()


def _plain(heard: Heard) -> dict[str, Any]:
    return {
        **asdict(heard),
        "share": round(heard.share, 6),
        "instead": {what: round(share, 6) for what, share in heard.instead},
        "as_expected": heard.as_expected,
    }
