"""Reads the text that ``--trace`` writes: headings, and messages indented below them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from sessioncore.explaining.sightings import Sighting
from sessioncore.vocabulary import Address

__all__ = ["is_trace", "traced_messages"]

_ADDRESS: Final = rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15})):([0-9]{1,5})"
_HEADING: Final = re.compile(
    rb"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?)Z (?:sent|received) ([A-Z]{1,8})"
    rb" %b -> %b, (\d{1,9}) bytes\r?$" % (_ADDRESS, _ADDRESS),
    re.MULTILINE,
)
_INDENT: Final = b"  "
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def is_trace(head: bytes) -> bool:
    """Whether a file that begins so is a trace; events may stand before the first message."""
    return _HEADING.search(head) is not None


def traced_messages(text: bytes) -> Iterator[Sighting]:
    """The messages of a trace, with their times and addresses."""
    for heading in _HEADING.finditer(text):
        when, transport, *where, size = heading.groups()
        source, destination = _address(*where[:3]), _address(*where[3:])
        lines = list(_lines_below(text, heading.end()))
        raw = _message(lines, int(size))
        yield Sighting(raw, _time(when), source, destination, transport.decode().lower())


def _address(ipv6: bytes | None, ipv4: bytes | None, port: bytes) -> Address:
    return (ipv6 or ipv4 or b"").decode(), int(port)


def _time(text: bytes) -> int:
    """Nanoseconds since 1970; 0 for a time that no calendar has."""
    try:
        moment = datetime.fromisoformat(text.decode()).replace(tzinfo=UTC)
    except ValueError:
        return 0
    return (moment - _EPOCH) // _MICROSECOND * 1_000


def _lines_below(text: bytes, at: int) -> Iterator[bytes]:
    """The lines of a message, without their indentation."""
    at = text.find(b"\n", at) + 1
    while 0 < at < len(text):
        end = text.find(b"\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].rstrip(b"\r")
        if line and not line.startswith(_INDENT):
            return
        yield line[len(_INDENT) :]
        at = end + 1


def _message(lines: list[bytes], size: int) -> bytes:
    """The message of ``size`` bytes, whose last line ends are not in the trace."""
    while lines and not lines[-1]:
        lines.pop()
    gap = lines.index(b"") if b"" in lines else len(lines)
    head = b"\r\n".join([*lines[:gap], b"", b""])
    body = lines[gap + 1 :]
    for line_end in (b"\r\n", b"\n"):
        whole = head + line_end.join([*body, b""])
        if not body or len(whole) - size in (0, len(line_end)):
            break
    return whole[:size] if 0 < len(whole) - size <= 2 else whole
