"""What is kept of one call for its dossier, and which messages are whose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import define, field

from sessioncore.events import (
    CallEnded,
    CallFailed,
    Event,
    IncomingCall,
    OutgoingCallPrepared,
    VerdictChanged,
)
from sessioncore.verdict import Evidence, Judgement, Verdict, judge
from sessioncore.vocabulary import NegotiatedMedia, SessionRole
from sessioncore.watching.ends import Ends
from sessioncore.watching.messages import Message

if TYPE_CHECKING:
    from sessioncore.session.call import Call

__all__ = ["FAULTLESS", "Account", "Begin", "begins_a_call", "invited", "owner"]

Begin: TypeAlias = IncomingCall | OutgoingCallPrepared
"""The first event of a call."""
MOST_MESSAGES: Final = 200
MOST_EVENTS: Final = 100
MOST_VERDICTS: Final = 32
"""Of each call; the first half and the last half are kept."""
ROOM: Final = 128 << 10
"""Bytes of messages that are kept of one call."""
_TAG: Final = rb"[ \t]*+:[^\r\n]*;[ \t]*+tag[ \t]*+=[ \t]*+([^\s;,>]++)"
_FROM_TAG: Final = re.compile(rb"\n(?:from|f)" + _TAG, re.IGNORECASE)
_TO_TAG: Final = re.compile(rb"\n(?:to|t)" + _TAG, re.IGNORECASE)
FAULTLESS: Final = frozenset(
    (
        Judgement.NOT_YET,
        Judgement.TWO_WAY,
        Judgement.UNCONFIRMED,
        Judgement.ONE_WAY,
        Judgement.HELD,
    )
)
"""Judgements that make no call faulty."""


@define(eq=False)
class Account:
    """What was seen of one call so far; times in ns."""

    begin: Begin
    call: Call | None
    """None if the manager did not know it."""
    started: int
    messages: Ends[Message] = field(factory=lambda: Ends(MOST_MESSAGES, ROOM))
    events: Ends[Event] = field(factory=lambda: Ends(MOST_EVENTS, MOST_EVENTS))
    verdicts: Ends[VerdictChanged] = field(factory=lambda: Ends(MOST_VERDICTS, MOST_VERDICTS))
    refused: int = 0
    """Messages that were not kept, because all calls together hold too much."""
    caller_tag: bytes | None = None
    """The From tag of the INVITE, which tells its two sides apart."""
    answered: int | None = None
    end: CallEnded | CallFailed | None = None
    media: NegotiatedMedia | None = None
    faulty: bool = False

    @property
    def verdict(self) -> Verdict:
        """The verdict as it is now."""
        if self.call is None:
            return judge(Evidence(over=self.end is not None))
        return self.call.verdict

    def judge(self) -> None:
        """Look once more whether its audio is faulty."""
        self.faulty = self.faulty or self.verdict.judgement not in FAULTLESS


def begins_a_call(data: bytes) -> bool:
    """Whether it is an INVITE outside a dialog."""
    return data.startswith(b"INVITE ") and _tag(_TO_TAG, data) is None


def invited(accounts: Sequence[Account], message: Message) -> Account | None:
    """Whose INVITE outside a dialog that is; None if it belongs to none of these calls."""
    tag = _tag(_FROM_TAG, message.data)
    role = SessionRole.UAC if message.sent else SessionRole.UAS
    for account in accounts:
        if account.begin.role is role:
            if account.caller_tag is None:
                account.caller_tag = tag
            if account.caller_tag == tag:
                return account
    return None


def _tag(pattern: re.Pattern[bytes], data: bytes) -> bytes | None:
    end = data.find(b"\r\n\r\n")
    found = pattern.search(data, 0, len(data) if end < 0 else end)
    return None if found is None else found[1]


def owner(accounts: Sequence[Account], message: Message) -> Account | None:
    """Which of the calls with its Call-ID a message belongs to.

    Two legs of this process may have the same one, if it calls itself.  Who sent a message is
    known from its tags: a request carries its sender's in From, and its response copies that.
    """
    if len(accounts) == 1:
        return accounts[0]
    data = message.data
    sender, other = _tag(_FROM_TAG, data), _tag(_TO_TAG, data)
    is_request = not data.startswith(b"SIP/2.0 ")
    for account in accounts:
        tag = account.caller_tag
        if tag is None or tag not in (sender, other):
            continue
        caller_sends = (sender == tag) is is_request
        role = SessionRole.UAC if message.sent is caller_sends else SessionRole.UAS
        if account.begin.role is role:
            return account
    return None
