"""RFC 8866 session descriptions: parses bytes into the values that offer/answer needs.

`parse_description` either returns a `Description` or raises `SdpParseError`.  A usual
description is read in one pass, in C (``_description.c``) if it was compiled.  Any other is read
line by line: blanks around a line are removed once, where lines are split, and what is odd but
not needed for the audio (a stream that nobody can use, lines that nobody asks about) is left out
and listed in `Description.oddities`.  LF line ends, a missing last line end and trailing blank
lines are not odd.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from attrs import define

from sessioncore import extensions
from sessioncore.errors import SdpParseError
from sessioncore.vocabulary import Direction

__all__ = [
    "MAX_BODY",
    "MAX_FORMATS",
    "MAX_LINES",
    "MAX_LINE_LENGTH",
    "MAX_MEDIA",
    "Connection",
    "Description",
    "Form",
    "Formats",
    "MediaDescription",
    "Origin",
    "RtcpAttribute",
    "RtpMap",
    "Section",
    "parse_description",
    "split_sections",
]

compiled: Final = extensions.compiled("sdp._description")

MAX_BODY: Final = 65_535
MAX_LINES: Final = 1_000
MAX_LINE_LENGTH: Final = 4_096
MAX_MEDIA: Final = 32
MAX_FORMATS: Final = 64
# Media sections up to this many bytes are cached (see `_remembered_section`).
_REMEMBERED: Final = 1_024
_MAX_CONNECTION: Final = 300  # a host name has at most 253 bytes

_TOKEN = rb"[!#-'*+\-.0-9A-Z^-~]+"
_MEDIA_LINE = re.compile(
    rb"(%b) ([0-9]{1,5})(?:/([0-9]{1,5}))? (%b(?:/%b)*(?: +[!-~]+)* *)" % (_TOKEN, _TOKEN, _TOKEN)
)
_TIME = re.compile(rb"[0-9]{1,20} [0-9]{1,20} *")
_CONNECTION = re.compile(rb"([!-~]+) ([!-~]+) ([!-.0-~]+)((?:/[0-9]{1,5}){0,2}) *")
_RTPMAP = re.compile(rb"([0-9]{1,3}) +(%b)/([0-9]{1,6})(?:/([0-9]{1,3}))? *" % _TOKEN)
_RTCP = re.compile(rb"([0-9]{1,5})(?: ([!-~]+ [!-~]+ [!-~]+))? *")
_MILLISECONDS = re.compile(rb"([0-9]{1,4})(?:\.[0-9]{1,6})? *")
# Possessive, so that a mismatch fails in one pass; atomic inside, because Python up to 3.11.4
# loses its position if the last repetition of a possessive group fails.
_TEXT = rb"[^\0\r\n]*+"
_CLEAN = rb"(?<![ \t])"
_KEPT = rb"(?>\r\n[iuepbzrk]=%b)*+" % _TEXT
_USUAL = re.compile(
    rb"v=0\r\no=([!-~]++ [0-9]{1,20} [0-9]{1,20} [!-~]++ [!-~]++ [!-~]++)\r\ns=%b%b"
    rb"(?>\r\nc=(?=[!-~ ]{0,%d}+\r)([!-~]++ [!-~]++ [!-~]++))?+%b"
    rb"\r\nt=([0-9]{1,20} [0-9]{1,20})((?>\r\na=%b%b)*+)"
    rb"\r\nm=audio ([1-9][0-9]{0,4}) (RTP/AVP(?> [!-~]++){1,%d}+"
    rb"(?>\r\n(?!m=)[^\0\r\n]++%b)*+)((?>\r\n[^\0\r\n]++%b)*+)(?>\r\n)*+"
    % (_TEXT, _KEPT, _MAX_CONNECTION, _KEPT, _TEXT, _CLEAN, MAX_FORMATS, _CLEAN, _CLEAN)
)
"""The form of most descriptions: audio first, and the lines in the order of RFC 8866."""
_UNUSABLE = re.compile(rb"(%b) [!-~]+ (%b(?:/%b)*)(?: .*)?" % (_TOKEN, _TOKEN, _TOKEN))
"""An m-line of which enough can be read to refuse it."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MAX_ODDITIES: Final = 16
_ABOVE: Final = b"iuepcbrzka"
"""The lines that may follow o= and s=, before the first m-line (RFC 8866 section 5)."""
_BELOW: Final = b"icbka"
"""The lines that may follow an m-line."""
_DIRECTIONS: Final = {
    b"sendrecv": Direction.SENDRECV,
    b"sendonly": Direction.SENDONLY,
    b"recvonly": Direction.RECVONLY,
    b"inactive": Direction.INACTIVE,
}

