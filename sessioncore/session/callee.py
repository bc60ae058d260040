"""The UAS path of a call: INVITE read, application asked, 200 written; its ACK is in `acks`.

Also the later INVITEs of a dialog, which either role can be the callee of.
"""

from __future__ import annotations

from contextlib import suppress
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sessioncore import events
from sessioncore.errors import (
    CallFailed,
    CallOver,
    ConfigurationError,
    NegotiationError,
    NoPortsError,
    SessionCoreError,
    SipParseError,
)
from sessioncore.sdp.negotiation import OfferState
from sessioncore.session.capabilities import (
    ALLOW,
    CONTENT_SDP,
    RETRY_LATER,
    SUPPORTED,
    Header,
    description_in,
)
from sessioncore.session.leg import Leg
from sessioncore.session.media_state import OfferPending
from sessioncore.session.reasons import ended_by_peer, local_reason
from sessioncore.session.session import (
    AnswerWritten,
    CancelRead,
    GiveUp,
    HangUp,
    InviteRead,
    Refuse,
    SessionState,
)
from sessioncore.session.targets import contact_towards
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.message import Request
from sessioncore.sip.transaction import ServerTransaction
from sessioncore.vocabulary import SECOND, EndedBy, EndReason, NegotiatedMedia, SessionRole

if TYPE_CHECKING:
    from sessioncore.session.call import Call
    from sessioncore.session.coordinator import SessionCoordinator

__all__ = ["Callee"]

_log = Logger(namespace="sessioncore.session.callee")
_NOBODY_ANSWERED: Final = EndReason(EndedBy.TIMEOUT, "nobody answered", 480, 19)
"""Q.850 19, no answer from the user, is 480 in RFC 3398 section 7.2.4.1; 408 is no user at all."""
_INVITE_READ: Final = InviteRead()
_ANSWER_WRITTEN: Final = AnswerWritten()
_OFFER_PENDING: Final = OfferPending()
_EXPIRED: Final = EndReason(EndedBy.TIMEOUT, "the invitation expired", 487, 19)


