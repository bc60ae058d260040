"""The report of a run: each call, and the sums."""

from __future__ import annotations

import json
from array import array
from typing import Any

from attrs import asdict
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.media.hearing import ExpectedTones, Listener
from sessioncore.testing.tones import sine
from sessioncore.vocabulary import EndedBy
from sessioncore.watching import report as module
from sessioncore.watching.outcome import CallLedger, Outcome
from sessioncore.watching.report import RunReport, percentiles
from tests.fakes import FakeManager


class PercentileTests(SynchronousTestCase):
    def test_nearest_rank(self) -> None:
        hundred = array("d", range(100, 0, -1))
        self.assertEqual(percentiles(hundred), {"p50": 50, "p95": 95, "p99": 99, "max": 100})
        self.assertEqual(
            percentiles(array("d", [7.12345])), dict.fromkeys(percentiles(hundred) or {}, 7.123)
        )
        self.assertEqual(
            percentiles(array("d", [1, 2, 3])), {"p50": 2, "p95": 3, "p99": 3, "max": 3}
        )

    def test_of_nothing(self) -> None:
        self.assertIsNone(percentiles(array("d")))


class ReportTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.manager = FakeManager()
        self.report = RunReport()
        self.ledger = CallLedger(self.report.event)
        self.manager.sinks += [self.ledger, self.report]

    def placed(self, uri: str = "sip:b@192.0.2.7", listener: Listener | None = None) -> Any:
        call = self.manager.new_call(uri)
        self.ledger.watch(call)
        self.report.watch(call, listener)
        if listener is not None:
            self.ledger.judge_by(call, listener)
        return call

    def run_call(self, *, rings: float | None = 0.1, early: bool = False, **known: Any) -> Any:
        call = self.placed()
        self.manager.tell(call, events.CallInitiated, call.remote_uri)
        if rings is not None:
            self.manager.clock.advance(rings)
            if early:
                self.manager.tell(call, events.EarlyMediaStarted)
            else:
                self.manager.tell(call, events.CallRinging, 180)
        self.manager.clock.advance(0.15)
        self.manager.tell(call, events.CallRinging, 180)
        self.manager.answered(call)
        self.manager.clock.advance(2)
        self.manager.count(call, 100, 100)
        self.manager.know(call, agreed_for=2.0, **known)
        self.manager.ended(call)
        return self.records()[-1]

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(record) for record in self.report.records]


class CallTests(ReportTestCase):
    def test_an_answered_call(self) -> None:
        record = self.run_call()
        verdict = record.pop("verdict")
        self.assertEqual(verdict["judgement"], "two_way")
        self.assertEqual(verdict["evidence"]["received"], 100)
        self.assertEqual(
            record,
            {
                "number": 1,
                "uri": "sip:b@192.0.2.7",
                "session": "1",
                "call_id": "id-1",
                "passed": True,
                "answered": True,
                "setup_ms": 250.0,
                "post_dial_delay_ms": 100.0,
                "elapsed": 2.25,
                "duration": 2.0,
                "reason": "local: hung up",
                "problem": None,
                "remedy": None,
                "heard": None,
            },
        )

    def test_early_media_counts_as_ringing(self) -> None:
        self.assertEqual(self.run_call(early=True)["post_dial_delay_ms"], 100.0)

    def test_a_call_that_was_not_answered(self) -> None:
        call = self.placed()
        self.manager.tell(call, events.CallInitiated, call.remote_uri)
        self.manager.clock.advance(3)
        self.manager.ended(call, events.CallFailed, EndedBy.REMOTE, "Busy Here")
        (record,) = self.records()
        self.assertEqual(
            (record["answered"], record["setup_ms"], record["post_dial_delay_ms"]),
            (False, None, None),
        )
        self.assertEqual((record["problem"], record["elapsed"]), ("remote: Busy Here", 3.0))

    def test_a_call_that_never_began(self) -> None:
        call = self.placed()
        self.manager.ended(call, events.CallFailed)
        self.assertEqual(self.records()[0]["elapsed"], 0.0)

    def test_a_call_that_could_not_be_placed(self) -> None:
        self.report.never_placed("sip:x@y", "too many calls")
        (record,) = self.records()
        self.assertEqual((record["session"], record["verdict"]), (None, None))
        self.assertEqual((record["uri"], record["problem"]), ("sip:x@y", "too many calls"))

    def test_numbers_are_those_of_placing(self) -> None:
        first, second = self.placed(), self.placed()
        self.report.never_placed("sip:x@y", "no")
        self.manager.ended(second, events.CallFailed)
        self.manager.ended(first, events.CallFailed)
        self.assertEqual([record["number"] for record in self.records()], [3, 2, 1])

    def test_what_was_heard(self) -> None:
        listener = Listener(ExpectedTones((1000.0,)))
        call = self.placed(listener=listener)
        self.manager.answered(call)
        listener.write(sine(440, 1.0))
        self.manager.count(call, 100, 100)
        self.manager.ended(call)
        self.assertEqual(
            self.records()[0]["heard"],
            {
                "expected": "1000 Hz",
                "share": 0.0,
                "windows": 50,
                "instead": {"440 Hz": 1.0},
                "as_expected": False,
            },
        )

    def test_other_calls_are_no_concern(self) -> None:
        self.manager.ended(self.manager.new_call())
        self.assertEqual(self.records(), [])

    def test_many_calls_go_to_a_file(self) -> None:
        self.patch(module, "_IN_MEMORY", 100)
        self.report = RunReport()
        for number in range(3):
            self.report.never_placed(f"sip:{number}@x", "no")
            self.assertEqual(len(self.records()), number + 1)
        self.report.close()


class TotalsTests(ReportTestCase):
    def test_sums(self) -> None:
        self.run_call(rings=0.1)
        self.run_call(rings=0.3, jitter=0.002, remote_lost=10)
        self.run_call(rings=0.5, received=50, rtp_ago=0.01, jitter=0.004)
        self.assertEqual(
            asdict(self.report.totals(self.ledger.outcome)),
            {
                "calls": 3,
                "passed": 1,
                "unconfirmed": 0,
                "failed": 2,
                "not_placed": 0,
                "setup_ms": {"p50": 450.0, "p95": 650.0, "p99": 650.0, "max": 650.0},
                "post_dial_delay_ms": {"p50": 300.0, "p95": 500.0, "p99": 500.0, "max": 500.0},
                "jitter_ms": {"p50": 2.0, "p95": 4.0, "p99": 4.0, "max": 4.0},
                "packets": {
                    "received": 250,
                    "due": 300,
                    "lost": 50,
                    "sent": 300,
                    "confirmed": 300,
                    "lost_at_the_peer": 10,
                },
                "loss": 0.166667,
                "loss_at_the_peer": 0.033333,
                "judgements": {"two_way": 2, "rx_loss": 1},
                "causes": {"network-loss-inbound": 1},
            },
        )

    def test_nothing(self) -> None:
        totals = self.report.totals(Outcome(not_placed=4))
        self.assertEqual((totals.loss, totals.setup_ms, totals.not_placed), (None, None, 4))
