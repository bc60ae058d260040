"""One leg of a call: the INVITE session as one table for both roles.

Pure: the table returns effects (`SendBye`, `RefuseInvite`, `Finish`, ...), and
`sessioncore.session.ending` carries them out.
"""

from __future__ import annotations

from enum import Enum

from attrs import define, evolve

from sessioncore.table import Machine, Table, ignore, impossible, on
from sessioncore.vocabulary import EndReason, SessionRole

__all__ = [
    "SESSION",
    "AckMissing",
    "AckRead",
    "AckWritten",
    "AnswerWritten",
    "ByeAnswered",
    "ByeRead",
    "ByeUnanswered",
    "CancelRead",
    "CloseMedia",
    "FailureRead",
    "Finish",
    "GiveUp",
    "HangUp",
    "InviteRead",
    "InviteWritten",
    "ProvisionalRead",
    "RangOut",
    "Refuse",
    "RefuseInvite",
    "SendBye",
    "SendCancel",
    "Session",
    "SessionState",
    "StopMedia",
    "SuccessRead",
]


class SessionState(Enum):
    """The state of a leg; the same states for caller and callee."""

    PREPARED = "Prepared"
    CALLING = "Calling"
    PROCEEDING = "Proceeding"
    INCOMING = "Incoming"
    ANSWERED = "Answered"
    CONFIRMED = "Confirmed"
    CANCELLING = "Cancelling"
    LEAVING = "Leaving"
    ENDING = "Ending"
    ENDED = "Ended"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


# Inputs.  Those with a reason end the leg; the first reason is kept.  Those without data have
# no __init__, so that making them costs no Python call.


@define(eq=False, init=False)
class InviteWritten:
    """UAC: the INVITE was sent."""


@define(eq=False, init=False)
class InviteRead:
    """UAS: an INVITE arrived that can be served."""


@define(eq=False, init=False)
class ProvisionalRead:
    """UAC: a 1xx arrived."""


@define(eq=False, init=False)
class SuccessRead:
    """UAC: the first 2xx arrived."""


@define(eq=False)
class FailureRead:
    """UAC: a final response other than 2xx arrived."""

    reason: EndReason


@define(eq=False, init=False)
class AnswerWritten:
    """UAS: the first 2xx was sent."""


@define(eq=False, init=False)
class AckWritten:
    """UAC: the ACK of the 2xx was sent."""


@define(eq=False, init=False)
class AckRead:
    """UAS: the ACK of the 2xx arrived."""


@define(eq=False)
class AckMissing:
    """UAS: 64*T1 passed without an ACK (RFC 3261 section 13.3.1.4)."""

    reason: EndReason


@define(eq=False)
class HangUp:
    """This side wants the call to end; ``status`` answers an INVITE still unanswered."""

    reason: EndReason
    status: int = 603


@define(eq=False)
class RangOut:
    """UAC: nobody answered within the ring limit."""

    reason: EndReason


@define(eq=False)
class Refuse:
    """UAS: the application refuses or redirects; ``headers`` go into the response."""

    reason: EndReason
    status: int
    phrase: bytes | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


@define(eq=False)
class CancelRead:
    """UAS: a CANCEL for the unanswered INVITE arrived."""

    reason: EndReason


@define(eq=False)
class ByeRead:
    """The peer ended the dialog."""

    reason: EndReason


@define(eq=False, init=False)
class ByeAnswered:
    """Our BYE got a final response."""


@define(eq=False)
class ByeUnanswered:
    """Our BYE got no response or could not be sent; ``what`` says which, as a text."""

    what: str


@define(eq=False)
class GiveUp:
    """The leg ends without another message: timeout, transport failure, forced stop."""

    reason: EndReason


# Effects.


@define(eq=False, init=False)
class SendCancel:
    """Cancel the INVITE; the transaction layer waits for a 1xx first (section 9.1)."""


@define(eq=False, init=False)
class SendBye:
    """End the dialog."""


@define(eq=False)
class RefuseInvite:
    """Answer the INVITE with a final response other than 2xx."""

    status: int
    phrase: bytes | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


@define(eq=False, init=False)
class StopMedia:
    """Send no more RTP, and begin none (RFC 3261 section 15.1.1)."""


@define(eq=False, init=False)
class CloseMedia:
    """Our BYE or CANCEL is sent: the media is over, and the leg no longer counts as a call."""


@define(eq=False, init=False)
class Finish:
    """The leg is over: close its media, announce the end."""


_STOP_MEDIA = (StopMedia(),)
_SEND_CANCEL = (CloseMedia(), SendCancel())
_SEND_BYE = (CloseMedia(), SendBye())
_FINISH = (Finish(),)
_WITHDRAW = (SendCancel(), Finish())


def _keep_reason(session: Session, given: _Ending) -> None:
    if session.reason is None:
        session.reason = given.reason


_Ending = FailureRead | AckMissing | HangUp | RangOut | Refuse | CancelRead | ByeRead | GiveUp


