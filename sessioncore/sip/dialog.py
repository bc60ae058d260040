"""Dialogs (RFC 3261 section 12): identity, sequence numbers, route set and remote target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from sessioncore.errors import SipParseError
from sessioncore.sip.flows import Flow
from sessioncore.sip.message import Request, Response
from sessioncore.sip.nat import behind_nat
from sessioncore.sip.values import NameAddr, RawUri, Uri, parse_uri, shown
from sessioncore.vocabulary import Address

__all__ = ["Dialog", "InitialRequest", "dialog_key", "key_of_request", "key_of_response", "tag"]

_KEY: Final = b"%b %b %b"
MAX_ROUTES: Final = 70
"""A request cannot pass more proxies than Max-Forwards allows."""


def tag(random: Callable[[], bytes]) -> bytes:
    """A new From or To tag; ``random`` returns token bytes with at least 32 random bits (19.3)."""
    return b"t" + random()


def dialog_key(call_id: bytes, local_tag: bytes, remote_tag: bytes) -> bytes:
    """A dialog's identity (RFC 3261 section 12) as one dict key."""
    return _KEY % (call_id, local_tag, remote_tag)


def key_of_request(request: Request) -> bytes:
    """The key of the dialog that a received request belongs to."""
    return _KEY % (request.call_id, request.to_tag or b"", request.from_tag or b"")


def key_of_response(response: Response) -> bytes:
    """The key of the dialog that a response to our request creates or belongs to."""
    return _KEY % (response.call_id, response.from_tag or b"", response.to_tag or b"")


def _route_set(message: Request | Response, nearest: int) -> tuple[NameAddr, ...]:
    """The route set from Record-Route; requests go first to the value at index ``nearest``."""
    if b"Record-Route" not in message._firsts:
        return ()
    routes = message.record_routes
    if len(routes) > MAX_ROUTES:
        raise SipParseError("too many Record-Route values")
    _reachable(routes[nearest], "Record-Route")
    return tuple(routes)


def _reachable(address: NameAddr, name: str) -> Uri:
    """A URI that requests can go to; not ``sips``, which UDP cannot fulfil (8.1.2)."""
    uri = address.uri
    if isinstance(uri, RawUri) or uri.scheme != b"sip":
        raise SipParseError(f"{name} is not a sip URI: {shown(uri.raw)}")
    return uri


def _route_value(route: NameAddr) -> bytes:
    return b"<%b>" % bytes(route.uri)


def _request_uri(uri: Uri) -> bytes:
    """A URI as a Request-URI: without headers and ``method`` (RFC 3261 table 1)."""
    if not uri.headers and b"method" not in uri.params:
        return bytes(uri)
    pieces = bytes(uri).partition(b"?")[0].split(b";")
    kept = [piece for piece in pieces[1:] if piece.partition(b"=")[0].lower() != b"method"]
    return b";".join([pieces[0], *kept])


def _target_of(origin: InitialRequest, response: Response) -> Uri:
    contact = response.contact
    return parse_uri(origin.uri) if contact is None else _reachable(contact, "Contact")


@define(eq=False)
class InitialRequest:
    """The parts of our request outside a dialog that its dialogs are made from.

    ``uri`` is the Request-URI.  ``local`` and ``remote`` are the whole From and To values, From
    with ``local_tag``.  ``sequence`` is the CSeq number, the same for all addresses that are
    tried.
    """

    uri: bytes
    local: bytes
    local_tag: bytes
    remote: bytes
    call_id: bytes
    sequence: int = 1


