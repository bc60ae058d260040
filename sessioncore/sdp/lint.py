"""Findings in one session description, as a table; those of several are in `pair_lint`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Final

from attrs import frozen

from sessioncore.errors import SdpParseError
from sessioncore.lint import LintFinding, LintRule, Severity, Values, lint
from sessioncore.reach import reach
from sessioncore.sdp.description import (
    Connection,
    Description,
    MediaDescription,
    RtpMap,
    parse_description,
    split_sections,
)
from sessioncore.sdp.formats import PROTOCOL, STATIC
from sessioncore.sdp.targets import LOWEST_PORT, Host, read_host
from sessioncore.vocabulary import Direction

__all__ = [
    "DESCRIPTION_RULES",
    "DIGITS",
    "NOT_AUDIO",
    "Linted",
    "LintedStream",
    "lint_description",
]

_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
_DIRECTIONS: Final = (b"a=sendrecv", b"a=sendonly", b"a=recvonly", b"a=inactive")
_DISCARD: Final = 9
"""The port that stands for none yet (RFC 8840)."""
_LONGEST_PACKET: Final = 200
DIGITS: Final = b"TELEPHONE-EVENT"
NOT_AUDIO: Final = (DIGITS, b"CN", b"RED", b"TONE")
"""Encoding names, in upper case, that a call cannot begin with."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@frozen(slots=False)
class LintedStream:
    """One m-line with all of its lines, whether negotiation reads them or not."""

    index: int
    media: MediaDescription
    lines: list[bytes]

    @property
    def where(self) -> str:
        """Which m-line it is, for people."""
        return f"m-line {self.index + 1}"

    @property
    def is_audio(self) -> bool:
        """Whether it is an audio stream in use."""
        return self.media.form.kind == b"audio" and self.media.port != 0

    @property
    def is_rtp(self) -> bool:
        """Whether its formats are RTP payload types."""
        return b"RTP/" in self.media.form.protocol

    @cached_property
    def host(self) -> Host | None:
        """The address that media should go to, or None if there is none or it is a name."""
        connection = self.media.connection
        return None if connection is None else read_host(_address(connection))

    def values(self, name: bytes) -> list[bytes]:
        """The values of all its attributes of that name."""
        start = b"a=" + name
        found = [line.partition(b":") for line in self.lines]
        return [value.strip() for head, _, value in found if head == start]

    def has(self, *names: bytes) -> bool:
        """Whether it has an attribute of one of these names."""
        return any(self.values(name) for name in names)

    @cached_property
    def meanings(self) -> dict[bytes, RtpMap]:
        """The meaning of each format that has one."""
        formats = self.media.section.formats
        known = {text: formats.by_format.get(text) or STATIC.get(text) for text in formats.numbers}
        return {text: meaning for text, meaning in known.items() if meaning is not None}

    def named(self, name: bytes) -> dict[bytes, RtpMap]:
        """The formats with that encoding name, in upper case."""
        return {text: each for text, each in self.meanings.items() if each.name.upper() == name}


def _address(connection: Connection) -> str:
    return connection.address.decode("ascii", "replace").strip("[]")


