"""RFC 8866 session descriptions: bytes in, typed values out, every byte kept.

`parse_description` either returns a `Description` or raises `SdpParseError`.  A description
is immutable, its ``bytes()`` are what was parsed, byte for byte, unknown lines included.
More liberal than the RFC where the field demands it: LF line ends, a missing last line end,
trailing blank lines, lines out of order and unknown type letters are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from sessioncore.errors import SdpParseError
from sessioncore.vocabulary import Direction

__all__ = [
    "MAX_BODY",
    "MAX_FORMATS",
    "MAX_LINES",
    "MAX_LINE_LENGTH",
    "MAX_MEDIA",
    "Attribute",
    "Connection",
    "Description",
    "Encodings",
    "MediaDescription",
    "MediaLines",
    "Origin",
    "RtcpAttribute",
    "RtpMap",
    "parse_description",
]

MAX_BODY: Final = 65_535
MAX_LINES: Final = 1_000
MAX_LINE_LENGTH: Final = 4_096
MAX_MEDIA: Final = 32
MAX_FORMATS: Final = 64
# Media sections up to this many bytes are worth remembering (see `_media_lines`).
_REMEMBERED: Final = 1_024

_TOKEN = rb"[!#-'*+\-.0-9A-Z^-~]+"
_MEDIA_LINE = re.compile(
    rb"(%b) ([0-9]{1,5})(?:/([0-9]{1,5}))? (%b(?:/%b)*)((?: +[!-~]+)*) *" % (_TOKEN, _TOKEN, _TOKEN)
)
_TIME = re.compile(rb"[0-9]{1,20} [0-9]{1,20} *")
_CONNECTION = re.compile(rb"([!-~]+) ([!-~]+) ([!-.0-~]+)((?:/[0-9]{1,5}){0,2}) *")
_RTPMAP = re.compile(rb"([0-9]{1,3}) +(%b)/([0-9]{1,6})(?:/([0-9]{1,3}))? *" % _TOKEN)
_RTCP = re.compile(rb"([0-9]{1,5})(?: ([!-~]+ [!-~]+ [!-~]+))? *")
_MILLISECONDS = re.compile(rb"([0-9]{1,4})(?:\.[0-9]{1,6})? *")
# Possessive, so that what does not match fails in one pass; atomic inside, because Python up to
# 3.11.4 loses its place where the last turn of a possessive group fails.
_TEXT = rb"[^\0\r\n]*+"
_KEPT = rb"(?>\r\n[iuepbzrk]=%b)*+" % _TEXT
_USUAL = re.compile(
    rb"v=0\r\no=([!-~]++ [0-9]{1,20} [0-9]{1,20} [!-~]++ [!-~]++ [!-~]++)\r\ns=%b%b"
    rb"(?>\r\nc=(%b))?+%b\r\nt=([0-9]{1,20} [0-9]{1,20})((?>\r\na=%b)*+)"
    rb"\r\nm=(audio ([1-9][0-9]{0,4}) RTP/AVP((?> [!-~]++){1,%d}+))"
    rb"((?>\r\n[^\0\r\n]++)*+)(?>\r\n)*+" % (_TEXT, _KEPT, _TEXT, _KEPT, _TEXT, MAX_FORMATS)
)
"""What most descriptions are: audio first, and the lines in the order of RFC 8866."""
_ONCE: Final = (b"o=", b"s=", b"c=")
_DIRECTIONS: Final = {
    b"sendrecv": Direction.SENDRECV,
    b"sendonly": Direction.SENDONLY,
    b"recvonly": Direction.RECVONLY,
    b"inactive": Direction.INACTIVE,
}

_SENDRECV: Final = Direction.SENDRECV

Attribute = tuple[bytes, bytes | None]
"""An ``a=`` line: name, and the value after the colon or None."""


class Origin(NamedTuple):
    """The ``o=`` line (RFC 8866 section 5.2)."""

    username: bytes
    session_id: int
    version: int
    nettype: bytes
    addrtype: bytes
    address: bytes


class Connection(NamedTuple):
    """A ``c=`` line (RFC 8866 section 5.7); ``suffix`` is ``/ttl/count`` of multicast."""

    nettype: bytes
    addrtype: bytes
    address: bytes
    suffix: bytes = b""


class RtpMap(NamedTuple):
    """An ``a=rtpmap`` line (RFC 8866 section 6.6): clock rate in Hz."""

    name: bytes
    clock_rate: int
    channels: int

    def __str__(self) -> str:
        channels = "" if self.channels == 1 else f"/{self.channels}"
        return f"{self.name.decode('ascii')}/{self.clock_rate}{channels}"


class RtcpAttribute(NamedTuple):
    """An ``a=rtcp`` line (RFC 3605)."""

    port: int
    connection: Connection | None


class Encodings:
    """The ``a=rtpmap`` lines of a section; shared like `MediaLines`, so compared by identity.

    ``remembered`` says whether equal lines are likely to give this same object again.
    """

    __slots__ = ("by_format", "remembered")

    def __init__(self, text: bytes) -> None:
        # Malformed ones are left out: RFC 4475's own bodies say "a=rtpmap:31 LPC".
        self.remembered = len(text) <= _REMEMBERED
        self.by_format: dict[bytes, RtpMap] = {}
        for value in text.split(b"\n"):
            if match := _RTPMAP.fullmatch(value):
                number, encoding, rate, channels = match.groups()
                self.by_format.setdefault(number, RtpMap(encoding, int(rate), int(channels or 1)))


class MediaLines:
    """What stands below one ``m=`` line; shared by all descriptions that say the same.

    ``connection`` (the first), ``direction``, ``ptime`` and ``maxptime`` (ms) are None where
    the section says nothing.
    """

    __slots__ = (
        "attributes",
        "connection",
        "direction",
        "encodings",
        "lines",
        "maxptime",
        "ptime",
        "rtcp",
    )

    def __init__(self, text: bytes) -> None:
        self.lines: tuple[bytes, ...] = tuple(text.split(b"\r\n")) if text else ()
        self.connection: Connection | None = None
        attributes: list[Attribute] = []
        said: dict[bytes, bytes] = {}
        for line in self.lines:
            kind = line[:2]
            if kind == b"a=":
                attribute = name, value = _attribute(line)
                attributes.append(attribute)
                said.setdefault(name, value or b"")
            elif kind == b"c=":
                connection = _connection(line[2:])
                self.connection = self.connection or connection
            else:
                _check_other(line, _NOT_IN_MEDIA)
        self.attributes = tuple(attributes)
        self.encodings = _encodings(self.lines) if b"rtpmap" in said else _NO_ENCODINGS
        self.direction = _direction(attributes)
        self.ptime = _milliseconds(said.get(b"ptime"))
        self.maxptime = _milliseconds(said.get(b"maxptime"))
        self.rtcp = _rtcp(said[b"rtcp"]) if b"rtcp" in said else None


class MediaDescription:
    """One ``m=`` line and what stands below it.

    ``connection`` and ``direction`` are the section's own or else the session's;
    ``direction`` is as the author of the description sees it.
    """

    __slots__ = (
        "below",
        "connection",
        "direction",
        "formats_text",
        "kind",
        "line",
        "port",
        "port_count",
        "protocol",
    )

    def __init__(
        self,
        line: bytes,
        kind: bytes,
        port: int,
        port_count: int,
        protocol: bytes,
        formats_text: bytes,
        below: MediaLines,
        connection: Connection | None,
        direction: Direction,
    ) -> None:
        self.line = line
        self.kind = kind
        self.port = port
        self.port_count = port_count
        self.protocol = protocol
        self.formats_text = formats_text
        self.below = below
        self.connection = below.connection or connection
        self.direction = direction if below.direction is None else below.direction

    @property
    def formats(self) -> tuple[bytes, ...]:
        """The formats of the ``m=`` line in order."""
        return tuple(self.formats_text.split())

    @property
    def lines(self) -> tuple[bytes, ...]:
        """All lines of the section, the ``m=`` line first."""
        return (b"m=" + self.line, *self.below.lines)

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The ``a=`` lines in order."""
        return self.below.attributes

    @property
    def ptime(self) -> int | None:
        """Packet length in ms the author would like to receive."""
        return self.below.ptime

    @property
    def maxptime(self) -> int | None:
        """Longest packet in ms the author can receive."""
        return self.below.maxptime

    @property
    def rtcp(self) -> RtcpAttribute | None:
        """Where RTCP goes if not to the next port (RFC 3605)."""
        return self.below.rtcp

    def rtpmap(self) -> Mapping[bytes, RtpMap]:
        """Format → encoding; malformed ``a=rtpmap`` lines are left out."""
        return self.below.encodings.by_format

    def fmtp(self) -> Mapping[bytes, bytes]:
        """Format → format parameters."""
        found: dict[bytes, bytes] = {}
        for name, value in self.below.attributes:
            if name == b"fmtp" and value is not None:
                number, _, parameters = value.partition(b" ")
                found.setdefault(number, parameters.strip())
        return found


