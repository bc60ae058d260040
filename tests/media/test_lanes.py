"""Rows at other rates than 8000 Hz: ring, codecs, sources and sinks, moves between lanes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sessioncore.errors import ConfigurationError
from sessioncore.media import jitter
from sessioncore.media.bank import Bank
from sessioncore.media.formats import AUDIO, CN, Formats
from sessioncore.media.interfaces import IMediaSink, IMediaSource
from sessioncore.media.lane import FRAMES_PER_RING, MAX_FRAMES, REACH, Lane
from sessioncore.media.sinks import Deliver, Record
from sessioncore.media.sources import Clip, Echo, Frames, Tone
from sessioncore.media.wave import read_wav
from sessioncore.rtp.audio_codec import AudioCodec
from sessioncore.rtp.codecs import CODECS
from sessioncore.testing.tones import sine, tone_report
from sessioncore.vocabulary import COMFORT_NOISE, SECOND, Codec
from tests.media.fakes import PEER, Bench, agreement, rtp, rtp_fields

WAIT = 20
PCMU, G722 = CODECS["PCMU"], CODECS["G722"]


class Linear(AudioCodec):
    """Samples as they are: what is heard can be compared with what was sent."""

    frame_octets = 640
    sample_rate = 16_000
    silence = 0

    def decode(self, payloads, states):
        return (
            np.ascontiguousarray(payloads[:, : payloads.shape[1] & ~1]).view("<i2").astype(np.int16)
        )

    def encode(self, samples, states, payloads):
        payloads[:] = samples.astype("<i2").view(np.uint8)


class Loud(AudioCodec):
    """48 kHz, of which only the upper octets are sent: a packet holds no more."""

    frame_octets = 960
    sample_rate = 48_000
    silence = 0

    def decode(self, payloads, states):
        return payloads.astype(np.int16) << 8

    def encode(self, samples, states, payloads):
        payloads[:] = (samples >> 8).astype(np.uint8)


WIDE = Linear("X-WIDE", 110)  # an RTP clock of 8000 Hz, as G.722 has
EVEN = Linear("X-EVEN", 111, 16_000)
FULL = Loud("X-FULL", 112, 48_000)


def using(codec, **more):
    """What `Bench.call` needs to agree on ``codec``."""
    number = codec.payload_type
    return {"codec": codec, "send_payload_type": number, "receive_payload_type": number, **more}


def sample(first, count):
    return (np.arange(first, first + count) % 30_000 + 1).astype(np.int16)


class Speaker:
    """Sends 20 ms of ``audio`` at a time, in the payloads of a codec."""

    def __init__(self, bench, stream, codec, audio, *, ssrc=5, number=None):
        self.bench, self.stream, self.codec, self.audio = bench, stream, codec, audio
        self.number = codec.payload_type if number is None else number
        self.ssrc, self.sequence, self.timestamp, self.at, self.turn = (
            ssrc,
            65_530,
            2**32 - 500,
            0,
            0,
        )
        state = codec.new_state()
        self.states = () if state is None else [state]

    def packet(self):
        frame = self.audio[self.at : self.at + self.codec.frame_samples]
        self.at += self.codec.frame_samples
        payload = np.zeros((1, self.codec.frame_octets), np.uint8)
        self.codec.encode(frame[None], self.states, payload)
        data = rtp(self.sequence, self.timestamp, self.ssrc, payload.tobytes(), self.number)
        self.sequence += 1
        self.timestamp += self.codec.clock_rate // 50
        return data

    def __call__(self, now):
        if self.turn % 4 == 0 and self.at < len(self.audio):
            self.bench.io.arrive(self.stream, self.packet())
        self.turn += 1


def sent_audio(stream, codec, since=0):
    state = codec.new_state()
    states = () if state is None else [state]
    payloads = [np.frombuffer(data[12:], np.uint8)[None] for data, _ in stream.lease.sent[since:]]
    return np.concatenate([codec.decode(payload, states)[0] for payload in payloads])


class RingTests(SynchronousTestCase):
    """One row of any lane, fed by hand."""

    RATES = ((8000, 8000), (16_000, 8000), (16_000, 16_000), (48_000, 48_000), (8000, 48_000))

    @settings(max_examples=80)
    @given(
        st.sampled_from(RATES),
        st.sampled_from((1, 2, 3)),
        st.integers(0, 2**32 - 1),
        st.lists(st.sampled_from(["on time", "lost", "swapped", "doubled"]), max_size=40),
    )
    def test_what_comes_within_the_delay_is_played_in_its_place(self, rates, parts, start, fates):
        rate, clock = rates
        bank = Bank(2)
        row = np.array([bank.take_row()])
        lane = bank.lane_at(rate)
        bank.move(row.item(), lane, clock)
        size, tick = lane.frame, clock // 50

        def put(index, step, restart=False):
            position, usable = jitter.place(
                bank,
                lane,
                row,
                np.array([(start + index * tick) & 0xFFFF_FFFF]),
                np.array([size]),
                step=np.array([step]),
                restart=np.array([restart]),
                lag=np.zeros_like,
                clock=None if clock == rate else np.array([clock]),
            )
            for part in range(parts if usable[0] else 0):
                first, last = size * part // parts, size * (part + 1) // parts
                samples = sample(index * size + first, last - first)
                jitter.store(lane, row, position + first, samples[None])

        put(0, 1, True)
        due = {}
        for index, fate in enumerate(fates, 1):
            if fate != "lost":
                due.setdefault(index + (fate == "swapped"), []).append(index)
            if fate == "doubled":
                due.setdefault(index + 1, []).append(index)
        played, newest = [jitter.next_frames(bank, lane, row)[0][0]], 0
        for turn in range(1, len(fates) + 4):
            for index in due.get(turn, []):
                put(index, index - newest)
                newest = max(newest, index)
            played.append(jitter.next_frames(bank, lane, row)[0][0])
        heard = np.concatenate(played)[2 * size :]
        for index, fate in enumerate(["on time", *fates]):
            expected = np.zeros(size) if fate == "lost" else sample(index * size, size)
            self.assertEqual(heard[index * size :][:size].tolist(), expected.tolist(), index)

    def test_rates_that_there_are_none_of(self):
        for rate in (0, 11_025, 32_000):
            with self.assertRaisesRegex(ConfigurationError, "choose from 8000, 16000, 48000"):
                Bank(1).lane_at(rate)

    def test_a_lane_that_grows_keeps_what_it_holds(self):
        lane = Lane(0, 16_000, 2)
        slot = FRAMES_PER_RING + 3
        lane.ring[slot], lane.filled[slot], lane.heard[0, 1] = 7, True, slot
        lane.grow(4)
        lane.ring[2 * FRAMES_PER_RING] = 9  # where silence was
        heard = lane.frames_heard(np.arange(4))
        self.assertEqual([set(frame.tolist()) for frame in heard], [{0}, {7}, {0}, {0}])
        self.assertTrue(lane.filled[slot])


class HearingTests(SynchronousTestCase):
    def heard(self, codec, rate, audio, **more):
        bench, heard = Bench(), []
        stream = bench.call(**using(codec, **more))
        stream.set_sink(Deliver(heard.append, rate=rate))
        bench.run(len(audio) / codec.sample_rate, Speaker(bench, stream, codec, audio))
        return np.concatenate(heard)

    @settings(max_examples=15)
    @given(st.sampled_from((WIDE, EVEN, FULL)), st.integers(0, 2**32 - 1))
    def test_every_sample_in_its_place(self, codec, seed):
        audio = np.random.default_rng(seed).integers(-(2**15), 2**15, codec.sample_rate // 2)
        audio = audio.astype(np.int16) & (~0xFF if codec is FULL else ~0)
        heard = self.heard(codec, codec.sample_rate, audio)
        delay = 2 * codec.frame_samples
        self.assertTrue((heard[delay:] == audio[: len(heard) - delay]).all())

    def test_each_sink_at_the_rate_it_asks_for(self):
        for codec in (PCMU, WIDE, G722, FULL):
            audio = sine(1000, 1, rate=codec.sample_rate)
            for rate in (8000, 16_000, 48_000):
                heard = self.heard(codec, rate, audio)
                self.assertEqual(len(heard), rate)
                report = tone_report(heard[rate // 4 :], rate, 1000)
                self.assertEqual((report.fraction_present, report.phase_jumps), (1, 0), str(report))

    def test_an_applications_sink(self):
        @implementer(IMediaSink)
        class Ear:
            def __init__(self, **named):
                self.heard = []
                self.__dict__ |= named

            def write(self, samples):
                self.heard.append(len(samples))

        bench, plain, wide = Bench(), Ear(), Ear(rate=16_000)
        bench.call(**using(WIDE)).set_sink([plain, wide])
        bench.run(0.1)
        self.assertEqual((set(plain.heard), set(wide.heard)), ({160}, {320}))
        with self.assertRaisesRegex(ConfigurationError, "rate of the media sink: 11025"):
            bench.call().set_sink(Ear(rate=11_025))

    def test_a_new_source_begins_with_a_new_decoder(self):
        bench = Bench()
        stream = bench.call(**using(G722))
        bench.run(0.5, Speaker(bench, stream, G722, sine(3000, 0.5, rate=16_000)))
        form = bench.plane.bank.formats[bench.plane.bank.cells.format[stream.row]]
        first = form._decoders[stream.row]
        bench.run(0.25)  # the source before was silent for so long
        for number in range(2):  # RFC 3550 A.1: two in sequence
            bench.io.arrive(stream, rtp(number, number * 160, 99, bytes(160), 9))
            bench.run(0.02)
        self.assertIsNot(form._decoders[stream.row], first)
        stream.close(bench.now)
        self.assertEqual((form._decoders, form._encoders), ({}, {}))

    def test_a_newly_agreed_codec_begins_with_a_new_encoder_and_the_same_one_goes_on(self):
        bench = Bench()
        stream = bench.call(**using(G722))
        form = bench.plane.bank.formats[bench.plane.bank.cells.format[stream.row]]
        kept = []
        for codec in (G722, G722, PCMU, G722):
            values = agreement(stream, **using(codec))
            stream.establish(values, signalling_host=PEER[0], nat=None, now=bench.now)
            bench.run(0.2, Speaker(bench, stream, codec, sine(500, 1, rate=codec.sample_rate)))
            kept.append((form._encoders.get(stream.row), form._decoders.get(stream.row)))
        self.assertIs(kept[1][0], kept[0][0])
        self.assertIs(kept[1][1], kept[0][1])
        self.assertEqual(kept[2], (None, None))
        self.assertIsNotNone(kept[3][0])
        self.assertIsNot(kept[3][0], kept[0][0])

    def test_a_codec_of_another_rate_that_the_peer_may_switch_to(self):
        """With the same RTP clock or with another."""
        for codec, other in ((G722, PCMU), (EVEN, PCMU), (PCMU, G722), (PCMU, EVEN), (FULL, EVEN)):
            bench, heard = Bench(), []
            more = {"other_receive_payload_types": ((other.payload_type, other),)}
            stream = bench.call(**using(codec, **more))
            stream.set_sink(Deliver(heard.append, rate=16_000))
            bench.run(0.5, Speaker(bench, stream, codec, sine(700, 0.5, rate=codec.sample_rate)))
            first = len(heard)
            audio = sine(1000, 1.5, rate=other.sample_rate)
            bench.run(1.5, Speaker(bench, stream, other, audio, ssrc=8))
            for frames, hertz in ((heard[5:first], 700), (heard[first + 25 :], 1000)):
                report = tone_report(np.concatenate(frames), 16_000, hertz)
                self.assertEqual((report.fraction_present, report.phase_jumps), (1, 0), str(report))
            self.assertEqual(stream.statistics.unexpected_payload_type, 0)

    def test_rows_of_several_lanes_in_one_round(self):
        bench, codecs = Bench(), (PCMU, WIDE, FULL, G722, EVEN)
        streams, heard, speakers = [], [], []
        for codec in codecs:
            streams.append(bench.call(**using(codec)))
            heard.append([])
            streams[-1].set_sink(Deliver(heard[-1].append, rate=codec.sample_rate))
            audio = sine(700, 1, rate=codec.sample_rate)
            speakers.append(Speaker(bench, streams[-1], codec, audio))
        bench.run(1, lambda now: [speak(now) for speak in speakers])
        for codec, frames in zip(codecs, heard, strict=True):
            rate = codec.sample_rate
            self.assertTrue(tone_report(np.concatenate(frames)[rate // 5 :], rate, 700).heard())

    def test_comfort_noise(self):
        bench, heard = Bench(), []
        stream = bench.call(**using(G722, receive_comfort_noise_payload_type=13))
        stream.set_sink(Deliver(heard.append, rate=16_000))
        bench.io.arrive(stream, rtp(1, 0, 5, bytes([40]), 13))
        bench.run(0.5)
        level = 10 * np.log10(np.square(np.concatenate(heard)[3200:] / 32_767).mean())
        self.assertApproximates(level, -40, 1)
        self.assertEqual(len(heard[0]), 320)

    def test_jitter_is_told_in_milliseconds_of_any_clock(self):
        told = []
        for codec in (PCMU, WIDE, EVEN, FULL):
            bench = Bench()
            stream = bench.call(**using(codec))
            speaker = Speaker(bench, stream, codec, sine(500, 2, rate=codec.sample_rate))
            late = iter([0, 0, 0, 0, 1] * 1000)

            def talk(now, bench=bench, stream=stream, speaker=speaker, late=late):
                if speaker.turn % 4 == 0 and next(late):  # every fifth comes 20 ms late
                    speaker.turn += 1
                    return
                speaker(now)

            bench.run(1.5, talk)
            told.append(stream.statistics.jitter_ms)
            self.assertApproximates(stream.statistics.jitter_ms, told[-1], 1e-9)
        self.assertGreater(told[0], 0.5)
        for each in told:
            self.assertApproximates(each, told[0], 0.3)


@implementer(IMediaSource)
class Voice:
    """An application's source: a sine at its own rate, and how many samples were asked for."""

    def __init__(self, rate, hertz):
        self.rate, self.asked = rate, set()
        self.audio, self.at = sine(hertz, 5, rate=rate), 0

    def read(self, count):
        self.asked.add(count)
        self.at += count
        return self.audio[self.at - count : self.at]


