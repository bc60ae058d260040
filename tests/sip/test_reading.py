"""A message is judged by what it is needed for, and read where its meaning is plain.

Every test here is named for something that a real peer sent.  What each reader of values makes
of it is in the tests of that reader; here it goes through the transaction layer.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip import message as reading
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.message import Message, Request, parse_message, required_faults
from sessioncore.sip.values import (
    parse_contact,
    parse_name_addr,
    parse_route,
    parse_uri,
    parse_via,
    read_tag,
)
from tests.sip.fakes import PEER, Bench, request, response

ODD = (
    b"Contact: <sip:>",
    b'Contact: "x',
    b"Contact: *, ,;",
    b"Contact: <sip:bob@a b>",
    b"Content-Type: a/b\r\nContent-Type: c/d",
    b"Content-Type: nonsense",
    b"Max-Forwards: 70\r\nMax-Forwards: 70",
    b"Max-Forwards: x",
    b"Max-Forwards: 700",
    b"Date: yesterday",
    b"Date: Fri, 01 Jan 2010 16:00:00 EST",
    b"Record-Route: <",
    b'Route: "',
    b"Expires: soon",
    b'Supported: "',
    b"Reason: \x00\xff;;;",
    b"this is not a header field",
    b": nameless",
    b"Content-Length: x",
    b"Content-Length: 0",
    b"X-Long: " + b"x" * 17_000,
    b"X-Many: 1\r\n" * 300 + b"X-Many: 2",
)
"""Header fields that nobody needs to match, acknowledge or end."""


def odd(data: bytes, lines: bytes) -> bytes:
    """The message with other header fields in place of its Contact and Max-Forwards."""
    head, end, body = data.partition(b"\r\n\r\n")
    kept = [
        line
        for line in head.split(b"\r\n")
        if not line.startswith((b"Contact", b"Max-Forwards", b"Date"))
    ]
    return b"\r\n".join([*kept[:1], lines, *kept[1:]]) + end + body


class NeededTests(SynchronousTestCase):
    """Via, Call-ID, CSeq and the tags suffice to match, acknowledge and end."""

    def test_a_response_with_odd_fields_reaches_its_transaction(self) -> None:
        for lines in ODD:
            for status in (180, 200, 302, 486, 603):
                with self.subTest(lines=lines[:40], status=status):
                    bench = Bench()
                    tx = bench.invite()
                    bench.flow.take()
                    bench.receive(odd(response(tx, status), lines))
                    self.assertEqual(bench.user.take(), [("response", status)])
                    self.assertEqual(bench.layer.counters.malformed, 0)
                    acknowledged = [b"ACK"] if status >= 300 else []
                    self.assertEqual(bench.flow.methods(), acknowledged)

    def test_a_bye_with_odd_fields_is_answered(self) -> None:
        for lines in ODD:
            with self.subTest(lines=lines[:40]):
                bench = Bench()
                bench.user.answers[b"BYE"] = [200]
                bench.receive(odd(request(b"BYE", to_tag=b"t"), lines))
                self.assertEqual(bench.flow.statuses(), [200])
                self.assertEqual(bench.layer.counters.malformed, 0)

    def test_an_ack_with_odd_fields_is_read(self) -> None:
        for lines in ODD:
            with self.subTest(lines=lines[:40]):
                bench = Bench()
                bench.receive(odd(request(b"ACK", to_tag=b"t"), lines))
                self.assertEqual(bench.user.take(), [("ack", 1)])

    def test_an_ack_with_odd_fields_ends_the_repeats_of_a_refusal(self) -> None:
        for lines in ODD:
            with self.subTest(lines=lines[:40]):
                bench = Bench()
                bench.receive(request())
                tx = bench.user.transactions[0]
                bench.now += 1
                tx.respond(486, now=bench.now)
                bench.receive(odd(request(b"ACK", to_tag=tx.to_tag), lines))
                bench.flow.take()
                bench.advance(40)
                self.assertEqual(bench.flow.statuses(), [])

    def test_a_cancel_with_odd_fields_cancels(self) -> None:
        for lines in ODD:
            with self.subTest(lines=lines[:40]):
                bench = Bench()
                bench.receive(request())
                bench.receive(odd(request(b"CANCEL"), lines))
                self.assertEqual(bench.flow.statuses(), [200])
                self.assertEqual(bench.user.take()[1:], [("cancel", b"call-1")])

    def test_only_the_tags_of_their_from_and_to_are_needed(self) -> None:
        for old, new in (
            (b"<sip:alice@192.0.2.1>", b'"Alice <sip:alice@192.0.2.1>'),
            (b"<sip:alice@192.0.2.1>", b"<sip:alice@192.0.2 1>"),
            (b"<sip:alice@192.0.2.1>", b"nonsense"),
            (b"<sip:bob@192.0.2.9>", b"< sip:bob@192.0.2.9 >"),
            (b"<sip:bob@192.0.2.9>", b"<sip:bob@:70000>"),
            (b"sip:bob@192.0.2.9 SIP/2.0", b"nonsense SIP/2.0"),
        ):
            data = request(b"BYE", to_tag=b"t1")
            self.assertIn(old, data)
            bye = parse_message(data.replace(old, new))
            self.assertIsNone(required_faults(bye), new)
            self.assertEqual((bye.from_tag, bye.to_tag), (b"f1", b"t1"))
            invite = parse_message(request().replace(old, new))
            self.assertIsNotNone(required_faults(invite), new)

    def test_tags(self) -> None:
        for value, tag in (
            (b'"x <sip:a@b>;tag=1', b"1"),
            (b'"x <sip:a@b>; Tag = 1;y', b"1"),
            (b"<sip:a@b;tag=0>x;tag=1", b"1"),
            (b"nonsense;tag=1", b"1"),
            (b"<sip:a@b;tag=1> x", None),
            (b"", None),
        ):
            self.assertEqual(read_tag(value), tag, value)
        for value in (b'"x <sip:a@b>;tag=', b"x <;tag=@", b"<sip:a@b>;tag=\xff"):
            self.assertRaises(SipParseError, read_tag, value)

    def test_what_they_do_need_is_judged(self) -> None:
        """Without them there is nothing to match, or the rest of the message is missing."""
        bye = request(b"BYE", to_tag=b"t")
        for old, new in (
            (b"Via: SIP/2.0/UDP ", b"Via: "),
            (b"Call-ID: call-1", b"Call-ID: call 1"),
            (b"CSeq: 1 BYE", b"CSeq: 1"),
            (b"CSeq: 1 BYE", b"CSeq: 1 INVITE"),
            (b"CSeq: 1 BYE", b"CSeq: 1 BYE\r\nCSeq: 2 BYE"),
            (b"tag=t", b"tag=@"),
            (b"Content-Length: 0", b"Content-Length: 1"),
            (b"\r\n\r\n", b"\r\n"),
        ):
            self.assertIn(old, bye)
            bench = Bench()
            bench.receive(bye.replace(old, new))
            self.assertEqual((bench.flow.statuses(), bench.user.log), ([400], []), new)

    def test_an_invite_whose_contact_we_need_stays_judged(self) -> None:
        for lines in (b"Contact: <sip:>", b"Contact: <sip:a@b>, ;", b"m: <sip:a:0>"):
            bench = Bench()
            bench.receive(odd(request(), lines))
            self.assertEqual(bench.flow.statuses(), [400])
            bench.receive(odd(request(b"OPTIONS"), lines))
            self.assertEqual(bench.user.take(), [("request", b"OPTIONS")])

    def test_two_vias_of_which_one_cannot_be_read_raise_nothing(self) -> None:
        bench = Bench()
        data = response(bench.invite(), 200).replace(b"From:", b'Via: x, "\r\nFrom:')
        bench.receive(data)
        self.assertEqual((bench.user.log, bench.layer.counters.several_vias), ([], 1))

    def test_python_alone_says_the_same(self) -> None:
        self.patch(reading, "_read_compiled", None)
        self.patch(reading, "_require_compiled", None)
        for test in (
            self.test_a_response_with_odd_fields_reaches_its_transaction,
            self.test_a_bye_with_odd_fields_is_answered,
            self.test_only_the_tags_of_their_from_and_to_are_needed,
            self.test_what_they_do_need_is_judged,
            self.test_an_invite_whose_contact_we_need_stays_judged,
        ):
            test()


class ManyFieldsTests(SynchronousTestCase):
    """More than 256 header fields."""

    def many(self, data: bytes, more: bytes) -> bytes:
        start, line, rest = data.partition(b"\r\n")
        via, _, behind = rest.partition(b"\r\n")
        return start + line + via + line + more + behind

    def test_a_refusal_can_be_matched(self) -> None:
        via = b"Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK%d\r\n"
        for more in (b"X: 1\r\n" * 300, b"".join([via % each for each in range(300)])):
            for method in (b"INVITE", b"OPTIONS", b"REGISTER"):
                bench = Bench()
                data = self.many(request(method), more)
                bench.receive(data)
                (answer,) = bench.flow.take()
                self.assertEqual(answer.status, 400)
                asked = parse_message(request(method))
                for name in (b"From", b"Call-ID", b"CSeq"):
                    self.assertEqual(answer.all(name), asked.all(name))
                self.assertTrue(answer.first(b"To").startswith(asked.first(b"To")))
                self.assertEqual(len(answer.all(b"Via")), more.count(b"Via") + 1)
                self.assertEqual(bench.layer.counters.malformed, 1)

    def test_an_ack_and_garbage_are_dropped_and_counted(self) -> None:
        bench = Bench()
        bench.receive(b"INVITE sip:a@b SIP/2.0\r\n" + b"X: 1\r\n" * 300 + b"\r\n")
        self.assertEqual((bench.flow.sent, bench.layer.counters.malformed), ([], 1))


class UriTests(SynchronousTestCase):
    """URIs of a peer are kept as they came, and sent back so."""

    SEEN = (
        b'sip:bob@192.0.2.1:5070;thinfo="VG8=="',
        b"sip:bob@192.0.2.1:5070;ob;+sip.instance=a=b;x={y}",
        b"sip:bob@192.0.2.1:5070;transport=UDP;x=|^\\",
        b"sip:b\xc3\xb6b@192.0.2.1:5070",
        b"sip:a|b@192.0.2.1:5070;;x",
        b"sip:50%@192.0.2.1:5070",
        b'sip:192.0.2.1:5070;x="a@b;c?d"',
    )

    def test_a_contact_is_sent_back_as_it_came(self) -> None:
        for uri in self.SEEN:
            invite = parse_message(request().replace(b"sip:alice@192.0.2.1:5060", uri))
            assert isinstance(invite, Request)
            self.assertIsNone(required_faults(invite), uri)
            dialog = Dialog.from_request(invite, b"us", PEER)
            self.assertEqual(dialog.routing, (uri, ()))
            self.assertEqual((dialog.next_hop.host, dialog.next_hop.port), (b"192.0.2.1", 5070))

    def test_a_route_is_sent_back_as_it_came(self) -> None:
        for uri in self.SEEN:
            line = b"Record-Route: <%b;lr>\r\nContact" % uri
            invite = parse_message(request().replace(b"Contact", line))
            assert isinstance(invite, Request)
            dialog = Dialog.from_request(invite, b"us", PEER)
            self.assertEqual(dialog.routing[1], ((b"Route", b"<%b;lr>" % uri),))

    def test_what_is_read_of_them(self) -> None:
        uri = parse_uri(b'sip:a;b@h:1;thinfo="x;lr;maddr=1.1.1.1";Transport=tcp;%6Cr')
        self.assertEqual((uri.scheme, uri.user, uri.host, uri.port), (b"sip", b"a;b", b"h", 1))
        self.assertEqual(
            uri.params, {b"thinfo": b'"x;lr;maddr=1.1.1.1"', b"transport": b"tcp", b"lr": None}
        )

    def test_none_can_break_out_of_a_line_or_its_brackets(self) -> None:
        for text in (b"\r\n", b"\n", b" ", b"\t", b">", b"<", b"\x00", b"\x7f"):
            for place in (b"sip:%b@h", b"sip:h;x=%b", b'sip:h;x="%b"', b"sip:h?%b", b"sip:h;%b"):
                self.assertRaises(SipParseError, parse_uri, place % text)


class AddressTests(SynchronousTestCase):
    """Addresses are read where their meaning is plain."""

    def test_unquoted_display_names(self) -> None:
        for name in (
            "J\u00fcrgen \u4e2d\u6587".encode(),
            b"Bell, Alexander",
            b"O'Neil (home) @work; or not: [x]",
            b"\xff\xfe",
            b"a\\b",
        ):
            value = parse_name_addr(name + b" <sip:a@b;c>;tag=1")
            self.assertEqual((value.display, value.uri.raw, value.tag), (name, b"sip:a@b;c", b"1"))

    def test_a_contact_with_a_comma_in_its_unquoted_name(self) -> None:
        line = b"Contact: Bell, Alexander, <sip:alice@192.0.2.1:5062>;x, Q <sip:q@192.0.2.1>"
        invite = self.invite(line)
        self.assertEqual(
            [(each.display, each.uri.raw) for each in invite.contacts],
            [
                (b"Bell, Alexander,", b"sip:alice@192.0.2.1:5062"),
                (b"Q", b"sip:q@192.0.2.1"),
            ],
        )

    def invite(self, line: bytes) -> Message:
        invite = parse_message(odd(request(), line))
        self.assertIsNone(required_faults(invite))
        return invite

    def test_a_display_name_without_brackets(self) -> None:
        for text, display in (
            (b'"X" sip:x@h;tag=1', b'"X"'),
            (b'"X Y"sip:x@h;tag=1', b'"X Y"'),
            (b"X sip:x@h;tag=1", b"X"),
            (b"X  Y\tsip:x@h ; tag=1", b"X  Y"),
            (b" sip:x@h;tag=1", b""),
        ):
            value = parse_name_addr(text)
            found = (value.display, value.uri.raw, value.tag)
            self.assertEqual(found, (display, b"sip:x@h", b"1"), text)

    def test_an_ipv6_request_uri_without_brackets(self) -> None:
        for uri in (
            b"sip:2001:db8::10",
            b"sip:bob@2001:db8::10",
            b"sips:bob:x@2001:db8::10;transport=udp",
            b"sip:::1",
            b"sip:bob@::ffff:192.0.2.1",
        ):
            data = request(uri=uri)
            invite = parse_message(data)
            assert isinstance(invite, Request)
            self.assertIsNone(required_faults(invite), uri)
            self.assertEqual((invite.any_uri.raw, invite.uri), (uri, uri))
            # Where a host is needed, it is not clear whether this one ends with a port.
            self.assertIsNotNone(required_faults(parse_message(request(b"REGISTER", uri=uri))))
            self.assertRaises(SipParseError, parse_contact, b"<%b>" % uri)
        for uri in (b"sip:2001:db8:::zz", b"sip:1:z", b"sip::", b"tel:", b"sip:1::2::3"):
            self.assertIsNotNone(required_faults(parse_message(request(uri=uri))), uri)

    def test_rport_with_an_empty_value(self) -> None:
        for text in (
            b";rport=;branch=z9hG4bK1",
            b";branch=z9hG4bK1;rport=",
            b";rport = ;x;branch=1",
        ):
            via = parse_via(b"SIP/2.0/UDP h" + text)
            self.assertTrue(via.rport)
            written = via.with_received(("192.0.2.7", 7000))
            self.assertTrue(written.endswith(b";received=192.0.2.7;rport=7000"), written)
            self.assertEqual(written.count(b"rport"), 1)
        bench = Bench()
        bench.receive(request(b"OPTIONS", via_params=b";rport="), ("192.0.2.1", 7000))
        bench.user.transactions[0].respond(200, now=bench.now)
        self.assertEqual(bench.flow.take()[0].address, ("192.0.2.1", 7000))

    def test_routes_without_brackets(self) -> None:
        for text in (b"sip:p1.example.com;lr", b" sip:p1.example.com;lr=on"):
            route = parse_route(text.strip())
            self.assertEqual(route.uri.raw, text.strip())
            self.assertIn(b"lr", route.uri.params)  # type: ignore[union-attr]
        invite = self.invite(b"Record-Route: sip:192.0.2.3;lr, sip:192.0.2.4:5070;lr;x=y")
        assert isinstance(invite, Request)
        dialog = Dialog.from_request(invite, b"us", PEER)
        self.assertEqual(
            dialog.routing[1],
            ((b"Route", b"<sip:192.0.2.3;lr>"), (b"Route", b"<sip:192.0.2.4:5070;lr;x=y>")),
        )
        self.assertRaises(SipParseError, parse_route, b"nonsense")

    def test_64_routes(self) -> None:
        """And six more: a request cannot pass more proxies than Max-Forwards allows."""
        for count, good in ((1, True), (64, True), (70, True), (71, False)):
            line = b"\r\n".join([b"Record-Route: <sip:192.0.2.%d;lr>" % at for at in range(count)])
            invite = self.invite(line)
            assert isinstance(invite, Request)
            if good:
                dialog = Dialog.from_request(invite, b"us", PEER)
                self.assertEqual(len(dialog.routing[1]), count)
            else:
                self.assertRaises(SipParseError, Dialog.from_request, invite, b"us", PEER)