class Callee:
    """Answers INVITEs: those that begin a call, and those within one."""

    def __init__(self, coordinator: SessionCoordinator) -> None:
        self._all = coordinator
        self._unanswered: dict[bytes, Leg] = {}
        self._refusals = coordinator.refusals

    # ------------------------------------------------------------------ an INVITE begins a call

    def invited(self, tx: ServerTransaction, now: int) -> None:
        """Refuse what must be refused, else ask the application (the walk, rows 4 to 6)."""
        coordinator, source = self._all, tx.source[0]
        if coordinator.acks.too_many(source):
            coordinator.refuse_busy(tx, now)
            return
        leg = coordinator.new_leg(SessionRole.UAS, tx.request.call_id)
        try:
            self._prepare(leg, tx, source, now)
        except NoPortsError:
            coordinator.counters.no_ports += 1
            coordinator.discard(leg, now)
            tx.respond(503, headers=(RETRY_LATER,), now=now)
            return
        except (SessionCoreError, OSError) as error:
            self._refusals.unready(leg, tx, error, now)
            return
        except Exception:
            coordinator.discard(leg, now)
            raise
        coordinator.counters.incoming += 1
        self._unanswered[tx.key] = leg
        leg.feed(_INVITE_READ)
        coordinator.emit(leg, events.IncomingCall, now, leg.remote_uri, leg.local_uri)
        if not leg.over:
            self._ask(leg)
        if leg.state is SessionState.INCOMING:
            self._limit_ringing(leg, tx.request, now)

    def _limit_ringing(self, leg: Leg, request: Request, now: int) -> None:
        """End it when the caller's Expires or our own limit runs out (RFC 3261 section 13.3.1)."""
        limit, reason = self._all.settings.ring_limit, _NOBODY_ANSWERED
        with suppress(SipParseError):
            if request.expires is not None and request.expires < limit:
                limit, reason = request.expires, _EXPIRED

        def ring_enough(_: object, at: int) -> None:
            leg.feed(HangUp(reason, reason.status or 480))

        leg.ring_end = self._all.deadlines.at(now + round(limit * SECOND), ring_enough)

    def decided(self, leg: Leg) -> None:
        """Neither a decision nor a CANCEL is waited for any more."""
        assert leg.server is not None
        self._unanswered.pop(leg.server.key, None)
        if leg.ring_end is not None:
            leg.ring_end.cancel()
            leg.ring_end = None

    def _prepare(self, leg: Leg, tx: ServerTransaction, source: str, now: int) -> None:
        coordinator, request, media = self._all, tx.request, leg.media
        leg.local_uri, leg.remote_uri = str(request.to_uri), str(request.from_uri)
        leg.server = tx
        leg.flow = flow = tx.flow
        media.signalling_host = source
        leg.contact = contact_towards(flow, source)
        coordinator.join(leg, Dialog.from_request(request, leg.local_tag))
        offer = description_in(request)
        leg.late_offer = not offer
        ip = coordinator.choose_media_ip(leg)
        if offer:
            leg.negotiation.receive_offer(offer, signalling_host=source)
            media.feed(_OFFER_PENDING)
        # Last: what is refused must not use up ports.
        coordinator.open_stream(leg, ip, now)

    def _ask(self, leg: Leg) -> None:
        """Hand the call to the application, whichever way it likes to decide."""
        handler = self._all.on_incoming
        if handler is None:
            self.refuse(leg, 480, None)
            return
        call = leg.call
        try:
            outcome = handler(call)
        except Exception:
            self._handler_failed(Failure(), leg)  # type: ignore[no-untyped-call]
            return
        if iscoroutine(outcome):
            outcome = Deferred.fromCoroutine(outcome)
        if isinstance(outcome, Deferred) and not _fired_with(call, outcome):
            outcome.addErrback(self._handler_failed, leg)

    def _handler_failed(self, failure: Failure, leg: Leg) -> None:
        if isinstance(failure.value, CallFailed | CallOver) and leg.over:
            return  # the call ended under the handler's hands; everybody has been told why
        self._all.counters.handler_errors += 1
        _log.failure("the handler of incoming calls failed", failure=failure)
        leg.feed(HangUp(EndReason(EndedBy.ERROR, "the application failed", None, 41), 500))

    # ------------------------------------------------------------------ what the application says

    def ring(self, leg: Leg, *, early_media: bool) -> None:
        """180, or 183 with our description; raises `CallOver` when too late.

        Raises `CallFailed` where it cannot be sent.
        """
        tx, now = self._undecided(leg), self._all.now()
        # An offer of ours in a 183 would need PRACK, so only an early offer can be answered.
        described = early_media and not leg.late_offer
        agreement = self._describe(leg) if described else None
        self._respond(leg, tx, 183 if described else 180, now)
        if agreement is not None:
            leg.media.agreed(agreement)
            self._all.media.begins_early(leg)
            self._all.emit(leg, events.EarlyMediaStarted, now)
            self._all.establish(leg, now)
        elif not described:
            self._all.emit(leg, events.CallRinging, now, 180)

    async def accept(self, leg: Leg, source: object, sink: object) -> None:
        """200 OK, then media, in one turn (the walk, row 7)."""
        coordinator, media = self._all, leg.media
        tx, now = self._undecided(leg), coordinator.now()
        if source is not None:
            coordinator.media.set_source(leg, source)
        if sink is not None:
            coordinator.media.set_sink(leg, sink)
        coordinator.emit(leg, events.CallAccepted, now)
        self._undecided(leg)  # an application that was told of it may have ended the call
        agreement = self._describe(leg)
        coordinator.acks.expect(leg, tx, now)
        self._respond(leg, tx, 200, now)
        self.decided(leg)
        leg.feed(_ANSWER_WRITTEN)
        if agreement is not None:
            media.agreed(agreement)
        coordinator.answered(leg, now)
        if agreement is not None:
            coordinator.establish(leg, now)
        else:
            coordinator.media.answered(leg)

    def refuse(self, leg: Leg, status: int, phrase: str | None, contact: str | None = None) -> None:
        """A final response of 300 to 699; raises `CallOver` when too late."""
        self._undecided(leg)
        if not isinstance(status, int) or not 300 <= status <= 699:
            raise ConfigurationError(f"{status!r} refuses nothing: give a status of 300 to 699")
        if not isinstance(phrase, str | None):
            raise ConfigurationError(f"{phrase!r} is no reason to give; write text")
        headers: tuple[Header, ...] = ()
        if contact is not None:
            if any(not "!" <= c <= "~" or c in '<>"' for c in contact):
                raise ConfigurationError(f"{contact!r} is no URI to redirect to")
            headers = ((b"Contact", b"<" + contact.encode() + b">"),)
        said = None if phrase is None else " ".join(phrase.split()).encode()
        text = phrase or ("redirected" if status < 400 else "refused")
        leg.feed(Refuse(local_reason(text, status), status, said, headers))

    def refuse_invite(
        self, leg: Leg, status: int, phrase: bytes | None, headers: tuple[Header, ...]
    ) -> None:
        """Carry out the table's `RefuseInvite`."""
        if leg.server is not None:
            if status == 503:
                headers = (*headers, RETRY_LATER)
            leg.server.respond(status, phrase, headers=headers, now=self._all.now())

    def _undecided(self, leg: Leg) -> ServerTransaction:
        if leg.state is not SessionState.INCOMING or leg.server is None:
            raise CallOver(f"call {leg.name} no longer waits for an answer: it is {leg.state}")
        return leg.server

    def _describe(self, leg: Leg) -> NegotiatedMedia | None:
        """Make our description once; returns what it agreed on, if it is an answer.

        An offer that turns out to be none to agree to, now that our own ports are known, is
        refused by 488; then `CallFailed` is raised.
        """
        if leg.local_description:
            return None
        if leg.late_offer:
            leg.local_description = leg.negotiation.make_offer()
            leg.media.feed(_OFFER_PENDING)
            return None
        try:
            leg.local_description = leg.negotiation.make_answer()
        except NegotiationError as error:
            assert leg.server is not None
            reason, headers = self._refusals.explain(leg.server, error)
            leg.feed(Refuse(reason, 488, None, headers))
            raise CallFailed(reason) from error
        return leg.negotiation.agreement

    def _respond(self, leg: Leg, tx: ServerTransaction, status: int, now: int) -> None:
        contact, body = (b"Contact", leg.contact), leg.local_description
        headers: tuple[Header, ...]
        if status == 200:
            headers = (contact, CONTENT_SDP, ALLOW, SUPPORTED)
        elif status == 183:
            headers = (contact, CONTENT_SDP)
        else:
            headers, body = (contact,), b""
        tx.respond(
            status,
            to_tag=leg.local_tag,
            headers=headers,
            body=body,
            now=now,
            record_route=True,
        )
        if leg.over:
            # It could not be sent: `transport_failed` has ended the call.
            assert leg.reason is not None
            raise CallFailed(leg.reason)

    # ------------------------------------------------------------------ an INVITE within a call

    def reinvited(self, leg: Leg, tx: ServerTransaction, now: int) -> None:
        """A new offer, or a request for one, within the dialog (RFC 3261 section 14.2).

        Refusals keep their state: a copy of what was refused must not be accepted later.
        """
        if leg.negotiation.state is OfferState.OFFER_SENT:
            tx.respond(491, now=now, stateful=True)
            return
        if leg.state in (SessionState.INCOMING, SessionState.ANSWERED) or leg.unacknowledged:
            wait = b"%d" % (self._all.random_bits(3) + 1)
            tx.respond(500, headers=((b"Retry-After", wait),), now=now, stateful=True)
            return
        if leg.state is not SessionState.CONFIRMED:
            tx.respond(481, now=now)
            return
        try:
            description = self._renegotiate(leg, tx)
        except SessionCoreError as error:
            if leg.negotiation.has_pending_offer:
                leg.negotiation.withdraw()
            self._refusals.offer(leg, tx, error, now)
            return
        self._answer_reinvite(leg, tx, description, now)

    def _renegotiate(self, leg: Leg, tx: ServerTransaction) -> bytes:
        """Our answer to the offer of a re-INVITE, or our offer where it brought none."""
        assert leg.dialog is not None
        offer = description_in(tx.request)
        if offer:
            leg.negotiation.receive_offer(offer, signalling_host=tx.source[0])
        leg.dialog.refresh_target(tx.request)
        # The peer may have moved to another network; its media is judged by where it is now.
        leg.media.signalling_host = tx.source[0]
        return leg.negotiation.make_answer() if offer else leg.negotiation.make_offer()

    def _answer_reinvite(
        self, leg: Leg, tx: ServerTransaction, description: bytes, now: int
    ) -> None:
        leg.server, leg.local_description = tx, description
        self._all.acks.expect(leg, tx, now)
        self._respond(leg, tx, 200, now)
        agreement = leg.negotiation.agreement
        if leg.negotiation.state is OfferState.AGREED and leg.negotiation.changed and agreement:
            leg.media.agreed(agreement)
            self._all.establish(leg, now)

    def cancelled(self, tx: ServerTransaction) -> None:
        """The caller gave up before the answer (RFC 3261 section 9.2)."""
        leg = self._unanswered.get(tx.key)
        if leg is not None:
            reason = ended_by_peer(tx.cancel or tx.request, "cancelled", 487)
            leg.feed(CancelRead(reason))

    def transport_failed(self, tx: ServerTransaction) -> None:
        """A response cannot be sent: before the answer that is the end of the call."""
        leg = self._unanswered.get(tx.key)
        if leg is not None:
            text = f"cannot reach {tx.source[0]}"
            leg.feed(GiveUp(EndReason(EndedBy.NETWORK, text, None, 38)))


def _fired_with(call: Call, outcome: Deferred[Any]) -> bool:
    """Whether that is what `Call.answer` returns once all is done: nothing of it can fail."""
    return outcome.called and outcome.result is call and not outcome.paused
