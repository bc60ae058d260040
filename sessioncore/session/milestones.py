"""Milestones, which a call reaches once or never, and the Deferreds that wait for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred, fail, succeed

from sessioncore.errors import CallFailed
from sessioncore.vocabulary import EndReason

__all__ = ["Later", "Milestone", "Milestones"]

Later: TypeAlias = Callable[[Callable[[Any], object], Any], None]
"""Takes a function and its argument, and calls it at the end of the entry."""


class Milestone:
    """An outcome that comes once or never; later waits get it at once."""

    __slots__ = ("_outcome", "_waiting")

    def __init__(self) -> None:
        self._outcome: object = None
        self._waiting: list[Deferred[Any]] | None = None

    @property
    def settled(self) -> bool:
        """Whether the outcome is known."""
        return self._outcome is not None

    def wait(self) -> Deferred[Any]:
        """A new Deferred for the outcome; cancelling it ends this wait and nothing else."""
        if isinstance(self._outcome, Exception):
            return fail(self._outcome)
        if self._outcome is not None:
            return succeed(self._outcome)
        if self._waiting is None:
            self._waiting = []
        waiting: Deferred[Any] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def settle(self, outcome: object, later: Later | None = None) -> None:
        """Set the outcome; only the first one counts.  An Exception fails the Deferreds.

        The Deferreds fire now, or through ``later``.
        """
        if self._outcome is not None:
            return
        self._outcome = outcome
        waiting, self._waiting = self._waiting, None
        if waiting and later is None:
            _fire((waiting, outcome))
        elif waiting:
            assert later is not None
            later(_fire, (waiting, outcome))


def _fire(who_and_what: tuple[list[Deferred[Any]], object]) -> None:
    waiting, outcome = who_and_what
    while waiting:
        deferred = waiting.pop(0)  # a callback may cancel another one
        if isinstance(outcome, Exception):
            deferred.errback(outcome)
        else:
            deferred.callback(outcome)


_REACHED: Final = "reached"
REACHED: Final = Milestone()
"""A milestone that was reached; shared by all calls, because it has no data of a call."""
REACHED.settle(_REACHED)


class Milestones:
    """The milestones of one call; None is a milestone that was neither reached nor asked for.

    A milestone is set at once; the Deferreds that wait for it fire through ``later``.
    """

    _answered: Milestone | None = None
    _media_ready: Milestone | None = None
    _two_way: Milestone | None = None
    _ended: Milestone | EndReason | None = None
    _asked_for: tuple[Milestone, ...] = ()

    def when_answered(self) -> Deferred[Any]:
        """The first 200 OK was written or read."""
        self._answered = waited = self._answered or self._ask()
        return waited.wait()

    def when_media_ready(self) -> Deferred[Any]:
        """The media flow is established."""
        self._media_ready = waited = self._media_ready or self._ask()
        return waited.wait()

    def when_two_way(self) -> Deferred[Any]:
        """Media was seen in both directions."""
        self._two_way = waited = self._two_way or self._ask()
        return waited.wait()

    def when_ended(self) -> Deferred[EndReason]:
        """The call is over."""
        if isinstance(self._ended, EndReason):
            return succeed(self._ended)
        self._ended = waited = self._ended or Milestone()
        return waited.wait()

    def _ask(self) -> Milestone:
        """A milestone that is not reached yet; after the end of the call it has failed."""
        milestone = Milestone()
        if isinstance(self._ended, EndReason):
            milestone.settle(CallFailed(self._ended))
        else:
            self._asked_for = (*self._asked_for, milestone)
        return milestone

    def reach_answer(self, later: Later) -> None:
        """The first 200 OK was written or read."""
        waited, self._answered = self._answered, REACHED
        if waited is not None:
            waited.settle(_REACHED, later)

    def reach_media(self, later: Later) -> None:
        """The media flow is established."""
        waited, self._media_ready = self._media_ready, REACHED
        if waited is not None:
            waited.settle(_REACHED, later)

    def reach_two_way(self, later: Later) -> None:
        """Media was seen in both directions."""
        if self._two_way is None:
            self._two_way = REACHED
        else:
            self._two_way.settle(_REACHED, later)

    def miss_two_way(self, why: Exception, later: Later) -> None:
        """The two sides agreed on one direction or none."""
        self._two_way = self._two_way or Milestone()
        self._two_way.settle(why, later)

    def reach_end(self, reason: EndReason, later: Later) -> None:
        """The call is over; all milestones that were not reached fail."""
        waited, self._ended = self._ended, reason
        for milestone in self._asked_for:
            milestone.settle(CallFailed(reason), later)
        if isinstance(waited, Milestone):
            waited.settle(reason, later)
