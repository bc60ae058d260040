from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining import rtp_streams
from sessioncore.explaining.rtp_streams import RtpStreams, SeenStream
from sessioncore.vocabulary import MILLISECOND, SECOND
from tests.explaining.captures import rtp

A, B = ("192.0.2.1", 4000), ("192.0.2.2", 6000)
FRAME = 20 * MILLISECOND


class RtpStreamsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rtp = RtpStreams()

    def feed(self, *numbers: int, at: int = 0, first: int = 65_000) -> SeenStream:
        """Packets by their place in the stream, each when it is due."""
        for number in numbers:
            data = rtp(first + number, 160 * number)
            self.assertTrue(self.rtp.read(at + number * FRAME, A, B, data))
        (stream,) = self.rtp.streams.values()
        return stream

    def test_a_stream(self) -> None:
        stream = self.feed(*range(1000))
        self.assertEqual((stream.packets, stream.expected, stream.lost), (1000, 1000, 0))
        self.assertEqual((stream.payload_type, stream.octets), (0, 160_000))
        self.assertEqual((stream.seconds, stream.jitter(8000)), (19.98, 0.0))
        self.assertEqual(stream.packet_ms(8000), 20.0)

    def test_loss_and_order(self) -> None:
        stream = self.feed(0, 1, 2, 5, 4, 7, 8, 9)
        self.assertEqual((stream.packets, stream.expected, stream.lost), (8, 10, 2))
        self.assertAlmostEqual(stream.share_lost, 0.2)

    def test_packets_that_were_captured_twice(self) -> None:
        stream = self.feed(0, 0, 1, 1, 2, 2, 4, 4)
        self.assertEqual((stream.packets, stream.copies, stream.lost), (8, 4, 1))
        self.assertEqual(stream.jitter(8000), 0.0)

    def test_a_sequence_that_starts_again(self) -> None:
        self.feed(*range(100))
        stream = self.feed(*range(100), at=3 * SECOND, first=30_000)
        self.assertEqual((stream.packets, stream.expected, stream.lost), (200, 200, 0))

    def test_jitter(self) -> None:
        for number in range(1000):
            late = 8 * MILLISECOND * (number % 2)
            self.rtp.read(number * FRAME + late, A, B, rtp(number, 160 * number))
        (stream,) = self.rtp.streams.values()
        jitter = stream.jitter(8000)
        assert jitter is not None
        self.assertAlmostEqual(jitter, 0.008, places=4)
        self.assertIsNone(stream.jitter(11_025))

    def test_pauses(self) -> None:
        stream = self.feed(*range(50), *range(150, 200))
        ((begin, end),) = stream.gaps
        self.assertEqual((begin, end), (49 * FRAME, 150 * FRAME))
        for since, until, is_heard in (
            (0, SECOND // 2, True),
            (begin + 1, end - 1, False),
            (begin + 1, end, False),
            (begin - 1, end, True),
            (5 * SECOND, 9 * SECOND, False),
        ):
            self.assertEqual(stream.is_heard(since, until), is_heard, (since, until))

    def test_what_is_not_rtp(self) -> None:
        for data in (b"", b"INVITE sip:a SIP/2.0", rtp(1, 1)[:11], b"\0" * 40):
            self.assertFalse(self.rtp.read(0, A, B, data))
        self.assertFalse(self.rtp.read(0, ("192.0.2.1", 0), B, rtp(1, 1)))
        self.assertEqual(self.rtp.streams, {})

    def test_rtcp(self) -> None:
        for kind in (200, 201, 207):
            self.assertTrue(self.rtp.read(5, A, B, bytes([0x80, kind]) + bytes(10)))
        self.assertEqual(self.rtp.rtcp[A, B].packets, 3)
        self.assertEqual(self.rtp.streams, {})

    def test_limits(self) -> None:
        self.patch(rtp_streams, "MAX_STREAMS", 3)
        for number in range(5):
            self.rtp.read(0, A, B, rtp(1, 1, ssrc=number))
            self.rtp.read(0, A, ("192.0.2.2", number), bytes([0x80, 200]) + bytes(10))
        self.assertEqual((len(self.rtp.streams), len(self.rtp.rtcp)), (3, 3))
        self.assertEqual(self.rtp.turned_away, 4)
        (stream, *_) = self.rtp.streams.values()
        for number in range(100):
            stream.add(number * 2 * SECOND, number, number + 2, number * number, 0)
        self.assertLessEqual(len(stream.by_type), 16)
        self.assertLessEqual(len(stream.steps), 16)
        self.assertLessEqual(len(stream.gaps), 64)
