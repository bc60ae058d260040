"""A server as a Twisted application: it answers calls with an echo and logs what became of them.

Run it by ``twistd -ny sessioncore.tac``, or in the background without the ``n``.
"""

from twisted.application.service import Application
from twisted.logger import Logger

from sessioncore import Echo, SessionService, Settings
from sessioncore.events import MediaActive

log = Logger(namespace="example")


async def answer(call):
    call.ring()
    await call.answer(source=Echo())
    log.info("{uri}: {reason}", uri=call.remote_uri, reason=await call.when_ended())


def note(event):
    log.info("call {session}: audio both ways", session=event.session)


calls = SessionService(Settings(listen=("udp:5060",)), on_incoming=answer)
calls.add_event_sink(note, MediaActive)

application = Application("sessioncore")
calls.setServiceParent(application)
