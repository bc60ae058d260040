from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SdpParseError
from sessioncore.sdp import description as d
from sessioncore.sdp.description import Connection, Origin, RtpMap, parse_description
from sessioncore.vocabulary import Direction
from tests.sdp.offers import BARESIP, SIPP_PCAP, SIPP_UAC, description

STEADY = settings(deadline=None, max_examples=300, derandomize=True)


class Reading(SynchronousTestCase):
    def test_all_typed_values_of_a_real_offer(self) -> None:
        sdp = parse_description(BARESIP)
        self.assertEqual(
            sdp.origin, Origin(b"-", 3265784673, 1043583912, b"IN", b"IP4", b"192.0.2.9")
        )
        self.assertEqual(sdp.times, b"0 0")
        audio, video = sdp.media
        self.assertEqual((audio.port, audio.form), (21234, (b"audio", b"RTP/AVP", 1)))
        self.assertEqual(audio.formats, (b"96", b"97", b"0", b"8", b"101"))
        encodings = audio.section.formats.by_format
        self.assertEqual(encodings[b"96"], RtpMap(b"opus", 48000, 2))
        self.assertEqual(str(encodings[b"96"]), "opus/48000/2")
        self.assertEqual(audio.section.formats.ptime, 20)
        self.assertIsNone(audio.section.formats.maxptime)
        self.assertEqual(audio.section.rtcp, (21235, None))
        self.assertEqual((video.form.kind, video.formats), (b"video", (b"102",)))
        for media in sdp.media:
            self.assertEqual(media.connection, Connection(b"IN", b"IP4", b"192.0.2.9"))

    def test_origin_with_spaces_in_the_user_name(self) -> None:
        sdp = parse_description(SIPP_UAC.replace(b"o=user1", b"o=John Q. Doe"))
        self.assertEqual(sdp.origin.username, b"John Q. Doe")

    def test_media_connection_goes_before_the_session_s(self) -> None:
        body = description("audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.77", "audio 2 RTP/AVP 0")
        first, second = parse_description(body).media
        self.assertEqual(first.connection, Connection(b"IN", b"IP4", b"192.0.2.77"))
        self.assertEqual(second.connection, Connection(b"IN", b"IP4", b"192.0.2.9"))

    def test_multicast_suffix(self) -> None:
        body = description("audio 4000 RTP/AVP 0\nc=IN IP4 233.252.0.1/127/3")
        self.assertEqual(
            parse_description(body).media[0].connection,
            Connection(b"IN", b"IP4", b"233.252.0.1", b"/127/3"),
        )

    def test_direction_media_session_default(self) -> None:
        body = description(
            "audio 4000 RTP/AVP 0\na=inactive",
            "audio 4002 RTP/AVP 0",
            session="a=recvonly\n",
        )
        first, second = parse_description(body).media
        self.assertIs(first.direction, Direction.INACTIVE)
        self.assertIs(second.direction, Direction.RECVONLY)
        (only,) = parse_description(SIPP_UAC).media
        self.assertIs(only.direction, Direction.SENDRECV)

    def test_packet_lengths(self) -> None:
        for text, expected in ((b"20", 20), (b"22.5", 22), (b"x", None), (b"0", None)):
            body = SIPP_UAC + b"a=ptime:%b\r\na=maxptime:%b\r\n" % (text, text)
            formats = parse_description(body).media[0].section.formats
            self.assertEqual((formats.ptime, formats.maxptime), (expected, expected))

    def test_rtcp_attribute(self) -> None:
        for text, expected in (
            (b"53020", (53020, None)),
            (b"53020 IN IP4 192.0.2.8", (53020, Connection(b"IN", b"IP4", b"192.0.2.8"))),
            (b"0", None),
            (b"70000", None),
            (b"port", None),
        ):
            (audio,) = parse_description(SIPP_UAC + b"a=rtcp:%b\r\n" % text).media
            self.assertEqual(audio.section.rtcp, expected)

    def test_malformed_rtpmap_is_left_out(self) -> None:
        body = SIPP_UAC + b"a=rtpmap:31 LPC\r\na=rtpmap:9 G722/8000\r\na=rtpmap:x y/1\r\n"
        (audio,) = parse_description(body).media
        self.assertEqual(set(audio.section.formats.by_format), {b"0", b"9"})

    def test_port_count(self) -> None:
        (audio,) = parse_description(description("audio 4000/2 RTP/AVP 0")).media
        self.assertEqual((audio.port, audio.form.port_count), (4000, 2))

    def test_refused_stream_needs_neither_format_nor_address(self) -> None:
        body = SIPP_UAC.replace(b"c=IN IP4 192.0.2.9\r\n", b"").replace(b" 6000 ", b" 0 ")
        self.assertEqual(parse_description(body).media[0].port, 0)
        self.assertEqual(parse_description(description("video 0 RTP/AVP")).media[0].formats, ())


