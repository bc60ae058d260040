from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import RtpParseError
from sessioncore.rtp.rtcp import (
    Feedback,
    Goodbye,
    OtherPacket,
    ReceiverReport,
    ReportBlock,
    SenderInfo,
    SenderReport,
    SourceDescription,
    build_goodbye,
    build_last_report,
    build_report,
    fraction_lost,
    middle_32,
    ntp_time,
    parse_rtcp,
    report_interval,
    round_trip,
)
from sessioncore.vocabulary import MILLISECOND, SECOND
from tests.data import data_file

u32 = st.integers(0, 2**32 - 1)
blocks = st.builds(
    ReportBlock, u32, st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), u32, u32, u32, u32
)
senders = st.builds(SenderInfo, st.integers(0, 2**64 - 1), u32, u32, u32)


class RealPackets(SynchronousTestCase):
    def parse(self, name):
        (packet,) = parse_rtcp(data_file("rtp", name))
        return packet

    def test_sender_report(self):
        packet = self.parse("rtcp_sr.bin")
        self.assertEqual(packet.ssrc, 1831097322)
        self.assertEqual(packet.sender, SenderInfo(16016567581311369308, 1722342718, 269, 13557))
        self.assertEqual(packet.blocks, (ReportBlock(2398654957, 0, 0, 246, 127, 0, 0),))

    def test_receiver_report(self):
        expected = ReceiverReport(817267719, (ReportBlock(1200895919, 0, 0, 630, 1906, 0, 0),))
        self.assertEqual(self.parse("rtcp_rr.bin"), expected)

    def test_source_description(self):
        cname = b"{63f459ea-41fe-4474-9d33-9707c9ee79d1}"
        self.assertEqual(self.parse("rtcp_sdes.bin"), SourceDescription(((1831097322, cname),)))

    def test_goodbye(self):
        self.assertEqual(self.parse("rtcp_bye.bin"), Goodbye((2924645187,)))
        self.assertEqual(self.parse("rtcp_bye_no_sources.bin"), Goodbye(()))
        self.assertEqual(self.parse("rtcp_bye_padding.bin"), Goodbye(()))

    def test_feedback(self):
        self.assertEqual(self.parse("rtcp_psfb_pli.bin"), Feedback(206, 1, 1414554213, 587284409))
        self.assertEqual(self.parse("rtcp_rtpfb.bin").payload_type, 205)

    def test_broken_ones(self):
        for name in (
            "rtcp_bye_invalid.bin",
            "rtcp_psfb_invalid.bin",
            "rtcp_rr_invalid.bin",
            "rtcp_rtpfb_invalid.bin",
            "rtcp_sdes_item_truncated.bin",
            "rtcp_sdes_source_truncated.bin",
            "rtcp_sr_invalid.bin",
        ):
            broken = data_file("rtp", name)
            with self.assertRaises(RtpParseError, msg=name):
                parse_rtcp(broken)


