"""``bin/bench calls``: the cost of a call, answered and placed, compared with SIPp in the same run.

Answering: SIPp calls our server and its own in turn.  Placing: our caller and SIPp's call SIPp's
server in turn.  Each call has PCMU, 180 and 200, 100 ms hold, BYE; first at exactly ``--rate``
calls a second, then in a closed loop of 60 calls without hold.  CPU is that of the measured process
during each round: start and warm-up do not count, except for SIPp's caller, which is a new process
each time.  RTP goes to a sink that counts the streams, so that our calls that sent none are
reported; without hold there are some, and if we hang up at once, all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple, TypeAlias

from benchmarks import what_runs

TICKS: Final = os.sysconf("SC_CLK_TCK")
HOST: Final = "127.0.0.1"
ROOT: Final = Path(__file__).resolve().parent.parent
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(ROOT)}

DESCRIPTION: Final = """v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio {sink_port} RTP/AVP 0
a=rtpmap:0 PCMU/8000"""

SCENARIO: Final = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="bench">
  <send retrans="500">
    <![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: bench <sip:bench@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: [service] <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: sip:bench@[local_ip]:[local_port]
Max-Forwards: 70
Subject: Performance Test
Content-Type: application/sdp
Content-Length: [len]

{description}
]]>
  </send>
  <recv response="100" optional="true"></recv>
  <recv response="180"></recv>
  <recv response="200" rtd="true" crlf="true"></recv>
  <send>
    <![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: bench <sip:bench@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: [service] <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Contact: sip:bench@[local_ip]:[local_port]
Max-Forwards: 70
Content-Length: 0

]]>
  </send>
  {hold}
  <send retrans="500">
    <![CDATA[
BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: bench <sip:bench@[local_ip]:[local_port]>;tag=[pid]SIPpTag00[call_number]
To: [service] <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Contact: sip:bench@[local_ip]:[local_port]
Max-Forwards: 70
Content-Length: 0

]]>
  </send>
  <recv response="200" crlf="true"></recv>
</scenario>
"""


ANSWERS: Final = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="bench">
  <recv request="INVITE" crlf="true"></recv>
  <send>
    <![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[pid]SIPpTag01[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]>
  </send>
  <send retrans="500">
    <![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]SIPpTag01[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

{description}
]]>
  </send>
  <recv request="ACK" rtd="true" crlf="true"></recv>
  <recv request="BYE"></recv>
  <send>
    <![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]>
  </send>
  <timewait milliseconds="4000"/>