_SENDRECV: Final = Direction.SENDRECV
_OF_FORMATS: Final = (b"rtpmap", b"ptime", b"maxptime")
_OF_SRTP: Final = frozenset((b"crypto", b"fingerprint", b"key-mgmt"))


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


class Form(NamedTuple):
    """The kind of stream of an ``m=`` line (RFC 8866 section 5.14)."""

    kind: bytes
    protocol: bytes
    port_count: int


class Formats:
    """The formats of an ``m=`` line, their meaning, and the packet length.

    Shared like `Section`, so compared by identity; ``remembered`` says whether equal lines are
    likely to return the same object again.  ``ptime`` and ``maxptime`` (ms) are None if they
    are missing.
    """

    __slots__ = ("by_format", "maxptime", "numbers", "ptime", "remembered")

    def __init__(self, text: bytes) -> None:
        first, *lines = text.split(b"\n")
        self.remembered = len(text) <= _REMEMBERED
        self.numbers = tuple(first.split())
        self.by_format: dict[bytes, RtpMap] = {}
        said: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            value = value.strip()
            said.setdefault(name, value)
            # Malformed ones are left out: the bodies of RFC 4475 have "a=rtpmap:31 LPC".
            if name == b"rtpmap" and (match := _RTPMAP.fullmatch(value)):
                number, encoding, rate, channels = match.groups()
                self.by_format.setdefault(number, RtpMap(encoding, int(rate), int(channels or 1)))
        self.ptime = _milliseconds(said.get(b"ptime"))
        self.maxptime = _milliseconds(said.get(b"maxptime"))


class Section:
    """An ``m=`` line without its port, and the lines below it.

    Shared by all descriptions with the same section.  ``connection`` (the first) and
    ``direction`` are None if the section has none.
    """

    __slots__ = ("connection", "direction", "encrypts", "form", "formats", "rtcp")

    def __init__(self, kind: bytes, port_count: int, text: bytes) -> None:
        line, _, below = text.partition(b"\r\n")
        protocol, _, numbers = line.partition(b" ")
        self.form = Form(kind, protocol, port_count)
        self.connection: Connection | None = None
        said: dict[bytes, bytes] = {}
        about_formats = [numbers]
        for line in below.split(b"\r\n") if below else ():
            if line[:2] == b"a=":
                name, value = _attribute(line)
                said.setdefault(name, value)
                if name in _OF_FORMATS:
                    about_formats.append(line[2:])
            elif line[:2] == b"c=":
                connection = _connection(line[2:])
                self.connection = self.connection or connection
            elif line[1:2] != b"=" or line[:1] not in _BELOW:
                raise SdpParseError(f"a line in the wrong place: {_shown(line)}")
        self.formats = _formats(b"\n".join(about_formats))
        self.direction = _direction(said)
        self.rtcp = _rtcp(said[b"rtcp"]) if b"rtcp" in said else None
        # SDES (RFC 4568) and DTLS-SRTP (RFC 5763), whatever the protocol of the m= line.
        self.encrypts = b"SAVP" in protocol or not _OF_SRTP.isdisjoint(said)


class MediaDescription:
    """One ``m=`` line and the lines below it.

    ``connection`` and ``direction`` are those of the section, or else of the session;
    ``direction`` is as the author of the description sees it.
    """

    __slots__ = ("connection", "direction", "port", "section")

    def __init__(
        self, port: int, section: Section, connection: Connection | None, direction: Direction
    ) -> None:
        self.port = port
        self.section = section
        self.connection = section.connection or connection
        self.direction = direction if section.direction is None else section.direction

    @property
    def form(self) -> Form:
        """Kind, protocol and number of ports."""
        return self.section.form

    @property
    def formats(self) -> tuple[bytes, ...]:
        """The formats of the ``m=`` line in order."""
        return self.section.formats.numbers


