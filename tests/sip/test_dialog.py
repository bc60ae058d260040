"""Dialogs from both sides, route sets loose and strict, and sequence numbers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.dialog import (
    Dialog,
    InitialRequest,
    dialog_key,
    key_of_request,
    key_of_response,
    tag,
)
from sessioncore.sip.message import build_response, parse_message
from sessioncore.sip.requesting import RequestWriter
from tests.sip.fakes import PEER, FakeFlow, request

WRITER = RequestWriter(lambda: b"z9hG4bK-new", b"test")

ROUTES = (
    (b"Record-Route", b"<sip:p2.example;lr>, <sip:p1.example:5070;lr>"),
    (b"Record-Route", b"<sip:p0.example;lr>"),
)


def read(data: bytes) -> Any:
    return parse_message(data)


def origin(sent: Any) -> InitialRequest:
    """What is known of a request of ours, from how it reads."""
    return InitialRequest(
        sent.uri,
        sent.first(b"From"),
        sent.from_tag,
        sent.first(b"To"),
        sent.call_id,
        sent.cseq.number,
    )


def within(dialog: Dialog, method: bytes = b"BYE") -> Any:
    """A request within the dialog, as the peer reads it."""
    return read(WRITER.within(dialog, method, FakeFlow(), PEER).data)


def callee(**fields: Any) -> Dialog:
    return Dialog.from_request(read(request(**fields)), b"mine", PEER)


def caller(contact: bytes = b"<sip:bob@192.0.2.50:5066>", **fields: Any) -> Dialog:
    sent = read(request(**fields))
    got = answer(sent, contact, fields.get("headers", ()))
    return Dialog.from_response(origin(sent), got, PEER)


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
        there = Dialog.from_response(origin(sent), got, PEER)
        self.assertEqual(there.key, key_of_response(got))
        here = Dialog.from_request(sent, b"theirs", PEER)
        bye = within(there, b"BYE")
        self.assertEqual(here.key, key_of_request(bye))
        self.assertEqual(here.key, dialog_key(b"call-1", b"theirs", b"f1"))

    def test_rfc_2543_peer_without_contact_and_tag(self) -> None:
        data = request().replace(b"Contact: <sip:alice@192.0.2.1:5060>\r\n", b"")
        dialog = Dialog.from_request(read(data.replace(b";tag=f1", b"")), b"mine", PEER)
        self.assertEqual(bytes(dialog.remote_target), b"sip:alice@192.0.2.1")
        self.assertEqual(dialog.remote_tag, b"")
        bye = within(dialog, b"BYE")
        self.assertIsNone(bye.to_tag)

    def test_answer_without_contact_is_reached_at_the_request_uri(self) -> None:
        self.assertEqual(bytes(caller(contact=b"").remote_target), b"sip:bob@192.0.2.9")

    def test_contact_that_is_no_sip_uri(self) -> None:
        for contact in (b"*", b"<tel:+123>", b"<sips:alice@192.0.2.1:5061>"):
            data = read(request().replace(b"<sip:alice@192.0.2.1:5060>", contact))
            self.assertRaises(SipParseError, Dialog.from_request, data, b"mine", PEER)
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
        def routes(count: int) -> tuple[tuple[bytes, bytes], ...]:
            return ((b"Record-Route", b",".join([b"<sip:p.example;lr>"] * count)),)

        for of in (callee, caller):
            self.assertEqual(len(of(headers=routes(70)).route_set), 70)
            self.assertRaises(SipParseError, of, headers=routes(71))

    def test_tag(self) -> None:
        self.assertEqual(tag(lambda: b"abc"), b"tabc")


class LifeTests(SynchronousTestCase):
    """What changes in a dialog: target, route set of an early one, the peer's CSeq."""

    def test_target_refresh(self) -> None:
        dialog = callee()
        within(dialog, b"INFO")
        changed = request(to_tag=b"mine", cseq=2).replace(b"192.0.2.1:5060>", b"192.0.2.77>")
        dialog.refresh_target(read(changed))
        self.assertEqual(within(dialog, b"BYE").uri, b"sip:alice@192.0.2.77")

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


class ConfirmTests(SynchronousTestCase):
    """RFC 3261 section 13.2.2.4: the 2xx says where an early dialog leads from now on."""

    def test_target_and_route_set_are_those_of_the_2xx(self) -> None:
        sent = read(request())
        early = answer(sent, b"<sip:ringing@192.0.2.50>", ROUTES)
        dialog = Dialog.from_response(origin(sent), early, PEER)
        key = dialog.key
        dialog.confirm(origin(sent), answer(sent, b"<sip:bob@192.0.2.51>"))
        self.assertEqual((dialog.key, dialog.route_set), (key, ()))
        self.assertEqual(within(dialog).uri, b"sip:bob@192.0.2.51")

    def test_one_that_led_nowhere(self) -> None:
        sent = read(request())
        early = answer(sent, b"<tel:1>")
        dialog = Dialog.from_unusable(origin(sent), early, ("192.0.2.3", 5060))
        dialog.confirm(origin(sent), answer(sent, b"<sip:bob@192.0.2.51>"))
        self.assertIsNone(dialog.detour)

    def test_a_2xx_that_cannot_be_used_changes_nothing(self) -> None:
        sent = read(request())
        dialog = Dialog.from_response(origin(sent), answer(sent, b"<sip:ringing@192.0.2.50>"), PEER)
        self.assertRaises(
            SipParseError, dialog.confirm, origin(sent), answer(sent, b"<tel:1>", ROUTES)
        )
        self.assertEqual(
            (bytes(dialog.remote_target), dialog.route_set), (b"sip:ringing@192.0.2.50", ())
        )
