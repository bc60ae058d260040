"""``bin/bench faults``: does the verdict name the right cause of every fault of the book?

Each fault is injected between two processes of ours, in a network namespace of its own
(``unshare -n``), where nothing leaves this machine.  Its cause has to rank first in
``Call.verdict`` within 3 s, or where only RTCP can show it, with the first report that can; and no
other cause may rank first of a faulty verdict.  All chosen faults run at once.

Printed for each: how often the right cause came in time, and the longest it took.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from attrs import asdict
from twisted.internet import task
from twisted.internet.defer import Deferred

from benchmarks.faults.book import SCENARIOS
from benchmarks.faults.lab import Lab, Outcome, set_up
from benchmarks.namespace import INSIDE, enter, raise_loopback


def main(arguments: list[str] | None = None) -> int:
    """Inject the faults and print the table; the exit status is 1 where a verdict was wrong."""
    parser = argparse.ArgumentParser(
        prog="bin/bench faults", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--times", type=int, default=1, help="how often each is injected")
    parser.add_argument("--json", action="store_true", help="print each outcome as a JSON line")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in SCENARIOS]
    if unknown:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(SCENARIOS)}")
    if INSIDE not in os.environ:
        return enter("benchmarks.faults", sys.argv[1:] if arguments is None else arguments)
    raise_loopback()
    set_up()
    status: list[int] = []
    task.react(lambda _: Deferred.fromCoroutine(_repeat(given, status)))
    return status[0]


async def _repeat(given: Any, status: list[int]) -> None:
    outcomes: list[Outcome] = []
    problems: list[str] = []
    for _ in range(given.times):
        lab = Lab()
        await lab.run({name: SCENARIOS[name] for name in given.names or SCENARIOS})
        outcomes += lab.outcomes
        problems += lab.problems
    if given.json:
        for each in outcomes:
            print(json.dumps({**asdict(each), "fine": each.fine}))
    else:
        _print(outcomes, given.times)
    for problem in problems:
        print(problem, file=sys.stderr)
    status.append(0 if not problems and all(each.fine for each in outcomes) else 1)


def _print(outcomes: list[Outcome], times: int) -> None:
    row = "{:<24} {:<5} {:<34} {:>7} {:>8}"
    print(row.format("fault", "side", "cause", "found", "longest"))
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault((each.fault, each.side, each.cause), []).append(each)
    for (fault, side, cause), group in groups.items():
        fine = sum(each.fine for each in group)
        longest = max((each.seconds for each in group if each.seconds is not None), default=None)
        shown = "-" if longest is None else f"{longest:.2f} s"
        print(row.format(fault, side, cause, f"{fine}/{times}", shown))
        for each in group:
            if not each.fine:
                print(f"    {each.seconds} of {each.allowed:.2f} s, {each.others}: {each.line}")


if __name__ == "__main__":
    raise SystemExit(main())
