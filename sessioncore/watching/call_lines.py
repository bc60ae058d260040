"""One line per call, at its end: who called whom, how long, with which media, and why it ended.

Only the last event of a call is needed for it; all else is read from the `Call` afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from sessioncore.events import CallEnded, CallFailed, Event
from sessioncore.verdict import Verdict
from sessioncore.vocabulary import SessionRole
from sessioncore.watching.event_log import printable, quoted

if TYPE_CHECKING:
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
    return parties if call.negotiated_media is None else parties + _media(call.verdict)


def _short(uri: str) -> str:
    return printable(uri if len(uri) <= LONGEST_URI else uri[: LONGEST_URI - 3] + "...")


def _media(verdict: Verdict) -> str:
    """How long media ran, and what went which way."""
    evidence = verdict.evidence
    due, came = evidence.due
    jitter = "none" if evidence.jitter is None else f"{1000 * evidence.jitter:.1f} ms"
    media = str(verdict.judgement)
    if verdict.causes:
        media += f"; {verdict.causes[0].text}"
    return (
        f", Duration: {evidence.agreed_for or 0.0:.1f} s, Media: {quoted(media)},"
        f" Sent: {evidence.sent}, Received: {evidence.received}, Lost: {max(0, due - came)},"
        f" Jitter: {jitter}"
    )
