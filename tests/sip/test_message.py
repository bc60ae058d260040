"""Messages: framing, header fields, typed values, limits, and the way back to bytes."""

from __future__ import annotations

import random
from unittest.mock import Mock, patch

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip import message
from sessioncore.sip.message import (
    Message,
    Request,
    Response,
    _read_carefully,
    _read_plain,
    build_response,
    parse_message,
    required_faults,
)
from sessioncore.sip.values import Uri
from tests.sip.samples import INVITE, RESPONSE, modest, request, response, with_lines

TYPED = [
    name
    for kind in (Message, Request)
    for name, value in vars(kind).items()
    if not name.startswith("_") and not callable(value)
]


class ReadingTests(SynchronousTestCase):
    def test_request(self) -> None:
        invite = request(INVITE)
        self.assertEqual((invite.method, invite.uri), (b"INVITE", b"sip:service@10.0.0.1:5060"))
        self.assertEqual(invite.request_uri.port, 5060)
        self.assertEqual(invite.via.branch, b"z9hG4bK-1")
        self.assertEqual(invite.via_count, 1)
        self.assertEqual((invite.from_tag, invite.to_tag), (b"88sja8x", None))
        self.assertEqual((invite.from_.tag, invite.from_.display), (b"88sja8x", b'"Alice"'))
        self.assertEqual(invite.call_id, b"987asjd97y7atg")
        self.assertEqual((invite.cseq.number, invite.cseq.method), (986759, b"INVITE"))
        assert invite.contact is not None
        self.assertEqual(bytes(invite.contact.uri), b"sip:alice@10.0.0.2:5061")
        self.assertEqual([bytes(r.uri) for r in invite.record_routes], [b"sip:p1;lr", b"sip:p2;lr"])
        self.assertEqual(invite.routes, [])
        self.assertEqual((invite.content_type, invite.content_length), (b"application/sdp", 4))
        self.assertEqual((invite.max_forwards, invite.expires, invite.date), (70, None, None))
        self.assertEqual((invite.body, invite.raw), (b"v=0\n", INVITE))
        self.assertIsNone(required_faults(invite))
        self.assertIn("INVITE", repr(invite))

    def test_response(self) -> None:
        ringing = response(RESPONSE)
        self.assertEqual((ringing.status, ringing.reason), (180, b"Ringing"))
        self.assertIsNone(required_faults(ringing))
        self.assertIn("180", repr(ringing))

    def test_typedValuesAreReadOnce(self) -> None:
        invite = request(INVITE)
        for name in ("via", "from_", "contacts", "request_uri"):
            self.assertIs(getattr(invite, name), getattr(invite, name))

    def test_typedAloneSayTheSameAsAfterRequiredFaults(self) -> None:
        alone, checked = request(INVITE), request(INVITE)
        required_faults(checked)
        for name in TYPED:
            self.assertEqual(getattr(alone, name), getattr(checked, name), name)


