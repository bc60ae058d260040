"""The ACK of a 2xx of ours: waiting for it, reading it, and what it may owe.

It plays a part in media only where it brings the answer to an offer of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sessioncore import events
from sessioncore.errors import NegotiationError
from sessioncore.sdp.negotiation import OfferState
from sessioncore.session.capabilities import description_in
from sessioncore.session.media_state import OfferWithdrawn
from sessioncore.session.session import AckMissing, AckRead, HangUp, SessionState
from sessioncore.session.unacknowledged import UnacknowledgedSuccess
from sessioncore.sip.message import Request
from sessioncore.sip.transaction import ServerTransaction
from sessioncore.vocabulary import EndedBy, EndReason, NegotiatedMedia

if TYPE_CHECKING:
    from sessioncore.session.coordinator import SessionCoordinator
    from sessioncore.session.leg import Leg

__all__ = ["Acks"]

_MISSING: Final = EndReason(EndedBy.TIMEOUT, "no ACK for the 200 OK", None, 102)


class Acks:
    """Which legs of a coordinator wait for an ACK, and what happens when it comes."""

    def __init__(self, coordinator: SessionCoordinator) -> None:
        self._all = coordinator
        self._waiting: dict[str, int] = {}

    def too_many(self, source: str) -> bool:
        """Whether half of the room is taken by calls this IP has not acknowledged.

        Each of them may send RTP to wherever its offer said.  A trunk behind one IP that sets
        up many calls at once has to get through.
        """
        return 2 * self._waiting.get(source, 0) >= self._all.settings.max_calls

    def expect(self, leg: Leg, tx: ServerTransaction, now: int) -> None:
        """A 2xx is about to leave; it is repeated until `read` or `stop_waiting`."""

        def missing(at: int) -> None:
            self.stop_waiting(leg)
            leg.feed(AckMissing(_MISSING))

        leg.unacknowledged = UnacknowledgedSuccess(
            tx, tx.request.cseq.number, self._all.deadlines, missing, now
        )
        source = tx.source[0]
        self._waiting[source] = self._waiting.get(source, 0) + 1

    def stop_waiting(self, leg: Leg) -> None:
        """The ACK came, will not come, or no longer matters: nor does the transaction."""
        waiting, leg.unacknowledged = leg.unacknowledged, None
        if waiting is None:
            return
        waiting.acknowledged()
        assert leg.server is not None
        source, leg.server = leg.server.source[0], None
        self._waiting[source] -= 1
        if not self._waiting[source]:
            del self._waiting[source]

    def read(self, leg: Leg, request: Request, now: int) -> None:
        """An ACK of the leg's dialog arrived; one that is not waited for is counted."""
        waiting = leg.unacknowledged
        if waiting is None or waiting.cseq != request.cseq.number:
            self._all.counters.stray_acks += 1
            return
        self.stop_waiting(leg)
        first = leg.state in (SessionState.ANSWERED, SessionState.LEAVING)
        agreed = self._answer_in(request, leg)
        self._all.media.prove_path(leg)
        self._all.emit(leg, events.AckReceived, now)
        if isinstance(agreed, EndReason):
            # The peer owes an answer and there is none to be had (RFC 3261 section 13.2.2.4).
            leg.feed(AckRead())
            leg.feed(HangUp(agreed))
            return
        if agreed is not None and leg.negotiation.changed:
            leg.media.agreed(agreed)
            self._all.establish(leg, now)
        if first:
            self._all.emit(leg, events.DialogEstablished, now)
        leg.feed(AckRead())

    def _answer_in(self, request: Request, leg: Leg) -> NegotiatedMedia | EndReason | None:
        if leg.negotiation.state is not OfferState.OFFER_SENT:
            return None
        try:
            return leg.negotiation.receive_answer(
                description_in(request), signalling_host=leg.media.signalling_host
            )
        except NegotiationError as error:
            self._all.counters.refused_media += 1
            leg.media.feed(OfferWithdrawn())
            return EndReason(EndedBy.ERROR, f"no usable answer in the ACK: {error}", None, 88)
