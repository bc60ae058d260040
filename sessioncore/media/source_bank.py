"""Plays the sources of all rows at once: which player makes the frames of which row."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.errors import ConfigurationError
from sessioncore.media.bank import Way, every
from sessioncore.media.lane import DEFAULT_RATE
from sessioncore.media.players import (
    Applications,
    Clips,
    Converted,
    Echoes,
    Player,
    Rings,
    Silences,
    SourceReport,
    Tones,
    grown,
)
from sessioncore.media.sample_pool import SamplePool
from sessioncore.media.sources import Clip, Echo, Frames, Silence, Source, Tone, require_source

__all__ = ["SourceBank"]

Samples: TypeAlias = npt.NDArray[np.int16]
Ints: TypeAlias = npt.NDArray[np.int64]


class SourceBank:
    """Plays the sources of all rows; rows without one are silent.

    ``changed(row)`` is called when a row plays something else than before.
    """

    def __init__(self, changed: Callable[[int], None] = lambda row: None) -> None:
        self._changed = changed
        self._clips = Clips(SamplePool())
        self._tones = Tones()
        self._echoes = Echoes()
        self._silences = Silences()
        self._rings: dict[int, Rings] = {}
        self._applications: dict[int, Applications] = {}
        self._players: list[Player] = [self._silences, self._clips, self._tones, self._echoes]
        self._converted: dict[tuple[Player, int], Converted] = {}
        self._player = np.zeros(64, np.int64)
        self._source: dict[int, Source] = {}
        self._reports: list[SourceReport] = []
        self.failures = 0
        """Application objects taken off because they raised."""

    def attach(self, row: int, source: Source, rate: int = DEFAULT_RATE) -> None:
        """Let ``row``, sent at ``rate``, play ``source`` from its beginning."""
        if source.__class__ is Silence:
            self.detach(row)
            return
        self._remove(row)
        try:
            self._set(row, self._begin(row, source, rate))
            self._source[row] = source
        finally:
            self._changed(row)

    def detach(self, row: int) -> None:
        """Let ``row`` be silent."""
        if row in self._source:
            self._remove(row)
            self._changed(row)

    def move(self, row: int, rate: int) -> None:
        """``row`` is sent at ``rate`` from here on; its source plays on."""
        source = self._source.get(row)
        match source:
            case None | Echo():
                return
            case Clip():
                part = self._clips.part(row)
                self._clips.detach(row)
                self._set(row, self._begin_clip(row, source, rate, part))
            case Tone():
                self._players[self._player[row]].detach(row)
                self._set(row, self._begin_tone(row, source, rate))
            case Frames():
                self._set(row, self._at(row, self._rings[source.rate], source.rate, rate))
            case _:
                own = _rate_of(source)
                self._set(row, self._at(row, self._applications[own], own, rate))

    def judge(self, row: int, rate: int) -> None:
        """Report a tone that a call at ``rate`` cannot carry."""
        source = self._source.get(row)
        if isinstance(source, Tone) and source.highest * 2 >= rate:
            text = f"{source.highest:g} Hz cannot be sent at {rate} Hz: the tone is silent"
            self._reports.append(SourceReport(row, source, ConfigurationError(text)))

    def way(self, row: int) -> Way:
        """How ``row`` is played for its source's sake."""
        source = self._source.get(row)
        if source is None:
            return Way.PASS
        return Way.ECHO if source.__class__ is Echo else Way.PLAY

    def are_silent(self, rows: Ints) -> bool:
        """Whether all of ``rows`` play nothing but zeros."""
        return not np.count_nonzero(self._players_of(rows))

    def echo_gain(self, rows: Ints) -> float | None:
        """The factor by which all of ``rows``, which echo, do so; None where they differ."""
        return self._echoes.gain(rows)

    def _players_of(self, rows: Ints) -> Ints:
        try:
            return self._player[rows]
        except IndexError:  # rows that never had a source
            self._player = grown(self._player, int(np.max(rows)))
            return self._player[rows]

    def render(self, rows: Ints, heard: Samples | None, out: Samples, now: int) -> None:
        """Fill ``out`` (int16[n, samples <= 2880]) with the next frame of each of ``rows``.

        ``heard`` (same shape) is what these rows hear in this moment, None where no row
        echoes.  Rows are unique, and sent at one rate.  Sources that end or fail are detached
        and listed in `reports`.
        """
        if not len(rows):
            return
        players = self._players_of(rows)
        first = int(players[0])
        if every(players == first):
            self._finish(self._players[first].render(rows, heard, out))
            return
        for number in np.flatnonzero(np.bincount(players)).tolist():
            at = np.flatnonzero(players == number)
            frames = np.empty((len(at), out.shape[1]), np.int16)
            heard_there = None if heard is None else heard[at]
            self._finish(self._players[number].render(rows[at], heard_there, frames))
            out[at] = frames

    def reports(self) -> list[SourceReport]:
        """What ended or failed since this was last asked."""
        told, self._reports = self._reports, []
        return told

    def _remove(self, row: int) -> None:
        if self._source.pop(row, None) is not None:
            player = self._players[self._player[row]]
            self._player[row] = 0
            player.detach(row)

    def _set(self, row: int, player: Player) -> None:
        if player not in self._players:
            self._players.append(player)
        self._player = grown(self._player, row)
        self._player[row] = self._players.index(player)

    def _begin(self, row: int, source: Source, rate: int) -> Player:
        match source:
            case Tone():
                return self._begin_tone(row, source, rate)
            case Clip():
                return self._begin_clip(row, source, rate)
            case Echo():
                self._echoes.attach(row, source.gain)
                return self._echoes
            case Frames():
                rings = self._rings.get(source.rate)
                if rings is None:
                    rings = self._rings[source.rate] = Rings(source.rate)
                source.bind(rings, row)
                return self._at(row, rings, source.rate, rate)
        require_source(source)
        own = _rate_of(source)
        applications = self._applications.setdefault(own, Applications())
        applications.attach(row, source)
        return self._at(row, applications, own, rate)

    def _at(self, row: int, player: Player, own: int, rate: int) -> Player:
        """``player``, whose frames are at a rate of its ``own``, for a row sent at ``rate``."""
        if own == rate:
            return player
        converted = self._converted.get((player, rate))
        if converted is None:
            converted = self._converted[player, rate] = Converted(player, own, rate)
        converted.begin(row)
        return converted

    def _begin_clip(self, row: int, clip: Clip, rate: int, part: float = 0.0) -> Player:
        key = (id(clip.samples), clip.loop, rate)
        self._clips.attach(row, clip, key, lambda: clip.at(rate), clip.loop, part)
        return self._clips

    def _begin_tone(self, row: int, tone: Tone, rate: int) -> Player:
        if tone.highest * 2 >= rate:
            return self._silences
        if any(frequency % 1 for frequency in tone.frequencies):
            self._tones.attach(row, tone.frequencies, tone.amplitude, rate)
            return self._tones
        # Whole Hz repeat after a second at most: a stored loop, eight times faster.
        self._clips.attach(row, tone, (tone, rate), lambda: _period(tone, rate), True)
        return self._clips

    def _finish(self, done: list[SourceReport]) -> None:
        for report in done:
            # An application's object may have been replaced by what it called.
            if self._source.get(report.row) is report.source:
                self.detach(report.row)
            self.failures += report.error is not None
        self._reports += done


def _rate_of(source: object) -> int:
    rate: int = getattr(source, "rate", DEFAULT_RATE)
    return rate


def _period(tone: Tone, rate: int) -> Samples:
    """The shortest stretch of a tone of whole Hz that can be repeated."""
    size = rate // gcd(rate, *(int(frequency) for frequency in tone.frequencies))
    turns = np.outer(tone.frequencies, np.arange(size)) / rate
    wave = tone.amplitude * np.sin(2 * np.pi * turns).sum(axis=0)
    samples: Samples = np.rint(wave).astype(np.int16)
    return samples
