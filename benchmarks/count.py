"""``bin/bench count``: the cost of a call, counted on a replay in virtual time.

Nothing is timed, so a busy machine does not change the figures.  The measured side runs what the
daemon runs: a `SessionManager` with silence as its source, and with ``log`` also its event log
and the ledger of calls.  Its peer is a script without media, like SIPp's scenarios: INVITE, 180,
200, ACK, 100 ms later BYE and 200, at 1,000 calls a second.  The script runs once, to make a
recording.  The replay of that recording is counted, so the peer costs nothing.

``bytecodes``, ``python`` (calls of Python functions, with resumed coroutines) and ``c`` (calls of
C functions) are counted inside the measured side only.  ``instructions`` are those of the whole
replay under cachegrind, with its own loop; they are left out if valgrind is not installed.

Each figure is the difference between a run with twice as many calls and a run with that many,
divided by the number of calls, so that constant costs cancel out.  A run lasts until all its
calls are forgotten, and follows a run that filled the pool of ports and the caches.  The garbage
collector is off.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from operator import is_
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, TypeAlias

from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.interfaces import IReactorUDP
from zope.interface import implementer

from benchmarks import what_runs
from sessioncore.daemon.answering import Answering, AnswerPlan
from sessioncore.manager import SessionManager
from sessioncore.media.sources import Silence
from sessioncore.net.addresses import IVirtualHost
from sessioncore.net.clockwork import Clockwork
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.vocabulary import MILLISECOND, SECOND
from sessioncore.watching.event_log import EventLog, open_log, text_lines
from sessioncore.watching.outcome import CallLedger

ROLES: Final = ("incoming", "outgoing")
OURS: Final = "192.0.2.2"
PEER: Final = ("192.0.2.1", 5060)
GAP: Final = MILLISECOND
"""The time between two calls; times are in ns."""
HOLD: Final = 100 * MILLISECOND
AFTERMATH: Final = 70 * SECOND
"""Twice the longest SIP timers, and longer than ports rest."""
WAY: Final = 100_000
"""The time between a message and the peer's response."""
NEVER: Final = 1 << 62
REPEATABLE: Final = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
"""The environment that makes runs equal: the same hashes, and no threads that spin."""
ROOT: Final = Path(__file__).resolve().parent.parent


class Arrival(NamedTuple):
    """A datagram from the peer: its time of arrival, in ns, and its data."""

    at: int
    data: bytes


class VirtualClockwork(Clockwork):
    """As that of the daemon on Linux: reading the time is one call in C."""

    def __init__(self, time: list[int]) -> None:
        self.now = partial(time.__getitem__, 0)  # type: ignore[method-assign]
        super().__init__()
        self.wake_at = NEVER
        self.fire = self._fire

    def _arm(self, when: int | None) -> None:
        self.wake_at = NEVER if when is None else max(when, self.now())


class Port:
    """A UDP port of `Host`; datagrams that are sent go to ``write``."""

    def __init__(self, protocol: Any, interface: str, number: int, write: Any) -> None:
        self.protocol = protocol
        self.maxThroughput = 0
        self.write = write
        self._address = IPv4Address("UDP", interface, number)
        protocol.makeConnection(self)

    def getHost(self) -> IPv4Address:
        return self._address

    def stopListening(self) -> Any:
        return succeed(None)


@implementer(IReactorUDP, IVirtualHost)
class Host:
    """The reactor of the measured side: a SIP port at which datagrams arrive, and the time.

    ``enter`` calls a function of the measured side.  ``said`` (set it before the SIP port
    opens) receives its SIP messages.  In a replay these and RTP are discarded by a function in
    C that takes two arguments.
    """

    names = None

    said: Callable[[bytes, Any], object] = staticmethod(is_)

    def __init__(self, enter: Callable[..., object]) -> None:
        self.enter = enter
        self.time = [0]
        self.clockwork = VirtualClockwork(self.time)
        self.sip: Port
        self._serial = 0
        self._due: list[tuple[int, int, Callable[..., object], tuple[object, ...]]] = []

    @property
    def now(self) -> int:
        """Virtual time in ns."""
        return self.time[0]

    def at(self, when: int, function: Callable[..., object], *arguments: object) -> None:
        """Call a function of the measured side at ``when``."""
        self._serial += 1
        heappush(self._due, (when, self._serial, function, arguments))

    def arrive(self, arrival: Arrival) -> None:
        """Deliver a datagram at its time."""
        self.at(arrival.at, self.sip.protocol.datagramReceived, arrival.data, PEER)

    def run(self, until: int) -> None:
        """Advance virtual time."""
        due, clockwork, time, enter = self._due, self.clockwork, self.time, self.enter
        while True:
            wake = clockwork.wake_at
            if due and due[0][0] <= min(wake, until):
                time[0], _, function, arguments = heappop(due)
                enter(function, *arguments)
            elif wake <= until:
                time[0], clockwork.wake_at = wake, NEVER
                enter(clockwork.fire, wake)
            else:
                break
        time[0] = until

    # The reactor interface that the manager uses.

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 0
    ) -> Port:
        opened = Port(protocol, interface, port, self.said if port == PEER[1] else is_)
        if port == PEER[1]:
            self.sip = opened
        return opened

    def local_address_for(self, peer: str) -> str:
        return OURS


