"""``bin/bench media [N ...]``: how many calls with echoed G.711 one core carries.

The audio of every call is decoded, attenuated by 6 dB and encoded again, 50 packets/s each way,
with the jitter ring, the latch, statistics and RTCP running.  A load generator in another
process (in C, compiled with ``cc`` at the start) checks each returned packet sample by sample.
The kernel floor is the same load on as many sockets, echoed by a bare C loop, in the same
run; so the ratio of the two holds on any machine, even a busy one.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import stolen_seconds, what_runs

__all__ = ["main"]

TARGET, LOCAL, RTCP_SINK = 10_000, 20_000, 19_999
PERIOD = 0.02
WARM_UP, COUNT, JUDGED_AFTER = 3.0, 500, 150
HOST = "127.0.0.77"  # a separate address, so that its ports are free


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench media", description=__doc__)
    parser.add_argument("calls", nargs="*", type=int, default=[500, 1000, 2000])
    parser.add_argument("--profile", metavar="FILE", help="cProfile of the measured process")
    parser.add_argument("--no-floor", action="store_true", help="leave the kernel floor out")
    parser.add_argument("--json", action="store_true", help="one JSON line per number of calls")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.serve:
        serve(options.serve, options.profile)
        return 0
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("bench media: the load generator needs a C compiler (cc)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        load = Path(folder, "media_load")
        source = Path(__file__).with_name("media_load.c")
        subprocess.run([compiler, "-O2", "-o", load, source], check=True)
        patterns = Path(folder, "patterns")
        patterns.write_bytes(make_patterns())
        results = []
        if not options.json:
            print(what_runs(), flush=True)
        for calls in options.calls:
            result = measure(calls, load, patterns, options)
            results.append(result)
            print(json.dumps(result) if options.json else describe(result), flush=True)
    usable = [result["calls"] for result in results if is_usable(result)]
    if not options.json:
        best = max(usable, default=None)
        print(f"largest usable of these (p99 lateness < 5 ms, >= 99.5 % right): {best}")
    return 0 if usable else 1


def make_patterns() -> bytes:
    """64 payloads of noise, and the expected echo of each."""
    from sessioncore.media.source_bank import SourceBank
    from sessioncore.media.sources import Echo
    from sessioncore.rtp.g711 import decode_ulaw, encode_ulaw

    sent = np.random.default_rng(1).integers(0, 256, (64, 160), np.uint8)
    heard = decode_ulaw(sent)
    out = np.zeros_like(heard)
    bank = SourceBank()
    for row in range(64):
        bank.attach(row, Echo(-6.0))
    bank.render(np.arange(64), heard, out, 0)
    return sent.tobytes() + encode_ulaw(out).tobytes()


def measure(calls: int, load: Path, patterns: Path, options: Any) -> dict[str, Any]:
    floor = None if options.no_floor else measure_floor(calls, load, patterns)
    command = [sys.executable, "-m", "benchmarks.media", "--serve", str(calls)]
    if options.profile:
        command += ["--profile", f"{options.profile}.{calls}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        if served.stdout.readline().strip() != "ready":
            raise SystemExit("bench media: the measured process did not start")
        generated = generate(calls, load, patterns)
        result: dict[str, Any] = json.loads(served.stdout.readline())
        served.terminate()
    result["generator"] = generated
    result["right_percent"] = 100 * generated["right"] / max(1, generated["sent"])
    if floor is not None:
        result["floor_calls_per_core"] = floor
        result["ratio"] = result["calls_per_core"] / floor
    return result


def generate(calls: int, load: Path, patterns: Path) -> dict[str, Any]:
    numbers = [calls, LOCAL, TARGET, RTCP_SINK, JUDGED_AFTER, COUNT]
    command = [load, "load", *map(str, numbers), patterns]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    generated: dict[str, Any] = json.loads(done.stdout)
    return generated


def measure_floor(calls: int, load: Path, patterns: Path) -> float:
    """The calls per core of the bare C loop."""
    numbers = map(str, [calls, TARGET, LOCAL, COUNT * PERIOD])
    with subprocess.Popen([load, "floor", *numbers], stdout=subprocess.PIPE) as echo:
        assert echo.stdout is not None
        echo.stdout.readline()
        generate(calls, load, patterns)
        floor = json.loads(echo.stdout.readline())
    return float(floor["packets"] * PERIOD / floor["cpu"])


def serve(calls: int, profile: str | None) -> None:
    """The measured process: clockwork, media plane, ``calls`` streams that echo."""
    from twisted.internet import reactor as global_reactor

    from sessioncore.media.plane import MediaPlane
    from sessioncore.media.sources import Echo
    from sessioncore.net.clockwork import clockwork_for
    from sessioncore.net.rtp import packet_io_for
    from sessioncore.rtp.codecs.pcmu import PCMU
    from sessioncore.rtp.rtcp import ntp_time
    from sessioncore.vocabulary import Direction, StreamAgreement

    reactor: Any = global_reactor
    clockwork = clockwork_for(reactor)
    io = packet_io_for(reactor, ports=range(TARGET, TARGET + 2 * calls))
    wall = time.time_ns() - clockwork.now()
    plane = MediaPlane(
        io,
        random_bits=random.getrandbits,
        ntp=lambda now: ntp_time(now + wall),
        on_event=lambda stream, event, detail, now: None,
    )
    before = resident()
    streams = []
    for index in range(calls):
        now = clockwork.now()
        stream = plane.open(HOST, now)
        streams.append(stream)
        if stream.local[1] != TARGET + 2 * index:
            raise SystemExit(f"port {TARGET + 2 * index} is taken")
        stream.set_source(Echo(-6.0))
        agreement = StreamAgreement(
            PCMU,
            0,
            0,
            stream.local,
            (HOST, LOCAL + index),
            (HOST, RTCP_SINK),
            Direction.SENDRECV,
        )
        stream.establish(agreement, signalling_host=HOST, nat=None, now=now)
        stream.sending.start(now, proven=True)
    # The daemon does the same after its start.
    gc.collect()
    gc.freeze()
    opened = resident()
    clockwork.start()
    clockwork.add_tick(plane.tick)
    measured = Measured(calls, plane, clockwork)

    def finish() -> None:
        report = measured.finish()
        report["streams"] = totals(streams)
        report["kb_per_call"] = (resident() - before) / calls
        report["kb_per_call_opened"] = (opened - before) / calls
        # The process runs until it is terminated, because the generator is not done yet.
        print(json.dumps(report), flush=True)

    def begin() -> None:
        # The first packets have come: the generator has started.
        if plane.statistics.packets_received < calls:
            reactor.callLater(0.1, begin)
            return
        reactor.callLater(WARM_UP, measured.begin, profile)
        reactor.callLater(WARM_UP + COUNT * PERIOD, finish)

    reactor.callLater(0, begin)
    print("ready", flush=True)
    reactor.run()


class Measured:
    """The measurement of the process between `begin` and `finish`."""

    def __init__(self, calls: int, plane: Any, clockwork: Any) -> None:
        self.calls = calls
        self.plane = plane
        self.clockwork = clockwork
        self.profile: tuple[Any, str] | None = None

    def begin(self, profile: str | None) -> None:
        if profile:
            import cProfile

            self.profile = (cProfile.Profile(), profile)
            self.profile[0].enable()
        self.clockwork.lateness.reset()
        self.missed = self.clockwork.missed
        self.received = self.plane.statistics.packets_received
        self.faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        self.stolen = stolen_seconds()
        self.cpu = os.times()
        self.at = time.monotonic()

    def finish(self) -> dict[str, Any]:
        used, seconds = os.times(), time.monotonic() - self.at
        user, system = used.user - self.cpu.user, used.system - self.cpu.system
        cpu = user + system
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - self.faults
        if self.profile is not None:
            self.profile[0].disable()
            self.profile[0].dump_stats(self.profile[1])
        lateness = self.clockwork.lateness
        packets = self.plane.statistics.packets_received - self.received
        carried = packets * PERIOD / seconds
        return {
            "calls": self.calls,
            "cpu_percent": 100 * cpu / seconds,
            "stolen_ms": 1000 * (stolen_seconds() - self.stolen),
            "cpu_us_per_packet": 1e6 * cpu / max(1, packets),
            "user_us_per_packet": 1e6 * user / max(1, packets),
            "system_us_per_packet": 1e6 * system / max(1, packets),
            "calls_per_core": carried * seconds / cpu,
            "lateness_p50_ms": lateness.percentile(50) / 1e6,
            "lateness_p99_ms": lateness.percentile(99) / 1e6,
            "page_faults": faults,
            "missed_ticks": self.clockwork.missed - self.missed,
            "received_percent": 100 * carried / self.calls,
        }


def totals(streams: list[Any]) -> dict[str, int]:
    """The sums of the statistics of all streams."""
    names = ["lost", "late", "overflow", "inserted", "dropped", "duplicates", "kernel_drops"]
    names += ["send_errors", "refused", "strangers", "invalid"]
    each = [stream.statistics for stream in streams]
    return {name: sum(getattr(one, name) for one in each) for name in names}


def resident() -> float:
    """Resident memory in KB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


