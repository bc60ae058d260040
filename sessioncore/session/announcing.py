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
    """Tells all sinks of every event, in the order in which they happen."""

    def __init__(self) -> None:
        self._sinks: list[EventSink] = []
        self._telling = False
        self._untold: deque[Event] = deque()

    def add_sink(self, sink: EventSink) -> None:
        """Tell ``sink`` of every event from now on."""
        # A new list each time: a sink may add and remove sinks while all are being told.
        self._sinks = [*self._sinks, sink]

    def remove_sink(self, sink: EventSink) -> None:
        """Tell ``sink`` no more."""
        others = self._sinks.copy()
        try:
            others.remove(sink)
        except ValueError:
            raise ConfigurationError(
                f"{sink!r} is not among the event sinks; remove what was added"
            ) from None
        self._sinks = others

    def emit(self, leg: Leg, kind: Callable[..., Event], now: int, *details: object) -> None:
        """Tell everybody of one event of ``leg``."""
        event = kind(leg.name, leg.call_id, leg.role, leg.media.state, now, *details)
        if self._telling:
            # A sink made it happen: the others hear first what they have not heard yet.
            self._untold.append(event)
            return
        self._telling = True
        try:
            while True:
                for sink in self._sinks:
                    try:
                        sink(event)
                    except Exception:
                        _log.failure("an event sink failed on {event}", event=event.name)
                if not self._untold:
                    break
                event = self._untold.popleft()
        finally:
            self._telling = False
