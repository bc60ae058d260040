"""Checks the addresses that a description names as targets of media.

A description tells us where to send 50 packets a second.  It must not let a stranger use us
against others or against ourselves.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple, Protocol

from sessioncore.explanation import Ground
from sessioncore.vocabulary import Address

__all__ = [
    "LOWEST_PORT",
    "NO_SOCKETS",
    "Host",
    "Refusal",
    "Sockets",
    "find_fault",
    "find_host_fault",
    "read_host",
]

LOWEST_PORT: Final = 1024
"""Below are the services of a host (RFC 6335 section 6), such as DNS; nobody plays audio there."""


class Sockets(Protocol):
    """Our own sockets for SIP, of any transport, to which media must not be sent."""

    @property
    def near(self) -> frozenset[int]:
        """The ports for RTP of which it, or its RTCP on the next port, could reach one."""

    def own(self, ip: str, port: int) -> bool:
        """Whether one of the sockets receives what is sent to this address."""


class _NoSockets:
    near: frozenset[int] = frozenset()

    def own(self, ip: str, port: int) -> bool:
        return False


NO_SOCKETS: Final = _NoSockets()


class Refusal(NamedTuple):
    """A reason to refuse a description or a part of it."""

    ground: Ground
    text: str


class Host(NamedTuple):
    """An IP address, IPv4-mapped ones as IPv4; ``fault`` says why it can never be a target."""

    text: str
    is_ipv6: bool
    is_loopback: bool
    is_unspecified: bool
    fault: Refusal | None


@lru_cache(maxsize=4_096)
def read_host(text: str) -> Host | None:
    """The IP address in ``text``, or None if it is not one (for example a host name)."""
    try:
        # RFC 5118 section 4.10: an ABNF bug made 2001:db8:::192.0.2.1 valid; tolerate it.
        address = ip_address(text.replace(":::", "::", 1))
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    name = str(address)
    fault = None
    if address.is_multicast:
        fault = Refusal(Ground.MULTICAST, f"{name} is a multicast address")
    elif name == "255.255.255.255":
        fault = Refusal(Ground.BROADCAST, f"{name} is the broadcast address")
    elif name.startswith("0.") and not address.is_unspecified:
        fault = Refusal(Ground.NOT_A_HOST, f"{name} is not the address of a host")
    return Host(name, address.version == 6, address.is_loopback, address.is_unspecified, fault)


@lru_cache(maxsize=4_096)
def find_host_fault(ip: str, own_ip: str, signalling_host: str) -> Refusal | None:
    """Why media must not be sent to any port of ``ip``, or None.

    ``own_ip`` is the IP our stream receives on, ``signalling_host`` the source IP of the
    signalling; each may be empty if it is not known.
    """
    host = read_host(ip)
    if host is None or "%" in ip:  # A zone is one of another machine (RFC 4007 section 11.2).
        return Refusal(Ground.HOST_NAME, f"{_safe(ip)} is a host name, not an IP address")
    if host.fault is not None:
        return host.fault
    if host.is_loopback:
        peer = read_host(signalling_host or own_ip)
        if peer is None or not peer.is_loopback:
            return Refusal(
                Ground.LOOPBACK, f"{host.text} is the loopback address of another machine"
            )
    here = read_host(own_ip)
    # If it is not known yet, the check is repeated later.
    if here is not None and not here.is_unspecified and here.is_ipv6 is not host.is_ipv6:
        return Refusal(
            Ground.ADDRESS_FAMILY, f"{host.text} is not {'IPv6' if here.is_ipv6 else 'IPv4'}"
        )
    return None


def find_fault(
    target: Address, own: Address, signalling_host: str, sockets: Sockets = NO_SOCKETS
) -> Refusal | None:
    """Why media must not be sent to ``target``, or None.

    Refused are multicast, broadcast, host names, the other address family, loopback from a
    peer that is not itself on loopback, ports below 1024, our SIP ``sockets``, and the ports of
    our own stream, which receives RTP on ``own`` (port 0: not known yet) and RTCP on the next
    port.  The port of another stream is allowed: one process may be both parties.
    """
    (ip, port), (own_ip, own_port) = target, own
    fault = find_host_fault(ip, own_ip, signalling_host)
    if fault is None and port < LOWEST_PORT:
        return Refusal(Ground.LOW_PORT, f"port {port} is below {LOWEST_PORT}")
    if fault is None and port in sockets.near:
        host = read_host(ip)
        if host is not None and sockets.own(host.text, port):
            return Refusal(Ground.OWN_SIP_SOCKET, f"{host.text} port {port} is our own SIP socket")
    if fault is None and own_port and own_port <= port <= own_port + 1:
        host, here = read_host(ip), read_host(own_ip)
        if host is not None and here is not None and host.text == here.text:
            return Refusal(Ground.OWN_PORT, f"{host.text} port {port} is our own")
    return fault


def _safe(text: str) -> str:
    return "".join(c if (c.isascii() and c.isalnum()) or c in ".-:_" else "?" for c in text[:64])
