"""What passes as speech, and what does not."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.speech import features, is_speech, joined
from sessioncore.media.tones import windows_of
from sessioncore.rtp.g711 import decode_ulaw, encode_ulaw
from sessioncore.testing.tones import sine
from tests.media.sounds import Samples, noise, speech_like, switched


def like_speech(samples: Samples) -> bool:
    """What is said of the samples as G.711 carries them."""
    heard = decode_ulaw(encode_ulaw(samples.astype(np.int16)))
    return is_speech(features(windows_of(heard, 8000), 8000))


class SpeechTests(SynchronousTestCase):
    def test_syllables(self) -> None:
        for seed in range(5):
            self.assertTrue(like_speech(speech_like(3.0, seed)), seed)

    def test_soft_syllables(self) -> None:
        self.assertTrue(like_speech((speech_like(3.0) * 0.1).astype(np.int16)))

    def test_a_long_pause(self) -> None:
        audio = speech_like(3.0)
        audio[5000:] = 0
        self.assertTrue(like_speech(audio))
        audio[1600:] = 0
        self.assertFalse(like_speech(audio), "a fifth of a second is no speech")

    def test_tones(self) -> None:
        for audio in (
            sine(440, 3.0),
            switched(3.0, 425.0),
            switched(3.0, 440.0, 480.0),
            np.concatenate(
                [
                    switched(0.2, low, high, period=0.2)
                    for low in (697, 852)
                    for high in (1209, 1633)
                ]
                * 4
            ),
        ):
            self.assertFalse(like_speech(audio))

    def test_steady_noise(self) -> None:
        self.assertFalse(like_speech(noise(3.0)))

    def test_silence_and_nothing(self) -> None:
        self.assertFalse(like_speech(np.zeros(24000, np.int16)))
        self.assertFalse(like_speech(np.zeros(0, np.int16)))

    def test_a_sound_that_only_fades(self) -> None:
        # Its level changes, what it is does not.
        audio = sum(sine(300.0 * each, 3.0).astype(int) for each in range(1, 6)) / 5
        self.assertFalse(like_speech(audio * np.linspace(0.05, 1.0, 24000)))

    def test_parts_are_as_the_whole(self) -> None:
        windows = windows_of(speech_like(2.0), 8000)
        whole = features(windows, 8000)
        parts = joined([features(windows[:30], 8000), features(windows[30:], 8000)])
        for one, other in zip(whole, parts, strict=True):
            self.assertTrue(np.allclose(one, other))
