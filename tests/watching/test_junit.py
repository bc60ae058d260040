"""JUnit XML: what is in it, and that it is XML whatever peers say."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.verdict import Evidence, judge
from sessioncore.watching.junit import junit_xml
from sessioncore.watching.outcome import Outcome

NOT_HEARD = judge(
    Evidence(answered=True, over=True, agreed_for=4.0, receives=True, sends=True, sent=200)
).as_dict()


def call(**given: Any) -> str:
    """A record of a call."""
    return json.dumps(
        {
            "number": 1,
            "uri": "sip:b@192.0.2.7",
            "session": "1",
            "call_id": "id-1",
            "passed": True,
            "answered": True,
            "elapsed": 2.25,
            "duration": 2.0,
            "reason": "local: hung up",
            "problem": None,
            "remedy": None,
            "verdict": NOT_HEARD,
            **given,
        }
    )


def suites(*calls: str, outcome: Outcome | None = None, **totals: Any) -> ElementTree.Element:
    """The document as an XML parser reads it."""
    outcome = outcome or Outcome(len(calls), len(calls))
    lines = junit_xml(calls, outcome, totals, "2026-11-30T09:08:07.123+00:00", 3.5)
    return ElementTree.fromstring("\n".join(lines).encode())


class JUnitTests(SynchronousTestCase):
    def test_counts(self) -> None:
        root = suites(call(), call(number=2, passed=False, problem="no"), outcome=Outcome(2, 1))
        (suite,) = root
        for element in (root, suite):
            self.assertEqual(
                [element.get(name) for name in ("tests", "failures", "errors", "skipped", "time")],
                ["2", "1", "0", "0", "3.500"],
            )
        self.assertEqual(suite.get("timestamp"), "2026-11-30T09:08:07")
        cases = suite.findall("testcase")
        self.assertEqual(
            [case.get("name") for case in cases], [f"{n} sip:b@192.0.2.7" for n in (1, 2)]
        )
        self.assertEqual([case.get("time") for case in cases], ["2.250"] * 2)
        self.assertEqual({case.get("classname") for case in cases}, {"sessioncore.call"})

    def test_a_failure(self) -> None:
        root = suites(call(passed=False, problem="no_rx, nothing comes", remedy="Look there."))
        failure = root.find(".//failure")
        assert failure is not None
        self.assertEqual(failure.get("message"), "no_rx, nothing comes")
        self.assertEqual(failure.get("type"), "no_rx")
        self.assertEqual(failure.text, "no_rx, nothing comes\nLook there.\nEnded: local: hung up")

    def test_a_good_call_has_no_failure_but_says_what_is_known(self) -> None:
        root = suites(call())
        self.assertIsNone(root.find(".//failure"))
        said = root.findtext(".//system-out") or ""
        self.assertIn("Session 1, Call-ID id-1", said)
        self.assertIn("receiving: contradicted: no packet in 4.0 s", said)

    def test_a_call_that_was_never_placed(self) -> None:
        root = suites(call(passed=False, problem="too many", verdict=None, reason=None))
        failure = root.find(".//failure")
        assert failure is not None
        self.assertEqual((failure.get("type"), failure.text), ("not_placed", "too many"))
        self.assertIsNone(root.find(".//system-out"))

    def test_a_stopped_run(self) -> None:
        root = suites(call(), outcome=Outcome(1, 1, not_placed=44))
        self.assertEqual((root.get("tests"), root.get("errors")), ("2", "1"))
        error = root.find(".//testcase[@name='the run']/error")
        assert error is not None
        self.assertIn("44 calls were not placed", error.get("message") or "")

    def test_properties(self) -> None:
        root = suites(call(), setup_ms={"p50": 1.5}, loss=None, program="x/1")
        found = {each.get("name"): each.get("value") for each in root.iter("property")}
        self.assertEqual(found, {"setup_ms": '{"p50": 1.5}', "program": "x/1"})

    def test_what_peers_say_stays_text(self) -> None:
        evil = "</failure><x a='\"'>&amp;]]>\x00\x1b[2J\udcff\ufffe\U0001f600\n"
        root = suites(call(passed=False, uri=evil, problem=evil, remedy=evil, reason=evil))
        failure = root.find(".//failure")
        assert failure is not None
        shown = "</failure><x a='\"'>&amp;]]>\\u0000\\u001b[2J\\udcff\\ufffe\U0001f600\n"
        self.assertEqual(failure.get("message"), shown)
        self.assertEqual(len(list(root.iter("testcase"))), 1)
