"""The UAS path, the caller played by hand: what is answered, in which order, when media runs."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from sessioncore import events
from sessioncore.errors import CallFailed, CallOver, ConfigurationError, MediaFileError
from sessioncore.media.sinks import Deliver, Discard
from sessioncore.media.sources import Clip, Silence, Tone
from sessioncore.media.statistics import MediaEvent
from sessioncore.session.refusals import MOST_TOLD
from sessioncore.session.session import SessionState
from sessioncore.testing import messages
from sessioncore.verdict import Judgement
from sessioncore.vocabulary import SECOND, Direction, EndedBy, MediaState
from tests.session.scene import A, B, C, Caller, Scene, answer, early, parsed, ring

ANSWERED = [
    "IncomingCall Negotiating",
    "CallAccepted Negotiating",
    "CallAnswered Ready",
    "MediaNegotiated Ready",
    "MediaFlowEstablished Established",
]
ACKED = ["AckReceived Established", "DialogEstablished Established"]


class CalleeScene(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.decisions: Any = answer
        self.us = self.party(B, lambda call: self.decisions(call))
        self.them = self.peer(C)
        self.caller = Caller(self.them)
        self.media = self.peer(C, 40_000)
        self.sent = 0

    def invited(self, decide: Any = ring, **given: Any) -> Any:
        """An INVITE that waits for a decision; returns its call."""
        self.decisions = decide
        self.caller.invite(**given)
        self.run_for(0.01)
        return self.us.call_in

    def send_rtp(self, count: int = 10, *, host: Any = None) -> None:
        """20 ms packets of silence towards the call's RTP port."""
        local = self.us.call_in.local_rtp
        assert local is not None
        for number in range(self.sent, self.sent + count):
            header = b"\x80\x00" + number.to_bytes(2, "big") + (160 * number).to_bytes(4, "big")
            (host or self.media).send(header + b"abcd" + b"\xff" * 160, local)
            self.run_for(0.02)
        self.sent += count


class RingLimitTests(CalleeScene):
    """RFC 3261 section 13.3.1: what rings does not ring for ever."""

    def ended(self) -> tuple[str, int, str, int]:
        reason = self.us.event("CallFailed").reason
        return self.them.lines()[-1], reason.status, reason.text, reason.cause

    def rings(self, least: float, most: float) -> None:
        """It ends between these times, and the state goes with it."""
        self.run_for(least - 0.01)
        self.assertEqual(len(self.us.manager.calls), 1)
        self.run_for(most - least)
        self.assertEqual(self.us.manager.calls, [])

    def test_our_own_limit(self) -> None:
        self.invited()
        self.rings(179.9, 180.1)
        self.assertEqual(self.ended(), ("480 INVITE", 480, "nobody answered", 19))

    def test_a_caller_that_never_rang(self) -> None:
        self.invited(lambda call: None)
        self.rings(179.9, 180.1)
        self.assertEqual(self.ended()[0], "480 INVITE")

    def test_an_application_that_waits(self) -> None:
        later: Deferred[None] = Deferred()

        async def wait(call: Any) -> None:
            await later
            await call.answer()

        self.invited(wait)
        self.rings(179.9, 180.1)
        later.callback(None)
        self.assertEqual(self.us.counters["handler_errors"], 0)

    def test_the_setting(self) -> None:
        us = self.party(A, ring, ring_limit=2.5)
        Caller(self.them, A).invite(branch="z9hG4bK-other")
        self.run_for(2.4)
        self.assertEqual(len(us.manager.calls), 1)
        self.run_for(0.2)
        self.assertEqual(us.manager.calls, [])

    def test_the_caller_said_how_long(self) -> None:
        self.invited(headers=(("Expires", "20"),))
        self.rings(19.9, 20.1)
        self.assertEqual(self.ended(), ("487 INVITE", 487, "the invitation expired", 19))

    def test_ours_is_shorter_than_the_callers(self) -> None:
        self.invited(headers=(("Expires", "4294967295"),))
        self.rings(179.9, 180.1)
        self.assertEqual(self.ended()[0], "480 INVITE")

    def test_what_the_caller_said_is_no_time(self) -> None:
        self.invited(headers=(("Expires", "soon"),))
        self.rings(179.9, 180.1)

    def test_expired_on_arrival(self) -> None:
        self.invited(headers=(("Expires", "0"),))
        self.assertEqual(self.ended()[0], "487 INVITE")

    def test_answered_in_time(self) -> None:
        call = self.invited(headers=(("Expires", "20"),))
        call.answer()
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(200)
        self.assertIs(call.state, SessionState.CONFIRMED)

    def test_answered_at_once_is_not_timed(self) -> None:
        self.invited(answer)
        armed = self.us.manager.clockwork.deadlines._heap
        self.assertNotIn("ring_enough", [entry[2].callback.__name__ for entry in armed])

    def test_nothing_is_kept_of_those_that_ended(self) -> None:
        for number in range(50):
            caller = Caller(self.them, call_id=f"short-{number}", branch=f"z9hG4bK-{number}")
            self.decisions = ring
            caller.invite()
            self.run_for(0.01)
            caller.cancel()
            self.run_for(0.01)
        heap = self.us.manager.clockwork.deadlines._heap
        self.assertEqual(
            [
                each
                for each in heap
                if each[0] > self.network.now + 170 * SECOND and each[2].callback is not None
            ],
            [],
        )


