"""Exceptions of callbacks: each is counted; each kind is logged once, with its traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["FaultLog"]

_MOST_KINDS: Final = 256


def _kind(error: BaseException) -> tuple[object, ...]:
    """The class of the error and the line that raised it."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    where = () if traceback is None else (traceback.tb_frame.f_code, traceback.tb_lineno)
    return (type(error), *where)


class FaultLog:
    """Prevents a fault that repeats with every datagram or tick from filling the disk.

    ``count`` is the number of errors.  Each kind (class and raising line) is logged once
    through `twisted.logger`, with its traceback; the number of kinds is limited.
    """

    __slots__ = ("_log", "_seen", "count")

    def __init__(self, log: Logger) -> None:
        self.count = 0
        self._log = log
        self._seen: set[tuple[object, ...]] = set()

    def caught(self, what: str, error: BaseException) -> None:
        """Count ``error``; log it with its traceback unless this kind was logged before."""
        self.count += 1
        kind = (what, *_kind(error))
        if kind in self._seen or len(self._seen) >= _MOST_KINDS:
            return
        self._seen.add(kind)
        self._log.failure(
            "{what}; further errors of this kind are only counted",
            failure=Failure(error),  # type: ignore[no-untyped-call]
            what=what,
        )

    def guard(self, what: str, callback: Callable[..., object], *arguments: object) -> None:
        """Call ``callback``; an `Exception` that it raises is `caught`."""
        try:
            callback(*arguments)
        except Exception as error:
            self.caught(what, error)