</scenario>
"""


class Sink:
    """Counts RTP packets on one UDP port, and the streams: a source with an SSRC.

    The SSRC alone is not enough: two of 10,000 calls have the same one in one run of ninety.

    It polls every 20 ms.  A reader that sleeps in ``recv`` would be woken by each send of the
    server, which would count as CPU time of the server.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self.packets = 0
        self.streams: set[tuple[int, bytes]] = set()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        buffer = bytearray(2048)
        view = memoryview(buffer)
        while True:
            try:
                length, source = self._socket.recvfrom_into(buffer)
            except BlockingIOError:
                time.sleep(0.02)
                continue
            if length >= 12 and buffer[0] >> 6 == 2:
                self.packets += 1
                self.streams.add((source[1], bytes(view[8:12])))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> tuple[float, float]:
    """User and system seconds of one process, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


@contextmanager
def server(command: list[str], port: int, folder: Path, core: int | None) -> Iterator[int]:
    """Run a SIP server and yield its process id once it answers OPTIONS or anything else."""
    with (folder / f"server-{port}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=ENVIRONMENT)
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        try:
            _wait_until_bound(process, port)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_bound(process: subprocess.Popen[bytes], port: int) -> None:
    wanted = f":{port:04X} "
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"the server ended at once with exit status {process.returncode}")
        if wanted in Path("/proc/net/udp").read_text(encoding="ascii"):
            return
        time.sleep(0.05)
    raise SystemExit("the server did not open its port within 10 s")


class Spent(NamedTuple):
    """The result of one round: successful calls, and seconds."""

    done: int
    took: float
    user: float
    system: float


Round: TypeAlias = "Callable[[dict[str, Any]], Spent]"
"""Makes calls and returns the cost for the measured process."""


def place(
    folder: Path, scenarios: dict[bool, Path], port: int, core: int | None, given: dict[str, Any]
) -> Spent:
    """Let SIPp place calls; returns the cost for SIPp."""
    command = [
        "sipp", f"{HOST}:{port}", "-sf", str(scenarios[given["hold"] > 0]),
        "-i", HOST, "-p", str(free_port()), "-r", str(given["rate"]), "-m", str(given["count"]),
        "-l", str(given["limit"]), "-nostdin", "-trace_stat", "-stf", str(folder / "stat.csv"),
        "-fd", "1", "-buff_size", "4194304", "-timeout", "120",
    ]  # fmt: skip
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    _, process.returncode, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - started
    last = (folder / "stat.csv").read_text(encoding="ascii").strip().splitlines()
    head, row = last[0].split(";"), last[-1].split(";")
    done = int(row[head.index("SuccessfulCall(C)")])
    return Spent(done, took, usage.ru_utime, usage.ru_stime)


def answered_by(
    pid: int, folder: Path, scenarios: dict[bool, Path], port: int, given: dict[str, Any]
) -> Spent:
    """Let SIPp call a server; returns the cost for the server."""
    before = cpu_seconds(pid)
    done, took, _, _ = place(folder, scenarios, port, CORES[1], given)
    after = cpu_seconds(pid)
    return Spent(done, took, after[0] - before[0], after[1] - before[1])


@contextmanager
def our_caller(port: int, folder: Path) -> Iterator[Round]:
    """Run `benchmarks.caller` and yield a function that lets it place calls to ``port``."""
    command = [
        sys.executable, "-m", "benchmarks.caller", f"sip:service@{HOST}:{port}",
        str(free_port()), str(folder / "caller.log"),
    ]  # fmt: skip
    with (
        (folder / "caller.err").open("wb") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env=ENVIRONMENT,
            text=True,
        ) as process,
    ):
        if CORES[0] is not None:
            os.sched_setaffinity(process.pid, {CORES[0]})
        assert process.stdin is not None and process.stdout is not None
        told, answers = process.stdin, process.stdout

        def placed(given: dict[str, Any]) -> Spent:
            print(json.dumps(given), file=told, flush=True)
            answer = answers.readline()
            if not answer:
                raise SystemExit((folder / "caller.err").read_text(encoding="utf-8"))
            return Spent(**json.loads(answer))

        yield placed


def measure(name: str, made: Round, sink: Sink, given: dict[str, Any]) -> dict[str, float]:
    """One round: microseconds of user and system CPU per call, and failed calls."""
    packets, streams = sink.packets, len(sink.streams)
    spent = made(given)
    time.sleep(0.1)  # the sink polls every 20 ms
    user, system = (1e6 * each / max(spent.done, 1) for each in (spent.user, spent.system))
    result = {
        "user": user,
        "system": system,
        "calls": spent.done,
        "failed": given["count"] - spent.done,
        "took": spent.took,
        "heard": len(sink.streams) - streams,
        "packets": sink.packets - packets,
    }
    print(
        f"  {name:<13} {user:7.0f} us user {system:7.0f} us system {user + system:7.0f} us a call"
        f"   {spent.done} calls, {result['failed']:.0f} failed, {spent.took:5.1f} s,"
        f" RTP of {result['heard']:.0f} calls",
        flush=True,
    )
    return result


WARM_UP: Final = {"rate": 500, "count": 2500}
"""Fills the pool of ports and the caches; not counted."""
CORES: list[int | None] = [None, None]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench calls", description=__doc__)
    parser.add_argument("side", nargs="?", choices=("both", "answer", "place"), default="both",
                        help="which calls to measure (both)")  # fmt: skip
    parser.add_argument("--rate", type=int, default=1000, help="calls a second (1000)")
    parser.add_argument("--seconds", type=int, default=10, help="length of each round (10)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side (3)")
    parser.add_argument("--loop", type=int, default=20_000, help="calls of a closed loop")
    options = parser.parse_args(arguments)
    if shutil.which("sipp") is None:
        print("bench calls needs SIPp: apt-get install sip-tester", file=sys.stderr)
        return 2
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= 2:
        CORES[:] = cores[:2]
    sink = Sink()
    print(what_runs(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        return run(options, Path(name), sink)


def run(options: argparse.Namespace, folder: Path, sink: Sink) -> int:
    scenarios = {True: folder / "hold.xml", False: folder / "loop.xml"}
    description = DESCRIPTION.replace("{sink_port}", str(sink.port))
    text = SCENARIO.replace("{description}", description)
    pause = '<pause milliseconds="100"/>'
    scenarios[True].write_text(text.replace("{hold}", pause), encoding="ascii")
    scenarios[False].write_text(text.replace("{hold}", ""), encoding="ascii")
    answers = folder / "answers.xml"
    answers.write_text(ANSWERS.replace("{description}", description), encoding="ascii")
    rated = {
        "rate": options.rate, "count": options.rate * options.seconds, "limit": 10_000, "hold": 0.1
    }  # fmt: skip
    loop = {"rate": 100_000, "count": options.loop, "limit": 60, "hold": 0.0}
    failed = 0
    for title, given in (
        (f"{options.rate} calls/s, 100 ms hold", rated),
        ("closed loop of 60 calls", loop),
    ):
        # New processes for each part, so that the state of one part does not affect the next.
        if options.side != "place":
            with answering(folder, scenarios) as sides:
                failed += compare(f"answering, {title}", sides, options.rounds, sink, given)
        if options.side != "answer":
            with placing(folder, scenarios, answers) as sides:
                failed += compare(f"placing, {title}", sides, options.rounds, sink, given)
    return 1 if failed else 0


@contextmanager
def answering(folder: Path, scenarios: dict[bool, Path]) -> Iterator[dict[str, Round]]:
    """Our server and SIPp's server, each called by SIPp."""
    ours, theirs = free_port(), free_port()
    # Ports rest for 2 s, or for half a second if there are too few for the rate.
    our_command = [
        sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n",
        "--pidfile=", "sessioncore", "--role=uas", "--answer", "silence",
        "--listen", f"udp:{ours}:interface={HOST}", "--rtp-ports", "10000-39999",
    ]  # fmt: skip
    their_command = ["sipp", "-sn", "uas", "-i", HOST, "-p", str(theirs), "-nostdin"]
    with (
        server(our_command, ours, folder, CORES[0]) as our_pid,
        server(their_command, theirs, folder, CORES[0]) as their_pid,
    ):
        yield {
            "sessioncore": partial(answered_by, our_pid, folder, scenarios, ours),
            "sipp uas": partial(answered_by, their_pid, folder, scenarios, theirs),
        }


