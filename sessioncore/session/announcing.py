"""Delivers events to the sinks: queued during a transition, delivered at the end of the entry.

An entry is any input from outside: a datagram, a tick, a run of deadlines, a call by the
application, the result of a lookup.  If an event sink calls back, that is an entry of its own, so
it never interrupts a transition.
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
"""Called with each event; its return value is ignored."""
_log = Logger(namespace="sessioncore.session.announcing")


class _Receiver:
    """A function that is called with what was announced, until it is removed."""

    __slots__ = ("call", "kinds")

    def __init__(self, call: EventSink, kinds: tuple[type[Event], ...] = ()) -> None:
        self.call = call
        self.kinds = kinds


def _removed(_: object) -> None:
    """In place of a sink that was removed: events that were announced before may be queued."""


class EventSinks:
    """Event sinks, each with the kinds of events it wants (none named: all)."""

    __slots__ = ("_wants", "chosen")

    def __init__(self) -> None:
        self._wants: list[_Receiver] = []
        # A new tuple for each change, because a sink may add and remove sinks when called.
        self.chosen: dict[type[Event], tuple[_Receiver, ...]] = {}
        """The sinks by kind of event; a cache for `choose`."""

    def add(self, sink: EventSink, *kinds: type[Event]) -> None:
        """Call ``sink`` with every event from now on, or with those of ``kinds``."""
        self._wants.append(_Receiver(sink, kinds))
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

    def choose(self, kind: type[Event]) -> tuple[_Receiver, ...]:
        """The sinks that want events of this kind."""
        chosen = tuple(
            each for each in self._wants if not each.kinds or issubclass(kind, each.kinds)
        )
        self.chosen[kind] = chosen
        return chosen


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

    __slots__ = ("_delivering", "entered", "queue", "sinks")

    def __init__(self) -> None:
        self.sinks = EventSinks()
        # Who is called, and the argument: sinks and an event.
        self.queue: deque[tuple[tuple[_Receiver, ...], Any]] = deque()
        self.entered = 0
        """The depth of nested entries; `enter` and `leave` count it."""
        self._delivering = False

    def emit(self, leg: Subject, kind: type[Event], now: int, *details: object) -> None:
        """Announce an event of ``leg``; it is only made if a sink wants it."""
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
        """Call ``function`` once all events announced before have been delivered."""
        self.queue.append(((_Receiver(function),), argument))
        if not self.entered:
            self.flush()

    def enter(self) -> None:
        """An entry begins."""
        self.entered += 1

    def leave(self) -> None:
        """The entry ends: deliver its events."""
        self.entered -= 1
        if self.queue and not self.entered:
            self.flush()

    def __enter__(self) -> None:
        self.entered += 1

    def __exit__(self, *_: object) -> None:
        self.leave()

    def flush(self) -> None:
        """Deliver now, including events that are announced meanwhile, in order."""
        if self._delivering:
            return
        self._delivering = True
        self.entered += 1
        queue = self.queue
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
