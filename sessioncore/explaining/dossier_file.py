"""Reads what ``--dossier`` writes: one call of our own, with its messages and its verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final

from sessioncore.errors import ConfigurationError, UnreadableInput
from sessioncore.explaining.sightings import Sighting
from sessioncore.lint import printable
from sessioncore.vocabulary import SECOND, Address
from sessioncore.watching.dossier import Dossier, SipEntry
from sessioncore.watching.dossier_reader import dossier_from

__all__ = ["dossier_in", "messages_of", "verdict_of"]

_ENCODINGS: Final = ("utf-8", "latin-1")
_LONGEST: Final = 10 * 365 * 86_400
"""Seconds; no message of a call is further from its beginning."""


def dossier_in(text: bytes) -> Dossier:
    """The dossier in a file; raises `UnreadableInput` if it is none."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableInput("it is not JSON that can be read") from None
    try:
        return dossier_from(plain, "it")
    except ConfigurationError as error:
        raise UnreadableInput(str(error)) from None


def messages_of(dossier: Dossier) -> Iterator[Sighting]:
    """The SIP messages of a dossier, retransmissions included."""
    begun = _time(dossier.started)
    for entry in dossier.messages:
        data = _data(dossier, entry)
        # Secrets are overwritten, so the length is that of the message.
        whole = len(data) == entry.octets
        yield Sighting(
            data,
            begun + _nanoseconds(entry.at),
            _address(entry.source),
            _address(entry.destination),
            entry.transport.lower(),
            whole,
        )


def verdict_of(dossier: Dossier) -> str:
    """What sessioncore itself said about the audio of the call."""
    causes = dossier.verdict.get("causes")
    first: Any = causes[0] if isinstance(causes, list) and causes else None
    text = first.get("text") if isinstance(first, dict) else None
    judgement = dossier.verdict.get("judgement", "none")
    said = f"{judgement}: {text}" if text else str(judgement)
    return f"the verdict of sessioncore, which was one side of the call, was {printable(said)}"


def _data(dossier: Dossier, entry: SipEntry) -> bytes:
    number = entry.copy_of
    if number is not None and 0 <= number < len(dossier.messages):
        entry = dossier.messages[number]
    encoding = entry.encoding if entry.encoding in _ENCODINGS else "utf-8"
    return entry.text.encode(encoding, "replace")


def _time(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp()) * SECOND
    except (ValueError, OverflowError, OSError):
        return 0


def _nanoseconds(seconds: float) -> int:
    return round(seconds * SECOND) if abs(seconds) < _LONGEST else 0


def _address(address: Address) -> Address | None:
    """The address, or None if a file that was changed by hand has something else there."""
    try:
        host = str(ip_address(address[0].partition("%")[0]))
    except ValueError:
        return None
    return (host, address[1]) if 0 <= address[1] <= 65_535 else None
