"""Our requests within dialogs: their next hop, the ACK of a 2xx, BYE, unwanted forks."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sessioncore.errors import SessionCoreError, UnreachableTarget
from sessioncore.session.announcing import Announcer
from sessioncore.session.bodies import CONTENT_SDP, Header
from sessioncore.session.dialog_usage import DialogUsage
from sessioncore.session.environment import Environment
from sessioncore.session.leg import Leg
from sessioncore.session.session import ByeAnswered, ByeUnanswered
from sessioncore.session.waiting import begin
from sessioncore.sip.dialog import Dialog, InitialRequest
from sessioncore.sip.flows import Flow, Target
from sessioncore.sip.matching import TransactionLayer
from sessioncore.sip.message import Response
from sessioncore.sip.requesting import RequestWriter
from sessioncore.sip.transaction import ClientTransaction, ClientUser
from sessioncore.vocabulary import Address, host_port

__all__ = ["MOST_FORKS", "DialogRequests", "OtherForks"]

_log = Logger(namespace="sessioncore.session.requests")
MOST_FORKS: Final = 16
"""Dialogs per INVITE; further ones are ignored, and time out at the callee."""


class _ByeUser:
    """The user of a BYE transaction: whatever the outcome, the dialog is over."""

    __slots__ = ("_leg",)

    def __init__(self, leg: Leg | None) -> None:
        self._leg = leg

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        if response.status >= 200 and self._leg is not None:
            self._leg.feed(ByeAnswered())

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        if self._leg is not None:
            self._leg.feed(ByeUnanswered("the BYE was not answered"))

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        if self._leg is not None:
            peer = host_port(*tx.destination)
            self._leg.feed(ByeUnanswered(f"the BYE did not reach {peer}"))


class DialogRequests:
    """Finds the next hop of requests within a dialog, and sends them."""

    def __init__(self, env: Environment, announcer: Announcer, layer: TransactionLayer) -> None:
        self._env = env
        self._announcer = announcer
        self._layer = layer
        self.writer: Final = RequestWriter(layer.new_branch, env.settings.user_agent.encode())

    def start(self, work: Coroutine[Deferred[Any], Any, None], leg: Leg | None = None) -> None:
        """Run a coroutine in the background; an exception is logged and ends ``leg``."""
        working = begin(work, self._announcer)
        if working is not None:
            working.addErrback(self._failed, leg)

    def _failed(self, failure: Failure, leg: Leg | None) -> None:
        _log.failure("unexpected exception in the background", failure=failure)
        if leg is not None and isinstance(failure.value, Exception):
            with self._announcer:
                leg.fail(failure.value)

    async def next_hop(self, dialog: Dialog, flow: Flow) -> tuple[Flow, Address]:
        """The flow and address for requests of ``dialog``, if possible the flow it has.

        Raises `SessionCoreError` if the next hop cannot be reached.
        """
        if dialog.detour is not None:
            return flow, dialog.detour
        hop = dialog.hop
        if hop is not None and hop[0] is flow and flow.alive:
            return hop
        if dialog.behind_nat(self._env.settings.nat):
            return flow, dialog.source
        uri = dialog.next_hop
        targets, known = self._env.resolve(uri), True
        if not isinstance(targets, list):
            targets, known = await targets, False
        problem: Exception | None = None
        for target in targets:
            if _serves(flow, target):
                hop = flow, target.address
                if known:
                    dialog.hop = hop
                return hop
            try:
                other = self._env.flows.to(target)
                if isinstance(other, Deferred):
                    other = await other
                return other, target.address
            except UnreachableTarget as error:
                problem = error
        raise UnreachableTarget(f"none of our sockets reaches an address of {uri}") from problem

    def ack(
        self, dialog: Dialog, sequence: int, flow: Flow, peer: Address, body: bytes = b""
    ) -> bytes:
        """The ACK of a 2xx to the INVITE with that CSeq number."""
        headers = (CONTENT_SDP,) if body else ()
        return self.writer.within(dialog, b"ACK", flow, peer, headers, body, sequence).data

    def send_ack(self, flow: Flow, ack: bytes, peer: Address) -> None:
        """Send an ACK, which has no transaction."""
        self._layer.transmit(ack, flow, peer)

    def send(
        self,
        user: ClientUser,
        dialog: Dialog,
        method: bytes,
        flow: Flow,
        peer: Address,
        headers: tuple[Header, ...] = (),
        body: bytes = b"",
    ) -> ClientTransaction | None:
        """Send a request within the dialog; returns its transaction, or None after the end."""
        if self._layer.stopped:
            return None
        data, branch = self.writer.within(dialog, method, flow, peer, headers, body)
        now = self._env.now()
        return self._layer.request(user, data, method, peer, flow, branch, now)

    def bye(
        self,
        dialog: Dialog,
        flow: Flow,
        peer: Address,
        leg: Leg | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        """Send a BYE; ``leg`` is notified when it was answered or timed out."""
        self.send(_ByeUser(leg), dialog, b"BYE", flow, peer, headers)

    async def end(self, leg: Leg, usage: DialogUsage) -> None:
        """Send the leg's BYE; if it cannot be sent, the leg ends without it."""
        try:
            flow, peer = await self.next_hop(usage.dialog, usage.flow)
        except SessionCoreError as error:
            _log.warn("cannot send BYE to {uri}: {error}", uri=leg.remote_uri, error=error)
            leg.feed(ByeUnanswered(f"no BYE was sent: {error}"))
            return
        self.bye(usage.dialog, flow, peer, leg, leg.reason_headers)


class OtherForks:
    """Ends the dialogs of other forks of an answered INVITE (RFC 3261 section 13.2.2.4).

    Each of their 2xx gets an ACK and one BYE; a repeated 2xx gets the same ACK again.  It is
    the user of the INVITE's transaction once the call has its dialog or is over.
    """

    def __init__(
        self, requests: DialogRequests, origin: InitialRequest, flow: Flow, destination: Address
    ) -> None:
        self._requests = requests
        self._origin = origin
        self._flow = flow
        self._destination = destination
        self._acks: dict[bytes, tuple[Flow, bytes, Address] | None] = {}

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        """A 2xx of another fork."""
        tag = response.to_tag or b""
        ack = self._acks.get(tag)
        if ack is not None:
            self._requests.send_ack(*ack)
        elif tag not in self._acks and len(self._acks) < MOST_FORKS:
            self._acks[tag] = None
            self._requests.start(self._end(tag, response))

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        """Does nothing: there was a 2xx, so nothing times out."""

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        """Likewise."""

    async def _end(self, tag: bytes, response: Response) -> None:
        requests = self._requests
        try:
            dialog = Dialog.from_response(self._origin, response, self._destination)
            flow, peer = await requests.next_hop(dialog, self._flow)
        except SessionCoreError:
            flow, peer = self._flow, self._destination
            dialog = Dialog.from_unusable(self._origin, response, peer)
        ack = requests.ack(dialog, self._origin.sequence, flow, peer)
        self._acks[tag] = (flow, ack, peer)
        requests.send_ack(flow, ack, peer)
        requests.bye(dialog, flow, peer)


def _serves(flow: Flow, target: Target) -> bool:
    """Whether requests to ``target`` can use ``flow``: same transport, same IP version."""
    return (
        flow.alive
        and flow.transport == target.transport
        and (":" in flow.local[0]) is (":" in target.host)
    )
