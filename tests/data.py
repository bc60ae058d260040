"""Test data that lives beside the repository; tests that need it skip by name without it."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from twisted.trial.unittest import SkipTest

__all__ = ["data_file", "expected"]

ROOT = Path(
    os.environ.get("SESSIONCORE_TEST_DATA")
    or Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
)


def data_file(folder: str, name: str) -> bytes:
    """The bytes of a data file; skips the test where it is absent.

    With SESSIONCORE_REQUIRE_ALL=1 in the environment a missing file is a failure instead.
    """
    try:
        return (ROOT / folder / name).read_bytes()
    except FileNotFoundError:
        if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
            raise
        raise SkipTest(f"{folder}/{name}: ../shared/data is absent") from None


def expected(folder: str) -> list[dict[str, str]]:
    """The rows of a folder's expected.tsv by column name."""
    text = data_file(folder, "expected.tsv").decode("utf-8")
    return list(csv.DictReader(text.split("\n"), delimiter="\t", quoting=csv.QUOTE_NONE))
