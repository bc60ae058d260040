"""The pages for machines: metrics, and probes of whether the server runs and takes calls."""

from __future__ import annotations

from typing import Any, Final

from twisted.web.resource import Resource

from sessioncore.dashboard.metrics import Metrics
from sessioncore.dashboard.site import Text
from sessioncore.manager import SessionManager
from sessioncore.vocabulary import SECOND

__all__ = ["HealthProbe", "MetricsPage", "ReadyProbe", "not_healthy", "not_ready"]

MOST_OVERDUE: Final = 1 * SECOND
"""So late (ns) no tick comes in a process that works."""
_OPEN: Final = b"application/openmetrics-text"
_OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0"


def not_healthy(manager: SessionManager) -> str | None:
    """What is wrong with the process, or None.

    That somebody is answered shows that the reactor runs; what is left is whether the clockwork
    does, which drives media and all timers.
    """
    if not manager.running:
        return "the server does not run"
    overdue = manager.clockwork.overdue
    if overdue > MOST_OVERDUE:
        return f"ticks do not come: the next one is late by {overdue / SECOND:.1f} s"
    return None


def not_ready(manager: SessionManager) -> str | None:
    """Why a new call would be refused, or None."""
    if not manager.accepting:
        return "draining or stopping: no new calls are taken"
    now = manager.statistics()
    if not now.rtp_ports_free:
        return "no RTP ports are free"
    if now.calls_up >= manager.settings.max_calls:
        return "as many calls are up as allowed"
    return None


class _Probe(Resource):
    """Answers 200, or 503 with the reason."""

    isLeaf = True

    def __init__(self, manager: SessionManager) -> None:
        super().__init__()
        self._manager = manager

    def wrong(self) -> str | None:
        """The reason for 503, or None."""
        raise NotImplementedError

    def render(self, request: Any) -> bytes:
        """One word, or the reason."""
        wrong = self.wrong()
        return (
            Text(200, "ok").render(request) if wrong is None else Text(503, wrong).render(request)
        )


class HealthProbe(_Probe):
    """``/healthz``: whether the process works; if it does not, restart it."""

    def wrong(self) -> str | None:
        """See `not_healthy`."""
        return not_healthy(self._manager)


class ReadyProbe(_Probe):
    """``/readyz``: whether a call that comes now would be taken; if not, send it elsewhere."""

    def wrong(self) -> str | None:
        """See `not_ready`."""
        return not_ready(self._manager)


class MetricsPage(Resource):
    """``/metrics`` for Prometheus."""

    isLeaf = True

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def render(self, request: Any) -> bytes:
        """All metrics in the format that the client prefers."""
        # Not the field itself, which may hold a version that nobody can read.
        accepted = request.requestHeaders.getRawHeaders(b"Accept", (b"",))[0]
        body, content_type = self._metrics.text(_OPEN_METRICS if _OPEN in accepted else "")
        request.setHeader("Content-Type", content_type)
        return body
