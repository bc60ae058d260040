"""Judging the m-lines of a description: which one carries the call, and what it agrees to.

Pure functions; the machine that calls them is in `sessioncore.sdp.negotiation`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from attrs import define

from sessioncore.errors import AnswerRefused, NegotiationError
from sessioncore.sdp.description import Connection, Description, MediaDescription
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


@define(eq=False)
class Accepted:
    """The m-line of the peer that carries the call, checked.

    ``direction`` is as the peer sees it.  ``remote`` is None where the peer named no address
    to send to (``0.0.0.0``), and then ``direction`` does not receive.
    """

    index: int
    formats: FormatMatch
    remote: Address | None
    remote_rtcp: Address | None
    direction: Direction
    ptime: int


class Side(NamedTuple):
    """What our side brings to judging: policy, formats, addresses, and where SIP came from."""

    policy: MediaPolicy
    proposal: Proposal
    own: tuple[Address, ...]
    signalling_host: str


def agreed_direction(offered: Direction, wish: Direction, local_hold: bool) -> Direction:
    """Our direction for a peer's: what both want, without hearing while we hold.

    RFC 3264 sections 6.1 and 8.4.
    """
    ours = offered.mirrored & wish
    return Direction(ours & Direction.SENDONLY if local_hold else ours)


def is_hold(accepted: Accepted) -> bool:
    """Whether the peer does not want to hear us: sendonly, inactive or ``0.0.0.0``."""
    return not accepted.direction.receives


def accept_offer(description: Description, side: Side) -> Accepted:
    """The first acceptable audio m-line of an offer; `NegotiationError` says why there is none."""
    if not description.media:
        raise NegotiationError("the offer has no m-line", ("no m-line",), 304)
    refusals: list[Refusal] = []
    for index, media in enumerate(description.media):
        judged = _judge(index, media, side, is_answer=False)
        if isinstance(judged, Accepted):
            return judged
        refusals.extend(judged)
    raise refused("nothing in the offer is acceptable", refusals)


def accept_answer(description: Description, index: int, count: int, side: Side) -> Accepted:
    """Check an answer to our offer of ``count`` m-lines with audio at ``index``.

    Raises `AnswerRefused` where it breaks RFC 3264 section 6 or leaves nothing in common.
    """
    if len(description.media) != count:
        text = f"the answer has {len(description.media)} m-lines, the offer {count}"
        raise AnswerRefused(text, (text,))
    media = description.media[index]
    judged = _judge(index, media, side, is_answer=True)
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
    index: int, media: MediaDescription, side: Side, *, is_answer: bool
) -> Accepted | list[Refusal]:
    form = _form_fault(index, media)
    if form is not None:
        return [form]
    formats = accept_formats(side.proposal, media, is_answer=is_answer)
    if not formats.audio:
        return list(formats.refusals)
    lines = media.below
    ptime = choose_ptime(side.policy, lines.ptime, lines.maxptime)
    if ptime is None:
        shortest = min(side.policy.sendable_ptimes)
        return [Refusal(306, f"maxptime {lines.maxptime} ms: we send {shortest} ms and more")]
    connection = media.connection
    assert connection is not None  # the parser refuses an m-line in use without one
    remote = _address(connection, media.port)
    if isinstance(remote, Refusal):
        return [remote]
    remote_rtcp = _rtcp_address(media, remote)
    if isinstance(remote_rtcp, Refusal):
        return [remote_rtcp]
    for target in (remote, remote_rtcp):
        if target is not None:
            fault = find_fault(target, side.own, side.signalling_host)
            if fault is not None:
                return [fault]
    direction = media.direction
    if remote is None:  # RFC 3264 section 8.4, the older way to hold: it cannot hear us
        direction = Direction(direction & Direction.SENDONLY)
    return Accepted(index, formats, remote, remote_rtcp, direction, ptime)


def _form_fault(index: int, media: MediaDescription) -> Refusal | None:
    """What rules an m-line out before its formats are looked at."""
    if media.kind != b"audio":
        return Refusal(304, f"m-line {index + 1} {_shown(media.kind)}: not supported")
    if media.port == 0:
        return Refusal(304, f"m-line {index + 1} audio: port 0")
    if media.protocol != PROTOCOL:
        return Refusal(302, f"m-line {index + 1} {_shown(media.protocol)}: not supported")
    if media.port_count != 1:
        return Refusal(302, f"m-line {index + 1} audio: {media.port_count} ports")
    return None


def _shown(text: bytes) -> str:
    # Tokens of RFC 8866 hold neither quotes nor backslashes; only their length is unbounded.
    return text[:32].decode("ascii")


def _address(connection: Connection, port: int) -> Address | Refusal | None:
    """Where a c= line and a port point to; None for ``0.0.0.0`` and ``::`` (hold)."""
    text = connection.address.decode("ascii")
    if text[0] == "[" and text[-1] == "]":
        text = text[1:-1]  # SIPp writes [::1]
    expected_ipv6 = _FAMILIES.get(connection.addrtype)
    if connection.nettype != b"IN" or expected_ipv6 is None:
        return Refusal(300, "c= is not of the Internet")
    host = read_host(text)
    if host is None:
        return (text, port)  # a name: the target check says so
    if expected_ipv6 is not (":" in text):
        return Refusal(301, f"c= says {connection.addrtype.decode()} but {host.text}")
    if host.is_unspecified:
        return None
    return (host.text, port)


def _rtcp_address(media: MediaDescription, remote: Address | None) -> Address | Refusal | None:
    if remote is None:
        return None
    rtcp = media.below.rtcp
    if rtcp is None:
        return (remote[0], remote[1] + 1) if remote[1] < 65_535 else None
    if rtcp.connection is None:
        return (remote[0], rtcp.port)
    return _address(rtcp.connection, rtcp.port)


def recheck(accepted: Accepted, own: tuple[Address, ...]) -> None:
    """Check an accepted m-line against addresses of ours that were not known before."""
    for target in (accepted.remote, accepted.remote_rtcp):
        if target is not None:
            # Loopback was judged when the offer came; here it is the peer of itself.
            fault = find_fault(target, own, target[0])
            if fault is not None:
                raise refused("nothing in the offer is acceptable", [fault])


def agree(
    accepted: Accepted, direction: Direction, local: Address, others: tuple[Shared, ...]
) -> StreamAgreement:
    """The agreement of one m-line; ``others`` are formats the peer may switch to."""
    audio = accepted.formats.audio[0]
    dtmf, noise = accepted.formats.dtmf, accepted.formats.comfort_noise
    return StreamAgreement(
        codec=audio.codec,
        send_payload_type=audio.send,
        receive_payload_type=audio.receive,
        local=local,
        remote=accepted.remote,
        remote_rtcp=accepted.remote_rtcp,
        direction=direction,
        ptime=accepted.ptime,
        send_dtmf_payload_type=None if dtmf is None else dtmf.send,
        receive_dtmf_payload_type=None if dtmf is None else dtmf.receive,
        send_comfort_noise_payload_type=None if noise is None else noise.send,
        receive_comfort_noise_payload_type=None if noise is None else noise.receive,
        other_receive_payload_types=tuple((other.receive, other.codec) for other in others),
        index=accepted.index,
    )
