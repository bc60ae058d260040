from __future__ import annotations

import gc
import weakref

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sessioncore.errors import ConfigurationError, MediaFileError
from sessioncore.media.interfaces import IMediaSource
from sessioncore.media.sample_pool import SamplePool
from sessioncore.media.source_bank import SourceBank
from sessioncore.media.sources import Clip, Echo, Frames, Silence, Tone
from sessioncore.media.wave import write_wav
from sessioncore.testing.tones import sine, tone_report

RAMP = np.arange(1, 1001).astype(np.int16)


def render(bank, rows, heard=None, width=160):
    rows = np.array(rows, np.int64)
    heard = np.zeros((len(rows), width), np.int16) if heard is None else heard
    out = np.full((len(rows), width), 12345, np.int16)
    bank.render(rows, heard, out, 0)
    return out


def play(bank, rows, frames, width=160):
    """The rows' audio, run together: int16[n, frames * width]."""
    return np.concatenate([render(bank, rows, width=width) for _ in range(frames)], axis=1)


@implementer(IMediaSource)
class Counting:
    """Counts up; gives what it is told to instead where that is set."""

    def __init__(self):
        self.next = 0
        self.calls = 0
        self.gives = None

    def read(self, count):
        self.calls += 1
        if self.gives is not None:
            return self.gives(count)
        self.next += count
        return np.arange(self.next - count, self.next).astype(np.int16)


class Silences(SynchronousTestCase):
    def test_rows_without_a_source_are_silent(self):
        bank = SourceBank()
        self.assertFalse(render(bank, [0, 5, 100_000]).any())
        bank.attach(5, Silence())
        self.assertFalse(render(bank, [0, 5]).any())
        self.assertEqual(bank.reports(), [])

    def test_no_rows(self):
        self.assertEqual(render(SourceBank(), []).shape, (0, 160))


