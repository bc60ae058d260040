"""HEP version 3, in which a capture agent sends messages to a collector such as Homer.

A HEP packet is a list of chunks: vendor, type, length (2 bytes each) and value.  The chunks of
the generic vendor are those of the HEP3 specification, revision 12.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, Final

from zope.interface import implementer

from sessioncore.errors import RtpParseError
from sessioncore.interfaces import IMessageTap, IReportTap
from sessioncore.rtp.rtcp import (
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    parse_rtcp,
)
from sessioncore.vocabulary import Address
from sessioncore.watching.messages import call_id_of
from sessioncore.watching.pcapng import packed
from sessioncore.watching.redaction import redacted
from sessioncore.watching.wall_clock import WallClock

__all__ = ["RTCP", "SIP", "HepTap", "hep_packet", "report_json"]

SIP, RTCP = 1, 5
"""The protocol types of a payload; that of RTCP is JSON."""
_MOST: Final = 0xFFFF
_IPV4, _IPV6 = 2, 10
_PROTOCOLS: Final = {"UDP": 17, "SCTP": 132, "TLS-SCTP": 132}
"""IP protocol numbers; all other transports of SIP run over TCP."""
_TCP: Final = 6


def _chunk(kind: int, value: bytes) -> bytes:
    return struct.pack(">HHH", 0, kind, 6 + len(value)) + value


def hep_packet(
    payload: bytes,
    source: Address,
    destination: Address,
    *,
    transport: str,
    wall: int,
    agent: int,
    password: bytes = b"",
    correlation: bytes = b"",
    protocol: int = SIP,
) -> bytes | None:
    """One packet; None if it would be longer than HEP allows (65,535 bytes).

    ``wall`` is in ns since 1970, ``agent`` the number of the capture agent, ``correlation`` what
    belongs together (the Call-ID).
    """
    begin, end = packed(source[0]), packed(destination[0])
    if len(begin) != len(end):
        begin, end = (each.rjust(16, b"\0") for each in (begin, end))
    ipv6 = len(begin) == 16
    seconds, rest = divmod(wall, 1_000_000_000)
    chunks = [
        _chunk(1, struct.pack(">B", _IPV6 if ipv6 else _IPV4)),
        _chunk(2, struct.pack(">B", _PROTOCOLS.get(transport, _TCP))),
        _chunk(5 if ipv6 else 3, begin),
        _chunk(6 if ipv6 else 4, end),
        _chunk(7, struct.pack(">H", source[1])),
        _chunk(8, struct.pack(">H", destination[1])),
        _chunk(9, struct.pack(">I", seconds)),
        _chunk(10, struct.pack(">I", rest // 1000)),
        _chunk(11, struct.pack(">B", protocol)),
        _chunk(12, struct.pack(">I", agent)),
    ]
    if password:
        chunks.append(_chunk(14, password))
    if correlation:
        chunks.append(_chunk(17, correlation))
    if sum(map(len, chunks)) + 12 + len(payload) > _MOST:
        return None
    packet = b"".join([*chunks, _chunk(15, payload)])
    return b"HEP3" + struct.pack(">H", 6 + len(packet)) + packet


def report_json(data: bytes) -> bytes | None:
    """RTCP as the collectors of HEP read it; None if it is not RTCP, or has no report.

    The names are those of the capture agents of the field: Homer shows them and draws curves of
    them, and of raw RTCP neither.
    """
    try:
        packets = parse_rtcp(data)
    except RtpParseError:
        return None
    made: dict[str, Any] = {}
    for each in packets:
        if isinstance(each, SenderReport | ReceiverReport):
            made |= _report(each)
        elif isinstance(each, SourceDescription) and each.chunks:
            made["sdes_ssrc"] = each.chunks[0][0]
    return json.dumps(made, separators=(",", ":")).encode() if "type" in made else None


def _report(report: SenderReport | ReceiverReport) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": 200 if isinstance(report, SenderReport) else 201,
        "ssrc": report.ssrc,
        "report_count": len(report.blocks),
        "report_blocks": [_block(block) for block in report.blocks],
    }
    if isinstance(report, SenderReport):
        sender = report.sender
        made["sender_information"] = {
            "ntp_timestamp_sec": sender.ntp >> 32,
            "ntp_timestamp_usec": sender.ntp & 0xFFFFFFFF,
            "rtp_timestamp": sender.rtp_timestamp,
            "packets": sender.packets,
            "octets": sender.octets,
        }
    return made


def _block(block: ReportBlock) -> dict[str, int]:
    return {
        "source_ssrc": block.ssrc,
        "fraction_lost": block.fraction_lost,
        "packets_lost": block.cumulative_lost,
        "highest_seq_no": block.highest_sequence,
        "ia_jitter": block.jitter,
        "lsr": block.last_sr,
        "dlsr": block.delay_since_last_sr,
    }


@implementer(IMessageTap, IReportTap)
class HepTap:
    """Sends each SIP message, without its secrets, and all RTCP to a collector.

    ``send`` takes one datagram, must not block, and counts what it cannot send.  ``too_long``
    counts the messages that do not fit into a HEP packet.
    """

    def __init__(
        self,
        send: Callable[[bytes], object],
        clock: WallClock,
        agent: int,
        password: bytes = b"",
    ) -> None:
        self.too_long = 0
        self._send = send
        self._clock = clock
        self._agent = agent
        self._password = password

    def message(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        transport: str,
        sent: bool,
        at: int,
    ) -> None:
        """Send one message."""
        self._export(
            redacted(data),
            source,
            destination,
            at,
            transport=transport,
            correlation=call_id_of(data),
        )

    def report(
        self, data: bytes, source: Address, destination: Address, sent: bool, at: int, call_id: str
    ) -> None:
        """Send one RTCP packet as JSON, unless it is none."""
        payload = report_json(data)
        if payload is not None:
            correlation = call_id.encode("utf-8", "replace")
            self._export(payload, source, destination, at, correlation=correlation, protocol=RTCP)

    def _export(
        self,
        payload: bytes,
        source: Address,
        destination: Address,
        at: int,
        *,
        correlation: bytes,
        transport: str = "UDP",
        protocol: int = SIP,
    ) -> None:
        packet = hep_packet(
            payload,
            source,
            destination,
            transport=transport,
            wall=self._clock.ns(at),
            agent=self._agent,
            password=self._password,
            correlation=correlation,
            protocol=protocol,
        )
        if packet is None:
            self.too_long += 1
        else:
            self._send(packet)