class Keeping(SynchronousTestCase):
    def test_unknown_lines_change_nothing(self) -> None:
        body = SIPP_UAC.replace(b"t=0 0\r\n", b"x=one \xff\r\nt=0 0\r\ny=more\r\n")
        self.assertEqual(
            facts(parse_description(body + b"y=two\r\na=x-new:1\r\n")),
            facts(parse_description(SIPP_UAC)),
        )

    def test_lf_and_crlf_mean_the_same(self) -> None:
        for body in (BARESIP, SIPP_UAC, description("audio 4 RTP/AVP 0", times="1 2\nt=3 4")):
            unix = parse_description(body.replace(b"\r\n", b"\n"))
            self.assertEqual(facts(unix), facts(parse_description(body)))
            self.assertEqual(facts(parse_description(body[:-2])), facts(unix))

    def test_equal_sections_are_read_once(self) -> None:
        one, two = parse_description(BARESIP), parse_description(BARESIP)
        self.assertIs(one.media[0].section, two.media[0].section)

    def test_long_sections_are_not_kept(self) -> None:
        body = SIPP_UAC + b"a=candidate:1 1 UDP 1 192.0.2.9 6000 typ host\r\n" * 40
        one, two = parse_description(body), parse_description(body)
        self.assertIsNot(one.media[0].section, two.media[0].section)
        # ... but their formats are.
        self.assertIs(one.media[0].section.formats, two.media[0].section.formats)
        self.assertTrue(one.media[0].section.formats.remembered)
        many = b"".join(b"a=rtpmap:%d X-%d/8000\r\n" % (n, n) for n in range(100))
        one, two = parse_description(body + many), parse_description(body + many)
        self.assertIsNot(one.media[0].section.formats, two.media[0].section.formats)
        self.assertFalse(one.media[0].section.formats.remembered)


