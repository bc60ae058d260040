"""Plain packets, compiled and not, held against each other."""

from __future__ import annotations

import os
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sessioncore.media import jitter, plain
from sessioncore.media.bank import Bank
from sessioncore.media.formats import CN, DTMF
from sessioncore.media.reception import Reception
from sessioncore.rtp.codecs import CODECS
from sessioncore.rtp.g711 import ALAW_ENCODE, ULAW_ENCODE
from sessioncore.vocabulary import MILLISECOND
from tests.media.fakes import rtp

ROWS, WIDTH, FRAME = 3, 1000, 160
NOISE = np.random.default_rng(1).integers(0, 256, 4096, np.uint8).tobytes()


def need_the_compiled_one() -> None:
    """Skip a test where nothing was compiled; where nothing may be skipped, fail."""
    if plain.compiled is None:
        message = "sessioncore.media._plain was not compiled"
        if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
            raise AssertionError(message)
        raise SkipTest(message)


class Talk:
    """What one row is sent: packets in sequence, and what may be wrong with them."""

    def __init__(self, row):
        self.row, self.ssrc = row, 1000 + row
        self.sequence, self.timestamp = 65_530 + row, 2**32 - 400

    def packet(self, what):
        size, payload_type, ssrc, marker, behind = 160, 0, self.ssrc, 0, 0
        match what:
            case "lost":
                self.step(160)
            case "doubled" | "late":
                behind = 1 if what == "doubled" else 3
            case "leap":
                self.sequence += 5000
            case "ahead":
                self.timestamp += 1600
            case "far ahead":
                self.timestamp += 3 * 1920
            case "behind":
                self.timestamp -= 800
            case "overlapping":
                self.timestamp -= 320
            case "askew":
                self.timestamp += 40
            case "40 ms" | "30 ms" | "10 ms" | "100 ms" | "nothing":
                size = {"40": 320, "30": 240, "10": 80, "100": 800}.get(what.split()[0], 0)
            case "A-law" | "linear" | "event" | "noise" | "unknown":
                payload_type = {"A-law": 8, "linear": 11, "event": 101, "noise": 13}.get(what, 55)
            case "stranger":
                ssrc += 7
            case "marked":
                marker = 1
        self.step(size)
        data = rtp(
            self.sequence - behind,
            self.timestamp - size - 160 * behind,
            ssrc,
            NOISE[self.sequence % 97 :][:size],
            payload_type,
            marker,
        )
        match what:
            case "short":
                return data[:11]
            case "other version" | "CSRC" | "padding" | "extension":
                first = {"other version": 0x40, "CSRC": 0x81, "padding": 0xA0}.get(what, 0x90)
                return bytes([first]) + data[1:]
            case "too long":
                return data + bytes(960)
        return data

    def step(self, samples):
        self.sequence += 1
        self.timestamp += samples


FAULTS = (
    *("lost", "doubled", "late", "leap", "ahead", "far ahead", "behind", "overlapping"),
    *("askew", "marked"),
    *("40 ms", "30 ms", "10 ms", "100 ms", "nothing", "A-law", "linear", "event", "noise"),
    *("unknown", "stranger", "short", "other version", "CSRC", "padding", "extension", "too long"),
)
CHANGES = ("hold", "resume", "attention", "trim")
STEPS = st.lists(
    st.one_of(
        st.just(["plain"] * ROWS),
        st.lists(st.sampled_from(("plain", *FAULTS)), min_size=ROWS, max_size=ROWS),
        st.tuples(st.sampled_from(CHANGES), st.integers(0, ROWS - 1)),
    ),
    max_size=30,
)


