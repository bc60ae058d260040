"""SIP messages (RFC 3261 section 7): bytes to `Request` or `Response`, and back to bytes.

Reading makes one pass over the header block into (name, raw value) pairs; typed values are
read on demand, once.  Everything either parses or raises `SipParseError`; where a request is
broken but an answer can still be built, the error carries what was read as ``error.request``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar, overload

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.names import CANONICAL, REASONS, header_key
from sessioncore.sip.values import (
    CSeq,
    NameAddr,
    Uri,
    Via,
    parse_any_uri,
    parse_cseq,
    parse_name_addr,
    parse_number,
    parse_uri,
    parse_via,
    split_list,
)

__all__ = [
    "Message",
    "Request",
    "Response",
    "build_request",
    "build_response",
    "parse_message",
    "required_faults",
]

Headers = list[tuple[bytes, bytes]]
Value = TypeVar("Value")


class _Lazy(Generic[Value]):
    """A typed value: read when first asked for, then an ordinary attribute.

    ``functools.cached_property`` takes a lock per reading before Python 3.12.
    """

    def __init__(self, read: Callable[[Any], Value]) -> None:
        self._read = read
        self._name = read.__name__
        self.__doc__ = read.__doc__

    @overload
    def __get__(self, message: None, owner: type) -> _Lazy[Value]: ...
    @overload
    def __get__(self, message: Message, owner: type) -> Value: ...
    def __get__(self, message: Message | None, owner: type) -> Value | _Lazy[Value]:
        if message is None:
            return self
        value = self._read(message)
        setattr(message, self._name, value)
        return value


class Message:
    """What requests and responses share.

    ``headers`` holds (name, value) in order: known names in their canonical spelling, others
    as received; values unfolded, otherwise as received.  ``raw`` is the whole datagram.  The
    typed properties raise `SipParseError` (400) where the header field is missing or broken.
    """

    def __init__(
        self,
        headers: Headers,
        firsts: dict[bytes, bytes],
        repeated: dict[bytes, list[bytes]],
        body: bytes,
        raw: bytes,
    ) -> None:
        self.headers = headers
        self.body = body
        self.raw = raw
        self._firsts = firsts
        self._repeated = repeated

    def first(self, name: bytes) -> bytes | None:
        """The raw value of the first header field of that name, or None."""
        value = self._firsts.get(name)
        if value is None and name not in CANONICAL:
            return self._firsts.get(header_key(name))
        return value

    def all(self, name: bytes) -> list[bytes]:
        """The raw values of all header fields of that name, in order, commas untouched."""
        key = header_key(name)
        first = self._firsts.get(key)
        if first is None:
            return []
        return list(self._repeated.get(key) or (first,))

    def values(self, name: bytes) -> list[bytes]:
        """All values of that name, cut at commas outside quotes and brackets; none is empty."""
        return [item for field in self.all(name) for item in split_list(field) if item]

    def _required(self, name: bytes) -> bytes:
        try:
            return self._firsts[name]
        except KeyError:
            raise SipParseError(f"{name.decode()} is missing") from None

    def _addresses(self, name: bytes) -> list[NameAddr]:
        found = [parse_name_addr(item) for field in self.all(name) for item in split_list(field)]
        if len(found) > grammar.MAX_LIST_ITEMS:
            raise SipParseError(f"too many values of {name.decode()}")
        return found

    @_Lazy
    def via(self) -> Via:
        """The topmost Via."""
        value = self._required(b"Via")
        return parse_via(split_list(value)[0] if b"," in value else value)

    @_Lazy
    def via_count(self) -> int:
        """How many Via values the message has."""
        return sum(len(split_list(field)) for field in self.all(b"Via"))

    @_Lazy
    def from_(self) -> NameAddr:
        """The From header field."""
        return parse_name_addr(self._required(b"From"))

    @_Lazy
    def to(self) -> NameAddr:
        """The To header field."""
        return parse_name_addr(self._required(b"To"))

    @_Lazy
    def from_tag(self) -> bytes | None:
        """The tag of From, None where it has none."""
        return self.from_.params.get(b"tag")

    @_Lazy
    def to_tag(self) -> bytes | None:
        """The tag of To, None where it has none."""
        return self.to.params.get(b"tag")

    @_Lazy
    def call_id(self) -> bytes:
        """The Call-ID as received; it is compared byte by byte (RFC 3261 section 20.8)."""
        value = self._required(b"Call-ID")
        if not value or b" " in value or b"\t" in value:
            raise SipParseError("no Call-ID")
        return value

    @_Lazy
    def cseq(self) -> CSeq:
        """The CSeq: number and method."""
        return parse_cseq(self._required(b"CSeq"))

    @_Lazy
    def contacts(self) -> list[NameAddr]:
        """All Contact values; ``Contact: *`` is one whose URI is a `RawUri` of no scheme."""
        return self._addresses(b"Contact")

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact value, or None."""
        contacts = self.contacts
        return contacts[0] if contacts else None

    @_Lazy
    def routes(self) -> list[NameAddr]:
        """All Route values, in order."""
        return self._addresses(b"Route")

    @_Lazy
    def record_routes(self) -> list[NameAddr]:
        """All Record-Route values, in order."""
        return self._addresses(b"Record-Route")

    def _number(self, name: bytes, largest: int = 0xFFFFFFFF) -> int | None:
        value = self._firsts.get(name)
        return None if value is None else parse_number(value, largest)

    @_Lazy
    def content_length(self) -> int | None:
        """Content-Length in octets, None where it is not there."""
        return self._number(b"Content-Length")

    @_Lazy
    def max_forwards(self) -> int | None:
        """Max-Forwards, 0 to 255 (RFC 3261 section 20.22), None where it is not there."""
        return self._number(b"Max-Forwards", 255)

    @_Lazy
    def expires(self) -> int | None:
        """Expires in seconds, None where it is not there."""
        return self._number(b"Expires")

    @_Lazy
    def content_type(self) -> bytes | None:
        """Content-Type as lower-case ``type/subtype`` without parameters."""
        value = self._firsts.get(b"Content-Type")
        if value is None:
            return None
        match = grammar.CONTENT_TYPE.fullmatch(value)
        if match is None:
            raise SipParseError("no Content-Type")
        return b"%b/%b" % (match[1].lower(), match[2].lower())

    @_Lazy
    def date(self) -> datetime | None:
        """Date (RFC 3261 section 20.17), None where it is not there."""
        value = self._firsts.get(b"Date")
        if value is None:
            return None
        match = grammar.DATE.fullmatch(value)
        if match is None:
            raise SipParseError("no Date")
        day, month, year, hour, minute, second = match.groups()
        try:
            return datetime(
                int(year),
                1 + _MONTHS.index(month) // 3,
                int(day),
                int(hour),
                int(minute),
                int(second),
                tzinfo=UTC,
            )
        except ValueError as error:
            raise SipParseError(f"no Date: {error}") from None


