"""Requests that are refused without asking any application, and what is announced of them.

A call that is turned away is a session that only begins and ends: `IncomingCall`, `CallFailed`.
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
"""Calls turned away that are announced in a second; the others are answered and counted."""
OVERLOADED: Final = 512 * 1024
"""Kernel memory of messages that wait: some 400 of them, a tenth of a second of work."""


class Refusals:
    """Refuses requests; ``discard`` drops a leg that nobody has heard of.

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
        """There is no room for it now (RFC 3261 section 21.5.4)."""
        self._env.counters.refused_busy += 1
        tx.respond(503, headers=(RETRY_LATER,), now=now)

    def overloaded(self, tx: ServerTransaction, now: int) -> bool:
        """Refuse a call where more messages wait than can be read in good time.

        A call that is taken on costs ten times one that is refused, so without this a server
        that falls behind answers calls whose callers have long given up, and no others.
        """
        if tx.flow.backlog <= OVERLOADED:
            return False
        self._env.counters.refused_overloaded += 1
        tx.respond(503, headers=(RETRY_LATER,), now=now)
        return True

    def no_dialog(self, tx: ServerTransaction, now: int) -> None:
        """A request with a To tag that leads to no dialog (RFC 3261 section 12.2.2)."""
        self._env.counters.no_dialog += 1
        tx.respond(481, now=now)

    def faulty(
        self, leg: Leg | None, tx: ServerTransaction, refusal: Refusal, full: bool, now: int
    ) -> None:
        """Refuse a request that `inspect` speaks against; ``leg`` is that of its dialog.

        Calls refused while the server is ``full`` emit no events: there was no room anyway.
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
        leg = self._registry.new(SessionRole.UAS, request.call_id)
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
        """Whether there is a place for it in the logs of this second."""
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
        # RFC 3261 section 21.4.1: the phrase should say what is wrong; elsewhere a Warning does.
        phrase = reason.text.encode("ascii", "replace")
    tx.respond(reason.status or 500, phrase, headers=headers, now=now, stateful=stateful)


def _warning(tx: ServerTransaction, error: Exception) -> Headers:
    """RFC 3261 section 20.43: why a description is refused, format by format."""
    told = error if isinstance(error, NegotiationError) else NegotiationError(str(error))
    agent = tx.flow.sent_by(tx.source[0])
    value = b'%d %b "%b"' % (told.warning_code, agent, told.warning.encode("ascii"))
    return ((b"Warning", value),)
