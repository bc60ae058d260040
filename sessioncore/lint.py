"""Findings: what is wrong or worth knowing in a message, a description or a call, as tables.

A table is a tuple of `LintRule`, one row per kind of finding; `lint` applies it to a subject.  The
tables are in `sessioncore.sdp.lint`, `sessioncore.sip.lint` and `sessioncore.explaining.lint`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Generic, TypeAlias, TypeVar

from attrs import field, frozen

__all__ = ["LintFinding", "LintRule", "Severity", "Values", "lint", "printable", "worst"]

T = TypeVar("T")

Values: TypeAlias = Mapping[str, Any]
"""The values of one finding, by the names in its text; ``where`` says which part it is about."""

_MOST: Final = 8
"""Findings of one rule in one subject: strangers write the subjects."""
_LONGEST: Final = 120


class Severity(IntEnum):
    """How bad a finding is."""

    NOTE = 0
    """It is worth knowing and does no harm by itself."""
    WARNING = 1
    """Some peers, or some networks, have a problem with it."""
    ERROR = 2
    """Audio or the call cannot work with it, or did not."""

    def __str__(self) -> str:
        return self.name.lower()


@frozen(slots=False)
class LintFinding:
    """One finding: its name, how bad it is, the section that says so, a text and what to do.

    ``where`` is the part that it is about (``m-line 1``), or empty.  ``values`` are what the text
    names.
    """

    name: str
    severity: Severity
    section: str
    text: str
    remedy: str
    where: str = ""
    values: Values = field(factory=dict)

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return f"{self.severity} {self.name}: {where}{self.text} ({self.section})"

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain values that can be written as JSON."""
        return {
            "name": self.name,
            "severity": str(self.severity),
            "section": self.section,
            "where": self.where,
            "text": self.text,
            "remedy": self.remedy,
        }


@frozen
class LintRule(Generic[T]):
    """A row of a table of findings.

    ``check`` gives the values of each finding in a subject; ``text`` is a format of their names.
    """

    name: str
    severity: Severity
    section: str
    text: str
    remedy: str
    check: Callable[[T], Iterable[Values]]


def lint(rules: Iterable[LintRule[T]], subject: T) -> tuple[LintFinding, ...]:
    """What the rules find in ``subject``: the worst first, at most 8 findings of each rule."""
    found = [each for rule in rules for each in _found(rule, subject)]
    return tuple(sorted(found, key=lambda finding: -finding.severity))


def worst(findings: Iterable[LintFinding]) -> Severity | None:
    """The highest severity, or None if there are no findings."""
    return max((finding.severity for finding in findings), default=None)


def _found(rule: LintRule[T], subject: T) -> Iterator[LintFinding]:
    for values in islice(rule.check(subject), _MOST):
        shown = {name: printable(value) for name, value in values.items()}
        where = str(shown.pop("where", ""))
        yield LintFinding(
            rule.name,
            rule.severity,
            rule.section,
            rule.text.format_map(shown),
            rule.remedy.format_map(shown),
            where,
            MappingProxyType(shown),
        )


def printable(value: Any) -> Any:
    """A value for a text: bytes and strings without control characters, and not too long."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        value = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value[:_LONGEST])
    return value
