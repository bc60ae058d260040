"""``bin/bench calls``: what a call costs the server, beside SIPp's own UAS in the same run.

SIPp calls both servers in turn: PCMU, 180 and 200 required, 100 ms hold, BYE; first at exactly
``--rate`` calls a second, then in a closed loop of 60 calls without hold.  CPU is read from
``/proc/PID/stat`` around each round, so start and warm-up do not count.  RTP goes to a sink
that counts the streams it hears, so that calls of ours that sent none are told of; without hold
there are some.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import what_runs

TICKS: Final = os.sysconf("SC_CLK_TCK")
HOST: Final = "127.0.0.1"
ROOT: Final = Path(__file__).resolve().parent.parent
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(ROOT)}

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

v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio {sink_port} RTP/AVP 0
a=rtpmap:0 PCMU/8000
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


class Sink:
    """Counts RTP packets on one UDP port, and the streams: a source with an SSRC.

    Of the SSRCs alone two in 10,000 calls are the same once in ninety times.

    It looks every 20 ms: a reader that slept in ``recv`` would have to be woken by each of the
    server's sends, and the server would be charged for that.
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
    """User and system seconds of one process, all its threads included."""
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
            raise SystemExit(f"the server ended at once with status {process.returncode}")
        if wanted in Path("/proc/net/udp").read_text(encoding="ascii"):
            return
        time.sleep(0.05)
    raise SystemExit("the server did not open its port within 10 s")


def place(
    folder: Path, scenario: Path, port: int, *, rate: int, count: int, limit: int, core: int | None
) -> tuple[int, float]:
    """Have SIPp place calls; returns how many succeeded and how long it took in s."""
    command = [
        "sipp", f"{HOST}:{port}", "-sf", str(scenario), "-i", HOST, "-p", str(free_port()),
        "-r", str(rate), "-m", str(count), "-l", str(limit), "-nostdin", "-trace_stat",
        "-stf", str(folder / "stat.csv"), "-fd", "1", "-buff_size", "4194304", "-timeout", "120",
    ]  # fmt: skip
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    process.wait()
    took = time.monotonic() - started
    last = (folder / "stat.csv").read_text(encoding="ascii").strip().splitlines()
    head, row = last[0].split(";"), last[-1].split(";")
    return int(row[head.index("SuccessfulCall(C)")]), took


def measure(
    name: str, pid: int, folder: Path, scenario: Path, port: int, sink: Sink, args: dict[str, int]
) -> dict[str, float]:
    """One round: microseconds of user and system CPU per call, and what went wrong."""
    packets, streams = sink.packets, len(sink.streams)
    before = cpu_seconds(pid)
    done, took = place(folder, scenario, port, core=CORES[1], **args)
    after = cpu_seconds(pid)
    user, system = (1e6 * (b - a) / max(done, 1) for a, b in zip(before, after, strict=True))
    result = {
        "user": user,
        "system": system,
        "calls": done,
        "failed": args["count"] - done,
        "took": took,
        "heard": len(sink.streams) - streams,
        "packets": sink.packets - packets,
    }
    print(
        f"  {name:<12} {user:7.0f} us user {system:7.0f} us system {user + system:7.0f} us a call"
        f"   {done} calls, {args['count'] - done} failed, {took:5.1f} s,"
        f" RTP of {result['heard']:.0f} calls",
        flush=True,
    )
    return result


WARM_UP: Final = {"rate": 500, "count": 2500}
"""Fills the pool of ports and the caches; not counted."""
CORES: list[int | None] = [None, None]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench calls", description=__doc__)
    parser.add_argument("--rate", type=int, default=1000, help="calls a second (1000)")
    parser.add_argument("--seconds", type=int, default=10, help="length of each round (10)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server (3)")
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
    holding, looping = folder / "hold.xml", folder / "loop.xml"
    text = SCENARIO.replace("{sink_port}", str(sink.port))
    holding.write_text(text.replace("{hold}", '<pause milliseconds="100"/>'), encoding="ascii")
    looping.write_text(text.replace("{hold}", ""), encoding="ascii")
    ours, theirs = free_port(), free_port()
    # Ports rest for 2 s, for half a second where there are too few for the rate.
    our_command = [
        sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n",
        "--pidfile=", "sessioncore", "--role=uas", "--answer", "silence",
        "--listen", f"udp:{ours}:interface={HOST}", "--rtp-ports", "10000-39999",
    ]  # fmt: skip
    their_command = ["sipp", "-sn", "uas", "-i", HOST, "-p", str(theirs), "-nostdin"]
    rated = {"rate": options.rate, "count": options.rate * options.seconds, "limit": 10_000}
    loop = {"rate": 100_000, "count": options.loop, "limit": 60}
    results: dict[str, list[dict[str, float]]] = {}
    for title, scenario, args in (
        (f"{options.rate} calls/s, 100 ms hold", holding, rated),
        ("closed loop of 60 calls", looping, loop),
    ):
        print(title, flush=True)
        # New servers for each part: what one part left behind must not cost the next.
        with (
            server(our_command, ours, folder, CORES[0]) as our_pid,
            server(their_command, theirs, folder, CORES[0]) as their_pid,
        ):
            sides = (("sessioncore", our_pid, ours), ("sipp uas", their_pid, theirs))
            for who, pid, port in sides:
                measure(f"({who})", pid, folder, scenario, port, sink, {**args, **WARM_UP})
            for _ in range(options.rounds):
                for who, pid, port in sides:
                    row = measure(who, pid, folder, scenario, port, sink, args)
                    results.setdefault(f"{title} {who}", []).append(row)
        report(title, results)
    return 1 if any(row["failed"] for rows in results.values() for row in rows) else 0


def report(title: str, results: dict[str, list[dict[str, float]]]) -> None:
    def cost(who: str) -> float:
        return median(row["user"] + row["system"] for row in results[f"{title} {who}"])

    ours, theirs = cost("sessioncore"), cost("sipp uas")
    rows = results[f"{title} sessioncore"]
    silent = sum(max(0.0, row["calls"] - row["heard"]) for row in rows)
    print(
        f"  median: sessioncore {ours:.0f} us, sipp uas {theirs:.0f} us a call:"
        f" {ours / theirs:.2f} x; {1e6 / ours:.0f} calls/s per core;"
        f" calls without RTP: {silent:.0f}\n",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
