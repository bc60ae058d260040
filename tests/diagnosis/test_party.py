"""One side of the self-test, on the in-memory network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.diagnosis.cases import Case, hearing_of
from sessioncore.diagnosis.party import Party
from sessioncore.testing.network import FakeNetwork

CASE = Case("PCMU", "192.0.2.2", seconds=2.0)


class PartyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.network = FakeNetwork(seed=2)
        self.told: dict[str, list[dict[str, Any]]] = {"UAC": [], "UAS": []}

    def play(self, case: Case, seconds: float = 6.0) -> None:
        callee = Party(self.network.host("192.0.2.2"), self.told["UAS"].append)
        answered = callee.take(case.order("UAS", self.folder))
        to = self.told["UAS"][0]["listening"]
        caller = Party(self.network.host("192.0.2.1"), self.told["UAC"].append)
        order = evolve(case, host="192.0.2.1").order("UAC", self.folder)
        record = str(self.folder / f"{case.label}.uac.wav")
        placed = caller.take({**order, "case": case.label, "to": to, "record": record})
        self.network.advance(seconds)
        self.successResultOf(answered)
        self.successResultOf(placed)

    def names(self, role: str) -> list[str]:
        return [record["event"] for record in self.told[role] if "event" in record]

    def assert_heard(self, case: Case) -> None:
        for role in ("UAC", "UAS"):
            end = self.told[role][-1]
            self.assertEqual(end["case"], case.label)
            self.assertEqual(end["verdict"]["judgement"], "two_way", end)
            path = self.folder / f"{case.label}.{role.lower()}.wav"
            self.assertEqual(hearing_of(case, role, path).faults, ())

    def test_a_call(self) -> None:
        self.play(CASE)
        self.assert_heard(CASE)
        self.assertEqual(self.told["UAC"][-1]["over"], "local: hung up (Q.850 16)")
        self.assertIn("MediaActive", self.names("UAS"))

    def test_codec_and_packet_length(self) -> None:
        case = evolve(CASE, codec="PCMA", ptime=40)
        self.play(case)
        self.assert_heard(case)
        evidence = self.told["UAS"][-1]["verdict"]["evidence"]
        self.assertEqual((evidence["codec"], evidence["ptime"]), ("PCMA/8000", 0.04))

    def test_early_media(self) -> None:
        case = evolve(CASE, rings=1.0, early=True)
        self.play(case)
        self.assert_heard(case)
        names = self.names("UAC")
        self.assertLess(names.index("EarlyMediaStarted"), names.index("CallAnswered"))

    def test_hold(self) -> None:
        case = evolve(CASE, holds=1.0, seconds=4.0)
        self.play(case, 8.0)
        self.assert_heard(case)
        self.assertIn("CallHeld", self.names("UAS"))
        self.assertIn("CallResumed", self.names("UAS"))

    def test_late_offer(self) -> None:
        case = evolve(CASE, late_offer=True)
        self.play(case)
        self.assert_heard(case)
        self.assertNotIn(b"m=audio", self.network.sent(b"INVITE")[0].data)

    def test_what_fails_is_told(self) -> None:
        party = Party(self.network.host("192.0.2.2"), self.told["UAS"].append)
        party.take(evolve(CASE, host="203.0.113.1").order("UAS", self.folder))
        (record,) = self.told["UAS"]
        self.assertEqual(record["case"], "PCMU-203.0.113.1")
        self.assertIn("203.0.113.1", record["error"])

    def test_a_call_that_is_not_answered_is_told(self) -> None:
        caller = Party(self.network.host("192.0.2.1"), self.told["UAC"].append)
        order = evolve(CASE, host="192.0.2.1").order("UAC", self.folder)
        caller.take({**order, "to": ["192.0.2.9", 5060]})
        self.network.advance(40)
        self.assertIn("error", self.told["UAC"][-1])
