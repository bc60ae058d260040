"""What payload types mean, as numbers: the formats that rows of a plane use.

A format is a codec heard or sent by rows of a lane.  Numbers are given as codecs are first
used, so that a column of a row can name any of them in an octet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sessioncore.errors import ConfigurationError
from sessioncore.media.lane import DEFAULT_RATE
from sessioncore.media.packet_io import PACKET_WIDTH
from sessioncore.media.resample import RateConverter
from sessioncore.rtp.audio_codec import FRAMES_PER_SECOND, AudioCodec, TableCodec
from sessioncore.rtp.telephone_event import EVENT_SIZE
from sessioncore.vocabulary import COMFORT_NOISE, TELEPHONE_EVENT, Codec

__all__ = ["AUDIO", "CN", "DTMF", "MAX_PACKET", "Format", "Formats", "audio_codec"]

Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Samples: TypeAlias = npt.NDArray[np.int16]

# 0 is "was not negotiated".
CN, DTMF, AUDIO = range(1, 4)
"""Comfort noise, telephone-events, and the first number of an audio codec."""
_MOST: Final = 256
MAX_PACKET: Final = 10
"""Frames of the longest packet that is taken: 200 ms (RFC 3551 section 4.2)."""


def audio_codec(codec: Codec) -> AudioCodec:
    """``codec``, if it says how its audio is coded."""
    if not isinstance(codec, AudioCodec):
        raise ConfigurationError(
            f"{codec} cannot be coded; use an AudioCodec, see sessioncore.rtp.codecs"
        )
    return codec


class Format:
    """A codec for rows of one lane, with the states of those that need some."""

    def __init__(self, codec: AudioCodec, rate: int) -> None:
        codec.require()
        self.codec = codec
        self.rate = rate
        self.silence = codec.silence
        self.frame_octets = codec.frame_octets
        self.frame_samples = rate // FRAMES_PER_SECOND
        self.encode_table = codec.encode_table if isinstance(codec, TableCodec) else None
        """The code of each sample, by its bits; None where a frame is coded as a whole."""
        self._converter = None
        if codec.sample_rate != rate:
            self._converter = RateConverter(codec.sample_rate, rate)
        self._coded = codec.new_state() is not None
        self._decoders: dict[int, Any] = {}
        self._encoders: dict[int, Any] = {}

    @property
    def remembers(self) -> bool:
        """Whether anything is kept of what came before."""
        return self._coded or self._converter is not None

    def decode(self, rows: Ints, payloads: Bytes) -> Samples:
        """The samples of a payload for each of ``rows``, at the lane's rate."""
        samples = self.codec.decode(payloads, self._states(self._decoders, rows))
        return samples if self._converter is None else self._converter.convert(rows, samples)

    def encode(self, rows: Ints, samples: Samples, payloads: Bytes) -> None:
        """Fill ``payloads`` with ``samples``, one for each of ``rows``."""
        self.codec.encode(samples, self._states(self._encoders, rows), payloads)

    def begin_source(self, row: int) -> None:
        """What ``row`` hears comes from a new source."""
        self._decoders.pop(row, None)
        if self._converter is not None:
            self._converter.reset(row)

    def forget(self, row: int) -> None:
        """``row`` uses another format from here on."""
        self.begin_source(row)
        self._encoders.pop(row, None)

    def _states(self, states: dict[int, Any], rows: Ints) -> Sequence[Any]:
        if not self._coded:
            return ()
        found = []
        for row in rows.tolist():
            state = states.get(row)
            if state is None:
                state = states[row] = self.codec.new_state()
            found.append(state)
        return found


class Formats:
    """The formats by number.

    ``octets`` and ``samples`` int64[256] say how large 20 ms of a format are, ``clock`` int64[256]
    its RTP clock in Hz, ``shortest`` and ``longest`` int64[256] which payloads can be used, in
    octets: none of what was not negotiated.  ``plain``
    uint8[256] says which formats the compiled path decodes: 1 + the place in ``tables``
    int16[n, 256] of what its octets mean; 0 for all others.
    """

    def __init__(self) -> None:
        self._formats: list[Format | None] = [None] * AUDIO
        self._numbers: dict[tuple[AudioCodec, int], int] = {}
        self.remembering: list[Format] = []
        self.octets: Ints = np.ones(_MOST, np.int64)
        self.samples: Ints = np.ones(_MOST, np.int64)
        self.clock: Ints = np.ones(_MOST, np.int64)
        self.shortest: Ints = np.ones(_MOST, np.int64)
        self.longest: Ints = np.zeros(_MOST, np.int64)
        self.shortest[DTMF] = EVENT_SIZE
        self.longest[[CN, DTMF]] = PACKET_WIDTH
        self.scaled: set[int] = set()
        """The rates of lanes with a format whose RTP clock is another."""
        self.plain: Bytes = np.zeros(_MOST, np.uint8)
        self.tables: Samples = np.zeros((0, 256), np.int16)

    def __getitem__(self, number: int) -> Format:
        """The audio format of a number."""
        found = self._formats[number]
        assert found is not None
        return found

    def number(self, codec: AudioCodec, rate: int) -> int:
        """The number of ``codec`` for rows that hear at ``rate``."""
        number = self._numbers.get((codec, rate))
        return self._add(codec, rate) if number is None else number

    def meaning(self, codec: Codec, rate: int) -> int:
        """What packets of ``codec`` are to rows at ``rate``: audio, noise or digits."""
        if not isinstance(codec, AudioCodec):
            if codec == COMFORT_NOISE:
                return CN
            if codec == TELEPHONE_EVENT:
                return DTMF
        return self.number(audio_codec(codec), rate)

    def begin_source(self, rows: Ints) -> None:
        """What ``rows`` hear comes from new sources."""
        for each in self.remembering:
            for row in rows.tolist():
                each.begin_source(row)

    def forget(self, row: int) -> None:
        """``row`` uses other formats from here on."""
        for each in self.remembering:
            each.forget(row)

    def _add(self, codec: AudioCodec, rate: int) -> int:
        number = len(self._formats)
        if number == _MOST:
            raise ConfigurationError(f"{codec}: more than {_MOST - AUDIO} formats in use")
        added = Format(codec, rate)
        self._formats.append(added)
        self._numbers[codec, rate] = number
        self.octets[number] = added.frame_octets
        self.samples[number] = added.frame_samples
        self.clock[number] = codec.clock_rate
        self.longest[number] = MAX_PACKET * added.frame_octets
        if codec.clock_rate != rate:
            self.scaled.add(rate)
        if added.remembers:
            self.remembering.append(added)
        if isinstance(codec, TableCodec) and codec.clock_rate == codec.sample_rate == rate:
            self._add_table(number, codec, rate)
        return number

    def _add_table(self, number: int, codec: TableCodec, rate: int) -> None:
        if rate == DEFAULT_RATE:
            self.tables = np.concatenate([self.tables, codec.decode_table[None]])
            self.plain[number] = len(self.tables)
