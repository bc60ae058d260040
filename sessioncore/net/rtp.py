"""Which `PacketIO` a reactor gets: our own epoll on Linux, else plain ``IReactorUDP``."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorFDSet

from sessioncore.net.rtp_epoll import EpollPacketIO
from sessioncore.net.rtp_pool import DEFAULT_PORTS
from sessioncore.net.rtp_udp import ReactorPacketIO
from sessioncore.vocabulary import SECOND

__all__ = ["DEFAULT_PORTS", "EpollPacketIO", "ReactorPacketIO", "packet_io_for"]


def packet_io_for(
    reactor: Any,
    *,
    ports: range = DEFAULT_PORTS,
    rest: int = 2 * SECOND,
    now: Callable[[], int] = time.monotonic_ns,
) -> EpollPacketIO | ReactorPacketIO:
    """The fastest `PacketIO` that works on ``reactor``.

    ``ports`` is the range for RTP (even) and RTCP (odd); ``rest`` how long, in ns, a pair is
    kept back after a call; ``now`` the clock of the ticks, by which arrivals are told.
    """
    # A reactor with descriptors opens real sockets; an in-memory one has none to poll.
    real = IReactorFDSet.providedBy(reactor) and sys.platform == "linux"
    if real and hasattr(select, "epoll"):
        return EpollPacketIO(ports=ports, rest=rest, now=now)
    return ReactorPacketIO(reactor, ports=ports, rest=rest, now=now)
