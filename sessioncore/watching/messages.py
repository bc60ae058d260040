"""SIP messages as a tap gets them, and what is read of them without parsing them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sessioncore.vocabulary import Address

__all__ = ["Message", "call_id_of"]

_CALL_ID: Final = re.compile(rb"\n(?:call-id|i)[ \t]*+:[ \t]*+([^\r\n]*[^\s])", re.IGNORECASE)
_END: Final = re.compile(rb"\n\r?\n")


class Message(NamedTuple):
    """One message; the fields are the arguments of `IMessageTap.message`."""

    data: bytes
    source: Address
    destination: Address
    transport: str
    sent: bool
    at: int


def call_id_of(data: bytes) -> bytes:
    """The Call-ID of a message, read without parsing the rest; empty if there is none."""
    end = _END.search(data)
    found = _CALL_ID.search(data, 0, len(data) if end is None else end.start())
    return b"" if found is None else found[1]