class Tones(SynchronousTestCase):
    def test_continuous_across_frames(self):
        for frequency in (440.0, 441.0, 999.0, 440.5, 1004.25, 3999.0):
            for width in (80, 160, 240, 7):
                bank = SourceBank()
                bank.attach(3, Tone((frequency,), -16.0))
                heard = play(bank, [3], 16000 // width, width)[0]
                if frequency < 3900:
                    report = tone_report(heard, 8000, frequency)
                    self.assertEqual(report.fraction_present, 1.0, str(report))
                    self.assertEqual(report.phase_jumps, 0)
                    self.assertGreater(report.ratio_db, 60)
                    self.assertApproximates(report.level_dbov, -16.0, 0.05)
                expected = sine(frequency, len(heard) / 8000).astype(np.int64)
                self.assertLessEqual(np.abs(heard - expected).max(), 8)

    def test_two_frequencies(self):
        for pair in ((697.0, 1209.0), (697.5, 1209.25)):
            bank = SourceBank()
            bank.attach(0, Tone(pair, -13.0))
            heard = play(bank, [0], 50)[0]
            spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
            hertz = np.fft.rfftfreq(len(heard), 1 / 8000)
            near = np.any([np.abs(hertz - f) < 8 for f in pair], axis=0)
            self.assertLess(spectrum[~near].max(), spectrum[near].max() / 1000)
            for frequency in pair:
                self.assertGreater(spectrum[np.abs(hertz - frequency) < 8].max(), 1e5)

    def test_rows_are_independent(self):
        bank = SourceBank()
        tones = {0: 440.0, 1: 440.0, 2: 500.5, 70: 500.5, 3: 600.0}
        for row, frequency in tones.items():
            bank.attach(row, Tone((frequency,)))
            render(bank, [row])
        heard = play(bank, list(tones), 50)
        for index, frequency in enumerate(tones.values()):
            report = tone_report(heard[index], 8000, frequency)
            self.assertTrue(report.heard() and report.phase_jumps == 0, str(report))

    def test_what_cannot_be_played(self):
        for frequencies in ((), (0.0,), (24_000.0,), (-1.0,), (float("nan"),), (1.0, 2.0, 3.0)):
            with self.assertRaises(ConfigurationError):
                Tone(frequencies)
        for level in (-3.0, 0.0, float("nan"), float("inf")):
            with self.assertRaises(ConfigurationError):
                Tone((440.0,), level)
        with self.assertRaisesRegex(ConfigurationError, "clips"):
            Tone((440.0, 880.0), -9.0)
        with self.assertRaisesRegex(ConfigurationError, "clips"):
            Tone(level=1e6)

    def test_what_is_no_number(self):
        for wrong in ("440", b"440", None, True, 1j, ("440",), (440, None), [[440]]):
            with self.assertRaisesRegex(ConfigurationError, "^frequencies: .* is not a number"):
                Tone(wrong)
        for wrong in ("-16", None, (-16,), False):
            with self.assertRaisesRegex(ConfigurationError, "^level: .* is not a number"):
                Tone(440, wrong)
            with self.assertRaisesRegex(ConfigurationError, "^gain_db: .* is not a number"):
                Echo(wrong)
        self.assertEqual(Tone(np.int64(440), np.float32(-20)).frequencies, (440,))

    def test_one_frequency_needs_no_tuple(self):
        self.assertEqual(Tone(440.0), Tone((440.0,)))


class Clips(SynchronousTestCase):
    def test_once_and_then_silence(self):
        bank, clip = SourceBank(), Clip(RAMP)
        bank.attach(7, clip)
        heard = play(bank, [7], 8)[0]
        self.assertEqual(heard[:1000].tolist(), RAMP.tolist())
        self.assertFalse(heard[1000:].any())

    def test_the_end_is_told_once(self):
        bank, clip = SourceBank(), Clip(RAMP)
        bank.attach(7, clip)
        play(bank, [7], 6)
        self.assertEqual(bank.reports(), [])
        play(bank, [7], 3)
        (report,) = bank.reports()
        self.assertEqual((report.row, report.source, report.error), (7, clip, None))
        self.assertEqual(bank.reports(), [])
        self.assertEqual(bank.failures, 0)

    def test_a_clip_of_whole_frames_ends_with_its_last_one(self):
        bank = SourceBank()
        bank.attach(0, Clip(RAMP[:320]))
        play(bank, [0], 1)
        self.assertEqual(bank.reports(), [])
        play(bank, [0], 1)
        self.assertEqual(len(bank.reports()), 1)

    @settings(max_examples=60)
    @given(st.integers(1, 2000), st.sampled_from([80, 160, 240, 960]), st.integers(1, 30))
    def test_loops_run_on(self, size, width, frames):
        bank = SourceBank()
        samples = np.arange(1, size + 1).astype(np.int16)
        bank.attach(0, Clip(samples, loop=True))
        heard = play(bank, [0], frames, width)[0]
        self.assertEqual(heard.tolist(), np.resize(samples, len(heard)).tolist())
        self.assertEqual(bank.reports(), [])

    def test_rows_share_a_clip_and_not_a_position(self):
        bank, clip = SourceBank(), Clip(RAMP)
        bank.attach(0, clip)
        first = render(bank, [0])
        bank.attach(1, clip)
        both = render(bank, [1, 0])
        self.assertEqual(both[0].tolist(), first[0].tolist())
        self.assertEqual(both[1].tolist(), RAMP[160:320].tolist())

    def test_once_and_looped_at_the_same_time(self):
        bank = SourceBank()
        bank.attach(0, Clip(RAMP[:100]))
        bank.attach(1, Clip(RAMP[:100], loop=True))
        heard = render(bank, [0, 1])
        self.assertEqual(heard[0].tolist(), [*RAMP[:100], *[0] * 60])
        self.assertEqual(heard[1].tolist(), [*RAMP[:100], *RAMP[:60]])

    def test_a_new_clip_at_an_old_address_is_not_taken_for_the_old_one(self):
        bank = SourceBank()
        for number in range(1, 50):
            bank.attach(0, Clip(np.full(160, number, np.int16)))
            self.assertEqual(render(bank, [0])[0].tolist(), [number] * 160)

    def test_what_is_no_clip(self):
        for samples in (np.zeros(0, np.int16), np.zeros(5), np.zeros((5, 2), np.int16), [1.5]):
            with self.assertRaises(ConfigurationError):
                Clip(samples)

    def test_no_path(self):
        for wrong in (None, 5, b"tone.wav"):
            with self.assertRaisesRegex(ConfigurationError, "is no path"):
                Clip.from_file(wrong)

    def test_from_file(self):
        path = self.mktemp()
        tone = sine(600, 1, rate=44100)
        write_wav(path, np.stack([tone, tone], axis=1), 44100)
        clip = Clip.from_file(path, loop=True)
        self.assertTrue(clip.loop)
        self.assertEqual((len(clip.samples), len(clip.at(8000))), (44_100, 8000))
        self.assertTrue(tone_report(clip.at(8000)[160:-160], 8000, 600).heard())
        with self.assertRaises(MediaFileError):
            Clip.from_file("nowhere.wav")
        write_wav(path, tone, 999)
        with self.assertRaisesRegex(MediaFileError, f"{path}: sampling rate of 999 Hz"):
            Clip.from_file(path)


class Pool(SynchronousTestCase):
    def test_sounds_in_several_slabs(self):
        bank = SourceBank()
        clips = [Clip(np.full(700_000, n, np.int16)) for n in range(1, 5)]
        for row, clip in enumerate(clips):
            bank.attach(row, clip)
        self.assertEqual(render(bank, [2, 0, 3, 1])[:, 0].tolist(), [3, 1, 4, 2])

    def test_idle_sounds_are_kept_within_the_limit(self):
        pool, made = SamplePool(idle_samples=2500), []

        def lease(key):
            return pool.lease(key, lambda: made.append(key) or RAMP, loop=False)

        for key in "abc":
            lease(key)
        for key in "abc":
            pool.release(key)
        for key in "cba":
            lease(key)
        # The oldest had to go; the two that fitted were still there.
        self.assertEqual(made, ["a", "b", "c", "a"])

    def test_silence_follows_a_clip_where_a_longer_one_was(self):
        pool, out = SamplePool(idle_samples=0), np.zeros((1, 960), np.int16)
        pool.lease("a", lambda: RAMP, loop=False)
        pool.lease("stays", lambda: RAMP, loop=False)
        pool.release("a")
        sound = pool.lease("b", lambda: RAMP[:10], loop=False)
        pool.gather(np.array([sound.slab]), np.array([sound.start]), out)
        self.assertEqual(out[0].tolist(), [*RAMP[:10], *[0] * 950])

    def test_neighbours_that_went_make_room_together(self):
        pool = SamplePool(idle_samples=0)
        third = np.ones(300_000, np.int16)
        for key in "abc":
            pool.lease(key, lambda: third, loop=False)
        pool.release("a")
        pool.release("b")
        big = pool.lease("d", lambda: np.ones(600_000, np.int16), loop=False)
        self.assertEqual((big.slab, big.start), (0, 0))

    def test_what_a_sound_was_made_from_lives_as_long(self):
        """Or other samples at the same place in memory would be taken for it."""
        bank, clip = SourceBank(), Clip(RAMP.copy())
        samples = weakref.ref(clip.samples)
        bank.attach(0, clip, 16_000)
        bank.detach(0)
        del clip
        gc.collect()
        self.assertIsNotNone(samples())

    def test_a_sound_in_use_never_goes(self):
        pool = SamplePool(idle_samples=0)
        first = pool.lease("a", lambda: RAMP, loop=False)
        self.assertIs(pool.lease("a", lambda: RAMP * 2, loop=False), first)
        pool.release("a")
        for number in range(5):
            pool.lease(number, lambda: RAMP + np.int16(1), loop=False)
            pool.release(number)
        out = np.zeros((1, 160), np.int16)
        pool.gather(np.array([first.slab]), np.array([first.start]), out)
        self.assertEqual(out[0].tolist(), RAMP[:160].tolist())

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 300_000)), max_size=25))
    def test_sounds_never_overlap(self, steps):
        pool, held = SamplePool(idle_samples=0), {}
        for number, (key, size) in enumerate(steps, 1):
            if key in held:
                pool.release(held.pop(key)[0])
            else:
                name = (key, number)
                sound = pool.lease(
                    name, lambda size=size, n=number: np.full(size, n, np.int16), loop=False
                )
                held[key] = (name, sound, number)
            for _, kept, value in held.values():
                out = np.zeros((1, 1), np.int16)
                for at in (0, kept.length - 1):
                    pool.gather(np.array([kept.slab]), np.array([kept.start + at]), out)
                    self.assertEqual(out[0, 0], value)


