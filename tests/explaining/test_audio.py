"""RTP finds its call and its direction, and the time of an agreement."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining.audio import Audio, audio_of
from sessioncore.explaining.calls import calls_in
from sessioncore.testing import messages
from tests.explaining.captures import START, Timed, pcap, read, rtp_stream
from tests.explaining.scenes import A_RTP, B_RTP, Scene, sdp

SECOND = 1_000_000_000
GOOD = Scene()


def audio(scene: Scene) -> Audio:
    seen = read(pcap(scene.packets))
    calls, _ = calls_in(seen.sightings)
    (found,) = audio_of(calls, seen)
    return found


def both(here: tuple[str, int], there: tuple[str, int]) -> tuple[Timed, ...]:
    return (
        *rtp_stream(here, there, since=1, until=10, ssrc=1),
        *rtp_stream(there, here, since=1, until=10, ssrc=2),
    )


class PeriodTests(SynchronousTestCase):
    def test_a_call_has_one(self) -> None:
        (period,) = audio(GOOD).periods
        self.assertEqual((period.since - START, period.until - START), (SECOND, 10 * SECOND))
        self.assertTrue(period.is_judged and period.is_last and period.has_audio)
        there, back = period.ways
        self.assertEqual((there.name, back.name, there.seconds), ("A -> B", "B -> A", 9.0))
        self.assertEqual((there.packets, there.runs, there.expected), (450, True, True))
        self.assertEqual((there.agreed, back.agreed), ("0 PCMU/8000", "0 PCMU/8000, 8 PCMA/8000"))
        self.assertEqual(there.encoding(101), "telephone-event/8000")
        self.assertEqual(there.encoding(99), "?")

    def test_directions(self) -> None:
        for offered, answered, wanted in (
            ("sendrecv", "sendrecv", [True, True]),
            ("sendrecv", "recvonly", [True, False]),
            ("sendonly", "recvonly", [True, False]),
            ("sendrecv", "sendonly", [False, True]),
            ("recvonly", "sendonly", [False, True]),
            ("inactive", "inactive", [False, False]),
        ):
            scene = GOOD.with_(
                offer=sdp(A_RTP, direction=offered), answer=sdp(B_RTP, direction=answered)
            )
            found = [way.expected for way in audio(scene).ways]
            self.assertEqual(found, wanted, (offered, answered))

    def test_nobody_sends_to_an_unspecified_address(self) -> None:
        found = audio(GOOD.with_(offer=sdp(("0.0.0.0", 40_000))))
        self.assertEqual([way.expected for way in found.ways], [True, False])
        self.assertIsNone(found.ways[1].receiver.address)

    def test_refused_audio_has_none(self) -> None:
        self.assertEqual(audio(GOOD.with_(answer=sdp(("192.0.2.2", 0)))).periods, [])

    def test_a_call_that_goes_on_lasts_until_the_end_of_the_capture(self) -> None:
        (period,) = audio(GOOD.with_(bye=False)).periods
        self.assertEqual(period.until - START, 9_980_000_000)

    def test_a_short_one_is_not_judged(self) -> None:
        success = GOOD.success
        packets = [GOOD.there(0, GOOD.invite), GOOD.back(0.1, success)]
        for until, is_judged in ((1.0, False), (1.1, True)):
            bye = GOOD.there(until, messages.bye(GOOD.caller, to=success))
            seen = read(pcap([*packets, bye]))
            (found,) = audio_of(calls_in(seen.sightings)[0], seen)
            self.assertEqual([period.is_judged for period in found.periods], [is_judged])


class AssigningTests(SynchronousTestCase):
    def ways(self, scene: Scene) -> list[list[int]]:
        """The SSRCs of each direction."""
        return [[stream.ssrc for stream in way.streams] for way in audio(scene).ways]

    def test_by_both_addresses_or_one(self) -> None:
        elsewhere = ("198.51.100.7", 7_000)
        for here, there in ((A_RTP, B_RTP), (elsewhere, B_RTP), (A_RTP, elsewhere)):
            self.assertEqual(self.ways(GOOD.with_(rtp=both(here, there))), [[1], [2]])
        self.assertEqual(self.ways(GOOD.with_(rtp=both(elsewhere, elsewhere))), [[], []])

    def test_behind_a_nat_by_the_described_ports(self) -> None:
        """Captured inside: descriptions name the public addresses, packets the private ones."""
        public = sdp(("203.0.113.9", 40_000))
        inside = GOOD.with_(
            offer=public, source=("10.0.0.1", 5060), rtp=both(("10.0.0.1", 40_000), ("9.9.9.9", 9))
        )
        self.assertEqual(self.ways(inside), [[1], [2]])
        found = audio(inside)
        self.assertEqual(found.ways[0].translated, (("192.0.2.2", 50_000), ("10.0.0.1", 40_000)))
        other = both(("10.0.0.1", 40_002), ("9.9.9.9", 9))
        self.assertEqual(self.ways(inside.with_(rtp=other)), [[], []])

    def test_only_in_the_time_of_the_call(self) -> None:
        early = rtp_stream(A_RTP, B_RTP, since=-5, until=-2)
        late = rtp_stream(A_RTP, B_RTP, since=12.5, until=14, ssrc=2)
        self.assertEqual(self.ways(GOOD.with_(rtp=(*early, *late))), [[], []])
        around = rtp_stream(A_RTP, B_RTP, since=11.5, until=14)
        self.assertEqual(self.ways(GOOD.with_(rtp=tuple(around))), [[7], []])

    def test_whether_anything_was_captured(self) -> None:
        stray = rtp_stream(("192.0.2.7", 7), ("192.0.2.8", 8), since=2, until=3)
        self.assertTrue(audio(GOOD.with_(rtp=tuple(stray))).captured)
        self.assertFalse(audio(GOOD.with_(rtp=())).captured)


class PauseTests(SynchronousTestCase):
    def pauses(self, *pieces: tuple[float, float, int]) -> tuple[list[tuple[float, float]], bool]:
        packets = [
            packet
            for since, until, ssrc in pieces
            for packet in rtp_stream(A_RTP, B_RTP, since=since, until=until, ssrc=ssrc)
        ]
        way = audio(GOOD.with_(rtp=tuple(packets))).ways[0]
        times = [
            (round((begin - START) / SECOND, 1), round((end - START) / SECOND, 1))
            for begin, end in way.pauses
        ]
        return times, way.runs

    def test_pauses(self) -> None:
        self.assertEqual(self.pauses((1, 10, 1)), ([], True))
        self.assertEqual(self.pauses((1, 4, 1), (6, 10, 1)), ([(4.0, 6.0)], True))
        self.assertEqual(self.pauses((3, 8, 1)), ([(1.0, 3.0), (8.0, 10.0)], True))
        self.assertEqual(self.pauses((3, 7, 1)), ([(1.0, 3.0), (7.0, 10.0)], False))
        self.assertEqual(self.pauses(), ([(1.0, 10.0)], False))

    def test_another_stream_fills_them(self) -> None:
        self.assertEqual(self.pauses((1, 5, 1), (5, 10, 2)), ([], True))
        self.assertEqual(self.pauses((1, 5, 1), (7, 10, 2)), ([(5.0, 7.0)], True))
        self.assertEqual(self.pauses((1, 4, 1), (8, 10, 1), (2, 6, 2)), ([(6.0, 8.0)], True))
