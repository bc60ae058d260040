"""The board: which calls it follows, its bounds, and its snapshots."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard import board as module
from sessioncore.dashboard.board import LOOKS, Board
from sessioncore.events import VerdictChanged
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.testing.pair import LegPair
from sessioncore.verdict import Evidence, judge
from sessioncore.vocabulary import SECOND

ME, PEER = "192.0.2.2", "192.0.2.1"


class BoardTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = LegPair(seed=8)
        self.addCleanup(self.pair.close)
        self.board = self.board_of(self.pair.callee)

    def board_of(self, manager: Any) -> Board:
        board = Board(manager, lambda: self.pair.network.now + 1_700_000_000 * SECOND)
        manager.add_event_sink(board)
        manager.add_message_tap(board)
        return board

    def call(self, seconds: float = 1.0, answer: Any = None, **given: Any) -> Call:
        answer = answer or (lambda call: call.answer(source=Tone()))
        call = self.pair.connect(source=Tone(), answer=answer, **given)
        self.pair.advance(seconds)
        return call

    def refused(self) -> None:
        self.call(0.5, answer=lambda call: call.reject(486))

    def look(self) -> None:
        """A second with a reader."""
        for _ in range(LOOKS):
            self.pair.advance(1 / LOOKS)
            self.board.look(self.pair.network.now)

    def full(self, board: Board | None = None) -> Any:
        return json.loads((board or self.board).full())

    def changes(self) -> Any:
        return json.loads(self.board.changes())

    def shown(self) -> list[str]:
        return [call["state"] for call in self.full()["calls"]]


class FollowTests(BoardTestCase):
    def test_the_ladder_begins_with_the_invite(self) -> None:
        self.call().hang_up()
        self.pair.advance(1)
        (call,) = self.full()["calls"]
        texts = [step[2] for step in call["ladder"]["steps"]]
        self.assertEqual(texts[:3], ["INVITE +SDP", "200 OK +SDP", "ACK"])
        self.assertEqual(
            sorted(texts[-2:]), ["200 OK (BYE)", "ended: remote: the peer hung up (Q.850 16)"]
        )
        # The last field says whether there is a text to read.
        kept = {step[1] for step in call["ladder"]["steps"] if step[5]}
        self.assertEqual(kept, {"sent", "received"})
        self.assertEqual(call["ladder"]["own"], f"{ME}:5060")
        self.assertEqual(call["ladder"]["peers"], [f"{PEER}:5060"])

    def test_the_ladder_of_a_caller(self) -> None:
        board = self.board_of(self.pair.caller)
        self.call().hang_up()
        self.pair.advance(1)
        (call,) = self.full(board)["calls"]
        kinds = [
            (step[1], step[2])
            for step in call["ladder"]["steps"]
            if step[1] in ("sent", "received")
        ]
        self.assertEqual(
            kinds,
            [
                *(("sent", "INVITE +SDP"), ("received", "200 OK +SDP"), ("sent", "ACK")),
                *(("sent", "BYE"), ("received", "200 OK (BYE)")),
            ],
        )

    def test_a_call_to_ourselves(self) -> None:
        """Both legs have one Call-ID, and both get its messages."""
        self.pair._answer = lambda call: call.answer(source=Tone())
        self.pair.callee.call(f"sip:me@{ME}", source=Tone())
        self.pair.advance(2)
        first, second = self.full()["calls"]
        self.assertEqual(first["call_id"], second["call_id"])
        self.assertEqual({first["role"], second["role"]}, {"UAC", "UAS"})
        for call in (first, second):
            self.assertGreaterEqual(len(call["ladder"]["steps"]), 3)

    def test_messages_of_others_are_not_kept(self) -> None:
        for number in range(1000):
            self.board.message(b"OPTIONS sip:x SIP/2.0\r\nCall-ID: %d\r\n\r\n" % number,
                               (PEER, 5060), (ME, 5060), "UDP", False, 0)  # fmt: skip
            self.board.message(b"\x00garbage", (PEER, 5060), (ME, 5060), "UDP", False, 0)
            self.board.message(b"SIP/2.0 200 OK\r\nCall-ID: %d\r\n\r\n" % number,
                               (ME, 5060), (PEER, 5060), "UDP", True, 0)  # fmt: skip
        self.assertEqual(len(self.board._waiting), module.MOST_WAITING)
        self.assertEqual((self.board._by_call_id, self.full()["calls"]), ({}, []))
        self.call()
        (call,) = self.full()["calls"]
        self.assertEqual(call["ladder"]["steps"][0][2], "INVITE +SDP")

    def test_no_more_than_so_many(self) -> None:
        self.patch(module, "MOST_FOLLOWED", 3)
        for _ in range(5):
            self.call(0.2)
        self.look()
        full = self.full()
        self.assertEqual((len(full["calls"]), full["more"]), (3, 2))

    def test_others_are_not_followed_from_the_middle(self) -> None:
        """Their ladders would have no beginning."""
        self.patch(module, "MOST_FOLLOWED", 1)
        first = self.call(0.5)
        self.call(0.5)
        first.hang_up()
        self.pair.advance(6)
        self.pair.legs[1].hang_up()
        self.pair.advance(1)
        self.assertEqual(
            [call["session"] for call in self.full()["calls"]], [self.pair.legs[0].session]
        )

    def turned_bad(self, leg: Call) -> VerdictChanged:
        """The event of a leg that hears nothing."""
        verdict = judge(Evidence(answered=True, agreed_for=9.0, receives=True, sends=True))
        assert verdict.faulty
        now = self.pair.network.now
        return VerdictChanged(leg.session, leg.call_id, leg.role, leg.media_state, now, verdict)

    def test_one_that_turns_bad_gets_a_place(self) -> None:
        self.patch(module, "MOST_FOLLOWED", 2)
        for _ in range(4):
            self.call(0.5)
        first, second, third, fourth = self.pair.legs
        self.board.event(self.turned_bad(first))
        self.board.event(self.turned_bad(third))
        shown = {call["session"]: call["state"] for call in self.full()["calls"]}
        self.assertEqual(shown, {first.session: "fault", third.session: "fault"})
        self.assertEqual(self.changes()["gone"], [second.session])
        # There is nobody left to make room.
        self.board.event(self.turned_bad(fourth))
        self.assertNotIn(fourth.session, self.board._up)

    def test_ended_calls_stay_a_while(self) -> None:
        self.patch(module, "MOST_ENDED", 3)
        for _ in range(5):
            self.call(0.5).hang_up()
            self.pair.advance(0.5)
        self.assertEqual(self.shown(), ["ended"] * 3)
        self.assertEqual(len(self.board._by_call_id), 3)
        begun = [call["begun"] for call in self.full()["calls"]]
        self.assertEqual(begun, sorted(begun))

    def test_a_flood_of_failures_drives_no_answered_call_out(self) -> None:
        self.patch(module, "MOST_FAILED", 2)
        self.call(0.5).hang_up()
        self.pair.advance(0.5)
        for _ in range(5):
            self.refused()
        self.assertEqual(self.shown(), ["ended", "failed", "failed"])

    def test_nothing_is_left_of_calls_that_are_not_shown(self) -> None:
        for name in ("MOST_ENDED", "MOST_FAILED"):
            self.patch(module, name, 0)
        self.call(0.5).hang_up()
        self.refused()
        self.pair.advance(0.5)
        self.assertEqual((self.board._up, self.board._by_call_id), ({}, {}))
        self.assertEqual(self.full()["calls"], [])


class SnapshotTests(BoardTestCase):
    def test_everything(self) -> None:
        self.call(3)
        self.board.look_at_all(self.pair.network.now)
        full = self.full()
        self.assertEqual(full["server"]["listens"], [f"{ME}:5060"])
        self.assertEqual(int(full["t"]), 1_700_000_003)
        self.assertEqual(full["health"]["calls"], 1)
        (call,) = full["calls"]
        for name in ("session", "call_id", "role", "state", "from", "to", "begun", "media",
                     "verdict", "ladder", "series", "received", "sent", "totals"):  # fmt: skip
            self.assertIn(name, call)

    def test_changes_are_what_is_new(self) -> None:
        self.call(1)
        (call,) = self.changes()["changed"]
        self.look()
        self.changes()
        self.look()
        changes = self.changes()
        self.assertEqual(changes["changed"], [])
        self.assertEqual(list(changes["numbers"]), [call["session"]])
        self.assertEqual(round(changes["numbers"][call["session"]]["received"][0]), 50)

    def test_calls_that_go(self) -> None:
        self.patch(module, "MOST_ENDED", 0)
        call = self.call(1)
        session = self.pair.legs[0].session
        self.assertEqual(self.changes()["gone"], [])
        call.hang_up()
        self.pair.advance(1)
        self.assertEqual(self.changes()["gone"], [session])
        self.assertEqual(self.changes()["gone"], [])

    def test_what_goes_is_bounded_while_nobody_looks(self) -> None:
        self.patch(module, "MOST_FAILED", 0)
        for _ in range(4):
            self.refused()
        self.assertEqual(self.board._gone.maxlen, module.MOST_GONE)

    def test_numbers_are_read_in_turns(self) -> None:
        """All at once would make a tick late."""
        for _ in range(12):
            self.call(0.1)
        read: list[int] = []
        for followed in self.board._up.values():
            self.patch(followed, "sample", lambda now: read.append(now))
        for turn in range(1, LOOKS + 1):
            before = len(read)
            complete = self.board.look(turn)
            self.assertLessEqual(len(read) - before, 2)
            self.assertEqual(complete, turn == LOOKS)
        self.assertEqual(len(read), 12)

    def test_nothing_is_read_while_nobody_looks(self) -> None:
        self.call(1)
        (followed,) = self.board._up.values()
        self.patch(followed, "sample", lambda now: self.fail("numbers were read"))
        self.pair.advance(5)

    def test_looking_at_all_is_limited(self) -> None:
        self.call(2)
        now = self.pair.network.now
        self.board.look_at_all(now)
        (followed,) = self.board._up.values()
        self.assertEqual(len(followed._samples), 1)
        self.board.look_at_all(now + SECOND // 2)
        self.assertEqual(len(followed._samples), 1)

    def test_the_text_of_a_message(self) -> None:
        self.call(1)
        session = self.pair.legs[0].session
        text = self.board.text_of(session, 0)
        assert text is not None
        self.assertTrue(text.startswith("INVITE sip:callee@192.0.2.2 SIP/2.0\n"), text)
        for which in (("x", 0), (session, 99), (session, -1), ("", 0)):
            self.assertIsNone(self.board.text_of(*which))
        steps = self.full()["calls"][0]["ladder"]["steps"]
        note = next(number for number, step in enumerate(steps) if step[1] == "good")
        self.assertIsNone(self.board.text_of(session, note))

    def test_secrets_are_not_shown(self) -> None:
        self.call(1)
        leg = self.pair.legs[0]
        secret = 'Authorization: Digest username="u", response="5ecret"'
        data = f"INFO sip:x SIP/2.0\r\nCall-ID: {leg.call_id}\r\n{secret}\r\n\r\n".encode()
        self.board.message(data, (PEER, 5060), (ME, 5060), "UDP", False, 0)
        (followed,) = self.board._up.values()
        text = self.board.text_of(leg.session, len(followed.ladder.steps) - 1)
        assert text is not None
        self.assertIn('username="u"', text)
        self.assertNotIn("5ecret", text + self.board.full())

    def test_a_snapshot_is_ascii(self) -> None:
        self.call(1, display_name="Zo\u00eb \u5f20")
        self.assertTrue(self.board.full().isascii())
        self.assertNotIn("\n", self.board.full())
