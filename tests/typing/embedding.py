"""An application as an embedder would write it; it uses every public name, and mypy reads it.

``tests.test_typing`` checks it with ``mypy --strict``, looks that no name of
``sessioncore.__all__`` is missing, and places calls through it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import numpy.typing as npt
from twisted.internet import task
from twisted.internet.defer import Deferred
from zope.interface import implementer

from sessioncore import (
    AudioCodec,
    Call,
    CallFailed,
    CallOver,
    Cause,
    Clip,
    Codec,
    ConfigurationError,
    Deliver,
    Direction,
    Discard,
    Echo,
    EndedBy,
    EndReason,
    Event,
    Evidence,
    ExplainedFormat,
    ExplainedMedia,
    Explanation,
    Finding,
    Frames,
    ICallHandler,
    IEventObserver,
    IEventSink,
    IMediaSink,
    IMediaSource,
    IMessageTap,
    IReportTap,
    ISipFlow,
    ISipTransport,
    Judgement,
    ManagerStatistics,
    MediaFileError,
    MediaSink,
    MediaSource,
    MediaState,
    ModificationRefused,
    NegotiatedMedia,
    OneWayByAgreement,
    Proof,
    Record,
    SessionCoreError,
    SessionManager,
    SessionRole,
    SessionService,
    SessionState,
    Settings,
    Silence,
    StreamAgreement,
    StreamStatistics,
    Tone,
    TooManyCalls,
    UnreachableTarget,
    UserAgentClient,
    UserAgentServer,
    Verdict,
    VerdictChanged,
    aio,
)
from sessioncore.events import CallEnded, DigitReceived, MediaNegotiated

Samples = npt.NDArray[np.int16]


@implementer(IMediaSource)
class Noise:
    """A source of the application's own."""

    def read(self, count: int) -> Samples:
        return np.full(count, 100, np.int16)


@implementer(IMediaSink)
class Loudness:
    """A sink of the application's own."""

    loudest = 0

    def write(self, samples: Samples) -> None:
        self.loudest = max(self.loudest, int(np.abs(samples.astype(np.int32)).max()))


@implementer(IEventObserver)
class Journal:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, event: Event) -> None:
        self.lines.append(event.name)


@implementer(IEventSink)
class Notes:
    """What was negotiated and pressed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.digits = ""

    def event(self, event: Event) -> None:
        self.lines.append(f"{event.role} {event.name} {event.media_state} {event.at}")
        if isinstance(event, MediaNegotiated):
            self.note(event.media)

    def note(self, media: NegotiatedMedia) -> None:
        audio: StreamAgreement = media.audio
        codec: Codec = audio.codec
        direction: Direction = audio.direction
        self.lines.append(f"{codec.name} {direction}")

    def digit(self, event: DigitReceived) -> None:
        self.digits += event.digit


@implementer(IMessageTap)
class Wire:
    """Counts the bytes of SIP, in and out."""

    def __init__(self) -> None:
        self.octets = {False: 0, True: 0}

    def message(
        self,
        data: bytes,
        source: tuple[str, int],
        destination: tuple[str, int],
        transport: str,
        sent: bool,
        at: int,
    ) -> None:
        self.octets[sent] += len(data)


@implementer(IReportTap)
class Reports:
    """The calls whose RTCP came."""

    def __init__(self) -> None:
        self.calls: set[str] = set()

    def report(
        self,
        data: bytes,
        source: tuple[str, int],
        destination: tuple[str, int],
        sent: bool,
        at: int,
        call_id: str,
    ) -> None:
        if not sent:
            self.calls.add(call_id)


@implementer(ICallHandler)
class Reception:
    """Answers by who is called."""

    def __init__(self) -> None:
        self.loudness = Loudness()
        self.heard: list[int] = []
        self.ended: list[EndReason] = []

    def incoming_call(self, call: Call) -> Deferred[Any] | None:
        assert call.role is SessionRole.UAS
        user = call.local_uri.partition(":")[2].partition("@")[0]
        if user == "busy":
            call.reject(486)
            return None
        if user == "moved":
            call.redirect("sip:elsewhere@192.0.2.9")
            return None
        call.ring()
        return Deferred.fromCoroutine(self.answer(call, user))

    async def answer(self, call: Call, user: str) -> None:
        if user == "echo":
            await call.answer(source=Echo(gain_db=-6.0), sink=self.loudness)
        elif user == "frames":
            frames = Frames()
            frames.write(np.zeros(160, np.int16))
            await call.answer(source=frames, sink=Deliver(self.hear))
        elif user == "noise":
            await call.answer(source=Noise(), sink=Discard())
        else:
            await call.answer(source=Clip(np.zeros(8000, np.int16)), sink=Record("heard.wav"))
        self.ended.append(await call.when_ended())

    def hear(self, samples: Samples) -> None:
        self.heard.append(len(samples))


def greeting(path: str) -> Clip | MediaSource:
    """What is played first."""
    try:
        return Clip.from_file(path)
    except MediaFileError as error:
        print(error)
        return Noise()


def with_codec(codec: AudioCodec) -> Settings:
    """Settings with a codec of the application's own."""
    return Settings(codecs=(codec, "PCMU"))


