"""The legs of a coordinator, found by name, by dialog, or by INVITE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from sessioncore.session.admission import Admission
from sessioncore.session.call import Control
from sessioncore.session.environment import Environment
from sessioncore.session.leg import Effects, Leg
from sessioncore.sip.dialog import Dialog
from sessioncore.sip.message import Request
from sessioncore.vocabulary import SessionRole

__all__ = ["Registry"]


class Registry:
    """The legs of one coordinator; each is registered from `new` until `forget`.

    ``on_idle`` is called when no leg is left and no CANCEL waits for its effect.
    """

    def __init__(
        self,
        env: Environment,
        effects: Effects,
        control: Control,
        admission: Admission,
        on_idle: Callable[[], None],
    ) -> None:
        self.by_name: Final[dict[str, Leg]] = {}
        self.by_dialog: Final[dict[bytes, Leg]] = {}
        self.by_invite: Final[dict[bytes, Leg]] = {}
        """Unanswered legs of callees, by the key of the INVITE's transaction."""
        self.up = 0
        """Legs that count against the limit on concurrent calls."""
        self.unsettled: Final[set[str]] = set()
        """Names of legs, some of them over, whose cancelled INVITE has no final response yet."""
        self._on_idle = on_idle
        self._tracer = env.tracer
        self._random_token = env.random_token
        self._most = env.settings.max_calls
        self._most_known = 2 * self._most
        self._effects = effects
        self._control = control
        self._admission = admission
        # Names are unique among managers and runs: 40 random bits, and a number.
        self._names: Iterator[str] = map(f"{env.random_bits(40):010x}-{{}}".format, count(1))

    def __len__(self) -> int:
        return len(self.by_name)

    @property
    def full(self) -> bool:
        """Whether the limit of the settings is reached.

        Calls whose BYE or CANCEL has left do not count; all calls together are at most twice the
        limit.
        """
        return self.up >= self._most or len(self.by_name) >= self._most_known

    @property
    def idle(self) -> bool:
        """Whether nothing is left to wait for before the layer below stops."""
        return not (self.by_name or self.unsettled)

    def cancelled(self, leg: Leg) -> None:
        """The INVITE of a leg is cancelled; it is waited for until `settled`."""
        self.unsettled.add(leg.name)

    def settled(self, leg: Leg) -> None:
        """The INVITE of a leg has a final response, or none will come."""
        if leg.name in self.unsettled:
            self.unsettled.remove(leg.name)
            if self.idle:
                self._on_idle()

    def make_room(self, leg: Leg) -> None:
        """Take a leg that only waits for the answer to its BYE or CANCEL out of the limit."""
        if leg.takes_room:
            leg.takes_room = False
            self.up -= 1
            if leg.source is not None:
                self._admission.leave(leg.source)
                leg.source = None

    def new(self, role: SessionRole, call_id: bytes) -> Leg:
        """A new leg with a unique name and a unique tag."""
        leg = Leg(
            role, next(self._names), call_id, self._random_token(), self._effects, self._control
        )
        self.by_name[leg.name] = leg
        self.up += 1
        if self._tracer is not None:
            leg.follow(self._tracer.step)
            leg.media.follow(self._tracer.step)
        return leg

    def join(self, leg: Leg, dialog: Dialog) -> None:
        """Route requests of ``dialog`` to ``leg`` from now on."""
        self.by_dialog[dialog.key] = leg
        if self._tracer is not None:
            self._tracer.dialog(dialog)

    def part(self, dialog: Dialog) -> None:
        """Remove a dialog that has ended."""
        self.by_dialog.pop(dialog.key, None)

    def forget(self, leg: Leg) -> None:
        """Remove a leg that is over; only its handle refers to it after that."""
        del self.by_name[leg.name]
        self.make_room(leg)
        # The handle keeps the leg; this breaks the reference cycle between the two.
        del leg.call
        if leg.usage is not None:
            self.by_dialog.pop(leg.usage.dialog.key, None)
        if leg.outgoing is not None:
            for usage in leg.outgoing.early.values():
                self.by_dialog.pop(usage.dialog.key, None)
        if not self.by_name and self.idle:
            self._on_idle()

    def tag_of(self, cancel: Request) -> bytes | None:
        """Our tag in the dialog of the INVITE whose CANCEL came too late."""
        invite = cancel.call_id, cancel.from_tag or b"", cancel.cseq.number
        for leg in self.by_name.values():
            dialog = None if leg.usage is None else leg.usage.dialog
            if dialog and (dialog.call_id, dialog.remote_tag, dialog.remote_seq) == invite:
                return dialog.local_tag
        return None
