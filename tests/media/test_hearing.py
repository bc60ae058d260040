"""A listener: what counts as heard, what was heard instead, and what is not counted."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sessioncore.errors import ConfigurationError
from sessioncore.media.hearing import (
    Expectation,
    ExpectedSpeech,
    ExpectedTones,
    Heard,
    Listener,
)
from sessioncore.media.interfaces import IMediaSink
from sessioncore.testing.tones import sine
from tests.media.sounds import Samples, noise, speech_like

SILENCE = np.zeros(4000, np.int16)


def heard(expectation: Expectation, *parts: Samples, frame: int = 160) -> Heard:
    """What is heard of these parts, one after the other."""
    listener = Listener(expectation)
    samples = np.concatenate(parts)
    for begin in range(0, len(samples), frame):
        listener.write(samples[begin : begin + frame])
    return listener.heard


class ToneTests(SynchronousTestCase):
    expected = ExpectedTones((1000.0,))

    def test_heard(self) -> None:
        self.assertEqual(heard(self.expected, sine(1000, 3.3)), Heard("1000 Hz", 1.0, 165))

    def test_the_share(self) -> None:
        for gap, good in ((1280, True), (2400, False)):
            found = heard(self.expected, sine(1000, 2.0), SILENCE[:gap], sine(1000, 2.0))
            self.assertIs(found.as_expected, good, str(found))
        self.assertEqual(str(found), "1000 Hz in 93.0 % of 215 windows, silence in 7.0 %")

    def test_what_is_heard_instead(self) -> None:
        found = heard(self.expected, sine(440, 2.0), SILENCE, noise(0.5), speech_like(2.0))
        names = [name for name, _ in found.instead]
        self.assertEqual(names[0], "440 Hz")
        self.assertEqual({"silence", "440 Hz", "another sound"} - set(names), set())
        self.assertAlmostEqual(sum(share for _, share in found.instead), 1 - found.share)
        self.assertFalse(found.as_expected)

    def test_another_tone_underneath(self) -> None:
        mixed = sine(1000, 2.0) + sine(440, 2.0, level=-30)
        self.assertEqual(heard(self.expected, mixed).instead, (("440+1000 Hz", 1.0),))

    def test_two_tones(self) -> None:
        both = ExpectedTones((350.0, 440.0))
        mixed = sine(350, 2.0) + sine(440, 2.0)
        self.assertEqual(heard(both, mixed), Heard("350+440 Hz", 1.0, 100))
        self.assertEqual(heard(both, sine(350, 2.0)).instead, (("350 Hz", 1.0),))

    def test_half_a_second_of_silence_at_the_beginning_is_not_counted(self) -> None:
        found = heard(self.expected, SILENCE, sine(1000, 2.0))
        self.assertEqual((found.share, found.windows), (1.0, 100))
        found = heard(self.expected, SILENCE, SILENCE, sine(1000, 2.0))
        self.assertEqual((found.windows, found.instead), (125, (("silence", 0.2),)))

    def test_silence_alone(self) -> None:
        self.assertFalse(heard(self.expected, SILENCE).as_expected)
        found = heard(self.expected, np.zeros(16000, np.int16))
        self.assertEqual(found.instead, (("silence", 1.0),))

    def test_silence_later_is_counted(self) -> None:
        found = heard(self.expected, sine(1000, 0.5), SILENCE)
        self.assertEqual((found.windows, found.share), (50, 0.5))

    def test_nothing_came(self) -> None:
        found = Listener(self.expected).heard
        self.assertEqual((found, found.as_expected), (Heard("1000 Hz", 0.0, 0), False))
        self.assertEqual(str(found), "1000 Hz was not heard, and nothing else was")

    def test_frames_of_any_length(self) -> None:
        for frame in (1, 77, 160, 320, 480, 40000):
            self.assertEqual(heard(self.expected, sine(1000, 1.0), frame=frame).windows, 50, frame)

    def test_the_result_so_far(self) -> None:
        listener = Listener(self.expected)
        listener.write(sine(1000, 0.5))
        self.assertEqual((listener.heard.windows, listener.heard.windows), (25, 25))
        listener.write(sine(1000, 0.5))
        self.assertEqual(listener.heard.windows, 50)

    def test_starting_again(self) -> None:
        listener = Listener(self.expected)
        listener.write(sine(440, 1.5))
        listener.restart()
        listener.write(SILENCE)
        listener.write(sine(1000, 1.0))
        self.assertEqual(listener.heard, Heard("1000 Hz", 1.0, 50))

    def test_the_rate_that_is_needed(self) -> None:
        for frequency, rate in ((3950.0, 8000), (3951.0, 16000), (7900.0, 16000)):
            self.assertEqual(ExpectedTones((frequency,)).rate, rate)
        self.assertEqual(Listener(ExpectedTones((5000.0,))).rate, 16000)

    def test_numbers_spread_the_work(self) -> None:
        looks = []
        for number in (0, 10, 60):
            listener = Listener(self.expected, number)
            frames = 0
            while not listener._ear.result()[0]:
                listener.write(sine(1000, 0.02))
                frames += 1
            looks.append(frames)
        self.assertEqual(looks, [50, 40, 40])

    def test_what_cannot_be_recognized(self) -> None:
        for wrong in ((20.0,), (440.0, 450.0), (30000.0,)):
            with self.assertRaises(ConfigurationError):
                ExpectedTones(wrong)

    def test_it_is_a_sink(self) -> None:
        self.assertTrue(verifyObject(IMediaSink, Listener(self.expected)))


class SpeechTests(SynchronousTestCase):
    def test_heard(self) -> None:
        found = heard(ExpectedSpeech(), speech_like(8.0))
        self.assertEqual((found.expected, found.share, found.windows), ("speech", 1.0, 6))

    def test_a_short_call(self) -> None:
        found = heard(ExpectedSpeech(), speech_like(1.5))
        self.assertEqual((found.share, found.windows), (1.0, 1))
        self.assertEqual(heard(ExpectedSpeech(), speech_like(0.9)).windows, 0)

    def test_instead(self) -> None:
        for audio, name in (
            (sine(440, 5.0), "440 Hz"),
            (np.zeros(48000, np.int16), "silence"),
            (noise(5.0), "another sound"),
        ):
            found = heard(ExpectedSpeech(), audio)
            self.assertEqual(found.instead, ((name, 1.0),))

    def test_speech_that_stops(self) -> None:
        found = heard(ExpectedSpeech(), speech_like(6.0), np.zeros(48000, np.int16))
        self.assertFalse(found.as_expected)
        self.assertIn("silence", dict(found.instead))
