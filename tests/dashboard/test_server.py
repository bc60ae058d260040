"""The server as a whole: what it serves, where it listens, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard import metrics
from sessioncore.dashboard.endpoint import WebPlan, parse_endpoint
from sessioncore.dashboard.server import WebServer
from sessioncore.errors import ConfigurationError
from sessioncore.media.sources import Tone
from sessioncore.testing.pair import LegPair
from tests.dashboard.web import Connection, get

ROOT = Path(__file__).resolve().parent.parent.parent


class Reactor(MemoryReactorClock):
    """Its ports can be taken."""

    taken = False

    def listenTCP(self, port: int, *given: Any, **named: Any) -> Any:
        if self.taken:
            raise CannotListenError("127.0.0.1", port, OSError(98, "Address already in use"))
        return super().listenTCP(port, *given, **named)


class ServerTests(SynchronousTestCase):
    shows_calls = False

    def setUp(self) -> None:
        self.pair = LegPair(seed=4)
        self.addCleanup(self.pair.close)
        self.reactor = Reactor()

    def server(self, text: str = "tcp:9100", token: str | None = None) -> WebServer:
        plan = WebPlan("--metrics", parse_endpoint("--metrics", text), self.shows_calls, token)
        return WebServer(self.pair.callee, plan, self.reactor)

    def test_where_it_listens(self) -> None:
        server = self.server()
        self.assertEqual(self.reactor.tcpServers, [])
        self.successResultOf(server.start())
        ((port, factory, _backlog, interface),) = self.reactor.tcpServers
        self.assertEqual((port, interface), (9100, "127.0.0.1"))
        self.assertIs(factory, server.site)

    def test_its_address(self) -> None:
        for text, address in (
            ("tcp:9100", "http://0.0.0.0:9100/"),
            ("unix:web", "UNIXAddress('web')"),
        ):
            server = self.server(text)
            self.successResultOf(server.start())
            self.assertEqual(server.address, address)  # the fake port knows no interface

    def test_what_it_serves(self) -> None:
        server = self.server()
        self.assertIn("sessioncore_calls_up 0.0\n", get(server.site, "/metrics").text)
        self.assertEqual(get(server.site, "/healthz").text, "ok\n")
        self.assertEqual(get(server.site, "/readyz").text, "ok\n")
        self.assertEqual(get(server.site, "/").status, 200 if self.shows_calls else 404)

    def test_the_token(self) -> None:
        server = self.server("tcp:9100:interface=0.0.0.0", "0123456789abcdef")
        self.assertEqual(get(server.site, "/metrics").status, 403)
        self.assertEqual(get(server.site, "/readyz").status, 200)
        bearer = {"Authorization": "Bearer 0123456789abcdef"}
        self.assertEqual(get(server.site, "/metrics", headers=bearer).status, 200)

    def test_a_port_in_use(self) -> None:
        self.reactor.taken = True
        failure = self.failureResultOf(self.server().start(), ConfigurationError)
        self.assertIn("--metrics: cannot listen on tcp:9100", failure.getErrorMessage())
        self.assertIn("Address already in use", failure.getErrorMessage())

    def test_the_end(self) -> None:
        server = self.server()
        self.successResultOf(server.start())
        connection = Connection(server.site)
        server.stop()
        self.assertTrue(connection.transport.aborted)
        self.pair.connect(answer=lambda call: call.reject(486))
        self.pair.advance(1)
        assert server.metrics is not None
        text = server.metrics.text()[0].decode()
        self.assertIn('sessioncore_calls_judged_total{judgement="not_answered",role="UAS"} 0', text)

    def test_stopped_before_it_listened(self) -> None:
        self.server().stop()


class DashboardTests(ServerTests):
    """The same with the page of calls."""

    shows_calls = True

    def test_the_page(self) -> None:
        server = self.server()
        self.assertIn("dashboard.js", get(server.site, "/").text)
        self.pair.connect(source=Tone(), answer=lambda call: call.answer())
        self.pair.advance(1)
        (call,) = json.loads(get(server.site, "/now").body)["calls"]
        self.assertEqual(call["ladder"]["steps"][0][2], "INVITE +SDP")
        message = get(server.site, f"/message?session={call['session']}&number=0")
        self.assertIn("INVITE sip:callee@", message.text)
        reader = Connection(server.site)
        reader.ask("/events")
        self.assertIn(b"event: full\n", reader.transport.value())
        reader.close()

    def test_all_of_it_needs_the_token(self) -> None:
        server = self.server("tcp:9100:interface=0.0.0.0", "0123456789abcdef")
        for path in ("/", "/dashboard.js", "/dashboard.css", "/icon.svg", "/events", "/now",
                     "/message?session=a&number=0", "/metrics"):  # fmt: skip
            self.assertEqual(get(server.site, path).status, 403, path)

    def test_without_the_package_for_metrics(self) -> None:
        self.patch(metrics, "_client", None)
        server = self.server()
        self.assertEqual(get(server.site, "/").status, 200)
        response = get(server.site, "/metrics")
        self.assertEqual(response.status, 404)
        self.assertIn('pip install "sessioncore[metrics]"', response.text)
        server.stop()

    def test_calls_are_followed_no_more_after_the_end(self) -> None:
        server = self.server()
        self.successResultOf(server.start())
        reader = Connection(server.site)
        reader.ask("/events")
        server.stop()
        self.assertTrue(reader.transport.aborted)
        self.pair.connect(source=Tone(), answer=lambda call: call.answer())
        self.pair.advance(2)
        self.assertEqual(json.loads(get(server.site, "/now").body)["calls"], [])


class ImportTests(SynchronousTestCase):
    def test_nothing_of_it_is_loaded_without_its_options(self) -> None:
        script = (
            "import sys\n"
            "import sessioncore, sessioncore.cli\n"
            "from sessioncore.daemon.options import Options\n"
            "Options().parseOptions(['--role=uas'])\n"
            "loaded = [name for name in sys.modules if name.startswith(('twisted.web',"
            " 'sessioncore.dashboard', 'prometheus_client'))]\n"
            "sys.exit(', '.join(loaded) or 0)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
