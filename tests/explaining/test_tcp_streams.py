from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining.packets import Segment
from sessioncore.explaining.tcp_streams import START, TcpStreams
from sessioncore.testing import messages
from tests.explaining.captures import A, B

INVITE, OPTIONS = messages.invite(), messages.options()
FIRST = 0xFFFFFF00  # so that the numbers wrap


def segment(sequence: int, data: bytes) -> Segment:
    return Segment(0, A, B, sequence & 0xFFFFFFFF, data, True)


class TcpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.streams = TcpStreams()

    def read(self, *pieces: tuple[int, bytes]) -> list[bytes]:
        return [
            message
            for at, data in pieces
            for message in self.streams.read(segment(FIRST + at, data))
        ]

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(st.lists(st.integers(1, 200), min_size=1, max_size=8), st.data())
    def test_cut_anywhere_in_any_order_and_twice(
        self, sizes: list[int], data: st.DataObject
    ) -> None:
        stream = INVITE + b"\r\n\r\n" + OPTIONS + INVITE
        pieces, at = [(0, stream[:60])], 60  # the first one has to show that this is SIP
        for size in (*sizes, len(stream)):
            pieces.append((at, stream[at : at + size]))
            at += size
        rest = [piece for piece in pieces[1:] if piece[1]]
        mixed = data.draw(st.permutations([*rest, rest[0]]))
        self.streams = TcpStreams()
        self.assertEqual(self.read(pieces[0], *mixed), [INVITE, OPTIONS, INVITE])
        self.assertEqual(self.streams.holes, 0)

    def test_a_repeated_beginning_is_left_out(self) -> None:
        self.assertEqual(self.read((0, INVITE[:100]), (50, INVITE[50:])), [INVITE])

    def test_streams_without_sip_cost_nothing(self) -> None:
        self.assertEqual(self.read((0, b"GET / HTTP/1.1\r\n\r\n")), [])
        self.assertEqual(self.streams._streams, {})

    def test_the_middle_of_a_connection(self) -> None:
        """It begins with the first segment that begins a message."""
        tail = INVITE[200:]
        self.assertEqual(self.read((0, tail), (len(tail), OPTIONS)), [OPTIONS])

    def test_a_hole(self) -> None:
        size = len(OPTIONS)
        pieces = [(size * index, OPTIONS) for index in range(80)]
        del pieces[1]
        found = self.read(*pieces)
        self.assertEqual(self.streams.holes, 1)
        self.assertGreater(len(found), 10)
        self.assertEqual(set(found), {OPTIONS})

    def test_hostile_lengths(self) -> None:
        head = b"OPTIONS sip:a SIP/2.0\r\nl: 999999999\r\n\r\n"
        self.assertEqual(self.read((0, head)), [])
        self.assertEqual((self.streams.holes, self.streams._streams), (1, {}))
        endless = b"OPTIONS sip:a SIP/2.0\r\n" + b"a" * 200_000
        self.assertEqual(self.read((0, endless)), [])
        self.assertEqual(self.streams._streams, {})

    def test_the_number_of_streams_is_limited(self) -> None:
        for port in range(3_000):
            streamed = segment(0, OPTIONS[:50])._replace(source=("192.0.2.1", port))
            self.assertEqual(list(self.streams.read(streamed)), [])
        self.assertEqual(len(self.streams._streams), 1_024)

    def test_start_lines(self) -> None:
        for line, is_one in (
            (b"INVITE sip:a@b SIP/2.0\r\n", True),
            (b"SIP/2.0 200 OK\r\n", True),
            (b"GET / HTTP/1.1\r\n", False),
            (b"invite sip:a@b SIP/2.0\r\n", False),
        ):
            self.assertEqual(START.match(line) is not None, is_one, line)