def _finish(session: Session, given: _Ending) -> tuple[object, ...]:
    _keep_reason(session, given)
    return _FINISH


def _finished(session: Session, given: object) -> tuple[object, ...]:
    return _FINISH


def _cancel(session: Session, given: HangUp) -> tuple[object, ...]:
    _keep_reason(session, given)
    return _SEND_CANCEL


def _silence(session: Session, given: _Ending) -> tuple[object, ...]:
    _keep_reason(session, given)
    return _STOP_MEDIA


def _withdraw(session: Session, given: ByeRead | RangOut) -> tuple[object, ...]:
    _keep_reason(session, given)
    return _WITHDRAW


def _bye(session: Session, given: _Ending) -> tuple[object, ...]:
    _keep_reason(session, given)
    return _SEND_BYE


def _bye_at_last(session: Session, given: object) -> tuple[object, ...]:
    return _SEND_BYE


def _unanswered(session: Session, given: ByeUnanswered) -> tuple[object, ...]:
    if session.reason is not None:
        session.reason = evolve(session.reason, text=f"{session.reason.text}; {given.what}")
    return _FINISH


def _answered(session: Session, given: object) -> tuple[object, ...]:
    session.answered = True
    return ()


def _refuse(session: Session, given: Refuse) -> tuple[object, ...]:
    _keep_reason(session, given)
    return (RefuseInvite(given.status, given.phrase, given.headers), Finish())


def _decline(session: Session, given: HangUp) -> tuple[object, ...]:
    if session.reason is None:
        session.reason = evolve(given.reason, status=given.status)
    return (RefuseInvite(given.status), Finish())


def _terminate_request(session: Session, given: CancelRead | ByeRead) -> tuple[object, ...]:
    # 487 for a CANCEL (RFC 3261 section 9.2) and for a BYE before the answer (15.1.2).
    _keep_reason(session, given)
    return (RefuseInvite(487), Finish())


_S = SessionState
_UAC_BEFORE_ANSWER = (_S.CALLING, _S.PROCEEDING)
_OPEN = (_S.ANSWERED, _S.CONFIRMED, _S.LEAVING, _S.ENDING)
_GOING = frozenset((_S.CANCELLING, _S.LEAVING, _S.ENDING, _S.ENDED))
_ANY_BUT_ENDED = tuple(state for state in SessionState if state is not _S.ENDED)
_ROLE = "the role of the leg rules it out"
_LATE = "the leg is over; the transaction layer answers late messages"