class RequiredValueTests(SynchronousTestCase):
    """Values every message needs: read at once they say the same as one by one."""

    NAMES = ("via", "from_tag", "from_uri", "to_tag", "to_uri", "call_id", "cseq")

    def agree(self, data: bytes) -> bool:
        """Whether they were read at once."""
        try:
            plain, alone = parse_message(data), parse_message(data)
        except SipParseError:
            return False
        at_once = _read_plain(plain, plain._firsts)
        if at_once:
            for name in self.NAMES:
                self.assertEqual(vars(plain)[name], getattr(alone, name), name)
            self.assertNotEqual((plain.via.branch or b"").lower(), b"z9hg4bk")
        return at_once

    def test_plain(self) -> None:
        for old, new in (
            (b"", b""),
            (b";branch=z9hG4bK-1;rport", b";rport;branch=z9hG4bK-1"),
            (b";branch=z9hG4bK-1;rport", b";rport=5; received=::1;Branch = z9hG4bK-1"),
            (b"z9hG4bK-1", b'"z9hG4bK-1"'),
            (b"z9hG4bK-1", b"z9hG4bK-1;received=1.1.1.1"),
            (b"z9hG4bK-1;rport", b'z9hG4bK-1;x="a,b;c"'),
            (b"5060>\r", b"5060>;tag=1\r"),
            (b"sip:alice", b"tel:"),
            (b"986759", b"0986759"),
            (b"Contact", b"Via: SIP/2.0/UDP p, SIP/2.0/UDP q\r\nContact"),
        ):
            self.assertTrue(self.agree(INVITE.replace(old, new)), new)
        self.assertTrue(self.agree(RESPONSE))

    def test_notPlain(self) -> None:
        long = b"x" * 256
        for old, new in (
            (b"UDP 10", b"UDP p, SIP/2.0/UDP 10"),
            (b"UDP 10.0.0.2", b"UDP " + long),
            (b"z9hG4bK-1", b"z9hG4bK"),
            (b";branch=z9hG4bK-1;rport", b""),
            (b"z9hG4bK-1;", b"z9hG4bK;received=1.1.1.1;"),
            (b":5061;", b":0;"),
            (b"alice@10.0.0.2>", b"alice>@10.0.0.2>"),
            (b"alice@10.0.0.2>", long + b"@10.0.0.2>"),
            (b";tag=88sja8x", b";tag=88sja8x;x=1"),
            (b";tag=88sja8x", b';tag="88sja8x"'),
            (b"To: <sip:service@10.0.0.1:5060>", b"To: sip:service@10.0.0.1:5060"),
            (b"987asjd97y7atg", b"987asjd 97y7atg"),
            (b"987asjd97y7atg", b""),
            (b"986759 ", b"4294967296 "),
            (b"986759 INVITE", b"986759 " + long),
            (b"CSeq", b"See"),
        ):
            self.assertIn(old, INVITE)
            self.assertFalse(self.agree(INVITE.replace(old, new)), new)

    @settings(modest, max_examples=1000)
    @given(st.integers(0, 2**32), st.integers(1, 3))
    def test_mutated(self, seed: int, count: int) -> None:
        head, _, rest = INVITE.partition(b"Via")
        self.agree(head + mutated(b"Via" + rest, seed, count))

    def test_everyByteReplaced(self) -> None:
        agreed = 0
        for at in range(len(INVITE)):
            for byte in b'\x00\t\x0b ",.;<=>@x\\\xff':
                agreed += self.agree(INVITE[:at] + bytes([byte]) + INVITE[at + 1 :])
        self.assertGreater(agreed, 1000)


