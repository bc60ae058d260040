"""Where SIP, SDP and media meet: the only module that sees all three.

A `Leg` is a session table with its dialog, its offer/answer machine and its media;
`SessionCoordinator` hands messages to the role paths (`Caller`, `Callee`), carries out what
the session table asks for, and establishes media by one method for both roles.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sessioncore import events
from sessioncore.deadlines import Deadlines
from sessioncore.errors import (
    ConfigurationError,
    SessionCoreError,
    SipParseError,
    TooManyCalls,
)
from sessioncore.events import Event
from sessioncore.media.statistics import MediaEvent
from sessioncore.media.streams import MediaPlane, Stream
from sessioncore.sdp.negotiation import MediaPolicy, OfferAnswer
from sessioncore.session.call import Call
from sessioncore.session.callee import Callee
from sessioncore.session.caller import Caller
from sessioncore.session.capabilities import (
    ACCEPT,
    ALLOW,
    ALLOWED,
    CONTENT_SDP,
    EXTENSIONS,
    RETRY_LATER,
    SUPPORTED,
)
from sessioncore.session.leg import Leg
from sessioncore.session.media_control import MediaSessionController
from sessioncore.session.reasons import ended_by_peer, local_reason
from sessioncore.session.session import (
    ByeAnswered,
    ByeRead,
    Finish,
    GiveUp,
    HangUp,
    RefuseInvite,
    SendBye,
    SendCancel,
)
from sessioncore.settings import Settings
from sessioncore.sip.dialog import Dialog, key_of_request
from sessioncore.sip.inspection import inspect
from sessioncore.sip.matching import TransactionLayer
from sessioncore.sip.message import Request, Response
from sessioncore.sip.transaction import ClientTransaction, Flow, ServerTransaction
from sessioncore.sip.values import Uri, parse_uri
from sessioncore.vocabulary import Address, EndedBy, EndReason, SessionRole

__all__ = ["CallCounters", "SessionCoordinator"]

_log = Logger(namespace="sessioncore.session.coordinator")
_SHUTTING_DOWN: Final = 480

Resolve = Callable[[Uri], "Deferred[list[Address]]"]
Handler = Callable[[Call], Any]


class LocalIp(Protocol):
    """Which of our addresses media towards a peer is bound to."""

    def __call__(self, flow: Flow, peer: str) -> str:
        """An IP literal of this host; raises OSError where there is no route."""


class _ByeUser:
    """Uses the transaction of a BYE: whatever comes of it, the dialog is over."""

    __slots__ = ("_leg",)

    def __init__(self, leg: Leg | None) -> None:
        self._leg = leg

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        if response.status >= 200:
            self.timed_out(tx, now)

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        if self._leg is not None:
            self._leg.feed(ByeAnswered())

    transport_failed = timed_out


@define(eq=False)
class CallCounters:
    """What became of calls, and what was refused or dropped above the transactions."""

    placed: int = 0
    incoming: int = 0
    answered: int = 0
    ended: int = 0
    failed: int = 0
    refused_busy: int = 0
    refused_media: int = 0
    no_ports: int = 0
    no_dialog: int = 0
    stray_acks: int = 0
    handler_errors: int = 0
    send_failures: int = 0
    given_up: int = 0


class SessionCoordinator:
    """Makes calls out of messages, descriptions and streams.

    Reads no clock and opens no socket: ``now``, ``deadlines``, the ``plane``, ``resolve``,
    ``local_ip``, ``random_token`` (a new unguessable token) and ``random_bits`` are given to
    it; ``wake`` is called when a stream opens and ticks are wanted.  Events go to ``emit`` in
    the order in which they happen.
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
        emit: Callable[[Event], None],
        wake: Callable[[], None],
        on_incoming: Handler | None = None,
    ) -> None:
        self.settings = settings
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
        self.media = MediaSessionController(plane, nat=settings.nat)
        self.layer = TransactionLayer(
            self,
            deadlines,
            random_token,
            random_token(),
            server_header=settings.user_agent.encode(),
        )
        self._local_ip = local_ip
        self._wake = wake
        self._publish = emit
        self._dialogs: dict[bytes, Leg] = {}
        self._policy = MediaPolicy(settings.codec_list)
        self._named = 0
        self._idle: Deferred[None] | None = None
        self._callee = Callee(self)
        self._caller = Caller(self)
        self._effects: dict[type, Callable[[Leg, Any], None]] = {
            SendCancel: self._send_cancel,
            SendBye: self._send_bye,
            RefuseInvite: self._refuse_invite,
            Finish: self._finish,
        }

    # ------------------------------------------------------------------ requests we read

    def receive(self, data: bytes, source: Address, flow: Flow, now: int) -> None:
        """Take one SIP datagram."""
        self.layer.receive(data, source, flow, now)

    def request_received(self, tx: ServerTransaction, now: int) -> None:
        """A new request (`TransactionUser`)."""
        request = tx.request
        leg = None
        if request.to_tag is not None:
            leg = self._dialogs.get(key_of_request(request))
            if leg is None:
                self._no_dialog(tx, now)
                return
        refusal = inspect(request, ALLOWED, EXTENSIONS, leg is not None)
        if refusal is not None:
            tx.respond(refusal.status, headers=refusal.headers, now=now)
        elif leg is not None:
            self._within_dialog(leg, tx, now)
        elif request.method == b"BYE":
            self._no_dialog(tx, now)
        elif self.closing or len(self.legs) >= self.settings.max_calls:
            self.counters.refused_busy += 1
            tx.respond(503, headers=(RETRY_LATER,), now=now)
        elif request.method == b"INVITE":
            self._callee.invited(tx, now)
        else:
            self._tell_options(tx, now)

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
            self._callee.acknowledged(leg, request, now)

    def cancel_received(self, tx: ServerTransaction, now: int) -> None:
        """The CANCEL of an unanswered INVITE (`TransactionUser`)."""
        self._callee.cancelled(tx)

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

        Raises `ConfigurationError` for a URI that cannot be called, `TooManyCalls`.
        """
        uri = _callable_uri(target)
        if from_uri is not None:
            _callable_uri(from_uri)
        if self.closing or len(self.legs) >= self.settings.max_calls:
            raise TooManyCalls(f"{len(self.legs)} calls of {self.settings.max_calls} are up")
        leg = self._caller.prepare(uri, from_uri, late_offer=late_offer)
        leg.media.source, leg.media.sink = source, sink
        self.emit(leg, events.OutgoingCallPrepared, self.now(), leg.remote_uri)
        return leg.call

    def place(self, leg: Leg) -> Deferred[None]:
        """Send the INVITE of a prepared leg."""
        return Deferred.fromCoroutine(self._caller.place(leg, _callable_uri(leg.remote_uri)))

    def ring(self, leg: Leg, *, early_media: bool) -> None:
        """Answer 180, or 183 with a description."""
        self._callee.ring(leg, early_media=early_media)

    def answer(self, leg: Leg, source: object, sink: object) -> Deferred[None]:
        """Answer 200 and establish media."""
        return Deferred.fromCoroutine(self._callee.accept(leg, source, sink))

    def refuse(self, leg: Leg, status: int, phrase: str | None, contact: str | None = None) -> None:
        """Answer with a final response other than 2xx."""
        self._callee.refuse(leg, status, phrase, contact)

    def hang_up(self, leg: Leg, text: str) -> None:
        """End the leg as its state demands; nothing if it is over."""
        leg.feed(HangUp(local_reason(text)))

    def set_source(self, leg: Leg, source: object) -> None:
        """Play ``source`` on the leg."""
        self.media.set_source(leg, source)

    def set_sink(self, leg: Leg, sink: object) -> None:
        """Hand what the leg hears to ``sink``."""
        self.media.set_sink(leg, sink)

    def close(self) -> Deferred[None]:
        """Take no more calls and end those that are up; fires when none is left."""
        self.closing = True
        reason = local_reason("shutting down", _SHUTTING_DOWN)
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

    # ------------------------------------------------------------------ legs

    def new_leg(self, role: SessionRole, call_id: bytes) -> Leg:
        """A leg with a tag and an offer/answer machine of its own."""
        self._named += 1
        negotiation = OfferAnswer(self._policy, None, self.random_bits(62))
        leg = Leg(self, role, str(self._named), call_id, self.random_token(), negotiation)
        self.legs[leg.name] = leg
        return leg

    def join(self, leg: Leg, dialog: Dialog) -> None:
        """Requests of ``dialog`` are for ``leg`` from here on."""
        leg.dialog = dialog
        self._dialogs[dialog.key] = leg

    def forget(self, leg: Leg) -> None:
        """Nothing is for ``leg`` any more."""
        del self.legs[leg.name]
        if leg.dialog is not None:
            self._dialogs.pop(leg.dialog.key, None)
        if self._idle is not None and not self.legs:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def emit(self, leg: Leg, kind: Callable[..., Event], now: int, *details: object) -> None:
        """Tell everybody of one event of ``leg``."""
        self._publish(kind(leg.name, leg.call_id, leg.role, leg.media.state, now, *details))

    def answered(self, leg: Leg, now: int) -> None:
        """The first 200 OK was written or read."""
        self.counters.answered += 1
        self.emit(leg, events.CallAnswered, now)
        leg.call.reached_answer()

    # ------------------------------------------------------------------ media, both roles

    def open_stream(self, leg: Leg, now: int) -> None:
        """Lease ports towards the peer, and have the descriptions name them."""
        assert leg.flow is not None
        ip = self._local_ip(leg.flow, leg.media.signalling_host)
        _, port = self.media.open(leg, ip, now)
        self._wake()
        leg.negotiation.local = (self.settings.media_ip or ip, port)

    def agree(self, leg: Leg) -> None:
        """The second description of the leg's dialog was written or read."""
        agreement = leg.negotiation.agreement
        assert agreement is not None
        leg.media.agreed(agreement)

    def establish(self, leg: Leg, now: int) -> None:
        """Make the agreement true; once per agreement, the same for both roles."""
        media = leg.media
        agreement = media.agreement
        assert agreement is not None
        audio = agreement.audio
        self.emit(leg, events.MediaNegotiated, now, agreement)
        self.media.establish_media_flow(leg, audio.remote, now)
        self.emit(leg, events.MediaFlowEstablished, now, audio.local, audio.remote)
        if media.held is media.sends:
            media.held = not media.sends
            self.emit(leg, events.CallHeld if media.held else events.CallResumed, now)
        leg.call.reached_media(both_ways=media.both_ways)

    def media_event(self, stream: Stream, kind: MediaEvent, detail: Any, now: int) -> None:
        """What the plane saw happen to a stream."""
        leg: Leg | None = stream.owner
        if leg is None or leg.media.stream is not stream:
            return
        if kind is MediaEvent.DIGIT:
            self.emit(leg, events.DigitReceived, now, *detail)
        elif kind is MediaEvent.REFUSED:
            self.emit(leg, events.MediaPathProblem, now, str(detail))
        elif kind is not MediaEvent.LATCHED:
            became_active = leg.media.saw(kind)
            if became_active:
                self.emit(leg, events.MediaActive, now)
                if leg.media.both_ways:
                    leg.call.reached_two_way()
            elif kind is MediaEvent.STALLED:
                self.emit(leg, events.MediaStalled, now)

    # ------------------------------------------------------------------ what the tables ask for

    def carry_out(self, leg: Leg, effect: object) -> None:
        """Do what the session table asked for."""
        self._effects[effect.__class__](leg, effect)

    def _send_cancel(self, leg: Leg, effect: SendCancel) -> None:
        assert leg.client is not None
        self.layer.cancel(leg.client, self.now())

    def _send_bye(self, leg: Leg, effect: SendBye) -> None:
        self.start(self._bye(leg))

    async def _bye(self, leg: Leg) -> None:
        try:
            destination = await self.next_hop(leg)
        except SessionCoreError as error:
            _log.warn("no BYE to {uri}: {error}", uri=leg.remote_uri, error=error)
            leg.feed(ByeAnswered())
            return
        if leg.over or self.layer.stopped:
            return
        self._send_in_dialog(leg, b"BYE", destination, _ByeUser(leg))

    def _send_in_dialog(
        self, leg: Leg, method: bytes, destination: Address, user: _ByeUser
    ) -> None:
        assert leg.flow is not None and leg.dialog is not None
        branch = self.layer.new_branch()
        sent_by = leg.flow.sent_by(destination[0])
        data = leg.dialog.request(method, branch=branch, via_sent_by=sent_by)
        self.layer.request(user, data, method, destination, leg.flow, branch, self.now())

    def _refuse_invite(self, leg: Leg, effect: RefuseInvite) -> None:
        self._callee.refuse_invite(leg, effect.status, effect.phrase, effect.headers)

    def _finish(self, leg: Leg, effect: Finish) -> None:
        now = self.now()
        if leg.unacknowledged is not None:
            leg.unacknowledged.acknowledged()
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
        leg.call.reached_end(reason)

    # ------------------------------------------------------------------ sending

    def start(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Run a coroutine nobody waits for; what it raises is logged."""
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: _log.failure("unexpected failure", failure=failure)
        )

    def send(self, flow: Flow, data: bytes, address: Address) -> None:
        """Send what no transaction looks after (the ACK of a 2xx)."""
        try:
            flow.send(data, address)
        except OSError:
            self.counters.send_failures += 1

    def contact(self, flow: Flow, peer: str) -> bytes:
        """Our Contact value towards ``peer``."""
        return b"<sip:" + flow.sent_by(peer) + b">"

    def flow_for(self, target: Address) -> Flow | None:
        """A socket of ours of the target's address family."""
        ipv6 = ":" in target[0]
        return next((flow for flow in self.flows if (":" in flow.local[0]) is ipv6), None)

    async def next_hop(self, leg: Leg) -> Address:
        """Where requests of the leg's dialog go; raises an error of the resolver's."""
        assert leg.dialog is not None and leg.flow is not None
        addresses = await self.resolve(leg.dialog.next_hop)
        ipv6 = ":" in leg.flow.local[0]
        for address in addresses:
            if (":" in address[0]) is ipv6:
                return address
        raise SessionCoreError(f"{leg.dialog.next_hop} has no address this socket reaches")

    def acknowledge(self, leg: Leg, destination: Address, body: bytes) -> None:
        """Write the ACK of a 2xx, and keep it for when the 2xx is repeated."""
        assert leg.dialog is not None and leg.flow is not None and leg.invite is not None
        data = leg.dialog.ack(
            leg.invite.cseq.number,
            branch=self.layer.new_branch(),
            via_sent_by=leg.flow.sent_by(destination[0]),
            headers=(CONTENT_SDP,) if body else (),
            body=body,
        )
        leg.ack = (data, destination)
        self.send(leg.flow, data, destination)

    def end_stray_dialog(self, leg: Leg, response: Response) -> None:
        """ACK and end by BYE a 2xx of another fork (RFC 3261 section 13.2.2.4)."""
        self.start(self._end_stray_dialog(leg, response))

    async def _end_stray_dialog(self, leg: Leg, response: Response) -> None:
        assert leg.invite is not None
        try:
            dialog = Dialog.from_response(leg.invite, response)
        except SipParseError:
            return
        stray = self.new_leg(SessionRole.UAC, leg.invite.call_id)
        stray.flow, stray.invite, stray.dialog = leg.flow, leg.invite, dialog
        del self.legs[stray.name]
        try:
            destination = await self.next_hop(stray)
        except SessionCoreError:
            self.counters.send_failures += 1
            return
        self.acknowledge(stray, destination, b"")
        self._send_in_dialog(stray, b"BYE", destination, _ByeUser(None))


def _callable_uri(text: str) -> Uri:
    """Read a SIP URI that a person gave; raises `ConfigurationError`."""
    try:
        uri = parse_uri(text.encode("ascii"))
    except (SipParseError, UnicodeEncodeError) as error:
        raise ConfigurationError(
            f"{text!r} is no SIP URI: {error}; write e.g. sip:alice@192.0.2.1:5060"
        ) from None
    if uri.scheme != b"sip":
        raise ConfigurationError(f"{text!r}: only sip: URIs can be called over UDP")
    return uri
