"""Peers that died or froze: silence, then OPTIONS within the dialog, then the end."""

from __future__ import annotations

from sessioncore.session.session import SessionState
from sessioncore.settings import Settings
from sessioncore.testing import messages
from sessioncore.vocabulary import Direction, EndedBy
from tests.session.scene import A, B, Scene, answer
from tests.session.test_caller import CallerScene


class SilentPeerTests(CallerScene):
    peer_timeout = Settings().peer_timeout

    def test_the_default(self) -> None:
        self.assertEqual(self.peer_timeout, 30)

    def answer_options(self, status: int) -> None:
        self.them.send(messages.response(self.them.last(b"OPTIONS"), status), (A, 5060))
        self.run_for(0.01)

    def test_who_does_not_answer_is_gone(self) -> None:
        call = self.up()
        self.run_for(29.9)
        self.assertEqual(self.them.lines(), [])
        self.run_for(0.2)
        self.assertEqual(self.them.lines(), ["OPTIONS"])
        self.run_for(31.7)
        self.assertIs(call.state, SessionState.CONFIRMED)
        self.run_for(0.3)
        self.assertEqual(self.them.lines()[-1], "BYE")
        self.assertFalse(call.transmitting)
        self.answer_bye()
        reason = self.reason("CallEnded")
        self.assertEqual((reason.by, reason.status), (EndedBy.TIMEOUT, 408))
        self.assertEqual(
            reason.text,
            "the peer is gone: no RTP and no RTCP for 62 s; OPTIONS was not answered",
        )

    def test_a_request_within_the_dialog(self) -> None:
        self.up()
        self.run_for(31)
        options = self.them.last(b"OPTIONS")
        self.assertEqual(messages.header(options, "CSeq"), "2 OPTIONS")
        self.assertIn(";tag=", messages.header(options, "To") or "")

    def test_who_does_not_know_the_call_is_gone(self) -> None:
        for status in (481, 408):
            with self.subTest(status):
                self.us.forget()
                self.up()
                self.run_for(31)
                self.answer_options(status)
                self.answer_bye()
                self.assertEqual(self.reason("CallEnded").status, status)

    def test_who_answers_anything_else_is_only_silent(self) -> None:
        call = self.up()
        for status in (200, 405, 501):
            self.run_for(31)
            self.assertEqual(self.them.lines()[-1], "OPTIONS")
            self.answer_options(status)
            self.them.take()
        self.run_for(29)
        self.assertEqual(self.them.lines(), [])
        self.assertIs(call.state, SessionState.CONFIRMED)

    def test_who_is_not_reached_is_gone(self) -> None:
        self.up()
        self.them.port.stopListening()
        self.run_for(40)
        self.assertEqual(self.us.manager.calls, [])
        self.assertIn("OPTIONS did not reach", self.reason("CallEnded").text)

    def test_media_that_comes_back_is_enough(self) -> None:
        call = self.up()
        self.run_for(31)
        self.send_rtp()
        self.run_for(25)
        self.send_rtp()
        self.run_for(7)
        self.assertIs(call.state, SessionState.CONFIRMED)
        self.assertNotIn("BYE", self.them.lines())
        self.them.take()
        self.run_for(24)
        self.assertEqual(self.them.lines()[:1], ["OPTIONS"])  # it is watched as before

    def test_from_when_it_was_last_heard(self) -> None:
        self.up()
        self.run_for(20)
        self.send_rtp()
        self.run_for(29)
        self.assertEqual(self.them.lines(), [])
        self.run_for(1.2)
        self.assertEqual(self.them.lines(), ["OPTIONS"])

    def test_never_if_the_setting_is_0(self) -> None:
        self.us = self.party("192.0.2.11", peer_timeout=0)
        self.us.call(f"sip:bob@{B}")
        self.run_for(0.01)
        invite = self.them.last(b"INVITE")
        answered = messages.response(invite, 200, body=messages.offer(B))
        self.them.send(answered, ("192.0.2.11", 5060))
        self.run_for(200)
        self.assertEqual(self.them.lines(), ["INVITE", "ACK"])

    def test_nothing_is_due_from_who_is_on_hold_and_sends_no_rtcp(self) -> None:
        self.calling()
        self.reply(200, sdp=messages.offer(B, direction="recvonly"))
        self.them.take()
        self.run_for(100)
        self.assertEqual(self.them.lines(), [])


class HeldPeerTests(Scene):
    peer_timeout = 30.0

    def test_a_held_call_lives_by_its_rtcp(self) -> None:
        us, them = self.pair(answer)
        call = us.call()
        self.run_for(1)
        done = call.modify(Direction.INACTIVE)
        self.run_for(100)
        self.successResultOf(done)
        self.assertIs(call.state, SessionState.CONFIRMED)
        self.assertFalse(self.probes())
        # Its media freezes: no more RTCP either.
        them.manager.clockwork.remove_tick(them.manager._tick)
        self.run_for(40)
        self.assertTrue(self.probes())

    def probes(self) -> list[bytes]:
        return [each.data for each in self.network.captured if each.data[:7] == b"OPTIONS"]