class Refusing(SynchronousTestCase):
    def refuse(self, body: bytes, words: str) -> None:
        error = self.assertRaises(SdpParseError, parse_description, body)
        self.assertIn(words, str(error))
        self.assertEqual(error.status, 400)

    def test_mandatory_lines(self) -> None:
        for line in (b"v=0", b"o=user1 53655765 2353687637 IN IP4 192.0.2.9", b"s=-", b"t=0 0"):
            self.refuse(SIPP_UAC.replace(line + b"\r\n", b"", 1), line[:2].decode())
        self.refuse(SIPP_UAC.replace(b"c=IN IP4 192.0.2.9\r\n", b""), "no c= line")
        self.refuse(b"", "no description")

    def test_version(self) -> None:
        self.refuse(SIPP_UAC.replace(b"v=0", b"v=1"), "v=0")
        self.refuse(SIPP_UAC.replace(b"v=0", b"v=00"), "v=0")

    def test_doubled_and_misplaced_lines(self) -> None:
        for line in (
            b"s=-",
            b"c=IN IP4 192.0.2.9",
            b"o=user1 53655765 2353687637 IN IP4 192.0.2.9",
        ):
            self.refuse(SIPP_UAC.replace(line, line + b"\r\n" + line), "two")
        self.refuse(SIPP_UAC.replace(b"t=0 0", b"t=0 0\r\nv=0"), "wrong place")
        self.refuse(SIPP_UAC + SIPP_UAC, "wrong place")

    def test_lines_that_are_none(self) -> None:
        for line in (b"", b"x", b"=", b"1=2", b" a=b", b"m =audio 1 RTP/AVP 0", b"\xc3=1"):
            self.refuse(SIPP_UAC + line + b"\r\na=ok\r\n", "not a line")
            self.refuse(SIPP_UAC.replace(b"t=0 0", line + b"\r\nt=0 0"), "not a line")

    def test_control_characters(self) -> None:
        for broken in (b"s=a\rb", b"s=a\0b", b"s=a\r\r"):
            self.refuse(SIPP_UAC.replace(b"s=-", broken), "carriage return or NUL")
        self.refuse(SIPP_UAC + b"\r", "carriage return")

    def test_numbers_are_ascii_digits_without_sign(self) -> None:
        arabic = "\u0661".encode()
        for number in (b"+1", b"-1", b"1_0", arabic, b"", b"0x1", b"1.0", b"9" * 81):
            self.refuse(SIPP_UAC.replace(b"53655765", number), "o=")
            self.refuse(SIPP_UAC.replace(b"2353687637", number), "o=")
            self.refuse(SIPP_UAC.replace(b" 6000 ", b" %b " % number), "m=")
            self.refuse(SIPP_UAC.replace(b"t=0", b"t=" + number), "t=")

    def test_m_line(self) -> None:
        for line in (
            b"audio",
            b"audio 6000",
            b"audio 65536 RTP/AVP 0",
            b"audio 6000/0 RTP/AVP 0",
            b"audio 6000/x RTP/AVP 0",
            b"audio 6000 RTP/AVP",
            b"audio  6000 RTP/AVP 0",
            b"audio 6000 RTP//AVP 0",
            b"au dio 6000 RTP/AVP 0",
            b'au"dio 6000 RTP/AVP 0',
            b"audio 6000 RTP/AVP \xff",
            b"",
        ):
            self.refuse(SIPP_UAC.replace(b"audio 6000 RTP/AVP 0", line), "")

    def test_c_line(self) -> None:
        for line in (b"IN IP4", b"IN IP4 1.2.3.4 x", b"", b"IN IP4 1.2.3.4/", b"x" * 400):
            self.refuse(SIPP_UAC.replace(b"c=IN IP4 192.0.2.9", b"c=" + line), "c=")
            self.refuse(SIPP_UAC + b"c=%b\r\n" % line, "c=")
        self.refuse(SIPP_UAC + b"a=rtcp:1 IN IP4 /\r\n", "c=")

    def test_attribute_without_name(self) -> None:
        self.refuse(SIPP_UAC + b"a=\r\n", "a=")
        self.refuse(SIPP_UAC.replace(b"t=0 0", b"t=0 0\r\na=:x"), "a=")

    def test_limits(self) -> None:
        self.refuse(SIPP_UAC + b"a=x\r\n" * 13_200, "bytes")
        self.refuse(SIPP_UAC + b"a=x\r\n" * d.MAX_LINES, "lines")
        self.refuse(SIPP_UAC + b"a=" + b"x" * d.MAX_LINE_LENGTH + b"\r\n", "a line of more")
        self.refuse(SIPP_UAC + b"m=audio 0 RTP/AVP 0\r\n" * d.MAX_MEDIA, "m= lines")
        self.refuse(SIPP_UAC.replace(b"AVP 0", b"AVP" + b" 0" * (d.MAX_FORMATS + 1)), "formats")
        parse_description(SIPP_UAC + b"a=" + b"x" * (d.MAX_LINE_LENGTH - 2) + b"\r\n")
        parse_description(SIPP_UAC + b"m=audio 0 RTP/AVP 0\r\n" * (d.MAX_MEDIA - 1))
        parse_description(SIPP_UAC.replace(b"AVP 0", b"AVP" + b" 0" * d.MAX_FORMATS))


def facts(sdp: d.Description) -> list[object]:
    """All that a description says."""
    said: list[object] = [sdp.origin_line, sdp.origin, sdp.times]
    for media in sdp.media:
        section, formats = media.section, media.section.formats
        said += [media.form, media.port, media.connection, media.direction, section.rtcp]
        said += [formats.numbers, formats.by_format, formats.ptime, formats.maxptime]
    return said


