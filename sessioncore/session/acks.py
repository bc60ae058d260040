"""The ACK of our 2xx: waiting for it, reading it, and the answer it may have to bring.

It plays a part in media only if it brings the answer to our offer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sessioncore import events
from sessioncore.errors import NegotiationError
from sessioncore.sdp.negotiation import OfferState
from sessioncore.session.admission import Admission
from sessioncore.session.announcing import Announcer
from sessioncore.session.bodies import description_in
from sessioncore.session.dialog_usage import DialogUsage
from sessioncore.session.environment import Environment
from sessioncore.session.establishing import Establishing
from sessioncore.session.leg import Leg
from sessioncore.session.media_state import OfferWithdrawn
from sessioncore.session.modification import Settled
from sessioncore.session.reasons import unusable
from sessioncore.session.session import AckMissing, AckRead, ByeUnanswered, HangUp, SessionState
from sessioncore.session.unacknowledged import UnacknowledgedSuccess
from sessioncore.sip.message import Request
from sessioncore.sip.steps import GRID, T1, T2
from sessioncore.sip.transaction import ServerTransaction
from sessioncore.vocabulary import EndedBy, EndReason, NegotiatedMedia

__all__ = ["Acks"]

_MISSING: Final = EndReason(EndedBy.TIMEOUT, "no ACK for the 200 OK", None, 102)
_ACK_READ: Final = AckRead()
_SETTLED: Final = Settled()
_ANSWERED: Final = (SessionState.ANSWERED, SessionState.LEAVING)


class Acks:
    """The legs that wait for an ACK; acts when the ACK comes and when it does not.

    ``find`` returns the leg with a name, or None; ``confirmed`` is called once per dialog.
    """

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        establishing: Establishing,
        admission: Admission,
        find: Callable[[str], Leg | None],
        confirmed: Callable[[Leg, int], None],
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._establishing = establishing
        self._admission = admission
        self._find = find
        self._confirmed = confirmed
        # Nearly every ACK comes before the first repeat, so that one uses a shared queue.
        self._first_repeats = env.deadlines.fifo(T1, self._repeat, GRID)

    def stop(self) -> None:
        """Stop all timers."""
        self._env.deadlines.remove(self._first_repeats)

    def expect(self, leg: Leg, usage: DialogUsage, tx: ServerTransaction, now: int) -> None:
        """A 2xx is about to be sent; it is repeated until `read` or `stop_waiting`."""
        usage.unacknowledged = waiting = UnacknowledgedSuccess(leg.name, tx, now)
        self._first_repeats.add(waiting, now)

    def _repeat(self, waiting: UnacknowledgedSuccess, now: int) -> None:
        if not waiting.waiting:
            return
        if now >= waiting.gives_up:
            self._give_up(self._leg_of(waiting))
            return
        at, following = self._env.deadlines.at, waiting.repeat(now)
        at(following, self._repeat, waiting)
        if now < waiting.hurries <= following:
            at(waiting.hurries, self._hurry, waiting)

    def _hurry(self, waiting: UnacknowledgedSuccess, now: int) -> None:
        """Give up early if calls without ACK take places that others need."""
        leg = self._leg_of(waiting) if waiting.waiting else None
        if leg is None or leg.source is None:
            return  # a re-INVITE takes no place
        if not self._admission.short:
            self._env.deadlines.at(now + T2, self._hurry, waiting)
            return
        self._give_up(leg)
        if leg.state is SessionState.ENDING:
            # Only the transaction of its BYE lives on.
            leg.feed(ByeUnanswered("given up early, because places for calls are short"))

    def _leg_of(self, waiting: UnacknowledgedSuccess) -> Leg:
        leg = self._find(waiting.session)
        assert leg is not None
        return leg

    def _give_up(self, leg: Leg) -> None:
        assert leg.usage is not None
        self.stop_waiting(leg.usage)
        leg.feed(AckMissing(_MISSING))

    def stop_waiting(self, usage: DialogUsage) -> None:
        """The ACK came, will not come, or does not matter any more."""
        waiting = usage.unacknowledged
        if waiting is None:
            return
        waiting.acknowledged()
        usage.unacknowledged = None

    def read(self, leg: Leg, usage: DialogUsage, request: Request, now: int) -> None:
        """An ACK of the dialog arrived; an unexpected one is only counted."""
        waiting = usage.unacknowledged
        if waiting is None or waiting.cseq != request.cseq.number:
            self._env.counters.stray_acks += 1
            return
        self.stop_waiting(usage)
        self._known(leg, now)
        self._establishing.control.prove_path(leg, now)
        self._announcer.emit(leg, events.AckReceived, now)
        self._complete(leg, usage, self._take_answer(leg, usage, request, now), now)

    def implied(self, leg: Leg, usage: DialogUsage, now: int) -> None:
        """The peer sent another INVITE, so it has our 2xx: the ACK is only late or lost.

        A peer may not send an INVITE while another one is in progress (RFC 3261 section 14.1).
        """
        if usage.unacknowledged is not None:
            self.stop_waiting(usage)
            self._known(leg, now)
            self._establishing.control.prove_path(leg, now)
            self._complete(leg, usage, None, now)

    def _known(self, leg: Leg, now: int) -> None:
        """The source of the call has shown that it reads our responses."""
        source = leg.source
        if source is not None:
            leg.source = None
            self._admission.acknowledge(source, now)

    def _complete(self, leg: Leg, usage: DialogUsage, problem: EndReason | None, now: int) -> None:
        """The transaction of the INVITE is over; a ``problem`` ends the call."""
        first = leg.state in _ANSWERED
        if first and problem is None:
            self._confirmed(leg, now)
        leg.feed(_ACK_READ)
        if problem is not None:
            # The peer owes an answer and the ACK had no usable one (RFC 3261 13.2.2.4).
            leg.feed(HangUp(problem))
        if usage.modification is not None:
            usage.modification.feed(_SETTLED)

    def _take_answer(
        self, leg: Leg, usage: DialogUsage, request: Request, now: int
    ) -> EndReason | None:
        """Take the answer to the offer in our 2xx; returns the reason to end the call.

        A first offer needs an answer (RFC 3261 section 13.2.2.4).  Peers leave out later ones
        when they only ask what we can do, so there the agreement stays as it was.
        """
        negotiation = usage.negotiation
        # After our BYE no media begins any more, whatever the answer (section 15.1.1).
        if negotiation.state is not OfferState.OFFER_SENT or leg.state is SessionState.ENDING:
            return None
        if negotiation.agreement is not None and not description_in(request):
            negotiation.withdraw()
            self._announcer.emit(leg, events.OfferUnanswered, now)
            return None
        agreed = self._answer_in(request, leg, usage)
        if isinstance(agreed, EndReason):
            return agreed
        if negotiation.changed:
            self._establishing.agreed(leg, agreed, now)
        return None

    def _answer_in(
        self, request: Request, leg: Leg, usage: DialogUsage
    ) -> NegotiatedMedia | EndReason:
        try:
            return usage.negotiation.receive_answer(
                description_in(request), signalling_host=leg.media.signalling_host
            )
        except NegotiationError as error:
            self._env.counters.refused_media += 1
            leg.media.feed(OfferWithdrawn())
            leg.port_zero = error.port_zero
            return unusable("answer in the ACK", error)
