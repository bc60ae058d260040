"""Call detail records: one JSON line per call, at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import asdict, define, frozen
from zope.interface import implementer

from sessioncore.events import (
    CallAnswered,
    CallEnded,
    CallFailed,
    CallInitiated,
    CallRinging,
    IncomingCall,
    OutgoingCallPrepared,
)
from sessioncore.interfaces import IEventObserver
from sessioncore.verdict import Evidence, judge
from sessioncore.vocabulary import SECOND
from sessioncore.watching.event_log import json_text
from sessioncore.watching.wall_clock import WallClock, utc

if TYPE_CHECKING:
    from sessioncore.session.call import Call

__all__ = ["SCHEMA", "CallRecord", "CallRecords", "Ended", "record_lines"]

SCHEMA: Final = 1
"""Rises when the meaning of a field changes, or one goes; new fields alone do not raise it."""


@frozen(slots=False)
class CallRecord:
    """One call.  Times are UTC in ISO 8601; None is what did not happen, or is not known."""

    schema: int
    """The version of this list of fields."""
    session: str
    """Our own id of this leg, as in events."""
    call_id: str
    """The SIP Call-ID."""
    role: str
    """UAC if we placed the call, UAS if we were called."""
    local_uri: str
    """Our URI."""
    remote_uri: str
    """The peer's URI."""
    request_uri: str | None
    """UAS: the Request-URI of the INVITE."""
    started: str
    """When the INVITE was written or read; if it never left, when the call was prepared."""
    ringing: str | None
    """When it first rang (180, or 183 without a description)."""
    answered: str | None
    """When the 200 was written or read."""
    ended: str
    """When it was over."""
    setup_seconds: float | None
    """From the start to the answer."""
    ringing_seconds: float | None
    """From the first ringing to the answer or the end."""
    duration_seconds: float
    """From the answer to the end; 0 without an answer."""
    total_seconds: float
    """From the start to the end."""
    ended_by: str
    """Who or what ended it: local, remote, network, timeout, error."""
    status: int | None
    """The final SIP status of a call that was not answered."""
    q850_cause: int | None
    """The Q.850 cause, as of RFC 3326 and RFC 4497."""
    reason: str
    """Why it ended, for people."""
    judgement: str
    """The verdict on its audio in one word, as in `Judgement`."""
    receiving: str
    """What is known about receiving: proven, contradicted, unconfirmed or not allowed."""
    sending: str
    """The same about sending."""
    fault_cause: str | None
    """The most likely cause of a fault, by its name in `sessioncore.verdict.CAUSES`."""
    codec: str | None
    """The codec agreed on last, with its RTP clock rate."""
    direction: str | None
    """The direction agreed on last, as in SDP and seen from this side."""
    packets_sent: int
    packets_confirmed: int | None
    """Our packets that the peer reports as received."""
    packets_received: int
    packets_due: int
    """Packets that the peer sent, by their sequence numbers or its own count."""
    jitter_ms: float | None
    """Interarrival jitter of what was received (RFC 3550 section 6.4.1)."""


class Ended(NamedTuple):
    """A record and when it was made (ns), as an `EventLog` takes it."""

    at: int
    record: CallRecord


def record_lines(ended: Iterable[Ended]) -> str:
    """A JSON line for each."""
    return "".join([json_text(asdict(each.record)) for each in ended])


@define(eq=False)
class _Account:
    """What was seen of a call so far; times in ns."""

    call: Call | None
    local_uri: str
    remote_uri: str
    started: int
    ringing: int | None = None
    answered: int | None = None


@implementer(IEventObserver)
class CallRecords:
    """Follows the calls of a manager, and makes a record of each at its end.

    ``find_call`` is that of the manager, ``done`` is called with each record.
    """

    kinds: Final = (
        OutgoingCallPrepared,
        CallInitiated,
        IncomingCall,
        CallRinging,
        CallAnswered,
        CallEnded,
        CallFailed,
    )
    """The events it needs."""

    def __init__(
        self,
        find_call: Callable[[str], Call | None],
        clock: WallClock,
        done: Callable[[Ended], object],
    ) -> None:
        self._find_call = find_call
        self._clock = clock
        self._done = done
        self._accounts: dict[str, _Account] = {}

    def event(self, event: Any) -> None:
        """Take one event of any call, of these kinds or others."""
        kind, session = event.__class__, event.session
        if kind is IncomingCall or kind is OutgoingCallPrepared:
            call = self._find_call(session)
            local = getattr(event, "local_uri", "")
            self._accounts[session] = _Account(call, local, event.remote_uri, event.at)
            return
        account = self._accounts.get(session)
        if account is None:
            return
        if kind is CallInitiated:
            account.started = event.at
        elif kind is CallRinging:
            account.ringing = account.ringing or event.at
        elif kind is CallAnswered:
            account.answered = event.at
        elif kind is CallEnded or kind is CallFailed:
            del self._accounts[session]
            self._done(Ended(event.at, _record(account, event, self._clock)))


def _record(account: _Account, event: CallEnded | CallFailed, clock: WallClock) -> CallRecord:
    call, reason, ended = account.call, event.reason, event.at
    verdict = judge(Evidence(over=True)) if call is None else call.verdict
    agreed = None if call is None else call.negotiated_media
    evidence, cause = verdict.evidence, verdict.cause
    offset = clock.ns(0)

    def wall(at: int | None) -> str | None:
        return None if at is None else utc(at + offset)

    def between(begin: int | None, end: int | None) -> float | None:
        return None if begin is None or end is None else round((end - begin) / SECOND, 6)

    return CallRecord(
        schema=SCHEMA,
        session=event.session,
        call_id=event.call_id,
        role=event.role.value,
        local_uri=account.local_uri if call is None else call.local_uri,
        remote_uri=account.remote_uri,
        request_uri=None if call is None else call.request_uri,
        started=utc(account.started + offset),
        ringing=wall(account.ringing),
        answered=wall(account.answered),
        ended=utc(ended + offset),
        setup_seconds=between(account.started, account.answered),
        ringing_seconds=between(account.ringing, account.answered or ended),
        duration_seconds=between(account.answered, ended) or 0.0,
        total_seconds=between(account.started, ended) or 0.0,
        ended_by=reason.by.value,
        status=reason.status,
        q850_cause=reason.cause,
        reason=reason.text,
        judgement=verdict.judgement.value,
        receiving=verdict.receiving.proof.value,
        sending=verdict.sending.proof.value,
        fault_cause=None if cause is None else cause.name,
        codec=None if agreed is None else str(agreed.audio.codec),
        direction=None if agreed is None else str(agreed.audio.direction),
        packets_sent=evidence.sent,
        packets_confirmed=evidence.confirmed - max(0, evidence.remote_lost)
        if evidence.confirmed
        else None,
        packets_received=evidence.received,
        packets_due=evidence.due[0],
        jitter_ms=None if evidence.jitter is None else round(1000 * evidence.jitter, 3),
    )