class Linted:
    """A description with all of its lines; ``problem`` says why it cannot be read, or is None.

    One that cannot be read has no ``streams``.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.problem: str | None = None
        self.description: Description | None = None
        self.sections: list[list[bytes]] = []
        try:
            self.sections = split_sections(body)
            self.description = parse_description(body)
        except SdpParseError as error:
            self.problem = str(error)

    @cached_property
    def streams(self) -> list[LintedStream]:
        """Its m-lines."""
        if self.description is None:
            return []
        pairs = zip(self.description.media, self.sections[1:], strict=True)
        return [LintedStream(index, media, lines) for index, (media, lines) in enumerate(pairs)]

    @property
    def audio(self) -> list[LintedStream]:
        """Its audio streams in use."""
        return [stream for stream in self.streams if stream.is_audio]

    @property
    def session_lines(self) -> list[bytes]:
        """Its lines above the first m-line."""
        return self.sections[0] if self.sections else []


# --- one description


def _unreadable(d: Linted) -> Iterator[Values]:
    if d.problem is not None and not any(_unconnected(d)):
        yield {"why": d.problem}


def _unconnected(d: Linted) -> Iterator[Values]:
    if any(line.startswith(b"c=") for line in d.session_lines):
        return
    for index, lines in enumerate(d.sections[1:]):
        port = lines[0].split()[1:2]
        used = port and port[0] != b"0"
        if used and not any(line.startswith(b"c=") for line in lines):
            yield {"where": f"m-line {index + 1}"}


def _no_audio(d: Linted) -> Iterator[Values]:
    if d.description is not None and not d.audio:
        kinds = [f"{each.media.form.kind.decode()} {each.media.port}" for each in d.streams]
        yield {"streams": ", ".join(kinds) or "none"}


def _of_host(wanted: Callable[[Host], object]) -> Callable[[Linted], Iterator[Values]]:
    """A check of the address of each audio stream."""

    def check(d: Linted) -> Iterator[Values]:
        for stream in d.audio:
            if stream.host is not None and wanted(stream.host):
                yield {"where": stream.where, "address": stream.host.text}

    return check


def _wrong_family(d: Linted) -> Iterator[Values]:
    for stream in d.audio:
        said = stream.media.connection
        if said is None:
            continue
        wants_ipv6 = {b"IP4": False, b"IP6": True}.get(said.addrtype)
        written = _address(said)
        if said.nettype != b"IN" or wants_ipv6 is None:
            yield {"where": stream.where, "said": said.nettype + b" " + said.addrtype,
                   "address": written}  # fmt: skip
        elif stream.host is not None and wants_ipv6 is not (":" in written):
            yield {"where": stream.where, "said": said.addrtype, "address": written}


def _named_host(d: Linted) -> Iterator[Values]:
    for stream in d.audio:
        if stream.host is None and stream.media.connection is not None:
            yield {"where": stream.where, "address": _address(stream.media.connection)}


def _ice_only(d: Linted) -> Iterator[Values]:
    session = any(line.startswith(b"a=ice-ufrag") for line in d.session_lines)
    for stream in d.audio:
        nowhere = stream.host is not None and stream.host.is_unspecified
        if (session or stream.has(b"ice-ufrag")) and (nowhere or stream.media.port == _DISCARD):
            yield {"where": stream.where, "port": stream.media.port}


def _unspecified(d: Linted) -> Iterator[Values]:
    ice = {values["where"] for values in _ice_only(d)}
    for values in _of_host(lambda host: host.is_unspecified)(d):
        if values["where"] not in ice:
            yield values


def _encryption_required(d: Linted) -> Iterator[Values]:
    for stream in d.streams:
        if stream.is_audio and b"SAVP" in stream.media.form.protocol:
            yield {"where": stream.where, "protocol": stream.media.form.protocol}


def _encryption_beside(d: Linted) -> Iterator[Values]:
    names = (b"crypto", b"fingerprint", b"key-mgmt")
    session = any(line.startswith(b"a=fingerprint") for line in d.session_lines)
    for stream in d.audio:
        if b"SAVP" in stream.media.form.protocol:
            continue
        found = [name for name in names if stream.has(name)]
        if found or session:
            name = found[0] if found else b"fingerprint"
            yield {"where": stream.where, "attribute": name}


def _other_profile(d: Linted) -> Iterator[Values]:
    for stream in d.audio:
        protocol = stream.media.form.protocol
        if protocol != PROTOCOL and b"SAVP" not in protocol:
            yield {"where": stream.where, "protocol": protocol}


def _inactive(d: Linted) -> Iterator[Values]:
    for stream in d.audio:
        if stream.media.direction is Direction.INACTIVE:
            yield {"where": stream.where}


def _one_direction(d: Linted) -> Iterator[Values]:
    for stream in d.audio:
        direction = stream.media.direction
        if direction in (Direction.SENDONLY, Direction.RECVONLY):
            yield {"where": stream.where, "direction": direction}


def _several_directions(d: Linted) -> Iterator[Values]:
    for where, lines in (("session", d.session_lines), *((s.where, s.lines) for s in d.streams)):
        found = [line for line in lines if line in _DIRECTIONS]
        if len(set(found)) > 1:
            yield {"where": where, "said": b", ".join(found), "first": found[0]}


def _low_port(d: Linted) -> Iterator[Values]:
    for stream in d.audio:
        port = stream.media.port
        if port < LOWEST_PORT and port != _DISCARD:
            yield {"where": stream.where, "port": port}


def _odd_port(d: Linted) -> Iterator[Values]:
    for stream in d.audio:
        apart = stream.has(b"rtcp", b"rtcp-mux") or stream.media.port == _DISCARD
        if stream.media.port % 2 and not apart:
            yield {"where": stream.where, "port": stream.media.port}


def _several_ports(d: Linted) -> Iterator[Values]:
    for stream in d.audio:
        if stream.media.form.port_count > 1:
            yield {"where": stream.where, "count": stream.media.form.port_count}


def _rtp_audio(d: Linted) -> Iterator[LintedStream]:
    return (stream for stream in d.audio if stream.is_rtp)


def _no_rtpmap(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        for text in stream.media.formats:
            if text not in stream.meanings:
                yield {"where": stream.where, "number": text}


def _reserved_number(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        for text in stream.media.formats:
            if text.isdigit() and 64 <= int(text[:4]) <= 95:
                yield {"where": stream.where, "number": text}


def _changed_static(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        for text, meaning in stream.media.section.formats.by_format.items():
            fixed = STATIC.get(text)
            if fixed is not None and str(meaning).upper() != str(fixed).upper():
                yield {"where": stream.where, "number": text, "said": meaning, "fixed": fixed}


def _doubled_number(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        for text, count in Counter(stream.media.formats).items():
            if count > 1:
                yield {"where": stream.where, "number": text, "count": count}


def _numbers_of(stream: LintedStream, name: bytes) -> list[bytes]:
    return [value.partition(b" ")[0] for value in stream.values(name)]


def _doubled_rtpmap(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        said: dict[bytes, set[bytes]] = {}
        for value in stream.values(b"rtpmap"):
            number, _, meaning = value.partition(b" ")
            said.setdefault(number, set()).add(meaning.strip().upper())
        for number, meanings in said.items():
            if len(meanings) > 1:
                yield {
                    "where": stream.where,
                    "number": number,
                    "said": b", ".join(sorted(meanings)),
                }


def _unlisted(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        for name in (b"rtpmap", b"fmtp"):
            for number in dict.fromkeys(_numbers_of(stream, name)):
                if number not in stream.media.formats:
                    yield {"where": stream.where, "attribute": name, "number": number}


def _digits_rate(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        rates = {
            each.clock_rate
            for each in stream.meanings.values()
            if each.name.upper() not in NOT_AUDIO
        }
        for text, digits in stream.named(DIGITS).items():
            if rates and digits.clock_rate not in rates:
                listed = ", ".join(map(str, sorted(rates)))
                yield {"where": stream.where, "number": text, "rate": digits.clock_rate,
                       "rates": listed}  # fmt: skip


def _no_digits(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        if not stream.named(DIGITS):
            yield {"where": stream.where}


def _packet_lengths(stream: LintedStream, name: bytes) -> Iterator[bytes]:
    yield from stream.values(name)


def _odd_ptime(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        for name in (b"ptime", b"maxptime"):
            for value in _packet_lengths(stream, name):
                length = _milliseconds(value)
                if length is None or not 0 < length <= _LONGEST_PACKET:
                    yield {"where": stream.where, "attribute": name, "value": value}


def _milliseconds(value: bytes) -> float | None:
    whole, _, part = value.partition(b".")
    digits = whole + part
    return float(value) if whole and digits.isdigit() and len(digits) < 10 else None


def _short_maxptime(d: Linted) -> Iterator[Values]:
    for stream in _rtp_audio(d):
        formats = stream.media.section.formats
        if formats.ptime and formats.maxptime and formats.maxptime < formats.ptime:
            yield {"where": stream.where, "ptime": formats.ptime, "maxptime": formats.maxptime}


def _bandwidths(lines: list[bytes]) -> dict[bytes, bytes]:
    pairs = [line[2:].partition(b":") for line in lines if line.startswith(b"b=")]
    return {kind: value.strip() for kind, _, value in pairs}


def _no_bandwidth(d: Linted) -> Iterator[Values]:
    for where, lines in (("session", d.session_lines), *((s.where, s.lines) for s in d.audio)):
        for kind, value in _bandwidths(lines).items():
            if kind in (b"AS", b"TIAS", b"CT") and value == b"0":
                yield {"where": where, "kind": kind}


def _no_rtcp(d: Linted) -> Iterator[Values]:
    for stream in d.audio:
        said = _bandwidths(stream.lines)
        if said.get(b"RS") == b"0" and said.get(b"RR") == b"0":
            yield {"where": stream.where}


def _with_attribute(name: bytes) -> Callable[[Linted], Iterator[Values]]:
    def check(d: Linted) -> Iterator[Values]:
        for stream in d.streams:
            if stream.media.form.kind == b"audio" and stream.has(name):
                yield {"where": stream.where}

    return check


def _odd(d: Linted) -> Iterator[Values]:
    if d.description is not None:
        for what in d.description.oddities:
            yield {"what": what}


def _bare_line_ends(d: Linted) -> Iterator[Values]:
    body = d.body.removeprefix(_BYTE_ORDER_MARK)
    if d.description is not None and b"\n" in body.replace(b"\r\n", b""):
        yield {}


def _no_last_line_end(d: Linted) -> Iterator[Values]:
    if d.description is not None and not d.body.endswith(b"\n"):
        yield {}


DESCRIPTION_RULES: Final[tuple[LintRule[Linted], ...]] = (
    LintRule(
        "unreadable-description",
        _ERROR,
        "RFC 8866 section 5",
        "it cannot be read: {why}",
        "Correct the line that the text names; the description is refused as a whole.",
        _unreadable,
    ),
    LintRule(
        "no-connection",
        _ERROR,
        "RFC 8866 section 5.7",
        "neither the session nor the stream has a c= line, so there is nowhere to send to",
        "Write one c= line for the session, or one in each stream.",
        _unconnected,
    ),
    LintRule(
        "no-audio",
        _ERROR,
        "RFC 3264 section 6",
        "no audio stream is in use; there is {streams}",
        "Offer m=audio with a port; if this answers an offer, find out why audio is refused.",
        _no_audio,
    ),
    LintRule(
        "multicast-address",
        _ERROR,
        "RFC 3264 section 5.2",
        "c= names the multicast address {address}",
        "Write the address of this host; a call is between two hosts.",
        _of_host(lambda host: host.fault is not None and "multicast" in host.fault.text),
    ),
    LintRule(
        "not-a-host-address",
        _ERROR,
        "RFC 1122 section 3.2.1.3",
        "{address} cannot be the address of a host",
        "Write the address on which this side receives.",
        _of_host(lambda host: host.fault is not None and "multicast" not in host.fault.text),
    ),
    LintRule(
        "wrong-address-family",
        _ERROR,
        "RFC 8866 section 5.7",
        "c= says {said} and names {address}",
        "Write IN IP4 before an IPv4 address and IN IP6 before an IPv6 address.",
        _wrong_family,
    ),
    LintRule(
        "ice-only",
        _ERROR,
        "RFC 8839 section 5",
        "the peer can only be reached through ICE: c= and port {port} lead nowhere",
        "Switch ICE off for this call, or let a gateway end it; plain RTP needs an address and a"
        " port in c= and m=.",
        _ice_only,
    ),
    LintRule(
        "host-name",
        _WARNING,
        "RFC 8866 section 5.7",
        "c= names the host {address} and not an IP address",
        "Write the IP address; many peers do not look names up.",
        _named_host,
    ),
    LintRule(
        "unspecified-address",
        _WARNING,
        "RFC 3264 section 8.4",
        "c= names {address}, the older way to put a call on hold: nothing is sent there",
        "Write the real address, and a=sendonly or a=inactive for hold.",
        _unspecified,
    ),
    LintRule(
        "loopback-address",
        _WARNING,
        "RFC 1122 section 3.2.1.3",
        "c= names {address}, which only the same machine can reach",
        "Write the address of the network towards the peer; look at the host's name in its own"
        " /etc/hosts if nobody configured it.",
        _of_host(lambda host: host.is_loopback),
    ),
    LintRule(
        "private-address",
        _NOTE,
        "RFC 1918 section 3",
        "c= names {address}, which only hosts of the same network can reach",
        "If the peer is elsewhere, write the public address, or use STUN or a media relay.",
        _of_host(lambda host: reach(host.text) == 2),
    ),
    LintRule(
        "encryption-required",
        _WARNING,
        "RFC 3711 section 12",
        "the stream is {protocol}: its audio is encrypted",
        "Both sides must encrypt; switch SRTP off if one of them cannot.",
        _encryption_required,
    ),
    LintRule(
        "encryption-beside-plain",
        _WARNING,
        "RFC 8643 section 3",
        "a={attribute} stands in a stream of plain RTP: the peer may encrypt",
        "If what comes cannot be played, switch SRTP off at the peer.",
        _encryption_beside,
    ),
    LintRule(
        "other-profile",
        _WARNING,
        "RFC 3264 section 5.1",
        "the stream is {protocol} and not RTP/AVP",
        "Offer RTP/AVP; peers without that profile refuse the stream.",
        _other_profile,
    ),
    LintRule(
        "inactive",
        _WARNING,
        "RFC 3264 section 5.1",
        "a=inactive: there is no audio either way",
        "If the call is not on hold, write a=sendrecv or nothing.",
        _inactive,
    ),
    LintRule(
        "one-direction",
        _NOTE,
        "RFC 3264 section 5.1",
        "a={direction}: there is audio one way only",
        "If that is not wanted, write a=sendrecv or nothing.",
        _one_direction,
    ),
    LintRule(
        "several-directions",
        _WARNING,
        "RFC 8866 section 6.7",
        "several directions in one place: {said}; the first one, {first}, counts here",
        "Write one; others may take the last.",
        _several_directions,
    ),
    LintRule(
        "low-port",
        _WARNING,
        "RFC 6335 section 6",
        "port {port} is below 1024, where the services of a host are",
        "Receive on a port from 1024 up.",
        _low_port,
    ),
    LintRule(
        "odd-port",
        _NOTE,
        "RFC 3550 section 11",
        "port {port} is odd, and RTP should use even ports, with RTCP on the next",
        "Receive on an even port, or say a=rtcp; some peers round down.",
        _odd_port,
    ),
    LintRule(
        "port-count",
        _WARNING,
        "RFC 8866 section 5.14",
        "the stream is spread over {count} ports",
        "Use one port; hardly any peer supports more.",
        _several_ports,
    ),
    LintRule(
        "no-rtpmap",
        _WARNING,
        "RFC 8866 section 6.6",
        "format {number} has no fixed meaning and no a=rtpmap",
        "Write a=rtpmap:{number} with name and clock rate; without it nobody can use the format.",
        _no_rtpmap,
    ),
    LintRule(
        "reserved-payload-type",
        _WARNING,
        "RFC 5761 section 4",
        "payload type {number} looks like RTCP",
        "Use 96 to 127; 64 to 95 are not for RTP where RTCP may share its port.",
        _reserved_number,
    ),
    LintRule(
        "changed-static-type",
        _WARNING,
        "RFC 3551 section 6",
        "a=rtpmap makes payload type {number} {said}, and it is always {fixed}",
        "Use a number from 96 to 127 for {said}.",
        _changed_static,
    ),
    LintRule(
        "doubled-format",
        _WARNING,
        "RFC 8866 section 5.14",
        "format {number} is listed {count} times",
        "List each format once.",
        _doubled_number,
    ),
    LintRule(
        "doubled-rtpmap",
        _WARNING,
        "RFC 8866 section 6.6",
        "format {number} has several meanings: {said}; the first one counts here",
        "Give each codec a number of its own.",
        _doubled_rtpmap,
    ),
    LintRule(
        "unlisted-format",
        _NOTE,
        "RFC 8866 section 6.6",
        "a={attribute} is about format {number}, which the m-line does not list",
        "List the number in m=, or leave the attribute out.",
        _unlisted,
    ),
    LintRule(
        "digits-clock-rate",
        _WARNING,
        "RFC 4733 section 2.1",
        "telephone-event {number} runs at {rate} Hz, and the codecs at {rates} Hz",
        "Offer telephone-event at the clock rate of each codec; digits may not be recognized.",
        _digits_rate,
    ),
    LintRule(
        "no-digits",
        _NOTE,
        "RFC 4733 section 2.1",
        "there is no telephone-event, so digits can only come as tones in the audio or by INFO",
        "Offer telephone-event/8000 if digits are needed.",
        _no_digits,
    ),
    LintRule(
        "odd-packet-length",
        _WARNING,
        "RFC 3551 section 4.2",
        "a={attribute}:{value} is not a packet length from 1 to 200 ms",
        "Write 20, or leave the line out.",
        _odd_ptime,
    ),
    LintRule(
        "short-maxptime",
        _WARNING,
        "RFC 8866 section 6.5",
        "a=maxptime:{maxptime} is less than a=ptime:{ptime}",
        "Raise maxptime, or ask for shorter packets.",
        _short_maxptime,
    ),
    LintRule(
        "no-bandwidth",
        _WARNING,
        "RFC 8866 section 5.8",
        "b={kind}:0 says that no bandwidth may be used",
        "Leave the line out; some peers send nothing because of it.",
        _no_bandwidth,
    ),
    LintRule(
        "rtcp-off",
        _NOTE,
        "RFC 3556 section 2",
        "b=RS:0 and b=RR:0 switch RTCP off, so nobody can see whether audio arrives",
        "Leave the lines out if loss and jitter should be reported.",
        _no_rtcp,
    ),
    LintRule(
        "rtcp-mux-only",
        _WARNING,
        "RFC 8858 section 3",
        "a=rtcp-mux-only demands that RTCP shares the port of RTP",
        "Offer a=rtcp-mux without it; a peer that cannot do so has to refuse the stream.",
        _with_attribute(b"rtcp-mux-only"),
    ),
    LintRule(
        "bundle-only",
        _WARNING,
        "RFC 9143 section 6",
        "a=bundle-only: the stream can only be used within a bundle",
        "Offer the stream with a port of its own.",
        _with_attribute(b"bundle-only"),
    ),
    LintRule(
        "oddity",
        _WARNING,
        "RFC 8866 section 5",
        "{what}",
        "It was read all the same; correct it, because others may refuse the description.",
        _odd,
    ),
    LintRule(
        "bare-line-ends",
        _NOTE,
        "RFC 8866 section 5",
        "lines end in LF alone",
        "End lines in CR LF; some peers demand it.",
        _bare_line_ends,
    ),
    LintRule(
        "no-last-line-end",
        _NOTE,
        "RFC 8866 section 5",
        "the last line has no end",
        "End the last line in CR LF; some peers ignore it otherwise.",
        _no_last_line_end,
    ),
)
"""What can be found in one description."""


def lint_description(body: bytes) -> tuple[LintFinding, ...]:
    """The findings in one description, the worst first; raises nothing."""
    return lint(DESCRIPTION_RULES, Linted(body))
