"""What a user agent server must refuse before anyone is rung (RFC 3261 section 8.2)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from attrs import frozen

from sessioncore.errors import SipParseError
from sessioncore.sip.grammar import TOKEN
from sessioncore.sip.message import Request
from sessioncore.sip.values import RawUri, Uri

__all__ = ["DIALOG_ONLY", "KNOWN_METHODS", "Refusal", "inspect"]

SDP: Final = b"application/sdp"

KNOWN_METHODS: Final = frozenset(
    b"ACK BYE CANCEL INFO INVITE MESSAGE NOTIFY OPTIONS PRACK PUBLISH REFER REGISTER SUBSCRIBE "
    b"UPDATE".split()
)
"""The methods of the registry: one we do not allow gets 405, any other 501."""
DIALOG_ONLY: Final = frozenset((b"BYE", b"INFO", b"PRACK", b"UPDATE"))
"""Methods that make no sense outside a dialog."""
SCHEMES: Final = frozenset((b"sip", b"tel"))
"""Request-URI schemes that are served: UDP does not keep what sips promises."""
BODIES: Final[Mapping[bytes, frozenset[bytes]]] = MappingProxyType(
    {b"INVITE": frozenset((SDP,)), b"UPDATE": frozenset((SDP,))}
)
"""Body types by method; the bodies of other methods are their reader's concern."""

_MOST_ECHOED: Final = 16


@frozen
class Refusal:
    """A status to refuse with, the header fields that go with it, and why, for people."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    text: str = ""


def inspect(
    request: Request,
    methods: frozenset[bytes],
    extensions: frozenset[bytes],
    in_dialog: bool,
) -> Refusal | None:
    """What speaks against a well-formed request, in the order of RFC 3261 section 8.2, or None.

    ``methods`` are those allowed here, ``extensions`` the lower-case option tags that may be
    required, ``in_dialog`` says whether the request belongs to a dialog of ours.  A To tag
    that belongs to none is the caller's 481.  Raises nothing.
    """
    method = request.method
    if method not in methods:
        return _method_refused(method, methods)
    firsts = request._firsts
    try:
        if not in_dialog and method in DIALOG_ONLY:
            return Refusal(481, text=f"{method.decode()} outside a dialog")
        uri = request.any_uri
        if uri.scheme not in SCHEMES or uri.headers:
            return _uri_refused(uri)
        refusal = None
        if b"Require" in firsts:
            refusal = _extension_refused(request, extensions)
        if request.body and refusal is None:
            refusal = _body_refused(request)
        if b"Accept" in firsts and refusal is None and method == b"INVITE":
            refusal = _answer_refused(request)
        return refusal
    except SipParseError as error:
        return Refusal(error.status or 400, text=str(error))


@lru_cache(16)
def _allow(methods: frozenset[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"Allow", b", ".join(sorted(methods))),)


def _method_refused(method: bytes, methods: frozenset[bytes]) -> Refusal:
    """8.2.1; methods are case-sensitive."""
    return Refusal(405 if method in KNOWN_METHODS else 501, _allow(methods))


def _uri_refused(uri: Uri | RawUri) -> Refusal:
    """8.2.2.1; header fields in a Request-URI are not allowed (19.1.1), still less acted on."""
    if uri.scheme not in SCHEMES:
        return Refusal(416, text=f"Request-URI of scheme {uri.scheme.decode()}")
    return Refusal(400, text="header fields in the Request-URI")


def _extension_refused(request: Request, extensions: frozenset[bytes]) -> Refusal | None:
    """8.2.2.3; Proxy-Require is none of a user agent's business."""
    unknown = [option for option in request.values(b"Require") if option.lower() not in extensions]
    if not unknown:
        return None
    if not all(TOKEN.fullmatch(option) for option in unknown):
        raise SipParseError("no option tag in Require")
    echoed = b", ".join(dict.fromkeys(unknown[:_MOST_ECHOED]))
    return Refusal(420, ((b"Unsupported", echoed),), f"Require: {echoed.decode()}")


def _body_refused(request: Request) -> Refusal | None:
    """8.2.3; a body whose handling is optional may be anything, it is not looked at."""
    accepted = BODIES.get(request.method)
    if accepted is None:
        return None
    encoding = request._firsts.get(b"Content-Encoding")
    encoded = encoding is not None and encoding.strip().lower() not in (b"", b"identity")
    kind = request.content_type
    if (kind in accepted and not encoded) or _optional(request):
        return None
    if encoded:
        return Refusal(415, ((b"Accept-Encoding", b"identity"),), "Content-Encoding")
    text = f"Content-Type: {(kind or b'none').decode('ascii', 'backslashreplace')}"
    return Refusal(415, ((b"Accept", b", ".join(sorted(accepted))),), text)


def _optional(request: Request) -> bool:
    disposition = request.first(b"Content-Disposition")
    if disposition is None:
        return False
    parameters = disposition.lower().split(b";")[1:]
    return any(b"".join(each.split()) == b"handling=optional" for each in parameters)


def _answer_refused(request: Request) -> Refusal | None:
    """8.2.5: the peer must be able to read the description we answer with."""
    for item in request.values(b"Accept"):
        kind, *parameters = (b"".join(piece.split()).lower() for piece in item.split(b";"))
        refused = any(each.startswith(b"q=0") and not each[3:].strip(b".0") for each in parameters)
        if kind in (SDP, b"application/*", b"*/*") and not refused:
            return None
    text = "Accept does not list application/sdp"
    return Refusal(406, ((b"Warning", b'399 sessioncore "%b"' % text.encode()),), text)
