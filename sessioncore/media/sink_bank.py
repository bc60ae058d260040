"""Serves the sinks of all rows at once; a row may have several."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.media.lane import DEFAULT_RATE
from sessioncore.media.players import grown
from sessioncore.media.recorder import Recorder, Recording
from sessioncore.media.resample import RateConverter
from sessioncore.media.sinks import (
    Deliver,
    Discard,
    Record,
    Sink,
    SinkReport,
    Sinks,
    no_such_sink,
    require_sink,
    sinks_of,
)
from sessioncore.rtp.audio_codec import FRAMES_PER_SECOND

__all__ = ["SinkBank"]

Samples: TypeAlias = npt.NDArray[np.int16]
Ints: TypeAlias = npt.NDArray[np.int64]


class _Use(IntEnum):
    """What a row's sink in a layer is."""

    NONE = 0
    MONO = 1
    STEREO = 2
    CALL = 3


class _Given(NamedTuple):
    """A sink in use."""

    sink: Sink
    callback: Callable[[Samples], object] | None
    recording: Recording | None


class _Layer:
    """One sink of each row that has so many: the second of a row is in the second layer.

    ``code`` is the place of (use, rate) in the bank's list, ``slot`` that of its recording.
    """

    def __init__(self) -> None:
        self.code = np.zeros(64, np.int64)
        self.slot = np.zeros(64, np.int64)
        self.given: dict[int, _Given] = {}
        self._converters: dict[tuple[int, int, bool], RateConverter] = {}

    def put(self, row: int, given: _Given, code: int) -> None:
        self.code = grown(self.code, row)
        self.slot = grown(self.slot, row)
        self.code[row] = code
        self.slot[row] = 0 if given.recording is None else given.recording.slot
        self.given[row] = given
        self.begin(row)

    def drop(self, row: int) -> None:
        self.code[row] = 0
        del self.given[row]

    def codes_of(self, rows: Ints) -> Ints:
        try:
            return self.code[rows]
        except IndexError:  # rows that never had a sink here
            self.code = grown(self.code, int(np.max(rows)))
            return self.code[rows]

    def begin(self, row: int) -> None:
        """What the row hears next does not follow from what it heard so far."""
        for converter in self._converters.values():
            converter.reset(row)

    def at(self, wanted: int, rate: int, rows: Ints, frames: Samples, sent: bool) -> Samples:
        """``frames``, heard or sent at ``rate``, at the rate that is wanted."""
        if wanted == rate:
            return frames
        converter = self._converters.get((rate, wanted, sent))
        if converter is None:
            converter = self._converters[rate, wanted, sent] = RateConverter(rate, wanted)
        return converter.convert(rows, frames)


