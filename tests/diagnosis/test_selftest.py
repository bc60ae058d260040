"""The self-test with both of its processes on the in-memory network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.diagnosis import selftest as module
from sessioncore.diagnosis.cases import Case
from sessioncore.diagnosis.selftest import Result, Selftest, own_addresses, table
from sessioncore.errors import ConfigurationError
from sessioncore.testing.network import FakeNetwork
from tests.diagnosis.inmemory import Processes


class SelftestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.spoilt: Any = lambda record: record
        self.seen: list[tuple[str, str, str]] = []

    def begin(self, *cases: Case, **given: Any) -> Deferred[list[Result]]:
        # The caller is the first process that is spawned, on another host than the callee.
        self.network = FakeNetwork(seed=3)
        self.processes = Processes(self.network, lambda record: self.spoilt(record))
        self.selftest = Selftest(
            self.processes,
            cases,
            self.folder,
            lambda role, case, record: self.seen.append((role, case.name, record["event"])),
            **given,
        )
        return Deferred.fromCoroutine(self.selftest.run())

    def run_all(self, *cases: Case, seconds: float = 8.0, **given: Any) -> list[Result]:
        running = self.begin(*cases, **given)
        self.network.advance(seconds)
        return self.successResultOf(running)

    def case(self, name: str = "PCMU", **given: Any) -> Case:
        return Case(name, host="0.0.0.0", **{"seconds": 1.5, **given})

    @property
    def made(self) -> int:
        """How many calls the callee was to take."""
        return len(self.processes.spawned[1].orders)

    def test_heard(self) -> None:
        (result,) = self.run_all(self.case())
        self.assertTrue(result.good, result.faults)
        self.assertEqual(result.judgements, {"UAC": "two_way", "UAS": "two_way"})
        self.assertEqual([each.role for each in result.hearings], ["UAC", "UAS"])
        self.assertIn("packets arrived;", result.verdicts["UAS"])
        self.assertIn(("UAS", "PCMU", "IncomingCall"), self.seen)
        self.assertTrue(all(process.ended for process in self.processes.spawned))

    def test_a_few_at_a_time(self) -> None:
        cases = [self.case(f"call {number}") for number in range(6)]
        running = self.begin(*cases)
        self.network.advance(1.0)
        self.assertEqual(self.made, module.AT_ONCE)
        self.network.advance(6.0)
        results = self.successResultOf(running)
        self.assertEqual([result.case for result in results], cases)
        self.assertTrue(all(result.good for result in results))

    def test_early_media_and_hold_are_checked(self) -> None:
        early = self.case("early media", early=True, rings=1.0)
        hold = self.case("hold", holds=1.0, seconds=4.0)
        for result in self.run_all(early, hold):
            self.assertTrue(result.good, result.faults)
        self.spoilt = self.without("EarlyMediaStarted", "CallHeld")
        results = self.run_all(early, hold)
        self.assertEqual(
            [result.faults for result in results],
            [("UAC: no early media",), ("UAS: was not held",)],
        )

    @staticmethod
    def without(*names: str) -> Any:
        return lambda record: None if record.get("event") in names else record

    def verdict(
        self, role: str, times: int = 10, evidence: dict[str, Any] | None = None, **changed: Any
    ) -> Any:
        """Spoils the verdict of one side, so many times."""
        left = [times]
        address = {"UAC": "192.0.2.1", "UAS": "192.0.2.2"}[role]

        def spoil(record: dict[str, Any]) -> Any:
            if "over" in record and left[0]:
                verdict = record["verdict"]
                if verdict["evidence"]["local"][0] == address:
                    left[0] -= 1
                    verdict["evidence"].update(evidence or {})
                    verdict.update(changed)
            return record

        return spoil

    def test_a_verdict_that_is_not_two_way(self) -> None:
        self.spoilt = self.verdict("UAC", judgement="unconfirmed", causes=[])
        (result,) = self.run_all(self.case())
        self.assertEqual(result.faults, ("UAC: unconfirmed",))
        self.assertFalse(result.starved)

    def test_the_wrong_codec_or_packet_length(self) -> None:
        self.spoilt = self.verdict("UAS", evidence={"codec": "PCMA/8000", "ptime": 0.04})
        (result,) = self.run_all(self.case())
        self.assertEqual(
            result.faults,
            (
                "UAS: PCMA/8000 was agreed on, not PCMU",
                "UAS: packets of 40 ms were agreed on, not of 20",
            ),
        )

    def starved(self, times: int) -> Any:
        causes = [{"text": "this process did not run for 3.0 s"}]
        return self.verdict("UAS", times, {"stalled_for": 3.0}, judgement="rx_loss", causes=causes)

    def test_a_machine_that_is_too_busy_is_given_another_try(self) -> None:
        self.spoilt = self.starved(1)
        (result,) = self.run_all(self.case())
        self.assertTrue(result.good, result.faults)
        self.assertEqual(self.made, 2)

    def test_but_not_for_ever(self) -> None:
        self.spoilt = self.starved(10)
        (result,) = self.run_all(self.case(), seconds=10.0)
        self.assertEqual(self.made, module.TRIES)
        self.assertTrue(result.starved)
        self.assertEqual(result.faults, ("UAS: this process did not run for 3.0 s",))
        self.assertEqual(result.as_dict()["stalled"], 3.0)
        self.run_all(self.case(), tries=1)
        self.assertEqual(self.made, 1)

    def test_a_process_that_ends(self) -> None:
        running = self.begin(self.case(), self.case("PCMA"))
        self.network.advance(1.0)
        self.processes.spawned[1].die(b"Traceback\nModuleNotFoundError: No module named 'x'\n")
        self.network.advance(1.0)
        for result in self.successResultOf(running):
            self.assertIn(
                "UAS: its process ended: ModuleNotFoundError: No module named 'x'", result.faults
            )
        self.assertTrue(self.processes.spawned[0].ended)

    def test_what_goes_wrong_on_one_side(self) -> None:
        (result,) = self.run_all(evolve(self.case(), host="203.0.113.1"))
        self.assertRegex(result.faults[1], "^UAS: .*203.0.113.1")

    def test_a_call_that_does_not_end(self) -> None:
        self.spoilt = lambda record: None if "over" in record else record
        (result,) = self.run_all(self.case(), seconds=module.PATIENCE + 6)
        self.assertEqual(
            result.faults,
            (
                "UAC: it did not come to its end in time",
                "UAS: it did not come to its end in time",
            ),
        )

    def test_a_recording_that_is_missing(self) -> None:
        (self.folder / "PCMU-0.0.0.0.uac.wav").mkdir()
        (result,) = self.run_all(self.case())
        self.assertEqual([each.role for each in result.hearings], ["UAS"])
        self.assertIn("PCMU-0.0.0.0.uac.wav", result.faults[0])

    def test_stopping(self) -> None:
        running = self.begin(*(self.case(f"call {number}") for number in range(6)))
        self.network.advance(1.0)
        self.selftest.stop()
        results = self.successResultOf(running)
        self.assertEqual(len(results), 6)
        self.assertFalse(any(result.good for result in results))
        self.assertEqual(self.made, module.AT_ONCE)
        self.assertTrue(all(process.ended for process in self.processes.spawned))

    def test_no_process(self) -> None:
        def refuse(*_given: Any, **_more: Any) -> None:
            raise OSError("no")

        self.patch(Processes, "spawnProcess", refuse)
        self.failureResultOf(self.begin(self.case()), ConfigurationError)


class AddressTests(SynchronousTestCase):
    def test_loopback_first_and_what_has_a_route(self) -> None:
        def address_for(peer: str) -> str:
            if ":" in peer:
                raise OSError("no route")
            return "198.51.100.7"

        self.patch(module, "local_address_for", address_for)
        self.assertEqual(own_addresses(), ["127.0.0.1", "198.51.100.7"])

    def test_addresses_that_are_of_no_use(self) -> None:
        addresses = {True: "fe80::1%eth0", False: "127.0.0.1"}
        self.patch(module, "local_address_for", lambda peer: addresses[":" in peer])
        self.assertEqual(own_addresses(), ["127.0.0.1"])


class TableTests(SynchronousTestCase):
    def test_a_case_without_results(self) -> None:
        result = Result(Case("PCMU"), faults=("x",))
        self.assertEqual(
            table([result]).splitlines()[1].split(),
            ["PCMU", "127.0.0.1", "-", "-", "-,", "-", "FAILED"],
        )
