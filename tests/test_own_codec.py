"""An application's own codec, in this one file: audio at 16 kHz between two managers."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import Deliver, Echo, Record, Tone
from sessioncore.media.wave import read_wav
from sessioncore.rtp.audio_codec import AudioCodec
from sessioncore.testing.pair import LegPair
from sessioncore.testing.tones import tone_report


class Bytewise(AudioCodec):
    """The upper octet of each sample: 16 kHz, 320 octets a frame, and 0 is silent."""

    sample_rate = 16_000
    frame_octets = 320
    silence = 0

    def decode(self, payloads, states):
        return payloads.astype(np.int16) << 8

    def encode(self, samples, states, payloads):
        payloads[:] = (samples >> 8).astype(np.uint8)


OWN = Bytewise("X-BYTEWISE", 110, 16_000, fmtp="loud=1")


class OwnCodecTests(SynchronousTestCase):
    def test_it_is_negotiated_and_heard_at_its_rate(self):
        heard = []
        path = self.mktemp()
        with LegPair(codecs=(OWN, "PCMU")) as pair:
            call = pair.connect(
                source=Tone(5000.0),
                sink=[Deliver(heard.append, rate=16_000), Record(path)],
                answer=lambda leg: leg.answer(source=Echo()),
            )
            pair.advance(2.0)
            for each in (call, *pair.legs):
                self.assertIs(each.negotiated_media.audio.codec, OWN)
            self.assertEqual(str(OWN), "X-BYTEWISE/16000")
            (invite,) = pair.network.sent(b"INVITE")
            lines = b"a=rtpmap:110 X-BYTEWISE/16000\r\na=fmtp:110 loud=1\r\n"
            self.assertIn(lines, invite.data)
        audio = np.concatenate(heard)
        self.assertEqual(audio.shape, (32_000,))
        self.assertTrue(tone_report(audio[8000:], 16_000, 5000).heard())
        recorded = read_wav(path)
        self.assertEqual(recorded.rate, 16_000)
        self.assertTrue(tone_report(recorded.mono[8000:], 16_000, 5000).heard())
