"""Where two user agents of ours meet in one process: in memory, or over real loopback sockets.

A scenario is a coroutine over a `Meeting`; `InMemory` and `OnLoopback` run it, so that whatever
holds under the fake clock is also true of sockets and the reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sessioncore.events import Event
from sessioncore.manager import SessionManager
from sessioncore.settings import Settings
from sessioncore.testing.network import FakeNetwork

__all__ = ["InMemory", "Meeting", "OnLoopback", "Side"]

Scenario = Callable[[Any, "Meeting"], Coroutine[Any, Any, None]]


class Side:
    """A manager and the events it told."""

    def __init__(self, host: Any, **given: Any) -> None:
        listen = given.pop("listen", "udp:0:interface=127.0.0.1")
        on_incoming = given.pop("on_incoming", None)
        self.manager = SessionManager(
            host, Settings(listen=(listen,), **given), on_incoming=on_incoming
        )
        self.events: list[Event] = []
        self.manager.add_event_sink(self.events.append)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    @property
    def ladder(self) -> list[tuple[str, str]]:
        return [(event.name, str(event.media_state)) for event in self.events]

    def named(self, name: str) -> Any:
        """The one event of that name."""
        (found,) = (event for event in self.events if event.name == name)
        return found


class Meeting:
    """Makes sides, passes time, and ends what was begun."""

    def __init__(self, host: Callable[[], Any], sleep: Callable[[float], Deferred[None]]) -> None:
        self._host = host
        self.sleep = sleep
        self.sides: list[Side] = []

    async def side(self, **given: Any) -> Side:
        """A started manager."""
        host, listen = self._host()
        side = Side(host, listen=listen, **given)
        self.sides.append(side)
        await side.manager.start()
        return side

    @staticmethod
    def uri(side: Side, user: str = "bob") -> str:
        host, port = side.manager.local_addresses[0]
        return f"sip:{user}@{host}:{port}"

    async def stop(self) -> None:
        for side in self.sides:
            await side.manager.stop(1.0)


async def _run(scenario: Scenario, test: Any, meeting: Meeting) -> None:
    try:
        await scenario(test, meeting)
    finally:
        await meeting.stop()


class InMemory(SynchronousTestCase):
    """Runs scenarios on the in-memory network; ``seed`` is told when one fails."""

    seed = 1

    def play(self, scenario: Scenario, *, within: float = 120.0) -> None:
        with FakeNetwork(self.seed) as network:
            hosts = (network.host(f"192.0.2.{number}") for number in range(1, 100))
            meeting = Meeting(
                lambda: (host := next(hosts), f"udp:5060:interface={next(iter(host.addresses))}"),
                lambda seconds: task.deferLater(network.clock, seconds),  # type: ignore[arg-type]
            )
            played = Deferred.fromCoroutine(_run(scenario, self, meeting))
            network.run_until(lambda: played.called, within=within)
            self.successResultOf(played)
        self.assertEqual(self.flushLoggedErrors(), [])

    def folder(self) -> Path:
        path = Path(self.mktemp())
        path.mkdir(parents=True)
        return path


class OnLoopback(TestCase):
    """Runs the same scenarios with the real reactor; every packet crosses a real socket."""

    timeout = 60

    def play(self, scenario: Scenario, *, within: float = 0.0) -> Deferred[None]:
        meeting = Meeting(
            lambda: (reactor, "udp:0:interface=127.0.0.1"),
            lambda seconds: task.deferLater(reactor, seconds),  # type: ignore[arg-type]
        )
        return Deferred.fromCoroutine(_run(scenario, self, meeting))

    def folder(self) -> Path:
        path = Path(self.mktemp())
        path.mkdir(parents=True)
        return path
