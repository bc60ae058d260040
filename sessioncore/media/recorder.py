"""Recordings: a buffer of one second each, and one thread that writes them to disk.

The thread is the only one of the project; it sees full buffers and files, never a call.  The
tick never waits for it: where the disk cannot follow, audio is dropped, counted and logged.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from os import PathLike, fspath
from os.path import abspath
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from sessioncore.errors import CallOver, ConfigurationError, MediaFileError
from sessioncore.media.lane import DEFAULT_RATE
from sessioncore.media.players import grown
from sessioncore.media.sample_pool import MAX_FRAME
from sessioncore.media.wave import WavWriter

__all__ = ["Recorder", "Recording"]

Samples: TypeAlias = npt.NDArray[np.int16]
Ints: TypeAlias = npt.NDArray[np.int64]

_GROUPS: Final = 50
"""Recordings that start together are written in this many groups, one frame apart."""


class Recording:
    """One file in the making.

    With ``hold`` what is at ``path`` stays as it is, and ``held`` samples of silence wait,
    until there is a sound or `Recorder.begin` is called.

    ``written`` counts samples per channel that are in the file, ``dropped`` those the disk
    was too slow for and ``unwritten`` those it refused; ``error`` says why the file ended
    early.  ``finished`` is done, with this recording, once the file is closed; it is called
    back from the writer's thread, so under a reactor go through ``callFromThread``.
    """

    def __init__(self, path: str, channels: int, rate: int, slot: int, owner: Any) -> None:
        self.path = path
        self.rate = rate
        self.file_rate = rate
        """The same as far as the writer has come."""
        self.owner = owner
        self.channels = channels
        self.slot = slot
        self.written = 0
        self.dropped = 0
        self.unwritten = 0
        self.hold = self.waiting = False
        """Whether it is on hold, and whether it is so as far as the writer has come."""
        self.held = 0
        self.sound = False
        """Whether there was any sound so far; kept up while it may be held."""
        self.error: MediaFileError | None = None
        self.finished: Future[Recording] = _future()


def _future() -> Future[Any]:
    future: Future[Any] = Future()
    # A future that runs cannot be cancelled: its result would have nowhere to go.
    future.set_running_or_notify_cancel()
    return future


_Problems: TypeAlias = deque[tuple[Recording, MediaFileError]]


class _Rate(NamedTuple):
    """Another sampling rate for a recording; what is held is as long as before."""

    hertz: int


class _Begin(NamedTuple):
    """What was held waits no longer."""


_Item: TypeAlias = Samples | int | _Rate | _Begin | None


class _Queue:
    """What waits for the writer: a bounded number of blocks, and whatever must not be lost.

    SimpleQueue is written in C and holds no lock while anybody waits for it: with a Condition
    the tick waits for the thread's turn at the interpreter, up to 5 ms.
    """

    def __init__(self, max_blocks: int) -> None:
        self._items: SimpleQueue[tuple[Recording | None, _Item]] = SimpleQueue()
        self._max_blocks = max_blocks
        self.take = self._items.get

    def offer(self, recording: Recording, block: Samples) -> bool:
        """Put in a block, if there is room."""
        if self._items.qsize() >= self._max_blocks:
            return False
        self._items.put((recording, block))
        return True

    def put(self, recording: Recording | None, block: _Item = None) -> None:
        """Put in what must not be lost and takes no room.

        A number is so many samples of silence, also the first that opens a recording; a
        `_Rate` changes that of a file without audio; `_Begin` begins one that was on hold;
        None ends the recording.  None for a recording ends them all.
        """
        self._items.put((recording, block))


class _Writer:
    """The thread's side: files."""

    def __init__(self, queue: _Queue, problems: _Problems, closed: Future[None]) -> None:
        self._queue = queue
        self._problems = problems
        self._closed = closed
        self._files: dict[Recording, WavWriter] = {}

    def run(self) -> None:
        """Work until the recorder is closed."""
        while True:
            recording, block = self._queue.take()
            if recording is None:
                self._closed.set_result(None)
                return
            if block is None:
                self._end(recording)
            elif isinstance(block, _Rate):
                self._retune(recording, block.hertz)
            elif isinstance(block, _Begin):
                recording.waiting = False
                self._take(recording, 0)
            else:
                self._take(recording, block)

    def _take(self, recording: Recording, block: Samples | int) -> None:
        if recording.error is None:
            self._write(recording, block)
        else:
            recording.unwritten += _length(block)

    def _write(self, recording: Recording, block: Samples | int) -> None:
        try:
            file = self._files.get(recording)
            if file is None:
                file = WavWriter(recording.path, recording.file_rate, recording.channels, hold=True)
                self._files[recording] = file
            if not file.begun:
                if recording.waiting and _is_silent(block):
                    recording.held += _length(block)
                    return
                file.begin()
                file.write_silence(recording.held)
                recording.written, recording.held = recording.held, 0
            if isinstance(block, int):
                file.write_silence(block)
            else:
                file.write(block)
            recording.written += _length(block)
        except Exception as error:
            recording.unwritten += recording.held + _length(block)
            self._fail(recording, error)

    def _retune(self, recording: Recording, rate: int) -> None:
        recording.held = recording.held * rate // recording.file_rate
        recording.file_rate = rate
        file = self._files.get(recording)
        if file is not None:
            file.rate = rate

    def _end(self, recording: Recording) -> None:
        file = self._files.pop(recording, None)
        try:
            if file is not None:
                file.close()
        except Exception as error:
            self._fail(recording, error)
        recording.finished.set_result(recording)

    def _fail(self, recording: Recording, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        recording.error = MediaFileError(
            f"{recording.path}: recording ended, the file cannot be written ({reason})"
        )
        self._problems.append((recording, recording.error))


def _is_silent(block: Samples | int) -> bool:
    return isinstance(block, int) or not np.any(block)


def _length(block: Samples | int) -> int:
    return block if isinstance(block, int) else len(block)


class _Buffers:
    """A second of audio for each recording of one number of channels and one rate."""

    def __init__(self, channels: int, rate: int) -> None:
        self._rate = rate
        # With room for the longest frame: the next may be longer than the last one was.
        size = rate + MAX_FRAME
        shape = (16, size) if channels == 1 else (16, size, channels)
        self._samples: Samples = np.zeros(shape, np.int16)
        self._fill = np.zeros(16, np.int64)
        self._limit = np.zeros(16, np.int64)
        self._written = np.zeros(16, np.bool_)
        self._free: list[int] = []
        self._used = 0

    def lease(self, first_limit: int) -> int:
        """A slot; it is due for the first time at ``first_limit`` samples."""
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._used = self._used, self._used + 1
        self._samples = grown(self._samples, slot)
        self._fill = grown(self._fill, slot)
        self._limit = grown(self._limit, slot)
        self._limit[slot] = first_limit
        self._written = grown(self._written, slot)
        self._written[slot] = False
        return slot

    def append(self, slots: Ints, frames: Samples) -> Ints:
        """Add a frame to each slot; returns the slots with no room for another."""
        width = frames.shape[1]
        fill = self._fill[slots]
        self._windows(width)[slots, fill] = frames
        fill += width
        self._fill[slots] = fill
        full: Ints = slots[fill + width > self._limit[slots]]
        return full

    def _windows(self, width: int) -> Samples:
        """Entry [slot, i] is where a frame goes that starts at i: one piece, one copy."""
        slots, size, *channels = self._samples.shape
        step = self._samples.strides
        shape = (slots, size - width + 1, width, *channels)
        return as_strided(self._samples, shape, (step[0], step[1], *step[1:]))

    def begun(self, slots: Ints) -> Ints:
        """Those of ``slots`` that something was added to."""
        begun: Ints = slots[self._written[slots] | (self._fill[slots] > 0)]
        return begun

    def empty(self, slot: int) -> Samples:
        """What the slot holds, as a copy; the slot is empty after it."""
        block = self._samples[slot, : self._fill[slot]].copy()
        self._fill[slot] = 0
        self._limit[slot] = self._rate
        self._written[slot] = True
        return block

    def give(self, slot: int) -> None:
        """The slot is free."""
        self._free.append(slot)


def _key(recording: Recording) -> tuple[int, int, int]:
    return recording.channels, recording.rate, recording.slot


class Recorder:
    """All recordings of a process; ``max_blocks`` of up to a second each may wait for the disk.

    Call it from one thread.
    """

    def __init__(self, max_blocks: int = 4096) -> None:
        self._queue = _Queue(max_blocks)
        self._problems: _Problems = deque()
        self._closed: Future[None] = _future()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._buffers: dict[tuple[int, int], _Buffers] = {}
        self._open: dict[tuple[int, int, int], Recording] = {}
        self._paths: set[str] = set()
        self._started = 0
        self.dropped = 0
        """Samples dropped because the disk did not follow, of all recordings."""

    def start(
        self,
        path: str | PathLike[str],
        channels: int = 1,
        owner: object = None,
        *,
        hold: bool = False,
        rate: int = DEFAULT_RATE,
    ) -> Recording:
        """Begin a WAV file, 16-bit at ``rate`` Hz, in place of what is at ``path``.

        ``owner`` is the caller's own, kept as `Recording.owner`.  ``hold`` leaves what is there
        until there is a sound or `begin` is called; stopped before that, nothing was recorded.
        A path that cannot be written shows in `problems`, not here: opening is the thread's.
        Raises `ConfigurationError` if that path is being recorded to already, `CallOver`
        after `close`.
        """
        where = abspath(fspath(path))
        if self._closing:
            raise CallOver(f"{where}: the recorder is closed")
        if where in self._paths:
            raise ConfigurationError(f"{where}: another recording is writing to it")
        if self._thread is None:
            writer = _Writer(self._queue, self._problems, self._closed)
            self._thread = threading.Thread(
                target=writer.run, name="sessioncore recorder", daemon=True
            )
            self._thread.start()
        self._started += 1
        recording = Recording(where, channels, rate, self._lease(channels, rate), owner)
        recording.hold = recording.waiting = hold
        self._open[_key(recording)] = recording
        self._paths.add(where)
        self._queue.put(recording, 0)
        return recording

    def begin(self, recording: Recording) -> None:
        """Replace what is at the path of a recording that was started with ``hold``."""
        if self._open.get(_key(recording)) is recording:
            recording.hold = False
            self._queue.put(recording, _Begin())

    def retune(self, recording: Recording, rate: int) -> bool:
        """Change the rate of a recording on ``hold`` in which there is no sound so far.

        False leaves it as it is: there was a sound, or it was begun.
        """
        if self._open.get(_key(recording)) is not recording or not recording.hold:
            return False
        self._flush(recording)
        if recording.sound:
            return False
        del self._open[_key(recording)]
        self._buffers_of(recording).give(recording.slot)
        recording.slot, recording.rate = self._lease(recording.channels, rate), rate
        self._open[_key(recording)] = recording
        self._queue.put(recording, _Rate(rate))
        return True

    def _lease(self, channels: int, rate: int) -> int:
        buffers = self._buffers.get((channels, rate))
        if buffers is None:
            buffers = self._buffers[channels, rate] = _Buffers(channels, rate)
        return buffers.lease(rate // _GROUPS * (1 + self._started % _GROUPS))

    def _buffers_of(self, recording: Recording) -> _Buffers:
        return self._buffers[recording.channels, recording.rate]

    def append(self, slots: Ints, frames: Samples, rate: int = DEFAULT_RATE) -> None:
        """A frame for each of some recordings of the same number of channels and ``rate``.

        ``slots`` are unique `Recording.slot` numbers; ``frames`` int16[n, samples] for one
        channel, int16[n, samples, 2] for two.  After `close` they are passed over.
        """
        if self._closing:
            return
        channels = 1 if frames.ndim == 2 else frames.shape[2]
        for slot in self._buffers[channels, rate].append(slots, frames).tolist():
            self._flush(self._open[channels, rate, slot])

    def pass_over(self, slots: Ints, channels: int, count: int, rate: int = DEFAULT_RATE) -> None:
        """Time went by unheard: ``count`` samples of silence for those that have begun.

        A second or more is left to the writer, who makes a hole; less goes into the buffers.
        """
        if self._closing:
            return
        slots = self._buffers[channels, rate].begun(slots)
        if count >= rate:
            for slot in slots.tolist():
                recording = self._open[channels, rate, slot]
                self._flush(recording)
                self._queue.put(recording, count)
            return
        shape = (len(slots), count) if channels == 1 else (len(slots), count, channels)
        silence = np.zeros(shape, np.int16)
        for start in range(0, count, MAX_FRAME):
            self.append(slots, silence[:, start : start + MAX_FRAME], rate)

    def stop(self, recording: Recording) -> None:
        """Write what is buffered and close the file; ``recording.finished`` tells when.

        Does nothing to a recording that was stopped before, by `close` for one.
        """
        key = _key(recording)
        if self._open.get(key) is not recording:
            return
        del self._open[key]
        self._flush(recording)
        self._buffers_of(recording).give(recording.slot)
        self._paths.discard(recording.path)
        self._queue.put(recording)

    def problems(self) -> list[tuple[Recording, MediaFileError]]:
        """What went wrong since this was last asked; a recording with an ``error`` is over."""
        told = []
        while self._problems:
            told.append(self._problems.popleft())
        return told

    def close(self) -> Future[None]:
        """Stop all recordings; the result is done once everything is on disk.

        Does not block.  It is called back from the writer's thread.
        """
        if not self._closing:
            self._closing = True
            for recording in list(self._open.values()):
                self.stop(recording)
            self._queue.put(None)
            if self._thread is None:
                self._closed.set_result(None)
        return self._closed

    def _flush(self, recording: Recording) -> None:
        block = self._buffers_of(recording).empty(recording.slot)
        if recording.hold and not recording.sound:
            recording.sound = not _is_silent(block)
        if len(block) and not self._queue.offer(recording, block):
            self.dropped += len(block)
            if not recording.dropped:
                text = f"{recording.path}: the disk is too slow, parts of the recording are lost"
                self._problems.append((recording, MediaFileError(text)))
            recording.dropped += len(block)
