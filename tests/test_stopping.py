"""`SessionManager.stop` and the disk: recordings are written, a stuck disk holds nothing up."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from sessioncore import manager as module
from sessioncore.agents import answer_with_echo
from sessioncore.manager import SessionManager
from sessioncore.media.sinks import Record
from sessioncore.media.sources import Tone
from sessioncore.media.wave import read_wav
from sessioncore.testing.network import FakeNetwork


class StoppingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork(seed=9)
        self.patch(module, "WRITING", 0.01)
        self.manager = SessionManager(self.network.host("192.0.2.1"))
        self.successResultOf(self.manager.start())

    def stuck(self) -> Future[None]:
        never: Future[None] = Future()
        self.patch(self.manager.plane.playout.sinks.recorder, "close", lambda: never)
        return never

    def test_all_of_a_recording_is_there(self) -> None:
        self.patch(module, "WRITING", 10)
        peer = SessionManager(self.network.host("192.0.2.2"), on_incoming=answer_with_echo)
        self.successResultOf(peer.start())
        path = self.mktemp()
        self.manager.call("sip:b@192.0.2.2", source=Tone(), sink=Record(path))
        self.network.advance(3.1)
        stopped = self.manager.stop()
        self.network.advance(1)
        self.successResultOf(stopped)
        self.assertGreaterEqual(len(read_wav(path).mono), 3 * 8000)

    def test_a_stuck_disk_under_a_fake_clock(self) -> None:
        self.stuck()
        stopped = self.manager.stop()
        self.network.advance(0.1)
        self.assertEqual(self.successResultOf(stopped), 0)

    def test_a_stuck_disk_under_a_reactor_with_threads(self) -> None:
        never = self.stuck()
        stopped = self.stopping_with_threads()
        self.assertNoResult(stopped)
        self.clock.advance(0.02)
        self.assertEqual(self.successResultOf(stopped), 0)
        never.set_result(None)  # too late for anybody

    def test_a_slow_disk(self) -> None:
        slow = self.stuck()
        stopped = self.stopping_with_threads()
        slow.set_result(None)
        self.assertEqual(self.successResultOf(stopped), 0)

    def stopping_with_threads(self) -> Any:
        self.clock: Any = Clock()
        self.clock.callFromThread = lambda function, *args: function(*args)
        alsoProvides(self.clock, module.IReactorFromThreads)
        self.patch(self.manager, "_reactor", self.clock)
        stopped = self.manager.stop()
        self.network.advance(0.1)  # the sockets
        return stopped
