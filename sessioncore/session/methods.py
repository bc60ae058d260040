"""The table of SIP methods: who answers each, in a dialog and outside (RFC 3261 section 8.2.1).

One row per method; `Allow`, 405, `Accept`, `Supported` and 420 are derived from the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import frozen

from sessioncore.session.callee import Callee
from sessioncore.session.dialog_usage import DialogUsage
from sessioncore.session.leg import Leg
from sessioncore.session.modifying import Modifying
from sessioncore.session.reasons import ended_by_peer
from sessioncore.session.refusals import Refusals
from sessioncore.session.registry import Registry
from sessioncore.session.session import ByeRead
from sessioncore.sip.methods import MIXED, SDP, MethodRule, MethodRules
from sessioncore.sip.roles import Headers
from sessioncore.sip.transaction import ServerTransaction

__all__ = ["METHODS", "Method", "Rooms", "rules_of"]


@frozen(eq=False)
class Rooms:
    """The parts of the session layer that answers may use."""

    rules: MethodRules
    registry: Registry
    callee: Callee
    modifying: Modifying
    refusals: Refusals


Outside: TypeAlias = Callable[[Rooms, ServerTransaction, int], None]
"""Answers a request outside any dialog; the last argument is the time, in ns."""
Within: TypeAlias = Callable[[Rooms, Leg, DialogUsage, ServerTransaction, int], None]
"""Answers a request within a dialog."""


@frozen
class Method:
    """One row: ``outside`` and ``within`` answer the method; without both it gets 405.

    Without ``outside`` a request outside a dialog gets 481, without ``within`` one in a dialog 405.
    ``refused`` is called within a dialog after another answer than that of ``within``, because of
    a header field or the body.  ``early``: it is allowed in an early dialog.  ``bodies`` are the
    media types its body may have (None: any).  ``extensions`` are the option tags that come with
    it.  ``matched_below`` is for ACK and CANCEL, which the transaction layer matches to another
    request.
    """

    name: bytes
    outside: Outside | None = None
    within: Within | None = None
    refused: Within | None = None
    early: bool = True
    bodies: tuple[bytes, ...] | None = None
    extensions: tuple[bytes, ...] = ()
    matched_below: bool = False

    @property
    def rule(self) -> MethodRule:
        """The rule that a request has to satisfy before it is answered."""
        served = self.matched_below or bool(self.outside or self.within)
        return MethodRule(
            self.name,
            served,
            self.outside is not None,
            self.within is not None,
            self.early,
            self.bodies,
            self.extensions,
        )


def _invite(rooms: Rooms, tx: ServerTransaction, now: int) -> None:
    if not rooms.refusals.overloaded(tx, now):
        rooms.callee.invited(tx, now)


def _reinvite(rooms: Rooms, leg: Leg, usage: DialogUsage, tx: ServerTransaction, now: int) -> None:
    rooms.modifying.reinvited(leg, usage, tx, now)


def _bye(rooms: Rooms, leg: Leg, usage: DialogUsage, tx: ServerTransaction, now: int) -> None:
    try:
        _gone(rooms, leg, usage, tx, now)
    finally:
        # Our last RTCP report left before, so the peer has it when it reads this.
        tx.respond(200, now=now)


def _gone(rooms: Rooms, leg: Leg, usage: DialogUsage, tx: ServerTransaction, now: int) -> None:
    """The peer's side is over once its BYE has left, whatever the answer (RFC 3261 15.1.1)."""
    outgoing = leg.outgoing
    if leg.usage is None and outgoing is not None:
        # An early dialog of a caller; the call ends with the last of them.
        outgoing.early.pop(usage.dialog.remote_tag)
        rooms.registry.part(usage.dialog)
        if outgoing.early:
            return
    leg.feed(ByeRead(ended_by_peer(tx.request, "the peer hung up")))


def _options(rooms: Rooms, tx: ServerTransaction, now: int) -> None:
    """RFC 3261 section 11.2: the status that an INVITE would get, and our capabilities.

    Without state, so that strangers cannot fill the memory with the answers.
    """
    tx.respond(200, headers=_capabilities(rooms), now=now, stateful=False)


def _options_within(
    rooms: Rooms, leg: Leg, usage: DialogUsage, tx: ServerTransaction, now: int
) -> None:
    # With state: a copy would have a CSeq number that was used already.
    tx.respond(200, headers=_capabilities(rooms), now=now)


def _capabilities(rooms: Rooms) -> Headers:
    rules = rooms.rules
    return rules.allow, rules.accept, rules.supported


METHODS: Final = (
    Method(b"INVITE", outside=_invite, within=_reinvite, bodies=(SDP, MIXED)),
    Method(b"ACK", matched_below=True),
    Method(b"BYE", within=_bye, refused=_gone),
    Method(b"CANCEL", matched_below=True),
    Method(b"OPTIONS", outside=_options, within=_options_within),
    # Known but not served: 405; unknown methods get 501.
    *map(Method, b"INFO MESSAGE NOTIFY PRACK PUBLISH REFER REGISTER SUBSCRIBE UPDATE".split()),
)


def rules_of(methods: tuple[Method, ...]) -> MethodRules:
    """The rules derived from the rows."""
    return MethodRules(method.rule for method in methods)
