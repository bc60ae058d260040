"""URIs of RFC 3261 section 19.1.

A bounded cache holds the parsed URIs, so they are shared and must never be changed (attrs'
``frozen`` would enforce that, but costs a microsecond per value).
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar, Final
from urllib.parse import unquote_to_bytes

from attrs import define, evolve

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.parts import (
    CACHEABLE,
    CACHED,
    NO_PARAMS,
    Params,
    read_host,
    read_params,
    read_port,
    shown,
)

__all__ = [
    "RawUri",
    "Uri",
    "parse_any_uri",
    "parse_called_uri",
    "parse_strict_uri",
    "parse_uri",
    "read_uri",
    "remembered_uri",
]


@define
class Uri:
    """A SIP or SIPS URI (RFC 3261 section 19.1).

    ``raw`` is the URI as received, and the result of ``bytes(uri)``; ``scheme`` is lower-case;
    ``user`` and ``password`` are still escaped; ``host`` has no brackets; ``headers`` is the
    part after "?", which is never acted on.
    """

    raw: bytes
    scheme: bytes
    user: bytes | None
    password: bytes | None
    host: bytes
    port: int | None
    params: Params
    headers: bytes

    @property
    def is_ipv6(self) -> bool:
        """Whether ``host`` is an IPv6 address."""
        return b":" in self.host

    @property
    def user_text(self) -> str:
        """The user part as text, unescaped once; empty if there is none."""
        return unquote_to_bytes(self.user or b"").decode("utf-8", "replace")

    def __bytes__(self) -> bytes:
        return self.raw

    def __str__(self) -> str:
        return self.raw.decode("utf-8", "replace")


@define
class RawUri:
    """A URI of another scheme (``tel:``, ``http:``, ...), kept as it is, or Contact's ``*``."""

    headers: ClassVar = b""

    raw: bytes
    scheme: bytes

    def __bytes__(self) -> bytes:
        return self.raw

    def __str__(self) -> str:
        return self.raw.decode("utf-8", "replace")


def _uri_params(text: bytes) -> Params:
    if not text:
        return NO_PARAMS
    if b"%" not in text and b'"' not in text:
        return MappingProxyType(read_params(text))
    params: dict[bytes, bytes | None] = {}
    for piece in grammar.URI_PARAM.findall(text):
        name, equal, value = piece.partition(b"=")
        key = unquote_to_bytes(name).lower()
        params.setdefault(key, unquote_to_bytes(value) if equal else None)
    return MappingProxyType(params)


def read_uri(data: bytes) -> Uri | RawUri:
    """As `parse_any_uri`, without its cache."""
    match = grammar.SIP_URI.fullmatch(data)
    if match is None:
        foreign = grammar.FOREIGN_URI.fullmatch(data)
        if foreign is None or foreign[1].lower() in (b"sip", b"sips"):
            raise SipParseError(f"not a URI: {shown(data)}")
        return RawUri(data, foreign[1].lower())
    scheme, user, password, host, port, params, headers = match.groups()
    return Uri(
        data,
        scheme.lower(),
        user,
        password,
        read_host(host),
        read_port(port),
        _uri_params(params),
        headers or b"",
    )


remembered_uri = lru_cache(CACHED)(read_uri)


def parse_any_uri(data: bytes) -> Uri | RawUri:
    """Read a URI of any scheme (RFC 3261 section 25.1 SIP-URI, SIPS-URI, absoluteURI)."""
    return remembered_uri(data) if len(data) <= CACHEABLE else read_uri(data)


_BARE_IPV6: Final = re.compile(
    rb"([Ss][Ii][Pp][Ss]?:(?:[^@<>\x00-\x20]*+@)?)([0-9A-Fa-f]*+:[0-9A-Fa-f:.]{1,44})([;?].*)?"
)


def parse_called_uri(data: bytes) -> Uri | RawUri:
    """As `parse_any_uri`, for a Request-URI whose host nobody looks at.

    So its IPv6 address may lack the brackets, although it is not clear then whether it ends
    with a port (RFC 5118 section 4.2).
    """
    try:
        return parse_any_uri(data)
    except SipParseError:
        bare = _BARE_IPV6.fullmatch(data)
        if bare is None:
            raise
        uri = read_uri(b"%b[%b]%b" % (bare[1], bare[2], bare[3] or b""))
        return evolve(uri, raw=data)


def parse_uri(data: bytes) -> Uri:
    """Read a SIP or SIPS URI; raises `SipParseError` with 416 for any other scheme."""
    uri = parse_any_uri(data)
    if isinstance(uri, RawUri):
        raise SipParseError(f"URI scheme {shown(uri.scheme)} is not supported", 416)
    return uri


def parse_strict_uri(data: bytes) -> Uri:
    """As `parse_uri`, for a URI that is not a peer's: it has to follow the grammar of the RFC."""
    return _remembered_strict(data) if len(data) <= CACHEABLE else _read_strict(data)


def _read_strict(data: bytes) -> Uri:
    uri = parse_uri(data)
    if grammar.STRICT_SIP_URI.fullmatch(data) is None:
        raise SipParseError(f"not a URI: {shown(data)}")
    return uri


_remembered_strict = lru_cache(CACHED)(_read_strict)
