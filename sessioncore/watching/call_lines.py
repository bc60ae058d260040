"""One line per call, at its end: who called whom, how long, with which media, and why it ended.

Only the last event of a call is needed for it; all else is read from the `Call` afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from sessioncore.events import CallEnded, CallFailed, Event
from sessioncore.vocabulary import SECOND, NegotiatedMedia, SessionRole
from sessioncore.watching.event_log import printable, quoted

if TYPE_CHECKING:
    from sessioncore.media.statistics import StreamStatistics
    from sessioncore.session.call import Call

__all__ = ["CallLines"]

LONGEST_URI: Final = 64
"""Characters of a URI that are shown."""


class CallLines:
    """Makes the line of each call from its last event.

    A call that was never watched, because it was refused before anybody was asked about it,
    has only what the event says.
    """

    kinds: Final = (CallEnded, CallFailed)
    """The events that make a line."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}

    def watch(self, call: Call) -> None:
        """Say what becomes of ``call`` in the line at its end."""
        self._calls[call.session] = call

    def lines(self, events: Iterable[Event]) -> str:
        """The line for each of these last events."""
        return "".join([self._line(event) for event in events])

    def _line(self, event: Any) -> str:
        call = self._calls.pop(event.session, None)
        begin = _BEGIN[event.__class__, event.role]
        about = "" if call is None else _about(call, event)
        return (
            f"{begin}{about}, Session: {event.session}, Call-ID: {printable(event.call_id)},"
            f" Reason: {quoted(str(event.reason))}\n"
        )


_BEGIN: Final = {
    (kind, role): f"[{role}] Call: {outcome}"
    for kind, outcome in ((CallEnded, "answered"), (CallFailed, "failed"))
    for role in SessionRole
}


def _about(call: Call, event: Event) -> str:
    """What only the call itself knows."""
    caller, callee = call.local_uri, call.remote_uri
    if event.role is SessionRole.UAS:
        caller, callee = callee, caller
    parties = f", From: {_short(caller)}, To: {_short(callee)}"
    agreed = call.negotiated_media
    seen = None if agreed is None else call.statistics
    if agreed is None or seen is None:
        return parties
    return parties + _media(agreed, seen, event.at)


def _short(uri: str) -> str:
    return printable(uri if len(uri) <= LONGEST_URI else uri[: LONGEST_URI - 3] + "...")


def _media(agreed: NegotiatedMedia, seen: StreamStatistics, ended: int) -> str:
    """How long media ran, and what went which way."""
    since = seen.first_sent_at
    if since is None or (seen.first_received_at is not None and seen.first_received_at < since):
        since = seen.first_received_at
    lasted = 0.0 if since is None else (ended - since) / SECOND
    jitter = "none" if seen.jitter_ms is None else f"{seen.jitter_ms:.1f} ms"
    return (
        f", Duration: {lasted:.1f} s, Media: {quoted(_ways(agreed, seen))},"
        f" Sent: {seen.packets_sent}, Received: {seen.packets_received}, Lost: {seen.lost},"
        f" Jitter: {jitter}"
    )


def _ways(agreed: NegotiatedMedia, seen: StreamStatistics) -> str:
    """In which directions media went, and where one is missing, why."""
    if seen.packets_sent and seen.packets_received:
        return f"both ways; {seen.why_silent}" if seen.stalled else "both ways"
    audio = agreed.audio
    if seen.packets_received:
        return f"received only{'' if audio.sends else f'; agreed on {audio.direction}'}"
    ways = "sent only" if seen.packets_sent else "none"
    return f"{ways}; {seen.why_silent if audio.receives else f'agreed on {audio.direction}'}"
