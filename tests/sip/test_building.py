"""Messages written, and read back."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip import building
from sessioncore.sip.message import Request, build_request, build_response, parse_message
from tests.sip.samples import INVITE, modest, need_compiled, request, response, with_lines


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


class ReadBackTests(SynchronousTestCase):
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


class PythonBuildingTests(BuildingTests):
    """As where nothing was compiled."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(building, "_respond_compiled", None)


# What a response is made of: some of it smuggles lines, some is missing, some is no octets.
_piece = st.sampled_from((b"a", b"", b"a;b", b"<sip:x>", b"a,b", b"a\nb", b"\r", "text", None))
_fields = st.lists(st.tuples(_piece, _piece) | st.sampled_from((None, (b"x",))), max_size=3)
_values = st.fixed_dictionaries(
    {},
    optional={
        name: st.just(value) | _piece.filter(lambda found: isinstance(found, bytes))
        for name, value in (
            (b"Via", b"SIP/2.0/UDP h;branch=z9hG4bK1"),
            (b"From", b"<sip:a>;tag=1"),
            (b"To", b"<sip:b>"),
            (b"Call-ID", b"1@h"),
            (b"CSeq", b"1 INVITE"),
            (b"Record-Route", b"<sip:p;lr>"),
            (b"Timestamp", b"1"),
        )
    },
)


class CompiledBuildingTests(SynchronousTestCase):
    """What C writes, Python writes alike; it leaves to Python what it likes."""

    def setUp(self) -> None:
        need_compiled(building.compiled)

    def write(self, invite: Request, *given: object, **named: object) -> bool:
        """Whether C wrote it."""
        found: list[bytes | None] = [None]
        compiled = building._respond_compiled

        def written(*given: object) -> bytes | None:
            found[0] = compiled(*given)
            return found[0]

        outcomes = []
        for way in (written, None):
            with patch.object(building, "_respond_compiled", way):
                try:
                    outcomes.append(build_response(invite, *given, **named))
                except (TypeError, ValueError) as error:
                    outcomes.append(type(error))
        self.assertEqual(*outcomes)
        self.assertIn(found[0], (None, outcomes[0]))
        return found[0] is not None

    def test_what_is_written(self) -> None:
        invite, tagged = request(INVITE), request(INVITE.replace(b"0>\r", b"0>;tag=1\r"))
        for read in (invite, tagged):
            for tag in (None, b"t1"):
                for via in (None, b"SIP/2.0/UDP new, and more"):
                    self.assertTrue(self.write(read, 180, to_tag=tag, via=via))
        self.assertTrue(self.write(invite, 486, b"No"))
        self.assertTrue(self.write(invite, 299))
        self.assertTrue(self.write(request(with_lines(b"Timestamp: 54")), 100))
        for headers in ((), [], ((b"a", b"b"),), [(b"a", b""), (b"c", b"d")]):
            self.assertTrue(self.write(invite, 200, headers=headers, body=b"v=0\r\n"))
        self.assertTrue(self.write(request(with_lines(without=b"Record")), 200, record_route=True))

    def test_what_is_left_to_python(self) -> None:
        invite = request(INVITE)
        self.assertFalse(self.write(invite, 200, record_route=True))
        self.assertFalse(self.write(request(with_lines(b"Via: SIP/2.0/UDP b")), 200))
        self.assertFalse(self.write(request(with_lines(b"Via: a, b", without=b"Via")), 200))
        for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq"):
            self.assertFalse(self.write(request(with_lines(without=name)), 200))
        # A tag is not added to a To that nobody can read.
        unread = request(INVITE.replace(b"To: <", b"To: ><"))
        self.assertRaises(
            SipParseError, building._respond_compiled, unread, b"", b"t", (), b"", None, False
        )
        self.assertFalse(self.write(unread, 200, to_tag=b"t"))
        self.assertTrue(self.write(unread, 200))
        for bad in (b"a\r\nZ: 1", b"\n", b"\ra", "text", bytearray(b"a")):
            if not isinstance(bad, bytearray):
                self.assertFalse(self.write(invite, 200, bad))
            self.assertFalse(self.write(invite, 200, to_tag=bad))
            self.assertFalse(self.write(invite, 200, via=bad))
            for fields in ([(b"a", bad)], [(bad, b"a")], [(b"a", b"b", bad)], (bad,), bad):
                self.assertFalse(self.write(invite, 200, headers=fields))
        for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq"):
            broken = request(INVITE)
            broken._firsts[name] += b"\n"
            self.assertFalse(self.write(broken, 200))
        self.assertFalse(self.write(invite, 200, body=bytearray(b"v=0")))

    def test_limits(self) -> None:
        invite = request(INVITE)
        room = 65_535 - len(build_response(invite, 200, body=bytes(10_000))) + 10_000
        self.assertTrue(self.write(invite, 200, body=bytes(room)))
        self.assertFalse(self.write(invite, 200, body=bytes(room + 1)))
        self.assertFalse(self.write(invite, 200, bytes(70_000)))
        self.assertTrue(self.write(invite, 200, headers=[(b"a", b"b")] * 20))
        self.assertFalse(self.write(invite, 200, headers=[(b"a", b"b")] * 400))

    def test_headers_are_asked_for_once(self) -> None:
        answer = build_response(request(INVITE), 200, headers=iter([(b"a", b"b")]))
        self.assertEqual(response(answer).first(b"a"), b"b")

    def test_mistaken_calls(self) -> None:
        respond = building.compiled.response
        invite = parse_message(INVITE)
        self.assertRaises(TypeError, respond)
        self.assertRaises(AttributeError, respond, None, b"", None, (), b"", None, False)
        invite._firsts = []
        self.assertRaises(SystemError, respond, invite, b"", None, (), b"", None, False)

    @settings(modest, max_examples=1500)
    @given(_values, _piece, _piece, _piece, _fields, st.booleans(), st.sampled_from((100, 200, 9)))
    def test_anything(
        self,
        firsts: dict[bytes, bytes],
        reason: bytes,
        tag: bytes,
        via: bytes,
        headers: list[tuple[bytes, bytes]],
        record_route: bool,
        status: int,
    ) -> None:
        self.write(
            Request(b"INVITE", b"sip:a", b"", b"", firsts),
            status,
            reason,
            to_tag=tag,
            headers=headers,
            via=via,
            record_route=record_route,
        )
