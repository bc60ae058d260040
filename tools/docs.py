"""Fill in the parts of the documentation that are made from the code.

A page of ``docs`` names such a part by ``<!-- generated: NAME -->`` and ends it by
``<!-- end generated -->``; what stands between is written anew by ``tools/docs.py`` and compared
by ``tools/docs.py --check`` (and by the tests).  Ladders come from calls on the in-memory
network, so they show what happens and not what somebody once drew.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs

import sessioncore
from sessioncore import cli, diagrams, errors, events, outcome, tap, testing
from sessioncore.eventlog import json_line, text_line
from sessioncore.events import Event
from sessioncore.manager import ManagerStatistics, SessionManager
from sessioncore.media.sources import Tone
from sessioncore.media.statistics import PlaneStatistics, StreamStatistics
from sessioncore.session.call import Call
from sessioncore.session.counters import CallCounters
from sessioncore.settings import Settings
from sessioncore.sip.matching import Counters
from sessioncore.table import Table
from sessioncore.testing import messages
from sessioncore.testing.links import Datagram, Link
from sessioncore.testing.network import FakeNetwork
from sessioncore.vocabulary import (
    Direction,
    EndedBy,
    EndReason,
    MediaState,
    NegotiatedMedia,
    SessionRole,
    StreamAgreement,
)
from sessioncore.walk import WALK, Walk

ROOT: Final = Path(__file__).resolve().parent.parent
WIDTH: Final = 100
BLOCK: Final = re.compile(
    r"(<!-- generated: ([a-z0-9 -]+) -->\n).*?(<!-- end generated -->)", re.DOTALL
)
CALLER: Final = "192.0.2.1"
CALLEE: Final = "192.0.2.2"


# ---------------------------------------------------------------------- words


def prose(text: str | None) -> str:
    """A docstring as one paragraph per blank line, with Markdown's single backquotes."""
    cleaned = inspect.cleandoc(text or "").replace("``", "`")
    return "\n\n".join(" ".join(part.split()) for part in cleaned.split("\n\n"))


def bullet(head: str, text: str, indent: str = "") -> str:
    """A list entry, wrapped; ``text`` may be empty."""
    line = f"{head}: {text}" if text else head
    paragraphs = line.split("\n\n")
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    follow = indent + "  "
    made = [textwrap.fill(paragraphs[0], WIDTH, initial_indent=f"{indent}- ",
                          subsequent_indent=follow, **options)]  # fmt: skip
    for part in paragraphs[1:]:
        made += ["", textwrap.fill(part, WIDTH, initial_indent=follow,
                                   subsequent_indent=follow, **options)]  # fmt: skip
    return "\n".join(made)


def paragraph(text: str) -> str:
    """Running text, wrapped."""
    return "\n\n".join(
        textwrap.fill(part, WIDTH, break_long_words=False, break_on_hyphens=False)
        for part in text.split("\n\n")
    )


def class_source(kind: Any) -> ast.ClassDef:
    """The syntax tree of a class, or of a zope interface, which `inspect` does not know."""
    tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    (found,) = (
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    )
    return found


def field_notes(kind: type) -> dict[str, str]:
    """The strings that stand below the fields of a class, by field."""
    notes: dict[str, str] = {}
    name = ""
    for statement in class_source(kind).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
        elif name and isinstance(statement, ast.Expr):
            value = statement.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                notes[name] = prose(value.value)
            name = ""
        else:
            name = ""
    return notes


def kind_of(field: Any) -> str:
    """The type of a field as it is written."""
    return str(field.type).replace(" | None", " or none").replace("| ", "or ")


def fields(kind: type, without: Iterable[str] = ()) -> list[str]:
    """A list entry per field of an attrs class."""
    notes = field_notes(kind)
    return [
        bullet(f"`{field.name}` ({kind_of(field)})", notes.get(field.name, ""))
        for field in attrs.fields(kind)
        if field.name not in set(without)
    ]


# ---------------------------------------------------------------------- reference


def event_list(kinds: Iterable[type[Event]]) -> str:
    """Each event with what it means and what it carries beyond the common fields."""
    common = {field.name for field in attrs.fields(Event)}
    parts = []
    for kind in kinds:
        parts += [f"### {kind.__name__}", "", paragraph(prose(kind.__doc__)), ""]
        own = fields(kind, common)
        if own:
            parts += [*own, ""]
    return "\n".join(parts)


def event_reference() -> str:
    """All events of the package."""
    kinds = [getattr(events, name) for name in events.__all__ if name != "Event"]
    kinds.sort(key=lambda kind: inspect.getsourcelines(kind)[1])
    return event_list(kinds)


