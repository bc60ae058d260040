"""Judging the m-lines of a description: which one carries the call, and what it agrees to.

Pure functions; the machine that calls them is in `sessioncore.sdp.negotiation`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from attrs import define

from sessioncore.errors import AnswerRefused, NegotiationError
from sessioncore.sdp.description import Connection, Description, MediaDescription, RtcpAttribute
from sessioncore.sdp.formats import (
    FormatMatch,
    MediaPolicy,
    Proposal,
    Shared,
    accept_formats,
    choose_ptime,
)
from sessioncore.sdp.targets import Refusal, find_fault, read_host
from sessioncore.vocabulary import Address, Direction, StreamAgreement

__all__ = [
    "PROTOCOL",
    "Accepted",
    "Side",
    "accept_answer",
    "accept_offer",
    "agree",
    "agreed_direction",
    "is_hold",
    "recheck",
    "refused",
]

PROTOCOL: Final = b"RTP/AVP"
_FAMILIES: Final = {b"IP4": False, b"IP6": True}
_MAX_REASONS: Final = 16
_DIRECTIONS: Final = tuple(Direction)
_MUTED: Final = tuple([Direction(each & Direction.SENDONLY) for each in Direction])
"""By direction: the same without receiving."""

Targets = tuple[tuple[str, tuple[int, ...]], ...]
"""Hosts that are sent to, each with its ports."""


@define(eq=False)
class Accepted:
    """The m-line of the peer that carries the call, checked.

    ``direction`` is as the peer sees it.  ``remote`` is None where the peer named no address
    to send to (``0.0.0.0``), and then ``direction`` does not receive.  ``targets`` are both
    by host.
    """

    index: int
    formats: FormatMatch
    remote: Address | None
    remote_rtcp: Address | None
    direction: Direction
    ptime: int
    targets: Targets


Side = tuple[MediaPolicy, Proposal, tuple[Address, ...], str]
"""What our side brings to judging: policy, formats, addresses, and the IP SIP came from."""


def agreed_direction(offered: Direction, wish: Direction, local_hold: bool) -> Direction:
    """Our direction for a peer's: what both want, without hearing while we hold.

    RFC 3264 sections 6.1 and 8.4.
    """
    ours = _DIRECTIONS[offered.mirrored & wish]
    return _MUTED[ours] if local_hold else ours


def is_hold(accepted: Accepted) -> bool:
    """Whether the peer does not want to hear us: sendonly, inactive or ``0.0.0.0``."""
    return not accepted.direction.receives


def accept_offer(description: Description, side: Side) -> Accepted:
    """The first acceptable audio m-line of an offer; `NegotiationError` says why there is none."""
    refusals: list[Refusal] = []
    for index, media in enumerate(description.media):
        judged = _judge(index, media, side, False)
        if isinstance(judged, Accepted):
            return judged
        refusals.extend(judged)
    if not refusals:
        raise NegotiationError("the offer has no m-line", ("no m-line",), 304)
    raise refused("nothing in the offer is acceptable", refusals)


def accept_answer(description: Description, index: int, count: int, side: Side) -> Accepted:
    """Check an answer to our offer of ``count`` m-lines with audio at ``index``.

    Raises `AnswerRefused` where it breaks RFC 3264 section 6 or leaves nothing in common.
    """
    if len(description.media) != count:
        text = f"the answer has {len(description.media)} m-lines, the offer {count}"
        raise AnswerRefused(text, (text,))
    media = description.media[index]
    judged = _judge(index, media, side, True)
    if isinstance(judged, Accepted):
        return judged
    error = refused("the answer is not acceptable", judged)
    raise AnswerRefused(str(error), error.reasons, error.warning_code)


def refused(text: str, refusals: list[Refusal]) -> NegotiationError:
    """The error for a list of refusals; the first that is about formats names the warning."""
    reasons = tuple(refusal.text for refusal in refusals[:_MAX_REASONS])
    codes = [refusal.warning_code for refusal in refusals]
    code = 305 if 305 in codes else codes[0]
    return NegotiationError(f"{text}: " + "; ".join(reasons), reasons, code)


def _judge(
    index: int, media: MediaDescription, side: Side, is_answer: bool
) -> Accepted | list[Refusal]:
    if (
        media.kind != b"audio"
        or media.port == 0
        or media.protocol != PROTOCOL
        or media.port_count != 1
    ):
        return [_form_fault(index, media)]
    policy, proposal, own, signalling_host = side
    formats = accept_formats(proposal, media, is_answer)
    if not formats.audio:
        return list(formats.refusals)
    lines = media.below
    ptime = choose_ptime(policy, lines.ptime, lines.maxptime)
    if ptime is None:
        shortest = min(policy.sendable_ptimes)
        return [Refusal(306, f"maxptime {lines.maxptime} ms: we send {shortest} ms and more")]
    connection = media.connection
    assert connection is not None  # the parser refuses an m-line in use without one
    ip = _ip(connection)
    if ip is None:  # RFC 3264 section 8.4, the older way to hold: it cannot hear us
        return Accepted(index, formats, None, None, _MUTED[media.direction], ptime, ())
    if isinstance(ip, Refusal):
        return [ip]
    reached = _reached(ip, media.port, lines.rtcp)
    if isinstance(reached, Refusal):
        return [reached]
    remote_rtcp, targets = reached
    for host, ports in targets:
        fault = find_fault(host, ports, own, signalling_host)
        if fault is not None:
            return [fault]
    remote = (ip, media.port)
    return Accepted(index, formats, remote, remote_rtcp, media.direction, ptime, targets)


def _form_fault(index: int, media: MediaDescription) -> Refusal:
    """What rules an m-line out before its formats are looked at."""
    if media.kind != b"audio":
        return Refusal(304, f"m-line {index + 1} {_shown(media.kind)}: not supported")
    if media.port == 0:
        return Refusal(304, f"m-line {index + 1} audio: port 0")
    if media.protocol != PROTOCOL:
        return Refusal(302, f"m-line {index + 1} {_shown(media.protocol)}: not supported")
    return Refusal(302, f"m-line {index + 1} audio: {media.port_count} ports")


def _shown(text: bytes) -> str:
    # Tokens of RFC 8866 hold neither quotes nor backslashes; only their length is unbounded.
    return text[:32].decode("ascii")


@lru_cache(maxsize=1_024)
def _ip(connection: Connection) -> str | Refusal | None:
    """Where a c= line points to; None for ``0.0.0.0`` and ``::`` (hold)."""
    text = connection.address.decode("ascii")
    if text[0] == "[" and text[-1] == "]":
        text = text[1:-1]  # SIPp writes [::1]
    expected_ipv6 = _FAMILIES.get(connection.addrtype)
    if connection.nettype != b"IN" or expected_ipv6 is None:
        return Refusal(300, "c= is not of the Internet")
    host = read_host(text)
    if host is None:
        return text  # a name: the target check says so
    if expected_ipv6 is not (":" in text):
        return Refusal(301, f"c= says {connection.addrtype.decode()} but {host.text}")
    return None if host.is_unspecified else host.text


def _reached(
    ip: str, port: int, said: RtcpAttribute | None
) -> tuple[Address | None, Targets] | Refusal:
    """Where RTCP goes, if anywhere, and all that is sent to; ``said`` is ``a=rtcp``."""
    if said is None:
        if port == 65_535:
            return None, ((ip, (port,)),)
        return (ip, port + 1), ((ip, (port, port + 1)),)
    if said.connection is None:
        return (ip, said.port), ((ip, (port, said.port)),)
    elsewhere = _ip(said.connection)
    if isinstance(elsewhere, Refusal):
        return elsewhere
    if elsewhere is None:
        return None, ((ip, (port,)),)
    return (elsewhere, said.port), ((ip, (port,)), (elsewhere, (said.port,)))


def recheck(accepted: Accepted, own: tuple[Address, ...], judged_by: tuple[Address, ...]) -> None:
    """Check an accepted m-line against addresses of ours that were not known before."""
    known = judged_by[0][0] if judged_by else ""
    for host, ports in accepted.targets:
        for ip, port in own:
            # Of an IP that is known only the port can be news.
            if port in ports or ip != known:
                # Loopback was judged when the offer came; here it is the peer of itself.
                fault = find_fault(host, ports, own, host)
                if fault is not None:
                    raise refused("nothing in the offer is acceptable", [fault])


def agree(
    accepted: Accepted, direction: Direction, local: Address, others: tuple[Shared, ...]
) -> StreamAgreement:
    """The agreement of one m-line; ``others`` are formats the peer may switch to."""
    shared = accepted.formats
    codec, send, receive = shared.audio[0]
    dtmf, noise = shared.dtmf, shared.comfort_noise
    return StreamAgreement(
        codec,
        send,
        receive,
        local,
        accepted.remote,
        accepted.remote_rtcp,
        direction,
        accepted.ptime,
        dtmf and dtmf.send,
        dtmf and dtmf.receive,
        noise and noise.send,
        noise and noise.receive,
        tuple([(other.receive, other.codec) for other in others]) if others else (),
        accepted.index,
    )
