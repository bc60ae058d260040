"""What to send and how to answer, in the notation of the command line: ``tone:440``, ``echo:-6``.

Parsing returns plain specs of ``sessioncore.media``; `Answering`, the call handler of the
daemon, carries out an `AnswerPlan`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from sessioncore.errors import ConfigurationError
from sessioncore.interfaces import ICallHandler
from sessioncore.media.sinks import Record
from sessioncore.media.sources import Clip, Echo, Silence, Tone
from sessioncore.vocabulary import SECOND

if TYPE_CHECKING:
    from sessioncore.net.clockwork import IClockwork
    from sessioncore.session.call import Call

__all__ = ["AnswerPlan", "Answering", "parse_answer", "parse_play"]

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,6}(\.[0-9]{1,6})?").fullmatch
_HOW_TO_ANSWER: Final = "write echo, echo:GAIN_DB, silence, tone:HZ[+HZ], play:FILE or reject:CODE"
_HOW_TO_PLAY: Final = "write tone:HZ, tone:HZ+HZ, silence, play:FILE or the name of a WAV file"


@frozen
class AnswerPlan:
    """How calls are answered: ``source`` to send, or ``reject`` with a SIP status.

    ``after`` is in seconds from the INVITE; ``record_dir`` gets a WAV of what each call heard.
    """

    source: Any = field(factory=Echo)
    reject: int | None = None
    after: float = 0.0
    record_dir: str | None = None


def parse_answer(text: str) -> AnswerPlan:
    """The plan for the value of ``--answer``; `ConfigurationError` says what to write."""
    kind, colon, rest = text.partition(":")
    if text in ("echo", "silence"):
        return AnswerPlan(source=Echo() if text == "echo" else Silence())
    if colon and kind == "echo":
        return AnswerPlan(source=Echo(gain_db=_number(rest, "--answer echo", "dB", -60, 20)))
    if colon and kind == "tone":
        return AnswerPlan(source=_tone(rest, "--answer tone"))
    if colon and kind == "play":
        return AnswerPlan(source=_clip(rest))
    if colon and kind == "reject":
        if re.fullmatch("[456][0-9]{2}", rest):
            return AnswerPlan(reject=int(rest))
        raise ConfigurationError(
            f"--answer reject: {rest!r} is not a SIP status of a refusal; write 400 to 699"
        )
    raise ConfigurationError(f"--answer: {text!r} is unknown; {_HOW_TO_ANSWER}")


def parse_play(text: str) -> Any:
    """The source for the value of ``--play``; `ConfigurationError` says what to write."""
    kind, colon, rest = text.partition(":")
    if text == "silence":
        return Silence()
    if colon and kind == "tone":
        return _tone(rest, "--play tone")
    name = text.removeprefix("play:")  # as --answer has it; ./play:x is a file of that name
    if not name:
        raise ConfigurationError(f"--play: the value is empty; {_HOW_TO_PLAY}")
    return _clip(name)


def _tone(text: str, option: str) -> Tone:
    parts = text.split("+")
    if len(parts) > 2:
        raise ConfigurationError(f"{option}: {text!r} has {len(parts)} tones; write one or two")
    return Tone(frequencies=tuple(_number(part, option, "Hz", 20, 7900) for part in parts))


def _number(text: str, option: str, unit: str, least: float, most: float) -> float:
    if _NUMBER(text) and least <= float(text) <= most:
        return float(text)
    raise ConfigurationError(
        f"{option}: {text!r} is not usable; write a number from {least} to {most} ({unit})"
    )


def _clip(name: str) -> Clip:
    return Clip.from_file(str(Path(name).absolute()))


@implementer(ICallHandler)
class Answering:
    """Rings and answers, or rejects, every call as the plan says.

    ``watch`` is called with each call before anything is done with it; ``recording`` returns
    the name of the file for what a call hears.
    """

    def __init__(
        self,
        plan: AnswerPlan,
        clockwork: Callable[[], IClockwork],
        *,
        watch: Callable[[Call], None] = lambda call: None,
        recording: Callable[[Call], str] | None = None,
    ) -> None:
        self._plan = plan
        self._clockwork = clockwork
        self._watch = watch
        self._recording = recording

    def incoming_call(self, call: Call) -> Deferred[Any] | None:
        """Reject, or ring and answer now or later."""
        self._watch(call)
        plan = self._plan
        if plan.reject is not None:
            call.reject(plan.reject)
            return None
        call.ring()
        if not plan.after:
            return self._answer(call)
        return self._wait(plan.after).addCallback(lambda _none: self._answer(call))

    def _answer(self, call: Call) -> Deferred[Any]:
        sink = None if self._recording is None else Record(self._recording(call))
        return call.answer(source=self._plan.source, sink=sink)

    def _wait(self, seconds: float) -> Deferred[None]:
        """Fires after ``seconds``; cancelling it (the caller gave up) disarms it."""
        clockwork = self._clockwork()
        waiting: Deferred[None] = Deferred(lambda _deferred: deadline.cancel())
        deadline = clockwork.deadlines.at(
            clockwork.now() + round(seconds * SECOND), lambda _none, _now: waiting.callback(None)
        )
        return waiting