class Parse(SynchronousTestCase):
    @settings(max_examples=400)
    @given(
        st.binary(max_size=80)
        | st.builds(
            lambda count, kind, words, body: bytes([0x80 | count, kind, 0, words]) + body,
            st.integers(0, 63),
            st.integers(198, 208),
            st.integers(0, 16),
            st.binary(max_size=64),
        )
    )
    def test_parses_or_raises_the_one_error(self, data):
        try:
            packets = parse_rtcp(data)
        except RtpParseError:
            return
        self.assertTrue(packets)

    @settings(max_examples=100)
    @given(st.data())
    def test_a_good_packet_cut_anywhere_raises_or_loses_whole_packets(self, data):
        whole = build_goodbye(1, b"a@b", b"bye", blocks=[ReportBlock(2)])
        cut = data.draw(st.integers(0, len(whole) - 1))
        try:
            packets = parse_rtcp(whole[:cut])
        except RtpParseError:
            return
        self.assertEqual(packets, parse_rtcp(whole)[: len(packets)])
        self.assertLess(len(packets), 3)

    def test_each_way_to_be_broken(self):
        for data in (
            b"",
            b"\x80\xc9\0",
            b"\x40\xc9\0\1\0\0\0\1",  # version 1
            b"\x80\xc9\0\2\0\0\0\1",  # longer than the datagram
            b"\xa0\xc9\0\1\0\0\0\4\x80\xc9\0\1\0\0\0\1",  # padding before the last packet
            b"\xa0\xc9\0\2\0\0\0\1\0\0\0\0",  # padding of 0
            b"\xa0\xc9\0\2\0\0\0\1\0\0\0\3",  # padding of 3
            b"\xa0\xc9\0\2\0\0\0\1\0\0\0\x0c",  # padding beyond the packet
            b"\xa0\xc9\0\0",  # padding of nothing
            b"\xa0\xc9\0\2\0\0\0\1\0\0\0\4\x80\xc9\0\1\0\0\0\1",
            b"\xa0\xcb\0\1\0\0\0\0",
            b"\xa0\xcb\0\1\0\0\0\x0c",
            b"\x81\xca\0\2\0\0\0\1\1\2ab",  # items without an end
            b"\x81\xcb\0\2\0\0\0\1\4abc",  # reason cut off
        ):
            with self.assertRaises(RtpParseError, msg=data):
                parse_rtcp(data)

    def test_what_is_cut_off_is_named(self):
        for items, text in (
            (b"\1\2ab", "chunk has no end"),
            (b"\1\7ab", "item is cut off"),
            (b"\2\1a\1", "item is cut off"),
        ):
            with self.assertRaisesRegex(RtpParseError, text):
                parse_rtcp(b"\x81\xca\0\2\0\0\0\1" + items)

    def test_padding_is_taken_off(self):
        self.assertEqual(parse_rtcp(b"\xa0\xc9\0\2\0\0\0\1\0\0\0\4"), (ReceiverReport(1),))

    def test_other_types_are_passed_over(self):
        data = b"\x80\xcc\0\2\0\0\0\1name\x80\xcf\0\1\0\0\0\1" + build_report(7, b"x")
        packets = parse_rtcp(data)
        self.assertEqual(packets[:3], (OtherPacket(204), OtherPacket(207), ReceiverReport(7)))

    def test_two_chunks_and_items_that_are_no_cname(self):
        body = b"\0\0\0\1" + b"\2\2ab\1\1c\0" + b"\0\0\0\2" + b"\2\0\0\0"
        data = bytes([0x82, 202, 0, len(body) // 4]) + body
        self.assertEqual(parse_rtcp(data), (SourceDescription(((1, b"c"), (2, None))),))

    def test_the_first_cname_counts(self):
        body = b"\0\0\0\1" + b"\1\1a\1\1b\0\0"
        data = bytes([0x81, 202, 0, len(body) // 4]) + body
        self.assertEqual(parse_rtcp(data), (SourceDescription(((1, b"a"),)),))


class Build(SynchronousTestCase):
    @settings(max_examples=150)
    @given(
        u32,
        st.binary(min_size=1, max_size=255),
        st.none() | senders,
        st.lists(blocks, max_size=31),
        st.none() | st.binary(max_size=255),
    )
    def test_round_trip(self, ssrc, cname, sender, reports, reason):
        if reason is None:
            data = build_report(ssrc, cname, sender=sender, blocks=reports)
        else:
            data = build_goodbye(ssrc, cname, reason, sender=sender, blocks=reports)
        report, description, *goodbye = parse_rtcp(data)
        if sender is None:
            self.assertEqual(report, ReceiverReport(ssrc, tuple(reports)))
        else:
            self.assertEqual(report, SenderReport(ssrc, sender, tuple(reports)))
        self.assertEqual(description, SourceDescription(((ssrc, cname),)))
        self.assertEqual(goodbye, [] if reason is None else [Goodbye((ssrc,), reason)])

    @settings(max_examples=150)
    @given(
        u32,
        st.binary(max_size=255),
        st.tuples(*[st.integers(0, 1 << 70)] * 4),
        st.lists(blocks, max_size=31),
    )
    def test_the_last_report_of_a_sender_is_its_goodbye(self, ssrc, cname, numbers, reports):
        self.assertEqual(
            build_last_report(ssrc, cname, *numbers, reports),
            build_goodbye(ssrc, cname, sender=SenderInfo(*numbers), blocks=reports),
        )

    def test_what_does_not_fit_a_report_is_refused(self):
        for cname, reports in ((b"c" * 256, []), (b"c", [ReportBlock(1)] * 32)):
            self.assertRaises(ValueError, build_report, 1, cname, blocks=reports)
            self.assertRaises(ValueError, build_last_report, 1, cname, 0, 0, 1, 0, reports)

    def test_octets_of_a_receiver_report(self):
        data = build_report(1, b"ab")
        self.assertEqual(
            data.hex(), "80c9000100000001" + "81ca0003" + "00000001" + "0102616200000000"
        )

    def test_octets_of_a_goodbye(self):
        sender = SenderInfo(0x0102030405060708, 0x11, 0x22, 0x33)
        block = ReportBlock(7, 8, -1, 9, 10, 11, 12)
        data = build_goodbye(1, b"abcde", b"over", sender=sender, blocks=[block])
        self.assertEqual(
            data.hex(),
            "81c8000c00000001010203040506070800000011" + "0000002200000033"
            "0000000708ffffff" + "00000009" + "0000000a" + "0000000b" + "0000000c"
            "81ca000300000001" + "0105616263646500"
            "81cb000300000001" + "046f766572000000",
        )

    def test_every_length_is_filled_up_to_whole_words(self):
        for size in range(256):
            cname, reason = b"c" * size, b"r" * size
            data = build_goodbye(1, cname, reason)
            goodbye = b"" if not size else bytes([size]) + reason
            goodbye += bytes(-len(goodbye) % 4)
            items = bytes([1, size]) + cname + b"\0"
            items += bytes(-len(items) % 4)
            words = [1, 1 + len(items) // 4, 1 + len(goodbye) // 4]
            report, description, bye = (
                bytes([0x80 + count, kind, 0, length, 0, 0, 0, 1])
                for count, kind, length in zip((0, 1, 1), (201, 202, 203), words, strict=True)
            )
            self.assertEqual(data, report + description + items + bye + goodbye)

    def test_totals_that_ran_over_wrap_and_loss_is_clamped(self):
        sender = SenderInfo(2**64 + 5, 2**32 + 6, 2**32 + 7, 2**33 + 8)
        block = ReportBlock(1, 300, 2**30, 2**32 + 9, 2**40, 0, 2**40)
        report = parse_rtcp(build_report(1, b"a", sender=sender, blocks=[block]))[0]
        self.assertEqual(report.sender, SenderInfo(5, 6, 7, 8))
        expected = ReportBlock(1, 255, 2**23 - 1, 9, 2**32 - 1, 0, 2**32 - 1)
        self.assertEqual(report.blocks, (expected,))
        block = ReportBlock(1, -1, -(2**30))
        report = parse_rtcp(build_report(1, b"a", blocks=[block]))[0]
        self.assertEqual(report.blocks, (ReportBlock(1, 0, -(2**23)),))

    def test_too_much(self):
        with self.assertRaises(ValueError):
            build_report(1, b"a", blocks=[ReportBlock(1)] * 32)
        with self.assertRaises(ValueError):
            build_report(1, b"a" * 256)


class Times(SynchronousTestCase):
    def test_ntp(self):
        self.assertEqual(ntp_time(0), 2208988800 << 32)
        self.assertEqual(ntp_time(SECOND // 2) & 0xFFFFFFFF, 1 << 31)
        # 2036-02-07 06:28:16 UTC: the 32 bits of seconds start again.
        self.assertEqual(ntp_time(2085978496 * SECOND) >> 32, 0)

    def test_middle(self):
        self.assertEqual(middle_32(0x1234_5678_9ABC_DEF0), 0x5678_9ABC)

    def test_round_trip_of_the_rfc(self):
        # RFC 3550 figure 2: 6.125 s.
        block = ReportBlock(1, last_sr=0xB705_2000, delay_since_last_sr=0x0005_4000)
        self.assertEqual(round_trip(block, 0xB710_8000 << 16), 6125 * MILLISECOND)

    def test_no_report_seen_yet(self):
        self.assertIsNone(round_trip(ReportBlock(1), ntp_time(0)))

    def test_across_the_wrap_of_the_middle(self):
        block = ReportBlock(1, last_sr=0xFFFF_FF00, delay_since_last_sr=0x80)
        self.assertEqual(round_trip(block, 0x0000_0100 << 16), SECOND * 0x180 >> 16)

    def test_times_that_contradict_each_other(self):
        block = ReportBlock(1, last_sr=0x10000, delay_since_last_sr=0x20000)
        self.assertIsNone(round_trip(block, 0x11000 << 16))
        rounded = ReportBlock(1, last_sr=0x10000, delay_since_last_sr=0x1001)
        self.assertEqual(round_trip(rounded, 0x11000 << 16), 0)


class Loss(SynchronousTestCase):
    def test_fraction(self):
        cases = {(100, 75): 64, (100, 100): 0, (100, 110): 0, (0, 0): 0, (10, 0): 255, (0, 3): 0}
        for (expected, received), fraction in cases.items():
            self.assertEqual(fraction_lost(expected, received), fraction)


class Interval(SynchronousTestCase):
    def test_a_call(self):
        self.assertEqual(report_interval(lambda: 0.0), 2500 * MILLISECOND)
        self.assertEqual(report_interval(lambda: 0.5), 5 * SECOND)
        self.assertLess(report_interval(lambda: 0.999999), 7500 * MILLISECOND)
        self.assertEqual(report_interval(lambda: 0.5, initial=True), 2500 * MILLISECOND)

    def test_a_call_has_two_members(self):
        self.assertEqual(report_interval(lambda: 0.5, average_size=2000), 10 * SECOND)

    def test_large_sessions_take_turns(self):
        few = report_interval(lambda: 0.5, members=1000, senders=10)
        self.assertEqual(few, int(128 * 10 / 100 * SECOND))
        many = report_interval(lambda: 0.5, members=1000, senders=10, we_sent=False)
        self.assertEqual(many, int(128 * 990 / 300 * SECOND))
        both = report_interval(lambda: 0.5, members=100, senders=100, average_size=200)
        self.assertEqual(both, 50 * SECOND)
