"""`sessioncore.aio`: one coroutine awaits asyncio's futures and Deferreds."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import CallFailed, ConfigurationError, Echo, SessionManager, Tone, aio
from sessioncore.testing.network import FakeNetwork
from sessioncore.vocabulary import MediaState


async def turns(count: int = 5) -> None:
    """Let the event loop run what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


def outcome(fired: Deferred[Any]) -> list[Any]:
    """Gets the result of ``fired``, or its failure, once it has one."""
    got: list[Any] = []
    fired.addBoth(got.append)
    return got


class AwaitingTests(SynchronousTestCase):
    def play(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(scenario())

    def test_both_kinds_in_one_coroutine(self) -> None:
        async def scenario() -> None:
            loop = asyncio.get_running_loop()
            first: Deferred[int] = Deferred()
            second = loop.create_future()

            async def work() -> int:
                now = await succeed(1)
                await asyncio.sleep(0)
                return now + await first + await second

            got = outcome(aio.deferred(work()))
            await turns()
            first.callback(10)
            await turns()
            self.assertEqual(got, [])
            second.set_result(100)
            await turns()
            self.assertEqual(got, [111])

        self.play(scenario)

    def test_failures_arrive_where_they_are_awaited(self) -> None:
        async def scenario() -> None:
            async def work() -> list[str]:
                caught = []
                later = asyncio.get_running_loop().create_future()
                later.set_exception(KeyError("future"))
                for broken in (fail(ValueError("deferred")), later):
                    try:
                        await broken
                    except (KeyError, ValueError) as error:
                        caught.append(str(error.args[0]))
                return caught

            got = outcome(aio.deferred(work()))
            await turns()
            self.assertEqual(got, [["deferred", "future"]])

            async def breaks() -> None:
                await fail(OSError("unheard"))

            got = outcome(aio.deferred(breaks()))
            await turns()
            self.assertIsInstance(got[0], Failure)
            self.assertEqual(str(got[0].value), "unheard")

        self.play(scenario)

    def test_cancelling_reaches_what_is_awaited(self) -> None:
        async def scenario() -> None:
            cancelled: list[str] = []
            awaited: Deferred[None] = Deferred(lambda _: cancelled.append("deferred"))

            async def work() -> None:
                try:
                    await awaited
                except asyncio.CancelledError:
                    cancelled.append("task")
                    raise

            running = aio.deferred(work())
            got = outcome(running)
            await turns()
            running.cancel()
            await turns()
            self.assertEqual(sorted(cancelled), ["deferred", "task"])
            self.assertEqual(len(got), 1)
            gc.collect()
            self.assertEqual(self.flushLoggedErrors(), [], "nobody waits for that failure")

        self.play(scenario)

    def test_timeouts_and_gather(self) -> None:
        async def scenario() -> None:
            never: Deferred[None] = Deferred()
            other: Deferred[None] = Deferred()

            async def work() -> tuple[Any, ...]:
                try:
                    async with asyncio.timeout(0):
                        await never
                except TimeoutError:
                    pass
                try:
                    await asyncio.wait_for(aio.future(other), 0)
                except TimeoutError:
                    pass
                return tuple(await asyncio.gather(aio.future(succeed(1)), asyncio.sleep(0, 2)))

            got = outcome(aio.deferred(work()))
            while not got:
                await asyncio.sleep(0)
            self.assertEqual(got, [(1, 2)])
            # Both were told that nobody waits any more.
            for cancelled in (never, other):
                self.assertTrue(cancelled.called)

        self.play(scenario)

    def test_a_deferred_that_somebody_else_cancels_is_a_failure_and_no_end(self) -> None:
        async def scenario() -> None:
            waited: Deferred[None] = Deferred()

            async def work() -> str:
                try:
                    await waited
                except CancelledError:
                    return "went on"
                return "not cancelled"

            got = outcome(aio.deferred(work()))
            await turns()
            waited.cancel()
            await turns()
            self.assertEqual(got, ["went on"])

        self.play(scenario)

    def test_without_a_loop(self) -> None:
        async def work() -> None:
            raise AssertionError("it ran")

        error = self.assertRaises(ConfigurationError, aio.deferred, work())
        self.assertIn("twistd --reactor=asyncio", str(error))
        self.assertRaises(ConfigurationError, aio.future, Deferred())
        self.assertEqual(self.flushWarnings(), [], "the coroutine was closed")

    def test_another_reactor_is_installed_already(self) -> None:
        import twisted.internet.reactor

        self.assertIn("twisted.internet.reactor", sys.modules)

        async def main(_reactor: Any) -> None:
            raise AssertionError("it ran")

        error = self.assertRaises(ConfigurationError, aio.react, main)
        self.assertIn(type(twisted.internet.reactor).__name__, str(error))


class EndTests(SynchronousTestCase):
    """How a reactor that is told to stop ends the main function of `react`."""

    def test_the_main_function_first_and_only_once(self) -> None:
        said: list[str] = []

        async def left_over() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                said.append("left over ended")

        async def main() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0.001)  # as `await manager.stop()`
                said.append("main ended")

        async def scenario() -> None:
            other = asyncio.create_task(left_over())
            running = asyncio.create_task(main())
            await turns()
            await aio._end(running)
            self.assertTrue(other.cancelled() and running.cancelled())

        asyncio.run(scenario())
        self.assertEqual(said, ["main ended", "left over ended"])


