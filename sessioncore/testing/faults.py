"""The faults of the fault book, to be injected into calls under the names of their causes.

    with FaultScene("firewall-inbound") as scene:
        scene.inject()
        scene.advance(3.0)
        assert_cause(scene.call, "firewall-inbound")

Most faults are a peer's or a network's, which a `MediaPeer` plays, on the in-memory network as on
real sockets; some are an application's, and are done to the `Call`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen

from sessioncore.errors import ConfigurationError
from sessioncore.events import Event
from sessioncore.manager import SessionManager
from sessioncore.media.sources import Clip, Frames, Silence, Source, Tone
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.testing.media_peer import MediaPeer
from sessioncore.testing.network import FakeNetwork
from sessioncore.testing.tones import sine
from sessioncore.verdict import CAUSES

__all__ = ["FAULTS", "Fault", "FaultScene", "inject"]

OURS, THEIRS, ELSEWHERE = "192.0.2.2", "192.0.2.9", "198.51.100.9"
_PRIVATE: Final = ("10.1.2.3", 40_000)
_CRYPTO: Final = (
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
)


@frozen
class Fault:
    """How one cause is brought about.

    ``peer`` is called with the `MediaPeer`, ``call`` with our `Call`; which of them there are
    says whose fault it is.  ``early``: it has to be there before the call is placed.
    """

    name: str
    """The name of its cause in `sessioncore.verdict.CAUSES`."""
    peer: Callable[[MediaPeer], object] | None = None
    call: Callable[[Call], object] | None = None
    early: bool = False
    we_call: bool = False
    """Whether it shows only in calls that we place."""
    by_report: bool = False
    """Whether only the RTCP of the peer shows it, so that it takes until its next report."""
    meanwhile: tuple[str, ...] = ()
    """Causes that are guessed until that report comes."""
    settings: Mapping[str, Any] = field(factory=dict)
    """Our settings that belong to it."""


def _media(**changes: Any) -> Callable[[MediaPeer], object]:
    def change(peer: MediaPeer) -> None:
        for name, value in changes.items():
            setattr(peer.media, name, value)

    return change


def _peer(**changes: Any) -> Callable[[MediaPeer], object]:
    def change(peer: MediaPeer) -> None:
        for name, value in changes.items():
            setattr(peer, name, value)

    return change


def _refuse_audio(peer: MediaPeer) -> None:
    peer.refuses_audio = True


def _offers_srtp(peer: MediaPeer) -> None:
    peer.lines = (_CRYPTO,)
    peer.media.tag = bytes(range(10))


def _behind_nat(peer: MediaPeer) -> None:
    peer.describes = _PRIVATE


def _waits_behind_nat(peer: MediaPeer) -> None:
    peer.describes, peer.waits = _PRIVATE, True


def _from_elsewhere(peer: MediaPeer) -> None:
    if not peer.elsewhere:
        raise ConfigurationError("wrong-source needs a second address: set elsewhere of the peer")
    peer.media.move(peer.elsewhere)


def _closed(peer: MediaPeer) -> None:
    peer.media.ports.close()


def _moves(peer: MediaPeer) -> None:
    peer.media.move(ssrc=peer.media.ssrc ^ 7)


def _hears_nothing(peer: MediaPeer) -> None:
    peer.media.lost_in = 1.0


def _short_clip(call: Call) -> None:
    call.set_source(Clip(sine(440.0, 0.5)))


def _starve(call: Call) -> None:
    frames = Frames()
    frames.write(sine(440.0, 0.5))
    call.set_source(frames)


class _Silent(Frames):
    """What a bridge to a leg gives in which nothing is heard."""


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            Fault("port-zero", peer=_refuse_audio, early=True, we_call=True),
            Fault("peer-encrypts", peer=_offers_srtp, early=True),
            Fault("payload-type-mismatch", peer=_media(payload_type=18)),
            Fault("codec-mismatch", peer=_media(octets=20)),
            Fault("peer-died", peer=MediaPeer.die),
            Fault("source-changed", peer=_moves),
            Fault("nat-without-latch", peer=_behind_nat, early=True, settings={"nat": False}),
            Fault("rtp-port-mismatch", peer=lambda peer: peer.media.move(), early=True),
            Fault("wrong-source", peer=_from_elsewhere, early=True),
            Fault("receive-not-open", peer=_closed, early=True),
            Fault("jitter-too-high", peer=_media(jitter=1.5)),
            Fault("two-sources", peer=_media(second_source=True)),
            Fault("direction", peer=lambda peer: peer.offer("sendonly")),
            Fault(
                "peer-sends-nothing",
                peer=_media(says=None),
                by_report=True,
                meanwhile=("firewall-inbound",),
            ),
            Fault("our-source-ended", call=_short_clip),
            Fault("our-source-starved", call=_starve),
            Fault("only-comfort-noise", peer=_media(says="noise")),
            Fault("firewall-inbound", peer=_media(lost_out=1.0)),
            Fault(
                "private-address-in-our-description",
                early=True,
                peer=_media(),
                settings={"media_ip": _PRIVATE[0]},
            ),
            Fault("private-address-in-peer-description", peer=_waits_behind_nat, early=True),
            Fault("our-source-silent", call=lambda call: call.set_source(Silence())),
            Fault("peer-silent", peer=_media(says="silence")),
            Fault("no-ack", peer=_peer(acks=False), early=True),
            Fault("rtcp-mux-assumed", peer=_media(mux=True), early=True),
            Fault("firewall-outbound", peer=_hears_nothing, by_report=True),
            Fault("network-loss-inbound", peer=_media(lost_out=0.5)),
            Fault("network-loss-outbound", peer=_media(lost_in=0.5), by_report=True),
            Fault(
                "answer-changed",
                peer=_peer(early_media=True, moves=False),
                early=True,
                we_call=True,
            ),
        )
    }
)
"""The faults that a peer or an application can bring about, by the names of their causes."""


def inject(name: str, *, peer: MediaPeer | None = None, call: Call | None = None) -> None:
    """Bring about the cause of that name: by ``peer``, or for faults of our side in ``call``.

    Raises `ConfigurationError` for a name that is not in `FAULTS`, or if who has to do it is not
    given.
    """
    fault = FAULTS.get(name)
    if fault is None:
        known = name in {rule.name for rule in CAUSES}
        why = "a peer cannot bring it about" if known else "it is not in the fault book"
        raise ConfigurationError(
            f"{name!r} cannot be injected: {why}; use one of {', '.join(FAULTS)}"
        )
    if fault.peer is not None:
        if peer is None:
            raise ConfigurationError(f"{name} is a fault of the peer: give a MediaPeer as peer")
        fault.peer(peer)
    if fault.call is not None:
        if call is None:
            raise ConfigurationError(f"{name} is a fault of our side: give a Call as call")
        fault.call(call)


class FaultScene:
    """One of our managers and a `MediaPeer` on an in-memory network, in a call that may go wrong.

    ``name`` is one of `FAULTS`.  What has to be wrong before the call is so from the beginning,
    the rest when `inject` is called.  ``settings`` are ours, beside those of the fault.  `call` is
    our call, ``events`` are all our events.
    """

    def __init__(
        self, name: str, *, seed: int = 0, source: Source | None = None, **settings: Any
    ) -> None:
        if name not in FAULTS:
            inject(name)
        self.fault = FAULTS[name]
        self.network = FakeNetwork(seed, capture=False)
        self.events: list[Event] = []
        self._calls: list[Call] = []
        self._source = source or Tone()
        given = Settings(
            listen=(f"udp:5060:interface={OURS}",), **{**self.fault.settings, **settings}
        )
        self.manager = SessionManager(self.network.host(OURS), given, on_incoming=self._incoming)
        self.manager.add_event_sink(self.events.append)
        self.manager.start()
        self.peer = MediaPeer(self.network.host(THEIRS, ELSEWHERE), seed=seed)
        self.peer.elsewhere = ELSEWHERE
        if self.fault.early:
            inject(name, peer=self.peer)
        if self.fault.we_call:
            self._calls.append(self.manager.call(f"sip:peer@{THEIRS}", source=self._source))
        else:
            self.peer.call(OURS)
        self.network.advance(0.01)

    def _incoming(self, call: Call) -> Any:
        self._calls.append(call)
        return call.answer(source=self._source)

    @property
    def call(self) -> Call:
        """Our call."""
        return self._calls[-1]

    def inject(self) -> None:
        """Bring the fault about now; does nothing if it was there from the beginning."""
        if not self.fault.early:
            inject(self.fault.name, peer=self.peer, call=self.call)

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.network.advance(seconds)

    def close(self) -> None:
        """End the call and the manager."""
        self.peer.media.stop()
        self.manager.stop(0.0)
        self.network.advance(0.1)

    def __enter__(self) -> FaultScene:
        self.network.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if error is None:
            self.close()
        self.network.__exit__(kind, error, traceback)
