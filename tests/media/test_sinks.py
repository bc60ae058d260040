from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sessioncore.errors import ConfigurationError, MediaFileError
from sessioncore.media.interfaces import IMediaSink
from sessioncore.media.recorder import Recorder
from sessioncore.media.sink_bank import SinkBank
from sessioncore.media.sinks import Deliver, Discard, Record
from sessioncore.media.wave import read_wav

WAIT = 20


@implementer(IMediaSink)
class Listener:
    def __init__(self):
        self.heard = []
        self.does = None

    def write(self, samples):
        self.heard.append(samples)
        if self.does is not None:
            self.does()


def frames(*values):
    return np.tile(np.array(values, np.int16)[:, None], 160)


class BankCase(SynchronousTestCase):
    def setUp(self):
        self.bank = SinkBank()
        self.addCleanup(lambda: self.bank.recorder.close().result(WAIT))

    def consume(self, rows, heard=None, sent=None):
        """Rows hear their own number and send it negative, if nothing else is said."""
        heard = frames(*rows) if heard is None else heard
        self.bank.consume(np.array(rows, np.int64), heard, -heard if sent is None else sent, 0)


class Discards(BankCase):
    def test_rows_without_a_sink(self):
        self.bank.attach(1, Discard())
        self.consume([0, 1, 30_000])
        self.consume([])
        self.assertEqual(self.bank.reports(), [])

    def test_wrong_values_are_refused_where_the_sink_is_made(self):
        for wrong in (None, 5, b"out.wav"):
            with self.assertRaisesRegex(ConfigurationError, "is no path"):
                Record(wrong)
        with self.assertRaisesRegex(ConfigurationError, "cannot be called"):
            Deliver("out.wav")

    def test_what_is_no_sink(self):
        for wrong in (object(), None, "out.wav", Discard):
            with self.assertRaisesRegex(ConfigurationError, "IMediaSink"):
                self.bank.attach(1, wrong)
            self.consume([1])


class Calls(BankCase):
    def test_deliver_and_objects_of_the_application(self):
        delivered, listener = [], Listener()
        self.bank.attach(3, Deliver(delivered.append))
        self.bank.attach(70, listener)
        for _ in range(2):
            self.consume([70, 0, 3])
        self.assertEqual([list(set(each.tolist())) for each in delivered], [[3], [3]])
        self.assertEqual([list(set(each.tolist())) for each in listener.heard], [[70], [70]])

    def test_the_array_is_theirs_to_keep(self):
        listener = Listener()
        self.bank.attach(0, listener)
        heard = frames(5)
        self.consume([0], heard)
        heard[:] = 0
        self.consume([0], heard)
        self.assertEqual([each[0] for each in listener.heard], [5, 0])

    def test_one_that_raises_is_detached_and_the_others_hear_on(self):
        bad, good = Listener(), Listener()
        bad.does = lambda: 1 / 0
        self.bank.attach(0, bad)
        self.bank.attach(1, good)
        self.consume([0, 1])
        self.consume([0, 1])
        self.assertEqual((len(bad.heard), len(good.heard)), (1, 2))
        (report,) = self.bank.reports()
        self.assertEqual((report.row, report.sink, report.detached), (0, bad, True))
        self.assertIsInstance(report.error, ZeroDivisionError)
        self.assertEqual(str(report), "division by zero")  # what a log says
        self.assertEqual(self.bank.failures, 1)
        self.assertEqual(self.bank.reports(), [])

    def test_one_that_hangs_up_another_row(self):
        first, second = Listener(), Listener()
        first.does = lambda: self.bank.detach(1)
        self.bank.attach(0, first)
        self.bank.attach(1, second)
        self.consume([0, 1])
        self.assertEqual(second.heard, [])
        self.assertEqual(self.bank.reports(), [])

    def test_one_that_replaces_itself_and_raises(self):
        first, second = Listener(), Listener()

        def replace():
            self.bank.attach(0, second)
            raise ValueError

        first.does = replace
        self.bank.attach(0, first)
        self.consume([0])
        self.consume([0])
        self.assertEqual((len(first.heard), len(second.heard)), (1, 1))
        self.assertFalse(self.bank.reports()[0].detached)

    def test_detached(self):
        listener = Listener()
        self.bank.attach(0, listener)
        self.bank.detach(0)
        self.bank.detach(0)
        self.bank.detach(10**6)
        self.consume([0])
        self.assertEqual(listener.heard, [])


