"""What mypy says of sources and sinks, with its zope plugin and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import numpy as np
import numpy.typing as npt
from zope.interface import implementer

from sessioncore import Clip, Deliver, Discard, Echo, Frames, Record, Silence, Tone
from sessioncore import IMediaSink, IMediaSource
from sessioncore.media.sinks import Sink, Sinks
from sessioncore.media.sources import Source

Samples = npt.NDArray[np.int16]


@implementer(IMediaSource)
class Voice:
    def read(self, count: int) -> Samples | None:
        return None


@implementer(IMediaSink)
class Ear:
    def write(self, samples: Samples) -> None:
        pass


class Words:
    def read(self, count: int) -> str:
        return ""

    def write(self, samples: str) -> None:
        pass


def play(source: Source) -> None: ...
def hear(sink: Sinks) -> None: ...


play(Tone(440.0))
play(Clip(np.zeros(1, np.int16)))
play(Echo())
play(Frames(16_000))
play(Silence())
play(Voice())
hear(Record("a.wav"))
hear(Deliver(print, rate=16_000))
hear(Discard())
hear(Ear())
hear([Record("a.wav"), Ear()])
sinks: list[Sink] = [Ear(), Deliver(print)]
hear(sinks)
hear(())
play(5)  # wrong
play("a.wav")  # wrong
play(Tone)  # wrong
play(Record("a.wav"))  # wrong
play(Words())  # wrong
play(None)  # wrong
hear(5)  # wrong
hear([5])  # wrong
hear(print)  # wrong
hear(Tone(440.0))  # wrong
hear(Words())  # wrong
"""


class TypingTests(SynchronousTestCase):
    def wrong_lines(self, plugin: bool) -> list[str]:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        program, config = folder / "program.py", folder / "mypy.ini"
        program.write_text(PROGRAM)
        plugins = "plugins = mypy_zope:plugin\n" if plugin else ""
        quiet = "[mypy-sessioncore.*]\nignore_errors = true\n"
        config.write_text(f"[mypy]\nstrict = true\n{plugins}{quiet}")
        cache = ROOT / f".mypy_cache/typing-{plugin}"
        command = [sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", cache]
        done = subprocess.run(
            [*command, program],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            # zope has no types of its own that mypy finds without its plugin.
            env=os.environ | {"MYPYPATH": str(ROOT)},
        )
        self.assertEqual(done.stderr, "")
        lines = PROGRAM.splitlines()
        errors = [line for line in done.stdout.splitlines() if ": error:" in line]
        return [lines[int(error.split(":")[1]) - 1] for error in errors]

    def test_what_is_neither_is_found(self) -> None:
        try:
            import mypy_zope  # noqa: F401
        except ImportError:
            if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
                raise
            raise SkipTest("mypy is not installed (pip install sessioncore[dev])") from None
        wrong = [line for line in PROGRAM.splitlines() if line.endswith("# wrong")]
        self.assertEqual(self.wrong_lines(plugin=True), wrong)
        without = [line for line in self.wrong_lines(plugin=False) if "zope" not in line]
        self.assertEqual(without, wrong)
