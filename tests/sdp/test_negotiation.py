from __future__ import annotations

from unittest.mock import Mock

from attrs import fields
from attrs.exceptions import FrozenInstanceError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import (
    AnswerRefused,
    NegotiationError,
    SdpParseError,
    UnexpectedInput,
)
from sessioncore.rtp.codecs.l16 import L16
from sessioncore.rtp.codecs.pcma import PCMA
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.sdp.description import parse_description
from sessioncore.sdp.negotiation import (
    OFFER_ANSWER,
    MediaPolicy,
    OfferAnswer,
    OfferState,
    agreed_direction,
)
from sessioncore.vocabulary import (
    COMFORT_NOISE,
    TELEPHONE_EVENT,
    Address,
    Codec,
    Direction,
    NegotiatedMedia,
    StreamAgreement,
)
from tests.sdp.offers import BARESIP, SIPP_PCAP, SIPP_UAC, description

LOCAL = ("192.0.2.1", 4000)
PEER = "192.0.2.9"
POLICY = MediaPolicy((PCMU, PCMA, L16))
_S = OfferState
PLAIN = "audio 6000 RTP/AVP 0"


def ours(policy: MediaPolicy = POLICY, local: Address | None = LOCAL) -> OfferAnswer:
    return OfferAnswer(policy, local, 7)


def answer_to(body: bytes, machine: OfferAnswer | None = None) -> tuple[StreamAgreement, bytes]:
    machine = machine or ours()
    machine.receive_offer(body, signalling_host=PEER)
    answer = machine.make_answer()
    assert machine.agreement is not None
    return machine.agreement.audio, answer


def offered(
    body: bytes, policy: MediaPolicy = POLICY, direction: Direction = Direction.SENDRECV
) -> StreamAgreement:
    """What we agree to when ``body`` answers our offer."""
    machine = ours(policy)
    machine.make_offer(direction)
    return machine.receive_answer(body, signalling_host=PEER).audio


