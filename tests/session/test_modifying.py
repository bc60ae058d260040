"""Offers of ours after the first exchange: taken, refused, crossed, lost."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from sessioncore.errors import CallFailed, CallOver, ModificationRefused, UnreachableTarget
from sessioncore.session.modifying import MOST_TRIES
from sessioncore.session.session import SessionState
from sessioncore.sip.flows import Target
from sessioncore.testing import messages
from sessioncore.testing.links import Link
from sessioncore.vocabulary import Direction, EndedBy, MediaState
from tests.session.scene import A, B, Scene, answer
from tests.session.test_caller import CallerScene


class TogetherTests(Scene):
    """Two of ours; either may offer."""

    def setUp(self) -> None:
        super().setUp()
        self.caller, self.callee = self.pair(answer)
        self.call = self.caller.call()
        self.run_for(0.5)
        self.other = self.callee.call_in
        for party in (self.caller, self.callee):
            party.forget()

    def test_each_holds_the_other_and_resumes(self) -> None:
        for call, holder, held in (
            (self.call, self.caller, self.callee),
            (self.other, self.callee, self.caller),
        ):
            done = call.modify(Direction.SENDONLY)
            self.run_for(0.2)
            self.assertIs(self.successResultOf(done), call)
            self.assertIs(call.negotiated_media.audio.direction, Direction.SENDONLY)
            self.assertEqual(
                held.names()[:3], ["MediaNegotiated", "MediaFlowEstablished", "CallHeld"]
            )
            done = call.modify(Direction.SENDRECV)
            self.run_for(0.5)
            self.successResultOf(done)
            self.assertIn("CallResumed", held.names())
            self.assertEqual(held.names()[-1], "MediaActive")
            self.assertIs(call.media_state, MediaState.ACTIVE)
            self.assertNotIn("CallAnswered", holder.names())
            for party in (self.caller, self.callee):
                party.forget()

    def test_the_wish_counts_for_answers_to_come(self) -> None:
        self.call.modify(Direction.SENDONLY)
        self.run_for(0.2)
        self.other.modify(Direction.SENDRECV)
        self.run_for(0.2)
        assert self.call.negotiated_media is not None
        self.assertIs(self.call.negotiated_media.audio.direction, Direction.SENDONLY)

    def test_both_at_once(self) -> None:
        """RFC 3261 section 14.1: 491 for both; the callee tries again first."""
        self.network.link = Link(delay=0.05)
        wishes = [self.call.modify(Direction.SENDONLY), self.other.modify(Direction.SENDRECV)]
        self.run_for(0.15)
        for wish in wishes:
            self.assertNoResult(wish)
        self.assertEqual(len(self.network.sent(b"SIP/2.0 491")), 2)
        self.run_for(6)
        for wish in wishes:
            self.successResultOf(wish)
        self.assertIs(self.call.state, SessionState.CONFIRMED)

    def test_under_loss(self) -> None:
        self.network.link = Link(loss=0.3)
        for number in range(10):
            direction = Direction.SENDONLY if number % 2 else Direction.SENDRECV
            done = (self.call, self.other)[number % 2].modify(direction)
            self.run_for(30)
            if self.call.end_reason is not None:
                self.fail(f"{self.call.end_reason} with {self.network!r}")
            self.successResultOf(done)
        self.network.link = Link()

    def test_one_at_a_time(self) -> None:
        first, second = self.call.modify(Direction.SENDONLY), self.call.modify(Direction.INACTIVE)
        error = self.failureResultOf(second, ModificationRefused).value
        self.assertIs(error.reason.by, EndedBy.LOCAL)
        self.run_for(0.2)
        self.successResultOf(first)

    def test_hung_up_meanwhile(self) -> None:
        done = self.call.modify(Direction.SENDONLY)
        self.call.hang_up()
        self.run_for(1)
        self.failureResultOf(done, CallFailed)
        self.failureResultOf(self.call.modify(Direction.SENDONLY), CallOver)

    def test_cancelling_changes_nothing(self) -> None:
        done = self.call.modify(Direction.SENDONLY)
        done.addErrback(lambda failure: None)
        done.cancel()
        self.run_for(0.2)
        assert self.call.negotiated_media is not None
        self.assertIs(self.call.negotiated_media.audio.direction, Direction.SENDONLY)

    def test_not_before_the_call_is_up(self) -> None:
        prepared = self.caller.manager.prepare_call(f"sip:bob@{B}")
        self.failureResultOf(prepared.modify(Direction.SENDONLY), CallOver)
        prepared.hang_up()


class ByHandTests(CallerScene):
    """The peer played by hand."""

    def setUp(self) -> None:
        super().setUp()
        self.call = self.up()
        self.us.forget()
        self.done = self.call.modify(Direction.SENDONLY)
        self.run_for(0.002)

    def tearDown(self) -> None:
        self.done.addErrback(lambda failure: None)  # where it was of no interest
        super().tearDown()

    def test_what_is_sent(self) -> None:
        invite = self.them.last(b"INVITE")
        self.assertIn(b"\r\nCSeq: 2 INVITE\r\n", invite)
        self.assertIn(b"a=sendonly\r\n", invite)
        self.assertIn(b"\r\nContact: <sip:", invite)
        self.assertIn(b"IN IP4 192.0.2.1\r\n", invite)

    def test_refused(self) -> None:
        self.reply(488, to_tag="")
        error = self.failureResultOf(self.done, ModificationRefused).value
        self.assertEqual((error.status, error.reason.by), (488, EndedBy.REMOTE))
        self.assertIs(self.call.state, SessionState.CONFIRMED)
        self.assertIs(self.call.negotiated_media.audio.direction, Direction.SENDRECV)
        self.assertEqual(self.us.names(), [])
        again = self.call.modify(Direction.SENDONLY)
        self.run_for(0.002)
        self.reply(200, sdp=messages.offer(B, direction="recvonly", version=2))
        self.successResultOf(again)

    def test_an_answer_that_cannot_be_used_ends_the_call(self) -> None:
        self.reply(200, sdp=messages.offer(B, formats=(18,)))
        self.assertEqual(self.them.lines()[-2:], ["ACK", "BYE"])
        self.answer_bye()
        self.failureResultOf(self.done, CallFailed)

    def test_a_dialog_that_the_peer_does_not_know_is_over(self) -> None:
        self.reply(481, to_tag="")
        self.assertEqual(self.them.lines()[-1], "BYE")
        self.answer_bye()
        self.assertEqual(self.us.event("CallEnded").reason.status, 481)
        self.failureResultOf(self.done, CallFailed)

    def test_no_answer_at_all(self) -> None:
        self.run_for(32.1)
        self.assertEqual(self.them.lines()[-1], "BYE")
        self.answer_bye()
        self.failureResultOf(self.done, CallFailed)

    def test_the_ack_is_repeated_with_the_200(self) -> None:
        answered = messages.offer(B, direction="recvonly", version=2)
        self.reply(200, sdp=answered)
        self.successResultOf(self.done)
        self.them.take()
        self.reply(200, sdp=answered)
        self.assertEqual(self.them.lines(), ["ACK"])
        self.assertEqual(self.us.names()[-1], "AnswerRepeated")

    def test_the_callers_wait_is_longer(self) -> None:
        """2.1 to 4 s for who made the Call-ID (RFC 3261 section 14.1)."""
        self.reply(491, to_tag="")
        self.them.take()
        self.run_for(2.09)
        self.assertEqual(self.them.lines(), [])
        self.run_for(1.95)
        self.assertEqual(self.them.lines()[0], "INVITE")
        self.reply(200, sdp=messages.offer(B, direction="recvonly", version=2))
        self.successResultOf(self.done)

    def test_a_peer_that_always_answers_491(self) -> None:
        self.assertEqual(MOST_TRIES, 5)
        for number in range(MOST_TRIES):
            self.assertNoResult(self.done)
            self.assertEqual(self.them.lines()[-1], "INVITE", number)
            self.reply(491, to_tag="")
            self.them.take()
            self.run_for(4.01)
        refused = self.failureResultOf(self.done, ModificationRefused).value
        self.assertEqual((refused.status, refused.reason.by), (491, EndedBy.REMOTE))
        self.run_for(20)
        self.assertEqual(self.them.lines(), [])
        self.assertIs(self.call.state, SessionState.CONFIRMED)
        # The next change has tries of its own.
        again = self.call.modify(Direction.SENDONLY)
        self.run_for(0.002)
        self.reply(491, to_tag="")
        self.run_for(4.01)
        self.reply(200, sdp=messages.offer(B, direction="recvonly", version=2))
        self.successResultOf(again)

    def test_the_peers_offer_comes_first_while_ours_backs_off(self) -> None:
        self.reply(491, to_tag="")
        self.them.take()
        self.offered()
        self.assertEqual(self.them.lines(), ["200 INVITE"])
        self.acknowledged()
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["INVITE"])  # theirs is settled, so ours follows
        self.reply(200, sdp=messages.offer(B, direction="recvonly", version=3))
        self.successResultOf(self.done)

    def test_an_offer_of_the_peers_while_ours_is_out(self) -> None:
        self.them.take()
        self.offered()
        self.assertEqual(self.them.lines(), ["491 INVITE"])

    def test_a_peer_that_only_answers_100_is_cancelled(self) -> None:
        """A 1xx stops Timer B, so nothing else would end it."""
        self.reply(100, to_tag="")
        self.them.take()
        self.run_for(180)
        self.assertEqual(self.them.lines(), ["CANCEL"])
        self.reply(487, to_tag="")
        self.assertEqual(self.failureResultOf(self.done, ModificationRefused).value.status, 487)
        self.assertIs(self.call.state, SessionState.CONFIRMED)

    def test_after_the_end_nothing_waits_for_its_final_response(self) -> None:
        self.reply(100, to_tag="")
        self.them.take()
        self.call.hang_up()
        self.run_for(0.002)
        self.assertEqual(self.them.lines(), ["CANCEL", "BYE"])
        self.answer_bye()
        self.run_for(100)
        self.assertEqual(self.us.manager._coordinator.layer.pending_clients, 0)

    def test_an_answered_offer_is_not_cancelled(self) -> None:
        self.reply(200, sdp=messages.offer(B, direction="recvonly", version=2))
        self.them.take()
        self.run_for(400)
        self.assertNotIn("CANCEL", self.them.lines())

    def test_no_offer_follows_a_bye(self) -> None:
        """RFC 3261 section 15: the dialog is over for whoever has sent BYE, answered or not."""
        self.reply(491, to_tag="")
        self.call.hang_up()
        self.run_for(0.002)
        self.failureResultOf(self.done, CallFailed)
        self.run_for(6)
        self.assertNotIn("INVITE", self.them.lines()[1:])
        self.answer_bye()

    def test_no_offer_follows_a_bye_that_crossed_an_ack(self) -> None:
        self.reply(488, to_tag="")
        self.offered()
        second = self.call.modify(Direction.SENDONLY)  # waits for the ACK of the peer's
        self.call.hang_up()
        self.run_for(0.002)
        self.them.take()
        self.acknowledged()
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), [])
        self.failureResultOf(second, CallFailed)
        self.answer_bye()

    def test_no_offer_follows_an_ack_that_ends_the_call(self) -> None:
        self.reply(488, to_tag="")
        self.offered(body=b"")
        second = self.call.modify(Direction.SENDONLY)
        self.them.take()
        self.acknowledged(body=messages.offer(B, formats=(18,), version=2))
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["BYE"])
        self.answer_bye()
        self.failureResultOf(second, CallFailed)

    def test_a_200_that_comes_again_before_its_ack_is_written(self) -> None:
        waiting = self.resolves_later()
        answered = messages.offer(B, direction="recvonly", version=2)
        self.reply(200, sdp=answered)
        self.successResultOf(self.done)
        second = self.call.modify(Direction.SENDRECV)
        self.reply(200, sdp=answered)
        self.assertIsNone(self.call.end_reason)
        self.assertNoResult(second)
        second.addErrback(lambda failure: None)
        self.them.take()
        waiting[0].callback([Target(b"UDP", B, 5060)])
        self.run_for(0.002)
        self.assertEqual(self.them.lines(), ["ACK"])

    def test_a_next_hop_that_is_known_only_after_the_end(self) -> None:
        self.reply(488, to_tag="")
        self.them.take()
        waiting = self.resolves_later()
        second = self.call.modify(Direction.SENDONLY)
        self.them.send(messages.request("BYE", branch="z9hG4bK-bye", **self.who()), (A, 5060))
        self.run_for(0.002)
        self.failureResultOf(second, CallFailed)
        waiting[0].errback(UnreachableTarget("no address"))
        self.run_for(0.002)
        self.assertEqual(self.them.lines(), ["200 BYE"])

    def test_a_next_hop_that_is_known_only_after_hanging_up(self) -> None:
        self.reply(488, to_tag="")
        self.them.take()
        waiting = self.resolves_later()
        second = self.call.modify(Direction.SENDONLY)
        self.call.hang_up()
        self.failureResultOf(second, CallFailed)
        for each in waiting:
            each.callback([Target(b"UDP", B, 5060)])
        self.run_for(0.002)
        self.assertEqual(self.them.lines(), ["BYE"])
        self.answer_bye()

    def resolves_later(self) -> list[Deferred[Any]]:
        """From now on the next hop is a name; who waits for its addresses."""
        waiting: list[Deferred[Any]] = []

        def resolve(uri: object) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        self.replace(self.us, resolve=resolve)
        for leg in self.us.manager._coordinator.registry.by_name.values():
            assert leg.usage is not None
            leg.usage.dialog.hop = None
        return waiting

    def who(self) -> dict[str, Any]:
        return {
            "local": (B, 5060),
            "remote": (A, 5060),
            "call_id": self.call.call_id,
            "local_tag": "314159",
            "remote_tag": messages.tag(self.them.last(b"INVITE"), "From"),
        }

    def offered(self, body: bytes | None = None) -> None:
        body = messages.offer(B, version=2) if body is None else body
        who = self.who()
        data = messages.request("INVITE", body=body, branch="z9hG4bK-theirs", sequence=9, **who)
        self.them.send(data, (A, 5060))
        self.run_for(0.01)

    def acknowledged(self, body: bytes = b"") -> None:
        who = self.who()
        data = messages.request("ACK", body=body, branch="z9hG4bK-ack", sequence=9, **who)
        self.them.send(data, (A, 5060))
