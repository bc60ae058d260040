"""Offers after the first exchange: answers those of the peer, makes ours (RFC 3261 section 14).

Either role can offer; the table in `sessioncore.session.modification` decides whose turn it is.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred, fail

from sessioncore import events
from sessioncore.deadlines import Deadline
from sessioncore.errors import (
    CallFailed,
    CallOver,
    ModificationRefused,
    NegotiationError,
    SessionCoreError,
    SipParseError,
)
from sessioncore.sdp.negotiation import OfferState
from sessioncore.session.acks import Acks
from sessioncore.session.announcing import Announcer
from sessioncore.session.bodies import CONTENT_SDP, Header, description_in
from sessioncore.session.dialog_usage import DialogUsage
from sessioncore.session.environment import Environment
from sessioncore.session.establishing import Establishing
from sessioncore.session.leg import Leg
from sessioncore.session.modification import (
    Answered,
    BackOff,
    BackOffOver,
    Drop,
    Glared,
    Modification,
    ModificationState,
    OfferRead,
    OfferWanted,
    Refuse,
    Refused,
    SendOffer,
    Settled,
    TakeOffer,
)
from sessioncore.session.reasons import answered_with, unusable
from sessioncore.session.refusals import Refusals
from sessioncore.session.requests import DialogRequests
from sessioncore.session.session import HangUp, SessionState
from sessioncore.sip.matching import TransactionLayer
from sessioncore.sip.message import Response
from sessioncore.sip.methods import MethodRules
from sessioncore.sip.transaction import ClientTransaction, ServerTransaction
from sessioncore.vocabulary import (
    MILLISECOND,
    SECOND,
    Direction,
    EndedBy,
    EndReason,
    SessionRole,
)

__all__ = ["MOST_TRIES", "Modifying"]

MOST_TRIES: Final = 5
"""How often one change is offered to a peer that always answers 491; glare needs one or two."""
_SETTLED = Settled()
_ANSWERED = Answered()
_REFUSED = Refused()
_GLARED = Glared()


class _Wish:
    """The change that our side wants, and the Deferred that waits for it."""

    __slots__ = ("client", "direction", "done", "limit", "tries")

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.done: Deferred[None] = Deferred()
        self.client: ClientTransaction | None = None
        """Its re-INVITE, until the final response."""
        self.limit: Deadline | None = None
        self.tries = 0

    def answered(self) -> None:
        """Its re-INVITE has a final response, or none is waited for."""
        self.client = None
        if self.limit is not None:
            self.limit.cancel()


class _ReinviteUser:
    """The user of the transaction of our re-INVITE."""

    __slots__ = ("_answered", "_leg", "_modifying", "_usage")

    def __init__(self, modifying: Modifying, leg: Leg, usage: DialogUsage) -> None:
        self._modifying = modifying
        self._leg = leg
        self._usage = usage
        self._answered = False

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        # A 2xx may come again before its ACK is written, and another offer may be out by then.
        if response.status < 200 or self._answered:
            return
        self._answered = True
        try:
            self._modifying.answered(self._leg, self._usage, tx, response, now)
        except Exception as error:
            self._leg.fail(error)
            raise

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        self._modifying.lost(self._leg, self._usage)

    transport_failed = timed_out


class Modifying:
    """Answers the peer's offers within dialogs, and makes ours."""

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        layer: TransactionLayer,
        establishing: Establishing,
        requests: DialogRequests,
        acks: Acks,
        refusals: Refusals,
        rules: MethodRules,
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._layer = layer
        self._establishing = establishing
        self._requests = requests
        self._acks = acks
        self._refusals = refusals
        self._says: tuple[Header, ...] = (rules.allow, rules.supported)

    def _machine(self, leg: Leg, usage: DialogUsage) -> Modification:
        if usage.modification is None:
            tracer = self._env.tracer
            usage.modification = Modification(
                partial(self._perform, leg, usage), None if tracer is None else tracer.step
            )
        return usage.modification

    def _perform(self, leg: Leg, usage: DialogUsage, effect: object) -> None:
        match effect:
            case TakeOffer(request=tx):
                self._take(leg, usage, tx)
            case Refuse(request=tx):
                self._refuse(usage, tx)
            case SendOffer():
                self._requests.start(self._send(leg, usage), leg)
            case BackOff():
                self._back_off(leg, usage)
            case Drop():
                self._drop(leg, usage)

    # --- the peer's

    def reinvited(self, leg: Leg, usage: DialogUsage, tx: ServerTransaction, now: int) -> None:
        """Process an offer, or a request for one, within the dialog (RFC 3261 section 14.2).

        Refusals keep their state: a copy of a refused request must not be accepted later.
        """
        if usage.negotiation.state is OfferState.AGREED:
            self._acks.implied(leg, usage, now)
        if usage.modification is None and self._first_exchange_open(leg, usage):
            self._refuse(usage, tx)
        elif leg.state is not SessionState.CONFIRMED:
            tx.respond(481, now=now)
        else:
            self._machine(leg, usage).feed(OfferRead(tx))

    @staticmethod
    def _first_exchange_open(leg: Leg, usage: DialogUsage) -> bool:
        """Whether the first exchange is still open; `Modification` does not track it."""
        return (
            usage.negotiation.state is OfferState.OFFER_SENT
            or not leg.answered
            or leg.state is SessionState.ANSWERED
            or usage.unacknowledged is not None
        )

    def _refuse(self, usage: DialogUsage, tx: ServerTransaction) -> None:
        """Refuse: 491 if our offer is pending, 500 if the peer's is (RFC 3261 section 14.2)."""
        now = self._env.now()
        if usage.negotiation.state is OfferState.OFFER_SENT:
            tx.respond(491, now=now, stateful=True)
        else:
            wait = (b"Retry-After", b"%d" % (self._env.random_bits(3) + 1))
            tx.respond(500, headers=(wait,), now=now, stateful=True)

    def _take(self, leg: Leg, usage: DialogUsage, tx: ServerTransaction) -> None:
        now = self._env.now()
        try:
            description = self._renegotiate(leg, usage, tx)
        except SessionCoreError as error:
            if usage.negotiation.has_pending_offer:
                usage.negotiation.withdraw()
            self._refusals.offer(leg, tx, error, now)
            self._machine(leg, usage).feed(_SETTLED)
            return
        usage.local_description = description
        self._acks.expect(leg, usage, tx, now)
        tx.respond(
            200,
            headers=((b"Contact", usage.contact), CONTENT_SDP, *self._says),
            body=description,
            now=now,
            record_route=True,
        )
        self._make_true(leg, usage, now)

    def _renegotiate(self, leg: Leg, usage: DialogUsage, tx: ServerTransaction) -> bytes:
        """Our answer to the offer of a re-INVITE, or our offer if it had none."""
        offer, negotiation = description_in(tx.request), usage.negotiation
        if offer:
            negotiation.receive_offer(offer, signalling_host=tx.source[0])
        usage.dialog.refresh_target(tx.request)
        # The peer may have moved to another network; its current source address counts for media.
        leg.media.signalling_host = tx.source[0]
        return negotiation.make_answer() if offer else negotiation.make_offer()

    def _make_true(self, leg: Leg, usage: DialogUsage, now: int) -> None:
        negotiation = usage.negotiation
        agreement = negotiation.agreement
        if negotiation.state is OfferState.AGREED and negotiation.changed and agreement:
            self._establishing.agreed(leg, agreement, now)

    # --- ours

    def modify(self, leg: Leg, direction: Direction) -> Deferred[None]:
        """Offer ``direction`` by a re-INVITE; fires once the peer has agreed.

        Fails with `CallOver` if the call is not up, `ModificationRefused` if another change is
        under way or the peer refuses (also by 491 to all `MOST_TRIES` offers), `CallFailed` if the
        call ends before.
        """
        usage = leg.usage
        if usage is None or leg.state is not SessionState.CONFIRMED:
            return fail(CallOver(f"call {leg.name} cannot be modified: it is {leg.state}"))
        machine = self._machine(leg, usage)
        if machine.wish is not None:
            text = "another change is under way; wait for it to finish"
            return fail(ModificationRefused(EndReason(EndedBy.LOCAL, text)))
        wish = _Wish(direction)
        machine.feed(OfferWanted(wish))
        return wish.done

    async def _send(self, leg: Leg, usage: DialogUsage) -> None:
        requests, machine = self._requests, self._machine(leg, usage)
        try:
            flow, peer = await requests.next_hop(usage.dialog, usage.flow)
        except SessionCoreError as error:
            if machine.state is ModificationState.OFFERING:
                self._give_up(machine, EndReason(EndedBy.NETWORK, str(error), None, 38))
            return
        if machine.state is not ModificationState.OFFERING:
            return  # the dialog ended meanwhile
        usage.flow = flow
        usage.local_description = usage.negotiation.make_offer(machine.wish.direction)
        user = _ReinviteUser(self, leg, usage)
        headers = ((b"Contact", usage.contact), *self._says, CONTENT_SDP)
        wish: _Wish = machine.wish
        wish.tries += 1
        wish.client = requests.send(
            user, usage.dialog, b"INVITE", flow, peer, headers, usage.local_description
        )
        # A 1xx stops Timer B, so only this limit ends a re-INVITE that is never answered.
        when = self._env.now() + round(self._env.settings.ring_limit * SECOND)
        wish.limit = self._env.deadlines.at(when, self._cancel, wish.client)

    def _cancel(self, client: ClientTransaction, now: int) -> None:
        self._layer.cancel(client, now)

    def answered(
        self, leg: Leg, usage: DialogUsage, tx: ClientTransaction, response: Response, now: int
    ) -> None:
        """Process the final response to our re-INVITE; not called for repeats of a 2xx."""
        machine = self._machine(leg, usage)
        if machine.wish is not None:
            machine.wish.answered()
        if response.status < 300:
            self._accepted(leg, usage, tx, response, now)
        elif machine.state is not ModificationState.OFFERING:
            return  # the dialog has ended
        elif response.status in (408, 481):
            # RFC 3261 section 12.2.1.2: the peer does not know the dialog, so it is over.
            usage.negotiation.withdraw()
            leg.feed(HangUp(answered_with(response)))
        else:
            usage.negotiation.withdraw()
            if response.status == 491 and machine.wish.tries < MOST_TRIES:
                machine.feed(_GLARED)
            else:
                self._give_up(machine, answered_with(response))

    def _success_repeated(self, leg: Leg, now: int) -> None:
        if not leg.over:
            leg.answer_repeated = True
            self._announcer.emit(leg, events.AnswerRepeated, now)

    def lost(self, leg: Leg, usage: DialogUsage) -> None:
        """No response to our re-INVITE: the same as 408 (RFC 3261 section 14.1)."""
        machine = self._machine(leg, usage)
        if machine.state is ModificationState.OFFERING:
            machine.wish.answered()
            usage.negotiation.withdraw()
            leg.feed(HangUp(EndReason(EndedBy.TIMEOUT, "no answer to a re-INVITE", 408, 102)))

    def _accepted(
        self, leg: Leg, usage: DialogUsage, tx: ClientTransaction, response: Response, now: int
    ) -> None:
        with suppress(SipParseError):  # an unreadable Contact leaves the target as it was
            usage.dialog.refresh_target(response)
        self._requests.start(self._acknowledge(leg, usage, tx, response), leg)
        machine = self._machine(leg, usage)
        if machine.state is not ModificationState.OFFERING:
            return  # the dialog has ended or is ending
        wish: _Wish = machine.wish
        try:
            usage.negotiation.receive_answer(
                description_in(response), signalling_host=leg.media.signalling_host
            )
        except NegotiationError as error:
            self._env.counters.refused_media += 1
            leg.port_zero = error.port_zero
            leg.feed(HangUp(unusable("answer to a re-INVITE", error)))
            return
        usage.negotiation.direction = wish.direction
        machine.feed(_ANSWERED)
        self._make_true(leg, usage, now)
        self._announcer.later(wish.done.callback, None)

    async def _acknowledge(
        self, leg: Leg, usage: DialogUsage, tx: ClientTransaction, response: Response
    ) -> None:
        flow, peer = tx.flow, tx.destination
        with suppress(SessionCoreError):  # on failure, the ACK goes where the re-INVITE went
            flow, peer = await self._requests.next_hop(usage.dialog, usage.flow)
        ack = self._requests.ack(usage.dialog, response.cseq.number, flow, peer)
        tx.flow = flow
        repeated = partial(self._success_repeated, leg)
        self._layer.acknowledge(tx, ack, response, peer, self._env.now(), repeated=repeated)

    def _give_up(self, machine: Modification, reason: EndReason) -> None:
        wish: _Wish = machine.wish
        machine.feed(_REFUSED)
        self._announcer.later(wish.done.errback, ModificationRefused(reason))

    def _back_off(self, leg: Leg, usage: DialogUsage) -> None:
        """RFC 3261 section 14.1: wait 2.1 to 4 s if we made the Call-ID, else up to 2 s."""
        steps = self._env.random_bits(16) * (191 if leg.role is SessionRole.UAC else 201) >> 16
        wait = (210 + steps if leg.role is SessionRole.UAC else steps) * 10 * MILLISECOND
        machine = self._machine(leg, usage)
        self._env.deadlines.at(
            self._env.now() + wait, lambda _none, _now: machine.feed(BackOffOver())
        )

    def _drop(self, leg: Leg, usage: DialogUsage) -> None:
        machine = self._machine(leg, usage)
        wish: _Wish | None = machine.wish
        machine.wish = None
        if wish is not None:
            if wish.client is not None:
                self._layer.cancel(wish.client, self._env.now())
            wish.answered()
            assert leg.reason is not None
            self._announcer.later(wish.done.errback, CallFailed(leg.reason))