class Answering(SynchronousTestCase):
    def test_sipp(self) -> None:
        audio, answer = answer_to(SIPP_UAC)
        self.assertEqual(
            audio,
            StreamAgreement(
                codec=PCMU,
                send_payload_type=0,
                receive_payload_type=0,
                local=LOCAL,
                remote=(PEER, 6000),
                remote_rtcp=(PEER, 6001),
                direction=Direction.SENDRECV,
            ),
        )
        self.assertEqual(
            answer,
            b"v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
            b"m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n",
        )

    def test_sipp_over_ipv6_with_brackets(self) -> None:
        machine = ours(local=("2001:db8::1", 4000))
        machine.receive_offer(SIPP_PCAP, signalling_host="2001:db8::9")
        answer = machine.make_answer()
        assert machine.agreement is not None
        audio = machine.agreement.audio
        self.assertEqual(audio.remote, ("2001:db8::9", 6001))
        self.assertEqual((audio.codec, audio.send_dtmf_payload_type), (PCMA, 101))
        self.assertIn(b"c=IN IP6 2001:db8::1\r\n", answer)

    def test_baresip_with_video_and_rtcp_mux(self) -> None:
        audio, answer = answer_to(BARESIP)
        self.assertEqual((audio.codec, audio.send_payload_type), (PCMU, 0))
        self.assertEqual(audio.receive_dtmf_payload_type, 101)
        self.assertEqual(audio.remote_rtcp, (PEER, 21235))
        self.assertIn(b"m=audio 4000 RTP/AVP 0 101\r\n", answer)
        self.assertTrue(answer.endswith(b"a=sendrecv\r\nm=video 0 RTP/AVP 102\r\n"))
        self.assertNotIn(b"rtcp", answer)

    def test_the_offer_s_numbers_are_used_both_ways(self) -> None:
        audio, answer = answer_to(
            description(
                "audio 6000 RTP/AVP 110 97 98\na=rtpmap:110 L16/8000\n"
                "a=rtpmap:97 telephone-event/8000\na=rtpmap:98 CN/8000"
            )
        )
        self.assertEqual((audio.codec, audio.send_payload_type), (L16, 110))
        self.assertEqual(audio.receive_payload_type, 110)
        self.assertEqual(audio.send_dtmf_payload_type, 97)
        self.assertEqual(audio.receive_comfort_noise_payload_type, 98)
        self.assertIn(b"m=audio 4000 RTP/AVP 110 98 97\r\n", answer)
        self.assertIn(b"a=rtpmap:110 L16/8000\r\n", answer)
        self.assertIn(b"a=fmtp:97 0-15\r\n", answer)

    def test_the_offer_s_order_decides(self) -> None:
        audio, _ = answer_to(description("audio 6000 RTP/AVP 18 8 0"))
        self.assertEqual(audio.codec, PCMA)

    def test_every_m_line_is_answered_in_place(self) -> None:
        audio, answer = answer_to(
            description(
                "video 6000 RTP/AVP 31",
                "audio 0 RTP/AVP 0",
                "audio 6002 RTP/SAVP 0",
                "audio 6004 RTP/AVP 18",
                "audio 6006 RTP/AVP 8",
                "audio 6008 RTP/AVP 0",
                "application 6010 udp wb",
                "image 6012 udptl t38",
            )
        )
        self.assertEqual(audio.index, 4)
        self.assertEqual(audio.remote, (PEER, 6006))
        self.assertEqual(
            [(m.form.kind, m.port, m.form.protocol) for m in parse_description(answer).media],
            [
                (b"video", 0, b"RTP/AVP"),
                (b"audio", 0, b"RTP/AVP"),
                (b"audio", 0, b"RTP/SAVP"),
                (b"audio", 0, b"RTP/AVP"),
                (b"audio", 4000, b"RTP/AVP"),
                (b"audio", 0, b"RTP/AVP"),
                (b"application", 0, b"udp"),
                (b"image", 0, b"udptl"),
            ],
        )

    def test_time_is_the_offer_s(self) -> None:
        _, answer = answer_to(description(PLAIN, times="3338481189 3370017201"))
        self.assertEqual(parse_description(answer).times, b"3338481189 3370017201")

    def test_rtcp_elsewhere(self) -> None:
        for text, expected in (
            ("a=rtcp:7000", (PEER, 7000)),
            ("a=rtcp:7000 IN IP4 192.0.2.10", ("192.0.2.10", 7000)),
            ("a=rtcp:7000 IN IP4 0.0.0.0", None),
            ("a=x", (PEER, 6001)),
        ):
            audio, _ = answer_to(description(f"{PLAIN}\n{text}"))
            self.assertEqual(audio.remote_rtcp, expected)
        audio, _ = answer_to(description("audio 65535 RTP/AVP 0"))
        self.assertIsNone(audio.remote_rtcp)

    def test_packet_length(self) -> None:
        audio, answer = answer_to(
            description(f"{PLAIN}\na=ptime:40"),
            ours(MediaPolicy((PCMU,), sendable_ptimes=(20, 40))),
        )
        self.assertEqual(audio.ptime, 40)
        self.assertIn(b"a=ptime:20\r\n", answer)

    def test_ipv4_mapped(self) -> None:
        audio, answer = answer_to(description(PLAIN, ip="::ffff:192.0.2.9"))
        self.assertEqual(audio.remote, (PEER, 6000))
        self.assertIn(b"c=IN IP4 192.0.2.1\r\n", answer)

    def test_three_colons(self) -> None:
        machine = ours(local=("2001:db8::1", 4000))
        audio, _ = answer_to(description(PLAIN, ip="2001:db8:::192.0.2.9"), machine)
        self.assertEqual(audio.remote, ("2001:db8::c000:209", 6000))

    def test_our_address_as_it_is_written(self) -> None:
        for local, line in (
            ("::ffff:192.0.2.1", b"c=IN IP4 192.0.2.1\r\n"),
            ("media.example.com", b"c=IN IP4 media.example.com\r\n"),
        ):
            _, answer = answer_to(SIPP_UAC, ours(local=(local, 4000)))
            self.assertIn(line, answer)

    def test_zone_of_our_address_stays_at_home(self) -> None:
        machine = ours(local=("fe80::1%eth0", 4000))
        _, answer = answer_to(description(PLAIN, ip="fe80::9"), machine)
        self.assertIn(b"c=IN IP6 fe80::1\r\n", answer)

    def test_an_agreement_is_like_one_made_field_by_field(self) -> None:
        for body in (SIPP_UAC, BARESIP):
            audio, _ = answer_to(body)
            self.assertEqual(audio, StreamAgreement(**vars(audio)))
            self.assertEqual(set(vars(audio)), {field.name for field in fields(StreamAgreement)})
            self.assertRaises(FrozenInstanceError, setattr, audio, "ptime", 30)
            hash(audio)


class Directions(SynchronousTestCase):
    def test_the_function(self) -> None:
        for offer in Direction:
            for wish in Direction:
                ours = agreed_direction(offer, wish, False)
                self.assertEqual(ours.sends, offer.receives and wish.sends)
                self.assertEqual(ours.receives, offer.sends and wish.receives)
                held = agreed_direction(offer, wish, True)
                self.assertEqual((held.sends, held.receives), (ours.sends, False))

    def test_mirrored_in_the_answer(self) -> None:
        for said, expected in (
            ("sendrecv", Direction.SENDRECV),
            ("sendonly", Direction.RECVONLY),
            ("recvonly", Direction.SENDONLY),
            ("inactive", Direction.INACTIVE),
        ):
            machine = ours()
            audio, answer = answer_to(description(f"{PLAIN}\na={said}"), machine)
            self.assertIs(audio.direction, expected)
            self.assertIn(f"a={expected}\r\n".encode(), answer)
            self.assertEqual(audio.remote, (PEER, 6000))

    def test_zero_address_is_hold(self) -> None:
        for ip, local in (("0.0.0.0", LOCAL), ("::", ("2001:db8::1", 4000))):
            machine = ours(local=local)
            audio, answer = answer_to(description(PLAIN, ip=ip), machine)
            self.assertIs(audio.direction, Direction.RECVONLY)
            self.assertEqual((audio.remote, audio.remote_rtcp), (None, None))
            self.assertIn(b"a=recvonly\r\n", answer)

    def test_local_hold(self) -> None:
        machine = ours()
        machine.local_hold = True
        audio, answer = answer_to(SIPP_UAC, machine)
        self.assertIs(audio.direction, Direction.SENDONLY)
        self.assertIn(b"a=sendonly\r\n", answer)
        self.assertIn(b"a=sendonly\r\n", machine.make_offer())
        machine.withdraw()
        machine.local_hold = False
        machine.direction = Direction.RECVONLY
        self.assertIn(b"a=recvonly\r\n", machine.make_offer())

    def test_an_answer_cannot_widen_the_offer(self) -> None:
        # SIPp answers a hold offer without any direction attribute.
        audio = offered(description(PLAIN), direction=Direction.SENDONLY)
        self.assertIs(audio.direction, Direction.SENDONLY)

    def test_answer_with_zero_address(self) -> None:
        audio = offered(description(PLAIN, ip="0.0.0.0"))
        self.assertEqual((audio.remote, audio.direction), (None, Direction.RECVONLY))


