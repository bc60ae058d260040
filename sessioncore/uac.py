"""`UserAgentClient`: a `SessionManager` that places calls and turns incoming ones away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from sessioncore.manager import SessionManager
from sessioncore.settings import Settings

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sessioncore.session.call import Call

__all__ = ["UserAgentClient"]


class UserAgentClient:
    """Places calls over one manager of its own; the manager is there for all else.

    ``settings`` as for `SessionManager`; without any it listens on a free port, so that
    several clients fit on one host.  Further keywords go to `SessionManager` as they are.
    """

    def __init__(self, reactor: Any, settings: Settings | None = None, **replaced: Any) -> None:
        self.manager = SessionManager(
            reactor, settings or evolve(Settings(), listen=("udp:0",)), **replaced
        )

    def start(self) -> Deferred[None]:
        """Bind the sockets; fails with `ConfigurationError`."""
        return self.manager.start()

    def call(self, uri: str, **wishes: Any) -> Call:
        """Place a call to ``uri``; wishes are those of `SessionManager.prepare_call`."""
        return self.manager.call(uri, **wishes)

    def stop(self, grace: float = 4.0) -> Deferred[int]:
        """End all calls; fires with the number given up after ``grace`` seconds."""
        return self.manager.stop(grace)

    @property
    def calls(self) -> list[Call]:
        """The calls that are up."""
        return self.manager.calls
