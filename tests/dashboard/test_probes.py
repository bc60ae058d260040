"""Probes: does the process work, and would it take a call?"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard.gate import Gate
from sessioncore.dashboard.probes import HealthProbe, ReadyProbe, not_healthy, not_ready
from sessioncore.dashboard.site import WebSite
from sessioncore.media.sources import Tone
from sessioncore.testing.pair import LegPair
from tests.dashboard.web import get


class ProbeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = LegPair(seed=3, max_calls=2, rtp_ports=(40000, 40003))
        self.addCleanup(self.pair.close)
        self.manager = self.pair.callee
        pages = {"/healthz": HealthProbe(self.manager), "/readyz": ReadyProbe(self.manager)}
        self.site = WebSite(Clock(), Gate(None), {}, pages)

    def call(self) -> None:
        self.pair.connect(answer=lambda call: call.answer(source=Tone()))
        self.pair.advance(0.5)

    def test_all_is_well(self) -> None:
        self.call()
        for path in ("/healthz", "/readyz"):
            response = get(self.site, path)
            self.assertEqual((response.status, response.text), (200, "ok\n"))

    def test_draining(self) -> None:
        self.call()
        self.manager.drain()
        response = get(self.site, "/readyz")
        self.assertEqual(response.status, 503)
        self.assertIn("draining", response.text)
        self.assertIsNone(not_healthy(self.manager))

    def test_full(self) -> None:
        self.call()
        self.assertIsNone(not_ready(self.manager))
        self.call()
        self.assertEqual(not_ready(self.manager), "no RTP ports are free")

    def test_as_many_calls_as_allowed(self) -> None:
        self.pair.close()
        self.pair = LegPair(seed=3, max_calls=1)
        self.call()
        self.assertEqual(not_ready(self.pair.callee), "as many calls are up as allowed")

    def test_ticks_do_not_come(self) -> None:
        self.call()
        clock = self.pair.network.clock
        clock.rightNow += 0.9
        self.assertIsNone(not_healthy(self.manager))
        clock.rightNow += 0.3
        response = get(self.site, "/healthz")
        self.assertEqual((response.status, response.text[:18]), (503, "ticks do not come:"))

    def test_stopped(self) -> None:
        self.pair.close()
        self.assertEqual(not_healthy(self.manager), "the server does not run")
        self.assertIn("no new calls", not_ready(self.manager) or "")
