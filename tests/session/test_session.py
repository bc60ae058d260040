"""Every cell of the session table: where it leads, what is asked for, whose reason is kept."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import UnexpectedInput
from sessioncore.session.session import (
    SESSION,
    AckMissing,
    AckRead,
    AckWritten,
    AnswerWritten,
    ByeAnswered,
    ByeRead,
    ByeUnanswered,
    CancelRead,
    FailureRead,
    GiveUp,
    HangUp,
    InviteRead,
    InviteWritten,
    ProvisionalRead,
    RangOut,
    Refuse,
    Session,
    SessionState,
    SuccessRead,
)
from sessioncore.vocabulary import EndedBy, EndReason, SessionRole

S = SessionState
WHY = EndReason(EndedBy.REMOTE, "why")
GIVEN: dict[type, Any] = {
    InviteWritten: InviteWritten(),
    InviteRead: InviteRead(),
    ProvisionalRead: ProvisionalRead(),
    SuccessRead: SuccessRead(),
    FailureRead: FailureRead(WHY),
    AnswerWritten: AnswerWritten(),
    AckWritten: AckWritten(),
    AckRead: AckRead(),
    AckMissing: AckMissing(WHY),
    HangUp: HangUp(WHY, 603),
    Refuse: Refuse(WHY, 486, b"Busy", ((b"X", b"y"),)),
    CancelRead: CancelRead(WHY),
    ByeRead: ByeRead(WHY),
    ByeAnswered: ByeAnswered(),
    ByeUnanswered: ByeUnanswered("nobody"),
    GiveUp: GiveUp(WHY),
    RangOut: RangOut(WHY),
}
NEVER = "ruled out"
COLUMNS = list(GIVEN)

# One line a state, one word an input in the order of COLUMNS.  `-` stays and does nothing, `!` is
# ruled out; else the new state and, after a colon, what is asked for.
CELLS = """
          InviteWr InviteRd Provis  Success  Failure   AnswerWr AckWr            AckRd            AckMiss          HangUp              Refuse        Cancel        Bye              ByeAns    ByeLost   GiveUp     RangOut
