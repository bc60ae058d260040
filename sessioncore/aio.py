"""Native asyncio code and `SessionManager` in one program, under Twisted's asyncio reactor.

With ``AsyncioSelectorReactor`` both share one event loop.  A coroutine that Twisted runs still
cannot await a future of asyncio, and a task of asyncio cannot await a Deferred.  `handler`,
`deferred` and `react` run a coroutine as a task that can await both; `future` makes a Deferred
usable with ``asyncio.gather`` or ``asyncio.wait_for``.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorAlreadyInstalledError
from twisted.python.failure import Failure

from sessioncore.errors import ConfigurationError

if TYPE_CHECKING:
    from sessioncore.session.call import Call

__all__ = ["deferred", "future", "handler", "react"]

T = TypeVar("T")


def handler(decide: Callable[[Call], Coroutine[Any, Any, T]]) -> Callable[[Call], Deferred[T]]:
    """Make ``decide``, an ``async def`` function, usable as ``on_incoming``; also a decorator.

    It can await futures of asyncio and the Deferreds of a call, in any order.  An exception
    has the same effect as in any other handler; a cancellation after the end of the call does
    not count as one.  Wrap a bound method: ``on_incoming=handler(self.answer)``.
    """

    @wraps(decide)
    def incoming(call: Call) -> Deferred[T]:
        running: Deferred[Any] = deferred(decide(call))
        return running.addErrback(_unless_over, call)

    return incoming


def deferred(coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run ``coroutine`` as an asyncio task that can also await Deferreds.

    Fires with its result, or fails with its exception; cancelling it cancels the task.
    The task begins in the next turn of the event loop.  Raises `ConfigurationError` if no
    asyncio event loop is running.
    """
    return Deferred.fromFuture(_task(coroutine))


def future(awaited: Deferred[T]) -> asyncio.Future[T]:
    """A future of the running event loop with the result of ``awaited``, which it consumes.

    Cancelling it cancels the Deferred.  Raises `ConfigurationError` if no asyncio event loop
    is running.
    """
    return awaited.asFuture(_running_loop())


def react(main: Callable[..., Coroutine[Any, Any, None]], argv: Iterable[object] = ()) -> NoReturn:
    """``twisted.internet.task.react`` for a ``main`` that can also await futures of asyncio.

    Installs the asyncio reactor, runs ``main(reactor, *argv)``, and exits.  A signal cancels
    ``main``, as with ``asyncio.run``, and the reactor waits until it has ended; so put
    ``await manager.stop()`` into a ``finally``.  Then all other tasks are cancelled.  Raises
    `ConfigurationError` if another reactor is installed already.
    """
    from twisted.internet import asyncioreactor

    try:
        asyncioreactor.install()  # type: ignore[no-untyped-call]
    except ReactorAlreadyInstalledError:
        pass  # `begin` checks which one it is

    def begin(reactor: Any, *words: object) -> Deferred[None]:
        if not isinstance(reactor, asyncioreactor.AsyncioSelectorReactor):
            raise ConfigurationError(
                f"{type(reactor).__name__} is installed already; call react before anything"
                " imports twisted.internet.reactor"
            )
        # The reactor starts up before its loop runs.
        started: Deferred[None] = task.deferLater(reactor, 0)
        return started.addCallback(lambda _: _main(reactor, main(reactor, *words)))

    task.react(begin, argv)


def _main(reactor: Any, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
    """Run the main function, and end it before the reactor stops."""
    running = _task(coroutine)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: deferred(_end(running)))
    return Deferred.fromFuture(running).addErrback(_only_cancelled)


async def _end(running: asyncio.Task[None]) -> None:
    """Cancel the main function and wait for it, then do the same with all other tasks."""
    running.cancel()
    await asyncio.wait([running])
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for each in left:
        each.cancel()
    if left:
        await asyncio.wait(left)


def _unless_over(failure: Failure, call: Call) -> Any:
    """Cancelling a handler after the end of its call is not a failure."""
    if call.end_reason is not None and isinstance(failure.value, asyncio.CancelledError):
        return None
    return failure


def _only_cancelled(failure: Failure) -> None:
    failure.trap(asyncio.CancelledError)  # type: ignore[no-untyped-call]


def _task(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task for ``coroutine`` that can await Deferreds."""
    try:
        loop = _running_loop()
    except ConfigurationError:
        coroutine.close()  # otherwise Python warns that it was never awaited
        raise
    return loop.create_task(_with_deferreds(coroutine, loop))


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "no asyncio event loop is running; use Twisted's asyncio reactor, e.g. by"
            " `twistd --reactor=asyncio` or `sessioncore.aio.react`"
        ) from None


@types.coroutine
def _with_deferreds(
    coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop
) -> Generator[Any, Any, T]:
    """Run ``coroutine``: pass its futures to the task, and its Deferreds as futures."""
    resume: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731
    while True:
        try:
            awaited = resume()
        except StopIteration as done:
            returned: T = done.value
            return returned
        try:
            if isinstance(awaited, Deferred):
                yield from _fired(awaited, loop)
                value = None  # an awaited Deferred returns its result itself
            else:
                value = yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            resume = _raising(coroutine, error)
        else:
            resume = _sending(coroutine, value)


def _fired(awaited: Deferred[Any], loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """A future that is done once ``awaited`` has fired; cancelling it cancels ``awaited``.

    ``awaited`` keeps its result.
    """
    woken: asyncio.Future[None] = loop.create_future()

    def wake(result: object) -> object:
        if woken.cancelled():
            return None  # nobody waits for the failure that the cancellation caused
        woken.set_result(None)
        return result

    def cancel(done: asyncio.Future[None]) -> None:
        if done.cancelled():
            awaited.cancel()

    awaited.addBoth(wake)
    woken.add_done_callback(cancel)
    return woken


def _sending(coroutine: Coroutine[Any, Any, Any], value: object) -> Callable[[], Any]:
    return lambda: coroutine.send(value)


def _raising(coroutine: Coroutine[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(error)
