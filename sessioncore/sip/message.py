"""SIP messages (RFC 3261 section 7): bytes to `Request` or `Response`, and back to bytes.

Reading makes one pass over the header block into (name, raw value) pairs; typed values are
read on demand, once.  Everything either parses or raises `SipParseError`; where a request is
broken but an answer can still be built, the error carries what was read as ``error.request``.
"""

from __future__ import annotations

from typing import Final

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.building import build_request, build_response
from sessioncore.sip.fields import Message, lazy
from sessioncore.sip.names import CANONICAL, header_key
from sessioncore.sip.values import (
    CSeq,
    Uri,
    Via,
    parse_any_uri,
    parse_call_id,
    parse_cseq,
    parse_name_addr,
    parse_number,
    parse_uri,
    parse_via,
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


class Request(Message):
    """A request: ``method`` and ``uri`` as received (methods are case-sensitive)."""

    def __init__(self, method: bytes, uri: bytes, version: bytes, body: bytes, raw: bytes) -> None:
        # What Message.__init__ does; a call of it would be a tenth of reading a message.
        self.headers = []
        self.body = body
        self.raw = raw
        self._firsts = {}
        self._repeated = {}
        self.method = method
        self.uri = uri
        self.version = version

    @lazy
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
    firsts = message._firsts
    append = message.headers.append
    known = CANONICAL.get
    for line in lines:
        given, colon, value = line.partition(b":")
        key = known(given)
        if key is None:
            if line[:1] in _SPACE:
                return _read_folded(lines, message) or fault
            given = given.rstrip(b" \t")
            key = header_key(given)
            name = key if key in CANONICAL else given
            if not colon or grammar.TOKEN.fullmatch(given) is None:
                fault = "a line that is no header field"
                continue
        else:
            name = key
        value = value.strip()
        append((name, value))
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
        # Set at once what the properties would set one by one.
        top = firsts[b"Via"]
        message.via = via = parse_via(top) if b"," not in top else message.via
        message.from_ = from_ = parse_name_addr(firsts[b"From"])
        message.to = to = parse_name_addr(firsts[b"To"])
        message.from_tag = from_.params.get(b"tag")
        message.to_tag = to.params.get(b"tag")
        message.cseq = cseq = parse_cseq(firsts[b"CSeq"])
        message.call_id = parse_call_id(firsts[b"Call-ID"])
        if b"Contact" in firsts:
            _ = message.contacts
        return _request_fault(message, via, cseq) if isinstance(message, Request) else None
    except KeyError as error:
        return f"{error.args[0].decode()} is missing"
    except SipParseError as error:
        return str(error)


def _request_fault(request: Request, via: Via, cseq: CSeq) -> str | None:
    uri = parse_any_uri(request.uri)
    if isinstance(uri, Uri):
        request.request_uri = uri
    if cseq.method != request.method:
        return "CSeq names another method"
    if b"Max-Forwards" in request._firsts:
        parse_number(request._firsts[b"Max-Forwards"], 255)
    branch = via.params.get(b"branch")
    if branch is not None and len(branch) <= len(_COOKIE) and branch.lower() == _COOKIE:
        return "branch is nothing but the magic cookie"  # RFC 4475 section 3.2.1
    return None


_COOKIE: Final = b"z9hg4bk"
