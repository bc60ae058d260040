"""Reads dossiers back, and refuses what is none, or newer than this version knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from sessioncore.errors import ConfigurationError
from sessioncore.verdict import Evidence
from sessioncore.vocabulary import Codec, Direction
from sessioncore.watching.dossier import (
    SCHEMA,
    Dossier,
    EventEntry,
    MediaMilestone,
    SipEntry,
    VerdictEntry,
)

__all__ = ["dossier_from", "evidence_from", "read_dossier"]

T = TypeVar("T")
LONGEST: Final = 64 << 20
"""Bytes of the longest file that is read."""
_ENTRIES: Final[dict[str, type[Any]]] = {
    "verdicts": VerdictEntry,
    "media": MediaMilestone,
    "events": EventEntry,
    "messages": SipEntry,
}
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,),
    "bool": (bool,),
    "str": (str,),
    "float": (int, float),
    "Address": (list,),
    "dict[str, Any]": (dict,),
    "dict[str, dict[str, Any]]": (dict,),
    "None": (type(None),),
}
"""What JSON has for a field of that type; all other fields are lists."""
_DIRECTIONS: Final = {str(direction): direction for direction in Direction}


def read_dossier(name: str | Path) -> Dossier:
    """The dossier in a file.

    Raises `ConfigurationError` in one line if the file cannot be read, is no dossier, or was
    written by a newer version.
    """
    try:
        with open(name, "rb") as file:
            data = file.read(LONGEST + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{name} cannot be read: {error.strerror}; name a dossier, which --dossier writes"
        ) from None
    try:
        plain = json.loads(data) if len(data) <= LONGEST else None
    except (ValueError, RecursionError):
        plain = None
    return dossier_from(plain, str(name))


def dossier_from(plain: Any, name: str = "the dossier") -> Dossier:
    """The dossier that `Dossier.as_dict` made ``plain``; ``name`` is for messages.

    Fields that are not known are left out.  Raises `ConfigurationError`.
    """
    schema = plain.get("schema") if isinstance(plain, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or "messages" not in plain:
        raise ConfigurationError(f"{name} is not a dossier; name a file that --dossier wrote")
    if schema > SCHEMA:
        raise ConfigurationError(
            f"{name} has schema {schema}, and this version reads dossiers up to schema {SCHEMA};"
            f" use a newer sessioncore (it was written by {plain.get('program', 'an unknown one')})"
        )
    values = dict(plain)
    for field, kind in _ENTRIES.items():
        entries = values.get(field)
        if not isinstance(entries, list):
            raise _unusable(name, field)
        values[field] = [_made(kind, each, name, field) for each in entries]
    return _made(Dossier, values, name, "")


def _made(kind: type[T], plain: Any, name: str, where: str) -> T:
    """An object of ``kind`` from its fields, each of which must be of its type."""
    if not isinstance(plain, dict):
        raise _unusable(name, where)
    values = {}
    fields: Any = attrs.fields(kind)  # type: ignore[arg-type]
    for field in fields:
        if field.name not in plain and field.default is not attrs.NOTHING:
            continue
        value = plain.get(field.name)
        whole = f"{where}.{field.name}" if where else field.name
        if field.name not in plain or not _fits(value, str(field.type)):
            raise _unusable(name, whole)
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _fits(value: Any, kind: str) -> bool:
    if kind == "Address":
        return (
            isinstance(value, list)
            and len(value) == 2
            and isinstance(value[0], str)
            and isinstance(value[1], int)
        )
    allowed = tuple(each for part in kind.split(" | ") for each in _KINDS.get(part, (list,)))
    return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))


def _unusable(name: str, field: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} is a damaged dossier: {field!r} is missing or of another type"
    )


def evidence_from(verdict: dict[str, Any]) -> Evidence:
    """The evidence in a verdict that `Verdict.as_dict` made; `judge` makes a verdict of it again.

    Numbers that are missing have their defaults.  Raises `ConfigurationError` if there is none.
    """
    plain = verdict.get("evidence")
    if not isinstance(plain, dict):
        raise ConfigurationError("a verdict without evidence cannot be judged again")
    known = {field.name for field in attrs.fields(Evidence)}
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in plain.items()
        if name in known
    }
    values["direction"] = _DIRECTIONS.get(plain.get("direction", ""), Direction.INACTIVE)
    values["codec"] = _codec(plain.get("codec"), plain.get("payload_type"))
    return Evidence.of(values)


def _codec(text: str | None, payload_type: int | None) -> Codec | None:
    """A codec from ``PCMU/8000``."""
    name, slash, rate = (text or "").partition("/")
    if not slash or not (rate.isascii() and rate.isdigit()):
        return None
    return Codec(name, payload_type or 0, int(rate))
