"""Every fault of the book in memory: its cause ranks first within 3 s, and no other one before."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import ConfigurationError
from sessioncore.media.sources import Silence
from sessioncore.testing.assertions import assert_cause, assert_no_fault, assert_two_way
from sessioncore.testing.faults import FAULTS, FaultScene, inject
from sessioncore.verdict import CAUSES

LIMIT = 3.0
REPORT = 8.2
"""Seconds until the first report that can show a fault: 2 s of it, and then up to 6.2 s."""
STAYS = 1.0
STEP = 0.05


def wrong_causes(scene: FaultScene) -> tuple[float | None, set[str]]:
    """When the right cause came to rank first for good (s), and wrong ones of faulty verdicts."""
    name, seconds, found = scene.fault.name, 0.0, None
    wrong: set[str] = set()
    limit = REPORT if scene.fault.by_report else LIMIT
    while seconds < (limit if found is None else found + STAYS):
        scene.advance(STEP)
        seconds += STEP
        verdict = scene.call.verdict
        first = None if verdict.cause is None else verdict.cause.name
        if first != name:
            found = None
            if verdict.faulty:
                wrong.add(str(first))
        elif found is None:
            found = seconds
    return found, wrong - set(scene.fault.meanwhile)


class FaultTests(SynchronousTestCase):
    def check(self, name: str, before: float) -> None:
        with FaultScene(name) as scene:
            if not scene.fault.early:
                scene.advance(before)
                assert_no_fault(scene.call)
            scene.inject()
            found, wrong = wrong_causes(scene)
            self.assertEqual((found is not None, wrong), (True, set()), scene.call.verdict)
            assert_cause(scene.call, name)

    def test_from_the_beginning(self) -> None:
        for name, fault in FAULTS.items():
            if fault.early:
                self.check(name, 0.0)

    def test_after_two_seconds(self) -> None:
        for name, fault in FAULTS.items():
            if not fault.early:
                self.check(name, 2.0)

    def test_after_half_a_minute(self) -> None:
        """What was fine before must not hide what is wrong now."""
        for name, fault in FAULTS.items():
            if not fault.early:
                self.check(name, 30.3)

    def test_srtp_without_a_word_in_the_description(self) -> None:
        for tag in (4, 10, 16):
            with FaultScene("peer-encrypts") as scene:
                scene.peer.lines = ()
                scene.peer.media.tag = b""
                scene.peer.offer()
                scene.advance(2)
                assert_two_way(scene.call)
                scene.peer.media.tag = bytes(tag)
                scene.advance(3)
                assert_cause(scene.call, "peer-encrypts")

    def test_who_offers_srtp_and_sends_none_is_heard(self) -> None:
        with FaultScene("peer-encrypts") as scene:
            scene.peer.media.tag = b""
            scene.advance(3)
            assert_two_way(scene.call)

    def test_a_stalled_process(self) -> None:
        for before in (2.0, 60.0):
            with FaultScene("firewall-inbound") as scene:
                scene.advance(before)
                scene.network.host("192.0.2.2").stall(2.0)
                scene.advance(2.05)
                assert_cause(scene.call, "own-process-stalled")
                scene.advance(2)
                assert_cause(scene.call, "own-process-stalled")
                scene.advance(60)
                assert_no_fault(scene.call)

    def test_every_fault_is_a_cause(self) -> None:
        self.assertLessEqual(set(FAULTS), {rule.name for rule in CAUSES})

    def test_what_cannot_be_injected(self) -> None:
        for name, given, text in (
            ("gremlins", {}, "'gremlins' cannot be injected: it is not in the fault book"),
            ("cannot-send", {}, "'cannot-send' cannot be injected: a peer cannot bring it about"),
            ("peer-silent", {}, "peer-silent is a fault of the peer: give a MediaPeer"),
            ("our-source-silent", {}, "our-source-silent is a fault of our side: give a Call"),
        ):
            error = self.assertRaises(ConfigurationError, inject, name, **given)
            self.assertIn(text, str(error))
        self.assertRaises(ConfigurationError, FaultScene, "gremlins")


class AssertionTests(SynchronousTestCase):
    def test_what_they_say(self) -> None:
        with FaultScene("peer-silent", source=Silence()) as scene:
            scene.peer.media.reports = False
            scene.advance(2)
            assert_two_way(scene.call, proven=False)
            error = self.assertRaises(AssertionError, assert_two_way, scene.call)
            self.assertIn("no audio both ways: unconfirmed: receiving proven", str(error))
            error = self.assertRaises(AssertionError, assert_cause, scene.call, "peer-silent")
            self.assertIn("the cause is None and not peer-silent: ", str(error))
            self.assertIn("causes: none", str(error))
            scene.advance(1)
            error = self.assertRaises(AssertionError, assert_no_fault, scene.call)
            self.assertIn("causes: our-source-silent (0.25)", str(error))
            self.assertRaises(ValueError, assert_cause, scene.call, "gremlins")