class SendingTests(SynchronousTestCase):
    def sent(self, codec, source, seconds=1.0, feed=None):
        bench = Bench()
        stream = bench.call(**using(codec))
        stream.set_source(source)
        bench.run(seconds, feed)
        return stream, sent_audio(stream, codec)

    def check(self, codec, source, hertz, feed=None):
        _, audio = self.sent(codec, source, feed=feed)
        rate = codec.sample_rate
        self.assertEqual(len(audio), rate)
        report = tone_report(audio[rate // 4 :], rate, hertz)
        self.assertEqual((report.fraction_present, report.phase_jumps), (1, 0), f"{codec} {report}")
        self.assertApproximates(report.level_dbov, -16, 0.5)

    def test_the_clock_goes_its_own_pace(self):
        for codec, ticks in ((PCMU, 160), (G722, 160), (WIDE, 160), (EVEN, 320), (FULL, 960)):
            stream, audio = self.sent(codec, Tone(440))
            stamps = [rtp_fields(data)[3] for data, _ in stream.lease.sent]
            self.assertEqual({(b - a) % 2**32 for a, b in pairwise(stamps)}, {ticks})
            self.assertEqual(len(audio), 50 * codec.frame_samples)

    def test_the_clock_goes_on_while_nothing_is_played(self):
        for codec in (G722, EVEN):
            bench = Bench()
            stream = bench.call(**using(codec))
            bench.run(0.1)
            bench.now += SECOND
            bench.run(0.1)
            stamps = [rtp_fields(data)[3] for data, _ in stream.lease.sent]
            ticks = codec.clock_rate // 50
            gaps = [(b - a) % 2**32 // ticks for a, b in pairwise(stamps)]
            self.assertGreater(max(gaps), 45)
            self.assertEqual(sum(gaps), round(1.18 * 50))

    def test_tones(self):
        for codec in (PCMU, G722, WIDE, FULL):
            self.check(codec, Tone(440), 440)
            self.check(codec, Tone(440.5), 440.5)
        self.check(G722, Tone(6000), 6000)

    def test_a_tone_that_the_call_cannot_carry_is_silent_and_reported(self):
        bench = Bench()
        stream = bench.open()
        stream.set_source(Tone(6000))
        bench.run(0.1)
        self.assertEqual(bench.names(), [])  # nothing is agreed on yet
        stream.establish(agreement(stream), signalling_host=PEER[0], nat=None, now=bench.now)
        stream.sending.start(bench.now, True)
        bench.run(0.1)
        (failed,) = [detail for _, event, detail in bench.events if event.name == "SOURCE_ENDED"]
        self.assertIn("6000 Hz cannot be sent at 8000 Hz", str(failed))
        self.assertFalse(np.any(sent_audio(stream, PCMU)))
        stream.set_source(Tone(5000))
        bench.run(0.1)
        self.assertEqual(bench.names().count("SOURCE_ENDED"), 2)
        # In a wideband call it is heard.
        stream.establish(
            agreement(stream, **using(WIDE)), signalling_host=PEER[0], nat=None, now=bench.now
        )
        before = len(stream.lease.sent)
        bench.run(0.5)
        self.assertTrue(tone_report(sent_audio(stream, WIDE, before), 16_000, 5000).heard())
        self.assertEqual(bench.names().count("SOURCE_ENDED"), 2)

    def test_clips_of_another_rate(self):
        for codec in (PCMU, G722, WIDE, FULL):
            for rate in (8000, 16_000, 44_100):
                for loop in (True, False):
                    # Whole turns, or the loop itself would make a noise.
                    clip = Clip(sine(1000, 1.0 if loop else 1.5, rate=rate), loop, rate)
                    self.check(codec, clip, 1000)

    def test_a_short_loop_has_no_seam(self):
        self.check(WIDE, Clip(sine(1000, 0.01), True), 1000)

    def test_frames_that_are_pushed(self):
        for codec in (PCMU, G722, WIDE, FULL):
            for rate in (8000, 16_000, 48_000):
                frames, audio = Frames(rate), sine(1000, 2, rate=rate)
                at = frames.write(audio[: rate // 2])
                position = [at]

                def feed(now, frames=frames, audio=audio, position=position):
                    position[0] += frames.write(audio[position[0] :][:400])

                self.check(codec, frames, 1000, feed)
                self.assertEqual(frames.missed, 0)
                self.assertLessEqual(frames.buffered, rate)

    def test_an_applications_source(self):
        for codec in (PCMU, WIDE):
            for rate in (8000, 16_000):
                voice = Voice(rate, 1000)
                self.check(codec, voice, 1000)
                self.assertEqual(voice.asked, {rate // 50})
        with self.assertRaisesRegex(ConfigurationError, "rate of the media source: 22050"):
            Bench().call().set_source(Voice(22_050, 1000))

    def test_rates_that_there_are_none_of(self):
        for make in (
            lambda: Frames(11_025),
            lambda: Deliver(print, rate=44_100),
            lambda: Record("x.wav", rate=32_000),
            lambda: Clip(np.ones(9, np.int16), rate=999),
            lambda: Clip(np.ones(9, np.int16), rate="8000"),
        ):
            self.assertRaises(ConfigurationError, make)

    def test_echo(self):
        for codec in (G722, WIDE, EVEN):
            bench = Bench()
            stream = bench.call(**using(codec))
            stream.set_source(Echo(-6.0))
            bench.run(1, Speaker(bench, stream, codec, sine(2500, 1, rate=16_000, level=-10)))
            report = tone_report(sent_audio(stream, codec)[4000:], 16_000, 2500)
            self.assertTrue(report.heard(), str(report))
            self.assertApproximates(report.level_dbov, -16, 0.5)

    def test_silence_of_a_codec_with_a_memory(self):
        _, audio = self.sent(G722, Clip(sine(440, 0.2, rate=16_000), rate=16_000), 0.6)
        self.assertTrue(np.any(audio[:3200]))
        self.assertLess(np.abs(audio[6400:]).max(), 20)

    def test_recordings_are_at_the_calls_rate_or_at_their_own(self):
        for codec, wanted, expected in (
            (PCMU, None, 8000),
            (G722, None, 16_000),
            (G722, 8000, 8000),
        ):
            bench, path = Bench(), self.mktemp()
            stream = bench.call(**using(codec))
            stream.set_source(Tone(800))
            recording = stream.set_sink(Record(path, stereo=True, rate=wanted))
            bench.run(1, Speaker(bench, stream, codec, sine(600, 1, rate=codec.sample_rate)))
            stream.close(bench.now)
            recording.finished.result(WAIT)
            audio = read_wav(path)
            self.assertEqual((audio.rate, len(audio.samples)), (expected, expected))
            for channel, hertz in enumerate((600, 800)):
                samples = np.ascontiguousarray(audio.samples[expected // 4 :, channel])
                self.assertTrue(tone_report(samples, expected, hertz).heard())


class MovingTests(SynchronousTestCase):
    """A new agreement in mid-call takes the row to another lane, with its source and sinks."""

    def agree(self, bench, stream, codec, **more):
        values = agreement(stream, **using(codec, **more))
        stream.establish(values, signalling_host=PEER[0], nat=None, now=bench.now)

    def test_there_and_back(self):
        for make, hertz in (
            (lambda: Tone(1000), 1000),
            (lambda: Tone(1000.5), 1000.5),
            (lambda: Clip(sine(1000, 3)), 1000),
            (lambda: Clip(sine(1000, 3, rate=16_000), rate=16_000), 1000),
            (lambda: Voice(8000, 1000), 1000),
            (lambda: Voice(16_000, 1000), 1000),
        ):
            bench, heard = Bench(), []
            stream = bench.call()
            source = make()
            stream.set_source(source)
            stream.set_sink(Deliver(heard.append))
            for codec in (PCMU, WIDE, PCMU, G722):
                self.agree(bench, stream, codec)
                before, first = len(stream.lease.sent), len(heard)
                audio = sine(700, 0.6, rate=codec.sample_rate)
                bench.run(0.6, Speaker(bench, stream, codec, audio, ssrc=before))
                rate, sent = codec.sample_rate, sent_audio(stream, codec, before)
                report = tone_report(sent[rate // 25 :], rate, hertz)
                self.assertGreaterEqual(report.fraction_present, 0.96, f"{source} {codec} {report}")
                report = tone_report(np.concatenate(heard[first:])[1600:], 8000, 700)
                self.assertGreaterEqual(report.fraction_present, 0.95, f"{codec} {report}")
            self.assertEqual(bench.names().count("SOURCE_ENDED"), 0)

    def test_a_clip_goes_on_where_it_was_and_ends_once(self):
        bench = Bench()
        stream = bench.call()
        stream.set_source(Clip(np.arange(1, 8001, dtype=np.int16)))
        bench.run(0.5)
        self.agree(bench, stream, WIDE)
        bench.run(0.3)
        audio = sent_audio(stream, WIDE, 25)
        self.assertApproximates(audio[100], 4000 + 50, 8)
        bench.run(0.5)
        self.assertEqual(bench.names().count("SOURCE_ENDED"), 1)

    def test_what_was_pushed_is_not_lost(self):
        bench, frames = Bench(), Frames(16_000)
        stream = bench.call()
        stream.set_source(frames)
        frames.write(sine(1000, 1, rate=16_000))
        bench.run(0.4)
        self.agree(bench, stream, WIDE)
        bench.run(0.5)
        report = tone_report(sent_audio(stream, WIDE, 20), 16_000, 1000)
        self.assertEqual((report.fraction_present, report.phase_jumps), (1, 0), str(report))
        self.assertEqual(frames.missed, 0)

    def test_counts_go_on_and_time_begins_again(self):
        bench = Bench()
        stream = bench.call()
        bench.run(0.5, Speaker(bench, stream, PCMU, sine(700, 0.5)))
        self.agree(bench, stream, EVEN)
        speaker = Speaker(bench, stream, EVEN, sine(700, 0.5, rate=16_000))
        bench.run(0.5, speaker)
        told = stream.statistics
        self.assertEqual((told.packets_received, told.expected, told.lost), (50, 50, 0))
        self.assertEqual((told.late, told.overflow, told.duplicates), (0, 0, 0))
        self.assertLess(told.jitter_ms, 1)

    def test_a_row_that_is_lent_again_begins_at_8000_hz(self):
        bench = Bench()
        stream = bench.call(**using(EVEN))
        bench.run(0.2, Speaker(bench, stream, EVEN, sine(700, 0.2, rate=16_000)))
        row = stream.row
        stream.close(bench.now)
        again, heard = bench.call(), []
        self.assertEqual(again.row, row)
        again.set_sink(Deliver(heard.append))
        bench.run(0.5, Speaker(bench, again, PCMU, sine(700, 0.5)))
        self.assertTrue(tone_report(np.concatenate(heard)[800:], 8000, 700).heard())

    def test_before_the_agreement_it_is_played_at_the_rate_of_what_was_offered_first(self):
        bench, heard = Bench(), []
        stream = bench.open()
        stream.set_sink(Deliver(heard.append, rate=16_000))
        stream.expect_early(PEER[0], ((110, WIDE), (0, PCMU), (13, COMFORT_NOISE)))
        bench.run(0.5, Speaker(bench, stream, WIDE, sine(6000, 0.5, rate=16_000)))
        self.assertTrue(tone_report(np.concatenate(heard)[1600:], 16_000, 6000).heard())
        bench.run(0.25)  # the source before was silent for so long
        first = len(heard)
        bench.run(0.5, Speaker(bench, stream, PCMU, sine(1000, 0.5), ssrc=9))
        self.assertTrue(tone_report(np.concatenate(heard[first:])[3200:], 16_000, 1000).heard(0.9))

    def test_a_recording_without_a_sound_takes_the_rate_of_the_agreement(self):
        bench, path = Bench(), self.mktemp()
        stream = bench.open()
        recording = stream.set_sink(Record(path))
        stream.expect_early(PEER[0], ((9, G722), (0, PCMU)))
        bench.run(1.5)  # silence, over a second of it
        self.agree(bench, stream, PCMU)
        bench.run(1, Speaker(bench, stream, PCMU, sine(700, 1)))
        stream.close(bench.now)
        recording.finished.result(WAIT)
        audio = read_wav(path)
        self.assertEqual((audio.rate, len(audio.samples)), (8000, 8000 * 25 // 10))
        self.assertTrue(tone_report(audio.mono[13_000:], 8000, 700).heard())

    def test_a_recording_with_a_sound_before_the_agreement_keeps_its_rate(self):
        bench, path = Bench(), self.mktemp()
        stream = bench.open()
        recording = stream.set_sink(Record(path))
        stream.expect_early(PEER[0], ((110, WIDE), (0, PCMU)))
        bench.run(0.5, Speaker(bench, stream, WIDE, sine(6000, 0.5, rate=16_000)))
        self.agree(bench, stream, PCMU)
        bench.run(0.5, Speaker(bench, stream, PCMU, sine(700, 0.5), ssrc=8))
        stream.close(bench.now)
        recording.finished.result(WAIT)
        audio = read_wav(path)
        self.assertEqual((audio.rate, len(audio.samples)), (16_000, 16_000))
        self.assertTrue(tone_report(audio.mono[2000:8000], 16_000, 6000).heard())
        self.assertTrue(tone_report(audio.mono[10_000:], 16_000, 700).heard())

    def test_a_recording_with_a_sound_keeps_its_rate(self):
        bench, path = Bench(), self.mktemp()
        stream = bench.call()
        recording = stream.set_sink(Record(path))
        bench.run(1, Speaker(bench, stream, PCMU, sine(700, 1)))
        self.agree(bench, stream, WIDE)
        bench.run(1, Speaker(bench, stream, WIDE, sine(700, 1, rate=16_000), ssrc=8))
        stream.close(bench.now)
        recording.finished.result(WAIT)
        audio = read_wav(path)
        self.assertEqual((audio.rate, len(audio.samples)), (8000, 16_000))
        for half in (audio.mono[1000:8000], audio.mono[9000:]):
            self.assertTrue(tone_report(half, 8000, 700).heard())


class KeptFramesTests(SynchronousTestCase):
    """What each row heard last is there for others, whatever became of it in its own call."""

    def setUp(self):
        self.bench = Bench()

    def rows(self, *streams):
        return np.array([stream.row for stream in streams])

    def test_a_bridge_is_an_index_and_a_conference_a_sum_minus_oneself(self):
        bench, streams, heard = self.bench, [], []
        for source in (None, Echo(), Tone(440), Echo(-6)):
            streams.append(bench.call(**using(WIDE)))
            heard.append([])
            if source is not None:
                streams[-1].set_source(source)
        # Two deliver, which makes frames; two do not, which makes none.
        streams[0].set_sink(Deliver(heard[0].append, rate=16_000))
        streams[1].set_sink(Deliver(heard[1].append, rate=16_000))
        audio = [np.arange(k, 16_000, dtype=np.int16) for k in range(4)]
        speakers = [
            Speaker(bench, stream, WIDE, each) for stream, each in zip(streams, audio, strict=True)
        ]
        bench.run(0.2, lambda now: [speak(now) for speak in speakers])
        lane, rows = bench.plane.bank.lane_at(16_000), self.rows(*streams)
        kept = lane.frames_heard(rows)
        self.assertEqual(kept[0].tolist(), heard[0][-1].tolist())
        self.assertEqual(kept[1].tolist(), heard[1][-1].tolist())
        for number in range(4):
            self.assertEqual(kept[number].tolist(), (kept[0] + number).tolist())
        partner = np.array([1, 0, 3, 2])
        self.assertTrue((lane.frames_heard(rows[partner]) == kept[partner]).all())
        mix = kept.sum(axis=0, dtype=np.int32) - kept
        self.assertEqual(mix[0].tolist(), (kept[1].astype(int) + kept[2] + kept[3]).tolist())

    def test_rows_that_echo_by_table(self):
        stream = self.bench.call()
        stream.set_source(Echo())
        self.bench.run(0.2, Speaker(self.bench, stream, PCMU, sine(440, 1)))
        lane = self.bench.plane.bank.lanes[0]
        back = sent_audio(stream, PCMU)[-160:]
        self.assertTrue(np.any(back))
        self.assertEqual(lane.frames_heard(self.rows(stream))[0].tolist(), back.tolist())

    def test_silence_and_comfort_noise(self):
        heard = []
        quiet, noisy = self.bench.call(), self.bench.call(receive_comfort_noise_payload_type=13)
        noisy.set_sink(Deliver(heard.append))
        self.bench.io.arrive(noisy, rtp(1, 0, 5, bytes([30]), 13))
        self.bench.run(0.5)
        lane = self.bench.plane.bank.lanes[0]
        kept = lane.frames_heard(self.rows(quiet, noisy))
        self.assertFalse(np.any(kept[0]))
        self.assertTrue(np.any(kept[1]))
        self.assertEqual(kept[1].tolist(), heard[-1].tolist())

    def test_all_frames_of_a_longer_packet(self):
        for ptime in (40, 60):
            heard = []
            stream = self.bench.call(**using(WIDE, ptime=ptime))
            stream.set_sink(Deliver(heard.append, rate=16_000))
            self.bench.run(
                0.5, Speaker(self.bench, stream, WIDE, np.arange(16_000, dtype=np.int16))
            )
            lane, rows = self.bench.plane.bank.lane_at(16_000), self.rows(stream)
            kept = [lane.frames_heard(rows, which)[0] for which in range(ptime // 20)]
            self.assertEqual(np.concatenate(kept).tolist(), heard[-1].tolist())

    def test_they_stay_however_much_comes(self):
        """The ring has room for what waits and for what was heard."""
        bank = Bank(2)
        row, lane = np.array([bank.take_row()]), bank.lanes[0]
        jitter.store(lane, row, np.array([0]), np.full((1, MAX_FRAMES * 160), 7, np.int16))
        bank.end[row], bank.newest[row] = MAX_FRAMES * 160, 0
        for which in range(MAX_FRAMES):
            jitter.next_slots(bank, lane, row, which)
        bank.slack[row] = 9999
        jitter.trim(bank, lane, row)
        self.assertEqual(bank.dropped[row], 1)
        for frame in range(2 * REACH):
            position, usable = jitter.place(
                bank,
                lane,
                row,
                np.array([(MAX_FRAMES + frame) * 160]),
                np.array([160]),
                step=np.array([1]),
                restart=np.array([False]),
                lag=np.zeros_like,
            )
            if usable[0]:
                jitter.store(lane, row, position, np.full((1, 160), 9, np.int16))
        self.assertGreater(bank.overflow[row], 0)
        for which in range(MAX_FRAMES):
            self.assertEqual(set(lane.frames_heard(row, which).flat), {7})

    def test_a_row_that_moved_is_silent_where_it_was(self):
        stream = self.bench.call()
        self.bench.run(0.2, Speaker(self.bench, stream, PCMU, sine(440, 1)))
        rows, lane = self.rows(stream), self.bench.plane.bank.lanes[0]
        self.assertTrue(np.any(lane.frames_heard(rows)))
        values = agreement(stream, **using(WIDE))
        stream.establish(values, signalling_host=PEER[0], nat=None, now=self.bench.now)
        self.assertFalse(np.any(lane.frames_heard(rows)))
        self.assertFalse(np.any(lane.filled))

    def test_a_row_that_is_lent_again_heard_nothing(self):
        lane = self.bench.plane.bank.lanes[0]
        for data in (rtp(1, 0, 5, sine(440, 0.02).tobytes()[:160]), rtp(1, 0, 5, b"\x1e", 13)):
            stream = self.bench.call(receive_comfort_noise_payload_type=13)
            stream.set_sink(Deliver(lambda samples: None))
            self.bench.io.arrive(stream, data)
            self.bench.run(0.045)
            rows = self.rows(stream)
            self.assertTrue(np.any(lane.frames_heard(rows)))
            stream.close(self.bench.now)
            self.assertFalse(np.any(lane.frames_heard(rows)))


class ShortCutTests(SynchronousTestCase):
    """What one row needs is not done for the others: rows are counted, not time."""

    COUNT = 24  # all in one phase

    def setUp(self):
        self.bench = Bench()
        self.rendered, self.consumed = [], []
        playout = self.bench.plane.playout
        render, consume = playout.sources.render, playout.sinks.consume

        def count_rendered(rows, *rest):
            self.rendered += rows.tolist()
            render(rows, *rest)

        def count_consumed(rows, *rest):
            self.consumed += rows.tolist()
            consume(rows, *rest)

        self.patch(playout.sources, "render", count_rendered)
        self.patch(playout.sinks, "consume", count_consumed)

    def calls(self, source, **more):
        streams = [
            self.bench.call(receive_comfort_noise_payload_type=13, **more)
            for _ in range(self.COUNT)
        ]
        for stream in streams:
            if source is not None:
                stream.set_source(source)
        self.speakers = [Speaker(self.bench, stream, PCMU, sine(440, 9)) for stream in streams]
        return streams

    def talk(self, now):
        for speak in self.speakers:
            speak(now)

    def send_noise(self, which):
        """One packet of comfort noise in the place of speech."""
        speaker = self.speakers[which]
        speaker.packet()
        data = rtp(speaker.sequence - 1, speaker.timestamp - 160, 5, bytes([40]), 13)
        self.bench.io.arrive(speaker.stream, data)

    def run_counted(self):
        self.rendered.clear(), self.consumed.clear()
        self.bench.run(0.2, self.talk)
        return set(self.rendered), set(self.consumed)

    def test_rows_that_echo(self):
        streams = self.calls(Echo(-6))
        self.assertEqual(self.run_counted(), (set(), set()))
        noisy, heard = streams[3], streams[5]
        self.send_noise(3)
        self.run_counted()
        self.assertEqual(self.run_counted(), ({noisy.row}, set()))
        sink = Deliver(lambda samples: None)
        heard.add_sink(sink)
        self.assertEqual(self.run_counted()[0], {noisy.row, heard.row})
        self.assertLessEqual(self.run_counted()[1], {noisy.row, heard.row})
        heard.remove_sink(sink)
        self.assertEqual(self.run_counted(), ({noisy.row}, set()))
        # A new agreement forgets the noise.
        noisy.establish(agreement(noisy), signalling_host=PEER[0], nat=None, now=self.bench.now)
        self.assertEqual(self.run_counted(), (set(), set()))

    def test_rows_that_are_silent(self):
        streams = self.calls(None)
        self.assertEqual(self.run_counted(), (set(), set()))
        self.send_noise(3)
        streams[5].set_sink(Deliver(lambda samples: None))
        streams[7].set_source(Tone(440))
        self.assertEqual(self.run_counted(), ({streams[7].row}, {streams[5].row}))
        streams[7].set_source(Clip(np.ones(160, np.int16)))
        self.run_counted()
        # The clip ended, and its row is as silent as the others.
        self.assertEqual(self.run_counted(), (set(), {streams[5].row}))

    def test_rows_with_a_source_that_nobody_hears_make_no_frames_of_what_they_hear(self):
        self.calls(Tone(440))
        lane = self.bench.plane.bank.lanes[0]
        self.run_counted()
        taken = []

        class Ring(np.ndarray):
            def take(self, *given, **named):
                taken.append(given)
                return np.asarray(self).take(*given, **named)

        lane.ring = lane.ring.view(Ring)
        self.bench.run(0.2, self.talk)
        self.assertEqual(taken, [])
        lane.frames_heard(np.array([0]))
        self.assertEqual(len(taken), 1)

    def test_a_wideband_row_slows_nobody(self):
        self.calls(Echo(-6))
        wide = self.bench.call(**using(G722))
        wide.set_source(Echo(-6))
        self.assertEqual(self.run_counted(), ({wide.row}, set()))


class FormatsTests(SynchronousTestCase):
    def test_a_number_for_each_codec_at_each_rate(self):
        formats = Formats()
        numbers = [formats.number(c, r) for c in (PCMU, WIDE) for r in (8000, 16_000)]
        self.assertEqual(len(set(numbers)), 4)
        self.assertEqual(formats.number(WIDE, 16_000), numbers[3])
        self.assertEqual(formats[numbers[1]].codec, PCMU)
        self.assertEqual(formats.meaning(COMFORT_NOISE, 8000), CN)
        # Decoded by table, and only where nothing has to be converted.
        self.assertEqual(formats.plain[numbers].tolist(), [1, 0, 0, 0])
        self.assertEqual(formats.tables[0].tolist(), PCMU.decode_table.tolist())

    def test_an_octet_names_them_all(self):
        formats = Formats()
        for number in range(256 - AUDIO):
            formats.number(Linear(f"X-{number}", 99), 16_000)
        with self.assertRaisesRegex(ConfigurationError, "^X-MORE/8000: more than 253 formats"):
            formats.number(Linear("X-MORE", 99), 16_000)

    def test_a_value_that_says_nothing_of_coding(self):
        bench = Bench()
        with self.assertRaisesRegex(ConfigurationError, "X-NAME/8000 cannot be coded"):
            bench.call(**using(Codec("X-NAME", 99)))