Prepared  Calling  Incoming !       !        !         !        !                !                !                Ended:end           !             !             !                !         !         Ended:end  Ended:end
Calling   !        !        Proceed Answered Ended:end !        !                !                !                Cancel:close,cancel !             !             Ended:cancel,end !         !         Ended:end  Ended:cancel,end
Proceed   !        !        -       Answered Ended:end !        !                !                !                Cancel:close,cancel !             !             Ended:cancel,end !         !         Ended:end  Ended:cancel,end
Incoming  !        !        !       !        !         Answered !                !                !                Ended:603,end       Ended:486,end Ended:487,end Ended:487,end    !         !         Ended:end  !
Answered  !        !        -       -        -         !        Confirmed        Confirmed        Ending:close,bye Leaving:stop        !             -             Ended:end        !         !         Ended:end  !
Confirmed !        !        -       -        -         !        -                -                Ending:close,bye Ending:close,bye    !             -             Ended:end        !         !         Ended:end  !
Cancel    !        !        -       Leaving  Ended:end !        !                !                !                -                   !             !             Ended:end        !         !         Ended:end  Ended:end
Leaving   !        !        -       -        -         !        Ending:close,bye Ending:close,bye Ending:close,bye -                   !             -             Ended:end        !         !         Ended:end  !
Ending    !        !        -       -        -         !        -                -                -                -                   !             -             -                Ended:end Ended:end Ended:end  !
Ended     !        !        -       -        -         !        -                -                -                -                   !             -             -                -         -         -          !
"""  # noqa: E501
NAMES = {"Cancel": S.CANCELLING, "Proceed": S.PROCEEDING}
NAMED = {
    "SendCancel": "cancel",
    "SendBye": "bye",
    "StopMedia": "stop",
    "CloseMedia": "close",
    "Finish": "end",
}


def state_of(word: str) -> SessionState:
    return NAMES.get(word) or SessionState(word)


def short(effect: Any) -> str:
    name = type(effect).__name__
    if name == "RefuseInvite":
        return str(effect.status)
    return NAMED[name]


class Recording(Session):
    """Writes down what is asked for, and in which state."""

    __slots__ = ("asked",)

    def __init__(self, state: SessionState = S.PREPARED) -> None:
        super().__init__(SessionRole.UAC, "1", "id")
        self.state = state
        self.asked: list[Any] = []

    def perform(self, effect: object) -> None:
        self.asked.append(effect)


class CellTests(SynchronousTestCase):
    def test_every_cell(self) -> None:
        _, *lines = CELLS.strip().splitlines()
        self.assertEqual([state_of(line.split()[0]) for line in lines], list(S))
        for line in lines:
            name, *words = line.split()
            for kind, word in zip(COLUMNS, words, strict=True):
                with self.subTest(f"{kind.__name__} in {name}"):
                    self.check(state_of(name), kind, word)

    def check(self, state: SessionState, kind: type, word: str) -> None:
        session = Recording(state)
        if word == "!":
            self.assertRaises(UnexpectedInput, session.feed, GIVEN[kind])
            self.assertEqual((session.state, session.asked, session.reason), (state, [], None))
            return
        goes_to, _, asks = word.partition(":")
        session.feed(GIVEN[kind])
        self.assertIs(session.state, state if goes_to == "-" else state_of(goes_to))
        self.assertEqual(",".join(map(short, session.asked)), asks)

    def test_the_columns_are_all_there_is(self) -> None:
        self.assertEqual(set(COLUMNS), set(SESSION.inputs))
        self.assertEqual(len(SESSION.rows), len(COLUMNS) * len(S))

    def test_what_a_refusal_says_is_passed_on(self) -> None:
        session = Recording(S.INCOMING)
        session.feed(GIVEN[Refuse])
        refusal = session.asked[0]
        self.assertEqual((refusal.phrase, refusal.headers), (b"Busy", ((b"X", b"y"),)))

    def test_impossible_cells_say_why(self) -> None:
        for row in SESSION.rows:
            if row.goes_to is None or (row.goes_to is row.state and row.action is None):
                self.assertTrue(row.note or row.given is ProvisionalRead, row)


class ReasonTests(SynchronousTestCase):
    def test_the_first_is_kept(self) -> None:
        session = Recording(S.CONFIRMED)
        session.feed(HangUp(WHY))
        session.feed(GiveUp(EndReason(EndedBy.TIMEOUT, "later")))
        self.assertIs(session.reason, WHY)

    def test_each_ending_input_leaves_one(self) -> None:
        for (state, kind), _ in SESSION.cells.items():
            session = Recording(state)
            session.reason = WHY if state is S.ENDING else None
            session.feed(GIVEN[kind])
            ended = session.state is S.ENDED and state is not S.ENDED
            if ended and kind not in (ByeAnswered, ByeUnanswered):
                self.assertIsNotNone(session.reason, (state, kind))

    def test_a_hang_up_before_the_answer_has_the_status_it_was_answered_with(self) -> None:
        session = Recording(S.INCOMING)
        session.feed(HangUp(WHY, 480))
        assert session.reason is not None
        self.assertEqual((session.reason.status, session.reason.text), (480, "why"))
        after = Recording(S.CONFIRMED)
        after.feed(HangUp(WHY, 480))
        self.assertIs(after.reason, WHY)

    def test_an_unanswered_bye_is_said(self) -> None:
        session = Recording(S.CONFIRMED)
        session.feed(HangUp(WHY))
        session.feed(ByeUnanswered("the BYE was not answered"))
        assert session.reason is not None
        self.assertEqual(session.reason.text, "why; the BYE was not answered")

    def test_answered(self) -> None:
        """Only what the application was told of: not a 200 that crossed our CANCEL."""
        for state, kind in SESSION.cells:
            session = Recording(state)
            session.reason = WHY if state is S.ENDING else None
            session.feed(GIVEN[kind])
            self.assertIs(session.answered, session.state is S.ANSWERED is not state, (state, kind))

    def test_over(self) -> None:
        self.assertTrue(Recording(S.ENDED).over)
        self.assertFalse(Recording(S.ENDING).over)


class WalkTests(SynchronousTestCase):
    @settings(max_examples=300)
    @given(st.lists(st.sampled_from(COLUMNS), max_size=30))
    def test_every_call_ends_once_and_says_each_thing_once(self, kinds: list[type]) -> None:
        session = Recording()
        for kind in kinds:
            if (session.state, kind) in SESSION.cells:
                session.feed(GIVEN[kind])
        session.feed(GIVEN[GiveUp])
        self.assertIs(session.state, S.ENDED)
        asked = [short(effect) for effect in session.asked]
        self.assertEqual(asked.count("end"), 1)
        self.assertEqual(asked[-1], "end")
        self.assertEqual(len(set(asked)), len(asked))
        self.assertIsNotNone(session.reason)
        # One INVITE is answered, refused or withdrawn; what was answered is ended by BYE.
        refused = {"603", "486", "487"} & set(asked)
        self.assertLessEqual(len(refused), 1)
        self.assertFalse(refused and {"bye", "cancel"} & set(asked))
        self.assertFalse(refused and session.answered)
