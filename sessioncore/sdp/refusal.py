"""Why a description, a stream or a format is refused: the grounds, and a `Refusal` on one."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["Ground", "Refusal"]


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


class Refusal(NamedTuple):
    """A reason to refuse a description or a part of it."""

    ground: Ground
    text: str
