"""One side of a call in a process of its own, over the API that ``api`` names.

    peer.py manager|agents uas RECORDING
    peer.py manager|agents uac RECORDING PORT

Prints JSON lines: where it listens, every event, how the media stands once it is two-way, and
at the end what it heard of the other side's hang-up.  Ends when the one call has ended.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred

from sessioncore.agents import UserAgentClient, UserAgentServer
from sessioncore.manager import SessionManager
from sessioncore.media.sinks import Record
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.watching.event_log import json_line

SETTINGS = Settings(listen=("udp:0:interface=127.0.0.1",))
SECONDS = 2.0


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def two_way(call: Call) -> None:
    """Tell how the media stands once it runs in both directions."""
    await call.when_two_way()
    say(
        two_way={
            "state": str(call.media_state),
            "local": call.local_rtp,
            "remote": call.remote_rtp,
            "transmitting": call.transmitting,
            "negotiated": str(call.negotiated_media),
        }
    )


class Callee:
    """Answers the one call with a tone and a recording."""

    def __init__(self, recording: str) -> None:
        self.recording = recording
        self.ended: Deferred[str] = Deferred()

    async def answer(self, call: Call) -> None:
        call.ring()
        await call.answer(source=Tone(frequencies=(1000.0,)), sink=Record(self.recording))
        await two_way(call)
        self.ended.callback(str(await call.when_ended()))


async def uas(api: str, reactor: Any, recording: str) -> None:
    callee = Callee(recording)
    if api == "manager":
        manager = server = SessionManager(reactor, SETTINGS, on_incoming=callee.answer)
    else:
        server = UserAgentServer(reactor, SETTINGS, answer=callee.answer)  # type: ignore[assignment]
        manager = server.manager  # type: ignore[attr-defined]
    manager.add_event_sink(lambda event: print(json_line(event), end="", flush=True))
    await server.start()
    say(listening=server.local_addresses[0])
    reason = await callee.ended
    say(given_up=await server.stop())
    say(ended=reason)


async def uac(api: str, reactor: Any, recording: str, port: str) -> None:
    if api == "manager":
        manager = client = SessionManager(reactor, SETTINGS)
    else:
        client = UserAgentClient(reactor, SETTINGS)  # type: ignore[assignment]
        manager = client.manager  # type: ignore[attr-defined]
    manager.add_event_sink(lambda event: print(json_line(event), end="", flush=True))
    await client.start()
    call = client.call(
        f"sip:callee@127.0.0.1:{port}",
        source=Tone(frequencies=(440.0,)),
        sink=Record(recording),
    )
    await call.when_answered()
    await two_way(call)
    await task.deferLater(reactor, SECONDS)
    reason = str(await call.hang_up())
    say(given_up=await client.stop())
    say(ended=reason)


if __name__ == "__main__":
    side = {"uas": uas, "uac": uac}[sys.argv[2]]
    task.react(
        lambda reactor: Deferred.fromCoroutine(side(sys.argv[1], reactor, *sys.argv[3:]))  # type: ignore[operator]
    )
