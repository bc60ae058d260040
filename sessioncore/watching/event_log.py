"""Events as text lines and as JSON lines, written together once per tick.

A line per event through ``twisted.logger`` costs 330-420 µs a call (measured).  Here events are
put on a list, which is formatted and written in one go some milliseconds later; formatting each
event at once would run with cold caches every time.
Text that a peer can choose (Call-ID, URIs, reasons) is escaped, so that a peer can neither forge
a line nor send control characters to a terminal.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache, lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final, Protocol, TypeAlias

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from sessioncore.deadlines import Deadlines
from sessioncore.errors import ConfigurationError
from sessioncore.events import Event
from sessioncore.interfaces import IEventObserver
from sessioncore.verdict import Verdict
from sessioncore.vocabulary import MILLISECOND, SECOND, Address, host_port
from sessioncore.watching.output import Output, output_of

__all__ = [
    "EventLog",
    "LineFile",
    "LogMessages",
    "json_line",
    "json_lines",
    "json_text",
    "open_log",
    "plain_details",
    "printable",
    "quoted",
    "shown",
    "text_line",
    "text_lines",
]

FLUSH_AFTER: Final = 20 * MILLISECOND
"""How long a line may wait for others, in ns: one media period."""
LOG_AFTER: Final = 200 * MILLISECOND
"""The same for lines that go through ``twisted.logger``, which costs more each time."""
RETRY_AFTER: Final = 100 * MILLISECOND
"""How long, in ns, a reader that was too slow is left alone."""
MOST_WAITING: Final = 2000
"""Lines that are written at once even if the time has not come."""

_COMMON: Final = frozenset(field.name for field in attrs.fields(Event))
_PLAIN_KINDS: Final = frozenset({int, float, bool, str, type(None)})
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_PLAIN: Final = re.compile(r"[!#-+\--~]+").fullmatch
_log: Final = Logger(namespace="sessioncore.watching.event_log")


def printable(text: str) -> str:
    """``text`` as it is where that is safe in a line, else quoted and escaped.

    Printable ASCII is safe, except for blanks, commas and quotes, which separate the fields.
    """
    return text if _PLAIN(text) else quoted(text)


def quoted(text: str) -> str:
    """``text`` in quotes, with everything escaped that is not printable ASCII."""
    # DEL is the one control character that ASCII JSON leaves as it is.
    return encode_basestring_ascii(text).replace("\x7f", "\\u007f")


def shown(text: str) -> str:
    """``text`` for a screen, with everything escaped that is not printable ASCII."""
    return text if text.isascii() and text.isprintable() else quoted(text)[1:-1]


@cache
def _extra(kind: type[Any]) -> tuple[str, ...]:
    """What a kind of event carries beyond the common fields."""
    return tuple(field.name for field in attrs.fields(kind) if field.name not in _COMMON)


def text_line(event: Event) -> str:
    """``[UAS] Event: CallAnswered, Media State: Ready, Session: 3, Call-ID: ...``."""
    return text_lines((event,))


def text_lines(events: Iterable[Event]) -> str:
    """The `text_line` of each."""
    return "".join([_LINES[event.__class__](event) for event in events])


@lru_cache(maxsize=512)
def _whose(session: str, call_id: str) -> str:
    """Which call a line is about; its next lines come soon, with those of others between."""
    return f", Session: {printable(session)}, Call-ID: {printable(call_id)}"


_Line: TypeAlias = "Callable[[Any], str]"


class _Lines(dict[type[Event], _Line]):
    """The function that writes a kind of event, made when the first one comes."""

    def __missing__(self, kind: type[Event]) -> _Line:
        return self.setdefault(kind, _prepare(kind))


_LINES: Final = _Lines()


def _prepare(kind: Any) -> _Line:
    """A function of one f-string, made as attrs makes ``__init__``: faster than a loop."""
    # `_value_` is what `value` and `str` of these give, without a call.
    line = (
        f"[{{event.role._value_}}] Event: {kind.__name__},"
        " Media State: {event.media_state._value_}{_whose(event.session, event.call_id)}"
    )
    for name in _extra(kind):
        label = name.replace("_", " ").capitalize().replace(" uri", " URI")
        value = _SHOWN.get(str(attrs.fields_dict(kind)[name].type), "_text({0})")
        line += f", {label}: {{{value.format(f'event.{name}')}}}"
    function: _Line = eval(f'lambda event: f"{line}\\n"', globals())
    return function


_is_ipv4: Final = re.compile(r"[0-9.]+:[0-9]+").fullmatch
# Most are IPv4, and safe then.
_ADDRESS: Final = "(t if _is_ipv4(t := '%s:%s' % {0}) else _address({0}))"
_SHOWN: Final = {
    "int": "{0}!a",
    "float": "{0}!a",
    "bool": "{0}!a",
    # Most are safe.
    "str": "(t if _PLAIN(t := {0}) else quoted(t))",
    "float | None": "'none' if {0} is None else ascii({0})",
    "Address": _ADDRESS,
    "Address | None": "'none' if {0} is None else " + _ADDRESS,
    "tuple[str, ...]": "printable('; '.join({0}))",
    # Never without a blank.
    "EndReason": "quoted(str({0}))",
    "NegotiatedMedia": "quoted(str({0}))",
}
"""How to write what an attribute of such a type holds; `_text` writes all others."""


def _address(address: Address) -> str:
    return printable(host_port(*address))


def _text(value: object) -> str:
    return "none" if value is None else printable(str(value))


def json_line(event: Event, wall_offset: int = 0) -> str:
    """One JSON object: ``t`` (seconds), ``role``, ``session``, ``call_id``, ``event``, ....

    ``wall_offset`` (ns) is added to the event's monotonic time.
    """
    record: dict[str, object] = {
        "t": round((event.at + wall_offset) / SECOND, 6),
        "role": event.role.value,
        "session": event.session,
        "call_id": event.call_id,
        "event": event.name,
        "media_state": event.media_state.value,
    }
    record.update(plain_details(event))
    return json_text(record)


def plain_details(event: Event) -> dict[str, object]:
    """The attributes of an event beyond the common ones, as plain values."""
    kind: Any = event.__class__
    return {name: _plain(getattr(event, name)) for name in _extra(kind)}


def json_text(record: object) -> str:
    """A JSON value as one line of printable ASCII."""
    return _encode(record).replace("\x7f", "\\u007f") + "\n"


def json_lines(events: Iterable[Event], wall_offset: int = 0) -> str:
    """The `json_line` of each."""
    return "".join([json_line(event, wall_offset) for event in events])


def _plain(value: object) -> object:
    """A value as JSON knows it."""
    kind: Any = value.__class__
    if kind in _PLAIN_KINDS:
        return value
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if kind is Verdict:
        return value.as_dict()  # type: ignore[attr-defined]
    names = _fields(kind)
    return value if names is None else {name: _plain(getattr(value, name)) for name in names}


@cache
def _fields(kind: type[Any]) -> tuple[str, ...] | None:
    """The attributes of an attrs class."""
    return tuple(field.name for field in attrs.fields(kind)) if attrs.has(kind) else None


def open_log(name: str, option: str = "events") -> LineFile:
    """A file to append to, or the real standard output for ``-``.

    Raises `ConfigurationError` with the name of the ``option`` that asked for it.

    Unbuffered, so that it is known what was written; closing it leaves standard output open.
    Writing never waits for a reader.
    """
    if name == "-":
        # Not sys.stdout: twistd makes that a way into its log.
        out = sys.__stdout__ or sys.stdout
        return output_of(out) or open(out.fileno(), "wb", buffering=0, closefd=False)
    try:
        return open(name, "ab", buffering=0, opener=_without_waiting)
    except OSError as error:
        raise ConfigurationError(
            f"--{option} {name}: {error.strerror}; name a file that can be written"
        ) from None


def _without_waiting(name: str, flags: int) -> int:
    # Else a named pipe without a reader would keep the process from starting, or its calls waiting.
    return os.open(name, flags | os.O_NONBLOCK, 0o666)


class LogMessages:
    """A file whose every ``write`` becomes one message of ``twisted.logger``.

    So lines reach whatever the process logs to, in order with all else that is logged there,
    and a log that is rotated or sent to syslog needs nothing from us.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def write(self, lines: bytes) -> int:
        """Log ``lines`` as one message."""
        self._logger.info("{lines}", lines=lines.decode("ascii").rstrip("\n"))
        return len(lines)

    def close(self) -> None:
        """The log is the process's to close."""


