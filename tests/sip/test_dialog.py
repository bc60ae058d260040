"""Dialogs from both sides, route sets loose and strict, and sequence numbers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.dialog import Dialog, dialog_key, key_of_request, key_of_response, tag
from sessioncore.sip.message import build_response, parse_message
from tests.sip.fakes import request

ROUTES = (
    (b"Record-Route", b"<sip:p2.example;lr>, <sip:p1.example:5070;lr>"),
    (b"Record-Route", b"<sip:p0.example;lr>"),
)
SENT = {"branch": b"z9hG4bK-new", "via_sent_by": b"192.0.2.9:5060"}


def read(data: bytes) -> Any:
    return parse_message(data)


def callee(**fields: Any) -> Dialog:
    return Dialog.from_request(read(request(**fields)), b"mine")


def caller(contact: bytes = b"<sip:bob@192.0.2.50:5066>", **fields: Any) -> Dialog:
    sent = read(request(**fields))
    return Dialog.from_response(sent, answer(sent, contact, fields.get("headers", ())))


def answer(sent: Any, contact: bytes, routes: Any = (), to_tag: bytes = b"theirs") -> Any:
    headers = [*routes, *([(b"Contact", contact)] if contact else [])]
    return read(build_response(sent, 200, to_tag=to_tag, headers=headers))


class CreationTests(SynchronousTestCase):
    """RFC 3261 section 12.1."""

    def test_callee(self) -> None:
        dialog = callee(headers=ROUTES, cseq=7)
        self.assertEqual(
            (dialog.call_id, dialog.local_tag, dialog.remote_tag), (b"call-1", b"mine", b"f1")
        )
        self.assertEqual(dialog.local, b"<sip:bob@192.0.2.9>;tag=mine")
        self.assertEqual(dialog.remote, b"<sip:alice@192.0.2.1>;tag=f1")
        self.assertEqual(bytes(dialog.remote_target), b"sip:alice@192.0.2.1:5060")
        self.assertEqual(
            [bytes(route.uri) for route in dialog.route_set],
            [b"sip:p2.example;lr", b"sip:p1.example:5070;lr", b"sip:p0.example;lr"],
        )
        self.assertEqual((dialog.local_seq, dialog.remote_seq), (0, 7))

    def test_caller(self) -> None:
        dialog = caller(headers=ROUTES, cseq=7)
        self.assertEqual((dialog.local_tag, dialog.remote_tag), (b"f1", b"theirs"))
        self.assertEqual(dialog.local, b"<sip:alice@192.0.2.1>;tag=f1")
        self.assertEqual(dialog.remote, b"<sip:bob@192.0.2.9>;tag=theirs")
        self.assertEqual(bytes(dialog.remote_target), b"sip:bob@192.0.2.50:5066")
        self.assertEqual(
            [bytes(route.uri) for route in dialog.route_set],
            [b"sip:p0.example;lr", b"sip:p1.example:5070;lr", b"sip:p2.example;lr"],
        )
        self.assertEqual((dialog.local_seq, dialog.remote_seq), (7, None))

    def test_both_sides_have_the_same_key_as_the_messages(self) -> None:
        sent = read(request())
        got = answer(sent, b"<sip:bob@192.0.2.50>")
        there = Dialog.from_response(sent, got)
        self.assertEqual(there.key, key_of_response(got))
        here = Dialog.from_request(sent, b"theirs")
        bye = read(there.request(b"BYE", **SENT))
        self.assertEqual(here.key, key_of_request(bye))
        self.assertEqual(here.key, dialog_key(b"call-1", b"theirs", b"f1"))

    def test_rfc_2543_peer_without_contact_and_tag(self) -> None:
        data = request().replace(b"Contact: <sip:alice@192.0.2.1:5060>\r\n", b"")
        dialog = Dialog.from_request(read(data.replace(b";tag=f1", b"")), b"mine")
        self.assertEqual(bytes(dialog.remote_target), b"sip:alice@192.0.2.1")
        self.assertEqual(dialog.remote_tag, b"")
        bye = read(dialog.request(b"BYE", **SENT))
        self.assertIsNone(bye.to_tag)

    def test_answer_without_contact_is_reached_at_the_request_uri(self) -> None:
        self.assertEqual(bytes(caller(contact=b"").remote_target), b"sip:bob@192.0.2.9")

    def test_contact_that_is_no_sip_uri(self) -> None:
        for contact in (b"*", b"<tel:+123>", b"<sips:alice@192.0.2.1:5061>"):
            data = read(request().replace(b"<sip:alice@192.0.2.1:5060>", contact))
            self.assertRaises(SipParseError, Dialog.from_request, data, b"mine")
            self.assertRaises(SipParseError, caller, contact)
            for dialog in (callee(), caller()):
                self.assertRaises(SipParseError, dialog.refresh_target, data)
                self.assertEqual(dialog.next_hop.scheme, b"sip")

    def test_nearest_route_that_is_no_sip_uri(self) -> None:
        """Of the others their own hops know how to reach them."""
        for uri in (b"tel:+123", b"sips:p.example;lr"):
            far_of_callee = ((b"Record-Route", b"<sip:p.example;lr>, <" + uri + b">"),)
            far_of_caller = ((b"Record-Route", b"<" + uri + b">, <sip:p.example;lr>"),)
            self.assertEqual(callee(headers=far_of_callee).next_hop.host, b"p.example")
            self.assertEqual(caller(headers=far_of_caller).next_hop.host, b"p.example")
            self.assertRaises(SipParseError, callee, headers=far_of_caller)
            self.assertRaises(SipParseError, caller, headers=far_of_callee)

    def test_route_set_is_bounded(self) -> None:
        many = ((b"Record-Route", b",".join([b"<sip:p.example;lr>"] * 71)),)
        self.assertRaises(SipParseError, callee, headers=many)

    def test_tag(self) -> None:
        self.assertEqual(tag(lambda: b"abc"), b"tabc")


class RequestTests(SynchronousTestCase):
    """RFC 3261 section 12.2.1.1."""

    def test_fields(self) -> None:
        dialog = callee()
        message = read(
            dialog.request(
                b"INFO",
                headers=((b"Contact", b"<sip:bob@192.0.2.9>"), (b"Content-Type", b"text/plain")),
                body=b"hello",
                **SENT,
            )
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
        dialog = Dialog.from_request(read(data), b"mine")
        bye = read(dialog.request(b"BYE", **SENT))
        self.assertEqual(bye.first(b"To"), b'"A; <b>" <sip:alice@192.0.2.1>;tag=f1')

    def test_sequence_numbers(self) -> None:
        dialog = caller(cseq=7)
        numbers = [read(dialog.request(b"INFO", **SENT)).cseq.number for _ in range(2)]
        self.assertEqual(numbers, [8, 9])
        self.assertEqual(read(dialog.request(b"ACK", cseq=7, **SENT)).cseq, (7, b"ACK"))
        self.assertEqual(dialog.local_seq, 9)

    def test_ack_carries_a_description(self) -> None:
        headers = ((b"Content-Type", b"application/sdp"),)
        ack = read(caller().request(b"ACK", cseq=1, headers=headers, body=b"v=0\r\n", **SENT))
        self.assertEqual((ack.method, ack.body), (b"ACK", b"v=0\r\n"))

    def test_loose_routes(self) -> None:
        dialog = callee(headers=ROUTES)
        bye = read(dialog.request(b"BYE", **SENT))
        self.assertEqual(bye.uri, b"sip:alice@192.0.2.1:5060")
        self.assertEqual(
            bye.all(b"Route"),
            [b"<sip:p2.example;lr>", b"<sip:p1.example:5070;lr>", b"<sip:p0.example;lr>"],
        )
        self.assertEqual(bytes(dialog.next_hop), b"sip:p2.example;lr")

    def test_strict_router_first(self) -> None:
        strict = ((b"Record-Route", b"<sip:p1.example;method=BYE?x=y>, <sip:p0.example;lr>"),)
        dialog = callee(headers=strict)
        bye = read(dialog.request(b"BYE", **SENT))
        self.assertEqual(bye.uri, b"sip:p1.example")
        self.assertEqual(bye.all(b"Route"), [b"<sip:p0.example;lr>", b"<sip:alice@192.0.2.1:5060>"])
        self.assertEqual(dialog.next_hop.host, b"p1.example")

    def test_request_uri_has_no_headers_and_no_method(self) -> None:
        dialog = caller(contact=b"<sip:bob@192.0.2.50;method=INVITE;transport=udp?Route=x>")
        bye = read(dialog.request(b"BYE", **SENT))
        self.assertEqual(bye.uri, b"sip:bob@192.0.2.50;transport=udp")

    def test_next_hop_without_routes_is_the_target(self) -> None:
        self.assertEqual(caller().next_hop.port, 5066)


class LifeTests(SynchronousTestCase):
    """What changes in a dialog: target, route set of an early one, the peer's CSeq."""

    def test_target_refresh(self) -> None:
        dialog = callee()
        dialog.request(b"INFO", **SENT)
        changed = request(to_tag=b"mine", cseq=2).replace(b"192.0.2.1:5060>", b"192.0.2.77>")
        dialog.refresh_target(read(changed))
        self.assertEqual(read(dialog.request(b"BYE", **SENT)).uri, b"sip:alice@192.0.2.77")

    def test_refresh_without_contact_changes_nothing(self) -> None:
        dialog = callee()
        data = request().replace(b"Contact: <sip:alice@192.0.2.1:5060>\r\n", b"")
        dialog.refresh_target(read(data))
        self.assertEqual(bytes(dialog.remote_target), b"sip:alice@192.0.2.1:5060")

    def test_sequence_of_the_peer(self) -> None:
        dialog = callee(cseq=5)
        self.assertTrue(dialog.check_sequence(6))
        self.assertTrue(dialog.check_sequence(6))
        self.assertTrue(dialog.check_sequence(900))
        self.assertFalse(dialog.check_sequence(899))
        self.assertEqual(dialog.remote_seq, 900)

    def test_first_request_of_the_callee_sets_the_sequence(self) -> None:
        dialog = caller()
        self.assertTrue(dialog.check_sequence(0))
        self.assertEqual(dialog.remote_seq, 0)
