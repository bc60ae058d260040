"""A call between two processes on this host, with audio checked in both directions.

The caller plays 440 Hz, the callee 1000 Hz; each records the audio it receives.  The exit status
is 0 only if each received the other's tone and not its own.  It is one call of the self-test
(``sessioncore selftest``), shown in detail.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np

from sessioncore.diagnosis.cases import TONES, Case, Hearing, recording, said
from sessioncore.diagnosis.running import run_until
from sessioncore.diagnosis.selftest import Result, Selftest, columns
from sessioncore.media.wave import read_wav

ROOT = Path(__file__).resolve().parent.parent
COLOURS = {"UAC": "\x1b[36m", "UAS": "\x1b[33m"}


class Ladder:
    """Shows the events of both processes in the order in which they happened.

    They come a little after they happen.  So each line is held for a tenth of a second, until all
    earlier ones must have come.
    """

    HOLD = 0.1

    def __init__(self, output: Path) -> None:
        self._logs = {role: (output / f"{role.lower()}.events.jsonl").open("w") for role in TONES}
        self._held: list[tuple[float, int, str, dict[str, Any]]] = []
        self._arrived: deque[float] = deque()
        self._count = 0
        self._begin: float | None = None

    def take(self, role: str, _case: Case, record: dict[str, Any]) -> None:
        """Log an event, and show it soon."""
        record = {name: value for name, value in record.items() if name != "case"}
        self._logs[role].write(json.dumps(record) + "\n")
        self._logs[role].flush()
        self._count += 1
        heappush(self._held, (record["t"], self._count, role, record))
        self._arrived.append(time.monotonic())

    def show_due(self) -> None:
        """Show what has been held for long enough; call it often."""
        self.show(time.monotonic() - self.HOLD)

    def show(self, until: float = float("inf")) -> None:
        """Show what arrived before ``until``."""
        while self._held and self._arrived[0] < until:
            self._arrived.popleft()
            at, _, role, record = heappop(self._held)
            if self._begin is None:
                self._begin = at
            text = f"[{role}] Event: {record['event']}, Media State: {record['media_state']}"
            if sys.stdout.isatty():
                text = f"{COLOURS[role]}{text}\x1b[0m"
            # Lines of the caller are on the left, those of the callee a little to the right.
            indent = "    " if role == "UAS" else ""
            print(f"{at - self._begin:9.4f} s  {indent}{text}", flush=True)


def report(result: Result) -> str:
    """The table of who heard which tone, and what is known about each side."""
    rows = [["", *(f"{tone:g} Hz, sent by {who}" for who, tone in TONES.items())]]
    rows += [[f"{each.role} heard", *_cells(each)] for each in result.hearings]
    verdicts = [f"{role}: {text}" for role, text in result.verdicts.items()]
    return "\n".join([columns(rows), "", *verdicts, *result.faults])


def _cells(hearing: Hearing) -> list[str]:
    wrong = "" if hearing.good else "  WRONG"
    tones = {hearing.wanted.frequency: hearing.wanted, hearing.own.frequency: hearing.own}
    return [f"{said(tones[tone])}{wrong}" for tone in TONES.values()]


def draw(output: Path) -> None:
    """Draw both recordings as spectrograms, in one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(TONES), 1, figsize=(9, 6), sharex=True, layout="constrained")
    for axis, role in zip(axes, TONES, strict=True):
        audio = read_wav(output / f"{role.lower()}.wav")
        with np.errstate(divide="ignore"):  # the logarithm of silence is -inf
            axis.specgram(audio.mono / 32768, NFFT=512, noverlap=256, Fs=audio.rate, vmin=-100)
        axis.set(title=f"What the {role} heard", ylabel="Hz", ylim=(0, 2000))
    axes[-1].set_xlabel("s")
    figure.savefig(output / "spectrogram.png", dpi=100)


def place_the_call(output: Path, seconds: float) -> Result:
    """Make the call between two processes, and show it."""
    from twisted.internet import reactor
    from twisted.internet.task import LoopingCall

    ladder = Ladder(output)
    case = Case("demo", seconds=seconds)
    selftest = Selftest(reactor, [case], output, ladder.take, tries=1)
    showing: Any = LoopingCall(ladder.show_due)
    showing.start(ladder.HOLD / 2)
    (result,) = run_until(selftest.run, selftest.stop)
    ladder.show()
    for role in TONES:
        heard = recording(output, case, role)
        if heard.exists():
            heard.rename(output / f"{role.lower()}.wav")
    return result


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bin/demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the call")
    parser.add_argument("--output", type=Path, default=ROOT / "demo-output", help="folder to fill")
    options = parser.parse_args()
    output: Path = options.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    for name in ("uac.wav", "uas.wav", "uac.events.jsonl", "uas.events.jsonl", "spectrogram.png"):
        (output / name).unlink(missing_ok=True)
    result = place_the_call(output, options.seconds)
    print(f"\n{report(result)}")
    if len(result.hearings) == len(TONES):
        draw(output)
        print(f"\nRecordings, event logs and a spectrogram are in {output}")
    print("Both directions were heard." if result.good else "NOT both directions were heard.")
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main())