class Description:
    """A session description; ``bytes()`` gives back exactly what was parsed."""

    __slots__ = ("_raw", "connection", "media", "origin_line", "times")

    def __init__(
        self,
        raw: bytes,
        origin_line: bytes,
        times: tuple[bytes, ...],
        connection: Connection | None,
        media: tuple[MediaDescription, ...],
    ) -> None:
        self._raw = raw
        self.origin_line = origin_line
        self.times = times
        self.connection = connection
        self.media = media

    @property
    def lines(self) -> tuple[bytes, ...]:
        """The lines above the first ``m=`` line."""
        return tuple(_sections(self._raw)[0].split(b"\r\n"))

    @property
    def origin(self) -> Origin:
        """The ``o=`` line."""
        return _origin(self.origin_line)

    @property
    def name(self) -> bytes:
        """The value of the ``s=`` line."""
        return next(line[2:] for line in self.lines if line[:2] == b"s=")

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The session's own ``a=`` lines in order."""
        return _attributes(self.lines)

    def __bytes__(self) -> bytes:
        return self._raw

    def __repr__(self) -> str:
        return f"<Description o={_shown(self.origin_line)} of {len(self.media)} m-lines>"


def parse_description(body: bytes) -> Description:
    """Read a session description; raises `SdpParseError`, and nothing else."""
    usual = _USUAL.fullmatch(body) if len(body) <= _REMEMBERED else None
    if usual is None:
        return _read(body)
    origin_line, where, times, attributes, line, digits, formats, rest = usual.groups()
    direction = _session_direction(attributes.split(b"\r\n")) if attributes else _SENDRECV
    session = None if where is None else _connection(where)
    below, *others = rest.split(b"\r\nm=")
    lines = _media_lines(below[2:])
    port = int(digits)
    if port > 65_535 or not (session or lines.connection):
        return _read(body)  # which says what is wrong
    media: tuple[MediaDescription, ...] = (
        MediaDescription(line, b"audio", port, 1, b"RTP/AVP", formats, lines, session, direction),
    )
    if others:
        if len(others) >= MAX_MEDIA:
            return _read(body)
        media += tuple([_read_media(text, session, direction) for text in others])
    return Description(body, origin_line, (times,), session, media)


