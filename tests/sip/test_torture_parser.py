"""The torture messages of RFC 4475 and RFC 5118: what the parser makes of each.

"Accept" means that `parse_message` and every typed value read; what a server then refuses
(`required_faults` and above) is said where it is the point of the message.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.message import (
    Message,
    Request,
    Response,
    build_response,
    parse_message,
    required_faults,
)
from sessioncore.sip.values import RawUri, Uri, parse_any_uri
from tests.data import data_file, expected

TYPED = (
    "via",
    "via_count",
    "from_",
    "to",
    "from_tag",
    "to_tag",
    "call_id",
    "cseq",
    "contacts",
    "contact",
    "routes",
    "record_routes",
    "content_type",
    "content_length",
    "max_forwards",
    "expires",
    "date",
)


def unreadable(message: Message) -> set[str]:
    """The names of the typed values that do not read."""
    bad = set()
    for name in TYPED:
        try:
            getattr(message, name)
        except SipParseError:
            bad.add(name)
    if isinstance(message, Request):
        try:
            parse_any_uri(message.uri)
        except SipParseError:
            bad.add("request_uri")
    return bad


class TortureTestCase(SynchronousTestCase):
    folder: str

    def parsed(self, name: str) -> Message:
        return parse_message(data_file(self.folder, name + ".dat"))

    def unparsed(self, name: str) -> SipParseError:
        # Read first: a skip inside assertRaises would count as the wrong exception.
        data = data_file(self.folder, name + ".dat")
        return self.assertRaises(SipParseError, parse_message, data)

    def accepted(self, name: str) -> Request:
        request = self.parsed(name)
        self.assertIsInstance(request, Request)
        self.assertEqual(unreadable(request), set())
        assert isinstance(request, Request)
        return request

    def acceptedResponse(self, name: str) -> Response:
        response = self.parsed(name)
        self.assertEqual(unreadable(response), set())
        assert isinstance(response, Response)
        return response

    def onlyUnreadable(self, name: str, *values: str) -> Request:
        """Parses; exactly these typed values do not read; the server has a fault to name."""
        request = self.parsed(name)
        self.assertEqual(unreadable(request), set(values))
        assert isinstance(request, Request)
        return request

    def refused(self, name: str, status: int = 400) -> Request:
        """Raises, and what was read is enough to answer."""
        error = self.unparsed(name)
        self.assertEqual(error.status, status)
        request = error.request
        assert isinstance(request, Request)
        answer = parse_message(build_response(request, status, to_tag=b"x1"))
        self.assertEqual(unreadable(answer), set())
        self.assertEqual(answer.all(b"Call-ID"), request.all(b"Call-ID"))
        return request

    def assertAddress(self, uri: Uri | RawUri, user: bytes | None, host: bytes) -> None:
        assert isinstance(uri, Uri)
        self.assertEqual((uri.user, uri.host), (user, host))


class Rfc4475ValidTests(TortureTestCase):
    folder = "rfc4475"

    def test_wsinv(self) -> None:
        invite = self.accepted("wsinv")
        self.assertEqual(invite.uri, b"sip:vivekg@chair-dnrc.example.com;unknownparam")
        self.assertEqual(invite.request_uri.params, {b"unknownparam": None})
        self.assertEqual(invite.to_tag, b"1918181833n")
        self.assertEqual(invite.from_tag, b"98asjd8")
        self.assertEqual(invite.from_.display, rb'"J Rosenberg \\\""')
        self.assertEqual(invite.max_forwards, 68)
        self.assertEqual(invite.content_length, 150)
        self.assertEqual(len(invite.body), 150)
        self.assertEqual(invite.cseq, (9, b"INVITE"))
        self.assertEqual(invite.via_count, 3)
        self.assertEqual(invite.via.transport, b"UDP")
        self.assertEqual(invite.via.host, b"192.0.2.2")
        self.assertEqual(invite.via.branch, b"390skdjuw")
        self.assertEqual(invite.first(b"Subject"), b"")
        self.assertEqual(
            invite.first(b"newfangledheader"), b"newfangled value continued newfangled value"
        )
        self.assertEqual(invite.first(b"UnknownHeaderWithUnusualValue"), b";;,,;;,;")
        self.assertEqual(
            invite.routes[0].uri.params,  # type: ignore[union-attr]
            {b"lr": None, b"unknownwith": b"value", b"unknown-no-value": None},
        )
        assert invite.contact is not None
        self.assertEqual(
            invite.contact.params,
            {b"newparam": b"newvalue", b"secondparam": None, b"q": b"0.33"},
        )
        self.assertIsNone(required_faults(invite))

    def test_intmeth(self) -> None:
        request = self.accepted("intmeth")
        self.assertEqual(request.method, b"!interesting-Method0123456789_*+`.%indeed'~")
        self.assertEqual(
            request.uri,
            b"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too."
            b"(doesn't-it)@example.com",
        )
        self.assertEqual(
            request.request_uri.user, b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
        )
        self.assertEqual(
            request.request_uri.password, b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
        )
        self.assertEqual(request.request_uri.host, b"example.com")
        self.assertEqual(request.to.display, b'"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f"')
        self.assertEqual(request.from_.display, b"token1~` token2'+_ token3*%!.-")
        self.assertEqual(request.from_tag, b"_token~1'+`*%!-.")
        self.assertEqual(request.from_.params[b"fromparam''~+*_!.-%"], '"работающий"'.encode())
        self.assertEqual(request.call_id, b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")
        self.assertEqual(request.cseq, (139122385, request.method))
        self.assertEqual(request.max_forwards, 255)
        # Bytes survive the way through an answer.
        answer = parse_message(build_response(request, 501))
        for name in (b"Via", b"To", b"From", b"Call-ID", b"CSeq"):
            self.assertEqual(answer.first(name), request.first(name))

    def test_esc01(self) -> None:
        invite = self.accepted("esc01")
        self.assertAddress(invite.request_uri, b"sips%3Auser%40example.com", b"example.net")
        self.assertEqual(invite.request_uri.user_text, "sips:user@example.com")
        assert isinstance(invite.to.uri, Uri)
        assert isinstance(invite.from_.uri, Uri)
        self.assertEqual(invite.to.uri.user_text, "user")
        self.assertEqual(invite.from_.uri.user_text, "I have spaces")
        assert invite.contact is not None
        uri = invite.contact.uri
        assert isinstance(uri, Uri)
        self.assertEqual(uri.user_text, "caller")
        # Unescaped once: %25%34%31 is the text "%41", not "A".
        self.assertEqual(uri.params, {b"lr": None, b"name": b"value%41"})
        self.assertEqual(
            bytes(uri), b"sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31"
        )

    def test_escnull(self) -> None:
        register = self.accepted("escnull")
        assert isinstance(register.to.uri, Uri)
        self.assertEqual(register.to.uri.user_text, "null-\x00-null")
        self.assertEqual(
            [contact.uri.user for contact in register.contacts],  # type: ignore[union-attr]
            [b"%00", b"%00%00"],
        )

    def test_esc02(self) -> None:
        request = self.accepted("esc02")
        self.assertEqual(request.method, b"RE%47IST%45R")
        self.assertEqual(request.cseq.method, b"RE%47IST%45R")
        self.assertEqual(len(request.contacts), 2)
        self.assertEqual(request.first(b"C%6Fntact"), b"<sip:alias2@host2.example.com>")
        self.assertEqual(request.from_.display, b'"%Z%45"')
        self.assertEqual(request.via.branch, b"z9hG4bK209%fzsnel234")

    def test_lwsdisp(self) -> None:
        options = self.accepted("lwsdisp")
        self.assertEqual(options.from_.display, b"caller")
        self.assertAddress(options.from_.uri, b"caller", b"example.com")

    def test_longreq(self) -> None:
        invite = self.accepted("longreq")
        self.assertGreater(len(invite.raw), 3000)
        self.assertEqual(len(invite.call_id), 141)
        self.assertEqual(invite.via_count, 34)
        name = b"Unknown-" + b"Long" * 20 + b"-Name"
        self.assertEqual([len(value) for value in invite.all(name)], [306])
        self.assertEqual(len(invite.from_tag or b""), 155)
        self.assertIsNone(required_faults(invite))

    def test_dblreq(self) -> None:
        register = self.accepted("dblreq")
        self.assertEqual(register.method, b"REGISTER")
        self.assertEqual(register.body, b"")
        self.assertNotIn(b"INVITE", register.body)

    def test_semiuri(self) -> None:
        options = self.accepted("semiuri")
        self.assertEqual(options.request_uri.user, b"user;par=u%40example.net")
        self.assertEqual(options.request_uri.user_text, "user;par=u@example.net")
        self.assertEqual(options.request_uri.host, b"example.com")
        self.assertEqual(len(options.values(b"Accept")), 6)

    def test_transports(self) -> None:
        options = self.accepted("transports")
        self.assertEqual(options.via_count, 5)
        self.assertEqual(options.via.transport, b"UDP")
        self.assertEqual(len(options.all(b"Via")), 5)

    def test_mpart01(self) -> None:
        message = self.accepted("mpart01")
        self.assertEqual(message.content_type, b"multipart/mixed")
        self.assertEqual(len(message.body), message.content_length)
        self.assertIn(b"\x00", message.body)
        self.assertTrue(message.raw.endswith(message.body))

    def test_unreason(self) -> None:
        response = self.acceptedResponse("unreason")
        self.assertEqual(response.status, 200)
        self.assertEqual(
            response.reason, "= 2**3 * 5**2 но сто девяносто девять - простое".encode()
        )

    def test_noreason(self) -> None:
        response = self.acceptedResponse("noreason")
        self.assertEqual((response.status, response.reason), (100, b""))


class Rfc4475InvalidTests(TortureTestCase):
    folder = "rfc4475"

    def test_badinv01(self) -> None:
        invite = self.onlyUnreadable("badinv01", "via", "contact", "contacts")
        self.assertIn("Via", str(required_faults(invite)))

    def test_clerr(self) -> None:
        self.assertEqual(self.refused("clerr").content_length, 9999)

    def test_ncl(self) -> None:
        self.assertEqual(self.refused("ncl").first(b"Content-Length"), b"-999")

    def test_scalar02(self) -> None:
        register = self.onlyUnreadable("scalar02", "cseq", "max_forwards", "expires")
        self.assertIsNotNone(required_faults(register))

    def test_scalarlg(self) -> None:
        response = self.parsed("scalarlg")
        assert isinstance(response, Response)
        self.assertEqual(unreadable(response), {"cseq"})
        self.assertIsNotNone(required_faults(response))

    def test_quotbal(self) -> None:
        invite = self.onlyUnreadable("quotbal", "to", "to_tag")
        self.assertIsNotNone(required_faults(invite))

    def test_ltgtruri(self) -> None:
        invite = self.onlyUnreadable("ltgtruri", "request_uri")
        self.assertIsNotNone(required_faults(invite))

    def test_lwsruri(self) -> None:
        self.assertEqual(self.refused("lwsruri").uri, b"sip:user@example.com; lr")

    def test_lwsstart(self) -> None:
        self.assertEqual(self.refused("lwsstart").uri, b"sip:user@example.com")

    def test_trws(self) -> None:
        self.assertEqual(self.refused("trws").method, b"OPTIONS")

    def test_escruri(self) -> None:
        invite = self.accepted("escruri")
        self.assertEqual(invite.request_uri.headers, b"Route=%3Csip:example.com%3E")
        self.assertEqual(invite.routes, [])
        self.assertEqual(invite.request_uri.params, {})

    def test_baddate(self) -> None:
        invite = self.onlyUnreadable("baddate", "date")
        self.assertIsNone(required_faults(invite))

    def test_regbadct(self) -> None:
        register = self.onlyUnreadable("regbadct", "contact", "contacts")
        self.assertIsNone(required_faults(register))  # not served, whatever its Contact: 405

    def test_badaspec(self) -> None:
        options = self.onlyUnreadable("badaspec", "to", "to_tag")
        self.assertIsNotNone(required_faults(options))

    def test_baddn(self) -> None:
        options = self.refused_anyhow("baddn")
        self.assertEqual(options.method, b"OPTIONS")
        self.assertEqual(unreadable(options), set())  # it only lacks the empty line
        self.assertEqual(options.from_.display, b"Bell, Alexander")

    def refused_anyhow(self, name: str) -> Request:
        """Refused, although what an answer copies could be read."""
        error = self.unparsed(name)
        self.assertEqual(error.status, 400)
        assert isinstance(error.request, Request)
        return error.request

    def test_badvers(self) -> None:
        options = self.refused("badvers", 505)
        self.assertEqual(options.version, b"SIP/7.0")
        self.assertEqual(unreadable(options), set())
        self.assertEqual(options.via.host, b"c.example.com")

    def test_mismatch01(self) -> None:
        options = self.accepted("mismatch01")
        self.assertEqual((options.method, options.cseq.method), (b"OPTIONS", b"INVITE"))
        self.assertIsNotNone(required_faults(options))

    def test_mismatch02(self) -> None:
        request = self.accepted("mismatch02")
        self.assertEqual((request.method, request.cseq.method), (b"NEWMETHOD", b"INVITE"))
        self.assertIsNotNone(required_faults(request))

    def test_bigcode(self) -> None:
        error = self.unparsed("bigcode")
        self.assertIsNone(error.request)


class Rfc4475AboveTheParserTests(TortureTestCase):
    folder = "rfc4475"

    def test_badbranch(self) -> None:
        options = self.accepted("badbranch")
        self.assertEqual(options.via.branch, b"z9hG4bK")
        self.assertIsNotNone(required_faults(options))

    def test_insuf(self) -> None:
        invite = self.onlyUnreadable("insuf", "call_id", "from_", "from_tag", "to", "to_tag")
        self.assertIn("missing", str(required_faults(invite)))
        # The answer copies what exists and invents nothing.
        answer = build_response(invite, 400, to_tag=b"x")
        self.assertEqual(
            [name for name, _ in parse_message(answer).headers],
            [b"Via", b"CSeq", b"Content-Length"],
        )

    def assertForeign(self, name: str, scheme: bytes) -> None:
        request = self.accepted(name)
        uri = parse_any_uri(request.uri)
        assert isinstance(uri, RawUri)
        self.assertEqual(uri.scheme, scheme)
        self.assertIsNone(required_faults(request))
        error = self.assertRaises(SipParseError, lambda: request.request_uri)
        self.assertEqual(error.status, 416)

    def test_unkscm(self) -> None:
        self.assertForeign("unkscm", b"nobodyknowsthisscheme")

    def test_novelsc(self) -> None:
        self.assertForeign("novelsc", b"soap.beep")

    def test_unksm2(self) -> None:
        register = self.accepted("unksm2")
        self.assertEqual(bytes(register.to.uri), b"isbn:2983792873")
        self.assertEqual(bytes(register.from_.uri), b"http://www.example.com")
        self.assertEqual(register.from_tag, b"3234233")
        assert register.contact is not None
        self.assertEqual(bytes(register.contact.uri), b"name:John_Smith")

    def test_bext01(self) -> None:
        options = self.accepted("bext01")
        self.assertEqual(
            options.values(b"Require"), [b"nothingSupportsThis", b"nothingSupportsThisEither"]
        )
        self.assertEqual(
            options.values(b"Proxy-Require"),
            [b"noProxiesSupportThis", b"norDoAnyProxiesSupportThis"],
        )

    def test_invut(self) -> None:
        self.assertEqual(self.accepted("invut").content_type, b"application/unknownformat")

    def test_regaut01(self) -> None:
        register = self.accepted("regaut01")
        self.assertEqual(register.first(b"Authorization"), b"NoOneKnowsThisScheme opaque-data=here")

    def test_multi01(self) -> None:
        invite = self.accepted("multi01")
        for name in (b"Call-ID", b"CSeq", b"To", b"From", b"Max-Forwards", b"Contact"):
            self.assertEqual(len(invite.all(name)), 2)
        self.assertIn("more than one", str(required_faults(invite)))
        answer = parse_message(build_response(invite, 400))
        for name in (b"Call-ID", b"CSeq", b"To", b"From"):
            self.assertEqual(answer.all(name), invite.all(name)[:1])

    def test_mcl01(self) -> None:
        self.assertEqual(self.refused("mcl01").all(b"Content-Length"), [b"13", b"5"])

    def test_bcast(self) -> None:
        response = self.acceptedResponse("bcast")
        self.assertEqual(response.via_count, 2)
        self.assertEqual(response.via.host, b"192.0.2.198")

    def test_zeromf(self) -> None:
        options = self.accepted("zeromf")
        self.assertEqual(options.max_forwards, 0)
        self.assertIsNone(required_faults(options))

    def test_cparam01(self) -> None:
        contact = self.accepted("cparam01").contact
        assert contact is not None
        assert isinstance(contact.uri, Uri)
        self.assertEqual(contact.params, {b"unknownparam": None})
        self.assertEqual(contact.uri.params, {})

    def test_cparam02(self) -> None:
        contact = self.accepted("cparam02").contact
        assert contact is not None
        assert isinstance(contact.uri, Uri)
        self.assertEqual(contact.params, {})
        self.assertEqual(contact.uri.params, {b"unknownparam": None})

    def test_regescrt(self) -> None:
        register = self.accepted("regescrt")
        assert register.contact is not None
        assert isinstance(register.contact.uri, Uri)
        self.assertEqual(register.contact.uri.headers, b"Route=%3Csip:sip.example.com%3E")
        self.assertEqual(register.routes, [])

    def test_sdp01(self) -> None:
        self.assertEqual(self.accepted("sdp01").values(b"Accept"), [b"text/nobodyKnowsThis"])

    def test_inv2543(self) -> None:
        invite = self.accepted("inv2543")
        self.assertIsNone(invite.via.branch)
        self.assertIsNone(invite.from_tag)
        self.assertIsNone(invite.max_forwards)
        self.assertIsNone(invite.content_length)
        self.assertIsNone(invite.contact)
        self.assertTrue(invite.body.startswith(b"v=0\r\n"))
        self.assertTrue(invite.raw.endswith(invite.body))
        # Without angle brackets ";user=phone" belongs to the header field.
        self.assertEqual(invite.to.params, {b"user": b"phone"})
        self.assertIsNone(required_faults(invite))

    def test_test(self) -> None:
        """In the RFC's archive but in none of its sections: no version, a line without colon."""
        self.unparsed("test")