class Caller:
    """The peer of incoming calls: a script that inserts our tag."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.arrivals: list[Arrival] = []

    def invite(self, number: int, at: int) -> None:
        self._say(at, "INVITE", number, 1, "", _SDP)

    def said(self, data: bytes, _address: Any) -> None:
        """Take what the measured side sent."""
        if data.startswith(b"SIP/2.0 200") and b"\r\nCSeq: 1 INVITE" in data:
            number, tag = _found(rb"Call-ID: ([0-9]+)@", data), _found(rb"To: .*;tag=(.*)", data)
            now = self._host.now
            self._say(now + WAY, "ACK", int(number), 1, ";tag=" + tag)
            self._say(now + WAY + HOLD, "BYE", int(number), 2, ";tag=" + tag)

    def _say(self, at: int, method: str, number: int, cseq: int, tag: str, sdp: str = "") -> None:
        text = _REQUEST.format(
            method=method,
            number=number,
            cseq=cseq,
            tag=tag,
            content="Content-Type: application/sdp\r\n" if sdp else "",
            length=len(sdp),
        )
        arrival = Arrival(at, (text + sdp).encode())
        self.arrivals.append(arrival)
        self._host.arrive(arrival)


class Callee:
    """The peer of outgoing calls: a script that copies header fields into its responses."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.arrivals: list[Arrival] = []

    def said(self, data: bytes, _address: Any) -> None:
        """Take what the measured side sent."""
        if data.startswith(b"INVITE"):
            self._say(WAY, "180 Ringing", data)
            self._say(2 * WAY, "200 OK", data, _SDP)
        elif data.startswith(b"BYE"):
            self._say(WAY, "200 OK", data)

    def _say(self, after: int, status: str, request: bytes, sdp: str = "") -> None:
        copied = {
            name: _found(rb"\r\n%b: (.*?)\r\n" % name.encode(), request)
            for name in ("Via", "From", "To", "Call-ID", "CSeq")
        }
        if ";tag=" not in copied["To"]:
            copied["To"] += ";tag=callee" + copied["Call-ID"][:8]
        lines = [f"SIP/2.0 {status}", *(f"{name}: {value}" for name, value in copied.items())]
        lines.append(f"Contact: <sip:{PEER[0]}:{PEER[1]}>")
        if sdp:
            lines.append("Content-Type: application/sdp")
        text = "\r\n".join([*lines, f"Content-Length: {len(sdp)}", "", sdp])
        arrival = Arrival(self._host.now + after, text.encode())
        self.arrivals.append(arrival)
        self._host.arrive(arrival)


_REQUEST: Final = (
    f"{{method}} sip:service@{OURS}:5060 SIP/2.0\r\n"
    f"Via: SIP/2.0/UDP {PEER[0]}:5060;branch=z9hG4bK-1-{{number}}-{{cseq}}-{{method}}\r\n"
    f"From: bench <sip:bench@{PEER[0]}:5060>;tag=1SIPpTag00{{number}}\r\n"
    f"To: service <sip:service@{OURS}:5060>{{tag}}\r\n"
    f"Call-ID: {{number}}@{PEER[0]}\r\n"
    "CSeq: {cseq} {method}\r\n"
    f"Contact: sip:bench@{PEER[0]}:5060\r\n"
    "Max-Forwards: 70\r\n"
    "Subject: Performance Test\r\n"
    "{content}"
    "Content-Length: {length}\r\n"
    "\r\n"
)
_SDP: Final = (
    "v=0\r\n"
    f"o=user1 53655765 2353687637 IN IP4 {PEER[0]}\r\n"
    "s=-\r\n"
    f"c=IN IP4 {PEER[0]}\r\n"
    "t=0 0\r\n"
    "m=audio 6000 RTP/AVP 0\r\n"
    "a=rtpmap:0 PCMU/8000\r\n"
)


def _found(pattern: bytes, data: bytes) -> str:
    match = re.search(pattern, data)
    assert match is not None, (pattern, data)
    return match[1].decode().rstrip("\r")


