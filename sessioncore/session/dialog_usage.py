"""One dialog of a call with all that belongs to it (RFC 3261 section 12, RFC 5057)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from sessioncore.sdp.negotiation import OfferAnswer
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.flows import Flow

if TYPE_CHECKING:
    from sessioncore.session.modification import Modification
    from sessioncore.session.unacknowledged import UnacknowledgedSuccess

__all__ = ["DialogUsage"]


@define(eq=False)
class DialogUsage:
    """A dialog, early or confirmed: its SIP side, its offer/answer machine, what it waits for.

    A callee has one; a caller one for each To tag of the responses to its INVITE, until a 2xx
    confirms one of them.  ``contact`` is how we are named in it.
    """

    dialog: Dialog
    negotiation: OfferAnswer
    flow: Flow
    contact: bytes
    local_description: bytes = b""
    """Our description as it was last sent; the 200 repeats what a 183 said."""
    unacknowledged: UnacknowledgedSuccess | None = None
    """Our 2xx that waits for its ACK."""
    modification: Modification | None = None
    """Offers after the first exchange; there is none until somebody makes one."""
