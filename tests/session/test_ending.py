"""How calls end: the BYE that nobody answers, and what is free while it is waited for."""

from __future__ import annotations

from sessioncore.errors import TooManyCalls
from sessioncore.session.session import SessionState
from sessioncore.testing import messages
from sessioncore.vocabulary import EndedBy
from tests.session.scene import B, Scene
from tests.session.test_callee import CalleeScene
from tests.session.test_caller import CallerScene

D = "192.0.2.4"


class UnansweredByeTests(CallerScene):
    def test_a_bye_that_is_never_answered_is_said(self) -> None:
        self.up().hang_up()
        self.run_for(33)
        reason = self.reason("CallEnded")
        self.assertEqual(
            (reason.by, reason.text), (EndedBy.LOCAL, "hung up; the BYE was not answered")
        )

    def test_a_bye_that_reaches_nobody_is_said_at_once(self) -> None:
        call = self.up()
        self.them.port.stopListening()
        call.hang_up()
        self.run_for(1)
        text = f"hung up; the BYE did not reach {B}:5060"
        self.assertEqual(self.reason("CallEnded").text, text)

    def test_a_bye_that_can_go_nowhere_is_said(self) -> None:
        self.calling()
        contact = (("Contact", "<sip:bob@nowhere.example.com>"),)
        self.reply(180, to_tag="one")
        self.network.names.add("nowhere.example.com", B)
        self.reply(200, sdp=True, to_tag="one", headers=contact)
        (call,) = self.us.manager.calls
        self.network.names.remove("nowhere.example.com")
        self.run_for(400)  # what was resolved is no longer remembered
        call.hang_up()
        self.run_for(10)
        self.assertIn(
            "hung up; no BYE was sent: nowhere.example.com", self.reason("CallEnded").text
        )

    def test_answered_it_is_a_clean_end(self) -> None:
        self.up().hang_up()
        self.run_for(0.002)
        self.answer_bye()
        self.assertEqual(self.reason("CallEnded").text, "hung up")

    def test_media_and_ports_are_free_with_the_bye(self) -> None:
        call = self.up()
        free = self.us.manager.statistics().rtp_ports_free
        call.hang_up()
        self.run_for(3)
        self.assertIs(call.state, SessionState.ENDING)
        self.assertEqual(self.us.manager.statistics().rtp_ports_free, free + 1)
        self.assertFalse(self.us.manager.plane.active)
        assert call.statistics is not None  # its counters stay

    def test_the_slot_is_free_with_the_bye(self) -> None:
        us = self.us = self.party(D, max_calls=1)
        call = us.call()
        self.run_for(0.002)
        invite = self.them.last(b"INVITE")
        self.them.send(messages.response(invite, 200, body=messages.offer(B)), (D, 5060))
        self.run_for(0.01)
        self.assertRaises(TooManyCalls, us.call)
        call.hang_up()
        self.run_for(0.01)
        self.assertEqual(us.manager.statistics().calls_up, 0)
        us.call()
        self.assertRaises(TooManyCalls, us.call)

    def test_calls_that_wait_for_their_byes_are_not_without_limit(self) -> None:
        us = self.us = self.party(D, max_calls=2)
        for _ in range(4):
            call = us.call()
            self.run_for(0.002)
            invite = self.them.last(b"INVITE")
            self.them.send(messages.response(invite, 200, body=messages.offer(B)), (D, 5060))
            self.run_for(0.01)
            call.hang_up()
            self.run_for(0.01)
        self.assertEqual(len(us.manager.calls), 4)
        self.assertRaises(TooManyCalls, us.call)


class UnacknowledgedTests(CalleeScene):
    def test_a_call_that_is_never_acknowledged_holds_its_slot_for_32_s(self) -> None:
        self.caller.invite()
        self.run_for(31.9)
        self.assertEqual(self.us.manager.statistics().calls_up, 1)
        self.run_for(0.5)
        self.assertEqual(self.us.manager.statistics().calls_up, 0)
        self.run_for(0.6)
        self.assertFalse(self.us.manager.plane.active)
        self.run_for(33)
        reason = self.us.event("CallEnded").reason
        self.assertEqual(reason.text, "no ACK for the 200 OK; the BYE was not answered")


class TogetherTests(Scene):
    def test_both_hang_up_at_once(self) -> None:
        us, them = self.pair()
        call = us.call(f"sip:bob@{B}")
        self.run_for(0.5)
        ends = [call.hang_up(), them.call_in.hang_up()]
        self.run_for(1)
        for end in ends:
            self.assertEqual(self.successResultOf(end).text, "hung up")
