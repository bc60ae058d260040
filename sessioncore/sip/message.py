"""SIP messages (RFC 3261 section 7): bytes to `Request` or `Response`, and back to bytes.

Reading makes one pass over the header block into (name, raw value) pairs; typed values are
read on demand, once.  Everything either parses or raises `SipParseError`; where a request is
broken but an answer can still be built, the error carries what was read as ``error.request``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.names import CANONICAL, REASONS, header_key
from sessioncore.sip.values import (
    CSeq,
    NameAddr,
    Uri,
    Via,
    parse_any_uri,
    parse_contact,
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

_Headers: TypeAlias = list[tuple[bytes, bytes]]


if TYPE_CHECKING:
    from functools import cached_property as _lazy
else:

    class _lazy:
        """A typed value: read when first asked for, then an ordinary attribute.

        ``functools.cached_property`` takes a lock per reading before Python 3.12.
        """

        def __init__(self, read):
            self._read = read
            self._name = read.__name__
            self.__doc__ = read.__doc__

        def __get__(self, message, owner):
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

    def __init__(self, body: bytes, raw: bytes) -> None:
        self.headers: _Headers = []
        self.body = body
        self.raw = raw
        self._firsts: dict[bytes, bytes] = {}
        self._repeated: dict[bytes, list[bytes]] = {}

    def first(self, name: bytes) -> bytes | None:
        """The raw value of the first header field of that name, or None."""
        value = self._firsts.get(name)
        return self._firsts.get(header_key(name)) if value is None else value

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
        found = [parse_contact(item) for field in self.all(name) for item in split_list(field)]
        if len(found) > grammar.MAX_LIST_ITEMS:
            raise SipParseError(f"too many values of {name.decode()}")
        return found

    @_lazy
    def via(self) -> Via:
        """The topmost Via."""
        value = self._required(b"Via")
        if b"," not in value:
            return parse_via(value)
        items = split_list(value)
        if b"" in items:
            raise SipParseError("an empty value among the Vias")
        return parse_via(items[0])

    @_lazy
    def via_count(self) -> int:
        """How many Via values the message has."""
        return sum(len(split_list(field)) for field in self.all(b"Via"))

    @_lazy
    def from_(self) -> NameAddr:
        """The From header field."""
        return parse_name_addr(self._required(b"From"))

    @_lazy
    def to(self) -> NameAddr:
        """The To header field."""
        return parse_name_addr(self._required(b"To"))

    @_lazy
    def from_tag(self) -> bytes | None:
        """The tag of From, None where it has none."""
        return self.from_.params.get(b"tag")

    @_lazy
    def to_tag(self) -> bytes | None:
        """The tag of To, None where it has none."""
        return self.to.params.get(b"tag")

    @_lazy
    def call_id(self) -> bytes:
        """The Call-ID as received; it is compared byte by byte (RFC 3261 section 20.8)."""
        value = self._required(b"Call-ID")
        if not value or b" " in value or b"\t" in value:
            raise SipParseError("no Call-ID")
        return value

    @_lazy
    def cseq(self) -> CSeq:
        """The CSeq: number and method."""
        return parse_cseq(self._required(b"CSeq"))

    @_lazy
    def contacts(self) -> list[NameAddr]:
        """All Contact values; ``Contact: *`` is one whose URI is a `RawUri` of no scheme."""
        return self._addresses(b"Contact")

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact value, or None."""
        contacts = self.contacts
        return contacts[0] if contacts else None

    @_lazy
    def routes(self) -> list[NameAddr]:
        """All Route values, in order."""
        return self._addresses(b"Route")

    @_lazy
    def record_routes(self) -> list[NameAddr]:
        """All Record-Route values, in order."""
        return self._addresses(b"Record-Route")

    def _number(self, name: bytes, largest: int = 0xFFFFFFFF) -> int | None:
        value = self._firsts.get(name)
        return None if value is None else parse_number(value, largest)

    @_lazy
    def content_length(self) -> int | None:
        """Content-Length in octets, None where it is not there."""
        return self._number(b"Content-Length")

    @_lazy
    def max_forwards(self) -> int | None:
        """Max-Forwards, 0 to 255 (RFC 3261 section 20.22), None where it is not there."""
        return self._number(b"Max-Forwards", 255)

    @_lazy
    def expires(self) -> int | None:
        """Expires in seconds, None where it is not there."""
        return self._number(b"Expires")

    @_lazy
    def content_type(self) -> bytes | None:
        """Content-Type as lower-case ``type/subtype`` without parameters."""
        value = self._firsts.get(b"Content-Type")
        if value is None:
            return None
        match = grammar.CONTENT_TYPE.fullmatch(value)
        if match is None:
            raise SipParseError("no Content-Type")
        return b"%b/%b" % (match[1].lower(), match[2].lower())

    @_lazy
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

    def __init__(self, method: bytes, uri: bytes, version: bytes, body: bytes, raw: bytes) -> None:
        super().__init__(body, raw)
        self.method = method
        self.uri = uri
        self.version = version

    @_lazy
    def request_uri(self) -> Uri:
        """The Request-URI; 400 where it is none, 416 where its scheme is not SIP's."""
        return parse_uri(self.uri)

    def __repr__(self) -> str:
        return f"<Request {self.method.decode()}>"


