"""Requests of ours within dialogs: the ACK of a 2xx, BYE, and the end of unwanted forks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from sessioncore.errors import SessionCoreError
from sessioncore.session.capabilities import CONTENT_SDP
from sessioncore.session.session import ByeAnswered
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.message import Response
from sessioncore.sip.transaction import ClientTransaction, Flow
from sessioncore.vocabulary import Address

if TYPE_CHECKING:
    from sessioncore.session.coordinator import SessionCoordinator
    from sessioncore.session.leg import Leg

__all__ = ["DialogRequests"]

_log = Logger(namespace="sessioncore.session.requests")
_MOST_STRAYS: Final = 16
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


class DialogRequests:
    """Resolves where a dialog's requests go, and sends them."""

    def __init__(self, coordinator: SessionCoordinator) -> None:
        self._all = coordinator

    async def next_hop(self, dialog: Dialog, flow: Flow) -> Address:
        """Where requests of ``dialog`` go; raises `SessionCoreError` where that is nowhere."""
        uri = dialog.next_hop
        ipv6 = ":" in flow.local[0]
        for address in await self._all.resolve(uri):
            if (":" in address[0]) is ipv6:
                return address
        raise SessionCoreError(f"{uri} has no address this socket reaches")

    def acknowledge(
        self, dialog: Dialog, flow: Flow, cseq: int, destination: Address, body: bytes = b""
    ) -> tuple[bytes, Address]:
        """Write the ACK of a 2xx; returns what to `repeat` when the 2xx is repeated."""
        data = dialog.ack(
            cseq,
            branch=self._all.layer.new_branch(),
            via_sent_by=flow.sent_by(destination[0]),
            headers=(CONTENT_SDP,) if body else (),
            body=body,
        )
        self.repeat(flow, (data, destination))
        return data, destination

    def repeat(self, flow: Flow, ack: tuple[bytes, Address]) -> None:
        """Write an ACK; no transaction looks after it."""
        try:
            flow.send(*ack)
        except OSError:
            self._all.counters.send_failures += 1

    def _bye(self, dialog: Dialog, flow: Flow, destination: Address, leg: Leg | None) -> None:
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
        if not leg.over and not self._all.layer.stopped:
            self._bye(leg.dialog, leg.flow, destination, leg)

    async def end_stray(self, leg: Leg, response: Response) -> None:
        """ACK a 2xx of another fork and end that dialog by BYE (RFC 3261 section 13.2.2.4).

        A repeat of it is acknowledged again, by the same ACK.
        """
        assert leg.invite is not None and leg.flow is not None
        flow, tag = leg.flow, response.to_tag or b""
        if leg.strays is None:
            leg.strays = {}
        if tag in leg.strays:
            ack = leg.strays[tag]
            if ack is not None:
                self.repeat(flow, ack)
            return
        if len(leg.strays) >= _MOST_STRAYS:
            return
        leg.strays[tag] = None
        self._all.counters.stray_dialogs += 1
        try:
            dialog = Dialog.from_response(leg.invite, response)
            destination = await self.next_hop(dialog, flow)
        except SessionCoreError:
            self._all.counters.send_failures += 1
            return
        if self._all.layer.stopped:
            return
        leg.strays[tag] = self.acknowledge(dialog, flow, leg.invite.cseq.number, destination)
        self._bye(dialog, flow, destination, None)
