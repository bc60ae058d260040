"""The UAS path of a call: INVITE read, application asked, 200 written; `acks` reads the ACK."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from inspect import iscoroutine
from typing import Any, Final

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
from sessioncore.session.acks import Acks
from sessioncore.session.admission import Admission
from sessioncore.session.announcing import Announcer
from sessioncore.session.bodies import CONTENT_SDP, RETRY_LATER, Header, description_in
from sessioncore.session.call import Call
from sessioncore.session.dialog_usage import DialogUsage
from sessioncore.session.ending import Ending
from sessioncore.session.environment import Environment
from sessioncore.session.establishing import Establishing
from sessioncore.session.invitation import on_one_line
from sessioncore.session.leg import Incoming, Leg
from sessioncore.session.media_state import OfferPending
from sessioncore.session.reasons import ended_by_peer, local_reason
from sessioncore.session.refusals import Refusals
from sessioncore.session.registry import Registry
from sessioncore.session.session import (
    AnswerWritten,
    CancelRead,
    GiveUp,
    HangUp,
    InviteRead,
    Refuse,
    SessionState,
)
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.message import Request
from sessioncore.sip.methods import MethodRules
from sessioncore.sip.requesting import contact
from sessioncore.sip.transaction import ServerTransaction
from sessioncore.vocabulary import SECOND, EndedBy, EndReason, NegotiatedMedia, SessionRole

__all__ = ["Callee", "Handler"]

_log = Logger(namespace="sessioncore.session.callee")
_NOBODY_ANSWERED: Final = EndReason(EndedBy.TIMEOUT, "nobody answered", 480, 19)
"""Q.850 19, no answer from user, maps to 480 (RFC 3398 section 7.2.4.1); 408 is for no user."""
_INVITE_READ: Final = InviteRead()
_ANSWER_WRITTEN: Final = AnswerWritten()
_OFFER_PENDING: Final = OfferPending()
_EXPIRED: Final = EndReason(EndedBy.TIMEOUT, "the invitation expired", 487, 19)

Handler = Callable[[Call], Any]


class Callee:
    """Answers the INVITEs that begin a call; ``handler`` decides about them."""

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        registry: Registry,
        establishing: Establishing,
        admission: Admission,
        acks: Acks,
        refusals: Refusals,
        ending: Ending,
        rules: MethodRules,
        handler: Handler | None,
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._registry = registry
        self._establishing = establishing
        self._admission = admission
        self._acks = acks
        self._refusals = refusals
        self._ending = ending
        self._says: tuple[Header, ...] = (rules.allow, rules.supported)
        self._handler = handler

    # --- an INVITE begins a call

    def invited(self, tx: ServerTransaction, now: int) -> None:
        """Refuse the INVITE if necessary, else ask the application (the walk, rows 4 to 6)."""
        ip = tx.source[0]
        source = self._admission.admit(ip, now)
        if source is None:
            self._refusals.busy(tx, now)
            return
        leg = self._registry.new(SessionRole.UAS, tx.request.call_id)
        leg.source = source
        try:
            if self._prepared(leg, tx, ip, now):
                self._announce(leg, tx, now)
        except Exception as error:
            if leg.state is not SessionState.PREPARED:
                leg.fail(error)
            elif leg.name in self._registry.by_name:
                self._ending.discard(leg, now)
            raise

    def _prepared(self, leg: Leg, tx: ServerTransaction, ip: str, now: int) -> bool:
        """Whether the call can be served; if not, it is refused."""
        try:
            self._prepare(leg, tx, ip, now)
        except NoPortsError:
            self._env.counters.no_ports += 1
            self._ending.discard(leg, now)
            tx.respond(503, headers=(RETRY_LATER,), now=now)
            return False
        except (SessionCoreError, OSError) as error:
            self._refusals.unready(leg, tx, error, now)
            return False
        return True

    def _announce(self, leg: Leg, tx: ServerTransaction, now: int) -> None:
        self._env.counters.incoming += 1
        self._registry.by_invite[tx.key] = leg
        leg.feed(_INVITE_READ)
        self._announcer.emit(leg, events.IncomingCall, now, leg.remote_uri, leg.local_uri)
        # Event sinks receive IncomingCall before the application decides.
        self._announcer.flush()
        if leg.incoming is not None:
            self._ask(leg)  # unless an event sink has decided
        if leg.incoming is not None and leg.incoming.ring_end is None:
            self._limit_ringing(leg, leg.incoming, tx.request, now)

    def _prepare(self, leg: Leg, tx: ServerTransaction, source: str, now: int) -> None:
        request, establishing = tx.request, self._establishing
        leg.local_uri, leg.remote_uri = str(request.to_uri), str(request.from_uri)
        leg.invite = request
        leg.incoming = Incoming(tx)
        leg.media.signalling_host = source
        negotiation = establishing.negotiation()
        dialog = Dialog.from_request(request, leg.local_tag, tx.source)
        leg.usage = DialogUsage(dialog, negotiation, tx.flow, contact(tx.flow, source))
        self._registry.join(leg, dialog)
        offer = description_in(request)
        leg.late_offer = not offer
        ip = establishing.choose_ip(leg, tx.flow, negotiation)
        if offer:
            negotiation.receive_offer(offer, signalling_host=source)
            leg.media.feed(_OFFER_PENDING)
        # Last, so that refused calls use no ports.
        establishing.open(leg, ip, negotiation, now)

    def _limit_ringing(self, leg: Leg, incoming: Incoming, request: Request, now: int) -> None:
        """End the call after the caller's Expires or our own limit (RFC 3261 section 13.3.1)."""
        limit, reason = self._env.settings.ring_limit, _NOBODY_ANSWERED
        with suppress(SipParseError):
            if request.expires is not None and request.expires < limit:
                limit, reason = request.expires, _EXPIRED
        self._arm(leg, incoming, now + round(limit * SECOND), reason)

    def limit_ringing(self, leg: Leg, seconds: float, now: int) -> None:
        """End the call unless it is answered in ``seconds`` from now."""
        assert leg.incoming is not None
        self._arm(leg, leg.incoming, now + round(seconds * SECOND), _NOBODY_ANSWERED)

    def _arm(self, leg: Leg, incoming: Incoming, when: int, reason: EndReason) -> None:
        if incoming.ring_end is not None:
            incoming.ring_end.cancel()

        def ring_enough(_: object, at: int) -> None:
            leg.feed(HangUp(reason, reason.status or 480))

        incoming.ring_end = self._env.deadlines.at(when, ring_enough)

    def _ask(self, leg: Leg) -> None:
        """Pass the call to the application, which may decide at once, by Deferred or coroutine."""
        if self._handler is None:
            self.refuse(leg, 480, None)
            return
        call = leg.call
        try:
            outcome = self._handler(call)
        except Exception:
            self._handler_failed(Failure(), leg)  # type: ignore[no-untyped-call]
            return
        if isinstance(outcome, Deferred):
            if not _fired_with(call, outcome):
                outcome.addErrback(self._handler_failed, leg)
        elif iscoroutine(outcome):
            Deferred.fromCoroutine(outcome).addErrback(self._handler_failed, leg)

    def _handler_failed(self, failure: Failure, leg: Leg) -> None:
        if isinstance(failure.value, CallFailed | CallOver) and leg.over:
            return  # the call ended while the handler ran, and its end reason was announced
        self._env.counters.handler_errors += 1
        _log.failure("the call handler failed", failure=failure)
        with self._announcer:
            leg.feed(HangUp(EndReason(EndedBy.ERROR, "the application failed", None, 41), 500))

    # --- decisions of the application

    def ring(self, leg: Leg, *, early_media: bool) -> None:
        """Send 180, or 183 with our description; raises `CallOver` if it is too late.

        Raises `CallFailed` if it cannot be sent.
        """
        usage, incoming = self._undecided(leg)
        now = self._env.now()
        # Our offer in a 183 would need PRACK, so only an early offer can be answered.
        described = early_media and not leg.late_offer
        agreement = self._describe(leg, usage, incoming) if described else None
        self._respond(leg, usage, incoming.server, 183 if described else 180, now)
        if agreement is not None:
            self._establishing.agreed_early(leg, agreement, now)
        elif not described:
            self._announcer.emit(leg, events.CallRinging, now, 180)

    async def accept(self, leg: Leg, source: Any, sink: Any) -> None:
        """Send 200 OK, then establish media, in one turn (the walk, row 7)."""
        establishing = self._establishing
        usage, incoming = self._undecided(leg)
        tx, now = incoming.server, self._env.now()
        if source is not None:
            establishing.control.set_source(leg, source)
        if sink is not None:
            establishing.control.set_sink(leg, sink)
        self._announcer.emit(leg, events.CallAccepted, now)
        agreement = self._describe(leg, usage, incoming)
        self._acks.expect(leg, usage, tx, now)
        self._respond(leg, usage, tx, 200, now)
        self._ending.decided(leg)
        leg.feed(_ANSWER_WRITTEN)
        if agreement is not None:
            leg.media.agreed(agreement)
        establishing.answered(leg, now)
        if agreement is not None:
            establishing.establish(leg, now)
        else:
            establishing.control.answered(leg)

    def refuse(self, leg: Leg, status: int, phrase: str | None, uri: str | None = None) -> None:
        """Send a final response of 400 to 699, or 3xx to ``uri``; raises `CallOver` if too late."""
        self._undecided(leg)
        if not isinstance(status, int) or not (400 if uri is None else 300) <= status <= 699:
            raise ConfigurationError(
                f"{status!r} cannot refuse a call; give a status of 400 to 699, or redirect it"
            )
        if not isinstance(phrase, str | None):
            raise ConfigurationError(f"{phrase!r} is not a reason phrase; give a string")
        headers: tuple[Header, ...] = ()
        if uri is not None:
            if any(not "!" <= c <= "~" or c in '<>"' for c in uri):
                raise ConfigurationError(
                    f"{uri!r} is not a URI to redirect to; write for example sip:alice@192.0.2.1"
                )
            headers = ((b"Contact", b"<" + uri.encode() + b">"),)
        said = None if phrase is None else " ".join(phrase.split())
        if said is not None and not on_one_line(said):
            raise ConfigurationError(
                f"{phrase!r} is not a reason phrase; leave out control characters"
            )
        text = phrase or ("redirected" if status < 400 else "refused")
        sent = None if said is None else said.encode()
        leg.feed(Refuse(local_reason(text, status), status, sent, headers))

    def _undecided(self, leg: Leg) -> tuple[DialogUsage, Incoming]:
        usage, incoming = leg.usage, leg.incoming
        if leg.state is not SessionState.INCOMING or usage is None or incoming is None:
            raise CallOver(f"call {leg.name} does not wait for an answer: it is {leg.state}")
        return usage, incoming

    def _describe(self, leg: Leg, usage: DialogUsage, incoming: Incoming) -> NegotiatedMedia | None:
        """Make our description once; returns the agreement if it is an answer.

        If the offer proves unacceptable, now that our own ports are known, it is refused with
        488 and `CallFailed` is raised.
        """
        if usage.local_description:
            return None
        negotiation = usage.negotiation
        if leg.late_offer:
            usage.local_description = negotiation.make_offer()
            leg.media.feed(_OFFER_PENDING)
            return None
        try:
            usage.local_description = negotiation.make_answer()
        except NegotiationError as error:
            reason, headers = self._refusals.explain(incoming.server, error)
            leg.feed(Refuse(reason, 488, None, headers))
            raise CallFailed(reason) from error
        return negotiation.agreement

    def _respond(
        self, leg: Leg, usage: DialogUsage, tx: ServerTransaction, status: int, now: int
    ) -> None:
        named, body = (b"Contact", usage.contact), usage.local_description
        headers: tuple[Header, ...]
        if status == 200:
            headers = (named, CONTENT_SDP, *self._says)
        elif status == 183:
            headers = (named, CONTENT_SDP)
        else:
            headers, body = (named,), b""
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

    # --- before the answer

    def cancelled(self, tx: ServerTransaction) -> None:
        """The caller cancelled the INVITE before the answer (RFC 3261 section 9.2)."""
        leg = self._registry.by_invite.get(tx.key)
        if leg is not None:
            leg.feed(CancelRead(ended_by_peer(tx.cancel or tx.request, "cancelled", 487)))

    def transport_failed(self, tx: ServerTransaction) -> None:
        """A response cannot be sent: before the answer this ends the call."""
        leg = self._registry.by_invite.get(tx.key)
        if leg is not None:
            text = f"cannot reach {tx.source[0]}"
            leg.feed(GiveUp(EndReason(EndedBy.NETWORK, text, None, 38)))


def _fired_with(call: Call, outcome: Deferred[Any]) -> bool:
    """Whether ``outcome`` has fired with the call, as `Call.answer` returns it; cannot fail."""
    return outcome.called and outcome.result is call and not outcome.paused