class Listener:
    """A bank of three rows that takes what it is told to, one round and one frame at a time."""

    def __init__(self):
        self.bank = Bank(4)
        self.reception = Reception(self.bank)
        self.talks = [Talk(row) for row in range(ROWS)]
        self.rows = np.arange(ROWS)
        self.now = 10_000_000_000
        bank = self.bank
        bank.receiving[:ROWS] = bank.playing[:ROWS] = True
        coded = [(number, CODECS[name]) for number, name in ((0, "PCMU"), (8, "PCMA"), (11, "L16"))]
        meanings = {number: bank.formats.number(codec, 8000) for number, codec in coded}
        for payload_type, meaning in (meanings | {101: DTMF, 13: CN}).items():
            bank.meanings[self.rows * 128 + payload_type] = meaning
        self.heard = []

    def run(self, steps):
        for step in steps:
            if step[0] not in CHANGES:
                self.take([talk.packet(what) for talk, what in zip(self.talks, step, strict=True)])
                continue
            change, row = step
            if change == "trim":
                jitter.trim(self.bank, self.bank.lanes[0], self.rows)
            elif change == "attention":
                self.bank.attention[row] = self.bank.first_receive_pending[row] = True
            else:
                self.bank.receiving[row] = change == "resume"
        return self

    def take(self, data):
        packets = np.zeros((ROWS, WIDTH + 20), np.uint8)[:, :WIDTH]
        for packet, each in zip(packets, data, strict=True):
            kept = each[:WIDTH]
            packet[: len(kept)] = np.frombuffer(kept, np.uint8)
        lengths = np.array([len(each) for each in data])
        self.reception.receive(self.rows, packets, lengths, np.full(ROWS, self.now), self.now)
        self.bank.first_receive_pending[self.reception.noticed.first] = False
        self.heard.append(jitter.next_frames(self.bank, self.bank.lanes[0], self.rows)[0])
        self.now += 20 * MILLISECOND + 12_345

    def state(self):
        bank, noticed = self.bank, self.reception.noticed
        told = (noticed.first, noticed.resumed, noticed.proven, noticed.collided, noticed.digits)
        lane = bank.lanes[0]
        arrays = (bank._words, bank._flags, lane.ring, lane.filled, np.array(self.heard))
        return str(told), [each.tobytes() for each in arrays]


