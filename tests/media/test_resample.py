from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import MediaFileError
from sessioncore.media.resample import RateConverter, resample
from sessioncore.testing.tones import sine, tone_report

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000)


def decibels(samples):
    return 10 * np.log10(np.square(samples, dtype=np.float64).mean() / 32767**2 + 1e-20)


class Quality(SynchronousTestCase):
    def test_a_tone_stays_the_tone_it_was(self):
        for rate in RATES:
            for frequency in (100, 1000, 3300):
                out = resample(sine(frequency, 1, rate=rate), rate, 8000)[400:-400]
                error = out - sine(frequency, 1)[400:-400].astype(np.float64)
                self.assertLess(decibels(error), -16 - 60, f"{frequency} Hz from {rate} Hz")

    def test_nothing_above_half_the_new_rate_gets_through(self):
        for rate in RATES[1:]:
            for frequency in (4000, 4100, 5000, 7000, 12000, 20000):
                if frequency < rate / 2 - 100:
                    out = resample(sine(frequency, 1, rate=rate), rate, 8000)[400:-400]
                    self.assertLess(decibels(out), -16 - 60, f"{frequency} Hz from {rate} Hz")

    def test_no_images_on_the_way_up(self):
        for rate in (11025, 16000, 44100, 48000):
            out = resample(sine(3000, 1), 8000, rate)[400:-400]
            report = tone_report(out, rate, 3000)
            self.assertTrue(report.heard())
            self.assertGreater(report.ratio_db, 60)

    def test_odd_rates(self):
        for rate in (7999, 8001, 22254, 44056, 191_999):
            out = resample(sine(1000, 1, rate=rate), rate, 8000)
            report = tone_report(out[160:-160], 8000, 1000)
            self.assertTrue(report.heard(), str(report))
            self.assertEqual(report.phase_jumps, 0)


class Shape(SynchronousTestCase):
    def test_length(self):
        for rate in RATES:
            for size in (1, 2, 7, 100, 4001):
                out = resample(np.ones(size, np.int16), rate, 8000)
                self.assertEqual(len(out), -(-size * 8000 // rate))
                self.assertEqual(out.dtype, np.int16)

    def test_in_step_with_the_original(self):
        click = np.zeros(4410, np.int16)
        click[2205] = 30000
        self.assertEqual(np.abs(resample(click, 44100, 8000).astype(int)).argmax(), 400)

    def test_loudest_samples_are_clipped_not_wrapped(self):
        square = np.where(np.arange(2000) // 20 % 2, 32767, -32768).astype(np.int16)
        out = resample(square, 16000, 8000)
        self.assertLess(np.abs(np.diff(out.astype(np.int64))).max(), 65536)
        self.assertTrue(((square[::2] >= 0) == (out >= 0))[np.arange(1000) % 10 > 1].all())

    def test_constant_stays_constant(self):
        for rate in RATES[1:]:
            out = resample(np.full(rate, 30000, np.int16), rate, 8000)[200:-200]
            self.assertEqual(set(out.tolist()), {30000})

    def test_same_rate_is_a_copy(self):
        samples = sine(440, 0.1)
        out = resample(samples, 8000, 8000)
        self.assertEqual(out.tolist(), samples.tolist())
        self.assertIsNot(out, samples)

    def test_chunks_fit_together(self):
        long = np.tile(sine(400, 1, rate=48000), 12)
        out = resample(long, 48000, 8000)
        self.assertEqual(tone_report(out[160:-160], 8000, 400).fraction_present, 1.0)

    def test_empty(self):
        self.assertEqual(len(resample(np.zeros(0, np.int16), 44100, 8000)), 0)

    def test_rates_out_of_bounds(self):
        for rate in (0, 999, 384_001, 2**32 - 1):
            with self.assertRaisesRegex(MediaFileError, f"{rate} Hz: only 1000 to 384000"):
                resample(np.ones(10, np.int16), rate, 8000)


class FrameByFrame(SynchronousTestCase):
    RATES = [(a, b) for a in (8000, 16_000, 48_000) for b in (8000, 16_000, 48_000) if a != b]

    def convert(self, converter, samples, size, row=0):
        frames = samples.reshape(-1, size)
        return np.concatenate(
            [converter.convert(np.array([row]), each[None])[0] for each in frames]
        )

    def test_a_tone_stays_the_tone_it_was(self):
        for a, b in self.RATES:
            for frequency in (100, 1000, 3300):
                out = self.convert(RateConverter(a, b), sine(frequency, 1, rate=a), a // 50)
                self.assertEqual(len(out), b)
                report = tone_report(out[b // 10 :], b, frequency)
                self.assertEqual((report.fraction_present, report.phase_jumps), (1, 0), str(report))
                self.assertGreater(report.ratio_db, 50)
                self.assertApproximates(report.level_dbov, -16, 0.1)

    def test_nothing_above_half_the_lower_rate_gets_through(self):
        for a, frequency in ((16_000, 4500), (48_000, 5000), (48_000, 20_000)):
            out = self.convert(RateConverter(a, 8000), sine(frequency, 1, rate=a), a // 50)
            self.assertLess(decibels(out[400:]), -16 - 55)
        for b in (16_000, 48_000):
            out = self.convert(RateConverter(8000, b), sine(3000, 1), 160)
            report = tone_report(out[b // 10 :], b, 3000)
            self.assertGreater(report.ratio_db, 50)

    @settings(max_examples=30)
    @given(st.sampled_from(RATES), st.sampled_from((1, 2, 5)), st.integers(0, 2**32 - 1))
    def test_frames_run_on_from_one_another(self, rates, parts, seed):
        a, b = rates
        noise = np.random.default_rng(seed).integers(-20_000, 20_000, a // 10).astype(np.int16)
        whole = self.convert(RateConverter(a, b), noise, len(noise))
        self.assertEqual(
            self.convert(RateConverter(a, b), noise, len(noise) // parts).tolist(), whole.tolist()
        )

    def test_rows_do_not_touch_one_another(self):
        converter, alone = RateConverter(8000, 16_000), RateConverter(8000, 16_000)
        noise = np.random.default_rng(1).integers(-20_000, 20_000, (3, 5, 160)).astype(np.int16)
        rows = np.array([70, 3, 4])
        for turn in range(5):
            out = converter.convert(rows, noise[:, turn])
            self.assertEqual(alone.convert(rows[1:2], noise[1:2, turn]).tolist(), out[1:2].tolist())
        self.assertEqual(converter.convert(rows[:0], noise[:0, 0]).shape, (0, 320))

    def test_a_row_that_begins_again_begins_after_silence(self):
        converter, noise = RateConverter(8000, 16_000), sine(440, 0.02)
        first = self.convert(converter, noise, 160)
        self.assertNotEqual(self.convert(converter, noise, 160).tolist(), first.tolist())
        converter.reset(0)
        converter.reset(99)
        self.assertEqual(self.convert(converter, noise, 160).tolist(), first.tolist())

    def test_it_is_3_ms_late(self):
        click = np.zeros(480, np.int16)
        click[160] = 30_000
        out = self.convert(RateConverter(8000, 16_000), click, 160)
        self.assertApproximates(np.abs(out.astype(int)).argmax() / 16 - 20, 3, 0.2)

    def test_loudest_samples_are_clipped_not_wrapped(self):
        square = np.tile(np.repeat(np.array([32_767, -32_768], np.int16), 8), 100)
        out = self.convert(RateConverter(8000, 16_000), square, 160).astype(int)
        self.assertLess(np.abs(np.diff(out)).max(), 40_000)
        self.assertEqual((out.max(), out.min()), (32_767, -32_768))
