"""SIP requests and SDP offers as bytes, with sensible defaults, for tests.

This module shares no code with the parser or the builders of the library, so a fault in those
cannot hide itself in a test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from attrs import evolve, frozen

from sessioncore.vocabulary import Address, host_port

__all__ = [
    "Caller",
    "ack",
    "bye",
    "cancel",
    "header",
    "invite",
    "offer",
    "options",
    "request",
    "response",
    "tag",
]

Headers = Iterable[tuple[str, str]]


@frozen
class Caller:
    """Sender and receiver of the requests of one call; `evolve` it to vary a request."""

    local: Address = ("192.0.2.1", 5060)
    remote: Address = ("192.0.2.2", 5060)
    local_user: str = "alice"
    remote_user: str = "bob"
    call_id: str = "a84b4c76e66710@192.0.2.1"
    local_tag: str = "1928301774"
    remote_tag: str = ""
    branch: str = "z9hG4bK776asdhds"
    sequence: int = 1
    rport: bool = True
    max_forwards: int = 70
    target: str = ""
    """Request-URI; empty for the remote user at the remote address."""
    routes: tuple[str, ...] = ()

    def with_answer(self, answer: bytes, **changes: Any) -> Caller:
        """This caller with the To tag of ``answer``, and for a 2xx with its Contact as target."""
        target = self.target
        if answer.startswith(b"SIP/2.0 2"):
            contact = re.search(r"<([^>]*)>", header(answer, "Contact") or "")
            target = contact.group(1) if contact else target
        return evolve(self, remote_tag=tag(answer, "To"), target=target, **changes)

    @property
    def request_uri(self) -> str:
        """The URI in the request line."""
        return self.target or f"sip:{self.remote_user}@{host_port(*self.remote)}"


def request(
    method: str,
    caller: Caller | None = None,
    *,
    headers: Headers = (),
    without: Iterable[str] = (),
    body: bytes = b"",
    content_type: str = "application/sdp",
    **changes: Any,
) -> bytes:
    """A request of any method.

    ``changes`` are fields of `Caller` (``sequence=2``, ``branch=...``).  ``headers`` replace
    defaults of the same name or are added; ``without`` names header fields to leave out.
    """
    caller = evolve(caller or Caller(), **changes)
    here, there = host_port(*caller.local), host_port(*caller.remote)
    to_tag = f";tag={caller.remote_tag}" if caller.remote_tag else ""
    rport = ";rport" if caller.rport else ""
    defaults = [
        ("Via", f"SIP/2.0/UDP {here}{rport};branch={caller.branch}"),
        *(("Route", route) for route in caller.routes),
        ("Max-Forwards", str(caller.max_forwards)),
        ("From", f"<sip:{caller.local_user}@{here}>;tag={caller.local_tag}"),
        ("To", f"<sip:{caller.remote_user}@{there}>{to_tag}"),
        ("Call-ID", caller.call_id),
        ("CSeq", f"{caller.sequence} {method}"),
    ]
    if method not in ("ACK", "BYE", "CANCEL"):
        defaults.append(("Contact", f"<sip:{caller.local_user}@{here}>"))
    if body:
        defaults.append(("Content-Type", content_type))
    defaults.append(("Content-Length", str(len(body))))
    first = f"{method} {caller.request_uri} SIP/2.0"
    return _assemble(first, defaults, headers, without, body)


def _assemble(
    first: str, defaults: Headers, headers: Headers, without: Iterable[str], body: bytes
) -> bytes:
    given: dict[str, list[tuple[str, str]]] = {}
    for name, value in headers:
        given.setdefault(name.lower(), []).append((name, value))
    left_out = {name.lower() for name in without}
    fields: list[tuple[str, str]] = []
    *front, length = defaults
    for name, value in front:
        if name.lower() in given:
            fields += given.pop(name.lower())
        elif name.lower() not in left_out:
            fields.append((name, value))
    for added in given.values():
        fields += added
    if not {"content-length", "l"} & (left_out | given.keys()):
        fields.append(length)
    lines = [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([first, *lines, "", ""]).encode() + body


def invite(caller: Caller | None = None, *, body: bytes | None = None, **given: Any) -> bytes:
    """An INVITE with `offer` as its body; ``body=b""`` sends none, so that the peer offers."""
    caller = caller or Caller()
    if body is None:
        local = given.get("local", caller.local)
        body = offer(local[0]) if isinstance(local, tuple) else offer()
    return request("INVITE", caller, body=body, **given)


def ack(
    caller: Caller | None = None, *, to: bytes | None = None, body: bytes = b"", **given: Any
) -> bytes:
    """The ACK of the final response ``to``; for a 2xx with its own branch (RFC 3261 13.2.2.4).

    Without ``to``, the fields of ``caller`` are used as they are.
    """
    caller = caller or Caller()
    if to is not None:
        caller = caller.with_answer(to)
        if to.startswith(b"SIP/2.0 2"):
            caller = evolve(caller, branch=caller.branch + "-ack")
    return request("ACK", caller, body=body, **given)


def bye(caller: Caller | None = None, *, to: bytes | None = None, **given: Any) -> bytes:
    """A BYE, one CSeq after the INVITE, with its own branch; ``to`` is the INVITE's response."""
    caller = caller or Caller()
    if to is not None:
        caller = caller.with_answer(to)
    caller = evolve(caller, sequence=caller.sequence + 1, branch=caller.branch + "-bye")
    return request("BYE", caller, **given)


