"""The examples run as they are printed, from an empty folder; only their ports are replaced."""

from __future__ import annotations

import json
import signal
import socket
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sessioncore.testing.tones import listen
from tests.split.processes import (
    PATIENCE,
    ROOT,
    TWISTD,
    Process,
    ProcessTestCase,
    free_port,
    port_of,
)

EXAMPLES = ROOT / "examples"
LOCAL = "interface=127.0.0.1"


class ExampleTestCase(ProcessTestCase):
    def example(self, name: str, **ports: int) -> tuple[Path, int]:
        """The example ``name`` in the folder of the test, on a free SIP port, which it returns."""
        port = free_port()
        source = (EXAMPLES / name).read_text()
        self.assertIn('"udp:5060"', source)
        source = source.replace('"udp:5060"', f'"udp:{port}:{LOCAL}"')
        for usual, instead in ports.items():
            self.assertIn(usual.replace("_", ":"), source)
            source = source.replace(usual.replace("_", ":"), f"tcp:{instead}")
        path = self.folder / name
        path.write_text(source)
        return path, port

    def tac(self, name: str, *options: str, **ports: int) -> tuple[Process, int]:
        """The application ``name``, run by ``twistd``."""
        path, port = self.example(name, **ports)
        process = self.start(*TWISTD, "--pidfile=", *options, "-ny", path.name)
        process.line(f"starting on {port}")
        return process, port

    def call(self, port: int, *options: object) -> None:
        """A call that has to have audio both ways, and hears its own tone come back."""
        caller = self.command(
            *("call", f"sip:bob@127.0.0.1:{port}", "--play=tone:440", "--record=heard.wav"),
            *options,
        )
        self.assertEqual(caller.wait(), 0, caller.output)
        self.assertIn("1 with audio both ways", caller.output)
        heard = listen(self.folder / "heard.wav", 440.0)
        self.assertTrue(heard.heard(0.5), str(heard))

    def ended_by_signal(self, process: Process) -> None:
        process.terminate()
        self.assertEqual(process.wait(), -signal.SIGTERM, process.output)
        self.assertNotIn("Traceback", process.output)


class EmbedTests(ExampleTestCase):
    def test_calls_and_is_answered(self) -> None:
        answering, port = self.example("embed.py")
        callee = self.start(answering)
        callee.line("listening on")
        caller = self.start(EXAMPLES / "embed.py", f"sip:bob@127.0.0.1:{port}")
        self.assertEqual(caller.wait(), 0, caller.output)
        self.assertIn("MediaActive Active", caller.output)
        self.assertIn("ended: local: hung up", caller.output)
        callee.line("ended: remote")

    def test_stopped_by_hand_it_ends_its_calls(self) -> None:
        server = self.command("answer", f"--listen=udp:0:{LOCAL}")
        port = port_of(server.line(" on 127.0.0.1:"))
        caller = self.start(EXAMPLES / "embed.py", f"sip:bob@127.0.0.1:{port}")
        server.line("Event: MediaActive")
        caller.popen.send_signal(signal.SIGINT)
        self.assertIn("the peer hung up", server.line("Event: CallEnded"))
        caller.wait()

    def test_it_is_short(self) -> None:
        lines = (EXAMPLES / "embed.py").read_text().split('"""')[2].splitlines()
        code = [line for line in lines if line and "import" not in line]
        self.assertLessEqual(len(code), 22)


