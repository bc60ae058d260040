"""One call on the board: who, its ladder, its numbers second by second, and its verdict."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sessioncore.events import CallAnswered, CallEnded, CallFailed, Event, VerdictChanged
from sessioncore.verdict import Finding, Judgement, Verdict
from sessioncore.vocabulary import MILLISECOND, SECOND, SessionRole, host_port
from sessioncore.watching.ladder import Ladder
from sessioncore.watching.messages import Message

if TYPE_CHECKING:
    from sessioncore.session.call import Call
    from sessioncore.vocabulary import Address

__all__ = ["FollowedCall", "encode", "safe"]

MOST_SAMPLES: Final = 60
"""Seconds of numbers that are kept."""
LONGEST: Final = 120
"""Characters of a name or URI."""
_SAID: Final = {
    Judgement.NOT_YET: "Too early to say anything about the audio.",
    Judgement.NOT_ANSWERED: "Not answered.",
    Judgement.TWO_WAY: "Audio arrives in both directions.",
    Judgement.UNCONFIRMED: "Audio arrives here; the peer does not report whether ours arrives.",
    Judgement.ONE_WAY: "Audio runs in the one direction that was agreed.",
    Judgement.HELD: "One side has put the other on hold.",
    Judgement.NO_MEDIA: "Audio arrives in neither direction.",
    Judgement.NO_RX: "Nothing of the peer's audio arrives here.",
    Judgement.NO_TX: "Nothing of our audio arrives at the peer.",
    Judgement.RX_LOSS: "Too little of the peer's audio arrives here.",
    Judgement.TX_LOSS: "Too little of our audio arrives at the peer.",
    Judgement.RX_SILENCE: "The peer sends nothing but silence.",
    Judgement.TX_SILENCE: "We send nothing but silence.",
    Judgement.RX_WRONG_PAYLOAD_TYPE: "What arrives here is in formats that were not agreed on.",
    Judgement.RX_WRONG_SOURCE: "What arrives here comes from sources that may not be heard.",
}
"""Each judgement in a sentence."""
encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_HEALTHY: Final = frozenset((Judgement.TWO_WAY, Judgement.ONE_WAY, Judgement.HELD))


class FollowedCall:
    """What the board knows of one call; ``call`` is None if it was refused at once.

    `about` is what seldom changes, `numbers` what changes every second; ``changed`` says whether
    `about` is another one than when that was last set to False.
    """

    def __init__(self, event: Event, call: Call | None) -> None:
        self.session: Final = event.session
        self.call_id: Final = event.call_id
        self.role: Final = event.role
        self.begun: Final = event.at
        self.answered: int | None = None
        self.ended: int | None = None
        self.ladder: Final = Ladder()
        self.changed = True
        self.faulty = False
        self._call = call
        self._verdict = None if call is None else call.verdict
        self._reason = ""
        self._failed = False
        self._samples: deque[str] = deque(maxlen=MOST_SAMPLES)
        self._numbers = "{}"
        self._about: str | None = None
        self._receiving = _Loss()
        self._sending = _Loss()
        self._counts = (0, 0)
        self._sampled_at = event.at
        self._media: dict[str, Any] | None = None
        self._local, self._remote = _parties(event, call)
        if self._verdict is not None and self._verdict.evidence.answered:
            self.answered = event.at  # or before: it is followed from now on only

    # --- what happens

    def message(self, message: Message) -> None:
        """Take one of its messages."""
        self.ladder.message(message)
        self._changes()

    def event(self, event: Event) -> None:
        """Take one of its events."""
        self.ladder.event(event)
        self._changes()
        if isinstance(event, CallAnswered):
            self.answered = event.at
        elif isinstance(event, VerdictChanged):
            self._judged(event.verdict)
        elif isinstance(event, CallEnded | CallFailed):
            self._over(event)

    def _over(self, event: CallEnded | CallFailed) -> None:
        self.ended, self._reason = event.at, safe(str(event.reason))
        self._failed = isinstance(event, CallFailed)
        if self._call is not None:
            self.sample(event.at)
            self._judged(self._call.verdict)
            self._call = None  # its leg and its stream need not stay

    def _judged(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self.faulty = verdict.faulty
        self._changes()

    def _changes(self) -> None:
        self.changed, self._about = True, None

    def sample(self, now: int) -> None:
        """Read its numbers; to be called about once a second while it goes on."""
        call = self._call
        statistics = None if call is None else call.statistics
        if call is None or statistics is None:
            return
        seconds = (now - self._sampled_at) / SECOND
        if seconds <= 0:
            return
        verdict = call.verdict
        evidence = verdict.evidence
        if evidence.agreed_for is None:
            return
        received, sent = statistics.packets_received, statistics.packets_sent
        were_received, were_sent = self._counts
        self._counts, self._sampled_at = (received, sent), now
        due, came = evidence.due
        sample = [
            [
                round(max(0, received - were_received) / seconds, 1),
                self._receiving.now(due, due - came),
                _rounded(statistics.jitter_ms),
                statistics.heard_dbov,
            ],
            [
                round(max(0, sent - were_sent) / seconds, 1),
                self._sending.now(evidence.confirmed, evidence.remote_lost),
                _rounded(statistics.remote_jitter_ms),
                statistics.sent_dbov,
            ],
        ]
        # Encoded once: a snapshot of many calls is made of many samples.
        self._samples.append(encode(sample))
        self._numbers = encode(_numbers(verdict, *sample))
        if self._verdict is None or _differs(verdict, self._verdict):
            self._judged(verdict)
        self._verdict = verdict

    # --- what is shown

    @property
    def state(self) -> str:
        """One word: ``calling``, ``good``, ``plain``, ``fault``, ``ended`` or ``failed``."""
        if self._failed:
            return "failed"
        if self.faulty:
            return "fault"
        if self.ended is not None:
            return "ended"
        if self.answered is None:
            return "calling"
        judgement = None if self._verdict is None else self._verdict.judgement
        return "good" if judgement in _HEALTHY else "plain"

    def about(self, wall: Callable[[int], int]) -> str:
        """All but the numbers, as JSON; ``wall`` turns monotonic ns into ns since 1970."""
        if self._about is None:
            self._about = encode(self._described(wall))
        return self._about

    def _described(self, wall: Callable[[int], int]) -> dict[str, Any]:
        caller, callee = self._local, self._remote
        if self.role is SessionRole.UAS:
            caller, callee = callee, caller
        self._media = self._media_of(self._call)
        return {
            "session": self.session,
            "call_id": safe(self.call_id),
            "role": self.role.value,
            "state": self.state,
            "from": caller,
            "to": callee,
            "begun": wall(self.begun) / SECOND,
            "answered": _seconds(self.begun, self.answered),
            "ended": _seconds(self.begun, self.ended),
            "reason": self._reason,
            "media": self._media,
            "verdict": _shown(self._verdict),
            "ladder": self._ladder(),
        }

    def _media_of(self, call: Call | None) -> dict[str, Any] | None:
        """What was agreed, kept beyond the end of the call."""
        agreed = None if call is None else call.negotiated_media
        if call is None or agreed is None:
            return self._media
        return {
            "codec": str(agreed.audio.codec),
            "direction": str(agreed.audio.direction),
            "ptime": agreed.audio.ptime,
            "state": str(call.media_state),
            "local": _address(call.local_rtp),
            "remote": _address(call.remote_rtp),
        }

    def _ladder(self) -> dict[str, Any]:
        ladder = self.ladder
        return {
            "own": "" if ladder.own is None else host_port(*ladder.own),
            "peers": [host_port(*peer) for peer in ladder.peers],
            "left_out": ladder.left_out,
            "steps": [
                [
                    round((step.at - self.begun) / MILLISECOND),
                    step.kind.value,
                    step.text,
                    step.peer,
                    step.times,
                    step.data is not None,
                ]
                for step in ladder.steps
            ],
        }

    def numbers(self) -> str:
        """The latest numbers as JSON: what happens each second, and what happened in all."""
        return self._numbers

    def full(self, wall: Callable[[int], int]) -> str:
        """Everything as JSON: `about`, `numbers`, and the samples so far.

        A sample has what was received and what was sent, each as packets/s, loss, jitter, level.
        """
        parts = [self.about(wall)[:-1]]
        if len(self._numbers) > 2:
            parts.append(self._numbers[1:-1])
        return f'{",".join(parts)},"series":[{",".join(self._samples)}]}}'


class _Loss:
    """The share that was lost since the last look, from counters of what was due and was lost."""

    def __init__(self) -> None:
        self._due = self._lost = 0
        self._last: float | None = None

    def now(self, due: int, lost: int) -> float | None:
        """The share, 0 to 1; the last known one while nothing new was due, None before any."""
        new_due, new_lost = due - self._due, lost - self._lost
        if new_due < 0:  # another count, or another source
            self._due, self._lost = due, lost
        elif new_due > 0:
            self._due, self._lost = due, lost
            self._last = round(min(1.0, max(0.0, new_lost / new_due)), 4)
        return self._last


def _numbers(
    verdict: Verdict, received: list[float | None], sent: list[float | None]
) -> dict[str, Any]:
    evidence = verdict.evidence
    due, came = evidence.due
    return {
        "received": received,
        "sent": sent,
        "findings": [safe_long(verdict.receiving.text), safe_long(verdict.sending.text)],
        "totals": [evidence.received, due - came, evidence.sent, evidence.remote_lost],
        "round_trip": None if evidence.round_trip is None else 1000 * evidence.round_trip,
    }


def safe(text: str) -> str:
    """``text`` for a page: without control characters, those of writing direction included."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return "".join([each if each.isprintable() else "\ufffd" for each in cut])


