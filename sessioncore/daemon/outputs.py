"""What a daemon writes of its calls on request: traces, captures, records and dossiers.

Each output is off unless an option asks for it, and costs nothing then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import frozen
from twisted.logger import Logger

from sessioncore.daemon.collector import Collector
from sessioncore.errors import ConfigurationError
from sessioncore.net.udp_sender import UdpSender
from sessioncore.watching import pcapng
from sessioncore.watching.call_records import CallRecords, record_lines
from sessioncore.watching.dossiers import Dossiers
from sessioncore.watching.event_log import EventLog, open_log
from sessioncore.watching.hep import HepTap
from sessioncore.watching.pcapng import PcapTap
from sessioncore.watching.record_file import RecordFile, open_records
from sessioncore.watching.trace import MessageTrace, TraceText
from sessioncore.watching.wall_clock import WallClock

if TYPE_CHECKING:
    from sessioncore.manager import SessionManager

__all__ = ["OutputPlan", "Outputs"]

_log: Final = Logger(namespace="sessioncore")


@frozen
class OutputPlan:
    """What is asked for: names of files (``-`` is standard output), and a collector.

    ``trace`` gets every SIP message as text; ``pcap`` gets it and all RTCP as packets, ``hep`` as
    HEP packets.  ``cdr`` gets a JSON line per call, at its end.  ``dossier`` is a folder that
    gets a file per call, or per faulty call.
    """

    trace: str | None = None
    pcap: str | None = None
    hep: Collector | None = None
    cdr: str | None = None
    dossier: str | None = None
    only_faulty: bool = True


class _File(Protocol):
    """A log or another file of lines or records."""

    @property
    def lost(self) -> int: ...
    def reopen(self, open_file: Callable[[], Any]) -> None: ...
    def close(self) -> None: ...


@frozen
class _Opened:
    """A file that is open, and how to open it again; None: it stays as it is."""

    option: str
    file: _File
    again: Callable[[], Any] | None


class Outputs:
    """The outputs of one manager: opened with it, closed after it."""

    def __init__(self, plan: OutputPlan, manager: SessionManager, reactor: Any) -> None:
        self._plan = plan
        self._manager = manager
        self._reactor = reactor
        self._clock = WallClock(manager.clockwork.now)
        self.text = TraceText(self._clock)
        """Makes the lines of a trace."""
        self._files: list[_Opened] = []
        self._sender: UdpSender | None = None
        self._hep: HepTap | None = None
        self._dossiers: Dossiers | None = None

    def open(self, printed: EventLog | None) -> None:
        """Open what is asked for; raises `ConfigurationError`.

        ``printed`` is the log of the event lines on standard output, or None.  A trace to
        standard output goes there as well, so that messages and events stay in order; its lines
        come from `text`.
        """
        plan, manager = self._plan, self._manager
        if plan.trace is not None:
            log = printed if plan.trace == "-" else None
            log = log or self._lines("trace", plan.trace, self.text.lines)
            manager.add_message_tap(MessageTrace(log))
        captures: list[PcapTap | HepTap] = []
        if plan.pcap is not None:
            captures.append(PcapTap(self._packets(plan.pcap), self._clock))
        if plan.hep is not None:
            captures.append(self._collected(plan.hep))
        for tap in captures:
            manager.add_message_tap(tap)
            manager.add_report_tap(tap)
        if plan.cdr is not None:
            log = self._lines("cdr", plan.cdr, record_lines)
            records = CallRecords(manager.find_call, self._clock, log.event)
            manager.add_event_sink(records, *records.kinds)
        if plan.dossier is not None:
            self._dossiers = dossiers = Dossiers(
                manager, plan.dossier, only_faulty=plan.only_faulty, clock=self._clock
            )
            manager.add_event_sink(dossiers)
            manager.add_message_tap(dossiers)

    def prepare(self) -> None:
        """Make the folder for dossiers; raises `ConfigurationError`.

        Not before privileges were shed: it is written to without them.
        """
        if self._dossiers is not None:
            self._dossiers.prepare()

    def _lines(self, option: str, name: str, lines: Callable[[Iterable[Any]], str]) -> EventLog:
        again = partial(open_log, name, option)
        log = EventLog(again(), lines, self._manager.clockwork.deadlines)
        self._files.append(_Opened(option, log, None if name == "-" else again))
        return log

    def _packets(self, name: str) -> RecordFile:
        again = partial(open_records, name, "pcap", pcapng.MAGIC)
        preamble = pcapng.preamble(self._manager.settings.user_agent)
        deadlines = self._manager.clockwork.deadlines
        file = RecordFile(again(), preamble, deadlines, f"--pcap {name}")
        self._files.append(_Opened("pcap", file, again))
        return file

    def _collected(self, to: Collector) -> HepTap:
        self._sender = sender = UdpSender(self._reactor, to.host, to.port, "--hep")
        sender.start()
        self._hep = HepTap(sender.send, self._clock, to.agent, to.password.encode("utf-8"))
        return self._hep

    @property
    def printed_lost(self) -> int:
        """Lines that standard output did not take."""
        return sum(opened.file.lost for opened in self._files if opened.again is None)

    @property
    def lost(self) -> int:
        """Lines, packets, datagrams and dossiers that could not be written or sent."""
        lost = sum(opened.file.lost for opened in self._files)
        if self._sender is not None and self._hep is not None:
            lost += self._sender.lost + self._hep.too_long
        return lost + (0 if self._dossiers is None else self._dossiers.lost)

    def reopen(self) -> bool:
        """Go on in new files under the same names; False where that failed for one of them.

        That one goes on in the file it had.
        """
        reopened = True
        for opened in self._files:
            if opened.again is None:
                continue
            try:
                opened.file.reopen(opened.again)
            except ConfigurationError as error:
                reopened = False
                _log.error(
                    "--{option} goes on in the file it had: {error}, and send SIGHUP again",
                    option=opened.option,
                    error=error,
                )
        return reopened

    def close(self) -> None:
        """Write what has gathered, and close all."""
        for opened in self._files:
            opened.file.close()
        if self._sender is not None:
            self._sender.stop()
        if self._dossiers is not None:
            self._dossiers.close()
