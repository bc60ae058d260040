"""A `PacketIO` over lists, and packets to feed it with."""

from __future__ import annotations

import random
import struct
from collections import deque

import numpy as np

from sessioncore.errors import NoPortsError
from sessioncore.media.packet_io import PACKET_WIDTH, Failure, Round, Stray
from sessioncore.media.plane import MediaPlane
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.rtp.g711 import encode_ulaw
from sessioncore.rtp.rtcp import parse_rtcp
from sessioncore.vocabulary import MILLISECOND, SECOND, Direction, StreamAgreement

OWN = "192.0.2.1"
PEER = ("198.51.100.7", 4000)
TICK = 5 * MILLISECOND


class FakeLease:
    def __init__(self, io, row, local_ip, port):
        self.io = io
        self.row = row
        self.local = (local_ip, port)
        self.local_rtcp = (local_ip, port + 1)
        self.handle = self
        self.latched = None
        self.reachable = True
        self.released_at = None
        self.waiting = deque()
        self.sent = []
        self.sent_rtcp = []

    def latch(self, address):
        if not self.reachable:
            return False
        self.latched = address
        return True

    def unlatch(self):
        self.latched = None

    def send_rtcp(self, data, address):
        self.sent_rtcp.append((data, address))

    def kernel_drops(self):
        return 3

    def release(self, now):
        self.released_at = now
        self.io.leases.remove(self)


class FakePacketIO:
    def __init__(self, ports=100, now=lambda: 0):
        self.now = now
        self._free = ports
        self.leases = []
        self.broken = False
        self._strays = []
        self._failures = []
        self._next = 4000

    def ports_free(self, now):
        return self._free

    def lease(self, local_ip, row, now):
        if not self._free:
            raise NoPortsError("none left")
        self._free -= 1
        self._next += 2
        lease = FakeLease(self, row, local_ip, self._next)
        self.leases.append(lease)
        return lease

    def arrive(self, stream, data, source=PEER, arrival=None):
        lease = stream.lease
        arrival = self.now() if arrival is None else arrival
        if lease.latched is None:
            self._strays.append(Stray(lease, False, data, source, arrival))
        elif lease.latched == source:
            lease.waiting.append((data, arrival))

    def arrive_rtcp(self, stream, data, source=(PEER[0], PEER[1] + 1), arrival=None):
        arrival = self.now() if arrival is None else arrival
        self._strays.append(Stray(stream.lease, True, data, source, arrival))

    def fail(self, row, refused, text):
        self._failures.append(Failure(row, refused, text))

    def receive(self):
        ready = [lease for lease in self.leases if lease.waiting]
        if not ready:
            return None
        packets = np.zeros((len(ready), PACKET_WIDTH), np.uint8)
        lengths, arrivals = [], []
        for index, lease in enumerate(ready):
            data, arrival = lease.waiting.popleft()
            arrivals.append(arrival)
            lengths.append(len(data))
            packets[index, : len(data)] = np.frombuffer(data[:PACKET_WIDTH], np.uint8)
        rows = np.array([lease.row for lease in ready])
        return Round(rows, packets, np.array(lengths), np.array(arrivals))

    def strays(self):
        strays, self._strays = self._strays, []
        return strays

    def send(self, handles, packets):
        failed = []
        for position, lease in enumerate(handles):
            if self.broken:
                failed.append(position)
            else:
                lease.sent.append((bytes(packets[position]), lease.latched))
        return failed

    def send_to(self, handles, packets, addresses):
        if self.broken:
            return list(range(len(handles)))
        for lease, data, address in zip(handles, packets, addresses, strict=False):
            lease.sent.append((bytes(data), address))
        return []

    def failures(self):
        failures, self._failures = self._failures, []
        return failures

    def close(self):
        return None


class Bench:
    """A plane on fake ports, its clock, and every event it told."""

    def __init__(self, **options):
        self.io = FakePacketIO(now=lambda: self.now, **options)
        self.events = []
        self.now = 10 * SECOND
        self.reactions = []
        self.plane = MediaPlane(
            self.io,
            random_bits=random.Random(5).getrandbits,
            ntp=lambda now: (now << 32) // SECOND,
            on_event=self._told,
            capacity=4,
        )

    def _told(self, stream, event, detail, now):
        self.events.append((stream, event, detail))
        for react in self.reactions:
            react(stream, event, detail, now)

    def names(self, stream=None):
        return [event.name for each, event, _ in self.events if stream in (None, each)]

    def open(self):
        return self.plane.open(OWN, self.now)

    def call(self, *, transmit=True, proven=True, host=PEER[0], nat=None, **changes):
        stream = self.open()
        stream.establish(agreement(stream, **changes), signalling_host=host, nat=nat, now=self.now)
        if transmit:
            stream.sending.start(self.now, proven)
        return stream

    def run(self, seconds, step=None):
        for _ in range(round(seconds * SECOND / TICK)):
            if step is not None:
                step(self.now)
            self.plane.tick(self.now)
            self.now += TICK


class Talker:
    """Sends 20 ms packets of a ramp that tells which sample is which."""

    def __init__(self, bench, stream, source=PEER, *, ssrc=77, first=65_530, timestamp=2**32 - 400):
        self.bench, self.stream, self.source = bench, stream, source
        self.ssrc, self.sequence, self.timestamp = ssrc, first, timestamp
        self.sent = []
        self._turn = 0

    def packet(self, samples=160, payload_type=0):
        start = len(self.sent) * 160
        frame = ((np.arange(start, start + samples) * 37) % 8000 + 200).astype(np.int16)
        self.sent.append(encode_ulaw(frame))
        data = rtp(self.sequence, self.timestamp, self.ssrc, self.sent[-1].tobytes(), payload_type)
        self.sequence += 1
        self.timestamp += samples
        return data

    def __call__(self, now):
        if self._turn % 4 == 0:
            self.bench.io.arrive(self.stream, self.packet(), self.source)
        self._turn += 1


def rtp(sequence, timestamp, ssrc, payload=bytes(160), payload_type=0, marker=0):
    header = struct.pack(
        "!BBHII",
        0x80,
        marker << 7 | payload_type,
        sequence & 0xFFFF,
        timestamp & 0xFFFF_FFFF,
        ssrc,
    )
    return header + payload


def agreement(stream, *, remote=PEER, rtcp=None, direction=Direction.SENDRECV, **changes):
    values = {
        "codec": PCMU,
        "send_payload_type": 0,
        "receive_payload_type": 0,
        "local": stream.local,
        "remote": remote,
        "remote_rtcp": rtcp,
        "direction": direction,
    }
    return StreamAgreement(**(values | changes))


def rtp_fields(data):
    first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
    assert first == 0x80
    return second >> 7, second & 0x7F, sequence, timestamp, ssrc


def reports(lease):
    return [parse_rtcp(data) for data, _ in lease.sent_rtcp]
