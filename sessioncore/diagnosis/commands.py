"""The commands ``selftest`` and ``doctor``, with their options."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from twisted.python import usage

from sessioncore.daemon.command import Said
from sessioncore.daemon.options import folder_to_make, seconds, writable
from sessioncore.diagnosis.cases import Case, matrix
from sessioncore.diagnosis.running import run_until
from sessioncore.diagnosis.selftest import AT_ONCE, Result, Selftest, own_addresses, table
from sessioncore.errors import ConfigurationError

__all__ = ["SelftestCommand"]

_STARTING = 2.0
"""Seconds that two processes take to start, about."""


def report_name(given: str | None) -> str | None:
    """The value of ``--json``: a file that can be written, ``-`` or None."""
    return given if given in (None, "-") else writable("json", given)


def write_report(name: str | None, report: Any) -> None:
    """Write JSON to a file or standard output; raises `ConfigurationError`."""
    if name is None:
        return
    text = json.dumps(report, indent=1)
    if name == "-":
        print(text)
        return
    try:
        Path(name).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--json {name}: {error.strerror}") from None


class SelftestCommand(Said):
    """``sessioncore selftest``."""

    synopsis = "sessioncore selftest [options]"
    longdesc = (
        "Makes calls between two processes on this machine, over loopback and over its own"
        " addresses, with several codecs, packet lengths, early media and hold, and checks on the"
        " recordings that each side heard the other's tone.  Exit status 0 if all were heard."
    )
    hint = "See `sessioncore selftest --help`."
    optParameters = [
        ["longer", None, "0", "Seconds that each call lasts longer than usual."],
        ["output", None, None, "Folder to keep the recordings in."],
        ["json", None, None, "Write the results as JSON to this file; - is standard output."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["only"] = []

    def opt_only(self, name: str) -> None:
        """Make only the calls of this name, for example "PCMU"; may be repeated."""
        self["only"].append(name)

    def run(self) -> int:
        """Make the calls; 0 if each side heard the other in all of them."""
        cases, report = self._cases(), report_name(self["json"])
        with ExitStack() as kept:
            folder = self._folder(kept)
            results = self._make(cases, folder, sys.stderr if report == "-" else sys.stdout)
        good = all(result.good for result in results)
        write_report(report, {"good": good, "calls": [each.as_dict() for each in results]})
        return 0 if good else 1

    def _folder(self, kept: ExitStack) -> Path:
        if self["output"] is None:
            return Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="selftest-")))
        folder = folder_to_make("output", self["output"])
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _cases(self) -> list[Case]:
        cases = list(matrix(own_addresses(), seconds("longer", self["longer"])))
        names = list(dict.fromkeys(case.name for case in cases))
        unknown = [name for name in self["only"] if name not in names]
        if unknown:
            raise usage.UsageError(
                f"--only: {unknown[0]!r} is unknown; write one of {', '.join(names)}"
            )
        return [case for case in cases if not self["only"] or case.name in self["only"]]

    def _make(self, cases: list[Case], folder: Path, out: IO[str]) -> list[Result]:
        from twisted.internet import reactor

        selftest = Selftest(reactor, cases, folder)

        async def make() -> list[Result]:
            print(_announced(cases), file=out, flush=True)
            return await selftest.run()

        results = run_until(make, selftest.stop)
        for line in _lines(results, selftest.stopped):
            print(line, file=out)
        if self["output"] is not None:
            print(f"Recordings are in {folder}", file=out)
        return results


def _announced(cases: list[Case]) -> str:
    """What is said before the calls."""
    each = [case.seconds + case.rings + 0.5 for case in cases]
    lasts = _STARTING + max([*each, sum(each) / AT_ONCE])
    calls = "1 call" if len(cases) == 1 else f"{len(cases)} calls"
    return f"{calls} between two processes, about {lasts:.0f} s ..."


def _lines(results: list[Result], stopped: bool) -> list[str]:
    """What is said of the results."""
    lines = ["", table(results), ""]
    lines += [
        f"{result.case.name}, {result.case.host}: {fault}"
        for result in results
        for fault in result.faults
    ]
    if stopped:
        lines.append("Stopped before all calls were made.")
    elif any(result.starved for result in results):
        lines.append(
            "This machine was too busy: its processes did not run when they should have. Try again"
            " with less load."
        )
    good = sum(result.good for result in results)
    calls = "1 call" if len(results) == 1 else f"{len(results)} calls"
    lines.append(f"{good} of {calls} heard in both directions.")
    return lines
