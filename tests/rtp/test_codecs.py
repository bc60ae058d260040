"""The codecs and their registry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import Settings
from sessioncore.errors import ConfigurationError
from sessioncore.rtp import codecs
from sessioncore.rtp.audio_codec import AudioCodec, TableCodec
from sessioncore.rtp.codecs import CODECS, g722
from sessioncore.testing.tones import sine, tone_report

ONE_FILE = """
from sessioncore.rtp.audio_codec import AudioCodec


class _Fake(AudioCodec):
    sample_rate = 16_000


FAKE = _Fake("X-FAKE", 110, 16_000)
"""


def states_of(codec, rows):
    states = [codec.new_state() for _ in range(rows)]
    return () if None in states else states


def encoded(codec, samples, states=None):
    octets = codec.frame_octets * samples.shape[1] // codec.frame_samples
    payloads = np.zeros((len(samples), octets), np.uint8)
    codec.encode(samples, states_of(codec, len(samples)) if states is None else states, payloads)
    return payloads


class RegistryTests(SynchronousTestCase):
    def test_each_file_is_a_codec(self):
        files = {path.stem for path in Path(codecs.__file__).parent.glob("*.py")} - {"__init__"}
        self.assertEqual({name.lower() for name in CODECS}, files)
        for name, codec in CODECS.items():
            self.assertEqual(codec.name, name)

    def test_a_file_that_is_added_is_found(self):
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "x_fake.py").write_text(ONE_FILE)
        self.patch(codecs, "__path__", [*codecs.__path__, str(folder)])
        found = {codec.name: codec for codec in codecs._found()}
        self.assertEqual(set(found), {*CODECS, "X-FAKE"})
        self.assertEqual(
            (found["X-FAKE"].frame_samples, str(found["X-FAKE"])), (320, "X-FAKE/16000")
        )

    def test_static_payload_types_are_those_of_rfc_3551(self):
        numbers = {name: CODECS[name].payload_type for name in ("PCMU", "PCMA", "G722")}
        self.assertEqual(numbers, {"PCMU": 0, "PCMA": 8, "G722": 9})
        self.assertGreaterEqual(CODECS["L16"].payload_type, 96)

    def test_a_value_says_what_sdp_says_and_no_more(self):
        self.assertEqual(
            repr(CODECS["PCMU"]),
            "_PCMU(name='PCMU', payload_type=0, clock_rate=8000, channels=1, fmtp='')",
        )


class SettingsTests(SynchronousTestCase):
    def test_names_and_codecs_of_an_application(self):
        class Own(AudioCodec):
            pass

        own = Own("X-OWN", 99)
        self.assertEqual(Settings(codecs=("G722", own)).codec_list, (CODECS["G722"], own))

    def test_what_is_neither(self):
        for wrong in (("PCMU", 5), "PCMU", None, (AudioCodec,)):
            with self.assertRaisesRegex(ConfigurationError, "^codecs: .* give a tuple of names"):
                Settings(codecs=wrong)
        with self.assertRaisesRegex(ConfigurationError, "choose from PCMU, PCMA, G722, L16"):
            Settings(codecs=("OPUS",))

    def test_two_with_one_number(self):
        own = AudioCodec("L16", CODECS["L16"].payload_type, 16_000)
        says = "^codecs: L16/8000 and L16/16000 both propose payload type 96; give"
        with self.assertRaisesRegex(ConfigurationError, says):
            Settings(codecs=("L16", own))

    def test_a_package_that_is_missing_is_named_in_one_line(self):
        self.patch(g722, "_coder", None)
        Settings(codecs=("PCMU",))
        error = self.assertRaises(ConfigurationError, Settings, codecs=("PCMU", "G722"))
        self.assertEqual(
            str(error),
            'codecs: G722 needs the G722 package; install it: pip install "sessioncore[g722]"',
        )


class CodingTests(SynchronousTestCase):
    def test_a_tone_comes_through(self):
        for codec in CODECS.values():
            rate, states = codec.sample_rate, (states_of(codec, 1), states_of(codec, 1))
            heard = [
                codec.decode(encoded(codec, frame[None], states[0]), states[1])[0]
                for frame in sine(1000, 1, rate=rate).reshape(-1, codec.frame_samples)
            ]
            report = tone_report(np.concatenate(heard)[rate // 10 :], rate, 1000)
            self.assertEqual(report.fraction_present, 1.0, f"{codec}: {report}")
            self.assertApproximates(report.level_dbov, -16, 0.3, str(codec))

    def test_silence_is_what_zeros_are_encoded_to(self):
        for codec in CODECS.values():
            octets = set(encoded(codec, np.zeros((2, codec.frame_samples), np.int16)).flat)
            if codec.silence is not None:
                self.assertEqual(octets, {codec.silence}, str(codec))

    def test_tables_say_the_same_as_decoding(self):
        codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
        for codec in CODECS.values():
            if isinstance(codec, TableCodec):
                expected = codec.decode_table[codes]
                self.assertTrue((codec.decode(codes, ()) == expected).all())

    @settings(max_examples=40)
    @given(
        st.sampled_from(list(CODECS.values())),
        st.integers(1, 4),
        st.integers(0, 700),
        st.integers(0, 2**32 - 1),
    )
    def test_whatever_comes_is_decoded_row_by_row(self, codec, rows, size, seed):
        octets = np.random.default_rng(seed).integers(0, 256, (rows, size), np.uint8)
        samples = codec.decode(octets, states_of(codec, rows))
        self.assertEqual(samples.dtype, np.int16)
        count = size * codec.frame_samples // codec.frame_octets
        self.assertEqual(samples.shape, (rows, count))
        for row in range(rows):
            alone = codec.decode(octets[row : row + 1], states_of(codec, 1))
            self.assertTrue((alone[0] == samples[row]).all())


class G722Tests(SynchronousTestCase):
    def test_above_4000_hz(self):
        codec, encoder, decoder = CODECS["G722"], *states_of(CODECS["G722"], 2)
        heard = [
            codec.decode(encoded(codec, frame[None], [encoder]), [decoder])[0]
            for frame in sine(6000, 1, rate=16_000).reshape(-1, 320)
        ]
        self.assertTrue(tone_report(np.concatenate(heard)[1600:], 16_000, 6000).heard())

    def test_the_clock_is_half_the_rate(self):
        codec = CODECS["G722"]
        rates = codec.clock_rate, codec.sample_rate, codec.frame_octets, codec.frame_samples
        self.assertEqual(rates, (8000, 16_000, 160, 320))
        self.assertEqual(str(codec), "G722/8000")

    def test_what_came_before_matters(self):
        codec, frame = CODECS["G722"], sine(1000, 0.02, rate=16_000)[None]
        (state,) = states_of(codec, 1)
        once, again = (encoded(codec, frame, [state]).tolist() for _ in range(2))
        self.assertNotEqual(once, again)