class Refusing(SynchronousTestCase):
    def refuse(self, body: bytes, *reasons: str, code: int, **changes: object) -> None:
        machine = ours()
        machine.local = changes.get("local", LOCAL)  # type: ignore[assignment]
        with self.assertRaises(NegotiationError) as caught:
            machine.receive_offer(body, signalling_host=str(changes.get("host", PEER)))
        error = caught.exception
        self.assertEqual((error.status, error.reasons, error.warning_code), (488, reasons, code))
        self.assertIs(machine.state, OfferState.NOTHING)
        self.assertFalse(machine.has_pending_offer)

    def test_formats_one_by_one(self) -> None:
        self.refuse(
            description(
                "audio 6000 RTP/AVP 2 107\na=rtpmap:2 G726-32/8000",
                "video 6024 RTP/AVP 107\na=rtpmap:107 H263-1998/90000",
            ),
            "PT 2 G726-32/8000: not supported",
            "PT 107: no rtpmap",
            "m-line 2 video: not supported",
            code=305,
        )

    def test_nothing_to_accept(self) -> None:
        self.refuse(description(), "no m-line", code=304)
        self.refuse(
            description("audio 0 RTP/AVP 0", "video 0 RTP/AVP 31"),
            "m-line 1 audio: port 0",
            "m-line 2 video: not supported",
            code=304,
        )

    def test_protocols(self) -> None:
        for protocol in ("RTP/SAVP", "RTP/SAVPF", "RTP/AVPF", "UDP/TLS/RTP/SAVPF", "udp"):
            self.refuse(
                description(f"audio 6000 {protocol} 0"),
                f"m-line 1 {protocol}: not supported",
                code=302,
            )
        self.refuse(description("audio 6000/2 RTP/AVP 0"), "m-line 1 audio: 2 ports", code=302)

    def test_maxptime_below_what_we_send(self) -> None:
        self.refuse(
            description(f"{PLAIN}\na=maxptime:10"),
            "maxptime 10 ms: we send 20 ms and more",
            code=306,
        )

    def test_targets(self) -> None:
        for ip, port, reason, code in (
            ("233.252.0.1/127", 6000, "233.252.0.1 is a multicast address", 330),
            ("255.255.255.255", 6000, "255.255.255.255 is the broadcast address", 399),
            ("127.0.0.1", 6000, "127.0.0.1 is the loopback address of another machine", 399),
            ("192.0.2.1", 4000, "192.0.2.1 port 4000 is our own", 399),
            ("192.0.2.1", 3999, "192.0.2.1 port 4000 is our own", 399),
            ("192.0.2.1", 4001, "192.0.2.1 port 4001 is our own", 399),
            ("2001:db8::9", 6000, "2001:db8::9 is not IPv4", 301),
            ("host.example.com", 6000, "host.example.com is a host name, not an IP address", 301),
        ):
            self.refuse(description(f"audio {port} RTP/AVP 0", ip=ip), reason, code=code)

    def test_rtcp_target(self) -> None:
        for rtcp, port in ((4000, 4001), (7000, 4001), (4001, 4001)):
            self.refuse(
                description(f"audio 4001 RTP/AVP 0\na=rtcp:{rtcp}", ip="192.0.2.1"),
                f"192.0.2.1 port {port} is our own",
                code=399,
            )
        self.refuse(
            description(f"{PLAIN}\na=rtcp:7000 IN IP4 233.252.0.1"),
            "233.252.0.1 is a multicast address",
            code=330,
        )
        self.refuse(
            description(f"{PLAIN}\na=rtcp:7000 ATM NSAP 47.1"),
            "c= is not of network type IN",
            code=300,
        )

    def test_address_type_that_lies(self) -> None:
        body = SIPP_UAC.replace(b"c=IN IP4 192.0.2.9", b"c=IN IP6 192.0.2.9")
        self.refuse(body, "c= says IP6 but 192.0.2.9", code=301)
        body = SIPP_UAC.replace(b"c=IN IP4 192.0.2.9", b"c=IN E164 192.0.2.9")
        self.refuse(body, "c= is not of network type IN", code=300)

    def test_a_good_line_after_a_bad_one_is_taken(self) -> None:
        audio, answer = answer_to(
            description("audio 6000 RTP/AVP 0\nc=IN IP4 233.252.0.1", "audio 6002 RTP/AVP 0")
        )
        self.assertEqual((audio.index, audio.remote), (1, (PEER, 6002)))
        self.assertEqual([m.port for m in parse_description(answer).media], [0, 4000])

    def test_address_of_ours_that_comes_late_is_checked_in_the_answer(self) -> None:
        for first in (None, ("192.0.2.1", 0), ("0.0.0.0", 0)):
            machine = ours(local=first)
            machine.receive_offer(description(PLAIN, ip="192.0.2.1"), signalling_host=PEER)
            self.assertRaises(ValueError, machine.make_answer)
            machine.local = ("192.0.2.1", 6000)
            with self.assertRaises(NegotiationError) as caught:
                machine.make_answer()
            self.assertEqual(caught.exception.reasons, ("192.0.2.1 port 6000 is our own",))
            self.assertIs(machine.state, OfferState.OFFER_RECEIVED)
            machine.local = ("2001:db8::1", 6000)
            self.assertRaises(NegotiationError, machine.make_answer)
            machine.local = ("192.0.2.1", 4000)
            machine.make_answer()
        self.assertRaises(ValueError, ours(local=None).make_offer)

    @settings(max_examples=300)
    @given(st.data())
    def test_an_address_that_comes_late_is_judged_like_one_known_before(
        self, data: st.DataObject
    ) -> None:
        hosts = st.sampled_from(["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1", "2001:db8::1"])
        ports = st.sampled_from([4000, 4001, 4002])
        addresses = st.tuples(hosts, ports)
        (ip, port), (rtcp_ip, rtcp_port) = data.draw(addresses), data.draw(addresses)
        said = f"a=rtcp:{rtcp_port} IN {'IP6' if ':' in rtcp_ip else 'IP4'} {rtcp_ip}"
        offer = description(f"audio {port} RTP/AVP 0\n{said}", ip=ip)
        local = data.draw(addresses)

        def accepted(first: Address | None) -> bool:
            machine = OfferAnswer(POLICY, first, 7)
            try:
                machine.receive_offer(offer, signalling_host=PEER)
                machine.local = local
                machine.make_answer()
            except NegotiationError:
                return False
            return True

        expected = accepted(local)
        for first in (None, ("0.0.0.0", 0), (local[0], 0)):
            self.assertEqual(accepted(first), expected)

    def test_hold_offer_and_late_address(self) -> None:
        machine = ours(local=None)
        machine.receive_offer(description(PLAIN, ip="0.0.0.0"))
        machine.local = LOCAL
        self.assertIn(b"a=recvonly", machine.make_answer())

    def test_loopback_when_nothing_is_known(self) -> None:
        with self.assertRaises(NegotiationError):
            ours(local=None).receive_offer(description(PLAIN, ip="127.0.0.1"))

    def test_the_warning_is_about_formats_if_any_are_at_fault(self) -> None:
        self.refuse(
            description("audio 6000 RTP/SAVP 0", "audio 6002 RTP/AVP 18"),
            "m-line 1 RTP/SAVP: not supported",
            "PT 18 G729/8000: not supported",
            code=305,
        )

    def test_family_is_known_before_the_port(self) -> None:
        self.refuse(
            description(PLAIN, ip="2001:db8::9"),
            "2001:db8::9 is not IPv4",
            code=301,
            local=("192.0.2.1", 0),
        )

    def test_warning_text_is_fit_for_a_header(self) -> None:
        formats = " ".join(str(n) for n in range(35, 60))
        with self.assertRaises(NegotiationError) as caught:
            ours().receive_offer(description(f"audio 6000 RTP/AVP {formats}"))
        error = caught.exception
        self.assertEqual(len(error.warning), 160)
        self.assertTrue(error.warning.startswith("PT 35: no rtpmap; PT 36: no rtpmap; "))
        self.assertEqual(len(error.reasons), 16)
        self.assertEqual(NegotiationError('a "b\\c\r\n\xe9').warning, "a ?b?c???")

    def test_unreadable(self) -> None:
        machine = ours()
        self.assertRaises(SdpParseError, machine.receive_offer, b"v=0\r\n")
        self.assertIs(machine.state, OfferState.NOTHING)

    def test_refusing_answer(self) -> None:
        machine = ours()
        body = description("audio 6000 RTP/SAVP 0 8", "video 6002 RTP/AVP 31")
        self.assertEqual(
            [
                (m.form.kind, m.port, m.form.protocol, m.formats)
                for m in parse_description(machine.make_refusing_answer(body)).media
            ],
            [(b"audio", 0, b"RTP/SAVP", (b"0",)), (b"video", 0, b"RTP/AVP", (b"31",))],
        )
        one = parse_description(machine.make_refusing_answer(SIPP_UAC))
        self.assertEqual([m.port for m in one.media], [0])
        self.assertEqual(parse_description(machine.make_refusing_answer(description())).media, ())
        self.assertIs(machine.state, OfferState.NOTHING)


