"""Placing calls: sends the INVITE to one address after the other until one accepts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred

from sessioncore import events
from sessioncore.errors import CallFailed, CallOver, SessionCoreError, UnreachableTarget
from sessioncore.session.announcing import Announcer
from sessioncore.session.bodies import CONTENT_SDP, Header
from sessioncore.session.environment import Environment
from sessioncore.session.establishing import Establishing
from sessioncore.session.invitation import Invitation
from sessioncore.session.leg import Leg, Outgoing
from sessioncore.session.media_state import OfferPending
from sessioncore.session.reasons import local_reason
from sessioncore.session.registry import Registry
from sessioncore.session.requests import DialogRequests
from sessioncore.session.session import GiveUp, InviteWritten, RangOut, SessionState
from sessioncore.sip.dialog import InitialRequest
from sessioncore.sip.flows import Flow, Target
from sessioncore.sip.matching import TransactionLayer
from sessioncore.sip.methods import MethodRules
from sessioncore.sip.requesting import contact
from sessioncore.sip.steps import GRID
from sessioncore.sip.transaction import ClientUser
from sessioncore.vocabulary import SECOND, EndedBy, EndReason, SessionRole

__all__ = ["Placing"]

_RINGING: Final = (SessionState.CALLING, SessionState.PROCEEDING)
_UNANSWERED: Final = (SessionState.PREPARED, *_RINGING)
_UNFINISHED: Final = (*_UNANSWERED, SessionState.CANCELLING)
_NOBODY_ANSWERED: Final = EndReason(EndedBy.TIMEOUT, "nobody answered", 408, 19)


class Placing:
    """Sends the INVITEs of calls and limits how long they ring.

    ``user`` makes the user of a leg's INVITE transaction, which receives the responses.
    """

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        registry: Registry,
        layer: TransactionLayer,
        establishing: Establishing,
        requests: DialogRequests,
        rules: MethodRules,
        user: Callable[[Leg], ClientUser],
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._registry = registry
        self._layer = layer
        self._establishing = establishing
        self._requests = requests
        self._user = user
        self._says: tuple[Header, ...] = (rules.allow, rules.supported)
        # A 1xx stops Timer B, so only this limit ends a call that rings for ever.
        limit = round(env.settings.ring_limit * SECOND)
        self._ringing = env.deadlines.fifo(limit, self._rang_long_enough, GRID)

    def stop(self) -> None:
        """Stop all timers."""
        self._env.deadlines.remove(self._ringing)

    def prepare(self, invitation: Invitation) -> Leg:
        """A leg that has sent nothing yet."""
        target = invitation.uri
        call_id = self._env.random_token() + b"@" + (target.host or b"invalid")
        leg = self._registry.new(SessionRole.UAC, call_id)
        leg.remote_uri = str(target)
        leg.local_uri = invitation.from_uri or ""
        leg.late_offer = invitation.late_offer
        uri = leg.remote_uri.encode()
        origin = InitialRequest(uri, b"", leg.local_tag, b"<%b>" % uri, call_id)
        leg.outgoing = Outgoing(invitation, origin, self._establishing.negotiation())
        self._announcer.emit(leg, events.OutgoingCallPrepared, self._env.now(), leg.remote_uri)
        return leg

    async def place(self, leg: Leg) -> None:
        """Resolve the target and send the INVITE to the first address that accepts it."""
        outgoing = leg.outgoing
        if leg.state is not SessionState.PREPARED or outgoing is None:
            raise CallOver(f"call {leg.name} cannot be placed: it is {leg.state}")
        try:
            targets = self._env.resolve(outgoing.invitation.uri)
            if not isinstance(targets, list):
                targets = await targets
        except SessionCoreError as error:
            reason = EndReason(EndedBy.ERROR, str(error), 404, 3)
            leg.feed(GiveUp(reason))
            raise CallFailed(leg.reason or reason) from error
        if leg.state is SessionState.PREPARED:
            outgoing.targets = targets
            await self._try_next(leg, outgoing)
        if leg.over:
            raise CallFailed(leg.reason or local_reason("hung up"))

    async def _try_next(self, leg: Leg, outgoing: Outgoing) -> None:
        """Send the INVITE to the next address (RFC 3263 section 4.3), or fail the call."""
        problem = "none of our sockets reaches its addresses"
        while outgoing.targets:
            target, *outgoing.targets = outgoing.targets
            try:
                flow = self._env.flows.to(target)
                if isinstance(flow, Deferred):
                    flow = await flow
            except UnreachableTarget as error:
                problem = str(error)
                continue
            if leg.state in _UNANSWERED:
                self._invite(leg, outgoing, flow, target)
            return
        text = f"cannot reach {leg.remote_uri}: {problem}"
        leg.feed(GiveUp(EndReason(EndedBy.NETWORK, text, 503, 3)))

    def _invite(self, leg: Leg, outgoing: Outgoing, flow: Flow, target: Target) -> None:
        now = self._env.now()
        try:
            self._aim(leg, outgoing, flow, target, now)
        except (SessionCoreError, OSError) as error:
            leg.feed(GiveUp(EndReason(EndedBy.ERROR, str(error), 503, 41)))
            return
        self._send_invite(leg, outgoing, flow, target, now)

    def _aim(self, leg: Leg, outgoing: Outgoing, flow: Flow, target: Target, now: int) -> None:
        """Set up media and dialog state towards one address."""
        outgoing.flow = flow
        leg.media.signalling_host = target.host
        outgoing.contact = contact(flow, target.host)
        if not leg.local_uri:
            leg.local_uri = "sip:sessioncore@" + flow.sent_by(target.host).decode()
        if not outgoing.origin.local:
            outgoing.origin.local = outgoing.invitation.from_value(leg.local_uri, leg.local_tag)
        establishing, stream = self._establishing, leg.media.stream
        moves = stream is not None and stream.local[0] != establishing.local_ip(leg, flow)
        if moves:
            self._take_back(outgoing)
        if moves or stream is None:
            ip = establishing.choose_ip(leg, flow, outgoing.offer)
            establishing.open(leg, ip, outgoing.offer, now)
        establishing.control.expect_early(leg, target.host)
        if not leg.late_offer and not outgoing.description:
            outgoing.description = outgoing.offer.make_offer()
            leg.media.feed(OfferPending())

    def _take_back(self, outgoing: Outgoing) -> None:
        """Withdraw the offer, because the next target is reached from another local address."""
        if outgoing.description:
            outgoing.offer.withdraw()
            outgoing.description = b""

    def _send_invite(
        self, leg: Leg, outgoing: Outgoing, flow: Flow, target: Target, now: int
    ) -> None:
        headers: list[Header] = [
            (b"Contact", outgoing.contact),
            *self._says,
            *outgoing.invitation.headers,
        ]
        body = outgoing.description
        if body:
            headers.append(CONTENT_SDP)
        data, branch = self._requests.writer.initial(
            b"INVITE", outgoing.origin, flow, target.address, headers, body
        )
        user, first = self._user(leg), leg.state is SessionState.PREPARED
        outgoing.client = self._layer.request(
            user, data, b"INVITE", target.address, flow, branch, now
        )
        if self._env.tracer is not None:
            outgoing.client.follow(self._env.tracer.step)
            self._env.tracer.transaction(outgoing.client)
        if first:
            leg.feed(InviteWritten())
            self._limit_ringing(leg, outgoing, now)
            self._env.counters.placed += 1
            self._announcer.emit(leg, events.CallInitiated, now, leg.remote_uri)

    def has_another(self, leg: Leg) -> bool:
        """Whether to try the next address (RFC 3263 section 4.3)."""
        outgoing = leg.outgoing
        return (
            outgoing is not None
            and bool(outgoing.targets)
            and leg.state in _RINGING
            and not leg.media.established
        )

    def go_on(self, leg: Leg) -> None:
        """Send the INVITE to the next address."""
        outgoing = leg.outgoing
        assert outgoing is not None
        # Until the next INVITE is sent, there is nothing to cancel and there are no dialogs.
        outgoing.client = None
        for usage in outgoing.early.values():
            self._registry.part(usage.dialog)
        outgoing.early.clear()
        self._requests.start(self._try_next(leg, outgoing), leg)

    # --- how long it may ring

    def _limit_ringing(self, leg: Leg, outgoing: Outgoing, now: int) -> None:
        if outgoing.ring_end is not None:
            return
        limit = outgoing.invitation.ring_limit
        if limit is None:
            self._ringing.add(leg.name, now)
        else:
            self.limit_ringing(leg, limit, now)

    def limit_ringing(self, leg: Leg, seconds: float, now: int) -> None:
        """End the call unless it is answered in ``seconds`` from now."""
        outgoing = leg.outgoing
        assert outgoing is not None
        if outgoing.ring_end is not None:
            outgoing.ring_end.cancel()
        when = now + round(seconds * SECOND)
        outgoing.ring_end = self._env.deadlines.at(when, self._rang_long_enough, leg.name)

    def _rang_long_enough(self, name: str, now: int) -> None:
        leg = self._registry.by_name.get(name)
        if leg is None or leg.state not in _UNFINISHED:
            return
        outgoing = leg.outgoing
        own = None if outgoing is None else outgoing.ring_end
        if own is None or own.when <= now:
            leg.feed(RangOut(_NOBODY_ANSWERED))
