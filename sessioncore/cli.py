"""The ``sessioncore`` command: call, answer, trace, explain, top, ladder, machines.

Exit status: 0 if all calls had audio both ways, 1 if not, 2 if the command line was wrong or named
what cannot be opened.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from attrs import evolve
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from twisted.python import usage
from zope.interface import implementer

from sessioncore.daemon.calling import CallPlan
from sessioncore.daemon.command import Said, WithWords
from sessioncore.daemon.options import AnswerOptions, CallOptions, LogOptions
from sessioncore.daemon.remote import DEFAULT, RemoteDashboard, watch
from sessioncore.daemon.service import DaemonService, Log, UacPlan, UacService, UasService
from sessioncore.diagnosis.commands import SelftestCommand
from sessioncore.errors import ConfigurationError, UnreadableInput
from sessioncore.explaining.calls import SeenCall, calls_in
from sessioncore.explaining.reading import read_file
from sessioncore.explaining.report import Report
from sessioncore.media.sources import Tone
from sessioncore.rtp.codecs import CODECS
from sessioncore.sdp.formats import MediaPolicy
from sessioncore.settings import Settings
from sessioncore.vocabulary import SECOND, host_port
from sessioncore.watching.diagrams import diagrams
from sessioncore.watching.dossier_reader import read_dossier
from sessioncore.watching.event_log import printable
from sessioncore.watching.ladder import (
    Kind,
    Ladder,
    ladder_of_dossier,
    ladder_text,
    own_and_peers,
    summary,
)
from sessioncore.watching.live_lines import LiveLines
from sessioncore.watching.messages import Message
from sessioncore.watching.outcome import Outcome
from sessioncore.watching.output import close_outputs, standard_error, standard_output
from sessioncore.watching.walk import Walk, heading

__all__ = ["Command", "main"]

_MOST_STEPS = 1_000
"""Steps of a ladder that is printed from a file."""


class CallCommand(WithWords, CallOptions):
    """``sessioncore call``."""

    synopsis = "sessioncore call URI [URI ...] [options]"
    longdesc = "Places calls and reports whether they had audio both ways, or what they heard."
    hint = "See `sessioncore call --help`."

    def parseArgs(self, *uris: str) -> None:
        """Take the URIs."""
        if not uris:
            raise usage.UsageError("a URI to call is missing; write e.g. sip:bob@192.0.2.1")
        self.uris = uris

    def run(self) -> int:
        """Call; 0 if all calls had audio both ways and every line could be printed."""
        plan = self.uac_plan(self.uris)
        outcomes: list[Outcome] = []
        service = UacService(plan, say=lambda outcome, _interrupted: outcomes.append(outcome))
        apart = "-" in (plan.events, plan.reports.json)  # standard output is for these alone
        out = standard_error() if apart else standard_output()
        # What is redrawn would be torn by what is written between.
        redrawn = False if "-" in (plan.outputs.trace, plan.outputs.cdr) else None
        lines = None if plan.events == "-" else LiveLines(out, terminal=redrawn)
        run_service(service, lines, then=partial(_follow, lines))
        if not outcomes:
            return 1
        print(outcomes[0], file=out, flush=True)
        return 0 if outcomes[0].good and not service.output_lost else 1


def _follow(lines: LiveLines | None, service: DaemonService) -> None:
    for address in service.web_addresses:
        # What is only informative is not logged, and this is asked for.
        print(f"sessioncore: see {address}", file=standard_error(), flush=True)
    if lines is not None:
        service.every(SECOND, lines.look)


class AnswerCommand(Said, AnswerOptions, LogOptions):
    """``sessioncore answer``."""

    synopsis = "sessioncore answer [options]"
    longdesc = "Answers calls in the foreground until it is stopped."
    hint = "See `sessioncore answer --help`."

    def run(self) -> int:
        """Answer; 0 unless it could not start, or not every event could be printed."""
        service = UasService(self.uas_plan(), lines=self.lines())
        run_service(service, level=LogLevel.info)
        return 1 if service.output_lost else 0


class TraceCommand(Said, AnswerOptions):
    """``sessioncore trace``."""

    synopsis = "sessioncore trace [options]"
    longdesc = (
        "Prints the steps of calls through the package.  With --listen it answers calls and follows"
        " them; without, it calls itself and follows both sides."
    )
    hint = "See `sessioncore trace --help`."

    def run(self) -> int:
        """Trace; 0 if the call to itself had audio both ways."""
        by_itself = not self["listen"]
        if by_itself:
            self.opt_listen("udp:0:interface=127.0.0.1")
        walk = Walk(standard_output(), "UAS")
        service = UasService(self.uas_plan(), tracer=walk)
        print(heading(), end="\n\n", flush=True)
        if not by_itself:
            run_service(service, walk, LogLevel.info)
            return 0
        run_service(service, walk, then=self._call_itself)
        return 0 if self.heard else 1

    heard = False

    def _call_itself(self, callee: DaemonService) -> None:
        """Place a short call to the service that has just started."""
        host, port = callee.manager.local_addresses[0]
        plan = UacPlan(
            evolve(callee.settings, listen=("udp:0:interface=127.0.0.1",)),
            CallPlan((f"sip:trace@{host_port(host, port)}",), source=Tone(), duration=0.2),
        )
        walk = Walk(standard_output(), "UAC")
        caller = UacService(plan, tracer=walk, say=self._over)
        caller.begin()
        caller.add_log(walk)
        caller.reactor.addSystemEventTrigger("before", "shutdown", caller.stopService)
        caller.startService()

    def _over(self, outcome: Outcome, _interrupted: bool) -> None:
        self.heard = outcome.good


class RemoteOptions(WithWords):
    """The option of the commands that read a dashboard."""

    optParameters = [["web-token", None, None, "File with the token that the server wants."]]

    def dashboard(self, url: str) -> RemoteDashboard:
        """The dashboard at ``url``."""
        name = self["web-token"]
        from sessioncore.dashboard.gate import read_token  # only they need it

        return RemoteDashboard(url, None if name is None else read_token("--web-token", name))


class TopCommand(RemoteOptions):
    """``sessioncore top``."""

    synopsis = "sessioncore top [URL] [options]"
    longdesc = (
        "Shows the calls of a running server with --dashboard, again every second until Ctrl-C."
        f"  Without a URL that is {DEFAULT}.  Printed once where there is no terminal."
    )
    hint = "See `sessioncore top --help`."
    optFlags = [["once", None, "Print the calls once."]]

    def parseArgs(self, url: str = DEFAULT, *words: str) -> None:
        """Take the URL."""
        super().parseArgs(*words)
        self.url = url

    def run(self) -> int:
        """Show the calls; 0 unless they cannot be read."""
        out = sys.stdout
        terminal = out.isatty()
        once = bool(self["once"]) or not terminal

        def size() -> tuple[int, int]:
            columns, lines = shutil.get_terminal_size()
            return (columns, 100_000 if once else lines) if terminal else (1_000, 100_000)

        colours = terminal and "NO_COLOR" not in os.environ
        watch(self.dashboard(self.url), out, size, once=once, colours=colours)
        return 0


class LadderCommand(RemoteOptions):
    """``sessioncore ladder``."""

    synopsis = "sessioncore ladder URL|FILE [CALL-ID] [options]"
    longdesc = (
        "Prints the SIP ladders of calls: of those that a running server with --dashboard shows, or"
        " that are in a capture (pcap, pcapng) or a dossier, whose Call-ID contains CALL-ID, or of"
        " all."
    )
    hint = "See `sessioncore ladder --help`."

    def parseArgs(self, *words: str) -> None:
        """Take the URL or the file, and the part of a Call-ID."""
        if not 1 <= len(words) <= 2:
            raise usage.UsageError(f"write a URL or a file, and a Call-ID, e.g. {DEFAULT} 38482762")
        self.where, self.wanted = words[0], words[1] if len(words) > 1 else ""

    def run(self) -> int:
        """Print the ladders; 0 unless there are none."""
        if "://" in self.where:
            text = self.dashboard(self.where).ladders(self.wanted)
        else:
            text = ladders_in_file(self.where, self.wanted)
        print(text, end="")
        return 0


def ladders_in_file(name: str, wanted: str) -> str:
    """The ladders of the calls in a file whose Call-ID contains ``wanted``, as text.

    Raises `ConfigurationError` if there are none, or the file cannot be read.
    """
    if _is_json(name):
        dossier = read_dossier(name)
        found = {dossier.call_id: ladder_of_dossier(dossier, _MOST_STEPS)}
    else:
        calls, _others = calls_in(read_file(name).sightings)
        found = {each.call_id.decode("utf-8", "backslashreplace"): _seen(each) for each in calls}
    drawn = [_drawn(call_id, ladder) for call_id, ladder in found.items() if wanted in call_id]
    if not drawn:
        which = f" with {wanted!r} in its Call-ID" if wanted else ""
        raise UnreadableInput(
            f"{name} holds no call{which}; `sessioncore explain` shows what it is"
        )
    return "\n".join(drawn)


def _is_json(name: str) -> bool:
    try:
        with open(name, "rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False  # its reader says what is wrong


def _drawn(call_id: str, ladder: Ladder) -> str:
    own, peers = own_and_peers(ladder)
    text = ladder_text(own, peers, ladder.steps, ladder.left_out, begin=ladder.steps[0].at)
    return f"Call-ID: {printable(call_id)}\n{text}"


def _seen(call: SeenCall) -> Ladder:
    """The ladder as who sent the first message saw it; messages of other hops are notes in it."""
    ladder, own = Ladder(_MOST_STEPS), call.sightings[0].source
    for each in call.sightings:
        source, destination = each.source, each.destination
        if source is not None and destination is not None and own in (source, destination):
            message = Message(each.raw, source, destination, each.transport, own == source, each.at)
            ladder.message(message)
        else:
            hop = " -> ".join(
                ["?" if end is None else host_port(*end) for end in (source, destination)]
            )
            ladder.note(each.at, Kind.PLAIN, f"{hop}: {summary(each.raw)}")
    return ladder


class MachinesCommand(Said):
    """``sessioncore machines``."""

    synopsis = "sessioncore machines [--format text|dot]"
    longdesc = "Draws every state machine of the package from its table."
    hint = "See `sessioncore machines --help`."
    optParameters = [["format", None, "text", "text, or dot for Graphviz."]]

    def run(self) -> int:
        """Print all tables."""
        if self["format"] not in ("text", "dot"):
            raise usage.UsageError(f"--format: {self['format']!r} is unknown; write text or dot")
        print(diagrams(dot=self["format"] == "dot"))
        return 0


class ExplainCommand(WithWords):
    """``sessioncore explain``."""

    synopsis = "sessioncore explain FILE [ANSWER] [options]"
    longdesc = (
        "Explains a session description, SIP messages (as text or as --trace writes them) or a"
        " capture (pcap, pcapng): what was made of each offer, which audio ran, and what is likely"
        " wrong.  FILE - is standard input.  A second file is the description that answers the"
        " first.  Exit status 0: no errors were found; 1: errors were found; 2: the file cannot be"
        " read."
    )
    hint = "See `sessioncore explain --help`."
    optParameters = [
        ["codecs", None, "PCMU,PCMA", "Codecs of the side that judges an offer without an answer: "
         + ", ".join(CODECS) + "."],
        ["call-id", None, "", "Explain only the calls whose Call-ID contains this text."],
    ]  # fmt: skip
    optFlags = [["json", None, "Write JSON instead of text."]]

    def parseArgs(self, *names: str) -> None:
        """Take the files."""
        if not 1 <= len(names) <= 2:
            what = "a file to explain is missing" if not names else "more than two files"
            raise usage.UsageError(f"{what}; write FILE, or OFFER ANSWER, or - for standard input")
        self.names = names

    def run(self) -> int:
        """Explain; 0 if no errors were found, 1 if some were."""
        settings = Settings(codecs=tuple(self["codecs"].split(",")))
        seen = read_file(self.names[0])
        if len(self.names) == 2:
            answer = read_file(self.names[1])
            for name, each in zip(self.names, (seen, answer), strict=True):
                if not each.descriptions:
                    raise UnreadableInput(f"{name} is not a session description")
            seen.descriptions += answer.descriptions
        policy = MediaPolicy(settings.codec_list)
        report = Report(" and ".join(self.names), seen, policy, self["call-id"])
        if self["json"]:
            print(json.dumps(report.as_dict(), indent=2))
        else:
            print(report.text())
        return 1 if report.has_errors else 0


class Command(Said):
    """``sessioncore``."""

    synopsis = "sessioncore COMMAND [options]"
    longdesc = "SIP calls with audio both ways; each command has its own --help."
    hint = "See `sessioncore --help`."
    subCommands: ClassVar[list[Any]] = [
        ["call", None, CallCommand, "Place calls."],
        ["answer", None, AnswerCommand, "Answer calls."],
        ["trace", None, TraceCommand, "Print the steps of a call through the package."],
        ["top", None, TopCommand, "Show the calls of a running server."],
        ["ladder", None, LadderCommand, "Print the SIP ladder of a call."],
        ["explain", None, ExplainCommand, "Explain a capture, messages or a description."],
        ["selftest", None, SelftestCommand, "Check calls on this machine."],
        ["machines", None, MachinesCommand, "Draw the state machines."],
    ]

    def postOptions(self) -> None:
        """A command is needed."""
        if not hasattr(self, "subOptions"):
            names = ", ".join(row[0] for row in self.subCommands)
            raise usage.UsageError(f"a command is missing; write one of {names}")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status, 1 if what it prints cannot be written."""
    try:
        try:
            status = _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            print(end="", flush=True)
            lost = close_outputs()
        return status or (1 if lost else 0)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(f"sessioncore: standard output: {error.strerror}", file=sys.stderr)
        # Else Python tries again at exit and complains.
        sys.stdout = io.StringIO()
        return 1


