"""What an application gives and what it may replace, as zope interfaces.

The media side (`IMediaSource`, `IMediaSink`) is in `sessioncore.media.interfaces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from sessioncore.events import Event
    from sessioncore.session.call import Call
    from sessioncore.vocabulary import Address

__all__ = ["ICallHandler", "IEventSink", "ISipTransport"]


class ICallHandler(Interface):
    """Decides what becomes of an incoming call."""

    def incoming_call(call: Call) -> Any:
        """Decide now or later through ``call.ring``, ``answer``, ``reject`` or ``redirect``.

        May return None, a Deferred or a coroutine.  A failure of it before the call was
        answered is logged and answers 500; after that it is logged and ends the call.
        """


class IEventSink(Interface):
    """Is told of every event of every call, in order."""

    def event(event: Event) -> None:
        """Take one event; must not block.  An exception is logged and the call goes on."""


class ISipTransport(Interface):
    """Where SIP messages leave and arrive: one bound socket or one connection."""

    reliable = Attribute("False where messages can be lost (UDP)")
    transport = Attribute('The Via transport token, e.g. ``b"UDP"``')
    local = Attribute("The bound (address, port)")

    def send(data: bytes, address: Address) -> None:
        """Send one message without blocking; raises OSError when it cannot leave."""

    def sent_by(peer: str) -> bytes:
        """``host:port`` for Via and Contact towards ``peer``; never an unspecified address."""
