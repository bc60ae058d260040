"""The table of ``sessioncore top``."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.watching.top import top_text

VERDICT = {
    "judgement": "two_way", "text": "Audio arrives in both directions.", "faulty": False,
    "cause": None, "remedy": None,
}  # fmt: skip
FAULT = {
    "judgement": "no_rx", "text": "Nothing arrives.", "faulty": True,
    "cause": "nothing comes from 192.0.2.1:4000", "remedy": "Look for a firewall.",
}  # fmt: skip


def call(**changes: Any) -> dict[str, Any]:
    return {
        "session": "s", "call_id": "c", "role": "UAS", "state": "good", "begun": 1000.0,
        "from": {"name": "", "uri": "sip:alice@a.example"},
        "to": {"name": "", "uri": "sip:bob@b.example"},
        "answered": 2.0, "ended": None, "reason": "", "media": {"codec": "PCMU/8000"},
        "verdict": VERDICT, "received": [50.0, 0.012, 3.4, -13.2],
        "sent": [50.0, None, None, -96.3], **changes,
    }  # fmt: skip


def snapshot(*calls: dict[str, Any], **changes: Any) -> dict[str, Any]:
    health = {
        "calls": 2, "max_calls": 2000, "cpu": 0.064, "late_ms": 1.25, "packets_in": 50,
        "packets_out": 100, "ports_free": 4998, "ports": 5000, "answered": 7, "failed": 1,
        "refused": 0, "trouble": None,
    }  # fmt: skip
    server = {"name": "sessioncore/1", "listens": ["192.0.2.2:5060"]}
    return {"t": 1065.5, "calls": list(calls), "more": 0, "server": server,
            "health": {**health, **changes}}  # fmt: skip


class TopTests(SynchronousTestCase):
    def lines(self, *calls: dict[str, Any], **given: Any) -> list[str]:
        return top_text(snapshot(*calls), 200, **given).splitlines()

    def test_the_server(self) -> None:
        self.assertEqual(
            self.lines()[:3],
            [
                "sessioncore/1  192.0.2.2:5060",
                "calls 2 of 2000  CPU 6 %  ticks late by 1.2 ms  RTP in 50/s, out 100/s"
                "  ports free 4998 of 5000",
                "answered 7  failed 1  refused 0",
            ],
        )
        text = top_text(snapshot(trouble="draining or stopping"))
        self.assertIn("! draining or stopping\n", text)

    def test_a_call(self) -> None:
        line = self.lines(call())[-1]
        self.assertEqual(
            line.split(),
            [
                *("01:03", "two", "way", "PCMU", "1.2", "%", "3", "ms", "-13", "dB"),
                *("-", "-", "-96", "dB", "sip:alice@a.example", "->", "sip:bob@b.example"),
            ],
        )

    def test_columns_are_below_their_titles(self) -> None:
        for width, columns in (
            (200, ("HEARD: LOSS", "SENT: LOSS")),
            (80, ("HEARD", "SENT")),
        ):
            there = call(sent=[50.0, 0.25, None, None])
            title, line = top_text(snapshot(there), width).splitlines()[-2:]
            values = ("01:03", "1.2 %", "25.0 %", "sip:alice")
            for name, value in zip(("TIME", *columns, "CALL"), values, strict=True):
                at, found = title.index(name), line.index(value)
                aligned = found == at or found + len(value) == at + len(name)
                self.assertTrue(aligned, f"{title}\n{line}")

    def test_times(self) -> None:
        for changes, time in (
            ({"answered": None}, "01:05"),
            ({"answered": 1.0, "ended": 3.5}, "00:02"),
            ({"begun": 1065.5 - 7325, "answered": 0.0}, "2:02:05"),
        ):
            self.assertTrue(self.lines(call(**changes))[-1].lstrip().startswith(time), changes)

    def test_a_fault_says_what_to_do(self) -> None:
        *_, line, cause, remedy = self.lines(call(state="fault", verdict=FAULT))
        self.assertIn("no rx", line)
        self.assertEqual(cause.strip(), "nothing comes from 192.0.2.1:4000")
        self.assertEqual(remedy.strip(), "=> Look for a firewall.")

    def test_a_call_without_anything(self) -> None:
        bare = call(state="failed", verdict=None, media=None, answered=None, reason="486 Busy")
        del bare["received"], bare["sent"]
        *_, line, reason = self.lines(bare)
        self.assertIn("failed", line)
        self.assertEqual(reason.strip(), "486 Busy")

    def test_order(self) -> None:
        calls = [
            call(session="old", begun=1.0, to={"name": "", "uri": "sip:old@h"}),
            call(state="ended", ended=9.0, to={"name": "", "uri": "sip:over@h"}),
            call(begun=9.0, to={"name": "", "uri": "sip:new@h"}),
            call(state="fault", begun=2.0, to={"name": "", "uri": "sip:bad@h"}),
        ]
        found = re.findall(r"-> sip:(\w+)@h", top_text(snapshot(*calls), 200))
        self.assertEqual(found, ["bad", "new", "old", "over"])

    def test_it_fits_the_terminal(self) -> None:
        calls = [call(begun=float(number)) for number in range(50)]
        for width, height in ((80, 24), (40, 10), (120, 8)):
            text = top_text(snapshot(*calls), width, height, colours=True)
            lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
            self.assertLessEqual(len(lines), height)
            self.assertLessEqual(max(map(len, lines)), width)
            self.assertIn(f"and {50 - (len(lines) - 6)} more", lines[-1])

    def test_colours(self) -> None:
        text = top_text(snapshot(call(state="fault", verdict=FAULT)), 60, colours=True)
        self.assertIn("\x1b[31;1m", text)
        self.assertEqual(text.count("\x1b["), 2)
        self.assertNotIn("\x1b", top_text(snapshot(call(state="fault", verdict=FAULT))))

    def test_what_a_peer_chose_is_safe_for_a_terminal(self) -> None:
        evil = "\x1b]0;owned\x07\u202e\n"
        party = {"name": f"<b>{evil}", "uri": f"sip:{evil}@h"}
        bad = call(
            state="fault", verdict={**FAULT, "cause": evil, "remedy": evil, "judgement": evil}
        )
        bad |= {"from": party, "to": party, "media": {"codec": evil}, "reason": evil}
        text = top_text(
            {**snapshot(bad, bad, trouble=evil), "server": {"name": evil, "listens": [evil]}}
        )
        self.assertTrue(text.replace("\n", "").isascii())
        self.assertTrue(text.replace("\n", "").isprintable())
        self.assertEqual(text.count("\n"), 12)
