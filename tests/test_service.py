"""`SessionService` in Twisted applications: bound once, restarted, stopped, failing."""

from __future__ import annotations

import gc
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sessioncore import ConfigurationError, Echo, SessionService, Settings, Tone
from sessioncore.events import CallAnswered, CallEnded
from sessioncore.manager import SessionManager
from sessioncore.testing.links import Link
from sessioncore.testing.network import FakeNetwork
from tests.net.test_taps import Kept, Reports


class ServiceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork(seed=6)
        self.host = self.network.host("192.0.2.2")
        self.seen: list[str] = []

    def service(self, **given: Any) -> SessionService:
        given = {"on_incoming": lambda call: call.answer(source=Echo()), **given}
        return SessionService(given.pop("settings", None), reactor=self.host, **given)

    def note(self, event: Any) -> None:
        self.seen.append(event.name)

    def call(self, source: str = "192.0.2.1") -> tuple[SessionManager, Any]:
        manager = SessionManager(self.network.host(source))
        self.successResultOf(manager.start())
        call = manager.call("sip:bob@192.0.2.2", source=Tone())
        self.network.advance(0.5)
        return manager, call


class LifeTests(ServiceTestCase):
    def test_it_is_a_service(self) -> None:
        service = self.service()
        verifyObject(IService, service)
        self.assertEqual(service.name, "sessioncore")
        application = MultiService()
        service.setServiceParent(application)
        self.assertIs(application.getServiceNamed("sessioncore"), service)

    def test_opens_nothing_before_it_starts(self) -> None:
        service = self.service()
        error = self.assertRaises(ConfigurationError, lambda: service.manager)
        self.assertIn("before it starts", str(error))
        service.startService()
        self.assertEqual(service.manager.local_addresses, [("0.0.0.0", 5060)])
        self.assertTrue(service.running)

    def test_binds_once_whether_or_not_privileges_are_shed(self) -> None:
        service = self.service()
        service.privilegedStartService()
        manager = service.manager
        self.assertEqual(len(manager.local_addresses), 1)
        self.assertFalse(service.running)
        service.startService()
        self.assertIs(service.manager, manager)

    def test_stopped_after_only_the_privileged_start(self) -> None:
        service = self.service()
        service.privilegedStartService()
        stopped = service.stopService()
        self.network.advance(0.1)
        self.successResultOf(stopped)
        self.service().startService()  # the port is free

    def test_calls_get_a_bye(self) -> None:
        service = self.service()
        service.startService()
        _, call = self.call()
        ended = call.when_ended()
        stopped = service.stopService()
        self.assertNoResult(stopped)
        self.network.advance(0.5)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertIn("the peer hung up", str(self.successResultOf(ended)))
        self.assertFalse(service.running)

    def test_the_grace_ends_the_wait(self) -> None:
        service = self.service(grace=1.5)
        service.startService()
        self.call()
        self.network.set_link("192.0.2.2", "192.0.2.1", Link(loss=1.0))
        stopped = service.stopService()
        self.network.advance(1.4)
        self.assertNoResult(stopped)
        self.network.advance(0.2)
        self.successResultOf(stopped)

    def test_stopped_twice_and_a_wait_that_is_cancelled(self) -> None:
        service = self.service()
        self.successResultOf(service.stopService())
        service.startService()
        self.call()
        first, second = service.stopService(), service.stopService()
        first.cancel()
        self.assertNoResult(second)
        self.network.advance(1)
        self.successResultOf(second)
        self.successResultOf(service.stopService())
        service.startService()

    def test_each_start_has_a_fresh_manager_with_the_same_sinks(self) -> None:
        service = self.service()
        service.add_event_sink(self.note, CallAnswered)
        service.startService()
        first = service.manager
        service.add_event_sink(self.note, CallEnded)
        self.call()
        self.assertEqual(self.seen, ["CallAnswered"])
        stopped = service.stopService()
        self.network.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.seen, ["CallAnswered", "CallEnded"])
        service.startService()
        self.assertIsNot(service.manager, first)
        self.call("192.0.2.3")
        self.assertEqual(self.seen[2:], ["CallAnswered"])

    def test_each_fresh_manager_has_the_same_taps(self) -> None:
        service = self.service()
        early, late, reports = Kept(), Kept(), Reports()
        service.add_message_tap(early)
        service.add_report_tap(reports)
        service.startService()
        self.call()
        service.add_message_tap(late)
        stopped = service.stopService()
        self.network.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(early.lines()[0], "< INVITE")
        self.assertEqual(late.lines(), ["> BYE", "< 200 BYE"])
        self.assertEqual({given[3] for given in reports.given}, {True, False})
        service.startService()
        count = len(early.messages)
        calls = {given[5] for given in reports.given}
        self.call("192.0.2.3")
        service.manager.calls[0].hang_up()
        self.network.advance(1)
        self.assertEqual(len({given[5] for given in reports.given} - calls), 1)
        self.assertEqual(early.lines()[count], "< INVITE")
        self.assertEqual(late.messages[2:], early.messages[count:])

    def test_not_started_while_it_stops(self) -> None:
        service = self.service()
        service.startService()
        self.call()
        stopped = service.stopService()
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertIn("still stopping", str(error))
        self.network.advance(1)
        self.successResultOf(stopped)
        service.startService()

    def test_what_the_manager_takes_is_handed_on(self) -> None:
        service = self.service(
            settings=Settings(listen=("udp:5070",)), random_bytes=lambda count: bytes(count)
        )
        service.startService()
        self.assertEqual(service.manager.local_addresses[0][1], 5070)
        self.assertEqual(service.manager._token(), b"0" * 16)


class FailureTests(ServiceTestCase):
    def test_a_port_in_use(self) -> None:
        self.service().startService()
        second = self.service()
        error = self.assertRaises(ConfigurationError, second.startService)
        self.assertIn("5060", str(error))
        self.assertFalse(second.running)
        self.successResultOf(second.stopService())

    def test_a_sink_that_is_none(self) -> None:
        service: Any = self.service()
        service.add_event_sink(5)
        self.assertRaises(ConfigurationError, service.startService)
        self.service().startService()  # nothing stayed open

    def test_a_grace_that_cannot_be(self) -> None:
        for grace in (-1, 1e9, "soon", None):
            error = self.assertRaises(ConfigurationError, self.service, grace=grace)
            self.assertIn(repr(grace), str(error))

    def test_stopping_that_fails_is_logged(self) -> None:
        service = self.service()
        service.startService()
        failed: Deferred[int] = Deferred()
        failed.errback(RuntimeError("no"))
        self.patch(service.manager, "stop", lambda grace: failed)
        self.successResultOf(service.stopService())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_start_that_fails_later_is_logged(self) -> None:
        service = self.service()
        starting: list[Deferred[None]] = [Deferred()]
        self.patch(SessionManager, "start", lambda manager: starting[0])
        service.startService()
        starting.pop().errback(RuntimeError("no"))
        gc.collect()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class ReactorTests(SynchronousTestCase):
    def test_the_process_reactor_is_taken_when_it_is_needed(self) -> None:
        from twisted.internet import reactor

        service = SessionService()
        self.assertIsNone(service._reactor)
        self.assertIs(service.reactor, reactor)
