"""The documentation says what is so: generated parts, links, examples, command lines."""

from __future__ import annotations

import ast
import io
import os
import re
import shlex
import sys
import types
import unittest
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import attrs
import numpy as np
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

import sessioncore
from sessioncore import events
from sessioncore.cli import Command
from sessioncore.daemon.answering import parse_answer
from sessioncore.daemon.options import Options
from sessioncore.daemon.stats import StatsFile
from sessioncore.errors import ConfigurationError
from sessioncore.manager import SessionManager
from sessioncore.media.sinks import Deliver
from sessioncore.media.sources import Clip, Tone
from sessioncore.media.wave import WavWriter, read_wav
from sessioncore.settings import Settings
from sessioncore.testing.network import FakeNetwork
from sessioncore.testing.tones import listen, sine
from sessioncore.verdict import Judgement
from sessioncore.vocabulary import MediaState, SessionRole
from sessioncore.watching.walk import WALK, place
from tools import docs
from tools.documentation import reference

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"python", "sh", "text", "json", "ini", "mermaid"}
PROGRAM = re.compile(r"# ([a-z_]+)\.py\n")
OTHER_COMMANDS = {
    "systemctl", "journalctl", "sysctl", "nft", "ss", "jq", "tcpdump", "prlimit", "useradd",
    "pip", "python3", "curl", "cat", "kill", "tail", "grep", "./bin/demo", "./bin/test",
    "bin/bench", "openssl", "ssh",
}  # fmt: skip


def pages() -> list[Path]:
    return sorted(DOCS.rglob("*.md"))


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    """The fenced blocks of one language, page by page."""
    for path in pages():
        for found, code in FENCE.findall(path.read_text(encoding="utf-8")):
            if found == language:
                yield path, code


