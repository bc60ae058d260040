"""The self-test: calls between two processes on this machine, heard in both directions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, succeed
from twisted.internet.protocol import ProcessProtocol

from sessioncore.diagnosis.cases import Case, Hearing, hearing_of, recording
from sessioncore.errors import ConfigurationError, MediaFileError
from sessioncore.net.addresses import is_loopback, local_address_for
from sessioncore.watching.event_log import shown

__all__ = ["Result", "Selftest", "columns", "own_addresses", "table"]

AT_ONCE: Final = 4
"""Calls at the same time."""
TRIES: Final = 3
"""How often a call is made if the machine is too busy."""
PATIENCE: Final = 20.0
"""Seconds that a call may take beyond what it lasts."""
_PAUSES: Final = 0.1
_ENDING: Final = 3.0
"""Seconds that a process has to end by itself."""
_ELSEWHERE: Final = ("192.0.2.1", "2001:db8::1")
"""Addresses in the world outside (RFC 5737, RFC 3849); nothing is sent there."""
_ROLES: Final = ("UAC", "UAS")
Seen: TypeAlias = Callable[[str, Case, dict[str, Any]], None]


def own_addresses() -> list[str]:
    """The addresses to test: loopback, and those by which this machine reaches others."""
    found = ["127.0.0.1"]
    for peer in _ELSEWHERE:
        try:
            address = local_address_for(peer)
        except OSError:
            continue  # no route to there
        if not is_loopback(address) and "%" not in address:
            found.append(address)
    return found


@frozen
class Result:
    """What became of one case: what each side heard, its verdict, and what went wrong.

    ``judgements`` and ``verdicts`` are by role, in one word and in one line.  ``stalled`` is for
    how many seconds one of the processes did not run when it should have.
    """

    case: Case
    hearings: tuple[Hearing, ...] = ()
    judgements: dict[str, str] = field(factory=dict)
    verdicts: dict[str, str] = field(factory=dict)
    faults: tuple[str, ...] = ()
    stalled: float = 0.0

    @property
    def good(self) -> bool:
        """Whether each side heard the other."""
        return not self.faults

    @property
    def starved(self) -> bool:
        """Whether it failed and the machine may be to blame: it was too busy."""
        return not self.good and self.stalled > _PAUSES

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "name": self.case.name,
            "address": self.case.host,
            "good": self.good,
            "heard": {
                each.role: {
                    "hz": each.wanted.frequency,
                    "share": round(each.wanted.fraction_present, 4),
                    "dbov": round(each.wanted.level_dbov, 1),
                }
                for each in self.hearings
            },
            "judgements": self.judgements,
            "faults": list(self.faults),
            "stalled": round(self.stalled, 2),
        }


@define(eq=False)
class _Course:
    """A case that is under way; what both sides told of it."""

    case: Case
    ends: dict[str, dict[str, Any]] = field(factory=dict)
    events: list[tuple[str, str]] = field(factory=list)
    over: Deferred[None] = field(factory=Deferred)

    def take(self, role: str, record: dict[str, Any]) -> None:
        self.ends[role] = record
        if "error" in record or len(self.ends) == len(_ROLES):
            self.give_up()

    def give_up(self) -> None:
        """Wait for no more."""
        if not self.over.called:
            self.over.callback(None)


class Selftest:
    """Makes the calls of all ``cases``, a few at a time, between two processes that it starts.

    ``seen`` is called with each event: role, case, and the event as `json_line` has it.
    Recordings go to ``folder``.  A call that failed because the machine was too busy is made
    again, alone, ``tries`` times in all.
    """

    def __init__(
        self,
        reactor: Any,
        cases: Iterable[Case],
        folder: Path,
        seen: Seen = lambda role, case, record: None,
        tries: int = TRIES,
    ) -> None:
        self._reactor = reactor
        self._cases = list(cases)
        self._folder = folder
        self._seen = seen
        self._tries = tries
        self._courses: dict[str, _Course] = {}
        self._sides: dict[str, _Side] = {}
        self.stopped = False

    async def run(self) -> list[Result]:
        """The results, in the order of the cases; raises `ConfigurationError` without a process."""
        self._sides = {role: _Side(role, self._told, self._gone) for role in _ROLES}
        try:
            for side in self._sides.values():
                side.start(self._reactor)
            results = await self._make_all()
        finally:
            await DeferredList([side.stop(self._reactor) for side in self._sides.values()])
        return results

    def stop(self) -> None:
        """Give up; what is not over counts as failed."""
        self.stopped = True
        for course in list(self._courses.values()):
            course.give_up()

    async def _make_all(self) -> list[Result]:
        room = DeferredSemaphore(AT_ONCE)
        made = await DeferredList([room.run(self._make, case) for case in self._cases])
        results: list[Result] = [result for _, result in made]
        for _ in range(self._tries - 1):
            for place, result in enumerate(results):
                if result.starved and not self.stopped:
                    results[place] = await self._make(result.case)
        return results

    def _make(self, case: Case) -> Deferred[Result]:
        course = self._courses[case.label] = _Course(case)
        if self.stopped:
            course.give_up()
        else:
            self._sides["UAS"].order(case.order("UAS", self._folder))
        lasts = PATIENCE + case.seconds + case.rings
        course.over.addTimeout(lasts, self._reactor).addErrback(lambda _late: None)
        return course.over.addCallback(lambda _none: self._result(course))

    def _told(self, role: str, record: dict[str, Any]) -> None:
        course = self._courses[record["case"]]
        if "listening" in record:
            order = course.case.order("UAC", self._folder)
            self._sides["UAC"].order({**order, "to": record["listening"]})
        elif "event" in record:
            course.events.append((role, record["event"]))
            self._seen(role, course.case, record)
        else:
            course.take(role, record)

    def _gone(self, role: str, why: str) -> None:
        """A process ended: its calls will not."""
        self.stopped = True
        for course in list(self._courses.values()):
            if role not in course.ends:
                course.take(role, {"error": f"its process ended: {why}"})

    def _result(self, course: _Course) -> Result:
        case, faults = course.case, []
        hearings, judgements, verdicts, stalled = [], {}, {}, 0.0
        for role in _ROLES:
            end = course.ends.get(role, {"error": "it did not come to its end in time"})
            if "error" in end:
                faults.append(f"{role}: {shown(end['error'])}")
                continue
            verdict = end["verdict"]
            judgements[role] = verdict["judgement"]
            verdicts[role] = _said(verdict)
            stalled = max(stalled, verdict["evidence"]["stalled_for"])
            faults += [f"{role}: {fault}" for fault in _not_as_planned(case, verdict)]
            try:
                hearing = hearing_of(case, role, recording(self._folder, case, role))
            except (MediaFileError, OSError) as error:
                faults.append(f"{role}: {error}")
                continue
            hearings.append(hearing)
            faults += [f"{role}: {fault}" for fault in hearing.faults]
        if case.early and ("UAC", "EarlyMediaStarted") not in course.events:
            faults.append("UAC: no early media")
        if case.holds and ("UAS", "CallHeld") not in course.events:
            faults.append("UAS: was not held")
        return Result(case, tuple(hearings), judgements, verdicts, tuple(faults), stalled)


def _said(verdict: dict[str, Any]) -> str:
    """A verdict in one line."""
    heard, sent = verdict["receiving"]["text"], verdict["sending"]["text"]
    lasted = verdict["evidence"]["agreed_for"] or 0.0
    return f"{verdict['judgement']} in {lasted:.1f} s: {heard}; {sent}"


def _not_as_planned(case: Case, verdict: dict[str, Any]) -> Iterator[str]:
    evidence = verdict["evidence"]
    if verdict["judgement"] != "two_way":
        yield verdict["causes"][0]["text"] if verdict["causes"] else verdict["judgement"]
    if evidence["codec"] is None:
        return
    if evidence["codec"].partition("/")[0] != case.codec:
        yield f"{evidence['codec']} was agreed on, not {case.codec}"
    if round(1000 * evidence["ptime"]) != case.ptime:
        yield f"packets of {1000 * evidence['ptime']:g} ms were agreed on, not of {case.ptime}"


class _Side(ProcessProtocol):
    """One of the two processes."""

    def __init__(
        self,
        role: str,
        told: Callable[[str, dict[str, Any]], None],
        gone: Callable[[str, str], None],
    ) -> None:
        self._role = role
        self._told = told
        self._gone = gone
        self._held = b""
        self._errors = b""
        self._ended: Deferred[None] = Deferred()
        self._stopping = False

    def start(self, reactor: Any) -> None:
        """Start it; raises `ConfigurationError` if that is not possible."""
        command = (sys.executable, "-m", "sessioncore.diagnosis.party")
        try:
            reactor.spawnProcess(self, command[0], command, env=dict(os.environ))
        except OSError as error:
            raise ConfigurationError(f"{command[0]} cannot be started: {error}") from None

    def order(self, order: dict[str, Any]) -> None:
        """Have it take part in a call."""
        if self.transport is not None and not self._ended.called:
            self.transport.write(json.dumps(order).encode() + b"\n")

    def outReceived(self, data: bytes) -> None:
        """Read what it tells."""
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            self._told(self._role, json.loads(line))

    def errReceived(self, data: bytes) -> None:
        """Keep the end of what it complains about."""
        self._errors = (self._errors + data)[-2000:]

    def processEnded(self, reason: Any) -> None:
        """It is over, one way or another."""
        if not self._stopping:
            said = self._errors.decode("utf-8", "replace").strip().splitlines()
            self._gone(self._role, said[-1] if said else reason.getErrorMessage())
        self._ended.callback(None)

    def stop(self, reactor: Any) -> Deferred[None]:
        """End it; fires once it has ended."""
        self._stopping = True
        if self.transport is None or self._ended.called:
            return succeed(None)
        kill = reactor.callLater(_ENDING, self._kill)
        self._ended.addCallback(lambda _none: kill.cancel() if kill.active() else None)
        self.transport.closeStdin()
        return self._ended

    def _kill(self) -> None:
        if self.transport is not None:
            self.transport.signalProcess("KILL")


def table(results: Iterable[Result]) -> str:
    """What was heard in each case, for people."""
    rows = [["", "address", "caller heard 1000 Hz", "callee heard 440 Hz", "verdicts", ""]]
    for result in results:
        heard = {each.role: str(each) for each in result.hearings}
        rows.append(
            [
                result.case.name,
                result.case.host,
                *(heard.get(role, "-") for role in _ROLES),
                ", ".join(result.judgements.get(role, "-") for role in _ROLES),
                "ok" if result.good else "FAILED",
            ]
        )
    return columns(rows)


def columns(rows: list[list[str]]) -> str:
    """Rows of text as columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
