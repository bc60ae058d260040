"""What calls should hear, in the notation of the command line: ``tone:1000``, ``speech``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sessioncore.errors import ConfigurationError
from sessioncore.media.hearing import Expectation, ExpectedSpeech, ExpectedTones
from sessioncore.media.tones import require_measurable

__all__ = ["parse_expect", "require_carried"]

_NUMBER: Final = re.compile(r"[0-9]{1,5}(\.[0-9]{1,3})?").fullmatch
_HOW: Final = "write tone:HZ, tone:HZ+HZ or speech"


def parse_expect(text: str) -> Expectation:
    """The expectation for the value of ``--expect``; `ConfigurationError` says what to write."""
    kind, colon, rest = text.partition(":")
    if text == "speech":
        return ExpectedSpeech()
    if not colon or kind != "tone":
        raise ConfigurationError(f"--expect: {text!r} is unknown; {_HOW}")
    parts = rest.split("+")
    if len(parts) > 2:
        raise ConfigurationError(f"--expect tone: {rest!r} has {len(parts)} tones; {_HOW}")
    for part in parts:
        if not _NUMBER(part):
            raise ConfigurationError(f"--expect tone: {part!r} is not a number of Hz; {_HOW}")
    try:
        return ExpectedTones([float(part) for part in parts])
    except ConfigurationError as error:
        raise ConfigurationError(f"--expect tone: {error}") from None


def require_carried(expectation: Expectation, rates: Iterable[int]) -> None:
    """Raise `ConfigurationError` if no codec with one of these sampling rates carries it."""
    if not isinstance(expectation, ExpectedTones):
        return
    try:
        require_measurable(expectation.frequencies, max(rates))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"--expect tone: {error}, or name a codec with a higher rate by --codecs, e.g. G722"
        ) from None
