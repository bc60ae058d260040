"""Imports run one way, and the pure part reads no clock, socket, environment or chance.

Read from the syntax trees, so that imports inside functions and under ``TYPE_CHECKING`` count
too; what importing really does is checked in a process of its own.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sessioncore"

FOUNDATION = {
    "vocabulary", "errors", "events", "table", "deadlines", "extensions", "reach", "verdict",
    "explanation", "lint",
}  # fmt: skip
PURE_FOLDERS = {"sip", "sdp", "rtp"}
# What an embedder sets and gives.
APPLICATION = {"interfaces", "settings"}
CALLS = FOUNDATION | PURE_FOLDERS | APPLICATION | {"media", "session"}
MANAGER = CALLS | {"net", "manager"}
SERVICE = MANAGER | {"service"}
DASHBOARD = MANAGER | {"watching", "dashboard"}
DAEMON = SERVICE | DASHBOARD | {"daemon"}
MAY_IMPORT: dict[str, set[str]] = {
    **dict.fromkeys(FOUNDATION, FOUNDATION),
    **dict.fromkeys(PURE_FOLDERS, FOUNDATION),
    **dict.fromkeys(APPLICATION, FOUNDATION | APPLICATION),
    "settings": FOUNDATION | APPLICATION | {"rtp"},  # the codecs there are
    "media": FOUNDATION | {"rtp"},
    "session": CALLS,
    "net": CALLS,
    "manager": MANAGER,
    "agents": MANAGER,
    "service": MANAGER,
    "aio": CALLS,
    # Knows what calls and machines show of themselves, never a socket or the manager.
    "watching": CALLS,
    "dashboard": DASHBOARD,
    "daemon": DAEMON,
    # Reads files; knows what is in them, and nothing of our own calls.
    "explaining": FOUNDATION | PURE_FOLDERS | {"watching"},
    "diagnosis": DAEMON,
    "cli": DAEMON | {"explaining", "diagnosis"},
    "__main__": {"cli"},
    # The package's front door re-exports the public names.
    "__init__": DAEMON | {"agents"},
}
COORDINATOR = "session.coordinator"
# The hub, and the one part that establishes media for both roles.
MEETING = {COORDINATOR, "session.establishing"}

UNCLEAN_MODULES = {
    "asyncio", "multiprocessing", "random", "secrets", "select", "selectors", "signal", "socket",
    "ssl", "subprocess", "time", "twisted.internet", "uuid", "numpy.random",
}  # fmt: skip
UNCLEAN_NAMES = {
    "os.environ", "os.environb", "os.getenv", "os.urandom", "os.getrandom", "np.random",
    "numpy.random", "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
}  # fmt: skip
# An application's handler may raise: that is logged with its traceback.
FOR_SESSION = {"twisted.internet.defer", "twisted.logger", "twisted.python.failure"}
# Where a reactor may be looked up, late, because nobody gave one.
ENTRANCES = {"cli", "daemon", "diagnosis", "service"}
THREADS = {"_thread", "threading", "concurrent", "queue"}
RECORDER = "media.recorder"


def modules() -> Iterator[tuple[str, str]]:
    """Each module of the package: name without ``sessioncore.``, and source."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(path.relative_to(PACKAGE).with_suffix("").parts), path.read_text("utf-8")


