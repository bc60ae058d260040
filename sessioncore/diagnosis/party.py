"""One side of the self-test, in a process of its own.

It reads orders as JSON lines from standard input, carries out a call for each, and writes what
happens as JSON lines to standard output.  It ends when its input ends, so that it never outlives
the process that started it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.protocols.basic import LineOnlyReceiver

from sessioncore.events import Event
from sessioncore.manager import SessionManager
from sessioncore.media.sinks import Record
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.vocabulary import SECOND, Address, Direction, host_port
from sessioncore.watching.event_log import json_line

__all__ = ["Party", "main"]

Tell = Callable[[dict[str, Any]], None]


class Party:
    """Carries out orders (`sessioncore.diagnosis.cases.Case.order`) over ``reactor``.

    ``tell`` is called with each record: events, where a case listens, and how it ended.
    """

    def __init__(self, reactor: Any, tell: Tell) -> None:
        self._reactor = reactor
        self._tell = tell

    def take(self, order: dict[str, Any]) -> Deferred[None]:
        """Carry out one order; fires once the call is over and its recording is written."""
        part = _Part(self._reactor, self._tell, order)
        return Deferred.fromCoroutine(part.play()).addErrback(
            lambda failure: self._tell({"case": order["case"], "error": failure.getErrorMessage()})
        )


class _Part:
    """This side's part in one call."""

    def __init__(self, reactor: Any, tell: Tell, order: dict[str, Any]) -> None:
        self._tell: Final = tell
        self._order = order
        self._manager = SessionManager(
            reactor,
            Settings(listen=(order["listen"],), codecs=(order["codec"],), ptime=order["ptime"]),
            on_incoming=self._answer,
        )
        self._over: Deferred[Call] = Deferred()
        self._wall_offset = time.time_ns() - self._manager.clockwork.now()
        self._manager.add_event_sink(self._event)

    def _event(self, event: Event) -> None:
        self._say(**json.loads(json_line(event, self._wall_offset)))

    def _say(self, **record: Any) -> None:
        self._tell({"case": self._order["case"], **record})

    async def play(self) -> None:
        """From the first socket to the last."""
        await self._manager.start()
        try:
            call = await self._call()
        except Exception:
            await self._manager.stop()
            raise
        await self._manager.stop()
        self._say(over=str(call.end_reason), verdict=call.verdict.as_dict())

    async def _call(self) -> Call:
        to = self._order.get("to")
        if to is None:
            self._say(listening=list(self._manager.local_addresses[0]))
            return await self._over
        return await self._place(tuple(to))

    async def _place(self, to: Address) -> Call:
        order = self._order
        call = self._manager.prepare_call(
            f"sip:test@{host_port(*to)}",
            source=self._source,
            sink=self._sink,
            late_offer=order["late_offer"],
        )
        await call.place()
        await call.when_answered()
        await call.when_media_ready()
        talks = (order["seconds"] - order["holds"]) / 2
        await self._wait(talks)
        if order["holds"]:
            await call.modify(Direction.SENDONLY)
            await self._wait(order["holds"])
            await call.modify(Direction.SENDRECV)
        await self._wait(talks)
        await call.hang_up()
        return call

    async def _answer(self, call: Call) -> None:
        order = self._order
        call.set_source(self._source)
        call.set_sink(self._sink)
        call.ring(early_media=order["early"])
        if order["rings"]:
            await self._wait(order["rings"])
        await call.answer()
        await call.when_ended()
        self._over.callback(call)

    @property
    def _source(self) -> Tone:
        return Tone((self._order["sends"],))

    @property
    def _sink(self) -> Record:
        return Record(self._order["record"])

    def _wait(self, seconds: float) -> Deferred[None]:
        clockwork = self._manager.clockwork
        waiting: Deferred[None] = Deferred()
        clockwork.deadlines.at(
            clockwork.now() + round(seconds * SECOND), lambda _none, _now: waiting.callback(None)
        )
        return waiting


class _Orders(LineOnlyReceiver):
    """The orders on standard input."""

    delimiter = b"\n"

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._party = Party(reactor, self._write)

    def lineReceived(self, line: bytes) -> None:
        """Begin to carry out one."""
        self._party.take(json.loads(line))

    def _write(self, record: dict[str, Any]) -> None:
        self.sendLine(json.dumps(record).encode())  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:
        """Nobody wants to know any more."""
        if self._reactor.running:
            self._reactor.stop()


def main() -> int:
    """Serve until the input ends."""
    from twisted.internet import reactor
    from twisted.internet.stdio import StandardIO

    running: Any = reactor
    StandardIO(_Orders(running), reactor=running)  # type: ignore[no-untyped-call]
    running.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
