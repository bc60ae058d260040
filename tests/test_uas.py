"""`UserAgentServer`, on the in-memory network."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sessioncore.errors import CallFailed, ConfigurationError
from sessioncore.interfaces import ICallHandler
from sessioncore.session.call import Call
from sessioncore.testing.network import FakeNetwork
from sessioncore.uac import UserAgentClient
from sessioncore.uas import UserAgentServer
from sessioncore.vocabulary import SessionRole


@implementer(ICallHandler)
class Busy:
    def incoming_call(self, call: Call) -> None:
        call.reject(486)


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork(seed=3)
        self.client = UserAgentClient(self.network.host("192.0.2.1"))
        self.successResultOf(self.client.start())

    def server(self, **wishes: Any) -> UserAgentServer:
        server = UserAgentServer(self.network.host("192.0.2.2"), **wishes)
        self.successResultOf(server.start())
        return server

    def test_answers_with_echo(self) -> None:
        server = self.server()
        call = self.client.call("sip:bob@192.0.2.2")
        self.network.advance(1)
        self.successResultOf(call.when_two_way())
        (incoming,) = server.calls
        self.assertIs(incoming.role, SessionRole.UAS)
        self.assertEqual(incoming.remote_rtp, call.local_rtp)
        self.assertEqual(incoming.call_id, call.call_id)
        self.assertEqual(server.local_addresses[0][1], 5060)
        stopped = server.stop()
        self.network.advance(1)
        self.assertEqual(self.successResultOf(stopped), 0)
        self.assertIn("remote", str(self.successResultOf(call.when_ended())))

    def test_a_handler_object(self) -> None:
        self.server(answer=Busy())
        call = self.client.call("sip:bob@192.0.2.2")
        self.network.advance(1)
        failed = self.failureResultOf(call.when_answered(), CallFailed)
        self.assertEqual(failed.value.status, 486)

    def test_a_coroutine(self) -> None:
        ended: list[str] = []

        async def answer(call: Call) -> None:
            await call.answer()
            ended.append(str(await call.when_ended()))

        self.server(answer=answer)
        call = self.client.call("sip:bob@192.0.2.2")
        self.network.advance(1)
        call.hang_up()
        self.network.advance(1)
        self.assertEqual(len(ended), 1)

    def test_a_port_in_use(self) -> None:
        self.server()
        second = UserAgentServer(self.network.host("192.0.2.2"))
        self.failureResultOf(second.start(), ConfigurationError)
