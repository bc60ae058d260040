"""Builds the bytes of messages (RFC 3261 sections 7 and 8.2.6).

The C extension (``_builder.c``), if it was compiled, writes all usual responses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from sessioncore import extensions
from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.fields import Message
from sessioncore.sip.names import REASONS

__all__ = ["build_request", "build_response"]

compiled: Final = extensions.compiled("sip._builder")


_FIELD: Final = b"%b: %b".__mod__
"""A line from (name, value)."""
_STATUS_LINES: Final = {
    status: b"SIP/2.0 %d %b" % (status, reason) for status, reason in REASONS.items()
}


def _joined(lines: list[bytes]) -> bytes:
    """The head of a message; refuses line breaks in a line, which would inject header fields."""
    head = b"\r\n".join(lines)
    if not head.count(b"\n") == head.count(b"\r") == len(lines) - 1:
        raise ValueError(f"line break inside a line of {lines!r}")
    return head


def build_request(
    method: bytes, uri: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes = b""
) -> bytes:
    """The bytes of a request; Content-Length is appended.

    Raises ValueError for a line break inside a name or value.
    """
    start = b"%b %b SIP/2.0" % (method, uri)
    if grammar.REQUEST_LINE.fullmatch(start) is None:
        raise ValueError(f"not a request line: {start!r}")
    lines = [start]
    lines += map(_FIELD, headers)
    lines.append(b"Content-Length: %d" % len(body))
    return b"%b\r\n\r\n%b" % (_joined(lines), body)


def build_response(
    request: Message,
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

    All Via, and the first From, To, Call-ID and CSeq, are copied as they came; a missing field
    stays missing.  ``via`` replaces the topmost Via, ``to_tag`` is added to a To without a tag,
    ``record_route`` copies Record-Route, a 100 copies Timestamp.  Content-Length is appended.
    Raises ValueError for a line break inside a name or value.
    """
    if reason is None and status in _STATUS_LINES:
        start = _STATUS_LINES[status]
    else:
        start = b"SIP/2.0 %d %b" % (status, b"Unknown" if reason is None else reason)
    if status == 100 and b"Timestamp" in request._firsts:
        headers = ((b"Timestamp", request._firsts[b"Timestamp"]), *headers)
    if _respond_compiled is not None:
        try:
            plain = _respond_compiled(request, start, to_tag, headers, body, via, record_route)
        except SipParseError:
            plain = None  # The To cannot be read.
        if plain is not None:
            return plain
    return _respond(request, start, to_tag, headers, body, via, record_route)


def _respond(
    request: Message,
    start: bytes,
    to_tag: bytes | None,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    via: bytes | None,
    record_route: bool,
) -> bytes:
    """Any response after its status line, as `build_response` describes it."""
    firsts = request._firsts
    if to_tag is not None and _has_to_tag(request):
        to_tag = None
    try:
        top, to = firsts[b"Via"], firsts[b"To"]
        lines = [
            start,
            b"Via: %b" % (top if via is None else via),
            b"From: %b" % firsts[b"From"],
            b"To: %b" % to if to_tag is None else b"To: %b;tag=%b" % (to, to_tag),
            b"Call-ID: %b" % firsts[b"Call-ID"],
            b"CSeq: %b" % firsts[b"CSeq"],
            *map(_FIELD, headers),
            b"Content-Length: %d" % len(body),
        ]
        several = request._repeated or b"," in top
    except KeyError:
        lines = [start, b"", *_what_there_is(firsts, to_tag), *map(_FIELD, headers)]
        lines.append(b"Content-Length: %d" % len(body))
        several = True
    if several or (record_route and b"Record-Route" in firsts):
        lines[1:2] = _path(request, via, record_route)
    return b"%b\r\n\r\n%b" % (_joined(lines), body)


_respond_compiled: Callable[..., bytes | None] | None = (
    None if compiled is None else compiled.response
)


def _what_there_is(firsts: dict[bytes, bytes], to_tag: bytes | None) -> list[bytes]:
    tagged = b"" if to_tag is None else b";tag=" + to_tag
    return [
        b"%b: %b%b" % (name, firsts[name], tagged if name == b"To" else b"")
        for name in (b"From", b"To", b"Call-ID", b"CSeq")
        if name in firsts
    ]


def _path(request: Message, via: bytes | None, record_route: bool) -> list[bytes]:
    """All Via, and Record-Route if requested."""
    values = request.all(b"Via")
    if via is not None and values:
        rest = b""
        if b"," in values[0]:
            # Only the topmost value of this header field is replaced.
            first = grammar.LIST_ITEM.match(values[0])
            rest = values[0][first.end() + 1 :].strip() if first is not None else b""
        values[:1] = [via, rest] if rest else [via]
    lines = [b"Via: %b" % value for value in values]
    if record_route:
        lines += [b"Record-Route: %b" % value for value in request.all(b"Record-Route")]
    return lines


_TAG: Final = re.compile(rb";[ \t]*tag[ \t]*=", re.IGNORECASE)


def _has_to_tag(request: Message) -> bool:
    try:
        return request.to_tag is not None
    except SipParseError:
        # A To that cannot be read is answered 400; it gets no second tag.
        return _TAG.search(request._firsts.get(b"To", b"")) is not None
