"""What rows hear, looked at once a second: nothing, silence, sound."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.listening import (
    LOUD,
    Condition,
    have_sound,
    level_of,
    listen,
    peaks,
)
from sessioncore.media.sources import Tone
from sessioncore.media.statistics import MediaEvent
from sessioncore.vocabulary import SECOND
from tests.media.fakes import Bench, Talker


class LevelTests(SynchronousTestCase):
    def test_levels(self) -> None:
        for peak, level in ((-1, None), (32_768, 0.0), (32_767, 0.0), (104, -50.0), (0, -96.3)):
            self.assertEqual(level_of(peak), level)

    def test_the_largest_value_of_either_sign(self) -> None:
        frames = np.array([[0, 5, -7], [-32_768, 3, 0], [0, 0, 0]], np.int16)
        self.assertEqual(peaks(frames).tolist(), [7, 32_768, 0])

    def test_idle_lines_are_no_sound(self) -> None:
        frames = np.array([[8, -8], [LOUD, 0], [0, LOUD + 1]], np.int16)
        self.assertEqual(have_sound(frames).tolist(), [False, False, True])


class Quiet(Talker):
    """Sends packets of silence."""

    def packet(self, samples: int = 160, payload_type: int = 0) -> bytes:
        data: bytes = super().packet(samples, payload_type)
        return data[:12] + b"\xff" * samples


class ListenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench()
        self.stream = self.bench.call()

    def told(self) -> int:
        return self.bench.names().count("EVIDENCE")

    def condition(self) -> Condition:
        return Condition(self.bench.plane.bank.condition[self.stream.row])

    def test_silence_is_told_after_five_seconds_and_sound_at_once(self) -> None:
        talker = Quiet(self.bench, self.stream)
        self.bench.run(4.5, talker)
        self.assertEqual((self.told(), self.condition()), (0, Condition.SOUND))
        self.bench.run(2, talker)
        self.assertEqual((self.told(), self.condition()), (1, Condition.SILENT))
        self.bench.plane.bank.sound_at[self.stream.row] = self.bench.now
        self.bench.run(1.1, talker)
        self.assertEqual((self.told(), self.condition()), (2, Condition.SOUND))

    def test_no_rtp_is_told_within_three_seconds(self) -> None:
        self.bench.run(1, Talker(self.bench, self.stream))
        self.bench.run(2.4)
        self.assertEqual(self.told(), 0)
        self.bench.run(0.2)
        self.assertEqual((self.told(), self.condition()), (1, Condition.QUIET))

    def test_the_ring_is_not_listened_to_again_where_nothing_came(self) -> None:
        bank, row = self.bench.plane.bank, self.stream.row
        rows = np.array([row])
        bank.lanes[0].ring[row * 20] = 9000
        listen(bank, bank.lanes[0], rows, self.bench.now)
        self.assertEqual(bank.peak[row], -1)
        bank.packets_received[row] += 1
        listen(bank, bank.lanes[0], rows, self.bench.now)
        self.assertEqual(bank.peak[row], 9000)
        bank.lanes[0].ring[row * 20] = 12_000
        listen(bank, bank.lanes[0], rows, self.bench.now)
        self.assertEqual(bank.peak[row], 9000)

    def test_comfort_noise_is_no_sound(self) -> None:
        """The ring keeps what was heard before."""
        bench = Bench()
        stream = bench.call(receive_comfort_noise_payload_type=13)
        talker, bank = Talker(bench, stream), bench.plane.bank
        bench.run(3.3, talker)
        spoke_until = bench.now
        for _ in range(20):
            bench.io.arrive(stream, talker.packet(1, payload_type=13))
            bench.run(0.2)
        silent_for = spoke_until - bank.sound_at[stream.row]
        self.assertLess(abs(silent_for), SECOND // 10)

    def test_what_came_too_little_lately_is_told(self) -> None:
        talker = Talker(self.bench, self.stream)
        self.bench.run(20, talker)
        self.assertEqual((self.told(), self.condition()), (0, Condition.SOUND))
        for _ in range(50):  # every second one
            self.bench.run(0.02, talker)
            talker.sequence += 1
            talker.timestamp += 160
            self.bench.run(0.02)
        self.assertEqual((self.told(), self.condition()), (1, Condition.LOSSY))
        self.bench.run(3.5, talker)
        self.assertEqual((self.told(), self.condition()), (2, Condition.SOUND))

    def test_what_came_too_late_did_not_come(self) -> None:
        bank, row = self.bench.plane.bank, self.stream.row
        for column in (bank.late, bank.overflow):
            talker = Talker(self.bench, self.stream, first=1, timestamp=1)
            self.bench.run(3, talker)
            column[row] += 80
            self.bench.run(1, talker)
            self.assertEqual(self.condition(), Condition.LOSSY)
            self.bench.run(3, talker)
            self.assertEqual(self.condition(), Condition.SOUND)

    def test_what_is_sent_is_looked_at(self) -> None:
        bank, row = self.bench.plane.bank, self.stream.row
        self.bench.run(1)
        self.assertEqual(bank.sent_sound_at[row], bank.heard_at[row])
        self.stream.set_source(Tone())
        for ptime in (20, 40, 60):
            self.bench.run(1)
            self.assertLess(self.bench.now - bank.sent_sound_at[row], SECOND // 2, ptime)

    def test_where_nothing_may_be_received_nothing_is_told(self) -> None:
        bench = Bench()
        stream = bench.call()
        bench.plane.bank.receiving[stream.row] = False
        bench.run(8)
        self.assertNotIn(MediaEvent.EVIDENCE.name, bench.names())
