"""The fault lab: two processes with managers of ours, and what is done to the path between them.

All addresses are on the loopback interface of a network namespace.  ``nft`` drops packets, signals
stop and kill processes.  The lab looks at the verdicts from outside: what `party` printed and when.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import define, field
from twisted.internet import error
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater

__all__ = ["AFTER", "LIMIT", "Lab", "Outcome", "Scenario", "Side"]

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PATIENCE: Final = 20.0
"""Seconds within which a call has to be up, on a busy machine too."""
LIMIT: Final = 3.0
"""Seconds after the fault within which its cause has to rank first."""
REPORT: Final = 2.0
"""Seconds for which a fault must have lasted for an RTCP report to show it."""
AFTER: Final = 1.0
"""Seconds for which the cause has to stay the first."""
SLACK: Final = 0.2
"""Seconds between a change and the line that tells of it: the party looks 20 times a second."""
reactor: Any = the_reactor

Scenario: TypeAlias = "Callable[[Lab], Coroutine[Any, Any, None]]"


@define(eq=False)
class Side:
    """One side's view of a call: what its process printed."""

    party: Party
    name: str
    records: list[dict[str, Any]] = field(factory=list)

    @property
    def last(self) -> dict[str, Any]:
        """The newest record."""
        return self.records[-1]

    @property
    def local(self) -> tuple[str, int]:
        """Its RTP address."""
        host, port = self.last["local"]
        return host, port

    def tell(self, **command: Any) -> None:
        """Have the process do something with this call."""
        self.party.tell(call=self.name, **command)

    def since(self, began: float) -> list[dict[str, Any]]:
        """What was true at ``began``, and all that came after."""
        before = [each for each in self.records if each["t"] <= began]
        return before[-1:] + [each for each in self.records if each["t"] > began]


@define
class Outcome:
    """What one side said of one fault."""

    fault: str
    side: str
    cause: str
    """The one that should rank first."""
    seconds: float | None
    """After the fault until it did; None: it never did, or another one did later."""
    by_report: bool
    """Whether only the peer's RTCP can show it."""
    allowed: float
    """Seconds it may take."""
    others: list[str]
    """Other causes that ranked first of a faulty verdict meanwhile."""
    line: str
    """The verdict as printed."""

    @property
    def fine(self) -> bool:
        """Whether the right cause, and no wrong one, ranked first in time."""
        return self.seconds is not None and self.seconds <= self.allowed and not self.others