class Response(Message):
    """A response: ``status`` 100 to 699 and ``reason`` as received."""

    def __init__(self, status: int, reason: bytes, body: bytes, raw: bytes) -> None:
        super().__init__(body, raw)
        self.status = status
        self.reason = reason

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
    # 7.5: line breaks before the start line are ignored.
    lines, body, fault = _cut(data if data[:1] not in _LINE_BREAKS else data.lstrip(b"\r\n"))
    message, start_fault = _read_start(lines.pop(0), body, data)
    # What can be read is read even after a fault, for the answer.
    fault = _read_headers(lines, message) or fault
    if b"Content-Length" in message._firsts:
        fault = _frame(message) or fault
    fault = start_fault or fault
    if fault is not None:
        error = SipParseError(fault, 505 if fault is _VERSION else 400)
        if isinstance(message, Request):
            error.request = message
        raise error
    return message


_LINE_BREAKS: Final = (b"\r", b"\n")
_SPACE: Final = (b" ", b"\t")
_VERSION: Final = "SIP version is not 2.0"


def _cut(data: bytes) -> tuple[list[bytes], bytes, str | None]:
    """Lines of the head, the body, and a fault or None."""
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        head = data[:end]
        lines = head.split(b"\r\n")
        if head.count(b"\n") == len(lines) - 1 == head.count(b"\r"):
            return lines, data[end + 4 :], None
    match = grammar.END_OF_HEADERS.search(data)
    if match is None:
        head, body, fault = data, b"", "no empty line after the header fields"
    else:
        head, body, fault = data[: match.start()], data[match.end() :], None
    if b"\r" in head.replace(b"\r\n", b""):
        head = head.replace(b"\r\n", b"\n").replace(b"\r", b" ")
        fault = "carriage return inside a line"
    return grammar.LINE_END.split(head.rstrip(b"\r\n")), body, fault


def _read_start(line: bytes, body: bytes, raw: bytes) -> tuple[Request | Response, str | None]:
    """The message without its header fields, and a fault or None (7.1, 7.2)."""
    match = grammar.REQUEST_LINE.fullmatch(line)
    fault = None
    if match is None:
        response = grammar.STATUS_LINE.fullmatch(line)
        if response is not None:
            fault = None if response[1].upper() == b"SIP/2.0" else _VERSION
            return Response(int(response[2]), response[3] or b"", body, raw), fault
        fault = "broken request line"
        match = grammar.SLOPPY_REQUEST_LINE.fullmatch(line)
        if match is None:
            raise SipParseError("neither request line nor status line")
    if len(line) > grammar.MAX_LINE:
        fault = "a request line above 16,384 bytes"
    method, uri, version = match.groups()
    if version != b"SIP/2.0" and version.upper() != b"SIP/2.0":
        fault = _VERSION
    return Request(method, uri, version, body, raw), fault


