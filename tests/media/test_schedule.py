from collections import defaultdict
from itertools import chain
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.bank import PHASES, Bank, Way, key_of
from sessioncore.media.schedule import Schedule
from sessioncore.media.source_bank import SourceBank
from sessioncore.rtp.codecs import CODECS

ROW = st.fixed_dictionaries(
    {
        "playing": st.booleans(),
        "transmitting": st.booleans(),
        "latched": st.booleans(),
        "codec": st.sampled_from(("PCMU", "PCMA", "L16")),
        "rate": st.sampled_from((8000, 16_000)),
        "way": st.sampled_from(Way),
        "frames": st.integers(1, 3),
        "marker": st.booleans(),
        "first_send_pending": st.booleans(),
        "full_until": st.integers(0, 9),
    }
)


PLAIN = {"codec": "PCMU", "rate": 8000, "frames": 1, "way": Way.PLAY}


def planned(rows):
    """What a schedule of these rows has to be, found row by row."""
    groups = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(rows):
        if row["playing"]:
            turn = number // PHASES % row["frames"]
            codec = row["codec"] if row["transmitting"] else None
            place = number % PHASES, row["rate"], row["frames"], turn, row["way"]
            groups[place][codec].append(number)
    return groups


class ScheduleTests(SynchronousTestCase):
    def make(self, rows):
        self.bank = Bank(4, together=1)
        streams, handles = [], []
        self.lanes = {rate: self.bank.lane_at(rate) for rate in (8000, 16_000)}
        self.schedule = Schedule(self.bank, SourceBank(), streams, handles, lambda: None)
        for number in range(len(rows)):
            self.assertEqual(self.bank.take_row(), number)
            handles.append(f"handle {number}")
            streams.append(SimpleNamespace(sending=SimpleNamespace(remote=("192.0.2.1", number))))
        self.fill(rows)

    def fill(self, rows):
        for number, row in enumerate(rows):
            for name, value in row.items():
                if name not in ("codec", "rate", "way"):
                    getattr(self.bank, name)[number] = value
            codec, rate, frames = CODECS[row["codec"]], row["rate"], row["frames"]
            lane, coded = self.lanes[rate].number, self.bank.formats.number(codec, rate)
            turn = number // PHASES % frames
            self.bank.key[number] = key_of(turn, lane, frames, row["way"], coded)
            self.schedule.changed(number)

    def check(self, rows):
        expected = planned(rows)
        found = set()
        for phase in range(PHASES):
            for group in self.schedule.groups(phase):
                key = (phase, group.lane.rate, group.frames, group.turn, group.way)
                self.assertNotIn(key, found)
                found.add(key)
                self.check_group(rows, group, expected[key])
        self.assertEqual(found, set(expected))

    def check_group(self, rows, group, expected):
        every = group.rows.tolist()
        self.assertEqual(sorted(every), sorted(chain(*expected.values())))
        silent = expected.pop(None, [])
        self.assertEqual(sorted(every[group.senders :]), silent)
        coded = [section.format.codec.name for section in group.sections]
        self.assertEqual(sorted(coded), sorted(expected))
        for section in group.sections:
            members = section.rows.tolist()
            self.assertEqual(members, every[section.start : section.start + len(members)])
            self.check_section(rows, section, members, expected[section.format.codec.name])

    def check_section(self, rows, section, members, expected):
        latched = [number for number in expected if rows[number]["latched"]]
        loose = [number for number in expected if not rows[number]["latched"]]
        self.assertEqual(members, latched + loose)
        self.assertEqual(section.handles, [f"handle {number}" for number in latched])
        self.assertEqual(section.loose, [f"handle {number}" for number in loose])
        self.assertEqual([port for _, port in section.addresses], loose)
        mine = [rows[number] for number in members]
        fresh = any(row["marker"] or row["first_send_pending"] for row in mine)
        self.assertEqual(section.fresh, fresh)
        self.assertEqual(section.full_until, min(row["full_until"] for row in mine))

    @settings(max_examples=60)
    @given(st.lists(ROW, max_size=30), st.lists(ROW, max_size=30))
    def test_it_is_what_the_rows_say_before_and_after_a_change(self, rows, changed):
        self.make(rows)
        self.check(rows)
        changed = changed[: len(rows)]
        self.fill(changed)
        self.check(changed + rows[len(changed) :])

    def test_nothing_is_looked_for_while_nothing_changed(self):
        row = PLAIN | dict.fromkeys(
            ["playing", "transmitting", "latched", "marker", "first_send_pending"], True
        )
        self.make([row | {"full_until": 0}])
        before = self.schedule.groups(0)
        self.assertIs(self.schedule.groups(0), before)
        self.schedule.changed(0)
        self.assertIsNot(self.schedule.groups(0), before)

    def test_some_of_a_section(self):
        row = PLAIN | {"playing": True, "transmitting": True}
        self.make([row | {"latched": number // 4 % 2 == 0} for number in range(16)])
        ((section,),) = (group.sections for group in self.schedule.groups(0))
        self.assertEqual(section.rows.tolist(), [0, 8, 4, 12])
        some = section.only(section.rows > 4)
        self.assertEqual(some.rows.tolist(), [8, 12])
        self.assertEqual((some.handles, some.loose), (["handle 8"], ["handle 12"]))
        self.assertEqual(some.addresses, [("192.0.2.1", 12)])
        self.assertEqual((len(some.ssrcs), len(some.payload_types)), (2, 2))
