"""Via: its parts, and what a server makes of it for the answer."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SipParseError
from sessioncore.sip.via import parse_via
from tests.sip.samples import modest, soup


class ViaTests(SynchronousTestCase):
    def test_parts(self) -> None:
        via = parse_via(b" SIP / 2.0 / udp  Host.example : 5070 ; Branch = z9hG4bKx;rport;ttl=1 ")
        self.assertEqual((via.transport, via.host, via.port), (b"UDP", b"Host.example", 5070))
        self.assertEqual(via.branch, b"z9hG4bKx")
        self.assertTrue(via.rport)
        self.assertEqual(via.sent_by, b"host.example:5070")
        self.assertEqual(via.params[b"ttl"], b"1")

    def test_plain(self) -> None:
        for text, rport in (
            (b"SIP/2.0/UDP h;branch=z9hG4bK1", False),
            (b"SIP/2.0/UDP h;branch=z9hG4bK1;rport", True),
            (b"SIP/2.0/UDP h;rport;branch=z9hG4bK1", True),
            (b"SIP/2.0/UDP h;branch=z9hG4bK1;rport=5", False),
        ):
            via = parse_via(text)
            self.assertEqual((via.branch, via.rport, via.raw), (b"z9hG4bK1", rport, text))
            self.assertEqual(via.sent_by, b"h")

    def test_nothingButSentBy(self) -> None:
        via = parse_via(b"SIP/2.0/UDP 192.0.2.5")
        self.assertEqual((via.branch, via.received, via.rport), (None, None, False))

    def test_refused(self) -> None:
        for bad in (
            b"",
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP ;branch=x",
            b"SIP/2.0 UDP h",
            b"SIP/2.0/UDP h;;branch=x",
            b"SIP/2.0/UDP h:0;branch=x",
            b"SIP/2.0/UDP h:70000",
            b"SIP/2.0/UDP [::1;branch=x",
            b"SIP/2.0/UDP 2001:db8::1",
            b"SIP/2.0/UDP h x;branch=x",
            b"SIP/2.0/UDP h;branch=a b",
        ):
            self.assertRaises(SipParseError, parse_via, bad)

    def received(self, text: bytes, ip: str = "10.0.0.9", port: int = 7000) -> bytes:
        return parse_via(text).with_received((ip, port))

    def test_nothingToAdd(self) -> None:
        text = b"SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK1"
        self.assertEqual(self.received(text), text)

    def test_otherAddress(self) -> None:
        self.assertEqual(
            self.received(b"SIP/2.0/UDP h:5060;branch=z9hG4bK1"),
            b"SIP/2.0/UDP h:5060;branch=z9hG4bK1;received=10.0.0.9",
        )

    def test_rportAlwaysGetsBoth(self) -> None:
        """RFC 3581 section 4: received is added even where it equals sent-by."""
        self.assertEqual(
            self.received(b"SIP/2.0/UDP 10.0.0.9;rport;branch=z9hG4bK1"),
            b"SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1;received=10.0.0.9;rport=7000",
        )

    def test_clientsClaimsAreOverwritten(self) -> None:
        for claim in (
            b";received=6.6.6.6;branch=z9hG4bK1",
            b";branch=z9hG4bK1;RECEIVED = 6.6.6.6",
            b";branch=z9hG4bK1 ; received=[::6]",
            b";received=6.6.6.6;branch=z9hG4bK1;received=7.7.7.7",
        ):
            answer = parse_via(self.received(b"SIP/2.0/UDP 10.0.0.9" + claim))
            self.assertEqual(answer.received, b"10.0.0.9")
            self.assertEqual(answer.branch, b"z9hG4bK1")
            self.assertEqual(answer.raw.lower().count(b"received"), 1)
        for claim in (b";rport=666;branch=z9hG4bK1", b";received=6.6.6.6;branch=z9hG4bK1;rport"):
            answer = parse_via(self.received(b"SIP/2.0/UDP h" + claim))
            self.assertEqual((answer.received, answer.params[b"rport"]), (b"10.0.0.9", b"7000"))

    def test_claimsWithoutBranch(self) -> None:
        for claim in (b";received=6.6.6.6;rport", b";rport;received=6.6.6.6"):
            self.assertEqual(
                self.received(b"SIP/2.0/UDP h" + claim),
                b"SIP/2.0/UDP h;received=10.0.0.9;rport=7000",
            )

    def test_theQuickWayIsTheOther(self) -> None:
        for text in (b"h;rport;branch=z9hG4bK1", b"h;branch=z9hG4bK1;rport"):
            via = parse_via(b"SIP/2.0/UDP " + text)
            # With a third parameter, which is none of a Via's, it is the long way.
            longer = parse_via(via.raw.replace(b";branch", b";x;branch"))
            self.assertEqual(
                via.with_received(("10.0.0.9", 7000)),
                longer.with_received(("10.0.0.9", 7000)).replace(b";x", b""),
            )

    def test_lookAlikesStay(self) -> None:
        for kept in (b";received-by=x", b";xrport", b";rports=1", b';x=";rport;received=1"'):
            text = b"SIP/2.0/UDP h;branch=z9hG4bK1" + kept
            self.assertEqual(
                self.received(text + b";rport"), text + b";received=10.0.0.9;rport=7000"
            )

    def test_ipv6Source(self) -> None:
        answer = self.received(b"SIP/2.0/UDP [::1]:5060;branch=z9hG4bK1;rport", "fe80::1%eth0")
        self.assertEqual(parse_via(answer).received, b"fe80::1")
        text = b"SIP/2.0/UDP [::1]:5060;branch=z9hG4bK1"
        self.assertEqual(self.received(text, "::1"), text)

    @modest
    @given(soup, st.integers(1, 65535))
    @example(b";received;rport", 1)
    @example(b';a="x;rport";rport;received=1', 1)
    def test_withReceivedAlwaysReadsBack(self, rest: bytes, port: int) -> None:
        try:
            via = parse_via(b"SIP/2.0/UDP h;branch=z9hG4bK1;" + rest)
        except SipParseError:
            return
        answer = parse_via(via.with_received(("10.0.0.9", port)))
        self.assertEqual(answer.received, b"10.0.0.9")
        self.assertEqual(answer.branch, via.branch)
        self.assertEqual((answer.host, answer.port), (via.host, via.port))
        if b"rport" in via.params:
            self.assertEqual(answer.params[b"rport"], b"%d" % port)
        mine = (b"received", b"rport")
        self.assertEqual(
            {name: value for name, value in answer.params.items() if name not in mine},
            {name: value for name, value in via.params.items() if name not in mine},
        )
