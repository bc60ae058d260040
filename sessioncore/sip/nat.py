"""Peers behind an address translator (NAT), recognised by what their messages say."""

from __future__ import annotations

from typing import Final

from sessioncore.reach import reach
from sessioncore.sip.uris import Uri
from sessioncore.vocabulary import Address

__all__ = ["behind_nat"]

_DEFAULT_PORT: Final = 5060


def behind_nat(contact: Uri, source: Address, nat: bool | None) -> bool:
    """Whether requests to ``contact`` cannot reach the peer whose messages come from ``source``.

    ``nat`` is the setting: None means that a Contact whose address reaches less far than the
    source is that of a peer behind a NAT; True, any address but the source.
    """
    host = contact.params.get(b"maddr") or contact.host
    if nat is None:
        return reach(host) < reach(source[0])
    return nat and (host, contact.port or _DEFAULT_PORT) != (source[0].encode(), source[1])
