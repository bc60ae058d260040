"""The UAC path, the callee played by hand: what is sent, in which order, when media runs."""

from __future__ import annotations

import gc
from typing import Any
from unittest import mock

import numpy as np
from twisted.internet.defer import Deferred

from sessioncore.errors import CallFailed, CallOver, ConfigurationError, TooManyCalls
from sessioncore.media.sources import Frames, Tone
from sessioncore.session.leg import Leg
from sessioncore.session.session import SessionState
from sessioncore.sip.flows import Target
from sessioncore.testing import messages
from sessioncore.vocabulary import Direction, EndedBy, MediaState
from tests.session.scene import A, B, Peer, Scene, parsed

D = "192.0.2.4"

PLACED = ["OutgoingCallPrepared Idle", "CallInitiated Negotiating"]
ANSWERED = [
    "CallAnswered Ready",
    "MediaNegotiated Ready",
    "MediaFlowEstablished Established",
    "AckSent Established",
    "DialogEstablished Established",
]


class CallerScene(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.us = self.party(A)
        self.them = self.peer(B)
        self.media = self.peer(B, 40_000)
        self.sent = 0

    def calling(self, uri: str = f"sip:bob@{B}", **wishes: Any) -> Any:
        call = self.us.call(uri, **wishes)
        self.run_for(0.002)
        return call

    def reply(
        self, status: int, *, sdp: Any = None, peer: Peer | None = None, **given: Any
    ) -> None:
        """A response to the INVITE; ``sdp`` True for an ordinary description."""
        peer = peer or self.them
        body = messages.offer(B) if sdp is True else sdp or b""
        peer.send(messages.response(peer.last(b"INVITE"), status, body=body, **given), (A, 5060))
        self.run_for(0.002)

    def up(self, **wishes: Any) -> Any:
        call = self.calling(**wishes)
        self.reply(200, sdp=True)
        self.them.take()
        return call

    def send_rtp(self, count: int = 5, *, peer: Peer | None = None) -> None:
        (call,) = self.us.manager.calls
        assert call.local_rtp is not None
        for number in range(self.sent, self.sent + count):
            header = b"\x80\x00" + number.to_bytes(2, "big") + (160 * number).to_bytes(4, "big")
            (peer or self.media).send(header + b"abcd" + b"\xff" * 160, call.local_rtp)
            self.run_for(0.02)
        self.sent += count

    def answer_bye(self, status: int = 200) -> None:
        self.them.send(messages.response(self.them.last(b"BYE"), status), (A, 5060))
        self.run_for(0.002)

    def reason(self, name: str = "CallFailed") -> Any:
        return self.us.event(name).reason


class RingLimitTests(CallerScene):
    def test_the_setting_is_for_calls_of_ours_too(self) -> None:
        self.us = self.party(D, ring_limit=20)
        call = self.calling()
        self.them.send(messages.response(self.them.last(b"INVITE"), 180), (D, 5060))
        self.run_for(19.9)
        self.assertIs(call.state, SessionState.PROCEEDING)
        self.run_for(0.2)
        self.assertIn("CANCEL", self.them.lines())

    def test_a_limit_counts_before_the_call_is_placed(self) -> None:
        call = self.us.manager.prepare_call(f"sip:bob@{B}")
        call.limit_ringing(5)
        self.run_for(4.9)
        self.assertIs(call.state, SessionState.PREPARED)
        self.run_for(0.2)
        self.assertEqual(self.reason().text, "nobody answered")
        self.failureResultOf(call.place(), CallOver)

    def test_a_limit_for_a_call_that_is_being_ended(self) -> None:
        call = self.calling()
        self.reply(180)
        call.hang_up()
        call.limit_ringing(1)
        self.run_for(0.002)
        self.reply(200, sdp=True)  # it crossed our CANCEL
        self.assertIs(call.state, SessionState.ENDING)
        call.limit_ringing(1)
        self.answer_bye()
        self.assertIs(self.reason().by, EndedBy.LOCAL)


class AnsweredTests(CallerScene):
    def test_early_offer(self) -> None:
        call = self.calling()
        self.assertEqual(self.us.story(), PLACED)
        self.reply(200, sdp=True)
        self.assertEqual(self.us.story(), [*PLACED, *ANSWERED])
        self.assertEqual(self.them.lines(), ["INVITE", "ACK"])
        self.assertIs(call.state, SessionState.CONFIRMED)
        self.send_rtp()
        self.assertEqual(self.us.story()[-1], "MediaActive Active")
        self.assertEqual(self.media.heard[0][2], call.local_rtp)

    def test_answered_in_the_turn_in_which_the_200_is_read(self) -> None:
        self.calling()
        self.reply(200, sdp=True)
        self.assertEqual({event.at for event in self.us.events[2:]}, {3_000_000})

    def test_the_invite(self) -> None:
        self.calling("sip:bob@192.0.2.2;user=phone", from_uri="sip:alice@example.com")
        invite = parsed(self.them.take()[0])
        self.assertEqual(invite.uri, b"sip:bob@192.0.2.2;user=phone")
        self.assertEqual(bytes(invite.from_.uri), b"sip:alice@example.com")
        self.assertEqual(bytes(invite.contact.uri), b"sip:192.0.2.1:5060")
        self.assertEqual(invite.first(b"Max-Forwards"), b"70")
        self.assertIn(b"rport", invite.via.params)
        self.assertIn(b"m=audio 40000 RTP/AVP 0 8", invite.body)
        self.assertIn(b"c=IN IP4 192.0.2.1", invite.body)
        self.assertNotIn(b"CANCEL, PRACK", invite.first(b"Allow"))

    def test_ringing(self) -> None:
        self.calling()
        self.reply(100, to_tag="")
        self.assertEqual(self.us.story(), PLACED)
        self.reply(180)
        self.reply(180)
        self.reply(183)
        self.reply(180)  # a callee may alternate as long as it likes: each is told once
        self.assertEqual(
            [event.status for event in self.us.events[2:]],  # type: ignore[attr-defined]
            [180, 183],
        )
        self.reply(200, sdp=True)
        self.assertEqual(self.us.story()[4:], ANSWERED)

    def test_late_offer(self) -> None:
        self.calling(late_offer=True)
        self.assertEqual(parsed(self.them.take()[0]).body, b"")
        self.reply(200, sdp=True)
        self.assertEqual(
            self.us.story(),
            [
                "OutgoingCallPrepared Idle",
                "CallInitiated Idle",
                "CallAnswered Negotiating",
                "AckSent Negotiating",
                "MediaNegotiated Ready",
                "MediaFlowEstablished Established",
                "DialogEstablished Established",
            ],
        )
        ack = parsed(self.them.take()[0])
        self.assertEqual(ack.content_type, b"application/sdp")
        self.assertIn(b"m=audio 40000 RTP/AVP 0", ack.body)
        self.send_rtp()
        self.assertEqual(self.us.story()[-1], "MediaActive Active")

    def test_an_offer_in_a_183_is_none(self) -> None:
        self.calling(late_offer=True)
        self.reply(183, sdp=True)
        self.assertEqual(self.us.story()[2:], ["CallRinging Idle"])
        self.reply(200, sdp=True)
        self.assertIn("MediaFlowEstablished Established", self.us.story())

    def test_early_media(self) -> None:
        call = self.calling()
        self.reply(183, sdp=True)
        self.assertEqual(
            self.us.story()[2:],
            [
                "EarlyMediaStarted Ready",
                "MediaNegotiated Ready",
                "MediaFlowEstablished Established",
            ],
        )
        self.send_rtp()
        self.us.forget()
        self.reply(200, sdp=True)
        self.assertEqual(
            self.us.story(), ["CallAnswered Active", "AckSent Active", "DialogEstablished Active"]
        )
        self.assertIs(self.successResultOf(call.when_two_way()), call)

    def early(self) -> Any:
        """A call that hears early media from port 40,000."""
        call = self.calling()
        self.reply(183, sdp=True)
        self.send_rtp()
        self.us.forget()
        return call

    def test_the_200_describes_other_media_than_the_183(self) -> None:
        """An unreliable 183 binds nobody: the announcement and the callee may differ."""
        call = self.early()
        self.reply(200, sdp=messages.offer(B, 40_010))
        self.assertEqual(
            self.us.names(),
            ["AnswerChanged", "CallAnswered", *(e.split()[0] for e in ANSWERED[1:])],
        )
        self.assertEqual(call.negotiated_media.audio.remote, (B, 40_010))
        self.send_rtp(peer=self.peer(B, 40_010))
        self.assertIs(call.media_state, MediaState.ACTIVE)
        self.assertEqual(call.remote_rtp, (B, 40_010))

    def test_the_200_has_another_codec_than_the_183(self) -> None:
        call = self.early()
        self.reply(200, sdp=messages.offer(B, formats=(8, 101)))
        self.assertEqual(self.us.names()[0], "AnswerChanged")
        self.assertEqual(call.negotiated_media.audio.codec.name, "PCMA")

    def test_the_200_repeats_the_183_with_another_version(self) -> None:
        self.early()
        self.reply(200, sdp=messages.offer(B, version=2))
        self.assertEqual(self.us.names(), ["CallAnswered", "AckSent", "DialogEstablished"])

    def test_the_200_has_no_description_after_a_183_with_one(self) -> None:
        call = self.early()
        self.reply(200)
        self.assertEqual(self.us.names(), ["CallAnswered", "AckSent", "DialogEstablished"])
        self.assertIs(call.media_state, MediaState.ACTIVE)

    def test_the_200_cannot_be_used_although_the_183_could(self) -> None:
        self.early()
        self.reply(200, sdp=messages.offer(B, formats=(18,)))
        self.assertEqual(self.them.lines()[-2:], ["ACK", "BYE"])
        self.answer_bye()
        self.assertIn("answer in the 200", self.reason("CallEnded").text)

    def test_another_183_describes_other_media(self) -> None:
        call = self.early()
        self.reply(183, sdp=messages.offer(B, 40_010))
        self.assertEqual(
            self.us.names(), ["AnswerChanged", "MediaNegotiated", "MediaFlowEstablished"]
        )
        self.assertEqual(call.negotiated_media.audio.remote, (B, 40_010))
        self.reply(183, sdp=messages.offer(B, formats=(18,)))
        self.assertEqual(call.negotiated_media.audio.remote, (B, 40_010))

    def test_a_180_with_description_rings_and_starts_media(self) -> None:
        self.calling()
        self.reply(180, sdp=True)
        self.reply(180, sdp=True)
        self.assertEqual(
            self.us.names()[2:],
            ["CallRinging", "EarlyMediaStarted", "MediaNegotiated", "MediaFlowEstablished"],
        )

    def test_an_unusable_183_binds_nobody(self) -> None:
        self.calling()
        self.reply(183, sdp=messages.offer(B, formats=(18,)))
        self.assertEqual(self.us.story(), PLACED)
        self.reply(200, sdp=True)
        self.assertEqual(self.us.story()[2:], ANSWERED)

    def test_media_before_the_answer_counts_only_after_it(self) -> None:
        call = self.calling()
        self.reply(180)
        self.send_rtp()
        self.assertEqual(self.us.names()[-1], "CallRinging")
        self.assertFalse(call.transmitting)
        self.assertEqual(self.rtp_from(A), [])
        self.reply(200, sdp=True)
        self.send_rtp()
        self.assertEqual(self.us.names()[-1], "MediaActive")

    def test_a_200_without_to_tag(self) -> None:
        """RFC 2543 allowed it; its repeat is a repeat and no other fork."""
        self.calling()
        bare = messages.response(self.them.last(b"INVITE"), 200, body=messages.offer(B))
        bare = bare.replace(b";tag=314159", b"")
        for _ in range(2):
            self.them.send(bare, (A, 5060))
            self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["INVITE", "ACK", "ACK"])

    def test_the_200_has_no_contact(self) -> None:
        self.calling()
        self.reply(200, sdp=True, contact=None)
        self.assertEqual(self.them.lines(), ["INVITE", "ACK"])

    def test_the_200_has_an_unusable_contact(self) -> None:
        for uri in ("mailto:a@b", "sips:bob@192.0.2.2"):
            with self.subTest(uri):
                self.us.forget()
                self.calling()
                self.reply(200, sdp=True, headers=[("Contact", f"<{uri}>")])
                self.assertEqual(self.us.names()[-1], "CallFailed")
                self.assertIs(self.reason().by, EndedBy.ERROR)
                self.assertIn(
                    f"unusable 200: Contact is not a sip URI: '{uri}'", self.reason().text
                )
                self.ended_where_the_invite_went()

    def ended_where_the_invite_went(self, uri: bytes = b"sip:bob@192.0.2.2") -> None:
        """An ACK stops the 200 and a BYE the callee's media; a repeat gets its ACK again."""
        _invite, ack, bye = (parsed(data) for data in self.them.take())
        self.assertEqual((ack.method, bye.method), (b"ACK", b"BYE"))
        for request in (ack, bye):
            self.assertEqual((request.uri, request.to_tag), (uri, b"314159"))
            self.assertEqual(request.all(b"Route"), [])
        self.assertEqual((ack.cseq.number, bye.cseq.number), (1, 2))
        self.answer_bye()
        self.run_for(60)
        self.assertEqual(self.them.lines(), [])
        self.assertEqual(self.us.manager.calls, [])

    def test_the_200_has_an_unusable_record_route(self) -> None:
        self.calling()
        self.reply(200, sdp=True, headers=[("Record-Route", "<sip:proxy")])
        self.assertIn("unusable 200", self.reason().text)
        self.reply(200, sdp=True, headers=[("Record-Route", "<sip:proxy")])
        self.assertEqual(self.them.lines(), ["INVITE", "ACK", "BYE", "ACK"])

    def test_the_contact_of_the_200_leads_nowhere(self) -> None:
        for contact in ("nowhere.example.com:5060", "[2001:db8::9]"):
            with self.subTest(contact):
                self.us.forget()
                call = self.calling()
                self.reply(200, sdp=True, headers=[("Contact", f"<sip:bob@{contact}>")])
                self.run_for(0.1)
                self.assertIn("AckSent", self.us.names())
                self.ended_where_the_invite_went(f"sip:bob@{contact}".encode())
                self.assertIn("cannot send the ACK", self.reason("CallEnded").text)
                self.assertIs(call.state, SessionState.ENDED)

    def test_repeated_200(self) -> None:
        self.calling()
        for _ in range(3):
            self.reply(200, sdp=True)
        said = self.them.take()[1:]
        self.assertEqual(len(said), 3)
        self.assertEqual(len(set(said)), 1)
        self.assertEqual(
            self.us.story(), [*PLACED, *ANSWERED, "AnswerRepeated Established"]
        )  # told once

    def test_repeated_200_after_the_call_is_over(self) -> None:
        call = self.up()
        call.hang_up()
        self.run_for(0.002)
        self.answer_bye()
        self.assertIs(call.state, SessionState.ENDED)
        self.them.take()
        self.run_for(28)
        self.reply(200, sdp=True)
        self.assertEqual(self.them.lines(), ["ACK"])
        self.assertNotIn("AnswerRepeated", self.us.names())
        self.run_for(5)
        self.reply(200, sdp=True)
        self.assertEqual(self.them.lines(), [])

    def test_directions(self) -> None:
        for number, (theirs, ours, sends, state) in enumerate(
            (
                ("sendonly", Direction.RECVONLY, False, MediaState.ACTIVE),
                ("recvonly", Direction.SENDONLY, True, MediaState.ACTIVE),
                ("inactive", Direction.INACTIVE, False, MediaState.ESTABLISHED),
            )
        ):
            call = self.calling()
            self.reply(200, sdp=messages.offer(B, 40_000, direction=theirs), to_tag=f"t{number}")
            self.send_rtp()
            agreed = call.negotiated_media.audio.direction
            self.assertEqual(
                (agreed, call.transmitting, call.media_state), (ours, sends, state), theirs
            )
            call.hang_up()
            self.run_for(0.002)
            self.answer_bye()

    def test_hold_by_address(self) -> None:
        call = self.calling()
        self.reply(200, sdp=messages.offer("0.0.0.0"))
        self.run_for(1)
        self.assertFalse(call.transmitting)
        self.assertIs(call.media_state, MediaState.ESTABLISHED)

    def test_rtp_goes_on_where_nothing_comes_back(self) -> None:
        """The 200 proved the path: whoever sent it had read our INVITE."""
        self.calling()
        self.reply(200, sdp=messages.offer(B, direction="recvonly"))
        self.run_for(12)
        self.assertGreater(len(self.rtp_from(A)), 590)

    def test_early_media_goes_on_where_nothing_comes_back(self) -> None:
        self.calling()
        self.reply(183, sdp=True)
        self.run_for(12)
        self.assertGreater(len(self.rtp_from(A)), 590)

    def test_source_is_played_from_the_first_packet_on(self) -> None:
        self.up(source=Tone())
        self.run_for(0.1)
        first = self.media.heard[0][1]
        self.assertNotEqual(first[12:], b"\xff" * 160)


