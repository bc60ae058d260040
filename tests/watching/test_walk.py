"""The walk of the design, asserted line by line on the in-memory network.

INVITE datagram to audio both ways, as ``sessioncore trace`` prints it.
"""

from __future__ import annotations

import io
import sys
from types import FrameType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore import events
from sessioncore.manager import SessionManager
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.testing.links import Link
from sessioncore.testing.network import FakeNetwork
from sessioncore.vocabulary import Direction
from sessioncore.watching import walk as walk_module
from sessioncore.watching.walk import WALK, Walk, heading, place

CALLEE = """\
1 bytes from 192.0.2.1:5060: INVITE sip:bob@192.0.2.2 SIP/2.0
2 Request
3 server INVITE transaction begins
4 local tag
5 OfferAnswer: Nothing -> OfferReceived on OfferReceived
6 media state: Idle -> Negotiating on OfferPending
6 session: Prepared -> Incoming on InviteRead
6 IncomingCall, Media State: Negotiating
5 OfferAnswer: OfferReceived -> Agreed on AnswerMade
3 server INVITE transaction: Proceeding -> Accepted on AnswerSuccess
7 session: Incoming -> Answered on AnswerWritten
7 media state: Negotiating -> Ready on AgreementReached
7 media state: Ready -> Established on FlowEstablished
6 CallAccepted, Media State: Negotiating
7 CallAnswered, Media State: Ready
7 MediaNegotiated, Media State: Ready
7 MediaFlowEstablished, Media State: Established
1 bytes from 192.0.2.1:5060: ACK sip:192.0.2.2:5060 SIP/2.0
2 Request
8 session: Answered -> Confirmed on AckRead
8 AckReceived, Media State: Established
8 DialogEstablished, Media State: Established
9 media state: Established -> Active on AllDirectionsSeen
9 MediaActive, Media State: Active
9 VerdictChanged, Media State: Active
"""
CALLER = """\
5 OfferAnswer: Nothing -> OfferSent on OfferMade
6 media state: Idle -> Negotiating on OfferPending
3 client INVITE transaction begins
6 session: Prepared -> Calling on InviteWritten
6 OutgoingCallPrepared, Media State: Idle
6 CallInitiated, Media State: Negotiating
1 bytes from 192.0.2.2:5060: SIP/2.0 200 OK
2 Response
3 client INVITE transaction: Calling -> Accepted on Success
4 local tag
7 session: Calling -> Answered on SuccessRead
5 OfferAnswer: OfferSent -> Agreed on AnswerReceived
7 media state: Negotiating -> Ready on AgreementReached
7 media state: Ready -> Established on FlowEstablished
8 session: Answered -> Confirmed on AckWritten
7 CallAnswered, Media State: Ready
7 MediaNegotiated, Media State: Ready
7 MediaFlowEstablished, Media State: Established
8 AckSent, Media State: Established
8 DialogEstablished, Media State: Established
9 media state: Established -> Active on AllDirectionsSeen
9 MediaActive, Media State: Active
9 VerdictChanged, Media State: Active
"""
HANDED_ON = {
    "watching/walk",
    "table",
    "session/announcing",
    "session/leg",
    "session/media_control",
}
"""Modules between whoever acts and the line that is written of it."""


def module_of(frame: FrameType) -> str | None:
    """``session/acks`` for code of the package, else None."""
    name = frame.f_globals.get("__name__", "")
    return name.removeprefix("sessioncore.").replace(".", "/") if "sessioncore." in name else None


class WatchedWalk(Walk):
    """Notes for each line which modules ran since the datagram came, and who made it happen."""

    def __init__(self, label: str) -> None:
        super().__init__(io.StringIO(), label)
        self.ran: set[str] = set()
        self.noted: list[tuple[int, str, set[str], str]] = []

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and (module := module_of(frame)):
            self.ran.add(module)

    def _say(self, row: int, what: str) -> None:
        frame, stack = sys._getframe(1), []
        while frame is not None:
            if module := module_of(frame):
                stack.append(module)
            frame = frame.f_back  # type: ignore[assignment]
        actor = next(module for module in stack if module not in HANDED_ON)
        if row == 1:
            self.ran = set()
        self.noted.append((row, what, self.ran | set(stack), actor))


class ModulesTests(SynchronousTestCase):
    """The rows name the modules in which the code of the walk ran, and no others."""

    def walked(self) -> list[tuple[int, str, set[str], str]]:
        network = FakeNetwork(seed=4)
        walks = {each: WatchedWalk(each) for each in ("UAS", "UAC")}

        def profile(*seen: Any) -> None:
            for walk in walks.values():
                walk.profile(*seen)

        callee = SessionManager(
            network.host("192.0.2.2"),
            tracer=walks["UAS"],
            on_incoming=lambda call: call.answer(source=Tone()),
        )
        caller = SessionManager(network.host("192.0.2.1"), tracer=walks["UAC"])
        for manager, walk in ((callee, walks["UAS"]), (caller, walks["UAC"])):
            manager.add_event_sink(walk.event)
            self.successResultOf(manager.start())
        sys.setprofile(profile)
        try:
            caller.call("sip:bob@192.0.2.2", source=Tone())
            network.advance(0.5)
        finally:
            sys.setprofile(None)
        return [note for walk in walks.values() for note in walk.noted]

    def test_what_a_row_names_ran_there(self) -> None:
        notes = self.walked()
        for row, (modules, _what) in enumerate(WALK, 1):
            ran: set[str] = set().union(*(ran for at, _, ran, _ in notes if at == row))
            self.assertEqual(set(modules) - ran, set(), f"row {row}")

    def test_who_acts_is_named_by_its_row(self) -> None:
        """A machine's step is made by a module of its row; events come at the end of an entry."""
        for row, what, _, actor in self.walked():
            if " -> " in what:
                self.assertIn(actor, WALK[row - 1][0], f"row {row}: {what}")


class WalkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork(seed=4)
        self.texts: dict[str, io.StringIO] = {}

    def manager(self, address: str, label: str, **wishes: object) -> SessionManager:
        self.texts[label] = io.StringIO()
        walk = Walk(self.texts[label], label)
        manager = SessionManager(self.network.host(address), tracer=walk, **wishes)  # type: ignore[arg-type]
        manager.add_event_sink(walk.event)
        self.successResultOf(manager.start())
        return manager

    def walked(self, label: str) -> list[tuple[int, str, str]]:
        """(row, where, what) of each line."""
        lines = self.texts[label].getvalue().splitlines()
        return [
            (
                int(line[len(label) + 3]),
                *(part.strip() for part in line[len(label) + 6 :].split("  ", 1)),
            )  # type: ignore[misc]
            for line in lines
        ]

    def check(self, label: str, expected: str) -> None:
        walked = self.walked(label)
        for (row, where, what), line in zip(walked, expected.splitlines(), strict=True):
            number, _, part = line.partition(" ")
            self.assertIn(part, what)
            self.assertEqual(row, int(number), what)
            self.assertEqual(where, place(WALK[row - 1][0]))

    def call(self, answer: object) -> Call:
        self.manager("192.0.2.2", "UAS", on_incoming=answer)
        call = self.manager("192.0.2.1", "UAC").call("sip:bob@192.0.2.2", source=Tone())
        self.network.advance(1)
        return call

    def test_both_sides(self) -> None:
        call = self.call(lambda call: call.answer(source=Tone()))
        self.successResultOf(call.when_two_way())
        self.check("UAS", CALLEE)
        self.check("UAC", CALLER)

    def test_a_repeated_invite_ends_at_row_3(self) -> None:
        self.network.set_link("192.0.2.1", "192.0.2.2", Link(duplicate=1.0))
        self.call(lambda call: None)
        rows = [row for row, _, _ in self.walked("UAS")]
        self.assertEqual(rows[:8], [1, 2, 3, 4, 5, 6, 6, 6])
        # Then the copy, and nothing that comes of it but the transaction's own step.
        self.assertEqual(rows[8:11], [1, 2, 3])
        self.assertEqual(rows.count(4), 1)

    def test_every_event_has_a_row(self) -> None:
        kinds = {getattr(events, name) for name in events.__all__} - {events.Event}
        self.assertEqual(set(walk_module._ROW_OF_EVENT), kinds)

    def test_what_happens_after_the_answer(self) -> None:
        """Early media, hold, silence: each on the row of the code that announces it."""
        answering: list[Call] = []

        def answer(call: Call) -> None:
            call.ring(early_media=True)
            answering.append(call)

        call = self.call(answer)
        self.successResultOf(answering[0].answer(source=Tone()))
        self.network.advance(0.5)
        self.successResultOf(call.when_two_way())
        held = call.modify(Direction.SENDONLY)
        self.network.advance(0.5)
        self.successResultOf(held)
        rows = {what.partition(",")[0]: row for row, _, what in self.walked("UAS")}
        self.assertEqual((rows["EarlyMediaStarted"], rows["CallHeld"]), (7, 7))
        call.modify(Direction.SENDRECV)
        self.network.advance(0.5)
        self.network.set_link("192.0.2.1", "192.0.2.2", Link(loss=1.0))
        self.network.advance(6)
        lines = [(row, what) for row, _, what in self.walked("UAS")]
        self.assertIn((9, "media state: Active -> Established on Silenced"), lines)
        self.assertIn((9, "MediaStalled, Media State: Established"), lines)
        self.assertIn((7, "CallResumed, Media State: Established"), lines)

    def test_garbage(self) -> None:
        self.manager("192.0.2.2", "UAS")
        self.manager("192.0.2.1", "UAC")
        walk = Walk(self.texts["UAS"], "UAS")
        walk.datagram(b"\x1b[2J\xff no SIP\r\n\r\n", ("192.0.2.1", 5060), 0)
        ((first, _, line), (second, _, refused)) = self.walked("UAS")
        self.assertEqual((first, second), (1, 2))
        self.assertTrue(line.isprintable() and line.isascii())
        self.assertIn("refused with 400", refused)

    def test_heading(self) -> None:
        self.assertEqual(len(heading().splitlines()), 9)
