"""The UAC path of a call: INVITE written, responses read, media, ACK written."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred

from sessioncore import events
from sessioncore.errors import (
    CallFailed,
    CallOver,
    NegotiationError,
    SdpParseError,
    SessionCoreError,
    SipParseError,
    UnreachableTarget,
)
from sessioncore.sdp.negotiation import OfferState
from sessioncore.session.announcing import Announcer
from sessioncore.session.bodies import CONTENT_SDP, Header, description_in
from sessioncore.session.dialog_usage import DialogUsage
from sessioncore.session.environment import Environment
from sessioncore.session.establishing import Establishing
from sessioncore.session.invitation import Invitation
from sessioncore.session.leg import Leg, Outgoing
from sessioncore.session.media_state import OfferPending
from sessioncore.session.reasons import answered_with, local_reason, unusable
from sessioncore.session.registry import Registry
from sessioncore.session.requests import MOST_FORKS, DialogRequests, OtherForks
from sessioncore.session.session import (
    AckWritten,
    FailureRead,
    GiveUp,
    HangUp,
    InviteWritten,
    ProvisionalRead,
    SessionState,
    SuccessRead,
)
from sessioncore.sip.dialog import Dialog, InitialRequest
from sessioncore.sip.flows import Flow, Target
from sessioncore.sip.matching import TransactionLayer
from sessioncore.sip.message import Response
from sessioncore.sip.methods import MethodRules
from sessioncore.sip.requesting import contact
from sessioncore.sip.steps import GRID
from sessioncore.sip.transaction import ClientTransaction
from sessioncore.vocabulary import SECOND, EndedBy, EndReason, MediaState, SessionRole, host_port

__all__ = ["Caller"]

_RINGING: Final = (SessionState.CALLING, SessionState.PROCEEDING)
_NOBODY_ANSWERED: Final = EndReason(EndedBy.TIMEOUT, "nobody answered", 408, 19)


class _InviteUser:
    """Receives what the INVITE transaction of one leg has to say."""

    __slots__ = ("_caller", "_leg")

    def __init__(self, caller: Caller, leg: Leg) -> None:
        self._caller = caller
        self._leg = leg

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        self._caller.answered(self._leg, response, now)

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        self._caller.failed(self._leg, EndReason(EndedBy.TIMEOUT, "no answer", 408, 102))

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        text = f"cannot reach {host_port(*tx.destination)}"
        self._caller.failed(self._leg, EndReason(EndedBy.NETWORK, text, 503, 38))


class Caller:
    """Places calls and sees them through to their ACK."""

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        registry: Registry,
        layer: TransactionLayer,
        establishing: Establishing,
        requests: DialogRequests,
        rules: MethodRules,
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._registry = registry
        self._layer = layer
        self._establishing = establishing
        self._requests = requests
        self._says: tuple[Header, ...] = (rules.allow, rules.supported)
        # A 1xx stops Timer B, so nothing else ends a call that rings for ever.
        limit = round(env.settings.ring_limit * SECOND)
        self._ringing = env.deadlines.fifo(limit, self._rang_long_enough, GRID)

    def stop(self) -> None:
        """Time nothing any more."""
        self._env.deadlines.remove(self._ringing)

    # --- placing

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
        """Resolve the target and send the INVITE to the first address that takes it."""
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
        """INVITE the next address (RFC 3263 section 4.3), or give up."""
        problem = "no socket of ours reaches its addresses"
        while outgoing.targets:
            target, *outgoing.targets = outgoing.targets
            try:
                flow = self._env.flows.to(target)
                if isinstance(flow, Deferred):
                    flow = await flow
            except UnreachableTarget as error:
                problem = str(error)
                continue
            if leg.state is SessionState.PREPARED or leg.state in _RINGING:
                self._invite(leg, outgoing, flow, target)
            return
        text = f"no way to {leg.remote_uri}: {problem}"
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
        """Open what is needed towards one address."""
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
        """Another address of ours faces the next target, so the offer made is none to it."""
        if outgoing.description:
            outgoing.offer.withdraw()
            outgoing.description = b""

    def _send_invite(
        self, leg: Leg, outgoing: Outgoing, flow: Flow, target: Target, now: int
    ) -> None:
        for usage in outgoing.early.values():
            self._registry.part(usage.dialog)  # of an address that was given up
        outgoing.early.clear()
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
        user, first = _InviteUser(self, leg), leg.state is SessionState.PREPARED
        outgoing.client = self._layer.request(
            user, data, b"INVITE", target.address, flow, branch, now
        )
        if self._env.tracer is not None:
            outgoing.client.trace = self._env.tracer.step
            self._env.tracer.transaction(outgoing.client)
        if first:
            leg.feed(InviteWritten())
            self._limit_ringing(leg, outgoing, now)
            self._env.counters.placed += 1
            self._announcer.emit(leg, events.CallInitiated, now, leg.remote_uri)

    def failed(self, leg: Leg, reason: EndReason) -> None:
        """One address did not answer; another may."""
        if self._has_another(leg):
            self._go_on(leg)
        elif not leg.answered:
            leg.feed(GiveUp(reason))

    def _has_another(self, leg: Leg) -> bool:
        """Whether to go on to the next address (RFC 3263 section 4.3)."""
        outgoing = leg.outgoing
        return (
            outgoing is not None
            and bool(outgoing.targets)
            and leg.state in _RINGING
            and not leg.media.established
        )

    def _go_on(self, leg: Leg) -> None:
        assert leg.outgoing is not None
        self._requests.start(self._try_next(leg, leg.outgoing))

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
        if leg is None or leg.state not in _RINGING:
            return
        outgoing = leg.outgoing
        own = None if outgoing is None else outgoing.ring_end
        if own is None or own.when <= now:
            leg.feed(HangUp(_NOBODY_ANSWERED))

    # --- responses

    def answered(self, leg: Leg, response: Response, now: int) -> None:
        """Any response to the INVITE, repeats and other forks' included."""
        status = response.status
        if not leg.media.path_proven:
            # Whoever answers has read the branch of our INVITE, so is where we sent it.
            self._establishing.control.prove_path(leg)
        if status < 200:
            self._provisional(leg, response, now)
        elif status < 300:
            self._success(leg, response, now)
        elif status == 503 and self._has_another(leg):
            self._go_on(leg)
        else:
            leg.feed(FailureRead(answered_with(response)))

    def _provisional(self, leg: Leg, response: Response, now: int) -> None:
        leg.feed(ProvisionalRead())
        status, outgoing = response.status, leg.outgoing
        if status == 100 or leg.state is not SessionState.PROCEEDING or outgoing is None:
            return
        usage = self._early(leg, outgoing, response) if response.to_tag else None
        # An offer in a provisional that is not reliable is none (RFC 3262 section 5).
        described = usage is not None and not leg.late_offer and bool(description_in(response))
        told = 1 << status
        if not outgoing.rung & told and not (described and status == 183):
            outgoing.rung |= told  # each status once: a callee may alternate as long as it likes
            self._announcer.emit(leg, events.CallRinging, now, status)
        if described and usage is not None:
            self._early_media(leg, usage, response, now)

    def _early(self, leg: Leg, outgoing: Outgoing, response: Response) -> DialogUsage | None:
        """The early dialog of that To tag (RFC 3261 section 12.1.2), begun with the first 1xx."""
        tag = response.to_tag or b""
        usage = outgoing.early.get(tag)
        if usage is None and len(outgoing.early) < MOST_FORKS:
            assert outgoing.client is not None
            try:
                dialog = Dialog.from_response(outgoing.origin, response)
            except SipParseError:
                # Good enough for an early one; the 2xx says where its requests go.
                peer = outgoing.client.destination
                dialog = Dialog.from_unusable(outgoing.origin, response, peer)
            usage = outgoing.early[tag] = self._usage(outgoing, dialog)
            self._registry.join(leg, dialog)
        return usage

    def _usage(self, outgoing: Outgoing, dialog: Dialog) -> DialogUsage:
        assert outgoing.flow is not None
        return DialogUsage(
            dialog, outgoing.offer.fork(), outgoing.flow, outgoing.contact, outgoing.description
        )

    def _early_media(self, leg: Leg, usage: DialogUsage, response: Response, now: int) -> None:
        """SDP in a provisional: the agreement of that early dialog, made once."""
        if usage.negotiation.state is not OfferState.OFFER_SENT:
            return
        try:
            agreement = usage.negotiation.receive_answer(
                description_in(response), signalling_host=leg.media.signalling_host
            )
        except NegotiationError:
            self._env.counters.refused_media += 1
            return  # unreliable, so it binds nobody; the 200 decides
        if not leg.media.established:
            self._establishing.agreed_early(leg, agreement, now)

    def _success(self, leg: Leg, response: Response, now: int) -> None:
        """A 2xx that is not the repeat of one we have acknowledged."""
        outgoing = leg.outgoing
        assert outgoing is not None and outgoing.client is not None and outgoing.flow is not None
        if outgoing.other_forks is None:
            outgoing.other_forks = OtherForks(
                self._requests, outgoing.origin, outgoing.flow, outgoing.client.destination
            )
        if leg.usage is None and not leg.over:
            self._begin_dialog(leg, outgoing, response, now)
        elif leg.usage is None or (response.to_tag or b"") != leg.usage.dialog.remote_tag:
            outgoing.other_forks.response_received(outgoing.client, response, now)

    def _begin_dialog(self, leg: Leg, outgoing: Outgoing, response: Response, now: int) -> None:
        """The first 2xx confirms one dialog, and ends the early ones of the other forks."""
        assert outgoing.client is not None and outgoing.other_forks is not None
        usage = outgoing.early.pop(response.to_tag or b"", None)
        try:
            if usage is None:
                usage = self._usage(outgoing, Dialog.from_response(outgoing.origin, response))
                self._registry.join(leg, usage.dialog)
            else:
                usage.dialog.confirm(outgoing.origin, response)
        except SipParseError as error:
            if usage is not None:
                self._registry.part(usage.dialog)
            leg.feed(GiveUp(EndReason(EndedBy.ERROR, f"unusable 200: {error}", None, 95)))
            outgoing.other_forks.response_received(outgoing.client, response, now)
            return
        for other in outgoing.early.values():
            self._registry.part(other.dialog)
        outgoing.early.clear()
        leg.usage = usage
        leg.feed(SuccessRead())
        self._requests.start(self._conclude(leg, outgoing, usage, response, now))

    # --- the answer

    async def _conclude(
        self, leg: Leg, outgoing: Outgoing, usage: DialogUsage, response: Response, now: int
    ) -> None:
        """Media first, in the turn in which the 200 is read; then the ACK."""
        establishing = self._establishing
        body, problem = b"", None
        if leg.late_offer:
            body, problem = self._answer_offer(leg, usage, response)
        elif leg.answered:
            problem = self._take_answer(leg, usage, response)
        if leg.answered:
            establishing.answered(leg, now)
            # Not Ready: a 183 said the same before, and media runs already.
            if leg.media.state is MediaState.READY:
                establishing.establish(leg, now)
            else:
                establishing.control.answered(leg)
        if problem is not None:
            self._env.counters.refused_media += 1
            leg.feed(HangUp(problem))
        written = await self._acknowledge(leg, outgoing, usage, response, body)
        if written is None:
            return
        self._announcer.emit(leg, events.AckSent, written)
        agreement = usage.negotiation.agreement
        if leg.late_offer and agreement is not None and leg.state is SessionState.ANSWERED:
            # Our answer has just left in the ACK: only now is it agreed.
            establishing.agreed(leg, agreement, written)
        if leg.answered:
            self._announcer.emit(leg, events.DialogEstablished, written)
        leg.feed(AckWritten())

    async def _acknowledge(
        self,
        leg: Leg,
        outgoing: Outgoing,
        usage: DialogUsage,
        response: Response,
        body: bytes,
    ) -> int | None:
        """Write the ACK and return when; None where the leg was over before.

        The time is from before the ACK leaves, so that nobody can read it earlier than that.
        """
        tx, requests = outgoing.client, self._requests
        assert tx is not None
        try:
            flow, peer = await requests.next_hop(usage.dialog, usage.flow)
        except SessionCoreError as error:
            # It has to stop repeating its 200, and its media.
            flow, peer = usage.flow, tx.destination
            usage.dialog.detour = peer
            leg.feed(HangUp(EndReason(EndedBy.NETWORK, f"no way for the ACK: {error}", None, 38)))
        # Also when the peer's BYE was faster than the resolver: it repeats its 200 till then.
        ack = requests.ack(usage.dialog, outgoing.origin.sequence, flow, peer, body)
        now = self._env.now()
        usage.flow = tx.flow = flow
        self._layer.acknowledge(tx, ack, response, peer, now, heir=outgoing.other_forks)
        # A held call needs none of this any more.
        if outgoing.ring_end is not None:
            outgoing.ring_end.cancel()
        leg.outgoing = None
        return None if leg.over else now

    def _take_answer(self, leg: Leg, usage: DialogUsage, response: Response) -> EndReason | None:
        """The answer to our offer: new, the repeat of a 183's, or another fork's."""
        negotiation = usage.negotiation
        if negotiation.state is OfferState.AGREED:
            agreement = negotiation.agreement
            assert agreement is not None
            if leg.media.agreement is not agreement:
                leg.media.agreed(agreement)
            return None
        try:
            agreement = negotiation.receive_answer(
                description_in(response), signalling_host=leg.media.signalling_host
            )
        except NegotiationError as error:
            return unusable("answer in the 200", error)
        leg.media.agreed(agreement)
        return None

    def _answer_offer(
        self, leg: Leg, usage: DialogUsage, response: Response
    ) -> tuple[bytes, EndReason | None]:
        """The ACK's answer to an offer that came in the 200; a refusing one if need be."""
        negotiation = usage.negotiation
        try:
            negotiation.receive_offer(
                description_in(response), signalling_host=leg.media.signalling_host
            )
            leg.media.feed(OfferPending())
            answer = negotiation.make_answer()
        except (NegotiationError, SdpParseError) as error:
            problem = unusable("offer in the 200", error)
            try:
                return negotiation.make_refusing_answer(description_in(response)), problem
            except SdpParseError:
                return b"", problem
        usage.local_description = answer
        return answer, None
