"""The checks of a user agent server before it processes a request (RFC 3261 section 8.2)."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from sessioncore.errors import SipParseError
from sessioncore.sip.grammar import TOKEN
from sessioncore.sip.message import Request
from sessioncore.sip.methods import MIXED, SDP, MethodRules
from sessioncore.sip.multipart import is_multipart, is_optional, part_of
from sessioncore.sip.values import RawUri, Uri

__all__ = ["Refusal", "inspect"]

SCHEMES: Final = frozenset((b"sip", b"tel"))
"""The supported Request-URI schemes; not sips, because UDP cannot fulfil its promise."""

_MOST_ECHOED: Final = 16


@frozen
class Refusal:
    """The status of a refusal, its header fields, and the reason as text."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    text: str = ""


def inspect(
    request: Request, rules: MethodRules, *, in_dialog: bool, early: bool = False
) -> Refusal | None:
    """The refusal of a well-formed request, or None; checks in the order of RFC 3261 section 8.2.

    ``in_dialog``: the request belongs to one of our dialogs.  ``early``: that dialog is not
    confirmed.  The caller answers 481 to a To tag that belongs to no dialog.  Raises nothing.
    """
    rule = rules.by_name.get(request.method)
    if rule is None or not rule.served:
        return Refusal(501 if rule is None else 405, (rules.allow,))
    if in_dialog and not rule.within:
        return Refusal(405, (rules.allow,))
    firsts = request._firsts
    try:
        if not (in_dialog or rule.outside):
            return Refusal(481, text=f"{rule.name.decode()} outside a dialog")
        if early and not rule.early:
            return Refusal(481, text=f"{rule.name.decode()} in an early dialog")
        if not in_dialog:  # Within a dialog it is our own Contact, or a copy with faults.
            uri = request.any_uri
            if uri.scheme not in SCHEMES or uri.headers:
                return _uri_refused(uri)
        refusal = None
        if b"Require" in firsts:
            refusal = _extension_refused(request, rules.extensions)
        if request.body and rule.bodies is not None and refusal is None:
            refusal = _body_refused(request, rule.bodies)
        if b"Accept" in firsts and refusal is None and rule.name == b"INVITE":
            refusal = _answer_refused(request)
        return refusal
    except SipParseError as error:
        return Refusal(error.status or 400, text=str(error))


def _uri_refused(uri: Uri | RawUri) -> Refusal:
    """8.2.2.1; header fields are not allowed in a Request-URI (19.1.1)."""
    if uri.scheme not in SCHEMES:
        return Refusal(416, text=f"Request-URI of scheme {uri.scheme.decode()}")
    return Refusal(400, text="header fields in the Request-URI")


def _extension_refused(request: Request, extensions: frozenset[bytes]) -> Refusal | None:
    """8.2.2.3; a user agent ignores Proxy-Require."""
    unknown = [option for option in request.values(b"Require") if option.lower() not in extensions]
    if not unknown:
        return None
    if not all(TOKEN.fullmatch(option) for option in unknown):
        raise SipParseError("Require has a value that is not an option tag")
    echoed = b", ".join(dict.fromkeys(unknown[:_MOST_ECHOED]))
    return Refusal(420, ((b"Unsupported", echoed),), f"Require: {echoed.decode()}")


def _body_refused(request: Request, accepted: tuple[bytes, ...]) -> Refusal | None:
    """8.2.3; a body whose handling is optional may have any type and is ignored."""
    encoding = request._firsts.get(b"Content-Encoding")
    encoded = encoding is not None and encoding.strip().lower() not in (b"", b"identity")
    kind = request.content_type
    fits = kind in accepted
    if is_multipart(kind):
        # RFC 5621 section 3: what counts is its parts, and of these we need one.
        fits = MIXED in accepted and part_of(request, accepted) is not None
    if (fits and not encoded) or is_optional(request.first(b"Content-Disposition")):
        return None
    if encoded:
        return Refusal(415, ((b"Accept-Encoding", b"identity"),), "Content-Encoding")
    text = f"Content-Type: {(kind or b'none').decode('ascii', 'backslashreplace')}"
    return Refusal(415, ((b"Accept", b", ".join(accepted)),), text)


def _answer_refused(request: Request) -> Refusal | None:
    """8.2.5: the peer must accept the description in our answer."""
    for item in request.values(b"Accept"):
        kind, *parameters = (b"".join(piece.split()).lower() for piece in item.split(b";"))
        refused = any(each.startswith(b"q=0") and not each[3:].strip(b".0") for each in parameters)
        if kind in (SDP, b"application/*", b"*/*") and not refused:
            return None
    text = "Accept does not list application/sdp"
    return Refusal(406, ((b"Warning", b'399 sessioncore "%b"' % text.encode()),), text)
