"""The ``sessioncore`` command: parsing and what needs no network."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.cli import Command, _follow, main
from sessioncore.testing import messages
from sessioncore.vocabulary import SECOND
from sessioncore.watching.diagrams import tables
from tests.explaining.captures import START, B, pcap, udp
from tests.explaining.scenes import Scene
from tests.watching.test_dossier_reader import DOSSIER


def run(*arguments: str) -> tuple[int, str, str]:
    """Status, standard output, standard error."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            status = main(list(arguments))
        except SystemExit as exit_:
            status = int(exit_.code or 0)
    return status, out.getvalue(), error.getvalue()


class MachinesTests(SynchronousTestCase):
    def test_every_table_of_the_house(self) -> None:
        names = {table.name for table in tables()}
        # One for each of the orthogonal machines of the design.
        self.assertGreaterEqual(len(names), 7, names)
        for name in ("session", "media state"):
            self.assertIn(name, names)

    def test_text_names_every_cell(self) -> None:
        status, out, _ = run("machines")
        self.assertEqual(status, 0)
        for table in tables():
            self.assertIn(f"{table.name}\n{'=' * len(table.name)}\n", out)
        cells = sum(len(table.states) * len(table.inputs) for table in tables())
        self.assertEqual(sum(line.startswith("  ") for line in out.splitlines()), cells)

    def test_dot(self) -> None:
        status, out, _ = run("machines", "--format=dot")
        self.assertEqual(status, 0)
        self.assertEqual(out.count("digraph"), len(tables()))
        self.assertEqual(out.count("{"), out.count("}"))


class ExplainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def file(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def test_exit_status(self) -> None:
        good = self.file("good.sdp", messages.offer())
        bad = self.file("bad.sdp", messages.offer(formats=(18,)))
        for arguments, wanted in (
            ([good], 0),
            ([bad], 1),
            ([good, bad], 1),
            ([good, self.file("answer.sdp", messages.offer("192.0.2.2"))], 0),
            ([bad, "--codecs=G722"], 1),
            ([self.file("a.pcap", pcap(Scene().packets))], 0),
            ([self.file("b.pcap", pcap(Scene(ack=False).packets))], 1),
            ([self.file("c.pcap", pcap(Scene(ack=False).packets)), "--call-id", "nobody's"], 0),
        ):
            status, out, error = run("explain", *arguments)
            self.assertEqual((status, error), (wanted, ""), arguments)
            self.assertTrue(out.startswith(arguments[0]), out)

    def test_json(self) -> None:
        name = self.file("a.pcap", pcap(Scene().packets))
        status, out, _ = run("explain", "--json", name)
        plain = json.loads(out)
        self.assertEqual((status, plain["file"], len(plain["calls"])), (0, name, 1))

    def test_what_cannot_be_read_is_one_line(self) -> None:
        name = self.file("x", b"hello")
        good = self.file("good.sdp", messages.offer())
        other = self.file("a.pcap", pcap(Scene().packets))
        for arguments, why in (
            ([name], f"{name} is neither a session description"),
            ([str(self.folder / "none")], "cannot be read: No such file or directory"),
            ([good, other], f"{other} is not a session description"),
            ([], "a file to explain is missing; write FILE"),
            (["a", "b", "c"], "more than two files"),
            ([good, "--codecs=X"], "codecs: X cannot be used"),
            ([good, "--nothing"], "option --nothing not recognized"),
        ):
            status, out, error = run("explain", *arguments)
            self.assertEqual((status, out, error.count("\n")), (2, "", 1), arguments)
            self.assertIn(why, error)


class CommandLineTests(SynchronousTestCase):
    def call(self, *arguments: str) -> Any:
        command = Command()
        command.parseOptions(["call", *arguments])
        return command.subOptions.uac_plan(command.subOptions.uris)

    def test_options_before_and_after_the_uri(self) -> None:
        for arguments in (
            ("sip:b@h", "--duration", "3", "--from=sip:a@h"),
            ("--duration", "3", "sip:b@h", "--from=sip:a@h"),
            ("--duration=3", "--from", "sip:a@h", "--", "sip:b@h"),
        ):
            calls = self.call(*arguments).calls
            self.assertEqual(
                (calls.uris, calls.duration, calls.from_uri), (("sip:b@h",), 3.0, "sip:a@h")
            )

    def test_an_empty_value_is_not_taken_from_the_next_option(self) -> None:
        with self.assertRaisesRegex(UsageError, "--from: '' is not a SIP URI"):
            self.call("sip:b@h", "--from=", "--duration", "3")

    def test_several_uris_are_called_once_each(self) -> None:
        plan = self.call("sip:a@h", "sip:b@h", "sip:c@h")
        self.assertEqual((len(plan.calls.uris), plan.calls.calls), (3, 3))
        self.assertEqual(plan.settings.listen, ("udp:0",))

    def test_help_and_version(self) -> None:
        for command in ("", "call", "answer", "top", "ladder", "machines"):
            arguments = [*command.split(), "--help"]
            status, out, _ = run(*arguments)
            self.assertEqual(status, 0)
            self.assertTrue(out.startswith(f"Usage: sessioncore {command}"), out)
        status, out, _ = run("--version")
        self.assertEqual((status, out.split("/")[0].strip()), (0, "sessioncore"))

    def test_an_error_is_one_line(self) -> None:
        status, out, error = run("call")
        self.assertEqual((status, out), (2, ""))
        self.assertEqual(
            error, "sessioncore: a URI to call is missing; write e.g. sip:bob@192.0.2.1\n"
        )
        for command in ("answer", "trace", "machines"):
            self.assertEqual(
                run(command, "now"),
                (2, "", "sessioncore: 'now' is not an option; write --option=value\n"),
            )


class RemoteTests(SynchronousTestCase):
    """The commands that read a dashboard, without one; see also tests/interop/test_browser.py."""

    def test_what_is_wrong(self) -> None:
        for line, says in {
            "top ftp://h/": "'ftp://h/' is not the URL of a dashboard; write e.g. http://127.0.0.1",
            "top http://h/ more": "'more' is not an option",
            "ladder": "write a URL or a file, and a Call-ID, e.g.",
            "ladder a b c": "write a URL or a file, and a Call-ID, e.g.",
            "top --web-token missing": "--web-token: missing cannot be read",
        }.items():
            status, out, error = run(*line.split())
            self.assertEqual((status, out, error.count("\n")), (2, "", 1))
            self.assertIn(says, error)

    def test_nobody_there(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))  # and does not listen
            url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
            for line in (f"top {url} --once", f"ladder {url}"):
                status, out, error = run(*line.split())
                self.assertEqual((status, out, error.count("\n")), (2, "", 1))
                self.assertIn(f"{url} cannot be read: Connection refused", error)


