"""The zope interfaces that applications implement: call handlers, sinks, taps, transports.

The media interfaces (`IMediaSource`, `IMediaSink`) are in `sessioncore.media.interfaces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sessioncore.events import Event
    from sessioncore.vocabulary import Address

Receive: TypeAlias = "Callable[[bytes, Address, Any, int], None]"
"""Called with each message: data, source address, the flow it came on, monotonic ns."""
Refused: TypeAlias = "Mapping[Address, Collection[bytes]]"
"""Unreachable addresses, each with the beginnings of the datagrams that the network quoted."""
Unreachable: TypeAlias = "Callable[[Refused, int], None]"
"""Called with the unreachable addresses, and monotonic ns."""
Lost: TypeAlias = "Callable[[Any, int], None]"
"""Called with a flow that has ended, and monotonic ns."""

__all__ = [
    "ICallHandler",
    "IEventObserver",
    "IEventSink",
    "IMessageTap",
    "IReportTap",
    "ISipFlow",
    "ISipTransport",
    "Lost",
    "Receive",
    "Refused",
    "Unreachable",
]


class ICallHandler(Interface):
    """Decides about incoming calls."""

    def incoming_call(call: Any) -> Any:
        """Decide about a `Call`, now or later: ring, answer, reject or redirect it.

        May return None, a Deferred or a coroutine.  A failure is logged.  Before the call is
        answered, a failure refuses it with 500; after that, it ends the call.
        """


class IEventSink(Interface):
    """Receives the events of calls, in order."""

    def event(event: Event) -> None:
        """Receive one event; must not block.  An exception is logged and the call goes on."""


class IEventObserver(IEventSink):
    """An event sink that only observes, such as a log.

    It is called before other sinks, while the event is happening, so it must not make anything
    happen: it may read a call, but not act on it.  In return each event costs less.
    """


class IMessageTap(Interface):
    """Receives every SIP message that arrives or leaves, retransmissions included."""

    def message(
        data: bytes, source: Address, destination: Address, transport: str, sent: bool, at: int
    ) -> None:
        """Receive one message as it was on the wire; must not block.

        ``data`` may be anything that a stranger sent, a SIP message or not.  ``source`` and
        ``destination`` are addresses, ``transport`` is ``"UDP"`` or the token of another
        transport, ``at`` is in monotonic ns.  ``sent`` is whether it leaves; it is reported once
        its transport accepted it.  A message that arrives is reported before anything is done
        with it.

        An exception is counted and logged once, and the call goes on.  A tap only observes: it
        must not act on calls.
        """


class IReportTap(Interface):
    """Receives all RTCP that arrives or leaves."""

    def report(
        data: bytes, source: Address, destination: Address, sent: bool, at: int, call_id: str
    ) -> None:
        """Receive one RTCP packet (RFC 3550 section 6.1) as it was on the wire; must not block.

        ``data`` may be anything that a stranger sent to our RTCP port.  ``at`` is in monotonic
        ns, ``sent`` whether it left, ``call_id`` the Call-ID of its call.

        An exception is counted and logged once, and the call goes on.
        """


class ISipFlow(Interface):
    """Sends SIP messages: one bound socket or one connection."""

    reliable = Attribute("False if messages can be lost (UDP)")
    transport = Attribute('The Via transport token, for example ``b"UDP"``')
    local = Attribute("The bound (address, port); its IP version is the flow's")
    alive = Attribute("False once a connection has ended")
    backlog = Attribute("Bytes that have arrived but were not read yet; 0 if that is not known")

    def send(data: bytes, address: Address) -> None:
        """Send one message without blocking; raises OSError if it cannot be sent.

        A flow that batches messages may detect the error later and raise it for the
        retransmission.
        """

    def sent_by(peer: str) -> bytes:
        """The ``host:port`` of Via and Contact towards ``peer``; never an unspecified address."""


class ISipTransport(Interface):
    """Carries SIP messages; `SessionManager` accepts others in place of UDP."""

    transport = Attribute('The Via transport token of its flows, for example ``b"TCP"``')
    local = Attribute("The bound (address, port), once the transport is open")
    unsent = Attribute("How many messages were lost because they could not be sent")
    over_share = Attribute("How many were dropped unread, because their source sent too many")

    def open(receive: Receive, unreachable: Unreachable, lost: Lost) -> None:
        """Call ``receive(data, source, flow, now)`` for each message from now on.

        ``source`` is the peer's address, ``flow`` the `ISipFlow` that responses leave by,
        ``now`` the clockwork's time in ns.  If the transport learns that nothing listens at an
        address it sent to, it calls ``unreachable(refused, now)``; ``refused`` is a dict from
        address to the beginnings of those messages, ``b""`` if they are not known.
        If its flows are connections, it calls ``lost(flow, now)`` when one of them ends.
        Raises `ConfigurationError` if it cannot open.
        """

    def flow_to(target: Any) -> Any:
        """The `ISipFlow` to a `sessioncore.sip.flows.Target` of this transport.

        Returns a Deferred of it if a connection has to be made first; the Deferred fails with
        `UnreachableTarget` if that is not possible.
        """

    def close() -> Any:
        """Stop receiving; may return a Deferred that fires when everything is closed."""
