"""The board: which calls are shown, and snapshots of them as JSON.

Messages and events of calls are kept, within bounds, so that whoever opens the page sees how a call
began.  Numbers are read only while somebody looks.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from zope.interface import implementer

from sessioncore.dashboard.followed import FollowedCall, encode, safe
from sessioncore.dashboard.health import Health
from sessioncore.events import (
    CallEnded,
    CallFailed,
    Event,
    IncomingCall,
    OutgoingCallPrepared,
    VerdictChanged,
)
from sessioncore.interfaces import IEventObserver, IMessageTap
from sessioncore.manager import SessionManager
from sessioncore.vocabulary import SECOND, Address, host_port
from sessioncore.watching.messages import Message, call_id_of
from sessioncore.watching.trace import readable
from sessioncore.watching.wall_clock import WallClock

__all__ = ["Board"]

MOST_FOLLOWED: Final = 100
"""Calls that are up and shown."""
MOST_ENDED: Final = 30
"""Calls that were answered, have ended and are still shown."""
MOST_FAILED: Final = 20
"""Calls that failed and are still shown.  No flood of them drives the others out."""
MOST_WAITING: Final = 64
"""Messages that wait for the event of the call they begin."""
MOST_ALIKE: Final = 2
"""Calls of one Call-ID that get its messages: both legs of a call to ourselves."""
MOST_GONE: Final = 2000
"""Calls that are not shown any more, of which readers were not told yet."""
LOOKS: Final = 10
"""A look at a tenth of the calls takes place so often each second: all at once would make a tick
late."""


@implementer(IEventObserver, IMessageTap)
class Board:
    """Follows the calls of ``manager``: an observer of its events, and a tap of its messages."""

    def __init__(self, manager: SessionManager, wall: Callable[[], int] = time.time_ns) -> None:
        self._manager = manager
        self._wall = WallClock(manager.clockwork.now, wall).ns
        self._health = Health(manager)
        self._up: dict[str, FollowedCall] = {}
        self._by_call_id: dict[str, list[FollowedCall]] = {}
        self._ended: OrderedDict[str, FollowedCall] = OrderedDict()
        self._failed: OrderedDict[str, FollowedCall] = OrderedDict()
        self._waiting: deque[tuple[str, Message]] = deque(maxlen=MOST_WAITING)
        self._gone: deque[str] = deque(maxlen=MOST_GONE)
        self._look = 0
        self._looked_at = manager.clockwork.now()
        self._now = self._health.look(self._looked_at)

    # --- what happens

    def message(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        transport: str,
        sent: bool,
        at: int,
    ) -> None:
        """Keep a message of a call that is followed (`IMessageTap`)."""
        message = Message(data, source, destination, transport, sent, at)
        call_id = call_id_of(data).decode("utf-8", "backslashreplace")
        alike = self._by_call_id.get(call_id, ())
        for followed in alike:
            followed.message(message)
        if not alike and not sent:
            # The call that an INVITE begins is announced after it.
            self._waiting.append((call_id, message))

    def event(self, event: Event) -> None:
        """Take one event of any call."""
        followed = self._up.get(event.session)
        if followed is None:
            followed = self._follow(event)
        if followed is None:
            return
        followed.event(event)
        if isinstance(event, CallEnded | CallFailed):
            self._over(followed, isinstance(event, CallFailed))

    def _follow(self, event: Event) -> FollowedCall | None:
        """Follow the call of this event, if it begins or turns bad, and there is room."""
        begins = isinstance(event, IncomingCall | OutgoingCallPrepared)
        turns_bad = isinstance(event, VerdictChanged) and event.verdict.faulty
        if not begins and not turns_bad:
            return None
        if len(self._up) >= MOST_FOLLOWED and not (turns_bad and self._make_room()):
            return None
        followed = FollowedCall(event, self._manager.find_call(event.session))
        self._up[event.session] = followed
        self._listen(followed)
        for call_id, message in self._waiting:
            if call_id == followed.call_id:
                followed.message(message)
        return followed

    def _listen(self, followed: FollowedCall) -> None:
        """Let it get the messages of its Call-ID."""
        alike = self._by_call_id.setdefault(followed.call_id, [])
        alike.append(followed)
        del alike[:-MOST_ALIKE]

    def _ignore(self, followed: FollowedCall) -> None:
        """Let it get no more messages."""
        alike = self._by_call_id.get(followed.call_id, [])
        if followed in alike:
            alike.remove(followed)
        if not alike:
            self._by_call_id.pop(followed.call_id, None)

    def _make_room(self) -> bool:
        """Follow the oldest call without a fault no more."""
        for followed in self._up.values():
            if not followed.faulty:
                del self._up[followed.session]
                self._ignore(followed)
                self._gone.append(followed.session)
                return True
        return False

    def _over(self, followed: FollowedCall, failed: bool) -> None:
        """Go on showing a call that is over; its last messages come after its last event."""
        del self._up[followed.session]
        kept, most = (self._failed, MOST_FAILED) if failed else (self._ended, MOST_ENDED)
        kept[followed.session] = followed
        while len(kept) > most:
            _session, gone = kept.popitem(last=False)
            self._ignore(gone)
            self._gone.append(gone.session)

    def _all(self) -> Iterator[FollowedCall]:
        yield from self._up.values()
        yield from self._ended.values()
        yield from self._failed.values()

    # --- what is shown

    def look(self, now: int) -> bool:
        """Read the numbers of a tenth of the calls; True once all had their turn.

        To be called `LOOKS` times a second while somebody reads `changes`.
        """
        self._look = (self._look + 1) % LOOKS
        for place, followed in enumerate(self._up.values()):
            if place % LOOKS == self._look:
                followed.sample(now)
        if self._look == 0:
            self._looked_at = now
            self._now = self._health.look(now)
        return self._look == 0

    def look_at_all(self, now: int) -> None:
        """Read the numbers of all calls, unless that was done within the last second."""
        if now - self._looked_at >= SECOND:
            self._looked_at = now
            self._now = self._health.look(now)
            for followed in self._up.values():
                followed.sample(now)

    def full(self) -> str:
        """Everything as JSON."""
        now = self._manager.clockwork.now()
        head = encode({**self._frame(now), "server": self._server()})
        calls = ",".join([each.full(self._wall) for each in self._all()])
        return f'{head[:-1]},"calls":[{calls}]}}'

    def changes(self) -> str:
        """What is new since the last call of this method, as JSON."""
        now = self._manager.clockwork.now()
        changed = [each for each in self._all() if each.changed]
        for each in changed:
            each.changed = False
        head = encode({**self._frame(now), "gone": list(self._gone)})
        self._gone.clear()
        about = ",".join([each.about(self._wall) for each in changed])
        numbers = ",".join([f'"{each.session}":{each.numbers()}' for each in self._up.values()])
        return f'{head[:-1]},"changed":[{about}],"numbers":{{{numbers}}}}}'

    def _frame(self, now: int) -> dict[str, Any]:
        return {
            "t": self._wall(now) / SECOND,
            "health": self._now,
            "more": max(0, self._now["calls"] - len(self._up)),
        }

    def _server(self) -> dict[str, Any]:
        manager = self._manager
        return {
            "name": safe(manager.settings.user_agent),
            "listens": [host_port(*address) for address in manager.local_addresses],
        }

    def text_of(self, session: str, number: int) -> str | None:
        """Message ``number`` of a call's ladder as text without secrets, or None."""
        for kept in (self._up, self._ended, self._failed):
            followed = kept.get(session)
            steps = [] if followed is None else followed.ladder.steps
            if 0 <= number < len(steps):
                data = steps[number].data
                return None if data is None else "\n".join(readable(data))
        return None
