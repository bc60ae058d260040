"""A call between two ``twistd`` processes on this host, with audio checked in both directions.

The caller plays 440 Hz, the callee 1000 Hz; each records the audio it receives.  The exit status
is 0 only if each received the other's tone and not its own.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from heapq import heappop, heappush
from pathlib import Path
from typing import IO, Any

import numpy as np

from sessioncore.media.wave import read_wav
from sessioncore.testing.tones import ToneReport, tone_report

ROOT = Path(__file__).resolve().parent.parent
TONES = {"UAC": 440, "UAS": 1000}
COLOURS = {"UAC": "\x1b[36m", "UAS": "\x1b[33m"}
PATIENCE = 30.0
"""Seconds to wait for each expected event, beyond the length of the call."""
HEARD = 0.9
"""The share of the call in which a tone has to be present: a busy laptop disturbs a few windows."""
EDGE = 0.2
"""Seconds at each end of a recording that are not checked."""


class Agent:
    """One ``twistd`` process; its output lines go to a queue."""

    def __init__(self, role: str, lines: queue.Queue[tuple[str, str | None]], *options: str):
        self.role = role
        twistd = ("-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")
        self.process = subprocess.Popen(
            [sys.executable, *twistd, "sessioncore", f"--role={role.lower()}", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=(self.process.stdout, lines), daemon=True).start()

    def _read(self, out: IO[str], lines: queue.Queue[tuple[str, str | None]]) -> None:
        for line in out:
            lines.put((self.role, line.rstrip("\n")))
        lines.put((self.role, None))

    def stop(self) -> None:
        """Stop the process with SIGTERM, as an operator would, and wait until it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Ladder:
    """Shows the events of both processes in the order in which they happened.

    A process writes its events some ms after they happen, several at once.  So each line is
    held for a tenth of a second, until all earlier ones must have come.
    """

    HOLD = 0.1

    def __init__(self, lines: queue.Queue[tuple[str, str | None]], output: Path) -> None:
        self._lines = lines
        self._logs = {role: (output / f"{role.lower()}.events.jsonl").open("w") for role in TONES}
        self._held: list[tuple[float, int, str, dict[str, Any]]] = []
        self._arrived: deque[float] = deque()
        self._count = 0
        self._begin: float | None = None
        self._said: list[str] = []

    def until(self, role: str, what: str | None, patience: float) -> bool:
        """Show lines until ``role`` prints ``what`` (None: ends); False if it never does."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            self._show_due()
            try:
                who, line = self._lines.get(timeout=self.HOLD / 2)
            except queue.Empty:
                continue
            if line is not None:
                self._take(who, line)
            if who == role and (line is None or (what is not None and what in line)):
                if line is not None or what is None:
                    self._show_due()
                    return True
                break
        print("\n".join(["", f"{role} did not reach {what or 'its end'}:", *self._said]))
        return False

    def _take(self, role: str, line: str) -> None:
        if not line.startswith("{"):
            self._said.append(f"{role}: {line}")
            return
        self._logs[role].write(line + "\n")
        self._logs[role].flush()
        record = json.loads(line)
        if record["event"] not in ("CallSummary", "RunEnded"):
            self._count += 1
            heappush(self._held, (record["t"], self._count, role, record))
            self._arrived.append(time.monotonic())

    def show_all(self) -> None:
        """Show all lines that are still held."""
        self._show_due(everything=True)

    def _show_due(self, everything: bool = False) -> None:
        while self._held and (everything or self._arrived[0] < time.monotonic() - self.HOLD):
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


def free_port() -> int:
    """A UDP port of the loopback interface that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def place_the_call(output: Path, seconds: float) -> bool:
    """Run both processes; True if the call ended as planned."""
    lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
    ladder = Ladder(lines, output)
    port = free_port()
    uas = Agent(
        *("UAS", lines, "--listen", f"udp:{port}:interface=127.0.0.1"),
        *("--answer", f"tone:{TONES['UAS']}", "--record-dir", str(output / "uas")),
        *("--events", "-"),
    )
    try:
        if not ladder.until("UAS", "UAS on ", PATIENCE):
            return False
        uac = Agent(
            *("UAC", lines, "--listen", f"udp:{free_port()}:interface=127.0.0.1"),
            *("--call", f"sip:demo@127.0.0.1:{port}", "--play", f"tone:{TONES['UAC']}"),
            *("--record", str(output / "uac.wav"), "--duration", str(seconds)),
            *("--events", "-"),
        )
        try:
            return ladder.until("UAC", None, PATIENCE + seconds)
        finally:
            uac.stop()
    finally:
        uas.stop()
        ladder.until("UAS", None, PATIENCE)
        ladder.show_all()


def summary(events: Path) -> dict[str, Any]:
    """The summary of the one call in an event file."""
    with events.open() as file:
        records = [json.loads(line) for line in file]
    (found,) = [record for record in records if record["event"] == "CallSummary"]
    return dict(found)


def judge(output: Path) -> bool:
    """Print the table; True if each side received the other's tone and not its own."""
    good = True
    rows = [["", *(f"{tone} Hz, sent by {who}" for who, tone in TONES.items())]]
    for hearer in TONES:
        audio = read_wav(output / f"{hearer.lower()}.wav")
        edge = int(EDGE * audio.rate)
        samples = audio.mono[edge:-edge]
        cells = []
        for sender, tone in TONES.items():
            report = tone_report(samples, audio.rate, float(tone))
            expected = sender != hearer
            fits = report.heard(HEARD) if expected else report.fraction_present <= 1 - HEARD
            good = good and fits
            cells.append(f"{_cell(report)}{'' if fits else '  WRONG'}")
        rows.append([f"{hearer} heard", *cells])
    print("\n" + _table(rows) + "\n")
    for role in TONES:
        call = summary(output / f"{role.lower()}.events.jsonl")
        print(
            f"{role}: {call['judgement']} in {call['duration']} s: received"
            f" {call['packets_received']} of {call['packets_due']} packets, sent"
            f" {call['packets_sent']}, the peer reports {call['packets_confirmed']} as received"
        )
        if not call["passed"]:
            print(f"{role}: too little for a good call: {call['problem'] or call['reason']}")
            good = False
    return good


def _table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cell(report: ToneReport) -> str:
    if not report.fraction_present:
        other = report.loudest_hz
        return "no; silence" if other is None else f"no; {other:.0f} Hz"
    said = f"yes, {report.level_dbov:.1f} dBov, {report.fraction_present:.1%} of the time"
    return said if report.fraction_present == 1 else f"{said}, gaps to {report.longest_gap_ms} ms"


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


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bin/demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the call")
    parser.add_argument("--output", type=Path, default=ROOT / "demo-output", help="folder to fill")
    options = parser.parse_args()
    output: Path = options.output.absolute()
    shutil.rmtree(output / "uas", ignore_errors=True)
    (output / "uas").mkdir(parents=True)
    for name in ("uac.wav", "uas.wav", "uac.events.jsonl", "uas.events.jsonl", "spectrogram.png"):
        (output / name).unlink(missing_ok=True)
    if not place_the_call(output, options.seconds):
        return 1
    recordings = list((output / "uas").glob("*.wav"))
    if len(recordings) != 1 or not (output / "uac.wav").exists():
        print("a recording is missing: the call was not answered")
        return 1
    recordings[0].rename(output / "uas.wav")
    good = judge(output)
    draw(output)
    print(f"\nRecordings, event logs and a spectrogram are in {output}")
    print("Both directions were heard." if good else "NOT both directions were heard.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
