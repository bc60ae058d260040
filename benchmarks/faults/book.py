"""The faults of the lab, by the names of their causes."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from benchmarks.faults.lab import Lab, Scenario, Side
from sessioncore.testing.faults import FAULTS

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
    ours, _ = await lab.talk("stalled", us=us)
    us.signal("STOP")
    await lab.sleep(2.0)
    await lab.expect("stalled", ours, "own-process-stalled", us.signal("CONT"))


async def died(lab: Lab) -> None:
    """Their process is killed."""
    them = lab.party("died", alone("203.0.113.3"))
    await lab.until("another party", lambda: them.ready)
    ours, _ = await lab.talk("died", them=them, to="203.0.113.3")
    await lab.expect("died", ours, "peer-died", them.signal("KILL"))


async def held(lab: Lab, name: str, direction: str) -> None:
    """We put them on hold and forget it."""
    ours, theirs = await lab.talk(name)
    ours.tell(do="modify", direction=direction)
    began = time.monotonic()
    await lab.expect(name, ours, "direction", began)
    await lab.expect(name, theirs, "direction", began)


async def held_by_address(lab: Lab) -> None:
    """They put us on hold by 0.0.0.0 (RFC 2543) and forget it."""
    ours = await lab.play("hold-0.0.0.0")
    theirs = lab.them.side(ours.name)
    theirs.tell(do="offer", host="0.0.0.0")
    await lab.expect("hold-0.0.0.0", ours, "direction", time.monotonic())


async def no_way(lab: Lab) -> None:
    """They move their media to where no route leads, and wait for ours."""
    ours = await lab.play("no-way")
    theirs = lab.them.side(ours.name)
    theirs.tell(do="offer", host="192.0.2.77", says=None)
    await lab.expect("no-way", ours, "no-way-to-peer", time.monotonic())


async def srtp(lab: Lab) -> None:
    """They begin to encrypt, and say nothing of it."""
    ours = await lab.play("srtp")
    theirs = lab.them.side(ours.name)
    theirs.tell(do="tag", octets=10)
    await lab.expect("srtp", ours, "peer-encrypts", time.monotonic())


async def muted(lab: Lab) -> None:
    """Our source is switched to silence, as both sides see it."""
    ours, theirs = await lab.talk("muted")
    ours.tell(do="source", source="silence")
    began = time.monotonic()
    await lab.expect("muted", ours, "our-source-silent", began)
    await lab.expect("muted", theirs, "peer-silent", began)


async def bridged(lab: Lab) -> None:
    """We bridge a call to one in which nothing but silence is heard."""
    lab.them.side("bridged-other").tell(do="answer", source="silence")
    ours, _ = await lab.talk("bridged")
    await lab.talk("bridged-other", heard=False)
    lab.us.tell(do="bridge", hears="bridged", says="bridged-other")
    await lab.expect("bridged", ours, "bridged-call-silent", time.monotonic())


async def starved(lab: Lab) -> None:
    """The application stops to write frames."""
    ours, _ = await lab.talk("starved", source="fed")
    ours.tell(do="starve")
    await lab.expect("starved", ours, "our-source-starved", time.monotonic())


def played(name: str) -> Scenario:
    """A fault of the testing kit, brought about by a peer that is played on real sockets."""
    fault = FAULTS[name]

    async def scenario(lab: Lab) -> None:
        ours = await lab.play(name)
        if fault.early:
            await lab.until(f"an agreement of {name}", lambda: ours.last["judged"])
            began = up_at(ours)
        else:
            doer = ours if fault.call is not None else lab.them.side(name)
            count = len(doer.did)
            doer.tell(do="inject", fault=name)
            await lab.until(f"the fault {name}", lambda: len(doer.did) > count)
            began = doer.did[-1]["t"]
        await lab.expect(
            name, ours, name, began, by_report=fault.by_report, meanwhile=fault.meanwhile
        )

    return scenario


SCENARIOS: Final[dict[str, Scenario]] = {
    **{name: played(name) for name in FAULTS},
    "firewall": firewall,
    "firewall-rtp": firewall_rtp,
    "firewall-before": firewall_before,
    "closed-port": closed_port,
    "closing-port": closing_port,
    "stalled": stalled,
    "died": died,
    "hold-sendonly": partial(held, name="hold-sendonly", direction="sendonly"),
    "hold-inactive": partial(held, name="hold-inactive", direction="inactive"),
    "hold-0.0.0.0": held_by_address,
    "no-way": no_way,
    "srtp": srtp,
    "muted": muted,
    "bridged": bridged,
    "starved": starved,
}


def up_at(side: Side) -> float:
    """When media was agreed on, or refused."""
    first = next(each for each in side.records if each["judged"])
    return float(first["t"] - (first["agreed_for"] or 0.0))


def alone(host: str) -> dict[str, dict[str, Any]]:
    """The settings of a process with one manager."""
    return {"plain": {"listen": [f"udp:5060:interface={host}"]}}
