"""`LegPair`: two user agents that call each other in memory, to test an application.

with LegPair(seed=7) as pair:
    call = pair.connect(source=Tone((440.0,)), answer=lambda call: my_bot(call))
    pair.advance(2.0)
    assert call.media_state is MediaState.ACTIVE
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sessioncore.events import Event
from sessioncore.manager import SessionManager
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.testing.network import FakeNetwork

__all__ = ["LegPair"]

_CALLER, _CALLEE = "192.0.2.1", "192.0.2.2"


class LegPair:
    """A caller and a callee, each with its own manager, on one `FakeNetwork`.

    ``caller`` and ``callee`` are the `SessionManager`s, ``events`` the events of both in order,
    ``legs`` the callee's calls in order of arrival.  ``settings`` are for both sides, except
    ``listen``.  As a context manager it closes itself and adds the seed to exceptions.
    """

    def __init__(
        self, *, seed: int = 0, network: FakeNetwork | None = None, **settings: Any
    ) -> None:
        self.network = network or FakeNetwork(seed)
        self.events: list[Event] = []
        self.legs: list[Call] = []
        self._answer: Callable[[Call], Any] = Call.answer
        self.caller = self._manager(_CALLER, settings)
        self.callee = self._manager(_CALLEE, settings)

    def _manager(self, address: str, settings: dict[str, Any]) -> SessionManager:
        listening = Settings(listen=(f"udp:5060:interface={address}",), **settings)
        manager = SessionManager(self.network.host(address), listening, on_incoming=self._incoming)
        manager.add_event_sink(self.events.append)
        self._result(manager.start())
        return manager

    def _incoming(self, call: Call) -> Any:
        self.legs.append(call)
        return self._answer(call)

    def connect(
        self,
        *,
        answer: Callable[[Call], Any] = Call.answer,
        user: str = "callee",
        **given: Any,
    ) -> Call:
        """Call the callee from the caller; ``answer`` is the callee's call handler.

        ``given`` is for `SessionManager.call`.  Nothing is delivered before `advance`.
        """
        self._answer = answer
        return self.caller.call(f"sip:{user}@{_CALLEE}", **given)

    def advance(self, seconds: float) -> None:
        """Advance virtual time."""
        self.network.advance(seconds)

    def close(self, grace: float = 4.0) -> int:
        """End all calls and both managers; returns the number of calls that were abandoned."""
        stopping = [manager.stop(grace) for manager in (self.caller, self.callee)]
        self.network.run_until(lambda: all(each.called for each in stopping), within=grace + 1.0)
        return sum(self._result(each) for each in stopping)

    def __enter__(self) -> LegPair:
        self.network.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if error is None:
            self.close()
        self.network.__exit__(kind, error, traceback)

    @staticmethod
    def _result(fired: Deferred[Any]) -> Any:
        outcome: list[Any] = []
        failed: list[Any] = []
        fired.addCallbacks(outcome.append, failed.append)
        if failed:
            failed[0].raiseException()
        return outcome[0]