class Offering(SynchronousTestCase):
    def test_answerer_with_other_numbers(self) -> None:
        audio = offered(
            description(
                "audio 6000 RTP/AVP 110 97\na=rtpmap:110 L16/8000\na=rtpmap:97 telephone-event/8000"
            )
        )
        self.assertEqual((audio.send_payload_type, audio.receive_payload_type), (110, 96))
        self.assertEqual((audio.send_dtmf_payload_type, audio.receive_dtmf_payload_type), (97, 101))

    def renumbered(self, formats: str, *lines: str) -> dict[int, Codec]:
        audio = offered(description("\na=".join([f"audio 6000 RTP/AVP {formats}", *lines])))
        self.assertEqual(audio.receive_dtmf_payload_type, 101)
        return dict(audio.other_receive_payload_types)

    def test_a_renumbered_telephone_event_is_taken_under_both_numbers(self) -> None:
        for number in (97, 100, 127, 35):
            found = self.renumbered(f"0 {number}", f"rtpmap:{number} telephone-event/8000")
            self.assertEqual(found, {number: TELEPHONE_EVENT})
        self.assertEqual(self.renumbered("0 101", "rtpmap:101 telephone-event/8000"), {})

    def test_a_number_that_something_else_has_keeps_its_meaning(self) -> None:
        """What we offered under that number may come under it."""
        found = self.renumbered(
            "0 13 8", "rtpmap:13 telephone-event/8000", "rtpmap:8 CN/8000", "rtpmap:0 PCMU/8000"
        )
        self.assertEqual(found, {8: COMFORT_NOISE})
        found = self.renumbered("101 97", "rtpmap:101 PCMU/8000", "rtpmap:97 telephone-event/8000")
        self.assertEqual(found, {97: TELEPHONE_EVENT})

    def test_audio_and_comfort_noise_that_were_renumbered(self) -> None:
        found = self.renumbered(
            "110 98 97",
            "rtpmap:110 L16/8000",
            "rtpmap:98 CN/8000",
            "rtpmap:97 telephone-event/8000",
        )
        self.assertEqual(found[97], TELEPHONE_EVENT)
        self.assertEqual(found[98], COMFORT_NOISE)
        self.assertEqual(str(found[110]), "L16/8000")

    def test_further_formats_may_come(self) -> None:
        audio = offered(description("audio 6000 RTP/AVP 8 0 18"))
        self.assertEqual(audio.codec, PCMA)
        self.assertEqual(audio.other_receive_payload_types, ((0, PCMU),))

    def test_answer_that_only_knows_its_default(self) -> None:
        audio = offered(SIPP_UAC, MediaPolicy(codecs=(PCMA, PCMU)))
        self.assertEqual((audio.codec, audio.send_dtmf_payload_type), (PCMU, None))

    def refuse(self, body: bytes, text: str, policy: MediaPolicy = POLICY) -> None:
        machine = ours(policy)
        machine.make_offer()
        error = self.assertRaises(AnswerRefused, machine.receive_answer, body, signalling_host=PEER)
        self.assertIn(text, str(error))
        self.assertTrue(error.reasons)
        self.assertIsNone(error.status)
        self.assertIs(machine.state, OfferState.BROKEN)
        self.assertIsNone(machine.agreement)

    def test_answers_that_break_the_rules(self) -> None:
        self.refuse(description(), "the answer has 0 m-lines, the offer 1")
        self.refuse(description("video 6000 RTP/AVP 0"), "m-line 1 video: not supported")
        self.refuse(description("audio 6000 RTP/SAVP 0"), "RTP/SAVP: not supported")
        self.refuse(description("audio 0 RTP/AVP 0"), "port 0")
        self.refuse(description("audio 6000 RTP/AVP 18"), "PT 18 G729/8000: not supported")
        self.refuse(description("audio 6000 RTP/AVP 99"), "PT 99: no rtpmap")
        self.refuse(SIPP_UAC, "PT 0 PCMU/8000: not supported", MediaPolicy(codecs=(PCMA,)))
        self.refuse(description(PLAIN, ip="233.252.0.1"), "multicast")
        self.refuse(description(PLAIN, ip="127.0.0.1"), "loopback")
        self.refuse(b"v=0\r\nnonsense", "cannot be read")

    def test_one_m_line_too_many(self) -> None:
        for more in (PLAIN, "video 0 RTP/AVP 31", "application 9 TCP/MRCPv2"):
            machine = ours()
            machine.make_offer()
            media = machine.receive_answer(description(PLAIN, more), signalling_host=PEER)
            self.assertEqual(media.audio.remote, ("192.0.2.9", 6000))
            assert machine.settled is not None
            oddities = machine.settled.description.oddities
            self.assertEqual(oddities[-1], "the answer has 2 m-lines, the offer 1")

    def test_an_answer_with_the_m_lines_of_the_offer_is_not_odd(self) -> None:
        machine = ours()
        machine.make_offer()
        machine.receive_answer(description(PLAIN), signalling_host=PEER)
        assert machine.settled is not None
        self.assertEqual(machine.settled.description.oddities, ())

    def test_a_broken_exchange_can_be_repaired(self) -> None:
        machine = ours()
        machine.make_offer()
        self.assertRaises(AnswerRefused, machine.receive_answer, b"")
        answer_to(SIPP_UAC, machine)
        self.assertIs(machine.state, OfferState.AGREED)

    def test_a_better_answer_may_follow(self) -> None:
        # An unreliable 183 brought nonsense, the 200 the answer.
        machine = ours()
        machine.make_offer()
        for _ in range(2):
            self.assertRaises(AnswerRefused, machine.receive_answer, b"nonsense")
        self.assertRaises(UnexpectedInput, machine.withdraw)
        media = machine.receive_answer(SIPP_UAC, signalling_host=PEER)
        self.assertEqual(media.audio.codec, PCMU)
        self.assertIs(machine.state, OfferState.AGREED)

    def test_forks_answer_for_themselves(self) -> None:
        first = ours()
        first.make_offer()
        second = first.fork()
        one = first.receive_answer(description("audio 6000 RTP/AVP 0"), signalling_host=PEER)
        two = second.receive_answer(description("audio 7000 RTP/AVP 8"), signalling_host=PEER)
        self.assertEqual((one.audio.codec, two.audio.codec), (PCMU, PCMA))
        self.assertEqual(second.agreement, two)
        self.assertEqual(first.agreement, one)
        first.local_hold = True
        self.assertIn(b"o=- 7 2 ", first.make_offer())
        second.local_hold = True
        self.assertIn(b"o=- 7 2 ", second.make_offer())

    def test_a_fork_is_the_same_and_shares_what_was_offered(self) -> None:
        first = ours()
        first.follow(Mock())
        first.local_hold = True
        first.signalling_host = PEER
        first.make_offer()
        second = first.fork()
        self.assertIsNot(vars(second), vars(first))
        self.assertEqual(vars(second), vars(first))
        self.assertIs(second.sent, first.sent)
        self.assertIs(second.table, first.table)
        self.assertIs(second.state, OfferState.OFFER_SENT)


