"""The services that ``twistd`` runs, on the in-memory network: start, run, stop, what is said."""

from __future__ import annotations

import errno
import gc
import io
import json
import os
import resource
import shutil
import sys
from typing import Any
from unittest import mock

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon import service as module
from sessioncore.daemon.answering import AnswerPlan
from sessioncore.daemon.calling import CallPlan
from sessioncore.daemon.reports import ReportPlan
from sessioncore.daemon.service import (
    DaemonService,
    Lines,
    UacPlan,
    UacService,
    UasPlan,
    UasService,
)
from sessioncore.dashboard.endpoint import WebPlan, parse_endpoint
from sessioncore.errors import ConfigurationError
from sessioncore.events import CallEnded, CallFailed
from sessioncore.manager import SessionManager
from sessioncore.media.hearing import ExpectedTones
from sessioncore.media.sources import Echo, Tone
from sessioncore.net.limits import DescriptorLimit
from sessioncore.settings import Settings
from sessioncore.testing.network import FakeNetwork
from sessioncore.watching.outcome import Outcome
from tests.dashboard.web import Connection, get


class Reactor:
    """A host of the in-memory network with what a daemon asks of a reactor besides."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self.stopped = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def callWhenRunning(self, function: Any) -> None:
        function()

    def stop(self) -> None:
        self.stopped += 1


class ServiceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(gc.enable)
        self.addCleanup(gc.unfreeze)
        self.addCleanup(
            resource.setrlimit, resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)
        )
        self.network = FakeNetwork(seed=5)
        self.said: list[tuple[Outcome, bool]] = []

    def reactor(self, address: str) -> Any:
        from zope.interface import directlyProvides, providedBy

        host = self.network.host(address)
        reactor = Reactor(host)
        directlyProvides(reactor, providedBy(host))
        return reactor

    def uas(self, answer: AnswerPlan | None = None, events: str | None = None) -> UasService:
        plan = UasPlan(Settings(max_calls=10), answer or AnswerPlan(), events)
        return self.started(UasService(plan, reactor=self.reactor("192.0.2.2")))

    def uac(
        self,
        events: str | None = None,
        at: str = "192.0.2.1",
        reports: ReportPlan | None = None,
        **calls: Any,
    ) -> UacService:
        plan = UacPlan(
            Settings(max_calls=10),
            CallPlan(**{"uris": ("sip:b@192.0.2.2",), "source": Tone(), "duration": 1.0, **calls}),
            events,
            reports=reports or ReportPlan(),
        )
        return self.started(
            UacService(
                plan,
                say=lambda outcome, interrupted: self.said.append((outcome, interrupted)),
                reactor=self.reactor(at),
            )
        )

    def started(self, service: Any) -> Any:
        service.startService()
        return service

    def logged(self) -> list[str]:
        """What the service logs from now on."""
        told: list[str] = []
        observer: Any = lambda event: told.append(formatEvent(event))  # noqa: E731
        self.patch(module, "_log", Logger(namespace="sessioncore", observer=observer))
        return told

    def stop(self, *services: DaemonService) -> None:
        for service in services:
            stopped = service.stopService()
            self.network.advance(6)
            self.successResultOf(stopped)


class WebTests(ServiceTestCase):
    """What is shown over HTTP, from the start of the service to its end."""

    def service(self, **given: Any) -> UasService:
        plan = WebPlan("--metrics", parse_endpoint("--metrics", "tcp:9100"), False)
        uas = UasPlan(Settings(), web=(plan,))
        service = UasService(uas, reactor=self.reactor("192.0.2.2"))
        service.reactor.web = MemoryReactorClock()
        service.reactor.listenTCP = given.get("listen", service.reactor.web.listenTCP)
        return service

    def test_from_start_to_end(self) -> None:
        service = self.service()
        service.startService()
        ((port, site, _, _),) = service.reactor.web.tcpServers
        self.assertEqual((port, service.web_addresses), (9100, ["http://0.0.0.0:9100/"]))
        self.assertEqual(get(site, "/readyz").text, "ok\n")
        service.drain()
        self.assertEqual(get(site, "/readyz").status, 503)
        connection = Connection(site)
        self.stop(service)
        self.assertTrue(connection.transport.aborted)

    def test_a_port_in_use(self) -> None:
        def taken(*_: object, **__: object) -> None:
            raise CannotListenError("", 9100, OSError(98, "Address already in use"))

        service = self.service(listen=taken)
        with self.assertRaisesRegex(ConfigurationError, "--metrics: cannot listen on tcp:9100"):
            service.startService()
        # Nothing stays open: the address can be bound again.
        self.network.advance(0)
        self.stop(self.uas())


class RunTests(ServiceTestCase):
    def test_a_call_from_start_to_end(self) -> None:
        uas, uac = self.uas(events="uas.jsonl"), self.uac(events="uac.jsonl")
        self.addCleanup(os.remove, "uas.jsonl")
        self.addCleanup(os.remove, "uac.jsonl")
        self.network.advance(0.5)
        self.assertEqual(len(uas.manager.calls), 1)
        self.network.advance(2)
        self.assertEqual(uac.reactor.stopped, 1)
        self.stop(uac, uas)
        self.assertEqual(self.said, [(Outcome(1, 1), False)])
        for name, last in (("uac.jsonl", ["CallSummary", "RunEnded"]), ("uas.jsonl", None)):
            with open(name) as file:
                records = [json.loads(line) for line in file]
            names = [record["event"] for record in records]
            self.assertIn("MediaActive", names)
            self.assertEqual(names[-2:], last or ["CallEnded", "CallSummary"])
            # Wall-clock time, whatever the clock of the calls.
            self.assertGreater(records[0]["t"], 1.7e9)

    def test_standard_output_that_does_not_take_every_event_is_told_of(self) -> None:
        # Of a file only what was meant for standard output counts.
        for events, lost in (("-", True), ("/dev/full", False)):
            with open("/dev/full", "w") as full:
                self.patch(sys, "__stdout__", full)
                uac = self.uac(events=events)
                self.assertFalse(uac.output_lost)
                self.network.advance(1)
                self.assertIs(uac.output_lost, lost)
                self.stop(uac)

    def test_refused(self) -> None:
        uas = self.uas(AnswerPlan(reject=486))
        uac = self.uac()
        self.network.advance(1)
        self.assertEqual(uac.reactor.stopped, 1)
        self.stop(uac, uas)
        self.assertEqual(self.said, [(Outcome(1, 0), False)])

    def test_stopped_in_the_middle(self) -> None:
        uas, uac = self.uas(), self.uac(calls=100, rate=2.0, duration=60.0)
        self.network.advance(1.9)
        self.assertEqual(len(uac.manager.calls), 4)
        self.stop(uac)
        self.assertEqual(len(self.said), 1)
        outcome, interrupted = self.said[0]
        self.assertTrue(interrupted)
        self.assertEqual(outcome.calls, 4)
        self.assertEqual(uac.reactor.stopped, 0, "whoever stops the service stops the reactor")
        self.assertEqual(uas.manager.calls, [])
        self.stop(uas)

    def test_calls_that_there_is_no_room_for_are_told_of_now_and_then(self) -> None:
        told: list[str] = []
        logger = mock.Mock(warn=lambda text, **values: told.append(text.format(**values)))
        self.patch(module, "_log", logger)
        uas, uac = self.uas(), self.uac(calls=10, duration=60.0)
        other = self.uac(calls=3, duration=1.0, at="192.0.2.3")
        self.network.advance(9.9)
        self.assertEqual(told, [])
        self.network.advance(0.2)
        says = "calls refused with 503: {} (as many calls as allowed, too many without ACK,"
        says += " or shutting down: --max-calls)"
        self.assertEqual(told, [says.format(3)])
        self.network.advance(20)
        self.assertEqual(len(told), 1)
        last = self.uac(calls=10, rate=20.0, duration=60.0, at="192.0.2.4")
        self.network.advance(1)
        refused = uas.manager.statistics().calls["refused_busy"] - 3
        self.assertGreater(refused, 0)
        self.stop(uas)
        self.assertEqual(told[1:], [says.format(refused)], "of the last seconds, at the end")
        self.stop(last, other, uac)

    def test_statistics_are_in_their_file(self) -> None:
        name = self.mktemp()
        plan = UasPlan(Settings(max_calls=1), AnswerPlan(), None, name)
        uas = self.started(UasService(plan, reactor=self.reactor("192.0.2.2")))

        def stats() -> Any:
            with open(name) as file:
                return json.load(file)

        self.assertEqual((stats()["role"], stats()["calls_up"]), ("UAS", 0))
        uac = self.uac(calls=2, duration=60.0)
        self.network.advance(11)
        now = stats()
        self.assertEqual((now["calls_up"], now["calls"]["refused_busy"]), (1, 1))
        self.assertEqual(now["lines_lost"], 0)
        self.assertGreater(now["t"], 1.7e9)
        self.assertGreater(now["media"]["packets_sent"], 400)
        self.stop(uac, uas)
        self.assertEqual(stats()["calls_up"], 0, "once more at the end")
        self.assertEqual(os.listdir(os.path.dirname(name)).count(os.path.basename(name)), 1)

    def test_draining_lets_calls_run_out_and_then_stops(self) -> None:
        uas, uac = self.uas(), self.uac(duration=3.0)
        self.network.advance(0.5)
        uas.drain()
        late = self.uac(at="192.0.2.3")
        self.network.advance(1)
        self.assertEqual((len(uas.manager.calls), uas.reactor.stopped), (1, 0))
        self.assertEqual(uas.manager.statistics().calls["refused_busy"], 1)
        self.network.advance(3)
        self.assertEqual(uas.reactor.stopped, 1)
        self.stop(uac, late, uas)
        self.assertEqual(self.said[0], (Outcome(1, 1), False), "the call was not cut short")
        uas.drain()  # too late, and nothing comes of it
        self.assertEqual(uas.reactor.stopped, 1)

    def test_what_a_call_hears_decides(self) -> None:
        for hertz, good in ((1000.0, True), (440.0, False)):
            uas = self.uas(AnswerPlan(source=Tone(frequencies=(1000.0,))))
            uac = self.uac(expect=ExpectedTones((hertz,)))
            self.network.advance(3)
            self.stop(uac, uas)
            outcome, _ = self.said.pop()
            self.assertIs(outcome.good, good, str(outcome))
            self.assertIn(f"{int(good)} heard {hertz:g} Hz", str(outcome))

    def test_reports_of_a_run(self) -> None:
        name = os.path.abspath("run.json")
        self.addCleanup(os.remove, name)
        uas, uac = self.uas(), self.uac(reports=ReportPlan(json=name), calls=2)
        self.network.advance(3)
        self.stop(uac, uas)
        with open(name) as file:
            report = json.load(file)
        self.assertEqual(report["run"]["judgements"], {"two_way": 2})
        self.assertFalse(report["run"]["interrupted"])
        first = report["calls"][0]
        self.assertEqual((first["passed"], first["verdict"]["judgement"]), (True, "two_way"))
        self.assertGreater(first["setup_ms"], first["post_dial_delay_ms"] - 1)

    def test_reports_of_a_run_that_is_stopped(self) -> None:
        name = os.path.abspath("run.json")
        self.addCleanup(os.remove, name)
        uas = self.uas()
        uac = self.uac(reports=ReportPlan(json=name), calls=100, rate=2.0, duration=2.0)
        self.network.advance(1.2)
        self.stop(uac, uas)
        with open(name) as file:
            report = json.load(file)
        self.assertEqual(
            [report["run"][key] for key in ("interrupted", "planned", "calls", "not_placed")],
            [True, 100, 3, 97],
        )
        self.assertEqual(len(report["calls"]), 3)
        self.assertIn("of 2.0 s: local: shutting down", report["calls"][0]["problem"])
        self.assertFalse(self.said[0][0].good)

    def test_a_client_that_drains_places_no_further_calls(self) -> None:
        uas, uac = self.uas(), self.uac(calls=100, rate=2.0, duration=2.0)
        self.network.advance(1.2)
        uac.drain()
        self.network.advance(3)
        self.assertEqual(uac.reactor.stopped, 1)
        self.stop(uac, uas)
        self.assertEqual(self.said, [(Outcome(3, 3, not_placed=97), False)])

    def test_event_file_is_reopened(self) -> None:
        uas = self.uas(events="moved.jsonl")
        self.addCleanup(os.remove, "moved.jsonl")
        self.addCleanup(os.remove, "moved.jsonl.1")
        first = self.uac()
        self.network.advance(3)
        os.rename("moved.jsonl", "moved.jsonl.1")
        uas.reopen()
        second = self.uac(at="192.0.2.3")
        self.network.advance(3)
        self.stop(first, second, uas)
        for name in ("moved.jsonl", "moved.jsonl.1"):
            with open(name) as file:
                names = [json.loads(line)["event"] for line in file]
            self.assertEqual((names[0], names[-1]), ("IncomingCall", "CallSummary"))

    def test_an_event_file_that_cannot_be_reopened_stays(self) -> None:
        os.mkdir("away")
        uas = self.uas(events="away/moved.jsonl")
        os.rename("away", "there")
        self.addCleanup(shutil.rmtree, "there")
        told = self.logged()
        uas.reopen()
        (text,) = told
        self.assertIn("events go on in the file they had: --events away/moved.jsonl: No such", text)
        uac = self.uac()
        self.network.advance(3)
        self.stop(uac, uas)
        with open("there/moved.jsonl") as file:
            self.assertIn("CallEnded", file.read())

    def test_a_log_that_cannot_be_reopened_does_not_keep_the_events_from_it(self) -> None:
        def refuse() -> None:
            raise OSError(errno.EACCES, "Permission denied", "/log/d.log")

        self.patch(module, "reopen_log_of_twistd", refuse)
        uas = self.uas(events="moved.jsonl")
        self.addCleanup(os.remove, "moved.jsonl")
        self.addCleanup(os.remove, "moved.jsonl.1")
        os.rename("moved.jsonl", "moved.jsonl.1")
        told = self.logged()
        uas.reopen()
        self.assertTrue(os.path.exists("moved.jsonl"))
        (text,) = told
        self.assertIn("because /log/d.log cannot be opened: Permission denied; let this", text)
        self.stop(uas)

    def test_a_folder_for_recordings_that_is_missing_is_made(self) -> None:
        folder = self.mktemp()
        uas = self.uas(AnswerPlan(record_dir=f"{folder}/uas/new"))
        uac = self.uac(record=f"{folder}/uac/new/heard.wav")
        self.network.advance(3)
        self.stop(uac, uas)
        self.assertEqual(len(os.listdir(f"{folder}/uas/new")), 1)
        self.assertEqual(os.listdir(f"{folder}/uac/new"), ["heard.wav"])

    def test_a_folder_that_cannot_be_made_ends_the_start_with_its_name(self) -> None:
        uas = UasService(
            UasPlan(Settings(), AnswerPlan(record_dir="/dev/null/x")),
            reactor=self.reactor("192.0.2.2"),
        )
        uac = UacService(
            UacPlan(Settings(), CallPlan(("sip:b@h",), record="/dev/null/x/y.wav")),
            say=lambda outcome, interrupted: None,
            reactor=self.reactor("192.0.2.1"),
        )
        for service, option in ((uas, "--record-dir"), (uac, "--record")):
            error = self.assertRaises(ConfigurationError, service.startService)
            says = f"{option}: the folder /dev/null/x cannot be made: Not a directory; name one"
            self.assertIn(says, str(error))
            self.stop(service)

    def test_no_accounts_where_nobody_reads_them(self) -> None:
        """A summary that goes nowhere costs time and memory."""
        for events, accounts in ((None, 0), ("read.jsonl", 1)):
            uas, uac = self.uas(events=events), self.uac()
            self.network.advance(0.5)
            self.assertEqual(len(uas.manager.calls), 1)
            self.assertEqual(len(uas.ledger._calls), accounts)
            if accounts:
                uas.manager.remove_event_sink(uas.ledger)
            self.assertRaises(ConfigurationError, uas.manager.remove_event_sink, uas.ledger)
            # Whoever places calls has to know how they went.
            self.assertEqual(len(uac.ledger._calls), 1)
            self.stop(uac, uas)
        os.remove("read.jsonl")

    def log_lines(self, lines: Lines, *users: str) -> tuple[list[str], list[str], UasService]:
        """What a server writes to standard output and to the log about calls to ``users``."""
        printed, logged = self.mktemp(), []
        self.patch(module, "open_log", lambda name: io.FileIO(printed, "w"))
        self.patch(module._log, "info", lambda text, **given: logged.append(text.format(**given)))
        reactor = self.reactor("192.0.2.2")
        plan = UasPlan(Settings(max_calls=10), AnswerPlan())
        uas = self.started(UasService(plan, lines=lines, reactor=reactor))
        for number, user in enumerate(users, 3):
            uac = self.uac(uris=(f"sip:{user}@192.0.2.2",), at=f"192.0.2.{number}")
            self.network.advance(2)
            self.stop(uac)
        self.stop(uas)
        written = ""
        if os.path.exists(printed):
            with open(printed) as file:
                written = file.read()
        return written.splitlines(), [line for line in logged if "Call" in line], uas

    def test_a_line_per_call(self) -> None:
        printed, logged, uas = self.log_lines(Lines("calls"), "bob", "carol")
        self.assertEqual(len(printed), 2)
        self.assertRegex(printed[0], '^.UAS. Call: answered, .* To: sip:bob@.*"two_way"')
        self.assertIn("To: sip:carol@", printed[1])
        self.assertEqual(logged, [])
        self.assertFalse(uas.output_lost)

    def test_lines_of_calls_that_were_lost_are_told_of(self) -> None:
        self.patch(module, "open_log", lambda name: io.FileIO("/dev/full", "w"))
        plan = UasPlan(Settings(max_calls=10), AnswerPlan())
        uas = self.started(
            UasService(plan, lines=Lines("calls"), reactor=self.reactor("192.0.2.2"))
        )
        uac = self.uac()
        self.network.advance(2)
        self.stop(uac, uas)
        self.assertTrue(uas.output_lost)

    def test_only_the_last_event_of_a_call_is_asked_for(self) -> None:
        wanted: list[tuple[Any, ...]] = []
        usual = SessionManager.add_event_sink
        self.patch(
            SessionManager,
            "add_event_sink",
            lambda manager, sink, *kinds: (wanted.append(kinds), usual(manager, sink, *kinds))[1],
        )
        uas = UasService(
            UasPlan(Settings()), lines=Lines("calls", True), reactor=self.reactor("192.0.2.2")
        )
        uas.startService()
        self.assertEqual(wanted, [(CallEnded, CallFailed)])
        self.assertEqual(uas.ledger._calls, {})
        self.stop(uas)

    def test_a_line_per_event(self) -> None:
        printed, _, _ = self.log_lines(Lines("events"), "bob")
        self.assertIn("[UAS] Event: CallAnswered, Media State: Ready", printed[3])
        self.assertIn("Event: CallSummary", printed[-1])

    def test_quiet(self) -> None:
        self.assertEqual(self.log_lines(Lines("quiet"), "bob")[:2], ([], []))
        self.assertEqual(self.log_lines(Lines("quiet", to_log=True), "bob")[:2], ([], []))

    def test_in_the_background_lines_are_messages_of_the_log(self) -> None:
        """Those of one moment are one message: a message costs more than a line."""
        printed, logged, _ = self.log_lines(Lines("calls", to_log=True), "bob", "carol")
        self.assertEqual((printed, len(logged)), ([], 2))
        self.assertRegex(logged[0], '^.UAS. Call: answered, .* To: sip:bob@.*"two_way"')
        self.assertIn("To: sip:carol@", logged[1])
        _, events, _ = self.log_lines(Lines("events", to_log=True), "bob")
        self.assertTrue(events[0].startswith("[UAS] Event: IncomingCall"))
        self.assertIn("\n[UAS] Event: CallAnswered", events[0])

    def test_a_call_that_the_server_refuses_has_a_line(self) -> None:
        printed = self.mktemp()
        self.patch(module, "open_log", lambda name: io.FileIO(printed, "w"))
        uas = UasService(
            UasPlan(Settings(codecs=("PCMU",))),
            lines=Lines("calls"),
            reactor=self.reactor("192.0.2.2"),
        )
        uas.startService()
        caller = SessionManager(self.network.host("192.0.2.9"), Settings(codecs=("PCMA",)))
        self.successResultOf(caller.start())
        caller.call("sip:bob@192.0.2.2")
        self.network.advance(1)
        self.stop(uas)
        with open(printed) as file:
            (line,) = file.read().splitlines()
        self.assertIn("[UAS] Call: failed, ", line)
        self.assertIn(" 488: ", line)

    def test_stop_before_start(self) -> None:
        service = UasService(UasPlan(Settings()))
        self.successResultOf(service.stopService())

    def test_records_under_names_of_ours(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        uas, uac = self.uas(AnswerPlan(record_dir=folder)), self.uac(calls=2, rate=5.0)
        self.network.advance(4)
        self.stop(uac, uas)
        names = sorted(os.listdir(folder))
        self.assertEqual(len(names), 2)
        for name, number in zip(names, "12", strict=True):
            self.assertRegex(name, rf"^\d{{8}}T\d{{6}}Z-[0-9a-f]{{10}}-{number}\.wav$")


class StartTests(ServiceTestCase):
    def test_opens_nothing_before_it_starts(self) -> None:
        """``twistd`` makes the service, forks, and then starts it."""
        reactor = self.reactor("192.0.2.2")
        service = UasService(UasPlan(Settings()), reactor=reactor)
        self.assertRaises(ConfigurationError, lambda: service.manager)
        service.startService()
        self.assertEqual(len(service.manager.local_addresses), 1)
        self.stop(service)

    def test_binds_once_where_privileges_are_shed(self) -> None:
        reactor = self.reactor("192.0.2.2")
        service = UasService(UasPlan(Settings()), reactor=reactor)
        service.privilegedStartService()
        manager = service.manager
        service.startService()
        self.assertIs(service.manager, manager)
        self.stop(service)

    def test_a_port_in_use(self) -> None:
        uas = self.uas()
        second = UasService(UasPlan(Settings()), reactor=self.reactor("192.0.2.2"))
        error = self.assertRaises(ConfigurationError, second.startService)
        self.assertIn("5060", str(error))
        self.successResultOf(second.stopService())
        self.stop(uas)

    def test_an_event_file_that_cannot_be_written(self) -> None:
        plan = UasPlan(Settings(), events="/no/such/folder/events")
        service = UasService(plan, reactor=self.reactor("192.0.2.2"))
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertIn("/no/such/folder/events", str(error))

    def test_the_collector_does_not_run_by_itself(self) -> None:
        self.assertTrue(gc.isenabled())
        self.uas()
        self.assertFalse(gc.isenabled())
        self.assertGreater(gc.get_freeze_count(), 1000)

    def test_allows_for_all_rtp_ports(self) -> None:
        wanted: list[int] = []

        def raised(number: int) -> DescriptorLimit:
            wanted.append(number)
            return DescriptorLimit(number, number, number)

        self.patch(module, "raise_descriptor_limit", raised)
        self.uas()
        self.assertGreater(wanted[0], 10_000)

    def test_collects_when_idle(self) -> None:
        uas = self.uas(AnswerPlan(source=Echo()))
        collected: list[int] = []
        self.patch(gc, "collect", lambda *args: collected.append(1) or 0)
        self.network.advance(66)
        self.assertEqual(len(collected), 1)
        self.stop(uas)

    def test_does_not_collect_while_a_call_is_up(self) -> None:
        uas = self.uas(AnswerPlan(source=Echo()))
        uac = self.uac(duration=70.0)
        collected: list[int] = []
        self.patch(gc, "collect", lambda *args: collected.append(1) or 0)
        self.network.advance(66)
        self.assertEqual(len(uas.manager.calls), 1)
        self.assertEqual(collected, [])
        self.network.advance(10)
        self.assertEqual(len(collected), 2)  # both, soon after the call
        self.stop(uac, uas)
