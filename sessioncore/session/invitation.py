"""The parameters of our INVITE as the application gives them, checked at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from sessioncore.errors import ConfigurationError, SipParseError
from sessioncore.settings import require_seconds
from sessioncore.sip.grammar import TOKEN
from sessioncore.sip.names import header_key
from sessioncore.sip.values import Uri, parse_strict_uri

__all__ = [
    "HeaderFields",
    "Invitation",
    "callable_uri",
    "on_one_line",
    "reason_headers",
    "require_transport",
]

HeaderFields: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields to add: names and values."""
Header: TypeAlias = tuple[bytes, bytes]

_OURS: Final = frozenset(
    b"Accept Allow Call-ID CSeq Contact Content-Encoding Content-Length Content-Type From"
    b" Max-Forwards Proxy-Authorization Record-Route Require Route Supported To User-Agent"
    b" Authorization Via".split()
)
"""Header fields that we write ourselves; an application cannot add them."""
_LONGEST_NAME: Final = 200
_LONGEST_VALUE: Final = 8_000


def callable_uri(text: str) -> Uri:
    """Read a SIP URI that a person gave; raises `ConfigurationError`."""
    if not isinstance(text, str):
        raise ConfigurationError(
            f"{text!r} is not a SIP URI but {type(text).__name__}; give a string, for example"
            " sip:alice@192.0.2.1:5060"
        )
    try:
        uri = parse_strict_uri(text.encode("ascii"))
    except (SipParseError, UnicodeEncodeError) as error:
        raise ConfigurationError(
            f"{text!r} is not a SIP URI ({error}); write for example sip:alice@192.0.2.1:5060"
        ) from None
    if uri.scheme != b"sip":
        raise ConfigurationError(
            f"{text!r}: only the scheme sip is supported; write for example"
            " sip:alice@192.0.2.1:5060"
        )
    if uri.headers:
        raise ConfigurationError(f"{text!r}: leave out the question mark and the text after it")
    return uri


def require_transport(uri: Uri, transports: Collection[bytes] = (b"UDP",)) -> None:
    """Raise `ConfigurationError` if ``uri`` names a transport that is not among these."""
    named = uri.params.get(b"transport")
    if named is not None and named.upper() not in transports:
        there = b", ".join(sorted(transports)).decode()
        raise ConfigurationError(
            f"'{uri}': there is no such transport, only {there}; write for example"
            " sip:alice@192.0.2.1:5060"
        )


def _caller(text: str | None) -> str | None:
    if text is not None:
        callable_uri(text)
    return text


def _display_name(text: str | None) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > _LONGEST_NAME or not on_one_line(text):
        raise ConfigurationError(
            f"display_name: {text!r} is not usable; give one line of text, at most"
            f" {_LONGEST_NAME} characters"
        )
    return text


def on_one_line(text: str) -> bool:
    """Whether ``text`` is a string without control characters other than the tab."""
    return all(character == "\t" or not _is_control(character) for character in text)


def _is_control(character: str) -> bool:
    code = ord(character)
    return (
        code < 32
        or 127 <= code < 160
        or 0xD800 <= code < 0xE000  # half of a pair, which UTF-8 cannot write
        or character in "\u2028\u2029"
    )


def _headers(given: HeaderFields | None) -> tuple[Header, ...]:
    """Names and values as bytes; raises `ConfigurationError`."""
    if not given:
        return ()
    pairs = given.items() if isinstance(given, Mapping) else given
    try:
        fields = [(name, value) for name, value in pairs]
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"headers: {given!r} is not usable; give a dict or pairs of name and value"
        ) from None
    return tuple(_header(name, value) for name, value in fields)


def _header(name: object, value: object) -> Header:
    if not isinstance(name, str) or not isinstance(value, str):
        raise ConfigurationError(f"headers: {name!r}: {value!r} is not usable; give two strings")
    key = name.encode("utf-8", "replace")
    if TOKEN.fullmatch(key) is None:
        raise ConfigurationError(
            f"headers: {name!r} is not the name of a header field; write for example X-Account"
        )
    if header_key(key) in _OURS:
        raise ConfigurationError(f"headers: {name} is written by sessioncore; leave it out")
    written = value.encode("utf-8", "replace")
    if not on_one_line(value) or len(written) > _LONGEST_VALUE:
        raise ConfigurationError(
            f"headers: {name}: {value[:80]!r} is not usable; give one line of at most"
            f" {_LONGEST_VALUE} bytes"
        )
    return (key, written.strip())


def _some_seconds(_made: object, attribute: Any, value: object) -> None:
    if value is not None:
        require_seconds(attribute.name, value)


@frozen
class Invitation:
    """The parameters of an outgoing call: URI, caller, header fields, offer, ring limit.

    ``ring_limit`` is in seconds; None means that of the settings.  Raises `ConfigurationError`.
    """

    uri: Uri = field(converter=callable_uri)
    from_uri: str | None = field(default=None, converter=_caller)
    display_name: str | None = field(default=None, converter=_display_name)
    headers: tuple[Header, ...] = field(default=(), converter=_headers)
    late_offer: bool = False
    ring_limit: float | None = field(default=None, validator=_some_seconds)

    def from_value(self, uri: str, tag: bytes) -> bytes:
        """The From header field of a caller known as ``uri``."""
        if self.display_name is None:
            return b"<%b>;tag=%b" % (uri.encode("ascii"), tag)
        name = self.display_name.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8")
        return b'"%b" <%b>;tag=%b' % (name, uri.encode("ascii"), tag)


def reason_headers(cause: int | None, text: str) -> tuple[Header, ...]:
    """The Reason header field of a BYE or CANCEL (RFC 3326), Q.850 ``cause`` and ``text``.

    Raises `ConfigurationError` for values that it cannot carry.
    """
    if cause is not None and (
        isinstance(cause, bool) or not isinstance(cause, int) or not 1 <= cause <= 127
    ):
        raise ConfigurationError(f"cause: {cause!r} is not a Q.850 cause; give 1 to 127")
    if not isinstance(text, str) or len(text) > _LONGEST_NAME or not on_one_line(text):
        raise ConfigurationError(
            f"reason: {text!r} is not usable; give one line of text, at most"
            f" {_LONGEST_NAME} characters"
        )
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "replace")
    value = b'Q.850;cause=%d;text="%b"' % (16 if cause is None else cause, quoted)
    return ((b"Reason", value),)