@define(eq=False)
class Description:
    """A session description; ``times`` are its ``t=`` lines without the first ``t=``.

    ``oddities`` says what was read although it is not as it should be, or was left out, with the
    line: at most 16 short texts.
    """

    origin_line: bytes
    times: bytes
    media: tuple[MediaDescription, ...]
    oddities: tuple[str, ...] = ()

    @property
    def origin(self) -> Origin:
        """The ``o=`` line."""
        return _origin(self.origin_line)

    def note(self, oddity: str) -> None:
        """Add to the oddities what is odd only in an exchange."""
        self.oddities = (*self.oddities, oddity)[:_MAX_ODDITIES]


def parse_description(body: bytes) -> Description:
    """Read a session description; raises only `SdpParseError`."""
    usual = _find(body)
    if usual is None:
        return _read(body)
    origin_line, where, times, attributes, port, text, others = usual
    try:
        direction = _session_direction(attributes.split(b"\r\n")) if attributes else _SENDRECV
        session = None if where is None else _remembered_connection(where)
        audio = MediaDescription(port, _remembered_section(b"audio", 1, text), session, direction)
        if audio.connection is None:
            return _read(body)
        if not others:
            return Description(origin_line, times, (audio,))
        sections = others[4:].split(b"\r\nm=")
        if len(sections) >= MAX_MEDIA:
            return _read(body)
        more = [_read_media(section, session, direction) for section in sections]
    except SdpParseError:
        return _read(body)  # Either what is wrong is not needed, or this reports it.
    return Description(origin_line, times, (audio, *more))


def _find_in_python(body: bytes) -> tuple[Any, ...] | None:
    match = _USUAL.fullmatch(body) if len(body) <= _REMEMBERED else None
    if match is None:
        return None
    *above, digits, text, others = match.groups()
    port = int(digits)
    return (*above, port, text, others) if port <= 65_535 else None


_find: Final = _find_in_python if compiled is None else compiled.find
"""The parts of a usual description; None for all others."""


def split_sections(body: bytes) -> list[list[bytes]]:
    """The lines of the session, then those of each m-line, as `parse_description` reads them.

    For what is not needed for offer/answer.  Raises `SdpParseError`.
    """
    return _sections(_clean_lines(body, _Oddities()))