def is_usable(result: dict[str, Any]) -> bool:
    late: float = result["lateness_p99_ms"]
    right: float = result["right_percent"]
    return late < 5 and right >= 99.5


def describe(result: dict[str, Any]) -> str:
    generated = result["generator"]
    text = (
        "{calls} calls: {cpu_percent:.1f} % of a core, {cpu_us_per_packet:.2f} us per packet "
        "echoed ({user_us_per_packet:.2f} user, {system_us_per_packet:.2f} system), "
        "{calls_per_core:.0f} calls per core; the host took {stolen_ms:.0f} ms\n"
        "  lateness p50/p99 {lateness_p50_ms:.2f}/{lateness_p99_ms:.2f} ms, "
        "{missed_ticks} ticks missed, {right_percent:.3f} % back and right, "
        "{kb_per_call:.1f} KB per call\n"
    ).format(**result)
    text += (
        "  delay p50/p99 {delay_p50_ms:.0f}/{delay_p99_ms:.0f} ms, {reports} RTCP reports; "
        "generator: {late_slots} late slots, {failed} failed sends"
    ).format(**generated)
    text += "\n  streams: " + ", ".join(
        f"{count} {name}" for name, count in result["streams"].items() if count
    )
    if "ratio" in result:
        text += "\n  kernel floor in C {floor_calls_per_core:.0f} calls, ratio {ratio:.3f}".format(
            **result
        )
    return text


if __name__ == "__main__":
    raise SystemExit(main())
