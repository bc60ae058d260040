"""What holds for every table of the package."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from attrs import fields, has
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.sdp.exchange import OFFER_ANSWER
from sessioncore.session.media_state import MEDIA_STATE, MediaStateMachine
from sessioncore.session.modification import (
    MODIFICATION,
    BackOffOver,
    Modification,
    ModificationState,
)
from sessioncore.session.session import SESSION, AckMissing, Session, SessionState
from sessioncore.sip.client import (
    CLIENT_INVITE,
    CLIENT_OTHER,
    ClientInviteState,
    InviteClientTransaction,
    OtherClientTransaction,
)
from sessioncore.sip.message import parse_message
from sessioncore.sip.server import (
    SERVER_INVITE,
    SERVER_OTHER,
    ServerInviteState,
    ServerTransaction,
)
from sessioncore.sip.steps import (
    CancelExpired,
    GiveUp,
    LingerOver,
    MinuteOver,
    RepeatDue,
    StillSilent,
)
from sessioncore.table import Table
from sessioncore.testing import messages
from sessioncore.vocabulary import EndedBy, EndReason, SessionRole
from sessioncore.watching.diagrams import diagrams, tables
from tests.sip.fakes import PEER, FakeFlow

EVERYWHERE = None
# Each input that a timer brings, and the states in which its timer is armed; it may fire in
# each of them and in every state that can be reached from there.
TIMERS: dict[str, dict[type, tuple[Enum, ...] | None]] = {
    "session": {AckMissing: (SessionState.ANSWERED,)},
    "client INVITE transaction": {
        RepeatDue: EVERYWHERE,
        GiveUp: EVERYWHERE,
        CancelExpired: (ClientInviteState.CANCELLING,),
        LingerOver: (ClientInviteState.COMPLETED, ClientInviteState.ACCEPTED),
    },
    "client non-INVITE transaction": {RepeatDue: EVERYWHERE, GiveUp: EVERYWHERE},
    "server INVITE transaction": {
        StillSilent: EVERYWHERE,
        MinuteOver: EVERYWHERE,
        RepeatDue: (ServerInviteState.COMPLETED,),
        GiveUp: (ServerInviteState.COMPLETED,),
    },
    "server non-INVITE transaction": {GiveUp: EVERYWHERE},
    "media state": {},
    "modification": {BackOffOver: (ModificationState.BACKING_OFF,)},
    "OfferAnswer": {},
}
# The media state goes back to Idle with its row, the exchange lives as long as its dialog.
ENDLESS = {"media state", "OfferAnswer"}


def reachable_from(table: Table, states: tuple[Enum, ...]) -> set[Enum]:
    found, frontier = set(states), list(states)
    while frontier:
        state = frontier.pop()
        for (source, _), (target, _action) in table.cells.items():
            if source is state and target not in found:
                found.add(target)
                frontier.append(target)
    return found


class TableTests(SynchronousTestCase):
    def test_all_are_known_here(self) -> None:
        self.assertEqual({table.name for table in tables()}, set(TIMERS))

    def test_every_cell_is_answered_once(self) -> None:
        for table in tables():
            answered = [(row.state, row.given) for row in table.rows]
            expected = {(state, given) for state in table.states for given in table.inputs}
            self.assertEqual(len(answered), len(expected), table.name)
            self.assertEqual(set(answered), expected, table.name)

    def test_every_state_is_reachable(self) -> None:
        for table in tables():
            self.assertEqual(table.reachable(), set(table.states), table.name)

    def test_every_state_but_the_final_ones_has_a_way_out(self) -> None:
        for table in tables():
            self.assertEqual(table.dead_ends(), set(), table.name)
            self.assertEqual(bool(table.final), table.name not in ENDLESS)

    def test_every_state_leads_to_a_final_one(self) -> None:
        for table in tables():
            if table.name not in ENDLESS:
                for state in table.states:
                    self.assertTrue(reachable_from(table, (state,)) & table.final, state)

    def test_final_states_are_final(self) -> None:
        for table in tables():
            for (state, given), (goes_to, _) in table.cells.items():
                if state in table.final:
                    self.assertIs(goes_to, state, f"{table.name}: {given.__name__} in {state}")

    def test_every_timer_may_fire_wherever_it_is_armed_and_after(self) -> None:
        for table in tables():
            for given, armed in TIMERS[table.name].items():
                places = set(table.states) if armed is None else reachable_from(table, armed)
                for state in places:
                    self.assertIn((state, given), table.cells, f"{table.name}: {given.__name__}")

    def test_what_cannot_happen_or_changes_nothing_says_why(self) -> None:
        for table in tables():
            for row in table.rows:
                idle = row.goes_to is row.state and row.action is None
                # A row that only confirms a state it leads to from elsewhere explains itself.
                leads = any(
                    other.given is row.given and other.goes_to is row.state is not other.state
                    for other in table.rows
                )
                if row.goes_to is None or (idle and not leads):
                    self.assertTrue(row.note, f"{table.name}: {row.given.__name__} in {row.state}")

    def test_states_are_cheap_to_look_up(self) -> None:
        for table in tables():
            self.assertIs(type(table.initial).__hash__, object.__hash__, table.name)

    def test_inputs_are_small(self) -> None:
        for table in tables():
            for given in table.inputs:
                self.assertFalse(hasattr(object.__new__(given), "__dict__"), given.__name__)


INVITE = messages.invite()
SAMPLES: dict[str, Any] = {
    "now": 7,
    "data": b"SIP/2.0 200 OK\r\n",
    "reason": EndReason(EndedBy.LOCAL, "because"),
    "status": 486,
    "phrase": None,
    "headers": (),
    "response": parse_message(messages.response(INVITE, 200)),
}


class Keeper:
    """Does what a transaction asks by doing nothing."""

    def transmit(self, *_: Any) -> bool:
        return True

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def client(kind: Any) -> Any:
    tx = kind(Keeper(), Keeper(), INVITE, b"INVITE", PEER, FakeFlow(), b"z9hG4bK")
    tx.ack = b"ACK"
    return tx


def server(table: Table) -> Any:
    request: Any = parse_message(INVITE)
    keeper: Any = Keeper()
    tx = ServerTransaction(table, keeper, request, b"key", PEER, PEER, FakeFlow(), b"via", 0)
    tx.last = b"SIP/2.0 180 Ringing"
    return tx


class OfferAnswerStandIn:
    """What the exchange's actions keep their facts in."""

    sent = received = settled = None
    changed = False