def anchors(text: str) -> set[str]:
    """The links GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names_in_code() -> set[str]:
    """All identifiers of the package, and the names of its files and of the tests."""
    known: set[str] = set()
    for path in (ROOT / "sessioncore").rglob("*.py"):
        known.update(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for field in ("id", "attr", "name", "arg", "module"):
                known.update(re.findall(r"\w+", getattr(node, field, None) or ""))
    known.update(re.findall(r"sessioncore_\w+", reference.metrics_reference()))
    for path in (ROOT / "tests").rglob("*.py"):
        known.update(path.relative_to(ROOT).with_suffix("").parts)
    return known


def docs_elsewhere() -> set[str]:
    """What the pages name of other programs."""
    return {
        "SESSIONCORE_PYTHON",
        "SESSIONCORE_TEST_DATA",
        "SESSIONCORE_REQUIRE_ALL",
        "CLOCK_MONOTONIC",
        "IP_RECVERR",
        "O_NONBLOCK",
        "PIPE_BUF",
        "TypeMachineBuilder",
        "TimeoutStopSec",
        "rmem_max",
        "uac_pcap",
        "MultiService",
        "NOT_DONE_YET",
        "wait_for",
        "GAIN_DB",
        "mypy_zope",
        "TestCase",
        "histogram_quantile",
        "SameSite",
        "python_info",
    }


def names_in_text(text: str) -> set[str]:
    """Names in backquotes that only code can mean: with an underscore, or of several words."""
    text = re.sub(r"<!-- generated.*?<!-- end generated -->", "", text, flags=re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    words = {word for span in spans for word in re.findall(r"[A-Za-z_]\w*", span.partition("(")[0])}
    several = re.compile(r"(?:[A-Z][a-z0-9]+){2,}").fullmatch
    return {word for word in words if "_" in word.strip("_") or several(word)}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


class PageTests(SynchronousTestCase):
    def test_generated_parts_are_as_the_code_is(self) -> None:
        for path in pages():
            text = path.read_text(encoding="utf-8")
            self.assertEqual(docs.filled(text), text, f"{name(path)}: run python -m tools.docs")

    def test_every_generator_is_used(self) -> None:
        used = {
            match[1] for path in pages() for match in docs.BLOCK.findall(path.read_text("utf-8"))
        }
        self.assertEqual(used, set(docs.GENERATORS))

    def test_marks_are_paired(self) -> None:
        for path in pages():
            text = path.read_text(encoding="utf-8")
            self.assertEqual(
                (text.count("<!-- generated:"), text.count("<!-- end generated -->")),
                (len(docs.BLOCK.findall(text)),) * 2,
                name(path),
            )

    def test_lines_are_short(self) -> None:
        for path in pages():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                # Neither a mermaid arrow nor a row of a table can be broken.
                if " --> " not in line and not line.startswith("| "):
                    self.assertLessEqual(len(line), 100, f"{name(path)}:{number}")

    def test_blocks_are_of_a_known_language(self) -> None:
        for path in pages():
            text = path.read_text(encoding="utf-8")
            self.assertEqual(text.count("\n```") % 2, 0, name(path))
            for language, _ in FENCE.findall(text):
                self.assertIn(language, LANGUAGES, name(path))

    def test_links_lead_somewhere(self) -> None:
        for path in pages():
            text = FENCE.sub("", path.read_text(encoding="utf-8"))
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if target.startswith("https://"):
                    continue
                file, _, anchor = target.partition("#")
                page = (path.parent / file).resolve() if file else path
                self.assertTrue(page.exists(), f"{name(path)}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(page.read_text(encoding="utf-8")), name(path))

    def test_every_page_can_be_reached(self) -> None:
        found, frontier = {DOCS / "index.md"}, [DOCS / "index.md"]
        while frontier:
            path = frontier.pop()
            for target in re.findall(r"\]\(([^)#\s]+\.md)", path.read_text(encoding="utf-8")):
                page = (path.parent / target).resolve()
                if page not in found and page.is_relative_to(DOCS):
                    found.add(page)
                    frontier.append(page)
        pieces = set((DOCS / "newsfragments").glob("*"))
        self.assertEqual(set(pages()) - found - pieces, set())

    def test_every_event_is_in_the_reference(self) -> None:
        text = (DOCS / "reference" / "events.md").read_text(encoding="utf-8")
        headings = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
        self.assertEqual(headings, set(reference.event_names()) - {"Event"})

    def test_every_option_is_in_the_reference(self) -> None:
        text = (DOCS / "reference" / "options.md").read_text(encoding="utf-8")
        kinds = [Options, *(row[2] for row in Command.subCommands)]
        for option in {each.rstrip("=") for kind in kinds for each in kind().longOpt}:
            if option not in ("help", "version"):
                self.assertIn(f"- `--{option}`", text)

    def test_every_public_name_is_in_the_reference(self) -> None:
        text = "".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
        for public in sessioncore.__all__:
            told = f"# {public}\n" in text or f"`{public}`" in text
            self.assertTrue(told, public)

    def test_names_in_the_text_are_those_of_the_code(self) -> None:
        """Functions, methods, settings, counters, fields of events: whatever is in backquotes."""
        known = {*names_in_code(), *docs_elsewhere(), *map(str, Judgement)}
        for path in [*pages(), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
            text = path.read_text(encoding="utf-8")
            if path.parent.name != "newsfragments":
                self.assertEqual(names_in_text(text) - known, set(), name(path))

    def test_a_name_that_is_not_there_would_be_noticed(self) -> None:
        known = names_in_code()
        text = "`call.hang_up()`, `no_such_name`, `NoSuchEvent(reason)`\n\n```sh\nnot_here\n```\n"
        self.assertEqual(names_in_text(text) - known, {"no_such_name", "NoSuchEvent"})

    def test_counters_that_are_to_be_watched_are_in_the_stats_file(self) -> None:
        manager = SessionManager(FakeNetwork().host("192.0.2.1"))
        file = self.mktemp()
        StatsFile(file, SessionRole.UAS).write(manager.statistics(), 0)
        written = Path(file).read_text()
        names = re.findall(r"^\| `(\w+)`(?! of a call)", self.page("how-to/load-test.md"), re.M)
        self.assertGreater(len(names), 5)
        for each in names:
            self.assertIn(f'"{each}":', written)

    def page(self, file: str) -> str:
        return (DOCS / file).read_text(encoding="utf-8")

    def test_what_reject_takes_is_the_same_everywhere(self) -> None:
        for file in ("tutorial/embedding.md", "reference/options.md", "reference/api.md"):
            self.assertRegex(self.page(file), r"(?s)reject.{0,80}400 to 699", file)
            self.assertNotIn("300 to 699", self.page(file))
        for status, taken in ((399, False), (400, True), (699, True), (700, False)):
            network, problems = FakeNetwork(), []

            def refuse(call: Any, status: int = status, problems: Any = problems) -> None:
                try:
                    call.reject(status)
                except ConfigurationError as error:
                    problems.append(error)
                    call.reject(486)

            callee = SessionManager(network.host("192.0.2.2"), on_incoming=refuse)
            caller = SessionManager(network.host("192.0.2.1"))
            self.successResultOf(callee.start())
            self.successResultOf(caller.start())
            call = caller.call("sip:b@192.0.2.2")
            network.advance(1)
            assert call.end_reason is not None
            self.assertEqual(call.end_reason.status, status if taken else 486)
            try:
                parse_answer(f"reject:{status}")
            except ConfigurationError:
                self.assertFalse(taken)
            else:
                self.assertTrue(taken)

    def test_local_is_what_our_description_names(self) -> None:
        """As `why is audio one way` says of ``Local`` with ``--media-ip``."""
        network = FakeNetwork()
        managers = [
            SessionManager(network.host("192.0.2.2"), on_incoming=lambda call: call.answer()),
            SessionManager(network.host("192.0.2.1"), Settings(media_ip="203.0.113.9")),
        ]
        told: list[Any] = []
        for manager in managers:
            self.successResultOf(manager.start())
        managers[1].add_event_sink(told.append, events.MediaFlowEstablished)
        managers[1].call("sip:b@192.0.2.2")
        network.advance(1)
        self.assertEqual(told[0].local[0], "203.0.113.9")

    def test_settings_without_an_option(self) -> None:
        options = {each.rstrip("=").replace("-", "_") for each in Options().longOpt}
        without = {each.name for each in attrs.fields(Settings)} - options
        text = self.page("reference/settings.md").rpartition("<!-- end generated -->")[2]
        self.assertEqual(set(re.findall(r"`(\w+)`", text)), without)

    def test_settings_and_options_that_are_named_exist(self) -> None:
        options = {each.rstrip("=") for each in Options().longOpt}
        elsewhere = {
            "format", "check", "pidfile", "umask", "logfile", "uid", "nofile", "pid", "unit",
            "system", "reactor", "syslog", "logger", "data-urlencode", "request", "log-format",
            "once", "call-id",
        }  # fmt: skip
        for path in pages():
            if path.parent.name == "newsfragments":
                continue
            text = path.read_text(encoding="utf-8")
            used = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text))
            self.assertEqual(used - options - elsewhere, set(), name(path))


class ReferenceStalenessTests(SynchronousTestCase):
    """The check would notice: the guard of the guard."""

    def test_a_stale_part_is_told(self) -> None:
        page = "a\n<!-- generated: walk -->\nold\n<!-- end generated -->\nb\n"
        fresh = docs.filled(page)
        self.assertNotEqual(fresh, page)
        self.assertTrue(fresh.startswith("a\n<!-- generated: walk -->\n\n| # |"))
        self.assertTrue(fresh.endswith("<!-- end generated -->\nb\n"))
        self.assertEqual(docs.filled(fresh), fresh)

    def test_an_unknown_part_is_an_error(self) -> None:
        page = "<!-- generated: nothing -->\n<!-- end generated -->\n"
        self.assertRaises(KeyError, docs.filled, page)

    def test_command_lines(self) -> None:
        self.patch(sys, "stderr", io.StringIO())
        self.assertEqual(docs.main(["--check"]), 0)
        self.assertEqual(docs.main(["--bogus"]), 2)


class WalkthroughTests(SynchronousTestCase):
    def test_the_package_says_the_same(self) -> None:
        said = (sessioncore.__doc__ or "").splitlines()
        rows = [line.split(None, 1) for line in said if re.match(r" [1-9]  ", line)]
        self.assertEqual([int(number) for number, _ in rows], list(range(1, len(WALK) + 1)))
        for (_, row), (modules, what) in zip(rows, WALK, strict=True):
            self.assertEqual([part.strip() for part in row.split("  ", 1)], [place(modules), what])

    def test_modules_that_are_named_exist(self) -> None:
        for path in pages():
            if path.parent.name == "newsfragments":
                continue
            for dotted in re.findall(r"`(sessioncore(?:\.\w+)+)`", path.read_text("utf-8")):
                try:
                    resolve_name(dotted)
                except (ImportError, AttributeError) as error:
                    raise AssertionError(f"{name(path)}: {dotted}: {error}") from error
            for file in re.findall(r"`((?:sessioncore|tests|tools|bin)/[\w/.]+)`",
                                   path.read_text("utf-8")):  # fmt: skip
                self.assertTrue((ROOT / file).exists(), f"{name(path)}: {file}")


class FolderTestCase(SynchronousTestCase):
    """Runs in a folder of its own, which is the working directory meanwhile."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)


