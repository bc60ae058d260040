"""The UAC path of a call: responses read, media, ACK written; the INVITE is in `placing`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from sessioncore import events
from sessioncore.errors import (
    NegotiationError,
    SdpParseError,
    SessionCoreError,
    SipParseError,
)
from sessioncore.session.announcing import Announcer
from sessioncore.session.bodies import description_in
from sessioncore.session.dialog_usage import DialogUsage
from sessioncore.session.environment import Environment
from sessioncore.session.establishing import Establishing
from sessioncore.session.leg import Leg, Outgoing
from sessioncore.session.media_state import OfferPending
from sessioncore.session.placing import Placing
from sessioncore.session.reasons import answered_with, unexpected, unusable
from sessioncore.session.registry import Registry
from sessioncore.session.requests import MOST_FORKS, DialogRequests, OtherForks
from sessioncore.session.session import (
    AckWritten,
    FailureRead,
    GiveUp,
    HangUp,
    ProvisionalRead,
    SessionState,
    SuccessRead,
)
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.matching import TransactionLayer
from sessioncore.sip.message import Response
from sessioncore.sip.methods import MethodRules
from sessioncore.sip.transaction import ClientTransaction
from sessioncore.vocabulary import EndedBy, EndReason, MediaState, NegotiatedMedia, host_port

__all__ = ["Caller"]


class _InviteUser:
    """The user of the INVITE transaction of one leg."""

    __slots__ = ("_caller", "_leg")

    def __init__(self, caller: Caller, leg: Leg) -> None:
        self._caller = caller
        self._leg = leg

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        try:
            self._caller.answered(self._leg, response, now)
        except Exception as error:
            self._leg.fail(error)
            raise

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        self._caller.failed(self._leg, EndReason(EndedBy.TIMEOUT, "no answer", 408, 102))

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        text = f"cannot reach {host_port(*tx.destination)}"
        self._caller.failed(self._leg, EndReason(EndedBy.NETWORK, text, 503, 38))


class Caller:
    """Handles our calls from the first response to the ACK; `placing` sends the INVITE."""

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        registry: Registry,
        layer: TransactionLayer,
        establishing: Establishing,
        requests: DialogRequests,
        rules: MethodRules,
        confirmed: Callable[[Leg, int], None],
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._registry = registry
        self._layer = layer
        self._establishing = establishing
        self._requests = requests
        self._confirmed = confirmed
        self.placing: Final = Placing(
            env,
            announcer,
            registry,
            layer,
            establishing,
            requests,
            rules,
            partial(_InviteUser, self),
        )

    # --- responses

    def failed(self, leg: Leg, reason: EndReason) -> None:
        """One address did not answer; try the next one."""
        self._registry.settled(leg)
        if self.placing.has_another(leg):
            self.placing.go_on(leg)
        elif not leg.answered:
            leg.feed(GiveUp(reason))

    def answered(self, leg: Leg, response: Response, now: int) -> None:
        """Process any response to the INVITE, including repeats and those of other forks."""
        status = response.status
        if not leg.media.path_proven:
            # The sender of the response knows the branch of our INVITE, so it is our target.
            self._establishing.control.prove_path(leg, now)
        if status < 200:
            self._provisional(leg, response, now)
            return
        if self._registry.unsettled:
            self._registry.settled(leg)
        if status < 300:
            self._success(leg, response, now)
        elif status == 503 and self.placing.has_another(leg):
            self.placing.go_on(leg)
        else:
            leg.feed(FailureRead(answered_with(response)))

    def _provisional(self, leg: Leg, response: Response, now: int) -> None:
        leg.feed(ProvisionalRead())
        status, outgoing = response.status, leg.outgoing
        if status == 100 or leg.state is not SessionState.PROCEEDING or outgoing is None:
            return
        usage = self._early(leg, outgoing, response) if response.to_tag else None
        # A provisional that is not reliable cannot carry an offer (RFC 3262 section 5).
        described = usage is not None and not leg.late_offer and bool(description_in(response))
        told = 1 << status
        if not outgoing.rung & told and not (described and status == 183):
            outgoing.rung |= told  # each status once: a callee may alternate as long as it likes
            self._announcer.emit(leg, events.CallRinging, now, status)
        if described and usage is not None:
            self._early_media(leg, outgoing, usage, response, now)

    def _early(self, leg: Leg, outgoing: Outgoing, response: Response) -> DialogUsage | None:
        """The early dialog of that To tag (RFC 3261 section 12.1.2), begun with the first 1xx."""
        tag = response.to_tag or b""
        usage = outgoing.early.get(tag)
        if usage is None and len(outgoing.early) < MOST_FORKS:
            assert outgoing.client is not None
            peer = outgoing.client.destination
            try:
                dialog = Dialog.from_response(outgoing.origin, response, peer)
            except SipParseError:
                # This suffices for an early dialog; the 2xx sets its remote target.
                dialog = Dialog.from_unusable(outgoing.origin, response, peer)
            usage = outgoing.early[tag] = self._usage(outgoing, dialog)
            self._registry.join(leg, dialog)
        return usage

    def _usage(self, outgoing: Outgoing, dialog: Dialog) -> DialogUsage:
        assert outgoing.flow is not None
        return DialogUsage(
            dialog, outgoing.offer.fork(), outgoing.flow, outgoing.contact, outgoing.description
        )

    def _early_media(
        self, leg: Leg, outgoing: Outgoing, usage: DialogUsage, response: Response, now: int
    ) -> None:
        """SDP in a provisional response: the agreement of that early dialog."""
        former = usage.negotiation.agreement
        try:
            agreement = self._answer(leg, outgoing, usage, response)
        except NegotiationError:
            self._env.counters.refused_media += 1
            return  # the 200 decides
        if not leg.media.established:
            self._establishing.agreed_early(leg, agreement, now)
        elif agreement is not former and leg.media.agreement is former:
            leg.answer_changed = True
            self._announcer.emit(leg, events.AnswerChanged, now)
            self._establishing.agreed(leg, agreement, now)

    def _success(self, leg: Leg, response: Response, now: int) -> None:
        """A 2xx that is not a repeat of one that we have acknowledged."""
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

    def _success_repeated(self, name: str, now: int) -> None:
        leg = self._registry.by_name.get(name)
        if leg is not None:
            leg.answer_repeated = True
            self._announcer.emit(leg, events.AnswerRepeated, now)

    def _begin_dialog(self, leg: Leg, outgoing: Outgoing, response: Response, now: int) -> None:
        """The first 2xx confirms one dialog, and ends the early ones of the other forks."""
        assert outgoing.client is not None and outgoing.other_forks is not None
        usage = outgoing.early.pop(response.to_tag or b"", None)
        try:
            if usage is None:
                peer = outgoing.client.destination
                dialog = Dialog.from_response(outgoing.origin, response, peer)
                usage = self._usage(outgoing, dialog)
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
        self._requests.start(self._conclude(leg, outgoing, usage, response, now), leg)

    # --- the answer

    async def _conclude(
        self, leg: Leg, outgoing: Outgoing, usage: DialogUsage, response: Response, now: int
    ) -> None:
        try:
            await self._establish_and_acknowledge(leg, outgoing, usage, response, now)
        except Exception as error:
            if leg.outgoing is not None and outgoing.client and outgoing.other_forks:
                # No ACK was written: the dialog is ended like that of an unwanted fork.
                leg.feed(GiveUp(unexpected(error)))
                outgoing.other_forks.response_received(outgoing.client, response, now)
            raise

    async def _establish_and_acknowledge(
        self, leg: Leg, outgoing: Outgoing, usage: DialogUsage, response: Response, now: int
    ) -> None:
        """Media first, in the turn in which the 200 is read; then the ACK."""
        establishing = self._establishing
        body, problem = b"", None
        if leg.late_offer:
            body, problem = self._answer_offer(leg, usage, response)
        elif leg.answered:
            problem = self._take_answer(leg, outgoing, usage, response, now)
        if leg.answered:
            establishing.answered(leg, now)
            if leg.media.established:
                establishing.control.answered(leg)
            # Not Ready: a 183 had the same description, and media is already running.
            if leg.media.state is MediaState.READY:
                establishing.establish(leg, now)
        if problem is not None:
            self._env.counters.refused_media += 1
            leg.feed(HangUp(problem))
        written = await self._acknowledge(leg, outgoing, usage, response, body)
        if written is None:
            return
        self._announcer.emit(leg, events.AckSent, written)
        agreement = usage.negotiation.agreement
        if leg.late_offer and agreement is not None and leg.state is SessionState.ANSWERED:
            # Our answer has just been sent in the ACK: only now there is an agreement.
            establishing.agreed(leg, agreement, written)
        if leg.answered:
            self._confirmed(leg, written)
        leg.feed(AckWritten())

    async def _acknowledge(
        self,
        leg: Leg,
        outgoing: Outgoing,
        usage: DialogUsage,
        response: Response,
        body: bytes,
    ) -> int | None:
        """Write the ACK and return the time (ns); None if the leg was over before.

        The time is taken before the ACK is sent, so that the peer cannot read it earlier.
        """
        tx, requests = outgoing.client, self._requests
        assert tx is not None
        try:
            flow, peer = await requests.next_hop(usage.dialog, usage.flow)
        except SessionCoreError as error:
            # The peer has to stop repeating its 200, and its media.
            flow, peer = usage.flow, tx.destination
            usage.dialog.detour = peer
            leg.feed(HangUp(EndReason(EndedBy.NETWORK, f"cannot send the ACK: {error}", None, 38)))
        # Also if the peer's BYE was faster than the resolver: the peer repeats its 200 till then.
        ack = requests.ack(usage.dialog, outgoing.origin.sequence, flow, peer, body)
        now = self._env.now()
        usage.flow = tx.flow = flow
        self._layer.acknowledge(
            tx,
            ack,
            response,
            peer,
            now,
            heir=outgoing.other_forks,
            repeated=partial(self._success_repeated, leg.name),
        )
        # A held call does not need any of this any more.
        if outgoing.ring_end is not None:
            outgoing.ring_end.cancel()
        leg.outgoing = None
        return None if leg.over else now

    def _take_answer(
        self, leg: Leg, outgoing: Outgoing, usage: DialogUsage, response: Response, now: int
    ) -> EndReason | None:
        """Take the answer to our offer; it may be the same as in a 183, or replace that one."""
        early = usage.negotiation.agreement
        try:
            agreement = self._answer(leg, outgoing, usage, response)
        except NegotiationError as error:
            leg.port_zero = error.port_zero
            return unusable("answer in the 200", error)
        if early is not None and agreement is not early:
            leg.answer_changed = True
            self._announcer.emit(leg, events.AnswerChanged, now)
        if leg.media.agreement is not agreement:
            leg.media.agreed(agreement)
        return None

    @staticmethod
    def _answer(
        leg: Leg, outgoing: Outgoing, usage: DialogUsage, response: Response
    ) -> NegotiatedMedia:
        """The agreement that the response makes; raises `NegotiationError` if there is none.

        An unreliable provisional response is not binding, so the newest description counts.
        """
        body, early = description_in(response), usage.negotiation.agreement
        if early is not None and not body:
            return early
        negotiation = usage.negotiation if early is None else outgoing.offer.fork()
        agreement = negotiation.receive_answer(body, signalling_host=leg.media.signalling_host)
        if agreement == early:
            return early
        usage.negotiation = negotiation
        return agreement

    def _answer_offer(
        self, leg: Leg, usage: DialogUsage, response: Response
    ) -> tuple[bytes, EndReason | None]:
        """The answer in the ACK to an offer in the 200; if necessary one that refuses it."""
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
