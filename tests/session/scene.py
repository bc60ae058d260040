"""Two or more parties on the in-memory network: managers of ours, and peers played by the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.events import Event
from sessioncore.manager import SessionManager
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.sip.message import Request, Response, parse_message
from sessioncore.testing import messages
from sessioncore.testing.network import FakeHost, FakeNetwork
from sessioncore.vocabulary import Address

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class Party:
    """A manager, the events of its calls and the calls it was asked about."""

    def __init__(
        self, host: FakeHost, settings: Settings, decide: Callable[[Call], Any] | None
    ) -> None:
        self.host = host
        self.events: list[Event] = []
        self.incoming: list[Call] = []
        self.decide = decide
        self.manager = SessionManager(host, settings, on_incoming=self._asked)
        self.manager.add_event_sink(self.events.append)
        started = self.manager.start()
        started.addErrback(self._failed)
        self.error: Exception | None = None

    def _failed(self, failure: Any) -> None:
        raise failure.value

    def _asked(self, call: Call) -> Any:
        self.incoming.append(call)
        return None if self.decide is None else self.decide(call)

    @property
    def call_in(self) -> Call:
        """The last incoming call."""
        return self.incoming[-1]

    def call(self, uri: str = f"sip:bob@{B}", **wishes: Any) -> Call:
        return self.manager.call(uri, **wishes)

    def story(self) -> list[str]:
        """Events as ``CallAnswered Ready``, in order."""
        return [f"{event.name} {event.media_state}" for event in self.events]

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def forget(self) -> None:
        self.events.clear()

    def event(self, name: str) -> Any:
        """The only event of that name."""
        (found,) = [event for event in self.events if event.name == name]
        return found

    @property
    def counters(self) -> dict[str, int]:
        return self.manager.statistics().calls

    @property
    def sip(self) -> dict[str, int]:
        return self.manager.statistics().sip


class Peer(DatagramProtocol):
    """A SIP socket in the test's own hands; keeps what arrives and when (ns)."""

    def __init__(self, host: FakeHost, port: int = 5060, interface: str = "") -> None:
        self.host = host
        self.heard: list[tuple[int, bytes, Address]] = []
        self.on: Callable[[bytes, Address], None] | None = None
        self.port = host.listenUDP(port, self, interface=interface, maxPacketSize=65535)
        self._taken = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.heard.append((self.host.network.now, datagram, addr))
        if self.on is not None:
            self.on(datagram, addr)

    def send(self, data: bytes, address: Address) -> None:
        self.port.write(data, address)

    def take(self) -> list[bytes]:
        """What arrived since it was asked last."""
        taken = [data for _, data, _ in self.heard[self._taken :]]
        self._taken = len(self.heard)
        return taken

    def lines(self) -> list[str]:
        """`take` as ``INVITE``, ``200 INVITE``."""
        return [line(data) for data in self.take()]

    def last(self, start: bytes) -> bytes:
        """The last datagram that begins so."""
        return next(data for _, data, _ in reversed(self.heard) if data.startswith(start))

    def times(self, start: bytes) -> list[float]:
        """When (s) datagrams that begin so arrived."""
        return [round(at / 1e9, 3) for at, data, _ in self.heard if data.startswith(start)]


def line(data: bytes) -> str:
    message = parse_message(data)
    if isinstance(message, Response):
        return f"{message.status} {message.cseq.method.decode()}"
    assert isinstance(message, Request)
    return message.method.decode()


def parsed(data: bytes) -> Any:
    return parse_message(data)


