"""What is refused before anyone is rung."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.inspection import Refusal, inspect
from sessioncore.sip.message import Request, parse_message
from sessioncore.sip.methods import MethodRule, MethodRules
from tests.sip.fakes import request

RULES = MethodRules(
    (
        MethodRule(b"INVITE", served=True, bodies=(b"application/sdp",), extensions=(b"timer",)),
        MethodRule(b"ACK", served=True),
        MethodRule(b"BYE", served=True, outside=False),
        MethodRule(b"CANCEL", served=True),
        MethodRule(b"OPTIONS", served=True),
        MethodRule(
            b"UPDATE",
            served=True,
            outside=False,
            early=False,
            bodies=(b"application/sdp",),
            extensions=(b"100rel",),
        ),
        MethodRule(b"PUBLISH", served=True, within=False),
        MethodRule(b"SUBSCRIBE"),
        MethodRule(b"REGISTER"),
    )
)
SDP = (b"Content-Type", b"application/sdp")


def look(
    method: bytes = b"INVITE",
    *headers: tuple[bytes, bytes],
    dialog: bool = False,
    early: bool = False,
    **fields: Any,
) -> Refusal | None:
    message = parse_message(request(method, headers=headers, **fields))
    assert isinstance(message, Request)
    return inspect(message, RULES, in_dialog=dialog, early=early)


class InspectionTests(SynchronousTestCase):
    """RFC 3261 section 8.2, paragraph by paragraph."""

    def refused(self, refusal: Refusal | None, status: int, *headers: tuple[bytes, bytes]) -> None:
        assert refusal is not None
        self.assertEqual((refusal.status, refusal.headers), (status, headers))

    def test_nothing_speaks_against_a_plain_call(self) -> None:
        self.assertIsNone(look())
        self.assertIsNone(look(b"INVITE", SDP, body=b"v=0\r\n"))
        self.assertIsNone(look(b"OPTIONS"))
        self.assertIsNone(look(b"BYE", dialog=True, to_tag=b"x"))

    def test_methods(self) -> None:
        allow = (b"Allow", b"INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PUBLISH")
        self.refused(look(b"SUBSCRIBE"), 405, allow)
        self.refused(look(b"REGISTER"), 405, allow)
        self.refused(look(b"DANCE"), 501, allow)
        self.refused(look(b"invite"), 501, allow)

    def test_requests_that_need_a_dialog(self) -> None:
        self.refused(look(b"BYE"), 481)
        self.refused(look(b"UPDATE"), 481)

    def test_requests_that_no_dialog_takes(self) -> None:
        self.assertIsNone(look(b"PUBLISH"))
        refusal = look(b"PUBLISH", dialog=True)
        assert refusal is not None
        self.assertEqual((refusal.status, refusal.headers), (405, (RULES.allow,)))

    def test_requests_that_an_early_dialog_does_not_take(self) -> None:
        self.assertIsNone(look(b"BYE", dialog=True, early=True))
        self.refused(look(b"UPDATE", dialog=True, early=True), 481)
        self.assertIsNone(look(b"UPDATE", dialog=True))

    def test_what_follows_from_the_rules(self) -> None:
        self.assertEqual(RULES.accept, (b"Accept", b"application/sdp"))
        self.assertEqual(RULES.supported, (b"Supported", b"100rel, timer"))

    def test_request_uri(self) -> None:
        self.assertIsNone(look(uri=b"tel:+358-555-1234567"))
        self.refused(look(uri=b"SIPS:bob@example.net"), 416)
        self.refused(look(uri=b"nobodyKnowsThisScheme:totallyopaquecontent"), 416)
        self.refused(look(uri=b"soap.beep://192.0.2.103:3002"), 416)
        self.refused(look(uri=b"sip:bob@192.0.2.9?Route=%3Csip:example.com%3E"), 400)

    def test_required_extensions(self) -> None:
        self.assertIsNone(look(b"INVITE", (b"Require", b"Timer, 100rel")))
        self.assertIsNone(look(b"INVITE", (b"Proxy-Require", b"foo")))
        self.refused(
            look(b"INVITE", (b"Require", b"foo, timer"), (b"Require", b"bar, foo")),
            420,
            (b"Unsupported", b"foo, bar"),
        )

    def test_what_is_echoed_is_bounded(self) -> None:
        many = b",".join(b"x%d" % number for number in range(200))
        refusal = look(b"INVITE", (b"Require", many))
        assert refusal is not None
        self.assertEqual(refusal.headers[0][1].count(b","), 15)

    def test_body_types(self) -> None:
        accept = (b"Accept", b"application/sdp")
        self.assertIsNone(look(b"INVITE", (b"c", b"Application / SDP;x=y"), body=b"v=0"))
        self.refused(look(b"INVITE", (b"Content-Type", b"text/plain"), body=b"x"), 415, accept)
        self.refused(look(b"INVITE", body=b"x"), 415, accept)
        self.refused(
            look(b"UPDATE", (b"Content-Type", b"a/b"), body=b"x", dialog=True), 415, accept
        )
        # Nobody's call is kept up because of a body in its BYE.
        self.assertIsNone(look(b"BYE", (b"Content-Type", b"a/b"), body=b"x", dialog=True))
        self.assertIsNone(look(b"INVITE", (b"Content-Type", b"text/plain")))

    def test_broken_body_type(self) -> None:
        self.refused(look(b"INVITE", (b"Content-Type", b"sdp"), body=b"x"), 400)

    def test_optional_bodies(self) -> None:
        optional = (b"Content-Disposition", b"render; handling = Optional")
        required = (b"Content-Disposition", b"session; handling=required")
        strange = (b"Content-Type", b"a/b")
        self.assertIsNone(look(b"INVITE", strange, optional, body=b"x"))
        self.refused(
            look(b"INVITE", strange, required, body=b"x"), 415, (b"Accept", b"application/sdp")
        )

    def test_body_encodings(self) -> None:
        self.assertIsNone(look(b"INVITE", SDP, (b"Content-Encoding", b"identity"), body=b"v=0"))
        self.refused(
            look(b"INVITE", SDP, (b"e", b"gzip"), body=b"x"),
            415,
            (b"Accept-Encoding", b"identity"),
        )

    def test_accept(self) -> None:
        for fits in (
            b"application/sdp",
            b"text/plain, Application/SDP;level=1",
            b"application/*",
            b"*/*",
            b"application/sdp;q=0.1",
        ):
            self.assertIsNone(look(b"INVITE", (b"Accept", fits)), fits)
        for other in (b"text/plain", b"", b"application/sdp;q=0", b"application/sdp;q=0.000"):
            refusal = look(b"INVITE", (b"Accept", other))
            assert refusal is not None, other
            self.assertEqual(refusal.status, 406)
        self.assertIsNone(look(b"OPTIONS", (b"Accept", b"text/plain")))

    def test_broken_values_are_400(self) -> None:
        self.refused(look(b"INVITE", (b"Require", b'"a')), 400)
        self.refused(look(b"INVITE", (b"Accept", b"<a,")), 400)

    @settings(max_examples=200)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    (
                        b"Require",
                        b"Accept",
                        b"Content-Type",
                        b"Content-Encoding",
                        b"Content-Disposition",
                    )
                ),
                st.text(alphabet='a/,;="<>* q0.', max_size=12).map(str.encode),
            ),
            max_size=4,
        ),
        st.binary(max_size=3),
    )
    def test_nothing_is_raised(self, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        try:
            message = parse_message(request(headers=tuple(headers), body=body))
        except SipParseError:
            return
        assert isinstance(message, Request)
        refusal = inspect(message, RULES, in_dialog=False)
        self.assertIsInstance(refusal, (Refusal, type(None)))
