"""What only the owner of a process may do to it; a library never does."""

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
    """Stops the reactor once; for each time more Twisted would log a traceback."""

    def __init__(self) -> None:
        self._begun = False

    def stop(self, reactor: Any) -> None:
        """Stop it, unless a signal or an earlier call has."""
        if not self._begun:
            self._begun = True
            reactor.stop()

    def heed_one_signal(self) -> None:
        """Let one SIGINT or SIGTERM through to the reactor, which runs already.

        SIGHUP, which comes when a terminal is closed, is as SIGTERM, unless it is ignored.
        """
        usual = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        hangup = getattr(signal, "SIGHUP", None)  # Windows has none
        if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
            usual[hangup] = usual[signal.SIGTERM]
        for number, handler in usual.items():
            if callable(handler):
                with suppress(ValueError):  # not the main thread, which alone hears signals
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
    """Print the outcome after everything ``twistd`` itself has to say.

    A process that was sent a signal is ended by it without coming to `atexit`.
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
    """Let a `ConfigurationError` that ends this process be one line on standard error.

    ``twistd`` lets what `startService` raises end the process; that is how its status
    becomes 1, its PID file goes and the parent of a daemon is told.
    """
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if isinstance(error, ConfigurationError):
            print(f"sessioncore: {error}", file=sys.__stderr__)
        else:
            usual(kind, error, traceback)

    sys.excepthook = hook
