from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining.report import Report
from sessioncore.testing import messages
from tests.explaining.captures import START, Timed, pcap, read, rtp_stream
from tests.explaining.scenes import A_RTP, B_RTP, POLICY, Scene, report, sdp

GOOD = Scene()


def in_order(*scenes: Scene) -> list[Timed]:
    packets = [packet for scene in scenes for packet in scene.packets]
    return sorted(packets, key=lambda packet: packet[0])


class CallReports(SynchronousTestCase):
    maxDiff = None

    def test_a_good_call(self) -> None:
        self.assertEqual(
            report(*GOOD.packets).text().splitlines(),
            [
                "the file: a capture of 906 packets, 1 call",
                "",
                "Call 1: a84b4c76e66710@192.0.2.1, 2023-11-14 22:13:20 UTC",
                "  A 192.0.2.1:5060   B 192.0.2.2:5060",
                "    1      0.000  A -> B  INVITE sip:bob@192.0.2.2:5060  [offer 1]",
                "    2      0.100  B -> A  180 Ringing",
                "    3      1.000  B -> A  200 OK  [answer 1]",
                "    4      1.010  A -> B  ACK sip:bob@192.0.2.2:5060",
                "    5     10.000  A -> B  BYE sip:bob@192.0.2.2:5060",
                "    6     10.010  B -> A  200 OK",
                "",
                "  Offer 1 (INVITE), answered by 200 OK; the answer:",
                "    m-line 1 audio 50000: accepted: it carries the call",
                "      0 PCMU/8000: sent: the first format of the answer that was offered",
                "      101 telephone-event/8000: accepted: it carries digits",
                "      direction: sendrecv: the answer says sendrecv, the offer said sendrecv",
                "      packets: 20 ms: as a=ptime asks",
                "      RTP to: 192.0.2.2:50000",
                "      RTCP to: 192.0.2.2:50001: the next port",
                "      digits: payload type 101",
                "    offered and not answered: 8 PCMA/8000",
                "",
                "  RTP:",
                "    A -> B  192.0.2.1:40000 -> 192.0.2.2:50000  0 PCMU/8000: 450 packets in 9.0 s,"
                " 0 lost, jitter 0.0 ms, SSRC 0x00000001",
                "    B -> A  192.0.2.2:50000 -> 192.0.2.1:40000  0 PCMU/8000: 450 packets in 9.0 s,"
                " 0 lost, jitter 0.0 ms, SSRC 0x00000002",
                "",
                "  Audio ran both ways. Nothing wrong was found.",
            ],
        )

    def last(self, scene: Scene) -> str:
        return report(*scene.packets).text().splitlines()[-1]

    def test_the_last_line_says_what_is_likely_wrong(self) -> None:
        there = tuple(rtp_stream(A_RTP, B_RTP, since=1, until=10, ssrc=1))
        for scene, start in (
            (GOOD.with_(rtp=there), "  Audio ran only A -> B. Likely wrong: B -> A: no RTP in 9.0"),
            (GOOD.with_(rtp=()), "  No audio ran. Worth a look: audio was agreed on"),
            (GOOD.with_(rtp=(*there, *rtp_stream(B_RTP, A_RTP, since=1, until=2))),
             "  Audio ran only A -> B. Likely wrong: B -> A: RTP stopped after 50 packets, 8.0 s"),
            (GOOD.with_(ack=False), "  Audio ran both ways. Likely wrong: the 200 of B was sent 1"),
            (GOOD.with_(answer=sdp(B_RTP, direction="recvonly"), rtp=there),
             "  Audio ran as agreed. Worth a look: m-line 1: audio is agreed only to"),
            (GOOD.with_(answer=sdp(B_RTP, direction="inactive"), rtp=()),
             "  No audio was agreed on for long enough to be judged. Worth a look: answer m-l"),
        ):  # fmt: skip
            self.assertTrue(self.last(scene).startswith(start), self.last(scene))

    def test_a_refused_call(self) -> None:
        refusal = messages.response(GOOD.invite, 488, "Not Acceptable Here")
        lines = report(GOOD.there(0, GOOD.invite), GOOD.back(1, refusal)).text().splitlines()
        self.assertIn(
            "  Offer 1 (INVITE), refused by 488 Not Acceptable Here; sessioncore with PCMU/8000,"
            " PCMA/8000 would make of it:",
            lines,
        )
        self.assertTrue(
            lines[-1].startswith("  The call was not answered. Likely wrong: the offer was refused")
        )

    def test_several_calls_end_with_a_sum(self) -> None:
        other = messages.Caller(call_id="other@192.0.2.1", rport=False)
        second = GOOD.with_(caller=other, rtp=(), ack=False)
        both = report(*in_order(GOOD, second))
        self.assertEqual(both.text().splitlines()[-1], "2 calls, 1 with errors: no-ack (1).")
        self.assertTrue(both.has_errors)
        good = report(*in_order(GOOD, second), call_id="a84b")
        self.assertEqual(len(good.calls), 1)
        self.assertFalse(good.has_errors)
        two = report(*in_order(GOOD, second.with_(ack=True)))
        self.assertEqual(two.text().splitlines()[-1], "No errors were found in 2 calls.")

    def test_streams_that_two_calls_could_claim(self) -> None:
        """Both callers receive on one port, as SIPp does; each stream has one call."""
        other = messages.Caller(call_id="other@192.0.2.1", rport=False)
        elsewhere = ("192.0.2.2", 60_000)
        second = GOOD.with_(
            caller=other, answer=sdp(elsewhere),
            rtp=(*rtp_stream(A_RTP, elsewhere, since=1, until=10, ssrc=3),
                 *rtp_stream(elsewhere, A_RTP, since=1, until=10, ssrc=4)),
        )  # fmt: skip
        both = report(*in_order(GOOD, second))
        ssrcs = [[stream.ssrc for _, stream in call.audio.streams] for call in both.calls]
        self.assertEqual(ssrcs, [[1, 2], [3, 4]])
        self.assertEqual(both.findings, [])

    def test_what_belongs_to_no_call(self) -> None:
        stray = rtp_stream(("192.0.2.7", 7000), ("192.0.2.8", 8000), since=0, until=1)
        options = messages.options(messages.Caller(call_id="x"))
        found = report(GOOD.there(0, options), *stray)
        self.assertEqual(
            found.text().splitlines()[2:],
            [
                "SIP outside calls: 1 OPTIONS",
                "RTP outside calls: 192.0.2.7:7000 -> 192.0.2.8:8000  0: 50 packets in 1.0 s, 0"
                " lost, SSRC 0x00000007",
            ],
        )
        self.assertEqual(found.conclusion, "There is no call in it.")
        self.assertFalse(found.has_errors)

    def test_messages_without_times_and_addresses(self) -> None:
        text = GOOD.invite + GOOD.success
        lines = Report("x", read(text), POLICY).text().splitlines()
        self.assertEqual(
            lines[:6],
            [
                "x: SIP messages, 1 call",
                "",
                "Call 1: a84b4c76e66710@192.0.2.1",
                "    1  INVITE sip:bob@192.0.2.2:5060  [offer 1]",
                "    2  200 OK  [answer 1]",
                "",
            ],
        )
        self.assertNotIn("no-rtp", "\n".join(lines))

    def test_a_retransmission_is_marked(self) -> None:
        scene = GOOD.with_(more=(GOOD.there(0.05, GOOD.invite),))
        lines = report(*scene.packets).text().splitlines()
        self.assertIn("    2      0.050  A -> B  INVITE sip:bob@192.0.2.2:5060 (again)", lines)

    def test_long_calls_are_cut_in_the_text(self) -> None:
        infos = tuple(
            GOOD.there(1 + each / 100, messages.request("INFO", GOOD.caller, sequence=each + 3))
            for each in range(300)
        )
        text = report(*GOOD.with_(more=infos).packets).text()
        self.assertIn("  ... 106 more messages\n", text)

    def test_json(self) -> None:
        plain = json.loads(json.dumps(report(*GOOD.packets).as_dict()))
        (call,) = plain["calls"]
        self.assertEqual((plain["errors"], call["answered"], call["findings"]), (False, True, []))
        self.assertEqual(call["parties"], {"A": "192.0.2.1:5060", "B": "192.0.2.2:5060"})
        self.assertEqual(
            call["messages"][2],
            {"at": START / 1e9 + 1, "from": "B", "to": "A", "text": "200 OK", "cseq": 1,
             "repeats": False},
        )  # fmt: skip
        (exchange,) = call["exchanges"]
        self.assertTrue(exchange["explanation"]["accepted"])
        self.assertEqual([each["packets"] for each in call["streams"]], [450, 450])

    def test_a_capture_without_anything(self) -> None:
        found = Report("x", read(pcap([])), POLICY)
        self.assertEqual(found.text(), "x: a capture of 0 packets, 0 calls")