class FramingTests(SynchronousTestCase):
    def refused(self, data: bytes, status: int = 400) -> Request:
        error = self.assertRaises(SipParseError, parse_message, data)
        self.assertEqual(error.status, status)
        assert isinstance(error.request, Request)
        return error.request

    def dropped(self, data: bytes) -> SipParseError:
        error = self.assertRaises(SipParseError, parse_message, data)
        self.assertIsNone(error.request)
        return error

    def test_bodyIsCutToContentLength(self) -> None:
        self.assertEqual(request(INVITE + b"INVITE more").body, b"v=0\n")

    def test_withoutContentLengthTheRestIsTheBody(self) -> None:
        data = INVITE.replace(b"Content-Length: 4\r\n", b"")
        self.assertEqual(request(data + b"more").body, b"v=0\nmore")

    def test_bodyTooShort(self) -> None:
        self.assertEqual(self.refused(INVITE[:-1]).body, b"v=0")

    def test_brokenContentLength(self) -> None:
        for value in (b"-1", b"4 4", b"4,4", b"", b"x", b"+4", b"1_0", b"9" * 50):
            self.refused(INVITE.replace(b"Length: 4", b"Length: " + value))
        self.refused(INVITE.replace(b"Length: 4", b"Length: 4\r\nl: 4"))
        self.assertEqual(request(INVITE.replace(b"Length: 4", b"Length: 0004")).body, b"v=0\n")

    def test_lineBreaksBeforeTheStartLine(self) -> None:
        message = request(b"\r\n\r\n" + INVITE)
        self.assertEqual(message.call_id, b"987asjd97y7atg")
        self.assertTrue(message.raw.startswith(b"\r\n\r\n"))

    def test_keepAlives(self) -> None:
        for data in (b"", b"\r\n", b"\r\n\r\n", b"\x00", b"\x00\x00\x00\x00", b" "):
            self.dropped(data)

    def test_lfOnly(self) -> None:
        """Accepted on UDP; a body keeps its own line ends."""
        head, _, body = INVITE.partition(b"\r\n\r\n")
        lf = head.replace(b"\r\n", b"\n") + b"\n\n"
        message = request(lf + body)
        self.assertEqual(message.headers, request(INVITE).headers)
        self.assertEqual(message.body, body)
        mixed = lf.replace(b"Length: 4", b"Length: 9") + b"a\r\n\r\nb\n\nc"
        self.assertEqual(request(mixed).body, b"a\r\n\r\nb\n\nc"[:9])
        half = head.replace(b"\r\nTo", b"\nTo") + b"\r\n\r\n"
        self.assertEqual(request(half + body).headers, request(INVITE).headers)

    def test_bareCarriageReturn(self) -> None:
        """Others take it for a line end, so it must not get through to an answer."""
        for data in (
            INVITE.replace(b"987asjd", b"987\rX-Evil: 1"),
            INVITE.replace(b"987asjd", b"987\rX").replace(b"\r\nTo", b"\nTo"),
            INVITE.replace(b"sip:service@10.0.0.1:5060>", b"sip:service@10.0.0.1:5060>\r"),
        ):
            salvaged = self.refused(data)
            self.assertNotIn(b"\r", b"".join(value for _, value in salvaged.headers))

    def test_folding(self) -> None:
        for fold in (b"\r\n ", b"\r\n\t", b"\n  ", b" \r\n \r\n\t "):
            data = INVITE.replace(b"INVITE\r\nContact", b"INVITE\r\nZ: a" + fold + b"b\r\nContact")
            message = request(data)
            value = message.first(b"Z")
            assert value is not None
            self.assertEqual(value.split(), [b"a", b"b"])
            self.assertEqual(len(message.headers), len(request(INVITE).headers) + 1)
            self.assertIsNone(required_faults(message))
        message = request(INVITE.replace(b"CSeq: 986759 ", b"CSeq:\r\n 986759\r\n\t"))
        self.assertEqual(message.cseq, (986759, b"INVITE"))

    def test_foldedStartLine(self) -> None:
        salvaged = self.refused(INVITE.replace(b"\r\nVia", b"\r\n Via"))
        self.assertEqual(salvaged.headers, request(INVITE).headers[1:])

    def test_noEmptyLine(self) -> None:
        for data in (INVITE.partition(b"\r\n\r\n")[0], INVITE.partition(b"\r\nContent-Type")[0]):
            self.assertEqual(self.refused(data).call_id, b"987asjd97y7atg")
            self.assertEqual(self.refused(data + b"\r\n").call_id, b"987asjd97y7atg")

    def test_oddNames(self) -> None:
        data = INVITE.replace(b"Call-ID:", b"cAlL-iD \t :").replace(b"Via: ", b"V:")
        self.assertEqual(request(data).headers, request(INVITE).headers)

    def test_brokenHeaderLines(self) -> None:
        for line in (
            b"no colon",
            b"nocolon",
            b"Subject",
            b": no name",
            b"Call ID: x",
            b"B\x00d: x",
            b"\xff: x",
        ):
            salvaged = self.refused(INVITE.replace(b"Max-Forwards: 70", line))
            self.assertEqual(salvaged.content_type, b"application/sdp")
            self.assertEqual(len(salvaged.headers), len(request(INVITE).headers) - 1)

    def test_brokenRequestLines(self) -> None:
        for line in (
            b"INVITE  sip:a@b SIP/2.0",
            b"INVITE sip:a@b SIP/2.0 ",
            b"INVITE sip:a@b ;lr SIP/2.0",
            b"INVITE\tsip:a@b SIP/2.0",
        ):
            salvaged = self.refused(INVITE.replace(INVITE.partition(b"\r\n")[0], line))
            self.assertEqual(salvaged.method, b"INVITE")
            self.assertIsNone(
                required_faults(parse_message(build_response(salvaged, 400, to_tag=b"x")))
            )

    def test_whatIsNoSip(self) -> None:
        for line in (
            b"GET / HTTP/1.1",
            b"INVITE sip:a@b",
            b"INVITE SIP/2.0",
            b"SIP/2.0",
            b"SIP/2.0 20 OK",
            b"SIP/2.0 2000 OK",
            b"SIP/2.0 2x0 OK",
            b"HTTP/1.1 200 OK",
        ):
            self.dropped(INVITE.replace(INVITE.partition(b"\r\n")[0], line))

    def test_versions(self) -> None:
        salvaged = self.refused(INVITE.replace(b" SIP/2.0\r\nVia", b" SIP/3.0\r\nVia"), 505)
        self.assertEqual((salvaged.version, salvaged.call_id), (b"SIP/3.0", b"987asjd97y7atg"))
        self.assertEqual(self.dropped(RESPONSE.replace(b"SIP/2.0 180", b"SIP/3.0 180")).status, 505)
        # 7.1: the version is compared in any case.
        request(INVITE.replace(b" SIP/2.0\r\nVia", b" sip/2.0\r\nVia"))
        response(RESPONSE.replace(b"SIP/2.0 180", b"Sip/2.0 180"))

    def test_otherVersionIs505WhateverElseIsWrong(self) -> None:
        self.refused(INVITE.replace(b" SIP/2.0\r\nVia", b" SIP/3.0\r\nVia")[:-1], 505)

    def test_brokenResponseIsNotAnswered(self) -> None:
        self.dropped(RESPONSE[:-1])

    def test_messageLimit(self) -> None:
        self.assertEqual(self.dropped(INVITE.ljust(65_536)).status, 513)
        request(INVITE.ljust(65_535))

    def test_headerLimit(self) -> None:
        room = 256 - 8
        self.assertEqual(len(request(with_lines(*[b"Z: 1"] * room)).headers), 256)
        salvaged = self.refused(with_lines(*[b"Z: 1"] * (room + 1)))
        self.assertEqual(len(salvaged.headers), 256)
        # What is folded is one field, and folding no way around the limit (7.3.1).
        folded = [b"Z: 1", b" 2", b"\t3"]
        message = request(with_lines(*folded * room))
        self.assertEqual((len(message.headers), message.first(b"Z")), (256, b"1 2 3"))
        self.refused(with_lines(*folded * (room + 1)))

    def test_lineLimit(self) -> None:
        request(with_lines(b"Z: " + b"x" * 16_381))
        self.refused(with_lines(b"Z: " + b"x" * 16_382))
        # Folding is no way around it.
        self.refused(with_lines(b"Z:", *[b" " + b"x" * 8000] * 3))
        self.refused(INVITE.replace(b"sip:service@", b"sip:" + b"s" * 16_384 + b"@", 1))
        self.refused(b"INVITE sip:" + b"s" * 20_000 + b" SIP/2.0\r\n\r\n")
        # A long body is no long line.
        request(with_lines() + b"x" * 40_000)


