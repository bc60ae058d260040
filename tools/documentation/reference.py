"""Reference pages: events, options, settings, errors, counters, the API."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

import sessioncore
from sessioncore import cli, errors, events
from sessioncore.daemon import options
from sessioncore.dashboard.metrics import Metrics
from sessioncore.events import Event
from sessioncore.explanation import ExplainedFormat, ExplainedMedia, Explanation
from sessioncore.lint import LintRule
from sessioncore.manager import SessionManager
from sessioncore.session.session import SessionState
from sessioncore.settings import Settings
from sessioncore.testing.network import FakeNetwork
from sessioncore.verdict import CAUSES
from sessioncore.vocabulary import (
    Codec,
    Direction,
    EndedBy,
    EndReason,
    MediaState,
    NegotiatedMedia,
    SessionRole,
    StreamAgreement,
)
from sessioncore.watching.notes import class_source
from tools.documentation.words import bullet, fields, kind_of, paragraph, prose


def event_list(kinds: Iterable[type[Event]]) -> str:
    """Each event with its meaning and its fields beyond the common ones."""
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
    """The names of all events, including those of the commands."""
    return [*events.__all__, "CallSummary", "RunEnded"]


def option_list(parameters: Iterable[list[Any]]) -> str:
    """One entry per row of ``optParameters``."""
    return "\n".join(
        bullet(f"`--{name}`" + ("" if default is None else f" (`{default}`)"), prose(text))
        for name, _short, default, text, *_ in parameters
    )


def own_options(kind: Any) -> list[list[Any]]:
    """The rows of ``optParameters`` that a class adds to those of its bases."""
    flags = [[name, short, None, text] for name, short, text in kind.__dict__.get("optFlags", ())]
    return [*kind.__dict__.get("optParameters", ()), *flags]


def common_options() -> str:
    """The options of all roles."""
    listen = ["listen", None, None, options.CommonOptions.opt_listen.__doc__]
    return option_list([listen, *own_options(options.CommonOptions)])


def commands() -> str:
    """The commands of ``sessioncore``."""
    parts = []
    for _name, _short, kind, text in cli.Command.subCommands:
        parts.append(bullet(f"`{kind.synopsis}`", f"{text} {prose(kind.longdesc)}"))
    return "\n".join(parts)


def settings_reference() -> str:
    """Fields of `Settings` with their defaults, and its docstring."""
    rows = []
    for field in attrs.fields(Settings):
        factory = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
        default = "the name and version of the package" if factory else f"`{field.default!r}`"
        rows.append(bullet(f"`{field.name}` ({kind_of(field)})", default))
    return "\n".join([*rows, "", paragraph(prose(Settings.__doc__))])


def error_tree(kind: type[Exception] = errors.SessionCoreError, depth: int = 0) -> str:
    """The tree below one error: the SIP status, and the meaning."""
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
    """A class of counters: its docstring and its fields."""
    return "\n".join([paragraph(prose(kind.__doc__)), "", *fields(kind)])


def classes(*kinds: type) -> str:
    """Several classes, each below its name."""
    parts = []
    for kind in kinds:
        parts += [f"### {kind.__name__}", "", statistics_of(kind), ""]
    return "\n".join(parts)


def metrics_reference() -> str:
    """Every metric of our own, as it is scraped."""
    metrics = Metrics(SessionManager(FakeNetwork().host("192.0.2.1")))
    lines = []
    for family in metrics.registry.collect():
        if not family.name.startswith("sessioncore_"):
            continue
        labels = sorted({name for sample in family.samples for name in sample.labels} - {"le"})
        what = ", ".join([family.type, *(f"by {label}" for label in labels)])
        name = f"{family.name}_total" if family.type == "counter" else family.name
        lines.append(bullet(f"`{name}` ({what})", family.documentation))
    return "\n".join(sorted(lines))


def value_reference() -> str:
    """The values that events and calls carry."""
    parts = []
    kinds = EndReason, NegotiatedMedia, StreamAgreement, Codec
    for kind in (*kinds, Explanation, ExplainedMedia, ExplainedFormat):
        parts += [f"### {kind.__name__}", "", paragraph(prose(kind.__doc__)), "", *fields(kind), ""]
    for words in (SessionRole, SessionState, MediaState, Direction, EndedBy):
        parts += [f"### {words.__name__}", "", paragraph(prose(words.__doc__)), ""]
        parts += [bullet(f"`{each.name}`", f"printed `{each}`") for each in words] + [""]
    return "\n".join(parts)


def meanings(kind: type[Enum]) -> str:
    """The members of an enum, each with the text below it."""
    body = class_source(kind).body
    texts = [
        node.value.value
        for node in body[1:]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    return "\n".join(
        bullet(f"`{each}`", prose(text)) for each, text in zip(kind, texts, strict=True)
    )


def causes() -> str:
    """The table of causes, each with what speaks for it and the remedy."""
    parts = []
    for rule in CAUSES:
        parts += [f"### {rule.name}", "", paragraph(f"{_sentence(rule.text)} {rule.remedy}"), ""]
        about = ", ".join(f"`{name}`" for name in rule.numbers)
        parts += [paragraph(f"About: {rule.way}. Evidence: {about}."), ""]
    return "\n".join(parts).rstrip("\n")


def findings(rules: Iterable[LintRule[Any]]) -> str:
    """A table of findings: name, severity, section, what it says and what to do."""
    parts = []
    for rule in rules:
        text = f"{_sentence(rule.text)} {_named(rule.remedy)}"
        parts += [f"### {rule.name}", "", f"{str(rule.severity).capitalize()}, {rule.section}.", ""]
        parts += [paragraph(text), ""]
    return "\n".join(parts).rstrip("\n")


def _named(template: str) -> str:
    """A template of a remedy, its numbers in small letters."""
    return re.sub(r"\{(\w+)[^}]*\}", r"`\1`", template)


def _sentence(template: str) -> str:
    """A template of a message as a sentence, its numbers in small letters."""
    text = _named(template)
    # "c=" and "a=" are names.
    first = text[0] if text[1:2] == "=" else text[0].upper()
    return f"{first}{text[1:]}."


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """``name(arguments)`` without self, with annotations as in the source."""
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(function.args))
    return f"{function.name}({arguments})"


def _members(kind: Any) -> Iterator[str]:
    """A list entry per public method and property of a class, in the order of its source."""
    for each in _body(kind):
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


def _body(kind: Any) -> Iterator[ast.stmt]:
    """The body of a class, then the bodies of those bases that are not public."""
    yield from class_source(kind).body
    for base in getattr(kind, "__mro__", ())[1:]:  # an interface has none
        if base.__name__.startswith("_") and base.__module__.startswith("sessioncore."):
            yield from class_source(base).body


def _made_by(kind: Any) -> str:
    """The call that makes an instance, or nothing if it takes no arguments."""
    own = [field for field in attrs.fields(kind) if field.init] if attrs.has(kind) else []
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


def function(function: Any) -> str:
    """A function as a list entry."""
    (node,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(node, ast.FunctionDef) and node.returns is not None
    return bullet(f"`{_signature(node)} -> {ast.unparse(node.returns)}`", prose(function.__doc__))


def api(names: Iterable[str], module: Any = sessioncore) -> str:
    """Public names: docstrings, constructors and members."""
    parts = []
    for name in names:
        kind = getattr(module, name)
        if inspect.isfunction(kind):
            parts += [f"### {name}", "", function(kind), ""]
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