class UnusableTests(CallerScene):
    def ended(self, method: str = "BYE") -> None:
        self.assertEqual(self.them.lines(), ["INVITE", "ACK", method])
        self.answer_bye()
        reason = self.reason("CallEnded")
        self.assertEqual((reason.by, reason.status, reason.cause), (EndedBy.ERROR, None, 88))
        self.assertNotIn("MediaNegotiated", self.us.names())
        self.assertEqual(self.us.counters["refused_media"], 1)

    def test_answer_without_common_codec(self) -> None:
        self.calling()
        self.reply(200, sdp=messages.offer(B, formats=(18,)))
        self.ended()

    def test_answer_with_port_zero(self) -> None:
        self.calling()
        self.reply(200, sdp=messages.offer(B, 0))
        self.ended()

    def test_answer_to_a_multicast_address(self) -> None:
        self.calling()
        self.reply(200, sdp=messages.offer("224.0.0.1"))
        self.ended()

    def test_answer_that_cannot_be_read(self) -> None:
        self.calling()
        self.reply(200, sdp=b"v=0\r\nnonsense")
        self.ended()

    def test_no_answer(self) -> None:
        self.calling()
        self.reply(200)
        self.ended()

    def test_unusable_offer_is_refused_in_the_ack(self) -> None:
        self.calling(late_offer=True)
        self.reply(200, sdp=messages.offer(B, formats=(18,)))
        ack = parsed(self.them.last(b"ACK"))
        self.assertIn(b"m=audio 0 RTP/AVP 18", ack.body)
        self.ended()

    def test_no_offer(self) -> None:
        self.calling(late_offer=True)
        self.reply(200)
        self.assertEqual(parsed(self.them.last(b"ACK")).body, b"")
        self.ended()


