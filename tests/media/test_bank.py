import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.bank import (
    _DEFAULTS,
    COUNTED,
    NONE,
    PHASES,
    TOGETHER,
    Bank,
    every,
    some,
)
from sessioncore.media.lane import FRAMES_PER_RING


def phases(rows):
    """How many of the rows are played in each phase."""
    return np.bincount(np.array(rows) % PHASES, minlength=PHASES).tolist()


class BankTests(SynchronousTestCase):
    def test_rows_are_lent_lowest_first(self):
        bank = Bank(8)
        rows = [bank.take_row() for _ in range(4)]
        bank.give_back(8)
        bank.give_back(4)
        self.assertEqual(rows, [0, 4, 8, 12])
        self.assertEqual([bank.take_row(), bank.take_row(), bank.take_row()], [4, 8, 16])
        self.assertEqual((bank.used, bank.top), (5, 20))

    def test_few_rows_share_a_phase_and_many_are_spread_evenly(self):
        bank = Bank()
        rows = [bank.take_row() for _ in range(PHASES * TOGETHER)]
        self.assertEqual([row % PHASES for row in rows], [*np.repeat(range(PHASES), TOGETHER)])
        self.assertEqual(sorted(rows), list(range(len(rows))))
        for _ in range(1_000):
            rows.append(bank.take_row())
            self.assertLessEqual(np.ptp(phases(rows)), 1)
        self.assertEqual((bank.used, bank.top), (len(rows), len(rows)))

    def test_where_some_phases_are_left_thin_they_are_filled_again(self):
        bank = Bank()
        rows = [bank.take_row() for _ in range(2_000)]
        for keep, phase in zip((10, 300, 20, 60), range(PHASES), strict=True):
            for row in [row for row in rows if row % PHASES == phase][keep:]:
                rows.remove(row)
                bank.give_back(row)
        self.assertEqual(phases(rows), [10, 300, 20, 60])
        rows += [bank.take_row() for _ in range(TOGETHER - 10)]
        self.assertEqual(phases(rows), [TOGETHER, 300, 20, 60])
        rows += [bank.take_row() for _ in range(TOGETHER - 20)]
        self.assertEqual(phases(rows), [TOGETHER, 300, TOGETHER, 60])
        rows += [bank.take_row() for _ in range(2_000)]
        self.assertLessEqual(np.ptp(phases(rows)), 1)
        self.assertEqual(len(set(rows)), len(rows))

    @given(st.lists(st.integers(0, 30), max_size=60))
    def test_a_row_is_lent_to_one_at_a_time(self, ends):
        bank, lent = Bank(1, together=4), set()
        for end in ends:
            row = bank.take_row()
            self.assertNotIn(row, lent)
            lent.add(row)
            if end in lent:
                bank.give_back(end)
                lent.remove(end)
            self.assertEqual(bank.used, len(lent))
            self.assertLess(max(lent, default=-1), bank.top)
            self.assertLessEqual(bank.top, bank.capacity)

    def test_a_full_bank_grows_and_keeps_what_it_held(self):
        bank = Bank(4)
        self.assertEqual([bank.take_row(), bank.capacity], [0, 4])
        bank.ssrc[1] = 99
        bank.lanes[0].ring[1 * FRAMES_PER_RING + 3] = 5
        bank.meanings[128 + 8] = 2
        self.assertEqual([bank.take_row(), bank.capacity], [4, 8])
        self.assertEqual((bank.ssrc[1], bank.meanings[128 + 8]), (99, 2))
        self.assertTrue((bank.lanes[0].ring[1 * FRAMES_PER_RING + 3] == 5).all())

    def test_a_row_that_was_used_comes_back_clean(self):
        bank = Bank(4)
        row = bank.take_row()
        for name, default in _DEFAULTS.items():
            if name != "lane":  # there is but one
                getattr(bank, name)[row] = np.bool_(True) if default.dtype == bool else 7
        bank.meanings[: 2 * 128] = 1
        bank.lanes[0].filled[:] = True
        bank.give_back(row)
        self.assertEqual(bank.take_row(), row)
        for name, default in _DEFAULTS.items():
            self.assertEqual(getattr(bank, name)[row], default, name)
        self.assertFalse(bank.meanings[:128].any())
        self.assertTrue(bank.meanings[128 : 2 * 128].all())
        self.assertFalse(bank.lanes[0].filled[:FRAMES_PER_RING].any())

    def test_cells_are_the_columns_before_and_after_the_bank_grows(self):
        bank = Bank(1)
        cells = bank.cells
        for row in (bank.take_row(), bank.take_row()):
            for name, default in _DEFAULTS.items():
                getattr(cells, name)[row] = True if default.dtype == bool else 1 + row
                self.assertEqual(getattr(bank, name)[row], getattr(cells, name)[row], name)
        cells.meanings[128 + 8] = 2
        self.assertEqual(bank.meanings[128 + 8], 2)

    def test_counters_are_read_at_once_in_their_order(self):
        bank = Bank(2)
        bank.take_row()
        row = bank.take_row()
        for value, name in enumerate(COUNTED):
            getattr(bank, name)[row] = value
        counted = bank.counted(row)
        bank.give_back(row)
        self.assertEqual(counted, list(range(len(COUNTED))))

    def test_a_row_given_back_is_not_played_and_not_reported(self):
        bank = Bank(2)
        row = bank.take_row()
        bank.playing[row] = bank.transmitting[row] = bank.receiving[row] = True
        bank.next_report[row] = 5
        bank.give_back(row)
        self.assertFalse(bank.playing[row] or bank.transmitting[row] or bank.receiving[row])
        self.assertGreater(bank.next_report[row], 1 << 60)

    def test_every_column_is_declared_and_takes_little_room(self):
        bank = Bank(16)
        for name in _DEFAULTS:
            self.assertIn(name, Bank.__annotations__)
        columns = [getattr(bank, name) for name in _DEFAULTS]
        columns += [bank.meanings, bank.lanes[0].ring, bank.lanes[0].filled]
        self.assertLess(sum(column.nbytes for column in columns) / 16, 7_200)

    def test_no_ssrc_is_none_of_the_32_bits(self):
        self.assertLess(NONE, 0)

    def test_every_and_some(self):
        for mask in ([], [True], [False], [True, False], [False, False]):
            array = np.array(mask, np.bool_)
            self.assertIs(every(array), all(mask))
            self.assertIs(some(array), any(mask))
