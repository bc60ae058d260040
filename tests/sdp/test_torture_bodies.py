"""Every session description in the torture messages of RFC 4475 and RFC 5118."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import NegotiationError, SdpParseError
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.sdp.description import parse_description
from sessioncore.sdp.negotiation import MediaPolicy, OfferAnswer
from tests.data import data_file, expected

# Bodies that are no RFC 8866 description: "m =video", and no description at all.
BROKEN = {"dblreq.dat", "test.dat"}
POLICY = MediaPolicy((PCMU,))


def body(folder: str, name: str) -> bytes:
    _, found, rest = data_file(folder, name).partition(b"\r\nv=0\r\n")
    return b"v=0\r\n" + rest if found else b""


def answering(local: str) -> OfferAnswer:
    return OfferAnswer(POLICY, (local, 4000), 1)


class TortureBodies(SynchronousTestCase):
    def test_each_is_read_or_refused_as_it_deserves(self) -> None:
        seen = 0
        for folder in ("rfc4475", "rfc5118"):
            for name in [row["file"] for row in expected(folder)]:
                text = body(folder, name)
                if not text:
                    continue
                seen += 1
                if name in BROKEN:
                    self.assertRaises(SdpParseError, parse_description, text)
                else:
                    self.assertTrue(parse_description(text).media, name)
        self.assertGreaterEqual(seen, 23)

    def test_rfc4475_offers_are_answered(self) -> None:
        for name in ("wsinv.dat", "esc01.dat", "longreq.dat", "baddate.dat", "sdp01.dat"):
            machine = answering("192.0.2.100")
            text = body("rfc4475", name)
            machine.receive_offer(text, signalling_host="192.0.2.2")
            answer = parse_description(machine.make_answer())
            assert machine.agreement is not None
            audio = machine.agreement.audio
            self.assertEqual((audio.codec, audio.remote and audio.remote[1]), (PCMU, 49217))
            self.assertEqual([m.port for m in answer.media], [4000, 0])
            self.assertEqual(answer.media[1].formats, (b"31",))

    def test_only_g726(self) -> None:
        for name, local in (
            ("ipv6-in-sdp.dat", "2001:db8::10"),
            ("ipv4-mapped-ipv6.dat", "192.0.2.100"),
        ):
            text = body("rfc5118", name)
            with self.assertRaises(NegotiationError) as caught:
                answering(local).receive_offer(text)
            self.assertEqual(caught.exception.status, 488)
            self.assertEqual(caught.exception.reasons[0], "PT 2 G726-32/8000: not supported")

    def test_two_families(self) -> None:
        text = body("rfc5118", "mult-ip-in-sdp.dat")
        machine = answering("192.0.2.100")
        machine.receive_offer(text, signalling_host="2001:db8::9:1")
        answer = parse_description(machine.make_answer())
        self.assertEqual([m.port for m in answer.media], [4000, 0])
        self.assertEqual(answer.media[1].connection, (b"IN", b"IP4", b"192.0.2.100", b""))
        with self.assertRaises(NegotiationError) as caught:
            answering("2001:db8::10").receive_offer(text)
        self.assertIn("192.0.2.1 is not IPv6", caught.exception.reasons)

    def test_content_length_counts_the_whole_body(self) -> None:
        for row in expected("rfc5118"):
            message = data_file("rfc5118", row["file"])
            length = re.search(rb"\r\nContent-Length: *([0-9]+)", message)
            text = body("rfc5118", row["file"])
            if length and text:
                self.assertEqual(len(text), int(length[1]))
