"""Peers behind an address translator (NAT), recognised by what their messages say."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from sessioncore.sip.uris import Uri
from sessioncore.vocabulary import Address

__all__ = ["behind_nat", "is_private"]

_PRIVATE: Final = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",  # RFC 1918
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",  # RFC 6598, carrier-grade NAT
            "169.254.0.0/16",  # RFC 3927
            "127.0.0.0/8",
            "::1/128",
            "fc00::/7",  # RFC 4193
            "fe80::/10",
        ),
    )
)
_DEFAULT_PORT: Final = 5060


@lru_cache(maxsize=1_024)
def is_private(host: str | bytes) -> bool:
    """Whether ``host`` is an IP address that means nothing outside its own network."""
    try:
        address = ip_address(host if isinstance(host, str) else host.decode("ascii"))
    except ValueError:
        return False  # a name
    return any(address.version == net.version and address in net for net in _PRIVATE)


def behind_nat(contact: Uri, source: Address, nat: bool | None) -> bool:
    """Whether requests to ``contact`` cannot reach the peer whose messages come from ``source``.

    ``nat`` is the setting: None means that a private address in a Contact from a public source
    is that of a peer behind a NAT; True, any address but the source.
    """
    host = contact.params.get(b"maddr") or contact.host
    if nat is None:
        return is_private(host) and not is_private(source[0])
    return nat and (host, contact.port or _DEFAULT_PORT) != (source[0].encode(), source[1])