def event_names() -> list[str]:
    """The names of all events, those of the commands included."""
    return [*events.__all__, "CallSummary", "RunEnded"]


def option_list(parameters: Iterable[list[Any]]) -> str:
    """One entry per row of ``optParameters``."""
    return "\n".join(
        bullet(f"`--{name}`" + ("" if default is None else f" (`{default}`)"), prose(text))
        for name, _short, default, text, *_ in parameters
    )


def _own_options(kind: Any) -> list[list[Any]]:
    return list(kind.__dict__["optParameters"])


def common_options() -> str:
    """What all roles take."""
    listen = ["listen", None, None, tap.CommonOptions.opt_listen.__doc__]
    return option_list([listen, *_own_options(tap.CommonOptions)])


def commands() -> str:
    """The commands of ``sessioncore``."""
    parts = []
    for _name, _short, kind, text in cli.Command.subCommands:
        parts.append(bullet(f"`{kind.synopsis}`", f"{text} {prose(kind.longdesc)}"))
    return "\n".join(parts)


def settings_reference() -> str:
    """Fields of `Settings` with their defaults, and what its docstring says."""
    rows = []
    for field in attrs.fields(Settings):
        factory = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
        default = "the name and version of the package" if factory else f"`{field.default!r}`"
        rows.append(bullet(f"`{field.name}` ({kind_of(field)})", default))
    return "\n".join([*rows, "", paragraph(prose(Settings.__doc__))])


def error_tree(kind: type[Exception] = errors.SessionCoreError, depth: int = 0) -> str:
    """The tree below one error: status it answers with, and what it means."""
    status = getattr(kind, "status", None)
    head = f"`{kind.__name__}`" + ("" if status is None else f" ({status})")
    if kind.__module__ != errors.__name__:
        head += f" of `{kind.__module__}`"
    lines = [bullet(head, prose(kind.__doc__), "  " * depth)]
    below = [each for each in kind.__subclasses__() if each.__module__.startswith("sessioncore.")]
    for child in sorted(below, key=lambda each: each.__name__):
        lines.append(error_tree(child, depth + 1))
    return "\n".join(lines)


def statistics_of(kind: type) -> str:
    """A class of counters: what it is and its fields."""
    return "\n".join([paragraph(prose(kind.__doc__)), "", *fields(kind)])


def value_reference() -> str:
    """The values that events and calls carry."""
    parts = []
    for kind in (EndReason, NegotiatedMedia, StreamAgreement):
        parts += [f"### {kind.__name__}", "", paragraph(prose(kind.__doc__)), "", *fields(kind), ""]
    for words in (SessionRole, MediaState, Direction, EndedBy):
        parts += [f"### {words.__name__}", "", paragraph(prose(words.__doc__)), ""]
        parts += [bullet(f"`{each.name}`", f"printed `{each}`") for each in words] + [""]
    return "\n".join(parts)


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """``name(arguments)`` without self, annotations as they are written."""
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(function.args))
    return f"{function.name}({arguments})"


def _members(kind: Any) -> Iterator[str]:
    """A list entry per public method and property of a class, in the order of its source."""
    for each in class_source(kind).body:
        text = ast.get_docstring(each) if isinstance(each, ast.FunctionDef) else None
        if not isinstance(each, ast.FunctionDef) or text is None or each.name.startswith("_"):
            continue
        if each.name.startswith("reached_") or each.name == "bind":
            continue  # the coordinator's side of a `Call`, the bank's of `Frames`
        made = [word.id for word in each.decorator_list if isinstance(word, ast.Name)]
        returns = "" if each.returns is None else ast.unparse(each.returns)
        if "property" in made:
            yield bullet(f"`{each.name}` ({returns.replace(' | None', ' or none')})", prose(text))
        else:
            arrow = f" -> {returns}" if returns not in ("", "None") else ""
            yield bullet(f"`{_signature(each)}{arrow}`", prose(text))


def _made_by(kind: Any) -> str:
    """How a class is called, or nothing where that takes no arguments."""
    own = attrs.fields(kind) if attrs.has(kind) else ()
    if own:
        return f"{kind.__name__}({', '.join(f'{field.name}={_default(field)}' for field in own)})"
    for each in class_source(kind).body:
        if (
            isinstance(each, ast.FunctionDef)
            and each.name == "__init__"
            and len(each.args.args) > 1
        ):
            return _signature(each).replace("__init__", kind.__name__, 1)
    return ""


