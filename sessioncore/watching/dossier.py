"""The dossier of a call: everything that helps to explain it, as one JSON object.

The classes say which fields there are; `sessioncore.watching.dossiers` fills them, and
`sessioncore.watching.dossier_reader` reads them back.  Times are in seconds since ``started``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from attrs import frozen

from sessioncore.vocabulary import Address

__all__ = [
    "SCHEMA",
    "Dossier",
    "EventEntry",
    "MediaMilestone",
    "SipEntry",
    "VerdictEntry",
]

_encode: Final = json.JSONEncoder(separators=(", ", ": ")).encode
SCHEMA: Final = 1
"""Rises when the meaning of a field changes, or one goes; new fields alone do not raise it."""


@frozen(slots=False)
class SipEntry:
    """One SIP message, in or out, without its secrets."""

    at: float
    sent: bool
    """Whether it left; else it arrived."""
    transport: str
    source: Address
    destination: Address
    octets: int
    """Its length."""
    first_line: str
    text: str
    """The message, of a long one the first 16 KiB; empty if it is a copy of another one."""
    encoding: str = "utf-8"
    """How to get the bytes of ``text`` back: utf-8, or latin-1 where they are not UTF-8."""
    copy_of: int | None = None
    """The index of the message of which this is a retransmission."""
    problem: str | None = None
    """What is wrong with it, if it is not a SIP message that can be read."""
    description_changes: tuple[str, ...] | None = None
    """How its session description differs from the last one that went the same way.

    Lines that are gone begin with ``-``, lines that are new with ``+``; of many the first 40.  None
    if it has no description, or the first one; empty if it has the same.
    """

    @property
    def data(self) -> bytes:
        """The bytes, with asterisks in place of secrets."""
        return self.text.encode(self.encoding)


@frozen(slots=False)
class EventEntry:
    """One event."""

    at: float
    event: str
    """The name of its class."""
    media_state: str
    details: dict[str, Any]
    """Its own fields, as in the event file; of a verdict only the judgement."""


@frozen(slots=False)
class MediaMilestone:
    """One step of the media.

    ``negotiated``, ``established``, ``early media``, ``first sent``, ``first received``,
    ``latched``, ``active``, ``held``, ``resumed``, ``stalled``, ``path problem``, ``failed``.
    """

    at: float
    name: str
    detail: str


@frozen(slots=False)
class VerdictEntry:
    """The verdict at one moment, as `Verdict.as_dict` gives it: with evidence and causes."""

    at: float
    verdict: dict[str, Any]


@frozen(slots=False)
class Dossier:
    """One call.  None is what did not happen, or is not known."""

    schema: int
    """The version of this list of fields."""
    program: str
    """The name and version of the program that wrote it."""
    session: str
    """Our own id of this leg, as in events."""
    call_id: str
    role: str
    """UAC if we placed the call, UAS if we were called."""
    local_uri: str
    remote_uri: str
    request_uri: str | None
    """UAS: the Request-URI of the INVITE."""
    started: str
    """When all times begin: UTC in ISO 8601."""
    answered_at: float | None
    ended_at: float | None
    """None if the call was still up when the program ended."""
    faulty: bool
    """Whether the call failed, or its audio was judged faulty at any time."""
    end: dict[str, Any] | None
    """Who or what ended it (``by``), ``status``, Q.850 ``cause``, ``text``, ``reasons``, ..."""
    negotiated: dict[str, Any] | None
    """The last agreement on audio: codec, payload types, addresses, direction, ptime."""
    verdict: dict[str, Any]
    """The last verdict, as `Verdict.as_dict` gives it."""
    verdicts: tuple[VerdictEntry, ...]
    """Those before it, each at the time at which the judgement changed."""
    verdicts_dropped: int
    statistics: dict[str, dict[str, Any]] | None
    """Counters of the media, by direction: ``sending`` and ``receiving``."""
    oddities: tuple[str, ...]
    """What was odd in the peer's descriptions and still could be read."""
    media: tuple[MediaMilestone, ...]
    events: tuple[EventEntry, ...]
    events_dropped: int
    """Of many events the first and the last are kept; so many between them were dropped."""
    messages: tuple[SipEntry, ...]
    messages_dropped: int
    """Of many messages the first and the last are kept; so many were dropped."""

    def as_dict(self) -> dict[str, Any]:
        """As plain values that can be written as JSON."""
        entries = {
            name: [vars(each) for each in getattr(self, name)]
            for name in ("verdicts", "media", "events", "messages")
        }
        return vars(self) | entries

    def pieces(self) -> Iterator[str]:
        """JSON in ASCII, piece by piece: a line for each field and each entry."""
        between = "{\n"
        for name, value in self.as_dict().items():
            yield f'{between} "{name}": '
            if isinstance(value, list) and value:
                begin = "[\n  "
                for entry in value:
                    yield begin + _encode(entry)
                    begin = ",\n  "
                yield "\n ]"
            else:
                yield _encode(value)
            between = ",\n"
        yield "\n}\n"
