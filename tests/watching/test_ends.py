"""The beginning and the end of a list, and what is dropped between."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.watching.ends import Ends


def filled(most: int, room: int, sizes: list[int]) -> Ends[int]:
    ends: Ends[int] = Ends(most, room)
    for item, size in enumerate(sizes):
        ends.add(item, size)
    return ends


class EndsTests(SynchronousTestCase):
    def test_few_are_all_kept(self) -> None:
        ends = filled(4, 100, [10, 10, 10, 10])
        self.assertEqual((list(ends), len(ends), ends.dropped, ends.size), ([0, 1, 2, 3], 4, 0, 40))

    def test_of_many_the_first_and_the_last(self) -> None:
        ends = filled(4, 1000, [1] * 10)
        self.assertEqual((list(ends), ends.dropped, ends.size), ([0, 1, 8, 9], 6, 4))

    def test_by_size(self) -> None:
        ends = filled(100, 100, [30, 30, 10, 30, 30])
        # 50 bytes at the beginning: the second does not fit, and nothing after it goes there.
        self.assertEqual((list(ends), ends.dropped), ([0, 4], 3))
        self.assertEqual(ends.size, 60)

    def test_one_that_is_too_large(self) -> None:
        ends = filled(100, 100, [10, 1000, 10])
        self.assertEqual((list(ends), ends.dropped, ends.size), ([0, 2], 1, 20))

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.integers(2, 10), st.integers(2, 100), st.lists(st.integers(0, 60), max_size=40))
    def test_within_the_limits_in_order_and_counted(
        self, most: int, room: int, sizes: list[int]
    ) -> None:
        ends = filled(most, room, sizes)
        kept = list(ends)
        self.assertEqual(kept, sorted(set(kept)))
        self.assertLessEqual(len(kept), most)
        self.assertEqual(len(kept) + ends.dropped, len(sizes))
        self.assertEqual(ends.size, sum(sizes[item] for item in kept))
        self.assertLessEqual(ends.size, room)
        if sizes and sizes[-1] <= room // 2:
            self.assertEqual(kept[-1], len(sizes) - 1, "the last one is always there")