class Echoes(SynchronousTestCase):
    def test_gain_per_row(self):
        bank = SourceBank()
        for row, gain in enumerate((0.0, 6.0206, -20.0)):
            bank.attach(row, Echo(gain))
        heard = np.full((3, 160), 1000, np.int16)
        self.assertEqual(render(bank, [2, 0, 1], heard)[:, 5].tolist(), [100, 1000, 2000])

    def test_too_loud_is_clipped_not_wrapped(self):
        bank = SourceBank()
        bank.attach(0, Echo(60.0))
        heard = np.tile(np.array([[32767, -32768, 33, -33]], np.int16), 40)
        self.assertEqual(set(render(bank, [0], heard)[0].tolist()), {32767, -32768})

    def test_unity_is_exact(self):
        bank = SourceBank()
        bank.attach(0, Echo())
        heard = np.random.default_rng(1).integers(-32768, 32768, (1, 160)).astype(np.int16)
        self.assertEqual(render(bank, [0], heard).tolist(), heard.tolist())

    def test_bounds(self):
        for gain in (61.0, -61.0, float("nan"), float("inf")):
            with self.assertRaises(ConfigurationError):
                Echo(gain)


class PushedFrames(SynchronousTestCase):
    def setUp(self):
        self.bank, self.frames = SourceBank(), Frames()

    def test_in_order_across_the_ring_many_times(self):
        self.bank.attach(4, self.frames)
        sent, heard = [], []
        for number in range(200):
            piece = np.arange(number * 167, number * 167 + 167).astype(np.int16)
            self.assertEqual(self.frames.write(piece), 167)
            sent += piece.tolist()
            heard += render(self.bank, [4])[0].tolist()
        self.assertEqual(heard, sent[: len(heard)])
        self.assertEqual(self.frames.buffered, 200 * 7)
        self.assertEqual(self.frames.missed, 0)

    @settings(max_examples=60)
    @given(st.lists(st.integers(0, 9000) | st.sampled_from([-80, -160, -960]), max_size=30))
    def test_equals_a_plain_queue(self, steps):
        bank, frames, queue, missed, number = SourceBank(), Frames(), [], 0, 0
        bank.attach(0, frames)
        written = False
        for step in steps:
            if step >= 0:
                piece = np.arange(number, number + step).astype(np.int16)
                number += step
                fits = min(step, 8000 - len(queue))
                self.assertEqual(frames.write(piece), fits)
                queue += piece[:fits].tolist()
                written = written or fits > 0
            else:
                expected, queue = queue[:-step], queue[-step:]
                short = -step - len(expected)
                missed += short if written else 0
                heard = render(bank, [0], width=-step)[0].tolist()
                self.assertEqual(heard, expected + [0] * short)
            self.assertEqual((frames.buffered, frames.missed), (len(queue), missed))

    def test_frames_across_the_end_of_the_ring(self):
        for width in (7, 240, 959, 960):
            frames, sent, heard = Frames(), [], []
            self.bank.attach(width, frames)
            while len(sent) < 20_000:
                piece = np.arange(len(sent), len(sent) + width).astype(np.int16)
                frames.write(piece)
                sent += piece.tolist()
                heard += render(self.bank, [width], width=width)[0].tolist()
            self.assertEqual(heard, sent)

    def test_at_most_a_second_waits(self):
        self.assertEqual(self.frames.write(np.ones(5000, np.int16)), 5000)
        self.assertEqual(self.frames.write(np.ones(5000, np.int16)), 3000)
        self.assertEqual(self.frames.write(np.ones(5000, np.int16)), 0)
        self.bank.attach(0, self.frames)
        self.assertEqual(self.frames.buffered, 8000)
        self.assertEqual(self.frames.write(np.ones(5000, np.int16)), 0)

    def test_what_was_written_before_is_played(self):
        self.frames.write(RAMP[:200])
        self.bank.attach(0, self.frames)
        self.assertEqual(play(self.bank, [0], 2)[0].tolist(), [*RAMP[:200], *[0] * 120])
        self.assertEqual(self.frames.missed, 120)

    def test_waiting_for_the_first_sample_is_no_underflow(self):
        self.bank.attach(0, self.frames)
        play(self.bank, [0], 10)
        self.assertEqual(self.frames.missed, 0)

    def test_a_ring_is_empty_for_its_next_user(self):
        self.bank.attach(0, self.frames)
        self.frames.write(RAMP)
        render(self.bank, [0])
        self.bank.detach(0)
        other = Frames()
        self.bank.attach(1, other)
        self.assertFalse(render(self.bank, [1]).any())
        self.assertEqual(other.buffered, 0)

    def test_writing_after_the_call_reaches_nobody(self):
        self.bank.attach(0, self.frames)
        self.bank.detach(0)
        other = Frames()
        self.bank.attach(0, other)
        self.frames.write(RAMP)
        self.assertFalse(render(self.bank, [0]).any())

    def test_many_rows(self):
        each = [Frames() for _ in range(40)]
        for row, frames in enumerate(each):
            self.bank.attach(row, frames)
            frames.write(np.full(160, row, np.int16))
        self.assertEqual(render(self.bank, range(40))[:, 159].tolist(), list(range(40)))

    def test_one_frames_feeds_one_call(self):
        self.bank.attach(0, self.frames)
        with self.assertRaisesRegex(ConfigurationError, "feeds one call"):
            self.bank.attach(1, self.frames)
        self.frames.write(RAMP)
        self.assertEqual(render(self.bank, [0, 1])[:, 0].tolist(), [1, 0])

    def test_only_int16(self):
        with self.assertRaises(ConfigurationError):
            self.frames.write(np.zeros(160))