def _parties(event: Event, call: Call | None) -> tuple[dict[str, str], dict[str, str]]:
    """Name and URI of us and of the peer."""
    local = getattr(event, "local_uri", "") if call is None else call.local_uri
    remote = getattr(event, "remote_uri", "") if call is None else call.remote_uri
    name = "" if call is None else call.remote_display_name
    return {"name": "", "uri": safe(local)}, {"name": safe(name), "uri": safe(remote)}


def _differs(verdict: Verdict, before: Verdict) -> bool:
    return (verdict.judgement, verdict.faulty, verdict.cause and verdict.cause.name) != (
        before.judgement,
        before.faulty,
        before.cause and before.cause.name,
    )


def _shown(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    cause = verdict.cause
    shows_cause = cause is not None and (verdict.faulty or verdict.judgement not in _HEALTHY)
    return {
        "judgement": verdict.judgement.value,
        "text": _SAID[verdict.judgement],
        "faulty": verdict.faulty,
        "receiving": _finding(verdict.receiving),
        "sending": _finding(verdict.sending),
        "cause": safe_long(cause.text) if cause is not None and shows_cause else None,
        "remedy": safe_long(cause.remedy) if cause is not None and shows_cause else None,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {"proof": finding.proof.value, "text": safe_long(finding.text)}


def safe_long(text: str) -> str:
    """As `safe`, for one of our sentences, in which a peer chose a word or two."""
    return "".join([each if each.isprintable() else "\ufffd" for each in text[:500]])


def _address(address: Address | None) -> str | None:
    return None if address is None else host_port(*address)


def _seconds(begin: int, at: int | None) -> float | None:
    return None if at is None else round((at - begin) / SECOND, 3)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
