"""`MediaPlane`, all streams of a process, and `Stream`, the handle of one of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from sessioncore.media.statistics import MediaEvent, PlaneStatistics, StreamStatistics
from sessioncore.vocabulary import Address, StreamAgreement

if TYPE_CHECKING:
    from sessioncore.media.packet_io import PacketIO, PortLease

__all__ = ["MediaEvent", "MediaPlane", "PlaneStatistics", "Stream", "StreamStatistics"]

OnEvent: TypeAlias = "Callable[[Stream, MediaEvent, Any, int], None]"


class Stream:
    """One call's row in the plane.  Made by `MediaPlane.open`; dead after `close`."""

    __slots__ = ("_lease", "_plane", "agreement", "owner", "row")

    def __init__(self, plane: MediaPlane, row: int, lease: PortLease) -> None:
        self._plane = plane
        self._lease = lease
        self.row = row
        self.owner: Any = None
        self.agreement: StreamAgreement | None = None

    @property
    def local(self) -> Address:
        """The RTP address bound for this stream."""
        return self._lease.local

    @property
    def local_rtcp(self) -> Address:
        """The RTCP address bound for this stream: RTP's port plus one."""
        return self._lease.local_rtcp

    @property
    def transmitting(self) -> bool:
        """Whether RTP is being sent (held back or not by the rules for unproven paths)."""
        raise NotImplementedError

    @property
    def statistics(self) -> StreamStatistics:
        """A snapshot of the counters."""
        raise NotImplementedError

    def expect_early(self, ip: str) -> None:
        """Play what comes from ``ip`` before the agreement; it neither latches nor counts."""
        raise NotImplementedError

    def establish(
        self, agreement: StreamAgreement, *, signalling_host: str, nat: bool | None, now: int
    ) -> None:
        """Take a new agreement: codec, payload types, remote, latch rules, direction.

        ``signalling_host`` is the IP the peer's SIP comes from; ``nat`` True lets media come
        from any port of it, None decides that by comparing it with the agreement's address.
        A latch stays where the remote address did not change.  Sending starts by
        `start_transmission`.
        """
        raise NotImplementedError

    def start_transmission(self, now: int, proven: bool) -> None:
        """Send as the agreement allows; an unproven path gets at most 5 s of RTP."""
        raise NotImplementedError

    def stop_transmission(self) -> None:
        """Send no more RTP; RTCP goes on."""
        raise NotImplementedError

    def prove_path(self) -> None:
        """Somebody at the signalling address answered (ACK): lift the limits on sending."""
        raise NotImplementedError

    def update_remote_address(self, address: Address) -> None:
        """Send to ``address`` from now on and take media from it at once."""
        raise NotImplementedError

    def set_source(self, spec: Any) -> None:
        """Where the samples to send come from: a spec of `sessioncore.media.sources`."""
        raise NotImplementedError

    def set_sink(self, spec: Any) -> None:
        """Where received samples go: a spec of `sessioncore.media.sinks`."""
        raise NotImplementedError

    def close(self, now: int) -> StreamStatistics:
        """RTCP BYE, flush the sink, give the ports back.  Returns the last counters."""
        raise NotImplementedError


class MediaPlane:
    """Every stream of a process as rows of numpy arrays, stepped all at once by `tick`.

    ``random_bits(n)`` gives n random bits; ``ntp(now)`` the 64-bit NTP time (RFC 3550
    section 4) of a monotonic ``now``; ``on_event(stream, event, detail, now)`` is called
    within `tick` and may open, change and close streams.
    """

    def __init__(
        self,
        io: PacketIO,
        *,
        random_bits: Callable[[int], int],
        ntp: Callable[[int], int],
        on_event: OnEvent,
    ) -> None:
        self._io = io
        self._random_bits = random_bits
        self._ntp = ntp
        self._on_event = on_event
        self.statistics = PlaneStatistics()

    @property
    def active(self) -> bool:
        """Whether any stream is open, which is when `tick` wants to be called every 5 ms."""
        raise NotImplementedError

    @property
    def ports_free(self) -> int:
        """Port pairs that could be leased now."""
        return self._io.ports_free

    def open(self, local_ip: str, now: int) -> Stream:
        """Lease a pair of ports on ``local_ip`` and open it; raises `NoPortsError`."""
        raise NotImplementedError

    def tick(self, now: int) -> None:
        """Receive everything, play one quarter of the rows, send theirs: 5 ms of work."""
        raise NotImplementedError

    def close(self, now: int) -> None:
        """Close every stream and the io."""
        raise NotImplementedError
