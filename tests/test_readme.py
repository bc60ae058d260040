"""What the README prints is what there is."""

from __future__ import annotations

import re

from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.cli import Command
from sessioncore.daemon.options import Options
from tests.split.processes import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


class ReadmeTests(SynchronousTestCase):
    def test_the_example_is_the_one_that_is_tested(self) -> None:
        (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        source = (ROOT / "examples" / "embed.py").read_text(encoding="utf-8")
        self.assertEqual(code, source[source.index("import sys") :])

    def test_links_lead_somewhere(self) -> None:
        for target in re.findall(r"\]\((?!https:)([^)]+)\)", README):
            self.assertTrue((ROOT / target).exists(), target)

    def test_options_exist(self) -> None:
        given = [*Options().longOpt, *ServerOptions().longOpt, "help"]
        known = {name.rstrip("=") for name in given}
        used = set(re.findall(r"--([a-z-]+)", README))
        self.assertEqual(used - known, set())

    def test_commands_exist(self) -> None:
        known = {row[0] for row in Command.subCommands}
        used = set(re.findall(r"^    sessioncore (\w+)", README, re.MULTILINE))
        self.assertEqual(used, known)
