"""The explanation of an offer or an answer, as values: what was made of each part, and why.

They are made in `sessioncore.sdp.explanation`.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import attrs
from attrs import frozen

from sessioncore.vocabulary import Address, Direction, StreamAgreement, host_port

__all__ = ["ExplainedFormat", "ExplainedMedia", "Explanation", "Ground", "Use"]


class Ground(Enum):
    """The rule that something in a description breaks: its name, RFC section and warning code.

    ``warning_code`` is the code of the Warning header field (RFC 3261 section 20.43).
    """

    MEDIA_KIND = ("media-kind", "RFC 3264 section 6", 304)
    """The stream is not audio."""
    PORT_ZERO = ("port-zero", "RFC 3264 section 6", 304)
    """The stream is not offered, or is refused: its port is 0."""
    ONE_STREAM = ("one-stream", "RFC 3264 section 6", 304)
    """An m-line before this one carries the call, which has one audio stream."""
    PROFILE = ("profile", "RFC 3264 section 5.1", 302)
    """The stream is not plain RTP (``RTP/AVP``)."""
    PORT_COUNT = ("port-count", "RFC 8866 section 5.14", 302)
    """The stream is spread over several ports."""
    FORMAT_NUMBER = ("format-number", "RFC 3551 section 6", 305)
    """The format is not an RTP payload type from 0 to 127."""
    ENCODING_NAME = ("encoding-name", "RFC 8866 section 6.6", 305)
    """The encoding name is longer than any in use."""
    NO_RTPMAP = ("no-rtpmap", "RFC 8866 section 6.6", 305)
    """The number has no fixed meaning, and no ``a=rtpmap`` gives it one."""
    CODEC = ("codec", "RFC 3264 section 6.1", 305)
    """We do not have the codec, or not with this clock rate or number of channels."""
    NO_CODEC = ("no-codec", "RFC 3264 section 6.1", 305)
    """None of the formats is an audio codec."""
    PACKET_LENGTH = ("packet-length", "RFC 8866 section 6.4", 306)
    """The peer accepts only packets that are shorter than any that we send."""
    NETWORK_TYPE = ("network-type", "RFC 8866 section 5.7", 300)
    """The connection is not of the Internet."""
    ADDRESS_FAMILY = ("address-family", "RFC 8866 section 5.7", 301)
    """The address is of the other IP version than ``c=`` says, or than our own address."""
    HOST_NAME = ("host-name", "RFC 8866 section 5.7", 301)
    """A host name, or an address with a zone, stands in place of an IP address."""
    MULTICAST = ("multicast", "RFC 3264 section 5.2", 330)
    """Media would go to a multicast group."""
    BROADCAST = ("broadcast", "RFC 1122 section 3.2.1.3", 399)
    """Media would go to every host of a network."""
    NOT_A_HOST = ("not-a-host", "RFC 1122 section 3.2.1.3", 399)
    """The address cannot be that of a host."""
    LOOPBACK = ("loopback", "RFC 1122 section 3.2.1.3", 399)
    """The address is a loopback address, and the peer is on another machine."""
    LOW_PORT = ("low-port", "RFC 6335 section 6", 399)
    """The port belongs to the services of a host."""
    OWN_SIP_SOCKET = ("own-sip-socket", "RFC 3264 section 5.1", 399)
    """Media would go to our own socket for SIP."""
    OWN_PORT = ("own-port", "RFC 3264 section 5.1", 399)
    """Media would go to the port on which this stream receives."""

    __hash__ = object.__hash__

    def __init__(self, label: str, section: str, warning_code: int) -> None:
        self.label = label
        self.section = section
        self.warning_code = warning_code

    def __str__(self) -> str:
        return self.label


class Use(Enum):
    """What becomes of a format."""

    SENT = "sent"
    """The call begins with it."""
    ACCEPTED = "accepted"
    """It may come at any time: digits, comfort noise, a codec to switch to."""
    IGNORED = "ignored"
    """It plays no part in the call."""

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


@frozen(slots=False)
class ExplainedFormat:
    """One format of an m-line, what becomes of it, and why.

    ``encoding`` is its meaning (``PCMU/8000``), or None if it has none; ``static`` says that RFC
    3551 gives it that meaning and not an ``a=rtpmap``.  ``fmtp`` is its ``a=fmtp``, or None if
    there is none or the text of the description is not there any more.
    """

    number: str
    encoding: str | None
    static: bool
    fmtp: str | None
    use: Use
    text: str
    ground: Ground | None = None

    def __str__(self) -> str:
        meaning = self.encoding or "no meaning"
        return f"{self.number} {meaning}: {self.use}: {self.text}"


@frozen(slots=False)
class ExplainedMedia:
    """One m-line, whether it carries the call, and why or why not.

    ``index`` counts from 0.  ``reasons`` are all that speak against an m-line that is refused,
    ``ground`` is the first of them.  ``remote`` and ``remote_rtcp`` are where media to this side
    goes, or None.  ``direction`` is the agreed one as the side that reads the description sees
    it.  The texts that end in ``_text`` say why.
    """

    index: int
    kind: str
    protocol: str
    port: int
    accepted: bool
    text: str
    formats: tuple[ExplainedFormat, ...] = ()
    reasons: tuple[str, ...] = ()
    ground: Ground | None = None
    remote: Address | None = None
    remote_rtcp: Address | None = None
    rtcp_text: str = ""
    direction: Direction | None = None
    direction_text: str = ""
    ptime: int | None = None
    ptime_text: str = ""
    dtmf_payload_type: int | None = None

    def __str__(self) -> str:
        verdict = "accepted" if self.accepted else "refused"
        return f"m-line {self.index + 1} {self.kind} {self.port}: {verdict}: {self.text}"


@frozen(slots=False)
class Explanation:
    """What was made of an offer, or of the answer to one.

    ``problem`` says why the description as a whole cannot be used, or is None.  ``agreement`` is
    what the description leads to, or None if nothing in it is acceptable.  ``oddities`` are as in
    `Description`.
    """

    is_answer: bool
    media: tuple[ExplainedMedia, ...]
    agreement: StreamAgreement | None
    problem: str | None = None
    oddities: tuple[str, ...] = ()

    @property
    def accepted(self) -> ExplainedMedia | None:
        """The m-line that carries the call, or None."""
        return next((media for media in self.media if media.accepted), None)

    def as_dict(self) -> dict[str, Any]:
        """The explanation as plain values that can be written as JSON."""
        kind = "answer" if self.is_answer else "offer"
        return {
            "kind": kind,
            "accepted": self.accepted is not None,
            "problem": self.problem,
            "oddities": list(self.oddities),
            "media": [_plain(media) for media in self.media],
        }

    def __str__(self) -> str:
        lines = [self.problem] if self.problem else []
        for media in self.media:
            lines.append(str(media))
            lines += [f"  {each}" for each in media.formats]
            lines += [f"  {name}: {text}" for name, text in _aspects(media)]
        lines += [f"odd: {each}" for each in self.oddities]
        return "\n".join(lines)


def _aspects(media: ExplainedMedia) -> list[tuple[str, str]]:
    """The other texts of an m-line that is accepted, with their names."""
    if not media.accepted:
        return []
    dtmf = media.dtmf_payload_type
    return [
        ("direction", f"{media.direction}: {media.direction_text}"),
        ("packets", f"{media.ptime} ms: {media.ptime_text}"),
        ("RTP to", "nowhere" if media.remote is None else host_port(*media.remote)),
        ("RTCP to", media.rtcp_text),
        ("digits", "none in RTP" if dtmf is None else f"payload type {dtmf}"),
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, (Enum, Direction)):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, (ExplainedMedia, ExplainedFormat)):
        return {each.name: _plain(getattr(value, each.name)) for each in attrs.fields(type(value))}
    return value