class CommandTests(FolderTestCase):
    """Every command line in a ``sh`` block parses; nothing is started."""

    def lines(self) -> Iterator[tuple[Path, list[str]]]:
        for language in ("sh", "ini"):
            for path, code in blocks(language):
                for line in code.replace("\\\n", " ").splitlines():
                    command = line.removeprefix("ExecStart=").strip()
                    if language == "ini" and command == line.strip():
                        continue
                    if command and not command.startswith("#"):
                        yield path, shlex.split(command, comments=True)

    def test_they_parse(self) -> None:
        parsed = 0
        for path, words in self.lines():
            message = f"{name(path)}: {' '.join(words)}"
            words = [self.local(word) for word in words if word != "sudo"]
            words = words[: words.index("|")] if "|" in words else words
            program = words[0].rpartition("/")[2]
            try:
                if program == "twistd":
                    self.twistd(words[1:])
                elif program == "twist":
                    Options().parseOptions(words[words.index("sessioncore") + 1 :])
                elif program == "sessioncore":
                    command = Command()  # type: ignore[no-untyped-call]
                    command.parseOptions(words[1:])
                    if command.subCommand == "call":
                        command.subOptions.uac_plan(command.subOptions.uris)
                    if command.subCommand == "answer":
                        command.subOptions.uas_plan()
                else:
                    self.assertTrue({words[0], program} & OTHER_COMMANDS, message)
                    continue
            except Exception as error:
                raise AssertionError(f"{message}: {error}") from error
            parsed += 1
        self.assertGreater(parsed, 15)

    def twistd(self, words: list[str]) -> None:
        if words[-1].endswith(".tac"):
            self.assertTrue((ROOT / "examples" / words[-1]).exists(), words[-1])
            return
        at = words.index("sessioncore")
        for word in words[:at]:
            self.assertIn(word.partition("=")[0], ("-n", "--pidfile", "--logfile", "--uid"))
        options = Options()
        options.parent = {"nodaemon": "-n" in words[:at], "debug": False}
        options.parseOptions(words[at + 1 :])

    def local(self, word: str) -> str:
        """``word`` with files made to exist below the folder."""
        if word.endswith("/token"):
            (self.folder / "token").write_text("0123456789abcdef\n", encoding="ascii")
            return "token"
        if word.endswith(".wav"):
            folder, _, file = word.rpartition("/")
            writer = WavWriter(str(self.folder / file), 8000, 1)
            writer.write(sine(440.0, 0.1))
            writer.close()
            return re.sub(r"(/[\w/]*)?$", "", folder) + file if folder else word
        match = re.fullmatch(r"(--[\w-]+=)?(/[\w./-]+)", word)
        if match is None or "bin/" in word:
            return word
        below = self.folder / match[2].lstrip("/")
        (below.parent if "." in below.name else below).mkdir(parents=True, exist_ok=True)
        return (match[1] or "") + str(below)