class Side:
    """The measured side, as the daemon runs it, on `Host`."""

    def __init__(self, host: Host, role: str, *, log: bool) -> None:
        self._host = host
        self._role = role
        answering = Answering(
            AnswerPlan(source=Silence()),
            lambda: self.manager.clockwork,
            watch=self._watch,
        )
        self.manager = SessionManager(
            host,
            Settings(listen=(f"udp:{PEER[1]}:interface={OURS}",), rtp_ports=(10_000, 39_999)),
            on_incoming=answering if role == "incoming" else None,
            random_bytes=Random(7).randbytes,
            clockwork=host.clockwork,
        )
        self._logging = log
        self._log = EventLog(open_log(os.devnull), text_lines, self.manager.clockwork.deadlines)
        self._ledger = CallLedger(self._log.event)
        if log:
            self.manager.add_event_sink(self._log)
            self.manager.add_event_sink(self._ledger, *self._ledger.kinds)
        host.clockwork.start()
        self.manager.start()
        self.done = 0
        self._up: deque[Call] = deque()

    def close(self) -> None:
        """Close the log; everything else ends with the process."""
        self._log.close()

    def batch(self, calls: int) -> None:
        """Place ``calls`` calls; incoming ones arrive by themselves."""
        if self._role == "outgoing":
            uri = f"sip:service@{PEER[0]}"
            for number in range(calls):
                at = self._host.now + number * GAP
                self._host.at(at, self._place, uri)
                self._host.at(at + HOLD, self._hang_up)

    def _watch(self, call: Call) -> None:
        if self._logging:
            self._ledger.watch(call)

    def _place(self, uri: str) -> None:
        call = self.manager.prepare_call(uri, source=Silence())
        self._watch(call)
        call.place()
        self._up.append(call)

    def _hang_up(self) -> None:
        self._up.popleft().hang_up()

    def check(self, calls: int) -> None:
        """Raise unless all calls were answered and are forgotten, and nothing was repeated."""
        counted = self.manager.statistics()
        self.done += calls
        sip = counted.sip
        faults = counted.calls_up, sip["malformed"], sip["retransmitted"]
        found = (counted.calls["answered"], *faults)
        if found != (self.done, 0, 0, 0):
            raise SystemExit(f"the replay went wrong: of {self.done} calls {found}: {counted}")


