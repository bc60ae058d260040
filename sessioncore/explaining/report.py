"""Says what was found in a file: as text for people, and as plain values for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define

from sessioncore.errors import SdpParseError
from sessioncore.explaining.audio import Way, audio_of
from sessioncore.explaining.calls import SeenCall, calls_in
from sessioncore.explaining.lint import ExplainedCall, ExplainedExchange, about
from sessioncore.explaining.rtp_streams import SeenStream
from sessioncore.explaining.seen import Seen
from sessioncore.explaining.sightings import Sighting
from sessioncore.explanation import Explanation
from sessioncore.lint import LintFinding, Severity, printable, worst
from sessioncore.sdp.explanation import explain_answer, explain_offer
from sessioncore.sdp.formats import MediaPolicy
from sessioncore.sdp.lint import Linted, lint_description
from sessioncore.sdp.pair_lint import lint_exchange
from sessioncore.vocabulary import SECOND, host_port

__all__ = ["DescriptionReport", "Report", "call_lines"]

_MOST_LINES: Final = 200
"""Messages of one call that are printed."""
_MOST_STREAMS: Final = 20
_STREAM: Final = 10
"""So many packets that look like RTP, and belong to no call, are a stream."""


@define(eq=False)
class DescriptionReport:
    """One description, or two as offer and answer, with what is said about them."""

    explanation: Explanation | None
    problem: str | None
    findings: tuple[LintFinding, ...]
    judged_by: str

    @property
    def accepts(self) -> bool:
        """Whether audio can be agreed on."""
        return self.explanation is not None and self.explanation.accepted is not None

    def lines(self) -> Iterator[str]:
        """The report as lines of text."""
        if self.explanation is not None:
            yield f"{self.judged_by}:"
            yield from _indented(str(self.explanation).splitlines(), 2)
            yield ""
        yield from _finding_lines(self.findings, 0)
        yield self.conclusion

    @property
    def conclusion(self) -> str:
        """What is likely wrong, in one line."""
        if self.problem is not None:
            return f"It cannot be read: {self.problem}."
        start = "Audio can be agreed on." if self.accepts else "No audio can be agreed on."
        return f"{start} {_cause(self.findings)}"

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "judged_by": self.judged_by,
            "problem": self.problem,
            "explanation": None if self.explanation is None else self.explanation.as_dict(),
            "findings": [each.as_dict() for each in self.findings],
            "conclusion": self.conclusion,
        }


class Report:
    """What is said about a file; ``call_id`` is a part of the Call-IDs that are wanted.

    ``policy`` judges offers that nobody answered.
    """

    def __init__(self, name: str, seen: Seen, policy: MediaPolicy, call_id: str = "") -> None:
        self.name = name
        self.seen = seen
        self.policy = policy
        found, others = calls_in(seen.sightings)
        self.calls = [
            ExplainedCall(call, audio, seen, policy)
            for call, audio in zip(found, audio_of(found, seen), strict=True)
            if call_id.encode() in call.call_id
        ]
        self.others = others
        self.descriptions = _described(seen.descriptions, policy)

    @property
    def findings(self) -> list[LintFinding]:
        """All findings."""
        found = [each for call in self.calls for each in call.all_findings]
        return found + [each for part in self.descriptions for each in part.findings]

    @property
    def has_errors(self) -> bool:
        """Whether a finding is an error, or a description leads to no audio."""
        fails = not all(part.accepts for part in self.descriptions)
        return fails or worst(self.findings) is Severity.ERROR

    def text(self) -> str:
        """The report for people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.name}: {self.seen.kind}{self._counted()}"
        yield from (f"Note: {each}." for each in self.seen.remarks)
        for part in self.descriptions:
            yield ""
            yield from part.lines()
        for number, call in enumerate(self.calls, 1):
            yield ""
            yield from call_lines(number, call)
        yield from self._other_lines()
        if self.calls and (len(self.calls) > 1 or self.seen.remarks):
            yield ""
            yield self.conclusion

    def _counted(self) -> str:
        if self.descriptions:
            return ""
        calls = "1 call" if len(self.calls) == 1 else f"{len(self.calls):,} calls"
        return f", {calls}"

    def _other_lines(self) -> Iterator[str]:
        kinds = Counter(each.method or f"{each.status}" for each in self.others if each.message)
        streams = self._other_streams()
        if kinds or streams:
            yield ""
        if kinds:
            listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8))
            yield f"SIP outside calls: {listed}"
        for stream in streams[:_MOST_STREAMS]:
            yield f"RTP outside calls: {_stream_text(stream, None)}"
        if len(streams) > _MOST_STREAMS:
            yield f"RTP outside calls: {len(streams) - _MOST_STREAMS} more streams"

    def _other_streams(self) -> list[SeenStream]:
        known = {id(stream) for call in self.calls for _, stream in call.audio.streams}
        return [
            stream
            for stream in self.seen.rtp.streams.values()
            if id(stream) not in known and stream.packets >= _STREAM and stream.share_lost < 0.5
        ]

    @property
    def conclusion(self) -> str:
        """The last line: how many calls have errors, and what is wrong most often."""
        faulty = [call for call in self.calls if worst(call.all_findings) is Severity.ERROR]
        if not self.calls:
            return "There is no call in it."
        if not faulty:
            return f"No errors were found in {_calls(len(self.calls))}."
        names = Counter(
            name
            for call in faulty
            for name in {f.name for f in call.all_findings if f.severity is Severity.ERROR}
        )
        listed = ", ".join(f"{name} ({count})" for name, count in names.most_common(5))
        return f"{_calls(len(self.calls))}, {len(faulty)} with errors: {listed}."

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values that can be written as JSON."""
        return {
            "file": self.name,
            "kind": self.seen.kind,
            "remarks": list(self.seen.remarks),
            "descriptions": [each.as_dict() for each in self.descriptions],
            "calls": [_call_dict(each) for each in self.calls],
            "other_messages": len(self.others),
            "other_streams": [_stream_dict(each, None) for each in self._other_streams()],
            "errors": self.has_errors,
        }


# --- descriptions


def _described(bodies: list[bytes], policy: MediaPolicy) -> list[DescriptionReport]:
    if len(bodies) == 2:
        return [_described_pair(*bodies)]
    return [_described_alone(body, policy) for body in bodies]


def _described_alone(body: bytes, policy: MediaPolicy) -> DescriptionReport:
    judged_by = f"As an offer to a side with {policy.names}"
    try:
        explanation, problem = explain_offer(body, policy), None
    except SdpParseError as error:
        explanation, problem = None, str(error)
    return DescriptionReport(explanation, problem, lint_description(body), judged_by)


def _described_pair(offer: bytes, answer: bytes) -> DescriptionReport:
    findings = (
        *about("offer", lint_description(offer)),
        *about("answer", lint_description(answer)),
        *lint_exchange(offer, answer),
    )
    try:
        explanation, problem = explain_answer(offer, answer), None
    except SdpParseError as error:
        explanation, problem = None, str(error)
    findings = tuple(sorted(findings, key=lambda finding: -finding.severity))
    return DescriptionReport(
        explanation, problem, findings, "What the offering side makes of the answer"
    )


# --- calls


def call_lines(number: int, call: ExplainedCall) -> Iterator[str]:
    """What is said about one call."""
    yield f"Call {number}: {printable(call.call.call_id)}{_begun(call.call)}"
    parties = call.call.parties
    if parties:
        yield "  " + "   ".join(f"{letter} {host_port(*each)}" for each, letter in parties.items())
    yield from _ladder(call)
    for explained in call.exchanges:
        yield ""
        yield from _indented(_exchange_lines(call, explained), 2)
    if call.audio.streams:
        yield ""
        yield "  RTP:"
        for way, stream in call.audio.streams[:_MOST_STREAMS]:
            yield f"    {way.name}  {_stream_text(stream, way)}"
    yield ""
    yield from _indented(_finding_lines(call.findings, 0), 2)
    yield f"  {_conclusion(call)}"


def _begun(call: SeenCall) -> str:
    if not call.begins_at:
        return ""
    try:
        begun = datetime.fromtimestamp(call.begins_at // SECOND, UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return f", {begun:%Y-%m-%d %H:%M:%S} UTC"


def _ladder(call: ExplainedCall) -> Iterator[str]:
    timed = any(each.at for each in call.call.sightings)
    labels = _labels(call.call)
    for number, each in enumerate(call.call.sightings[:_MOST_LINES], 1):
        at = f"{(each.at - call.call.begins_at) / SECOND:9.3f}  " if timed else ""
        way = f"{call.call.letter(each.source)} -> {call.call.letter(each.destination)}"
        ways = f"{way}  " if call.call.parties else ""
        again = " (again)" if each.repeats else ""
        label = labels.get(number, "")
        yield f"  {number:3}  {at}{ways}{printable(each.first_line)}{label}{again}"
    more = len(call.call.sightings) - _MOST_LINES
    if more > 0:
        yield f"  ... {more:,} more messages"


def _labels(call: SeenCall) -> dict[int, str]:
    """What each message is in an exchange: ``[offer 1]``, ``[answer 1]``."""
    numbers = {id(each): number for number, each in enumerate(call.sightings, 1)}
    labels = {}
    for exchange in call.exchanges:
        labels[numbers[id(exchange.offer)]] = f"  [offer {exchange.number}]"
        for sighting, _ in exchange.answers:
            labels[numbers[id(sighting)]] = f"  [answer {exchange.number}]"
    return labels


def _exchange_lines(call: ExplainedCall, explained: ExplainedExchange) -> Iterator[str]:
    exchange = explained.exchange
    yield f"{_heading(call, explained)}:"
    if explained.problem is not None:
        yield f"  a description cannot be read: {explained.problem}"
    elif explained.explanation is not None:
        yield from _indented(str(explained.explanation).splitlines(), 2)
    if exchange.answer is not None:
        left = _not_answered(exchange.body, exchange.answer[1])
        if left:
            yield f"  offered and not answered: {left}"
    yield from _finding_lines(explained.findings, 2)


def _heading(call: ExplainedCall, explained: ExplainedExchange) -> str:
    exchange = explained.exchange
    what = f"Offer {exchange.number} ({exchange.method or exchange.offer.status})"
    if exchange.answer is not None:
        sighting = exchange.answer[0]
        return f"{what}, answered by {printable(sighting.first_line)}; the answer"
    judged = f"sessioncore with {call.policy.names} would make of it"
    if exchange.refused is not None:
        return f"{what}, refused by {printable(exchange.refused.first_line)}; {judged}"
    return f"{what}, not answered; {judged}"


def _not_answered(offer: bytes, answer: bytes) -> str:
    """The audio formats that an answer leaves out."""
    left = []
    for one, other in zip(Linted(offer).streams, Linted(answer).streams, strict=False):
        if one.is_audio and other.is_audio:
            taken = {str(each).upper() for each in other.meanings.values()}
            left += [
                f"{printable(text)} {meaning}"
                for text, meaning in one.meanings.items()
                if str(meaning).upper() not in taken and text not in other.media.formats
            ]
    return ", ".join(left)


def _conclusion(call: ExplainedCall) -> str:
    return f"{_what_ran(call)} {_cause(call.all_findings)}"


def _what_ran(call: ExplainedCall) -> str:
    if not call.call.was_answered and not call.audio.periods:
        return "The call was not answered."
    periods = [each for each in call.judged if any(way.expected for way in each.ways)]
    if not periods:
        return "No audio was agreed on for long enough to be judged."
    running = {way.name for each in periods for way in each.ways if way.runs}
    wanted = {way.name for each in periods for way in each.ways if way.expected}
    if not running:
        return "No audio ran."
    if wanted - running:
        return f"Audio ran only {', '.join(sorted(running))}."
    return "Audio ran both ways." if len(running) > 1 else "Audio ran as agreed."


def _cause(findings: Iterable[LintFinding]) -> str:
    """What is likely wrong, in plain words."""
    ranked = list(findings)
    first = next((each for each in ranked if each.severity is not Severity.NOTE), None)
    if first is None:
        return "Nothing wrong was found."
    where = f"{first.where}: " if first.where else ""
    start = "Likely wrong" if first.severity is Severity.ERROR else "Worth a look"
    return f"{start}: {where}{first.text}. {first.remedy}"


def _finding_lines(findings: Iterable[LintFinding], indent: int) -> Iterator[str]:
    for each in findings:
        yield " " * indent + str(each)
        if each.severity is not Severity.NOTE:
            yield " " * indent + f"    {each.remedy}"


def _stream_text(stream: SeenStream, way: Way | None) -> str:
    kinds = ", ".join(
        f"{number} {way.encoding(number) if way else ''}".strip()
        for number, _ in stream.by_type.most_common(4)
    )
    jitter = None if way is None else stream.jitter(way.clock(stream))
    shaky = "" if jitter is None else f", jitter {jitter * 1000:.1f} ms"
    return (
        f"{host_port(*stream.source)} -> {host_port(*stream.destination)}  {kinds}:"
        f" {stream.packets:,} packets in {stream.seconds:.1f} s, {stream.lost:,} lost{shaky},"
        f" SSRC {stream.ssrc:#010x}"
    )


def _indented(lines: Iterable[str], indent: int) -> Iterator[str]:
    return (" " * indent + line if line else line for line in lines)


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"


# --- plain values


def _call_dict(call: ExplainedCall) -> dict[str, Any]:
    return {
        "call_id": printable(call.call.call_id),
        "begins_at": call.call.begins_at / SECOND,
        "answered": call.call.was_answered,
        "parties": {letter: host_port(*each) for each, letter in call.call.parties.items()},
        "messages": [_message_dict(call.call, each) for each in call.call.sightings],
        "exchanges": [_exchange_dict(each) for each in call.exchanges],
        "streams": [_stream_dict(stream, way) for way, stream in call.audio.streams],
        "findings": [each.as_dict() for each in call.findings],
        "conclusion": _conclusion(call),
    }


def _message_dict(call: SeenCall, sighting: Sighting) -> dict[str, Any]:
    return {
        "at": sighting.at / SECOND,
        "from": call.letter(sighting.source),
        "to": call.letter(sighting.destination),
        "text": printable(sighting.first_line),
        "cseq": sighting.sequence[0],
        "repeats": sighting.repeats,
    }


def _exchange_dict(explained: ExplainedExchange) -> dict[str, Any]:
    exchange = explained.exchange
    return {
        "number": exchange.number,
        "method": exchange.method or str(exchange.offer.status),
        "answered": None if exchange.answer is None else printable(exchange.answer[0].first_line),
        "refused": None if exchange.refused is None else printable(exchange.refused.first_line),
        "problem": explained.problem,
        "explanation": None if explained.explanation is None else explained.explanation.as_dict(),
        "findings": [each.as_dict() for each in explained.findings],
    }


def _stream_dict(stream: SeenStream, way: Way | None) -> dict[str, Any]:
    jitter = None if way is None else stream.jitter(way.clock(stream))
    return {
        "way": None if way is None else way.name,
        "source": host_port(*stream.source),
        "destination": host_port(*stream.destination),
        "ssrc": stream.ssrc,
        "payload_types": {str(number): count for number, count in stream.by_type.items()},
        "packets": stream.packets,
        "expected": stream.expected,
        "lost": stream.lost,
        "jitter_ms": None if jitter is None else round(jitter * 1000, 3),
        "first_at": stream.first / SECOND,
        "last_at": stream.last / SECOND,
    }