def _read_headers(lines: list[bytes], message: Message) -> str | None:
    """Fill in the header fields; skips what is broken and returns a fault or None."""
    fault = None
    if len(lines) > grammar.MAX_HEADER_LINES:
        del lines[grammar.MAX_HEADER_LINES :]
        fault = "more than 256 header lines"
    headers = message.headers
    firsts = message._firsts
    for line in lines:
        name, colon, value = line.partition(b":")
        key = CANONICAL.get(name)
        if key is None:
            if line[:1] in _SPACE:
                return _read_folded(lines, message) or fault
            name = name.rstrip(b" \t")
            key = header_key(name)
            if not colon or grammar.TOKEN.fullmatch(name) is None:
                fault = "a line that is no header field"
                continue
            if key in CANONICAL:
                name = key
        else:
            name = key
        value = value.strip()
        headers.append((name, value))
        if key in firsts:
            message._repeated.setdefault(key, [firsts[key]]).append(value)
        else:
            firsts[key] = value
    if len(message.raw) > grammar.MAX_LINE and any(len(line) > grammar.MAX_LINE for line in lines):
        fault = "a header line above 16,384 bytes"
    return fault


def _read_folded(lines: list[bytes], message: Message) -> str | None:
    """Start again with continuations joined to their line by one space (7.3.1)."""
    message.headers.clear()
    message._firsts.clear()
    message._repeated.clear()
    fault = None
    fields: list[list[bytes]] = []
    for line in lines:
        if line[:1] not in _SPACE:
            fields.append([line])
        elif fields:
            fields[-1].append(line.strip(b" \t"))
        else:
            fault = "a continuation of the start line"
    return _read_headers([b" ".join(parts) for parts in fields], message) or fault


def _frame(message: Message) -> str | None:
    """Cut the body to Content-Length; returns a fault or None."""
    if b"Content-Length" in message._repeated:
        return "more than one Content-Length"
    value = message._firsts[b"Content-Length"]
    try:
        message.content_length = length = parse_number(value)
    except SipParseError as error:
        return f"Content-Length: {error}"
    body = message.body
    if length < len(body):
        message.body = body[:length]
    elif length > len(body):
        return "shorter than Content-Length says"
    return None


_ONCE: Final = (b"From", b"To", b"Call-ID", b"CSeq", b"Max-Forwards", b"Content-Type")


def required_faults(message: Message) -> str | None:
    """What makes a message unusable beyond framing, or None (RFC 3261 8.1.1, RFC 4475).

    Reads what every message needs: Via, From, To, Call-ID, CSeq, Contact where there is one,
    and for requests the Request-URI, Max-Forwards and the CSeq method.  All but Via and Contact
    may be there once only.  A URI scheme that is not ours is no fault.
    """
    if message._repeated:
        for name in _ONCE:
            if name in message._repeated:
                return f"more than one {name.decode()}"
    firsts = message._firsts
    try:
        via = message.via
        # Set at once what the properties would set one by one.
        message.from_ = from_ = parse_name_addr(firsts[b"From"])
        message.to = to = parse_name_addr(firsts[b"To"])
        message.from_tag = from_.params.get(b"tag")
        message.to_tag = to.params.get(b"tag")
        message.cseq = cseq = parse_cseq(firsts[b"CSeq"])
        _ = message.call_id
        if b"Contact" in firsts:
            _ = message.contacts
        return _request_fault(message, via, cseq) if isinstance(message, Request) else None
    except KeyError as error:
        return f"{error.args[0].decode()} is missing"
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
    if grammar.LINE_BREAK.search(reason + (to_tag or b"") + (via or b"")):
        raise ValueError("line break in reason phrase, To tag or Via")
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
