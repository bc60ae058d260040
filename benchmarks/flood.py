"""``bin/bench flood``: what a flood does to the calls of others.

A server of its own answers with echo, in a network namespace of its own (``unshare -n``), so
nothing leaves this machine and nothing else disturbs it.  Live calls send audio all the time, and
what comes back is compared octet by octet.  Meanwhile others place a new call now and then, each
from an IP address of its own: INVITE, ACK, BYE, with the retransmissions of RFC 3261.  The flood
comes from a few other IP addresses at a steady rate.

Printed for each kind: what the flood sent, the share of the audio that came back right, the new
calls of others that were answered and the longest wait, how much the memory grew, and the lines
that the server logged.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field

from benchmarks import what_runs
from benchmarks.namespace import INSIDE, enter, raise_loopback
from sessioncore.testing import messages
from sessioncore.vocabulary import Address

__all__ = ["KINDS", "main"]

SERVER: Final[Address] = ("127.0.0.1", 5060)
PATIENCE: Final = 4.0
"""Seconds in which a new call has to be answered: the INVITE is sent four times."""
ULAW: Final = bytes(128 + number % 120 for number in range(160))
"""Every packet is the same audio, so an echo of it is the same, whatever was lost."""
_TWICE: Final = ULAW + ULAW


def _in_a_dialog(method: str) -> Callable[[messages.Caller], bytes]:
    return lambda who: messages.request(method, evolve(who, remote_tag="nobody"))


KINDS: Final[dict[str, Callable[[messages.Caller], bytes]]] = {
    "OPTIONS": messages.options,
    "INVITE": messages.invite,
    "BYE without a dialog": _in_a_dialog("BYE"),
    "CANCEL": messages.cancel,
    "unknown method": lambda who: messages.request("DANCE", who),
    "REGISTER": lambda who: messages.request("REGISTER", who),
    "ACK": _in_a_dialog("ACK"),
    "responses": lambda who: messages.response(messages.invite(who), 200),
    "garbage": lambda who: os.urandom(200),
    "malformed": lambda who: messages.invite(who).replace(b"\r\nCSeq: 1", b"\r\nCSeq: x"),
}
"""What a flood consists of: a message of ``who``, whose branch and Call-ID are replaced."""


def main(arguments: list[str] | None = None) -> int:
    """Run the floods and print the table; the exit status is 1 where others suffered."""
    parser = argparse.ArgumentParser(
        prog="bin/bench flood", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--rate", type=int, default=20_000, help="messages a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each flood lasts")
    parser.add_argument("--sources", type=int, default=4, help="IP addresses the flood comes from")
    parser.add_argument("--live", type=int, default=5, help="calls that are up meanwhile")
    given = parser.parse_args(arguments)
    unknown = [kind for kind in given.kinds if kind not in KINDS]
    if unknown:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(KINDS)}")
    if INSIDE not in os.environ:
        return enter("benchmarks.flood", sys.argv[1:] if arguments is None else arguments)
    raise_loopback()
    print(what_runs())
    row = "{:<22} {:>9} {:>9} {:>12} {:>9} {:>9} {:>7}"
    print(row.format("flood", "sent/s", "audio", "new calls", "longest", "memory", "lines"))
    fine = True
    for kind in ("none", *(given.kinds or KINDS)):
        seen = run(kind, given)
        fine &= seen.fine
        print(row.format(kind, *seen.columns(given.seconds)), flush=True)
    return 0 if fine else 1


@define
class Seen:
    """What happened during one flood."""

    sent: int = 0
    audio_sent: int = 0
    audio_right: int = 0
    placed: int = 0
    answered: int = 0
    longest: float = 0.0
    grown: int = 0
    lines: int = 0

    @property
    def fine(self) -> bool:
        """Whether others were served: 99 % of new calls, at most 50 MB."""
        return self.answered >= 0.99 * self.placed and self.grown <= 50_000_000

    def columns(self, seconds: float) -> list[str]:
        """The columns of the table."""
        return [
            f"{self.sent / seconds:,.0f}",
            f"{100 * self.audio_right / max(1, self.audio_sent):.1f} %",
            f"{self.answered}/{self.placed}",
            f"{self.longest:.2f} s",
            f"{self.grown / 1e6:+.1f} MB",
            f"{self.lines:,}",
        ]


def run(kind: str, given: Any) -> Seen:
    """One flood of ``kind`` against a fresh server."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            server = subprocess.Popen(
                [sys.executable, "-m", "sessioncore", "answer", "--log=calls", "--listen",
                 f"udp:{SERVER[1]}:interface={SERVER[0]}"],
                stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                _wait_for(server, log)
                seen = _measure(kind, given, server.pid, log)
            finally:
                server.terminate()
                server.wait(30)
        return seen


