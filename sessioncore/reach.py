"""How far away an IP address can be reached from: nowhere, its host, its network, everywhere."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

__all__ = ["reach"]

_REACHES: Final = tuple(
    tuple(map(ip_network, networks))
    for networks in (
        ("0.0.0.0/8", "::/128"),  # nobody (RFC 1122 section 3.2.1.3)
        ("127.0.0.0/8", "::1/128"),  # its own host
        (
            "10.0.0.0/8",  # RFC 1918
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",  # RFC 6598, carrier-grade NAT
            "169.254.0.0/16",  # RFC 3927
            "fc00::/7",  # RFC 4193
            "fe80::/10",
        ),
    )
)


@lru_cache(maxsize=1_024)
def reach(host: str | bytes) -> int:
    """From how far away an address can be reached.

    0 is from nowhere, 1 from its own host, 2 from its own network, 3 from everywhere; a name
    counts as 3.
    """
    try:
        address = ip_address(host if isinstance(host, str) else host.decode("ascii"))
    except ValueError:
        return len(_REACHES)
    for number, networks in enumerate(_REACHES):
        if any(address.version == net.version and address in net for net in networks):
            return number
    return len(_REACHES)
