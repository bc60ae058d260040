"""The ladder of one call: its SIP messages between us and its peers, with what they brought about.

A `Ladder` is filled by a tap's messages and by events, and keeps a bounded part of them: how the
call began, and what came last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import partial
from typing import Any, Final

from attrs import define

from sessioncore import events
from sessioncore.vocabulary import MILLISECOND, SECOND, Address, host_port
from sessioncore.watching.dossier import Dossier, SipEntry
from sessioncore.watching.event_log import shown
from sessioncore.watching.messages import Message

__all__ = [
    "Kind",
    "Ladder",
    "Step",
    "ladder_of_dossier",
    "ladder_text",
    "own_and_peers",
    "summary",
]

MOST_STEPS: Final = 60
FIRST_STEPS: Final = 20
"""So many steps of the beginning stay; of the others the oldest go."""
MOST_PEERS: Final = 4
"""Addresses that get a line of their own; all further ones share the last."""
MOST_BYTES: Final = 64 << 10
"""Bytes of messages that are kept whole, so that they can be read."""
LONGEST_TEXT: Final = 80
_REQUEST: Final = re.compile(rb"([!-~]{1,32}) [^\r\n]* SIP/2\.0\r?$", re.MULTILINE)
_RESPONSE: Final = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2}) ?([^\r\n]{0,40})")
_CSEQ: Final = re.compile(rb"\ncseq[ \t]*+:[ \t]*+[0-9]+[ \t]++([!-~]{1,32})", re.IGNORECASE)
_HEADER_END: Final = re.compile(rb"\n\r?\n")


class Kind(Enum):
    """What a step of a ladder is."""

    RECEIVED = "received"
    SENT = "sent"
    GOOD = "good"
    """Something good that happened here."""
    BAD = "bad"
    PLAIN = "plain"
    """Something neither good nor bad that happened here."""

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


@define(eq=False)
class Step:
    """One line of a ladder: a message, or what happened here.

    ``at`` is in monotonic ns, ``peer`` the index of the address in `Ladder.peers`; ``data`` the
    message as it was on the wire, or None if it is not kept.  A message that is repeated is one
    step, with ``times`` above 1.  Without ``text`` it is the `summary` of ``data``.
    """

    at: int
    kind: Kind
    _text: str | None = None
    peer: int = 0
    data: bytes | None = None
    times: int = 1

    @property
    def text(self) -> str:
        """The step in a few words."""
        if self._text is None:
            # Not before somebody reads it: most are never read.
            self._text = summary(self.data or b"")
        return self._text

    @property
    def is_message(self) -> bool:
        """Whether it is a message between us and a peer."""
        return self.kind in (Kind.RECEIVED, Kind.SENT)


def summary(data: bytes) -> str:
    """A SIP message in a few words: ``INVITE +SDP``, ``200 OK (BYE)``; safe for every screen."""
    request = _REQUEST.match(data)
    if request is not None:
        text = request[1].decode("ascii")
    else:
        response = _RESPONSE.match(data)
        if response is None:
            return "not SIP"
        phrase = shown(response[2].decode("utf-8", "replace").strip())
        text = f"{response[1].decode('ascii')} {phrase}".strip()
        method = _CSEQ.search(data)
        if method is not None and method[1] != b"INVITE":
            text += f" ({method[1].decode('ascii')})"
    end = _HEADER_END.search(data)
    described = end is not None and data.find(b"\nv=0", end.start()) >= 0
    return text[:LONGEST_TEXT] + (" +SDP" if described else "")


class Ladder:
    """The steps of one call, the first ones and the last ones: ``most`` of them."""

    def __init__(self, most: int = MOST_STEPS) -> None:
        self._most = most
        self.own: Address | None = None
        """Our address."""
        self.peers: list[Address] = []
        self.steps: list[Step] = []
        self.left_out = 0
        """Steps that went for newer ones; they were after the first `FIRST_STEPS`."""
        self._kept = 0

    def message(self, message: Message) -> None:
        """Take one message."""
        own, peer = message.source, message.destination
        kind = Kind.SENT if message.sent else Kind.RECEIVED
        if not message.sent:
            own, peer = peer, own
        self.own = self.own or own
        if self._is_repeated(message.data, kind):
            return
        data = message.data
        keeps = self._kept + len(data) <= MOST_BYTES
        if keeps:
            self._kept += len(data)
        text = None if keeps else summary(data)
        self._add(Step(message.at, kind, text, self._peer(peer), data if keeps else None))

    def _is_repeated(self, data: bytes, kind: Kind) -> bool:
        """Whether it is the last message of that direction again; counts it if so."""
        for step in reversed(self.steps):
            if step.kind is kind:
                again = step.data == data
                step.times += again
                return again
        return False

    def _peer(self, address: Address) -> int:
        if address not in self.peers and len(self.peers) < MOST_PEERS:
            self.peers.append(address)
        return self.peers.index(address) if address in self.peers else MOST_PEERS - 1

    def event(self, event: events.Event) -> bool:
        """Take one event; returns whether it makes a step."""
        make = _NOTES.get(event.__class__)
        if make is None:
            return False
        self.note(event.at, *make(event))
        return True

    def note(self, at: int, kind: Kind, text: str) -> None:
        """Add what happened beside the messages; ``text`` may be anything."""
        self._add(Step(at, kind, shown(text)[:LONGEST_TEXT]))

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        if len(self.steps) > self._most:
            gone = self.steps.pop(FIRST_STEPS)
            self._kept -= len(gone.data or b"")
            self.left_out += 1


def _plain(text: str) -> Callable[[Any], tuple[Kind, str]]:
    return lambda _event: (Kind.PLAIN, text)


def _bad(text: str) -> Callable[[Any], tuple[Kind, str]]:
    return lambda event: (Kind.BAD, text.format(event=event))


def _verdict(event: events.VerdictChanged) -> tuple[Kind, str]:
    verdict = event.verdict
    text = f"verdict: {str(verdict.judgement).replace('_', ' ')}"
    if verdict.faulty:
        return Kind.BAD, text
    return (Kind.GOOD if verdict.proven else Kind.PLAIN), text


_NOTES: Final[dict[type[events.Event], Callable[[Any], tuple[Kind, str]]]] = {
    events.EarlyMediaStarted: _plain("early media"),
    events.AnswerChanged: _plain("the answer is another one now"),
    events.AnswerRepeated: _bad("the peer repeats its 200: our ACK does not arrive"),
    events.MediaActive: lambda _event: (Kind.GOOD, "media active"),
    events.MediaStalled: _bad("media stalled: {event.text}"),
    events.MediaPathProblem: _bad("{event.text}"),
    events.MediaFailed: _bad("{event.text}"),
    events.CallHeld: _plain("held"),
    events.CallResumed: _plain("resumed"),
    events.OfferRefused: _bad("offer refused with {event.status}"),
    events.OfferUnanswered: _bad("the ACK brought no answer"),
    events.DigitReceived: lambda event: (Kind.PLAIN, f"digit {event.digit}"),
    events.TransferRequested: lambda event: (Kind.PLAIN, f"transfer to {event.target}"),
    events.VerdictChanged: _verdict,
    events.CallFailed: _bad("failed: {event.reason}"),
    events.CallEnded: lambda event: (Kind.PLAIN, f"ended: {event.reason}"),
}
"""The events that a ladder shows, apart from what its messages show as well."""


_MILESTONES: Final = {
    "active": (Kind.GOOD, "media active"),
    "stalled": (Kind.BAD, "media stalled"),
    "path problem": (Kind.BAD, "path problem"),
    "failed": (Kind.BAD, "media failed"),
    "early media": (Kind.PLAIN, "early media"),
    "held": (Kind.PLAIN, "held"),
    "resumed": (Kind.PLAIN, "resumed"),
}
"""The steps of the media that a ladder shows, by their names in a dossier."""


def ladder_of_dossier(dossier: Dossier, most: int = MOST_STEPS) -> Ladder:
    """The ladder of the call in a dossier; its times begin at 0."""
    ladder = Ladder(most)
    happened: list[tuple[float, Callable[[], None]]] = []

    def note(at: float, kind: Kind, text: str) -> None:
        happened.append((at, lambda: ladder.note(round(at * SECOND), kind, text)))

    for entry in dossier.messages:
        message = _message_of(entry, dossier.messages)
        happened.append((entry.at, partial(ladder.message, message)))
    for step in dossier.media:
        if step.name in _MILESTONES:
            kind, text = _MILESTONES[step.name]
            note(step.at, kind, f"{text}: {step.detail}" if step.detail else text)
    for judged in dossier.verdicts:
        ways = (judged.verdict.get(way) or {} for way in ("receiving", "sending"))
        faulty = any(way.get("proof") == "contradicted" for way in ways)
        word = str(judged.verdict.get("judgement", "")).replace("_", " ")
        note(judged.at, Kind.BAD if faulty else Kind.PLAIN, f"verdict: {word}")
    if dossier.ended_at is not None:
        end = dossier.end or {}
        note(dossier.ended_at, Kind.PLAIN, f"ended: {end.get('by', '')}: {end.get('text', '')}")
    for _at, happen in sorted(happened, key=lambda each: each[0]):
        happen()
    return ladder


def _message_of(entry: SipEntry, entries: Sequence[SipEntry]) -> Message:
    if entry.copy_of is not None and 0 <= entry.copy_of < len(entries):
        data = _data_of(entries[entry.copy_of])
    else:
        data = _data_of(entry)
    source, destination = entry.source, entry.destination
    at = round(entry.at * SECOND)
    return Message(data, source, destination, entry.transport, entry.sent, at)


def _data_of(entry: SipEntry) -> bytes:
    try:
        return entry.data
    except (LookupError, UnicodeError):  # somebody changed the file
        return entry.first_line.encode("ascii", "backslashreplace")


def ladder_text(
    own: str, peers: Iterable[str], steps: Iterable[Step], left_out: int = 0, begin: int = 0
) -> str:
    """A ladder for a terminal: us at the left, one line per step, times in ms after ``begin``.

    With several peers, the name of the peer stands behind its messages.
    """
    named = [shown(name) for name in peers]
    several = len(named) > 1
    lines = [f"{'ms':>8}  {shown(own):<24} {'' if several else ''.join(named):>24}".rstrip()]
    for place, step in enumerate(steps):
        if place == FIRST_STEPS and left_out:
            lines.append(f"{'...':>8}  | {left_out} steps are left out")
        when = f"{(step.at - begin) / MILLISECOND:>8.0f}"
        if not step.is_message:
            mark = {Kind.GOOD: "+", Kind.BAD: "!"}.get(step.kind, "*")
            lines.append(f"{when}  {mark} {step.text}")
            continue
        text = f" {step.text} " if step.times == 1 else f" {step.text} x{step.times} "
        arrow = f"{text:-^44}>" if step.kind is Kind.SENT else f"<{text:-^44}"
        to = f"  {named[step.peer]}" if several else ""
        lines.append(f"{when}  |{arrow}|{to}")
    return "\n".join(lines) + "\n"


def own_and_peers(ladder: Ladder) -> tuple[str, list[str]]:
    """The names of both sides of a ladder, as `ladder_text` takes them."""
    own = "us" if ladder.own is None else host_port(*ladder.own)
    return own, [host_port(*peer) for peer in ladder.peers]
