from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import ConfigurationError
from sessioncore.rtp.codecs.l16 import L16
from sessioncore.rtp.codecs.pcma import PCMA
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.sdp.description import parse_description
from sessioncore.sdp.formats import (
    FormatMatch,
    MediaPolicy,
    accept_formats,
    choose_ptime,
    propose,
)
from sessioncore.vocabulary import COMFORT_NOISE, TELEPHONE_EVENT, Codec
from tests.sdp.offers import description

POLICY = MediaPolicy((PCMU, PCMA, L16))


def match(media: str, policy: MediaPolicy = POLICY, *, is_answer: bool = False) -> FormatMatch:
    (line,) = parse_description(description(media)).media
    return accept_formats(propose(policy), line.section.formats, is_answer)


def reasons(media: str, policy: MediaPolicy = POLICY) -> list[str]:
    return [refusal.text for refusal in match(media, policy).refusals]


class Proposing(SynchronousTestCase):
    def test_the_lines_we_write(self) -> None:
        self.assertEqual(
            propose(POLICY).lines,
            b"RTP/AVP 0 8 96 13 101\r\n"
            b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 L16/8000\r\n"
            b"a=rtpmap:13 CN/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
            b"a=ptime:20\r\n",
        )

    def test_switches(self) -> None:
        bare = propose(MediaPolicy(codecs=(PCMA,), dtmf=False, comfort_noise=False))
        self.assertEqual((bare.audio, bare.dtmf, bare.comfort_noise), (((PCMA, 8),), None, None))

    def test_numbers_in_use_keep_their_meaning(self) -> None:
        proposal = propose(POLICY, ((TELEPHONE_EVENT, 96), (PCMU, 0)))
        self.assertEqual(proposal.dtmf, 96)
        self.assertEqual(proposal.audio, ((PCMU, 0), (PCMA, 8), (L16, 97)))

    def test_no_number_twice(self) -> None:
        wide = Codec("L16", 101, 16000)
        proposal = propose(MediaPolicy(codecs=(wide, L16)))
        self.assertEqual(proposal.audio, ((wide, 101), (L16, 96)))
        self.assertEqual(proposal.dtmf, 97)

    def test_channels_are_written(self) -> None:
        stereo = MediaPolicy(codecs=(Codec("L16", 97, 8000, 2),), dtmf=False, comfort_noise=False)
        self.assertIn(b"a=rtpmap:97 L16/8000/2\r\n", propose(stereo).lines)

    def test_policies_that_make_no_sense(self) -> None:
        for changes in (
            {"codecs": ()},
            {"codecs": (PCMU, PCMU)},
            {"codecs": (PCMU, TELEPHONE_EVENT)},
            {"codecs": (PCMU, COMFORT_NOISE)},
            {"codecs": tuple(Codec(f"X-{n}", 96) for n in range(17))},
            {"ptime": 0},
            {"ptime": 500},
        ):
            self.assertRaises(ConfigurationError, MediaPolicy, **({"codecs": (PCMU,)} | changes))
        propose(MediaPolicy(codecs=tuple(Codec(f"X-{n}", 96) for n in range(16))))


STATIC = (
    "0 PCMU/8000, 3 GSM/8000, 4 G723/8000, 5 DVI4/8000, 6 DVI4/16000, 7 LPC/8000, 8 PCMA/8000,"
    " 9 G722/8000, 10 L16/44100/2, 11 L16/44100, 12 QCELP/8000, 13 CN/8000, 14 MPA/90000,"
    " 15 G728/8000, 16 DVI4/11025, 17 DVI4/22050, 18 G729/8000, 25 CelB/90000, 26 JPEG/90000,"
    " 28 nv/90000, 31 H261/90000, 32 MPV/90000, 33 MP2T/90000, 34 H263/90000"
)
"""RFC 3551 tables 4 and 5."""


