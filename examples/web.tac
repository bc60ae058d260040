"""Calls and a web server in one process: ``twistd -ny web.tac``.

It answers calls on UDP port 5060 with an echo.  On http://127.0.0.1:8080/ GET lists the calls
that are up, POST with a form field ``uri`` places one, DELETE of /SESSION hangs one up.
"""

import json

from twisted.application.service import Application, MultiService
from twisted.application.strports import service as listen
from twisted.web.resource import Resource
from twisted.web.server import Site

from sessioncore import Echo, SessionCoreError, SessionService, Settings, Tone


async def answer(call):
    call.ring()
    await call.answer(source=Echo())


class Calls(Resource):
    isLeaf = True

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def render_GET(self, request):
        return reply(request, 200, [shown(call) for call in self.calls.manager.calls])

    def render_POST(self, request):
        uri = request.args.get(b"uri", [b""])[0].decode("utf-8", "replace")
        try:
            call = self.calls.manager.call(uri, source=Tone())
        except SessionCoreError as error:
            return reply(request, 400, str(error))
        return reply(request, 201, shown(call))

    def render_DELETE(self, request):
        session = request.path.decode("ascii", "replace").removeprefix("/")
        for call in self.calls.manager.calls:
            if call.session == session:
                call.hang_up()
                return reply(request, 200, shown(call))
        return reply(request, 404, f"there is no call {session}")


def shown(call):
    verdict = call.verdict
    return {
        "session": call.session,
        "role": str(call.role),
        "remote": call.remote_uri,
        "media": str(call.media_state),
        "verdict": str(verdict.judgement),
        "sent": verdict.evidence.sent,
        "received": verdict.evidence.received,
    }


def reply(request, status, body):
    request.setResponseCode(status)
    request.setHeader("Content-Type", "application/json")
    return json.dumps(body).encode() + b"\n"


calls = SessionService(Settings(listen=("udp:5060",)), on_incoming=answer)
services = MultiService()
calls.setServiceParent(services)
listen("tcp:8080:interface=127.0.0.1", Site(Calls(calls))).setServiceParent(services)

application = Application("calls and web")
services.setServiceParent(application)
