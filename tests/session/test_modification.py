"""Offers within a dialog: every cell of their table."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import UnexpectedInput
from sessioncore.session import modification
from sessioncore.session.modification import MODIFICATION, Modification, ModificationState

COLUMNS = [
    modification.OfferWanted,
    modification.OfferRead,
    modification.Answered,
    modification.Refused,
    modification.Glared,
    modification.BackOffOver,
    modification.Settled,
    modification.DialogOver,
]
# One line a state, one word an input; `-` stays and does nothing, `!` is ruled out; else the new
# state and, after a colon, what is asked for.
CELLS = """
Idle     Offering:send Offered:take    !    !    !         -             -             Over:drop
Offering !             Offering:refuse Idle Idle Back:wait -             -             Over:drop
Offered  Yielding      Offered:refuse  !    !    !         -             Idle          Over:drop
Yielding !             Yielding:refuse !    !    !         -             Offering:send Over:drop
Back     !             Yielding:take   !    !    !         Offering:send -             Over:drop
Over     !             !               -    -    -         -             -             -
"""
ASKED = {
    modification.SendOffer: "send",
    modification.TakeOffer: "take",
    modification.Refuse: "refuse",
    modification.BackOff: "wait",
    modification.Drop: "drop",
}
WAITING = (ModificationState.OFFERING, ModificationState.YIELDING, ModificationState.BACKING_OFF)


def state_of(word: str) -> ModificationState:
    return ModificationState.BACKING_OFF if word == "Back" else ModificationState(word)


class CellTests(SynchronousTestCase):
    def test_every_cell(self) -> None:
        lines = [line.split() for line in CELLS.strip().splitlines()]
        self.assertEqual([state_of(line[0]) for line in lines], list(ModificationState))
        for name, *words in lines:
            for kind, word in zip(COLUMNS, words, strict=True):
                with self.subTest(f"{kind.__name__} in {name}"):
                    self.check(state_of(name), kind, word)

    def check(self, state: ModificationState, kind: Any, word: str) -> None:
        asked: list[str] = []
        machine = Modification(lambda effect: asked.append(ASKED[type(effect)]))
        machine.state = state
        machine.wish = "wish" if state in WAITING else None
        carries = (modification.OfferWanted, modification.OfferRead)
        given = kind("x") if kind in carries else kind()
        if word == "!":
            self.assertRaises(UnexpectedInput, machine.feed, given)
            return
        goes_to, _, asks = word.partition(":")
        machine.feed(given)
        self.assertIs(machine.state, state if goes_to == "-" else state_of(goes_to))
        self.assertEqual(",".join(asked), asks)

    def test_a_wish_is_kept_as_long_as_it_waits(self) -> None:
        machine = Modification(lambda effect: None)
        machine.feed(modification.OfferWanted("hold"))
        machine.feed(modification.Glared())
        self.assertEqual(machine.wish, "hold")
        machine.feed(modification.BackOffOver())
        machine.feed(modification.Answered())
        self.assertIsNone(machine.wish)

    def test_the_columns_are_all_there_is(self) -> None:
        self.assertEqual(set(COLUMNS), set(MODIFICATION.inputs))