class AnsweringTests(CalleeScene):
    def test_large_sequence_numbers(self) -> None:
        for first in (2**31 - 1, 2**31, 2**32 - 2):
            with self.subTest(first):
                self.us.forget()
                self.caller = Caller(
                    self.them, sequence=first, call_id=f"{first}", branch=f"z9hG4bK-{first}"
                )
                self.caller.established(self)
                self.caller.within("BYE")
                self.run_for(0.01)
                self.assertEqual(self.them.lines(), ["200 BYE"])
                self.assertEqual(self.us.names()[-1], "CallEnded")

    def test_early_offer(self) -> None:
        self.caller.invite()
        self.run_for(0.0015)
        self.assertEqual(self.us.story(), ANSWERED)
        self.run_for(0.001)
        self.assertEqual(self.them.lines(), ["200 INVITE"])
        self.caller.ack()
        self.run_for(0.0015)
        self.assertEqual(self.us.story(), [*ANSWERED, *ACKED])
        call = self.us.call_in
        self.assertIs(call.state, SessionState.CONFIRMED)
        self.assertEqual(call.negotiated_media.audio.remote, (C, 40_000))
        self.send_rtp()
        self.assertEqual(self.us.story(), [*ANSWERED, *ACKED, "MediaActive Active"])

    def test_answered_in_one_turn(self) -> None:
        self.caller.invite()
        self.run_for(0.0015)
        self.assertEqual({event.at for event in self.us.events}, {1_000_000})

    def test_every_event_knows_its_call(self) -> None:
        self.caller.established(self)
        call = self.us.call_in
        for event in self.us.events:
            self.assertEqual((event.session, event.call_id), (call.session, call.call_id))
            self.assertEqual(str(event.role), "UAS")
        self.assertEqual(call.call_id, f"by-hand@{C}")
        incoming = self.us.event("IncomingCall")
        self.assertEqual(incoming.remote_uri, f"sip:alice@{C}:5060")
        self.assertEqual(incoming.local_uri, f"sip:bob@{B}:5060")

    def test_late_offer(self) -> None:
        self.caller.invite(body=b"")
        self.run_for(0.0025)
        self.assertEqual(
            self.us.story(), ["IncomingCall Idle", "CallAccepted Idle", "CallAnswered Negotiating"]
        )
        offer = parsed(self.them.last(b"SIP/2.0 200"))
        self.assertEqual(offer.content_type, b"application/sdp")
        self.run_for(0.1)
        self.assertEqual(self.rtp_from(B), [])
        self.us.forget()
        self.caller.ack(body=messages.offer(C))
        self.run_for(0.0015)
        self.assertEqual(
            self.us.story(),
            [
                "AckReceived Negotiating",
                "MediaNegotiated Ready",
                "MediaFlowEstablished Established",
                "DialogEstablished Established",
            ],
        )
        self.send_rtp()
        self.assertEqual(self.us.names()[-1], "MediaActive")

    def test_ringing_then_answer(self) -> None:
        call = self.invited()
        self.assertEqual(self.them.lines(), ["180 INVITE"])
        self.assertEqual(self.us.event("CallRinging").status, 180)
        answered = self.successResultOf(call.answer())
        self.assertIs(answered, call)
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["200 INVITE"])
        tags = {messages.tag(data, "To") for _, data, _ in self.them.heard}
        self.assertEqual(len(tags), 1)

    def test_early_media(self) -> None:
        call = self.invited(early)
        self.assertEqual(
            self.us.story()[:4],
            [
                "IncomingCall Negotiating",
                "EarlyMediaStarted Ready",
                "MediaNegotiated Ready",
                "MediaFlowEstablished Established",
            ],
        )
        self.assertEqual(self.them.lines(), ["183 INVITE"])
        self.send_rtp()
        self.assertEqual(self.us.names()[4:], ["MediaActive"])
        self.us.forget()
        call.answer()
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(0.01)
        self.assertEqual(
            self.us.story(),
            [
                "CallAccepted Active",
                "CallAnswered Active",
                "AckReceived Active",
                "DialogEstablished Active",
            ],
        )
        said = [parsed(data).body for _, data, _ in self.them.heard]
        self.assertEqual(said[0], said[1])

    def test_no_early_media_without_an_offer_to_answer(self) -> None:
        """An offer of ours in a 183 would need PRACK."""
        self.invited(early, body=b"")
        self.assertEqual(self.them.lines(), ["180 INVITE"])
        self.assertEqual(self.us.names(), ["IncomingCall", "CallRinging"])

    def test_180_after_early_media_has_no_body(self) -> None:
        call = self.invited(early)
        call.ring()
        self.run_for(0.01)
        self.assertEqual(parsed(self.them.last(b"SIP/2.0 180")).body, b"")

    def test_trying_only_after_200_ms(self) -> None:
        self.decisions = lambda call: None
        self.caller.invite()
        self.run_for(0.19)
        self.assertEqual(self.them.lines(), [])
        self.run_for(0.04)
        self.assertEqual(self.them.lines(), ["100 INVITE"])

    def test_provisional_again_every_minute(self) -> None:
        self.invited()
        self.run_for(125)
        self.assertEqual(self.them.lines(), ["180 INVITE"] * 3)

    def test_source_and_sink_given_with_the_answer(self) -> None:
        heard: list[Any] = []
        self.decisions = lambda call: call.answer(Tone(), Deliver(heard.append))
        self.caller.established(self)
        self.send_rtp()
        self.assertGreater(len(heard), 3)
        self.assertNotEqual(self.media.heard[0][1][12:], b"\xff" * 160)
        self.media.take()
        self.us.call_in.set_source(Silence())
        self.us.call_in.set_sink(Discard())
        self.run_for(0.1)
        self.assertEqual(self.media.take()[-1][12:], b"\xff" * 160)

    def test_a_source_that_cannot_be_played_is_the_applications_fault(self) -> None:
        async def decide(call: Any) -> None:
            await call.answer(Clip.from_file("/nonexistent.wav"))

        self.decisions = decide
        self.caller.invite()
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["500 INVITE"])
        self.assertTrue(self.flushLoggedErrors(MediaFileError))

    def test_a_key_is_told_once(self) -> None:
        self.caller.established(self)
        self.send_rtp(5)
        local = self.us.call_in.local_rtp
        for number in range(6):
            ended = 0x80 if number >= 3 else 0
            header = b"\x80\x65" + (5 + number).to_bytes(2, "big") + (800).to_bytes(4, "big")
            event = bytes([7, ended | 10]) + (160 * (min(number, 3) + 1)).to_bytes(2, "big")
            self.media.send(header + b"abcd" + event, local)
            self.run_for(0.02)
        self.run_for(1)
        digit = self.us.event("DigitReceived")
        self.assertEqual((digit.digit, digit.duration), ("7", 80))

    def test_what_the_plane_reports(self) -> None:
        self.caller.established(self)
        coordinator: Any = self.us.manager._coordinator
        establishing = coordinator.establishing
        stream = coordinator.registry.by_name[self.us.call_in.session].media.stream
        self.us.forget()
        establishing.media_event(stream, MediaEvent.REFUSED, "192.0.2.3:4000", 5)
        text = self.us.event("MediaPathProblem").text
        self.assertEqual(text, "nobody listens at 192.0.2.3:4000 (ICMP port unreachable)")
        for kind in (MediaEvent.LATCHED, MediaEvent.SOURCE_ENDED, MediaEvent.SINK_FAILED):
            establishing.media_event(stream, kind, None, 5)
        establishing.media_event(stream, MediaEvent.SINK_FAILED, "disk full", 5)
        self.assertEqual(self.us.names(), ["MediaPathProblem", "MediaFailed"])
        self.assertIn("disk full", self.us.event("MediaFailed").text)
        self.caller.within("BYE")
        self.run_for(0.01)
        for owner in (stream.owner, None):
            stream.owner = owner
            establishing.media_event(stream, MediaEvent.REFUSED, "port closed", 5)
        self.assertEqual(self.us.names(), ["MediaPathProblem", "MediaFailed", "CallEnded"])

    def test_contact_is_an_address_the_peer_can_reach(self) -> None:
        self.caller.established(self)
        self.assertEqual(bytes(parsed(self.caller.answer).contact.uri), b"sip:192.0.2.2:5060")

    def test_record_route_is_copied_and_followed(self) -> None:
        proxy = self.peer("192.0.2.9")
        self.caller.invite(headers=[("Record-Route", "<sip:192.0.2.9;lr>")])
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(0.01)
        self.assertEqual(messages.header(self.caller.answer, "Record-Route"), "<sip:192.0.2.9;lr>")
        self.us.call_in.hang_up()
        self.run_for(0.01)
        bye = parsed(proxy.take()[0])
        self.assertEqual(bye.method, b"BYE")
        self.assertEqual(bye.uri, b"sip:alice@192.0.2.3:5060")
        self.assertEqual(messages.header(bye.raw, "Route"), "<sip:192.0.2.9;lr>")
        proxy.send(messages.response(bye.raw, 200), (B, 5060))
        self.run_for(0.01)
        self.assertIs(self.us.call_in.state, SessionState.ENDED)


class DirectionTests(CalleeScene):
    def agreed(self, body: bytes) -> Any:
        self.caller.invite(body=body)
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(0.01)
        return self.us.call_in

    def attribute(self) -> str:
        body = parsed(self.caller.answer).body.decode()
        found = re.search("a=(sendrecv|sendonly|recvonly|inactive)", body)
        assert found is not None
        return found[1]

    def test_sendonly(self) -> None:
        call = self.agreed(messages.offer(C, direction="sendonly"))
        self.assertIs(call.negotiated_media.audio.direction, Direction.RECVONLY)
        self.assertEqual(self.attribute(), "recvonly")
        self.assertFalse(call.transmitting)
        self.assertIn("CallHeld", self.us.names())
        self.send_rtp()
        self.assertIs(call.media_state, MediaState.ACTIVE)
        self.assertEqual(self.rtp_from(B), [])

    def test_recvonly(self) -> None:
        call = self.agreed(messages.offer(C, direction="recvonly"))
        self.assertEqual(self.attribute(), "sendonly")
        self.run_for(0.1)
        self.assertIs(call.media_state, MediaState.ACTIVE)
        self.assertTrue(call.transmitting)
        self.assertNotIn("CallHeld", self.us.names())

    def test_inactive(self) -> None:
        call = self.agreed(messages.offer(C, direction="inactive"))
        self.assertEqual(self.attribute(), "inactive")
        self.run_for(20)
        self.assertIs(call.media_state, MediaState.ESTABLISHED)
        self.assertEqual(self.rtp_from(B), [])
        self.assertNotIn("MediaStalled", self.us.names())

    def test_hold_by_address(self) -> None:
        call = self.agreed(messages.offer("0.0.0.0"))
        self.run_for(1)
        self.assertIsNone(call.negotiated_media.audio.remote)
        self.assertIs(call.media_state, MediaState.ESTABLISHED)
        self.assertEqual(self.rtp_from(B), [])

    def test_two_way_fails_where_less_was_agreed(self) -> None:
        call = self.agreed(messages.offer(C, direction="sendonly"))
        from sessioncore.errors import OneWayByAgreement

        self.failureResultOf(call.when_two_way(), OneWayByAgreement)
        self.assertIs(self.successResultOf(call.when_media_ready()), call)


