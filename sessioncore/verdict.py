"""The verdict on a call's audio: what is proven in each direction, and what causes a fault.

`judge` turns numbers (`Evidence`) into a `Verdict`.  It reads no socket and no clock, so the
verdict of any call can be computed again from its evidence.

Audio is proven by the far side only.  That the kernel accepted our packets proves nothing:
our sending is proven by RTCP report blocks about our SSRC (RFC 3550 section 6.4.1), our receiving
by valid packets from the peer, judged by their sequence numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from itertools import compress
from math import sqrt
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from attrs import field, fields, frozen

from sessioncore.reach import reach
from sessioncore.vocabulary import Address, Codec, Direction, host_port

__all__ = [
    "CAUSES",
    "SHARE",
    "SILENCE",
    "Cause",
    "CauseRule",
    "Evidence",
    "Finding",
    "Judgement",
    "Proof",
    "Verdict",
    "Way",
    "judge",
]

SHARE: Final = 0.95
"""The share of the packets due that must arrive, in either direction, within what chance allows."""
QUIET: Final = 2.5
"""Seconds without RTP after which receiving counts as interrupted."""
SILENCE: Final = -50.0
"""A level in dBov; audio whose values never exceed it is silence."""
SILENT: Final = 5.0
"""Seconds of nothing but silence after which a direction counts as silent."""
_PAUSE: Final = 0.5
"""Seconds for which this process may stop before that is worth a word."""
_GONE: Final = 0.5
"""Seconds without RTP after which a closed port of the peer means that the peer is gone."""
_FEW: Final = 10
"""So few packets more or less prove nothing."""


class Proof(Enum):
    """What is known about one direction of a call's audio."""

    PROVEN = "proven"
    """Receiving: the packets that were due arrived.  Sending: the peer reports that they did."""
    CONTRADICTED = "contradicted"
    """There is evidence that audio does not arrive, or too little of it."""
    UNCONFIRMED = "unconfirmed"
    """There is no evidence in either direction; a peer without RTCP leaves sending so."""
    NOT_ALLOWED = "not allowed"
    """The agreement does not allow this direction."""

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


class Judgement(Enum):
    """The verdict in one word."""

    NOT_YET = "not_yet"
    """There is no agreement yet, or it is too new to say anything."""
    NOT_ANSWERED = "not_answered"
    """The call ended without an answer."""
    TWO_WAY = "two_way"
    """Audio is proven in both directions."""
    UNCONFIRMED = "unconfirmed"
    """Audio arrives, and nothing contradicts that ours does; the peer sends no reports on it."""
    ONE_WAY = "one_way"
    """Audio runs in the one direction that was agreed."""
    HELD = "held"
    """One side has put the other on hold."""
    NO_MEDIA = "no_media"
    """Audio arrives in neither direction."""
    NO_RX = "no_rx"
    """Nothing of the peer's audio arrives here."""
    NO_TX = "no_tx"
    """Nothing of our audio arrives at the peer."""
    RX_LOSS = "rx_loss"
    """Too little of the peer's audio arrives here."""
    TX_LOSS = "tx_loss"
    """Too little of our audio arrives at the peer."""
    RX_SILENCE = "rx_silence"
    """Packets arrive in both directions, and the peer's contain silence."""
    TX_SILENCE = "tx_silence"
    """Packets arrive in both directions, and ours contain silence."""
    RX_WRONG_PAYLOAD_TYPE = "rx_wrong_payload_type"
    """What arrives here is in formats that were not agreed on."""
    RX_WRONG_SOURCE = "rx_wrong_source"
    """What arrives here comes from sources that may not be heard."""

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


class Way(Enum):
    """The direction that a cause is about."""

    RECEIVING = "receiving"
    SENDING = "sending"
    BOTH = "both"

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value


