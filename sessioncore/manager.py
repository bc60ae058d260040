"""`SessionManager`: the embedding API over sockets, clockwork, media plane and coordinator."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from struct import Struct
from typing import Any, Final, TypeVar, overload

from attrs import asdict, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from sessioncore.errors import CallFailed, CallOver, ConfigurationError
from sessioncore.events import Event
from sessioncore.interfaces import ICallHandler, IEventObserver, ISipTransport
from sessioncore.media.plane import MediaPlane
from sessioncore.media.sinks import Sink
from sessioncore.media.sources import Source
from sessioncore.media.statistics import PlaneStatistics
from sessioncore.net.addresses import LocalAddresses, is_loopback, is_wildcard, parse_listen
from sessioncore.net.addresses import local_address_for as kernel_local_address
from sessioncore.net.clockwork import clockwork_for
from sessioncore.net.faults import FaultLog
from sessioncore.net.flows import OpenTransports, targets_by
from sessioncore.net.resolver import resolver_for
from sessioncore.net.rtp import packet_io_for
from sessioncore.net.sip_udp import SipUdpTransport
from sessioncore.net.taps import MessageTaps, ReportTaps, TakesMessages, TakesReports
from sessioncore.rtp.rtcp import ntp_time
from sessioncore.session.call import Call, TakesEvents, event_sink
from sessioncore.session.coordinator import SessionCoordinator
from sessioncore.session.counters import CallCounters
from sessioncore.session.environment import Environment
from sessioncore.session.invitation import HeaderFields, Invitation, require_transport
from sessioncore.session.methods import METHODS, Method
from sessioncore.session.milestones import Milestone
from sessioncore.session.tracing import Tracer
from sessioncore.settings import Settings
from sessioncore.sip.flows import Flow
from sessioncore.sip.matching import Counters
from sessioncore.vocabulary import SECOND, Address

__all__ = ["ManagerStatistics", "SessionManager"]

WRITING: Final = 0.5
"""Seconds that `SessionManager.stop` waits for the thread that writes recordings."""
_LONGEST_GRACE: Final = 86_400
TICK: Final = 5_000_000
"""Nanoseconds between two media phases."""
_PAGE: Final = Struct("16s" * 256)
_WORD: Final = 128
"""Bits of a random word."""
_log = Logger(namespace="sessioncore.manager")

IncomingHandler = Callable[[Call], Any]
E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)


@frozen
class ManagerStatistics:
    """Counters since the start (calls, SIP transactions, media), and the number of calls now."""

    calls_up: int
    """Calls that are up now."""
    rtp_ports_free: int
    """Pairs of RTP ports that are free now, of the local address with the fewest."""
    sip_unsent: int
    """SIP messages that were lost because a transport could not send them."""
    calls: dict[str, int]
    sip: dict[str, int]
    media: dict[str, int]
    tap_errors: int = 0
    """How often a tap raised an exception."""


class SessionManager:
    """Places and answers calls in a Twisted application.

    ``reactor`` is any reactor with UDP, or a `testing.FakeHost`.  ``on_incoming`` decides
    about incoming calls: an `ICallHandler`, or a callable that takes the `Call` and returns
    None, a Deferred or a coroutine; without it they are refused with 480.  ``clockwork``,
    ``resolver`` and ``random_bytes`` replace those that the manager would make itself.
    ``tracer`` is notified of steps below the events (`sessioncore.session.tracing`).
    ``transports`` (`ISipTransport`) carry SIP in place of the UDP sockets of
    ``settings.listen``.  ``methods`` says which component answers which request
    (`sessioncore.session.methods`).
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings | None = None,
        *,
        on_incoming: IncomingHandler | ICallHandler | None = None,
        clockwork: Any = None,
        resolver: Any = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        tracer: Tracer | None = None,
        transports: Sequence[ISipTransport] | None = None,
        methods: Sequence[Method] = METHODS,
    ) -> None:
        if reactor is None:
            raise ConfigurationError(
                "None is not a reactor; give for example `from twisted.internet import reactor`"
            )
        if not isinstance(settings, Settings | None):
            raise ConfigurationError(f"{settings!r} is not a Settings; make one by Settings(...)")
        self.settings = settings = settings or Settings()
        self._reactor = reactor
        listening = [parse_listen(text) for text in settings.listen]
        self._own_clockwork = clockwork is None
        self.clockwork = clockwork or clockwork_for(reactor)
        self._random_words = _random_words(random_bytes)
        self._resolver = resolver or resolver_for(
            reactor,
            self._random_below,
            families=tuple(sorted({6 if each.ipv6 else 4 for each in listening})),
        )
        # Any: mypy does not see the methods of a zope interface through its type.
        self._transports: list[Any] = list(transports or ()) or [
            SipUdpTransport(reactor, each, self.clockwork, advertise=settings.advertise)
            for each in listening
        ]
        self._open = OpenTransports(self._is_own_ip)
        self._faults = FaultLog(_log)
        self._addresses = LocalAddresses(
            self.clockwork.now, lambda peer: kernel_local_address(peer, reactor)
        )
        self._wall_offset = time.time_ns() - self.clockwork.now()
        self._ticking = False
        first, last = settings.rtp_ports
        self.plane = MediaPlane(
            packet_io_for(reactor, ports=range(first, last + 1), now=self.clockwork.now),
            random_bits=self._random_bits,
            ntp=self._ntp,
            on_event=self._media_event,
        )
        self._counters = CallCounters()
        self._coordinator = SessionCoordinator(
            self._environment(tracer),
            self.plane,
            wake=self._wake,
            on_incoming=_handler(on_incoming),
            methods=tuple(methods),
        )
        self._announcer = self._coordinator.announcer
        faults = self._tap_faults = FaultLog(_log)
        self._taps = MessageTaps(faults, self._local_ip, self.clockwork.now)
        self._report_taps = ReportTaps(faults)
        self.running = False
        self._stopping: Milestone | None = None

    def _environment(self, tracer: Tracer | None) -> Environment:
        return Environment(
            self.settings,
            now=self.clockwork.now,
            deadlines=self.clockwork.deadlines,
            resolve=targets_by(self._resolver.resolve_sip_uri),
            flows=self._open,
            local_ip=self._local_ip,
            random_token=self._token,
            random_bits=self._random_bits,
            counters=self._counters,
            tracer=tracer,
        )

    # --- start and stop

    def start(self) -> Deferred[None]:
        """Open the SIP sockets.

        Fires when calls can be placed and answered.  Fails with `ConfigurationError` if a
        socket cannot be bound; then nothing stays open.
        """
        return maybeDeferred(self._start)

    def _start(self) -> None:
        if self.running:
            return
        if self._stopping is not None:
            raise ConfigurationError("a stopped manager cannot be restarted; make another one")
        self.clockwork.start()
        try:
            for transport in self._transports:
                coordinator = self._coordinator
                transport.open(coordinator.receive, coordinator.unreachable, coordinator.lost)
                self._open.add(transport)
        except ConfigurationError:
            self._close_sockets()
            if self._own_clockwork:
                self.clockwork.stop()
            raise
        self.running = True

    def drain(self) -> Deferred[None]:
        """Refuse new calls from now on, and wait for those that are up; none is ended.

        New requests get 503, `call` and `prepare_call` raise `TooManyCalls`.  Fires when no
        call is left; then `stop` can follow.  A second call fires with the first.  Cancelling
        the Deferred ends that wait only: new calls are still refused.
        Raises `ConfigurationError` before `start`.
        """
        if not self.running and self._stopping is None:
            raise ConfigurationError("the manager has not started; there is nothing to drain")
        return self._coordinator.drain().addCallback(lambda _: None)

    def stop(self, grace: float = 4.0) -> Deferred[int]:
        """End every call as its state demands, then close everything.

        Calls that are not over after ``grace`` seconds are abandoned; the Deferred fires with
        their number.  A second call fires with the same result.  Cancelling the Deferred ends
        that wait and nothing else.
        Raises `ConfigurationError` for a ``grace`` below 0 or above a day.
        """
        if not isinstance(grace, int | float) or not 0 <= grace <= _LONGEST_GRACE:
            raise ConfigurationError(
                f"a grace of {grace!r} is not usable; give seconds up to {_LONGEST_GRACE}"
            )
        if self._stopping is None:
            if not self.running:
                return succeed(0)
            self._stopping = Milestone()
            Deferred.fromCoroutine(self._stop(grace)).addCallbacks(
                self._stopping.settle, lambda failure: self._stopping.settle(failure.value)
            )
        return self._stopping.wait()

    async def _stop(self, grace: float) -> int:
        self.running = False
        ended = self._coordinator.close()
        late: Deferred[None] = Deferred()
        deadline = self.clockwork.deadlines.at(
            self.clockwork.now() + int(grace * SECOND), lambda _, now: late.callback(None)
        )
        await DeferredList([ended, late], fireOnOneCallback=True)
        deadline.cancel()
        given_up = self._coordinator.give_up()
        if given_up:
            _log.warn(
                "abandoned {count} calls that had not ended after {grace} s",
                count=given_up,
                grace=grace,
            )
        await self._close_all()
        return given_up

    async def _close_all(self) -> None:
        now = self.clockwork.now()
        self.clockwork.remove_tick(self._tick)
        self._ticking = False
        self._coordinator.stop()
        await DeferredList([*self._close_sockets(), maybeDeferred(self.plane.close, now)])
        await self._recordings_written()
        if self._own_clockwork:
            self.clockwork.stop()

    def _recordings_written(self) -> Deferred[None]:
        """Fires once all recordings are on disk, or after `WRITING` seconds."""
        closed = self.plane.playout.sinks.recorder.close()
        reactor = self._reactor
        written: Deferred[None] = Deferred()
        written.addErrback(self._not_written)
        if closed.done():
            written.callback(None)
        elif not IReactorFromThreads.providedBy(reactor):
            # The writer's thread runs in real time, even under a fake clock.
            try:
                written.callback(closed.result(WRITING))
            except TimeoutError:
                written.errback()
        else:
            closed.add_done_callback(lambda _: reactor.callFromThread(written.callback, None))
            timeout: Any = reactor
            written.addTimeout(WRITING, timeout)
        return written

    def _not_written(self, failure: Failure) -> None:
        failure.trap(TimeoutError, CancelledError)  # type: ignore[no-untyped-call]
        _log.error("recordings are incomplete: the disk was not done after {s} s", s=WRITING)

    def _close_sockets(self) -> list[Deferred[Any]]:
        return [maybeDeferred(transport.close) for transport in self._open.take()]

    # --- calls

    def prepare_call(
        self,
        uri: str,
        *,
        from_uri: str | None = None,
        display_name: str | None = None,
        headers: HeaderFields = (),
        source: Source | None = None,
        sink: Sink | Sequence[Sink] | None = None,
        late_offer: bool = False,
        ring_limit: float | None = None,
    ) -> Call:
        """A call to ``uri`` that has sent nothing yet; call its ``place`` when ready.

        ``from_uri`` and ``display_name`` identify the caller; ``headers`` are further header
        fields of the INVITE (a dict, or pairs of name and value).  ``source`` is played and
        ``sink`` receives audio from the first packet on.  ``late_offer`` sends the INVITE
        without a description, so that the callee offers.  ``ring_limit``, in seconds, replaces
        that of the settings.  Raises `ConfigurationError` for a value that is not usable and
        before `start`, `TooManyCalls` at the limit.
        """
        invitation = self._invitation(uri, from_uri, display_name, headers, late_offer, ring_limit)
        return self._coordinator.prepare(invitation, source, sink)

    def _invitation(self, uri: str, *wishes: Any) -> Invitation:
        invitation = Invitation(uri, *wishes)
        if b"transport" in invitation.uri.params:
            there = {transport.transport for transport in self._transports}
            require_transport(invitation.uri, there)
        if not self.running and self._stopping is None:
            raise ConfigurationError("the manager has not started; wait for start() to fire first")
        return invitation

    def call(
        self,
        uri: str,
        *,
        from_uri: str | None = None,
        display_name: str | None = None,
        headers: HeaderFields = (),
        source: Source | None = None,
        sink: Sink | Sequence[Sink] | None = None,
        late_offer: bool = False,
        ring_limit: float | None = None,
    ) -> Call:
        """`prepare_call` and ``place`` in one; the call's milestones report its progress."""
        invitation = self._invitation(uri, from_uri, display_name, headers, late_offer, ring_limit)
        call, placing = self._coordinator.call(invitation, source, sink)
        if placing is not None:
            # A call that cannot be placed ends, and its milestones report the failure.
            placing.addErrback(self._told_elsewhere)
        return call

    @property
    def accepting(self) -> bool:
        """Whether new calls are taken: not before `start`, and not while it drains or stops."""
        return self.running and not self._coordinator.closing

    @property
    def calls(self) -> list[Call]:
        """The calls that are not over."""
        return [leg.call for leg in self._coordinator.registry.by_name.values()]

    def find_call(self, session: str) -> Call | None:
        """The call with that id (`Call.session`, `Event.session`) if it is up, else None."""
        leg = self._coordinator.registry.by_name.get(session)
        return None if leg is None else leg.call

    @property
    def local_addresses(self) -> list[Address]:
        """The addresses of the bound SIP sockets, with port 0 resolved."""
        return [transport.local for transport in self._open]

    def statistics(self) -> ManagerStatistics:
        """All counters by name, as plain numbers."""
        sip: Counters = self._coordinator.layer.counters
        sip.over_share = sum(transport.over_share for transport in self._transports)
        media: PlaneStatistics = self.plane.statistics
        return ManagerStatistics(
            self._coordinator.registry.up,
            self.plane.ports_free(self.clockwork.now()),
            sum(transport.unsent for transport in self._transports),
            asdict(self._counters),
            asdict(sip),
            asdict(media),
            self._tap_faults.count,
        )

    # --- events

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
        """Call ``sink`` with every event of every call from now on, or with those of ``kinds``.

        Raises `ConfigurationError` if ``sink`` is not a sink or a kind is not an event class.
        """
        checked, observes = event_sink(sink, kinds), IEventObserver.providedBy(sink)
        self._announcer.sinks.add(checked, *kinds, observes=observes)

    def remove_event_sink(self, sink: Callable[[Any], object] | TakesEvents) -> None:
        """Stop calling ``sink``; raises `ConfigurationError` if it was not added."""
        self._announcer.sinks.remove(event_sink(sink, ()))

    # --- messages

    def add_message_tap(self, tap: TakesMessages) -> None:
        """Give ``tap`` every SIP message in and out from now on (`IMessageTap`).

        Without a tap this costs nothing.  Raises `ConfigurationError` if it is not one.
        """
        self._taps.add(tap)
        self._coordinator.tap(self._taps.received, self._taps.sent)

    def remove_message_tap(self, tap: TakesMessages) -> None:
        """Give ``tap`` no more messages; raises `ConfigurationError` if it was not added."""
        self._taps.remove(tap)
        if not self._taps:
            self._coordinator.tap(None, None)

    def add_report_tap(self, tap: TakesReports) -> None:
        """Give ``tap`` all RTCP in and out from now on (`IReportTap`).

        Without a tap this costs nothing.  Raises `ConfigurationError` if it is not one.
        """
        self._report_taps.add(tap)
        self.plane.tell_reports(self._report_taps.tell)

    def remove_report_tap(self, tap: TakesReports) -> None:
        """Give ``tap`` no more RTCP; raises `ConfigurationError` if it was not added."""
        self._report_taps.remove(tap)
        if not self._report_taps:
            self.plane.tell_reports(None)

    # --- callbacks for the coordinator and the media plane

    def _wake(self) -> None:
        if not self._ticking:
            self._ticking = True
            self.clockwork.add_tick(self._tick, TICK)

    def _tick(self, now: int) -> None:
        announcer = self._announcer
        announcer.enter()
        try:
            self.plane.tick(now)
        finally:
            announcer.leave()
        if not self.plane.active:
            self._ticking = False
            self.clockwork.remove_tick(self._tick)

    def _media_event(self, stream: Any, kind: Any, detail: Any, now: int) -> None:
        try:
            self._coordinator.establishing.media_event(stream, kind, detail, now)
        except Exception as error:
            self._faults.caught("reporting a media event failed", error)
            raise  # the plane counts it and goes on

    def _told_elsewhere(self, failure: Failure) -> None:
        error = failure.value
        if error is not None and not isinstance(error, CallFailed | CallOver):
            self._faults.caught("placing a call failed", error)

    def _local_ip(self, flow: Flow, peer: str) -> str:
        host = flow.local[0]
        return self._addresses.towards(peer) if is_wildcard(host) else host

    def _is_own_ip(self, ip: str) -> bool:
        """Whether ``ip`` is an address of this host, or one that stands for it."""
        if ip in (self.settings.advertise, self.settings.media_ip) or is_loopback(ip):
            return True
        try:
            # The kernel sends to an address of this host from that address.
            return self._addresses.towards(ip) == ip
        except OSError:
            return False

    def _ntp(self, now: int) -> int:
        return ntp_time(now + self._wall_offset)

    def _token(self) -> bytes:
        return b"%016x" % (next(self._random_words) >> 64)

    def _random_bits(self, bits: int) -> int:
        return next(self._random_words) >> _WORD - bits

    def _random_below(self, limit: int) -> int:
        return self._random_bits(32) * limit >> 32


def _random_words(random_bytes: Callable[[int], bytes]) -> Iterator[int]:
    """Random words, read from the operating system one page at a time."""
    words = chain.from_iterable(map(_PAGE.unpack, map(random_bytes, repeat(_PAGE.size))))
    return map(partial(int.from_bytes, byteorder="big"), words)


def _handler(given: Any) -> IncomingHandler | None:
    if given is None:
        return None
    handler = given.incoming_call if ICallHandler.providedBy(given) else given
    if not callable(handler):
        raise ConfigurationError(
            f"{given!r} is not a call handler; give an ICallHandler or a function of one argument"
        )
    return handler
