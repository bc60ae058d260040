"""The faults of the lab, by the names of their causes."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.faults.lab import Lab, Scenario, Side

__all__ = ["SCENARIOS"]

AN_RTP_PORT: Final = "udp dport 40000-49999"


async def firewall(lab: Lab) -> None:
    """Our RTP and RTCP are dropped on the way to them, in mid-call."""
    ours, theirs = await lab.talk("firewall")
    host, port = theirs.local
    began = lab.nft(f"ip daddr {host} udp dport {port}-{port + 1} drop")
    await lab.expect("firewall", theirs, "firewall-inbound", began)
    await lab.expect("firewall", ours, "firewall-outbound", began, by_report=True)


async def firewall_rtp(lab: Lab) -> None:
    """Their RTP is dropped on the way to us, in mid-call; their RTCP comes."""
    ours, theirs = await lab.talk("firewall-rtp")
    host, port = ours.local
    began = lab.nft(f"ip daddr {host} udp dport {port} drop")
    await lab.expect("firewall-rtp", ours, "firewall-inbound", began)
    await lab.expect("firewall-rtp", theirs, "firewall-outbound", began, by_report=True)


async def firewall_before(lab: Lab) -> None:
    """Nothing gets to us from the beginning: neither RTP nor RTCP."""
    lab.nft(f"ip daddr 198.51.100.2 {AN_RTP_PORT} drop")
    ours, theirs = await lab.talk("firewall-before", manager="walled", heard=False)
    await lab.expect("firewall-before", ours, "firewall-inbound", up_at(ours))
    await lab.expect("firewall-before", theirs, "firewall-outbound", up_at(theirs), by_report=True)


async def closed_port(lab: Lab) -> None:
    """Their RTP port is closed from the beginning, and they send."""
    lab.nft(f"ip daddr 203.0.113.2 {AN_RTP_PORT} reject with icmpx port-unreachable")
    ours, theirs = await lab.talk("closed-port", to="walled", heard=False)
    await lab.expect("closed-port", ours, "receive-not-open", up_at(ours))
    await lab.expect("closed-port", theirs, "firewall-inbound", up_at(theirs))


async def closing_port(lab: Lab) -> None:
    """Their RTP port is closed in mid-call, and they send on."""
    ours, theirs = await lab.talk("closing-port")
    host, port = theirs.local
    began = lab.nft(
        f"ip daddr {host} udp dport {port}-{port + 1} reject with icmpx port-unreachable"
    )
    await lab.expect("closing-port", ours, "receive-not-open", began)


async def stalled(lab: Lab) -> None:
    """Our process is stopped for 2 s."""
    us = lab.party("stalled", alone("198.51.100.3"))
    await lab.until("another party", lambda: us.ready)
    ours, _theirs = await lab.talk("stalled", us=us)
    us.signal("STOP")
    await lab.sleep(2.0)
    await lab.expect("stalled", ours, "own-process-stalled", us.signal("CONT"))


async def died(lab: Lab) -> None:
    """Their process is killed."""
    them = lab.party("died", alone("203.0.113.3"))
    await lab.until("another party", lambda: them.ready)
    ours, _ = await lab.talk("died", them=them, to="203.0.113.3")
    await lab.expect("died", ours, "peer-died", them.signal("KILL"))


SCENARIOS: Final[dict[str, Scenario]] = {
    "firewall": firewall,
    "firewall-rtp": firewall_rtp,
    "firewall-before": firewall_before,
    "closed-port": closed_port,
    "closing-port": closing_port,
    "stalled": stalled,
    "died": died,
}


def up_at(side: Side) -> float:
    """When media was agreed on."""
    return next(
        each["t"] - each["agreed_for"] for each in side.records if each["agreed_for"] is not None
    )


def alone(host: str) -> dict[str, dict[str, Any]]:
    """The settings of a process with one manager."""
    return {"plain": {"listen": [f"udp:5060:interface={host}"]}}