class FailedTests(CallerScene):
    def test_refused(self) -> None:
        for status, cause in ((404, 1), (486, 17), (600, 17), (603, 21), (488, 65), (401, None)):
            self.us.forget()
            call = self.calling()
            self.reply(status, to_tag=f"t{status}")
            reason = self.reason()
            self.assertEqual(
                (reason.by, reason.status, reason.cause), (EndedBy.REMOTE, status, cause)
            )
            self.assertIn("ACK", self.them.lines())
            self.failureResultOf(call.when_answered(), CallFailed)
            self.failureResultOf(call.when_media_ready(), CallFailed)
            self.failureResultOf(call.when_two_way(), CallFailed)
            self.assertIs(self.successResultOf(call.when_ended()), reason)

    def test_q850_cause_of_the_peer(self) -> None:
        self.calling()
        self.reply(500, headers=[("Reason", 'SIP;cause=500, Q.850 ;cause=42;text="busy net"')])
        self.assertEqual(self.reason().cause, 42)

    def test_moved_is_surfaced_and_not_followed(self) -> None:
        other = self.peer(D)
        self.calling()
        self.reply(302, headers=[("Contact", f"<sip:carol@{D}>")])
        self.run_for(1)
        self.assertEqual(other.take(), [])
        reason = self.reason()
        self.assertEqual((reason.status, reason.text), (302, f"Whatever: <sip:carol@{D}>"))

    def test_no_answer_at_all(self) -> None:
        call = self.calling()
        self.run_for(31.9)
        self.assertEqual(len(self.them.take()), 7)
        self.assertIs(call.state, SessionState.CALLING)
        self.run_for(0.2)
        reason = self.reason()
        self.assertEqual((reason.by, reason.status), (EndedBy.TIMEOUT, 408))

    def test_any_1xx_stops_the_repeats(self) -> None:
        self.calling()
        self.reply(100, to_tag="")
        self.run_for(60)
        self.assertEqual(self.them.lines(), ["INVITE"])
        self.assertEqual(len(self.us.manager.calls), 1)

    def test_rings_for_ever(self) -> None:
        call = self.calling()
        self.reply(180)
        self.them.take()
        self.run_for(179.9)
        self.assertEqual(self.them.lines(), [])
        self.run_for(0.2)
        self.assertEqual(self.them.lines(), ["CANCEL"])
        reason = self.reason()
        self.assertEqual((reason.by, reason.cause), (EndedBy.TIMEOUT, 19))
        self.assertIs(call.state, SessionState.ENDED)
        self.assertEqual(self.us.manager.calls, [])
        # Only the transaction is left.
        self.reply(487)
        self.assertEqual(self.them.lines(), ["ACK"])
        self.assertEqual(self.us.names()[-1], "CallFailed")

    def test_rings_for_ever_and_says_nothing_to_the_cancel(self) -> None:
        us = self.party(D, ring_limit=20, max_calls=1, rtp_ports=(40_000, 40_001))
        us.call(f"sip:bob@{B}")
        self.run_for(0.002)
        self.them.send(messages.response(self.them.last(b"INVITE"), 180), (D, 5060))
        self.run_for(20.01)
        self.assertEqual(us.names()[-1], "CallFailed")
        self.run_for(2)
        us.call(f"sip:bob@{B}")  # its place and its ports are free
        self.run_for(0.002)
        self.assertEqual(us.names()[-1], "CallInitiated")
        self.run_for(60)
        self.assertEqual(us.names().count("CallFailed"), 2)

    def test_rings_for_ever_and_answers_after_that(self) -> None:
        self.calling()
        self.reply(180)
        self.run_for(180)
        self.them.take()
        self.reply(200, sdp=True)
        self.assertEqual(self.them.lines(), ["ACK", "BYE"])
        self.assertEqual(self.us.names()[-1], "CallFailed")

    def kept(self) -> list[Leg]:
        gc.collect()
        ours = self.us.manager._coordinator
        legs = [each for each in gc.get_objects() if isinstance(each, Leg)]
        return [leg for leg in legs if leg.effects is ours.registry._effects]

    def test_nothing_of_a_call_that_ended_is_kept_for_its_ring_limit(self) -> None:
        self.calling()
        self.reply(486)
        self.run_for(40)
        self.assertEqual(self.kept(), [])

    def test_of_an_answered_call_that_ended_nothing_is_kept_for_repeats(self) -> None:
        self.up().hang_up()
        self.run_for(0.002)
        self.answer_bye()
        self.run_for(5)
        self.assertEqual(self.kept(), [])

    def test_name_of_nobody(self) -> None:
        call = self.us.manager.prepare_call("sip:bob@nowhere.example.com")
        self.failureResultOf(call.place(), CallFailed)
        self.assertEqual(self.us.names(), ["OutgoingCallPrepared", "CallFailed"])
        self.assertEqual(self.reason().status, 404)

    def test_no_socket_of_that_family(self) -> None:
        self.calling("sip:bob@[2001:db8::9]")
        self.assertIs(self.reason().by, EndedBy.NETWORK)

    def test_cannot_be_sent(self) -> None:
        (port,) = self.us.host.ports.values()
        port.fail_writes = OSError(101, "unreachable")
        self.calling()
        port.fail_writes = None
        self.assertIs(self.reason().by, EndedBy.NETWORK)

    def test_no_ports(self) -> None:
        us = self.party(D, rtp_ports=(40_000, 40_001))
        us.call()
        us.call()
        self.run_for(0.01)
        self.assertEqual(us.names()[-1], "CallFailed")
        self.assertEqual(us.event("CallFailed").reason.status, 503)

    def test_what_cannot_be_called(self) -> None:
        for uri in ("bob", "sips:bob@b", "tel:123", "sip:", "sip:bob@b?Subject=x", "sip:é@b", ""):
            self.assertRaises(ConfigurationError, self.us.manager.prepare_call, uri)
        for uri in ("sip:bob@b;transport=tcp", "sip:bob@b;transport=TLS"):
            self.assertRaises(ConfigurationError, self.us.manager.prepare_call, uri)
        self.us.manager.prepare_call("sip:bob@b;transport=UDP").hang_up()
        self.assertRaises(
            ConfigurationError, self.us.manager.prepare_call, "sip:b@c", from_uri="a b"
        )
        self.assertEqual(self.us.manager.calls, [])

    def test_too_many(self) -> None:
        us = self.party(D, max_calls=1)
        us.call()
        self.assertRaises(TooManyCalls, us.call)

    def test_late_responses_of_a_failed_call(self) -> None:
        self.calling()
        self.reply(486)
        self.reply(200, sdp=True)
        self.reply(180)
        self.assertEqual(self.us.names()[-1], "CallFailed")


