"""Calls with peers that write what they should not: read where the meaning is plain.

And hosts, ports and labels that nobody can reach, in every place where an address may stand: what
fails is the call that names them, with a reason, and nothing of it is left.
"""

from __future__ import annotations

from typing import Any

from sessioncore.errors import ConfigurationError
from sessioncore.session.session import SessionState
from sessioncore.testing import messages
from tests.session.scene import A, B, C, Caller, Scene, answer, ring
from tests.session.test_caller import CallerScene
from tests.sip.test_multipart import described, joined, part
from tests.sip.test_reading import ODD, odd

MULTIPART = "multipart/mixed; boundary=b1"
GEOLOCATION = part(b"<presence/>", b"Content-Type: application/pidf+xml")

HOSTS = (
    "a..b",
    ".a",
    "a" * 64 + ".example",
    "x." * 127 + "toolong",
    "-",
    "_",
    "%zone",
    "fe80::1%zone",
    "[fe80::1%25lo]",
    "[::1",
    "::1]",
    "[]",
    "[::1::2]",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "\xe4.example",
    "",
    " ",
    "a b",
    "nowhere.invalid",
)
PORTS = ("0", "65536", "99999999999", "-1", "x", "")
PLACES = [*HOSTS, *(f"192.0.2.77:{port}" for port in PORTS)]
PLACES += [f"a..b:{port}" for port in PORTS]


class NeededTests(CallerScene):
    """What a message is needed for, with a whole call around it."""

    def test_an_unusable_2xx_is_acknowledged_and_ended_where_the_invite_went(self) -> None:
        for contact in ("<sip:>", '"x', "<tel:+1>", "<sip:bob@a b>", "<sip:a..b>"):
            with self.subTest(contact=contact):
                self.us.forget()
                self.them.take()
                self.calling()
                self.reply(200, sdp=True, headers=[("Contact", contact)])
                self.run_for(0.01)
                self.assertEqual(self.them.lines(), ["INVITE", "ACK", "BYE"])
                self.answer_bye()
                self.assertFalse(self.us.manager.calls)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_refusal_with_odd_fields_ends_the_call(self) -> None:
        for lines in ODD:
            with self.subTest(lines=lines[:40]):
                self.us.forget()
                self.them.take()
                self.calling()
                data = messages.response(self.them.last(b"INVITE"), 486, "Busy Here")
                self.them.send(odd(data, lines), (A, 5060))
                self.run_for(0.01)
                self.assertEqual(self.them.lines(), ["INVITE", "ACK"])
                self.assertEqual(self.reason().status, 486)

    def test_a_ringing_with_odd_fields_is_told(self) -> None:
        call = self.calling()
        data = messages.response(self.them.last(b"INVITE"), 180)
        self.them.send(odd(data, b"Contact: <sip:>\r\nContent-Type: x"), (A, 5060))
        self.run_for(0.01)
        self.assertIs(call.state, SessionState.PROCEEDING)
        self.assertIn("CallRinging", self.us.names())

    def test_a_body_of_another_type_is_no_answer(self) -> None:
        """Of a 200, a 183 and an ACK: what they carry counts only as what they say it is."""
        for kind in ("text/plain", "nonsense", "application/sdpx", "multipart/mixed"):
            with self.subTest(kind=kind):
                self.us.forget()
                self.calling()
                self.reply(183, sdp=True, headers=[("Content-Type", kind)])
                self.assertNotIn("EarlyMediaStarted", self.us.names())
                self.reply(200, sdp=True, headers=[("Content-Type", kind)])
                self.run_for(0.01)
                self.assertNotIn("MediaNegotiated", self.us.names())
                self.answer_bye()
                self.assertFalse(self.us.manager.calls)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_multipart_answers_of_a_callee(self) -> None:
        body = joined(GEOLOCATION, described(content=messages.offer(B)))
        for status in (183, 200):
            with self.subTest(status=status):
                self.us.forget()
                call = self.calling()
                self.reply(status, sdp=body, headers=[("Content-Type", MULTIPART)])
                self.assertIn("MediaNegotiated", self.us.names())
                self.assertEqual(call.negotiated_media.audio.remote, (B, 40_000))
                self.reply(200, sdp=body, headers=[("Content-Type", MULTIPART)])
                self.assertIs(call.state, SessionState.CONFIRMED)
                call.hang_up()
                self.run_for(0.01)
                self.answer_bye()

    def test_a_multipart_offer_of_a_callee(self) -> None:
        call = self.calling(late_offer=True)
        body = joined(described(content=messages.offer(B)))
        self.reply(200, sdp=body, headers=[("Content-Type", MULTIPART)])
        self.assertIs(call.state, SessionState.CONFIRMED)
        self.assertIn(b"m=audio", self.them.last(b"ACK"))


