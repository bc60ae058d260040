"""Events on their way to the sinks: queued in a transition, delivered at the end of the entry.

Observers (`IEventObserver`) only look on, so they need not be queued for: they are called at once.

An entry is whatever comes in from outside: a datagram, a tick, a run of deadlines, a call of the
application, a lookup that ends.  What an application does when it hears of an event is an entry
of its own, so no transition is ever interrupted by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

from twisted.logger import Logger

from sessioncore.errors import ConfigurationError
from sessioncore.events import Event
from sessioncore.vocabulary import MediaState, SessionRole

__all__ = ["Announcer", "EventSink", "EventSinks"]

EventSink: TypeAlias = Callable[[Any], object]
"""Called with each event; what it returns is ignored."""
_log = Logger(namespace="sessioncore.session.announcing")


class Chosen(NamedTuple):
    """Who wants events of one kind."""

    observers: tuple[EventSink, ...]
    sinks: tuple[EventSink, ...]


class EventSinks:
    """Event sinks, each with the kinds of events it wants (none named: all)."""

    __slots__ = ("_wants", "chosen")

    def __init__(self) -> None:
        self._wants: list[tuple[EventSink, tuple[type[Event], ...], bool]] = []
        # New tuples each time, since a sink may add and remove sinks while all are told.
        self.chosen: dict[type[Event], Chosen | None] = {}
        """Who wants events of a kind, for the kinds that `choose` was asked for."""

    def add(self, sink: EventSink, *kinds: type[Event], observes: bool = False) -> None:
        """Tell ``sink`` of every event from now on, or of these kinds.

        One that ``observes`` is called at once, others at the end of the entry.
        """
        self._wants.append((sink, kinds, observes))
        self.chosen.clear()

    def remove(self, sink: EventSink) -> None:
        """Tell ``sink`` no more; raises `ConfigurationError` where it was not told."""
        for place, (each, *_) in enumerate(self._wants):
            if each == sink:
                del self._wants[place]
                self.chosen.clear()
                return
        raise ConfigurationError(f"{sink!r} is not among the event sinks; remove what was added")

    def choose(self, kind: type[Event]) -> Chosen | None:
        """Who wants events of this kind; None where nobody does."""
        groups: tuple[list[EventSink], list[EventSink]] = ([], [])
        for sink, kinds, observes in self._wants:
            if not kinds or issubclass(kind, kinds):
                groups[not observes].append(sink)
        chosen = Chosen(*map(tuple, groups)) if any(groups) else None
        self.chosen[kind] = chosen
        return chosen

    def choose_with(self, others: Chosen | None, kind: type[Event]) -> Chosen | None:
        """``others``, and after them who of these wants events of this kind."""
        own = self.choose(kind)
        if own is None or others is None:
            return own or others
        return Chosen(others.observers + own.observers, others.sinks + own.sinks)


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
        if leg.sinks is not None:
            wanted = leg.sinks.choose_with(wanted, kind)
        if wanted is None:
            return
        event = kind(leg.name, leg.call_id, leg.role, leg.media.state, now, *details)
        observers, sinks = wanted
        for observer in observers:
            try:
                observer(event)
            except Exception:
                _log.failure("{observer} failed at {what}", observer=observer, what=event)
        if sinks:
            self.queue.append((sinks, event))
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
        queue = self.queue
        if not queue or self._delivering:
            return
        self._delivering = True
        self.entered += 1
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