class FailoverTests(CallerScene):
    def setUp(self) -> None:
        super().setUp()
        self.network.names.add("bob.example.com", D, B)
        self.first = self.peer(D)

    def test_the_next_address_when_the_first_is_silent(self) -> None:
        self.calling("sip:bob@bob.example.com:5060")
        self.run_for(32.1)
        self.reply(200, sdp=True)
        self.assertEqual(self.us.story(), [*PLACED, *ANSWERED])
        one, other = parsed(self.first.take()[0]), parsed(self.them.last(b"INVITE"))
        self.assertEqual(one.call_id, other.call_id)
        self.assertNotEqual(one.via.branch, other.via.branch)
        self.assertEqual(one.uri, b"sip:bob@bob.example.com:5060")

    def test_the_next_address_when_the_first_is_out_of_service(self) -> None:
        self.calling("sip:bob@bob.example.com:5060")
        self.reply(100, to_tag="", peer=self.first)
        self.reply(503, peer=self.first)
        self.reply(200, sdp=True)
        self.assertEqual(self.us.story(), [*PLACED, *ANSWERED])
        self.assertEqual(self.first.lines(), ["INVITE", "ACK"])

    def test_the_next_address_is_reached_from_another_of_ours(self) -> None:
        us = self.party("192.0.2.5 2001:db8::5", listen=("udp:5060", r"udp:5060:interface=\:\:"))
        self.network.names.add("carol.example.com", D, "2001:db8::6")
        other = Peer(self.network.host("2001:db8::6"), 5060, "::")
        Peer(self.network.host("2001:db8::6"), 40_000, "::")
        for number, late_offer in enumerate((False, True), 1):
            frames = Frames()
            frames.write(np.full(1_600, 5_000, np.int16))
            uri = "sip:carol@carol.example.com:5060"
            call = us.call(uri, late_offer=late_offer, source=frames)
            self.run_for(0.01)
            first = self.first.last(b"INVITE")
            for status in (183, 503):  # the 183 cannot be used
                body = messages.offer(D, formats=(18,)) if status == 183 else b""
                self.first.send(messages.response(first, status, body=body), ("192.0.2.5", 5060))
            self.run_for(0.01)
            invite = other.last(b"INVITE")
            self.assertEqual(b"c=IN IP6 2001:db8::5" in invite, not late_offer)
            self.assertNotIn(b"192.0.2.5", parsed(invite).body)
            said = messages.response(
                invite, 200, body=messages.offer("2001:db8::6"), contact=("2001:db8::6", 5060)
            )
            self.assertEqual(frames.buffered, 1_600)
            other.send(said, ("2001:db8::5", 5060))
            self.run_for(0.15)
            self.assertTrue(0 < frames.buffered < 1_600)
            self.assertEqual(frames.missed, 0)
            self.run_for(0.05)
            self.assertEqual(call.local_rtp[0], "2001:db8::5")
            self.assertEqual(call.remote_rtp, ("2001:db8::6", 40_000))
            self.assertGreater(call.statistics.packets_sent, 5)
            self.assertEqual(us.names().count("MediaFlowEstablished"), number)

    def test_the_address_of_ours_that_the_next_one_needs_has_no_ports(self) -> None:
        us = self.party(
            "192.0.2.5 2001:db8::5",
            listen=("udp:5060", r"udp:5060:interface=\:\:"),
            rtp_ports=(40_000, 40_001),
        )
        self.network.names.add("carol.example.com", D, "2001:db8::6")
        us.call("sip:carol@[2001:db8::6]")
        us.call("sip:carol@carol.example.com:5060")
        self.run_for(0.01)
        self.first.send(messages.response(self.first.last(b"INVITE"), 503), ("192.0.2.5", 5060))
        self.run_for(0.01)
        self.assertEqual(us.event("CallFailed").reason.status, 503)

    def test_not_when_the_first_refuses(self) -> None:
        self.calling("sip:bob@bob.example.com:5060")
        self.reply(486, peer=self.first)
        self.assertEqual(self.reason().status, 486)
        self.assertEqual(self.them.take(), [])

    def test_not_when_the_first_has_sent_early_media(self) -> None:
        self.calling("sip:bob@bob.example.com:5060")
        self.reply(183, sdp=messages.offer(D), peer=self.first)
        self.reply(503, peer=self.first)
        self.assertEqual(self.reason().status, 503)
        self.assertEqual(self.them.take(), [])

    def test_no_further_address(self) -> None:
        self.calling("sip:bob@bob.example.com:5060")
        self.reply(503, peer=self.first)
        self.reply(503)
        self.assertEqual(self.reason().status, 503)

    def test_hung_up_while_the_second_is_tried(self) -> None:
        call = self.calling("sip:bob@bob.example.com:5060")
        self.reply(100, to_tag="", peer=self.first)
        self.reply(503, peer=self.first)
        call.hang_up()
        self.run_for(0.01)
        self.reply(180)
        self.assertEqual(self.them.lines(), ["INVITE", "CANCEL"])
        self.reply(487)
        self.assertIs(self.reason().by, EndedBy.LOCAL)

    def test_hung_up_while_the_first_is_silent(self) -> None:
        call = self.calling("sip:bob@bob.example.com:5060")
        call.hang_up()
        self.run_for(40)
        self.assertEqual(self.them.take(), [])
        self.assertIs(self.reason().by, EndedBy.LOCAL)

    def test_the_first_answers_after_its_time(self) -> None:
        self.calling("sip:bob@bob.example.com:5060")
        self.run_for(32.1)
        self.reply(200, sdp=True, peer=self.first)
        self.assertEqual(self.us.story(), PLACED)
        self.assertEqual(self.us.sip["unmatched_responses"], 1)