class MediaWithThe200Tests(CalleeScene):
    def test_rtp_runs_while_the_ack_is_late_and_not_before_the_200(self) -> None:
        call = self.invited()
        self.run_for(1)
        self.assertEqual(self.rtp_from(B), [])
        call.answer()
        answered = self.network.now / 1e9
        self.run_for(2)
        sent = self.rtp_from(B)
        self.assertGreaterEqual(len(sent), 98)
        self.assertGreaterEqual(sent[0], answered)
        self.assertEqual(self.media.times(b"\x80")[0], round(sent[0] + 0.001, 3))
        self.assertNotIn("AckReceived", self.us.names())
        self.caller.ack()
        self.run_for(5)
        self.assertGreater(len(self.rtp_from(B)), 300)

    def test_the_200_again_then_bye_when_no_ack_comes(self) -> None:
        self.caller.invite()
        self.run_for(40)
        repeats = self.them.times(b"SIP/2.0 200 ")
        since = [round(at - repeats[0], 1) for at in repeats]
        self.assertEqual(since, [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        (bye, *_) = self.them.times(b"BYE")
        self.assertEqual(round(bye - repeats[0], 2), 32)
        self.them.send(messages.response(self.them.last(b"BYE"), 200), (B, 5060))
        self.run_for(0.01)
        ended = self.us.event("CallEnded")
        self.assertIs(ended.reason.by, EndedBy.TIMEOUT)
        self.assertEqual(self.us.names().count("CallAnswered"), 1)

    def test_rtp_of_an_unproven_path_is_limited(self) -> None:
        self.caller.invite()
        self.run_for(20)
        self.assertIn(len(self.rtp_from(B)), range(115, 121))

    def test_a_packet_of_the_peer_proves_the_path(self) -> None:
        self.caller.invite()
        self.run_for(1)
        self.send_rtp()
        self.run_for(10)
        self.assertGreater(self.rtp_from(B)[-1], 11)

    def test_the_ack_proves_the_path(self) -> None:
        self.caller.established(self)
        self.run_for(10)
        self.assertGreater(self.rtp_from(B)[-1], 9.9)

    def test_a_repeated_invite_is_not_a_second_call(self) -> None:
        self.caller.invite()
        self.caller.invite()
        self.run_for(0.1)
        self.assertEqual(len(self.us.incoming), 1)


class RefusingTests(CalleeScene):
    def refused(self, **given: Any) -> Any:
        self.caller.invite(**given)
        self.run_for(0.01)
        (data,) = self.them.take()
        return parsed(data)

    def test_reject(self) -> None:
        self.decisions = lambda call: call.reject(486)
        self.assertEqual(self.refused().status, 486)
        reason = self.us.event("CallFailed").reason
        self.assertEqual((reason.by, reason.status, reason.cause), (EndedBy.LOCAL, 486, 17))

    def test_reject_in_own_words(self) -> None:
        self.decisions = lambda call: call.reject(603, "not\r\ntoday")
        self.assertEqual(self.refused().reason, b"not today")

    def test_words_that_cannot_be_sent(self) -> None:
        call = self.invited()
        for phrase in ("a\0b", "\x1b[2J", "\ud800", 7):
            self.assertRaises(ConfigurationError, call.reject, 486, phrase)
        self.assertEqual(self.them.lines(), ["180 INVITE"])
        call.reject()

    def test_event_sinks_decide_first(self) -> None:
        """The handler is asked about calls that still wait for a decision."""
        asked: list[Any] = []
        self.decisions = asked.append
        sinks: tuple[tuple[Any, str], ...] = (
            (lambda call: call.answer(), "200 INVITE"),
            (lambda call: call.reject(), "486 INVITE"),
        )
        for decide, line in sinks:

            def told(event: Any, decide: Any = decide) -> None:
                decide(self.us.manager.find_call(event.session))

            self.us.manager.add_event_sink(told, events.IncomingCall)
            Caller(self.them, call_id=line[:3], branch=f"z9hG4bK{line[:3]}").invite()
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), [line])
            self.us.manager.remove_event_sink(told)
        self.assertEqual(asked, [])

    def test_a_later_refusal_is_repeated_until_its_ack(self) -> None:
        call = self.invited()
        call.reject(480)
        self.run_for(2)
        self.assertEqual(self.them.lines(), ["180 INVITE", *["480 INVITE"] * 3])
        self.caller.send(messages.ack(self.caller.who, to=self.them.last(b"SIP/2.0 480")))
        self.run_for(10)
        self.assertEqual(self.them.lines(), [])

    def test_out_of_service(self) -> None:
        self.decisions = lambda call: call.reject(503)
        answered = self.refused()
        self.assertEqual(answered.status, 503)
        self.assertEqual(messages.header(answered.raw, "Retry-After"), "10")

    def test_a_fault_of_ours_leaves_nothing_behind(self) -> None:
        plane = self.us.manager.plane
        opening = plane.open
        plane.open = lambda *given: 1 // 0  # type: ignore[method-assign,assignment,return-value]
        self.assertEqual(self.refused().status, 500)
        plane.open = opening  # type: ignore[method-assign]
        self.assertTidy(self.us)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    def test_redirect(self) -> None:
        self.decisions = lambda call: call.redirect("sip:carol@192.0.2.7")
        answered = self.refused()
        self.assertEqual(answered.status, 302)
        self.assertEqual(messages.header(answered.raw, "Contact"), "<sip:carol@192.0.2.7>")

    def test_redirect_to_no_uri(self) -> None:
        call = self.invited()
        for uri in ("sip:a b@c", "sip:a@b>\r\nX: y", "sip:é"):
            self.assertRaises(ConfigurationError, call.redirect, uri)
        self.assertIs(call.state, SessionState.INCOMING)

    def test_200_refuses_nothing(self) -> None:
        call = self.invited()
        self.assertRaises(ConfigurationError, call.reject, 200)

    def test_without_a_handler(self) -> None:
        self.us.manager._coordinator._callee._handler = None
        self.assertEqual(self.refused().status, 480)

    def test_offer_without_a_common_codec(self) -> None:
        answered = self.refused(body=messages.offer(C, formats=(18, 4)))
        self.assertEqual(answered.status, 488)
        warning = messages.header(answered.raw, "Warning") or ""
        self.assertRegex(warning, r'^305 192\.0\.2\.2:5060 "[ -~]*18[ -~]*"$')
        self.assertEqual(self.us.counters["refused_media"], 1)

    def test_offers_nobody_can_agree_to(self) -> None:
        for number, body in enumerate(
            [
                messages.offer(C, 0),
                messages.offer("224.0.0.1"),
                messages.offer("255.255.255.255"),
                messages.offer("127.0.0.1"),
                messages.offer("2001:db8::1"),
                messages.offer("media.example.com"),
                messages.offer(C).partition(b"m=")[0],
            ]
        ):
            who = Caller(self.them, call_id=f"n{number}", branch=f"z9hG4bK{number}")
            who.invite(body=body)
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), ["488 INVITE"], body)
        self.assertEqual(self.us.incoming, [])

    def test_an_offer_that_points_at_our_own_port(self) -> None:
        """Which port that is is known only after the offer was judged."""
        call = self.invited(ring, body=messages.offer(B, 40_000))
        self.assertEqual(call.local_rtp, (B, 40_000))
        self.failureResultOf(call.answer(), CallFailed)
        self.run_for(0.01)
        self.assertEqual(self.them.lines()[:2], ["180 INVITE", "488 INVITE"])
        reason = self.us.event("CallFailed").reason
        self.assertEqual((reason.status, reason.cause, len(reason.reasons)), (488, 65, 1))

    def test_sdp_that_cannot_be_read(self) -> None:
        answered = self.refused(body=b"v=0\r\nnonsense")
        self.assertEqual(answered.status, 400)

    def test_a_contact_that_is_no_uri(self) -> None:
        self.assertEqual(self.refused(headers=[("Contact", "<mailto:a@b>")]).status, 400)
        self.assertEqual(self.us.counters["refused_faulty"], 1)

    def test_who_is_to_be_reached_by_tls_only(self) -> None:
        """RFC 5630 section 5.1.2: such a Contact contradicts a sip Request-URI."""
        for name, uri in (("Contact", "sips:alice@192.0.2.3"), ("Record-Route", "sips:p.example")):
            answered = self.refused(headers=[(name, f"<{uri}>")])
            said = f"{name} is not a sip URI: '{uri}'"
            self.assertEqual((answered.status, answered.reason.decode()), (400, said))
        self.assertEqual(self.us.incoming, [])

    def turned_away(self, status: int, **given: Any) -> Any:
        """Why; nobody was asked, and a session begins and ends with it."""
        self.us.forget()
        answered = self.refused(**given)
        self.assertEqual(answered.status, status)
        self.assertEqual(self.us.story(), ["IncomingCall Idle", "CallFailed Idle"])
        begun, ended = self.us.events
        self.assertEqual((begun.session, begun.call_id), (ended.session, ended.call_id))
        self.assertEqual(begun.call_id, answered.call_id.decode())
        self.assertEqual(begun.remote_uri, str(answered.from_uri))
        self.assertEqual(begun.local_uri, str(answered.to_uri))
        self.assertEqual((self.us.incoming, self.us.manager.calls), ([], []))
        self.assertTidy(self.us)
        counters = self.us.counters
        self.assertEqual(counters["incoming"], counters["failed"])
        self.assertEqual(counters["failed"], counters["refused_media"] + counters["refused_faulty"])
        reason = self.us.event("CallFailed").reason
        self.assertEqual((reason.by, reason.status), (EndedBy.ERROR, status))
        return reason

    def test_the_reasons_of_a_488_are_told_format_by_format(self) -> None:
        reason = self.turned_away(488, body=messages.offer(C, formats=(18, 4)))
        reasons = ("PT 18 G729/8000: not supported", "PT 4 G723/8000: not supported")
        self.assertEqual((reason.reasons, reason.cause), (reasons, 65))
        self.assertEqual(reason.text, "nothing in the offer is acceptable: " + "; ".join(reasons))

    def test_why_a_description_cannot_be_read_is_told(self) -> None:
        reason = self.turned_away(400, body=b"v=0\r\no=nonsense")
        self.assertIn("nonsense", reason.text)
        self.assertEqual(self.us.counters["refused_media"], 1)

    def test_why_a_faulty_invite_is_refused_is_told(self) -> None:
        for status, text, given in (
            (400, "Contact is not a sip URI: 'tel:+1'", {"headers": [("Contact", "<tel:+1>")]}),
            (420, "Bad Extension: Require: 100rel", {"headers": [("Require", "100rel")]}),
            (406, "Not Acceptable: Accept does not list application/sdp",
             {"headers": [("Accept", "text/plain")]}),
            (415, "Unsupported Media Type: Content-Type: text/plain",
             {"body": b"x", "content_type": "text/plain"}),
        ):  # fmt: skip
            self.caller = Caller(self.them, call_id=f"n{status}", branch=f"z9hG4bK{status}")
            self.assertEqual(self.turned_away(status, **given).text, text)

    def test_no_way_for_the_media_is_told(self) -> None:
        def unroutable(flow: Any, peer: str) -> str:
            raise OSError(101, "Network is unreachable")

        self.replace(self.us, local_ip=unroutable)
        self.assertEqual(self.refused().status, 500)
        self.assertEqual(self.us.names(), ["IncomingCall", "CallFailed"])
        self.assertIs(self.us.event("CallFailed").reason.by, EndedBy.NETWORK)

    def test_a_call_that_is_refused_is_over_when_a_listener_hears_of_it(self) -> None:
        found: list[Any] = []

        def told(event: events.Event) -> None:
            found.extend((self.us.manager.calls, self.us.manager.find_call(event.session)))

        self.us.manager.add_event_sink(told)
        self.assertEqual(self.refused(body=messages.offer(C, formats=(18,))).status, 488)
        self.assertEqual(self.us.names(), ["IncomingCall", "CallFailed"])
        self.assertEqual(found, [[], None] * 2)
        self.assertTidy(self.us)

    def test_both_sides_are_told_the_same(self) -> None:
        """The 488 of one of ours, read by another."""
        caller, callee = self.party(A, codecs=("PCMA",)), self.party("192.0.2.9", codecs=("PCMU",))
        caller.call("sip:bob@192.0.2.9")
        self.run_for(0.1)
        theirs, ours = (each.event("CallFailed").reason for each in (caller, callee))
        self.assertEqual((theirs.status, theirs.cause), (ours.status, ours.cause))
        self.assertEqual(theirs.reasons, ("PT 8 PCMA/8000: not supported",))
        self.assertEqual(theirs.reasons, ours.reasons)

    def test_of_what_there_is_no_room_for_nothing_is_told(self) -> None:
        self.us = self.party(A, ring, max_calls=1)
        Caller(self.them, A).invite()
        self.run_for(0.01)
        self.us.forget()
        self.them.take()
        for number, (said, given) in enumerate(
            (
                ("420 INVITE", {"headers": [("Require", "100rel")]}),
                ("503 INVITE", {"body": messages.offer(C, formats=(18,))}),
            )
        ):
            caller = Caller(self.them, A, call_id=f"n{number}", branch=f"z9hG4bK{number}")
            caller.invite(**given)  # type: ignore[arg-type]
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), [said])
        self.assertEqual(self.us.names(), [])

    def test_a_flood_of_what_is_refused_is_answered_and_counted_but_not_all_told(self) -> None:
        flood = 3 * MOST_TOLD
        for number in range(flood):
            caller = Caller(self.them, call_id=f"n{number}", branch=f"z9hG4bK{number}")
            caller.invite(body=messages.offer(C, formats=(18,)))
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["488 INVITE"] * flood)
        self.assertEqual(self.us.names(), ["IncomingCall", "CallFailed"] * MOST_TOLD)
        counters = self.us.counters
        self.assertEqual(counters["refused_media"], flood)
        self.assertEqual((counters["incoming"], counters["failed"]), (MOST_TOLD, MOST_TOLD))
        self.assertTidy(self.us)
        self.run_for(1)
        self.caller = Caller(self.them, call_id="later", branch="z9hG4bKlater")
        self.us.forget()
        self.refused(body=messages.offer(C, formats=(18,)))
        self.assertEqual(self.us.names(), ["IncomingCall", "CallFailed"])

    def test_busy(self) -> None:
        full = self.party(A, answer, max_calls=1)
        for number, expected in enumerate(("200 INVITE", "503 INVITE")):
            caller = Caller(self.them, A, call_id=f"n{number}", branch=f"z9hG4bK{number}")
            caller.invite()
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), [expected])
        self.assertEqual(messages.header(self.them.heard[-1][1], "Retry-After"), "10")
        self.assertEqual(full.counters["refused_busy"], 1)

    def test_no_ports(self) -> None:
        full = self.party(A, answer, rtp_ports=(40_000, 40_001))
        for number, expected in enumerate(("200 INVITE", "503 INVITE")):
            caller = Caller(self.them, A, call_id=f"n{number}", branch=f"z9hG4bK{number}")
            caller.invite()
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), [expected])
        self.assertEqual(messages.header(self.them.heard[-1][1], "Retry-After"), "10")
        self.assertEqual(full.counters["no_ports"], 1)

    def test_refused_offers_use_up_no_ports(self) -> None:
        before = self.us.manager.statistics().rtp_ports_free
        self.refused(body=messages.offer(C, formats=(18,)))
        self.assertEqual(self.us.manager.statistics().rtp_ports_free, before)

    def test_merged(self) -> None:
        self.invited()
        self.caller.invite(branch="z9hG4bK-another-way")
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["180 INVITE", "482 INVITE"])

    def test_stray_to_tag(self) -> None:
        for method in ("INVITE", "BYE", "OPTIONS"):
            self.caller.send(messages.request(method, self.caller.who, remote_tag="unknown"))
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), [f"481 {method}"])
        self.caller.send(messages.ack(self.caller.who, remote_tag="unknown"))
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), [])
        self.assertEqual(self.us.counters["stray_acks"], 1)

    def test_bye_and_cancel_of_nothing(self) -> None:
        self.caller.send(messages.bye(self.caller.who))
        self.caller.send(messages.cancel(self.caller.who))
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["481 BYE", "481 CANCEL"])

    def test_what_is_not_served(self) -> None:
        for method, status in (
            ("REGISTER", 405),
            ("SUBSCRIBE", 405),
            ("MESSAGE", 405),
            ("REFER", 405),
            ("invite", 501),
            ("DANCE", 501),
        ):
            self.caller.send(messages.request(method, self.caller.who))
            self.run_for(0.01)
            (data,) = self.them.take()
            self.assertEqual(parsed(data).status, status, method)
            allowed = messages.header(data, "Allow") or ""
            self.assertEqual(
                sorted(allowed.split(", ")), ["ACK", "BYE", "CANCEL", "INVITE", "OPTIONS"]
            )

    def test_options(self) -> None:
        self.caller.send(messages.options(self.caller.who))
        self.run_for(0.01)
        (data,) = self.them.take()
        self.assertEqual(parsed(data).status, 200)
        self.assertEqual(messages.header(data, "Accept"), "application/sdp, multipart/mixed")
        self.assertEqual(messages.header(data, "Supported"), "")

    def test_media_at_our_own_sip_socket(self) -> None:
        """Or each such call has us read 50 packets a second of our own, for ever."""
        self.party(A, answer, advertise="198.51.100.7", listen=("udp:5060", "udp:5070"))
        rtcp = ("a=rtcp:5060",)
        for number, (ip, port, extra, status) in enumerate(
            [
                (A, 5060, (), 488),
                (A, 5070, (), 488),
                (A, 5059, (), 488),  # its RTCP
                (A, 6000, rtcp, 488),
                (f"::ffff:{A}", 5060, (), 488),
                ("198.51.100.7", 5060, (), 488),
                (C, 53, (), 488),
                (C, 6000, ("a=rtcp:53",), 488),
                ("192.0.2.9", 5060, (), 200),
                ("192.0.2.9", 6000, rtcp, 200),
                (A, 40_010, (), 200),  # another stream of ours
            ]
        ):
            body = messages.offer(ip, port, extra=extra)
            who = evolve(self.caller.who, call_id=f"own-{number}", branch=f"z9hG4bK-{number}")
            self.them.send(messages.invite(who, body=body), (A, 5060))
            self.run_for(0.01)
            self.assertIn(f"{status} INVITE", self.them.lines(), (ip, port, extra))

    def test_options_leave_no_state(self) -> None:
        """Or 9,000 a second fill the table that all share; copies get the same answer."""
        data = messages.options(self.caller.who)
        for _ in range(2):
            self.caller.send(data)
        self.run_for(0.01)
        first, again = self.them.take()
        self.assertEqual(first, again)
        self.assertEqual(parsed(first).status, 200)
        layer = self.us.manager._coordinator.layer
        self.assertEqual((layer.remembered, layer.pending_servers), (0, 0))