class ApplicationSources(SynchronousTestCase):
    def setUp(self):
        self.bank, self.source = SourceBank(), Counting()
        self.bank.attach(2, self.source)

    def test_frames_are_asked_for(self):
        self.assertEqual(play(self.bank, [2], 3)[0].tolist(), list(range(480)))

    def test_too_few_are_filled_up(self):
        self.source.gives = lambda count: np.ones(10, np.int16)
        self.assertEqual(render(self.bank, [2])[0].tolist(), [1] * 10 + [0] * 150)
        self.assertEqual(self.bank.reports(), [])

    def test_the_end(self):
        self.source.gives = lambda count: None
        self.assertFalse(play(self.bank, [2], 2).any())
        (report,) = self.bank.reports()
        self.assertEqual((report.row, report.source, report.error), (2, self.source, None))
        self.assertEqual((self.source.calls, self.bank.failures), (1, 0))

    def test_one_that_raises_is_detached_and_the_others_play_on(self):
        other = Counting()
        self.bank.attach(3, other)
        self.source.gives = lambda count: 1 / 0
        heard = play(self.bank, [2, 3], 2)
        self.assertFalse(heard[0].any())
        self.assertEqual(heard[1].tolist(), list(range(320)))
        (report,) = self.bank.reports()
        self.assertEqual((report.row, report.source), (2, self.source))
        self.assertIsInstance(report.error, ZeroDivisionError)
        self.assertEqual((self.source.calls, self.bank.failures), (1, 1))

    def test_what_is_no_frame(self):
        for wrong in (
            b"\0" * 320,
            [0] * 160,
            np.zeros(160),
            np.zeros(161, np.int16),
            np.zeros((160, 1), np.int16),
            7,
        ):
            self.source.gives = lambda count, wrong=wrong: wrong
            self.bank.attach(2, self.source)
            self.assertFalse(render(self.bank, [2]).any())
            (report,) = self.bank.reports()
            self.assertRegex(str(report.error), "^IMediaSource.read.*return")

    def test_one_that_hangs_up_its_own_row(self):
        def detach(count):
            self.bank.detach(2)
            return np.ones(count, np.int16)

        self.source.gives = detach
        render(self.bank, [2])
        self.assertFalse(render(self.bank, [2]).any())

    def test_one_that_hangs_up_another_row(self):
        other = Counting()
        self.bank.attach(3, other)

        def detach(count):
            self.bank.detach(3)
            return

        self.source.gives = detach
        render(self.bank, [2, 3])
        self.assertFalse(render(self.bank, [2, 3]).any())
        self.assertEqual(len(self.bank.reports()), 1)

    def test_one_that_replaces_itself_and_ends(self):
        def replace(count):
            self.bank.attach(2, Clip(RAMP))
            return

        self.source.gives = replace
        render(self.bank, [2])
        self.assertEqual(render(self.bank, [2])[0].tolist(), RAMP[:160].tolist())

    def test_what_provides_nothing(self):
        for wrong in (object(), None, "tone.wav", Tone):
            with self.assertRaisesRegex(ConfigurationError, "IMediaSource"):
                self.bank.attach(2, wrong)
            self.assertFalse(render(self.bank, [2]).any())


