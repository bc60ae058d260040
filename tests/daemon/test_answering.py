"""What ``--answer`` and ``--play`` mean, and how the answering handler carries it out."""

from __future__ import annotations

import wave
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon.answering import Answering, AnswerPlan, parse_answer, parse_play
from sessioncore.errors import ConfigurationError, MediaFileError
from sessioncore.media.sinks import Record
from sessioncore.media.sources import Clip, Echo, Silence, Tone
from tests.fakes import FakeManager


def wav_file(path: str, samples: int = 800) -> str:
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x01\x00" * samples)
    return path


class ParseTests(SynchronousTestCase):
    def test_answers(self) -> None:
        self.assertEqual(parse_answer("echo").source, Echo())
        self.assertEqual(parse_answer("echo:-6").source, Echo(gain_db=-6.0))
        self.assertEqual(parse_answer("silence").source, Silence())
        self.assertEqual(parse_answer("tone:440").source, Tone(frequencies=(440.0,)))
        self.assertEqual(parse_answer("tone:350+440.5").source, Tone(frequencies=(350.0, 440.5)))
        self.assertEqual(parse_answer("reject:486").reject, 486)

    def test_files(self) -> None:
        path = wav_file(self.mktemp())
        for source in (
            parse_answer(f"play:{path}").source,
            parse_play(path),
            parse_play(f"play:{path}"),
        ):
            self.assertIsInstance(source, Clip)
            self.assertEqual(len(source.samples), 800)

    def test_plays(self) -> None:
        self.assertEqual(parse_play("tone:440"), Tone(frequencies=(440.0,)))
        self.assertEqual(parse_play("silence"), Silence())

    def test_the_error_names_the_value_and_what_to_write(self) -> None:
        for text, says in {
            "": "write echo",
            "ech": "'ech' is unknown; write echo",
            "echo:": "write a number from -60 to 20 (dB)",
            "echo:loud": "'loud' is not usable",
            "echo:90": "'90' is not usable",
            "echo:nan": "'nan' is not usable",
            "silence:1": "'silence:1' is unknown",
            "tone:": "write a number from 20 to 7900 (Hz)",
            "tone:8000": "'8000' is not usable",
            "tone:1_0": "'1_0' is not usable",
            "tone:٤٤٠": "is not usable",
            "tone:1+2+3": "has 3 tones; write one or two",
            "reject:200": "write 400 to 699",
            "reject:": "write 400 to 699",
        }.items():
            error = self.assertRaises(ConfigurationError, parse_answer, text)
            self.assertIn(says, str(error), text)

    def test_missing_and_broken_files(self) -> None:
        broken = self.mktemp()
        with open(broken, "wb") as file:
            file.write(b"RIFF....WAVEjunk")
        for text in (f"play:{broken}", "play:/no/such.wav", "play:"):
            self.assertRaises(MediaFileError, parse_answer, text)
        self.assertRaises(MediaFileError, parse_play, broken)
        for nothing in ("", "play:"):
            error = self.assertRaises(ConfigurationError, parse_play, nothing)
            self.assertIn("--play: the value is empty; write tone:HZ", str(error))


class AnsweringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.manager = FakeManager()
        self.watched: list[Any] = []

    def answering(self, plan: AnswerPlan, **wishes: Any) -> Answering:
        return Answering(plan, lambda: self.manager.clockwork, watch=self.watched.append, **wishes)

    def test_rings_and_answers_at_once(self) -> None:
        call = self.manager.new_call()
        done = self.answering(AnswerPlan()).incoming_call(call)
        self.assertEqual(self.manager.did, [("ring", "1"), ("answer", (Echo(), None))])
        self.assertEqual(self.watched, [call])
        assert done is not None
        self.assertIs(self.successResultOf(done), call)

    def test_rejects(self) -> None:
        self.assertIsNone(
            self.answering(AnswerPlan(reject=603)).incoming_call(self.manager.new_call())
        )
        self.assertEqual(self.manager.did, [("refuse", 603)])

    def test_answers_after_ringing(self) -> None:
        done = self.answering(AnswerPlan(after=2.5)).incoming_call(self.manager.new_call())
        self.manager.clock.advance(2.4)
        self.assertEqual(self.manager.did, [("ring", "1")])
        self.manager.clock.advance(0.2)
        self.assertEqual(self.manager.did[1][0], "answer")
        assert done is not None
        self.successResultOf(done)

    def test_giving_up_while_it_rings(self) -> None:
        done: Any = self.answering(AnswerPlan(after=2.5)).incoming_call(self.manager.new_call())
        self.assertIsInstance(done, Deferred)
        done.addErrback(lambda failure: None)
        done.cancel()
        self.manager.clock.advance(3)
        self.assertEqual(self.manager.did, [("ring", "1")])

    def test_records(self) -> None:
        answering = self.answering(AnswerPlan(), recording=lambda call: f"{call.session}.wav")
        answering.incoming_call(self.manager.new_call())
        kind, (_source, sink) = self.manager.did[1]
        self.assertEqual((kind, sink), ("answer", Record("1.wav")))
