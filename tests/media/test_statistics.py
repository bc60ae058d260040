"""What the counters say about silence."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.statistics import StreamStatistics
from tests.media.fakes import Bench


class CounterTests(SynchronousTestCase):
    def test_each_counter_is_that_of_its_column(self) -> None:
        bench = Bench()
        bench.open()
        stream = bench.open()
        names = {"unexpected": "unexpected_payload_type"}
        plain = [
            "packets_sent",
            "octets_sent",
            "send_errors",
            "packets_received",
            "octets_received",
            "duplicates",
            "invalid",
            "unexpected",
            "collisions",
            "late",
            "overflow",
            "inserted",
            "dropped",
        ]
        for value, name in enumerate(plain, 1):
            getattr(bench.plane.bank, name)[stream.row] = value
        bank, row = bench.plane.bank, stream.row
        bank.jitter[row], bank.stalled[row] = 12.0, True
        bank.former_expected[row], bank.remote_ssrc[row] = 1000, 5
        bank.first_sequence[row], bank.highest[row] = 65_000, 65_099
        statistics = stream.statistics
        for value, name in enumerate(plain, 1):
            self.assertEqual(getattr(statistics, names.get(name, name)), value, name)
        self.assertEqual((statistics.expected, statistics.lost), (1100, 1100 - 4))
        self.assertEqual((statistics.jitter_ms, statistics.stalled), (1.5, True))

    def test_silence_is_judged_by_the_same_counters(self) -> None:
        stream = Bench().open()
        bank, row = stream._plane.bank, stream.row
        for name in ("packets_received", "invalid", "strangers", "unexpected", "refused"):
            self.assertEqual(stream.why_silent(), stream.statistics.why_silent)
            if name in ("strangers", "refused"):
                setattr(stream, name, 3)
            else:
                getattr(bank, name)[row] = 3
            self.assertEqual(stream.why_silent(), stream.statistics.why_silent, name)
        self.assertIn("nobody listens", stream.why_silent())


class WhySilentTests(SynchronousTestCase):
    def why(self, **counted: Any) -> str:
        nothing: StreamStatistics = Bench().open().statistics
        return evolve(nothing, remote=("192.0.2.7", 4000), **counted).why_silent

    def test_nothing_at_all(self) -> None:
        self.assertEqual(self.why(), "nothing has come from 192.0.2.7:4000")

    def test_stopped(self) -> None:
        self.assertEqual(
            self.why(packets_received=9, stalled=True), "192.0.2.7:4000 has stopped sending"
        )
        self.assertEqual(self.why(stalled=True), "nothing has come from 192.0.2.7:4000")

    def test_a_peer_that_has_not_stopped(self) -> None:
        self.assertEqual(self.why(packets_received=9), "9 packets came from 192.0.2.7:4000")
        self.assertEqual(self.why(packets_received=1), "1 packet came from 192.0.2.7:4000")

    def test_too_little(self) -> None:
        bench = Bench()
        stream = bench.call()
        bank, row = bench.plane.bank, stream.row
        bank.packets_received[row] = 41
        text = "only 41 of 45 packets came from 198.51.100.7:4000"
        self.assertEqual(stream.why_silent(45), text)
        bank.stalled[row] = True
        self.assertEqual(stream.why_silent(45), "198.51.100.7:4000 has stopped sending")
        bank.stalled[row] = False
        stream.close(bench.now)
        self.assertEqual(stream.why_silent(45), text)

    def test_one(self) -> None:
        text = "1 packet came from elsewhere than 192.0.2.7:4000 and was not heard"
        self.assertEqual(self.why(strangers=1), text)
        text = "1 packet came in formats that were not agreed on"
        self.assertEqual(self.why(unexpected_payload_type=1), text)
        self.assertEqual(self.why(invalid=1), "1 datagram came that is no RTP")

    def test_what_came_but_was_not_heard(self) -> None:
        self.assertIn("7 packets came from elsewhere", self.why(strangers=7))
        self.assertIn("formats that were not agreed on", self.why(unexpected_payload_type=7))
        self.assertIn("are no RTP", self.why(invalid=7))

    def test_a_closed_port_comes_before_all_else(self) -> None:
        text = self.why(refused=1, strangers=7, invalid=7)
        self.assertEqual(text, "nobody listens at 192.0.2.7:4000 (ICMP port unreachable)")

    def test_without_a_remote(self) -> None:
        nothing: StreamStatistics = Bench().open().statistics
        self.assertEqual(evolve(nothing, remote=None).why_silent, "nothing has come from the peer")
