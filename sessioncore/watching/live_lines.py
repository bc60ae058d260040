"""A line for each call: redrawn on a terminal, else printed again at each change."""

from __future__ import annotations

import shutil
from typing import IO, Final

from attrs import define
from zope.interface import implementer

from sessioncore.events import (
    CallAnswered,
    CallEnded,
    CallFailed,
    CallInitiated,
    CallRinging,
    EarlyMediaStarted,
    Event,
    MediaActive,
    MediaStalled,
    OutgoingCallPrepared,
    VerdictChanged,
)
from sessioncore.interfaces import IEventObserver
from sessioncore.verdict import Verdict
from sessioncore.vocabulary import SECOND
from sessioncore.watching.event_log import printable, shown
from sessioncore.watching.outcome import STARVED, CallSummary

__all__ = ["LiveLines"]

_WORDS: Final[dict[type[Event], str]] = {
    OutgoingCallPrepared: "prepared",
    CallInitiated: "calling",
    CallRinging: "ringing",
    EarlyMediaStarted: "early media",
    CallAnswered: "answered",
    MediaActive: "audio both ways",
    MediaStalled: "nothing heard for 5 s",
}
_WAITING: Final = {
    "calling": ", no response for",
    "ringing": " for",
    "early media": ", not answered for",
}
"""What is said of calls that are not answered."""
_SAID_AFTER: Final = (5, 10, 20, 40, 80, 160)
"""Seconds after which that is printed where a line cannot be redrawn."""
MOST_LINES: Final = 20
"""Calls that are redrawn in place; with more of them only the ends are printed."""


def _result(summary: CallSummary) -> str:
    """What became of a call that was answered."""
    confirmed = summary.packets_confirmed
    reported = "not reported by the peer" if confirmed is None else f"{confirmed} arrived"
    counted = (
        f"received {summary.packets_received} of {summary.packets_due}, sent"
        f" {summary.packets_sent}, {reported}: {shown(summary.reason)}"
    )
    lasted = f"ended after {summary.duration:.1f} s"
    if summary.problem is None:
        return f"{lasted}, {_good(summary)} ({summary.judgement}): {counted}{_starved(summary)}"
    remedy = "" if summary.remedy is None else f" {summary.remedy}"
    return f"{lasted}, FAILED: {shown(summary.problem)}.{remedy} ({summary.judgement}, {counted})"


def _starved(summary: CallSummary) -> str:
    return "; this process did not run all the time" if summary.cause == STARVED else ""


def _verdict(verdict: Verdict) -> str | None:
    """What is worth a word while the call is up."""
    if verdict.faulty:
        why = verdict.cause or verdict.receiving
        return f"{verdict.judgement}: {shown(str(why))}"
    return "audio both ways, proven" if verdict.proven else None


def _good(summary: CallSummary) -> str:
    return "audio both ways" if summary.heard is None else f"heard {summary.heard}"


@define(eq=False)
class _Line:
    number: int
    uri: str
    what: str = ""
    since: int | None = None
    """Since when, in ns, an answer is waited for."""
    waits: str = ""
    looked: int = 0
    """How long it had been waited (s) when that was last looked at."""

    def __str__(self) -> str:
        return f"{self.number:>4}  {printable(self.uri)}  {self.what}{self.waits}"

    def fit(self, width: int) -> str:
        """The line in ``width`` columns: a long URI is cut before what happens."""
        line = str(self)
        uri = printable(self.uri)
        keep = max(len(uri) - (len(line) - width) - 3, 8)
        if len(line) > width and keep < len(uri):
            line = f"{self.number:>4}  {uri[:keep]}...  {self.what}{self.waits}"
        return line[:width]


@implementer(IEventObserver)
class LiveLines:
    """Follows the calls of a run by their events."""

    def __init__(self, out: IO[str], *, terminal: bool | None = None) -> None:
        self._out = out
        self._terminal = out.isatty() if terminal is None else terminal
        self._lines: dict[str, _Line] = {}
        self._count = 0
        self._drawn = 0

    def event(self, event: Event) -> None:
        """Take one event of any call."""
        if isinstance(event, OutgoingCallPrepared):
            self._count += 1
            self._lines[event.session] = _Line(self._count, event.remote_uri)
        line = self._lines.get(event.session)
        what = self._what(event)
        if line is None or what is None or what == line.what:
            return
        line.what, line.waits = what, ""
        if what not in _WAITING:
            line.since = None
        elif line.since is None:
            line.since = event.at
        over = isinstance(event, CallSummary)
        if over:
            del self._lines[event.session]
        if not self._terminal:
            self._print(str(line))
        elif over or self._few:
            self._redraw(line if over else None)

    @staticmethod
    def _what(event: Event) -> str | None:
        if isinstance(event, CallSummary):
            if not event.answered:
                return f"failed: {shown(event.reason)}"
            return _result(event)
        if isinstance(event, VerdictChanged):
            return _verdict(event.verdict)
        if isinstance(event, (CallEnded, CallFailed)):
            return None
        return _WORDS.get(type(event))

    def look(self, now: int) -> None:
        """Say of calls that are not answered how long that has been; call it once a second."""
        changed = False
        for line in self._lines.values():
            if line.since is None:
                continue
            lasted = (now - line.since) // SECOND
            waits = f"{_WAITING[line.what]} {lasted} s"
            if self._terminal:
                changed = changed or waits != line.waits
                line.waits = waits
                continue
            # A look may come late and miss a second.
            reached = [each for each in _SAID_AFTER if line.looked < each <= lasted]
            line.looked = lasted
            if reached:
                line.waits = f"{_WAITING[line.what]} {reached[-1]} s"
                self._print(str(line))
        if changed and self._few:
            self._redraw(None)

    @property
    def _few(self) -> bool:
        # What has left the screen cannot be written over.
        return len(self._lines) <= min(MOST_LINES, shutil.get_terminal_size().lines - 2)

    def _redraw(self, over: _Line | None) -> None:
        """Write the finished line for good; the others, if few, below it, to be overwritten."""
        width = shutil.get_terminal_size().columns - 1
        drawn = [line.fit(width) for line in self._lines.values()] if self._few else []
        # What is written for good may be as long as it is: nothing counts its lines.
        lines = [str(over), *drawn] if over else drawn
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._print(up + "\x1b[J" + "\n".join(lines))
        self._drawn = len(drawn)

    def _print(self, text: str) -> None:
        try:
            print(text, file=self._out, flush=True)
        except (OSError, ValueError):
            pass  # the reader is gone; the calls go on

    def close(self) -> None:
        """Do nothing: every line has been written already."""