class HandlerTests(CalleeScene):
    def fails(self) -> None:
        self.run_for(0.01)
        self.assertEqual(self.them.lines()[-1], "500 INVITE")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        reason = self.us.event("CallFailed").reason
        self.assertEqual((reason.by, reason.status), (EndedBy.ERROR, 500))
        self.assertEqual(self.us.counters["handler_errors"], 1)

    def test_raises(self) -> None:
        self.decisions = lambda call: 1 // 0
        self.caller.invite()
        self.fails()

    def test_coroutine_raises(self) -> None:
        async def decide(call: Any) -> None:
            call.ring()
            raise ZeroDivisionError

        self.decisions = decide
        self.caller.invite()
        self.fails()

    def test_deferred_fails(self) -> None:
        later: Deferred[None] = Deferred()
        self.decisions = lambda call: later
        self.caller.invite()
        self.run_for(1)
        later.errback(ZeroDivisionError())
        self.fails()

    def test_fails_after_the_answer(self) -> None:
        async def decide(call: Any) -> None:
            await call.answer()
            raise ZeroDivisionError

        self.fails_after_the_answer(decide)

    def test_a_callback_fails_after_the_answer(self) -> None:
        self.fails_after_the_answer(lambda call: call.answer().addCallback(lambda _: 1 // 0))

    def test_a_callback_fails_later_after_the_answer(self) -> None:
        def decide(call: Any) -> Deferred[Any]:
            answered: Deferred[Any] = call.answer()
            answered.pause()
            self.network.host(A).callLater(0.5, answered.unpause)
            return answered.addCallback(lambda _: 1 // 0)

        self.fails_after_the_answer(decide)

    def fails_after_the_answer(self, decide: Any) -> None:
        self.decisions = decide
        self.caller.established(self)
        self.run_for(1.1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.us.counters["handler_errors"], 1)
        self.assertEqual(len(self.them.times(b"BYE")), 2)
        self.them.send(messages.response(self.them.last(b"BYE"), 200), (B, 5060))
        self.run_for(0.01)
        reason = self.us.event("CallEnded").reason
        self.assertEqual((reason.by, reason.status), (EndedBy.ERROR, None))

    def test_is_not_asked_about_a_call_that_a_listener_has_ended(self) -> None:
        def told(event: events.Event) -> None:
            if event.name == "IncomingCall":
                self.us.manager.calls[0].hang_up()

        self.us.manager.add_event_sink(told)
        self.caller.invite()
        self.run_for(0.01)
        self.assertEqual(self.us.incoming, [])
        self.assertEqual(self.them.lines(), ["603 INVITE"])

    def test_decides_after_the_call_is_gone(self) -> None:
        later: Deferred[None] = Deferred()

        async def decide(call: Any) -> None:
            await later
            await call.answer()

        self.decisions = decide
        self.caller.invite()
        self.run_for(0.3)
        self.caller.cancel()
        self.run_for(0.01)
        later.callback(None)
        call = self.us.call_in
        self.failureResultOf(call.answer(), CallOver)
        self.assertRaises(CallOver, call.ring)
        self.assertRaises(CallOver, call.reject)
        self.assertRaises(CallOver, call.redirect, "sip:a@b")
        self.assertEqual(self.us.counters["handler_errors"], 0)

    def test_answers_twice(self) -> None:
        self.caller.established(self)
        self.failureResultOf(self.us.call_in.answer(), CallOver)

    def test_an_application_that_ends_the_call_from_any_event(self) -> None:
        """Whatever it was told, what follows is one proper end and no fault."""
        for number, kind in enumerate(
            (
                events.IncomingCall,
                events.CallRinging,
                events.EarlyMediaStarted,
                events.CallAccepted,
                events.CallAnswered,
                events.MediaNegotiated,
                events.MediaFlowEstablished,
                events.AckReceived,
                events.DialogEstablished,
            )
        ):
            for how in (answer, ring, early):
                for direction in ("sendrecv", "sendonly"):
                    name = f"{kind.__name__}-{how.__name__}-{direction}-{number}"
                    self._ended_from(name, kind, how, direction)

    def _ended_from(self, name: str, kind: type[events.Event], how: Any, direction: str) -> None:
        def told(event: events.Event) -> None:
            if isinstance(event, kind):
                for call in self.us.manager.calls:
                    call.hang_up()

        def decide(call: Any) -> None:
            try:
                if how is not answer:
                    how(call)
                answered = call.answer()
            except CallOver:
                return
            answered.addErrback(lambda failure: failure.trap(CallFailed, CallOver))

        self.us.forget()
        self.decisions = decide
        self.us.manager.add_event_sink(told)
        caller = Caller(self.them, call_id=name, branch="z9hG4bK" + name)
        caller.invite(body=messages.offer(C, direction=direction))
        self.run_for(0.01)
        if any(line.startswith("200") for line in self.them.lines()):
            caller.ack()
            self.run_for(0.01)
            for data in self.them.take():
                if data.startswith(b"BYE"):
                    self.them.send(messages.response(data, 200), (B, 5060))
        self.run_for(0.01)
        self.us.manager.remove_event_sink(told)
        if kind.__name__ in self.us.names():
            self.assertEqual(self.us.manager.calls, [], name)
            self.assertIn(self.us.names()[-1], ("CallEnded", "CallFailed"), name)
        for call in self.us.manager.calls:
            call.hang_up()
        self.run_for(40)
        self.them.take()


class EndingTests(CalleeScene):
    def test_cancel_before_the_first_1xx(self) -> None:
        self.decisions = lambda call: None
        self.caller.invite()
        self.run_for(0.01)
        self.caller.cancel()
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["200 CANCEL", "487 INVITE"])
        reason = self.us.event("CallFailed").reason
        self.assertEqual((reason.by, reason.status), (EndedBy.REMOTE, 487))

    def test_cancel_while_ringing(self) -> None:
        self.invited()
        self.caller.cancel()
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["180 INVITE", "200 CANCEL", "487 INVITE"])

    def test_cancel_after_the_200_has_no_effect(self) -> None:
        self.caller.invite()
        self.run_for(0.01)
        self.caller.cancel()
        self.run_for(0.01)
        answers = [parsed(data) for data in self.them.take()]
        self.assertEqual([each.cseq.method for each in answers], [b"INVITE", b"CANCEL"])
        self.assertEqual({each.status for each in answers}, {200})
        # RFC 3261 section 9.2: the To tags of both should be the same.
        self.assertEqual(answers[0].to_tag, answers[1].to_tag)
        self.assertIs(self.us.call_in.state, SessionState.ANSWERED)

    def test_cancel_after_the_200_among_other_calls(self) -> None:
        """With the same Call-ID, From tag or CSeq, and with one of ours."""
        tags = []
        others: Any = ({}, {"call_id": "x"}, {"sequence": 9}, {"local_tag": "x"})
        for number, fields in enumerate(others):
            caller = Caller(self.them, branch=f"z9hG4bK-{number}", **fields)
            caller.invite()
            self.run_for(0.01)
            tags.append((caller, parsed(self.them.take()[0]).to_tag))
        self.us.call(f"sip:bob@{C}")
        self.run_for(0.01)
        for caller, tag in tags:
            caller.cancel()
            self.run_for(0.01)
            self.assertEqual(parsed(self.them.take()[-1]).to_tag, tag)

    def test_reason_of_the_cancel(self) -> None:
        self.invited()
        self.caller.send(
            messages.cancel(
                self.caller.who,
                headers=[("Reason", 'SIP ;cause=200 ;text="Call completed elsewhere"')],
            )
        )
        self.run_for(0.01)
        self.assertEqual(self.us.event("CallFailed").reason.text, "Call completed elsewhere")

    def test_bye_of_the_early_dialog(self) -> None:
        self.invited()
        self.caller.answer = self.them.last(b"SIP/2.0 180")
        self.caller.within("BYE")
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["180 INVITE", "487 INVITE", "200 BYE"])

    def test_bye(self) -> None:
        self.caller.established(self)
        self.caller.within("BYE", headers=[("Reason", 'Q.850;cause=31;text="gone\x1b[2J"')])
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["200 BYE"])
        reason = self.us.event("CallEnded").reason
        self.assertEqual((reason.by, reason.cause, reason.text), (EndedBy.REMOTE, 31, "gone?[2J"))

    def test_requests_of_one_call_cost_others_nothing(self) -> None:
        """Each is remembered for 32 s; whoever sends many only forgets its own earlier."""
        layer: Any = self.us.manager._coordinator.layer
        layer.max_finished = 20
        self.caller.established(self)
        for _ in range(50):
            self.caller.within("OPTIONS")
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["200 OPTIONS"] * 50)
        other = Caller(self.peer("192.0.2.30"))
        other.invite()
        self.run_for(0.01)
        self.assertEqual(other.peer.lines(), ["200 INVITE"])
        self.assertEqual(self.us.sip["forgotten_early"], 32)

    def test_a_refused_bye_ends_the_call_all_the_same(self) -> None:
        """RFC 3261 8.2.2.3 wants 420; by 15.1.1 the peer's side is over whatever the answer."""
        for number, (status, value) in enumerate({"420": "gruu", "400": "a b"}.items()):
            us = self.party(f"192.0.2.{20 + number}", answer)
            caller = Caller(self.them, f"192.0.2.{20 + number}")
            caller.established(self)
            (call,) = us.manager.calls
            caller.within("BYE", headers=[("Require", value)])
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), [f"{status} BYE"])
            reason = us.event("CallEnded").reason
            self.assertEqual((reason.by, reason.text), (EndedBy.REMOTE, "the peer hung up"))
            self.assertIs(call.state, SessionState.ENDED)

    def test_a_refused_bye_of_an_old_number_ends_nothing(self) -> None:
        self.caller.established(self)
        self.caller.within("OPTIONS")
        self.run_for(0.01)
        self.caller.within("BYE", sequence=1, headers=[("Require", "gruu")])
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["200 OPTIONS", "420 BYE"])
        self.assertIs(self.us.call_in.state, SessionState.CONFIRMED)

    def test_other_refused_requests_end_nothing(self) -> None:
        self.caller.established(self)
        for method in ("OPTIONS", "INVITE"):
            self.caller.within(method, headers=[("Require", "gruu")])
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), [f"420 {method}"])
        self.assertIs(self.us.call_in.state, SessionState.CONFIRMED)

    def test_bye_before_the_ack(self) -> None:
        self.caller.invite()
        self.run_for(0.01)
        self.caller.answer = self.them.last(b"SIP/2.0 200")
        self.caller.within("BYE")
        self.run_for(10)
        self.assertEqual(self.them.lines(), ["200 INVITE", "200 BYE"])

    def test_hang_up_while_ringing(self) -> None:
        call = self.invited()
        done = call.hang_up()
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["180 INVITE", "603 INVITE"])
        self.assertEqual(self.successResultOf(done).status, 603)

    def test_hang_up_waits_for_the_ack(self) -> None:
        self.caller.invite()
        self.run_for(0.01)
        done = self.us.call_in.hang_up()
        self.run_for(3)
        self.assertNotIn("BYE", self.them.lines())
        self.assertIs(self.us.call_in.state, SessionState.LEAVING)
        self.caller.ack()
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["BYE"])
        self.assertNoResult(done)
        self.them.send(messages.response(self.them.last(b"BYE"), 200), (B, 5060))
        self.run_for(0.01)
        self.assertIs(self.successResultOf(done).by, EndedBy.LOCAL)

    def test_hang_up_waits_at_most_64_t1_for_the_ack(self) -> None:
        self.caller.invite()
        self.run_for(0.01)
        self.us.call_in.hang_up()
        self.run_for(32.1)
        self.assertEqual(len(self.them.times(b"BYE")), 1)

    def test_byes_cross(self) -> None:
        self.caller.established(self)
        done = self.us.call_in.hang_up()
        self.caller.within("BYE")
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["BYE", "200 BYE"])
        self.assertNoResult(done)
        self.them.send(messages.response(self.them.last(b"BYE"), 481), (B, 5060))
        self.run_for(0.01)
        self.successResultOf(done)

    def test_bye_is_never_answered(self) -> None:
        self.caller.established(self)
        done = self.us.call_in.hang_up()
        self.run_for(31.9)
        self.assertNoResult(done)
        self.run_for(0.2)
        self.successResultOf(done)
        self.assertEqual(self.us.manager.calls, [])

    def test_bye_answered_by_anything_final(self) -> None:
        for status in (200, 302, 401, 481, 500, 603):
            caller = Caller(self.them, call_id=f"n{status}", branch=f"z9hG4bK{status}")
            caller.established(self)
            done = self.us.call_in.hang_up()
            self.run_for(0.01)
            self.them.send(messages.response(self.them.last(b"BYE"), 100), (B, 5060))
            self.run_for(0.01)
            self.assertNoResult(done)
            self.them.send(messages.response(self.them.last(b"BYE"), status), (B, 5060))
            self.run_for(0.01)
            self.successResultOf(done)

    def test_the_peers_contact_is_a_name(self) -> None:
        self.network.names.add("alice.example.com", "192.0.2.8")
        phone = self.peer("192.0.2.8")
        self.caller.invite(headers=[("Contact", "<sip:alice@alice.example.com:5060>")])
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(0.01)
        self.us.call_in.hang_up()
        self.run_for(0.01)
        self.assertEqual(phone.lines(), ["BYE"])

    def test_the_peers_contact_is_a_name_of_nobody(self) -> None:
        self.caller.invite(headers=[("Contact", "<sip:alice@nowhere.example.com:5060>")])
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(0.01)
        done = self.us.call_in.hang_up()
        self.run_for(0.01)
        self.successResultOf(done)

    def test_the_answer_cannot_be_sent(self) -> None:
        call = self.invited()
        (port,) = [port for (_, number), port in self.us.host.ports.items() if number == 5060]
        port.fail_writes = OSError(101, "unreachable")
        self.failureResultOf(call.answer(), CallFailed)
        port.fail_writes = None
        self.assertIs(self.us.event("CallFailed").reason.by, EndedBy.NETWORK)
        self.run_for(40)
        self.assertEqual(self.us.manager.calls, [])

    def test_nothing_provisional_can_be_sent(self) -> None:
        for early_media in (False, True):
            self.us.forget()
            caller = Caller(self.them, call_id=f"n{early_media}", branch=f"z9hG4bK{early_media}")
            self.decisions = lambda call: None
            caller.invite()
            self.run_for(0.01)
            ports = self.us.host.ports.items()
            (port,) = [port for (_, number), port in ports if number == 5060]
            port.fail_writes = OSError(101, "unreachable")
            call = self.us.call_in
            self.assertRaises(CallFailed, call.ring, early_media=early_media)
            port.fail_writes = None
            self.assertEqual(self.us.names(), ["IncomingCall", "CallFailed"])

    def test_ack_without_the_answer_it_owes(self) -> None:
        for number, body in enumerate((b"", b"nonsense", messages.offer(C, formats=(18,)))):
            caller = Caller(self.them, call_id=f"n{number}", branch=f"z9hG4bK{number}")
            self.us.forget()
            caller.invite(body=b"")
            self.run_for(0.01)
            caller.ack(body=body)
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), ["200 INVITE", "BYE"])
            self.them.send(messages.response(self.them.last(b"BYE"), 200), (B, 5060))
            self.run_for(0.01)
            self.assertNotIn("MediaNegotiated", self.us.names())
            self.assertEqual(self.us.event("CallEnded").reason.cause, 88)


