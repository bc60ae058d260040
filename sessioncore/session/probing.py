"""Finds peers that died or froze without a BYE: silence, then an OPTIONS within the dialog.

A call whose peer has gone would otherwise send media and hold its place for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sessioncore import events
from sessioncore.errors import SessionCoreError
from sessioncore.session.announcing import Announcer
from sessioncore.session.environment import Environment
from sessioncore.session.leg import Leg
from sessioncore.session.reasons import answered_with
from sessioncore.session.requests import DialogRequests
from sessioncore.session.session import HangUp
from sessioncore.sip.message import Response
from sessioncore.sip.steps import GRID
from sessioncore.sip.transaction import ClientTransaction
from sessioncore.vocabulary import SECOND, EndedBy, EndReason, host_port

__all__ = ["Probing"]

_NO_DIALOG: Final = (408, 481)
"""These end the dialog (RFC 3261 section 12.2.1.2); any other answer shows that the peer lives."""


class _ProbeUser:
    """The user of the OPTIONS transaction."""

    __slots__ = ("_leg", "_probing")

    def __init__(self, probing: Probing, leg: Leg) -> None:
        self._probing = probing
        self._leg = leg

    def response_received(self, tx: ClientTransaction, response: Response, now: int) -> None:
        if response.status in _NO_DIALOG:
            self._probing.gone(self._leg, answered_with(response), now)
        elif response.status >= 200:
            self._probing.lives(self._leg, now)

    def timed_out(self, tx: ClientTransaction, now: int) -> None:
        reason = EndReason(EndedBy.TIMEOUT, "OPTIONS was not answered", 408, 102)
        self._probing.gone(self._leg, reason, now)

    def transport_failed(self, tx: ClientTransaction, now: int) -> None:
        text = f"OPTIONS did not reach {host_port(*tx.destination)}"
        self._probing.gone(self._leg, EndReason(EndedBy.NETWORK, text, None, 38), now)


class Probing:
    """Watches confirmed calls; ``find`` returns the leg with a name, or None.

    After `Settings.peer_timeout` without RTP and RTCP, where some was due, the peer is asked.
    """

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        requests: DialogRequests,
        find: Callable[[str], Leg | None],
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._requests = requests
        self._find = find
        self._patience = round(env.settings.peer_timeout * SECOND)
        # Most calls are shorter than that, so the first look uses a shared queue.
        self._first = env.deadlines.fifo(self._patience, self._look, GRID)

    def stop(self) -> None:
        """Stop all timers."""
        self._env.deadlines.remove(self._first)

    def confirmed(self, leg: Leg, now: int) -> None:
        """The dialog is confirmed: announce that, and watch the peer from now on."""
        self._announcer.emit(leg, events.DialogEstablished, now)
        if self._patience:
            self._first.add(leg.name, now)

    def _look(self, name: str, now: int) -> None:
        leg = self._find(name)
        if leg is None or leg.leaving:
            return
        silent_since = self._silent_since(leg, now)
        if now - silent_since < self._patience:
            self._look_again(leg, silent_since)
        else:
            self._requests.start(self._ask(leg), leg)

    def _silent_since(self, leg: Leg, now: int) -> int:
        """When the peer was last heard (ns); ``now`` if nothing is due from it.

        RTP is due if the agreement lets us receive; RTCP always, but many peers never send it.
        """
        stream = leg.media.stream
        if stream is None or not (leg.media.receives or stream.peer.rtcp_source):
            return now
        return stream.heard_at

    def _look_again(self, leg: Leg, since: int) -> None:
        self._env.deadlines.at(since + self._patience, self._look, leg.name)

    async def _ask(self, leg: Leg) -> None:
        usage = leg.usage
        assert usage is not None
        try:
            flow, peer = await self._requests.next_hop(usage.dialog, usage.flow)
        except SessionCoreError as error:
            self.gone(leg, EndReason(EndedBy.NETWORK, str(error), None, 38), self._env.now())
            return
        if not leg.leaving:
            self._requests.send(_ProbeUser(self, leg), usage.dialog, b"OPTIONS", flow, peer)

    def lives(self, leg: Leg, now: int) -> None:
        """The peer answered, so it is only silent; ask again after as long a silence."""
        if not leg.leaving:
            self._look_again(leg, now)

    def gone(self, leg: Leg, found: EndReason, now: int) -> None:
        """The peer is gone: end the call, unless media came in the meantime."""
        since = self._silent_since(leg, now)
        if leg.leaving:
            return
        if now - since < self._patience:
            self._look_again(leg, since)
            return
        leg.peer_gone = True
        silence = f"no RTP and no RTCP for {(now - since) // SECOND} s"
        text = f"the peer is gone: {silence}; {found.text}"
        leg.feed(HangUp(EndReason(found.by, text, found.status, found.cause)))