class Again(SynchronousTestCase):
    """Re-offers: RFC 3264 section 8."""

    def setUp(self) -> None:
        self.machine = ours()
        self.audio, self.answer = answer_to(SIPP_UAC, self.machine)

    def test_unchanged(self) -> None:
        self.assertTrue(self.machine.changed)
        audio, answer = answer_to(SIPP_UAC, self.machine)
        self.assertEqual((audio, answer), (self.audio, self.answer))
        self.assertFalse(self.machine.changed)

    def test_new_version_or_new_content_is_a_change(self) -> None:
        answer_to(SIPP_UAC.replace(b"2353687637", b"2353687638"), self.machine)
        self.assertTrue(self.machine.changed)
        answer_to(SIPP_UAC.replace(b"2353687637", b"2353687638"), self.machine)
        self.assertFalse(self.machine.changed)
        answer_to(SIPP_UAC.replace(b"2353687637", b"2353687638") + b"a=sendonly\r\n", self.machine)
        self.assertTrue(self.machine.changed)

    def test_our_version_rises_only_with_the_content(self) -> None:
        for body, version in (
            (SIPP_UAC.replace(b"2353687637", b"2353687638"), 1),
            (SIPP_UAC + b"a=sendonly\r\n", 2),
            (SIPP_UAC + b"a=sendonly\r\n", 2),
            (SIPP_UAC, 3),
        ):
            _, answer = answer_to(body, self.machine)
            self.assertEqual(parse_description(answer).origin.version, version)

    def test_a_refused_offer_changes_nothing(self) -> None:
        for bad in (description("audio 6000 RTP/AVP 18"), b"nonsense"):
            self.assertRaises((SdpParseError, NegotiationError), self.machine.receive_offer, bad)
            assert self.machine.agreement is not None
            self.assertEqual(self.machine.agreement.audio, self.audio)
            self.assertIs(self.machine.state, OfferState.AGREED)

    def test_a_withdrawn_offer_changes_nothing_but_used_its_version(self) -> None:
        self.machine.local_hold = True
        self.assertIn(b"o=- 7 2 ", self.machine.make_offer())
        self.machine.withdraw()
        self.assertIs(self.machine.state, OfferState.AGREED)
        assert self.machine.agreement is not None
        self.assertEqual(self.machine.agreement.audio, self.audio)
        self.assertIn(b"o=- 7 2 ", self.machine.make_offer())
        self.machine.withdraw()
        self.machine.local_hold = False
        self.assertIn(b"o=- 7 3 ", self.machine.make_offer())

    def test_our_re_offer_keeps_m_lines_numbers_and_time(self) -> None:
        machine = ours()
        answer_to(
            description(
                "video 6000 RTP/AVP 31",
                "audio 6002 RTP/AVP 0 96\na=rtpmap:96 telephone-event/8000",
                "image 6004 udptl t38",
                times="1 2",
            ),
            machine,
        )
        offer = parse_description(machine.make_offer())
        self.assertEqual(offer.times, b"1 2")
        self.assertEqual(
            [(m.form.kind, m.port) for m in offer.media],
            [
                (b"video", 0),
                (b"audio", 4000),
                (b"image", 0),
            ],
        )
        self.assertEqual(offer.media[2].form.protocol, b"udptl")
        names = {number: m.name for number, m in offer.media[1].section.formats.by_format.items()}
        self.assertEqual(names[b"96"], b"telephone-event")
        self.assertEqual(names[b"97"], b"L16")
        audio = machine.receive_answer(
            description("video 0 RTP/AVP 31", PLAIN, "image 0 udptl t38"), signalling_host=PEER
        ).audio
        self.assertEqual((audio.index, audio.remote), (1, (PEER, 6000)))

    def test_peer_that_adds_and_moves(self) -> None:
        audio, answer = answer_to(
            description("audio 0 RTP/AVP 0", "audio 6100 RTP/AVP 8", version=2), self.machine
        )
        self.assertEqual((audio.index, audio.codec, audio.remote), (1, PCMA, (PEER, 6100)))
        self.assertEqual([m.port for m in parse_description(answer).media], [0, 4000])

    def test_hold_and_resume_by_the_peer(self) -> None:
        held, _ = answer_to(description(PLAIN + "\na=sendonly", version=2), self.machine)
        self.assertIs(held.direction, Direction.RECVONLY)
        resumed, _ = answer_to(description(PLAIN, version=3), self.machine)
        self.assertIs(resumed.direction, Direction.SENDRECV)

    def test_signalling_host_is_remembered(self) -> None:
        # A peer on this machine that names loopback, while we are on another address.
        here = description(PLAIN, ip="127.0.0.1")
        machine = ours()
        machine.receive_offer(here, signalling_host="127.0.0.1")
        machine.make_answer()
        machine.receive_offer(here)
        machine.make_answer()
        machine.make_offer()
        machine.receive_answer(here)
        caller = ours()
        caller.make_offer()
        caller.receive_answer(here, signalling_host="127.0.0.1")
        self.assertRaises(
            NegotiationError, machine.receive_offer, here, signalling_host="192.0.2.9"
        )
        self.assertRaises(NegotiationError, self.machine.receive_offer, here)