@frozen(slots=False, kw_only=True)
class Evidence:
    """The numbers a verdict is made of.  Packets are those of the whole call.

    Times are in seconds, levels in dBov; None is "not known" or "has not happened".
    """

    answered: bool = False
    over: bool = False
    agreed_for: float | None = None
    """How long ago audio was agreed on, or how long it had been when the call ended."""
    receives: bool = False
    sends: bool = False
    held: bool = False
    """Whether a direction is missing because one side put the other on hold."""
    direction: Direction = Direction.INACTIVE
    """The agreed direction as this side sees it, as in SDP (RFC 3264 section 5.1)."""
    ptime: float = 0.02
    payload_type: int | None = None
    """The payload type that was agreed on for receiving."""
    codec: Codec | None = None

    # Addresses
    local: Address | None = None
    """Where our description says that we receive."""
    described: Address | None = None
    """Where the peer's description says that it receives; None for port 0 or 0.0.0.0."""
    remote: Address | None = None
    """Where our packets go."""
    signalling_host: str = ""
    """Where the peer's SIP comes from."""
    latched: bool = False
    stranger: Address | None = None
    """The last source that was not heard."""

    # Receiving
    received: int = 0
    expected: int = 0
    """Packets the peer must have sent, by their sequence numbers (RFC 3550 A.3)."""
    covered: float = 0.0
    """Seconds of audio in what was received."""
    rtp_ago: float | None = None
    """How long ago the last RTP packet came, or how long it had been at the end."""
    rtcp_ago: float | None = None
    pauses: bool = False
    """Whether the last that came was comfort noise: the peer suppresses silence (RFC 3389)."""
    late: int = 0
    jitter: float | None = None
    """Interarrival jitter (RFC 3550 6.4.1)."""
    level: float | None = None
    """The loudest level heard so far."""
    sound_ago: float | None = None
    """How long ago something louder than silence was heard."""
    comfort_noise: int = 0
    invalid: int = 0
    rtcp_on_rtp: int = 0
    """RTCP packets that came to the RTP port (RFC 5761)."""
    unexpected: int = 0
    unexpected_type: int | None = None
    """The last payload type that came and was not agreed on."""
    unplayable: int = 0
    strangers: int = 0
    other_sources: int = 0
    """Packets of another SSRC than the one that is heard."""
    kernel_drops: int = 0
    peer_sent: int | None = None
    """Packets that the peer says it sent between its first and its last report (SR)."""
    received_meanwhile: int = 0
    """Packets that came in the time that ``peer_sent`` is about."""
    peer_sends_nothing: bool = False
    """Whether the peer's reports say that it sends no RTP at all."""

    # Sending
    sent: int = 0
    sending_for: float | None = None
    """How long packets have been going to the address they go to now."""
    held_back: int = 0
    send_errors: int = 0
    refused: int = 0
    """ICMP port unreachable for what we sent."""
    refusing: bool = False
    """Whether ICMP is the last that came from there."""
    transmitting: bool = False
    source_is_silent: bool = False
    """Whether nothing but silence was given to send."""
    source_ended: bool = False
    """Whether the source came to its end, or failed."""
    reports: int = 0
    """RTCP reports (SR and RR) of the peer."""
    reports_without_us: int = 0
    """The last so many in a row should have had a block about our SSRC, and had none."""
    confirmed: int = 0
    """Our packets that the peer must have received or lost, by its last block about us."""
    confirmed_ago: float | None = None
    """How long ago a block first showed the highest number it shows now."""
    remote_lost: int = 0
    remote_jitter: float | None = None
    round_trip: float | None = None

    # The call
    ack_missing: bool = False
    """UAS: no ACK has come for longer than it takes; UAC: the peer repeats its 200."""
    answer_changed: bool = False
    """Whether the descriptions of the 183 and the 200 differ."""
    peer_encrypts: bool = False
    """Whether the peer's description offers or demands SRTP."""
    port_zero: bool = False
    """Whether the peer's description refuses audio with port 0."""
    peer_gone: bool = False
    """Whether the call ended because the peer was gone."""
    stalled_for: float = 0.0
    """How long this process did not run when it should have, all pauses together."""
    bridged_is_silent: bool = False
    """Whether what we send comes from another call in which nothing is heard."""
    oddities: tuple[str, ...] = ()
    """What was odd in the peer's descriptions and still could be read."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> Evidence:
        """The same as ``Evidence(**values)``, at a fraction of the cost."""
        evidence: Evidence = object.__new__(cls)
        vars(evidence).update(_DEFAULTS, **values)
        return evidence

    @property
    def share_received(self) -> float | None:
        """The share of what the peer sent that arrived, or None if nothing was due."""
        due, came = self.due
        return min(1.0, came / due) if due else None

    @property
    def due(self) -> tuple[int, int]:
        """Packets due and packets received in time, by sequence numbers or the peer's count."""
        came = max(0, min(self.received, self.expected) - self.late)
        sent = self.peer_sent
        if sent is not None and sent - self.received_meanwhile > self.expected - came + _FEW:
            return sent, self.received_meanwhile
        return self.expected, came

    @property
    def share_confirmed(self) -> float | None:
        """The share of our packets that arrived, as the peer reports it, or None."""
        if self.confirmed <= 0:
            return None
        return max(0.0, min(1.0, 1 - self.remote_lost / self.confirmed))

    @property
    def missing(self) -> float:
        """About how many packets should have come and did not."""
        due, came = self.due
        quiet = 0.0
        if self.receives:
            silent = self.agreed_for if self.rtp_ago is None else self.rtp_ago
            quiet = (silent or 0.0) / self.ptime
        return max(1.0, float(due - came), quiet)