class Mixed(SynchronousTestCase):
    def test_all_kinds_in_any_order(self):
        bank, frames = SourceBank(), Frames()
        frames.write(np.full(160, 4, np.int16))
        sources = [Silence(), Clip(RAMP), Echo(), frames, Counting(), Tone((440.5,))]
        for row, source in enumerate(sources):
            bank.attach(row, source)
        rows = [5, 3, 0, 4, 2, 1]
        heard = np.full((6, 160), 9, np.int16)
        out = render(bank, rows, heard)
        self.assertEqual(out[1:, 3].tolist(), [4, 0, 3, 9, 4])
        np.testing.assert_allclose(out[0], sine(440.5, 0.02), atol=2)

    def test_a_source_of_another_rate_begins_with_nothing_of_the_last(self):
        bank = SourceBank()
        for loud in (True, False, True):
            frames = Frames(rate=16_000)
            bank.attach(0, frames)
            frames.write(np.full(320, 20_000 if loud else 0, np.int16))
            self.assertEqual(bool(render(bank, [0]).any()), loud)
            bank.detach(0)

    def test_another_source_takes_over(self):
        bank = SourceBank()
        bank.attach(0, Clip(RAMP))
        render(bank, [0])
        bank.attach(0, Echo())
        heard = np.full((1, 160), 9, np.int16)
        self.assertEqual(render(bank, [0], heard)[0].tolist(), [9] * 160)
        bank.attach(0, Clip(RAMP))
        self.assertEqual(render(bank, [0])[0].tolist(), RAMP[:160].tolist())
        bank.detach(0)
        bank.detach(0)
        bank.detach(10**6)
        self.assertFalse(render(bank, [0]).any())
