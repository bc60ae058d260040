"""Bodies of several parts (RFC 2046 section 5.1, RFC 5621)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from sessioncore.errors import SipParseError
from sessioncore.sip import grammar
from sessioncore.sip.fields import Message
from sessioncore.sip.names import header_key
from sessioncore.sip.parts import read_params
from sessioncore.sip.values import parse_content_type

__all__ = ["is_multipart", "is_optional", "part_of"]

_PREFIX: Final = b"multipart/"
_MOST_PARTS: Final = 32
"""Parts that are looked at, and each may be a multipart again, but only so deep:"""
_DEEPEST: Final = 4
_LONGEST_BOUNDARY: Final = 70
_PLAIN: Final = (b"7bit", b"8bit", b"binary")
_OURS: Final = (None, b"session")
"""The dispositions of a description (RFC 3261 section 20.11): not, say, early-session."""

Fields = dict[bytes, bytes]


def is_multipart(kind: bytes | None) -> bool:
    """Whether ``kind``, a Content-Type without parameters, is a multipart."""
    return kind is not None and kind.startswith(_PREFIX)


def is_optional(disposition: bytes | None) -> bool:
    """Whether a Content-Disposition says that the body may be ignored (RFC 3261 20.11)."""
    parameters = (disposition or b"").lower().split(b";")[1:]
    return any(b"".join(each.split()) == b"handling=optional" for each in parameters)


def part_of(message: Message, kinds: Collection[bytes]) -> bytes | None:
    """The first part of a multipart body whose type is one of ``kinds``, or None.

    Other parts are ignored, parts of parts are found.  Raises nothing.
    """
    return _find(message.body, message.first(b"Content-Type") or b"", kinds, _DEEPEST)


def _find(body: bytes, content_type: bytes, kinds: Collection[bytes], depth: int) -> bytes | None:
    boundary = _boundary(content_type)
    if boundary is None or not depth:
        return None
    for fields, content in _parts(body, boundary):
        value = fields.get(b"Content-Type", b"text/plain")
        try:
            kind = parse_content_type(value)
        except SipParseError:
            continue
        if is_multipart(kind):
            found = _find(content, value, kinds, depth - 1)
            if found is not None:
                return found
        elif kind in kinds and _is_readable(fields):
            return content
    return None


def _is_readable(fields: Fields) -> bool:
    """Whether a part is not encoded and not there for something else."""
    encoding = fields.get(b"Content-Encoding", b"identity").lower()
    transfer = fields.get(b"content-transfer-encoding", b"binary").lower()
    disposition = fields.get(b"Content-Disposition")
    purpose = None if disposition is None else disposition.partition(b";")[0].strip().lower()
    return encoding == b"identity" and transfer in _PLAIN and purpose in _OURS


def _boundary(content_type: bytes) -> bytes | None:
    _, semicolon, rest = content_type.partition(b";")
    params = semicolon + rest
    if not semicolon or grammar.PARAMS.fullmatch(params) is None:
        return None
    value = read_params(params).get(b"boundary") or b""
    if value.startswith(b'"'):
        value = value[1:-1].replace(b"\\", b"")
    return value if 0 < len(value) <= _LONGEST_BOUNDARY else None


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[Fields, bytes]]:
    """Header fields and content of each part, without the text before and after all parts."""
    delimiter = b"\n--" + boundary
    text = b"\n" + body
    begin: int | None = None
    at, count = text.find(delimiter), 0
    while at >= 0 and count < _MOST_PARTS:
        end = at + len(delimiter)
        line, _, _ = text[end : end + 80].partition(b"\n")
        rest = line.strip()
        if rest in (b"", b"--"):
            if begin is not None:
                count += 1
                yield _read_part(text[begin:at].removesuffix(b"\r"))
            if rest:
                return
            begin = end + len(line) + 1
        at = text.find(delimiter, end)
    if begin is not None and count < _MOST_PARTS:
        yield _read_part(text[begin:])  # The last delimiter is missing.


def _read_part(part: bytes) -> tuple[Fields, bytes]:
    if part.startswith((b"\r\n", b"\n")):
        return {}, part.partition(b"\n")[2]
    match = grammar.END_OF_HEADERS.search(part)
    if match is None:
        return {}, b""
    fields: Fields = {}
    for line in grammar.LINE_END.split(grammar.FOLD.sub(b" ", part[: match.start()])):
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(header_key(name.strip()), value.strip())
    return fields, part[match.end() :]
