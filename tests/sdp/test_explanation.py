"""Explanations say what the negotiation does, and why."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import NegotiationError, SdpParseError
from sessioncore.explanation import ExplainedMedia, Explanation, Ground, Use
from sessioncore.rtp.codecs.l16 import L16
from sessioncore.rtp.codecs.pcma import PCMA
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.sdp.description import parse_description
from sessioncore.sdp.explanation import (
    explain_answer,
    explain_negotiation,
    explain_offer,
    proposal_of,
)
from sessioncore.sdp.negotiation import MediaPolicy, OfferAnswer
from sessioncore.vocabulary import Direction
from tests.sdp.offers import BARESIP, SIPP_UAC, description

POLICY = MediaPolicy((PCMU, PCMA, L16))
LOCAL, PEER = ("192.0.2.1", 4000), "192.0.2.9"


def offered(*media: str, policy: MediaPolicy = POLICY, **given: str) -> Explanation:
    return explain_offer(description(*media, **given), policy, local=LOCAL, signalling_host=PEER)


def grounds(explanation: Explanation) -> list[Ground | None]:
    return [media.ground for media in explanation.media]


class Offers(SynchronousTestCase):
    def test_baresip(self) -> None:
        explanation = explain_offer(BARESIP, POLICY)
        self.assertEqual(
            str(explanation).splitlines(),
            [
                "m-line 1 audio 21234: accepted: it carries the call",
                "  96 opus/48000/2: ignored: unknown codec; we have PCMU/8000, PCMA/8000, L16/8000",
                "  97 speex/16000: ignored: unknown codec; we have PCMU/8000, PCMA/8000, L16/8000",
                "  0 PCMU/8000: sent: the first format of the offer that we have",
                "  8 PCMA/8000: ignored: we have it too, and the answer names only the first",
                "  101 telephone-event/8000: accepted: it carries digits",
                "  direction: sendrecv: the offer says sendrecv",
                "  packets: 20 ms: as a=ptime asks",
                "  RTP to: 192.0.2.9:21234",
                "  RTCP to: 192.0.2.9:21235: a=rtcp; rtcp-mux is offered and not used",
                "  digits: payload type 101",
                "m-line 2 video 21236: refused: video: not supported",
            ],
        )
        audio, video = explanation.media
        self.assertIs(explanation.accepted, audio)
        self.assertEqual(audio.dtmf_payload_type, 101)
        self.assertEqual(audio.formats[0].fmtp, "stereo=1;sprop-stereo=1")
        self.assertEqual((video.ground, video.formats), (Ground.MEDIA_KIND, ()))

    def test_every_reason_for_a_format(self) -> None:
        media = (
            "audio 6000 RTP/AVP 18 96 97 98 99 100 200 0 102 13 103 101 104\n"
            "a=rtpmap:97 PCMU/16000\na=rtpmap:98 L16/8000/2\na=rtpmap:99 telephone-event/16000\n"
            f"a=rtpmap:100 {'x' * 33}/8000\na=rtpmap:102 PCMU/8000\na=rtpmap:103 CN/8000\n"
            "a=rtpmap:101 telephone-event/8000\na=rtpmap:104 telephone-event/8000"
        )
        (audio,) = offered(media).media
        known = "we have PCMU/8000, PCMA/8000, L16/8000"
        self.assertEqual(
            [(each.number, each.use, each.text, each.ground) for each in audio.formats],
            [
                ("18", Use.IGNORED, f"unknown codec; {known}", Ground.CODEC),
                ("96", Use.IGNORED, "no rtpmap", Ground.NO_RTPMAP),
                ("97", Use.IGNORED, "another clock rate; we have 8000 Hz", Ground.CODEC),
                ("98", Use.IGNORED, "another number of channels; we have 1", Ground.CODEC),
                ("99", Use.IGNORED, "another clock rate; we have 8000 Hz", Ground.CODEC),
                ("100", Use.IGNORED, "an encoding name of over 32 characters",
                 Ground.ENCODING_NAME),
                ("200", Use.IGNORED, "not an RTP payload type", Ground.FORMAT_NUMBER),
                ("0", Use.SENT, "the first format of the offer that we have", None),
                ("102", Use.IGNORED, "another number for the same codec stands before it", None),
                ("13", Use.ACCEPTED, "it carries comfort noise", None),
                ("103", Use.IGNORED, "another number for comfort noise stands before it", None),
                ("101", Use.ACCEPTED, "it carries digits", None),
                ("104", Use.IGNORED, "another number for digits stands before it", None),
            ],
        )  # fmt: skip
        self.assertEqual([each.number for each in audio.formats if each.static], ["18", "0", "13"])
        self.assertEqual(audio.formats[1].encoding, None)

    def test_digits_that_are_switched_off(self) -> None:
        policy = MediaPolicy((PCMU,), dtmf=False, comfort_noise=False)
        media = "audio 6000 RTP/AVP 0 13 101\na=rtpmap:101 telephone-event/8000"
        (audio,) = offered(media, policy=policy).media
        self.assertEqual(
            [each.text for each in audio.formats[1:]],
            ["unknown codec; we have PCMU/8000", "digits are switched off"],
        )
        self.assertIsNone(audio.dtmf_payload_type)

    def test_every_reason_for_an_m_line(self) -> None:
        for media, ip, ground in (
            ("video 6000 RTP/AVP 31", PEER, Ground.MEDIA_KIND),
            ("audio 0 RTP/AVP 0", PEER, Ground.PORT_ZERO),
            ("audio 6000 RTP/SAVP 0", PEER, Ground.PROFILE),
            ("audio 6000/2 RTP/AVP 0", PEER, Ground.PORT_COUNT),
            ("audio 6000 RTP/AVP 18", PEER, Ground.CODEC),
            ("audio 6000 RTP/AVP 13", PEER, Ground.NO_CODEC),
            ("audio 6000 RTP/AVP 0\na=maxptime:10", PEER, Ground.PACKET_LENGTH),
            ("audio 6000 RTP/AVP 0", "media.example.com", Ground.HOST_NAME),
            ("audio 6000 RTP/AVP 0", "2001:db8::1", Ground.ADDRESS_FAMILY),
            ("audio 6000 RTP/AVP 0", "224.2.1.1", Ground.MULTICAST),
            ("audio 6000 RTP/AVP 0", "255.255.255.255", Ground.BROADCAST),
            ("audio 6000 RTP/AVP 0", "0.1.2.3", Ground.NOT_A_HOST),
            ("audio 6000 RTP/AVP 0", "127.0.0.1", Ground.LOOPBACK),
            ("audio 53 RTP/AVP 0", PEER, Ground.LOW_PORT),
            ("audio 4000 RTP/AVP 0", LOCAL[0], Ground.OWN_PORT),
        ):
            explanation = offered(media, ip=ip)
            self.assertEqual(grounds(explanation), [ground], media)
            self.assertIsNone(explanation.accepted)
            self.assertIsNone(explanation.agreement)
            self.assertTrue(all(f.use is Use.IGNORED for f in explanation.media[0].formats))
        body = description("audio 6000 RTP/AVP 0").replace(b"c=IN", b"c=ATM")
        self.assertEqual(grounds(explain_offer(body, POLICY)), [Ground.NETWORK_TYPE])

    def test_every_ground_is_documented(self) -> None:
        labels = [ground.label for ground in Ground]
        self.assertEqual(len(labels), len(set(labels)))
        for ground in Ground:
            self.assertRegex(ground.section, r"^RFC \d+ section [\d.]+$")

    def test_one_stream_carries_the_call(self) -> None:
        explanation = offered(
            "audio 6000 RTP/AVP 18", "audio 6002 RTP/AVP 0", "audio 6004 RTP/AVP 8"
        )
        self.assertEqual(grounds(explanation), [Ground.CODEC, None, Ground.ONE_STREAM])
        assert explanation.agreement is not None
        self.assertEqual(explanation.agreement.index, 1)
        self.assertEqual(explanation.media[2].formats[0].text, "its m-line is not used")

    def test_no_m_line(self) -> None:
        explanation = offered()
        self.assertEqual(explanation.problem, "the offer has no m-line")
        self.assertEqual(str(explanation), "the offer has no m-line")

    def test_direction(self) -> None:
        def said(attribute: str, ip: str = PEER, **given: object) -> tuple[Direction | None, str]:
            body = description(f"audio 6000 RTP/AVP 0\na={attribute}", ip=ip)
            (media,) = explain_offer(body, POLICY, **given).media  # type: ignore[arg-type]
            return media.direction, media.direction_text

        self.assertEqual(said("sendonly"), (Direction.RECVONLY, "the offer says sendonly"))
        self.assertEqual(
            said("sendrecv", local_hold=True),
            (Direction.SENDONLY, "the offer says sendrecv, we hold"),
        )
        self.assertEqual(
            said("recvonly", direction=Direction.RECVONLY),
            (Direction.INACTIVE, "the offer says recvonly, we want recvonly"),
        )
        direction, text = said("sendrecv", ip="0.0.0.0")
        self.assertIs(direction, Direction.RECVONLY)
        self.assertIn("RFC 3264 section 8.4", text)

    def test_packet_length_and_rtcp(self) -> None:
        def said(lines: str) -> ExplainedMedia:
            return offered(f"audio 6000 RTP/AVP 0\n{lines}").media[0]

        self.assertEqual(said("a=x").ptime_text, "no a=ptime")
        self.assertEqual(said("a=ptime:20\na=maxptime:60").ptime_text,
                         "as a=ptime asks, a=maxptime:60")  # fmt: skip
        self.assertEqual(said("a=ptime:30").ptime_text,
                         "a=ptime:30 asks for what this side does not send")  # fmt: skip
        self.assertEqual(said("a=x").rtcp_text, "192.0.2.9:6001: the next port")
        self.assertEqual(said("a=rtcp:7001").rtcp_text, "192.0.2.9:7001: a=rtcp")
        self.assertEqual(said("a=rtcp:7001 IN IP4 0.0.0.0").rtcp_text, "nowhere")

    def test_without_a_policy_everything_is_known(self) -> None:
        (audio, _) = explain_offer(BARESIP).media
        self.assertEqual(audio.formats[0].use, Use.SENT)
        (audio,) = explain_offer(description("audio 6000 RTP/AVP 96 18")).media
        self.assertEqual([each.use for each in audio.formats], [Use.IGNORED, Use.SENT])

    def test_loopback_without_an_address_of_the_peer(self) -> None:
        body = description("audio 6000 RTP/AVP 0", ip="127.0.0.1")
        self.assertIsNotNone(explain_offer(body, POLICY).accepted)

    def test_unreadable(self) -> None:
        self.assertRaises(SdpParseError, explain_offer, b"x", POLICY)

    def test_json(self) -> None:
        for explanation in (explain_offer(BARESIP, POLICY), explain_answer(BARESIP, SIPP_UAC)):
            plain = json.loads(json.dumps(explanation.as_dict()))
            self.assertEqual(plain["accepted"], explanation.accepted is not None)
        plain = explain_offer(BARESIP, POLICY).as_dict()
        self.assertEqual(plain["media"][0]["direction"], "sendrecv")
        self.assertEqual(plain["media"][1]["ground"], "media-kind")
        self.assertEqual(plain["media"][0]["formats"][2]["use"], "sent")

    def test_a_parsed_description_is_explained_too(self) -> None:
        """Less is known of it: what negotiation does not read."""
        explanation = explain_offer(parse_description(BARESIP), POLICY)
        self.assertEqual(explanation.media[0].rtcp_text, "192.0.2.9:21235: a=rtcp")
        self.assertIsNone(explanation.media[0].formats[0].fmtp)


class Answers(SynchronousTestCase):
    OFFER = description(
        "audio 6000 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000", "video 6002 RTP/AVP 31"
    )

    def explained(self, *media: str) -> Explanation:
        return explain_answer(self.OFFER, description(*media), local=LOCAL, signalling_host=PEER)

    def test_an_answer(self) -> None:
        explanation = self.explained(
            "audio 7000 RTP/AVP 8 18 0 96\na=rtpmap:96 telephone-event/8000\na=sendonly",
            "video 0 RTP/AVP 31",
        )
        audio, video = explanation.media
        self.assertEqual(
            [(each.number, each.use, each.text) for each in audio.formats],
            [
                ("8", Use.SENT, "the first format of the answer that was offered"),
                ("18", Use.IGNORED, "not offered; the offer has PCMU/8000, PCMA/8000"),
                ("0", Use.ACCEPTED, "the peer may switch to it at any time"),
                ("96", Use.ACCEPTED, "it carries digits"),
            ],
        )
        self.assertIs(audio.direction, Direction.RECVONLY)
        self.assertEqual(audio.direction_text, "the answer says sendonly, the offer said sendrecv")
        self.assertEqual((audio.dtmf_payload_type, video.ground), (96, Ground.MEDIA_KIND))

    def test_refused(self) -> None:
        explanation = self.explained("audio 0 RTP/AVP 0", "video 0 RTP/AVP 31")
        self.assertEqual(explanation.media[0].text, "audio: port 0")
        self.assertIsNone(explanation.accepted)

    def test_m_lines_that_do_not_match(self) -> None:
        explanation = self.explained("audio 7000 RTP/AVP 0")
        self.assertEqual(explanation.problem, "the answer has 1 m-lines, the offer 2")
        self.assertIsNone(explanation.agreement)
        explanation = self.explained(
            "audio 7000 RTP/AVP 0", "video 0 RTP/AVP 31", "audio 7004 RTP/AVP 0"
        )
        self.assertEqual(explanation.problem, "the answer has 3 m-lines, the offer 2")
        self.assertIsNotNone(explanation.agreement)
        self.assertEqual(explanation.media[2].text, "it was not offered")

    def test_a_number_without_rtpmap_means_what_was_offered(self) -> None:
        offer = description("audio 6000 RTP/AVP 96\na=rtpmap:96 L16/8000")
        explanation = explain_answer(offer, description("audio 7000 RTP/AVP 96"))
        self.assertEqual(explanation.media[0].formats[0].encoding, "L16/8000")

    def test_a_proposal_has_no_digits_among_its_codecs(self) -> None:
        media = parse_description(
            description("audio 6000 RTP/AVP 99 0 13 97\na=rtpmap:99 telephone-event/48000\n"
                        "a=rtpmap:97 pcmu/8000")
        ).media[0]  # fmt: skip
        proposal = proposal_of(media)
        self.assertEqual([(codec.name, number) for codec, number in proposal.audio], [("PCMU", 0)])
        self.assertEqual((proposal.dtmf, proposal.comfort_noise), (None, 13))


MEDIA = st.builds(
    "{} {} {} {}{}{}".format,
    st.sampled_from(["audio", "audio", "audio", "video"]),
    st.sampled_from([0, 53, 4000, 6000, 6001, "6000/2"]),
    st.sampled_from(["RTP/AVP", "RTP/AVP", "RTP/SAVP"]),
    st.lists(
        st.sampled_from(["0", "8", "18", "13", "96", "97", "101", "102", "0", "200"]),
        min_size=1, max_size=6,
    ).map(" ".join),
    st.sampled_from(
        ["", "\na=rtpmap:96 L16/8000\na=rtpmap:97 L16/16000", "\na=rtpmap:101 telephone-event/8000"
         "\na=rtpmap:102 telephone-event/8000", "\na=rtpmap:96 PCMU/8000", "\na=rtpmap:8 G729/8000"]
    ),
    st.sampled_from(["", "\na=sendonly", "\na=inactive", "\na=ptime:30", "\na=maxptime:10",
                     "\na=rtcp:7001", "\nc=IN IP4 0.0.0.0", "\nc=IN IP6 ::1"]),
)  # fmt: skip
DESCRIPTIONS = st.lists(MEDIA, min_size=1, max_size=3).map(lambda media: description(*media))


class SameAsTheNegotiation(SynchronousTestCase):
    """An explanation says what `OfferAnswer` does, for whatever is offered and answered."""

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(DESCRIPTIONS, st.sampled_from(list(Direction)), st.booleans())
    def test_offers(self, body: bytes, direction: Direction, hold: bool) -> None:
        machine = OfferAnswer(POLICY, LOCAL, 7)
        machine.direction, machine.local_hold = direction, hold
        explanation = explain_offer(
            body, POLICY, local=LOCAL, signalling_host=PEER, direction=direction, local_hold=hold
        )
        try:
            machine.receive_offer(body, signalling_host=PEER)
        except NegotiationError as error:
            self.assertIsNone(explanation.agreement)
            reasons = [reason for media in explanation.media for reason in media.reasons]
            self.assertEqual(tuple(reasons[:16]), error.reasons)
            return
        answer = parse_description(machine.make_answer())
        assert machine.agreement is not None and explanation.agreement is not None
        self.assertEqual(explanation.agreement, machine.agreement.audio)
        taken = [index for index, media in enumerate(explanation.media) if media.accepted]
        self.assertEqual(taken, [i for i, media in enumerate(answer.media) if media.port])
        (media,) = [each for each in explanation.media if each.accepted]
        used = {each.number.encode() for each in media.formats if each.use is not Use.IGNORED}
        self.assertEqual(used, set(answer.media[taken[0]].formats))

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(MEDIA, st.sampled_from(list(Direction)))
    def test_answers(self, media: str, direction: Direction) -> None:
        body = description(media)
        machine = OfferAnswer(POLICY, LOCAL, 7)
        offer = machine.make_offer(direction)
        explanation = explain_answer(offer, body, POLICY, local=LOCAL, signalling_host=PEER)
        try:
            agreement = machine.receive_answer(body, signalling_host=PEER).audio
        except NegotiationError as error:
            self.assertIsNone(explanation.agreement)
            self.assertEqual(explanation.media[0].reasons[:16], error.reasons)
            return
        assert explanation.agreement is not None
        self.assertEqual(explanation.agreement.direction, agreement.direction)
        self.assertEqual(explanation.agreement.remote, agreement.remote)
        self.assertEqual(explanation.agreement.ptime, agreement.ptime)
        self.assertEqual(str(explanation.agreement.codec), str(agreement.codec))
        self.assertEqual(
            explanation.agreement.send_dtmf_payload_type, agreement.send_dtmf_payload_type
        )


class OfADialog(SynchronousTestCase):
    def setUp(self) -> None:
        self.machine = OfferAnswer(POLICY, LOCAL, 7)

    def explained(self) -> Explanation:
        explanation = explain_negotiation(self.machine)
        assert explanation is not None and self.machine.agreement is not None
        assert explanation.agreement is not None
        mine, kept = explanation.agreement, self.machine.agreement.audio
        self.assertEqual((mine.direction, mine.remote, mine.ptime, str(mine.codec)),
                         (kept.direction, kept.remote, kept.ptime, str(kept.codec)))  # fmt: skip
        return explanation

    def test_nothing_yet(self) -> None:
        self.assertIsNone(explain_negotiation(self.machine))
        self.machine.receive_offer(SIPP_UAC)
        self.assertIsNone(explain_negotiation(self.machine))

    def test_we_answered(self) -> None:
        self.machine.direction = Direction.RECVONLY
        self.machine.receive_offer(BARESIP, signalling_host=PEER)
        self.machine.make_answer()
        explanation = self.explained()
        self.assertFalse(explanation.is_answer)
        self.assertEqual(explanation.media[0].direction_text,
                         "the offer says sendrecv, we want recvonly")  # fmt: skip
        # A wish for later changes nothing.
        self.machine.direction = Direction.INACTIVE
        self.assertIs(self.explained().media[0].direction, Direction.RECVONLY)

    def test_we_offered(self) -> None:
        self.machine.make_offer(Direction.SENDONLY)
        answer = description("audio 6000 RTP/AVP 8 0\na=recvonly")
        self.machine.receive_answer(answer, signalling_host=PEER)
        explanation = self.explained()
        self.assertTrue(explanation.is_answer)
        self.assertEqual(explanation.media[0].direction_text,
                         "the answer says recvonly, the offer said sendonly")  # fmt: skip
        self.assertEqual([each.use for each in explanation.media[0].formats],
                         [Use.SENT, Use.ACCEPTED])  # fmt: skip

    def test_the_last_exchange_counts(self) -> None:
        self.machine.make_offer()
        self.machine.receive_answer(description("audio 6000 RTP/AVP 0"), signalling_host=PEER)
        self.machine.receive_offer(description("audio 6000 RTP/AVP 8", version=2))
        self.assertTrue(self.explained().is_answer)
        self.machine.make_answer()
        self.assertEqual(self.explained().media[0].formats[0].encoding, "PCMA/8000")
