from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.rtp.g711 import decode_alaw, decode_ulaw
from sessioncore.rtp.payload import NUMBER, OCTETS_PER_SAMPLE, PAYLOAD_CODECS, decode, encode
from sessioncore.vocabulary import CODECS

PCMU, PCMA, L16 = NUMBER["PCMU"], NUMBER["PCMA"], NUMBER["L16"]


class Registry(SynchronousTestCase):
    def test_every_codec_of_the_vocabulary_is_there(self):
        self.assertEqual(set(NUMBER), set(CODECS))
        for name, number in NUMBER.items():
            self.assertIs(PAYLOAD_CODECS[number].codec, CODECS[name])
            self.assertEqual(OCTETS_PER_SAMPLE[number], PAYLOAD_CODECS[number].octets_per_sample)

    def test_silence_is_silent(self):
        for each in PAYLOAD_CODECS:
            octets = np.full((1, 4), each.silence, np.uint8)
            self.assertLessEqual(int(each.decode(octets, None).max()), 8)


class Batches(SynchronousTestCase):
    def test_l16_is_in_network_order(self):
        samples = np.array([[1, -2, -32768, 32767]], np.int16)
        out = np.zeros((1, 8), np.uint8)
        encode(np.array([L16]), samples, out)
        self.assertEqual(out.tobytes().hex(), "0001fffe80007fff")
        again = np.zeros_like(samples)
        decode(np.array([L16]), out, again)
        self.assertEqual(again.tolist(), samples.tolist())

    @settings(deadline=None, max_examples=60, derandomize=True)
    @given(
        st.lists(st.sampled_from([PCMU, PCMA, L16]), max_size=9), st.sampled_from([80, 160, 161])
    )
    def test_mixed_rows_equal_one_row_at_a_time(self, numbers, size):
        column = np.array(numbers, np.int64)
        random = np.random.default_rng(len(numbers))
        samples = random.integers(-32768, 32768, (len(numbers), size)).astype(np.int16)
        octets = np.full((len(numbers), 400), 0xEE, np.uint8)
        encode(column, samples, octets)
        decoded = np.zeros_like(samples)
        decode(column, octets, decoded)
        for row, number in enumerate(numbers):
            each = PAYLOAD_CODECS[number]
            width = size * each.octets_per_sample
            self.assertEqual(bytes(octets[row, :width]), bytes(each.encode(samples[row], None)))
            self.assertTrue((octets[row, width:] == 0xEE).all())
            expected = each.decode(octets[row, :width], None)
            self.assertEqual(decoded[row].tolist(), expected.tolist())

    def test_g711_goes_by_its_tables(self):
        octets = np.tile(np.arange(160).astype(np.uint8), (2, 1))
        out = np.zeros((2, 160), np.int16)
        decode(np.array([PCMU, PCMA]), octets, out)
        self.assertEqual(out[0].tolist(), decode_ulaw(octets[0]).tolist())
        self.assertEqual(out[1].tolist(), decode_alaw(octets[0]).tolist())

    def test_codec_objects_write_into_out(self):
        samples = np.array([[5, -6, 7, 8]], np.int16)
        for each in PAYLOAD_CODECS:
            octets = np.zeros((1, 4 * each.octets_per_sample), np.uint8)
            each.encode(samples, octets)
            self.assertEqual(octets.tolist(), each.encode(samples, None).tolist())
            out = np.zeros((1, 4), np.int16)
            each.decode(octets, out)
            self.assertEqual(out.tolist(), each.decode(octets, None).tolist())
