from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import MediaFileError
from sessioncore.media.wave import WavWriter, parse_wav, read_wav, write_wav
from sessioncore.rtp.g711 import decode_alaw, decode_ulaw

RAMP = np.arange(-400, 400, 3).astype(np.int16)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def fmt(tag=1, channels=1, rate=8000, bits=16, more=b""):
    align = channels * bits // 8
    return chunk(
        b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits) + more
    )


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


GOOD = riff(fmt(), chunk(b"data", RAMP.tobytes()))


class Read(SynchronousTestCase):
    def test_16_bit(self):
        audio = parse_wav(GOOD)
        self.assertEqual(audio.rate, 8000)
        self.assertEqual(audio.samples.shape, (len(RAMP), 1))
        self.assertEqual(audio.mono.tolist(), RAMP.tolist())

    def test_8_bit_is_unsigned(self):
        audio = parse_wav(riff(fmt(bits=8), chunk(b"data", bytes([0, 127, 128, 255]))))
        self.assertEqual(audio.mono.tolist(), [-32768, -256, 0, 32512])

    def test_g711(self):
        codes = np.arange(256).astype(np.uint8)
        for tag, decode in ((6, decode_alaw), (7, decode_ulaw)):
            data = riff(fmt(tag, bits=8, more=b"\0\0"), chunk(b"data", codes.tobytes()))
            self.assertEqual(parse_wav(data).mono.tolist(), decode(codes).tolist())

    def test_stereo_is_mixed_without_wrapping(self):
        pairs = np.array([[32767, 32767], [-32768, -32768], [100, -50], [32767, -32767]], np.int16)
        audio = parse_wav(riff(fmt(channels=2, rate=44100), chunk(b"data", pairs.tobytes())))
        self.assertEqual(audio.samples.tolist(), pairs.tolist())
        self.assertEqual(audio.mono.tolist(), [32767, -32768, 25, 0])

    def test_extensible(self):
        guid = bytes.fromhex("0000 1000 8000 00aa 0038 9b71")
        for tag, bits in ((1, 16), (6, 8), (7, 8)):
            more = struct.pack("<HHIHH", 22, bits, 4, tag, 0) + guid
            data = riff(fmt(0xFFFE, bits=bits, more=more), chunk(b"data", bytes(8)))
            self.assertEqual(len(parse_wav(data).mono), 8 * 8 // bits)

    def test_odd_and_unknown_chunks(self):
        data = riff(
            chunk(b"bext", b"abc"),
            fmt(),
            chunk(b"LIST", b"x"),
            chunk(b"data", RAMP.tobytes()),
            chunk(b"junk", b"1"),
        )
        self.assertEqual(parse_wav(data).mono.tolist(), RAMP.tolist())

    def test_cut_off_audio_is_read_as_far_as_it_goes(self):
        self.assertEqual(parse_wav(GOOD[:-7]).mono.tolist(), RAMP[:-4].tolist())

    def test_sizes_of_a_stream(self):
        data = GOOD.replace(struct.pack("<I", 2 * len(RAMP)), b"\xff" * 4)
        self.assertEqual(parse_wav(data).mono.tolist(), RAMP.tolist())

    def test_the_standard_library_agrees(self):
        path = self.mktemp()
        with wave.open(path, "wb") as file:
            file.setparams((2, 2, 16000, 0, "NONE", ""))
            file.writeframes(RAMP[:200].tobytes())
        audio = read_wav(path)
        self.assertEqual(audio.samples.tolist(), RAMP[:200].reshape(-1, 2).tolist())


class ReadWhatRecordersLeaveTests(SynchronousTestCase):
    def test_24_and_32_bits_are_read_by_their_upper_16(self):
        wide = RAMP.astype(np.int64) << 16 | 0x1234
        for bits, octets in ((24, 3), (24, 4), (20, 3), (32, 4)):
            align = 2 * octets
            form = struct.pack("<HHIIHH", 1, 2, 8000, 8000 * align, align, bits)
            whole = wide.astype("<i4").view(np.uint8).reshape(-1, 4)[:, -octets:]
            audio = parse_wav(riff(chunk(b"fmt ", form), chunk(b"data", whole.tobytes())))
            self.assertEqual(
                audio.samples.reshape(-1)[: len(RAMP)].tolist(),
                RAMP[: len(RAMP) // 2 * 2].tolist(),
                (bits, octets),
            )

    def test_floating_point(self):
        loud = np.array([0, 0.5, -0.5, 1, -1, 7, -7, np.nan, np.inf, -np.inf, 1e-9])
        expected = [0, 16384, -16384, 32767, -32768, 32767, -32768, 0, 32767, -32768, 0]
        for octets in (4, 8):
            content = chunk(b"data", loud.astype(f"<f{octets}").tobytes())
            audio = parse_wav(riff(fmt(3, bits=8 * octets, more=b"\0\0"), content))
            self.assertEqual(audio.mono.tolist(), expected)

    def test_extensible_24_bit_and_float(self):
        guid = bytes.fromhex("0000 1000 8000 00aa 0038 9b71")
        for tag, bits in ((1, 24), (1, 32), (3, 32), (3, 64)):
            more = struct.pack("<HHIHH", 22, bits, 4, tag, 0) + guid
            data = riff(fmt(0xFFFE, bits=bits, more=more), chunk(b"data", bytes(96)))
            self.assertEqual(len(parse_wav(data).mono), 96 * 8 // bits)

    def test_a_block_align_of_0(self):
        for tag, bits, channels in ((1, 16, 1), (1, 16, 2), (1, 8, 1), (7, 8, 2), (3, 32, 1)):
            form = struct.pack("<HHIIHH", tag, channels, 8000, 0, 0, bits)
            audio = parse_wav(riff(chunk(b"fmt ", form), chunk(b"data", bytes(32))))
            self.assertEqual(audio.samples.shape, (32 * 8 // bits // channels, channels))

    def test_a_recorder_that_died_before_it_wrote_the_size(self):
        sound, silence = RAMP.tobytes(), bytes(200)
        for content in (sound, silence, silence + sound, sound + silence, b"\x10\x20" * 9):
            head = b"RIFF" + bytes(4) + b"WAVE" + fmt() + b"data" + bytes(4)
            audio = parse_wav(head + content)
            self.assertEqual(audio.mono.tolist(), np.frombuffer(content, "<i2").tolist())

    def test_an_empty_data_chunk_first(self):
        audio, empty = chunk(b"data", RAMP.tobytes()), chunk(b"data", b"")
        for chunks in ([empty, audio], [empty, empty, audio], [empty, chunk(b"LIST", b"x"), audio]):
            self.assertEqual(parse_wav(riff(fmt(), *chunks)).mono.tolist(), RAMP.tolist())

    def test_chunks_behind_an_empty_one_are_not_audio(self):
        for rest in (b"", chunk(b"LIST", b"made by nobody"), chunk(b"id3 ", b"odd")[:-1]):
            with self.assertRaisesRegex(MediaFileError, "holds no audio"):
                parse_wav(riff(fmt(), chunk(b"data", b"")) + rest)


class Refuse(SynchronousTestCase):
    def assert_refused(self, data, pattern):
        with self.assertRaisesRegex(MediaFileError, pattern):
            parse_wav(data)

    def test_missing(self):
        with self.assertRaisesRegex(MediaFileError, "nowhere.wav: cannot be read .No such file"):
            read_wav("nowhere.wav")

    def test_directory(self):
        with self.assertRaisesRegex(MediaFileError, "check the path"):
            read_wav(".")

    def test_more_than_1_gib(self):
        """The file has a hole for nearly all of that, and is not read."""
        path = self.mktemp()
        Path(path).write_bytes(GOOD)
        os.truncate(path, 1 << 30)
        self.patch(Path, "read_bytes", lambda path: GOOD)
        self.assertEqual(read_wav(path).mono.tolist(), RAMP.tolist())
        os.truncate(path, (1 << 30) + 1)
        with self.assertRaisesRegex(MediaFileError, f"^{path}: larger than 1 GiB; cut it"):
            read_wav(path)

    def test_the_path_is_named(self):
        path = self.mktemp()
        Path(path).write_bytes(b"")
        with self.assertRaisesRegex(MediaFileError, f"^{path}: the file is empty"):
            read_wav(path)

    def test_kinds_that_are_not_read_say_what_to_do(self):
        audio = chunk(b"data", bytes(8))
        self.assert_refused(b"", "is empty")
        self.assert_refused(b"ID3\4" + bytes(100), "not a WAV file; convert it, e.g. ffmpeg")
        self.assert_refused(b"RF64" + GOOD[4:], "RF64 is not read; convert it")
        self.assert_refused(riff(fmt(bits=40), audio), "40-bit PCM is not read.*ffmpeg")
        self.assert_refused(riff(fmt(bits=0), audio), "0-bit PCM is not read.*ffmpeg")
        self.assert_refused(riff(fmt(3, bits=16), audio), "floating point is not read")
        self.assert_refused(riff(fmt(49, bits=8), audio), "GSM 06.10 is not read")
        self.assert_refused(riff(fmt(999), audio), "format 999 is not read")
        self.assert_refused(riff(fmt(0xFFFE), audio), "format 65534 is not read")

    def test_broken_files(self):
        audio = chunk(b"data", bytes(8))
        self.assert_refused(riff(audio, fmt()), "no format before it")
        self.assert_refused(riff(fmt()), "cut off before its audio")
        self.assert_refused(GOOD[:30], "format chunk is cut off")
        self.assert_refused(riff(fmt(), chunk(b"data", b"")), "holds no audio")
        self.assert_refused(riff(fmt(), chunk(b"data", b"x")), "holds no audio")
        self.assert_refused(riff(fmt(channels=0), audio), "contradicts itself")
        self.assert_refused(riff(fmt(rate=0), audio), "contradicts itself")
        wrong = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 4, 16)
        self.assert_refused(riff(chunk(b"fmt ", wrong), audio), "contradicts itself")

    @settings(max_examples=300)
    @given(st.data())
    def test_anything_reads_or_is_refused(self, data):
        octets = bytearray(data.draw(st.sampled_from([GOOD, riff(fmt(0xFFFE), GOOD[36:])])))
        for _ in range(data.draw(st.integers(0, 4))):
            octets[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(octets)))
        try:
            audio = parse_wav(bytes(octets[:cut]))
        except MediaFileError:
            return
        self.assertGreater(len(audio.mono), 0)
        self.assertEqual(audio.mono.dtype, np.int16)


class Write(SynchronousTestCase):
    def test_round_trip(self):
        path = self.mktemp()
        write_wav(path, RAMP, 16000)
        self.assertEqual(read_wav(path).mono.tolist(), RAMP.tolist())
        self.assertEqual(read_wav(path).rate, 16000)
        with wave.open(path) as file:
            self.assertEqual(file.getparams()[:4], (1, 2, 16000, len(RAMP)))
        write_wav(path, RAMP[:100].reshape(-1, 2))
        self.assertEqual(read_wav(path).samples.tolist(), RAMP[:100].reshape(-1, 2).tolist())

    def test_readable_after_every_write(self):
        path = self.mktemp()
        writer = WavWriter(path)
        self.addCleanup(writer.close)
        for count in (1, 2, 3):
            writer.write(RAMP)
            self.assertEqual(len(read_wav(path).mono), count * len(RAMP))
            self.assertEqual(Path(path).stat().st_size, 44 + 2 * count * len(RAMP))

    def test_audio_goes_before_its_sizes(self):
        written = []

        def pwrite(fd, data, at):
            written.append((at, len(data)))
            return len(data)

        writer = WavWriter(self.mktemp())
        self.patch(os, "pwrite", pwrite)
        writer.write(RAMP[:10])
        writer.write(RAMP[:5])
        writer.close()
        self.assertEqual(written, [(44, 20), (0, 44), (64, 10), (0, 44)])

    def test_short_writes_are_continued(self):
        real = os.pwrite
        self.patch(os, "pwrite", lambda fd, data, at: real(fd, data[:7], at))
        path = self.mktemp()
        write_wav(path, RAMP)
        self.assertEqual(read_wav(path).mono.tolist(), RAMP.tolist())

    def test_the_format_ends_at_4_gib(self):
        writer = WavWriter(self.mktemp())
        self.addCleanup(writer.close)
        writer._size = 0xFFFF_FFFF - 44 - 10
        with self.assertRaisesRegex(OSError, "4 GiB"):
            writer.write(RAMP[:6])

    def test_no_file_stays_open(self):
        before = len(os.listdir("/proc/self/fd"))
        with self.assertRaises(OSError):
            WavWriter("/nowhere/x.wav")
        self.patch(os, "pwrite", lambda *args: 1 / 0)
        with self.assertRaises(ZeroDivisionError):
            WavWriter(self.mktemp())
        with self.assertRaises(ZeroDivisionError):
            write_wav(self.mktemp(), RAMP)
        self.patch(WavWriter, "begin", lambda _self: None)
        with self.assertRaises(ZeroDivisionError):
            write_wav(self.mktemp(), RAMP)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_closing_twice(self):
        writer = WavWriter(self.mktemp())
        writer.close()
        writer.close()
