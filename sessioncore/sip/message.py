"""SIP messages (RFC 3261 section 7): parses bytes into `Request` or `Response`.

One pass over the header block makes (name, raw value) pairs.  The C extension (``_reader.c``)
does it if it was compiled, otherwise one regular expression; unusual messages are read line by
line.  Typed values are parsed on demand, once.
Every input either parses or raises `SipParseError`.  If a broken request can still be answered,
the error has the parts that could be read as ``error.request``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from sessioncore import extensions
from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.building import build_request, build_response
from sessioncore.sip.fields import Message, lazy
from sessioncore.sip.grammar import MAX_HEADER_FIELDS, MAX_LINE, MAX_MESSAGE
from sessioncore.sip.names import CANONICAL, CANONICAL_NAMES, header_key
from sessioncore.sip.parts import Params, read_params
from sessioncore.sip.values import (
    RawUri,
    Uri,
    Via,
    parse_any_uri,
    parse_called_uri,
    parse_contact,
    parse_number,
    read_tag,
    remembered_address,
    remembered_contact,
    remembered_cseq,
    remembered_sent_by,
    remembered_uri,
    shown,
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

compiled: Final = extensions.compiled("sip._reader")


class Request(Message):
    """A request: ``method`` and ``uri`` as received (methods are case-sensitive)."""

    version = b"SIP/2.0"

    def __init__(
        self, method: bytes, uri: bytes, body: bytes, raw: bytes, firsts: dict[bytes, bytes]
    ) -> None:
        # Message.__init__, inlined: the call would take a tenth of the time of reading a message.
        self.method = method
        self.uri = uri
        self.body = body
        self.raw = raw
        self._firsts = firsts

    @lazy
    def any_uri(self) -> Uri | RawUri:
        """The Request-URI, of any scheme; raises `SipParseError` (400) if it is not a URI."""
        return parse_any_uri(self.uri)

    @property
    def request_uri(self) -> Uri:
        """The Request-URI; raises `SipParseError`: 400 if not a URI, 416 if not SIP or SIPS."""
        uri = self.any_uri
        if isinstance(uri, RawUri):
            raise SipParseError(f"URI scheme {shown(uri.scheme)} is not supported", 416)
        return uri

    def __repr__(self) -> str:
        return f"<Request {self.method.decode()}>"


class Response(Message):
    """A response: ``status`` 100 to 699 and ``reason`` as received."""

    def __init__(
        self, status: int, reason: bytes, body: bytes, raw: bytes, firsts: dict[bytes, bytes]
    ) -> None:
        super().__init__(body, raw, firsts)
        self.status = status
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def parse_message(data: bytes) -> Request | Response:
    """Read one datagram (RFC 3261 sections 7 and 18.3).

    The body is cut to Content-Length; without one it is the rest of the datagram.  Raises
    `SipParseError` with status 400, 505 for another SIP version, or 513 above 65,535 bytes.
    Its ``request`` is the request that can be answered, or None.  Of a response, ACK, BYE or
    CANCEL, lines that are not header fields and an unreadable Content-Length are ignored.
    """
    if _read_compiled is not None:
        plain = _read_compiled(data)
        if plain is not None:
            return plain
    end = data.find(b"\r\n\r\n")
    start = _match_start(data, 0, end)
    if start is None or end > MAX_LINE or len(data) > MAX_MESSAGE:
        return _read_carefully(data)
    fields = _find_fields(data, start.end(), end)
    method, uri, status, reason = start.groups()
    body = data[end + 4 :]
    firsts = dict(fields)
    message: Request | Response
    if method is not None:
        message = Request(method, uri, body, data, firsts)
    else:
        message = Response(int(status), reason or b"", body, data, firsts)
    lines = data.count(b"\n", 0, end)
    if lines != data.count(b"\r", 0, end):
        return _read_carefully(data)
    if lines != len(firsts) or not _is_canonical(firsts):
        # Any other line break means that a line was not read correctly.
        if lines != len(fields) or lines > MAX_HEADER_FIELDS:
            return _read_carefully(data)
        _index(fields, message)
    elif b"%d" % len(body) == firsts.get(b"Content-Length"):
        return message
    return message if _frame(message) is None else _read_carefully(data)


_read_compiled: Callable[[bytes], Request | Response | None] | None = (
    None if compiled is None else partial(compiled.read, CANONICAL, Request, Response)
)
_match_start: Final = grammar.PLAIN_START.match
_find_fields: Final = grammar.PLAIN_FIELD.findall
_is_canonical: Final = CANONICAL_NAMES.issuperset


def _read_carefully(data: bytes) -> Request | Response:
    """Read any message; after a fault it reads on, so that the request can be answered."""
    if len(data) > MAX_MESSAGE:
        raise SipParseError("message above 65,535 bytes", 513)
    # 7.5: line breaks before the start line are ignored.
    start, lines, body, fault = _cut(data.lstrip(b"\r\n"))
    message, start_fault = _read_start(start, body, data)
    fields, line_fault = _read_lines(lines)
    _index(fields, message)
    frame_fault = _frame(message)
    fault = start_fault or frame_fault or line_fault or fault
    if fault is not None and (start_fault or fault in _CUT_OFF or not _is_only_matched(message)):
        error = SipParseError(fault, 505 if fault is _VERSION else 400)
        if isinstance(message, Request):
            error.request = message
        raise error
    return message


_SPACE: Final = (b" ", b"\t")
_VERSION: Final = "SIP version is not 2.0"
_NO_END: Final = "no empty line after the header fields"
_SHORT: Final = "body shorter than Content-Length"
_CUT_OFF: Final = (_NO_END, _SHORT)
"""Faults of a message whose rest is missing (RFC 3261 section 18.3)."""
_MATCHED: Final = (b"ACK", b"BYE", b"CANCEL")


def _is_only_matched(message: Message) -> bool:
    """Whether Via, Call-ID, CSeq and the tags suffice to act on the message.

    They do for responses, ACK, BYE and CANCEL.  RFC 3261 section 8.2.2: faults in header fields
    that are not necessary for processing a message are ignored.
    """
    return isinstance(message, Response) or (
        isinstance(message, Request) and message.method in _MATCHED
    )


def _cut(data: bytes) -> tuple[bytes, list[bytes], bytes, str | None]:
    """The start line, the unfolded header lines (7.3.1), the body, and a fault or None."""
    match = grammar.END_OF_HEADERS.search(data)
    if match is None:
        head, body, fault = data, b"", _NO_END
    else:
        head, body, fault = data[: match.start()], data[match.end() :], None
    if b"\r" in head.replace(b"\r\n", b""):
        head = head.replace(b"\r\n", b"\n").replace(b"\r", b" ")
        fault = "carriage return inside a line"
    start, *rest = grammar.LINE_END.split(head.rstrip(b"\r\n"), 1)
    lines = grammar.LINE_END.split(grammar.FOLD.sub(b" ", rest[0])) if rest else []
    if lines and lines[0][:1] in _SPACE:
        del lines[0]
        fault = "a continuation of the start line"
    return start, lines, body, fault


def _read_start(line: bytes, body: bytes, raw: bytes) -> tuple[Request | Response, str | None]:
    """The message without its header fields, and a fault or None (7.1, 7.2)."""
    match = grammar.REQUEST_LINE.fullmatch(line)
    fault = None
    if match is None:
        response = grammar.STATUS_LINE.fullmatch(line)
        if response is not None:
            fault = None if response[1].upper() == b"SIP/2.0" else _VERSION
            return Response(int(response[2]), response[3] or b"", body, raw, {}), fault
        fault = "broken request line"
        match = grammar.SLOPPY_REQUEST_LINE.fullmatch(line)
        if match is None:
            raise SipParseError("the first line is neither a request line nor a status line")
    if len(line) > MAX_LINE:
        fault = "a request line above 16,384 bytes"
    method, uri, version = match.groups()
    if version.upper() != b"SIP/2.0":
        fault = _VERSION
    message = Request(method, uri, body, raw, {})
    message.version = version
    return message, fault


def _read_lines(lines: list[bytes]) -> tuple[list[tuple[bytes, bytes]], str | None]:
    """The header fields, without those that are broken, and a fault or None."""
    fault = None
    if len(lines) > MAX_HEADER_FIELDS:
        lines[MAX_HEADER_FIELDS:] = filter(_is_copied, lines[MAX_HEADER_FIELDS:])
        fault = "more than 256 header fields"
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or name not in CANONICAL:
            name = name.rstrip(b" \t")
            if not colon or grammar.TOKEN.fullmatch(name) is None:
                fault = "a line that is not a header field"
                continue
        fields.append((name, value.strip()))
    if any(len(line) > MAX_LINE for line in lines):
        fault = "a header line above 16,384 bytes"
    return fields, fault


def _is_copied(line: bytes) -> bool:
    """Whether a response needs this header field, so that the peer can match it (8.2.6.2)."""
    return header_key(line.partition(b":")[0].rstrip(b" \t")) in _COPIED


_COPIED: Final = frozenset((b"Via", b"From", b"To", b"Call-ID", b"CSeq"))


def _index(fields: list[tuple[bytes, bytes]], message: Message) -> None:
    """Store the header fields in ``message`` under their canonical names (7.3.3)."""
    headers = []
    firsts: dict[bytes, bytes] = {}
    repeated: dict[bytes, list[bytes]] = {}
    for given, value in fields:
        key = header_key(given)
        headers.append((key if key in CANONICAL else given, value))
        if key in firsts:
            repeated.setdefault(key, [firsts[key]]).append(value)
        else:
            firsts[key] = value
    message.headers = headers
    message._firsts = firsts
    message._repeated = repeated


def _frame(message: Message) -> str | None:
    """Cut the body to Content-Length; returns a fault or None."""
    value = message._firsts.get(b"Content-Length")
    if value is None:
        return None
    if b"Content-Length" in message._repeated:
        return "more than one Content-Length"
    try:
        length = parse_number(value)
    except SipParseError as error:
        return f"Content-Length: {error}"
    body = message.body
    if length < len(body):
        message.body = body[:length]
    elif length > len(body):
        return _SHORT
    return None


_ONCE: Final = (b"From", b"To", b"Call-ID", b"CSeq")
_AIMING: Final = (b"INVITE", b"NOTIFY", b"REFER", b"SUBSCRIBE", b"UPDATE")
"""The methods whose Contact is the target of later requests (RFC 3261 section 12, RFC 6665)."""


def required_faults(message: Message) -> str | None:
    """The fault, beyond framing, that makes a message unusable, or None (RFC 3261 8.1.1, RFC 4475).

    A message is judged by what it is needed for.  All need Via, From, To, Call-ID and CSeq, of
    which all but Via may occur only once; of From and To, responses, ACK, BYE and CANCEL need
    only the tags.  Other requests need a Request-URI, and those that set a remote target a
    Contact, if there is one, that can be read.  An unsupported URI scheme is not a fault.
    """
    repeated = message._repeated
    if repeated:
        for name in _ONCE:
            if name in repeated:
                return f"more than one {name.decode()}"
        kinds = set(repeated.get(b"Content-Type", ()))
        if len(kinds) > 1 and message.body and not _is_only_matched(message):
            return "more than one Content-Type"
    if _require_compiled is not None:
        try:
            if _require_compiled(message):
                return None
        except SipParseError:
            pass  # The checks below report the first fault in a fixed order.
    try:
        plain = _read_plain(message, message._firsts)
        if not plain:
            _read_singly(message)
        _read_contacts(message)
        if not isinstance(message, Request):
            return None
        if message.method not in _MATCHED:
            message.any_uri = _request_uri(message)
        if message.cseq.method != message.method:
            return "the CSeq method differs from the request method"
        if not plain and (message.via.branch or b"").lower() == b"z9hg4bk":
            return "the branch is only the magic cookie"  # RFC 4475 section 3.2.1
    except SipParseError as error:
        return str(error)
    return None


def _read_singly(message: Message) -> None:
    """Read what every message needs, value by value."""
    _ = message.via
    if _is_only_matched(message):
        message.from_tag = read_tag(message._required(b"From"))
        message.to_tag = read_tag(message._required(b"To"))
    _ = message.from_tag, message.to_tag, message.cseq, message.call_id


def _read_contacts(message: Message) -> None:
    """Read Contact; if it cannot be read, this is a fault of requests that set a target."""
    contact = message._firsts.get(b"Contact")
    if contact is None:
        return
    try:
        if message._repeated or b"," in contact:
            _ = message.contacts
        else:
            message.contacts = [parse_contact(contact)]
    except SipParseError:
        if isinstance(message, Request) and message.method in _AIMING:
            raise


def _request_uri(request: Request) -> Uri | RawUri:
    """The Request-URI; only a registrar needs the host in it (RFC 3261 section 10.3)."""
    if request.method == b"REGISTER":
        return parse_any_uri(request.uri)
    return parse_called_uri(request.uri)


def _read_plain(message: Message, firsts: dict[bytes, bytes]) -> bool:
    """Set all typed values in one step; False if the properties have to parse one by one."""
    try:
        top = firsts[b"Via"]
        match = _match_required(
            b"\n".join((top, firsts[b"From"], firsts[b"To"], firsts[b"Call-ID"], firsts[b"CSeq"]))
        )
        if match is None:
            return False
        (
            head, rport, branch, rport_behind, others,
            from_, from_tag, to, to_tag, call_id, cseq,
        ) = match.groups()  # fmt: skip
        sender = remembered_sent_by(head)
        message.from_uri = remembered_address(from_)[1]
        message.to_uri = remembered_address(to)[1]
        message.cseq = remembered_cseq(cseq)
    except (KeyError, SipParseError):
        return False
    params: Params = {b"branch": branch}
    if rport or rport_behind:
        params = {b"branch": branch, b"rport": None}
    elif others is not None:
        params = read_params(others)
        branch = params.get(b"branch")
        if branch is not None and len(branch) <= len(b"z9hG4bK"):
            return False
    message.via = Via(top, sender, branch, params)
    message.from_tag = from_tag
    message.to_tag = to_tag
    message.call_id = call_id
    return True


_require_compiled: Callable[[Message], bool] | None = (
    None
    if compiled is None
    else partial(
        compiled.required,
        remembered_sent_by,
        remembered_address,
        remembered_cseq,
        remembered_contact,
        remembered_uri,
        Via,
        Request,
    )
)
_match_required: Final = grammar.PLAIN_REQUIRED.fullmatch