class Usual(SynchronousTestCase):
    """Audio first, and the lines in the RFC's order: that is read at a glance."""

    def same(self, body: bytes) -> None:
        try:
            expected: object = facts(d._read(body))
        except SdpParseError as error:
            self.assertEqual(
                str(self.assertRaises(SdpParseError, parse_description, body)), str(error)
            )
        else:
            self.assertEqual(facts(parse_description(body)), expected)

    def test_is_not_read_line_by_line(self) -> None:
        fuller = description(
            "audio 65535 RTP/AVP 0 8\nc=IN IP4 192.0.2.7\na=rtcp:5 IN IP4 192.0.2.8\nx=y",
            session="a=tool:x\na=recvonly\n",
        ).replace(b"s=-\r\n", b"s=-\r\ni=who\r\n")
        below = description("audio 2 RTP/AVP 0\nc=IN IP4 192.0.2.7").replace(
            b"c=IN IP4 192.0.2.9", b"b=AS:84"
        )
        two = description(
            "audio 2 RTP/AVP 0", "video 0 RTP/AVP 31\na=inactive", "image 4 udptl t38"
        )
        bodies = (SIPP_UAC, SIPP_PCAP, BARESIP, fuller, below, two, SIPP_UAC[:-2])
        expected = [facts(d._read(body)) for body in bodies]
        self.patch(d, "_read", None)
        self.assertEqual([facts(parse_description(body)) for body in bodies], expected)

    def test_what_is_wrong_is_said_as_ever(self) -> None:
        for old, new in (
            (b" 6000 ", b" 65536 "),
            (b" 6000 ", b" 0 "),
            (b"c=IN IP4 192.0.2.9\r\n", b""),
            (b"c=IN IP4 192.0.2.9", b"c="),
            (b"c=IN IP4 192.0.2.9", b"c=IN IP4 " + b"x" * 300),
            (b"AVP 0", b"AVP" + b" 0" * (d.MAX_FORMATS + 1)),
            (b"t=0 0", b"t=0 0\r\na=:x"),
            (b"c=IN IP4 192.0.2.9\r\nt=0 0", b"c=\r\nt=0 0\r\na="),
            (b"s=-", b"s=-\r\nm"),
            (b"a=rtpmap", b"x\r\na=rtpmap"),
            (b"a=rtpmap", b"a=:\r\na=rtpmap"),
            (b"a=rtpmap", b"s=-\r\na=rtpmap"),
            (b"a=rtpmap", b"m =audio\r\na=rtpmap"),
            (b"a=rtpmap", b"m=video\r\na=rtpmap"),
            (b"a=rtpmap", b"\r\nm=video 2 RTP/AVP 0\r\na=rtpmap"),
            (b"a=rtpmap", b"m=video 65536 RTP/AVP 0\r\na=rtpmap"),
        ):
            self.same(SIPP_UAC.replace(old, new))
        self.same(SIPP_UAC + b"a=x\r\n" * d.MAX_LINES)
        self.same(SIPP_UAC + b"m=a 0 b\r\n" * d.MAX_MEDIA)
        self.same(SIPP_UAC + b"m=a 0 b\r\n" * (d.MAX_MEDIA - 1))

    @STEADY
    @given(st.data())
    def test_mutations(self, data: st.DataObject) -> None:
        body = bytearray(data.draw(st.sampled_from([SIPP_UAC, SIPP_PCAP, BARESIP])))
        lines = [line + b"\r\n" for line in BARESIP.splitlines()]
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.one_of(st.integers(0, len(body)), st.just(body.rfind(b"\n") + 1)))
            if data.draw(st.booleans()):
                at = body.rfind(b"\n", 0, at) + 1
            until = at + data.draw(st.sampled_from([0, 0, 1, 1, 2, 30]))
            body[at:until] = data.draw(
                st.one_of(
                    st.binary(max_size=3),
                    st.sampled_from(
                        [b"\r\n", b"\n", b" ", b"/", b":", b"9", b"a=inactive\r\n", *lines]
                    ),
                )
            )
        self.same(bytes(body))


class Anything(SynchronousTestCase):
    def survive(self, body: bytes) -> None:
        try:
            sdp = parse_description(body)
        except SdpParseError:
            return
        facts(sdp)

    @STEADY
    @given(st.binary(max_size=400))
    def test_arbitrary_bytes(self, body: bytes) -> None:
        self.survive(body)
        self.survive(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n" + body)

    @STEADY
    @given(st.data())
    def test_mutated_real_offers(self, data: st.DataObject) -> None:
        body = bytearray(data.draw(st.sampled_from([SIPP_UAC, SIPP_PCAP, BARESIP])))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(body)))
            until = at + data.draw(st.sampled_from([0, 0, 1, 1, 2, 30]))
            body[at:until] = data.draw(
                st.one_of(
                    st.binary(max_size=3),
                    st.sampled_from([b"\r\n", b"\n", b"m=", b"a=rtcp:", b" ", b"/", b"\xd9\xa1"]),
                )
            )
        self.survive(bytes(body))

    @STEADY
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(b"vosiuepcbtrzkamXYZ"),
                st.text(st.characters(exclude_characters="\r\n\0"), max_size=20),
            ),
            max_size=12,
        )
    )
    def test_any_lines(self, lines: list[tuple[int, str]]) -> None:
        head = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
        self.survive(head + b"".join(b"%c=%b\r\n" % (k, t.encode()) for k, t in lines))
