"""`UserAgentClient`, on the in-memory network."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import CallFailed, ConfigurationError
from sessioncore.testing.network import FakeNetwork
from sessioncore.uac import UserAgentClient
from sessioncore.uas import UserAgentServer


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
