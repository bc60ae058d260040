"""The daemon: a Twisted service that runs a server or a run of calls.

Nothing is opened before the service starts, that is, after ``twistd`` has forked.  What only
the owner of a process may do is done here: tune the collector, raise the limit on open files,
stop the reactor when all is over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from sessioncore.daemon.answering import Answering, AnswerPlan
from sessioncore.daemon.calling import CallPlan, CallRun
from sessioncore.daemon.process import Ending, IdleCollector
from sessioncore.errors import ConfigurationError
from sessioncore.manager import SessionManager
from sessioncore.net.limits import raise_descriptor_limit
from sessioncore.session.tracing import Tracer
from sessioncore.settings import Settings
from sessioncore.vocabulary import SECOND, SessionRole, host_port
from sessioncore.watching.event_log import EventLog, json_lines, open_log, text_lines
from sessioncore.watching.outcome import CallLedger, CallSummary, Outcome

if TYPE_CHECKING:
    from sessioncore.events import Event
    from sessioncore.session.call import Call

__all__ = ["SessionService", "UacPlan", "UacService", "UasPlan", "UasService"]

GRACE: Final = 4.0
"""Seconds for the calls to end in when the process is told to go."""
LOOK_EVERY: Final = 5 * SECOND
"""How often, in ns, the daemon looks whether it is idle, to collect garbage."""
REFUSED_EVERY: Final = 10 * SECOND
"""How often, in ns, the daemon tells of calls that it had no room for."""
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
    """Something that is told of every event and closed in the end."""

    def event(self, event: Event) -> None: ...
    def close(self) -> None: ...


@frozen
class UasPlan:
    """A server: what to listen to, how to answer, where the events go."""

    settings: Settings
    answer: AnswerPlan = field(factory=AnswerPlan)
    events: str | None = None


@frozen
class UacPlan:
    """A run of calls: what to listen to, whom to call, where the events go."""

    settings: Settings
    calls: CallPlan
    events: str | None = None


class SessionService(Service):
    """What both roles share: manager, event log, summaries, start and stop.

    ``echo_events``: whether each event is also written to standard output as a line.
    """

    name = "sessioncore"
    role = SessionRole.UAS

    def __init__(
        self,
        settings: Settings,
        events: str | None,
        *,
        echo_events: bool,
        reactor: Any = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.settings = settings
        self._events = events
        self._echo_events = echo_events and events != "-"
        self._given_reactor = reactor
        self._owns_process = reactor is None
        self._ending = Ending()
        self._tracer = tracer
        self._begun = False
        self._logs: list[Log] = []
        self._record: EventLog | None = None
        self._refused: dict[str, int] = {}
        self._printed: EventLog | None = None
        self.ledger = CallLedger(self._summary)
        self.manager: SessionManager

    @property
    def reactor(self) -> Any:
        """The reactor given, or the global one once there is need of it."""
        if self._given_reactor is None:
            from twisted.internet import reactor

            self._given_reactor = reactor
        return self._given_reactor

    # --- starting

    def privilegedStartService(self) -> None:
        """Bind while still root, where a reserved port is wanted (``twistd --uid``)."""
        self._begin_or_log()

    def startService(self) -> None:
        """Bind, unless that was done with privileges; raises `ConfigurationError`."""
        self._begin_or_log()
        super().startService()  # type: ignore[no-untyped-call]
        if self._owns_process:
            self.reactor.callWhenRunning(self._ending.heed_one_signal)

    def _begin_or_log(self) -> None:
        try:
            self.begin()
        except ConfigurationError as error:
            _log.critical("cannot start: {error}", error=error)
            raise

    def begin(self) -> None:
        """Open everything, once; raises `ConfigurationError`."""
        if self._begun:
            return
        try:
            self._open()
        except ConfigurationError:
            self._close_logs()
            raise
        self._begun = True

    def _open(self) -> None:
        first, last = self.settings.rtp_ports
        # Ports rest for a while after a call, so at a high rate all of them are open.
        limit = raise_descriptor_limit(last - first + 1 + SPARE_DESCRIPTORS)
        if not limit.enough:
            _log.warn("{limit}", limit=limit)
        self.manager = self._make_manager()
        self._open_logs()
        if self._wants_account:
            self.manager.add_event_sink(self.ledger, *self.ledger.kinds)
        _result_now(self.manager.start())
        _log.info(
            "{role} on {addresses}",
            role=self.role.value,
            addresses=", ".join(host_port(*address) for address in self.manager.local_addresses),
        )
        now = self.manager.clockwork.now()
        self._collector = IdleCollector(lambda: not self.manager.calls)
        self._collector.start(now)
        self._look_for_garbage(None, now)
        self._refused_again(None, now)

    @property
    def _wants_account(self) -> bool:
        """Whether anybody will be told what calls came to; keeping account costs time."""
        return bool(self._logs)

    def _make_manager(self) -> SessionManager:
        return SessionManager(self.reactor, self.settings, tracer=self._tracer)

    def _open_logs(self) -> None:
        clockwork = self.manager.clockwork
        if self._echo_events:
            self._printed = EventLog(open_log("-"), text_lines, clockwork.deadlines)
            self.add_log(self._printed)
        if self._events is not None:
            lines = partial(json_lines, wall_offset=time.time_ns() - clockwork.now())
            self._record = EventLog(open_log(self._events), lines, clockwork.deadlines)
            self.add_log(self._record)
            if self._events == "-":
                self._printed = self._record

    def add_log(self, log: Log) -> None:
        """Tell ``log`` of every event and summary from now on; closed when all is over."""
        self._logs.append(log)
        self.manager.add_event_sink(log.event)

    @property
    def output_lost(self) -> bool:
        """Whether standard output did not take every event meant for it."""
        return self._printed is not None and self._printed.lost > 0

    def _look_for_garbage(self, _none: None, now: int) -> None:
        self._collector.look(now)
        self.manager.clockwork.deadlines.at(now + LOOK_EVERY, self._look_for_garbage)

    def _refused_again(self, _none: None, now: int) -> None:
        self._tell_refused()
        self.manager.clockwork.deadlines.at(now + REFUSED_EVERY, self._refused_again)

    def _tell_refused(self) -> None:
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

    def stopService(self) -> Deferred[None]:
        """End each call as its state demands; fires within `GRACE` seconds and little more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if not self._begun:
            return succeed(None)
        return maybeDeferred(self.manager.stop, GRACE).addCallbacks(self._gone, self._not_gone)

    def _gone(self, given_up: int) -> None:
        self._finish()

    def _not_gone(self, failure: Failure) -> None:
        _log.failure("stopping failed", failure)
        self._finish()

    def _finish(self) -> None:
        self._tell_refused()
        self._close_logs()

    def _close_logs(self) -> None:
        logs, self._logs = self._logs, []
        for log in logs:
            log.close()