class CalleeReadingTests(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.us = self.party(B, answer)
        self.them = Caller(self.peer(C))

    def test_acks_byes_and_cancels_with_odd_fields(self) -> None:
        """A call that is acknowledged is not cut after 32 s, and ends by its BYE."""
        for number, lines in enumerate(ODD):
            with self.subTest(lines=lines[:40]):
                them = Caller(self.them.peer, call_id=f"odd-{number}", branch=f"z9hG4bK-{number}")
                them.invite()
                self.run_for(0.01)
                them.answer = them.peer.last(b"SIP/2.0 200")
                ack = messages.ack(them.who, to=them.answer, sequence=them.number)
                them.send(odd(ack, lines))
                self.run_for(0.01)
                (call,) = self.us.manager.calls
                self.assertIs(call.state, SessionState.CONFIRMED)
                them.send(odd(messages.bye(them.who, to=them.answer), lines))
                self.run_for(0.01)
                self.assertTrue(them.peer.last(b"SIP/2.0 200").find(b"BYE") > 0)
                self.assertFalse(self.us.manager.calls)

    def test_a_cancel_with_another_cseq_number_stops_the_ringing(self) -> None:
        self.us.decide = ring
        self.them.invite()
        self.run_for(0.01)
        self.them.send(messages.cancel(self.them.who, sequence=self.them.number + 1))
        self.run_for(0.01)
        self.them.send(messages.ack(self.them.who, to=self.them.peer.last(b"SIP/2.0 487")))
        self.run_for(0.01)
        self.assertIn("200 CANCEL", self.them.peer.lines())
        self.assertFalse(self.us.manager.calls)

    def test_serial_forking_after_a_487_is_a_new_call(self) -> None:
        self.us.decide = ring
        for number in range(3):
            them = Caller(self.them.peer, branch=f"z9hG4bK-{number}")
            them.peer.take()
            them.invite()
            self.run_for(0.01)
            self.assertEqual(them.peer.lines(), ["180 INVITE"])
            them.send(messages.cancel(them.who))
            self.run_for(0.01)
            them.send(messages.ack(them.who, to=them.peer.last(b"SIP/2.0 487")))
            self.run_for(0.01)
        self.assertEqual(self.us.sip["merged"], 0)

    def test_multipart_offers(self) -> None:
        self.them.invite(
            body=joined(GEOLOCATION, described(content=messages.offer(C))), content_type=MULTIPART
        )
        self.run_for(0.01)
        self.them.ack()
        self.run_for(0.01)
        (call,) = self.us.manager.calls
        self.assertIs(call.state, SessionState.CONFIRMED)
        assert call.negotiated_media is not None
        self.assertEqual(call.negotiated_media.audio.remote, (C, 40_000))

    def test_a_multipart_answer_in_the_ack(self) -> None:
        self.them.invite(body=b"")
        self.run_for(0.01)
        self.them.answer = self.them.peer.last(b"SIP/2.0 200")
        body = joined(described(content=messages.offer(C)))
        ack = messages.ack(
            self.them.who, to=self.them.answer, body=body, headers=[("Content-Type", MULTIPART)]
        )
        self.them.send(ack)
        self.run_for(0.01)
        (call,) = self.us.manager.calls
        self.assertIs(call.state, SessionState.CONFIRMED)
        self.assertIn("MediaNegotiated", self.us.names())

    def test_an_answer_of_another_type_in_the_ack(self) -> None:
        for kind in ("text/plain", "nonsense"):
            with self.subTest(kind=kind):
                self.us.forget()
                them = Caller(self.them.peer, call_id=kind, branch=f"z9hG4bK{kind[:4]}")
                them.invite(body=b"")
                self.run_for(0.01)
                them.answer = them.peer.last(b"SIP/2.0 200")
                body, fields = messages.offer(C), [("Content-Type", kind)]
                them.send(messages.ack(them.who, to=them.answer, body=body, headers=fields))
                self.run_for(0.01)
                self.assertNotIn("MediaNegotiated", self.us.names())
                them.send(messages.response(them.peer.last(b"BYE"), 200))
                self.run_for(0.01)
                self.assertFalse(self.us.manager.calls)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_multipart_without_a_description_is_415(self) -> None:
        for body in (joined(GEOLOCATION), b"nonsense"):
            self.them.send(messages.invite(self.them.who, body=body, content_type=MULTIPART))
            self.run_for(0.01)
            refusal = self.them.peer.last(b"SIP/2.0 415")
            self.assertEqual(messages.header(refusal, "Accept"), "application/sdp, multipart/mixed")

    def test_a_trailing_blank_behind_a_direction(self) -> None:
        body = messages.offer(C).replace(b"a=sendrecv", b"a=sendonly ")
        self.assertIn(b"a=sendonly \r\n", body)
        self.them.invite(body=body)
        self.run_for(0.01)
        self.them.ack()
        self.run_for(0.01)
        self.assertIn(b"a=recvonly\r\n", self.them.answer)

    def test_an_mrcp_line_beside_good_audio(self) -> None:
        body = messages.offer(C) + b"m=application 9 TCP/MRCPv2\r\na=setup:active\r\n"
        self.them.invite(body=body)
        self.run_for(0.01)
        self.them.ack()
        self.run_for(0.01)
        self.assertIn(b"m=application 0 TCP/MRCPv2 0\r\n", self.them.answer)


class BadTargetTests(CallerScene):
    """PROTOS-like hosts, ports and labels where a caller of ours reads them."""

    def over(self, call: Any) -> None:
        """The call ends, whatever its peer does."""
        self.run_for(0.1)
        call.hang_up()
        self.run_for(0.1)
        if any(data.startswith(b"BYE") for _, data, _ in self.them.heard[-2:]):
            self.answer_bye()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertFalse(self.us.manager.calls, call)

    def check(self, *fields: tuple[str, str], status: int = 200) -> None:
        call = self.calling()
        self.reply(status, sdp=True, headers=fields)
        self.run_for(0.1)
        if status == 200:
            self.assertTrue(self.them.last(b"ACK"))
        else:
            self.reply(486)
        self.over(call)

    def test_in_a_contact(self) -> None:
        for place in PLACES:
            for status in (180, 200, 183):
                with self.subTest(place=place, status=status):
                    self.check(("Contact", f"<sip:bob@{place}>"), status=status)

    def test_in_a_maddr(self) -> None:
        for place in PLACES:
            with self.subTest(place=place):
                self.check(("Contact", f"<sip:bob@{B};maddr={place}>"))

    def test_in_a_record_route(self) -> None:
        for place in PLACES:
            for suffix in ("", ";lr", f";lr;maddr={place}"):
                with self.subTest(place=place, suffix=suffix):
                    self.check(("Record-Route", f"<sip:{place}{suffix}>"))

    def test_in_a_description(self) -> None:
        for host in HOSTS:
            for old, new in (
                (f"c=IN IP4 {B}", f"c=IN IP4 {host}"),
                (f"c=IN IP4 {B}", f"c=IN IP6 {host}"),
                (f"IN IP4 {B}\r\ns=", f"IN IP4 {host}\r\ns="),
                ("a=sendrecv", f"a=rtcp:4001 IN IP4 {host}\r\na=sendrecv"),
            ):
                with self.subTest(host=host, old=old):
                    body = messages.offer(B)
                    self.assertIn(old.encode(), body)
                    call = self.calling()
                    self.reply(200, sdp=body.replace(old.encode(), new.encode()))
                    self.over(call)

    def test_in_the_called_uri(self) -> None:
        for place in PLACES:
            with self.subTest(place=place):
                try:
                    call = self.us.call(f"sip:bob@{place}")
                except ConfigurationError:
                    continue
                self.over(call)


class BadSourceTests(Scene):
    """The same where a server of ours reads them."""

    def setUp(self) -> None:
        super().setUp()
        self.us = self.party(B, answer)
        self.peer_ = self.peer(C)
        self.count = 0

    def check(self, *fields: tuple[str, str], body: bytes | None = None, **given: Any) -> None:
        """An INVITE, and if it is accepted an ACK; we hang up, and nobody answers the BYE."""
        self.count += 1
        them = Caller(self.peer_, call_id=f"{self.count}", branch=f"z9hG4bK{self.count}")
        self.peer_.take()
        body = messages.offer(C) if body is None else body
        them.send(messages.invite(them.who, body=body, headers=fields, **given))
        self.run_for(0.05)
        for data in self.peer_.take():
            if data.startswith(b"SIP/2.0 200"):
                them.answer = data
                them.send(messages.ack(them.who, to=data, sequence=them.number))
        self.run_for(0.05)
        for call in list(self.us.manager.calls):
            call.hang_up()
        self.run_for(40)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertFalse(self.us.manager.calls)

    def test_in_a_contact_and_its_maddr(self) -> None:
        for place in PLACES:
            for uri in (f"sip:alice@{place}", f"sip:alice@{C};maddr={place}"):
                with self.subTest(uri=uri):
                    self.check(("Contact", f"<{uri}>"))

    def test_in_routes(self) -> None:
        for place in PLACES:
            with self.subTest(place=place):
                self.check(("Record-Route", f"<sip:{place};lr>"), ("Route", f"<sip:{place};lr>"))

    def test_in_a_via(self) -> None:
        for place in PLACES:
            branch = f"branch=z9hG4bK-via-{self.count}"
            for via in (
                f"SIP/2.0/UDP {place};{branch}",
                f"SIP/2.0/UDP {C};{branch}x;received={place}",
                f"SIP/2.0/UDP {C};{branch}y;maddr={place};rport={place}",
            ):
                with self.subTest(via=via):
                    self.check(("Via", via))

    def test_in_a_request_uri(self) -> None:
        for place in PLACES:
            with self.subTest(place=place):
                self.check(target=f"sip:bob@{place}")

    def test_in_a_description(self) -> None:
        for host in HOSTS:
            for old, new in (
                (f"c=IN IP4 {C}", f"c=IN IP4 {host}"),
                (f"IN IP4 {C}\r\ns=", f"IN IP4 {host}\r\ns="),
                ("a=sendrecv", f"a=rtcp:4001 IN IP4 {host}\r\na=sendrecv"),
            ):
                with self.subTest(host=host, old=old):
                    body = messages.offer(C)
                    self.assertIn(old.encode(), body)
                    self.check(body=body.replace(old.encode(), new.encode()))
