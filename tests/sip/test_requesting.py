"""Requests of ours: what is written outside and within dialogs, over any transport."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sip.dialog import Dialog, InitialRequest
from sessioncore.sip.message import parse_message
from sessioncore.sip.requesting import RequestWriter, contact
from tests.sip.fakes import PEER, FakeFlow, request
from tests.sip.test_dialog import ROUTES, callee, caller

WRITER = RequestWriter(lambda: b"z9hG4bK-new", b"test/1")


def read(data: bytes) -> Any:
    return parse_message(data)


def within(dialog: Dialog, method: bytes = b"BYE", sequence: int | None = None) -> Any:
    return read(WRITER.within(dialog, method, FakeFlow(), PEER, sequence=sequence).data)


class Stream(FakeFlow):
    """A connection."""

    transport = b"TCP"


ORIGIN = InitialRequest(
    b"sip:bob@192.0.2.1",
    b'"A" <sip:a@192.0.2.9>;tag=mine',
    b"mine",
    b"<sip:bob@192.0.2.1>",
    b"call-1",
    7,
)


class InitialTests(SynchronousTestCase):
    """RFC 3261 section 8.1.1."""

    def test_fields(self) -> None:
        headers = ((b"Contact", b"<sip:a@192.0.2.9>"), (b"X-Mine", b"1"))
        data, branch = WRITER.initial(b"INVITE", ORIGIN, FakeFlow(), PEER, headers, b"v=0")
        message = read(data)
        self.assertEqual((message.method, message.uri), (b"INVITE", b"sip:bob@192.0.2.1"))
        self.assertEqual((message.via.branch, branch), (b"z9hG4bK-new", b"z9hG4bK-new"))
        self.assertEqual(message.first(b"From"), ORIGIN.local)
        self.assertEqual(message.to_tag, None)
        self.assertEqual((message.call_id, message.cseq), (b"call-1", (7, b"INVITE")))
        self.assertEqual(message.max_forwards, 70)
        self.assertEqual(message.first(b"X-Mine"), b"1")
        self.assertEqual(message.first(b"User-Agent"), b"test/1")
        self.assertEqual(message.body, b"v=0")


class TransportTests(SynchronousTestCase):
    """The Via and the Contact name the transport of the flow."""

    def test_via(self) -> None:
        for flow, name in ((FakeFlow(), b"UDP"), (Stream(), b"TCP")):
            outside = WRITER.initial(b"OPTIONS", ORIGIN, flow, PEER).data
            inside = [WRITER.within(callee(), b"BYE", flow, PEER).data]
            inside.append(WRITER.within(callee(), b"ACK", flow, PEER, sequence=1).data)
            for data in (outside, *inside):
                self.assertIn(b"Via: SIP/2.0/%b 192.0.2.9:5060;rport" % name, data)

    def test_contact(self) -> None:
        self.assertEqual(contact(FakeFlow(), "192.0.2.1"), b"<sip:192.0.2.9:5060>")
        self.assertEqual(contact(Stream(), "192.0.2.1"), b"<sip:192.0.2.9:5060;transport=tcp>")


class WithinTests(SynchronousTestCase):
    """RFC 3261 section 12.2.1.1."""

    def test_fields(self) -> None:
        dialog = callee()
        message = read(
            WRITER.within(
                dialog,
                b"INFO",
                FakeFlow(),
                PEER,
                ((b"Contact", b"<sip:bob@192.0.2.9>"), (b"Content-Type", b"text/plain")),
                b"hello",
            ).data
        )
        self.assertEqual((message.method, message.uri), (b"INFO", b"sip:alice@192.0.2.1:5060"))
        self.assertEqual(message.via.branch, b"z9hG4bK-new")
        self.assertEqual(message.via.sent_by, b"192.0.2.9:5060")
        self.assertTrue(message.via.rport)
        self.assertEqual((message.from_tag, message.to_tag), (b"mine", b"f1"))
        self.assertEqual(message.call_id, b"call-1")
        self.assertEqual(message.cseq, (1, b"INFO"))
        self.assertEqual(message.max_forwards, 70)
        self.assertEqual(message.first(b"Contact"), b"<sip:bob@192.0.2.9>")
        self.assertEqual((message.content_type, message.body), (b"text/plain", b"hello"))
        self.assertEqual(message.routes, [])

    def test_from_and_to_keep_display_names(self) -> None:
        data = request().replace(b"<sip:alice@", b'"A; <b>" <sip:alice@')
        dialog = Dialog.from_request(read(data), b"mine", PEER)
        bye = within(dialog, b"BYE")
        self.assertEqual(bye.first(b"To"), b'"A; <b>" <sip:alice@192.0.2.1>;tag=f1')

    def test_sequence_numbers(self) -> None:
        dialog = caller(cseq=7)
        numbers = [within(dialog, b"INFO").cseq.number for _ in range(2)]
        self.assertEqual(numbers, [8, 9])
        self.assertEqual(within(dialog, b"ACK", 7).cseq, (7, b"ACK"))
        self.assertEqual(dialog.local_seq, 9)

    def test_ack_carries_a_description(self) -> None:
        headers = ((b"Content-Type", b"application/sdp"),)
        ack = read(WRITER.within(caller(), b"ACK", FakeFlow(), PEER, headers, b"v=0\r\n", 1).data)
        self.assertEqual((ack.method, ack.body), (b"ACK", b"v=0\r\n"))

    def test_loose_routes(self) -> None:
        dialog = callee(headers=ROUTES)
        bye = within(dialog, b"BYE")
        self.assertEqual(bye.uri, b"sip:alice@192.0.2.1:5060")
        self.assertEqual(
            bye.all(b"Route"),
            [b"<sip:p2.example;lr>", b"<sip:p1.example:5070;lr>", b"<sip:p0.example;lr>"],
        )
        self.assertEqual(bytes(dialog.next_hop), b"sip:p2.example;lr")

    def test_strict_router_first(self) -> None:
        strict = ((b"Record-Route", b"<sip:p1.example;method=BYE?x=y>, <sip:p0.example;lr>"),)
        dialog = callee(headers=strict)
        bye = within(dialog, b"BYE")
        self.assertEqual(bye.uri, b"sip:p1.example")
        self.assertEqual(bye.all(b"Route"), [b"<sip:p0.example;lr>", b"<sip:alice@192.0.2.1:5060>"])
        self.assertEqual(dialog.next_hop.host, b"p1.example")

    def test_request_uri_has_no_headers_and_no_method(self) -> None:
        dialog = caller(contact=b"<sip:bob@192.0.2.50;method=INVITE;transport=udp?Route=x>")
        bye = within(dialog, b"BYE")
        self.assertEqual(bye.uri, b"sip:bob@192.0.2.50;transport=udp")

    def test_next_hop_without_routes_is_the_target(self) -> None:
        self.assertEqual(caller().next_hop.port, 5066)
