"""The public handle of one leg: what an application holds, asks and waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from sessioncore.errors import CallFailed, ConfigurationError, OneWayByAgreement
from sessioncore.session.session import SessionState
from sessioncore.vocabulary import Address, EndReason, MediaState, NegotiatedMedia, SessionRole

if TYPE_CHECKING:
    from sessioncore.media.statistics import PacketCounts, StreamStatistics

__all__ = ["Call", "Milestone"]


class Milestone:
    """Something a call reaches once or never; late subscribers get the outcome at once."""

    __slots__ = ("_outcome", "_waiting")

    def __init__(self) -> None:
        self._outcome: object = None
        self._waiting: list[Deferred[Any]] | None = None

    @property
    def settled(self) -> bool:
        """Whether the outcome is known."""
        return self._outcome is not None

    def wait(self) -> Deferred[Any]:
        """A Deferred of its own; cancelling it ends this wait and nothing else."""
        if isinstance(self._outcome, Exception):
            return fail(self._outcome)
        if self._outcome is not None:
            return succeed(self._outcome)
        if self._waiting is None:
            self._waiting = []
        waiting: Deferred[Any] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def settle(self, outcome: object) -> None:
        """Fire (or, with an Exception, fail) all who wait; only the first outcome counts."""
        if self._outcome is not None:
            return
        self._outcome = outcome
        waiting, self._waiting = self._waiting, None
        for deferred in waiting or ():
            if isinstance(outcome, Exception):
                deferred.errback(outcome)
            else:
                deferred.callback(outcome)


REACHED: Final = Milestone()
"""What a milestone of a call is once it was reached; one for all calls, as it names none."""
REACHED.settle("reached")


class _Leg(Protocol):
    """What a `Call` needs of the leg behind it; the coordinator's legs are this."""

    role: SessionRole
    name: str
    call_id: str
    state: SessionState
    reason: EndReason | None
    local_uri: str
    remote_uri: str

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
    @property
    def media_counts(self) -> PacketCounts | None: ...
    def media_problem(self, due: int | None = None) -> str | None: ...


class _Control(Protocol):
    """What the coordinator does for a `Call`."""

    def place(self, leg: Any) -> Deferred[None] | None: ...
    def ring(self, leg: Any, *, early_media: bool) -> None: ...
    def answer(self, leg: Any, source: object, sink: object) -> Deferred[None] | None: ...
    def refuse(
        self, leg: Any, status: int, phrase: str | None, contact: str | None = None
    ) -> None: ...
    def hang_up(self, leg: Any, text: str) -> None: ...
    def set_source(self, leg: Any, source: object) -> None: ...
    def set_sink(self, leg: Any, sink: object) -> None: ...


