"""What rows hear, looked at once a second: nothing, silence, sound."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.listening import (
    LOUD,
    Condition,
    level_of,
    listen,
    peaks,
)
from sessioncore.media.sources import Echo, Silence, Tone
from sessioncore.media.statistics import MediaEvent
from sessioncore.media.stream import Stream
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
        self.assertEqual((peaks(frames) > LOUD).tolist(), [False, False, True])


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

    def test_what_is_sent_is_looked_at(self) -> None:
        bank, row = self.bench.plane.bank, self.stream.row
        agreed_at = bank.sent_sound_at.item(row)
        self.bench.run(1)
        self.assertEqual(bank.sent_sound_at[row], agreed_at)
        for ptime in (20, 40, 60):
            stream = self.bench.call(ptime=ptime)
            stream.set_source(Tone())
            self.bench.run(1)
            ago = self.bench.now - bank.sent_sound_at.item(stream.row)
            self.assertLess(ago, SECOND // 2, ptime)

    def test_where_nothing_may_be_received_nothing_is_told(self) -> None:
        bench = Bench()
        stream = bench.call()
        bench.plane.bank.receiving[stream.row] = False
        bench.run(8)
        self.assertNotIn(MediaEvent.EVIDENCE.name, bench.names())


class LevelsOfStreamTests(SynchronousTestCase):
    """What is heard and sent now, for whoever watches."""

    def setUp(self) -> None:
        self.bench = Bench()

    def levels(self, stream: Stream) -> tuple[float | None, float | None]:
        statistics = stream.statistics
        return statistics.heard_dbov, statistics.sent_dbov

    def test_what_is_heard(self) -> None:
        stream = self.bench.call()
        self.assertIsNone(self.levels(stream)[0])
        self.bench.run(2.5, Talker(self.bench, stream))
        loud = self.levels(stream)[0]
        assert loud is not None
        self.assertEqual(loud, -11.9)  # the ramp ends at 8199
        self.bench.run(2.5, Quiet(self.bench, stream))
        silent = self.levels(stream)[0]
        assert silent is not None
        self.assertLess(silent, -90)
        self.assertEqual(stream.statistics.peak_dbov, loud, "the loudest so far")
        self.bench.run(2.5)
        self.assertIsNone(self.levels(stream)[0], "nothing comes")

    def test_what_is_sent(self) -> None:
        for source, level in ((Tone(level=-20.0), -17.0), (Silence(), -96.3), (None, -96.3)):
            stream = self.bench.call()
            if source is not None:
                stream.set_source(source)
            self.bench.run(0.5)
            self.assertEqual(self.levels(stream)[1], level, source)
            stream.stop_transmission()
            self.assertIsNone(self.levels(stream)[1])

    def test_what_is_echoed(self) -> None:
        stream = self.bench.call()
        stream.set_source(Echo(gain_db=-6.0))
        self.assertEqual(self.levels(stream)[1], -96.3)
        self.bench.run(2.5, Talker(self.bench, stream))
        heard, sent = self.levels(stream)
        assert heard is not None and sent is not None
        self.assertEqual(round(heard - sent, 1), 6.0)