class LadderOfFileTests(SynchronousTestCase):
    def file(self, scene: Scene, *more: Any) -> str:
        path = Path(self.mktemp())
        path.write_bytes(pcap([*scene.packets, *more]))
        return str(path)

    def test_a_capture(self) -> None:
        status, out, error = run("ladder", self.file(Scene()))
        self.assertEqual((status, error), (0, ""))
        heading, names, *steps = out.splitlines()
        self.assertTrue(heading.startswith("Call-ID: "))
        self.assertEqual(names.split(), ["ms", "192.0.2.1:5060", "192.0.2.2:5060"])
        found = [re.findall(r"[<|]-+ (.*?) -+[>|]", step)[0] for step in steps]
        self.assertEqual(found[0], "INVITE +SDP")
        self.assertEqual(found[-2:], ["BYE", "200 OK (BYE)"])
        self.assertTrue(steps[0].endswith(">|"), "who called is at the left")

    def test_messages_of_another_hop(self) -> None:
        scene = Scene()
        onwards = START + SECOND, udp(B, ("192.0.2.3", 5060), scene.invite)
        _, out, _ = run("ladder", self.file(scene, onwards))
        self.assertIn("* 192.0.2.2:5060 -> 192.0.2.3:5060: INVITE +SDP", out)

    def test_which_calls(self) -> None:
        name = self.file(Scene())
        call_id = run("ladder", name)[1].split()[1]
        self.assertEqual(run("ladder", name, call_id)[0], 0)
        status, out, error = run("ladder", name, "no-such-call")
        self.assertEqual((status, out, error.count("\n")), (2, "", 1))
        self.assertIn("holds no call with 'no-such-call' in its Call-ID", error)

    def test_a_dossier(self) -> None:
        path = Path(self.mktemp())
        path.write_text("".join(DOSSIER.pieces()))
        status, out, error = run("ladder", str(path), DOSSIER.call_id)
        self.assertEqual((status, error), (0, ""))
        self.assertEqual(out.splitlines()[0], f"Call-ID: {DOSSIER.call_id}")
        self.assertIn("+ media active", out)
        path.write_text("{}")
        self.assertIn("is not a dossier", run("ladder", str(path))[2])

    def test_what_is_no_capture(self) -> None:
        path = Path(self.mktemp())
        path.write_bytes(b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\n")
        for name, says in ((str(path), "holds no call"), ("missing.pcap", "No such file")):
            status, out, error = run("ladder", name)
            self.assertEqual((status, out, error.count("\n")), (2, "", 1))
            self.assertIn(says, error)


class WebAddressTests(SynchronousTestCase):
    def test_a_run_of_calls_says_where_to_look(self) -> None:
        service: Any = mock.Mock(web_addresses=["http://127.0.0.1:8080/"])
        error = io.StringIO()
        with contextlib.redirect_stderr(error):
            _follow(None, service)
        self.assertEqual(error.getvalue(), "sessioncore: see http://127.0.0.1:8080/\n")


class OutputTests(SynchronousTestCase):
    """What is printed goes to something that does not take it."""

    def machines(self, out: int) -> tuple[int, str]:
        """Exit status and standard error of a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "sessioncore", "machines"],
            cwd=Path(__file__).parent.parent,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
        return done.returncode, done.stderr

    def test_nobody_reads(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        status, error = self.machines(writer)
        self.assertEqual((status, error), (1, ""))

    def test_no_space(self) -> None:
        with open("/dev/full", "wb") as full:
            status, error = self.machines(full.fileno())
        what = "sessioncore: standard output: No space left on device\n"
        self.assertEqual((status, error), (1, what))
