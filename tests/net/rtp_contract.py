"""Run by test_rtp in a process of its own for each reactor: two planes, one call, an echo.

python -m tests.net.rtp_contract epoll [udp]
"""

from __future__ import annotations

import importlib
import json
import random
import socket
import sys
import time
from contextlib import ExitStack
from typing import Any


def _eight_free_ports() -> int:
    """The first of some that nobody holds now."""
    while True:
        start = random.randrange(5_000, 15_000) * 2
        with ExitStack() as held:
            try:
                for port in range(start, start + 8):
                    sock = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return start


def main(name: str, kind: str) -> None:
    module = {"asyncio": "asyncioreactor", "epoll": "epollreactor", "poll": "pollreactor"}.get(
        name, "selectreactor"
    )
    importlib.import_module(f"twisted.internet.{module}").install()
    import numpy as np
    from twisted.internet import reactor as installed

    from sessioncore.media.plane import MediaPlane
    from sessioncore.media.sinks import Deliver
    from sessioncore.media.sources import Clip, Echo
    from sessioncore.net.clockwork import clockwork_for
    from sessioncore.net.rtp import EpollPacketIO, ReactorPacketIO
    from sessioncore.rtp.codecs.pcmu import PCMU
    from sessioncore.rtp.g711 import decode_ulaw, encode_ulaw
    from sessioncore.vocabulary import Direction, StreamAgreement

    reactor: Any = installed
    clockwork = clockwork_for(reactor)
    events: set[str] = set()
    start = _eight_free_ports()

    def make(ports: range) -> Any:
        return (
            EpollPacketIO(ports=ports) if kind == "epoll" else ReactorPacketIO(reactor, ports=ports)
        )

    planes = [
        MediaPlane(
            make(range(first, first + 4)),
            random_bits=random.getrandbits,
            ntp=lambda now: time.time_ns(),
            on_event=lambda stream, event, detail, now: events.add(event.name),
        )
        for first in (start, start + 4)
    ]
    now = clockwork.now()
    caller, echoer = (plane.open("127.0.0.1", now) for plane in planes)
    samples = np.random.default_rng(2).integers(-9000, 9000, 8000).astype(np.int16)
    heard: list[Any] = []
    caller.set_source(Clip(samples))
    caller.set_sink(Deliver(heard.append))
    echoer.set_source(Echo())
    for one, other in ((caller, echoer), (echoer, caller)):
        agreement = StreamAgreement(
            PCMU, 0, 0, one.local, other.local, other.local_rtcp, Direction.SENDRECV
        )
        one.establish(agreement, signalling_host="127.0.0.1", nat=None, now=now)
        one.sending.start(now, proven=True)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def tick(now: int) -> None:
        stranger.sendto(b"\x80\x00" + bytes(170), caller.local)
        for plane in planes:
            plane.tick(now)

    def finish() -> None:
        clockwork.remove_tick(tick)
        audio = np.concatenate(heard)
        spoken = decode_ulaw(encode_ulaw(samples))
        begin = int(np.flatnonzero(audio)[0]) if audio.any() else 0
        piece = audio[begin:]
        # The clip may have begun before the peer listened: find where its first frame lies.
        frames = [piece[at : at + 160] for at in range(0, len(piece) - 159, 160)]
        known = {spoken[at : at + 160].tobytes() for at in range(0, len(spoken), 160)}
        right = len({frame.tobytes() for frame in frames} & known)
        report = {
            "right": right / len(known),
            "strangers_heard": caller.statistics.packets_received - echoer.statistics.packets_sent
            if caller.statistics.packets_received > echoer.statistics.packets_sent
            else 0,
            "events": sorted(events - {"SOURCE_ENDED"}),
        }
        for plane in planes:
            plane.close(clockwork.now())
        clockwork.stop()
        print(json.dumps(report))
        reactor.callLater(0.05, reactor.stop)

    clockwork.start()
    clockwork.add_tick(tick)
    # The clip lasts 1 s; on a busy machine, frames of silence between its own delay it.
    reactor.callLater(2.5, finish)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "epoll")
