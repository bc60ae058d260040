"""What the counters say about silence."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

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
