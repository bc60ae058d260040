"""Events on their way to whoever wants to be told of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from sessioncore.errors import ConfigurationError
from sessioncore.events import Event

if TYPE_CHECKING:
    from sessioncore.session.leg import Leg

__all__ = ["Announcer", "EventSink"]

EventSink = Callable[[Event], None]
_log = Logger(namespace="sessioncore.session.announcing")


class Announcer:
    """Tells the sinks of events, in the order in which they happen."""

    def __init__(self) -> None:
        self._sinks: list[tuple[EventSink, tuple[type[Event], ...]]] = []
        # Who is told of a kind of event; a new tuple each time, since a sink may add and remove
        # sinks while all are being told.
        self._told: dict[type[Event], tuple[EventSink, ...]] = {}
        self._telling = False
        self._untold: deque[Event] = deque()

    def add_sink(self, sink: EventSink, *kinds: type[Event]) -> None:
        """Tell ``sink`` of every event from now on, or of these kinds."""
        self._sinks.append((sink, kinds))
        self._told.clear()

    def remove_sink(self, sink: EventSink) -> None:
        """Tell ``sink`` no more."""
        for place, (each, _) in enumerate(self._sinks):
            if each == sink:
                del self._sinks[place]
                self._told.clear()
                return
        raise ConfigurationError(f"{sink!r} is not among the event sinks; remove what was added")

    def _choose(self, kind: type[Event]) -> tuple[EventSink, ...]:
        chosen = tuple(sink for sink, kinds in self._sinks if not kinds or issubclass(kind, kinds))
        self._told[kind] = chosen
        return chosen

    def emit(self, leg: Leg, kind: type[Event], now: int, *details: object) -> None:
        """Tell everybody of one event of ``leg``."""
        event = kind(leg.name, leg.call_id, leg.role, leg.media.state, now, *details)
        if self._telling:
            # A sink made it happen: the others hear first what they have not heard yet.
            self._untold.append(event)
            return
        self._telling = True
        try:
            while True:
                try:
                    sinks = self._told[kind]
                except KeyError:
                    sinks = self._choose(kind)
                for sink in sinks:
                    try:
                        sink(event)
                    except Exception:
                        _log.failure("an event sink failed on {event}", event=event.name)
                if not self._untold:
                    break
                event = self._untold.popleft()
                kind = event.__class__
        finally:
            self._telling = False