_MONTHS: Final = b"JanFebMarAprMayJunJulAugSepOctNovDec"


class Request(Message):
    """A request: ``method`` and ``uri`` as received (methods are case-sensitive)."""

    method: bytes
    uri: bytes
    version: bytes

    @_Lazy
    def request_uri(self) -> Uri:
        """The Request-URI; 400 where it is none, 416 where its scheme is not SIP's."""
        return parse_uri(self.uri)

    def __repr__(self) -> str:
        return f"<Request {self.method.decode('ascii', 'replace')}>"


class Response(Message):
    """A response: ``status`` 100 to 699 and ``reason`` as received."""

    status: int
    reason: bytes

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def parse_message(data: bytes) -> Request | Response:
    """Read one datagram (RFC 3261 sections 7 and 18.3).

    The body is cut to Content-Length; without one it is the rest of the datagram.  Raises
    `SipParseError`: 400, 505 for another SIP version, 513 above 65,535 bytes; its ``request``
    is what can be answered, or None.
    """
    if len(data) > grammar.MAX_MESSAGE:
        raise SipParseError("message above 65,535 bytes", 513)
    start = data if data[:1] not in _LINE_BREAKS else data.lstrip(b"\r\n")
    lines, body, fault = _cut(start)
    headers: Headers = []
    firsts: dict[bytes, bytes] = {}
    repeated: dict[bytes, list[bytes]] = {}
    message: Request | Response
    first_line = lines[0]
    status = 400
    match = grammar.REQUEST_LINE.fullmatch(first_line)
    if match is not None:
        request = message = Request(headers, firsts, repeated, body, data)
        request.method, request.uri, request.version = match.groups()
        if request.version != b"SIP/2.0" and request.version.upper() != b"SIP/2.0":
            fault = "SIP version is not 2.0"
            status = 505
    elif (match := grammar.STATUS_LINE.fullmatch(first_line)) is not None:
        response = message = Response(headers, firsts, repeated, body, data)
        response.status = int(match[2])
        response.reason = match[3] or b""
        if match[1].upper() != b"SIP/2.0":
            fault = "SIP version is not 2.0"
    elif (match := grammar.SLOPPY_REQUEST_LINE.fullmatch(first_line)) is not None:
        request = message = Request(headers, firsts, repeated, body, data)
        request.method, request.uri, request.version = match.groups()
        fault = "broken request line"
    else:
        raise SipParseError("neither request line nor status line")
    fault = _read_headers(lines, headers, firsts, repeated) or fault
    length = firsts.get(b"Content-Length")
    if length is not None:
        fault = _frame(message, length) or fault
    if fault is not None:
        error = SipParseError(fault, status)
        if isinstance(message, Request):
            error.request = message
        raise error
    return message


