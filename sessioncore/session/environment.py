"""The environment of all parts of the session layer, as one frozen value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from attrs import frozen

from sessioncore.deadlines import Deadlines
from sessioncore.session.counters import CallCounters
from sessioncore.session.tracing import Tracer
from sessioncore.settings import Settings
from sessioncore.sip.flows import Flow, Flows, Target
from sessioncore.sip.values import Uri

__all__ = ["Environment", "LocalIp", "Resolve"]

Resolve: TypeAlias = Callable[[Uri], "list[Target] | Awaitable[list[Target]]"]
"""Returns the targets for a URI, best first (RFC 3263), or an awaitable of them.

Fails with `SessionCoreError`.
"""


class LocalIp(Protocol):
    """Chooses the local address for media towards a peer."""

    def __call__(self, flow: Flow, peer: str) -> str:
        """An IP literal of this host; raises OSError if there is no route."""


@frozen(eq=False)
class Environment:
    """Settings, clock, randomness, resolver and flows; no part reads these from elsewhere.

    ``now`` returns monotonic ns, ``random_token`` a new unguessable token, ``random_bits(n)``
    n random bits (at most 128).
    """

    settings: Settings
    now: Callable[[], int]
    deadlines: Deadlines
    resolve: Resolve
    flows: Flows
    local_ip: LocalIp
    random_token: Callable[[], bytes]
    random_bits: Callable[[int], int]
    counters: CallCounters
    tracer: Tracer | None = None
