"""`WebServer`: what a manager shows over HTTP, on one endpoint."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sessioncore.dashboard.board import Board
from sessioncore.dashboard.endpoint import WebPlan, cannot_listen
from sessioncore.dashboard.feed import Feed, MessagePage, Snapshot
from sessioncore.dashboard.gate import Gate
from sessioncore.dashboard.metrics import NEEDED, Metrics, metrics_available
from sessioncore.dashboard.pages import assets
from sessioncore.dashboard.probes import HealthProbe, MetricsPage, ReadyProbe
from sessioncore.dashboard.site import Text, WebSite
from sessioncore.errors import ConfigurationError
from sessioncore.manager import SessionManager

__all__ = ["WebServer"]

_log: Final = Logger(namespace="sessioncore.dashboard")


class WebServer:
    """Serves metrics and probes of ``manager``, and a page with its calls if the plan says so.

    It follows calls from now on, and listens from `start` to `stop`.  Raises `ConfigurationError`
    where metrics are wanted and ``prometheus_client`` is not installed.
    """

    def __init__(self, manager: SessionManager, plan: WebPlan, reactor: Any) -> None:
        self._manager = manager
        self._plan = plan
        self._reactor = reactor
        self._port: Any = None
        self.metrics: Final = self._make_metrics()
        pages: dict[str, Any] = {"/metrics": _metrics_page(self.metrics)}
        self._board: Board | None = None
        self._feed: Feed | None = None
        if plan.shows_calls:
            pages |= self._make_board()
        probes = {"/healthz": HealthProbe(manager), "/readyz": ReadyProbe(manager)}
        self.site: Final = WebSite(reactor, Gate(plan.token), pages, probes)

    def _make_metrics(self) -> Metrics | None:
        if self._plan.shows_calls and not metrics_available():
            return None  # the page is there without them
        return Metrics(self._manager)

    def _make_board(self) -> dict[str, Any]:
        """Follow the calls; returns the pages that show them, by path."""
        manager = self._manager
        board = self._board = Board(manager)
        manager.add_event_sink(board)
        manager.add_message_tap(board)
        feed = self._feed = Feed(board, manager.clockwork)
        return {
            **assets(),
            "/events": feed,
            "/now": Snapshot(board, manager.clockwork),
            "/message": MessagePage(board),
        }

    def start(self) -> Deferred[None]:
        """Listen; fails with `ConfigurationError` if that is not possible."""
        plan = self._plan
        listening: Deferred[Any] = maybeDeferred(
            lambda: plan.endpoint.listening(self._reactor, plan.option).listen(self.site)
        )
        return listening.addCallbacks(self._listens, self._does_not)

    def _listens(self, port: Any) -> None:
        self._port = port
        what = self._plan.option.lstrip("-")
        _log.info("{what} on {address}", what=what, address=self.address)

    def _does_not(self, failure: Failure) -> None:
        if isinstance(failure.value, ConfigurationError):
            failure.raiseException()
        raise cannot_listen(self._plan.option, self._plan.endpoint, failure.value) from None

    @property
    def address(self) -> str:
        """Where it listens, as a URL where it has one."""
        at = self._port.getHost()
        host = getattr(at, "host", None)
        if host is None:
            return str(at)
        scheme = "https" if self._plan.endpoint.description.startswith("ssl") else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{at.port}/"

    def stop(self) -> None:
        """Close the port and all connections, and follow no more calls."""
        if self.metrics is not None:
            self.metrics.close()
        if self._board is not None and self._feed is not None:
            self._manager.remove_event_sink(self._board)
            self._manager.remove_message_tap(self._board)
            self._feed.stop()
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()
        self.site.connections.abort()


def _metrics_page(metrics: Metrics | None) -> Any:
    return Text(404, f"404: {NEEDED}") if metrics is None else MetricsPage(metrics)
