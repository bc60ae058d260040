"""`UserAgentServer`: a `SessionManager` that answers calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessioncore.manager import SessionManager
from sessioncore.media.sources import Echo
from sessioncore.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from sessioncore.interfaces import ICallHandler
    from sessioncore.session.call import Call
    from sessioncore.vocabulary import Address

__all__ = ["UserAgentServer", "answer_with_echo"]


def answer_with_echo(call: Call) -> Deferred[Call]:
    """The call handler for want of another: rings, answers, sends back what it hears."""
    call.ring()
    return call.answer(source=Echo())


class UserAgentServer:
    """Answers calls over one manager of its own; the manager is there for all else.

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

    def start(self) -> Deferred[None]:
        """Bind the sockets; fails with `ConfigurationError`."""
        return self.manager.start()

    def stop(self, grace: float = 4.0) -> Deferred[int]:
        """End all calls; fires with the number given up after ``grace`` seconds."""
        return self.manager.stop(grace)

    @property
    def calls(self) -> list[Call]:
        """The calls that are up."""
        return self.manager.calls

    @property
    def local_addresses(self) -> list[Address]:
        """The bound SIP sockets, port 0 resolved."""
        return self.manager.local_addresses
