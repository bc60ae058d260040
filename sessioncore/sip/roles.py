"""The interfaces that a transaction uses: its user above, and the layer that keeps it.

They are generic over the transactions of both sides, which import this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias, TypeVar

from attrs import define

from sessioncore.sip.flows import Flow
from sessioncore.sip.message import Request, Response
from sessioncore.vocabulary import Address

__all__ = ["ClientKeeper", "ClientUser", "Counters", "Headers", "ServerKeeper", "TransactionUser"]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Header fields to add: names and values."""
Client = TypeVar("Client", contravariant=True)  # noqa: PLC0105
"""The client transaction."""
Server = TypeVar("Server", contravariant=True)  # noqa: PLC0105
"""The server transaction."""


class TransactionUser(Protocol[Server]):
    """Answers requests: the coordinator."""

    def request_received(self, tx: Server, now: int) -> None:
        """A new, well-formed request; never ACK or CANCEL, never a retransmission."""

    def ack_received(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        """An ACK without a transaction, so of a 2xx; match it by dialog and CSeq."""

    def cancel_received(self, tx: Server, now: int) -> None:
        """The unanswered INVITE ``tx`` was cancelled; the CANCEL has been answered with 200."""

    def tag_of_accepted(self, cancel: Request) -> bytes | None:
        """The To tag of the 2xx to the INVITE of a late CANCEL; None if it is not known."""

    def transport_failed(self, tx: Server, now: int) -> None:
        """A response could not be sent; before the final response, this ends the transaction."""


class ClientUser(Protocol[Client]):
    """The sender of a request, which receives its responses."""

    def response_received(self, tx: Client, response: Response, now: int) -> None:
        """Every 1xx and the first final response; for INVITE every 2xx, with repeats and forks."""

    def timed_out(self, tx: Client, now: int) -> None:
        """No final response came in 64*T1 (after the request, or after its CANCEL)."""

    def transport_failed(self, tx: Client, now: int) -> None:
        """The request could not be sent, or the network reported its target as unreachable."""


class ClientKeeper(Protocol[Client]):
    """The transaction layer as a client transaction uses it."""

    def transmit(self, data: bytes, flow: Flow, address: Address) -> bool:
        """Send; False if the transport reports that it cannot."""

    def repeat_client(self, tx: Client, now: int) -> None:
        """Arm the next Timer A or E, number ``tx.step``."""

    def settle(self, tx: Client, now: int) -> None:
        """A final response came: the request is not pending any more; arm Timer D, K or M."""

    def drop_client(self, tx: Client) -> None:
        """Forget the transaction."""

    def send_cancel(self, tx: Client, now: int) -> None:
        """Send the CANCEL in a transaction of its own, and end this one 64*T1 later."""

    def count_repeat(self) -> None:
        """Count one retransmission that left."""


class ServerKeeper(Protocol[Server]):
    """The transaction layer as a server transaction uses it."""

    def transmit(self, data: bytes, flow: Flow, address: Address) -> bool:
        """Send; False if the transport reports that it cannot."""

    def repeat_server(self, tx: Server, now: int) -> None:
        """Arm the next Timer G, number ``tx.step``."""

    def await_ack(self, tx: Server, now: int) -> None:
        """Arm Timer H; copies of the refused request are not merged any more."""

    def retire(self, tx: Server, answer: bytes, now: int) -> None:
        """Keep ``answer`` under the key for Timer I, J or L, and drop the object."""

    def drop_server(self, tx: Server) -> None:
        """Forget the transaction."""

    def tell_cancelled(self, tx: Server, now: int) -> None:
        """Notify the transaction user that the INVITE was cancelled."""

    def tell_failed(self, tx: Server, now: int) -> None:
        """Notify the transaction user that the transport failed."""

    def count_repeat(self) -> None:
        """Count one retransmission that left."""

    def count_unacknowledged(self) -> None:
        """Count one final response whose ACK never came."""

    @property
    def response_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The header fields that end each of our responses."""

    def computed_tag(self, request: Request) -> bytes:
        """The computed To tag, the same for every copy of ``request``; needs no state."""


@define
class Counters:
    """The counters of the layer, as plain numbers."""

    requests: int = 0
    """Requests that could be read, retransmissions included."""
    responses: int = 0
    """Responses that came in."""
    malformed: int = 0
    """Datagrams that are not a SIP message, or break RFC 3261 beyond repair."""
    keepalives: int = 0
    """Empty datagrams (RFC 5626 section 3.5.1)."""
    unmatched_responses: int = 0
    """Responses that match none of our requests; dropped."""
    several_vias: int = 0
    """Responses with more than one Via (RFC 3261 section 8.1.3.3); dropped."""
    unmatched_cancels: int = 0
    """CANCELs that match no INVITE; answered 481."""
    acks_swallowed: int = 0
    """ACKs of stateless refusals."""
    retransmissions_absorbed: int = 0
    """Retransmissions that were absorbed."""
    retransmitted: int = 0
    """Our retransmissions."""
    stateless: int = 0
    """Stateless responses sent by the layer itself."""
    merged: int = 0
    """Copies of an INVITE that came by another path; answered 482."""
    too_many: int = 0
    """Requests answered 503 because too many INVITEs are unanswered."""
    forgotten_early: int = 0
    """Finished transactions forgotten before their time, because newer ones need the room."""
    over_share: int = 0
    """Messages dropped unread, because their source sent more than its fair share."""
    unacknowledged: int = 0
    """Final responses other than 2xx whose ACK never came (Timer H)."""
    send_failures: int = 0
    """Messages that the socket did not send."""
    dropped: int = 0
    """Messages in either direction after the layer had stopped."""
