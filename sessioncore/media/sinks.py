"""Where what a call hears goes: the kinds of sink, and the bank that serves all rows at once.

All audio is int16 at 8000 Hz.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from sessioncore.errors import ConfigurationError
from sessioncore.media.interfaces import IMediaSink
from sessioncore.media.players import grown
from sessioncore.media.recorder import Recorder, Recording
from sessioncore.media.wave import file_path

__all__ = ["Deliver", "Discard", "Record", "Sink", "SinkBank", "SinkReport", "require_sink"]

Samples: TypeAlias = npt.NDArray[np.int16]
Ints: TypeAlias = npt.NDArray[np.int64]


@frozen
class Discard:
    """Nobody listens."""


@frozen
class Record:
    """A WAV file at ``path``: mono is what is heard; stereo has heard left and sent right."""

    path: Path = field(converter=file_path)
    stereo: bool = False


@frozen
class Deliver:
    """``callback`` is called with each frame heard, an int16 array that is its own to keep."""

    callback: Callable[[Samples], object] = field()

    @callback.validator
    def _callable(self, _attribute: object, value: object) -> None:
        if not callable(value):
            raise ConfigurationError(f"callback: {value!r} cannot be called; give a function")


Sink: TypeAlias = Discard | Record | Deliver | Any
"""One of the above, or an object that provides `IMediaSink`."""


def require_sink(given: object) -> None:
    """Raise `ConfigurationError` for what is no `Sink`."""
    if isinstance(given, Discard | Record | Deliver) or IMediaSink.providedBy(given):
        return
    raise ConfigurationError(
        f"{given!r} is no sink; give e.g. Record('heard.wav'), Deliver(callback), Discard() or an"
        " object that provides IMediaSink"
    )


@frozen(eq=False)
class SinkReport:
    """What went wrong with a sink; ``detached`` says whether it was taken off the row.

    A recording's trouble may be told after its row was given to another sink: go by ``sink``
    and ``recording``, not by the row alone.
    """

    row: int
    sink: object
    error: Exception
    detached: bool
    recording: Recording | None = None

    def __str__(self) -> str:
        return str(self.error) or repr(self.error)


class _Kind(IntEnum):
    DISCARD = 0
    MONO = 1
    STEREO = 2
    CALL = 3


class SinkBank:
    """Serves the sinks of all rows; rows without one are discarded.

    ``recorder`` may be shared with other banks; `close` closes it.
    """

    def __init__(self, recorder: Recorder | None = None) -> None:
        self.recorder = Recorder() if recorder is None else recorder
        self._kind = np.zeros(64, np.int64)
        self._slot = np.zeros(64, np.int64)
        self._recording: dict[int, Recording] = {}
        self._call: dict[int, tuple[Callable[[Samples], object], Sink]] = {}
        self._reports: list[SinkReport] = []
        self.failures = 0
        """Application objects taken off because they raised."""

    def attach(self, row: int, sink: Sink, *, hold: bool = False) -> Recording | None:
        """Give ``row`` to ``sink`` instead of the one it had; a `Record` gives its recording.

        ``hold`` is that of `Recorder.start`.
        """
        self.detach(row)
        self._kind = grown(self._kind, row)
        self._slot = grown(self._slot, row)
        match sink:
            case Discard():
                return None
            case Record():
                return self._start_recording(row, sink, hold)
            case Deliver():
                self._call[row] = (sink.callback, sink)
            case _:
                require_sink(sink)
                self._call[row] = (sink.write, sink)
        self._kind[row] = _Kind.CALL
        return None

    def detach(self, row: int) -> Recording | None:
        """Let ``row`` be discarded; a recording is stopped and returned, to wait for its end."""
        if self._call.pop(row, None) is not None:
            self._kind[row] = _Kind.DISCARD
        recording = self._recording.pop(row, None)
        if recording is not None:
            self._kind[row] = _Kind.DISCARD
            self.recorder.stop(recording)
        return recording

    @property
    def used(self) -> bool:
        """Whether anything is heard by anybody."""
        return bool(self._recording or self._call)

    def consume(self, rows: Ints, heard: Samples, sent: Samples, now: int) -> None:
        """Hand on one frame per row (int16[n, samples <= 960], both alike); rows are unique.

        Sinks that fail are detached and told of in `reports`.
        """
        if not len(rows):
            return
        try:
            kinds = self._kind[rows]
        except IndexError:  # rows that never had a sink
            self._kind = grown(self._kind, int(np.max(rows)))
            kinds = self._kind[rows]
        if not np.count_nonzero(kinds):
            return
        for number in np.flatnonzero(np.bincount(kinds)).tolist():
            at = np.flatnonzero(kinds == number)
            if number == _Kind.MONO:
                self.recorder.append(self._slot[rows[at]], heard[at])
            elif number == _Kind.STEREO:
                both = np.stack([heard[at], sent[at]], axis=2)
                self.recorder.append(self._slot[rows[at]], both)
            elif number == _Kind.CALL:
                self._deliver(rows[at].tolist(), heard[at])

    def pass_over(self, count: int) -> None:
        """Time went by in which no row was served: ``count`` samples of it, for recordings."""
        for channels in (1, 2):
            slots = [each.slot for each in self._recording.values() if each.channels == channels]
            if slots:
                self.recorder.pass_over(np.array(slots), channels, count)

    def reports(self) -> list[SinkReport]:
        """What went wrong since this was last asked."""
        told, self._reports = self._reports, []
        for recording, error in self.recorder.problems():
            row, sink = recording.owner
            over = recording.error is not None and self._recording.get(row) is recording
            if over:
                self.detach(row)
            told.append(SinkReport(row, sink, error, over, recording))
        return told

    def _start_recording(self, row: int, sink: Record, hold: bool) -> Recording:
        channels = 2 if sink.stereo else 1
        recording = self.recorder.start(sink.path, channels, (row, sink), hold=hold)
        self._recording[row] = recording
        self._slot[row] = recording.slot
        self._kind[row] = _Kind.STEREO if sink.stereo else _Kind.MONO
        return recording

    def _deliver(self, rows: list[int], heard: Samples) -> None:
        for row, samples in zip(rows, heard, strict=True):
            # One called before this one may have taken it off the row.
            entry = self._call.get(row)
            if entry is None:
                continue
            callback, sink = entry
            try:
                callback(samples)
            except Exception as error:
                self.failures += 1
                # It may have put another sink in its own place, which stays.
                own = self._call.get(row) is entry
                if own:
                    self.detach(row)
                self._reports.append(SinkReport(row, sink, error, own))
