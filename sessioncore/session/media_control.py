"""The coordinator's hold on the media plane: one path for both roles."""

from __future__ import annotations

from typing import Any, Final, Protocol

from sessioncore.media.plane import MediaPlane, Stream, StreamStatistics
from sessioncore.media.sinks import no_such_sink, sinks_of
from sessioncore.media.statistics import MediaEvent
from sessioncore.session.media_state import (
    AgreementReached,
    AllDirectionsSeen,
    FlowEstablished,
    MediaStateMachine,
    Silenced,
    StreamClosed,
)
from sessioncore.vocabulary import (
    COMFORT_NOISE,
    Address,
    Codec,
    MediaState,
    NegotiatedMedia,
)

__all__ = ["MediaSessionController", "SessionMedia"]


_AGREED: Final = AgreementReached()
_ESTABLISHED: Final = FlowEstablished()
_SEEN: Final = AllDirectionsSeen()
_SILENCED: Final = Silenced()
_CLOSED: Final = StreamClosed()


class SessionMedia(MediaStateMachine):
    """The media of one session: its state, its row, the agreement and the directions seen."""

    stream: Stream | None = None
    ended: Stream | None = None
    """The stream after its end: its row was released, its counters stay."""
    agreement: NegotiatedMedia | None = None
    sends = False
    """Whether the agreement lets us send and names an address."""
    receives = False
    """Whether the agreement lets us receive."""
    signalling_host = ""
    path_proven = False
    established_at: int | None = None
    """When media was established for the first time (ns)."""
    closed_at: int | None = None
    """When media ended (ns)."""
    ran_both_ways = False
    """Whether an agreement let audio run in both directions."""
    held = False
    sent = False
    heard = False
    unheard = False
    """Whether the peer reports that our packets do not arrive."""
    source: Any = None
    sink: Any = None

    @property
    def counting(self) -> Stream | None:
        """The stream with the counters of this session: the open one, or the one that ended."""
        return self.stream or self.ended

    @property
    def statistics(self) -> StreamStatistics | None:
        """Counters, live or as they were when the row was closed."""
        stream = self.counting
        return None if stream is None else stream.statistics

    @property
    def established(self) -> bool:
        """Whether media was established."""
        return self.established_at is not None

    @property
    def both_ways(self) -> bool:
        """Whether the agreement lets audio run in both directions."""
        return self.sends and self.receives

    def agreed(self, agreement: NegotiatedMedia) -> None:
        """The second description of an exchange was written or read."""
        audio = agreement.streams[0]
        self.agreement, self.sends, self.receives = agreement, audio.sends, audio.receives
        if self.sends and self.receives:
            self.ran_both_ways = True
        self.feed(_AGREED)

    def saw(self, kind: MediaEvent) -> bool:
        """Record an event of the media plane; True if it made the media active."""
        if kind is MediaEvent.FIRST_SENT:
            self.sent = True
        elif kind is MediaEvent.STALLED:
            self.heard = False
            self.feed(_SILENCED)
        elif kind in (MediaEvent.FIRST_RECEIVED, MediaEvent.RESUMED):
            self.heard = True
        return self._completed()

    def heard_there(self, arrives: bool) -> bool:
        """Record whether our packets arrive, as far as is known; True if that made it active."""
        self.unheard = not arrives
        if self.unheard:
            self.feed(_SILENCED)
        return self._completed()

    def _completed(self) -> bool:
        """Whether media was now seen in each direction the agreement allows."""
        out = self.sent and not self.unheard
        complete = (out or not self.sends) and (self.heard or not self.receives)
        if not complete or self.state is not MediaState.ESTABLISHED:
            return False
        if not (self.sends or self.receives):
            return False
        self.feed(_SEEN)
        return True


class _HasMedia(Protocol):
    """A session as the controller uses it."""

    media: SessionMedia


