"""Exceptions that nobody expected: each is logged, and the leg it belongs to ends."""

from __future__ import annotations

from typing import Any

from sessioncore.errors import CallFailed
from sessioncore.session.acks import Acks
from sessioncore.session.callee import Callee
from sessioncore.session.caller import Caller as CallerRole
from sessioncore.session.establishing import Establishing
from sessioncore.session.media_control import MediaSessionController
from sessioncore.session.modifying import Modifying
from sessioncore.session.refusals import Refusals
from sessioncore.session.requests import DialogRequests
from sessioncore.session.session import SessionState
from sessioncore.testing import messages
from sessioncore.vocabulary import Direction, EndedBy
from tests.session.scene import B, C, Caller, Scene, answer
from tests.session.test_caller import CallerScene


class Unexpected(Exception):
    """Raised where nothing is expected."""


def boom(*_arguments: Any, **_named: Any) -> Any:
    raise Unexpected("boom")


async def late_boom(*_arguments: Any, **_named: Any) -> Any:
    raise Unexpected("boom")


class CallerTests(CallerScene):
    def ended(self, event: str = "CallEnded") -> None:
        self.assertTrue(self.flushLoggedErrors(Unexpected))
        reason = self.reason(event)
        self.assertIs(reason.by, EndedBy.ERROR)
        self.assertIn("unexpected Unexpected: boom", reason.text)
        self.assertEqual(self.us.manager.calls, [])

    def test_resolving(self) -> None:
        self.replace(self.us, resolve=boom)
        call = self.us.call(f"sip:bob@{B}")
        self.run_for(0.01)
        self.assertIs(call.state, SessionState.ENDED)
        self.assertTrue(self.flushLoggedErrors(Unexpected))
        self.assertIn("unexpected", self.reason().text)
        self.assertEqual(self.us.manager.calls, [])

    def test_a_provisional(self) -> None:
        self.calling()
        self.patch(CallerRole, "_provisional", boom)
        self.reply(180)
        self.assertEqual(self.them.lines(), ["INVITE", "CANCEL"])
        self.reply(487)
        self.ended("CallFailed")

    def test_media_with_the_200(self) -> None:
        self.calling()
        self.patch(Establishing, "establish", boom)
        self.reply(200, sdp=True)
        self.assertEqual(self.them.lines(), ["INVITE", "ACK", "BYE"])
        self.ended()

    def test_the_ack(self) -> None:
        self.calling()
        self.patch(DialogRequests, "next_hop", late_boom)
        self.reply(200, sdp=True)
        self.assertEqual(self.us.manager.calls, [])
        self.assertTrue(self.flushLoggedErrors(Unexpected))

    def test_the_bye(self) -> None:
        call = self.up()
        self.patch(DialogRequests, "next_hop", late_boom)
        call.hang_up()
        self.run_for(0.01)
        self.assertTrue(self.flushLoggedErrors(Unexpected))
        self.assertEqual(self.us.manager.calls, [])
        self.assertIs(self.reason("CallEnded").by, EndedBy.LOCAL)

    def test_the_answer_to_a_re_invite(self) -> None:
        call = self.up()
        done = call.modify(Direction.SENDONLY)
        self.run_for(0.01)
        self.patch(Modifying, "_accepted", boom)
        self.reply(200, sdp=messages.offer(B, direction="recvonly", version=2))
        self.assertEqual(self.them.lines()[-1], "BYE")
        self.answer_bye()
        self.failureResultOf(done, CallFailed)
        self.ended()

    def test_a_re_invite(self) -> None:
        call = self.up()
        self.patch(DialogRequests, "next_hop", late_boom)
        done = call.modify(Direction.SENDONLY)
        self.run_for(0.01)
        self.failureResultOf(done, CallFailed)
        self.ended()


class CalleeTests(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.us = self.party(B, decide=answer)
        self.them = self.peer(C)
        self.caller = Caller(self.them)

    def ended(self, event: str = "CallEnded") -> None:
        self.assertTrue(self.flushLoggedErrors(Unexpected))
        reason = self.us.event(event).reason
        self.assertIs(reason.by, EndedBy.ERROR)
        self.assertIn("unexpected Unexpected: boom", reason.text)
        self.assertEqual(self.us.manager.calls, [])

    def answer_bye(self) -> None:
        self.them.send(messages.response(self.them.last(b"BYE"), 200), (B, 5060))
        self.run_for(0.01)

    def test_an_invite(self) -> None:
        self.patch(Callee, "_ask", boom)
        self.caller.invite()
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["500 INVITE"])
        self.ended("CallFailed")

    def test_before_the_invite_is_announced(self) -> None:
        """Also while it is refused; nothing is kept of such a call, as `tearDown` sees."""
        for part, name, body in (
            (Callee, "_prepare", messages.offer(C)),
            (Refusals, "explain", messages.offer(C, formats=(18,))),
            (Refusals, "_turn_away", messages.offer(C, formats=(18,))),
        ):
            with self.subTest(name):
                patched = self.patch(part, name, boom)
                caller = Caller(self.them, call_id=name, branch=f"z9hG4bK{name}")
                caller.invite(body=body)
                self.run_for(0.01)
                patched.restore()
                self.assertEqual(self.them.lines(), ["500 INVITE"])
                self.assertEqual(self.us.manager.calls, [])
        self.assertTrue(self.flushLoggedErrors(Unexpected))  # each kind once

    def test_media_with_the_200(self) -> None:
        self.patch(Establishing, "establish", boom)
        self.caller.invite()
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["200 INVITE"])
        self.caller.ack()
        self.run_for(0.01)
        self.answer_bye()
        self.ended()

    def test_the_ack(self) -> None:
        self.patch(Acks, "read", boom)
        self.caller.invite()
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(40)
        self.assertEqual(self.them.lines()[-1], "BYE")
        self.answer_bye()
        self.ended()

    def test_a_request_within_the_dialog(self) -> None:
        self.caller.established(self)
        self.them.take()
        self.patch(Modifying, "reinvited", boom)
        self.caller.within("INVITE", body=messages.offer(C, version=2))
        self.run_for(0.01)
        self.assertEqual(sorted(self.them.lines()), ["500 INVITE", "BYE"])
        self.answer_bye()
        self.ended()

    def test_stopping_ends_the_others_too(self) -> None:
        self.caller.established(self)
        other = Caller(self.them, call_id="other", branch="z9hG4bKother")
        other.established(self)
        first = self.us.manager.calls[0].session
        close = MediaSessionController.close

        def faulty(control: Any, session: Any, now: int) -> None:
            if session.name == first:
                raise Unexpected("boom")
            close(control, session, now)

        self.patch(MediaSessionController, "close", faulty)
        stopped = self.us.manager.stop()
        self.run_for(6)
        self.assertTrue(self.flushLoggedErrors(Unexpected))
        self.successResultOf(stopped)
        ended = {
            messages.header(data, "Call-ID") for data in self.them.take() if data[:3] == b"BYE"
        }
        self.assertEqual(len(ended), 2)
        self.assertEqual(self.us.names().count("CallEnded"), 2)

    def test_the_others_go_on(self) -> None:
        self.caller.established(self)
        other = Caller(self.them, call_id="other", branch="z9hG4bKother")
        other.established(self)
        self.patch(Modifying, "reinvited", boom)
        self.caller.within("INVITE", body=messages.offer(C, version=2))
        self.run_for(0.01)
        self.assertTrue(self.flushLoggedErrors(Unexpected))
        self.assertEqual(
            [call.state for call in self.us.manager.calls],
            [SessionState.ENDING, SessionState.CONFIRMED],
        )
