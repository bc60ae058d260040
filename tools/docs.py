"""Fill in the parts of the documentation that are generated from the code.

A page of ``docs`` begins such a part with ``<!-- generated: NAME -->`` and ends it with
``<!-- end generated -->``.  ``python -m tools.docs`` writes the text between them, and
``python -m tools.docs --check`` (like the tests) compares it.  Ladders come from calls on the
in-memory network, so they show what really happens.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sessioncore import aio, cli, testing
from sessioncore.daemon import options
from sessioncore.explaining import lint as call_lint
from sessioncore.explanation import Ground
from sessioncore.lint import Severity
from sessioncore.manager import ManagerStatistics
from sessioncore.media.statistics import PlaneStatistics, StreamStatistics
from sessioncore.sdp import lint as sdp_lint
from sessioncore.sdp import pair_lint
from sessioncore.session.counters import CallCounters
from sessioncore.sip import lint as sip_lint
from sessioncore.sip.matching import Counters
from sessioncore.testing import messages
from sessioncore.verdict import Evidence, Judgement, Proof
from sessioncore.watching import dossier, outcome
from sessioncore.watching.call_records import CallRecord
from tools.documentation import drawing, ladders, reference

ROOT: Final = Path(__file__).resolve().parent.parent
BLOCK: Final = re.compile(
    r"(<!-- generated: ([a-z0-9 -]+) -->\n).*?(<!-- end generated -->)", re.DOTALL
)

GENERATORS: Final[dict[str, Callable[[], str]]] = {
    "events": reference.event_reference,
    "command events": lambda: reference.event_list([outcome.CallSummary, outcome.RunEnded]),
    "event lines": ladders.event_lines,
    "json lines": ladders.json_example,
    "common options": reference.common_options,
    "answer options": lambda: reference.option_list(reference.own_options(options.AnswerOptions)),
    "call options": lambda: reference.option_list(reference.own_options(options.CallOptions)),
    "log options": lambda: reference.option_list(reference.own_options(options.LogOptions)),
    "twistd options": lambda: reference.option_list(reference.own_options(options.Options)),
    "top options": lambda: reference.option_list(reference.own_options(cli.TopCommand)),
    "remote options": lambda: reference.option_list(reference.own_options(cli.RemoteOptions)),
    "explain options": lambda: reference.option_list(reference.own_options(cli.ExplainCommand)),
    "machines options": lambda: reference.option_list(reference.own_options(cli.MachinesCommand)),
    "commands": reference.commands,
    "settings": reference.settings_reference,
    "description findings": lambda: reference.findings(sdp_lint.DESCRIPTION_RULES),
    "exchange findings": lambda: reference.findings(pair_lint.EXCHANGE_RULES),
    "change findings": lambda: reference.findings(pair_lint.CHANGE_RULES),
    "message findings": lambda: reference.findings(sip_lint.MESSAGE_RULES),
    "call findings": lambda: reference.findings(call_lint.CALL_RULES),
    "grounds": lambda: reference.meanings(Ground),
    "severities": lambda: reference.meanings(Severity),
    "errors": reference.error_tree,
    "stream statistics": lambda: reference.statistics_of(StreamStatistics),
    "plane statistics": lambda: reference.statistics_of(PlaneStatistics),
    "manager statistics": lambda: reference.statistics_of(ManagerStatistics),
    "call counters": lambda: reference.statistics_of(CallCounters),
    "sip counters": lambda: reference.statistics_of(Counters),
    "metrics": reference.metrics_reference,
    "values": reference.value_reference,
    "call records": lambda: reference.statistics_of(CallRecord),
    "dossier": lambda: reference.statistics_of(dossier.Dossier),
    "dossier entries": lambda: reference.classes(
        dossier.SipEntry, dossier.EventEntry, dossier.MediaMilestone, dossier.VerdictEntry
    ),
    "proofs": lambda: reference.meanings(Proof),
    "judgements": lambda: reference.meanings(Judgement),
    "causes": reference.causes,
    "evidence": lambda: reference.statistics_of(Evidence),
    "api manager": lambda: reference.api(
        ("SessionManager", "Call", "UserAgentClient", "UserAgentServer")
    ),
    "api service": lambda: reference.api(("SessionService",)),
    "api asyncio": lambda: reference.api(aio.__all__, aio),
    "api sources": lambda: reference.api(("Silence", "Tone", "Clip", "Echo", "Frames")),
    "api sinks": lambda: reference.api(("Discard", "Record", "Deliver")),
    "api interfaces": lambda: reference.api(
        (
            "ICallHandler",
            "IEventSink",
            "IEventObserver",
            "IMessageTap",
            "IReportTap",
            "IMediaSource",
            "IMediaSink",
            "ISipTransport",
            "ISipFlow",
        )
    ),
    "api testing": lambda: reference.api(
        [name for name in testing.__all__ if name not in ("messages", "FakeUdpPort")], testing
    ),
    "messages": lambda: "\n".join(
        reference.function(value)
        for name in messages.__all__
        if inspect.isfunction(value := getattr(messages, name))
    ),
    "machine list": drawing.machine_list,
    "machines": drawing.machines,
    "ladder early offer": lambda: ladders.early_offer().text(),
    "ladder late offer": lambda: ladders.late_offer().text(),
    "ladder early media": lambda: ladders.early_media().text(),
    "ladder rejected": lambda: ladders.rejected().text(),
    "ladder nothing in common": lambda: ladders.nothing_in_common().text(),
    "ladder cancelled": lambda: ladders.cancelled().text(),
    "explained call": ladders.explained,
    "ladder one way": lambda: ladders.one_way().text(),
    "walk": ladders.walk_table,
    "walk uas": lambda: ladders.walk_trace("UAS"),
    "walk uac": lambda: ladders.walk_trace("UAC"),
    "package map": reference.package_map,
}


def filled(text: str) -> str:
    """A page with its generated parts up to date; KeyError names an unknown part."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{GENERATORS[match[2]]().strip()}\n\n{match[3]}"

    return BLOCK.sub(fill, text)


def pages(root: Path = ROOT) -> Iterator[Path]:
    """Every Markdown page of the documentation."""
    yield from sorted((root / "docs").rglob("*.md"))


def main(arguments: list[str]) -> int:
    """Write the generated parts, or with ``--check`` report those that are out of date."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.docs [--check]", file=sys.stderr)
        return 2
    stale = 0
    for path in pages():
        text = path.read_text(encoding="utf-8")
        new = filled(text)
        if new == text:
            continue
        stale += 1
        if arguments:
            print(f"{path.relative_to(ROOT)} is out of date: run python -m tools.docs")
        else:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} written")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
