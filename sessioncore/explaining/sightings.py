"""SIP messages as they were seen, each read and judged; and text files that hold some."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Final

from sessioncore.errors import SipParseError
from sessioncore.explaining.tcp_streams import START
from sessioncore.sip.lint import SeenMessage
from sessioncore.sip.message import Request, Response, parse_message
from sessioncore.sip.methods import SDP
from sessioncore.sip.multipart import is_multipart, part_of
from sessioncore.vocabulary import Address

__all__ = ["Sighting", "looks_like_sip", "messages_in"]

_EMPTY_LINE: Final = re.compile(rb"\r?\n\r?\n")
_LINE_START: Final = re.compile(rb"^(?=%b)" % START.pattern, re.MULTILINE)


def looks_like_sip(data: bytes) -> bool:
    """Whether a datagram may be a SIP message."""
    return b"SIP/2.0" in data[:4_096] and START.match(data.lstrip(b"\r\n")) is not None


class Sighting:
    """One SIP message: when it was seen (ns), between which addresses, and what it says.

    Addresses are None if they are not known, as in a text file.  ``message`` is None if it cannot
    be read at all; ``problem`` says what is wrong with it, or is None.
    """

    repeats = False
    """Whether the same message was seen before: a retransmission."""

    def __init__(
        self,
        raw: bytes,
        at: int = 0,
        source: Address | None = None,
        destination: Address | None = None,
        transport: str = "udp",
        whole: bool = True,
    ) -> None:
        self.raw = raw
        self.at = at
        self.source = source
        self.destination = destination
        self.transport = transport
        self.whole = whole
        self.problem: str | None = None
        self.message: Request | Response | None = None
        try:
            self.message = parse_message(raw)
        except SipParseError as error:
            self.problem = str(error)
            self.message = error.request

    @cached_property
    def description(self) -> bytes | None:
        """The session description in its body, or None; without it if it was cut off."""
        message = self.message
        if message is None or not message.body or not self.whole:
            return None
        try:
            kind = message.content_type
        except SipParseError:
            return None
        if is_multipart(kind):
            return part_of(message, (SDP,))
        return message.body if kind == SDP else None

    @cached_property
    def call_id(self) -> bytes | None:
        """The Call-ID, or None if it cannot be read."""
        return None if self.message is None else self.message.first(b"Call-ID")

    @cached_property
    def sequence(self) -> tuple[int, str]:
        """Number and method of CSeq; 0 and the own method if it cannot be read."""
        try:
            assert self.message is not None
            number, method = self.message.cseq
        except (SipParseError, AssertionError):
            return 0, self.method
        return number, method.decode("ascii", "replace")

    @property
    def method(self) -> str:
        """The method of a request; empty for a response."""
        if isinstance(self.message, Request):
            return self.message.method.decode("ascii", "replace")
        return ""

    @property
    def status(self) -> int:
        """The status of a response; 0 for a request."""
        return self.message.status if isinstance(self.message, Response) else 0

    @cached_property
    def to_tag(self) -> bytes | None:
        """The To tag, or None."""
        try:
            return None if self.message is None else self.message.to_tag
        except SipParseError:
            return None

    @property
    def first_line(self) -> str:
        """The request line or status line without the version, for people."""
        message = self.message
        if isinstance(message, Request):
            return f"{self.method} {message.uri.decode('utf-8', 'backslashreplace')}"
        if isinstance(message, Response):
            return f"{message.status} {message.reason.decode('utf-8', 'backslashreplace')}"
        return self.raw[:40].split(b"\r\n")[0].decode("utf-8", "backslashreplace")

    @property
    def subject(self) -> SeenMessage:
        """The same for the lint of messages."""
        return SeenMessage(
            self.message,
            self.raw,
            self.problem if self.whole else None,
            self.source,
            self.destination,
            self.transport != "udp",
        )


def messages_in(text: bytes) -> Iterator[Sighting]:
    """The messages of a text that holds one or several, one after the other.

    What stands between them, as in a log, is left out.  In a text whose lines end in LF alone,
    Content-Length may count the line ends as CR LF.
    """
    starts = [match.start() for match in _LINE_START.finditer(text)]
    for start, end in pairwise([*starts, len(text)]):
        yield Sighting(_trimmed(text[start:end]))


def _trimmed(text: bytes) -> bytes:
    """A message without what follows it in a file, and with lines that end in CR LF."""
    head, gap, body = _split(text)
    if b"\r\n" not in head:
        head, body = head.replace(b"\n", b"\r\n"), body.replace(b"\n", b"\r\n")
        gap = b"\r\n\r\n"
    length = re.search(rb"(?im)^(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,6})[ \t]*\r?$", head)
    if length is None:
        return head + gap + body.rstrip() + (b"\r\n" if body.strip() else b"")
    size = int(length[1])
    # An editor may have taken the last line end away.
    if size - len(body) in (1, 2) and body:
        body = body.rstrip(b"\r\n") + b"\r\n"
    return head + gap + body[:size]


def _split(text: bytes) -> tuple[bytes, bytes, bytes]:
    match = _EMPTY_LINE.search(text)
    if match is None:
        return text.rstrip(), b"\r\n\r\n", b""
    return text[: match.start()], match.group(), text[match.end() :]
