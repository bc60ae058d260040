"""The UAC path of a call: INVITE written, 200 read, media, ACK written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sessioncore import events
from sessioncore.errors import (
    CallFailed,
    CallOver,
    NegotiationError,
    SdpParseError,
    SessionCoreError,
    SipParseError,
)
from sessioncore.sdp.negotiation import OfferAnswer, OfferState
from sessioncore.session.capabilities import (
    ALLOW,
    CONTENT_SDP,
    MAX_FORWARDS,
    SUPPORTED,
    Header,
    description_in,
)
from sessioncore.session.leg import Leg
from sessioncore.session.media_state import OfferPending
from sessioncore.session.reasons import answered_with, local_reason, unusable
from sessioncore.session.requests import OtherForks
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
from sessioncore.session.targets import contact_towards, flow_for
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.matching import Flow
from sessioncore.sip.message import Request, Response, build_request, parse_message
from sessioncore.sip.transaction import ClientTransaction
from sessioncore.sip.values import Uri
from sessioncore.vocabulary import (
    SECOND,
    Address,
    EndedBy,
    EndReason,
    MediaState,
    SessionRole,
    host_port,
)

if TYPE_CHECKING:
    from sessioncore.session.coordinator import SessionCoordinator

__all__ = ["Caller"]

_MOST_FORKS: Final = 16
_RINGING: Final = (SessionState.CALLING, SessionState.PROCEEDING)


class _InviteUser:
    """Receives what the INVITE transaction of one leg has to say."""

    __slots__ = ("_caller", "_leg")

    def __init__(self, caller: Caller, leg: Leg) -> None:
        self._caller = caller
        self._leg = leg

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        self._caller.answered(self._leg, response, now)

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        self._caller.failed(self._leg, EndReason(EndedBy.TIMEOUT, "no answer", 408, 102), now)

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        text = f"cannot reach {host_port(*tx.destination)}"
        self._caller.failed(self._leg, EndReason(EndedBy.NETWORK, text, 503, 38), now)


class Caller:
    """Places calls and sees them through to their ACK."""

    def __init__(self, coordinator: SessionCoordinator) -> None:
        self._all = coordinator
        # A 1xx stops Timer B, so nothing else ends a call that rings for ever.
        limit = round(coordinator.settings.ring_limit * SECOND)
        self._ringing = coordinator.deadlines.fifo(limit, self._rang_long_enough)

    def stop(self) -> None:
        """Time nothing any more."""
        self._all.deadlines.remove(self._ringing)

    # ------------------------------------------------------------------ placing

    def prepare(self, target: Uri, from_uri: str | None, *, late_offer: bool) -> Leg:
        """A leg that has sent nothing yet."""
        host = self._all.random_token() + b"@" + (target.host or b"invalid")
        leg = self._all.new_leg(SessionRole.UAC, host)
        leg.target = target
        leg.remote_uri = str(target)
        leg.local_uri = from_uri or ""
        leg.late_offer = late_offer
        return leg

    async def place(self, leg: Leg) -> None:
        """Resolve the target and send the INVITE to the first address that takes it."""
        if leg.state is not SessionState.PREPARED or leg.target is None:
            raise CallOver(f"call {leg.name} cannot be placed: it is {leg.state}")
        try:
            targets = await self._all.resolve(leg.target)
        except SessionCoreError as error:
            reason = EndReason(EndedBy.ERROR, str(error), 404, 3)
            leg.feed(GiveUp(reason))
            raise CallFailed(leg.reason or reason) from error
        if leg.state is SessionState.PREPARED:
            leg.targets = targets
            self._try_next(leg, self._all.now())
        if leg.over:
            raise CallFailed(leg.reason or local_reason("hung up"))

    def _try_next(self, leg: Leg, now: int) -> None:
        """INVITE the next address (RFC 3263 section 4.3), or give up."""
        while leg.targets:
            target, *leg.targets = leg.targets
            flow = flow_for(target, self._all.flows)
            if flow is not None:
                break
        else:
            text = f"no way to {leg.remote_uri}: no socket of ours reaches its addresses"
            leg.feed(GiveUp(EndReason(EndedBy.NETWORK, text, 503, 3)))
            return
        try:
            self._aim(leg, flow, target, now)
        except (SessionCoreError, OSError) as error:
            leg.feed(GiveUp(EndReason(EndedBy.ERROR, str(error), 503, 41)))
            return
        self._invite(leg, flow, target, now)

    def _aim(self, leg: Leg, flow: Flow, target: Address, now: int) -> None:
        """Open what is needed towards one address."""
        leg.flow = flow
        leg.media.signalling_host = target[0]
        leg.contact = contact_towards(flow, target[0])
        if not leg.local_uri:
            leg.local_uri = "sip:sessioncore@" + flow.sent_by(target[0]).decode()
        if leg.media.stream is None:
            self._all.open_stream(leg, self._all.choose_media_ip(leg), now)
        elif leg.media.stream.local[0] != self._all.local_ip(leg):
            self._take_back(leg)
            self._all.open_stream(leg, self._all.choose_media_ip(leg), now)
        self._all.media.expect_early(leg, target[0])
        if not leg.late_offer and not leg.local_description:
            leg.local_description = leg.negotiation.make_offer()
            leg.media.feed(OfferPending())

    def _take_back(self, leg: Leg) -> None:
        """Another address of ours faces the next target, so the offer made is none to it."""
        leg.forks = None
        if leg.local_description:
            leg.negotiation.withdraw()
            leg.local_description = b""

    def _invite(self, leg: Leg, flow: Flow, target: Address, now: int) -> None:
        branch = self._all.layer.new_branch()
        sent_by = flow.sent_by(target[0])
        headers: list[Header] = [
            (b"Via", b"SIP/2.0/%b %b;rport;branch=%b" % (flow.transport, sent_by, branch)),
            MAX_FORWARDS,
            (b"From", b"<%b>;tag=%b" % (leg.local_uri.encode(), leg.local_tag)),
            (b"To", b"<%b>" % leg.remote_uri.encode()),
            (b"Call-ID", leg.call_id.encode()),
            (b"CSeq", b"1 INVITE"),
            (b"Contact", leg.contact),
            ALLOW,
            SUPPORTED,
            (b"User-Agent", self._all.settings.user_agent.encode()),
        ]
        body = leg.local_description
        if body:
            headers.append(CONTENT_SDP)
        data = build_request(b"INVITE", leg.remote_uri.encode(), headers, body)
        request = parse_message(data)
        assert isinstance(request, Request)
        leg.invite = request
        first = leg.state is SessionState.PREPARED
        user = _InviteUser(self, leg)
        leg.client = self._all.layer.request(user, data, b"INVITE", target, flow, branch, now)
        if self._all.tracer is not None:
            leg.client.trace = self._all.tracer.step
            self._all.tracer.transaction(leg.client)
        if first:
            leg.feed(InviteWritten())
            self._ringing.add(leg.name, now)
            self._all.counters.placed += 1
            self._all.emit(leg, events.CallInitiated, now, leg.remote_uri)

    def failed(self, leg: Leg, reason: EndReason, now: int) -> None:
        """One address did not answer; another may."""
        if self._has_another(leg):
            self._try_next(leg, now)
        elif not leg.answered:
            leg.feed(GiveUp(reason))

    def _has_another(self, leg: Leg) -> bool:
        """Whether to go on to the next address (RFC 3263 section 4.3)."""
        return bool(leg.targets) and leg.state in _RINGING and not leg.media.established

    def _rang_long_enough(self, name: str, now: int) -> None:
        leg = self._all.legs.get(name)
        if leg is not None and leg.state in _RINGING:
            leg.feed(HangUp(EndReason(EndedBy.TIMEOUT, "nobody answered", 408, 19)))

    # ------------------------------------------------------------------ responses

    def answered(self, leg: Leg, response: Response, now: int) -> None:
        """Any response to the INVITE, repeats and other forks' included."""
        status = response.status
        if not leg.media.path_proven:
            # Whoever answers has read the branch of our INVITE, so is where we sent it.
            self._all.media.prove_path(leg)
        if status < 200:
            self._provisional(leg, response, now)
        elif status < 300:
            self._success(leg, response, now)
        elif status == 503 and self._has_another(leg):
            self._try_next(leg, now)
        else:
            leg.feed(FailureRead(answered_with(response)))

    def _provisional(self, leg: Leg, response: Response, now: int) -> None:
        leg.feed(ProvisionalRead())
        status = response.status
        if status == 100 or leg.state is not SessionState.PROCEEDING:
            return
        # An offer in a provisional that is not reliable is none (RFC 3262 section 5).
        described = bool(not leg.late_offer and response.to_tag and description_in(response))
        told = 1 << status
        if not leg.rung & told and not (described and status == 183):
            leg.rung |= told  # each status once: a callee may alternate as long as it likes
            self._all.emit(leg, events.CallRinging, now, status)
        if described and leg.state is SessionState.PROCEEDING:
            self._early_media(leg, response, now)

    def _early_media(self, leg: Leg, response: Response, now: int) -> None:
        """SDP in a provisional: the agreement of that early dialog, made once."""
        negotiation = self._fork(leg, response.to_tag or b"")
        if negotiation is None or negotiation.state is not OfferState.OFFER_SENT:
            return
        try:
            agreement = negotiation.receive_answer(
                description_in(response), signalling_host=leg.media.signalling_host
            )
        except NegotiationError:
            self._all.counters.refused_media += 1
            return  # unreliable, so it binds nobody; the 200 decides
        if not leg.media.established:
            leg.media.agreed(agreement)
            self._all.media.begins_early(leg)
            self._all.emit(leg, events.EarlyMediaStarted, now)
            self._all.establish(leg, now)

    def _fork(self, leg: Leg, tag: bytes) -> OfferAnswer | None:
        """The offer/answer of one early dialog: the same offer, an answer of its own."""
        if leg.forks is None:
            leg.forks = {}
        negotiation = leg.forks.get(tag)
        if negotiation is None and len(leg.forks) < _MOST_FORKS:
            negotiation = leg.forks[tag] = leg.negotiation.fork()
        return negotiation

    def _success(self, leg: Leg, response: Response, now: int) -> None:
        """A 2xx that is not the repeat of one we have acknowledged."""
        assert leg.invite is not None and leg.flow is not None and leg.client is not None
        if leg.other_forks is None:
            leg.other_forks = OtherForks(
                self._all.requests, leg.invite, leg.flow, leg.client.destination
            )
        if leg.dialog is None and not leg.over:
            self._begin_dialog(leg, response, now)
        elif leg.dialog is None or (response.to_tag or b"") != leg.dialog.remote_tag:
            leg.other_forks.response_received(leg.client, response, now)

    def _begin_dialog(self, leg: Leg, response: Response, now: int) -> None:
        assert leg.invite is not None and leg.client is not None and leg.other_forks is not None
        try:
            self._all.join(leg, Dialog.from_response(leg.invite, response))
        except SipParseError as error:
            leg.feed(GiveUp(EndReason(EndedBy.ERROR, f"unusable 200: {error}", None, 95)))
            leg.other_forks.response_received(leg.client, response, now)
            return
        leg.feed(SuccessRead())
        self._all.start(self._conclude(leg, response, now))

    # ------------------------------------------------------------------ the answer

    async def _conclude(self, leg: Leg, response: Response, now: int) -> None:
        """Media first, in the turn in which the 200 is read; then the ACK."""
        body, problem = b"", None
        if leg.late_offer:
            body, problem = self._answer_offer(leg, response)
        elif leg.answered:
            problem = self._take_answer(leg, response)
        if leg.answered:
            self._all.answered(leg, now)
            # Not Ready: a 183 said the same before, and media runs already.
            if leg.media.state is MediaState.READY:
                self._all.establish(leg, now)
            else:
                self._all.media.answered(leg)
        if problem is not None:
            self._all.counters.refused_media += 1
            leg.feed(HangUp(problem))
        written = await self._acknowledge(leg, response, body)
        if written is None:
            return
        now = written
        self._all.emit(leg, events.AckSent, now)
        agreement = leg.negotiation.agreement
        if leg.late_offer and agreement is not None and leg.state is SessionState.ANSWERED:
            # Our answer has just left in the ACK: only now is it agreed.
            leg.media.agreed(agreement)
            self._all.establish(leg, now)
        if leg.answered:
            self._all.emit(leg, events.DialogEstablished, now)
        leg.feed(AckWritten())

    async def _acknowledge(self, leg: Leg, response: Response, body: bytes) -> int | None:
        """Write the ACK and return when; None where the leg was over before or is over by that.

        The time is from before the ACK leaves, so that nobody can read it earlier than that.
        """
        dialog, flow, invite, tx = leg.dialog, leg.flow, leg.invite, leg.client
        assert dialog is not None and flow is not None and invite is not None and tx is not None
        requests = self._all.requests
        try:
            destination = await requests.next_hop(dialog, flow)
        except SessionCoreError as error:
            # It has to stop repeating its 200, and its media.
            destination = dialog.detour = tx.destination
            leg.feed(HangUp(EndReason(EndedBy.NETWORK, f"no way for the ACK: {error}", None, 38)))
        # Also when the peer's BYE was faster than the resolver: it repeats its 200 till then.
        ack = requests.ack(dialog, flow, invite, destination, body)
        now = self._all.now()
        self._all.layer.acknowledge(tx, ack, response, destination, now, heir=leg.other_forks)
        # A held call needs none of this any more.
        leg.invite = leg.client = leg.other_forks = None
        return None if leg.over else now

    def _take_answer(self, leg: Leg, response: Response) -> EndReason | None:
        """The answer to our offer: new, the repeat of a 183's, or another fork's."""
        negotiation = self._fork(leg, response.to_tag or b"") or leg.negotiation
        leg.negotiation, leg.forks = negotiation, None
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

    def _answer_offer(self, leg: Leg, response: Response) -> tuple[bytes, EndReason | None]:
        """The ACK's answer to an offer that came in the 200; a refusing one if need be."""
        negotiation = leg.negotiation
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
        leg.local_description = answer
        return answer, None
