from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import CallOver, ConfigurationError, MediaFileError
from sessioncore.media import recorder as module
from sessioncore.media.recorder import Recorder
from sessioncore.media.wave import WavWriter, read_wav

WAIT = 20


def frame(*values, width=160):
    """A frame per value."""
    return np.tile(np.array(values, np.int16)[:, None], width)


class Recordings(SynchronousTestCase):
    def setUp(self):
        self.recorder = Recorder()
        self.addCleanup(lambda: self.recorder.close().result(WAIT))

    def finish(self, recording):
        self.recorder.stop(recording)
        self.assertIs(recording.finished.result(WAIT), recording)

    def test_everything_is_in_the_file(self):
        path = self.mktemp()
        recording = self.recorder.start(path)
        slots = np.array([recording.slot])
        sent = []
        for number in range(175):
            samples = np.arange(number * 160, number * 160 + 160).astype(np.int16)[None, :]
            sent += samples[0].tolist()
            self.recorder.append(slots, samples)
        self.finish(recording)
        self.assertEqual(read_wav(path).mono.tolist(), sent)
        self.assertEqual(read_wav(path).rate, 8000)
        self.assertEqual((recording.written, recording.dropped), (28000, 0))
        self.assertIsNone(recording.error)

    def test_frames_of_any_size(self):
        for width in (80, 7, 240, 960, 961):
            path = self.mktemp()
            recording = self.recorder.start(path)
            for number in range(100):
                self.recorder.append(np.array([recording.slot]), frame(number, width=width))
            self.finish(recording)
            self.assertEqual(read_wav(path).mono.tolist(), np.repeat(range(100), width).tolist())

    def test_stereo(self):
        path = self.mktemp()
        recording = self.recorder.start(path, channels=2)
        for _ in range(120):
            both = np.stack([frame(3), frame(-4)], axis=2)
            self.recorder.append(np.array([recording.slot]), both)
        self.finish(recording)
        self.assertEqual(read_wav(path).samples.tolist(), [[3, -4]] * 120 * 160)
        self.assertEqual(recording.written, 120 * 160)

    def test_a_longer_frame_may_follow_a_shorter_one(self):
        path = self.mktemp()
        recording = self.recorder.start(path)
        slots, sent = np.array([recording.slot]), []
        for number, width in enumerate([160] * 60 + [160, 960, 480] * 40):
            self.recorder.append(slots, frame(number, width=width))
            sent += [number] * width
        self.finish(recording)
        self.assertEqual(read_wav(path).mono.tolist(), sent)

    def test_time_passed_over_is_silence(self):
        for channels in (1, 2):
            for count in (160, 1_120, 7_840, 8_000, 100_000):
                path = self.mktemp()
                recording = self.recorder.start(path, channels)
                slots, sound = np.array([recording.slot]), frame(5)
                sound = np.stack([sound] * 2, 2) if channels == 2 else sound
                for _ in range(70):
                    self.recorder.append(slots, sound)
                self.recorder.pass_over(slots, channels, count)
                self.recorder.append(slots, sound)
                self.finish(recording)
                heard = read_wav(path).samples
                self.assertEqual(heard.shape, (71 * 160 + count, channels))
                self.assertTrue((heard[: 70 * 160] == 5).all() and (heard[-160:] == 5).all())
                self.assertFalse(heard[70 * 160 : -160].any())
                self.assertEqual(recording.written, len(heard))

    def test_silence_at_the_end_and_by_itself(self):
        path = self.mktemp()
        recording = self.recorder.start(path)
        slots = np.array([recording.slot])
        self.recorder.append(slots, frame(5))
        for count in (9_000, 9_000, 320):
            self.recorder.pass_over(slots, 1, count)
        self.finish(recording)
        self.assertEqual(len(read_wav(path).mono), 160 + 18_320)

    def test_time_before_its_first_frame_is_not_the_recordings(self):
        path = self.mktemp()
        first = self.recorder.start(self.mktemp())
        self.recorder.append(np.array([first.slot]), frame(1))
        self.finish(first)
        recording = self.recorder.start(path)
        self.assertEqual(recording.slot, first.slot)
        for count in (160, 16_000):
            self.recorder.pass_over(np.array([recording.slot]), 1, count)
        self.finish(recording)
        self.assertEqual(Path(path).stat().st_size, 44)

    def test_a_long_pause_is_a_hole_that_waits_for_no_room(self):
        self.patch(module._Queue, "offer", lambda queue, recording, block: False)
        path = self.mktemp()
        recording = self.recorder.start(path)
        self.recorder.append(np.array([recording.slot]), frame(1))
        self.recorder.pass_over(np.array([recording.slot]), 1, 8_000 * 3_600)
        self.finish(recording)
        self.assertEqual((recording.written, recording.dropped), (8_000 * 3_600, 160))
        self.assertLess(os.stat(path).st_blocks, 1_000)

    def test_nothing_is_passed_over_after_close(self):
        recording = self.recorder.start(self.mktemp())
        self.recorder.append(np.array([recording.slot]), frame(1))
        self.recorder.close().result(WAIT)
        self.recorder.pass_over(np.array([recording.slot]), 1, 16_000)
        self.assertEqual(recording.written, 160)

    def test_many_at_once_do_not_mix(self):
        paths = [self.mktemp() for _ in range(70)]
        recordings = [self.recorder.start(path, 1 + n % 2) for n, path in enumerate(paths)]
        for channels in (1, 2):
            group = recordings[channels - 1 :: 2]
            slots = np.array([each.slot for each in group])
            values = np.arange(channels - 1, 70, 2)
            for _ in range(60):
                frames = frame(*values)
                self.recorder.append(slots, np.stack([frames] * 2, 2) if channels == 2 else frames)
        self.recorder.close().result(WAIT)
        for number, path in enumerate(paths):
            self.assertEqual(set(read_wav(path).samples.ravel().tolist()), {number})
            self.assertEqual(len(read_wav(path).samples), 9600)

    def test_a_slot_is_empty_for_its_next_user(self):
        first = self.recorder.start(self.mktemp())
        self.recorder.append(np.array([first.slot]), frame(1))
        self.recorder.stop(first)
        path = self.mktemp()
        second = self.recorder.start(path)
        self.assertEqual(second.slot, first.slot)
        self.recorder.append(np.array([second.slot]), frame(2))
        self.finish(second)
        self.assertEqual(read_wav(path).mono.tolist(), [2] * 160)

    def test_nothing_recorded_is_an_empty_wav_file(self):
        path = self.mktemp()
        self.finish(self.recorder.start(path))
        self.assertEqual(Path(path).stat().st_size, 44)

    def held(self, path, channels=1):
        """A recording that leaves alone what is there, and what is there."""
        Path(path).write_bytes(b"precious" * 1_000)
        return self.recorder.start(path, channels, hold=True)

    def test_what_is_there_stays_where_nothing_is_heard(self):
        path = self.mktemp()
        recording = self.held(path)
        for _ in range(120):
            self.recorder.append(np.array([recording.slot]), frame(0))
        self.recorder.pass_over(np.array([recording.slot]), 1, 9_000)
        self.finish(recording)
        self.assertEqual(Path(path).read_bytes(), b"precious" * 1_000)
        self.assertEqual((recording.written, recording.unwritten, recording.error), (0, 0, None))

    def test_where_nothing_was_and_nothing_is_heard_nothing_stays(self):
        path = self.mktemp()
        self.finish(self.recorder.start(path, hold=True))
        self.assertFalse(os.path.exists(path))

    def test_the_first_sound_replaces_what_is_there(self):
        for channels in (1, 2):
            path = self.mktemp()
            recording = self.held(path, channels)
            slots = np.array([recording.slot])
            for value in [0] * 120 + [5]:
                sound = frame(value)
                self.recorder.append(slots, np.stack([sound] * 2, 2) if channels == 2 else sound)
            self.recorder.pass_over(slots, channels, 9_000)
            self.finish(recording)
            heard = read_wav(path).samples
            self.assertEqual(heard.shape, (121 * 160 + 9_000, channels))
            self.assertTrue((heard[120 * 160 : 121 * 160] == 5).all())
            self.assertEqual(np.count_nonzero(heard), 160 * channels)
            self.assertEqual(recording.written, len(heard))

    def test_begun_it_replaces_what_is_there_with_the_silence_so_far(self):
        path = self.mktemp()
        recording = self.held(path)
        for _ in range(120):
            self.recorder.append(np.array([recording.slot]), frame(0))
        self.recorder.begin(recording)
        self.finish(recording)
        self.assertEqual(read_wav(path).mono.tolist(), [0] * 120 * 160)
        self.recorder.begin(recording)
        self.finish(self.recorder.start(self.mktemp()))
        self.assertEqual(self.recorder.close().result(WAIT), None)
        self.assertEqual(len(read_wav(path).mono), 120 * 160)

    def test_a_path_that_cannot_be_written_shows_before_anything_is_heard(self):
        recording = self.recorder.start("/nowhere/at/all.wav", hold=True)
        self.finish(recording)
        ((_, error),) = self.recorder.problems()
        self.assertRegex(str(error), "^/nowhere/at/all.wav: recording ended.*No such file")

    def test_a_disk_that_is_full_when_something_is_heard(self):
        recording = self.recorder.start("/dev/full", hold=True)
        for value in [0] * 120 + [5]:
            self.recorder.append(np.array([recording.slot]), frame(value))
        self.finish(recording)
        self.assertRegex(str(recording.error), "No space left")
        self.assertEqual((recording.written, recording.unwritten), (0, 121 * 160))
        self.assertTrue(os.path.exists("/dev/full"))

    def test_a_device_is_no_longer_than_what_is_written(self):
        recording = self.recorder.start("/dev/null")
        self.recorder.append(np.array([recording.slot]), frame(5))
        self.finish(recording)
        self.assertEqual((recording.written, recording.error), (160, None))

    def test_less_than_a_second_waits(self):
        blocks = []
        self.patch(
            module._Queue, "offer", lambda queue, recording, block: blocks.append(len(block)) or 1
        )
        recordings = [self.recorder.start(self.mktemp()) for _ in range(100)]
        slots = np.array([each.slot for each in recordings])
        per_tick = []
        for _ in range(200):
            before = len(blocks)
            self.recorder.append(slots, frame(*range(100)))
            per_tick.append(len(blocks) - before)
        self.assertLessEqual(max(blocks), 8000)
        # 100 recordings that start together are spread over the 50 frames of a second.
        self.assertLessEqual(max(per_tick[50:]), 2)
        self.assertGreaterEqual(sum(blocks), 100 * (200 - 50) * 160)

    def test_one_file_has_one_writer(self):
        path = self.mktemp()
        recording = self.recorder.start(path)
        with self.assertRaisesRegex(ConfigurationError, "another recording"):
            self.recorder.start(os.path.join(".", path))
        self.recorder.append(np.array([recording.slot]), frame(1))
        self.recorder.stop(recording)
        again = self.recorder.start(path)
        self.recorder.append(np.array([again.slot]), frame(2))
        self.finish(again)
        self.assertEqual(read_wav(path).mono.tolist(), [2] * 160)

    def test_stopping_twice(self):
        recording = self.recorder.start(self.mktemp())
        self.recorder.stop(recording)
        other = self.recorder.start(self.mktemp())
        self.assertEqual(other.slot, recording.slot)
        self.recorder.stop(recording)
        self.assertFalse(other.finished.done())
        self.finish(other)