def cancel(caller: Caller | None = None, **given: Any) -> bytes:
    """The CANCEL of the INVITE of the same caller: same branch, CSeq and To (RFC 3261 9.1)."""
    return request("CANCEL", caller, **given)


def options(caller: Caller | None = None, **given: Any) -> bytes:
    """An OPTIONS outside any dialog."""
    return request("OPTIONS", caller, **given)


def response(
    to: bytes,
    status: int,
    reason: str = "Whatever",
    *,
    to_tag: str = "314159",
    headers: Headers = (),
    without: Iterable[str] = (),
    body: bytes = b"",
    contact: Address | None = ("192.0.2.2", 5060),
) -> bytes:
    """A response to the request ``to``, for tests that play the callee.

    A status below 101 or from 300 on has no Contact; ``contact=None`` leaves it out as well.
    """
    copied = [
        (name, value)
        for name, value in _headers(to)
        if name.lower() in ("via", "record-route", "from", "to", "call-id", "cseq")
    ]
    defaults = [
        (
            name,
            f"{value};tag={to_tag}"
            if name.lower() == "to" and status > 100 and ";tag=" not in value
            else value,
        )
        for name, value in copied
    ]
    if contact is not None and 100 < status < 300:
        defaults.append(("Contact", f"<sip:bob@{host_port(*contact)}>"))
    if body:
        defaults.append(("Content-Type", "application/sdp"))
    defaults.append(("Content-Length", str(len(body))))
    return _assemble(f"SIP/2.0 {status} {reason}", defaults, headers, without, body)


def _headers(message: bytes) -> list[tuple[str, str]]:
    head = message.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    return [
        (name.strip(), value.strip())
        for name, colon, value in (line.partition(":") for line in head.split("\r\n")[1:])
        if colon
    ]


def header(message: bytes, name: str) -> str | None:
    """The first header field of that name (in its long form), as text; None if it is missing."""
    for found, value in _headers(message):
        if found.lower() == name.lower():
            return value
    return None


def tag(message: bytes, name: str) -> str:
    """The tag of the From or To header; empty if there is none."""
    found = re.search(r";\s*tag=([^;\s]+)", header(message, name) or "")
    return found.group(1) if found else ""


_RTPMAPS = {0: "PCMU/8000", 8: "PCMA/8000", 13: "CN/8000", 101: "telephone-event/8000"}


def offer(
    host: str = "192.0.2.1",
    port: int = 40_000,
    *,
    formats: Iterable[int] = (0, 8, 101),
    direction: str = "sendrecv",
    session_id: int = 2890844526,
    version: int = 1,
    ptime: int | None = 20,
    extra: Iterable[str] = (),
) -> bytes:
    """A session description with one audio line; ``extra`` lines are appended.

    ``direction=""`` leaves the attribute out.
    """
    kind = "IP6" if ":" in host else "IP4"
    formats = tuple(formats)
    lines = [
        "v=0",
        f"o=- {session_id} {version} IN {kind} {host}",
        "s=-",
        f"c=IN {kind} {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(map(str, formats))}",
        *(f"a=rtpmap:{each} {_RTPMAPS[each]}" for each in formats if each in _RTPMAPS),
    ]
    if 101 in formats:
        lines.append("a=fmtp:101 0-15")
    if ptime is not None:
        lines.append(f"a=ptime:{ptime}")
    if direction:
        lines.append(f"a={direction}")
    return "\r\n".join([*lines, *extra, ""]).encode()