def listener() -> MediaSink:
    """Something that listens."""
    return Loudness()


async def hold(call: Call) -> str:
    """Hold the other side, and let it go again."""
    try:
        await call.modify(Direction.SENDONLY)
        await call.modify(Direction.SENDRECV)
    except ModificationRefused as error:
        return str(error.reason)
    return str(call.state is SessionState.CONFIRMED)


def quality(call: Call) -> tuple[StreamStatistics | None, str, tuple[Cause, ...]]:
    """The counters, and what they mean."""
    verdict: Verdict = call.verdict
    evidence: Evidence = verdict.evidence
    if verdict.sending.proof is Proof.UNCONFIRMED and not evidence.reports:
        return call.statistics, "the peer sends no RTCP", verdict.causes
    receiving: Finding = verdict.receiving
    return call.statistics, f"{receiving.share}: {verdict.remedy}", verdict.causes


def unused(call: Call) -> list[str]:
    """What of the peer's formats is not used, and why."""
    explanation: Explanation | None = call.explain_negotiation()
    found: list[str] = []
    for media in () if explanation is None else explanation.media:
        line: ExplainedMedia = media
        each: ExplainedFormat
        found += [each.text for each in line.formats if not line.accepted]
    return found


def alarm(event: VerdictChanged) -> str | None:
    """Somebody hears nothing."""
    return str(event.verdict) if event.verdict.judgement is Judgement.NO_TX else None


def who(call: Call) -> str:
    """The caller, as it says itself and as a proxy vouches for it."""
    said = call.remote_display_name or call.remote_uri
    return f"{said} {call.asserted_identity} {call.request_uri} {call.header('Subject')}"


def over_what(transport: ISipTransport, flow: ISipFlow) -> SessionManager:
    """A manager on transports of the application's own."""
    print(flow)
    return SessionManager(object(), transports=[transport])


async def place(manager: SessionManager, uri: str, clock: Any) -> str:
    """One call, and in words what became of it."""
    ended_with: list[CallEnded] = []
    try:
        call = manager.prepare_call(
            uri,
            display_name="An embedder",
            headers={"Subject": "a test"},
            source=Tone(frequencies=(440.0,)),
            sink=[Discard(), listener()],
            ring_limit=20,
        )
        call.add_event_sink(ended_with.append, CallEnded)
        call.add_event_sink(alarm, VerdictChanged)
        await call.place()
        await call.when_two_way()
    except (ConfigurationError, TooManyCalls, UnreachableTarget) as error:
        return f"not placed: {error}"
    except CallFailed as error:
        reason: EndReason = error.reason
        return f"{reason.by}: {reason.status}"
    except OneWayByAgreement:
        return "one way"
    await task.deferLater(clock, 0.5)
    call.set_source(Silence())
    active = call.media_state is MediaState.ACTIVE
    good = call.verdict.both_ways
    found: Call | None = manager.find_call(call.session)
    if found is not call:
        return "not found"
    ended: EndReason = await call.hang_up("enough", cause=16)
    if ended.by is not EndedBy.LOCAL or not active or not good:
        return "lost"
    try:
        call.ring()
    except CallOver:
        return "both ways, 0 lost"
    return "still there"


def count(manager: SessionManager) -> int:
    """All calls so far."""
    statistics: ManagerStatistics = manager.statistics()
    return statistics.calls["incoming"]


def agents(reactor: Any) -> tuple[UserAgentServer, UserAgentClient]:
    """The thin shells."""
    return (
        UserAgentServer(reactor, Settings(listen=("udp:5060",)), Reception()),
        UserAgentClient(reactor),
    )


def service(reactor: Any, notes: Notes) -> SessionService:
    """The same as a Twisted service."""
    made = SessionService(
        Settings(codecs=("PCMU",)), on_incoming=Reception(), reactor=reactor, grace=1.0
    )
    made.add_event_sink(notes)
    made.add_event_sink(Journal())
    made.add_message_tap(Wire())
    made.add_report_tap(Reports())
    made.add_event_sink(notes.digit, DigitReceived)
    return made


@aio.handler
async def native(call: Call) -> None:
    """A handler that awaits both kinds."""
    await asyncio.sleep(0)
    try:
        await call.answer(source=Echo())
        await asyncio.wait_for(aio.future(call.when_ended()), 10)
    except SessionCoreError as error:
        print(error.status)
