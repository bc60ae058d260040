"""Where SIP, SDP and media meet: the only module that sees all three.

A `Leg` is a session table with its dialog, its offer/answer machine and its media;
`SessionCoordinator` hands messages to the role paths (`Caller`, `Callee`), carries out what
the session table asks for, and establishes media by one method for both roles.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sessioncore import events
from sessioncore.deadlines import Deadlines
from sessioncore.errors import (
    TooManyCalls,
)
from sessioncore.interfaces import Receive, Refused
from sessioncore.media.plane import MediaPlane
from sessioncore.media.sinks import require_sink
from sessioncore.media.sources import require_source
from sessioncore.media.statistics import MediaEvent
from sessioncore.media.stream import SENDABLE_PTIMES, Stream
from sessioncore.sdp.negotiation import MediaPolicy, OfferAnswer
from sessioncore.session.acks import Acks
from sessioncore.session.announcing import Announcer
from sessioncore.session.call import Call
from sessioncore.session.callee import Callee
from sessioncore.session.caller import Caller
from sessioncore.session.capabilities import (
    ACCEPT,
    ALLOW,
    ALLOWED,
    EXTENSIONS,
    RETRY_LATER,
    SUPPORTED,
)
from sessioncore.session.counters import CallCounters
from sessioncore.session.leg import Effects, Leg
from sessioncore.session.media_control import MediaSessionController
from sessioncore.session.reasons import ended_by_peer, local_reason
from sessioncore.session.refusals import Refusals
from sessioncore.session.requests import DialogRequests
from sessioncore.session.session import (
    ByeRead,
    Finish,
    GiveUp,
    HangUp,
    RefuseInvite,
    SendBye,
    SendCancel,
    SessionState,
)
from sessioncore.session.targets import callable_uri
from sessioncore.session.tracing import Tracer
from sessioncore.session.waiting import begin
from sessioncore.settings import Settings
from sessioncore.sip.dialog import Dialog, key_of_request
from sessioncore.sip.inspection import Refusal, inspect
from sessioncore.sip.matching import TransactionLayer
from sessioncore.sip.message import Request
from sessioncore.sip.transaction import Flow, ServerTransaction
from sessioncore.sip.values import Uri
from sessioncore.vocabulary import Address, EndedBy, EndReason, SessionRole

__all__ = ["SessionCoordinator"]

_log = Logger(namespace="sessioncore.session.coordinator")
_SHUTTING_DOWN: Final = 480
OVERLOADED: Final = 512 * 1024
"""Kernel memory of messages that wait: some 400 of them, a tenth of a second of work."""
_SEEN: Final = frozenset(
    (
        MediaEvent.FIRST_SENT,
        MediaEvent.FIRST_RECEIVED,
        MediaEvent.RESUMED,
        MediaEvent.STALLED,
    )
)

_SILENCED: Final = frozenset((SessionState.ENDING, SessionState.ENDED))
"""No media begins with our BYE out (RFC 3261 section 15.1.1)."""

Resolve = Callable[[Uri], "Deferred[list[Address]]"]
Handler = Callable[[Call], Any]


class LocalIp(Protocol):
    """Which of our addresses media towards a peer is bound to."""

    def __call__(self, flow: Flow, peer: str) -> str:
        """An IP literal of this host; raises OSError where there is no route."""


class SessionCoordinator(Announcer):
    """Makes calls out of messages, descriptions and streams, and announces their events.

    Reads no clock and opens no socket: ``now``, ``deadlines``, the ``plane``, ``resolve``,
    ``local_ip``, ``random_token`` (a new unguessable token) and ``random_bits`` are given to
    it; ``wake`` is called when a stream opens and ticks are wanted.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], int],
        deadlines: Deadlines,
        plane: MediaPlane,
        resolve: Resolve,
        local_ip: LocalIp,
        random_token: Callable[[], bytes],
        random_bits: Callable[[int], int],
        wake: Callable[[], None],
        on_incoming: Handler | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.tracer = tracer
        self.on_incoming = on_incoming
        self.now = now
        self.deadlines = deadlines
        self.resolve = resolve
        self.random_token = random_token
        self.random_bits = random_bits
        self.counters = CallCounters()
        self.legs: dict[str, Leg] = {}
        self.flows: list[Flow] = []
        self.closing = False
        self.media = MediaSessionController(plane, nat=settings.nat, codecs=settings.codec_list)
        self.layer = TransactionLayer(
            self,
            deadlines,
            random_token,
            random_token(),
            server_header=settings.user_agent.encode(),
        )
        self.receive: Receive = self.layer.receive if tracer is None else self._receive_traced
        """Takes one SIP datagram."""
        self._local_ip = local_ip
        self._wake = wake
        self._dialogs: dict[bytes, Leg] = {}
        self._policy = MediaPolicy(settings.codec_list, sendable_ptimes=SENDABLE_PTIMES)
        self._named = 0
        self._idle: Deferred[None] | None = None
        self.requests = DialogRequests(self)
        self.acks = Acks(self)
        self.refusals = Refusals(self)
        self._callee = Callee(self)
        self._caller = Caller(self)
        # What a `Call` asks for that nothing of this one is needed for.
        self.ring = self._callee.ring
        self.refuse = self._callee.refuse
        self.effects: Effects = {
            SendCancel: self._send_cancel,
            SendBye: self._send_bye,
            RefuseInvite: self._refuse_invite,
            Finish: self._finish,
        }

    # ------------------------------------------------------------------ requests we read

    def _receive_traced(self, data: bytes, source: Address, flow: Flow, now: int) -> None:
        assert self.tracer is not None
        self.tracer.datagram(data, source, now)
        self.layer.receive(data, source, flow, now)

    def unreachable(self, refused: Refused, now: int) -> None:
        """The network said where nobody is."""
        self.layer.unreachable(refused, now)

    def request_received(self, tx: ServerTransaction, now: int) -> None:
        """A new request (`TransactionUser`)."""
        if self.tracer is not None:
            tx.trace = self.tracer.step
            self.tracer.transaction(tx)
        request = tx.request
        leg = None
        if request.to_tag is not None:
            leg = self._dialogs.get(key_of_request(request))
            if leg is None:
                self._no_dialog(tx, now)
                return
        refusal = inspect(request, ALLOWED, EXTENSIONS, leg is not None)
        if refusal is not None:
            self._refuse_faulty(leg, tx, refusal, now)
        elif leg is not None:
            self._within_dialog(leg, tx, now)
        elif self.closing or len(self.legs) >= self.settings.max_calls:
            self.refuse_busy(tx, now)
        elif request.method == b"INVITE":
            if tx.flow.backlog > OVERLOADED:
                self._refuse_overloaded(tx, now)
            else:
                self._callee.invited(tx, now)
        else:
            self._tell_options(tx, now)

    def _refuse_faulty(
        self, leg: Leg | None, tx: ServerTransaction, refusal: Refusal, now: int
    ) -> None:
        # Of a call that there was no room for anyway nothing is told.
        full = self.closing or len(self.legs) >= self.settings.max_calls
        if tx.request.method == b"INVITE" and (
            leg is not None or not (full or tx.flow.backlog > OVERLOADED)
        ):
            self.refusals.faulty(leg, tx, refusal, now)
        else:
            tx.respond(refusal.status, headers=refusal.headers, now=now)

    def _refuse_overloaded(self, tx: ServerTransaction, now: int) -> None:
        # A call that is taken on costs ten times one that is refused, so without this a server
        # that falls behind answers calls whose callers have long given up, and no others.
        self.counters.refused_overloaded += 1
        tx.respond(503, headers=(RETRY_LATER,), now=now)

    def refuse_busy(self, tx: ServerTransaction, now: int) -> None:
        """There is no room for it now (RFC 3261 section 21.5.4)."""
        self.counters.refused_busy += 1
        tx.respond(503, headers=(RETRY_LATER,), now=now)

    def _no_dialog(self, tx: ServerTransaction, now: int) -> None:
        self.counters.no_dialog += 1
        tx.respond(481, now=now)

    def _within_dialog(self, leg: Leg, tx: ServerTransaction, now: int) -> None:
        """RFC 3261 section 12.2.2."""
        request = tx.request
        assert leg.dialog is not None
        if not leg.dialog.check_sequence(request.cseq.number):
            tx.respond(500, now=now)
        elif request.method == b"INVITE":
            self._callee.reinvited(leg, tx, now)
        elif request.method == b"BYE":
            tx.respond(200, now=now)
            leg.feed(ByeRead(ended_by_peer(request, "the peer hung up")))
        else:
            self._tell_options(tx, now)

    def _tell_options(self, tx: ServerTransaction, now: int) -> None:
        """RFC 3261 section 11.2: what an INVITE would get, and what we can do."""
        tx.respond(200, headers=(ALLOW, ACCEPT, SUPPORTED), now=now)

    def ack_received(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        """The ACK of a 2xx (`TransactionUser`)."""
        leg = self._dialogs.get(key_of_request(request))
        if leg is None:
            self.counters.stray_acks += 1
        else:
            self.acks.read(leg, request, now)

    def cancel_received(self, tx: ServerTransaction, now: int) -> None:
        """The CANCEL of an unanswered INVITE (`TransactionUser`)."""
        self._callee.cancelled(tx)

    def tag_of_accepted(self, cancel: Request) -> bytes | None:
        """Our tag in the call that a CANCEL came too late for (`TransactionUser`)."""
        invite = cancel.call_id, cancel.from_tag or b"", cancel.cseq.number
        for leg in self._dialogs.values():
            dialog = leg.dialog
            assert dialog is not None
            if (dialog.call_id, dialog.remote_tag, dialog.remote_seq) == invite:
                return dialog.local_tag
        return None

    def transport_failed(self, tx: ServerTransaction, now: int) -> None:
        """A response could not be sent (`TransactionUser`)."""
        self._callee.transport_failed(tx)

    # ------------------------------------------------------------------ what applications ask

    def prepare(
        self,
        target: str,
        *,
        from_uri: str | None = None,
        source: object = None,
        sink: object = None,
        late_offer: bool = False,
    ) -> Call:
        """A UAC leg that has sent nothing yet.

        Raises `ConfigurationError` for a URI that cannot be called and for what is no source
        or sink, `TooManyCalls`.
        """
        uri = callable_uri(target)
        if from_uri is not None:
            callable_uri(from_uri)
        if source is not None:
            require_source(source)
        if sink is not None:
            require_sink(sink)
        if self.closing:
            raise TooManyCalls("no more calls are placed: it is shutting down")
        if len(self.legs) >= self.settings.max_calls:
            raise TooManyCalls(f"{len(self.legs)} calls of {self.settings.max_calls} are up")
        leg = self._caller.prepare(uri, from_uri, late_offer=late_offer)
        leg.media.source, leg.media.sink = source, sink
        call = leg.call
        self.emit(leg, events.OutgoingCallPrepared, self.now(), leg.remote_uri)
        return call

    def place(self, leg: Leg) -> Deferred[None] | None:
        """Send the INVITE of a prepared leg; None where that is done."""
        return begin(self._caller.place(leg))

    def answer(self, leg: Leg, source: object, sink: object) -> Deferred[None] | None:
        """Answer 200 and establish media; None where that is done."""
        return begin(self._callee.accept(leg, source, sink))

    def set_source(self, leg: Leg, source: object) -> None:
        """Play ``source``; raises `ConfigurationError` for what is none."""
        require_source(source)
        self.media.set_source(leg, source)

    def set_sink(self, leg: Leg, sink: object) -> None:
        """Hand what is heard to ``sink``; raises `ConfigurationError` for what is none."""
        require_sink(sink)
        self.media.set_sink(leg, sink)

    def hang_up(self, leg: Leg, text: str) -> None:
        """End the leg as its state demands; nothing if it is over."""
        leg.feed(HangUp(local_reason(text)))

    def close(self) -> Deferred[None]:
        """Take no more calls and end those that are up; fires when none is left."""
        self.closing = True
        reason = local_reason("shutting down")
        for leg in list(self.legs.values()):
            leg.feed(HangUp(reason, _SHUTTING_DOWN))
        if not self.legs:
            return succeed(None)
        self._idle = self._idle or Deferred()
        return self._idle

    def give_up(self) -> int:
        """End without another message what still waits; returns how many legs that were."""
        legs = list(self.legs.values())
        for leg in legs:
            leg.feed(GiveUp(EndReason(EndedBy.TIMEOUT, "given up at shutdown", None, 102)))
        self.counters.given_up += len(legs)
        return len(legs)

    def stop(self) -> None:
        """Send, receive and time nothing any more."""
        self.layer.stop()
        self._caller.stop()
        self.acks.stop()

    # ------------------------------------------------------------------ legs

    def new_leg(self, role: SessionRole, call_id: bytes) -> Leg:
        """A leg with a tag and an offer/answer machine of its own."""
        self._named += 1
        negotiation = OfferAnswer(self._policy, None, self.random_bits(62))
        leg = Leg(self, role, str(self._named), call_id, self.random_token(), negotiation)
        self.legs[leg.name] = leg
        if self.tracer is not None:
            leg.trace = negotiation.trace = leg.media.trace = self.tracer.step
        return leg

    def join(self, leg: Leg, dialog: Dialog) -> None:
        """Requests of ``dialog`` are for ``leg`` from here on."""
        leg.dialog = dialog
        self._dialogs[dialog.key] = leg
        if self.tracer is not None:
            self.tracer.dialog(dialog)

    def forget(self, leg: Leg) -> None:
        """Nothing is for ``leg`` any more; from here on only its handle knows it."""
        del self.legs[leg.name]
        # The handle keeps the leg: without this the two would wait for the garbage collector.
        del leg.call
        if leg.dialog is not None:
            self._dialogs.pop(leg.dialog.key, None)
        if self._idle is not None and not self.legs:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def discard(self, leg: Leg, now: int) -> None:
        """Forget a leg that nobody has heard of, and nobody will."""
        self.media.close(leg, now)
        self.forget(leg)

    def answered(self, leg: Leg, now: int) -> None:
        """The first 200 OK was written or read."""
        self.counters.answered += 1
        call = leg.call
        self.emit(leg, events.CallAnswered, now)
        call.reached_answer()

    # ------------------------------------------------------------------ media, both roles

    def local_ip(self, leg: Leg) -> str:
        """Which address of ours the peer's media reaches; raises OSError where none does."""
        assert leg.flow is not None
        return self._local_ip(leg.flow, leg.media.signalling_host)

    def choose_media_ip(self, leg: Leg) -> str:
        """`local_ip`, by which offers are judged, and which descriptions name."""
        ip = self.local_ip(leg)
        shown = self.settings.media_ip
        if shown is None or (":" in shown) is not (":" in ip):
            shown = ip  # what we are told to show is of the other IP version
        leg.negotiation.local = (shown, 0)
        return ip

    def open_stream(self, leg: Leg, ip: str, now: int) -> None:
        """Lease ports on ``ip``, and have the descriptions name them."""
        _, port = self.media.open(leg, ip, now)
        self._wake()
        leg.negotiation.local = (leg.negotiation.local[0], port)

    def establish(self, leg: Leg, now: int) -> None:
        """Make the agreement true; once per agreement, the same for both roles.

        Applications that are told of it on the way may end the call.
        """
        media = leg.media
        agreement = media.agreement
        if leg.state in _SILENCED or agreement is None:
            return
        audio, call = agreement.streams[0], leg.call
        self.emit(leg, events.MediaNegotiated, now, agreement)
        if leg.state in _SILENCED:
            return
        self.media.establish_media_flow(leg, audio.remote, now)
        self.emit(leg, events.MediaFlowEstablished, now, audio.local, audio.remote)
        if media.held is media.sends and not leg.over:
            media.held = not media.sends
            self.emit(leg, events.CallHeld if media.held else events.CallResumed, now)
        call.reached_media(both_ways=media.both_ways)

    def media_event(self, stream: Stream, kind: MediaEvent, detail: Any, now: int) -> None:
        """What the plane saw happen to a stream."""
        leg: Leg | None = stream.owner
        if leg is None or leg.media.stream is not stream:
            return
        if kind in _SEEN:
            self._media_seen(leg, stream, kind, now)
        elif kind is MediaEvent.DIGIT:
            self.emit(leg, events.DigitReceived, now, *detail)
        elif kind is MediaEvent.REFUSED:
            text = f"nobody listens at {detail} (ICMP port unreachable)"
            self.emit(leg, events.MediaPathProblem, now, text)
        elif kind is not MediaEvent.LATCHED and detail is not None:
            _log.warn("session {name}: {kind}: {detail}", name=leg.name, kind=kind, detail=detail)
            self.emit(leg, events.MediaFailed, now, f"{kind}: {detail}")

    def _media_seen(self, leg: Leg, stream: Stream, kind: MediaEvent, now: int) -> None:
        became_active = leg.media.saw(kind)
        if became_active:
            call = leg.call
            self.emit(leg, events.MediaActive, now)
            # Where the agreement is for less, that milestone has failed already.
            call.reached_two_way()
        elif kind is MediaEvent.STALLED:
            self.emit(leg, events.MediaStalled, now, stream.why_silent())

    # ------------------------------------------------------------------ what the tables ask for

    def _send_cancel(self, leg: Leg, effect: SendCancel) -> None:
        assert leg.client is not None
        self.layer.cancel(leg.client, self.now())

    def _send_bye(self, leg: Leg, effect: SendBye) -> None:
        # RFC 3261 section 15.1.1: no media from the BYE on, however late its answer comes.
        self.media.stop_audio_transmission(leg)
        self.start(self.requests.end(leg))

    def _refuse_invite(self, leg: Leg, effect: RefuseInvite) -> None:
        self._callee.refuse_invite(leg, effect.status, effect.phrase, effect.headers)

    def _finish(self, leg: Leg, effect: Finish) -> None:
        now, call = self.now(), leg.call
        if leg.server is not None:  # an INVITE not decided yet, or whose 2xx has no ACK yet
            self._callee.decided(leg)
            self.acks.stop_waiting(leg)
        self.media.close(leg, now)
        self.forget(leg)
        reason = leg.reason
        assert reason is not None
        if leg.answered:
            self.counters.ended += 1
            self.emit(leg, events.CallEnded, now, reason)
        else:
            self.counters.failed += 1
            self.emit(leg, events.CallFailed, now, reason)
        call.reached_end(reason)

    # ------------------------------------------------------------------ waiting

    def start(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Run a coroutine nobody waits for; what it raises is logged."""
        working = begin(work)
        if working is not None:
            working.addErrback(lambda failure: _log.failure("unexpected failure", failure=failure))
