"""Requests of ours within dialogs: the ACK of a 2xx, BYE, and the end of unwanted forks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from sessioncore.errors import SessionCoreError
from sessioncore.session.capabilities import CONTENT_SDP
from sessioncore.session.session import ByeAnswered
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.message import Request, Response
from sessioncore.sip.transaction import ClientTransaction, Flow
from sessioncore.vocabulary import Address

if TYPE_CHECKING:
    from sessioncore.session.coordinator import SessionCoordinator
    from sessioncore.session.leg import Leg

__all__ = ["DialogRequests", "OtherForks"]

_log = Logger(namespace="sessioncore.session.requests")
_MOST_FORKS: Final = 16
"""Other forks' dialogs per call; what a callee makes beyond that times out by itself."""


class _ByeUser:
    """Uses the transaction of a BYE: whatever comes of it, the dialog is over."""

    __slots__ = ("_leg",)

    def __init__(self, leg: Leg | None) -> None:
        self._leg = leg

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        if response.status >= 200:
            self.timed_out(tx, now)

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        if self._leg is not None:
            self._leg.feed(ByeAnswered())

    transport_failed = timed_out


class OtherForks:
    """Ends what other forks of an answered INVITE begin (RFC 3261 section 13.2.2.4).

    Each of their 2xx gets an ACK, and a BYE once; a repeated one gets the same ACK again.  Uses
    the INVITE transaction in place of its leg, which may be over long before the last repeat.
    """

    __slots__ = ("_acks", "_destination", "_flow", "_invite", "_requests")

    def __init__(
        self, requests: DialogRequests, invite: Request, flow: Flow, destination: Address
    ) -> None:
        self._requests = requests
        self._invite = invite
        self._flow = flow
        self._destination = destination
        self._acks: dict[bytes, tuple[bytes, Address] | None] = {}

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        """A 2xx of a fork that is not the call's."""
        tag = response.to_tag or b""
        ack = self._acks.get(tag)
        if ack is not None:
            self._requests.send_ack(self._flow, *ack)
        elif tag not in self._acks and len(self._acks) < _MOST_FORKS:
            self._acks[tag] = None
            self._requests.start(self._end(tag, response))

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        """A 2xx was there, so nothing times out any more."""

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        """Likewise."""

    async def _end(self, tag: bytes, response: Response) -> None:
        requests, flow = self._requests, self._flow
        try:
            dialog = Dialog.from_response(self._invite, response)
            destination = await requests.next_hop(dialog, flow)
        except SessionCoreError:
            destination = self._destination
            dialog = Dialog.from_unusable(self._invite, response, destination)
        ack = requests.ack(dialog, flow, self._invite, destination)
        self._acks[tag] = (ack, destination)
        requests.send_ack(flow, ack, destination)
        requests.bye(dialog, flow, destination)


class DialogRequests:
    """Resolves where a dialog's requests go, and sends them."""

    def __init__(self, coordinator: SessionCoordinator) -> None:
        self._all = coordinator
        self.start = coordinator.start

    async def next_hop(self, dialog: Dialog, flow: Flow) -> Address:
        """Where requests of ``dialog`` go; raises `SessionCoreError` where that is nowhere."""
        if dialog.detour is not None:
            return dialog.detour
        uri = dialog.next_hop
        ipv6 = ":" in flow.local[0]
        for address in await self._all.resolve(uri):
            if (":" in address[0]) is ipv6:
                return address
        raise SessionCoreError(f"{uri} has no address this socket reaches")

    def ack(
        self, dialog: Dialog, flow: Flow, invite: Request, destination: Address, body: bytes = b""
    ) -> bytes:
        """The ACK of a 2xx to ``invite``."""
        return dialog.request(
            b"ACK",
            branch=self._all.layer.new_branch(),
            via_sent_by=flow.sent_by(destination[0]),
            headers=(CONTENT_SDP,) if body else (),
            body=body,
            cseq=invite.cseq.number,
        )

    def send_ack(self, flow: Flow, ack: bytes, destination: Address) -> None:
        """Write an ACK; no transaction looks after it."""
        self._all.layer.transmit(ack, flow, destination)

    def bye(self, dialog: Dialog, flow: Flow, destination: Address, leg: Leg | None = None) -> None:
        """Write a BYE; ``leg`` is told when it was answered or never will be."""
        if self._all.layer.stopped:
            return
        branch = self._all.layer.new_branch()
        sent_by = flow.sent_by(destination[0])
        data = dialog.request(b"BYE", branch=branch, via_sent_by=sent_by)
        self._all.layer.request(
            _ByeUser(leg), data, b"BYE", destination, flow, branch, self._all.now()
        )

    async def end(self, leg: Leg) -> None:
        """Send the leg's BYE; where it can go nowhere, the leg is over without it."""
        assert leg.dialog is not None and leg.flow is not None
        try:
            destination = await self.next_hop(leg.dialog, leg.flow)
        except SessionCoreError as error:
            _log.warn("no BYE to {uri}: {error}", uri=leg.remote_uri, error=error)
            leg.feed(ByeAnswered())
            return
        self.bye(leg.dialog, leg.flow, destination, leg)