class _Oddities:
    """Collects what is odd in a description."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def note(self, what: str, line: bytes | None = None) -> None:
        """Add one: what it is, and the line."""
        if len(self.found) < _MAX_ODDITIES:
            self.found.append(what if line is None else f"{what}: {_shown(line)}")


def _read(body: bytes) -> Description:
    """Read any description, line by line."""
    odd = _Oddities()
    sections = _sections(_clean_lines(body, odd))
    head = sections.pop(0)
    if not head or head[0] != b"v=0":
        raise SdpParseError("it does not begin with v=0" if head else "no description")
    origin_line, times, connection = _read_session(head[1:], odd)
    direction = _session_direction(head)
    media = tuple(_read_streams(sections, connection, direction, odd))
    return Description(origin_line, times, media, tuple(odd.found))


def _clean_lines(body: bytes, odd: _Oddities) -> list[bytes]:
    """The lines without blanks around them, and without those that say nothing."""
    if len(body) > MAX_BODY:
        raise SdpParseError(f"a description of more than {MAX_BODY} bytes")
    text = body.removeprefix(_BYTE_ORDER_MARK)
    if text is not body:
        odd.note("a byte order mark")
    # RFC 8866 section 5: parsers should also accept lines that end in LF alone.
    text = text.replace(b"\r\n", b"\n")
    if text.endswith(b"\0"):
        odd.note("NUL at the end")
        text = text.rstrip(b"\0")
    if text.count(b"\n") >= MAX_LINES:
        raise SdpParseError(f"a description of more than {MAX_LINES} lines")
    if b"\r" in text or b"\0" in text:
        raise SdpParseError("a carriage return or NUL inside a line")
    return [
        clean
        for line in text.rstrip(b"\n").split(b"\n")
        if text and (clean := _clean_line(line, odd))
    ]


def _clean_line(line: bytes, odd: _Oddities) -> bytes:
    """One line without blanks around it; empty if it says nothing."""
    if len(line) > MAX_LINE_LENGTH:
        raise SdpParseError(f"a line of more than {MAX_LINE_LENGTH} bytes")
    clean = line.strip(b" \t")
    if not clean:
        odd.note("an empty line")
    elif clean[1:2] != b"=" or not clean[:1].isalpha():
        if clean[:1] == b"m":
            raise SdpParseError(f"not a line of a description: {_shown(line)}")
        odd.note("not a line of a description", line)
    elif clean[:2] == b"a=" and clean[2:3] in (b"", b":"):
        odd.note("an a= line without a name", line)
    else:
        # RFC 8866 section 5.3 itself proposes "s= ".
        if clean != line and line[:2] != b"s=":
            odd.note("blanks around a line", line)
        return _single_blanks(clean, odd) if clean[:1] in b"octm" else clean
    return b""


def _single_blanks(line: bytes, odd: _Oddities) -> bytes:
    """A line whose words are separated by single blanks, as its kind demands."""
    clean = line[:2] + b" ".join(line[2:].split())
    if clean == line:
        return line
    empty_user = line[:3] == b"o= " and clean == b"o=" + line[3:]
    odd.note("an o= line without a user name" if empty_user else "doubled blanks", line)
    return clean


def _sections(lines: list[bytes]) -> list[list[bytes]]:
    """The session's lines, then those of each m-line."""
    sections: list[list[bytes]] = [[]]
    for line in lines:
        if line[:2] == b"m=":
            sections.append([])
        sections[-1].append(line)
    if len(sections) > MAX_MEDIA + 1:
        raise SdpParseError(f"more than {MAX_MEDIA} m= lines")
    return sections


_remembered_section = lru_cache(maxsize=512)(Section)
"""Except for its port an m-line is mostly the same from call to call; short ones are cached."""
_remembered_formats = lru_cache(maxsize=512)(Formats)
"""If it is not (SSRC, candidates), the formats mostly are."""


def _formats(text: bytes) -> Formats:
    return _remembered_formats(text) if len(text) <= _REMEMBERED else Formats(text)


def _read_session(lines: list[bytes], odd: _Oddities) -> tuple[bytes, bytes, Connection | None]:
    """The ``o=`` line, the times and the connection of the session."""
    said: dict[bytes, bytes] = {}
    times: list[bytes] = []
    for line in lines:
        kind, value = line[:2], line[2:]
        if kind in (b"o=", b"c=") and kind in said:
            raise SdpParseError(f"two {kind.decode()} lines for the session")
        if kind in (b"o=", b"c=", b"s=") and kind not in said:
            said[kind] = value
        elif kind == b"t=" and _TIME.fullmatch(value):
            times.append(value)
        elif kind == b"v=":
            raise SdpParseError(f"a line in the wrong place: {_shown(line)}")
        elif line[:1] not in _ABOVE:
            odd.note("a line in the wrong place", line)
    for kind, there in ((b"s=", b"s=" in said), (b"t=", bool(times))):
        if not there:
            odd.note(f"no {kind.decode()} line")
    if b"o=" not in said:
        raise SdpParseError("no o= line")
    _origin(said[b"o="])
    connection = None
    if b"c=" in said:
        try:
            connection = _connection(said[b"c="])
        except SdpParseError as error:
            odd.note(str(error))  # It is not needed if the audio has one of its own.
    return said[b"o="], b"\r\nt=".join(times) or b"0 0", connection