class Trouble(SynchronousTestCase):
    def setUp(self):
        self.recorder = Recorder(max_blocks=50)
        self.addCleanup(lambda: self.recorder.close().result(WAIT))

    def record(self, recording, seconds=1):
        for _ in range(50 * seconds):
            self.recorder.append(np.array([recording.slot]), frame(1))

    def test_path_that_cannot_be_written(self):
        good = self.recorder.start(self.mktemp())
        bad = self.recorder.start("/nowhere/at/all.wav")
        self.record(bad)
        self.record(good)
        self.recorder.close().result(WAIT)
        ((recording, error),) = self.recorder.problems()
        self.assertIs(recording, bad)
        self.assertIs(error, bad.error)
        self.assertIsInstance(error, MediaFileError)
        self.assertRegex(str(error), "^/nowhere/at/all.wav: recording ended.*No such file")
        self.assertEqual((bad.written, bad.unwritten), (0, 8000))
        self.assertEqual((good.written, good.error), (8000, None))
        self.assertEqual(self.recorder.problems(), [])

    def test_disk_full(self):
        recording = self.recorder.start("/dev/full")
        self.record(recording)
        self.recorder.stop(recording)
        recording.finished.result(WAIT)
        self.assertRegex(str(recording.error), "No space left")
        self.assertEqual(len(self.recorder.problems()), 1)

    def test_fifo_that_nobody_reads(self):
        path = self.mktemp()
        os.mkfifo(path)
        recording = self.recorder.start(path)
        self.recorder.stop(recording)
        recording.finished.result(WAIT)
        self.assertIsNotNone(recording.error)

    def test_disk_that_fails_later_leaves_what_was_written(self):
        path = self.mktemp()
        recording = self.recorder.start(path)
        real = WavWriter.write

        def write(writer, block):
            if writer._size > 10_000:
                raise OSError(5, "Input/output error")
            real(writer, block)

        self.patch(WavWriter, "write", write)
        self.record(recording, 3)
        self.recorder.stop(recording)
        recording.finished.result(WAIT)
        self.assertEqual(len(read_wav(path).mono), recording.written)
        total = recording.written + recording.unwritten + recording.dropped
        self.assertEqual(total, 3 * 8000)
        self.assertRegex(str(recording.error), "Input/output error")

    def test_disk_that_does_not_follow_loses_audio_and_says_so_once(self):
        go_on, real = threading.Event(), WavWriter.write
        self.addCleanup(go_on.set)

        def write(writer, block):
            go_on.wait(WAIT)
            real(writer, block)

        self.patch(WavWriter, "write", write)
        path = self.mktemp()
        recording = self.recorder.start(path)
        self.record(recording, 60)
        self.assertGreater(recording.dropped, 0)
        self.assertEqual(self.recorder.dropped, recording.dropped)
        ((said, error),) = self.recorder.problems()
        self.assertIs(said, recording)
        self.assertRegex(str(error), "the disk is too slow")
        self.assertIsNone(recording.error)
        go_on.set()
        self.recorder.stop(recording)
        recording.finished.result(WAIT)
        self.assertEqual(recording.written + recording.dropped, 60 * 8000)
        self.assertEqual(len(read_wav(path).mono), recording.written)
        self.assertGreater(recording.written, 45 * 8000)


