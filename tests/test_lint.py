from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining.lint import CALL_RULES
from sessioncore.lint import LintRule, Severity, Values, lint, printable, worst
from sessioncore.sdp.lint import DESCRIPTION_RULES
from sessioncore.sdp.pair_lint import CHANGE_RULES, EXCHANGE_RULES
from sessioncore.sip.lint import MESSAGE_RULES

TABLES = (DESCRIPTION_RULES, EXCHANGE_RULES, CHANGE_RULES, MESSAGE_RULES, CALL_RULES)


def rule(name: str, severity: Severity, *values: Values) -> LintRule[None]:
    return LintRule(name, severity, "RFC 1", "{what} here", "mend {what}", lambda _: values)


class LintTests(SynchronousTestCase):
    def test_findings(self) -> None:
        found = lint(
            (
                rule("one", Severity.NOTE, {"what": b"a\x07", "where": "m-line 1"}),
                rule("two", Severity.ERROR, {"what": 5}),
                rule("three", Severity.WARNING),
            ),
            None,
        )
        self.assertEqual(
            [str(each) for each in found],
            ["error two: 5 here (RFC 1)", "note one: m-line 1: a\\x07 here (RFC 1)"],
        )
        self.assertEqual(found[1].remedy, "mend a\\x07")
        self.assertEqual(
            found[0].as_dict(),
            {"name": "two", "severity": "error", "section": "RFC 1", "where": "",
             "text": "5 here", "remedy": "mend 5"},
        )  # fmt: skip
        self.assertIs(worst(found), Severity.ERROR)
        self.assertIsNone(worst(()))

    def test_one_rule_says_only_so_much(self) -> None:
        many = rule("many", Severity.NOTE, *({"what": each} for each in range(100)))
        self.assertEqual(len(lint((many,), None)), 8)

    def test_printable(self) -> None:
        for value, text in (
            (b"caf\xc3\xa9 \xff\r\n", "café \\xff\\r\\n"),
            ("\x1b[31m\u202e", "\\x1b[31m\\u202e"),
            ("a" * 500, "a" * 120),
            (7, 7),
            (None, None),
        ):
            self.assertEqual(printable(value), text)


class TableTests(SynchronousTestCase):
    def test_names_are_unique(self) -> None:
        names = [each.name for table in TABLES for each in table]
        self.assertEqual(len(names), len(set(names)))

    def test_rows_are_whole(self) -> None:
        for each in (row for table in TABLES for row in table):
            self.assertRegex(each.name, r"^[a-z]+(-[a-z]+)*$")
            self.assertRegex(each.section, r"^RFC \d+( section \d+(\.\d+)*)?$")
            self.assertTrue(each.remedy.endswith("."), each.name)
            self.assertFalse(each.text.endswith("."), each.name)
