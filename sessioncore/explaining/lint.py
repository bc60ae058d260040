"""Findings in a call that was seen: its signalling, and its RTP against its descriptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import combinations
from typing import Any, Final

from attrs import define, evolve

from sessioncore.errors import SdpParseError
from sessioncore.explaining.audio import Audio, Period, Way
from sessioncore.explaining.calls import Exchange, SeenCall
from sessioncore.explaining.rtp_streams import SeenStream
from sessioncore.explaining.seen import Seen
from sessioncore.explaining.sightings import Sighting
from sessioncore.explanation import Explanation
from sessioncore.lint import LintFinding, LintRule, Severity, Values, lint
from sessioncore.reach import reach
from sessioncore.sdp.explanation import explain_answer, explain_offer
from sessioncore.sdp.formats import MediaPolicy
from sessioncore.sdp.lint import Linted, lint_description
from sessioncore.sdp.pair_lint import lint_change, lint_exchange
from sessioncore.sip.lint import lint_message
from sessioncore.vocabulary import SECOND, Address, host_port

__all__ = ["CALL_RULES", "ExplainedCall", "ExplainedExchange", "about", "explain_exchange"]

_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
_REFUSED_DESCRIPTION: Final = (415, 488, 606)
_CHALLENGES: Final = (401, 407)
_ANSWER_DUE: Final = 32 * SECOND
_ACK_DUE: Final = 2 * SECOND
_FEW: Final = 10
"""So few packets prove nothing."""
_LATE: Final = 1.0
_QUIET: Final = 2.5
_JITTER: Final = 0.03
_HEAVY, _LIGHT = 0.05, 0.01


@define(eq=False)
class ExplainedExchange:
    """An exchange with its explanation and its findings."""

    exchange: Exchange
    explanation: Explanation | None
    problem: str | None
    findings: tuple[LintFinding, ...]


def explain_exchange(exchange: Exchange, policy: MediaPolicy) -> ExplainedExchange:
    """Explain the answer to an offer; without an answer, what a side with ``policy`` makes of it.

    Findings of the offer and of the answer say which of them they are about.
    """
    findings = _described("offer", exchange.offer, exchange.body)
    explanation: Explanation | None = None
    problem: str | None = None
    try:
        if exchange.answer is None:
            host = _host(exchange.offer)
            explanation = explain_offer(exchange.body, policy, signalling_host=host)
        else:
            sighting, body = exchange.answer
            findings += _described("answer", sighting, body)
            findings += lint_exchange(exchange.body, body)
            explanation = explain_answer(exchange.body, body, signalling_host=_host(sighting))
    except SdpParseError as error:
        problem = str(error)
    findings = tuple(sorted(findings, key=lambda finding: -finding.severity))
    return ExplainedExchange(exchange, explanation, problem, findings)


_NEAR: Final = ("loopback-address", "private-address")


def _described(what: str, sighting: Sighting, body: bytes) -> tuple[LintFinding, ...]:
    """The findings in one description, without those that the way of its message answers.

    That a private address cannot be reached from everywhere does not matter within its network;
    where it matters, there is a finding of its own (``private-description``).
    """
    found = lint_description(body)
    if sighting.source is not None:
        found = tuple(each for each in found if each.name not in _NEAR)
    return about(what, found)


def _host(sighting: Sighting) -> str:
    return "" if sighting.source is None else sighting.source[0]


def about(what: str, findings: Iterable[LintFinding]) -> tuple[LintFinding, ...]:
    """The findings, with what they are about named."""
    return tuple(
        evolve(each, where=f"{what} {each.where}" if each.where else what) for each in findings
    )


class ExplainedCall:
    """A call with everything that was found about it."""

    def __init__(self, call: SeenCall, audio: Audio, seen: Seen, policy: MediaPolicy) -> None:
        self.call = call
        self.seen = seen
        self.policy = policy
        self.audio = audio
        self.exchanges = [explain_exchange(each, policy) for each in call.exchanges]
        self.findings = self._find()

    def _find(self) -> tuple[LintFinding, ...]:
        """The findings that are not those of one exchange, the worst first."""
        found = list(lint(CALL_RULES, self))
        known: set[tuple[str, str]] = set()
        for number, sighting in enumerate(self.call.sightings, 1):
            for finding in lint_message(sighting.subject):
                # A message is passed on and repeated; its faults are reported once.
                if (finding.name, finding.text) not in known:
                    known.add((finding.name, finding.text))
                    found += about(f"message {number}", (finding,))
        for bodies in self._said_by_each():
            found += lint_change(*bodies)
        return tuple(sorted(found, key=lambda finding: -finding.severity))

    def _said_by_each(self) -> list[list[bytes]]:
        """The descriptions of each side of each hop, in order."""
        said: dict[Any, list[bytes]] = {}
        for exchange in self.call.exchanges:
            pairs = [(exchange.offer, exchange.body)]
            if exchange.answer is not None:
                pairs.append(exchange.answer)
            for sighting, body in pairs:
                if sighting.source is not None:
                    said.setdefault((exchange.hop, sighting.source), []).append(body)
        return [bodies for bodies in said.values() if len(bodies) > 1]

    @property
    def all_findings(self) -> tuple[LintFinding, ...]:
        """The findings of the call and of its exchanges, the worst first."""
        found = [*self.findings, *(f for each in self.exchanges for f in each.findings)]
        return tuple(sorted(found, key=lambda finding: -finding.severity))

    @cached_property
    def judged(self) -> list[Period]:
        """The periods that are long enough to be judged by their RTP."""
        return [period for period in self.audio.periods if period.is_judged]

    @property
    def answered_at(self) -> int | None:
        """When the first 2xx to an INVITE came."""
        for each in self.call.sightings:
            if 200 <= each.status < 300 and each.sequence[1] == "INVITE":
                return each.at
        return None


# --- signalling


def _description_refused(c: ExplainedCall) -> Iterator[Values]:
    for exchange in c.call.exchanges:
        refusal = exchange.refused
        if refusal is not None and refusal.status in _REFUSED_DESCRIPTION:
            yield {"answer": refusal.first_line, "why": _warning(refusal)}


def _warning(sighting: Sighting) -> str:
    assert sighting.message is not None
    warning = sighting.message.first(b"Warning")
    text = b"" if warning is None else warning.partition(b'"')[2].rpartition(b'"')[0] or warning
    return text.decode("utf-8", "backslashreplace") or "no reason is given"


def _refused(c: ExplainedCall) -> Iterator[Values]:
    if c.call.was_answered:
        return
    for invite in c.call.requests("INVITE"):
        for response in c.call.responses_to(invite):
            known = (*_REFUSED_DESCRIPTION, *_CHALLENGES)
            if response.status >= 400 and response.status not in known:
                yield {"answer": response.first_line}
                return


def _challenged(c: ExplainedCall) -> Iterator[Values]:
    invites = c.call.requests("INVITE")
    if not invites or c.call.was_answered:
        return
    statuses = [each.status for each in c.call.responses_to(invites[-1])]
    if any(status in _CHALLENGES for status in statuses):
        yield {"answer": c.call.responses_to(invites[-1])[-1].first_line}


def _unanswered(c: ExplainedCall) -> Iterator[Values]:
    for invite in c.call.requests("INVITE"):
        responses = c.call.responses_to(invite)
        waited = max(c.seen.last_at, c.call.ends_at) - invite.at
        if not responses and (waited >= _ANSWER_DUE or _times(c, invite) > 1):
            yield {"target": _shown(invite.destination), "count": _times(c, invite)}


def _not_responded(c: ExplainedCall) -> Iterator[Values]:
    for each in c.call.sightings:
        if each.method in ("", "INVITE", "ACK") or each.repeats or c.call.responses_to(each):
            continue
        waited = max(c.seen.last_at, c.call.ends_at) - each.at
        if waited >= _ANSWER_DUE or _times(c, each) > 1:
            yield {"method": each.method, "target": _shown(each.destination),
                   "count": _times(c, each)}  # fmt: skip


def _times(c: ExplainedCall, sighting: Sighting) -> int:
    return sum(each.raw == sighting.raw for each in c.call.sightings)


def _not_acknowledged(c: ExplainedCall) -> Iterator[Values]:
    acks = {each.sequence[0] for each in c.call.requests("ACK")}
    for each in c.call.sightings:
        number, method = each.sequence
        if method != "INVITE" or each.repeats or not 200 <= each.status < 300 or number in acks:
            continue
        waited = max(c.seen.last_at, c.call.ends_at) - each.at
        if waited >= _ACK_DUE or _times(c, each) > 2:
            yield {"count": _times(c, each), "sender": c.call.letter(each.source)}


def _repeated(c: ExplainedCall) -> Iterator[Values]:
    counts = Counter(
        (each.source, each.destination, each.raw) for each in c.call.sightings if each.source
    )
    for (source, destination, raw), count in counts.items():
        if count > 2:
            line = raw.split(b"\r\n", 1)[0][:60]
            yield {"count": count, "line": line, "sender": c.call.letter(source),
                   "receiver": c.call.letter(destination)}  # fmt: skip


def _answer_changed(c: ExplainedCall) -> Iterator[Values]:
    for exchange in c.call.exchanges:
        by_tag: dict[bytes | None, list[Sighting]] = {}
        for sighting, _ in exchange.answers:
            by_tag.setdefault(sighting.to_tag, []).append(sighting)
        for answers in by_tag.values():
            if len(answers) > 1:
                first, last = answers[0], answers[-1]
                yield {"first": first.status or first.method, "last": last.status or last.method}


def _beginning_missing(c: ExplainedCall) -> Iterator[Values]:
    first = c.call.sightings[0]
    if first.method != "INVITE" or first.to_tag is not None:
        yield {"line": first.first_line}


# --- audio


def _private_description(c: ExplainedCall) -> Iterator[Values]:
    for exchange in c.call.exchanges:
        for sighting, body in ((exchange.offer, exchange.body), *exchange.answers):
            source = sighting.source
            for stream in Linted(body).audio if source is not None else ():
                host = stream.host
                if host is None or host.is_unspecified or source is None:
                    continue
                if reach(host.text) < reach(source[0]):
                    yield {"where": stream.where, "sender": c.call.letter(source),
                           "address": host.text, "source": source[0]}  # fmt: skip


def _port_unreachable(c: ExplainedCall) -> Iterator[Values]:
    for way in c.audio.ways:
        address = way.receiver.address
        if address is not None and c.seen.unreachable[address]:
            yield {"where": way.name, "address": host_port(*address),
                   "count": c.seen.unreachable[address]}  # fmt: skip


def _no_rtp(c: ExplainedCall) -> Iterator[Values]:
    expected = [p for p in c.judged if any(way.expected for way in p.ways)]
    if expected and not c.audio.captured and c.seen.is_capture:
        yield {}


def _missing(c: ExplainedCall) -> Iterator[Values]:
    for period in c.judged:
        for way in period.ways:
            if way.expected and not way.streams and c.audio.captured and way.receiver.address:
                yield {
                    "where": way.name,
                    "receiver": way.receiver.letter,
                    "address": host_port(*way.receiver.address),
                    "seconds": f"{way.seconds:.1f}",
                }


def _wrong_types(c: ExplainedCall) -> Iterator[tuple[Way, SeenStream, int, int]]:
    for way, stream in c.audio.streams:
        strange = Counter(
            {each: count for each, count in stream.by_type.items() if each not in way.numbers}
        )
        if strange:
            yield way, stream, strange.most_common(1)[0][0], strange.total()


def _wrong_payload_type(c: ExplainedCall) -> Iterator[Values]:
    for way, stream, number, count in _wrong_types(c):
        if count > _FEW and count * 2 >= stream.packets:
            yield {"where": way.name, "count": count, "number": number, "agreed": way.agreed}


def _stray_payload_type(c: ExplainedCall) -> Iterator[Values]:
    for way, stream, number, count in _wrong_types(c):
        if count * 2 < stream.packets:
            yield {"where": way.name, "count": count, "number": number, "agreed": way.agreed}


def _lossy(low: float, high: float) -> Any:
    def check(c: ExplainedCall) -> Iterator[Values]:
        for way, stream in c.audio.streams:
            if low <= stream.share_lost < high and stream.lost > _FEW:
                yield {
                    "where": way.name,
                    "lost": stream.lost,
                    "expected": stream.expected,
                    "share": f"{stream.share_lost:.1%}",
                }

    return check


def _other_source(c: ExplainedCall) -> Iterator[Values]:
    for way, stream in c.audio.streams:
        if stream.destination != way.receiver.address or way.sender.address is None:
            continue
        if stream.source != way.sender.address:
            yield {"where": way.name, "source": host_port(*stream.source),
                   "described": host_port(*way.sender.address)}  # fmt: skip


def _other_target(c: ExplainedCall) -> Iterator[Values]:
    for way, stream in c.audio.streams:
        target = way.receiver.address
        if target is not None and stream.destination != target:
            yield {"where": way.name, "destination": host_port(*stream.destination),
                   "described": host_port(*target)}  # fmt: skip


def _late(c: ExplainedCall) -> Iterator[Values]:
    answered = c.answered_at
    if answered is None:
        return
    for period in c.judged[:1]:
        for way in period.ways:
            if way.expected and way.streams:
                waited = (min(each.first for each in way.streams) - answered) / SECOND
                if waited > _LATE:
                    yield {"where": way.name, "seconds": f"{waited:.1f}"}


def _paused(c: ExplainedCall) -> Iterator[Values]:
    for way in c.audio.ways:
        for begin, end in way.pauses if way.expected else ():
            seconds = (end - begin) / SECOND
            # At the edges it is late, or it stopped.
            if seconds >= _QUIET and way.since < begin and end < way.until:
                after = (begin - c.call.begins_at) / SECOND
                yield {"where": way.name, "seconds": f"{seconds:.1f}", "after": f"{after:.1f}"}


def _stopped(c: ExplainedCall) -> Iterator[Values]:
    for period in c.judged:
        for way in period.ways:
            if not (way.expected and way.streams) or _announces_a_pause(way):
                continue
            silent = (way.until - max(each.last for each in way.streams)) / SECOND
            if silent >= _QUIET:
                yield {"where": way.name, "packets": way.packets, "seconds": f"{silent:.1f}"}


def _announces_a_pause(way: Way) -> bool:
    last = max(way.streams, key=lambda stream: stream.last)
    return way.encoding(last.last_type).upper().startswith("CN/")


def _not_allowed(c: ExplainedCall) -> Iterator[Values]:
    for period in c.judged:
        for way in period.ways:
            if not way.expected and way.packets > _FEW:
                yield {"where": way.name, "seconds": f"{way.seconds:.1f}"}


def _jittery(c: ExplainedCall) -> Iterator[Values]:
    for way, stream in c.audio.streams:
        jitter = stream.jitter(way.clock(stream))
        if jitter is not None and jitter >= _JITTER and stream.packets > 5 * _FEW:
            yield {"where": way.name, "jitter": f"{jitter * 1000:.0f}"}


def _two_sources(c: ExplainedCall) -> Iterator[Values]:
    for way in c.audio.ways:
        for one, other in combinations(way.streams[:8], 2):
            both = min(one.last, other.last) - max(one.first, other.first)
            many = min(one.packets, other.packets) > _FEW
            if one.destination == other.destination and both > SECOND and many:
                yield {"where": way.name, "one": f"{one.ssrc:#010x}",
                       "other": f"{other.ssrc:#010x}"}  # fmt: skip


def _other_length(c: ExplainedCall) -> Iterator[Values]:
    for way, stream in c.audio.streams:
        formats = way.receiver.stream.media.section.formats
        length = stream.packet_ms(way.clock(stream))
        if length is not None and formats.ptime and abs(length - formats.ptime) >= 1:
            yield {"where": way.name, "length": f"{length:g}", "ptime": formats.ptime}


def _rtcp_on_rtp(c: ExplainedCall) -> Iterator[Values]:
    for way in c.audio.ways:
        muxed = way.sender.stream.has(b"rtcp-mux") and way.receiver.stream.has(b"rtcp-mux")
        if muxed:
            continue
        for (_, destination), seen in c.seen.rtp.rtcp.items():
            if destination == way.receiver.address and way.since <= seen.first <= way.until:
                yield {"where": way.name, "count": seen.packets}


def _left_on_hold(c: ExplainedCall) -> Iterator[Values]:
    periods = c.judged
    if len(periods) < 2:
        return
    was = any(all(way.expected for way in period.ways) for period in periods[:-1])
    last = periods[-1]
    silent = [way.name for way in last.ways if not way.expected]
    if was and silent:
        yield {"ways": ", ".join(silent), "seconds": f"{last.ways[0].seconds:.1f}"}


def _shown(address: Address | None) -> str:
    return "somewhere" if address is None else host_port(*address)


CALL_RULES: Final[tuple[LintRule[ExplainedCall], ...]] = (
    LintRule(
        "description-refused",
        _ERROR,
        "RFC 3261 section 21.4.26",
        "the offer was refused with {answer}: {why}",
        "Compare the codecs and profiles of both sides; see what is said about the offer.",
        _description_refused,
    ),
    LintRule(
        "no-response",
        _ERROR,
        "RFC 3261 section 17.1.1.2",
        "the INVITE to {target} got no response (times sent: {count})",
        "Look at the address, the port and the transport, and at firewalls on the way; over UDP, a"
        " long INVITE may be lost in fragments.",
        _unanswered,
    ),
    LintRule(
        "no-ack",
        _ERROR,
        "RFC 3261 section 13.3.1.4",
        "the 200 of {sender} got no ACK (times sent: {count})",
        "The ACK goes to the Contact of the 200, along its Record-Route; look whether it can be"
        " reached. The call ends after 32 s.",
        _not_acknowledged,
    ),
    LintRule(
        "port-unreachable",
        _ERROR,
        "RFC 792",
        "nobody receives at {address} (ICMP port unreachable: {count})",
        "The side that describes the address has closed the port, or never opened it.",
        _port_unreachable,
    ),
    LintRule(
        "audio-missing",
        _ERROR,
        "RFC 3264 section 5.1",
        "no RTP in {seconds} s: {receiver} receives at {address}, and nothing was sent there",
        "If the other direction works, look for a firewall, a NAT, or a sender that sends"
        " elsewhere; if the capture was made at one side, make one at the other, too.",
        _missing,
    ),
    LintRule(
        "audio-stopped",
        _ERROR,
        "RFC 3550 section 5.1",
        "RTP stopped {seconds} s before the end (packets until then: {packets})",
        "Look at the sender, and for a firewall or a NAT that forgot the connection; if the capture"
        " was made at one side, make one at the other, too.",
        _stopped,
    ),
    LintRule(
        "payload-type-mismatch",
        _ERROR,
        "RFC 3264 section 5.1",
        "{count} packets have payload type {number}, and agreed is {agreed}",
        "The sender uses a number or a codec that was not agreed on; correct its codec settings.",
        _wrong_payload_type,
    ),
    LintRule(
        "heavy-packet-loss",
        _ERROR,
        "RFC 3550 section 6.4.1",
        "{lost} of {expected} packets are missing ({share})",
        "Look for an overloaded or disturbed link before the point of the capture.",
        _lossy(_HEAVY, 2.0),
    ),
    LintRule(
        "refused",
        _WARNING,
        "RFC 3261 section 13.2.2",
        "the call was not answered: {answer}",
        "Look at the status; it is the decision of the side that was called.",
        _refused,
    ),
    LintRule(
        "request-without-response",
        _WARNING,
        "RFC 3261 section 17.1.2.2",
        "{method} to {target} got no response (times sent: {count})",
        "The request goes to the Contact of the other side, along its Record-Route; look whether"
        " that can be reached. After a BYE the other side may believe that the call is still up.",
        _not_responded,
    ),
    LintRule(
        "not-authorized",
        _WARNING,
        "RFC 3261 section 22",
        "the call ended with {answer}, and no INVITE with a password followed",
        "Configure user name and password at the caller.",
        _challenged,
    ),
    LintRule(
        "repeated",
        _WARNING,
        "RFC 3261 section 17.1.1.2",
        "{sender} sent the same message to {receiver} {count} times: {line}",
        "Its response, or the ACK, did not come back in time; look at that way.",
        _repeated,
    ),
    LintRule(
        "no-rtp",
        _WARNING,
        "RFC 3264 section 5.1",
        "audio was agreed on, and there is no RTP of the time of the call",
        "If RTP should be there, capture UDP on all ports; otherwise neither side sends.",
        _no_rtp,
    ),
    LintRule(
        "private-description",
        _WARNING,
        "RFC 1918 section 3",
        "{sender} describes {address}, and its SIP comes from {source}: RTP cannot go there",
        "{sender} is behind a NAT. Let it name its public address, use STUN or a media relay, or"
        " let the other side send to where RTP comes from (symmetric RTP).",
        _private_description,
    ),
    LintRule(
        "source-not-described",
        _WARNING,
        "RFC 3264 section 5.1",
        "RTP comes from {source}, and the sender describes {described}",
        "The sender is behind a NAT, or sends from another port than it receives on; the receiver"
        " must accept that source (symmetric RTP).",
        _other_source,
    ),
    LintRule(
        "target-not-described",
        _WARNING,
        "RFC 3264 section 5.1",
        "RTP goes to {destination}, and the receiver describes {described}",
        "The sender follows the source of what it receives (symmetric RTP), or it is wrong.",
        _other_target,
    ),
    LintRule(
        "packet-loss",
        _WARNING,
        "RFC 3550 section 6.4.1",
        "{lost} of {expected} packets are missing ({share})",
        "Look for an overloaded or disturbed link before the point of the capture.",
        _lossy(_LIGHT, _HEAVY),
    ),
    LintRule(
        "late-audio",
        _WARNING,
        "RFC 3264 section 5.1",
        "the first RTP came {seconds} s after the answer",
        "The sender waits for something, such as the ACK or a packet from the other side.",
        _late,
    ),
    LintRule(
        "audio-pause",
        _WARNING,
        "RFC 3550 section 5.1",
        "no RTP for {seconds} s, from {after} s on",
        "The sender stopped, suppressed silence, or the network lost everything.",
        _paused,
    ),
    LintRule(
        "jitter",
        _WARNING,
        "RFC 3550 section 6.4.1",
        "the packets come with a jitter of {jitter} ms",
        "Look for queues and Wi-Fi links before the point of the capture.",
        _jittery,
    ),
    LintRule(
        "two-sources",
        _WARNING,
        "RFC 3550 section 8.2",
        "two sources (SSRC {one} and {other}) send to the same address at the same time",
        "Look for forking, music on hold, or a media server that was not switched off.",
        _two_sources,
    ),
    LintRule(
        "answer-changed",
        _WARNING,
        "RFC 6337 section 3.1.1",
        "the description in the {last} differs from that in the {first}",
        "Repeat the same answer; many peers stay with the first one.",
        _answer_changed,
    ),
    LintRule(
        "left-on-hold",
        _WARNING,
        "RFC 3264 section 8.4",
        "the call ended on hold: no audio {ways} in its last {seconds} s",
        "The side that holds must offer a=sendrecv again; a=inactive and a=sendonly stay in force.",
        _left_on_hold,
    ),
    LintRule(
        "stray-payload-type",
        _NOTE,
        "RFC 3264 section 5.1",
        "payload type {number} comes, too (packets: {count}), and agreed is {agreed}",
        "The sender mixes in a format that was not agreed on; it is ignored.",
        _stray_payload_type,
    ),
    LintRule(
        "audio-not-allowed",
        _NOTE,
        "RFC 3264 section 5.1",
        "RTP goes on in a direction that was off for {seconds} s",
        "Look whether the sender has understood the hold.",
        _not_allowed,
    ),
    LintRule(
        "rtcp-on-rtp-port",
        _NOTE,
        "RFC 5761 section 5.1.1",
        "RTCP goes to the RTP port (packets: {count}), and rtcp-mux was not agreed on",
        "Switch rtcp-mux off at the sender; its reports may not be read.",
        _rtcp_on_rtp,
    ),
    LintRule(
        "other-packet-length",
        _NOTE,
        "RFC 8866 section 6.4",
        "packets are {length} ms long, and a=ptime asks for {ptime}",
        "Most receivers take any length; set it at the sender if this one does not.",
        _other_length,
    ),
    LintRule(
        "beginning-missing",
        _NOTE,
        "RFC 3261 section 13",
        "the beginning of the call is not there; it starts with {line}",
        "Start the capture before the call.",
        _beginning_missing,
    ),
)
"""What can be found in a call, by rank: of equal severity the earlier explains more."""
