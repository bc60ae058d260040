"""The place where SIP, SDP and media meet: builds the parts of the session layer, connects them.

It passes messages and calls of the application to the responsible part, and does nothing else.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from sessioncore.errors import SessionCoreError, TooManyCalls
from sessioncore.interfaces import Receive, Refused
from sessioncore.media.plane import MediaPlane
from sessioncore.media.sinks import require_sink
from sessioncore.media.sources import require_source
from sessioncore.rtp.audio_codec import PACKET_LENGTHS
from sessioncore.sdp.negotiation import MediaPolicy
from sessioncore.session.acks import Acks
from sessioncore.session.admission import Admission
from sessioncore.session.announcing import Announcer
from sessioncore.session.call import Call
from sessioncore.session.callee import Callee, Handler
from sessioncore.session.caller import Caller
from sessioncore.session.ending import Ending
from sessioncore.session.environment import Environment
from sessioncore.session.establishing import Establishing
from sessioncore.session.evidence import evidence_on
from sessioncore.session.invitation import Invitation, reason_headers
from sessioncore.session.leg import Leg
from sessioncore.session.methods import METHODS, Method, Rooms, rules_of
from sessioncore.session.milestones import Milestone
from sessioncore.session.modifying import Modifying
from sessioncore.session.placing import Placing
from sessioncore.session.probing import Probing
from sessioncore.session.reasons import local_reason
from sessioncore.session.refusals import OVERLOADED, Refusals
from sessioncore.session.registry import Registry
from sessioncore.session.requests import DialogRequests
from sessioncore.session.session import GiveUp, HangUp
from sessioncore.session.waiting import Work, begin
from sessioncore.sip.dialog import key_of_request
from sessioncore.sip.flows import Flow
from sessioncore.sip.inspection import inspect
from sessioncore.sip.keeping import Sent
from sessioncore.sip.matching import TransactionLayer
from sessioncore.sip.message import Request
from sessioncore.sip.transaction import ServerTransaction
from sessioncore.verdict import Verdict, judge
from sessioncore.vocabulary import Address, Direction, EndedBy, EndReason, SessionRole

__all__ = ["SessionCoordinator"]

_log = Logger(namespace="sessioncore.session.coordinator")
_SHUTTING_DOWN: Final = 480


class SessionCoordinator:
    """Makes calls out of messages, descriptions and streams, and announces their events.

    ``env`` is the environment of all parts.  ``wake`` is called when a stream opens and ticks
    are needed.  ``methods`` is the table of who answers which request.
    """

    def __init__(
        self,
        env: Environment,
        plane: MediaPlane,
        *,
        wake: Any,
        on_incoming: Handler | None = None,
        methods: tuple[Method, ...] = METHODS,
    ) -> None:
        self._env = env
        self._tracer = env.tracer
        self.closing = False
        """Whether new calls are refused, because it drains or stops."""
        self._idle: Milestone | None = None
        settings = env.settings
        rules = rules_of(methods)
        self.announcer: Final = Announcer()
        self.layer: Final = TransactionLayer(
            self,
            env.deadlines,
            env.random_token,
            env.random_token(),
            server_header=settings.user_agent.encode(),
        )
        self._take = self._taking()
        policy = MediaPolicy(settings.codec_list, settings.ptime, sendable_ptimes=PACKET_LENGTHS)
        self.establishing: Final = Establishing(env, self.announcer, plane, policy, wake)
        # Filled below: what carries out the effects needs the registry itself.
        effects: dict[type, Any] = {}
        self.admission: Final = Admission(settings.max_calls, settings.trusted_sources)
        self.registry: Final = Registry(env, effects, self, self.admission, self._none_left)
        self._requests = DialogRequests(env, self.announcer, self.layer)
        find = self.registry.by_name.get
        self._probing = Probing(env, self.announcer, self._requests, find)
        self._acks = Acks(
            env,
            self.announcer,
            self.establishing,
            self.admission,
            find,
            self._probing.confirmed,
        )
        self._ending = Ending(
            env,
            self.announcer,
            self.registry,
            self.layer,
            self.establishing,
            self._requests,
            self._acks,
        )
        effects.update(self._ending.effects)
        refusals = Refusals(env, self.announcer, self.registry, self._ending.discard)
        self._refusals = refusals
        self._callee = Callee(
            env,
            self.announcer,
            self.registry,
            self.establishing,
            self.admission,
            self._acks,
            refusals,
            self._ending,
            rules,
            on_incoming,
        )
        caller = Caller(
            env,
            self.announcer,
            self.registry,
            self.layer,
            self.establishing,
            self._requests,
            rules,
            self._probing.confirmed,
        )
        self._placing = caller.placing
        self._modifying = Modifying(
            env,
            self.announcer,
            self.layer,
            self.establishing,
            self._requests,
            self._acks,
            refusals,
            rules,
        )
        self._rules = rules
        self._outside = {method.name: method.outside for method in methods if method.outside}
        self._inside = {method.name: method.within for method in methods if method.within}
        self._refused = {method.name: method.refused for method in methods if method.refused}
        self._rooms = Rooms(rules, self.registry, self._callee, self._modifying, refusals)
        env.deadlines.around(self.announcer.enter, self.announcer.leave)

    # --- input from the network

    def receive(self, data: bytes, source: Address, flow: Flow, now: int) -> None:
        """Process one SIP message (`interfaces.Receive`)."""
        announcer = self.announcer
        announcer.entered += 1  # `Announcer.enter`, inlined: every message runs this
        try:
            self._take(data, source, flow, now)
        finally:
            announcer.entered -= 1
            if announcer.queue and not announcer.entered:
                announcer.flush()

    def _take_traced(self, data: bytes, source: Address, flow: Flow, now: int) -> None:
        assert self._tracer is not None
        self._tracer.datagram(data, source, now)
        self.layer.receive(data, source, flow, now)

    def _taking(self) -> Receive:
        """What takes each message; chosen once, so that nothing is asked per message."""
        return self.layer.receive if self._tracer is None else self._take_traced

    def tap(self, received: Receive | None, sent: Sent | None) -> None:
        """Call ``received`` and ``sent`` with every message from now on; None ends that."""
        self.layer.tell_sent(sent)
        take = self._taking()
        if received is None:
            self._take = take
            return

        def tell_and_take(data: bytes, source: Address, flow: Flow, now: int) -> None:
            received(data, source, flow, now)
            take(data, source, flow, now)

        self._take = tell_and_take

    def unreachable(self, refused: Refused, now: int) -> None:
        """The network reported unreachable addresses."""
        with self.announcer:
            self.layer.unreachable(refused, now)

    def lost(self, flow: Flow, now: int) -> None:
        """A connection ended: requests that wait for a response over it have failed."""
        with self.announcer:
            self.layer.flow_lost(flow, now)

    def request_received(self, tx: ServerTransaction, now: int) -> None:
        """A new request (`TransactionUser`)."""
        if self._tracer is not None:
            tx.follow(self._tracer.step)
            self._tracer.transaction(tx)
        request = tx.request
        if request.to_tag is not None:
            leg = self.registry.by_dialog.get(key_of_request(request))
            if leg is None:
                self._refusals.no_dialog(tx, now)
            else:
                self._within(leg, tx, now)
            return
        refusal = inspect(request, self._rules, in_dialog=False)
        full = self.closing or self.registry.full
        if refusal is not None:
            full = full or tx.flow.backlog > OVERLOADED
            self._refusals.faulty(None, tx, refusal, full, now)
        elif full:
            self._refusals.busy(tx, now)
        else:
            self._outside[request.method](self._rooms, tx, now)

    def _within(self, leg: Leg, tx: ServerTransaction, now: int) -> None:
        """RFC 3261 section 12.2.2."""
        request = tx.request
        usage = leg.usage or leg.early_usage(request.from_tag or b"")
        refusal = inspect(request, self._rules, in_dialog=True, early=not leg.answered)
        if refusal is not None:
            self._refusals.faulty(leg, tx, refusal, False, now)
            act = self._refused.get(request.method)
            if act is None or not usage.dialog.check_sequence(request.cseq.number):
                return
        elif not usage.dialog.check_sequence(request.cseq.number):
            tx.respond(500, now=now)
            return
        else:
            act = self._inside[request.method]
        if usage.dialog.source != tx.source:
            usage.dialog.move(tx.source)
        try:
            act(self._rooms, leg, usage, tx, now)
        except Exception as error:
            leg.fail(error)
            raise

    def ack_received(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        """The ACK of a 2xx (`TransactionUser`)."""
        leg = self.registry.by_dialog.get(key_of_request(request))
        if leg is None or leg.usage is None:
            self._env.counters.stray_acks += 1
        else:
            dialog = leg.usage.dialog
            if dialog.source != source:
                dialog.move(source)
            try:
                self._acks.read(leg, leg.usage, request, now)
            except Exception as error:
                leg.fail(error)
                raise

    def cancel_received(self, tx: ServerTransaction, now: int) -> None:
        """The CANCEL of an unanswered INVITE (`TransactionUser`)."""
        self._callee.cancelled(tx)

    def tag_of_accepted(self, cancel: Request) -> bytes | None:
        """Our tag in the call whose CANCEL came too late (`TransactionUser`)."""
        return self.registry.tag_of(cancel)

    def transport_failed(self, tx: ServerTransaction, now: int) -> None:
        """A response could not be sent (`TransactionUser`)."""
        self._callee.transport_failed(tx)

    # --- actions of applications (`sessioncore.session.call.Control`)

    def prepare(self, invitation: Invitation, source: Any, sink: Any) -> Call:
        """A UAC leg that has sent nothing yet.

        Raises `ConfigurationError` if ``source`` or ``sink`` is not one, and `TooManyCalls`.
        """
        with self.announcer:
            return self._prepare(invitation, source, sink).call

    def call(
        self, invitation: Invitation, source: Any, sink: Any
    ) -> tuple[Call, Deferred[None] | None]:
        """`prepare` and `place` in one."""
        with self.announcer:
            leg = self._prepare(invitation, source, sink)
            return leg.call, self._begin(leg, self._placing.place(leg))

    def _prepare(self, invitation: Invitation, source: Any, sink: Any) -> Leg:
        if source is not None:
            require_source(source)
        if sink is not None:
            require_sink(sink)
        if self.closing:
            raise TooManyCalls("no more calls are placed: the manager is draining or stopping")
        if self.registry.full:
            most, up = self._env.settings.max_calls, self.registry.up
            text = f"{up} calls are up and {len(self.registry) - up} are ending"
            raise TooManyCalls(f"{text}; the limit is {most}, with those ending {2 * most}")
        leg = self._placing.prepare(invitation)
        leg.media.source, leg.media.sink = source, sink
        return leg

    def place(self, leg: Leg) -> Deferred[None] | None:
        """Send the INVITE of a prepared leg; None if that is done at once."""
        with self.announcer:
            return self._begin(leg, self._placing.place(leg))

    def _begin(self, leg: Leg, work: Work) -> Deferred[None] | None:
        """`begin`; an unexpected exception ends the leg as well."""
        working = begin(work, self.announcer)
        if working is not None:
            working.addErrback(self._failed, leg)
        return working

    def _failed(self, failure: Failure, leg: Leg) -> Failure:
        error = failure.value
        if isinstance(error, Exception) and not isinstance(
            error, SessionCoreError | CancelledError
        ):
            with self.announcer:
                leg.fail(error)
        return failure

    def ring(self, leg: Leg, *, early_media: bool) -> None:
        """Answer 180 or 183."""
        with self.announcer:
            self._callee.ring(leg, early_media=early_media)

    def answer(self, leg: Leg, source: Any, sink: Any) -> Deferred[None] | None:
        """Answer 200 and establish media; None if that is done at once."""
        with self.announcer:
            return self._begin(leg, self._callee.accept(leg, source, sink))

    def refuse(self, leg: Leg, status: int, phrase: str | None, uri: str | None = None) -> None:
        """Answer 400 to 699, or 302 with ``uri`` as Contact."""
        with self.announcer:
            self._callee.refuse(leg, status, phrase, uri)

    def limit_ringing(self, leg: Leg, seconds: float) -> None:
        """End the call unless it is answered in ``seconds`` from now."""
        with self.announcer:
            if leg.answered or leg.leaving:
                return
            role: Placing | Callee = self._placing
            if leg.role is SessionRole.UAS:
                role = self._callee
            role.limit_ringing(leg, seconds, self._env.now())

    def abandon(self, leg: Leg, text: str) -> None:
        """End the leg as `hang_up` does, without a Reason for the peer."""
        with self.announcer:
            leg.feed(HangUp(local_reason(text)))

    def hang_up(self, leg: Leg, text: str | None, cause: int | None) -> None:
        """End the leg as its state demands; does nothing if it is over."""
        headers = () if text is None and cause is None else reason_headers(cause, text or "")
        with self.announcer:
            if not leg.leaving:
                leg.reason_headers = headers
            leg.feed(HangUp(local_reason(text or "hung up", None, cause)))

    def modify(self, leg: Leg, direction: Direction) -> Deferred[None]:
        """Offer another direction within the call."""
        with self.announcer:
            return self._modifying.modify(leg, direction)

    def verdict(self, leg: Leg) -> Verdict:
        """The verdict on the audio of ``leg`` now, or at its end."""
        return judge(evidence_on(leg, self._env.now()))

    def set_source(self, leg: Leg, source: Any) -> None:
        """Play ``source``; raises `ConfigurationError` if it is not a source."""
        require_source(source)
        self.establishing.control.set_source(leg, source)

    def set_sink(self, leg: Leg, sink: Any) -> None:
        """Pass received audio to ``sink``; raises `ConfigurationError` if it is not a sink."""
        require_sink(sink)
        self.establishing.control.set_sink(leg, sink)

    def add_sink(self, leg: Leg, sink: Any) -> None:
        """Pass received audio to ``sink`` too; raises `ConfigurationError` if it is not a sink."""
        require_sink(sink)
        self.establishing.control.add_sink(leg, sink)

    def remove_sink(self, leg: Leg, sink: Any) -> None:
        """Stop passing audio to ``sink``; raises `ConfigurationError` if it was not added."""
        self.establishing.control.remove_sink(leg, sink)

    # --- the end

    def drain(self) -> Deferred[Any]:
        """Refuse new calls; fires when none is left, and every CANCEL has had its effect."""
        self.closing = True
        if self.registry.idle:
            return succeed(None)
        self._idle = self._idle or Milestone()
        return self._idle.wait()

    def close(self) -> Deferred[Any]:
        """`drain`, and end the calls that are up."""
        idle = self.drain()
        reason = local_reason("shutting down")
        self._feed_all(HangUp(reason, _SHUTTING_DOWN))
        return idle

    def _none_left(self) -> None:
        if self._idle is not None:
            idle, self._idle = self._idle, None
            idle.settle("idle", self.announcer.later)

    def give_up(self) -> int:
        """End the remaining legs without another message; returns their number."""
        reason = EndReason(EndedBy.TIMEOUT, "abandoned at shutdown", None, 102)
        left = self._feed_all(GiveUp(reason))
        self._env.counters.given_up += left
        return left

    def _feed_all(self, given: HangUp | GiveUp) -> int:
        """Feed all legs and return their number; a fault of one does not spare the others."""
        with self.announcer:
            legs = list(self.registry.by_name.values())
            for leg in legs:
                try:
                    leg.feed(given)
                except Exception:
                    _log.failure("session {name} did not end as it should", name=leg.name)
        return len(legs)

    def stop(self) -> None:
        """Stop sending, receiving and all timers."""
        self.layer.stop()
        self._placing.stop()
        self._acks.stop()
        self._probing.stop()
        self._env.deadlines.not_around(self.announcer.enter)
