"""How the process does: CPU, lateness of ticks, ports, calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from sessioncore.dashboard.probes import not_healthy, not_ready
from sessioncore.manager import SessionManager
from sessioncore.vocabulary import MILLISECOND, SECOND

__all__ = ["Health"]

_REFUSED: Final = ("refused_busy", "refused_overloaded", "no_ports")


class Health:
    """Numbers of ``manager``, each since the last look; ``cpu`` returns CPU time in ns."""

    def __init__(
        self, manager: SessionManager, cpu: Callable[[], int] = time.process_time_ns
    ) -> None:
        self._manager = manager
        self._cpu = cpu
        self._at = manager.clockwork.now()
        self._cpu_then = cpu()
        self._lateness = manager.clockwork.lateness.copy()
        self._media = (0, 0)

    def look(self, now: int) -> dict[str, Any]:
        """The numbers from the last look until ``now``, and the counters so far."""
        manager = self._manager
        statistics = manager.statistics()
        seconds = max((now - self._at) / SECOND, 0.001)
        cpu, lateness = self._cpu(), manager.clockwork.lateness
        lately = lateness.since(self._lateness)
        media = statistics.media["packets_received"], statistics.media["packets_sent"]
        first, last = manager.settings.rtp_ports
        read = {
            "calls": statistics.calls_up,
            "max_calls": manager.settings.max_calls,
            "ports_free": statistics.rtp_ports_free,
            "ports": (last - first + 1) // 2,
            "cpu": round((cpu - self._cpu_then) / SECOND / seconds, 3),
            "late_ms": round(lately.percentile(99) / MILLISECOND, 2) if lately.count else 0.0,
            "missed": manager.clockwork.missed,
            "packets_in": round((media[0] - self._media[0]) / seconds),
            "packets_out": round((media[1] - self._media[1]) / seconds),
            "answered": statistics.calls["answered"],
            "failed": statistics.calls["failed"],
            "refused": sum(statistics.calls[name] for name in _REFUSED),
            "trouble": not_healthy(manager) or not_ready(manager),
        }
        self._at, self._cpu_then, self._media = now, cpu, media
        self._lateness = lateness.copy()
        return read
