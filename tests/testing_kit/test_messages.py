"""The builders make what the RFC asks for, as the library's own parser confirms."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sdp.description import parse_description
from sessioncore.sip.message import Request, Response, parse_message
from sessioncore.testing import messages
from sessioncore.testing.messages import Caller


def read_request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def read_response(data: bytes) -> Response:
    message = parse_message(data)
    assert isinstance(message, Response)
    return message


class RequestTests(SynchronousTestCase):
    def test_invite(self) -> None:
        invite = read_request(messages.invite())
        self.assertEqual((invite.method, invite.uri), (b"INVITE", b"sip:bob@192.0.2.2:5060"))
        self.assertEqual(invite.via.branch, b"z9hG4bK776asdhds")
        self.assertTrue(invite.via.rport)
        self.assertEqual((invite.from_tag, invite.to_tag), (b"1928301774", None))
        self.assertEqual((invite.cseq.number, invite.cseq.method), (1, b"INVITE"))
        self.assertEqual(invite.content_type, b"application/sdp")
        self.assertEqual(len(parse_description(invite.body).media), 1)

    def test_the_lines_of_an_offer(self) -> None:
        offer = messages.offer("2001:db8::1", 4000, formats=(8, 101), extra=("a=x",)).decode()
        self.assertEqual(
            offer.splitlines()[3:],
            [
                "c=IN IP6 2001:db8::1",
                "t=0 0",
                "m=audio 4000 RTP/AVP 8 101",
                "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:101 telephone-event/8000",
                "a=fmtp:101 0-15",
                "a=ptime:20",
                "a=sendrecv",
                "a=x",
            ],
        )
        bare = messages.offer(formats=(0,), ptime=None, direction="").decode()
        self.assertEqual(bare.splitlines()[-1], "a=rtpmap:0 PCMU/8000")

    def test_each_request_names_its_method(self) -> None:
        for build, method in (
            (messages.ack, b"ACK"),
            (messages.bye, b"BYE"),
            (messages.cancel, b"CANCEL"),
            (messages.options, b"OPTIONS"),
        ):
            built = read_request(build())
            self.assertEqual((built.method, built.cseq.method), (method, method))
            self.assertEqual(built.body, b"")

    def test_overrides(self) -> None:
        invite = read_request(
            messages.invite(
                local=("2001:db8::1", 5070),
                sequence=7,
                branch="z9hG4bKother",
                call_id="other",
                rport=False,
                routes=("<sip:p.example.com;lr>",),
                target="sip:bob@elsewhere.example",
            )
        )
        self.assertEqual((invite.via.host, invite.via.port), (b"2001:db8::1", 5070))
        self.assertFalse(invite.via.rport)
        self.assertEqual((invite.cseq.number, invite.call_id), (7, b"other"))
        self.assertEqual(len(invite.routes), 1)
        self.assertEqual(invite.uri, b"sip:bob@elsewhere.example")
        self.assertIn(b"IN IP6 2001:db8::1", invite.body)

    def test_headers_replace_and_add_and_go(self) -> None:
        built = messages.invite(
            headers=[("via", "SIP/2.0/UDP a"), ("Via", "SIP/2.0/UDP b"), ("Subject", "x")],
            without=["Max-Forwards", "contact"],
            body=b"",
        )
        invite = read_request(built)
        self.assertEqual(invite.all(b"Via"), [b"SIP/2.0/UDP a", b"SIP/2.0/UDP b"])
        self.assertEqual(invite.all(b"Subject"), [b"x"])
        self.assertEqual(invite.all(b"Max-Forwards") + invite.all(b"Contact"), [])
        self.assertNotIn(b"Content-Type", built)
        self.assertNotIn(b"Content-Length", messages.options(without=["Content-Length"]))
        self.assertIn(
            b"Content-Length: 99\r\n", messages.options(headers=[("Content-Length", "99")])
        )

    def test_unknown_overrides_are_errors(self) -> None:
        self.assertRaises(TypeError, messages.invite, colour="red")


class DialogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.caller = Caller(call_id="one")
        self.invite = messages.invite(self.caller)
        self.ok = messages.response(
            self.invite, 200, "OK", body=messages.offer("192.0.2.2"), contact=("192.0.2.9", 5090)
        )

    def test_response(self) -> None:
        ok = read_response(self.ok)
        self.assertEqual((ok.status, ok.reason, ok.to_tag), (200, b"OK", b"314159"))
        self.assertEqual(ok.all(b"Via"), read_request(self.invite).all(b"Via"))
        self.assertEqual((ok.call_id, ok.cseq.method), (b"one", b"INVITE"))
        trying = read_response(messages.response(self.invite, 100))
        self.assertEqual((trying.to_tag, trying.contact), (None, None))
        self.assertIsNone(read_response(messages.response(self.invite, 486)).contact)

    def test_the_ack_of_a_2xx(self) -> None:
        ack = read_request(messages.ack(self.caller, to=self.ok))
        self.assertEqual(ack.uri, b"sip:bob@192.0.2.9:5090")
        self.assertEqual((ack.to_tag, ack.cseq.number), (b"314159", 1))
        self.assertNotEqual(ack.via.branch, read_request(self.invite).via.branch)

    def test_the_ack_of_a_refusal(self) -> None:
        busy = messages.response(self.invite, 486, to_tag="busy")
        ack = read_request(messages.ack(self.caller, to=busy))
        self.assertEqual(ack.via.branch, read_request(self.invite).via.branch)
        self.assertEqual((ack.uri, ack.to_tag), (b"sip:bob@192.0.2.2:5060", b"busy"))

    def test_the_cancel(self) -> None:
        cancel, invite = read_request(messages.cancel(self.caller)), read_request(self.invite)
        for name in (b"Via", b"From", b"To", b"Call-ID"):
            self.assertEqual(cancel.all(name), invite.all(name))
        self.assertEqual(cancel.cseq.number, invite.cseq.number)

    def test_the_bye(self) -> None:
        bye = read_request(messages.bye(self.caller, to=self.ok))
        self.assertEqual((bye.uri, bye.to_tag), (b"sip:bob@192.0.2.9:5090", b"314159"))
        self.assertEqual(bye.cseq.number, 2)
        self.assertNotEqual(bye.via.branch, read_request(self.invite).via.branch)

    def test_a_caller_with_an_answer_goes_on(self) -> None:
        caller = self.caller.with_answer(self.ok, sequence=5)
        again = read_request(messages.invite(caller))
        self.assertEqual((again.to_tag, again.cseq.number), (b"314159", 5))
        self.assertEqual(evolve(caller, remote_tag="").remote_tag, "")

    def test_reading(self) -> None:
        self.assertEqual(messages.header(self.ok, "call-id"), "one")
        self.assertIsNone(messages.header(self.ok, "Subject"))
        self.assertEqual(messages.tag(self.ok, "To"), "314159")
        self.assertEqual(messages.tag(self.invite, "To"), "")


class OfferTests(SynchronousTestCase):
    def test_default(self) -> None:
        (audio,) = parse_description(messages.offer()).media
        self.assertEqual((audio.form, audio.port), ((b"audio", b"RTP/AVP", 1), 40_000))
        self.assertEqual(list(audio.formats), [b"0", b"8", b"101"])

    def test_variations(self) -> None:
        text = messages.offer(
            "2001:db8::1", 5004, formats=[8], direction="", ptime=None, extra=["a=x"], version=3
        )
        self.assertNotIn(b"sendrecv", text)
        self.assertNotIn(b"ptime", text)
        self.assertTrue(text.endswith(b"a=rtpmap:8 PCMA/8000\r\na=x\r\n"))
        self.assertIn(b"o=- 2890844526 3 IN IP6 2001:db8::1\r\n", text)
        parse_description(text)