class Rfc5118Tests(TortureTestCase):
    folder = "rfc5118"

    def test_ipv6_good(self) -> None:
        register = self.accepted("ipv6-good")
        self.assertAddress(register.request_uri, None, b"2001:db8::10")
        self.assertTrue(register.request_uri.is_ipv6)
        self.assertEqual(register.via.host, b"2001:db8::9:1")
        self.assertIsNone(register.via.port)
        self.assertIsNone(required_faults(register))

    def test_ipv6_bad(self) -> None:
        register = self.onlyUnreadable("ipv6-bad", "request_uri")
        self.assertIsNotNone(required_faults(register))

    def test_port_ambiguous(self) -> None:
        uri = self.accepted("port-ambiguous").request_uri
        self.assertEqual((uri.host, uri.port), (b"2001:db8::10:5070", None))

    def test_port_unambiguous(self) -> None:
        uri = self.accepted("port-unambiguous").request_uri
        self.assertEqual((uri.host, uri.port), (b"2001:db8::10", 5070))

    def test_via_received_param_with_delim(self) -> None:
        bye = self.accepted("via-received-param-with-delim")
        self.assertEqual(bye.via.received, b"2001:db8::9:255")
        self.assertEqual(bye.to_tag, b"bd76ya")
        self.assertEqual(
            bye.via.with_received(("2001:db8::9:1", 5060)),
            b"SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111;received=2001:db8::9:1",
        )

    def test_via_received_param_no_delim(self) -> None:
        options = self.accepted("via-received-param-no-delim")
        self.assertEqual(options.via.received, b"2001:db8::9:255")
        self.assertEqual(
            options.via.with_received(("2001:db8::7", 5060)),
            b"SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3;received=2001:db8::7",
        )

    def test_ipv6_in_sdp(self) -> None:
        invite = self.accepted("ipv6-in-sdp")
        self.assertEqual(len(invite.body), invite.content_length)
        self.assertIn(b"c=IN IP6 2001:db8::20\r\n", invite.body)
        self.assertIsNone(required_faults(invite))

    def test_mult_ip_in_header(self) -> None:
        bye = self.accepted("mult-ip-in-header")
        self.assertEqual(bye.via_count, 3)
        self.assertEqual((bye.via.host, bye.via.port), (b"2001:db8::9:1", 6050))
        self.assertIsNone(required_faults(bye))

    def test_mult_ip_in_sdp(self) -> None:
        invite = self.accepted("mult-ip-in-sdp")
        self.assertEqual(invite.content_type, b"application/sdp")
        self.assertEqual(len(invite.body), 189)

    def test_ipv4_mapped_ipv6(self) -> None:
        invite = self.accepted("ipv4-mapped-ipv6")
        self.assertEqual((invite.via.host, invite.via.port), (b"::ffff:192.0.2.10", 19823))
        assert invite.contact is not None
        self.assertAddress(invite.contact.uri, b"ted", b"::ffff:192.0.2.2")

    def test_ipv6_bug_abnf_3_colons(self) -> None:
        options = self.accepted("ipv6-bug-abnf-3-colons")
        self.assertAddress(options.request_uri, b"user", b"2001:db8::192.0.2.1")
        self.assertAddress(options.to.uri, b"user", b"2001:db8::192.0.2.1")
        # The answer still carries what was sent.
        self.assertEqual(options.first(b"To"), b"sip:user@[2001:db8:::192.0.2.1]")

    def test_ipv6_correct_abnf_2_colons(self) -> None:
        options = self.accepted("ipv6-correct-abnf-2-colons")
        self.assertAddress(options.request_uri, b"user", b"2001:db8::192.0.2.1")


class CompletenessTests(SynchronousTestCase):
    """The tables and the tests above name the same messages and the same verdicts."""

    def verdict(self, folder: str, name: str) -> str:
        try:
            message = parse_message(data_file(folder, name))
        except SipParseError:
            return "refuse"
        return "refuse" if unreadable(message) else "accept"

    def check(self, folder: str, *cases: type[TortureTestCase]) -> None:
        for row in expected(folder):
            method = "test_" + row["file"].removesuffix(".dat").replace("-", "_")
            self.assertTrue(any(hasattr(case, method) for case in cases), method)
            column = row["parser"]
            if ", " not in column:
                # With a comma it is more than a word, and the test of that message says it all.
                verdict = self.verdict(folder, row["file"])
                self.assertIn(verdict, column, row["file"])

    def test_rfc4475(self) -> None:
        self.check("rfc4475", Rfc4475ValidTests, Rfc4475InvalidTests, Rfc4475AboveTheParserTests)

    def test_rfc5118(self) -> None:
        self.check("rfc5118", Rfc5118Tests)