class ApplicationTests(ExampleTestCase):
    def test_it_answers_and_stops(self) -> None:
        server, port = self.tac("sessioncore.tac")
        self.call(port, "--duration=1")
        server.line("audio both ways")
        server.line("remote: the peer hung up")
        self.ended_by_signal(server)

    def test_on_the_asyncio_reactor(self) -> None:
        server, port = self.tac("sessioncore.tac", "--reactor=asyncio")
        self.call(port, "--duration=1")
        server.line("remote: the peer hung up")
        self.ended_by_signal(server)
        self.assertIn("AsyncioSelectorReactor", server.output)

    def test_a_port_in_use_ends_it(self) -> None:
        path, port = self.example("sessioncore.tac")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", port))
            server = self.start(*TWISTD, "--pidfile=", "-ny", path.name)
            self.assertEqual(server.wait(), 1, server.output)
        self.assertIn(f"cannot start: cannot listen on UDP port {port} ", server.output)

    def test_under_twist(self) -> None:
        """``twist`` runs plugins, and never calls ``privilegedStartService``."""
        port = free_port()
        server = self.start(
            *("-c", "from twisted.application.twist._twist import Twist; Twist.main()"),
            *(
                "--log-format=text",
                "sessioncore",
                "--role=uas",
                f"--listen=udp:{port}:{LOCAL}",
                "--log=calls",
            ),
        )
        server.line("UAS on 127.0.0.1")
        self.call(port, "--duration=1")
        self.assertIn('Media: "two_way"', server.line("[UAS] Call: answered"))
        server.terminate()
        server.wait()
        self.assertNotIn("Traceback", server.output)


class WebTests(ExampleTestCase):
    def ask(self, method: str, path: str = "/", **form: str) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.web, timeout=PATIENCE)
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        connection.request(method, path, urlencode(form) or None, headers)
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        return response.status, body

    def both_ways(self) -> dict[str, Any]:
        """The only call that is up, once packets have gone both ways."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            status, calls = self.ask("GET")
            self.assertEqual(status, 200)
            if calls and calls[0]["sent"] and calls[0]["received"]:
                (call,) = calls
                return dict(call)
            time.sleep(0.05)
        raise AssertionError(f"no packets both ways: {calls}")

    def test_it_shows_places_and_ends_calls(self) -> None:
        self.web = free_port(socket.SOCK_STREAM)
        server, port = self.tac("web.tac", tcp_8080=self.web)
        server.line("Site starting on")
        self.assertEqual(self.ask("GET"), (200, []))

        caller = self.command("call", f"sip:bob@127.0.0.1:{port}", "--duration=30")
        call = self.both_ways()
        self.assertEqual((call["role"], call["media"]), ("UAS", "Active"))
        self.assertEqual(self.ask("DELETE", "/" + call["session"])[0], 200)
        self.assertIn("the peer hung up", caller.line("ended after"))
        caller.wait()

        other = self.command("answer", f"--listen=udp:0:{LOCAL}")
        uri = f"sip:carol@127.0.0.1:{port_of(other.line(' on 127.0.0.1:'))}"
        self.assertEqual(self.ask("POST", uri=uri)[0], 201)
        self.assertEqual(self.both_ways()["remote"], uri)
        self.assertEqual(self.ask("POST", uri="carol")[0], 400)
        self.assertEqual(self.ask("DELETE", "/none")[0], 404)

        self.ended_by_signal(server)
        self.assertIn("the peer hung up", other.line("Event: CallEnded"))


class AsyncioTests(ExampleTestCase):
    def test_calls_and_is_answered(self) -> None:
        answering, port = self.example("asyncio_calls.py")
        callee = self.start(answering)
        callee.line("listening on")
        caller = self.start(EXAMPLES / "asyncio_calls.py", f"sip:bob@127.0.0.1:{port}")
        self.assertEqual(caller.wait(), 0, caller.output)
        self.assertIn("MediaActive Active", caller.output)
        self.assertIn("ended: local: hung up", caller.output)
        callee.line("MediaActive Active")
        callee.line("ended: remote")
        self.stop(callee)

    def test_stopped_by_hand_it_ends_its_calls(self) -> None:
        server = self.command("answer", f"--listen=udp:0:{LOCAL}")
        port = port_of(server.line(" on 127.0.0.1:"))
        caller = self.start(EXAMPLES / "asyncio_calls.py", f"sip:bob@127.0.0.1:{port}")
        server.line("Event: MediaActive")
        self.stop(caller)
        self.assertIn("the peer hung up", server.line("Event: CallEnded"))

    def stop(self, process: Process) -> None:
        process.terminate()
        process.wait()
        for complaint in ("Traceback", "pending", "never"):
            self.assertNotIn(complaint, process.output)
