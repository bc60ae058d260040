"""Early dialogs of a caller (RFC 3261 section 12.1.2): requests of the callee find them."""

from __future__ import annotations

from typing import Any

from sessioncore.session.session import SessionState
from sessioncore.testing import messages
from sessioncore.vocabulary import EndedBy
from tests.session.scene import A, B, C
from tests.session.test_caller import CallerScene


class EarlyDialogTests(CallerScene):
    def setUp(self) -> None:
        super().setUp()
        self.number = 0

    def ask(self, call: Any, method: str, tag: str = "one", **given: Any) -> str:
        """A request of the callee's in the dialog of that To tag; the answer to it."""
        self.number += 1
        self.them.take()
        data = messages.request(
            method,
            local=(B, 5060),
            remote=(A, 5060),
            call_id=call.call_id,
            local_tag=tag,
            remote_tag=messages.tag(self.them.last(b"INVITE"), "From"),
            branch=f"z9hG4bK-{method}-{self.number}",
            sequence=given.pop("sequence", self.number),
            **given,
        )
        self.them.send(data, (A, 5060))
        self.run_for(0.002)
        return self.them.lines()[0]

    def ringing(self, *tags: str) -> Any:
        call = self.calling()
        for tag in tags or ("one",):
            self.reply(180, to_tag=tag)
        return call

    def test_options(self) -> None:
        call = self.ringing()
        self.assertEqual(self.ask(call, "OPTIONS"), "200 OPTIONS")
        self.assertEqual(self.ask(call, "OPTIONS", "another"), "481 OPTIONS")
        self.assertIs(call.state, SessionState.PROCEEDING)

    def test_a_provisional_without_tag_makes_no_dialog(self) -> None:
        self.calling()
        self.reply(180, to_tag="")
        self.assertEqual(self.us.manager._coordinator.registry.by_dialog, {})

    def test_what_is_not_served_is_405_there_too(self) -> None:
        call = self.ringing()
        self.assertEqual(self.ask(call, "UPDATE"), "405 UPDATE")
        self.assertEqual(self.us.counters["no_dialog"], 0)

    def test_sequence_numbers_are_those_of_the_dialog(self) -> None:
        call = self.ringing("one", "two")
        self.assertEqual(self.ask(call, "OPTIONS", sequence=7), "200 OPTIONS")
        self.assertEqual(self.ask(call, "OPTIONS", sequence=6), "500 OPTIONS")
        self.assertEqual(self.ask(call, "OPTIONS", "two", sequence=6), "200 OPTIONS")

    def test_a_callee_that_gave_up_ends_the_call(self) -> None:
        """Its 200 was lost, for 64*T1 no ACK came, so it sends BYE in the dialog of its 180."""
        call = self.ringing()
        self.assertEqual(self.ask(call, "BYE"), "CANCEL")
        self.assertEqual(self.sent_since(b"SIP/2.0 200"), 1)
        reason = self.successResultOf(call.when_ended())
        self.assertEqual((reason.by, reason.text), (EndedBy.REMOTE, "the peer hung up"))
        # Proxies between may still ring others.
        self.assertEqual(self.sent_since(b"CANCEL"), 1)
        self.reply(487, to_tag="one")
        self.assertTidy(self.us)

    def sent_since(self, start: bytes) -> int:
        return sum(data.startswith(start) for _, data, _ in self.them.heard)

    def test_a_late_200_after_that_is_acknowledged_and_ended(self) -> None:
        call = self.ringing()
        self.ask(call, "BYE")
        self.them.take()
        self.reply(200, sdp=True, to_tag="one")
        self.assertEqual(self.them.lines(), ["ACK", "BYE"])

    def test_only_the_last_early_dialog_takes_the_call_along(self) -> None:
        call = self.ringing("one", "two")
        self.assertEqual(self.ask(call, "BYE", "one"), "200 BYE")
        self.assertIs(call.state, SessionState.PROCEEDING)
        self.assertEqual(self.ask(call, "OPTIONS", "one"), "481 OPTIONS")
        self.assertEqual(self.ask(call, "OPTIONS", "two"), "200 OPTIONS")
        self.reply(200, sdp=True, to_tag="two")
        self.assertIs(call.state, SessionState.CONFIRMED)

    def test_the_2xx_confirms_one_and_ends_the_others(self) -> None:
        call = self.ringing("one", "two", "three")
        self.reply(200, sdp=True, to_tag="two")
        self.assertEqual(self.ask(call, "OPTIONS", "one"), "481 OPTIONS")
        self.assertEqual(self.ask(call, "OPTIONS", "three"), "481 OPTIONS")
        self.assertEqual(self.ask(call, "OPTIONS", "two"), "200 OPTIONS")

    def test_the_2xx_says_where_requests_go(self) -> None:
        other = self.peer(C)
        call = self.calling()
        self.reply(180, to_tag="one")
        self.reply(200, sdp=True, to_tag="one", headers=(("Contact", f"<sip:bob@{C}>"),))
        self.assertEqual(other.lines(), ["ACK"])
        call.hang_up()
        self.run_for(0.002)
        self.assertEqual(other.lines(), ["BYE"])

    def test_a_contact_that_cannot_be_read_is_good_enough_for_an_early_one(self) -> None:
        call = self.calling()
        self.reply(180, to_tag="one", headers=(("Contact", "<tel:1>"),))
        self.assertEqual(self.ask(call, "OPTIONS"), "200 OPTIONS")
        self.assertEqual(self.us.names()[-1], "CallRinging")

    def test_a_bye_while_our_cancel_is_under_way(self) -> None:
        call = self.ringing()
        call.hang_up()
        self.run_for(0.002)
        self.assertEqual(self.ask(call, "BYE"), "200 BYE")
        self.assertIs(self.successResultOf(call.when_ended()).by, EndedBy.LOCAL)

    def test_refused_after_that_nothing_is_left(self) -> None:
        call = self.ringing("one", "two")
        self.reply(486, to_tag="one")
        self.assertEqual(self.ask(call, "OPTIONS", "two"), "481 OPTIONS")
        self.assertTidy(self.us)
