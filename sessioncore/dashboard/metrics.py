"""The metrics of a manager for Prometheus, in a registry of their own.

Counters are read when somebody asks.  Only what is known at the events of a call alone is kept
from them: set-up times, durations and judgements.  Every label has a fixed set of values, so no
peer can make the metrics grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import attrs
from zope.interface import implementer

from sessioncore.errors import ConfigurationError
from sessioncore.events import (
    CallAnswered,
    CallEnded,
    CallFailed,
    CallInitiated,
    Event,
    IncomingCall,
)
from sessioncore.interfaces import IEventObserver
from sessioncore.manager import ManagerStatistics, SessionManager
from sessioncore.media.statistics import PlaneStatistics
from sessioncore.session.counters import CallCounters
from sessioncore.sip.matching import Counters
from sessioncore.verdict import Judgement
from sessioncore.vocabulary import MILLISECOND, SECOND, SessionRole
from sessioncore.watching.notes import field_notes

if TYPE_CHECKING:
    from sessioncore.session.call import Call

__all__ = ["NEEDED", "Metrics", "metrics_available"]

SETUP_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 90.0, 180.0)
"""Seconds from the INVITE to its 200; people take their time."""
DURATION_BUCKETS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds from the 200 to the end."""
LATENESS_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04)
"""Seconds; a tick that is later than 10 ms may be heard."""
_GAUGES: Final = ("calls_up", "rtp_ports_free")
_GROUPS: Final[dict[str, type]] = {
    "calls": CallCounters,
    "sip": Counters,
    "media": PlaneStatistics,
}


def _find(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


_client: Any = _find("prometheus_client")
NEEDED: Final = (
    'metrics need the prometheus_client package; install it: pip install "sessioncore[metrics]"'
)


def metrics_available() -> bool:
    """Whether ``prometheus_client`` is installed."""
    return _client is not None


@implementer(IEventObserver)
class Metrics:
    """The metrics of ``manager`` from now on, until `close`.

    Raises `ConfigurationError` if ``prometheus_client`` is not installed.
    """

    kinds: Final = (IncomingCall, CallInitiated, CallAnswered, CallEnded, CallFailed)
    """The events that are needed."""

    def __init__(self, manager: SessionManager) -> None:
        if _client is None:
            raise ConfigurationError(NEEDED)
        self._manager = manager
        self._calls: dict[str, tuple[int, Call | None]] = {}
        self._answered: dict[str, int] = {}
        self.registry: Final = _client.CollectorRegistry(auto_describe=False)
        self._make_own()
        self.registry.register(_Read(manager))
        _client.ProcessCollector(registry=self.registry)
        _client.PlatformCollector(registry=self.registry)
        manager.add_event_sink(self, *self.kinds)

    def _make_own(self) -> None:
        registry = self.registry
        self._setup = _client.Histogram(
            "sessioncore_call_setup_seconds",
            "From the INVITE to the 200 OK, of calls that were answered.",
            ["role"],
            registry=registry,
            buckets=SETUP_BUCKETS,
        )
        self._duration = _client.Histogram(
            "sessioncore_call_duration_seconds",
            "From the 200 OK to the end, of calls that were answered.",
            ["role"],
            registry=registry,
            buckets=DURATION_BUCKETS,
        )
        self._judged = _client.Counter(
            "sessioncore_calls_judged",
            "Calls that are over, by the verdict on their audio.",
            ["role", "judgement"],
            registry=registry,
        )
        # Series that exist from the start let a rate be computed from the first call on.
        for role in SessionRole:
            self._setup.labels(role.value)
            self._duration.labels(role.value)
            for judgement in Judgement:
                self._judged.labels(role.value, judgement.value)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics in the format that ``accept`` (the header field) prefers; and its type."""
        encode, content_type = _client.exposition.choose_encoder(accept)
        return encode(self.registry), content_type

    def event(self, event: Event) -> None:
        """Take one event of these kinds."""
        _TAKE[event.__class__](self, event)

    def _begun(self, event: Event) -> None:
        self._calls[event.session] = event.at, self._manager.find_call(event.session)

    def _was_answered(self, event: Event) -> None:
        begun, _call = self._calls.get(event.session, (event.at, None))
        self._answered[event.session] = event.at
        self._setup.labels(event.role.value).observe((event.at - begun) / SECOND)

    def _over(self, event: Event) -> None:
        answered = self._answered.pop(event.session, None)
        if answered is not None:
            self._duration.labels(event.role.value).observe((event.at - answered) / SECOND)
        _begun, call = self._calls.pop(event.session, (0, None))
        judgement = Judgement.NOT_ANSWERED if call is None else call.verdict.judgement
        self._judged.labels(event.role.value, judgement.value).inc()

    def close(self) -> None:
        """Take no more events."""
        self._manager.remove_event_sink(self)


_TAKE: Final[dict[type[Event], Callable[[Metrics, Event], None]]] = {
    IncomingCall: Metrics._begun,
    CallInitiated: Metrics._begun,
    CallAnswered: Metrics._was_answered,
    CallEnded: Metrics._over,
    CallFailed: Metrics._over,
}


class _Read:
    """What is read from the manager at each scrape (a collector of ``prometheus_client``)."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self._notes = {name: _notes(kind) for name, kind in _GROUPS.items()}
        self._own_notes = _notes(ManagerStatistics)

    def collect(self) -> Iterator[Any]:
        """Every family of metrics."""
        core = _client.metrics_core
        read = attrs.asdict(self._manager.statistics())
        for name, value in read.items():
            if name in _GROUPS:
                for each, count in value.items():
                    note = self._notes[name].get(each, "")
                    yield core.CounterMetricFamily(f"sessioncore_{name}_{each}", note, count)
            elif name in _GAUGES:
                note = self._own_notes.get(name, "")
                yield core.GaugeMetricFamily(f"sessioncore_{name}", note, value)
            else:
                note = self._own_notes.get(name, "")
                yield core.CounterMetricFamily(f"sessioncore_{name}", note, value)
        yield core.GaugeMetricFamily(
            "sessioncore_accepting",
            "1 while new calls are taken, 0 once the server drains or stops.",
            int(self._manager.accepting),
        )
        yield from self._ticks(core)

    def _ticks(self, core: Any) -> Iterator[Any]:
        clockwork = self._manager.clockwork
        for name, count, note in (
            ("run", clockwork.ticks, "Ticks that were run, of media and of all else."),
            ("caught_up", clockwork.caught_up, "Ticks that were run late, after a later one."),
            ("missed", clockwork.missed, "Ticks that were skipped: too many to catch up."),
        ):
            yield core.CounterMetricFamily(f"sessioncore_ticks_{name}", note, count)
        lateness = clockwork.lateness
        buckets = [
            (str(limit), lateness.within(round(limit * 1000 * MILLISECOND)))
            for limit in LATENESS_BUCKETS
        ]
        yield core.HistogramMetricFamily(
            "sessioncore_tick_lateness_seconds",
            "How late ticks came.",
            buckets=[*buckets, ("+Inf", lateness.count)],
            sum_value=lateness.total / SECOND,
        )


def _notes(kind: type) -> dict[str, str]:
    """The first sentence that the source has on each counter."""
    try:
        notes = field_notes(kind)
    except OSError:
        return {}
    return {name: " ".join(note.split("\n\n")[0].split()) for name, note in notes.items()}