@define(eq=False)
class Dialog:
    """One dialog, as this side sees it; the same class for early and confirmed ones.

    ``key`` is its identity as `key_of_request` and `key_of_response` return it.  ``local`` and
    ``remote`` are whole From or To values with their tags.  ``remote_seq`` is None until the
    peer has sent a request (RFC 3261 section 12.1.2).  If ``detour`` is set, requests go there
    instead of to Contact or Record-Route.  ``source`` is where the peer's last request came from,
    or before that where our INVITE went.  ``hop`` is the flow and address of the next hop, if
    they are known without a name lookup.
    """

    key: bytes
    call_id: bytes
    local: bytes
    remote: bytes
    local_tag: bytes
    remote_tag: bytes
    remote_target: Uri
    route_set: tuple[NameAddr, ...]
    local_seq: int
    remote_seq: int | None
    source: Address
    detour: Address | None = None
    hop: tuple[Flow, Address] | None = None
    _routing: tuple[bytes, tuple[tuple[bytes, bytes], ...]] | None = field(default=None, init=False)

    @classmethod
    def from_request(cls, request: Request, local_tag: bytes, source: Address) -> Dialog:
        """The dialog of the UAS (RFC 3261 section 12.1.1); raises `SipParseError`.

        Without a Contact, which RFC 2543 allowed, the remote target is the From URI.
        """
        call_id, remote_tag = request.call_id, request.from_tag or b""
        return cls(
            dialog_key(call_id, local_tag, remote_tag),
            call_id,
            b"%b;tag=%b" % (request._required(b"To"), local_tag),
            request._required(b"From"),
            local_tag,
            remote_tag,
            _reachable(request.contact or request.from_, "Contact"),
            _route_set(request, 0),
            0,
            request.cseq.number,
            source,
        )

    @classmethod
    def from_response(
        cls, origin: InitialRequest, response: Response, destination: Address
    ) -> Dialog:
        """The dialog of the UAC (RFC 3261 section 12.1.2); raises `SipParseError`.

        ``origin`` is our INVITE to ``destination``, ``response`` a 101 to 299 to it.  Without a
        Contact, the remote target is the Request-URI.
        """
        target = _target_of(origin, response)
        routes = _route_set(response, -1)[::-1]
        return cls._calling(origin, response, target, routes, destination)

    @classmethod
    def from_unusable(
        cls, origin: InitialRequest, response: Response, destination: Address
    ) -> Dialog:
        """The dialog of the UAC if Contact or Record-Route of a response is not usable.

        It suffices to end the call: requests go where the INVITE went.
        """
        dialog = cls._calling(origin, response, parse_uri(origin.uri), (), destination)
        dialog.detour = destination
        return dialog

    @classmethod
    def _calling(
        cls,
        origin: InitialRequest,
        response: Response,
        target: Uri,
        route_set: tuple[NameAddr, ...],
        destination: Address,
    ) -> Dialog:
        remote_tag = response.to_tag or b""
        return cls(
            dialog_key(origin.call_id, origin.local_tag, remote_tag),
            origin.call_id,
            origin.local,
            response._required(b"To"),
            origin.local_tag,
            remote_tag,
            target,
            route_set,
            origin.sequence,
            None,
            destination,
        )

    def confirm(self, origin: InitialRequest, response: Response) -> None:
        """Take target and route set from the 2xx of an early dialog (section 13.2.2.4).

        If it raises `SipParseError`, the dialog is unchanged.
        """
        target, route_set = _target_of(origin, response), _route_set(response, -1)[::-1]
        self.remote_target, self.route_set = target, route_set
        self.detour = self.hop = self._routing = None

    @property
    def next_hop(self) -> Uri:
        """The URI that resolves to the next hop of requests (RFC 3261 section 8.1.2)."""
        if not self.route_set:
            return self.remote_target
        return _reachable(self.route_set[0], "Record-Route")

    def behind_nat(self, nat: bool | None) -> bool:
        """Whether requests cannot reach the remote target; ``nat`` is the setting.

        Where there is a Record-Route, requests go to that proxy, which knows where the peer is.
        """
        return not self.route_set and behind_nat(self.remote_target, self.source, nat)

    def move(self, source: Address) -> None:
        """The peer's requests come from another address now."""
        self.source = source
        self.hop = None

    def refresh_target(self, message: Request | Response) -> None:
        """Take the remote target from a target refresh request or its 2xx (12.2)."""
        contact = message.contact
        if contact is not None:
            self.remote_target = _reachable(contact, "Contact")
            self._routing = self.hop = None

    def check_sequence(self, number: int) -> bool:
        """Record the CSeq number of a received request; False if it is too low for 12.2.2.

        The caller then answers 500.  Not for ACK and CANCEL.  An equal number passes, because
        the copy of a request that was refused statelessly is a new request to us.
        """
        if self.remote_seq is not None and number < self.remote_seq:
            return False
        self.remote_seq = number
        return True

    def next_sequence(self) -> int:
        """The CSeq number of our next request; each call returns a new one."""
        self.local_seq += 1
        return self.local_seq

    @property
    def routing(self) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
        """Request-URI and Route header fields; a strict router swaps the two (12.2.1.1)."""
        if self._routing is None:
            target = _request_uri(self.remote_target)
            routes = [_route_value(route) for route in self.route_set]
            if routes and b"lr" not in self.next_hop.params:
                routes = [*routes[1:], b"<%b>" % target]
                target = _request_uri(self.next_hop)
            self._routing = (target, tuple((b"Route", route) for route in routes))
        return self._routing
