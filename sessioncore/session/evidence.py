"""Gathers the `Evidence` on one call for its verdict; the only place that knows where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sessioncore.media.formats import audio_codec
from sessioncore.media.listening import LOUD, level_of
from sessioncore.media.received import Received, Sent
from sessioncore.media.reports import Reports
from sessioncore.session.session import SessionState
from sessioncore.verdict import Evidence
from sessioncore.vocabulary import SECOND, StreamAgreement

if TYPE_CHECKING:
    from sessioncore.session.leg import Leg

__all__ = ["evidence_on"]

_ACK_DUE: Final = 2 * SECOND
"""So long after our 200 its ACK should have come, after two repeats (RFC 3261 13.3.1.4)."""
_SILENT: Final = 5 * SECOND
_PHASES: Final = 200
"""Phases of the media clock in a second."""
_FRAMES: Final = 50


def evidence_on(leg: Leg, now: int) -> Evidence:
    """What is known about the audio of ``leg``; ``now`` counts until its media ended."""
    media = leg.media
    stream, begun, agreement = media.counting, media.established_at, media.agreement
    if stream is None or begun is None or agreement is None:
        return Evidence(answered=leg.answered, over=leg.over)
    closed_at = media.closed_at
    at = now if closed_at is None else closed_at
    audio, sending, peer = agreement.streams[0], stream.sending, stream.peer
    received, sent = stream.counted()
    since = sending.since
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
        "remote": sending.remote,
        "signalling_host": media.signalling_host,
        "latched": peer.latched is not None,
        "stranger": peer.stranger,
        "strangers": peer.strangers,
        "sending_for": None if since is None else (at - since) / SECOND,
        "refused": sending.refused,
        "refusing": sending.refused > 0 and stream.refuses(at),
        "source_ended": stream.source_ended,
        "ack_missing": leg.answer_repeated
        or (leg.state is SessionState.ANSWERED and at - begun > _ACK_DUE),
        "answer_changed": leg.answer_changed,
        "peer_gone": leg.peer_gone,
    }
    _add_received(values, received, audio, at, begun)
    _add_sent(values, sent, max(begun, at - _SILENT))
    if stream.reports is not None and stream.reports.received:
        _add_reports(values, stream.reports, received.clock, at)
    _add_described(values, leg, audio.index)
    return Evidence.of(values)


def _add_received(
    values: dict[str, Any], received: Received, audio: StreamAgreement, at: int, begun: int
) -> None:
    """What was counted of the packets that came."""
    packets, rtcp_at, peak = received.packets_received, received.rtcp_at, received.peak
    values |= {
        "received": packets,
        "expected": received.expected,
        "late": received.late,
        "invalid": received.invalid,
        "rtcp_on_rtp": received.rtcp_on_rtp,
        "unexpected": received.unexpected,
        "unplayable": received.unplayable,
        "other_sources": received.other_sources,
        "comfort_noise": received.noise_packets,
        "kernel_drops": received.kernel_drops,
        "stalled_for": received.missed_phases / _PHASES,
        "rtcp_ago": None if rtcp_at < begun else (at - rtcp_at) / SECOND,
    }
    if packets:
        octets = audio_codec(audio.codec).frame_octets
        values |= {
            "rtp_ago": (at - received.heard_at) / SECOND,
            "jitter": received.jitter / received.clock,
            "covered": received.octets_received / (_FRAMES * octets),
            "level": level_of(peak),
            "sound_ago": (at - received.sound_at) / SECOND if peak > LOUD else None,
            "pauses": received.noise_level >= 0,
        }
    if received.unexpected:
        values["unexpected_type"] = received.unexpected_type


def _add_sent(values: dict[str, Any], sent: Sent, since: int) -> None:
    """What was counted of the packets that left; ``since`` is what is judged of its sound."""
    packets = sent.packets_sent
    silent = bool(packets) and sent.is_silence(since)
    values |= {
        "sent": packets,
        "held_back": sent.held_back,
        "send_errors": sent.send_errors,
        "transmitting": sent.transmitting,
        "source_is_silent": silent,
        "bridged_is_silent": silent and sent.is_fed,
    }


def _add_reports(values: dict[str, Any], reports: Reports, clock: int, at: int) -> None:
    """What the peer reports in RTCP; ``clock`` is RTP's in Hz."""
    between = reports.between_reports
    confirmed_at, jitter = reports.confirmed_at, reports.remote_jitter
    values |= {
        "reports": reports.received,
        "reports_without_us": reports.without_us,
        "confirmed": reports.confirmed,
        "confirmed_ago": None if confirmed_at is None else (at - confirmed_at) / SECOND,
        "remote_lost": reports.remote_lost or 0,
        "remote_jitter": None if jitter is None else jitter / clock,
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