class RequiredFaultTests(SynchronousTestCase):
    def fault(self, *lines: bytes, without: bytes = b"") -> str | None:
        return required_faults(request(with_lines(*lines, without=without)))

    def test_none(self) -> None:
        self.assertIsNone(self.fault())

    def test_repeated(self) -> None:
        for line in (
            b"From: <sip:a@b>;tag=1",
            b"To: <sip:a@b>",
            b"Call-ID: x",
            b"CSeq: 986759 INVITE",
        ):
            self.assertIn("more than one", str(self.fault(line)))
        self.assertIsNone(
            self.fault(b"Contact: <sip:x@y>", b"Via: SIP/2.0/UDP h", b"Z: 1", b"Z: 2")
        )

    def test_content_type_is_judged_only_where_there_is_a_body_and_a_doubt(self) -> None:
        twice = INVITE.replace(b"Content-Type", b"c: text/plain\r\nContent-Type")
        self.assertIn("more than one", str(required_faults(parse_message(twice))))
        same = twice.replace(b"text/plain", b"application/sdp")
        self.assertIsNone(required_faults(parse_message(same)))
        self.assertIsNone(self.fault(b"c: a/b", b"c: a/c"))

    def test_unreadable(self) -> None:
        for line in (
            b"Via: x",
            b"From: x",
            b"To: <",
            b"CSeq: x",
            b"Contact: ;",
            b"Contact: <sip:a>, ",
        ):
            self.assertIsNotNone(self.fault(line, without=line.partition(b":")[0]), line)

    def test_everyContactIsRead(self) -> None:
        for line in (b"Contact: <sip:a@b>, <sip:c@d>", b"m: <sip:a@b>\r\nm: <sip:c@d>"):
            message = request(with_lines(line, without=b"Contact"))
            self.assertIsNone(required_faults(message))
            self.assertEqual(len(message.contacts), 2)
            broken = request(with_lines(line.replace(b"c@d", b""), without=b"Contact"))
            self.assertIn("URI", str(required_faults(broken)))

    def test_viasInOneHeaderField(self) -> None:
        line = b"Via: SIP/2.0/UDP h;branch=z9hG4bK1 , SIP/2.0/UDP g"
        self.assertIsNone(self.fault(line, without=b"Via"))
        self.assertIsNotNone(self.fault(line + b",", without=b"Via"))

    def test_optional(self) -> None:
        self.assertIsNone(self.fault(without=b"Max-Forwards"))
        self.assertIsNone(self.fault(without=b"Contact"))

    def test_cseqMethod(self) -> None:
        self.assertIn("method", str(self.fault(b"CSeq: 1 ACK", without=b"CSeq")))
        # Methods are case-sensitive (7.1).
        self.assertIn("method", str(self.fault(b"CSeq: 1 invite", without=b"CSeq")))
        # A response has no method of its own.
        self.assertIsNone(required_faults(response(RESPONSE.replace(b"9 INVITE", b"9 BYE"))))

    def test_magicCookieAlone(self) -> None:
        for branch in (b"z9hG4bK", b"Z9HG4BK"):
            line = b"Via: SIP/2.0/UDP h;branch=" + branch
            self.assertIn("branch", str(self.fault(line, without=b"Via")))
        self.assertIsNone(self.fault(b"Via: SIP/2.0/UDP h;branch=1", without=b"Via"))
        self.assertIsNone(self.fault(b"Via: SIP/2.0/UDP h", without=b"Via"))

    def test_requestUri(self) -> None:
        data = with_lines()
        for bad in (b"<sip:a@b>", b"sip:2001:db8:::z", b"service"):
            message = request(data.replace(b"sip:service@10.0.0.1:5060 ", bad + b" "))
            self.assertIn("URI", str(required_faults(message)))
        message = request(data.replace(b"sip:service@10.0.0.1:5060 ", b"tel:+1 "))
        self.assertIsNone(required_faults(message))
        error = self.assertRaises(SipParseError, lambda: message.request_uri)
        self.assertEqual(error.status, 416)


