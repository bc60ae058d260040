"""Descriptions read in C: what they are, that they say what Python reads, and Python alone."""

from __future__ import annotations

import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sessioncore.sdp import description as d
from tests.data import expected
from tests.sdp import test_description, test_negotiation, test_torture_bodies
from tests.sdp.offers import BARESIP, SIPP_PCAP, SIPP_UAC, description

FULLER = description(
    "audio 65535 RTP/AVP 0 8\nc=IN IP4 192.0.2.7\na=rtcp:5 IN IP4 192.0.2.8",
    "video 0 RTP/AVP 31",
    session="a=tool:x\na=recvonly\n",
).replace(b"t=0 0\r\n", b"b=AS:84\r\nt=0 0\r\n")
BODIES = (SIPP_UAC, SIPP_PCAP, BARESIP, FULLER)
PIECES = (
    *(b"\r\n", b"\n", b"\r", b"\0", b"", b" ", b"/", b":", b"0", b"9", b"\x7f", b"\xff", b"m="),
    *(b"s=-\r\n", b"c=IN IP4 192.0.2.7\r\n", b"i=\r\n", b"x=y\r\n", b"a=\r\n", b"t=0 0\r\n"),
    *(b"m=audio 6 RTP/AVP 0\r\n", b"m=\r\n", b"\r\n\r\n"),
)


def mutated(body: bytes, seed: int, count: int) -> bytes:
    """The same with some places changed, mostly where lines begin."""
    chosen, changed = random.Random(seed), bytearray(body)
    for _ in range(count):
        at = chosen.randint(0, len(changed))
        if chosen.random() < 0.5:
            at = changed.rfind(b"\n", 0, at) + 1
        changed[at : at + chosen.choice((0, 0, 1, 2, 20))] = chosen.choice(PIECES)
    return bytes(changed)