def _read(body: bytes) -> Description:
    """Read any description, line by line."""
    head, *sections = _sections(body)
    lines = head.split(b"\r\n")
    if lines[0] != b"v=0":
        begun = bool(head)
        raise SdpParseError("it does not begin with v=0" if begun else "no description")
    once = _read_lines(lines)
    for kind in (b"o=", b"s=", b"t="):
        if kind not in once:
            raise SdpParseError(f"no {kind.decode()} line")
    origin_line = once[b"o="]
    _origin(origin_line)
    times = tuple([line[2:] for line in lines if line[:2] == b"t="])
    connection = _connection(once[b"c="]) if b"c=" in once else None
    direction = _session_direction(lines)
    media = tuple([_read_media(text, connection, direction) for text in sections])
    return Description(body, origin_line, times, connection, media)


def _sections(body: bytes) -> list[bytes]:
    """The session's lines, then those of each m-line, without its ``m=``."""
    if len(body) > MAX_BODY:
        raise SdpParseError(f"a description of more than {MAX_BODY} bytes")
    text = _with_crlf(body)
    count = text.count(b"\n")
    if count >= MAX_LINES:
        raise SdpParseError(f"a description of more than {MAX_LINES} lines")
    if text.count(b"\r\n") != count or text.count(b"\r") != count or b"\0" in text:
        raise SdpParseError("a carriage return or NUL inside a line")
    text = text.rstrip(b"\r\n")
    if len(text) > MAX_LINE_LENGTH and max(map(len, text.split(b"\r\n"))) > MAX_LINE_LENGTH:
        raise SdpParseError(f"a line of more than {MAX_LINE_LENGTH} bytes")
    sections = text.split(b"\r\nm=")
    if len(sections) > MAX_MEDIA + 1:
        raise SdpParseError(f"more than {MAX_MEDIA} m= lines")
    return sections


def _with_crlf(body: bytes) -> bytes:
    if body.count(b"\r\n") == body.count(b"\n"):
        return body
    # RFC 8866 section 5: parsers should also accept lines that end in LF alone.
    return body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


_media_lines = lru_cache(maxsize=512)(MediaLines)
"""What stands below an m= line is mostly the same from call to call; remember the short ones."""
_remembered_encodings = lru_cache(maxsize=512)(Encodings)
"""And where it is not (SSRC, candidates), at least the formats are."""
_NO_ENCODINGS: Final = Encodings(b"")


def _encodings(lines: tuple[bytes, ...]) -> Encodings:
    text = b"\n".join([line[9:] for line in lines if line[:9] == b"a=rtpmap:"])
    return _remembered_encodings(text) if len(text) <= _REMEMBERED else Encodings(text)


