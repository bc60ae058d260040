"""Every finding in a call, each found in a scene that is made for it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.explaining.lint import CALL_RULES
from sessioncore.lint import Severity
from sessioncore.testing import messages
from tests.explaining.captures import START, A, B, Timed, ip, rtp, rtp_stream, udp
from tests.explaining.scenes import A_RTP, B_RTP, POLICY, Scene, explained, report, sdp

GOOD = Scene()
BYE = messages.bye(GOOD.caller, to=GOOD.success)
THERE, BACK = (
    rtp_stream(A_RTP, B_RTP, since=1.0, until=10.0, ssrc=1),
    rtp_stream(B_RTP, A_RTP, since=1.0, until=10.0, ssrc=2),
)
SECOND = 1_000_000_000


def streams(there: Iterable[Timed] = THERE, back: Iterable[Timed] = BACK) -> tuple[Timed, ...]:
    return (*there, *back)


def names(scene: Scene) -> list[str]:
    """The findings about the call itself, the worst first, without repetitions."""
    return list(dict.fromkeys(each.name for each in explained(scene).findings))


def hold(scene: Scene, direction: str, at: float, *, sequence: int = 2) -> Scene:
    """A re-INVITE of the caller with another direction."""
    caller = evolve(
        scene.caller.with_answer(scene.success), sequence=sequence, branch=f"z9hG4bKhold{sequence}"
    )
    body = sdp(A_RTP, direction=direction, version=sequence)
    invite = messages.invite(caller, body=body)
    mirrored = {"sendonly": "recvonly", "inactive": "inactive"}.get(direction, "sendrecv")
    answer = sdp(B_RTP, formats=(0, 101), session_id=77, direction=mirrored, version=sequence)
    success = messages.response(invite, 200, "OK", body=answer)
    exchange = (
        scene.there(at, invite),
        scene.back(at + 0.1, success),
        scene.there(at + 0.2, messages.ack(caller, to=success)),
    )
    return scene.with_(more=(*scene.more, *exchange))


def refused(status: int, reason: str, *headers: tuple[str, str]) -> list[Timed]:
    response = messages.response(GOOD.invite, status, reason, headers=headers)
    return [
        GOOD.there(0, GOOD.invite),
        GOOD.back(0.1, response),
        GOOD.there(0.2, messages.ack(GOOD.caller, to=response)),
    ]


def unreachable(times: int) -> tuple[Timed, ...]:
    said = b"\3\3" + bytes(6) + udp(A_RTP, B_RTP, b"RTP")
    return tuple((START + 2 * SECOND, ip(B[0], A[0], 1, said)) for _ in range(times))


PRIVATE = ("192.168.1.7", 40_000)
ELSEWHERE = ("192.0.2.3", 9_000)
NATTED = ("203.0.113.9", 61_000)
BEHIND_NAT = GOOD.with_(
    offer=sdp(PRIVATE),
    caller=messages.Caller(local=("192.168.1.7", 5060)),
    source=("203.0.113.9", 1024),
    rtp=streams(
        rtp_stream(NATTED, B_RTP, since=1, until=10, ssrc=1),
        rtp_stream(B_RTP, NATTED, since=1, until=10, ssrc=2),
    ),
)

SCENES = {
    "no-ack": GOOD.with_(ack=False),
    "port-unreachable": GOOD.with_(more=unreachable(3)),
    "audio-missing": GOOD.with_(rtp=streams(back=())),
    "audio-stopped": GOOD.with_(rtp=streams(rtp_stream(A_RTP, B_RTP, since=1, until=6))),
    "payload-type-mismatch": GOOD.with_(
        rtp=streams(rtp_stream(A_RTP, B_RTP, since=1, until=10, number=18))
    ),
    "heavy-packet-loss": GOOD.with_(
        rtp=streams(rtp_stream(A_RTP, B_RTP, since=1, until=10, lost=range(0, 400, 4)))
    ),
    "packet-loss": GOOD.with_(
        rtp=streams(rtp_stream(A_RTP, B_RTP, since=1, until=10, lost=range(1, 440, 40)))
    ),
    "repeated": GOOD.with_(more=tuple(GOOD.there(each, GOOD.invite) for each in (0.03, 0.06))),
    "request-without-response": GOOD.with_(
        bye=False,
        more=tuple(GOOD.there(at, BYE) for at in (9.9, 10.4)),
    ),
    "no-rtp": GOOD.with_(rtp=()),
    "private-description": BEHIND_NAT,
    "source-not-described": BEHIND_NAT,
    "target-not-described": BEHIND_NAT,
    "late-audio": GOOD.with_(rtp=streams(rtp_stream(A_RTP, B_RTP, since=3, until=10))),
    "audio-pause": GOOD.with_(
        rtp=streams(
            (
                *rtp_stream(A_RTP, B_RTP, since=1, until=4),
                *rtp_stream(A_RTP, B_RTP, since=7, until=10),
            )
        )
    ),
    "jitter": GOOD.with_(
        rtp=streams((at + index % 2 * SECOND // 20, data) for index, (at, data) in enumerate(THERE))
    ),
    "two-sources": GOOD.with_(
        rtp=streams((*THERE, *rtp_stream(A_RTP, B_RTP, since=2, until=8, ssrc=99)))
    ),
    "answer-changed": GOOD.with_(
        more=(
            GOOD.back(0.5, messages.response(GOOD.invite, 183, "Progress", body=sdp(ELSEWHERE))),
        )
    ),
    "left-on-hold": hold(GOOD, "inactive", 5.0).with_(
        rtp=streams(
            rtp_stream(A_RTP, B_RTP, since=1, until=5),
            rtp_stream(B_RTP, A_RTP, since=1, until=5, ssrc=2),
        )
    ),
    "audio-not-allowed": hold(GOOD, "inactive", 5.0),
    "stray-payload-type": GOOD.with_(
        more=tuple(
            (START + 3 * SECOND, udp(A_RTP, B_RTP, rtp(5_000 + each, 0, ssrc=1, number=19)))
            for each in range(3)
        )
    ),
    "rtcp-on-rtp-port": GOOD.with_(
        more=((START + 3 * SECOND, udp(A_RTP, B_RTP, b"\x80\xc9\0\1" + bytes(4))),)
    ),
    "other-packet-length": GOOD.with_(answer=sdp(B_RTP, formats=(0, 101), ptime=30)),
}  # fmt: skip
SEQUENCES = {
    "description-refused": refused(488, "Not Acceptable Here", ("Warning", '305 b "no codec"')),
    "refused": refused(486, "Busy Here"),
    "not-authorized": refused(401, "Unauthorized"),
    "no-response": [GOOD.there(at, GOOD.invite) for at in (0, 0.5, 1.5)],
    "beginning-missing": GOOD.packets[1:],
}


class CallRules(SynchronousTestCase):
    def test_a_good_call_has_none(self) -> None:
        self.assertEqual(names(GOOD), [])
        self.assertEqual(explained(GOOD).all_findings, ())

    def test_each_is_found(self) -> None:
        for name, scene in SCENES.items():
            self.assertIn(name, names(scene), name)
        for name, packets in SEQUENCES.items():
            (call,) = report(*packets).calls
            self.assertIn(name, [each.name for each in call.findings], name)

    def test_each_has_a_scene(self) -> None:
        self.assertEqual({rule.name for rule in CALL_RULES}, {*SCENES, *SEQUENCES})

    def test_what_a_fault_is_alone(self) -> None:
        """No fault brings findings that are not about it."""
        for name, others in (
            ("no-ack", []),
            ("audio-missing", []),
            ("audio-stopped", []),
            ("payload-type-mismatch", []),
            ("heavy-packet-loss", []),
            ("packet-loss", []),
            ("no-rtp", []),
            ("request-without-response", []),
            ("late-audio", []),
            ("audio-pause", []),
            ("two-sources", []),
            ("left-on-hold", []),
            ("answer-changed", []),
        ):
            self.assertEqual(names(SCENES[name]), [name, *others])

    def test_behind_a_nat(self) -> None:
        self.assertEqual(
            set(names(BEHIND_NAT)),
            {
                *("private-description", "source-not-described", "target-not-described"),
                *("private-contact", "no-received", "rport-without-value"),
            },
        )

    def test_a_hold_that_ends_is_no_fault(self) -> None:
        scene = hold(hold(GOOD, "inactive", 4.0), "sendrecv", 7.0, sequence=3)
        pause = [
            (at + (3 * SECOND if index >= 150 else 0), data)
            for both in (THERE, BACK)
            for index, (at, data) in enumerate(both[:300])
        ]
        self.assertEqual(names(scene.with_(rtp=tuple(pause))), [])

    def test_comfort_noise_announces_a_pause(self) -> None:
        noise = (START + 6 * SECOND, udp(A_RTP, B_RTP, rtp(1250, 160 * 250, ssrc=1, number=13)))
        there = rtp_stream(A_RTP, B_RTP, since=1, until=6, ssrc=1)
        scene = GOOD.with_(
            offer=sdp(A_RTP, formats=(0, 13)),
            answer=sdp(B_RTP, formats=(0, 13)),
            rtp=streams((*there, noise)),
        )
        self.assertEqual(names(scene), [])

    def test_a_late_offer(self) -> None:
        """The INVITE has no description: the 200 offers, the ACK answers."""
        invite = messages.invite(GOOD.caller, body=b"")
        success = messages.response(invite, 200, "OK", body=sdp(B_RTP))
        ack = messages.ack(GOOD.caller, to=success, body=sdp(A_RTP, formats=(0,)))
        packets = [GOOD.there(0, invite), GOOD.back(1, success), GOOD.there(1.1, ack)]
        (call,) = report(*sorted([*packets, *GOOD.rtp])).calls
        (exchange,) = call.call.exchanges
        self.assertEqual((exchange.offer.status, exchange.answer and exchange.answer[0].method),
                         (200, "ACK"))  # fmt: skip
        self.assertEqual([way.name for way in call.audio.ways], ["B -> A", "A -> B"])
        self.assertEqual([len(way.streams) for way in call.audio.ways], [1, 1])
        self.assertEqual(call.findings, ())

    def test_a_short_call_is_not_judged_by_its_rtp(self) -> None:
        success = GOOD.success
        packets = [
            GOOD.there(0, GOOD.invite),
            GOOD.back(0.1, success),
            GOOD.there(0.2, messages.ack(GOOD.caller, to=success)),
            GOOD.there(0.3, messages.bye(GOOD.caller, to=success)),
        ]
        self.assertEqual(report(*packets).calls[0].findings, ())

    def test_a_message_that_was_captured_twice_is_not_a_retransmission(self) -> None:
        doubled = [(at, data) for at, data in GOOD.packets for _ in range(2)]
        (call,) = report(*doubled).calls
        self.assertEqual(len(call.call.sightings), len(GOOD.packets) - len(GOOD.rtp))
        self.assertEqual(call.findings, ())

    def test_a_capture_that_ends_with_the_200_blames_nobody(self) -> None:
        packets = [GOOD.there(0, GOOD.invite), GOOD.back(1, GOOD.success)]
        self.assertEqual(report(*packets).calls[0].findings, ())

    def test_the_findings_of_descriptions_name_them(self) -> None:
        scene = GOOD.with_(offer=sdp(A_RTP, formats=(0, 97)), answer=sdp(B_RTP, formats=(0,)))
        (exchange,) = explained(scene).exchanges
        self.assertEqual(
            [(each.name, each.where) for each in exchange.findings],
            [
                ("no-rtpmap", "offer m-line 1"),
                ("no-digits", "offer m-line 1"),
                ("no-digits", "answer m-line 1"),
            ],
        )

    def test_private_addresses_are_fine_within_their_network(self) -> None:
        here, there = ("10.0.0.1", 40_000), ("10.0.0.2", 50_000)
        scene = GOOD.with_(
            offer=sdp(here), answer=sdp(there),
            source=("10.0.0.1", 5060), target=("10.0.0.2", 5060),
            caller=messages.Caller(local=("10.0.0.1", 5060), rport=False),
            rtp=streams(rtp_stream(here, there, since=1, until=10),
                        rtp_stream(there, here, since=1, until=10)),
        )  # fmt: skip
        self.assertEqual(explained(scene).all_findings, ())

    def test_severities_are_sorted(self) -> None:
        found = [each.severity for each in explained(BEHIND_NAT.with_(ack=False)).all_findings]
        self.assertEqual(found, sorted(found, reverse=True))
        self.assertIs(found[0], Severity.ERROR)

    def test_the_policy_judges_offers_that_nobody_answered(self) -> None:
        scene = GOOD.with_(offer=sdp(A_RTP, formats=(18,)))
        response = messages.response(scene.invite, 488, "Not Acceptable Here")
        (call,) = report(scene.there(0, scene.invite), scene.back(1, response)).calls
        explanation = call.exchanges[0].explanation
        assert explanation is not None
        self.assertIsNone(explanation.accepted)
        self.assertIn(POLICY.names, explanation.media[0].formats[0].text)
