"""Runs the reactor for a command that is over when its work is done, or when it is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["run_until"]

T = TypeVar("T")


def run_until(wanted: Callable[[], Coroutine[Any, Any, T]], stop: Callable[[], object]) -> T:
    """Run the reactor until ``wanted()`` has its result, and return that.

    On Ctrl-C or SIGTERM ``stop`` is called, which has to bring the result about.
    """
    from twisted.internet import reactor

    running: Any = reactor
    outcomes: list[Any] = []
    stopping: list[bool] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(wanted()).addBoth(outcomes.append)
        running.addSystemEventTrigger("before", "shutdown", at_shutdown, done)
        done.addCallback(lambda _none: running.callLater(0, end))

    def end() -> None:
        if not stopping:
            running.stop()

    def at_shutdown(done: Deferred[Any]) -> Deferred[Any]:
        stopping.append(True)
        if not outcomes:
            stop()
        return done

    running.callWhenRunning(begin)
    running.run()
    (outcome,) = outcomes
    if isinstance(outcome, Failure):
        outcome.raiseException()
    result: T = outcome
    return result
