"""The proof has to fail on bad audio, or it proves nothing."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.wave import write_wav
from sessioncore.rtp.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw
from sessioncore.testing.tones import listen, sine, tone_report

SILENCE = np.zeros(16000, np.int16)


class GoodAudio(SynchronousTestCase):
    def test_pure_tone(self):
        report = tone_report(sine(440, 2, level=-16.0), 8000, 440)
        self.assertEqual(report.fraction_present, 1.0)
        self.assertApproximates(report.level_dbov, -16.0, 0.05)
        self.assertEqual(report.windows, 100)
        self.assertEqual(report.longest_gap_ms, 0)
        self.assertEqual(report.phase_jumps, 0)
        self.assertApproximates(report.loudest_hz, 440, 0.5)
        self.assertTrue(report.heard())

    def test_g711_quantisation_passes_at_every_usual_level(self):
        for frequency in (200, 440, 1004, 2500, 3300):
            for level in (-3.1, -10, -16, -30, -40):
                tone = sine(frequency, 1, level=level)
                for coded in (decode_ulaw(encode_ulaw(tone)), decode_alaw(encode_alaw(tone))):
                    report = tone_report(coded, 8000, frequency)
                    self.assertEqual(report.fraction_present, 1.0, str(report))
                    self.assertApproximates(report.level_dbov, level, 0.3)

    def test_other_rates(self):
        for rate in (16000, 44100, 48000):
            self.assertTrue(tone_report(sine(440, 1, rate=rate), rate, 440).heard())

    def test_constant_offset_is_no_noise(self):
        self.assertTrue(tone_report(sine(440, 1) + np.int16(800), 8000, 440).heard())

    def test_clock_of_another_machine(self):
        report = tone_report(sine(440 * (1 + 300e-6), 2), 8000, 440)
        self.assertTrue(report.heard())
        self.assertEqual(report.phase_jumps, 0)


class BadAudio(SynchronousTestCase):
    def assert_not_heard(self, samples, frequency=440, fraction=0.0):
        report = tone_report(np.asarray(samples, np.int16), 8000, frequency)
        self.assertFalse(report.heard(), str(report))
        self.assertApproximates(report.fraction_present, fraction, 0.02, str(report))
        return report

    def test_silence(self):
        report = self.assert_not_heard(SILENCE)
        self.assertIsNone(report.loudest_hz)
        self.assertEqual(report.level_dbov, -127.0)
        self.assertEqual(report.longest_gap_ms, 2000)
        self.assertEqual(report.phase_jumps, 0)

    def test_nothing_at_all(self):
        self.assert_not_heard(SILENCE[:0])
        self.assertEqual(self.assert_not_heard(sine(440, 0.019)).windows, 0)

    def test_coded_silence(self):
        self.assert_not_heard(decode_ulaw(encode_ulaw(SILENCE)))
        self.assert_not_heard(decode_alaw(encode_alaw(SILENCE)))

    def test_other_tone(self):
        for other in (100, 430, 444, 450, 490, 880, 1320, 3500):
            report = self.assert_not_heard(sine(other, 2))
            self.assertApproximates(report.loudest_hz, other, 1)

    def test_half_missing(self):
        samples = sine(440, 2)
        samples[8000:] = 0
        self.assertEqual(self.assert_not_heard(samples, fraction=0.5).longest_gap_ms, 1000)

    def test_every_other_packet_missing(self):
        samples = sine(440, 2).reshape(-1, 160)
        samples[::2] = 0
        self.assert_not_heard(samples.ravel(), fraction=0.5)

    def test_packets_missing_across_the_windows(self):
        samples = sine(440, 2)
        samples[80:-80].reshape(-1, 160)[::4] = 0
        self.assert_not_heard(samples, fraction=0.5)

    def test_frame_left_out_shows_as_a_phase_jump(self):
        samples = np.delete(sine(440, 2), np.s_[8000:8160])
        self.assertEqual(tone_report(samples, 8000, 440).phase_jumps, 1)

    def test_frame_doubled_shows_as_a_phase_jump(self):
        samples = sine(440, 2)
        samples = np.insert(samples, 8000, samples[7840:8000])
        self.assertEqual(tone_report(samples, 8000, 440).phase_jumps, 1)

    def test_two_milliseconds_missing(self):
        samples = sine(440, 2)
        samples[8007:8023] = 0
        self.assertEqual(tone_report(samples, 8000, 440).longest_gap_ms, 20)

    def test_another_call_underneath(self):
        self.assert_not_heard(sine(440, 2) + sine(1000, 2, level=-30))
        self.assert_not_heard(sine(440, 2) + sine(470, 2, level=-30))

    def test_noise_and_noise_underneath(self):
        noise = np.random.default_rng(1).normal(0, 900, 16000)
        self.assert_not_heard(noise)
        self.assert_not_heard(sine(440, 2) + noise)

    def test_clipped_and_wrapped_tone(self):
        loud = sine(440, 2, level=-3.1).astype(np.int64) * 2
        self.assert_not_heard(loud.clip(-32768, 32767))
        self.assert_not_heard(loud.astype(np.int16))

    def test_bytes_of_a_codec_taken_for_another(self):
        self.assert_not_heard(decode_alaw(encode_ulaw(sine(440, 2))))
        self.assert_not_heard(sine(440, 2).byteswap())

    def test_too_soft(self):
        self.assert_not_heard(sine(440, 2, level=-53))


class Listening(SynchronousTestCase):
    def test_wav_file(self):
        path = self.mktemp()
        write_wav(path, sine(600, 1, rate=16000), 16000)
        self.assertTrue(listen(path, 600).heard())
        self.assertFalse(listen(path, 700).heard())

    def test_one_way_recording_fails_on_the_silent_side(self):
        path = self.mktemp()
        write_wav(path, np.stack([SILENCE, sine(440, 2)], axis=1))
        self.assertFalse(listen(path, 440, channel=0).heard())
        self.assertTrue(listen(path, 440, channel=1).heard())

    def test_stereo_needs_a_channel(self):
        with self.assertRaisesRegex(ValueError, "there are 2 channels"):
            listen(np.zeros((800, 2), np.int16), 440)

    def test_beginning_is_passed_over(self):
        samples = np.concatenate([SILENCE, sine(440, 1)])
        self.assertFalse(listen(samples, 440).heard())
        self.assertTrue(listen(samples, 440, skip_ms=2000).heard())

    def test_what_cannot_be_told(self):
        for frequency in (0, 49, 3951, 4000):
            with self.assertRaises(ValueError):
                tone_report(SILENCE, 8000, frequency)
        with self.assertRaises(ValueError):
            tone_report(SILENCE.astype(np.float64), 8000, 440)