class Closing(SynchronousTestCase):
    def test_closing_flushes_everything_and_ends_the_thread(self):
        recorder = Recorder()
        paths = [self.mktemp() for _ in range(5)]
        recordings = [recorder.start(path) for path in paths]
        recorder.append(np.array([each.slot for each in recordings]), frame(1, 2, 3, 4, 5))
        recorder.close().result(WAIT)
        self.assertEqual([read_wav(path).mono[0] for path in paths], [1, 2, 3, 4, 5])
        self.assertTrue(all(each.finished.done() for each in recordings))
        recorder._thread.join(WAIT)
        self.assertFalse(recorder._thread.is_alive())

    def test_closing_does_not_wait(self):
        go_on, real, seen = threading.Event(), WavWriter.close, []
        self.addCleanup(go_on.set)
        self.patch(WavWriter, "close", lambda writer: (go_on.wait(WAIT), real(writer)))
        recorder = Recorder()
        recorder.start(self.mktemp())
        closed = recorder.close()
        closed.add_done_callback(seen.append)
        self.assertFalse(closed.done())
        go_on.set()
        closed.result(WAIT)
        self.assertIs(recorder.close(), closed)
        recorder._thread.join(WAIT)
        self.assertEqual(seen, [closed])

    def test_nothing_recorded_means_no_thread(self):
        before = threading.active_count()
        recorder = Recorder()
        self.assertTrue(recorder.close().done())
        self.assertEqual(threading.active_count(), before)

    def test_too_late(self):
        recorder = Recorder()
        recorder.close()
        with self.assertRaises(CallOver):
            recorder.start(self.mktemp())

    def test_calls_that_outlive_it(self):
        path, recorder = self.mktemp(), Recorder()
        recording = recorder.start(path)
        recorder.close().result(WAIT)
        for _ in range(120):
            recorder.append(np.array([recording.slot]), frame(1))
        recorder.stop(recording)
        self.assertEqual(Path(path).stat().st_size, 44)

    def test_a_future_that_somebody_cancels_does_no_harm(self):
        recorder = Recorder()
        recording = recorder.start(self.mktemp())
        recording.finished.cancel()
        recording.finished.add_done_callback(lambda done: 1 / 0)
        with self.assertLogs("concurrent.futures"):
            recorder.stop(recording)
            recorder.close().cancel()
            recorder.close().result(WAIT)
        self.assertTrue(recording.finished.done())


KILLED = """
import os, signal, sys, time
import numpy as np
from sessioncore.media.recorder import Recorder
recorder = Recorder()
recording = recorder.start(sys.argv[1])
for number in range(225):
    recorder.append(np.array([recording.slot]), np.full((1, 160), number, np.int16))
while recorder._queue._items.qsize() or recording.written < 28000:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Killed(SynchronousTestCase):
    def test_a_kill_loses_a_second_at_most(self):
        path = os.path.abspath(self.mktemp())
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-c", KILLED, path]
        done = subprocess.run(command, cwd=root, timeout=60, check=False)
        self.assertEqual(done.returncode, -signal.SIGKILL)
        heard = read_wav(path).mono
        self.assertGreater(len(heard), (225 - 50) * 160)
        self.assertEqual(heard.tolist(), np.repeat(range(225), 160)[: len(heard)].tolist())
