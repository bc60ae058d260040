from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.rtp.comfort_noise import render_noise


def measure_levels(samples):
    """Level per row in dBov."""
    power = np.square(samples, dtype=np.float64).mean(axis=-1) / 32767.0**2
    return 10 * np.log10(power)


class Noise(SynchronousTestCase):
    def test_level_is_as_asked_for(self):
        for level in (-20, -40, -60):
            out = np.zeros((3, 960), np.int16)
            render_noise([level] * 3, [0, 5000, 32000], out)
            np.testing.assert_allclose(measure_levels(out), level, atol=0.6)

    def test_loud_noise_is_clipped_not_wrapped(self):
        out = np.zeros((1, 960), np.int16)
        render_noise([0], [0], out)
        self.assertEqual((out.min(), out.max()), (-32768, 32767))

    def test_inaudible_noise_is_silence(self):
        out = np.ones((1, 160), np.int16)
        render_noise([-127], [0], out)
        self.assertFalse(out.any())

    def test_frames_run_on(self):
        whole, parts = np.zeros((1, 320), np.int16), np.zeros((1, 160), np.int16)
        for start in (0, 32700, 10**12):
            render_noise([-30], [start], whole)
            for at in (0, 160):
                render_noise([-30], [start + at], parts)
                self.assertEqual(parts[0].tolist(), whole[0, at : at + 160].tolist())

    def test_noise_is_white(self):
        out = np.zeros((1, 960), np.int16)
        render_noise([-20], [0], out)
        power = np.abs(np.fft.rfft(out[0])) ** 2
        self.assertLess(power.max(), 0.03 * power.sum())
