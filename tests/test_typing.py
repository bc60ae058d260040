"""What mypy says to embedders: nothing about a right program, something about each mistake."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

import sessioncore
from sessioncore.manager import SessionManager
from sessioncore.testing.network import FakeNetwork
from tests.typing import embedding

ROOT = Path(__file__).resolve().parent.parent
EMBEDDING = ROOT / "tests" / "typing" / "embedding.py"
MISTAKES = ROOT / "tests" / "typing" / "mistakes.py"
# zope.interface needs its plugin: without it mypy does not know who implements an interface.
CONFIGURATION = "[mypy]\nstrict = True\nplugins = mypy_zope:plugin\n"


@cache
def reported() -> dict[tuple[str, int], str]:
    """What ``mypy --strict`` reports of both files, by file name and line."""
    configuration = Path("mypy.ini").absolute()
    configuration.write_text(CONFIGURATION)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", configuration),
            *("--cache-dir", ROOT / ".mypy_cache" / "embedding"),
            *(EMBEDDING, MISTAKES),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {}
    for line in done.stdout.splitlines():
        if match := re.match(r"\S*?(\w+\.py):(\d+): error: (.*)", line):
            found[match[1], int(match[2])] = match[3]
    if done.returncode != 1 or done.stderr or not found:
        raise AssertionError(f"mypy did not do its work:\n{done.stdout}{done.stderr}")
    return found


def marked(mark: str) -> dict[int, str]:
    """The lines of the mistakes that end in ``# mark``."""
    return {
        number: line
        for number, line in enumerate(MISTAKES.read_text().splitlines(), 1)
        if line.endswith(f"  # {mark}")
    }


class EmbeddingTests(SynchronousTestCase):
    def test_a_right_program(self) -> None:
        self.assertEqual({at: text for at, text in reported().items() if "embedding" in at[0]}, {})

    def test_it_uses_every_public_name(self) -> None:
        tree = ast.parse(EMBEDDING.read_text())
        used = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        self.assertEqual(set(sessioncore.__all__) - used, set())

    def test_it_runs(self) -> None:
        network = FakeNetwork(seed=9)
        notes, reception = embedding.Notes(), embedding.Reception()
        callee = SessionManager(network.host("192.0.2.2"), on_incoming=reception)
        callee.add_event_sink(notes)
        caller = SessionManager(network.host("192.0.2.1"))
        for manager in (callee, caller):
            self.successResultOf(manager.start())
        self.patch(embedding, "Record", lambda name: embedding.Discard())
        for user, outcome in {
            "echo": "both ways, 0 lost",
            "frames": "both ways, 0 lost",
            "noise": "both ways, 0 lost",
            "anybody": "both ways, 0 lost",
            "busy": "remote: 486",
            "moved": "remote: 302",
        }.items():
            placed = Deferred.fromCoroutine(
                embedding.place(caller, f"sip:{user}@192.0.2.2", network.clock)
            )
            network.advance(2)
            self.assertEqual(self.successResultOf(placed), outcome, user)
        self.assertIn("PCMU sendrecv", notes.lines)
        self.assertGreater(reception.loudness.loudest, 1000)
        self.assertEqual(set(reception.heard), {160})
        self.assertEqual(len(reception.ended), 4)
        self.assertEqual(embedding.count(callee), 6)


class MistakesTests(SynchronousTestCase):
    def found(self, number: int) -> str | None:
        return reported().get((MISTAKES.name, number))

    def test_each_is_reported(self) -> None:
        lines = marked("expect")
        self.assertGreater(len(lines), 25)
        for number, line in lines.items():
            self.assertIsNotNone(self.found(number), f"not reported: {line}")

    def test_what_is_right_is_not(self) -> None:
        lines = marked("accept")
        self.assertTrue(lines)
        for number, line in lines.items():
            self.assertIsNone(self.found(number), line)

    def test_nothing_else_is_reported(self) -> None:
        known = marked("expect")
        others = {at: text for at, text in reported().items() if at[0] == MISTAKES.name}
        self.assertEqual({at: t for at, t in others.items() if at[1] not in known}, {})
