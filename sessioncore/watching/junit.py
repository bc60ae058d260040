"""The report of a run as JUnit XML, as CI servers read it: a test case for each call."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from sessioncore.watching.outcome import Outcome

__all__ = ["junit_xml"]

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2) cannot contain, escaped or not."""
_SUITE: Final = "sessioncore call"


def junit_xml(
    records: Iterable[str], outcome: Outcome, totals: dict[str, Any], started: str, elapsed: float
) -> Iterator[str]:
    """The lines of the file.

    ``records`` and ``totals`` are those of `RunReport`, ``started`` is a time in ISO 8601 (UTC),
    ``elapsed`` is in seconds.  Calls that were not placed because the run was stopped are one
    test case with an error.
    """
    errors = int(outcome.not_placed > 0)
    counts = (
        f"tests={quoteattr(str(outcome.calls + errors))}"
        f" failures={quoteattr(str(outcome.failed))} errors={quoteattr(str(errors))}"
        f' skipped="0" time="{elapsed:.3f}"'
    )
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f"<testsuites {counts}>"
    yield f"<testsuite name={quoteattr(_SUITE)} {counts} timestamp={quoteattr(started[:19])}>"
    yield "<properties>"
    for name, value in totals.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"<property name={_attribute(name)} value={_attribute(text)}/>"
    yield "</properties>"
    for record in records:
        yield from _case(json.loads(record))
    if errors:
        yield _begin("the run", elapsed)
        what = f"{outcome.not_placed} calls were not placed, because the run was stopped"
        yield f'<error type="stopped" message={_attribute(what)}/>'
        yield "</testcase>"
    yield "</testsuite>"
    yield "</testsuites>"


def _case(call: dict[str, Any]) -> Iterator[str]:
    yield _begin(f"{call['number']} {call['uri']}", call["elapsed"])
    verdict = call["verdict"]
    if not call["passed"]:
        kind = "not_placed" if verdict is None else verdict["judgement"]
        message = call["problem"] or call["reason"]
        text = "\n".join(filter(None, (message, call["remedy"], _ended(call))))
        yield (
            f"<failure type={_attribute(kind)} message={_attribute(message)}>"
            f"{escape(_clean(text))}</failure>"
        )
    if verdict is not None:
        yield f"<system-out>{escape(_clean(_said(call, verdict)))}</system-out>"
    yield "</testcase>"


def _begin(name: str, seconds: float) -> str:
    return f'<testcase classname="sessioncore.call" name={_attribute(name)} time="{seconds:.3f}">'


def _ended(call: dict[str, Any]) -> str | None:
    return None if call["reason"] is None else f"Ended: {call['reason']}"


def _said(call: dict[str, Any], verdict: dict[str, Any]) -> str:
    """What is known about a call, in a few lines."""
    lines = [
        f"Session {call['session']}, Call-ID {call['call_id']}",
        f"{verdict['judgement']}, {call['duration']} s",
        *(
            f"{way}: {verdict[way]['proof']}: {verdict[way]['text']}"
            for way in ("receiving", "sending")
        ),
        *(f"{cause['name']}: {cause['text']}" for cause in verdict["causes"]),
    ]
    return "\n".join(lines)


def _attribute(text: str) -> str:
    return quoteattr(_clean(text))


def _clean(text: str) -> str:
    """``text`` with everything escaped that XML cannot contain."""
    return _NOT_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