def mutated(data: bytes, seed: int, count: int) -> bytes:
    """A message with some of its bytes and pieces deleted, repeated, replaced or inserted."""
    choose = random.Random(seed)
    pieces = [b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b'"', b"<", b">", b"=", b"\x00"]
    pieces += [b"%", b"[", b"\xff", b"9" * 12, b"\r\n ", b"Via: ", b"l: 1\r\n", b"SIP/2.0", b"\\"]
    for _ in range(count):
        at = choose.randrange(len(data) + 1)
        to = min(len(data), at + choose.choice((0, 1, 1, 4, 30)))
        piece = choose.choice([*pieces, data[at:to] * 2, bytes([choose.randrange(256)])])
        data = data[:at] + piece + data[to:]
    return data


def everything(message: Request | Response) -> dict[str, object]:
    """What was read of a message, whichever way."""
    said = dict(vars(message), headers=message.headers, repeated=dict(message._repeated))
    if isinstance(message, Request):
        said["version"] = message.version
    said.pop("_repeated", None)
    return said


class PlainTests(SynchronousTestCase):
    """The short way to read what nearly every message is says the same as the long one."""

    def agree(self, data: bytes) -> bool:
        """Whether it was read the short way."""
        careful = Mock(wraps=_read_carefully)
        with patch.object(message, "_read_carefully", careful):
            try:
                plain = parse_message(data)
            except SipParseError:
                self.assertTrue(careful.called)
                return False
        if not careful.called:
            self.assertEqual(everything(plain), everything(_read_carefully(data)))
        return not careful.called

    def test_whatGoesTheShortWay(self) -> None:
        several = with_lines(b"Via: SIP/2.0/UDP h", b"X-Y:1", b"k: a", b"x-y: 2", b"Subject:")
        for data in (INVITE, RESPONSE, several, INVITE + b"more", INVITE.replace(b": ", b":\t ")):
            self.assertTrue(self.agree(data))

    def test_emptyValuesGoTheShortWay(self) -> None:
        for value in (b"", b" ", b"\t", b" \t ", b"\v", b"\f"):
            for old in (b"Max-Forwards: 70", b"Content-Length: 4"):
                name = old.partition(b" ")[0]
                data = INVITE.replace(old, b"Supported:" + value + b"\r\n" + name + b" 4")
                self.assertTrue(self.agree(data), value)
                self.assertEqual(parse_message(data).first(b"Supported"), b"")
        self.assertTrue(self.agree(INVITE.replace(b"Content-Length: 4", b"Supported: ")))

    def test_whatGoesTheLongWay(self) -> None:
        for old, new in (
            (b"To:", b"To :"),
            (b"To:", b" To:"),
            (b"Call-ID: ", b"Call-ID:\r\n "),
            (b"To:", b"To"),
            (b"\r\nTo:", b"\nTo:"),
            (b"\r\nTo:", b"\rTo:"),
            (b"\r\nTo:", b"\r\r\nTo:"),
            (b"\r\nTo:", b" \r\nTo:"),
            (b"\r\nTo:", b"\x0c\r\nTo:"),
            (b"SIP/2.0\r", b"sip/2.0\r"),
            (b"Length: 4", b"Length: 5"),
            (b"Length: 4", b"Length: 4\r\nl: 4"),
            (b"INVITE sip", b"\r\nINVITE sip"),
        ):
            self.assertIn(old, INVITE)
            self.assertFalse(self.agree(INVITE.replace(old, new, 1)), new)

    @settings(modest, max_examples=1000)
    @given(st.integers(0, 2**32), st.integers(1, 3), st.booleans())
    def test_mutated(self, seed: int, count: int, answer: bool) -> None:
        self.agree(mutated(RESPONSE if answer else INVITE, seed, count))

    def test_everyByteReplaced(self) -> None:
        agreed = 0
        for at in range(len(INVITE)):
            for byte in (b"\x00", b"\n", b"\r", b"\t", b"\x0b", b" ", b":", b"x", b"\xff"):
                agreed += self.agree(INVITE[:at] + byte + INVITE[at + 1 :])
        self.assertGreater(agreed, 1000)


