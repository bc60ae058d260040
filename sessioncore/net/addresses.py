"""IP addresses: where to listen, our address towards a peer, and IPv6 notation."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from attrs import frozen
from zope.interface import Attribute, Interface

from sessioncore.errors import ConfigurationError

__all__ = [
    "IVirtualHost",
    "Listen",
    "LocalAddresses",
    "is_ipv6",
    "is_literal",
    "is_loopback",
    "is_reachable_literal",
    "is_wildcard",
    "local_address_for",
    "parse_host_port",
    "parse_listen",
    "split_fields",
    "unmapped",
    "without_zone",
]

_PORT: Final = re.compile(r"[0-9]{1,5}\Z", re.ASCII)
_MOST_PEERS: Final = 4096
_LONGEST_KNOWN: Final = 64
"""The longest host (characters) that is cached; peers choose hosts and their length."""
_EXAMPLE: Final = (
    r"write for example udp:5060, udp:5060:interface=192.0.2.1 or udp:5060:interface=\:\:1"
)


class IVirtualHost(Interface):
    """A reactor with a network of its own, such as an in-memory one."""

    names: Any = Attribute("An `IResolver` that answers for this network's names.")

    def local_address_for(peer: str) -> str:
        """The address of this host that ``peer`` sees; raises `OSError` without a route."""


@frozen
class Listen:
    """A UDP socket to open; ``interface`` is an IP literal, ``""`` all of IPv4, ``::`` of IPv6."""

    port: int
    interface: str = ""

    @property
    def ipv6(self) -> bool:
        """Whether it is an IPv6 socket."""
        return ":" in self.interface

    def __str__(self) -> str:
        interface = self.interface.replace("\\", "\\\\").replace(":", "\\:")
        return f"udp:{self.port}" + (f":interface={interface}" if interface else "")


def split_fields(text: str) -> list[str]:
    r"""Split an endpoint string at colons not protected by a backslash or [brackets]."""
    fields, current, depth = [], "", 0
    characters = iter(text)
    for character in characters:
        if character == "\\":
            current += next(characters, "")
        elif character == ":" and not depth:
            fields.append(current)
            current = ""
        else:
            depth += (character == "[") - (character == "]")
            current += character
    return [*fields, current]


def parse_listen(text: str) -> Listen:
    r"""Read an endpoint string such as ``udp:5060`` or ``udp:5060:interface=\:\:1``.

    ``interface=[::1]`` works too.  Port 0 is any free port.  Raises `ConfigurationError`.
    """
    kind, *fields = split_fields(text.strip())
    if kind != "udp":
        raise ConfigurationError(f"cannot listen on {text!r}: only udp is served; {_EXAMPLE}")
    given: dict[str, str] = {}
    for place, part in enumerate(fields):
        name, equals, value = part.partition("=")
        if not equals and place == 0:
            name, value = "port", part
        if name not in ("port", "interface") or name in given:
            raise ConfigurationError(
                f"cannot listen on {text!r}: {part!r} is not understood; {_EXAMPLE}"
            )
        given[name] = value
    port = given.get("port", "5060")
    if not _PORT.match(port) or int(port) > 65535:
        raise ConfigurationError(f"cannot listen on {text!r}: {port!r} is not a port; {_EXAMPLE}")
    interface = given.get("interface", "").removeprefix("[").removesuffix("]")
    if interface and not is_literal(interface):
        raise ConfigurationError(
            f"cannot listen on {text!r}: interface={interface} is not an IP address; {_EXAMPLE}"
        )
    if is_ipv6(interface) and ip_address(interface).is_link_local:
        # Neither SIP nor SDP can carry the zone needed to reach one (RFC 4007 section 6).
        raise ConfigurationError(
            f"cannot listen on {text!r}: {interface} is a link-local address, which serves no"
            " calls; give another address of that interface: a global one, or a unique local"
            r" one such as udp:5060:interface=fd00\:\:1"
        )
    if is_wildcard(interface):
        interface = "::" if is_ipv6(interface) else ""
    return Listen(int(port), interface)


def is_literal(host: str) -> bool:
    """Whether ``host`` is an IP address and not a name; an IPv6 zone (``%eth0``) may follow."""
    return _known_literal(host) if len(host) <= _LONGEST_KNOWN else _read_literal(host)


def is_reachable_literal(host: str) -> bool:
    """As `is_literal`, for an address that a peer names: a zone means nothing to us there."""
    return is_literal(host) and "%" not in host


def _read_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


# Each of our requests asks about the same few hosts.
_known_literal: Final = lru_cache(maxsize=1024)(_read_literal)


def is_ipv6(host: str) -> bool:
    """Whether the literal ``host`` is IPv6."""
    return ":" in host


def is_loopback(host: str) -> bool:
    """Whether the literal ``host`` means this host alone."""
    return host == "::1" or host.startswith("127.")


def is_wildcard(host: str) -> bool:
    """Whether ``host`` means every address of a family: empty, ``0.0.0.0`` or ``::``."""
    return host in ("", "0.0.0.0") or (is_ipv6(host) and int(IPv6Address(without_zone(host))) == 0)


def without_zone(host: str) -> str:
    """An IPv6 literal without its zone, which has no meaning on other hosts (RFC 4007 11.2)."""
    return host.partition("%")[0]


def unmapped(host: str) -> str:
    """The IPv4 address in an IPv4-mapped IPv6 one (RFC 4291 2.5.5.2); others as they are."""
    if not host.lower().startswith("::ffff:"):
        return host
    mapped = IPv6Address(without_zone(host)).ipv4_mapped
    return host if mapped is None else str(mapped)


def parse_host_port(text: str) -> tuple[str, int | None]:
    """Read ``host``, ``host:port``, ``::1`` or ``[::1]:port``; raises `ConfigurationError`."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        good = bool(bracket) and is_ipv6(host) and is_literal(host) and rest[:1] in ("", ":")
        colon, port = rest[:1], rest[1:]
    elif is_literal(text) and is_ipv6(text):
        return text, None
    else:
        host, colon, port = text.partition(":")
        good = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\.?", host) is not None
    if not good or (colon and not (_PORT.match(port) and 0 < int(port) <= 65535)):
        raise ConfigurationError(
            f"{text!r} is not host or host:port; write IPv6 as [2001:db8::1]:5060"
        )
    return host, int(port) if colon else None


