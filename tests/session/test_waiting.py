"""Coroutines that wait only now and then: the same as Twisted's own way, without its cost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.session.waiting import begin as begin_in

STEPS = st.lists(
    st.sampled_from(["come", "came to nothing", "pending", "will fail", "caught"]), max_size=6
)


class Entry:
    """Counts how often work went on, and whether it is at it."""

    def __init__(self) -> None:
        self.count = 0
        self.inside = False

    def __enter__(self) -> None:
        assert not self.inside
        self.count += 1
        self.inside = True

    def __exit__(self, *_: object) -> None:
        self.inside = False


def begin(work: Any) -> Any:
    return begin_in(work, Entry())


class Work:
    """A coroutine that awaits what `steps` say, and what became of it."""

    def __init__(self, steps: list[str], how: Any) -> None:
        self.story: list[Any] = []
        self.pending: list[tuple[Deferred[Any], bool]] = []
        self.done: Deferred[None] | None = how(self.run(steps))
        if self.done is not None:
            self.done.addBoth(lambda result: self.story.append(("end", _value(result))))
        else:
            self.story.append(("end", "None"))

    async def run(self, steps: list[str]) -> None:
        for number, step in enumerate(steps):
            try:
                self.story.append(await self._inner(step, number))
            except ValueError as error:
                self.story.append(str(error))
                if step != "caught":
                    raise

    async def _inner(self, step: str, number: int) -> Any:
        return await self._awaited(step, number)

    def _awaited(self, step: str, number: int) -> Deferred[Any]:
        if step == "come":
            return succeed(number)
        if step in ("came to nothing", "caught"):
            return fail(ValueError(f"{number}"))
        waited: Deferred[Any] = Deferred()
        self.pending.append((waited, step == "pending"))
        return waited

    def go_on(self) -> None:
        while self.pending:
            waited, well = self.pending.pop()
            waited.callback("later") if well else waited.errback(ValueError("late"))


def _value(result: Any) -> Any:
    return str(getattr(result, "value", result))


class BeginTests(SynchronousTestCase):
    @given(STEPS)
    def test_as_fromcoroutine(self, steps: list[str]) -> None:
        ours, theirs = Work(steps, begin), Work(steps, Deferred.fromCoroutine)
        if ours.done is not None:
            self.assertEqual(ours.story, theirs.story)
            ours.go_on(), theirs.go_on()
        self.assertEqual(str(ours.story), str(theirs.story))

    def test_nothing_to_wait_for_needs_no_deferred(self) -> None:
        self.assertIsNone(Work([], begin).done)
        self.assertIsNone(Work(["come", "caught"], begin).done)
        self.assertIsNotNone(Work(["pending"], begin).done)

    def test_cancelling_reaches_what_is_waited_for(self) -> None:
        waited: Deferred[None] = Deferred()

        async def work() -> None:
            await waited

        working = begin(work())
        assert working is not None
        working.cancel()
        self.failureResultOf(working, CancelledError)
        self.assertTrue(waited.called)

    def test_each_time_it_goes_on_is_an_entry(self) -> None:
        entry, waits = Entry(), [Deferred[None]() for _ in range(3)]
        went_on: list[bool] = []

        async def work() -> None:
            for waited in waits:
                await waited
                went_on.append(entry.inside)

        begin_in(work(), entry)
        self.assertEqual(entry.count, 0)  # the first steps belong to whoever began it
        for number, waited in enumerate(waits, 1):
            waited.callback(None)
            self.assertEqual((entry.count, entry.inside), (number, False))
        self.assertEqual(went_on, [True] * 3)
