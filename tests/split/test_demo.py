"""The demo: what it shows and leaves, and that it tells a call that was not heard."""

from __future__ import annotations

from tests.split.processes import ROOT, ProcessTestCase

LADDER = """\
[UAC] Event: CallInitiated, Media State: Negotiating
[UAS] Event: IncomingCall, Media State: Negotiating
[UAS] Event: CallAnswered, Media State: Ready
[UAC] Event: CallAnswered, Media State: Ready
[UAC] Event: AckSent, Media State: Established
[UAS] Event: AckReceived, Media State: """


class DemoTests(ProcessTestCase):
    def test_demo(self) -> None:
        demo = self.start(ROOT / "tools" / "demo.py", "--seconds=1.5", "--output=out")
        self.assertEqual(demo.wait(60), 0, demo.output)
        self.assertEqual(demo.lines[-1], "Both directions were heard.")
        place = 0
        for line in LADDER.splitlines():
            place = demo.output.find(line, place)
            self.assertGreaterEqual(place, 0, f"{line}\n{demo.output}")
        times = [float(line.split()[0]) for line in demo.lines if "] Event: " in line]
        self.assertEqual(times, sorted(times))
        self.assertRegex(demo.output, r"UAC heard  no; 1000 Hz +yes, -16\.0 dBov")
        self.assertRegex(
            demo.output, r"UAS heard  yes, -16\.0 dBov, [0-9.]+% of the time.* no; 440"
        )
        out = self.folder / "out"
        names = {path.name for path in out.iterdir() if path.is_file()}
        self.assertEqual(
            names,
            {"uac.wav", "uas.wav", "uac.events.jsonl", "uas.events.jsonl", "spectrogram.png"},
        )
        self.assertTrue((out / "spectrogram.png").read_bytes().startswith(b"\x89PNG"))
