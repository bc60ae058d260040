"""One dialog of a call and its state (RFC 3261 section 12, RFC 5057)."""

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
    """A dialog, early or confirmed: its SIP state, its offer/answer machine, its pending 2xx.

    A callee has one.  A caller has one for each To tag in the responses to its INVITE, until a
    2xx confirms one of them.  ``contact`` is our Contact in it.
    """

    dialog: Dialog
    negotiation: OfferAnswer
    flow: Flow
    contact: bytes
    local_description: bytes = b""
    """Our description as last sent; the 200 repeats that of a 183."""
    unacknowledged: UnacknowledgedSuccess | None = None
    """Our 2xx that waits for its ACK."""
    modification: Modification | None = None
    """Offers after the first exchange; None until there is one."""
