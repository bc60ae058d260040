"""All the SIP flows of a process: which transport reaches a target, and what a URI leads to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred

from sessioncore.errors import UnreachableTarget
from sessioncore.net.resolver import SipUri
from sessioncore.sip.flows import Flow, Target
from sessioncore.vocabulary import Address

__all__ = ["OpenTransports", "targets_by"]

_UDP: Final = b"UDP"


class OpenTransports:
    """The transports that are open (`ISipTransport`), in the order they were named."""

    def __init__(self) -> None:
        # Any, since what a zope interface promises is not seen through its type.
        self.all: list[Any] = []

    def to(self, target: Target) -> Flow | Deferred[Flow]:
        """The flow of the transport that reaches ``target`` (`sessioncore.sip.flows.Flows`).

        The first of its token and IP version; one that is bound to loopback reaches other hosts
        only where there is no other.  Raises `UnreachableTarget`.
        """
        ipv6, inside = ":" in target.host, _is_loopback(target.host)
        fitting = [
            each
            for each in self.all
            if each.transport == target.transport and (":" in each.local[0]) is ipv6
        ]
        if not fitting:
            known = b", ".join(dict.fromkeys(each.transport for each in self.all)).decode()
            raise UnreachableTarget(
                f"no socket of ours reaches {target}; there is {known or 'none'}"
            )
        outside = [each for each in fitting if inside or not _is_loopback(each.local[0])]
        return (outside or fitting)[0].flow_to(target)  # type: ignore[no-any-return]


def targets_by(
    resolve: Callable[[SipUri], Deferred[list[Address]]],
) -> Callable[[SipUri], Deferred[list[Target]]]:
    """``resolve``, with the transport that a URI names (RFC 3263 section 4.1): else UDP."""

    def targets(uri: SipUri) -> Deferred[list[Target]]:
        named = uri.params.get(b"transport")
        transport = _UDP if named is None else named.upper()
        return resolve(uri).addCallback(partial(_targets, transport))

    return targets


def _targets(transport: bytes, addresses: list[Address]) -> list[Target]:
    return [Target(transport, host, port) for host, port in addresses]


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")