MACHINES: dict[str, Callable[[], Any]] = {
    SESSION.name: lambda: Session(SessionRole.UAC, "1", "id"),
    MEDIA_STATE.name: MediaStateMachine,
    MODIFICATION.name: lambda: Modification(lambda effect: None),
    OFFER_ANSWER.name: OfferAnswerStandIn,
    CLIENT_INVITE.name: lambda: client(InviteClientTransaction),
    CLIENT_OTHER.name: lambda: client(OtherClientTransaction),
    SERVER_INVITE.name: lambda: server(SERVER_INVITE),
    SERVER_OTHER.name: lambda: server(SERVER_OTHER),
}


def sample(given: type) -> Any:
    names = [each.name for each in fields(given)] if has(given) else []
    return given(*(SAMPLES.get(name) for name in names))


class ActionTests(SynchronousTestCase):
    def test_no_action_raises_and_each_returns_effects(self) -> None:
        for table in tables():
            for (state, given), (_, action) in table.cells.items():
                if action is None:
                    continue
                machine = MACHINES[table.name]()
                machine.state = state
                for effect in action(machine, sample(given)):
                    self.assertIs(machine.state, state, "a state assigned outside its table")
                    self.assertFalse(hasattr(effect, "__dict__"), "an effect without slots")


class DrawingTests(SynchronousTestCase):
    def test_every_table_is_drawn_once(self) -> None:
        parts, graphs = diagrams().split("\n\n"), diagrams(dot=True)
        for table in tables():
            title = f"{table.name}\n{'=' * len(table.name)}\n"
            self.assertEqual(sum(part.startswith(title) for part in parts), 1, table.name)
        self.assertEqual(graphs.count("digraph "), len(tables()))
