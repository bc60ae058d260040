"""Refuses requests without asking the application, and announces the refusals.

A refused call has two events: `IncomingCall` and `CallFailed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sessioncore import events
from sessioncore.errors import NegotiationError, SdpParseError
from sessioncore.session.announcing import Announcer
from sessioncore.session.bodies import RETRY_LATER, Header
from sessioncore.session.environment import Environment
from sessioncore.session.leg import Leg
from sessioncore.session.reasons import faulty, unready
from sessioncore.session.registry import Registry
from sessioncore.session.session import GiveUp
from sessioncore.sip.inspection import Refusal
from sessioncore.sip.transaction import ServerTransaction
from sessioncore.vocabulary import SECOND, EndReason, SessionRole

__all__ = ["MOST_TOLD", "OVERLOADED", "Refusals"]

Headers = tuple[Header, ...]

MOST_TOLD: Final = 100
"""The refused calls that are announced per second; the others are only answered and counted."""
OVERLOADED: Final = 512 * 1024
"""Kernel memory of waiting messages (bytes): about 400 messages, a tenth of a second of work."""


class Refusals:
    """Refuses requests; ``discard`` drops a leg that was not announced.

    See docs/decisions/turned-away.md.
    """

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        registry: Registry,
        discard: Callable[[Leg, int], None],
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._registry = registry
        self._discard = discard
        self._told = 0
        self._telling_since = 0

    def busy(self, tx: ServerTransaction, now: int) -> None:
        """Refuse a request because a limit is reached (RFC 3261 section 21.5.4)."""
        self._env.counters.refused_busy += 1
        tx.respond(503, headers=(RETRY_LATER,), now=now)

    def overloaded(self, tx: ServerTransaction, now: int) -> bool:
        """Refuse a call if more messages wait than can be read in time; True if it did.

        Accepting a call costs ten times as much as refusing it.  Without this, a server that
        falls behind would only answer calls whose callers have already given up.
        """
        if tx.flow.backlog <= OVERLOADED:
            return False
        self._env.counters.refused_overloaded += 1
        tx.respond(503, headers=(RETRY_LATER,), now=now)
        return True

    def no_dialog(self, tx: ServerTransaction, now: int) -> None:
        """Refuse a request whose To tag belongs to no dialog (RFC 3261 section 12.2.2)."""
        self._env.counters.no_dialog += 1
        tx.respond(481, now=now)

    def faulty(
        self, leg: Leg | None, tx: ServerTransaction, refusal: Refusal, full: bool, now: int
    ) -> None:
        """Refuse a request as `inspect` decided; ``leg`` is that of its dialog, or None.

        Calls refused while the server is ``full`` emit no events.
        """
        request = tx.request
        if request.method != b"INVITE" or (leg is None and full):
            tx.respond(refusal.status, headers=refusal.headers, now=now)
            return
        self._env.counters.refused_faulty += 1
        reason = faulty(refusal.status, refusal.text)
        if leg is not None:
            _respond(tx, reason, refusal.headers, now)
            self._offer_refused(leg, reason, now)
            return
        uris = str(request.to_uri), str(request.from_uri)
        leg = self._registry.new(SessionRole.UAS, request.call_id)
        leg.local_uri, leg.remote_uri = uris
        self._turn_away(leg, tx, reason, refusal.headers, now)

    def unready(self, leg: Leg, tx: ServerTransaction, error: Exception, now: int) -> None:
        """Refuse a call before ringing, because of ``error``."""
        reason, headers = self.explain(tx, error)
        self._turn_away(leg, tx, reason, headers, now)

    def offer(self, leg: Leg, tx: ServerTransaction, error: Exception, now: int) -> None:
        """Refuse a re-INVITE and keep state: a copy of it must not be accepted later."""
        reason, headers = self.explain(tx, error)
        _respond(tx, reason, headers, now, stateful=True)
        self._offer_refused(leg, reason, now)

    def explain(self, tx: ServerTransaction, error: Exception) -> tuple[EndReason, Headers]:
        """Count a refused INVITE; returns the reason, and the header fields for the peer."""
        counters, reason = self._env.counters, unready(error)
        if isinstance(error, NegotiationError | SdpParseError):
            counters.refused_media += 1
            return reason, _warning(tx, error)
        counters.refused_faulty += 1
        return reason, ()

    def _turn_away(
        self, leg: Leg, tx: ServerTransaction, reason: EndReason, headers: Headers, now: int
    ) -> None:
        _respond(tx, reason, headers, now)
        if self._may_tell(now):
            self._env.counters.incoming += 1
            self._announcer.emit(leg, events.IncomingCall, now, leg.remote_uri, leg.local_uri)
            leg.feed(GiveUp(reason))
        else:
            self._discard(leg, now)

    def _may_tell(self, now: int) -> bool:
        """Whether the limit of announced refusals per second is not reached yet."""
        if now - self._telling_since >= SECOND:
            self._telling_since, self._told = now, 0
        self._told += 1
        return self._told <= MOST_TOLD

    def _offer_refused(self, leg: Leg, reason: EndReason, now: int) -> None:
        reasons = reason.reasons or (reason.text,)
        self._announcer.emit(leg, events.OfferRefused, now, reason.status, reasons)


def _respond(
    tx: ServerTransaction, reason: EndReason, headers: Headers, now: int, *, stateful: bool = False
) -> None:
    phrase = None
    if reason.status == 400 and not headers:
        # RFC 3261 section 21.4.1: the phrase should say what is wrong; otherwise a Warning does.
        phrase = reason.text.encode("ascii", "replace")
    tx.respond(reason.status or 500, phrase, headers=headers, now=now, stateful=stateful)


def _warning(tx: ServerTransaction, error: Exception) -> Headers:
    """RFC 3261 section 20.43: why a description is refused, format by format."""
    told = error if isinstance(error, NegotiationError) else NegotiationError(str(error))
    agent = tx.flow.sent_by(tx.source[0])
    value = b'%d %b "%b"' % (told.warning_code, agent, told.warning.encode("ascii"))
    return ((b"Warning", value),)
