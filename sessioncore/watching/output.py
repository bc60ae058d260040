"""Output that never keeps calls waiting, whether or not anybody reads it.

A write to a pipe that is full, or to a terminal that was stopped with Ctrl-S, waits for its
reader.  In a process with calls everything would wait with it, RTP included.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import time
from contextlib import suppress
from typing import IO, Any, Final
from weakref import WeakKeyDictionary, finalize

__all__ = [
    "Output",
    "TextOutput",
    "close_outputs",
    "output_of",
    "standard_error",
    "standard_output",
]

MOST_HELD: Final = 1 << 20
"""Bytes that are held for a slow reader; lines beyond that are dropped."""
PATIENCE: Final = 1.0
"""Seconds that `Output.close` waits for the reader."""
_PIECE: Final = getattr(select, "PIPE_BUF", 512)
"""Bytes that fit into a pipe with room (POSIX)."""


class Output:
    """A pipe, terminal or socket, written to without waiting for its reader.

    Lines for which there is no room are held, ``most`` bytes of them.  Lines beyond that are
    dropped.  ``lost`` counts lines that were taken and could not be written after all, and
    those that `TextOutput` dropped; a caller of `write` counts what it did not take.

    ``fd`` stays open and as it is, because other programs share the open file behind it.
    """

    def __init__(self, fd: int, most: int = MOST_HELD) -> None:
        self.lost = 0
        self._most = most
        self._held = bytearray()
        own = _reopened(fd)
        self._fd = fd if own is None else own
        self._piece = _PIECE if own is None else most
        self._blocks = own is None
        self._room = select.poll()
        self._room.register(self._fd, select.POLLOUT)
        if own is not None:
            finalize(self, os.close, own)

    @property
    def held(self) -> int:
        """Bytes that wait for the reader."""
        return len(self._held)

    def write(self, lines: bytes) -> int | None:
        """Take as many whole lines as there is room for; returns their bytes, None if none.

        Raises OSError if writing fails.  Some of ``lines`` may have been written then.
        """
        self.push()
        written = 0 if self._held else self._put(lines)
        room = self._most - len(self._held)
        end = len(lines) if len(lines) - written <= room else lines.rfind(b"\n", 0, written + room)
        if end < len(lines):
            end += 1
        if end > written:
            self._held += memoryview(lines)[written:end]
        return max(end, written) or None

    def push(self) -> None:
        """Write as much of what is held as there is room for; raises OSError."""
        if not self._held:
            return
        try:
            del self._held[: self._put(self._held)]
        except OSError:
            self._drop()
            raise

    def _put(self, data: bytes | bytearray) -> int:
        """Write what finds room now; an error counts only if nothing was written before it."""
        written = 0
        while written < len(data) and not (self._blocks and not self._room.poll(0)):
            try:
                written += os.write(self._fd, data[written : written + self._piece])
            except BlockingIOError:
                break
            except OSError:
                if written:
                    break
                raise
        return written

    def _drop(self) -> None:
        self.lost += self._held.count(b"\n")
        self._held.clear()

    def close(self) -> None:
        """Give the reader `PATIENCE` to take what is held, and drop the rest."""
        end = time.monotonic() + PATIENCE
        with suppress(OSError):
            while self._held and self._room.poll(max(0.0, end - time.monotonic()) * 1000):
                self.push()
        self._drop()


def _reopened(fd: int) -> int | None:
    """A descriptor of our own for the same pipe or terminal that does not block, or None.

    O_NONBLOCK belongs to the open file.  Set on ``fd`` itself, it would also apply to the shell
    and to all programs that share it.
    """
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)) or not sys.platform.startswith("linux"):
        return None
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None


class TextOutput(io.TextIOBase):
    """An `Output` as a text file: lines for which there is no room are dropped and counted.

    Once there is room again, a line in their place says how many were dropped.
    """

    def __init__(self, output: Output, terminal: bool = False) -> None:
        self._output = output
        self._terminal = terminal
        self._dropped = 0
        """Lines that were dropped since the last line that was taken."""
        self._cut = False
        """Whether the beginning of the present line was dropped."""
        self._within = False
        """Whether the last line that was taken has no end yet."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Take ``text``, or drop what there is no room for; raises OSError."""
        data = text.encode("utf-8", "backslashreplace")
        if self._cut and data:
            rest, end, data = data.partition(b"\n")
            self._drop(rest + end)
        if data:
            self._take(self._notice(), data)
        return len(text)

    def _notice(self) -> bytes:
        if not self._dropped:
            return b""
        end = b"\n" if self._within else b""
        return end + b"sessioncore: %d lines were dropped here: nobody read them\n" % self._dropped

    def _take(self, notice: bytes, data: bytes) -> None:
        taken, lines = 0, notice + data
        try:
            taken = self._output.write(lines) or 0
        finally:
            if taken:
                self._within = lines[taken - 1 : taken] != b"\n"
            if taken >= len(notice):
                self._dropped = 0
            self._drop(data[max(taken - len(notice), 0) :])

    def _drop(self, data: bytes) -> None:
        lines = data.count(b"\n")
        self._dropped += lines
        self._output.lost += lines
        self._cut = bool(data) and not data.endswith(b"\n")

    def flush(self) -> None:
        """Write what there is room for."""
        self._output.push()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._terminal


_OUTPUTS: Final[WeakKeyDictionary[Any, Output]] = WeakKeyDictionary()
"""The one output of each file: two of them would cut each other's lines."""


def output_of(file: IO[str]) -> Output | None:
    """The `Output` for an open file; None for a regular file, which has no reader to wait for."""
    fd = file.fileno()
    if stat.S_ISREG(os.fstat(fd).st_mode) or not hasattr(select, "poll"):
        return None
    if file not in _OUTPUTS:
        _OUTPUTS[file] = Output(fd)
    return _OUTPUTS[file]


def close_outputs() -> int:
    """Give the readers of all outputs a last chance; returns how many lines were lost in all."""
    outputs = list(_OUTPUTS.values())
    for output in outputs:
        output.close()
    return sum(output.lost for output in outputs)


def standard_output() -> IO[str]:
    """Standard output as a text file that never keeps its writer waiting."""
    return _patient(sys.stdout)


def standard_error() -> IO[str]:
    """The same for standard error."""
    return _patient(sys.stderr)


def _patient(file: IO[str]) -> IO[str]:
    try:
        file.flush()
        output = output_of(file)
    except (AttributeError, OSError, ValueError):
        return file  # not a real file, as in a test, or a closed one
    if output is None:
        return file
    patient: Any = TextOutput(output, file.isatty())
    return patient  # type: ignore[no-any-return]
