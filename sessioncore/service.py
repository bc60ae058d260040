"""`SessionService`: a `SessionManager` as a Twisted service, for ``.tac`` files and plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from sessioncore.errors import ConfigurationError
from sessioncore.events import Event
from sessioncore.interfaces import ICallHandler
from sessioncore.manager import SessionManager
from sessioncore.settings import Settings

if TYPE_CHECKING:
    from sessioncore.net.taps import TakesMessages, TakesReports
    from sessioncore.session.call import Call, TakesEvents

__all__ = ["SessionService", "raise_failure"]

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)
_LONGEST_GRACE: Final = 86_400
_log: Final = Logger(namespace="sessioncore.service")


class SessionService(Service):
    """Starts and stops a `SessionManager` with the Twisted application it belongs to.

    The arguments are those of `SessionManager`.  Without ``reactor``, the service uses the
    reactor of the process, and does not import it before it is needed.  Stopping the service
    ends all calls; those that are not over after ``grace`` seconds are given up.

    Sockets are bound once per start: in `privilegedStartService` if that is called, so that
    ``twistd --uid`` can bind a reserved port, else in `startService`.  If a socket cannot be
    bound, both raise `ConfigurationError`, and nothing stays open.

    A stopped manager cannot be restarted, so each start makes a fresh one.  What belongs to
    every manager is given to the service (``on_incoming``, `add_event_sink`, `add_message_tap`,
    `add_report_tap`).
    """

    name = "sessioncore"

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        on_incoming: Callable[[Call], Any] | ICallHandler | None = None,
        reactor: Any = None,
        grace: float = 4.0,
        **replaced: Any,
    ) -> None:
        if not isinstance(grace, int | float) or not 0 <= grace <= _LONGEST_GRACE:
            raise ConfigurationError(
                f"a grace of {grace!r} is not usable; give seconds up to {_LONGEST_GRACE}"
            )
        self.settings = settings or Settings()
        self._grace = grace
        self._reactor = reactor
        self._on_incoming = on_incoming
        self._replaced = replaced
        self._sinks: list[tuple[Any, tuple[type[Event], ...]]] = []
        self._taps: list[TakesMessages] = []
        self._report_taps: list[TakesReports] = []
        self._manager: SessionManager | None = None
        self._open = False
        self._stopping = False

    @property
    def reactor(self) -> Any:
        """The given reactor, or the reactor of the process."""
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        return self._reactor

    @property
    def manager(self) -> SessionManager:
        """The manager of this start, or of the last one once the service has stopped.

        Raises `ConfigurationError` before the first start.
        """
        if self._manager is None:
            raise ConfigurationError(
                "the service has no manager before it starts; start it first, or pass the"
                " handler and the event sinks to the service"
            )
        return self._manager

    def make_manager(self) -> SessionManager:
        """A new manager, not started, for one start; override this to set up more."""
        return SessionManager(
            self.reactor, self.settings, on_incoming=self._on_incoming, **self._replaced
        )

    @overload
    def add_event_sink(
        self, sink: Callable[[Event], object] | TakesEvents, *kinds: type[Event]
    ) -> None: ...
    @overload
    def add_event_sink(self, sink: Callable[[E], object], kind: type[E], /) -> None: ...
    @overload
    def add_event_sink(
        self, sink: Callable[[E | F], object], kind: type[E], other: type[F], /
    ) -> None: ...
    def add_event_sink(self, sink: Any, *kinds: type[Event]) -> None:
        """Report the events of this manager and of all later ones to ``sink``.

        As `SessionManager.add_event_sink`; while the service does not run, a wrong sink is
        reported by the next start.
        """
        if self._open:
            self.manager.add_event_sink(sink, *kinds)
        self._sinks.append((sink, kinds))

    def add_message_tap(self, tap: TakesMessages) -> None:
        """Give ``tap`` the SIP messages of this manager and of all later ones.

        As `SessionManager.add_message_tap`; while the service does not run, a wrong tap is
        reported by the next start.
        """
        if self._open:
            self.manager.add_message_tap(tap)
        self._taps.append(tap)

    def add_report_tap(self, tap: TakesReports) -> None:
        """Give ``tap`` the RTCP of this manager and of all later ones.

        As `SessionManager.add_report_tap`; while the service does not run, a wrong tap is
        reported by the next start.
        """
        if self._open:
            self.manager.add_report_tap(tap)
        self._report_taps.append(tap)

    # --- starting

    def privilegedStartService(self) -> None:
        """Bind the sockets while the process still has its privileges."""
        self._bind_or_log()

    def startService(self) -> None:
        """Bind the sockets, unless `privilegedStartService` has."""
        self._bind_or_log()
        super().startService()  # type: ignore[no-untyped-call]

    def _bind_or_log(self) -> None:
        try:
            self._bind()
        except ConfigurationError as error:
            # A daemon has no standard error; operators look for the reason in its log.
            _log.critical("cannot start: {error}", error=error)
            raise

    def _bind(self) -> None:
        """Make and start a manager, once per start; raises `ConfigurationError`."""
        if self._open:
            return
        if self._stopping:
            raise ConfigurationError(
                "the service is still stopping; wait for the Deferred of stopService"
            )
        try:
            self._manager = self._started()
        except ConfigurationError:
            self._close()
            raise
        self._open = True

    def _started(self) -> SessionManager:
        manager = self.make_manager()
        for sink, kinds in self._sinks:
            manager.add_event_sink(sink, *kinds)
        for tap in self._taps:
            manager.add_message_tap(tap)
        for tapped in self._report_taps:
            manager.add_report_tap(tapped)
        starting = manager.start()
        if starting.called:  # otherwise Twisted logs a later failure
            raise_failure(starting)
        return manager

    # --- stopping

    def stopService(self) -> Deferred[None]:
        """End all calls as their state demands, and close the sockets.

        Fires when that is done, shortly after the grace at the latest.  Does nothing before
        the first start.  A second call fires with the first; cancelling either ends that wait
        and nothing else.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        manager = self._manager
        if manager is None:
            return succeed(None)
        if self._open:
            self._open, self._stopping = False, True
            stopped = maybeDeferred(manager.stop, self._grace)
            stopped.addErrback(lambda failure: _log.failure("stopping failed", failure))
            stopped.addCallback(self._gone)
        # A Deferred of its own: cancelling it does not keep the service from closing.
        return manager.stop(self._grace).addBoth(lambda _: None)

    def _gone(self, _: object) -> None:
        self._stopping = False
        self._close()

    def _close(self) -> None:
        """Close what a subclass opened in `make_manager`; also called if a start fails."""


def raise_failure(fired: Deferred[None]) -> None:
    """Raise the exception of a Deferred that has failed."""
    failures: list[Failure] = []
    fired.addErrback(failures.append)
    if failures:
        failures[0].raiseException()
