"""What a program may do to its process, and a library never does."""

from __future__ import annotations

import atexit
import gc
import inspect
import mmap
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import IO, Any, Final, TypeAlias

from twisted.logger import Logger
from twisted.python.logfile import LogFile

from sessioncore.errors import ConfigurationError
from sessioncore.vocabulary import SECOND
from sessioncore.watching.outcome import Outcome
from sessioncore.watching.output import Output, output_of, standard_output

try:
    import resource
except ImportError:  # pragma: no cover - not Unix
    resource = None  # type: ignore[assignment]

__all__ = [
    "Ending",
    "IdleCollector",
    "end_without_traceback",
    "has_terminal",
    "log_without_waiting",
    "memory_in_use",
    "on_drain_signal",
    "print_last",
    "reopen_log_of_twistd",
]

COLLECT_EVERY: Final = 60 * SECOND
"""How often, in ns, a process that is idle collects garbage."""
PAGE: Final = mmap.PAGESIZE
_Handler: TypeAlias = Callable[[int, Any], Any]
_log: Final = Logger(namespace="sessioncore")


class Ending:
    """Stops the reactor once; Twisted would log a traceback for every further time."""

    def __init__(self) -> None:
        self._begun = False
        self.interrupted = False
        """Whether SIGINT (Ctrl-C) began the end, or came after it."""

    def stop(self, reactor: Any) -> None:
        """Stop the reactor, unless a signal or an earlier call already has."""
        if not self._begun:
            self._begun = True
            reactor.stop()

    def heed_signals(self, on_hangup: Callable[[], bool]) -> None:
        """Let the first SIGINT or SIGTERM through to the reactor, which must be running.

        The second SIGINT ends the process at once.  SIGHUP calls ``on_hangup``, and counts as
        SIGTERM if that returns True; it stays ignored where it was (``nohup``).
        """
        usual = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        for number, handler in usual.items():
            if callable(handler):
                _on_signal(number, partial(self._heed, handler))
        ends = signal.getsignal(signal.SIGTERM)
        if callable(ends) and _is_default("SIGHUP"):  # as heeded above
            _on_signal(signal.SIGHUP, partial(self._hung_up, on_hangup, ends))

    def _heed(self, usual: _Handler, number: int, frame: Any) -> None:
        again = number == signal.SIGINT and self.interrupted
        self.interrupted = self.interrupted or number == signal.SIGINT
        if again:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        elif not self._begun:
            self._begun = True
            usual(number, frame)

    def _hung_up(
        self,
        on_hangup: Callable[[], bool],
        ends: Callable[[int, Any], Any],
        number: int,
        frame: Any,
    ) -> None:
        if on_hangup():
            ends(number, frame)


def on_drain_signal(drain: Callable[[], object]) -> None:
    """Call ``drain`` at SIGUSR2, unless something else has that signal already.

    Not at SIGUSR1: ``twistd`` rotates its log file then.
    """
    if _is_default("SIGUSR2"):
        _on_signal(signal.SIGUSR2, lambda _number, _frame: drain())


def _is_default(name: str) -> bool:
    number = getattr(signal, name, None)  # Windows has neither SIGHUP nor SIGUSR2
    return number is not None and signal.getsignal(number) is signal.SIG_DFL


def _on_signal(number: int, handler: _Handler) -> None:
    with suppress(ValueError):  # only the main thread receives signals
        signal.signal(number, handler)


