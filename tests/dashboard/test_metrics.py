"""Metrics: what is counted, how it is shown, and that no peer can add to it."""

from __future__ import annotations

from typing import Any
from unittest import mock

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard import metrics as module
from sessioncore.dashboard.gate import Gate
from sessioncore.dashboard.metrics import Metrics
from sessioncore.dashboard.probes import MetricsPage
from sessioncore.dashboard.site import WebSite
from sessioncore.errors import ConfigurationError
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.testing.pair import LegPair
from sessioncore.verdict import Judgement
from tests.dashboard.web import get


class MetricsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = LegPair(seed=3)
        self.metrics = Metrics(self.pair.callee)
        self.addCleanup(self.pair.close)

    def call(self, seconds: float = 2.0, answer: Any = None) -> Call:
        answer = answer or (lambda call: call.answer(source=Tone()))
        call = self.pair.connect(source=Tone(), answer=answer)
        self.pair.advance(seconds)
        return call

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        text = self.metrics.text()[0].decode("utf-8")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples()[f"sessioncore_{name}", frozenset(labels.items())]


class MetricsTests(MetricsTestCase):
    def test_the_counters_of_the_manager(self) -> None:
        self.call(0.5)
        self.assertEqual(self.value("calls_up"), 1)
        self.assertEqual(self.value("calls_incoming_total"), 1)
        self.assertEqual(self.value("calls_answered_total"), 1)
        self.assertEqual(self.value("sip_requests_total"), 2)
        statistics = self.pair.callee.statistics()
        self.assertEqual(
            self.value("media_packets_received_total"), statistics.media["packets_received"]
        )
        self.assertEqual(self.value("rtp_ports_free"), statistics.rtp_ports_free)

    def test_judgement_at_the_end(self) -> None:
        call = self.call()
        self.assertEqual(self.value("calls_judged_total", role="UAS", judgement="two_way"), 0)
        call.hang_up()
        self.pair.advance(1)
        self.assertEqual(self.value("calls_judged_total", role="UAS", judgement="two_way"), 1)
        self.call(0.5, answer=lambda call: call.reject(486))
        self.assertEqual(self.value("calls_judged_total", role="UAS", judgement="not_answered"), 1)

    def test_set_up_time_and_duration(self) -> None:
        call = self.call(3, answer=lambda call: None)
        (leg,) = self.pair.legs
        leg.answer(source=Tone())
        self.pair.advance(7)
        call.hang_up()
        self.pair.advance(1)
        name = "call_setup_seconds"
        self.assertEqual(self.value(f"{name}_count", role="UAS"), 1)
        self.assertEqual(self.value(f"{name}_bucket", role="UAS", le="2.5"), 0)
        self.assertEqual(self.value(f"{name}_bucket", role="UAS", le="5.0"), 1)
        self.assertAlmostEqual(self.value(f"{name}_sum", role="UAS"), 3, places=1)
        self.assertAlmostEqual(self.value("call_duration_seconds_sum", role="UAS"), 7, places=1)
        self.assertEqual(self.value("call_duration_seconds_count", role="UAC"), 0)

    def test_both_roles(self) -> None:
        self.metrics = Metrics(self.pair.caller)
        self.call().hang_up()
        self.pair.advance(1)
        self.assertEqual(self.value("call_setup_seconds_count", role="UAC"), 1)
        self.assertEqual(self.value("calls_judged_total", role="UAC", judgement="two_way"), 1)

    def test_ticks(self) -> None:
        clockwork = self.pair.callee.clockwork
        clockwork.lateness.reset()
        for late in (0.2, 3, 30, 300):
            clockwork.lateness.record(round(late * 1e6))
        name = "tick_lateness_seconds"
        found = [self.value(f"{name}_bucket", le=le) for le in ("0.0005", "0.005", "0.04", "+Inf")]
        self.assertEqual(found, [1, 2, 3, 4])
        self.assertAlmostEqual(self.value(f"{name}_sum"), 0.3332)
        clockwork.missed = 7
        self.assertEqual(self.value("ticks_missed_total"), 7)

    def test_process_health(self) -> None:
        names = {name for name, _ in self.samples()}
        for name in (
            "cpu_seconds_total",
            "resident_memory_bytes",
            "open_fds",
            "start_time_seconds",
        ):
            self.assertIn(f"process_{name}", names)

    def test_draining(self) -> None:
        self.assertEqual(self.value("accepting"), 1)
        self.pair.callee.drain()
        self.assertEqual(self.value("accepting"), 0)

    def test_no_call_adds_a_series(self) -> None:
        before = set(self.samples())
        for user in ("alice", "bob", "carol"):
            self.pair.connect(user=user, answer=lambda call: call.reject(486))
            self.pair.advance(1)
        self.call().hang_up()
        self.pair.advance(1)
        after = self.samples()
        self.assertEqual(set(after), before)
        labels = {label for _, labels in after for label in labels}
        self.assertEqual(
            {name for name, _ in labels},
            {
                "role",
                "judgement",
                "le",
                "implementation",
                "major",
                "minor",
                "patchlevel",
                "version",
            },
        )
        judgements = {value for name, value in labels if name == "judgement"}
        self.assertEqual(judgements, {each.value for each in Judgement})

    def test_nothing_is_kept_of_calls_that_are_over(self) -> None:
        self.call().hang_up()
        self.call(0.5, answer=lambda call: call.reject(486))
        self.pair.advance(1)
        self.assertEqual((self.metrics._calls, self.metrics._answered), ({}, {}))

    def test_every_metric_says_what_it_is(self) -> None:
        for family in self.metrics.registry.collect():
            self.assertTrue(family.documentation, family.name)

    def test_closed(self) -> None:
        self.metrics.close()
        self.call().hang_up()
        self.pair.advance(1)
        self.assertEqual(self.value("calls_judged_total", role="UAS", judgement="two_way"), 0)

    def test_without_the_package(self) -> None:
        with (
            mock.patch.object(module, "_client", None),
            self.assertRaisesRegex(ConfigurationError, r'pip install "sessioncore\[metrics\]"'),
        ):
            Metrics(self.pair.callee)


class MetricsPageTests(MetricsTestCase):
    def test_formats(self) -> None:
        site = WebSite(Clock(), Gate(None), {"/metrics": MetricsPage(self.metrics)}, {})
        plain, better = "text/plain; version=0.0.4", "application/openmetrics-text"
        for accept, kind in {
            "": plain,
            f"{better};version=1.0.0;q=0.5,*/*;q=0.1": better,
            "text/plain;version=" + "9" * 5000 + ".x": plain,
            f"{better};version=x.y;escaping=\xff": better,
        }.items():
            response = get(site, "/metrics", headers={"Accept": accept} if accept else {})
            self.assertEqual(response.status, 200)
            self.assertTrue(response.header("Content-Type").startswith(kind), accept)
            self.assertIn("sessioncore_calls_up 0.0\n", response.text)
