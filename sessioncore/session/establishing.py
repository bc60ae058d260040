"""Media of legs, the same for both roles: ports, agreements, and events of the media plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from sessioncore import events
from sessioncore.errors import OneWayByAgreement
from sessioncore.media.plane import MediaPlane
from sessioncore.media.statistics import MediaEvent
from sessioncore.media.stream import Stream
from sessioncore.sdp.negotiation import MediaPolicy, OfferAnswer
from sessioncore.session.announcing import Announcer
from sessioncore.session.environment import Environment
from sessioncore.session.evidence import evidence_on
from sessioncore.session.leg import Leg
from sessioncore.session.media_control import MediaSessionController
from sessioncore.sip.flows import Flow
from sessioncore.verdict import Judgement, judge
from sessioncore.vocabulary import NegotiatedMedia

__all__ = ["Establishing"]

_log = Logger(namespace="sessioncore.session.establishing")
_SEEN: Final = frozenset(
    (
        MediaEvent.FIRST_SENT,
        MediaEvent.FIRST_RECEIVED,
        MediaEvent.RESUMED,
        MediaEvent.STALLED,
    )
)


class Establishing:
    """Opens the media of legs, applies agreements and announces media events.

    ``wake`` is called when a stream opens and ticks are needed.
    """

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        plane: MediaPlane,
        policy: MediaPolicy,
        wake: Callable[[], None],
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._policy = policy
        self._wake = wake
        self._trace = None if env.tracer is None else env.tracer.step
        settings = env.settings
        self._shown_ip = settings.media_ip
        self.control: Final = MediaSessionController(
            plane, nat=settings.nat, codecs=settings.codec_list
        )

    def negotiation(self) -> OfferAnswer:
        """An offer/answer machine for a new dialog."""
        negotiation = OfferAnswer(self._policy, None, self._env.random_bits(62), self._trace)
        negotiation.sockets = self._env.flows
        return negotiation

    # --- local addresses and ports

    def local_ip(self, leg: Leg, flow: Flow) -> str:
        """Our address that the peer's media reaches; raises OSError if there is none."""
        return self._env.local_ip(flow, leg.media.signalling_host)

    def choose_ip(self, leg: Leg, flow: Flow, negotiation: OfferAnswer) -> str:
        """Choose `local_ip` for judging offers, and the IP that descriptions name."""
        ip = self._env.local_ip(flow, leg.media.signalling_host)
        shown = self._shown_ip
        if shown is None or (":" in shown) is not (":" in ip):
            shown = ip  # the configured IP is of the other version
        negotiation.local = (shown, 0)
        return ip

    def open(self, leg: Leg, ip: str, negotiation: OfferAnswer, now: int) -> None:
        """Lease ports on ``ip`` and put them into the descriptions; raises `NoPortsError`."""
        _, port = self.control.open(leg, ip, now)
        self._wake()
        negotiation.local = (negotiation.local[0], port)

    # --- agreements

    def agreed(self, leg: Leg, agreement: NegotiatedMedia, now: int) -> None:
        """The second description of an exchange was written or read: apply the agreement."""
        leg.media.agreed(agreement)
        self.establish(leg, now)

    def agreed_early(self, leg: Leg, agreement: NegotiatedMedia, now: int) -> None:
        """As `agreed`, by a provisional response; the call may never be answered."""
        leg.media.agreed(agreement)
        self.control.begins_early(leg)
        self._announcer.emit(leg, events.EarlyMediaStarted, now)
        self.establish(leg, now)

    def establish(self, leg: Leg, now: int) -> None:
        """Apply the agreement; once per agreement, the same for both roles."""
        media = leg.media
        agreement = media.agreement
        if leg.leaving or agreement is None:
            return  # no media begins once the leg is ending (RFC 3261 section 15.1.1)
        announcer = self._announcer
        audio = agreement.streams[0]
        announcer.emit(leg, events.MediaNegotiated, now, agreement)
        self.control.establish_media_flow(leg, audio.remote, now)
        announcer.emit(leg, events.MediaFlowEstablished, now, audio.local, audio.remote)
        if media.held is media.sends:
            media.held = not media.sends
            announcer.emit(leg, events.CallHeld if media.held else events.CallResumed, now)
        leg.milestones.reach_media(announcer.later)
        if not media.both_ways:
            why = OneWayByAgreement(f"the agreement is not audio both ways: {agreement}")
            leg.milestones.miss_two_way(why, announcer.later)

    def answered(self, leg: Leg, now: int) -> None:
        """The first 200 OK was written or read."""
        self._env.counters.answered += 1
        self._announcer.emit(leg, events.CallAnswered, now)
        leg.milestones.reach_answer(self._announcer.later)

    # --- events of the media plane

    def media_event(self, stream: Stream, kind: MediaEvent, detail: Any, now: int) -> None:
        """Process an event that the media plane reports for a stream."""
        leg: Leg | None = stream.owner
        if leg is None or leg.media.stream is not stream:
            return
        announcer = self._announcer
        if kind in _SEEN:
            self._seen(leg, stream, kind, now)
        elif kind is MediaEvent.DIGIT:
            announcer.emit(leg, events.DigitReceived, now, *detail)
        elif kind is MediaEvent.EVIDENCE:
            self._judge(leg, now)
        elif kind is MediaEvent.REFUSED:
            text = f"nobody listens at {detail} (ICMP port unreachable)"
            announcer.emit(leg, events.MediaPathProblem, now, text)
        elif kind is not MediaEvent.LATCHED and detail is not None:
            _log.warn("session {name}: {kind}: {detail}", name=leg.name, kind=kind, detail=detail)
            announcer.emit(leg, events.MediaFailed, now, f"{kind}: {detail}")

    def _seen(self, leg: Leg, stream: Stream, kind: MediaEvent, now: int) -> None:
        if leg.media.saw(kind):
            self._announcer.emit(leg, events.MediaActive, now)
            # If the agreement is one-way, that milestone has already failed.
            leg.milestones.reach_two_way(self._announcer.later)
        elif kind is MediaEvent.STALLED:
            verdict = judge(evidence_on(leg, now))
            cause = verdict.causes[0].text if verdict.causes else verdict.receiving.text
            self._announcer.emit(leg, events.MediaStalled, now, cause)

    def _judge(self, leg: Leg, now: int) -> None:
        """There is new evidence: judge again."""
        verdict = judge(evidence_on(leg, now))
        lost = verdict.judgement in (Judgement.NO_TX, Judgement.NO_MEDIA)
        if leg.media.heard_there(not lost):
            self._announcer.emit(leg, events.MediaActive, now)
        if verdict.judgement is not leg.judgement:
            leg.judgement = verdict.judgement
            self._announcer.emit(leg, events.VerdictChanged, now, verdict)
