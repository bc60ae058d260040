"""Options of ``twistd sessioncore``, which the commands share, and the services they make."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import evolve
from twisted.application.service import IService
from twisted.python import usage

from sessioncore.daemon.answering import AnswerPlan, parse_answer, parse_play
from sessioncore.daemon.calling import CallPlan
from sessioncore.daemon.collector import Collector, parse_collector
from sessioncore.daemon.expecting import parse_expect, require_carried
from sessioncore.daemon.outputs import OutputPlan
from sessioncore.daemon.process import end_without_traceback, log_without_waiting, print_last
from sessioncore.daemon.reports import ReportPlan
from sessioncore.daemon.service import Lines, UacPlan, UacService, UasPlan, UasService
from sessioncore.errors import ConfigurationError
from sessioncore.media.sources import Clip, Silence, prepare
from sessioncore.net.addresses import parse_listen
from sessioncore.rtp.codecs import CODECS
from sessioncore.session.invitation import callable_uri, require_transport
from sessioncore.settings import Settings
from sessioncore.verdict import SHARE

if TYPE_CHECKING:
    from sessioncore.dashboard.endpoint import WebPlan

__all__ = [
    "AnswerOptions",
    "CallOptions",
    "CommonOptions",
    "LogOptions",
    "Options",
    "makeService",
]

_RANGE: Final = re.compile(r"([0-9]{1,5})-([0-9]{1,5})").fullmatch
_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?").fullmatch
_USER_AT_HOST: Final = re.compile(r"[^:@]+@[^@]+").fullmatch
_WHOLE: Final = re.compile(r"[0-9]{1,9}").fullmatch
_PLAY_TIME: Final = 10.0
"""Seconds a call lasts if neither --duration nor a played file determines it."""


def seconds(option: str, text: str) -> float:
    """A number of seconds."""
    return _number(option, text, "seconds; write e.g. 2.5")


def _number(option: str, text: str, what: str) -> float:
    if _NUMBER(text):
        return float(text)
    raise usage.UsageError(f"--{option}: {text!r} is not a number of {what}")


def whole(option: str, text: str) -> int:
    """A count from 1."""
    if _WHOLE(text) and int(text):
        return int(text)
    raise usage.UsageError(f"--{option}: {text!r} is not a whole number above 0; write 1 or more")


def share(option: str, text: str) -> float:
    """A share in percent, as 0 to 1."""
    number = text.removesuffix("%")
    if _NUMBER(number) and float(number) <= 100:
        return float(number) / 100
    raise usage.UsageError(f"--{option}: {text!r} is not a share; write 0% to 100%, e.g. 95%")


def sip_uri(option: str, text: str) -> str:
    """A SIP URI that can be called; ``bob@host`` means ``sip:bob@host``."""
    uri = f"sip:{text}" if _USER_AT_HOST(text) else text
    try:
        require_transport(callable_uri(uri))
    except ConfigurationError as error:
        raise usage.UsageError(f"{option}: {error}") from None
    return uri


def writable(option: str, name: str) -> str:
    """The absolute name of a file that can be created or appended to."""
    path = _absolute(option, name, "a file")
    try:
        if path.exists():
            _require_file(path)
        else:
            _require_folder(path.parent)
    except OSError as error:
        raise _not_writable(option, name, error, "a file in a folder") from None
    return str(path)


def folder_to_make(option: str, name: str) -> Path:
    """The absolute name of a folder that can be written to or created."""
    path = _absolute(option, name, "a folder")
    there = path
    try:
        while not there.exists():
            there = there.parent
        _require_folder(there)
    except OSError as error:
        raise _not_writable(option, name, error, "a folder") from None
    return path


def _absolute(option: str, name: str, what: str) -> Path:
    if not name:
        raise usage.UsageError(f"--{option}: the name is empty; name {what}, or leave it out")
    return Path(name).absolute()


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _require_folder(path: Path) -> None:
    if not stat.S_ISDIR(path.stat().st_mode):
        raise OSError(errno.ENOTDIR, f"{path} is not a folder")
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"{os.strerror(errno.EACCES)} for {path}")


def _not_writable(option: str, name: str, error: OSError, what: str) -> usage.UsageError:
    where = f" ({error.filename})" if isinstance(error, FileNotFoundError) else ""
    return usage.UsageError(
        f"--{option}: {name} cannot be written: {error.strerror}{where}; name {what} that you may"
        " write to"
    )


def _settings(**given: Any) -> Settings:
    """The settings; an error names the option instead of the setting."""
    try:
        return Settings(**given)
    except ConfigurationError as error:
        name, colon, text = str(error).partition(":")
        raise usage.UsageError(f"--{name.replace('_', '-')}{colon}{text}") from None


class Quiet(usage.Options):
    """Options whose errors are not followed by the whole list of options."""

    hint: ClassVar[str] = ""
    failed = False

    def parseOptions(self, options: Any = None) -> None:
        """Parse; raises `UsageError` with a text that names the bad value."""
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except (usage.UsageError, ConfigurationError) as error:
            self.failed = True
            raise usage.UsageError(str(error)) from None

    def getUsage(self, width: int | None = None) -> str:
        """The list of options, or after an error only where to find it."""
        return self.hint if self.failed else str(super().getUsage(width))

    def parseArgs(self, *words: str) -> None:
        """Refuse arguments that are not options."""
        if words:
            raise usage.UsageError(f"{words[0]!r} is not an option; write --option=value")


class CommonOptions(Quiet):
    """The options of both roles."""

    optParameters = [
        ["rtp-ports", None, "40000-49999", "First and last port for RTP and RTCP."],
        ["media-ip", None, None, "IP to write into descriptions instead of the local address."],
        ["advertise", None, None, "IP to write into Contact and Via instead of the local address."],
        ["codecs", None, "PCMU,PCMA", f"Codecs, in order of preference: {', '.join(CODECS)}."],
        ["ptime", None, "20", "Packet length in ms to ask peers for: 20, 40 or 60."],
        [
            "nat",
            None,
            "auto",
            "Peers behind NAT: auto (decide for each by its SDP and Contact), yes or no.",
        ],
        ["max-calls", None, "2000", "Maximum number of concurrent calls."],
        [
            "trusted-sources",
            None,
            None,
            "Networks whose calls are served even in a flood: 192.0.2.0/24,...",
        ],
        ["ring-limit", None, "180", "Seconds a call may ring before it is ended."],
        ["peer-timeout", None, "30", "Seconds of silence before a peer is probed; 0 for never."],
        ["events", None, None, "Write events as JSON lines to this file; - is standard output."],
        ["stats", None, None, "Write all counters as JSON to this file, every 10 s."],
        ["trace", None, None, "Write SIP messages as text to this file; - is standard output."],
        ["pcap", None, None, "Write SIP messages and RTCP as packets to this file (pcapng)."],
        ["hep", None, None, "Send SIP messages and RTCP to a HEP collector: udp:HOST:PORT:id=7."],
        ["cdr", None, None, "Write a JSON line per call, at its end, to this file."],
        ["dossier", None, None, "Folder for a JSON file per call that explains it."],
        ["dossier-for", None, None, "Calls to write dossiers of: faulty (default) or all."],
        ["metrics", None, None, "Serve metrics and probes over HTTP, e.g. on tcp:9100."],
        ["dashboard", None, None, "Show the calls on a web page, e.g. on tcp:8080; serves what"
         " --metrics serves, too."],
        ["web-token", None, None, "File with the token that readers of both must give."],
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []

    def opt_listen(self, text: str) -> None:
        """Address to listen on, for example udp:5060:interface=127.0.0.1; may be repeated."""
        try:
            parse_listen(text)
        except ConfigurationError as error:
            raise usage.UsageError(f"--listen: {error}") from None
        self["listen"].append(text)

    def settings(self, listen: str) -> Settings:
        """The settings of these options; without --listen, ``listen`` is used."""
        ports = _RANGE(self["rtp-ports"])
        if ports is None:
            raise usage.UsageError(
                f"--rtp-ports: {self['rtp-ports']!r} is not a range; write e.g. 40000-49999"
            )
        return _settings(
            listen=tuple(self["listen"]) or (listen,),
            rtp_ports=(int(ports[1]), int(ports[2])),
            media_ip=self["media-ip"],
            advertise=self["advertise"],
            codecs=tuple(self["codecs"].split(",")),
            ptime=whole("ptime", self["ptime"]),
            nat=self._nat(),
            max_calls=whole("max-calls", self["max-calls"]),
            trusted_sources=self._trusted(),
            ring_limit=seconds("ring-limit", self["ring-limit"]),
            peer_timeout=seconds("peer-timeout", self["peer-timeout"]),
        )

    def _trusted(self) -> tuple[str, ...]:
        given: str | None = self["trusted-sources"]
        if given is None:
            return ()
        networks = tuple(given.split(","))
        if not all(networks):
            raise usage.UsageError(
                f"--trusted-sources: {given!r} lacks a network; write e.g."
                " 192.0.2.0/24,2001:db8::/32, or leave the option out"
            )
        return networks

    def _nat(self) -> bool | None:
        choices = {"auto": None, "yes": True, "no": False}
        if self["nat"] not in choices:
            raise usage.UsageError(f"--nat: {self['nat']!r} is unknown; write auto, yes or no")
        return choices[self["nat"]]

    def events(self) -> str | None:
        """The file for the events, absolute, or ``-`` or None."""
        return self._file_or_output("events")

    def _file_or_output(self, option: str) -> str | None:
        name: str | None = self[option]
        if name == "-" and not self.in_foreground:
            raise usage.UsageError(f"--{option} -: a daemon has no standard output; name a file")
        return name if name in (None, "-") else writable(option, name)

    def outputs(self) -> OutputPlan:
        """What else is written of calls."""
        for option in ("trace", "cdr"):
            if self[option] == self["events"] == "-":
                raise usage.UsageError(
                    f"--{option} -: --events - has standard output to itself; name a file for one"
                    " of them"
                )
        return OutputPlan(
            trace=self._file_or_output("trace"),
            pcap=self._pcap(),
            hep=self._collector(),
            cdr=self._file_or_output("cdr"),
            dossier=self._dossier(),
            only_faulty=self._only_faulty(),
        )

    def _dossier(self) -> str | None:
        name: str | None = self["dossier"]
        return None if name is None else str(folder_to_make("dossier", name))

    def _only_faulty(self) -> bool:
        which: str | None = self["dossier-for"]
        if which not in (None, "faulty", "all"):
            raise usage.UsageError(f"--dossier-for: {which!r} is unknown; write faulty or all")
        if which is not None and self["dossier"] is None:
            raise usage.UsageError(
                f"--dossier-for {which}: there is no folder; name one with --dossier"
            )
        return which != "all"

    def _pcap(self) -> str | None:
        name: str | None = self["pcap"]
        if name == "-":
            raise usage.UsageError(
                "--pcap -: packets are not for standard output; name a file, or a named pipe that"
                " is read already"
            )
        return None if name is None else writable("pcap", name)

    def _collector(self) -> Collector | None:
        if self["hep"] is None:
            return None
        try:
            return parse_collector(self["hep"])
        except ConfigurationError as error:
            raise usage.UsageError(f"--hep: {error}") from None

    def stats(self) -> str | None:
        """The file for the statistics, absolute, or None."""
        return None if self["stats"] is None else writable("stats", self["stats"])

    def web(self) -> tuple[WebPlan, ...]:
        """What to serve over HTTP."""
        wanted = [name for name in ("metrics", "dashboard") if self[name] is not None]
        if not wanted:
            if self["web-token"] is not None:
                raise usage.UsageError(
                    "--web-token: nothing is served; write --dashboard or --metrics, too"
                )
            return ()
        # Not above: a server without it need not load what it takes.
        from sessioncore.dashboard.endpoint import WebPlan, parse_endpoint
        from sessioncore.dashboard.gate import read_token

        name = self["web-token"]
        token = None if name is None else read_token("--web-token", name)
        return tuple(
            WebPlan(
                f"--{each}", parse_endpoint(f"--{each}", self[each]), each == "dashboard", token
            )
            for each in wanted
        )

    def lines(self) -> Lines:
        """The lines about calls that are written, and where."""
        which: Any = self.get("log")
        printed = self["events"] == "-"
        if which not in (None, "events", "calls", "quiet"):
            raise usage.UsageError(f"--log: {which!r} is unknown; write events, calls or quiet")
        if printed and which not in (None, "quiet"):
            raise usage.UsageError(
                f"--log {which}: --events - needs standard output for itself; name a file for"
                " --events, or write --log quiet"
            )
        if which is None:
            which = "quiet" if printed else "events" if self.in_foreground else "calls"
        return Lines(which, to_log=not self.in_foreground)

    @property
    def in_foreground(self) -> bool:
        """Whether standard output is there to be written to (not without ``twistd -n``)."""
        twistd: Any = getattr(self, "parent", None) or {}
        return bool(twistd.get("nodaemon", True) or twistd.get("debug"))


class AnswerOptions(CommonOptions):
    """The options of a server."""

    optParameters = [
        ["answer", None, None, "echo[:GAIN_DB], silence, tone:HZ[+HZ], play:FILE or reject:CODE;"
         " the default is echo."],
        ["answer-after", None, None, "Seconds to ring before answering; the default is 0."],
        ["record-dir", None, None, "Folder for WAV files of what each call hears."],
    ]  # fmt: skip

    def uas_plan(self) -> UasPlan:
        """The plan for a server."""
        plan = AnswerPlan() if self["answer"] is None else parse_answer(self["answer"])
        if self["answer-after"] is not None:
            plan = evolve(plan, after=seconds("answer-after", self["answer-after"]))
        if self["record-dir"] is not None:
            plan = evolve(plan, record_dir=str(folder_to_make("record-dir", self["record-dir"])))
        settings = self.settings("udp:5060")
        if plan.after >= settings.ring_limit:
            raise usage.UsageError(
                f"--answer-after: a call ends after {self['ring-limit']} s of ringing, before"
                f" {self['answer-after']} s; write less, or more for --ring-limit"
            )
        prepare(plan.source, [codec.sample_rate for codec in settings.codec_list])
        return UasPlan(settings, plan, self.events(), self.stats(), self.outputs(), self.web())


class CallOptions(CommonOptions):
    """The options of a client."""

    optParameters = [
        ["from", None, None, "URI of the caller; the default is sip:sessioncore@LOCAL_ADDRESS."],
        ["play", None, None, "tone:HZ[+HZ], silence (default), play:FILE or FILE (WAV)."],
        ["record", None, None, "WAV file for what the call hears."],
        ["duration", None, None, "Seconds a call lasts, or 0: until the other side hangs up."
         "  The default is the length of the file to play, else 10."],
        ["calls", None, None, "Number of calls to place in all; the default is one per URI."],
        ["rate", None, None, "Calls to place per second; the default is 10."],
        ["min-received", None, None, "Share of the packets that must arrive in each direction;"
         " the default is 95%."],
        ["expect", None, None, "What the call should hear: tone:HZ[+HZ] or speech; then that"
         " decides whether it is good."],
        ["json", None, None, "Write all calls and the sums of the run as JSON to this file; - is"
         " standard output."],
        ["junit", None, None, "Write all calls as test cases to this file, in JUnit XML."],
    ]  # fmt: skip
    optFlags = [
        ["require-proof", None, "A call is good only if the peer's RTCP reports our packets as"
         " received."],
    ]  # fmt: skip

    def uac_plan(self, uris: tuple[str, ...]) -> UacPlan:
        """The plan for a run of calls to ``uris``."""
        uris = tuple(sip_uri("--call" if "call" in self else "URI", uri) for uri in uris)
        source = Silence() if self["play"] is None else parse_play(self["play"])
        rate = 10.0 if self["rate"] is None else self._rate()
        calls = CallPlan(
            uris=uris,
            from_uri=None if self["from"] is None else sip_uri("--from", self["from"]),
            source=source,
            record=None if self["record"] is None else self._record(),
            duration=self._duration(source),
            calls=len(uris) if self["calls"] is None else whole("calls", self["calls"]),
            rate=rate,
            min_received=(
                SHARE
                if self["min-received"] is None
                else share("min-received", self["min-received"])
            ),
            require_proof=bool(self["require-proof"]),
            expect=None if self["expect"] is None else parse_expect(self["expect"]),
        )
        settings = self.settings("udp:0")
        rates = [codec.sample_rate for codec in settings.codec_list]
        prepare(source, rates)
        if calls.expect is not None:
            require_carried(calls.expect, rates)
        return UacPlan(
            *(settings, calls, self.events(), self.stats(), self.outputs(), self.web()),
            self.reports(),
        )

    def reports(self) -> ReportPlan:
        """The reports of the run."""
        names: dict[str, str | None] = {name: self[name] for name in ("json", "junit")}
        if names["junit"] == "-":
            raise usage.UsageError("--junit -: only --json can go to standard output; name a file")
        if names["json"] == "-":
            self._require_output_to_itself()
        return ReportPlan(
            **{
                option: name if name in (None, "-") else writable(option, name)
                for option, name in names.items()
            }
        )

    def _require_output_to_itself(self) -> None:
        """Raise `UsageError` if there is more on standard output than the JSON of a run."""
        others = [f"--{option} -" for option in ("events", "trace", "cdr") if self[option] == "-"]
        if "role" in self:
            others.append("twistd")
        if others:
            raise usage.UsageError(
                f"--json -: {others[0]} writes to standard output, too; name a file"
            )

    def _rate(self) -> float:
        rate = _number("rate", self["rate"], "calls per second; write e.g. 10")
        if not rate:
            raise usage.UsageError(
                "--rate: 0 would place no calls; write calls per second, e.g. 10"
            )
        return rate

    def _record(self) -> str:
        path = _absolute("record", self["record"], "a file")
        if not path.parent.exists():
            folder_to_make("record", str(path.parent))
            return str(path)
        return writable("record", self["record"])

    def _duration(self, source: object) -> float | None:
        if self["duration"] is not None:
            return seconds("duration", self["duration"]) or None
        return source.duration if isinstance(source, Clip) else _PLAY_TIME


class LogOptions:
    """The option of the services that write lines about calls."""

    optParameters = [
        ["log", None, None, "Lines about calls: events (one per event), calls (one per call, at"
         " its end) or quiet.  The default is events, in the background calls."],
    ]  # fmt: skip


_UAS_ONLY: Final = ("answer", "answer-after", "record-dir")
_UAC_ONLY: Final = (
    *("call", "from", "play", "record", "duration", "calls", "rate", "min-received"),
    *("require-proof", "expect", "json", "junit"),
)


class Options(AnswerOptions, CallOptions, LogOptions):
    """Options of ``twistd sessioncore``: those of one role and the common ones."""

    synopsis = "[options]"
    longdesc = (
        "Answers SIP calls (--role=uas) or places them (--role=uac --call URI) with audio both"
        " ways over RTP."
    )
    hint = "See `twistd sessioncore --help`."
    optParameters = [
        ["role", None, None, "Role: uas answers calls, uac places them."],
        ["call", None, None, "URI to call, for example sip:bob@192.0.2.1."],
    ]

    plan: UasPlan | UacPlan

    def postOptions(self) -> None:
        """Make the plan; raises `UsageError` for every mistake that shows before the start."""
        role = self["role"]
        if role not in ("uas", "uac"):
            what = "is missing" if role is None else f"{role!r} is unknown"
            raise usage.UsageError(f"--role {what}; write --role=uas or --role=uac")
        for name in _UAC_ONLY if role == "uas" else _UAS_ONLY:
            if self[name] not in (None, 0):
                raise usage.UsageError(f"--{name} is not an option of --role={role}; leave it out")
        if role == "uas":
            self.plan = self.uas_plan()
        elif self["call"] is None:
            raise usage.UsageError(
                "--role=uac needs a URI to call; write e.g. --call sip:bob@192.0.2.1"
            )
        else:
            self.plan = self.uac_plan((self["call"],))
        self.lines()


def makeService(options: Options) -> IService:
    """The service that ``twistd`` runs; opens nothing."""
    end_without_traceback()
    if options.in_foreground:
        log_without_waiting()
    if isinstance(options.plan, UasPlan):
        return UasService(options.plan, lines=options.lines())
    return UacService(options.plan, lines=options.lines(), say=print_last)
