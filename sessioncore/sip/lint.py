"""Findings in SIP messages, as far as they explain calls and audio, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from sessioncore.errors import SipParseError
from sessioncore.lint import LintFinding, LintRule, Severity, Values, lint
from sessioncore.reach import reach
from sessioncore.sip.message import Request, Response, required_faults
from sessioncore.sip.methods import SDP
from sessioncore.sip.multipart import is_multipart
from sessioncore.sip.uris import Uri
from sessioncore.vocabulary import Address

__all__ = ["MESSAGE_RULES", "SeenMessage", "lint_message"]

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_SHORT: Final = "body shorter than Content-Length"
_FILLING: Final = b"\r\n\0 \t"


class SeenMessage(NamedTuple):
    """A message with where it was seen; addresses are None if they are not known.

    ``problem`` is what the parser said.  ``on_stream`` says that it came over TCP or TLS.
    """

    message: Request | Response | None
    raw: bytes
    problem: str | None = None
    source: Address | None = None
    destination: Address | None = None
    on_stream: bool = False

    @property
    def invites(self) -> bool:
        """Whether it is an INVITE, or a response to one."""
        try:
            return self.message is not None and self.message.cseq.method == b"INVITE"
        except SipParseError:
            return False

    @property
    def is_target(self) -> bool:
        """Whether its Contact becomes the target of later requests (RFC 3261 section 12.1)."""
        message = self.message
        if not self.invites:
            return False
        return isinstance(message, Request) or (
            isinstance(message, Response) and 200 <= message.status < 300
        )


def _broken(m: SeenMessage) -> Iterator[Values]:
    if m.problem is not None and m.problem != _SHORT:
        yield {"why": m.problem}


def _incomplete(m: SeenMessage) -> Iterator[Values]:
    if m.message is not None and m.problem is None:
        fault = required_faults(m.message)
        if fault is not None:
            yield {"why": fault}


def _lengths(m: SeenMessage) -> tuple[int, int] | None:
    """Content-Length, and the bytes behind the header fields."""
    if m.message is None:
        return None
    try:
        said = m.message.content_length
    except SipParseError:
        return None
    end = m.raw.find(b"\r\n\r\n")
    return None if said is None or end < 0 else (said, len(m.raw) - end - 4)


def _too_long(m: SeenMessage) -> Iterator[Values]:
    lengths = _lengths(m)
    if lengths is not None and lengths[0] > lengths[1]:
        yield {"said": lengths[0], "there": lengths[1]}


def _too_short(m: SeenMessage) -> Iterator[Values]:
    lengths = _lengths(m)
    if lengths is None or lengths[0] >= lengths[1]:
        return
    if m.raw[len(m.raw) - lengths[1] + lengths[0] :].strip(_FILLING):
        yield {"said": lengths[0], "there": lengths[1]}


def _no_length(m: SeenMessage) -> Iterator[Values]:
    if m.message is not None and m.on_stream and m.message.first(b"Content-Length") is None:
        yield {}


def _contact(m: SeenMessage) -> Uri | None:
    if m.message is None:
        return None
    try:
        contact = m.message.contact
    except SipParseError:
        return None
    return contact.uri if contact is not None and isinstance(contact.uri, Uri) else None


def _no_contact(m: SeenMessage) -> Iterator[Values]:
    if m.is_target and m.message is not None and m.message.first(b"Contact") is None:
        yield {}


def _far_contact(m: SeenMessage) -> Iterator[Values]:
    contact, message = _contact(m), m.message
    if contact is None or message is None or m.source is None or not m.is_target:
        return
    # A proxy that stays on the way takes care of it.
    if message.first(b"Record-Route") is not None:
        return
    host = contact.params.get(b"maddr") or contact.host
    if reach(host) < reach(m.source[0]):
        yield {"host": host, "source": m.source[0]}


def _far_via(m: SeenMessage) -> Iterator[Values]:
    if not isinstance(m.message, Request) or m.source is None or m.on_stream:
        return
    try:
        via = m.message.via
    except SipParseError:
        return
    if b"rport" not in via.params and reach(via.host) < reach(m.source[0]):
        yield {"host": via.host, "source": m.source[0]}


def _no_received(m: SeenMessage) -> Iterator[Values]:
    if not isinstance(m.message, Response) or m.destination is None:
        return
    try:
        via = m.message.via
    except SipParseError:
        return
    is_literal = via.host.replace(b".", b"").isdigit() or b":" in via.host
    if (
        is_literal
        and via.received is None
        and via.host.decode("ascii", "replace") != m.destination[0]
    ):
        yield {"host": via.host, "destination": m.destination[0]}


def _empty_rport(m: SeenMessage) -> Iterator[Values]:
    if not isinstance(m.message, Response) or m.on_stream:
        return
    try:
        if m.message.via.rport:
            yield {}
    except SipParseError:
        return


def _strict_route(m: SeenMessage) -> Iterator[Values]:
    if m.message is None:
        return
    try:
        routes = m.message.record_routes
    except SipParseError:
        return
    for route in routes:
        if isinstance(route.uri, Uri) and b"lr" not in route.uri.params:
            yield {"route": route.uri.raw}


def _untyped_body(m: SeenMessage) -> Iterator[Values]:
    if m.message is None or not m.message.body.lstrip(b"\r\n").startswith(b"v=0"):
        return
    try:
        kind = m.message.content_type
    except SipParseError:
        kind = b"unreadable"
    if kind != SDP and not is_multipart(kind):
        yield {"kind": kind or b"none"}


MESSAGE_RULES: Final[tuple[LintRule[SeenMessage], ...]] = (
    LintRule(
        "broken-message",
        _ERROR,
        "RFC 3261 section 7",
        "it is not a SIP message: {why}",
        "Correct what the text names; the message gets 400 or is dropped.",
        _broken,
    ),
    LintRule(
        "content-length-too-long",
        _ERROR,
        "RFC 3261 section 18.3",
        "Content-Length says {said}, and {there} bytes follow: the end is missing",
        "Look for a device on the way that cuts or rewrites bodies (SIP ALG), or for IP fragments"
        " that are lost; over UDP, shorten the message or use TCP.",
        _too_long,
    ),
    LintRule(
        "incomplete-message",
        _ERROR,
        "RFC 3261 section 8.1.1",
        "{why}",
        "Every message needs Via, From, To, Call-ID and CSeq that can be read.",
        _incomplete,
    ),
    LintRule(
        "no-content-length",
        _ERROR,
        "RFC 3261 section 18.3",
        "there is no Content-Length, and the message came over a stream",
        "Write Content-Length; over TCP nothing else says where a message ends.",
        _no_length,
    ),
    LintRule(
        "no-contact",
        _ERROR,
        "RFC 3261 section 12.1",
        "there is no Contact, so later requests have no target",
        "Write a Contact in INVITE and in its 2xx responses.",
        _no_contact,
    ),
    LintRule(
        "content-length-too-short",
        _WARNING,
        "RFC 3261 section 18.3",
        "Content-Length says {said}, and {there} bytes follow: the rest is ignored",
        "Count the whole body; a device that rewrites descriptions (SIP ALG) must count again.",
        _too_short,
    ),
    LintRule(
        "private-contact",
        _WARNING,
        "RFC 3261 section 12.1",
        "Contact names {host}, and the message came from {source}: ACK and BYE may not arrive",
        "The sender is behind a NAT. Let it name its public address, or let a proxy record its"
        " route.",
        _far_contact,
    ),
    LintRule(
        "private-via",
        _WARNING,
        "RFC 3581 section 3",
        "Via names {host}, the message came from {source}, and there is no rport",
        "Let the sender add rport to its Via, so that responses go back through its NAT.",
        _far_via,
    ),
    LintRule(
        "no-received",
        _WARNING,
        "RFC 3261 section 18.2.1",
        "the response goes to {destination}, Via names {host}, and there is no received",
        "The side that answers must add received to the topmost Via.",
        _no_received,
    ),
    LintRule(
        "rport-without-value",
        _WARNING,
        "RFC 3581 section 4",
        "Via asks for rport, and the response gives none",
        "The side that answers must fill rport with the port that the request came from.",
        _empty_rport,
    ),
    LintRule(
        "route-without-lr",
        _WARNING,
        "RFC 3261 section 16.6",
        "Record-Route {route} has no lr: the proxy is a strict router",
        "Let the proxy write ;lr, as proxies since 2002 do.",
        _strict_route,
    ),
    LintRule(
        "body-type",
        _WARNING,
        "RFC 3261 section 20.15",
        "the body is a session description, and Content-Type is {kind}",
        "Write Content-Type: application/sdp; otherwise the description is ignored or refused.",
        _untyped_body,
    ),
)
"""What can be found in one message."""


def lint_message(seen: SeenMessage) -> tuple[LintFinding, ...]:
    """The findings in one message, the worst first; raises nothing."""
    return lint(MESSAGE_RULES, seen)
