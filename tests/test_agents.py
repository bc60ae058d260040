"""`UserAgentClient` and `UserAgentServer`, on the in-memory network."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sessioncore.agents import UserAgentClient, UserAgentServer
from sessioncore.errors import CallFailed, ConfigurationError
from sessioncore.interfaces import ICallHandler
from sessioncore.session.call import Call
from sessioncore.testing.network import FakeNetwork
from sessioncore.vocabulary import SessionRole


class ClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = FakeNetwork(seed=2)
        self.client = UserAgentClient(self.network.host("192.0.2.1"))
        self.successResultOf(self.client.start())

    def stop(self) -> None:
        stopped = self.client.stop()
        self.network.advance(5)
        self.assertEqual(self.successResultOf(stopped), 0)

    def test_calls(self) -> None:
        server = UserAgentServer(self.network.host("192.0.2.2"))
        self.successResultOf(server.start())
        call = self.client.call("sip:bob@192.0.2.2")
        self.network.advance(1)
        self.assertIs(self.successResultOf(call.when_two_way()), call)
        self.assertEqual(self.client.calls, [call])
        ended = call.hang_up()
        self.network.advance(1)
        self.successResultOf(ended)
        self.assertEqual((self.client.calls, server.calls), ([], []))
        self.stop()

    def test_takes_no_calls(self) -> None:
        ((_, port),) = self.client.manager.local_addresses
        other = UserAgentClient(self.network.host("192.0.2.2"))
        self.successResultOf(other.start())
        call = other.call(f"sip:us@192.0.2.1:{port}")
        self.network.advance(1)
        failed = self.failureResultOf(call.when_answered(), CallFailed)
        self.assertEqual(failed.value.status, 480)
        self.stop()

    def test_listens_on_a_free_port(self) -> None:
        second = UserAgentClient(self.network.host("192.0.2.1"))
        self.successResultOf(second.start())
        self.assertNotEqual(self.client.manager.local_addresses, second.manager.local_addresses)
        self.stop()

    def test_a_uri_that_cannot_be_called(self) -> None:
        self.assertRaises(ConfigurationError, self.client.call, "bob")
        self.stop()


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
