"""The Via header field (RFC 3261 section 20.42), with rport (RFC 3581)."""

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
    read_host,
    read_params,
    read_port,
    shown,
)
from sessioncore.vocabulary import Address

__all__ = ["SentBy", "Via", "parse_via", "remembered_sent_by"]


class SentBy(NamedTuple):
    """The sent-by of a Via; ``text`` is host and port in the form that 17.2.3 compares."""

    transport: bytes
    host: bytes
    port: int | None
    text: bytes


@define
class Via:
    """One Via value (RFC 3261 section 20.42); ``branch`` is that of ``params``.

    ``raw`` is the value as received, without surrounding white space.
    """

    raw: bytes
    sender: SentBy
    branch: bytes | None
    params: Params

    @property
    def transport(self) -> bytes:
        """The transport in upper case."""
        return self.sender.transport

    @property
    def host(self) -> bytes:
        """The host of sent-by, without brackets."""
        return self.sender.host

    @property
    def port(self) -> int | None:
        """The port of sent-by."""
        return self.sender.port

    @property
    def sent_by(self) -> bytes:
        """Host and port as RFC 3261 section 17.2.3 compares them: in lower case."""
        return self.sender.text

    @property
    def received(self) -> bytes | None:
        """The received parameter, without the brackets some put around IPv6."""
        value = self.params.get(b"received")
        return None if value is None else value.strip(b"[]")

    @property
    def rport(self) -> bool:
        """Whether the sender asks for RFC 3581: rport is present, without a value."""
        return b"rport" in self.params and not self.params[b"rport"]

    def with_received(self, source: Address) -> bytes:
        """This value as a server copies it into the response (RFC 3261 18.2.1, RFC 3581 4).

        A ``received`` or ``rport`` value written by the client is always replaced.
        """
        params = self.params
        wants_port = b"rport" in params
        host = source[0].encode("ascii")
        if host == self.sender.host and not wants_port and b"received" not in params:
            return self.raw
        raw, host = self.raw, host.partition(b"%")[0]
        # Only branch and rport, as nearly every phone behind a NAT sends it.
        plain = wants_port and self.branch is not None and raw.count(b";") == 2
        if plain and raw.endswith(b";rport"):
            kept = raw[:-6]
        elif plain and b";rport;" in raw:
            kept = raw.replace(b";rport;", b";")
        else:
            kept = self._without_received()
        if wants_port:
            return b"%b;received=%b;rport=%d" % (kept, host, source[1])
        return b"%b;received=%b" % (kept, host)

    def _without_received(self) -> bytes:
        """This value without ``received`` and ``rport``; quoted values may look like them."""
        if b'"' not in self.raw:
            return _RECEIVED_OR_RPORT.sub(b"", self.raw)
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


def _read_sent_by(data: bytes) -> SentBy:
    match = grammar.SENT_PROTOCOL.fullmatch(data)
    if match is None:
        raise SipParseError(f"not a Via: {shown(data)}")
    host, port = read_host(match[2]), read_port(match[3])
    lower = host.lower()
    text = lower if port is None else b"%b:%d" % (lower, port)
    return SentBy(match[1].upper(), host, port, text)


remembered_sent_by = lru_cache(CACHED)(_read_sent_by)


def parse_via(value: bytes) -> Via:
    """Read one Via value (RFC 3261 section 20.42)."""
    head, semicolon, _ = value.partition(b";")
    read = remembered_sent_by if len(head) <= CACHEABLE else _read_sent_by
    sender = read(head)
    if not semicolon:
        return Via(value.strip(), sender, None, NO_PARAMS)
    rest = value[len(head) :]
    if grammar.PARAMS.fullmatch(rest) is None:
        raise SipParseError(f"not a Via: {shown(value)}")
    params = read_params(rest)
    return Via(value.strip(), sender, params.get(b"branch"), params)
