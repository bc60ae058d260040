"""Delivers events to the sinks: queued during a transition, delivered at the end of the entry.

An entry is any input from outside: a datagram, a tick, a run of deadlines, a call by the
application, the result of a lookup.  If an event sink calls back, that is an entry of its own, so
it never interrupts a transition.  An observer (`IEventObserver`) never calls back, so it is called
at once.
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
"""Called with each event; its return value is ignored."""
_log = Logger(namespace="sessioncore.session.announcing")


class _Receiver:
    """A function that is called with what was announced, until it is removed."""

    __slots__ = ("call", "kinds", "observes")

    def __init__(
        self, call: EventSink, kinds: tuple[type[Event], ...] = (), observes: bool = False
    ) -> None:
        self.call = call
        self.kinds = kinds
        self.observes = observes


def _removed(_: object) -> None:
    """In place of a sink that was removed: events that were announced before may be queued."""


class Chosen(NamedTuple):
    """Who wants events of one kind."""

    observers: tuple[_Receiver, ...]
    sinks: tuple[_Receiver, ...]


class EventSinks:
    """Event sinks, each with the kinds of events it wants (none named: all)."""

    __slots__ = ("_wants", "chosen")

    def __init__(self) -> None:
        self._wants: list[_Receiver] = []
        # New tuples for each change, because a sink may add and remove sinks when called.
        self.chosen: dict[type[Event], Chosen | None] = {}
        """Who wants events, by kind; a cache for `choose`."""

    def add(self, sink: EventSink, *kinds: type[Event], observes: bool = False) -> None:
        """Call ``sink`` with every event from now on, or with those of ``kinds``.

        A sink that ``observes`` is called at once, others at the end of the entry.
        """
        self._wants.append(_Receiver(sink, kinds, observes))
        self.chosen.clear()

    def remove(self, sink: EventSink) -> None:
        """Stop calling ``sink`` at once; raises `ConfigurationError` if it was not added."""
        for place, each in enumerate(self._wants):
            if each.call == sink:
                del self._wants[place]
                each.call = _removed
                self.chosen.clear()
                return
        raise ConfigurationError(
            f"{sink!r} is not among the event sinks; give the object that was added"
        )

    def choose(self, kind: type[Event]) -> Chosen | None:
        """Who wants events of this kind; None if nobody does."""
        groups: tuple[list[_Receiver], list[_Receiver]] = ([], [])
        for each in self._wants:
            if not each.kinds or issubclass(kind, each.kinds):
                groups[not each.observes].append(each)
        chosen = Chosen(*map(tuple, groups)) if any(groups) else None
        self.chosen[kind] = chosen
        return chosen

    def choose_with(self, others: Chosen | None, kind: type[Event]) -> Chosen | None:
        """``others``, followed by those of these that want events of this kind."""
        own = self.chosen[kind] if kind in self.chosen else self.choose(kind)
        if own is None or others is None:
            return own or others
        return Chosen(others.observers + own.observers, others.sinks + own.sinks)


class _HasState(Protocol):
    state: MediaState


class Subject(Protocol):
    """The subject of an event: a leg."""

    name: str
    call_id: str
    role: SessionRole
    sinks: EventSinks | None

    @property
    def media(self) -> _HasState:
        """Its media, for the media state at the time of the event."""


class Announcer:
    """Queues events and delivers them, in the order in which they happened.

    Between `enter` and `leave` only `flush` delivers events; outside an entry an event is
    delivered at once.
    """

    __slots__ = ("_chosen", "_delivering", "entered", "queue", "sinks")

    def __init__(self) -> None:
        self.sinks = EventSinks()
        self._chosen = self.sinks.chosen
        # Who is called, and the argument: sinks and an event.
        self.queue: deque[tuple[tuple[_Receiver, ...], Any]] = deque()
        self.entered = 0
        """The depth of nested entries; `enter` and `leave` count it."""
        self._delivering = False

    def emit(self, leg: Subject, kind: type[Event], now: int, *details: object) -> None:
        """Announce an event of ``leg``; it is only made if a sink wants it."""
        try:
            wanted = self._chosen[kind]
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
                observer.call(event)
            except Exception:
                _log.failure("{observer} failed at {what}", observer=observer.call, what=event)
        if sinks:
            self.queue.append((sinks, event))
            if not self.entered:
                self.flush()

    def later(self, function: Callable[[Any], object], argument: Any) -> None:
        """Call ``function`` once all events announced before have been delivered."""
        self.queue.append(((_Receiver(function),), argument))
        if not self.entered:
            self.flush()

    def enter(self) -> None:
        """An entry begins."""
        self.entered += 1

    def leave(self, *_: object) -> None:
        """The entry ends, maybe by an exception: deliver its events."""
        self.entered -= 1
        if self.queue and not self.entered:
            self.flush()

    __enter__, __exit__ = enter, leave

    def flush(self) -> None:
        """Deliver now, including events that are announced meanwhile, in order."""
        queue = self.queue
        if not queue or self._delivering:
            return
        self._delivering = True
        self.entered += 1
        try:
            while queue:
                receivers, argument = queue.popleft()
                for receiver in receivers:
                    try:
                        receiver.call(argument)
                    except Exception:
                        _log.failure("delivering {what} failed", what=argument)
        finally:
            self.entered -= 1
            self._delivering = False