_DEFAULTS: Final = {each.name: each.default for each in fields(Evidence)}


@frozen(slots=False)
class Cause:
    """One possible cause of a fault, with the numbers that speak for it and a remedy."""

    name: str
    """As in `CAUSES`; the reference describes each."""
    way: Way
    weight: float
    """How much of the fault it explains, above 0, at most 1."""
    text: str
    remedy: str
    numbers: Mapping[str, Any] = field(factory=dict)
    """The evidence behind it, by the names of `Evidence`."""

    def __str__(self) -> str:
        return self.text


@frozen(slots=False)
class Finding:
    """What is known about one direction.

    ``share`` is the share of the packets due that arrived, from 0 to 1, or None if that is not
    known; ``text`` says the same for people.
    """

    proof: Proof
    packets: int
    share: float | None
    text: str

    def __str__(self) -> str:
        return f"{self.proof}: {self.text}"


@frozen(slots=False)
class Verdict:
    """What became of a call's audio.  ``str`` is one line for people."""

    judgement: Judgement
    receiving: Finding
    sending: Finding
    causes: tuple[Cause, ...]
    """Causes of the fault, the most likely first; without a fault, what may become one."""
    evidence: Evidence

    @property
    def faulty(self) -> bool:
        """Whether a direction that is allowed is contradicted."""
        return Proof.CONTRADICTED in (self.receiving.proof, self.sending.proof)

    @property
    def both_ways(self) -> bool:
        """Whether audio arrives here and nothing contradicts that ours arrives there.

        With a peer that sends no RTCP, sending stays unconfirmed; see `proven`.  While a call is
        held, what was heard before counts.
        """
        receiving = self.receiving.proof is Proof.PROVEN or self._ran_before(self.receiving)
        sending = self.sending.proof in (Proof.PROVEN, Proof.UNCONFIRMED)
        return receiving and (sending or self._ran_before(self.sending))

    @property
    def proven(self) -> bool:
        """Whether the audio of both directions is proven."""
        return self.receiving.proof is self.sending.proof is Proof.PROVEN

    def _ran_before(self, finding: Finding) -> bool:
        """Whether a direction that a hold stopped was fine until then."""
        held = finding.proof is Proof.NOT_ALLOWED and self.evidence.held and finding.packets > 0
        return held and (finding.share is None or finding.share >= SHARE)

    @property
    def cause(self) -> Cause | None:
        """The most likely cause of the fault, or None."""
        return self.causes[0] if self.causes else None

    @property
    def remedy(self) -> str | None:
        """What to do about the most likely cause, or None."""
        return self.causes[0].remedy if self.causes else None

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain values that can be written as JSON."""
        return {
            "judgement": str(self.judgement),
            "receiving": _plain(self.receiving),
            "sending": _plain(self.sending),
            "causes": [_plain(cause) for cause in self.causes],
            "evidence": _plain(self.evidence),
        }

    def __str__(self) -> str:
        text = f"{self.judgement}: receiving {self.receiving}; sending {self.sending}"
        return f"{text}; {self.causes[0]}" if self.causes else text


def _plain(value: Any) -> Any:
    """A value of a verdict as JSON knows it."""
    if isinstance(value, Direction | Codec):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (Cause, Evidence, Finding)):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(type(value))}
    return value


# --- the two directions


def _receiving(e: Evidence) -> Finding:
    due, came = e.due
    share = e.share_received
    if not e.receives:
        return Finding(Proof.NOT_ALLOWED, e.received, share, "the agreement does not allow it")
    if e.received == 0:
        waited = e.agreed_for or 0.0
        proof = Proof.CONTRADICTED if e.over or waited >= QUIET else Proof.UNCONFIRMED
        return Finding(proof, 0, None, f"no packet in {waited:.1f} s")
    text = f"{came} of {due} packets arrived"
    quiet = 0.0 if e.rtp_ago is None else e.rtp_ago
    if e.peer_gone:
        return Finding(Proof.CONTRADICTED, e.received, share, f"{text}, then the peer was gone")
    if _too_few(came, due):
        return Finding(Proof.CONTRADICTED, e.received, share, text)
    if quiet >= QUIET and not _is_pausing(e):
        return Finding(
            Proof.CONTRADICTED, e.received, share, f"{text}, the last one {quiet:.1f} s ago"
        )
    return Finding(Proof.PROVEN, e.received, share, text)


def _too_few(came: int, due: int) -> bool:
    """Whether less than `SHARE` arrived, and that by more than chance explains.

    With a loss of just 5 % half of all calls are below it; four standard deviations and a few
    packets more are the margin.
    """
    margin = 4 * sqrt(max(0, due) * SHARE * (1 - SHARE)) + _FEW
    return came < SHARE * due - margin


def _is_pausing(e: Evidence) -> bool:
    """Whether the peer sends nothing by its own choice: comfort noise, or its own count."""
    if e.pauses:
        return True
    counted_later = e.rtcp_ago is not None and e.rtp_ago is not None and e.rtcp_ago < e.rtp_ago
    return counted_later and e.peer_sent is not None and e.due[0] == e.expected


def _sending(e: Evidence) -> Finding:
    share = e.share_confirmed
    if not e.sends:
        return Finding(Proof.NOT_ALLOWED, e.sent, share, "the agreement does not allow it")
    waited = e.agreed_for or 0.0
    if e.sent == 0:
        proof = Proof.CONTRADICTED if e.over or waited >= QUIET else Proof.UNCONFIRMED
        return Finding(proof, 0, None, f"no packet was sent in {waited:.1f} s")
    text = f"{e.sent} packets sent"
    if e.refusing:
        return Finding(
            Proof.CONTRADICTED, e.sent, share, f"{text}, and ICMP says that nobody receives them"
        )
    if e.reports_without_us:
        return Finding(
            Proof.CONTRADICTED, e.sent, share, f"{text}, and the peer's RTCP reports none of them"
        )
    if share is None:
        why = "the peer sent no report about them" if e.reports else "the peer sends no RTCP"
        return Finding(Proof.UNCONFIRMED, e.sent, None, f"{text}, {why}")
    arrived = e.confirmed - max(0, e.remote_lost)
    text = f"{text}, the peer reports {arrived} of {e.confirmed} as received"
    if _too_few(arrived, e.confirmed):
        return Finding(Proof.CONTRADICTED, e.sent, share, text)
    return Finding(Proof.PROVEN, e.sent, share, text)


def _judgement(e: Evidence, receiving: Finding, sending: Finding) -> Judgement:
    rx, tx = receiving.proof, sending.proof
    if e.agreed_for is None:
        return Judgement.NOT_ANSWERED if e.over else Judgement.NOT_YET
    if rx is Proof.CONTRADICTED and tx is Proof.CONTRADICTED:
        return Judgement.NO_MEDIA
    if rx is Proof.CONTRADICTED:
        return _receiving_fault(e)
    if tx is Proof.CONTRADICTED:
        arrived = e.confirmed > 0 and not (e.reports_without_us or e.refusing)
        return Judgement.TX_LOSS if arrived else Judgement.NO_TX
    if Proof.NOT_ALLOWED in (rx, tx):
        return Judgement.HELD if e.held or rx is tx else Judgement.ONE_WAY
    if rx is Proof.UNCONFIRMED:
        return Judgement.NOT_YET
    if _is_silent(e):
        return Judgement.RX_SILENCE
    if e.source_is_silent and e.agreed_for >= SILENT:
        return Judgement.TX_SILENCE
    return Judgement.TWO_WAY if tx is Proof.PROVEN else Judgement.UNCONFIRMED


def _is_silent(e: Evidence) -> bool:
    waited = e.agreed_for or 0.0
    if waited < SILENT:
        return False
    if e.level is None:
        return _is_noise(e)
    return e.sound_ago is None or e.sound_ago >= SILENT


def _is_noise(e: Evidence) -> bool:
    return e.comfort_noise > 0 and e.received <= 2 * e.comfort_noise


def _receiving_fault(e: Evidence) -> Judgement:
    half = e.missing / 2
    if e.unexpected >= half or e.unplayable >= half:
        return Judgement.RX_WRONG_PAYLOAD_TYPE
    if e.strangers >= half or e.other_sources >= half:
        return Judgement.RX_WRONG_SOURCE
    quiet = e.received == 0 or e.peer_gone or (e.rtp_ago or 0.0) >= QUIET
    return Judgement.NO_RX if quiet else Judgement.RX_LOSS


# --- causes

Weigh: TypeAlias = Callable[[Evidence], float]


@frozen
class CauseRule:
    """A row of the table of causes.

    ``weigh`` says how much of the fault it explains: 0, not at all, to 1, all of it.  It is only
    called if the evidence named ``sign`` is there (true or not 0); `Evidence.ptime` always is.
    ``text`` is a format of the names of `Evidence`; ``numbers`` are those that speak for the cause.
    Of causes with the same weight the earlier row ranks first.
    """

    name: str
    way: Way
    sign: str
    weigh: Weigh
    text: str
    remedy: str
    numbers: tuple[str, ...]
    notable: bool = False
    """Whether it is reported where nothing is wrong (yet), too."""


def _sure(weight: float) -> Weigh:
    """The sign alone is enough."""
    return lambda _: weight


def _part(count: float, whole: float) -> float:
    """``count`` as a share of ``whole``, 0 if it explains less than half."""
    share = min(1.0, count / max(1.0, whole))
    return share if share >= 0.5 else 0.0


def _of_missing(name: str, factor: float = 1.0) -> Weigh:
    def weigh(e: Evidence) -> float:
        return factor * _part(getattr(e, name), e.missing)

    return weigh


def _rtp_quiet(e: Evidence) -> bool:
    return e.receives and (e.received == 0 or (e.rtp_ago or 0.0) >= QUIET)


_strangers: Final = _of_missing("strangers", 0.97)


def _source_changed(e: Evidence) -> float:
    return _strangers(e) if e.received else 0.0


def _nat_without_latch(e: Evidence) -> float:
    if e.received or e.stranger is None or e.described is None:
        return 0.0
    translated = e.stranger[0] == e.signalling_host != e.described[0]
    return _strangers(e) if translated else 0.0


def _port_mismatch(e: Evidence) -> float:
    if e.received or e.stranger is None or e.described is None:
        return 0.0
    return _strangers(e) if e.stranger[0] == e.described[0] else 0.0


def _wrong_source(e: Evidence) -> float:
    return 0.0 if e.received else 0.9 * _strangers(e)


def _process_stalled(e: Evidence) -> float:
    if e.stalled_for < max(_PAUSE, 0.05 * (e.agreed_for or 0.0)):
        return 0.0
    due, came = e.due
    short = e.missing if _rtp_quiet(e) else float(due - came)
    return _part(e.stalled_for / e.ptime, short)


def _reaches_less(address: Address | None, host: str) -> bool:
    """Whether a peer at ``host`` is further away than ``address`` can be reached from."""
    return address is not None and address[0] != host and reach(address[0]) < reach(host)


def _own_address_private(e: Evidence) -> float:
    return 0.85 if e.received == 0 and _reaches_less(e.local, e.signalling_host) else 0.0


def _peer_address_private(e: Evidence) -> float:
    unheard = e.reports_without_us > 0 or e.refusing or e.received == 0
    private = unheard and not e.latched and _reaches_less(e.described, e.signalling_host)
    return 0.8 if private else 0.0


def _outbound_blocked(e: Evidence) -> float:
    return 0.0 if e.refusing else 0.6


def _inbound_blocked(e: Evidence) -> float:
    if not _rtp_quiet(e) or e.peer_sends_nothing:
        return 0.0
    if e.peer_sent is not None and e.peer_sent > e.received_meanwhile + _FEW:
        return 0.9  # the peer says that it sends, and its RTCP arrives
    return 0.3


def _peer_sends_nothing(e: Evidence) -> float:
    return 0.9 if _rtp_quiet(e) else 0.0


def _peer_died(e: Evidence) -> float:
    if e.peer_gone:
        return 0.98
    if e.refusing and e.received > 0 and e.receives and not e.pauses:
        return 0.97 if (e.rtp_ago or 0.0) >= _GONE else 0.0
    both_quiet = e.received > 0 and _rtp_quiet(e) and e.reports > 0
    silent = both_quiet and (e.rtcp_ago or 0.0) > 15
    return 0.7 if silent else 0.0


def _lossy_in(e: Evidence) -> float:
    due, came = e.due
    return 0.5 if came < due and not _rtp_quiet(e) else 0.0


def _lossy_out(e: Evidence) -> float:
    return 0.5 if e.remote_lost > 0 and not e.reports_without_us and not e.refusing else 0.0


def _ended_source(e: Evidence) -> float:
    return 0.9 if e.source_is_silent or (e.sends and e.sent == 0) else 0.0


def _held_back(e: Evidence) -> float:
    return 0.62 if e.held_back > e.sent and e.sends else 0.0


def _cannot_send(e: Evidence) -> float:
    return 0.9 if e.sends and e.send_errors > e.sent else 0.0


def _muted_peer(e: Evidence) -> float:
    muted = e.level is not None and _is_silent(e) and not _is_noise(e) and not _rtp_quiet(e)
    return 0.8 if muted else 0.0


def _only_noise(e: Evidence) -> float:
    return 0.9 if _is_noise(e) and not _rtp_quiet(e) else 0.0


def _muted_source(e: Evidence) -> float:
    return 0.0 if e.bridged_is_silent or e.source_ended else 0.8


def _not_sendrecv(e: Evidence) -> float:
    return 0.95 if e.agreed_for is not None and not (e.sends and e.receives) else 0.0


def _mux_assumed(e: Evidence) -> float:
    # RTCP by the wrong port explains why nothing confirms our sending, not why nothing comes.
    return 0.0 if e.reports else 0.65


def _followed_answer(e: Evidence) -> float:
    return 0.0 if e.received else 0.4


def _two_sources(e: Evidence) -> float:
    competing = e.other_sources >= 5 * _FEW and e.other_sources >= e.received / 4
    return 0.9 if competing else 0.9 * _part(e.other_sources, e.missing)


CAUSES: Final[tuple[CauseRule, ...]] = (
    CauseRule(
        "port-zero",
        Way.BOTH,
        "port_zero",
        _sure(1.0),
        "the peer refuses audio: its description says port 0",
        "Ask why the peer refuses the stream; its codecs or its policy may not allow it.",
        ("port_zero", "direction"),
    ),
    CauseRule(
        "peer-encrypts",
        Way.BOTH,
        "peer_encrypts",
        _sure(0.99),
        "the peer describes or sends SRTP, and this call is plain RTP",
        "Switch encryption off for this call at the peer, or let a gateway end it.",
        ("peer_encrypts", "received", "unplayable"),
    ),
    CauseRule(
        "own-process-stalled",
        Way.BOTH,
        "stalled_for",
        _process_stalled,
        "this process did not run for {stalled_for:.1f} s, so packets were missed",
        "Find what blocks the reactor or starves this machine of CPU time; the call is not to"
        " blame.",
        ("stalled_for", "kernel_drops", "expected", "received"),
        notable=True,
    ),
    CauseRule(
        "payload-type-mismatch",
        Way.RECEIVING,
        "unexpected",
        _of_missing("unexpected"),
        "{unexpected} packets came with payload type {unexpected_type}, and {payload_type}"
        " ({codec}) was agreed on",
        "Compare the formats in the peer's description with what it sends, and correct the"
        " peer's codec settings.",
        ("unexpected", "unexpected_type", "payload_type", "codec"),
    ),
    CauseRule(
        "codec-mismatch",
        Way.RECEIVING,
        "unplayable",
        _of_missing("unplayable"),
        "{unplayable} packets came whose content does not fit {codec}",
        "The peer sends another codec, or other packet lengths, under the agreed payload type;"
        " correct its codec settings.",
        ("unplayable", "payload_type", "codec"),
    ),
    CauseRule(
        "peer-died",
        Way.BOTH,
        "ptime",
        _peer_died,
        "the peer is gone: no RTP and no RTCP any more",
        "Look at the peer and at the network to it; nothing has come from either.",
        ("rtp_ago", "rtcp_ago", "peer_gone"),
    ),
    CauseRule(
        "source-changed",
        Way.RECEIVING,
        "strangers",
        _source_changed,
        "{strangers} packets came from {stranger}, and the call was heard from elsewhere before",
        "The peer's address or port changed during the call. It should announce that by a"
        " re-INVITE; otherwise another source is heard only after 2 s of silence, and only from"
        " the peer's own addresses.",
        ("strangers", "stranger", "remote", "described"),
    ),
    CauseRule(
        "nat-without-latch",
        Way.RECEIVING,
        "strangers",
        _nat_without_latch,
        "{strangers} packets came from {stranger}, and the peer's description says {described}",
        "The peer is behind a NAT. Let media come from any port of its address: leave --nat at"
        " its default, or set it.",
        ("strangers", "stranger", "described", "signalling_host"),
    ),
    CauseRule(
        "rtp-port-mismatch",
        Way.RECEIVING,
        "strangers",
        _port_mismatch,
        "{strangers} packets came from {stranger}, and the peer's description says {described}",
        "The peer sends from another port than it describes. Set --nat if that is its way.",
        ("strangers", "stranger", "described", "remote"),
    ),
    CauseRule(
        "wrong-source",
        Way.RECEIVING,
        "strangers",
        _wrong_source,
        "{strangers} packets came from {stranger}, which is neither {described} nor the peer's"
        " signalling address",
        "Find out who sends from there. If it is the peer's media gateway, it must describe"
        " that address.",
        ("strangers", "stranger", "described", "signalling_host"),
    ),
    CauseRule(
        "receive-not-open",
        Way.SENDING,
        "refusing",
        _sure(0.96),
        "nobody listens at {remote} (ICMP port unreachable, {refused} times)",
        "The peer's RTP port is closed: it describes another address than it opened, or ended"
        " its media.",
        ("refused", "remote", "described"),
    ),
    CauseRule(
        "receive-buffer-full",
        Way.RECEIVING,
        "kernel_drops",
        _of_missing("kernel_drops", 0.94),
        "the kernel threw away {kernel_drops} packets because they were not read in time",
        "This machine is overloaded, or its receive buffers are small; see the page on limits.",
        ("kernel_drops", "expected", "received"),
    ),
    CauseRule(
        "jitter-too-high",
        Way.RECEIVING,
        "late",
        _of_missing("late", 0.95),
        "{late} packets came too late to be played",
        "The network delays packets by different times; look for its queues and Wi-Fi links.",
        ("late", "jitter"),
    ),
    CauseRule(
        "two-sources",
        Way.RECEIVING,
        "other_sources",
        _two_sources,
        "{other_sources} packets came from another source (SSRC) than the one that is heard",
        "Two senders use one address, or the peer changed its SSRC without a pause. Look at its"
        " forking, music on hold and transfers.",
        ("other_sources", "received"),
        notable=True,
    ),
    CauseRule(
        "direction",
        Way.BOTH,
        "ptime",
        _not_sendrecv,
        "the agreed direction is {direction}",
        "One side put the call on hold or offered one direction only; a re-INVITE with sendrecv"
        " ends that.",
        ("direction", "held", "described"),
    ),
    CauseRule(
        "peer-sends-nothing",
        Way.RECEIVING,
        "peer_sends_nothing",
        _peer_sends_nothing,
        "the peer's reports say that it sends no audio",
        "The peer is muted, has no source, or waits for something; look there.",
        ("peer_sends_nothing", "reports", "received"),
    ),
    CauseRule(
        "our-source-ended",
        Way.SENDING,
        "source_ended",
        _ended_source,
        "our source came to its end, so we send silence",
        "Give the call another source, for example a clip that loops.",
        ("source_ended", "sent"),
    ),
    CauseRule(
        "cannot-send",
        Way.SENDING,
        "send_errors",
        _cannot_send,
        "the socket refused to send {send_errors} packets",
        "Look at the route and the firewall of this machine.",
        ("send_errors", "sent", "remote"),
    ),
    CauseRule(
        "bridged-call-silent",
        Way.SENDING,
        "bridged_is_silent",
        _sure(0.9),
        "what we send comes from another call, in which nothing is heard",
        "Look at the verdict of the other call.",
        ("bridged_is_silent",),
    ),
    CauseRule(
        "only-comfort-noise",
        Way.RECEIVING,
        "comfort_noise",
        _only_noise,
        "{comfort_noise} of {received} packets were comfort noise",
        "The peer's microphone is muted, or its voice detection hears no speech.",
        ("comfort_noise", "received"),
    ),
    CauseRule(
        "firewall-inbound",
        Way.RECEIVING,
        "receives",
        _inbound_blocked,
        "nothing comes from {described} to {local}",
        "Look for a firewall or NAT on the way here that does not let UDP to our RTP ports pass"
        " (option --rtp-ports), and compare the address in our description with the real one"
        " (option --media-ip).",
        ("received", "rtp_ago", "peer_sent", "received_meanwhile", "local", "described"),
    ),
    CauseRule(
        "private-address-in-our-description",
        Way.RECEIVING,
        "receives",
        _own_address_private,
        "our description names {local}, which the peer at {signalling_host} cannot reach",
        "Give our public address with --media-ip (and --advertise for SIP).",
        ("local", "signalling_host"),
    ),
    CauseRule(
        "private-address-in-peer-description",
        Way.SENDING,
        "described",
        _peer_address_private,
        "the peer's description names {described}, which cannot be reached from here, and its"
        " SIP comes from {signalling_host}",
        "The peer is behind a NAT, and nothing has come from it that would show its public"
        " address. Let it send first, or use STUN or a media relay there.",
        ("described", "signalling_host", "latched", "received"),
    ),
    CauseRule(
        "our-source-silent",
        Way.SENDING,
        "source_is_silent",
        _muted_source,
        "what we send is silence",
        "Give the call a source, or look why the source gives only silence.",
        ("source_is_silent", "sent"),
    ),
    CauseRule(
        "peer-silent",
        Way.RECEIVING,
        "received",
        _muted_peer,
        "what comes is silence: the loudest was {level:.0f} dBov",
        "The peer is muted, or its source gives only silence; look there.",
        ("level", "sound_ago", "received"),
    ),
    CauseRule(
        "no-ack",
        Way.BOTH,
        "ack_missing",
        _sure(0.75),
        "the ACK does not arrive, so one side may think that the call is not up",
        "Look at Contact, Record-Route and NAT on the way of the ACK.",
        ("ack_missing", "received"),
        notable=True,
    ),
    CauseRule(
        "rtcp-mux-assumed",
        Way.SENDING,
        "rtcp_on_rtp",
        _mux_assumed,
        "{rtcp_on_rtp} RTCP packets came to the RTP port",
        "The peer assumes that RTP and RTCP share a port (RFC 5761), which was not agreed on."
        " Switch rtcp-mux off there.",
        ("rtcp_on_rtp", "reports"),
        notable=True,
    ),
    CauseRule(
        "firewall-outbound",
        Way.SENDING,
        "reports_without_us",
        _outbound_blocked,
        "we sent {sent} packets to {remote}, and the peer's RTCP says that none arrive",
        "Look for a firewall on the way to {remote}, and whether the peer really receives there.",
        ("sent", "reports", "reports_without_us", "confirmed", "remote"),
    ),
    CauseRule(
        "too-little-is-sent",
        Way.SENDING,
        "held_back",
        _held_back,
        "{held_back} packets were held back, because nothing proves that they are wanted at"
        " {remote}",
        "Something has to come from there: an ACK, RTP or RTCP. See the page on limits.",
        ("held_back", "sent", "remote"),
    ),
    CauseRule(
        "network-loss-inbound",
        Way.RECEIVING,
        "received",
        _lossy_in,
        "only {received} of {expected} packets arrived",
        "Look for an overloaded or disturbed link on the way from the peer.",
        ("received", "expected", "jitter"),
    ),
    CauseRule(
        "network-loss-outbound",
        Way.SENDING,
        "remote_lost",
        _lossy_out,
        "the peer lost {remote_lost} of {confirmed} packets",
        "Look for an overloaded or disturbed link on the way to the peer.",
        ("remote_lost", "confirmed", "remote_jitter"),
    ),
    CauseRule(
        "answer-changed",
        Way.RECEIVING,
        "answer_changed",
        _followed_answer,
        "the 200 describes other media than the 183 before",
        "The callee moved from one media server to another; look at the second.",
        ("answer_changed", "described"),
    ),
)
"""All causes that are known, by rank."""


class _Shown(dict[str, Any]):
    """Evidence as texts show it, made when it is asked for."""

    evidence: dict[str, Any]

    def __missing__(self, name: str) -> Any:
        value = self.evidence[name]
        return host_port(*value) if isinstance(value, tuple) else value


def _found(rule: CauseRule, weight: float, e: Evidence) -> Cause:
    shown = _Shown()
    shown.evidence = values = vars(e)
    return Cause(
        rule.name,
        rule.way,
        round(weight, 3),
        rule.text.format_map(shown),
        rule.remedy.format_map(shown),
        MappingProxyType(dict(zip(rule.numbers, map(values.get, rule.numbers), strict=True))),
    )


_RECEIVING_FAULTS: Final = frozenset(
    (
        Judgement.NO_MEDIA,
        Judgement.NO_RX,
        Judgement.RX_LOSS,
        Judgement.RX_SILENCE,
        Judgement.RX_WRONG_PAYLOAD_TYPE,
        Judgement.RX_WRONG_SOURCE,
    )
)
_SENDING_FAULTS: Final = frozenset(
    (Judgement.NO_MEDIA, Judgement.NO_TX, Judgement.TX_LOSS, Judgement.TX_SILENCE)
)
_BY_WEIGHT: Final = itemgetter(0)
_AS_AGREED: Final = frozenset((Judgement.HELD, Judgement.ONE_WAY))


def _ways(judgement: Judgement) -> tuple[Way, ...]:
    if judgement in _AS_AGREED:
        return (Way.BOTH,)
    ways = []
    if judgement in _RECEIVING_FAULTS:
        ways.append(Way.RECEIVING)
    if judgement in _SENDING_FAULTS:
        ways.append(Way.SENDING)
    return (*ways, Way.BOTH) if ways else ()


def _rules(judgement: Judgement) -> tuple[tuple[CauseRule, ...], Callable[[Evidence], Any]]:
    """The rules to be asked about a judgement, and what gets their signs."""
    ways = _ways(judgement)
    rules = tuple(rule for rule in CAUSES if rule.way in ways or rule.notable)
    return rules, attrgetter(*(rule.sign for rule in rules))


_RULES: Final = {judgement: _rules(judgement) for judgement in Judgement}


def _causes(e: Evidence, judgement: Judgement) -> list[Cause]:
    """The most likely first."""
    rules, signs = _RULES[judgement]
    weights = [(w, rule) for rule in compress(rules, signs(e)) if (w := rule.weigh(e)) > 0]
    if len(weights) > 1:
        weights.sort(key=_BY_WEIGHT, reverse=True)  # stable, so rank decides between equals
    return [_found(rule, weight, e) for weight, rule in weights]


def judge(evidence: Evidence) -> Verdict:
    """The verdict on this evidence."""
    receiving, sending = _receiving(evidence), _sending(evidence)
    judgement = _judgement(evidence, receiving, sending)
    causes = tuple(_causes(evidence, judgement))
    return Verdict(judgement, receiving, sending, causes, evidence)