def has_terminal() -> bool:
    """Whether this process has a terminal that was not closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def reopen_log_of_twistd() -> None:
    """Go on in a new log file under the same name, where ``twistd`` writes one.

    Raises OSError, and goes on in the present file, if there cannot be a new one.
    ``twistd`` shows its log file nowhere but to its own handler of SIGUSR1, which rotates it.
    """
    handler: Any = signal.getsignal(signal.SIGUSR1)
    if inspect.isfunction(handler):
        log: Any = inspect.getclosurevars(handler).nonlocals.get("logFile")
        if isinstance(log, LogFile):
            _reopen(log)


def _reopen(log: Any) -> None:
    # `LogFile.reopen` closes the file first, and has none if it cannot open another.
    present, size = log._file, log.size
    try:
        log._openFile()
    except OSError:
        log._file, log.size = present, size
        raise
    present.close()


class IdleCollector:
    """Runs the garbage collector while no call can notice, and at no other time.

    A collection stops everything for as long as it takes, hundreds of ms with many calls up, and
    finds nothing: a finished call leaves no cycles (``tests/session/test_collector.py``).  What
    leaves some, such as a host name that cannot be resolved, is collected when the process is
    idle.  The last resort for one that never is: when it has grown by ``most_growth`` bytes since
    the last collection, it collects although calls are up, and logs that.

    ``is_idle`` says whether no call is up; ``memory`` takes the place of `memory_in_use`.
    """

    def __init__(
        self,
        is_idle: Callable[[], bool],
        *,
        memory: Callable[[], int] | None = None,
        most_growth: int = 256 << 20,
    ) -> None:
        self._is_idle = is_idle
        self._memory = memory or memory_in_use
        self._most_growth = most_growth
        self._again = 0
        self._memory_then = 0

    def start(self, now: int) -> None:
        """Take what is loaded out of the collector's sight, and end automatic collections."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self._collected(now)

    def look(self, now: int) -> None:
        """Collect if it is time to; to be called every few seconds."""
        if self._is_idle():
            if now >= self._again:
                gc.collect()
                self._collected(now)
        elif self._memory() - self._memory_then >= self._most_growth:
            found = gc.collect()
            self._collected(now)
            _log.warn(
                "the process has grown by {growth} MiB while calls were up; collected {found}"
                " objects",
                growth=self._most_growth >> 20,
                found=found,
            )

    def _collected(self, now: int) -> None:
        self._again = now + COLLECT_EVERY
        self._memory_then = self._memory()


def memory_in_use() -> int:
    """Resident memory of this process in bytes; where only the most so far is known, that.

    0 where neither is known.
    """
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * PAGE
    except OSError:  # pragma: no cover - not Linux
        if resource is None:
            return 0
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most << 10


def print_last(outcome: Outcome, interrupted: bool) -> None:
    """Print the outcome after everything that ``twistd`` itself prints, and set the exit status.

    ``twistd`` exits with 0 whatever its services did; only `atexit` comes after it.  A process
    that was sent a signal is ended by it before that.
    """
    if interrupted:
        _to_stdout(f"{outcome}\n")
    else:
        atexit.register(_last, outcome)


def _last(outcome: Outcome) -> None:
    _to_stdout(f"{outcome}\n")
    if not outcome.good:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(1)  # sys.exit has no effect in here


def _to_stdout(text: str) -> None:
    stdout: IO[str] | None = sys.__stdout__
    if stdout is None:
        return
    with suppress(OSError, ValueError):
        stdout.flush()
        # A reader that is gone or asleep must not keep the process from ending.
        output = _output_of(stdout)
        if output is None:
            stdout.write(text)
            stdout.flush()
        else:
            output.write(text.encode())
            output.close()


def _output_of(file: IO[str]) -> Output | None:
    try:
        return output_of(file)
    except OSError:
        return None  # not a real file


def log_without_waiting() -> None:
    """Let ``twistd -n``, which logs to standard output, never wait for its reader."""
    sys.stdout = standard_output()


def end_without_traceback() -> None:
    """Print a `ConfigurationError` that ends this process as one line on standard error.

    ``twistd`` lets an exception of `startService` end the process: its exit status becomes 1,
    its PID file is removed, and the parent of a daemon gets the reason.
    """
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if isinstance(error, ConfigurationError):
            print(f"sessioncore: {error}", file=sys.__stderr__)
        else:
            usual(kind, error, traceback)

    sys.excepthook = hook
