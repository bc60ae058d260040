"""The health of the process: numbers since the last look."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard.health import Health
from sessioncore.media.sources import Tone
from sessioncore.testing.pair import LegPair
from sessioncore.vocabulary import MILLISECOND, SECOND


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = LegPair(seed=6, rtp_ports=(40000, 40019), max_calls=7)
        self.addCleanup(self.pair.close)
        self.cpu = 5 * SECOND
        self.health = Health(self.pair.callee, lambda: self.cpu)

    def look(self) -> dict[str, object]:
        return self.health.look(self.pair.network.now)

    def test_calls_and_ports(self) -> None:
        self.pair.connect(source=Tone(), answer=lambda call: call.answer())
        self.pair.advance(1)
        now = self.look()
        self.assertEqual((now["calls"], now["max_calls"], now["answered"]), (1, 7, 1))
        self.assertEqual((now["ports"], now["ports_free"], now["trouble"]), (10, 9, None))
        self.pair.connect(answer=lambda call: call.reject(486))
        self.pair.advance(1)
        self.assertEqual(self.look()["failed"], 1)

    def test_cpu_since_the_last_look(self) -> None:
        for used, seconds, share in ((SECOND, 2, 0.5), (0, 1, 0.0), (SECOND // 10, 1, 0.1)):
            self.cpu += used
            self.pair.advance(seconds)
            self.assertEqual(self.look()["cpu"], share)

    def test_packets_per_second(self) -> None:
        self.pair.connect(source=Tone(), answer=lambda call: call.answer(source=Tone()))
        self.pair.advance(1)
        self.look()
        self.pair.advance(2)
        now = self.look()
        self.assertEqual((now["packets_in"], now["packets_out"]), (50, 50))

    def test_lateness_since_the_last_look(self) -> None:
        lateness = self.pair.callee.clockwork.lateness
        lateness.record(20 * MILLISECOND)
        self.pair.advance(1)
        self.assertGreaterEqual(self.look()["late_ms"], 20)  # type: ignore[operator]
        lateness.record(2 * MILLISECOND)
        self.pair.advance(1)
        self.assertLess(self.look()["late_ms"], 3)  # type: ignore[operator]
        self.pair.advance(1)
        self.assertEqual(self.look()["late_ms"], 0)

    def test_trouble(self) -> None:
        self.pair.callee.drain()
        self.assertIn("draining", str(self.look()["trouble"]))
