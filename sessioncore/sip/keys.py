"""Keys that match messages: transactions and merged requests; and the address of responses."""

from __future__ import annotations

from sessioncore.sip.flows import Flow
from sessioncore.sip.message import Request
from sessioncore.sip.values import Via
from sessioncore.vocabulary import Address

__all__ = [
    "ack_keys",
    "is_cancelled_by",
    "is_for_number",
    "merge_key",
    "response_address",
    "transaction_key",
]


def transaction_key(request: Request, method: bytes) -> bytes:
    """The key of a server transaction (RFC 3261 section 17.2.3).

    In addition to branch, sent-by and method it has Call-ID and CSeq number.  Both are the same
    for every copy, its ACK and its CANCEL, and they serve a client that never changes its
    branch.  ``method`` is INVITE for ACK and CANCEL, which belong to an INVITE.
    """
    via = request.via
    branch = via.branch
    if branch is None or (branch[:7] != b"z9hG4bK" and branch[:7].lower() != b"z9hg4bk"):
        return _old_key(request, method, request.to_tag or b"")
    return b"%b %b %b %d %b" % (
        method,
        branch,
        via.sender.text,
        request.cseq.number,
        request.call_id,
    )


def is_for_number(key: bytes, request: Request) -> bool:
    """Whether ``key``, which has the Call-ID of ``request``, also has its CSeq number."""
    return key.endswith(b" %d %b" % (request.cseq.number, request.call_id))


def is_cancelled_by(key: bytes, cancel: Request) -> bool:
    """Whether ``key`` is that of the INVITE of a CANCEL, whatever the CSeq number of the CANCEL.

    RFC 3261 sections 9.2 and 17.2.3: branch and sent-by decide.
    """
    via = cancel.via
    return via.branch is not None and key.startswith(
        b"INVITE %b %b " % (via.branch, via.sender.text)
    )


def _old_key(request: Request, method: bytes, to_tag: bytes) -> bytes:
    """RFC 2543: Request-URI, tags, Call-ID, CSeq number and the whole topmost Via."""
    return b"2543 %b %b %b %b %b %d %b" % (
        method,
        request.uri,
        to_tag,
        request.from_tag or b"",
        request.via.raw,
        request.cseq.number,
        request.call_id,
    )


def merge_key(request: Request) -> bytes:
    """A key that is the same for all copies of an INVITE that come by several paths (8.2.2.2).

    They also have the same CSeq number (`is_for_number`).
    """
    return b"%b %b" % (request.from_tag or b"", request.call_id)


def response_address(via: Via, source: Address, flow: Flow) -> Address:
    """The address of a response: the source of the request, at the requested port.

    RFC 3261 section 18.2.2 without ``maddr``, RFC 3581 section 4.
    """
    if flow.reliable or b"rport" in via.params:
        return source
    return (source[0], via.sender.port or 5060)


def ack_keys(request: Request) -> tuple[bytes, ...]:
    """The keys of the INVITE transactions an ACK may belong to."""
    key = transaction_key(request, b"INVITE")
    if key.startswith(b"2543 ") and request.to_tag is not None:
        # The To tag may be ours: the INVITE had none then.
        return key, _old_key(request, b"INVITE", b"")
    return (key,)
