"""The verdict on evidence: proofs, judgements, and the table of causes."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve, fields
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.verdict import CAUSES, Evidence, Judgement, Proof, Verdict, judge
from sessioncore.vocabulary import Direction

HEALTHY = Evidence(
    answered=True,
    agreed_for=10.0,
    receives=True,
    sends=True,
    direction=Direction.SENDRECV,
    payload_type=0,
    codec=PCMU,
    local=("192.0.2.1", 40_000),
    described=("192.0.2.2", 5004),
    remote=("192.0.2.2", 5004),
    signalling_host="192.0.2.2",
    received=500,
    expected=500,
    rtp_ago=0.01,
    level=-20.0,
    sound_ago=0.5,
    sent=500,
    sending_for=10.0,
    reports=3,
    confirmed=480,
)
STRANGER = {"stranger": ("192.0.2.2", 7000), "strangers": 480}
NOTHING = {"received": 0, "expected": 0, "rtp_ago": None, "level": None, "sound_ago": None}
UNHEARD = {"confirmed": 0, "reports_without_us": 2}

# What is seen of each fault, and the verdict.
BOOK: dict[str, tuple[dict[str, Any], Judgement]] = {
    "port-zero": (
        {**NOTHING, "port_zero": True, "sends": False, "receives": False, "described": None},
        Judgement.HELD,
    ),
    "peer-encrypts": ({**NOTHING, **UNHEARD, "peer_encrypts": True}, Judgement.NO_MEDIA),
    "own-process-stalled": (
        {"received": 300, "expected": 500, "stalled_for": 4.0, "kernel_drops": 180},
        Judgement.RX_LOSS,
    ),
    "payload-type-mismatch": (
        {**NOTHING, "unexpected": 495, "unexpected_type": 8},
        Judgement.RX_WRONG_PAYLOAD_TYPE,
    ),
    "codec-mismatch": ({**NOTHING, "unplayable": 495}, Judgement.RX_WRONG_PAYLOAD_TYPE),
    "peer-died": (
        {"rtp_ago": 20.0, "rtcp_ago": 21.0, "received": 200, "expected": 200, "peer_gone": True},
        Judgement.NO_RX,
    ),
    "source-changed": ({"rtp_ago": 8.0, **STRANGER, "strangers": 390}, Judgement.RX_WRONG_SOURCE),
    "nat-without-latch": (
        {**NOTHING, **STRANGER, "described": ("10.0.0.2", 5004)},
        Judgement.RX_WRONG_SOURCE,
    ),
    "rtp-port-mismatch": ({**NOTHING, **STRANGER}, Judgement.RX_WRONG_SOURCE),
    "wrong-source": (
        {**NOTHING, "strangers": 480, "stranger": ("198.51.100.1", 9)},
        Judgement.RX_WRONG_SOURCE,
    ),
    "receive-not-open": (
        {"confirmed": 0, "reports": 0, "refused": 20, "refusing": True},
        Judgement.NO_TX,
    ),
    "receive-buffer-full": ({"received": 250, "kernel_drops": 240}, Judgement.RX_LOSS),
    "jitter-too-high": ({"late": 300, "jitter": 0.5}, Judgement.RX_LOSS),
    "two-sources": ({"other_sources": 480}, Judgement.TWO_WAY),
    "direction": (
        {"receives": False, "held": True, "direction": Direction.SENDONLY},
        Judgement.HELD,
    ),
    "peer-sends-nothing": ({**NOTHING, "peer_sends_nothing": True}, Judgement.NO_RX),
    "our-source-ended": (
        {"source_is_silent": True, "source_ended": True},
        Judgement.TX_SILENCE,
    ),
    "cannot-send": (
        {"sent": 0, "confirmed": 0, "reports": 0, "send_errors": 500},
        Judgement.NO_TX,
    ),
    "bridged-call-silent": (
        {"source_is_silent": True, "bridged_is_silent": True},
        Judgement.TX_SILENCE,
    ),
    "only-comfort-noise": (
        {"comfort_noise": 40, "received": 50, "expected": 50, "level": None, "pauses": True},
        Judgement.RX_SILENCE,
    ),
    "firewall-inbound": (
        {**NOTHING, "peer_sent": 490, "received_meanwhile": 0},
        Judgement.NO_RX,
    ),
    "private-address-in-our-description": (
        {**NOTHING, "local": ("192.168.1.2", 40_000)},
        Judgement.NO_RX,
    ),
    "private-address-in-peer-description": (
        {**NOTHING, **UNHEARD, "described": ("10.0.0.2", 5004)},
        Judgement.NO_MEDIA,
    ),
    "our-source-silent": ({"source_is_silent": True}, Judgement.TX_SILENCE),
    "peer-silent": ({"level": -72.0, "sound_ago": None}, Judgement.RX_SILENCE),
    "no-ack": ({**NOTHING, "ack_missing": True}, Judgement.NO_RX),
    "rtcp-mux-assumed": (
        {"confirmed": 0, "reports": 0, "rtcp_on_rtp": 3},
        Judgement.UNCONFIRMED,
    ),
    "firewall-outbound": (UNHEARD, Judgement.NO_TX),
    "too-little-is-sent": (
        {**UNHEARD, "sent": 100, "held_back": 400},
        Judgement.NO_TX,
    ),
    "network-loss-inbound": ({"received": 400}, Judgement.RX_LOSS),
    "network-loss-outbound": ({"remote_lost": 100}, Judgement.TX_LOSS),
    "answer-changed": ({**NOTHING, "answer_changed": True}, Judgement.NO_RX),
}


def verdict(**seen: Any) -> Verdict:
    return judge(evolve(HEALTHY, **seen))


class BookTests(SynchronousTestCase):
    def test_every_cause_ranks_first_on_its_own_evidence(self) -> None:
        self.assertEqual(list(BOOK), [rule.name for rule in CAUSES])
        for name, (seen, judgement) in BOOK.items():
            found = verdict(**seen)
            self.assertIs(found.judgement, judgement, f"{name}: {found}")
            assert found.cause is not None, name
            self.assertEqual(found.cause.name, name, found)

    def test_a_closed_port_of_a_peer_that_is_silent_means_that_it_is_gone(self) -> None:
        closed = {"refusing": True, "refused": 60, "confirmed": 0}
        for seen, name in (
            ({"rtp_ago": 0.6}, "peer-died"),
            ({"rtp_ago": 0.4}, "receive-not-open"),
            ({"rtp_ago": 0.6, "pauses": True}, "receive-not-open"),
            ({"rtp_ago": 0.6, "receives": False, "held": True}, "receive-not-open"),
            (NOTHING, "receive-not-open"),
        ):
            found = verdict(**closed, **seen)
            assert found.cause is not None
            self.assertEqual(found.cause.name, name, found)

    def test_numbers_and_words(self) -> None:
        found = verdict(**NOTHING, **STRANGER)
        assert found.cause is not None
        self.assertEqual(
            found.cause.text,
            "480 packets came from 192.0.2.2:7000, and the peer's description says 192.0.2.2:5004",
        )
        self.assertEqual(found.cause.numbers["strangers"], 480)
        self.assertEqual(found.remedy, found.cause.remedy)
        self.assertIn("rx_wrong_source: receiving contradicted: no packet in 10.0 s", str(found))

    def test_each_direction_that_is_not_both_is_named(self) -> None:
        for direction in (Direction.INACTIVE, Direction.SENDONLY, Direction.RECVONLY):
            sends, receives = direction.sends, direction.receives
            found = verdict(sends=sends, receives=receives, direction=direction, held=True)
            assert found.cause is not None, direction
            self.assertEqual(found.cause.text, f"the agreed direction is {direction}")

    def test_a_small_counter_is_no_cause(self) -> None:
        """56 packets are missing, and two datagrams were no RTP."""
        found = verdict(received=444, invalid=2, strangers=2, unexpected=2, stranger=("1.2.3.4", 5))
        self.assertEqual([cause.name for cause in found.causes], ["network-loss-inbound"])

    def test_a_healthy_call_has_no_cause(self) -> None:
        self.assertEqual((verdict().judgement, verdict().causes), (Judgement.TWO_WAY, ()))
        self.assertIsNone(verdict().remedy)


class ProofTests(SynchronousTestCase):
    def test_packets_of_any_length_and_pauses_are_no_loss(self) -> None:
        for received in (125, 166, 250, 17):
            found = verdict(received=received, expected=received)
            self.assertIs(found.receiving.proof, Proof.PROVEN)

    def test_a_pause_with_comfort_noise(self) -> None:
        self.assertIs(verdict(rtp_ago=6.0, pauses=True).receiving.proof, Proof.PROVEN)
        self.assertIs(verdict(rtp_ago=6.0).receiving.proof, Proof.CONTRADICTED)

    def test_a_pause_that_the_peers_own_count_confirms(self) -> None:
        paused = {"rtp_ago": 6.0, "rtcp_ago": 1.0, "peer_sent": 300, "received_meanwhile": 298}
        self.assertIs(verdict(**paused).receiving.proof, Proof.PROVEN)
        self.assertIs(verdict(**paused | {"rtcp_ago": 7.0}).receiving.proof, Proof.CONTRADICTED)
        lost = verdict(**paused | {"received_meanwhile": 100})
        self.assertIs(lost.receiving.proof, Proof.CONTRADICTED)
        self.assertEqual(lost.receiving.share, 1 / 3)

    def test_late_packets_did_not_come(self) -> None:
        self.assertEqual(verdict(late=100).receiving.share, 0.8)

    def test_too_few_is_what_chance_does_not_explain(self) -> None:
        for lost, proof in ((54, Proof.PROVEN), (55, Proof.CONTRADICTED)):
            found = verdict(received=500 - lost)
            self.assertIs(found.receiving.proof, proof)
            found = verdict(confirmed=500, remote_lost=lost)
            self.assertIs(found.sending.proof, proof)
        for lost, proof in ((597, Proof.PROVEN), (598, Proof.CONTRADICTED)):
            found = verdict(expected=10_000, received=10_000 - lost)
            self.assertIs(found.receiving.proof, proof)

    def test_a_few_packets_are_no_evidence(self) -> None:
        self.assertIs(verdict(received=20, expected=25).receiving.proof, Proof.PROVEN)

    def test_nothing_yet(self) -> None:
        for agreed_for, proof in ((1.0, Proof.UNCONFIRMED), (3.0, Proof.CONTRADICTED)):
            found = verdict(**NOTHING, agreed_for=agreed_for)
            self.assertIs(found.receiving.proof, proof)
        self.assertIs(verdict(**NOTHING, agreed_for=1.0).judgement, Judgement.NOT_YET)
        over = verdict(**NOTHING, agreed_for=1.0, over=True)
        self.assertIs(over.judgement, Judgement.NO_RX)

    def test_a_peer_without_rtcp_leaves_sending_unconfirmed(self) -> None:
        found = verdict(reports=0, confirmed=0)
        self.assertEqual(
            (found.judgement, found.sending.proof), (Judgement.UNCONFIRMED, Proof.UNCONFIRMED)
        )
        self.assertIn("the peer sends no RTCP", found.sending.text)
        self.assertTrue(found.both_ways and not found.proven and not found.faulty)

    def test_proven_both_ways(self) -> None:
        found = verdict()
        self.assertTrue(found.both_ways and found.proven)
        self.assertEqual(found.sending.share, 1.0)
        self.assertIn("the peer reports 480 of 480 as received", found.sending.text)

    def test_reports_without_a_block_about_us_contradict(self) -> None:
        found = verdict(reports_without_us=1)
        self.assertTrue(found.faulty and not found.both_ways)

    def test_what_the_agreement_does_not_allow(self) -> None:
        found = verdict(sends=False, direction=Direction.RECVONLY)
        self.assertIs(found.sending.proof, Proof.NOT_ALLOWED)
        self.assertIs(found.judgement, Judgement.ONE_WAY)
        self.assertFalse(found.both_ways)

    def test_on_hold_what_was_heard_before_counts(self) -> None:
        held = {"sends": False, "receives": False, "held": True, "direction": Direction.INACTIVE}
        self.assertTrue(verdict(**held).both_ways)
        self.assertFalse(verdict(**held, received=300).both_ways)
        self.assertFalse(verdict(**held, **NOTHING).both_ways)

    def test_before_an_agreement(self) -> None:
        self.assertIs(judge(Evidence()).judgement, Judgement.NOT_YET)
        self.assertIs(judge(Evidence(over=True)).judgement, Judgement.NOT_ANSWERED)

    def test_a_short_silence_is_no_silence(self) -> None:
        for sound_ago, judgement in ((4.0, Judgement.TWO_WAY), (5.0, Judgement.RX_SILENCE)):
            self.assertIs(verdict(sound_ago=sound_ago).judgement, judgement)
        self.assertIs(verdict(source_is_silent=True, agreed_for=4.0).judgement, Judgement.TWO_WAY)


def _values(kind: str) -> st.SearchStrategy[Any]:
    count = st.integers(-5, 100_000)
    seconds = st.floats(0, 1e6)
    return {
        "bool": st.booleans(),
        "int": count,
        "int | None": st.none() | count,
        "float": st.floats(0.001, 1e6),
        "float | None": st.none() | seconds,
        "str": st.text(),
        "Address | None": st.none() | st.tuples(st.text(), st.integers(0, 65_535)),
        "tuple[str, ...]": st.just(("odd",)),
        "Direction": st.sampled_from(Direction),
        "Codec | None": st.sampled_from((None, PCMU)),
    }[kind]


class AnyEvidenceTests(SynchronousTestCase):
    def test_made_in_one_step(self) -> None:
        self.assertEqual(Evidence.of(dict(vars(HEALTHY))), HEALTHY)
        self.assertEqual(Evidence.of({"sent": 3}), Evidence(sent=3))

    @settings(deadline=None, max_examples=100, derandomize=True)
    @given(st.data())
    def test_any_evidence_is_judged(self, data: Any) -> None:
        seen = {each.name: data.draw(_values(str(each.type))) for each in fields(Evidence)}
        found = judge(Evidence(**seen))
        self.assertIn(found.judgement, Judgement)
        self.assertEqual(json.loads(json.dumps(found.as_dict()))["judgement"], str(found.judgement))
        weights = [cause.weight for cause in found.causes]
        self.assertEqual(weights, sorted(weights, reverse=True))
        for share in (found.receiving.share, found.sending.share):
            self.assertTrue(share is None or 0 <= share <= 1)
        self.assertTrue(str(found).startswith(str(found.judgement)))
