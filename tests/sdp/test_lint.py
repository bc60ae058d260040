"""Every finding in a description, each found in one that is made for it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.lint import Severity
from sessioncore.sdp.lint import DESCRIPTION_RULES, lint_description
from sessioncore.testing import messages
from tests.sdp.offers import BARESIP, SIPP_PCAP, SIPP_UAC, description

AUDIO = "audio 6000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000"

FINDINGS = {
    "unreadable-description": (b"not SDP", description("audio 6000 RTP/AVP"), b""),
    "no-connection": (description(AUDIO).replace(b"c=IN IP4 192.0.2.9\r\n", b""),),
    "no-audio": (description("audio 0 RTP/AVP 0"), description("video 6000 RTP/AVP 31"),
                 description()),
    "multicast-address": (description(AUDIO, ip="224.2.1.1"),),
    "not-a-host-address": (description(AUDIO, ip="255.255.255.255"),
                           description(AUDIO, ip="0.1.2.3")),
    "wrong-address-family": (description(AUDIO).replace(b"c=IN IP4", b"c=IN IP6"),
                             description(AUDIO).replace(b"c=IN IP4", b"c=ATM X121")),
    "ice-only": (description(AUDIO + "\na=ice-ufrag:a", ip="0.0.0.0"),
                 description(AUDIO.replace("6000", "9"), session="a=ice-ufrag:a\n")),
    "host-name": (description(AUDIO, ip="media.example.com"),),
    "unspecified-address": (description(AUDIO, ip="0.0.0.0"), description(AUDIO, ip="::")),
    "loopback-address": (description(AUDIO, ip="127.0.1.1"), description(AUDIO, ip="::1")),
    "private-address": (description(AUDIO, ip="192.168.1.7"), description(AUDIO, ip="fe80::1")),
    "encryption-required": (description(AUDIO.replace("AVP", "SAVP")),
                            description(AUDIO.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF"))),
    "encryption-beside-plain": (description(AUDIO + "\na=crypto:1 x inline:y"),
                                description(AUDIO, session="a=fingerprint:sha-256 00\n")),
    "other-profile": (description(AUDIO.replace("AVP", "AVPF")),),
    "inactive": (description(AUDIO + "\na=inactive"),
                 description(AUDIO, session="a=inactive\n")),
    "one-direction": (description(AUDIO + "\na=sendonly"), description(AUDIO + "\na=recvonly")),
    "several-directions": (description(AUDIO + "\na=sendonly\na=sendrecv"),
                           description(AUDIO, session="a=inactive\na=sendrecv\n")),
    "low-port": (description(AUDIO.replace("6000", "1022")),),
    "odd-port": (description(AUDIO.replace("6000", "6001")),),
    "port-count": (description(AUDIO.replace("6000", "6000/2")),),
    "no-rtpmap": (description("audio 6000 RTP/AVP 0 96"),),
    "reserved-payload-type": (description("audio 6000 RTP/AVP 0 72\na=rtpmap:72 L16/8000"),),
    "changed-static-type": (description("audio 6000 RTP/AVP 0\na=rtpmap:0 PCMA/8000"),),
    "doubled-format": (description("audio 6000 RTP/AVP 0 8 0"),),
    "doubled-rtpmap": (description("audio 6000 RTP/AVP 96\na=rtpmap:96 L16/8000\n"
                                   "a=rtpmap:96 opus/48000/2"),),
    "unlisted-format": (description("audio 6000 RTP/AVP 0\na=rtpmap:96 L16/8000"),
                        description("audio 6000 RTP/AVP 0\na=fmtp:101 0-15")),
    "digits-clock-rate": (description("audio 6000 RTP/AVP 96 101\na=rtpmap:96 opus/48000/2\n"
                                      "a=rtpmap:101 telephone-event/8000"),),
    "no-digits": (SIPP_UAC,),
    "odd-packet-length": (description(AUDIO + "\na=ptime:0"), description(AUDIO + "\na=ptime:x"),
                          description(AUDIO + "\na=maxptime:201")),
    "short-maxptime": (description(AUDIO + "\na=ptime:30\na=maxptime:20"),),
    "no-bandwidth": (description(AUDIO + "\nb=AS:0"),
                     description(AUDIO).replace(b"t=0 0", b"b=TIAS:0\r\nt=0 0")),
    "rtcp-off": (description(AUDIO + "\nb=RS:0\nb=RR:0"),),
    "rtcp-mux-only": (description(AUDIO + "\na=rtcp-mux\na=rtcp-mux-only"),),
    "bundle-only": (description(AUDIO, "audio 0 RTP/AVP 0\na=bundle-only"),),
    "oddity": (b"\xef\xbb\xbf" + description(AUDIO), description(AUDIO) + b" a=x\r\n",
               description(AUDIO) + b"\r\na=x\r\n"),
    "bare-line-ends": (description(AUDIO).replace(b"\r\n", b"\n"),),
    "no-last-line-end": (description(AUDIO).rstrip(),),
}  # fmt: skip


def names(body: bytes) -> list[str]:
    return [each.name for each in lint_description(body)]


class DescriptionRules(SynchronousTestCase):
    def test_good_ones_have_none(self) -> None:
        for body in (
            description(AUDIO),
            description(AUDIO + "\na=ptime:20\na=maxptime:150\na=sendrecv"),
            description(AUDIO.replace("6000", "6001") + "\na=rtcp:6003"),
            description(AUDIO, "video 0 RTP/AVP 31"),
            description(AUDIO, ip="2001:db8::1"),
            BARESIP,
            messages.offer(),
        ):
            self.assertEqual(names(body), [])

    def test_each_is_found(self) -> None:
        for name, bodies in FINDINGS.items():
            for body in bodies:
                self.assertIn(name, names(body), body)

    def test_each_has_a_description(self) -> None:
        self.assertEqual({rule.name for rule in DESCRIPTION_RULES}, set(FINDINGS))

    def test_what_is_found_beside(self) -> None:
        """A fault brings no findings that are not about it."""
        beside = {
            "encryption-beside-plain": set(),
            "ice-only": set(),
            "no-connection": set(),
            "several-directions": {"one-direction", "inactive"},
            "short-maxptime": set(),
            "inactive": set(),
            "multicast-address": set(),
        }
        for name, others in beside.items():
            for body in FINDINGS[name]:
                self.assertLessEqual(set(names(body)), {name} | others, body)

    def test_names_are_unique_and_sections_cited(self) -> None:
        rules = [rule.name for rule in DESCRIPTION_RULES]
        self.assertEqual(len(rules), len(set(rules)))
        for rule in DESCRIPTION_RULES:
            self.assertRegex(rule.name, r"^[a-z]+(-[a-z]+)*$")
            self.assertRegex(rule.section, r"^RFC \d+( section [\d.]+)?$")

    def test_the_worst_comes_first_and_says_where(self) -> None:
        body = description(
            "audio 6000 RTP/AVP 0\na=sendonly", "audio 1001 RTP/AVP 8", ip="255.255.255.255"
        )
        found = lint_description(body)
        self.assertEqual([each.severity for each in found],
                         sorted((each.severity for each in found), reverse=True))  # fmt: skip
        self.assertIs(found[0].severity, Severity.ERROR)
        self.assertEqual(
            str(next(each for each in found if each.name == "low-port")),
            "warning low-port: m-line 2: port 1001 is below 1024, where the services of a host are"
            " (RFC 6335 section 6)",
        )

    def test_findings_are_few_and_printable(self) -> None:
        """Whatever a stranger writes, and however often."""
        formats = " ".join(map(str, range(35, 64)))
        body = description(*[f"audio 6000 RTP/AVP {formats}"] * 20) + b"a=\x1b[31m:\x07\r\n"
        found = lint_description(body)
        self.assertEqual(sum(each.name == "no-rtpmap" for each in found), 8)
        body = description("audio 6000 RTP/AVP 0\na=ptime:\x1b[2J{0.__class__}" + "9" * 900)
        (each,) = [one for one in lint_description(body) if one.name == "odd-packet-length"]
        self.assertTrue(str(each).isprintable())
        self.assertLess(len(str(each)), 400)
        self.assertIn("{0.__class__}", each.text)

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(st.data())
    def test_any_bytes(self, data: st.DataObject) -> None:
        bodies = [body for some in FINDINGS.values() for body in some if body]
        body = bytearray(data.draw(st.sampled_from([BARESIP, SIPP_PCAP, *bodies])))
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, len(body) - 1))
            body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
            body = body or bytearray(b"v")
        for finding in lint_description(bytes(body)):
            self.assertTrue(str(finding).isprintable())
