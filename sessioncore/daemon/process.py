"""What a program may do to its process, and a library never does."""

from __future__ import annotations

import atexit
import gc
import mmap
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import IO, Any, Final

from twisted.logger import Logger

from sessioncore.errors import ConfigurationError
from sessioncore.vocabulary import SECOND
from sessioncore.watching.outcome import Outcome

try:
    import resource
except ImportError:  # pragma: no cover - not Unix
    resource = None  # type: ignore[assignment]

__all__ = ["Ending", "IdleCollector", "end_without_traceback", "memory_in_use", "print_last"]

COLLECT_EVERY: Final = 60 * SECOND
"""How often, in ns, a process that is idle collects garbage."""
PAGE: Final = mmap.PAGESIZE
_log: Final = Logger(namespace="sessioncore")


class Ending:
    """Stops the reactor once; Twisted would log a traceback for every further time."""

    def __init__(self) -> None:
        self._begun = False

    def stop(self, reactor: Any) -> None:
        """Stop the reactor, unless a signal or an earlier call already has."""
        if not self._begun:
            self._begun = True
            reactor.stop()

    def heed_one_signal(self) -> None:
        """Let one SIGINT or SIGTERM through to the reactor, which must be running.

        SIGHUP, sent when a terminal is closed, counts as SIGTERM unless it is ignored.
        """
        usual = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        hangup = getattr(signal, "SIGHUP", None)  # Windows has none
        if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
            usual[hangup] = usual[signal.SIGTERM]
        for number, handler in usual.items():
            if callable(handler):
                with suppress(ValueError):  # only the main thread receives signals
                    signal.signal(number, partial(self._heed, handler))

    def _heed(self, usual: Callable[[int, Any], Any], number: int, frame: Any) -> None:
        if not self._begun:
            self._begun = True
            usual(number, frame)


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
    """Print the outcome after everything that ``twistd`` itself prints.

    A process that was sent a signal is ended by it before `atexit` runs.
    """
    if interrupted:
        _to_stdout(f"{outcome}\n")
    else:
        atexit.register(_to_stdout, f"{outcome}\n")


def _to_stdout(text: str) -> None:
    stdout: IO[str] | None = sys.__stdout__
    try:
        if stdout is not None:
            stdout.write(text)
            stdout.flush()
    except (OSError, ValueError):
        pass


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
