"""A network address translator (RFC 4787) for the in-memory network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from attrs import define, field

from sessioncore.vocabulary import SECOND, Address

Host = TypeVar("Host")
__all__ = ["FakeNat"]

_FIRST_PORT = 40_000


@define(eq=False)
class _Mapping:
    inside: Address
    outside_port: int
    used_at: int
    reached: set[Address] = field(factory=set)


class _Network(Protocol[Host]):
    """The network as a translator uses it."""

    @property
    def now(self) -> int:
        """Virtual time in ns."""

    def add_host(self, addresses: Iterable[str], nat: FakeNat[Host] | None) -> Host:
        """A new host behind ``nat``."""


class FakeNat(Generic[Host]):
    """Hosts behind one public address; made by `FakeNetwork.nat`.

    ``symmetric`` makes a new mapping for every destination (RFC 4787 address and port
    dependent mapping).  ``filtering`` decides who may answer: ``"port"`` only addresses and
    ports sent to before, ``"address"`` any port of those hosts, ``"none"`` anybody.  A mapping
    expires ``lifetime`` seconds after the last packet from inside.
    """

    def __init__(
        self,
        network: _Network[Host],
        address: str,
        *,
        symmetric: bool = False,
        filtering: str = "port",
        lifetime: float = 120.0,
    ) -> None:
        if filtering not in ("port", "address", "none"):
            raise ValueError(f"filtering {filtering!r} is unknown; give port, address or none")
        self.network = network
        self.address = address
        self.symmetric = symmetric
        self.filtering = filtering
        self.lifetime = round(lifetime * SECOND)
        self.hosts: dict[str, Host] = {}
        self._by_inside: dict[tuple[Address, Address | None], _Mapping] = {}
        self._by_port: dict[int, _Mapping] = {}
        self._next_port = _FIRST_PORT

    def host(self, *addresses: str) -> Host:
        """A host with these private addresses, reachable only through this translator."""
        return self.network.add_host(addresses, self)

    def outbound(self, source: Address, destination: Address) -> Address:
        """The public source of a datagram from inside; opens or refreshes the mapping."""
        now = self.network.now
        key = (source, destination if self.symmetric else None)
        mapping = self._by_inside.get(key)
        if mapping is None or self._expired(mapping):
            mapping = _Mapping(source, self._free_port(), now)
            self._by_inside[key] = self._by_port[mapping.outside_port] = mapping
        mapping.used_at = now
        mapping.reached.add(destination)
        return self.address, mapping.outside_port

    def inbound(self, port: int, source: Address) -> Address | None:
        """The inside address for a datagram from outside, or None if it is filtered."""
        mapping = self._by_port.get(port)
        if mapping is None or self._expired(mapping):
            return None
        if self.filtering == "port" and source not in mapping.reached:
            return None
        if self.filtering == "address" and source[0] not in {host for host, _ in mapping.reached}:
            return None
        return mapping.inside

    def forget(self) -> None:
        """Lose all mappings, as a reboot does."""
        self._by_inside.clear()
        self._by_port.clear()

    def _expired(self, mapping: _Mapping) -> bool:
        return self.network.now - mapping.used_at > self.lifetime

    def _free_port(self) -> int:
        self._next_port += 1
        return self._next_port - 1