class LineFile(Protocol):
    """Where lines go: a file without a buffer, or what stands for one."""

    def write(self, lines: bytes, /) -> int | None:
        """Write some or all of ``lines``; returns how many bytes, None where none had room."""

    def close(self) -> None:
        """Write nothing any more."""


class Record(Protocol):
    """What a log takes: an event, or anything else that happened at some time."""

    @property
    def at(self) -> int:
        """Monotonic ns."""


@implementer(IEventObserver)
class EventLog:
    """Collects events, or other records, and formats and writes them once per tick.

    A line that cannot be written (disk full, reader gone or too slow) is counted in ``lost``
    and the calls go on; the first failure of each outage is logged, and at its end how many
    lines were lost.  A line that was cut off is
    removed from a file; where that is impossible (a pipe), it is ended before the next one.

    ``file`` has no buffer: its ``write`` returns how much was written.  ``lines`` makes whole
    lines of several records.  Records wait for others for ``flush_after`` ns; without
    ``deadlines`` each is written at once.
    """

    def __init__(
        self,
        file: LineFile,
        lines: Callable[[Iterable[Any]], str],
        deadlines: Deadlines | None = None,
        flush_after: int = FLUSH_AFTER,
    ) -> None:
        self._lost = 0
        self._lost_before = 0
        """Lines lost in outages that are over."""
        self._failing = False
        self._hold(file)
        self._flush_after = flush_after
        self._lines = lines
        self._deadlines = deadlines
        self._most = 1 if deadlines is None else MOST_WAITING
        self._waiting: list[Record] = []
        self._armed = False

    def _hold(self, file: LineFile) -> None:
        self._file: Any = file
        self._output = file if isinstance(file, Output) else None
        self._begin = b""

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._lost + (0 if self._output is None else self._output.lost)

    def event(self, event: Record) -> None:
        """Take one event, or another record."""
        waiting = self._waiting
        if not self._armed and self._deadlines is not None:
            self._armed = True
            self._deadlines.at(event.at + self._flush_after, self._due)
        waiting.append(event)
        if len(waiting) >= self._most:
            self.flush()

    def _due(self, _argument: object, now: int) -> None:
        self._armed = False
        self.flush()
        if self._output is not None and self._output.held and self._deadlines is not None:
            # Its reader was slow; perhaps it has read by then.
            self._armed = True
            self._deadlines.at(now + RETRY_AFTER, self._due)

    def reopen(self, open_file: Callable[[], LineFile]) -> None:
        """Go on in the file that ``open_file`` opens; if that raises, in the present one."""
        self.flush()
        file = open_file()
        self._shut()
        self._lost = self.lost
        self._hold(file)
        self._recovered()

    def flush(self) -> None:
        """Write what has gathered."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            self._push()
            return
        data, written, count = b"", 0, len(waiting)
        try:
            data = self._begin + self._lines(waiting).encode("ascii")
            count = data.count(b"\n", len(self._begin))
            while written < len(data):
                # None from what does not block and has no room.
                written += self._file.write(data[written:]) or _no_room()
        except (OSError, ValueError) as error:
            self._lost += count - data.count(b"\n", len(self._begin), written)
            self._report(error)
            if written:
                self._begin = self._mend(written - data.rfind(b"\n", 0, written) - 1)
        else:
            self._begin = b""
            self._recovered()

    def _push(self) -> None:
        """Write what is held for a slow reader."""
        if self._output is None:
            return
        try:
            self._output.push()
        except OSError as error:
            self._report(error)
        else:
            if not self._output.held:
                self._recovered()

    def _recovered(self) -> None:
        """Lines find room: report an outage that was reported."""
        if self._failing:
            lost, self._lost_before = self.lost - self._lost_before, self.lost
            self._failing = False
            _log.warn("lines about calls are written again; {lost} were lost", lost=lost)

    def _report(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            _log.error("lines about calls cannot be written any more: {error}", error=error)

    def _mend(self, cut: int) -> bytes:
        """Take back the ``cut`` bytes of a line; returns what has to come before the next one."""
        if self._output is not None:
            return b"\n" if cut else b""
        try:
            end = self._file.tell()
            # Unless others write there as well, or have emptied it.
            if cut and end == self._file.seek(0, os.SEEK_END):
                self._file.truncate(end - cut)
                self._file.seek(end - cut)
                cut = 0
        except (OSError, ValueError):
            pass
        return b"\n" if cut else b""

    def close(self) -> None:
        """Write what has gathered, and close the file."""
        self.flush()
        self._shut()

    def _shut(self) -> None:
        try:
            self._file.close()
        except OSError:
            pass


def _no_room() -> int:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
