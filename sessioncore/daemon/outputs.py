"""What a daemon writes of its calls on request: traces of their messages.

Each output is off unless an option names its file, and costs nothing then.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import frozen
from twisted.logger import Logger

from sessioncore.errors import ConfigurationError
from sessioncore.watching.event_log import EventLog, open_log
from sessioncore.watching.trace import MessageTrace, TraceText
from sessioncore.watching.wall_clock import WallClock

if TYPE_CHECKING:
    from sessioncore.manager import SessionManager

__all__ = ["OutputPlan", "Outputs"]

_log: Final = Logger(namespace="sessioncore")


@frozen
class OutputPlan:
    """The files that are asked for; ``-`` is standard output.

    ``trace`` gets every SIP message as text.
    """

    trace: str | None = None


class Outputs:
    """The outputs of one manager: opened with it, closed after it."""

    def __init__(self, plan: OutputPlan, manager: SessionManager) -> None:
        self._plan = plan
        self._manager = manager
        self._clock = WallClock(manager.clockwork.now)
        self.text = TraceText(self._clock)
        """Makes the lines of a trace."""
        self._files: list[tuple[str, str, EventLog]] = []

    def open(self, printed: EventLog | None) -> None:
        """Open what is asked for; raises `ConfigurationError`.

        ``printed`` is the log of the event lines on standard output, or None.  A trace to
        standard output goes there as well, so that messages and events stay in order; its lines
        come from `text`.
        """
        trace = self._plan.trace
        if trace is not None:
            log = printed if trace == "-" else None
            if log is None:
                log = self._log("trace", trace)
            self._manager.add_message_tap(MessageTrace(log))

    def _log(self, option: str, name: str) -> EventLog:
        log = EventLog(open_log(name, option), self.text.lines, self._manager.clockwork.deadlines)
        self._files.append((option, name, log))
        return log

    @property
    def printed_lost(self) -> int:
        """Lines that standard output did not take."""
        return sum(log.lost for _, name, log in self._files if name == "-")

    @property
    def lost(self) -> int:
        """Lines that could not be written, wherever to."""
        return sum(log.lost for _, _, log in self._files)

    def reopen(self) -> bool:
        """Go on in new files under the same names; False where that failed for one of them.

        That one goes on in the file it had.
        """
        reopened = True
        for option, name, log in self._files:
            if name == "-":
                continue
            try:
                log.reopen(partial(open_log, name, option))
            except ConfigurationError as error:
                reopened = False
                _log.error(
                    "--{option} goes on in the file it had: {error}, and send SIGHUP again",
                    option=option,
                    error=error,
                )
        return reopened

    def close(self) -> None:
        """Write what has gathered, and close the files."""
        for _, _, log in self._files:
            log.close()
