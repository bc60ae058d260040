"""Our process that places the calls of ``bin/bench calls``, as the daemon does.

It reads rounds from standard input, one JSON object per line, and answers each with one on standard
output: the number of answered calls, and the CPU time of this process.  Its events go to a file.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any, Final

from twisted.internet import reactor, stdio
from twisted.protocols.basic import LineOnlyReceiver

from sessioncore.daemon.process import IdleCollector
from sessioncore.manager import SessionManager
from sessioncore.media.sources import Silence
from sessioncore.net.limits import raise_descriptor_limit
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.vocabulary import SECOND
from sessioncore.watching.event_log import EventLog, open_log, text_lines
from sessioncore.watching.outcome import CallLedger

PORTS: Final = (10_000, 39_999)


class Round:
    """``count`` calls, ``rate`` a second, at most ``limit`` at a time, held for ``hold`` s."""

    def __init__(self, caller: Caller, *, rate: int, count: int, limit: int, hold: float) -> None:
        self._caller = caller
        self._gap = SECOND / rate
        self._count = count
        self._limit = limit
        self._hold = round(hold * SECOND)
        self._placed = self._up = 0
        self._armed = False
        self._deadlines = caller.clockwork.deadlines
        self._begin = caller.clockwork.now()
        self._more()

    def _due(self, _none: None, now: int) -> None:
        self._armed = False
        self._more()

    def _more(self) -> None:
        now = self._caller.clockwork.now()
        while self._placed < self._count and self._up < self._limit:
            when = self._begin + round(self._placed * self._gap)
            if when > now:
                if not self._armed:
                    self._armed = True
                    self._deadlines.at(when, self._due)
                return
            self._placed += 1
            self._up += 1
            call = self._caller.place()
            call.when_ended().addCallback(self._ended)
            call.when_answered().addCallback(lambda call: call.when_media_ready()).addCallbacks(
                self._media_ready, lambda _failure: None
            )

    def _media_ready(self, call: Call) -> None:
        if self._hold:
            self._deadlines.at(
                self._caller.clockwork.now() + self._hold, self._caller.hang_up, call
            )
        else:
            self._caller.hang_up(call, self._caller.clockwork.now())

    def _ended(self, _reason: object) -> None:
        self._up -= 1
        self._more()
        if self._placed == self._count and not self._up:
            self._caller.round_over()


class Caller(LineOnlyReceiver):
    """Runs one round after the other."""

    delimiter = b"\n"

    def __init__(self, uri: str, port: int, log: str) -> None:
        raise_descriptor_limit(PORTS[1] - PORTS[0] + 1024)
        self._uri = uri
        listening = Settings(listen=(f"udp:{port}:interface=127.0.0.1",), rtp_ports=PORTS)
        self._manager = SessionManager(reactor, listening)
        self.clockwork = self._manager.clockwork
        self._log = EventLog(open_log(log), text_lines, self.clockwork.deadlines)
        self._ledger = CallLedger(self._log.event)
        self._manager.add_event_sink(self._log)
        self._manager.add_event_sink(self._ledger, *self._ledger.kinds)
        self._manager.start().addErrback(_fail)
        IdleCollector(lambda: False).start(self.clockwork.now())

    def lineReceived(self, line: bytes) -> None:
        """Start a round."""
        self._before = self._spent()
        Round(self, **json.loads(line))

    def place(self) -> Call:
        """Place one call."""
        call = self._manager.prepare_call(self._uri, source=Silence())
        self._ledger.watch(call)
        call.place().addErrback(lambda _failure: None)
        return call

    def hang_up(self, call: Call, now: int) -> None:
        """End one call."""
        self._ledger.hanging_up(call.session, now)
        call.hang_up()

    def round_over(self) -> None:
        """Write the result of the round."""
        after = self._spent()
        spent: dict[str, Any] = {key: after[key] - self._before[key] for key in after}
        self.sendLine(json.dumps(spent).encode())

    def _spent(self) -> dict[str, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        answered = self._manager.statistics().calls["answered"]
        return {
            "done": answered,
            "took": time.monotonic(),
            "user": usage.ru_utime,
            "system": usage.ru_stime,
        }

    def connectionLost(self, reason: Any = None) -> None:
        """Standard input was closed: there are no more rounds."""
        reactor.stop()


def _fail(failure: Any) -> None:
    raise SystemExit(failure.getErrorMessage())


if __name__ == "__main__":
    stdio.StandardIO(Caller(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
    reactor.run()