class WithinTheDialogTests(CalleeScene):
    def setUp(self) -> None:
        super().setUp()
        self.caller.established(self)
        self.send_rtp()
        self.us.forget()
        self.call = self.us.call_in

    def reinvite(self, body: bytes, **given: Any) -> str:
        self.caller.within("INVITE", body=body, **given)
        self.run_for(0.01)
        said = self.them.lines()
        if said == ["200 INVITE"]:
            self.caller.ack()
            self.run_for(0.01)
        return said[0]

    def test_unchanged(self) -> None:
        before = len(self.rtp_from(B))
        self.assertEqual(self.reinvite(messages.offer(C)), "200 INVITE")
        self.run_for(0.1)
        self.assertEqual(self.us.names(), ["AckReceived"])
        self.assertGreater(len(self.rtp_from(B)), before + 4)
        versions = {
            re.search(rb"o=- \d+ (\d+)", data).group(1)  # type: ignore[union-attr]
            for _, data, _ in self.them.heard
            if data.startswith(b"SIP/2.0 200")
        }
        self.assertEqual(len(versions), 1)

    def test_hold_and_resume(self) -> None:
        held = messages.offer(C, direction="sendonly", version=2)
        self.assertEqual(self.reinvite(held), "200 INVITE")
        self.run_for(0.1)
        self.assertEqual(
            self.us.story()[:4],
            [
                "MediaNegotiated Ready",
                "MediaFlowEstablished Established",
                "CallHeld Established",
                "AckReceived Established",
            ],
        )
        self.assertEqual(self.rtp_from(B, self.network.now / 1e9 - 0.09), [])
        self.us.forget()
        self.assertEqual(self.reinvite(messages.offer(C, version=3)), "200 INVITE")
        self.assertEqual(
            self.us.names()[:3], ["MediaNegotiated", "MediaFlowEstablished", "CallResumed"]
        )
        self.send_rtp()
        self.assertEqual(self.us.names()[-1], "MediaActive")
        self.assertTrue(self.call.transmitting)
        self.assertNotIn("CallAnswered", self.us.names())

    def test_hold_by_a_peer_that_forgets_the_version(self) -> None:
        self.reinvite(messages.offer(C, direction="inactive"))
        self.assertIn("CallHeld", self.us.names())

    def test_changed_port(self) -> None:
        other = self.peer(C, 40_010)
        self.reinvite(messages.offer(C, 40_010, version=2))
        self.assertEqual(self.us.names()[:2], ["MediaNegotiated", "MediaFlowEstablished"])
        self.run_for(0.1)
        self.assertGreater(len(other.take()), 3)
        self.media.take()
        self.run_for(0.1)
        self.assertEqual(self.media.take(), [])

    def test_refused_with_the_call_unchanged(self) -> None:
        media = self.call.negotiated_media
        self.assertEqual(self.reinvite(messages.offer(C, formats=(18,), version=2)), "488 INVITE")
        self.assertEqual(self.reinvite(b"v=nonsense"), "400 INVITE")
        self.assertEqual(self.us.story(), ["OfferRefused Active"] * 2)
        codec, unread = self.us.events
        assert isinstance(codec, events.OfferRefused) and isinstance(unread, events.OfferRefused)
        self.assertEqual((codec.status, codec.reasons), (488, ("PT 18 G729/8000: not supported",)))
        self.assertEqual((unread.status, len(unread.reasons)), (400, 1))
        self.assertIs(self.call.negotiated_media, media)
        self.assertIs(self.call.media_state, MediaState.ACTIVE)
        self.assertEqual(self.reinvite(messages.offer(C, version=3)), "200 INVITE")

    def test_refused_for_its_contact_with_the_call_unchanged(self) -> None:
        for uri in ("mailto:a@b", "sips:alice@192.0.2.3"):
            said = self.reinvite(
                messages.offer(C, 40_010, version=2), headers=[("Contact", f"<{uri}>")]
            )
            self.assertEqual(said, "400 INVITE")
        self.assertEqual(self.call.negotiated_media.audio.remote, (C, 40_000))
        self.assertEqual(self.reinvite(messages.offer(C)), "200 INVITE")

    def test_music_of_a_holder_without_an_address_is_heard(self) -> None:
        """``c=0.0.0.0`` only forbids us to send (RFC 3264 section 8.4)."""
        self.assertEqual(self.reinvite(messages.offer("0.0.0.0", version=2)), "200 INVITE")
        held_at = self.network.now / 1e9
        heard = self.call.statistics.packets_received
        self.send_rtp(20)
        statistics = self.call.statistics
        self.assertEqual((statistics.packets_received - heard, statistics.strangers), (20, 0))
        self.assertEqual(self.rtp_from(B, held_at + 0.03), [])
        self.assertIsNone(self.call.remote_rtp)
        self.assertEqual(self.reinvite(messages.offer(C, version=3)), "200 INVITE")
        self.run_for(0.1)
        self.assertEqual(self.call.remote_rtp, (C, 40_000))
        self.send_rtp(5)
        self.assertEqual(self.call.statistics.packets_received - heard, 25)
        self.assertGreater(len(self.rtp_from(B, self.network.now / 1e9 - 0.15)), 5)

    def test_after_a_silence_music_of_a_holder_without_an_address_is_heard(self) -> None:
        self.reinvite(messages.offer("0.0.0.0", version=2))
        heard = self.call.statistics.packets_received
        self.run_for(6)
        self.send_rtp(20)
        self.assertEqual(self.call.statistics.packets_received - heard, 20)
        self.assertIsNone(self.call.remote_rtp)

    def test_without_description(self) -> None:
        self.caller.within("INVITE")
        self.run_for(0.01)
        (data,) = self.them.take()
        self.assertIn(b"m=audio", parsed(data).body)
        self.assertEqual(self.us.names(), [])
        self.caller.ack(body=messages.offer(C, 40_010, formats=(0,), version=2))
        self.run_for(0.01)
        self.assertEqual(
            self.us.names()[:3], ["AckReceived", "MediaNegotiated", "MediaFlowEstablished"]
        )
        self.assertEqual(self.call.negotiated_media.audio.remote, (C, 40_010))

    def test_without_description_and_hung_up_before_the_ack(self) -> None:
        """RFC 3261 section 15.1.1: with the BYE out, an answer begins no media."""
        self.caller.within("INVITE")
        self.run_for(0.01)
        self.call.hang_up()
        self.caller.ack(body=messages.offer(C, 40_010, formats=(0,), version=2))
        self.run_for(0.5)
        self.assertEqual(self.them.lines()[:2], ["200 INVITE", "BYE"])
        self.assertEqual(self.us.names(), ["AckReceived"])
        self.assertEqual(self.rtp_from(B, self.network.now / 1e9 - 0.48), [])

    def test_hung_up_when_told_of_the_new_agreement(self) -> None:
        def told(event: events.Event) -> None:
            if event.name == "MediaNegotiated":
                self.call.hang_up()

        self.us.manager.add_event_sink(told)
        self.caller.within("INVITE", body=messages.offer(C, 40_010, version=2))
        self.run_for(0.4)
        self.assertEqual(self.them.lines(), ["200 INVITE", "BYE"])
        self.assertEqual(self.us.names(), ["MediaNegotiated", "MediaFlowEstablished"])
        self.assertEqual(self.rtp_from(B, self.network.now / 1e9 - 0.39), [])

    def test_without_description_and_nothing_new_in_the_ack(self) -> None:
        caller = Caller(self.them, call_id="another", branch="z9hG4bKanother")
        caller.invite(body=messages.offer(C, formats=(0, 101)))
        self.run_for(0.01)
        caller.ack()
        self.run_for(0.01)
        self.us.forget()
        caller.within("INVITE")
        self.run_for(0.01)
        caller.ack(body=messages.offer(C, formats=(0, 101)))
        self.run_for(0.01)
        self.assertEqual(self.us.names(), ["AckReceived"])

    def test_without_description_and_no_answer_in_the_ack(self) -> None:
        """Peers that only ask what we can do leave out the answer: all stays as it was."""
        agreed = self.call.negotiated_media
        self.caller.within("INVITE")
        self.run_for(0.01)
        self.caller.ack()
        self.run_for(1)
        self.assertEqual(self.them.lines(), ["200 INVITE"])
        self.assertEqual(self.us.names(), ["AckReceived", "OfferUnanswered"])
        self.assertIs(self.call.negotiated_media, agreed)
        self.assertGreater(len(self.rtp_from(B, self.network.now / 1e9 - 0.9)), 40)
        self.assertEqual(self.reinvite(messages.offer(C, 40_010, version=2)), "200 INVITE")
        self.assertEqual(self.call.negotiated_media.audio.remote, (C, 40_010))

    def test_without_description_and_an_unusable_answer_in_the_ack(self) -> None:
        self.caller.within("INVITE")
        self.run_for(0.01)
        self.caller.ack(body=messages.offer(C, formats=(18,)))
        self.run_for(0.01)
        self.assertIn("BYE", self.them.lines())

    def test_before_the_ack_of_the_one_before(self) -> None:
        """RFC 3261 section 14.1: who sends another INVITE has our 2xx."""
        self.caller.within("INVITE", body=messages.offer(C, version=2))
        self.caller.within("INVITE", body=messages.offer(C, 40_010, version=3))
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["200 INVITE", "200 INVITE"])
        self.assertEqual(self.call.negotiated_media.audio.remote, (C, 40_010))
        self.them.take()
        self.caller.ack()
        self.run_for(20)
        self.assertEqual(self.them.lines(), [])  # the first 200 is not repeated either
        self.assertEqual(self.us.counters["stray_acks"], 0)
        self.assertIs(self.call.state, SessionState.CONFIRMED)

    def test_before_the_ack_of_the_call(self) -> None:
        caller = Caller(self.them, call_id="early", branch="z9hG4bKearly")
        caller.invite()
        self.run_for(0.01)
        caller.answer = self.them.last(b"SIP/2.0 200")
        self.us.forget()
        caller.within("INVITE", body=messages.offer(C, 40_010, version=2))
        self.run_for(0.01)
        self.assertEqual(
            self.us.names(), ["DialogEstablished", "MediaNegotiated", "MediaFlowEstablished"]
        )
        caller.ack()
        self.run_for(40)
        self.assertEqual(self.us.names()[3], "AckReceived")
        self.assertNotIn("CallEnded", self.us.names())

    def test_before_the_ack_that_has_to_bring_the_answer(self) -> None:
        caller = Caller(self.them, call_id="late", branch="z9hG4bKlate")
        caller.invite(body=b"")
        self.run_for(0.01)
        caller.answer = self.them.last(b"SIP/2.0 200")
        caller.within("INVITE", body=messages.offer(C, 40_010, version=2))
        self.run_for(0.01)
        self.assertEqual(self.them.lines()[-1], "491 INVITE")

    def test_before_the_ack_of_a_call_that_is_hung_up(self) -> None:
        caller = Caller(self.them, call_id="leaving", branch="z9hG4bKleaving")
        caller.invite()
        self.run_for(0.01)
        caller.answer = self.them.last(b"SIP/2.0 200")
        self.us.manager.calls[-1].hang_up()
        self.run_for(0.01)
        self.them.take()
        caller.within("INVITE", body=messages.offer(C, 40_010, version=2))
        self.run_for(0.01)
        self.assertEqual(sorted(self.them.lines()), ["481 INVITE", "BYE"])

    def test_while_our_offer_is_pending(self) -> None:
        self.caller.within("INVITE")
        self.caller.within("INVITE", body=messages.offer(C, version=3))
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["200 INVITE", "491 INVITE"])
        # A copy of it stays refused, also when nothing is pending any more.
        refused, self.caller.number = self.caller.number, self.caller.number - 1
        self.caller.ack(body=messages.offer(C, version=2))
        self.run_for(0.01)
        self.them.take()
        self.caller.within(
            "INVITE", body=messages.offer(C, version=3), sequence=refused,
            branch=f"z9hG4bK-INVITE-{refused}",
        )  # fmt: skip
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["491 INVITE"])

    def test_never_acknowledged(self) -> None:
        self.caller.within("INVITE", body=messages.offer(C, version=2))
        self.run_for(33)
        self.assertEqual(len(self.them.times(b"BYE")), 1 + 1)
        self.them.send(messages.response(self.them.last(b"BYE"), 200), (B, 5060))
        self.run_for(0.01)
        self.assertIs(self.us.event("CallEnded").reason.by, EndedBy.TIMEOUT)

    def test_old_sequence_number(self) -> None:
        self.reinvite(messages.offer(C))
        self.caller.within("INVITE", body=messages.offer(C), sequence=1)
        self.caller.within("BYE", sequence=1)
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["500 INVITE", "500 BYE"])
        self.assertIs(self.call.state, SessionState.CONFIRMED)

    def test_what_is_not_served(self) -> None:
        for method in ("UPDATE", "PRACK", "INFO", "REFER", "MESSAGE"):
            self.caller.within(method)
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), [f"405 {method}"])
        self.assertIs(self.call.state, SessionState.CONFIRMED)

    def test_options(self) -> None:
        self.caller.within("OPTIONS")
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["200 OPTIONS"])

    def test_body_of_an_unknown_kind(self) -> None:
        self.assertEqual(self.reinvite(b"x", content_type="text/plain"), "415 INVITE")
        refused = self.us.event("OfferRefused")
        self.assertEqual(refused.reasons, ("Unsupported Media Type: Content-Type: text/plain",))
        self.assertEqual(self.us.counters["refused_faulty"], 1)

    def test_new_contact_is_where_the_bye_goes(self) -> None:
        phone = self.peer("192.0.2.8")
        self.reinvite(messages.offer(C), headers=[("Contact", "<sip:alice@192.0.2.8>")])
        self.call.hang_up()
        self.run_for(0.01)
        self.assertEqual(phone.lines(), ["BYE"])

    def test_while_our_bye_is_out(self) -> None:
        self.call.hang_up()
        self.assertEqual(self.reinvite(messages.offer(C, version=2)), "BYE")
        self.assertEqual(parsed(self.them.heard[-1][1]).status, 481)

    def test_an_ack_of_another_request(self) -> None:
        self.caller.within("INVITE", body=messages.offer(C, version=2))
        self.run_for(0.01)
        answered = self.them.last(b"SIP/2.0 200")
        self.caller.send(messages.ack(self.caller.who, to=answered, sequence=1))
        self.run_for(1)
        self.assertNotIn("AckReceived", self.us.names())
        self.assertEqual(self.us.counters["stray_acks"], 1)
        self.assertEqual(self.them.lines(), ["200 INVITE", "200 INVITE"])

    def test_a_repeated_ack(self) -> None:
        self.caller.ack()
        self.run_for(0.01)
        self.assertEqual(self.us.names(), [])

    def test_a_refusal_is_kept_and_repeated(self) -> None:
        """Else a copy of what was refused could be accepted later, and never acknowledged."""
        refused = messages.offer(C, version=2, formats=(18,))
        self.assertEqual(self.reinvite(refused), "488 INVITE")
        self.run_for(1.2)
        self.assertEqual(set(self.them.lines()), {"488 INVITE"})
        self.caller.within(
            "INVITE", body=messages.offer(C, version=3), sequence=self.caller.number,
            branch=f"z9hG4bK-INVITE-{self.caller.number}",
        )  # fmt: skip
        self.run_for(0.01)
        self.assertEqual(set(self.them.lines()), {"488 INVITE"})

    def test_a_peer_that_moved_to_another_network(self) -> None:
        """SIP and SDP from a new address: its media is judged by where it is now."""
        moved, self.media = self.peer("192.0.2.77"), self.peer("192.0.2.77", 40_000)
        self.caller.peer = moved
        offer = messages.offer("192.0.2.77", version=2)
        self.caller.within("INVITE", body=offer, headers=[("Contact", "<sip:a@192.0.2.77>")])
        self.run_for(0.01)
        self.caller.ack()
        self.send_rtp()
        self.assertEqual(self.call.remote_rtp, ("192.0.2.77", 40_000))
        self.assertEqual(self.us.names()[-1], "MediaActive")

    def test_a_peer_that_moved_behind_a_translator(self) -> None:
        """Its SDP names what only it knows; media may come from where its SIP now does."""
        moved, self.media = self.peer("192.0.2.77"), self.peer("192.0.2.77", 41_000)
        self.caller.peer = moved
        offer = messages.offer("10.0.0.9", version=2)
        self.caller.within("INVITE", body=offer, headers=[("Contact", "<sip:a@192.0.2.77>")])
        self.run_for(0.01)
        self.caller.ack()
        self.send_rtp()
        self.assertEqual(self.call.remote_rtp, ("192.0.2.77", 41_000))
        self.assertEqual(self.us.names()[-1], "MediaActive")

    def test_longer_packets_where_the_peer_asks(self) -> None:
        self.assertEqual(self.reinvite(messages.offer(C, version=2, ptime=40)), "200 INVITE")
        self.assertEqual(self.call.negotiated_media.audio.ptime, 40)
        self.run_for(0.1)
        before = len(self.media.heard)
        self.run_for(1)
        packets = [data for _, data, _ in self.media.heard[before:] if data[0] == 0x80]
        audio = [data for data in packets if data[1] & 127 == 0]
        self.assertEqual({len(data) for data in audio}, {12 + 320})
        self.assertIn(len(audio), (24, 25, 26))

    def test_a_stall_and_its_end(self) -> None:
        self.run_for(6)
        stalled = ["VerdictChanged Active", "MediaStalled Established"]
        self.assertEqual(self.us.story(), stalled)
        self.assertIs(self.us.event("VerdictChanged").verdict.judgement, Judgement.NO_RX)
        text = "nothing comes from 192.0.2.3:40000 to 192.0.2.2:40000"
        self.assertEqual(self.us.event("MediaStalled").text, text)
        self.send_rtp()
        self.assertEqual(self.us.story()[2:], ["MediaActive Active"])


