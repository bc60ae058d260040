"""The terms that all parts of the package share: roles, states, directions, codecs, reasons.

They are plain values without behaviour, so ``sip``, ``sdp``, ``rtp`` and ``media`` can share
them without importing one another.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from functools import cached_property
from typing import Final, TypeAlias

from attrs import frozen

__all__ = [
    "COMFORT_NOISE",
    "MILLISECOND",
    "SECOND",
    "TELEPHONE_EVENT",
    "Address",
    "Codec",
    "Direction",
    "EndReason",
    "EndedBy",
    "MediaState",
    "NegotiatedMedia",
    "SessionRole",
    "StreamAgreement",
    "host_port",
]

Address: TypeAlias = tuple[str, int]
"""An IP address literal (no brackets, no host name) and a port."""


def host_port(host: str, port: int | None) -> str:
    """``192.0.2.1:5060`` or ``[2001:db8::1]:5060`` (RFC 5952 section 6), without a zone.

    SIP uses the same form (``hostport`` of RFC 3261 section 25.1), where the port is optional.
    """
    if ":" in host:
        host = f"[{host.partition('%')[0]}]"
    return host if port is None else f"{host}:{port}"


MILLISECOND: Final = 1_000_000
"""One millisecond in the integer nanoseconds that every ``now`` is given in."""
SECOND: Final = 1_000_000_000
"""One second in the integer nanoseconds that every ``now`` is given in."""


class SessionRole(Enum):
    """Who sent the INVITE.  Known from the first event to the last and never changed."""

    UAC = "UAC"
    UAS = "UAS"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


class MediaState(Enum):
    """The media state of a session; the same machine for both roles."""

    IDLE = "Idle"
    NEGOTIATING = "Negotiating"
    READY = "Ready"
    ESTABLISHED = "Established"
    ACTIVE = "Active"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


class Direction(IntEnum):
    """The direction of RFC 3264 section 5.1 as this side sees it; bit 1 sends, bit 2 receives."""

    INACTIVE = 0
    SENDONLY = 1
    RECVONLY = 2
    SENDRECV = 3

    sends: bool
    """Whether this side may send."""
    receives: bool
    """Whether this side may receive."""

    def __init__(self, bits: int) -> None:
        self.sends = bool(bits & 1)
        self.receives = bool(bits & 2)

    @property
    def mirrored(self) -> Direction:
        """The same agreement as the other side sees it."""
        return _MIRRORED[self]

    def __str__(self) -> str:
        return _DIRECTIONS[self]


_DIRECTIONS: Final = tuple(direction.name.lower() for direction in Direction)
_MIRRORED: Final = tuple(Direction((each & 1) << 1 | (each & 2) >> 1) for each in Direction)


@frozen(cache_hash=True)
class Codec:
    """An RTP payload format as SDP names it: encoding name, RTP clock rate in Hz, channels.

    ``payload_type`` is the static type of RFC 3551 table 4, or the dynamic one to propose.
    ``fmtp`` is the value of ``a=fmtp`` in our descriptions.  The subclass
    `sessioncore.rtp.audio_codec.AudioCodec` adds encoding and decoding.
    """

    name: str
    payload_type: int
    clock_rate: int = 8000
    channels: int = 1
    fmtp: str = ""

    def __str__(self) -> str:
        return f"{self.name}/{self.clock_rate}"


COMFORT_NOISE: Final = Codec("CN", 13)
TELEPHONE_EVENT: Final = Codec("telephone-event", 101, fmtp="0-15")


@frozen(slots=False)
class StreamAgreement:
    """The agreement on one m-line (RFC 3264), as this side sees it.

    The peer chose the ``send_*`` payload types and we chose the ``receive_*`` ones; RFC 3264
    section 5.1 lets them differ.  ``remote`` is where the peer wants RTP, or None if it named
    no usable address (port 0, ``0.0.0.0``).  ``ptime`` is in ms.
    """

    codec: Codec
    send_payload_type: int
    receive_payload_type: int
    local: Address
    remote: Address | None
    remote_rtcp: Address | None
    direction: Direction
    ptime: int = 20
    send_dtmf_payload_type: int | None = None
    receive_dtmf_payload_type: int | None = None
    send_comfort_noise_payload_type: int | None = None
    receive_comfort_noise_payload_type: int | None = None
    other_receive_payload_types: tuple[tuple[int, Codec], ...] = ()
    """Further formats the peer may switch to without asking (RFC 3264 section 6.1)."""
    index: int = 0
    """The index of the m-line in the description, from 0."""

    @property
    def sends(self) -> bool:
        """Whether this side sends and has an address to send to."""
        return self.direction.sends and self.remote is not None

    @property
    def receives(self) -> bool:
        """Whether this side receives."""
        return self.direction.receives


@frozen(slots=False)
class NegotiatedMedia:
    """The result of one offer/answer exchange; today one audio stream carries the call."""

    streams: tuple[StreamAgreement, ...]

    @property
    def audio(self) -> StreamAgreement:
        """The audio stream that carries the call."""
        return self.streams[0]

    def __str__(self) -> str:
        audio = self.streams[0]
        remote = "nowhere" if audio.remote is None else host_port(*audio.remote)
        return (
            f"{audio.codec!s} {audio.direction!s} {host_port(*audio.local)} <-> {remote}"
            f" ptime {audio.ptime} ms"
        )


class EndedBy(Enum):
    """Who or what ended a call."""

    LOCAL = "local"
    REMOTE = "remote"
    NETWORK = "network"
    TIMEOUT = "timeout"
    ERROR = "error"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


@frozen(slots=False)
class EndReason:
    """Why a call ended: who ended it, the SIP status, the Q.850 cause, and a readable text.

    ``status`` is the final status that ended an unanswered call, or None after a BYE.
    ``cause`` is the Q.850 cause value (RFC 3326, table of RFC 4497), or None if none applies.
    ``reasons`` say why a description was refused, format by format.  ``required`` are the
    extensions without which the peer refuses calls (421), ``realms`` those in which it wants a
    password (401, 407).
    """

    by: EndedBy
    text: str
    status: int | None = None
    cause: int | None = None
    reasons: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    realms: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        # Most calls end for the same few reasons, and each text is needed twice.
        status = "" if self.status is None else f" {self.status}"
        cause = "" if self.cause is None else f" (Q.850 {self.cause})"
        return f"{self.by.value}{status}: {self.text}{cause}"
