"""Fair shares of what is read while too many messages come."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.net.fair_share import BUDGET, HEAVY, LEAST, WINDOW, FairShare


class FairShareTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.shares = FairShare()
        self.now = WINDOW

    def window(self, **counts: int) -> dict[str, int]:
        """So many messages of each source in one window; returns how many were read."""
        self.now += WINDOW
        return {
            ip: sum(self.shares.admits(ip, self.now) for _ in range(count))
            for ip, count in counts.items()
        }

    def test_a_source_that_is_alone_has_no_limit(self) -> None:
        for _ in range(3):
            self.assertEqual(self.window(trunk=5000), {"trunk": 5000})
        self.assertEqual(self.shares.dropped, 0)

    def test_heavy_sources_share_the_budget_and_others_lose_nothing(self) -> None:
        self.window(flood=2000, another=2000, phone=3)
        self.assertFalse(self.shares.limits)
        seen = self.window(flood=2000, another=2000, phone=3, new=HEAVY)
        self.assertTrue(self.shares.limits)
        each = BUDGET // 2 // 2
        self.assertEqual(seen, {"flood": each, "another": each, "phone": 3, "new": HEAVY})
        self.assertEqual(self.shares.dropped, 4000 - 2 * each)

    def test_the_budget_shrinks_while_it_is_too_much_and_grows_again(self) -> None:
        read = [self.window(flood=2000, phone=1)["flood"] for _ in range(6)]
        self.assertEqual(read, [2000, BUDGET // 2, BUDGET // 4, LEAST, LEAST, LEAST])
        self.now += 5 * WINDOW
        self.assertEqual(self.window(flood=2000, phone=1)["flood"], 2 * LEAST)

    def test_many_heavy_sources_are_still_read(self) -> None:
        flood = {f"s{number}": 100 for number in range(200)}
        self.window(**flood)
        self.assertEqual(set(self.window(**flood).values()), {1})

    def test_it_is_over_with_the_window(self) -> None:
        self.window(flood=2000, phone=1)
        self.window(phone=1)
        self.assertEqual(self.window(flood=100, phone=1)["flood"], 100)

    def test_a_network_of_ipv6_is_one_source(self) -> None:
        """Otherwise a flood sends from more addresses than it could be limited by."""
        flood = {f"2001:db8::{number:x}": 5 for number in range(400)}
        others = {"2001:db8:0:1::1": HEAVY, "fe80::1%eth0": HEAVY, "192.0.2.1": HEAVY}
        self.window(**flood, **others)
        read = self.window(**flood, **others)
        self.assertEqual(sum(read[ip] for ip in flood), BUDGET // 2)
        self.assertEqual({ip: read[ip] for ip in others}, others)

    def test_ipv4_mapped_addresses_are_those_of_ipv4(self) -> None:
        self.window(**{"::ffff:192.0.2.1": 1000, "192.0.2.1": 1000, "::ffff:192.0.2.2": 1})
        mapped = {"::ffff:192.0.2.1": 20, "::ffff:c000:201": 20, "192.0.2.1": 20}
        self.assertEqual(sum(self.window(**mapped, phone=1).values()), BUDGET // 2 + 1)
