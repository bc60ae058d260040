"""Typed header values of RFC 3261: URIs, name-addr, Via, CSeq.

Every reader either returns a value or raises `SipParseError` (400, or 416 for a URI scheme
that is not ours).  What repeats from message to message (URIs, the part of Via before the
parameters) is remembered in bounded caches, so values are shared and
must never be changed (attrs' ``frozen`` would guard that, at a microsecond per value).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from attrs import define

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.vocabulary import Address

__all__ = [
    "CSeq",
    "NameAddr",
    "Params",
    "RawUri",
    "Uri",
    "Via",
    "parse_any_uri",
    "parse_call_id",
    "parse_contact",
    "parse_cseq",
    "parse_name_addr",
    "parse_number",
    "parse_uri",
    "parse_via",
    "split_list",
]

Params: TypeAlias = Mapping[bytes, bytes | None]
"""Parameters by lower-case name, None where one has no value.

Values of header parameters are as received (quotes included), those of URI parameters are
unescaped once.  Where a name is repeated the first one counts.
"""

_NO_PARAMS: Final[Params] = MappingProxyType({})
_CACHEABLE: Final = 256
"""Longer values are read anew each time, so that strangers cannot fill the caches."""
_CACHED: Final = 2048


@define
class Uri:
    """A SIP or SIPS URI (RFC 3261 section 19.1).

    ``raw`` is the URI as received and what `bytes` gives back; ``scheme`` is lower-case;
    ``user`` and ``password`` are still escaped; ``host`` has no brackets; ``headers`` is what
    follows "?", never acted on.
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
        """The user part unescaped once, as text; empty where there is none."""
        return unquote_to_bytes(self.user or b"").decode("utf-8", "replace")

    def __bytes__(self) -> bytes:
        return self.raw

    def __str__(self) -> str:
        return self.raw.decode("utf-8", "replace")


@define
class RawUri:
    """A URI of a scheme we do not read into (``tel:``, ``http:``, ...), or Contact's ``*``."""

    raw: bytes
    scheme: bytes

    def __bytes__(self) -> bytes:
        return self.raw

    def __str__(self) -> str:
        return self.raw.decode("utf-8", "replace")


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


@define
class Via:
    """One Via value (RFC 3261 section 20.42); ``transport`` in upper case, no brackets in ``host``.

    ``raw`` is the value as received, without surrounding white space.
    """

    raw: bytes
    transport: bytes
    host: bytes
    port: int | None
    params: Params

    @property
    def branch(self) -> bytes | None:
        """The branch parameter."""
        return self.params.get(b"branch")

    @property
    def received(self) -> bytes | None:
        """The received parameter, without the brackets some put around IPv6."""
        value = self.params.get(b"received")
        return None if value is None else value.strip(b"[]")

    @property
    def rport(self) -> bool:
        """Whether the sender asks for RFC 3581 treatment: rport is there, without a value."""
        return b"rport" in self.params and self.params[b"rport"] is None

    @property
    def sent_by(self) -> bytes:
        """Host and port as RFC 3261 section 17.2.3 compares them: in lower case."""
        host = self.host.lower()
        return host if self.port is None else b"%b:%d" % (host, self.port)

    def with_received(self, source: Address) -> bytes:
        """This value as a server copies it into the response (RFC 3261 18.2.1, RFC 3581 4).

        A ``received`` or ``rport`` value that the client wrote never survives.
        """
        params = self.params
        wants_port = b"rport" in params
        host = source[0].partition("%")[0].encode("ascii")
        if not wants_port and b"received" not in params and host == self.host:
            return self.raw
        if wants_port and self.raw.endswith(b";rport") and self.raw.count(b";") == 2:
            # branch and rport and nothing else: nearly every phone behind a NAT.
            return b"%b;received=%b;rport=%d" % (self.raw[:-6], host, source[1])
        kept = self.raw if b'"' in self.raw else _RECEIVED_OR_RPORT.sub(b"", self.raw)
        if b'"' in kept:
            kept = self._without_received()
        if wants_port:
            return b"%b;received=%b;rport=%d" % (kept, host, source[1])
        return b"%b;received=%b" % (kept, host)

    def _without_received(self) -> bytes:
        """As `_RECEIVED_OR_RPORT`, but safe for quoted values that look like parameters."""
        head = self.raw[: self.raw.index(b";")]
        rest = self.raw[len(head) :]
        return head + b"".join(
            match.group()
            for match in grammar.PARAM.finditer(rest)
            if match[1].lower() not in (b"received", b"rport")
        )


