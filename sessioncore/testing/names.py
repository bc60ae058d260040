"""DNS for the in-memory network: an `IResolver` with a table."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns

from sessioncore.net.addresses import is_ipv6

__all__ = ["FakeNames"]


class FakeNames:
    """Answers at once from its table; ``asked`` lists the lookups.

    Lookups of ``silent`` names are never answered, as if the name server were down.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.silent: set[str] = set()
        self._records: dict[tuple[int, str], list[Any]] = {}

    def add(self, name: str, *addresses: str, ttl: int = 60) -> None:
        """Give ``name`` A and AAAA records."""
        for address in addresses:
            if is_ipv6(address):
                record: Any = dns.Record_AAAA(address, ttl)  # type: ignore[no-untyped-call]
                self._add(dns.AAAA, name, record, ttl)
            else:
                record = dns.Record_A(address, ttl)  # type: ignore[no-untyped-call]
                self._add(dns.A, name, record, ttl)

    def add_service(
        self,
        name: str,
        target: str,
        port: int = 5060,
        *,
        priority: int = 0,
        weight: int = 0,
        ttl: int = 60,
    ) -> None:
        """Give ``name`` (``_sip._udp.example.com``) an SRV record; target ``.``: no service."""
        record = dns.Record_SRV(  # type: ignore[no-untyped-call]
            priority, weight, port, target.rstrip("."), ttl
        )
        self._add(dns.SRV, name, record, ttl)

    def remove(self, name: str) -> None:
        """Remove all records of ``name``."""
        for key in [key for key in self._records if key[1] == name]:
            del self._records[key]

    def lookupAddress(self, name: str) -> Deferred[Any]:
        """A records (`IResolver`)."""
        return self._lookup(dns.A, name)

    def lookupIPV6Address(self, name: str) -> Deferred[Any]:
        """AAAA records (`IResolver`)."""
        return self._lookup(dns.AAAA, name)

    def lookupService(self, name: str) -> Deferred[Any]:
        """SRV records (`IResolver`)."""
        return self._lookup(dns.SRV, name)

    def _add(self, kind: int, name: str, record: Any, ttl: int) -> None:
        header = dns.RRHeader(name.encode(), kind, dns.IN, ttl, record)
        self._records.setdefault((kind, name), []).append(header)

    def _lookup(self, kind: int, name: str) -> Deferred[Any]:
        self.asked.append((dns.QUERY_TYPES[kind], name))
        dns.Name(name)  # Raises UnicodeError for what is not a name, as Twisted's resolvers do.
        if name in self.silent:
            return Deferred()
        records = self._records.get((kind, name))
        if records is None:
            return fail(dns.DomainError(name))
        return succeed((list(records), [], []))
