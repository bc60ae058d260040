"""Calls with a peer behind a NAT that no proxy helps: our requests reach it all the same."""

from __future__ import annotations

from typing import Any

from sessioncore.errors import CallFailed
from sessioncore.testing import messages
from sessioncore.vocabulary import Direction
from tests.session.scene import A, B, Caller, Peer, Scene, answer
from tests.session.test_caller import CallerScene

PHONE = "192.168.1.7"
NAT = "198.51.100.7"
CONTACT = [("Contact", f"<sip:phone@{PHONE}:5060>")]


class CalleeBehindNatTests(Scene):
    """The phone calls; its Contact is an address of its own network."""

    def setUp(self) -> None:
        super().setUp()
        self.phone = self.peer(NAT, 40_123)

    def called(self, headers: Any = CONTACT, **settings: Any) -> Any:
        self.us = self.party(B, decide=answer, **settings)
        self.caller = Caller(self.phone)
        self.caller.invite(headers=headers)
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(0.01)
        self.phone.take()
        return self.us.call_in

    def test_the_bye_reaches_the_phone(self) -> None:
        self.called().hang_up()
        self.run_for(0.01)
        self.assertEqual(self.phone.lines(), ["BYE"])
        self.assertIn(b"BYE sip:phone@192.168.1.7:5060 SIP/2.0", self.phone.last(b"BYE"))

    def test_a_contact_that_is_an_address_of_nobody(self) -> None:
        """Or our BYE would go to ourselves."""
        self.called([("Contact", "<sip:phone@0.0.0.0:5060>")]).hang_up()
        self.run_for(0.01)
        self.assertEqual(self.phone.lines(), ["BYE"])

    def test_where_its_last_message_came_from(self) -> None:
        call = self.called()
        moved = self.peer(NAT, 40_124)
        self.caller.peer = moved
        self.caller.within("OPTIONS")
        self.run_for(0.01)
        moved.take()
        call.hang_up()
        self.run_for(0.01)
        self.assertEqual(moved.lines(), ["BYE"])

    def test_where_a_phone_whose_contact_was_right_has_moved(self) -> None:
        contact = [("Contact", f"<sip:phone@{NAT}:40123>")]
        call = self.called(contact, nat=True)
        done = call.modify(Direction.SENDONLY)  # the next hop is known from now on
        self.run_for(0.01)
        self.assertEqual(self.phone.lines(), ["INVITE"])
        moved = self.caller.peer = self.peer(NAT, 40_124)
        self.caller.within("OPTIONS")
        self.run_for(0.01)
        moved.take()
        call.hang_up()
        self.run_for(0.01)
        self.assertIn("BYE", moved.lines())
        self.failureResultOf(done, CallFailed)

    def test_with_the_ack(self) -> None:
        self.us = self.party(B, decide=answer)
        self.caller = Caller(self.phone)
        self.caller.invite(headers=CONTACT)
        self.run_for(0.01)
        self.caller.answer = self.phone.last(b"SIP/2.0 200")
        moved = self.caller.peer = self.peer(NAT, 40_124)
        moved.heard.extend(self.phone.heard)
        self.caller.ack()
        self.run_for(0.01)
        moved.take()
        self.us.call_in.hang_up()
        self.run_for(0.01)
        self.assertEqual(moved.lines(), ["BYE"])

    def test_a_new_contact(self) -> None:
        """A target refresh may bring a Contact that works."""
        call = self.called()
        elsewhere = self.peer("198.51.100.8")
        self.caller.within(
            "INVITE",
            body=messages.offer(NAT, version=2),
            headers=[("Contact", "<sip:phone@198.51.100.8:5060>")],
        )
        self.run_for(0.01)
        self.caller.ack()
        call.hang_up()
        self.run_for(0.01)
        self.assertEqual(elsewhere.lines(), ["BYE"])

    def test_not_with_a_record_route(self) -> None:
        proxy = self.peer("198.51.100.9")
        route = ("Record-Route", "<sip:198.51.100.9;lr>")
        self.called([*CONTACT, route]).hang_up()
        self.run_for(0.01)
        self.assertEqual((self.phone.lines(), proxy.lines()), ([], ["BYE"]))

    def test_not_if_it_is_switched_off(self) -> None:
        self.called(nat=False).hang_up()
        self.run_for(0.01)
        self.assertEqual(self.phone.lines(), [])

    def test_a_public_contact_counts(self) -> None:
        elsewhere = self.peer("198.51.100.8")
        contact = [("Contact", "<sip:phone@198.51.100.8:5060>")]
        self.called(contact).hang_up()
        self.run_for(0.01)
        self.assertEqual((self.phone.lines(), elsewhere.lines()), ([], ["BYE"]))

    def test_unless_every_peer_is_behind_a_nat(self) -> None:
        contact = [("Contact", "<sip:phone@198.51.100.8:5060>")]
        self.called(contact, nat=True).hang_up()
        self.run_for(0.01)
        self.assertEqual(self.phone.lines(), ["BYE"])


class CallerBehindNatTests(CallerScene):
    """We call a phone behind a NAT, through the port that its NAT keeps open."""

    def answered(self) -> Peer:
        phone = self.peer(NAT, 40_123)
        self.calling(f"sip:bob@{NAT}:40123")
        self.reply(200, sdp=True, peer=phone, headers=CONTACT, contact=None)
        return phone

    def test_ack_and_bye_reach_the_phone(self) -> None:
        phone = self.answered()
        self.us.manager.calls[0].hang_up()
        self.run_for(0.01)
        self.assertEqual(phone.lines(), ["INVITE", "ACK", "BYE"])

    def test_ack_and_bye_reach_another_fork(self) -> None:
        phone = self.answered()
        invite = phone.last(b"INVITE")
        phone.take()
        answer = messages.response(
            invite, 200, headers=CONTACT, contact=None, to_tag="second", body=messages.offer(B)
        )
        phone.send(answer, (A, 5060))
        self.run_for(0.01)
        self.assertEqual(phone.lines(), ["ACK", "BYE"])

    def test_a_re_invite_reaches_a_phone_that_moved(self) -> None:
        phone = self.answered()
        (call,) = self.us.manager.calls
        moved = self.peer(NAT, 40_124)
        who = messages.Caller(
            local=(NAT, 40_124),
            remote=(A, 5060),
            call_id=call.call_id,
            local_tag="314159",
            remote_tag=messages.tag(phone.last(b"INVITE"), "From"),
        )
        moved.send(messages.request("OPTIONS", who, branch="z9hG4bK-moved"), (A, 5060))
        self.run_for(0.01)
        self.assertEqual(moved.lines(), ["200 OPTIONS"])
        done = call.modify(Direction.SENDONLY)
        self.run_for(0.01)
        self.assertEqual(moved.lines(), ["INVITE"])
        call.hang_up()
        self.failureResultOf(done, CallFailed)