class Records(BankCase):
    def test_mono_is_what_was_heard(self):
        path = self.mktemp()
        (recording,) = self.bank.attach(4, Record(path))
        for _ in range(120):
            self.consume([4])
        self.assertEqual(self.bank.detach(4), [recording])
        recording.finished.result(WAIT)
        self.assertEqual(read_wav(path).samples.tolist(), [[4]] * 120 * 160)

    def test_stereo_has_heard_left_and_sent_right(self):
        path = self.mktemp()
        (recording,) = self.bank.attach(4, Record(path, stereo=True))
        for _ in range(120):
            self.consume([4])
        self.bank.detach(4)
        recording.finished.result(WAIT)
        self.assertEqual(read_wav(path).samples.tolist(), [[4, -4]] * 120 * 160)

    def test_all_kinds_in_any_order(self):
        mono, stereo, listener = self.mktemp(), self.mktemp(), Listener()
        self.bank.attach(1, Record(stereo, stereo=True))
        self.bank.attach(2, listener)
        self.bank.attach(3, Record(mono))
        for _ in range(10):
            self.consume([3, 0, 2, 1])
        self.bank.recorder.close().result(WAIT)
        self.assertEqual(read_wav(mono).samples.tolist(), [[3]] * 1600)
        self.assertEqual(read_wav(stereo).samples.tolist(), [[1, -1]] * 1600)
        self.assertEqual({int(each[0]) for each in listener.heard}, {2})

    def test_another_sink_ends_the_recording(self):
        (recording,) = self.bank.attach(1, Record(self.mktemp()))
        self.bank.attach(1, Discard())
        recording.finished.result(WAIT)
        self.consume([1])

    def test_a_recording_that_fails_is_detached_and_reported(self):
        sink = Record("/nowhere/x.wav")
        (recording,) = self.bank.attach(1, sink)
        self.bank.recorder._queue.put(recording)
        recording.finished.result(WAIT)
        recording.finished = type(recording.finished)()
        (report,) = self.bank.reports()
        self.assertEqual((report.row, report.sink, report.detached), (1, sink, True))
        self.assertIs(report.recording, recording)
        self.assertIsInstance(report.error, MediaFileError)
        self.assertEqual(self.bank.detach(1), [])
        self.consume([1])

    def test_a_failure_told_late_leaves_the_rows_next_sink_alone(self):
        (recording,) = self.bank.attach(1, Record("/nowhere/x.wav"))
        listener = Listener()
        self.bank.attach(1, listener)
        recording.finished.result(WAIT)
        (report,) = self.bank.reports()
        self.assertEqual((report.row, report.detached), (1, False))
        self.consume([1])
        self.assertEqual(len(listener.heard), 1)

    def test_a_disk_that_does_not_follow_is_told_of_and_recording_goes_on(self):
        bank = SinkBank(Recorder(max_blocks=0))
        self.addCleanup(lambda: bank.recorder.close().result(WAIT))
        (recording,) = bank.attach(1, Record(self.mktemp()))
        for _ in range(120):
            bank.consume(np.array([1]), frames(1), frames(1), 0)
        (report,) = bank.reports()
        self.assertFalse(report.detached)
        self.assertRegex(str(report.error), "too slow")
        self.assertEqual(bank.detach(1), [recording])

    def test_a_path_in_use_leaves_the_row_without_a_sink(self):
        path = self.mktemp()
        self.bank.attach(1, Record(path))
        with self.assertRaises(ConfigurationError):
            self.bank.attach(2, Record(path))
        self.consume([1, 2])

    def test_a_shared_recorder(self):
        recorder = Recorder()
        self.assertIs(SinkBank(recorder).recorder, recorder)