class OneAtATime(SynchronousTestCase):
    def test_table(self) -> None:
        self.assertEqual(len(OfferState), 5)
        self.assertEqual(OFFER_ANSWER.reachable(), set(OfferState))
        self.assertEqual(OFFER_ANSWER.dead_ends(), set())

    def test_what_each_state_rules_out(self) -> None:
        def offer_sent() -> OfferAnswer:
            machine = ours()
            machine.make_offer()
            return machine

        def offer_received() -> OfferAnswer:
            machine = ours()
            machine.receive_offer(SIPP_UAC, signalling_host=PEER)
            return machine

        for machine, forbidden in (
            (ours(), "make_answer receive_answer withdraw"),
            (offer_sent(), "make_offer receive_offer make_answer"),
            (offer_received(), "make_offer receive_offer receive_answer"),
        ):
            state, version = machine.state, machine.version
            for name in forbidden.split():
                # Even a body nobody can read does not hide the glare.
                arguments = (b"nonsense",) if name.startswith("receive") else ()
                error = self.assertRaises(UnexpectedInput, getattr(machine, name), *arguments)
                self.assertIn(f"in state {state}", str(error))
                self.assertEqual((machine.state, machine.version), (state, version))

    def test_late_offer(self) -> None:
        caller, callee = ours(), OfferAnswer(POLICY, (PEER, 6000), 8)
        caller.receive_offer(callee.make_offer(), signalling_host=PEER)
        self.assertTrue(callee.has_pending_offer)
        callee.receive_answer(caller.make_answer(), signalling_host="192.0.2.1")
        self.assertFalse(callee.has_pending_offer)

    def test_trace(self) -> None:
        seen: list[object] = []
        machine = OfferAnswer(
            POLICY, LOCAL, 7, trace=lambda machine, old, given, new: seen.append((old, new))
        )
        answer_to(SIPP_UAC, machine)
        self.assertEqual(
            seen,
            [
                (OfferState.NOTHING, OfferState.OFFER_RECEIVED),
                (OfferState.OFFER_RECEIVED, OfferState.AGREED),
            ],
        )


