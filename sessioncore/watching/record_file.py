"""A file of binary records, of which only whole ones are written, without waiting for a reader."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from sessioncore.deadlines import Deadlines
from sessioncore.errors import ConfigurationError
from sessioncore.vocabulary import MILLISECOND

__all__ = ["RecordFile", "open_records"]

FLUSH_AFTER: Final = 20 * MILLISECOND
"""How long a record may wait for others, in ns."""
RETRY_AFTER: Final = 100 * MILLISECOND
"""How long, in ns, a reader that was too slow is left alone."""
MOST_HELD: Final = 1 << 20
"""Bytes that wait; further records are dropped."""
_log: Final = Logger(namespace="sessioncore.watching.record_file")


def open_records(name: str, option: str, magic: bytes) -> Any:
    """Open a file to append to, without a buffer.

    Raises `ConfigurationError` if that is not possible, or if something else than records, which
    begin with ``magic``, is in it.
    """
    try:
        begin = _beginning(name, len(magic))
        if begin in (b"", magic):
            return open(name, "ab", buffering=0, opener=_without_waiting)
    except OSError as error:
        raise ConfigurationError(
            f"--{option} {name}: {error.strerror}; name a file that can be written"
        ) from None
    raise ConfigurationError(
        f"--{option} {name}: there is a file of another kind; name another, or remove it"
    )


def _beginning(name: str, length: int) -> bytes:
    """The first bytes of a regular file; empty if there is none, or another thing."""
    try:
        if stat.S_ISREG(os.stat(name).st_mode):
            with open(name, "rb") as there:
                return there.read(length)
    except FileNotFoundError:
        pass
    return b""


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK, 0o666)


class RecordFile:
    """Gathers records and writes them once per tick, after ``preamble`` in each new file.

    A record for which there is no room (disk full, reader gone or too slow) is counted in
    ``lost``; the first failure of each outage is logged.  A record that was cut off is removed
    from a file; a pipe gets the rest of it before the next one.
    """

    def __init__(self, file: Any, preamble: bytes, deadlines: Deadlines, what: str) -> None:
        self.lost = 0
        self._file = file
        self._preamble = preamble
        self._deadlines = deadlines
        self._what = what
        self._records: deque[bytes] = deque()
        self._held = 0
        self._cut = 0
        """Bytes of the first record that are written already."""
        self._armed = False
        self._failing = False
        self._begin()

    def _begin(self) -> None:
        self._records.appendleft(self._preamble)
        self._held += len(self._preamble)
        self.flush()

    def add(self, record: bytes, at: int) -> None:
        """Write ``record`` soon; ``at`` is monotonic ns."""
        if self._held + len(record) > MOST_HELD:
            self.lost += 1
            self._report("its reader is too slow")
            return
        self._records.append(record)
        self._held += len(record)
        self._arm(at + FLUSH_AFTER)

    def _arm(self, when: int) -> None:
        if not self._armed:
            self._armed = True
            self._deadlines.at(when, self._due)

    def _due(self, _none: None, now: int) -> None:
        self._armed = False
        self.flush()
        if self._records:
            self._arm(now + RETRY_AFTER)

    def flush(self) -> None:
        """Write as much as there is room for."""
        if not self._records:
            return
        data = b"".join(self._records)
        written = self._cut
        try:
            while written < len(data):
                count = self._file.write(data[written:])
                if not count:
                    break  # what does not block and has no room
                written += count
        except OSError as error:
            self._take(written)
            self._drop(error)
            return
        self._take(written)
        if not self._records and self._failing:
            self._failing = False
            _log.warn("{what} is written again; {lost} records were lost so far",
                      what=self._what, lost=self.lost)  # fmt: skip

    def _take(self, written: int) -> None:
        """Forget the records that were written."""
        while self._records and written >= len(self._records[0]):
            written -= len(self._records[0])
            self._held -= len(self._records.popleft())
        self._cut = written

    def _drop(self, error: OSError) -> None:
        """Drop what cannot be written, and take back the part of a record that was."""
        first = self._records[0]
        if self._cut and self._taken_back():
            self._cut = 0
        kept = [first] if self._cut or first is self._preamble else []
        self.lost += len(self._records) - len(kept)
        self._records = deque(kept)
        self._held = sum(map(len, kept))
        self._report(error.strerror or str(error))

    def _taken_back(self) -> bool:
        try:
            end = self._file.tell()
            self._file.truncate(end - self._cut)
            self._file.seek(end - self._cut)
        except (OSError, ValueError):
            return False
        return True

    def _report(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            _log.error("{what} cannot be written any more: {why}", what=self._what, why=why)

    def reopen(self, open_file: Callable[[], Any]) -> None:
        """Go on in the file that ``open_file`` opens; if that raises, in the present one."""
        self.flush()
        file = open_file()
        self.close()
        self._file = file
        self._begin()

    def close(self) -> None:
        """Write what there is room for, and close the file."""
        self.flush()
        self.lost += sum(each is not self._preamble for each in self._records)
        self._records.clear()
        self._held = self._cut = 0
        try:
            self._file.close()
        except OSError:
            pass
