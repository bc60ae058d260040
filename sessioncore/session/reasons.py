"""Why calls end, in terms of RFC 3261, RFC 3326 (Reason) and Q.850."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from sessioncore.errors import NegotiationError
from sessioncore.sip.message import Message, Response
from sessioncore.sip.names import REASONS
from sessioncore.vocabulary import EndedBy, EndReason

__all__ = [
    "answered_with",
    "ended_by_peer",
    "faulty",
    "local_reason",
    "q850_cause",
    "unexpected",
    "unready",
    "unusable",
]

_CAUSE: Final = re.compile(rb'Q\.850\s*;(?:[^,"]|"[^"]*")*?cause\s*=\s*([0-9]{1,3})', re.IGNORECASE)
_TEXT: Final = re.compile(rb'text\s*=\s*"((?:[^"\\]|\\.){0,200})"', re.IGNORECASE)
_WARNING: Final = re.compile(rb'[0-9]{3} [^ "]+ "((?:[^"\\]|\\.){1,200})"')
_REALM: Final = re.compile(rb'realm\s*=\s*"((?:[^"\\]|\\.){0,200})"', re.IGNORECASE)
_TAGS: Final = re.compile(rb"[^\s,]+")
_MOST_TAGS: Final = 16
# What these refusals are about is in a header field of the response (RFC 3261 section 21.4).
_ABOUT: Final = {405: b"Allow", 415: b"Accept", 420: b"Unsupported", 421: b"Require"}
_CHALLENGES: Final = {401: b"WWW-Authenticate", 407: b"Proxy-Authenticate"}
_LONGEST_PHRASE: Final = 200
_LONGEST_REASON: Final = 500
"""Only that much of the peer's Reason value is searched."""

# The reverse of RFC 3398 section 8.2.6.1, where the cause adds information.
_CAUSE_OF_STATUS: Final = {
    403: 21,
    404: 1,
    408: 102,
    410: 22,
    480: 18,
    484: 28,
    486: 17,
    487: 127,
    488: 65,
    500: 41,
    502: 38,
    503: 41,
    504: 102,
    600: 17,
    603: 21,
    604: 1,
}


def _words(raw: bytes) -> str:
    """The peer's text, cleaned for a log line."""
    text = raw[:_LONGEST_PHRASE].decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def q850_cause(message: Message) -> int | None:
    """The Q.850 cause of the message's Reason header (RFC 3326), if it names one."""
    for value in message.all(b"Reason"):
        found = _CAUSE.search(value[:_LONGEST_REASON])
        if found:
            return int(found[1])
    return None


def answered_with(response: Response) -> EndReason:
    """The end of a call whose INVITE got a final response other than 2xx."""
    text = _words(response.reason) or f"answered {response.status}"
    reasons: tuple[str, ...] = ()
    warning = response.first(b"Warning")
    if warning is not None and (found := _WARNING.search(warning[:_LONGEST_REASON])):
        told = _words(found[1])
        text, reasons = f"{text}: {told}", tuple(told.split("; "))
    if response.status < 400:
        # The application decides whether to follow the redirection.
        text = f"{text}: {_words(response.first(b'Contact') or b'nowhere')}"
    about = _listed(response, _ABOUT.get(response.status))
    realms = _realms(response, _CHALLENGES.get(response.status))
    if about:
        text = f"{text}: {', '.join(about)}"
    if realms:
        text = f"{text}: realm {', '.join(realms)}"
    cause = q850_cause(response) or _CAUSE_OF_STATUS.get(response.status)
    required = about if response.status == 421 else ()
    return EndReason(EndedBy.REMOTE, text, response.status, cause, reasons, required, realms)


def _listed(response: Response, header: bytes | None) -> tuple[str, ...]:
    """The comma-separated values of a header field."""
    if header is None:
        return ()
    value = b",".join(response.all(header))[:_LONGEST_REASON]
    return tuple(map(_words, _TAGS.findall(value)[:_MOST_TAGS]))


def _realms(response: Response, header: bytes | None) -> tuple[str, ...]:
    """The realms of the challenges (RFC 3261 section 22.1)."""
    if header is None:
        return ()
    values = response.all(header)[:_MOST_TAGS]
    found = [_REALM.search(value[:_LONGEST_REASON]) for value in values]
    return tuple(_words(each[1]) for each in found if each)


def ended_by_peer(message: Message, text: str, status: int | None = None) -> EndReason:
    """The end of a call by the peer's BYE or CANCEL; 16 is normal call clearing."""
    reason = message.first(b"Reason")
    if reason is None:
        return _cleared(text, status)
    found = _TEXT.search(reason[:_LONGEST_REASON])
    words = _words(found[1]) if found else ""
    return EndReason(EndedBy.REMOTE, words or text, status, q850_cause(message) or 16)


@lru_cache(maxsize=8)
def _cleared(text: str, status: int | None) -> EndReason:
    """The most common end of a call, cached."""
    return EndReason(EndedBy.REMOTE, text, status, 16)


def local_reason(text: str, status: int | None = None, cause: int | None = None) -> EndReason:
    """The end of a call by this side; 16 is normal call clearing."""
    cause = cause or _CAUSE_OF_STATUS.get(status or 0, 16)
    return EndReason(EndedBy.LOCAL, text, status, cause)


def unready(error: Exception) -> EndReason:
    """Why we refuse an INVITE before the application is asked; for media, format by format."""
    status = getattr(error, "status", None) or 500
    by = EndedBy.NETWORK if isinstance(error, OSError) else EndedBy.ERROR
    return EndReason(by, str(error), status, _CAUSE_OF_STATUS.get(status), _reasons(error))


def faulty(status: int, text: str) -> EndReason:
    """Why an INVITE is refused that `sessioncore.sip.inspection` ruled out."""
    return EndReason(EndedBy.ERROR, f"{REASONS[status].decode()}: {text}", status)


def unusable(what: str, error: Exception) -> EndReason:
    """Why an answered call cannot go on: no media; Q.850 88 is incompatible destination."""
    return EndReason(EndedBy.ERROR, f"no usable {what}: {error}", None, 88, _reasons(error))


def _reasons(error: Exception) -> tuple[str, ...]:
    return error.reasons if isinstance(error, NegotiationError) else ()


def unexpected(error: Exception) -> EndReason:
    """The end reason of a call in which an unexpected exception was raised; Q.850 41."""
    return EndReason(EndedBy.ERROR, f"unexpected {type(error).__name__}: {error}", None, 41)
