"""One call on the board: state, numbers per second, verdict, and what is safe to show."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard import followed as module
from sessioncore.dashboard.followed import LONGEST, FollowedCall, safe
from sessioncore.events import Event
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.testing.links import Link
from sessioncore.testing.pair import LegPair
from sessioncore.verdict import Judgement
from sessioncore.vocabulary import SECOND

ME, PEER = "192.0.2.2", "192.0.2.1"


class FollowedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = LegPair(seed=6)
        self.addCleanup(self.pair.close)
        self.followed: FollowedCall | None = None
        self.pair.callee.add_event_sink(self.event)

    def event(self, event: Event) -> None:
        if self.followed is None:
            call = self.pair.callee.find_call(event.session)
            self.followed = FollowedCall(event, call)
        self.followed.event(event)

    @property
    def it(self) -> FollowedCall:
        assert self.followed is not None
        return self.followed

    def about(self) -> dict[str, Any]:
        return dict(json.loads(self.it.about(lambda at: at)))

    def numbers(self) -> dict[str, Any]:
        return dict(json.loads(self.it.numbers()))

    def series(self) -> list[Any]:
        return list(json.loads(self.it.full(lambda at: at))["series"])

    def call(self, answer: Any = None, **given: Any) -> Call:
        answer = answer or (lambda call: call.answer(source=Tone(level=-20.0)))
        return self.pair.connect(source=Tone(), answer=answer, **given)

    def run_for(self, seconds: int) -> None:
        for _ in range(seconds):
            self.pair.advance(1)
            self.it.sample(self.pair.network.now)

    # --- states

    def test_from_calling_to_ended(self) -> None:
        call = self.call(answer=lambda call: call.ring())
        self.pair.advance(0.1)
        self.assertEqual(self.it.state, "calling")
        self.pair.legs[0].answer(source=Tone())
        self.pair.advance(0.1)
        self.assertEqual(self.it.state, "plain")
        self.run_for(2)
        self.assertEqual(self.it.state, "good")
        call.hang_up()
        self.pair.advance(1)
        self.assertEqual(self.it.state, "ended")
        about = self.about()
        self.assertEqual((round(about["answered"], 1), round(about["ended"], 1)), (0.1, 2.2))
        self.assertIn("the peer hung up", about["reason"])

    def test_failed(self) -> None:
        self.call(answer=lambda call: call.reject(486))
        self.pair.advance(1)
        self.assertEqual((self.it.state, self.about()["media"]), ("failed", None))

    def test_a_fault_and_its_end(self) -> None:
        self.call()
        self.pair.advance(2)
        self.pair.network.set_link(PEER, ME, Link(loss=1.0))
        self.run_for(4)
        self.assertEqual((self.it.state, self.it.faulty), ("fault", True))
        verdict = self.about()["verdict"]
        self.assertEqual(verdict["receiving"]["proof"], "contradicted")
        self.assertTrue(verdict["remedy"] and verdict["cause"] and verdict["faulty"])
        self.pair.network.set_link(PEER, ME, Link())
        self.run_for(60)
        self.assertFalse(self.it.faulty)

    def test_every_judgement_has_a_sentence(self) -> None:
        self.assertEqual(set(module._SAID), set(Judgement))

    def test_followed_from_the_middle(self) -> None:
        self.call()
        self.pair.advance(2)
        last = self.pair.events[-1]
        late = FollowedCall(last, self.pair.callee.find_call(self.pair.legs[0].session))
        self.assertEqual(late.answered, last.at)

    # --- who

    def test_the_parties_of_both_roles(self) -> None:
        self.call(from_uri="sip:alice@a.example", display_name="Alice")
        self.pair.advance(1)
        about = self.about()
        self.assertEqual(about["from"], {"name": "Alice", "uri": "sip:alice@a.example"})
        self.assertEqual(about["to"], {"name": "", "uri": "sip:callee@192.0.2.2"})
        (leg,) = self.pair.caller.calls
        ours = json.loads(FollowedCall(self.pair.events[0], leg).about(lambda at: at))
        self.assertEqual(ours["from"]["uri"], "sip:alice@a.example")
        self.assertEqual(ours["to"]["uri"], "sip:callee@192.0.2.2")

    def test_hostile_names(self) -> None:
        self.call(display_name="<script>alert(1)</script>")
        self.pair.advance(1)
        # It is text; that it stays so is the page's matter.
        self.assertEqual(self.about()["from"]["name"], "<script>alert(1)</script>")
        self.assertEqual(safe("a\x1b[2J\u202eb\x00\n\u2028"), "a\ufffd[2J\ufffdb\ufffd\ufffd\ufffd")
        self.assertEqual(len(safe("x" * 5000)), LONGEST)
        self.assertEqual(safe("Zo\u00eb \u5f20"), "Zo\u00eb \u5f20")

    # --- numbers

    def test_numbers_per_second(self) -> None:
        self.call()
        self.pair.advance(0.5)
        self.run_for(5)
        numbers = self.numbers()
        rate, loss, jitter, level = numbers["received"]
        self.assertEqual((round(rate), loss, round(level)), (50, 0.0, -13))
        self.assertLess(jitter, 1.0)
        self.assertEqual(numbers["sent"][3], -17.0)
        received, lost, sent, remote_lost = numbers["totals"]
        self.assertTrue(received > 200 and sent > 200)
        self.assertEqual((lost, remote_lost), (0, 0))
        self.assertEqual(len(self.series()), 5)

    def test_loss_is_that_of_now(self) -> None:
        self.call()
        self.pair.advance(0.5)
        self.run_for(5)
        self.pair.network.set_link(PEER, ME, Link(loss=0.5))
        self.run_for(10)
        self.assertGreater(self.numbers()["received"][1], 0.2)
        self.pair.network.set_link(PEER, ME, Link())
        self.run_for(3)
        self.assertEqual(self.numbers()["received"][1], 0.0)
        losses = [sample[0][1] for sample in self.series()]
        self.assertTrue(all(loss is None or 0 <= loss <= 1 for loss in losses), losses)

    def test_loss_that_the_peer_reports(self) -> None:
        self.call()
        self.pair.advance(0.5)
        self.pair.network.set_link(ME, PEER, Link(loss=0.3))
        self.run_for(20)
        self.assertGreater(self.numbers()["sent"][1], 0.1)

    def test_samples_are_bounded(self) -> None:
        self.patch(module, "MOST_SAMPLES", 3)
        self.call()
        self.pair.advance(0.5)
        self.run_for(5)
        self.assertEqual(len(self.series()), 3)

    def test_without_media_there_are_none(self) -> None:
        self.call(answer=lambda call: call.ring())
        self.pair.advance(0.5)
        self.run_for(2)
        self.assertEqual((self.numbers(), self.series()), ({}, []))

    def test_looking_twice_at_once(self) -> None:
        self.call()
        self.pair.advance(1)
        for _ in range(3):
            self.it.sample(self.pair.network.now)
        self.assertEqual(len(self.series()), 1)

    # --- what changes

    def test_it_changes_by_what_happens_and_not_by_numbers(self) -> None:
        self.call()
        self.pair.advance(0.5)
        self.run_for(3)
        self.it.changed = False
        self.run_for(3)
        self.assertFalse(self.it.changed)
        self.pair.network.set_link(PEER, ME, Link(loss=1.0))
        self.run_for(4)
        self.assertTrue(self.it.changed)

    def test_nothing_is_held_after_the_end(self) -> None:
        call = self.call()
        self.pair.advance(2)
        media = self.about()["media"]
        call.hang_up()
        self.pair.advance(1)
        self.assertIsNone(self.it._call)
        self.assertEqual(self.about()["media"], media, "what was agreed is still shown")
        self.assertEqual(self.about()["verdict"]["judgement"], "two_way")
        self.it.sample(self.pair.network.now + SECOND)

    def test_times_are_of_the_wall(self) -> None:
        self.call()
        self.pair.advance(1)
        self.it.changed, self.it._about = True, None
        about = json.loads(self.it.about(lambda at: at + 1_700_000_000 * SECOND))
        self.assertEqual(int(about["begun"]), 1_700_000_000)