class CancelTests(CallerScene):
    def test_waits_for_the_first_1xx(self) -> None:
        call = self.calling()
        done = call.hang_up()
        self.run_for(0.4)
        self.assertEqual(self.them.lines(), ["INVITE"])
        self.reply(100, to_tag="")
        self.assertEqual(self.them.lines(), ["CANCEL"])
        self.reply(487)
        self.assertEqual(self.them.lines(), ["ACK"])
        self.assertIs(self.successResultOf(done).by, EndedBy.LOCAL)
        self.assertEqual(self.us.names()[-1], "CallFailed")

    def test_no_1xx_ever(self) -> None:
        done = self.calling().hang_up()
        self.run_for(32.1)
        self.assertIs(self.successResultOf(done).by, EndedBy.LOCAL)

    def test_after_a_1xx(self) -> None:
        call = self.calling()
        self.reply(180)
        call.hang_up()
        call.hang_up()
        self.run_for(0.002)
        self.assertEqual(self.them.lines(), ["INVITE", "CANCEL"])
        invite, cancel = parsed(self.them.heard[0][1]), parsed(self.them.heard[1][1])
        self.assertEqual(invite.via.branch, cancel.via.branch)
        self.assertEqual(invite.cseq.number, cancel.cseq.number)

    def test_crossed_by_a_200(self) -> None:
        call = self.calling()
        self.reply(180)
        done = call.hang_up()
        self.run_for(0.002)
        self.reply(200, sdp=True)
        self.assertEqual(self.them.lines(), ["INVITE", "CANCEL", "ACK", "BYE"])
        self.assertNoResult(done)
        self.answer_bye()
        self.successResultOf(done)
        self.assertEqual(self.us.names()[2:], ["CallRinging", "AckSent", "CallFailed"])
        self.failureResultOf(call.when_answered(), CallFailed)

    def test_crossed_by_a_200_with_an_offer(self) -> None:
        call = self.calling(late_offer=True)
        self.reply(180)
        call.hang_up()
        self.run_for(0.002)
        self.reply(200, sdp=True)
        self.assertEqual(self.them.lines(), ["INVITE", "CANCEL", "ACK", "BYE"])
        self.assertIn(b"m=audio", parsed(self.them.last(b"ACK")).body)
        self.answer_bye()
        self.assertEqual(self.us.names()[-1], "CallFailed")

    def test_no_final_response_to_the_end(self) -> None:
        call = self.calling()
        self.reply(180)
        done = call.hang_up()
        self.run_for(31.9)
        self.assertNoResult(done)
        self.run_for(0.2)
        self.assertIs(self.successResultOf(done).by, EndedBy.LOCAL)

    def test_no_final_response_until_the_ring_limit(self) -> None:
        call = self.calling()
        call.limit_ringing(5)
        self.reply(180)
        self.run_for(3)
        done = call.hang_up()
        self.run_for(1.9)
        self.assertNoResult(done)
        self.run_for(0.2)
        reason = self.successResultOf(done)
        self.assertEqual((reason.by, reason.text), (EndedBy.LOCAL, "hung up"))

    def test_media_and_place_are_free_with_the_cancel(self) -> None:
        for ip, answered in ((D, False), ("192.0.2.5", True)):
            us = self.party(ip, max_calls=1, rtp_ports=(40_000, 40_001))
            call = us.call(f"sip:bob@{B}")
            self.run_for(0.002)
            if answered:
                self.them.send(messages.response(self.them.last(b"INVITE"), 180), (ip, 5060))
                self.run_for(0.002)
            self.assertRaises(TooManyCalls, us.call, f"sip:bob@{B}")
            call.hang_up()
            self.run_for(1.1)  # the ports linger for a last report, and rest
            self.assertIs(call.state, SessionState.CANCELLING)
            us.call(f"sip:bob@{B}")
            self.run_for(0.002)
            self.assertEqual(us.names()[-1], "CallInitiated")

    def test_calls_that_are_ending_have_a_limit_too(self) -> None:
        us = self.party(D, max_calls=1)
        for _ in range(2):
            us.call(f"sip:bob@{B}").hang_up()
        error = self.assertRaises(TooManyCalls, us.call, f"sip:bob@{B}")
        self.assertEqual(
            str(error), "0 calls are up and 2 are ending; the limit is 1, with those ending 2"
        )

    def test_early_media_ends_with_the_cancel_answered(self) -> None:
        call = self.calling()
        self.reply(183, sdp=True)
        call.hang_up()
        self.run_for(0.01)
        self.reply(487)
        self.run_for(1)
        self.assertEqual(self.rtp_from(A, self.network.now / 1e9 - 0.9), [])

    def test_cancelling_the_deferred_of_place_hangs_up(self) -> None:
        self.network.names.silent.add("slow.example.com")
        call = self.us.manager.prepare_call("sip:bob@slow.example.com:5060")
        placed = call.place()
        placed.cancel()
        self.failureResultOf(placed)
        self.assertIs(self.successResultOf(call.when_ended()).by, EndedBy.LOCAL)
        self.run_for(10)
        self.assertEqual(self.us.names(), ["OutgoingCallPrepared", "CallFailed"])

    def test_hung_up_before_it_was_placed(self) -> None:
        call = self.us.manager.prepare_call(f"sip:bob@{B}")
        self.successResultOf(call.hang_up())
        self.failureResultOf(call.place(), CallOver)
        self.run_for(1)
        self.assertEqual(self.them.take(), [])

    def test_the_description_of_the_invite_has_its_type(self) -> None:
        self.calling()
        invite = parsed(self.them.last(b"INVITE"))
        self.assertTrue(invite.body.startswith(b"v=0"))
        self.assertEqual(invite.all(b"Content-Type"), [b"application/sdp"])

    def test_hung_up_while_its_name_is_resolved_or_its_flow_is_made(self) -> None:
        """Then `place` must not fire as if the INVITE had been written."""
        for waits_for in ("resolve", "flows"):
            waiting: Deferred[Any] = Deferred()
            flow = self.us.manager._transports[0].flow
            target = Target(b"UDP", B, 5060)
            if waits_for == "resolve":
                found: Any = [target]
                self.replace(self.us, resolve=lambda uri, waiting=waiting: waiting)
            else:
                found = flow
                flows = mock.Mock(to=lambda target, waiting=waiting: waiting)
                self.replace(self.us, resolve=lambda uri, t=target: [t], flows=flows)
            call = self.us.manager.prepare_call(f"sip:bob@{B}")
            placed = call.place()
            self.successResultOf(call.hang_up())
            self.assertNoResult(placed)
            waiting.callback(found)
            self.failureResultOf(placed, CallFailed)
            self.run_for(1)
            self.assertEqual(self.them.take(), [])

    def test_placed_twice(self) -> None:
        call = self.calling()
        self.failureResultOf(call.place(), CallOver)
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["INVITE"])

    def test_placed_twice_while_resolving(self) -> None:
        self.network.names.silent.add("slow.example.com")
        call = self.us.manager.prepare_call("sip:bob@slow.example.com:5060")
        placed = [call.place(), call.place()]
        self.run_for(5)
        for each in placed:
            self.failureResultOf(each, CallFailed)
        self.assertEqual(self.us.names(), ["OutgoingCallPrepared", "CallFailed"])

    def test_only_outgoing_calls_are_placed_only_incoming_ones_answered(self) -> None:
        call = self.calling()
        self.failureResultOf(call.answer(), CallOver)
        self.assertRaises(CallOver, call.ring)
        self.assertRaises(CallOver, call.reject)


