"""`MediaPeer`: a peer with SIP and media that does what a test tells it.

    peer = MediaPeer(network.host("192.0.2.9"))
    peer.call("192.0.2.2")
    network.advance(1.0)
    peer.media.says = "silence"

It runs on the in-memory network and on a reactor, and shares no code with the parsers and builders
that it is to test.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import evolve
from twisted.internet.protocol import DatagramProtocol

from sessioncore.testing import messages
from sessioncore.testing.media_script import ScriptedMedia
from sessioncore.vocabulary import Address

__all__ = ["MediaPeer"]

_RINGS: Final = 0.3
"""Seconds between the 183 and the 200, of a peer with ``early_media``."""
_OPPOSITE: Final = {"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


class MediaPeer(DatagramProtocol):
    """A peer with one call at a time, on a `FakeHost` or a reactor; ``host`` is its address.

    It answers incoming calls at once, and takes each change that is offered.  `media` is its RTP
    and RTCP, a `ScriptedMedia`.  All attributes may be changed, those of its descriptions before
    a call or before `offer`: ``describes`` is the address in them, if not its own, ``formats``
    are the payload types, and ``lines`` further lines.  With ``early_media`` an incoming call gets
    a 183 first, whose description names other ports than that of the 200; ``moves``: whether the
    media is sent from there.  ``acks``: whether the ACK of a 200 is sent; ``refuses_audio``: the
    answers that it gives have port 0.  ``waits``: it sends no RTP before some came.
    """

    acks = True
    early_media = False
    moves = True
    refuses_audio = False
    waits = False
    describes: Address | None = None
    formats: tuple[int, ...] = (0, 8, 13, 101)
    lines: tuple[str, ...] = ()
    direction = ""
    """In its next description; empty is what fits the other side's."""
    elsewhere = ""
    """Another address of its machine, for faults that need one."""
    up = False
    """Whether the call is answered and not over."""

    def __init__(
        self, reactor: Any, host: str | None = None, *, sip_port: int = 5060, seed: int = 0
    ) -> None:
        self._reactor = reactor
        self.host: str = reactor.addresses[0] if host is None else host
        self.media = ScriptedMedia(reactor, self.host, seed)
        self.sip = reactor.listenUDP(sip_port, self, interface=self.host, maxPacketSize=65_535)
        self.port: int = self.sip.getHost().port
        self._serial = seed
        self._who = messages.Caller(local=(self.host, self.port))
        self._to: Address = ("", 0)
        self._version = 0
        self._invite = b""
        """The INVITE that it sent or received last."""
        self._answered: dict[str, list[bytes]] = {}
        """What it answered, by Call-ID and CSeq, for what is repeated."""
        self._target: Address | None = None

    # --- what it is told

    def call(self, host: str, port: int = 5060, *, user: str = "bob") -> None:
        """Send an INVITE with a description; the 200 is acknowledged as ``acks`` says."""
        self._serial += 1
        self._to = (host, port)
        self._who = messages.Caller(
            local=(self.host, self.port),
            remote=self._to,
            remote_user=user,
            call_id=f"{self._serial}-{user}@{self.host}",
            branch=f"z9hG4bK-{self._serial}-{user}",
        )
        self._send_invite()

    def offer(self, direction: str = "sendrecv") -> None:
        """Send a re-INVITE with another direction, or with what else was changed."""
        self.direction = direction
        number = self._who.sequence + 1
        self._who = evolve(self._who, sequence=number, branch=f"z9hG4bK-offer-{number}")
        self._send_invite()

    def hang_up(self) -> None:
        """Send a BYE, and no more media."""
        self.up = False
        self.media.stop()
        self._send(messages.bye(self._who))

    def die(self) -> None:
        """Be gone without a word: all ports are closed."""
        self.up = False
        self.media.close()
        self.sip.stopListening()

    # --- SIP

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer what came."""
        if datagram.startswith(b"SIP/2.0 "):
            self._take_response(datagram)
        elif len(datagram) > 4:
            self._take_request(datagram, (addr[0], addr[1]))

    def _send(self, data: bytes) -> None:
        self.sip.write(data, self._to)

    def _send_invite(self) -> None:
        self._invite = messages.invite(self._who, body=self._description())
        self._send(self._invite)

    def _take_response(self, response: bytes) -> None:
        method = (messages.header(response, "CSeq") or "").partition(" ")[2]
        status = int(response[8:11])
        if method != "INVITE" or status < 200:
            return
        if status >= 300:
            # To the same transaction (RFC 3261 section 17.1.1.3).
            self._send(messages.ack(evolve(self._who, remote_tag=messages.tag(response, "To"))))
            return
        self._who = self._who.with_answer(response)
        if self.acks:
            self._send(messages.ack(self._who, to=response))
        self._agree(response)

    def _take_request(self, request: bytes, source: Address) -> None:
        method = request.partition(b" ")[0].decode("ascii", "replace")
        if method == "ACK":
            return
        self._to = source
        key = f"{messages.header(request, 'Call-ID')} {messages.header(request, 'CSeq')}"
        known = self._answered.get(key)
        if known is not None:
            for answer in known:
                self._send(answer)
            return
        self._answered[key] = []
        if method == "INVITE":
            self._take_invite(request, key)
            return
        self._answer(key, messages.response(request, 200, "OK", contact=None))
        if method == "BYE":
            self.up = False
            self.media.stop()

    def _take_invite(self, invite: bytes, key: str) -> None:
        self._invite = invite
        call_id = messages.header(invite, "Call-ID") or ""
        if call_id != self._who.call_id:
            self._who = messages.Caller(
                local=(self.host, self.port),
                remote=self._to,
                local_user=_user(messages.header(invite, "To")),
                remote_user=_user(messages.header(invite, "From")),
                call_id=call_id,
                local_tag="peer",
                remote_tag=messages.tag(invite, "From"),
                target=_uri(messages.header(invite, "Contact")),
            )
        if self.early_media and not self.up:
            self._answer_invite(key, 183, "Session Progress")
            self._agree(invite)
            self._reactor.callLater(_RINGS, self._answer_elsewhere, key)
        else:
            self._answer_invite(key, 200, "OK")
            self._agree(invite)

    def _answer_elsewhere(self, key: str) -> None:
        """Accept with a description that names other ports than the one before."""
        before, self.media.ports = self.media.ports, self.media.open()
        if self.moves:
            self.media.speaks_from = self.media.ports
            before.close()
        self._answer_invite(key, 200, "OK")

    def _answer_invite(self, key: str, status: int, phrase: str) -> None:
        body = self._description(_direction(self._invite))
        contact = (self.host, self.port)
        answer = messages.response(
            self._invite, status, phrase, to_tag="peer", body=body, contact=contact
        )
        self._answer(key, answer)

    def _answer(self, key: str, answer: bytes) -> None:
        self._answered[key].append(answer)
        self._send(answer)

    # --- descriptions

    def _description(self, offered: str = "") -> bytes:
        self._version += 1
        host, port = self.describes or self.media.local
        answers = bool(offered)
        return messages.offer(
            host,
            0 if answers and self.refuses_audio else port,
            formats=self.formats,
            direction=self.direction or _OPPOSITE.get(offered, "sendrecv"),
            version=self._version,
            ptime=self.media.ptime,
            extra=self.lines,
        )

    def _agree(self, message: bytes) -> None:
        """Send to where the description of ``message`` says."""
        self.up = True
        where = _described(message)
        if where is None:
            return
        self._target = where
        if self.waits and not self.media.received:
            self.media.on_rtp = self._hear_first
        else:
            self.media.start(where)

    def _hear_first(self, data: bytes, source: Address) -> None:
        self.media.on_rtp = None
        self.media.start(source)


def _user(value: str | None) -> str:
    found = re.search(r"sips?:([^@;>]*)@", value or "")
    return found[1] if found else ""


def _uri(value: str | None) -> str:
    found = re.search(r"<([^>]*)>", value or "")
    return found[1] if found else value or ""


def _direction(message: bytes) -> str:
    found = re.search(rb"^a=(sendrecv|sendonly|recvonly|inactive)\r?$", message, re.MULTILINE)
    return found[1].decode() if found else "sendrecv"


def _described(message: bytes) -> Address | None:
    """Where the description says that RTP is received; None without one."""
    host = re.search(rb"^c=IN IP[46] ([^\s/]+)", message, re.MULTILINE)
    port = re.search(rb"^m=audio (\d+)", message, re.MULTILINE)
    if host is None or port is None or port[1] == b"0":
        return None
    return host[1].decode(), int(port[1])