class Compiled(SynchronousTestCase):
    """What is found in C is what the pattern finds."""

    def setUp(self) -> None:
        if d.compiled is None:
            reason = "sessioncore.sdp._description was not compiled"
            if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
                self.fail(reason)
            raise SkipTest(reason)

    def found(self, body: bytes) -> bool:
        said = d.compiled.find(body)
        self.assertEqual(said, d._find_in_python(body), body)
        return said is not None

    def changed(self, old: bytes, new: bytes, body: bytes = SIPP_UAC) -> bytes:
        self.assertIn(old, body)
        return body.replace(old, new, 1)

    def test_is_used(self) -> None:
        self.assertIs(d._find, d.compiled.find)

    def test_what_is_found(self) -> None:
        for body in BODIES:
            self.assertTrue(self.found(body))
            self.assertTrue(self.found(body[:-2]))
            self.assertTrue(self.found(body + b"\r\n\r\n"))
        for old, new in (
            (b"s=-", b"s="),
            (b"s=-", b"s=\xff \x01"),
            (b"s=-\r\n", b"s=-\r\ni=\r\nu=a\r\nb=AS:1\r\n"),
            (b"c=IN IP4 192.0.2.9\r\n", b""),
            (b"c=IN IP4 192.0.2.9", b"c=IN IP4 " + b"x" * 293),
            (b"s=-", b"s= "),
            (b"s=-", b"s=- \t"),
            (b"t=0 0\r\n", b"b=x \r\nt=0 0\r\n"),
            (b"53655765", b"9" * 20),
            (b"2353687637", b"9" * 20),
            (b"t=0 0", b"t=%b %b" % (b"9" * 20, b"9" * 20)),
            (b" 6000 ", b" 65535 "),
            (b"AVP 0", b"AVP" + b" x" * d.MAX_FORMATS),
            (b"a=rtpmap", b"m"),
            (b"a=rtpmap:0 PCMU/8000\r\n", b"m=\r\n"),
        ):
            self.assertTrue(self.found(self.changed(old, new)), new)

    def test_what_is_left_to_python(self) -> None:
        for old, new in (
            (b"v=0", b"v=1"),
            (b"v=0", b"v=0 "),
            (b"o=user1", b"o=user 1"),
            (b"o=user1", b"o="),
            (b"o=user1", b"o=\x7f"),
            (b" IP4 192.0.2.9\r\ns=", b" IP4\r\ns="),
            (b" IP4 192.0.2.9\r\ns=", b" IP4 192.0.2.9 \r\ns="),
            *((b"53655765", number) for number in (b"", b"x", b"+1", b"9" * 21)),
            *((b"2353687637", number) for number in (b"", b"x", b"-1", b"9" * 21)),
            (b"s=-\r\n", b""),
            (b"s=-", b"s=\0"),
            (b"s=-", b"s=a\nb"),
            (b"s=-", b"s=a\rb"),
            (b"s=-", b"s=-\r\nx=1"),
            (b"s=-", b"s=-\r\ni:1"),
            (b"c=IN IP4 192.0.2.9", b"c=IN IP4 " + b"x" * 294),
            (b"c=IN IP4 192.0.2.9", b"c="),
            (b"c=IN IP4 192.0.2.9", b"c=x"),
            (b"c=IN IP4 192.0.2.9", b"c=IN  IP4 192.0.2.9"),
            (b"c=IN IP4 192.0.2.9", b"c=IN IP4 192.0.2.9 "),
            (b"t=0 0", b"t=0 0\r\na=sendonly "),
            (b"t=0 0", b"t=0 0\r\na=sendonly\t"),
            (b"8000\r\n", b"8000 \r\n"),
            (b"8000\r\n", b"8000\r\na=sendonly \r\n"),
            (b"8000\r\n", b"8000\r\nm=video 0 RTP/AVP 31\r\na=sendonly "),
            (b"c=IN IP4 192.0.2.9", b"c=\r\nc="),
            (b"t=0 0\r\n", b""),
            *((b"t=0 0", b"t=" + times) for times in (b"0", b"0 ", b" 0", b"0 0 ", b"-1 0")),
            *((b"t=0 0", b"t=%b %b" % times) for times in ((b"9" * 21, b"0"), (b"0", b"9" * 21))),
            (b"t=0 0", b"t=0 0\r\nt=0 0"),
            (b"m=audio", b"m=video"),
            *(
                (b" 6000 ", port)
                for port in (b" 0 ", b" 06000 ", b" 65536 ", b" 600000 ", b" 6000/2 ", b" ")
            ),
            (b"RTP/AVP", b"RTP/SAVP"),
            (b"RTP/AVP 0", b"RTP/AVP"),
            (b"RTP/AVP 0", b"RTP/AVP "),
            (b"RTP/AVP 0", b"RTP/AVP  0"),
            (b"RTP/AVP 0", b"RTP/AVP 0 "),
            (b"RTP/AVP 0", b"RTP/AVP \xff"),
            (b"AVP 0", b"AVP" + b" x" * (d.MAX_FORMATS + 1)),
            (b"a=rtpmap", b"\r\na=rtpmap"),
            (b"a=rtpmap", b"a=\0rtpmap"),
            (b"8000\r\n", b"8000\n"),
            (b"8000\r\n", b"8000\r"),
            (b"8000\r\n", b"8000\r\n\r\nx=y"),
        ):
            self.assertFalse(self.found(self.changed(old, new)), new)

    def test_limit(self) -> None:
        room = 1_024 - len(SIPP_UAC)
        self.assertTrue(self.found(SIPP_UAC + b"a=".ljust(room, b"x")))
        self.assertFalse(self.found(SIPP_UAC + b"a=".ljust(room + 1, b"x")))

    def test_every_start_alone(self) -> None:
        for body in BODIES:
            for end in range(len(body)):
                self.found(body[:end])

    def test_every_byte_replaced(self) -> None:
        agreed = 0
        for body in BODIES:
            for at in range(len(body)):
                for byte in b"\0\n\r /0=:amx\x7f\xff":
                    agreed += self.found(body[:at] + bytes([byte]) + body[at + 1 :])
        self.assertGreater(agreed, 5_000)

    @settings(max_examples=2_000)
    @given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from(BODIES))
    def test_mutated(self, seed: int, count: int, body: bytes) -> None:
        self.found(mutated(body, seed, count))

    def test_torture(self) -> None:
        for folder in ("rfc4475", "rfc5118"):
            for row in expected(folder):
                body = test_torture_bodies.body(folder, row["file"])
                self.found(body)
                for seed in range(50):
                    self.found(mutated(body, seed, 1 + seed % 3))

    def test_mistaken_calls(self) -> None:
        for mistaken in ("text", None, bytearray(SIPP_UAC)):
            self.assertRaises(TypeError, d.compiled.find, mistaken)


class _InPython(SynchronousTestCase):
    """As where nothing was compiled."""

    def setUp(self) -> None:
        self.patch(d, "_find", d._find_in_python)
        super().setUp()


class PythonReading(_InPython, test_description.Reading):
    pass


class PythonOdd(_InPython, test_description.Odd):
    pass


class PythonRefusing(_InPython, test_description.Refusing):
    pass


class PythonUsual(_InPython, test_description.Usual):
    def test_mutations(self) -> None:
        for seed in range(2_000):
            self.same(mutated(BODIES[seed % len(BODIES)], seed, 1 + seed % 4))


class PythonTortureBodies(_InPython, test_torture_bodies.TortureBodies):
    pass


class PythonAnswering(_InPython, test_negotiation.Answering):
    pass
