"""A Twisted application that answers calls and places them, in 20 lines.

Without arguments it answers on UDP port 5060 with an echo.  With SIP URIs it calls each, plays
440 Hz, and hangs up 3 s after audio ran both ways.
"""

import sys

from twisted.internet import task
from twisted.internet.defer import Deferred

from sessioncore import Echo, SessionManager, Settings, Tone


async def answer(call):
    call.ring()
    await call.answer(source=Echo())
    print("ended:", await call.when_ended())


async def main(reactor, *uris):
    listen = "udp:0" if uris else "udp:5060"
    manager = SessionManager(reactor, Settings(listen=(listen,)), on_incoming=answer)
    manager.add_event_sink(lambda event: print(event.role, event.name, event.media_state))
    await manager.start()
    reactor.addSystemEventTrigger("before", "shutdown", manager.stop)  # Ctrl-C: BYE first
    print("listening on", manager.local_addresses[0])
    for uri in uris:
        call = manager.call(uri, source=Tone(frequencies=(440.0,)))
        await call.when_two_way()
        await task.deferLater(reactor, 3.0)
        print("ended:", await call.hang_up())
    await (manager.stop() if uris else Deferred())


if __name__ == "__main__":
    task.react(lambda reactor, *uris: Deferred.fromCoroutine(main(reactor, *uris)), sys.argv[1:])