class Several(BankCase):
    def test_all_of_them_hear_and_each_can_be_taken_off(self):
        delivered, listener, path = [], Listener(), self.mktemp()
        deliver, record = Deliver(delivered.append), Record(path)
        (recording,) = self.bank.attach(3, [deliver, record])
        self.bank.attach(4, listener)
        self.consume([3, 4])
        self.assertIsNone(self.bank.add(3, listener))
        self.consume([3, 4])
        self.assertIs(self.bank.remove(3, record), recording)
        self.consume([3, 4])
        self.assertIsNone(self.bank.remove(3, deliver))
        self.consume([3, 4])
        self.bank.remove(3, listener)
        self.assertNotIn(3, self.bank.served)
        self.consume([3, 4])
        recording.finished.result(WAIT)
        self.assertEqual(read_wav(path).mono.tolist(), [3] * 320)
        self.assertEqual([each[0] for each in delivered], [3] * 3)
        self.assertEqual(sorted(each[0] for each in listener.heard), [3] * 3 + [4] * 5)

    def test_each_gets_an_array_of_its_own(self):
        first, second = [], []
        self.bank.attach(0, (Deliver(first.append), Deliver(second.append)))
        self.consume([0])
        first[0][:] = 9
        self.assertEqual(set(second[0].tolist()), {0})

    def test_none_of_them(self):
        self.bank.attach(0, [Deliver(print), Listener()])
        for nothing in ((), [], Discard(), [Discard()]):
            self.assertEqual(self.bank.attach(0, nothing), [])
            self.assertNotIn(0, self.bank.served)

    def test_one_that_was_not_given(self):
        self.bank.attach(0, Deliver(print))
        for other in (Deliver(print), Record("x.wav"), Listener()):
            with self.assertRaisesRegex(ConfigurationError, "is not among the sinks of this call"):
                self.bank.remove(0, other)
        self.assertIn(0, self.bank.served)

    def test_where_one_is_wrong_none_is_given(self):
        path = self.mktemp()
        kept = Deliver(print)
        self.bank.attach(0, kept)
        with self.assertRaisesRegex(ConfigurationError, "^5 is not a media sink"):
            self.bank.attach(0, [Record(path), 5])
        self.bank.remove(0, kept)  # it is as it was
        with self.assertRaisesRegex(ConfigurationError, "another recording is writing to it"):
            self.bank.attach(0, [Record(path), Record(path)])
        self.assertNotIn(0, self.bank.served)
        self.bank.attach(0, Record(path))

    def test_one_that_fails_leaves_the_others(self):
        bad, good = Listener(), Listener()
        bad.does = lambda: 1 / 0
        self.bank.attach(0, [bad, good])
        self.consume([0])
        self.consume([0])
        self.assertEqual((len(bad.heard), len(good.heard)), (1, 2))
        self.assertEqual([report.sink for report in self.bank.reports()], [bad])

    def test_after_a_move_what_was_heard_before_is_not_heard_again(self):
        delivered = []
        self.bank.attach(0, Deliver(delivered.append, rate=16_000))
        self.consume([0], frames(20_000))
        self.bank.move(0, 16_000)
        self.bank.move(0, 8000)
        self.consume([0], frames(0))
        self.assertTrue(delivered[0].any())
        self.assertFalse(delivered[1].any())

    def test_the_bank_says_when_a_row_has_other_sinks(self):
        rows = []
        bank = SinkBank(self.bank.recorder, changed=rows.append)
        deliver = Deliver(lambda samples: 1 / 0)
        bank.attach(3, deliver)
        bank.remove(3, deliver)
        bank.attach(4, deliver)
        bank.consume(np.array([4]), frames(1), frames(1), 0)
        self.assertEqual(rows, [3, 3, 4, 4])
