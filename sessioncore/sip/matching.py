"""The transaction layer: matches messages to transactions (RFC 3261 sections 17 and 9).

It absorbs retransmissions, stray ACKs and CANCELs, merged and malformed requests; all other
messages reach the transaction user.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from sessioncore.errors import SipParseError
from sessioncore.sip.client import ClientTransaction
from sessioncore.sip.flows import Flow
from sessioncore.sip.keeping import TAG_PREFIX, Keeping
from sessioncore.sip.keys import (
    ack_keys,
    is_cancelled_by,
    is_for_number,
    merge_key,
    response_address,
    transaction_key,
)
from sessioncore.sip.message import (
    Request,
    Response,
    build_response,
    parse_message,
    required_faults,
)
from sessioncore.sip.roles import Counters, Headers
from sessioncore.sip.server import (
    CONFIRMED_MARK,
    SERVER_INVITE,
    SERVER_OTHER,
    ServerTransaction,
    fitted,
)
from sessioncore.sip.shards import LAST
from sessioncore.sip.steps import (
    Acked,
    Cancel,
    Cancelled,
    Failure,
    Provisional,
    Retransmission,
    Success,
    TransportFailed,
    Unreachable,
)
from sessioncore.sip.transaction import ClientUser, TransactionUser
from sessioncore.vocabulary import Address

__all__ = [
    "ClientTransaction",
    "ClientUser",
    "Counters",
    "Flow",
    "ServerTransaction",
    "TransactionLayer",
    "TransactionUser",
]


_NOTHING: Final[dict[bytes | None, bytes]] = {}


class TransactionLayer(Keeping):
    """All transactions of one process; bytes come in by `receive` and leave by the flows.

    ``random_token`` returns unguessable token bytes (at least 64 bits); ``secret`` is the key
    of the computed To tags of stateless refusals.  ``max_pending`` and ``max_finished`` limit
    the transactions that strangers can create: above them the oldest give way.  Where
    nothing can (all pending ones are unanswered INVITEs), requests get a stateless 503;
    requests within a dialog do so only above twice the limit.
    """

    def receive(self, data: bytes, source: Address, flow: Flow, now: int) -> None:
        """Process one datagram; raises only what the user raises, whatever the datagram holds."""
        if self.stopped:
            self.counters.dropped += 1
            return
        try:
            message = parse_message(data)
        except SipParseError as error:
            if len(data) <= 4 and not data.strip(b"\r\n\x00"):
                self.counters.keepalives += 1  # RFC 5626 section 3.5.1, and other keepalives
            else:
                self._refuse_malformed(error, source, flow)
            return
        if isinstance(message, Response):
            self._receive_response(message, now)
            return
        self.counters.requests += 1
        fault = required_faults(message)
        if fault is not None:
            self._refuse_faulty(message, 400, fault, source, flow)
            return
        method = message.method
        if method == b"ACK":
            self._receive_ack(message, source, flow, now)
        elif method == b"CANCEL":
            self._receive_cancel(message, source, flow, now)
        else:
            self._receive_request(message, source, flow, now)

    def _refuse_malformed(self, error: SipParseError, source: Address, flow: Flow) -> None:
        request: Request | None = getattr(error, "request", None)
        if request is None:
            self.counters.malformed += 1
        else:
            self._refuse_faulty(request, error.status or 400, str(error), source, flow)

    def _refuse_faulty(
        self, request: Request, status: int, fault: str, source: Address, flow: Flow
    ) -> None:
        self.counters.malformed += 1
        if request.method == b"ACK" or request.first(b"Via") is None:
            return
        # RFC 3261 section 21.4.1: the reason phrase should say what is wrong.
        reason = fault.encode("ascii", "replace") if status == 400 else None
        self._refuse(request, status, source, flow, reason=reason)

    def _receive_request(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        """A request other than ACK and CANCEL."""
        key = transaction_key(request, request.method)
        if key in self._finished.parts[hash(key) & LAST] or key in self._servers:
            self._receive_again(request, key, source, flow, now)
            return
        table, merged, known = SERVER_OTHER, None, _NOTHING
        if request.method == b"INVITE":
            table = SERVER_INVITE
            if request.to_tag is None:
                merged = merge_key(request)
                known = self._merged.parts[hash(merged) & LAST]
                if merged in known:
                    if is_for_number(known[merged], request):
                        self.counters.merged += 1
                        self._refuse(request, 482, source, flow)
                        return
                    merged = None  # another INVITE of the same call
        crowded = len(self._servers) >= self.max_pending
        if crowded and not self.make_room(request.to_tag is not None, now):
            self.counters.too_many += 1
            self._refuse(request, 503, source, flow)
            return
        via = request.via
        to, copied = response_address(via, source, flow), via.with_received(source)
        self._servers[key] = tx = ServerTransaction(
            table, self, request, key, source, to, flow, copied, now, merged
        )
        if merged is not None:
            known[merged] = key
        try:
            self.user.request_received(tx, now)
        except Exception:
            if tx.last is None:
                tx.respond(500, now=now)
            raise
        finally:
            tx.fresh = False
            if key in self._servers:
                self.await_answer(tx, now)

    def _receive_again(
        self, request: Request, key: bytes, source: Address, flow: Flow, now: int
    ) -> None:
        self.counters.retransmissions_absorbed += 1
        answer = self._finished.get(key)
        if answer is None:
            self._servers[key].feed(Retransmission(now))
        elif len(answer) > len(CONFIRMED_MARK):
            self.counters.retransmitted += 1
            self.transmit(answer, flow, response_address(request.via, source, flow))

    def _receive_ack(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        for key in ack_keys(request):
            if key in self._servers:
                self._servers[key].feed(Acked(now))
                return
            if self._finished.get(key):  # only the entry of an accepted INVITE is empty
                self.counters.retransmissions_absorbed += 1
                return
        to_tag = request.to_tag
        if (
            to_tag is not None
            and to_tag.startswith(TAG_PREFIX)
            and to_tag == self.computed_tag(request)
        ):
            self.counters.acks_swallowed += 1
            return
        self.user.ack_received(request, source, flow, now)

    def _receive_cancel(self, request: Request, source: Address, flow: Flow, now: int) -> None:
        """RFC 3261 section 9.2; answered statelessly, because every copy gets the same answer."""
        key = transaction_key(request, b"INVITE")
        if key not in self._servers and key not in self._finished:
            other = self._merged.get(merge_key(request))
            if other is not None and is_cancelled_by(other, request):
                key = other
        tx = self._servers.get(key)
        if tx is not None:
            self._refuse(request, 200, source, flow, to_tag=tx.to_tag)
            tx.feed(Cancelled(now, request))
        elif key in self._finished:
            # Only the entry of an accepted INVITE is empty; a refused INVITE has no dialog.
            tag = None if self._finished.get(key) else self._tag_of_accepted(request, key, now)
            self._refuse(request, 200, source, flow, to_tag=tag)
        else:
            self.counters.unmatched_cancels += 1
            self._refuse(request, 481, source, flow)

    def _tag_of_accepted(self, cancel: Request, invite: bytes, now: int) -> bytes:
        """The To tag of the 2xx that a CANCEL crossed, which only the user knows.

        The user has to search for it, so it is asked once per INVITE, whose key is ``invite``;
        the tag is kept as long as the INVITE.
        """
        key = b"CANCEL " + invite  # not that of the CANCEL, which may have any CSeq number
        tag = self._finished.get(key)
        if tag is None:
            tag = self.user.tag_of_accepted(cancel) or self.computed_tag(cancel)
            self._timer_j.add(key, now)
            self._finished[key] = tag
            self.remembered += 1
            if self.remembered > self.max_finished:
                self.forget_oldest(now)
        return tag

    def _receive_response(self, response: Response, now: int) -> None:
        self.counters.responses += 1
        if required_faults(response) is not None:
            self.counters.malformed += 1
            return
        if b"Via" in response._repeated or response.via_count != 1:
            self.counters.several_vias += 1  # RFC 3261 section 8.1.3.3
            return
        key = b"%b %b" % (response.via.branch or b"", response.cseq.method)
        tx = self._clients.get(key) or self._lingering.get(key)
        if tx is None:
            if key in self._absorbing:
                self.counters.retransmissions_absorbed += 1
            else:
                self.counters.unmatched_responses += 1
        elif response.status < 200:
            tx.feed(Provisional(now, response))
        elif response.status < 300:
            tx.feed(Success(now, response))
        else:
            tx.feed(Failure(now, response))

    def cancel(self, tx: ClientTransaction, now: int, headers: Headers = ()) -> None:
        """Cancel an INVITE: send CANCEL at once after a 1xx, else as soon as one comes.

        ``headers`` (a Reason, RFC 3326) go into the CANCEL.

        If no final response comes within 64*T1 after the CANCEL, the user's ``timed_out`` is
        called.  Does nothing after a final response.
        """
        tx.cancel_headers = headers
        tx.feed(Cancel(now))

    def acknowledge(
        self,
        tx: ClientTransaction,
        ack: bytes,
        response: Response,
        destination: Address,
        now: int,
        *,
        heir: ClientUser | None = None,
        repeated: Callable[[int], None] | None = None,
    ) -> None:
        """Send the ACK of a 2xx, and send it again for every repeat of that 2xx.

        ``repeated`` is called with the time of the first repeat.  The 2xx of other forks still
        go to the user, or to ``heir`` in its place.  So a call that is over need not stay in
        memory for the 64*T1 in which a 2xx may be repeated.
        """
        tx.ack = ack
        tx.acknowledged_tag = response.to_tag
        tx.destination = destination
        tx.repeated = repeated
        if heir is not None:
            tx.user = heir
        self.transmit(ack, tx.flow, destination)

    def unreachable(self, refused: Mapping[Address, Collection[bytes]], now: int) -> None:
        """ICMP reported these addresses as unreachable (RFC 3261 section 18.4).

        Each address comes with the beginnings of requests that the ICMP errors quoted.  A quote
        has to match our request, so that an attacker who does not see our requests cannot end
        them (unless the network quotes nothing).
        """
        for tx in [tx for tx in self._clients.values() if tx.destination in refused]:
            if any(map(tx.data.startswith, refused[tx.destination])):
                tx.feed(Unreachable(now))

    def flow_lost(self, flow: Flow, now: int) -> None:
        """A connection ended: all requests that wait for a response over it have failed."""
        for tx in [tx for tx in self._clients.values() if tx.flow is flow]:
            tx.feed(TransportFailed(now))

    def _refuse(
        self,
        request: Request,
        status: int,
        source: Address,
        flow: Flow,
        *,
        to_tag: bytes | None = None,
        reason: bytes | None = None,
    ) -> None:
        """Answer once and keep no state (RFC 3261 section 8.2.7)."""
        self.counters.stateless += 1
        try:
            via = request.via
            top: bytes | None = via.with_received(source)
            address = response_address(via, source, flow)
        except SipParseError:
            top, address = None, source
        tag = to_tag or self.computed_tag(request)
        headers = self.response_headers
        data = build_response(request, status, reason, to_tag=tag, headers=headers, via=top)
        self.transmit(fitted(request, data, status, reason, tag, headers, top), flow, address)
