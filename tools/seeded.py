"""Seed defects into the package, one at a time, and count how many of them the tests notice.

    bin/test --seeded 50                       fifty defects anywhere in the package
    bin/test --seeded 20 --in sessioncore/sip  twenty in one folder or module
    bin/test --seeded 50 --seed 7              the same fifty as when 7 was printed
    bin/test --seeded 500 --minutes 25         as many of 500 as fit into 25 minutes

A defect is one small change: a swapped comparison, a doubled or halved number, a negated
condition, a removed guard, raise, return or call.  It is made in a scratch copy of the checkout,
and the tests that belong to the module run there: first those that `tools.mirror` names, then those
of its folder.  A defect that no test notices is printed with its line; either a test is missing, or
the change makes no difference.  The working tree is never touched.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.mirror import SUITES, test_files

ROOT = Path(__file__).resolve().parent.parent
RUN_TESTS = ROOT / "tools" / "run_tests.py"
PACKAGE = "sessioncore"
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", "build", "*.egg-info", "_trial_temp*", ".*_cache", ".hypothesis"
)
SHORTEST_WAIT = 60.0
"""Seconds that tests may take at least before they count as hanging."""
TRIES = 3
"""How often tests may fail without any defect: those with sockets do on a machine that is busy."""

_SWAPS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
_REMOVABLE = (ast.Raise, ast.Return, ast.Continue, ast.AugAssign)


class Defect(NamedTuple):
    """``was``, at ``start`` in the source of a module, becomes ``becomes``."""

    line: int
    start: int
    was: str
    becomes: str

    def seeded(self, source: str) -> str:
        """The source with this defect."""
        return source[: self.start] + self.becomes + source[self.start + len(self.was) :]

    def __str__(self) -> str:
        return f"{' '.join(self.was.split())}  ->  {self.becomes}"


class _Finder(ast.NodeVisitor):
    """Collects the places of one module where a defect can be seeded."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[Defect] = []
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def _at(self, line: int, column: int) -> int:
        # Columns are counted in octets of UTF-8.
        begin = self._lines[line - 1]
        text = self.source[begin : self._lines[line]]
        return begin + len(text.encode()[:column].decode())

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(
            node.end_lineno, node.end_col_offset
        )

    def _add(self, line: int, start: int, was: str, becomes: str) -> None:
        self.found.append(Defect(line, start, was, becomes))

    def _replace(self, node: ast.expr | ast.stmt, becomes: str) -> None:
        start, end = self._span(node)
        self._add(node.lineno, start, self.source[start:end], becomes)

    def visit_Compare(self, node: ast.Compare) -> None:
        left: ast.expr = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            was, becomes = _SWAPS[type(operator)]
            end = self._span(left)[1]
            between = self.source[end : self._span(right)[0]]
            if was in between:
                self._add(node.lineno, end + between.index(was), was, becomes)
            left = right
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        was, becomes = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        end = self._span(node.values[0])[1]
        between = self.source[end : self._span(node.values[1])[0]]
        if was in between:
            self._add(node.lineno, end + between.index(was), was, becomes)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 1:
            self._replace(node, repr(value * 2))
            self._replace(node, repr(value // 2 if isinstance(value, int) else value / 2))

    def visit_If(self, node: ast.If) -> None:
        test = ast.unparse(node.test)
        if test == "TYPE_CHECKING":
            return
        self._replace(node.test, f"not ({test})")
        leaves = isinstance(node.body[-1], ast.Raise | ast.Return | ast.Continue | ast.Break)
        if leaves and not node.orelse:
            self._replace(node.test, "False")
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
        if called or isinstance(node, _REMOVABLE):
            assert isinstance(node, ast.stmt)
            self._replace(node, "pass")
        super().generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        # Not the annotations and decorators.
        for each in (*node.args.defaults, *(d for d in node.args.kw_defaults if d), *node.body):
            self.visit(each)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None and "TypeAlias" not in ast.unparse(node.annotation):
            self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Left out: an assertion is mostly there for the type checker."""


def defects(source: str) -> list[Defect]:
    """All defects that can be seeded into ``source``."""
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    return finder.found


def tests_of(module: Path, root: Path) -> list[list[str]]:
    """What trial is to run for ``module``: first its own tests, then those of its folder."""
    name = module.relative_to(root / PACKAGE).with_suffix("")
    own = [_dotted(root / "tests" / file, root) for file in test_files(name.as_posix())]
    where = root.joinpath("tests", *(SUITES.get(each, each) for each in name.parent.parts))
    while not where.is_dir():
        where = where.parent
    if name.parent.parts:
        return [own, [_dotted(where, root)]]
    return [own, [_dotted(each, root) for each in sorted(where.glob("test_*.py"))]]


def _dotted(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)


class Scratch:
    """A copy of the checkout in which tests run with one defect at a time."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = folder / "checkout"
        shutil.copytree(root, self.root, ignore=LEFT_OUT)
        self._environment = {
            "SESSIONCORE_TEST_DATA": str(root.parent / "shared" / "data"),
            **os.environ,
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",  # it would be taken for that of the next defect
        }
        self._waits: dict[tuple[str, ...], float] = {}

    def notices(self, module: Path, defect: Defect) -> bool:
        """Whether a test of ``module`` (in the copy) fails or hangs with ``defect``."""
        return any(self._fails(tests, module, defect) for tests in tests_of(module, self.root))

    def _fails(self, tests: Sequence[str], module: Path, defect: Defect) -> bool:
        wait = self._wait_for(tests)
        source = module.read_text(encoding="utf-8")
        module.write_text(defect.seeded(source), encoding="utf-8")
        try:
            return not self._passes(tests, wait)
        finally:
            module.write_text(source, encoding="utf-8")

    def _wait_for(self, tests: Sequence[str]) -> float:
        """How long to wait for ``tests``, which have to pass without any defect."""
        key = tuple(tests)
        if key not in self._waits:
            begin = time.monotonic()
            if not any(self._passes(tests, 3600.0) for _ in range(TRIES)):
                raise SystemExit(f"without any defect, {' '.join(tests)} fails; mend that first")
            self._waits[key] = max(SHORTEST_WAIT, 5 * (time.monotonic() - begin))
        return self._waits[key]

    def _passes(self, tests: Sequence[str], wait: float) -> bool:
        trial = subprocess.Popen(
            [sys.executable, str(RUN_TESTS), "--exitfirst", *tests],
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return trial.wait(wait) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if trial.poll() is None:
                os.killpg(trial.pid, signal.SIGKILL)
                trial.wait()


def modules(root: Path, within: str) -> Iterator[Path]:
    """The modules of the package at or below ``within``, in a fixed order."""
    start = root / within
    for path in [start] if start.is_file() else sorted(start.rglob("*.py")):
        if path.name not in ("__init__.py", "__main__.py"):
            yield path


def run(
    root: Path, count: int, seed: int, within: str, minutes: float | None = None
) -> tuple[int, int]:
    """Seed ``count`` defects; prints the survivors; returns how many were noticed, of how many.

    After ``minutes`` no further one is seeded.
    """
    places = [
        (path.relative_to(root), defect)
        for path in modules(root, within)
        for defect in defects(path.read_text(encoding="utf-8"))
    ]
    chosen = random.Random(seed).sample(places, min(count, len(places)))
    print(f"seed {seed}: {len(chosen)} of {len(places)} possible defects", flush=True)
    noticed = tried = 0
    end = time.monotonic() + 60 * (float("inf") if minutes is None else minutes)
    with tempfile.TemporaryDirectory(prefix="sessioncore-seeded-") as folder:
        scratch = Scratch(root, Path(folder))
        for path, defect in chosen:
            if time.monotonic() >= end:
                break
            tried += 1
            if scratch.notices(scratch.root / path, defect):
                noticed += 1
            else:
                print(f"survived: {path}:{defect.line}: {defect}", flush=True)
    return noticed, tried


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0 where every defect was noticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int, help="how many defects")
    parser.add_argument("--seed", type=int, help="choose the same defects again")
    parser.add_argument("--minutes", type=float, help="seed no further one after that time")
    parser.add_argument("--in", dest="within", default=PACKAGE, help="a folder or module")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    noticed, count = run(ROOT, options.count, seed, options.within, options.minutes)
    share = 100 * noticed / count if count else 0.0
    print(f"{noticed} of {count} defects noticed ({share:.0f} %)")
    return 0 if count and noticed == count else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
