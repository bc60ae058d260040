"""Run by test_sip_udp in a process of its own for each reactor: calls to where nobody is.

python -m tests.net.icmp_contract epoll 127.0.0.1
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
import time
from functools import partial
from typing import Any


def main(name: str, host: str) -> None:
    module = {"asyncio": "asyncioreactor", "epoll": "epollreactor", "poll": "pollreactor"}.get(
        name, "selectreactor"
    )
    importlib.import_module(f"twisted.internet.{module}").install()
    from twisted.internet import reactor as installed
    from twisted.internet import task
    from twisted.internet.defer import Deferred

    from sessioncore.errors import CallFailed
    from sessioncore.manager import SessionManager
    from sessioncore.net.sip_port import SipPort
    from sessioncore.settings import Settings

    reactor: Any = installed
    report: dict[str, Any] = {"reactor": type(reactor).__name__}
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    interface = host.replace(":", "\\:")
    shown = f"[{host}]" if ":" in host else host

    def manager(answer: Any = None) -> Any:
        listen = f"udp:0:interface={interface}"
        return SessionManager(reactor, Settings(listen=(listen,)), on_incoming=answer)

    def closed_port() -> int:
        with socket.socket(family, socket.SOCK_DGRAM) as bound:
            bound.bind((host, 0))
            return int(bound.getsockname()[1])

    async def run() -> None:
        caller, callee = manager(), manager(lambda call: call.answer())
        await caller.start()
        await callee.start()
        begin = time.monotonic()
        call = caller.call(f"sip:nobody@{shown}:{closed_port()}")
        try:
            await call.when_answered()
        except CallFailed as error:
            report["status"], report["by"] = error.status, str(error.reason.by)
        report["seconds"] = time.monotonic() - begin
        # Nothing is left in the queue that would keep the reactor busy.
        (port,) = [each for each in reactor.getReaders() if isinstance(each, SipPort)][:1]
        reads: list[int] = []
        read, port.doRead = port.doRead, partial(reads.append, 1)
        await task.deferLater(reactor, 0.1)
        port.doRead = read
        report["idle reads"] = len(reads)
        # Errors about one peer cost another nothing, and the socket goes on.
        good = caller.call(f"sip:bob@{shown}:{callee.local_addresses[0][1]}")
        flow = caller._transports[0].flow
        for _ in range(200):
            flow.send(b"to nobody", (host, closed_port()))
        await good.when_two_way()
        report["failed sends"] = flow.failed
        reason = await good.hang_up()
        report["good"] = reason.text
        await callee.stop()
        await caller.stop()
        report["faults"] = caller._transports[0].errors

    def over(result: Any) -> None:
        if result is not None:
            report["error"] = str(result)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()).addBoth(over))
    reactor.callLater(20, reactor.stop)
    reactor.run()
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