class SinkBank:
    """Serves the sinks of all rows; rows without one are discarded.

    ``changed(row)`` is called when a row has other sinks than before.  ``recorder`` may be
    shared with other banks; `close` closes it.
    """

    def __init__(
        self,
        recorder: Recorder | None = None,
        changed: Callable[[int], None] = lambda row: None,
    ) -> None:
        self.recorder = Recorder() if recorder is None else recorder
        self._changed = changed
        self._layers = [_Layer()]
        self._codes: list[tuple[_Use, int]] = [(_Use.NONE, 0)]
        self._reports: list[SinkReport] = []
        self.served: set[int] = set()
        """The rows with sinks: what they hear is heard by somebody."""
        self.failures = 0
        """Application objects taken off because they raised."""

    def attach(
        self, row: int, sinks: Sinks, rate: int = DEFAULT_RATE, *, hold: bool = False
    ) -> list[Recording]:
        """Give ``row``, heard at ``rate``, to ``sinks`` instead of those it had.

        Returns the recordings; ``hold`` is that of `Recorder.start`.
        """
        require_sink(sinks)
        self.detach(row)
        try:
            made = [self.add(row, sink, rate, hold=hold) for sink in sinks_of(sinks)]
        except Exception:
            self.detach(row)
            raise
        return [recording for recording in made if recording is not None]

    def add(
        self, row: int, sink: Sink, rate: int = DEFAULT_RATE, *, hold: bool = False
    ) -> Recording | None:
        """Give ``row`` to ``sink`` as well; a `Record` gives its recording."""
        recording = None
        match sink:
            case Discard():
                return None
            case Record():
                wanted = rate if sink.rate is None else sink.rate
                channels = 2 if sink.stereo else 1
                recording = self.recorder.start(
                    sink.path, channels, (row, sink), hold=hold, rate=wanted
                )
                given, use = _Given(sink, None, recording), _Use(channels)
            case Deliver():
                given, use, wanted = _Given(sink, sink.callback, None), _Use.CALL, sink.rate
            case _:
                require_sink(sink)
                given, use = _Given(sink, sink.write, None), _Use.CALL
                wanted = getattr(sink, "rate", DEFAULT_RATE)
        self._free_layer(row).put(row, given, self._code(use, wanted))
        self.served.add(row)
        self._changed(row)
        return recording

    def remove(self, row: int, sink: Sink) -> Recording | None:
        """Give ``row`` to ``sink`` no more; a recording is stopped and returned.

        Raises `ConfigurationError` where it is not among the row's sinks.
        """
        if isinstance(sink, Discard):
            return None
        for layer in self._layers:
            given = layer.given.get(row)
            if given is not None and given.sink is sink:
                return self._drop(layer, row)
        raise no_such_sink(sink)

    def detach(self, row: int) -> list[Recording]:
        """Let ``row`` be discarded; recordings are stopped and returned, to wait for their end."""
        if row not in self.served:
            return []
        dropped = [self._drop(layer, row) for layer in self._layers if row in layer.given]
        return [recording for recording in dropped if recording is not None]

    def begin(self, row: int) -> None:
        """Begin the recordings of ``row`` that were given to it on hold."""
        for layer in self._layers:
            given = layer.given.get(row)
            if given is not None and given.recording is not None and given.recording.hold:
                self.recorder.begin(given.recording)

    def move(self, row: int, rate: int) -> None:
        """``row`` is heard at ``rate`` from here on; its sinks hear on.

        A recording of the call's rate in which there is no sound yet goes over to the new one.
        """
        for layer in self._layers:
            given = layer.given.get(row)
            if given is None:
                continue
            layer.begin(row)
            recording = given.recording
            if (
                recording is not None
                and isinstance(given.sink, Record)
                and given.sink.rate is None
                and self.recorder.retune(recording, rate)
            ):
                layer.slot[row] = recording.slot
                layer.code[row] = self._code(_Use(recording.channels), rate)

    def consume(
        self, rows: Ints, heard: Samples, sent: Samples, now: int, rate: int = DEFAULT_RATE
    ) -> None:
        """Hand on one frame per row (int16[n, samples <= 2880], both alike) at ``rate``.

        Rows are unique.  Sinks that fail are detached and listed in `reports`.
        """
        if not len(rows):
            return
        for layer in self._layers:
            codes = layer.codes_of(rows)
            for number in np.flatnonzero(np.bincount(codes)).tolist():
                if number:
                    at = np.flatnonzero(codes == number)
                    self._serve(layer, number, rows[at], heard[at], sent[at], rate)

    def _serve(
        self, layer: _Layer, code: int, rows: Ints, heard: Samples, sent: Samples, rate: int
    ) -> None:
        use, wanted = self._codes[code]
        heard = layer.at(wanted, rate, rows, heard, sent=False)
        if use is _Use.CALL:
            self._deliver(layer, rows.tolist(), heard)
            return
        if use is _Use.STEREO:
            heard = np.stack([heard, layer.at(wanted, rate, rows, sent, sent=True)], axis=2)
        self.recorder.append(layer.slot[rows], heard, wanted)

    def pass_over(self, periods: int) -> None:
        """Time went by in which no row was served: ``periods`` of 20 ms, for recordings."""
        slots: dict[tuple[int, int], list[int]] = {}
        for layer in self._layers:
            for given in layer.given.values():
                if (each := given.recording) is not None:
                    slots.setdefault((each.channels, each.rate), []).append(each.slot)
        for (channels, rate), some in slots.items():
            count = periods * (rate // FRAMES_PER_SECOND)
            self.recorder.pass_over(np.array(some), channels, count, rate)

    def reports(self) -> list[SinkReport]:
        """What went wrong since this was last asked."""
        told, self._reports = self._reports, []
        for recording, error in self.recorder.problems():
            row, sink = recording.owner
            layer = self._layer_of(row, recording)
            over = recording.error is not None and layer is not None
            if layer is not None and over:
                self._drop(layer, row)
            told.append(SinkReport(row, sink, error, over, recording))
        return told

    def _code(self, use: _Use, rate: int) -> int:
        if (use, rate) not in self._codes:
            self._codes.append((use, rate))
        return self._codes.index((use, rate))

    def _free_layer(self, row: int) -> _Layer:
        for layer in self._layers:
            if row not in layer.given:
                return layer
        self._layers.append(_Layer())
        return self._layers[-1]

    def _layer_of(self, row: int, recording: Recording) -> _Layer | None:
        for layer in self._layers:
            given = layer.given.get(row)
            if given is not None and given.recording is recording:
                return layer
        return None

    def _drop(self, layer: _Layer, row: int) -> Recording | None:
        recording = layer.given[row].recording
        layer.drop(row)
        if not any(row in each.given for each in self._layers):
            self.served.discard(row)
        self._changed(row)
        if recording is not None:
            self.recorder.stop(recording)
        return recording

    def _deliver(self, layer: _Layer, rows: list[int], heard: Samples) -> None:
        for row, samples in zip(rows, heard, strict=True):
            # One called before this one may have taken it off the row.
            given = layer.given.get(row)
            if given is None or given.callback is None:
                continue
            try:
                given.callback(samples)
            except Exception as error:
                self.failures += 1
                # It may have put another sink in its own place, which stays.
                own = layer.given.get(row) is given
                if own:
                    self._drop(layer, row)
                self._reports.append(SinkReport(row, given.sink, error, own))
