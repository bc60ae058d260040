"""What an application gives and what it may replace, as zope interfaces.

The media side (`IMediaSource`, `IMediaSink`) is in `sessioncore.media.interfaces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sessioncore.events import Event
    from sessioncore.vocabulary import Address

Receive: TypeAlias = "Callable[[bytes, Address, Any, int], None]"
"""Called with each message: data, source address, the flow it came by, monotonic ns."""
Refused: TypeAlias = "Mapping[Address, Collection[bytes]]"
"""Where nobody is, with what the network quoted of the datagrams sent there, their beginning."""
Unreachable: TypeAlias = "Callable[[Refused, int], None]"
"""Called with what the network refused, and monotonic ns."""
Lost: TypeAlias = "Callable[[Any, int], None]"
"""Called with a flow that has ended, and monotonic ns."""

__all__ = [
    "ICallHandler",
    "IEventObserver",
    "IEventSink",
    "ISipFlow",
    "ISipTransport",
    "Lost",
    "Receive",
    "Refused",
    "Unreachable",
]


class ICallHandler(Interface):
    """Decides what becomes of an incoming call."""

    def incoming_call(call: Any) -> Any:
        """Decide about a `Call`, now or later: ring, answer, reject or redirect it.

        May return None, a Deferred or a coroutine.  A failure of it before the call was
        answered is logged and answers 500; after that it is logged and ends the call.
        """


class IEventSink(Interface):
    """Is told of every event of every call, in order."""

    def event(event: Event) -> None:
        """Take one event; must not block.  An exception is logged and the call goes on."""


class IEventObserver(IEventSink):
    """An event sink that only looks on: it takes notes, and makes nothing happen.

    It is called before other sinks and in the midst of what happens, so it must not ask anything
    of a call but to be read.  Each event costs less this way.
    """


class ISipFlow(Interface):
    """Where SIP messages leave: one bound socket or one connection."""

    reliable = Attribute("False where messages can be lost (UDP)")
    transport = Attribute('The Via transport token, e.g. ``b"UDP"``')
    local = Attribute("The bound (address, port); its IP version is the flow's")
    alive = Attribute("False once a connection has ended")
    backlog = Attribute("Bytes that have come and were not read yet; 0 where that is not known")

    def send(data: bytes, address: Address) -> None:
        """Send one message without blocking; raises OSError when it cannot leave.

        A flow that gathers messages may learn it later, and raise it for the repeat.
        """

    def sent_by(peer: str) -> bytes:
        """``host:port`` for Via and Contact towards ``peer``; never an unspecified address."""


class ISipTransport(Interface):
    """Brings SIP messages and takes them away; `SessionManager` can be given others than UDP."""

    transport = Attribute('The Via transport token of its flows, e.g. ``b"TCP"``')
    local = Attribute("The bound (address, port), once the transport is open")

    def open(receive: Receive, unreachable: Unreachable, lost: Lost) -> None:
        """Call ``receive(data, source, flow, now)`` for each message from now on.

        ``source`` is the peer's address, ``flow`` the `ISipFlow` that answers leave by,
        ``now`` the clockwork's time in ns.  A transport that learns that nobody is where
        messages were sent calls ``unreachable(refused, now)`` with ``refused`` a dict from
        address to the beginnings of those messages, as far as it knows them (else ``b""``).
        One whose flows are connections calls ``lost(flow, now)`` when one of them ends.
        Raises `ConfigurationError` where it cannot.
        """

    def flow_to(target: Any) -> Any:
        """The `ISipFlow` to a `sessioncore.sip.flows.Target` of this transport.

        A Deferred of it where a connection has to be made first; it fails with
        `UnreachableTarget` where that is not possible.
        """

    def close() -> Any:
        """Receive no more; may return a Deferred that fires when all is closed."""