class MediaSessionController:
    """Opens, establishes and closes the media of sessions; the same calls for both roles."""

    def __init__(
        self, plane: MediaPlane, *, nat: bool | None = None, codecs: tuple[Codec, ...] = ()
    ) -> None:
        self.plane = plane
        self._nat = nat
        # Formats played before there is an agreement: those we offer, with their payload types.
        self._early = tuple((each.payload_type, each) for each in (*codecs, COMFORT_NOISE))

    def open(self, session: _HasMedia, local_ip: str, now: int) -> Address:
        """Lease ports and open a row for receiving; returns the address for RTP.

        An open row without an agreement moves to the new ports and keeps its state.
        Raises `NoPortsError` if all ports of the range are in use.
        """
        media = session.media
        if media.stream is not None:
            self.plane.move(media.stream, local_ip, now)
            return media.stream.local
        stream = media.stream = self.plane.open(local_ip, now)
        stream.owner = session
        if media.source is not None:
            stream.set_source(media.source)
        if media.sink is not None:
            stream.set_sink(media.sink)
        return stream.local

    def expect_early(self, session: _HasMedia, ip: str) -> None:
        """Play RTP from ``ip`` even before there is an agreement (RFC 3264 section 5.1)."""
        if session.media.stream is not None:
            session.media.stream.expect_early(ip, self._early)

    def establish_media_flow(
        self, session: _HasMedia, remote_address: Address | None, now: int
    ) -> None:
        """Apply the agreement: receive as agreed, set the remote address, start transmission.

        Called once per agreement, in the turn in which the second description was sent or
        received, whatever the role.  ``remote_address`` None (hold, no address) leaves the
        row receiving and sends nothing.
        """
        media = session.media
        stream, agreement = media.stream, media.agreement
        assert stream is not None and agreement is not None, "established before it was agreed"
        media.sent = media.heard = media.unheard = False
        audio = agreement.streams[0]
        stream.establish(audio, signalling_host=media.signalling_host, nat=self._nat, now=now)
        if audio.direction.sends and remote_address is not None:
            stream.sending.start(now, media.path_proven)
        else:
            stream.sending.stop()
        media.feed(_ESTABLISHED)
        if media.established_at is None:
            media.established_at = now

    def begins_early(self, session: _HasMedia) -> None:
        """The media about to be established is early media; the call may never be answered."""
        if session.media.stream is not None:
            session.media.stream.unanswered = True

    def answered(self, session: _HasMedia) -> None:
        """A call with early media was answered."""
        if session.media.stream is not None:
            session.media.stream.answered()

    def start_audio_transmission(self, session: _HasMedia, now: int) -> None:
        """Send the row's source, or silence if it has none, to the remote address."""
        media = session.media
        if media.stream is not None:
            media.stream.sending.start(now, media.path_proven)

    def stop_audio_transmission(self, session: _HasMedia) -> None:
        """Stop sending RTP; receiving and RTCP go on."""
        if session.media.stream is not None:
            session.media.stream.sending.stop()

    def update_remote_address(self, session: _HasMedia, remote_address: Address, now: int) -> None:
        """Send RTP to ``remote_address`` from the next frame on."""
        if session.media.stream is not None:
            session.media.stream.update_remote_address(remote_address, now)

    def prove_path(self, session: _HasMedia, now: int) -> None:
        """The ACK came, which proves that the peer reads our responses and wants this media."""
        session.media.path_proven = True
        if session.media.stream is not None:
            session.media.stream.sending.prove_path(now)

    def set_source(self, session: _HasMedia, source: Any) -> None:
        """Play ``source``, now or as soon as the row is open."""
        session.media.source = source
        if session.media.stream is not None:
            session.media.stream.set_source(source)

    def set_sink(self, session: _HasMedia, sink: Any) -> None:
        """Pass received audio to ``sink``, now or as soon as the row is open."""
        session.media.sink = sink
        if session.media.stream is not None:
            session.media.stream.set_sink(sink)

    def add_sink(self, session: _HasMedia, sink: Any) -> None:
        """Pass received audio to ``sink`` as well."""
        media = session.media
        media.sink = (*sinks_of(() if media.sink is None else media.sink), sink)
        if media.stream is not None:
            media.stream.add_sink(sink)

    def remove_sink(self, session: _HasMedia, sink: Any) -> None:
        """Stop passing audio to ``sink``; raises `ConfigurationError` if it was not added."""
        media = session.media
        given = sinks_of(() if media.sink is None else media.sink)
        kept = tuple(each for each in given if each is not sink)
        if media.stream is not None:
            media.stream.remove_sink(sink)
        elif len(kept) == len(given):
            raise no_such_sink(sink)
        media.sink = kept

    def finish(self, session: _HasMedia, now: int) -> None:
        """Send RTCP BYE, finish recordings; the ports stay a moment for the peer's last report."""
        self._finish(session, now)
        ended = session.media.ended
        if ended is not None:
            self.plane.linger(ended, now)

    def close(self, session: _HasMedia, now: int) -> None:
        """Send RTCP BYE, finish recordings, release the row and its ports."""
        if session.media.stream is None:
            self.plane.take_reports(now)  # perhaps the peer's last, after `finish`
        self._finish(session, now)
        ended = session.media.ended
        if ended is not None:
            ended.release(now)

    def _finish(self, session: _HasMedia, now: int) -> None:
        media = session.media
        stream = media.stream
        if stream is not None:
            media.stream, media.ended, media.closed_at = None, stream, now
            stream.finish(now)
            # The session keeps the stream; this breaks the reference cycle between the two.
            stream.owner = None
        media.feed(_CLOSED)
