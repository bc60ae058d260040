"""The ladder of a call: what it shows, how it is bounded, and that it is safe for a screen."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.media.sources import Tone
from sessioncore.testing.pair import LegPair
from sessioncore.vocabulary import MILLISECOND, SECOND, EndedBy, EndReason, MediaState, SessionRole
from sessioncore.watching.dossier import Dossier, MediaMilestone, SipEntry, VerdictEntry
from sessioncore.watching.ladder import (
    FIRST_STEPS,
    MOST_BYTES,
    MOST_PEERS,
    MOST_STEPS,
    Kind,
    Ladder,
    Step,
    ladder_of_dossier,
    ladder_text,
    own_and_peers,
    summary,
)
from sessioncore.watching.messages import Message
from tests.watching.test_dossier_reader import DOSSIER

US, THEM = ("192.0.2.1", 5060), ("192.0.2.2", 5060)


def message(data: bytes, sent: bool = False, at: int = 0, peer: Any = THEM) -> Message:
    source, destination = (US, peer) if sent else (peer, US)
    return Message(data, source, destination, "UDP", sent, at)


def event(kind: Any, *details: Any) -> Any:
    return kind("s", "c", SessionRole.UAS, MediaState.ACTIVE, 7, *details)


class SummaryTests(SynchronousTestCase):
    def test_messages(self) -> None:
        for data, text in {
            b"INVITE sip:b@h SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\no=-\r\n": "INVITE +SDP",
            b"BYE sip:b@h SIP/2.0\r\n\r\n": "BYE",
            b"ACK sip:b@h SIP/2.0\n\n": "ACK",
            b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n": "200 OK +SDP",
            b"SIP/2.0 200 OK\r\ncseq :  7 BYE\r\n\r\n": "200 OK (BYE)",
            b"SIP/2.0 180\r\n\r\n": "180",
            b"INVITE sip:b@h SIP/2.0\r\n\r\n--x\r\n\r\nv=0\r\n--x--": "INVITE +SDP",
            b"": "not SIP",
            b"\x16\x03\x01\x02\x00": "not SIP",
            b"GET / HTTP/1.1\r\n\r\n": "not SIP",
        }.items():
            self.assertEqual(summary(data), text)

    def test_what_a_stranger_writes_is_safe_for_a_screen(self) -> None:
        for data in (
            b"SIP/2.0 486 \x1b[31mred\x07\r\nCSeq: 1 \x1b]0;title\x07\r\n\r\n",
            b"SIP/2.0 486 " + "\u202egnirts".encode() + b"\xff\r\n\r\n",
            b"\x1b[2J sip:b@h SIP/2.0\r\n\r\n",
            b"A" * 5000 + b" sip:b@h SIP/2.0\r\n\r\n",
            b"SIP/2.0 200 " + b"x" * 5000,
        ):
            text = summary(data)
            self.assertTrue(text.isascii() and text.isprintable() and len(text) < 100, text)


class LadderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ladder = Ladder()

    def texts(self) -> list[str]:
        return [step.text for step in self.ladder.steps]

    def test_both_directions(self) -> None:
        self.ladder.message(message(b"INVITE sip:b@h SIP/2.0\r\n\r\n"))
        self.ladder.message(message(b"SIP/2.0 200 OK\r\n\r\n", sent=True, at=5))
        self.assertEqual(
            [(step.at, step.kind, step.text, step.peer) for step in self.ladder.steps],
            [(0, Kind.RECEIVED, "INVITE", 0), (5, Kind.SENT, "200 OK", 0)],
        )
        self.assertEqual((self.ladder.own, self.ladder.peers), (US, [THEM]))
        self.assertEqual(own_and_peers(self.ladder), ("192.0.2.1:5060", ["192.0.2.2:5060"]))

    def test_what_is_repeated_is_one_step(self) -> None:
        invite = b"INVITE sip:b@h SIP/2.0\r\n\r\n"
        for _ in range(3):
            self.ladder.message(message(invite))
            self.ladder.message(message(b"SIP/2.0 180 Ringing\r\n\r\n", sent=True))
        self.assertEqual([step.times for step in self.ladder.steps], [3, 3])
        self.ladder.message(message(b"CANCEL sip:b@h SIP/2.0\r\n\r\n"))
        self.ladder.message(message(invite))
        self.assertEqual(self.texts(), ["INVITE", "180 Ringing", "CANCEL", "INVITE"])

    def test_the_first_and_the_last_steps_stay(self) -> None:
        for number in range(MOST_STEPS + 30):
            self.ladder.message(message(b"M%d sip:b@h SIP/2.0\r\n\r\n" % number))
        self.assertEqual((len(self.ladder.steps), self.ladder.left_out), (MOST_STEPS, 30))
        self.assertEqual(self.texts()[FIRST_STEPS - 1 : FIRST_STEPS + 1], ["M19", "M50"])
        self.assertEqual(self.texts()[-1], f"M{MOST_STEPS + 29}")

    def test_bytes_are_bounded(self) -> None:
        large = b"INFO sip:b@h SIP/2.0\r\n\r\n" + b"x" * 20_000
        for number in range(200):
            self.ladder.message(message(large + b"%d" % number))
            kept = sum(len(step.data or b"") for step in self.ladder.steps)
            self.assertLessEqual(kept, MOST_BYTES)
        self.assertEqual(self.ladder.steps[0].data, large + b"0")
        # What went made room for what came.
        self.assertEqual(self.ladder._kept, kept)

    def test_peers_are_bounded(self) -> None:
        for number in range(MOST_PEERS + 3):
            peer = ("192.0.2.9", 6000 + number)
            self.ladder.message(message(b"M%d sip:b@h SIP/2.0\r\n\r\n" % number, peer=peer))
        self.assertEqual(len(self.ladder.peers), MOST_PEERS)
        self.assertEqual([step.peer for step in self.ladder.steps], [0, 1, 2, 3, 3, 3, 3])

    def test_events(self) -> None:
        reason = EndReason(EndedBy.REMOTE, "Busy Here", 486)
        for each, made_of_it in (
            (event(events.MediaActive), (Kind.GOOD, "media active")),
            (
                event(events.MediaStalled, "nothing comes"),
                (Kind.BAD, "media stalled: nothing comes"),
            ),
            (event(events.DigitReceived, "5", 100), (Kind.PLAIN, "digit 5")),
            (event(events.CallFailed, reason), (Kind.BAD, "failed: remote 486: Busy Here")),
            (
                event(events.TransferRequested, "sip:\x1b[2J@h"),
                (Kind.PLAIN, "transfer to sip:\\u001b[2J@h"),
            ),
            (event(events.CallAnswered), None),
        ):
            before = len(self.ladder.steps)
            self.assertEqual(self.ladder.event(each), made_of_it is not None)
            new = [(step.kind, step.text) for step in self.ladder.steps[before:]]
            self.assertEqual(new, [] if made_of_it is None else [made_of_it])

    def test_every_fault_in_the_log_is_seen_in_the_ladder(self) -> None:
        """Events whose text says what is wrong, or what has changed of the media."""
        for name in events.__all__:
            kind = getattr(events, name)
            if "Media" in name and name not in ("MediaNegotiated", "MediaFlowEstablished"):
                details = ["x"] if "text" in kind.__annotations__ else []
                self.assertTrue(self.ladder.event(event(kind, *details)), name)

    def test_a_call(self) -> None:
        with LegPair(seed=2) as pair:
            ladder = self.ladder

            class Tap:
                def message(self, *given: Any) -> None:
                    ladder.message(Message(*given))

            pair.callee.add_message_tap(Tap())
            pair.callee.add_event_sink(ladder.event)
            call = pair.connect(source=Tone(), answer=lambda call: call.answer(source=Tone()))
            pair.advance(2)
            call.hang_up()
            pair.advance(1)
        self.assertEqual(
            self.texts(),
            [
                *("INVITE +SDP", "200 OK +SDP", "ACK", "media active", "verdict: two way"),
                *("BYE", "200 OK (BYE)", "ended: remote: the peer hung up (Q.850 16)"),
            ],
        )


class DossierTests(SynchronousTestCase):
    def dossier(self, **changes: Any) -> Dossier:
        def entry(at: float, sent: bool, data: bytes, **given: Any) -> SipEntry:
            source, destination = (US, THEM) if sent else (THEM, US)
            first, text = data.split(b"\r\n")[0].decode(), data.decode()
            return SipEntry(at, sent, "UDP", source, destination, len(data), first, text, **given)

        faulty = {"judgement": "no_rx", "receiving": {"proof": "contradicted"}}
        values: dict[str, Any] = {
            "messages": (
                entry(0.0, False, b"INVITE sip:b@h SIP/2.0\r\n\r\n"),
                entry(0.1, True, b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n"),
                entry(0.6, True, b"", copy_of=1),
                entry(9.0, False, b"BYE sip:b@h SIP/2.0\r\n\r\n"),
            ),
            "media": (MediaMilestone(0.2, "active", ""), MediaMilestone(0.1, "latched", "x")),
            "verdicts": (VerdictEntry(5.0, faulty), VerdictEntry(7.0, {"judgement": "two_way"})),
            "ended_at": 9.5,
            "end": {"by": "remote", "text": "gone"},
        }
        return evolve(DOSSIER, **{**values, **changes})

    def test_all_of_it_in_order(self) -> None:
        ladder = ladder_of_dossier(self.dossier())
        self.assertEqual(
            [(step.at // MILLISECOND, step.kind.value, step.text) for step in ladder.steps],
            [
                (0, "received", "INVITE"),
                (100, "sent", "200 OK"),
                (200, "good", "media active"),
                (5000, "bad", "verdict: no rx"),
                (7000, "plain", "verdict: two way"),
                (9000, "received", "BYE"),
                (9500, "plain", "ended: remote: gone"),
            ],
        )
        self.assertEqual(ladder.steps[1].times, 2)
        self.assertEqual((ladder.own, ladder.peers), (US, [THEM]))

    def test_a_damaged_one(self) -> None:
        (first, *_) = self.dossier().messages
        for changes in ({"encoding": "rot13"}, {"encoding": "x"}, {"copy_of": 99}, {"copy_of": -1}):
            entry = evolve(first, **changes)
            ladder = ladder_of_dossier(self.dossier(messages=(entry,), end=None))
            self.assertEqual(ladder.steps[0].text, "INVITE", changes)


class TextTests(SynchronousTestCase):
    def test_a_ladder(self) -> None:
        steps = [
            Step(5 * SECOND, Kind.RECEIVED, "INVITE +SDP", times=2),
            Step(5 * SECOND + 12 * MILLISECOND, Kind.SENT, "200 OK +SDP"),
            Step(5 * SECOND + 900 * MILLISECOND, Kind.GOOD, "media active"),
            Step(9 * SECOND, Kind.BAD, "media stalled: x"),
        ]
        text = ladder_text("192.0.2.1:5060", ["192.0.2.2:5060"], steps, begin=5 * SECOND)
        self.assertEqual(
            text.splitlines(),
            [
                "      ms  192.0.2.1:5060                     192.0.2.2:5060",
                "       0  |<-------------- INVITE +SDP x2 --------------|",
                "      12  |--------------- 200 OK +SDP ---------------->|",
                "     900  + media active",
                "    4000  ! media stalled: x",
            ],
        )

    def test_several_peers(self) -> None:
        steps = [Step(0, Kind.SENT, "INVITE", 0), Step(0, Kind.SENT, "INVITE", 1)]
        first, second = ladder_text("us", ["a:1", "b:2"], steps).splitlines()[1:]
        self.assertTrue(first.endswith("|  a:1") and second.endswith("|  b:2"))

    def test_what_was_left_out(self) -> None:
        steps = [Step(0, Kind.SENT, f"M{number}") for number in range(MOST_STEPS)]
        lines = ladder_text("us", ["a:1"], steps, left_out=9).splitlines()
        self.assertEqual(lines[FIRST_STEPS + 1], "     ...  | 9 steps are left out")
