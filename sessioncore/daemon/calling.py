"""Places the calls of one run, paced, each for so long, and reports what became of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sessioncore.errors import SessionCoreError
from sessioncore.media.hearing import Expectation, Listener
from sessioncore.media.sinks import Record, Sink
from sessioncore.media.sources import Silence
from sessioncore.verdict import SHARE
from sessioncore.vocabulary import SECOND
from sessioncore.watching.outcome import CallLedger, Outcome
from sessioncore.watching.report import RunReport

if TYPE_CHECKING:
    from sessioncore.manager import SessionManager
    from sessioncore.session.call import Call

__all__ = ["CallPlan", "CallRun"]

_log: Final = Logger(namespace="sessioncore.daemon.calling")


@frozen
class CallPlan:
    """Which calls a run places.

    ``uris`` are called in turn until there are ``calls`` of them, ``rate`` a second.
    ``duration`` is in seconds from the media on; None waits for the other side to hang up.
    With several calls ``record`` gets the number of the call before its suffix.  A call is good
    if the share ``min_received`` (0 to 1) of the packets arrived in both directions, and with
    ``require_proof`` only if the peer reports that.  With ``expect`` it is good if that was heard.
    """

    uris: tuple[str, ...]
    from_uri: str | None = None
    source: Any = field(factory=Silence)
    record: str | None = None
    duration: float | None = 10.0
    calls: int = 1
    rate: float = 10.0
    min_received: float = SHARE
    require_proof: bool = False
    expect: Expectation | None = None

    def recording(self, number: int) -> str | None:
        """The file for what call ``number`` (from 1) hears."""
        if self.record is None or self.calls == 1:
            return self.record
        path = Path(self.record)
        return str(path.with_name(f"{path.stem}-{number}{path.suffix}"))


class CallRun:
    """One run of a plan over a started manager.

    ``watch`` is given each call before it is placed; by default the ledger alone follows it.
    ``report`` follows the calls, too.
    """

    def __init__(
        self,
        manager: SessionManager,
        plan: CallPlan,
        ledger: CallLedger,
        watch: Callable[[Call], None] | None = None,
        report: RunReport | None = None,
    ) -> None:
        self._manager = manager
        self._plan = plan
        self._ledger = ledger
        self._watch = watch or ledger.watch
        self._report = report
        self._clockwork = manager.clockwork
        self._placed = 0
        self._open = 0
        self._stopped = False
        self._done: Deferred[Outcome] = Deferred()

    def start(self) -> Deferred[Outcome]:
        """Place the first call now; fires once all calls are over."""
        self._begin = self._clockwork.now()
        self._place_due(None, self._begin)
        return self._done

    @property
    def over(self) -> bool:
        """Whether all calls were placed and are over."""
        return self._done.called

    def stop(self) -> None:
        """Place no further calls; what is up is the manager's to end."""
        if not self._stopped:
            self._ledger.outcome.not_placed = self._plan.calls - self._placed
        self._stopped = True
        self._check()

    def _place_due(self, _none: None, now: int) -> None:
        gap = SECOND / self._plan.rate
        while not self._all_placed and self._begin + self._placed * gap <= now:
            self._place()
        if not self._all_placed:
            when = self._begin + round(self._placed * gap)
            self._clockwork.deadlines.at(when, self._place_due)
        self._check()

    @property
    def _all_placed(self) -> bool:
        return self._stopped or self._placed >= self._plan.calls

    def _place(self) -> None:
        number = self._placed = self._placed + 1
        plan = self._plan
        uri = plan.uris[(number - 1) % len(plan.uris)]
        recording = plan.recording(number)
        sinks: list[Sink] = [] if recording is None else [Record(recording)]
        listener = None if plan.expect is None else Listener(plan.expect, number)
        if listener is not None:
            sinks.append(listener)
        try:
            call = self._manager.prepare_call(
                uri, from_uri=plan.from_uri, source=plan.source, sink=sinks or None
            )
        except SessionCoreError as error:
            _log.error("call {number}: {error}", number=number, error=error)
            self._never_placed(uri, str(error))
            return
        self._open += 1
        self._watch(call)
        if listener is not None:
            self._ledger.judge_by(call, listener)
        if self._report is not None:
            self._report.watch(call, listener)
        call.when_ended().addCallback(self._call_ended)
        call.when_answered().addCallback(lambda call: call.when_media_ready()).addCallbacks(
            self._media_ready, lambda _failure: None, callbackArgs=(listener,)
        )
        # Its CallFailed event and when_ended say why a call fails.
        call.place().addErrback(lambda _failure: None)

    def _never_placed(self, uri: str, why: str) -> None:
        self._ledger.never_placed(why)
        if self._report is not None:
            self._report.never_placed(uri, why)

    def _media_ready(self, call: Call, listener: Listener | None) -> None:
        if listener is not None:
            listener.restart()  # what was heard before the answer is not what is expected
        if self._plan.duration is not None:
            self._clockwork.deadlines.at(
                self._clockwork.now() + round(self._plan.duration * SECOND), self._hang_up, call
            )

    def _hang_up(self, call: Call, now: int) -> None:
        call.hang_up()

    def _call_ended(self, _reason: object) -> None:
        self._open -= 1
        self._check()

    def _check(self) -> None:
        if self._all_placed and not self._open and not self._done.called:
            self._done.callback(self._ledger.outcome)
