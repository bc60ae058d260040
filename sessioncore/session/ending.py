"""How calls end: carries out the effects of the session table."""

from __future__ import annotations

from sessioncore import events
from sessioncore.session.acks import Acks
from sessioncore.session.announcing import Announcer
from sessioncore.session.bodies import RETRY_LATER
from sessioncore.session.environment import Environment
from sessioncore.session.establishing import Establishing
from sessioncore.session.leg import Effects, Leg
from sessioncore.session.modification import DialogOver
from sessioncore.session.registry import Registry
from sessioncore.session.requests import DialogRequests
from sessioncore.session.session import (
    CloseMedia,
    Finish,
    GiveUp,
    RefuseInvite,
    SendBye,
    SendCancel,
    StopMedia,
)
from sessioncore.sip.matching import TransactionLayer

__all__ = ["Ending"]

_OVER = DialogOver()


class Ending:
    """Carries out the effects of the session table."""

    def __init__(
        self,
        env: Environment,
        announcer: Announcer,
        registry: Registry,
        layer: TransactionLayer,
        establishing: Establishing,
        requests: DialogRequests,
        acks: Acks,
    ) -> None:
        self._env = env
        self._announcer = announcer
        self._registry = registry
        self._layer = layer
        self._establishing = establishing
        self._requests = requests
        self._acks = acks
        self.effects: Effects = {
            StopMedia: self._stop_media,
            CloseMedia: self._close_media,
            SendCancel: self._send_cancel,
            SendBye: self._send_bye,
            RefuseInvite: self._refuse_invite,
            Finish: self._finish,
        }

    def discard(self, leg: Leg, now: int) -> None:
        """Forget a leg that was never announced and will not be."""
        self._establishing.control.close(leg, now)
        self._forget(leg)

    def decided(self, leg: Leg) -> None:
        """The INVITE of a callee is answered or refused: CANCEL has no effect any more."""
        incoming, leg.incoming = leg.incoming, None
        if incoming is not None:
            self._registry.by_invite.pop(incoming.server.key, None)
            if incoming.ring_end is not None:
                incoming.ring_end.cancel()

    def _stop_media(self, leg: Leg, effect: StopMedia) -> None:
        self._establishing.control.stop_audio_transmission(leg)

    def _close_media(self, leg: Leg, effect: CloseMedia) -> None:
        self._establishing.control.finish(leg, self._env.now())
        self._registry.make_room(leg)

    def _send_cancel(self, leg: Leg, effect: SendCancel) -> None:
        assert leg.outgoing is not None and leg.reason is not None
        if leg.outgoing.client is None:
            leg.feed(GiveUp(leg.reason))  # one address refused, and the next is not reached yet
        else:
            self._registry.cancelled(leg)
            self._layer.cancel(leg.outgoing.client, self._env.now(), leg.reason_headers)

    def _send_bye(self, leg: Leg, effect: SendBye) -> None:
        assert leg.usage is not None
        if leg.usage.modification is not None:
            leg.usage.modification.feed(_OVER)
        self._requests.start(self._requests.end(leg, leg.usage), leg)

    def _refuse_invite(self, leg: Leg, effect: RefuseInvite) -> None:
        if leg.incoming is not None:
            headers = effect.headers
            if effect.status == 503:
                headers = (*headers, RETRY_LATER)
            leg.incoming.server.respond(
                effect.status, effect.phrase, headers=headers, now=self._env.now()
            )

    def _finish(self, leg: Leg, effect: Finish) -> None:
        now = self._env.now()
        if leg.incoming is not None:
            self.decided(leg)
        usage = leg.usage
        if usage is not None:
            if usage.unacknowledged is not None:
                self._acks.stop_waiting(usage)
            if usage.modification is not None:
                usage.modification.feed(_OVER)
        self._forget(leg)
        try:
            self._establishing.control.close(leg, now)
        finally:
            self._announce_end(leg, now)

    def _announce_end(self, leg: Leg, now: int) -> None:
        env, announcer, reason = self._env, self._announcer, leg.reason
        assert reason is not None
        if leg.answered:
            env.counters.ended += 1
            announcer.emit(leg, events.CallEnded, now, reason)
        else:
            env.counters.failed += 1
            announcer.emit(leg, events.CallFailed, now, reason)
        leg.milestones.reach_end(reason, announcer.later)

    def _forget(self, leg: Leg) -> None:
        outgoing = leg.outgoing
        if outgoing is not None and outgoing.ring_end is not None:
            outgoing.ring_end.cancel()
        self._registry.forget(leg)