def _read_streams(
    sections: list[list[bytes]],
    connection: Connection | None,
    direction: Direction,
    odd: _Oddities,
) -> list[MediaDescription]:
    """All streams; those that cannot be used have port 0, if there is audio that can be."""
    media: list[MediaDescription] = []
    problem: SdpParseError | None = None
    for line, *below in sections:
        text = b"\r\n".join([line[2:], *_known_lines(below, odd)])
        try:
            media.append(_read_media(text, connection, direction))
        except SdpParseError as error:
            match = _UNUSABLE.fullmatch(line, 2)
            if match is None:
                raise
            if match[1] == b"audio":
                problem = problem or error
            odd.note(str(error))
            refused = Section(match[1], 1, match[2] + b" 0")
            media.append(MediaDescription(0, refused, connection, direction))
    if problem is not None and not any(each.port and each.form.kind == b"audio" for each in media):
        raise problem
    return media


def _known_lines(lines: list[bytes], odd: _Oddities) -> Iterable[bytes]:
    """The lines below an m-line that may stand there."""
    for line in lines:
        if line[:1] in _BELOW:
            yield line
        elif line[:1] in _NOT_IN_MEDIA:
            raise SdpParseError(f"a line in the wrong place: {_shown(line)}")
        else:
            odd.note("a line in the wrong place", line)


def _read_media(
    text: bytes, connection: Connection | None, direction: Direction
) -> MediaDescription:
    line = text.partition(b"\r\n")[0]
    match = _MEDIA_LINE.fullmatch(line)
    if match is None:
        raise SdpParseError(f"not an m= line of RFC 8866: {_shown(line)}")
    text = text[match.start(4) :]
    make = _remembered_section if len(text) <= _REMEMBERED else Section
    section = make(match[1], int(match[3] or 1), text)
    media = MediaDescription(int(match[2]), section, connection, direction)
    _check(media)
    return media


def _check(media: MediaDescription) -> None:
    if media.port > 65_535:
        raise SdpParseError(f"port {media.port} in an m= line")
    if media.form.port_count < 1:
        raise SdpParseError("an m= line with no ports")
    if len(media.formats) > MAX_FORMATS:
        raise SdpParseError(f"more than {MAX_FORMATS} formats in an m= line")
    # A refused stream needs neither, because its address and formats are not used.
    if media.port:
        if not media.formats:
            raise SdpParseError("an m= line without formats")
        if media.connection is None:
            raise SdpParseError("no c= line for an m= line")


def _shown(line: bytes) -> str:
    return repr(line[:60])[1:]


# A v=, o= or s= line below an m= line: two descriptions in one body.
_NOT_IN_MEDIA: Final = b"vos"


def _origin(value: bytes) -> Origin:
    parts = value.split()  # from the right: user names with spaces are in the field
    if len(parts) < 5:
        raise SdpParseError(f"no o= line of RFC 8866: {_shown(value)}")
    *names, session_id, version, nettype, addrtype, address = parts
    # isdigit() of bytes knows ASCII digits only; 40 digits are plenty for a 64-bit number.
    if not (session_id.isdigit() and version.isdigit() and len(session_id + version) <= 80):
        raise SdpParseError(f"o= line without numbers: {_shown(value)}")
    username = b" ".join(names)
    return Origin(username, int(session_id), int(version), nettype, addrtype, address)


@lru_cache(maxsize=1_024)
def _remembered_connection(value: bytes) -> Connection:
    match = _CONNECTION.fullmatch(value)
    if match is None:
        raise SdpParseError(f"no c= line of RFC 8866: {_shown(value)}")
    return Connection(*match.groups())


def _connection(value: bytes) -> Connection:
    if len(value) > _MAX_CONNECTION:
        raise SdpParseError(f"no c= line of RFC 8866: {_shown(value)}")
    return _remembered_connection(value)


def _attribute(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line[2:].partition(b":")
    if not name:
        raise SdpParseError("an a= line without a name")
    return name, value


def _session_direction(lines: Iterable[bytes]) -> Direction:
    # INACTIVE is 0, so this cannot be an `or`.
    said = _direction([_attribute(line)[0] for line in lines if line[:2] == b"a="])
    return _SENDRECV if said is None else said


def _direction(names: Iterable[bytes]) -> Direction | None:
    """The first attribute that is a direction, or None."""
    for name in names:
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
