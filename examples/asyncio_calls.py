"""A program written for asyncio that answers calls and places them.

Without arguments it answers on UDP port 5060 with an echo.  With SIP URIs it calls each, plays
440 Hz, and hangs up 3 s after audio ran both ways.
"""

import asyncio
import sys

from sessioncore import Echo, SessionManager, Settings, Tone, aio


@aio.handler
async def answer(call):
    call.ring()
    await asyncio.sleep(0.2)  # ask a database or a web service that speaks asyncio
    await call.answer(source=Echo())
    print("ended:", await call.when_ended())


async def main(reactor, *uris):
    listen = "udp:0" if uris else "udp:5060"
    manager = SessionManager(reactor, Settings(listen=(listen,)), on_incoming=answer)
    manager.add_event_sink(lambda event: print(event.role, event.name, event.media_state))
    await manager.start()
    print("listening on", manager.local_addresses[0])
    try:
        for uri in uris:
            call = manager.call(uri, source=Tone(frequencies=(440.0,)))
            async with asyncio.timeout(60):
                await call.when_two_way()
            await asyncio.sleep(3)
            print("ended:", await call.hang_up())
        if not uris:
            await asyncio.Event().wait()  # until Ctrl-C, which cancels main
    finally:
        await manager.stop()


if __name__ == "__main__":
    aio.react(main, sys.argv[1:])