def _read_lines(lines: list[bytes]) -> dict[bytes, bytes]:
    """Check every line of the session; by kind, what those have that stand once, and a ``t=``."""
    once: dict[bytes, bytes] = {}
    for line in lines[1:]:
        kind = line[:2]
        if kind in _ONCE:
            if kind in once:
                raise SdpParseError(f"two {kind.decode()} lines for the session")
            once[kind] = line[2:]
        elif kind == b"t=":
            once[kind] = line
            if line != b"t=0 0" and _TIME.fullmatch(line, 2) is None:
                raise SdpParseError(f"no t= line of RFC 8866: {_shown(line)}")
        elif kind == b"a=":
            _attribute(line)
        else:
            _check_other(line, b"v")
    return once


def _read_media(
    text: bytes, connection: Connection | None, direction: Direction
) -> MediaDescription:
    line, _, rest = text.partition(b"\r\n")
    match = _MEDIA_LINE.fullmatch(line)
    if match is None:
        raise SdpParseError(f"no m= line of RFC 8866: {_shown(line)}")
    kind, port, count, protocol, formats = match.groups()
    below = _media_lines(rest) if len(rest) <= _REMEMBERED else MediaLines(rest)
    media = MediaDescription(
        line, kind, int(port), int(count or 1), protocol, formats, below, connection, direction
    )
    _check(media)
    return media


def _check(media: MediaDescription) -> None:
    if media.port > 65_535:
        raise SdpParseError(f"port {media.port} in an m= line")
    if media.port_count < 1:
        raise SdpParseError("an m= line with no ports")
    if len(media.formats) > MAX_FORMATS:
        raise SdpParseError(f"more than {MAX_FORMATS} formats in an m= line")
    # A refused stream needs neither: its address and formats are never used.
    if media.port:
        if not media.formats:
            raise SdpParseError("an m= line without formats")
        if media.connection is None:
            raise SdpParseError("no c= line for an m= line")


def _shown(line: bytes) -> str:
    return repr(line[:60])[1:]


# A v=, o= or s= line below an m= line: two descriptions glued together.
_NOT_IN_MEDIA: Final = b"vos"


def _check_other(line: bytes, forbidden: bytes) -> None:
    """A line we only preserve: one letter, an equals sign, anything."""
    if line[1:2] != b"=" or not line[:1].isalpha():
        raise SdpParseError(f"not a line of a description: {_shown(line)}")
    if line[:1] in forbidden:
        raise SdpParseError(f"a line in the wrong place: {_shown(line)}")


def _origin(value: bytes) -> Origin:
    parts = value.rsplit(b" ", 5)  # from the right: user names with spaces are in the field
    if len(parts) != 6 or not all(parts):
        raise SdpParseError(f"no o= line of RFC 8866: {_shown(value)}")
    username, session_id, version, nettype, addrtype, address = parts
    # isdigit() of bytes knows ASCII digits only; 40 digits are plenty for a 64-bit number.
    if not (session_id.isdigit() and version.isdigit() and len(session_id + version) <= 80):
        raise SdpParseError(f"o= line without numbers: {_shown(value)}")
    return Origin(username, int(session_id), int(version), nettype, addrtype, address)


@lru_cache(maxsize=1_024)
def _remembered_connection(value: bytes) -> Connection:
    match = _CONNECTION.fullmatch(value)
    if match is None:
        raise SdpParseError(f"no c= line of RFC 8866: {_shown(value)}")
    return Connection(*match.groups())


def _connection(value: bytes) -> Connection:
    if len(value) > 300:  # a host name has at most 253 bytes
        raise SdpParseError(f"no c= line of RFC 8866: {_shown(value)}")
    return _remembered_connection(value)


def _attribute(line: bytes) -> Attribute:
    name, colon, value = line[2:].partition(b":")
    if not name:
        raise SdpParseError("an a= line without a name")
    return name, value if colon else None


def _attributes(lines: Iterable[bytes]) -> tuple[Attribute, ...]:
    return tuple([_attribute(line) for line in lines if line[:2] == b"a="])


def _session_direction(lines: Iterable[bytes]) -> Direction:
    # INACTIVE is 0, so this cannot be an `or`.
    said = _direction(_attributes(lines))
    return _SENDRECV if said is None else said


def _direction(attributes: Iterable[Attribute]) -> Direction | None:
    for name, _ in attributes:
        if name in _DIRECTIONS:
            return _DIRECTIONS[name]
    return None


def _milliseconds(value: bytes | None) -> int | None:
    match = None if value is None else _MILLISECONDS.fullmatch(value)
    return None if match is None else int(match[1]) or None


def _rtcp(value: bytes) -> RtcpAttribute | None:
    match = _RTCP.fullmatch(value)
    if match is None:
        return None
    port, where = int(match[1]), match[2]
    if not 0 < port <= 65_535:
        return None
    return RtcpAttribute(port, None if where is None else _connection(where))