_RECEIVED_OR_RPORT: Final = re.compile(
    rb"[ \t]*+;[ \t]*+(?:received|rport)(?=[ \t;=]|$)(?:[ \t]*+=[ \t]*+[^; \t]*+)?", re.IGNORECASE
)


def _ipv6(text: bytes) -> bytes:
    """An IPv6 address without its brackets; ``:::`` is taken as ``::`` (RFC 5118 4.10)."""
    text = text.strip(b"[]").replace(b":::", b"::")
    try:
        IPv6Address(text.decode("ascii"))
    except ValueError:
        raise SipParseError(f"no IPv6 address: {_shown(text)}") from None
    return text


def _shown(value: bytes) -> str:
    return ascii(value[:60])[1:]


def _host(text: bytes) -> bytes:
    return _ipv6(text) if text.startswith(b"[") else text


def _port(text: bytes | None) -> int | None:
    if text is None:
        return None
    port = int(text)  # the pattern let through nothing but one to five digits
    if not 0 < port < 65_536:
        raise SipParseError(f"no port: {port}")
    return port


def _params(text: bytes) -> Params:
    """Parameters of a text that `grammar.PARAMS` has matched."""
    if not text:
        return _NO_PARAMS
    params: dict[bytes, bytes | None] = {}
    if b'"' in text:
        for match in grammar.PARAM.finditer(text):
            params.setdefault(match[1].lower(), match[2])
        return params
    for piece in text.split(b";")[1:]:
        name, equal, value = piece.partition(b"=")
        params.setdefault(name.strip().lower(), value.strip() if equal else None)
    return params


def _uri_params(text: bytes) -> Params:
    if not text:
        return _NO_PARAMS
    params: dict[bytes, bytes | None] = {}
    for piece in text.split(b";")[1:]:
        name, equal, value = piece.partition(b"=")
        key = unquote_to_bytes(name).lower()
        params.setdefault(key, unquote_to_bytes(value) if equal else None)
    return MappingProxyType(params)


def _read_uri(data: bytes) -> Uri | RawUri:
    match = grammar.SIP_URI.fullmatch(data)
    if match is None:
        foreign = grammar.FOREIGN_URI.fullmatch(data)
        if foreign is None or foreign[1].lower() in (b"sip", b"sips"):
            raise SipParseError(f"no URI: {_shown(data)}")
        return RawUri(data, foreign[1].lower())
    scheme, user, password, host, port, params, headers = match.groups()
    return Uri(
        data,
        scheme.lower(),
        user,
        password,
        _host(host),
        _port(port),
        _uri_params(params),
        headers or b"",
    )


_remembered_uri = lru_cache(_CACHED)(_read_uri)


def parse_any_uri(data: bytes) -> Uri | RawUri:
    """Read a URI of any scheme (RFC 3261 section 25.1 SIP-URI, SIPS-URI, absoluteURI)."""
    return _remembered_uri(data) if len(data) <= _CACHEABLE else _read_uri(data)


def parse_uri(data: bytes) -> Uri:
    """Read a SIP or SIPS URI; raises `SipParseError` with 416 for any other scheme."""
    uri = parse_any_uri(data)
    if isinstance(uri, RawUri):
        raise SipParseError(f"URI scheme {_shown(uri.scheme)} is not supported", 416)
    return uri


@lru_cache(_CACHED)
def _remembered_address(data: bytes) -> tuple[bytes, Uri | RawUri]:
    match = grammar.DISPLAY_ADDRESS.fullmatch(data)
    if match is None:
        raise SipParseError(f"no address: {_shown(data)}")
    quoted, tokens, uri = match.groups()
    return quoted or tokens.rstrip(), _read_uri(uri)


