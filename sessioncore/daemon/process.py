"""What a program may do to its process, and a library never does."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import IO, Any

from sessioncore.errors import ConfigurationError
from sessioncore.watching.outcome import Outcome

__all__ = ["Ending", "end_without_traceback", "print_last", "tune_collector"]


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


def tune_collector() -> None:
    """Take what is loaded out of the collector's sight and let it run seldom.

    A finished call leaves no cycles; the default thresholds only cost pauses.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)


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
