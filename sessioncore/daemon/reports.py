"""Writes the reports of a run of calls when it is over: JSON and JUnit XML."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, frozen
from twisted.logger import Logger

from sessioncore.vocabulary import SECOND
from sessioncore.watching.junit import junit_xml
from sessioncore.watching.report import RunReport

if TYPE_CHECKING:
    from sessioncore.watching.outcome import Outcome

__all__ = ["ReportPlan", "Reports"]

_log: Final = Logger(namespace="sessioncore")


@frozen
class ReportPlan:
    """Which reports to write: the names of files; ``json`` may be ``-``, standard output."""

    json: str | None = None
    junit: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to write."""
        return not (self.json is None and self.junit is None)


class Reports:
    """The reports of one run, which began at ``now`` (monotonic ns)."""

    def __init__(self, plan: ReportPlan, program: str, planned: int, now: int) -> None:
        self.calls: Final = RunReport()
        self._plan = plan
        self._program = program
        self._planned = planned
        self._began = now
        self._started = datetime.now(UTC).isoformat(timespec="milliseconds")

    def write(self, outcome: Outcome, now: int, *, interrupted: bool) -> None:
        """Write all of them; what cannot be written is logged, and noted in ``outcome``."""
        elapsed = round((now - self._began) / SECOND, 3)
        totals = {
            "program": self._program,
            "started": self._started,
            "elapsed": elapsed,
            "interrupted": interrupted,
            "planned": self._planned,
            **asdict(self.calls.totals(outcome)),
        }
        if self._plan.json is not None:
            self._put("json", self._plan.json, self._json(totals), outcome)
        if self._plan.junit is not None:
            lines = junit_xml(self.calls.records, outcome, totals, self._started, elapsed)
            self._put("junit", self._plan.junit, lines, outcome)
        self.calls.close()

    def _json(self, totals: dict[str, Any]) -> Iterator[str]:
        yield f'{{"run":{json.dumps(totals)},'
        yield '"calls":['
        before = None
        for record in self.calls.records:
            if before is not None:
                yield f"{before},"
            before = record
        yield f"{before or ''}]}}"

    def _put(self, option: str, name: str, lines: Iterable[str], outcome: Outcome) -> None:
        try:
            if name == "-":
                _print(lines)
            else:
                _replace(name, lines)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            outcome.unwritten = f"--{option} {name} could not be written: {why}"
            _log.error("{what}", what=outcome.unwritten)


def _print(lines: Iterable[str]) -> None:
    """To the real standard output; the calls are over, so that a slow reader may be waited for."""
    out = sys.__stdout__ or sys.stdout
    for line in lines:
        out.write(line + "\n")
    out.flush()


def _replace(name: str, lines: Iterable[str]) -> None:
    """As a whole, so that no reader sees half; what is not a regular file is written to."""
    beside = f"{name}.new" if os.path.isfile(name) or not os.path.exists(name) else name
    with open(beside, "w", encoding="utf-8", errors="backslashreplace") as file:
        for line in lines:
            file.write(line + "\n")
    if beside != name:
        os.replace(beside, name)