def parse_name_addr(value: bytes) -> NameAddr:
    """Read one From, To, Contact, Route or Record-Route value (RFC 3261 section 20.10)."""
    end = value.rfind(b">") + 1
    if 0 < end <= _CACHEABLE:
        # Nearly all: an address that came before, then nothing or a tag.
        if end == len(value):
            display, uri = _remembered_address(value)
            return NameAddr(display, uri, _NO_PARAMS)
        tag = grammar.PLAIN_TAG.fullmatch(value, end)
        if tag is not None:
            display, uri = _remembered_address(value[:end])
            return NameAddr(display, uri, {b"tag": tag[1]})
    match = grammar.NAME_ADDR.fullmatch(value)
    if match is not None:
        quoted, tokens, raw, rest = match.groups()
        display = quoted or tokens.rstrip()
    else:
        match = grammar.PLAIN_ADDR.fullmatch(value)
        if match is None:
            raise SipParseError(f"no address: {_shown(value)}")
        display = b""
        raw, rest = match.groups()
    params = _params(rest)
    if b"tag" in params and not grammar.TOKEN.fullmatch(params[b"tag"] or b""):
        raise SipParseError(f"no tag: {_shown(rest)}")
    return NameAddr(display, parse_any_uri(raw), params)


_remembered_contact = lru_cache(_CACHED)(parse_name_addr)


def parse_contact(value: bytes) -> NameAddr:
    """As `parse_name_addr`, for header fields whose values repeat (Contact, Route, ...).

    ``*`` (RFC 3261 section 10.2.2) is read as a `RawUri` without scheme.
    """
    if value == b"*":
        return NameAddr(b"", RawUri(value, b""), _NO_PARAMS)
    return _remembered_contact(value) if len(value) <= _CACHEABLE else parse_name_addr(value)


def _read_sent_by(data: bytes) -> tuple[bytes, bytes, int | None]:
    match = grammar.SENT_PROTOCOL.fullmatch(data)
    if match is None:
        raise SipParseError(f"no Via: {_shown(data)}")
    return match[1].upper(), _host(match[2]), _port(match[3])


_remembered_sent_by = lru_cache(_CACHED)(_read_sent_by)


def parse_via(value: bytes) -> Via:
    """Read one Via value (RFC 3261 section 20.42)."""
    head, semicolon, _ = value.partition(b";")
    read = _remembered_sent_by if len(head) <= _CACHEABLE else _read_sent_by
    transport, host, port = read(head)
    if not semicolon:
        return Via(value.strip(), transport, host, port, _NO_PARAMS)
    plain = grammar.PLAIN_BRANCH.fullmatch(value, len(head))
    if plain is not None:
        params: dict[bytes, bytes | None] = {b"branch": plain[1] or plain[3]}
        if plain[1] is None or plain[2] is not None:
            params[b"rport"] = None
        return Via(value, transport, host, port, params)
    rest = value[len(head) :]
    if grammar.PARAMS.fullmatch(rest) is None:
        raise SipParseError(f"no Via: {_shown(value)}")
    return Via(value.strip(), transport, host, port, _params(rest))


def parse_cseq(value: bytes) -> CSeq:
    """Read a CSeq value; the number fits into 32 bits (RFC 3261 section 20.16)."""
    return _remembered_cseq(value) if len(value) <= _CACHEABLE else _read_cseq(value)


def _read_cseq(value: bytes) -> CSeq:
    match = grammar.CSEQ.fullmatch(value)
    if match is None or (number := int(match[1])) > 0xFFFFFFFF:
        raise SipParseError(f"no CSeq: {_shown(value)}")
    return CSeq(number, match[2])


_remembered_cseq = lru_cache(_CACHED)(_read_cseq)


def parse_call_id(value: bytes) -> bytes:
    """Check a Call-ID, which is one word (RFC 3261 section 20.8), and give it back."""
    if not value or b" " in value or b"\t" in value:
        raise SipParseError(f"no Call-ID: {_shown(value)}")
    return value


def parse_number(value: bytes, largest: int = 0xFFFFFFFF) -> int:
    """Read 1*DIGIT up to ``largest``; leading zeros are allowed."""
    match = grammar.NUMBER.fullmatch(value)
    if match is None or (number := int(match[1])) > largest:
        raise SipParseError(f"no number up to {largest}: {_shown(value)}")
    return number


def split_list(value: bytes) -> list[bytes]:
    """Cut a header value at its commas, but not in quotes or angle brackets (7.3.1).

    Items come without surrounding white space and may be empty.  Raises `SipParseError`
    where a quote or bracket is never closed, or for more than 256 items.
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
                raise SipParseError(f"quote or bracket without end: {_shown(value[at:])}")
            items.append(match.group())
            at = match.end() + 1
    if len(items) > grammar.MAX_LIST_ITEMS:
        raise SipParseError("too many values in one header field")
    return [item.strip() for item in items]
