"""Where we are willing to send media: what a stranger's c= line may name.

A description tells us where to send 50 packets a second; it must not turn us into somebody's
weapon, nor against ourselves.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from sessioncore.vocabulary import Address

__all__ = ["Host", "Refusal", "check_target", "find_fault", "read_host"]


class Refusal(NamedTuple):
    """Why something in a description is not acceptable; ``warning_code`` of RFC 3261 20.43."""

    warning_code: int
    text: str


class Host(NamedTuple):
    """An IP address literal, IPv4-mapped ones as IPv4; ``fault`` says why never to send there."""

    text: str
    is_ipv6: bool
    is_loopback: bool
    is_unspecified: bool
    fault: Refusal | None


@lru_cache(maxsize=4_096)
def read_host(text: str) -> Host | None:
    """The IP address a text stands for, or None where it is none (a host name, say)."""
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
        fault = Refusal(330, f"{name} is a multicast address")
    elif name == "255.255.255.255":
        fault = Refusal(399, f"{name} is the broadcast address")
    elif name.startswith("0.") and not address.is_unspecified:
        fault = Refusal(399, f"{name} is no address of a host")
    return Host(name, address.version == 6, address.is_loopback, address.is_unspecified, fault)


def find_fault(
    ip: str, ports: tuple[int, ...], own: tuple[Address, ...], signalling_peer: str
) -> Refusal | None:
    """Why media must not be sent to these ports of ``ip``, or None.

    ``own`` are the addresses our stream receives on, ``signalling_peer`` is the IP its
    signalling came from, or empty where that is unknown.
    """
    host = read_host(ip)
    if host is None:
        return Refusal(301, f"{_safe(ip)} is a host name, not an IP address")
    if host.fault is not None:
        return host.fault
    if host.is_loopback:
        peer = read_host(signalling_peer or (own[0][0] if own else ""))
        if peer is None or not peer.is_loopback:
            return Refusal(399, f"{host.text} is the loopback address of another machine")
    for local, port in own:
        here = read_host(local)
        if here is None or here.is_unspecified:
            continue  # not known yet; judged again when it is
        if here.is_ipv6 is not host.is_ipv6:
            return Refusal(301, f"{host.text} is not {'IPv6' if here.is_ipv6 else 'IPv4'}")
        if port in ports and here.text == host.text:
            if len(ports) > 1:  # which of them comes first?
                return find_fault(ip, ports[:1], own, signalling_peer) or find_fault(
                    ip, ports[1:], own, signalling_peer
                )
            return Refusal(399, f"{host.text} port {port} is our own")
    return None


def check_target(address: Address, *, own: Address, signalling_peer: str) -> str | None:
    """Why media must not be sent to ``address``, in words, or None where it may.

    Refused are multicast, broadcast, host names, our own address and port, the other address
    family, and loopback named by a peer that is not itself on loopback.
    """
    fault = find_fault(address[0], (address[1],), (own,), signalling_peer)
    return None if fault is None else fault.text


def _safe(text: str) -> str:
    return "".join(c if (c.isascii() and c.isalnum()) or c in ".-:_" else "?" for c in text[:64])