class SurvivalTests(SynchronousTestCase):
    def survive(self, data: bytes) -> None:
        """Either parses or raises SipParseError, with every typed value, and can be answered."""
        try:
            message: Message = parse_message(data)
        except SipParseError as error:
            self.assertIn(error.status, (400, 505, 513))
            if error.request is None:
                return
            message = error.request
        for name, value in message.headers:
            self.assertNotRegex(name + value, rb"[\r\n]")
        fault = required_faults(message)
        for name in TYPED:
            if hasattr(type(message), name):
                try:
                    getattr(message, name)
                except SipParseError as error:
                    self.assertIn(error.status, (400, 416))
        if isinstance(message, Request):
            via = None
            if fault is None:
                via = message.via.with_received(("192.0.2.1", 5060))
            answer = response(build_response(message, 400, to_tag=b"t", via=via, record_route=True))
            if fault is None:
                self.assertIsNone(required_faults(answer))
                self.assertEqual(answer.via_count, message.via_count)
                self.assertEqual(answer.call_id, message.call_id)
                self.assertEqual(answer.from_tag, message.from_tag)
                self.assertEqual(answer.to_tag, message.to_tag or b"t")
                self.assertEqual(answer.via.received, b"192.0.2.1")

    @settings(modest, max_examples=300)
    @given(st.binary(max_size=200))
    @example(b"\r\n")
    @example(b"INVITE sip:a SIP/2.0\r\n\r\n")
    def test_anyBytes(self, data: bytes) -> None:
        self.survive(data)
        self.survive(b"INVITE sip:a@b SIP/2.0\r\n" + data)

    @settings(modest, max_examples=1000)
    @given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
    def test_mutatedMessages(self, seed: int, count: int, answer: bool) -> None:
        self.survive(mutated(RESPONSE if answer else INVITE, seed, count))

    @modest
    @given(st.integers(0, 2**32))
    def test_mutatedFoldedMessages(self, seed: int) -> None:
        folded = INVITE.replace(b": ", b" :\r\n ").replace(b";", b" \r\n\t; ")
        self.assertIsNone(required_faults(request(folded)))
        self.survive(mutated(folded, seed, 3))

    def test_everyPrefix(self) -> None:
        for end in range(len(INVITE)):
            self.survive(INVITE[:end])

    def test_everyByteReplaced(self) -> None:
        for at in range(len(INVITE)):
            for byte in (b"\x00", b"\n", b"\r", b'"', b"<", b",", b"\xff"):
                self.survive(INVITE[:at] + byte + INVITE[at + 1 :])

    def test_uriInEveryAddress(self) -> None:
        invite = request(INVITE)
        for value in (invite.from_, invite.to, *invite.contacts, *invite.record_routes):
            self.assertIsInstance(value.uri, Uri)
