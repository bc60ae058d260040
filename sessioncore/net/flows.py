"""The SIP flows of a process: chooses the transport for a target, and the targets of a URI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, Final

from twisted.internet.defer import Deferred

from sessioncore.errors import UnreachableTarget
from sessioncore.net.addresses import is_loopback, is_reachable_literal
from sessioncore.net.resolver import DEFAULT_PORT, SipUri
from sessioncore.sip.flows import Flow, Target
from sessioncore.vocabulary import Address

__all__ = ["OpenTransports", "targets_by"]

_UDP: Final = b"UDP"


class OpenTransports:
    """The open transports (`ISipTransport`), in the order in which they were given.

    ``is_own_ip`` returns whether an IP address is one of this host, or stands for it.
    """

    def __init__(self, is_own_ip: Callable[[str], bool]) -> None:
        self._is_own_ip = is_own_ip
        self.near: frozenset[int] = frozenset()
        """The ports of the sockets, and those one below, whose RTCP would go there."""
        # Any: mypy does not see the methods of a zope interface through its type.
        self._open: list[Any] = []
        self._chosen: dict[tuple[bytes, bool, bool], Any] = {}

    def __iter__(self) -> Iterator[Any]:
        return iter(self._open)

    def add(self, transport: Any) -> None:
        """Add a transport that was opened."""
        self._open.append(transport)
        self._chosen.clear()
        port = transport.local[1]
        self.near |= {port - 1, port}

    def take(self) -> list[Any]:
        """Remove and return all transports, to close them."""
        taken, self._open = self._open, []
        self._chosen.clear()
        self.near = frozenset()
        return taken

    def own(self, ip: str, port: int) -> bool:
        """Whether a transport may receive what is sent to ``ip`` and ``port``.

        It need not be bound to all addresses: none of this host's other than its sockets has a
        stream on that port.
        """
        interfaces = [each.local[0] for each in self._open if each.local[1] == port]
        return ip in interfaces or (bool(interfaces) and self._is_own_ip(ip))

    def to(self, target: Target) -> Flow | Deferred[Flow]:
        """The flow of the transport that reaches ``target`` (`sessioncore.sip.flows.Flows`).

        That is the first transport with its token and IP version; one that is bound to loopback
        is used for other hosts only if there is no other.  Raises `UnreachableTarget`.
        """
        wanted = (target.transport, ":" in target.host, is_loopback(target.host))
        transport = self._chosen.get(wanted)
        if transport is None:
            transport = self._chosen[wanted] = self._choose(target, *wanted)
        return transport.flow_to(target)  # type: ignore[no-any-return]

    def _choose(self, target: Target, token: bytes, ipv6: bool, inside: bool) -> Any:
        fitting = [
            each
            for each in self._open
            if each.transport == token and (":" in each.local[0]) is ipv6
        ]
        if not fitting:
            known = b", ".join(dict.fromkeys(each.transport for each in self._open)).decode()
            raise UnreachableTarget(f"no socket reaches {target}; open sockets: {known or 'none'}")
        outside = [each for each in fitting if inside or not is_loopback(each.local[0])]
        return (outside or fitting)[0]


def targets_by(
    resolve: Callable[[SipUri], Deferred[list[Address]]],
) -> Callable[[SipUri], list[Target] | Deferred[list[Target]]]:
    """``resolve`` with the transport that a URI names (RFC 3263 section 4.1), by default UDP.

    If the host is an IP literal, the targets are returned at once, without a Deferred.
    """

    def targets(uri: SipUri) -> list[Target] | Deferred[list[Target]]:
        params = uri.params
        named, host = params.get(b"transport"), params.get(b"maddr") or uri.host
        transport = _UDP if named is None else named.upper()
        if uri.scheme == b"sip" and (known := _literal(host, uri.port, transport)):
            return known
        return resolve(uri).addCallback(partial(_targets, transport))

    return targets


@lru_cache(maxsize=1_024)
def _literal(host: bytes, port: int | None, transport: bytes) -> list[Target]:
    """The target of an IP literal; empty for a name.  Shared, so never changed."""
    text = host.decode("utf-8", "replace").removeprefix("[").removesuffix("]")
    if not is_reachable_literal(text):
        return []
    return [Target(transport, text, DEFAULT_PORT if port is None else port)]


def _targets(transport: bytes, addresses: list[Address]) -> list[Target]:
    return [Target(transport, host, port) for host, port in addresses]
