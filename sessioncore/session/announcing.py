"""Events on their way to the sinks: queued in a transition, delivered at the end of the entry.

An entry is whatever comes in from outside: a datagram, a tick, a run of deadlines, a call of the
application, a lookup that ends.  What an application does when it hears of an event is an entry
of its own, so no transition is ever interrupted by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from twisted.logger import Logger

from sessioncore.errors import ConfigurationError
from sessioncore.events import Event
from sessioncore.vocabulary import MediaState, SessionRole

__all__ = ["Announcer", "EventSink", "EventSinks"]

EventSink: TypeAlias = Callable[[Any], object]
"""Called with each event; what it returns is ignored."""
_log = Logger(namespace="sessioncore.session.announcing")


class EventSinks:
    """Event sinks, each with the kinds of events it wants (none named: all)."""

    __slots__ = ("_chosen", "_wants")

    def __init__(self) -> None:
        self._wants: list[tuple[EventSink, tuple[type[Event], ...]]] = []
        # By kind; a new tuple each time, since a sink may add and remove sinks while all are told.
        self._chosen: dict[type[Event], tuple[EventSink, ...]] = {}

    def add(self, sink: EventSink, *kinds: type[Event]) -> None:
        """Tell ``sink`` of every event from now on, or of these kinds."""
        self._wants.append((sink, kinds))
        self._chosen.clear()

    def remove(self, sink: EventSink) -> None:
        """Tell ``sink`` no more; raises `ConfigurationError` where it was not told."""
        for place, (each, _) in enumerate(self._wants):
            if each == sink:
                del self._wants[place]
                self._chosen.clear()
                return
        raise ConfigurationError(f"{sink!r} is not among the event sinks; remove what was added")

    def of(self, kind: type[Event]) -> tuple[EventSink, ...]:
        """Who wants events of this kind."""
        try:
            return self._chosen[kind]
        except KeyError:
            wants = self._wants
            chosen = tuple(sink for sink, kinds in wants if not kinds or issubclass(kind, kinds))
            self._chosen[kind] = chosen
            return chosen


class _HasState(Protocol):
    state: MediaState


class Subject(Protocol):
    """Whom an event is about: a leg."""

    name: str
    call_id: str
    role: SessionRole
    sinks: EventSinks | None

    @property
    def media(self) -> _HasState:
        """Its media, for the state in the moment of the event."""


class Announcer:
    """Queues events and delivers them, in the order in which they happened.

    Between `enter` and `leave` nothing is delivered but by `flush`; outside an entry an event is
    delivered at once.
    """

    def __init__(self) -> None:
        self.sinks = EventSinks()
        self._queue: deque[Event | tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._entered = 0
        self._delivering = False

    def emit(self, leg: Subject, kind: type[Event], now: int, *details: object) -> None:
        """An event of ``leg``; it is only made where somebody wants it."""
        wanted, own = self.sinks.of(kind), leg.sinks
        told = () if own is None else own.of(kind)
        if not (wanted or told):
            return
        event = kind(leg.name, leg.call_id, leg.role, leg.media.state, now, *details)
        if wanted:
            self._queue.append(event)
        if told:
            self._queue.append((_tell, (told, event)))
        if not self._entered:
            self.flush()

    def later(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call ``function`` once everything announced before has been delivered."""
        self._queue.append((function, arguments))
        if not self._entered:
            self.flush()

    def enter(self) -> None:
        """Something came in."""
        self._entered += 1

    def leave(self) -> None:
        """It was worked on: deliver what it made happen."""
        self._entered -= 1
        if self._queue and not self._entered:
            self.flush()

    def __enter__(self) -> None:
        self._entered += 1

    def __exit__(self, *_: object) -> None:
        self.leave()

    def flush(self) -> None:
        """Deliver now; what is announced meanwhile is delivered too, in its turn."""
        if self._delivering:
            return
        self._delivering = True
        self._entered += 1
        queue = self._queue
        try:
            while queue:
                item = queue.popleft()
                if item.__class__ is tuple:
                    function, arguments = item
                    _call(function, arguments)
                else:
                    _tell(self.sinks.of(item.__class__), item)  # type: ignore[arg-type]
        finally:
            self._entered -= 1
            self._delivering = False


def _tell(sinks: tuple[EventSink, ...], event: Event) -> None:
    for sink in sinks:
        try:
            sink(event)
        except Exception:
            _log.failure("an event sink failed on {event}", event=event.name)


def _call(function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    try:
        function(*arguments)
    except Exception:
        _log.failure("unexpected failure at the end of an entry")