def _function(function: Any) -> str:
    """A function as a list entry."""
    (node,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(node, ast.FunctionDef) and node.returns is not None
    return bullet(f"`{_signature(node)} -> {ast.unparse(node.returns)}`", prose(function.__doc__))


def api(names: Iterable[str], module: Any = sessioncore) -> str:
    """Public names: what they are, how they are made, what they do."""
    parts = []
    for name in names:
        kind = getattr(module, name)
        if inspect.isfunction(kind):
            parts += [f"### {name}", "", _function(kind), ""]
            continue
        parts += [f"### {name}", ""]
        made = _made_by(kind)
        if made:
            parts += [paragraph(f"`{made}`"), ""]
        parts += [paragraph(prose(kind.__doc__)), ""]
        members = list(_members(kind))
        if members:
            parts += [*members, ""]
    return "\n".join(parts)


def _default(field: Any) -> str:
    return "..." if field.default is attrs.NOTHING else repr(field.default)


# ---------------------------------------------------------------------- machines


def anchor(table: Table) -> str:
    """The heading of a machine as a link."""
    return re.sub(r"[^a-z0-9 -]", "", table.name.lower()).replace(" ", "-")


def _state(state: Enum) -> str:
    return re.sub(r"\W", "", str(state).rpartition(".")[2])


def mermaid(table: Table) -> str:
    """The table as a Mermaid state diagram: an arrow per pair of states, as `Table.diagram`."""
    arrows: dict[tuple[Enum, Enum], list[str]] = {}
    for row in table.rows:
        if row.goes_to is not None and (row.goes_to is not row.state or row.action is not None):
            arrows.setdefault((row.state, row.goes_to), []).append(row.given.__name__)
    lines = ["stateDiagram-v2", f"    [*] --> {_state(table.initial)}"]
    for (source, target), names in arrows.items():
        label = ", ".join(dict.fromkeys(names))
        lines.append(f"    {_state(source)} --> {_state(target)} : {label}")
    lines += [f"    {_state(state)} --> [*]" for state in table.states if state in table.final]
    return "\n".join(lines)


def cells(table: Table) -> str:
    """Every cell, as ``sessioncore machines`` prints it, with long notes below their line."""
    made = []
    for line in diagrams.text(table).splitlines()[2:]:
        cell, mark, note = line.partition("  # ")
        if len(line) > WIDTH and mark:
            made += [cell, *textwrap.wrap(note, WIDTH - 10, initial_indent=" " * 8 + "# ",
                                          subsequent_indent=" " * 8 + "# ")]  # fmt: skip
        else:
            made.append(line)
    return "\n".join(made)


def machines() -> str:
    """All state machines: a picture, and every cell."""
    parts = []
    for table in diagrams.tables():
        parts += [f"## {table.name[0].upper()}{table.name[1:]}", ""]
        parts += ["```mermaid", mermaid(table), "```", ""]
        parts += ["<details><summary>Every cell</summary>", ""]
        parts += ["```text", cells(table), "```", "", "</details>", ""]
    return "\n".join(parts)


def machine_list() -> str:
    """A link to each machine."""
    return "\n".join(f"- [{table.name}](#{anchor(table)})" for table in diagrams.tables())


# ---------------------------------------------------------------------- ladders


class Told(list[Datagram]):
    """The capture of a network that also tells each datagram as it is sent."""

    def __init__(self, tell: Callable[[Datagram], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, datagram: Datagram) -> None:
        """Keep and tell."""
        super().append(datagram)
        self._tell(datagram)


class Scene:
    """A caller, a callee, and all that happens between them, in order."""

    def __init__(self, answer: Callable[[Call], Any]) -> None:
        self.network = FakeNetwork(link=Link(delay=0.01))
        self.events: list[Event] = []
        self.lines: list[str] = []
        self._media: set[str] = set()
        self.network.captured = Told(self._sent)
        self.callee = self.manager(CALLEE, on_incoming=answer)
        self.caller = self.manager(CALLER)

    def manager(self, address: str, **wishes: Any) -> SessionManager:
        """A started manager that draws the same random numbers every time."""
        host = self.network.host(address)
        manager = SessionManager(host, random_bytes=Random(address).randbytes, **wishes)
        manager.add_event_sink(self._happened)
        manager.start()
        return manager

    def _time(self, now: int) -> str:
        return f"{now / 1e6:>7.0f}"

    def _happened(self, event: Event) -> None:
        self.events.append(event)
        text = f"{event.name} ({event.media_state})"
        left, right = (text, "") if event.role.value == "UAC" else ("", text)
        self.lines.append(f"{self._time(event.at)}  {left:<35} {'':<19} {right}".rstrip())

    def _sent(self, datagram: Datagram) -> None:
        data, from_caller = datagram.data, datagram.source[0] == CALLER
        if data[:1].isalpha():
            words = data.split(b"\r\n")[0].split()
            method = re.search(rb"CSeq: [0-9]+ ([A-Z]+)", data)
            assert method is not None
            name = words[0].decode()
            if name == "SIP/2.0":
                name = words[1].decode()
                name += "" if method[1] == b"INVITE" else f" ({method[1].decode()})"
            name += " +SDP" if b"\r\nv=0" in data else ""
        elif datagram.destination[1] % 2 == 0 and datagram.source[0] not in self._media:
            self._media.add(datagram.source[0])
            name = "first RTP"
        else:
            return
        arrow = f"{f' {name} ':-^18}>" if from_caller else f"<{f' {name} ':-^18}"
        self.lines.append(f"{self._time(datagram.sent_at)}  {'':<35} {arrow}")

    def text(self) -> str:
        """The ladder; times in ms."""
        head = f"{'ms':>7}  {'caller, UAC':<35} {'':<19} callee, UAS"
        return "\n".join(["```text", head, *self.lines, "```"])


async def _ring_and_answer(call: Call) -> None:
    call.ring()
    await call.answer(source=Tone(frequencies=(1000.0,)))


async def _early(call: Call) -> None:
    call.ring(early_media=True)


def early_offer() -> Scene:
    """Offer in the INVITE, answer in the 200, hung up by the caller."""
    scene = Scene(_ring_and_answer)
    call = scene.caller.call(f"sip:bob@{CALLEE}", source=Tone())
    scene.network.advance(0.3)
    call.hang_up()
    scene.network.advance(0.3)
    return scene


def late_offer() -> Scene:
    """Offer in the 200, answer in the ACK, hung up by the callee."""
    scene = Scene(_ring_and_answer)
    scene.caller.call(f"sip:bob@{CALLEE}", source=Tone(), late_offer=True)
    scene.network.advance(0.3)
    scene.callee.calls[0].hang_up()
    scene.network.advance(0.3)
    return scene


def early_media() -> Scene:
    """SDP in a 183, the answer 200 ms later."""
    scene = Scene(_early)
    scene.caller.call(f"sip:bob@{CALLEE}", source=Tone())
    scene.network.advance(0.2)
    scene.callee.calls[0].answer(source=Tone(frequencies=(1000.0,)))
    scene.network.advance(0.2)
    return scene


def rejected() -> Scene:
    """486 Busy Here."""
    scene = Scene(lambda call: call.reject(486))
    scene.caller.call(f"sip:bob@{CALLEE}")
    scene.network.advance(0.2)
    return scene


def cancelled() -> Scene:
    """The caller gives up while it rings."""
    scene = Scene(lambda call: call.ring())
    call = scene.caller.call(f"sip:bob@{CALLEE}")
    scene.network.advance(0.1)
    call.hang_up()
    scene.network.advance(0.2)
    return scene


def one_way() -> Scene:
    """From the answer on nothing of the callee's reaches the caller."""
    scene = Scene(_ring_and_answer)
    scene.caller.call(f"sip:bob@{CALLEE}", source=Tone())
    scene.network.advance(0.03)
    scene.network.set_link(CALLEE, CALLER, Link(loss=1.0))
    scene.network.advance(6)
    return scene


def event_lines() -> str:
    """The callee's event lines of an ordinary call, the longest cut."""
    lines = [text_line(event) for event in early_offer().events if event.role.value == "UAS"]
    return "\n".join(["```text", *(_cut(line.rstrip("\n")) for line in lines), "```"])


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH - 2 else line[: WIDTH - 6] + " ..."


def json_example() -> str:
    """Two JSON records of an ordinary call, on several lines each to be read."""
    wanted = {"CallAnswered", "MediaNegotiated"}
    told = [
        event for event in early_offer().events
        if event.name in wanted and event.role.value == "UAS"
    ]  # fmt: skip
    lines = []
    for event in told:
        text = json_line(event)
        lines.append("\n".join(textwrap.wrap(text.replace(",", ", "), WIDTH - 4,
                                             subsequent_indent="  ")))  # fmt: skip
    return "\n".join(["```text", *lines, "```"])


# ---------------------------------------------------------------------- the walk


def walk_table() -> str:
    """The rows of the walk."""
    rows = ["| # | where | what |", "|---|---|---|"]
    for number, (where, what) in enumerate(WALK, 1):
        names = ", ".join(f"`{name}`" for name in where.split(", "))
        rows.append(f"| {number} | {names} | {what} |")
    return "\n".join(rows)


def walk_trace(label: str) -> str:
    """One side's walk of an ordinary call on the in-memory network."""
    import io

    outs = {name: io.StringIO() for name in ("UAC", "UAS")}
    network = FakeNetwork(link=Link(delay=0.01))

    def manager(address: str, name: str, **wishes: Any) -> SessionManager:
        walk = Walk(outs[name], name)
        made = SessionManager(
            network.host(address),
            random_bytes=Random(address).randbytes,
            settings=Settings(user_agent="sessioncore"),
            tracer=walk,
            **wishes,
        )
        made.add_event_sink(walk.event)
        made.start()
        return made

    manager(CALLEE, "UAS", on_incoming=_ring_and_answer)
    manager(CALLER, "UAC").call(f"sip:bob@{CALLEE}", source=Tone())
    network.advance(0.3)
    lines = [line[6:] for line in outs[label].getvalue().splitlines()]
    return "\n".join(["```text", *(_cut(line) for line in lines), "```"])


def package_map() -> str:
    """The folders and modules of the package with the first line of their docstrings."""
    package = Path(sessioncore.__file__).parent
    names = sorted(path.parent.name for path in package.glob("*/__init__.py"))
    lines = []
    for name in names:
        tree = ast.parse((package / name / "__init__.py").read_text(encoding="utf-8"))
        text = (ast.get_docstring(tree) or "").split("\n\n")[0]
        lines.append(bullet(f"`{name}/`", prose(text)))
    return "\n".join(lines)


# ---------------------------------------------------------------------- pages


GENERATORS: Final[dict[str, Callable[[], str]]] = {
    "events": event_reference,
    "command events": lambda: event_list([outcome.CallSummary, outcome.RunEnded]),
    "event lines": event_lines,
    "json lines": json_example,
    "common options": common_options,
    "answer options": lambda: option_list(_own_options(tap.AnswerOptions)),
    "call options": lambda: option_list(_own_options(tap.CallOptions)),
    "twistd options": lambda: option_list(_own_options(tap.Options)),
    "machines options": lambda: option_list(_own_options(cli.MachinesCommand)),
    "commands": commands,
    "settings": settings_reference,
    "errors": error_tree,
    "stream statistics": lambda: statistics_of(StreamStatistics),
    "plane statistics": lambda: statistics_of(PlaneStatistics),
    "manager statistics": lambda: statistics_of(ManagerStatistics),
    "call counters": lambda: statistics_of(CallCounters),
    "sip counters": lambda: statistics_of(Counters),
    "values": value_reference,
    "api manager": lambda: api(("SessionManager", "Call", "UserAgentClient", "UserAgentServer")),
    "api sources": lambda: api(("Silence", "Tone", "Clip", "Echo", "Frames")),
    "api sinks": lambda: api(("Discard", "Record", "Deliver")),
    "api interfaces": lambda: api(("ICallHandler", "IEventSink", "IMediaSource", "IMediaSink")),
    "api testing": lambda: api(
        [name for name in testing.__all__ if name not in ("messages", "FakeUdpPort")], testing
    ),
    "messages": lambda: "\n".join(
        _function(value)
        for name in messages.__all__
        if inspect.isfunction(value := getattr(messages, name))
    ),
    "machine list": machine_list,
    "machines": machines,
    "ladder early offer": lambda: early_offer().text(),
    "ladder late offer": lambda: late_offer().text(),
    "ladder early media": lambda: early_media().text(),
    "ladder rejected": lambda: rejected().text(),
    "ladder cancelled": lambda: cancelled().text(),
    "ladder one way": lambda: one_way().text(),
    "walk": walk_table,
    "walk uas": lambda: walk_trace("UAS"),
    "walk uac": lambda: walk_trace("UAC"),
    "package map": package_map,
}


def filled(text: str) -> str:
    """A page with its generated parts as the code is now; KeyError names an unknown part."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{GENERATORS[match[2]]().strip()}\n\n{match[3]}"

    return BLOCK.sub(fill, text)


def pages(root: Path = ROOT) -> Iterator[Path]:
    """Every Markdown page of the documentation."""
    yield from sorted((root / "docs").rglob("*.md"))


def main(arguments: list[str]) -> int:
    """Write the generated parts anew, or with ``--check`` tell which are not as the code is."""
    if arguments not in ([], ["--check"]):
        print("write tools/docs.py or tools/docs.py --check", file=sys.stderr)
        return 2
    stale = 0
    for path in pages():
        text = path.read_text(encoding="utf-8")
        new = filled(text)
        if new == text:
            continue
        stale += 1
        if arguments:
            print(f"{path.relative_to(ROOT)} is not as the code is: run tools/docs.py")
        else:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} written")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
