"""`WebServer`: what a manager shows over HTTP, on one endpoint."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sessioncore.dashboard.endpoint import WebPlan, cannot_listen
from sessioncore.dashboard.gate import Gate
from sessioncore.dashboard.metrics import Metrics
from sessioncore.dashboard.probes import HealthProbe, MetricsPage, ReadyProbe
from sessioncore.dashboard.site import WebSite
from sessioncore.errors import ConfigurationError
from sessioncore.manager import SessionManager

__all__ = ["WebServer"]

_log: Final = Logger(namespace="sessioncore.dashboard")


class WebServer:
    """Serves the metrics and probes of ``manager`` from `start` to `stop`."""

    def __init__(self, manager: SessionManager, plan: WebPlan, reactor: Any) -> None:
        self._plan = plan
        self._reactor = reactor
        self.metrics: Final = Metrics(manager)
        self.site: Final = WebSite(
            reactor,
            Gate(plan.token),
            {"/metrics": MetricsPage(self.metrics)},
            {"/healthz": HealthProbe(manager), "/readyz": ReadyProbe(manager)},
        )
        self._port: Any = None

    def start(self) -> Deferred[None]:
        """Listen; fails with `ConfigurationError` if that is not possible."""
        plan = self._plan
        listening: Deferred[Any] = maybeDeferred(
            lambda: plan.endpoint.listening(self._reactor, plan.option).listen(self.site)
        )
        return listening.addCallbacks(self._listens, self._does_not)

    def _listens(self, port: Any) -> None:
        self._port = port
        _log.info("{option} on {address}", option=self._plan.option, address=self.address)

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
        """Close the port and all connections."""
        self.metrics.close()
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()
        self.site.connections.abort()