class DescriptionReports(SynchronousTestCase):
    def report(self, *bodies: bytes) -> Report:
        seen = read(bodies[0])
        seen.descriptions = list(bodies)
        return Report("x", seen, POLICY)

    def test_one(self) -> None:
        found = self.report(messages.offer())
        lines = found.text().splitlines()
        self.assertEqual(lines[0], "x: a session description")
        self.assertEqual(lines[2], "As an offer to a side with PCMU/8000, PCMA/8000:")
        self.assertEqual(lines[-1], "Audio can be agreed on. Nothing wrong was found.")
        self.assertFalse(found.has_errors)

    def test_one_that_leads_to_no_audio_is_an_error(self) -> None:
        found = self.report(messages.offer(formats=(18,)))
        self.assertEqual([each.name for each in found.findings], ["no-digits"])
        self.assertTrue(found.has_errors)

    def test_one_that_cannot_be_read(self) -> None:
        found = self.report(b"v=0\r\n")
        self.assertTrue(found.text().endswith("It cannot be read: no o= line."))
        self.assertTrue(found.has_errors)
        self.assertIsNone(found.as_dict()["descriptions"][0]["explanation"])

    def test_offer_and_answer(self) -> None:
        found = self.report(sdp(A_RTP), sdp(B_RTP, formats=(8,)))
        lines = found.text().splitlines()
        self.assertEqual(lines[2], "What the offering side makes of the answer:")
        self.assertIn("note digits-not-answered: m-line 1: telephone-event was offered and is not"
                      " answered (RFC 4733 section 2.1)", lines)  # fmt: skip
        self.assertFalse(found.has_errors)
        self.assertTrue(self.report(sdp(A_RTP), sdp(B_RTP, formats=(18,))).has_errors)
        self.assertTrue(self.report(sdp(A_RTP), b"v=0\r\n").has_errors)