class Party(ProcessProtocol):
    """A process of `benchmarks.faults.party`."""

    def __init__(self, name: str, settings: dict[str, dict[str, Any]]) -> None:
        self.name = name
        self.sides: dict[str, Side] = {}
        self.ready = False
        self.said: list[str] = []
        self.over: Deferred[None] = Deferred()
        self._rest = b""
        command = [sys.executable, "-m", "benchmarks.faults.party", json.dumps(settings)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = reactor.spawnProcess(self, sys.executable, command, environment)

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            record = json.loads(line)
            if "call" in record:
                self.side(record["call"]).records.append(record)
            else:
                self.ready = True

    def errReceived(self, data: bytes) -> None:
        self.said.append(data.decode("utf-8", "replace"))

    def processEnded(self, reason: object = None) -> None:
        self.over.callback(None)

    def side(self, name: str) -> Side:
        """This side of the call of that name."""
        return self.sides.setdefault(name, Side(self, name))

    def tell(self, **command: Any) -> None:
        """Send a command."""
        self.process.write(json.dumps(command).encode() + b"\n")

    def signal(self, name: str) -> float:
        """Send a signal; returns when."""
        self.process.signalProcess(getattr(signal, f"SIG{name}"))
        return time.monotonic()

    def end(self) -> Deferred[None]:
        """Kill it; fires once it is gone."""
        try:
            self.process.signalProcess("KILL")
        except error.ProcessExitedAlready:
            pass
        return self.over


class Lab:
    """One run of some scenarios, all at once."""

    def __init__(self) -> None:
        self.parties: list[Party] = []
        self.outcomes: list[Outcome] = []
        self.problems: list[str] = []
        self.us: Party
        self.them: Party

    async def run(self, chosen: dict[str, Scenario]) -> None:
        """Run all of them, and end the processes whatever happens."""
        subprocess.run(["nft", "flush", "table", "inet", "lab"], check=True)
        try:
            self.us = self.party("us", US)
            self.them = self.party("them", THEM)
            await self.until("the parties", lambda: self.us.ready and self.them.ready)
            await gatherResults(
                [Deferred.fromCoroutine(self._one(*each)) for each in chosen.items()]
            )
        finally:
            await gatherResults([each.end() for each in self.parties])
            self.problems += ["".join(each.said) for each in self.parties if each.said]

    async def _one(self, name: str, scenario: Scenario) -> None:
        try:
            await scenario(self)
        except Exception as problem:
            self.problems.append(f"{name}: {problem!r}")

    def party(self, name: str, settings: dict[str, dict[str, Any]]) -> Party:
        """Another process."""
        made = Party(name, settings)
        self.parties.append(made)
        return made

    async def talk(
        self,
        name: str,
        *,
        us: Party | None = None,
        them: Party | None = None,
        manager: str = "plain",
        to: str = "plain",
        heard: bool = True,
        **given: Any,
    ) -> tuple[Side, Side]:
        """A call from us to them; ``heard``: wait until its audio is proven both ways."""
        us, them = us or self.us, them or self.them
        ours, theirs = us.side(name), them.side(name)
        host = them_address(to) if to in THEM else to
        ours.tell(do="call", manager=manager, uri=f"sip:{name}@{host}", **given)
        wanted = "two_way" if heard else None

        def is_up() -> bool:
            return all(
                each.records
                and each.last["agreed_for"] is not None
                and (wanted is None or each.last["judgement"] == wanted)
                for each in (ours, theirs)
            )

        await self.until(f"the call {name}", is_up)
        return ours, theirs

    async def until(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until ``condition()`` holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"{what} did not come within {PATIENCE} s")
            await deferLater(reactor, 0.02)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await deferLater(reactor, seconds)

    def nft(self, rule: str) -> float:
        """Add a rule to what may come in; returns when it was there."""
        words = ["nft", "add", "rule", "inet", "lab", "input", *rule.split()]
        subprocess.run(words, check=True, capture_output=True)
        return time.monotonic()

    async def expect(
        self,
        fault: str,
        side: Side,
        cause: str,
        began: float,
        *,
        by_report: bool = False,
        within: float = LIMIT,
    ) -> None:
        """Note when ``cause`` came to rank first, at ``began`` or later, and stayed there.

        ``by_report``: the first report of the peer that can show it has to suffice.
        """
        limit = 2 * PATIENCE if by_report else within + SLACK
        until = began + limit

        def found() -> bool:
            return time.monotonic() > until or side.last["cause"] == cause

        while not found():
            await deferLater(reactor, 0.02)
        await deferLater(reactor, AFTER)
        self.outcomes.append(self._outcome(fault, side, cause, began, by_report, within))

    def _outcome(
        self, fault: str, side: Side, cause: str, began: float, by_report: bool, within: float
    ) -> Outcome:
        seen = side.since(began)
        wrong = [each for each in seen if each["cause"] != cause]
        at = next((each["t"] for each in seen if each["cause"] == cause), None)
        stays = side.last["cause"] == cause
        others = sorted({str(each["cause"]) for each in wrong if each["faulty"]})
        return Outcome(
            fault,
            side.party.name,
            cause,
            max(0.0, at - began) if at is not None and stays else None,
            by_report,
            _report_due(seen, began) + SLACK if by_report else within + SLACK,
            others,
            side.last["line"],
        )


def _report_due(seen: list[dict[str, Any]], began: float) -> float:
    """Seconds until the first report came that can show the fault."""
    first = seen[0]["reports"]
    for record in seen:
        if record["reports"] > first and record["t"] > began + REPORT:
            return float(record["t"] - began)
        first = max(first, record["reports"])
    return 0.0


US: Final[dict[str, dict[str, Any]]] = {
    "plain": {"listen": ["udp:5060:interface=198.51.100.1"]},
    # What comes to this one is dropped from the beginning.
    "walled": {"listen": ["udp:5060:interface=198.51.100.2"]},
}
THEM: Final[dict[str, dict[str, Any]]] = {
    "plain": {"listen": ["udp:5060:interface=203.0.113.1"]},
    "walled": {"listen": ["udp:5060:interface=203.0.113.2"]},
}


def them_address(manager: str) -> str:
    """Where a manager of theirs listens."""
    listen: str = THEM[manager]["listen"][0]
    return listen.rpartition("=")[2]


def set_up() -> None:
    """Addresses and an empty rule set, in the namespace that we are in."""
    hosts = [f"198.51.100.{n}" for n in range(1, 10)] + [f"203.0.113.{n}" for n in range(1, 20)]
    for host in hosts:
        subprocess.run(["ip", "address", "add", f"{host}/32", "dev", "lo"], check=True)
    table = "table inet lab {\n chain input {\n type filter hook input priority 0\n }\n}\n"
    subprocess.run(["nft", "-f", "-"], input=table.encode(), check=True)
