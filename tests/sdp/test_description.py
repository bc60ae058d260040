from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import SdpParseError
from sessioncore.sdp import description as d
from sessioncore.sdp.description import Connection, Origin, RtpMap, parse_description
from sessioncore.vocabulary import Direction
from tests.sdp.offers import BARESIP, SIPP_PCAP, SIPP_UAC, description

STEADY = settings(max_examples=300)


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
            facts(parse_description(body + b"y=two\r\na=x-new:1\r\n"), odd=False),
            facts(parse_description(SIPP_UAC), odd=False),
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
        for line in (b"v=0", b"o=user1 53655765 2353687637 IN IP4 192.0.2.9"):
            self.refuse(SIPP_UAC.replace(line + b"\r\n", b"", 1), line[:2].decode())
        self.refuse(SIPP_UAC.replace(b"c=IN IP4 192.0.2.9\r\n", b""), "no c= line")
        self.refuse(b"", "no description")

    def test_version(self) -> None:
        self.refuse(SIPP_UAC.replace(b"v=0", b"v=1"), "v=0")
        self.refuse(SIPP_UAC.replace(b"v=0", b"v=00"), "v=0")

    def test_doubled_and_misplaced_lines(self) -> None:
        for line in (b"c=IN IP4 192.0.2.9", b"o=user1 53655765 2353687637 IN IP4 192.0.2.9"):
            self.refuse(SIPP_UAC.replace(line, line + b"\r\n" + line), "two")
        self.refuse(SIPP_UAC.replace(b"t=0 0", b"t=0 0\r\nv=0"), "wrong place")
        self.refuse(SIPP_UAC + SIPP_UAC, "wrong place")

    def test_a_line_that_may_be_an_m_line(self) -> None:
        """Without it the streams of the answer would be counted differently."""
        for line in (b"m =audio 1 RTP/AVP 0", b"m", b"m:audio"):
            self.refuse(SIPP_UAC + line + b"\r\na=ok\r\n", "not a line")

    def test_control_characters(self) -> None:
        for broken in (b"s=a\rb", b"s=a\0b", b"s=a\r\r"):
            self.refuse(SIPP_UAC.replace(b"s=-", broken), "carriage return or NUL")
        self.refuse(SIPP_UAC + b"\r", "carriage return")
        self.refuse(SIPP_UAC + b"a=x\0y\0", "NUL")

    def test_numbers_are_ascii_digits_without_sign(self) -> None:
        arabic = "\u0661".encode()
        for number in (b"+1", b"-1", b"1_0", arabic, b"", b"0x1", b"1.0", b"9" * 81):
            self.refuse(SIPP_UAC.replace(b"53655765", number), "o=")
            self.refuse(SIPP_UAC.replace(b"2353687637", number), "o=")
            self.refuse(SIPP_UAC.replace(b" 6000 ", b" %b " % number), "m=")
            times = parse_description(SIPP_UAC.replace(b"t=0", b"t=" + number)).times
            self.assertEqual(times, b"0 0")

    def test_m_line(self) -> None:
        for line in (
            b"audio",
            b"audio 6000",
            b"audio 65536 RTP/AVP 0",
            b"audio 6000/0 RTP/AVP 0",
            b"audio 6000/x RTP/AVP 0",
            b"audio 6000 RTP/AVP",
            b"audio 6000 RTP//AVP 0",
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

    def test_the_longest_description(self) -> None:
        most = SIPP_UAC + b"x\r\n"  # odd, so it is read line by line
        self.patch(d, "MAX_BODY", len(most))
        self.assertEqual(len(parse_description(most).media), 1)
        self.refuse(most + b"\r\n", f"a description of more than {len(most)} bytes")

    def test_limits(self) -> None:
        self.refuse(SIPP_UAC + b"a=x\r\n" * 13_200, "bytes")
        self.refuse(SIPP_UAC + b"a=x\r\n" * d.MAX_LINES, "lines")
        self.refuse(SIPP_UAC + b"a=" + b"x" * d.MAX_LINE_LENGTH + b"\r\n", "a line of more")
        self.refuse(SIPP_UAC + b"m=audio 0 RTP/AVP 0\r\n" * d.MAX_MEDIA, "m= lines")
        parse_description(SIPP_UAC.replace(b"192.0.2.9\r\nt", b"x" * 293 + b"\r\nt"))
        self.refuse(SIPP_UAC.replace(b"192.0.2.9\r\nt", b"x" * 294 + b"\r\nt"), "c=")
        self.refuse(SIPP_UAC.replace(b"AVP 0", b"AVP" + b" 0" * (d.MAX_FORMATS + 1)), "formats")
        parse_description(SIPP_UAC + b"a=" + b"x" * (d.MAX_LINE_LENGTH - 2) + b"\r\n")
        parse_description(SIPP_UAC + b"m=audio 0 RTP/AVP 0\r\n" * (d.MAX_MEDIA - 1))
        parse_description(SIPP_UAC.replace(b"AVP 0", b"AVP" + b" 0" * d.MAX_FORMATS))


def facts(sdp: d.Description, odd: bool = True) -> list[object]:
    """All that a description says."""
    said: list[object] = [sdp.origin_line, sdp.origin, sdp.times, odd and bool(sdp.oddities)]
    for media in sdp.media:
        section, formats = media.section, media.section.formats
        said += [media.form, media.port, media.connection, media.direction, section.rtcp]
        said += [formats.numbers, formats.by_format, formats.ptime, formats.maxptime]
    return said


class Odd(SynchronousTestCase):
    """What real peers write: read, and listed, where it is not needed for the audio."""

    def read(self, body: bytes, *oddities: str) -> d.Description:
        sdp = parse_description(body)
        self.assertEqual(sdp.oddities, oddities)
        return sdp

    def replaced(self, old: bytes, new: bytes, *oddities: str) -> d.Description:
        """SIPp's description with one change, which changes nothing but the list."""
        self.assertIn(old, SIPP_UAC)
        sdp = self.read(SIPP_UAC.replace(old, new, 1), *oddities)
        self.assertEqual(facts(sdp, odd=False)[2:], facts(parse_description(SIPP_UAC), False)[2:])
        return sdp

    def test_nothing_is_odd_about_what_is_usual(self) -> None:
        for body in (BARESIP, SIPP_UAC, SIPP_PCAP):
            self.read(body)
            self.read(body.replace(b"\r\n", b"\n"))
            self.read(body + b"\r\n\r\n")
            self.read(body.replace(b"s=-", b"s= ").replace(b"s=Session", b"s= "))

    def test_a_direction_with_a_trailing_blank(self) -> None:
        for blanks in (b" ", b"\t", b" \t  "):
            for line, direction in (
                (b"a=sendonly", Direction.SENDONLY),
                (b"a=inactive", Direction.INACTIVE),
            ):
                text = "blanks around a line: " + repr(line + blanks)[1:]
                below = self.read(SIPP_UAC + line + blanks + b"\r\n", text)
                self.assertIs(below.media[0].direction, direction)
                above = SIPP_UAC.replace(b"t=0 0", b"t=0 0\r\n" + line + blanks)
                self.assertIs(self.read(above, text).media[0].direction, direction)
                last = parse_description(SIPP_UAC + line + blanks)
                self.assertIs(last.media[0].direction, direction)

    def test_blanks_around_any_line(self) -> None:
        for line in SIPP_UAC.split(b"\r\n")[:-1]:
            odd = () if line[:2] == b"s=" else ("blanks around a line: " + repr(line + b" ")[1:],)
            self.replaced(line + b"\r\n", line + b" \r\n", *odd)
            self.replaced(line, b" " + line, "blanks around a line: " + repr(b" " + line)[1:])

    def test_doubled_blanks(self) -> None:
        for line in SIPP_UAC.split(b"\r\n")[:-1]:
            for blanks in (b"  ", b"\t", b" \t "):
                doubled = line.replace(b" ", blanks)
                if line[:2] in (b"o=", b"c=", b"t=", b"m="):
                    self.replaced(line, doubled, "doubled blanks: " + repr(doubled)[1:])

    def test_blanks_in_attributes(self) -> None:
        sdp = self.read(SIPP_UAC + b"a=ptime: 30\r\na=rtpmap: 8  PCMA/8000\r\n")
        formats = sdp.media[0].section.formats
        self.assertEqual((formats.ptime, set(formats.by_format)), (30, {b"0", b"8"}))

    def test_an_origin_without_a_user_name(self) -> None:
        value = b"53655765 2353687637 IN IP4 192.0.2.9"
        for line, odd in (
            (b"o= " + value, ("an o= line without a user name: " + repr(b"o= " + value)[1:],)),
            (b"o=" + value, ()),
        ):
            sdp = self.read(SIPP_UAC.replace(b"o=user1 " + value, line), *odd)
            self.assertEqual(
                sdp.origin, Origin(b"", 53655765, 2353687637, b"IN", b"IP4", b"192.0.2.9")
            )

    def test_an_mrcp_stream_without_formats(self) -> None:
        for more, text in (
            (b"application 9 TCP/MRCPv2", "an m= line without formats"),
            (b"application 9 TCP/MRCPv2 ", "an m= line without formats"),
            (b"video 70000 RTP/AVP 31", "port 70000 in an m= line"),
            (b"video 2/0 RTP/AVP 31", "an m= line with no ports"),
            (b"image x udptl t38", "not an m= line of RFC 8866: 'image x udptl t38'"),
            (b"video 2 RTP/AVP 31\r\nc=IN", "no c= line of RFC 8866: 'IN'"),
            (b"video 2 RTP/AVP" + b" 9" * 65, "more than 64 formats in an m= line"),
            (b"audio 2 RTP/AVP", "an m= line without formats"),
        ):
            for order in (0, 1):
                lines = [b"m=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n", b"m=%b\r\n" % more]
                if order:
                    lines.reverse()
                body = SIPP_UAC[: SIPP_UAC.index(b"m=")] + b"".join(lines)
                sdp = parse_description(body)
                self.assertEqual(sdp.oddities[-1], text)
                audio, other = sdp.media if not order else reversed(sdp.media)
                self.assertEqual((audio.port, other.port), (6000, 0))
                self.assertEqual(other.form.kind, more.partition(b" ")[0])

    def test_an_audio_stream_that_cannot_be_used_is_what_is_wrong_if_there_is_no_other(
        self,
    ) -> None:
        body = description("audio 70000 RTP/AVP 0", "video 2 RTP/AVP 31")
        error = self.assertRaises(SdpParseError, parse_description, body)
        self.assertIn("port 70000", str(error))

    def test_lines_that_are_none(self) -> None:
        for line, text in (
            (b"", "an empty line"),
            (b" \t", "an empty line"),
            (b"x", "not a line of a description: 'x'"),
            (b"=", "not a line of a description: '='"),
            (b"1=2", "not a line of a description: '1=2'"),
            (b"\xc3=1", "not a line of a description: '\\xc3=1'"),
            (b"a=", "an a= line without a name: 'a='"),
            (b"a=:x", "an a= line without a name: 'a=:x'"),
            (b"x=y", "a line in the wrong place: 'x=y'"),
        ):
            self.replaced(b"t=0 0", line + b"\r\nt=0 0", text)
            self.replaced(b"a=rtpmap", line + b"\r\na=rtpmap", text)

    def test_a_byte_order_mark_and_a_c_string(self) -> None:
        self.replaced(b"v=0", b"\xef\xbb\xbfv=0", "a byte order mark")
        self.read(SIPP_UAC + b"\0", "NUL at the end")
        self.read(SIPP_UAC[:-2] + b"\0\0", "NUL at the end")

    def test_lines_that_nobody_asks_about(self) -> None:
        self.replaced(b"s=-\r\n", b"", "no s= line")
        self.replaced(b"s=-", b"s=-\r\ns=x", "a line in the wrong place: 's=x'")
        self.replaced(b"t=0 0\r\n", b"", "no t= line")
        self.replaced(b"t=0 0", b"t=now", "a line in the wrong place: 't=now'", "no t= line")
        own = SIPP_UAC.replace(b"c=IN IP4 192.0.2.9", b"c=IN") + b"c=IN IP4 192.0.2.9\r\n"
        sdp = self.read(own, "no c= line of RFC 8866: 'IN'")
        self.assertEqual(sdp.media[0].connection, Connection(b"IN", b"IP4", b"192.0.2.9"))

    def test_no_more_than_16_are_listed(self) -> None:
        sdp = parse_description(SIPP_UAC + b"x\r\n" * 100 + b"a=b")
        self.assertEqual(len(sdp.oddities), 16)
        sdp.note("more")
        self.assertEqual(len(sdp.oddities), 16)


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
            "audio 65535 RTP/AVP 0 8\nc=IN IP4 192.0.2.7\na=rtcp:5 IN IP4 192.0.2.8",
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