class ExampleTests(FolderTestCase):
    """Python blocks run as they stand: page by page, and programs as modules."""

    def test_blocks_run(self) -> None:
        spaces: dict[Path, dict[str, Any]] = {}
        self.wav("heard.wav", sine(1000.0, 1.0))
        for path, code in blocks("python"):
            if PROGRAM.match(code):
                continue
            space = spaces.setdefault(path, {"__name__": f"docs_{path.stem}"})
            with redirect_stdout(io.StringIO()):
                exec(compile(code, name(path), "exec"), space)
        self.assertGreaterEqual(len(spaces), 3)
        ran = 0
        for space in spaces.values():
            for kind in list(space.values()):
                is_case = isinstance(kind, type) and issubclass(kind, unittest.TestCase)
                if is_case and kind is not SynchronousTestCase:
                    ran += self.run_case(kind)
        self.assertGreaterEqual(ran, 3)

    def test_printed_examples_are_the_files(self) -> None:
        """A block that begins with a file's name is that file without its docstring."""
        printed = set()
        for path, code in blocks("python"):
            match = re.match(r"# (\w+\.(?:py|tac))\n", code)
            example = ROOT / "examples" / (match[1] if match else "")
            if match and example.is_file():
                source = example.read_text(encoding="utf-8").split('"""', 2)[2]
                self.assertEqual(code[match.end() :].strip(), source.strip(), name(path))
                printed.add(match[1])
        self.assertEqual(printed, {"sessioncore.tac", "web.tac", "asyncio_calls.py"})

    def run_case(self, kind: type[unittest.TestCase]) -> int:
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(kind).run(result)
        problems = [text for _, text in [*result.failures, *result.errors]]
        self.assertEqual(problems, [])
        return result.testsRun

    def test_every_program_is_driven(self) -> None:
        found = {match[1] for _, code in blocks("python") if (match := PROGRAM.match(code))}
        self.assertEqual(found, {"answering", "calling", "parrot", "asyncio_calls", "bridge"})

    def program(self, wanted: str) -> Any:
        """The program ``wanted`` of the pages, as a module."""
        for path, code in blocks("python"):
            match = PROGRAM.match(code)
            if match and match[1] == wanted:
                module = types.ModuleType(wanted)
                exec(compile(code, name(path), "exec"), module.__dict__)
                return module
        raise AssertionError(f"there is no {wanted}.py")

    def wav(self, file: str, samples: Any) -> None:
        writer = WavWriter(str(self.folder / file), 8000, 1)
        writer.write(samples)
        writer.close()

    def manager(self, host: Any, settings: Settings | None = None, **wishes: Any) -> SessionManager:
        manager = SessionManager(host, settings, **wishes)
        self.successResultOf(manager.start())
        return manager

    def test_answering(self) -> None:
        network = FakeNetwork()
        host = network.host("192.0.2.2")
        running: Deferred[None] = Deferred.fromCoroutine(self.program("answering").main(host))
        self.assertNoResult(running)
        caller = self.manager(host, Settings(listen=("udp:0",), rtp_ports=(20000, 20099)))
        said = io.StringIO()
        with redirect_stdout(said):
            call = caller.call("sip:bob@127.0.0.1", source=Tone())
            network.advance(0.5)
            self.assertIs(call.media_state, MediaState.ACTIVE)
            call.hang_up()
            network.advance(0.5)
        self.assertIn("remote: the peer hung up", said.getvalue())

    def test_calling(self) -> None:
        network = FakeNetwork()
        self.manager(
            network.host("192.0.2.2"),
            on_incoming=lambda call: call.answer(source=Tone(frequencies=(1000.0,))),
        )
        main = self.program("calling").main
        said = io.StringIO()
        with redirect_stdout(said):
            running = Deferred.fromCoroutine(
                main(network.host("192.0.2.1"), "sip:bob@192.0.2.2", "1")
            )
            network.advance(3)
        self.successResultOf(running)
        self.assertIn("local: hung up", said.getvalue())
        self.assertTrue((self.folder / "heard.wav").exists())

    def test_calling_somebody_busy(self) -> None:
        network = FakeNetwork()
        self.manager(network.host("192.0.2.2"), on_incoming=lambda call: call.reject(486))
        said = io.StringIO()
        with redirect_stdout(said):
            running = Deferred.fromCoroutine(
                self.program("calling").main(network.host("192.0.2.1"), "sip:bob@192.0.2.2")
            )
            network.advance(3)
        self.successResultOf(running)
        self.assertIn("486", said.getvalue())

    def test_parrot(self) -> None:
        network = FakeNetwork()
        self.manager(network.host("192.0.2.2"), on_incoming=self.program("parrot").answer)
        heard: list[Any] = []
        words = np.concatenate([sine(440.0, 1.5), np.zeros(8000 * 4, np.int16)])
        caller = self.manager(network.host("192.0.2.1"))
        caller.call("sip:bob@192.0.2.2", source=Clip(words), sink=Deliver(heard.append))
        network.advance(5)
        samples = np.concatenate(heard)
        loud = np.flatnonzero(np.abs(samples.astype(np.int64)) > 300)
        self.assertGreater(loud[0], 8000 * 1.9)  # after the words and the pause
        said = samples[loud[0] : loud[-1]]
        self.assertGreater(len(said), 8000 * 1.4)
        self.assertTrue(listen(said, 440).heard(0.95), str(listen(said, 440)))

    def test_bridge(self) -> None:
        """Two phones, and us between them: each hears the other, and one BYE ends both."""
        network = FakeNetwork()
        us = network.host("192.0.2.2")
        connect = self.program("bridge").connect
        manager = self.manager(
            us, on_incoming=lambda call: connect(manager, call, "sip:carol@192.0.2.3")
        )
        heard: dict[str, list[Any]] = {"bob": [], "carol": []}
        carol = self.manager(
            network.host("192.0.2.3"),
            on_incoming=lambda call: call.answer(
                source=Tone(frequencies=(1000.0,)), sink=Deliver(heard["carol"].append)
            ),
        )
        bob = self.manager(network.host("192.0.2.1"))
        call = bob.call("sip:us@192.0.2.2", source=Tone(), sink=Deliver(heard["bob"].append))
        network.advance(3)
        for who, hertz in (("bob", 1000.0), ("carol", 440.0)):
            report = listen(np.concatenate(heard[who])[4000:], hertz)
            self.assertTrue(report.heard(0.98), f"{who}: {report}")
        call.hang_up()
        network.advance(1)
        self.assertEqual((manager.calls, carol.calls), ([], []))

    def test_bridge_to_somebody_busy(self) -> None:
        network = FakeNetwork()
        connect = self.program("bridge").connect
        manager = self.manager(
            network.host("192.0.2.2"),
            on_incoming=lambda call: connect(manager, call, "sip:carol@192.0.2.3"),
        )
        self.manager(network.host("192.0.2.3"), on_incoming=lambda call: call.reject(486))
        call = self.manager(network.host("192.0.2.1")).call("sip:us@192.0.2.2")
        network.advance(2)
        assert call.end_reason is not None
        self.assertEqual((call.end_reason.status, manager.calls), (480, []))

    def test_bridge_when_the_caller_gives_up(self) -> None:
        network = FakeNetwork()
        connect = self.program("bridge").connect
        manager = self.manager(
            network.host("192.0.2.2"),
            on_incoming=lambda call: connect(manager, call, "sip:carol@192.0.2.3"),
        )
        carol = self.manager(network.host("192.0.2.3"), on_incoming=lambda call: call.ring())
        call = self.manager(network.host("192.0.2.1")).call("sip:us@192.0.2.2")
        network.advance(2)
        self.assertEqual(len(carol.calls), 1)
        call.hang_up()
        network.advance(1)
        self.assertEqual((manager.calls, carol.calls), ([], []))

    def test_a_source_of_ones_own(self) -> None:
        space: dict[str, Any] = {}
        for _, code in blocks("python"):
            if "@implementer(IMediaSource)" in code:
                exec(compile(code, "embedding.md", "exec"), space)
        network = FakeNetwork()
        self.manager(
            network.host("192.0.2.2"), on_incoming=lambda call: call.answer(source=space["Beeps"]())
        )
        heard: list[Any] = []
        self.manager(network.host("192.0.2.1")).call(
            "sip:bob@192.0.2.2", sink=Deliver(heard.append)
        )
        network.advance(4.5)
        samples = np.concatenate(heard).astype(np.int64)
        loud = np.abs(samples[: 4 * 8000].reshape(-1, 80)).max(axis=1) > 1000
        begins = np.flatnonzero(loud[1:] & ~loud[:-1])
        self.assertEqual(set(np.diff(begins)), {100}, "one a second")
        self.assertLess(abs(int(loud.sum()) - 40), 8)

    def test_digits(self) -> None:
        space: dict[str, Any] = {}
        for path, code in blocks("python"):
            if "def digits_of" in code:
                exec(compile(code, name(path), "exec"), space)
        network = FakeNetwork()
        manager = self.manager(network.host("192.0.2.1"))
        call = manager.prepare_call("sip:bob@192.0.2.2")
        other = manager.prepare_call("sip:carol@192.0.2.2")
        told: list[str] = []
        space["digits_of"](call, told.append)
        legs = manager._coordinator.registry.by_name
        for pressed, digit in ((call, "5"), (other, "7"), (call, "#")):
            leg = legs[pressed.session]
            manager._coordinator.announcer.emit(leg, events.DigitReceived, 0, digit, 100)
        self.assertEqual(told, ["5", "#"])

    def test_the_files_are_read(self) -> None:
        self.wav("heard.wav", sine(1000.0, 0.5))
        self.assertEqual(len(read_wav("heard.wav").mono), 4000)
