"""What a row received and what it sent: `Received` and `Sent`, made when somebody asks."""

from __future__ import annotations

from typing import Any, NamedTuple

from sessioncore.media.bank import NONE
from sessioncore.media.listening import level_of
from sessioncore.media.sources import Echo, Frames, Silence, Source

__all__ = ["Received", "Sent"]


class Received(NamedTuple):
    """What came from the peer, all its sources together.

    The first fields are the columns `sessioncore.media.bank.RECEIVED`.
    """

    packets_received: int
    octets_received: int
    remote_ssrc: int
    former_expected: int
    first_sequence: int
    highest: int
    unexpected: int
    unexpected_type: int
    unplayable: int
    other_sources: int
    invalid: int
    rtcp_on_rtp: int
    duplicates: int
    collisions: int
    late: int
    overflow: int
    inserted: int
    dropped: int
    noise_packets: int
    noise_level: int
    heard_at: int
    rtcp_at: int
    sound_at: int
    peak: int
    heard_peak: int
    clock: int
    """The RTP clock in Hz."""
    jitter: float
    """In units of ``clock``."""
    stalled: bool
    kernel_drops: int
    missed_phases: int
    """Phases of 5 ms that this process missed meanwhile."""

    @property
    def expected(self) -> int:
        """Packets the peer must have sent, by sequence number (RFC 3550 appendix A.3)."""
        if self.remote_ssrc == NONE:
            return self.former_expected
        return self.former_expected + self.highest - self.first_sequence + 1

    @property
    def heard_dbov(self) -> float | None:
        """The level of the last look."""
        return level_of(self.heard_peak)

    def as_statistics(self) -> dict[str, Any]:
        """Its part of `sessioncore.media.statistics.StreamStatistics`."""
        named = self._asdict()
        expected, received = self.expected, self.packets_received
        return {name: named[name] for name in _AS_RECEIVED} | {
            "expected": expected,
            "lost": max(0, expected - received),
            "unexpected_payload_type": self.unexpected,
            "comfort_noise": self.noise_packets,
            "peak_dbov": level_of(self.peak),
            "heard_dbov": self.heard_dbov,
            "jitter_ms": 1000 * self.jitter / self.clock if received else None,
        }


_AS_RECEIVED = (
    *("packets_received", "octets_received", "duplicates", "late", "overflow", "inserted"),
    *("dropped", "invalid", "rtcp_on_rtp", "unplayable", "other_sources", "collisions"),
    *("stalled", "kernel_drops"),
)


class Sent(NamedTuple):
    """What left for the peer.  The first fields are the columns `sessioncore.media.bank.SENT`."""

    packets_sent: int
    octets_sent: int
    send_errors: int
    held_back: int
    sent_sound_at: int
    sent_peak: int
    transmitting: bool
    source: Source | None
    """What it plays; None where there is nothing, or nothing any more."""

    @property
    def is_fed(self) -> bool:
        """Whether the application writes what is sent, as for a bridge."""
        return self.source.__class__ is Frames

    def is_silence(self, since: int) -> bool:
        """Whether nothing but silence was sent from ``since`` on (ns)."""
        source = self.source
        if source.__class__ is Echo:
            return False
        return source is None or source.__class__ is Silence or self.sent_sound_at < since

    def level(self, heard: float | None) -> float | None:
        """The level in dBov, where ``heard`` is that of what is heard; None: nothing is sent."""
        if not self.transmitting:
            return None
        source = self.source
        if isinstance(source, Echo) and heard is not None:
            return min(0.0, heard + source.gain_db)
        # Only frames that are made for it have a peak.
        silent = source is None or isinstance(source, Echo | Silence)
        return level_of(0 if silent else self.sent_peak)

    def as_statistics(self) -> dict[str, Any]:
        """Its part of `sessioncore.media.statistics.StreamStatistics`."""
        return {name: getattr(self, name) for name in _AS_SENT}


_AS_SENT = ("packets_sent", "octets_sent", "send_errors", "held_back", "transmitting")
