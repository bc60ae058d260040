"""What an application may wish of an INVITE, and what it may read of one."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.errors import ConfigurationError
from sessioncore.manager import SessionManager
from sessioncore.session.invitation import Invitation, callable_uri, reason_headers
from sessioncore.sip.message import parse_message
from sessioncore.testing import messages
from sessioncore.testing.network import FakeNetwork
from sessioncore.vocabulary import EndedBy
from tests.session.scene import A, B, Scene, parsed, ring
from tests.session.test_callee import CalleeScene
from tests.session.test_caller import CallerScene

URI = "sip:bob@192.0.2.2"
LINE_ENDS = ("\r\n", "\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\0", "\x1c", "\x7f")


class ValueTests(SynchronousTestCase):
    def refused(self, says: str, **wishes: Any) -> None:
        error = self.assertRaises(ConfigurationError, Invitation, URI, **wishes)
        self.assertIn(says, str(error))

    def test_line_ends_are_refused_everywhere(self) -> None:
        for end in LINE_ENDS:
            for text in (f"a{end}b", f"a{end}Via: x", end):
                self.refused("headers: X-A", headers={"X-A": text})
                self.refused("is not the name", headers={text: "a"})
                self.refused("display_name", display_name=text)
                self.assertRaises(ConfigurationError, reason_headers, 16, text)
                self.assertRaises(ConfigurationError, Invitation, URI, f"sip:{text}@b")

    def test_what_is_written_by_us_is_refused(self) -> None:
        for name in ("Via", "v", "CSEQ", "call-id", "i", "t", "From", "Content-length", "Route"):
            self.refused("is written by sessioncore", headers={name: "x"})

    def test_wrong_kinds(self) -> None:
        for wrong in (5, ["ab", 5], [("a",)], {"a": 5}, {5: "a"}, "ab", {"a": b"b"}):
            self.refused("headers", headers=wrong)
        for wrong in (5, b"Bob"):
            self.refused("display_name", display_name=wrong)
        for wrong in (0, -1, "20", True, float("nan"), 86_401):
            self.refused("ring_limit", ring_limit=wrong)
        for wrong in ("16", True, 0, 128):
            self.assertRaises(ConfigurationError, reason_headers, wrong, "x")
        for text in ("x" * 201, 5):
            self.assertRaises(ConfigurationError, reason_headers, 16, text)
        self.refused("headers: X", headers={"X": "x" * 8_001})
        self.refused("headers: X", headers={"X": "\ud800"})

    @settings(max_examples=300)
    @given(st.text(max_size=40), st.text(max_size=40))
    def test_whatever_is_taken_stays_on_its_line(self, name: str, value: str) -> None:
        """What is not refused is read back as it was given, and adds no line."""
        network = FakeNetwork()
        manager = SessionManager(network.host("192.0.2.1"))
        self.successResultOf(manager.start())
        try:
            manager.call(URI, display_name=name, headers=[("X-Given", value)])
        except ConfigurationError:
            return
        network.advance(0.01)
        invite: Any = parse_message(network.sent(b"INVITE")[0].data)
        self.assertEqual(invite.first(b"X-Given"), value.encode().strip())
        display = invite.from_.display[1:-1].decode()
        self.assertEqual(re.sub(r"\\(.)", r"\1", display), name)
        self.assertEqual(len(invite.headers), 13)
        manager.stop(0.0)


class OutgoingTests(CallerScene):
    def test_who_calls_and_what_is_added(self) -> None:
        self.us.call(
            from_uri="sip:desk@example.com",
            display_name='Ann "7" \\ é',
            headers=[("X-One", "1"), ("X-One", "2"), ("P-Asserted-Identity", "<sip:a@b>")],
        )
        self.run_for(0.002)
        invite = parsed(self.them.last(b"INVITE"))
        self.assertEqual(
            invite.from_.display,
            '"Ann \\"7\\" \\\\ é"'.encode(),
        )
        self.assertEqual(bytes(invite.from_.uri), b"sip:desk@example.com")
        self.assertEqual(invite.all(b"X-One"), [b"1", b"2"])
        self.assertEqual(invite.first(b"P-Asserted-Identity"), b"<sip:a@b>")
        self.reply(200, sdp=True)
        bye = self.us.manager.calls[0].hang_up()
        self.run_for(0.002)
        # Within the dialog From stays what it was, and the others were for the INVITE.
        self.assertEqual(parsed(self.them.last(b"BYE")).first(b"From"), invite.first(b"From"))
        self.assertIsNone(parsed(self.them.last(b"BYE")).first(b"X-One"))
        self.answer_bye()
        self.successResultOf(bye)

    def test_how_long_it_may_ring(self) -> None:
        call = self.calling(ring_limit=2.5)
        other = self.us.call()
        self.run_for(0.01)
        self.reply(180)
        self.run_for(2.4)
        self.assertIsNone(call.end_reason)
        self.run_for(0.2)
        assert call.end_reason is not None
        self.assertEqual((call.end_reason.text, call.end_reason.status), ("nobody answered", 408))
        self.assertIsNone(other.end_reason)

    def test_a_peer_that_says_nothing_is_free_at_the_limit_and_cancelled_behind(self) -> None:
        call = self.calling(ring_limit=4)
        ended = call.when_ended()
        self.run_for(3.9)
        self.assertNoResult(ended)
        self.run_for(0.2)
        reason = self.successResultOf(ended)
        self.assertEqual((reason.text, reason.status), ("nobody answered", 408))
        self.assertEqual(self.us.manager.calls, [])
        self.run_for(2)  # ports rest for so long
        self.assertEqual(self.us.manager.statistics().rtp_ports_free, 5000)
        self.assertEqual(self.them.times(b"CANCEL"), [], "not before a provisional response")
        self.reply(180)
        self.assertEqual(len(self.them.times(b"CANCEL")), 1, "it must not ring on")

    def test_an_answer_after_the_limit_is_acknowledged_and_ended(self) -> None:
        call = self.calling(ring_limit=4)
        self.run_for(4.1)
        self.assertIsNotNone(call.end_reason)
        self.reply(200, sdp=True)
        self.run_for(0.1)
        self.assertTrue(self.them.last(b"ACK") and self.them.last(b"BYE"))

    def test_a_limit_may_be_longer_than_that_of_the_settings(self) -> None:
        us = self.us = self.party(A.replace(".1", ".4"), ring_limit=5)
        call = us.call(ring_limit=20)
        self.run_for(0.01)
        invite = self.them.last(b"INVITE")
        self.them.send(messages.response(invite, 180), (us.host.addresses[0], 5060))
        self.run_for(19.9)
        self.assertIsNone(call.end_reason)
        self.run_for(0.2)
        self.assertIsNotNone(call.end_reason)

    def test_it_may_be_changed_while_it_rings(self) -> None:
        call = self.calling()
        self.reply(180)
        call.limit_ringing(100)
        call.limit_ringing(1)
        self.run_for(1.1)
        self.assertIsNotNone(call.end_reason)
        call.limit_ringing(5)  # too late, and nothing of it
        for wrong in (0, -1, "5", True, 86_401):
            self.assertRaises(ConfigurationError, call.limit_ringing, wrong)

    def test_an_answered_call_is_not_ended(self) -> None:
        call = self.calling(ring_limit=1)
        self.reply(200, sdp=True)
        call.limit_ringing(1)
        self.run_for(3)
        self.assertIsNone(call.end_reason)

    def test_why_it_is_hung_up(self) -> None:
        call = self.up()
        call.hang_up('queue "7" full', cause=34)
        self.run_for(0.002)
        bye = parsed(self.them.last(b"BYE"))
        self.assertEqual(bye.first(b"Reason"), b'Q.850;cause=34;text="queue \\"7\\" full"')
        self.answer_bye()
        reason = self.us.event("CallEnded").reason
        self.assertEqual(
            (reason.by, reason.text, reason.cause), (EndedBy.LOCAL, 'queue "7" full', 34)
        )

    def test_why_it_is_cancelled(self) -> None:
        call = self.calling()
        self.assertRaises(ConfigurationError, call.hang_up, "a\nb")
        self.assertIsNone(call.end_reason)
        call.hang_up("another phone answered")
        self.reply(180)
        cancel = parsed(self.them.last(b"CANCEL"))
        self.assertEqual(cancel.first(b"Reason"), b'Q.850;cause=16;text="another phone answered"')

    def test_without_a_reason_nothing_is_said(self) -> None:
        self.up().hang_up()
        self.run_for(0.002)
        self.assertIsNone(parsed(self.them.last(b"BYE")).first(b"Reason"))

    def test_only_the_first_reason_counts(self) -> None:
        call = self.calling()
        self.reply(180)
        call.hang_up("one")
        call.hang_up("two")
        assert call.end_reason is not None
        self.assertEqual(call.end_reason.text, "one")
        self.run_for(0.002)
        self.assertIn(b'"one"', parsed(self.them.last(b"CANCEL")).first(b"Reason"))


class IncomingTests(CalleeScene):
    def test_what_can_be_read(self) -> None:
        headers = (
            ("From", '"Ann \\"7\\"" <sip:ann@192.0.2.3>;tag=f1'),
            ("P-Asserted-Identity", "<sip:ann@example.com>, <tel:+1>"),
            ("X-Two", "a"),
            ("X-Two", "b"),
        )
        call = self.invited(headers=headers)
        self.assertEqual(call.request_uri, "sip:bob@192.0.2.2:5060")
        self.assertEqual(call.remote_display_name, 'Ann "7"')
        self.assertEqual(call.asserted_identity, ("<sip:ann@example.com>", "<tel:+1>"))
        self.assertEqual(call.header("x-two"), "a")
        self.assertIsNone(call.header("X-None"))
        self.assertEqual([v for name, v in call.headers if name == "X-Two"], ["a", "b"])
        call.reject()
        self.run_for(1)
        self.assertEqual(call.header("X-Two"), "a")  # after the end, too

    def test_an_identity_that_cannot_be_read_is_none(self) -> None:
        unread = '"Ann <sip:ann@example.com>, <sip:b@example.com>'
        call = self.invited(headers=(("P-Asserted-Identity", unread),))
        self.assertEqual(call.asserted_identity, ())
        self.assertEqual(call.header("P-Asserted-Identity"), unread)
        call.reject()

    def test_of_an_outgoing_call_there_is_none(self) -> None:
        call = self.us.manager.call(f"sip:x@{A}")
        self.assertEqual((call.request_uri, call.headers, call.header("Via")), (None, (), None))
        self.assertEqual((call.remote_display_name, call.asserted_identity), ("", ()))

    def test_hostile_values(self) -> None:
        call = self.invited(headers=(("X-Raw", "\x7f<script>"),))
        self.assertIn("<script>", call.header("X-Raw"))
        self.assertIsNone(call.header("\udcff"))

    def test_how_long_it_may_ring(self) -> None:
        call = self.invited(lambda call: (call.ring(), call.limit_ringing(3))[0])
        self.run_for(2.9)
        self.assertIsNone(call.end_reason)
        self.run_for(0.2)
        self.assertEqual(self.them.lines()[-1], "480 INVITE")

    def test_the_limit_ends_with_the_answer(self) -> None:
        call = self.invited()
        call.limit_ringing(3)
        call.answer()
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(5)
        self.assertIsNone(call.end_reason)


class HandleTests(Scene):
    def test_ids_are_unique_among_managers_and_found(self) -> None:
        us, them = self.pair(ring)
        calls = [us.call() for _ in range(3)]
        self.run_for(0.1)
        theirs = list(them.incoming)
        names = {call.session for call in (*calls, *theirs)}
        self.assertEqual(len(names), 6)
        for party, found in ((us, calls), (them, theirs)):
            for call in found:
                self.assertIs(party.manager.find_call(call.session), call)
        self.assertIsNone(us.manager.find_call(theirs[0].session))
        calls[0].hang_up()
        self.run_for(1)
        self.assertIsNone(us.manager.find_call(calls[0].session))

    def test_sinks_of_one_call(self) -> None:
        us, _them = self.pair()
        one, other = us.call(), us.call()
        heard: list[Any] = []
        answered: list[events.CallAnswered] = []
        one.add_event_sink(heard.append)
        one.add_event_sink(answered.append, events.CallAnswered)
        self.run_for(0.2)
        self.assertEqual({event.session for event in heard}, {one.session})
        self.assertEqual([type(event) for event in answered], [events.CallAnswered])
        count = len(heard)
        one.remove_event_sink(heard.append)
        self.assertRaises(ConfigurationError, one.remove_event_sink, heard.append)
        self.assertRaises(ConfigurationError, other.remove_event_sink, print)
        self.assertRaises(ConfigurationError, one.add_event_sink, 5)
        self.assertRaises(ConfigurationError, one.add_event_sink, print, str)
        one.hang_up()
        self.run_for(0.2)
        self.assertEqual(len(heard), count)

    def test_events_of_a_call_reach_its_sinks_where_no_other_wants_them(self) -> None:
        us, _them = self.pair()
        us.manager.remove_event_sink(us.events.append)
        call = us.call()
        heard: list[Any] = []
        call.add_event_sink(heard.append, events.MediaActive)
        self.run_for(0.3)
        self.assertEqual([event.name for event in heard], ["MediaActive"])

    def test_everything_can_be_read_after_the_end(self) -> None:
        us, them = self.pair()
        call = us.call()
        self.run_for(0.5)
        other = them.call_in
        call.hang_up()
        self.run_for(0.5)
        for each in (call, other):
            for name in dir(type(each)):
                if isinstance(getattr(type(each), name), property):
                    getattr(each, name)
            assert each.negotiated_media is not None
            self.assertEqual(each.negotiated_media.audio.local, each.local_rtp)
            self.assertEqual(str(each.state), "Ended")


class HungUpTests(Scene):
    """A hang-up between 200 and ACK stops the media at once."""

    def test_no_packet_leaves_while_the_ack_is_waited_for(self) -> None:
        us = self.party(B, lambda call: call.answer())
        them = self.peer(C := "192.0.2.3")
        data = messages.invite(
            messages.Caller(local=(C, 5060), remote=(B, 5060)), body=messages.offer(C)
        )
        them.send(data, (B, 5060))
        self.run_for(0.5)
        self.assertGreater(len(self.rtp_from(B)), 10)
        us.call_in.hang_up()
        now = self.network.now / 1e9
        self.run_for(5)
        self.assertEqual(self.rtp_from(B, now + 0.001), [])
        self.assertEqual(str(us.call_in.state), "Leaving")


class StrictTests(SynchronousTestCase):
    def test_a_uri_of_ours_follows_the_grammar(self) -> None:
        """What a peer may write we do not."""
        for text in ('sip:bob@h;thinfo="VG8=="', "sip:a|b@h", "sip:50%@h", "sip:h;;x"):
            self.assertRaises(ConfigurationError, callable_uri, text)
