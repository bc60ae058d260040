"""Checks the m-lines of a description: which one carries the call, and what it agrees to.

Pure functions; the machine that calls them is in `sessioncore.sdp.negotiation`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from attrs import define

from sessioncore.errors import AnswerRefused, NegotiationError
from sessioncore.explanation import Ground
from sessioncore.sdp.description import (
    Connection,
    Description,
    Form,
    MediaDescription,
    RtcpAttribute,
)
from sessioncore.sdp.formats import (
    PROTOCOL,
    FormatMatch,
    Proposal,
    accept_formats,
    accept_remembered,
)
from sessioncore.sdp.targets import (
    LOWEST_PORT,
    Refusal,
    Sockets,
    find_fault,
    find_host_fault,
    read_host,
)
from sessioncore.vocabulary import Address, Direction, StreamAgreement

__all__ = [
    "Accepted",
    "Side",
    "accept_answer",
    "accept_offer",
    "agree",
    "agreed_direction",
    "judge",
    "recheck",
    "refused",
]

_AUDIO: Final = Form(b"audio", PROTOCOL, 1)
_FAMILIES: Final = {b"IP4": False, b"IP6": True}
_MAX_REASONS: Final = 16
# Port distances at which the peer's RTP or RTCP falls on one of our ports.
_NEAR: Final = (-1, 0, 1)
_new: Final = object.__new__


def _agreed(offered: Direction, wish: Direction, local_hold: bool) -> Direction:
    ours = offered.mirrored & wish
    return Direction(ours & Direction.SENDONLY if local_hold else ours)


_MUTED: Final = tuple([_agreed(each.mirrored, each, True) for each in Direction])
"""By direction: the same without receiving."""
_AGREED: Final = tuple(
    [
        [[_agreed(offered, wish, hold) for wish in Direction] for offered in Direction]
        for hold in (False, True)
    ]
)


@define(eq=False)
class Accepted:
    """The m-line of the peer that carries the call, checked.

    ``direction`` is as the peer sees it.  ``remote`` is None if the peer named no address to
    send to (``0.0.0.0``); then ``direction`` does not receive.  ``ports`` are those of RTP and
    RTCP.
    """

    index: int
    formats: FormatMatch
    remote: Address | None
    remote_rtcp: Address | None
    ports: tuple[int, ...]
    direction: Direction


Side = tuple[Proposal, Address, str, Sockets]
"""Our side for the checks: formats, our receiving address, the source IP of SIP, SIP sockets."""


def agreed_direction(offered: Direction, wish: Direction, local_hold: bool) -> Direction:
    """Our direction for the peer's: what both want, without receiving while we hold.

    RFC 3264 sections 6.1 and 8.4.
    """
    return _AGREED[local_hold][offered][wish]


def accept_offer(description: Description, side: Side) -> Accepted:
    """The first acceptable audio m-line of an offer; `NegotiationError` says why there is none."""
    refusals: list[Refusal] = []
    for index, media in enumerate(description.media):
        judged = judge(index, media, side, False)
        if isinstance(judged, Accepted):
            return judged
        refusals.extend(judged)
    if not refusals:
        raise NegotiationError("the offer has no m-line", ("no m-line",), 304)
    raise refused("nothing in the offer is acceptable", refusals)


def accept_answer(description: Description, index: int, count: int, side: Side) -> Accepted:
    """Check an answer to our offer of ``count`` m-lines with audio at ``index``.

    Raises `AnswerRefused` if it breaks RFC 3264 section 6 or has no format in common.
    M-lines that we did not offer are ignored, and noted as an oddity.
    """
    if len(description.media) != count:
        text = f"the answer has {len(description.media)} m-lines, the offer {count}"
        if len(description.media) < count:
            raise AnswerRefused(text, (text,))
        description.note(text)
    media = description.media[index]
    judged = judge(index, media, side, True)
    if isinstance(judged, Accepted):
        return judged
    error = refused("the answer is not acceptable", judged)
    raise AnswerRefused(str(error), error.reasons, error.warning_code)


def refused(text: str, refusals: list[Refusal]) -> NegotiationError:
    """The error for a list of refusals; the first one about formats sets the warning code."""
    reasons = tuple(refusal.text for refusal in refusals[:_MAX_REASONS])
    codes = [refusal.ground.warning_code for refusal in refusals]
    code = 305 if 305 in codes else codes[0]
    return NegotiationError(f"{text}: " + "; ".join(reasons), reasons, code)


def judge(
    index: int, media: MediaDescription, side: Side, is_answer: bool
) -> Accepted | list[Refusal]:
    """What we make of one m-line: the agreement on it, or every reason to refuse it."""
    section, port = media.section, media.port
    if section.form != _AUDIO or not port:
        return [_form_fault(index, media)]
    proposal, own, signalling_host, sockets = side
    formats = section.formats
    accept = accept_remembered if formats.remembered else accept_formats
    match = accept(proposal, formats, is_answer)
    if not match.agreed:
        return list(match.refusals)
    # The parser refuses an m-line in use without a c= line.
    ip = _reached(media.connection, own[0], signalling_host)
    if not isinstance(ip, str):
        # None is RFC 3264 section 8.4, the older way to hold: the peer does not receive.
        return [ip] if ip else Accepted(index, match, None, None, (), _MUTED[media.direction])
    remote = (ip, port)
    if (
        section.rtcp is None
        and LOWEST_PORT <= port < 65_535
        and port - own[1] not in _NEAR
        and port not in sockets.near
    ):
        ports = (port, port + 1)
        return Accepted(index, match, remote, (ip, port + 1), ports, media.direction)
    remote_rtcp = _judge_ports(remote, section.rtcp, own, signalling_host, sockets)
    if isinstance(remote_rtcp, Refusal):
        return [remote_rtcp]
    ports = (port, remote_rtcp[1] if remote_rtcp else port)
    return Accepted(index, match, remote, remote_rtcp, ports, media.direction)


def _form_fault(index: int, media: MediaDescription) -> Refusal:
    """The fault that rules out an m-line before its formats are checked."""
    kind, protocol, ports = media.form
    if kind != b"audio":
        return Refusal(Ground.MEDIA_KIND, f"m-line {index + 1} {_shown(kind)}: not supported")
    if media.port == 0:
        return Refusal(Ground.PORT_ZERO, f"m-line {index + 1} audio: port 0")
    if protocol != PROTOCOL:
        return Refusal(Ground.PROFILE, f"m-line {index + 1} {_shown(protocol)}: not supported")
    return Refusal(Ground.PORT_COUNT, f"m-line {index + 1} audio: {ports} ports")


def _shown(text: bytes) -> str:
    # Tokens of RFC 8866 hold neither quotes nor backslashes; only their length is unbounded.
    return text[:32].decode("ascii")


@lru_cache(maxsize=1_024)
def _ip(connection: Connection) -> str | Refusal | None:
    """The IP address of a c= line; None for ``0.0.0.0`` and ``::`` (hold)."""
    text = connection.address.decode("ascii")
    if text[0] == "[" and text[-1] == "]":
        text = text[1:-1]  # SIPp writes [::1]
    expected_ipv6 = _FAMILIES.get(connection.addrtype)
    if connection.nettype != b"IN" or expected_ipv6 is None:
        return Refusal(Ground.NETWORK_TYPE, "c= is not of network type IN")
    host = read_host(text)
    if host is None:
        return text  # a host name, which the target check refuses
    if expected_ipv6 is not (":" in text):
        return Refusal(
            Ground.ADDRESS_FAMILY, f"c= says {connection.addrtype.decode()} but {host.text}"
        )
    return None if host.is_unspecified else host.text


@lru_cache(maxsize=1_024)
def _reached(connection: Connection, own_ip: str, signalling_host: str) -> str | Refusal | None:
    """As `_ip`, checked as a target of media on any port."""
    ip = _ip(connection)
    if isinstance(ip, str):
        return find_host_fault(ip, own_ip, signalling_host) or ip
    return ip


def _judge_ports(
    remote: Address,
    said: RtcpAttribute | None,
    own: Address,
    signalling_host: str,
    sockets: Sockets,
) -> Address | Refusal | None:
    """The RTCP address, or None, for RTP to ``remote``; ``said`` is ``a=rtcp``.

    Returns a `Refusal` if RTP or RTCP must not be sent to its address.
    """
    fault = find_fault(remote, own, signalling_host, sockets)
    if fault is not None:
        return fault
    rtcp = _rtcp_target(remote, said)
    if rtcp is None or isinstance(rtcp, Refusal):
        return rtcp
    return find_fault(rtcp, own, signalling_host, sockets) or rtcp


def _rtcp_target(remote: Address, said: RtcpAttribute | None) -> Address | Refusal | None:
    ip, port = remote
    if said is None:
        return (ip, port + 1) if port < 65_535 else None
    elsewhere = ip if said.connection is None else _ip(said.connection)
    return (elsewhere, said.port) if isinstance(elsewhere, str) else elsewhere


def recheck(accepted: Accepted, own: Address, judged_by: Address) -> None:
    """Check an accepted m-line against our address, which was not known before."""
    ip, port = own
    # If the IP was known, only the port is new.
    if ip == judged_by[0] and {port, port + 1}.isdisjoint(accepted.ports):
        return
    for target in (accepted.remote, accepted.remote_rtcp):
        # Loopback was judged when the offer came; here our own address counts as the peer.
        fault = None if target is None else find_fault(target, own, target[0])
        if fault is not None:
            raise refused("nothing in the offer is acceptable", [fault])


def agree(accepted: Accepted, direction: Direction, local: Address) -> StreamAgreement:
    """The agreement of one m-line."""
    agreement = _new(StreamAgreement)
    # The same as copy(): assigning so many fields one by one takes three times as long.
    agreement.__dict__.update(
        accepted.formats.agreed,
        local=local,
        remote=accepted.remote,
        remote_rtcp=accepted.remote_rtcp,
        direction=direction,
        index=accepted.index,
    )
    return agreement
