"""`UserAgentClient` and `UserAgentServer`: a `SessionManager` for one role each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from sessioncore.manager import SessionManager
from sessioncore.media.sources import Echo
from sessioncore.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from sessioncore.interfaces import ICallHandler
    from sessioncore.session.call import Call
    from sessioncore.vocabulary import Address

__all__ = ["UserAgentClient", "UserAgentServer", "answer_with_echo"]


class _UserAgent:
    """The common part of both: each has its own ``manager`` for everything else."""

    manager: SessionManager

    def start(self) -> Deferred[None]:
        """Bind the sockets; fails with `ConfigurationError` if one cannot be bound."""
        return self.manager.start()

    def stop(self, grace: float = 4.0) -> Deferred[int]:
        """End all calls; fires with the number that had not ended after ``grace`` seconds."""
        return self.manager.stop(grace)

    @property
    def calls(self) -> list[Call]:
        """The calls that are up."""
        return self.manager.calls

    @property
    def local_addresses(self) -> list[Address]:
        """The addresses of the bound SIP sockets, with port 0 resolved."""
        return self.manager.local_addresses


class UserAgentClient(_UserAgent):
    """Places calls, and refuses incoming ones unless ``on_incoming`` is given.

    ``settings`` are those of `SessionManager`; without them the client listens on a free port,
    so that several clients fit on one host.  Other keywords are passed to `SessionManager`.
    """

    def __init__(self, reactor: Any, settings: Settings | None = None, **replaced: Any) -> None:
        self.manager = SessionManager(
            reactor, settings or evolve(Settings(), listen=("udp:0",)), **replaced
        )

    def call(self, uri: str, **wishes: Any) -> Call:
        """Place a call to ``uri``; keywords are those of `SessionManager.prepare_call`."""
        return self.manager.call(uri, **wishes)


def answer_with_echo(call: Call) -> Deferred[Call]:
    """The default call handler: rings, answers, and sends back the audio it receives."""
    call.ring()
    return call.answer(source=Echo())


class UserAgentServer(_UserAgent):
    """Answers calls.

    ``answer`` decides about each incoming call: an `ICallHandler` or a callable that takes
    the `Call` and may return a Deferred or a coroutine.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings | None = None,
        answer: ICallHandler | Callable[[Call], Any] = answer_with_echo,
        **replaced: Any,
    ) -> None:
        self.manager = SessionManager(
            reactor, settings or Settings(), on_incoming=answer, **replaced
        )
