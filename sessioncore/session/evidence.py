"""Gathers the `Evidence` on one call for its verdict; the only place that knows where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sessioncore.media.listening import LOUD, level_of
from sessioncore.media.stream import Observed, Stream
from sessioncore.reach import reach
from sessioncore.session.session import SessionState
from sessioncore.verdict import Evidence
from sessioncore.vocabulary import MILLISECOND, SECOND, Address, StreamAgreement

if TYPE_CHECKING:
    from sessioncore.session.leg import Leg

__all__ = ["evidence_on"]

_ACK_DUE: Final = 2 * SECOND
"""So long after our 200 its ACK should have come, after two repeats (RFC 3261 13.3.1.4)."""
_PHASE: Final = 0.005


def evidence_on(leg: Leg, now: int) -> Evidence:
    """What is known about the audio of ``leg``; ``now`` counts until its media ended."""
    media = leg.media
    stream, begun = media.counting, media.established_at
    if stream is None or begun is None or media.agreement is None:
        return Evidence(answered=leg.answered, over=leg.over)
    audio = media.agreement.streams[0]
    over = media.closed_at is not None
    at = now if media.closed_at is None else media.closed_at
    values = _of_agreement(leg, audio)
    values |= _of_stream(stream, stream.observed(), audio, at, begun)
    values |= _of_description(leg, audio.index)
    return Evidence(
        answered=leg.answered,
        over=over,
        agreed_for=_seconds(at - begun),
        ack_missing=_ack_missing(leg, at - begun),
        answer_changed=leg.answer_changed,
        peer_gone=leg.peer_gone,
        **values,
    )


def _of_agreement(leg: Leg, audio: StreamAgreement) -> dict[str, Any]:
    media, host = leg.media, leg.media.signalling_host
    return {
        "receives": media.receives,
        "sends": media.sends,
        "held": media.held or (media.ran_both_ways and not media.both_ways),
        "direction": str(audio.direction),
        "ptime": audio.ptime / 1000,
        "payload_type": audio.receive_payload_type,
        "codec": str(audio.codec),
        "local": audio.local,
        "described": audio.remote,
        "signalling_host": host,
        "local_is_private": _reaches_less(audio.local, host),
        "described_is_private": audio.remote is not None and _reaches_less(audio.remote, host),
    }


def _of_stream(
    stream: Stream, seen: Observed, audio: StreamAgreement, at: int, begun: int
) -> dict[str, Any]:
    counted, clock = seen.counted, seen.clock
    received, expected = counted["packets_received"], seen.expected
    values: dict[str, Any] = {
        "remote": stream.remote,
        "latched": stream.latched is not None,
        "stranger": stream.last_stranger,
        "strangers": stream.counted_strangers,
        "received": received,
        "expected": expected,
        "covered": _covered(audio, counted["octets_received"]),
        "rtp_ago": _seconds(at - counted["heard_at"]) if received else None,
        "rtcp_ago": _ago(at, counted["rtcp_at"], begun),
        "pauses": counted["noise_level"] >= 0,
        "late": counted["late"],
        "jitter": seen.jitter / clock if received else None,
        "level": level_of(counted["peak"]),
        "sound_ago": _seconds(at - counted["sound_at"]) if counted["peak"] > LOUD else None,
        "comfort_noise": counted["noise_packets"],
        "invalid": counted["invalid"],
        "rtcp_on_rtp": counted["rtcp_on_rtp"],
        "unexpected": counted["unexpected"],
        "unexpected_type": counted["unexpected_type"] if counted["unexpected"] else None,
        "unplayable": counted["unplayable"],
        "other_sources": counted["other_sources"],
        "kernel_drops": seen.kernel_drops,
        "sent": counted["packets_sent"],
        "sending_for": None if stream.sends_since is None else _seconds(at - stream.sends_since),
        "held_back": counted["held_back"],
        "send_errors": counted["send_errors"],
        "refused": stream.refused,
        "refusing": stream.refusing,
        "transmitting": seen.transmitting,
        "source_is_silent": _sends_silence(seen, at, begun),
        "source_ended": stream.source_ended,
        "bridged_is_silent": seen.is_fed and _sends_silence(seen, at, begun),
        "stalled_for": seen.missed_phases * _PHASE,
    }
    return values | _of_reports(seen, at)


def _of_reports(seen: Observed, at: int) -> dict[str, Any]:
    reports = seen.reports
    if reports is None or not reports.received:
        return {}
    between = reports.between_reports
    return {
        "reports": reports.received,
        "reports_without_us": reports.without_us,
        "confirmed": reports.confirmed,
        "confirmed_ago": (
            None if reports.confirmed_at is None else _seconds(at - reports.confirmed_at)
        ),
        "remote_lost": reports.remote_lost or 0,
        "remote_jitter": (
            None if reports.remote_jitter is None else reports.remote_jitter / seen.clock
        ),
        "round_trip": None if reports.round_trip is None else _seconds(reports.round_trip),
        "peer_sent": None if between is None else between[0],
        "received_meanwhile": 0 if between is None else between[1],
        "peer_sends_nothing": not reports.peer_sends,
    }


def _of_description(leg: Leg, index: int) -> dict[str, Any]:
    """What the peer's description says beside the agreement."""
    settled = None if leg.usage is None else leg.usage.negotiation.settled
    if settled is None:
        return {}
    described = settled.description.media[index]
    return {
        "peer_encrypts": described.section.encrypts,
        "port_zero": described.port == 0,
        "oddities": settled.description.oddities,
    }


def _reaches_less(address: Address, host: str) -> bool:
    """Whether a peer at ``host`` is further away than ``address`` can be reached from."""
    return address[0] != host and reach(address[0]) < reach(host)


def _covered(audio: StreamAgreement, octets: int) -> float:
    """Seconds of audio in ``octets`` of a codec with frames of one size."""
    per_frame: int = getattr(audio.codec, "frame_octets", 0)
    return round(octets / per_frame / 50, 3) if per_frame else 0.0


def _sends_silence(seen: Observed, at: int, begun: int) -> bool:
    if seen.echoes or not seen.counted["packets_sent"]:
        return False
    return not seen.has_source or at - max(seen.counted["sent_sound_at"], begun) >= 5 * SECOND


def _ack_missing(leg: Leg, lasted: int) -> bool:
    return leg.answer_repeated or (leg.state is SessionState.ANSWERED and lasted > _ACK_DUE)


def _ago(at: int, then: int, begun: int) -> float | None:
    return None if then < begun else _seconds(at - then)


def _seconds(nanoseconds: int) -> float:
    return round(nanoseconds // MILLISECOND / 1000, 3)