class Tally:
    """Counts the code that runs inside `enter`."""

    def __init__(self) -> None:
        self.bytecodes: Counter[CodeType] = Counter()
        self.python: Counter[CodeType] = Counter()
        self.c = 0

    def enter(self, function: Callable[..., object], *arguments: object) -> object:
        """Call ``function`` and count."""
        sys.settrace(self._called)
        sys.setprofile(self._profiled)
        try:
            return function(*arguments)
        finally:
            sys.setprofile(None)
            sys.settrace(None)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> Any:
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._traced

    def _traced(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "opcode":
            self.bytecodes[frame.f_code] += 1
        return self._traced

    def _profiled(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            self.python[frame.f_code] += 1
        elif event == "c_call" and frame.f_code is not _ENTER:
            self.c += 1

    @property
    def figures(self) -> dict[str, int]:
        """The totals."""
        return {
            "bytecodes": self.bytecodes.total(),
            "python": self.python.total(),
            "c": self.c,
        }


_ENTER: Final = Tally.enter.__code__
_Plan: TypeAlias = "list[tuple[int, int]]"


def _enter(function: Callable[..., object], *arguments: object) -> object:
    return function(*arguments)


def _plan(batches: list[int]) -> _Plan:
    """The number of calls and the start of each batch."""
    plan, at = [], SECOND
    for calls in batches:
        plan.append((calls, at))
        at += calls * GAP + HOLD + AFTERMATH
    return plan


def record(role: str, batches: list[int], *, log: bool) -> list[list[Arrival]]:
    """The datagrams of the peer, batch by batch."""

    host = Host(_enter)
    peer: Any = Caller(host) if role == "incoming" else Callee(host)
    host.said = peer.said
    side = Side(host, role, log=log)
    arrivals = []
    placed = 0
    for calls, at in _plan(batches):
        peer.arrivals = []
        host.run(at)
        if role == "incoming":
            for number in range(calls):
                peer.invite(placed + number, at + number * GAP)
        placed += calls
        side.batch(calls)
        host.run(at + calls * GAP + HOLD + AFTERMATH)
        side.check(calls)
        arrivals.append(peer.arrivals)
    side.close()
    return arrivals


def replay(
    role: str, batches: list[int], recording: list[list[Arrival]], *, log: bool, count: bool
) -> list[Tally]:
    """Replay the recording without the peer; a tally per batch, empty unless ``count``."""
    tallies = []

    host = Host(_enter)
    side = Side(host, role, log=log)
    for (calls, at), arrivals in zip(_plan(batches), recording, strict=True):
        host.run(at)
        tally = Tally()
        tallies.append(tally)
        host.enter = tally.enter if count else _enter
        for arrival in arrivals:
            host.arrive(arrival)
        side.batch(calls)
        host.run(at + calls * GAP + HOLD + AFTERMATH)
        side.check(calls)
    side.close()
    return tallies


# ---------------------------------------------------------------- processes


def child(arguments: list[str]) -> int:
    """Run ``record FILE``, ``count FILE`` or ``run FILE`` with role, log and batches."""
    what, name, role, log, *numbers = arguments
    batches = [int(number) for number in numbers]
    path, logged = Path(name), log == "log"
    gc.disable()
    if what == "record":
        path.write_bytes(pickle.dumps(record(role, batches, log=logged)))
        return 0
    recording = pickle.loads(path.read_bytes())[: len(batches)]
    count = what == "count"
    tallies = replay(role, batches, recording, log=logged, count=count)
    if count:
        _, once, twice = tallies
        per = {key: twice.figures[key] - once.figures[key] for key in once.figures}
        functions = Counter(twice.bytecodes)
        functions.subtract(once.bytecodes)
        rows = [
            [f"{Path(code.co_filename).name}:{code.co_qualname}", cost,
             twice.python[code] - once.python[code]]
            for code, cost in functions.most_common()
        ]  # fmt: skip
        print(json.dumps({"figures": per, "functions": rows}))
    return 0


def _child(*arguments: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*under, sys.executable, "-m", "benchmarks.count", "child", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **REPEATABLE}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done


def measure(role: str, log: bool, calls: int, *, instructions: bool) -> dict[str, Any]:
    """The figures of one call, and under ``functions`` the share of each function."""
    # The runs of cachegrind are one batch each, on the same recording.
    warm, once, twice = str(2 * calls), str(calls), str(2 * calls)
    given = (role, "log" if log else "plain")
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "recording")
        _child("record", name, *given, warm, once, twice)
        counted = json.loads(_child("count", name, *given, warm, once, twice).stdout)
        result: dict[str, Any] = {
            key: round(value / calls, 1) for key, value in counted["figures"].items()
        }
        if instructions:
            few = _instructions("run", name, *given, warm, once)
            many = _instructions("run", name, *given, warm, once, twice)
            # The third batch is twice the second, which contains the fixed costs as well.
            alone = _instructions("run", name, *given, warm)
            result["instructions"] = round(((many - few) - (few - alone)) / calls)
    result["functions"] = [
        [function, round(cost / calls, 1), round(times / calls, 2)]
        for function, cost, times in counted["functions"]
        if cost >= calls
    ]
    return result


def _instructions(*arguments: str) -> int:
    """The instructions of one child process, counted by cachegrind."""
    valgrind = ("valgrind", "--tool=cachegrind", "--cache-sim=no",
                f"--cachegrind-out-file={os.devnull}")  # fmt: skip
    found = re.search(r"I\s+refs:\s+([0-9,]+)", _child(*arguments, under=valgrind).stderr)
    assert found is not None
    return int(found[1].replace(",", ""))


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["child"]:
        return child(arguments[1:])
    parser = argparse.ArgumentParser(prog="bench count", description=__doc__)
    parser.add_argument("--calls", type=int, default=100, help="number of calls to count (100)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--functions", type=int, default=0, metavar="N",
                        help="list the N functions with the most bytecodes")  # fmt: skip
    parser.add_argument("--no-instructions", action="store_true", help="do not run cachegrind")
    options = parser.parse_args(arguments)
    instructions = not options.no_instructions and shutil.which("valgrind") is not None
    if not options.json:
        print(what_runs(), flush=True)
        print(f"{'one call':<24} {'bytecodes':>10} {'Python':>8} {'C':>8} {'instructions':>13}")
    results = {}
    for role in ROLES:
        for log in (True, False):
            name = f"{role}, {'with' if log else 'no'} log"
            row = results[name] = measure(role, log, options.calls, instructions=instructions)
            functions = row.pop("functions")[: options.functions]
            if functions and options.json:
                row["functions"] = functions
            if not options.json:
                counted = row.get("instructions")
                print(
                    f"{name:<24} {row['bytecodes']:10,.0f} {row['python']:8,.0f} {row['c']:8,.0f}"
                    f" {'-' if counted is None else f'{counted:,}':>13}",
                    flush=True,
                )
                for function, cost, times in functions:
                    print(f"    {cost:8.1f} {times:6.2f} x  {function}")
    if options.json:
        print(json.dumps({"runs": what_runs(), "calls": options.calls, "figures": results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
