"""The calls of the self-test, and whether each side heard in them what it should."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import asdict, evolve, field, frozen

from sessioncore.media.tones import ToneReport, tone_report
from sessioncore.media.wave import read_wav

__all__ = ["HEARD", "TONES", "Case", "Hearing", "hearing_of", "matrix", "recording", "said"]

TONES: Final = {"UAC": 440.0, "UAS": 1000.0}
"""What each side sends, in Hz."""
HEARD: Final = 0.9
"""The share of the call in which a tone has to be: a busy machine disturbs a few windows."""
EDGE: Final = 0.2
"""Seconds at each end of a recording that are not checked."""


@frozen
class Case:
    """One call: where, how, and for how many seconds after the answer.

    ``rings`` is for how long the callee rings, with its audio already if ``early``.  ``holds`` is
    for how long the caller holds the callee in the middle of the call.
    """

    name: str
    host: str = "127.0.0.1"
    codec: str = "PCMU"
    ptime: int = 20
    seconds: float = 2.5
    rings: float = 0.0
    early: bool = False
    late_offer: bool = False
    holds: float = 0.0

    @property
    def listen(self) -> str:
        """A SIP socket on its host, at a free port."""
        host = self.host.replace(":", r"\:")
        return f"udp:0:interface={host}"

    @property
    def label(self) -> str:
        """It and no other, in one word; a good name for a file."""
        return f"{self.name}-{self.host}".replace(" ", "-").replace(":", "_")

    def order(self, role: str, folder: Path) -> dict[str, Any]:
        """What one side has to do, as plain values."""
        return {
            **asdict(self),
            "case": self.label,
            "listen": self.listen,
            "sends": TONES[role],
            "record": str(recording(folder, self, role)),
        }


_MATRIX: Final = (
    Case("PCMU"),
    Case("PCMA", codec="PCMA"),
    Case("G722", codec="G722"),
    Case("L16", codec="L16"),
    Case("PCMU 40 ms", ptime=40),
    Case("PCMU 60 ms", ptime=60),
    Case("late offer", late_offer=True),
    Case("early media", rings=1.0, early=True),
    Case("hold", holds=1.0, seconds=4.0),
)
_ELSEWHERE: Final = ("PCMU", "early media")
"""What is tried on other addresses than the first: there only the network differs."""


def matrix(hosts: Iterable[str], longer: float = 0.0) -> Iterator[Case]:
    """The calls over each of ``hosts``; ``longer`` is how many seconds more each lasts."""
    for place, host in enumerate(hosts):
        for case in _MATRIX:
            if not place or case.name in _ELSEWHERE:
                yield evolve(case, host=host, seconds=case.seconds + longer)


def recording(folder: Path, case: Case, role: str) -> Path:
    """The file with what a side heard."""
    return folder / f"{case.label}.{role.lower()}.wav"


@frozen
class Hearing:
    """What one side heard of the other's tone, and of its own, which it should not."""

    role: str
    wanted: ToneReport
    own: ToneReport
    faults: tuple[str, ...] = field(factory=tuple)

    @property
    def good(self) -> bool:
        """Whether it heard the other's tone for as long as it should, and not its own."""
        return not self.faults

    def __str__(self) -> str:
        return said(self.wanted) if self.good else f"{said(self.wanted)}  WRONG"


def said(report: ToneReport) -> str:
    """A measurement for people, in a few words."""
    if not report.fraction_present:
        other = report.loudest_hz
        return "no; silence" if other is None else f"no; {other:.0f} Hz"
    text = f"yes, {report.level_dbov:.1f} dBov, {report.fraction_present:.1%} of the time"
    return text if report.fraction_present == 1 else f"{text}, gaps to {report.longest_gap_ms} ms"


def hearing_of(case: Case, role: str, path: Path) -> Hearing:
    """Measure the recording of one side; raises `MediaFileError` if it cannot be read."""
    audio = read_wav(path)
    edge = int(EDGE * audio.rate)
    samples: Any = audio.mono[edge:-edge] if len(audio.mono) > 2 * edge else np.zeros(0, np.int16)
    (other,) = set(TONES) - {role}
    wanted = tone_report(samples, audio.rate, TONES[other])
    own = tone_report(samples, audio.rate, TONES[role])
    return Hearing(role, wanted, own, tuple(_faults(case, role, wanted, own)))


def _faults(case: Case, role: str, wanted: ToneReport, own: ToneReport) -> Iterator[str]:
    held = case.holds if role == "UAC" else 0.0  # whom it holds hears it all the same
    lasts = case.seconds + (case.rings if case.early and role == "UAC" else 0.0)
    if wanted.windows * 0.02 < HEARD * lasts - 2 * EDGE:
        yield f"the recording lasts {wanted.windows * 0.02:.1f} s, the call {lasts:.1f} s"
    if not wanted.heard(HEARD * (1 - held / lasts)):
        yield f"{wanted.frequency:g} Hz was to be heard: {said(wanted)}"
    if held and not 0.6 * held <= wanted.longest_gap_ms / 1000 <= held + 0.6:
        yield f"on hold for {held:g} s, and the pause was {wanted.longest_gap_ms} ms"
    if own.fraction_present > 1 - HEARD:
        yield f"{own.frequency:g} Hz is its own tone"
