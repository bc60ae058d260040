"""The daemon: Twisted services that run a server or place the calls of a run.

Nothing is opened before the service starts, that is, after ``twistd`` has forked.  What only
the owner of a process may do is done here: tune the collector, raise the limit on open files,
stop the reactor when all is over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sessioncore.daemon.answering import Answering, AnswerPlan
from sessioncore.daemon.calling import CallPlan, CallRun
from sessioncore.daemon.outputs import OutputPlan, Outputs
from sessioncore.daemon.process import (
    Ending,
    IdleCollector,
    has_terminal,
    on_drain_signal,
    reopen_log_of_twistd,
)
from sessioncore.daemon.reports import ReportPlan, Reports
from sessioncore.daemon.stats import StatsFile
from sessioncore.errors import ConfigurationError
from sessioncore.manager import SessionManager
from sessioncore.net.limits import raise_descriptor_limit
from sessioncore.service import SessionService, raise_failure
from sessioncore.session.tracing import Tracer
from sessioncore.settings import Settings
from sessioncore.vocabulary import SECOND, SessionRole, host_port
from sessioncore.watching.call_lines import CallLines
from sessioncore.watching.event_log import (
    FLUSH_AFTER,
    LOG_AFTER,
    EventLog,
    LogMessages,
    json_lines,
    open_log,
    text_lines,
)
from sessioncore.watching.outcome import CallLedger, CallSummary, Outcome, Requirements
from sessioncore.watching.report import RunReport

if TYPE_CHECKING:
    from sessioncore.dashboard.endpoint import WebPlan
    from sessioncore.dashboard.server import WebServer
    from sessioncore.events import Event
    from sessioncore.session.call import Call

__all__ = ["DaemonService", "Lines", "UacPlan", "UacService", "UasPlan", "UasService"]

GRACE: Final = 4.0
"""Seconds that calls have to end when the process is told to stop."""
LOOK_EVERY: Final = 5 * SECOND
"""How often, in ns, the daemon looks whether it is idle, to collect garbage."""
REFUSED_EVERY: Final = 10 * SECOND
"""How often, in ns, the daemon reports calls that it had no room for."""
STATS_EVERY: Final = 10 * SECOND
"""How often, in ns, the daemon writes its statistics."""
_WHY_REFUSED: Final = {
    "refused_busy": "as many calls as allowed, too many without ACK, or shutting down: --max-calls",
    "refused_overloaded": "more messages than could be read in time: the CPU is too busy",
    "no_ports": "no RTP ports left: --rtp-ports",
}
"""By counter; what each means is in `CallCounters`."""
SPARE_DESCRIPTORS: Final = 1024
"""Open files beyond the RTP ports: SIP sockets, logs, recordings."""
_log: Final = Logger(namespace="sessioncore")


class Log(Protocol):
    """An `IEventObserver` of every event that is closed in the end."""

    def event(self, event: Event) -> None: ...
    def close(self) -> None: ...


@frozen
class Lines:
    """Which lines about calls are written: one per event, one per call at its end, or none.

    They go to standard output, or ``to_log``: a daemon has only its log.
    """

    which: Literal["events", "calls", "quiet"] = "quiet"
    to_log: bool = False


@frozen
class UasPlan:
    """A server: what to listen to, how to answer, where events, statistics and the rest go."""

    settings: Settings
    answer: AnswerPlan = field(factory=AnswerPlan)
    events: str | None = None
    stats: str | None = None
    outputs: OutputPlan = field(factory=OutputPlan)
    web: tuple[WebPlan, ...] = ()


@frozen
class UacPlan:
    """A run of calls: what to listen to, whom to call, what to report; else as `UasPlan`."""

    settings: Settings
    calls: CallPlan
    events: str | None = None
    stats: str | None = None
    outputs: OutputPlan = field(factory=OutputPlan)
    web: tuple[WebPlan, ...] = ()
    reports: ReportPlan = field(factory=ReportPlan)


class DaemonService(SessionService):
    """What both roles share: logs, summaries, and what only a program may do to its process.

    ``lines`` are written besides the event file that the plan names.  SIGUSR2 drains the service.
    SIGHUP reopens its log and event files, or ends its calls if its terminal was closed.
    """

    role = SessionRole.UAS
    folder: str | None = None
    """Where recordings go; made at start if it is missing."""
    folder_option = "--record-dir"
    hangup_ends = False
    """Whether SIGHUP always ends the calls: true of commands, which belong to a terminal."""

    def __init__(
        self,
        plan: UasPlan | UacPlan,
        *,
        lines: Lines = Lines(),
        reactor: Any = None,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__(plan.settings, reactor=reactor, grace=GRACE, tracer=tracer)
        self._events = plan.events
        self._stats = None if plan.stats is None else StatsFile(plan.stats, self.role)
        self._output_plan = plan.outputs
        self._outputs: Outputs | None = None
        self._web_plans = plan.web
        self._web: list[WebServer] = []
        self._lines = lines
        self._owns_process = reactor is None
        self._ending = Ending()
        self._logs: list[Log] = []
        self._record: EventLog | None = None
        self._printed: EventLog | None = None
        self._call_log: EventLog | None = None
        self._call_lines = CallLines()
        self._refused: dict[str, int] = {}
        self.ledger = CallLedger(self._summary, self._requirements())

    def _requirements(self) -> Requirements:
        """What calls must have to count as good."""
        return Requirements()

    # --- starting

    def startService(self) -> None:
        """Bind, unless that was done with privileges; raises `ConfigurationError`."""
        super().startService()
        self._make_folder()
        if self._outputs is not None:
            self._outputs.prepare()
        if self._owns_process:
            self.reactor.callWhenRunning(self._heed_signals)

    def _make_folder(self) -> None:
        """Not before privileges were shed: the folder is written to without them."""
        if self.folder is None:
            return
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{self.folder_option}: the folder {self.folder} cannot be made: {error.strerror};"
                " name one below a folder that you may write to"
            ) from None

    def _heed_signals(self) -> None:
        had_terminal = has_terminal()
        in_reactor = self.reactor.callFromThread

        def on_hangup() -> bool:
            if self.hangup_ends or (had_terminal and not has_terminal()):
                return True
            in_reactor(self.reopen)
            return False

        self._ending.heed_signals(on_hangup)
        on_drain_signal(lambda: in_reactor(self.drain))

    def begin(self) -> None:
        """Open everything, once; raises `ConfigurationError`."""
        self._bind()

    def _bind(self) -> None:
        if self._open:
            return
        first, last = self.settings.rtp_ports
        # Ports rest for a while after a call, so at a high rate all of them are open.
        limit = raise_descriptor_limit(last - first + 1 + SPARE_DESCRIPTORS)
        if not limit.enough:
            _log.warn("{limit}", limit=limit)
        super()._bind()
        _log.info(
            "{role} on {addresses}",
            role=self.role.value,
            addresses=", ".join(host_port(*address) for address in self.manager.local_addresses),
        )
        now = self.manager.clockwork.now()
        self._refused = {}
        self._collector = IdleCollector(lambda: not self.manager.calls)
        self._collector.start(now)
        self.every(LOOK_EVERY, self._collector.look)
        self.every(REFUSED_EVERY, lambda _now: self._report_refused())
        if self._stats is not None:
            self.every(STATS_EVERY, self._write_stats)

    def make_manager(self) -> SessionManager:
        """A manager whose events reach the logs."""
        manager = super().make_manager()
        self._outputs = Outputs(self._output_plan, manager, self.reactor)
        self._open_event_lines(manager, self._outputs)
        self._open_call_lines(manager)
        if self._wants_account:
            manager.add_event_sink(self.ledger, *self.ledger.kinds)
        return manager

    def _started(self) -> SessionManager:
        manager = super()._started()
        try:
            for plan in self._web_plans:
                self._serve(manager, plan)
        except ConfigurationError:
            manager.stop(0)
            raise
        return manager

    def _serve(self, manager: SessionManager, plan: WebPlan) -> None:
        # Not above: a server without it need not load what it takes.
        from sessioncore.dashboard.server import WebServer

        server = WebServer(manager, plan, self.reactor)
        self._web.append(server)
        starting = server.start()
        if starting.called:
            raise_failure(starting)

    @property
    def web_addresses(self) -> list[str]:
        """The URLs of what is served over HTTP."""
        return [server.address for server in self._web]

    @property
    def _wants_account(self) -> bool:
        """Whether anybody reads what calls came to; keeping account costs time."""
        return bool(self._logs)

    def _open_event_lines(self, manager: SessionManager, outputs: Outputs) -> None:
        clockwork = manager.clockwork
        together = None
        if self._lines.which == "events":
            traced = self._output_plan.trace == "-"
            self._printed = self._line_log(manager, outputs.text.lines if traced else text_lines)
            self._add_log(self._printed, manager)
            together = self._printed
        outputs.open(together)
        if self._events is not None:
            lines = partial(json_lines, wall_offset=time.time_ns() - clockwork.now())
            self._record = EventLog(open_log(self._events), lines, clockwork.deadlines)
            self._add_log(self._record, manager)
            if self._events == "-":
                self._printed = self._record

    def _open_call_lines(self, manager: SessionManager) -> None:
        if self._lines.which == "calls":
            self._call_log = self._line_log(manager, self._call_lines.lines)
            manager.add_event_sink(self._call_log, *self._call_lines.kinds)
            if self._printed is None:
                self._printed = self._call_log

    def _line_log(
        self, manager: SessionManager, lines: Callable[[Iterable[Event]], str]
    ) -> EventLog:
        deadlines = manager.clockwork.deadlines
        if self._lines.to_log:
            return EventLog(LogMessages(_log), lines, deadlines, LOG_AFTER)
        return EventLog(open_log("-"), lines, deadlines, FLUSH_AFTER)

    def add_log(self, log: Log) -> None:
        """Report every event and summary to ``log`` from now on; closed when all is over."""
        self._add_log(log, self.manager)

    def _add_log(self, log: Log, manager: SessionManager) -> None:
        self._logs.append(log)
        manager.add_event_sink(log)

    @property
    def output_lost(self) -> bool:
        """Whether standard output did not take every line meant for it."""
        lost = 0 if self._printed is None else self._printed.lost
        return lost > 0 or (self._outputs is not None and self._outputs.printed_lost > 0)

    @property
    def lines_lost(self) -> int:
        """Lines about calls that could not be written, wherever to."""
        logs = {self._printed, self._record, self._call_log} - {None}
        lost = sum(log.lost for log in logs if log is not None)
        return lost + (0 if self._outputs is None else self._outputs.lost)

    def every(self, interval: int, look: Callable[[int], object]) -> None:
        """Call ``look(now)`` now and every ``interval`` ns; once the manager has been made."""
        clockwork = self.manager.clockwork

        def due(_none: None, now: int) -> None:
            look(now)
            clockwork.deadlines.at(now + interval, due)

        due(None, clockwork.now())

    def _write_stats(self, _now: int) -> None:
        if self._stats is not None:
            self._stats.write(self.manager.statistics(), self.lines_lost)

    def reopen(self) -> None:
        """Go on in new files under the same names: of events and the rest, the log of ``twistd``.

        Where that fails, the present file is kept, and the log says so.
        """
        outputs = self._outputs is None or self._outputs.reopen()
        if all([self._reopen_log(), self._reopen_events(), outputs]):
            _log.info("reopened the log files")

    def _reopen_log(self) -> bool:
        try:
            reopen_log_of_twistd()
        except OSError as error:
            _log.error(
                "the log goes on in the file it had, because {name} cannot be opened: {error};"
                " let this user write there, and send SIGHUP again",
                name=error.filename or "its file",
                error=error.strerror or error,
            )
            return False
        return True

    def _reopen_events(self) -> bool:
        name, record = self._events, self._record
        if name is None or name == "-" or record is None:
            return True
        try:
            record.reopen(partial(open_log, name))
        except ConfigurationError as error:
            _log.error(
                "events go on in the file they had: {error}, and send SIGHUP again", error=error
            )
            return False
        return True

    def _watch(self, call: Call) -> None:
        """Follow ``call`` for those who read what became of it."""
        if self._wants_account:
            self.ledger.watch(call)
        if self._call_log is not None:
            self._call_lines.watch(call)

    def _report_refused(self) -> None:
        """One line for all calls that got 503: one for each would add to the load."""
        counters = self.manager.statistics().calls
        before, self._refused = self._refused, {name: counters[name] for name in _WHY_REFUSED}
        new = {name: count - before.get(name, 0) for name, count in self._refused.items()}
        why = "; ".join(f"{new[name]} ({why})" for name, why in _WHY_REFUSED.items() if new[name])
        if why:
            _log.warn("calls refused with 503: {why}", why=why)

    def _summary(self, summary: CallSummary) -> None:
        for log in self._logs:
            log.event(summary)

    # --- stopping

    def drain(self) -> None:
        """Take no new calls, and stop the reactor once those that are up have ended."""
        if not self.running:
            return
        _log.info("draining: {count} calls are up", count=len(self.manager.calls))
        self.manager.drain().addCallback(self._drained)

    def _drained(self, _none: None) -> None:
        if self.running:
            self._ending.stop(self.reactor)

    def stopService(self) -> Deferred[None]:
        """End all calls as their state demands, and close the sockets."""
        if self._open and self._ending.interrupted and self.manager.calls:
            _log.warn("ending the calls; Ctrl-C again quits at once")
        return super().stopService()

    def _gone(self, none: object) -> None:
        self._report_refused()
        if self._stats is not None:
            self._write_stats(0)
        super()._gone(none)
        if self.lines_lost:
            _log.warn("{lost} lines about calls could not be written", lost=self.lines_lost)

    def _close(self) -> None:
        """Write what waits in the logs, and close them; serve nothing any more."""
        web, self._web = self._web, []
        for server in web:
            server.stop()
        logs, self._logs = self._logs, []
        for log in logs:
            log.close()
        call_log, self._call_log = self._call_log, None
        if call_log is not None:
            call_log.close()
        if self._outputs is not None:
            self._outputs.close()


class UasService(DaemonService):
    """Answers calls until it is told to stop."""

    def __init__(self, plan: UasPlan, **given: Any) -> None:
        super().__init__(plan, **given)
        folder = self.folder = plan.answer.record_dir
        self._on_incoming = Answering(
            plan.answer,
            lambda: self.manager.clockwork,
            watch=self._watch,
            recording=None if folder is None else partial(recording_name, folder),
        )


class UacService(DaemonService):
    """Places the calls of its plan; when they are over it stops the reactor.

    ``say`` is called once, when all calls are over, with the outcome and whether the service was
    stopped before that.
    """

    role = SessionRole.UAC
    folder_option = "--record"
    _wants_account = True  # the outcome of the run is always given

    def __init__(
        self,
        plan: UacPlan,
        *,
        say: Callable[[Outcome, bool], None],
        **given: Any,
    ) -> None:
        self._plan = plan.calls
        self._report_plan = plan.reports
        self._reports: Reports | None = None
        super().__init__(plan, **given)
        self.folder = None if plan.calls.record is None else str(Path(plan.calls.record).parent)
        self._say = say
        self._run: CallRun | None = None
        self._interrupted = False

    def startService(self) -> None:
        """Bind, and place the first call once the reactor runs."""
        super().startService()
        self.reactor.callWhenRunning(self._start_run)

    def _requirements(self) -> Requirements:
        plan = self._plan
        return Requirements(plan.min_received, plan.require_proof, plan.duration)

    def _start_run(self) -> None:
        if self.running:
            report = self._open_reports()
            self._run = CallRun(self.manager, self._plan, self.ledger, self._watch, report)
            self._run.start().addCallback(self._run_over)

    def _open_reports(self) -> RunReport | None:
        if not self._report_plan.wanted:
            return None
        self._reports = Reports(
            self._report_plan,
            self.settings.user_agent,
            self._plan.calls,
            self.manager.clockwork.now(),
        )
        report = self._reports.calls
        self.manager.add_event_sink(report, *report.kinds)
        return report

    def _summary(self, summary: CallSummary) -> None:
        super()._summary(summary)
        if self._reports is not None:
            self._reports.calls.event(summary)

    def _run_over(self, outcome: Outcome) -> None:
        if self._record is not None:
            self._record.event(outcome.as_event(self.role, self.manager.clockwork.now()))
        if self.running:
            self._ending.stop(self.reactor)

    def drain(self) -> None:
        """Place no further calls; the run is over once those that are up have ended."""
        if self._run is not None:
            self._run.stop()
        super().drain()

    def stopService(self) -> Deferred[None]:
        """Place no further calls, end those that are up."""
        self._interrupted = not (self._run is not None and self._run.over)
        if self._run is not None:
            self._run.stop()
        return super().stopService()

    def _gone(self, none: object) -> None:
        super()._gone(none)
        if self._reports is not None:
            now = self.manager.clockwork.now()
            self._reports.write(self.ledger.outcome, now, interrupted=self._interrupted)
        _log.info("{outcome}", outcome=self.ledger.outcome)
        self._say(self.ledger.outcome, self._interrupted)


def recording_name(directory: str, call: Call) -> str:
    """The name of a new file: UTC time and session id; nothing that the peer chose."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return str(Path(directory) / f"{stamp}-{call.session}.wav")
