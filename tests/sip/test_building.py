"""Messages written, and read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sip.message import build_request, build_response
from tests.sip.samples import INVITE, modest, request, response, with_lines


class BuildingTests(SynchronousTestCase):
    def test_request(self) -> None:
        data = build_request(
            b"BYE", b"sip:a@b", [(b"Via", b"SIP/2.0/UDP h;branch=z9hG4bK1"), (b"Z", b"1")], b"body"
        )
        self.assertEqual(
            data,
            b"BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nZ: 1\r\n"
            b"Content-Length: 4\r\n\r\nbody",
        )

    def test_nobodySmugglesLines(self) -> None:
        for bad in (b"a\r\nZ: 1", b"a\n", b"\ra"):
            self.assertRaises(ValueError, build_request, b"BYE", b"sip:a", [(b"Z", bad)])
            self.assertRaises(ValueError, build_request, b"BYE", b"sip:a", [(bad, b"x")])
            self.assertRaises(ValueError, build_request, b"BYE", bad, [])
            self.assertRaises(ValueError, build_request, bad, b"sip:a", [])
            invite = request(INVITE)
            self.assertRaises(ValueError, build_response, invite, 200, bad)
            self.assertRaises(ValueError, build_response, invite, 200, headers=[(b"Z", bad)])
            self.assertRaises(ValueError, build_response, invite, 200, to_tag=bad)
            self.assertRaises(ValueError, build_response, invite, 200, via=bad)
        self.assertRaises(ValueError, build_request, b"BYE", b"sip:a b", [])

    def test_response(self) -> None:
        self.assertEqual(
            build_response(
                request(INVITE),
                200,
                to_tag=b"t1",
                headers=[(b"Contact", b"<sip:me>")],
                body=b"v=0\n",
                via=b"SIP/2.0/UDP changed",
                record_route=True,
            ),
            b"SIP/2.0 200 OK\r\n"
            b"Via: SIP/2.0/UDP changed\r\n"
            b"Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n"
            b'From: "Alice" <sip:alice@10.0.0.2>;tag=88sja8x\r\n'
            b"To: <sip:service@10.0.0.1:5060>;tag=t1\r\n"
            b"Call-ID: 987asjd97y7atg\r\n"
            b"CSeq: 986759 INVITE\r\n"
            b"Contact: <sip:me>\r\n"
            b"Content-Length: 4\r\n\r\nv=0\n",
        )

    def test_aTagIsNeverReplaced(self) -> None:
        data = INVITE.replace(b"5060>\r\nCall", b"5060>;tag=old\r\nCall")
        answer = response(build_response(request(data), 200, to_tag=b"new"))
        self.assertEqual(answer.to_tag, b"old")

    def test_unreadableTo(self) -> None:
        data = INVITE.replace(b"<sip:service@10.0.0.1:5060>\r", b"< x >;Tag = 1\r")
        self.assertEqual(
            response(build_response(request(data), 400, to_tag=b"n")).first(b"To"), b"< x >;Tag = 1"
        )
        data = INVITE.replace(b"<sip:service@10.0.0.1:5060>\r", b"< x >\r")
        self.assertEqual(
            response(build_response(request(data), 400, to_tag=b"n")).first(b"To"), b"< x >;tag=n"
        )

    def test_whatIsMissingStaysMissing(self) -> None:
        names = (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
        for missing in names:
            invite = request(with_lines(without=missing))
            for via in (None, b"SIP/2.0/UDP new"):
                answer = build_response(invite, 400, to_tag=b"n", via=via, record_route=True)
                self.assertEqual(
                    [name for name, _ in response(answer).headers if name in names],
                    [name for name in names if name != missing],
                )
                if missing != b"To":
                    self.assertEqual(response(answer).to_tag, b"n")

    def test_viasKeepTheirOrder(self) -> None:
        data = with_lines(
            b'Via: SIP/2.0/UDP a;x="," , SIP/2.0/UDP b',
            b"Via: SIP/2.0/UDP c,SIP/2.0/UDP d",
            without=b"Via",
        )
        answer = response(build_response(request(data), 200, via=b"SIP/2.0/UDP new"))
        self.assertEqual(
            answer.values(b"Via"), [b"SIP/2.0/UDP " + host for host in (b"new", b"b", b"c", b"d")]
        )
        answer = response(build_response(request(data), 200))
        self.assertEqual(answer.all(b"Via"), request(data).all(b"Via"))
        for lines in ((b"v: a, b",), (b"v: a", b"v: b")):
            invite = request(with_lines(*lines, without=b"Via"))
            answer = response(build_response(invite, 200, via=b"new"))
            self.assertEqual(answer.values(b"Via"), [b"new", b"b"])

    def test_timestampGoesIntoA100Only(self) -> None:
        invite = request(with_lines(b"Timestamp: 54"))
        self.assertEqual(response(build_response(invite, 100)).first(b"Timestamp"), b"54")
        self.assertIsNone(response(build_response(invite, 180)).first(b"Timestamp"))

    def test_reasons(self) -> None:
        invite = request(INVITE)
        self.assertEqual(response(build_response(invite, 486)).reason, b"Busy Here")
        self.assertEqual(response(build_response(invite, 486, b"No")).reason, b"No")
        self.assertEqual(response(build_response(invite, 299)).status, 299)

    @modest
    @given(
        st.lists(
            st.tuples(
                st.text("abcXYZ-.!%*_+`'~09", min_size=1, max_size=9).map(
                    lambda s: b"x" + s.encode()
                ),
                st.binary(max_size=30).filter(lambda v: b"\r" not in v and b"\n" not in v),
            ),
            max_size=8,
        ),
        st.binary(max_size=60),
    )
    def test_whatIsBuiltIsRead(self, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        expected = [(name, value.strip()) for name, value in headers]
        built = request(build_request(b"INFO", b"sip:a@b", headers, body))
        self.assertEqual((built.headers[:-1], built.body), (expected, body))
        answer = response(build_response(request(INVITE), 200, headers=headers, body=body))
        self.assertEqual((answer.headers[5:-1], answer.body), (expected, body))
        self.assertEqual(answer.content_length, len(body))