class ForkTests(CallerScene):
    def test_each_200_is_acknowledged_and_the_extra_ones_ended(self) -> None:
        self.calling()
        self.reply(200, sdp=True, to_tag="one")
        for _ in range(2):
            self.reply(200, sdp=True, to_tag="two")
        self.reply(200, sdp=True, to_tag="three")
        said = [parsed(data) for data in self.them.take()[1:]]
        self.assertEqual(
            [(each.method, each.to_tag) for each in said],
            [
                (b"ACK", b"one"),
                (b"ACK", b"two"),
                (b"BYE", b"two"),
                (b"ACK", b"two"),
                (b"ACK", b"three"),
                (b"BYE", b"three"),
            ],
        )
        self.assertEqual(self.us.story(), [*PLACED, *ANSWERED])
        self.assertEqual(len(self.us.manager.calls), 1)

    def test_also_when_the_call_is_over(self) -> None:
        call = self.up()
        call.hang_up()
        self.run_for(0.01)
        self.answer_bye()
        self.them.take()
        self.reply(200, sdp=True, to_tag="two")
        self.assertEqual(self.them.lines(), ["ACK", "BYE"])

    def test_another_answers_before_our_ack_has_left(self) -> None:
        self.network.names.silent.add("slow.example.com")
        self.calling()
        slow = [("Contact", "<sip:bob@slow.example.com:5060>")]
        for _ in range(2):
            self.reply(200, sdp=True, to_tag="one", headers=slow)
        self.assertEqual(self.them.lines(), ["INVITE"])
        self.reply(200, sdp=True, to_tag="two")
        self.assertEqual(self.them.lines(), ["ACK", "BYE"])
        self.assertEqual(parsed(self.them.last(b"BYE")).to_tag, b"two")

    def test_another_that_cannot_be_reached(self) -> None:
        self.calling()
        self.reply(200, sdp=True, to_tag="one")
        for tag, uri in (("two", "sip:bob@nowhere.example.com:5060"), ("three", "mailto:a@b")):
            self.reply(200, sdp=True, to_tag=tag, headers=[("Contact", f"<{uri}>")])
        self.run_for(0.1)
        self.assertEqual(self.them.lines(), ["INVITE", "ACK", *["ACK", "BYE"] * 2])

    def test_no_end_of_forks(self) -> None:
        self.calling()
        for number in range(40):
            self.reply(200, sdp=True, to_tag=f"t{number}")
        self.assertEqual(len(self.them.times(b"ACK")), 17)

    def test_the_fork_that_answers_is_not_the_one_with_early_media(self) -> None:
        call = self.calling()
        self.reply(183, sdp=messages.offer(B, 40_000), to_tag="one")
        self.reply(183, sdp=messages.offer(B, 40_010), to_tag="two")
        self.assertEqual(self.us.names().count("MediaFlowEstablished"), 1)
        self.us.forget()
        self.reply(200, sdp=messages.offer(B, 40_010), to_tag="two")
        self.assertEqual(self.us.story(), ANSWERED)
        self.assertEqual(call.negotiated_media.audio.remote, (B, 40_010))

    def test_the_fork_that_answers_had_said_nothing(self) -> None:
        call = self.calling()
        self.reply(183, sdp=messages.offer(B, 40_000), to_tag="one")
        self.reply(200, sdp=messages.offer(B, 40_020), to_tag="three")
        self.assertEqual(self.us.names().count("MediaFlowEstablished"), 2)
        self.assertEqual(call.negotiated_media.audio.remote, (B, 40_020))

    def test_many_early_forks(self) -> None:
        self.calling()
        for number in range(40):
            self.reply(183, sdp=True, to_tag=f"t{number}")
        (leg,) = self.us.manager._coordinator.registry.by_name.values()
        assert leg.outgoing is not None
        self.assertEqual(len(leg.outgoing.early), 16)
        self.reply(200, sdp=messages.offer(B, 40_020), to_tag="t39")
        self.assertEqual(self.us.names()[-1], "DialogEstablished")


