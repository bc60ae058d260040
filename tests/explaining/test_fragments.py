from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining import fragments
from sessioncore.explaining.fragments import Fragments
from sessioncore.vocabulary import SECOND

KEY = (b"\xc0\0\2\1", b"\xc0\0\2\2", 17, 1)


def key(number: int) -> fragments.Key:
    return (*KEY[:3], number)


class FragmentsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fragments = Fragments()

    def add(self, offset: int, data: bytes, *, more: bool = True, at: int = 0) -> bytes | None:
        return self.fragments.add(KEY, offset, more, data, at)

    @settings(derandomize=True, deadline=None)
    @given(st.permutations(range(5)), st.integers(0, 4))
    def test_in_any_order_and_twice(self, order: list[int], doubled: int) -> None:
        self.fragments = Fragments()
        pieces = [bytes([number]) * 8 for number in range(5)]
        order = [*order[:2], order[doubled % 2], *order[2:]]
        made = [self.add(8 * each, pieces[each], more=each < 4) for each in order]
        self.assertEqual(made, [*([None] * 5), b"".join(pieces)])
        self.assertEqual((len(self.fragments), self.fragments.lost), (0, 0))

    def test_overlapping_fragments_are_given_up(self) -> None:
        for offset, data in ((0, b"other678"), (4, b"12345678"), (8, b"12345678")):
            self.fragments = Fragments()
            self.add(0, b"12345678")
            self.add(16, b"1234", more=False)
            self.add(offset, data)
            self.assertEqual(self.fragments.lost, int(offset != 8))

    def test_what_goes_beyond_the_end_is_given_up(self) -> None:
        self.add(8, b"1234", more=False)
        self.add(16, b"12345678")
        self.assertEqual(self.fragments.lost, 1)
        self.add(65_528, b"12345678")
        self.assertEqual(self.fragments.lost, 2)

    def test_old_ones_are_given_up(self) -> None:
        self.add(0, b"12345678")
        self.assertIsNone(self.add(8, b"1", more=False, at=31 * SECOND))
        self.assertEqual((self.fragments.lost, len(self.fragments)), (1, 1))
        self.assertEqual(self.add(0, b"abcdefgh", at=32 * SECOND), b"abcdefgh1")

    def test_limits(self) -> None:
        for number in range(300):
            self.fragments.add(key(number), 0, True, b"12345678", 0)
        self.assertEqual((len(self.fragments), self.fragments.lost), (256, 44))
        self.assertIsNone(self.fragments.add(key(0), 8, False, b"1", 0))
        self.fragments = Fragments()
        for number in range(66):
            self.add(16 * number, b"12345678")
        self.assertEqual(self.fragments.lost, 1)
