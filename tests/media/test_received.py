from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.bank import RECEIVED, SENT
from sessioncore.media.received import Received, Sent
from sessioncore.media.sources import Clip, Echo, Silence, Tone
from tests.media.fakes import Bench


class ColumnsTests(SynchronousTestCase):
    def test_the_fields_are_the_columns_and_some_more(self) -> None:
        self.assertEqual(Received._fields[: len(RECEIVED)], RECEIVED)
        self.assertEqual(Sent._fields[: len(SENT)], SENT)

    def test_what_is_read_of_a_row(self) -> None:
        bench = Bench()
        bench.call()
        stream = bench.call()
        stream.set_source(Silence())
        bank, row = bench.plane.bank, stream.row
        names = [*RECEIVED, *SENT]
        for value, name in enumerate(names):
            getattr(bank, name)[row] = value
        bank.jitter[row], bank.stalled[row] = 2.5, True
        bench.plane.statistics.missed_phases += 4
        received, sent = stream.counted()
        self.assertIsInstance(received, Received)
        self.assertIsInstance(sent, Sent)
        self.assertEqual([*received[: len(RECEIVED)], *sent[: len(SENT)]], list(range(len(names))))
        self.assertEqual(received._asdict().keys(), set(Received._fields))
        self.assertEqual((received.jitter, received.stalled), (2.5, True))
        self.assertEqual((received.kernel_drops, received.missed_phases), (3, 4))
        self.assertEqual(sent[len(SENT) :], (True, Silence()))

    def test_nothing_is_counted_after_the_end(self) -> None:
        bench = Bench()
        stream = bench.call()
        bench.run(0.1)
        stream.finish(bench.now)
        before = stream.counted()
        self.assertTrue(before[1].transmitting)
        bench.plane.statistics.missed_phases += 4
        bench.plane.bank.packets_received[stream.row] += 1
        self.assertEqual(stream.counted(), before)


class SentTests(SynchronousTestCase):
    def sent(self, source: Any, **values: Any) -> Sent:
        bench = Bench()
        stream = bench.call()
        stream.source = source
        for name, value in values.items():
            getattr(bench.plane.bank, name)[stream.row] = value
        return stream.counted()[1]

    def test_levels(self) -> None:
        for source, heard, level in (
            (None, -10.0, -96.3),
            (Silence(), -10.0, -96.3),
            (Echo(-6.0), -10.0, -16.0),
            (Echo(20.0), -10.0, 0.0),
            (Echo(-6.0), None, -96.3),
            (Tone(440), -10.0, -6.0),
        ):
            self.assertEqual(self.sent(source, sent_peak=16_384).level(heard), level)
        self.assertIsNone(self.sent(Tone(440), transmitting=False).level(None))

    def test_a_clip_that_has_ended_is_silent(self) -> None:
        bench = Bench()
        stream = bench.call()
        stream.set_source(Clip(np.full(4000, 16_384, np.int16)))
        bench.run(0.4)
        self.assertEqual(stream.statistics.sent_dbov, -6.0)
        bench.run(1)
        self.assertEqual(stream.statistics.sent_dbov, -96.3)
