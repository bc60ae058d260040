from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.rtp.g711 import (
    ALAW_SILENCE,
    ULAW_SILENCE,
    decode_alaw,
    decode_ulaw,
    encode_alaw,
    encode_ulaw,
)

CODES = np.arange(256).astype(np.uint8)
SAMPLES = np.arange(-32768, 32768).astype(np.int16)


# The loops of the ITU-T G.191 software tool library, one sample at a time.


def g191_ulaw_compress(sample: int) -> int:
    magnitude = (~sample >> 2) + 33 if sample < 0 else (sample >> 2) + 33
    magnitude = min(magnitude, 0x1FFF)
    rest, segment = magnitude >> 6, 1
    while rest:
        segment += 1
        rest >>= 1
    code = (8 - segment) << 4 | 15 - (magnitude >> segment & 15)
    return code | 0x80 if sample >= 0 else code


def g191_ulaw_expand(code: int) -> int:
    sign = -1 if code < 0x80 else 1
    exponent, mantissa = ~code >> 4 & 7, ~code & 15
    step = 4 << exponent + 1
    return sign * ((0x80 << exponent) + step * mantissa + step // 2 - 4 * 33)


def g191_alaw_compress(sample: int) -> int:
    value = ~sample >> 4 if sample < 0 else sample >> 4
    if value > 15:
        exponent = 1
        while value > 31:
            value >>= 1
            exponent += 1
        value += -16 + (exponent << 4)
    if sample >= 0:
        value |= 0x80
    return value ^ 0x55


def g191_alaw_expand(code: int) -> int:
    value = (code ^ 0x55) & 0x7F
    exponent, mantissa = value >> 4, value & 15
    if exponent > 0:
        mantissa += 16
    mantissa = (mantissa << 4) + 8
    if exponent > 1:
        mantissa <<= exponent - 1
    return mantissa if code > 127 else -mantissa


class BitExact(SynchronousTestCase):
    def test_ulaw(self):
        self.assertEqual(decode_ulaw(CODES).tolist(), [g191_ulaw_expand(c) for c in range(256)])
        expected = [g191_ulaw_compress(s) for s in range(-32768, 32768)]
        self.assertEqual(encode_ulaw(SAMPLES).tolist(), expected)

    def test_alaw(self):
        self.assertEqual(decode_alaw(CODES).tolist(), [g191_alaw_expand(c) for c in range(256)])
        expected = [g191_alaw_compress(s) for s in range(-32768, 32768)]
        self.assertEqual(encode_alaw(SAMPLES).tolist(), expected)

    def test_corners(self):
        corners = np.array([0, 32767, -32768], np.int16)
        self.assertEqual(encode_ulaw(corners).tolist(), [0xFF, 0x80, 0x00])
        self.assertEqual(encode_alaw(corners).tolist(), [0xD5, 0xAA, 0x2A])
        self.assertEqual(decode_ulaw(encode_ulaw(corners)).tolist(), [0, 32124, -32124])
        self.assertEqual(decode_alaw(encode_alaw(corners)).tolist(), [8, 32256, -32256])
        self.assertEqual((ULAW_SILENCE, ALAW_SILENCE), (0xFF, 0xD5))


class Properties(SynchronousTestCase):
    def test_a_decoded_code_encodes_to_itself(self):
        self.assertEqual(encode_alaw(decode_alaw(CODES)).tolist(), CODES.tolist())
        again = encode_ulaw(decode_ulaw(CODES))
        # Mu-law has two zeros; the negative one (0x7F) becomes the positive.
        self.assertEqual(np.flatnonzero(again != CODES).tolist(), [0x7F])
        self.assertEqual(again[0x7F], 0xFF)

    def test_signal_to_noise(self):
        tone = np.rint(10000 * np.sin(np.arange(8000) * 0.3)).astype(np.int16)
        for encode, decode in ((encode_ulaw, decode_ulaw), (encode_alaw, decode_alaw)):
            error = decode(encode(tone)).astype(np.float64) - tone
            self.assertLess(np.square(error).mean(), np.square(tone, dtype=float).mean() / 10**3.5)


class Shapes(SynchronousTestCase):
    def test_columns_of_a_wider_matrix(self):
        packets = np.random.default_rng(1).integers(0, 256, (7, 172)).astype(np.uint8)
        for start, stop in ((12, 172), (12, 171), (13, 172), (13, 173)):
            part = packets[:, start:stop]
            for decode in (decode_ulaw, decode_alaw):
                expected = decode(np.ascontiguousarray(part).ravel()).reshape(part.shape)
                self.assertEqual(decode(part).tolist(), expected.tolist())

    def test_every_layout_gives_the_same(self):
        codes = np.arange(240).astype(np.uint8).reshape(6, 40)
        for decode in (decode_ulaw, decode_alaw):
            whole = decode(codes)
            self.assertEqual(decode(codes[:, ::2]).tolist(), whole[:, ::2].tolist())
            self.assertEqual(decode(codes.T).tolist(), whole.T.tolist())
            self.assertEqual(decode(codes[0, 0]).tolist(), int(whole[0, 0]))
            self.assertEqual(decode(codes[:0]).shape, (0, 40))

    def test_out(self):
        codes = np.arange(240).astype(np.uint8).reshape(6, 40)
        samples = np.empty((6, 40), np.int16)
        decode_ulaw(codes, samples)
        self.assertEqual(samples.tolist(), decode_ulaw(codes).tolist())
        again = np.empty((6, 40), np.uint8)
        encode_alaw(samples, again)
        self.assertEqual(again.tolist(), encode_alaw(samples).tolist())
