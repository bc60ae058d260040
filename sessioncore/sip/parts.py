"""The common parts of header values and URIs: hosts, ports, parameters, numbers, lists.

RFC 3261 section 25.1.  Every reader either returns a value or raises `SipParseError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address
from types import MappingProxyType
from typing import Final, TypeAlias

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar

__all__ = [
    "CACHEABLE",
    "CACHED",
    "NO_PARAMS",
    "Params",
    "parse_call_id",
    "parse_number",
    "read_host",
    "read_params",
    "read_port",
    "shown",
    "split_list",
]

Params: TypeAlias = Mapping[bytes, bytes | None]
"""Parameters by lower-case name; the value is None for a parameter without a value.

Values of header parameters are as received (quotes included); those of URI parameters are
unescaped once.  If a name is repeated, the first one counts.
"""

NO_PARAMS: Final[Params] = MappingProxyType({})
CACHED: Final = 2048
"""The number of values in each cache of repeated values."""
CACHEABLE: Final = 256
"""Longer values (bytes) are not cached, so that strangers cannot fill the memory."""


def _ipv6(text: bytes) -> bytes:
    """An IPv6 address without its brackets; ``:::`` is taken as ``::`` (RFC 5118 4.10)."""
    text = text.strip(b"[]").replace(b":::", b"::")
    try:
        IPv6Address(text.decode("ascii"))
    except ValueError:
        raise SipParseError(f"not an IPv6 address: {shown(text)}") from None
    return text


def shown(value: bytes) -> str:
    """The start of a value for an error text, with all non-ASCII bytes escaped."""
    return ascii(value[:60])[1:]


def read_host(text: bytes) -> bytes:
    """A host without the brackets of an IPv6 address; an IPv6 address is checked."""
    return _ipv6(text) if text.startswith(b"[") else text


def read_port(text: bytes | None) -> int | None:
    """A port of one to five digits, 1 to 65535."""
    if text is None:
        return None
    port = int(text)  # the pattern allows only one to five digits
    if not 0 < port < 65_536:
        raise SipParseError(f"not a port: {port}")
    return port


def read_params(text: bytes) -> Params:
    """Parameters of a text that `grammar.PARAMS` has matched."""
    if not text:
        return NO_PARAMS
    params: dict[bytes, bytes | None] = {}
    if b'"' in text:
        for match in grammar.PARAM.finditer(text):
            params.setdefault(match[1].lower(), match[2])
        return params
    for piece in text.split(b";")[1:]:
        name, equal, value = piece.partition(b"=")
        params.setdefault(name.strip().lower(), value.strip() if equal else None)
    return params


def parse_call_id(value: bytes) -> bytes:
    """Check a Call-ID, which is one word (RFC 3261 section 20.8), and return it."""
    if not value or b" " in value or b"\t" in value:
        raise SipParseError(f"not a Call-ID: {shown(value)}")
    return value


def parse_number(value: bytes, largest: int = 0xFFFFFFFF) -> int:
    """Read 1*DIGIT up to ``largest``; leading zeros are allowed."""
    if len(value) < 10 and value.isdigit():
        number = int(value)
    else:
        match = grammar.NUMBER.fullmatch(value)
        if match is None:
            raise SipParseError(f"not a number: {shown(value)}")
        number = int(match[1])
    if number > largest:
        raise SipParseError(f"not a number up to {largest}: {shown(value)}")
    return number


def split_list(value: bytes) -> list[bytes]:
    """Split a header value at its commas, but not in quotes or angle brackets (7.3.1).

    Items are stripped of white space and may be empty.  Raises `SipParseError` if a quote or
    bracket is not closed, or for more than 256 items.
    """
    if b"," not in value:
        return [value.strip()]
    if b'"' not in value and b"<" not in value:
        items = value.split(b",", grammar.MAX_LIST_ITEMS)
    else:
        items = []
        at = 0
        while at <= len(value) and len(items) <= grammar.MAX_LIST_ITEMS:
            match = grammar.LIST_ITEM.match(value, at)
            if match is None or (match.end() < len(value) and value[match.end()] != 0x2C):
                raise SipParseError(f"quote or bracket is not closed: {shown(value[at:])}")
            items.append(match.group())
            at = match.end() + 1
    if len(items) > grammar.MAX_LIST_ITEMS:
        raise SipParseError("too many values in one header field")
    return [item.strip() for item in items]