class RoutingTests(CallerScene):
    def test_contact_is_a_name(self) -> None:
        self.network.names.add("phone.example.com", D)
        phone = self.peer(D)
        self.calling()
        self.reply(200, sdp=True, headers=[("Contact", "<sip:bob@phone.example.com:5060>")])
        self.run_for(0.01)
        self.assertEqual(phone.lines(), ["ACK"])
        self.assertEqual(self.us.story()[2:], ANSWERED)

    def test_contact_is_a_name_of_nobody(self) -> None:
        call = self.calling()
        self.reply(200, sdp=True, headers=[("Contact", "<sip:bob@nowhere.example.com>")])
        self.run_for(0.01)
        self.answer_bye()
        reason = self.reason("CallEnded")
        self.assertIs(reason.by, EndedBy.NETWORK)
        self.assertIs(call.state, SessionState.ENDED)

    def slow(self, **wishes: Any) -> Any:
        """A 200 whose Contact takes its time to resolve (4 s, and then it does not)."""
        self.network.names.silent.add("slow.example.com")
        call = self.calling(**wishes)
        self.reply(200, sdp=True, headers=[("Contact", "<sip:bob@slow.example.com:5060>")])
        self.assertIs(call.state, SessionState.ANSWERED)
        return call

    def test_media_does_not_wait_for_the_resolver(self) -> None:
        self.slow()
        self.assertEqual(self.us.story()[2:], ANSWERED[:3])
        self.run_for(0.1)
        self.assertGreater(len(self.rtp_from(A)), 3)

    def test_bye_is_faster_than_the_resolver(self) -> None:
        for late in (False, True):
            self.us.forget()
            call = self.slow(late_offer=late)
            invite = self.them.last(b"INVITE")
            self.them.send(
                messages.request(
                    "BYE",
                    local=(B, 5060),
                    remote=(A, 5060),
                    call_id=call.call_id,
                    local_tag="314159",
                    remote_tag=messages.tag(invite, "From"),
                    branch=f"z9hG4bK-bye-{late}",
                ),
                (A, 5060),
            )
            self.run_for(0.01)
            self.assertEqual(self.us.names()[-1], "CallEnded")
            self.run_for(10)
            self.assertEqual(self.us.names()[-1], "CallEnded")

    def test_hung_up_before_the_ack(self) -> None:
        for late in (False, True):
            self.us.forget()
            call = self.slow(late_offer=late)
            call.hang_up()
            self.assertIs(call.state, SessionState.LEAVING)
            self.run_for(10)
            self.answer_bye()
            self.assertEqual(self.us.names()[-1], "CallEnded")

    def later(self) -> Deferred[Any]:
        """From now on names resolve when the test says so."""
        answer: Deferred[Any] = Deferred()
        self.replace(self.us, resolve=lambda uri: answer)
        for leg in self.us.manager._coordinator.registry.by_name.values():
            if leg.usage is not None:
                leg.usage.dialog.hop = None  # a literal's is kept
        return answer

    def bye(self, call: Any) -> None:
        """The callee's BYE."""
        self.them.send(
            messages.request(
                "BYE",
                local=(B, 5060),
                remote=(A, 5060),
                call_id=call.call_id,
                local_tag="314159",
                remote_tag=messages.tag(self.them.last(b"INVITE"), "From"),
            ),
            (A, 5060),
        )
        self.run_for(0.01)

    def test_a_bye_before_the_ack_gets_its_ack_and_no_more_is_told(self) -> None:
        call = self.calling()
        later = self.later()
        self.reply(200, sdp=True)
        self.bye(call)
        self.assertEqual(self.us.names()[-1], "CallEnded")
        later.callback([Target(b"UDP", B, 5060)])
        self.run_for(0.01)
        self.assertEqual(self.us.names()[-1], "CallEnded")
        self.assertEqual(self.them.lines(), ["INVITE", "200 BYE", "ACK"])

    def test_hung_up_before_the_ack_with_a_late_offer(self) -> None:
        call = self.calling(late_offer=True)
        later = self.later()
        self.reply(200, sdp=True)
        call.hang_up()
        later.callback([Target(b"UDP", B, 5060)])
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["INVITE", "ACK", "BYE"])
        self.assertNotIn("MediaNegotiated", self.us.names())

    def test_a_bye_while_ours_waits_for_the_resolver(self) -> None:
        call = self.up()
        later = self.later()
        call.hang_up()
        self.bye(call)
        self.assertEqual(self.them.lines(), ["200 BYE"])
        later.callback([Target(b"UDP", B, 5060)])
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["BYE"])

    def test_resolved_after_the_stop(self) -> None:
        call = self.up()
        later = self.later()
        call.hang_up()
        done = self.us.manager.stop(0.1)
        self.run_for(1)
        self.assertEqual(self.successResultOf(done), 1)
        later.callback([Target(b"UDP", B, 5060)])
        self.run_for(1)
        self.assertEqual(self.them.take(), [])

    def test_hung_up_before_the_target_was_resolved(self) -> None:
        later = self.later()
        call = self.calling()
        call.hang_up()
        later.callback([Target(b"UDP", B, 5060)])
        self.run_for(0.01)
        self.assertEqual(self.them.take(), [])

    def test_record_route(self) -> None:
        one, two = self.peer("192.0.2.7"), self.peer("192.0.2.8")
        call = self.calling()
        routes = "<sip:192.0.2.8;lr>, <sip:192.0.2.7;lr>"
        self.reply(200, sdp=True, headers=[("Record-Route", routes)])
        call.hang_up()
        self.run_for(0.01)
        self.assertEqual((one.lines(), two.lines()), (["ACK", "BYE"], []))
        ack = parsed(one.heard[0][1])
        self.assertEqual(ack.uri, b"sip:bob@192.0.2.2:5060")
        self.assertEqual(
            [bytes(each.uri) for each in ack.routes],
            [b"sip:192.0.2.7;lr", b"sip:192.0.2.8;lr"],
        )

    def test_strict_route(self) -> None:
        one = self.peer("192.0.2.7")
        self.calling()
        self.reply(200, sdp=True, headers=[("Record-Route", "<sip:192.0.2.7>")])
        ack = parsed(one.take()[0])
        self.assertEqual(ack.uri, b"sip:192.0.2.7")
        self.assertEqual([bytes(each.uri) for each in ack.routes], [b"sip:bob@192.0.2.2:5060"])

    def test_ipv6(self) -> None:
        us = self.party("2001:db8::1", listen=(r"udp:5060:interface=2001\:db8\:\:1",))
        them = Peer(self.network.host("2001:db8::2"), 5060, "2001:db8::2")
        Peer(self.network.host("2001:db8::2"), 40_000, "2001:db8::2")
        call = us.call("sip:bob@[2001:db8::2]")
        self.run_for(0.01)
        them.send(
            messages.response(
                them.last(b"INVITE"),
                200,
                body=messages.offer("2001:db8::2"),
                contact=("2001:db8::2", 5060),
            ),
            ("2001:db8::1", 5060),
        )
        self.run_for(0.1)
        self.assertEqual(them.lines(), ["INVITE", "ACK"])
        self.assertEqual(call.negotiated_media.audio.remote, ("2001:db8::2", 40_000))
        self.assertGreater(len(self.rtp_from("2001:db8::1")), 3)

    def test_the_socket_of_the_targets_kind(self) -> None:
        us = self.party(
            f"{D} 2001:db8::4",
            listen=(
                "udp:5060:interface=127.0.0.1",
                rf"udp:5060:interface={D}",
                r"udp:5060:interface=\:\:",
            ),
        )
        us.call()
        us.call("sip:bob@127.0.0.1:5070")
        us.call("sip:bob@[2001:db8::9]")
        self.run_for(0.01)
        sources = [each.source[0] for each in self.network.sent(b"INVITE")]
        self.assertEqual(sources, [D, "127.0.0.1", "2001:db8::4"])


