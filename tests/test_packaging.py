"""What the wheel contains, and that twistd finds the plugin however we are installed.

Each installation goes into a fresh environment of its own, which borrows the dependencies of
the environment the tests run in: nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "sessioncore",
    "twisted",
    "MANIFEST.in",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
COMPILED = {
    "sessioncore/media/_plain",
    "sessioncore/net/_pump",
    "sessioncore/sdp/_description",
    "sessioncore/sip/_builder",
    "sessioncore/sip/_reader",
}


def run(*arguments: object, cwd: Path | None = None, status: int = 0) -> str:
    """Output of a process; what it must not inherit is taken out of its environment."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
    }
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != status:
        raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def copy_of_the_checkout(target: Path) -> Path:
    """What is needed to install, so that nothing is written into the checkout."""
    target.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "dropin.cache", "*.so")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore)
        else:
            shutil.copy(source, target / name)
    return target


def fresh_environment(target: Path) -> Path:
    """An environment with our dependencies but without us; returns its python.

    Twisted's own folders are made anew and only their files are links, because that is where
    an installation of ours puts the plugin.
    """
    venv.create(target, with_pip=False, symlinks=True)
    python = target / "bin" / "python"
    into = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    base = Path(sysconfig.get_path("purelib"))
    for entry in base.iterdir():
        if entry.suffix != ".pth" and not entry.name.startswith(("sessioncore", "__editable__")):
            _borrow(entry, into / entry.name)
    return python


def _borrow(source: Path, target: Path) -> None:
    if source.name in ("twisted", "plugins") and source.is_dir():
        target.mkdir()
        for entry in source.iterdir():
            if not entry.name.startswith(("sessioncore", "dropin", "__pycache__")):
                _borrow(entry, target / entry.name)
    else:
        target.symlink_to(source)


class PackagingTests(SynchronousTestCase):
    def setUp(self) -> None:
        for needed in ("pip", "setuptools"):
            if find_spec(needed) is None:
                message = f"{needed} is not installed here"
                if os.environ.get("SESSIONCORE_REQUIRE_ALL") == "1":
                    self.fail(message)
                raise SkipTest(message)
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir(parents=True)
        self.checkout = copy_of_the_checkout(self.place / "checkout")

    def wheel(self) -> Path:
        run(
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--wheel-dir", self.place / "wheels", self.checkout),
        )
        (wheel,) = (self.place / "wheels").iterdir()
        return wheel

    def install(self, *what: object) -> Path:
        python = fresh_environment(self.place / "venv")
        run(
            *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"),
            *("--no-deps", "--no-build-isolation", *what),
        )
        return python

    def contents(self) -> tuple[set[str], set[str]]:
        """What is in the wheel: what has to be missing or is too much, what was compiled."""
        with zipfile.ZipFile(self.wheel()) as wheel:
            names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        compiled = {name for name in names if name.endswith(sysconfig.get_config_var("EXT_SUFFIX"))}
        expected = {
            str(path.relative_to(ROOT))
            for path in (ROOT / "sessioncore").rglob("*")
            if path.suffix == ".py" or path.name == "py.typed" or path.parent.name == "assets"
        }
        # No __init__.py there: it would hide Twisted's own.
        expected.add("twisted/plugins/sessioncore_plugin.py")
        return (names - compiled) ^ expected, compiled

    def test_contents(self) -> None:
        differing, compiled = self.contents()
        self.assertEqual(differing, set())
        if shutil.which("cc"):
            self.assertEqual({name.partition(".")[0] for name in compiled}, COMPILED)

    def test_without_a_compiler_all_but_what_is_compiled(self) -> None:
        for name in ("CC", "LDSHARED"):
            self.patch(os, "environ", {**os.environ, name: "/bin/false"})
        self.assertEqual(self.contents(), (set(), set()))

    def test_the_source_archive_has_what_is_compiled(self) -> None:
        run(sys.executable, "setup.py", "-q", "sdist", cwd=self.checkout)
        (archive,) = (self.checkout / "dist").iterdir()
        into = self.place / "unpacked"
        into.mkdir()
        run("tar", "-xzf", archive, "-C", into, cwd=self.place)
        (unpacked,) = into.iterdir()
        package = unpacked / "sessioncore"
        run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=unpacked)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        there = {str(path.relative_to(unpacked)) for path in package.rglob("*.c")}
        self.assertLessEqual({name + ".c" for name in COMPILED}, there)
        if shutil.which("cc"):
            built = {str(path.relative_to(unpacked)) for path in package.rglob("*" + suffix)}
            self.assertEqual(built, {name + suffix for name in COMPILED})

    def check(self, python: Path) -> None:
        """The plugin is listed, its help works, and so do the commands; from an empty folder."""
        empty = self.place / "empty"
        empty.mkdir()
        twistd = (python, "-m", "twisted", "--help")
        self.assertIn("sessioncore", run(*twistd, cwd=empty))
        help_ = run(
            *(python, "-c", "from twisted.scripts.twistd import run; run()"),
            *("sessioncore", "--help"),
            cwd=empty,
        )
        self.assertIn("--role=", help_)
        self.assertIn("Usage: sessioncore", run(python.parent / "sessioncore", "--help", cwd=empty))
        self.assertIn("Usage: sessioncore", run(python, "-m", "sessioncore", "--help", cwd=empty))

    def test_plugin_of_an_installed_wheel(self) -> None:
        self.check(self.install(self.wheel()))

    def test_plugin_of_an_editable_install(self) -> None:
        self.check(self.install("--editable", self.checkout))

    def test_twisted_is_not_hidden(self) -> None:
        self.assertFalse((ROOT / "twisted" / "__init__.py").exists())
        self.assertFalse((ROOT / "twisted" / "plugins" / "__init__.py").exists())