@lru_cache(maxsize=1024)
def _numeric(host: str, port: int) -> tuple[Any, ...]:
    """The socket address of a literal, zone included; raises `OSError` for anything else."""
    family = socket.AF_INET6 if is_ipv6(host) else socket.AF_INET
    found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
    return tuple(found[0][4])


def local_address_for(peer: str, reactor: object = None) -> str:
    """Our address from which the kernel would send to the literal ``peer``.

    Finds it by connecting a UDP socket, which sends nothing; an in-memory network is asked.
    Raises `OSError` if there is no route or ``peer`` is not a literal.
    """
    if IVirtualHost.providedBy(reactor):
        return str(IVirtualHost(reactor).local_address_for(peer))
    peer = unmapped(peer)
    family = socket.AF_INET6 if is_ipv6(peer) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect(_numeric(peer, 5060))
        return str(asking.getsockname()[0])


class LocalAddresses:
    """`local_address_for` with a cache: at most 4,096 peers, which expire after ``keep`` ns.

    They expire because routes may change while the process runs.
    """

    __slots__ = ("_ask", "_found", "_keep", "_now", "_until")

    def __init__(
        self,
        now: Callable[[], int],
        ask: Callable[[str], str] = local_address_for,
        keep: int = 30_000_000_000,
    ) -> None:
        self._now = now
        self._ask = ask
        self._keep = keep
        self._until = 0
        self._found: dict[str, str] = {}

    def towards(self, peer: str) -> str:
        """Our address that ``peer`` sees; raises `OSError` without a route."""
        now = self._now()
        if now >= self._until or len(self._found) >= _MOST_PEERS:
            self._found.clear()
            self._until = now + self._keep
        found = self._found.get(peer)
        if found is None:
            found = self._found[peer] = self._ask(peer)
        return found
