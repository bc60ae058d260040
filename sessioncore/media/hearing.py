"""Listens to a call for what is expected of it: tones, or speech.

A `Listener` is a sink like any other, so only calls that have one pay for it.  It collects what it
is given and looks at a second of it at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np
from attrs import field, frozen
from zope.interface import implementer

from sessioncore.media.interfaces import IMediaSink
from sessioncore.media.lane import DEFAULT_RATE, RATES
from sessioncore.media.speech import Features, features, is_speech, joined
from sessioncore.media.tones import (
    AUDIBLE,
    WINDOW_MS,
    Floats,
    Samples,
    are_present,
    fit,
    levels,
    require_measurable,
    strongest,
    windows_of,
)
from sessioncore.verdict import SHARE

__all__ = ["Expectation", "ExpectedSpeech", "ExpectedTones", "Heard", "Listener"]

GRACE: Final = 25
"""Windows of silence at the beginning that are not counted: half a second."""
SPEECH_SECONDS: Final = 3
"""Seconds of audio in which there has to be speech."""
_PER_SECOND: Final = 1000 // WINDOW_MS

Tally: TypeAlias = "Counter[str]"


@frozen
class Heard:
    """What a call heard of what was ``expected``, in so many ``windows``.

    ``share`` is that of the windows in which it was heard, from 0 to 1.  ``instead`` are pairs
    of what was heard in the others and their share of all, the most frequent first.
    """

    expected: str
    share: float
    windows: int
    instead: tuple[tuple[str, float], ...] = ()

    @property
    def as_expected(self) -> bool:
        """Whether it was heard in at least 95 % of the windows, and there were any."""
        return self.windows > 0 and self.share >= SHARE

    def __str__(self) -> str:
        if not self.windows:
            return f"{self.expected} was not heard, and nothing else was"
        other = ", ".join(f"{what} in {100 * share:.1f} %" for what, share in self.instead)
        text = f"{self.expected} in {100 * self.share:.1f} % of {self.windows} windows"
        return f"{text}, {other}" if other else text


class _Ear(Protocol):
    """Judges audio a second at a time."""

    def listen(self, windows: Floats) -> None:
        """Take the next windows of 20 ms: those of a second, or at the end fewer."""

    def result(self) -> tuple[int, Tally]:
        """The windows counted so far, and what was in those without the expected."""


class Expectation(Protocol):
    """What a call should hear."""

    @property
    def rate(self) -> int:
        """The sampling rate in Hz at which it is listened to."""

    def ear(self) -> _Ear:
        """What listens for it, in one call."""

    def __str__(self) -> str: ...


def _floats(given: Iterable[float]) -> tuple[float, ...]:
    return tuple(given)


@frozen
class ExpectedTones:
    """One or two tones at the same time, in Hz, and nothing else.

    The windows are of 20 ms.  A tone is in one if it is at least 20 dB over everything else and
    not softer than -50 dBov.  Raises `ConfigurationError` for tones that cannot be recognized.
    """

    frequencies: tuple[float, ...] = field(converter=_floats)

    def __attrs_post_init__(self) -> None:
        require_measurable(self.frequencies, self.rate)

    @property
    def rate(self) -> int:
        """The lowest rate at which all tones can be measured."""
        highest = max(self.frequencies)
        return next((rate for rate in RATES if highest <= rate / 2 - 50), RATES[-1])

    def ear(self) -> _Ear:
        """What listens for it, in one call."""
        return _ToneEar(self.frequencies, self.rate)

    def __str__(self) -> str:
        return _tones(self.frequencies)


@frozen
class ExpectedSpeech:
    """Speech, as `sessioncore.media.speech` has it.

    The windows are of three seconds; a new one begins each second.
    """

    rate: int = field(default=DEFAULT_RATE, init=False)

    def ear(self) -> _Ear:
        """What listens for it, in one call."""
        return _SpeechEar(self.rate)

    def __str__(self) -> str:
        return "speech"


@implementer(IMediaSink)
class Listener:
    """The sink of one call that listens for what is expected of it.

    The first half second is not counted as far as it is silent: the first packet takes a while.
    Listeners of different ``number`` look at what they heard at different times, so that calls
    that begin a second apart do not all burden the same tick.
    """

    def __init__(self, expectation: Expectation, number: int = 0) -> None:
        self.rate: Final = expectation.rate
        self.expectation: Final = expectation
        self._stagger = self.rate * (number % _PER_SECOND) // _PER_SECOND
        self.restart()

    def restart(self) -> None:
        """Forget what was heard so far, such as the ringing before the answer."""
        self._ear = self.expectation.ear()
        self._frames: list[Samples] = []
        self._count = 0
        self._enough = self.rate - self._stagger
        self._grace = GRACE

    def write(self, samples: Samples) -> None:
        """Take the next samples."""
        self._frames.append(samples)
        self._count += len(samples)
        if self._count >= self._enough:
            self._enough = self.rate
            self._look()

    @property
    def heard(self) -> Heard:
        """The result so far."""
        self._look()
        count, others = self._ear.result()
        if not count:
            return Heard(str(self.expectation), 0.0, 0)
        instead = tuple((what, times / count) for what, times in others.most_common())
        return Heard(str(self.expectation), 1 - others.total() / count, count, instead)

    def _look(self) -> None:
        if not self._frames:
            return
        samples = np.concatenate(self._frames)
        windows = windows_of(samples, self.rate)
        rest = samples[windows.size :]
        self._frames, self._count = [rest] if len(rest) else [], len(rest)
        windows = self._after_grace(windows)
        if len(windows):
            self._ear.listen(windows)

    def _after_grace(self, windows: Floats) -> Floats:
        """Without the silence of the beginning."""
        if not self._grace or not len(windows):
            return windows
        audible = levels(windows) > AUDIBLE
        first = int(audible.argmax()) if audible.any() else len(windows)
        skipped = min(first, self._grace)
        self._grace = 0 if audible.any() else self._grace - skipped
        return windows[skipped:]


class _ToneEar:
    def __init__(self, frequencies: tuple[float, ...], rate: int) -> None:
        self._frequencies = frequencies
        self._rate = rate
        self._count = 0
        self._others: Tally = Counter()

    def listen(self, windows: Floats) -> None:
        self._count += len(windows)
        others = windows[~are_present(fit(windows, self._rate, self._frequencies))]
        audible = levels(others) > AUDIBLE
        loud = int(audible.sum())
        if loud < len(others):
            self._others["silence"] += len(others) - loud
        if loud:
            self._others[_name(others[audible], self._rate)] += loud

    def result(self) -> tuple[int, Tally]:
        return self._count, self._others


class _SpeechEar:
    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._count = 0
        self._others: Tally = Counter()
        self._windows: list[Floats] = []
        self._features: list[Features] = []

    def listen(self, windows: Floats) -> None:
        self._windows = [*self._windows[1 - SPEECH_SECONDS :], windows]
        self._features = [
            *self._features[1 - SPEECH_SECONDS :],
            features(windows, self._rate),
        ]
        if len(self._windows) == SPEECH_SECONDS:
            self._judge(self._others)
            self._count += 1

    def _judge(self, others: Tally) -> None:
        if not is_speech(joined(self._features)):
            heard = np.concatenate(self._windows)
            audible = levels(heard) > AUDIBLE
            others[_name(heard[audible], self._rate) if audible.any() else "silence"] += 1

    def result(self) -> tuple[int, Tally]:
        if self._count or sum(map(len, self._windows)) < _PER_SECOND:
            return self._count, self._others
        # A short call: all there is, if it is a second.
        others: Tally = Counter()
        self._judge(others)
        return 1, others


def _name(windows: Floats, rate: int) -> str:
    """What audible windows contain."""
    found = strongest(windows, rate)
    if found:
        return _tones([round(frequency) for frequency in found])
    if len(windows) >= _PER_SECOND // 2 and is_speech(features(windows, rate)):
        return "speech"
    return "another sound"


def _tones(frequencies: Sequence[float]) -> str:
    return "+".join(f"{frequency:g}" for frequency in frequencies) + " Hz"