CODECS = st.lists(
    st.sampled_from([PCMU, PCMA, L16, Codec("L16", 97, 16000), Codec("X-new", 101)]),
    min_size=1,
    max_size=5,
    unique=True,
)
POLICIES = st.builds(
    MediaPolicy, codecs=CODECS.map(tuple), dtmf=st.booleans(), comfort_noise=st.booleans()
)
A = ("192.0.2.1", 4000)
B = ("192.0.2.9", 6000)


def symmetric(test: SynchronousTestCase, a: NegotiatedMedia, b: NegotiatedMedia) -> None:
    one, other = a.audio, b.audio
    test.assertEqual(one.codec, other.codec)
    test.assertIs(one.direction, other.direction.mirrored)
    test.assertEqual((one.local, one.remote), (other.remote, other.local))
    for kind in ("", "dtmf_", "comfort_noise_"):
        send, receive = f"send_{kind}payload_type", f"receive_{kind}payload_type"
        test.assertEqual(getattr(one, send), getattr(other, receive))
        test.assertEqual(getattr(one, receive), getattr(other, send))


class Exchanges(RuleBasedStateMachine):
    """Two parties that hold, resume, re-offer, refuse and cross; they never disagree."""

    def __init__(self) -> None:
        super().__init__()
        self.check = SynchronousTestCase()
        self.wire: tuple[OfferAnswer, bytes] | None = None

    @initialize(a=POLICIES, b=POLICIES)
    def meet(self, a: MediaPolicy, b: MediaPolicy) -> None:
        self.a = OfferAnswer(a, A, 1)
        self.b = OfferAnswer(b, B, 2)
        self.versions: dict[OfferAnswer, tuple[int, bytes]] = {}

    def other(self, party: OfferAnswer) -> OfferAnswer:
        return self.b if party is self.a else self.a

    def sent(self, party: OfferAnswer, body: bytes) -> None:
        origin = parse_description(body).origin
        content = body[body.index(b"s=-") :]
        old_version, old_content = self.versions.get(party, (0, b""))
        self.check.assertEqual(origin.version, old_version + (content != old_content))
        self.versions[party] = (origin.version, content)

    @rule(who=st.booleans(), hold=st.booleans(), wish=st.sampled_from(Direction))
    def change_mind(self, who: bool, hold: bool, wish: Direction) -> None:
        party = self.a if who else self.b
        party.local_hold, party.direction = hold, wish

    @precondition(lambda self: self.wire is None)
    @rule(who=st.booleans())
    def offer(self, who: bool) -> None:
        party = self.a if who else self.b
        body = party.make_offer()
        self.sent(party, body)
        self.wire = (party, body)

    @precondition(lambda self: self.wire is not None)
    @rule()
    def glare(self) -> None:
        assert self.wire is not None
        party, body = self.wire
        self.check.assertRaises(UnexpectedInput, party.receive_offer, body)

    @precondition(lambda self: self.wire is not None)
    @rule(accept=st.booleans())
    def answer(self, accept: bool) -> None:
        assert self.wire is not None
        (offerer, body), self.wire = self.wire, None
        answerer = self.other(offerer)
        before = (self.a.agreement, self.b.agreement)
        try:
            answerer.receive_offer(body, signalling_host=offerer.local[0])  # type: ignore[index]
        except NegotiationError as error:
            self.check.assertFalse(set(self.a.policy.codecs) & set(self.b.policy.codecs))
            self.check.assertTrue(error.reasons)
            accept = False
        else:
            if not accept:
                answerer.withdraw()
        if not accept:
            offerer.withdraw()
            self.check.assertEqual((self.a.agreement, self.b.agreement), before)
            return
        reply = answerer.make_answer()
        self.sent(answerer, reply)
        offerer.receive_answer(reply)
        assert self.a.agreement is not None and self.b.agreement is not None
        symmetric(self.check, self.a.agreement, self.b.agreement)
        for party, said in ((offerer, reply), (answerer, body)):
            (media,) = parse_description(said).media
            assert party.agreement is not None
            direction = party.agreement.audio.direction
            self.check.assertFalse(direction.sends and not media.direction.receives)
            self.check.assertFalse(direction.receives and not media.direction.sends)

    def teardown(self) -> None:
        for party in (self.a, self.b) if hasattr(self, "a") else ():
            self.check.assertIs(party.received is not None, party.state is _S.OFFER_RECEIVED)
            waits = party.state in (_S.OFFER_SENT, _S.BROKEN)
            self.check.assertIs(party.sent is not None, waits)
            agreed = party.agreement is not None
            if not party.has_pending_offer:
                self.check.assertIs(party.state is OfferState.AGREED, agreed)