class WithinTheDialogTests(CallerScene):
    """What the callee asks of us once the call is up."""

    def setUp(self) -> None:
        super().setUp()
        self.call = self.up()
        self.send_rtp()
        self.us.forget()
        invite = self.them.last(b"INVITE")
        self.who = messages.Caller(
            local=(B, 5060),
            remote=(A, 5060),
            call_id=self.call.call_id,
            local_tag="314159",
            remote_tag=messages.tag(invite, "From"),
            target=f"sip:{A}:5060",
            sequence=10,
        )

    def ask(self, method: str, **given: Any) -> str:
        given.setdefault("branch", f"z9hG4bK-{method}-{len(self.them.heard)}")
        self.them.take()
        self.them.send(messages.request(method, self.who, **given), (A, 5060))
        self.run_for(0.01)
        return self.them.lines()[0]

    def test_bye(self) -> None:
        self.assertEqual(self.ask("BYE"), "200 BYE")
        self.assertIs(self.reason("CallEnded").by, EndedBy.REMOTE)

    def test_reinvite_that_holds(self) -> None:
        body = messages.offer(B, direction="sendonly", version=2)
        self.assertEqual(self.ask("INVITE", body=body), "200 INVITE")
        self.them.send(messages.ack(self.who, branch="z9hG4bKack"), (A, 5060))
        self.run_for(0.01)
        self.assertEqual(
            self.us.names()[:4],
            ["MediaNegotiated", "MediaFlowEstablished", "CallHeld", "AckReceived"],
        )

    def test_reinvite_without_ack_ends_the_call(self) -> None:
        self.ask("INVITE", body=messages.offer(B, version=2))
        self.run_for(32.1)
        self.assertIn("BYE", self.them.lines())

    def test_unserved(self) -> None:
        for method in ("UPDATE", "PRACK", "INFO", "REFER"):
            self.assertEqual(self.ask(method), f"405 {method}")

    def test_requests_of_another_tag_are_not_for_this_call(self) -> None:
        self.assertEqual(self.ask("BYE", local_tag="other"), "481 BYE")

    def test_a_reinvite_before_our_ack_has_left(self) -> None:
        self.network.names.silent.add("slow.example.com")
        call = self.us.call(f"sip:bob@{B}")
        self.run_for(0.01)
        self.reply(200, sdp=True, headers=[("Contact", "<sip:bob@slow.example.com:5060>")])
        invite = self.them.last(b"INVITE")
        said = self.ask(
            "INVITE",
            body=messages.offer(B),
            call_id=call.call_id,
            remote_tag=messages.tag(invite, "From"),
        )
        self.assertEqual(said, "500 INVITE")


class StopTests(CallerScene):
    def test_every_kind_of_call_is_ended_as_it_should(self) -> None:
        self.network.names.silent.add("slow.example.com")
        resolving = self.us.call("sip:bob@slow.example.com:5060")
        calling = self.calling()
        ringing = self.calling()
        self.reply(180, to_tag="r")
        answered = self.calling()
        self.reply(200, sdp=True, to_tag="a")
        self.us.call(f"sip:bob@{D}")
        self.run_for(0.01)
        self.them.take()
        done = self.us.manager.stop(4.0)
        again = self.us.manager.stop(0.0)
        self.assertRaises(TooManyCalls, self.us.call)
        self.run_for(0.01)
        self.assertEqual(sorted(self.them.lines()), ["BYE", "CANCEL"])
        self.assertIs(resolving.state, SessionState.ENDED)
        self.assertIs(calling.state, SessionState.CANCELLING)
        self.answer_bye()
        self.assertIs(answered.state, SessionState.ENDED)
        self.assertIs(ringing.state, SessionState.CANCELLING)
        self.run_for(3.9)
        self.assertNoResult(done)
        self.run_for(0.2)
        self.assertEqual(self.successResultOf(done), 3)
        self.assertEqual(self.successResultOf(again), 3)
        self.assertEqual(self.us.counters["given_up"], 3)
        self.assertEqual(self.us.host.ports, {})
        self.assertEqual(self.us.manager.calls, [])

    def test_a_cancel_of_a_call_that_rang_out_is_waited_for(self) -> None:
        """Else the callee would repeat its 487 to nobody."""
        self.calling()
        self.reply(180)
        self.run_for(180)
        self.assertEqual(self.us.manager.calls, [])
        self.them.take()
        drained = self.us.manager.drain()
        done = self.us.manager.stop(4.0)
        self.run_for(0.5)
        self.assertNoResult(drained)
        self.assertNoResult(done)
        self.reply(487)
        self.assertEqual(self.them.lines(), ["CANCEL", "ACK"])
        self.successResultOf(drained)
        self.assertEqual(self.successResultOf(done), 0)

    def test_a_cancel_that_is_never_answered_is_not_waited_for_beyond_its_time(self) -> None:
        self.calling()
        self.reply(180)
        self.run_for(180)
        drained = self.us.manager.drain()
        self.run_for(31.5)
        self.assertNoResult(drained)
        self.run_for(1)
        self.successResultOf(drained)

    def test_transactions_end_with_the_manager(self) -> None:
        self.calling()
        layer = self.us.manager._coordinator.layer
        self.us.manager.stop(0.0)
        self.run_for(0.01)
        self.assertTrue(layer.stopped)
        self.assertEqual(layer.pending_clients, 0)

    def test_nothing_to_wait_for(self) -> None:
        done = self.us.manager.stop()
        self.run_for(0.001)
        self.assertEqual(self.successResultOf(done), 0)
        self.failureResultOf(self.us.manager.start(), ConfigurationError)

    def test_a_manager_that_never_started(self) -> None:
        from sessioncore.manager import SessionManager

        manager = SessionManager(self.network.host(D))
        self.assertEqual(self.successResultOf(manager.stop()), 0)

    def test_a_port_in_use(self) -> None:
        from sessioncore.manager import SessionManager
        from sessioncore.settings import Settings

        host = self.network.host(A)
        manager = SessionManager(host, Settings(listen=("udp:5070", "udp:5060")))
        failure = self.failureResultOf(manager.start(), ConfigurationError)
        self.assertIn("port 5060 of all interfaces", str(failure.value))
        self.run_for(0.01)
        self.assertEqual([number for _, number in host.ports], [5060])

    def test_prepared_and_never_placed(self) -> None:
        call = self.us.manager.prepare_call(f"sip:bob@{B}")
        done = self.us.manager.stop()
        self.run_for(0.01)
        self.assertEqual(self.successResultOf(done), 0)
        self.failureResultOf(call.place(), CallOver)