def _run(arguments: list[str]) -> int:
    command = Command()  # type: ignore[no-untyped-call]
    try:
        command.parseOptions(arguments)
        status: int = command.subOptions.run()
    except (usage.UsageError, ConfigurationError) as error:
        print(f"sessioncore: {error}", file=sys.stderr)
        return 2
    return status


def run_service(
    service: DaemonService,
    lines: Log | None = None,
    level: Any = LogLevel.warn,
    then: Callable[[DaemonService], None] = lambda service: None,
) -> None:
    """Run the reactor for one service; raises `ConfigurationError` where it cannot start.

    SIGTERM, SIGINT and SIGHUP (a closed terminal) end the calls first; the reactor's shutdown
    waits for that.  The package's
    messages from ``level`` up, and warnings of Twisted, go to standard error.  ``then`` is called
    with the service once it listens.
    """
    globalLogBeginner.beginLoggingTo([_short_lines(level)], redirectStandardIO=False)
    reactor = service.reactor
    service.hangup_ends = True
    service.begin()
    if lines is not None:
        service.add_log(lines)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    then(service)
    reactor.run()


def _short_lines(level: Any) -> ILogObserver:
    out = standard_error()

    @implementer(ILogObserver)
    def observer(event: LogEvent) -> None:
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text += f": {failure.getErrorMessage()}\n{failure.getTraceback()}"
        print(f"sessioncore: {text}", file=out, flush=True)

    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    predicate.setLogLevelForNamespace("sessioncore", level)
    return FilteringLogObserver(observer, [predicate])