class Symmetry(SynchronousTestCase):
    @settings(max_examples=150)
    @given(
        POLICIES, POLICIES, st.sampled_from(Direction), st.sampled_from(Direction), st.booleans()
    )
    def test_any_two_policies(
        self, a: MediaPolicy, b: MediaPolicy, wish_a: Direction, wish_b: Direction, hold: bool
    ) -> None:
        caller, callee = OfferAnswer(a, A, 1), OfferAnswer(b, B, 2)
        caller.direction, callee.direction, callee.local_hold = wish_a, wish_b, hold
        try:
            callee.receive_offer(caller.make_offer(), signalling_host=A[0])
        except NegotiationError:
            self.assertFalse(set(a.codecs) & set(b.codecs))
            return
        media = caller.receive_answer(callee.make_answer(), signalling_host=B[0])
        assert callee.agreement is not None
        symmetric(self, media, callee.agreement)

    def test_any_history(self) -> None:
        run_state_machine_as_test(
            Exchanges,
            settings=settings(max_examples=60, stateful_step_count=25),
        )

    @settings(max_examples=300)
    @given(st.data())
    def test_mutated_offers_are_answered_or_refused(self, data: st.DataObject) -> None:
        body = bytearray(data.draw(st.sampled_from([SIPP_UAC, BARESIP])))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(body)))
            body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        machine = ours()
        try:
            machine.receive_offer(bytes(body), signalling_host=PEER)
        except (SdpParseError, NegotiationError) as error:
            self.assertIsNotNone(error.status)
            self.assertIs(machine.state, OfferState.NOTHING)
            return
        answer = parse_description(machine.make_answer())
        self.assertEqual(
            [m.form.kind for m in answer.media],
            [m.form.kind for m in parse_description(bytes(body)).media],
        )
        self.assertEqual([m.port for m in answer.media if m.port], [4000])