class UasService(SessionService):
    """Answers calls until it is told to stop."""

    def __init__(self, plan: UasPlan, **given: Any) -> None:
        super().__init__(plan.settings, plan.events, **given)
        self._answer = plan.answer

    def _make_manager(self) -> SessionManager:
        recording = None
        if self._answer.record_dir is not None:
            recording = partial(recording_name, self._answer.record_dir)
        answering = Answering(
            self._answer,
            lambda: self.manager.clockwork,
            watch=self._watch,
            recording=recording,
        )
        return SessionManager(
            self.reactor, self.settings, on_incoming=answering, tracer=self._tracer
        )

    def _watch(self, call: Call) -> None:
        if self._wants_account:
            self.ledger.watch(call)


class UacService(SessionService):
    """Places the calls of its plan; when they are over it stops the reactor.

    ``say`` is given the outcome, once, when all is over, and whether the service was stopped
    before the calls had ended.
    """

    role = SessionRole.UAC
    _wants_account = True

    def __init__(
        self,
        plan: UacPlan,
        *,
        say: Callable[[Outcome, bool], None],
        **given: Any,
    ) -> None:
        super().__init__(plan.settings, plan.events, **given)
        self._plan = plan.calls
        self._say = say
        self._run: CallRun | None = None
        self._interrupted = False

    def startService(self) -> None:
        """Bind, and place the first call once the reactor runs."""
        super().startService()
        self.reactor.callWhenRunning(self._start_run)

    def _start_run(self) -> None:
        if self.running:
            self._run = CallRun(self.manager, self._plan, self.ledger)
            self._run.start().addCallback(self._run_over)

    def _run_over(self, outcome: Outcome) -> None:
        if self._record is not None:
            self._record.event(outcome.as_event(self.role, self.manager.clockwork.now()))
        if self.running:
            self._ending.stop(self.reactor)

    def stopService(self) -> Deferred[None]:
        """Place no further calls, end those that are up."""
        self._interrupted = not (self._run is not None and self._run.over)
        if self._run is not None:
            self._run.stop()
        return super().stopService()

    def _finish(self) -> None:
        super()._finish()
        _log.info("{outcome}", outcome=self.ledger.outcome)
        self._say(self.ledger.outcome, self._interrupted)


def recording_name(directory: str, call: Call) -> str:
    """A new file's name in ``directory``: UTC time, our session id; nothing the peer chose."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return str(Path(directory) / f"{stamp}-{os.getpid()}-{call.session}.wav")


def _result_now(started: Deferred[None]) -> None:
    """Raise what a Deferred that has fired failed with."""
    failures: list[Failure] = []
    started.addErrback(failures.append)
    if failures:
        failures[0].raiseException()
