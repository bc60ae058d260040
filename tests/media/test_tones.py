"""Tones of two frequencies, and the names of what else is heard; see also the testing kit's."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import ConfigurationError
from sessioncore.media.tones import (
    Floats,
    are_present,
    fit,
    levels,
    require_measurable,
    strongest,
    windows_of,
)
from sessioncore.rtp.g711 import decode_ulaw, encode_ulaw
from sessioncore.testing.tones import sine


def coded(*frequencies: float, seconds: float = 1.0, level: float = -16.0) -> Floats:
    """Windows of tones as G.711 carries them."""
    mixed = sum(sine(each, seconds, level=level).astype(int) for each in frequencies)
    return windows_of(decode_ulaw(encode_ulaw(np.asarray(mixed, np.int16))), 8000)


class FitTests(SynchronousTestCase):
    def present(self, windows: Floats, *frequencies: float) -> float:
        return float(are_present(fit(windows, 8000, frequencies)).mean())

    def test_two_tones(self) -> None:
        for pair in ((350.0, 440.0), (440.0, 480.0), (697.0, 1209.0)):
            self.assertEqual(self.present(coded(*pair), *pair), 1.0, pair)

    def test_one_of_two_is_not_both(self) -> None:
        self.assertEqual(self.present(coded(350.0), 350.0, 440.0), 0.0)

    def test_both_are_not_one_alone(self) -> None:
        self.assertEqual(self.present(coded(350.0, 440.0), 440.0), 0.0)

    def test_levels_and_phases_of_each(self) -> None:
        found = fit(coded(350.0, 1000.0), 8000, (350.0, 1000.0))
        self.assertEqual(found.levels.shape, (50, 2))
        self.assertTrue(np.all(np.abs(found.levels + 16.0) < 0.3))
        # 20 ms of 1000 Hz are whole turns.
        self.assertTrue(np.all(np.abs(found.phases[:, 1]) < 0.01))

    def test_too_soft(self) -> None:
        self.assertEqual(self.present(coded(440.0, level=-55.0), 440.0), 0.0)

    def test_level_of_windows(self) -> None:
        self.assertTrue(np.all(np.abs(levels(coded(440.0)) + 16.0) < 0.3))
        self.assertEqual(levels(np.full((1, 160), 0.25)).tolist(), [-127.0])


class MeasurableTests(SynchronousTestCase):
    def test_what_20_ms_can_tell(self) -> None:
        require_measurable((50.0, 3950.0), 8000)
        require_measurable((7900.0,), 16000)
        for wrong in ((49.0,), (3951.0,), (440.0, 479.0), (479.0, 440.0)):
            with self.assertRaisesRegex(ConfigurationError, f"{min(wrong):g}.* Hz"):
                require_measurable(wrong, 8000)


class StrongestTests(SynchronousTestCase):
    def test_tones_have_names(self) -> None:
        for tones in ((440.0,), (350.0, 440.0), (697.0, 1209.0), (3000.0,)):
            found = strongest(coded(*tones), 8000)
            self.assertEqual([round(each) for each in found], list(tones))

    def test_a_soft_companion_is_not_named(self) -> None:
        mixed = windows_of(sine(440, 1.0) + sine(1000, 1.0, level=-40), 8000)
        self.assertEqual([round(each) for each in strongest(mixed, 8000)], [440])

    def test_noise_and_nothing_are_no_tones(self) -> None:
        noise = np.random.default_rng(1).normal(0, 900, 8000).astype(np.int16)
        self.assertEqual(strongest(windows_of(noise, 8000), 8000), ())
        self.assertEqual(strongest(np.zeros((50, 160)), 8000), ())
        self.assertEqual(strongest(np.zeros((0, 160)), 8000), ())
