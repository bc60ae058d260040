"""Every cell of the media state table, and the rule for when media is active."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import UnexpectedInput
from sessioncore.media.statistics import MediaEvent
from sessioncore.rtp.codecs.l16 import L16
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.session.media_control import MediaSessionController, SessionMedia
from sessioncore.session.media_state import (
    MEDIA_STATE,
    AgreementReached,
    AllDirectionsSeen,
    FlowEstablished,
    MediaStateMachine,
    OfferPending,
    OfferWithdrawn,
    Silenced,
    StreamClosed,
)
from sessioncore.vocabulary import (
    COMFORT_NOISE,
    Address,
    Direction,
    MediaState,
    NegotiatedMedia,
    StreamAgreement,
)

COLUMNS = [
    OfferPending,
    OfferWithdrawn,
    AgreementReached,
    FlowEstablished,
    AllDirectionsSeen,
    Silenced,
    StreamClosed,
]
# One line a state, one word an input; `-` stays, `!` is ruled out.
CELLS = """
Idle        Negotiating -    !     !           -      -           Idle
Negotiating Negotiating Idle Ready !           -      -           Idle
Ready       -           -    Ready Established -      -           Idle
Established -           -    Ready !           Active -           Idle
Active      -           -    Ready !           -      Established Idle
"""


class CellTests(SynchronousTestCase):
    def test_every_cell(self) -> None:
        seen = []
        for line in CELLS.strip().splitlines():
            name, *words = line.split()
            seen.append(MediaState(name))
            for kind, word in zip(COLUMNS, words, strict=True):
                with self.subTest(f"{kind.__name__} in {name}"):
                    self.check(MediaState(name), kind, word)
        self.assertEqual(seen, list(MediaState))
        self.assertEqual(COLUMNS, list(MEDIA_STATE.inputs))

    def check(self, state: MediaState, kind: type, word: str) -> None:
        machine = MediaStateMachine()
        machine.state = state
        if word == "!":
            self.assertRaises(UnexpectedInput, machine.feed, kind())
            self.assertIs(machine.state, state)
            return
        machine.feed(kind())
        self.assertIs(machine.state, state if word == "-" else MediaState(word))

    def test_no_effects(self) -> None:
        self.assertTrue(all(row.action is None for row in MEDIA_STATE.rows))
        self.assertRaises(AssertionError, MediaStateMachine().perform, object())


AGREEMENT = StreamAgreement(
    codec=PCMU,
    send_payload_type=0,
    receive_payload_type=0,
    local=("192.0.2.1", 40_000),
    remote=("192.0.2.2", 40_000),
    remote_rtcp=None,
    direction=Direction.SENDRECV,
)


class FakeStream:
    """Writes down what it is asked."""

    local = ("192.0.2.1", 40_000)

    def __init__(self) -> None:
        self.owner: Any = None
        self.did: list[Any] = []
        self.statistics = "live"

    def __getattr__(self, name: str) -> Any:
        def record(*arguments: Any, **named: Any) -> Any:
            self.did.append((name, *arguments, *named.values()))
            if name == "finish":
                self.statistics = "final"

        return record


class FakePlane:
    def __init__(self) -> None:
        self.stream = FakeStream()
        self.took_reports: list[int] = []

    def open(self, ip: str, now: int) -> FakeStream:
        return self.stream

    def take_reports(self, now: int) -> None:
        self.took_reports.append(now)

    def linger(self, stream: FakeStream, now: int) -> None:
        pass


class FakeSession:
    def __init__(self) -> None:
        self.media = SessionMedia()
        self.media.signalling_host = "192.0.2.2"


class ControllerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.plane = FakePlane()
        self.stream = self.plane.stream
        self.control = MediaSessionController(
            self.plane,  # type: ignore[arg-type]
            nat=True,
            codecs=(L16, PCMU),
        )
        self.session = FakeSession()
        self.media = self.session.media

    def agree(self, direction: Direction, remote: Address | None = ("192.0.2.2", 40_000)) -> None:
        """Up to Established, on that direction."""
        self.control.open(self.session, "192.0.2.1", 0)
        self.media.feed(OfferPending())
        audio = evolve(AGREEMENT, direction=direction, remote=remote)
        self.media.agreed(NegotiatedMedia((audio,)))
        self.control.establish_media_flow(self.session, remote, 1)

    def active_after(self, *kinds: MediaEvent) -> list[bool]:
        return [self.media.saw(kind) for kind in kinds]

    def test_both_ways(self) -> None:
        self.agree(Direction.SENDRECV)
        self.assertTrue(self.media.both_ways)
        seen = self.active_after(MediaEvent.FIRST_SENT, MediaEvent.FIRST_RECEIVED)
        self.assertEqual(seen, [False, True])
        self.assertIs(self.media.state, MediaState.ACTIVE)

    def test_in_the_other_order(self) -> None:
        self.agree(Direction.SENDRECV)
        seen = self.active_after(MediaEvent.FIRST_RECEIVED, MediaEvent.FIRST_SENT)
        self.assertEqual(seen, [False, True])

    def test_one_way(self) -> None:
        for direction, kind in (
            (Direction.SENDONLY, MediaEvent.FIRST_SENT),
            (Direction.RECVONLY, MediaEvent.FIRST_RECEIVED),
        ):
            self.setUp()
            self.agree(direction)
            self.assertFalse(self.media.both_ways)
            self.assertEqual(self.active_after(kind), [True])

    def test_receiving_is_enough_where_there_is_nowhere_to_send_to(self) -> None:
        self.agree(Direction.SENDRECV, None)
        self.assertEqual(self.active_after(MediaEvent.FIRST_RECEIVED), [True])
        self.assertFalse(self.media.both_ways)
        self.assertIn(("stop_transmission",), self.stream.did)

    def test_inactive_is_never_active(self) -> None:
        self.agree(Direction.INACTIVE)
        seen = self.active_after(MediaEvent.FIRST_SENT, MediaEvent.FIRST_RECEIVED)
        self.assertEqual(seen, [False, False])
        self.assertIs(self.media.state, MediaState.ESTABLISHED)

    def test_stall_and_resumption(self) -> None:
        self.agree(Direction.SENDRECV)
        self.active_after(MediaEvent.FIRST_SENT, MediaEvent.FIRST_RECEIVED)
        self.assertEqual(self.active_after(MediaEvent.STALLED), [False])
        self.assertIs(self.media.state, MediaState.ESTABLISHED)
        self.assertEqual(self.active_after(MediaEvent.RESUMED), [True])

    def test_what_says_nothing_of_the_path(self) -> None:
        self.agree(Direction.SENDRECV)
        self.media.saw(MediaEvent.FIRST_SENT)
        others = set(MediaEvent) - {MediaEvent.FIRST_RECEIVED, MediaEvent.RESUMED}
        self.assertFalse(any(self.active_after(*others)))

    def test_a_new_agreement_is_seen_anew(self) -> None:
        self.agree(Direction.SENDRECV)
        self.active_after(MediaEvent.FIRST_SENT, MediaEvent.FIRST_RECEIVED)
        assert self.media.agreement is not None
        self.media.agreed(self.media.agreement)
        self.assertIs(self.media.state, MediaState.READY)
        self.control.establish_media_flow(self.session, ("192.0.2.2", 40_000), 2)
        self.assertIs(self.media.state, MediaState.ESTABLISHED)
        self.assertEqual(self.active_after(MediaEvent.FIRST_SENT), [False])

    def test_establishing(self) -> None:
        self.control.set_source(self.session, "source")
        self.control.set_sink(self.session, "sink")
        self.agree(Direction.SENDRECV)
        assert self.media.agreement is not None
        self.assertEqual(
            self.stream.did,
            [
                ("set_source", "source"),
                ("set_sink", "sink"),
                ("establish", self.media.agreement.audio, "192.0.2.2", True, 1),
                ("start_transmission", 1, False),
            ],
        )
        self.assertIs(self.stream.owner, self.session)

    def test_establishing_needs_an_agreement(self) -> None:
        self.control.open(self.session, "192.0.2.1", 0)
        self.assertRaises(AssertionError, self.control.establish_media_flow, self.session, None, 1)

    def test_without_a_row(self) -> None:
        """Everything may be asked before and after there is one."""
        for do in (
            self.control.stop_audio_transmission,
            lambda session: self.control.prove_path(session, 0),
            lambda session: self.control.start_audio_transmission(session, 0),
            lambda session: self.control.update_remote_address(session, ("192.0.2.3", 4), 0),
            lambda session: self.control.set_source(session, "x"),
            lambda session: self.control.set_sink(session, "y"),
            lambda session: self.control.expect_early(session, "192.0.2.3"),
            lambda session: self.control.close(session, 0),
        ):
            do(self.session)
        self.assertEqual(self.stream.did, [])
        self.assertIsNone(self.media.statistics)

    def test_with_a_row(self) -> None:
        self.agree(Direction.SENDRECV)
        self.stream.did.clear()
        self.control.update_remote_address(self.session, ("192.0.2.3", 4), 3)
        self.control.prove_path(self.session, 4)
        self.control.start_audio_transmission(self.session, 5)
        self.control.stop_audio_transmission(self.session)
        self.control.expect_early(self.session, "192.0.2.3")
        self.assertEqual(
            self.stream.did,
            [
                ("update_remote_address", ("192.0.2.3", 4), 3),
                ("prove_path", 4),
                ("start_transmission", 5, True),
                ("stop_transmission",),
                ("expect_early", "192.0.2.3", ((96, L16), (0, PCMU), (13, COMFORT_NOISE))),
            ],
        )

    def test_reports_that_came_after_the_end_are_taken_before_the_ports_are_released(self) -> None:
        self.agree(Direction.SENDRECV)
        self.control.finish(self.session, 9)
        self.assertEqual(self.plane.took_reports, [])
        self.control.close(self.session, 10)
        self.assertEqual(self.plane.took_reports, [10])

    def test_statistics_outlive_the_row(self) -> None:
        self.agree(Direction.SENDRECV)
        self.assertEqual(self.media.statistics, "live")
        self.control.close(self.session, 9)
        self.control.close(self.session, 10)
        self.assertEqual(self.media.statistics, "final")
        self.assertEqual(self.stream.did.count(("finish", 9)), 1)
        self.assertIn(("release", 9), self.stream.did)
        self.assertIs(self.media.state, MediaState.IDLE)
