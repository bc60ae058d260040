"""From how far away addresses can be reached."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.reach import reach


class ReachTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        for host, far in (
            ("0.0.0.0", 0),
            ("::", 0),
            ("127.0.0.1", 1),
            ("127.255.255.255", 1),
            ("128.0.0.0", 3),
            ("::1", 1),
            ("10.0.0.1", 2),
            ("172.15.255.255", 3),
            ("172.16.0.0", 2),
            ("172.31.255.255", 2),
            ("172.32.0.0", 3),
            ("192.168.255.255", 2),
            ("192.169.0.0", 3),
            ("100.63.255.255", 3),
            ("100.64.0.0", 2),
            ("100.127.255.255", 2),
            ("100.128.0.0", 3),
            ("169.254.3.4", 2),
            ("192.0.2.1", 3),
            ("fd00::1", 2),
            ("fe80::1", 2),
            ("2001:db8::1", 3),
            ("10.0.0", 3),
            ("10.0.0.1.example.com", 3),
            ("a..b", 3),
            ("", 3),
        ):
            with self.subTest(host):
                self.assertEqual(reach(host), far)
                self.assertEqual(reach(host.encode()), far)
        self.assertEqual(reach(b"\xff"), 3)
