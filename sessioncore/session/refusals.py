"""INVITEs that are refused without asking any application, and who is told of it.

A call that is turned away is a session that only begins and ends: `IncomingCall`, `CallFailed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sessioncore import events
from sessioncore.errors import NegotiationError, SdpParseError
from sessioncore.session.capabilities import Header
from sessioncore.session.leg import Leg
from sessioncore.session.reasons import faulty, unready
from sessioncore.session.session import GiveUp
from sessioncore.sip.inspection import Refusal
from sessioncore.sip.transaction import ServerTransaction
from sessioncore.vocabulary import SECOND, EndReason, SessionRole

if TYPE_CHECKING:
    from sessioncore.session.coordinator import SessionCoordinator

__all__ = ["MOST_TOLD", "Refusals"]

Headers = tuple[Header, ...]

MOST_TOLD: Final = 100
"""Calls turned away that are told of in a second; the others are answered and counted."""


class Refusals:
    """Refuses for the coordinator; see docs/decisions/turned-away.md."""

    def __init__(self, coordinator: SessionCoordinator) -> None:
        self._all = coordinator
        self._told = 0
        self._telling_since = 0

    def faulty(self, leg: Leg | None, tx: ServerTransaction, refusal: Refusal, now: int) -> None:
        """Refuse an INVITE that `inspect` speaks against; ``leg`` is that of its dialog."""
        coordinator, request = self._all, tx.request
        coordinator.counters.refused_faulty += 1
        reason = faulty(refusal.status, refusal.text)
        if leg is not None:
            _respond(tx, reason, refusal.headers, now)
            self._offer_refused(leg, reason, now)
            return
        leg = coordinator.new_leg(SessionRole.UAS, request.call_id)
        leg.local_uri, leg.remote_uri = str(request.to_uri), str(request.from_uri)
        self._turn_away(leg, tx, reason, refusal.headers, now)

    def unready(self, leg: Leg, tx: ServerTransaction, error: Exception, now: int) -> None:
        """Refuse a call that could not even be rung."""
        reason, headers = self.explain(tx, error)
        self._turn_away(leg, tx, reason, headers, now)

    def offer(self, leg: Leg, tx: ServerTransaction, error: Exception, now: int) -> None:
        """Refuse a re-INVITE, for good: a copy of it must not be accepted later."""
        reason, headers = self.explain(tx, error)
        _respond(tx, reason, headers, now, stateful=True)
        self._offer_refused(leg, reason, now)

    def explain(self, tx: ServerTransaction, error: Exception) -> tuple[EndReason, Headers]:
        """Count what an INVITE could not be agreed to for; why, for us and for the peer."""
        counters, reason = self._all.counters, unready(error)
        if isinstance(error, NegotiationError | SdpParseError):
            counters.refused_media += 1
            return reason, _warning(tx, error)
        counters.refused_faulty += 1
        return reason, ()

    def _turn_away(
        self, leg: Leg, tx: ServerTransaction, reason: EndReason, headers: Headers, now: int
    ) -> None:
        coordinator = self._all
        told = self._may_tell(now)
        if told:
            coordinator.counters.incoming += 1
            coordinator.emit(leg, events.IncomingCall, now, leg.remote_uri, leg.local_uri)
        _respond(tx, reason, headers, now)
        if told:
            leg.feed(GiveUp(reason))  # does nothing where a listener has hung up
        else:
            coordinator.discard(leg, now)

    def _may_tell(self, now: int) -> bool:
        """Whether there is a place for it in the logs of this second."""
        if now - self._telling_since >= SECOND:
            self._telling_since, self._told = now, 0
        self._told += 1
        return self._told <= MOST_TOLD

    def _offer_refused(self, leg: Leg, reason: EndReason, now: int) -> None:
        reasons = reason.reasons or (reason.text,)
        self._all.emit(leg, events.OfferRefused, now, reason.status, reasons)


def _respond(
    tx: ServerTransaction, reason: EndReason, headers: Headers, now: int, *, stateful: bool = False
) -> None:
    phrase = None
    if reason.status == 400 and not headers:
        # RFC 3261 section 21.4.1: the phrase should say what is wrong; elsewhere a Warning does.
        phrase = reason.text.encode("ascii", "replace")
    tx.respond(reason.status or 500, phrase, headers=headers, now=now, stateful=stateful)


def _warning(tx: ServerTransaction, error: Exception) -> Headers:
    """RFC 3261 section 20.43: why a description is refused, format by format."""
    told = error if isinstance(error, NegotiationError) else NegotiationError(str(error))
    agent = tx.flow.sent_by(tx.source[0])
    value = b'%d %b "%b"' % (told.warning_code, agent, told.warning.encode("ascii"))
    return ((b"Warning", value),)