class AddressTests(Scene):
    def test_ipv6(self) -> None:
        us = self.party("2001:db8::2", answer, listen=(r"udp:5060:interface=2001\:db8\:\:2",))
        peer = self.peer("2001:db8::3")
        peer.port.stopListening()
        self.run_for(0.01)
        from tests.session.scene import Peer

        peer = Peer(self.network.host("2001:db8::3"), 5060, "2001:db8::3")
        caller = Caller(peer, "2001:db8::2")
        caller.established(self)
        call = us.call_in
        self.assertEqual(call.negotiated_media.audio.remote, ("2001:db8::3", 40_000))
        self.assertIn(b"Contact: <sip:[2001:db8::2]:5060>", caller.answer)
        self.assertIn(b"c=IN IP6 2001:db8::2", caller.answer)
        call.hang_up()
        self.run_for(0.01)
        self.assertEqual(peer.lines(), ["BYE"])

    def test_advertised_addresses(self) -> None:
        self.party(B, answer, advertise="198.51.100.1", media_ip="198.51.100.2")
        peer = self.peer(C)
        caller = Caller(peer)
        caller.established(self)
        self.assertIn(b"Contact: <sip:198.51.100.1:5060>", caller.answer)
        self.assertIn(b"c=IN IP4 198.51.100.2", caller.answer)
