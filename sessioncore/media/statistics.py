"""What a stream tells about itself: `MediaEvent`, `StreamStatistics`, `PlaneStatistics`."""

from __future__ import annotations

from enum import Enum

from attrs import define, frozen

from sessioncore.vocabulary import Address

__all__ = [
    "MediaEvent",
    "PlaneStatistics",
    "StreamStatistics",
]


class MediaEvent(Enum):
    """What `MediaPlane` reports about a stream; rare, never per packet.

    The detail that comes with it: LATCHED the `Address`; DIGIT a tuple (digit, duration in
    ms); REFUSED a text that names the peer's address; None with all others.
    """

    FIRST_SENT = "first packet sent"
    """Once per agreement: a packet of ours was handed to the kernel."""
    FIRST_RECEIVED = "first packet received"
    """Once per agreement: a valid packet of a negotiated type came from the latched source."""
    LATCHED = "latched"
    """From now on packets of this one address are taken, and ours go there."""
    STALLED = "stalled"
    """5 s without RTP, comfort noise or RTCP where receiving is allowed."""
    RESUMED = "resumed"
    """The first packet after STALLED."""
    DIGIT = "digit"
    """A key was pressed (RFC 4733); once per press."""
    REFUSED = "refused"
    """ICMP says that nobody listens where we send; repeated after 5 s, 10 s and so on."""
    EVIDENCE = "evidence"
    """What is heard here, or what the peer reports of our packets, is not as it was before."""
    SOURCE_ENDED = "source ended"
    """A clip came to its end (detail None), or an application's source raised (the error)."""
    SINK_FAILED = "sink failed"
    """Detail: a `sessioncore.media.sinks.SinkReport`."""

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


@frozen(slots=False)
class StreamStatistics:
    """One stream's counters.  Times are monotonic ns, jitter and round trip are in ms.

    ``octets`` count RTP payload (RFC 3550 section 6.4.1).  ``jitter_ms`` and ``loss`` are
    None until media was measured.
    """

    packets_sent: int
    octets_sent: int
    packets_received: int
    octets_received: int
    expected: int
    """Packets the peer must have sent, by sequence number (RFC 3550 appendix A.3)."""
    lost: int
    """Expected minus received; never below 0 here."""
    duplicates: int
    """Packets that came more than once."""
    late: int
    """Arrived after their turn to be played."""
    overflow: int
    """20 ms frames thrown away, the oldest, as more waited than the ring holds (320 ms).

    Also packets out of order whose timestamps are further ahead than that.
    """
    inserted: int
    """20 ms frames of silence played because packets were lost or late.

    Pauses of the sender do not count, as no sequence number is missing there.
    """
    dropped: int
    """20 ms frames skipped to follow a faster clock or to shorten a delay."""
    held_back: int
    """Packets that were not sent, because nothing proved that they are wanted there."""
    invalid: int
    """Datagrams that are not RTP of version 2, or too long."""
    unexpected_payload_type: int
    """Packets of a payload type that was not negotiated."""
    rtcp_on_rtp: int
    """RTCP packets that came to the RTP port (RFC 5761): rtcp-mux was not agreed on."""
    comfort_noise: int
    """Comfort noise packets (RFC 3389) received."""
    peak_dbov: float | None
    """The largest value heard so far, in dBov; from 0.4 s of each second, None before any."""
    heard_dbov: float | None
    """The largest value in 0.4 s of the last second, in dBov; None where nothing came."""
    sent_dbov: float | None
    """The largest value in 20 ms of what was sent last, in dBov; None where nothing is sent."""
    unplayable: int
    """Packets of a negotiated type whose payload is empty, cut off, or longer than 200 ms."""
    other_sources: int
    """Packets of another SSRC while one was heard, or far off in the sequence: not played.

    Their telephone-events are reported.  Another SSRC is heard after 200 ms of silence, or
    after a new agreement; in either case its first packet is counted here.
    """
    strangers: int
    """Packets of addresses that may not be heard: never played, never answered.

    Behind NAT, those by which the peer's address proved itself as well.
    """
    send_errors: int
    """RTP and RTCP packets the socket would not send."""
    refused: int
    """ICMP port unreachable, seen as ECONNREFUSED."""
    kernel_drops: int
    """Datagrams the kernel threw away because the receive buffer was full (Linux)."""
    collisions: int
    """Packets that carried our own SSRC (RFC 3550 section 8.2)."""
    jitter_ms: float | None
    """Interarrival jitter of the peer's packets (RFC 3550 section 6.4.1)."""
    round_trip_ms: float | None
    """Round trip time by RTCP (RFC 3550 section 6.4.1)."""
    remote_lost: int | None
    """Cumulative number of packets lost that the peer reports about us."""
    remote_jitter_ms: float | None
    """Jitter of our packets as the peer measures it."""
    remote: Address | None
    """Where we send to: the latched address, else the one of the agreement."""
    latched: bool
    """Whether one source has been chosen, to be heard and sent to."""
    transmitting: bool
    """Whether we are sending RTP."""
    stalled: bool
    """Whether nothing was heard for 5 s where receiving is allowed."""
    first_sent_at: int | None
    first_received_at: int | None
    latched_at: int | None
    """When a source was last chosen."""
    peer_said_bye: bool
    """An RTCP BYE came; it never ends a call."""

    @property
    def loss(self) -> float | None:
        """Lost packets as a fraction of the expected ones, or None before any."""
        return self.lost / self.expected if self.expected else None


@define(eq=False)
class PlaneStatistics:
    """Counters of the whole plane.  The clockwork measures how late ticks come."""

    ticks: int = 0
    """Calls of `MediaPlane.tick`."""
    phases: int = 0
    """Phases of 5 ms that were played; each plays its part of the streams."""
    missed_phases: int = 0
    """Phases that came so late that their 20 ms were skipped."""
    caught_up_phases: int = 0
    """Phases played late, together with a later one."""
    packets_received: int = 0
    """RTP packets taken for a stream, before their payload is judged."""
    packets_sent: int = 0
    """RTP packets handed to the kernel."""
    strays: int = 0
    """Datagrams looked at one by one: RTCP, and RTP of streams not yet latched."""
    streams_held_back: int = 0
    """Streams that began with a packet a second, because ten others had just begun to that IP."""
    streams_stopped: int = 0
    """Times that a stream stopped sending because of an ICMP error."""
    callback_errors: int = 0
    """Errors raised by callbacks for events."""
