"""The calls of the self-test, and when a recording shows that the other side was heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.diagnosis.cases import Case, Hearing, hearing_of, matrix, recording
from sessioncore.media.wave import write_wav
from sessioncore.net.addresses import parse_listen
from sessioncore.testing.tones import sine


class MatrixTests(SynchronousTestCase):
    def test_all_on_the_first_address_and_some_on_others(self) -> None:
        cases = list(matrix(["127.0.0.1", "::1"]))
        names = [case.name for case in cases if case.host == "127.0.0.1"]
        self.assertEqual(len(names), len(set(names)))
        for part in ("PCMU", "PCMA", "G722", "L16", "PCMU 40 ms", "early media", "hold"):
            self.assertIn(part, names)
        self.assertEqual(
            [case.name for case in cases if case.host == "::1"], ["PCMU", "early media"]
        )
        self.assertEqual(len({case.label for case in cases}), len(cases))

    def test_longer(self) -> None:
        (usual, *_), (longer, *_) = matrix(["127.0.0.1"]), matrix(["127.0.0.1"], 3.0)
        self.assertEqual(longer.seconds, usual.seconds + 3.0)

    def test_orders(self) -> None:
        case = Case("early media", "::1", rings=1.0, early=True)
        self.assertEqual(parse_listen(case.listen).interface, "::1")
        order = case.order("UAC", Path("/x"))
        self.assertEqual((order["case"], order["sends"]), ("early-media-__1", 440.0))
        self.assertEqual(order["record"], "/x/early-media-__1.uac.wav")
        self.assertEqual(order["record"], str(recording(Path("/x"), case, "UAC")))
        self.assertEqual(case.order("UAS", Path("/x"))["sends"], 1000.0)


class HearingTests(SynchronousTestCase):
    def hearing(self, *parts: Any, role: str = "UAC", **case: Any) -> Hearing:
        path = Path(self.mktemp())
        write_wav(path, np.concatenate(parts))
        return hearing_of(Case("x", **{"seconds": 2.0, **case}), role, path)

    def test_heard(self) -> None:
        hearing = self.hearing(sine(1000, 2.0))
        self.assertTrue(hearing.good, hearing.faults)
        self.assertEqual(str(hearing), "yes, -16.0 dBov, 100.0% of the time")
        self.assertTrue(self.hearing(sine(440, 2.0), role="UAS").good)

    def test_its_own_tone(self) -> None:
        hearing = self.hearing(sine(440, 2.0))
        self.assertEqual(
            hearing.faults, ("1000 Hz was to be heard: no; 440 Hz", "440 Hz is its own tone")
        )
        self.assertEqual(str(hearing), "no; 440 Hz  WRONG")

    def test_silence(self) -> None:
        self.assertEqual(str(self.hearing(np.zeros(16000, np.int16))), "no; silence  WRONG")

    def test_a_recording_that_is_too_short(self) -> None:
        short = self.hearing(sine(1000, 1.5), seconds=4.0)
        self.assertIn("the recording lasts 1.1 s", short.faults[0])
        self.assertIn("the recording lasts 0.0 s", self.hearing(sine(1000, 0.3)).faults[0])

    def test_early_media_has_to_be_in_the_callers_recording(self) -> None:
        given = {"rings": 1.0, "early": True, "seconds": 3.0}
        self.assertFalse(self.hearing(sine(1000, 3.0), **given).good)
        self.assertTrue(self.hearing(sine(1000, 4.0), **given).good)
        self.assertTrue(self.hearing(sine(440, 3.0), role="UAS", **given).good)

    def test_hold(self) -> None:
        tone, pause = sine(1000, 1.5), np.zeros(8000, np.int16)
        held = {"holds": 1.0, "seconds": 4.0}
        self.assertTrue(self.hearing(tone, pause, tone, **held).good)
        self.assertIn("the pause was 0 ms", self.hearing(sine(1000, 4.0), **held).faults[0])
        never_again = self.hearing(tone, pause, pause, pause[:4000], **held).faults
        self.assertIn("1000 Hz was to be heard", never_again[0])
        # The side that is held hears on.
        self.assertTrue(self.hearing(sine(440, 4.0), role="UAS", **held).good)
        tone = sine(440, 1.5)
        self.assertFalse(self.hearing(tone, pause, tone, role="UAS", **held).good)