def _wait_for(server: subprocess.Popen[bytes], log: Path) -> None:
    with _bound("127.0.9.9") as asking:
        who = messages.Caller(local=asking.getsockname(), remote=SERVER)
        for _ in range(100):
            asking.sendto(messages.options(who), SERVER)
            if select.select([asking], [], [], 0.1)[0]:
                return
            if server.poll() is not None:
                break
            time.sleep(0.1)
    raise SystemExit(f"the server did not start: {log.read_text()}")


def _measure(kind: str, given: Any, pid: int, log: Path) -> Seen:
    seen = Seen()
    others = Others(seen)
    live = [Live(number, seen) for number in range(given.live)]
    others.go_on(live, 2.0)
    before, lines = _resident(pid), log.read_bytes().count(b"\n")
    seen.audio_sent = seen.audio_right = seen.placed = seen.answered = 0
    seen.longest = 0.0
    context = get_context("spawn")
    counted = context.Value("q", 0)
    flood = context.Process(
        target=send_flood, args=(kind, given.rate, given.seconds, given.sources, counted)
    )
    if kind != "none":
        flood.start()
        while not counted.value and flood.is_alive():
            others.go_on(live, 0.05)
    others.go_on(live, given.seconds)
    if kind != "none":
        flood.join()
    others.finish(live)
    seen.sent = max(0, counted.value)
    seen.grown = _resident(pid) - before
    seen.lines = log.read_bytes().count(b"\n") - lines
    return seen


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def _bound(ip: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((ip, 0))
    made.setblocking(False)
    return made


def send_flood(kind: str, rate: int, seconds: float, sources: int, counted: Any) -> None:
    """Send ``rate`` messages a second from ``sources`` addresses; runs in its own process."""
    sockets = [_bound(f"127.0.8.{number + 1}") for number in range(sources)]
    make, forms = KINDS[kind], []
    for each in sockets:
        who = messages.Caller(
            local=each.getsockname(),
            remote=SERVER,
            call_id="flood-CCCCCCCCCC",
            branch="z9hG4bK-CCCCCCCCCC",
        )
        forms.append((each, make(who)))
    began, sent = time.monotonic(), 0
    while (now := time.monotonic() - began) < seconds:
        while sent < now * rate:
            for each, form in forms:
                data = form.replace(b"CCCCCCCCCC", b"%010d" % sent)
                try:
                    each.sendto(data, SERVER)
                except BlockingIOError:
                    break
                sent += 1
            counted.value = sent
        time.sleep(0.001)


def _received(one: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield one.recv(4096)
        except (BlockingIOError, ConnectionRefusedError):
            return


@define(eq=False)
class New:
    """A call that somebody else places: INVITE until it is answered, then ACK and BYE."""

    sip: socket.socket
    who: messages.Caller
    invite: bytes
    placed_at: float
    repeat_at: float
    wait: float = 0.5
    answered: bool = False


class Live:
    """A call that is up: it sends audio every 20 ms and compares what comes back."""

    def __init__(self, number: int, seen: Seen) -> None:
        self._seen = seen
        self.rtp = _bound(f"127.0.7.{number + 1}")
        self.sip = _bound(f"127.0.7.{number + 1}")
        self._sequence = 0
        who = messages.Caller(
            local=self.sip.getsockname(), remote=SERVER, call_id=f"live-{number}",
            branch=f"z9hG4bK-live-{number}",
        )  # fmt: skip
        body = messages.offer(*self.rtp.getsockname()[:2], formats=(0,))
        invite = messages.invite(who, body=body)
        self._to: Address = ("", 0)
        for _ in range(20):
            self.sip.sendto(invite, SERVER)
            select.select([self.sip], [], [], 0.5)
            for data in _received(self.sip):
                if data.startswith(b"SIP/2.0 200 "):
                    port = re.search(rb"m=audio (\d+)", data)
                    assert port is not None
                    self._to = (SERVER[0], int(port[1]))
                    self.sip.sendto(messages.ack(who, to=data), SERVER)
                    self._bye = messages.bye(who, to=data)
                    return
        raise SystemExit("a live call was not answered before the flood")

    def send(self) -> None:
        """One packet, and whatever came back since."""
        self._sequence += 1
        header = struct.pack("!BBHII", 0x80, 0, self._sequence & 0xFFFF, self._sequence * 160, 7)
        self.rtp.sendto(header + ULAW, self._to)
        self._seen.audio_sent += 1
        self.receive()

    def receive(self) -> None:
        """Compare what came back."""
        for data in _received(self.rtp):
            self._seen.audio_right += len(data) == 172 and data[12:] in _TWICE

    def hang_up(self) -> None:
        """Send the BYE."""
        self.sip.sendto(self._bye, SERVER)
        self.rtp.close()
        self.sip.close()


@define(eq=False)
class Others:
    """Everybody else: live calls, and a new call every 100 ms from an IP address of its own."""

    seen: Seen
    calls: list[New] = field(factory=list)
    numbers: Iterator[int] = field(factory=count)

    def go_on(self, live: list[Live], seconds: float, *, placing: bool = True) -> None:
        """Play all of them for so long."""
        end = time.monotonic() + seconds
        turn = 0
        due = time.monotonic()
        while (now := time.monotonic()) < end:
            if now < due:
                select.select([each.sip for each in self.calls], [], [], due - now)
            else:
                due += 0.02
                turn += 1
                for call in live:
                    call.send()
                if placing and turn % 5 == 1:
                    self._place(now)
            self._look(time.monotonic())

    def finish(self, live: list[Live]) -> None:
        """Wait for what was placed, and hang up."""
        end = time.monotonic() + PATIENCE
        while self.calls and time.monotonic() < end:
            time.sleep(0.02)
            self._look(time.monotonic())
        for call in live:
            call.receive()
            call.hang_up()

    def _place(self, now: float) -> None:
        number = next(self.numbers)
        sip = _bound(f"127.1.{number // 200}.{number % 200 + 1}")
        who = messages.Caller(
            local=sip.getsockname(), remote=SERVER, call_id=f"new-{number}",
            branch=f"z9hG4bK-new-{number}",
        )  # fmt: skip
        call = New(sip, who, messages.invite(who), now, now)
        self.calls.append(call)
        self.seen.placed += 1

    def _look(self, now: float) -> None:
        for call in list(self.calls):
            for data in _received(call.sip):
                if data.startswith(b"SIP/2.0 200 ") and b" INVITE\r\n" in data:
                    self._answered(call, data, now)
                elif not data.startswith(b"SIP/2.0 1"):
                    self._over(call)  # refused
                    break
                if call.answered:
                    break
            else:
                if now - call.placed_at > PATIENCE:
                    self._over(call)
                elif now >= call.repeat_at:
                    call.sip.sendto(call.invite, SERVER)
                    call.repeat_at, call.wait = now + call.wait, 2 * call.wait

    def _answered(self, call: New, data: bytes, now: float) -> None:
        call.answered = True
        self.seen.answered += 1
        self.seen.longest = max(self.seen.longest, now - call.placed_at)
        call.sip.sendto(messages.ack(call.who, to=data), SERVER)
        call.sip.sendto(messages.bye(call.who, to=data), SERVER)
        self._over(call)

    def _over(self, call: New) -> None:
        self.calls.remove(call)
        call.sip.close()


if __name__ == "__main__":
    raise SystemExit(main())
