"""Finds the addresses for a request: RFC 3263 for UDP, by SRV, then A and AAAA; uses no thread.

NAPTR is left out, because with one transport there is nothing to choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError, succeed
from twisted.internet.error import TimeoutError as NetworkTimeoutError
from twisted.names import dns
from twisted.names.error import DomainError, ResolverError

from sessioncore.errors import SessionCoreError
from sessioncore.net.addresses import IVirtualHost, is_literal, is_reachable_literal
from sessioncore.net.nameservers import NameServers
from sessioncore.net.srv import Service, in_order
from sessioncore.vocabulary import Address

__all__ = ["ResolutionError", "SipResolver", "SipUri", "resolver_for"]

DEFAULT_PORT: Final = 5060
_MOST_ADDRESSES: Final = 16
_MOST_SERVICES: Final = 8
_MOST_PENDING: Final = 1024
_MOST_CACHED: Final = 2048
_LONGEST_KEPT: Final = 300
_LONGEST_NAME: Final = 253
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.ASCII)
"""RFC 1035 section 2.3.4, with the underscore that is in the field."""
_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}


class ResolutionError(SessionCoreError):
    """A host name without an address; the text says what was looked up and why it failed."""


class SipUri(Protocol):
    """A URI as the resolver uses it, such as `sessioncore.sip.values.Uri`."""

    @property
    def scheme(self) -> bytes:
        """Lower-case scheme."""

    @property
    def host(self) -> bytes:
        """Name or literal, no brackets."""

    @property
    def port(self) -> int | None:
        """Port, if given."""

    @property
    def params(self) -> Any:
        """Mapping of lower-case parameter names to values."""


class SipResolver:
    """Turns URIs into addresses to try in order.

    ``names`` is Twisted's `IResolver`.  ``reactor`` times out each lookup after ``timeout``
    seconds.  ``random_below(n)`` returns 0 to n-1 for SRV weights.  ``families`` are the IP
    versions for which we have sockets.  At most 2,048 answers are cached, for their TTL but at
    most 5 minutes.
    """

    def __init__(
        self,
        names: Any,
        reactor: Any,
        random_below: Callable[[int], int],
        *,
        timeout: float = 4.0,
        families: tuple[int, ...] = (4,),
    ) -> None:
        self.families = families
        self._names = names
        self._reactor = reactor
        self._random_below = random_below
        self._timeout = timeout
        self._pending = 0
        self._cache: dict[tuple[str, str], tuple[float, list[Any]]] = {}

    def resolve_sip_uri(self, uri: SipUri) -> Deferred[list[Address]]:
        """The addresses to try for ``uri``, best first; fails with `ResolutionError`.

        ``maddr`` replaces the host (RFC 3263 section 4).  The ``transport`` parameter is ignored:
        the addresses are for UDP.
        """
        if uri.scheme != b"sip":
            scheme = uri.scheme.decode("ascii", "replace")
            return _failed(f"{scheme}: URIs cannot be reached over UDP")
        host = uri.params.get(b"maddr") or uri.host
        return self.resolve(host.decode("utf-8", "replace"), uri.port)

    def resolve(self, host: str, port: int | None = None) -> Deferred[list[Address]]:
        """The addresses of ``host``: a literal at once, else by SRV unless ``port`` is given.

        Fails with `ResolutionError`; cancelling the Deferred cancels the lookups.
        """
        host = host.removeprefix("[").removesuffix("]")
        if is_reachable_literal(host):
            return succeed([(host, DEFAULT_PORT if port is None else port)])
        if self._pending >= _MOST_PENDING:
            return _failed(f"{host[:80]} was not looked up: too many lookups are under way")
        self._pending += 1
        return Deferred.fromCoroutine(self._resolve_name(host.removesuffix(".").lower(), port))

    async def _resolve_name(self, host: str, port: int | None) -> list[Address]:
        try:
            if len(host) > _LONGEST_NAME or _NAME.fullmatch(host) is None:
                raise ResolutionError(f"{host[:80]!r} is not a host name")
            services = [] if port is not None else await self._services(host)
            if not services:
                return await self._addresses(host, DEFAULT_PORT if port is None else port)
            return await self._addresses_of(services, host)
        except (ResolutionError, CancelledError):
            raise
        except Exception as error:
            # Whatever a name server or the name functions make of a stranger's name, it is the
            # failure of this one lookup.
            raise ResolutionError(f"{host} cannot be looked up: {error}") from error
        finally:
            self._pending -= 1

    async def _services(self, host: str) -> list[Service]:
        """The SRV records of ``host`` in the order to try; empty if there are none."""
        if host == "localhost":
            return []
        try:
            records = await self._ask("lookupService", f"_sip._udp.{host}")
        except (DomainError, ResolverError, TimeoutError, NetworkTimeoutError, OSError):
            return []  # RFC 3263 4.2: without SRV the host's own addresses are tried
        found = [
            Service(r.payload.priority, r.payload.weight, str(r.payload.target), r.payload.port)
            for r in records
            if r.type == dns.SRV
        ]
        if found and all(service.target in ("", ".") for service in found):
            raise ResolutionError(f"{host} offers no SIP over UDP (its SRV target is '.')")
        return in_order(found, self._random_below)[:_MOST_SERVICES]

    async def _addresses_of(self, services: list[Service], host: str) -> list[Address]:
        lookups = [
            Deferred.fromCoroutine(self._addresses(service.target.rstrip("."), service.port))
            for service in services
        ]
        results = await DeferredList(lookups, consumeErrors=True)
        found = [address for good, addresses in results if good for address in addresses]
        if not found:
            targets = ", ".join(service.target for service in services)
            raise ResolutionError(f"none of the SIP servers of {host} has an address: {targets}")
        return found[:_MOST_ADDRESSES]

    async def _addresses(self, host: str, port: int) -> list[Address]:
        if is_literal(host):
            return [(host, port)]
        lookups = [Deferred.fromCoroutine(self._of_family(host, each)) for each in self.families]
        results = await DeferredList(lookups, consumeErrors=True)
        found = [(literal, port) for good, literals in results if good for literal in literals]
        if not found and host == "localhost":
            return [(_LOOPBACK[each], port) for each in self.families]  # RFC 6761 6.3
        if not found:
            reasons = dict.fromkeys(_reason(failure) for good, failure in results if not good)
            raise ResolutionError(f"{host} has no address: " + ", ".join(reasons or ["none found"]))
        return found[:_MOST_ADDRESSES]

    async def _of_family(self, host: str, family: int) -> list[str]:
        if family == 4:
            records = await self._ask("lookupAddress", host)
            return [r.payload.dottedQuad() for r in records if r.type == dns.A]
        records = await self._ask("lookupIPV6Address", host)
        return [_ipv6(r.payload.address) for r in records if r.type == dns.AAAA]

    async def _ask(self, method: str, name: str) -> list[Any]:
        """One lookup: from the cache, or from the name servers with a time limit."""
        now = self._reactor.seconds()
        until, records = self._cache.get((method, name), (0.0, []))
        if now < until:
            return records
        lookup: Deferred[Any] = getattr(self._names, method)(name)
        lookup.addTimeout(self._timeout, self._reactor)
        answers, _authority, _additional = await lookup
        records = list(answers)
        if len(self._cache) >= _MOST_CACHED:
            self._cache.clear()
        keep = min([_LONGEST_KEPT, *(record.ttl for record in records)]) if records else 0
        self._cache[method, name] = (self._reactor.seconds() + keep, records)
        return records


def _ipv6(packed: bytes) -> str:
    from ipaddress import IPv6Address

    return str(IPv6Address(packed))


def _reason(failure: Any) -> str:
    if failure.check(TimeoutError, NetworkTimeoutError):
        return "the name servers do not answer"
    if failure.check(DomainError):
        return "no such name or record"
    return str(failure.getErrorMessage()) or failure.type.__name__


def _failed(text: str) -> Deferred[list[Address]]:
    async def fail() -> list[Address]:
        raise ResolutionError(text)

    coroutine: Coroutine[Deferred[Any], Any, list[Address]] = fail()
    return Deferred.fromCoroutine(coroutine)


def resolver_for(
    reactor: Any,
    random_below: Callable[[int], int],
    *,
    timeout: float = 4.0,
    families: tuple[int, ...] = (4,),
) -> SipResolver:
    """A resolver for the system's hosts file and name servers, or for a virtual host's names."""
    names = (
        IVirtualHost(reactor).names if IVirtualHost.providedBy(reactor) else NameServers(reactor)
    )
    return SipResolver(names, reactor, random_below, timeout=timeout, families=families)
