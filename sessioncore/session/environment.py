"""What every part of the session layer is given: one frozen value, handed down."""

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
"""Where requests to a URI may go, best first (RFC 3263), at once or later.

Fails with `SessionCoreError`.
"""


class LocalIp(Protocol):
    """Which of our addresses media towards a peer is bound to."""

    def __call__(self, flow: Flow, peer: str) -> str:
        """An IP literal of this host; raises OSError where there is no route."""


@frozen(eq=False)
class Environment:
    """Settings, time, chance, names and flows; nothing of it is read from anywhere else.

    ``now`` is in monotonic ns; ``random_token`` gives a new unguessable token, ``random_bits(n)``
    n random bits.
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
