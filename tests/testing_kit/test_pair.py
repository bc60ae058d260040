"""The leg pair: an application's test in a few lines."""

from __future__ import annotations

from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.sinks import Deliver
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.testing.pair import LegPair
from sessioncore.testing.tones import tone_report
from sessioncore.vocabulary import EndedBy, MediaState, SessionRole


class LegPairTests(SynchronousTestCase):
    def test_audio_both_ways(self) -> None:
        heard: dict[str, list[Any]] = {"caller": [], "callee": []}

        def answer(call: Call) -> Any:
            return call.answer(Tone((1000.0,)), Deliver(heard["callee"].append))

        with LegPair(seed=3) as pair:
            call = pair.connect(
                source=Tone((440.0,)), sink=Deliver(heard["caller"].append), answer=answer
            )
            pair.advance(2.0)
            self.assertIs(call.media_state, MediaState.ACTIVE)
            (leg,) = pair.legs
            self.assertIs(leg.role, SessionRole.UAS)
        for side, hertz in (("caller", 1000.0), ("callee", 440.0)):
            audio = np.concatenate(heard[side])[1600:]
            self.assertTrue(tone_report(audio, 8000, hertz).heard(0.95), side)

    def test_closing_ends_the_calls(self) -> None:
        with LegPair() as pair:
            call = pair.connect()
            pair.advance(0.5)
        reason = self.successResultOf(call.when_ended())
        self.assertIs(reason.by, EndedBy.LOCAL)
        self.assertEqual([event.name for event in pair.events].count("CallEnded"), 2)

    def test_settings_are_for_both_sides(self) -> None:
        with LegPair(codecs=("PCMA",)) as pair:
            call = pair.connect()
            pair.advance(0.5)
            assert call.negotiated_media is not None
            self.assertEqual(call.negotiated_media.audio.codec.name, "PCMA")

    def test_packets_are_as_long_as_both_sides_ask(self) -> None:
        for length in (20, 40, 60):
            with LegPair(ptime=length) as pair:
                call = pair.connect()
                pair.advance(1.0)
                assert call.negotiated_media is not None
                self.assertEqual(call.negotiated_media.audio.ptime, length)
                self.assertEqual(call.verdict.evidence.ptime, length / 1000)

    def test_an_error_tells_the_seed_and_is_not_hidden(self) -> None:
        with self.assertRaises(ZeroDivisionError) as caught, LegPair(seed=42):
            _ = 1 / 0
        self.assertIn("42", "".join(caught.exception.__notes__))
