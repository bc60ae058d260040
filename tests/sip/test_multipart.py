"""Bodies of several parts: RFC 2046 section 5.1 as RFC 5621 uses it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sip.fields import Message
from sessioncore.sip.methods import SDP
from sessioncore.sip.multipart import is_multipart, is_optional, part_of
from tests.sip.samples import modest

OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"
MIXED = b"multipart/mixed;boundary=b1"


def part(content: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", content])


def described(*lines: bytes, content: bytes = OFFER) -> bytes:
    return part(content, b"Content-Type: application/sdp", *lines)


def joined(*parts: bytes, boundary: bytes = b"b1") -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, each) for each in parts) + b"--%b--" % boundary


def found(body: bytes, content_type: bytes = MIXED) -> bytes | None:
    return part_of(Message(body, b"", {b"Content-Type": content_type}), (SDP,))


class PartTests(SynchronousTestCase):
    def test_the_description_is_found_among_others(self) -> None:
        other = part(b"<x/>", b"Content-Type: application/pidf+xml", b"Content-ID: <a@b>")
        for parts in ((described(),), (other, described()), (described(), other)):
            self.assertEqual(found(joined(*parts)), OFFER)
        self.assertIsNone(found(joined(other)))
        self.assertIsNone(found(joined()))
        self.assertIsNone(found(b""))

    def test_a_preamble_and_an_epilogue(self) -> None:
        body = joined(described())
        for text in (
            b"This is a message of several parts.\r\n" + body,
            b"--b1x\r\n\r\n--b \r\n" + body,
            b"\r\n" + body + b"\r\n--b1\r\nContent-Type: application/sdp\r\n\r\nlate\r\n--b1--",
            body + b"\r\n",
            body + b" \t\r\nepilogue",
        ):
            self.assertEqual(found(text), OFFER)

    def test_boundaries(self) -> None:
        for written, boundary in (
            (b'"b1"', b"b1"),
            (b'"a b;c=d"', b"a b;c=d"),
            (b'"a\\"b"', b'a"b'),
            (b"----=_Part_1(x)/:?'", b"----=_Part_1(x)/:?'"),
            (b"x" * 70, b"x" * 70),
        ):
            for kind in (b"multipart/mixed;boundary=%b", b"Multipart/Mixed ; a=b; BOUNDARY = %b;c"):
                body = joined(described(), boundary=boundary)
                self.assertEqual(found(body, kind % written), OFFER, written)
        for content_type in (
            b"multipart/mixed",
            b"multipart/mixed;boundary",
            b"multipart/mixed;boundary=",
            b'multipart/mixed;boundary="',
            b"multipart/mixed;boundary=" + b"x" * 71,
            b"multipart/mixed;;boundary=b1",
        ):
            self.assertIsNone(found(joined(described()), content_type))

    def test_nested_types(self) -> None:
        for kind in (b"alternative", b"related", b"mixed", b"x"):
            inner = joined(part(b"x", b"Content-Type: a/b"), described(), boundary=b"in")
            line = b"Content-Type: multipart/%b; boundary=in" % kind
            self.assertEqual(found(joined(part(b"x"), part(inner, line))), OFFER)

    def test_no_deeper_than_four(self) -> None:
        for depth, expected in ((4, OFFER), (5, None)):
            body = joined(described(), boundary=b"b%d" % depth)
            for level in range(depth - 1, 0, -1):
                line = b"Content-Type: multipart/mixed;boundary=b%d" % (level + 1)
                body = joined(part(body, line), boundary=b"b%d" % level)
            self.assertEqual(found(body), expected)

    def test_no_more_than_32(self) -> None:
        for count, expected in ((31, OFFER), (32, None)):
            self.assertEqual(found(joined(*[part(b"x")] * count, described())), expected)

    def test_a_missing_end_and_lone_line_feeds(self) -> None:
        body = joined(described())
        self.assertEqual(found(body.removesuffix(b"\r\n--b1--")), OFFER)
        self.assertEqual(found(body.replace(b"\r\n", b"\n")), OFFER.replace(b"\r\n", b"\n"))

    def test_header_fields_of_a_part(self) -> None:
        for lines in (
            (b"c: application/sdp",),
            (b"CONTENT-TYPE :APPLICATION/SDP;charset=utf-8",),
            (b"Content-Type:", b"\tapplication/sdp"),
            (b"nonsense", b"Content-Type: application/sdp"),
        ):
            self.assertEqual(found(joined(part(OFFER, *lines))), OFFER, lines)
        for lines in ((), (b"Content-Type: nonsense",), (b"Content-Type: text/plain",)):
            self.assertIsNone(found(joined(part(OFFER, *lines))), lines)
        self.assertIsNone(found(joined(b"Content-Type: application/sdp")))

    def test_what_a_part_is_for(self) -> None:
        """A description of something else is not the session's (RFC 3959)."""
        for line in (
            b"Content-Disposition: session",
            b"Content-Disposition: Session ;handling=optional",
            b"Content-Disposition: session;handling=required",
            b"Content-Transfer-Encoding: 8BIT",
            b"e: identity",
        ):
            self.assertEqual(found(joined(described(line))), OFFER, line)
        for line in (
            b"Content-Disposition: early-session",
            b"Content-Disposition: render;handling=optional",
            b"Content-Transfer-Encoding: base64",
            b"Content-Encoding: gzip",
        ):
            self.assertIsNone(found(joined(described(line))), line)
            both = joined(described(line, content=b"v=1"), described())
            self.assertEqual(found(both), OFFER, line)

    def test_kinds_and_handling(self) -> None:
        self.assertTrue(is_multipart(b"multipart/x"))
        self.assertFalse(is_multipart(b"application/sdp"))
        self.assertFalse(is_multipart(None))
        self.assertTrue(is_optional(b"session; Handling = optional"))
        self.assertFalse(is_optional(b"session;handling=required"))
        self.assertFalse(is_optional(b"handling=optional"))
        self.assertFalse(is_optional(None))

    @modest
    @given(
        st.lists(
            st.sampled_from(
                (
                    *(b"--b1", b"--b1--", b"\r\n", b"\n", b"-", b":", b" ", b"\x00\xff", OFFER),
                    *(b"Content-Type: ", b"application/sdp", b"multipart/mixed;boundary=b1"),
                )
            ),
            max_size=30,
        ).map(b"".join)
    )
    def test_whatever_comes(self, body: bytes) -> None:
        content = found(body)
        self.assertTrue(content is None or content in body)
