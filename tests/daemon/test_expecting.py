"""The notation of ``--expect``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon.expecting import parse_expect, require_carried
from sessioncore.errors import ConfigurationError
from sessioncore.media.hearing import ExpectedSpeech, ExpectedTones


class ParseTests(SynchronousTestCase):
    def test_all(self) -> None:
        self.assertEqual(parse_expect("speech"), ExpectedSpeech())
        self.assertEqual(parse_expect("tone:1000"), ExpectedTones((1000.0,)))
        self.assertEqual(parse_expect("tone:350+440.5"), ExpectedTones((350.0, 440.5)))

    def test_mistakes(self) -> None:
        for text, what in (
            ("", "'' is unknown; write tone:HZ"),
            ("tone", "'tone' is unknown"),
            ("speech:1", "'speech:1' is unknown"),
            ("tone:", "'' is not a number of Hz"),
            ("tone:1_0", "'1_0' is not a number of Hz"),
            ("tone:-5", "'-5' is not a number of Hz"),
            ("tone:1+2+3", "has 3 tones"),
            ("tone:20", "20 Hz cannot be recognized"),
            ("tone:440+450", "440 and 450 Hz cannot be told apart"),
        ):
            with self.assertRaises(ConfigurationError) as caught:
                parse_expect(text)
            self.assertRegex(str(caught.exception), "^--expect")
            self.assertIn(what, str(caught.exception))

    def test_what_no_codec_carries(self) -> None:
        require_carried(parse_expect("tone:3900"), [8000])
        require_carried(parse_expect("tone:5000"), [8000, 16000])
        require_carried(ExpectedSpeech(), [8000])
        with self.assertRaisesRegex(ConfigurationError, "5000 Hz .* --codecs, e.g. G722"):
            require_carried(parse_expect("tone:5000"), [8000])