class HandlerTests(SynchronousTestCase):
    """Handlers on the in-memory network, which moves inside a running event loop."""

    async def during(self, network: FakeNetwork, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            network.advance(0.05)
            await turns()

    def managers(self, answer: Any) -> tuple[FakeNetwork, SessionManager, SessionManager]:
        network = FakeNetwork(seed=8)
        callee = SessionManager(network.host("192.0.2.2"), on_incoming=answer)
        caller = SessionManager(network.host("192.0.2.1"))
        for manager in (callee, caller):
            self.successResultOf(manager.start())
        return network, caller, callee

    def test_it_answers_after_it_awaited_asyncio(self) -> None:
        seen: list[object] = []

        async def scenario() -> None:
            allowed = asyncio.get_running_loop().create_future()

            @aio.handler
            async def answer(call: Any) -> None:
                """Asks somebody, then answers."""
                call.ring()
                seen.append(await allowed)
                await call.answer(source=Echo())
                await asyncio.sleep(0)
                seen.append(await call.when_ended())

            self.assertEqual(answer.__doc__, "Asks somebody, then answers.")
            network, caller, _ = self.managers(answer)
            call = caller.call("sip:bob@192.0.2.2", source=Tone())
            await self.during(network, 0.2)
            self.assertEqual(seen, [])
            allowed.set_result("welcome")
            await self.during(network, 0.5)
            self.assertIs(call.media_state, MediaState.ACTIVE)
            call.hang_up()
            await self.during(network, 0.2)

        asyncio.run(scenario())
        self.assertEqual(seen[0], "welcome")
        self.assertIn("the peer hung up", str(seen[1]))

    def test_cancelled_after_the_call_it_has_not_failed(self) -> None:
        async def scenario() -> None:
            never = asyncio.get_running_loop().create_future()

            @aio.handler
            async def answer(call: Any) -> None:
                await call.answer(source=Echo())
                await asyncio.shield(never)

            network, caller, callee = self.managers(answer)
            before = asyncio.all_tasks()
            for user in ("bob", "carol"):
                call = caller.call(f"sip:{user}@192.0.2.2", source=Tone())
                await self.during(network, 0.3)
                if user == "bob":
                    call.hang_up()
                    await self.during(network, 0.3)
                (running,) = asyncio.all_tasks() - before
                running.cancel()
                await self.during(network, 0.3)
                # While the call was up, it is a failure like any other, and ends the call.
                errors = len(self.flushLoggedErrors(asyncio.CancelledError))
                self.assertEqual(errors, 0 if user == "bob" else 1)
                self.assertEqual(callee.calls, [])

        asyncio.run(scenario())

    def test_one_that_raises_answers_500(self) -> None:
        async def scenario() -> None:
            @aio.handler
            async def answer(call: Any) -> None:
                await asyncio.sleep(0)
                raise KeyError("no such user")

            network, caller, callee = self.managers(answer)
            waiting = outcome(caller.call("sip:bob@192.0.2.2").when_answered())
            await self.during(network, 0.3)
            self.assertIsInstance(waiting[0].value, CallFailed)
            self.assertEqual(waiting[0].value.reason.status, 500)
            self.assertEqual(callee.statistics().calls["handler_errors"], 1)

        asyncio.run(scenario())
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
