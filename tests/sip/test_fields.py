"""Header fields and the typed values read from them."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.message import required_faults
from tests.sip.samples import request, with_lines


class FieldTests(SynchronousTestCase):
    def test_headersKeepOrderAndUnknownNames(self) -> None:
        message = request(with_lines(b"X-oNe: 1", b"v: SIP/2.0/UDP h", b"x-One:2"))
        self.assertEqual(
            message.headers[-3:], [(b"X-oNe", b"1"), (b"Via", b"SIP/2.0/UDP h"), (b"x-One", b"2")]
        )
        self.assertEqual(message.all(b"X-ONE"), [b"1", b"2"])
        self.assertEqual(message.first(b"X-One"), b"1")
        self.assertEqual(message.first(b"V"), b"SIP/2.0/UDP 10.0.0.2:5061;branch=z9hG4bK-1;rport")
        self.assertIsNone(message.first(b"X-Two"))
        self.assertIsNone(message.first(b"Require"))
        self.assertEqual(message.all(b"Require"), [])

    def test_allGivesItsOwnList(self) -> None:
        message = request(with_lines(b"Z: 1", b"Z: 2"))
        message.all(b"Z").clear()
        self.assertEqual(message.all(b"Z"), [b"1", b"2"])

    def test_values(self) -> None:
        message = request(with_lines(b"Supported: a , b", b"k:", b'K: ",", <,>, '))
        self.assertEqual(message.values(b"Supported"), [b"a", b"b", b'","', b"<,>"])

    def test_topViaOfSeveral(self) -> None:
        message = request(
            with_lines(
                b'Via: SIP/2.0/UDP a;x=",",SIP/2.0/UDP b', b"v: SIP/2.0/TCP c", without=b"Via"
            )
        )
        self.assertEqual((message.via.host, message.via_count), (b"a", 3))

    def test_date(self) -> None:
        message = request(with_lines(b"Date: Sat, 13 Nov 2010 23:29:00 GMT"))
        self.assertEqual(message.date, datetime(2010, 11, 13, 23, 29, tzinfo=UTC))
        for bad in (b"Sat, 31 Feb 2010 23:29:00 GMT", b"Sat, 13 Nov 2010 23:29:00 EST", b""):
            message = request(with_lines(b"Date: " + bad))
            self.assertRaises(SipParseError, lambda message=message: message.date)

    def test_contentType(self) -> None:
        for text in (
            b"Application / SDP",
            b"application/sdp;charset=utf-8",
            b"application/sdp ; x",
        ):
            message = request(with_lines(b"c: " + text))
            self.assertEqual(message.content_type, b"application/sdp")
        for bad in (b"", b"sdp", b"application/", b"a b/c", b"a/b c"):
            message = request(with_lines(b"c: " + bad))
            self.assertRaises(SipParseError, lambda message=message: message.content_type)

    def test_star(self) -> None:
        message = request(with_lines(b"Contact: *", without=b"Contact"))
        assert message.contact is not None
        self.assertEqual(bytes(message.contact.uri), b"*")

    def test_missing(self) -> None:
        for line, name in (
            (b"Via", "via"),
            (b"From", "from_"),
            (b"From", "from_tag"),
            (b"To", "to_tag"),
            (b"Call-ID", "call_id"),
            (b"CSeq", "cseq"),
        ):
            message = request(with_lines(without=line))
            error = self.assertRaises(SipParseError, getattr, message, name)
            self.assertEqual((str(error), error.status), (f"{line.decode()} is missing", 400))
            self.assertEqual(required_faults(message), f"{line.decode()} is missing")

    def test_callIdIsOneWord(self) -> None:
        for bad in (b"Call-ID:", b"Call-ID: a b"):
            message = request(with_lines(bad, without=b"Call-ID"))
            self.assertIsNotNone(required_faults(message))

    def test_tooManyRoutes(self) -> None:
        lines = [b"Route: " + b"<sip:p>," * 199 + b"<sip:p>"] * 2
        message = request(with_lines(*lines))
        self.assertRaises(SipParseError, lambda: message.routes)
