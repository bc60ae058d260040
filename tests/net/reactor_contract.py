"""Run by test_clockwork in a process of its own for each reactor: what a clockwork does there.

python -m tests.net.reactor_contract epoll
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any


def main(name: str) -> None:
    module = {"asyncio": "asyncioreactor", "epoll": "epollreactor", "poll": "pollreactor"}.get(
        name, "selectreactor"
    )
    importlib.import_module(f"twisted.internet.{module}").install()
    from twisted.internet import reactor as installed

    from sessioncore.net.clockwork import clockwork_for
    from sessioncore.vocabulary import MILLISECOND, SECOND

    reactor: Any = installed
    clockwork = clockwork_for(reactor)
    report: dict[str, Any] = {
        "reactor": type(reactor).__name__,
        "clockwork": type(clockwork).__name__,
        "order": [],
    }
    order = report["order"]

    def tick(now: int) -> None:
        if clockwork.ticks == 3:
            raise ZeroDivisionError("in a tick")
        if clockwork.ticks == 20:
            order.append("ticked")
            clockwork.remove_tick(tick)
            report["ticks"] = clockwork.ticks
            clockwork.deadlines.at(now + 20 * MILLISECOND, after_the_last_tick, now)

    def after_the_last_tick(last_tick: int, now: int) -> None:
        order.append("quiet")
        report["early"] = now < last_tick + 20 * MILLISECOND
        report["ticks after stopping"] = clockwork.ticks - report["ticks"]
        # Nothing is due now: the descriptor has to stay silent.
        wakeups: list[int] = []
        real: Any = clockwork
        read = real.doRead

        def count() -> None:
            wakeups.append(1)
            read()

        real.doRead = count
        reactor.callLater(0.05, stop, wakeups)

    def stop(wakeups: list[int]) -> None:
        report["idle wake-ups"] = len(wakeups)
        clockwork.deadlines.at(clockwork.now() - SECOND, lambda _, now: order.append("overdue"))
        clockwork.stop()
        report["readers left"] = clockwork in reactor.getReaders()
        reactor.callLater(0.02, again)

    def finish(_: object, now: int) -> None:
        order.append("finish")
        reactor.stop()

    def again() -> None:
        order.append("again")
        clockwork.start()
        clockwork.deadlines.at(clockwork.now() + MILLISECOND, restart)

    def restart(_: object, now: int) -> None:
        order.append("restart")
        clockwork.stop()
        os.dup(0)  # or the new descriptor would have the old number
        clockwork.start()
        clockwork.deadlines.at(clockwork.now() + MILLISECOND, finish)

    clockwork.deadlines.at(clockwork.now(), lambda _, now: order.append("deadline"))
    clockwork.add_tick(tick)
    reactor.callWhenRunning(clockwork.start)
    reactor.callLater(30, order.append, "too late")
    reactor.callLater(30, reactor.stop)
    reactor.run()
    report["faults"] = clockwork.faults.count
    report["running"] = clockwork.running
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