class TakingTests(SynchronousTestCase):
    def setUp(self):
        need_the_compiled_one()

    def both(self, steps):
        compiled = Listener().run(steps)
        with patch.object(plain, "compiled", None):
            careful = Listener().run(steps)
        self.assertEqual(compiled.state(), careful.state())
        return compiled

    @settings(max_examples=150)
    @given(STEPS)
    def test_both_do_the_same(self, steps):
        self.both([["plain"] * ROWS, ["plain"] * ROWS, *steps])

    def test_each_thing_that_is_not_plain(self):
        for what in FAULTS:
            for later in (0, 4):
                steps = [["plain", what, "plain"]] + [["plain"] * ROWS] * later
                self.both([["plain"] * ROWS] * 3 + steps)
        for change in CHANGES:
            self.both([["plain"] * ROWS] * 3 + [(change, 1)] + [["plain"] * ROWS] * 4)

    def test_what_is_plain_is_not_left(self):
        for what, left in (("plain", 0), ("A-law", 0), ("40 ms", 0), ("marked", 0), ("event", 1)):
            listener = Listener().run([["plain"] * ROWS] * 3)
            with patch.object(listener.reception, "_receive") as receive:
                listener.run([["plain", what, "plain"]])
            rows = [call.args[0].tolist() for call in receive.call_args_list]
            self.assertEqual(rows, [[1]] if left else [], what)

    def test_a_row_that_is_not_there_is_left(self):
        """Were there one more in every column, its packet would be plain."""
        bank = Listener().run([["plain"] * ROWS] * 3).bank
        columns, numbers = plain._columns(bank), np.arange(2)
        told = bank.formats.plain, bank.formats.tables
        sizes = [len(column) // 4 for column in columns]

        few = np.zeros(4, np.int64)

        def left(cut, rows, first=0, length=172):
            buffers = [*columns, np.empty(4, np.int64), *told, rows, np.full(4, length), few]
            for column in cut:
                size = sizes[column]
                buffers[column] = buffers[column][first * size : (first + 1) * size]
            talk = Talk(1)
            packets = [talk.packet("plain") for _ in range(4)][-1:] * len(rows)
            octets = np.array([list(packet) for packet in packets], np.uint8)
            count = plain.compiled.take(tuple(buffers), octets, 0)
            return buffers[18][:count].tolist()

        every = range(len(columns))
        self.assertEqual(left(every, np.array([-1, 1]), 2), [0, 1])
        for cut in every:
            self.assertEqual(left([cut], np.array([1, 1 << 60])), [0, 1], cut)
        self.assertEqual(left([], np.array([-1, -1, 1 << 60, -(1 << 60)])), [0, 1, 2, 3])
        self.assertEqual(left([], numbers, length=-148), [0, 1])
        self.assertEqual(left([], numbers), [0])

    def test_what_lies_before_the_beginning_is_left(self):
        listener = Listener().run([["plain"] * ROWS] * 3)
        for column in (listener.bank.play, listener.bank.newest, listener.bank.end):
            column -= 10_000 * FRAME
        with patch.object(listener.reception, "_receive") as receive:
            listener.run([["plain"] * ROWS])
        self.assertEqual(receive.call_args.args[0].tolist(), [0, 1, 2])

    def test_nonsense_is_an_error_and_no_crash(self):
        bank, packets = Bank(4), np.zeros((3, 20), np.uint8)
        numbers, few = np.zeros(3, np.int64), np.zeros(2, np.int64)
        for rows, lengths, octets in (
            (few, numbers, packets),
            (numbers, few, packets),
            (numbers, numbers, packets[:, ::2]),
            (numbers, numbers, packets[0]),
            (numbers, numbers, packets[:, :, None]),
            (numbers, numbers, packets.astype(np.int16)),
            (np.zeros(6, np.int64)[::2], numbers, packets),
        ):
            with self.assertRaises(ValueError):
                plain.take(bank, rows, octets, lengths, numbers, 0)
        take = plain.compiled.take
        formats = bank.formats
        formats.number(CODECS["PCMU"], 8000)
        formats.number(CODECS["PCMA"], 8000)
        buffers = (
            *plain._columns(bank),
            numbers,
            formats.plain,
            formats.tables,
            numbers,
            numbers,
            numbers,
        )
        self.assertEqual(take(buffers, packets, 0), 3)
        for at, wrong in (
            (18, few),
            (21, few),
            (22, few),
            (23, few),
            (19, formats.plain[1:]),
            (20, formats.tables[:1]),
            (0, b"12345678"),
            (0, "text"),
        ):
            with self.assertRaises((BufferError, TypeError, ValueError)):
                take((*buffers[:at], wrong, *buffers[at + 1 :]), packets, 0)
        with self.assertRaises(TypeError):
            take(buffers[1:], packets, 0)
        # Columns of different lengths hold as many rows as the shortest.
        for at in range(18):
            column = buffers[at][: len(buffers[at]) // 2]
            self.assertEqual(take((*buffers[:at], column, *buffers[at + 1 :]), packets, 0), 3)


class EncodingTests(SynchronousTestCase):
    samples = np.arange(-960, 960, dtype=np.int16).reshape(12, FRAME) * 34

    def encode(self, table, picks, count):
        out = np.zeros((count, FRAME + 12), np.uint8)
        plain.encode(table, self.samples, picks, out[:, 12:])
        self.assertFalse(out[:, :12].any())
        return out[:, 12:].tolist()

    def test_all_rows_or_the_picked_ones(self):
        for table in (ULAW_ENCODE, ALAW_ENCODE):
            expected = table[self.samples.view(np.uint16)]
            self.assertEqual(self.encode(table, None, 12), expected.tolist())
            picks = np.array([3, 3, 11, 0])
            self.assertEqual(self.encode(table, picks, 4), expected[picks].tolist())


class CarefulEncodingTests(EncodingTests):
    """As where nothing was compiled."""

    def setUp(self):
        self.patch(plain, "compiled", None)


class NonsenseTests(SynchronousTestCase):
    def test_nonsense_is_an_error_and_no_crash(self):
        need_the_compiled_one()
        samples = EncodingTests.samples
        out, picks = np.zeros((2, FRAME), np.uint8), np.array([0, 1])
        encode = plain.compiled.encode
        for wrong in ([-1, 0], [0, 12], [1 << 60, 0], [0], [0, 0, 1 << 55], [0, 0, -(1 << 55)]):
            with self.assertRaises(ValueError):
                encode(
                    (ULAW_ENCODE, samples, np.array(wrong)),
                    np.zeros((max(2, len(wrong)), FRAME), np.uint8),
                )
        for buffers, payloads in (
            ((ULAW_ENCODE[1:], samples, picks), out),
            ((ULAW_ENCODE, samples, picks), out[:, ::2]),
            ((ULAW_ENCODE, samples, picks), memoryview(bytes(320)).cast("B", (2, 160))),
            ((ULAW_ENCODE, samples), out),
            ([ULAW_ENCODE, samples, picks], out),
        ):
            with self.assertRaises((BufferError, TypeError, ValueError)):
                encode(buffers, payloads)
        encode((ULAW_ENCODE, samples, picks), out[:0])
        encode((ULAW_ENCODE, samples, np.zeros(0, np.int64)), np.zeros((0, 0), np.uint8))