_LINE_BREAKS: Final = (b"\r", b"\n")


def _cut(data: bytes) -> tuple[list[bytes], bytes, str | None]:
    """Unfolded lines of the head, the body, and a fault or None."""
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        head = data[:end]
        lines = head.split(b"\r\n")
        breaks = len(lines) - 1
        if (
            head.count(b"\n") == breaks == head.count(b"\r")
            and b"\n " not in head
            and b"\n\t" not in head
        ):
            return lines, data[end + 4 :], None
    match = grammar.END_OF_HEADERS.search(data)
    if match is None:
        head, body, fault = data, b"", "no empty line after the header fields"
    else:
        head, body, fault = data[: match.start()], data[match.end() :], None
    lines = grammar.LINE_END.split(grammar.FOLD.sub(b" ", head))
    if b"\r" in b"".join(lines):
        lines = [line.replace(b"\r", b" ") for line in lines]
        fault = "carriage return inside a line"
    if match is None and lines[-1] == b"" and len(lines) > 1:
        lines.pop()
    return lines, body, fault


def _read_headers(
    lines: list[bytes],
    headers: Headers,
    firsts: dict[bytes, bytes],
    repeated: dict[bytes, list[bytes]],
) -> str | None:
    """Fill the three from all lines but the first; skips what is broken and returns the fault."""
    fault = None
    if len(lines) > grammar.MAX_HEADER_LINES + 1:
        del lines[grammar.MAX_HEADER_LINES + 1 :]
        fault = "more than 256 header fields"
    del lines[0]
    for line in lines:
        name, colon, value = line.partition(b":")
        key = CANONICAL.get(name)
        if key is None:
            name = name.rstrip(b" \t")
            key = header_key(name)
            if not colon or grammar.TOKEN.fullmatch(name) is None:
                fault = "a line that is no header field"
                continue
            if key in CANONICAL:
                name = key
        else:
            name = key
        if len(line) > grammar.MAX_LINE:
            fault = "a header field above 16,384 bytes"
            continue
        value = value.strip(b" \t")
        headers.append((name, value))
        if key in firsts:
            repeated.setdefault(key, [firsts[key]]).append(value)
        else:
            firsts[key] = value
    return fault


def _frame(message: Message, value: bytes) -> str | None:
    """Cut the body to Content-Length; returns the fault or None."""
    if b"Content-Length" in message._repeated:
        return "more than one Content-Length"
    try:
        length = parse_number(value)
    except SipParseError as error:
        return f"Content-Length: {error}"
    if length > len(message.body):
        return "shorter than Content-Length says"
    message.body = message.body[:length]
    return None


_ONCE: Final = (b"From", b"To", b"Call-ID", b"CSeq", b"Max-Forwards", b"Content-Type")


def required_faults(message: Message) -> str | None:
    """What makes a message unusable beyond framing, or None (RFC 3261 8.1.1, RFC 4475).

    Reads what every message needs: Via, From, To, Call-ID, CSeq, Contact, and for requests the
    Request-URI, Max-Forwards and the CSeq method.  Each may be there once only (Contact apart).
    A URI scheme that is not ours is no fault.
    """
    try:
        if message._repeated:
            for name in _ONCE:
                if name in message._repeated:
                    return f"more than one {name.decode()}"
        via, cseq, _ = message.via, message.cseq, (message.from_, message.to, message.call_id)
        _ = message.contacts if b"Contact" in message._firsts else ()
        return _request_fault(message, via, cseq) if isinstance(message, Request) else None
    except SipParseError as error:
        return str(error)


