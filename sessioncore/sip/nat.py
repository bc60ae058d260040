"""Peers behind an address translator (NAT), recognised by what their messages say."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from sessioncore.sip.uris import Uri
from sessioncore.vocabulary import Address

__all__ = ["behind_nat", "reach"]

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
_DEFAULT_PORT: Final = 5060


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


def behind_nat(contact: Uri, source: Address, nat: bool | None) -> bool:
    """Whether requests to ``contact`` cannot reach the peer whose messages come from ``source``.

    ``nat`` is the setting: None means that a Contact whose address reaches less far than the
    source is that of a peer behind a NAT; True, any address but the source.
    """
    host = contact.params.get(b"maddr") or contact.host
    if nat is None:
        return reach(host) < reach(source[0])
    return nat and (host, contact.port or _DEFAULT_PORT) != (source[0].encode(), source[1])