class Call:
    """One leg of a call, in either role.

    The milestones (`when_answered`, `when_media_ready`, `when_two_way`, `when_ended`) each
    return a new Deferred, also long after they were reached.  They fail with
    `errors.CallFailed`, whose ``reason`` says why, when the call ends before.  Cancelling one
    ends that wait and nothing else.
    """

    __slots__ = (
        "_answered",
        "_asked_for",
        "_control",
        "_ended",
        "_leg",
        "_media_ready",
        "_two_way",
    )

    def __init__(self, leg: _Leg, control: _Control) -> None:
        self._leg = leg
        self._control = control
        # None: not reached, and nobody has asked for it.
        self._answered: Milestone | None = None
        self._media_ready: Milestone | None = None
        self._two_way: Milestone | None = None
        self._ended: Milestone | EndReason | None = None
        self._asked_for: tuple[Milestone, ...] = ()

    def __repr__(self) -> str:
        return f"<Call {self.session} {self.role} {self.state} media {self.media_state}>"

    # --- what it is

    @property
    def role(self) -> SessionRole:
        """UAC where we sent the INVITE, UAS where we received it."""
        return self._leg.role

    @property
    def session(self) -> str:
        """Our own short id of this leg, as events and logs carry it."""
        return self._leg.name

    @property
    def call_id(self) -> str:
        """The SIP Call-ID."""
        return self._leg.call_id

    @property
    def state(self) -> SessionState:
        """Where the INVITE session stands."""
        return self._leg.state

    @property
    def media_state(self) -> MediaState:
        """How far the audio is."""
        return self._leg.media_state

    @property
    def local_uri(self) -> str:
        """Our side's URI: From of an outgoing call, To of an incoming one."""
        return self._leg.local_uri

    @property
    def remote_uri(self) -> str:
        """The other side's URI."""
        return self._leg.remote_uri

    @property
    def negotiated_media(self) -> NegotiatedMedia | None:
        """What both sides agreed on, or None before that."""
        return self._leg.negotiated_media

    @property
    def local_rtp(self) -> Address | None:
        """The address our RTP is received on and sent from, while the row is open."""
        return self._leg.local_rtp

    @property
    def remote_rtp(self) -> Address | None:
        """Where our RTP goes now: the latched source, else the SDP address."""
        return self._leg.remote_rtp

    @property
    def transmitting(self) -> bool:
        """Whether RTP of ours is running."""
        return self._leg.transmitting

    @property
    def statistics(self) -> StreamStatistics | None:
        """Counters of the media, live or as they were at the end; None if there was none."""
        return self._leg.media_statistics

    @property
    def packet_counts(self) -> PacketCounts | None:
        """Packets sent, received and lost, and the jitter: `statistics` in little, and cheaper."""
        return self._leg.media_counts

    @property
    def why_silent(self) -> str | None:
        """What speaks most for nothing being heard, in words for people; None without media."""
        return self._leg.media_problem()

    def why_too_little(self, due: int) -> str | None:
        """`why_silent` where ``due`` packets should have been received."""
        return self._leg.media_problem(due)

    @property
    def end_reason(self) -> EndReason | None:
        """Why the call ended or is ending, or None while nothing has ended it."""
        return self._leg.reason

    # --- what to do with it

    def place(self) -> Deferred[Call]:
        """UAC: send the INVITE of a prepared call.

        Fires with this call once the INVITE was written; fails with `CallFailed` where the
        target does not resolve or nothing could be sent.  Cancelling it hangs up.
        """
        return self._controlled(self._control.place(self._leg), "cancelled before it was placed")

    def ring(self, *, early_media: bool = False) -> None:
        """UAS: answer 180, or 183 with our description and start the media early.

        Raises `CallOver` where the call is no longer waiting for its answer, `CallFailed`
        where nothing can be sent to the caller.
        """
        self._control.ring(self._leg, early_media=early_media)

    def answer(self, source: object = None, sink: object = None) -> Deferred[Call]:
        """UAS: answer 200 with ``source`` to play and ``sink`` to listen (None: as set).

        Fires with this call once the 200 OK was written; fails with `CallOver` where the call
        is over, with `CallFailed` where answering failed, with `ConfigurationError` for what is
        no source or sink; then the call still waits.  Cancelling it hangs up.
        """
        return self._controlled(
            self._control.answer(self._leg, source, sink), "cancelled while it was answered"
        )

    def reject(self, status: int = 486, reason: str | None = None) -> None:
        """UAS: refuse with a final status of 400-699; raises `CallOver` when too late."""
        self._control.refuse(self._leg, status, reason)

    def redirect(self, uri: str) -> None:
        """UAS: answer 302 with ``uri`` as Contact; raises `CallOver` when too late."""
        if not isinstance(uri, str) or not uri:
            raise ConfigurationError(
                f"{uri!r} is no URI to redirect to; write e.g. sip:alice@192.0.2.1"
            )
        self._control.refuse(self._leg, 302, None, uri)

    def hang_up(self) -> Deferred[EndReason]:
        """End the call, whatever its state, by CANCEL, BYE or a final response.

        Fires with the reason once the call is over (a BYE answered or timed out).
        Cancelling it changes nothing.
        """
        self._control.hang_up(self._leg, "hung up")
        return self.when_ended()

    def set_source(self, source: object) -> None:
        """Play ``source`` from the next frame on; see `sessioncore.media.sources`.

        Raises `ConfigurationError` for what is no source.
        """
        self._control.set_source(self._leg, source)

    def set_sink(self, sink: object) -> None:
        """Hand what is heard to ``sink`` from the next frame on; see `media.sinks`.

        Raises `ConfigurationError` for what is no sink.
        """
        self._control.set_sink(self._leg, sink)

    # --- what to wait for

    def when_answered(self) -> Deferred[Call]:
        """Fires with this call once the first 200 OK was written or read."""
        self._answered = waited = self._answered or self._ask()
        return waited.wait().addCallback(self._itself)

    def when_media_ready(self) -> Deferred[Call]:
        """Fires with this call once the media flow is established."""
        self._media_ready = waited = self._media_ready or self._ask()
        return waited.wait().addCallback(self._itself)

    def when_two_way(self) -> Deferred[Call]:
        """Fires with this call once media was seen in both directions.

        Fails with `OneWayByAgreement` as soon as the two sides agreed on less than that.
        """
        self._two_way = waited = self._two_way or self._ask()
        return waited.wait().addCallback(self._itself)

    def when_ended(self) -> Deferred[EndReason]:
        """Fires with the `EndReason` once the call is over, answered or not; never fails."""
        if isinstance(self._ended, EndReason):
            return succeed(self._ended)
        self._ended = waited = self._ended or Milestone()
        return waited.wait()

    def _ask(self) -> Milestone:
        """A milestone that was not reached so far; after the end it never will be."""
        milestone = Milestone()
        if isinstance(self._ended, EndReason):
            milestone.settle(CallFailed(self._ended))
        else:
            self._asked_for = (*self._asked_for, milestone)
        return milestone

    # --- what the coordinator reports

    def reached_answer(self) -> None:
        """The first 200 OK was written or read."""
        waited, self._answered = self._answered, REACHED
        if waited is not None:
            waited.settle(REACHED)

    def reached_media(self, *, both_ways: bool) -> None:
        """The media flow was established; ``both_ways`` is whether the agreement allows it."""
        waited, self._media_ready = self._media_ready, REACHED
        if waited is not None:
            waited.settle(REACHED)
        if not both_ways:
            self._two_way = self._two_way or Milestone()
            self._two_way.settle(
                OneWayByAgreement(f"agreed on {self.negotiated_media}, not audio both ways")
            )

    def reached_two_way(self) -> None:
        """Media was seen in both directions."""
        if self._two_way is None:
            self._two_way = REACHED
        else:
            self._two_way.settle(REACHED)

    def reached_end(self, reason: EndReason) -> None:
        """The call is over."""
        waited, self._ended = self._ended, reason
        for milestone in self._asked_for:
            milestone.settle(CallFailed(reason))
        if isinstance(waited, Milestone):
            waited.settle(reason)

    def _itself(self, _: object) -> Call:
        return self

    def _controlled(self, doing: Deferred[None] | None, cancelled: str) -> Deferred[Call]:
        """``doing`` with this call as its result, and cancelling it as a hang-up.

        None is done already.  The work itself is not cancelled: a cancel from inside it would
        be lost.
        """
        if doing is None:
            return succeed(self)
        if doing.called:
            return doing.addCallback(self._itself)
        hang_up: Callable[[Deferred[Any]], None] = lambda _: self._control.hang_up(  # noqa: E731
            self._leg, cancelled
        )
        done: Deferred[Call] = Deferred(hang_up)

        def worked(_: None) -> None:
            if not done.called:
                done.callback(self)

        def failed(failure: Failure) -> None:
            if not done.called:
                done.errback(failure)

        doing.addCallbacks(worked, failed)
        return done
