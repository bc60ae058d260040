"""`ScriptedMedia`: RTP, RTCP and digits as a test wants them, also as no sane peer sends them."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from sessioncore.errors import ConfigurationError
from sessioncore.rtp.g711 import encode_alaw, encode_ulaw
from sessioncore.testing.tones import sine
from sessioncore.vocabulary import Address

__all__ = ["SPEECH", "Ports", "ScriptedMedia"]

SPEECH: Final = ("tone", "silence", "noise", None)
"""What may be said: 440 Hz, silence, comfort noise (RFC 3389), or nothing at all."""
_FIRST_PORT: Final = 30_000
_FIRST_REPORT: Final = 0.5
_LATE: Final = 0.5
"""Seconds by which a packet may be late on a busy machine; it is left out if it is later."""
_NTP_EPOCH: Final = 2_208_988_800
_KEYS: Final = "0123456789*#ABCD"
_RATE: Final = 8000


class Ports(DatagramProtocol):
    """An RTP port, even, and the RTCP port above it."""

    def __init__(self, reactor: Any, host: str, take: Callable[[bytes, Address, bool], None]):
        for number in range(_FIRST_PORT, 65_534, 2):
            try:
                self.rtp = _listen(reactor, host, number, lambda data, of: take(data, of, False))
            except CannotListenError:
                continue
            above = number + 1
            try:
                self.rtcp = _listen(reactor, host, above, lambda data, of: take(data, of, True))
            except CannotListenError:
                self.rtp.stopListening()
                continue
            break
        else:
            raise ConfigurationError(f"no pair of ports is free on {host}")
        self.local: Address = (host, number)
        self.open = True

    def close(self) -> None:
        """Close both; what comes then is answered by ICMP."""
        if self.open:
            self.open = False
            self.rtp.stopListening()
            self.rtcp.stopListening()

    def send(self, data: bytes, to: Address, *, rtcp: bool) -> None:
        """Send one packet; one that cannot be sent is lost."""
        if self.open:
            try:
                (self.rtcp if rtcp else self.rtp).write(data, to)
            except OSError:
                pass


class _Socket(DatagramProtocol):
    def __init__(self, take: Callable[[bytes, Address], None]) -> None:
        self._take = take

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._take(datagram, (addr[0], addr[1]))


def _listen(reactor: Any, host: str, number: int, take: Callable[[bytes, Address], None]) -> Any:
    return reactor.listenUDP(number, _Socket(take), interface=host, maxPacketSize=4096)


class ScriptedMedia:
    """RTP and RTCP from ``host``, of a `FakeHost` or a reactor.  All attributes may be changed.

    ``says`` is ``"tone"`` (440 Hz), ``"silence"``, ``"noise"`` (comfort noise, RFC 3389) or None,
    which is nothing.  Packets are of ``payload_type`` and ``ptime`` ms, from ``ssrc``; ``octets``
    is the length of a payload where it is not that of G.711, and ``tag`` follows each payload, as
    in SRTP.  With ``second_source`` another SSRC speaks as well.  Each packet is delayed by a
    random part of ``jitter`` (s).  ``lost_out`` and ``lost_in`` are the probabilities that an RTP
    packet is lost on the way from here or to here.  ``reports``: whether RTCP is sent, every
    ``report_every`` seconds; ``mux``: from the RTP port to the RTP port (RFC 5761).
    ``digit_type`` is the payload type of digits.  ``on_rtp`` is called with each RTP packet that
    comes, and its source.
    """

    payload_type = 0
    ptime = 20
    octets: int | None = None
    tag = b""
    second_source = False
    jitter = 0.0
    lost_out = 0.0
    lost_in = 0.0
    reports = True
    report_every = 5.0
    mux = False
    digit_type = 101
    on_rtp: Callable[[bytes, Address], object] | None = None
    target: Address | None = None
    """Where RTP goes."""
    received = 0
    """RTP packets that came."""

    def __init__(self, reactor: Any, host: str, seed: int = 0) -> None:
        self._reactor = reactor
        self.host = host
        self._random = Random(seed)
        self._says: str | None = "tone"
        self.ports = self.speaks_from = self.open()
        self.ssrc = self._random.getrandbits(32)
        self._sequence = self._random.getrandbits(16)
        self._timestamp = self._random.getrandbits(32)
        self._digits: deque[bytes] = deque()
        self._marker = True
        self._at = 0
        self.sent = 0
        self._sent_octets = self._sent_then = 0
        self._heard: _Heard | None = None
        self._timers: set[Any] = set()
        self.running = False

    @property
    def says(self) -> str | None:
        """What is said."""
        return self._says

    @says.setter
    def says(self, what: str | None) -> None:
        if what not in SPEECH:
            raise ConfigurationError(
                f"{what!r} cannot be said; use one of {', '.join(map(repr, SPEECH))}"
            )
        self._says = what

    @property
    def local(self) -> Address:
        """Where it receives RTP."""
        return self.ports.local

    # --- what it is told

    def open(self, host: str | None = None) -> Ports:
        """Another pair of ports that it receives on, at another ``host`` if given."""
        return Ports(self._reactor, host or self.host, self._take)

    def start(self, target: Address | None) -> None:
        """Send to ``target`` from now on; None: nowhere."""
        self.target = target
        if not self.running:
            self.running = True
            self._later(0.0, self._speak, self._reactor.seconds())
            self._later(_FIRST_REPORT, self._report)

    def stop(self) -> None:
        """Send nothing more."""
        self.running = False
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()

    def close(self) -> None:
        """Send nothing more and close all ports."""
        self.stop()
        self.ports.close()
        self.speaks_from.close()

    def move(self, host: str | None = None, *, ssrc: int | None = None) -> None:
        """Send from another port, or ``host``, from now on; it still receives where it did."""
        self.speaks_from = self.open(host)
        if ssrc is not None:
            self.ssrc = ssrc

    def press(self, digits: str, *, ms: int = 100) -> None:
        """Send keys (RFC 4733) in place of what is said, each for ``ms``, 40 ms apart."""
        for digit in digits:
            if digit not in _KEYS:
                raise ConfigurationError(f"{digit!r} is not a key; use some of {_KEYS}")
            packets = max(1, ms // self.ptime)
            for number in range(packets + 3):
                duration = min(number + 1, packets) * self.ptime * 8
                end = 0x80 if number >= packets else 0
                self._digits.append(struct.pack("!BBH", _KEYS.index(digit), end | 10, duration))
            self._digits += [b"", b""]

    # --- RTP

    def _speak(self, due: float) -> None:
        now = self._reactor.seconds()
        if now - due > _LATE:
            skipped = int((now - due) * 1000 / self.ptime)
            due += skipped * self.ptime / 1000
            self._timestamp += skipped * self.ptime * 8
        self._say_packet()
        due += self.ptime / 1000
        self._timestamp += self.ptime * 8
        self._later(max(0.0, due - now), self._speak, due)

    def _say_packet(self) -> None:
        if self._digits:
            event = self._digits.popleft()
            if event:
                begins = struct.unpack("!H", event[2:])[0] == self.ptime * 8
                self._key_at = self._timestamp if begins else self._key_at
                self._send(self.digit_type, event, self._key_at, marker=begins)
            self._marker = True
            return
        payload = self._payload()
        if payload is None:
            self._marker = True
            return
        payload_type = 13 if self.says == "noise" else self.payload_type
        self._send(payload_type, payload, self._timestamp, marker=self._marker)
        self._marker = False

    _key_at = 0

    def _payload(self) -> bytes | None:
        if self.says is None:
            return None
        if self.says == "noise":
            return b"\x28" if self._due_noise() else None
        count = self.ptime * 8 if self.octets is None else self.octets
        law = 1 if self.payload_type == 8 else 0
        if self.says == "silence":
            return (b"\xff", b"\xd5")[law] * count
        at, self._at = self._at, (self._at + count) % _RATE
        return (_TONE[law] * 2)[at : at + count]

    def _due_noise(self) -> bool:
        """Comfort noise comes every 200 ms."""
        return (self._timestamp // 8 // self.ptime) % max(1, 200 // self.ptime) == 0

    def _send(self, payload_type: int, payload: bytes, timestamp: int, *, marker: bool) -> None:
        sources = [self.ssrc, self.ssrc ^ 1] if self.second_source else [self.ssrc]
        for ssrc in sources:
            data = struct.pack(
                "!BBHII",
                0x80,
                marker << 7 | payload_type,
                self._sequence & 0xFFFF,
                timestamp & 0xFFFF_FFFF,
                ssrc,
            )
            self._dispatch(data + payload + self.tag)
        self._sequence += 1
        self.sent += 1
        self._sent_octets += len(payload)

    def _dispatch(self, data: bytes) -> None:
        if self._random.random() < self.lost_out or self.target is None:
            return
        ports, target = self.speaks_from, self.target
        if self.jitter:
            delay = self.jitter * self._random.random()
            self._later(delay, lambda: ports.send(data, target, rtcp=False))
        else:
            ports.send(data, target, rtcp=False)

    def _take(self, data: bytes, source: Address, is_rtcp: bool) -> None:
        if is_rtcp or len(data) < 12 or data[0] >> 6 != 2 or 200 <= data[1] <= 204:
            if self._heard is not None:
                self._heard.note_report(data, self._reactor.seconds())
            return
        if self._random.random() < self.lost_in:
            return
        self.received += 1
        sequence, _, ssrc = struct.unpack_from("!HII", data, 2)
        if self._heard is None or self._heard.ssrc != ssrc:
            self._heard = _Heard(ssrc, sequence)
        self._heard.note(sequence)
        if self.on_rtp is not None:
            self.on_rtp(data, source)

    # --- RTCP (RFC 3550 section 6.4)

    def _report(self) -> None:
        self._later(self.report_every, self._report)
        if self.reports and self.target is not None:
            port = self.target[1] + (not self.mux)
            self.speaks_from.send(self._build(), (self.target[0], port), rtcp=not self.mux)

    def _build(self) -> bytes:
        now = self._reactor.seconds()
        block = b"" if self._heard is None else self._heard.block(now)
        count = len(block) // 24
        sends, self._sent_then = self.sent != self._sent_then, self.sent
        body = struct.pack("!I", self.ssrc)
        if sends:
            ntp = int((now + _NTP_EPOCH) * (1 << 32)) & (1 << 64) - 1
            body += struct.pack(
                "!QIII", ntp, self._timestamp & 0xFFFF_FFFF, self.sent, self._sent_octets
            )
        body += block
        head = struct.pack("!BBH", 0x80 | count, 200 if sends else 201, len(body) // 4)
        # CNAME, its end and padding to a multiple of four octets.
        items = b"\x01\x04peer\x00\x00"
        names = struct.pack("!BBHI", 0x81, 202, 1 + len(items) // 4, self.ssrc) + items
        return head + body + names

    # --- timers

    def _later(self, delay: float, what: Callable[..., None], *given: Any) -> None:
        def call() -> None:
            self._timers.discard(timer)
            what(*given)

        timer = self._reactor.callLater(delay, call)
        self._timers.add(timer)


class _Heard:
    """What was heard of one source, for the block about it."""

    def __init__(self, ssrc: int, sequence: int) -> None:
        self.ssrc = ssrc
        self._first = self._highest = sequence
        self._received = self._received_then = self._expected_then = 0
        self._last_sender: int = 0
        self._last_at = 0.0

    def note(self, sequence: int) -> None:
        """A packet came."""
        ahead = (sequence - self._highest) & 0xFFFF
        if ahead < 0x8000:
            self._highest += ahead
        self._received += 1

    def note_report(self, data: bytes, now: float) -> None:
        """A report came; the time of an SR is returned in the next block."""
        if len(data) >= 28 and data[1] == 200:
            self._last_sender, self._last_at = struct.unpack_from("!I", data, 10)[0], now

    def block(self, now: float) -> bytes:
        """The block, or nothing if nothing came since the last one."""
        if self._received == self._received_then:
            return b""
        expected = self._highest - self._first + 1
        due = expected - self._expected_then
        lost = due - (self._received - self._received_then)
        self._expected_then, self._received_then = expected, self._received
        fraction = max(0, lost) * 256 // due if due > 0 else 0
        total = min(0x7F_FFFF, max(0, expected - self._received))
        delay = int((now - self._last_at) * 65_536) if self._last_sender else 0
        return struct.pack(
            "!IIIIII",
            self.ssrc,
            min(255, fraction) << 24 | total,
            self._highest & 0xFFFF_FFFF,
            0,
            self._last_sender,
            delay & 0xFFFF_FFFF,
        )


def _tone() -> tuple[bytes, bytes]:
    """A second of 440 Hz as mu-law and A-law; it repeats without a jump."""
    samples = sine(440.0, 1.0)
    return encode_ulaw(samples).tobytes(), encode_alaw(samples).tobytes()


_TONE: Final = _tone()