def imported(module: str, tree: ast.AST) -> set[str]:
    """The dotted names that ``tree`` imports, each with the names taken out of it."""
    found = set()
    package = ["sessioncore", *module.split(".")][:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return found


def own(names: set[str]) -> set[str]:
    """The parts of the house among imported names: ``sip``, ``vocabulary``, ..."""
    return {name.split(".")[1] for name in names if name.startswith("sessioncore.")}


def import_graph() -> dict[str, set[str]]:
    """Which module imports which, for its types included."""
    sources = {module.removesuffix(".__init__"): source for module, source in modules()}
    graph = {}
    for module, source in sources.items():
        # As `modules` names it, so that relative imports are read right.
        names = imported(module, ast.parse(source))
        found = {name.removeprefix("sessioncore.") for name in names}
        # ``from a import b`` names b, where that is a module, and not the package a.
        packages = {name.rpartition(".")[0] for name in found if name in sources}
        graph[module] = (found & set(sources)) - packages - {module}
    return graph


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another, directly or by way of others."""
    reached = {module: set(imports) for module, imports in graph.items()}
    changed = True
    while changed:
        changed = False
        for imports in reached.values():
            more = set().union(*(reached[each] for each in imports)) - imports
            if more:
                imports |= more
                changed = True
    inside = {module for module, imports in reached.items() if module in imports}
    return sorted({tuple(sorted(reached[each] & inside)) for each in inside})  # type: ignore[arg-type]


def within(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)


def is_pure(module: str) -> bool:
    part = module.split(".", maxsplit=1)[0]
    return part in FOUNDATION | PURE_FOLDERS | {"media"} or module == "session.session"


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults(module: str, source: str) -> list[str]:
    """What ``module`` does that the plan of the house forbids."""
    part = module.split(".", maxsplit=1)[0]
    tree = ast.parse(source)
    if part in APPLICATION:
        tree = at_run_time(tree)  # an interface may name the types its methods are given
    names = imported(module, tree)
    found = []
    if part != "testing":
        found += direction(module, part, names)
    if is_pure(module):
        used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        found += impurities(module, names, used)
    if part == "session":
        strange = {name for name in names if within(name, {"twisted"})} - {"twisted.internet"}
        found += [
            f"{module} takes {name} from Twisted; only Deferreds, Logger and Failure are its to use"
            for name in sorted(strange)
            if not within(name, FOR_SESSION)
        ]
    if imports_reactor(module, tree if part not in ENTRANCES else at_import(tree)):
        found.append(f"{module} imports the global reactor")
    return found


def imports_reactor(module: str, tree: ast.AST) -> bool:
    return "twisted.internet.reactor" in imported(module, tree)


def at_import(tree: ast.Module) -> ast.Module:
    """``tree`` without what its functions do."""
    without = ast.parse(ast.unparse(tree))
    for node in ast.walk(without):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [ast.Pass()]
    return without


def at_run_time(tree: ast.Module) -> ast.Module:
    """``tree`` without its ``if TYPE_CHECKING:`` blocks."""
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING")
    ]
    return tree


def direction(module: str, part: str, names: set[str]) -> list[str]:
    if part not in MAY_IMPORT:
        return [f"{module} has no place in the house yet: add it to MAY_IMPORT"]
    found = [
        f"{module} imports sessioncore.{other}"
        for other in sorted(own(names) - MAY_IMPORT[part] - {part})
        if (PACKAGE / other).is_dir() or (PACKAGE / f"{other}.py").exists() or other == "testing"
    ]
    if own(names) >= {"sip", "sdp", "media"} and module not in {*MEETING, "__init__"}:
        found.append(f"{module} sees sip, sdp and media")
    return found


def impurities(module: str, names: set[str], used: set[str]) -> list[str]:
    unclean = {name for name in names if within(name, UNCLEAN_MODULES)}
    unclean |= {name for name in names | used if name in UNCLEAN_NAMES}
    unclean |= {name for name in used if name.split(".", 1)[-1] in UNCLEAN_NAMES}
    if module != RECORDER:
        unclean |= {name for name in names if within(name, THREADS)}
    return [f"{module} is pure but uses {name}" for name in sorted(unclean)]


class LayersTests(SynchronousTestCase):
    def test_every_module_keeps_to_its_place(self) -> None:
        found = [fault for name, source in modules() for fault in faults(name, source)]
        self.assertEqual(found, [])

    def test_no_module_imports_itself_by_way_of_others(self) -> None:
        self.assertEqual(cycles(import_graph()), [])

    def test_nobody_but_the_manager_imports_the_hub(self) -> None:
        graph = import_graph()
        importers = {module for module, imports in graph.items() if COORDINATOR in imports}
        self.assertEqual(importers, {"manager"})

    def test_importing_installs_no_reactor(self) -> None:
        script = (
            "import importlib, pkgutil, sys\n"
            "import sessioncore\n"
            "for found in pkgutil.walk_packages(sessioncore.__path__, 'sessioncore.'):\n"
            "    if not found.name.endswith('.__main__'):\n"
            "        importlib.import_module(found.name)\n"
            "        if 'twisted.internet.reactor' in sys.modules:\n"
            "            sys.exit('importing ' + found.name + ' installs a reactor')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class CheckerTests(SynchronousTestCase):
    """The checker sees what it is there to see."""

    def test_cycles(self) -> None:
        self.assertEqual(cycles({"a": {"b"}, "b": {"c"}, "c": set()}), [])
        self.assertEqual(cycles({"a": {"b"}, "b": {"a", "c"}, "c": {"a"}}), [("a", "b", "c")])
        graph = import_graph()
        self.assertIn("session.registry", graph["session.callee"])
        self.assertIn("media.sources", graph["session.call"])  # under TYPE_CHECKING
        self.assertIn("events", graph["session.acks"])  # from sessioncore import events

    def check(self, module: str, source: str, *expected: str) -> None:
        self.assertEqual(faults(module, source), list(expected))

    def test_direction(self) -> None:
        self.check(
            "sip.message",
            "from sessioncore.sdp import description",
            "sip.message imports sessioncore.sdp",
        )
        self.check("sip.message", "from ..net import x", "sip.message imports sessioncore.net")
        self.check("media.bank", "import sessioncore.sip", "media.bank imports sessioncore.sip")
        self.check("net.rtp", "from sessioncore.media import streams")
        self.check("sip.message", "from sessioncore.sip.values import Uri")

    def test_imports_inside_functions_count(self) -> None:
        source = "def f():\n    from sessioncore.net import rtp\n"
        self.check("session.session", source, "session.session imports sessioncore.net")

    def test_imports_for_types_count_but_in_interfaces(self) -> None:
        source = "if TYPE_CHECKING:\n    from sessioncore.session import call\n"
        self.check("media.bank", source, "media.bank imports sessioncore.session")
        self.check("interfaces", source)
        source = "from sessioncore.session import call"
        self.check("interfaces", source, "interfaces imports sessioncore.session")

    def test_nothing_imports_testing(self) -> None:
        source = "import sessioncore.testing.network"
        self.check("manager", source, "manager imports sessioncore.testing")
        self.check("testing.network", "import sessioncore.net.addresses")

    def test_only_the_coordinator_sees_all_three(self) -> None:
        source = "from sessioncore import sip, sdp, media"
        self.check(COORDINATOR, source)
        self.check("net.rtp", source, "net.rtp sees sip, sdp and media")

    def test_a_new_module_needs_a_place(self) -> None:
        text = "helpers has no place in the house yet: add it to MAY_IMPORT"
        self.check("helpers", "", text)

    def test_purity(self) -> None:
        self.check("sip.dialog", "import time", "sip.dialog is pure but uses time")
        self.check(
            "rtp.rtcp",
            "from random import randrange",
            "rtp.rtcp is pure but uses random",
            "rtp.rtcp is pure but uses random.randrange",
        )
        self.check("sdp.description", "import os\nos.path.join")
        source = "import os\nos.environ['A']"
        self.check("sdp.description", source, "sdp.description is pure but uses os.environ")
        source = "import numpy as np\nnp.random.rand()"
        self.assertEqual(faults("media.bank", source)[0], "media.bank is pure but uses np.random")
        source = "from twisted.internet import defer"
        self.assertIn(
            "media.playout is pure but uses twisted.internet", faults("media.playout", source)
        )
        self.assertEqual(faults("table", "import socket"), ["table is pure but uses socket"])
        source = "import datetime\ndatetime.datetime.now()"
        self.assertIn("events is pure but uses datetime.datetime.now", faults("events", source))

    def test_one_thread(self) -> None:
        self.check("media.recorder", "import threading, queue")
        self.check("media.bank", "import threading", "media.bank is pure but uses threading")

    def test_the_coordinator_waits_and_does_nothing_else_of_twisted(self) -> None:
        self.check(COORDINATOR, "from twisted.internet.defer import Deferred")
        self.check(COORDINATOR, "from twisted.internet import defer")
        self.check(COORDINATOR, "from twisted.logger import Logger")
        self.assertEqual(len(faults(COORDINATOR, "from twisted.internet.task import Clock")), 2)
        self.assertEqual(len(faults("session.call", "import twisted.names.client")), 1)

    def test_the_reactor_is_an_argument(self) -> None:
        source = "from twisted.internet import reactor"
        self.check("net.rtp", source, "net.rtp imports the global reactor")
        self.check("cli", source, "cli imports the global reactor")
        self.check("cli", f"def main():\n    {source}")
        self.check("net.rtp", f"def main():\n    {source}", "net.rtp imports the global reactor")
