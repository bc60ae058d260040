"""The fixtures, by running pytest in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent
CONFTEST = 'pytest_plugins = ["sessioncore.testing.pytest_fixtures"]\n'
TESTS = """
import pytest

from sessioncore import Tone
from sessioncore.testing import assert_cause, assert_two_way


def test_a_pair(leg_pair, sip_network):
    call = leg_pair.connect(source=Tone(), answer=lambda call: call.answer(Tone()))
    leg_pair.advance(1)
    assert_two_way(call)
    assert leg_pair.network is sip_network


@pytest.mark.sip_seed(7)
def test_a_peer(leg_pair, media_peer, sip_network):
    assert sip_network.seed == 7
    call = leg_pair.caller.call("sip:peer@192.0.2.9", source=Tone())
    leg_pair.advance(1)
    assert_two_way(call)


@pytest.mark.parametrize("name", ["payload-type-mismatch", "wrong-source"])
def test_a_fault(fault_scene, name):
    scene = fault_scene(name)
    scene.inject()
    scene.advance(3)
    assert_cause(scene.call, name)


@pytest.mark.sip_seed(8)
def test_one_that_fails(leg_pair):
    call = leg_pair.connect(answer=lambda call: call.reject(486))
    leg_pair.advance(1)
    assert_two_way(call)
"""


class PytestTests(SynchronousTestCase):
    def setUp(self) -> None:
        if find_spec("pytest") is None:
            if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
                raise AssertionError('pytest is required here: pip install "sessioncore[pytest]"')
            raise SkipTest("pytest is not installed")

    def test_the_fixtures(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "conftest.py").write_text(CONFTEST)
        (folder / "test_kit.py").write_text(TESTS)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertIn("1 failed, 4 passed", done.stdout, done.stdout + done.stderr)
        self.assertIn("AssertionError: no audio both ways: not_answered", done.stdout)

    def test_nothing_else_needs_pytest(self) -> None:
        code = "import sys, sessioncore.testing; sys.exit('pytest' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
        self.assertEqual(done.returncode, 0)
