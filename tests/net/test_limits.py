"""The limit on open files is raised as far as it goes, and the rest is said."""

from __future__ import annotations

from unittest import SkipTest, mock

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.net import limits
from sessioncore.net.limits import DescriptorLimit, raise_descriptor_limit


class FakeResource:
    """The kernel's rules: only root raises the hard limit; soft is at most hard."""

    RLIMIT_NOFILE = 7

    def __init__(self, soft: int, hard: int, *, root: bool = False) -> None:
        self.limits = (soft, hard)
        self.root = root

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, new: tuple[int, int]) -> None:
        assert which == self.RLIMIT_NOFILE
        if new[0] > new[1] >= 0:
            raise ValueError("soft above hard")
        if not self.root and new[1] > self.limits[1] >= 0:
            raise ValueError("not allowed to raise maximum limit")
        self.limits = new


class LimitTests(SynchronousTestCase):
    def raised(self, fake: FakeResource, wanted: int) -> DescriptorLimit:
        with mock.patch.object(limits, "resource", fake):
            return raise_descriptor_limit(wanted)

    def test_within_the_hard_limit(self) -> None:
        fake = FakeResource(1024, 20_000)
        limit = self.raised(fake, 8_000)
        self.assertTrue(limit.enough)
        self.assertEqual(fake.limits, (8_000, 20_000))

    def test_never_lowered(self) -> None:
        fake = FakeResource(1024, 20_000)
        self.assertTrue(self.raised(fake, 100).enough)
        self.assertEqual(fake.limits, (1024, 20_000))

    def test_as_far_as_it_goes(self) -> None:
        fake = FakeResource(1024, 4096)
        limit = self.raised(fake, 8_000)
        self.assertFalse(limit.enough)
        self.assertEqual(fake.limits, (4096, 4096))
        self.assertIn("only 4096 open files are allowed, 8000 are needed", str(limit))
        self.assertIn("LimitNOFILE=8000", str(limit))

    def test_root_raises_the_hard_limit_too(self) -> None:
        fake = FakeResource(1024, 4096, root=True)
        self.assertTrue(self.raised(fake, 8_000).enough)
        self.assertEqual(fake.limits, (8_000, 8_000))

    def test_unlimited(self) -> None:
        fake = FakeResource(-1, -1)
        self.assertTrue(self.raised(fake, 1_000_000).enough)
        self.assertEqual(fake.limits, (-1, -1))
        fake = FakeResource(1024, -1)
        self.assertTrue(self.raised(fake, 8_000).enough)
        self.assertEqual(fake.limits[0], 8_000)

    def test_a_kernel_that_refuses(self) -> None:
        fake = FakeResource(1024, 4096)
        with mock.patch.object(fake, "setrlimit", side_effect=OSError(1, "no")):
            limit = self.raised(fake, 8_000)
        self.assertEqual((limit.soft, limit.enough), (1024, False))

    def test_here(self) -> None:
        if limits.resource is None:
            raise SkipTest("not Unix")
        self.assertTrue(raise_descriptor_limit(16).enough)
