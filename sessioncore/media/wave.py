"""WAV files: read what telephony uses, write so that a kill leaves a readable file.

The standard library's module refuses A-law, mu-law and WAVE_FORMAT_EXTENSIBLE.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from sessioncore.errors import ConfigurationError, MediaFileError
from sessioncore.rtp.g711 import decode_alaw, decode_ulaw

__all__ = ["WavAudio", "WavWriter", "file_path", "parse_wav", "read_wav", "write_wav"]

Samples: TypeAlias = npt.NDArray[np.int16]

_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_NAMES: Final = {2: "MS ADPCM", 3: "floating point", 17: "IMA ADPCM", 49: "GSM 06.10", 85: "MP3"}
_ADVICE: Final = "convert it, e.g. ffmpeg -i FILE -ac 1 -ar 8000 -c:a pcm_s16le NEW.wav"
_READ: Final = "8- to 32-bit PCM, floating point, A-law and mu-law"
_MAX_FILE: Final = 1 << 30
_HEADER_SIZE: Final = 44
_MAX_DATA: Final = 0xFFFF_FFFF - _HEADER_SIZE


@frozen(eq=False)
class WavAudio:
    """What a WAV file holds: ``samples`` int16[n, channels] at ``rate`` Hz."""

    samples: Samples
    rate: int

    @property
    def mono(self) -> Samples:
        """One channel: the mean of all."""
        if self.samples.shape[1] == 1:
            return self.samples[:, 0]
        mixed: Samples = np.rint(self.samples.mean(axis=1)).astype(np.int16)
        return mixed


@frozen
class _Format:
    tag: int
    channels: int
    rate: int
    octets: int
    """Of a sample."""


def file_path(given: str | Path) -> Path:
    """The path of a file; raises `ConfigurationError` for what is none."""
    try:
        return Path(given)
    except TypeError:
        raise ConfigurationError(f"path: {given!r} is no path; give e.g. 'heard.wav'") from None


def read_wav(path: str | Path) -> WavAudio:
    """Read 8- to 32-bit PCM, floating point, A-law or mu-law, any rate, any number of channels.

    A file that was cut off is read as far as it goes, and one whose recorder died before it
    wrote the sizes as far as its audio goes.  Raises `MediaFileError`, whose text
    says what to do, if the file is missing, empty, no WAV file or of another format.
    """
    try:
        if os.path.getsize(path) > _MAX_FILE:
            raise MediaFileError(f"{path}: larger than 1 GiB; cut it into pieces")
        data = Path(path).read_bytes()
    except OSError as error:
        raise MediaFileError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    try:
        return parse_wav(data)
    except MediaFileError as error:
        raise MediaFileError(f"{path}: {error}") from None


def parse_wav(data: bytes) -> WavAudio:
    """`read_wav` for octets that are in memory already."""
    if not data:
        raise MediaFileError(f"the file is empty; record it anew or {_ADVICE}")
    if data[:4] in (b"RIFX", b"RF64"):
        raise MediaFileError(f"WAV variant {data[:4].decode()} is not read; {_ADVICE}")
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise MediaFileError(f"not a WAV file; {_ADVICE}")
    form: _Format | None = None
    empty: int | None = None
    for name, at, chunk in _chunks(data):
        if name == b"fmt ":
            form = _parse_format(chunk)
        elif name == b"data":
            if form is None:
                raise MediaFileError(f"the WAV file's data has no format before it; {_ADVICE}")
            if len(chunk):
                return WavAudio(_decode(form, chunk), form.rate)
            empty = at if empty is None else empty
    if form is not None and empty is not None:
        # Another chunk with audio may have followed.  None did: its size was never written.
        rest = b"" if _are_chunks(data, empty) else memoryview(data)[empty:]
        return WavAudio(_decode(form, rest), form.rate)
    raise MediaFileError(f"the WAV file is cut off before its audio; record it anew or {_ADVICE}")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, memoryview]]:
    """Name, place and content; what the file is too short for is left out."""
    view = memoryview(data)
    at = 12
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], at + 8, view[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _are_chunks(data: bytes, at: int) -> bool:
    """Whether nothing but whole chunks, with names that can be read, lies from ``at`` on."""
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        if not all(0x20 <= octet < 0x7F for octet in data[at : at + 4]):
            return False
        at += 8 + size + size % 2
    # The last one may lack its padding.
    return at - 1 <= len(data)


def _parse_format(chunk: memoryview) -> _Format:
    if len(chunk) < 16:
        raise MediaFileError(f"the WAV file's format chunk is cut off; {_ADVICE}")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        # The first two octets of the sub-format GUID are the plain tag.
        (tag,) = struct.unpack_from("<H", chunk, 24)
    widths = {_PCM: range(1, 33), _FLOAT: (32, 64), _ALAW: (8,), _ULAW: (8,)}
    if bits not in widths.get(tag, ()):
        name = f"{bits}-bit PCM" if tag == _PCM else _NAMES.get(tag, f"format {tag}")
        raise MediaFileError(f"WAV audio in {name} is not read, only {_READ}; {_ADVICE}")
    octets = (bits + 7) // 8
    if tag == _PCM and octets == 3 and align == 4 * channels:
        octets = 4
    # Some writers leave the size of a sample of all channels at 0.
    if not channels or not rate or align not in (0, channels * octets):
        raise MediaFileError(f"the WAV file's format contradicts itself; {_ADVICE}")
    return _Format(tag, channels, rate, octets)


def _decode(form: _Format, chunk: memoryview | bytes) -> Samples:
    align = form.channels * form.octets
    octets = np.frombuffer(chunk[: len(chunk) - len(chunk) % align], np.uint8)
    if not len(octets):
        raise MediaFileError(f"the WAV file holds no audio; record it anew or {_ADVICE}")
    if form.tag == _ALAW:
        samples = decode_alaw(octets)
    elif form.tag == _ULAW:
        samples = decode_ulaw(octets)
    elif form.tag == _FLOAT:
        loud = np.clip(np.nan_to_num(octets.view(f"<f{form.octets}")), -1, 1)
        samples = np.minimum(np.rint(loud * 32768), 32767).astype(np.int16)
    elif form.octets > 1:
        # The two highest octets of each sample, which is aligned to the top.
        high = octets.reshape(-1, form.octets)[:, -2:]
        samples = np.ascontiguousarray(high).view("<i2")[:, 0].astype(np.int16)
    else:
        samples = (octets.astype(np.int16) - 128) << 8
    return samples.reshape(-1, form.channels)


class WavWriter:
    """A 16-bit PCM file that can be read at any moment of its making.

    Each write puts down the audio first and the sizes in the header after it, so that a
    process killed between the two loses that one write.  Raises OSError.  ``hold`` leaves what
    is at ``path`` as it is until `begin`, for ever where that is never called.
    """

    def __init__(
        self, path: str | Path, rate: int = 8000, channels: int = 1, *, hold: bool = False
    ) -> None:
        # O_NONBLOCK: a FIFO that nobody reads is refused instead of waited for.
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._made: str | Path | None = path
        try:
            self._fd = os.open(path, flags | os.O_EXCL, 0o666)
        except FileExistsError:
            self._fd = os.open(path, flags, 0o666)
            self._made = None
        self.rate = rate
        """May be changed as long as nothing was written."""
        self._channels = channels
        self._size = 0
        self.begun = False
        if not hold:
            try:
                self.begin()
            except BaseException:
                self.close()
                raise

    def begin(self) -> None:
        """Replace what is at the path by a file without audio."""
        self.begun = True
        if os.fstat(self._fd).st_size:  # a device has none, and cannot be cut off
            os.ftruncate(self._fd, 0)
        self._write_header()

    def write(self, samples: Samples) -> None:
        """Append int16 samples; those of several channels interleaved."""
        octets = np.ascontiguousarray(samples, "<i2")
        size = self._grown(octets.nbytes)
        self._write_at(octets.reshape(-1).view(np.uint8).data, _HEADER_SIZE + self._size)
        self._size = size
        self._write_header()

    def write_silence(self, count: int) -> None:
        """Append ``count`` samples of silence per channel: a hole in the file, however long."""
        if not count:
            return
        size = self._grown(2 * self._channels * count)
        os.ftruncate(self._fd, _HEADER_SIZE + size)
        self._size = size
        self._write_header()

    def _grown(self, octets: int) -> int:
        if self._size + octets > _MAX_DATA:
            raise OSError("a WAV file ends at 4 GiB")
        return self._size + octets

    def close(self) -> None:
        """Close the file; once is enough, more does no harm."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            if self._made is not None and not self.begun:
                os.unlink(self._made)

    def _write_at(self, octets: bytes | memoryview, at: int) -> None:
        left = memoryview(octets)
        while left:
            done = os.pwrite(self._fd, left, at)
            left, at = left[done:], at + done

    def _write_header(self) -> None:
        align = 2 * self._channels
        sound = struct.pack(
            "<HHIIHH", _PCM, self._channels, self.rate, self.rate * align, align, 16
        )
        riff = struct.pack("<4sI4s4sI", b"RIFF", 36 + self._size, b"WAVE", b"fmt ", len(sound))
        self._write_at(riff + sound + struct.pack("<4sI", b"data", self._size), 0)


def write_wav(path: str | Path, samples: Samples, rate: int = 8000) -> None:
    """Write int16 samples, [n] or [n, channels], as a WAV file.  Raises OSError."""
    writer = WavWriter(path, rate, 1 if samples.ndim == 1 else samples.shape[1])
    try:
        writer.write(samples)
    finally:
        writer.close()