class Scene(SynchronousTestCase):
    """A test with a network of its own; in the end every manager must be empty."""

    network: FakeNetwork

    peer_timeout = 0.0
    """Peers played by hand send no media, and most tests are not about that."""

    def setUp(self) -> None:
        self.network = FakeNetwork(seed=1)
        self.parties: list[Party] = []

    def tearDown(self) -> None:
        stopped = [party.manager.stop(0.0) for party in self.parties]
        self.network.advance(0.1)
        for party, done in zip(self.parties, stopped, strict=True):
            self.successResultOf(done)
            self.assertTidy(party)

    def assertTidy(self, party: Party) -> None:
        """Nothing is kept of calls that are over."""
        coordinator: Any = party.manager._coordinator
        registry = coordinator.registry
        kept = (
            registry.by_name,
            registry.by_dialog,
            registry.by_invite,
            list(coordinator.announcer.queue),
        )
        self.assertEqual(kept, ({}, {}, {}, []))
        admission = coordinator.admission
        self.assertEqual((admission.waiting, admission.strangers), (0, 0))
        self.assertFalse(party.manager.plane.active)

    def replace(self, party: Party, **parts: Any) -> None:
        """Give the session layer of ``party`` other parts of its environment."""
        for name, part in parts.items():
            object.__setattr__(party.manager._coordinator._env, name, part)

    def party(
        self, address: str = A, decide: Callable[[Call], Any] | None = None, **settings: Any
    ) -> Party:
        host = self.network.host(*address.split())
        settings.setdefault("peer_timeout", self.peer_timeout)
        party = Party(host, Settings(**settings), decide)
        self.parties.append(party)
        return party

    def peer(self, address: str = C, port: int = 5060) -> Peer:
        return Peer(self.network.host(address), port)

    def pair(self, decide: Callable[[Call], Any] | None = None) -> tuple[Party, Party]:
        """A caller at A and a callee at B."""
        return self.party(A), self.party(B, decide or answer)

    def run_for(self, seconds: float) -> None:
        self.network.advance(seconds)

    def rtp_from(self, host: str, since: float = 0.0) -> list[float]:
        """When (s) RTP left ``host``."""
        return [
            round(each.sent_at / 1e9, 3)
            for each in self.network.captured
            if each.source[0] == host
            and each.data[:1] == b"\x80"
            and not 200 <= each.data[1] <= 207
            and each.sent_at / 1e9 >= since
        ]


def answer(call: Call) -> Deferred[Call]:
    return call.answer()


def ring(call: Call) -> None:
    call.ring()


def early(call: Call) -> None:
    call.ring(early_media=True)


class Caller:
    """Plays the calling side by hand: one call from a peer to a manager."""

    def __init__(self, peer: Peer, to: str = B, **fields: Any) -> None:
        self.peer = peer
        local = peer.host.addresses[0]
        self.to = (to, 5060)
        self.who = messages.Caller(
            local=(local, peer.port.port),
            remote=self.to,
            call_id=fields.pop("call_id", f"by-hand@{local}"),
            **fields,
        )
        self.local = local
        self.answer = b""
        self.number = self.who.sequence

    def send(self, data: bytes) -> None:
        self.peer.send(data, self.to)

    def invite(self, *, body: bytes | None = None, **given: Any) -> None:
        body = messages.offer(self.local) if body is None else body
        self.send(messages.invite(self.who, body=body, **given))

    def ack(self, *, body: bytes = b"") -> None:
        self.answer = self.peer.last(b"SIP/2.0 200")
        self.send(messages.ack(self.who, to=self.answer, body=body, sequence=self.number))

    def within(self, method: str, *, body: bytes = b"", **given: Any) -> None:
        """A request within the dialog, with the next CSeq unless ``sequence`` is given."""
        if "sequence" not in given:
            self.number += 1
            given["sequence"] = self.number
        branch = given.pop("branch", f"z9hG4bK-{method}-{given['sequence']}")
        who = self.who.with_answer(self.answer)
        self.send(messages.request(method, who, branch=branch, body=body, **given))

    def cancel(self) -> None:
        self.send(messages.cancel(self.who))

    def established(self, scene: Scene) -> None:
        """INVITE, 200, ACK."""
        self.invite()
        scene.run_for(0.01)
        self.ack()
        scene.run_for(0.01)
        self.peer.take()
