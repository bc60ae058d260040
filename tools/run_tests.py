"""Run trial and print ``N passed, N failed, N skipped`` as the last line, from its counts.

Errors and unexpected successes count as failed, expected failures as passed.  A run without tests
fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable

SUMMARY = re.compile(r"(PASSED|FAILED)(?: \(((?:\w+=\d+(?:, )?)+)\))?\s*")
RAN = re.compile(r"Ran (\d+) tests? in \S+s\s*")


def counts(lines: Iterable[str]) -> tuple[int, int, int] | None:
    """(passed, failed, skipped) from trial's last lines, or None if they are missing."""
    ran: int | None = None
    found: tuple[int, int, int] | None = None
    for line in lines:
        if match := RAN.fullmatch(line):
            ran, found = int(match[1]), None
        elif ran is not None and (match := SUMMARY.fullmatch(line)):
            found = _add_up(match[2] or "")
    return found


def _add_up(text: str) -> tuple[int, int, int]:
    number = {
        name: int(count) for name, count in (part.split("=") for part in text.split(", ") if part)
    }
    passed = number.get("successes", 0) + number.get("expectedFailures", 0)
    failed = sum(number.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    return passed, failed, number.get("skips", 0)


def run(arguments: list[str]) -> int:
    """Run trial with ``arguments``; returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="sessioncore-trial-") as temporary:
        trial = subprocess.Popen(
            [
                *(sys.executable, "-m", "twisted.trial"),
                f"--temp-directory={temporary}/trial",
                *(arguments or ["tests"]),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        tail: list[str] = []
        assert trial.stdout is not None
        for line in trial.stdout:
            print(line, end="", flush=True)
            tail = [*tail[-50:], line]
        status = trial.wait()
    passed, failed, skipped = counts(tail) or (0, 0, 0)
    if status and not failed:
        print(f"trial ended with exit status {status}")
        failed = 1
    if not passed + failed:
        print("no test ran")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
