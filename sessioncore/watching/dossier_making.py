"""Makes the dossier of a call from what was kept of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import asdict

from sessioncore.errors import SipParseError
from sessioncore.events import (
    CallHeld,
    CallResumed,
    EarlyMediaStarted,
    Event,
    IncomingCall,
    MediaActive,
    MediaFailed,
    MediaFlowEstablished,
    MediaNegotiated,
    MediaPathProblem,
    MediaStalled,
    VerdictChanged,
)
from sessioncore.session.bodies import description_in
from sessioncore.sip.message import parse_message
from sessioncore.vocabulary import SECOND, NegotiatedMedia, host_port
from sessioncore.watching.dossier import (
    SCHEMA,
    Dossier,
    EventEntry,
    MediaMilestone,
    SipEntry,
    VerdictEntry,
)
from sessioncore.watching.dossier_account import Account
from sessioncore.watching.event_log import plain_details
from sessioncore.watching.messages import Message
from sessioncore.watching.redaction import redacted
from sessioncore.watching.wall_clock import utc

if TYPE_CHECKING:
    from sessioncore.session.call import Call

__all__ = ["dossier_steps"]

MOST_CHANGES: Final = 40
"""Lines of what changed in a description that are shown."""
LONGEST: Final = 16 << 10
"""Bytes of a message that are shown."""
_SENDING: Final = frozenset(
    [
        *("packets_sent", "octets_sent", "held_back", "send_errors", "refused", "remote"),
        *("transmitting", "remote_lost", "remote_jitter_ms", "round_trip_ms"),
    ]
)
"""Which of `StreamStatistics` are about sending; the others are about receiving."""


def dossier_steps(account: Account, offset: int, program: str) -> Generator[None, None, Dossier]:
    """Makes the dossier in steps of about a millisecond, so that other things can happen between.

    ``offset`` (ns) makes wall time of the times of its call.
    """
    messages, verdicts = [], []
    for entry in _entries(account.messages, account.started):
        messages.append(entry)
        yield
    for event in account.verdicts:
        at = _seconds(event.at, account.started)
        verdicts.append(VerdictEntry(at, event.verdict.as_dict()))
        yield
    return _dossier(account, offset, program, tuple(messages), tuple(verdicts))


def _dossier(
    account: Account,
    offset: int,
    program: str,
    messages: tuple[SipEntry, ...],
    verdicts: tuple[VerdictEntry, ...],
) -> Dossier:
    call, begin, end = account.call, account.begin, account.end
    started, verdict = account.started, account.verdict

    def since(at: int | None) -> float | None:
        return None if at is None else round((at - started) / SECOND, 6)

    local = begin.local_uri if isinstance(begin, IncomingCall) else ""
    return Dossier(
        schema=SCHEMA,
        program=program,
        session=begin.session,
        call_id=begin.call_id,
        role=begin.role.value,
        local_uri=local if call is None else call.local_uri,
        remote_uri=begin.remote_uri,
        request_uri=None if call is None else call.request_uri,
        started=utc(started + offset),
        answered_at=since(account.answered),
        ended_at=None if end is None else since(end.at),
        faulty=account.faulty,
        end=None if end is None else asdict(end.reason) | {"by": end.reason.by.value},
        negotiated=None if account.media is None else _negotiated(account.media),
        verdict=verdict.as_dict(),
        verdicts=verdicts,
        verdicts_dropped=account.verdicts.dropped,
        statistics=_statistics(call),
        oddities=verdict.evidence.oddities,
        media=tuple(_milestones(account)),
        events=tuple(_events(account)),
        events_dropped=account.events.dropped,
        messages=messages,
        messages_dropped=account.messages.dropped + account.refused,
    )


def _seconds(at: int, started: int) -> float:
    return round((at - started) / SECOND, 6)


def _events(account: Account) -> Iterator[EventEntry]:
    """The events in order, with those of the verdicts, of which here is only the judgement."""
    for event in sorted([*account.events, *account.verdicts], key=lambda each: each.at):
        details = plain_details(event)
        if isinstance(event, VerdictChanged):
            details = {"judgement": event.verdict.judgement.value}
        yield EventEntry(
            _seconds(event.at, account.started), event.name, event.media_state.value, details
        )


def _negotiated(media: NegotiatedMedia) -> dict[str, Any]:
    audio = media.audio
    return {
        "codec": str(audio.codec),
        "fmtp": audio.codec.fmtp,
        "direction": str(audio.direction),
        "local": audio.local,
        "remote": audio.remote,
        "remote_rtcp": audio.remote_rtcp,
        "ptime": audio.ptime,
        "send_payload_type": audio.send_payload_type,
        "receive_payload_type": audio.receive_payload_type,
        "send_dtmf_payload_type": audio.send_dtmf_payload_type,
        "receive_dtmf_payload_type": audio.receive_dtmf_payload_type,
    }


def _statistics(call: Call | None) -> dict[str, dict[str, Any]] | None:
    counted = None if call is None else call.statistics
    if counted is None:
        return None
    found: dict[str, dict[str, Any]] = {"sending": {}, "receiving": {}}
    for name, value in asdict(counted).items():
        if not name.endswith("_at"):
            found["sending" if name in _SENDING else "receiving"][name] = value
    return found


_NAMES: Final[dict[type[Event], str]] = {
    EarlyMediaStarted: "early media",
    MediaActive: "active",
    CallHeld: "held",
    CallResumed: "resumed",
    MediaStalled: "stalled",
    MediaFailed: "failed",
    MediaPathProblem: "path problem",
}
_Step: TypeAlias = tuple[int, int, str, str]
"""When, its rank among those of the same moment, name and detail."""


def _milestones(account: Account) -> Iterator[MediaMilestone]:
    """The steps of the media, in order."""
    # By rank where they happened at one moment.
    steps = sorted([*_steps(account.events), *_counted_steps(account.call)])
    for at, _rank, name, detail in steps:
        yield MediaMilestone(_seconds(at, account.started), name, detail)


def _steps(events: Iterable[Event]) -> Iterator[_Step]:
    for event in events:
        kind: Any = event.__class__
        if isinstance(event, MediaNegotiated):
            yield event.at, 0, "negotiated", str(event.media)
        elif isinstance(event, MediaFlowEstablished):
            remote = "nowhere" if event.remote is None else host_port(*event.remote)
            yield event.at, 1, "established", f"{host_port(*event.local)} <-> {remote}"
        elif kind in _NAMES:
            yield event.at, 3, _NAMES[kind], getattr(event, "text", "")


def _counted_steps(call: Call | None) -> Iterator[_Step]:
    counted = None if call is None else call.statistics
    if counted is None:
        return
    remote = "" if counted.remote is None else host_port(*counted.remote)
    for at, name, detail in (
        (counted.first_sent_at, "first sent", ""),
        (counted.first_received_at, "first received", ""),
        (counted.latched_at, "latched", remote),
    ):
        if at is not None:
            yield at, 2, name, detail


def _entries(messages: Iterable[Message], started: int) -> Iterator[SipEntry]:
    """The messages as they are written."""
    seen: dict[tuple[bool, bytes], int] = {}
    before: dict[bool, list[str]] = {}
    for index, message in enumerate(messages):
        first = seen.setdefault((message.sent, message.data), index)
        clean = redacted(_beginning(message.data))
        text, encoding = _decoded(clean)
        problem, description = _read(clean)
        changes = None
        if description:
            lines = description.decode("utf-8", "replace").splitlines()
            if message.sent in before:
                changes = _changes(before[message.sent], lines)
            before[message.sent] = lines
        yield SipEntry(
            at=_seconds(message.at, started),
            sent=message.sent,
            transport=message.transport,
            source=message.source,
            destination=message.destination,
            octets=len(message.data),
            first_line=text.partition("\n")[0].rstrip("\r"),
            text=text if first == index else "",
            encoding=encoding,
            copy_of=None if first == index else first,
            problem=problem,
            description_changes=changes,
        )


def _beginning(data: bytes) -> bytes:
    """Whole lines of a message, up to a limit: a part of a line might not be known as secret."""
    return data if len(data) <= LONGEST else data[: data.rfind(b"\n", 0, LONGEST) + 1]


def _decoded(data: bytes) -> tuple[str, str]:
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def _read(data: bytes) -> tuple[str | None, bytes]:
    """What is wrong with a message, and its session description."""
    try:
        message = parse_message(data)
    except SipParseError as error:
        return str(error), b"" if error.request is None else description_in(error.request)
    return None, description_in(message)


def _changes(before: list[str], now: list[str]) -> tuple[str, ...]:
    """The lines that are gone, and those that are new; in order, as often as they count."""
    gone = Counter(before) - Counter(now)
    new = Counter(now) - Counter(before)
    changes = [*_marked("-", before, gone), *_marked("+", now, new)]
    more = len(changes) - MOST_CHANGES
    return (*changes[:MOST_CHANGES], f"... and {more} more") if more > 0 else tuple(changes)


def _marked(mark: str, lines: list[str], chosen: Counter[str]) -> Iterator[str]:
    for line in lines:
        if chosen[line] > 0:
            chosen[line] -= 1
            yield mark + line
