"""Run by test_udp_sender for each reactor: sends to a collector that goes and comes back.

python -m tests.net.udp_sender_contract epoll
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
from typing import Any

from twisted.internet.task import deferLater


def main(name: str) -> None:
    """Print what was received, and what was counted as lost, after each step."""
    module = {"asyncio": "asyncioreactor", "epoll": "epollreactor", "poll": "pollreactor"}.get(
        name, "selectreactor"
    )
    importlib.import_module(f"twisted.internet.{module}").install()
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred

    from sessioncore.net.udp_sender import UdpSender

    reactor: Any = installed
    seen: list[tuple[int, int]] = []

    def opened(port: int = 0) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", port))
        made.setblocking(False)
        return made

    def received(collector: socket.socket | None) -> int:
        count = 0
        while collector is not None:
            try:
                collector.recv(65_536)
            except BlockingIOError:
                break
            count += 1
        return count

    async def run() -> None:
        collector = opened()
        port = collector.getsockname()[1]
        sender = UdpSender(reactor, "127.0.0.1", port, "--hep")
        sender.start()
        for there in (True, False, True):
            if not there:
                collector.close()
            elif collector.fileno() < 0:
                collector = opened(port)
            for _ in range(5):
                sender.send(b"x" * 1000)
                await deferLater(reactor, 0.02)
            seen.append((received(collector if there else None), sender.lost))
        sender.send(b"x" * 70_000)
        seen.append((0, sender.lost))
        await sender.stop()
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()).addErrback(lambda f: print(f)))
    reactor.run()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
