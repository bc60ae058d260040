"""Stand-ins for a call and its manager, driven by the test event by event."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from sessioncore import events
from sessioncore.errors import ConfigurationError
from sessioncore.net.clockwork import ReactorClockwork
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.session.call import Call
from sessioncore.session.milestones import Milestones
from sessioncore.verdict import Evidence, Verdict, judge
from sessioncore.vocabulary import (
    Direction,
    EndedBy,
    EndReason,
    MediaState,
    NegotiatedMedia,
    SessionRole,
    StreamAgreement,
)

REMOTE_RTP = ("192.0.2.7", 5004)


def agreement(direction: Direction = Direction.SENDRECV, ptime: int = 20) -> NegotiatedMedia:
    """An agreement on PCMU."""
    return NegotiatedMedia(
        (
            StreamAgreement(
                codec=PCMU,
                send_payload_type=0,
                receive_payload_type=0,
                local=("192.0.2.1", 40000),
                remote=REMOTE_RTP,
                remote_rtcp=None,
                direction=direction,
                ptime=ptime,
            ),
        )
    )


class FakeLeg(SimpleNamespace):
    """What a `Call` shows; the evidence is set by the test."""


class FakeManager:
    """Prepares calls that do nothing by themselves; `tell` makes their events happen."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.clockwork = ReactorClockwork(self.clock)
        self.clockwork.start()
        self.sinks: list[Any] = []
        self.calls: list[Call] = []
        self.asked: list[dict[str, Any]] = []
        self.did: list[tuple[str, Any]] = []
        self.unusable: set[str] = set()
        self.role = SessionRole.UAC

    def prepare_call(self, uri: str, **wishes: Any) -> Call:
        if uri in self.unusable:
            raise ConfigurationError(f"{uri} cannot be called")
        self.asked.append({"uri": uri, **wishes})
        return self.new_call(uri)

    def new_call(self, uri: str = "sip:peer@192.0.2.7") -> Call:
        leg = FakeLeg(
            role=self.role,
            name=str(len(self.calls) + 1),
            call_id=f"id-{len(self.calls) + 1}",
            local_uri="sip:us@192.0.2.1",
            remote_uri=uri,
            evidence=Evidence(),
            reason=None,
            milestones=Milestones(),
            sinks=None,
            invite=None,
        )
        call = Call(leg, self)  # type: ignore[arg-type]
        self.calls.append(call)
        return call

    # What a Call asks its coordinator to do.

    def place(self, leg: Any) -> Deferred[None]:
        self.did.append(("place", leg.name))
        return succeed(None)

    def ring(self, leg: Any, *, early_media: bool) -> None:
        self.did.append(("ring", leg.name))

    def answer(self, leg: Any, source: object, sink: object) -> Deferred[None]:
        self.did.append(("answer", (source, sink)))
        return succeed(None)

    def refuse(self, leg: Any, status: int, phrase: Any, contact: Any = None) -> None:
        self.did.append(("refuse", status))

    def hang_up(self, leg: Any, text: str | None, cause: int | None) -> None:
        self.did.append(("hang up", leg.name))

    def verdict(self, leg: Any) -> Verdict:
        return judge(leg.evidence)

    # What happens to a call.

    def tell(self, call: Call, kind: type[events.Event], *details: Any, state: Any = None) -> None:
        event = kind(
            call.session,
            call.call_id,
            self.role,
            state or MediaState.IDLE,
            self.clockwork.now(),
            *details,
        )
        for sink in self.sinks:
            sink.event(event)

    def answered(self, call: Call, media: NegotiatedMedia | None = None) -> None:
        media = media or agreement()
        audio = media.audio
        self.know(
            call,
            answered=True,
            agreed_for=0.0,
            direction=audio.direction,
            sends=audio.sends,
            receives=audio.receives,
            described=audio.remote,
            local=audio.local,
        )
        self.tell(call, events.CallAnswered, state=MediaState.READY)
        self.tell(call, events.MediaNegotiated, media, state=MediaState.READY)
        local, remote = media.audio.local, media.audio.remote
        self.tell(call, events.MediaFlowEstablished, local, remote, state=MediaState.ESTABLISHED)
        call._leg.milestones.reach_answer(_now)
        call._leg.milestones.reach_media(_now)

    def active(self, call: Call) -> None:
        self.tell(call, events.MediaActive, state=MediaState.ACTIVE)
        call._leg.milestones.reach_two_way(_now)

    def know(self, call: Call, **evidence: Any) -> None:
        """This is known about the call from now on."""
        leg: Any = call._leg
        leg.evidence = evolve(leg.evidence, **evidence)

    def count(self, call: Call, sent: int, received: int, due: int | None = None) -> None:
        """So many packets were sent, all confirmed by the peer, and received, of those due."""
        self.know(
            call,
            agreed_for=self.clock.seconds(),
            sent=sent,
            confirmed=sent,
            reports=1,
            received=received,
            expected=received if due is None else due,
            rtp_ago=0.01 if received else None,
        )

    def ended(
        self,
        call: Call,
        kind: Any = events.CallEnded,
        by: EndedBy = EndedBy.LOCAL,
        text: str = "hung up",
    ) -> None:
        reason = EndReason(by, text)
        self.know(call, over=True)
        self.tell(call, kind, reason)
        call._leg.milestones.reach_end(reason, _now)


def _now(function: Any, argument: Any) -> None:
    function(argument)
