"""Typed header values of RFC 3261: name-addr and CSeq; URIs and Via have their own modules.

Every reader either returns a value or raises `SipParseError` (400, or 416 for an unsupported
URI scheme).  Bounded caches hold values that repeat from message to message, so values are
shared and must never be changed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from attrs import define

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.parts import (
    CACHEABLE,
    CACHED,
    NO_PARAMS,
    Params,
    parse_call_id,
    parse_number,
    read_params,
    shown,
    split_list,
)
from sessioncore.sip.uris import (
    RawUri,
    Uri,
    parse_any_uri,
    parse_called_uri,
    parse_strict_uri,
    parse_uri,
    read_uri,
    remembered_uri,
)
from sessioncore.sip.via import Via, parse_via, remembered_sent_by

__all__ = [
    "CSeq",
    "NameAddr",
    "Params",
    "RawUri",
    "Uri",
    "Via",
    "parse_any_uri",
    "parse_call_id",
    "parse_called_uri",
    "parse_contact",
    "parse_content_type",
    "parse_cseq",
    "parse_name_addr",
    "parse_number",
    "parse_route",
    "parse_strict_uri",
    "parse_uri",
    "parse_via",
    "read_tag",
    "remembered_address",
    "remembered_contact",
    "remembered_cseq",
    "remembered_sent_by",
    "remembered_uri",
    "shown",
    "split_list",
]


@define
class NameAddr:
    """name-addr or addr-spec with its header parameters (From, To, Contact, Route, ...).

    ``display`` is the display name as received: quotes and escapes included, or empty.
    """

    display: bytes
    uri: Uri | RawUri
    params: Params

    @property
    def tag(self) -> bytes | None:
        """The tag parameter of From or To."""
        return self.params.get(b"tag")


class CSeq(NamedTuple):
    """A CSeq value (RFC 3261 section 20.16): a 32-bit number and a method."""

    number: int
    method: bytes


def _read_address(data: bytes) -> tuple[bytes, Uri | RawUri]:
    """Display name and URI of a name-addr that lacks its closing bracket."""
    data += b">"
    match = grammar.DISPLAY_ADDRESS.fullmatch(data)
    if match is None:
        raise SipParseError(f"not an address: {shown(data)}")
    quoted, tokens, uri = match.groups()
    return quoted or tokens.rstrip(), read_uri(uri)


remembered_address = lru_cache(CACHED)(_read_address)


def parse_name_addr(value: bytes) -> NameAddr:
    """Read one From, To, Contact, Route or Record-Route value (RFC 3261 section 20.10)."""
    end = value.rfind(b">")
    rest = value[end + 1 :]
    if end >= 0 and b'"' not in rest:
        # No quote after it, so that bracket stands in no quoted parameter: it ends the address.
        read = remembered_address if end < CACHEABLE else _read_address
        display, uri = read(value[:end])
        if grammar.PARAMS.fullmatch(rest) is None:
            raise SipParseError(f"no address: {shown(value)}")
        return NameAddr(display, uri, _header_params(rest))
    match = grammar.NAME_ADDR.fullmatch(value)
    if match is not None:
        quoted, tokens, raw, rest = match.groups()
        return NameAddr(quoted or tokens.rstrip(), parse_any_uri(raw), _header_params(rest))
    match = grammar.PLAIN_ADDR.fullmatch(value)
    if match is None:
        raise SipParseError(f"no address: {shown(value)}")
    quoted, tokens, raw, rest = match.groups()
    return NameAddr(quoted or (tokens or b"").rstrip(), parse_any_uri(raw), _header_params(rest))


_TAG: Final = re.compile(rb";[ \t]*+tag[ \t]*+=[ \t]*+([^;,\s]*+)", re.IGNORECASE)


def read_tag(value: bytes) -> bytes | None:
    """The tag of a From or To value, or None, even if nothing else of it can be read.

    Raises `SipParseError` if the tag is not a token.
    """
    try:
        return parse_name_addr(value).tag
    except SipParseError:
        found = _TAG.search(value, value.rfind(b">") + 1)
        if found is not None and not grammar.TOKEN.fullmatch(found[1]):
            raise
        return None if found is None else found[1]


def _header_params(text: bytes) -> Params:
    params = read_params(text)
    if b"tag" in params and not grammar.TOKEN.fullmatch(params[b"tag"] or b""):
        raise SipParseError(f"not a tag: {shown(text)}")
    return params


def _read_contact(value: bytes) -> NameAddr:
    return NameAddr(b"", _STAR, NO_PARAMS) if value == b"*" else parse_name_addr(value)


_STAR: Final = RawUri(b"*", b"")
remembered_contact = lru_cache(CACHED)(_read_contact)


def parse_contact(value: bytes) -> NameAddr:
    """As `parse_name_addr`, for header fields whose values repeat (Contact, Route, ...).

    ``*`` (RFC 3261 section 10.2.2) is read as a `RawUri` without scheme.
    """
    return remembered_contact(value) if len(value) <= CACHEABLE else _read_contact(value)


def parse_route(value: bytes) -> NameAddr:
    """As `parse_contact`, for Route and Record-Route.

    Without the brackets that section 20.34 demands, parameters (``lr``) are those of the URI.
    """
    return parse_contact(value if b"<" in value else b"<%b>" % value)


def parse_cseq(value: bytes) -> CSeq:
    """Read a CSeq value; the number fits into 32 bits (RFC 3261 section 20.16)."""
    return remembered_cseq(value) if len(value) <= CACHEABLE else _read_cseq(value)


def _read_cseq(value: bytes) -> CSeq:
    match = grammar.CSEQ.fullmatch(value)
    if match is None or (number := int(match[1])) > 0xFFFFFFFF:
        raise SipParseError(f"not a CSeq: {shown(value)}")
    return CSeq(number, match[2])


remembered_cseq = lru_cache(CACHED)(_read_cseq)


def parse_content_type(value: bytes) -> bytes:
    """Read a Content-Type as lower-case ``type/subtype`` without parameters (section 20.15)."""
    return _remembered_content_type(value) if len(value) <= CACHEABLE else _read_content_type(value)


def _read_content_type(value: bytes) -> bytes:
    match = grammar.CONTENT_TYPE.fullmatch(value)
    if match is None:
        raise SipParseError(f"not a Content-Type: {shown(value)}")
    return b"%b/%b" % (match[1].lower(), match[2].lower())


_remembered_content_type = lru_cache(CACHED)(_read_content_type)