@contextmanager
def placing(folder: Path, scenarios: dict[bool, Path], answers: Path) -> Iterator[dict[str, Round]]:
    """Our caller and SIPp's caller, both calling SIPp's server."""
    port = free_port()
    command = ["sipp", "-sf", str(answers), "-i", HOST, "-p", str(port), "-nostdin",
               "-buff_size", "4194304"]  # fmt: skip
    with (
        server(command, port, folder, CORES[1]),
        our_caller(port, folder) as ours,
    ):
        yield {
            "sessioncore": ours,
            "sipp uac": partial(place, folder, scenarios, port, CORES[0]),
        }


def compare(
    title: str, sides: dict[str, Round], rounds: int, sink: Sink, given: dict[str, Any]
) -> int:
    """Run rounds of both sides in turn and print medians; returns the number of failed calls."""
    print(title, flush=True)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for name, made in sides.items():
        measure(f"({name})", made, sink, {**given, **WARM_UP})
    for _ in range(rounds):
        for name, made in sides.items():
            results[name].append(measure(name, made, sink, given))
    (_, ours), (reference, theirs) = results.items()
    our_cost, their_cost = (
        median(row["user"] + row["system"] for row in rows) for rows in (ours, theirs)
    )
    silent = sum(max(0.0, row["calls"] - row["heard"]) for row in ours)
    print(
        f"  median: sessioncore {our_cost:.0f} us, {reference} {their_cost:.0f} us a call:"
        f" {our_cost / their_cost:.2f} x; {1e6 / our_cost:.0f} calls/s per core;"
        f" calls without RTP: {silent:.0f}\n",
        flush=True,
    )
    return round(sum(row["failed"] for rows in results.values() for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