class Matching(SynchronousTestCase):
    def test_the_meaning_of_each_static_type(self) -> None:
        other = MediaPolicy((L16,), dtmf=False, comfort_noise=False)
        for meaning in STATIC.split(", "):
            (reason,) = reasons(f"audio 4000 RTP/AVP {meaning.split()[0]}", other)
            self.assertIn(f"PT {meaning}: ", reason)

    def test_static_types_need_no_rtpmap(self) -> None:
        found = match("audio 4000 RTP/AVP 8 0 13")
        self.assertEqual([(s.codec, s.send) for s in found.audio], [(PCMA, 8), (PCMU, 0)])
        assert found.comfort_noise is not None
        self.assertEqual(found.comfort_noise.send, 13)
        self.assertIsNone(found.dtmf)

    def test_dynamic_numbers_are_the_peer_s(self) -> None:
        found = match(
            "audio 4000 RTP/AVP 110 97 98\na=rtpmap:110 l16/8000\n"
            "a=rtpmap:97 Telephone-Event/8000\na=rtpmap:98 CN/8000"
        )
        self.assertEqual(found.audio, ((L16, 110, 110),))
        self.assertEqual(found.dtmf, (TELEPHONE_EVENT, 97, 97))
        self.assertEqual(found.comfort_noise, (COMFORT_NOISE, 98, 98))

    def test_in_an_answer_each_side_keeps_its_number(self) -> None:
        found = match(
            "audio 4000 RTP/AVP 110 97\na=rtpmap:110 L16/8000\na=rtpmap:97 telephone-event/8000",
            is_answer=True,
        )
        self.assertEqual(found.audio, ((L16, 110, 96),))
        self.assertEqual(found.dtmf, (TELEPHONE_EVENT, 97, 101))

    def test_an_answer_without_rtpmap_means_our_number(self) -> None:
        found = match("audio 4000 RTP/AVP 96 101", is_answer=True)
        self.assertEqual(found.audio, ((L16, 96, 96),))
        self.assertEqual(found.dtmf, (TELEPHONE_EVENT, 101, 101))
        self.assertEqual(match("audio 4000 RTP/AVP 96").audio, ())

    def test_the_rtpmap_wins_over_the_static_meaning(self) -> None:
        self.assertEqual(
            reasons("audio 4000 RTP/AVP 0\na=rtpmap:0 G729/8000"),
            ["PT 0 G729/8000: not supported"],
        )

    def test_clock_rate_and_channels_count(self) -> None:
        self.assertEqual(
            reasons(
                "audio 4000 RTP/AVP 11 96 97 98\na=rtpmap:96 PCMU/16000\n"
                "a=rtpmap:97 PCMU/8000/2\na=rtpmap:98 telephone-event/48000"
            ),
            [
                "PT 11 L16/44100: not supported",
                "PT 96 PCMU/16000: not supported",
                "PT 97 PCMU/8000/2: not supported",
                "PT 98 telephone-event/48000: not supported",
            ],
        )

    def test_reasons(self) -> None:
        self.assertEqual(
            reasons('audio 4000 RTP/AVP 2 107 128 x" 0002 18\na=rtpmap:2 G726-32/8000'),
            [
                "PT 2 G726-32/8000: not supported",
                "PT 107: no rtpmap",
                "format 128: not an RTP payload type",
                "format x?: not an RTP payload type",
                "format 0002: not an RTP payload type",
                "PT 18 G729/8000: not supported",
            ],
        )
        self.assertEqual(reasons("audio 4000 RTP/AVP 13"), ["no audio codec among the formats"])
        self.assertEqual(
            reasons(f"audio 4000 RTP/AVP 99\na=rtpmap:99 {'x' * 40}/8000"),
            ["PT 99: an encoding name of over 32 characters"],
        )

    def test_repeated_formats_count_once(self) -> None:
        found = match("audio 4000 RTP/AVP 0 0 96\na=rtpmap:96 PCMU/8000")
        self.assertEqual(found.audio, ((PCMU, 0, 0),))

    def test_what_the_policy_switches_off_is_refused(self) -> None:
        found = match(
            "audio 4000 RTP/AVP 0 13 101\na=rtpmap:101 telephone-event/8000",
            MediaPolicy((PCMU, PCMA), dtmf=False, comfort_noise=False),
        )
        self.assertEqual((found.dtmf, found.comfort_noise), (None, None))
        self.assertEqual(len(found.refusals), 2)


class PacketLength(SynchronousTestCase):
    def test_choice(self) -> None:
        self.assertEqual(choose_ptime(POLICY, None, None), 20)
        self.assertEqual(choose_ptime(POLICY, 30, None), 20)
        flexible = MediaPolicy((PCMU,), sendable_ptimes=(10, 20, 40))
        self.assertEqual(choose_ptime(flexible, 40, None), 40)
        self.assertEqual(choose_ptime(flexible, 40, 30), 20)
        self.assertEqual(choose_ptime(flexible, 30, None), 20)
        self.assertEqual(choose_ptime(flexible, None, None), 20)
        self.assertIsNone(choose_ptime(POLICY, None, 10))
