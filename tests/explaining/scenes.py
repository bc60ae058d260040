"""Whole calls as captures: messages of the testing kit, and RTP both ways."""

from __future__ import annotations

from typing import Any

from attrs import evolve, field, frozen

from sessioncore.explaining.lint import ExplainedCall
from sessioncore.explaining.report import Report
from sessioncore.rtp.codecs.pcma import PCMA
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.sdp.formats import MediaPolicy
from sessioncore.testing import messages
from sessioncore.vocabulary import SECOND, Address
from tests.explaining.captures import START, A, B, Timed, pcap, read, rtp_stream, udp

__all__ = ["A_RTP", "B_RTP", "POLICY", "Scene", "explained", "report", "sdp"]

A_RTP, B_RTP = ("192.0.2.1", 40_000), ("192.0.2.2", 50_000)
POLICY = MediaPolicy((PCMU, PCMA))


CALLER = messages.Caller(rport=False)


def sdp(address: Address, **given: Any) -> bytes:
    return messages.offer(address[0], address[1], **given)


@frozen
class Scene:
    """A call from A to B of ten seconds; each part can be replaced by `evolve`."""

    offer: bytes = sdp(A_RTP)
    answer: bytes = sdp(B_RTP, formats=(0, 101), session_id=77)
    caller: messages.Caller = CALLER
    invite_given: dict[str, Any] = field(factory=dict)
    answer_given: dict[str, Any] = field(factory=dict)
    rtp: tuple[Timed, ...] = (
        *rtp_stream(A_RTP, B_RTP, since=1.0, until=10.0, ssrc=1),
        *rtp_stream(B_RTP, A_RTP, since=1.0, until=10.0, ssrc=2),
    )
    ack: bool = True
    bye: bool = True
    more: tuple[Timed, ...] = ()
    source: Address = A
    target: Address = B

    @property
    def invite(self) -> bytes:
        return messages.invite(self.caller, body=self.offer, **self.invite_given)

    @property
    def success(self) -> bytes:
        return messages.response(self.invite, 200, "OK", body=self.answer, **self.answer_given)

    def there(self, seconds: float, data: bytes) -> Timed:
        """From the caller to the callee."""
        return START + round(seconds * SECOND), udp(self.source, self.target, data)

    def back(self, seconds: float, data: bytes) -> Timed:
        """From the callee to the caller."""
        return START + round(seconds * SECOND), udp(self.target, self.source, data)

    @property
    def packets(self) -> list[Timed]:
        """All packets in the order of time."""
        invite, success = self.invite, self.success
        found = [
            self.there(0, invite),
            self.back(0.1, messages.response(invite, 180, "Ringing")),
            self.back(1.0, success),
        ]
        if self.ack:
            found.append(self.there(1.01, messages.ack(self.caller, to=success)))
        if self.bye:
            bye = messages.bye(self.caller, to=success)
            found += [self.there(10, bye), self.back(10.01, messages.response(bye, 200, "OK"))]
        return sorted([*found, *self.rtp, *self.more], key=lambda packet: packet[0])

    def with_(self, **changes: Any) -> Scene:
        """The same with changes."""
        return evolve(self, **changes)


def report(*packets: Timed, call_id: str = "") -> Report:
    """The report on a capture of these packets."""
    return Report("the file", read(pcap(packets)), POLICY, call_id)


def explained(scene: Scene) -> ExplainedCall:
    """The one call of a scene."""
    (call,) = report(*scene.packets).calls
    return call
