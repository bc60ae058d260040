"""Messages to bytes (RFC 3261 sections 7 and 8.2.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.names import REASONS

if TYPE_CHECKING:
    from sessioncore.sip.message import Request

__all__ = ["build_request", "build_response"]


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