def _request_fault(request: Request, via: Via, cseq: CSeq) -> str | None:
    parse_any_uri(request.uri)
    if cseq.method != request.method:
        return "CSeq names another method"
    if b"Max-Forwards" in request._firsts:
        parse_number(request._firsts[b"Max-Forwards"], 255)
    branch = via.params.get(b"branch")
    if branch is not None and len(branch) <= len(_COOKIE) and branch.lower() == _COOKIE:
        return "branch is nothing but the magic cookie"  # RFC 4475 section 3.2.1
    return None


_COOKIE: Final = b"z9hg4bk"


def _checked(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """Header lines; a line break inside one would let its author write further ones."""
    lines = []
    for name, value in headers:
        line = b"%b: %b\r\n" % (name, value)
        if line.count(b"\n") != 1 or line.count(b"\r") != 1:
            raise ValueError(f"line break in header field {name!r}")
        lines.append(line)
    return lines


def build_request(
    method: bytes, uri: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes = b""
) -> bytes:
    """The bytes of a request; Content-Length is appended.

    Raises ValueError for a line break inside a name or value.
    """
    start = b"%b %b SIP/2.0\r\n" % (method, uri)
    if grammar.REQUEST_LINE.fullmatch(start, 0, len(start) - 2) is None:
        raise ValueError(f"not a request line: {start!r}")
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (
        start,
        b"".join(_checked(headers)),
        len(body),
        body,
    )


def build_response(
    request: Request,
    status: int,
    reason: bytes | None = None,
    *,
    to_tag: bytes | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: bytes = b"",
    via: bytes | None = None,
    record_route: bool = False,
) -> bytes:
    """The bytes of a response to ``request`` (RFC 3261 section 8.2.6).

    Via, From, To, Call-ID and CSeq are copied as they came; of the last four the first each,
    and what is missing stays missing.  ``via`` replaces the topmost Via, ``to_tag`` is added
    to a To without tag, ``record_route`` copies Record-Route, a 100 copies Timestamp.
    Content-Length is appended.  Raises ValueError for a line break inside a name or value.
    """
    firsts = request._firsts
    if reason is None:
        reason = REASONS.get(status, b"Unknown")
    elif b"\r" in reason or b"\n" in reason:
        raise ValueError("line break in the reason phrase")
    parts = [b"SIP/2.0 %d %b\r\n" % (status, reason)]
    _copy_vias(request, via, parts)
    if record_route and b"Record-Route" in firsts:
        parts += [b"Record-Route: %b\r\n" % value for value in request.all(b"Record-Route")]
    if b"From" in firsts:
        parts.append(b"From: %b\r\n" % firsts[b"From"])
    if b"To" in firsts:
        if to_tag is not None and not _has_to_tag(request):
            parts.append(b"To: %b;tag=%b\r\n" % (firsts[b"To"], to_tag))
        else:
            parts.append(b"To: %b\r\n" % firsts[b"To"])
    for name in (b"Call-ID", b"CSeq"):
        if name in firsts:
            parts.append(b"%b: %b\r\n" % (name, firsts[name]))
    if status == 100 and b"Timestamp" in firsts:
        parts.append(b"Timestamp: %b\r\n" % firsts[b"Timestamp"])
    parts += _checked(headers)
    parts.append(b"Content-Length: %d\r\n\r\n" % len(body))
    parts.append(body)
    return b"".join(parts)


def _copy_vias(request: Request, via: bytes | None, parts: list[bytes]) -> None:
    for value in request.all(b"Via"):
        if via is None:
            parts.append(b"Via: %b\r\n" % value)
            continue
        parts.append(b"Via: %b\r\n" % via)
        via = None
        if b"," in value:
            # Only the topmost value of this header field is replaced.
            first = grammar.LIST_ITEM.match(value)
            rest = value[first.end() + 1 :].strip() if first is not None else b""
            if rest:
                parts.append(b"Via: %b\r\n" % rest)


_TAG: Final = re.compile(rb";[ \t]*tag[ \t]*=", re.IGNORECASE)


def _has_to_tag(request: Request) -> bool:
    try:
        return request.to_tag is not None
    except SipParseError:
        # A To we cannot read is answered 400; it gets no second tag.
        return _TAG.search(request._firsts[b"To"]) is not None
