"""Takes the secrets out of SIP messages before anybody keeps them.

Each secret is overwritten by as many asterisks, so lengths and offsets stay as they were on the
wire.  Every expression here is anchored where its text begins: the time grows with the length of
the message only, whatever a stranger wrote into it.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["redacted"]

# Before a line there is nothing, or the end of another one.
_LINE: Final = rb"(?<![^\r\n])"
_CREDENTIALS: Final = re.compile(
    _LINE + rb"(?:(?:proxy|www)-)?authenticat(?:e|ion-info)[ \t]*+:(?:[^\r\n]|[\r\n]++[ \t])*"
    rb"|" + _LINE + rb"(?:proxy-)?authorization[ \t]*+:(?:[^\r\n]|[\r\n]++[ \t])*",
    re.IGNORECASE,
)
"""A header field with its folded lines (RFC 3261 section 7.3.1)."""
_SCHEME: Final = re.compile(rb"([\w-]++)[ \t]*+:\s*+(?:([\w-]++)\s++(?=\S))?")
_PARAMETER: Final = re.compile(
    rb'(?<![\w-])([\w-]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*)"?|([^\s,"]*+))', re.DOTALL
)
_SHOWN: Final = frozenset(
    [
        *(b"algorithm", b"charset", b"domain", b"nc", b"nextnonce", b"nonce", b"opaque", b"qop"),
        *(b"realm", b"stale", b"uri", b"userhash", b"username"),
    ]
)
"""The parameters of Digest (RFC 7616) that tell nobody a password, nor help to find one.

The others are hidden, known or not: ``response`` and ``cnonce`` allow guesses, and ``ck`` and
``ik`` (3GPP TS 24.229) are keys.
"""
_HIDDEN: Final = bytes(byte if byte in b' \t\r\n,="' else ord("*") for byte in range(256))
_BEFORE_AT: Final = re.compile(rb'(?<![^\s<>"@])[^\s<>"@]++@')
_PASSWORD: Final = re.compile(rb"(?:sips?:|://)[^:]*+:", re.IGNORECASE)
_INLINE: Final = re.compile(rb"(inline:)([^\s|;,]*+)", re.IGNORECASE)
_KEYS: Final = re.compile(
    _LINE + rb"(a=crypto:\S++[ \t]++\S++[ \t]++)(?!inline:)([^\r\n]++)"
    rb"|" + _LINE + rb"(k=(?:clear:|base64:|uri:)?|a=ice-pwd:|a=key-mgmt:\S++[ \t]++)([^\r\n]++)",
    re.IGNORECASE,
)
"""Keys in descriptions: RFC 4568, RFC 4566 section 5.12, RFC 8839 section 5.4, RFC 4567."""
_KEY_LINES: Final = (b"a=crypto:", b"k=", b"a=ice-pwd:", b"a=key-mgmt:")


def redacted(message: bytes) -> bytes:
    """``message`` with asterisks in place of its secrets; the length stays.

    Secrets are: in the header fields of authentication all but what `_SHOWN` lists, passwords in
    URIs, and keys in descriptions (``a=crypto``, ``k=``, ``a=ice-pwd``, ``a=key-mgmt``).
    """
    lower = message.lower()  # most messages have none of these, which is found out faster so
    if b"auth" in lower:
        message = _CREDENTIALS.sub(_credentials, message)
    if b"sip:" in lower or b"sips:" in lower or b"://" in lower:
        message = _BEFORE_AT.sub(_user, message)
    if b"inline:" in lower:
        message = _INLINE.sub(_all_but_the_name, message)
    if any(name in lower for name in _KEY_LINES):
        message = _KEYS.sub(_all_but_the_name, message)
    return message


def _credentials(found: re.Match[bytes]) -> bytes:
    field = found[0]
    begin = _SCHEME.match(field)
    assert begin is not None
    made = bytearray(field[: begin.end()] + field[begin.end() :].translate(_HIDDEN))
    scheme = (begin[2] or b"").lower()
    if scheme != b"digest" and b"authorization" in begin[1].lower():
        return bytes(made)
    for parameter in _PARAMETER.finditer(field, begin.end()):
        shown = 0 if parameter[1].lower() in _SHOWN else 1
        first, end = parameter.span(shown)
        made[first:end] = parameter[shown]
    return bytes(made)


def _user(found: re.Match[bytes]) -> bytes:
    before = found[0]
    password = _PASSWORD.search(before)
    if password is None:
        return before
    return before[: password.end()] + b"*" * (len(before) - password.end() - 1) + b"@"


def _all_but_the_name(found: re.Match[bytes]) -> bytes:
    name, secret = (each for each in found.groups() if each is not None)
    return name + b"*" * len(secret)