SESSION = Table(
    "session",
    states=SessionState,
    inputs=[
        InviteWritten,
        InviteRead,
        ProvisionalRead,
        SuccessRead,
        FailureRead,
        AnswerWritten,
        AckWritten,
        AckRead,
        AckMissing,
        HangUp,
        RangOut,
        Refuse,
        CancelRead,
        ByeRead,
        ByeAnswered,
        ByeUnanswered,
        GiveUp,
    ],
    initial=_S.PREPARED,
    final=[_S.ENDED],
    rows=[
        # --- both roles: how a leg begins
        on(_S.PREPARED, InviteWritten, _S.CALLING),
        on(_S.PREPARED, InviteRead, _S.INCOMING),
        impossible(
            tuple(s for s in SessionState if s is not _S.PREPARED),
            InviteWritten,
            InviteRead,
            because="a leg has one INVITE; a re-INVITE belongs to its dialog",
        ),
        on(_S.PREPARED, HangUp, _S.ENDED, _finish),
        # --- UAC, before the answer
        on(_UAC_BEFORE_ANSWER, ProvisionalRead, _S.PROCEEDING),
        on(_UAC_BEFORE_ANSWER, SuccessRead, _S.ANSWERED, _answered),
        on(_UAC_BEFORE_ANSWER, FailureRead, _S.ENDED, _finish),
        on(_UAC_BEFORE_ANSWER, HangUp, _S.CANCELLING, _cancel),
        on(_S.PREPARED, RangOut, _S.ENDED, _finish),
        on(
            _UAC_BEFORE_ANSWER,
            RangOut,
            _S.ENDED,
            _withdraw,
            "only the transaction waits for the peer: to send its CANCEL, or for the answer to it",
        ),
        on(_S.CANCELLING, RangOut, _S.ENDED, _finish, "the CANCEL is not answered"),
        impossible(
            tuple(
                s
                for s in SessionState
                if s not in (_S.PREPARED, *_UAC_BEFORE_ANSWER, _S.CANCELLING)
            ),
            RangOut,
            because="the ring limit holds while a UAC waits for its answer",
        ),
        ignore(_S.CANCELLING, ProvisionalRead, because="the CANCEL is under way"),
        on(_S.CANCELLING, SuccessRead, _S.LEAVING, None, "CANCEL crossed a 2xx: ACK, BYE"),
        on(_S.CANCELLING, FailureRead, _S.ENDED, _finish),
        ignore(_S.CANCELLING, HangUp, because="it is being hung up"),
        ignore(_OPEN, ProvisionalRead, FailureRead, because="another fork of an answered call"),
        ignore(_OPEN, SuccessRead, because="repeats and forks are settled per dialog"),
        impossible(
            (_S.PREPARED, _S.INCOMING), ProvisionalRead, SuccessRead, FailureRead, because=_ROLE
        ),
        # --- UAS, before the answer
        on(_S.INCOMING, AnswerWritten, _S.ANSWERED, _answered),
        on(_S.INCOMING, Refuse, _S.ENDED, _refuse),
        on(_S.INCOMING, HangUp, _S.ENDED, _decline),
        on(_S.INCOMING, CancelRead, _S.ENDED, _terminate_request),
        on(_S.INCOMING, ByeRead, _S.ENDED, _terminate_request),
        ignore(_OPEN, CancelRead, because="a CANCEL after the 2xx has no effect (section 9.2)"),
        impossible(
            (_S.PREPARED, *_UAC_BEFORE_ANSWER, _S.CANCELLING, *_OPEN),
            AnswerWritten,
            Refuse,
            because="only an unanswered incoming call is answered or refused",
        ),
        impossible((_S.PREPARED, *_UAC_BEFORE_ANSWER, _S.CANCELLING), CancelRead, because=_ROLE),
        # --- between 2xx and ACK; our BYE waits for the ACK or 64*T1 (section 15)
        on(_S.ANSWERED, AckWritten, _S.CONFIRMED),
        on(_S.ANSWERED, AckRead, _S.CONFIRMED),
        on(_S.ANSWERED, AckMissing, _S.ENDING, _bye),
        on(_S.ANSWERED, HangUp, _S.LEAVING, _silence),
        on(_S.ANSWERED, ByeRead, _S.ENDED, _finish),
        on(_S.LEAVING, AckWritten, _S.ENDING, _bye_at_last),
        on(_S.LEAVING, AckRead, _S.ENDING, _bye_at_last),
        on(_S.LEAVING, AckMissing, _S.ENDING, _bye_at_last),
        on(_S.LEAVING, ByeRead, _S.ENDED, _finish),
        ignore(_S.LEAVING, HangUp, because="it is being hung up"),
        # --- the confirmed dialog
        ignore((_S.CONFIRMED, _S.ENDING), AckWritten, AckRead, because="an ACK again"),
        on(_S.CONFIRMED, AckMissing, _S.ENDING, _bye, "no ACK to the 2xx of a re-INVITE"),
        on(_S.CONFIRMED, HangUp, _S.ENDING, _bye),
        on(_S.CONFIRMED, ByeRead, _S.ENDED, _finish),
        # --- our BYE was sent
        on(_S.ENDING, ByeAnswered, _S.ENDED, _finished),
        on(_S.ENDING, ByeUnanswered, _S.ENDED, _unanswered),
        ignore(_S.ENDING, HangUp, AckMissing, because="the BYE was sent"),
        ignore(_S.ENDING, ByeRead, because="BYEs crossed; ours is answered too"),
        impossible(
            tuple(s for s in _ANY_BUT_ENDED if s is not _S.ENDING),
            ByeAnswered,
            ByeUnanswered,
            because="we have not sent a BYE",
        ),
        impossible(
            (_S.PREPARED, *_UAC_BEFORE_ANSWER, _S.INCOMING, _S.CANCELLING),
            AckWritten,
            AckRead,
            AckMissing,
            because="there is no 2xx yet",
        ),
        impossible(_S.PREPARED, ByeRead, because="there is no dialog yet"),
        on(
            _UAC_BEFORE_ANSWER,
            ByeRead,
            _S.ENDED,
            _withdraw,
            "its last early dialog ended; the CANCEL is for proxies that still ring",
        ),
        on(_S.CANCELLING, ByeRead, _S.ENDED, _finish, "its last early dialog ended"),
        # --- the end
        on(_ANY_BUT_ENDED, GiveUp, _S.ENDED, _finish),
        ignore(
            _S.ENDED,
            ProvisionalRead,
            SuccessRead,
            FailureRead,
            AckWritten,
            AckRead,
            AckMissing,
            HangUp,
            CancelRead,
            ByeRead,
            ByeAnswered,
            ByeUnanswered,
            GiveUp,
            because=_LATE,
        ),
        impossible(_S.ENDED, AnswerWritten, Refuse, because="the leg is over"),
    ],
)


class Session(Machine):
    """One leg: its role, its ids, its state, and the reason of its end."""

    table = SESSION
    state: SessionState
    answered = False
    reason: EndReason | None = None

    def __init__(self, role: SessionRole, name: str, call_id: str) -> None:
        self.role = role
        self.name = name
        self.call_id = call_id

    @property
    def leaving(self) -> bool:
        """Whether the leg is over or ending: no media begins any more."""
        return self.state in _GOING

    @property
    def over(self) -> bool:
        """Whether the leg has ended."""
        return self.state is SessionState.ENDED
