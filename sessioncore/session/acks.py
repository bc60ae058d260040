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
from sessioncore.session.reasons import unusable
from sessioncore.session.session import AckMissing, AckRead, HangUp, SessionState
from sessioncore.session.unacknowledged import UnacknowledgedSuccess
from sessioncore.sip.message import Request
from sessioncore.sip.steps import GRID, T1
from sessioncore.sip.transaction import ServerTransaction
from sessioncore.vocabulary import EndedBy, EndReason, NegotiatedMedia

if TYPE_CHECKING:
    from sessioncore.session.coordinator import SessionCoordinator
    from sessioncore.session.leg import Leg

__all__ = ["Acks"]

_MISSING: Final = EndReason(EndedBy.TIMEOUT, "no ACK for the 200 OK", None, 102)
_ACK_READ: Final = AckRead()
_ANSWERED: Final = (SessionState.ANSWERED, SessionState.LEAVING)


class Acks:
    """Which legs of a coordinator wait for an ACK, and what happens when it comes."""

    def __init__(self, coordinator: SessionCoordinator) -> None:
        self._all = coordinator
        self._waiting: dict[str, int] = {}
        # Nearly every ACK comes before the first repeat, so only the later ones have a timer each.
        self._first_repeats = coordinator.deadlines.fifo(T1, self._repeat, GRID)

    def stop(self) -> None:
        """Time nothing any more."""
        self._all.deadlines.remove(self._first_repeats)

    def too_many(self, source: str) -> bool:
        """Whether half of the room is taken by calls this IP has not acknowledged.

        Each of them may send RTP to wherever its offer said.  A trunk behind one IP that sets
        up many calls at once has to get through.
        """
        return 2 * self._waiting.get(source, 0) >= self._all.settings.max_calls

    def expect(self, leg: Leg, tx: ServerTransaction, now: int) -> None:
        """A 2xx is about to leave; it is repeated until `read` or `stop_waiting`."""
        leg.unacknowledged = waiting = UnacknowledgedSuccess(leg, tx, now)
        self._first_repeats.add(waiting, now)
        source = tx.source[0]
        self._waiting[source] = self._waiting.get(source, 0) + 1

    def _repeat(self, waiting: UnacknowledgedSuccess[Leg], now: int) -> None:
        leg = waiting.leg
        if leg is None:
            return
        if now < waiting.gives_up:
            self._all.deadlines.at(waiting.repeat(now), self._repeat, waiting)
        else:
            self.stop_waiting(leg)
            leg.feed(AckMissing(_MISSING))

    def stop_waiting(self, leg: Leg) -> None:
        """The ACK came, will not come, or no longer matters: nor does the transaction."""
        waiting = leg.unacknowledged
        if waiting is None:
            return
        waiting.acknowledged()
        leg.unacknowledged = None
        assert leg.server is not None
        source, leg.server = leg.server.source[0], None
        others = self._waiting[source] - 1
        if others:
            self._waiting[source] = others
        else:
            del self._waiting[source]

    def read(self, leg: Leg, request: Request, now: int) -> None:
        """An ACK of the leg's dialog arrived; one that is not waited for is counted."""
        coordinator = self._all
        waiting = leg.unacknowledged
        if waiting is None or waiting.cseq != request.cseq.number:
            coordinator.counters.stray_acks += 1
            return
        self.stop_waiting(leg)
        first = leg.state in _ANSWERED
        coordinator.media.prove_path(leg)
        coordinator.emit(leg, events.AckReceived, now)
        # With our BYE out no media begins any more, whatever the answer (section 15.1.1).
        if leg.negotiation.state is OfferState.OFFER_SENT and leg.state is not SessionState.ENDING:
            agreed = self._answer_in(request, leg)
            if isinstance(agreed, EndReason):
                # The peer owes an answer and there is none to be had (RFC 3261 13.2.2.4).
                leg.feed(_ACK_READ)
                leg.feed(HangUp(agreed))
                return
            if leg.negotiation.changed:
                leg.media.agreed(agreed)
                coordinator.establish(leg, now)
        if first:
            coordinator.emit(leg, events.DialogEstablished, now)
        leg.feed(_ACK_READ)

    def _answer_in(self, request: Request, leg: Leg) -> NegotiatedMedia | EndReason:
        try:
            return leg.negotiation.receive_answer(
                description_in(request), signalling_host=leg.media.signalling_host
            )
        except NegotiationError as error:
            self._all.counters.refused_media += 1
            leg.media.feed(OfferWithdrawn())
            return unusable("answer in the ACK", error)
