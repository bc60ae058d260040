"""`Call`: the public handle of one leg, with its properties, actions and milestones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from sessioncore.errors import ConfigurationError, SipParseError
from sessioncore.events import Event
from sessioncore.explanation import Explanation
from sessioncore.interfaces import IEventObserver, IEventSink
from sessioncore.session.announcing import EventSink, EventSinks
from sessioncore.session.milestones import Milestones
from sessioncore.session.session import SessionState
from sessioncore.settings import require_seconds
from sessioncore.sip.message import Request
from sessioncore.verdict import Verdict
from sessioncore.vocabulary import (
    Address,
    Direction,
    EndReason,
    MediaState,
    NegotiatedMedia,
    SessionRole,
)

if TYPE_CHECKING:
    from sessioncore.media.sinks import Sink
    from sessioncore.media.sources import Source
    from sessioncore.media.statistics import StreamStatistics

__all__ = ["Call", "Control", "TakesEvents", "event_sink"]

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)


class TakesEvents(Protocol):
    """An object that receives each event; `IEventSink` is the same for zope.interface."""

    def event(self, event: Any, /) -> object:
        """Receive one event."""


class _Leg(Protocol):
    """The attributes of a leg that `Call` uses."""

    role: SessionRole
    name: str
    call_id: str
    state: SessionState
    reason: EndReason | None
    local_uri: str
    remote_uri: str
    milestones: Milestones
    sinks: EventSinks | None

    @property
    def invite(self) -> Request | None: ...
    @property
    def media_state(self) -> MediaState: ...
    @property
    def negotiated_media(self) -> NegotiatedMedia | None: ...
    @property
    def local_rtp(self) -> Address | None: ...
    @property
    def remote_rtp(self) -> Address | None: ...
    @property
    def transmitting(self) -> bool: ...
    @property
    def media_statistics(self) -> StreamStatistics | None: ...
    def explain_negotiation(self) -> Explanation | None: ...


class Control(Protocol):
    """The coordinator as a `Call` uses it; the methods are those of `Call`."""

    def place(self, leg: Any) -> Deferred[None] | None:
        """Send the INVITE; None if that is done at once."""

    def ring(self, leg: Any, *, early_media: bool) -> None:
        """Send 180 or 183."""

    def answer(self, leg: Any, source: Any, sink: Any) -> Deferred[None] | None:
        """Send 200; None if that is done at once."""

    def refuse(self, leg: Any, status: int, phrase: str | None, uri: str | None = None) -> None:
        """Send 400 to 699, or 302 with ``uri`` as Contact."""

    def limit_ringing(self, leg: Any, seconds: float) -> None:
        """End the call unless it is answered within ``seconds`` from now."""

    def hang_up(self, leg: Any, text: str | None, cause: int | None) -> None:
        """End the call; sends a Reason if ``text`` or ``cause`` is given."""

    def abandon(self, leg: Any, text: str) -> None:
        """End the call without a Reason; ``text`` is only for our end reason."""

    def modify(self, leg: Any, direction: Direction) -> Deferred[None]:
        """Offer another direction by a re-INVITE."""

    def verdict(self, leg: Any) -> Verdict:
        """Judge the audio of the call."""

    def set_source(self, leg: Any, source: Any) -> None:
        """Play ``source`` from the next frame on."""

    def set_sink(self, leg: Any, sink: Any) -> None:
        """Replace the sinks from the next frame on."""

    def add_sink(self, leg: Any, sink: Any) -> None:
        """Add one sink to the others."""

    def remove_sink(self, leg: Any, sink: Any) -> None:
        """Remove one sink; the others stay."""


class Call:
    """One leg of a call, in either role.

    The milestones (`when_answered`, `when_media_ready`, `when_two_way`, `when_ended`) each
    return a new Deferred, even long after they were reached.  If the call ends before, the
    Deferred fails with `errors.CallFailed`, whose ``reason`` says why.  Cancelling a Deferred
    ends that wait and nothing else.  All properties stay readable after the end of the call.
    """

    __slots__ = ("_control", "_leg")

    def __init__(self, leg: _Leg, control: Control) -> None:
        self._leg = leg
        self._control = control

    def __repr__(self) -> str:
        return f"<Call {self.session} {self.role} {self.state} media {self.media_state}>"

    # --- properties

    @property
    def role(self) -> SessionRole:
        """UAC if we sent the INVITE, UAS if we received it."""
        return self._leg.role

    @property
    def session(self) -> str:
        """Our own id of this leg, as in events and logs; no other leg ever has the same."""
        return self._leg.name

    @property
    def call_id(self) -> str:
        """The SIP Call-ID."""
        return self._leg.call_id

    @property
    def state(self) -> SessionState:
        """The state of the INVITE session."""
        return self._leg.state

    @property
    def media_state(self) -> MediaState:
        """The state of the media."""
        return self._leg.media_state

    @property
    def local_uri(self) -> str:
        """Our URI: From of an outgoing call, To of an incoming one."""
        return self._leg.local_uri

    @property
    def remote_uri(self) -> str:
        """The peer's URI."""
        return self._leg.remote_uri

    @property
    def request_uri(self) -> str | None:
        """UAS: the Request-URI of the INVITE, which may differ from its To; else None."""
        invite = self._leg.invite
        return None if invite is None else _text(invite.uri)

    @property
    def remote_display_name(self) -> str:
        """UAS: the caller's display name, without quotes; empty if there is none.

        The caller can claim any name; see `asserted_identity` for one that a proxy vouches for.
        """
        invite = self._leg.invite
        return "" if invite is None else _unquoted(invite.from_.display)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """UAS: the header fields of the INVITE as received, in order; else empty."""
        invite = self._leg.invite
        if invite is None:
            return ()
        return tuple((_text(name), _text(value)) for name, value in invite.headers)

    def header(self, name: str) -> str | None:
        """UAS: the first header field of the INVITE with that name, in any spelling, or None."""
        invite = self._leg.invite
        values = [] if invite is None else invite.all(name.encode("ascii", "replace"))
        return _text(values[0]) if values else None

    @property
    def asserted_identity(self) -> tuple[str, ...]:
        """UAS: the values of P-Asserted-Identity (RFC 3325), as received; none if unreadable.

        Trust them only if all your calls come from a proxy that you trust.
        """
        invite = self._leg.invite
        if invite is None:
            return ()
        try:
            return tuple(map(_text, invite.values(b"P-Asserted-Identity")))
        except SipParseError:
            return ()

    @property
    def negotiated_media(self) -> NegotiatedMedia | None:
        """The agreement of both sides, or None before there is one."""
        return self._leg.negotiated_media

    @property
    def local_rtp(self) -> Address | None:
        """The address that RTP is received on and sent from, or was at the end."""
        return self._leg.local_rtp

    @property
    def remote_rtp(self) -> Address | None:
        """The address our RTP is sent to: the latched source, else the SDP address."""
        return self._leg.remote_rtp

    @property
    def transmitting(self) -> bool:
        """Whether we are sending RTP."""
        return self._leg.transmitting

    @property
    def statistics(self) -> StreamStatistics | None:
        """Counters of the media, live or as they were at the end; None if there was no media."""
        return self._leg.media_statistics

    @property
    def verdict(self) -> Verdict:
        """What is known about the audio in both directions, now or at the end, and why.

        See `sessioncore.verdict`; `VerdictChanged` tells when the judgement changes.
        """
        return self._control.verdict(self._leg)

    def explain_negotiation(self) -> Explanation | None:
        """What was made of the peer's last offer or answer, m-line by m-line, and why.

        None before the first exchange is complete.  Made when it is asked for.
        """
        return self._leg.explain_negotiation()

    @property
    def end_reason(self) -> EndReason | None:
        """Why the call ended or is ending, or None while it goes on."""
        return self._leg.reason

    # --- actions

    def place(self) -> Deferred[Call]:
        """UAC: send the INVITE of a prepared call.

        Fires with this call once the INVITE was written.  Fails with `CallFailed` if the
        target does not resolve or the INVITE cannot be sent.  Cancelling it hangs up.
        """
        return self._controlled(self._control.place(self._leg), "cancelled before it was placed")

    def ring(self, *, early_media: bool = False) -> None:
        """UAS: answer 180, or 183 with our description and start the media early.

        Raises `CallOver` if the call does not wait for an answer any more, `CallFailed` if
        nothing can be sent to the caller.
        """
        self._control.ring(self._leg, early_media=early_media)

    def limit_ringing(self, seconds: float) -> None:
        """End the call unless it is answered within ``seconds`` from now.

        Replaces the limit of the settings and any earlier limit.  Does nothing if the call was
        answered or is over.  Raises `ConfigurationError` if ``seconds`` is not a number of
        seconds up to a day.
        """
        require_seconds("seconds", seconds)
        self._control.limit_ringing(self._leg, seconds)

    def answer(
        self, source: Source | None = None, sink: Sink | Sequence[Sink] | None = None
    ) -> Deferred[Call]:
        """UAS: answer 200; play ``source`` and pass received audio to ``sink`` (None: as set).

        Fires with this call once the 200 OK was written.  Fails with `CallOver` if the call is
        over and with `CallFailed` if answering failed.  Fails with `ConfigurationError` if
        ``source`` or ``sink`` is not one; then the call still waits for an answer.  Cancelling
        it hangs up.
        """
        return self._controlled(
            self._control.answer(self._leg, source, sink), "cancelled while it was answered"
        )

    def reject(self, status: int = 486, reason: str | None = None) -> None:
        """UAS: refuse with a final status of 400 to 699; ``reason`` is the reason phrase.

        `redirect` answers 302.  Raises `CallOver` if it is too late, `ConfigurationError` for a
        status or phrase that cannot be sent; then the call still waits for an answer.
        """
        self._control.refuse(self._leg, status, reason)

    def redirect(self, uri: str) -> None:
        """UAS: answer 302 with ``uri`` as Contact; raises `CallOver` if it is too late."""
        if not isinstance(uri, str) or not uri:
            raise ConfigurationError(
                f"{uri!r} is not a URI to redirect to; write for example sip:alice@192.0.2.1"
            )
        self._control.refuse(self._leg, 302, None, uri)

    def hang_up(
        self, reason: str | None = None, *, cause: int | None = None
    ) -> Deferred[EndReason]:
        """End the call, whatever its state, by CANCEL, BYE or a final response.

        ``reason`` is a text for the end reason.  With the Q.850 ``cause`` (16, normal clearing,
        if not given) it is also sent in the Reason header field of the CANCEL or BYE (RFC
        3326); without either, no Reason is sent.  Fires with the end reason once the call is over
        (the BYE was answered or timed out).  Cancelling it changes nothing.  Raises
        `ConfigurationError` for a reason or cause that cannot be sent.
        """
        self._control.hang_up(self._leg, reason, cause)
        return self.when_ended()

    def modify(self, direction: Direction) -> Deferred[Call]:
        """Offer another ``direction`` by a re-INVITE: SENDONLY and INACTIVE hold the peer.

        If both sides offer at once, it is tried again after the wait of RFC 3261 section 14.1,
        five times in all.
        Fires with this call once the peer has agreed and the media has changed.  Fails with
        `ModificationRefused` if the peer refuses or another change is under way (the call goes
        on unchanged), with `CallOver` if the call is not up, and with `CallFailed` if it ends
        before.  Cancelling it changes nothing.
        """
        return self._control.modify(self._leg, Direction(direction)).addCallback(self._itself)

    def set_source(self, source: Source) -> None:
        """Play ``source`` from the next frame on; see `sessioncore.media.sources`.

        Raises `ConfigurationError` if it is not a source.
        """
        self._control.set_source(self._leg, source)

    def set_sink(self, sink: Sink | Sequence[Sink]) -> None:
        """Pass received audio to ``sink`` from the next frame on; see `media.sinks`.

        ``sink`` may be a list or tuple of several sinks.  It replaces the earlier sinks; ``()``
        removes all.  Raises `ConfigurationError` if it is not a sink.
        """
        self._control.set_sink(self._leg, sink)

    def add_sink(self, sink: Sink) -> None:
        """Pass received audio to ``sink`` as well; raises as `set_sink`."""
        self._control.add_sink(self._leg, sink)

    def remove_sink(self, sink: Sink) -> None:
        """Stop passing audio to ``sink``; the other sinks stay.

        Raises `ConfigurationError` if this object is not among the sinks.
        """
        self._control.remove_sink(self._leg, sink)

    @overload
    def add_event_sink(
        self, sink: Callable[[Event], object] | TakesEvents, *kinds: type[Event]
    ) -> None: ...
    @overload
    def add_event_sink(self, sink: Callable[[E], object], kind: type[E], /) -> None: ...
    @overload
    def add_event_sink(
        self, sink: Callable[[E | F], object], kind: type[E], other: type[F], /
    ) -> None: ...
    def add_event_sink(self, sink: Any, *kinds: type[Event]) -> None:
        """Call ``sink`` with every event of this call from now on, or with those of ``kinds``.

        The sinks of the manager are called first.  Raises `ConfigurationError` if ``sink`` is
        not a sink or a kind is not an event class.
        """
        checked, observes = event_sink(sink, kinds), IEventObserver.providedBy(sink)
        if self._leg.sinks is None:
            self._leg.sinks = EventSinks()
        self._leg.sinks.add(checked, *kinds, observes=observes)

    def remove_event_sink(self, sink: Callable[[Any], object] | TakesEvents) -> None:
        """Stop calling ``sink``; raises `ConfigurationError` if it was not added."""
        sinks = self._leg.sinks or EventSinks()
        sinks.remove(event_sink(sink, ()))

    # --- milestones

    def when_answered(self) -> Deferred[Call]:
        """Fires with this call once the first 200 OK was written or read."""
        return self._leg.milestones.when_answered().addCallback(self._itself)

    def when_media_ready(self) -> Deferred[Call]:
        """Fires with this call once the media flow is established."""
        return self._leg.milestones.when_media_ready().addCallback(self._itself)

    def when_two_way(self) -> Deferred[Call]:
        """Fires with this call once media was seen in both directions.

        Fails with `OneWayByAgreement` as soon as the two sides agree on one direction or none.
        """
        return self._leg.milestones.when_two_way().addCallback(self._itself)

    def when_ended(self) -> Deferred[EndReason]:
        """Fires with the `EndReason` once the call is over, answered or not; never fails."""
        return self._leg.milestones.when_ended()

    def _itself(self, _: object) -> Call:
        return self

    def _controlled(self, doing: Deferred[None] | None, cancelled: str) -> Deferred[Call]:
        """A Deferred for ``doing`` that fires with this call; cancelling it hangs up.

        ``doing`` is None if the work is done.  The work itself is never cancelled: a cancel
        from inside it would be lost.
        """
        if doing is None:
            return succeed(self)
        if doing.called:
            return doing.addCallback(self._itself)

        def hang_up(_: Deferred[Any]) -> None:
            self._control.abandon(self._leg, cancelled)

        done: Deferred[Call] = Deferred(hang_up)

        def worked(_: None) -> None:
            if not done.called:
                done.callback(self)

        def failed(failure: Failure) -> None:
            if not done.called:
                done.errback(failure)

        doing.addCallbacks(worked, failed)
        return done


def event_sink(given: Any, kinds: tuple[Any, ...]) -> EventSink:
    """The function that receives events; raises `ConfigurationError` if there is none."""
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Event)):
            raise ConfigurationError(
                f"{kind!r} is not an event class; give classes of sessioncore.events"
            )
    sink = given
    if IEventSink.providedBy(given) or not callable(given):
        sink = getattr(given, "event", None)
    if not callable(sink):
        raise ConfigurationError(
            f"{given!r} is not an event sink; give an IEventSink or a function of one argument"
        )
    return sink  # type: ignore[no-any-return]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _unquoted(display: bytes) -> str:
    """A display name without quotes and escapes (RFC 3261 section 25.1, quoted-string)."""
    text = _text(display).strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
