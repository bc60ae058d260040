"""Writes every request we send (RFC 3261 sections 8.1.1, 9.1, 12.2.1.1 and 17.1.1.3).

The Via names the transport of the flow that the request leaves by.  The CSeq comes from the
counter of its dialog, the Route header fields from the route set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sessioncore.sip.building import build_request
from sessioncore.sip.dialog import Dialog, InitialRequest
from sessioncore.sip.flows import Flow
from sessioncore.sip.message import Request, Response
from sessioncore.vocabulary import Address

__all__ = ["RequestWriter", "Written", "acknowledgement", "cancellation", "contact"]

Header = tuple[bytes, bytes]

MAX_FORWARDS: Final[Header] = (b"Max-Forwards", b"70")


class Written(NamedTuple):
    """A request as bytes, and the branch of its topmost Via."""

    data: bytes
    branch: bytes


def contact(flow: Flow, peer: str) -> bytes:
    """Our Contact value for ``peer``; requests come back by the same transport."""
    sent_by = flow.sent_by(peer)
    if flow.transport == b"UDP":
        return b"<sip:%b>" % sent_by
    return b"<sip:%b;transport=%b>" % (sent_by, flow.transport.lower())


class RequestWriter:
    """Writes requests; ``new_branch`` returns a fresh branch, ``user_agent`` is the User-Agent."""

    def __init__(self, new_branch: Callable[[], bytes], user_agent: bytes) -> None:
        self._new_branch = new_branch
        self._user_agent = (b"User-Agent", user_agent)

    def initial(
        self,
        method: bytes,
        origin: InitialRequest,
        flow: Flow,
        peer: Address,
        headers: Iterable[Header] = (),
        body: bytes = b"",
    ) -> Written:
        """A request outside any dialog, to ``peer`` (RFC 3261 section 8.1.1)."""
        via, branch = self._via(flow, peer)
        lines = [
            via,
            MAX_FORWARDS,
            (b"From", origin.local),
            (b"To", origin.remote),
            (b"Call-ID", origin.call_id),
            (b"CSeq", b"%d %b" % (origin.sequence, method)),
            *headers,
            self._user_agent,
        ]
        return Written(build_request(method, origin.uri, lines, body), branch)

    def within(
        self,
        dialog: Dialog,
        method: bytes,
        flow: Flow,
        peer: Address,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        sequence: int | None = None,
    ) -> Written:
        """A request within ``dialog`` (RFC 3261 section 12.2.1.1).

        It takes the next CSeq number unless ``sequence`` is given: the ACK of a 2xx has the
        number of its INVITE (section 13.2.2.4).
        """
        via, branch = self._via(flow, peer)
        if sequence is None:
            sequence = dialog.next_sequence()
        uri, routes = dialog.routing
        lines = [
            via,
            MAX_FORWARDS,
            *routes,
            (b"From", dialog.local),
            (b"To", dialog.remote),
            (b"Call-ID", dialog.call_id),
            (b"CSeq", b"%d %b" % (sequence, method)),
            *headers,
        ]
        return Written(build_request(method, uri, lines, body), branch)

    def _via(self, flow: Flow, peer: Address) -> tuple[Header, bytes]:
        branch = self._new_branch()
        value = b"SIP/2.0/%b %b;rport;branch=%b" % (flow.transport, flow.sent_by(peer[0]), branch)
        return (b"Via", value), branch


def acknowledgement(request: Request, response: Response) -> bytes:
    """The ACK of a 3xx to 6xx, built from our INVITE (RFC 3261 section 17.1.1.3)."""
    return _of_invite(b"ACK", request, response.first(b"To") or _own(request, b"To"))


def cancellation(request: Request, headers: Iterable[Header] = ()) -> bytes:
    """The CANCEL of our INVITE (RFC 3261 section 9.1)."""
    return _of_invite(b"CANCEL", request, _own(request, b"To"), headers)


def _of_invite(method: bytes, request: Request, to: bytes, headers: Iterable[Header] = ()) -> bytes:
    """A request that takes the path of our INVITE, to the next hop only."""
    return build_request(
        method,
        request.uri,
        [
            (b"Via", _own(request, b"Via")),
            MAX_FORWARDS,
            *[(b"Route", value) for value in request.all(b"Route")],
            (b"From", _own(request, b"From")),
            (b"To", to),
            (b"Call-ID", _own(request, b"Call-ID")),
            (b"CSeq", b"%d %b" % (request.cseq.number, method)),
            *headers,
        ],
    )


def _own(request: Request, name: bytes) -> bytes:
    value = request.first(name)
    assert value is not None
    return value
