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

    __slots__ = ("_wants", "chosen")

    def __init__(self) -> None:
        self._wants: list[tuple[EventSink, tuple[type[Event], ...]]] = []
        # A new tuple each time, since a sink may add and remove sinks while all are told.
        self.chosen: dict[type[Event], tuple[EventSink, ...]] = {}
        """Who wants events of a kind, for the kinds that `choose` was asked for."""

    def add(self, sink: EventSink, *kinds: type[Event]) -> None:
        """Tell ``sink`` of every event from now on, or of these kinds."""
        self._wants.append((sink, kinds))
        self.chosen.clear()

    def remove(self, sink: EventSink) -> None:
        """Tell ``sink`` no more; raises `ConfigurationError` where it was not told."""
        for place, (each, _) in enumerate(self._wants):
            if each == sink:
                del self._wants[place]
                self.chosen.clear()
                return
        raise ConfigurationError(f"{sink!r} is not among the event sinks; remove what was added")

    def choose(self, kind: type[Event]) -> tuple[EventSink, ...]:
        """Who wants events of this kind."""
        wants = self._wants
        chosen = tuple(sink for sink, kinds in wants if not kinds or issubclass(kind, kinds))
        self.chosen[kind] = chosen
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

    __slots__ = ("_delivering", "entered", "queue", "sinks")

    def __init__(self) -> None:
        self.sinks = EventSinks()
        # Functions, and what they are called with: sinks and an event.
        self.queue: deque[tuple[tuple[Callable[[Any], object], ...], Any]] = deque()
        self.entered = 0
        """How many entries are under way, one within the other; `enter` and `leave` count."""
        self._delivering = False

    def emit(self, leg: Subject, kind: type[Event], now: int, *details: object) -> None:
        """An event of ``leg``; it is only made where somebody wants it."""
        try:
            wanted = self.sinks.chosen[kind]
        except KeyError:
            wanted = self.sinks.choose(kind)
        own = leg.sinks
        if own is not None:
            wanted = (*wanted, *own.choose(kind))
        if not wanted:
            return
        event = kind(leg.name, leg.call_id, leg.role, leg.media.state, now, *details)
        self.queue.append((wanted, event))
        if not self.entered:
            self.flush()

    def later(self, function: Callable[[Any], object], argument: Any) -> None:
        """Call ``function`` once everything announced before has been delivered."""
        self.queue.append(((function,), argument))
        if not self.entered:
            self.flush()

    def enter(self) -> None:
        """Something came in."""
        self.entered += 1

    def leave(self) -> None:
        """It was worked on: deliver what it made happen."""
        self.entered -= 1
        if self.queue and not self.entered:
            self.flush()

    def __enter__(self) -> None:
        self.entered += 1

    def __exit__(self, *_: object) -> None:
        self.leave()

    def flush(self) -> None:
        """Deliver now; what is announced meanwhile is delivered too, in its turn."""
        if self._delivering:
            return
        self._delivering = True
        self.entered += 1
        queue = self.queue
        try:
            while queue:
                functions, argument = queue.popleft()
                for function in functions:
                    try:
                        function(argument)
                    except Exception:
                        _log.failure("delivering {what} failed", what=argument)
        finally:
            self.entered -= 1
            self._delivering = False
