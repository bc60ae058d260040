"""Gathers the `Evidence` on one call for its verdict; the only place that knows where it lies."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sessioncore.media.formats import audio_codec
from sessioncore.media.listening import LOUD, SILENT, level_of
from sessioncore.media.playout import PHASE_NS
from sessioncore.media.stream import Observed
from sessioncore.rtp.audio_codec import FRAMES_PER_SECOND
from sessioncore.session.session import SessionState
from sessioncore.verdict import Evidence
from sessioncore.vocabulary import SECOND, StreamAgreement

if TYPE_CHECKING:
    from sessioncore.session.leg import Leg

__all__ = ["evidence_on"]

_ACK_DUE: Final = 2 * SECOND
"""So long after our 200 its ACK should have come, after two repeats (RFC 3261 13.3.1.4)."""
_AS_COUNTED: Final = (
    "late",
    "invalid",
    "rtcp_on_rtp",
    "unexpected",
    "unplayable",
    "other_sources",
    "held_back",
    "send_errors",
)
"""What has the same name in `Evidence` as in the bank."""
_as_counted: Final = itemgetter(*_AS_COUNTED)


def evidence_on(leg: Leg, now: int) -> Evidence:
    """What is known about the audio of ``leg``; ``now`` counts until its media ended."""
    media = leg.media
    stream, begun, agreement = media.counting, media.established_at, media.agreement
    if stream is None or begun is None or agreement is None:
        return Evidence(answered=leg.answered, over=leg.over)
    closed_at = media.closed_at
    at = now if closed_at is None else closed_at
    audio, seen = agreement.streams[0], stream.observed()
    values = {
        "answered": leg.answered,
        "over": closed_at is not None,
        "agreed_for": (at - begun) / SECOND,
        "receives": media.receives,
        "sends": media.sends,
        "held": media.held or (media.ran_both_ways and not media.both_ways),
        "direction": audio.direction,
        "ptime": audio.ptime / 1000,
        "payload_type": audio.receive_payload_type,
        "codec": audio.codec,
        "local": audio.local,
        "described": audio.remote,
        "remote": stream.remote,
        "signalling_host": media.signalling_host,
        "latched": stream.latched is not None,
        "stranger": stream.last_stranger,
        "strangers": stream.counted_strangers,
        "sending_for": None if stream.sends_since is None else (at - stream.sends_since) / SECOND,
        "refused": stream.refused,
        "refusing": stream.refuses(at),
        "source_ended": stream.source_ended,
        "ack_missing": leg.answer_repeated
        or (leg.state is SessionState.ANSWERED and at - begun > _ACK_DUE),
        "answer_changed": leg.answer_changed,
        "peer_gone": leg.peer_gone,
    }
    _add_counted(values, seen, audio, at, begun)
    if seen.reports is not None and seen.reports.received:
        _add_reports(values, seen, at)
    _add_described(values, leg, audio.index)
    return Evidence.of(values)


def _add_counted(
    values: dict[str, Any], seen: Observed, audio: StreamAgreement, at: int, begun: int
) -> None:
    """What was counted of the packets, both ways."""
    counted = seen.counted
    received, sent, peak = counted["packets_received"], counted["packets_sent"], counted["peak"]
    rtcp_at, missed = counted["rtcp_at"], seen.missed_phases
    silent = bool(sent) and seen.sends_silence(max(begun, at - SILENT))
    values |= {
        "received": received,
        "expected": seen.expected,
        "sent": sent,
        "comfort_noise": counted["noise_packets"],
        "kernel_drops": seen.kernel_drops,
        "transmitting": seen.transmitting,
        "source_is_silent": silent,
        "bridged_is_silent": silent and seen.is_fed,
        "rtcp_ago": None if rtcp_at < begun else (at - rtcp_at) / SECOND,
        "stalled_for": missed * PHASE_NS / SECOND,
    }
    values.update(zip(_AS_COUNTED, _as_counted(counted), strict=True))
    if received:
        octets = audio_codec(audio.codec).frame_octets
        values |= {
            "rtp_ago": (at - counted["heard_at"]) / SECOND,
            "jitter": seen.jitter / seen.clock,
            "covered": counted["octets_received"] / (FRAMES_PER_SECOND * octets),
            "level": level_of(peak),
            "sound_ago": (at - counted["sound_at"]) / SECOND if peak > LOUD else None,
            "pauses": counted["noise_level"] >= 0,
        }
    if counted["unexpected"]:
        values["unexpected_type"] = counted["unexpected_type"]


def _add_reports(values: dict[str, Any], seen: Observed, at: int) -> None:
    """What the peer reports in RTCP."""
    reports = seen.reports
    assert reports is not None
    between = reports.between_reports
    confirmed_at, jitter = reports.confirmed_at, reports.remote_jitter
    values |= {
        "reports": reports.received,
        "reports_without_us": reports.without_us,
        "confirmed": reports.confirmed,
        "confirmed_ago": None if confirmed_at is None else (at - confirmed_at) / SECOND,
        "remote_lost": reports.remote_lost or 0,
        "remote_jitter": None if jitter is None else jitter / seen.clock,
        "round_trip": None if reports.round_trip is None else reports.round_trip / SECOND,
        "peer_sent": None if between is None else between[0],
        "received_meanwhile": 0 if between is None else between[1],
        "peer_sends_nothing": not reports.peer_sends,
    }


def _add_described(values: dict[str, Any], leg: Leg, index: int) -> None:
    """What the peer's description says beside the agreement."""
    settled = None if leg.usage is None else leg.usage.negotiation.settled
    if settled is not None:
        described = settled.description.media[index]
        values["peer_encrypts"] = described.section.encrypts
        values["port_zero"] = described.port == 0
        values["oddities"] = settled.description.oddities
