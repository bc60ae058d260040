"""One process of the fault lab: managers, whose calls are judged every 50 ms.

    party.py '{"plain": {"listen": ["udp:5060:interface=198.51.100.1"]}}'

Takes commands as JSON lines on standard input.  Prints JSON lines: each change of a verdict, with
the time by CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final

import numpy as np
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineOnlyReceiver

from sessioncore import (
    Call,
    Clip,
    Deliver,
    Direction,
    Echo,
    Frames,
    SessionManager,
    Settings,
    Silence,
    Tone,
)

__all__ = ["EVERY"]

EVERY: Final = 0.05
"""Seconds between two looks at the verdict of each call."""
reactor: Any = the_reactor


class Fed(Frames):
    """A tone that the application writes frame by frame, until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self._tone = (8000 * np.sin(np.arange(160) * 2 * np.pi * 400 / 8000)).astype(np.int16)
        self.feeding = LoopingCall(self.write, self._tone)
        self.feeding.start(0.02)


def source_of(what: str) -> Any:
    """A source by its name: tone, silence, echo, fed, or the seconds of a clip."""
    if what[0].isdigit():
        return Clip(tone_samples(float(what)))
    return {"tone": Tone, "silence": Silence, "echo": Echo, "fed": Fed}[what]()


def tone_samples(seconds: float) -> Any:
    at = np.arange(round(8000 * seconds))
    return (8000 * np.sin(at * 2 * np.pi * 440 / 8000)).astype(np.int16)


class Watched:
    """A call, and what was last printed of its verdict."""

    def __init__(self, name: str, call: Call) -> None:
        self.name = name
        self.call = call
        self._last: Any = None

    def look(self) -> None:
        """Print the verdict, where it is another one."""
        verdict = self.call.verdict
        cause = verdict.cause
        key = (verdict.judgement, None if cause is None else cause.name)
        evidence = verdict.evidence
        if (key, evidence.reports) == self._last:
            return
        self._last = key, evidence.reports
        say(
            call=self.name,
            judgement=str(verdict.judgement),
            faulty=verdict.faulty,
            cause=key[1],
            reports=evidence.reports,
            agreed_for=evidence.agreed_for,
            local=self.call.local_rtp,
            remote=self.call.remote_rtp,
            line=str(verdict),
        )


def say(**what: Any) -> None:
    print(json.dumps({"t": time.monotonic(), **what}), flush=True)


class Party(LineOnlyReceiver):
    """Does what the lines of standard input say."""

    delimiter = b"\n"

    def __init__(self, settings: dict[str, dict[str, Any]]) -> None:
        self.managers = {
            name: SessionManager(reactor, _settings(given), on_incoming=self.incoming)
            for name, given in settings.items()
        }
        self.calls: dict[str, Watched] = {}
        self.answers: dict[str, str] = {}
        self.looking = LoopingCall(self.look)

    async def start(self) -> None:
        await gatherResults([each.start() for each in self.managers.values()])
        self.looking.start(EVERY)
        say(ready=True)

    def look(self) -> None:
        for each in list(self.calls.values()):
            each.look()

    def lineReceived(self, line: bytes) -> None:
        given = json.loads(line)
        getattr(self, "do_" + given.pop("do"))(**given)

    def connectionLost(self, reason: object = None) -> None:
        reactor.stop()

    def incoming(self, call: Call) -> Any:
        name = str(call.request_uri).partition(":")[2].partition("@")[0]
        self.calls[name] = Watched(name, call)
        return call.answer(source_of(self.answers.get(name, "tone")))

    def do_answer(self, call: str, source: str) -> None:
        """How the call of that name will be answered."""
        self.answers[call] = source

    def do_call(self, call: str, manager: str, uri: str, source: str = "tone") -> None:
        placed = self.managers[manager].call(uri, source=source_of(source))
        self.calls[call] = Watched(call, placed)

    def do_source(self, call: str, source: str) -> None:
        self.calls[call].call.set_source(source_of(source))

    def do_modify(self, call: str, direction: str) -> None:
        self.calls[call].call.modify(Direction(direction))

    def do_starve(self, call: str) -> None:
        """The application writes no more frames."""
        stream: Any = self.calls[call].call
        stream._leg.media.source.feeding.stop()

    def do_bridge(self, hears: str, says: str) -> None:
        """The call ``hears`` gets what the call ``says`` says."""
        frames = Frames()
        self.calls[hears].call.set_source(frames)
        self.calls[says].call.add_sink(Deliver(frames.write))

    def do_hang_up(self, call: str) -> None:
        self.calls[call].call.hang_up()


def _settings(given: dict[str, Any]) -> Settings:
    return Settings(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


def main(arguments: list[str]) -> None:
    """Run until standard input ends."""
    party = Party(json.loads(arguments[0]))
    StandardIO(party)
    reactor.callWhenRunning(Deferred.fromCoroutine, party.start())
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
