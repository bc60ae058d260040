"""Where what a call hears goes: the types of sink.

All audio is int16.  A sink gets the sampling rate that it asks for, whatever the call's is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from sessioncore.errors import ConfigurationError
from sessioncore.media.interfaces import IMediaSink
from sessioncore.media.lane import DEFAULT_RATE, require_rate
from sessioncore.media.recorder import Recording
from sessioncore.media.wave import file_path

__all__ = [
    "Deliver",
    "Discard",
    "MediaSink",
    "Record",
    "Sink",
    "SinkReport",
    "Sinks",
    "no_such_sink",
    "require_sink",
    "sinks_of",
]

Samples: TypeAlias = npt.NDArray[np.int16]


@frozen
class Discard:
    """Discards what the call hears."""


@frozen
class Record:
    """A WAV file at ``path``: mono is what is heard; stereo has heard left and sent right.

    ``rate`` is that of the file: 8000, 16,000 or 48,000 Hz; None is the call's.  If a call
    changes its rate, the file keeps the one that it began with.
    """

    path: Path = field(converter=file_path)
    stereo: bool = False
    rate: int | None = field(default=None)

    @rate.validator
    def _usable(self, attribute: Any, value: object) -> None:
        if value is not None:
            require_rate(attribute.name, value)


@frozen
class Deliver:
    """``callback`` is called with each frame heard, an int16 array that is its own to keep.

    The samples come at ``rate`` Hz: 8000, 16,000 or 48,000, whatever the call's rate is.
    """

    callback: Callable[[Samples], object] = field()
    rate: int = field(default=DEFAULT_RATE)

    @rate.validator
    def _usable(self, attribute: Any, value: object) -> None:
        require_rate(attribute.name, value)

    @callback.validator
    def _callable(self, _attribute: object, value: object) -> None:
        if not callable(value):
            raise ConfigurationError(f"callback: {value!r} cannot be called; use a function")


class MediaSink(Protocol):
    """What mypy knows of an object that provides `IMediaSink`."""

    def write(self, samples: Samples, /) -> object:
        """Take the next samples."""


Sink: TypeAlias = Discard | Record | Deliver | MediaSink
"""One of the above, or an object that provides `IMediaSink`."""
Sinks: TypeAlias = Sink | Sequence[Sink]
"""One sink, or several that all get what a call hears."""


def sinks_of(given: Sinks) -> tuple[Sink, ...]:
    """``given`` as a tuple."""
    return tuple(given) if isinstance(given, Sequence) else (given,)


def no_such_sink(sink: object) -> ConfigurationError:
    """The error of removing what is not there."""
    return ConfigurationError(f"{sink!r} is not among the sinks of this call; remove what is")


def require_sink(given: object) -> None:
    """Raise `ConfigurationError` for what is neither a `Sink` nor a list or tuple of them."""
    for each in given if isinstance(given, list | tuple) else (given,):
        if isinstance(each, Discard | Record | Deliver):
            continue
        if not IMediaSink.providedBy(each):
            raise ConfigurationError(
                f"{each!r} is not a media sink; use for example Record('heard.wav'),"
                " Deliver(callback), Discard(), an object that provides IMediaSink, or a list"
                " of these"
            )
        require_rate("rate of the media sink", getattr(each, "rate", DEFAULT_RATE))


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
