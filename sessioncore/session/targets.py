"""Whom we call and through which of our sockets."""

from __future__ import annotations

from collections.abc import Iterable

from sessioncore.errors import ConfigurationError, SipParseError
from sessioncore.sip.transaction import Flow
from sessioncore.sip.values import Uri, parse_uri
from sessioncore.vocabulary import Address

__all__ = ["callable_uri", "contact_towards", "flow_for"]


def callable_uri(text: str) -> Uri:
    """Read a SIP URI that a person gave; raises `ConfigurationError`."""
    if not isinstance(text, str):
        raise ConfigurationError(
            f"{text!r} is no SIP URI but {type(text).__name__}; write text, e.g."
            " sip:alice@192.0.2.1:5060"
        )
    try:
        uri = parse_uri(text.encode("ascii"))
    except (SipParseError, UnicodeEncodeError) as error:
        raise ConfigurationError(
            f"{text!r} is no SIP URI ({error}); write e.g. sip:alice@192.0.2.1:5060"
        ) from None
    transport = uri.params.get(b"transport")
    if uri.scheme != b"sip" or (transport is not None and transport.lower() != b"udp"):
        raise ConfigurationError(
            f"{text!r}: only UDP is spoken; write e.g. sip:alice@192.0.2.1:5060"
        )
    if uri.headers:
        raise ConfigurationError(f"{text!r}: leave out what follows the question mark")
    return uri


def flow_for(target: Address, flows: Iterable[Flow]) -> Flow | None:
    """The first socket of the target's family; one bound to loopback only for want of others."""
    ipv6, inside = ":" in target[0], _is_loopback(target[0])
    fitting = [flow for flow in flows if (":" in flow.local[0]) is ipv6]
    for flow in fitting:
        if inside or not _is_loopback(flow.local[0]):
            return flow
    return next(iter(fitting), None)


def contact_towards(flow: Flow, peer: str) -> bytes:
    """Our Contact value towards ``peer``."""
    return b"<sip:" + flow.sent_by(peer) + b">"


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")
