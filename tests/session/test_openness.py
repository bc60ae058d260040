"""What the house is open for, each by one small extension: a method, a transport.

That a codec takes one file is shown in `tests.media`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sessioncore.errors import ConfigurationError, UnreachableTarget
from sessioncore.interfaces import ISipFlow, ISipTransport
from sessioncore.manager import SessionManager
from sessioncore.session.methods import METHODS, Method
from sessioncore.sip.flows import Target
from sessioncore.testing import messages
from sessioncore.vocabulary import EndedBy, MediaState
from tests.session.scene import A, B, C, Caller, Scene, answer, parsed


def _ping(rooms: Any, tx: Any, now: int) -> None:
    tx.respond(200, headers=((b"X-Where", b"outside"),), now=now)


def _ping_within(rooms: Any, leg: Any, usage: Any, tx: Any, now: int) -> None:
    tx.respond(200, headers=((b"X-Where", leg.name.encode()),), now=now)


PING = Method(
    b"PING",
    outside=_ping,
    within=_ping_within,
    early=False,
    bodies=(b"text/ping",),
    extensions=(b"ping",),
)


OUTSIDE_ONLY = Method(b"PONG", outside=_ping)
WITHIN_ONLY = Method(b"PENG", within=_ping_within)


class MethodTests(Scene):
    """One row makes a method: Allow, Accept, Supported, 405, 415 and 420 follow."""

    def setUp(self) -> None:
        super().setUp()
        self.them = self.peer(C)
        self.us = SessionManager(
            self.network.host(B),
            on_incoming=lambda call: self.decide(call),
            methods=(*METHODS, PING, OUTSIDE_ONLY, WITHIN_ONLY),
        )
        self.decide: Any = answer
        self.successResultOf(self.us.start())
        self.caller = Caller(self.them)

    def tearDown(self) -> None:
        self.us.stop(0.0)
        self.run_for(0.1)
        super().tearDown()

    def asked(self, method: str, number: int, **given: Any) -> Any:
        who = self.caller.who
        branch = f"z9hG4bK-{method}-{number}"
        self.caller.send(messages.request(method, who, branch=branch, sequence=number, **given))
        self.run_for(0.01)
        return parsed(self.them.take()[-1])

    def test_it_is_answered_and_advertised(self) -> None:
        got = self.asked("PING", 1)
        self.assertEqual((got.status, got.first(b"X-Where")), (200, b"outside"))
        options = self.asked("OPTIONS", 2)
        self.assertIn(b"PING", options.first(b"Allow"))
        self.assertEqual(options.first(b"Accept"), b"application/sdp, multipart/mixed, text/ping")
        self.assertEqual(options.first(b"Supported"), b"ping")
        self.assertIn(b"PING", self.asked("REFER", 3).first(b"Allow"))

    def test_what_it_takes(self) -> None:
        got = self.asked("PING", 1, body=b"x", content_type="text/plain")
        self.assertEqual((got.status, got.first(b"Accept")), (415, b"text/ping"))
        self.assertEqual(self.asked("PING", 2, body=b"x", content_type="text/ping").status, 200)
        self.assertEqual(self.asked("PING", 3, headers=(("Require", "ping"),)).status, 200)
        self.assertEqual(self.asked("PING", 4, headers=(("Require", "pong"),)).status, 420)

    def test_within_a_dialog_and_not_in_an_early_one(self) -> None:
        self.decide = lambda call: call.ring()
        self.caller.invite()
        self.run_for(0.01)
        (call,) = self.us.calls
        self.caller.answer = self.them.last(b"SIP/2.0 180")
        self.caller.within("PING")
        self.run_for(0.01)
        self.assertEqual(self.them.lines()[-1], "481 PING")
        call.answer()
        self.run_for(0.01)
        self.caller.ack()
        self.caller.within("PING")
        self.run_for(0.01)
        got = parsed(self.them.take()[-1])
        self.assertEqual((got.status, got.first(b"X-Where")), (200, call.session.encode()))

    def test_a_row_for_one_place_only(self) -> None:
        self.assertEqual(self.asked("PENG", 1).status, 481)
        self.assertEqual(self.asked("PONG", 2).status, 200)
        self.caller.number = 2
        self.caller.invite(sequence=3, branch="z9hG4bK-3")
        self.run_for(0.01)
        self.caller.number = 3
        self.caller.ack()
        self.run_for(0.01)
        self.them.take()
        for method, status in (("PENG", 200), ("PONG", 405)):
            self.caller.within(method)
            self.run_for(0.01)
            self.assertEqual(self.them.lines(), [f"{status} {method}"])

    def test_without_its_row_it_is_unknown(self) -> None:
        us = self.party(A)
        self.assertEqual(len(us.manager.calls), 0)
        self.them.send(messages.request("PING", self.caller.who, branch="z9hG4bK-1"), (A, 5060))
        self.run_for(0.01)
        self.assertEqual(self.them.lines(), ["501 PING"])


@implementer(ISipFlow)
class Connection:
    """One end of a stream between two hosts."""

    reliable = True
    transport = b"TCP"
    backlog = 0

    def __init__(self, owner: Stream, peer: Stream) -> None:
        self.owner, self.peer = owner, peer
        self.other: Connection
        self.local = owner.local
        self.alive = True

    def send(self, data: bytes, address: Any) -> None:
        if not self.alive:
            raise OSError("the connection has ended")
        self.owner.sent.append(data)
        host = self.owner.host
        host.callLater(0.001, self.peer.arrive, data, self.owner.local, self.other)

    def sent_by(self, peer: str) -> bytes:
        return b"%b:5060" % self.local[0].encode()

    def end(self) -> None:
        for each in (self, self.other):
            if each.alive:
                each.alive = False
                each.owner.lost(each, each.owner.now())


@implementer(ISipTransport)
class Stream:
    """A transport of connections: a flow has to be made before it can be used."""

    transport = b"TCP"
    unsent = 0
    over_share = 0

    def __init__(self, host: Any, address: str) -> None:
        self.host = host
        self.local = (address, 5060)
        self.others: dict[str, Stream] = {}
        self.sent: list[bytes] = []
        self.made = 0
        self.flows: dict[str, Connection] = {}

    def now(self) -> int:
        return round(self.host.seconds() * 1e9)

    def open(self, receive: Any, unreachable: Any, lost: Any) -> None:
        self.receive, self.lost = receive, lost

    def close(self) -> None:
        self.receive = self.lost = lambda *_: None

    def arrive(self, data: bytes, source: Any, flow: Connection) -> None:
        if flow.alive:
            self.receive(data, source, flow, self.now())

    def flow_to(self, target: Target) -> Any:
        known = self.flows.get(target.host)
        if known is not None and known.alive:
            return known
        other = self.others.get(target.host)
        if other is None:
            return fail(UnreachableTarget(f"{target}: connection refused"))
        connecting: Deferred[Any] = Deferred()
        self.host.callLater(0.05, self._connected, other, connecting)
        return connecting

    def _connected(self, other: Stream, connecting: Deferred[Any]) -> None:
        here, there = Connection(self, other), Connection(other, self)
        here.other, there.other = there, here
        self.flows[other.local[0]] = here
        self.made += 1
        connecting.callback(here)


class TransportTests(Scene):
    """A transport that is a stream: awaited, named in Via and Contact, reused, and it may die."""

    def setUp(self) -> None:
        super().setUp()
        self.streams = {host: Stream(self.network.host(host), host) for host in (A, B)}
        for host, stream in self.streams.items():
            stream.others = {other: each for other, each in self.streams.items() if other != host}
        self.us, self.them = (
            SessionManager(stream.host, on_incoming=answer, transports=[stream])
            for stream in self.streams.values()
        )
        for manager in (self.us, self.them):
            self.successResultOf(manager.start())

    def tearDown(self) -> None:
        for manager in (self.us, self.them):
            manager.stop(0.0)
        self.run_for(0.1)
        super().tearDown()

    def sent(self, host: str, start: bytes) -> Any:
        return parsed(next(data for data in self.streams[host].sent if data.startswith(start)))

    def test_it_is_one(self) -> None:
        self.assertTrue(verifyObject(ISipTransport, self.streams[A]))
        self.assertTrue(verifyObject(ISipFlow, Connection(self.streams[A], self.streams[B])))

    def test_a_call(self) -> None:
        call = self.us.call(f"sip:bob@{B};transport=tcp")
        self.run_for(0.01)
        self.assertEqual(self.streams[A].sent, [])  # not connected yet
        self.run_for(1)
        self.assertIs(call.media_state, MediaState.ACTIVE)
        ended = call.hang_up()
        self.run_for(1)
        self.successResultOf(ended)
        for start in (b"INVITE", b"ACK", b"BYE"):
            message = self.sent(A, start)
            self.assertTrue(message.first(b"Via").startswith(b"SIP/2.0/TCP "), start)
        contact = b"<sip:%b:5060;transport=tcp>"
        self.assertEqual(self.sent(A, b"INVITE").first(b"Contact"), contact % A.encode())
        self.assertEqual(self.sent(B, b"SIP/2.0 200").first(b"Contact"), contact % B.encode())
        self.assertEqual((self.streams[A].made, self.streams[B].made), (1, 0))

    def test_the_callee_hangs_up_by_the_same_connection(self) -> None:
        self.us.call(f"sip:bob@{B};transport=tcp")
        self.run_for(1)
        (callee,) = self.them.calls
        ended = callee.hang_up()
        self.run_for(1)
        self.assertIs(self.successResultOf(ended).by, EndedBy.LOCAL)
        self.assertTrue(self.sent(B, b"BYE").first(b"Via").startswith(b"SIP/2.0/TCP "))
        self.assertEqual(self.streams[B].made, 0)

    def test_nothing_is_repeated(self) -> None:
        self.them._coordinator._callee._handler = lambda call: None
        self.us.call(f"sip:bob@{B};transport=tcp")
        self.run_for(10)
        self.assertEqual([data[:6] for data in self.streams[A].sent], [b"INVITE"])

    def test_a_connection_that_ends_fails_what_waits(self) -> None:
        self.them._coordinator._callee._handler = lambda call: None
        call = self.us.call(f"sip:bob@{B};transport=tcp")
        self.run_for(0.1)
        self.streams[A].flows[B].end()
        reason = call.end_reason
        assert reason is not None
        self.assertIs(reason.by, EndedBy.NETWORK)
        self.assertEqual(self.us.calls, [])

    def test_after_a_connection_has_ended_another_is_made(self) -> None:
        call = self.us.call(f"sip:bob@{B};transport=tcp")
        self.run_for(1)
        self.streams[A].flows[B].end()
        self.assertIs(call.media_state, MediaState.ACTIVE)  # the call itself goes on
        ended = call.hang_up()
        self.run_for(1)
        self.successResultOf(ended)
        self.assertEqual(self.streams[A].made, 2)
        self.assertEqual(self.them.calls, [])

    def test_hung_up_between_two_targets(self) -> None:
        """The first refused, and the connection to the second is being made."""
        self.streams[A].others[C] = self.streams[B]
        both = [Target(b"TCP", host, 5060) for host in (B, C)]
        object.__setattr__(self.us._coordinator._env, "resolve", lambda uri: both)
        self.them._coordinator._callee._handler = lambda call: call.reject(503)
        call = self.us.call(f"sip:bob@{B};transport=tcp")
        self.run_for(0.06)
        ended = call.hang_up()
        self.assertIs(self.successResultOf(ended).by, EndedBy.LOCAL)
        self.run_for(1)
        invites = [data for data in self.streams[A].sent if data.startswith(b"INVITE")]
        self.assertEqual(len(invites), 1)
        self.assertEqual(self.us.calls, [])

    def test_what_cannot_be_connected(self) -> None:
        call = self.us.call("sip:bob@192.0.2.77;transport=tcp")
        reason = call.end_reason
        assert reason is not None
        self.assertIn("connection refused", reason.text)

    def test_a_transport_that_is_not_there(self) -> None:
        error = self.assertRaises(ConfigurationError, self.us.call, f"sip:bob@{B};transport=tls")
        self.assertIn("only TCP", str(error))
        call = self.us.call(f"sip:bob@{B}")  # UDP, as RFC 3263 section 4.1 has it
        reason = call.end_reason
        assert reason is not None
        self.assertIn("over UDP; open sockets: TCP", reason.text)
